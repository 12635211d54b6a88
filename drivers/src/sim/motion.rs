//! A planner and its execution: blocks that take time, one after the other, and can be held.

use std::collections::VecDeque;
use std::time::Duration;

use super::dynamics::{self, Course, Dynamics, Ramp, Run};
use crate::moment::Moment;

/// A planner that runs empty and is filled again within this time was late, not done.
const UNDERRUN_WITHIN: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct Block {
    from: [f64; 3],
    to: [f64; 3],
    /// What the machine's limits make of it.
    ramp: Ramp,
    /// How it runs, as long as nothing faster follows: known once it has begun.
    run: Run,
    takes: Duration,
    /// Commands that were executed before the one that planned it.
    behind: u64,
}

/// Motion in virtual time.
#[derive(Debug)]
pub(super) struct Motion {
    blocks: VecDeque<Block>,
    capacity: usize,
    speed: f64,
    /// None: every move has its feed from its first to its last moment.
    dynamics: Option<Dynamics>,
    /// When the first block began (shifted by holds).
    began: Moment,
    held_at: Option<Moment>,
    /// Where the last planned block ends.
    planned: [f64; 3],
    ended: Moment,
    /// When the first move of all began.
    first: Option<Moment>,
    underruns: u64,
    /// Commands executed so far, as [`Motion::count`] was told.
    executed: u64,
}

impl Motion {
    pub(super) fn new(capacity: usize, speed: f64) -> Self {
        Self {
            blocks: VecDeque::new(),
            capacity,
            speed,
            dynamics: None,
            began: Moment::ZERO,
            held_at: None,
            planned: [0.0; 3],
            ended: Moment::ZERO,
            first: None,
            underruns: 0,
            executed: 0,
        }
    }

    /// The same machine with inertia.
    pub(super) fn with(self, dynamics: Option<Dynamics>) -> Self {
        Self { dynamics, ..self }
    }

    /// Plans a straight move at a feed in mm/min. Only to be called while there is room.
    pub(super) fn plan(&mut self, now: Moment, to: [f64; 3], length_mm: f64, feed_mm_min: f64) {
        let mut course = Course::line(self.planned, to, 0.0, feed_mm_min);
        course.length_mm = length_mm;
        self.plan_course(now, &course);
    }

    /// Plans a move. Only to be called while there is room.
    pub(super) fn plan_course(&mut self, now: Moment, course: &Course) {
        let ramp = self.dynamics.as_ref().map_or_else(|| Ramp::steady(course), |dynamics| dynamics.ramp(course));
        if self.blocks.is_empty() {
            if self.first.is_some() && now.since(self.ended) < UNDERRUN_WITHIN && now > self.ended {
                self.underruns += 1;
            }
            self.began = now;
        }
        self.first.get_or_insert(now);
        let run = ramp.run(0.0, 0.0);
        let (from, takes, behind) = (self.planned, Duration::ZERO, self.executed);
        self.blocks.push_back(Block { from, to: course.to, ramp, run, takes, behind });
        self.planned = course.to;
        if let Some(dynamics) = &self.dynamics {
            dynamics::look_ahead(dynamics, self.blocks.iter_mut().rev().map(|block| &mut block.ramp));
        }
        if self.blocks.len() == 1 {
            self.begin(f64::INFINITY);
        } else {
            self.speed_up(now);
        }
    }

    /// Sets the first block in motion, at the speed it was planned to be entered with or that the one before it has.
    fn begin(&mut self, speed: f64) {
        let Some(entry) = self.blocks.front().map(|block| block.ramp.entry()) else { return };
        self.run_first(entry.min(speed));
    }

    /// What has come behind the first block may let it end faster, if it is not slowing down yet.
    fn speed_up(&mut self, now: Moment) {
        if let Some(run) = self.blocks.front().map(|block| block.run) {
            if now.since(self.began).as_secs_f64() * self.speed <= run.slows_after_s() {
                self.run_first(run.entry());
            }
        }
    }

