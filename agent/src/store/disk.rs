//! The file: what is written of the log and the jobs, and read back. Every call may take as long as the disk takes.
#![expect(
    clippy::cast_possible_wrap,
    reason = "SQLite's numbers have a sign; what is counted here stays far below 2^63"
)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::repeats::Repeats;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use super::Last;
use super::row::{Class, Row, Run};
use super::tables::{ROW, delete_job, put_job, put_mark, put_progress, put_row, read_job, read_row};
use super::work::{Change, Changes, Page};
use super::{book, epoch};
use crate::access::Book;
use crate::jobs::{JobState, Record};

/// The file's name in the store's folder.
pub(super) const FILE: &str = "store.db";

/// What SQLite keeps beside it: a log of its own, which is part of the data until it is put into the file.
const BESIDE: [&str; 2] = ["store.db-wal", "store.db-shm"];

/// Which form the tables have; a later one knows how to read this one.
const FORM: i64 = 2;

/// Says that the file is the agent's ("FABA"), for whoever finds it.
const APPLICATION: i64 = 0x4641_4241;

/// Memory for pages, in KiB: the tables' upper pages. SQLite's default is 2 MB.
const CACHE_KIB: i64 = 512;

/// Rows let go in one transaction at most, so that nothing waits long for it.
const LET_GO_ROWS: u64 = 500;

/// A whole check of the file is made only up to this size, in bytes: on an SD card it takes some seconds.
const CHECKED_WHOLE_MAX: u64 = 64 << 20;

/// A record that cannot be read is spoken of this often in the log: each list of jobs meets it.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// Why the file cannot be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// The disk or its rights: it may be over by itself.
    Disk(rusqlite::Error),
    /// What is in the file is not what was written.
    Damaged(rusqlite::Error),
    /// A later agent made it: its tables have a form that this one does not know.
    Newer(i64),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error),
            // A table that is not there, or text where a number was: nobody but a damage wrote that.
            Some(ErrorCode::Unknown) | None => Self::Damaged(error),
            Some(_) => Self::Disk(error),
        }
    }
}

/// The open file.
pub(super) struct Disk {
    sql: Connection,
    path: PathBuf,
    identity: Option<(u64, u64)>,
    /// Bytes of rows by class.
    bytes: [u64; Class::ALL.len()],
    run: i64,
    /// What was said in the log of records that cannot be read.
    said: RefCell<Repeats>,
    /// The name of its log.
    log: String,
    /// The book as the tables have it.
    book: Arc<Book>,
}

/// What was found in the file when it was opened.
#[derive(Debug, Default)]
pub(super) struct Was {
    /// The name of its log.
    pub(super) log: String,
    /// The first number that was not set aside.
    pub(super) mark: u64,
    /// The number behind the last row.
    pub(super) next: u64,
    /// Jobs that are not over, and the newest that are.
    pub(super) jobs: Vec<Record>,
    /// Whether the last agent ended in good order.
    pub(super) ended_well: bool,
    /// The last row.
    pub(super) last: Option<Last>,
    /// What is kept by name.
    pub(super) kept: Vec<(String, String)>,
    /// Whether the file is a new one.
    pub(super) new: bool,
    /// People and tokens.
    pub(super) book: Arc<Book>,
}

