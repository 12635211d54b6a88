//! People at the machine and away from it: what is asked of them, how a job is held and ends early. In virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::profile::{Profile, ToolChange};
use drivers::session::Input;
use drivers::sim::{Faults, Incident, Setup};
use drivers::snapshot::{Cause, JobPhase};
use drivers::{Denied, Notice, Request, State};
use support::{Pair, connected, long_program, setup, stands, strings, usual_line};

const DIALECTS: [&str; 8] =
    ["marlin", "grbl", "grblhal", "fluidnc", "smoothieware", "reprapfirmware", "repetier", "klipper"];

const GRBL_KIN: [&str; 3] = ["grbl", "grblhal", "fluidnc"];

/// Those that wait for a person at M600 and ask with `//action:prompt_…`.
const PROMPTS: &str = "marlin";

#[test]
fn what_stood_behind_the_end_of_a_mills_program_was_run_although_check_had_not_looked_at_it() {
    for dialect in GRBL_KIN {
        let mut pair = connected(dialect, &setup());
        pair.start(strings(&["G21", "G1 X5 F600", "M30", "G1 X50", "M3 S1000"]));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
        assert_eq!(pair.executed(), ["G21", "G1X5F600", "M30"], "{dialect}");
    }
    // A printer's M30 deletes a file, and nothing ends.
    let mut pair = connected("marlin", &setup());
    pair.start(strings(&["G28", "M30 part.gco", "G1 X5 F600"]));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    assert_eq!(pair.executed(), ["G28", "M30 part.gco", "G1X5F600"]);
}

#[test]
fn a_line_of_nothing_but_ctrl_z_was_said_as_an_empty_one() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.start(strings(&["G21", "G1 X5 F600", "\u{1a}", "\0\0"]));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
        assert_eq!(pair.executed(), ["G21", "G1X5F600"], "{dialect}");
        assert_eq!(pair.progress().commands, 2, "{dialect}");
    }
}

#[test]
fn klipper_passed_over_codes_with_zeros_in_front() {
    let mut pair = connected("klipper", &setup());
    pair.start(strings(&["G28", "G01 X5 F600", "M084"]));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    assert_eq!(pair.executed(), ["G28", "G1X5F600", "M84"]);
}

#[test]
fn a_tool_change_that_grbl_does_not_know_waits_for_a_person_with_the_spindle_off() {
    let mut profile = support::profile("grbl");
    profile.tools = Profile::named("prusa-mk3s").unwrap().tools;
    profile.tools[0].number = 3;
    profile.tools[0].name = "6 mm end mill".to_owned();
    let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
    pair.connect();
    pair.start(strings(&["M3 S1000", "G1 X5 F600", "T3 M6", "M3 S900", "G1 X10"]));
    pair.run_until(|pair| pair.session.state() == State::Attention);
    assert!(!pair.report().moving, "it asks when it stands");
    let asked = pair.session.snapshot().asked.unwrap().text;
    assert!(asked.starts_with("The spindle turns: do not reach in."), "M5 is on its way: {asked}");
    pair.run_for(Duration::from_secs(300));
    assert_eq!(pair.executed(), ["M3S1000", "G1X5F600", "M5"], "nothing crossed the tool change");
    assert_eq!(pair.session.snapshot().asked.unwrap().text, "Put in tool 3 (6 mm end mill).");
    assert_eq!(pair.ask(Request::Pause), Ok(()), "it stands already");
    assert_eq!(pair.session.state(), State::Attention);
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.session.snapshot().asked, None);
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert_eq!(pair.executed(), ["M3S1000", "G1X5F600", "M5", "M3S900", "G1X10"]);
    assert_eq!(pair.progress().executed, pair.progress().commands);
}

#[test]
fn who_changes_tools_is_the_profiles_to_say() {
    let mut profile = support::profile("fluidnc");
    profile.stream.tool_change = Some(ToolChange::Person);
    let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
    pair.connect();
    pair.start(strings(&["T2", "G1 X5 F600", "M6", "G1 X10"]));
    pair.run_until(|pair| pair.session.state() == State::Attention);
    assert_eq!(pair.session.snapshot().asked.unwrap().text, "Put in tool 2.");
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    stands(&mut pair);
    assert_eq!(pair.progress().phase, JobPhase::Cancelled);
    assert!(!pair.executed().contains(&"M6".to_owned()), "{:?}", pair.executed());
}

