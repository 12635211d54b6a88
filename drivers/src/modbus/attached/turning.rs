//! How a drive is turned: its speed and its command are written, and its speed is read back until it has it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Attached, STALE_AFTER_POLLS, number_of};
use crate::Moment;
use crate::modbus::{Form, Question, Trouble};
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
    /// When its speed was read last, and how often in a row it could not be.
    read_at: Moment,
    unread: u32,
    /// It was read to turn the other way round.
    wrong_way: bool,
}

impl Turning {
    pub(super) fn next_at(&self) -> Option<Moment> {
        (!self.reached).then_some(self.next_at)
    }

    fn is_reverse(&self) -> bool {
        matches!(self.order.turn, Turn::Reverse(_))
    }
}

/// An order to turn that a stop has taken back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TakenBack {
    /// When the drive was read to stand since then.
    stood_at: Option<Moment>,
}

impl Attached {
    /// Takes an order of the machine's session.
    pub fn order(&mut self, now: Moment, order: SpindleOrder) {
        self.report = Some(SpindleReport { number: order.number, state: SpindleState::Pending });
        let (rpm, reverse) = match order.turn {
            Turn::Stand => {
                if self.turning.take().is_some() {
                    self.taken_back = Some(TakenBack::default());
                }
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
        self.taken_back = None;
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
            read_at: now,
            unread: 0,
            wrong_way: false,
        });
    }

    /// Says what became of the last order.
    fn settle(&mut self, state: SpindleState) {
        if let Some(report) = &mut self.report {
            report.state = state;
        }
    }

    /// A stop holds: that was read back.
    pub(super) fn stands_proven(&mut self, now: Moment) {
        self.seen_standing = true;
        if let Some(taken_back) = &mut self.taken_back {
            taken_back.stood_at = Some(now);
        }
        if self.turns_rpm().is_some() {
            self.notices.unread = None;
        }
        self.stood();
    }

    /// It stands: so an order to stand is carried out.
    fn stood(&mut self) {
        if self.turning.is_none() && self.report.is_some_and(|report| report.state == SpindleState::Pending) {
            self.settle(SpindleState::Reached);
        }
    }

