//! Events on their way to the broker: a reader of the log with a cursor that moves when the broker acknowledged. Pure.
//!
//! MQTT libraries forget queued messages when a broker comes back without the old session, so what was not acknowledged
//! is offered again after every reconnect. A subscriber may then see one twice; the number tells. Nothing is kept here
//! that a restart could forget: the log has the events, and the store has the cursor.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use crate::store::{Batch, Cursor, Gap, Item, Row};

/// Events read ahead of the broker. Some more than may be on their way at once.
pub(super) const READ_AHEAD: usize = 64;

#[derive(Debug)]
struct Entry {
    number: u64,
    machine: usize,
    body: Map<String, Value>,
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
    seen: BTreeMap<usize, Seen>,
    /// The last gap that was read, until the machines it may concern are told.
    gap: BTreeMap<usize, Gap>,
    /// What was told up to this number is history for whoever hears it now.
    history: u64,
}

impl Outbox {
    /// An outbox for machines by their names, which has read nothing.
    pub(super) fn new(machines: Vec<String>) -> Self {
        Self {
            machines,
            cursor: Cursor::default(),
            waiting: VecDeque::new(),
            seen: BTreeMap::new(),
            gap: BTreeMap::new(),
            history: 0,
        }
    }

    /// Whether there is room for more.
    pub(super) fn wants_more(&self) -> bool {
        self.waiting.len() < READ_AHEAD
    }

    /// Takes what was read of the log.
    pub(super) fn take(&mut self, batch: Batch) {
        for item in &batch.items {
            match item {
                Item::Row(row) => self.take_row(row),
                Item::Gap(gap) => self.gap.extend((0..self.machines.len()).map(|machine| (machine, *gap))),
            }
        }
        self.cursor = batch.cursor;
    }

    fn take_row(&mut self, row: &Row) {
        let (Some(name), Some(seq)) = (&row.machine, row.seq) else { return };
        // A machine that is no longer configured has no topic.
        let Some(machine) = self.machines.iter().position(|known| known == name) else { return };
        let seen = self.seen.entry(machine).or_default();
        let same_run = seen.run == row.run.name;
        let lost = seq.saturating_sub(if same_run { seen.seq + 1 } else { 1 });
        let first = seen.run.is_empty();
        *seen = Seen { run: row.run.name.clone(), seq };
        let gap = self.gap.remove(&machine);
        if lost > 0 && !first || gap.is_some() && !same_run && !first {
            self.waiting.push_back(Entry {
                number: row.number,
                machine,
                body: dropped(row, lost, gap),
                offered: false,
            });
        }
        let mut body = Map::new();
        body.insert("run".into(), json!(row.run.name));
        body.insert("seq".into(), json!(seq));
        body.insert("number".into(), json!(row.number));
        if let Ok(Value::Object(told)) = serde_json::from_str(&row.body) {
            body.extend(told);
        }
        self.waiting.push_back(Entry { number: row.number, machine, body, offered: false });
    }

    /// The next event to publish, oldest first, if any is left that was not offered since the last reconnect.
    pub(super) fn offer(&mut self) -> Option<Due> {
        // Offered entries are at the front: what was offered is published in order and acknowledged in order.
        let entry = self.waiting.iter_mut().find(|entry| !entry.offered)?;
        entry.offered = true;
        entry.body.insert("historical".into(), json!(entry.number <= self.history));
        let payload = serde_json::to_vec(&entry.body).unwrap_or_default();
        Some(Due { key: entry.number, machine: entry.machine, payload })
    }

    /// The broker has it.
    pub(super) fn acknowledged(&mut self, key: u64) {
        if let Some(place) = self.waiting.iter().position(|entry| entry.offered && entry.number == key) {
            self.waiting.remove(place);
        }
    }

