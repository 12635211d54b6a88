//! A device beside a machine against the simulated drive and meter, in virtual time.

use super::*;
use crate::modbus::Meaning;
use crate::sim::modbus::{Device, Drive, Meter, Quirks};

mod spindle;

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
    assert_eq!(auxiliary.problems(), []);
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
    /// A drive that turns, and turned already when it was found.
    fn found_turning() -> Self {
        let mut drive = Drive::default();
        for (address, word) in [(1, 20_000), (0, 1)] {
            drive.ask(Moment::ZERO, &Question::WriteOne { address, word }).unwrap();
        }
        let attached = Attached::new(auxiliary(DRIVE), Moment::ZERO);
        Self { now: Moment::ZERO, attached, drive, silent: false, asked: Vec::new() }
    }

    /// A drive that stood when it was found, and that the machine's controller turns.
    fn new() -> Self {
        let mut pair = Self::found_turning();
        let mut standing = Drive::default();
        let read = Question::Read { table: crate::modbus::Table::Holding, address: 11, count: 3 };
        let words = standing.ask(Moment::ZERO, &read).unwrap();
        let first = pair.attached.question(Moment::ZERO).unwrap();
        assert_eq!(first, read);
        pair.attached.answered(Moment::ZERO, &first, &words);
        pair
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
    assert_eq!(pair.attached.snapshot(pair.now).hinders, Some(Hindrance::DoesNotStand));
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
fn a_drive_with_one_function_only_was_never_stopped() {
    for (known, named) in [(16, None), (6, None), (16, Some(16)), (6, Some(16)), (16, Some(6))] {
        let mut pair = Pair::new();
        pair.run(Duration::from_secs(3));
        pair.drive.quirks.write_function = Some(known);
        pair.attached.auxiliary.modbus.points[0].write_function = named;
        pair.attached.stop(pair.now);
        pair.run(Duration::from_secs(5));
        assert!(!pair.drive.turns() && !pair.attached.is_stopping(), "{known} {named:?}");
        assert_eq!(pair.codes(), Vec::<String>::new(), "{known} {named:?}");
        // What it knows is remembered.
        pair.asked.clear();
        pair.attached.stop(pair.now);
        pair.run(Duration::from_secs(1));
        assert_eq!(pair.asked[0].function(), known);
    }
}

#[test]
fn a_stop_that_is_refused_is_told_as_that_and_at_once() {
    let mut pair = Pair::new();
    pair.run(Duration::from_secs(3));
    pair.drive.quirks.refuses_stop = true;
    pair.attached.stop(pair.now);
    pair.run(Duration::from_millis(500));
    let notice = pair.attached.take_notice().expect("long before the six seconds that it may take to stand");
    assert_eq!(notice.code, "drive.stop_refused");
    for said in ["`command`", "server device failure", "function 6 and function 16", "still reads"] {
        assert!(notice.happened.contains(said), "{said}: {notice}");
    }
    assert_eq!(pair.attached.snapshot(pair.now).hinders, Some(Hindrance::DoesNotStand));
    // Somebody stops it at its panel: the proof counts, and not that it was told.
    pair.drive.fail(9);
    pair.drive.fail(0);
    pair.run(Duration::from_secs(4));
    assert!(!pair.attached.is_stopping());
    assert_eq!(pair.attached.snapshot(pair.now).hinders, None);
}

#[test]
fn a_drive_that_never_answered_hindered_nothing_and_one_that_is_faulted_only_for_a_moment() {
    let mut pair = Pair::found_turning();
    assert_eq!(pair.attached.snapshot(pair.now).hinders, Some(Hindrance::Silent), "nothing is known of it yet");
    pair.silent = true;
    pair.run(Duration::from_secs(20));
    assert!(pair.attached.snapshot(pair.now).hinders.is_some());
    pair.silent = false;
    pair.run(Duration::from_secs(15));
    assert_eq!(pair.attached.snapshot(pair.now).hinders, None, "it answers and stands");
    pair.drive.fail(4);
    pair.run(Duration::from_secs(8));
    let beside = pair.attached.snapshot(pair.now);
    assert_eq!(beside.hinders, None, "its stop clears the fault of this drive");
}

#[test]
fn a_fault_that_stays_is_a_state_although_its_stop_was_proven() {
    let mut pair = Pair::new();
    pair.run(Duration::from_secs(1));
    pair.drive.quirks.refuses_stop = true;
    pair.drive.fail(4);
    pair.run(Duration::from_secs(8));
    let beside = pair.attached.snapshot(pair.now);
    assert!(!beside.stopping && beside.hinders == Some(Hindrance::Faulted), "{beside:?}");
    assert_eq!(beside.notice.unwrap().code, "drive.fault");
    pair.drive.fail(0);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.attached.snapshot(pair.now).hinders, None);
}

#[test]
fn neighbours_that_a_device_does_not_give_at_once_were_unknown_for_ever() {
    let text = |gap: u16| {
        let point =
            |at: u16| format!("[[modbus.points]]\nname = \"p{at}\"\naddress = {at}\ntype = \"u16\"\npoll_ms = 200\n");
        let points = (10..15).map(point).collect::<Vec<_>>().concat();
        format!("name = \"beside\"\nkind = \"readings\"\n[modbus]\nunit = 2\ngap_registers = {gap}\n{points}")
    };
    for quirks in [
        Quirks { registers_max: 2, ..Quirks::default() },
        Quirks { registers_max: 1, ..Quirks::default() },
        Quirks { hole: Some(12), ..Quirks::default() },
    ] {
        let mut pair = Pair::new();
        pair.drive.quirks = quirks;
        pair.attached = Attached::new(auxiliary(&text(0)), Moment::ZERO);
        pair.run(Duration::from_secs(2));
        let beside = pair.attached.snapshot(pair.now);
        for point in &beside.readings {
            let good = point.reading.as_ref().is_some_and(|reading| reading.quality == Quality::Good);
            assert_eq!(good, quirks.hole.is_none() || point.name != "p12", "{quirks:?} {}", point.name);
        }
        assert_eq!(pair.codes().len(), usize::from(quirks.hole.is_some()), "only what is not there is told of");
        // It is remembered: nothing that was refused is asked again, but for the register that is not there.
        pair.asked.clear();
        pair.run(Duration::from_secs(1));
        let counts = pair.asked.iter().map(Question::wanted).max();
        assert!(counts <= Some(usize::from(quirks.registers_max.max(2))), "{counts:?}");
    }
}

