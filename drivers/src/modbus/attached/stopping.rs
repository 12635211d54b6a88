//! How a drive is made to stand: its stop is written, and read back until the proof says so.

use std::time::Duration;

use super::Attached;
use crate::Moment;
use crate::modbus::{Question, Trouble};
use crate::notice::Notice;

/// Between two looks whether a drive stands, and between two writes of its stop.
const PROOF_EVERY: Duration = Duration::from_millis(100);

/// A stop on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stopping {
    since: Moment,
    /// Whether the stop was written, or refused, since the last look.
    written: bool,
    next_at: Moment,
    /// Whether it was told that it does not stand in time, or refuses.
    told: bool,
    /// The functions with which it was refused since it was last taken, and how it was refused last.
    refused: Vec<u8>,
    refusal: Option<Trouble>,
    /// The last write had no answer.
    unheard: bool,
}

impl Stopping {
    pub(super) fn next_at(&self) -> Moment {
        self.next_at
    }
}

impl Attached {
    /// Makes a drive stand. A meter has nothing that could. Whoever ordered it to turn hears that it will not.
    pub fn stop(&mut self, now: Moment) {
        self.give_up_turning();
        if self.auxiliary.stop.is_some() && self.stopping.is_none() {
            self.stopping = Some(Stopping {
                since: now,
                written: false,
                next_at: now,
                told: false,
                refused: Vec::new(),
                refusal: None,
                unheard: false,
            });
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
        Some(if stopping.written { Question::read(point) } else { self.write(point, order.value) })
    }

    pub(super) fn stop_answered(&mut self, now: Moment, question: &Question, words: &[u16]) {
        let (Some(stopping), Some(order)) = (&mut self.stopping, &self.auxiliary.stop) else { return };
        if question.writes() {
            stopping.written = true;
            stopping.unheard = false;
            stopping.next_at = now;
            stopping.refused.clear();
            stopping.refusal = None;
            return;
        }
        stopping.written = false;
        stopping.next_at = now + PROOF_EVERY;
        // It answers, and not what it was told: perhaps it knows the other function only.
        let otherwise = std::mem::take(&mut stopping.unheard).then(|| order.point.clone());
        let proof = order.proof.clone();
        if let Some((point, said)) = otherwise.and_then(|name| Some((self.auxiliary.point(&name)?.clone(), name))) {
            let write = self.write(&point, 0.0);
            self.write_otherwise(&said, &write);
        }
        let number = self.note_alone(now, &proof, Some(words));
        let stands = number.zip(self.auxiliary.stop.as_ref()).is_some_and(|(number, order)| order.is_proof(number));
        if stands {
            self.stopping = None;
            self.notices.stop = None;
            self.stands_proven(now);
            return;
        }
        let said = number.map_or_else(|| "no number".to_owned(), |number| number.to_string());
        self.watch_stop(now, &format!("`{proof}` still reads {said}"));
    }

    pub(super) fn stop_unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        let (Some(stopping), Some(order)) = (&mut self.stopping, &self.auxiliary.stop) else { return };
        let (point, proof) = (order.point.clone(), order.proof.clone());
        let ends_at = stopping.since + Duration::from_millis(order.within_ms);
        // One that does not answer is told less often, but it is said in time that it does not stand.
        stopping.next_at = now + PROOF_EVERY * (1 << self.unheard.min(3));
        if !stopping.told && now < ends_at {
            stopping.next_at = stopping.next_at.min(ends_at);
        }
        if question.writes() {
            // Whether it stands is looked at all the same: a drive that stands may refuse to be stopped.
            stopping.written = true;
            stopping.unheard = trouble.is_silence();
            if trouble.is_refusal() {
                stopping.next_at = now;
                let first = !stopping.refused.contains(&question.function());
                if first {
                    stopping.refused.push(question.function());
                }
                stopping.refusal = Some(trouble.clone());
                let other_is_new = question.otherwise().is_some_and(|it| !stopping.refused.contains(&it.function()));
                if other_is_new {
                    stopping.written = false;
                }
                self.write_otherwise(&point, question);
                return;
            }
        } else {
            stopping.written = false;
            self.note_alone(now, &proof, None);
        }
        self.watch_stop(now, &trouble.to_string());
    }

    /// A stop that does not hold is an alarm: there is nothing more that a program can do. One that is refused is told as
    /// that, and at once.
    fn watch_stop(&mut self, now: Moment, why: &str) {
        let (Some(stopping), Some(order)) = (&mut self.stopping, &self.auxiliary.stop) else { return };
        let late = now.since(stopping.since) >= Duration::from_millis(order.within_ms);
        if stopping.told || !(late || stopping.refusal.is_some()) {
            return;
        }
        stopping.told = true;
        let name = &self.auxiliary.name;
        let (code, happened) = if let Some(refusal) = &stopping.refusal {
            let functions: Vec<_> = stopping.refused.iter().map(|function| format!("function {function}")).collect();
            let (point, functions) = (&order.point, functions.join(" and "));
            let happened =
                format!("`{name}` refuses its stop, written into `{point}` with {functions}: {refusal}; and {why}.");
            ("drive.stop_refused", happened)
        } else {
            let seconds = order.within_ms as f64 / 1000.0;
            let happened = format!("`{name}` was told to stop and does not stand after {seconds} s: {why}.");
            ("drive.does_not_stop", happened)
        };
        let done = "Stop is written again and again.";
        let to_do = "Press the emergency stop. Do not reach in before it stands.";
        let notice = Notice::new(code, happened, done, to_do);
        self.tell(&notice);
        self.notices.stop = Some(notice);
    }
}
