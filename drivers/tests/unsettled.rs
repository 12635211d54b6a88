//! What looked settled and was not: a wait that went on though its heat was reached, a print that is paused and not over, an
//! alarm that no word ends, a cause that a stop put out of sight, a heater that did not go off.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::session::Input;
use drivers::sim::{Faults, Incident, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Denied, Request, State};
use support::{Pair, code, connected, happened, long_program, setup, strings, usual_line, within};

const MILLS: [&str; 3] = ["grbl", "grblhal", "fluidnc"];

fn is_over(pair: &Pair) -> bool {
    pair.session.snapshot().job.is_some_and(|job| job.phase.is_over())
}

/// From now on the machine says this again and again, and nothing else is heard of it.
fn says(pair: &mut Pair, text: &[u8], every_ms: u64, times: u32) {
    pair.mute = true;
    pair.to_host.cut(pair.now);
    for _ in 0..times {
        pair.run_for(Duration::from_millis(every_ms));
        pair.hand(Input::Bytes(text));
    }
}

#[test]
fn a_lost_answer_to_a_wait_for_heat_was_waited_for_for_ever_with_the_heaters_on() {
    for (word, reached) in [("M109 S60", "T:60"), ("M190 S60", "B:60")] {
        let mut pair = connected("marlin", &setup());
        pair.start(strings(&[word, "G1 X5 F600", "G1 X0"]));
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.session.state(), State::Running, "{word}: it heats, which may take long");
        // Its answer is lost, and its reports of the heat come on.
        pair.mute = true;
        pair.run_until(|pair| pair.executed().iter().any(|line| line.starts_with(&word[..4])));
        pair.run_for(Duration::from_millis(100));
        pair.to_host.cut(pair.now);
        pair.mute = false;
        within(&mut pair, 60, word, is_over);
        assert_eq!(pair.progress().phase, JobPhase::Finished, "{word} {reached}: {:?}", pair.notices());
    }
}

#[test]
fn a_slow_heater_was_taken_for_a_lost_answer() {
    let mut pair = connected("marlin", &Setup { speed: 0.1, host_keepalive: false, ..setup() });
    pair.start(strings(&["M109 S100", "G4 S1"]));
    // Some 400 s.
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert!(pair.notices().is_empty(), "{:?}", pair.notices());
}

#[test]
fn a_print_from_the_card_that_is_paused_at_the_display_was_idle() {
    for dialect in ["marlin", "repetier", "klipper"] {
        for host_actions in [true, false] {
            let mut pair = connected(dialect, &Setup { host_actions, ..setup() });
            pair.machine.happen(pair.now, Incident::CardPrint);
            within(&mut pair, 10, dialect, |pair| happened(pair).contains('%'));
            pair.machine.happen(pair.now, Incident::Paused);
            within(&mut pair, 20, dialect, |pair| pair.session.state() != State::Busy);
            pair.run_for(Duration::from_secs(30));
            assert_eq!(pair.session.state(), State::Attention, "{dialect} {host_actions}: {:?}", pair.notices());
            assert_eq!(code(&pair), "machine.print_paused", "{dialect} {host_actions}");
            assert_eq!(pair.try_start(long_program()), Err(Denied::Attention), "{dialect}");
            pair.machine.happen(pair.now, Incident::Resumed);
            within(&mut pair, 20, dialect, |pair| code(pair) == "machine.prints");
            assert_eq!(pair.session.state(), State::Busy, "{dialect} {host_actions}");
            within(&mut pair, 120, dialect, |pair| pair.session.state() == State::Idle);
            assert!(!pair.report().moving, "{dialect}");
        }
    }
}

#[test]
fn a_print_from_the_card_that_was_ended_at_the_display_is_looked_at_once() {
    let mut pair = connected("marlin", &setup());
    pair.machine.happen(pair.now, Incident::CardPrint);
    within(&mut pair, 10, "busy", |pair| happened(pair).contains('%'));
    pair.machine.happen(pair.now, Incident::Cancelled);
    within(&mut pair, 20, "ended", |pair| pair.session.state() == State::Attention);
    pair.ask(Request::Clear).unwrap();
    within(&mut pair, 20, "cleared", |pair| pair.session.state() == State::Idle);
    pair.run_for(Duration::from_secs(30));
    assert_eq!(pair.session.state(), State::Idle);
}

