//! The API over real HTTP, against the real program with simulated machines on pseudo-terminals.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

mod access;
#[path = "../common/agent.rs"]
mod agent;
mod by_hand;
mod place;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use agent::{Agent, PATIENCE, PLATE, Workshop, text};
use fab_agent::config;
use fab_agent::store::Store;
use serde_json::{Value, json};

const TOKEN: &str = "correct-horse-battery-staple";

/// Commands of a program as the machine gets them: without comments, blanks and the tape's ends.
fn commands(program: &[u8]) -> Vec<String> {
    let program = String::from_utf8(program.to_vec()).unwrap();
    let lines = program.lines().map(|line| {
        let mut kept = String::new();
        let mut inside = false;
        for letter in line.split(';').next().unwrap().chars() {
            inside = (inside || letter == '(') && letter != ')';
            if !inside && letter != ')' && !letter.is_whitespace() {
                kept.push(letter);
            }
        }
        kept
    });
    lines.filter(|line| !line.is_empty() && line != "%").collect()
}

fn id(job: &Value) -> &str {
    text(job, "id")
}

#[test]
fn a_program_is_submitted_started_and_finished_and_the_machine_executed_exactly_it() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PLATE);
    let job = agent.job_is(&job, "queued");
    assert_eq!((&job["lines"], &job["name"]), (&json!(757), &json!("part.nc")));
    assert_eq!(workshop.report("mill").executed, 0, "submit is not start");
    assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
    let job = agent.job_is(&job, "finished");
    let progress = &job["progress"];
    assert_eq!(progress["executed"], job["commands"], "{job:#}");
    assert_eq!((&progress["sent"], &progress["accepted"]), (&job["commands"], &job["commands"]));
    let report = workshop.report("mill");
    let executed: Vec<_> = report.executed_lines.unwrap().iter().map(|line| line.replace(' ', "")).collect();
    assert_eq!(executed, commands(PLATE));
    assert_eq!(report.violations, Vec::<String>::new());
    let program = agent.ask("GET", &format!("/api/v1/jobs/{}/program", id(&job)), "", b"");
    assert_eq!(program.body.as_bytes(), PLATE);
    let again = agent.act("jobs", id(&job), "start");
    assert_eq!((again.status, again.code().as_str()), (409, "job.not_startable"));
}

#[test]
fn what_the_machine_ignored_stands_in_the_jobs_record() {
    let workshop = Workshop::new(&[("printer", "prusa-mk3s", f64::INFINITY)]);
    let agent = workshop.start();
    agent.machine_is("printer", "idle");
    let job = agent.submit("printer", b"G21\nG90\nG28\nG1 X5 Y5 Z5 F3000\nM101\nG1 X10\n");
    agent.job_is(&job, "queued");
    assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
    let job = agent.job_is(&job, "finished");
    let progress = &job["progress"];
    assert_eq!((&progress["ignored"], &progress["refused"], &progress["executed"]), (&json!(1), &json!(0), &json!(5)));
    assert_eq!((&job["first_ignored"]["line"], &job["first_refused"]), (&json!(5), &Value::Null), "{job:#}");
    assert_eq!(progress["fraction"], 1.0, "nothing more will come of it");
}

#[test]
fn a_running_job_is_held_resumed_and_cancelled() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PLATE);
    let waiting = agent.act("jobs", id(&job), "pause");
    assert_eq!((waiting.status, waiting.code().as_str()), (409, "job.not_running"));
    assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
    agent.machine_is("mill", "running");
    let other = agent.submit("mill", b"G21 G90\nG0 X1 Y1\nM2\n");
    let early = agent.act("jobs", id(&other), "start");
    assert_eq!((early.status, early.code().as_str()), (409, "job.running"));
    agent.job_is(&other, "queued");
    assert_eq!(agent.act("jobs", id(&job), "pause").status, 200);
    agent.machine_is("mill", "held");
    agent.job_is(&job, "held");
    assert_eq!(agent.act("jobs", id(&job), "resume").status, 200);
    agent.machine_is("mill", "running");
    assert_eq!(agent.act("jobs", id(&job), "cancel").status, 200);
    let job = agent.job_is(&job, "cancelled");
    assert!(job["progress"]["executed"].as_u64() < job["commands"].as_u64(), "{job:#}");
    assert_eq!(agent.act("jobs", id(&job), "cancel").status, 200, "what is so already is no error");
}

