//! A device beside a machine as a value: what it is asked, what it answered, and how it is made to stand or to turn.
//!
//! ```text
//!             stop asked, fault, silence              the proof reads that it stands
//!  Watching ───────────────────────────► Stopping ───────────────────────────────────► Watching
//!    │  ▲                                   │ ▲ not within its time, or the stop is refused
//!    │  │ the speed is read back            │ └── the alarm `drive.does_not_stop` (`drive.stop_refused`); stop is
//!    ▼  │                                   │     written again and again
//!  Turning ──► not within its time, refused: told to whoever ordered it
//! ```
//!
//! That a drive is silent, faulted or does not stand is a state ([`Hindrance`]), and not only a moment: it is so from the
//! first moment on, and until the drive shows otherwise.

use std::collections::VecDeque;
use std::time::Duration;

mod fault;
mod service;
mod stopping;
mod turning;

use super::{Auxiliary, AuxiliaryKind, Point, Question, Read, Trouble, plan, value};
use crate::Moment;
use crate::notice::Notice;
use crate::snapshot::{Beside, Hindrance, PointReading, Quality, Reading, SpindleReport};

pub use service::{own_points, protection};
use stopping::Stopping;
pub use turning::{SpindleOrder, Turn};
use turning::{TakenBack, Turning};

/// A reading older than this many of its polls is stale.
const STALE_AFTER_POLLS: u32 = 5;

/// Code of the notice that a device does not let a point be read.
const REFUSED: &str = "auxiliary.refused";

/// A device that does not answer is asked after this long and, doubled each time, at last: it may keep a bus that others
/// use busy for a time limit and a silence each time.
const SILENT_FIRST: Duration = Duration::from_secs(1);
const SILENT_LAST: Duration = Duration::from_secs(10);

/// Notices that wait to be taken.
const NOTICES_MAX: usize = 16;

/// A read of the plan.
#[derive(Debug)]
struct Planned {
    read: Read,
    due: Moment,
    /// The device refuses it.
    refused: bool,
}

/// What a person should know of it: one for each of its states, for as long as it is so.
#[derive(Debug, Default)]
struct Notices {
    stop: Option<Notice>,
    silent: Option<Notice>,
    fault: Option<Notice>,
    turning: Option<Notice>,
    /// How fast it turns cannot be read.
    unread: Option<Notice>,
    refused: Option<Notice>,
}

/// One device beside a machine.
#[derive(Debug)]
pub struct Attached {
    auxiliary: Auxiliary,
    plan: Vec<Planned>,
    readings: Vec<PointReading>,
    stopping: Option<Stopping>,
    turning: Option<Turning>,
    /// It was read to stand at least once: before that it is not known who turns it.
    seen_standing: bool,
    /// An order to turn that was taken back, and of which something may still be on its way.
    taken_back: Option<TakenBack>,
    /// What became of the last order to turn or to stand.
    report: Option<SpindleReport>,
    answers: bool,
    /// Questions in a row that had no answer.
    unheard: u32,
    /// What is wrong with it, in its profile's words.
    fault: Option<String>,
    /// Points that are written with the other function than their form has.
    otherwise: Vec<String>,
    notices: Notices,
    waiting: VecDeque<Notice>,
}

