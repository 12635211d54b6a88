//! What is to be published, and when: the sink's decisions without its connection. Pure.
//!
//! Takes snapshots, events and what became of the connection; gives publications and the time of the next one.
//! A retained fact is rendered when its turn comes, so a slow broker sees fewer versions and never an old one.

use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Epoch;
use drivers::{Moment, Snapshot};
use serde_json::{Map, Value, json};

use super::documents::{self, Sample};
use super::outbox::Outbox;
use crate::capability::Capability;
use crate::capacity::{Capacity, Queue};
use crate::sinks::{Source, wall};
use crate::store::{Batch, Cursor};
use crate::topics::{Fact, Scheme, Topic};

/// Forecasts of "free at" that differ by less are not news.
const FORECAST_TOLERANCE: Duration = Duration::from_secs(10);

/// Events that may be on their way to the broker at once. Small, so that what arrives twice after a lost connection
/// is little; large enough that a round trip of 50 ms still lets hundreds through in a second.
const EVENTS_IN_FLIGHT: usize = 16;

/// Something to publish.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Publication {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) retain: bool,
    /// What to acknowledge it by, for events; facts and samples are replaced by the next.
    pub(super) event: Option<u64>,
    /// Whether the broker must acknowledge it (QoS 1).
    pub(super) acknowledged: bool,
}

/// A fact that is to be published when it changed, but not too often.
#[derive(Debug, Default)]
struct Slot {
    changed: bool,
    urgent: bool,
    published_at: Option<Moment>,
}

impl Slot {
    fn change(&mut self, urgent: bool) {
        self.changed = true;
        self.urgent |= urgent;
    }

    /// When it may be published; nothing if there is nothing new.
    fn due_at(&self, interval: Duration) -> Option<Moment> {
        match (self.changed, self.urgent, self.published_at) {
            (false, ..) => None,
            (true, true, _) | (true, _, None) => Some(Moment::ZERO),
            (true, false, Some(at)) => Some(at + interval),
        }
    }

    fn published(&mut self, now: Moment) {
        *self = Self { changed: false, urgent: false, published_at: Some(now) };
    }
}

#[derive(Debug)]
struct Line {
    name: String,
    profile: Arc<drivers::profile::Profile>,
    epoch: Epoch,
    snapshot: Arc<Snapshot>,
    queue: Queue,
    capacity: Option<Capacity>,
    sample: Sample,
    slots: [Slot; 5],
}

/// The facts that have a slot; events have the outbox.
const SLOTS: [Fact; 5] = [Fact::Capability, Fact::State, Fact::Capacity, Fact::Job, Fact::Telemetry];

/// What is to be published, and when.
#[derive(Debug)]
pub(super) struct Uplink {
    scheme: Scheme,
    agent: String,
    born_at: String,
    lines: Vec<Line>,
    outbox: Outbox,
    in_flight: usize,
    connected: bool,
    birth_due: bool,
    interval: Duration,
}

impl Uplink {
    /// An uplink for what is told of `machines`. `born_at` is the wall-clock time of now, RFC 3339: it tells this life of the
    /// agent from the next. `interval` is the shortest time between two unhurried messages on one topic.
    pub(super) fn new(
        scheme: Scheme,
        agent: &str,
        machines: &mut [Source],
        born_at: String,
        interval: Duration,
    ) -> Self {
        let lines: Vec<_> = machines.iter_mut().map(Line::new).collect();
        Self {
            scheme,
            agent: agent.to_owned(),
            outbox: Outbox::new(lines.iter().map(|line| line.name.clone()).collect()),
            born_at,
            lines,
            in_flight: 0,
            connected: false,
            birth_due: false,
            interval,
        }
    }

    pub(super) fn handle_snapshot(&mut self, machine: usize, snapshot: Arc<Snapshot>) {
        self.lines[machine].learn(snapshot);
    }

    pub(super) fn handle_queue(&mut self, machine: usize, queue: Queue) {
        let line = &mut self.lines[machine];
        line.queue = queue;
        line.reconsider_capacity();
    }

