//! What the agent says of a machine is true: the link's cause of trouble, the protection level, who is on the port, age.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::doctor::{Surroundings, diagnose};
use drivers::profile::Profile;
use drivers::session::Input;
use drivers::sim::{Faults, Incident, Line, LineSpeed, Setup};
use drivers::snapshot::{JobPhase, Protection, Quality};
use drivers::{Denied, Moment, Notice, Request, State};
use gcode_tools::resume::{self, Evidence};
use support::{Pair, program, setup, usual_line};

fn pair(dialect: &str, setup: &Setup, faults: Faults) -> Pair {
    let mut pair = Pair::new(dialect, setup, usual_line(), faults, 7);
    pair.connect();
    pair
}

fn cause(pair: &Pair) -> Option<Notice> {
    let snapshot = pair.session.snapshot();
    diagnose(&snapshot.job_link, snapshot.identity.is_some(), Surroundings::default())
}

fn code(pair: &Pair) -> String {
    cause(pair).map_or_else(|| format!("none: {:?}", pair.session.snapshot().job_link), |notice| notice.code)
}

#[test]
fn a_clean_job_has_no_cause_of_trouble() {
    for dialect in ["marlin", "grbl"] {
        let mut pair = pair(dialect, &setup(), Faults::default());
        pair.start(program(600, 1));
        assert_eq!(pair.run_job(), JobPhase::Finished);
        assert_eq!(cause(&pair), None, "{dialect}");
        assert!(pair.session.snapshot().link_trouble.is_none(), "{dialect}");
    }
}

#[test]
fn noise_is_named_and_says_what_went_on_at_the_time() {
    let mut pair = pair("marlin", &setup(), Faults::default());
    // What is asked at connect is on its way still, and would be lost with the line.
    pair.run_for(Duration::from_secs(1));
    let faults = Faults { flip: 6e-4, ..Faults::default() };
    pair.to_machine = Line::new(usual_line(), faults, 11);
    pair.to_host = Line::new(usual_line(), faults, 12);
    pair.start(program(1_000, 1));
    pair.run_job();
    assert_eq!(code(&pair), "link.noise");
    let trouble = pair.session.snapshot().link_trouble.unwrap();
    assert!(trouble.program_line.is_some() && !trouble.temperatures_c.is_empty(), "{trouble:?}");
}

#[test]
fn noise_that_comes_with_the_spindle_blames_the_spindle() {
    let mut pair = pair("grbl", &setup(), Faults::default());
    let mut lines = program(400, 1);
    lines.push("M3 S900".to_owned());
    let with_spindle = lines.len() as u64;
    lines.extend(program(1_500, 2));
    pair.start(lines);
    pair.run_until(|pair| pair.progress().executed_line > with_spindle);
    pair.to_host = Line::new(usual_line(), Faults { flip: 3e-3, ..Faults::default() }, 5);
    pair.run_until(|pair| {
        pair.session.snapshot().job_link.damaged_heard > 8 || pair.progress().phase != JobPhase::Running
    });
    assert_eq!(code(&pair), "link.noise_spindle");
    assert!(pair.session.snapshot().link_trouble.unwrap().spindle.unwrap() > 0.0);
}

#[test]
fn a_receive_buffer_smaller_than_the_profile_says_is_named() {
    let small = Setup { receive_buffer_bytes: 48, ..setup() };
    let mut profile = support::profile("marlin");
    (profile.stream.window_lines, profile.stream.receive_buffer_bytes) = (Some(16), Some(400));
    let mut pair = Pair::with_profile(profile, &small, usual_line(), Faults::default(), 7);
    pair.connect();
    pair.start(program(600, 1));
    pair.run_job();
    assert!(pair.report().overflow > 0);
    assert_eq!(code(&pair), "link.buffer_overflow");
}

#[test]
fn a_grbl_that_tells_its_buffer_is_believed_more_than_a_profile_that_says_more() {
    let mut profile = support::profile("grbl");
    profile.stream.receive_buffer_bytes = Some(1024);
    let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 7);
    pair.connect();
    pair.start(program(600, 1));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    assert_eq!(pair.report().overflow, 0);
}

