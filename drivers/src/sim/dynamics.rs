//! How long moves take on a machine with inertia: ramps, speeds at corners, and a queue that looks ahead.
//!
//! Written from what Grbl's and Marlin's documentation say of their planners, and not from the time model of
//! `gcode-tools`: each is the other's witness. An arc is one move here, where firmwares make chords of it.

use crate::profile::{Cornering, Profile};

/// How far a chord of Grbl's and Marlin's arcs is from the arc, in millimetres. What the corners between chords allow
/// follows from it.
const CHORD_MM: f64 = 0.002;

/// What a machine's axes can do. X, Y, Z, E.
#[derive(Debug, Clone, PartialEq)]
pub struct Dynamics {
    /// Highest feed of each axis, in mm/min.
    pub feed_max_mm_min: [f64; 4],
    /// Highest acceleration of each axis, in mm/s².
    pub acceleration_mm_s2: [f64; 4],
    /// Accelerations of extruding moves, of the extruder alone, and of other moves, in mm/s²; none: the axes' alone.
    pub default_acceleration_mm_s2: Option<[f64; 3]>,
    /// How corners are taken.
    pub cornering: Cornering,
}

impl Dynamics {
    /// What a profile says of its machine.
    pub fn of(profile: &Profile) -> Self {
        Self {
            feed_max_mm_min: profile.motion.feed_max_mm_min,
            acceleration_mm_s2: profile.motion.acceleration_mm_s2,
            default_acceleration_mm_s2: profile.motion.default_acceleration_mm_s2,
            cornering: profile.motion.cornering,
        }
    }

    /// The most that moves in a direction may have of something each axis has a limit of.
    fn most(limits: [f64; 4], direction: [f64; 4]) -> f64 {
        let along =
            |axis: usize| if direction[axis] == 0.0 { f64::INFINITY } else { limits[axis] / direction[axis].abs() };
        (0..4).map(along).fold(f64::INFINITY, f64::min)
    }

    /// What a course makes of the machine's limits.
    pub(super) fn ramp(&self, course: &Course) -> Ramp {
        let kinds = self.default_acceleration_mm_s2.unwrap_or([f64::INFINITY; 3]);
        let still = course.leaves[..3] == [0.0; 3];
        let kind = if still { kinds[1] } else { kinds[if course.extrudes { 0 } else { 2 }] };
        let acceleration = Self::most(self.acceleration_mm_s2, course.leaves)
            .min(Self::most(self.acceleration_mm_s2, course.arrives))
            .min(kind);
        let mut cruise = (course.feed_mm_min / 60.0)
            .min(Self::most(self.feed_max_mm_min, course.leaves) / 60.0)
            .min(Self::most(self.feed_max_mm_min, course.arrives) / 60.0);
        if let (Some(radius), Cornering::JunctionDeviationMm(deviation)) = (course.radius_mm, self.cornering) {
            cruise = cruise.min((acceleration * deviation * (radius / CHORD_MM - 1.0).max(0.0)).sqrt());
        }
        Ramp {
            length: course.length_mm,
            cruise: cruise.max(1e-3),
            acceleration,
            leaves: course.leaves,
            arrives: course.arrives,
            entry_max: 0.0,
            entry: 0.0,
        }
    }

    /// The speed that a move may end with when nothing follows.
    pub(super) fn rest(&self, ramp: &Ramp) -> f64 {
        self.jump(ramp.arrives)
    }

    /// The speed from which a machine may stand still at once, or at which it may set off: classic jerk has one.
    fn jump(&self, direction: [f64; 4]) -> f64 {
        match self.cornering {
            Cornering::JerkMmS(jerk) => Self::most(jerk, direction),
            _ => 0.0,
        }
    }

