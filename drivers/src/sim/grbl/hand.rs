//! What people do at a simulated Grbl: jogs that end early, probing moves, doors and buttons.

use std::time::Duration;

use super::flavour::ToolChange;
use super::{Busy, Grbl, Lock};
use crate::moment::Moment;
use crate::sim::{Incident, Simulated as _};

/// How long Grbl waits behind the line of an alarm (`report_alarm_message`, `report.c`).
const ALARM_TAKES: Duration = Duration::from_millis(500);
/// Moves of a file from its card, and of somebody else's program.
const CARD_MOVES: u32 = 60;
const MENU_MOVES: u32 = 30;

impl Grbl {
    /// Something happens at the machine itself.
    pub(super) fn incident(&mut self, now: Moment, incident: Incident) {
        self.advance(now);
        match incident {
            Incident::Limit => {
                self.motion.drop_all(now);
                self.lock = Lock::Alarm;
                self.limit = true;
                self.forgets_until = Some(now + ALARM_TAKES);
                self.out.extend_from_slice(b"ALARM:1\r\n");
            }
            Incident::Alarm(number) => {
                self.lock = Lock::Alarm;
                self.critical = self.flavour.critical.contains(&number);
                self.out.extend_from_slice(format!("ALARM:{number}\r\n").as_bytes());
            }
            Incident::DoorOpened if self.homing => {
                self.motion.drop_all(now);
                (self.homing, self.lock, self.busy) = (false, Lock::Alarm, Busy::No);
                self.out.extend_from_slice(b"ALARM:7\r\n");
            }
            Incident::DoorOpened => {
                self.door = Some(true);
                self.end_jog(now);
                self.held_since.get_or_insert(now);
                self.out.extend_from_slice(b"[MSG:Check Door]\r\n");
            }
            Incident::DoorClosed => self.door = self.door.map(|_| false),
            Incident::Paused => drop(self.pick_realtime(now, b'!')),
            Incident::Resumed => drop(self.pick_realtime(now, b'~')),
            Incident::Says(text) => self.out.extend_from_slice(format!("{text}\r\n").as_bytes()),
            Incident::CardPrint => self.own_moves(CARD_MOVES, self.flavour.tool_change != ToolChange::Refused),
            Incident::MovedThere | Incident::HomedThere => self.own_moves(MENU_MOVES, false),
            Incident::PutToSleep if self.motion.is_idle() => self.lock = Lock::Sleep,
            Incident::CheckMode if self.motion.is_idle() => self.checks = true,
            Incident::Cancelled | Incident::FilamentOut | Incident::PutToSleep | Incident::CheckMode => {}
        }
    }

    /// Somebody else's program: moves of a second each.
    fn own_moves(&mut self, moves: u32, card: bool) {
        self.own_moves = moves;
        self.own_file = card;
        self.move_on();
    }

    /// Plans what has room of somebody else's program.
    pub(super) fn move_on(&mut self) {
        while self.own_moves > 0 && self.motion.used() < 2 && self.lock == Lock::No && self.held_since.is_none() {
            let from = self.motion.planned();
            let to = [from[0] + if self.own_moves % 2 == 0 { 20.0 } else { -20.0 }, from[1], from[2]];
            self.motion.plan(self.now, to, 20.0, 1200.0);
            self.own_moves -= 1;
        }
        self.own_file &= self.own_moves > 0 || !self.motion.is_idle();
    }

    /// A jog comes to its end early, and what is planned of it is forgotten. No other motion is.
    pub(super) fn end_jog(&mut self, now: Moment) {
        if self.jogging {
            let at = now + self.hold_takes();
            self.jog_ends_at.get_or_insert(at);
        }
    }

    /// Moves until the probe touches, or to the end.
    pub(super) fn probe(&mut self, to: [f64; 3], feed_mm_min: f64, must: bool) {
        let from = self.motion.planned();
        let touches = (to[2]..=from[2]).contains(&self.setup.probe_z_mm);
        let end = if touches { [to[0], to[1], self.setup.probe_z_mm] } else { to };
        self.motion.plan(self.now, end, crate::sim::motion::length_mm(from, end, None), feed_mm_min);
        self.probing = Some((end, touches, must));
        self.busy = Busy::Sync { pause: Duration::ZERO, then: None };
    }

    pub(super) fn say_probed(&mut self) {
        let Some(([x, y, z], touched, must)) = self.probing.take() else { return };
        if must && !touched {
            self.lock = Lock::Alarm;
            self.out.extend_from_slice(b"ALARM:5\r\n");
        }
        let touched = u8::from(touched);
        self.out.extend_from_slice(format!("[PRB:{x:.3},{y:.3},{z:.3}:{touched}]\r\n").as_bytes());
    }
}

/// Whether a probing move that touches nothing is an alarm: G38.3 and G38.5 do not mind.
pub(super) fn must_touch(line: &[u8]) -> bool {
    [&b"G38.3"[..], b"G38.5"].iter().all(|code| memchr::memmem::find(line, code).is_none())
}
