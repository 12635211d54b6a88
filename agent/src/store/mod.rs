//! The store: one SQLite file on a thread of its own, and the files beside it. Nothing else in the agent opens a file
//! for writing.
//!
//! ```text
//! desk ─ tell ──► memory (log, newest change of each job) ──► thread ──► store.db
//!      ─ permit ► waits until it is on the disk, or is told why not
//! readers ─ read ◄ memory, or the thread for what is older
//! ```
//!
//! *Told* is what has happened: it takes effect at once and is written when the disk can. *Permitted* is what may
//! happen (a job is accepted, a start is armed): it is on the disk first. Only whoever asks for an answer of the disk
//! waits for it, and not for ever.

mod bauds;
mod book;
mod disk;
mod epoch;
mod files;
mod keeper;
pub mod key;
mod log;
mod old;
mod previews;
mod programs;
pub mod recordings;
mod row;
pub(crate) mod secret;
mod tables;
mod trouble;
mod work;

#[cfg(test)]
mod test;
#[cfg(test)]
mod test_book;

use std::sync::Arc;
use std::time::Duration;

use drivers::Notice;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use self::disk::{Disk, Failure};
use self::keeper::Keeper;
use self::log::{Found, Log};
use self::work::{Permit, Shared, Unneeded};
use crate::config;
use crate::host::clock;
use crate::jobs::Record;

pub(crate) use self::bauds::{keep as keep_bauds, recall as recall_bauds};
pub use self::book::NotChanged;
pub(crate) use self::files::{open_regular, write_out};
pub(crate) use self::old::baud_name;
pub use self::previews::{Previews, Wanted};
pub use self::programs::{Arriving, Programs, Spooled};
pub use self::row::{Batch, Class, Cursor, Fact, Gap, Item, Row, Run, Who};
pub use self::work::{Asked, Change, NotWritten, Page};

/// Longest wait for the disk of whoever wants something written first.
pub const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// Under which name it is kept in which file the agent's key was: another one says that the store was copied.
pub(crate) const KEY_STAMP: &str = "key_stamp";

/// Longest wait for the disk of whoever wants to read.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Pause of a reader after the disk gave nothing.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How long the agent waits for its store when it starts. A store that takes longer is opened while the agent serves.
const OPENED_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for what is left to be written when the agent ends.
const ENDED_WITHIN: Duration = Duration::from_secs(3);

/// Rows that a reader gets at once, at most.
pub const ROWS_MAX: usize = 500;

/// News of the store that may wait for the desk: it is opened once, and begun anew when the file is lost.
const NEWS_MAX: usize = 8;

/// A handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    programs: Programs,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Store")
    }
}

/// What the desk must know of the store.
#[derive(Debug)]
pub enum News {
    /// It is open, with this in it.
    Opened(Box<Contents>),
    /// Its file was lost and begun anew: what is known is to be told again.
    Anew,
}

/// What was in the store when it was opened.
#[derive(Debug, Default)]
pub struct Contents {
    /// Jobs that are not over, and the newest that are.
    pub jobs: Vec<Record>,
    /// Whether the last agent ended in good order, or there was none.
    pub ended_well: bool,
    /// What is kept by name.
    pub kept: Vec<(String, String)>,
    /// Numbers that may have been told and are not in the file.
    pub lost: Option<Gap>,
    /// The last row of the lives before, if there is one.
    pub last: Option<Last>,
}

/// When the last row was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Milliseconds since 1970, by a clock that may have been wrong.
    pub at_ms: i64,
    /// Which switching-on of the computer it was.
    pub boot: String,
}

