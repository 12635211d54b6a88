//! What brokers allow, refuse and do (machines.md of the field notes, "Brokers"), against real ones where they can be made to.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fab_agent::sinks::mqtt;

use crate::bench::{Bench, quick};
use crate::broker::{Broker, PATIENCE, Subscriber};
use crate::fake::{self, Answer, Packet};
use crate::is_online;

fn older(port: u16) -> mqtt::Settings {
    mqtt::Settings { version: mqtt::Version::V311, ..quick(port) }
}

/// Access rules that keep a fact of one machine and the events of another away.
const RULES: &str = "topic readwrite fab/#\ntopic deny fab/test/saw/event\ntopic deny fab/test/mk3/state\n";

/// Everything but what the rules forbid arrives, and what they forbid is named once.
fn all_but_the_refused(bench: &Bench, subscriber: &Subscriber) {
    for number in 1..=40 {
        bench.happen_job_at("saw", number);
        bench.happen_job(number);
    }
    let mut heard: Vec<String> = Vec::new();
    while heard.last().is_none_or(|job| job != "j40") {
        let event = subscriber.wait_on("mk3/event").body;
        let job = event["job"].as_str().unwrap().to_owned();
        if !heard.contains(&job) {
            heard.push(job);
        }
    }
    assert_eq!(heard, (1..=40).map(|number| format!("j{number}")).collect::<Vec<_>>());
    let told = bench.notices();
    let refused =
        |topic: &str| told.iter().filter(|(code, text)| code == "mqtt.topic_refused" && text.contains(topic)).count();
    assert_eq!((refused(""), refused("fab/test/saw/event"), refused("fab/test/mk3/state")), (2, 1, 1), "{told:?}");
}

#[test]
fn one_refused_topic_cost_54_connections_in_28_seconds_and_the_events_never_left() {
    // Mosquitto's own default: with 0 it closes the connection behind each refusal, see below.
    let mut broker = Broker::start_with_rules(RULES, "max_queued_messages 1000\n");
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    let bench = Bench::with(&["mk3", "saw"], quick(broker.port));
    subscriber.wait_for("birth", |message| is_online(message, true));
    all_but_the_refused(&bench, &subscriber);
    assert_eq!(broker.let_in("fab-test-pi"), 1, "one connection for all of it");
    // The rules are corrected after a while: what is missing is owned up to, and the topic lives.
    while subscriber.next_before(Instant::now() + Duration::from_secs(5)).is_some() {}
    broker.rules("topic readwrite fab/#\n");
    broker.restart();
    let corrected = Subscriber::new(broker.port, "fab/#", None);
    corrected.wait_for("birth", |message| is_online(message, true));
    bench.happen_job_at("saw", 41);
    let owned = corrected.wait_on("saw/event").body;
    assert_eq!((&owned["type"], &owned["count"]), (&"events_dropped".into(), &40.into()), "{owned}");
    assert_eq!(corrected.wait_on("saw/event").body["job"], "j41");
    bench.end();
}

#[test]
fn a_broker_that_closes_the_connection_behind_each_refusal_is_not_asked_twice() {
    // Mosquitto 2.0 with `max_queued_messages 0` refuses, and then takes its own answer for one too many.
    let broker = Broker::start_with_rules(RULES, "");
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    let bench = Bench::with(&["mk3", "saw"], quick(broker.port));
    subscriber.wait_for("birth", |message| is_online(message, true));
    all_but_the_refused(&bench, &subscriber);
    let connections = broker.let_in("fab-test-pi");
    assert!((2..=4).contains(&connections), "{connections} connections for two refused topics");
    bench.end();
}

#[test]
fn a_broker_that_closes_the_connection_over_one_topic_keeps_the_others() {
    let (port, heard) =
        fake::broker(&[], |topic| if topic == "fab/test/mk3/capability" { Answer::Close } else { Answer::Reason(0) });
    let bench = Bench::new(quick(port));
    bench.happen_job(1);
    assert!(bench.until_told("mqtt.topic_refused").contains("fab/test/mk3/capability"));
    let mut connections = HashSet::new();
    let event = |packet: &Packet| matches!(packet, Packet::Publish { topic, .. } if topic == "fab/test/mk3/event");
    loop {
        let (connection, packet) = heard.recv_timeout(PATIENCE).unwrap();
        connections.insert(connection);
        if event(&packet) && connections.len() > 3 {
            break;
        }
    }
    assert_eq!(connections.len(), 4, "one that met it by chance, two that prove it, and one that lasts");
    assert_eq!(bench.notices().iter().filter(|(code, _)| code == "mqtt.topic_refused").count(), 1);
    bench.end();
}

