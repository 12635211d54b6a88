//! `fab-agent send` against OctoPrint's virtual printer on a pseudo-terminal: a printer that is not ours.
//!
//! `./check` installs OctoPrint into `.check/python`; without it these tests fail.

#![allow(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

mod faults;

/// A virtual printer at work.
struct Printer {
    process: Child,
    out: BufReader<ChildStdout>,
    port: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Printer {
    fn start(settings: &[&str]) -> Self {
        let python = root().join(".check/python/bin/python");
        assert!(python.exists(), "OctoPrint is not installed: run ./check, which installs it into .check/python");
        let mut process = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witnesses/octoprint_printer.py"))
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut port = String::new();
        out.read_line(&mut port).unwrap();
        Self { process, out, port: port.trim().to_owned() }
    }

    /// Ends it; what it executed, and how many seconds ago its last fault began.
    fn end(mut self) -> (Vec<String>, Option<f64>) {
        drop(self.process.stdin.take());
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        self.process.wait().unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        let executed = report["executed"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
        (executed.collect(), report["fault_s"].as_f64())
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command as its fewest bytes: what goes over the wire also has the blanks that readers of numbers need.
fn fewest_bytes(line: &[u8]) -> String {
    let mut out = Vec::new();
    gcode_tools::wire::compact(&gcode_tools::block::Block::new(line), &mut out);
    String::from_utf8(out).unwrap()
}

/// The commands of a program.
fn commands(program: &Path) -> Vec<String> {
    let mut lines = gcode_tools::read::Lines::new(std::fs::File::open(program).unwrap());
    let mut commands = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        commands.push(fewest_bytes(line.bytes));
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// What became of a program on a virtual printer.
struct Sent {
    /// The final object of `send`.
    report: Value,
    /// What it said besides.
    complaints: String,
    /// What the printer executed of the program, the agent's own words aside.
    executed: Vec<String>,
    /// What it should have.
    wanted: Vec<String>,
    /// How long `send` went on after the printer's last fault began, in seconds.
    after_fault_s: Option<f64>,
}

fn own(line: &str) -> bool {
    ["M110", "M105", "M113", "M114", "M115", "M155", "M27", "M400", "M86"].iter().any(|word| line.starts_with(word))
}

/// Sends a program to a printer with these settings.
fn send(program: &Path, settings: &[&str]) -> Sent {
    let printer = Printer::start(settings);
    let output = Command::new(env!("CARGO_BIN_EXE_fab-agent"))
        .args(["send", "--dialect", "marlin", "--json", "--no-preflight", "--port", &printer.port])
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}{complaints}"));
    let (executed, after_fault_s) = printer.end();
    let executed = executed.iter().map(|line| fewest_bytes(line.as_bytes())).filter(|line| !own(line)).collect();
    let wanted = commands(program).into_iter().filter(|line| !own(line)).collect();
    Sent { report, complaints, executed, wanted, after_fault_s }
}

/// Sends the demo's print to one that lets it finish; returns the final object, what was executed and what should have been.
fn finish(settings: &[&str]) -> (Value, Vec<String>, Vec<String>) {
    let Sent { report, complaints, executed, wanted, .. } = send(&root().join("config/demo/cube.gcode"), settings);
    assert_eq!(report["outcome"], "finished", "{report}\n{complaints}");
    (report, executed, wanted)
}

#[test]
fn octoprints_virtual_printer_takes_a_real_print() {
    let (report, executed, wanted) = finish(&[]);
    assert_eq!(report["executed"], report["commands"]);
    assert!(wanted.len() > 3_000, "several thousand lines");
    assert_eq!(executed, wanted);
}

/// It refuses every twentieth numbered line once, in the two ways that keep the line for later.
#[test]
fn octoprints_virtual_printer_takes_it_although_it_refuses_every_twentieth_line() {
    let errors: Vec<String> = (20..5_400)
        .step_by(20)
        .map(|line| format!("\"{line}:{}\"", if line % 40 == 0 { "resend" } else { "checksum_mismatch" }))
        .collect();
    let (report, executed, wanted) = finish(&[&format!("simulated_errors=[{}]", errors.join(","))]);
    assert!(report["resends"].as_u64().unwrap() >= 260, "{report}");
    assert_eq!(executed, wanted);
}

/// Nothing ran twice or out of order.
fn in_order(executed: &[String], wanted: &[String]) {
    let mut rest = wanted.iter();
    for line in executed {
        assert!(rest.any(|next| next == line), "{line} ran twice or out of order");
    }
}

/// Its `resend_ratio` counts the line it throws away as received and asks for the one behind it: no host can bring
/// that line back. What any host can do is to come to the end, in order, with nothing twice. It begins behind the program's
/// first lines: without its G90 the printer makes moves of metres, and takes its time for them.
#[test]
fn octoprints_virtual_printer_may_throw_lines_away_and_nothing_runs_twice_or_out_of_order() {
    let settings = [
        "faults={\"40\": [\"resend_ratio 5\"]}",
        "simulated_errors=[\"105:resend_with_timeout\",\"110:missing_lineno\"]",
    ];
    let Sent { report, complaints, executed, wanted, .. } = faults::send_some(2_000, &settings);
    assert_eq!(report["outcome"], "finished", "{report}\n{complaints}");
    let resends = report["resends"].as_u64().unwrap();
    assert!(resends > 100, "{report}");
    in_order(&executed, &wanted);
    assert!(wanted.len() - executed.len() <= resends as usize, "{} of {}", executed.len(), wanted.len());
}
