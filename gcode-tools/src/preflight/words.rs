//! Which words each firmware knows, and which of them change its settings or switch off its protection.
//!
//! Codes in tenths. From the firmware's own documentation: Grbl 1.1's wiki, LinuxCNC 2.9's manual, marlinfw.org, the
//! RepRapFirmware and Klipper references, Prusa's G-code list.

use crate::time::Firmware;

/// What a code means to a firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Part of programs.
    Yes,
    /// Not known: refused or ignored.
    No,
    /// Changes settings that outlive the job.
    Settings,
    /// Switches off a protection.
    Unprotects,
    /// Halts the machine, wherever it stands.
    Halts,
    /// Writes what follows to the machine's card instead of running it, or runs a program of the card beside this one.
    Card,
}

/// Grbl 1.1h: G codes.
const GRBL_G: &[u32] = &[
    0, 10, 20, 30, 40, 100, 170, 180, 190, 200, 210, 280, 281, 300, 301, 382, 383, 384, 385, 400, 431, 490, 530, 540,
    550, 560, 570, 580, 590, 610, 800, 900, 910, 911, 920, 921, 930, 940,
];

/// Grbl 1.1h: M codes.
const GRBL_M: &[u32] = &[0, 10, 20, 30, 40, 50, 70, 80, 90, 300, 560];

/// What grblHAL and FluidNC add to Grbl's G codes.
const GRBLHAL_G: &[u32] = &[
    50, 51, 70, 80, 330, 430, 432, 500, 510, 591, 592, 593, 611, 640, 650, 660, 670, 730, 760, 810, 820, 830, 850, 860,
    890, 922, 923, 950, 960, 970, 980,
];

/// What grblHAL and FluidNC add to Grbl's M codes.
const GRBLHAL_M: &[u32] = &[60, 61, 480, 490, 500, 510, 530, 620, 630, 640, 650, 660, 670, 680, 980, 990];

/// LinuxCNC: G codes, as ranges.
const LINUXCNC_G: &[(u32, u32)] = &[
    (0, 53),
    (70, 80),
    (100, 100),
    (170, 191),
    (200, 210),
    (280, 281),
    (300, 301),
    (330, 331),
    (382, 385),
    (400, 432),
    (490, 530),
    (540, 593),
    (610, 640),
    (700, 722),
    (730, 762),
    (800, 999),
    (50, 53),
];

/// LinuxCNC: M codes, as ranges. M100 to M199 are the user's own.
const LINUXCNC_M: &[(u32, u32)] =
    &[(0, 90), (190, 190), (300, 300), (480, 530), (600, 730), (980, 990), (1000, 1990), (610, 610)];

/// Printers (Marlin, Prusa, Klipper, RepRapFirmware, Repetier, Smoothie): G codes, as ranges of whole numbers.
const PRINTER_G: &[(u32, u32)] = &[(0, 6), (10, 13), (17, 21), (26, 42), (53, 61), (68, 69), (75, 99), (425, 425)];

/// Printers: M codes, as ranges of whole numbers.
const PRINTER_M: &[(u32, u32)] = &[
    (0, 11),
    (16, 48),
    (66, 66),
    (72, 87),
    (92, 128),
    (140, 166),
    (190, 194),
    (200, 293),
    (300, 309),
    (320, 364),
    (380, 429),
    (450, 486),
    (500, 605),
    (650, 712),
    (750, 776),
    (808, 876),
    (890, 929),
    (950, 999),
    (1000, 1099),
    (1700, 1704),
];

/// Printer codes whose effect outlives the job: steps per mm, stored settings, PID values, offsets, restart.
const PRINTER_SETTINGS: &[u32] = &[92, 206, 301, 304, 305, 307, 428, 500, 502, 504, 665, 666, 851, 997, 552, 587];

/// Klipper: G codes of its command reference. G20 is not among them: it answers with an error.
const KLIPPER_G: &[u32] = &[0, 1, 2, 3, 4, 10, 11, 17, 18, 19, 21, 28, 90, 91, 92];

/// Klipper: M codes of its command reference, as ranges. Anything else is a macro of the machine, or unknown.
const KLIPPER_M: &[(u32, u32)] = &[
    (18, 18),
    (20, 21),
    (23, 27),
    (73, 73),
    (82, 84),
    (104, 107),
    (109, 110),
    (112, 112),
    (114, 115),
    (117, 119),
    (140, 140),
    (190, 190),
    (204, 204),
    (220, 221),
    (400, 400),
];

