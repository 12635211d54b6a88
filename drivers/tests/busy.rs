//! A machine at work that was not started here, one that is asleep, one whose host still starts, one that was left hot:
//! each is told from an idle one, and none is given a job.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::session::Input;
use drivers::sim::{Faults, Incident, Setup};
use drivers::snapshot::{Cause, JobPhase, Unsure};
use drivers::{Denied, Request, State};
use support::{Pair, code, connected, happened, long_program, setup, stands, strings, usual_line, within};

const MILLS: [&str; 3] = ["grbl", "grblhal", "fluidnc"];
const PRINTERS: [&str; 5] = ["marlin", "smoothieware", "reprapfirmware", "repetier", "klipper"];

fn unconnected(dialect: &str, setup: &Setup) -> Pair {
    Pair::new(dialect, setup, usual_line(), Faults::default(), 1)
}

/// Opens the line to a machine that goes on with what it is at.
fn found(pair: &mut Pair) {
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
}

#[test]
fn a_print_from_the_card_is_busy_and_a_start_puts_nothing_into_it() {
    for dialect in PRINTERS.into_iter().chain(["grblhal", "fluidnc"]) {
        let mut pair = connected(dialect, &setup());
        pair.machine.happen(pair.now, Incident::CardPrint);
        within(&mut pair, 6, dialect, |pair| pair.session.state() == State::Busy);
        assert_eq!(pair.try_start(long_program()), Err(Denied::Occupied), "{dialect}");
        assert_eq!(pair.ask(Request::Home), Err(Denied::Occupied), "{dialect}");
        let told = |pair: &Pair| happened(pair).contains('%') || happened(pair).contains("part.nc");
        within(&mut pair, 10, dialect, told);
        assert_eq!(code(&pair), "machine.prints", "{dialect}");
        assert_eq!(pair.session.snapshot().cause, Cause::Machine, "{dialect}");
        assert_eq!(pair.report().executed, 0, "{dialect}: nothing was sent into it");
        within(&mut pair, 120, dialect, |pair| pair.session.state() == State::Idle);
        assert!(!pair.report().moving, "{dialect}: idle, and it moves");
        assert_eq!(code(&pair), "none", "{dialect}: it is over");
        pair.start(strings(&["G1 X1 F600"]));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
    }
}

#[test]
fn a_printer_that_was_found_printing_from_its_card_is_never_told_to_come_to_its_end() {
    for dialect in ["marlin", "klipper"] {
        let mut pair = unconnected(dialect, &setup());
        pair.machine.happen(pair.now, Incident::CardPrint);
        pair.machine.say(&mut Vec::new());
        pair.record(1_000_000);
        found(&mut pair);
        within(&mut pair, 3, dialect, |pair| pair.session.state() == State::Busy);
        assert_eq!(code(&pair), "machine.prints", "{dialect}");
        pair.run_for(Duration::from_secs(20));
        assert!(!pair.recording().contains("M400"), "{dialect}: that would stop the print between two of its moves");
    }
}

#[test]
fn a_machine_that_moves_by_itself_is_busy_until_it_stands() {
    for dialect in ["marlin", "reprapfirmware", "klipper", "smoothieware"].into_iter().chain(MILLS) {
        for has_card in [true, false] {
            let mut pair = connected(dialect, &Setup { has_card, ..setup() });
            pair.run_for(Duration::from_secs(20));
            pair.machine.happen(pair.now, Incident::MovedThere);
            within(&mut pair, 8, dialect, |pair| pair.session.state() == State::Busy);
            assert_eq!(code(&pair), "machine.moves", "{dialect}");
            assert_eq!(pair.try_start(long_program()), Err(Denied::Occupied), "{dialect}");
            stands(&mut pair);
        }
    }
}

#[test]
fn a_printer_that_is_homed_at_its_own_menu_says_that_it_is_busy() {
    let mut pair = connected("marlin", &setup());
    pair.machine.happen(pair.now, Incident::HomedThere);
    within(&mut pair, 6, "marlin", |pair| pair.session.state() == State::Busy);
    assert_eq!(code(&pair), "machine.works");
    stands(&mut pair);
}

