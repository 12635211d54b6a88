//! The shell, its links and real pseudo-terminals: what the pure tests cannot show.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![cfg(feature = "io")]

#[path = "support/real.rs"]
mod real;
mod support;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use drivers::machine::{Baud, Machine, Program, Setup};
use drivers::permit::StillGood;
use drivers::request::{Calming, Job};
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, simulated};
use drivers::snapshot::JobPhase;
use drivers::{Denied, Permit, Request, State, shell};
use real::{leave, leave_to_start, machine, until};
use support::{commands, program};

fn fast() -> sim::Setup {
    sim::Setup { speed: f64::INFINITY, keep_lines: true, ..sim::Setup::default() }
}

fn file(lines: &[String]) -> (tempfile::NamedTempFile, PathBuf) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    let path = file.path().to_owned();
    (file, path)
}

fn job(lines: &[String]) -> Job {
    Job { id: "job".into(), lines: lines.len() as u64, from_line: 1 }
}

#[tokio::test]
async fn a_program_goes_from_a_file_to_the_machine_over_a_pseudo_terminal() {
    for dialect in ["marlin", "grbl"] {
        let port = Port::on_pty(simulated(dialect, &fast()).unwrap(), Between::default(), None).unwrap();
        let machine = machine(port.address(), support::profile(dialect));
        until(&machine, |snapshot| snapshot.state == State::Idle).await;
        let program = program(20_000, 3);
        let (_keep, path) = file(&program);
        assert_eq!(machine.start(leave_to_start(&machine, job(&program)), path).await, Ok(()));
        let end = until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.phase.is_over())).await;
        assert_eq!(end.job.as_ref().map(|job| job.phase), Some(JobPhase::Finished), "{dialect}: {:?}", end.notice);
        let report = port.report().unwrap();
        assert_eq!(report.executed_lines.unwrap(), commands(&program), "{dialect}");
        assert_eq!(report.violations, Vec::<String>::new(), "{dialect}");
    }
}

#[tokio::test]
async fn a_program_goes_over_tcp() {
    let port = Port::on_tcp(simulated("grbl", &fast()).unwrap(), Between::default(), "127.0.0.1:0".parse().unwrap());
    let port = port.unwrap();
    let machine = machine(port.address(), support::profile("grbl"));
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let program = program(2_000, 4);
    let (_keep, path) = file(&program);
    assert_eq!(machine.start(leave_to_start(&machine, job(&program)), path).await, Ok(()));
    until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.phase == JobPhase::Finished)).await;
    assert_eq!(port.report().unwrap().executed_lines.unwrap(), commands(&program));
}

#[tokio::test]
async fn every_wrong_port_gets_its_own_code() {
    let (_keep, regular_file) = file(&[]);
    for (port, code) in [
        ("/dev/serial/by-path/nothing-here", "link.no_such_port"),
        (regular_file.to_str().unwrap(), "link.not_a_port"),
        ("tcp://127.0.0.1:1", "link.unreachable"),
        ("carrier-pigeon://coop", "link.unknown"),
    ] {
        let machine = machine(port, support::profile("grbl"));
        let snapshot = until(&machine, |snapshot| snapshot.notice.is_some()).await;
        assert_eq!(snapshot.notice.as_ref().map(|notice| notice.code.as_str()), Some(code));
        assert_eq!(machine.calm(Calming::Pause).await, Err(Denied::Offline));
        assert_eq!(machine.stop().await, Err(Denied::Offline));
    }
}

#[tokio::test]
async fn a_port_that_another_program_holds_is_said_to_be_busy() {
    let port = Port::on_pty(simulated("grbl", &fast()).unwrap(), Between::default(), None).unwrap();
    let first = machine(port.address(), support::profile("grbl"));
    until(&first, |snapshot| snapshot.state == State::Idle).await;
    let second = machine(port.address(), support::profile("grbl"));
    let snapshot = until(&second, |snapshot| snapshot.notice.is_some()).await;
    assert_eq!(snapshot.notice.as_ref().map(|notice| notice.code.as_str()), Some("link.busy"));
    assert_eq!(first.snapshot().state, State::Idle, "the first one is not disturbed");
}

