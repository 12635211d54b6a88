//! Follows a program line by line and says what the machine does: moves in machine coordinates, stops, tools.
//!
//! ```
//! use gcode_tools::interpret::{Family, Move, State, Watch};
//! use gcode_tools::{block::Block, statement::Statement};
//!
//! struct Ends(Vec<[f64; 3]>);
//! impl Watch for Ends {
//!     fn moved(&mut self, motion: &Move, _: &State) {
//!         self.0.push(motion.to);
//!     }
//! }
//!
//! let (mut state, mut ends) = (State::new(Family::Cnc), Ends(Vec::new()));
//! for (number, line) in ["G20 G91", "G0 X1", "G92 X0", "G90 G1 X3 F10"].into_iter().enumerate() {
//!     state.execute(number as u64 + 1, &Statement::of(&Block::new(line.as_bytes())), &mut ends);
//! }
//! assert_eq!(ends.0, [[25.4, 0.0, 0.0], [101.6, 0.0, 0.0]]); // millimetres, machine coordinates
//! ```
//!
//! Nothing is judged here. Whoever wants to know something implements [`Watch`]; analysis, preflight and preview do.

use crate::arc::Tolerance;
use crate::modal::{Modal, Spindle};
use crate::profile::Profile;
use crate::statement::{Form, Statement};
use crate::time::Firmware;
use crate::words::{self, Effect, Firmwares};

mod command;
mod cycle;
mod heat;
mod offset;
mod saved;
mod spline;
mod thread;
mod transform;
mod travel;
mod watch;

pub use heat::{Heating, Until};
pub use offset::Offsets;
pub use watch::{Event, Family, Fault, Move, Path, Unfollowed, Watch};

/// Where the program stands.
#[derive(Debug, Clone)]
pub struct State {
    /// Which family's meaning is used.
    pub family: Family,
    /// Whose words they are, where that is known.
    pub firmware: Option<Firmware>,
    /// Modal state after the last line.
    pub modal: Modal,
    /// Machine position in millimetres, X, Y, Z. Before homing and first moves: 0.
    pub position: [f64; 3],
    /// The E axis as the program counts it, in millimetres.
    pub extruder: f64,
    /// Offsets between program and machine coordinates.
    pub offsets: Offsets,
    /// The cross section of the filament while E is a volume in mm³ (M200 D), in mm²; `None` while E is a length.
    pub filament_area_mm2: Option<f64>,
    /// The letter that moves the extruder: E, or A in MakerBot's files.
    pub extruder_letter: u8,
    /// Whether the machine has loops and subroutines (O-words).
    pub has_flow: bool,
    /// When an arc is none.
    pub arc_tolerance: Tolerance,
    cycle: cycle::Cycle,
    /// Moves made by canned cycles so far.
    cycle_steps: u32,
    /// Rotation and scaling, while there is any.
    transform: Option<Box<transform::Transform>>,
    /// The second control point of the last G5, counted from its end: the next may go on from it.
    spline_end: Option<[f64; 2]>,
    saved: saved::Saved,
    /// Whether E has pushed filament: then A is an axis.
    has_extruder_word: bool,
    /// Whether an axis that is not followed has been told of.
    told_of_axis: bool,
}

