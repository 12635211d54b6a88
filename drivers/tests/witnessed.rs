//! What real firmware did otherwise than was believed (`docs/witnesses.md`), each as a test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::Request;
use drivers::sim::{Faults, Incident, LineSpeed, Setup};
use drivers::snapshot::JobPhase;
use support::{Pair, connected, long_program, program, setup, usual_line};

/// Marlin 2.0.9.7 with `ADVANCED_OK` answers M110 with `ok N0 P15 B3` and M105 with `ok T:…`, without a number.
#[test]
fn an_answer_to_m105_that_names_no_line_is_its_answer_all_the_same() {
    let fast = Setup { advanced_ok: true, speed: f64::INFINITY, ..setup() };
    let mut pair = Pair::new("marlin", &fast, usual_line(), Faults::default(), 1);
    pair.connect();
    let started = pair.now;
    let mut lines = program(100, 1);
    lines.insert(50, "M105".to_owned());
    pair.start(lines);
    pair.run_until(|pair| pair.progress().accepted > 60);
    assert!(pair.now.since(started) < Duration::from_secs(5), "no answer was waited for in vain");
    assert_eq!(pair.session.snapshot().link.answers_lost, 0);
    assert_eq!(pair.run_job(), JobPhase::Finished);
}

/// Found by reading Smoothieware and RepRapFirmware for the simulation: both take a line that has no checksum.
#[test]
fn half_a_line_left_by_a_pulled_cable_is_never_run() {
    for dialect in ["marlin", "smoothieware", "reprapfirmware", "repetier", "klipper", "grbl", "grblhal", "fluidnc"] {
        for after_ms in (300..360).step_by(5) {
            let mut pair = Pair::new(dialect, &setup(), usual_line(), Faults::default(), 1);
            pair.connect();
            let until = pair.now + Duration::from_millis(after_ms);
            let lines = program(60, 3);
            pair.start(lines.clone());
            pair.run_until(|pair| pair.now >= until);
            pair.unplug();
            pair.plug_in(false);
            pair.run_for(Duration::from_secs(60));
            let (ran, said) = (pair.executed(), support::commands(&lines));
            let foreign: Vec<_> = ran.iter().filter(|line| !said.contains(line)).collect();
            assert!(foreign.is_empty(), "{dialect} after {after_ms} ms: {foreign:?}");
        }
    }
}

/// Marlin answers what waits behind a full planner when that has room: long after it asked for a line again.
#[test]
fn answers_that_come_late_behind_a_full_planner_are_of_the_lines_before_the_resend() {
    for (advanced_ok, ok_after_resend) in [(false, true), (false, false), (true, true)] {
        let slow = Setup { speed: 20.0, advanced_ok, ok_after_resend, resend_permille: 60, ..setup() };
        let mut pair = Pair::new("marlin", &slow, usual_line(), Faults::default(), 1);
        pair.connect();
        let lines = program(150, 4);
        pair.start(lines.clone());
        pair.run_until(|pair| {
            let progress = pair.progress();
            let done = pair.machine.completed();
            assert!(progress.executed <= done, "{} were executed, not {}", done, progress.executed);
            progress.phase.is_over()
        });
        assert_eq!(pair.progress().phase, JobPhase::Finished);
        assert!(pair.progress().resends > 2);
        assert_eq!(pair.executed(), support::commands(&lines));
        assert_eq!(pair.report().overflow, 0);
        // Where none follows a request, an `ok` that comes at once is taken for a part of it: one is missed at the end.
        assert!(pair.session.snapshot().link.answers_lost <= u64::from(!ok_after_resend));
    }
}