#[test]
fn a_drive_nobody_checked_is_unprotected_in_those_words() {
    let mut auxiliary = auxiliary(DRIVE);
    let said = protection(&auxiliary, None).unwrap();
    assert!(!said.protected && said.because.contains("unprotected"), "{said:?}");
    auxiliary.commissioning.hardwired_enable = true;
    assert!(!protection(&auxiliary, None).unwrap().protected);
    auxiliary.commissioning.communication_loss_ms = Some(500);
    assert!(protection(&auxiliary, None).unwrap().protected);
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

#[test]
fn a_gateway_that_answers_for_a_silent_drive_is_no_answer_of_the_drive() {
    let mut pair = Pair::new();
    pair.run(Duration::from_secs(3));
    let question = pair.attached.question(pair.now).or_else(|| {
        pair.now = pair.attached.wakes_at().unwrap();
        pair.attached.question(pair.now)
    });
    pair.attached.unanswered(pair.now, &question.unwrap(), &Trouble::Exception(11));
    assert_eq!(pair.codes(), ["auxiliary.silent"]);
    assert!(pair.attached.is_stopping() && !pair.attached.snapshot(pair.now).answers);
}

#[test]
fn while_a_drive_is_being_stopped_its_proof_is_published_as_it_is_read() {
    let mut pair = Pair::new();
    pair.run(Duration::from_secs(3));
    pair.attached.stop(pair.now);
    pair.run(Duration::from_millis(700));
    let falling = pair.attached.snapshot(pair.now).number(Meaning::ActualFrequency).unwrap();
    assert!(falling.value < 200.0 && falling.value > 0.0, "{falling:?}");
    assert!(pair.now.since(falling.at) < Duration::from_millis(200), "{falling:?}");
}

#[test]
fn a_point_that_a_device_does_not_have_was_never_told_of() {
    let text = "name = \"meter\"\nkind = \"meter\"\n[[modbus.points]]\nname = \"power\"\ntable = \"input\"\n\
                address = 13\ntype = \"f32\"\n[[modbus.points]]\nname = \"energy\"\ntable = \"input\"\naddress = 72\ntype = \"f32\"\nmeaning = \"energy\"";
    let (mut attached, mut meter) = (Attached::new(auxiliary(text), Moment::ZERO), Meter::default());
    let mut told = Vec::new();
    for second in 0..30 {
        let now = Moment::ZERO + Duration::from_secs(second);
        while let Some(question) = attached.question(now) {
            match meter.ask(now, &question) {
                Ok(words) => attached.answered(now, &question, &words),
                Err(code) => attached.unanswered(now, &question, &Trouble::Exception(code)),
            }
        }
        told.extend(attached.take_notice());
    }
    let [notice] = &told[..] else { panic!("once, and not at each reading: {told:#?}") };
    assert_eq!(notice.code, "auxiliary.refused");
    assert!(notice.happened.contains("`power`") && notice.happened.contains("illegal data address"), "{notice}");
    assert_eq!(attached.snapshot(Moment::ZERO).notice.as_ref(), Some(notice), "it stands as long as it is so");
    assert!(!attached.is_stopping(), "a wrong address in a profile stops nothing");
}

#[test]
fn a_device_that_does_not_answer_was_asked_as_often_as_one_that_does() {
    let mut pair = Pair::new();
    pair.attached.auxiliary.stop = None;
    pair.silent = true;
    pair.run(Duration::from_secs(60));
    assert!((5..=12).contains(&pair.asked.len()), "{} questions in a minute", pair.asked.len());
    pair.silent = false;
    pair.run(Duration::from_secs(11));
    assert!(pair.attached.snapshot(pair.now).answers, "it is found within ten seconds");
}

#[test]
fn a_drive_that_turned_when_it_was_found_hindered_nothing() {
    let mut pair = Pair::found_turning();
    pair.now = Moment::ZERO + Duration::from_secs(3);
    pair.drive.advance(pair.now);
    assert_eq!(pair.attached.snapshot(pair.now).hinders, Some(Hindrance::Silent), "nothing is known of it yet");
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.attached.snapshot(pair.now).hinders, Some(Hindrance::Turning));
    assert_eq!(pair.codes(), ["drive.turns"], "once");
    pair.attached.stop(pair.now);
    pair.run(Duration::from_secs(4));
    assert_eq!(pair.attached.snapshot(pair.now).hinders, None);
    // From now on it is known that somebody else turns it: the machine's own controller.
    for (address, word) in [(1, 20_000), (0, 1)] {
        pair.drive.ask(pair.now, &Question::WriteOne { address, word }).unwrap();
    }
    pair.run(Duration::from_secs(3));
    assert!(pair.drive.turns());
    assert_eq!(pair.attached.snapshot(pair.now).hinders, None);
    assert_eq!(pair.codes(), Vec::<String>::new());
}