    /// More of the log was read.
    pub(super) fn handle_batch(&mut self, batch: Batch) {
        self.outbox.take(batch);
    }

    /// Whether more of the log is to be read.
    pub(super) fn wants_events(&self) -> bool {
        self.connected && self.outbox.wants_more()
    }

    /// The broker has all events up to here.
    pub(super) fn place(&self) -> Cursor {
        self.outbox.place()
    }

    /// The broker took us in. It may have forgotten everything: all retained facts are said again. Events up to the
    /// newest number are history for it.
    pub(super) fn handle_connected(&mut self, newest: u64) {
        self.connected = true;
        self.outbox.connected(newest);
        self.birth_due = true;
        for slot in self.lines.iter_mut().flat_map(|line| &mut line.slots) {
            slot.change(true);
        }
    }

    pub(super) fn handle_lost(&mut self) {
        self.connected = false;
        self.in_flight = 0;
    }

    pub(super) fn handle_acknowledged(&mut self, event: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.outbox.acknowledged(event);
    }

    /// Events that wait for the broker.
    pub(super) fn events_waiting(&self) -> usize {
        self.outbox.len()
    }

    /// When `poll_publication` has something to say next, if nothing else happens before.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        if !self.connected {
            return None;
        }
        self.lines.iter().flat_map(|line| &line.slots).filter_map(|slot| slot.due_at(self.interval)).min()
    }

    /// What to publish now: the birth first, then what is true, then what happened, then samples.
    pub(super) fn poll_publication(&mut self, now: Moment) -> Option<Publication> {
        if !self.connected {
            return None;
        }
        if std::mem::take(&mut self.birth_due) {
            return Some(self.birth());
        }
        let due = |slot: &Slot| slot.due_at(self.interval).is_some_and(|at| at <= now);
        let telemetry = SLOTS.len() - 1;
        for slot in 0..telemetry {
            if let Some(machine) = self.lines.iter().position(|line| due(&line.slots[slot])) {
                return Some(self.fact(machine, slot, now));
            }
        }
        if let Some(publication) = self.event() {
            return Some(publication);
        }
        let due = |slot: &Slot| slot.due_at(self.interval).is_some_and(|at| at <= now);
        let machine = self.lines.iter().position(|line| due(&line.slots[telemetry]))?;
        Some(self.fact(machine, telemetry, now))
    }

    fn birth(&self) -> Publication {
        let machines: Vec<_> = self.lines.iter().map(|line| &line.name).collect();
        let document = json!({
            "online": true,
            "agent": self.agent,
            "version": env!("CARGO_PKG_VERSION"),
            "since": self.born_at,
            "machines": machines,
        });
        publication(self.scheme.write(&Topic::Agent(self.agent.as_str().into())), &document, true)
    }

    /// What is left behind when the agent ends in good order. The same words as the Last Will's, and a capacity that
    /// is withdrawn: nobody should wait for a machine whose agent went home.
    pub(super) fn farewell(&self, now: &str) -> Vec<Publication> {
        let mut farewell: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let document = json!({
                    "version": crate::capacity::VERSION,
                    "at": now,
                    "machine": line.name,
                    "state": "offline",
                    "accepting_jobs": false,
                    "queue_length": line.queue.length,
                    "reason": { "code": "agent.stopped", "sentence": "The agent of this machine was stopped." },
                });
                let topic = Topic::Machine(line.name.as_str().into(), Fact::Capacity);
                publication(self.scheme.write(&topic), &document, true)
            })
            .collect();
        let topic = self.scheme.write(&Topic::Agent(self.agent.as_str().into()));
        farewell.push(publication(topic, &will(&self.agent), true));
        farewell
    }

    fn fact(&mut self, machine: usize, slot: usize, now: Moment) -> Publication {
        let line = &mut self.lines[machine];
        line.slots[slot].published(now);
        let fact = SLOTS[slot];
        let document = line.document(fact);
        let mut publication = publication(
            self.scheme.write(&Topic::Machine(line.name.as_str().into(), fact)),
            &document,
            fact.is_retained(),
        );
        publication.acknowledged = fact.is_retained();
        publication
    }

    fn event(&mut self) -> Option<Publication> {
        if self.in_flight >= EVENTS_IN_FLIGHT {
            return None;
        }
        let due = self.outbox.offer()?;
        self.in_flight += 1;
        let topic = Topic::Machine(self.lines[due.machine].name.as_str().into(), Fact::Event);
        Some(Publication {
            topic: self.scheme.write(&topic),
            payload: due.payload,
            retain: false,
            event: Some(due.key),
            acknowledged: true,
        })
    }
}