impl Store {
    /// Opens the store on a thread of its own. A store that cannot be used now is no reason not to start: the agent
    /// serves without it and takes no work, and it is opened when it can be.
    ///
    /// # Errors
    /// Another agent uses it, or the system has no thread left.
    pub async fn open(settings: &config::Store) -> Result<(Self, mpsc::Receiver<News>), Notice> {
        let run = Run { name: clock::rfc3339(clock::wall_ms()), boot: clock::boot_id() };
        let shared = Arc::new(Shared::new(Log::new(run)));
        let programs = Programs::new(settings, shared.clone());
        let (send, news) = mpsc::channel(NEWS_MAX);
        let (opened, tried) = oneshot::channel();
        let (folder, history) = (settings.dir.clone(), settings.history_jobs);
        let (theirs, its_programs) = (shared.clone(), programs.clone());
        let make = move || Keeper::new(theirs.clone(), folder.clone(), history, its_programs.clone(), send.clone());
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || keeper::live(make, opened))
            .map_err(|error| trouble::unusable(&settings.dir, &error))?;
        match timeout(OPENED_WITHIN, tried).await {
            Ok(Ok(Err(notice))) if notice.code == trouble::IN_USE => return Err(notice),
            _ => {}
        }
        Ok((Self { shared, programs }, news))
    }

    /// Where programs are kept.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// What is wrong with the store, if anything is: new work is refused with this then.
    pub fn trouble(&self) -> Option<Notice> {
        self.shared.trouble()
    }

    /// Notes what happened, and what became of jobs by it: told at once, and in one transaction as soon as the disk can.
    pub fn tell(&self, facts: impl IntoIterator<Item = Fact>, jobs: impl IntoIterator<Item = (String, Change)>) {
        self.shared.tell(facts, jobs);
    }

    /// Tells every job that is known, after the file was begun anew. Until that is written, no program is taken for one
    /// that no job needs.
    pub fn tell_all(&self, jobs: impl IntoIterator<Item = (String, Change)>) {
        self.shared.tell_all(jobs);
    }

    /// Forgets a job, and removes its program if no other job has it.
    pub fn forget(&self, job: &Record, told: Fact) {
        self.shared.tell([told], [(job.id.clone(), Change::Delete)]);
        let unneeded = Unneeded { sha256: job.sha256.clone(), unless_of_others: Some(job.id.clone()) };
        self.shared.note(|work| work.unneeded.push(unneeded));
        self.shared.wake();
    }

    /// Writes that something may be: in one transaction with the job it is about. It has happened when this says so,
    /// and not before. With `key_is_new` only if no job has the record's key.
    ///
    /// # Errors
    /// Why it is not on the disk. After a disk's error or its silence it can be there all the same: whoever asked tells
    /// the store what is true.
    pub async fn permit(&self, facts: Vec<Fact>, record: Arc<Record>, key_is_new: bool) -> Result<(), NotWritten> {
        let (reply, written) = oneshot::channel();
        let permit = Permit { facts, record, key_is_new, reply, twins: Vec::new() };
        self.shared.ask(|work| work.permits.push_back(permit)).map_err(NotWritten::Trouble)?;
        match timeout(WRITTEN_WITHIN, written).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => Err(NotWritten::Trouble(trouble::closed())),
            Err(_) => Err(NotWritten::Trouble(work::slow())),
        }
    }

    /// Keeps a short text under a name; nothing removes it.
    pub fn keep(&self, name: &str, value: Option<String>) {
        self.shared.note(|work| drop(work.changes.kept.insert(name.to_owned(), value)));
    }

    /// What an earlier life kept under a name.
    ///
    /// # Errors
    /// The store does not say.
    pub async fn kept(&self, name: &str) -> Result<Option<String>, Notice> {
        let name = name.to_owned();
        ask(&self.shared, move |disk| disk.kept(&name)).await
    }

    /// Notes where a reader is, for its next life. Written with the next that must be, or after some seconds: a reader
    /// that comes back gets the last few again.
    pub fn keep_cursor(&self, reader: &str, cursor: &Cursor) {
        let place = cursor.to_string();
        self.shared.note(|work| drop(work.changes.cursors.insert(reader.to_owned(), place)));
    }

    /// Where a reader was in its last life.
    ///
    /// # Errors
    /// The store does not say.
    pub async fn cursor(&self, reader: &str) -> Result<Option<Cursor>, Notice> {
        let reader = reader.to_owned();
        let place = ask(&self.shared, move |disk| disk.cursor(&reader)).await?;
        Ok(place.as_deref().and_then(Cursor::parse))
    }

    /// The newest fact told: a reader that begins here gets what comes next.
    pub fn newest(&self) -> Cursor {
        self.shared.lock().log.newest()
    }

    /// Where a reader begins that wants the newest rows, so many of them.
    ///
    /// # Errors
    /// The disk does not say.
    pub async fn before(&self, rows: usize) -> Result<Cursor, Notice> {
        let number = ask(&self.shared, move |disk| disk.number_before(rows)).await?;
        Ok(Cursor { number, ..self.newest() })
    }

    /// Whether a cursor is of this log, so that a reader can go on from it.
    pub fn knows(&self, cursor: &Cursor) -> bool {
        self.shared.lock().log.knows(cursor)
    }

    /// A reader that begins behind a cursor.
    pub fn reader(&self, cursor: Cursor) -> Reader {
        Reader { told: self.watch(), store: self.clone(), cursor }
    }

    /// Changes with each fact told: for readers that wait.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.newest()
    }

    /// What comes after a cursor, in order, at most `rows_max` rows of it: rows, and the gaps between them. Nothing where
    /// there is nothing new.
    ///
    /// # Errors
    /// It is on the disk, and the disk does not give it.
    pub async fn read(&self, cursor: &Cursor, rows_max: usize) -> Result<Batch, Notice> {
        let rows_max = rows_max.clamp(1, ROWS_MAX);
        let (log, from, before) = {
            let work = self.shared.lock();
            match work.log.read(cursor, rows_max) {
                Found::Here(batch) => return Ok(batch),
                Found::OnDisk(from, before) => (work.log.id().to_owned(), from, before),
            }
        };
        let rows = ask(&self.shared, move |disk| disk.rows(from, before, rows_max)).await?;
        let all = rows.len() < rows_max;
        Ok(Batch::of_disk(&log, from, before, rows, all))
    }

    /// A job that is no longer in memory.
    ///
    /// # Errors
    /// The disk does not say.
    pub async fn job(&self, id: &str) -> Result<Option<Record>, Notice> {
        let (id, shared) = (id.to_owned(), self.shared.clone());
        ask(&self.shared, move |disk| {
            // What waits to be written is newer than what is written.
            let waiting = shared.lock().changes.jobs.get(&id).cloned();
            match waiting {
                Some(Change::Put(record)) => Ok(Some(Record::clone(&record))),
                Some(Change::Delete) => Ok(None),
                Some(Change::Progress(_)) | None => disk.job(&id),
            }
        })
        .await
    }

    /// What the log has of a job, oldest first, at most `rows_max` rows; before them the last word that its machine's table
    /// was clear when it was started.
    ///
    /// # Errors
    /// The disk does not say.
    pub async fn log_of_job(&self, id: &str, rows_max: usize) -> Result<Vec<Row>, Notice> {
        let id = id.to_owned();
        ask(&self.shared, move |disk| disk.rows_of_job(&id, rows_max)).await
    }

    /// Jobs that are over, newest first.
    ///
    /// # Errors
    /// The disk does not say.
    pub async fn jobs_over(&self, page: Page) -> Result<Vec<Record>, Notice> {
        let shared = self.shared.clone();
        ask(&self.shared, move |disk| {
            let jobs = disk.jobs_over(&page)?;
            Ok(page.with_newer(jobs, &shared.lock().changes.jobs))
        })
        .await
    }

    /// Takes a person's name or address out of all rows, in memory and on the disk, and out of what the disk has of them
    /// besides. The rows keep their numbers. How many had it.
    ///
    /// # Errors
    /// The disk does not take it.
    pub async fn erase(&self, who: &str) -> Result<usize, Notice> {
        let (who, shared) = (who.to_owned(), self.shared.clone());
        ask(&self.shared, move |disk| {
            let erased = shared.lock().log.erase(&who);
            Ok(erased + disk.erase(&who)?)
        })
        .await
    }

    /// Writes what is left, and that the agent ended in good order.
    pub async fn end(&self) {
        let (ending, ended) = oneshot::channel();
        self.shared.lock().ending = Some(ending);
        self.shared.wake();
        // The thread drops its end when it is done.
        let _ = timeout(ENDED_WITHIN, ended).await;
    }
}

