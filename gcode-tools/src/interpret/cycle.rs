//! Canned drilling cycles, G73, G74 and G81 to G89, taken apart into moves as the LinuxCNC manual describes them.

use super::{Event, Family, Fault, Path, State, Watch};
use crate::arc;
use crate::statement::Statement;

/// Repeats of one cycle (L) that are followed. A row of more holes is a mistake or an attack.
pub(super) const REPEATS_MAX: f64 = 10_000.0;

/// Pecks of one hole that are followed.
const PECKS_MAX: u32 = 10_000;

/// Moves of all cycles of a program that are followed: a board of ten thousand holes in twenty pecks each has fewer.
/// Without it one short line would come to a hundred million.
const STEPS_MAX: u32 = 1_000_000;

/// How far G73 and G83 draw back or stay clear of the bottom, in millimetres (LinuxCNC: 0.010 inch).
const CLEARANCE_MM: f64 = 0.254;

/// The sticky words of a canned cycle.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cycle {
    mode: u32,
    bottom: f64,
    retract: f64,
    peck: f64,
    pause: f64,
    initial: f64,
    bottom_set: bool,
    retract_set: bool,
}

impl Cycle {
    /// The same, for a code that may be the cycle itself.
    pub(super) fn end_unless_drilling(&mut self, tenths: u32) {
        if !matches!(tenths, 730 | 740 | 810..=890) {
            self.end();
        }
    }

    /// Any other motion ends a row of holes: the next cycle starts from its own level, with its own words.
    #[inline]
    pub(super) fn end(&mut self) {
        if self.mode != 0 {
            *self = Self::default();
        }
    }
}

impl State {
    /// One line of a canned cycle: one hole, or L of them.
    pub(super) fn drill<W: Watch>(&mut self, line: u64, statement: &Statement, mode: u32, watch: &mut W) {
        debug_assert_eq!(self.family, Family::Cnc);
        let (a, b, c) = arc::axes(self.modal.plane);
        let unit = self.modal.unit_mm();
        if self.cycle.mode == 0 {
            self.cycle.initial = self.position[c];
        }
        self.cycle.mode = mode;
        let letters = [b'X', b'Y', b'Z'];
        if let Some(value) = statement.value(b'R') {
            self.cycle.retract = value * unit;
            self.cycle.retract_set = true;
        }
        if let Some(value) = statement.value(letters[c]) {
            self.cycle.bottom = value * unit;
            self.cycle.bottom_set = true;
        }
        self.cycle.peck = statement.value(b'Q').map_or(self.cycle.peck, |value| value * unit);
        self.cycle.pause = statement.value(b'P').unwrap_or(self.cycle.pause);
        let missing = if self.cycle.bottom_set { (!self.cycle.retract_set).then_some(b'R') } else { Some(letters[c]) };
        if let Some(letter) = missing {
            watch.event(Event::Fault(Fault::CycleWord(letter)), line, self);
            return;
        }
        let repeats = statement.value(b'L').unwrap_or(1.0).floor();
        if repeats > REPEATS_MAX {
            watch.event(Event::Fault(Fault::CycleRepeats(repeats)), line, self);
        }
        let offset = self.offsets.total()[c];
        let start = self.position[c];
        // Under G91 the R level counts from where the cycle starts, and the bottom from the R level.
        let levels = if self.modal.relative {
            (start + self.cycle.retract, start + self.cycle.retract + self.cycle.bottom)
        } else {
            (self.cycle.retract + offset, self.cycle.bottom + offset)
        };
        for _ in 0..repeats.clamp(0.0, REPEATS_MAX) as u32 {
            if self.cycle_steps >= STEPS_MAX {
                watch.event(Event::Fault(Fault::CycleSteps), line, self);
                break;
            }
            let target = self.target(statement);
            self.hole(line, [target[a], target[b]], levels, watch);
        }
    }

    /// One hole at a place in the plane, from the R level to the bottom.
    fn hole<W: Watch>(&mut self, line: u64, place: [f64; 2], (retract, bottom): (f64, f64), watch: &mut W) {
        let (a, b, c) = arc::axes(self.modal.plane);
        let start = self.position[c];
        let clear = if self.modal.retract_to_r { retract } else { retract.max(self.cycle.initial) };
        let along = |state: &Self, height: f64| {
            let mut to = state.position;
            to[c] = height;
            to
        };
        if start < retract {
            self.step(line, Path::Rapid, along(self, retract), watch);
        }
        let mut above = self.position;
        (above[a], above[b]) = (place[0], place[1]);
        self.step(line, Path::Rapid, above, watch);
        self.step(line, Path::Rapid, along(self, retract), watch);
        self.pecks(line, retract, bottom, watch);
        if matches!(self.cycle.mode, 820 | 860 | 880 | 890) {
            watch.event(Event::Dwell(self.cycle.pause.max(0.0)), line, self);
        }
        let out = if matches!(self.cycle.mode, 740 | 840 | 850 | 890) { Path::Line } else { Path::Rapid };
        if out == Path::Line {
            self.step(line, out, along(self, retract), watch);
        }
        self.step(line, Path::Rapid, along(self, clear), watch);
    }

    /// Down to the bottom, at once or in pecks.
    fn pecks<W: Watch>(&mut self, line: u64, retract: f64, bottom: f64, watch: &mut W) {
        let (_, _, c) = arc::axes(self.modal.plane);
        let at = |state: &Self, height: f64| {
            let mut to = state.position;
            to[c] = height;
            to
        };
        let peck = self.cycle.peck;
        if matches!(self.cycle.mode, 730 | 830) && peck > 0.0 {
            let mut depth = retract - peck;
            for _ in 0..PECKS_MAX {
                if depth <= bottom || self.cycle_steps >= STEPS_MAX {
                    break;
                }
                self.step(line, Path::Line, at(self, depth), watch);
                if self.cycle.mode == 830 {
                    self.step(line, Path::Rapid, at(self, retract), watch);
                    self.step(line, Path::Rapid, at(self, depth + CLEARANCE_MM), watch);
                } else {
                    self.step(line, Path::Rapid, at(self, depth + CLEARANCE_MM), watch);
                }
                depth -= peck;
            }
        }
        self.step(line, Path::Line, at(self, bottom), watch);
    }

    fn step<W: Watch>(&mut self, line: u64, path: Path, to: [f64; 3], watch: &mut W) {
        if to != self.position {
            self.cycle_steps = self.cycle_steps.saturating_add(1);
            let motion = self.motion(line, path, to, 0.0, false);
            watch.moved(&motion, self);
            self.position = to;
        }
    }
}
