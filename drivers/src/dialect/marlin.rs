//! Marlin and its descendants (2.x, 1.1, Prusa 8-bit): numbered lines with checksums, resends, one `ok` a line.
//!
//! ```text
//! < start
//! < echo:Marlin 2.1.2.4
//! > N0 M110 N0*125
//! < ok
//! > N1 G28*18
//! < echo:busy: processing
//! < X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0
//! < ok
//! > N2 G1 X10 E1*99
//! < Error:checksum mismatch, Last Line: 1
//! < Resend: 2
//! < ok
//! ```
//!
//! Sources: Marlin `src/gcode/queue.cpp` (counters, checksum, flush before a resend; the `ok` behind `Resend:` is
//! there in 1.1 and in late 2.x, not in 2.0), `src/gcode/host/M115.cpp`, `src/module/temperature.cpp` (reports).

mod reading;

pub(super) use self::reading::{number, read_identity, read_position, read_temperatures};
use gcode_tools::wire::Numbers;

use super::words::{self, Table};
use super::{
    Asking, AutoReport, Calm, Counter, Dialect, Habits, Likeness, MotionEnd, NumbersRead, Reply, Spelling, StopHabit,
    Word,
};
use crate::flow::Limits;
use crate::interlock::Cleared;
use crate::request::Override;

/// How lines are put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// With number and checksum where the session numbers them.
    Numbered,
    /// Always with a checksum, and a number only because none is taken without.
    Checked,
    /// As they are.
    Bare,
}

/// The vocabulary of Marlin and of firmwares that converse like it: what differs between them is data.
#[derive(Debug)]
pub(super) struct MarlinLike {
    pub(super) habits: Habits,
    pub(super) likeness: fn(&[u8]) -> Likeness,
    /// Reads what this firmware says in its own words. False: it says it as Marlin does.
    pub(super) own: fn(&[u8], &mut Vec<Reply>) -> bool,
    /// What it says in words, its own first.
    pub(super) words: &'static [Table],
    pub(super) framing: Framing,
    /// What halts it at once.
    pub(super) halt: &'static [u8],
    /// A byte that asks how it is, past all lines.
    pub(super) query: Option<u8>,
    /// What ends its wait for a temperature or a person.
    pub(super) stop_waiting: Option<&'static str>,
    /// What frees it once it is halted.
    pub(super) unlock: Option<&'static str>,
    /// What ends a move at once, out of its turn, where the machine has an emergency parser.
    pub(super) quickstop: Option<&'static str>,
    /// What answers its questions, in front of the number of the choice.
    pub(super) choose: Option<&'static str>,
}

/// Those that know that E is a word: Marlin since 1.1 (`value_float` in `parser.h`; pull request 1585) and Prusa's firmware
/// since MeatPack came to it (`strtod_noE` in `cmdqueue.h`, 3.13). Only since Marlin 2.1.2 does X end a number as well (issue
/// 24625), and on Prusa's AVR it always did: a blank for that costs next to nothing. What names itself otherwise is not
/// known: Marlin 1.0 says `Marlin V1; Sprinter/grbl mashup`, and vendors say what they like.
static E_ENDS_NUMBERS: &[(&str, [u32; 2], Numbers)] = &[
    ("Marlin ", [1, 1], Numbers::Prefixed),
    ("Marlin bugfix-", [1, 1], Numbers::Prefixed),
    ("Prusa-Firmware ", [3, 13], Numbers::Prefixed),
    ("Prusa-Firmware-Buddy ", [4, 0], Numbers::Prefixed),
];