#[test]
fn a_grbl_whose_buffer_is_smaller_than_it_says_gave_no_hint_of_that() {
    // Short moves, so that much is on its way.
    let lines: Vec<String> = (0..3_000).map(|step| format!("G1 X{}.{:03} F600", step % 7, step % 1000)).collect();
    let lying = Setup { claimed_buffer_bytes: Some(1024), ..setup() };
    let mut pair = pair("grbl", &lying, Faults::default());
    pair.start(lines.clone());
    for _ in 0..20 {
        pair.run_until(|pair| pair.session.state() == State::Held || pair.progress().phase.is_over());
        if pair.notices().iter().any(|notice| notice.contains("link.buffer_overflow")) {
            break;
        }
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        pair.run_for(Duration::from_secs(1));
    }
    assert!(pair.report().overflow > 0);
    assert_eq!(code(&pair), "link.buffer_overflow");
    let told = pair.notices().join("\n");
    assert!(
        told.contains("1024 bytes that it")
            && told.contains("because 1024 bytes")
            && told.contains("at most 127 bytes"),
        "{told}"
    );
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    pair.run_until(|pair| pair.progress().phase.is_over());
    pair.run_until(|pair| pair.session.state() == State::Idle);
    // The next job is within the usual size, whatever is said.
    let overflow = pair.report().overflow;
    pair.start(program(600, 1));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert_eq!(pair.report().overflow, overflow);
}

#[test]
fn a_computer_that_is_late_is_named() {
    let mut pair = pair("grbl", &setup(), Faults::default());
    pair.start(program(2_000, 1));
    for _ in 0..5 {
        pair.run_for(Duration::from_millis(700));
        pair.now = pair.now + Duration::from_millis(900);
        pair.step();
    }
    assert_eq!(code(&pair), "link.late_host");
    assert!(pair.session.snapshot().job_link.late_host_max_ms >= 500);
}

/// What a receiver hears of text that is said at another baud rate: a start bit where the line falls, eight bits at its own
/// pace, and a zero where no stop bit follows, which ends when the line is at rest again.
fn heard_at(text: &[u8], said_baud: f64, heard_baud: f64) -> Vec<u8> {
    let mut line = vec![true; 20];
    for byte in text {
        line.push(false);
        line.extend((0..8).map(|bit| byte >> bit & 1 == 1));
        line.push(true);
    }
    let (bit, end) = (said_baud / heard_baud, line.len() as f64);
    let high = |at: f64| line.get(at as usize).copied().unwrap_or(true);
    let (mut at, mut heard) = (0.0, Vec::new());
    while at < end {
        if high(at) || high(at + bit / 2.0) {
            at += bit / 16.0;
            continue;
        }
        let byte = (0..8).fold(0, |byte, place| byte | u8::from(high(at + bit * (1.5 + f64::from(place)))) << place);
        let stopped = high(at + bit * 9.5);
        heard.push(if stopped { byte } else { 0 });
        at += bit * 9.5;
        while at < end && !stopped && !high(at) {
            at += bit / 16.0;
        }
    }
    heard
}

#[test]
fn a_wrong_baud_rate_is_named() {
    let greetings: [(&str, &[u8]); 2] = [
        ("grbl", b"\r\nGrbl 1.1h ['$' for help]\r\n[MSG:'$H'|'$X' to unlock]\r\n"),
        ("marlin", b"start\necho:Marlin 2.1.2\necho: Last Updated: 2024-07-01 | Author: (none, default config)\n"),
    ];
    let bauds = [57_600.0, 115_200.0, 230_400.0, 250_000.0];
    for (dialect, greeting) in greetings {
        let greeting = greeting.repeat(3);
        assert_eq!(heard_at(&greeting, 115_200.0, 115_200.0), greeting, "the model hears what is said");
        for said in bauds {
            for heard in bauds.into_iter().filter(|heard| *heard != said) {
                let mut pair = Pair::new(dialect, &setup(), LineSpeed::default(), Faults::default(), 1);
                pair.session.handle(pair.now, Input::LinkUp { may_reset: false });
                pair.session.handle(pair.now, Input::Bytes(&heard_at(&greeting, said, heard)));
                let snapshot = pair.session.snapshot();
                let notice = diagnose(&snapshot.link, snapshot.identity.is_some(), Surroundings::default());
                let code = notice.map(|notice| notice.code);
                assert_eq!(code.as_deref(), Some("link.wrong_baud"), "{dialect} at {said}, heard at {heard}");
            }
        }
    }
}

