//! The link doctor from end to end: what goes wrong on a simulated machine's line comes out as one sentence that names
//! the cause, in status, job record, and on the command line. The real program, real HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "common/agent.rs"]
mod common;

use std::process::Command;
use std::time::Duration;

use common::{Agent, PLATE, Workshop};
use drivers::sim::port::Between;
use drivers::sim::{Faults, Setup};

const CUBE: &[u8] = include_bytes!("../../config/demo/cube.gcode");

/// Waits until the status names a cause and says which, in a sentence.
fn cause(agent: &Agent, machine: &str) -> (String, String) {
    let path = format!("/api/v1/machines/{machine}");
    let status = agent.until(&path, |status| status["link"]["likely_cause"].is_object());
    let cause = &status["link"]["likely_cause"];
    let text = |name: &str| cause[name].as_str().unwrap().to_owned();
    assert!(!text("to_do").is_empty(), "{cause:#}");
    (text("code"), text("happened"))
}

fn noisy() -> Between {
    Between { faults: Faults { flip: 3e-4, ..Faults::default() }, seed: 5, ..Between::default() }
}

#[test]
fn noise_is_named_where_the_supply_is_well_and_the_supply_where_it_is_not() {
    for (bits, expected, says) in [("0", "link.noise", "noise on the line"), ("50005", "link.undervoltage", "voltage")]
    {
        let mut workshop = Workshop::new(&[]);
        workshop.with_file("FAB_AGENT_THROTTLED", bits);
        let quick = Setup { speed: f64::INFINITY, ..Setup::default() };
        workshop.put("printer", "prusa-mk3s", &quick, noisy());
        let agent = workshop.start();
        let job = agent.start("printer", CUBE);
        let (code, happened) = cause(&agent, "printer");
        assert_eq!(code, expected, "{happened}");
        assert!(happened.contains(says), "{happened}");
        let doctor = workshop.run_beside(&agent, "doctor");
        assert!(doctor.contains(expected) && doctor.contains(says), "{doctor}");
        let id = job["id"].as_str().unwrap();
        let record = agent.until(&format!("/api/v1/jobs/{id}"), |record| {
            let over = ["finished", "failed", "cancelled", "held"].contains(&record["state"].as_str().unwrap());
            if record["state"] == "held" {
                agent.act("jobs", id, "cancel");
            }
            over && record["state"] != "held"
        });
        assert_eq!(record["link_cause"]["code"], expected, "{record:#}");
    }
}

#[test]
fn a_receive_buffer_smaller_than_the_machine_says_is_named() {
    let mut workshop = Workshop::new(&[]);
    let lying = Setup { speed: 20.0, claimed_buffer_bytes: Some(4096), ..Setup::default() };
    workshop.put("mill", "grbl-mill-3018", &lying, Between::default());
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    let id = job["id"].as_str().unwrap();
    let path = "/api/v1/machines/mill";
    // A mill at twenty times its speed runs out of moves as well, which is said meanwhile.
    agent.until(path, |status| {
        if status["state"] == "held" {
            agent.act("jobs", id, "resume");
        }
        status["link"]["likely_cause"]["code"] == "link.buffer_overflow"
    });
    assert!(workshop.report("mill").overflow > 0);
    assert!(workshop.run_beside(&agent, "doctor").contains("link.buffer_overflow"));
}

#[test]
fn a_computer_that_does_not_come_to_its_work_is_named() {
    let workshop = Workshop::new(&[("mill", "grbl-mill-3018", 1.0)]);
    let agent = workshop.start();
    agent.start("mill", PLATE);
    agent.machine_is("mill", "running");
    for stood in 1..=6 {
        let tell = |signal: &str| {
            let told = Command::new("kill").args([signal, &agent.process().to_string()]).status().unwrap();
            assert!(told.success());
        };
        // The whole process stands still, as on a computer that is busy with something else.
        tell("-STOP");
        std::thread::sleep(Duration::from_millis(500));
        tell("-CONT");
        agent.until("/api/v1/machines/mill", |status| status["link"]["late_host"].as_u64() >= Some(stood));
    }
    let (code, happened) = cause(&agent, "mill");
    assert_eq!(code, "link.late_host", "{happened}");
    assert!(workshop.run_beside(&agent, "doctor").contains("link.late_host"));
}
