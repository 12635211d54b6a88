//! A drive that is the machine's spindle.

use super::*;
use crate::sim::modbus::Sign;
use crate::snapshot::SpindleState;

fn spindle() -> Auxiliary {
    auxiliary(&format!(
        "is_spindle = true\n{DRIVE}\n[[modbus.points]]\nname = \"frequency\"\naddress = 1\ntype = \"u16\"\n\
         scale = 0.01\naccess = \"write\"\nmax = 400.0\n[turn]\nspeed = \"frequency\"\nactual = \"actual\"\n\
         forward = [{{ point = \"command\", value = 1 }}]\nwithin_ms = 6000\n"
    ))
}

impl Pair {
    fn spindle(quirks: Quirks) -> Self {
        let attached = Attached::new(spindle(), Moment::ZERO);
        let drive = Drive::with(quirks);
        let mut pair = Self { now: Moment::ZERO, attached, drive, silent: false, asked: Vec::new() };
        pair.run(Duration::from_secs(1));
        pair
    }

    fn order(&mut self, number: u32, turn: Turn, time: Duration) -> SpindleState {
        self.attached.order(self.now, SpindleOrder { number, turn });
        self.run(time);
        let report = self.attached.snapshot(self.now).spindle.unwrap();
        assert_eq!(report.number, number);
        report.state
    }
}

#[test]
fn a_spindle_is_turned_to_its_speed_and_that_is_read_back() {
    for quirks in [
        Quirks::default(),
        Quirks { write_function: Some(16), ..Quirks::default() },
        Quirks { speed_only_running: true, ..Quirks::default() },
    ] {
        let mut pair = Pair::spindle(quirks);
        pair.attached.auxiliary.turn.as_mut().unwrap().speed_only_running = quirks.speed_only_running;
        assert_eq!(
            pair.order(1, Turn::Forward(12_000.0), Duration::from_millis(500)),
            SpindleState::Pending,
            "{quirks:?}"
        );
        pair.run(Duration::from_secs(3));
        let beside = pair.attached.snapshot(pair.now);
        assert_eq!(beside.spindle.unwrap().state, SpindleState::Reached, "{quirks:?}");
        assert!((beside.turns_rpm.unwrap() - 12_000.0).abs() < 1.0 && beside.hinders.is_none());
        assert_eq!(pair.order(2, Turn::Stand, Duration::from_secs(4)), SpindleState::Reached);
        assert!(!pair.drive.turns());
        assert_eq!(pair.codes(), Vec::<String>::new());
    }
}

#[test]
fn a_spindle_that_does_not_come_to_its_speed_or_loses_it_is_stopped_and_told() {
    let mut weak = Pair::spindle(Quirks { weak_hz: 50, ..Quirks::default() });
    assert_eq!(weak.order(1, Turn::Forward(12_000.0), Duration::from_secs(9)), SpindleState::Failed);
    assert!(!weak.drive.turns());

    let mut stalls = Pair::spindle(Quirks::default());
    assert_eq!(stalls.order(1, Turn::Forward(12_000.0), Duration::from_secs(4)), SpindleState::Reached);
    stalls.drive.fail(0);
    stalls.run(Duration::from_secs(6));
    let beside = stalls.attached.snapshot(stalls.now);
    assert_eq!(beside.spindle.unwrap().state, SpindleState::Failed, "it was stopped at its panel");

    let mut silent = Pair::spindle(Quirks::default());
    silent.silent = true;
    assert_eq!(silent.order(1, Turn::Forward(12_000.0), Duration::from_secs(2)), SpindleState::Failed);
    assert_eq!(silent.codes(), ["auxiliary.silent"]);
}

#[test]
fn nobody_turns_a_spindle_that_is_being_stopped_or_further_than_it_may() {
    let mut pair = Pair::spindle(Quirks::default());
    assert_eq!(pair.order(1, Turn::Forward(12_000.0), Duration::from_secs(4)), SpindleState::Reached);
    pair.attached.stop(pair.now);
    assert_eq!(pair.order(2, Turn::Forward(12_000.0), Duration::from_secs(4)), SpindleState::Failed);
    assert!(!pair.drive.turns());
    assert_eq!(pair.order(3, Turn::Forward(30_000.0), Duration::from_secs(1)), SpindleState::Failed);
    assert_eq!(pair.order(4, Turn::Reverse(9_000.0), Duration::from_secs(1)), SpindleState::Failed);
    assert!(!pair.drive.turns());
}