#[test]
fn a_printer_paused_at_its_display_without_a_job_was_idle() {
    let mut pair = connected("marlin", &setup());
    pair.run_for(Duration::from_secs(5));
    pair.hand(Input::Bytes(b"//action:paused\n"));
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.session.state(), State::Attention);
    assert_eq!(code(&pair), "machine.print_paused");
    pair.hand(Input::Bytes(b"//action:resumed\n"));
    within(&mut pair, 10, "resumed", |pair| pair.session.state() == State::Idle);
}

#[test]
fn heaters_that_somebody_elses_print_left_on_were_not_looked_at_again() {
    let mut pair = connected("marlin", &setup());
    pair.run_for(Duration::from_secs(10));
    pair.machine.happen(pair.now, Incident::CardPrint);
    pair.machine.hear(pair.now, b"M104 S200\n");
    within(&mut pair, 10, "busy", |pair| pair.session.state() == State::Busy);
    within(&mut pair, 120, "over", |pair| pair.session.state() != State::Busy);
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.session.state(), State::Attention, "{:?}", pair.notices());
    assert_eq!(code(&pair), "machine.hot");
}

#[test]
fn a_clear_behind_a_stop_right_after_a_limit_could_never_succeed() {
    for dialect in MILLS {
        for stop_first in [false, true] {
            let mut pair = connected(dialect, &setup());
            pair.start(long_program());
            pair.run_for(Duration::from_secs(2));
            if stop_first {
                // The limit is hit while the stop is on its way.
                pair.ask(Request::Stop).unwrap();
                pair.machine.happen(pair.now, Incident::Limit);
            } else {
                pair.machine.happen(pair.now, Incident::Limit);
                pair.run_until(|pair| pair.session.state() == State::Alarm);
                pair.run_for(Duration::from_millis(100));
                pair.ask(Request::Stop).unwrap();
            }
            pair.run_for(Duration::from_secs(5));
            assert_eq!(pair.session.state(), State::Alarm, "{dialect}");
            pair.ask(Request::Clear).unwrap();
            within(&mut pair, 20, dialect, |pair| pair.session.state() == State::Idle);
        }
    }
}

#[test]
fn a_stop_stays_until_a_person_clears_it_though_a_limit_came_behind_it() {
    let mut pair = connected("grbl", &setup());
    pair.ask(Request::Stop).unwrap();
    pair.machine.happen(pair.now, Incident::Limit);
    pair.run_for(Duration::from_secs(2));
    // Somebody resets and unlocks it at the machine.
    pair.machine.hear(pair.now, b"\x18");
    pair.machine.hear(pair.now, b"$X\n");
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.session.state(), State::Alarm, "who stopped it here ends that here");
}

#[test]
fn an_alarm_that_no_word_unlocks_is_ended_by_a_reset() {
    for number in [1, 2, 10, 17, 20] {
        let mut pair = connected("grblhal", &setup());
        pair.machine.happen(pair.now, Incident::Alarm(number));
        within(&mut pair, 5, "alarm", |pair| pair.session.state() == State::Alarm);
        pair.ask(Request::Clear).unwrap();
        within(&mut pair, 20, &number.to_string(), |pair| pair.session.state() == State::Idle);
    }
}

#[test]
fn a_machine_found_in_a_critical_alarm_refuses_to_be_unlocked_until_it_is_reset() {
    // Its line was lost: only its reports show the alarm.
    let mut pair = connected("grblhal", &setup());
    pair.mute = true;
    pair.machine.happen(pair.now, Incident::Alarm(17));
    pair.run_for(Duration::from_millis(50));
    pair.mute = false;
    within(&mut pair, 5, "alarm", |pair| pair.session.state() == State::Alarm);
    pair.ask(Request::Clear).unwrap();
    within(&mut pair, 20, "cleared", |pair| pair.session.state() == State::Idle);
}

#[test]
fn a_stop_put_the_first_cause_out_of_sight() {
    let mut pair = connected("marlin", &setup());
    pair.start(long_program());
    pair.run_for(Duration::from_secs(2));
    pair.machine.happen(pair.now, Incident::Says("Error:Thermal Runaway, system stopped! Heater_ID: 0"));
    pair.machine.happen(pair.now, Incident::Limit);
    within(&mut pair, 5, "halt", |pair| pair.session.state() == State::Alarm);
    let first = code(&pair);
    pair.ask(Request::Stop).unwrap();
    pair.run_for(Duration::from_secs(3));
    assert_eq!(code(&pair), first, "what halted it stays until it is put right");
    for dialect in MILLS {
        let mut pair = connected(dialect, &setup());
        pair.machine.happen(pair.now, Incident::Limit);
        within(&mut pair, 5, dialect, |pair| pair.session.state() == State::Alarm);
        pair.run_for(Duration::from_secs(1));
        let first = code(&pair);
        pair.ask(Request::Stop).unwrap();
        pair.run_for(Duration::from_secs(3));
        assert_eq!(code(&pair), first, "{dialect}");
        assert!(
            pair.notices().iter().any(|notice| notice.contains("machine.stopped")),
            "the stop is told all the same"
        );
        pair.ask(Request::Clear).unwrap();
        within(&mut pair, 20, dialect, |pair| pair.session.state() == State::Idle);
        pair.ask(Request::Stop).unwrap();
        pair.run_for(Duration::from_secs(1));
        assert_eq!(code(&pair), "machine.stopped", "{dialect}: the cause before was put right");
    }
}

