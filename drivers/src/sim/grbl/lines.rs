//! Lines: how they are read from what was received, and what becomes of each.

use std::time::Duration;

use super::flavour::ToolChange;
use super::{Busy, Grbl, Lock, hand};
use crate::sim::dynamics::Course;
use crate::sim::grbl_parser::Meaning;

impl Grbl {
    pub(super) fn read_line(&mut self) -> bool {
        while let Some(byte) = self.received.pop_front() {
            match byte {
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    self.comment = 0;
                    if std::mem::take(&mut self.overlong) {
                        self.error(11);
                    } else if line.is_empty() {
                        self.ok();
                    } else {
                        self.execute(&line);
                    }
                    self.line = line;
                    self.line.clear();
                    return true;
                }
                b')' if self.comment == b'(' => self.comment = 0,
                _ if self.comment != 0 => {}
                b'(' | b';' => self.comment = byte,
                0..=b' ' | b'/' => {}
                _ if self.line.len() >= self.flavour.line_max => self.overlong = true,
                _ => self.line.push(byte.to_ascii_uppercase()),
            }
        }
        false
    }

    pub(super) fn execute(&mut self, line: &[u8]) {
        if self.setup.silent_after.is_some_and(|after| self.ledger.count >= after) {
            return;
        }
        if line.first() == Some(&b'$') {
            return self.system(line);
        }
        if self.lock != Lock::No || self.jogging {
            return self.error(9);
        }
        if self.flavour.error_sticks && self.setup.error_sticks && self.last_error > 0 {
            return self.error(self.last_error);
        }
        if self.checks {
            return self.check(line);
        }
        if !self.motion.has_room() {
            self.busy = Busy::Room(line.to_vec());
            return;
        }
        if self.setup.refuse_line == Some(self.ledger.count + self.report.refused + 1) {
            return self.error(33);
        }
        if self.setup.dynamics.is_some()
            && !self.motion.is_idle()
            && self.parser.rests_before(line, self.motion.planned(), self.setup.laser_mode)
        {
            self.busy = Busy::Still(line.to_vec());
            return;
        }
        let spindle_before = (self.parser.turning, self.parser.spindle_speed());
        let meaning = self.parser.understand(line, self.motion.planned());
        match meaning {
            Err(number) => return self.error(number),
            Ok(Meaning::Modal) if self.waits_for_spindle(spindle_before) => {
                return self.dwell(line, self.setup.spin_up_s);
            }
            Ok(Meaning::Modal) => {}
            Ok(Meaning::Move { to, feed_mm_min, .. }) if memchr::memmem::find(line, b"G38.").is_some() => {
                self.ledger.executed(line);
                return self.probe(to, feed_mm_min, hand::must_touch(line));
            }
            Ok(Meaning::Move { to, length_mm, feed_mm_min, arc }) => {
                if length_mm > 0.0 {
                    let feed = feed_mm_min * f64::from(self.overrides[0]) / 100.0;
                    let from = self.motion.planned();
                    self.motion.plan_course(self.now, &Course::of(from, to, arc, 0.0, feed));
                }
            }
            Ok(Meaning::Dwell { seconds }) => return self.dwell(line, seconds / self.setup.speed),
            Ok(Meaning::ToolChange) if self.flavour.tool_change == ToolChange::Refused => return self.error(20),
            Ok(Meaning::ToolChange) if self.flavour.tool_change == ToolChange::Nothing => {
                if self.setup.tool_macro_s > 0.0 {
                    return self.dwell(line, self.setup.tool_macro_s / self.setup.speed);
                }
            }
            Ok(Meaning::OptionalStop) if !self.flavour.optional_stop => {}
            Ok(Meaning::Pause | Meaning::OptionalStop) => return self.pauses(line, "Hold:0"),
            Ok(Meaning::ToolChange) => return self.pauses(line, "Tool"),
            Ok(Meaning::Synchronise) => {
                self.count(line);
                self.busy = Busy::Sync { pause: Duration::ZERO, then: None };
                return;
            }
        }
        self.count(line);
        self.ok();
    }

    /// Once it stands, it waits for a person, and reports this.
    fn pauses(&mut self, line: &[u8], reports: &'static str) {
        self.count(line);
        self.paused_by_program = Some(reports);
        self.busy = Busy::Sync { pause: Duration::ZERO, then: None };
    }

    /// Check mode: the line is read, and nothing comes of it.
    fn check(&mut self, line: &[u8]) {
        match self.parser.understand(line, self.motion.planned()) {
            Err(number) => self.error(number),
            Ok(_) => self.ok(),
        }
    }

    /// Once motion has ended, answers after some time.
    fn dwell(&mut self, line: &[u8], seconds: f64) {
        self.count(line);
        self.busy = Busy::Sync { pause: Duration::try_from_secs_f64(seconds).unwrap_or_default(), then: None };
    }

    /// Whether it waits for a spindle that was told something else than before.
    fn waits_for_spindle(&self, before: (u32, f64)) -> bool {
        let changed = before != (self.parser.turning, self.parser.spindle_speed());
        changed && self.setup.spin_up_s > 0.0 && self.flavour.tool_change != ToolChange::Refused
    }

    fn count(&mut self, line: &[u8]) {
        self.ledger.executed(line);
        self.motion.count(self.ledger.count);
    }

    pub(super) fn ok(&mut self) {
        self.last_error = 0;
        self.out.extend_from_slice(b"ok\r\n");
    }

    pub(super) fn error(&mut self, number: u32) {
        self.last_error = number;
        self.report.refused += 1;
        self.out.extend_from_slice(format!("error:{number}\r\n").as_bytes());
    }
}
