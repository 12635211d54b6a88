//! Who is on the line: what was heard is quoted, nothing is called silent that said something, and a person's word may stand
//! for a name.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::doctor::{Surroundings, diagnose};
use drivers::profile::Attach;
use drivers::session::Input;
use drivers::sim::{Faults, Setup, simulated};
use drivers::snapshot::JobPhase;
use drivers::{EventKind, Notice, Request, State};
use support::{Pair, connected, program, setup, usual_line};

const DIALECTS: [&str; 8] =
    ["marlin", "grbl", "grblhal", "fluidnc", "smoothieware", "reprapfirmware", "repetier", "klipper"];

fn opened(dialect: &str, setup: &Setup, attach: Attach) -> Pair {
    let mut profile = support::profile(dialect);
    profile.attach = attach;
    let mut pair = Pair::with_profile(profile, setup, usual_line(), Faults::default(), 1);
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
    pair
}

fn notice(pair: &Pair) -> Notice {
    pair.session.snapshot().notice.expect("a notice")
}

#[test]
fn what_a_stranger_says_is_quoted_and_not_called_silence() {
    for (stranger, words) in [("gps", "$GPGGA"), ("modem", "ERROR"), ("login", "mill login:")] {
        for dialect in DIALECTS {
            let mut pair = Pair::new(dialect, &setup(), usual_line(), Faults::default(), 1);
            pair.machine = simulated(stranger, &setup()).unwrap();
            pair.connected = true;
            pair.hand(Input::LinkUp { may_reset: false });
            pair.run_for(Duration::from_secs(30));
            let told = notice(&pair);
            assert_eq!(told.code, "machine.unnamed", "{dialect}, {stranger}: {told}");
            assert!(told.happened.contains(words), "{dialect}, {stranger}: {told}");
            assert_eq!(pair.session.state(), State::Connecting, "{dialect}, {stranger}");
            let snapshot = pair.session.snapshot();
            let doctor = diagnose(&snapshot.link, false, Surroundings::default());
            assert_eq!(doctor, None, "{dialect}, {stranger}: nothing shows damage");
        }
    }
}

fn take_events(pair: &mut Pair) {
    pair.events.extend(std::iter::from_fn(|| pair.session.poll_event()));
}

/// A box between network and serial line may take every connection and close it while its machine is off.
#[test]
fn an_adapter_whose_machine_is_off_was_news_at_every_attempt() {
    for dialect in DIALECTS {
        let mut pair = Pair::new(dialect, &setup(), usual_line(), Faults::default(), 1);
        pair.connected = true;
        for _ in 0..50 {
            pair.hand(Input::LinkUp { may_reset: false });
            pair.hand(Input::LinkDown(Notice::new("link.lost", "The other end is gone.", "", "")));
            assert_eq!((pair.session.state(), notice(&pair).code.as_str()), (State::Offline, "link.lost"), "{dialect}");
        }
        take_events(&mut pair);
        // It was tried, then it was lost: that is all.
        let told = |kind: fn(&EventKind) -> bool| pair.events.iter().filter(|event| kind(&event.kind)).count();
        assert_eq!(told(|kind| matches!(kind, EventKind::Disconnected { .. })), 1, "{dialect}");
        assert!(told(|kind| matches!(kind, EventKind::State { .. })) <= 2, "{dialect}: {:?}", pair.events);
        // The machine is switched on.
        pair.hand(Input::LinkUp { may_reset: false });
        pair.run_until(|pair| pair.session.is_ready());
        assert_ne!(pair.session.state(), State::Offline, "{dialect}");
        assert_eq!(pair.session.snapshot().notice, None, "{dialect}");
        pair.hand(Input::LinkDown(Notice::new("link.lost", "The other end is gone.", "", "")));
        take_events(&mut pair);
        let told = pair.events.iter().filter(|event| matches!(event.kind, EventKind::Disconnected { .. })).count();
        assert_eq!(told, 2, "{dialect}: that a machine is lost which was there is news");
    }
}

#[test]
fn only_a_machine_that_says_nothing_at_all_is_silent() {
    for dialect in DIALECTS {
        let mut pair = opened(dialect, &setup(), Attach::Named);
        pair.mute = true;
        pair.run_for(Duration::from_secs(30));
        let told = notice(&pair);
        assert_eq!(told.code, "machine.silent", "{dialect}");
        assert!(told.happened.contains("nothing came back"), "{dialect}: {told}");
    }
}

#[test]
fn a_line_that_comes_back_as_it_was_sent_is_named() {
    for dialect in ["marlin", "grbl", "smoothieware"] {
        let dead = Setup { echoes: true, silent_after: Some(0), ..setup() };
        let mut pair = Pair::new(dialect, &dead, usual_line(), Faults::default(), 1);
        // The adapter lives, and the machine behind it is off.
        pair.machine = simulated("modem", &setup()).unwrap();
        pair.connected = true;
        pair.hand(Input::LinkUp { may_reset: false });
        pair.mute = true;
        for _ in 0..40 {
            pair.run_for(Duration::from_millis(500));
            let question: &[u8] = if dialect == "grbl" { b"$I\n" } else { b"M115\n" };
            pair.hand(Input::Bytes(question));
        }
        assert_eq!(notice(&pair).code, "link.echo", "{dialect}: {}", notice(&pair));
    }
}

