//! What an agent says after it was killed: which jobs ran, and what state the machines were found in.

use serde_json::Value;

use crate::agent::{Agent, Workshop, text};
use crate::{id, until};

/// Spindle on, a move of twenty seconds, and then so many that the machine has not the end of it yet.
fn slow() -> Vec<u8> {
    let moves: Vec<_> = (100..200).map(|y| format!("G1 Y-{y}\n")).collect();
    let moves = moves.concat();
    format!("G21 G90\nM3 S12000\nG0 Z-5\nG0 X-400\nG1 X-100 F900\n{moves}M5\nM2\n").into_bytes()
}

const CUBE: &[u8] = include_bytes!("../../../config/demo/cube.gcode");

/// The rows of the log since the agent began, that are of a machine and of a notice.
fn found(agent: &Agent, machine: &str, code: &str) -> Vec<Value> {
    let page = agent.get("/api/v1/log?limit=500");
    let rows = page["rows"].as_array().unwrap();
    let began = rows.iter().rposition(|row| row["type"] == "agent_started").unwrap();
    let is_wanted = |row: &&Value| row["machine"] == machine && row["notice"]["code"] == code;
    rows[began..].iter().filter(is_wanted).cloned().collect()
}

fn interrupted(agent: &Agent) -> Value {
    let page = agent.get("/api/v1/log?class=agent&limit=500");
    let started = page["rows"].as_array().unwrap().iter().rfind(|row| row["type"] == "agent_started").unwrap().clone();
    assert_eq!((text(&started, "ended_before"), &started["computer_restarted"]), ("without a word", &false.into()));
    assert!(started["last_written_at"].is_string() && started["not_written"]["from"].is_u64(), "{started:#}");
    started["jobs_interrupted"].clone()
}

#[test]
fn a_mill_that_moved_and_turned_behind_a_kill_was_called_free() {
    let workshop = Workshop::on_tcp(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    let job = agent.start("mill", &slow());
    until("it moves with its spindle on", || workshop.report("mill").moving);
    drop(agent);
    let agent = workshop.start();
    let moves = agent.until("/api/v1/machines/mill", |mill| mill["notice"]["code"] == "machine.moves");
    assert_eq!((text(&moves, "state"), &moves["accepting_jobs"]), ("busy", &false.into()), "{moves:#}");
    assert_eq!(interrupted(&agent)[0]["job"], job["id"]);
    let failed = agent.job_is(&job, "failed");
    assert_eq!(failed["reason"]["code"], "agent.restarted");
    until("that it moves is in the log", || !found(&agent, "mill", "machine.moves").is_empty());
    let refused = agent.act("jobs", id(&agent.submit("mill", &slow())), "start");
    assert_eq!(refused.status, 409, "{refused:?}");
    // It comes to the end of its move, and its spindle turns on.
    let turns = agent.until("/api/v1/machines/mill", |mill| mill["notice"]["code"] == "machine.spindle_on");
    assert_eq!(turns["state"], "attention", "{turns:#}");
    until("that it turns is in the log", || !found(&agent, "mill", "machine.spindle_on").is_empty());
}

#[test]
fn a_printer_that_was_hot_behind_a_kill_was_called_free() {
    let workshop = Workshop::on_tcp(&[("printer", "prusa-mk3s", 60.0)]);
    let agent = workshop.start();
    let job = agent.start("printer", CUBE);
    agent.until(&format!("/api/v1/jobs/{}", id(&job)), |job| job["progress"]["executed"].as_u64() > Some(60));
    drop(agent);
    let agent = workshop.start();
    let hot = agent.until("/api/v1/machines/printer", |printer| printer["notice"]["code"] == "machine.hot");
    assert_eq!((text(&hot, "state"), &hot["accepting_jobs"]), ("attention", &false.into()), "{hot:#}");
    assert_eq!(interrupted(&agent)[0]["job"], job["id"]);
    until("that it is hot is in the log", || !found(&agent, "printer", "machine.hot").is_empty());
}