/// Machines that do not report how they are were `running` for ever at such a line, and asked nobody.
#[test]
fn a_tool_change_by_hand_on_a_machine_that_tells_nothing_by_itself_was_running_for_ever() {
    for dialect in ["klipper", "reprapfirmware"] {
        let mut profile = support::profile(dialect);
        profile.stream.tool_change = Some(ToolChange::Person);
        let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
        pair.connect();
        pair.start(strings(&["G1 X50 F600", "T1 M6", "G1 X10"]));
        pair.run_until(|pair| pair.session.state() == State::Attention);
        assert!(!pair.report().moving, "{dialect}: it asks when it stands");
        assert!((pair.report().position_mm[0] - 50.0).abs() < 0.01, "{dialect}");
        assert!(pair.session.snapshot().asked.unwrap().text.contains("tool 1"), "{dialect}");
        pair.run_for(Duration::from_secs(300));
        assert_eq!(pair.executed(), ["G1X50F600"], "{dialect}: nothing crossed the tool change");
        assert_eq!(pair.ask(Request::Resume), Ok(()), "{dialect}");
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.executed(), ["G1X50F600", "G1X10"], "{dialect}");
    }
}

/// Until the machine asks that.
fn asks(pair: &mut Pair, text: &str) {
    pair.run_until(|pair| pair.session.snapshot().asked.is_some_and(|asked| asked.text == text));
}

#[test]
fn a_change_of_filament_is_asked_for_and_answered() {
    let mut pair = connected(PROMPTS, &Setup { speed: 20.0, ..setup() });
    pair.start(strings(&["G1 X5 F600", "M600", "G1 X10"]));
    asks(&mut pair, "Nozzle Parked");
    assert_eq!(pair.session.state(), State::Attention);
    assert_eq!(pair.session.snapshot().asked.unwrap().choices, ["Continue"]);
    assert_eq!(pair.ask(Request::Choose(1)), Err(Denied::NothingAsked));
    assert_eq!(pair.ask(Request::Choose(0)), Ok(()));
    asks(&mut pair, "Paused");
    assert_eq!(pair.session.snapshot().asked.unwrap().choices, ["PurgeMore", "Continue"]);
    assert_eq!(pair.ask(Request::Choose(2)), Err(Denied::NothingAsked));
    assert_eq!(pair.ask(Request::Choose(0)), Ok(()));
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.session.snapshot().asked.unwrap().choices.len(), 2, "it asks again");
    assert_eq!(pair.ask(Request::Choose(1)), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert_eq!(pair.session.snapshot().asked, None);
    assert_eq!(pair.ask(Request::Choose(0)), Err(Denied::NothingAsked));
}

#[test]
fn an_answer_that_a_waiting_printer_would_never_read_is_not_sent() {
    let mut pair = connected(PROMPTS, &Setup { speed: 20.0, emergency_parser: false, ..setup() });
    pair.start(strings(&["G1 X5 F600", "M600", "G1 X10"]));
    asks(&mut pair, "Nozzle Parked");
    assert_eq!(pair.ask(Request::Choose(0)), Err(Denied::Unsupported));
}

#[test]
fn a_job_paused_at_the_machine_is_held_and_goes_on_there() {
    for dialect in ["marlin", "repetier", "grbl", "grblhal", "fluidnc"] {
        let mut pair = connected(dialect, &setup());
        pair.start(long_program());
        pair.run_for(Duration::from_secs(3));
        pair.machine.happen(pair.now, Incident::Paused);
        pair.run_until(|pair| matches!(pair.session.state(), State::Held | State::Attention));
        assert_ne!(pair.session.snapshot().cause, Cause::Asked, "{dialect}");
        let executed = pair.report().executed;
        pair.run_for(Duration::from_secs(60));
        assert_eq!(pair.report().executed, executed, "{dialect}: it was told more");
        pair.machine.happen(pair.now, Incident::Resumed);
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.session.state(), State::Running, "{dialect}");
        assert!(pair.session.snapshot().asked.is_none() && pair.session.snapshot().notice.is_none(), "{dialect}");
    }
}

#[test]
fn a_hold_that_somebody_here_asked_for_is_not_ended_by_the_printer() {
    let mut pair = connected("marlin", &setup());
    pair.start(long_program());
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ask(Request::Pause), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Held);
    pair.machine.happen(pair.now, Incident::Resumed);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.session.state(), State::Held);
}

#[test]
fn a_held_machine_that_is_let_go_at_its_own_button_is_running() {
    for dialect in GRBL_KIN {
        let mut pair = connected(dialect, &setup());
        pair.start(long_program());
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Held);
        pair.machine.happen(pair.now, Incident::Resumed);
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.session.state(), State::Running, "{dialect}: it moves");
        assert_eq!(pair.progress().phase, JobPhase::Running, "{dialect}");
    }
}

