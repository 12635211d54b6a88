//! What the store's thread is asked to do, and how it is asked: by a queue in memory that nobody waits at.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drivers::Notice;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::disk::Disk;
use super::log::Log;
use super::row::{Class, Fact, Row};
use crate::access::{Book, Denial};
use crate::host::clock;
use crate::jobs::{JobState, Record};

/// Requests that may wait for the disk. More is told "busy": with a healthy disk one takes milliseconds.
const ASKED_MAX: usize = 64;

/// Longest that what need not be written at once waits for company.
const LAZY: Duration = Duration::from_secs(5);

/// A disk that does not answer for this long is called slow, and new work is refused until it has.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// What becomes of a job in the tables.
#[derive(Debug, Clone)]
pub enum Change {
    /// It is there, as it is now.
    Put(Arc<Record>),
    /// Only its numbers are other ones.
    Progress(Arc<Record>),
    /// It is no longer there.
    Delete,
}

/// What is written in one transaction.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) rows: Vec<Arc<Row>>,
    pub(super) jobs: BTreeMap<String, Change>,
    pub(super) cursors: BTreeMap<String, String>,
    pub(super) kept: BTreeMap<String, Option<String>>,
    /// Whether the book in memory is newer than the one in the tables, in something that could wait.
    pub(super) book_changed: bool,
    /// The book that is to be in the tables.
    pub(super) book: Option<Arc<Book>>,
    pub(super) mark: Option<u64>,
    /// Every job that the desk knows is among these changes, or was written before them.
    pub(super) all_told: bool,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        let nothing = self.rows.is_empty() && self.jobs.is_empty() && self.cursors.is_empty() && self.kept.is_empty();
        nothing && !self.all_told && !self.book_changed
    }
}

/// A page of jobs.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only those of this machine.
    pub machine: Option<String>,
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those that are older than this one.
    pub before: Option<String>,
    /// Only those of this owner.
    pub owner: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl Page {
    /// Whether a job belongs on it, by what it is.
    pub fn wants(&self, job: &Record) -> bool {
        self.before.as_ref().is_none_or(|before| job.id < *before)
            && self.machine.as_ref().is_none_or(|machine| job.machine == *machine)
            && self.state.is_none_or(|state| job.state == state)
            && (self.owner.is_none() || job.owner == self.owner)
    }

    /// The page of what is written, with what waits to be written in its place: that is newer.
    pub(super) fn with_newer(&self, written: Vec<Record>, waiting: &BTreeMap<String, Change>) -> Vec<Record> {
        let mut jobs: BTreeMap<_, _> = written.into_iter().map(|job| (job.id.clone(), job)).collect();
        for (id, change) in waiting {
            match change {
                Change::Delete => drop(jobs.remove(id)),
                Change::Put(record) if record.state.is_over() && self.wants(record) => {
                    jobs.insert(id.clone(), Record::clone(record));
                }
                Change::Put(_) => drop(jobs.remove(id)),
                Change::Progress(_) => {}
            }
        }
        jobs.into_values().rev().take(self.limit).collect()
    }
}

/// Why a permit was not written.
#[derive(Debug, Clone, PartialEq)]
pub enum NotWritten {
    /// The disk, or too much is asked of it.
    Trouble(Notice),
    /// A job was submitted under this key before.
    KeyTaken(Box<Record>),
}

/// What is permitted only once it is on the disk.
#[derive(Debug)]
pub(super) struct Permit {
    pub(super) facts: Vec<Fact>,
    pub(super) record: Arc<Record>,
    /// Only if no job has the record's key.
    pub(super) key_is_new: bool,
    pub(super) reply: oneshot::Sender<Result<(), NotWritten>>,
    /// Who asked for another job under the same key meanwhile: they are told what becomes of this one.
    pub(super) twins: Vec<oneshot::Sender<Result<(), NotWritten>>>,
}

impl Permit {
    /// Tells whoever asked what became of it. Whoever asked and has gone is the desk's to deal with.
    pub(super) fn answer(self, written: Result<(), NotWritten>) {
        for twin in self.twins {
            let taken = || NotWritten::KeyTaken(Box::new(Record::clone(&self.record)));
            let _ = twin.send(Err(written.clone().err().unwrap_or_else(taken)));
        }
        let _ = self.reply.send(written);
    }
}

/// A permit that is being written, and its rows, which are open until that is known.
pub(super) type Opened = (Permit, Vec<Arc<Row>>);

/// Something asked of the file. It is told the trouble where there is no file.
pub(super) type Question = Box<dyn FnOnce(Result<&mut Disk, Notice>) + Send>;

/// A program that is not needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unneeded {
    pub(super) sha256: String,
    /// Only if no other job than this one has it. Absent: no job ever had it.
    pub(super) unless_of_others: Option<String>,
}

/// Whether the file has every job, so that a program without one there is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jobs {
    /// Not before the desk has told its own.
    Untold,
    /// It has.
    All,
    /// A damaged file was put aside in this life: its jobs are in no table, and their programs may be wanted.
    Lost,
}

