use drivers::State;
use drivers::profile::Profile;
use drivers::snapshot::{Quality, Reading};
use tokio::sync::watch;

use super::*;
use crate::store::{Class, Item, Row, Run};

const INTERVAL: Duration = Duration::from_secs(1);

fn at(milliseconds: u64) -> Moment {
    Moment(milliseconds * 1000)
}

fn uplink() -> Uplink {
    let source = Source {
        program_bytes_max: 1 << 20,
        name: "mill".into(),
        profile: Arc::new(Profile::parse(Profile::bundled()[0].1).unwrap()),
        epoch: Epoch::fixed(std::time::SystemTime::UNIX_EPOCH),
        snapshots: watch::channel(Arc::new(snapshot(State::Idle, 0.0))).1,
        queue: watch::channel(Queue::default()).1,
    };
    let clock = Epoch::fixed(std::time::SystemTime::UNIX_EPOCH);
    Uplink::new(Scheme::new("s").unwrap(), "pi", &mut [source], clock, INTERVAL)
}

fn limits() -> Limits {
    Limits { packet_bytes_max: 100_000, receive_max: 65_535, retain: true, acknowledge: true }
}

fn connected() -> Uplink {
    let mut uplink = uplink();
    uplink.handle_connected(0, limits(), false, at(0));
    uplink
}

fn snapshot(state: State, x_mm: f64) -> Snapshot {
    let position_mm = Some(Reading::fresh([x_mm, 0.0, 0.0], at(1)));
    Snapshot { state, position_mm, ..Snapshot::unknown(at(1)) }
}

fn drain(uplink: &mut Uplink, now: Moment) -> Vec<String> {
    publications(uplink, now).into_iter().map(|publication| publication.topic).collect()
}

fn publications(uplink: &mut Uplink, now: Moment) -> Vec<Publication> {
    std::iter::from_fn(|| uplink.poll_publication(now)).collect()
}

fn happen(uplink: &mut Uplink, numbers: std::ops::RangeInclusive<u64>) {
    let run = Arc::new(Run { name: "r".into(), boot: String::new() });
    let row = |number| Row {
        number,
        at_ms: 0,
        since_boot_us: 0,
        clock_set: true,
        run: run.clone(),
        class: Class::Chatter,
        machine: Some("mill".into()),
        job: None,
        who: None,
        seq: Some(number),
        body: "{}".into(),
    };
    let cursor = Cursor { log: "l".into(), number: *numbers.end() };
    let items = numbers.map(|number| Item::Row(Arc::new(row(number)))).collect();
    uplink.handle_batch(Batch { items, cursor });
}

#[test]
fn nothing_is_said_before_the_broker_took_us_in_and_then_the_birth_comes_first() {
    let mut uplink = uplink();
    assert_eq!(uplink.poll_publication(at(0)), None);
    assert_eq!(uplink.poll_timeout(), None);
    uplink.handle_connected(0, limits(), false, at(0));
    let topics = drain(&mut uplink, at(0));
    let mill = ["capability", "state", "capacity", "job", "telemetry"].map(|fact| format!("fab/s/mill/{fact}"));
    assert_eq!(topics[0], "fab/s/agent/pi/status");
    assert_eq!(topics[1..], mill);
    uplink.handle_lost(Kind::Unreachable, at(1));
    uplink.handle_connected(0, limits(), false, at(1));
    assert_eq!(drain(&mut uplink, at(1)), topics, "a rebirth says everything again");
}

#[test]
fn a_moving_machine_is_told_of_once_an_interval_and_a_change_of_state_at_once() {
    let mut uplink = connected();
    drain(&mut uplink, at(0));
    uplink.handle_snapshot(0, Arc::new(snapshot(State::Idle, 5.0)));
    assert!(drain(&mut uplink, at(100)).is_empty());
    assert_eq!(uplink.poll_timeout(), Some(at(1000)));
    uplink.handle_snapshot(0, Arc::new(snapshot(State::Alarm, 5.0)));
    assert_eq!(drain(&mut uplink, at(200)), ["fab/s/mill/state", "fab/s/mill/capacity"]);
    assert_eq!(drain(&mut uplink, at(1000)), ["fab/s/mill/telemetry"]);
    uplink.handle_snapshot(0, Arc::new(snapshot(State::Alarm, 5.001)));
    assert_eq!(drain(&mut uplink, at(9000)), [""; 0], "a thousandth is within the dead band");
}

#[test]
fn a_machine_that_does_nothing_costs_a_heartbeat_a_minute() {
    let mut uplink = connected();
    drain(&mut uplink, at(0));
    for second in 1..60 {
        let mut still = snapshot(State::Idle, 0.0);
        still.generation = second;
        still.at = at(second * 1000);
        still.position_mm = Some(Reading::fresh([0.0, 0.0, 0.0], still.at));
        still.link.bytes_in = second * 100;
        uplink.handle_snapshot(0, Arc::new(still));
        assert_eq!(drain(&mut uplink, at(second * 1000)), [""; 0], "second {second}");
    }
    assert_eq!(drain(&mut uplink, at(60_000)), ["fab/s/agent/pi/status"]);
}

