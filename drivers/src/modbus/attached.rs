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

use super::{Auxiliary, AuxiliaryKind, Meaning, Question, Read, Table, Trouble, plan, value};
use gcode_tools::profile::modbus::Commissioning;

use crate::Moment;
use crate::notice::Notice;
use crate::profile::Profile;
use crate::snapshot::{Beside, PointReading, Protection, Quality, Reading};

/// Between two looks whether a drive stands, and between two writes of its stop.
const PROOF_EVERY: Duration = Duration::from_millis(100);

/// A reading older than this many of its polls is stale.
const STALE_AFTER_POLLS: u32 = 5;

/// Notices that wait to be taken.
const NOTICES_MAX: usize = 16;

/// A stop on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stopping {
    since: Moment,
    /// Whether the stop was written since the last look.
    written: bool,
    next_at: Moment,
    /// Whether it was told that it does not stand in time.
    told: bool,
}

/// One device beside a machine.
#[derive(Debug)]
pub struct Attached {
    auxiliary: Auxiliary,
    plan: Vec<(Read, Moment)>,
    readings: Vec<PointReading>,
    stopping: Option<Stopping>,
    answers: bool,
    silent_since: Option<Moment>,
    fault: u64,
    notice: Option<Notice>,
    notices: VecDeque<Notice>,
}

