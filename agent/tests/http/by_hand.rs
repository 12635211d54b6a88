//! Moving a machine by hand, over the API.

use serde_json::{Value, json};

use super::agent::{self, Agent, PLATE, Workshop};

/// Asks with a JSON body.
fn order(agent: &Agent, path: &str, body: &Value) -> agent::Answer {
    let kind = "Content-Type: application/json\r\n";
    agent.ask("POST", &format!("/api/v1/machines/{path}"), kind, body.to_string().as_bytes())
}

#[test]
fn a_machine_is_homed_jogged_and_probed_by_hand_and_stands_when_nobody_asks() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let step = json!({ "by_mm": { "x": -2.0 }, "feed_mm_min": 3000 });
    assert_eq!(order(&agent, "mill/jog", &step).status, 200);
    agent.machine_is("mill", "idle");
    assert_eq!(workshop.report("mill").position_mm, [-2.0, 0.0, 0.0]);
    assert_eq!(agent.act("machines", "mill", "home").status, 200);
    let machine =
        agent.until("/api/v1/machines/mill", |machine| machine["homed"] == true && machine["state"] == "idle");
    assert_eq!(machine["asked"], Value::Null);
    assert_eq!(
        order(&agent, "mill/jog", &json!({ "by_mm": { "x": 5.0 }, "feed_mm_min": 600 })).code(),
        "request.outside_envelope"
    );
    // A button that is held, and a page that is gone.
    let held = json!({ "by_mm": { "x": -100.0 }, "feed_mm_min": 1000, "press": 1 });
    assert_eq!(order(&agent, "mill/jog", &held).status, 200);
    agent.machine_is("mill", "running");
    agent.machine_is("mill", "idle");
    let x = workshop.report("mill").position_mm[0];
    assert!((-60.0..0.0).contains(&x), "{x} of -100 mm");
    assert_eq!(order(&agent, "mill/jog", &held).code(), "jog.released");
    // And one that is let go.
    let held = json!({ "by_mm": { "x": -100.0 }, "feed_mm_min": 1000, "press": 2 });
    assert_eq!(order(&agent, "mill/jog", &held).status, 200);
    assert_eq!(order(&agent, "mill/jog", &json!({ "stop": true, "press": 2 })).status, 200);
    agent.machine_is("mill", "idle");
    assert_eq!(order(&agent, "mill/probe", &json!({ "down_mm": 20, "feed_mm_min": 500 })).status, 200);
    let found = agent.until("/api/v1/machines/mill", |machine| machine["probe"]["value"]["touched"] == true);
    assert_eq!(found["probe"]["value"]["position_mm"][2], -5.0);
}

#[test]
fn nothing_is_moved_by_hand_while_a_job_runs_and_overrides_are_taken_then() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    agent.start("mill", PLATE);
    agent.machine_is("mill", "running");
    let step = json!({ "by_mm": { "x": 1.0 }, "feed_mm_min": 600 });
    assert_eq!(agent.act("machines", "mill", "home").code(), "job.running");
    assert_eq!(order(&agent, "mill/jog", &step).code(), "job.running");
    assert_eq!(order(&agent, "mill/probe", &json!({ "down_mm": 5, "feed_mm_min": 50 })).code(), "job.running");
    assert_eq!(order(&agent, "mill/answer", &json!({ "choice": 0 })).code(), "machine.nothing_asked");
    let slower = json!({ "feed_percent": 50, "rapid_percent": 25, "spindle_percent": 90 });
    assert_eq!(order(&agent, "mill/override", &slower).status, 200);
    let wanted = |machine: &Value| machine["overrides"]["value"]["feed_percent"] == 50;
    let machine = agent.until("/api/v1/machines/mill", wanted);
    assert_eq!(machine["overrides"]["value"]["spindle_percent"], 90);
}

#[test]
fn a_body_that_makes_no_sense_moves_nothing() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0), ("printer", "prusa-mk3s", 1.0)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    agent.machine_is("printer", "idle");
    for (path, body, code) in [
        ("mill/jog", json!({}), "http.bad_request"),
        ("mill/jog", json!({ "by_mm": { "q": 1 }, "feed_mm_min": 100 }), "http.bad_request"),
        ("mill/jog", json!({ "stop": false }), "http.bad_request"),
        ("mill/jog", json!({ "by_mm": { "x": 1e300 }, "feed_mm_min": 100 }), "request.out_of_range"),
        ("mill/jog", json!({ "by_mm": { "x": 1 }, "feed_mm_min": 1e9 }), "request.out_of_range"),
        ("mill/probe", json!({ "down_mm": -1, "feed_mm_min": 100 }), "request.out_of_range"),
        ("mill/override", json!({}), "http.bad_request"),
        ("mill/override", json!({ "feed_percent": 900 }), "request.out_of_range"),
        ("mill/override", json!({ "flow_percent": 90 }), "request.unsupported"),
        ("printer/probe", json!({ "down_mm": 5, "feed_mm_min": 50 }), "request.unsupported"),
        ("printer/override", json!({ "rapid_percent": 50 }), "request.unsupported"),
    ] {
        assert_eq!(order(&agent, path, &body).code(), code, "{path} {body}");
    }
    // A form of another page cannot say that it is JSON.
    let form = agent.ask("POST", "/api/v1/machines/mill/jog", "Content-Type: text/plain\r\n", b"{}");
    assert_eq!(form.code(), "http.bad_request");
    assert_eq!(workshop.report("mill").position_mm, [0.0; 3]);
    let flow = order(&agent, "printer/override", &json!({ "flow_percent": 95 })).json();
    assert_eq!(flow["overrides"]["value"]["flow_percent"], 95, "{flow:#}");
}
