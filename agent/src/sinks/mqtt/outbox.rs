//! Events on their way to the broker: a reader of the log with a cursor that moves when the broker acknowledged. Pure.
//!
//! ```text
//! log ─ take ─► waiting ─ offer ─► the wire ─ hear(verdict) ─► the cursor moves
//!                  ▲                  │
//!                  └── connected() ◄──┘  what was not acknowledged is offered again
//! ```
//!
//! MQTT libraries forget queued messages when a broker comes back without the old session, so what was not acknowledged
//! is offered again after every reconnect. A subscriber may then see one twice; the number tells. Nothing is kept here
//! that a restart could forget: the log has the events, and the store has the cursor.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use drivers::Moment;
use serde_json::{Map, Value, json};

use super::refusals::{ASK_AGAIN_FULL, Place, Refusals, Verdict};
use crate::store::{Batch, Cursor, Gap, Item, Row};

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod test;

/// Events read ahead of the broker. Some more than may be on their way at once.
const READ_AHEAD: usize = 64;

/// Events that may be on their way to the broker at once. Small, so that what arrives twice after a lost connection
/// is little; large enough that a round trip of 50 ms still lets hundreds through in a second.
pub(super) const IN_FLIGHT_MAX: usize = 16;

/// Between two events that are history when they are sent. An acknowledgement says that the broker has an event, not that
/// its subscribers have: Mosquitto throws away what is more than 1,000 messages ahead of one (`max_queued_messages`), and
/// does not say so. A hundred a second, some 25 kB, is what a busy home automation still takes.
const HISTORY_EVERY: Duration = Duration::from_millis(10);

/// An event, or that some are gone before it.
#[derive(Debug, Clone)]
enum What {
    Event(Arc<Row>),
    Dropped { before: Arc<Row>, dropped: Dropped },
}

/// Events of a machine that the broker does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dropped {
    /// How many; zero: nobody knows.
    count: u64,
    /// Between which numbers of the log, where they are known.
    numbers: Option<Gap>,
    why: Why,
}

/// Why the broker does not get them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The log has let them go.
    LetGo,
    /// The agent ended without a word.
    Ended,
    /// The broker did not take them.
    Refused,
}

#[derive(Debug)]
struct Entry {
    /// What it is acknowledged by: no other entry of this outbox ever has it.
    key: u64,
    /// Its number in the log.
    number: u64,
    machine: usize,
    what: What,
    offered: bool,
}

/// An event that is due.
#[derive(Debug)]
pub(super) struct Due {
    /// What to acknowledge it by.
    pub(super) key: u64,
    /// Whose it is: the machine's place in the feed.
    pub(super) machine: usize,
    what: What,
    historical: bool,
}

/// Numbers of the log without a row.
#[derive(Debug, Clone, Copy)]
struct Missing {
    numbers: Gap,
    /// Whether a life of the agent ended there: what it told last is not known then.
    ended: bool,
}

/// Where a machine's own numbers are: in which run of the agent, and the last one read.
#[derive(Debug, Default)]
struct Seen {
    run: String,
    seq: u64,
}

/// Events on their way to the broker.
#[derive(Debug)]
pub(super) struct Outbox {
    machines: Vec<String>,
    /// Everything up to here was read.
    cursor: Cursor,
    /// Read, and not acknowledged.
    waiting: VecDeque<Entry>,
    next_key: u64,
    seen: BTreeMap<usize, Seen>,
    /// A gap that was read, until it is known what came behind it.
    gap: Option<Gap>,
    /// The gaps before the next event of each machine.
    missing: BTreeMap<usize, Missing>,
    /// The run of the last row that was read.
    run: String,
    /// What the broker did not take of a machine, until it takes something of it again.
    refused: BTreeMap<usize, Dropped>,
    /// What was told up to this number is history for whoever hears it now.
    history: u64,
    /// Before this no history is sent.
    history_at: Moment,
    /// Before this nothing is sent: the broker is full.
    full_until: Moment,
    /// Events that may be on their way at once.
    window: usize,
}

impl Outbox {
    /// An outbox for machines by their names, which has read nothing.
    pub(super) fn new(machines: Vec<String>) -> Self {
        Self {
            machines,
            cursor: Cursor::default(),
            waiting: VecDeque::new(),
            next_key: 0,
            seen: BTreeMap::new(),
            gap: None,
            missing: BTreeMap::new(),
            run: String::new(),
            refused: BTreeMap::new(),
            history: 0,
            history_at: Moment::ZERO,
            full_until: Moment::ZERO,
            window: IN_FLIGHT_MAX,
        }
    }