impl Attached {
    /// A device that has not been asked yet.
    pub fn new(auxiliary: Auxiliary, now: Moment) -> Self {
        let points = &auxiliary.modbus.points;
        let plan = plan(points, auxiliary.modbus.gap_registers).into_iter().map(|read| (read, now)).collect();
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
            answers: false,
            silent_since: None,
            fault: 0,
            notice: None,
            notices: VecDeque::new(),
        }
    }

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

    /// What is to be asked now. A stop comes before every reading.
    pub fn question(&mut self, now: Moment) -> Option<Question> {
        if let (Some(stopping), Some(order)) = (&mut self.stopping, &self.auxiliary.stop) {
            if now < stopping.next_at {
                return None;
            }
            let point = self.auxiliary.point(if stopping.written { &order.proof } else { &order.point })?;
            if stopping.written {
                return Some(Question::Read { table: point.table, address: point.address, count: point.size() });
            }
            // A profile's stop fits its point, or it is no profile.
            let words = value::encode(point, order.value).unwrap_or_else(|_| vec![0; usize::from(point.size())]);
            return Some(match words.as_slice() {
                [word] if point.table == Table::Coil => Question::WriteCoil { address: point.address, on: *word != 0 },
                [word] => Question::WriteOne { address: point.address, word: *word },
                _ => Question::Write { address: point.address, words },
            });
        }
        let (read, _) = self.plan.iter().filter(|(_, due)| *due <= now).min_by_key(|(_, due)| *due)?;
        Some(Question::Read { table: read.table, address: read.address, count: read.count })
    }

    /// When [`Attached::question`] has something to ask.
    pub fn wakes_at(&self) -> Option<Moment> {
        match &self.stopping {
            Some(stopping) => Some(stopping.next_at),
            None => self.plan.iter().map(|(_, due)| *due).min(),
        }
    }

    /// Takes an answer.
    pub fn answered(&mut self, now: Moment, question: &Question, words: &[u16]) {
        self.answers = true;
        self.silent_since = None;
        if self.stopping.is_some() {
            return self.stop_answered(now, question, words);
        }
        let Some(place) = self.place(question) else { return };
        let (read, due) = &mut self.plan[place];
        *due = now + Duration::from_millis(read.poll_ms);
        for at in &read.points {
            let point = &self.auxiliary.modbus.points[*at];
            let value = read.part(point, words).and_then(|words| value::decode(point, words));
            match (value, &mut self.readings[*at].reading) {
                (Some(value), reading) => *reading = Some(Reading::fresh(value, now)),
                (None, Some(reading)) => reading.quality = Quality::Uncertain,
                (None, None) => {}
            }
        }
        self.watch_fault(now);
        if self.fault == 0 && self.notice.as_ref().is_some_and(|notice| notice.code == "auxiliary.silent") {
            self.notice = None;
        }
    }

    /// Takes that there was no answer: what it would have brought is not known any more.
    pub fn unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        if let Some(stopping) = &mut self.stopping {
            stopping.written = false;
            stopping.next_at = now + PROOF_EVERY;
            return self.watch_stop(now, &trouble.to_string());
        }
        let Some(place) = self.place(question) else { return };
        let (read, due) = &mut self.plan[place];
        *due = now + Duration::from_millis(read.poll_ms);
        for at in &read.points {
            if let Some(reading) = &mut self.readings[*at].reading {
                reading.quality = Quality::Uncertain;
            }
        }
        self.answers = matches!(trouble, Trouble::Exception(_));
        if !self.answers && self.silent_since.replace(now).is_none() {
            let drive = self.auxiliary.kind == AuxiliaryKind::Drive;
            let done = if drive {
                "Stop is being written to it until it is read back."
            } else {
                "Its readings are not known."
            };
            let to_do = if drive { "Go and see whether it turns; check its cable." } else { "Check its cable." };
            let happened = format!("`{}` beside the machine does not answer: {trouble}.", self.auxiliary.name);
            self.tell(Notice::new("auxiliary.silent", happened, done, to_do));
            self.stop(now);
        }
    }

    fn place(&self, question: &Question) -> Option<usize> {
        let Question::Read { table, address, count } = question else { return None };
        self.plan.iter().position(|(read, _)| (read.table, read.address, read.count) == (*table, *address, *count))
    }

    fn stop_answered(&mut self, now: Moment, question: &Question, words: &[u16]) {
        let (Some(stopping), Some(order)) = (&mut self.stopping, &self.auxiliary.stop) else { return };
        if question.writes() {
            stopping.written = true;
            stopping.next_at = now;
            return;
        }
        let proof = self.auxiliary.point(&order.proof);
        let read = proof.and_then(|point| value::decode(point, words)).and_then(|value| value.number());
        if read.is_some_and(|read| read.abs() <= order.proof_max) {
            self.stopping = None;
            if self.notice.as_ref().is_some_and(|notice| notice.code != "drive.fault") {
                self.notice = None;
            }
            return;
        }
        stopping.written = false;
        stopping.next_at = now + PROOF_EVERY;
        let said = read.map_or_else(|| "no number".to_owned(), |read| read.to_string());
        let why = format!("`{}` still reads {said}", order.proof);
        self.watch_stop(now, &why);
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
            "drive.does_not_stop",
            format!("`{name}` was told to stop and does not stand after {seconds} s: {why}."),
            "Stop is written again and again.",
            "Press the emergency stop. Do not reach in before it stands.",
        ));
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

/// The points of a machine's own controller, as a device that is only read; none where it has no points.
pub fn own_points(profile: &Profile, port: &str) -> Option<Auxiliary> {
    let modbus = profile.modbus.clone().filter(|modbus| !modbus.points.is_empty())?;
    Some(Auxiliary {
        name: "controller".to_owned(),
        kind: AuxiliaryKind::Readings,
        port: Some(port.to_owned()),
        modbus,
        stop: None,
        commissioning: Commissioning::default(),
    })
}

/// What happens to a drive if the host dies now, by what was checked when it was put into service.
pub fn protection(auxiliary: &Auxiliary) -> Option<Protection> {
    if auxiliary.kind != AuxiliaryKind::Drive {
        return None;
    }
    let name = &auxiliary.name;
    let checked = &auxiliary.commissioning;
    let (protected, because) = match (checked.hardwired_enable, checked.communication_loss_ms) {
        (true, Some(time_ms)) => (
            true,
            format!("`{name}` stops by itself after {time_ms} ms without its host, and a wire takes its enable away"),
        ),
        (false, Some(_)) => {
            (false, format!("`{name}` is unprotected: no wire takes its enable away with the emergency stop"))
        }
        (true, None) => {
            (false, format!("`{name}` is unprotected: it holds its last command for ever when its host is silent"))
        }
        (false, None) => (
            false,
            format!("`{name}` is unprotected: it holds its last command for ever, and no wire takes its enable away"),
        ),
    };
    Some(Protection { hazard: "spindle".into(), protected, because })
}