/// What waits for the thread.
pub(super) struct Work {
    pub(super) log: Log,
    pub(super) changes: Changes,
    pub(super) permits: VecDeque<Permit>,
    pub(super) questions: VecDeque<Question>,
    /// Programs that nobody needs any more, and whether all are to be looked through.
    pub(super) unneeded: Vec<Unneeded>,
    pub(super) sweep: bool,
    /// Since when something waits, and whether it must be written at once.
    since: Option<Instant>,
    urgent: bool,
    pub(super) ending: Option<oneshot::Sender<()>>,
    /// Whether this life of the agent is in the file.
    pub(super) begun: bool,
    pub(super) jobs: Jobs,
}

/// Between the thread and everybody else.
pub(super) struct Shared {
    work: Mutex<Work>,
    wake: Condvar,
    newest: watch::Sender<u64>,
    /// Who there is, and which tokens: in effect as it is here.
    pub(super) book: watch::Sender<Arc<Book>>,
    trouble: watch::Sender<Option<Notice>>,
    /// Since when the thread has been in one call of the disk.
    busy_since: Mutex<Option<Instant>>,
}

/// What the thread is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Write, answer, tidy up: whatever waits.
    Something,
    /// It is time to try again.
    Retry,
}

impl Shared {
    pub(super) fn new(log: Log) -> Self {
        Self {
            newest: watch::Sender::new(log.newest().number),
            book: watch::Sender::default(),
            work: Mutex::new(Work {
                log,
                changes: Changes::default(),
                permits: VecDeque::new(),
                questions: VecDeque::new(),
                unneeded: Vec::new(),
                sweep: false,
                since: None,
                urgent: false,
                ending: None,
                begun: false,
                jobs: Jobs::Untold,
            }),
            wake: Condvar::new(),
            trouble: watch::Sender::new(None),
            busy_since: Mutex::new(None),
        }
    }

    /// The work. Held only for what takes no time: never while the disk is asked.
    pub(super) fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Readers have something new, perhaps.
    pub(super) fn told(&self, work: &Work) {
        let newest = work.log.newest().number;
        self.newest.send_if_modified(|told| std::mem::replace(told, newest) != newest);
    }

    /// Puts another book in effect, unless there is none.
    pub(super) fn change_book(&self, with: impl FnOnce(&Book) -> Result<Book, Denial>) -> Result<(), Denial> {
        let mut changed = Ok(());
        self.book.send_if_modified(|book| match with(book) {
            Ok(new) => {
                *book = Arc::new(new);
                true
            }
            Err(denial) => {
                changed = Err(denial);
                false
            }
        });
        changed
    }

    /// Notes changes, and wakes the thread where they cannot wait.
    pub(super) fn tell(&self, facts: impl IntoIterator<Item = Fact>, jobs: impl IntoIterator<Item = (String, Change)>) {
        let mut work = self.lock();
        let mut urgent = false;
        for fact in facts {
            urgent |= work.log.tell(fact);
        }
        for (id, change) in jobs {
            urgent = true;
            work.note(id, change);
        }
        work.waits(urgent);
        self.told(&work);
        drop(work);
        if urgent {
            self.wake.notify_one();
        }
    }

    /// Notes every job that is known, for a file that was begun anew.
    pub(super) fn tell_all(&self, jobs: impl IntoIterator<Item = (String, Change)>) {
        let mut work = self.lock();
        for (id, change) in jobs {
            work.note(id, change);
        }
        work.changes.all_told = true;
        work.waits(true);
        drop(work);
        self.wake.notify_one();
    }

    /// Changes what waits, without hurry.
    pub(super) fn note(&self, change: impl FnOnce(&mut Work)) {
        let mut work = self.lock();
        let was_idle = work.since.is_none();
        change(&mut work);
        work.waits(false);
        drop(work);
        if was_idle {
            self.wake.notify_one();
        }
    }

    /// Asks something of the thread. Nothing waits here: a full queue is an answer.
    pub(super) fn ask(&self, put: impl FnOnce(&mut Work)) -> Result<(), Notice> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let mut work = self.lock();
        if work.permits.len() + work.questions.len() >= ASKED_MAX {
            return Err(busy());
        }
        put(&mut work);
        drop(work);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Why new work is refused, if it is.
    pub(super) fn trouble(&self) -> Option<Notice> {
        let since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        match since {
            Some(since) if since.elapsed() > SLOW_AFTER => Some(slow()),
            _ => self.trouble.borrow().clone(),
        }
    }

    pub(super) fn set_trouble(&self, trouble: Option<Notice>) {
        self.trouble.send_if_modified(|known| {
            let changed = *known != trouble;
            *known = trouble;
            changed
        });
    }

    /// Notes for how long the disk takes: whoever asks meanwhile is told that it is slow.
    pub(super) fn timed<T>(&self, call: impl FnOnce() -> T) -> T {
        let set = |since| *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
        set(Some(Instant::now()));
        let done = call();
        set(None);
        done
    }

