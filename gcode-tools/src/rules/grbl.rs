//! Grbl 1.1h, and where grblHAL and FluidNC differ. In the order in which `gc_execute_line` finds faults: a line with
//! several gets the number of the first.

use super::letters::Read;
use super::{Letters, Refusal, Rule, Scan};
use crate::arc::{self, Arc, ArcFault, Tolerance};
use crate::interpret::State;
use crate::modal::Plane;
use crate::time::Firmware;

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

    fn group(line: &mut Line, bit: u32, letter: u8, tenths: u32) -> Outcome {
        if line.groups & 1 << bit != 0 {
            return Err(Refusal::code(Rule::ModalGroup, letter, tenths));
        }
        line.groups |= 1 << bit;
        Ok(())
    }

    /// A G word: its group, and what it changes.
    #[allow(clippy::too_many_lines)] // A table of codes, in the order of `gc_execute_line`.
    fn g(&self, line: &mut Line, value: f64) -> Outcome {
        let whole = if self.is_plain() { f64::from(value.trunc() as i64 as u8) } else { value.trunc() };
        let hundredths = ((value - whole) * 100.0).round();
        let tenths = (whole * 10.0 + (hundredths / 10.0).trunc()).clamp(0.0, 1e6) as u32;
        let no = || Err(Refusal::code(Rule::Unsupported, b'G', (value * 10.0).round().clamp(0.0, 1e7) as u32));
        let base = whole.clamp(0.0, 1e5) as u32;
        let parts = hundredths.clamp(-1e6, 1e6) as i64;
        let (bit, most) = match base {
            4 => (0, 0),
            10 | 28 | 30 | 92 => {
                if parts == 0 {
                    line.takes_axes(Axis::NonModal, tenths)?;
                }
                let most = if base == 92 && self.is_hal() { 30 } else { 10 };
                if base != 10 && !(parts == 0 || (parts % 10 == 0 && (10..=most).contains(&parts))) {
                    return no();
                }
                (0, if base == 10 { 0 } else { parts })
            }
            53 => (0, 0),
            0..=3 | 80 => {
                if base != 80 {
                    line.takes_axes(Axis::Motion, tenths)?;
                }
                (line.modes.motion, line.cycle_changes) = (base * 10, false);
                (1, 0)
            }
            5 if self.is_hal() => {
                line.takes_axes(Axis::Motion, tenths)?;
                if !matches!(parts, 0 | 10) {
                    return no();
                }
                line.modes.motion = tenths;
                (1, parts)
            }
            33 | 76 if self.is_hal() => {
                line.takes_axes(Axis::Motion, tenths)?;
                line.modes.motion = tenths;
                (1, if parts == 10 { 10 } else { 0 })
            }
            38 => {
                if self.is_plain() {
                    line.takes_axes(Axis::Motion, tenths)?;
                }
                if !matches!(parts, 20 | 30 | 40 | 50) {
                    return no();
                }
                if !self.is_plain() {
                    line.takes_axes(Axis::Motion, tenths)?;
                }
                line.modes.motion = tenths;
                (1, parts)
            }
            73 | 81..=86 | 89 if self.is_hal() => {
                line.takes_axes(Axis::Motion, tenths)?;
                line.modes.motion = base * 10;
                line.cycle_changes = base * 10 != self.modes.motion;
                (1, 0)
            }
            17..=19 => {
                line.modes.plane = [Plane::Xy, Plane::Zx, Plane::Yz][base as usize - 17];
                (2, 0)
            }
            90 | 91 if parts == 0 => {
                line.modes.incremental = base == 91;
                (3, 0)
            }
            90 | 91 => {
                if parts != 10 || base == 90 {
                    return no();
                }
                (4, 10)
            }
            93 | 94 => {
                line.modes.feed_mode = base * 10;
                (5, 0)
            }
            95 if self.is_hal() => {
                line.modes.feed_mode = 950;
                (5, 0)
            }
            20 | 21 => {
                line.modes.inches = base == 20;
                (6, 0)
            }
            40 => (7, 0),
            43 | 49 => {
                if self.is_plain() || (base == 43 && parts == 10) {
                    line.takes_axes(Axis::ToolLength, tenths)?;
                }
                // G43 takes a length from a table, which is there only where the machine has a tool table.
                if base == 43 && parts != 10 {
                    return no();
                }
                line.tool_length = tenths;
                (8, parts)
            }
            54..=59 => {
                let more = base == 59 && parts > 0 && self.is_hal();
                if more && !matches!(parts, 10 | 20 | 30) {
                    return no();
                }
                (12, if more { parts } else { 0 })
            }
            61 => {
                if parts != 0 {
                    return no();
                }
                (13, 0)
            }
            98 | 99 if self.is_hal() => (10, 0),
            50 | 51 if self.is_hal() => {
                line.axis = Axis::Scaling;
                line.non_modal = line.non_modal.max(base * 10);
                (11, 0)
            }
            // Macros take any word as an argument.
            65..=67 if !self.is_plain() => {
                line.macro_call = true;
                (16, parts)
            }
            _ => return no(),
        };
        if bit == 0 {
            line.non_modal = tenths;
        }
        if parts > most {
            return Err(Refusal::code(Rule::NotInteger, b'G', tenths));
        }
        Self::group(line, bit, b'G', tenths)
    }

    /// An M word.
    fn m(&self, line: &mut Line, value: f64) -> Outcome {
        let whole = if self.is_plain() { f64::from(value.trunc() as i64 as u8) } else { value.trunc() };
        let tenths = (value * 10.0).round().clamp(0.0, 1e7) as u32;
        if ((value - whole) * 100.0).round() > 0.0 && (self.is_plain() || whole <= 99.0) {
            return Err(Refusal::code(Rule::NotInteger, b'M', tenths));
        }
        let bit = match whole.clamp(0.0, 1e5) as u32 {
            0 | 1 => 20,
            2 | 30 => {
                line.ends = true;
                20
            }
            60 if self.is_hal() => {
                line.ends = true;
                20
            }
            3..=5 => 23,
            7 if !self.has_mist => return Err(Refusal::code(Rule::Unsupported, b'M', tenths)),
            7..=9 => 24,
            61 if self.is_hal() => {
                line.sets_tool = true;
                22
            }
            6 | 61 if !self.is_plain() => 22,
            48..=51 | 53 if self.is_hal() => 25,
            // Ports, saved modes and subprograms: whether they are there is the machine's.
            62..=68 | 70..=73 | 98 | 99 if !self.is_plain() => {
                line.macro_call = true;
                return Ok(());
            }
            _ => return Err(Refusal::code(Rule::Unsupported, b'M', tenths)),
        };
        Self::group(line, bit, b'M', tenths)
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

    /// The motion in force, with the line's axis words.
    fn motion(&self, line: &mut Line, axes: bool, state: Option<&State>) -> Outcome {
        let motion = line.modes.motion;
        if motion == 0 {
            if !axes {
                line.axis = Axis::None;
            }
            return Ok(());
        }
        if matches!(motion, 330 | 331) {
            if line.value(b'K') == 0.0 {
                return Err(Refusal::word(Rule::OutOfRange, b'K'));
            }
            line.words.remove(b"KI");
            return Ok(());
        }
        if motion == 760 {
            return Self::thread(line);
        }
        if line.modes.feed == 0.0 {
            return Err(Refusal::word(Rule::NoFeed, b'F'));
        }
        match motion {
            10 => {
                if !axes {
                    line.axis = Axis::None;
                }
                Ok(())
            }
            20 | 30 => self.arc(line, axes, state),
            50 | 51 => self.spline(line, motion),
            382..=385 => {
                if !axes {
                    return Err(Refusal::code(Rule::NoAxes, b'G', motion));
                }
                if self.is_hal() {
                    line.words.remove(b"P");
                }
                let stays = state.is_some_and(|state| Self::target(line, state) == state.position);
                if stays { Err(Refusal::line(Rule::Target)) } else { Ok(()) }
            }
            _ => self.cycle(line),
        }
    }

    fn thread(line: &mut Line) -> Outcome {
        if line.modes.plane != Plane::Zx {
            return Err(Refusal::line(Rule::Plane));
        }
        if line.has(b'Y') {
            return Err(Refusal::word(Rule::Unused, b'Y'));
        }
        if line.has(b'R') && line.value(b'R') < 1.0 {
            return Err(Refusal::word(Rule::OutOfRange, b'R'));
        }
        if !line.has(b'Z') || !line.words.meets(Letters::of(b"IJKP")) {
            return Err(Refusal::word(Rule::Missing, if line.has(b'Z') { b'P' } else { b'Z' }));
        }
        if let Some(letter) = b"PJK".iter().find(|letter| line.value(**letter) < 0.0) {
            return Err(Refusal::word(Rule::Negative, *letter));
        }
        if line.value(b'I') == 0.0 || line.value(b'J') == 0.0 || line.value(b'K') <= line.value(b'J') {
            return Err(Refusal::word(Rule::OutOfRange, b'K'));
        }
        line.words.remove(b"EHIJKLPQR");
        Ok(())
    }

    fn spline(&self, line: &mut Line, motion: u32) -> Outcome {
        if line.modes.plane != Plane::Xy {
            return Err(Refusal::line(Rule::Plane));
        }
        if line.has(b'Z') {
            return Err(Refusal::word(Rule::AxisConflict, b'Z'));
        }
        let missing = |letters: &[u8]| letters.iter().copied().find(|letter| !line.has(*letter));
        let first = self.modes.motion != motion;
        let needed: &[u8] = match (motion, first) {
            (50, true) => b"PQIJ",
            (50, false) => b"PQ",
            _ => b"IJ",
        };
        if let Some(letter) = missing(needed) {
            return Err(Refusal::word(Rule::Missing, letter));
        }
        if motion == 51 && line.value(b'I') == 0.0 {
            return Err(Refusal::word(Rule::OutOfRange, b'I'));
        }
        line.words.remove(if motion == 50 { b"IJPQ" } else { b"IJ" });
        Ok(())
    }

    fn cycle(&self, line: &mut Line) -> Outcome {
        let (motion, first) = (line.modes.motion, line.cycle_changes);
        let normal = AXES[arc::axes(line.modes.plane).2];
        if first {
            if self.modes.feed_mode == 930 {
                return Err(Refusal::line(Rule::Invalid));
            }
            if let Some(letter) = [b'R', normal].into_iter().find(|letter| !line.has(*letter)) {
                return Err(Refusal::word(Rule::Missing, letter));
            }
        }
        if line.has(b'L') && line.value(b'L') <= 0.0 {
            return Err(Refusal::word(Rule::NotPositive, b'L'));
        }
        let (retract, bottom) = (line.value(b'R'), line.value(normal));
        if first && (if line.modes.incremental { bottom > 0.0 } else { retract < bottom }) {
            return Err(Refusal::word(Rule::Retract, b'R'));
        }
        let needed = match motion {
            820 | 840 | 860 | 890 => Some(b'P'),
            730 | 830 => Some(b'Q'),
            _ => None,
        };
        if let Some(letter) = needed {
            let least_is_zero = letter == b'P';
            if line.has(letter) && (line.value(letter) < 0.0 || (line.value(letter) == 0.0 && !least_is_zero)) {
                return Err(Refusal::word(Rule::Negative, letter));
            }
            if first && !line.has(letter) {
                return Err(Refusal::word(Rule::Missing, letter));
            }
            line.words.remove(&[letter]);
        }
        line.words.remove(b"RL");
        Ok(())
    }

    /// Where the line's axis words lead in machine coordinates.
    fn target(line: &Line, state: &State) -> [f64; 3] {
        let unit = if line.modes.inches { 25.4 } else { 1.0 };
        let offset = state.offsets.total();
        std::array::from_fn(|axis| match (line.has(AXES[axis]), line.non_modal == 530 && line.groups & 1 != 0) {
            (false, _) => state.position[axis],
            (true, true) => line.value(AXES[axis]) * unit,
            (true, false) if line.modes.incremental => state.position[axis] + line.value(AXES[axis]) * unit,
            (true, false) => line.value(AXES[axis]) * unit + offset[axis],
        })
    }

    fn arc(&self, line: &mut Line, axes: bool, state: Option<&State>) -> Outcome {
        let (a, b, _) = arc::axes(line.modes.plane);
        let by_radius = line.has(b'R');
        if self.is_plain() || by_radius {
            if !axes {
                return Err(Refusal::line(Rule::NoAxes));
            }
            if !(line.has(AXES[a]) || line.has(AXES[b])) {
                return Err(Refusal::line(Rule::NoAxesInPlane));
            }
        }
        if self.is_hal() && line.has(b'P') {
            if line.value(b'P').fract() != 0.0 {
                return Err(Refusal::word(Rule::NotInteger, b'P'));
            }
            if line.value(b'P') == 0.0 {
                return Err(Refusal::word(Rule::OutOfRange, b'P'));
            }
            line.words.remove(b"P");
        }
        if by_radius {
            line.words.remove(b"R");
        } else {
            let centers = [b"IJK"[a], b"IJK"[b]];
            if !centers.iter().any(|letter| line.has(*letter)) {
                return Err(Refusal::line(Rule::NoCenter));
            }
        }
        if let Some(state) = state {
            Self::measure(line, by_radius, state)?;
        }
        if !by_radius {
            line.words.remove(b"IJK");
        }
        Ok(())
    }

    /// Whether the arc is one.
    fn measure(line: &Line, by_radius: bool, state: &State) -> Outcome {
        let plane = line.modes.plane;
        let (a, b, _) = arc::axes(plane);
        let (from, to) = (state.position, Self::target(line, state));
        let unit = if line.modes.inches { 25.4 } else { 1.0 };
        let clockwise = line.modes.motion == 20;
        if by_radius {
            if from == to {
                return Err(Refusal::line(Rule::Target));
            }
            // Grbl allows for no rounding here: four squares of the radius less the way's.
            let (x, y) = (to[a] - from[a], to[b] - from[b]);
            let radius = line.value(b'R') * unit;
            let under = 4.0 * (radius * radius) as f32 - (x * x) as f32 - (y * y) as f32;
            return if under < 0.0 { Err(Refusal::word(Rule::Radius, b'R')) } else { Ok(()) };
        }
        let center =
            [a, b].map(|axis| from[axis] + if line.has(b"IJK"[axis]) { line.value(b"IJK"[axis]) * unit } else { 0.0 });
        let (_, fault) = Arc::about(plane, from, to, center, clockwise, 1.0, &Tolerance::GRBL);
        match fault {
            Some(ArcFault::RadiusMismatch(..)) => Err(Refusal::line(Rule::Target)),
            _ => Ok(()),
        }
    }
}
