//! How a drive is turned: its speed and its command are written, and its speed is read back until it has it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Attached, number_of};
use crate::Moment;
use crate::modbus::{Question, Trouble};
use crate::notice::Notice;
use crate::snapshot::{Quality, SpindleReport, SpindleState};

/// Between two looks whether a drive has its speed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Between two tries of a write that was not taken.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A drive that was at its speed and is read below this part of it twice in a row has lost it: a spindle that stalls, or one
/// that was stopped at its panel.
const LOST_BELOW: f64 = 0.5;

/// What a spindle is to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Stand.
    Stand,
    /// Turn clockwise at so many revolutions per minute.
    Forward(f64),
    /// Turn counter-clockwise.
    Reverse(f64),
}

/// An order to the drive that is a machine's spindle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SpindleOrder {
    /// Its number: each order has a higher one than those before it.
    pub number: u32,
    /// What is to be done.
    pub turn: Turn,
}

/// An order on its way.
#[derive(Debug)]
pub(super) struct Turning {
    order: SpindleOrder,
    rpm: f64,
    /// What is written, point and value, and how much of it was. The speed stands in front, so that nothing turns at an old
    /// one, and behind, because some drives take it only while they turn.
    writes: Vec<(String, f64)>,
    written: usize,
    since: Moment,
    next_at: Moment,
    /// Both functions were tried for the write that is due.
    tried: bool,
    /// It has its speed; how often in a row it was then read far below it.
    reached: bool,
    slow: u32,
}

impl Turning {
    pub(super) fn next_at(&self) -> Option<Moment> {
        (!self.reached).then_some(self.next_at)
    }
}

impl Attached {
    /// Takes an order of the machine's session.
    pub fn order(&mut self, now: Moment, order: SpindleOrder) {
        self.report = Some(SpindleReport { number: order.number, state: SpindleState::Pending });
        let (rpm, reverse) = match order.turn {
            Turn::Stand => {
                self.turning = None;
                self.stop(now);
                if self.stopping.is_none() {
                    self.stood();
                }
                return;
            }
            Turn::Forward(rpm) => (rpm, false),
            Turn::Reverse(rpm) => (rpm, true),
        };
        let Some(turn) = self.auxiliary.turn.as_ref().filter(|_| self.stopping.is_none() && self.fault.is_none())
        else {
            // It is being stopped, or reports a fault: nobody turns it meanwhile.
            return self.settle(SpindleState::Failed);
        };
        let commands = if reverse { &turn.reverse } else { &turn.forward };
        let speed = (turn.speed.clone(), rpm / turn.rpm_per_unit);
        let fits = self.auxiliary.point(&turn.speed).is_some_and(|point| super::value::encode(point, speed.1).is_ok());
        if commands.is_empty() || !fits {
            return self.settle(SpindleState::Failed);
        }
        let mut writes = vec![speed.clone()];
        writes.extend(commands.iter().map(|command| (command.point.clone(), command.value)));
        writes.push(speed);
        self.turning = Some(Turning {
            order,
            rpm,
            writes,
            written: 0,
            since: now,
            next_at: now,
            tried: false,
            reached: false,
            slow: 0,
        });
    }

    /// Says what became of the last order.
    fn settle(&mut self, state: SpindleState) {
        if let Some(report) = &mut self.report {
            report.state = state;
        }
    }

    /// It stands, and that was read back.
    pub(super) fn stood(&mut self) {
        if self.turning.is_none() && self.report.is_some_and(|report| report.state == SpindleState::Pending) {
            self.settle(SpindleState::Reached);
        }
    }

    /// It does not turn any more, or will not, whatever was ordered.
    pub(super) fn give_up_turning(&mut self) {
        if let Some(turning) = self.turning.take() {
            if self.report.is_some_and(|report| report.number == turning.order.number) {
                self.settle(SpindleState::Failed);
            }
        }
    }

    /// How fast it turns, in revolutions per minute, where it can be turned and that was read.
    pub(super) fn turns_rpm(&self) -> Option<f64> {
        let turn = self.auxiliary.turn.as_ref()?;
        let actual = number_of(&self.readings, &turn.actual).filter(|actual| actual.quality == Quality::Good)?;
        Some(actual.value.abs() * turn.actual_rpm_per_unit)
    }

