//! The log: every fact is one row with one number, and whoever tells them to somebody is a reader with a cursor.
//!
//! ```text
//! tell ──► number, time ──► tail (memory) ──► readers
//!                             └─► waiting ──► disk, when it can
//! ```
//!
//! A fact that has happened is told at once, whether the disk takes it or not. So that its number is never given to
//! another, numbers are set aside on the disk in stretches ([`RESERVE`]) before they are used: after a crash the next
//! stretch begins, and what is missing between is a gap that every reader is told, with its numbers.
//! What permits something (a job accepted, a start) is written first; until it is known to be on the disk its number is
//! *open*, and readers wait there, for as long as whoever asked for it waits.

use std::collections::VecDeque;
use std::sync::Arc;

use super::row::{Batch, Cursor, Fact, Item, Row, Run};
use crate::host::clock;

/// Numbers that are set aside on the disk at once: also the most facts that are told while the disk takes nothing.
/// A machine in trouble makes a handful a minute; this is a night of it.
pub(super) const RESERVE: u64 = 4096;

/// Numbers of a stretch that only lasting facts may use: a machine that chatters takes none from an alarm.
const LASTING: u64 = RESERVE / 4;

/// Rows that wait for the disk. Beyond it the lightest and oldest are let go; each has some 300 bytes.
const WAITING_MAX: usize = 2048;

/// Rows kept in memory for readers that follow closely, besides those that wait for the disk.
const TAIL_ROWS: usize = 1000;

/// Largest body of a row, in bytes. A notice has a few hundred; a machine's text is bounded far below.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone)]
enum Entry {
    Told(Arc<Row>),
    /// Being written; whether it happens at all is not known yet.
    Open,
    /// It did not happen, or was let go before a reader had it.
    Void,
}

/// The log in memory: what is new, and what waits for the disk.
#[derive(Debug)]
pub(super) struct Log {
    id: String,
    /// The log that this one was while its file could not be opened, and how far its numbers were moved then.
    before: Option<(String, u64)>,
    run: Arc<Run>,
    clock_set: bool,
    seqs: std::collections::BTreeMap<String, u64>,
    tail: VecDeque<Entry>,
    /// The number of the first entry of the tail.
    first: u64,
    /// Numbers below this one may be given.
    mark: u64,
    waiting: VecDeque<Arc<Row>>,
    /// Facts that got no number because none was left.
    unsaid: u64,
}

/// What reading from memory came to.
pub(super) enum Found {
    /// Everything that is asked for is in memory.
    Here(Batch),
    /// Rows from the first to before the second number are on the disk.
    OnDisk(u64, u64),
}

impl Log {
    /// An empty log of an agent that starts now.
    pub(super) fn new(run: Run) -> Self {
        Self {
            id: new_id(),
            before: None,
            run: Arc::new(run),
            clock_set: clock::is_set(),
            seqs: std::collections::BTreeMap::new(),
            tail: VecDeque::new(),
            first: 1,
            mark: 1 + RESERVE,
            waiting: VecDeque::new(),
            unsaid: 0,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// The number that the next fact gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.tail.len() as u64
    }

    /// Gives a fact its number and tells it. Whether the disk must be written at once.
    pub(super) fn tell(&mut self, fact: Fact) -> bool {
        let lasting = fact.class.is_lasting();
        let kept_back = if lasting { 0 } else { LASTING };
        if self.next() + kept_back >= self.mark {
            self.unsaid += 1;
            // Whoever follows a machine's own numbers sees that one is missing.
            self.seq(&fact);
            return true;
        }
        let row = Arc::new(self.row(fact));
        self.waiting.push_back(row.clone());
        self.tail.push_back(Entry::Told(row));
        self.let_go();
        lasting || self.wanted_mark().is_some()
    }

    /// The number of an event among those of its machine.
    fn seq(&mut self, fact: &Fact) -> Option<u64> {
        let machine = fact.machine.as_ref().filter(|_| fact.is_event)?;
        let seq = self.seqs.entry(machine.clone()).or_default();
        *seq += 1;
        Some(*seq)
    }

    /// Gives a fact its number without telling it: it is about to be written, and happens only if that succeeds.
    pub(super) fn open(&mut self, fact: Fact) -> Option<Arc<Row>> {
        (self.next() < self.mark).then(|| {
            let row = Arc::new(self.row(fact));
            self.tail.push_back(Entry::Open);
            row
        })
    }

    /// What became of an open row: told, or void.
    pub(super) fn close(&mut self, row: &Arc<Row>, happened: bool) {
        let place = row.number.checked_sub(self.first).and_then(|place| self.tail.get_mut(place as usize));
        if let Some(entry) = place {
            // One that was given up while it was written stays what readers were told.
            if matches!(entry, Entry::Open) {
                *entry = if happened { Entry::Told(row.clone()) } else { Entry::Void };
            }
        }
    }

    /// Nobody knows any more what became of what was open.
    pub(super) fn close_all(&mut self) {
        for entry in self.tail.iter_mut().filter(|entry| matches!(entry, Entry::Open)) {
            *entry = Entry::Void;
        }
    }

    fn row(&mut self, fact: Fact) -> Row {
        let number = self.next();
        let at_ms = clock::wall_ms();
        let seq = self.seq(&fact);
        let mut body = fact.body.to_string();
        if body.len() > BODY_BYTES_MAX {
            body = serde_json::json!({ "type": "too_long", "bytes": body.len() }).to_string();
        }
        // Once it is set it stays set; until then it is asked again.
        self.clock_set = self.clock_set || clock::is_set();
        Row {
            number,
            at_ms,
            since_boot_us: clock::since_boot_us(),
            clock_set: self.clock_set,
            run: self.run.clone(),
            class: fact.class,
            machine: fact.machine,
            job: fact.job,
            who: fact.who,
            seq,
            body: body.into(),
        }
    }

    /// Lets go of the lightest rows that wait, and of the oldest in memory that need not wait.
    fn let_go(&mut self) {
        while self.waiting.len() > WAITING_MAX {
            let lightest = self.waiting.iter().enumerate().min_by_key(|(_, row)| row.class).map(|(place, _)| place);
            lightest.and_then(|place| self.waiting.remove(place));
        }
        let oldest = self.waiting.front().map_or(u64::MAX, |row| row.number);
        while self.tail.len() > TAIL_ROWS && self.first < oldest && !matches!(self.tail.front(), Some(Entry::Open)) {
            self.tail.pop_front();
            self.first += 1;
        }
    }

    /// Rows that wait for the disk, oldest first.
    pub(super) fn waiting(&self) -> Vec<Arc<Row>> {
        self.waiting.iter().cloned().collect()
    }

    /// Whether anything waits: rows, or facts that need new numbers.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.unsaid > 0
    }