impl State {
    /// The start of a program on a machine of this family: at zero, no offsets, LinuxCNC's modal defaults.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            firmware: None,
            modal: Modal { ends: family == Family::Cnc, ..Modal::default() },
            position: [0.0; 3],
            extruder: 0.0,
            offsets: Offsets::default(),
            filament_area_mm2: None,
            extruder_letter: b'E',
            has_flow: true,
            arc_tolerance: Tolerance::LINUXCNC,
            cycle: cycle::Cycle::default(),
            cycle_steps: 0,
            transform: None,
            spline_end: None,
            saved: saved::Saved::default(),
            has_extruder_word: false,
            told_of_axis: false,
        }
    }

    /// The start of a program on a profile's machine.
    pub fn of_profile(profile: &Profile) -> Self {
        let firmware = Firmware::of_profile(profile);
        let mut state = Self::new(firmware.family());
        state.firmware = Some(firmware);
        state.modal.extruder_mode = profile.extruder_mode();
        state.has_flow = firmware == Firmware::LinuxCnc;
        if firmware.is_grbl() {
            state.arc_tolerance = Tolerance::GRBL;
        }
        state
    }

    /// The firmwares whose meaning a word has here: one, or all of the family where it is not known.
    fn firmwares(&self) -> Firmwares {
        match (self.firmware, self.family) {
            (Some(firmware), _) => Firmwares::of(firmware),
            (None, Family::Printer) => Firmwares::PRINTERS,
            (None, Family::Cnc) => Firmwares::CNC,
        }
    }

    /// The position as the program counts it, in millimetres.
    pub fn program_position(&self) -> [f64; 3] {
        if self.transform.is_some() {
            return self.program_position_bent();
        }
        let offset = self.offsets.total();
        [self.position[0] - offset[0], self.position[1] - offset[1], self.position[2] - offset[2]]
    }

    /// Whether the beam or spindle is on with power: M3 or M4, and S above 0.
    #[inline]
    pub fn is_powered(&self) -> bool {
        self.modal.spindle != Spindle::Off && self.modal.speed > 0.0
    }

    /// Executes one line's statement.
    #[inline]
    pub fn execute<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) {
        if statement.form != Form::Words || self.modal.ended {
            return;
        }
        let codes = statement.codes();
        match codes {
            [] => {
                self.modal.apply_statement(statement);
                if statement.odd {
                    self.put_tool_away(line, statement, watch);
                }
            }
            [(b'G', 0 | 10 | 20 | 30)] => {
                self.modal.apply_statement(statement);
                self.cycle.end();
                self.spline_end = None;
            }
            _ => {
                if self.execute_codes(line, statement, watch) {
                    return;
                }
            }
        }
        if statement.has_any(MOTION_LETTERS) {
            self.travel(line, statement, watch);
        } else if statement.unknown_any(MOTION_LETTERS) {
            self.unreadable(line, statement, watch);
        } else if matches!(codes.first(), Some((b'G', 20 | 30))) && statement.has_any(b"IJKR") {
            self.travel(line, statement, watch);
        }
    }

    /// What codes do besides modal state. Says whether they used up the line's axis words.
    #[cold]
    fn execute_codes<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) -> bool {
        let mut used = false;
        let mut moves = false;
        let before = (self.modal.spindle, self.modal.mist, self.modal.flood);
        self.modal.apply_statement(statement);
        if before != (self.modal.spindle, self.modal.mist, self.modal.flood) {
            watch.event(Event::Stop, line, self);
        }
        for &(letter, tenths) in statement.codes() {
            match (letter, tenths) {
                (b'G', 0 | 10 | 20 | 30 | 800) => {
                    moves |= tenths != 800;
                    self.cycle.end();
                }
                (b'G', _) => {
                    let (takes_axes, is_motion) = self.execute_g(line, tenths, statement, watch);
                    used |= takes_axes;
                    moves |= is_motion;
                }
                (b'M', _) => self.execute_m(line, tenths, statement, watch),
                _ => {
                    if self.family == Family::Printer && statement.selects_tool() {
                        watch.event(Event::Tool(tenths / 10), line, self);
                    }
                }
            }
        }
        // A printer's code owns the letters behind it: M201 X1000 is no move.
        used || (self.family == Family::Printer && !moves)
    }

    /// RepRapFirmware's T-1 puts the tool away.
    #[cold]
    fn put_tool_away<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) {
        let none = statement.mentions(b'T') && statement.value(b'T').is_none_or(|tool| tool < 0.0);
        if self.family == Family::Printer && none {
            self.modal.tool = None;
            watch.event(Event::NoTool, line, self);
        }
    }

    /// One G code that is no plain motion: whether it used the axis words, and whether it is a motion.
    fn execute_g<W: Watch>(&mut self, line: u64, tenths: u32, statement: &Statement, watch: &mut W) -> (bool, bool) {
        match tenths {
            40 => {
                watch.event(Event::Dwell(self.dwell_s(statement)), line, self);
                (false, false)
            }
            280 | 300 => {
                self.go_home(line, statement, watch);
                (true, true)
            }
            100 if self.family == Family::Printer => {
                self.heat_by_code(line, b'G', tenths, statement, watch);
                (true, false)
            }
            100 | 281 | 301 | 430..=432 | 490 | 520 | 540..=593 | 920..=923 => {
                let rests = match self.family {
                    Family::Cnc => tenths == 100,
                    Family::Printer => tenths == 920 && !statement.has(b'E'),
                };
                if rests {
                    watch.event(Event::Stop, line, self);
                }
                (self.set_offsets(tenths, statement), false)
            }
            530 => (false, self.family == Family::Printer),
            50 | 51 | 330 | 331 | 730 | 740 | 760 | 810..=890 if self.family == Family::Cnc => {
                self.cycle.end_unless_drilling(tenths);
                (false, true)
            }
            50 if self.effect(b'G', tenths) == Effect::Moves => (false, true),
            382..=385 => (false, true),
            650 | 660 if self.family == Family::Cnc => {
                watch.event(Event::NotFollowed(Unfollowed::Subprogram), line, self);
                (true, false)
            }
            500 | 510 | 680 | 690 => (self.bend(line, tenths, statement, watch), false),
            600 | 610 if self.family == Family::Printer => {
                self.save_or_restore_place(line, tenths, statement, watch);
                (true, false)
            }
            _ => {
                self.tell_unfollowed(line, b'G', tenths, watch);
                (false, false)
            }
        }
    }

    /// What a code does on this machine.
    fn effect(&self, letter: u8, tenths: u32) -> Effect {
        words::effect_of_any(self.firmwares(), letter, tenths)
    }

    /// Tells of a code whose motion, or whose change of what coordinates mean, is not followed.
    fn tell_unfollowed<W: Watch>(&mut self, line: u64, letter: u8, tenths: u32, watch: &mut W) {
        if self.effect(letter, tenths) == Effect::NotFollowed {
            watch.event(Event::NotFollowed(Unfollowed::Code(letter, tenths)), line, self);
        }
    }

    /// M200: from a diameter on, E is a volume; D0 or S0 make it a length again.
    fn set_volumetric(&mut self, statement: &Statement) {
        let diameter = statement.value(b'D').filter(|diameter| diameter.is_finite() && *diameter >= 0.0);
        match (diameter, statement.value(b'S')) {
            (_, Some(0.0)) | (Some(0.0), _) => self.filament_area_mm2 = None,
            (Some(diameter), _) => self.filament_area_mm2 = Some(std::f64::consts::FRAC_PI_4 * diameter * diameter),
            // Volumes again, of filament as thick as before.
            (None, Some(_)) => {
                let usual = std::f64::consts::FRAC_PI_4 * FILAMENT_MM * FILAMENT_MM;
                self.filament_area_mm2 = self.filament_area_mm2.or(Some(usual));
            }
            (None, None) => {}
        }
    }

    fn execute_m<W: Watch>(&mut self, line: u64, tenths: u32, statement: &Statement, watch: &mut W) {
        match tenths {
            60 => watch.event(Event::Tool(self.modal.tool.unwrap_or(0)), line, self),
            20 | 300 if self.modal.ended => watch.event(Event::End, line, self),
            0 | 10 | 4000 => watch.event(Event::Stop, line, self),
            2000 if self.family == Family::Printer => self.set_volumetric(statement),
            700 | 720 | 730 if self.family == Family::Cnc => self.save_or_restore_modes(tenths),
            1200 | 1210 if self.effect(b'M', tenths) != Effect::Nothing => self.save_or_restore_modes(tenths),
            1000.. if self.family == Family::Printer => self.heat_by_code(line, b'M', tenths, statement, watch),
            30..=90 | 820 | 830 => {}
            // Where there is no flow to follow it, a subprogram is the machine's own.
            980 if self.family == Family::Cnc && !self.has_flow => {
                watch.event(Event::NotFollowed(Unfollowed::Subprogram), line, self);
            }
            _ => self.tell_unfollowed(line, b'M', tenths, watch),
        }
    }

    /// A dwell's length: S is seconds, which Klipper does not read; P is seconds for CNC machines and milliseconds for
    /// printers.
    fn dwell_s(&self, statement: &Statement) -> f64 {
        let klipper = self.firmware == Some(Firmware::Klipper);
        let seconds = match (statement.value(b'S').filter(|_| !klipper), statement.value(b'P'), self.family) {
            (_, Some(pause), Family::Cnc) | (Some(pause), _, _) => pause,
            (None, Some(pause), Family::Printer) => pause / 1000.0,
            (None, None, _) => 0.0,
        };
        if seconds.is_finite() { seconds.max(0.0) } else { 0.0 }
    }

    /// G28 and G30. A printer drives to its switches; a CNC machine passes the point given and goes to its reference
    /// position, which is assumed to be machine zero: LinuxCNC's and Grbl's default.
    fn go_home<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) {
        let mut axes = [b'X', b'Y', b'Z'].map(|letter| statement.mentions(letter));
        if axes == [false; 3] {
            axes = [true; 3];
        }
        if self.family == Family::Printer {
            if statement.has_code(b'G', 300) {
                return;
            }
            let mut to = self.position;
            for axis in 0..3 {
                if axes[axis] {
                    to[axis] = 0.0;
                    self.offsets.forget_shift(axis);
                }
            }
            let motion = self.motion(line, Path::Line, to, 0.0, true);
            watch.moved(&motion, self);
            self.position = to;
            watch.event(Event::Home(axes), line, self);
            return;
        }
        let via = self.target(statement);
        if via != self.position {
            let motion = self.motion(line, Path::Rapid, via, 0.0, false);
            watch.moved(&motion, self);
            self.position = via;
        }
        let mut to = self.position;
        for axis in 0..3 {
            if axes[axis] {
                to[axis] = 0.0;
            }
        }
        let motion = self.motion(line, Path::Rapid, to, 0.0, true);
        watch.moved(&motion, self);
        self.position = to;
    }
}

/// Filament that a firmware assumes where nobody says another, in millimetres.
const FILAMENT_MM: f64 = 1.75;

/// Letters that make a line a motion. A is here for MakerBot's extruder; rotary axes are not followed.
const MOTION_LETTERS: &[u8] = b"XYZEABCUVW@^";

#[cfg(test)]
mod test;