#[test]
fn a_job_cancelled_at_the_printer_is_made_safe_and_says_so() {
    let mut pair = connected("marlin", &setup());
    pair.start(long_program());
    pair.run_for(Duration::from_secs(3));
    pair.machine.happen(pair.now, Incident::Cancelled);
    stands(&mut pair);
    assert_eq!(pair.progress().phase, JobPhase::Cancelled);
    assert!(pair.notices().iter().any(|notice| notice.contains("job.cancelled_at_machine")), "{:?}", pair.notices());
    assert!(pair.executed().contains(&"M104 S0".to_owned()) || pair.executed().contains(&"M104S0".to_owned()));
}

#[test]
fn a_program_that_turns_out_unreadable_while_its_job_is_being_ended_does_not_begin_the_end_anew() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.start(long_program());
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        while pair.session.snapshot().state == State::Stopping {
            pair.hand(Input::ProgramTrouble(Notice::new("program.unreadable", "", "", "")));
            let job = pair.progress();
            assert!(job.executed <= job.accepted && job.accepted <= job.sent, "{dialect}: {job:?}");
            assert!(pair.step(), "{dialect}: it waits for ever");
        }
        stands(&mut pair);
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{dialect}: the reason it had is kept");
        let off = |line: &&String| line.starts_with("M104") || line.starts_with("M5");
        let executed = pair.executed();
        assert_eq!(executed.iter().filter(off).count(), 1, "{dialect}: it is made safe once: {executed:?}");
    }
}

#[test]
fn the_tool_is_lifted_at_an_early_end_where_that_is_safe_and_nowhere_else() {
    let lifts = |dialect: &str, homes: bool, z: f64| {
        let mut pair = connected(dialect, &setup());
        if homes {
            assert_eq!(pair.ask(Request::Home), Ok(()));
            stands(&mut pair);
        }
        pair.start(strings(&["G90", &format!("G0 Z{z} F6000")]).into_iter().chain(long_program()).collect());
        pair.run_for(Duration::from_secs(20));
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        stands(&mut pair);
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{dialect}");
        pair.report().position_mm[2] - z
    };
    for dialect in DIALECTS {
        let profile = support::profile(dialect);
        let (top, lift) = (profile.envelope_mm.unwrap().max[2], profile.safety.lift_mm.unwrap());
        let low = top - 40.0;
        assert!((lifts(dialect, true, low) - lift).abs() < 0.01, "{dialect}");
        assert_eq!(lifts(dialect, false, low), 0.0, "{dialect}: it was never homed");
        assert_eq!(lifts(dialect, true, top), 0.0, "{dialect}: there is no room");
    }
}

#[test]
fn a_job_that_homes_the_printer_makes_its_position_known() {
    let mut pair = connected("marlin", &Setup { speed: 20.0, ..setup() });
    pair.start(strings(&["G28", "G1 X5 F600"]));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    assert!(pair.session.snapshot().homed);
    pair.start(strings(&["G1 X5 F600", "M84"]));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    assert!(!pair.session.snapshot().homed, "its motors were let go");
}

#[test]
fn a_beam_is_off_while_a_laser_is_held_whatever_its_mode() {
    for dialect in GRBL_KIN {
        let mut profile = Profile::named("grbl-laser-400").unwrap();
        dialect.clone_into(&mut profile.dialect);
        let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
        pair.connect();
        pair.start(strings(&["M3 S500"]).into_iter().chain(long_program()).collect());
        pair.run_for(Duration::from_secs(3));
        assert!(pair.session.snapshot().spindle.unwrap().value > 0.0, "{dialect}");
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.session.snapshot().spindle.unwrap().value, 0.0, "{dialect}: it burns where it stands");
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.session.snapshot().spindle.unwrap().value, 500.0, "{dialect}");
    }
}

#[test]
fn a_spindle_is_off_while_a_program_waits_for_a_person() {
    for dialect in GRBL_KIN {
        let mut pair = connected(dialect, &setup());
        pair.start(strings(&["M3 S1000", "G1 X5 F600", "M0", "G1 X100"]));
        pair.run_until(|pair| pair.session.state() == State::Attention);
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.session.snapshot().spindle.unwrap().value, 0.0, "{dialect}");
        assert_eq!(pair.session.snapshot().asked.unwrap().text, "The program stops here for a person (line 3).");
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.session.snapshot().spindle.unwrap().value, 1000.0, "{dialect}");
        assert_eq!(pair.report().position_mm[0], 5.0, "{dialect}: it feeds before the spindle has its speed");
        pair.run_for(Duration::from_secs(3));
        assert!(pair.report().position_mm[0] > 5.0, "{dialect}");
    }
}

