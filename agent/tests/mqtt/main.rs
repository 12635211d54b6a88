//! The MQTT sink against a real Mosquitto: what is said arrives, and nothing is lost when the broker is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "../common/agent.rs"]
mod agent;
mod bench;
#[path = "../common/broker.rs"]
mod broker;
mod brokers;
mod cost;
mod fake;

use std::time::{Duration, Instant};

use bench::Bench;
use broker::{Broker, Message, Subscriber, certificate};
use drivers::snapshot::{Cause, Progress, Reading, Temperature};
use drivers::{EventKind, Moment, Notice, State};
use fab_agent::sinks::mqtt;

fn printing(executed: u64) -> Progress {
    Progress {
        commands: 100,
        sent: executed + 2,
        accepted: executed + 1,
        executed,
        executed_line: executed,
        bytes: 1000,
        ..Progress::begun("j1".into(), 100, Moment(5))
    }
}

pub(crate) fn is_online(message: &Message, online: bool) -> bool {
    message.topic == "fab/test/agent/pi/status" && message.body["online"] == online
}

#[test]
fn every_topic_of_the_scheme_arrives() {
    every_topic_arrives(mqtt::Version::V5);
}

#[test]
fn every_topic_arrives_in_the_older_mqtt_too() {
    every_topic_arrives(mqtt::Version::V311);
}

fn every_topic_arrives(version: mqtt::Version) {
    let broker = Broker::start();
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    let settings = mqtt::Settings {
        version,
        interval: Duration::from_millis(50),
        ..mqtt::Settings::plain("127.0.0.1", broker.port)
    };
    let bench = Bench::new(settings);
    subscriber.wait_for("birth", |message| is_online(message, true));
    assert_eq!(subscriber.wait_on("/mk3/capability").body["kind"], "printer");
    assert_eq!(subscriber.wait_on("/mk3/state").body["state"], "offline");
    assert_eq!(subscriber.wait_on("/mk3/capacity").body["accepting_jobs"], false);
    assert_eq!(subscriber.wait_on("/mk3/job").body["job"], serde_json::Value::Null);

    bench.show(|snapshot| {
        snapshot.state = State::Running;
        snapshot.job = Some(printing(10));
        snapshot.temperatures =
            vec![Temperature { heater: "bed".into(), actual_c: Reading::fresh(61.5, Moment(7)), target_c: Some(60.0) }];
    });
    let state = subscriber.wait_on("/mk3/state").body;
    assert_eq!(state["temperatures"][0]["actual_c"]["quality"], "good", "{state}");
    assert_eq!(subscriber.wait_on("/mk3/job").body["progress_percent"], 10.0);
    assert_eq!(subscriber.wait_on("/mk3/telemetry").body["bed_c"], 61.5);
    bench.happen(EventKind::State { from: State::Offline, to: State::Running, cause: Cause::Asked });
    let event = subscriber.wait_on("/mk3/event");
    assert_eq!((event.qos, event.body["seq"].as_u64(), event.body["to"].as_str()), (1, Some(1), Some("running")));
    assert_eq!(event.body["historical"], false);

    // Somebody who comes later finds what is true, and nothing that is over.
    let late = Subscriber::new(broker.port, "fab/#", None);
    let mut found = Vec::new();
    while found.len() < 5 {
        let message = late.wait_for("retained message", |message| message.retained);
        found.push(message.topic.rsplit('/').next().unwrap().to_owned());
    }
    found.sort();
    assert_eq!(found, ["capability", "capacity", "job", "state", "status"]);
    bench.end();
}

#[test]
fn a_broker_with_tls_takes_the_agent_in_by_its_certificate() {
    let (broker, tls_port) = Broker::start_with_tls();
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    let tls = mqtt::Tls {
        ca_file: Some(certificate("ca.pem")),
        client_files: Some((certificate("client.pem"), certificate("client.key"))),
    };
    let settings = mqtt::Settings { tls: Some(tls), ..mqtt::Settings::plain("localhost", tls_port) };
    let bench = Bench::new(settings);
    subscriber.wait_for("birth", |message| is_online(message, true));
    bench.end();
    subscriber.wait_for("goodbye", |message| is_online(message, false));
}

