//! A job is checked where it will lie, when it is started.

use drivers::sim::Setup;
use drivers::sim::port::Between;
use serde_json::json;

use super::agent::Workshop;
use super::id;

fn program(move_to: &str) -> Vec<u8> {
    format!("G21 G90\nM3 S1000\nG0 Z5\nG1 {move_to} F600\nM5\nM30\n").into_bytes()
}

#[test]
fn a_job_that_would_leave_the_machine_where_its_zero_is_now_was_started() {
    let mut workshop = Workshop::new(&[]);
    // It homes, and starts as one that somebody has homed.
    let setup = Setup {
        speed: f64::INFINITY,
        work_offset_mm: [-200.0, -100.0, -20.0],
        settings: vec![(22, 1.0), (30, 1000.0)],
        ..Setup::default()
    };
    workshop.put("mill", "grbl-mill-3018:switches", &setup, Between::default());
    let agent = workshop.start();
    let mill =
        agent.until("/api/v1/machines/mill", |mill| mill["place"]["codes"].as_str().is_some_and(|it| !it.is_empty()));
    assert_eq!(mill["place"]["work_offset_mm"], json!([-200.0, -100.0, -20.0]), "{mill:#}");
    assert!(mill["differences"].to_string().contains("profile.s_max"), "S1000 is full speed to it: {mill:#}");
    let beyond = agent.submit("mill", &program("X210"));
    let beyond = agent.job_is(&beyond, "queued");
    let findings = agent.ask("GET", &format!("/api/v1/jobs/{}/findings", id(&beyond)), "", b"").body;
    assert!(findings.contains("place.unchecked"), "only its size was checked: {findings}");
    let refused = agent.act("jobs", id(&beyond), "start");
    assert_eq!((refused.status, refused.code()), (409, "job.does_not_fit_here".to_owned()), "{}", refused.body);
    assert!(refused.body.contains("Line 4"), "{}", refused.body);
    agent.job_is(&beyond, "queued");
    assert_eq!(workshop.report("mill").executed, 0);
    let within = agent.submit("mill", &program("X190"));
    assert_eq!(agent.act("jobs", id(&within), "start").status, 200);
    agent.job_is(&within, "finished");
}