/// What a code means to a firmware of this dialect.
pub(super) fn known(firmware: Firmware, dialect: &str, letter: u8, tenths: u32) -> Known {
    let within = |ranges: &[(u32, u32)], code: u32| ranges.iter().any(|(low, high)| (*low..=*high).contains(&code));
    let yes = match (firmware, letter) {
        (_, b'T') => true,
        (Firmware::Grbl, _) => {
            let plain = !["grblhal", "fluidnc"].iter().any(|kin| dialect.to_ascii_lowercase().starts_with(kin));
            let (base, more) = if letter == b'G' { (GRBL_G, GRBLHAL_G) } else { (GRBL_M, GRBLHAL_M) };
            base.contains(&tenths) || (!plain && more.contains(&tenths))
        }
        (Firmware::LinuxCnc, b'G') => within(LINUXCNC_G, tenths),
        (Firmware::LinuxCnc, _) => within(LINUXCNC_M, tenths),
        (Firmware::Klipper, b'G') => tenths % 10 == 0 && KLIPPER_G.contains(&(tenths / 10)),
        (_, b'G') => within(PRINTER_G, tenths / 10),
        (Firmware::Klipper, _) => match known_printer_m(tenths / 10) {
            Known::Yes => within(KLIPPER_M, tenths / 10),
            other => return other,
        },
        _ => return known_printer_m(tenths / 10),
    };
    if yes { Known::Yes } else { Known::No }
}

fn known_printer_m(code: u32) -> Known {
    if PRINTER_SETTINGS.contains(&code) {
        return Known::Settings;
    }
    match code {
        302 => return Known::Unprotects,
        112 => return Known::Halts,
        24 | 28 | 32 => return Known::Card,
        _ => {}
    }
    if PRINTER_M.iter().any(|(low, high)| (*low..=*high).contains(&code)) { Known::Yes } else { Known::No }
}

/// What a Grbl `$` command in a program means.
pub(super) fn known_system(text: &[u8]) -> Known {
    let text = text.trim_ascii();
    if text.contains(&b'=') && !text.to_ascii_uppercase().starts_with(b"$J=") {
        return Known::Settings;
    }
    match text.to_ascii_uppercase().as_slice() {
        b"$H" | b"$HX" | b"$HY" | b"$HZ" | b"$I" | b"$G" | b"$#" | b"$$" => Known::Yes,
        b"$X" | b"$C" => Known::Unprotects,
        text if text.starts_with(b"$J=") => Known::Yes,
        _ => Known::No,
    }
}

/// The letters of [`grbl_refuses_letter`], each as a place in a line. O begins no word on a plain line.
pub(super) const GRBL_REFUSED: [&[u8]; 10] = [b"A", b"B", b"C", b"D", b"E", b"H", b"Q", b"U", b"V", b"W"];

/// The modal group of a code of RS-274: two codes of one group on one line contradict each other. G80 is in none, because
/// real programs cancel cycles on the line that begins with G0.
pub(super) fn modal_group(letter: u8, tenths: u32) -> Option<u8> {
    Some(match (letter, tenths) {
        (b'G', 0 | 10 | 20 | 30 | 330 | 331 | 382..=385 | 730 | 760 | 810..=890) => 1,
        (b'G', 170..=191) => 2,
        (b'G', 900 | 910) => 3,
        (b'G', 901 | 911) => 4,
        (b'G', 930 | 940 | 950) => 5,
        (b'G', 200 | 210) => 6,
        (b'G', 400..=421) => 7,
        (b'G', 540..=593) => 12,
        (b'M', 0 | 10 | 20 | 300 | 600) => 20,
        (b'M', 30 | 40 | 50) => 23,
        _ => return None,
    })
}

/// Letters that Grbl 1.1 has no use for on a three-axis machine; it refuses the line (error 20).
pub(super) fn grbl_refuses_letter(letter: u8) -> bool {
    matches!(letter, b'A' | b'B' | b'C' | b'D' | b'E' | b'H' | b'O' | b'Q' | b'U' | b'V' | b'W')
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_refused_letter_has_a_place() {
        let places: Vec<u8> = GRBL_REFUSED.iter().map(|letter| letter[0]).collect();
        let refused = (b'A'..=b'Z').filter(|letter| grbl_refuses_letter(*letter) && *letter != b'O');
        assert_eq!(places, refused.collect::<Vec<_>>());
    }

    #[test]
    fn each_firmware_knows_its_own() {
        let grbl = |letter, tenths| known(Firmware::Grbl, "grbl", letter, tenths);
        assert_eq!([grbl(b'G', 10), grbl(b'G', 640), grbl(b'M', 60)], [Known::Yes, Known::No, Known::No]);
        assert_eq!(known(Firmware::Grbl, "grblhal", b'G', 810), Known::Yes);
        assert_eq!(known(Firmware::LinuxCnc, "linuxcnc", b'G', 640), Known::Yes);
        assert_eq!(known(Firmware::Marlin, "marlin", b'M', 920), Known::Settings);
        assert_eq!(known(Firmware::Marlin, "marlin", b'M', 8623), Known::Yes);
        assert_eq!(known(Firmware::Marlin, "marlin", b'M', 3020), Known::Unprotects);
        assert_eq!(known(Firmware::Marlin, "marlin", b'M', 44440), Known::No);
        assert_eq!(
            [known_system(b"$H"), known_system(b"$130=9"), known_system(b"$RST=*")],
            [Known::Yes, Known::Settings, Known::Settings]
        );
    }
}