#[test]
fn a_machine_that_moves_at_connect_is_busy_at_once_and_its_spindle_is_named() {
    for dialect in MILLS {
        let mut pair = unconnected(dialect, &setup());
        pair.machine.hear(pair.now, b"M3 S1000\nG1 X100 F1200\nG1 X0\n");
        pair.machine.say(&mut Vec::new());
        found(&mut pair);
        within(&mut pair, 1, dialect, |pair| pair.session.state() == State::Busy);
        assert_eq!(code(&pair), "machine.moves", "{dialect}");
        assert!(happened(&pair).contains("S1000"), "{dialect}: {}", happened(&pair));
        assert_eq!(pair.try_start(long_program()), Err(Denied::Occupied), "{dialect}");
        within(&mut pair, 15, dialect, |pair| pair.session.state() == State::Attention);
        assert_eq!(code(&pair), "machine.spindle_on", "{dialect}: it stands, and turns");
        assert!(!pair.notices().iter().any(|notice| notice.contains("machine.silent")), "{:?}", pair.notices());
    }
}

#[test]
fn a_stop_reaches_a_machine_that_was_found_moving() {
    for dialect in MILLS {
        let mut pair = unconnected(dialect, &setup());
        pair.machine.hear(pair.now, b"G1 X500 F600\n");
        found(&mut pair);
        within(&mut pair, 1, dialect, |pair| pair.session.state() == State::Busy);
        pair.ask(Request::Stop).unwrap();
        pair.run_for(Duration::from_secs(2));
        assert!(!pair.report().moving, "{dialect}");
    }
}

#[test]
fn check_mode_is_a_state_of_its_own_without_jobs() {
    for dialect in MILLS {
        let mut pair = connected(dialect, &setup());
        pair.machine.happen(pair.now, Incident::CheckMode);
        within(&mut pair, 2, dialect, |pair| pair.session.state() == State::Busy);
        assert_eq!(code(&pair), "machine.check_mode", "{dialect}");
        assert_eq!(pair.try_start(long_program()), Err(Denied::Occupied), "{dialect}");
        let mut pair = unconnected(dialect, &setup());
        pair.machine.happen(pair.now, Incident::CheckMode);
        found(&mut pair);
        within(&mut pair, 2, dialect, |pair| pair.session.state() == State::Busy);
        assert_eq!(code(&pair), "machine.check_mode", "{dialect}");
        pair.ask(Request::Clear).unwrap();
        within(&mut pair, 10, dialect, |pair| pair.session.state() == State::Idle);
    }
}

