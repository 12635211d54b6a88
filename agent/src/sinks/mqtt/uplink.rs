//! What is to be published, and when: the sink's decisions without its connection. Pure.
//!
//! Takes snapshots, events and what became of the connection; gives publications and the time of the next one.
//! A retained fact is rendered when its turn comes, so a slow broker sees fewer versions and never an old one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Epoch;
use drivers::{Moment, Notice, Snapshot};
use serde_json::{Value, json};

use super::course::Limits;
use super::line::{Line, SLOTS};
use super::loss::Kind;
use super::outbox::{Due, IN_FLIGHT_MAX, Outbox};
use super::refusals::{Place, Refusals, Verdict};
use crate::capacity::Queue;
use crate::sinks::{Source, wall};
use crate::store::{Batch, Cursor};
use crate::topics::{Fact, Scheme, Topic};

#[cfg(test)]
mod test;

/// How often the agent says that it is there and that what it said last still holds: nothing else is said of a machine
/// that does nothing. Some 300 bytes.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// A broker that acknowledges nothing for so long, while something waits for it, is gone: it may still answer pings.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of a PUBLISH beside topic and text, at most: fixed header 5, length of the topic 2, number 2, no properties 1.
const PUBLISH_BYTES: usize = 10;

/// Things to tell people that may wait.
const NOTICES_MAX: usize = 16;

/// Something to publish.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Publication {
    pub(super) token: Token,
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) retain: bool,
    /// Whether the broker must acknowledge it (QoS 1).
    pub(super) acknowledged: bool,
}

/// What a publication is known by when the broker answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) place: Place,
    /// For events, what the outbox knows it by.
    pub(super) event: Option<u64>,
}

/// Of what people were told: once is enough.
#[derive(Debug, Default)]
struct Told {
    too_long: bool,
    no_retain: bool,
    no_acknowledge: bool,
}

/// What is to be published, and when.
#[derive(Debug)]
pub(super) struct Uplink {
    scheme: Scheme,
    agent: String,
    clock: Epoch,
    lines: Vec<Line>,
    outbox: Outbox,
    refusals: Refusals,
    /// What the broker allows; nothing while there is no connection.
    limits: Option<Limits>,
    careful: bool,
    /// What the broker has not answered, in the order in which it was handed over.
    unanswered: VecDeque<Token>,
    /// When the broker answered something, or was asked with nothing else unanswered.
    answered_at: Moment,
    birth_at: Option<Moment>,
    /// Topics of earlier configurations that are to be taken back.
    old: VecDeque<String>,
    /// The one of them that the broker was asked to forget.
    old_asked: Option<String>,
    told: Told,
    notices: VecDeque<Notice>,
    interval: Duration,
}

impl Uplink {
    /// An uplink for what is told of `machines`. `clock` gives the time of day of the moments that it is asked at.
    /// `interval` is the shortest time between two unhurried messages on one topic.
    pub(super) fn new(scheme: Scheme, agent: &str, machines: &mut [Source], clock: Epoch, interval: Duration) -> Self {
        let lines: Vec<_> = machines.iter_mut().map(Line::new).collect();
        Self {
            scheme,
            agent: agent.to_owned(),
            clock,
            outbox: Outbox::new(lines.iter().map(|line| line.name.clone()).collect()),
            lines,
            refusals: Refusals::default(),
            limits: None,
            careful: false,
            unanswered: VecDeque::new(),
            answered_at: Moment::ZERO,
            birth_at: None,
            old: VecDeque::new(),
            old_asked: None,
            told: Told::default(),
            notices: VecDeque::new(),
            interval,
        }
    }

    pub(super) fn handle_snapshot(&mut self, machine: usize, snapshot: Arc<Snapshot>) {
        self.lines[machine].learn(snapshot);
    }

    pub(super) fn handle_queue(&mut self, machine: usize, queue: Queue) {
        self.lines[machine].learn_queue(queue);
    }

    /// More of the log was read.
    pub(super) fn handle_batch(&mut self, batch: Batch) {
        self.outbox.take(batch);
    }

    /// Whether more of the log is to be read.
    pub(super) fn wants_events(&self) -> bool {
        self.limits.is_some() && self.outbox.wants_more()
    }

    /// The broker has all events up to here.
    pub(super) fn place(&self) -> Cursor {
        self.outbox.place()
    }

