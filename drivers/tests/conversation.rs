//! The same stories for every dialect: connect, stream, hold, resume, cancel, stop, trouble. In virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::event::EventKind;
use drivers::session::Input;
use drivers::sim::{Faults, Incident, LineSpeed, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Denied, Moment, Notice, Request, State};
use support::{Pair, commands, connected, is_printer, program, setup, usual_line};

const DIALECTS: [&str; 8] =
    ["marlin", "grbl", "grblhal", "fluidnc", "smoothieware", "reprapfirmware", "repetier", "klipper"];

/// Those whose M0 waits for a person.
const WAITING: [&str; 4] = ["marlin", "grbl", "grblhal", "fluidnc"];

/// One line at a time, for reasons in its own file.
const PING_PONG: &str = "reprapfirmware";

#[test]
fn what_the_machine_executes_is_the_program_line_by_line() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &Setup { speed: 50.0, ..setup() });
        let program = program(3_000, 7);
        pair.start(program.clone());
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.executed(), commands(&program), "{dialect}");
        let (report, progress) = (pair.report(), pair.progress());
        assert_eq!(report.violations, Vec::<String>::new(), "{dialect}");
        assert_eq!(progress.executed, progress.commands, "{dialect}");
        assert_eq!(progress.commands, commands(&program).len() as u64, "{dialect}");
        assert_eq!(pair.session.state(), State::Idle);
    }
}

#[test]
fn finished_comes_after_the_motion_ended_and_never_at_the_last_ok() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        // Ten slow moves: accepted within milliseconds, executed within a minute.
        let mut lines = vec!["G90".to_owned(), "G1 F600".to_owned()];
        lines.extend((0..10).map(|step| format!("G1 X{}", if step % 2 == 0 { 60 } else { 0 })));
        pair.start(lines);
        pair.run_until(|pair| {
            let job = pair.session.snapshot().job.expect("a job");
            job.accepted >= 12 || job.phase.is_over()
        });
        assert_eq!(pair.session.state(), State::Running, "{dialect}: the last ok is not the end");
        assert!(pair.report().moving, "{dialect}");
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
        assert!(!pair.report().moving, "{dialect}: finished while something moved");
        assert!(pair.now.0 >= pair.report().motion_ended_at, "{dialect}");
        assert!(pair.now.0 > 50_000_000, "{dialect}: sixty seconds of motion in {} us", pair.now.0);
    }
}

#[test]
fn the_executed_count_never_runs_ahead_of_the_machine() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &Setup { speed: 5.0, ..setup() });
        pair.start((0..60).map(|step| format!("G1 X{} F1200", if step % 2 == 0 { 20 } else { 0 })).collect());
        while pair.session.snapshot().job.is_some_and(|job| !job.phase.is_over()) {
            pair.step();
            let waiting = pair.report().moving;
            let progress = pair.progress();
            assert!(progress.executed <= progress.accepted && progress.accepted <= progress.sent, "{dialect}");
            assert!(!waiting || progress.executed < 60, "{dialect}: all executed, yet it moves");
        }
    }
}

#[test]
fn a_held_job_stands_still_and_goes_on_where_it_was() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        let lines: Vec<_> = (0..40).map(|step| format!("G1 X{} F3000", if step % 2 == 0 { 20 } else { 0 })).collect();
        pair.start(lines.clone());
        pair.run_for(Duration::from_secs(4));
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        assert_eq!(pair.session.state(), State::Holding, "{dialect}");
        pair.run_until(|pair| pair.session.state() == State::Held);
        let stood = pair.report().position_mm;
        pair.run_for(Duration::from_secs(30));
        assert_eq!(pair.report().position_mm, stood, "{dialect}: it moved while held");
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.executed(), commands(&lines), "{dialect}");
    }
}

#[test]
fn a_report_of_the_hold_that_was_still_on_its_way_is_no_new_pause() {
    let slow = LineSpeed { baud: 115_200, latency: Duration::from_millis(30) };
    for offset in (0..200).step_by(5) {
        let mut pair = Pair::new("grbl", &setup(), slow, Faults::default(), 1);
        pair.connect();
        pair.start((0..400).map(|step| format!("G1 X{} F3000", if step % 2 == 0 { 20 } else { 0 })).collect());
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Held);
        pair.run_for(Duration::from_millis(offset));
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        pair.run_for(Duration::from_secs(2));
        assert!(pair.notices().is_empty(), "resumed {offset} ms after the hold: {:?}", pair.notices());
        assert_eq!(pair.session.state(), State::Running);
    }
}

