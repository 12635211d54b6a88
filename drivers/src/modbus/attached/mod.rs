//! A device beside a machine as a value: what it is asked, what it answered, and how it is made to stand.
//!
//! ```text
//!             stop asked, fault, silence              the proof reads that it stands
//!  Watching ───────────────────────────► Stopping ───────────────────────────────────► Watching
//!                                           │ not within its time
//!                                           └──► the alarm `drive.does_not_stop`; stop is written again and again
//! ```

use std::collections::VecDeque;
use std::time::Duration;

mod service;
mod stopping;

use super::{Auxiliary, AuxiliaryKind, Meaning, Question, Read, Trouble, plan, value};
use crate::Moment;
use crate::notice::Notice;
use crate::snapshot::{Beside, PointReading, Quality, Reading};

pub use service::{own_points, protection};
use stopping::Stopping;

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

/// One device beside a machine.
#[derive(Debug)]
pub struct Attached {
    auxiliary: Auxiliary,
    plan: Vec<(Read, Moment)>,
    /// Which reads of the plan the device refuses.
    refused: Vec<bool>,
    readings: Vec<PointReading>,
    stopping: Option<Stopping>,
    answers: bool,
    silent_since: Option<Moment>,
    /// Questions in a row that had no answer.
    unheard: u32,
    fault: u64,
    notice: Option<Notice>,
    notices: VecDeque<Notice>,
}