#[test]
fn a_spindle_that_turns_and_was_not_told_to_hinders_until_it_stands() {
    let mut pair = Pair::spindle(Quirks::default());
    for (address, word) in [(1, 5_000), (0, 1)] {
        pair.drive.ask(pair.now, &Question::WriteOne { address, word }).unwrap();
    }
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.attached.snapshot(pair.now).hinders, Some(Hindrance::Turning));
    assert_eq!(pair.codes(), ["drive.turns"]);
    pair.attached.stop(pair.now);
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.attached.snapshot(pair.now).hinders, None);
}

#[test]
fn a_spindle_that_ran_up_behind_its_stop_was_left_turning() {
    for stand in [false, true] {
        let mut pair = Pair::spindle(Quirks::default());
        pair.attached.order(pair.now, SpindleOrder { number: 1, turn: Turn::Forward(12_000.0) });
        pair.run(Duration::from_millis(5));
        if stand {
            pair.attached.order(pair.now, SpindleOrder { number: 2, turn: Turn::Stand });
        } else {
            pair.attached.stop(pair.now);
        }
        pair.run(Duration::from_millis(200));
        assert!(!pair.attached.is_stopping(), "it stands, and that was read back");
        // Something in between has kept the start that was taken back, and says it now.
        pair.drive.ask(pair.now, &Question::WriteOne { address: 0, word: 1 }).unwrap();
        pair.run(Duration::from_secs(4));
        assert!(!pair.drive.turns(), "after an order to stand: {stand}");
        assert!(pair.codes().contains(&"drive.turns".to_owned()));
        assert_eq!(pair.attached.snapshot(pair.now).hinders, None);
    }
}

#[test]
fn a_spindle_that_refused_its_speed_was_started_at_its_old_one() {
    let mut pair = Pair::spindle(Quirks { speed_only_running: true, ..Quirks::default() });
    pair.asked.clear();
    assert_eq!(pair.order(1, Turn::Forward(12_000.0), Duration::from_secs(2)), SpindleState::Failed);
    let started = pair.asked.iter().any(|question| matches!(question, Question::WriteOne { address: 0, word: 1 | 2 }));
    assert!(!started && !pair.drive.turns(), "{:?}", pair.asked);
    let notice = pair.attached.take_notice().expect("why");
    assert_eq!(notice.code, "drive.speed_refused");
    assert!(notice.happened.contains("`frequency`") && notice.happened.contains("server device failure"), "{notice}");
}

#[test]
fn a_spindle_whose_speed_could_not_be_read_any_more_turned_on_in_the_work() {
    for refusal in [false, true] {
        let mut pair = Pair::spindle(Quirks::default());
        assert_eq!(pair.order(1, Turn::Forward(12_000.0), Duration::from_secs(4)), SpindleState::Reached);
        if refusal {
            pair.drive.quirks.hole = Some(11);
        } else {
            pair.drive.quirks.busy_ms = 600_000;
        }
        pair.run(Duration::from_secs(4));
        assert_eq!(pair.attached.snapshot(pair.now).spindle.unwrap().state, SpindleState::Failed, "{refusal}");
        assert!(pair.codes().contains(&"drive.unread".to_owned()));
    }
    // One answer that does not come is no lost spindle.
    let mut pair = Pair::spindle(Quirks::default());
    assert_eq!(pair.order(1, Turn::Forward(12_000.0), Duration::from_secs(4)), SpindleState::Reached);
    pair.drive.quirks.hole = Some(11);
    pair.run(Duration::from_millis(300));
    pair.drive.quirks.hole = None;
    pair.run(Duration::from_secs(4));
    assert_eq!(pair.attached.snapshot(pair.now).spindle.unwrap().state, SpindleState::Reached);
}

#[test]
fn a_spindle_that_turned_the_wrong_way_was_at_its_speed() {
    let signed = |sign: Sign| {
        let mut pair = Pair::spindle(Quirks { sign, ..Quirks::default() });
        let points = &mut pair.attached.auxiliary.modbus.points;
        let actual = points.iter_mut().find(|point| point.name == "actual").unwrap();
        actual.form = crate::modbus::Form::I16;
        pair.attached.auxiliary.turn.as_mut().unwrap().reverse =
            vec![gcode_tools::profile::modbus::PointValue { point: "command".into(), value: 2.0 }];
        pair
    };
    for turn in [Turn::Forward(12_000.0), Turn::Reverse(12_000.0)] {
        let mut right = signed(Sign::Direction);
        assert_eq!(right.order(1, turn, Duration::from_secs(4)), SpindleState::Reached, "{turn:?}");
        assert_eq!(right.codes(), Vec::<String>::new());
        let mut wrong = signed(Sign::Exchanged);
        assert_eq!(wrong.order(1, turn, Duration::from_secs(9)), SpindleState::Failed, "{turn:?}");
        assert_eq!(wrong.codes(), ["drive.wrong_way"]);
        assert!(!wrong.drive.turns());
    }
}
