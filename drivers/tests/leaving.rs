//! Leaving an alarm, a sleep, a halt, a question: what was said to a machine counts for nothing before it shows that it
//! did it. In virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::request::Jog;
use drivers::session::Input;
use drivers::sim::{Incident, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use support::{Pair, connected, long_program, setup, stands, strings};

const GRBL_KIN: [&str; 3] = ["grbl", "grblhal", "fluidnc"];

/// As long as a person looks at a page that does nothing.
const PATIENCE: Duration = Duration::from_secs(60);

fn notice(pair: &Pair) -> String {
    pair.session.snapshot().notice.map(|notice| notice.code).unwrap_or_default()
}

fn told(pair: &Pair, code: &str) -> bool {
    pair.notices().iter().any(|notice| notice.contains(code))
}

fn until(pair: &mut Pair, done: impl Fn(&Pair) -> bool) -> Duration {
    let since = pair.now;
    while !done(pair) && pair.now.since(since) < Duration::from_secs(3_600) && pair.step() {}
    pair.now.since(since)
}

fn is_over(pair: &Pair) -> bool {
    pair.session.snapshot().job.is_some_and(|job| job.phase.is_over())
}

fn hot(pair: &Pair) -> bool {
    pair.session.snapshot().temperatures.iter().any(|heater| heater.target_c.is_some_and(|target| target > 0.0))
}

#[test]
fn a_reset_that_grbl_forgot_behind_an_alarm_left_it_running_and_silent() {
    for dialect in GRBL_KIN {
        for after_ms in [1, 100, 300, 499, 501, 700, 5_000] {
            let mut pair = connected(dialect, &setup());
            pair.start(long_program());
            pair.run_for(Duration::from_secs(3));
            pair.machine.happen(pair.now, Incident::Limit);
            pair.run_until(|pair| pair.session.state() == State::Alarm);
            pair.run_for(Duration::from_millis(after_ms));
            assert_eq!(pair.ask(Request::Clear), Ok(()), "{dialect}");
            let took = until(&mut pair, |pair| pair.session.state() != State::Alarm);
            assert!(took < Duration::from_secs(3), "{dialect}, {after_ms} ms: {took:?} {:?}", pair.notices());
            pair.run_for(Duration::from_secs(20));
            assert_eq!((pair.session.state(), notice(&pair).as_str()), (State::Idle, ""), "{dialect}, {after_ms} ms");
            assert!(pair.try_start(strings(&["G1 X5 F600"])).is_ok(), "{dialect}, {after_ms} ms");
            assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}, {after_ms} ms");
        }
    }
}

#[test]
fn a_clear_of_which_every_byte_is_lost_says_that_nothing_changed() {
    for dialect in ["grbl", "grblhal", "fluidnc", "smoothieware", "marlin", "klipper", "reprapfirmware"] {
        let mut pair = connected(dialect, &setup());
        pair.run_for(Duration::from_secs(2));
        pair.machine.happen(pair.now, Incident::Limit);
        pair.run_until(|pair| pair.session.state() == State::Alarm);
        pair.run_for(Duration::from_secs(2));
        let cause = pair.session.snapshot().notice.unwrap().happened;
        pair.deaf = true;
        for _ in 0..2 {
            assert_eq!(pair.ask(Request::Clear), Ok(()), "{dialect}");
            pair.run_for(Duration::from_secs(15));
            let said = pair.session.snapshot().notice.unwrap();
            assert_eq!(
                (pair.session.state(), said.code.as_str()),
                (State::Alarm, "clear.nothing_changed"),
                "{dialect}"
            );
            assert!(said.happened.contains(&cause), "{dialect}: the first cause stays: {said}");
            // Smoothieware's report was under way when it was asked first.
            let heard = dialect == "smoothieware" && said.happened.contains("has not reported its state since");
            assert!(heard || said.happened.contains("nothing came back"), "{dialect}: {said}");
            assert!(!said.happened.contains("reports it still"), "{dialect}: nobody heard that: {said}");
        }
    }
}

#[test]
fn a_board_that_speaks_while_it_boots_is_given_time_and_is_not_called_silent() {
    for comes_back in [true, false] {
        let mut pair = connected("marlin", &setup());
        pair.run_for(Duration::from_secs(2));
        pair.machine.happen(pair.now, Incident::Limit);
        pair.run_until(|pair| pair.session.state() == State::Alarm);
        pair.run_for(Duration::from_secs(2));
        pair.deaf = true;
        assert_eq!(pair.ask(Request::Clear), Ok(()));
        let began = pair.now;
        while pair.now.since(began) < Duration::from_secs(9) {
            pair.hand(Input::Bytes(b"echo:joining the network\n"));
            assert!(pair.step());
        }
        assert_eq!(pair.session.state(), State::Connecting, "{:?}", pair.notices());
        if comes_back {
            pair.machine.reset(pair.now);
            pair.deaf = false;
        }
        pair.run_for(Duration::from_secs(25));
        if comes_back {
            assert_eq!(pair.session.state(), State::Idle, "{:?}", pair.notices());
            continue;
        }
        assert_eq!((pair.session.state(), notice(&pair).as_str()), (State::Alarm, "clear.nothing_changed"));
        let said = pair.session.snapshot().notice.unwrap();
        assert!(said.happened.contains("joining the network"), "{said}");
    }
}

