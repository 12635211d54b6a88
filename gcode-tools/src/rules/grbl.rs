//! Grbl 1.1h, and where grblHAL and FluidNC differ. In the order in which `gc_execute_line` finds faults: a line with
//! several gets the number of the first.

use super::letters::Read;
use super::{Letters, Refusal, Rule, Scan};
use crate::interpret::State;
use crate::modal::Plane;
use crate::time::Firmware;

mod codes;
mod motion;

const NO_MOTION: u32 = 800;

/// Largest line number (`MAX_LINE_NUMBER`).
const LINE_NUMBER_MAX: f64 = 10_000_000.0;

/// Largest tool number (`MAX_TOOL_NUMBER`).
const TOOL_MAX: f64 = 255.0;

/// Work offsets that G10 may set: Grbl has six, grblHAL nine.
const OFFSETS: [f64; 2] = [6.0, 9.0];

const AXES: &[u8] = b"XYZ";

/// What the axis words of a line belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    None,
    NonModal,
    Motion,
    ToolLength,
    Scaling,
}

/// Modes that rules depend on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Modes {
    /// In tenths; 800 is none.
    motion: u32,
    plane: Plane,
    incremental: bool,
    /// 930, 940 or 950.
    feed_mode: u32,
    inches: bool,
    feed: f64,
}

/// The rules of Grbl and its kin.
#[derive(Debug, Clone)]
pub struct Grbl {
    firmware: Firmware,
    modes: Modes,
    has_mist: bool,
}

/// One line, as far as it has been read.
#[allow(clippy::struct_excessive_bools)] // Each is a thing that a line may say.
struct Line {
    modes: Modes,
    axis: Axis,
    /// Bits of the modal groups that have been named.
    groups: u32,
    /// The code of group 0, in tenths; 0 is none.
    non_modal: u32,
    words: Letters,
    values: [f64; 26],
    tool_length: u32,
    ends: bool,
    macro_call: bool,
    sets_tool: bool,
    cycle_changes: bool,
}

impl Line {
    fn value(&self, letter: u8) -> f64 {
        self.values[usize::from(letter - b'A')]
    }

    fn has(&self, letter: u8) -> bool {
        self.words.has(letter)
    }

    fn takes_axes(&mut self, axis: Axis, tenths: u32) -> Result<(), Refusal> {
        if self.axis != Axis::None {
            return Err(Refusal::code(Rule::AxisConflict, b'G', tenths));
        }
        self.axis = axis;
        Ok(())
    }
}

type Outcome = Result<(), Refusal>;

impl Grbl {
    /// As the firmware starts.
    pub fn new(firmware: Firmware) -> Self {
        let modes = Modes { motion: 0, plane: Plane::Xy, incremental: false, feed_mode: 940, inches: false, feed: 0.0 };
        Self { firmware, modes, has_mist: firmware != Firmware::Grbl }
    }

    /// The same, built with `ENABLE_M7`.
    #[must_use]
    pub fn with_mist(self) -> Self {
        Self { has_mist: true, ..self }
    }

    fn is_hal(&self) -> bool {
        self.firmware == Firmware::GrblHal
    }

    fn is_plain(&self) -> bool {
        self.firmware == Firmware::Grbl
    }

