//! Recordings run again: those of the field, those of simulated machines under faults, and those of the shell.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![cfg(feature = "io")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::{Machine, Setup};
use drivers::recording::{Told, replay};
use drivers::request::Job;
use drivers::session::Input;
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Faults, LineSpeed, simulated};
use drivers::snapshot::JobPhase;
use drivers::{EventKind, Notice, Permit, Request, Snapshot, State, shell};
use support::{Pair, program, setup, usual_line};

/// Real time after which something that should have happened counts as never happening.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs it again and says where it differs and what events it told.
fn again(recording: &str) -> (Vec<String>, Vec<EventKind>, Snapshot) {
    let mut events = Vec::new();
    let replayed = replay(recording, &mut |_, told| {
        if let Told::Event(event) = told {
            events.push(event.kind.clone());
        }
    });
    let replayed = replayed.unwrap_or_else(|notice| panic!("{notice}"));
    let differences = replayed.differences.iter().map(|difference| format!("{difference:?}")).collect();
    (differences, events, replayed.snapshot.expect("a session"))
}

#[test]
fn every_recording_of_the_field_says_the_same_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rec") {
            let (differences, _, _) = again(&std::fs::read_to_string(&path).unwrap());
            assert_eq!(differences, Vec::<String>::new(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 3, "the recordings are there");
}

/// A job on a bad line, recorded in pieces so small that a session is frozen and thawed in every state it can be in.
#[test]
fn a_recording_of_any_run_says_the_same_again_wherever_it_begins() {
    for dialect in ["marlin", "grbl", "grblhal", "smoothieware", "klipper"] {
        for seed in 1..=40_u64 {
            let faults = Faults { drop: 2e-4, double: 2e-4, flip: 2e-4, delay: 1e-3, ..Faults::default() };
            let speed = if seed % 2 == 0 { usual_line() } else { LineSpeed::default() };
            let machine = sim::Setup { advanced_ok: seed % 3 == 0, seed, ..setup() };
            let mut pair = Pair::new(dialect, &machine, speed, faults, seed);
            pair.record(2_000 + 977 * seed as usize);
            pair.connected = true;
            pair.hand(Input::LinkUp { may_reset: seed % 2 == 0 });
            pair.run_for(Duration::from_secs(20));
            if pair.session.state() == State::Idle && pair.try_start(program(300, seed)).is_ok() {
                pair.run_for(Duration::from_secs(seed));
                for request in [Request::Pause, Request::Resume, Request::Cancel] {
                    if seed % 4 == 0 {
                        let _ = pair.ask(request);
                    }
                    pair.run_for(Duration::from_secs(3));
                }
            }
            let (differences, _, snapshot) = again(&pair.recording());
            assert_eq!(differences, Vec::<String>::new(), "{dialect} {seed}");
            assert_eq!(snapshot.state, pair.session.state(), "{dialect} {seed}");
            let counts =
                |snapshot: &Snapshot| snapshot.job.as_ref().map(|job| (job.accepted, job.executed, job.resends));
            assert_eq!(counts(&snapshot), counts(&pair.session.snapshot()), "{dialect} {seed}");
        }
    }
}

#[test]
fn a_changed_answer_shows_as_a_difference_at_its_line() {
    let mut pair = Pair::new("marlin", &setup(), LineSpeed::default(), Faults::default(), 1);
    pair.record(usize::MAX);
    pair.connect();
    pair.start(program(50, 1));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    let recording = pair.recording();
    assert_eq!(again(&recording).0, Vec::<String>::new());
    let at = recording.lines().position(|line| line.contains(" say N5 ")).expect("the fifth line");
    let changed: Vec<_> = recording.lines().map(|line| line.replace(" say N5 G1", " say N5 G0")).collect();
    let (differences, _, _) = again(&changed.join("\n"));
    assert!(differences[0].contains(&format!("line: {}", at + 1)), "{differences:?}");
}

