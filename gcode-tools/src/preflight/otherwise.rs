//! Words that a firmware takes without a word of complaint, and for something else than was meant: units that differ,
//! values that switch something else off, letters it does not read, codes that only some builds have.
//!
//! Sources: Marlin 2.1 `gcode/` (`G4.cpp`, `M18_M84_M410.cpp`, `M104_M109.cpp`, `M106_M107.cpp`, `M200-M205.cpp`,
//! `M211.cpp`, `M220.cpp`, `M221.cpp`, `sd/M30.cpp`) and `Configuration.h`; Klipper `klippy/extras/heaters.py`, `kinematics/extruder.py`,
//! `gcode.py`, `toolhead.py`, `extras/fan.py`; RepRapFirmware's G-code dictionary and `GCodes2.cpp` (cases 0, 30, 226); Repetier-Firmware `Commands.cpp`;
//! Smoothieware's list of codes and `GcodeDispatch.cpp`; Grbl's wiki and `gcode.c`, `FluidNC`'s `GCode.cpp` (`OptionalStop`). Their rules are told here in our own words.

use super::finding::Place;
use super::{Preflight, Severity};
use crate::block::Block;
use crate::statement::Statement;
use crate::time::Firmware;
use crate::words::{Firmwares, code_name};
use std::ops::RangeInclusive;

/// A word, when it is read otherwise, and what is said of it.
struct Reading {
    whose: Firmwares,
    letter: u8,
    /// Codes in tenths.
    codes: RangeInclusive<u32>,
    when: fn(&Statement) -> bool,
    severity: Severity,
    code: &'static str,
    /// Where it stands; none: at the code.
    at: &'static [u8],
    message: &'static str,
    help: &'static str,
}

const KLIPPER: Firmwares = Firmwares::of(Firmware::Klipper);
const MARLIN: Firmwares = Firmwares::of(Firmware::Marlin);
const RRF: Firmwares = Firmwares::of(Firmware::RepRapFirmware);
const REPETIER: Firmwares = Firmwares::of(Firmware::Repetier);
const SMOOTHIE: Firmwares = Firmwares::of(Firmware::Smoothieware);
const GRBLS: Firmwares =
    Firmwares::of(Firmware::Grbl).and(Firmwares::of(Firmware::GrblHal)).and(Firmwares::of(Firmware::FluidNc));
const OTHERS: Firmwares = Firmwares::PRINTERS.but(KLIPPER);

/// A dwell of so many seconds is more likely one of milliseconds.
const LONG_DWELL_S: f64 = 100.0;

/// The slowest that a limit in mm/min is meant to be, and the fastest in mm/s.
const LIMIT_MM_MIN_LEAST: f64 = 1000.0;
const LIMIT_MM_S_MOST: f64 = 2000.0;

/// The largest junction deviation that is meant, in millimetres.
const DEVIATION_MOST_MM: f64 = 1.0;

fn always(_: &Statement) -> bool {
    true
}

fn is_fraction(statement: &Statement, letter: u8) -> bool {
    statement.value(letter).is_some_and(|value| value > 0.0 && value < 1.0)
}

fn names_no_temperature(statement: &Statement) -> bool {
    !statement.mentions(b'S') && !statement.mentions(b'R')
}

fn any_is(statement: &Statement, letters: &[u8], is: impl Fn(f64) -> bool) -> bool {
    letters.iter().any(|letter| statement.value(*letter).is_some_and(&is))
}

const fn warning(
    (whose, letter, codes): (Firmwares, u8, RangeInclusive<u32>),
    at: &'static [u8],
    when: fn(&Statement) -> bool,
    message: &'static str,
    help: &'static str,
) -> Reading {
    Reading { whose, letter, codes, when, severity: Severity::Warning, code: "word.read_otherwise", at, message, help }
}

/// A code that Marlin knows only where it was built with something that is off by default.
const fn optional(letter: u8, codes: RangeInclusive<u32>, severity: Severity, message: &'static str) -> Reading {
    Reading {
        whose: MARLIN,
        letter,
        codes,
        when: always,
        severity,
        code: "word.optional",
        at: b"",
        message,
        help: "See that this machine's firmware has it (M115 and its configuration say so), or write the program without it.",
    }
}

