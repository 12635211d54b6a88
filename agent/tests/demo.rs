//! The demo as people run it: the real program, three jobs to their end, and a summary that programs can read.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.arg("demo");
    command
}

#[test]
fn three_real_jobs_run_to_their_end_and_the_machines_counted_the_same() {
    let output = demo().args(["--once", "--json", "--speed", "200", "--listen", "127.0.0.1:0"]).output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{summary:#}");
    assert_eq!(summary["outcome"], "finished");
    let jobs = summary["jobs"].as_array().unwrap();
    let machines: Vec<_> = jobs.iter().map(|job| job["machine"].as_str().unwrap()).collect();
    assert_eq!(machines, ["printer", "mill", "laser"]);
    for job in jobs {
        assert_eq!(job["outcome"], "finished", "{job}");
        assert_eq!(job["executed"], job["machine_executed"], "{job}");
        assert!(job["executed"].as_u64() > Some(300) && job["violations"] == Value::Array(vec![]), "{job}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_with_its_code_and_nothing_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = demo().args(["--once", "--listen", &address]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("http.port_busy") && said.contains(&address), "{said}");
}

#[test]
fn arguments_that_make_no_sense_are_refused_with_exit_code_2() {
    for arguments in [["--speed", "0"], ["--speed", "NaN"], ["--listen", "0.0.0.0:8484"], ["--listen", "nowhere"]] {
        let output = demo().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_demo_that_is_interrupted_ends_cleanly() {
    let mut child = demo()
        .args(["--speed", "1", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert!(line.contains("http://127.0.0.1:") && line.contains("MQTT"), "{line}");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