#[cfg(test)]
pub(crate) mod test {
    use super::*;
    use crate::sim::modbus::{Device, Drive, Meter};

    pub(crate) const DRIVE: &str = r#"
        name = "spindle"
        kind = "drive"
        [modbus]
        unit = 2
        timeout_ms = 100
        [[modbus.points]]
        name = "command"
        address = 0
        type = "u16"
        access = "write"
        [[modbus.points]]
        name = "actual"
        address = 11
        type = "u16"
        scale = 0.01
        unit = "Hz"
        poll_ms = 200
        meaning = "actual_frequency"
        [[modbus.points]]
        name = "current"
        address = 12
        type = "u16"
        scale = 0.1
        unit = "A"
        poll_ms = 200
        meaning = "current"
        [[modbus.points]]
        name = "fault"
        address = 13
        type = "u16"
        poll_ms = 200
        meaning = "alarm"
        values = { 7 = "its host was silent" }
        [stop]
        point = "command"
        value = 0.0
        proof = "actual"
        proof_max = 0.5
        within_ms = 6000
    "#;

    pub(crate) fn auxiliary(text: &str) -> Auxiliary {
        let auxiliary: Auxiliary = toml::from_str(text).unwrap();
        assert_eq!(auxiliary.problems(), Vec::<String>::new());
        auxiliary
    }

    struct Pair {
        now: Moment,
        attached: Attached,
        drive: Drive,
        silent: bool,
        asked: Vec<Question>,
    }

    impl Pair {
        fn new() -> Self {
            let mut drive = Drive::default();
            for (address, word) in [(1, 20_000), (0, 1)] {
                drive.ask(Moment::ZERO, &Question::WriteOne { address, word }).unwrap();
            }
            let attached = Attached::new(auxiliary(DRIVE), Moment::ZERO);
            Self { now: Moment::ZERO, attached, drive, silent: false, asked: Vec::new() }
        }

        fn run(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                match self.attached.question(self.now) {
                    None => self.now = self.attached.wakes_at().unwrap().max(self.now + Duration::from_millis(1)),
                    Some(question) => {
                        self.now = self.now + Duration::from_millis(5);
                        self.drive.advance(self.now);
                        match (self.silent, self.drive.ask(self.now, &question)) {
                            (false, Ok(words)) => self.attached.answered(self.now, &question, &words),
                            (false, Err(code)) => {
                                self.attached.unanswered(self.now, &question, &Trouble::Exception(code));
                            }
                            (true, _) => self.attached.unanswered(self.now, &question, &Trouble::Overdue),
                        }
                        self.asked.push(question);
                    }
                }
            }
        }