#[test]
fn a_spindle_held_in_the_cut_by_the_machines_own_button_was_switched_off_in_the_material() {
    for dialect in GRBL_KIN {
        let mut pair = connected(dialect, &setup());
        pair.start(strings(&["M3 S1000"]).into_iter().chain(long_program()).collect());
        pair.run_for(Duration::from_secs(3));
        pair.machine.happen(pair.now, Incident::Paused);
        pair.run_until(|pair| pair.session.state() == State::Attention);
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.session.snapshot().spindle.unwrap().value, 1000.0, "{dialect}");
    }
}

#[test]
fn who_pauses_or_stops_while_a_spindle_comes_to_its_speed_is_obeyed() {
    for (request, state) in [(Request::Pause, State::Held), (Request::Stop, State::Alarm)] {
        let mut pair = connected("grbl", &setup());
        pair.start(strings(&["M3 S1000", "G1 X5 F600", "M0", "G1 X100"]));
        pair.run_until(|pair| pair.session.state() == State::Attention);
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.ask(request), Ok(()));
        pair.run_for(Duration::from_secs(20));
        assert_eq!(pair.report().position_mm[0], 5.0, "{state:?}");
        assert_eq!(pair.session.state(), state);
    }
}

#[test]
fn a_refused_line_tells_which_lines_were_behind_it() {
    let mut pair = connected("grbl", &Setup { refuse_line: Some(20), ..setup() });
    pair.start(long_program());
    assert_eq!(pair.run_job(), JobPhase::Held);
    let notice = &pair.notices()[0];
    assert!(notice.contains("line 20 "), "{notice}");
    assert!(notice.contains("Lines 21 to "), "{notice}");
    assert!(notice.contains("the rest runs if the job is resumed"), "{notice}");
    let executed = pair.report().executed;
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.report().executed, executed, "a hold reads nothing more");
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    stands(&mut pair);
    let report = pair.report();
    assert_eq!(report.executed, executed + 2, "what waited was dropped; M5 and M9 make it safe: {report:?}");
}

#[test]
fn a_machine_that_hit_a_limit_is_reset_when_a_person_clears_it() {
    for dialect in GRBL_KIN {
        let mut pair = connected(dialect, &setup());
        pair.start(long_program());
        pair.run_for(Duration::from_secs(3));
        pair.machine.happen(pair.now, Incident::Limit);
        pair.run_until(|pair| pair.session.state() == State::Alarm);
        assert_eq!(pair.progress().phase, JobPhase::Failed, "{dialect}");
        pair.run_for(Duration::from_secs(60));
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}: nobody cleared it");
        assert_eq!(pair.ask(Request::Clear), Ok(()));
        stands(&mut pair);
        assert!(!pair.session.snapshot().homed, "{dialect}");
    }
}

#[test]
fn a_stop_of_a_machine_that_stands_still_latches_all_the_same() {
    for dialect in GRBL_KIN {
        for held in [false, true] {
            let mut pair = connected(dialect, &setup());
            if held {
                pair.start(long_program());
                pair.run_for(Duration::from_secs(3));
                assert_eq!(pair.ask(Request::Pause), Ok(()));
                pair.run_until(|pair| pair.session.state() == State::Held);
            }
            assert_eq!(pair.ask(Request::Stop), Ok(()));
            pair.run_for(Duration::from_secs(60));
            assert_eq!(pair.session.state(), State::Alarm, "{dialect}, held: {held}: nobody cleared it");
            assert_eq!(pair.ask(Request::Clear), Ok(()));
            stands(&mut pair);
        }
    }
}

#[test]
fn a_pause_behind_a_printers_own_wait_can_be_taken_back() {
    let mut pair = connected("marlin", &Setup { speed: 20.0, ..setup() });
    pair.start(strings(&["G1 X5 F600", "M0", "G1 X10"]));
    pair.run_until(|pair| pair.session.state() == State::Attention);
    assert_eq!(pair.ask(Request::Pause), Ok(()));
    pair.run_for(Duration::from_secs(30));
    assert_eq!(pair.session.state(), State::Holding, "it cannot prove that it stands while it waits");
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert_eq!(pair.executed(), ["G1X5F600", "M0", "G1X10"]);
}