#[test]
fn a_job_that_comes_into_check_mode_fails_instead_of_waiting_for_ever() {
    for dialect in MILLS {
        let mut pair = connected(dialect, &setup());
        pair.start(long_program());
        pair.run_for(Duration::from_secs(2));
        // Somebody else's terminal, or a line that came by another way.
        pair.hand(Input::Bytes(b"<Check|MPos:0.000,0.000,0.000|FS:0,0>\r\n"));
        pair.hand(Input::Bytes(b"<Check|MPos:0.000,0.000,0.000|FS:0,0>\r\n"));
        pair.step();
        assert!(pair.progress().phase.is_over(), "{dialect}");
        assert!(pair.notices().join("\n").contains("machine.check_mode"), "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn the_word_for_check_mode_in_a_program_is_not_sent() {
    for dialect in MILLS {
        let mut pair = connected(dialect, &setup());
        pair.start(strings(&["G1 X1 F600", "$C", "G1 X2"]));
        within(&mut pair, 20, dialect, |pair| pair.session.state() == State::Held);
        assert!(pair.notices().join("\n").contains("interlock.check_mode"), "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn a_machine_that_is_asleep_needs_somebody_and_says_what_to_do() {
    for dialect in MILLS {
        for asleep_before in [true, false] {
            let mut pair = unconnected(dialect, &setup());
            if asleep_before {
                pair.machine.happen(pair.now, Incident::PutToSleep);
                found(&mut pair);
            } else {
                pair.connect();
                pair.machine.happen(pair.now, Incident::PutToSleep);
            }
            within(&mut pair, 2, dialect, |pair| pair.session.state() == State::Attention);
            assert_eq!(code(&pair), "machine.asleep", "{dialect}");
            assert!(pair.session.snapshot().notice.unwrap().to_do.contains("clear"), "{dialect}");
            pair.run_for(Duration::from_secs(30));
            assert_eq!(code(&pair), "machine.asleep", "{dialect}: it answers five times a second");
            assert!(pair.try_start(long_program()).is_err(), "{dialect}");
            pair.ask(Request::Clear).unwrap();
            within(&mut pair, 10, dialect, |pair| pair.session.state() == State::Idle);
        }
    }
}

#[test]
fn a_klipper_that_starts_is_connecting_and_ready_by_itself() {
    let mut pair = unconnected("klipper", &Setup { starts_s: 8.0, ..setup() });
    found(&mut pair);
    pair.run_for(Duration::from_secs(4));
    assert_eq!((pair.session.state(), code(&pair).as_str()), (State::Connecting, "machine.starting"));
    assert!(happened(&pair).contains("Printer is not ready"), "{}", happened(&pair));
    within(&mut pair, 12, "klipper", |pair| pair.session.state() == State::Idle);
    assert_eq!(code(&pair), "none");
    // Only its shutdown is a halt.
    pair.machine.happen(pair.now, Incident::Limit);
    within(&mut pair, 3, "klipper", |pair| pair.session.state() == State::Alarm);
}

#[test]
fn a_klipper_that_restarts_in_a_job_ends_it_and_is_asked_again() {
    let mut pair = connected("klipper", &setup());
    pair.start(long_program());
    pair.run_for(Duration::from_secs(5));
    pair.machine.reset(pair.now);
    assert_eq!(pair.run_job(), JobPhase::Failed);
    assert!(pair.notices().join("\n").contains("machine.restarted"), "{:?}", pair.notices());
    within(&mut pair, 10, "klipper", |pair| pair.session.state() == State::Idle);
}

#[test]
fn a_printer_that_was_left_hot_needs_somebody_and_says_what_is_on() {
    for dialect in ["marlin", "smoothieware", "repetier", "reprapfirmware", "klipper"] {
        let mut pair = unconnected(dialect, &Setup { found_hot_c: [210.0, 60.0], ..setup() });
        found(&mut pair);
        let idle_before = |pair: &Pair| pair.events.iter().any(|event| format!("{event:?}").contains("to: Idle"));
        within(&mut pair, 5, dialect, |pair| pair.session.state() == State::Attention);
        assert!(!idle_before(&pair), "{dialect}: it was called idle first");
        assert_eq!(code(&pair), "machine.hot", "{dialect}");
        let said = happened(&pair);
        assert!(said.contains("tool0 is set to 210") && said.contains("bed is set to 60"), "{dialect}: {said}");
        assert_eq!(pair.try_start(long_program()), Err(Denied::Attention), "{dialect}");
        pair.ask(Request::Clear).unwrap();
        within(&mut pair, 5, dialect, |pair| pair.session.state() == State::Idle);
        pair.run_for(Duration::from_secs(20));
        assert_eq!(pair.session.state(), State::Idle, "{dialect}: somebody has looked");
    }
}

#[test]
fn a_printer_that_is_heated_at_its_display_later_is_no_find() {
    let mut pair = connected("marlin", &setup());
    pair.run_for(Duration::from_secs(10));
    pair.machine.hear(pair.now, b"M104 S200\n");
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.session.state(), State::Idle);
}

#[test]
fn a_second_program_on_the_line_is_named_and_the_count_is_not_sure() {
    for dialect in ["grbl", "grblhal", "fluidnc", "marlin", "smoothieware", "klipper"] {
        let mut pair = connected(dialect, &setup());
        pair.start((0..60).map(|step| format!("G1 X{} F2400", step % 7)).collect());
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.progress().unsure, None, "{dialect}");
        pair.machine.hear(pair.now, b"G0 X50\n");
        pair.run_job();
        let progress = pair.progress();
        assert_eq!(progress.phase, JobPhase::Finished, "{dialect}");
        assert!(progress.unsure.is_some(), "{dialect}: {progress:?}");
        assert!(pair.notices().join("\n").contains("machine.another_hand"), "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn a_machine_outside_of_the_program_was_moved_by_somebody_else() {
    let mut pair = connected("grbl", &setup());
    pair.run_for(Duration::from_secs(5));
    pair.start((0..60).map(|step| format!("G1 X{} F2400", step % 7)).collect());
    pair.run_for(Duration::from_secs(1));
    for _ in 0..2 {
        pair.hand(Input::Bytes(b"<Run|MPos:50.000,0.000,0.000|FS:600,0>\r\n"));
    }
    pair.step();
    assert_eq!(pair.progress().unsure, Some(Unsure::OutsideProgram));
    assert!(pair.notices().join("\n").contains("X50.000"), "{:?}", pair.notices());
}

#[test]
fn a_job_that_nobody_disturbs_is_sure() {
    for dialect in MILLS.into_iter().chain(PRINTERS) {
        let mut pair = connected(dialect, &Setup { speed: 20.0, ..setup() });
        let program = strings(&[
            "G21",
            "G90",
            "G0 X10 Y10",
            "G2 X10 Y10 I5 J0 F2000",
            "G91",
            "G1 X5 Y-3",
            "G90",
            "G1 X0 Y0",
            "G4 P0.2",
            "G1 X3",
        ]);
        pair.start(program);
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
        assert_eq!(pair.progress().unsure, None, "{dialect}: {:?}", pair.notices());
    }
}