/// Somebody who reads the log as it grows, and tells it to somebody else.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    cursor: Cursor,
    told: watch::Receiver<u64>,
}

impl Reader {
    /// Waits for what comes next, and gives it: at most `rows_max` rows, and the gaps between them. A disk that does not
    /// answer is waited for. Dropped while it waits, nothing is lost.
    pub async fn next(&mut self, rows_max: usize) -> Batch {
        loop {
            self.told.mark_unchanged();
            match self.store.read(&self.cursor, rows_max).await {
                Ok(batch) if batch.cursor == self.cursor => {
                    // The store outlives its readers: it says so with each fact.
                    if self.told.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                Ok(batch) => {
                    self.cursor.clone_from(&batch.cursor);
                    return batch;
                }
                Err(_) => tokio::time::sleep(READ_AGAIN_AFTER).await,
            }
        }
    }
}

/// Asks something of the file, and waits for the answer, within bounds.
async fn ask<T: Send + 'static>(
    shared: &Shared,
    question: impl FnOnce(&mut Disk) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Notice> {
    let (reply, answered) = oneshot::channel();
    let question = move |disk: Result<&mut Disk, Notice>| {
        let answer = disk.and_then(|disk| question(disk).map_err(|failure| trouble::of(&failure)));
        let _ = reply.send(answer);
    };
    shared.ask(|work| work.questions.push_back(Box::new(question)))?;
    match timeout(READ_WITHIN, answered).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(trouble::closed()),
        Err(_) => Err(work::slow()),
    }
}