/// The tables of the first form.
const FORM_1: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run (id INTEGER PRIMARY KEY, name TEXT NOT NULL, boot TEXT NOT NULL);
CREATE TABLE log (
    number INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, since_boot_us INTEGER NOT NULL, clock_set INTEGER NOT NULL,
    run INTEGER NOT NULL, class INTEGER NOT NULL, machine TEXT, job TEXT, who TEXT, origin TEXT, seq INTEGER,
    bytes INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX log_class ON log (class, number);
CREATE TABLE job (
    id TEXT PRIMARY KEY, machine TEXT NOT NULL, state TEXT NOT NULL, over INTEGER NOT NULL, sha256 TEXT NOT NULL,
    key TEXT, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX job_over ON job (over, id);
CREATE INDEX job_machine ON job (machine, id);
CREATE INDEX job_sha256 ON job (sha256);
CREATE INDEX job_key ON job (key) WHERE key IS NOT NULL;
CREATE TABLE progress (job TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cursor (name TEXT PRIMARY KEY, place TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// What the second form has besides: people, tokens, whose a job is, and by which means somebody asked.
const FORM_2: &str = "
ALTER TABLE log ADD COLUMN means TEXT;
ALTER TABLE log ADD COLUMN person TEXT;
ALTER TABLE job ADD COLUMN owner TEXT;
CREATE TABLE person (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE token (hash BLOB PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
";

impl Disk {
    /// Opens the file, or makes it.
    pub(super) fn open(folder: &Path, recent: usize) -> Result<(Self, Was), Failure> {
        let path = folder.join(FILE);
        if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            // SQLite would follow a link and wait at a pipe.
            return Err(Failure::Damaged(rusqlite::Error::InvalidPath(path)));
        }
        let sql = Connection::open(&path)?;
        // One process has the file (the store's lock says so). Without shared memory no page of the file is mapped, and
        // a disk that breaks is an error and not a signal that ends the agent.
        sql.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        sql.pragma_update(None, "cache_size", -CACHE_KIB)?;
        sql.pragma_update(None, "mmap_size", 0)?;
        // For a new file only; room that was used once is given back in small steps.
        sql.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        sql.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        // What is answered for is on the disk: a commit waits for it.
        sql.pragma_update(None, "synchronous", "FULL")?;
        let said = RefCell::new(Repeats::new(SAID_AGAIN_AFTER));
        let mut disk = Self {
            sql,
            path,
            identity: None,
            bytes: [0; Class::ALL.len()],
            run: 0,
            log: String::new(),
            book: Arc::default(),
            said,
        };
        let new = disk.form()?;
        // A file of an older agent has none.
        disk.sql.execute_batch("CREATE INDEX IF NOT EXISTS log_job ON log (job) WHERE job IS NOT NULL")?;
        let was = disk.was(new, recent)?;
        disk.identity = identity(&disk.path);
        Ok((disk, was))
    }

    /// Makes the tables, where they are not there, and brings those of an earlier form to this one: as a whole or not at
    /// all. Whether they were not there.
    fn form(&mut self) -> Result<bool, Failure> {
        let form: i64 = self.sql.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if form == FORM {
            return Ok(false);
        }
        if !(0..FORM).contains(&form) {
            return Err(Failure::Newer(form));
        }
        let making = self.sql.transaction()?;
        if form < 1 {
            making.execute_batch(FORM_1)?;
            making.execute("INSERT INTO meta VALUES ('log', ?1), ('mark', '1')", [super::log::new_id()])?;
            making.pragma_update(None, "application_id", APPLICATION)?;
        }
        making.execute_batch(FORM_2)?;
        making.pragma_update(None, "user_version", FORM)?;
        making.commit()?;
        Ok(form == 0)
    }

    fn was(&mut self, new: bool, recent: usize) -> Result<Was, Failure> {
        let meta = |name: &str| -> Result<Option<String>, rusqlite::Error> {
            self.sql.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
        };
        let ended_well = meta("ended")?.is_some();
        let bytes = std::fs::metadata(&self.path).map_or(0, |found| found.len());
        if !ended_well && !new && bytes <= CHECKED_WHOLE_MAX {
            let sound: String = self.sql.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if sound != "ok" {
                return Err(Failure::Damaged(rusqlite::Error::InvalidColumnName(sound)));
            }
        }
        let log = meta("log")?.unwrap_or_default();
        let mark = meta("mark")?.and_then(|mark| mark.parse().ok()).unwrap_or(1);
        let last = "SELECT log.number, log.at_ms, run.boot FROM log LEFT JOIN run ON run.id = log.run \
                    ORDER BY log.number DESC LIMIT 1";
        let last = self.sql.query_row(last, [], |row| {
            let last = Last { at_ms: row.get(1)?, boot: row.get::<_, Option<String>>(2)?.unwrap_or_default() };
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), last))
        });
        let (number, last) = last.optional()?.map_or((0, None), |(number, last)| (number, Some(last)));
        let mut sums = self.sql.prepare("SELECT class, sum(bytes) FROM log GROUP BY class")?;
        let sums = sums.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let mut by_class = [0; Class::ALL.len()];
        for sum in sums {
            let (class, sum) = sum?;
            if let Some(known) = usize::try_from(class).ok().and_then(|class| by_class.get_mut(class)) {
                *known = sum.unsigned_abs();
            }
        }
        let next = number + 1;
        let (jobs, kept) = (self.live_and_recent(recent)?, self.all_kept()?);
        self.book = Arc::new(book::read(&self.sql)?);
        self.bytes = by_class;
        let book = self.book.clone();
        Ok(Was { log, mark: mark.max(next), next, jobs, ended_well, last, kept, new, book })
    }

    /// Jobs that are not over, and the newest of those that are.
    pub(super) fn live_and_recent(&self, recent: usize) -> Result<Vec<Record>, Failure> {
        let mut jobs = self.jobs_where("over = 0 ORDER BY job.id DESC LIMIT ?1", params![LIVE_MAX])?;
        jobs.extend(self.jobs_where("over = 1 ORDER BY job.id DESC LIMIT ?1", params![recent as i64])?);
        Ok(jobs)
    }

    /// What is kept by name.
    pub(super) fn all_kept(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut kept = self.sql.prepare("SELECT name, value FROM kept")?;
        let kept = kept.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(kept.collect::<Result<_, _>>()?)
    }

    /// Takes over records of an earlier form of the store: all or none, and none that is there already.
    pub(super) fn import(&mut self, records: &[Record], kept: &[(String, String)]) -> Result<(), Failure> {
        let importing = self.sql.transaction()?;
        for record in records {
            let known = importing.query_row("SELECT 1 FROM job WHERE id = ?1", [&record.id], |_| Ok(())).optional()?;
            if known.is_none() {
                put_job(&importing, record)?;
            }
        }
        for (name, value) in kept {
            importing.execute("INSERT OR IGNORE INTO kept VALUES (?1, ?2)", [name, value])?;
        }
        importing.commit()?;
        Ok(())
    }

    /// Whether the file is still the one that its name leads to.
    pub(super) fn is_there(&self) -> bool {
        self.identity == identity(&self.path)
    }

    /// Notes that this life of the agent has begun: the last one's good end no longer counts.
    pub(super) fn begin(&mut self, run: &Run, log: &str, mark: u64) -> Result<(), Failure> {
        let beginning = self.sql.transaction()?;
        beginning.execute("DELETE FROM meta WHERE name = 'ended'", [])?;
        beginning.execute("INSERT OR REPLACE INTO meta VALUES ('log', ?1)", [log])?;
        put_mark(&beginning, mark)?;
        beginning.execute("INSERT INTO run (name, boot) VALUES (?1, ?2)", params![run.name, run.boot])?;
        let id = beginning.last_insert_rowid();
        beginning.commit()?;
        self.run = id;
        log.clone_into(&mut self.log);
        self.marked(mark);
        Ok(())
    }

    /// Says beside the file how far its numbers were set aside: an older copy of it says less.
    fn marked(&self, mark: u64) {
        if let Some(folder) = self.path.parent() {
            epoch::put(folder, &self.log, mark);
        }
    }

    /// Writes everything or nothing.
    pub(super) fn write(&mut self, changes: &Changes) -> Result<(), Failure> {
        let writing = self.sql.transaction()?;
        for row in &changes.rows {
            put_row(&writing, self.run, row)?;
        }
        for (id, change) in &changes.jobs {
            match change {
                Change::Put(record) => put_job(&writing, record)?,
                Change::Progress(record) => put_progress(&writing, record)?,
                Change::Delete => delete_job(&writing, id)?,
            }
        }
        for (name, place) in &changes.cursors {
            writing.prepare_cached("INSERT OR REPLACE INTO cursor VALUES (?1, ?2)")?.execute([name, place])?;
        }
        for (name, value) in &changes.kept {
            match value {
                Some(value) => {
                    writing.prepare_cached("INSERT OR REPLACE INTO kept VALUES (?1, ?2)")?.execute([name, value])?
                }
                None => writing.prepare_cached("DELETE FROM kept WHERE name = ?1")?.execute([name])?,
            };
        }
        if let Some(new) = &changes.book {
            book::put(&writing, &self.book, new)?;
        }
        if let Some(mark) = changes.mark {
            put_mark(&writing, mark)?;
        }
        writing.commit()?;
        if let Some(new) = &changes.book {
            self.book = new.clone();
        }
        if let Some(mark) = changes.mark {
            self.marked(mark);
        }
        for row in &changes.rows {
            self.bytes[row.class as usize] += row.bytes();
        }
        Ok(())
    }

    /// The agent ends in good order: the numbers go on where they are.
    pub(super) fn end(&mut self, next: u64) -> Result<(), Failure> {
        // Before it is less in the file: what is beside it must never say more than the file.
        self.marked(next);
        let ending = self.sql.transaction()?;
        ending.execute("INSERT OR REPLACE INTO meta VALUES ('ended', 'well')", [])?;
        put_mark(&ending, next)?;
        ending.commit()?;
        Ok(())
    }

    /// Lets go of the oldest rows of classes that are over their bound, and of the oldest ended jobs beyond `history`.
    /// Whether there is more to let go.
    pub(super) fn let_go(&mut self, history: usize) -> Result<bool, Failure> {
        let (mut more, mut rows_gone) = (false, false);
        for class in Class::ALL {
            let over = self.bytes[class as usize].saturating_sub(class.bytes_max());
            if over == 0 {
                continue;
            }
            // A tenth more than needed, so that this is not done for each new row.
            let wanted = over + class.bytes_max() / 10;
            let mut oldest =
                self.sql.prepare_cached("SELECT number, bytes FROM log WHERE class = ?1 ORDER BY number LIMIT ?2")?;
            let mut rows = oldest.query(params![class as i64, LET_GO_ROWS as i64])?;
            let (mut through, mut bytes) = (0_i64, 0);
            while let Some(row) = rows.next()? {
                if bytes >= wanted {
                    break;
                }
                through = row.get(0)?;
                bytes += row.get::<_, i64>(1)?.unsigned_abs();
            }
            drop(rows);
            drop(oldest);
            self.sql.execute("DELETE FROM log WHERE class = ?1 AND number <= ?2", params![class as i64, through])?;
            self.bytes[class as usize] = self.bytes[class as usize].saturating_sub(bytes);
            more |= bytes < wanted && bytes > 0;
            rows_gone = true;
        }
        if rows_gone {
            // Lives of the agent that no row is of any more.
            let gone = "DELETE FROM run WHERE id <> ?1 AND id NOT IN (SELECT run FROM log)";
            self.sql.execute(gone, [self.run])?;
        }
        let forgotten = self.sql.execute(
            "DELETE FROM job WHERE id IN (SELECT id FROM job WHERE over = 1 ORDER BY id DESC LIMIT ?1 OFFSET ?2)",
            params![LET_GO_ROWS as i64, history as i64],
        )?;
        if forgotten > 0 {
            self.sql.execute("DELETE FROM progress WHERE job NOT IN (SELECT id FROM job)", [])?;
        }
        // Nothing where nothing was let go.
        self.sql.execute_batch("PRAGMA incremental_vacuum(64)")?;
        Ok(more || forgotten as u64 == LET_GO_ROWS)
    }

    /// Rows from a number on and before another, at most `rows_max`.
    pub(super) fn rows(&self, from: u64, before: u64, rows_max: usize) -> Result<Vec<Row>, Failure> {
        let mut wanted =
            self.sql.prepare_cached(&format!("{ROW} WHERE number >= ?1 AND number < ?2 ORDER BY number LIMIT ?3"))?;
        let found = wanted.query_map(params![from as i64, before as i64, rows_max as i64], read_row)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The rows of a job, oldest first, at most `rows_max`; and before them the last word that its machine's table was clear
    /// when it was started.
    pub(super) fn rows_of_job(&self, job: &str, rows_max: usize) -> Result<Vec<Row>, Failure> {
        let mut wanted = self.sql.prepare_cached(&format!("{ROW} WHERE job = ?1 ORDER BY number LIMIT ?2"))?;
        let rows = wanted.query_map(params![job, rows_max as i64], read_row)?.collect::<Result<Vec<_>, _>>()?;
        let person = Class::Person as i64;
        let cleared = format!(
            "{ROW} WHERE class = ?2 AND json_extract(body, '$.action') = 'clear' AND (number, machine) IN (
                 SELECT max(said.number), said.machine FROM log AS said, log AS started
                 WHERE started.job = ?1 AND started.class = ?2 AND json_extract(started.body, '$.action') = 'start'
                     AND json_extract(started.body, '$.type') = 'asked' AND said.class = ?2
                     AND said.machine = started.machine AND said.number < started.number
                     AND json_extract(said.body, '$.action') = 'clear')"
        );
        let cleared = self.sql.prepare_cached(&cleared)?.query_row(params![job, person], read_row).optional()?;
        Ok(cleared.into_iter().chain(rows).collect())
    }

    /// The number before the newest rows, so many of them.
    pub(super) fn number_before(&self, rows: usize) -> Result<u64, Failure> {
        let oldest = "SELECT number FROM log ORDER BY number DESC LIMIT 1 OFFSET ?1";
        let oldest: Option<i64> = self.sql.query_row(oldest, [rows as i64], |row| row.get(0)).optional()?;
        Ok(oldest.map_or(0, i64::unsigned_abs))
    }

    /// A job that was submitted under a key.
    pub(super) fn job_of_key(&self, key: &str) -> Result<Option<Record>, Failure> {
        Ok(self.jobs_where("key = ?1", [key])?.pop())
    }

    /// One job.
    pub(super) fn job(&self, id: &str) -> Result<Option<Record>, Failure> {
        Ok(self.jobs_where("job.id = ?1", [id])?.pop())
    }

    /// Jobs that are over, newest first. One that is not is in the desk's memory, and newer there.
    pub(super) fn jobs_over(&self, page: &Page) -> Result<Vec<Record>, Failure> {
        let state = page.state.map(JobState::word);
        let wanted = "over = 1 AND (?1 IS NULL OR job.id < ?1) AND (?2 IS NULL OR machine = ?2) \
                      AND (?3 IS NULL OR state = ?3) AND (?5 IS NULL OR owner = ?5) ORDER BY job.id DESC LIMIT ?4";
        self.jobs_where(wanted, params![page.before, page.machine, state, page.limit as i64, page.owner])
    }

    /// Hashes of programs that some job has.
    pub(super) fn programs(&self) -> Result<Vec<(String, bool)>, Failure> {
        let mut all = self.sql.prepare("SELECT sha256, min(over), max(id) FROM job GROUP BY sha256 ORDER BY 3")?;
        let found = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Whether another job than this one has a program.
    pub(super) fn others_have(&self, sha256: &str, job: &str) -> Result<bool, Failure> {
        let other = "SELECT 1 FROM job WHERE sha256 = ?1 AND id <> ?2 LIMIT 1";
        Ok(self.sql.query_row(other, [sha256, job], |_| Ok(())).optional()?.is_some())
    }

    /// What is kept under a name.
    pub(super) fn kept(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.sql.query_row("SELECT value FROM kept WHERE name = ?1", [name], |row| row.get(0)).optional()?)
    }

    /// Where a reader was.
    pub(super) fn cursor(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.sql.query_row("SELECT place FROM cursor WHERE name = ?1", [name], |row| row.get(0)).optional()?)
    }

    /// Takes a person's name and address out of every row, and what was there is overwritten. Their numbers stay.
    pub(super) fn erase(&mut self, who: &str) -> Result<usize, Failure> {
        self.sql.pragma_update(None, "secure_delete", true)?;
        let erased = self.sql.execute(
            "UPDATE log SET who = NULL, origin = NULL, means = NULL, person = NULL WHERE who = ?1 OR origin = ?1",
            [who],
        );
        self.sql.pragma_update(None, "secure_delete", false)?;
        // SQLite's own log has the pages as they were.
        self.sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(erased?)
    }

    fn jobs_where(&self, wanted: &str, values: impl rusqlite::Params) -> Result<Vec<Record>, Failure> {
        let query = format!(
            "SELECT job.body, progress.body FROM job LEFT JOIN progress ON progress.job = job.id WHERE {wanted}"
        );
        let mut query = self.sql.prepare_cached(&query)?;
        let mut rows = query.query(values)?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next()? {
            // Text that is no record any more must not hide the others.
            match read_job(row) {
                Ok(record) => jobs.push(record),
                Err(error) => {
                    if let Some(repeated) = self.said.borrow_mut().say(&error.to_string(), Instant::now()) {
                        tracing::error!(repeated = repeated.0, %error, "a job record cannot be read");
                    }
                }
            }
        }
        Ok(jobs)
    }
}

/// Jobs that are not over, read back at most: 32 machines with as many waiting as the desk lets wait.
const LIVE_MAX: i64 = 3_500;

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Puts a damaged file aside, with what belongs to it, under a name that is given back.
pub(super) fn put_aside(folder: &Path) -> std::io::Result<PathBuf> {
    let path = folder.join(FILE);
    let aside = super::files::put_aside(&path, "damaged")?;
    for beside in BESIDE {
        // SQLite finds them by name: they must not be taken for the new file's.
        let path = folder.join(beside);
        if std::fs::symlink_metadata(&path).is_ok() {
            super::files::put_aside(&path, "damaged")?;
        }
    }
    Ok(aside)
}

/// Writes a file of the first form: a job, and a row of somebody.
#[cfg(test)]
pub(super) fn first_form(folder: &Path, job: &str) {
    let sql = Connection::open(folder.join(FILE)).unwrap();
    sql.execute_batch(FORM_1).unwrap();
    sql.execute("INSERT INTO meta VALUES ('log', 'l'), ('mark', '9')", []).unwrap();
    sql.execute("INSERT INTO log VALUES (1, 0, 0, 0, 1, 4, NULL, NULL, 'token', '10.0.0.7', NULL, 1, '{}')", [])
        .unwrap();
    sql.execute("INSERT INTO job VALUES ('1', 'mill', 'queued', 0, 'x', NULL, ?1)", [job]).unwrap();
    sql.pragma_update(None, "application_id", APPLICATION).unwrap();
    sql.pragma_update(None, "user_version", 1).unwrap();
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn lives_of_the_agent_that_no_row_is_of_stayed_in_their_table_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let (mut disk, _) = Disk::open(home.path(), 0).unwrap();
        let run = |name: &str| Run { name: name.to_owned(), boot: String::new() };
        for name in ["1", "2", "3", "4"] {
            disk.begin(&run(name), "log", 1).unwrap();
        }
        let put = |disk: &Disk, number: i64, run: i64| {
            let row = "INSERT INTO log VALUES (?1, 0, 0, 0, ?2, 0, NULL, NULL, NULL, NULL, NULL, 1, '{}', NULL, NULL)";
            disk.sql.execute(row, [number, run]).unwrap();
        };
        (1..=2).for_each(|number| put(&disk, number, number));
        disk.bytes[Class::Chatter as usize] = Class::Chatter.bytes_max() + 1;
        // The oldest row is all that there is to let go, and the second: what stays is of the run before.
        put(&disk, 501, 3);
        (3..=500).for_each(|number| put(&disk, number, 1));
        assert!(disk.let_go(10).unwrap());
        let mut left = disk.sql.prepare("SELECT id FROM run ORDER BY id").unwrap();
        let left: Vec<i64> = left.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(left, [3, 4], "the one that a row is of, and this one");
    }
}