    /// The topics on which the broker keeps what this agent says.
    pub(super) fn retained(&self) -> Vec<String> {
        let facts = |line: &Line| {
            let name = line.name.clone();
            let kept = Fact::ALL.into_iter().filter(|fact| fact.is_retained());
            kept.map(move |fact| Topic::Machine(name.clone().into(), fact)).collect::<Vec<_>>()
        };
        let topics = self.lines.iter().flat_map(facts).chain([self.status()]);
        topics.map(|topic| self.scheme.write(&topic)).collect()
    }

    /// Topics on which the broker keeps what this agent said and says no more: they are to be taken back.
    pub(super) fn take_back(&mut self, topics: impl IntoIterator<Item = String>) {
        self.old.extend(topics);
    }

    /// Topics that are still to be taken back.
    pub(super) fn old(&self) -> impl Iterator<Item = &String> {
        self.old.iter().chain(&self.old_asked)
    }

    fn status(&self) -> Topic<'static> {
        Topic::Agent(self.agent.clone().into())
    }

    /// The broker took us in, within these limits. It may have forgotten everything: all retained facts are said again.
    /// Events up to the newest number are history for it. `careful`: one message at a time.
    pub(super) fn handle_connected(&mut self, newest: u64, limits: Limits, careful: bool, now: Moment) {
        let window = if careful { 1 } else { usize::from(limits.receive_max).min(IN_FLIGHT_MAX) };
        self.outbox.connected(newest, window);
        self.unanswered.clear();
        self.refusals.connected(now);
        self.answered_at = now;
        self.birth_at = None;
        self.careful = careful;
        if !limits.retain {
            // What it keeps nothing of, it has nothing of.
            self.old.clear();
        }
        self.tell_limits(&limits);
        self.limits = Some(limits);
        self.lines.iter_mut().for_each(Line::say_all);
    }

    /// What the broker cannot do, once.
    fn tell_limits(&mut self, limits: &Limits) {
        if !limits.retain && !std::mem::replace(&mut self.told.no_retain, true) {
            self.tell(Notice::new(
                "mqtt.no_retain",
                "The MQTT broker keeps no messages for those who come later.",
                "Whoever comes later learns of a machine when something changes.",
                "Allow it in the broker's configuration if you can (Mosquitto: retain_available).",
            ));
        }
        if !limits.acknowledge && !std::mem::replace(&mut self.told.no_acknowledge, true) {
            self.tell(Notice::new(
                "mqtt.no_acknowledge",
                "The MQTT broker acknowledges no messages (QoS 0 only).",
                "Events are sent once, and some may get lost on the way; the agent's log has them.",
                "Allow QoS 1 in the broker's configuration if you can (Mosquitto: max_qos).",
            ));
        }
    }

    /// The connection is over. Where it ended while one message was unanswered, that may be the cause.
    pub(super) fn handle_lost(&mut self, kind: Kind, now: Moment) {
        self.limits = None;
        self.refusals.lost(now);
        let over_one = matches!(kind, Kind::Closed | Kind::Message | Kind::Foreign) && self.careful;
        if let (true, [token]) = (over_one, self.unanswered.make_contiguous()) {
            let place = token.place.clone();
            if self.refusals.ended_over(&place, kind == Kind::Message, now) {
                let topic = self.topic(&place);
                self.tell(Notice::new(
                    "mqtt.topic_refused",
                    format!("The MQTT broker ends the connection when it gets {topic}."),
                    "Nothing more is published there for some hours; everything else goes on.",
                    "Look into the broker's log and its access rules, and at the largest message that it takes.",
                ));
            }
        }
        self.unanswered.clear();
        self.old.extend(self.old_asked.take());
    }

    /// Messages that the broker has not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// A publication that the broker does not acknowledge is on the wire: more cannot be known of it.
    pub(super) fn handle_sent(&mut self, token: &Token, now: Moment) {
        if let Some(key) = token.event {
            self.outbox.hear(key, Verdict::Taken, now);
        }
        if let Place::Old(_) = token.place {
            self.old_asked = None;
        }
    }

    /// The broker answered a publication.
    pub(super) fn handle_verdict(&mut self, token: &Token, verdict: Verdict, now: Moment) {
        self.answered_at = now;
        if let Some(place) = self.unanswered.iter().position(|waits| waits == token) {
            self.unanswered.remove(place);
        }
        if let Some(key) = token.event {
            self.outbox.hear(key, verdict, now);
        }
        let name = self.refusals.hear(&token.place, verdict, now);
        match (&token.place, verdict) {
            (Place::Old(_), Verdict::Taken | Verdict::Refused) => self.old_asked = None,
            (Place::Old(_), Verdict::Full) => self.old.extend(self.old_asked.take()),
            (Place::Fact(machine, slot), Verdict::Refused | Verdict::Full) => self.lines[*machine].say_again(*slot),
            _ => {}
        }
        if name {
            let topic = self.topic(&token.place);
            self.tell(Notice::new(
                "mqtt.topic_refused",
                format!("The MQTT broker refuses what is published on {topic}."),
                "It is left out and offered again every ten minutes; everything else goes on.",
                "Allow this agent's user to write there in the broker's access rules.",
            ));
        }
    }

    fn tell(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(notice);
        }
    }

    /// What people are to be told of the broker, once.
    pub(super) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Events that wait for the broker.
    pub(super) fn events_waiting(&self) -> usize {
        self.outbox.len()
    }

    /// When the broker counts as gone, because it acknowledges nothing.
    pub(super) fn gone_at(&self) -> Option<Moment> {
        (!self.unanswered.is_empty()).then(|| self.answered_at + ACKNOWLEDGED_WITHIN)
    }

    /// Whether something may be handed over at all.
    fn is_open(&self) -> bool {
        self.limits.is_some() && (!self.careful || self.unanswered.is_empty())
    }

    /// When `poll_publication` has something to say next, if nothing else happens before.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        if !self.is_open() {
            return None;
        }
        let facts = (0..self.lines.len()).flat_map(|machine| (0..SLOTS.len()).map(move |slot| (machine, slot)));
        let facts = facts.filter_map(|(machine, slot)| self.fact_due_at(machine, slot));
        let old = self.old.front().filter(|_| self.old_asked.is_none());
        let old = old.map(|topic| self.refusals.opens_at(&Place::Old(topic.clone())));
        facts.chain(old).chain([self.birth_due_at()]).chain(self.outbox.next_at()).min()
    }

    fn birth_due_at(&self) -> Moment {
        let due = self.birth_at.map_or(Moment::ZERO, |at| at + HEARTBEAT);
        due.max(self.refusals.opens_at(&Place::Status))
    }

    fn fact_due_at(&self, machine: usize, slot: usize) -> Option<Moment> {
        let due = self.lines[machine].due_at(slot, self.interval)?;
        Some(due.max(self.refusals.opens_at(&Place::Fact(machine, slot))))
    }

    /// What to publish now: that the agent is there, then what is true, then what happened, then samples.
    pub(super) fn poll_publication(&mut self, now: Moment) -> Option<Publication> {
        while self.is_open() {
            let (place, due, payload) = self.poll_due(now)?;
            let topic = self.topic(&place);
            let retain = match &place {
                Place::Status | Place::Old(_) => true,
                Place::Fact(_, slot) => SLOTS[*slot].is_retained(),
                Place::Events(_) => false,
            };
            let acknowledged = due.is_some() || retain;
            let token = Token { place, event: due.as_ref().map(|due| due.key) };
            let payload = payload.or_else(|| due?.payload(self.room(&topic)));
            let Some(payload) = payload.filter(|payload| payload.len() <= self.room(&topic)) else {
                self.too_long(&token, &topic, now);
                continue;
            };
            return Some(self.handed_over(Publication { token, topic, payload, retain, acknowledged }, now));
        }
        None
    }

    /// What is due now, with its text where that is not an event's.
    fn poll_due(&mut self, now: Moment) -> Option<(Place, Option<Due>, Option<Vec<u8>>)> {
        let text = |document: Value| Some(document.to_string().into_bytes());
        if self.birth_due_at() <= now {
            self.birth_at = Some(now);
            return Some((Place::Status, None, text(self.birth(now))));
        }
        let telemetry = SLOTS.len() - 1;
        if let Some((machine, slot)) = self.fact_due(0..telemetry, now) {
            let document = self.lines[machine].publish(&self.agent, slot, now);
            return Some((Place::Fact(machine, slot), None, text(document)));
        }
        // One after the other: they are few, and what is due in earnest goes first.
        let old = self.old.front().filter(|_| self.old_asked.is_none()).cloned().map(Place::Old);
        if let Some(old) = old.filter(|old| !self.refusals.is_closed(old, now)) {
            self.old_asked = self.old.pop_front();
            return Some((old, None, Some(Vec::new())));
        }
        if let Some(due) = self.outbox.offer(&self.refusals, now) {
            return Some((Place::Events(due.machine), Some(due), None));
        }
        let (machine, slot) = self.fact_due(telemetry..SLOTS.len(), now)?;
        let document = self.lines[machine].publish(&self.agent, slot, now);
        Some((Place::Fact(machine, slot), None, text(document)))
    }

    fn fact_due(&self, mut slots: std::ops::Range<usize>, now: Moment) -> Option<(usize, usize)> {
        slots.find_map(|slot| {
            let due = |machine: &usize| self.fact_due_at(*machine, slot).is_some_and(|at| at <= now);
            (0..self.lines.len()).find(due).map(|machine| (machine, slot))
        })
    }

    /// Bytes of text that the broker takes on a topic.
    fn room(&self, topic: &str) -> usize {
        let packet = self.limits.as_ref().map_or(0, |limits| limits.packet_bytes_max);
        packet.saturating_sub(PUBLISH_BYTES + topic.len())
    }

    /// As the broker allows it.
    fn handed_over(&mut self, mut publication: Publication, now: Moment) -> Publication {
        let (retain, acknowledge) =
            self.limits.as_ref().map_or((false, false), |limits| (limits.retain, limits.acknowledge));
        publication.retain &= retain;
        // Whoever is careful wants to know of each message what became of it.
        publication.acknowledged = (publication.acknowledged || self.careful) && acknowledge;
        if publication.acknowledged {
            if self.unanswered.is_empty() {
                self.answered_at = now;
            }
            self.unanswered.push_back(publication.token.clone());
        }
        publication
    }

    /// The broker does not take so much at once.
    fn too_long(&mut self, token: &Token, topic: &str, now: Moment) {
        if let Some(key) = token.event {
            self.outbox.hear(key, Verdict::Refused, now);
        }
        if let Place::Fact(machine, slot) = token.place {
            self.lines[machine].say_again(slot);
        }
        let name = match token.event {
            Some(_) => !std::mem::replace(&mut self.told.too_long, true),
            None => self.refusals.hear(&token.place, Verdict::Refused, now),
        };
        if name {
            let bytes = self.limits.as_ref().map_or(0, |limits| limits.packet_bytes_max);
            self.tell(Notice::new(
                "mqtt.too_long",
                format!("What is to be published on {topic} is longer than the MQTT broker takes: {bytes} bytes."),
                "It is left out; everything else goes on.",
                "Raise the broker's limit (Mosquitto: max_packet_size).",
            ));
        }
    }

    /// The topic's name on the wire.
    fn topic(&self, place: &Place) -> String {
        let machine = |machine: usize, fact| Topic::Machine(self.lines[machine].name.as_str().into(), fact);
        match place {
            Place::Status => self.scheme.write(&self.status()),
            Place::Fact(line, slot) => self.scheme.write(&machine(*line, SLOTS[*slot])),
            Place::Events(line) => self.scheme.write(&machine(*line, Fact::Event)),
            Place::Old(topic) => topic.clone(),
        }
    }

    fn birth(&self, now: Moment) -> Value {
        let epoch = self.clock.now();
        json!({
            "online": true,
            "agent": self.agent,
            "version": env!("CARGO_PKG_VERSION"),
            "since": wall(epoch, Moment::ZERO),
            "at": wall(epoch, now),
            "machines": self.machines(),
        })
    }

    fn machines(&self) -> Vec<&String> {
        self.lines.iter().map(|line| &line.name).collect()
    }

    /// What the broker says of the agent when it hears nothing from it any more.
    pub(super) fn will(&self) -> (String, Value) {
        let document = json!({ "online": false, "agent": self.agent, "machines": self.machines() });
        (self.topic(&Place::Status), document)
    }

    /// What is left behind when the agent ends in good order. The same words as the Last Will's, and machines of which nobody
    /// knows what they do: nobody should wait for a machine whose agent went home.
    pub(super) fn farewell(&self) -> Vec<Publication> {
        let Some(limits) = &self.limits else { return Vec::new() };
        let left = |line: &Line| {
            let topic = |fact| self.scheme.write(&Topic::Machine(line.name.as_str().into(), fact));
            line.left(&self.agent).map(|(fact, document)| (topic(fact), document))
        };
        let last: Vec<_> = self.lines.iter().flat_map(left).chain([self.will()]).collect();
        let words = last.into_iter().map(|(topic, document)| Publication {
            token: Token { place: Place::Old(topic.clone()), event: None },
            payload: document.to_string().into_bytes(),
            topic,
            retain: limits.retain,
            acknowledged: limits.acknowledge,
        });
        words.filter(|words| words.payload.len() <= self.room(&words.topic)).collect()
    }

    /// Topics that the broker does not take now.
    pub(super) fn refused(&self) -> usize {
        self.refusals.len()
    }
}
