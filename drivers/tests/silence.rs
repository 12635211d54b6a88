//! A machine that answers nothing any more: every end is bounded in time, and what is not known is said. In virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::sim::{Faults, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use support::{Pair, program, setup, usual_line};

const DIALECTS: [&str; 8] =
    ["marlin", "grbl", "grblhal", "fluidnc", "smoothieware", "reprapfirmware", "repetier", "klipper"];

/// A request that can be proven to have done nothing is over by then, whatever the firmware: a service that is ended has
/// a minute and a half before it is killed.
const BOUND: Duration = Duration::from_secs(60);

fn connected(dialect: &str, setup: &Setup) -> Pair {
    let mut pair = support::connected(dialect, setup);
    pair.run_for(Duration::from_secs(1));
    pair.run_until(|pair| pair.session.state() == State::Idle);
    pair
}

fn notice(pair: &Pair) -> String {
    pair.session.snapshot().notice.map(|notice| notice.code).unwrap_or_default()
}

/// Runs until that is so and says how long it took; an hour is for ever.
fn until(pair: &mut Pair, done: impl Fn(&Pair) -> bool) -> Duration {
    let since = pair.now;
    while !done(pair) && pair.now.since(since) < Duration::from_secs(3_600) && pair.step() {}
    pair.now.since(since)
}

fn is_over(pair: &Pair) -> bool {
    pair.session.snapshot().job.is_some_and(|job| job.phase.is_over())
}

#[test]
fn a_cancel_of_a_machine_that_answers_nothing_any_more_ran_on_for_minutes() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.start(program(2_000, 5));
        pair.run_for(Duration::from_secs(3));
        pair.mute = true;
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.ask(Request::Cancel), Ok(()), "{dialect}");
        let took = until(&mut pair, is_over);
        assert!(took <= BOUND, "{dialect}: {took:?}");
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{dialect}");
        assert_eq!(notice(&pair), "machine.silent", "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.session.state(), State::Connecting, "{dialect}: what it does now is not known");
        pair.run_for(Duration::from_millis(1));
        let told = pair.notices().join("\n");
        assert!(told.contains("safe") && told.contains("not known"), "{dialect}: {told}");
        // It answers again: nothing that it had in it is taken for an answer to what is asked now.
        pair.mute = false;
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert!(!pair.report().moving, "{dialect}: idle, and it moves");
        assert_eq!(pair.report().violations, Vec::<String>::new(), "{dialect}");
    }
}

#[test]
fn a_pause_of_a_machine_that_answers_nothing_any_more_was_holding_for_minutes() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.start(program(2_000, 5));
        pair.run_for(Duration::from_secs(3));
        pair.mute = true;
        assert_eq!(pair.ask(Request::Pause), Ok(()), "{dialect}");
        let took = until(&mut pair, |pair| pair.session.state() == State::Held);
        assert!(took <= BOUND, "{dialect}: {took:?}");
        assert_eq!(notice(&pair), "machine.silent", "{dialect}: held, and nobody says that it may still move");
        let took = {
            assert_eq!(pair.ask(Request::Cancel), Ok(()), "{dialect}");
            until(&mut pair, is_over)
        };
        assert!(took <= Duration::from_secs(20), "{dialect}: {took:?}, and its silence was known");
    }
}

#[test]
fn an_answer_that_was_lost_kept_a_printer_without_a_hold_from_being_paused_and_cancelled() {
    let lost = Faults { line_lost: 0.01, ..Faults::default() };
    let mut idle = 0;
    for seed in 0..20 {
        let mut pair = Pair::new("klipper", &Setup { speed: 20.0, ..setup() }, usual_line(), lost, seed);
        pair.connect();
        pair.start(program(2_000, 5));
        pair.run_for(Duration::from_secs(4));
        let _ = pair.ask(Request::Pause);
        let took = until(&mut pair, |pair| pair.session.state() == State::Held);
        assert!(took <= Duration::from_secs(35), "{seed}: holding for {took:?}");
        assert!(!pair.report().moving, "{seed}: held, and it moves");
        let _ = pair.ask(Request::Cancel);
        let took = until(&mut pair, is_over);
        assert!(took <= BOUND, "{seed}: {took:?}");
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{seed}");
        let proven = pair.session.state() == State::Idle;
        assert!(!proven || !pair.report().moving, "{seed}: idle, and it moves");
        idle += u32::from(proven);
    }
    assert!(idle > 15, "{idle} of 20 were shown to stand still");
}