#[test]
fn a_stop_ends_the_job_and_a_person_clears_the_machine() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    agent.machine_is("mill", "running");
    let stopped = agent.act("machines", "mill", "stop");
    assert_eq!((stopped.status, &stopped.json()["stopped"]), (200, &json!(true)));
    let job = agent.until(&format!("/api/v1/jobs/{}", id(&job)), |job| job["ended_at"].is_string());
    assert!(["failed", "cancelled"].contains(&text(&job, "state")), "{job:#}");
    assert!(job["reason"]["code"].is_string(), "{job:#}");
    let machine = agent.until("/api/v1/machines/mill", |machine| machine["state"] != "running");
    assert!(!workshop.report("mill").moving);
    if machine["state"] == "alarm" {
        assert_eq!((&machine["accepting_jobs"], machine["reason"].is_object()), (&json!(false), true));
        assert_eq!(agent.act("machines", "mill", "clear").status, 200);
    }
    agent.machine_is("mill", "idle");
}

#[test]
fn what_cannot_run_is_refused_with_the_line() {
    let machines = [("mill", "grbl-router-6040", f64::INFINITY), ("printer", "prusa-mk3s", f64::INFINITY)];
    let workshop = Workshop::new(&machines);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    for (program, code) in [
        (&b""[..], "file.empty"),
        (b"; nothing but a comment\n", "file.empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "file.not_gcode"),
        (b"\0\x01\x02\x03\xff\xfe\0\0\0\0\0\0\0\0", "file.binary"),
        (b"PK\x03\x04zip", "file.damaged"),
        (b"G21 G90\nM3 S9000\nG1 X99999 F500\nM2\n", "job.preflight_failed"),
    ] {
        let job = agent.submit("mill", program);
        assert_eq!(job["state"], "refused", "{job:#}");
        assert_eq!(job["reason"]["code"], code, "{job:#}");
        let start = agent.act("jobs", id(&job), "start");
        assert_eq!((start.status, start.code().as_str()), (409, "job.not_startable"));
    }
    let broken_off = agent.submit("printer", b"; generated by PrusaSlicer 2.5.0\nG28\nM109 S200\nG1 X5 E1 F12");
    assert_eq!(broken_off["reason"]["code"], "file.truncated", "{broken_off:#}");
    let jobs = agent.get("/api/v1/jobs?state=refused&machine=mill&limit=1");
    let findings = agent.get(&format!("/api/v1/jobs/{}/findings", id(&jobs["jobs"][0])));
    let outside = findings["findings"].as_array().unwrap().iter().find(|finding| finding["severity"] == "error");
    assert_eq!(outside.unwrap()["line"], 3, "{findings:#}");
    assert_eq!(workshop.report("mill").executed, 0);
}

#[test]
fn a_request_that_makes_no_sense_gets_a_problem_with_a_stable_code() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    let submit = "/api/v1/machines/mill/jobs";
    let large = vec![b'\n'; (1 << 20) + 1];
    for (method, path, headers, body, status, code) in [
        ("GET", "/api/v1/machines/lathe", "", &b""[..], 404, "machine.unknown_name"),
        ("POST", "/api/v1/machines/lathe/stop", "", b"", 404, "machine.unknown_name"),
        ("POST", "/api/v1/machines/lathe/jobs", "", b"G0 X1\n", 404, "machine.unknown_name"),
        ("GET", "/api/v1/jobs/..%2f..%2fetc%2fpasswd", "", b"", 404, "job.unknown"),
        ("GET", "/api/v1/jobs/..%2f..%2fetc%2fpasswd/program", "", b"", 404, "job.unknown"),
        ("POST", "/api/v1/jobs/nothing/start", "", b"", 404, "job.unknown"),
        ("GET", "/api/v1/nowhere", "", b"", 404, "http.no_such_route"),
        ("DELETE", "/api/v1/jobs", "", b"", 405, "http.method"),
        ("POST", submit, "X-Content-SHA256: beef\r\n", b"G0 X1\n", 400, "http.bad_request"),
        ("POST", submit, "Repr-Digest: sha-256=:AAAA:\r\n", b"G0 X1\n", 400, "http.bad_request"),
        ("POST", submit, "Idempotency-Key: \r\n", b"G0 X1\n", 400, "http.bad_request"),
        ("POST", submit, "", &large, 413, "job.too_large"),
        ("GET", "/api/v1/jobs?limit=many", "", b"", 400, "http.bad_request"),
    ] {
        let answer = agent.ask(method, path, headers, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
    let other_hash = format!("X-Content-SHA256: {}\r\n", "0".repeat(64));
    let answer = agent.ask("POST", submit, &other_hash, b"G0 X1\n");
    assert_eq!((answer.status, answer.code().as_str()), (422, "job.hash_mismatch"));
    let half = format!("POST {submit} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\nG0 X1\n", agent.host);
    let mut stream = TcpStream::connect(&agent.host).unwrap();
    stream.write_all(half.as_bytes()).unwrap();
    drop(stream);
    assert_eq!(agent.get("/api/v1/jobs")["jobs"], json!([]), "nothing half done");
}

#[test]
fn a_repeated_submission_is_one_job_and_a_hostile_name_is_only_text() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    let hash = "X-Content-SHA256: 6C62D27C0BA10CEDC0EFB51EE2F5DF7BCA47B5AB2E0D5F4DB27BF2D7B1BB52F5\r\n";
    assert_eq!(agent.ask("POST", "/api/v1/machines/mill/jobs", hash, b"x").code(), "job.hash_mismatch");
    let path = "/api/v1/machines/mill/jobs?name=..%2F..%2F%3Cscript%3E%0A%00";
    let key = "Idempotency-Key: k1\r\n";
    let first = agent.ask("POST", path, key, b"G21 G90\nG0 X1\nM2\n").json();
    let second = agent.ask("POST", path, key, b"G21 G90\nG0 X1\nM2\n").json();
    assert_eq!(first["id"], second["id"]);
    assert_eq!(first["name"], "../../<script>");
    let other = agent.ask("POST", path, key, b"G21 G90\nG0 X2\nM2\n");
    assert_eq!((other.status, other.code().as_str()), (409, "job.key_reused"));
    let kept: Vec<_> = std::fs::read_dir(workshop.home.path().join("store/programs")).unwrap().flatten().collect();
    assert!(kept.iter().all(|file| file.file_name().len() == 64 + ".gcode".len()), "{kept:?}");
}

#[test]
fn jobs_are_listed_newest_first_a_page_at_a_time() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    let mut ids = Vec::new();
    for x in 0..5 {
        ids.push(id(&agent.submit("mill", format!("G21 G90\nG0 X{x}\nM2\n").as_bytes())).to_owned());
    }
    ids.sort();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = agent.get(&format!("/api/v1/jobs?machine=mill&limit=2{cursor}"));
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| id(job).to_owned()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.reverse();
    assert_eq!(seen, ids);
    assert_eq!(agent.get("/api/v1/jobs?machine=other")["jobs"], json!([]));
}