    /// Whether there is room for more.
    pub(super) fn wants_more(&self) -> bool {
        self.waiting.len() < READ_AHEAD
    }

    /// Takes what was read of the log.
    pub(super) fn take(&mut self, batch: Batch) {
        for item in batch.items {
            match item {
                Item::Row(row) => self.take_row(&row),
                Item::Gap(gap) => {
                    self.gap = Some(Gap { from: self.gap.map_or(gap.from, |open| open.from), to: gap.to });
                }
            }
        }
        self.cursor = batch.cursor;
    }

    /// What the gap before this row may mean to each machine.
    fn close_gap(&mut self, row: &Row) {
        let ended = self.run != row.run.name;
        self.run.clone_from(&row.run.name);
        let Some(gap) = self.gap.take() else { return };
        for machine in 0..self.machines.len() {
            let missing = self.missing.entry(machine).or_insert(Missing { numbers: gap, ended: false });
            missing.numbers.to = gap.to;
            missing.ended |= ended;
        }
    }

    fn take_row(&mut self, row: &Arc<Row>) {
        self.close_gap(row);
        let (Some(name), Some(seq)) = (&row.machine, row.seq) else { return };
        // A machine that is no longer configured has no topic.
        let Some(machine) = self.machines.iter().position(|known| known == name) else { return };
        let seen = self.seen.entry(machine).or_default();
        let same_run = seen.run == row.run.name;
        let first = seen.run.is_empty();
        let lost = seq.saturating_sub(if same_run { seen.seq + 1 } else { 1 });
        *seen = Seen { run: row.run.name.clone(), seq };
        let missing = self.missing.remove(&machine);
        // At the first event of a life nothing is known of the numbers before it but what the log says.
        let count = if first { 0 } else { lost };
        if count > 0 || missing.is_some_and(|missing| missing.ended) && !same_run {
            let why = if count > 0 { Why::LetGo } else { Why::Ended };
            let dropped = Dropped { count, numbers: missing.map(|missing| missing.numbers), why };
            self.push(machine, row.number, What::Dropped { before: row.clone(), dropped });
        }
        self.push(machine, row.number, What::Event(row.clone()));
    }

    fn push(&mut self, machine: usize, number: u64, what: What) {
        let key = self.new_key();
        self.waiting.push_back(Entry { key, number, machine, what, offered: false });
    }

    fn new_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn in_flight(&self) -> usize {
        self.waiting.iter().filter(|entry| entry.offered).count()
    }

    /// The next event to publish, oldest first, if one may be sent now. What the broker does not take at all is passed over
    /// and counted.
    pub(super) fn offer(&mut self, refusals: &Refusals, now: Moment) -> Option<Due> {
        if now < self.full_until || self.in_flight() >= self.window {
            return None;
        }
        let place = loop {
            let place = self.waiting.iter().position(|entry| !entry.offered)?;
            if !refusals.is_shut(&Place::Events(self.waiting[place].machine), now) {
                break place;
            }
            if let Some(entry) = self.waiting.remove(place) {
                self.give_up(&entry);
            }
        };
        let historical = self.waiting[place].number <= self.history;
        if historical && now < self.history_at {
            return None;
        }
        if historical {
            self.history_at = now + HISTORY_EVERY;
        }
        self.own_up_at(place);
        let entry = self.waiting.get_mut(place)?;
        entry.offered = true;
        Some(Due { key: entry.key, machine: entry.machine, what: entry.what.clone(), historical })
    }

    /// Where the broker did not take events of the machine whose turn it is, that is said first.
    fn own_up_at(&mut self, place: usize) {
        let Some(Entry { machine, number, what: What::Event(before), .. }) = self.waiting.get(place) else { return };
        let (machine, number, before) = (*machine, *number, before.clone());
        if let Some(dropped) = self.refused.remove(&machine) {
            let key = self.new_key();
            let what = What::Dropped { before, dropped };
            self.waiting.insert(place, Entry { key, number, machine, what, offered: false });
        }
    }

    /// When `offer` may have something again by time alone.
    pub(super) fn next_at(&self) -> Option<Moment> {
        if self.in_flight() >= self.window {
            return None;
        }
        let entry = self.waiting.iter().find(|entry| !entry.offered)?;
        let paced = if entry.number <= self.history { self.history_at } else { Moment::ZERO };
        Some(paced.max(self.full_until))
    }

