//! Checks of moves: the envelope, homing, feeds, extrusion, plunges; and of motions that are none.

use super::finding::Place;
use super::{Conditions, Preflight, Severity};
use crate::analysis::Bounds;
use crate::arc::ArcFault;
use crate::interpret::{Event, Family, Fault, Move, Path, State, Unfollowed};
use crate::number;
use crate::profile::{Envelope, Kind, Profile};
use crate::time::Firmware;
use crate::words;

/// How far outside counts: rounding of inches and of arcs' extremes, in millimetres.
pub(super) const OUTSIDE_MM: f64 = 0.005;

/// What is said of O-words that do not belong together.
const BROKEN_FLOW: &str =
    "The other end of this O-word is missing, or its condition has no value; the rest was not checked.";

/// What is said of a subroutine inside another.
const NESTED: &str = "A subroutine is defined inside another one: LinuxCNC refuses the file.";

/// Moves shorter than this are none a machine can make, in millimetres.
const TINY_MM: f64 = 0.001;

/// So many tiny moves are worth a word.
pub(super) const TINY_MOVES_MIN: u64 = 1000;

/// How the program is laid into the machine's envelope.
#[derive(Debug)]
pub(super) struct Span {
    /// Where the offsets are unknown only the size can be checked: the box so far, by axis.
    pub(super) sized: bool,
    bounds: Bounds,
    told: [bool; 6],
}

impl Span {
    /// Only the size of what comes can be checked.
    pub(super) fn of(profile: &Profile, conditions: &Conditions) -> Self {
        let sized = !is_placed(profile, conditions);
        Self { sized, bounds: Bounds::EMPTY, told: [false; 6] }
    }
}

/// Whether a coordinate lies beyond the machine's travel along an axis.
#[inline]
pub(crate) fn is_beyond(envelope: &Envelope, axis: usize, at: f64) -> bool {
    !(at >= envelope.min[axis] - OUTSIDE_MM && at <= envelope.max[axis] + OUTSIDE_MM)
}

/// The point of a move that lies furthest outside of the machine's travel, if any does; arcs by their true extent.
///
/// An axis that stays where it is has been told of by the move that brought it there.
#[inline]
pub(crate) fn outside_of(envelope: &Envelope, motion: &Move) -> Option<[f64; 3]> {
    let beyond = |point: [f64; 3]| {
        let moved = (0..3).filter(|axis| point[*axis] != motion.from[*axis]);
        moved.map(|axis| (envelope.min[axis] - point[axis]).max(point[axis] - envelope.max[axis])).fold(0.0, f64::max)
    };
    let mut furthest = (motion.to, beyond(motion.to));
    if let Path::Arc(arc) = &motion.path {
        arc.extremes(motion.from, |point| {
            let beyond = beyond(point);
            if beyond > furthest.1 {
                furthest = (point, beyond);
            }
        });
    }
    (furthest.1 > OUTSIDE_MM).then_some(furthest.0).or_else(|| super::place::beyond_radius(envelope, motion))
}

/// Whether the program's zero may be the machine's: with a machine zero outside of the work nothing can be assumed.
pub(crate) fn is_placed(profile: &Profile, conditions: &Conditions) -> bool {
    let known = conditions.work_offset_mm.is_some();
    let plausible = profile.envelope_mm.is_none_or(|envelope| envelope.max.iter().all(|most| *most > 0.0));
    profile.kind == Kind::Printer || if conditions.asked { known && conditions.homed } else { known || plausible }
}