    /// Numbers that may still be given.
    pub(super) fn numbers_left(&self) -> u64 {
        self.mark.saturating_sub(self.next())
    }

    /// Facts that got no number because the disk took nothing for so long; forgotten by this. None while there is still no
    /// number under which that could be told.
    pub(super) fn take_unsaid(&mut self) -> u64 {
        if self.numbers_left() == 0 { 0 } else { std::mem::take(&mut self.unsaid) }
    }

    /// The numbers up to before which facts may be given, once that is written; nothing where enough are left.
    pub(super) fn wanted_mark(&self) -> Option<u64> {
        (self.next() + RESERVE / 2 > self.mark).then(|| self.next_mark())
    }

    /// The same, whether enough are left or not.
    pub(super) fn next_mark(&self) -> u64 {
        self.mark.max(self.next() + RESERVE)
    }

    /// Takes a person's name or address out of the rows in memory. How many of those that are on no disk had it.
    pub(super) fn erase(&mut self, who: &str) -> usize {
        let of_them = |row: &Row| row.who.as_ref().is_some_and(|known| known.who == who || known.from == who);
        let without = |row: &mut Arc<Row>| *row = Arc::new(Row { who: None, ..Row::clone(row) });
        for entry in &mut self.tail {
            if let Entry::Told(row) = entry {
                if of_them(row) {
                    without(row);
                }
            }
        }
        let unwritten = self.waiting.iter_mut().filter(|row| of_them(row));
        unwritten.map(without).count()
    }

    /// Everything up to a number is on the disk, and so is the new mark.
    pub(super) fn written(&mut self, through: u64, mark: Option<u64>) {
        self.waiting.retain(|row| row.number > through);
        self.mark = self.mark.max(mark.unwrap_or(0));
        self.let_go();
    }

    /// The file was opened: this is the log of its name, and what was told until now comes after what is in there.
    pub(super) fn is_now(&mut self, id: String, mark: u64) {
        let moved = mark.saturating_sub(1);
        let earlier = std::mem::replace(&mut self.id, id);
        self.before = Some((earlier, moved));
        self.first += moved;
        self.mark += moved;
        let renumber = |row: &Arc<Row>| Arc::new(Row { number: row.number + moved, ..Row::clone(row) });
        self.waiting = self.waiting.iter().map(renumber).collect();
        for entry in &mut self.tail {
            if let Entry::Told(row) = entry {
                *row = renumber(row);
            }
        }
    }

    /// Where a reader is in this log. One of another log is at its beginning.
    pub(super) fn place(&self, cursor: &Cursor) -> u64 {
        match &self.before {
            _ if cursor.log == self.id => cursor.number.min(self.next() - 1),
            Some((before, moved)) if cursor.log == *before => cursor.number.saturating_add(*moved).min(self.next() - 1),
            _ => 0,
        }
    }

    /// Whether a cursor is of this log.
    pub(super) fn knows(&self, cursor: &Cursor) -> bool {
        cursor.log == self.id || self.before.as_ref().is_some_and(|(before, _)| *before == cursor.log)
    }

    /// The newest number that is told, as a cursor.
    pub(super) fn newest(&self) -> Cursor {
        let open = self.tail.iter().position(|entry| matches!(entry, Entry::Open)).unwrap_or(self.tail.len());
        Cursor { log: self.id.clone(), number: self.first + open as u64 - 1 }
    }

