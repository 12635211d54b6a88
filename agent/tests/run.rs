//! `fab-agent run` and `config check` given a configuration they cannot use, and a broker that is not there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "common/agent.rs"]
mod agent;

use std::process::{Command, Output};

use agent::{PLATE, Workshop, text};
use drivers::profile::Profile;
use drivers::sim;
use drivers::sim::port::{Between, Port};
use serde_json::Value;

const CUBE: &[u8] = include_bytes!("../../config/demo/cube.gcode");

fn fab_agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fab-agent")).args(arguments).output().unwrap()
}

#[test]
fn a_configuration_with_three_mistakes_is_told_all_three_and_starts_nothing() {
    let home = tempfile::tempdir().unwrap();
    let machine = sim::simulated("grbl", &sim::Setup::default()).unwrap();
    let port = Port::on_pty(machine, Between::default(), None).unwrap();
    let config = home.path().join("agent.toml");
    let sections = [
        "[http]\nlisten = \"0.0.0.0:0\"\n[store]\ndir = \"store\"\nhistory_jobs = -1\n",
        "[[machine]]\nid = \"mill\"\nprofile = \"grbl-router-6040\"\nbauds = 9600\n",
        &format!("port = \"{}\"\n", port.address()),
    ];
    std::fs::write(&config, sections.concat()).unwrap();
    let path = config.to_str().unwrap();
    for arguments in [&["run", "--config", path][..], &["config", "check", path]] {
        let output = fab_agent(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for line in [2, 5, 9] {
            assert!(said.contains(&format!("{path}: line {line}")), "line {line}: {said}");
        }
        assert!(said.contains("3 mistakes") && said.contains("[config.invalid]"), "{said}");
    }
    let output = fab_agent(&["config", "check", path, "--json"]);
    let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((checked["valid"].as_bool(), checked["problems"].as_array().unwrap().len()), (Some(false), 3));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(port.report().unwrap().bytes, 0, "the machine heard nothing");
    assert!(!home.path().join("store").exists(), "nothing half done");
}

#[test]
fn a_configuration_that_is_not_there_or_names_no_machine_starts_nothing() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("agent.toml");
    let path = config.to_str().unwrap();
    for (content, code) in
        [(None, "config.invalid"), (Some("[http]\nlisten = \"127.0.0.1:0\"\n"), "config.no_machines")]
    {
        if let Some(content) = content {
            std::fs::write(&config, content).unwrap();
        }
        for arguments in [&["run", "--config", path][..], &["config", "check", path]] {
            let output = fab_agent(arguments);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(code) && said.contains(path), "{said}");
        }
    }
}

#[test]
fn a_broker_that_is_away_keeps_no_machine_from_its_work() {
    // Port 1 of this computer: nobody listens there.
    let mut workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    workshop.with_broker(1);
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    agent.job_is(&job, "finished");
    assert_eq!(agent.act("machines", "mill", "stop").status, 200);
    agent.machine_is("mill", "alarm");
    Command::new("kill").args(["-TERM", &agent.process().to_string()]).status().unwrap();
    assert_eq!(agent.wait(), Some(0), "and the agent ends when it is told to");
}

#[test]
fn machines_that_are_off_and_a_broker_that_is_away_filled_the_log() {
    // A box that takes every connection and closes it, as one whose machine is off.
    let adapter = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = adapter.local_addr().unwrap();
    let (attempt, attempts) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || adapter.incoming().try_for_each(|_| attempt.send(())));
    let bundled = |name: &str| Profile::bundled().iter().find(|(known, _)| *known == name).unwrap().1;
    let (profile, mailbox) = (bundled("grbl-router-6040"), bundled("generic-mailbox"));
    let mut workshop = Workshop::new(&[])
        .with_machine("unplugged", profile, "/dev/fab-agent-no-such-port")
        .with_machine("refused", profile, "tcp://127.0.0.1:1")
        .with_machine("adapter", profile, &format!("tcp://{address}"))
        .with_machine("registers", mailbox, "modbus-tcp://127.0.0.1:1");
    workshop.with_broker(1);
    let agent = workshop.start();
    // The others have tried as often by then: the pauses between attempts are the same.
    for _ in 0..6 {
        attempts.recv_timeout(agent::PATIENCE).expect("another attempt");
    }
    let said = agent.said();
    for machine in ["unplugged", "refused", "adapter", "registers"] {
        let lines = said.iter().filter(|line| line.contains(&format!("machine={machine} notice"))).count();
        assert_eq!(lines, 1, "{machine}: {said:#?}");
        let rows = agent.get(&format!("/api/v1/log?machine={machine}&limit=500"));
        let rows = rows["rows"].as_array().unwrap().len();
        assert!(rows <= 4, "{machine}: {rows} rows for as many attempts");
        assert_eq!(agent.get(&format!("/api/v1/machines/{machine}"))["state"], "offline");
    }
    assert_eq!(said.iter().filter(|line| line.contains("mqtt.unreachable")).count(), 1, "{said:#?}");
}

