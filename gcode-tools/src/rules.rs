//! What a firmware refuses, by its own rules: one piece of code for [`crate::preflight`] and for the simulated machines, so
//! that they cannot disagree.
//!
//! [`Rules`] is the parser of a firmware as far as it refuses lines: it takes the lines of a program in order, keeps the
//! modes that its rules depend on, and says of each line what the firmware would answer. A line that Grbl refuses changes
//! nothing; LinuxCNC and Klipper do what comes before the fault. Entry point for a single verdict: [`Rules::answer`], with the bytes of a line as they are sent.
//!
//! ```
//! use gcode_tools::{rules::{Rule, Rules}, time::Firmware};
//! let mut grbl = Rules::of(Firmware::Grbl);
//! assert_eq!(grbl.answer(b"G1 X10 F100"), Ok(()));
//! let refusal = grbl.answer(b"G0 G49").unwrap_err();
//! assert_eq!((refusal.rule, refusal.number()), (Rule::AxisConflict, Some(24))); // Grbl's `error:24`
//! assert!(Rules::of(Firmware::LinuxCnc).answer(b"G1 X1 X2 F1").is_err());
//! ```
//!
//! Sources: Grbl 1.1h `gcode.c` (`gc_execute_line`) and `protocol.c`; grblHAL core of August 2026, `gcode.c`; LinuxCNC 2.9
//! `interp_check.cc`, `interp_internal.cc`, `interp_read.cc`, `interp_convert.cc`, `interp_cycles.cc`; Klipper `gcode.py`,
//! `gcode_move.py`, `gcode_arcs.py`; Marlin 2.1 `parser.cpp`. Their rules are told here in our own words.

use crate::interpret::State;
use crate::statement::Statement;
use crate::time::Firmware;

mod grbl;
mod klipper;
mod letters;
mod linuxcnc;
mod told;

pub use grbl::Grbl;
pub use klipper::Klipper;
pub use letters::{Letters, Scan};
pub use linuxcnc::LinuxCnc;

/// Why a line is refused. The numbers are Grbl's and grblHAL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// 1: something else stands where a word should begin.
    NoLetter,
    /// 2: a letter has no number.
    NoNumber,
    /// 3: the command does not fit what is in force.
    Invalid,
    /// 4: the value may not be negative.
    Negative,
    /// 11 and 14: the line is longer than the buffer.
    TooLong,
    /// 19: the value must be above zero.
    NotPositive,
    /// 20: no such command, or no such letter.
    Unsupported,
    /// 21: two codes of one modal group.
    ModalGroup,
    /// 22: no feed.
    NoFeed,
    /// 23: the number must be whole.
    NotInteger,
    /// 24: two codes that both use axis words.
    AxisConflict,
    /// 25: the same letter twice.
    Repeated,
    /// 26: no axis word.
    NoAxes,
    /// 27: the line number is too large.
    LineNumber,
    /// 28: a word is missing.
    Missing,
    /// 29: no such work coordinates.
    NoSuchOffset,
    /// 30: G53 goes with G0 and G1.
    MachineCoordinates,
    /// 31: axis words, and nothing that uses them.
    AxesUnused,
    /// 32: no axis word of the arc's plane.
    NoAxesInPlane,
    /// 33: an arc that is none, or a probe that goes nowhere.
    Target,
    /// 34: the radius is too small.
    Radius,
    /// 35: no centre in the arc's plane.
    NoCenter,
    /// 36: a word that nothing uses.
    Unused,
    /// 37: G43.1 takes Z and no other axis.
    ToolLengthAxis,
    /// 38: no such tool.
    NoSuchTool,
    /// 39: out of range.
    OutOfRange,
    /// 41: the spindle stands.
    SpindleStands,
    /// 42: not in this plane.
    Plane,
    /// 54: the retract level is below the bottom.
    Retract,
    /// An expression that cannot be worked out.
    Expression,
    /// Units that the firmware does not have.
    Units,
}

/// A line that is refused, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// By which rule.
    pub rule: Rule,
    /// The letter it is about; 0: the line as a whole.
    pub letter: u8,
    /// The code it is about, in tenths, if it is one.
    pub code: Option<(u8, u32)>,
}

