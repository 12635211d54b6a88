//! The look-ahead queue: each block's entry speed follows from what comes behind it, as in the firmware.

use super::klipper;
use super::limits::{Firmware, Limits};
use super::{Kind, Piece, TAGS_MAX, TimeLine};
use crate::profile::Cornering;

/// One block in the queue. Speeds squared where the arithmetic wants them so.
#[derive(Debug, Clone, Copy, Default)]
struct Planned {
    length: f64,
    /// Cruising speed in mm/s.
    speed: f64,
    acceleration: f64,
    /// Highest entry speed the corner before it allows, squared.
    entry_max_sq: f64,
    /// Entry speed that what follows allows, squared.
    entry_sq: f64,
    /// What the block may end with if nothing follows, squared.
    rest_sq: f64,
    line: u64,
    tag: usize,
}

/// What the next corner needs to know of the last block.
#[derive(Debug, Clone, Copy)]
struct Last {
    unit: [f64; 4],
    axis_speed: [f64; 4],
    speed: f64,
    safe: f64,
    acceleration: f64,
}

/// Adds up the time of a program, piece by piece.
#[derive(Debug, Clone)]
pub struct Planner {
    limits: Limits,
    queue: Vec<Planned>,
    head: usize,
    length: usize,
    last: Option<Last>,
    /// How the block executed last ended: its speed squared, and its speed.
    end_sq: f64,
    end: f64,
    klipper: Option<klipper::Queue>,
    seconds: f64,
    by_tag: [f64; TAGS_MAX],
    time_line: TimeLine,
}

impl Planner {
    /// A planner at rest.
    pub fn new(limits: Limits) -> Self {
        let capacity = limits.blocks.clamp(1, 1024).next_power_of_two();
        let klipper = (limits.firmware == Firmware::Klipper).then(klipper::Queue::default);
        Self {
            limits,
            queue: vec![Planned::default(); capacity],
            head: 0,
            length: 0,
            last: None,
            end_sq: 0.0,
            end: 0.0,
            klipper,
            seconds: 0.0,
            by_tag: [0.0; TAGS_MAX],
            time_line: TimeLine::default(),
        }
    }

    /// What it keeps to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What it keeps to, for the pieces to come.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// Seconds of all blocks executed so far; what is still in the queue comes when it is pushed out or stopped.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Seconds booked under each tag.
    pub fn by_tag(&self) -> &[f64; TAGS_MAX] {
        &self.by_tag
    }

    /// The time line so far.
    pub fn time_line(&self) -> &TimeLine {
        &self.time_line
    }

    /// Ends the program: all blocks are executed, the time line gets its last point.
    pub fn finish(&mut self, line: u64) -> TimeLine {
        self.stop();
        self.time_line.finish(line, self.seconds);
        std::mem::take(&mut self.time_line)
    }

    /// Lets the machine come to rest and wait for some seconds.
    pub fn wait(&mut self, seconds: f64, line: u64, tag: usize) {
        self.stop();
        self.book(seconds, line, tag);
    }

    fn book(&mut self, seconds: f64, line: u64, tag: usize) {
        self.seconds += seconds;
        self.by_tag[tag.min(TAGS_MAX - 1)] += seconds;
        self.time_line.note(line, self.seconds);
    }

    /// Lets the machine come to rest.
    pub fn stop(&mut self) {
        if let Some(mut queue) = self.klipper.take() {
            queue.flush(&mut |seconds, line, tag| self.book(seconds, line, tag));
            self.klipper = Some(queue);
        }
        while self.length > 0 {
            self.execute_oldest();
        }
        self.last = None;
    }

    /// Plans one piece. Pieces without length take no time.
    #[inline]
    pub fn push(&mut self, piece: &Piece) {
        // Whoever calls has mostly taken this root already; as a part of its code it is taken once.
        let [x, y, z, e] = piece.delta;
        let way = (x * x + y * y + z * z).sqrt();
        let length = if way > 0.0 { way } else { e.abs() };
        if length > 0.0 && length.is_finite() {
            self.plan(piece, length);
        }
    }

