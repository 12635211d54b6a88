//! Every signal that ends programs, and a terminal that is closed: the machine is made safe within seconds, or it is said
//! what is not known. The real program, real signals, machines on real ports.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "common/agent.rs"]
mod agent;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::Workshop;
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Report, Setup};
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use serde_json::Value;

/// Longest wait for anything to begin: far beyond what a loaded computer needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// From the signal to the end of the process.
const SEND_ENDS: Duration = Duration::from_secs(5);
const RUN_ENDS: Duration = Duration::from_secs(10);

const SIGNALS: [&str; 8] = ["-INT", "-TERM", "-HUP", "-QUIT", "-USR1", "-USR2", "-ALRM", "-PWR"];

fn simulated(dialect: &str, setup: &Setup) -> Port {
    let setup = Setup { keep_lines: true, ..setup.clone() };
    Port::on_pty(sim::simulated(dialect, &setup).unwrap(), Between::default(), None).unwrap()
}

fn until(port: &Port, wanted: impl Fn(&Report) -> bool) -> Report {
    let started = Instant::now();
    loop {
        let report = port.report().unwrap();
        if wanted(&report) {
            return report;
        }
        assert!(started.elapsed() < PATIENCE, "never happened: {report:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn written(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Minutes of milling with the spindle on.
fn milling() -> String {
    let moves = "G1 X20 F1200\nG1 X0 F1200\n".repeat(150);
    format!("G21\nG90\nM3 S1000\nG4 P0.1\n{moves}M5\nM2\n")
}

fn send(file: &Path, port: &Port, dialect: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.arg("send").arg(file).args(["--port", port.address(), "--dialect", dialect, "--no-preflight", "--json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The final object, what was said to people, and how long it took.
fn ended(child: Child, since: Instant) -> (Value, String, Duration) {
    let output = child.wait_with_output().unwrap();
    let took = since.elapsed();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "it ended by itself, with its reason: {said}");
    (serde_json::from_slice(&output.stdout).unwrap(), said, took)
}

fn last_lines(port: &Port) -> Vec<String> {
    let lines = port.report().unwrap().executed_lines.unwrap();
    lines.iter().rev().take(8).map(|line| line.replace(' ', "")).collect()
}

#[test]
fn any_signal_that_ends_programs_left_the_spindle_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "mill.nc", &milling());
    for name in SIGNALS {
        let mill = simulated("grbl", &Setup::default());
        let child = send(&file, &mill, "grbl").spawn().unwrap();
        until(&mill, |report| report.executed > 6 && report.moving);
        let since = Instant::now();
        signal(&child, name);
        let (document, said, took) = ended(child, since);
        assert!(took < SEND_ENDS, "{name}: {took:?}");
        assert_eq!(document["outcome"], "cancelled", "{name}: {document:#}{said}");
        assert!(!mill.report().unwrap().moving, "{name}: it stands");
        assert!(last_lines(&mill).contains(&"M5".to_owned()), "{name}: {:?}", last_lines(&mill));
    }
}

#[test]
fn a_printer_that_heats_is_made_safe_within_seconds_of_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "hot.gcode", "G28\nM140 S60\nM109 S210\nG1 X10 F1200\nG1 X20\n");
    for (dialect, emergency_parser, name) in
        [("marlin", true, "-HUP"), ("marlin", false, "-TERM"), ("repetier", true, "-QUIT")]
    {
        let printer = simulated(dialect, &Setup { emergency_parser, ..Setup::default() });
        let child = send(&file, &printer, dialect).spawn().unwrap();
        until(&printer, |report| report.executed_lines.as_ref().unwrap().iter().any(|line| line.contains("M140")));
        std::thread::sleep(Duration::from_secs(1));
        let since = Instant::now();
        signal(&child, name);
        let (document, said, took) = ended(child, since);
        assert!(took < SEND_ENDS, "{dialect} {name}: {took:?}");
        let safe = last_lines(&printer).contains(&"M104S0".to_owned());
        assert!(safe || said.contains("not known"), "{dialect} {name}: {document:#}{said} {:?}", last_lines(&printer));
        assert!(dialect != "marlin" || safe, "{dialect} {name}: {:?}", last_lines(&printer));
    }
}

#[test]
fn a_machine_that_never_shows_that_it_stands_kept_send_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let long = "G28\nG1 X6000 F600\nG1 X0 F600\nG1 X5\nG1 X6\n";
    let file = written(folder.path(), "long.gcode", long);
    for setup in [
        Setup { says_wait: true, silent_after: Some(2), ..Setup::default() },
        Setup { nonsense_position: true, temperatures_every_ms: 300, ..Setup::default() },
    ] {
        let printer = simulated("marlin", &setup);
        let child = send(&file, &printer, "marlin").spawn().unwrap();
        until(&printer, |report| report.moving && report.executed >= 1);
        std::thread::sleep(Duration::from_secs(2));
        let since = Instant::now();
        signal(&child, "-TERM");
        let (document, said, took) = ended(child, since);
        assert!(took < SEND_ENDS, "{took:?}");
        assert_eq!(document["outcome"], "cancelled", "{document:#}{said}");
        assert!(said.contains("not known"), "{document:#}{said}");
    }
}

/// The program in a terminal of its own, and the terminal's other end: no other process has that.
fn in_a_terminal(command: &Command) -> (Child, PtyMaster) {
    let terminal = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname_r(&terminal).unwrap();
    let slave = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name).unwrap();
    let end = || Stdio::from(slave.try_clone().unwrap());
    let mut session = Command::new("setsid");
    session.arg("--ctty").arg(command.get_program()).args(command.get_args());
    let child = session.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    (child, terminal)
}

#[test]
fn a_closed_terminal_left_the_spindle_of_send_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "mill.nc", &milling());
    let mill = simulated("grbl", &Setup::default());
    let (mut child, terminal) = in_a_terminal(&send(&file, &mill, "grbl"));
    until(&mill, |report| report.executed > 6 && report.moving);
    let since = Instant::now();
    drop(terminal);
    let status = child.wait().unwrap();
    assert!(since.elapsed() < SEND_ENDS, "{:?}", since.elapsed());
    assert_eq!(status.code(), Some(1), "it ended by itself: {status:?}");
    assert!(!mill.report().unwrap().moving);
    assert!(last_lines(&mill).contains(&"M5".to_owned()), "{:?}", last_lines(&mill));
}

#[test]
fn a_hangup_that_is_to_be_outlived_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "mill.nc", "G21\nG90\nM3 S1000\nG1 X20 F600\nG1 X0\nM5\nM2\n");
    let mill = simulated("grbl", &Setup::default());
    let command = send(&file, &mill, "grbl");
    let mut outliving = Command::new("nohup");
    outliving.arg(command.get_program()).args(command.get_args());
    let child = outliving.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until(&mill, |report| report.moving);
    signal(&child, "-HUP");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn any_signal_that_ends_programs_left_the_spindle_of_run_on() {
    for name in ["-HUP", "-QUIT", "-USR1"] {
        let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
        let agent = workshop.start();
        agent.machine_is("mill", "idle");
        agent.start("mill", milling().as_bytes());
        agent.machine_is("mill", "running");
        let since = Instant::now();
        let sent = Command::new("kill").args([name, &agent.process().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(agent.wait(), Some(0), "{name}");
        assert!(since.elapsed() < RUN_ENDS, "{name}: {:?}", since.elapsed());
        let report = workshop.report("mill");
        assert!(!report.moving, "{name}: it stands");
    }
}