#[test]
fn an_agent_that_ended_left_the_spindle_turning_and_the_nozzle_hot() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 20.0), ("printer", "prusa-mk3s", 60.0)]);
    let agent = workshop.start();
    let jobs = [("mill", PLATE), ("printer", CUBE)].map(|(machine, program)| agent.start(machine, program));
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while ["mill", "printer"].iter().any(|name| workshop.report(name).executed < 60) {
        assert!(std::time::Instant::now() < patience, "the jobs never ran");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Command::new("kill").args(["-TERM", &agent.process().to_string()]).status().unwrap();
    assert_eq!(agent.wait(), Some(0));
    for (machine, word) in [("mill", "M5"), ("printer", "M104S0")] {
        let report = workshop.report(machine);
        assert!(!report.moving, "{machine} moves");
        let said = report.executed_lines.unwrap();
        let last = said.iter().rev().take(10).any(|line| line.replace(' ', "") == word);
        assert!(last, "{machine}: no {word} at the end: {:?}", &said[said.len() - 10..]);
    }
    // What became of the jobs is known to the next agent, with the reason; they can go on as jobs that failed can.
    let agent = workshop.start();
    for job in &jobs {
        let job = agent.job_is(job, "failed");
        assert_eq!(job["reason"]["code"], "agent.ended", "{job:#}");
    }
}

#[test]
fn a_job_is_submitted_started_and_followed_from_the_command_line() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1000.0)]);
    let agent = workshop.start();
    let job = |arguments: &[&str]| fab_agent(&[&["job", "--json", "--agent", &agent.host], arguments].concat());
    let answer = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let program = workshop.home.path().join("plate & bracket.nc");
    std::fs::write(&program, PLATE).unwrap();

    let submitted = job(&["submit", program.to_str().unwrap(), "--machine", "mill"]);
    assert!(submitted.status.success(), "{submitted:?}");
    let submitted = answer(&submitted);
    assert_eq!((text(&submitted, "state"), text(&submitted, "name")), ("queued", "plate & bracket.nc"));
    assert_eq!(submitted["bytes"].as_u64(), Some(PLATE.len() as u64));
    let id = text(&submitted, "id");
    assert!(job(&["start", id]).status.success());
    agent.job_is(&submitted, "finished");
    assert_eq!(text(&answer(&job(&["show", id])), "state"), "finished");
    let listed = answer(&job(&["list", "--machine", "mill", "--state", "finished"]));
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1);

    for (arguments, code) in [
        (&["start", id][..], "[job."),
        (&["cancel", "../machines/mill/stop"], "[job."),
        (&["submit", "missing.nc", "--machine", "mill"], "[file.missing]"),
        (&["submit", program.to_str().unwrap(), "--machine", "lathe"], "[machine."),
    ] {
        let output = job(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(code), "{arguments:?}: {said}");
    }
    let nobody = fab_agent(&["job", "list", "--agent", "127.0.0.1:1"]);
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("[agent.unreachable]"));
}

#[test]
fn a_port_of_an_rs485_board_was_shut_out_by_the_unit() {
    let unit = include_str!("../../systemd/fab-agent.service");
    for kind in ["ttyUSB", "ttyACM", "ttyAMA", "ttyS", "ttySC"] {
        let allowed = format!("DeviceAllow=char-{kind} rw");
        assert!(unit.lines().any(|line| line == allowed), "{allowed}");
    }
    assert!(include_str!("../../systemd/60-fab-agent.rules").contains("ttySC[0-9]*"));
}
