//! What the lines that are no plain moves mean for those that are: position, modes, and whether arcs may stand at all.
//!
//! Where a line could do something that is not certain, the position is unknown from there until the program states
//! it, and moves pass as they are meanwhile. Nothing here guesses.

use super::words::PlainMove;
use crate::block::{Block, Item};
use crate::interpret::Family;
use crate::statement::{Form, Statement};
use crate::time::Firmware;
use crate::words::{self, Effect, Firmwares};

/// The state that plain moves are read in. Lengths and feeds as the program writes them.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)] // Each is one modal group of two members.
pub(super) struct Track {
    /// X, Y, Z, where known; in relative mode a sum that only its differences matter of.
    pub position: [Option<f64>; 3],
    /// The extruder, where known.
    pub extruder: Option<f64>,
    /// The program's motion mode in tenths of a G code.
    pub motion: Option<u32>,
    pub feed: Option<f64>,
    /// S of a beam or spindle, where known.
    pub speed: Option<f64>,
    pub relative: bool,
    pub inches: bool,
    /// M83, as Klipper and RepRapFirmware have it: nothing else counts.
    extruder_relative: bool,
    /// As Marlin 2 has it: G90 and G91 set the extruder's mode too.
    extruder_relative_marlin: bool,
    /// Modes in which arcs mean something else or nothing: G18, G19, G90.1, G41, G42, G93, G95.
    other_plane: bool,
    absolute_centers: bool,
    compensated: bool,
    other_feed_mode: bool,
    /// Loops, subroutines, rotation, scaling, polar coordinates, codes computed on the way: arcs are over.
    over: bool,
    /// Whether filament, heaters or macros were named: Klipper refuses arcs under G91 (and CNC firmware does not).
    printer: bool,
}

/// What a line means for the G2 or G3 that may stand before it in what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It names its own motion.
    Names,
    /// It moves in the mode that is in force.
    Relies,
    /// It does neither.
    Neither,
}

/// What the axis words of a line are for, as one of its codes has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axes {
    /// The code is a motion.
    Motion,
    /// They are the code's own.
    Own,
    /// The code says nothing about them.
    Neither,
}

impl Track {
    /// Whether arcs may stand here.
    #[inline]
    pub(super) fn allows_arcs(&self) -> bool {
        let other_mode = self.other_plane || self.absolute_centers || self.compensated || self.other_feed_mode;
        !(other_mode || self.over || self.relative && self.printer)
    }

    /// Whether E is relative; `None` where firmwares disagree: Klipper asks M82 and M83 only, Marlin 2 the last of
    /// those and of G90 and G91, Marlin 1 whether either is relative. Extruding moves are then left alone.
    #[inline]
    pub(super) fn extruder_relative(&self) -> Option<bool> {
        let klipper = self.extruder_relative;
        let agreed = klipper == self.extruder_relative_marlin && klipper == (klipper || self.relative);
        agreed.then_some(klipper)
    }

    /// Nothing is known any more of where the machine is and what a move without words would do.
    fn forget(&mut self) {
        self.position = [None; 3];
        (self.extruder, self.motion, self.feed, self.speed) = (None, None, None, None);
    }

    /// Where a plain move leads, axis by axis.
    #[inline]
    pub(super) fn target(&self, found: &PlainMove) -> [Option<f64>; 3] {
        let mut to = self.position;
        for (axis, field) in [found.x, found.y, found.z].into_iter().enumerate() {
            if let Some(field) = field {
                to[axis] = if self.relative { to[axis].map(|at| at + field.value) } else { Some(field.value) };
            }
        }
        to
    }

    /// How much filament a plain move takes, where that is known.
    #[inline]
    pub(super) fn filament(&self, found: &PlainMove) -> Option<f64> {
        let Some(field) = found.e else { return Some(0.0) };
        if self.extruder_relative()? { Some(field.value) } else { Some(field.value - self.extruder?) }
    }