/// Reads a stream of events until one is as wanted; gives all identifiers and documents so far.
fn events_until(agent: &Agent, last: Option<&str>, wanted: impl Fn(&Value) -> bool) -> Vec<(String, Value)> {
    let stream = TcpStream::connect(&agent.host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
    let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n{last}\r\n", agent.host);
    (&stream).write_all(request.as_bytes()).unwrap();
    let (mut heard, mut id) = (Vec::new(), String::new());
    for line in BufReader::new(&stream).lines() {
        let line = line.unwrap();
        if let Some(said) = line.strip_prefix("id:") {
            said.trim().clone_into(&mut id);
        }
        if let Some(data) = line.strip_prefix("data:") {
            let event: Value = serde_json::from_str(data.trim()).unwrap();
            let done = wanted(&event);
            heard.push((id.clone(), event));
            if done {
                return heard;
            }
        }
    }
    panic!("the stream ended: {heard:#?}");
}

#[test]
fn a_client_that_was_away_gets_every_event_it_missed_once() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    agent.job_is(&job, "finished");
    // Of an earlier run of the agent: everything there is is told.
    let all = events_until(&agent, Some("0-77"), |event| event["phase"] == "finished");
    let kinds: Vec<_> = all.iter().map(|(_, event)| text(event, "type")).collect();
    assert!(kinds.contains(&"state") && kinds.contains(&"job"), "{kinds:?}");
    let middle = all.len() / 2;
    let rest = events_until(&agent, Some(&all[middle].0), |event| event["phase"] == "finished");
    assert_eq!(rest, all[middle + 1..]);
}

#[test]
fn after_a_power_cut_the_running_job_has_failed_and_nothing_starts() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let running = agent.submit("mill", b"G21 G90\nG1 X30 F300\nM2\n");
    let waiting = agent.submit("mill", b"G21 G90\nG0 X1\nM2\n");
    assert_eq!(agent.act("jobs", id(&running), "start").status, 200);
    agent.machine_is("mill", "running");
    drop(agent);
    let agent = workshop.start();
    let failed = agent.job_is(&running, "failed");
    assert_eq!(failed["reason"]["code"], "agent.restarted");
    agent.job_is(&waiting, "queued");
    let sent = agent.machine_is("mill", "idle");
    assert_eq!(sent["job"], Value::Null, "nothing was started: {sent:#}");
}

/// A job as a copy of the store has it.
fn written(workshop: &Workshop, job: &str) -> Value {
    let copy = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal"] {
        std::fs::copy(workshop.home.path().join("store").join(name), copy.path().join(name)).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (store, _news) = Store::open(&config::Store::at(copy.path())).await.unwrap();
        serde_json::to_value(store.job(job).await.unwrap().unwrap()).unwrap()
    })
}