#[test]
fn what_makes_a_printer_safe_is_said_though_it_homes_in_silence() {
    for dialect in ["reprapfirmware", "klipper"] {
        let mut pair = connected(dialect, &setup());
        pair.start(["G1 X6000 F360000", "M104 S200", "G28", "G1 X50 F6000", "G1 X0"].map(str::to_owned).into());
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.ask(Request::Cancel), Ok(()), "{dialect}");
        assert!(until(&mut pair, is_over) <= BOUND, "{dialect}");
        assert!(pair.report().moving, "{dialect}: it homes still");
        assert_eq!(pair.session.state(), State::Connecting, "{dialect}");
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert!(!pair.report().moving, "{dialect}: idle, and it moves");
        assert!(
            pair.executed().iter().any(|line| line.replace(' ', "") == "M104S0"),
            "{dialect}: {:?}",
            pair.executed()
        );
        assert_eq!(pair.report().overflow, 0, "{dialect}");
    }
}

#[test]
fn a_mill_that_went_silent_after_its_last_line_was_running_for_ever() {
    for dialect in ["grbl", "grblhal", "fluidnc", "smoothieware"] {
        let mut pair = connected(dialect, &setup());
        pair.start(["G1 X20 F600", "G1 X0", "G1 X20"].map(str::to_owned).into());
        pair.run_until(|pair| pair.progress().accepted == 3);
        pair.mute = true;
        let took = until(&mut pair, |pair| pair.session.state() != State::Running);
        assert!(took <= BOUND, "{dialect}: {took:?}");
        assert_eq!((pair.session.state(), notice(&pair).as_str()), (State::Held, "machine.silent"), "{dialect}");
        pair.mute = false;
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.ask(Request::Resume), Ok(()), "{dialect}");
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
    }
}

#[test]
fn an_idle_machine_that_was_switched_off_was_called_idle_for_ever() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.run_for(Duration::from_secs(30));
        assert_eq!(pair.session.state(), State::Idle, "{dialect}");
        pair.mute = true;
        let took = until(&mut pair, |pair| pair.session.state() != State::Idle);
        assert!(took <= BOUND, "{dialect}: {took:?}");
        assert_eq!((pair.session.state(), notice(&pair).as_str()), (State::Connecting, "machine.silent"), "{dialect}");
        let silent = |pair: &Pair| pair.notices().iter().filter(|notice| notice.contains("machine.silent")).count();
        pair.run_for(Duration::from_secs(300));
        assert_eq!(silent(&pair), 1, "{dialect}: it is said once");
        pair.mute = false;
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert_eq!(pair.report().overflow, 0, "{dialect}");
    }
}

#[test]
fn questions_at_connect_filled_the_receive_buffer_of_a_printer_that_homes_in_silence() {
    for dialect in ["reprapfirmware", "klipper", "marlin"] {
        let silent = Setup { host_keepalive: false, ..setup() };
        let mut pair = connected(dialect, &silent);
        // Fifty minutes of homing, and after them the machine is found.
        pair.start(["G1 X150000 F9000000", "G28"].map(str::to_owned).into());
        pair.run_for(Duration::from_secs(5));
        pair.unplug();
        pair.plug_in(false);
        pair.run_for(Duration::from_secs(30));
        // A Marlin goes on reporting its temperatures, as it was told to before: that is no silence.
        let told = if dialect == "marlin" { "machine.unnamed" } else { "machine.silent" };
        assert_eq!((pair.session.state(), notice(&pair).as_str()), (State::Connecting, told), "{dialect}");
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert_eq!(pair.report().overflow, 0, "{dialect}: its receive buffer overflowed");
        assert!(!pair.report().moving, "{dialect}: idle, and it moves");
    }
}

#[test]
fn a_machine_that_is_switched_on_long_after_the_agent_is_found_at_once() {
    for dialect in DIALECTS {
        let mut pair = Pair::new(dialect, &setup(), usual_line(), Faults::default(), 1);
        pair.connected = true;
        pair.mute = true;
        pair.hand(drivers::session::Input::LinkUp { may_reset: false });
        pair.run_for(Duration::from_secs(3_000));
        assert_eq!(notice(&pair), "machine.silent", "{dialect}");
        pair.mute = false;
        pair.machine.reset(pair.now);
        let took = until(&mut pair, |pair| pair.session.state() == State::Idle);
        assert!(took < Duration::from_secs(15), "{dialect}: {took:?}");
    }
}
