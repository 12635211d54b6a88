//! Program files: whole programs that `fab-agent` loads in blocks into a controller by the document, served by pymodbus, and
//! into the simulated one.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::served::{Served, commands, root};
use super::{impatient, simulator_on};

fn send(address: &str, profile: &Path, program: &Path) -> (Value, Output) {
    let output = Command::new(env!("CARGO_BIN_EXE_fab-agent"))
        .args(["send", "--no-preflight", "--json", "--port", address, "--profile"])
        .arg(profile)
        .arg(program)
        .output()
        .unwrap();
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {output:?}")), output)
}

/// Sends a real program of several thousand lines; the controller must have run it once, whole and in order.
fn runs_once(arguments: &[&str]) -> Value {
    let witness = Served::pymodbus("program_file_machine.py", arguments);
    let profile = impatient(include_str!("../../../config/machines/generic-program-file.toml"));
    let program = root().join("config/demo/cube.gcode");
    let (report, output) = send(&witness.address, profile.path(), &program);
    assert_eq!(report["outcome"], "finished", "{arguments:?}: {report} {output:?}");
    let wanted = commands(&program);
    assert!(wanted.len() > 3_000, "several thousand lines");
    assert_eq!(report["executed"], wanted.len(), "{report}");
    let witnessed = witness.report();
    assert_eq!(witnessed["starts"], 1, "{arguments:?}");
    let runs = witnessed["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{arguments:?}");
    let ran: Vec<_> = runs[0].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(ran, wanted, "{arguments:?}");
    assert!(witnessed["blocks"].as_u64().unwrap() > 300, "it went over in blocks");
    witnessed["faults"].clone()
}

#[test]
fn a_controller_by_the_document_on_pymodbus_is_loaded_in_blocks_started_once_and_finishes() {
    for kind in ["tcp", "rtu"] {
        runs_once(&[kind, "bad_block=7"]);
    }
}

#[test]
fn a_program_file_runs_once_although_answers_are_dropped_doubled_and_delayed() {
    // On a serial line an answer is protected against by its time limit and the silence after that, and not for longer.
    for (kind, late) in [("tcp", "late_ms=150"), ("rtu", "late_ms=100")] {
        let faults = runs_once(&[kind, "lost=0.01", "doubled=0.01", "late=0.01", late, "seed=11"]);
        for fault in ["lost", "doubled", "late"] {
            assert!(faults[fault].as_u64().unwrap() >= 5, "{kind} {faults}");
        }
    }
}

#[test]
fn a_program_file_is_sent_to_the_simulated_controller_and_ends_as_that_says() {
    let served = simulator_on(&["--tcp", "127.0.0.1:0", "--speed", "0"]);
    let address = format!("{}?unit=4", served.address);
    let profile = root().join("config/machines/generic-program-file.toml");
    let plate = root().join("config/demo/plate.nc");
    let (report, output) = send(&address, &profile, &plate);
    assert_eq!(report["outcome"], "finished", "{report} {output:?}");
    assert_eq!(report["executed"], commands(&plate).len());
    // The cube is a print: a controller of a mill does not know its words, and says so as its alarm.
    let (report, output) = send(&address, &profile, &root().join("config/demo/cube.gcode"));
    assert_eq!(report["outcome"], "failed", "{report}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("program.alarm.20"), "{output:?}");
}
