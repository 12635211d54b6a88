//! Klipper's look-ahead: square corner velocity, and a smoothed peak that leaves part of each move at constant speed.

use super::limits::Limits;
use super::planner::trapezoid_s;
use super::{Kind, Piece};
use crate::profile::Cornering;

/// Moves planned together. Klipper plans by time (a second or two of motion); this is as much, and bounded.
const QUEUE_MAX: usize = 512;

/// Moves at the end of the queue whose plan may still change, kept when the queue is full.
const QUEUE_KEPT: usize = 128;

/// Klipper's `instantaneous_corner_velocity` of the extruder, in mm/s.
const EXTRUDER_CORNER_MM_S: f64 = 1.0;

#[derive(Debug, Clone, Copy)]
struct Planned {
    length: f64,
    unit: [f64; 4],
    acceleration: f64,
    cruise_max_sq: f64,
    /// 2·a·d, and the same with the acceleration that is left beside the cruise.
    gain_sq: f64,
    smooth_gain_sq: f64,
    start_max_sq: f64,
    smooth_start_max_sq: f64,
    kinematic: bool,
    line: u64,
    tag: usize,
}

/// Moves that wait for what comes behind them.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    moves: Vec<Planned>,
    /// Speed the last executed move ended with, squared.
    start_sq: f64,
}

impl Queue {
    pub(super) fn push(&mut self, piece: &Piece, limits: &Limits) {
        let mut planned = plan(piece, limits);
        if let Some(before) = self.moves.last() {
            corner(before, &mut planned, limits);
        }
        self.moves.push(planned);
    }

    /// Executes what can no longer change, once the queue is full.
    pub(super) fn spill(&mut self, book: &mut dyn FnMut(f64, u64, usize)) {
        if self.moves.len() >= QUEUE_MAX {
            self.execute(QUEUE_MAX - QUEUE_KEPT, book);
        }
    }

    /// Brings everything to rest.
    pub(super) fn flush(&mut self, book: &mut dyn FnMut(f64, u64, usize)) {
        self.execute(self.moves.len(), book);
        self.start_sq = 0.0;
    }

    /// Plans the whole queue backwards and executes its first `count` moves.
    fn execute(&mut self, count: usize, book: &mut dyn FnMut(f64, u64, usize)) {
        let total = self.moves.len();
        // Highest speed at each corner, and the smoothed one, that still lets the machine stop behind the last move.
        let mut starts = vec![0.0; total + 1];
        let mut smooth = vec![0.0; total + 1];
        for (at, planned) in self.moves.iter().enumerate().rev() {
            starts[at] = planned.start_max_sq.min(starts[at + 1] + planned.gain_sq);
            smooth[at] = planned.smooth_start_max_sq.min(smooth[at + 1] + planned.smooth_gain_sq);
        }
        let peaks = self.peaks(&smooth);
        let mut from = self.start_sq.min(starts.first().copied().unwrap_or(0.0));
        for (at, planned) in self.moves.iter().enumerate().take(count) {
            let reach = from + planned.gain_sq;
            let to_max = starts[at + 1];
            let cruise = planned.cruise_max_sq.min(peaks[at]).min((from + planned.gain_sq + to_max) / 2.0).max(from);
            let to = to_max.min(reach).min(cruise);
            book(
                trapezoid_s(planned.length, cruise.sqrt().max(1e-6), planned.acceleration, from, to),
                planned.line,
                planned.tag,
            );
            from = to;
        }
        self.start_sq = from;
        self.moves.drain(..count);
    }

    /// The peak of the smoothed speed around each move, squared: no move cruises faster than its hill is high.
    fn peaks(&self, smooth: &[f64]) -> Vec<f64> {
        let total = self.moves.len();
        let mut peaks = vec![f64::INFINITY; total];
        let mut peak = 0.0_f64;
        let mut slope_start = total;
        for at in (0..total).rev() {
            let planned = &self.moves[at];
            let reachable = smooth[at + 1] + planned.smooth_gain_sq;
            if smooth[at] < reachable {
                // Not a pure slowing down: a hill's top, or its rising side.
                if smooth[at] + planned.smooth_gain_sq > smooth[at + 1] || slope_start > at + 1 {
                    peak = planned.cruise_max_sq.min(f64::midpoint(smooth[at], reachable));
                    peaks[at + 1..slope_start].fill(peak);
                }
                peaks[at] = peak;
                slope_start = at;
            }
        }
        peaks[..slope_start].fill(f64::INFINITY);
        peaks
    }
}

fn plan(piece: &Piece, limits: &Limits) -> Planned {
    let [x, y, z, e] = piece.delta;
    let way = (x * x + y * y + z * z).sqrt();
    let kinematic = way > 0.0;
    let length = if kinematic { way } else { e.abs() };
    let unit = piece.delta.map(|part| part / length);
    let mut speed = (piece.speed_mm_s * limits.feed_percent / 100.0).min(limits.speed_max[0]);
    let mut acceleration = match piece.kind {
        Kind::Retract => limits.retract_acceleration.min(limits.acceleration_max[3]),
        // M204 and SET_VELOCITY_LIMIT replace the configured acceleration, upwards too.
        _ if limits.print_acceleration.is_finite() => limits.print_acceleration,
        _ => limits.acceleration_max[0],
    };
    if kinematic {
        let rise = unit[2].abs();
        if rise > 0.0 {
            speed = speed.min(limits.speed_max[2] / rise);
            acceleration = acceleration.min(limits.acceleration_max[2] / rise);
        }
    } else {
        speed = piece.speed_mm_s.min(limits.speed_max[3]);
    }
    let speed = speed.clamp(1e-6, 1e6);
    let gain_sq = 2.0 * length * acceleration;
    Planned {
        length,
        unit,
        acceleration,
        cruise_max_sq: speed * speed,
        gain_sq,
        smooth_gain_sq: gain_sq * (1.0 - limits.minimum_cruise_ratio),
        start_max_sq: 0.0,
        smooth_start_max_sq: 0.0,
        kinematic,
        line: piece.line,
        tag: piece.tag,
    }
}

/// Sets how fast the corner between two moves may be taken.
fn corner(before: &Planned, now: &mut Planned, limits: &Limits) {
    if !before.kinematic || !now.kinematic {
        return;
    }
    let Cornering::SquareCornerVelocityMmS(velocity) = limits.cornering else { return };
    let mut most = now.cruise_max_sq.min(before.cruise_max_sq).min(before.start_max_sq + before.gain_sq);
    let extruder = (now.unit[3] - before.unit[3]).abs();
    if extruder > 0.0 {
        most = most.min((EXTRUDER_CORNER_MM_S / extruder).powi(2));
    }
    let cos = -(0..3).map(|axis| now.unit[axis] * before.unit[axis]).sum::<f64>();
    let (sin_half, cos_half) = ((0.5 * (1.0 - cos)).max(0.0).sqrt(), (0.5 * (1.0 + cos)).max(0.0).sqrt());
    if sin_half < 1.0 && cos_half > 0.0 {
        // v² of the circle that cuts the corner: the same for both moves, as the deviation is set per acceleration.
        let circle = sin_half / (1.0 - sin_half) * velocity * velocity * (std::f64::consts::SQRT_2 - 1.0);
        let quarter_tan = 0.25 * sin_half / cos_half;
        most = most.min(circle).min(now.gain_sq * quarter_tan).min(before.gain_sq * quarter_tan);
    }
    now.start_max_sq = most;
    now.smooth_start_max_sq = most.min(before.smooth_start_max_sq + before.smooth_gain_sq);
}
