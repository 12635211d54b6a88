//! Rows of the log, who reads them, and from where: what is told of a fact, in which order, and what is missing.

use std::sync::Arc;

use serde_json::Value;

use crate::host::clock;

/// What kind of fact a row holds: how much it matters, and how many bytes of its kind are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What a machine said to people.
    Chatter,
    /// Connections and changes of state.
    State,
    /// Trouble, alarms, and machines that need a person.
    Trouble,
    /// What became of jobs.
    Job,
    /// What people asked for: who, and from where.
    Person,
    /// Start and end of the agent, changes of its configuration, gaps.
    Agent,
}

impl Class {
    /// Every class, lightest first: the order in which room is made.
    pub const ALL: [Self; 6] = [Self::Chatter, Self::State, Self::Trouble, Self::Job, Self::Person, Self::Agent];

    /// The word on the network.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chatter => "chatter",
            Self::State => "state",
            Self::Trouble => "trouble",
            Self::Job => "job",
            Self::Person => "person",
            Self::Agent => "agent",
        }
    }

    /// The class of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }

    /// Bytes of rows that are kept of a class; the oldest go first. Together 24 MB, which any SD card has. A busy shop
    /// makes some 20 kB of jobs and what people asked for a day: more than a year of them.
    pub(super) fn bytes_max(self) -> u64 {
        match self {
            Self::Chatter => 1 << 20,
            Self::State => 2 << 20,
            Self::Trouble => 4 << 20,
            Self::Job => 8 << 20,
            Self::Person => 8 << 20,
            Self::Agent => 1 << 20,
        }
    }

    /// Whether a row of it is written at once. The others go with the next that is, or after a few seconds.
    pub(super) fn is_lasting(self) -> bool {
        self >= Self::Trouble
    }
}

/// Who asked for something, and from where. Personal data: it can be erased without the row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// Who, as far as is known: a person's name, `owner`, `token`, `local` for this computer, or `nobody`.
    pub who: String,
    /// From where: an address, or the socket.
    pub from: String,
    /// By which means they showed who they are; empty where that is not known.
    pub means: String,
    /// The person's identifier, if it was a person.
    pub person: Option<String>,
}

/// Something that happened, before it has its number.
#[derive(Debug, Clone)]
pub struct Fact {
    /// How much it matters.
    pub class: Class,
    /// The machine it is about.
    pub machine: Option<String>,
    /// The job it is about.
    pub job: Option<String>,
    /// Who asked for it.
    pub who: Option<Who>,
    /// Whether it is an event of its machine: those have numbers of their own besides, one after the other.
    pub is_event: bool,
    /// What is told of it: an object with at least `type`.
    pub body: Value,
}

impl Fact {
    /// A fact of a class; `body` is what is told of it.
    pub fn new(class: Class, body: Value) -> Self {
        Self { class, machine: None, job: None, who: None, is_event: false, body }
    }

    /// About a machine.
    #[must_use]
    pub fn of_machine(mut self, machine: &str) -> Self {
        self.machine = Some(machine.to_owned());
        self
    }

    /// About a job.
    #[must_use]
    pub fn of_job(mut self, job: &str) -> Self {
        self.job = Some(job.to_owned());
        self
    }

    /// Asked for by somebody.
    #[must_use]
    pub fn by(mut self, who: Option<Who>) -> Self {
        self.who = who;
        self
    }
}

/// A fact with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its number: no other fact ever has it, and what happened later has a larger one.
    pub number: u64,
    /// The time of day when it was told, in milliseconds since 1970, as right as the clock was.
    pub at_ms: i64,
    /// Microseconds since the computer was switched on.
    pub since_boot_us: u64,
    /// Whether the clock had been set.
    pub clock_set: bool,
    /// Which life of the agent it was, see [`Run`].
    pub run: Arc<Run>,
    /// How much it matters.
    pub class: Class,
    /// The machine it is about.
    pub machine: Option<String>,
    /// The job it is about.
    pub job: Option<String>,
    /// Who asked for it; absent where nobody did, or where it was erased.
    pub who: Option<Who>,
    /// For a machine's event, its number among those of this machine in this run, from 1 without gaps.
    pub seq: Option<u64>,
    /// What is told of it, as JSON.
    pub body: Box<str>,
}