#[test]
fn a_heater_that_did_not_go_off_at_an_early_end_was_called_idle() {
    let unknown = vec!["M104 S0".to_owned(), "M104 T0 S0".to_owned()];
    let mut pair = connected("marlin", &Setup { unknown, ..setup() });
    let mut program = strings(&["M104 S210"]);
    program.extend(long_program());
    pair.start(program);
    pair.run_for(Duration::from_secs(10));
    pair.ask(Request::Cancel).unwrap();
    within(&mut pair, 60, "over", is_over);
    assert_eq!(pair.progress().phase, JobPhase::Cancelled);
    within(&mut pair, 10, "hot", |pair| pair.session.state() == State::Attention);
    assert_eq!(code(&pair), "machine.hot");
    assert!(happened(&pair).contains("tool0 is set to 210"), "{}", happened(&pair));
    assert!(!happened(&pair).contains("before this connection"), "{}", happened(&pair));
    assert_eq!(pair.try_start(long_program()), Err(Denied::Attention));
}

#[test]
fn a_heater_that_goes_off_at_an_early_end_needs_nobody() {
    for dialect in ["marlin", "repetier", "reprapfirmware", "smoothieware", "klipper"] {
        let mut pair = connected(dialect, &setup());
        let mut program = strings(&["M104 S210", "M140 S60"]);
        program.extend(long_program());
        pair.start(program);
        pair.run_for(Duration::from_secs(10));
        pair.ask(Request::Cancel).unwrap();
        within(&mut pair, 90, dialect, is_over);
        let seen = pair.events.len();
        pair.run_for(Duration::from_secs(20));
        assert_eq!(pair.session.state(), State::Idle, "{dialect}: {:?}", pair.notices());
        let attention = pair.events[seen..].iter().any(|event| format!("{event:?}").contains("to: Attention"));
        assert!(!attention, "{dialect}: {:?}", pair.events[seen..].iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_spindle_that_did_not_stand_at_an_early_end_was_called_idle() {
    for dialect in MILLS {
        let mut pair = connected(dialect, &setup());
        let mut program = strings(&["M3 S9000"]);
        program.extend(long_program());
        pair.start(program);
        pair.run_for(Duration::from_secs(3));
        pair.ask(Request::Cancel).unwrap();
        within(&mut pair, 60, dialect, is_over);
        says(&mut pair, b"<Idle|MPos:0.000,0.000,0.000|FS:0,9000>\r\n", 200, 5);
        assert_eq!(pair.session.state(), State::Attention, "{dialect}");
        assert_eq!(code(&pair), "machine.spindle_on", "{dialect}");
        assert!(!happened(&pair).contains("before this connection"), "{}", happened(&pair));
    }
}

#[test]
fn a_homing_cycle_of_a_program_was_held_as_silent() {
    let mut pair = connected("grbl", &Setup { rapid_mm_min: 200.0, ..setup() });
    pair.start(strings(&["G1 X200 F6000", "G4 P0", "$H", "G1 X1 F600"]));
    // A minute, in which Grbl answers nothing.
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
}

#[test]
fn a_clear_made_a_printer_that_prints_from_its_card_idle() {
    for dialect in ["marlin", "klipper"] {
        let mut pair = connected(dialect, &setup());
        pair.machine.happen(pair.now, Incident::CardPrint);
        within(&mut pair, 10, dialect, |pair| happened(pair).contains('%'));
        pair.ask(Request::Clear).unwrap();
        for _ in 0..60 {
            assert_eq!(pair.session.state(), State::Busy, "{dialect}");
            assert_eq!(pair.try_start(long_program()), Err(Denied::Occupied), "{dialect}");
            pair.run_for(Duration::from_millis(50));
        }
        within(&mut pair, 120, dialect, |pair| pair.session.state() == State::Idle);
    }
}

#[test]
fn a_turning_spindle_was_idle_for_its_first_report() {
    for dialect in MILLS {
        let mut pair = Pair::new(dialect, &setup(), usual_line(), Faults::default(), 1);
        pair.machine.hear(pair.now, b"M3 S9000\n");
        pair.machine.say(&mut Vec::new());
        pair.connected = true;
        pair.hand(Input::LinkUp { may_reset: false });
        within(&mut pair, 20, dialect, |pair| pair.session.state() == State::Attention);
        let idle = pair.events.iter().any(|event| format!("{event:?}").contains("to: Idle"));
        assert!(!idle, "{dialect}: {:?}", pair.events);
    }
}

#[test]
fn a_message_with_an_umlaut_passed_preflight_and_held_the_print() {
    for dialect in ["marlin", "repetier", "reprapfirmware", "klipper", "smoothieware"] {
        let mut pair = connected(dialect, &setup());
        pair.start(strings(&["M117 Würfel", "G1 X5 F600"]));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn a_lost_hold_and_one_idle_report_read_held_while_the_machine_moved() {
    let mut pair = connected("grbl", &setup());
    pair.start(long_program());
    pair.run_for(Duration::from_secs(2));
    pair.deaf = true;
    pair.ask(Request::Pause).unwrap();
    pair.run_for(Duration::from_millis(1));
    pair.deaf = false;
    pair.hand(Input::Bytes(b"<Idle|MPos:0.000,0.000,0.000|FS:0,0>\r\n"));
    let held = |pair: &Pair| pair.session.state() == State::Held;
    assert!(!held(&pair), "one report from before the hold proves nothing");
    within(&mut pair, 10, "held", held);
    let before = pair.report().position_mm;
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.report().position_mm, before, "held, and it moves");
}

#[test]
fn a_machine_that_moves_in_its_hold_is_told_again() {
    let mut pair = connected("grbl", &setup());
    pair.start(long_program());
    pair.run_for(Duration::from_secs(2));
    pair.deaf = true;
    pair.ask(Request::Pause).unwrap();
    // It rests between two moves for as long as a hold may take.
    for _ in 0..4 {
        pair.mute = true;
        pair.run_for(Duration::from_millis(200));
        pair.hand(Input::Bytes(b"<Idle|MPos:0.000,0.000,0.000|FS:0,0>\r\n"));
    }
    assert_eq!(pair.session.state(), State::Held);
    (pair.deaf, pair.mute) = (false, false);
    assert!(pair.report().moving);
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.session.state(), State::Held);
    let before = pair.report().position_mm;
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.report().position_mm, before, "held, and it moves");
}

#[test]
fn a_message_that_looks_like_another_firmware_ended_a_hot_job() {
    let mut pair = connected("klipper", &setup());
    let mut program = strings(&["M104 S210"]);
    program.extend(long_program().into_iter().take(6));
    pair.start(program);
    pair.run_for(Duration::from_secs(3));
    pair.machine.happen(pair.now, Incident::Says("echo: Marlin ok"));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
}

#[test]
fn another_firmwares_banner_in_a_hot_job_ends_it_safely() {
    let mut pair = connected("klipper", &setup());
    let mut program = strings(&["M104 S210"]);
    program.extend(long_program());
    pair.start(program);
    pair.run_for(Duration::from_secs(3));
    pair.machine.happen(pair.now, Incident::Says("Grbl 1.1h ['$' for help]"));
    within(&mut pair, 90, "over", is_over);
    assert_eq!(pair.progress().phase, JobPhase::Failed);
    assert!(pair.notices().iter().any(|notice| notice.contains("machine.wrong")), "{:?}", pair.notices());
    assert!(pair.report().left_on.is_empty(), "{:?}", pair.report().left_on);
}

#[test]
fn a_heater_word_behind_another_word_of_its_line_was_not_seen() {
    for (dialect, line) in [
        ("reprapfirmware", "G1 X0 M104 S400"),
        ("smoothieware", "G1 X0 M104 S400"),
        ("klipper", "SET_HEATER_TEMPERATURE HEATER=extruder TARGET=400"),
        ("klipper", "set_heater_temperature heater=heater_bed target=400"),
        ("klipper", "M104 S400"),
    ] {
        let mut pair = connected(dialect, &setup());
        pair.start(strings(&[line, "G1 X5 F600"]));
        assert_eq!(pair.run_job(), JobPhase::Held, "{dialect}: {line}");
        assert_eq!(code(&pair), "interlock.too_hot", "{dialect}: {line}");
    }
}