/// Marlin's vocabulary.
pub(super) static MARLIN: MarlinLike = MarlinLike {
    // Without parameters M86 reports; a firmware without it answers `Unknown command`, Prusa's does nothing.
    habits: Habits {
        name: "marlin",
        settings: &["M86"],
        inactivity: Some("M85 S"),
        // Two seconds are the firmware's own default; a configuration may have switched it off (`M113.cpp`).
        keepalive_word: Some("M113 S2"),
        auto_report: Some(AutoReport { capability: "AUTOREPORT_TEMP", word: "M155 S2", question: "M105" }),
        stop: StopHabit::Parser,
        numbers: NumbersRead { any: Numbers::Exponents, since: E_ENDS_NUMBERS },
        ..HABITS
    },
    likeness: |line| {
        let text = line.strip_prefix(b"echo:").unwrap_or(line).trim_ascii();
        let known = text.strip_prefix(b"FIRMWARE_NAME:").map_or_else(
            || text.starts_with(b"Marlin ") || text.starts_with(b"busy: "),
            |name| [&b"Marlin"[..], b"Prusa-Firmware", b"Virtual Marlin"].iter().any(|known| name.starts_with(known)),
        );
        if known { Likeness::Proof } else { Likeness::None }
    },
    own: |_, _| false,
    words: &[words::marlin::BANG, words::marlin::COMMON],
    framing: Framing::Numbered,
    // The line end first: the word must stand at the start of a line, whatever was half-written before.
    halt: b"\nM112\n",
    query: None,
    // Answered like any other line.
    stop_waiting: Some("M108"),
    // A halted Marlin needs a reset; there is no word for it (M999 exists only with `SOFT_RESET_VIA_SERIAL`).
    unlock: None,
    quickstop: Some("M410"),
    choose: Some("M876 S"),
};

/// What Marlin and the like have in common.
pub(super) const HABITS: Habits = Habits {
    name: "",
    printer: true,
    numbered: true,
    counter: Some(Counter { reset: "M110 N0", proof: "M105" }),
    registers: false,
    // RX_BUFFER_SIZE is 128 on AVR unless configured (`HAL/AVR/MarlinSerial.h`), of which one byte tells full
    // from empty; BUFSIZE is 4 commands (`Configuration_adv.h`). Nine bytes are kept free for one question when
    // answers are overdue (see the session's `probe`).
    window: Limits { lines: 4, bytes: 118 },
    // MAX_CMD_SIZE is 96 with the terminating zero (`Configuration_adv.h`); number and checksum need up to 15.
    line_max: 80,
    // Nearly all that converse like it read with C's `strtod` or `strtof`.
    numbers: NumbersRead::always(Numbers::Exponents),
    // Half a numbered line has no checksum.
    spoils: "\n",
    identify: "M115",
    ok_when_taken: false,
    ok_after_resend: true,
    needs_proof: false,
    banner: true,
    asking: Asking::Commands { every_ms: 2_000, commands: &["M105", "M114"] },
    motion_end: MotionEnd::Commands(&["M400", "M114"]),
    // BLOCK_BUFFER_SIZE (`Configuration_adv.h`): 16 on 8-bit boards, up to 32 on others: the profile says.
    planner_blocks: 16,
    settings: &[],
    place: &[],
    inactivity: None,
    keepalive: true,
    // Without a card reader it is an unknown command, which is asked a few times and then no more.
    card: Some("M27"),
    tool_change: true,
    keepalive_word: None,
    auto_report: None,
    stop: StopHabit::InTurn,
    asks_why: None,
    answers_moves_early: false,
    error_sticks: false,
    spindle_waits_s: 0,
    // `kill()` waits for a reset for ever; M999 ends what `stop()` began, whose message names it (`MarlinCore.cpp`).
    way_out: "When it is safe, press its reset button or switch it off and on, then clear the alarm; M999 at its \
              display is enough only where its message says so.",
};

impl Dialect for MarlinLike {
    fn habits(&self) -> &Habits {
        &self.habits
    }

    fn read(&self, line: &[u8], heard: &mut Vec<Reply>) {
        if !(self.own)(line.trim_ascii(), heard) {
            reading::read(self.habits.name, self.words, line, heard);
        }
    }

    fn likeness(&self, line: &[u8]) -> Likeness {
        (self.likeness)(line)
    }

    fn spell(&self, command: Cleared<'_>, number: Option<u64>, out: &mut Vec<u8>) {
        let number = match self.framing {
            Framing::Numbered => number,
            Framing::Checked => Some(number.unwrap_or(1)),
            Framing::Bare => None,
        };
        spell(command.text(), number, out);
    }

    fn calm(&self, word: Calm) -> Spelling {
        match word {
            Calm::Halt => Spelling::Realtime(self.halt.to_vec()),
            Calm::StopWaiting => {
                self.stop_waiting.map_or(Spelling::None, |word| Spelling::Lines(vec![word.to_owned()]))
            }
            Calm::Query => self.query.map_or(Spelling::None, |byte| Spelling::Realtime(vec![byte])),
            // There is no feed hold that can be relied on: what is planned runs on, and nothing more is said.
            Calm::Hold | Calm::Drop | Calm::SpindleOffInHold => Spelling::None,
            Calm::EndJog => self.quickstop.map_or(Spelling::None, |word| Spelling::Lines(vec![word.to_owned()])),
        }
    }

