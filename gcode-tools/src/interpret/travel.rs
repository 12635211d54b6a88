//! A motion in the present mode: where it leads, how fast, how much filament it pushes, and which arc it is.

use super::{Event, Family, Fault, MOTION_LETTERS, Move, Path, State, Unfollowed, Watch};
use crate::arc::{self, Arc, ArcFault, Tolerance};
use crate::modal::FeedMode;
use crate::statement::Statement;
use crate::time::Firmware;
use crate::words::Firmwares;

/// Whose G2 and G3 take P as whole circles (`ARC_P_CIRCLES`).
const MARLIN: Firmwares = Firmwares::of(Firmware::Marlin);

impl State {
    /// Where the line's axis words lead, in machine coordinates.
    #[inline]
    pub(super) fn target(&self, statement: &Statement) -> [f64; 3] {
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
    pub(super) fn polar(&self, statement: &Statement, to: &mut [f64; 3]) {
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

    pub(super) fn motion(&self, line: u64, path: Path, to: [f64; 3], extruded_mm: f64, reference: bool) -> Move {
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
    pub(super) fn revolutions_per_minute(&self) -> f64 {
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
    pub(super) fn travel<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) {
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
    pub(super) fn unreadable<W: Watch>(&mut self, line: u64, statement: &Statement, watch: &mut W) {
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
