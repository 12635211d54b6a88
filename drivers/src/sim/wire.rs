//! A line between host and machine in virtual time: baud rate, latency and faults.

use std::collections::VecDeque;
use std::time::Duration;

use super::fault::{Faults, Random};
use crate::moment::Moment;

/// Longest extra delay of a delayed byte. Well under the time a session waits before it concludes anything.
const DELAY_MAX_US: u64 = 30_000;

/// Longest delay of a late line: longer than a session waits for an answer.
const LINE_LATE_MAX_US: u64 = 15_000_000;

/// How fast a line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineSpeed {
    /// Bits per second, ten a byte; zero: no limit.
    pub baud: u32,
    /// One-way latency.
    pub latency: Duration,
}

/// One direction of a line.
#[derive(Debug)]
pub struct Line {
    speed: LineSpeed,
    faults: Faults,
    random: Random,
    /// When the line is free for the next byte.
    free_at: Moment,
    /// Bytes under way, in order, with their arrival.
    under_way: VecDeque<(Moment, u8)>,
    /// Bytes of the line being sent, where whole lines can be lost or doubled.
    unfinished: Vec<u8>,
}

impl Line {
    /// A quiet line.
    pub fn new(speed: LineSpeed, faults: Faults, seed: u64) -> Self {
        Self {
            speed,
            faults,
            random: Random::new(seed),
            free_at: Moment::ZERO,
            under_way: VecDeque::new(),
            unfinished: Vec::new(),
        }
    }

    /// Puts bytes on the line.
    pub fn send(&mut self, now: Moment, bytes: &[u8]) {
        if !self.faults.of_lines() {
            return self.put(now, bytes);
        }
        for byte in bytes {
            self.unfinished.push(*byte);
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.unfinished);
                if self.random.chance(self.faults.line_late) {
                    self.free_at = self.free_at.max(now) + Duration::from_micros(self.random.below(LINE_LATE_MAX_US));
                }
                if !self.random.chance(self.faults.line_lost) {
                    self.put(now, &line);
                    if self.random.chance(self.faults.line_doubled) {
                        self.put(now, &line);
                    }
                }
                self.unfinished = line;
                self.unfinished.clear();
            }
        }
    }

    fn put(&mut self, now: Moment, bytes: &[u8]) {
        let mut spoilt = Vec::with_capacity(2);
        let byte_time = Duration::from_nanos(10_000_000_000_u64.checked_div(u64::from(self.speed.baud)).unwrap_or(0));
        for byte in bytes {
            self.free_at = self.free_at.max(now) + byte_time;
            if self.random.chance(self.faults.delay) {
                self.free_at = self.free_at + Duration::from_micros(self.random.below(DELAY_MAX_US));
            }
            spoilt.clear();
            self.faults.spoil(&mut self.random, *byte, &mut spoilt);
            for byte in &spoilt {
                self.under_way.push_back((self.free_at + self.speed.latency, *byte));
            }
        }
    }

    /// Moves what has arrived to the end of `out`.
    pub fn receive(&mut self, now: Moment, out: &mut Vec<u8>) {
        while let Some((at, byte)) = self.under_way.front() {
            if *at > now {
                return;
            }
            out.push(*byte);
            self.under_way.pop_front();
        }
    }

    /// The cable is pulled: what is under way is lost.
    pub fn cut(&mut self, now: Moment) {
        self.under_way.clear();
        self.unfinished.clear();
        self.free_at = now;
    }

    /// When the next byte arrives.
    pub fn wakes_at(&self) -> Option<Moment> {
        self.under_way.front().map(|(at, _)| *at)
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
    }
}