#[test]
fn a_cancelled_job_is_made_safe_before_it_is_over() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.start((0..200).map(|step| format!("G1 X{} F3000", if step % 2 == 0 { 20 } else { 0 })).collect());
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        assert_eq!(pair.session.state(), State::Stopping, "{dialect}");
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{dialect}");
        let executed = pair.executed();
        let safe_end: &[&str] =
            if is_printer(dialect) { &["M104 S0", "M140 S0", "M107", "M84"] } else { &["M5", "M9"] };
        assert_eq!(&executed[executed.len() - safe_end.len()..], safe_end, "{dialect}");
        assert!(executed.len() < 100, "{dialect}: it ran on for {} lines", executed.len());
        assert_eq!(pair.ask(Request::Cancel), Err(Denied::NoJob), "{dialect}");
    }
}

#[test]
fn an_emergency_stop_latches_until_a_person_clears_it() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.start((0..200).map(|step| format!("G1 X{} F600", if step % 2 == 0 { 20 } else { 0 })).collect());
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.ask(Request::Stop), Ok(()));
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}");
        // RepRapFirmware's M112 waits for the line in front of it.
        pair.run_for(Duration::from_millis(if dialect == PING_PONG { 60_000 } else { 100 }));
        assert!(!pair.report().moving, "{dialect}");
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{dialect}");
        pair.run_for(Duration::from_secs(60));
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}: nobody cleared it");
        let job = drivers::request::Job { id: "next".into(), lines: 1, from_line: 1 };
        assert_eq!(pair.ask(Request::Start(job)), Err(Denied::Alarm), "{dialect}");
        pair.machine.reset(pair.now);
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}: a restart is no person");
        assert_eq!(pair.ask(Request::Clear), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Idle);
    }
}

#[test]
fn a_refused_line_holds_the_job_and_is_named() {
    let mut pair = connected("grbl", &Setup { refuse_line: Some(20), speed: 20.0, ..setup() });
    pair.start(program(60, 3));
    assert_eq!(pair.run_job(), JobPhase::Held);
    assert!(pair.notices()[0].contains("grbl.error.33"), "{:?}", pair.notices());
    assert!(pair.notices()[0].contains("line "), "{:?}", pair.notices());
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Idle);
    assert_eq!(pair.progress().phase, JobPhase::Cancelled);
}

#[test]
fn a_board_that_restarts_fails_the_job_and_says_where() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.start(program(4_000, 5));
        pair.run_for(Duration::from_secs(20));
        let executed = pair.report().executed;
        pair.machine.reset(pair.now);
        assert_eq!(pair.run_job(), JobPhase::Failed, "{dialect}");
        pair.run_for(Duration::from_secs(60));
        assert!(
            pair.notices().iter().any(|notice| ["machine.restarted", ".alarm.3", "machine.halted"]
                .iter()
                .any(|code| notice.contains(code))),
            "{:?}",
            pair.notices()
        );
        assert!(pair.report().executed <= executed + 1, "{dialect}: lines ran after the restart");
    }
}

#[test]
fn a_machine_that_halts_fails_the_job_with_its_own_reason() {
    let reasons = [
        ("marlin", "kill() called"),
        ("repetier", "Heater/sensor error"),
        ("reprapfirmware", "Emergency Stop"),
        ("klipper", "MCU 'mcu' shutdown: Timer too close"),
    ];
    for (dialect, reason) in reasons {
        let mut pair = connected(dialect, &setup());
        pair.start(program(4_000, 5));
        pair.run_for(Duration::from_secs(20));
        pair.machine.happen(pair.now, Incident::Limit);
        assert_eq!(pair.run_job(), JobPhase::Failed, "{dialect}");
        pair.run_for(Duration::from_secs(2));
        let told = pair.events.iter().find_map(|event| match &event.kind {
            EventKind::Job { phase: JobPhase::Failed, notice, .. } => notice.clone(),
            _ => None,
        });
        let told = told.expect("a notice");
        assert_eq!(told.code, "machine.halted", "{dialect}");
        assert!(told.happened.contains(reason), "{dialect}: {}", told.happened);
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}");
    }
}