/// A heater that Klipper is to set to nothing.
const fn without_s(code: u32) -> Reading {
    warning(
        (KLIPPER, b'M', code..=code),
        b"",
        names_no_temperature,
        "Without S Klipper switches this heater off.",
        "Write the temperature with S, or S0 if that is meant.",
    )
}

static READINGS: &[Reading] = &[
    warning(
        (KLIPPER, b'M', 1090..=1090),
        b"R",
        |it| it.has(b'R') && !it.has(b'S'),
        "Klipper reads only S here: R says nothing to it, and the heater is switched off.",
        "Write it with S.",
    ),
    warning(
        (KLIPPER, b'M', 1900..=1900),
        b"R",
        |it| it.has(b'R') && !it.has(b'S'),
        "Klipper reads only S here: R says nothing to it, and the heater is switched off.",
        "Write it with S.",
    ),
    without_s(1040),
    without_s(1090),
    without_s(1400),
    without_s(1900),
    warning(
        (KLIPPER, b'M', 2040..=2040),
        b"R",
        |it| it.has(b'R'),
        "Klipper knows no R of M204: retractions keep their acceleration.",
        "Write it with S.",
    ),
    warning(
        (KLIPPER, b'M', 2040..=2040),
        b"PT",
        |it| !it.has(b'S') && it.has(b'P') != it.has(b'T'),
        "Klipper takes S, or P and T together: this changes nothing.",
        "Write it with S.",
    ),
    warning(
        (KLIPPER, b'G', 40..=40),
        b"S",
        |it| it.has(b'S') && !it.has(b'P'),
        "Klipper reads only P, in milliseconds: it does not wait here.",
        "Write it with P in milliseconds.",
    ),
    warning(
        (Firmwares::PRINTERS, b'G', 40..=40),
        b"P",
        |it| it.value(b'P').is_some_and(|pause| pause > 0.0 && pause.fract() != 0.0 && pause < 10.0),
        "P is milliseconds to a printer: it does not wait here.",
        "Write seconds with S, or milliseconds with P.",
    ),
    warning(
        (Firmwares::CNC, b'G', 40..=40),
        b"P",
        |it| it.value(b'P').is_some_and(|pause| pause >= LONG_DWELL_S),
        "P is seconds to this firmware: it waits for minutes.",
        "Write P in seconds.",
    ),
    warning(
        (Firmwares::PRINTERS.but(RRF), b'M', 1060..=1060),
        b"S",
        |it| is_fraction(it, b'S'),
        "S is a share of 255 here, and below 1 the fan stands.",
        "Write S from 0 to 255.",
    ),
    warning(
        (OTHERS, b'M', 1090..=1090),
        b"",
        names_no_temperature,
        "It names no temperature: Marlin waits for nothing then, older firmware for the last one set.",
        "Write the temperature with S.",
    ),
    warning(
        (OTHERS, b'M', 1900..=1900),
        b"",
        names_no_temperature,
        "It names no temperature: Marlin waits for nothing then, older firmware for the last one set.",
        "Write the temperature with S.",
    ),
    warning(
        (OTHERS, b'M', 2200..=2200),
        b"S",
        |it| it.value(b'S') == Some(0.0),
        "A speed of 0 %: the machine crawls or stands from here on.",
        "Write the percentage, such as S100.",
    ),
    warning(
        (OTHERS, b'M', 2210..=2210),
        b"S",
        |it| it.value(b'S') == Some(0.0),
        "A flow of 0 %: no filament is pushed from here on.",
        "Write the percentage, such as S100.",
    ),
    warning(
        (OTHERS.but(REPETIER), b'M', 2010..=2030),
        b"XYZE",
        |it| any_is(it, b"XYZE", |value| value == 0.0),
        "A limit of 0: an axis with it does not move, or the firmware hangs.",
        "Write the limit, or take the word out.",
    ),
    warning(
        (OTHERS.but(REPETIER), b'M', 2040..=2040),
        b"SPRT",
        |it| any_is(it, b"SPRT", |value| value == 0.0),
        "An acceleration of 0: the machine does not start to move, or the firmware hangs.",
        "Write the acceleration, or take the word out.",
    ),
    warning(
        (RRF, b'M', 2030..=2030),
        b"XYZ",
        |it| any_is(it, b"XY", |value| value > 0.0 && value < LIMIT_MM_MIN_LEAST),
        "RepRapFirmware reads these speeds in mm/min, others in mm/s: the machine will crawl.",
        "Write them in mm/min, or let the slicer write for RepRapFirmware.",
    ),
    warning(
        (OTHERS.but(RRF).but(REPETIER), b'M', 2030..=2030),
        b"XYZ",
        |it| any_is(it, b"XYZ", |value| value > LIMIT_MM_S_MOST),
        "These speeds are in mm/s: as they stand there is no limit.",
        "Write them in mm/s.",
    ),
    warning(
        (SMOOTHIE, b'M', 2050..=2050),
        b"X",
        |it| it.value(b'X').is_some_and(|value| value > DEVIATION_MOST_MM),
        "X is the junction deviation in millimetres to Smoothieware, and no jerk: corners are taken at full speed.",
        "Take it out, or write X0.05.",
    ),
    warning(
        (REPETIER, b'M', 2030..=2050),
        b"",
        always,
        "Repetier has another word here: M203 watches a temperature, M204 sets the heater's control, M205 lists settings.",
        "Let the slicer write for Repetier (M201, M202 and M207).",
    ),
    warning(
        (MARLIN.and(REPETIER), b'M', 180..=180),
        b"S",
        |it| it.has(b'S'),
        "With S it sets the time after which idle motors are let go (S0: never), and lets none go now.",
        "Write it without S.",
    ),
    warning(
        (MARLIN.and(REPETIER), b'M', 840..=840),
        b"S",
        |it| it.has(b'S'),
        "With S it sets the time after which idle motors are let go (S0: never), and lets none go now.",
        "Write it without S.",
    ),
    Reading {
        whose: MARLIN,
        letter: b'M',
        codes: 2110..=2110,
        when: |it| it.value(b'S') == Some(0.0),
        severity: Severity::Warning,
        code: "safety.off",
        at: b"S",
        message: "It switches off the limits of travel: the machine drives against its ends.",
        help: "Take it out, or switch them on again (M211 S1) before the next move.",
    },
    Reading {
        whose: RRF,
        letter: b'M',
        codes: 5640..=5640,
        when: |it| it.value(b'S') == Some(0.0) || it.value(b'H') == Some(0.0),
        severity: Severity::Warning,
        code: "safety.off",
        at: b"SH",
        message: "It allows moves beyond the limits of travel, or before homing: the machine drives against its ends.",
        help: "Take it out, or switch the limits on again (M564 S1 H1) before the next move.",
    },
    Reading {
        whose: GRBLS,
        letter: b'G',
        codes: 280..=280,
        when: |it| !it.has_any(b"XYZ"),
        severity: Severity::Note,
        code: "word.read_otherwise",
        at: b"",
        message: "G28 homes nothing here: it drives to the place that was stored with G28.1, which may be any.",
        help: "Home with $H, or write where it shall go (G53 G0 Z0).",
    },
    Reading {
        whose: Firmwares::of(Firmware::Grbl).and(Firmwares::of(Firmware::FluidNc)),
        letter: b'M',
        codes: 10..=10,
        when: always,
        severity: Severity::Note,
        code: "word.read_otherwise",
        at: b"",
        message: "an optional stop, which this firmware passes over: the program goes on.",
        help: "Write M0 where it must stop.",
    },
    warning(
        (OTHERS, b'M', 300..=300),
        b"",
        always,
        "To a printer it ends no program: it deletes the file that it names from the printer's card.",
        "Take it out.",
    ),
    warning(
        (RRF, b'M', 0..=20),
        b"",
        always,
        "RepRapFirmware ends a print of its own card with it. From here it is refused, or switches the heaters off.",
        "Take it out; M291 S3 waits for a person.",
    ),
    warning(
        (RRF, b'M', 2260..=2260),
        b"",
        always,
        "RepRapFirmware pauses only prints of its own card with it, and refuses it here: nothing waits.",
        "Wait with M291 S3.",
    ),
    warning(
        (RRF, b'M', 6000..=6010),
        b"",
        always,
        "RepRapFirmware pauses only prints of its own card with it, and refuses it here: nothing waits.",
        "Wait with M291 S3.",
    ),
    optional(
        b'G',
        200..=200,
        Severity::Warning,
        "Marlin knows G20 only if it was built with INCH_MODE_SUPPORT: without, every inch is a millimetre.",
    ),
    optional(
        b'G',
        50..=50,
        Severity::Warning,
        "Marlin knows G5 only if it was built with BEZIER_CURVE_SUPPORT: without, the move is left out.",
    ),
    optional(
        b'G',
        180..=190,
        Severity::Warning,
        "Marlin knows other planes only if it was built with CNC_WORKSPACE_PLANES: without, arcs stay in X and Y.",
    ),
    optional(
        b'G',
        530..=599,
        Severity::Warning,
        "Marlin knows work coordinates only if it was built with CNC_COORDINATE_SYSTEMS: without, nothing is shifted.",
    ),
    optional(b'G', 380..=389, Severity::Warning, "Marlin probes with G38 only if it was built with G38_PROBE_TARGET."),
    optional(
        b'G',
        600..=610,
        Severity::Warning,
        "Marlin keeps places only if it was built with SAVED_POSITIONS: without, it does not go back.",
    ),
    optional(
        b'M',
        30..=40,
        Severity::Warning,
        "Marlin switches a spindle or beam only if it was built with one; S is rpm, percent or a share of 255, as it was built.",
    ),
    optional(b'M', 70..=90, Severity::Note, "Marlin switches coolant only if it was built with it."),
];