#[test]
fn an_agent_that_is_stopped_says_goodbye_and_withdraws_its_capacity() {
    let broker = Broker::start();
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    let bench = Bench::on(&broker);
    bench.show(|snapshot| snapshot.state = State::Idle);
    subscriber.wait_for("free machine", |message| message.body["accepting_jobs"] == true);
    bench.happen_job(1);
    bench.end();
    let capacity = subscriber.wait_for("withdrawal", |message| message.body["reason"]["code"] == "agent.stopped");
    assert_eq!(capacity.body["accepting_jobs"], false);
    subscriber.wait_for("goodbye", |message| is_online(message, false));
}

#[test]
fn events_survive_a_broker_that_vanishes_and_arrive_once_and_in_order() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::new(broker.port, "fab/test/mk3/event", Some("witness"));
    let status = Subscriber::new(broker.port, "fab/test/agent/+/status", None);
    let bench = Bench::on(&broker);
    status.wait_for("birth", |message| is_online(message, true));
    for number in 1..=100 {
        bench.happen_job(number);
    }
    let mut heard = vec![];
    while heard.len() < 50 {
        heard.push(subscriber.wait_on("/event").body);
    }
    broker.vanish();
    for number in 101..=1000 {
        bench.happen_job(number);
        bench.show(|snapshot| snapshot.state = State::Running);
    }
    broker.restart();
    while heard.last().is_none_or(|event| event["seq"].as_u64() < Some(1000)) {
        heard.push(subscriber.wait_on("/event").body);
    }
    // QoS 1 may say a thing twice; its number tells.
    let doubled = heard.len();
    heard.dedup_by_key(|event| event["seq"].as_u64());
    println!("{doubled} messages for 1000 events");
    let mut seen = std::collections::HashSet::new();
    heard.retain(|event| seen.insert(event["seq"].as_u64()));
    let numbers: Vec<_> = heard.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());
    let jobs: Vec<_> = heard.iter().map(|event| event["job"].as_str().unwrap().to_owned()).collect();
    assert_eq!(jobs, (1..=1000).map(|number| format!("j{number}")).collect::<Vec<_>>());
    assert_eq!((&heard[0]["historical"], &heard[999]["historical"]), (&false.into(), &true.into()));
    bench.end();
}

/// The real program, which is killed and begun anew before there is a broker.
#[test]
fn events_vanished_when_the_agent_was_restarted_while_the_broker_was_away() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::new(broker.port, "fab/workshop/mill/event", Some("witness"));
    let status = Subscriber::new(broker.port, "fab/workshop/agent/+/status", None);
    let mut workshop = agent::Workshop::on_tcp(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    workshop.with_broker(broker.port);
    let agent = workshop.start();
    status.wait_for("birth", |message| message.body["online"] == true);
    broker.vanish();
    let job = agent.start("mill", agent::PLATE);
    agent.job_is(&job, "finished");
    // A stop that is answered for is a person's: it is on the disk, and what came before it, too.
    let waiting = agent.submit("mill", agent::PLATE);
    assert_eq!(agent.act("jobs", agent::text(&waiting, "id"), "start").status, 200);
    agent.job_is(&waiting, "finished");
    drop(agent);
    let agent = workshop.start();
    broker.restart();
    let ends = |message: &Message| message.body["phase"] == "finished";
    let first = subscriber.wait_for("the end of the job", |message| ends(message) && message.body["job"] == job["id"]);
    assert_eq!(first.body["historical"], true, "{:#}", first.body);
    drop(agent);
}

#[test]
fn a_broker_that_forgot_everything_is_told_everything_again() {
    let mut broker = Broker::start();
    let bench = Bench::on(&broker);
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    subscriber.wait_for("birth", |message| is_online(message, true));
    drop(subscriber);
    broker = {
        let port = broker.port;
        drop(broker);
        Broker::start_on(port)
    };
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    let mut missing = vec!["status", "capability", "state", "capacity", "job"];
    while !missing.is_empty() {
        let topic = subscriber.wait_for("rebirth", |_| true).topic;
        missing.retain(|ending| !topic.ends_with(ending));
    }
    bench.end();
}

