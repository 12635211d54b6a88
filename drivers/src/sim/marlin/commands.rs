//! What each command does in a simulated Marlin, and what it answers.

use std::time::Duration;

use super::words::Done;
use super::{Marlin, Waiting};
use crate::sim::Reader;
use crate::sim::dynamics::Course;
use crate::sim::motion::length_mm;
use crate::sim::printer::Counting;

impl Marlin {
    pub(super) fn reader(&self) -> Reader {
        self.flavour.aged(self.setup.vintage).0
    }

    /// Starts a command; says what it waits for.
    pub(super) fn begin(&mut self, command: &[u8]) -> Waiting {
        let letter = command.first().copied().unwrap_or(0).to_ascii_uppercase();
        let code = self.reader().value(command, letter).unwrap_or(-1.0);
        match (letter, code.trunc() as i64) {
            (b'G', 0..=3) => self.plan(command, code),
            (b'G', 4) => {
                let seconds = self
                    .reader()
                    .value(command, b'S')
                    .unwrap_or_else(|| self.reader().value(command, b'P').unwrap_or(0.0) / 1000.0);
                let pause = Duration::try_from_secs_f64(seconds / self.setup.speed).unwrap_or_default();
                Waiting::Until(self.now + pause)
            }
            (b'G', 28) => {
                if !self.motion.has_room() {
                    return Waiting::Room;
                }
                let length = length_mm(self.motion.planned(), [0.0; 3], None);
                self.motion.plan(self.now, [0.0; 3], length, 3000.0);
                Waiting::MotionEnd
            }
            (b'M', 400) => Waiting::MotionEnd,
            (b'M', 0 | 1) if self.flavour.counting == Counting::Flush => self.stop_for_a_person(code),
            (b'M', 600) if self.flavour.counting == Counting::Flush => self.change_filament(),
            (b'M' | b'G', _) => self.switch(command, letter, code.trunc() as i64),
            (b'T', 0..) => {
                self.heaters.select(code as usize);
                Waiting::Nothing
            }
            _ => self.switch_by_name(command),
        }
    }

    fn plan(&mut self, command: &[u8], code: f64) -> Waiting {
        if !self.motion.has_room() {
            return Waiting::Room;
        }
        if let Some(feed) = self.reader().value(command, b'F') {
            self.feed = feed;
        }
        let from = self.motion.planned();
        let given = self.reader().axes(command);
        let to = std::array::from_fn(|axis| match given[axis] {
            Some(value) if self.absolute => value,
            Some(value) => from[axis] + value,
            None => from[axis],
        });
        let arc = (code >= 2.0).then(|| {
            (
                self.reader().value(command, b'I').unwrap_or(0.0),
                self.reader().value(command, b'J').unwrap_or(0.0),
                code < 3.0,
            )
        });
        let pushed = self.push(command);
        let course = Course::of(from, to, arc, pushed, self.feed);
        if course.length_mm > 0.0 {
            self.motion.plan_course(self.now, &course);
        }
        Waiting::Nothing
    }

    /// How far a move would push filament.
    pub(super) fn would_push(&self, command: &[u8]) -> f64 {
        let Some(value) = self.reader().value(command, b'E') else { return 0.0 };
        if self.extruder_relative { value } else { value - self.extruder }
    }

    /// How far a move pushes filament. Without inertia that takes no time.
    fn push(&mut self, command: &[u8]) -> f64 {
        let pushed = self.would_push(command);
        self.extruder += pushed;
        let takes_time = self.setup.dynamics.is_some() && self.done == Done::Wholly;
        if takes_time { pushed } else { 0.0 }
    }