impl Refusal {
    /// A refusal of the line as a whole.
    pub const fn line(rule: Rule) -> Self {
        Self { rule, letter: 0, code: None }
    }

    /// A refusal of a word.
    pub const fn word(rule: Rule, letter: u8) -> Self {
        Self { rule, letter, code: None }
    }

    /// A refusal of a code, in tenths.
    pub const fn code(rule: Rule, letter: u8, tenths: u32) -> Self {
        Self { rule, letter, code: Some((letter, tenths)) }
    }
}

/// The rules of one firmware, with the modes that they depend on.
#[derive(Debug, Clone)]
pub enum Rules {
    /// Grbl 1.1h, grblHAL or FluidNC.
    Grbl(Grbl),
    /// LinuxCNC 2.9.
    LinuxCnc(LinuxCnc),
    /// Klipper.
    Klipper(Klipper),
    /// A firmware that refuses no line: it passes over what it does not know.
    None,
}

impl Rules {
    /// The rules of a firmware, as it starts.
    pub fn of(firmware: Firmware) -> Self {
        match firmware {
            Firmware::Grbl | Firmware::GrblHal | Firmware::FluidNc => Self::Grbl(Grbl::new(firmware)),
            Firmware::LinuxCnc => Self::LinuxCnc(LinuxCnc::default()),
            Firmware::Klipper => Self::Klipper(Klipper::default()),
            _ => Self::None,
        }
    }

    /// What the firmware answers to a line as it is sent, without its end. Arcs are not measured: see
    /// [`Rules::answer_at`].
    ///
    /// # Errors
    /// The rule that refuses the line.
    pub fn answer(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.answer_at(line, None)
    }

    /// The same, with where the machine stands and counts from: arcs are measured too.
    ///
    /// # Errors
    /// The rule that refuses the line.
    pub fn answer_at(&mut self, line: &[u8], state: Option<&State>) -> Result<(), Refusal> {
        match self {
            Self::Grbl(rules) => rules.answer(line, state),
            Self::LinuxCnc(rules) => rules.answer(line),
            Self::Klipper(rules) => rules.answer(line),
            Self::None => Ok(()),
        }
    }

    /// What the firmware answers to a line that has been read already; arcs are not measured. `None`: it has to be read
    /// again, as it is sent, by [`Rules::answer`]. Most lines of any program are plain moves and end here.
    #[inline]
    pub fn answer_statement(&mut self, statement: &Statement) -> Option<Result<(), Refusal>> {
        let plain = statement.plain && !statement.repeated && !statement.split;
        let motion = match statement.codes() {
            [] => None,
            [(b'G', motion @ (0 | 10))] => Some(*motion),
            _ => return self.answer_other(statement),
        };
        let letters = match self {
            Self::Klipper(_) => &b"GXYZEF"[..],
            _ => b"GXYZF",
        };
        if !plain || !statement.has_only(letters) {
            return self.answer_other(statement);
        }
        let (moves, feed) = (statement.has_any(b"XYZ"), statement.value(b'F'));
        match self {
            Self::Grbl(rules) => rules.answer_plain(motion, moves, feed),
            Self::LinuxCnc(rules) => {
                rules.answer_plain(motion, moves, feed).or_else(|| Some(rules.answer_statement(statement)))
            }
            Self::Klipper(_) if feed.is_none_or(|feed| feed > 0.0) => Some(Ok(())),
            Self::Klipper(_) => Some(Err(Refusal::word(Rule::NotPositive, b'F'))),
            Self::None => Some(Ok(())),
        }
    }

    #[cold]
    fn answer_other(&mut self, statement: &Statement) -> Option<Result<(), Refusal>> {
        match self {
            Self::Grbl(_) => None,
            Self::LinuxCnc(rules) if !statement.odd => Some(rules.answer_statement(statement)),
            Self::LinuxCnc(_) => None,
            Self::Klipper(rules) => rules.answer_statement(statement),
            Self::None => Some(Ok(())),
        }
    }
}

#[cfg(test)]
mod test;