#[test]
fn machine_documents_stayed_30_days_behind_until_a_restart() {
    let month = Duration::from_secs(30 * 24 * 3600);
    let behind = || Epoch::following(std::time::Instant::now(), std::time::SystemTime::now() - month);
    let source = Source {
        program_bytes_max: 1 << 20,
        name: "mill".into(),
        profile: Arc::new(Profile::parse(Profile::bundled()[0].1).unwrap()),
        epoch: behind(),
        snapshots: watch::channel(Arc::new(snapshot(State::Idle, 0.0))).1,
        queue: watch::channel(Queue::default()).1,
    };
    // The clock was set between the start and now.
    let mut uplink = Uplink::new(Scheme::new("s").unwrap(), "pi", &mut [source], behind(), INTERVAL);
    uplink.handle_connected(0, limits(), false, at(0));
    for said in publications(&mut uplink, at(0)) {
        let document: Value = serde_json::from_slice(&said.payload).unwrap();
        let told: jiff::Timestamp = document["at"].as_str().unwrap().parse().unwrap();
        let age = jiff::Timestamp::now().duration_since(told).abs();
        assert!(age < jiff::SignedDuration::from_secs(60), "{}: {document}", said.topic);
    }
}

#[test]
fn what_goes_stale_is_published_when_it_does() {
    let mut uplink = connected();
    drain(&mut uplink, at(0));
    let mut stale = snapshot(State::Idle, 0.0);
    stale.position_mm.as_mut().unwrap().quality = Quality::Stale;
    uplink.handle_snapshot(0, Arc::new(stale));
    let said = publications(&mut uplink, at(100));
    assert_eq!(said[0].topic, "fab/s/mill/state");
    let document: Value = serde_json::from_slice(&said[0].payload).unwrap();
    assert_eq!((&document["position_mm"]["quality"], &document["agent"]), (&json!("stale"), &json!("pi")));
}

#[test]
fn few_events_are_on_their_way_at_once_and_each_acknowledgement_makes_room() {
    let mut uplink = connected();
    drain(&mut uplink, at(0));
    happen(&mut uplink, 1..=IN_FLIGHT_MAX as u64 + 3);
    let sent = publications(&mut uplink, at(1));
    assert_eq!(sent.len(), IN_FLIGHT_MAX);
    assert!(sent.iter().all(|event| event.acknowledged && !event.retain));
    uplink.handle_verdict(&sent[0].token, Verdict::Taken, at(1));
    assert_eq!(drain(&mut uplink, at(1)).len(), 1);
    assert_eq!(uplink.events_waiting(), IN_FLIGHT_MAX + 2);
}

#[test]
fn a_refused_topic_is_named_once_and_everything_else_goes_on() {
    let mut uplink = connected();
    let birth = publications(&mut uplink, at(0));
    let refuse = |uplink: &mut Uplink, sent: &[Publication], now| {
        for publication in sent {
            let verdict = if publication.topic == "fab/s/mill/state" { Verdict::Refused } else { Verdict::Taken };
            uplink.handle_verdict(&publication.token, verdict, now);
        }
    };
    refuse(&mut uplink, &birth, at(10));
    let notice = uplink.poll_notice().unwrap();
    assert!(notice.code == "mqtt.topic_refused" && notice.happened.contains("fab/s/mill/state"), "{notice}");
    uplink.handle_snapshot(0, Arc::new(snapshot(State::Alarm, 5.0)));
    assert_eq!(drain(&mut uplink, at(2000)), ["fab/s/mill/capacity", "fab/s/mill/telemetry"]);
    let again = publications(&mut uplink, at(610_000));
    assert!(again.iter().any(|publication| publication.topic == "fab/s/mill/state"), "it is asked again");
    refuse(&mut uplink, &again, at(610_001));
    assert_eq!(uplink.poll_notice(), None);
}

#[test]
fn a_broker_that_closes_the_connection_over_one_topic_costs_two_connections_and_no_more() {
    let mut uplink = uplink();
    let mut closed = 0;
    for life in 0..6 {
        let now = at(life * 1000);
        uplink.handle_connected(0, limits(), true, now);
        // One message at a time: the broker answers each, but for the one it does not like.
        while let Some(publication) = uplink.poll_publication(now) {
            assert_eq!(uplink.poll_publication(now), None);
            if publication.topic == "fab/s/mill/capability" {
                uplink.handle_lost(Kind::Closed, now);
                closed += 1;
                break;
            }
            uplink.handle_verdict(&publication.token, Verdict::Taken, now);
        }
    }
    assert_eq!(closed, 2);
    assert!(uplink.poll_notice().unwrap().happened.contains("fab/s/mill/capability"));
    assert_eq!(uplink.poll_notice(), None);
}

