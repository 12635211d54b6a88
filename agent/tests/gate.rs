//! The gate: what starts, and what does not, on a machine whose table must be said to be clear.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

#[path = "common/agent.rs"]
mod agent;

use agent::{Agent, PLATE, Workshop, text};
use serde_json::{Value, json};

const QUICK: f64 = 1000.0;

/// A program that lasts until it is ended.
fn long() -> Vec<u8> {
    let mut program = b"G21 G90 G17\nG1 X1 Y1 F300\n".to_vec();
    program.extend_from_slice(&b"X90\nX1\n".repeat(2000));
    program.extend_from_slice(b"M2\n");
    program
}

fn machine(agent: &Agent, name: &str) -> Value {
    agent.get(&format!("/api/v1/machines/{name}"))
}

/// A job that was submitted and checked.
fn queued(agent: &Agent, machine: &str, program: &[u8]) -> Value {
    let job = agent.submit(machine, program);
    agent.job_is(&job, "queued")
}

fn start(agent: &Agent, job: &Value) -> agent::Answer {
    agent.act("jobs", text(job, "id"), "start")
}

fn clear(agent: &Agent, machine: &str) -> Value {
    let answer = agent.act("machines", machine, "clear");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Waits until a machine waits for the word that its table is clear, and for nothing else.
fn waits_for_clear(agent: &Agent, name: &str) -> Value {
    agent.until(&format!("/api/v1/machines/{name}"), |machine| machine["waits_for_clear"] == true)
}

#[test]
fn a_second_click_started_a_job_onto_the_last_one() {
    let workshop = Workshop::new(&[("mill", "grbl-mill-3018", 1.0)]).clear_is_said();
    let agent = workshop.start();
    waits_for_clear(&agent, "mill");
    clear(&agent, "mill");
    agent.machine_is("mill", "idle");
    let (first, second) = (queued(&agent, "mill", &long()), queued(&agent, "mill", PLATE));
    assert_eq!(start(&agent, &first).status, 200);
    agent.job_is(&first, "running");
    assert_eq!(agent.act("jobs", text(&first, "id"), "cancel").status, 200);
    agent.job_is(&first, "cancelled");
    let shown = waits_for_clear(&agent, "mill");
    assert_eq!((&shown["state"], &shown["accepting_jobs"]), (&json!("attention"), &json!(false)), "{shown:#}");
    assert_eq!(shown["reason"]["code"], "table.not_clear");
    assert_eq!(shown["free_at"], Value::Null);
    assert_eq!(shown["table"]["by"], "job");
    let before = workshop.report("mill").executed;
    let refused = start(&agent, &second);
    assert_eq!((refused.status, refused.code().as_str()), (409, "table.not_clear"));
    assert_eq!(refused.json()["missing"][0]["code"], "table.not_clear");
    let waiting = agent.get(&format!("/api/v1/jobs/{}", text(&second, "id")));
    assert_eq!(waiting["state"], "queued");
    assert_eq!(waiting["waits_for"][0]["code"], "table.not_clear");
    assert_eq!(workshop.report("mill").executed, before, "the machine was told nothing");
    clear(&agent, "mill");
    agent.machine_is("mill", "idle");
    assert_eq!(start(&agent, &second).status, 200);
    // Who did what is in the record: not the start that was refused, and the word that let this one through.
    let record = agent.get(&format!("/api/v1/jobs/{}/record", text(&second, "id")));
    let numbers = ["submitted", "cleared", "started"].map(|what| record["people"][what]["number"].as_u64().unwrap());
    assert!(numbers[0] < numbers[1] && numbers[1] < numbers[2], "{record:#}");
    assert!(
        numbers[1]
            > agent.get(&format!("/api/v1/jobs/{}/record", text(&first, "id")))["people"]["started"]["number"]
                .as_u64()
                .unwrap()
    );
    assert_eq!(record["people"]["cleared"]["who"], "local");
    let kinds: Vec<_> = record["log"].as_array().unwrap().iter().map(|row| row["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"start_void"), "that a start was refused stands there too: {kinds:?}");
}

#[test]
fn after_every_kind_of_end_somebody_must_say_that_the_table_is_clear() {
    let workshop = Workshop::new(&[("mill", "grbl-mill-3018", QUICK)]).clear_is_said();
    let agent = workshop.start();
    assert_eq!(waits_for_clear(&agent, "mill")["table"]["by"], "unseen", "nobody knows what lies there");
    // A job that finished.
    clear(&agent, "mill");
    agent.start("mill", PLATE);
    let job = agent.get("/api/v1/jobs")["jobs"][0].clone();
    agent.job_is(&job, "finished");
    assert_eq!(waits_for_clear(&agent, "mill")["table"]["by"], "job");
    // An emergency stop: one word ends the alarm, another says that the table is clear.
    clear(&agent, "mill");
    agent.machine_is("mill", "idle");
    assert_eq!(agent.act("machines", "mill", "stop").status, 200);
    agent.machine_is("mill", "alarm");
    let shown = clear(&agent, "mill");
    assert_eq!((&shown["state"], &shown["table"]["by"]), (&json!("attention"), &json!("stop")), "{shown:#}");
    clear(&agent, "mill");
    agent.machine_is("mill", "idle");
    // A restart of the agent.
    drop(agent);
    let agent = workshop.start();
    let shown = waits_for_clear(&agent, "mill");
    assert_eq!(shown["table"]["by"], "unseen");
}

#[test]
fn a_machine_whose_table_is_not_clear_can_be_homed_and_jogged() {
    let workshop = Workshop::new(&[("mill", "grbl-mill-3018", QUICK)]).clear_is_said();
    let agent = workshop.start();
    waits_for_clear(&agent, "mill");
    let jog = json!({ "by_mm": { "x": 5.0 }, "feed_mm_min": 1000.0 }).to_string();
    let json_body = "Content-Type: application/json\r\n";
    let jogged = agent.ask("POST", "/api/v1/machines/mill/jog", json_body, jog.as_bytes());
    assert_eq!(jogged.status, 200, "{jogged:?}");
    // Moving it by hand says nothing of what lies on its table.
    let shown = agent.until("/api/v1/machines/mill", |machine| machine["position_mm"]["value"][0] == 5.0);
    assert_ne!(shown["table"]["state"], "clear");
    let shown = waits_for_clear(&agent, "mill");
    assert_eq!(shown["table"]["by"], "unseen");
}

#[test]
fn a_machine_that_lost_its_link_was_taken_to_be_as_it_was() {
    let mut workshop = Workshop::new(&[("mill", "grbl-mill-3018", QUICK)]).clear_is_said();
    let agent = workshop.start();
    waits_for_clear(&agent, "mill");
    clear(&agent, "mill");
    agent.machine_is("mill", "idle");
    workshop.unplug("mill");
    let shown = agent.machine_is("mill", "offline");
    assert_eq!((&shown["table"]["state"], &shown["table"]["by"]), (&json!("not_clear"), &json!("link_lost")));
}

#[test]
fn a_machine_out_of_service_starts_nothing_also_after_a_restart_until_it_is_put_back() {
    let workshop = Workshop::new(&[("mill", "grbl-mill-3018", QUICK)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = queued(&agent, "mill", PLATE);
    let service = "/api/v1/machines/mill/out-of-service";
    let json_body = "Content-Type: application/json\r\n";
    for nonsense in [
        json!({ "reason": " " }),
        json!({ "reason": "belt", "until": "soon" }),
        json!({ "until": "2000-01-01T00:00:00Z", "reason": "belt" }),
    ] {
        let answer = agent.ask("POST", service, json_body, nonsense.to_string().as_bytes());
        assert_eq!((answer.status, answer.code().as_str()), (422, "machine.service_unclear"), "{nonsense}");
    }
    let body = json!({ "reason": "The belt is <b>worn</b>", "until": "2999-01-01T00:00:00Z" }).to_string();
    let answer = agent.ask("POST", service, json_body, body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let shown = answer.json();
    assert_eq!((&shown["state"], &shown["accepting_jobs"]), (&json!("idle"), &json!(false)), "idle is not free");
    assert_eq!(shown["out_of_service"]["reason"], "The belt is <b>worn</b>");
    assert_eq!(agent.get("/api/v1/machines/mill/capacity")["reason"]["code"], "machine.out_of_service");
    assert_eq!(start(&agent, &job).code(), "machine.out_of_service");
    drop(agent);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    agent.until("/api/v1/machines/mill", |machine| machine["out_of_service"]["until"] == "2999-01-01T00:00:00Z");
    assert_eq!(start(&agent, &job).code(), "machine.out_of_service");
    assert_eq!(agent.ask("DELETE", service, "", b"").status, 200);
    assert_eq!(machine(&agent, "mill")["out_of_service"], Value::Null);
    assert_eq!(start(&agent, &job).status, 200);
    let log = agent.get("/api/v1/log?class=person&limit=500");
    let actions: Vec<_> = log["rows"].as_array().unwrap().iter().filter_map(|row| row["action"].as_str()).collect();
    assert!(actions.ends_with(&["submit", "out_of_service", "into_service", "start"]), "{actions:?}");
    let rows = log["rows"].as_array().unwrap();
    assert!(rows.iter().filter(|row| row["type"] == "asked").all(|row| row["who"] == "local"), "{rows:#?}");
}

#[test]
fn time_puts_a_machine_back_into_service() {
    let workshop = Workshop::new(&[("mill", "grbl-mill-3018", QUICK)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let until = (jiff::Timestamp::now() + std::time::Duration::from_secs(2)).to_string();
    let body = json!({ "reason": "lunch", "until": until }).to_string();
    let json_body = "Content-Type: application/json\r\n";
    assert_eq!(agent.ask("POST", "/api/v1/machines/mill/out-of-service", json_body, body.as_bytes()).status, 200);
    assert_eq!(machine(&agent, "mill")["accepting_jobs"], false);
    agent.until("/api/v1/machines/mill", |machine| machine["out_of_service"] == Value::Null);
    assert_eq!(machine(&agent, "mill")["accepting_jobs"], true);
}