#[test]
fn every_dialect_says_what_is_wrong_with_a_noisy_wire() {
    for dialect in ["marlin", "repetier", "smoothieware", "grbl", "grblhal", "fluidnc"] {
        let mut pair = pair(dialect, &setup(), Faults::default());
        pair.run_for(Duration::from_secs(1));
        let faults = Faults { flip: 6e-4, drop: 2e-4, ..Faults::default() };
        pair.to_machine = Line::new(usual_line(), faults, 11);
        pair.to_host = Line::new(usual_line(), faults, 12);
        pair.start(program(2_000, 1));
        for _ in 0..300 {
            pair.run_for(Duration::from_secs(1));
            if cause(&pair).is_some() {
                break;
            }
            let _ = pair.ask(Request::Resume);
        }
        assert_eq!(code(&pair), "link.noise", "{dialect}");
    }
}

fn hazard(pair: &Pair, hazard: &str) -> Protection {
    let protection = pair.session.snapshot().protection;
    protection.iter().find(|known| known.hazard == hazard).unwrap_or_else(|| panic!("{hazard}: {protection:?}")).clone()
}

#[test]
fn the_machine_is_asked_at_connect_what_protects_it() {
    for (laser_mode, protected) in [(true, true), (false, false)] {
        let profile = Profile::named("grbl-laser-400").unwrap();
        let setup = Setup { laser_mode, ..setup() };
        let mut pair = Pair::with_profile(profile, &setup, usual_line(), Faults::default(), 1);
        pair.connect();
        pair.run_for(Duration::from_secs(2));
        assert_eq!(hazard(&pair, "laser").protected, protected);
        assert!(hazard(&pair, "laser").because.contains("$32"));
        assert!(hazard(&pair, "motion").protected);
        pair.session.handle(pair.now, Input::LinkDown(Notice::new("link.lost", "", "", "")));
        assert!(pair.session.snapshot().protection.is_empty(), "nothing is known of a machine that is not there");
    }
}

#[test]
fn the_firmwares_timer_is_armed_only_where_the_profile_asks_for_it() {
    for (inactivity_s, protected) in [(None, false), (Some(1800), true)] {
        let mut profile = Profile::named("ender3").unwrap();
        profile.safety.inactivity_s = inactivity_s;
        let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
        pair.record(1 << 20);
        pair.connect();
        pair.run_for(Duration::from_secs(5));
        assert_eq!(hazard(&pair, "heaters").protected, protected);
        assert_eq!(pair.recording().contains("say M85 S1800"), protected);
        assert_eq!(pair.notices(), Vec::<String>::new());
    }
}