    fn plan(&mut self, piece: &Piece, length: f64) {
        let [x, y, z, e] = piece.delta;
        if let Some(mut queue) = self.klipper.take() {
            queue.push(piece, &self.limits);
            queue.spill(&mut |seconds, line, tag| self.book(seconds, line, tag));
            self.klipper = Some(queue);
            return;
        }
        let inverse = 1.0 / length;
        let unit = [x * inverse, y * inverse, z * inverse, e * inverse];
        let speed = self.cruise(piece, &unit);
        let acceleration = self.acceleration(piece.kind, &unit);
        let flow = self.limits.flow_percent / 100.0;
        let axis_speed = [unit[0] * speed, unit[1] * speed, unit[2] * speed, unit[3] * speed * flow];
        let now = Last { unit, axis_speed, speed, safe: self.safe(&axis_speed, speed), acceleration };
        let entry = self.corner(&now, length);
        let block = Planned {
            length,
            speed,
            acceleration,
            entry_max_sq: entry * entry,
            entry_sq: 0.0,
            rest_sq: now.safe * now.safe,
            line: piece.line,
            tag: piece.tag,
        };
        self.last = Some(now);
        self.enqueue(block);
    }

    /// The highest speed that every axis can keep up with.
    #[inline]
    fn cruise(&self, piece: &Piece, unit: &[f64; 4]) -> f64 {
        let mut speed = piece.speed_mm_s;
        if self.limits.firmware.family() == crate::interpret::Family::Printer {
            let least = self.limits.speed_min[usize::from(piece.delta[3] == 0.0)];
            speed = (speed * self.limits.feed_percent / 100.0).max(least);
        }
        for axis in 0..4 {
            let share = unit[axis].abs();
            if share * speed > self.limits.speed_max[axis] {
                speed = self.limits.speed_max[axis] / share;
            }
        }
        speed.clamp(1e-6, 1e6)
    }

    #[inline]
    fn acceleration(&self, kind: Kind, unit: &[f64; 4]) -> f64 {
        let mut acceleration = match kind {
            Kind::Work => self.limits.print_acceleration,
            Kind::Travel => self.limits.travel_acceleration,
            Kind::Retract => self.limits.retract_acceleration,
        };
        for axis in 0..4 {
            let share = unit[axis].abs();
            if share * acceleration > self.limits.acceleration_max[axis] {
                acceleration = self.limits.acceleration_max[axis] / share;
            }
        }
        acceleration.clamp(1e-3, 1e9)
    }

    /// The speed a block can start from or end with without any ramp: only classic jerk has one.
    fn safe(&self, axis_speed: &[f64; 4], speed: f64) -> f64 {
        let Cornering::JerkMmS(jerk) = self.limits.cornering else { return 0.0 };
        let mut safe = speed;
        for axis in 0..4 {
            let limit = if axis_speed[axis].abs() > jerk[axis] { jerk[axis] } else { f64::INFINITY };
            safe = lesser(limit, safe);
        }
        safe
    }

    /// The highest speed around the corner into a block.
    #[inline]
    fn corner(&self, now: &Last, length: f64) -> f64 {
        let Some(last) = &self.last else { return now.safe };
        match self.limits.cornering {
            Cornering::JerkMmS(jerk) => corner_by_jerk(last, now, &jerk),
            Cornering::JunctionDeviationMm(deviation) => self.corner_by_deviation(last, now, deviation, length),
            Cornering::SquareCornerVelocityMmS(velocity) => {
                let deviation = velocity * velocity * (std::f64::consts::SQRT_2 - 1.0) / now.acceleration;
                self.corner_by_deviation(last, now, deviation, length)
            }
        }
    }

    fn corner_by_deviation(&self, last: &Last, now: &Last, deviation: f64, length: f64) -> f64 {
        let printer = self.limits.firmware.family() == crate::interpret::Family::Printer;
        let axes = if printer { 4 } else { 3 };
        let cos = -(0..axes).map(|axis| last.unit[axis] * now.unit[axis]).sum::<f64>();
        let most = last.speed.min(now.speed);
        if cos > 0.999_999 {
            return 0.0;
        }
        if cos < -0.999_999 {
            return most;
        }
        let mut turn = [0.0; 4];
        for axis in 0..axes {
            turn[axis] = now.unit[axis] - last.unit[axis];
        }
        let norm = turn.iter().map(|part| part * part).sum::<f64>().sqrt();
        let acceleration = self.acceleration(Kind::Work, &turn.map(|part| part / norm)).min(if printer {
            now.acceleration
        } else {
            f64::INFINITY
        });
        let sin_half = ((1.0 - cos) / 2.0).sqrt();
        let mut square = acceleration * deviation * sin_half / (1.0 - sin_half);
        if printer && length < 1.0 && cos < -std::f64::consts::FRAC_1_SQRT_2 {
            square = square.min(length * acceleration / (std::f64::consts::PI - (-cos).acos()).abs().max(1e-9));
        }
        square.sqrt().min(most)
    }

