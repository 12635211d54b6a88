//! `fab-agent` against Modbus devices that are not ours: a mailbox machine served by pymodbus, and `mbpoll` as another
//! master on our simulator.
//!
//! `./check` installs pymodbus into `.check/python` and mbpoll from Debian; without them these tests fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

/// A process whose first line says where it serves.
struct Served {
    process: Child,
    out: BufReader<Box<dyn std::io::Read>>,
    address: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Served {
    /// The mailbox machine of the document, on pymodbus.
    fn witness(arguments: &[&str]) -> Self {
        let python = root().join(".check/python/bin/python");
        assert!(python.exists(), "pymodbus is not installed: run ./check, which installs it into .check/python");
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witnesses/mailbox_machine.py")).args(arguments);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out: ChildStdout = process.stdout.take().unwrap();
        Self::new(process, Box::new(out))
    }

    fn new(process: Child, out: Box<dyn std::io::Read>) -> Self {
        let mut out = BufReader::new(out);
        let mut address = String::new();
        out.read_line(&mut address).unwrap();
        Self { process, out, address: address.trim().to_owned() }
    }

    /// Ends it; what it says it did.
    fn report(mut self) -> Value {
        drop(self.process.stdin.take());
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The commands of a program, as they go over the wire.
fn commands(program: &Path) -> Vec<String> {
    let mut lines = gcode_tools::read::Lines::new(std::fs::File::open(program).unwrap());
    let mut commands = Vec::new();
    let mut out = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        out.clear();
        let block = gcode_tools::block::Block::new(line.bytes);
        gcode_tools::wire::compact_for(&block, gcode_tools::wire::Alphabet::Grbl, &mut out);
        if !out.is_empty() {
            commands.push(String::from_utf8(out.clone()).unwrap());
        }
    }
    commands
}

/// A profile of the machine with short time limits, so that thousands of faults fit into a test.
fn impatient_profile() -> tempfile::NamedTempFile {
    let text =
        include_str!("../../config/machines/generic-mailbox.toml").replace("timeout_ms = 500", "timeout_ms = 60");
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Sends a real program of several thousand lines; what the machine took must be that, each line once.
fn sends_each_line_once(arguments: &[&str]) -> Value {
    let witness = Served::witness(arguments);
    let profile = impatient_profile();
    let program = root().join("config/demo/cube.gcode");
    let output = Command::new(env!("CARGO_BIN_EXE_fab-agent"))
        .args(["send", "--no-preflight", "--json", "--port", &witness.address, "--profile"])
        .arg(profile.path())
        .arg(&program)
        .output()
        .unwrap();
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}{said}"));
    assert_eq!(report["outcome"], "finished", "{report}\n{said}");
    let wanted = commands(&program);
    assert!(wanted.len() > 3_000, "several thousand lines");
    assert_eq!(report["executed"], wanted.len(), "{report}");
    let witnessed = witness.report();
    let taken: Vec<_> = witnessed["taken"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(taken, wanted);
    witnessed["faults"].clone()
}

#[test]
fn pymodbus_plays_the_machine_by_the_document_over_tcp() {
    sends_each_line_once(&["tcp"]);
    sends_each_line_once(&["tcp", "read_write=0"]);
}

#[test]
fn pymodbus_plays_the_machine_by_the_document_over_a_serial_line() {
    sends_each_line_once(&["rtu"]);
}

#[test]
fn every_line_is_taken_once_although_answers_are_dropped_doubled_and_delayed() {
    for kind in ["tcp", "rtu"] {
        for read_write in ["read_write=1", "read_write=0"] {
            let faults = sends_each_line_once(&[kind, read_write, "lost=0.03", "doubled=0.03", "late=0.03", "seed=7"]);
            for fault in ["lost", "doubled", "late"] {
                assert!(faults[fault].as_u64().unwrap() >= 5, "{kind} {faults}");
            }
        }
    }
}

/// A simulator of ours on TCP; its address and its port number.
fn simulator() -> (Served, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.args(["simulate", "modbus", "--tcp", "127.0.0.1:0"]);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = process.stderr.take().unwrap();
    let mut served = Served::new(process, Box::new(said));
    let address = served.address.split_whitespace().find(|word| word.starts_with("modbus-tcp://")).unwrap();
    served.address = address.trim_end_matches('.').to_owned();
    let port = served.address.rsplit(':').next().unwrap().to_owned();
    (served, port)
}

fn mbpoll(port: &str, arguments: &[&str]) -> String {
    let output = Command::new("mbpoll").args(["-m", "tcp", "-p", port, "-0", "-1", "-q"]).args(arguments).output();
    let output = output.expect("mbpoll is not installed: run ./check");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn modbus(address: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.arg("modbus").arg(arguments[0]).arg(address).args(&arguments[1..]).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn mbpoll_and_our_hand_tool_read_the_same_and_see_each_others_writes() {
    let (served, port) = simulator();
    // A float, an unsigned and a signed number; then each writes what the other reads.
    let volts = mbpoll(&port, &["-a", "3", "-t", "3:float", "-B", "-r", "0", "127.0.0.1"]);
    assert!(volts.contains("230"), "{volts}");
    let ours = modbus(&served.address, &["read", "--unit", "3", "--table", "input", "--at", "0", "--type", "f32"]);
    assert!(out(&ours).contains("230"), "{ours:?}");
    let written = mbpoll(&port, &["-a", "2", "-t", "4", "-r", "1", "127.0.0.1", "12345"]);
    assert!(written.contains("Written 1"), "{written}");
    let ours = modbus(&served.address, &["read", "--unit", "2", "--at", "1", "--json"]);
    let value: Value = serde_json::from_str(&out(&ours)).unwrap();
    assert_eq!(value["values"][0]["value"], 12345.0, "{value}");
    let ours = modbus(&served.address, &["write", "--unit", "2", "--at", "1", "--value", "-1", "--type", "i16"]);
    assert_eq!(ours.status.code(), Some(1), "the drive takes 0 to 40000: {ours:?}");
    assert!(String::from_utf8_lossy(&ours.stderr).contains("[modbus.illegal_value]"), "{ours:?}");
    let ours = modbus(&served.address, &["write", "--unit", "2", "--at", "1", "--value", "250", "--scale", "0.01"]);
    assert_eq!(ours.status.code(), Some(0), "{ours:?}");
    let theirs = mbpoll(&port, &["-a", "2", "-t", "4", "-r", "1", "127.0.0.1"]);
    assert!(theirs.contains("25000"), "{theirs}");
}

#[test]
fn a_scan_finds_the_devices_and_writes_nothing() {
    let (served, port) = simulator();
    let before = mbpoll(&port, &["-a", "1", "-t", "4", "-r", "32", "-c", "60", "127.0.0.1"]);
    let scan = modbus(&served.address, &["scan", "--units", "1-9", "--json"]);
    let found: Value = serde_json::from_str(&out(&scan)).unwrap();
    let units: Vec<_> = found["units"].as_array().unwrap().iter().map(|unit| unit["unit"].as_u64().unwrap()).collect();
    assert_eq!(units, [1, 2, 3], "{found}");
    assert_eq!(mbpoll(&port, &["-a", "1", "-t", "4", "-r", "32", "-c", "60", "127.0.0.1"]), before);
}

#[test]
fn long_and_floating_numbers_agree_with_mbpoll_in_both_word_orders() {
    let (served, port) = simulator();
    // A place in the machine's slots, which are free while no session is open. mbpoll's -B puts the high word first.
    let cases = [("4:int", "i32", "-1234567"), ("4:float", "f32", "-0.75"), ("4:int", "u32", "1234567")];
    for (theirs, ours, value) in cases {
        for (order, high_first) in [("abcd", Some("-B")), ("cdab", None)] {
            let common = ["-a", "1", "-t", theirs, "-r", "900"];
            let arguments: Vec<&str> = common.into_iter().chain(high_first).chain(["127.0.0.1"]).collect();
            let written = mbpoll(&port, &[&arguments[..], &["--", value]].concat());
            assert!(written.contains("Written 1"), "{theirs} {order}: {written}");
            let place = ["--unit", "1", "--at", "900", "--type", ours, "--order", order];
            let read = modbus(&served.address, &[&["read"], &place[..], &["--json"]].concat());
            let document: Value = serde_json::from_str(&out(&read)).unwrap();
            let wanted: f64 = value.parse().unwrap();
            assert_eq!(document["values"][0]["value"], wanted, "{theirs} {order}: {document}");
            let doubled = (wanted * 2.0).to_string();
            let wrote = modbus(&served.address, &[&["write"], &place[..], &["--value", &doubled]].concat());
            assert_eq!(wrote.status.code(), Some(0), "{wrote:?}");
            let read = mbpoll(&port, &arguments);
            assert!(read.contains(&doubled), "{ours} {order}: {doubled} written, {read}");
        }
    }
}