#[test]
fn an_adapter_that_echoes_beside_the_answers_is_named_and_the_job_runs() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &Setup { echoes: true, speed: 50.0, ..setup() });
        assert!(pair.notices().join("\n").contains("link.echo"), "{dialect}: {:?}", pair.notices());
        pair.start(program(80, 1));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        let snapshot = pair.session.snapshot();
        assert_eq!(diagnose(&snapshot.job_link, true, Surroundings::default()), None, "{dialect}: no noise");
    }
}

#[test]
fn a_machine_that_does_not_name_itself_is_quoted_and_attached_by_a_persons_word() {
    for (says, quoted) in [("NAME. Malyan VER: 2.9 MODEL: M200 HW: HA02", "Malyan"), ("", "ok")] {
        let unnamed = Setup { says_instead: Some(says.to_owned()), ..setup() };
        for dialect in ["marlin", "smoothieware", "repetier", "reprapfirmware"] {
            let mut pair = opened(dialect, &unnamed, Attach::Named);
            pair.run_for(Duration::from_secs(30));
            let told = notice(&pair);
            assert_eq!(told.code, "machine.unnamed", "{dialect}: {told}");
            let heard = [quoted, "<Idle", "Unknown command"];
            let quotes = heard.iter().any(|heard| told.happened.contains(heard));
            assert!(quotes && told.to_do.contains("as-configured"), "{dialect}: {told}");
            assert!(pair.try_start(program(20, 1)).is_err(), "{dialect}");

            let mut pair = opened(dialect, &unnamed, Attach::AsConfigured);
            let until = pair.now + Duration::from_secs(20);
            pair.run_until(|pair| pair.session.state() == State::Idle || pair.now >= until);
            assert_eq!(pair.session.state(), State::Idle, "{dialect} {:?}", pair.notices());
            let identity = pair.session.snapshot().identity.expect("an identity");
            assert!(
                identity.attached_as_configured && identity.firmware.contains("not named"),
                "{dialect}: {identity:?}"
            );
            pair.start(program(20, 1));
            assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
        }
    }
}

#[test]
fn a_persons_word_attaches_no_machine_that_names_itself_as_another() {
    let mut profile = support::profile("marlin");
    profile.attach = Attach::AsConfigured;
    let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
    pair.machine = simulated("grbl", &setup()).unwrap();
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
    pair.run_for(Duration::from_secs(20));
    assert_eq!(notice(&pair).code, "machine.wrong");
    // Nor one that says nothing.
    let mut pair = opened("marlin", &setup(), Attach::AsConfigured);
    pair.mute = true;
    pair.run_for(Duration::from_secs(60));
    assert_eq!((pair.session.state(), notice(&pair).code.as_str()), (State::Connecting, "machine.silent"));
}

#[test]
fn bytes_of_flow_control_between_the_answers_cost_nothing() {
    for dialect in DIALECTS {
        let run = |flow_bytes: bool| {
            let mut pair = connected(dialect, &Setup { flow_bytes, speed: 50.0, ..setup() });
            pair.start(program(60, 1));
            let began = pair.now;
            assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
            let snapshot = pair.session.snapshot();
            assert_eq!(diagnose(&snapshot.job_link, true, Surroundings::default()), None, "{dialect}: no noise");
            pair.now.since(began)
        };
        let (plain, with_flow) = (run(false), run(true));
        assert!(with_flow < plain * 2 + Duration::from_secs(1), "{dialect}: {plain:?} became {with_flow:?}");
    }
}

#[test]
fn what_is_said_before_a_connection_closes_is_the_reason() {
    for said in [&b"Port already in use\r\n"[..], b"Port already in use"] {
        let mut pair = Pair::new("marlin", &setup(), usual_line(), Faults::default(), 1);
        pair.hand(Input::LinkUp { may_reset: false });
        pair.hand(Input::Bytes(said));
        pair.hand(Input::LinkDown(Notice::new("link.lost", "The other end is gone.", "", "")));
        assert!(notice(&pair).happened.contains("`Port already in use`"), "{}", notice(&pair));
    }
    // A cable that is pulled from a machine that talked as it should says nothing of its own.
    let mut pair = connected("marlin", &setup());
    pair.run_for(Duration::from_secs(10));
    pair.unplug();
    assert!(!notice(&pair).happened.contains("The last it said"), "{}", notice(&pair));
}

#[test]
fn an_emergency_stop_by_a_person_keeps_its_reason_when_the_machine_says_that_it_halted() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.start(support::long_program());
        pair.run_for(Duration::from_secs(3));
        pair.ask(Request::Stop).unwrap();
        pair.run_for(Duration::from_secs(10));
        let snapshot = pair.session.snapshot();
        assert_eq!(snapshot.state, State::Alarm, "{dialect}");
        assert_eq!(snapshot.cause, drivers::snapshot::Cause::Asked, "{dialect}");
        assert_eq!(notice(&pair).code, "machine.stopped", "{dialect}: {}", notice(&pair));
        assert!(!pair.notices().join("\n").contains("machine.halted"), "{dialect}: {:?}", pair.notices());
    }
}
