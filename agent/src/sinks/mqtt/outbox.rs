//! Events on their way to the broker: numbered, kept until the broker has them, bounded. Pure.
//!
//! MQTT libraries forget queued messages when a broker comes back without the old session, so the events are kept
//! here, deleted when the broker acknowledged them, and offered again after every reconnect. A subscriber may then
//! see one twice; the number tells.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

/// Events kept while the broker is away. A machine in trouble makes a handful a minute: this is hours of them.
pub(super) const EVENTS_MAX: usize = 4096;

/// Bytes of events kept, for events that are unusually long: what a Pi with 512 MB can spare.
pub(super) const BYTES_MAX: usize = 2 * 1024 * 1024;

/// How much an event matters, least first: the order in which a full outbox lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// What the machine said to people.
    Chatter,
    /// Connections and changes of state: the retained state topic tells the outcome anyway.
    Passing,
    /// Trouble, alarms and what became of jobs: never let go for anything lighter.
    Lasting,
}

#[derive(Debug)]
struct Entry {
    key: u64,
    machine: usize,
    weight: Weight,
    body: Map<String, Value>,
    bytes: usize,
    /// Whether it waited for the broker: what a subscriber hears then is history, not news.
    historical: bool,
    offered: bool,
}

/// An event that is due.
#[derive(Debug, PartialEq)]
pub(super) struct Due {
    /// What to acknowledge it by.
    pub(super) key: u64,
    /// Whose it is: the machine's place in the feed.
    pub(super) machine: usize,
    /// Its text.
    pub(super) payload: Vec<u8>,
}

/// Events on their way to the broker.
#[derive(Debug)]
pub(super) struct Outbox {
    run: String,
    entries: VecDeque<Entry>,
    bytes: usize,
    next_key: u64,
    seqs: Vec<u64>,
    dropped: Vec<u64>,
}

impl Outbox {
    /// An empty outbox for a number of machines. `run` tells this life of the agent from the next, because the
    /// numbers start again with it.
    pub(super) fn new(machines: usize, run: String) -> Self {
        Self {
            run,
            entries: VecDeque::new(),
            bytes: 0,
            next_key: 0,
            seqs: vec![0; machines],
            dropped: vec![0; machines],
        }
    }