impl Attached {
    /// A device that has not been asked yet.
    pub fn new(auxiliary: Auxiliary, now: Moment) -> Self {
        let points = &auxiliary.modbus.points;
        let plan = plan(&auxiliary.modbus).into_iter().map(|read| Planned { read, due: now, refused: false }).collect();
        let readings = points
            .iter()
            .map(|point| PointReading {
                name: point.name.clone(),
                meaning: point.meaning,
                unit: point.unit.clone(),
                reading: None,
            })
            .collect();
        Self {
            auxiliary,
            plan,
            readings,
            stopping: None,
            turning: None,
            seen_standing: false,
            taken_back: None,
            report: None,
            answers: false,
            unheard: 0,
            fault: None,
            otherwise: Vec::new(),
            notices: Notices::default(),
            waiting: VecDeque::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.auxiliary.name
    }

    /// Whether it does what the program says with M3, M4, M5 and S.
    pub fn is_spindle(&self) -> bool {
        self.auxiliary.is_spindle
    }

    /// What is to be asked now. A stop comes before every reading.
    pub fn question(&mut self, now: Moment) -> Option<Question> {
        if self.stopping.is_some() {
            return self.stop_question(now);
        }
        if let Some(question) = self.turn_question(now) {
            return Some(question);
        }
        let planned = self.plan.iter().filter(|planned| planned.due <= now).min_by_key(|planned| planned.due)?;
        Some(ask(&planned.read))
    }

    /// When [`Attached::question`] has something to ask.
    pub fn wakes_at(&self) -> Option<Moment> {
        if let Some(stopping) = &self.stopping {
            return Some(stopping.next_at());
        }
        let reads = self.plan.iter().map(|planned| planned.due);
        reads.chain(self.turning.as_ref().and_then(Turning::next_at)).min()
    }

    /// Takes an answer.
    pub fn answered(&mut self, now: Moment, question: &Question, words: &[u16]) {
        self.heard(now);
        if self.stopping.is_some() {
            return self.stop_answered(now, question, words);
        }
        if self.turn_answered(now, question, words) {
            return;
        }
        let Some(place) = self.place(question) else { return };
        let planned = &mut self.plan[place];
        planned.due = now + Duration::from_millis(planned.read.poll_ms);
        planned.refused = false;
        let points = planned.read.points.clone();
        for at in points.clone() {
            let point = &self.auxiliary.modbus.points[at];
            let value = self.plan[place].read.part(point, words).and_then(|words| value::decode(point, words));
            self.note(now, at, value);
        }
        self.watch_fault(now);
        self.watch_speed(now, &points);
        if !self.plan.iter().any(|planned| planned.refused) {
            self.notices.refused = None;
        }
    }

    /// It is there.
    fn heard(&mut self, now: Moment) {
        self.answers = true;
        self.notices.silent = None;
        if std::mem::take(&mut self.unheard) > 0 {
            // It is there again: nothing that it can say waits for its turn.
            self.plan.iter_mut().for_each(|planned| planned.due = now);
        }
    }

    /// Takes that there was no answer: what it would have brought is not known any more.
    pub fn unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        if trouble.is_silence() {
            self.answers = false;
            self.unheard = self.unheard.saturating_add(1);
        } else {
            self.heard(now);
        }
        if self.stopping.is_some() {
            self.stop_unanswered(now, question, trouble);
        } else if !self.turn_unanswered(now, question, trouble) {
            self.read_unanswered(now, question, trouble);
        }
        if !self.answers {
            self.fell_silent(now, question, trouble);
        }
    }