impl Row {
    /// Bytes it takes, roughly.
    pub(super) fn bytes(&self) -> u64 {
        /// What the columns beside the body take.
        const COLUMNS: u64 = 100;
        self.body.len() as u64 + COLUMNS
    }

    /// The row as a document: what is told of the fact, with its number and where it came from.
    pub fn document(&self) -> Value {
        let mut document: Value = serde_json::from_str(&self.body).unwrap_or_default();
        if let Some(fields) = document.as_object_mut() {
            fields.insert("number".into(), self.number.into());
            fields.insert("class".into(), self.class.word().into());
            fields.entry("at").or_insert_with(|| clock::rfc3339(self.at_ms).into());
            fields.insert("clock_set".into(), self.clock_set.into());
            fields.insert("since_boot_us".into(), self.since_boot_us.into());
            fields.insert("boot".into(), self.run.boot.clone().into());
            if let Some(job) = &self.job {
                fields.entry("job").or_insert_with(|| job.clone().into());
            }
            if let Some(who) = &self.who {
                fields.insert("who".into(), who.who.clone().into());
                fields.insert("from".into(), who.from.clone().into());
                if !who.means.is_empty() {
                    fields.insert("means".into(), who.means.clone().into());
                }
            }
        }
        document
    }
}

/// One life of the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// When it began, RFC 3339: its name on the network.
    pub name: String,
    /// Which switching-on of the computer it was.
    pub boot: String,
}

/// Where a reader is: everything up to this number it has had, or was told to be gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Which log it read: another one after its file was lost.
    pub log: String,
    /// The last number it had.
    pub number: u64,
}

impl Cursor {
    /// The cursor of a text such as `3f9c…-17`.
    pub fn parse(text: &str) -> Option<Self> {
        let (log, number) = text.rsplit_once('-')?;
        Some(Self { log: log.to_owned(), number: number.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.log, self.number)
    }
}

/// Numbers of which a reader gets no row: their rows were let go, or were never written before a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
}

/// What a reader gets: in the order of their numbers, rows and the gaps between them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Rows and gaps.
    pub items: Vec<Item>,
    /// Where the reader is afterwards.
    pub cursor: Cursor,
}

/// One thing a reader gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A row.
    Row(Arc<Row>),
    /// Numbers without one.
    Gap(Gap),
}

impl Batch {
    /// What was found on the disk between two numbers, with the gaps between; `all` says that there is no more of it.
    pub(super) fn of_disk(log: &str, from: u64, before: u64, rows: Vec<Row>, all: bool) -> Self {
        let mut batch = Self { items: Vec::new(), cursor: Cursor { log: log.to_owned(), number: from - 1 } };
        for row in rows {
            batch.skip_to(row.number);
            batch.cursor.number = row.number;
            batch.items.push(Item::Row(Arc::new(row)));
        }
        if all {
            batch.skip_to(before);
            batch.cursor.number = before - 1;
        }
        batch
    }

    fn skip_to(&mut self, number: u64) {
        if self.cursor.number + 1 < number {
            self.gap(self.cursor.number + 1, number - 1);
        }
    }

    pub(super) fn gap(&mut self, from: u64, to: u64) {
        match self.items.last_mut() {
            Some(Item::Gap(gap)) if gap.to + 1 == from => gap.to = to,
            _ => self.items.push(Item::Gap(Gap { from, to })),
        }
    }

    /// The rows alone.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.items.iter().filter_map(|item| match item {
            Item::Row(row) => Some(row),
            Item::Gap(_) => None,
        })
    }
}