#[test]
fn a_second_machine_of_the_same_kind_on_the_port_is_sent_nothing_until_a_person_says_so() {
    let mut pair = Pair::new("marlin", &setup(), LineSpeed::default(), Faults::default(), 1);
    let mut now = Moment::ZERO;
    let mut meet = |pair: &mut Pair, name: &str| {
        now = now + Duration::from_secs(10);
        pair.session.handle(now, Input::LinkUp { may_reset: false });
        let said =
            format!("FIRMWARE_NAME:Marlin 2.1.2 SOURCE_CODE_URL:x PROTOCOL_VERSION:1.0 MACHINE_TYPE:{name}\nok\n");
        pair.session.handle(now, Input::Bytes(said.as_bytes()));
        let said = format!(
            "FIRMWARE_NAME:Marlin 2.1.2 SOURCE_CODE_URL:x PROTOCOL_VERSION:1.0 MACHINE_TYPE:{name}\nok\nok\nok\n"
        );
        pair.session.handle(now + Duration::from_secs(1), Input::Bytes(said.as_bytes()));
        pair.now = now + Duration::from_secs(1);
    };
    meet(&mut pair, "Left");
    assert!(pair.session.is_ready());
    pair.session.handle(pair.now, Input::LinkDown(Notice::new("link.lost", "", "", "")));
    meet(&mut pair, "Left");
    assert!(pair.session.is_ready(), "the same machine is welcome back");
    pair.session.handle(pair.now, Input::LinkDown(Notice::new("link.lost", "", "", "")));
    meet(&mut pair, "Right");
    let snapshot = pair.session.snapshot();
    assert_eq!((snapshot.state, snapshot.notice.unwrap().code.as_str()), (State::Attention, "machine.swapped"));
    assert_eq!(pair.try_start(program(10, 1)), Err(Denied::WrongMachine));
    assert_eq!(pair.ask(Request::Clear), Ok(()), "a person says that it is meant to be here");
    meet(&mut pair, "Right");
    assert!(pair.session.is_ready());
}

#[test]
fn nothing_is_known_before_the_machine_has_said_it_and_what_is_known_grows_old() {
    let mut pair = Pair::new("grbl", &setup(), usual_line(), Faults::default(), 1);
    let unknown = pair.session.snapshot();
    assert!(unknown.position_mm.is_none() && unknown.identity.is_none() && unknown.protection.is_empty());
    pair.connect();
    let fresh = pair.session.snapshot();
    assert_eq!(fresh.position_mm.unwrap().quality, Quality::Good);
    // The machine falls silent: nothing that it said is good for ever.
    pair.session.handle(pair.now + Duration::from_secs(30), Input::Time);
    assert_eq!(pair.session.snapshot().position_mm.unwrap().quality, Quality::Stale);
    pair.session.handle(pair.now + Duration::from_secs(31), Input::LinkDown(Notice::new("link.lost", "", "", "")));
    assert_eq!(pair.session.snapshot().position_mm.unwrap().quality, Quality::Uncertain);
    pair.session.handle(pair.now + Duration::from_secs(32), Input::LinkUp { may_reset: true });
    assert!(pair.session.snapshot().position_mm.is_none(), "the board may have restarted: where it stands is unknown");
}

/// Runs a program until it fails in its middle, and then the rest of it on a machine of its own.
fn goes_on(dialect: &str, program: &[&str], tried: u64, kept: bool) -> (Pair, Pair) {
    let text = program.join("\n");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let profile = support::profile(dialect);
    let mut whole = Pair::with_profile(profile.clone(), &setup(), usual_line(), Faults::default(), 1);
    whole.connect();
    whole.start(lines(&text));
    whole.run_until(|pair| pair.progress().executed_line >= tried);
    // What the machine would answer now: the session's own reading is as old as its last question.
    let position_mm = Some(whole.report().position_mm);
    let evidence = Evidence { executed_line: whole.progress().executed_line, position_mm, position_kept: kept };
    let plan = resume::plan(text.as_bytes(), &profile, &evidence).unwrap_or_else(|why| panic!("{why:?}"));
    assert_eq!(whole.run_job(), JobPhase::Finished);
    let mut rest = plan.lead_in;
    rest.extend(lines(&text).into_iter().skip(plan.from_line as usize - 1));
    let mut again = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 2);
    again.connect();
    again.start(rest);
    assert_eq!(again.run_job(), JobPhase::Finished, "{:?}", again.notices());
    (whole, again)
}