    /// Ends a command: its own answer, then `ok`.
    pub(super) fn finish(&mut self, command: &[u8], number: Option<i64>) {
        if self.answers_starting(command) {
            return;
        }
        let is_g1 = command.starts_with(b"G1") && !command.get(2).is_some_and(u8::is_ascii_digit);
        if self.flavour.counting == Counting::Ask && is_g1 {
            // Answered before it is planned (`GcodeDispatch.cpp`).
            self.ok(number, false);
            return self.say_besides(command);
        }
        self.say_undone(command, number, self.done);
        self.say_besides(command);
        if matches!(self.done, Done::Not(_)) {
            return self.ok(number, false);
        }
        let letter = command.first().copied().unwrap_or(0).to_ascii_uppercase();
        let code = self.reader().value(command, letter).unwrap_or(-1.0).trunc() as i64;
        match (letter, code) {
            (b'M', 27) => self.say_card(),
            // `M105.cpp` says its `ok` itself, and names no line with it.
            (b'M', 105) if self.flavour.counting == Counting::Flush => {
                self.out.extend_from_slice(b"ok");
                return self.say_temperatures(" ");
            }
            (b'M', 105) => {
                self.ok(number, true);
                return self.say_temperatures(" ");
            }
            (b'M', 114) if self.say_position(number) => return,
            (b'M', 115) if self.setup.says_instead.is_some() => {
                let said = self.setup.says_instead.clone().unwrap_or_default();
                if !said.is_empty() {
                    self.out.extend_from_slice(format!("{said}\n").as_bytes());
                }
            }
            (b'M', 115) if self.flavour.identity.is_empty() => {
                return self.out.extend_from_slice(b"ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.12.0-simulated\n");
            }
            (b'M', 115) => {
                self.out.extend_from_slice(self.flavour.aged(self.setup.vintage).1.as_bytes());
                let parser = u8::from(self.setup.emergency_parser);
                let packs = u8::from(self.setup.meatpack);
                let capabilities = format!("Cap:EMERGENCY_PARSER:{parser}\nCap:MEATPACK:{packs}\n");
                self.out.extend_from_slice(capabilities.as_bytes());
            }
            (b'M', 155) => {
                let seconds = self.reader().value(command, b'S').unwrap_or(0.0);
                let told = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(60.0)));
                self.report_every = told.or(super::chatter(&self.setup));
                self.report_at = self.now;
            }
            (b'M', 112) => return self.emergency_stop(),
            (b'G', 90 | 91) => (self.absolute, self.extruder_relative) = (code == 90, code == 91),
            (b'M', 82 | 83) => self.extruder_relative = code == 83,
            (b'G', 92) => {
                let given = self.reader().axes(command);
                let planned = self.motion.planned();
                self.extruder = self.reader().value(command, b'E').unwrap_or(self.extruder);
                self.motion.stand_at(std::array::from_fn(|axis| given[axis].unwrap_or(planned[axis])));
            }
            (b'G', 28) => self.home(command),
            (b'M', 18 | 84) => self.let_go(command),
            _ if command == b"STATUS" && self.flavour.identity.is_empty() => {
                self.out.extend_from_slice(b"// Klipper state: Ready\n");
            }
            _ => {}
        }
        self.ok(number, false);
    }

    fn home(&mut self, command: &[u8]) {
        let none = !names_any(command, b"XYZ");
        for (homed, axis) in self.homed.iter_mut().zip(b"XYZ") {
            *homed |= none || names_any(command, &[*axis]);
        }
    }

    /// Lets motors go: Klipper all of them, others those that are named. With S most only set a time for it.
    fn let_go(&mut self, command: &[u8]) {
        let klipper = self.flavour.counting == Counting::Ignore;
        if !klipper && self.reader().value(command, b'S').is_some() {
            return;
        }
        let all = klipper || !names_any(command, b"XYZE");
        for (homed, axis) in self.homed.iter_mut().zip(b"XYZ") {
            *homed &= !all && !names_any(command, &[*axis]);
        }
    }

    /// Tells where it is. True: the answer was said with it.
    fn say_position(&mut self, number: Option<i64>) -> bool {
        let [x, y, z] = self.motion.position(self.now);
        let y = if self.setup.nonsense_position { f64::INFINITY } else { y };
        let one_line = self.flavour.counting == Counting::Ask;
        let behind_ok = self.setup.position_behind_ok && !one_line;
        // OctoPrint's virtual printer calls its motors A, B and C.
        let count = if behind_ok { "Count: A:9712 B:9087 C:425" } else { "Count X:0 Y:0 Z:0" };
        let told = format!("X:{x:.2} Y:{y:.2} Z:{z:.2} E:0.00 {count}\n");
        if behind_ok {
            self.ok(number, true);
        }
        let before = match (one_line, behind_ok) {
            (true, _) => "ok C: ",
            (false, true) => " ",
            (false, false) => "",
        };
        self.out.extend_from_slice(before.as_bytes());
        self.out.extend_from_slice(told.as_bytes());
        one_line || behind_ok
    }

    fn ok(&mut self, number: Option<i64>, more: bool) {
        // Said when the line was taken.
        if self.flavour.counting == Counting::Skip {
            return;
        }
        self.out.extend_from_slice(b"ok");
        if self.setup.advanced_ok {
            if let Some(number) = number {
                self.out.extend_from_slice(format!(" N{number}").as_bytes());
            }
            // The command being answered still has its place in the queue.
            let queue = self.flavour.queue_commands - self.queue.len() - 1;
            self.out.extend_from_slice(format!(" P{} B{queue}", self.motion.free()).as_bytes());
        }
        if !more {
            self.out.push(b'\n');
        }
    }
}

/// Whether a command names any of these axes.
fn names_any(command: &[u8], axes: &[u8]) -> bool {
    command.iter().skip(1).any(|byte| axes.contains(&byte.to_ascii_uppercase()))
}
