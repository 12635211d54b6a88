//! A fault of the agent's own, in the thread of one machine: the others go on, and nobody is told that all is well.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drivers::machine::{Machine, Setup};
use drivers::profile::Profile;
use drivers::sim::port::{Between, Port};
use drivers::snapshot::JobPhase;
use drivers::{Denied, Permit, Request, Snapshot, State, sim};
use fab_agent::Agent;
use fab_agent::client::Client;
use fab_agent::config::{Config, Http, Store};
use fab_agent::sinks;
use serde_json::Value;

/// Longest wait for anything: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

const PLATE: &[u8] = include_bytes!("../../config/demo/plate.nc");

async fn until(machine: &Machine, done: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut watch = machine.watch();
    let waited = tokio::time::timeout(PATIENCE, watch.wait_for(|snapshot| done(snapshot))).await;
    waited.unwrap_or_else(|_| panic!("never happened: {:#?}", machine.snapshot())).unwrap().clone()
}

fn config(ports: &[Port], names: [&str; 2], folder: &std::path::Path) -> Config {
    let setup = |(name, port): (&str, &Port)| Setup {
        name: name.to_owned(),
        port: port.address().to_owned(),
        baud: drivers::machine::Baud::Profile,
        profile: Arc::new(Profile::named("grbl-router-6040").unwrap()),
        reconnect: true,
        watch_table: false,
    };
    Config {
        site: "test".to_owned(),
        agent: "test".to_owned(),
        http: Http { listen: "127.0.0.1:0".parse().unwrap(), ..Http::default() },
        sinks: sinks::Settings { mqtt: None },
        store: Store { reserve_bytes: 0, ..Store::at(folder) },
        machines: names.into_iter().zip(ports).map(setup).collect(),
    }
}

async fn started(client: &Client, machine: &str) -> String {
    let path = format!("/api/v1/machines/{machine}/jobs?name=plate.nc");
    let job = client.post(&path, "text/x.gcode", PLATE).await.unwrap();
    let id = job["id"].as_str().unwrap().to_owned();
    client.post(&format!("/api/v1/jobs/{id}/start"), "application/json", "").await.unwrap();
    id
}

/// Looks until a job is over.
async fn ended(client: &Client, job: &str) -> Value {
    let ended = async {
        loop {
            let job = client.get(&format!("/api/v1/jobs/{job}")).await.unwrap();
            if job["ended_at"].is_string() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the job never ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_one_machines_thread_fails_its_job_and_leaves_the_other_running() {
    let speeds = [1.0, 60.0].map(|speed| sim::Setup { speed, ..sim::Setup::default() });
    let ports =
        speeds.map(|setup| Port::on_pty(sim::simulated("grbl", &setup).unwrap(), Between::default(), None).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&ports, ["faulty", "sound"], folder.path())).await.unwrap();
    let client = Client::new(agent.address().to_string(), None);
    let (faulty, sound) = (agent.desk().machine("faulty").unwrap(), agent.desk().machine("sound").unwrap());
    for machine in [faulty, sound] {
        until(machine, |snapshot| snapshot.state == State::Idle).await;
    }
    let (lost, kept) = (started(&client, "faulty").await, started(&client, "sound").await);
    for machine in [faulty, sound] {
        until(machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.executed > 0)).await;
    }
    // Its thread asks whether a request is still wanted, and runs into a fault.
    let asked = Arc::new(AtomicBool::new(false));
    let seen = asked.clone();
    #[expect(clippy::disallowed_methods, reason = "nobody stands at this machine")]
    let permit = Permit::to_ask(
        faulty.name(),
        Request::Resume,
        Arc::new(move || {
            assert_eq!(std::thread::current().name(), Some("faulty"));
            seen.store(true, Ordering::SeqCst);
            panic!("a fault in the thread of this machine")
        }),
    );
    assert_eq!(faulty.act(permit).await, Err(Denied::Offline));
    assert!(asked.load(Ordering::SeqCst), "the thread panicked");
    let snapshot = until(faulty, |snapshot| snapshot.state == State::Offline).await;
    assert_eq!(snapshot.notice.as_ref().unwrap().code, "machine.fault");
    assert_eq!(snapshot.job.as_ref().unwrap().phase, JobPhase::Failed);
    let lost = ended(&client, &lost).await;
    assert_eq!((&lost["state"], &lost["reason"]["code"]), (&"failed".into(), &"machine.fault".into()), "{lost:#}");
    let kept = ended(&client, &kept).await;
    assert_eq!(kept["state"], "finished", "{kept:#}");
    assert_eq!(ports[1].report().unwrap().executed, kept["commands"].as_u64().unwrap());
    // The link is opened again, and a person's stop reaches the machine, whose buffer may still move it.
    until(faulty, |snapshot| snapshot.identity.is_some()).await;
    assert_eq!(faulty.stop().await, Ok(()));
    until(faulty, |snapshot| snapshot.state == State::Alarm).await;
    assert!(!ports[0].report().unwrap().moving);
    agent.stop().await;
}