impl Preflight<'_> {
    /// Words that this firmware takes for something else than was meant.
    pub(super) fn check_read_otherwise(&mut self, line: u64, statement: &Statement, letter: u8, tenths: u32) {
        let whose = Firmwares::of(self.firmware);
        let fits = |it: &&Reading| {
            it.letter == letter && it.codes.contains(&tenths) && it.whose.meets(whose) && (it.when)(statement)
        };
        for reading in READINGS.iter().filter(fits) {
            let place = if reading.at.is_empty() { Place::Code(letter, tenths) } else { Place::Letters(reading.at) };
            let (severity, code) = (reading.severity, reading.code);
            let message = format!("{}: {}", code_name(letter, tenths), reading.message);
            self.findings.add_at(line, place, severity, code, message, reading.help);
        }
    }

    /// Klipper compares the names of codes: `G01` and `G1.0` are none of its own.
    pub(super) fn check_spelling(&mut self, line: u64, block: &Block) {
        // Most lines begin with `G1 `.
        if let [b'G' | b'M', digit, b' ', ..] = block.bytes() {
            if digit.is_ascii_digit() {
                return;
            }
        }
        let word = block.words().find(|word| matches!(word.letter, b'G' | b'M'));
        let Some(word) = word.filter(|word| is_spelled_otherwise(word.text)) else { return };
        let (name, at) = (String::from_utf8_lossy(word.text), word.span.start);
        let pads = !word.text.contains(&b'.');
        let letter = char::from(word.letter);
        self.findings.add_offset(
            line,
            at,
            Severity::Warning,
            "word.read_otherwise",
            format!(
                "Klipper knows no `{letter}{name}`: it passes over the line{}.",
                if pads { ", unless the zero is left out, as this agent does" } else { "" }
            ),
            "Write the code without zeros in front and without a point.",
        );
    }
}

/// Whether a code's number has zeros in front or a point.
fn is_spelled_otherwise(digits: &[u8]) -> bool {
    digits.contains(&b'.') || matches!(digits, [b'0', _, ..])
}
