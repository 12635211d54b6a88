//! What a simulated Grbl says of itself: its answers to `$` commands and its status report.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Busy, Grbl, Lock};
use crate::sim::Simulated as _;
use crate::sim::grbl_parser::Parser;

/// What it answers to `$$` where nothing else is set up: Grbl 1.1h's `DEFAULTS_GENERIC`, and `$10` with both bits so that
/// it reports its buffer. It homes when it is told to, whatever `$22` says.
const SETTINGS: [(u32, f64); 34] = [
    (0, 10.0),
    (1, 25.0),
    (2, 0.0),
    (3, 0.0),
    (4, 0.0),
    (5, 0.0),
    (6, 0.0),
    (10, 3.0),
    (11, 0.01),
    (12, 0.002),
    (13, 0.0),
    (20, 0.0),
    (21, 0.0),
    (22, 0.0),
    (23, 0.0),
    (24, 25.0),
    (25, 500.0),
    (26, 250.0),
    (27, 1.0),
    (30, 1000.0),
    (31, 0.0),
    (32, 0.0),
    (100, 250.0),
    (101, 250.0),
    (102, 250.0),
    (110, 500.0),
    (111, 500.0),
    (112, 500.0),
    (120, 10.0),
    (121, 10.0),
    (122, 10.0),
    (130, 200.0),
    (131, 200.0),
    (132, 200.0),
];

impl Grbl {
    pub(super) fn system(&mut self, line: &[u8]) {
        self.report.own += 1;
        // `system_execute_line` (`system.c`) takes these from a machine that rests, or that is in alarm.
        let rests = self.motion.is_idle() && !self.checks;
        match line {
            b"$I" | b"$I+" | b"$H" | b"$SLP" if !rests => return self.error(8),
            b"$$" | b"$#" if !self.motion.is_idle() => return self.error(8),
            // Leaving it is a reset.
            b"$C" if self.checks => return self.reset(self.now),
            b"$C" if rests && self.lock == Lock::No => {
                self.checks = true;
                self.out.extend_from_slice(b"[MSG:Enabled]\r\n");
            }
            b"$C" => return self.error(8),
            b"$I" | b"$I+" => match (self.flavour.info)(&self.setup, line.len() > 2) {
                Some(info) => self.out.extend_from_slice(info.as_bytes()),
                None => return self.error(3),
            },
            b"$X" if self.critical => return self.error(79),
            b"$X" => {
                if self.lock == Lock::Alarm {
                    self.lock = Lock::No;
                    self.out.extend_from_slice(b"[MSG:Caution: Unlocked]\r\n");
                }
            }
            b"$H" => {
                self.lock = Lock::No;
                self.homing = true;
                let length = crate::sim::motion::length_mm(self.motion.planned(), [0.0; 3], None);
                self.motion.plan(self.now, [0.0; 3], length, self.setup.rapid_mm_min);
                self.busy = Busy::Sync { pause: Duration::ZERO, then: None };
                return;
            }
            b"$SLP" => self.lock = Lock::Sleep,
            b"$G" => {
                let (turning, speed) = (self.parser.turning, self.parser.spindle);
                let modal = format!("[GC:G0 G54 G17 G21 G90 G94 M{turning} M9 T0 F0 S{speed:.0}]\r\n");
                self.out.extend_from_slice(modal.as_bytes());
            }
            b"$#" => self.say_offsets(),
            b"$$" => {
                self.say_settings();
                if self.flavour.dialect == "grblhal" {
                    self.out.extend_from_slice(b"$62=0\r\n");
                }
            }
            _ if line.starts_with(b"$J=") => {
                if self.lock != Lock::No || !(self.motion.is_idle() || self.jogging) {
                    return self.error(8);
                }
                let planned = self.motion.planned();
                match Parser::new(self.setup.rapid_mm_min, self.flavour.reader, self.flavour.dialect)
                    .jog(&line[3..], planned)
                {
                    Ok((to, length_mm, feed)) => {
                        self.jogging = true;
                        self.motion.plan(self.now, to, length_mm, feed);
                    }
                    Err(number) => return self.error(number),
                }
            }
            _ if line.contains(&b'=') => {}
            _ => return self.error(3),
        }
        self.ok();
    }