#[test]
fn a_broker_that_keeps_nothing_was_never_connected_to_and_the_password_was_blamed() {
    let broker = Broker::start_like("retain_available false\n");
    for settings in [quick(broker.port), older(broker.port)] {
        let subscriber = Subscriber::new(broker.port, "fab/#", None);
        let bench = Bench::new(settings);
        subscriber.wait_for("birth", |message| is_online(message, true));
        bench.happen_job(1);
        assert_eq!(subscriber.wait_on("/event").body["job"], "j1");
        bench.until_told("mqtt.no_retain");
        bench.end();
        subscriber.wait_for("goodbye", |message| is_online(message, false));
    }
}

#[test]
fn a_broker_that_acknowledges_nothing_gets_what_it_can_take() {
    let broker = Broker::start_like("max_qos 0\n");
    for settings in [quick(broker.port), older(broker.port)] {
        let subscriber = Subscriber::new(broker.port, "fab/#", None);
        let bench = Bench::new(settings);
        subscriber.wait_for("birth", |message| is_online(message, true));
        for number in 1..=30 {
            bench.happen_job(number);
        }
        for number in 1..=30 {
            let event = subscriber.wait_on("/event");
            assert_eq!((event.qos, &event.body["job"]), (0, &format!("j{number}").into()));
        }
        bench.until_told("mqtt.no_acknowledge");
        bench.end();
    }
}

#[test]
fn a_broker_with_a_small_largest_packet_gets_what_fits() {
    let broker = Broker::start_like("max_packet_size 700\n");
    for settings in [quick(broker.port), older(broker.port)] {
        let subscriber = Subscriber::new(broker.port, "fab/#", None);
        let version = settings.version;
        let (before, started) = (broker.let_in("fab"), Instant::now());
        let bench = Bench::new(settings);
        subscriber.wait_for("birth", |message| is_online(message, true));
        bench.happen_job(1);
        assert_eq!(subscriber.wait_on("/event").body["job"], "j1");
        println!("the first event arrived after {:.1?}", started.elapsed());
        let code = if version == mqtt::Version::V5 { "mqtt.too_long" } else { "mqtt.topic_refused" };
        assert!(bench.until_told(code).contains("fab/test/mk3/"));
        if version == mqtt::Version::V5 {
            assert_eq!(broker.let_in("fab"), before + 1, "what it takes was said in its welcome");
        }
        bench.end();
    }
}

#[test]
fn no_more_is_on_its_way_than_the_broker_allows() {
    let broker = Broker::start_like("max_inflight_messages 1\nmax_keepalive 10\n");
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    let bench = Bench::on(&broker);
    subscriber.wait_for("birth", |message| is_online(message, true));
    for number in 1..=100 {
        bench.happen_job(number);
    }
    for number in 1..=100 {
        assert_eq!(subscriber.wait_on("/event").body["job"], format!("j{number}"));
    }
    assert_eq!(broker.let_in("fab-test-pi"), 1);
    bench.end();
}

#[test]
fn a_broker_that_wants_no_pings_was_flooded_with_them() {
    // Server Keep Alive 0, Topic Alias Maximum 0.
    let (port, heard) = fake::broker(&[0x13, 0, 0, 0x22, 0, 0], |_| Answer::Reason(0));
    let bench = Bench::new(quick(port));
    let until = Instant::now() + Duration::from_secs(12);
    let mut pings = 0;
    while let Ok((connection, packet)) = heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
        assert_eq!(connection, 0, "the connection was lost: {packet:?}");
        pings += usize::from(packet == Packet::Ping);
    }
    assert!((1..=2).contains(&pings), "{pings} pings in 12 s");
    bench.end();
}

#[test]
fn a_broker_that_is_full_is_asked_again_and_the_connection_stays() {
    let full = std::sync::atomic::AtomicUsize::new(0);
    let (port, heard) = fake::broker(&[], move |topic| {
        let first = topic.ends_with("/event") && full.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
        // 0x97: quota exceeded.
        Answer::Reason(if first { 0x97 } else { 0 })
    });
    let bench = Bench::new(quick(port));
    bench.happen_job(1);
    bench.happen_job(2);
    let mut events = 0;
    while events < 4 {
        let (connection, packet) = heard.recv_timeout(PATIENCE).unwrap();
        assert_eq!(connection, 0);
        events += usize::from(matches!(packet, Packet::Publish { topic, .. } if topic.ends_with("/event")));
    }
    assert_eq!(bench.notices(), []);
    bench.end();
}