#[test]
fn a_broker_that_is_away_holds_nobody_up_and_alarms_outlast_chatter() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::new(broker.port, "fab/test/mk3/event", Some("witness"));
    let ready = Subscriber::new(broker.port, "fab/#", None);
    let bench = Bench::on(&broker);
    ready.wait_for("birth", |message| is_online(message, true));
    broker.vanish();
    let alarm = Notice::new("grbl.alarm.1", "A limit switch was hit.", "The job ended.", "Look at the machine.");
    bench.happen(EventKind::Trouble { notice: alarm });
    let started_at = Instant::now();
    for batch in 0..20 {
        for number in 0..1000 {
            bench.happen(EventKind::Message { text: format!("line {batch} {number}") });
        }
    }
    assert!(started_at.elapsed() < Duration::from_secs(20), "the machine waited for the broker");
    bench.happen(EventKind::Trouble { notice: Notice::new("grbl.alarm.2", "It was hit again.", "", "") });
    broker.restart();
    let first = subscriber.wait_on("/event").body;
    assert_eq!(first["notice"]["code"], "grbl.alarm.1");
    // What could not be kept is owned up to where it is missing, and all of it.
    let (mut told, mut dropped) = (0, 0);
    loop {
        let event = subscriber.wait_on("/event").body;
        match event["type"].as_str().unwrap() {
            "message" => told += 1,
            "events_dropped" => dropped += event["count"].as_u64().unwrap(),
            _ => break assert_eq!(event["notice"]["code"], "grbl.alarm.2"),
        }
    }
    assert_eq!((told + dropped, dropped > 0), (20_000, true), "{told} told, {dropped} dropped");
    bench.end();
}

#[test]
fn the_machines_do_not_wait_for_a_broker_that_takes_the_connection_and_says_nothing() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bench = Bench::new(mqtt::Settings::plain("127.0.0.1", deaf.local_addr().unwrap().port()));
    let (_held, _) = deaf.accept().unwrap();
    for number in 0..100_000 {
        bench.show(|snapshot| snapshot.position_mm = Some(Reading::fresh([f64::from(number), 0.0, 0.0], Moment(1))));
    }
    bench.end();
}

/// The real program with a simulated machine, killed without a word.
#[test]
fn an_agent_that_is_killed_goes_offline_by_its_last_will() {
    let broker = Broker::start();
    let status = Subscriber::new(broker.port, "fab/#", None);
    let machine = drivers::sim::simulated("grbl", &drivers::sim::Setup::default()).unwrap();
    let port = drivers::sim::port::Port::on_pty(machine, drivers::sim::port::Between::default(), None).unwrap();
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("agent.toml");
    let text = format!(
        "[agent]\nsite = \"test\"\nid = \"pi\"\n[http]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = \"store\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = {}\n\
         [[machine]]\nid = \"mill\"\nport = \"{}\"\nclear = \"assumed\"\nprofile = \"grbl-mill-3018\"\n",
        broker.port,
        port.address()
    );
    std::fs::write(&config, text).unwrap();
    let start = || {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_fab-agent"));
        program.args(["run", "--config"]).arg(&config).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut agent = start();
    let free = |message: &Message| message.topic == "fab/test/mill/capacity" && message.body["accepting_jobs"] == true;
    status.wait_for("birth", |message| is_online(message, true));
    assert_eq!(status.wait_for("free mill", free).body["agent"], "pi", "it holds while its agent is there");
    agent.kill().unwrap();
    let killed_at = Instant::now();
    let will = status.wait_for("Last Will", |message| is_online(message, false));
    assert_eq!(will.body["machines"], serde_json::json!(["mill"]), "of these nothing is known now");
    println!("offline {:?} after SIGKILL", killed_at.elapsed());
    agent.wait().unwrap();
    let late = Subscriber::new(broker.port, "fab/test/agent/pi/status", None);
    let message = late.wait_on("/status");
    assert!(message.retained && is_online(&message, false), "{message:?}");
    // Another life says what it knows itself, at once.
    let started = jiff::Timestamp::now();
    let mut agent = start();
    status.wait_for("birth", |message| is_online(message, true));
    let first = status.wait_for("state", |message| message.topic == "fab/test/mill/state");
    let at: jiff::Timestamp = first.body["at"].as_str().unwrap().parse().unwrap();
    // Times are told to the millisecond.
    assert!(at.as_millisecond() >= started.as_millisecond(), "of the life before: {}", first.body);
    status.wait_for("free mill", free);
    agent.kill().unwrap();
    agent.wait().unwrap();
}