/// What the broker says of the agent when it hears nothing from it any more.
pub(super) fn will(agent: &str) -> Value {
    json!({ "online": false, "agent": agent })
}

fn publication(topic: String, document: &Value, retain: bool) -> Publication {
    Publication { topic, payload: document.to_string().into_bytes(), retain, event: None, acknowledged: true }
}

impl Line {
    fn new(source: &mut Source) -> Self {
        let snapshot = source.snapshots.borrow_and_update().clone();
        let queue = source.queue.borrow_and_update().clone();
        let capacity = Capacity::of(&source.profile, &snapshot, &queue);
        Self {
            name: source.name.clone(),
            profile: source.profile.clone(),
            epoch: source.epoch.clone(),
            sample: Sample::default(),
            capacity: Some(capacity),
            snapshot,
            queue,
            slots: Default::default(),
        }
    }

    fn slot(&mut self, fact: Fact) -> &mut Slot {
        let place = SLOTS.iter().position(|slot| *slot == fact).unwrap_or(0);
        &mut self.slots[place]
    }

    fn learn(&mut self, snapshot: Arc<Snapshot>) {
        let before = std::mem::replace(&mut self.snapshot, snapshot);
        let now = self.snapshot.clone();
        let phase = |snapshot: &Snapshot| snapshot.job.as_ref().map(|job| (job.job.clone(), job.phase));
        let turned = before.state != now.state || before.notice != now.notice || phase(&before) != phase(&now);
        self.slot(Fact::State).change(turned);
        if before.job != now.job {
            self.slot(Fact::Job).change(phase(&before) != phase(&now));
        }
        if before.identity != now.identity {
            self.slot(Fact::Capability).change(true);
        }
        if Sample::of(&now).is_news_after(&self.sample) {
            self.slot(Fact::Telemetry).change(false);
        }
        self.reconsider_capacity();
    }

    fn reconsider_capacity(&mut self) {
        let capacity = Capacity::of(&self.profile, &self.snapshot, &self.queue);
        let same = self.capacity.as_ref().is_some_and(|said| said.says_the_same(&capacity, FORECAST_TOLERANCE));
        if !same {
            self.capacity = Some(capacity);
            self.slot(Fact::Capacity).change(true);
        }
    }

    fn document(&mut self, fact: Fact) -> Value {
        let epoch = self.epoch.now();
        let wall = |moment| wall(epoch, moment);
        match fact {
            Fact::State => documents::state(&self.name, epoch, &self.snapshot),
            Fact::Job => documents::job(&self.name, epoch, &self.snapshot),
            Fact::Capacity => Capacity::of(&self.profile, &self.snapshot, &self.queue).document(&self.name, wall),
            Fact::Capability => {
                let at = wall(self.snapshot.at);
                json!(Capability::of(&self.name, &self.profile, self.snapshot.identity.as_ref(), at))
            }
            Fact::Telemetry => {
                let document = Sample::of(&self.snapshot).document(&wall(self.snapshot.at));
                self.sample = Sample::of(&self.snapshot);
                document
            }
            Fact::Event => Value::Object(Map::new()),
        }
    }
}

#[cfg(test)]
mod test {
    use drivers::State;
    use drivers::profile::Profile;
    use tokio::sync::watch;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn at(milliseconds: u64) -> Moment {
        Moment(milliseconds * 1000)
    }