    /// Takes in a plain move.
    #[inline]
    pub(super) fn take(&mut self, found: &PlainMove, to: [Option<f64>; 3]) {
        if let Some(feed_motion) = found.feed_motion {
            self.motion = Some(if feed_motion { 10 } else { 0 });
        }
        self.position = to;
        if let Some(field) = found.e {
            self.printer = true;
            self.extruder = match self.extruder_relative() {
                Some(true) => self.extruder.map(|at| at + field.value),
                Some(false) => Some(field.value),
                None => None,
            };
        }
        if let Some(field) = found.f {
            // Smoothieware keeps the F of rapids apart.
            let of_rapids = self.motion != Some(10) && self.feed != Some(field.value);
            self.feed = if of_rapids { None } else { Some(field.value) };
        }
        if let Some(field) = found.s {
            self.speed = Some(field.value);
        }
    }

    /// A line too long to be looked at: unless it is a comment, anything may stand in it.
    pub(super) fn skip_long(&mut self, beginning: &[u8]) {
        if beginning.iter().find(|byte| **byte != b' ').is_none_or(|byte| *byte != b';') {
            self.forget();
            self.over = true;
        }
    }

    /// Takes in any other line.
    #[cold]
    pub(super) fn take_other(&mut self, block: &Block, statement: &mut Statement) -> After {
        statement.read(block, None);
        match statement.form {
            Form::Blank => After::Neither,
            Form::Words => self.take_words(statement),
            Form::Flow => {
                self.forget();
                self.over = true;
                After::Relies
            }
            Form::System | Form::Bracketed => {
                self.forget();
                After::Neither
            }
            Form::Extended => {
                self.printer = true;
                if !keeps_position(block) {
                    self.forget();
                }
                After::Neither
            }
        }
    }

    fn take_words(&mut self, statement: &Statement) -> After {
        let mut names = false;
        let mut takes_axes = false;
        for &(letter, tenths) in statement.codes() {
            match (letter, tenths) {
                (b'G', 0 | 10 | 20 | 30) => (self.motion, names) = (Some(tenths), true),
                (b'G', _) => {
                    let axes = self.take_g(tenths, statement);
                    names |= axes == Axes::Motion;
                    takes_axes |= axes == Axes::Own;
                }
                (b'M', _) => takes_axes |= self.take_m(tenths),
                _ => self.forget(),
            }
        }
        if !takes_axes {
            self.take_rates(statement);
            self.take_axes(statement);
        } else if statement.has(b'S') {
            self.speed = None;
        }
        // Whether `/` lines run is for a switch at the machine to say.
        let only_moves = statement.codes().iter().all(|code| matches!(code, (b'G', 0 | 10 | 20 | 30)));
        let computed = statement.is_unknown(b'G') || statement.is_unknown(b'M') || statement.codes_lost > 0;
        self.over |= computed || statement.deleted && !only_moves;
        if computed || statement.deleted || statement.odd || statement.split || names && takes_axes {
            self.forget();
        }
        let moves = AXES.iter().any(|letter| statement.mentions(*letter));
        match (names && !statement.deleted, moves && !takes_axes || statement.deleted) {
            (true, _) => After::Names,
            (false, true) => After::Relies,
            (false, false) => After::Neither,
        }
    }

    /// F and S of a line that moves, or that switches spindle or beam.
    fn take_rates(&mut self, statement: &Statement) {
        if statement.mentions(b'F') {
            self.feed = statement.value(b'F').filter(|_| !statement.repeated);
        }
        if statement.mentions(b'S') {
            self.speed = statement.value(b'S').filter(|_| !statement.repeated);
        }
    }

    /// The axis words of a line that moves and is no plain move: numbered, checked, an arc, with other axes.
    fn take_axes(&mut self, statement: &Statement) {
        let known_motion = matches!(self.motion, Some(0 | 10 | 20 | 30));
        for (axis, letter) in [b'X', b'Y', b'Z'].into_iter().enumerate() {
            if statement.mentions(letter) {
                let value = statement.value(letter).filter(|_| known_motion && !statement.repeated);
                self.position[axis] = if self.relative { None } else { value };
            }
        }
        if statement.mentions(b'E') || statement.mentions(b'A') {
            let value = statement.value(b'E').filter(|_| !statement.repeated);
            self.extruder = if self.extruder_relative() == Some(false) { value } else { None };
        }
        if statement.mentions(b'@') || statement.mentions(b'^') {
            self.forget();
        }
    }