#[test]
fn a_job_can_be_cancelled_while_the_door_is_open() {
    for dialect in GRBL_KIN {
        let mut pair = connected(dialect, &setup());
        pair.start(long_program());
        pair.run_for(Duration::from_secs(3));
        pair.machine.happen(pair.now, Incident::DoorOpened);
        pair.run_until(|pair| pair.session.state() == State::Attention);
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{dialect}");
        assert_eq!(pair.session.snapshot().asked.unwrap().text, "Close the safety door, then resume.", "{dialect}");
        pair.machine.happen(pair.now, Incident::DoorClosed);
        assert_eq!(pair.ask(Request::Resume), Ok(()), "{dialect}");
        stands(&mut pair);
    }
}

/// The machine asked for the last line again while the job was being held: after resume nobody said it, for ever.
#[test]
fn a_line_asked_for_again_in_a_hold_at_the_end_is_said_after_it() {
    for seed in 1..60 {
        let refuses = Setup { resend_permille: 500, speed: f64::INFINITY, seed, ..setup() };
        let mut pair = connected("marlin", &refuses);
        pair.start(strings(&["G1 X1 F6000", "G1 X2"]));
        pair.run_until(|pair| pair.progress().sent >= 2 || pair.progress().phase.is_over());
        pair.run_for(Duration::from_millis(seed * 2));
        if pair.ask(Request::Pause).is_ok() {
            pair.run_for(Duration::from_secs(30));
            let _ = pair.ask(Request::Resume);
        }
        assert_eq!(pair.run_job(), JobPhase::Finished, "seed {seed}");
    }
}

/// A job was held while its first word, which sets the line counter, was lost on the wire: it never began after resume.
#[test]
fn a_job_held_before_its_counter_was_set_begins_after_it() {
    let mut pair = connected("marlin", &Setup { speed: f64::INFINITY, ..setup() });
    // What is asked at connect is not lost in its middle.
    pair.run_for(Duration::from_secs(1));
    pair.start(strings(&["G1 X1 F6000", "G1 X2"]));
    pair.lose_said();
    assert_eq!(pair.ask(Request::Pause), Ok(()));
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.session.state(), State::Held);
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished);
}

#[test]
fn a_cancel_waited_until_the_nozzle_was_hot_because_the_window_was_full() {
    for (dialect, parser) in [("marlin", true), ("marlin", false)] {
        let mut pair = connected(dialect, &Setup { emergency_parser: parser, ..setup() });
        let hot =
            strings(&["M104 S250", "M140 S100", "M190 S100", "M109 S250", "G1 X5 F600", "G1 X6", "G1 X7", "G1 X8"]);
        pair.start(hot.into_iter().chain(long_program()).collect());
        // What stands behind the first word that waits fills the window, and nothing of it is answered.
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        let cancelled_at = pair.now;
        pair.run_until(|pair| pair.progress().phase.is_over());
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{dialect}");
        let took = pair.now.since(cancelled_at);
        // Without the parser the word is acted on as it is read, and it is read because nothing stands before it.
        assert!(took < Duration::from_secs(10), "{dialect}, {parser}: it heated on for {took:?}");
        assert!(!pair.report().moving, "{dialect}");
    }
}

/// What an operator has to do to bring each back, in the firmware's own words.
const WAYS_OUT: [(&str, &str); 8] = [
    ("marlin", "reset button"),
    ("grbl", "`$X`"),
    ("grblhal", "`$X`"),
    ("fluidnc", "`$X`"),
    ("smoothieware", "M999"),
    ("reprapfirmware", "M999"),
    ("repetier", "M999"),
    ("klipper", "FIRMWARE_RESTART"),
];

#[test]
fn the_advice_after_a_halt_or_a_stop_did_not_name_the_firmwares_own_way_out() {
    for (dialect, way_out) in WAYS_OUT {
        for stop in [false, true] {
            let mut pair = connected(dialect, &setup());
            pair.start(long_program());
            pair.run_for(Duration::from_secs(3));
            if stop {
                assert_eq!(pair.ask(Request::Stop), Ok(()));
            } else {
                pair.machine.happen(pair.now, Incident::Limit);
            }
            pair.run_for(Duration::from_secs(2));
            assert_eq!(pair.session.state(), State::Alarm, "{dialect}");
            let notice = pair.session.snapshot().notice.unwrap();
            assert!(notice.to_do.contains(way_out) && !notice.to_string().contains(".."), "{dialect}: {notice}");
        }
    }
}