    pub(super) fn turn_question(&mut self, now: Moment) -> Option<Question> {
        let turning = self.turning.as_ref().filter(|turning| !turning.reached && turning.next_at <= now)?;
        match turning.writes.get(turning.written) {
            Some((name, value)) => {
                let point = self.auxiliary.point(name)?;
                Some(self.write(point, *value))
            }
            None => Some(Question::read(self.auxiliary.point(&self.auxiliary.turn.as_ref()?.actual)?)),
        }
    }

    /// Whether a question is one that an order has put.
    fn is_of_order(&self, question: &Question) -> bool {
        let (Some(turning), Some(turn)) = (&self.turning, &self.auxiliary.turn) else { return false };
        !turning.reached
            && (question.writes()
                || turning.written == turning.writes.len()
                    && self.auxiliary.point(&turn.actual).is_some_and(|point| Question::read(point) == *question))
    }

    pub(super) fn turn_answered(&mut self, now: Moment, question: &Question, words: &[u16]) -> bool {
        if !self.is_of_order(question) {
            return false;
        }
        let Some(turn) = self.auxiliary.turn.clone() else { return false };
        let number = if question.writes() { None } else { self.note_alone(now, &turn.actual, Some(words)) };
        let Some(turning) = &mut self.turning else { return false };
        if question.writes() {
            turning.written += 1;
            turning.tried = false;
            turning.next_at = now;
            return true;
        }
        turning.next_at = now + LOOK_EVERY;
        let rpm = number.map_or(0.0, |number| number.abs() * turn.actual_rpm_per_unit);
        let near = (rpm - turning.rpm).abs() <= turning.rpm * turn.tolerance_percent / 100.0;
        if number.is_some() && near {
            turning.reached = true;
            self.settle(SpindleState::Reached);
        } else {
            self.watch_turn(now);
        }
        true
    }

    pub(super) fn turn_unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) -> bool {
        if !self.is_of_order(question) {
            return false;
        }
        let Some(turning) = &mut self.turning else { return false };
        turning.next_at = now + AGAIN_AFTER;
        if question.writes() && trouble.is_refusal() {
            let name = turning.writes[turning.written.min(turning.writes.len() - 1)].0.clone();
            let first_time = !std::mem::replace(&mut turning.tried, true);
            if first_time && self.write_otherwise(&name, question) {
                if let Some(turning) = &mut self.turning {
                    turning.next_at = now;
                }
                return true;
            }
            let Some(turning) = &mut self.turning else { return true };
            turning.tried = false;
            if turning.written == 0 {
                // A speed for a drive that stands: it is told again when it runs.
                turning.written = 1;
                turning.next_at = now;
                return true;
            }
        }
        self.watch_turn(now);
        true
    }

    /// A speed that is not reached in time is not waited for any longer: who ordered it decides what then.
    fn watch_turn(&mut self, now: Moment) {
        let within = self.auxiliary.turn.as_ref().map_or(0, |turn| turn.within_ms);
        let late = self.turning.as_ref().is_some_and(|it| now.since(it.since) >= Duration::from_millis(within));
        if late {
            self.stop(now);
        }
    }

    /// A spindle that has lost its speed is told of: a standing tool is not fed into the work. So is one that turns although
    /// nobody here ordered that.
    pub(super) fn watch_speed(&mut self, now: Moment) {
        let rpm = self.turns_rpm();
        self.watch_unordered();
        let Some(turning) = self.turning.as_mut().filter(|turning| turning.reached) else { return };
        let Some(rpm) = rpm else { return };
        turning.slow = if rpm < turning.rpm * LOST_BELOW { turning.slow + 1 } else { 0 };
        if turning.slow >= 2 {
            self.stop(now);
        }
    }

    fn watch_unordered(&mut self) {
        let Some(stop) = self.auxiliary.stop.as_ref().filter(|_| self.auxiliary.is_spindle) else { return };
        let proof = number_of(&self.readings, &stop.proof).filter(|proof| proof.quality == Quality::Good);
        let turns = proof.is_some_and(|proof| !stop.is_proof(proof.value));
        if !turns || self.turning.is_some() || self.stopping.is_some() {
            self.notices.turning = None;
        } else if self.notices.turning.is_none() {
            let name = &self.auxiliary.name;
            let notice = Notice::new(
                "drive.turns",
                format!("`{name}` turns, and nobody has ordered that here."),
                "No job is taken.",
                "Look at the machine. Stop the spindle at its drive, or with the emergency stop here.",
            );
            self.tell(&notice);
            self.notices.turning = Some(notice);
        }
    }
}