/// Between two moves of a print stand temperatures, fans and messages: they take no place in the planner.
#[test]
fn the_executed_count_stays_behind_the_machine_where_lines_are_no_moves() {
    for (dialect, advanced_ok) in [("marlin", false), ("marlin", true), ("grbl", false), ("repetier", false)] {
        let slow = Setup { speed: 20.0, advanced_ok, ..setup() };
        let mut pair = Pair::new(dialect, &slow, usual_line(), Faults::default(), 1);
        pair.connect();
        let between = if support::is_printer(dialect) { ["M204 S500", "M73 P1"] } else { ["M8", "S300"] };
        let mut lines = Vec::new();
        for line in program(100, 5) {
            lines.push(line);
            lines.extend(between.map(str::to_owned));
        }
        pair.start(lines);
        pair.run_until(|pair| {
            let (progress, done) = (pair.progress(), pair.machine.completed());
            assert!(progress.executed <= done, "{dialect}: {done} were executed, not {}", progress.executed);
            progress.phase.is_over()
        });
        assert_eq!(pair.progress().phase, JobPhase::Finished, "{dialect}");
    }
}

/// OctoPrint's virtual printer leaves what is behind a refused line in its buffer: said again, each of those lines
/// was asked for once more, at 60 ms a line to the end of the program.
#[test]
fn lines_taken_behind_a_refused_one_bring_no_storm_of_requests() {
    for throws_lines_away in [false, true] {
        let keeps = Setup {
            flushes_on_resend: false,
            passes_over_repeats: false,
            throws_lines_away,
            resend_permille: 20,
            speed: f64::INFINITY,
            ..setup()
        };
        let mut pair = Pair::new("marlin", &keeps, usual_line(), Faults::default(), 1);
        pair.connect();
        let lines = program(1000, 4);
        pair.start(lines.clone());
        assert_eq!(pair.run_job(), JobPhase::Finished);
        let wanted = support::commands(&lines);
        if throws_lines_away {
            let mut rest = wanted.iter();
            assert!(pair.executed().iter().all(|line| rest.any(|next| next == line)), "nothing twice, all in order");
        } else {
            assert_eq!(pair.executed(), wanted);
        }
        let resends = pair.progress().resends;
        assert!((10..120).contains(&resends), "20 lines were refused, {resends} times a line was said again");
    }
}

/// Grbl 1.1h on its AVR: the line that waits for room in the planner when it is reset is answered in front of the banner.
#[test]
fn the_answer_to_a_line_that_a_cancel_dropped_is_no_other_hand() {
    for (dialect, paused_first) in [("grbl", false), ("grbl", true), ("grblhal", false), ("grblhal", true)] {
        let mut pair = connected(dialect, &setup());
        pair.start(long_program());
        pair.run_until(|pair| pair.progress().accepted > 14);
        pair.run_for(Duration::from_secs(1));
        if paused_first {
            assert_eq!(pair.ask(Request::Pause), Ok(()));
            pair.run_until(|pair| pair.session.state() == drivers::State::Held);
        }
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        assert_eq!(pair.run_job(), JobPhase::Cancelled);
        assert_eq!(pair.progress().unsure, None, "{:?}", pair.notices());
        assert_eq!(pair.session.snapshot().link.answers_extra, 0);
    }
}

/// Grbl 1.1h on its AVR moves on through `G90` behind a probing move that failed, half a second after it said why; Marlin
/// says "Home XYZ First" behind the error that halts it. Both took the place of the cause.
#[test]
fn what_a_machine_says_behind_its_alarm_does_not_take_the_place_of_the_cause() {
    let mut pair = connected("grbl", &Setup { probe_z_mm: -50.0, ..setup() });
    let probe = drivers::request::Probe { down_mm: 2.0, feed_mm_min: 200.0 };
    assert_eq!(pair.ask(Request::Probe(probe)), Ok(()));
    pair.run_until(|pair| pair.session.state() == drivers::State::Alarm);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.session.snapshot().notice.unwrap().code, "grbl.alarm.5");

    for says in ["echo:Home XYZ First", "Error:TMC connection error"] {
        let mut pair = connected("marlin", &setup());
        pair.machine.happen(pair.now, Incident::Limit);
        pair.run_until(|pair| pair.session.state() == drivers::State::Alarm);
        pair.machine.happen(pair.now, Incident::Says(says));
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.session.snapshot().notice.unwrap().code, "machine.halted", "{says}");
    }
}