#[test]
fn after_a_power_cut_a_job_can_go_on_behind_the_line_that_was_written_down() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 10.0)]);
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    // What is on the disk is what another agent would find in a copy of it.
    let written = || written(&workshop, id(&job))["progress"]["executed_line"].clone();
    let deadline = std::time::Instant::now() + agent::PATIENCE;
    // Behind the program's first feed: before that nobody can go on.
    while written().as_u64() < Some(30) {
        assert!(std::time::Instant::now() < deadline, "no line was written down");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(agent);
    let line = &written();
    let agent = workshop.start();
    let failed = agent.job_is(&job, "failed");
    let told = text(&failed["reason"], "happened");
    assert!(told.contains(&format!("Line {line} was executed, at least")), "{told}");
    let made = agent.act("jobs", id(&job), "resume-after-failure");
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!((&made["state"], &made["resumes"]["executed_line"]), (&json!("queued"), line));
    assert!(made["resumes"]["notes"].to_string().contains("The agent was restarted"), "{made:#}");
}

#[test]
fn a_machine_that_is_unplugged_fails_its_job_and_leaves_the_other_running() {
    let machines = [("mill", "grbl-router-6040", 1.0), ("other", "grbl-router-6040", 1.0)];
    let mut workshop = Workshop::new(&machines);
    let agent = workshop.start();
    let jobs = ["mill", "other"].map(|machine| agent.start(machine, PLATE));
    workshop.unplug("mill");
    let failed = agent.job_is(&jobs[0], "failed");
    assert_eq!(failed["reason"]["code"], "link.lost");
    let machine = agent.machine_is("mill", "offline");
    assert_eq!((&machine["accepting_jobs"], machine["reason"]["happened"].is_string()), (&json!(false), true));
    assert_eq!(agent.act("machines", "mill", "stop").code(), "machine.offline");
    agent.job_is(&jobs[1], "running");
    assert_eq!(agent.machine_is("other", "running")["state"], "running");
}

#[test]
fn every_reading_says_when_it_was_taken_and_how_good_it_is() {
    let workshop = Workshop::new(&[("printer", "prusa-mk3s", f64::INFINITY)]);
    let agent = workshop.start();
    agent.machine_is("printer", "idle");
    let path = "/api/v1/machines/printer";
    let machine =
        agent.until(path, |machine| machine["temperatures"][0].is_object() && machine["position_mm"].is_object());
    for reading in [&machine["position_mm"], &machine["temperatures"][0]["actual_c"]] {
        assert_eq!(reading["quality"], "good");
        assert!(text(reading, "at").ends_with('Z') && !reading["value"].is_null(), "{reading}");
    }
    assert_eq!((&machine["kind"], &machine["accepting_jobs"]), (&json!("printer"), &json!(true)));
    assert_eq!(agent.get("/api/v1/machines/printer/capacity")["accepting_jobs"], true);
    assert_eq!(agent.get("/api/v1/machines/printer/capability")["kind"], "printer");
    assert_eq!(agent.get("/healthz")["ok"], true);
    let metrics = agent.ask("GET", "/metrics", "", b"");
    assert!(metrics.body.contains("fab_machine_up{machine=\"printer\"} 1") && metrics.body.ends_with("# EOF\n"));
}

#[test]
fn the_api_describes_itself_as_it_is() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    let document = agent.get("/api/v1/openapi.json");
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{path}");
            let path = path.replace("{machine}", "nobody").replace("{job}", "nothing");
            let path = path.replace("{member}", "nobody").replace("{token}", "none");
            if path.ends_with("/events") {
                continue;
            }
            let answer = agent.ask(&method.to_ascii_uppercase(), &path, "", b"");
            let codes = ["machine.unknown_name", "job.unknown", "people.none", "token.none", "http.bad_request"];
            let known = answer.status == 200 || codes.contains(&answer.code().as_str());
            assert!(known, "{method} {path}: {answer:?}");
        }
    }
}

#[test]
fn a_capability_promised_a_gigabyte_where_a_megabyte_is_taken() {
    // The workshop's agents take programs of a megabyte.
    let workshop = Workshop::new(&[("mill", "grbl-mill-3018", 1.0)]);
    let agent = workshop.start();
    let capability = agent.get("/api/v1/machines/mill/capability");
    let most = capability["program_bytes_max"].as_u64().unwrap();
    assert_eq!(most, 1 << 20);
    assert!(capability["file_types"].as_array().unwrap().contains(&json!("bgcode")));
    let upload = |bytes: u64| {
        let program: Vec<u8> =
            b"G21 G90\n".iter().copied().chain(std::iter::repeat_n(b'\n', bytes as usize - 8)).collect();
        agent.ask("POST", "/api/v1/machines/mill/jobs", "", &program).status
    };
    assert_eq!((upload(most), upload(most + 1)), (201, 413));
}