#[tokio::test]
async fn a_machine_that_vanishes_in_the_middle_fails_the_job_and_comes_back_idle() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("machine");
    let slow = sim::Setup { speed: 1.0, ..fast() };
    let port = Port::on_pty(simulated("grbl", &slow).unwrap(), Between::default(), Some(&link)).unwrap();
    let machine = machine(link.to_str().unwrap(), support::profile("grbl"));
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let program = program(5_000, 5);
    let (_keep, path) = file(&program);
    assert_eq!(machine.start(leave_to_start(&machine, job(&program)), path).await, Ok(()));
    until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.accepted > 20)).await;
    drop(port);
    let lost = until(&machine, |snapshot| snapshot.state == State::Offline).await;
    assert_eq!(lost.job.as_ref().map(|job| job.phase), Some(JobPhase::Failed));
    assert_eq!(lost.notice.as_ref().map(|notice| notice.code.as_str()), Some("link.lost"));
    let back = Port::on_pty(simulated("grbl", &slow).unwrap(), Between::default(), Some(&link)).unwrap();
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    assert_eq!(back.report().unwrap().executed, 0, "nothing starts by itself");
}

#[tokio::test]
async fn a_machine_that_comes_back_under_another_name_is_found_and_nothing_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("by-path");
    let slow = sim::Setup { speed: 1.0, ..fast() };
    let port = Port::on_pty(simulated("marlin", &slow).unwrap(), Between::default(), Some(&link)).unwrap();
    let machine = machine(link.to_str().unwrap(), support::profile("marlin"));
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let program = program(5_000, 5);
    let (_keep, path) = file(&program);
    assert_eq!(machine.start(leave_to_start(&machine, job(&program)), path).await, Ok(()));
    until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.executed > 2)).await;
    // Two are open at once: the second has another name for certain.
    let back = Port::on_pty(simulated("marlin", &slow).unwrap(), Between::default(), None).unwrap();
    assert_ne!(back.address(), port.address());
    drop(port);
    let lost = until(&machine, |snapshot| snapshot.state == State::Offline).await;
    let job = lost.job.clone().unwrap();
    assert_eq!(job.phase, JobPhase::Failed);
    let said = lost.notice.as_ref().map(|notice| notice.happened.clone()).unwrap();
    assert!(said.contains(&format!("Line {} of the job was executed, at least.", job.executed_line)), "{said}");
    std::os::unix::fs::symlink(back.address(), &link).unwrap();
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    assert_eq!(back.report().unwrap().executed, 0, "nothing starts by itself");
    assert_eq!(machine.act(leave(&machine, Request::Resume)).await, Err(Denied::NoJob));
}

#[tokio::test]
async fn a_board_that_is_reset_in_a_job_fails_it_and_waits() {
    for dialect in ["marlin", "grbl"] {
        let slow = sim::Setup { speed: 1.0, ..fast() };
        let port = Port::on_pty(simulated(dialect, &slow).unwrap(), Between::default(), None).unwrap();
        let machine = machine(port.address(), support::profile(dialect));
        until(&machine, |snapshot| snapshot.state == State::Idle).await;
        let program = program(5_000, 5);
        let (_keep, path) = file(&program);
        assert_eq!(machine.start(leave_to_start(&machine, job(&program)), path).await, Ok(()));
        until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.accepted > 20)).await;
        port.reset();
        let over = until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.phase.is_over())).await;
        assert_eq!(over.job.as_ref().map(|job| job.phase), Some(JobPhase::Failed), "{dialect}");
        let executed = port.report().unwrap().executed;
        until(&machine, |snapshot| matches!(snapshot.state, State::Idle | State::Alarm)).await;
        assert_eq!(port.report().unwrap().executed, executed, "{dialect}: nothing goes on by itself");
    }
}

fn detecting(port: &str, first: Option<u32>) -> Machine {
    let profile = Arc::new(support::profile("marlin"));
    let setup = Setup {
        name: "test".into(),
        port: port.into(),
        baud: Baud::Detect { first },
        profile,
        reconnect: true,
        watch_table: false,
    };
    shell::spawn(setup).unwrap()
}

#[tokio::test]
async fn the_rate_of_a_machine_is_found_and_where_it_was_found_before_is_tried_first() {
    let between = Between { machine_baud: Some(57_600), ..Between::default() };
    let mut bytes = Vec::new();
    for first in [None, Some(57_600)] {
        let port = Port::on_pty(simulated("marlin", &fast()).unwrap(), between, None).unwrap();
        let machine = detecting(port.address(), first);
        let found = until(&machine, |snapshot| snapshot.state == State::Idle).await;
        assert_eq!(found.baud, Some(57_600));
        bytes.push(port.report().unwrap().bytes);
    }
    assert!(bytes[1] < bytes[0], "nothing is asked at a wrong rate where the right one is known: {bytes:?}");
}

#[tokio::test]
async fn whoever_asks_while_the_rate_is_being_found_is_answered_at_once() {
    // A rate that is not among the usual ones.
    let between = Between { machine_baud: Some(1_200), ..Between::default() };
    let port = Port::on_pty(simulated("marlin", &fast()).unwrap(), between, None).unwrap();
    let machine = detecting(port.address(), None);
    assert_eq!(machine.stop().await, Err(Denied::Offline));
    assert_eq!(machine.calm(Calming::Pause).await, Err(Denied::Offline));
}