/// Marlin with `HOST_PROMPT_SUPPORT` asks at M0 with a menu of one answer, says only two seconds later that it is paused for
/// a person, and never says that the menu is over (`M0_M1.cpp`). "Resume" in those two seconds was taken and did nothing,
/// and the question stood over the end of the job and in the next one.
#[test]
fn the_menu_of_an_m0_is_answered_as_soon_as_it_is_shown_and_is_over_with_its_line() {
    for (word, cancels) in [("M0", false), ("M1", false), ("M0", true)] {
        let mut pair = connected("marlin", &Setup { prompts_at_m0: true, ..setup() });
        let lines = support::strings(&["G1 X10 F1200", word, "G1 X20", "G1 X30"]);
        pair.start(lines.clone());
        pair.run_until(|pair| pair.session.snapshot().asked.is_some());
        assert_eq!(pair.session.state(), drivers::State::Attention, "{word}");
        if cancels {
            assert_eq!(pair.ask(Request::Cancel), Ok(()));
            assert_eq!(pair.run_job(), JobPhase::Cancelled);
        } else {
            assert_eq!(pair.ask(Request::Resume), Ok(()));
            pair.run_until(|pair| pair.progress().accepted > 2);
            assert_eq!(pair.session.snapshot().asked, None, "{word}");
            assert_eq!(pair.run_job(), JobPhase::Finished);
            assert_eq!(pair.executed(), support::commands(&lines));
        }
        assert_eq!(pair.session.snapshot().asked, None, "{word}");
    }
}

/// Grbl passes over M1 and grblHAL waits; the simulated Grbl waited as well.
#[test]
fn an_optional_stop_waits_only_where_the_firmware_has_one() {
    for (dialect, waits) in [("grbl", false), ("fluidnc", false), ("grblhal", true)] {
        let mut pair = connected(dialect, &setup());
        pair.start(support::strings(&["G21", "G90", "G1 X10 F1200", "M1", "G1 X20"]));
        if waits {
            pair.run_until(|pair| pair.session.state() == drivers::State::Attention);
            assert_eq!(pair.ask(Request::Resume), Ok(()), "{dialect}");
        }
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.progress().executed, 5, "{dialect}");
    }
}

/// Marlin says what it halts for in words of its own, and then only that it does: `echo:Homing Failed`, `Error:Printer halted.
/// kill() called!`. Klipper answers the line it was at when it shuts down, `!! Homing failed due to printer shutdown`, and
/// only the next question with the cause.
#[test]
fn why_a_machine_halted_is_told_with_it() {
    let mut pair = connected("marlin", &setup());
    pair.machine.happen(pair.now, Incident::Says("echo:Homing Failed"));
    pair.machine.happen(pair.now, Incident::Says("Error:Printer halted. kill() called!"));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.session.state(), drivers::State::Alarm);
    let happened = pair.session.snapshot().notice.unwrap().happened;
    assert!(happened.contains("Homing Failed"), "{happened}");

    let mut pair = connected("klipper", &setup());
    pair.machine.happen(pair.now, Incident::Limit);
    pair.machine.happen(pair.now, Incident::Says("!! Homing failed due to printer shutdown"));
    pair.run_for(Duration::from_secs(2));
    let happened = pair.session.snapshot().notice.unwrap().happened;
    assert!(!happened.contains("due to printer shutdown"), "{happened}");
}

/// Marlin's M600 takes a minute until it asks for the new filament: by then a cancelled job was over, nobody answered, and
/// the lines that switch the heaters off waited behind it.
#[test]
fn a_filament_change_that_asks_behind_the_end_of_its_job_is_answered_and_lets_the_heaters_off() {
    let mut pair = connected("marlin", &Setup { unload_s: 60.0, ..setup() });
    pair.start(support::strings(&["M104 S215", "M140 S60", "G1 X10 F1200", "M600", "G1 X20"]));
    pair.run_until(|pair| pair.session.snapshot().asked.is_some());
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Cancelled);
    assert!(!pair.report().left_on.is_empty(), "the printer is at its M600 still");
    pair.run_for(Duration::from_secs(120));
    assert!(pair.report().left_on.is_empty(), "{:?}", pair.report().left_on);
    assert_eq!(pair.session.state(), drivers::State::Idle);
    assert_eq!(pair.session.snapshot().asked, None);
}