    /// What the broker said of an event.
    pub(super) fn hear(&mut self, key: u64, verdict: Verdict, now: Moment) {
        let Some(place) = self.waiting.iter().position(|entry| entry.key == key) else { return };
        match verdict {
            Verdict::Full => {
                // One at a time from now on, so that nothing overtakes it.
                self.waiting[place].offered = false;
                self.window = 1;
                self.full_until = now + ASK_AGAIN_FULL;
            }
            Verdict::Taken => drop(self.waiting.remove(place)),
            Verdict::Refused => {
                if let Some(entry) = self.waiting.remove(place) {
                    self.give_up(&entry);
                }
            }
        }
    }

    /// An event stays in the log, and does not go to the broker.
    fn give_up(&mut self, entry: &Entry) {
        let none = Dropped { count: 0, numbers: None, why: Why::Refused };
        let refused = self.refused.entry(entry.machine).or_insert(none);
        let from = refused.numbers.map_or(entry.number, |numbers| numbers.from.min(entry.number));
        let to = refused.numbers.map_or(entry.number, |numbers| numbers.to.max(entry.number));
        refused.numbers = Some(Gap { from, to });
        refused.count += match &entry.what {
            What::Event(_) => 1,
            What::Dropped { dropped, .. } => dropped.count,
        };
    }

    /// The broker took us in and allows so many on their way: what was told until now is history, and what was not
    /// acknowledged is offered again.
    pub(super) fn connected(&mut self, newest: u64, window: usize) {
        self.history = newest;
        self.window = window.clamp(1, IN_FLIGHT_MAX);
        self.full_until = Moment::ZERO;
        for entry in &mut self.waiting {
            entry.offered = false;
        }
    }

    /// The broker has everything up to here.
    pub(super) fn place(&self) -> Cursor {
        match self.waiting.iter().map(|entry| entry.number).min() {
            Some(number) => Cursor { number: number - 1, ..self.cursor.clone() },
            None => self.cursor.clone(),
        }
    }

    /// Events that were read and are not with the broker.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Due {
    /// Its text, of at most so many bytes: an event that has more is told without what makes it long, or not at all.
    pub(super) fn payload(&self, bytes_max: usize) -> Option<Vec<u8>> {
        let mut body = match &self.what {
            What::Event(row) => {
                let mut body = head(row);
                if let Ok(Value::Object(told)) = serde_json::from_str(&row.body) {
                    body.extend(told);
                }
                body
            }
            What::Dropped { before, dropped } => dropped.body(before),
        };
        body.insert("historical".into(), json!(self.historical));
        let payload = serde_json::to_vec(&body).unwrap_or_default();
        if payload.len() <= bytes_max {
            return Some(payload);
        }
        let bytes = payload.len();
        body.retain(|name, _| {
            matches!(name.as_str(), "run" | "seq" | "number" | "at" | "machine" | "type" | "historical")
        });
        body.insert("too_long".into(), json!(bytes));
        Some(serde_json::to_vec(&body).unwrap_or_default()).filter(|payload| payload.len() <= bytes_max)
    }

    /// The number of the event that it tells; nothing where it tells that some are gone.
    #[cfg(test)]
    fn number(&self) -> Option<u64> {
        match &self.what {
            What::Event(row) => Some(row.number),
            What::Dropped { .. } => None,
        }
    }
}

fn head(row: &Row) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("run".into(), json!(row.run.name));
    body.insert("number".into(), json!(row.number));
    if let Some(seq) = row.seq {
        body.insert("seq".into(), json!(seq));
    }
    body
}

impl Dropped {
    /// Says that events of a machine are gone before this one.
    fn body(&self, before: &Row) -> Map<String, Value> {
        let count = self.count;
        let happened = match self.why {
            Why::LetGo => format!("{count} events before this one could not be kept until the broker took them."),
            Why::Ended => "The log has nothing between these numbers: events before this one may be lost.".to_owned(),
            Why::Refused => {
                format!("{count} events before this one were refused by the broker; the agent's log has them.")
            }
        };
        let body = json!({
            "run": before.run.name, "at": crate::host::clock::rfc3339(before.at_ms), "machine": before.machine,
            "type": "events_dropped", "code": "mqtt.events_dropped", "count": count, "happened": happened,
            "from": self.numbers.map(|gap| gap.from), "to": self.numbers.map(|gap| gap.to),
        });
        match body {
            Value::Object(body) => body,
            _ => Map::new(),
        }
    }
}