    fn word(&self, word: &Word) -> Spelling {
        match word {
            Word::Home => Spelling::Lines(vec!["G28".to_owned()]),
            Word::Unlock => self.unlock.map_or(Spelling::None, |word| Spelling::Lines(vec![word.to_owned()])),
            Word::Jog(jog) => {
                let [x, y, z] = jog.by_mm;
                Spelling::Lines(vec![
                    "G91".to_owned(),
                    format!("G0 X{x:.3} Y{y:.3} Z{z:.3} F{:.0}", jog.feed_mm_min),
                    "G90".to_owned(),
                ])
            }
            Word::Override(Override::Feed(percent)) => Spelling::Lines(vec![format!("M220 S{percent}")]),
            Word::Override(Override::Flow(percent)) => Spelling::Lines(vec![format!("M221 S{percent}")]),
            Word::Override(Override::Rapid(_) | Override::Spindle(_)) | Word::OverrideStep { .. } | Word::Probe(_) => {
                Spelling::None
            }
            Word::Lift(lift) => Spelling::Lines(vec![
                "G91".to_owned(),
                format!("G0 Z{:.3} F{:.0}", lift.by_mm, lift.feed_mm_min),
                "G90".to_owned(),
            ]),
            Word::Choose(place) => {
                self.choose.map_or(Spelling::None, |word| Spelling::Lines(vec![format!("{word}{place}")]))
            }
            Word::Absolute => Spelling::Lines(vec!["G90".to_owned()]),
        }
    }

    fn resume(&self) -> Spelling {
        // M108 ends a wait for a person (M0, M600); without such a wait it does nothing.
        Spelling::Lines(Vec::new())
    }
}

/// `N7 G1 X1*85`: the checksum is the exclusive-or of every byte before the asterisk. A comment goes behind it: the
/// firmware drops everything from the semicolon on, before it looks for a checksum.
fn spell(text: &[u8], number: Option<u64>, out: &mut Vec<u8>) {
    let start = out.len();
    let Some(number) = number else {
        out.extend_from_slice(text);
        return out.push(b'\n');
    };
    let (command, comment) = text.split_at(memchr::memchr(b';', text).unwrap_or(text.len()));
    let mut digits = itoa::Buffer::new();
    out.push(b'N');
    out.extend_from_slice(digits.format(number).as_bytes());
    out.push(b' ');
    out.extend_from_slice(command.trim_ascii_end());
    let checksum = out[start..].iter().fold(0_u8, |sum, byte| sum ^ byte);
    out.push(b'*');
    out.extend_from_slice(digits.format(checksum).as_bytes());
    out.extend_from_slice(comment);
    out.push(b'\n');
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_numbered_line_carries_the_checksum_of_everything_before_the_asterisk() {
        let mut out = Vec::new();
        spell(b"M110 N0", Some(0), &mut out);
        assert_eq!(out, b"N0 M110 N0*125\n");
    }

    #[test]
    fn only_a_version_that_is_known_to_read_e_as_a_word_is_believed_to() {
        let by = |name: &str| MARLIN.habits.numbers.by(name);
        for name in ["Marlin 2.1.2.4 (Jul  1 2024)", "Marlin 1.1.0-RC8", "Marlin bugfix-2.1.x", "Marlin 2.0.x-bugfix"] {
            assert_eq!(by(name), Numbers::Prefixed, "{name}");
        }
        assert_eq!(by("Prusa-Firmware 3.13.3 based on Marlin"), Numbers::Prefixed);
        assert_eq!(by("Prusa-Firmware-Buddy 5.1.2+13478 (Github)"), Numbers::Prefixed);
        for name in [
            "Marlin V1; Sprinter/grbl mashup for gen6",
            "Marlin 1.0.2",
            "Marlin Ver 1.0.1",
            "Marlin",
            "Marlin Creality 3D",
            "Virtual Marlin 1.0",
            "Prusa-Firmware 3.10.1 based on Marlin",
            "Prusa-Firmware 3.9.3 based on Marlin",
            "",
        ] {
            assert_eq!(by(name), Numbers::Exponents, "{name}");
        }
    }
}
