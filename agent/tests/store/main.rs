//! The store under attack, as a client sees it: the real program, full and broken disks, files that changed, and restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "../common/agent.rs"]
mod agent;
mod disks;
mod restart;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::{Agent, PATIENCE, PLATE, Workshop, text};
use drivers::profile::Profile;
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, simulated};
use serde_json::Value;

/// Five commands.
const PART: &[u8] = b"G21 G90\nG0 X1\nG1 X5 F600\nG1 X6\nM2\n";

/// What no bundled mill can reach.
const TOO_FAR: &[u8] = b"G21 G90\nG0 X99999\nM2\n";

fn workshop() -> Workshop {
    Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)])
}

fn id(job: &Value) -> &str {
    text(job, "id")
}

fn programs(workshop: &Workshop) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workshop.home.path().join("store/programs")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Looks until something is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn after_500_ended_jobs_the_clerk_panicked_and_every_request_for_a_job_was_answered_503() {
    let workshop = workshop();
    let agent = workshop.start();
    let oldest = agent.submit("mill", PART);
    for _ in 0..502 {
        agent.submit("mill", TOO_FAR);
    }
    assert_eq!(agent.act("jobs", id(&oldest), "cancel").status, 200);
    assert_eq!(agent.get(&format!("/api/v1/jobs/{}", id(&oldest)))["state"], "cancelled");
    assert_eq!(text(&agent.submit("mill", PART), "state"), "queued");
    assert_eq!(agent.get("/healthz")["ok"], true);
}

#[test]
fn ten_thousand_ended_jobs_are_listed_a_page_at_a_time_and_every_request_works() {
    let workshop = workshop();
    // As an agent of before left them.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/of-json-files/jobs/1a230cb039156392dd6.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
    let folder = workshop.home.path().join("store/jobs");
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..10_000 {
        record["id"] = format!("1a2{number:016x}").into();
        record["state"] = ["finished", "failed", "cancelled"][number % 3].into();
        std::fs::write(folder.join(format!("{}.json", id(&record))), record.to_string()).unwrap();
    }
    let agent = workshop.start();
    // It serves while so many are taken over.
    until("the store is open", || agent.ask("GET", "/healthz", "", b"").status == 200);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = agent.get(&format!("/api/v1/jobs?machine=mill&limit=200{cursor}"));
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| id(job).to_owned()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 10_000);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, each once");
    let failed = agent.get("/api/v1/jobs?state=failed&limit=5");
    assert_eq!(failed["jobs"].as_array().unwrap().len(), 5);
    let oldest = agent.get(&format!("/api/v1/jobs/{}", seen.last().unwrap()));
    assert_eq!(oldest["state"], "finished");
    let job = agent.start("mill", PART);
    agent.job_is(&job, "finished");
    assert_eq!(agent.ask("DELETE", &format!("/api/v1/jobs/{}", seen[9_000]), "", b"").status, 204);
    assert_eq!(agent.ask("GET", &format!("/api/v1/jobs/{}", seen[9_000]), "", b"").status, 404);
    assert!(workshop.home.path().join("store/jobs.before-sqlite-1").is_dir());
}