    fn read_unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        let Some(place) = self.place(question) else { return };
        if trouble.may_be_too_much() {
            if let Some(halves) = self.plan[place].read.halves(&self.auxiliary.modbus) {
                // It gives fewer at once, or has no register between two of its points: from now on it is asked for less.
                let halves = halves.map(|read| Planned { read, due: now, refused: false });
                self.plan.splice(place..=place, halves);
                return;
            }
        }
        let planned = &mut self.plan[place];
        planned.due = now + Duration::from_millis(planned.read.poll_ms);
        let told = trouble.is_refusal() && !std::mem::replace(&mut planned.refused, trouble.is_refusal());
        let points = planned.read.points.clone();
        for at in &points {
            self.note(now, *at, None);
        }
        self.watch_speed(now, &points);
        if told {
            let asked = question.place(&self.auxiliary.modbus.points);
            let happened = format!("`{}` beside the machine, asked for {asked}: {trouble}.", self.auxiliary.name);
            let notice = Notice::new(REFUSED, happened, "What it would read is not known.", trouble.to_do());
            self.tell(&notice);
            self.notices.refused = Some(notice);
        }
    }

    fn fell_silent(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        let rest = (SILENT_FIRST * (1 << self.unheard.saturating_sub(1).min(4))).min(SILENT_LAST);
        self.plan.iter_mut().for_each(|planned| planned.due = planned.due.max(now + rest));
        if self.notices.silent.is_some() {
            return;
        }
        let drive = self.auxiliary.kind == AuxiliaryKind::Drive;
        let done =
            if drive { "Stop is being written to it until it is read back." } else { "Its readings are not known." };
        let to_do = if drive { "Go and see whether it turns; check its cable." } else { "Check its cable." };
        let asked = question.place(&self.auxiliary.modbus.points);
        let name = &self.auxiliary.name;
        let happened = format!("`{name}` beside the machine does not answer, asked for {asked}: {trouble}.");
        let notice = Notice::new("auxiliary.silent", happened, done, to_do);
        self.tell(&notice);
        self.notices.silent = Some(notice);
        self.stop(now);
    }

    /// Notes what a point reads. What could not be read is not known, and the last value never passes for a new one.
    fn note(&mut self, now: Moment, at: usize, value: Option<value::Value>) {
        match (value, &mut self.readings[at].reading) {
            (Some(value), reading) => *reading = Some(Reading::fresh(value, now)),
            (None, Some(reading)) => reading.quality = Quality::Uncertain,
            (None, None) => {}
        }
    }

    /// Reads a point out of the answer to a question for it alone, and notes it.
    fn note_alone(&mut self, now: Moment, name: &str, words: Option<&[u16]>) -> Option<f64> {
        let at = self.auxiliary.modbus.points.iter().position(|point| point.name == name)?;
        let read = words.and_then(|words| value::decode(&self.auxiliary.modbus.points[at], words));
        let number = read.as_ref().and_then(value::Value::number);
        self.note(now, at, read);
        number
    }

    fn place(&self, question: &Question) -> Option<usize> {
        self.plan.iter().position(|planned| ask(&planned.read) == *question)
    }

    /// A write of a value into a point, with the function that the device knows.
    fn write(&self, point: &Point, value: f64) -> Question {
        // A profile's orders fit its points, or it is no profile.
        let words = value::encode(point, value).unwrap_or_else(|_| vec![0; usize::from(point.size())]);
        let plainly = Question::write(point, words);
        if self.otherwise.contains(&point.name) { plainly.otherwise().unwrap_or(plainly) } else { plainly }
    }

    /// From now on a point is written with the other function. False: there is no other.
    fn write_otherwise(&mut self, name: &str, refused: &Question) -> bool {
        if refused.otherwise().is_none() {
            return false;
        }
        match self.otherwise.iter().position(|known| known == name) {
            Some(at) => drop(self.otherwise.swap_remove(at)),
            None => self.otherwise.push(name.to_owned()),
        }
        true
    }

    /// A drive that reports a fault is told to stop: what it does when the fault passes is not left to it.
    fn watch_fault(&mut self, now: Moment) {
        let fault = fault::of(&self.auxiliary.modbus.points, &self.readings);
        if fault == self.fault {
            return;
        }
        self.fault.clone_from(&fault);
        let Some(sentence) = fault else {
            self.notices.fault = None;
            return;
        };
        let happened = format!("`{}` reports a fault: {sentence}.", self.auxiliary.name);
        let notice = match self.auxiliary.kind {
            AuxiliaryKind::Drive => {
                Notice::new("drive.fault", happened, "It is told to stop.", "Look at the drive and its display.")
            }
            _ => Notice::new("auxiliary.alarm", happened, "Nothing was done about it.", "Look at the machine."),
        };
        self.tell(&notice);
        self.notices.fault = Some(notice);
        self.stop(now);
    }

    fn tell(&mut self, notice: &Notice) {
        if self.waiting.len() < NOTICES_MAX {
            self.waiting.push_back(notice.clone());
        }
    }

    /// The next thing a person should hear of, oldest first.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.waiting.pop_front()
    }

    /// Why nothing may be started beside it, if that is so. Only a drive can hinder.
    fn hinders(&self) -> Option<Hindrance> {
        match self.auxiliary.kind {
            AuxiliaryKind::Meter | AuxiliaryKind::Readings => None,
            AuxiliaryKind::Drive if self.notices.stop.is_some() => Some(Hindrance::DoesNotStand),
            AuxiliaryKind::Drive if !self.answers || self.is_unknown() => Some(Hindrance::Silent),
            AuxiliaryKind::Drive if self.fault.is_some() => Some(Hindrance::Faulted),
            AuxiliaryKind::Drive if self.notices.turning.is_some() => Some(Hindrance::Turning),
            AuxiliaryKind::Drive if self.stopping.is_some() => Some(Hindrance::Stopping),
            AuxiliaryKind::Drive => None,
        }
    }

    /// Whether it turns is not known: that was not read yet, or cannot be read any more.
    fn is_unknown(&self) -> bool {
        let never_read = self.auxiliary.stop.as_ref().is_some_and(|stop| {
            let mut points = self.auxiliary.modbus.points.iter().zip(&self.readings);
            points.any(|(point, known)| point.name == stop.proof && point.poll_ms > 0 && known.reading.is_none())
        });
        never_read || self.notices.unread.is_some()
    }

    /// What is known of it.
    pub fn snapshot(&self, now: Moment) -> Beside {
        let mut readings = self.readings.clone();
        for (point, known) in self.auxiliary.modbus.points.iter().zip(&mut readings) {
            let stale_after = Duration::from_millis(point.poll_ms) * STALE_AFTER_POLLS;
            if let Some(reading) = known.reading.as_mut().filter(|reading| reading.quality == Quality::Good) {
                if now.since(reading.at) > stale_after {
                    reading.quality = Quality::Stale;
                }
            }
        }
        let Notices { stop, silent, fault, turning, unread, refused } = &self.notices;
        Beside {
            name: self.auxiliary.name.clone(),
            kind: self.auxiliary.kind,
            answers: self.answers,
            notice: [stop, silent, fault, turning, unread, refused].into_iter().flatten().next().cloned(),
            stopping: self.stopping.is_some(),
            hinders: self.hinders(),
            spindle: self.report,
            turns_rpm: self.turns_rpm(),
            readings,
        }
    }
}

fn ask(read: &Read) -> Question {
    Question::Read { table: read.table, address: read.address, count: read.count }
}

/// The number that a point of this name reads, if that was read.
fn number_of(readings: &[PointReading], name: &str) -> Option<Reading<f64>> {
    let reading = readings.iter().find(|point| point.name == name)?.reading.as_ref()?;
    Some(Reading { value: reading.value.number()?, at: reading.at, quality: reading.quality })
}

#[cfg(test)]
pub(crate) mod test;
