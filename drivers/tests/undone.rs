//! Answered, refused, ignored and executed are four things: a command that had no effect is never called executed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use drivers::Request;
use drivers::sim::Setup;
use drivers::snapshot::JobPhase;
use support::{connected, program, setup, strings};

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