/// Grbl that is found in a hold turned its spindle all the while, which was not said; and when a person let it go on, it
/// was called in want of attention for seconds more.
#[test]
fn a_mill_that_is_found_in_a_hold_says_that_its_spindle_turns_and_moves_at_once_when_it_goes_on() {
    let mut pair = connected("grbl", &setup());
    let mut lines = long_program();
    lines.insert(0, "M3 S12000".to_owned());
    pair.start(lines);
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ask(Request::Pause), Ok(()));
    pair.run_until(|pair| pair.session.state() == drivers::State::Held);
    pair.unplug();
    pair.plug_in(false);
    pair.run_until(|pair| pair.session.state() == drivers::State::Attention);
    let notice = pair.session.snapshot().notice.unwrap();
    assert_eq!(notice.code, "machine.held_before");
    assert!(notice.happened.contains("S12000"), "{}", notice.happened);
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    let asked = pair.now;
    pair.run_until(|pair| pair.session.state() == drivers::State::Busy);
    assert!(pair.now.since(asked) < Duration::from_secs(1), "{:?}", pair.now.since(asked));
}

/// Somebody else switches the spindle of an idle Grbl on: it was said to have been on since before the connection.
#[test]
fn a_spindle_that_another_hand_switched_on_was_not_on_before() {
    let mut pair = connected("grbl", &setup());
    pair.run_for(Duration::from_secs(2));
    pair.machine.hear(pair.now, b"M3 S1000\n");
    pair.run_until(|pair| pair.session.state() == drivers::State::Attention);
    let notice = pair.session.snapshot().notice.unwrap();
    assert_eq!(notice.code, "machine.spindle_on");
    assert!(!notice.happened.contains("before this connection"), "{}", notice.happened);
}

/// An agent that was killed finds its Marlin at an M600 that unloads filament, or at a G28: it answers no question for a
/// minute, and was called *connecting* although it said that it was busy, and how hot it was.
#[test]
fn a_printer_that_is_found_at_work_is_busy_at_once_with_what_is_hot() {
    let mut pair = connected("marlin", &Setup { unload_s: 60.0, ..setup() });
    pair.start(support::strings(&["M104 S215", "M140 S60", "G1 X10 F1200", "M600", "G1 X20"]));
    pair.run_until(|pair| pair.session.snapshot().asked.is_some());
    pair.run_for(Duration::from_secs(3));
    pair.unplug();
    pair.plug_in(false);
    pair.run_for(Duration::from_secs(5));
    let found = pair.session.snapshot();
    let notice = found.notice.unwrap();
    assert_eq!((found.state, &*notice.code), (drivers::State::Busy, "machine.works"));
    assert!(notice.happened.contains("tool0 is set to 215"), "{}", notice.happened);
    assert_eq!(pair.ask(Request::Stop), Ok(()));
    pair.run_until(|pair| pair.session.state() == drivers::State::Alarm);
    pair.run_for(Duration::from_secs(2));
    // It was said to have halted itself.
    assert_eq!(pair.session.snapshot().notice.unwrap().code, "machine.stopped");
}

/// Marlin goes on with what it has planned when its cable is pulled. Put back, it was called *running* and then, because it
/// was hot, at rest.
#[test]
fn a_hot_printer_that_moves_on_behind_a_pulled_cable_is_not_called_at_rest() {
    let mut pair = connected("marlin", &setup());
    let mut lines = support::strings(&["M104 S190", "M140 S60"]);
    lines.extend(long_program());
    pair.start(lines);
    pair.run_until(|pair| pair.progress().executed > 10);
    pair.unplug();
    pair.plug_in(false);
    while pair.report().moving {
        assert!(pair.step());
        let seen = pair.session.snapshot();
        assert_ne!(seen.state, drivers::State::Running);
        let at_rest = seen.notice.is_some_and(|notice| notice.happened.contains("at rest"));
        assert!(!at_rest || !pair.report().moving, "{:?}", pair.now);
    }
    pair.run_for(Duration::from_secs(10));
    let notice = pair.session.snapshot().notice.unwrap();
    assert!(notice.happened.contains("at rest"), "{}", notice.happened);
}