    /// What comes after a cursor, at most `rows_max` of it.
    pub(super) fn read(&self, cursor: &Cursor, rows_max: usize) -> Found {
        let after = self.place(cursor);
        if after + 1 < self.first {
            return Found::OnDisk(after + 1, self.first);
        }
        let mut batch = Batch { items: Vec::new(), cursor: Cursor { log: self.id.clone(), number: after } };
        let skip = (after + 1 - self.first) as usize;
        for (number, entry) in (after + 1..).zip(self.tail.iter().skip(skip)).take(rows_max) {
            match entry {
                Entry::Open => break,
                Entry::Void => batch.gap(number, number),
                Entry::Told(row) => batch.items.push(Item::Row(row.clone())),
            }
            batch.cursor.number = number;
        }
        Found::Here(batch)
    }
}

/// A name for a log: chance enough that no two files have the same.
pub(super) fn new_id() -> String {
    format!("{:012x}", fastrand::u64(..) >> 16)
}

#[cfg(test)]
mod test {
    use serde_json::json;

    use super::super::row::Class;
    use super::*;

    fn log() -> Log {
        Log::new(Run::default())
    }

    fn fact(class: Class) -> Fact {
        Fact::new(class, json!({ "type": "t" }))
    }

    fn here(log: &Log, after: u64) -> Vec<(u64, u64)> {
        let Found::Here(batch) = log.read(&Cursor { log: log.id.clone(), number: after }, 10_000) else {
            panic!("on disk")
        };
        let range = |item: &Item| match item {
            Item::Row(row) => (row.number, row.number),
            Item::Gap(gap) => (gap.to, gap.from),
        };
        batch.items.iter().map(range).collect()
    }

    #[test]
    fn a_reader_waits_at_what_is_being_written_and_is_told_what_did_not_happen() {
        let mut log = log();
        log.tell(fact(Class::Job));
        let first = log.open(fact(Class::Person)).unwrap();
        let second = log.open(fact(Class::Person)).unwrap();
        log.tell(fact(Class::Trouble));
        assert_eq!(here(&log, 0), [(1, 1)]);
        log.close(&first, true);
        assert_eq!(here(&log, 1), [(2, 2)]);
        log.close(&second, false);
        assert_eq!(here(&log, 2), [(3, 3), (4, 4)], "3 is a gap of one number");
        log.close(&second, true);
        assert_eq!(here(&log, 3), [(4, 4)], "what was said to be nothing does not come back");
    }

    #[test]
    fn no_number_is_given_beyond_those_set_aside_on_the_disk() {
        let mut log = log();
        for _ in 0..RESERVE {
            log.tell(fact(Class::Chatter));
        }
        assert_eq!((log.next(), log.take_unsaid()), (1 + RESERVE - LASTING, LASTING));
        for _ in 0..LASTING {
            log.tell(fact(Class::Trouble));
        }
        assert_eq!((log.next(), log.take_unsaid()), (1 + RESERVE, 0), "an alarm has its number all the same");
        assert!(log.open(fact(Class::Person)).is_none());
        assert_eq!(log.waiting.len(), WAITING_MAX);
        let mark = log.wanted_mark().unwrap();
        log.written(log.next() - 1, Some(mark));
        log.tell(fact(Class::Chatter));
        assert_eq!((log.tail.len(), log.first), (TAIL_ROWS, log.next() - TAIL_ROWS as u64));
        assert!(matches!(log.read(&Cursor::default(), 1), Found::OnDisk(1, _)));
    }

    #[test]
    fn chatter_goes_before_alarms_when_the_disk_takes_nothing() {
        let mut log = log();
        log.tell(fact(Class::Trouble));
        for _ in 0..WAITING_MAX + 5 {
            log.tell(fact(Class::Chatter));
        }
        assert_eq!(log.waiting.front().unwrap().class, Class::Trouble);
    }

    #[test]
    fn a_reader_of_the_time_before_the_file_was_opened_goes_on_where_it_was() {
        let mut log = log();
        log.tell(fact(Class::State));
        log.tell(fact(Class::State));
        let was = Cursor { log: log.id.clone(), number: 1 };
        log.is_now("real".into(), 101);
        assert_eq!((log.place(&was), log.next()), (101, 103));
        assert_eq!(log.waiting.iter().map(|row| row.number).collect::<Vec<_>>(), [101, 102]);
        assert_eq!(log.place(&Cursor { log: "other".into(), number: 7 }), 0);
        assert_eq!(Cursor::parse("real-17"), Some(Cursor { log: "real".into(), number: 17 }));
        for text in ["", "17", "-", "real-x"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_missing_on_the_disk_is_said_with_its_numbers() {
        let row = |number| {
            let mut log = log();
            Row { number, ..log.row(fact(Class::State)) }
        };
        let batch = Batch::of_disk("l", 3, 10, vec![row(5), row(6), row(8)], true);
        let gaps: Vec<_> = batch
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Gap(gap) => Some((gap.from, gap.to)),
                Item::Row(_) => None,
            })
            .collect();
        assert_eq!(gaps, [(3, 4), (7, 7), (9, 9)]);
        assert_eq!((batch.cursor.number, batch.rows().count()), (9, 3));
    }
}