#[test]
fn a_machine_that_halts_and_says_no_reason_fails_the_job_all_the_same() {
    let mut pair = connected("klipper", &setup());
    pair.start(program(4_000, 5));
    pair.run_for(Duration::from_secs(20));
    pair.connected = false;
    pair.hand(Input::Bytes(b"// Klipper state: Shutdown\n"));
    assert_eq!(pair.run_job(), JobPhase::Failed);
    pair.run_for(Duration::from_secs(2));
    assert!(pair.notices().iter().any(|notice| notice.contains("Shutdown")), "{:?}", pair.notices());
}

#[test]
fn another_machine_than_configured_is_never_sent_a_job_and_is_named() {
    for configured in DIALECTS {
        for real in DIALECTS.into_iter().filter(|real| *real != configured) {
            // With and without a banner: a board that is not reset when its port is opened says nothing by itself.
            for banner in [true, false] {
                let mut pair = Pair::new(configured, &setup(), usual_line(), Faults::default(), 1);
                pair.machine = drivers::sim::simulated(real, &setup()).unwrap();
                pair.connected = true;
                if banner {
                    pair.machine.reset(pair.now);
                }
                pair.session.handle(pair.now, drivers::session::Input::LinkUp { may_reset: banner });
                pair.run_until(|pair| pair.session.state() == State::Attention);
                let job = drivers::request::Job { id: "job".into(), lines: 1, from_line: 1 };
                assert_eq!(pair.ask(Request::Start(job)), Err(Denied::WrongMachine));
                let notice = &pair.notices()[0];
                assert!(notice.contains("machine.wrong"), "{configured}, really {real}: {notice}");
                assert!(notice.contains(&format!("speaks {real};")), "{configured}, really {real}: {notice}");
                assert_eq!(pair.report().executed, 0);
                assert!(pair.now.0 < 15_000_000, "{configured}, really {real}: known after {} us", pair.now.0);
            }
        }
    }
}

#[test]
fn the_buffers_of_a_machine_are_as_large_as_it_says() {
    for (dialect, bytes, blocks) in [("grbl", 128, 15), ("grblhal", 1024, 16), ("fluidnc", 256, 15)] {
        let mut pair = connected(dialect, &setup());
        pair.run_for(Duration::from_secs(1));
        let identity = pair.session.snapshot().identity.expect("an identity");
        assert_eq!(identity.receive_buffer_bytes, Some(bytes), "{dialect}");
        assert_eq!(identity.planner_blocks, Some(blocks), "{dialect}");
    }
}

#[test]
fn a_tool_change_by_hand_waits_for_a_person() {
    let mut pair = connected("grblhal", &setup());
    pair.start(["G1 X5 F600", "M6 T2", "G1 X10"].map(str::to_owned).into());
    pair.run_until(|pair| pair.session.state() == State::Attention);
    pair.run_for(Duration::from_secs(300));
    assert_eq!(pair.executed(), ["G1X5F600", "M6T2"], "nothing crossed the tool change");
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
}

#[test]
fn a_machine_that_falls_silent_holds_the_job() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &Setup { silent_after: Some(50), speed: 100.0, ..setup() });
        pair.start(program(400, 5));
        pair.run_until(|pair| {
            matches!(pair.session.state(), State::Held | State::Holding)
                || pair.session.snapshot().job.is_some_and(|job| job.phase.is_over())
        });
        assert_eq!(pair.progress().phase, JobPhase::Held, "{dialect}");
        assert!(!pair.notices().is_empty(), "{dialect}");
    }
}

#[test]
fn every_line_of_a_resend_storm_runs_once() {
    for (dialect, ok_after_resend, advanced_ok) in [
        ("marlin", true, true),
        ("marlin", true, false),
        ("marlin", false, true),
        ("marlin", false, false),
        ("smoothieware", false, false),
        ("repetier", true, false),
    ] {
        {
            let setup = Setup { resend_permille: 50, ok_after_resend, advanced_ok, speed: f64::INFINITY, ..setup() };
            let mut pair = connected(dialect, &setup);
            let program = program(2_000, 11);
            pair.start(program.clone());
            assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
            assert_eq!(pair.executed(), commands(&program), "{dialect}");
            assert!(pair.progress().resends > 20);
            assert_eq!(pair.report().violations, Vec::<String>::new());
        }
    }
}