#[test]
fn a_takeover_is_named_and_the_two_meet_less_and_less_often() {
    // Mosquitto 2.0 closes the connection of the older client without a word, in either version.
    let broker = Broker::start();
    for version in [mqtt::Version::V5, mqtt::Version::V311] {
        let name = format!("twin-{version:?}");
        let bench = Bench::new(mqtt::Settings { version, client_id: Some(name.clone()), ..quick(broker.port) });
        let subscriber = Subscriber::new(broker.port, "fab/#", None);
        subscriber.wait_for("birth", |message| is_online(message, true));
        // Another client of that name, which comes back at once.
        let started = Instant::now();
        let twin = Subscriber::named(broker.port, &name);
        let told = bench.until_told("mqtt.dropped");
        assert!(told.contains(&name), "{told}");
        while started.elapsed() < Duration::from_secs(8) {
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(twin);
        let met = broker.let_in(&name);
        assert!(met < 16, "{met} connections in 8 s: two a second for each it was");
        bench.end();
    }
}

#[test]
fn a_broker_that_says_that_another_took_over_is_believed() {
    // 0x8e: session taken over.
    let (port, _heard) =
        fake::broker(&[], |topic| if topic.ends_with("/job") { Answer::Disconnect(0x8e) } else { Answer::Reason(0) });
    let bench = Bench::new(quick(port));
    assert!(bench.until_told("mqtt.taken_over").contains("SessionTakenOver"));
    bench.end();
}

#[test]
fn a_broker_that_says_that_it_was_because_of_a_message_needs_to_say_so_once() {
    // 0x87: not authorized.
    let (port, heard) =
        fake::broker(&[], |topic| if topic.ends_with("/state") { Answer::Disconnect(0x87) } else { Answer::Reason(0) });
    let bench = Bench::new(quick(port));
    bench.happen_job(1);
    assert!(bench.until_told("mqtt.topic_refused").contains("fab/test/mk3/state"));
    loop {
        let (connection, packet) = heard.recv_timeout(PATIENCE).unwrap();
        if connection == 2 && matches!(packet, Packet::Publish { topic, .. } if topic.ends_with("/event")) {
            break;
        }
        assert!(connection < 3);
    }
    bench.end();
}

#[test]
fn two_agents_with_the_default_configuration_pushed_each_other_out_twice_a_second() {
    let broker = Broker::start();
    for settings in [quick(broker.port), older(broker.port)] {
        let subscriber = Subscriber::new(broker.port, "fab/#", None);
        let before = broker.let_in("fab-test-pi-");
        let (one, other) = (Bench::new(settings.clone()), Bench::new(settings));
        for _ in 0..2 {
            subscriber.wait_for("birth", |message| is_online(message, true));
        }
        for bench in [&one, &other] {
            bench.happen_job(7);
        }
        for _ in 0..2 {
            subscriber.wait_on("/event");
        }
        assert_eq!(broker.let_in("fab-test-pi-"), before + 2);
        one.end();
        other.end();
    }
}

#[test]
fn topics_of_a_machine_that_was_renamed_stayed_for_ever() {
    let broker = Broker::start();
    let home = tempfile::tempdir().unwrap();
    let live = Subscriber::new(broker.port, "fab/#", None);
    let bench = Bench::at(home.path(), &["mk3", "saw"], quick(broker.port));
    live.wait_for("the last of its topics", |message| message.topic == "fab/test/saw/job");
    bench.end();
    live.wait_for("goodbye", |message| is_online(message, false));
    let bench = Bench::at(home.path(), &["mk3"], quick(broker.port));
    let mut gone = HashSet::new();
    while gone.len() < 4 {
        let message = live.wait_for("an empty message", |message| message.body.is_null() && !message.retained);
        gone.insert(message.topic);
    }
    bench.end();
    live.wait_for("goodbye", |message| is_online(message, false));
    let late = Subscriber::new(broker.port, "fab/#", None);
    let mut found = HashSet::new();
    while found.len() < 5 {
        found.insert(late.wait_for("retained message", |message| message.retained).topic);
    }
    assert!(found.iter().all(|topic| !topic.contains("/saw/")), "{found:?}");
    // Once is enough.
    let bench = Bench::at(home.path(), &["mk3"], quick(broker.port));
    live.wait_for("birth", |message| is_online(message, true));
    bench.end();
    let message = live.wait_for("goodbye", |message| message.topic.contains("/saw/") || is_online(message, false));
    assert!(!message.topic.contains("/saw/"));
}

#[test]
fn of_2953_replayed_events_1363_were_never_seen() {
    // Mosquitto's own defaults for what may wait for a subscriber, and one whose line takes 60 kB/s.
    let mut broker = Broker::start_like("max_queued_messages 1000\nmax_inflight_messages 20\n");
    let line = crate::cost::Line::to(broker.port, Some(60_000));
    let subscriber = Subscriber::new(line.port, "fab/#", Some("witness"));
    let bench = Bench::on(&broker);
    subscriber.wait_for("birth", |message| is_online(message, true));
    bench.happen_job(1);
    subscriber.wait_on("/event");
    broker.vanish();
    for number in 2..=2953 {
        bench.happen_job(number);
    }
    broker.restart();
    let started = Instant::now();
    let mut seen = HashSet::new();
    let mut last = String::new();
    while last != "j2953" {
        let message = subscriber.wait_on("/event");
        last = message.body["job"].as_str().unwrap_or_default().to_owned();
        seen.insert(last.clone());
    }
    println!("{} of 2952 events in {:.1?}", seen.len(), started.elapsed());
    let missing = (2..=2953).filter(|number| !seen.contains(&format!("j{number}"))).count();
    assert_eq!(missing, 0, "never seen");
    bench.end();
}