    /// A setting: its own, or as [`SETTINGS`].
    fn setting(&self, number: u32) -> f64 {
        let own = self.setup.settings.iter().find(|(key, _)| *key == number).map(|(_, value)| *value);
        let usual = || SETTINGS.iter().find(|(key, _)| *key == number).map_or(0.0, |(_, value)| *value);
        let laser = || (number == 32).then_some(f64::from(u8::from(self.setup.laser_mode)));
        own.or_else(laser).unwrap_or_else(usual)
    }

    fn say_settings(&mut self) {
        for (number, _) in SETTINGS {
            let value = self.setting(number);
            let line =
                if number < 100 { format!("${number}={value}\r\n") } else { format!("${number}={value:.3}\r\n") };
            self.out.extend_from_slice(line.as_bytes());
        }
    }

    /// A coordinate as it reports them: in inches where `$13` says so.
    fn said(&self, [x, y, z]: [f64; 3]) -> String {
        if self.setting(13) == 1.0 {
            let unit = 25.4;
            format!("{:.4},{:.4},{:.4}", x / unit, y / unit, z / unit)
        } else {
            format!("{x:.3},{y:.3},{z:.3}")
        }
    }

    fn say_offsets(&mut self) {
        let (own, zero) = (self.said(self.setup.work_offset_mm), self.said([0.0; 3]));
        let mut text = format!("[G54:{own}]\r\n");
        for name in ["G55", "G56", "G57", "G58", "G59", "G28", "G30", "G92"] {
            let _ = write!(text, "[{name}:{zero}]\r\n");
        }
        text.push_str("[TLO:0.000]\r\n");
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn say_status(&mut self) {
        let state = match (self.lock, self.held_since, self.motion.is_held()) {
            (Lock::Alarm, ..) => "Alarm",
            (Lock::Sleep, ..) => "Sleep",
            _ if self.door == Some(true) => "Door:1",
            _ if self.door == Some(false) => "Door:0",
            (_, Some(_), true) => "Hold:0",
            (_, Some(_), false) => "Hold:1",
            _ if self.motion.is_idle() && self.paused_by_program.is_some() => {
                self.paused_by_program.unwrap_or("Hold:0")
            }
            _ if self.checks => "Check",
            _ if self.homing => "Home",
            _ if self.jogging => "Jog",
            _ if !self.motion.is_idle() => "Run",
            _ => "Idle",
        };
        let position = self.said(self.motion.position(self.now));
        let feed = if self.motion.is_idle() || self.motion.is_held() { 0.0 } else { self.parser.feed_mm_min };
        let spindle = if self.spindle_stands || self.door.is_some() { 0.0 } else { self.parser.spindle_speed() };
        let whole = self.setup.claimed_buffer_bytes.unwrap_or(self.setup.receive_buffer_bytes);
        let free = whole - self.received.len().min(whole);
        let mut report =
            format!("<{state}|MPos:{position}|Bf:{},{free}|FS:{feed:.0},{:.0}", self.motion.free(), spindle);
        if self.flavour.measures_spindle {
            let _ = write!(report, ",{spindle:.0}");
        }
        // Work offset and overrides are reported only now and then, and less often while it moves
        // (REPORT_WCO_REFRESH_BUSY_COUNT, REPORT_OVR_REFRESH_IDLE_COUNT, …).
        let every = if self.motion.is_idle() { 10 } else { 20 };
        let turn = if std::mem::replace(&mut self.overrides_told, true) { self.reports % every } else { 1 };
        match turn {
            0 => {
                let _ = write!(report, "|WCO:{}", self.said(self.setup.work_offset_mm));
            }
            1 => {
                let [feed, rapid, percent] = self.overrides;
                let _ = write!(report, "|Ov:{feed},{rapid},{percent}");
                if spindle > 0.0 {
                    report.push_str(if self.parser.turning == 3 { "|A:S" } else { "|A:C" });
                }
            }
            _ => {}
        }
        if self.own_file {
            report.push_str("|SD:42.0,/part.nc");
        }
        self.reports += 1;
        report.push_str(">\r\n");
        self.out.extend_from_slice(report.as_bytes());
    }
}
