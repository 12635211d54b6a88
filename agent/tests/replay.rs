//! Recordings on the disk, from trouble and on request, and `fab-agent replay` of them: the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use drivers::machine;
use drivers::profile::Profile;
use drivers::sim::port::{Between, Port};
use drivers::{State, sim};
use fab_agent::Agent;
use fab_agent::client::Client;
use fab_agent::config::{Config, Http, Store};
use fab_agent::{recordings, sinks};
use serde_json::Value;

const PLATE: &[u8] = include_bytes!("../../config/demo/plate.nc");

/// Longest wait for anything: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn fab_agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fab-agent")).args(arguments).output().unwrap()
}

fn replayed(path: &Path) -> (Value, i32) {
    let output = fab_agent(&["replay", path.to_str().unwrap(), "--json"]);
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn send_writes_a_recording_that_replays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (plate, record) = (folder.path().join("plate.nc"), folder.path().join("run.rec"));
    std::fs::write(&plate, PLATE).unwrap();
    let setup = sim::Setup { speed: f64::INFINITY, ..sim::Setup::default() };
    let port = Port::on_pty(sim::simulated("grbl", &setup).unwrap(), Between::default(), None).unwrap();
    let (plate, path) = (plate.to_str().unwrap(), record.to_str().unwrap());
    let sent = fab_agent(&["send", plate, "--port", port.address(), "--dialect", "grbl", "--record", path]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let (document, code) = replayed(&record);
    assert_eq!((&document["same"], code), (&true.into(), 0), "{document:#}");
    assert_eq!(document["end"]["job"]["phase"], "finished");
    let people = fab_agent(&["replay", path]);
    let text = String::from_utf8(people.stdout).unwrap();
    for part in [" > $I", " < ok", " = connected: Grbl", " = job finished", "It says the same again."] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_recording_that_differs_ends_with_exit_code_1_and_one_that_cannot_be_read_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.rec");
    std::fs::write(&path, "fab-agent recording 1\n\nnonsense\n").unwrap();
    let output = fab_agent(&["replay", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Line 3 ") && said.contains("[recording.unreadable]"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_machine_leaves_a_recording_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::on_pty(sim::simulated("grbl", &sim::Setup::default()).unwrap(), Between::default(), None).unwrap();
    let config = Config {
        site: "test".to_owned(),
        agent: "test".to_owned(),
        http: Http { listen: "127.0.0.1:0".parse().unwrap(), ..Http::default() },
        sinks: sinks::Settings { mqtt: None },
        store: Store { reserve_bytes: 0, ..Store::at(folder.path()) },
        machines: vec![machine::Setup {
            name: "mill".to_owned(),
            port: port.address().to_owned(),
            baud: drivers::machine::Baud::Profile,
            profile: Arc::new(Profile::named("grbl-router-6040").unwrap()),
            reconnect: true,
            watch_table: false,
        }],
    };
    let agent = Agent::start(config).await.unwrap();
    let client = Client::new(agent.address().to_string(), None);
    let mill = agent.desk().machine("mill").unwrap().clone();
    let idle = async |state| mill.watch().wait_for(|snapshot| snapshot.state == state).await.map(|_| ());
    tokio::time::timeout(PATIENCE, idle(State::Idle)).await.unwrap().unwrap();
    let mut part = "G21 G90 G17\nM3 S12000\nG1 X1 Y1 F3000\n".to_owned();
    part.push_str(&"X6\nX1\n".repeat(150));
    part.push_str("M5\nM2\n");
    let job = client.post("/api/v1/machines/mill/jobs?name=part.nc", "text/x.gcode", part).await.unwrap();
    client.post(&format!("/api/v1/jobs/{}/start", job["id"].as_str().unwrap()), "application/json", "").await.unwrap();
    let moved = async {
        let mut watch = mill.watch();
        let executed =
            |snapshot: &Arc<drivers::Snapshot>| snapshot.job.as_ref().is_some_and(|job| job.executed_line > 3);
        watch.wait_for(executed).await.map(|_| ())
    };
    tokio::time::timeout(PATIENCE, moved).await.unwrap().unwrap();
    drop(port);
    let recordings = recordings::folder(folder.path());
    let written = async {
        loop {
            let found = std::fs::read_dir(&recordings).into_iter().flatten().flatten().next();
            match found.filter(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 0)) {
                Some(file) => return file.path(),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let path = tokio::time::timeout(PATIENCE, written).await.unwrap();
    assert!(path.to_str().unwrap().ends_with("-mill-link.lost.rec"), "{}", path.display());
    let (document, code) = replayed(&path);
    assert_eq!((&document["same"], code), (&true.into(), 0), "{document:#}");
    assert_eq!(document["end"]["job"]["phase"], "failed");
    goes_on(&client, job["id"].as_str().unwrap()).await;
    agent.stop().await;
}

/// A person asks for the rest of the failed job: it waits as a job of its own, and nothing moves.
async fn goes_on(client: &Client, failed: &str) {
    let path = format!("/api/v1/jobs/{failed}/resume-after-failure");
    let ended = async {
        while client.get(&format!("/api/v1/jobs/{failed}")).await.unwrap()["state"] != "failed" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    let asked = client.post(&path, "application/json", "").await;
    let known = client.get(&format!("/api/v1/jobs/{failed}")).await.unwrap();
    let executed = known["progress"]["executed_line"].as_u64().unwrap();
    assert!(executed > 3, "{known:#}");
    let rest = asked.unwrap();
    assert_eq!(
        (&rest["state"], rest["resumes"]["from_line"].as_u64()),
        (&"queued".into(), Some(executed + 1)),
        "{rest:#}"
    );
    assert_eq!(rest["resumes"]["lead_in"][0], "$H");
    let again =
        client.post(&format!("/api/v1/jobs/{}/resume-after-failure", rest["id"].as_str().unwrap()), "", "").await;
    assert_eq!(again.unwrap_err().code, "resume.not_failed");
}
