//! What a simulated Grbl says of itself: its answers to `$` commands and its status report.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Busy, Grbl, Lock};
use crate::sim::grbl_parser::Parser;

impl Grbl {
    pub(super) fn system(&mut self, line: &[u8]) {
        self.report.own += 1;
        match line {
            b"$I" | b"$I+" => match (self.flavour.info)(&self.setup, line.len() > 2) {
                Some(info) => self.out.extend_from_slice(info.as_bytes()),
                None => return self.error(3),
            },
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
            b"$$" => {
                let laser = u8::from(self.setup.laser_mode);
                let settings = format!("$10=3\r\n$13=0\r\n$30=1000\r\n$32={laser}\r\n");
                self.out.extend_from_slice(settings.as_bytes());
                if self.flavour.dialect == "grblhal" {
                    self.out.extend_from_slice(b"$62=0\r\n");
                }
            }
            _ if line.starts_with(b"$J=") => {
                if self.lock != Lock::No || !(self.motion.is_idle() || self.jogging) {
                    return self.error(8);
                }
                let planned = self.motion.planned();
                match Parser::new(self.setup.rapid_mm_min, self.flavour.reader).jog(&line[3..], planned) {
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
            _ if self.homing => "Home",
            _ if self.jogging => "Jog",
            _ if !self.motion.is_idle() => "Run",
            _ => "Idle",
        };
        let [x, y, z] = self.motion.position(self.now);
        let feed = if self.motion.is_idle() || self.motion.is_held() { 0.0 } else { self.parser.feed_mm_min };
        let spindle = if self.spindle_stands || self.door.is_some() { 0.0 } else { self.parser.spindle_speed() };
        let whole = self.setup.claimed_buffer_bytes.unwrap_or(self.setup.receive_buffer_bytes);
        let free = whole - self.received.len().min(whole);
        let mut report =
            format!("<{state}|MPos:{x:.3},{y:.3},{z:.3}|Bf:{},{free}|FS:{feed:.0},{:.0}", self.motion.free(), spindle);
        if self.flavour.measures_spindle {
            let _ = write!(report, ",{spindle:.0}");
        }
        // Work offset and overrides are reported only now and then (REPORT_WCO_REFRESH_IDLE_COUNT, REPORT_OVR_…).
        match self.reports % 10 {
            0 => report.push_str("|WCO:0.000,0.000,0.000"),
            1 => {
                let [feed, rapid, percent] = self.overrides;
                let _ = write!(report, "|Ov:{feed},{rapid},{percent}");
                if spindle > 0.0 {
                    report.push_str(if self.parser.turning == 3 { "|A:S" } else { "|A:C" });
                }
            }
            _ => {}
        }
        self.reports += 1;
        report.push_str(">\r\n");
        self.out.extend_from_slice(report.as_bytes());
    }
}