#[test]
fn the_rest_of_a_failed_program_ends_where_the_whole_program_ends() {
    let mut part = vec!["G21 G90 G17", "M3 S9000", "G0 X0 Y0 Z5", "G1 Z-1 F600", "G1 X20 F3000"];
    part.extend(["Y20", "X0", "Y0", "X20"].repeat(20));
    part.extend(["G0 Z5", "M5", "M2"]);
    let (whole, again) = goes_on("grbl", &part, 45, false);
    assert_eq!(again.report().position_mm, whole.report().position_mm);
    assert!(again.report().executed < whole.report().executed);
    let mut print = vec!["M104 S200", "M109 S200", "G28", "G21", "G90", "M83", "G1 Z0.2 F6000", "G1 X0 Y0 F6000"];
    print.extend(["G1 X20 E1 F6000", "G1 Y20 E1", "G1 X0 E1", "G1 Y0 E1"].repeat(20));
    print.extend(["M104 S0", "G1 Z50", "G1 X10 Y190"]);
    let (whole, again) = goes_on("marlin", &print, 14, true);
    assert_eq!(again.report().position_mm, whole.report().position_mm);
}

#[test]
fn a_machine_that_a_pulled_cable_left_in_a_hold_is_asked_nothing_that_would_fill_its_buffer() {
    for how in ["stop", "resume", "cycle start"] {
        let mut pair = pair("grbl", &setup(), Faults::default());
        pair.start(program(300, 1));
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Held);
        pair.unplug();
        pair.run_for(Duration::from_secs(1));
        let executed = pair.report().executed;
        pair.plug_in(false);
        pair.run_for(Duration::from_secs(300));
        let snapshot = pair.session.snapshot();
        assert_eq!((snapshot.state, snapshot.notice.unwrap().code.as_str()), (State::Attention, "machine.held_before"));
        assert_eq!((pair.report().overflow, pair.report().executed), (0, executed), "{how}");
        match how {
            "stop" => assert_eq!(pair.ask(Request::Stop), Ok(())),
            "resume" => assert_eq!(pair.ask(Request::Resume), Ok(())),
            _ => pair.machine.happen(pair.now, Incident::Resumed),
        }
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert_eq!(pair.report().executed == executed, how == "stop", "what was left ran only if somebody let it");
        assert!(pair.session.snapshot().notice.is_none());
    }
}

#[test]
fn a_printer_that_a_pulled_cable_left_moving_is_not_called_idle_before_it_stands() {
    for dialect in ["marlin", "reprapfirmware", "repetier", "klipper"] {
        let mut pair = pair(dialect, &setup(), Faults::default());
        let mut lines = vec!["G1 F600".to_owned()];
        lines.extend((0..60).map(|step| format!("G1 X{}", if step % 2 == 0 { 20 } else { 0 })));
        pair.start(lines);
        pair.run_for(Duration::from_secs(2));
        pair.unplug();
        pair.run_for(Duration::from_millis(200));
        pair.plug_in(false);
        pair.run_until(|pair| pair.session.state() == State::Unknown);
        assert!(pair.report().moving, "{dialect}");
        assert_eq!(pair.try_start(program(10, 1)), Err(Denied::NotReady), "{dialect}");
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert!(!pair.report().moving, "{dialect}");
    }
}

#[test]
fn a_printer_that_waits_for_a_person_since_before_a_pulled_cable_says_so_and_goes_on_when_told() {
    let mut pair = pair("marlin", &setup(), Faults::default());
    pair.start(["G1 X5 F3000", "M0", "G1 X0"].map(str::to_owned).into());
    pair.run_until(|pair| pair.session.state() == State::Attention);
    pair.unplug();
    pair.run_for(Duration::from_secs(1));
    pair.plug_in(false);
    pair.run_for(Duration::from_secs(3_600));
    let snapshot = pair.session.snapshot();
    assert_eq!((snapshot.state, snapshot.notice.unwrap().code.as_str()), (State::Attention, "machine.held_before"));
    assert_eq!(pair.report().overflow, 0, "its receive buffer is not filled with questions");
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Idle);
    assert_eq!(pair.executed(), ["G1X5F3000", "M0"]);
}