    /// It does not turn any more, or will not, whatever was ordered.
    pub(super) fn give_up_turning(&mut self) {
        if let Some(turning) = self.turning.take() {
            self.taken_back = Some(TakenBack::default());
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

    /// What its speed point reads, in revolutions per minute of the direction that was ordered: negative where it turns the
    /// other way round. A point without a sign says nothing of the direction.
    fn ordered_rpm(&self, number: f64, reverse: bool) -> f64 {
        let Some(turn) = &self.auxiliary.turn else { return 0.0 };
        let form = self.auxiliary.point(&turn.actual).map(|point| point.form);
        let has_sign = matches!(form, Some(Form::I16 | Form::I32 | Form::I64));
        let number = match (reverse, has_sign) {
            (false, _) => number,
            (true, true) => -number,
            (true, false) => number.abs(),
        };
        number * turn.actual_rpm_per_unit
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
        let reverse = self.turning.as_ref().is_some_and(Turning::is_reverse);
        let rpm = number.map_or(0.0, |number| self.ordered_rpm(number, reverse));
        let Some(turning) = &mut self.turning else { return false };
        if question.writes() {
            turning.written += 1;
            turning.tried = false;
            turning.next_at = now;
            return true;
        }
        turning.next_at = now + LOOK_EVERY;
        turning.wrong_way = rpm < -turning.rpm * LOST_BELOW;
        let near = (rpm - turning.rpm).abs() <= turning.rpm * turn.tolerance_percent / 100.0;
        if number.is_some() && near {
            turning.reached = true;
            turning.read_at = now;
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
                if self.auxiliary.turn.as_ref().is_some_and(|turn| turn.speed_only_running) {
                    // A speed for a drive that stands: it is told again when it runs.
                    turning.written = 1;
                    turning.next_at = now;
                } else {
                    self.speed_refused(now, &name, trouble);
                }
                return true;
            }
        }
        self.watch_turn(now);
        true
    }

    /// A drive that does not take its speed is not started at the one that it had last: for that the tool may be too large.
    fn speed_refused(&mut self, now: Moment, point: &str, trouble: &Trouble) {
        let notice = Notice::new(
            "drive.speed_refused",
            format!("`{}` refuses its speed, written into `{point}`: {trouble}.", self.auxiliary.name),
            "It was not started, and is told to stop.",
            "Check the drive's settings and `turn.speed` (docs/modbus.md); `speed_only_running` is for a drive that takes \
             its speed only while it turns.",
        );
        self.tell(&notice);
        self.stop(now);
    }

    /// A speed that is not reached in time is not waited for any longer: who ordered it decides what then.
    fn watch_turn(&mut self, now: Moment) {
        let within = self.auxiliary.turn.as_ref().map_or(0, |turn| turn.within_ms);
        let Some(turning) = &self.turning else { return };
        if now.since(turning.since) < Duration::from_millis(within) {
            return;
        }
        if turning.wrong_way {
            let notice = Notice::new(
                "drive.wrong_way",
                format!(
                    "`{}` turns the other way round than it was told, by the sign of its speed.",
                    self.auxiliary.name
                ),
                "It is told to stop.",
                "Compare `turn.forward` and `turn.reverse` with the drive's manual.",
            );
            self.tell(&notice);
        }
        self.stop(now);
    }

    /// A spindle that has lost its speed is told of: a standing tool is not fed into the work. So is one whose speed cannot
    /// be read any more, and one that turns although nobody here ordered that. `read`: the points that were asked for.
    pub(super) fn watch_speed(&mut self, now: Moment, read: &[usize]) {
        self.watch_unordered(now);
        let Some(turn) = &self.auxiliary.turn else { return };
        if !read.iter().any(|at| self.auxiliary.modbus.points[*at].name == turn.actual) {
            return;
        }
        let within = Duration::from_millis(turn.within_ms);
        let actual = number_of(&self.readings, &turn.actual).filter(|actual| actual.quality == Quality::Good);
        if actual.is_some() {
            self.notices.unread = None;
        }
        let reverse = self.turning.as_ref().is_some_and(Turning::is_reverse);
        let rpm = actual.map(|actual| self.ordered_rpm(actual.value, reverse));
        let Some(turning) = self.turning.as_mut().filter(|turning| turning.reached) else { return };
        if let Some(rpm) = rpm {
            (turning.read_at, turning.unread) = (now, 0);
            turning.slow = if rpm < turning.rpm * LOST_BELOW { turning.slow + 1 } else { 0 };
            if turning.slow >= 2 {
                self.stop(now);
            }
        } else {
            turning.unread += 1;
            if turning.unread >= STALE_AFTER_POLLS || now.since(turning.read_at) >= within {
                self.lost_sight(now);
            }
        }
    }

    /// It turns in the work, and how fast is not known any more.
    fn lost_sight(&mut self, now: Moment) {
        let actual = self.auxiliary.turn.as_ref().map_or("", |turn| &turn.actual);
        let notice = Notice::new(
            "drive.unread",
            format!("`{}` turns, and its speed (`{actual}`) cannot be read any more.", self.auxiliary.name),
            "It is told to stop. No job is taken until its speed can be read.",
            "Look whether the spindle stands. Check the drive and its cable.",
        );
        self.tell(&notice);
        self.notices.unread = Some(notice);
        self.stop(now);
    }

    /// One that turns although nobody here has ordered that. A drive that is not the spindle is turned by the machine's own
    /// controller: it is only looked at until it was seen to stand.
    fn watch_unordered(&mut self, now: Moment) {
        let Some(stop) = &self.auxiliary.stop else { return };
        let proof = number_of(&self.readings, &stop.proof).filter(|proof| proof.quality == Quality::Good);
        let Some(proof) = proof else { return };
        let (stands, within) = (stop.is_proof(proof.value), Duration::from_millis(stop.within_ms));
        self.seen_standing |= stands;
        let is_others = !self.auxiliary.is_spindle && self.seen_standing;
        if stands || is_others || self.turning.is_some() || self.stopping.is_some() {
            self.notices.turning = None;
            return;
        }
        let happened = format!("`{}` turns, and nobody has ordered that here.", self.auxiliary.name);
        let stood_at = self.taken_back.and_then(|taken_back| taken_back.stood_at);
        if stood_at.is_some_and(|at| now.since(at) < within) {
            // Behind a stop that has taken back an order: what was on its way has come late.
            let to_do = "Look whether it stands.";
            self.tell(&Notice::new("drive.turns", happened, "It was stopped, and is told to stop again.", to_do));
            self.stop(now);
        } else if self.notices.turning.is_none() {
            let to_do = "Look at the machine. Stop the spindle at its drive, or with the emergency stop here.";
            let notice = Notice::new("drive.turns", happened, "No job is taken.", to_do);
            self.tell(&notice);
            self.notices.turning = Some(notice);
        }
    }
}