        fn codes(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.attached.take_notice()).map(|notice| notice.code).collect()
        }
    }

    #[test]
    fn a_drive_is_read_stopped_and_its_stop_read_back() {
        let mut pair = Pair::new();
        pair.run(Duration::from_secs(3));
        let beside = pair.attached.snapshot(pair.now);
        assert_eq!(beside.number(Meaning::ActualFrequency).unwrap().value, 200.0);
        assert_eq!(beside.number(Meaning::Current).unwrap().value, 2.5);
        pair.asked.clear();
        pair.attached.stop(pair.now);
        pair.run(Duration::from_secs(4));
        assert_eq!(pair.asked[0], Question::WriteOne { address: 0, word: 0 }, "the stop is the first that is said");
        assert!(!pair.drive.turns() && !pair.attached.is_stopping());
        assert_eq!(pair.codes(), Vec::<String>::new());
    }

    #[test]
    fn a_drive_that_takes_the_stop_and_turns_on_is_an_alarm() {
        let mut pair = Pair::new();
        pair.run(Duration::from_secs(3));
        pair.drive.stuck = true;
        pair.attached.stop(pair.now);
        pair.run(Duration::from_secs(8));
        assert_eq!(pair.codes(), ["drive.does_not_stop"]);
        let writes = pair.asked.iter().filter(|question| question.writes()).count();
        assert!(writes > 10 && pair.attached.is_stopping(), "it is told again and again");
        pair.drive.stuck = false;
        pair.run(Duration::from_secs(4));
        assert!(!pair.attached.is_stopping() && pair.attached.snapshot(pair.now).notice.is_none());
    }

    #[test]
    fn a_drive_that_loses_its_link_is_told_to_stop_and_its_readings_are_not_fresh() {
        let mut pair = Pair::new();
        pair.run(Duration::from_secs(3));
        pair.drive.stuck = true;
        pair.silent = true;
        pair.run(Duration::from_secs(1));
        let beside = pair.attached.snapshot(pair.now);
        assert!(!beside.answers && beside.number(Meaning::ActualFrequency).is_none());
        assert_eq!(beside.readings[1].reading.as_ref().unwrap().quality, Quality::Uncertain);
        pair.run(Duration::from_secs(7));
        assert_eq!(pair.codes(), ["auxiliary.silent", "drive.does_not_stop"]);
        pair.silent = false;
        pair.drive.stuck = false;
        pair.run(Duration::from_secs(4));
        assert!(!pair.drive.turns() && pair.attached.snapshot(pair.now).answers);
    }

    #[test]
    fn a_fault_is_said_in_the_profiles_words() {
        let mut pair = Pair::new();
        pair.drive.ask(pair.now, &Question::WriteOne { address: 2, word: 100 }).unwrap();
        pair.run(Duration::from_secs(1));
        let notice = pair.attached.take_notice().unwrap();
        assert_eq!(notice.code, "drive.fault");
        assert!(notice.happened.contains("its host was silent"), "{notice}");
    }

    #[test]
    fn a_drive_nobody_checked_is_unprotected_in_those_words() {
        let mut auxiliary = auxiliary(DRIVE);
        let said = protection(&auxiliary).unwrap();
        assert!(!said.protected && said.because.contains("unprotected"), "{said:?}");
        auxiliary.commissioning.hardwired_enable = true;
        assert!(!protection(&auxiliary).unwrap().protected);
        auxiliary.commissioning.communication_loss_ms = Some(500);
        assert!(protection(&auxiliary).unwrap().protected);
    }

    #[test]
    fn a_meter_is_read_in_one_question_and_has_nothing_to_stop() {
        let mut attached = Attached::new(
            auxiliary(
                "name = \"meter\"\nkind = \"meter\"\n[modbus]\nunit = 3\n\
                 [[modbus.points]]\nname = \"v\"\ntable = \"input\"\naddress = 0\ntype = \"f32\"\nmeaning = \"voltage\"\n\
                 [[modbus.points]]\nname = \"e\"\ntable = \"input\"\naddress = 72\ntype = \"f32\"\nmeaning = \"energy\"\n",
            ),
            Moment::ZERO,
        );
        let mut meter = Meter::default();
        meter.load(Moment::ZERO, 1000.0);
        attached.stop(Moment::ZERO);
        let now = Moment::ZERO + Duration::from_secs(3600);
        while let Some(question) = attached.question(now) {
            let words = meter.ask(now, &question).unwrap();
            attached.answered(now, &question, &words);
        }
        let beside = attached.snapshot(now);
        assert_eq!(beside.number(Meaning::Voltage).unwrap().value, 230.0);
        assert!((beside.number(Meaning::Energy).unwrap().value - 1.0).abs() < 1e-6);
    }
}