#[tokio::test]
async fn a_stop_skips_a_full_line() {
    let between = Between { speed: support::usual_line(), ..Between::default() };
    let slow = sim::Setup { speed: 1.0, ..fast() };
    let port = Port::on_pty(simulated("grbl", &slow).unwrap(), between, None).unwrap();
    let machine = machine(port.address(), support::profile("grbl"));
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let program = program(5_000, 5);
    let (_keep, path) = file(&program);
    assert_eq!(machine.start(leave_to_start(&machine, job(&program)), path).await, Ok(()));
    until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.accepted > 20)).await;
    assert_eq!(machine.stop().await, Ok(()));
    let stopped = until(&machine, |snapshot| snapshot.state == State::Alarm).await;
    assert_eq!(stopped.job.as_ref().map(|job| job.phase), Some(JobPhase::Cancelled));
    assert_eq!(machine.act(leave(&machine, Request::Resume)).await, Err(Denied::Alarm));
}

#[tokio::test]
async fn a_machine_speaking_another_dialect_is_named() {
    let port = Port::on_pty(simulated("marlin", &fast()).unwrap(), Between::default(), None).unwrap();
    let machine = machine(port.address(), support::profile("grbl"));
    port.reset();
    let snapshot = until(&machine, |snapshot| snapshot.state == State::Attention).await;
    assert_eq!(snapshot.notice.as_ref().map(|notice| notice.code.as_str()), Some("machine.wrong"));
}

/// A program that was checked with all its lines.
fn checked(path: PathBuf, lines: usize) -> Program {
    Program { checked_lines: Some(lines as u64), ..Program::from(path) }
}

#[tokio::test]
async fn a_file_cut_short_was_called_finished() {
    let port = Port::on_pty(simulated("grbl", &fast()).unwrap(), Between::default(), None).unwrap();
    let machine = machine(port.address(), support::profile("grbl"));
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let program = program(500, 5);
    let (_keep, path) = file(&program[..300]);
    assert_eq!(machine.start(leave_to_start(&machine, job(&program)), checked(path.clone(), 500)).await, Ok(()));
    let held = until(&machine, |snapshot| snapshot.state == State::Held).await;
    let notice = held.notice.as_ref().unwrap();
    let behind = format!("Line {} ", std::fs::read_to_string(&path).unwrap().lines().count() + 1);
    assert!(notice.code == "store.unreadable" && notice.happened.contains(&behind), "{notice}");
    assert_eq!(port.report().unwrap().executed_lines.unwrap(), commands(&program[..300]));
    // Other content than at first is not read on, whatever it is.
    std::fs::write(&path, program.join("\n")).unwrap();
    assert_eq!(machine.act(leave(&machine, Request::Resume)).await, Ok(()));
    let written_to = |snapshot: &drivers::Snapshot| {
        let notice = snapshot.notice.as_ref();
        snapshot.state == State::Held && notice.is_some_and(|notice| notice.happened.contains("was written to"))
    };
    until(&machine, written_to).await;
    assert_eq!(machine.calm(Calming::Cancel).await, Ok(()));
    until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.phase == JobPhase::Cancelled)).await;
}

#[tokio::test]
async fn a_disk_that_gave_nothing_held_up_the_start_and_the_stop_behind_it() {
    let port = Port::on_pty(simulated("grbl", &fast()).unwrap(), Between::default(), None).unwrap();
    let machine = machine(port.address(), support::profile("grbl"));
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    // Opening a pipe that nobody writes to waits for ever, as a frozen disk does.
    let home = tempfile::tempdir().unwrap();
    let pipe = home.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let wanted = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = wanted.clone();
    let still_good: StillGood = Arc::new(move || asked.load(std::sync::atomic::Ordering::SeqCst));
    let program = Program { sha256: Some("a".to_owned()), ..checked(pipe.clone(), 5) };
    let permit = Permit::to_start(machine.name(), job(&support::program(5, 1)), "a", still_good);
    let started = tokio::spawn({
        let machine = machine.clone();
        async move { machine.start(permit, program).await }
    });
    // Other people are heard meanwhile.
    assert_eq!(machine.calm(Calming::Pause).await, Err(Denied::NoJob));
    wanted.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(started.await.unwrap(), Err(Denied::Stale));
    let again = tokio::spawn({
        let machine = machine.clone();
        async move { machine.start(leave_to_start(&machine, job(&support::program(5, 1))), checked(pipe, 5)).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(machine.stop().await, Ok(()));
    assert!(again.await.unwrap().is_err(), "a start that is being prepared ends with a stop");
    assert_eq!(port.report().unwrap().executed, 0);
}