    /// A G code that is no plain motion. Says what the line's axis words are for.
    fn take_g(&mut self, tenths: u32, statement: &Statement) -> Axes {
        match tenths {
            40 => return Axes::Own,
            80 | 90 | 610 | 611 | 640 | 980 | 990 => {}
            // Without words a printer's retraction by the firmware; with words an offset.
            100 | 110 => {
                if statement.has_any(b"LPXYZR") {
                    self.forget();
                }
                return Axes::Own;
            }
            170 => self.other_plane = false,
            180 | 190 => self.other_plane = true,
            200 | 210 => {
                if self.inches != (tenths == 200) {
                    self.forget();
                    self.feed = None;
                }
                self.inches = tenths == 200;
            }
            400 => self.compensated = false,
            401..=429 => self.compensated = true,
            900 => (self.relative, self.extruder_relative_marlin) = (false, false),
            910 => (self.relative, self.extruder_relative_marlin) = (true, true),
            901 => self.absolute_centers = true,
            911 => self.absolute_centers = false,
            920 => {
                self.take_shift(statement);
                return Axes::Own;
            }
            930 | 950 => (self.other_feed_mode, self.feed) = (true, None),
            940 => self.other_feed_mode = false,
            150..=169 | 500..=519 | 680..=699 => {
                self.forget();
                self.over = true;
            }
            430..=499 => {
                self.position[2] = None;
                return Axes::Own;
            }
            800 => {
                self.motion = None;
                return Axes::Motion;
            }
            540..=599 => self.forget(),
            // Splines, threads, cycles, probes: where they end is not followed.
            _ if matches!(words::effect_of_any(Firmwares::ALL, b'G', tenths), Effect::Moves | Effect::Probes) => {
                self.forget();
                self.motion = Some(tenths);
                return Axes::Motion;
            }
            _ => {
                self.forget();
                return Axes::Own;
            }
        }
        Axes::Neither
    }

    /// G92: what it names is where the program now says it is.
    fn take_shift(&mut self, statement: &Statement) {
        for (axis, letter) in [b'X', b'Y', b'Z'].into_iter().enumerate() {
            if statement.mentions(letter) {
                self.position[axis] = None;
            }
        }
        if statement.mentions(b'E') {
            self.extruder = statement.value(b'E').filter(|_| !statement.repeated);
        } else if !AXES.iter().any(|letter| statement.mentions(*letter)) {
            self.forget();
        }
    }

    /// An M code. Says whether the words behind it are its own.
    fn take_m(&mut self, tenths: u32) -> bool {
        self.printer |= words::tells_family(b'M', tenths) == Some(Family::Printer);
        match tenths {
            // Spindle, beam, coolant: axis words on their line are a move.
            30..=90 if words::effect_of_any(Firmwares::CNC, b'M', tenths) == Effect::Switches => return false,
            820 => (self.extruder_relative, self.extruder_relative_marlin) = (false, false),
            830 => (self.extruder_relative, self.extruder_relative_marlin) = (true, true),
            // A subroutine may leave any mode behind; M97 is one too, of controllers that no firmware here is.
            970..=999 => {
                self.forget();
                self.over = true;
            }
            _ => match words::effect_of_any(
                if self.printer { Firmwares::PRINTERS } else { Firmwares::ALL },
                b'M',
                tenths,
            ) {
                // Heat, fans, messages, progress, limits, flow, pressure advance, marks of objects.
                effect if effect.keeps_place() && effect != Effect::Mode || effect == Effect::Saves => {}
                _ => self.forget(),
            },
        }
        true
    }
}

/// Letters of moves.
const AXES: &[u8] = b"XYZEABCUVW@^";

/// Klipper's commands that set something or label an object leave the head where it is; of a macro nobody knows.
fn keeps_position(block: &Block) -> bool {
    block.items().all(|item| match item {
        Item::Extended { text, .. } => {
            let effect = words::effect_of_command(Firmware::Klipper, text);
            effect.keeps_place() || effect == Effect::Switches
        }
        _ => true,
    })
}