    /// The highest speed around the corner between two moves.
    fn corner(&self, before: &Ramp, after: &Ramp) -> f64 {
        let (from, to) = (before.arrives, after.leaves);
        let most = before.cruise.min(after.cruise);
        match self.cornering {
            Cornering::JerkMmS(jerk) => {
                let mut change = [0.0; 4];
                for axis in 0..4 {
                    let turns_back = from[axis] * to[axis] < 0.0;
                    // A reversal is as hard as the faster of its two speeds.
                    change[axis] =
                        if turns_back { from[axis].abs().max(to[axis].abs()) } else { to[axis] - from[axis] };
                }
                most.min(Self::most(jerk, change))
            }
            Cornering::JunctionDeviationMm(deviation) => {
                let cos = -(0..4).map(|axis| from[axis] * to[axis]).sum::<f64>();
                // Half the angle between the two moves, seen from the corner: straight on is a right angle.
                let sin_half = ((1.0 - cos) / 2.0).clamp(0.0, 1.0).sqrt();
                if sin_half > 1.0 - 1e-9 {
                    return most;
                }
                let mut inward = std::array::from_fn(|axis| to[axis] - from[axis]);
                let norm = (0..4).map(|axis: usize| f64::powi(inward[axis], 2)).sum::<f64>().sqrt();
                inward = inward.map(|part| part / norm);
                let acceleration = Self::most(self.acceleration_mm_s2, inward);
                most.min((acceleration * deviation * sin_half / (1.0 - sin_half)).sqrt())
            }
            Cornering::SquareCornerVelocityMmS(_) => most,
        }
    }
}

/// One move as it is asked for. Directions are unit vectors of the way, X, Y, Z, with the share of E as the fourth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Course {
    pub(super) to: [f64; 3],
    pub(super) length_mm: f64,
    pub(super) feed_mm_min: f64,
    leaves: [f64; 4],
    arrives: [f64; 4],
    extrudes: bool,
    radius_mm: Option<f64>,
}

impl Course {
    /// A straight move.
    pub(super) fn line(from: [f64; 3], to: [f64; 3], extruded_mm: f64, feed_mm_min: f64) -> Self {
        let way: [f64; 3] = std::array::from_fn(|axis| to[axis] - from[axis]);
        let travelled = way.iter().map(|part| part * part).sum::<f64>().sqrt();
        let length_mm = if travelled > 0.0 { travelled } else { extruded_mm.abs() };
        let share = |part: f64| if length_mm > 0.0 { part / length_mm } else { 0.0 };
        let direction = [share(way[0]), share(way[1]), share(way[2]), share(extruded_mm)];
        let extrudes = extruded_mm > 0.0 && travelled > 0.0;
        Self { to, length_mm, feed_mm_min, leaves: direction, arrives: direction, extrudes, radius_mm: None }
    }

    /// A move, about the centre at I, J from its start if it is an arc: `(i, j, clockwise)`.
    pub(super) fn of(
        from: [f64; 3],
        to: [f64; 3],
        arc: Option<(f64, f64, bool)>,
        extruded_mm: f64,
        feed_mm_min: f64,
    ) -> Self {
        match arc {
            Some(arc) => Self::arc(from, to, arc, extruded_mm, feed_mm_min),
            None => Self::line(from, to, extruded_mm, feed_mm_min),
        }
    }

    /// An arc about the centre at I, J from its start.
    fn arc(from: [f64; 3], to: [f64; 3], arc: (f64, f64, bool), extruded_mm: f64, feed_mm_min: f64) -> Self {
        let (i, j, clockwise) = arc;
        let [dx, dy, dz] = [to[0] - from[0], to[1] - from[1], to[2] - from[2]];
        let radius = i.hypot(j);
        let (start, end) = ((-j).atan2(-i), (dy - j).atan2(dx - i));
        let mut angle = if clockwise { start - end } else { end - start };
        while angle <= 1e-9 {
            angle += std::f64::consts::TAU;
        }
        let flat = radius * angle;
        let length_mm = flat.hypot(dz);
        let turn = if clockwise { -1.0 } else { 1.0 };
        let tangent = |at: f64| {
            let (sin, cos) = at.sin_cos();
            let share = if length_mm > 0.0 { flat / length_mm } else { 0.0 };
            [-sin * turn * share, cos * turn * share, dz / length_mm.max(1e-12), extruded_mm / length_mm.max(1e-12)]
        };
        Self {
            to,
            length_mm,
            feed_mm_min,
            leaves: tangent(start),
            arrives: tangent(end),
            extrudes: extruded_mm > 0.0,
            radius_mm: Some(radius),
        }
    }
}

/// A move in the queue: how fast it may be, and how fast it may be entered. Speeds in mm/s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ramp {
    length: f64,
    cruise: f64,
    acceleration: f64,
    leaves: [f64; 4],
    arrives: [f64; 4],
    entry_max: f64,
    entry: f64,
}

