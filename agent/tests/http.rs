//! The API over real HTTP, against the real program with simulated machines on pseudo-terminals.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "common/agent.rs"]
mod agent;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use agent::{Agent, PATIENCE, PLATE, Workshop, text};
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
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PLATE);
    assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
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

#[test]
fn only_this_computer_may_ask_without_a_token() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    let evil = b"POST /api/v1/machines/mill/stop HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(agent.raw(evil).code(), "http.forbidden");
    let foreign = agent.ask("POST", "/api/v1/machines/mill/stop", "Origin: https://evil.example\r\n", b"");
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "http.forbidden"));
    let page = agent.ask("GET", "/", "", b"");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(!page.head.contains("access-control-allow-origin"), "{}", page.head);
}

#[test]
fn where_a_token_is_set_nothing_is_told_or_done_without_it() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]).with_token(TOKEN);
    let agent = workshop.start();
    for path in ["/api/v1/machines", "/api/v1/jobs", "/api/v1/events", "/metrics"] {
        for headers in ["", "Authorization: Bearer wrong-wrong-wrong-wrong\r\n", "X-Forwarded-For: 127.0.0.1\r\n"] {
            let answer = agent.ask("GET", path, headers, b"");
            assert_eq!((answer.status, answer.code().as_str()), (401, "http.unauthorized"), "{path} {headers}");
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    assert_eq!(agent.ask("GET", "/healthz", "", b"").status, 200);
    let shown = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(agent.ask("GET", "/api/v1/machines", &shown, b"").status, 200);
}

#[test]
fn a_job_has_a_picture_that_is_drawn_once_and_can_do_nothing() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PLATE);
    let address = text(&agent.job_is(&job, "queued"), "preview").to_owned();
    assert_eq!(address, format!("/api/v1/jobs/{}/preview.svg", id(&job)));
    let picture = agent.ask("GET", &address, "", b"");
    assert_eq!(picture.status, 200, "{picture:?}");
    let head = picture.head.to_ascii_lowercase();
    for header in ["content-type: image/svg+xml", "content-security-policy: default-src 'none'", "nosniff"] {
        assert!(head.contains(header), "{head}");
    }
    assert!(picture.body.starts_with("<svg") && picture.body.ends_with("</svg>\n"));
    assert!(picture.body.contains("part.nc") && picture.body.contains("6040") && picture.body.len() < 500_000);
    let kept: Vec<_> = workshop.home.path().join("store/previews").read_dir().unwrap().flatten().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    std::fs::write(kept[0].path(), "<svg>kept</svg>").unwrap();
    assert_eq!(agent.ask("GET", &address, "", b"").body, "<svg>kept</svg>");
    let nothing = agent.submit("mill", b"G21 G90\nG4 P1\nM2\n");
    let nothing = agent.ask("GET", &format!("/api/v1/jobs/{}/preview.svg", id(&nothing)), "", b"");
    assert_eq!((nothing.status, nothing.body.as_str()), (204, ""));
}

#[test]
fn where_a_token_is_set_a_picture_opens_with_its_own_key_and_that_key_opens_nothing_else() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]).with_token(TOKEN);
    let agent = workshop.start();
    let shown = format!("Authorization: Bearer {TOKEN}\r\n");
    let submit = || {
        let job = agent.ask("POST", "/api/v1/machines/mill/jobs?name=part.nc", &shown, PLATE).json();
        let job = agent.ask("GET", &format!("/api/v1/jobs/{}", id(&job)), &shown, b"").json();
        text(&job, "preview").to_owned()
    };
    let (one, other) = (submit(), submit());
    let status = |path: &str| agent.ask("GET", path, "", b"").status;
    assert_eq!((status(&one), status(&other)), (200, 200));
    let (path, key) = one.split_once('?').unwrap();
    let (other_path, other_key) = other.split_once('?').unwrap();
    assert!(key != other_key && !one.contains(TOKEN));
    for closed in [
        path.to_owned(),
        format!("{path}?{other_key}"),
        format!("{other_path}?{key}"),
        format!("{path}?key="),
        format!("{}?{key}", path.replace("/preview.svg", "")),
        format!("{}?{key}", path.replace("/preview.svg", "/program")),
        format!("/api/v1/jobs?{key}"),
    ] {
        assert_eq!(status(&closed), 401, "{closed}");
    }
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
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PLATE);
    assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
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
    let running = agent.submit("mill", PLATE);
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

#[test]
fn after_a_power_cut_a_job_can_go_on_behind_the_line_that_was_written_down() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 10.0)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PLATE);
    assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
    let record = workshop.home.path().join("store/jobs").join(format!("{}.json", id(&job)));
    let written = || serde_json::from_slice::<Value>(&std::fs::read(&record).unwrap()).unwrap();
    let deadline = std::time::Instant::now() + agent::PATIENCE;
    while written()["progress"]["executed_line"] == 0 {
        assert!(std::time::Instant::now() < deadline, "no line was written down");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(agent);
    let line = &written()["progress"]["executed_line"];
    let agent = workshop.start();
    let failed = agent.job_is(&job, "failed");
    let told = text(&failed["reason"], "message");
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
    let jobs = ["mill", "other"].map(|machine| {
        agent.machine_is(machine, "idle");
        let job = agent.submit(machine, PLATE);
        assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
        job
    });
    workshop.unplug("mill");
    let failed = agent.job_is(&jobs[0], "failed");
    assert_eq!(failed["reason"]["code"], "link.lost");
    let machine = agent.machine_is("mill", "offline");
    assert_eq!((&machine["accepting_jobs"], machine["reason"]["sentence"].is_string()), (&json!(false), true));
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
            if path.ends_with("/events") {
                continue;
            }
            let answer = agent.ask(&method.to_ascii_uppercase(), &path, "", b"");
            let known =
                answer.status == 200 || ["machine.unknown_name", "job.unknown"].contains(&answer.code().as_str());
            assert!(known, "{method} {path}: {answer:?}");
        }
    }
}

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
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PLATE);
    assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
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