#[test]
fn what_is_no_recording_is_refused_with_the_line_that_is_wrong() {
    let start = "fab-agent recording 1\nagent 0\n\n";
    for (text, line) in [
        ("", 1),
        ("fab-agent recording 99\n", 1),
        (&format!("{start}0.000000 hear ok\\n\n"), 4),
        (&format!("{start}0.0 up\n"), 4),
        (&format!("{start}0.000000 state {{}}\n"), 4),
        (&format!("{start}never\n"), 4),
    ] {
        let Err(Notice { code, happened, .. }) = replay(text, &mut |_, _| {}) else { panic!("{text}") };
        assert_eq!(code, "recording.unreadable");
        assert!(happened.starts_with(&format!("Line {line} ")), "{text}: {happened}");
    }
}

fn fast() -> sim::Setup {
    sim::Setup { speed: f64::INFINITY, ..sim::Setup::default() }
}

fn machine(port: &str, dialect: &str) -> Machine {
    let profile = Arc::new(support::profile(dialect));
    shell::spawn(Setup {
        name: "test".into(),
        port: port.into(),
        baud: drivers::machine::Baud::Profile,
        profile,
        reconnect: true,
        watch_table: false,
    })
    .unwrap()
}

async fn until(machine: &Machine, done: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut watch = machine.watch();
    let waited = tokio::time::timeout(PATIENCE, watch.wait_for(|snapshot| done(snapshot))).await;
    waited.unwrap_or_else(|_| panic!("never happened: {:#?}", machine.snapshot())).unwrap().clone()
}

fn job_file(lines: &[String]) -> (tempfile::NamedTempFile, Job) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    (file, Job { id: "job".into(), lines: lines.len() as u64, from_line: 1 })
}

#[tokio::test]
async fn the_shell_records_a_job_longer_than_its_memory_and_it_says_the_same_again() {
    for dialect in ["marlin", "grbl"] {
        let port = Port::on_pty(simulated(dialect, &fast()).unwrap(), Between::default(), None).unwrap();
        let machine = machine(port.address(), dialect);
        until(&machine, |snapshot| snapshot.state == State::Idle).await;
        let (file, job) = job_file(&program(20_000, 3));
        assert_eq!(
            machine.start(Permit::of_the_terminal(machine.name(), Request::Start(job)), file.path().to_owned()).await,
            Ok(())
        );
        until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.phase == JobPhase::Finished)).await;
        let recording = machine.recording().await.unwrap().text;
        assert!(recording.len() < 1_700_000, "{} bytes", recording.len());
        assert!(!recording.contains(" line 1 "), "the beginning is gone");
        let (differences, _, snapshot) = again(&recording);
        assert_eq!(differences, Vec::<String>::new(), "{dialect}");
        assert_eq!(snapshot.job.map(|job| job.phase), Some(JobPhase::Finished));
    }
}

#[tokio::test]
async fn a_lost_link_hands_over_a_recording_of_what_led_to_it() {
    let slow = sim::Setup::default();
    let port = Port::on_pty(simulated("grbl", &slow).unwrap(), Between::default(), None).unwrap();
    let machine = machine(port.address(), "grbl");
    let mut recordings = machine.recordings();
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let (file, job) = job_file(&program(5_000, 5));
    assert_eq!(
        machine.start(Permit::of_the_terminal(machine.name(), Request::Start(job)), file.path().to_owned()).await,
        Ok(())
    );
    until(&machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.accepted > 20)).await;
    drop(port);
    let recording = tokio::time::timeout(PATIENCE, recordings.recv()).await.unwrap().unwrap();
    assert_eq!(recording.code, "link.lost");
    let (differences, events, snapshot) = again(&recording.text);
    assert_eq!(differences, Vec::<String>::new());
    assert_eq!(snapshot.state, State::Offline);
    assert!(events.iter().any(|event| matches!(event, EventKind::Job { phase: JobPhase::Failed, .. })));
}