    fn run_first(&mut self, entry: f64) {
        let next = self.blocks.get(1).map(|block| block.ramp.entry());
        let Some(block) = self.blocks.front_mut() else { return };
        let exit = next.unwrap_or_else(|| self.dynamics.as_ref().map_or(f64::INFINITY, |it| it.rest(&block.ramp)));
        block.run = block.ramp.run(entry, exit);
        block.takes = Duration::try_from_secs_f64(block.run.seconds() / self.speed).unwrap_or_default();
        let exit = block.run.exit;
        if let Some(next) = self.blocks.get_mut(1) {
            next.ramp.enter(exit);
        }
    }

    /// Says how many commands were executed so far.
    pub(super) fn count(&mut self, executed: u64) {
        self.executed = executed;
    }

    /// Commands whose motion, and that of all before them, is over.
    pub(super) fn completed(&self) -> u64 {
        self.blocks.front().map_or(self.executed, |block| block.behind)
    }

    pub(super) fn has_room(&self) -> bool {
        self.blocks.len() < self.capacity
    }

    /// Blocks that are not over.
    pub(super) fn used(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn free(&self) -> usize {
        self.capacity - self.blocks.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Lets blocks end.
    pub(super) fn advance(&mut self, now: Moment) {
        if self.held_at.is_some() {
            return;
        }
        while let Some(block) = self.blocks.front() {
            let end = self.began + block.takes;
            if end > now {
                return;
            }
            let speed = block.run.exit;
            self.blocks.pop_front();
            self.began = end;
            self.ended = end;
            self.begin(speed);
        }
    }

    /// When the first block ends.
    pub(super) fn wakes_at(&self) -> Option<Moment> {
        let block = self.blocks.front().filter(|_| self.held_at.is_none())?;
        Some(self.began + block.takes)
    }

    pub(super) fn hold(&mut self, now: Moment) {
        self.held_at.get_or_insert(now);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held_at.is_some()
    }

    pub(super) fn resume(&mut self, now: Moment) {
        if let Some(held_at) = self.held_at.take() {
            self.began = self.began + now.since(held_at);
        }
    }

    /// Forgets what is planned and stands where it is.
    pub(super) fn drop_all(&mut self, now: Moment) {
        self.planned = self.position(now);
        if !self.blocks.is_empty() {
            self.ended = now;
        }
        self.blocks.clear();
        self.held_at = None;
    }

    pub(super) fn position(&self, now: Moment) -> [f64; 3] {
        let Some(block) = self.blocks.front() else { return self.planned };
        let elapsed = self.held_at.unwrap_or(now).since(self.began).as_secs_f64();
        let share = (elapsed / block.takes.as_secs_f64().max(1e-9)).clamp(0.0, 1.0);
        let part = block.run.part_after(share * block.run.seconds());
        std::array::from_fn(|axis| block.from[axis] + (block.to[axis] - block.from[axis]) * part)
    }

    /// Where the last planned move ends.
    pub(super) fn planned(&self) -> [f64; 3] {
        self.planned
    }

    /// Says that the machine is at a position without having moved (G92, homing).
    pub(super) fn stand_at(&mut self, position: [f64; 3]) {
        self.planned = position;
    }

    /// When the first move of all began; zero before it.
    pub(super) fn first(&self) -> Moment {
        self.first.unwrap_or_default()
    }

    pub(super) fn ended(&self) -> Moment {
        self.ended
    }

    pub(super) fn underruns(&self) -> u64 {
        self.underruns
    }
}

/// Length of a move, arcs by their angle about the centre I, J.
pub(super) fn length_mm(from: [f64; 3], to: [f64; 3], arc: Option<(f64, f64, bool)>) -> f64 {
    let [dx, dy, dz] = [to[0] - from[0], to[1] - from[1], to[2] - from[2]];
    let Some((i, j, clockwise)) = arc else { return (dx * dx + dy * dy + dz * dz).sqrt() };
    let radius = i.hypot(j);
    let start = (-j).atan2(-i);
    let end = (dy - j).atan2(dx - i);
    let mut angle = if clockwise { start - end } else { end - start };
    if angle <= 1e-9 {
        angle += std::f64::consts::TAU;
    }
    (radius * angle).hypot(dz)
}