#[test]
fn a_program_that_waits_for_a_person_goes_on_when_one_says_so() {
    for dialect in WAITING {
        let mut pair = connected(dialect, &Setup { speed: 20.0, ..setup() });
        let lines: Vec<String> = ["G1 X5 F600", "M0", "G1 X10"].map(str::to_owned).into();
        pair.start(lines);
        pair.run_until(|pair| pair.session.state() == State::Attention);
        pair.run_for(Duration::from_secs(300));
        assert_eq!(pair.session.state(), State::Attention, "{dialect}");
        assert_eq!(pair.report().executed, u64::from(dialect != "marlin") + 1, "{dialect}: nothing crossed M0");
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.executed(), ["G1X5F600", "M0", "G1X10"], "{dialect}");
    }
}

#[test]
fn a_long_dwell_is_no_lost_answer() {
    for (dialect, dwell) in [("marlin", "G4 S90"), ("grbl", "G4 P90"), ("grblhal", "G4 P90"), ("fluidnc", "G4 P90")] {
        let mut pair = connected(dialect, &setup());
        pair.start(vec!["G1 X5 F600".into(), dwell.into(), "G1 X10".into()]);
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn words_that_heat_without_being_called_so_passed_the_interlock() {
    for (dialect, line) in [
        ("marlin", "M303 E0 S400 C8"),
        ("marlin", "M303 E-1 S200"),
        ("reprapfirmware", "G10 P0 S400 R100"),
        ("reprapfirmware", "M568 P0 S100 R400"),
    ] {
        let mut pair = connected(dialect, &setup());
        pair.start(vec!["G1 X5 F600".into(), line.into()]);
        pair.run_until(|pair| pair.session.state() == State::Held);
        assert!(pair.notices()[0].contains("interlock.too_hot"), "{line}: {:?}", pair.notices());
    }
}

#[test]
fn a_line_the_interlock_refuses_is_never_sent_nor_skipped() {
    let mut pair = connected("marlin", &setup());
    pair.start(vec!["G1 X5 F600".into(), "M104 S900".into(), "G1 X10".into()]);
    pair.run_until(|pair| pair.session.state() == State::Held);
    assert!(pair.notices()[0].contains("interlock.too_hot"), "{:?}", pair.notices());
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Held);
    assert_eq!(pair.executed(), ["G1X5F600"]);
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Idle);
}

#[test]
fn the_wire_is_never_idle_while_the_machine_could_take_more() {
    // The bound is bytes over the line's own rate; the machine takes no time at all.
    for dialect in DIALECTS.into_iter().filter(|dialect| *dialect != PING_PONG) {
        let mut pair = connected(dialect, &Setup { speed: f64::INFINITY, ..setup() });
        let program = program(5_000, 13);
        pair.start(program);
        let started = pair.now;
        pair.run_until(|pair| pair.session.snapshot().job.is_some_and(|job| job.accepted >= 4_000));
        let seconds = pair.now.since(started).as_secs_f64();
        let bytes = pair.progress().bytes as f64;
        let share = bytes / (seconds * 11_520.0);
        assert!(share > 0.97, "{dialect}: {:.1} % of the line", share * 100.0);
    }
}

#[test]
fn heating_is_shown_while_it_lasts() {
    let mut pair = connected("marlin", &Setup { speed: 20.0, ..setup() });
    pair.start(vec!["M109 S200".into(), "G1 X10 F600".into()]);
    pair.run_for(Duration::from_secs(3));
    let snapshot = pair.session.snapshot();
    let tool = snapshot.temperatures.iter().find(|heater| heater.heater == "tool0").expect("a tool");
    assert_eq!(tool.heater, "tool0");
    assert_eq!(pair.run_job(), JobPhase::Finished);
}