    /// Waits until there is something to do. `retry_at` is when a disk in trouble is tried again: before that, only what
    /// somebody waits for is a reason to.
    pub(super) fn wait(&self, retry_at: Option<Instant>) -> Due {
        let mut work = self.lock();
        loop {
            let asked = !work.permits.is_empty() || !work.questions.is_empty() || work.ending.is_some();
            if asked {
                return Due::Something;
            }
            let at = match (retry_at, work.since) {
                (Some(at), _) => Some((at, Due::Retry)),
                (None, _) if work.urgent || work.sweep || !work.unneeded.is_empty() => return Due::Something,
                (None, Some(since)) => Some((since + LAZY, Due::Something)),
                (None, None) => None,
            };
            work = match at {
                Some((at, due)) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return due;
                    }
                    self.wake.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(work).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Work {
    /// The newest change of a job is the one that is written.
    pub(super) fn note(&mut self, id: String, change: Change) {
        match (self.changes.jobs.get(&id), change) {
            // The tables do not have the record yet: it is written whole, with the newer numbers.
            (Some(Change::Put(_)), Change::Progress(record)) => self.changes.jobs.insert(id, Change::Put(record)),
            (_, change) => self.changes.jobs.insert(id, change),
        };
    }

    fn waits(&mut self, urgent: bool) {
        self.urgent |= urgent;
        self.since.get_or_insert_with(Instant::now);
    }

    /// Everything that is to be written, and the permits opened for it. What is permitted has its rows: a permit for which
    /// no numbers are left is refused.
    pub(super) fn take(&mut self, permits: Vec<Permit>) -> (Changes, Vec<Opened>) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.rows = self.log.waiting();
        let mut opened = Vec::new();
        for mut permit in permits {
            if self.log.numbers_left() < permit.facts.len() as u64 {
                permit.answer(Err(NotWritten::Trouble(busy())));
                continue;
            }
            let rows: Vec<_> =
                std::mem::take(&mut permit.facts).into_iter().filter_map(|fact| self.log.open(fact)).collect();
            opened.push((permit, rows));
        }
        changes.mark = self.log.wanted_mark();
        (self.since, self.urgent) = (None, false);
        (changes, opened)
    }

    /// What was taken and could not be written waits again, unless it is no longer the newest.
    pub(super) fn give_back(&mut self, changes: Changes) {
        for (id, change) in changes.jobs {
            let put = match (self.changes.jobs.get(&id), change) {
                (None, change) => change,
                (Some(Change::Progress(newer)), Change::Put(_)) => Change::Put(newer.clone()),
                (Some(newer), _) => newer.clone(),
            };
            self.changes.jobs.insert(id, put);
        }
        for (name, place) in changes.cursors {
            self.changes.cursors.entry(name).or_insert(place);
        }
        for (name, value) in changes.kept {
            self.changes.kept.entry(name).or_insert(value);
        }
        self.changes.all_told |= changes.all_told;
        self.changes.book_changed |= changes.book_changed;
        self.waits(true);
    }

    /// Whether there is nothing to write.
    pub(super) fn is_idle(&self) -> bool {
        self.changes.is_empty() && !self.log.is_waiting()
    }

    /// Nothing waits for the file any more, where nothing is to be written: a program that was not needed did not go
    /// through it.
    pub(super) fn rest_if_idle(&mut self) -> bool {
        let idle = self.is_idle();
        if idle {
            (self.since, self.urgent) = (None, false);
        }
        idle
    }

    /// Whether something is written without anybody asking anew.
    #[cfg(test)]
    pub(super) fn is_due(&self) -> bool {
        self.since.is_some() || self.urgent
    }

    /// Tells how many facts got no number, now that there are numbers again.
    pub(super) fn tell_unsaid(&mut self) {
        let unsaid = self.log.take_unsaid();
        if unsaid > 0 {
            let body = json!({ "type": "unsaid", "count": unsaid,
                "happened": format!("{unsaid} events could not be told while the disk took nothing.") });
            self.log.tell(Fact::new(Class::Agent, body));
            self.waits(true);
        }
    }
}

/// Too much is asked of the disk at once.
pub(super) fn busy() -> Notice {
    Notice::new("store.busy", "Too much waits for the agent's disk.", "Nothing was done.", "Try again in a moment.")
}

/// The disk takes longer than it may.
pub(super) fn slow() -> Notice {
    Notice::new(
        "store.slow",
        format!("The agent's disk has not answered for {} s.", SLOW_AFTER.as_secs()),
        "Nothing was kept or started. What runs goes on, and stopping works.",
        "Look at the disk (`fab-agent doctor`, `dmesg`), then try again.",
    )
}

/// How long ago something was asked, by a clock that nobody can set and that counts while the computer sleeps.
#[derive(Debug, Clone, Copy)]
pub struct Asked(u64);

impl Asked {
    /// Now.
    pub fn now() -> Self {
        Self(clock::since_boot_us())
    }

    /// Before anybody can say.
    pub fn long_ago() -> Self {
        Self(0)
    }

    /// How long ago that was.
    pub fn age(self) -> Duration {
        Duration::from_micros(clock::since_boot_us().saturating_sub(self.0))
    }
}