    /// Puts a block at the end and works out what it allows the blocks before it.
    #[inline]
    fn enqueue(&mut self, mut block: Planned) {
        let mask = self.queue.len() - 1;
        if self.length >= self.limits.blocks.clamp(1, self.queue.len()) {
            self.execute_oldest();
        }
        block.entry_sq = block.entry_max_sq.min(block.rest_sq + 2.0 * block.acceleration * block.length);
        let mut follows = block.entry_sq;
        self.queue[(self.head + self.length) & mask] = block;
        self.length += 1;
        // Backwards; as soon as a block's entry stays as it was, so does everything before it. The oldest block's entry
        // is fixed: it is what the block executed before it ended with.
        let mut index = self.length - 1;
        while index > 1 {
            index -= 1;
            let before = &mut self.queue[(self.head + index) & mask];
            let entry = before.entry_max_sq.min(follows + 2.0 * before.acceleration * before.length);
            if entry == before.entry_sq {
                break;
            }
            before.entry_sq = entry;
            follows = entry;
        }
    }

    /// Executes the oldest block with what is known now.
    #[inline]
    fn execute_oldest(&mut self) {
        let mask = self.queue.len() - 1;
        let block = self.queue[self.head];
        self.head = (self.head + 1) & mask;
        self.length -= 1;
        let reach = block.entry_sq + 2.0 * block.acceleration * block.length;
        let end = if self.length > 0 {
            let next = &mut self.queue[self.head];
            next.entry_sq = next.entry_sq.min(reach);
            next.entry_sq
        } else {
            block.rest_sq.min(reach)
        };
        // Mostly a block begins as the one before it ended, whose root is known.
        let from = if block.entry_sq == self.end_sq { self.end } else { block.entry_sq.sqrt() };
        (self.end_sq, self.end) = (end, end.sqrt());
        let ways = [(block.entry_sq, from), (end, self.end)];
        let seconds = trapezoid_between_s(block.length, block.speed, block.acceleration, ways);
        self.book(seconds, block.line, block.tag);
    }
}

/// Seconds of one block: from a speed, up to the cruise, down to a speed. The end speeds are squared.
#[inline]
pub(super) fn trapezoid_s(length: f64, cruise: f64, acceleration: f64, from_sq: f64, to_sq: f64) -> f64 {
    trapezoid_between_s(length, cruise, acceleration, [from_sq, to_sq].map(|square| (square, square.sqrt())))
}

/// As [`trapezoid_s`]; each end speed is given squared and as it is. Of both what is above the cruise counts for nothing.
#[inline]
fn trapezoid_between_s(length: f64, cruise: f64, acceleration: f64, ends: [(f64, f64); 2]) -> f64 {
    let [(from_sq, from), (to_sq, to)] = ends;
    let (cruise_sq, per_acceleration) = (cruise * cruise, 1.0 / acceleration);
    let mean_sq = f64::midpoint(lesser(from_sq, cruise_sq), lesser(to_sq, cruise_sq));
    let (from, to) = (lesser(from, cruise), lesser(to, cruise));
    let plateau = length - (cruise_sq - mean_sq) * per_acceleration;
    if plateau >= 0.0 {
        (2.0 * cruise - from - to) * per_acceleration + plateau / cruise
    } else {
        let peak = (acceleration * length + mean_sq).sqrt().max(from).max(to);
        (2.0 * peak - from - to) * per_acceleration
    }
}

/// Marlin's classic jerk: the speed of each axis may change by its jerk at once.
#[inline]
fn corner_by_jerk(last: &Last, now: &Last, jerk: &[f64; 4]) -> f64 {
    let last_is_faster = last.speed > now.speed;
    let (most, scale) = if last_is_faster { (now.speed, now.speed / last.speed) } else { (last.speed, 1.0) };
    // How many times its jerk the worst axis changes. No branches: which axis it is cannot be foreseen.
    let mut worst = 1.0;
    for axis in 0..4 {
        let exit = last.axis_speed[axis] * scale;
        let entry = now.axis_speed[axis];
        // Two speeds in one direction differ by their difference; a reversal is as hard as the faster of the two.
        let change = lesser((exit - entry).abs(), greater(exit.abs(), entry.abs()));
        worst = greater(change / jerk[axis], worst);
    }
    let corner = most / worst;
    // Where both blocks can stop and start this fast anyway, they do.
    if last.safe > corner * 0.99 && now.safe > corner * 0.99 { now.safe } else { corner }
}

/// The lesser of two numbers, the second where one is none.
#[inline]
fn lesser(one: f64, other: f64) -> f64 {
    if one < other { one } else { other }
}

/// The greater of two numbers, the second where one is none (an axis without jerk that does not change).
#[inline]
fn greater(one: f64, other: f64) -> f64 {
    if one > other { one } else { other }
}