impl Attached {
    /// A device that has not been asked yet.
    pub fn new(auxiliary: Auxiliary, now: Moment) -> Self {
        let points = &auxiliary.modbus.points;
        let plan: Vec<_> = plan(&auxiliary.modbus).into_iter().map(|read| (read, now)).collect();
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
            refused: vec![false; plan.len()],
            plan,
            readings,
            stopping: None,
            answers: false,
            silent_since: None,
            unheard: 0,
            fault: 0,
            notice: None,
            notices: VecDeque::new(),
        }
    }

    /// What is to be asked now. A stop comes before every reading.
    pub fn question(&mut self, now: Moment) -> Option<Question> {
        if self.stopping.is_some() {
            return self.stop_question(now);
        }
        let (read, _) = self.plan.iter().filter(|(_, due)| *due <= now).min_by_key(|(_, due)| *due)?;
        Some(Question::Read { table: read.table, address: read.address, count: read.count })
    }

    /// When [`Attached::question`] has something to ask.
    pub fn wakes_at(&self) -> Option<Moment> {
        match &self.stopping {
            Some(stopping) => Some(stopping.next_at()),
            None => self.plan.iter().map(|(_, due)| *due).min(),
        }
    }

    /// Takes an answer.
    pub fn answered(&mut self, now: Moment, question: &Question, words: &[u16]) {
        self.answers = true;
        self.silent_since = None;
        if std::mem::take(&mut self.unheard) > 0 {
            // It is there again: nothing that it can say waits for its turn.
            self.plan.iter_mut().for_each(|(_, due)| *due = now);
        }
        if self.stopping.is_some() {
            return self.stop_answered(now, question, words);
        }
        let Some(place) = self.place(question) else { return };
        let (read, due) = &mut self.plan[place];
        *due = now + Duration::from_millis(read.poll_ms);
        for at in read.points.clone() {
            let point = &self.auxiliary.modbus.points[at];
            let value = self.plan[place].0.part(point, words).and_then(|words| value::decode(point, words));
            self.note(now, at, value);
        }
        self.refused[place] = false;
        self.watch_fault(now);
        let over = |code: &str| code == "auxiliary.silent" || (code == REFUSED && !self.refused.contains(&true));
        if self.fault == 0 && self.notice.as_ref().is_some_and(|notice| over(&notice.code)) {
            self.notice = None;
        }
    }

    /// Takes that there was no answer: what it would have brought is not known any more.
    pub fn unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        self.answers = !trouble.is_silence();
        self.unheard = if self.answers { 0 } else { self.unheard.saturating_add(1) };
        if self.stopping.is_some() {
            return self.stop_unanswered(now, question, trouble);
        }
        let Some(place) = self.place(question) else { return };
        let (read, due) = &mut self.plan[place];
        *due = now + Duration::from_millis(read.poll_ms);
        for at in read.points.clone() {
            self.note(now, at, None);
        }
        let asked = question.place(&self.auxiliary.modbus.points);
        if trouble.is_refusal() && !std::mem::replace(&mut self.refused[place], true) {
            let happened = format!("`{}` beside the machine, asked for {asked}: {trouble}.", self.auxiliary.name);
            self.tell(Notice::new(REFUSED, happened, "What it would read is not known.", trouble.to_do()));
        }
        if !self.answers {
            let rest = (SILENT_FIRST * (1 << (self.unheard - 1).min(4))).min(SILENT_LAST);
            self.plan.iter_mut().for_each(|(_, due)| *due = (*due).max(now + rest));
        }
        if !self.answers && self.silent_since.replace(now).is_none() {
            let drive = self.auxiliary.kind == AuxiliaryKind::Drive;
            let done = if drive {
                "Stop is being written to it until it is read back."
            } else {
                "Its readings are not known."
            };
            let to_do = if drive { "Go and see whether it turns; check its cable." } else { "Check its cable." };
            let name = &self.auxiliary.name;
            let happened = format!("`{name}` beside the machine does not answer, asked for {asked}: {trouble}.");
            self.tell(Notice::new("auxiliary.silent", happened, done, to_do));
            self.stop(now);
        }
    }

    /// Notes what a point reads. What could not be read is not known, and the last value never passes for a new one.
    fn note(&mut self, now: Moment, at: usize, value: Option<value::Value>) {
        match (value, &mut self.readings[at].reading) {
            (Some(value), reading) => *reading = Some(Reading::fresh(value, now)),
            (None, Some(reading)) => reading.quality = Quality::Uncertain,
            (None, None) => {}
        }
    }

    fn place(&self, question: &Question) -> Option<usize> {
        let Question::Read { table, address, count } = question else { return None };
        self.plan.iter().position(|(read, _)| (read.table, read.address, read.count) == (*table, *address, *count))
    }

    /// A drive that reports a fault is told to stop: what it does when the fault passes is not left to it.
    fn watch_fault(&mut self, now: Moment) {
        let place = self.readings.iter().position(|point| point.meaning == Some(Meaning::Alarm));
        let Some(place) = place else { return };
        let number = self.readings[place].reading.as_ref().and_then(|reading| reading.value.number()).unwrap_or(0.0);
        let fault = number as u64;
        if fault == self.fault {
            return;
        }
        self.fault = fault;
        if fault == 0 {
            self.notice = None;
            return;
        }
        let values = &self.auxiliary.modbus.points[place].values;
        let sentence = values.get(&fault.to_string()).cloned().unwrap_or_else(|| format!("fault {fault}"));
        let happened = format!("`{}` reports a fault: {sentence}.", self.auxiliary.name);
        let notice = match self.auxiliary.kind {
            AuxiliaryKind::Drive => {
                Notice::new("drive.fault", happened, "It is told to stop.", "Look at the drive and its display.")
            }
            _ => Notice::new("auxiliary.alarm", happened, "Nothing was done about it.", "Look at the machine."),
        };
        self.tell(notice);
        self.stop(now);
    }

    fn tell(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(notice.clone());
        }
        self.notice = Some(notice);
    }

    /// The next thing a person should hear of, oldest first.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
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
        Beside {
            name: self.auxiliary.name.clone(),
            kind: self.auxiliary.kind,
            answers: self.answers,
            notice: self.notice.clone(),
            stopping: self.stopping.is_some(),
            readings,
        }
    }
}

#[cfg(test)]
pub(crate) mod test;