impl Ramp {
    /// A move of a machine without inertia.
    pub(super) fn steady(course: &Course) -> Self {
        let cruise = course.feed_mm_min.max(1.0) / 60.0;
        let (leaves, arrives) = (course.leaves, course.arrives);
        Self {
            length: course.length_mm,
            cruise,
            acceleration: f64::INFINITY,
            leaves,
            arrives,
            entry_max: cruise,
            entry: cruise,
        }
    }

    /// The speed it may be entered with, as planned.
    pub(super) fn entry(&self) -> f64 {
        self.entry
    }

    /// It will be entered with this speed: the move before it cannot do more.
    pub(super) fn enter(&mut self, speed: f64) {
        self.entry = self.entry.min(speed);
    }

    /// The speed at one end, where the other end has this one.
    fn reach(&self, other: f64) -> f64 {
        (other * other + 2.0 * self.acceleration * self.length).sqrt()
    }

    /// How it runs, entered at this speed and followed by a move that may be entered at `exit`.
    pub(super) fn run(&self, entry: f64, exit: f64) -> Run {
        let exit = exit.min(self.cruise).min(self.reach(entry));
        let top = (self.acceleration * self.length + f64::midpoint(entry * entry, exit * exit)).sqrt();
        let peak = self.cruise.min(top).max(entry).max(exit);
        let ramp_s = |from: f64, to: f64| {
            if self.acceleration.is_finite() { (to - from).abs() / self.acceleration } else { 0.0 }
        };
        let (rise_s, fall_s) = (ramp_s(entry, peak), ramp_s(peak, exit));
        let rise = f64::midpoint(entry, peak) * rise_s;
        let fall = f64::midpoint(peak, exit) * fall_s;
        let cruise_s = ((self.length - rise - fall) / peak).max(0.0);
        Run { length: self.length, entry, peak, exit, rise_s, cruise_s, fall_s }
    }
}

/// How one move runs, in seconds and mm/s of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    length: f64,
    entry: f64,
    peak: f64,
    pub(super) exit: f64,
    rise_s: f64,
    cruise_s: f64,
    fall_s: f64,
}

impl Run {
    /// Seconds in all.
    pub(super) fn seconds(&self) -> f64 {
        self.rise_s + self.cruise_s + self.fall_s
    }

    /// Seconds until it begins to slow down. Until then a higher speed at its end changes nothing of what was.
    pub(super) fn slows_after_s(&self) -> f64 {
        self.rise_s + self.cruise_s
    }

    /// The speed it is entered with.
    pub(super) fn entry(&self) -> f64 {
        self.entry
    }

    /// The part of the way, from 0 to 1, that is behind it after some seconds.
    pub(super) fn part_after(&self, seconds: f64) -> f64 {
        let ramp = |from: f64, to: f64, takes: f64, passed: f64| {
            let passed = passed.clamp(0.0, takes);
            from * passed + if takes > 0.0 { (to - from) * passed * passed / takes / 2.0 } else { 0.0 }
        };
        let way = ramp(self.entry, self.peak, self.rise_s, seconds)
            + self.peak * (seconds - self.rise_s).clamp(0.0, self.cruise_s)
            + ramp(self.peak, self.exit, self.fall_s, seconds - self.rise_s - self.cruise_s);
        (way / self.length.max(1e-12)).clamp(0.0, 1.0)
    }
}

/// Puts the last ramp in its place behind the others: what it may be entered with, and what that allows those before.
/// The first of them is running: its speed at the start is what it is.
pub(super) fn look_ahead<'a>(dynamics: &Dynamics, mut backwards: impl Iterator<Item = &'a mut Ramp>) {
    let Some(last) = backwards.next() else { return };
    let rest = dynamics.jump(last.arrives);
    let mut entered = None;
    let mut after = last;
    for before in backwards {
        if entered.is_none() {
            after.entry_max = dynamics.corner(before, after);
            after.entry = after.entry_max.min(after.reach(rest.min(after.cruise)));
        } else {
            let entry = after.entry_max.min(after.reach(entered.unwrap_or_default()));
            if entry == after.entry {
                return;
            }
            after.entry = entry;
        }
        entered = Some(after.entry);
        after = before;
    }
    if entered.is_none() {
        after.entry = dynamics.jump(after.leaves).min(after.cruise);
    }
}
