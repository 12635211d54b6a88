//! How a drive is made to stand: its stop is written, and read back until the proof says so.

use std::time::Duration;

use super::Attached;
use crate::Moment;
use crate::modbus::{Question, Trouble, value};
use crate::notice::Notice;

/// Between two looks whether a drive stands, and between two writes of its stop.
const PROOF_EVERY: Duration = Duration::from_millis(100);

/// Code of the notice that a drive does not show that it stands.
pub(super) const DOES_NOT_STOP: &str = "drive.does_not_stop";

/// A stop on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopping {
    since: Moment,
    /// Whether the stop was written since the last look.
    written: bool,
    next_at: Moment,
    /// Whether it was told that it does not stand in time.
    told: bool,
}

impl Stopping {
    pub(super) fn next_at(&self) -> Moment {
        self.next_at
    }
}

impl Attached {
    /// Makes a drive stand. A meter has nothing that could.
    pub fn stop(&mut self, now: Moment) {
        if self.auxiliary.stop.is_some() && self.stopping.is_none() {
            self.stopping = Some(Stopping { since: now, written: false, next_at: now, told: false });
        }
    }

    /// Whether a stop is still to be proven.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// The stop, and in turn with it the question whether it holds.
    pub(super) fn stop_question(&mut self, now: Moment) -> Option<Question> {
        let (stopping, order) = (self.stopping.as_ref()?, self.auxiliary.stop.as_ref()?);
        if now < stopping.next_at {
            return None;
        }
        let point = self.auxiliary.point(if stopping.written { &order.proof } else { &order.point })?;
        if stopping.written {
            return Some(Question::read(point));
        }
        // A profile's stop fits its point, or it is no profile.
        let words = value::encode(point, order.value).unwrap_or_else(|_| vec![0; usize::from(point.size())]);
        Some(Question::write(point, words))
    }

    pub(super) fn stop_answered(&mut self, now: Moment, question: &Question, words: &[u16]) {
        let (Some(stopping), Some(order)) = (&mut self.stopping, &self.auxiliary.stop) else { return };
        if question.writes() {
            stopping.written = true;
            stopping.next_at = now;
            return;
        }
        stopping.written = false;
        stopping.next_at = now + PROOF_EVERY;
        let (name, proof_max) = (order.proof.clone(), order.proof_max);
        let Some(at) = self.auxiliary.modbus.points.iter().position(|point| point.name == name) else { return };
        let read = value::decode(&self.auxiliary.modbus.points[at], words);
        let number = read.as_ref().and_then(value::Value::number);
        self.note(now, at, read);
        if number.is_some_and(|number| number.abs() <= proof_max) {
            self.stopping = None;
            if self.notice.as_ref().is_some_and(|notice| notice.code != "drive.fault") {
                self.notice = None;
            }
            return;
        }
        let said = number.map_or_else(|| "no number".to_owned(), |number| number.to_string());
        self.watch_stop(now, &format!("`{name}` still reads {said}"));
    }

    pub(super) fn stop_unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        let (Some(stopping), Some(order)) = (&mut self.stopping, &self.auxiliary.stop) else { return };
        stopping.written = false;
        // One that does not answer is told less often, but it is said in time that it does not stand.
        stopping.next_at = now + PROOF_EVERY * (1 << self.unheard.min(3));
        let ends_at = stopping.since + Duration::from_millis(order.within_ms);
        if !stopping.told && now < ends_at {
            stopping.next_at = stopping.next_at.min(ends_at);
        }
        let proof = order.proof.clone();
        if !question.writes() {
            if let Some(at) = self.auxiliary.modbus.points.iter().position(|point| point.name == proof) {
                self.note(now, at, None);
            }
        }
        self.watch_stop(now, &trouble.to_string());
    }

    /// A stop that does not hold is an alarm: there is nothing more that a program can do.
    fn watch_stop(&mut self, now: Moment, why: &str) {
        let (Some(stopping), Some(order)) = (&mut self.stopping, &self.auxiliary.stop) else { return };
        if stopping.told || now.since(stopping.since) < Duration::from_millis(order.within_ms) {
            return;
        }
        stopping.told = true;
        let name = &self.auxiliary.name;
        let seconds = order.within_ms as f64 / 1000.0;
        self.tell(Notice::new(
            DOES_NOT_STOP,
            format!("`{name}` was told to stop and does not stand after {seconds} s: {why}."),
            "Stop is written again and again.",
            "Press the emergency stop. Do not reach in before it stands.",
        ));
    }
}