#[test]
fn a_machine_that_is_asleep_is_woken_by_a_clear() {
    for dialect in GRBL_KIN {
        let mut pair = connected(dialect, &setup());
        pair.run_for(Duration::from_secs(1));
        pair.machine.hear(pair.now, b"$SLP\n");
        pair.run_for(Duration::from_secs(3));
        assert_ne!(pair.session.state(), State::Idle, "{dialect}");
        assert_eq!(pair.ask(Request::Clear), Ok(()), "{dialect}");
        let took = until(&mut pair, |pair| pair.session.state() == State::Idle);
        assert!(took < Duration::from_secs(5), "{dialect}: {took:?}");
        assert_eq!(pair.try_start(strings(&["G1 X5 F600"])), Ok(()), "{dialect}");
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
    }
}

#[test]
fn a_printer_that_is_halted_is_not_free_before_it_answers() {
    for dialect in ["marlin", "reprapfirmware", "klipper"] {
        let mut pair = connected(dialect, &setup());
        pair.run_for(Duration::from_secs(2));
        pair.machine.happen(pair.now, Incident::Limit);
        pair.run_until(|pair| pair.session.state() == State::Alarm);
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.ask(Request::Clear), Ok(()));
        pair.run_for(Duration::from_secs(15));
        assert_eq!(
            (pair.session.state(), notice(&pair).as_str()),
            (State::Alarm, "clear.nothing_changed"),
            "{dialect}"
        );
        pair.machine.reset(pair.now);
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.ask(Request::Clear), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Idle || dialect == "klipper");
    }
}

/// A hot Marlin in a change of filament, at its first or its second question.
fn changing_filament(question: &str, setup: &Setup) -> Pair {
    let mut pair = connected("marlin", setup);
    pair.run_for(Duration::from_secs(1));
    pair.start(strings(&["M109 S60", "G1 X5 F1200", "M600", "G1 X10"]));
    if question != "Nozzle Parked" {
        until(&mut pair, |pair| pair.session.snapshot().asked.is_some_and(|asked| asked.text == "Nozzle Parked"));
        assert_eq!(pair.ask(Request::Choose(0)), Ok(()));
    }
    let asks = |pair: &Pair| pair.session.snapshot().asked.is_some_and(|asked| asked.text == question);
    let took = until(&mut pair, asks);
    assert!(took < Duration::from_secs(200), "{question}: {took:?}");
    pair
}

#[test]
fn a_cancel_in_a_change_of_filament_left_the_nozzle_hot_for_ever() {
    for question in ["Nozzle Parked", "Paused"] {
        let mut pair = changing_filament(question, &setup());
        pair.run_for(Duration::from_secs(30));
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        let took = until(&mut pair, is_over);
        assert!(took < PATIENCE, "{question}: {took:?}");
        pair.run_for(Duration::from_secs(5));
        assert_eq!((pair.progress().phase, pair.session.state()), (JobPhase::Cancelled, State::Idle), "{question}");
        assert!(!hot(&pair), "{question}: {:?}", pair.session.snapshot().temperatures);
        assert!(pair.executed().iter().any(|line| line.replace(' ', "") == "M104S0"), "{question}");
        assert_eq!(pair.report().overflow, 0, "{question}");
    }
}

#[test]
fn a_question_of_the_machine_was_forgotten_when_the_conversation_began_anew() {
    // Without an emergency parser nothing that is said is read before a person answers at the display.
    let setup = Setup { emergency_parser: false, ..setup() };
    let mut pair = connected("marlin", &setup);
    pair.start(strings(&["M109 S60", "G1 X5 F1200", "M600", "G1 X10"]));
    until(&mut pair, |pair| pair.session.snapshot().asked.is_some_and(|asked| asked.text == "Nozzle Parked"));
    // The first question is ended by M108, the second by its own answer alone.
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    let took = until(&mut pair, is_over);
    assert!(took < PATIENCE, "{took:?}");
    pair.run_for(Duration::from_secs(10));
    let snapshot = pair.session.snapshot();
    assert_eq!(snapshot.asked.as_ref().map(|asked| asked.text.as_str()), Some("Paused"), "{snapshot:#?}");
    assert_eq!(pair.session.state(), State::Attention);
    assert!(told(&pair, "tool0 60 °C"), "what is hot is said: {:?}", pair.notices());
    assert_eq!(pair.report().overflow, 0);
}

#[test]
fn an_answer_and_a_resume_reach_a_machine_that_asks_since_before_the_conversation() {
    for request in [Request::Choose(1), Request::Resume] {
        let mut pair = changing_filament("Paused", &setup());
        pair.unplug();
        pair.run_for(Duration::from_secs(5));
        pair.plug_in(false);
        until(&mut pair, |pair| pair.session.state() == State::Attention);
        assert_eq!(notice(&pair), "machine.held_before");
        // Its question was asked when nobody heard it: what is heard again can be answered by its place.
        if request != Request::Resume {
            pair.machine.hear(pair.now, b"M876 S0\n");
            until(&mut pair, |pair| pair.session.snapshot().asked.is_some_and(|asked| asked.choices.len() == 2));
        }
        assert_eq!(pair.ask(request), Ok(()));
        // The job that heated it is over.
        until(&mut pair, |pair| notice(pair) == "machine.hot");
        assert_eq!(pair.ask(Request::Clear), Ok(()));
        stands(&mut pair);
    }
}

#[test]
fn a_jog_of_a_machine_that_was_not_homed_is_bounded_by_one_press() {
    let mut pair = connected("grbl", &setup());
    pair.run_for(Duration::from_secs(1));
    for _ in 0..200 {
        let _ = pair.ask(Request::Jog(Jog { by_mm: [-100.0, 0.0, 0.0], feed_mm_min: 600.0, press: Some(7) }));
        pair.run_for(Duration::from_millis(100));
    }
    let x = pair.report().position_mm[0];
    assert!((-20.5..-15.0).contains(&x), "{x}");
    let told = pair.events.iter().any(|event| format!("{event:?}").contains("not homed"));
    assert!(told, "it is said why it went no further: {:?}", pair.events);
}