#[test]
fn the_store_of_an_earlier_agent_is_taken_over_by_the_program() {
    let workshop = workshop();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/of-json-files");
    for folder in ["jobs", "programs"] {
        let to = workshop.home.path().join("store").join(folder);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(sample.join(folder)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    let agent = workshop.start();
    // The waiting one is checked again: nobody knows against which profile it was.
    let queued = agent.until("/api/v1/jobs?state=queued", |page| page["jobs"].as_array().unwrap().len() == 1);
    let states: Vec<_> =
        agent.get("/api/v1/jobs")["jobs"].as_array().unwrap().iter().map(|job| job["state"].clone()).collect();
    assert_eq!(states, ["failed", "queued", "cancelled", "refused", "finished"], "newest first");
    let failed = agent.get("/api/v1/jobs?state=failed")["jobs"][0].clone();
    assert_eq!(failed["reason"]["code"], "agent.restarted");
    agent.machine_is("mill", "idle");
    assert_eq!(agent.act("jobs", id(&queued["jobs"][0]), "start").status, 200);
    agent.job_is(&queued["jobs"][0], "finished");
}

#[test]
fn a_queued_job_ran_although_its_file_had_changed() {
    let workshop = workshop();
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    for changed in [&PART[..20], b"G21 G90\nG0 X1\nG1 X5 F600\nG1 X7\nM2\n"] {
        let job = agent.submit("mill", PART);
        std::fs::write(&programs(&workshop)[0], changed).unwrap();
        let refused = agent.act("jobs", id(&job), "start");
        assert_eq!((refused.status, refused.code().as_str()), (409, "job.program_changed"));
        let job = agent.get(&format!("/api/v1/jobs/{}", id(&job)));
        assert_eq!((&job["state"], &job["reason"]["code"]), (&"refused".into(), &"job.program_changed".into()));
    }
    assert_eq!(workshop.report("mill").executed, 0);
    // Submitted again, the damaged file is replaced.
    let job = agent.submit("mill", PART);
    assert_eq!(agent.act("jobs", id(&job), "start").status, 200);
    agent.job_is(&job, "finished");
}

#[test]
fn a_queued_job_ran_although_its_profile_had_changed() {
    let port = Port::on_pty(simulated("grbl", &sim::Setup::default()).unwrap(), Between::default(), None).unwrap();
    let known = Profile::bundled().iter().find(|(name, _)| *name == "grbl-router-6040").unwrap().1;
    let workshop = Workshop::new(&[]).with_machine("router", known, port.address());
    let agent = workshop.start();
    let job = agent.submit("router", b"G21 G90\nG0 X300\nG1 X310 F600\nM2\n");
    assert_eq!(text(&job, "state"), "queued");
    drop(agent);
    let smaller = known.replace("min = [-590.0, -390.0, -95.0]", "min = [-100.0, -100.0, -95.0]");
    assert_ne!(known, smaller);
    std::fs::write(workshop.home.path().join("router.toml"), smaller).unwrap();
    let agent = workshop.start();
    let refused = agent.job_is(&job, "refused");
    assert_eq!(refused["reason"]["code"], "job.preflight_failed", "{refused:#}");
}

#[test]
fn refused_uploads_stayed_and_deleted_jobs_leave_nothing() {
    let workshop = workshop();
    let agent = workshop.start();
    let wrong = format!("X-Content-SHA256: {}\r\n", "0".repeat(64));
    assert_eq!(agent.ask("POST", "/api/v1/machines/mill/jobs", &wrong, PART).status, 422);
    let kept = agent.ask("POST", "/api/v1/machines/mill/jobs", "Idempotency-Key: k\r\n", PART);
    assert_eq!(kept.status, 201);
    let reused = agent.ask("POST", "/api/v1/machines/mill/jobs", "Idempotency-Key: k\r\n", PLATE);
    assert_eq!((reused.status, reused.code().as_str()), (409, "job.key_reused"));
    // A client that goes in the middle.
    let mut half = TcpStream::connect(&agent.host).unwrap();
    let head =
        format!("POST /api/v1/machines/mill/jobs HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\nG21", agent.host);
    half.write_all(head.as_bytes()).unwrap();
    until("the upload began", || {
        programs(&workshop).iter().any(|path| path.extension().is_some_and(|part| part == "part"))
    });
    drop(half);
    until("only the accepted one is left", || programs(&workshop).len() == 1);
    let other = agent.submit("mill", PART);
    let (job, path) = (kept.json(), format!("/api/v1/jobs/{}", id(&other)));
    assert_eq!(agent.ask("DELETE", &path, "", b"").status, 204);
    assert_eq!(agent.ask("GET", &path, "", b"").status, 404);
    assert_eq!(agent.act("jobs", id(&job), "cancel").status, 200);
    assert_eq!(programs(&workshop).len(), 1, "another job has it");
    assert_eq!(agent.ask("DELETE", &format!("/api/v1/jobs/{}", id(&job)), "", b"").status, 204);
    until("nobody has it", || programs(&workshop).is_empty());
    drop(agent);
    let agent = workshop.start();
    assert_eq!(agent.get("/api/v1/jobs")["jobs"], Value::Array(Vec::new()));
}

#[test]
fn a_job_on_its_machine_is_not_deleted() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    let refused = agent.ask("DELETE", &format!("/api/v1/jobs/{}", id(&job)), "", b"");
    assert_eq!((refused.status, refused.code().as_str()), (409, "job.on_machine"));
}

/// Reads the event stream from an identifier on until an event is as wanted; gives all identifiers and documents.
fn events(agent: &Agent, last: &str, wanted: impl Fn(&Value) -> bool) -> Vec<(String, Value)> {
    let stream = TcpStream::connect(&agent.host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: {last}\r\n\r\n", agent.host);
    (&stream).write_all(request.as_bytes()).unwrap();
    let (mut heard, mut id) = (Vec::new(), String::new());
    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
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
fn events_vanished_with_a_restart_and_now_a_client_goes_on_behind_it() {
    let workshop = workshop();
    let agent = workshop.start();
    let job = agent.start("mill", PART);
    agent.job_is(&job, "finished");
    let before = events(&agent, "0-0", |event| event["phase"] == "finished");
    let (seen, _) = &before[before.len() / 2];
    Command::new("kill").args(["-TERM", &agent.process().to_string()]).status().unwrap();
    assert_eq!(agent.wait(), Some(0));
    let agent = workshop.start();
    let after = events(&agent, seen, |event| event["type"] == "agent_started");
    let rest: Vec<_> = before[before.len() / 2 + 1..].iter().map(|(id, _)| id).collect();
    assert_eq!(after.iter().map(|(id, _)| id).take(rest.len()).collect::<Vec<_>>(), rest);
    assert!(after.iter().any(|(_, event)| event["type"] == "agent_ended"));
    assert!(after.iter().all(|(_, event)| event["type"] != "missed"), "{after:#?}");
    assert_eq!(after.last().unwrap().1["ended_before"], "in good order");
}

#[test]
fn an_agent_that_was_killed_says_what_it_found_and_which_numbers_are_gone() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    agent.machine_is("mill", "running");
    drop(agent);
    let agent = workshop.start();
    agent.job_is(&job, "failed");
    let heard =
        events(&agent, "0-0", |event| event["type"] == "agent_started" && event["ended_before"] == "without a word");
    let started = &heard.last().unwrap().1;
    assert_eq!(started["jobs_interrupted"][0]["job"], job["id"], "{started:#}");
    let gone = heard.iter().map(|(_, event)| event).find(|event| event["type"] == "missed").unwrap();
    assert_eq!(gone["from"], started["not_written"]["from"], "{gone:#} {started:#}");
}

#[test]
fn who_asked_for_what_is_in_the_log() {
    let workshop = workshop();
    let agent = workshop.start();
    let job = agent.start("mill", PART);
    agent.job_is(&job, "finished");
    assert_eq!(agent.act("machines", "mill", "stop").status, 200);
    let page = agent.get("/api/v1/log?class=person&limit=500");
    let asked: Vec<_> = page["rows"].as_array().unwrap().iter().filter(|row| row["type"] == "asked").collect();
    let actions: Vec<_> = asked.iter().map(|row| text(row, "action")).collect();
    assert_eq!(actions, ["submit", "start", "stop"]);
    for row in &asked {
        assert_eq!((text(row, "who"), text(row, "from")), ("local", "127.0.0.1"), "{row:#}");
        assert!(row["number"].is_u64() && row["since_boot_us"].is_u64() && row["clock_set"].is_boolean());
    }
    let next = agent.get(&format!("/api/v1/log?cursor={}", text(&page, "cursor")));
    assert_eq!((next["rows"].as_array().unwrap().len(), &next["more"]), (0, &false.into()));
    let erased = agent.ask("DELETE", "/api/v1/log/people/127.0.0.1", "", b"");
    assert_eq!((erased.status, erased.json()["erased"].as_u64()), (200, Some(3)), "{erased:?}");
    let page = agent.get("/api/v1/log?class=person&limit=500");
    let rows: Vec<_> = page["rows"].as_array().unwrap().iter().filter(|row| row["type"] == "asked").collect();
    // The numbers are what they were, and the erasing has its own row.
    assert_eq!(
        rows[..3].iter().map(|row| &row["number"]).collect::<Vec<_>>(),
        asked.iter().map(|row| &row["number"]).collect::<Vec<_>>()
    );
    assert!(rows[..3].iter().all(|row| row["who"].is_null() && row["from"].is_null()), "{page:#}");
    assert_eq!((text(rows[3], "action"), &rows[3]["rows"]), ("erase", &3.into()));
}

#[test]
fn two_agents_on_one_store_the_second_does_not_start() {
    let workshop = workshop();
    let _agent = workshop.start();
    let second = Command::new(env!("CARGO_BIN_EXE_fab-agent"))
        .args(["run", "--config"])
        .arg(workshop.home.path().join("agent.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("[store.in_use]"), "{said}");
}

#[test]
fn a_start_from_before_the_agent_was_stopped_moved_the_machine_long_after() {
    let workshop = workshop();
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PART);
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &agent.process().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    let mut client = TcpStream::connect(&agent.host).unwrap();
    let start =
        format!("POST /api/v1/jobs/{}/start HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", id(&job), agent.host);
    client.write_all(start.as_bytes()).unwrap();
    // Longer than a start is good for, and than an agent that is awake is ever silent.
    std::thread::sleep(std::time::Duration::from_secs(30));
    signal("-CONT");
    let mut answer = String::new();
    BufReader::new(&client).read_line(&mut answer).unwrap();
    assert!(answer.contains("409") || answer.contains("503"), "{answer}");
    assert_eq!(agent.get(&format!("/api/v1/jobs/{}", id(&job)))["state"], "queued");
    assert_eq!(workshop.report("mill").executed, 0);
    // Asked for again, it is fresh.
    until("it is started", || agent.act("jobs", id(&job), "start").status == 200);
    agent.job_is(&job, "finished");
}