    /// The broker took us in: what was told until now is history, and what was not acknowledged is offered again.
    pub(super) fn connected(&mut self, newest: u64) {
        self.history = newest;
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

/// Says that events of a machine are gone before this one.
fn dropped(row: &Row, count: u64, gap: Option<Gap>) -> Map<String, Value> {
    let happened = if count > 0 {
        format!("{count} events before this one could not be kept until the broker took them.")
    } else {
        "The agent ended without a word; events before this one may be lost.".to_owned()
    };
    let body = json!({
        "run": row.run.name, "at": crate::host::clock::rfc3339(row.at_ms), "machine": row.machine,
        "type": "events_dropped", "code": "mqtt.events_dropped", "count": count, "happened": happened,
        "from": gap.map(|gap| gap.from), "to": gap.map(|gap| gap.to),
    });
    match body {
        Value::Object(body) => body,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod test {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Class, Run};

    fn row(number: u64, run: &str, seq: u64) -> Item {
        let run = Arc::new(Run { name: run.to_owned(), boot: String::new() });
        Item::Row(Arc::new(Row {
            number,
            at_ms: 0,
            since_boot_us: 0,
            clock_set: true,
            run,
            class: Class::Job,
            machine: Some("mill".into()),
            job: None,
            who: None,
            seq: Some(seq),
            body: format!("{{\"text\":\"{number}\"}}").into(),
        }))
    }

    fn batch(items: Vec<Item>, number: u64) -> Batch {
        Batch { items, cursor: Cursor { log: "l".into(), number } }
    }

    fn outbox() -> Outbox {
        Outbox::new(vec!["mill".into()])
    }

    fn drain(outbox: &mut Outbox) -> Vec<Value> {
        std::iter::from_fn(|| outbox.offer()).map(|due| serde_json::from_slice(&due.payload).unwrap()).collect()
    }

    #[test]
    fn the_cursor_moves_only_over_what_the_broker_has() {
        let mut outbox = outbox();
        outbox.connected(0);
        outbox.take(batch(vec![row(3, "r", 1), row(5, "r", 2)], 7));
        let out = drain(&mut outbox);
        assert_eq!(out[0], json!({"run": "r", "seq": 1, "number": 3, "text": "3", "historical": false}));
        assert_eq!(outbox.place().number, 2);
        outbox.acknowledged(5);
        assert_eq!(outbox.place().number, 2);
        outbox.acknowledged(3);
        assert_eq!((outbox.place().number, outbox.len()), (7, 0));
    }

    #[test]
    fn what_was_not_acknowledged_is_offered_again_in_order_and_marked_as_history() {
        let mut outbox = outbox();
        outbox.connected(0);
        outbox.take(batch(vec![row(1, "r", 1), row(2, "r", 2), row(3, "r", 3)], 3));
        let first = outbox.offer().unwrap();
        outbox.offer().unwrap();
        outbox.acknowledged(first.key);
        outbox.connected(3);
        outbox.take(batch(vec![row(4, "r", 4)], 4));
        let out = drain(&mut outbox);
        assert_eq!(out.iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((&out[0]["historical"], &out[2]["historical"]), (&json!(true), &json!(false)));
    }

    #[test]
    fn what_is_gone_is_said_before_the_next_with_how_many_and_which_numbers() {
        let mut outbox = outbox();
        let gap = Item::Gap(Gap { from: 2, to: 8 });
        outbox.take(batch(vec![row(1, "r", 1), gap.clone(), row(9, "r", 6)], 9));
        let out = drain(&mut outbox);
        assert_eq!((&out[1]["type"], &out[1]["count"]), (&json!("events_dropped"), &json!(4)));
        assert_eq!((&out[1]["from"], &out[1]["to"], &out[2]["seq"]), (&json!(2), &json!(8), &json!(6)));
        outbox.take(batch(vec![Item::Gap(Gap { from: 10, to: 4000 }), row(4001, "s", 1)], 4001));
        assert_eq!(drain(&mut outbox)[0]["to"], 4000, "an agent that was killed may have told what nobody knows");
        outbox.take(batch(vec![row(4002, "t", 1)], 4002));
        assert_eq!(drain(&mut outbox).len(), 1, "one that ended in good order has not");
    }
}