#[test]
fn a_broker_that_keeps_and_acknowledges_nothing_gets_neither_asked() {
    let mut uplink = uplink();
    uplink.take_back(["fab/s/gone/state".to_owned()]);
    let limits = Limits { retain: false, acknowledge: false, ..limits() };
    uplink.handle_connected(0, limits, false, at(0));
    happen(&mut uplink, 1..=1);
    let sent = publications(&mut uplink, at(0));
    assert_eq!(sent.len(), 7);
    assert!(sent.iter().all(|publication| !publication.retain && !publication.acknowledged));
    assert_eq!((uplink.events_waiting(), uplink.gone_at(), uplink.old().count()), (1, None, 0));
    let event = sent.iter().find(|publication| publication.token.event.is_some()).unwrap();
    uplink.handle_sent(&event.token, at(1));
    assert_eq!(uplink.events_waiting(), 0);
}

#[test]
fn what_is_longer_than_the_broker_takes_is_left_out_and_named_once() {
    let mut uplink = uplink();
    uplink.handle_connected(0, Limits { packet_bytes_max: 400, ..limits() }, false, at(0));
    let sent = publications(&mut uplink, at(0));
    assert!(sent.iter().all(|publication| publication.topic.len() + publication.payload.len() + 10 <= 400));
    assert!(sent.iter().any(|publication| publication.topic == "fab/s/mill/capacity"));
    let notices: Vec<_> = std::iter::from_fn(|| uplink.poll_notice()).collect();
    assert!(notices.iter().all(|notice| notice.code == "mqtt.too_long"), "{notices:?}");
    assert!(notices.iter().any(|notice| notice.happened.contains("fab/s/mill/state")), "{notices:?}");
    uplink.handle_lost(Kind::Unreachable, at(1));
    uplink.handle_connected(0, Limits { packet_bytes_max: 400, ..super::test::limits() }, false, at(2));
    drain(&mut uplink, at(2));
    assert_eq!(uplink.poll_notice(), None);
}

#[test]
fn a_broker_that_acknowledges_nothing_is_gone_after_a_minute_and_a_slow_one_is_not() {
    let mut uplink = connected();
    let sent = publications(&mut uplink, at(0));
    assert_eq!(uplink.gone_at(), Some(at(60_000)));
    uplink.handle_verdict(&sent[0].token, Verdict::Taken, at(50_000));
    assert_eq!(uplink.gone_at(), Some(at(110_000)));
    for publication in &sent[1..] {
        uplink.handle_verdict(&publication.token, Verdict::Taken, at(51_000));
    }
    assert_eq!(uplink.gone_at(), None);
}

#[test]
fn topics_of_a_machine_that_left_are_taken_back_one_after_the_other() {
    let mut uplink = uplink();
    uplink.take_back(["fab/s/gone/state".to_owned(), "fab/s/gone/job".to_owned()]);
    uplink.handle_connected(0, limits(), false, at(0));
    let back = |sent: &[Publication]| sent.iter().find(|publication| publication.topic.contains("gone")).cloned();
    let first = back(&publications(&mut uplink, at(0))).unwrap();
    assert!(first.retain && first.payload.is_empty());
    uplink.handle_lost(Kind::Closed, at(1));
    assert_eq!(uplink.old().count(), 2, "it was not acknowledged");
    uplink.handle_connected(0, limits(), false, at(2));
    for left in [1, 0] {
        let one = back(&publications(&mut uplink, at(2))).unwrap();
        uplink.handle_verdict(&one.token, Verdict::Taken, at(3));
        assert_eq!(uplink.old().count(), left);
    }
    assert_eq!(back(&publications(&mut uplink, at(4))), None);
}

#[test]
fn an_agent_that_goes_home_leaves_machines_of_which_nothing_is_known() {
    let uplink = connected();
    let left: Vec<(String, Value)> = uplink
        .farewell()
        .into_iter()
        .map(|publication| (publication.topic, serde_json::from_slice(&publication.payload).unwrap()))
        .collect();
    let of = |ending: &str| &left.iter().find(|(topic, _)| topic.ends_with(ending)).unwrap().1;
    assert_eq!(
        (&of("/state")["state"], &of("/state")["position_mm"]["quality"]),
        (&json!("unknown"), &json!("uncertain"))
    );
    assert_eq!((&of("/capacity")["state"], &of("/capacity")["accepting_jobs"]), (&json!("unknown"), &json!(false)));
    assert_eq!(of("/status"), &json!({ "online": false, "agent": "pi", "machines": ["mill"] }));
}