impl Preflight<'_> {
    #[inline]
    pub(super) fn check_move(&mut self, motion: &Move, state: &State) {
        (self.moved, self.may_move) = (true, true);
        if !motion.reference {
            self.check_envelope(motion, state);
            if !self.profile.keep_out.is_empty() && !self.extent.sized {
                self.check_keep_out(motion);
            }
        }
        if matches!(motion.path, Path::Arc(_)) {
            self.check_arc(motion.line);
        }
        if self.profile.motion.homing_required && self.homed != [true; 3] {
            self.check_homed(motion);
        }
        if motion.extruded_mm != 0.0 {
            self.check_cold(motion.line, motion.extruded_mm < 0.0);
        }
        if self.heat.is_cooling() && motion.feed_mm_min > 0.0 {
            self.heat.wait(motion.length() / motion.feed_mm_min * 60.0);
        }
        match self.family {
            Family::Cnc => self.check_cut(motion, state),
            Family::Printer => self.check_bed(motion),
        }
        if motion.to != motion.from && motion.extruded_mm == 0.0 || motion.extruded_mm.abs() < TINY_MM {
            let length = motion.length();
            if length > 0.0 && length < TINY_MM {
                self.tiny_line = if self.tiny_moves == 0 { motion.line } else { self.tiny_line };
                self.tiny_moves += 1;
            }
        }
    }

    #[inline]
    fn check_envelope(&mut self, motion: &Move, state: &State) {
        let Some(envelope) = &self.reach else { return };
        if self.conditions.asked && self.family == Family::Cnc && !self.extent.sized && state.offsets.assumed() {
            // From here on it lies where nobody knows.
            (self.unplaced, self.extent.sized) = (true, true);
        }
        if self.extent.sized {
            self.extent.bounds.add_move(motion);
            self.check_size(motion.line);
            return;
        }
        if let Some(point) = outside_of(envelope, motion) {
            self.outside(motion, point);
        }
    }

    #[cold]
    fn outside(&mut self, motion: &Move, point: [f64; 3]) {
        let Some(envelope) = self.reach else { return };
        let (low, high) = (envelope.min, envelope.max);
        let moving = |axis: usize| point[axis] != motion.from[axis];
        for axis in (0..3).filter(|axis| moving(*axis)) {
            let (limit, beyond) = if point[axis] < low[axis] - OUTSIDE_MM {
                (low[axis], "below")
            } else if point[axis] > high[axis] + OUTSIDE_MM {
                (high[axis], "above")
            } else {
                continue;
            };
            let place = Place::Letters([&b"X"[..], b"Y", b"Z"][axis]);
            let name = ["X", "Y", "Z"][axis];
            let assumed = self.family == Family::Cnc && self.conditions.work_offset_mm.is_none();
            let basis = if assumed { " (work offset assumed to be zero)" } else { "" };
            self.findings.add_at(
                motion.line,
                place,
                Severity::Error,
                "envelope.outside",
                format!(
                    "{name} reaches {} mm, {beyond} the machine's limit of {limit} mm{basis}.",
                    number::shown(point[axis])
                ),
                "Move or scale the work, or choose a larger machine.",
            );
            return;
        }
        self.outside_radius(motion, point);
    }

    /// With unknown offsets: the program must at least fit the machine's travel.
    #[inline]
    fn check_size(&mut self, line: u64) {
        let Some(envelope) = &self.profile.envelope_mm else { return };
        for axis in 0..3 {
            let travel = envelope.max[axis] - envelope.min[axis];
            let size = self.extent.bounds.max[axis] - self.extent.bounds.min[axis];
            if size > travel + OUTSIDE_MM && !self.extent.told[axis] {
                self.extent.told[axis] = true;
                let name = ["X", "Y", "Z"][axis];
                self.findings.add_at(
                    line,
                    Place::Letters([&b"X"[..], b"Y", b"Z"][axis]),
                    Severity::Error,
                    "envelope.too_large",
                    format!("The work is {} mm long in {name}; the machine travels {travel} mm.", number::shown(size)),
                    "Scale or split the work, or choose a larger machine.",
                );
            }
        }
    }

    #[cold]
    fn check_homed(&mut self, motion: &Move) {
        let released = self.released;
        if self.macros_called || motion.reference {
            return;
        }
        let moves = (0..3).any(|axis| motion.to[axis] != motion.from[axis] && !self.homed[axis]);
        if moves {
            self.homed = [true; 3];
            // Most firmwares go on all the same; Klipper refuses.
            let harmless = released && self.firmware != Firmware::Klipper;
            self.findings.add_at(
                motion.line,
                Place::Letters(b"XYZ"),
                if harmless { Severity::Warning } else { Severity::Error },
                "home.missing",
                if released {
                    "The machine moves after its motors were let go: it does not know where it is.".to_owned()
                } else {
                    "The machine moves before it has been homed: it does not know where it is.".to_owned()
                },
                if released { "Home it again, or let the motors go at the end." } else { "Add G28 at the start." },
            );
        }
    }

    /// Filament may be pushed only while the nozzle can be hot, and where a tool is selected. Klipper takes a retraction
    /// for no better and ends the print; others leave it out.
    #[inline]
    fn check_cold(&mut self, line: u64, back: bool) {
        let Some(heat) = &self.profile.heat else { return };
        if self.heat.selected != Some(true) && self.firmware == Firmware::RepRapFirmware && !back {
            self.no_tool(line);
        }
        let (target, hottest) = self.heat.target_and_hottest();
        if self.macros_called || self.heat.cold_allowed {
            return;
        }
        if hottest >= heat.extrude_min_c {
            if !back && self.heat.is_unawaited() {
                self.heat.pushed_early.get_or_insert(line);
            }
            return;
        }
        let least = heat.extrude_min_c;
        // To others it is nothing but left out.
        let harmless = back && self.firmware != Firmware::Klipper;
        self.findings.add_at(
            line,
            Place::Letters(b"EA"),
            if harmless { Severity::Note } else { Severity::Error },
            if harmless { "heat.cold_retraction" } else { "heat.cold_extrusion" },
            format!(
                "Filament is {} while the nozzle's target is {target} °C and it cannot be hotter than {hottest:.0} °C; \
                 below {least} °C the firmware refuses.",
                if back { "drawn back" } else { "pushed" }
            ),
            "Heat the nozzle first (M109).",
        );
    }

    /// A program that waits for its nozzle later did not mean to push filament before: a prime line of a start code behind
    /// M104. Whether the nozzle is hot by then is for the machine to say.
    #[cold]
    pub(super) fn pushed_early(&mut self, line: u64) {
        self.findings.add(
            line,
            Severity::Warning,
            "heat.not_awaited",
            "Filament is pushed before anything has waited for the nozzle: while it is colder, the firmware leaves it out."
                .to_owned(),
            "Wait for the nozzle before (M109).",
        );
    }

    /// RepRapFirmware pushes no filament while no tool is selected. A machine with one tool may select it as it starts.
    #[cold]
    fn no_tool(&mut self, line: u64) {
        if self.macros_called {
            return;
        }
        let one = self.profile.tools.len() <= 1 && self.heat.selected.is_none();
        self.findings.add_at(
            line,
            Place::Letters(b"EA"),
            if one { Severity::Warning } else { Severity::Error },
            "tool.none",
            "Filament is pushed while no tool is selected: the firmware leaves it out.".to_owned(),
            "Select a tool first (T0).",
        );
    }

    /// Feed, spindle and plunge of a CNC machine's move.
    #[inline]
    fn check_cut(&mut self, motion: &Move, state: &State) {
        let offset = state.offsets.total()[2];
        let (from, to) = (motion.from[2] - offset, motion.to[2] - offset);
        let deep = to < -OUTSIDE_MM || from < -OUTSIDE_MM;
        if motion.path == Path::Rapid {
            if deep && !motion.reference && self.profile.kind == Kind::Mill {
                self.check_rapid(motion, from, to);
            }
            return;
        }
        if motion.feed_mm_min <= 0.0 && state.modal.feed != Some(0.0) {
            self.no_feed(motion.line, state);
        }
        let probing = matches!(state.modal.motion, Some(382..=385));
        if deep && motion.length() > 0.0 && !probing && self.spindle_is_off(state) {
            self.findings.add_at(
                motion.line,
                Place::Letters(b"ZXY"),
                Severity::Error,
                "spindle.off",
                "The tool cuts below Z 0 while the spindle stands still.".to_owned(),
                "Start the spindle (M3 S…) first; if it is switched by hand, see that it is on.",
            );
        }
    }

    #[cold]
    fn check_rapid(&mut self, motion: &Move, from: f64, to: f64) {
        let (code, message) = if to < from {
            ("motion.rapid_plunge", format!("A rapid goes down to Z {}, below Z 0.", number::shown(to)))
        } else if motion.in_plane() && to == from {
            ("motion.rapid_in_material", format!("A rapid goes sideways at Z {}, below Z 0.", number::shown(to)))
        } else {
            return;
        };
        self.findings.add_at(
            motion.line,
            Place::Letters(b"ZXY"),
            Severity::Warning,
            code,
            message,
            "If Z 0 is the top of the work, use G1 with a feed.",
        );
    }

    #[cold]
    fn no_feed(&mut self, line: u64, state: &State) {
        let inverse = state.modal.feed_mode == crate::modal::FeedMode::InverseTime;
        let message = if inverse {
            "In inverse-time mode (G93) every line needs its own F."
        } else {
            "The move has no feed: no F has been set."
        };
        if state.modal.feed.is_some_and(|feed| feed < 0.0) {
            return;
        }
        self.findings.add(
            line,
            Severity::Error,
            "feed.missing",
            message.to_owned(),
            "Add F to the line, or before it.",
        );
    }

    pub(super) fn check_event(&mut self, event: Event, line: u64, _: &State) {
        match event {
            Event::Home(axes) => {
                for axis in 0..3 {
                    self.homed[axis] |= axes[axis];
                }
            }
            Event::Fault(fault) => self.check_fault(fault, line),
            Event::Heat(heating) => self.check_heater(line, &heating),
            Event::Cooled { tool, most_c } => self.heat.cooled(tool, most_c),
            Event::Dwell(seconds) => self.heat.wait(seconds),
            Event::NoTool => self.heat.selected = Some(false),
            Event::NotFollowed(what) => self.not_followed(what, line),
            Event::Tool(_) | Event::Stop | Event::End => {}
        }
    }

    /// From here on a check does not hold: said once for each word.
    #[cold]
    fn not_followed(&mut self, what: Unfollowed, line: u64) {
        let (place, name) = match what {
            // Said of by `offset.cutter`, with what to do.
            Unfollowed::Code(b'G', 410..=429) if self.family == Family::Cnc => return,
            Unfollowed::Code(letter, tenths) => (Place::Code(letter, tenths), words::code_name(letter, tenths)),
            Unfollowed::Axis(letter) => (Place::Letters(b"ABCUVW"), format!("The {} axis", char::from(letter))),
            Unfollowed::Command => (Place::Letters(b""), "This command".to_owned()),
            Unfollowed::Subprogram => (Place::Code(b'M', 980), "This subprogram".to_owned()),
        };
        let message = if matches!(what, Unfollowed::Axis(_)) {
            format!("{name} is not followed: how long the program takes is unknown from here on.")
        } else {
            format!("{name} is not followed: where the tool goes and what it does is unknown from here on.")
        };
        self.findings.add_at(
            line,
            place,
            Severity::Warning,
            "motion.not_followed",
            message,
            "Write the moves out, or look at the rest yourself: what is behind this line is checked as if it were not there.",
        );
    }

    fn check_fault(&mut self, fault: Fault, line: u64) {
        let cnc = self.family == Family::Cnc;
        let refused = if cnc { Severity::Error } else { Severity::Warning };
        let (severity, place, code, message): (_, _, _, String) = match fault {
            Fault::Arc(fault) => {
                let (code, message) = arc_fault(fault);
                let drawn = matches!(fault, ArcFault::RadiusMismatch(..) | ArcFault::CenterAndRadius);
                (if drawn { refused } else { Severity::Error }, Place::Letters(b"IJKRXYZ"), code, message)
            }
            Fault::Unreadable(letter) => (
                refused,
                Place::Letters(b"XYZEIJKR"),
                "number.unreadable",
                format!("The value of {} cannot be worked out; the move is not checked.", char::from(letter)),
            ),
            Fault::MachineCoordinatesWithArc => (
                Severity::Error,
                Place::Code(b'G', 530),
                "arc.machine_coordinates",
                "G53 goes with G0 and G1 only.".to_owned(),
            ),
            Fault::NoMotionMode => (
                Severity::Warning,
                Place::Letters(b"XYZ"),
                "motion.no_mode",
                "Coordinates stand before any motion code: Grbl makes a rapid of it, others refuse the line."
                    .to_owned(),
            ),
            Fault::CycleWord(letter) => (
                Severity::Error,
                Place::Letters(b"G"),
                "cycle.incomplete",
                format!("The drilling cycle has no {}.", char::from(letter)),
            ),
            Fault::Endless => (
                Severity::Error,
                Place::Letters(b"O"),
                "program.loop",
                "The loop does not end within two million lines.".to_owned(),
            ),
            Fault::NoSubroutine => (
                Severity::Error,
                Place::Letters(b"O"),
                "program.missing_sub",
                "The subroutine is not in the file: what it does could not be checked.".to_owned(),
            ),
            Fault::BrokenFlow => (Severity::Error, Place::Letters(b"O"), "program.flow", BROKEN_FLOW.to_owned()),
            Fault::NestedSubroutine => (Severity::Error, Place::Letters(b"O"), "program.flow", NESTED.to_owned()),
            Fault::CycleSteps => (
                Severity::Error,
                Place::Letters(b"LQG"),
                "cycle.repeats",
                "The drilling cycles come to more than a million moves; this one and what follows was not all checked."
                    .to_owned(),
            ),
            Fault::CycleRepeats(repeats) => (
                Severity::Error,
                Place::Letters(b"L"),
                "cycle.repeats",
                format!("The drilling cycle is repeated {repeats} times; not all were checked."),
            ),
        };
        self.findings.add_at(line, place, severity, code, message, "Correct the line.");
    }
}

fn arc_fault(fault: ArcFault) -> (&'static str, String) {
    match fault {
        ArcFault::NoCenter => {
            ("arc.no_center", "The arc has no centre: neither I, J, K of its plane nor R.".to_owned())
        }
        ArcFault::CenterAndRadius => ("arc.center_and_radius", "The arc has both a centre and a radius.".to_owned()),
        ArcFault::ZeroRadius => ("arc.zero_radius", "The arc's centre is its start: the radius is zero.".to_owned()),
        ArcFault::RadiusMismatch(start, end) => (
            "arc.radius_mismatch",
            format!("The arc starts {start:.4} mm from its centre and ends {end:.4} mm from it."),
        ),
        ArcFault::RadiusTooSmall(radius, way) => (
            "arc.radius_too_small",
            format!("A radius of {:.4} mm does not span the {way:.4} mm from start to end.", radius.abs()),
        ),
        ArcFault::RadiusWithoutWay => {
            ("arc.radius_without_way", "An arc by radius must end elsewhere than it starts.".to_owned())
        }
    }
}
