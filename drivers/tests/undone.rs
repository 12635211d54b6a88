//! Answered, refused, ignored and executed are four things: a command that had no effect is never called executed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::profile::OnError;
use drivers::sim::{Faults, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use support::{Pair, commands, connected, long_program, profile, program, setup, strings, usual_line};

#[test]
fn a_refused_line_is_counted_and_named_and_never_called_executed() {
    let mut pair = connected("grbl", &Setup { refuse_line: Some(20), speed: 20.0, ..setup() });
    pair.start(program(60, 3));
    assert_eq!(pair.run_job(), JobPhase::Held);
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    let job = pair.progress();
    assert_eq!((job.refused, job.ignored, job.executed), (1, 0, job.commands - 1));
    assert_eq!(pair.report().executed, job.executed);
    let first = job.first_refused.expect("named");
    assert!(first.line > 0 && !first.command.is_empty() && first.said.contains("arc"), "{first:?}");
    assert_eq!(job.first_ignored, None);
}

#[test]
fn a_command_the_firmware_does_not_know_is_ignored_and_counted() {
    let mut pair = connected("marlin", &setup());
    pair.start(strings(&["G1 X5 F3000", "X131 S1", "G1 X10", "X131 S2", "G1 X0"]));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    let job = pair.progress();
    assert_eq!((job.commands, job.executed, job.ignored, job.refused), (5, 3, 2, 0), "{job:?}");
    let first = job.first_ignored.expect("named");
    assert_eq!((first.line, first.command.as_str()), (2, "X131S1"));
    assert!(first.said.contains("Unknown command"), "{first:?}");
}

#[test]
fn a_command_that_is_not_known_counts_each_time_it_stands_in_the_program() {
    for dialect in ["repetier", "marlin"] {
        let mut pair = connected(dialect, &Setup { speed: 20.0, ..setup() });
        let mut lines = Vec::new();
        for step in 0..20 {
            lines.extend([format!("G1 X{} F3000", step % 7), "M101".to_owned()]);
        }
        pair.start(lines);
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        let job = pair.progress();
        assert_eq!((job.commands, job.executed, job.ignored), (40, 20, 20), "{dialect}: {job:?}");
        assert_eq!(job.first_ignored.expect("named").line, 2, "{dialect}");
    }
}

/// A grblHAL whose program has an error in its fifth line, far from its end.
fn one_error(setup: &Setup) -> (Pair, Vec<String>) {
    let mut pair = connected("grblhal", setup);
    let mut lines: Vec<_> = (0..40).map(|step| format!("G1 X{} F1200", if step % 2 == 0 { 20 } else { 0 })).collect();
    lines[4] = "G1 X10 Q7".into();
    pair.start(lines.clone());
    (pair, lines)
}

#[test]
fn behind_an_error_that_sticks_nothing_runs_and_nothing_is_lost_when_the_job_goes_on() {
    let (mut pair, mut lines) = one_error(&setup());
    assert_eq!(pair.run_job(), JobPhase::Held);
    pair.run_for(Duration::from_secs(30));
    let notices = pair.notices();
    assert_eq!(notices.len(), 1, "what is refused for it is no news: {notices:?}");
    assert!(notices[0].contains("line 5 (") && notices[0].contains("said again"), "{notices:?}");
    assert_eq!(pair.executed().len(), 4);
    assert!(pair.progress().executed <= 4, "{:?}", pair.progress());
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    lines.remove(4);
    assert_eq!(pair.executed(), commands(&lines), "each of the others once and in order");
    let job = pair.progress();
    assert_eq!((job.refused, job.ignored, job.executed), (1, 0, 39), "{job:?}");
    assert_eq!(job.first_refused.expect("named").line, 5);
}

#[test]
fn a_grblhal_whose_errors_do_not_stick_runs_nothing_twice() {
    let (mut pair, mut lines) = one_error(&Setup { error_sticks: false, ..setup() });
    assert_eq!(pair.run_job(), JobPhase::Held);
    assert_eq!(pair.ask(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    lines.remove(4);
    assert_eq!(pair.executed(), commands(&lines));
    assert_eq!(pair.progress().refused, 1);
}

#[test]
fn each_line_that_is_refused_for_itself_is_told_once() {
    for error_sticks in [true, false] {
        let mut pair = connected("grblhal", &Setup { error_sticks, speed: 50.0, ..setup() });
        let mut lines: Vec<_> = (0..60).map(|step| format!("G1 X{} F1200", step % 20)).collect();
        for bad in [10, 11, 59] {
            lines[bad] = "G1 X10 Q7".into();
        }
        pair.start(lines.clone());
        while pair.run_job() == JobPhase::Held {
            assert_eq!(pair.ask(Request::Resume), Ok(()));
        }
        assert_eq!(pair.progress().phase, JobPhase::Finished, "{:?}", pair.notices());
        for line in ["line 11 (", "line 12 (", "line 60 ("] {
            let told = pair.notices().iter().filter(|notice| notice.contains(line)).count();
            assert_eq!(told, 1, "{line}: {:?}", pair.notices());
        }
        lines.retain(|line| !line.contains('Q'));
        assert_eq!(pair.executed(), commands(&lines));
        assert_eq!((pair.progress().refused, pair.progress().executed), (3, 57));
    }
}

#[test]
fn a_profile_that_goes_on_behind_a_refused_line_loses_none_behind_it() {
    for dialect in ["grbl", "grblhal", "fluidnc"] {
        let mut profile = profile(dialect);
        profile.stream.on_error = OnError::Continue;
        let mut pair =
            Pair::with_profile(profile, &Setup { speed: 50.0, ..setup() }, usual_line(), Faults::default(), 1);
        pair.connect();
        let mut lines: Vec<_> = (0..60).map(|step| format!("G1 X{} F1200", step % 20)).collect();
        lines[30] = "G1 X10 Q7".into();
        pair.start(lines.clone());
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        lines.remove(30);
        assert_eq!(pair.executed(), commands(&lines), "{dialect}");
        assert_eq!((pair.progress().refused, pair.progress().executed), (1, 59), "{dialect}");
    }
}

#[test]
fn a_refused_request_of_a_person_voids_no_job_behind_it() {
    let mut pair = connected("grblhal", &setup());
    // Something else left the error: a console, another host.
    pair.machine.hear(pair.now, b"G1 X10 Q7\n");
    let mut said = Vec::new();
    pair.machine.say(&mut said);
    assert!(said.starts_with(b"error:"), "{}", said.escape_ascii());
    let lines = strings(&["G21", "G90", "G1 X5 F600", "G1 X0"]);
    pair.start(lines.clone());
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert_eq!((pair.executed(), pair.progress().refused), (commands(&lines), 0));
}

#[test]
fn a_line_of_the_safe_end_that_is_refused_does_not_keep_the_spindle_on() {
    let mut profile = profile("grblhal");
    profile.safety.safe_end = strings(&["G1 X10 Q7", "M9", "M5"]);
    let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
    pair.connect();
    pair.start(long_program());
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Idle);
    let executed = pair.executed();
    assert_eq!(executed[executed.len() - 2..], ["M9", "M5"], "{:?}", pair.notices());
    assert_eq!(pair.progress().refused, 0, "it is no line of the job");
}