#[test]
fn opening_a_line_twice_at_full_speed_gives_the_same_result() {
    let run = || {
        let mut pair = Pair::new("grbl", &setup(), LineSpeed::default(), Faults::default(), 5);
        pair.connect();
        pair.start(program(500, 1));
        pair.run_job();
        (pair.report(), pair.now)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_machine_that_pauses_while_its_job_is_being_ended_keeps_nobody_waiting() {
    for dialect in ["grbl", "grblhal"] {
        let mut profile = support::profile(dialect);
        // As noise makes it of `M5`.
        profile.safety.safe_end = vec!["M0".into(), "M5".into()];
        let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
        pair.connect();
        pair.start(program(200, 1));
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        pair.run_until(|pair| pair.progress().phase.is_over());
        assert_eq!((pair.progress().phase, pair.session.state()), (JobPhase::Cancelled, State::Held), "{dialect}");
        assert_eq!(
            pair.session.snapshot().notice.map(|notice| notice.code).as_deref(),
            Some("machine.waits_for_person")
        );
        assert_eq!(pair.ask(Request::Resume), Ok(()), "a person has looked at it");
        pair.run_until(|pair| pair.session.state() == State::Idle);
    }
}

#[test]
fn answers_to_questions_put_too_early_answer_no_line_of_a_job() {
    let mut pair = Pair::new("marlin", &setup(), LineSpeed::default(), Faults::default(), 1);
    let at = |milliseconds: u64| Moment(milliseconds * 1000);
    pair.session.handle(at(0), Input::LinkUp { may_reset: false });
    for milliseconds in [1_500, 3_000] {
        pair.session.handle(at(milliseconds), Input::Time);
    }
    // Three questions have waited in the machine; it answers them one after the other.
    let identity = b"FIRMWARE_NAME:Marlin 2.1.2 SOURCE_CODE_URL:x PROTOCOL_VERSION:1.0 MACHINE_TYPE:Late\nok\n";
    pair.session.handle(at(3_100), Input::Bytes(identity));
    assert!(!pair.session.is_ready(), "two answers are still to come");
    pair.session.handle(at(3_150), Input::Bytes(b"echo:Unknown command: \"$I\"\nok\n"));
    pair.session.handle(at(3_200), Input::Bytes(identity));
    assert!(pair.session.is_ready());
    // What was lost before the machine listened is not waited for.
    pair.session.handle(at(4_000), Input::LinkDown(Notice::new("link.lost", "", "", "")));
    pair.session.handle(at(5_000), Input::LinkUp { may_reset: false });
    pair.session.handle(at(6_500), Input::Time);
    pair.session.handle(at(6_600), Input::Bytes(identity));
    pair.session.handle(at(7_200), Input::Time);
    assert!(pair.session.is_ready());
}

#[test]
fn a_job_that_was_paused_before_its_line_counter_was_set_goes_on() {
    let mut pair = connected("marlin", &setup());
    pair.start(program(50, 1));
    assert_eq!(pair.ask(Request::Pause), Ok(()));
    // What sets the counter is lost, and the machine is asked what it waits for meanwhile.
    pair.step();
    pair.to_machine.cut(pair.now);
    pair.run_until(|pair| pair.session.state() == State::Held);
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
}

#[test]
fn a_request_for_an_old_line_while_a_job_is_held_at_its_end_does_not_keep_it_there() {
    let mut pair = connected("marlin", &setup());
    let program = ["G21", "G90", "G1 F600", "G1 X20", "G1 X0"].map(str::to_owned).to_vec();
    pair.start(program.clone());
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.progress().accepted, 5, "only the end of motion is waited for");
    assert_eq!(pair.ask(Request::Pause), Ok(()));
    // The number was damaged on its way: it asks for one that it has.
    pair.hand(Input::Bytes(b"Resend: 4\n"));
    pair.run_until(|pair| pair.session.state() == State::Held);
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert_eq!(pair.executed(), commands(&program));
}

#[test]
fn a_doubled_answer_does_not_make_an_earlier_question_prove_the_end_of_motion() {
    for dialect in ["marlin", "klipper"] {
        for moves in 10..40 {
            let mut pair = connected(dialect, &setup());
            let mut program = vec!["G1 F6000".to_owned()];
            program.extend((0..moves).map(|step| format!("G1 X{}", if step % 2 == 0 { 12 } else { 0 })));
            pair.start(program);
            pair.run_for(Duration::from_millis(200));
            pair.hand(Input::Bytes(b"ok\n"));
            assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}, {moves} moves: {:?}", pair.notices());
            assert!(!pair.report().moving, "{dialect}, {moves} moves: finished while it moved");
        }
    }
}
