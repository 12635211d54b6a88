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

use crate::arc::{self, Arc, ArcFault, Tolerance};
use crate::modal::{FeedMode, Modal, Spindle};
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

    /// Where the line's axis words lead, in machine coordinates.
    #[inline]
    fn target(&self, statement: &Statement) -> [f64; 3] {
        if self.transform.is_some() || self.modal.diameter {
            return self.target_bent(statement);
        }
        if statement.has(b'R') {
            if let Some(to) = self.target_from_place(statement) {
                return to;
            }
        }
        let mut to = self.position;
        let unit = self.modal.unit_mm();
        let offset = self.offsets.total();
        if statement.has_any(b"@^") {
            self.polar(statement, &mut to);
        }
        for (axis, letter) in [b'X', b'Y', b'Z'].into_iter().enumerate() {
            if let Some(value) = statement.value(letter) {
                let value = value * unit;
                to[axis] = if self.modal.relative { to[axis] + value } else { value + offset[axis] };
            }
        }
        to
    }

    /// LinuxCNC's polar words: `@` is the distance from the program's zero, `^` the angle in degrees.
    #[cold]
    fn polar(&self, statement: &Statement, to: &mut [f64; 3]) {
        let (a, b, _) = arc::axes(self.modal.plane);
        let offset = self.offsets.total();
        let here = self.program_position();
        let (mut distance, mut angle) = (here[a].hypot(here[b]), here[b].atan2(here[a]).to_degrees());
        let kept = |relative: bool, present: f64| if relative { present } else { 0.0 };
        if let Some(value) = statement.value(b'@') {
            distance = kept(self.modal.relative, distance) + value * self.modal.unit_mm();
        }
        if let Some(value) = statement.value(b'^') {
            angle = kept(self.modal.relative, angle) + value;
        }
        let (sin, cos) = angle.to_radians().sin_cos();
        (to[a], to[b]) = (offset[a] + distance * cos, offset[b] + distance * sin);
    }

    fn motion(&self, line: u64, path: Path, to: [f64; 3], extruded_mm: f64, reference: bool) -> Move {
        Move { line, path, from: self.position, to, extruded_mm, feed_mm_min: self.feed_mm_min(), reference }
    }

    /// The feed in force in mm/min; 0 where none is set.
    #[inline]
    fn feed_mm_min(&self) -> f64 {
        let feed = self.modal.feed.unwrap_or(0.0) * self.modal.unit_mm();
        if self.modal.feed_mode == FeedMode::PerRevolution { feed * self.revolutions_per_minute() } else { feed }
    }

    /// How fast the spindle is told to turn. With G96 the speed is the surface's, and follows from X.
    #[cold]
    fn revolutions_per_minute(&self) -> f64 {
        let Some(limit) = self.modal.surface_speed else { return self.modal.speed };
        let surface_mm_min = self.modal.speed * if self.modal.inches { 304.8 } else { 1000.0 };
        let around = std::f64::consts::TAU * self.program_position()[0].abs();
        if around > 0.0 { (surface_mm_min / around).min(limit) } else { limit }
    }

    /// How far the extruder goes, and its new position.
    #[inline]
    fn extrusion(&mut self, statement: &Statement) -> (f64, f64) {
        let Some(value) = statement.value(self.extruder_letter) else { return (0.0, self.extruder) };
        self.has_extruder_word = true;
        if self.family == Family::Cnc {
            return (0.0, self.extruder);
        }
        let value = value * self.modal.unit_mm();
        let (pushed, extruder) = if self.modal.extruder_is_relative() {
            (value, self.extruder + value)
        } else {
            (value - self.extruder, value)
        };
        (self.filament_area_mm2.map_or(pushed, |area| pushed / area), extruder)
    }

    /// A motion in the present mode.
    #[inline]
    fn travel<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) {
        if statement.unknown_any(MOTION_LETTERS) || statement.unknown_any(b"IJKR") {
            self.unreadable(line, statement, watch);
            return;
        }
        let mode = self.modal.motion.unwrap_or(0);
        if self.modal.motion.is_none() {
            watch.event(Event::Fault(Fault::NoMotionMode), line, self);
        }
        if statement.has_any(b"ABCUVW") {
            self.other_axes(line, statement, watch);
        }
        let plain = matches!(statement.codes(), [] | [(b'G', 0 | 10 | 20 | 30)]);
        let machine = !plain && statement.has_code(b'G', 530);
        let to = if machine { self.machine_target(line, statement, mode, watch) } else { self.target(statement) };
        let (extruded_mm, extruder) = self.extrusion(statement);
        let path = match mode {
            0 if self.family == Family::Cnc => Path::Rapid,
            20 | 30 if machine => return,
            20 | 30 => match self.arc_path(line, statement, to, watch) {
                Some(path) => path,
                None => return,
            },
            0 | 10 | 382..=385 => Path::Line,
            50 | 51 => return self.spline(line, statement, mode, to, (extruded_mm, extruder), watch),
            330 | 331 if self.family == Family::Cnc => return self.synchronised(line, statement, mode, to, watch),
            760 if self.family == Family::Cnc => return self.thread(line, statement, to, watch),
            730 | 740 | 810..=890 if self.family == Family::Cnc => {
                return self.drill(line, statement, mode, watch);
            }
            _ => return,
        };
        let mut motion = self.motion(line, path, to, extruded_mm, machine);
        if self.modal.feed_mode == FeedMode::InverseTime {
            // One over minutes, and for this line only.
            motion.feed_mm_min = statement.value(b'F').unwrap_or(0.0) * motion.length();
        }
        watch.moved(&motion, self);
        self.position = to;
        self.extruder = extruder;
    }

    /// Words for axes beyond X, Y and Z: the extruder of some slicers' files is A; all others are not followed.
    #[cold]
    fn other_axes<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) {
        if self.family == Family::Printer {
            // MakerBot's files, and PrusaSlicer's for Mach 3 and Machinekit. A machine that is known has its E.
            if self.firmware.is_none() && statement.has(b'A') && !self.has_extruder_word {
                self.extruder_letter = b'A';
            }
            return;
        }
        if let Some(letter) = b"ABCUVW".iter().find(|letter| statement.has(**letter)).filter(|_| !self.told_of_axis) {
            self.told_of_axis = true;
            watch.event(Event::NotFollowed(Unfollowed::Axis(*letter)), line, self);
        }
    }

    /// The target of a G53 line: machine coordinates, whatever offsets are set.
    fn machine_target<W: Watch>(&self, line: u64, statement: &Statement, mode: u32, watch: &mut W) -> [f64; 3] {
        if !matches!(mode, 0 | 10) {
            watch.event(Event::Fault(Fault::MachineCoordinatesWithArc), line, self);
        }
        let mut to = self.position;
        for (axis, letter) in [b'X', b'Y', b'Z'].into_iter().enumerate() {
            if let Some(value) = statement.value(letter) {
                to[axis] = value * self.modal.unit_mm();
            }
        }
        to
    }

    #[cold]
    fn unreadable<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) {
        if let Some(letter) = b"XYZEIJKR".iter().find(|letter| statement.is_unknown(**letter)) {
            watch.event(Event::Fault(Fault::Unreadable(*letter)), line, self);
        }
    }

    /// The arc that G2 or G3 asks for. Where it is none, CNC firmware refuses the line and the machine stays where it
    /// is; a printer draws what it can.
    fn arc_path<W: Watch>(&self, line: u64, statement: &Statement, to: [f64; 3], watch: &mut W) -> Option<Path> {
        let (path, fault) = match self.arc(statement, to) {
            Ok((arc, fault)) => (if arc.radius > 0.0 { Path::Arc(arc) } else { Path::Line }, fault),
            Err(fault) => (Path::Line, Some(fault)),
        };
        if let Some(fault) = fault {
            watch.event(Event::Fault(Fault::Arc(fault)), line, self);
        }
        (fault.is_none() || self.family == Family::Printer).then_some(path)
    }

    fn arc(&self, statement: &Statement, to: [f64; 3]) -> Result<(Arc, Option<ArcFault>), ArcFault> {
        let plane = self.modal.plane;
        let (a, b, _) = arc::axes(plane);
        let clockwise = self.modal.motion == Some(20);
        let unit = self.modal.unit_mm();
        let tolerance = match self.arc_tolerance {
            Tolerance::LINUXCNC if self.modal.inches => Tolerance::LINUXCNC_INCH,
            tolerance => tolerance,
        };
        // LinuxCNC and grblHAL count turns; Marlin counts whole circles before the arc.
        let turns = match (self.family, statement.value(b'P')) {
            (_, None) => 1.0,
            (Family::Cnc, Some(turns)) => turns,
            (Family::Printer, Some(circles)) if self.firmwares().meets(MARLIN) => circles.trunc() + 1.0,
            (Family::Printer, Some(_)) => 1.0,
        };
        let offsets = [statement.value(b'I'), statement.value(b'J'), statement.value(b'K')];
        let has_center = offsets[a].is_some() || offsets[b].is_some();
        if let Some(transform) = &self.transform {
            return self.arc_bent(statement, to, transform, (clockwise, turns, &tolerance));
        }
        if let Some(radius) = statement.value(b'R') {
            let center = Arc::center_of_radius(plane, self.position, to, radius * unit, clockwise)?;
            let (arc, fault) = Arc::about(plane, self.position, to, center, clockwise, turns, &tolerance);
            return Ok((arc, has_center.then_some(ArcFault::CenterAndRadius).or(fault)));
        }
        if !has_center {
            return Err(ArcFault::NoCenter);
        }
        let total = self.offsets.total();
        let place = |axis: usize| match (offsets[axis], self.modal.arc_absolute) {
            (Some(value), true) => value * unit + total[axis],
            (Some(value), false) => self.position[axis] + value * unit,
            (None, true) => total[axis],
            (None, false) => self.position[axis],
        };
        Ok(Arc::about(plane, self.position, to, [place(a), place(b)], clockwise, turns, &tolerance))
    }
}

/// Whose G2 and G3 take P as whole circles (`ARC_P_CIRCLES`).
const MARLIN: Firmwares = Firmwares::of(Firmware::Marlin);

/// Filament that a firmware assumes where nobody says another, in millimetres.
const FILAMENT_MM: f64 = 1.75;

/// Letters that make a line a motion. A is here for MakerBot's extruder; rotary axes are not followed.
const MOTION_LETTERS: &[u8] = b"XYZEABCUVW@^";

#[cfg(test)]
mod test;