    fn uplink() -> Uplink {
        let source = Source {
            name: "mill".into(),
            profile: Arc::new(Profile::parse(Profile::bundled()[0].1).unwrap()),
            epoch: Epoch::fixed(std::time::SystemTime::UNIX_EPOCH),
            snapshots: watch::channel(Arc::new(snapshot(State::Idle, 0.0))).1,
            queue: watch::channel(Queue::default()).1,
        };
        Uplink::new(Scheme::new("s").unwrap(), "pi", &mut [source], "born".into(), INTERVAL)
    }

    fn snapshot(state: State, x_mm: f64) -> Snapshot {
        let position_mm = Some(drivers::snapshot::Reading::fresh([x_mm, 0.0, 0.0], at(1)));
        Snapshot { state, position_mm, ..Snapshot::unknown(at(1)) }
    }

    fn drain(uplink: &mut Uplink, now: Moment) -> Vec<String> {
        std::iter::from_fn(|| uplink.poll_publication(now)).map(|publication| publication.topic).collect()
    }

    #[test]
    fn nothing_is_said_before_the_broker_took_us_in_and_then_the_birth_comes_first() {
        let mut uplink = uplink();
        assert_eq!(uplink.poll_publication(at(0)), None);
        assert_eq!(uplink.poll_timeout(), None);
        uplink.handle_connected(0);
        let topics = drain(&mut uplink, at(0));
        let mill = ["capability", "state", "capacity", "job", "telemetry"].map(|fact| format!("fab/s/mill/{fact}"));
        assert_eq!(topics[0], "fab/s/agent/pi/status");
        assert_eq!(topics[1..], mill);
        uplink.handle_lost();
        uplink.handle_connected(0);
        assert_eq!(drain(&mut uplink, at(1)), topics, "a rebirth says everything again");
    }

    #[test]
    fn a_moving_machine_is_told_of_once_an_interval_and_a_change_of_state_at_once() {
        let mut uplink = uplink();
        uplink.handle_connected(0);
        drain(&mut uplink, at(0));
        uplink.handle_snapshot(0, Arc::new(snapshot(State::Idle, 5.0)));
        assert!(drain(&mut uplink, at(100)).is_empty());
        assert_eq!(uplink.poll_timeout(), Some(at(1000)));
        uplink.handle_snapshot(0, Arc::new(snapshot(State::Alarm, 5.0)));
        assert_eq!(drain(&mut uplink, at(200)), ["fab/s/mill/state", "fab/s/mill/capacity"]);
        assert_eq!(drain(&mut uplink, at(1000)), ["fab/s/mill/telemetry"]);
        uplink.handle_snapshot(0, Arc::new(snapshot(State::Alarm, 5.001)));
        assert_eq!(drain(&mut uplink, at(9000)), ["fab/s/mill/state"], "a thousandth is within the dead band");
    }

    #[test]
    fn few_events_are_on_their_way_at_once_and_each_acknowledgement_makes_room() {
        let mut uplink = uplink();
        uplink.handle_connected(0);
        drain(&mut uplink, at(0));
        let run = Arc::new(crate::store::Run::default());
        let row = |number| crate::store::Row {
            number,
            at_ms: 0,
            since_boot_us: 0,
            clock_set: true,
            run: run.clone(),
            class: crate::store::Class::Chatter,
            machine: Some("mill".into()),
            job: None,
            who: None,
            seq: Some(number),
            body: "{}".into(),
        };
        let items = (1..=EVENTS_IN_FLIGHT as u64 + 3).map(|number| crate::store::Item::Row(Arc::new(row(number))));
        uplink.handle_batch(Batch { items: items.collect(), cursor: Cursor::default() });
        let sent: Vec<_> = std::iter::from_fn(|| uplink.poll_publication(at(1))).collect();
        assert_eq!(sent.len(), EVENTS_IN_FLIGHT);
        assert!(sent.iter().all(|event| event.acknowledged && !event.retain));
        uplink.handle_acknowledged(sent[0].event.unwrap());
        assert_eq!(drain(&mut uplink, at(1)).len(), 1);
        assert_eq!(uplink.events_waiting(), EVENTS_IN_FLIGHT + 2);
    }
}