/// The simulator of grblHAL answers late on a busy computer: steps towards 50 per cent that were under way when 50 was
/// reported led on to 20, and nobody looked any more.
#[test]
fn steps_of_an_override_that_come_late_do_not_lead_past_it() {
    for (dialect, latency_ms) in [("grbl", 100), ("grbl", 250), ("grblhal", 250), ("grblhal", 400)] {
        let way = LineSpeed { baud: 115_200, latency: Duration::from_millis(latency_ms) };
        let mut pair = Pair::new(dialect, &setup(), way, Faults::default(), 1);
        pair.connect();
        pair.start(long_program());
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.ask(Request::Override(drivers::request::Override::Feed(50))), Ok(()));
        pair.run_for(Duration::from_secs(20));
        let overrides = pair.session.snapshot().overrides.unwrap().value;
        assert_eq!(overrides.feed_percent, 50, "{dialect}, {latency_ms} ms each way");
    }
}

/// grblHAL restores spindle and position behind a door that was closed, as `Door:3`, for five seconds; it was said meanwhile
/// that the door was open and that somebody should close it.
#[test]
fn a_mill_that_goes_on_behind_a_closed_door_is_not_said_to_have_it_open() {
    let mut pair = connected("grblhal", &setup());
    pair.start(long_program());
    pair.run_for(Duration::from_secs(2));
    let mut says = |report: &[u8]| {
        pair.now = pair.now + Duration::from_millis(100);
        pair.session.handle(pair.now, drivers::session::Input::Bytes(report));
        (pair.session.state(), pair.session.snapshot().asked.is_some())
    };
    assert_eq!(says(b"<Door:1|MPos:5.000,0.000,0.000|FS:0,0>\r\n"), (drivers::State::Attention, true));
    assert_eq!(says(b"<Door:0|MPos:5.000,0.000,0.000|FS:0,0>\r\n"), (drivers::State::Attention, true));
    assert_eq!(says(b"<Door:3|MPos:5.000,0.000,0.000|FS:0,12000>\r\n"), (drivers::State::Running, false));
}

/// What another program says into a job may be refused. That told of the error, and not that it was nobody's line here.
#[test]
fn a_refusal_of_a_line_that_was_not_sent_from_here_is_another_hand() {
    for dialect in ["grbl", "grblhal"] {
        let mut pair = connected(dialect, &setup());
        pair.start(support::strings(&["G1 X50 F600", "G1 X0"]));
        pair.run_until(|pair| pair.progress().accepted == 2);
        pair.machine.hear(pair.now, b"G1 X1 F0 Q5\n");
        assert_eq!(pair.run_job(), JobPhase::Finished);
        assert_eq!(pair.progress().unsure, Some(drivers::snapshot::Unsure::ExtraAnswer), "{dialect}");
    }
}

/// A Grbl on its AVR was given a held jog as a whole: when its cable was pulled it went on for 98 mm.
#[test]
fn a_held_jog_ends_soon_where_the_cable_is_pulled() {
    for dialect in ["grbl", "grblhal", "fluidnc"] {
        for dynamics in [None, Some(drivers::sim::Dynamics::of(&support::profile(dialect)))] {
            let mut pair = connected(dialect, &Setup { dynamics, ..setup() });
            let press = drivers::request::Jog { by_mm: [-100.0, 0.0, 0.0], feed_mm_min: 600.0, press: Some(1) };
            let began = pair.now;
            let mut ahead = 0.0_f64;
            while pair.now.since(began) < Duration::from_secs(2) {
                assert_eq!(pair.ask(Request::Jog(press)), Ok(()), "{dialect}");
                let next = pair.now + Duration::from_millis(100);
                pair.run_until(|pair| pair.now >= next);
                ahead = ahead.max(pair.report().position_mm[0].abs());
            }
            assert!(ahead > 17.0, "{dialect}: {ahead} mm in 2 s of 10 mm/s");
            pair.unplug();
            pair.run_for(Duration::from_secs(10));
            let at = pair.report().position_mm[0].abs();
            assert!(at - ahead <= 11.0, "{dialect}: from {ahead} mm on to {at}");
        }
    }
}