    /// Takes an event, gives it the machine's next number, and lets go of the least one if there is no room.
    pub(super) fn push(&mut self, machine: usize, weight: Weight, body: Map<String, Value>, connected: bool) {
        self.seqs[machine] += 1;
        let mut numbered = Map::new();
        numbered.insert("run".into(), json!(self.run));
        numbered.insert("seq".into(), json!(self.seqs[machine]));
        numbered.extend(body);
        let bytes = serde_json::to_string(&numbered).map_or(0, |text| text.len());
        let key = self.next_key;
        self.next_key += 1;
        self.bytes += bytes;
        let entry = Entry { key, machine, weight, body: numbered, bytes, historical: !connected, offered: false };
        self.entries.push_back(entry);
        while self.entries.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            self.let_go();
        }
    }

    /// Counts events that were lost before they came here.
    pub(super) fn missed(&mut self, machine: usize, count: u64) {
        self.dropped[machine] += count;
    }

    /// Says of each machine how many events were let go, as an event of its own. To be called when there is
    /// somebody to hear it.
    pub(super) fn own_up(&mut self, at: &str) {
        for machine in 0..self.dropped.len() {
            let count = std::mem::take(&mut self.dropped[machine]);
            if count > 0 {
                let Value::Object(body) = json!({ "at": at, "type": "events_dropped", "code": "mqtt.events_dropped",
                    "count": count, "happened": format!("{count} events could not be kept until the broker took them.") })
                else {
                    continue;
                };
                self.push(machine, Weight::Lasting, body, true);
            }
        }
    }

    /// The next event to publish, oldest first, if any is left that was not offered since the last reconnect.
    pub(super) fn offer(&mut self) -> Option<Due> {
        // Offered entries are at the front: what was offered is published in order and acknowledged in order.
        let entry = self.entries.iter_mut().find(|entry| !entry.offered)?;
        entry.offered = true;
        entry.body.insert("historical".into(), json!(entry.historical));
        let payload = serde_json::to_vec(&entry.body).unwrap_or_default();
        Some(Due { key: entry.key, machine: entry.machine, payload })
    }

    /// The broker has it.
    pub(super) fn acknowledged(&mut self, key: u64) {
        if let Some(place) = self.entries.iter().position(|entry| entry.key == key) {
            if let Some(entry) = self.entries.remove(place) {
                self.bytes -= entry.bytes;
            }
        }
    }

    /// The connection is gone: everything not acknowledged is to be offered again, as history.
    pub(super) fn rewind(&mut self) {
        for entry in &mut self.entries {
            entry.offered = false;
            entry.historical = true;
        }
    }

    /// Events that wait.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Events let go and not yet owned up to.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Lets go of the oldest of the least entries.
    fn let_go(&mut self) {
        let Some((place, _)) = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.weight) else { return };
        if let Some(entry) = self.entries.remove(place) {
            self.bytes -= entry.bytes;
            self.dropped[entry.machine] += 1;
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn body(text: &str) -> Map<String, Value> {
        Map::from_iter([("text".to_owned(), json!(text))])
    }

    fn drain(outbox: &mut Outbox) -> Vec<Value> {
        std::iter::from_fn(|| outbox.offer()).map(|due| serde_json::from_slice(&due.payload).unwrap()).collect()
    }

    #[test]
    fn events_are_numbered_per_machine_and_leave_in_order() {
        let mut outbox = Outbox::new(2, "r".into());
        for (machine, text) in [(0, "a"), (1, "b"), (0, "c")] {
            outbox.push(machine, Weight::Passing, body(text), true);
        }
        let out = drain(&mut outbox);
        assert_eq!(out[0], json!({"run": "r", "seq": 1, "text": "a", "historical": false}));
        assert_eq!((&out[1]["seq"], &out[2]["seq"]), (&json!(1), &json!(2)));
        assert_eq!(outbox.len(), 3, "what was not acknowledged is kept");
    }

    #[test]
    fn what_was_not_acknowledged_is_offered_again_in_order_and_marked_as_history() {
        let mut outbox = Outbox::new(1, "r".into());
        for text in ["a", "b", "c"] {
            outbox.push(0, Weight::Lasting, body(text), true);
        }
        let first = outbox.offer().unwrap();
        outbox.offer().unwrap();
        outbox.acknowledged(first.key);
        outbox.rewind();
        outbox.push(0, Weight::Lasting, body("d"), true);
        let out = drain(&mut outbox);
        let texts: Vec<_> = out.iter().map(|event| event["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["b", "c", "d"]);
        assert_eq!((&out[0]["historical"], &out[2]["historical"]), (&json!(true), &json!(false)));
    }

    #[test]
    fn a_full_outbox_lets_go_of_chatter_first_and_says_how_many() {
        let mut outbox = Outbox::new(1, "r".into());
        outbox.push(0, Weight::Lasting, body("alarm"), false);
        for number in 0..EVENTS_MAX + 10 {
            outbox.push(0, Weight::Chatter, body(&number.to_string()), false);
        }
        assert_eq!((outbox.len(), outbox.dropped()), (EVENTS_MAX, 11));
        outbox.own_up("now");
        let out = drain(&mut outbox);
        assert_eq!(out[0]["text"], "alarm");
        let last = out.last().unwrap();
        assert_eq!((&last["type"], &last["count"]), (&json!("events_dropped"), &json!(11)));
        assert!(out.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()));
    }

    #[test]
    fn long_events_are_bounded_by_their_bytes() {
        let mut outbox = Outbox::new(1, "r".into());
        for _ in 0..50 {
            outbox.push(0, Weight::Lasting, body(&"x".repeat(100_000)), false);
            assert!(outbox.bytes <= BYTES_MAX);
        }
        assert!(outbox.len() < 50 && outbox.dropped() > 0);
    }
}
