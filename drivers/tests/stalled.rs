//! A program that cannot be read to its end while it runs: the job holds behind the last line, and a person decides.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use support::{commands, connected, program, setup};

const DIALECTS: [&str; 8] =
    ["grbl", "grblhal", "fluidnc", "marlin", "smoothieware", "reprapfirmware", "repetier", "klipper"];

#[test]
fn a_disk_that_failed_under_a_job_ended_it_and_the_job_now_holds_at_a_named_line_and_goes_on() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        let lines = program(200, 7);
        pair.unreadable_from = Some(100);
        pair.start(lines.clone());
        assert_eq!(pair.run_job(), JobPhase::Held, "{dialect}");
        assert_eq!(pair.executed(), commands(&lines[..100]), "{dialect}: what was read is run, and nothing else");
        let notice = pair.session.snapshot().notice.unwrap();
        assert_eq!((notice.code.as_str(), notice.happened.as_str()), ("store.unreadable", "Line 101 cannot be read."));
        // Still not: it holds again.
        assert_eq!(pair.ask(Request::Resume), Ok(()), "{dialect}");
        pair.run_until(|pair| pair.session.state() == State::Running);
        assert_eq!(pair.run_job(), JobPhase::Held, "{dialect}");
        pair.unreadable_from = None;
        assert_eq!(pair.ask(Request::Resume), Ok(()), "{dialect}");
        pair.run_until(|pair| pair.session.state() != State::Held);
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
        assert_eq!(pair.executed(), commands(&lines), "{dialect}: each line once, in order");
    }
}

#[test]
fn a_job_that_cannot_be_read_on_is_cancelled_as_any_other() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        pair.unreadable_from = Some(50);
        pair.start(program(100, 7));
        assert_eq!(pair.run_job(), JobPhase::Held, "{dialect}");
        assert_eq!(pair.ask(Request::Cancel), Ok(()), "{dialect}");
        pair.run_until(|pair| pair.progress().phase.is_over());
        assert_eq!(pair.progress().phase, JobPhase::Cancelled, "{dialect}");
    }
}