    /// What is answered to a line.
    pub(super) fn answer(&mut self, bytes: &[u8], state: Option<&State>) -> Outcome {
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| matches!(byte, b'$' | b'[')) {
            return Ok(());
        }
        let mut line = Line {
            modes: self.modes,
            axis: Axis::None,
            groups: 0,
            non_modal: 0,
            words: Letters::default(),
            values: [0.0; 26],
            tool_length: 0,
            ends: false,
            macro_call: false,
            sets_tool: false,
            cycle_changes: false,
        };
        let words = if self.is_hal() { Scan::new(bytes).with_slash_first() } else { Scan::new(bytes) };
        for word in words {
            match word {
                Read::NoLetter(byte) => return Err(Refusal::word(Rule::NoLetter, byte)),
                Read::NoNumber(letter) => return Err(Refusal::word(Rule::NoNumber, letter)),
                Read::Word(b'G', value) => self.g(&mut line, value)?,
                Read::Word(b'M', value) if !line.macro_call => self.m(&mut line, value)?,
                Read::Word(letter, value) => self.value(&mut line, letter, value)?,
            }
        }
        if !line.macro_call {
            self.judge(&mut line, state)?;
        }
        self.modes = line.modes;
        if self.modes.feed_mode == 930 {
            self.modes.feed = 0.0;
        }
        if line.ends {
            let Modes { inches, feed, .. } = self.modes;
            self.modes = Modes { motion: 10, plane: Plane::Xy, incremental: false, feed_mode: 940, inches, feed };
        }
        Ok(())
    }

    /// A plain move that a fast reader has already taken apart: `motion` is G0's or G1's tenths, if it stands there.
    /// `None`: the line has to be read.
    #[inline]
    pub fn answer_plain(&mut self, motion: Option<u32>, moves: bool, feed: Option<f64>) -> Option<Outcome> {
        let feed_mm = feed.map(|feed| if self.modes.inches { feed * 25.4 } else { feed });
        let mode = motion.unwrap_or(self.modes.motion);
        if self.modes.feed_mode != 940 || !matches!(mode, 0 | 10) || feed.is_some_and(|feed| feed < 0.0) {
            return None;
        }
        let in_force = feed_mm.unwrap_or(self.modes.feed);
        if mode == 10 && in_force == 0.0 && (moves || motion.is_some()) {
            return Some(Err(Refusal::word(Rule::NoFeed, b'F')));
        }
        (self.modes.motion, self.modes.feed) = (mode, in_force);
        Some(Ok(()))
    }

    /// Any other word.
    fn value(&self, line: &mut Line, letter: u8, value: f64) -> Outcome {
        let known = if self.is_plain() { b"FIJKLNPRSTXYZ".contains(&letter) } else { letter != b'O' };
        if !known {
            return Err(Refusal::word(Rule::Unsupported, letter));
        }
        if self.is_plain() && letter == b'T' && value > TOOL_MAX {
            return Err(Refusal::word(Rule::NoSuchTool, letter));
        }
        if !self.is_plain() && letter == b'L' && value.fract() >= 0.005 {
            return Err(Refusal::word(Rule::NotInteger, letter));
        }
        if line.words.insert(letter) {
            return Err(Refusal::word(Rule::Repeated, letter));
        }
        let never_negative = if self.is_plain() { &b"FNPST"[..] } else { b"HLNOT" };
        if value < 0.0 && never_negative.contains(&letter) {
            return Err(Refusal::word(Rule::Negative, letter));
        }
        line.values[usize::from(letter - b'A')] = value;
        Ok(())
    }

    /// The line as a whole.
    fn judge(&self, line: &mut Line, state: Option<&State>) -> Outcome {
        let axes = line.words.meets(Letters::of(AXES));
        if axes && line.axis == Axis::None {
            line.axis = Axis::Motion;
        }
        if line.has(b'N') && line.value(b'N') > LINE_NUMBER_MAX {
            return Err(Refusal::word(Rule::LineNumber, b'N'));
        }
        if !self.is_plain() && line.has(b'T') && line.value(b'T').fract() != 0.0 {
            return Err(Refusal::word(Rule::NotInteger, b'T'));
        }
        self.feed(line)?;
        if line.sets_tool && !line.has(b'Q') {
            return Err(Refusal::word(Rule::Missing, b'Q'));
        }
        if line.sets_tool {
            line.words.remove(b"Q");
        }
        if line.non_modal == 40 && line.groups & 1 != 0 {
            if !line.has(b'P') {
                return Err(Refusal::word(Rule::Missing, b'P'));
            }
            if line.value(b'P') < 0.0 {
                return Err(Refusal::word(Rule::Negative, b'P'));
            }
            line.words.remove(b"P");
        }
        if line.axis == Axis::Scaling {
            let scales = line.non_modal == 510;
            if scales && !axes {
                return Err(Refusal::code(Rule::NoAxes, b'G', 510));
            }
            if scales {
                line.words.remove(AXES);
            }
        }
        let only_z = line.has(b'Z') && !line.has(b'X') && !line.has(b'Y');
        // grblHAL has a length for every axis.
        let has_length = if self.is_hal() { axes } else { only_z };
        if line.axis == Axis::ToolLength && line.tool_length == 431 && !has_length {
            return Err(Refusal::code(Rule::ToolLengthAxis, b'G', 431));
        }
        self.non_modal(line, axes)?;
        let axes = line.words.meets(Letters::of(AXES));
        if line.modes.motion == NO_MOTION {
            // grblHAL lets G28 and its like have their axes.
            if axes && (self.is_plain() || line.axis != Axis::NonModal) {
                return Err(Refusal::line(Rule::AxesUnused));
            }
        } else if line.axis == Axis::Motion {
            self.motion(line, axes, state)?;
        }
        line.words.remove(b"NFST");
        if line.axis != Axis::None {
            line.words.remove(AXES);
        }
        line.words.first().map_or(Ok(()), |letter| Err(Refusal::word(Rule::Unused, letter)))
    }

    fn feed(&self, line: &mut Line) -> Outcome {
        let motion = line.modes.motion;
        let mut feed = if line.has(b'F') { line.value(b'F') } else { 0.0 };
        if !self.is_plain() && line.has(b'F') && feed < 0.0 {
            return Err(Refusal::word(Rule::Negative, b'F'));
        }
        if line.modes.feed_mode == 930 {
            let rapid = matches!(motion, NO_MOTION | 0) || (self.is_hal() && matches!(motion, 330 | 331));
            if line.axis == Axis::Motion && !rapid && !line.has(b'F') {
                return Err(Refusal::word(Rule::NoFeed, b'F'));
            }
        } else if self.modes.feed_mode == line.modes.feed_mode {
            if !line.has(b'F') {
                feed = self.modes.feed;
            } else if line.modes.inches {
                feed *= 25.4;
            }
        }
        line.modes.feed = feed;
        if !self.is_plain() && line.has(b'S') && line.value(b'S') < 0.0 {
            return Err(Refusal::word(Rule::Negative, b'S'));
        }
        Ok(())
    }

    /// G10, G28, G30, G53 and G92.
    fn non_modal(&self, line: &mut Line, axes: bool) -> Outcome {
        if line.groups & 1 == 0 {
            return Ok(());
        }
        match line.non_modal {
            100 => {
                let level = if line.has(b'L') { line.value(b'L').trunc() } else { 0.0 };
                if self.is_hal() && level != 2.0 && level != 20.0 {
                    // Tool tables are there only where the machine has one.
                    return Err(Refusal::word(Rule::Unsupported, b'L'));
                }
                if !axes && (self.is_plain() || level == 20.0 || !line.has(b'R')) {
                    return Err(Refusal::code(Rule::NoAxes, b'G', 100));
                }
                if !(line.has(b'P') || line.has(b'L')) {
                    return Err(Refusal::word(Rule::Missing, b'P'));
                }
                if line.value(b'P') < 0.0 {
                    return Err(Refusal::word(Rule::Negative, b'P'));
                }
                let most = OFFSETS[usize::from(self.is_hal())];
                let beyond = line.value(b'P').trunc() > most;
                let offsets = level == 2.0 || level == 20.0;
                if beyond && (self.is_plain() || offsets) {
                    return Err(Refusal::word(Rule::NoSuchOffset, b'P'));
                }
                if !offsets || (level == 2.0 && line.has(b'R')) {
                    return Err(Refusal::word(Rule::Unsupported, if offsets { b'R' } else { b'L' }));
                }
                line.words.remove(b"LP");
            }
            920 if !axes => return Err(Refusal::code(Rule::NoAxes, b'G', 920)),
            280 | 300 if !axes => line.axis = Axis::None,
            530 if !matches!(line.modes.motion, 0 | 10) => {
                return Err(Refusal::code(Rule::MachineCoordinates, b'G', 530));
            }
            _ => {}
        }
        Ok(())
    }
}