#[test]
fn a_mill_that_rests_with_its_spindle_on_since_before_the_agent_was_called_idle() {
    for dialect in ["grbl", "grblhal", "fluidnc"] {
        for how in ["stop", "clear", "M5"] {
            let mut pair = pair(dialect, &setup(), Faults::default());
            pair.start(["M3 S9000", "G1 X20 F6000", "G1 X0", "G1 X20"].map(str::to_owned).into());
            pair.run_until(|pair| pair.session.snapshot().spindle.is_some_and(|spindle| spindle.value > 0.0));
            pair.unplug();
            pair.run_for(Duration::from_secs(5));
            pair.plug_in(false);
            pair.run_until(|pair| pair.session.state() == State::Attention);
            let executed = pair.report().executed;
            pair.run_for(Duration::from_secs(60));
            let notice = pair.session.snapshot().notice.unwrap();
            assert_eq!(
                (pair.session.state(), notice.code.as_str()),
                (State::Attention, "machine.spindle_on"),
                "{dialect}"
            );
            assert!(notice.happened.contains("spindle has been on (S9000)"), "{notice}");
            assert_eq!(pair.try_start(program(10, 1)), Err(Denied::Attention));
            assert_eq!(pair.report().executed, executed, "{dialect}: it was told something");
            let told = pair.notices().iter().filter(|told| told.contains("machine.spindle_on")).count();
            assert_eq!(told, 1, "it is said once");
            match how {
                "stop" => {
                    assert_eq!(pair.ask(Request::Stop), Ok(()));
                    assert_eq!(pair.ask(Request::Clear), Ok(()));
                }
                "clear" => assert_eq!(pair.ask(Request::Clear), Ok(())),
                // Somebody turns it off at the machine.
                _ => pair.machine.hear(pair.now, b"M5\n"),
            }
            pair.run_until(|pair| pair.session.state() == State::Idle);
            pair.run_for(Duration::from_secs(5));
            assert_eq!(pair.session.state(), State::Idle, "{dialect}, {how}");
            assert!(pair.session.snapshot().notice.is_none(), "{dialect}, {how}");
            let on = pair.session.snapshot().spindle.unwrap().value > 0.0;
            assert_eq!(on, how == "clear", "{dialect}, {how}");
            assert_eq!(pair.try_start(program(10, 1)), Ok(()));
        }
    }
}

#[test]
fn a_job_that_leaves_its_spindle_on_is_no_stranger() {
    let mut pair = pair("grbl", &setup(), Faults::default());
    pair.start(["M3 S9000", "G1 X20 F6000"].map(str::to_owned).into());
    assert_eq!(pair.run_job(), JobPhase::Finished);
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.session.state(), State::Idle);
}

#[test]
fn a_spindle_that_comes_to_speed_slowly_was_taken_for_lost_lines() {
    for dialect in ["grblhal", "fluidnc"] {
        let slow = Setup { spin_up_s: 20.0, ..setup() };
        let mut pair = pair(dialect, &slow, Faults::default());
        pair.start(std::iter::once("M3 S900".to_owned()).chain(program(60, 1)).chain(["M5".to_owned()]).collect());
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        assert_eq!(cause(&pair), None, "{dialect}");
        assert_eq!(pair.session.snapshot().job_link.answers_lost, 0, "{dialect}");
    }
}

#[test]
fn lines_lost_in_a_safe_end_were_counted_at_every_report() {
    let mut pair = pair("grbl", &setup(), Faults::default());
    pair.start(program(600, 1));
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    pair.run_until(|pair| pair.executed().iter().any(|line| line == "M5"));
    // Its answer is on its way, and never arrives.
    pair.to_host.cut(pair.now);
    pair.run_until(|pair| pair.session.snapshot().job.is_some_and(|job| job.phase.is_over()));
    let lost = pair.session.snapshot().job_link.answers_lost;
    assert!((1..10).contains(&lost), "{lost}");
}
