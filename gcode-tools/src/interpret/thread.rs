//! Motion that follows the spindle: G33, G33.1 and the threading cycle G76, as LinuxCNC and grblHAL make them.

use super::{Event, Path, State, Unfollowed, Watch};
use crate::modal::Plane;
use crate::statement::Statement;

/// Passes of one thread that are followed. Real ones have some dozens.
const PASSES_MAX: u32 = 1000;

impl State {
    /// G33: along a line, K for each turn. G33.1: there and back again.
    pub(super) fn synchronised<W: Watch>(
        &mut self,
        line: u64,
        statement: &Statement,
        mode: u32,
        to: [f64; 3],
        watch: &mut W,
    ) {
        let pitch = statement.value(b'K').unwrap_or(0.0).abs() * self.modal.unit_mm();
        let from = self.position;
        self.screw(line, to, pitch, watch);
        if mode == 331 {
            self.screw(line, from, pitch * statement.value(b'I').unwrap_or(1.0), watch);
        }
    }

    fn screw<W: Watch>(&mut self, line: u64, to: [f64; 3], pitch: f64, watch: &mut W) {
        let mut motion = self.motion(line, Path::Line, to, 0.0, false);
        motion.feed_mm_min = pitch * self.revolutions_per_minute();
        watch.moved(&motion, self);
        self.position = to;
    }

    fn over<W: Watch>(&mut self, line: u64, to: [f64; 3], watch: &mut W) {
        if to != self.position {
            let motion = self.motion(line, Path::Rapid, to, 0.0, false);
            watch.moved(&motion, self);
            self.position = to;
        }
    }

    /// G76: passes that go deeper, each from the drive line, which is where the tool stands.
    pub(super) fn thread<W: Watch>(&mut self, line: u64, statement: &Statement, to: [f64; 3], watch: &mut W) {
        let unit = self.modal.unit_mm();
        let half = if self.modal.diameter { 0.5 } else { 1.0 };
        let word = |letter: u8| statement.value(letter).filter(|value| value.is_finite());
        let (Some(pitch), Some(peak), Some(first), Some(full)) = (word(b'P'), word(b'I'), word(b'J'), word(b'K'))
        else {
            return;
        };
        let (pitch, peak) = (pitch * unit, peak * unit * half);
        let (first, full) = (first * unit * half, full * unit * half);
        // Tapers move the ends of a pass sideways; what else may go wrong the firmware refuses.
        if self.modal.plane != Plane::Zx || first <= 0.0 || full <= first || word(b'L').is_some_and(|ends| ends > 0.0) {
            watch.event(Event::NotFollowed(Unfollowed::Code(b'G', 760)), line, self);
            self.position = to;
            return;
        }
        let degression = word(b'R').filter(|degression| *degression >= 1.0).unwrap_or(1.0);
        let mut slope = word(b'Q').unwrap_or(0.0).to_radians().tan();
        let start = self.position;
        if to[2] > start[2] {
            slope = -slope;
        }
        let springs = word(b'H').unwrap_or(0.0).clamp(0.0, f64::from(PASSES_MAX)) as u32;
        let inward = peak.signum();
        let target = to[2] + full * slope;
        let mut depth = first;
        for pass in 2..=PASSES_MAX {
            if depth >= full {
                break;
            }
            self.pass(line, start, inward * (peak.abs() + depth), (depth * slope, target, pitch), watch);
            depth = first * f64::from(pass).powf(1.0 / degression);
        }
        for _ in 0..=springs {
            self.pass(line, start, inward * (peak.abs() + full), (full * slope, target, pitch), watch);
        }
        self.over(line, to, watch);
    }

    /// One pass: in, along, out, back.
    fn pass<W: Watch>(
        &mut self,
        line: u64,
        start: [f64; 3],
        depth: f64,
        (shift, target, pitch): (f64, f64, f64),
        watch: &mut W,
    ) {
        let back = [start[0], start[1], start[2] - shift];
        self.over(line, back, watch);
        self.over(line, [start[0] + depth, start[1], start[2] - shift], watch);
        self.screw(line, [start[0] + depth, start[1], target - shift], pitch, watch);
        self.over(line, [start[0], start[1], target - shift], watch);
        self.over(line, back, watch);
    }
}
