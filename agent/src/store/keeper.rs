//! The store's thread: the only one that has the file. It opens it, writes what waits, answers what is asked of it, and
//! when the disk fails it keeps trying while everybody else goes on.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::repeats::Repeats;
use drivers::{Notice, priority};
use nix::fcntl::{Flock, FlockArg};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::disk::{self, Disk, Failure, Was};
use super::log::RESERVE;
use super::programs::Programs;
use super::row::{Class, Fact, Gap};
use super::work::{Change, Changes, Due, Jobs, NotWritten, Opened, Permit, Shared};
use super::{Contents, News, epoch, files, log, old, trouble};

/// Waits between attempts at a disk in trouble.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// A trouble of the disk that lasts is spoken of this often in the log: `/healthz` says it all the time.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// Records of an earlier agent that cannot be read and are named in the log.
const UNREADABLE_SAID_MAX: usize = 20;

/// Rows written between two looks at what can be let go.
const TIDY_EVERY_ROWS: usize = 256;

/// Jobs that are over and are kept in memory, for whoever looks at what was just done.
pub(super) const RECENT: usize = 100;

/// The file whose lock says that an agent has the store.
const LOCK: &str = "lock";

/// Folders in which files are written as `.part` first.
const FOLDERS: [&str; 3] = ["programs", "previews", "recordings"];

/// The life of the thread. A fault in it is told, and it is begun anew: what waited still waits.
pub(super) fn live(make: impl Fn() -> Keeper, tried: oneshot::Sender<Result<(), Notice>>) {
    // Whoever starts a job waits for it, as for the network.
    priority::ask(priority::NETWORK);
    let mut tried = Some(tried);
    let (mut faults, mut wait) = (Repeats::new(SAID_AGAIN_AFTER), RETRY_FIRST);
    loop {
        let begun = Instant::now();
        let keeper = make();
        let (shared, tried) = (keeper.shared.clone(), tried.take());
        if catch_unwind(AssertUnwindSafe(|| keeper.work(tried))).is_ok() {
            return;
        }
        let notice = trouble::fault();
        shared.set_trouble(Some(notice.clone()));
        shared.lock().log.close_all();
        if let Some(repeated) = faults.say(&notice.code, Instant::now()) {
            tracing::error!(repeated = repeated.0, %notice, "the store");
            shared.tell([told(&notice)], []);
        }
        if begun.elapsed() > RETRY_LAST {
            wait = RETRY_FIRST;
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(RETRY_LAST);
    }
}

/// The thread.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) folder: PathBuf,
    pub(super) history: usize,
    pub(super) programs: Programs,
    pub(super) news: mpsc::Sender<News>,
    lock: Option<Flock<File>>,
    disk: Option<Disk>,
    /// Whether this life's beginning is in the file, so that its numbers are the file's.
    begun: bool,
    retry: Option<(Instant, Duration)>,
    untidied: usize,
    /// What was said in the log of the disk, and of what cannot be let go.
    said: Repeats,
    said_untidy: Repeats,
}

/// A trouble of the store's, for the agent's log.
fn told(notice: &Notice) -> Fact {
    Fact::new(Class::Agent, json!({ "type": "trouble", "notice": notice }))
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        folder: PathBuf,
        history: usize,
        programs: Programs,
        news: mpsc::Sender<News>,
    ) -> Self {
        let (lock, disk) = (None, None);
        let begun = shared.lock().begun;
        // A life may be too short to write so many rows: each begins with a look.
        let untidied = TIDY_EVERY_ROWS;
        let (said, said_untidy) = (Repeats::new(SAID_AGAIN_AFTER), Repeats::new(SAID_AGAIN_AFTER));
        Self { shared, folder, history, programs, news, lock, disk, begun, retry: None, untidied, said, said_untidy }
    }

    /// Works until it is told to end. `tried` is told how the first attempt to open the file went.
    fn work(mut self, tried: Option<oneshot::Sender<Result<(), Notice>>>) {
        self.open();
        if let Some(tried) = tried {
            let trouble = self.shared.trouble();
            let in_use = trouble.as_ref().is_some_and(|notice| notice.code == trouble::IN_USE);
            let _ = tried.send(trouble.map_or(Ok(()), Err));
            if in_use {
                return;
            }
        }
        loop {
            let due = self.shared.wait(self.retry.map(|(at, _)| at));
            // Asked before the turn: what was told before the end was asked for is written in it.
            let ends = self.shared.lock().ending.is_some();
            self.turn(due);
            if ends {
                let (ending, next) = {
                    let mut work = self.shared.lock();
                    (work.ending.take(), work.log.next())
                };
                self.end(next);
                // The file and its lock are let go of before anybody is told that they are.
                drop(self);
                drop(ending);
                return;
            }
        }
    }

    fn turn(&mut self, due: Due) {
        if self.disk.as_ref().is_some_and(|disk| !self.shared.timed(|| disk.is_there())) {
            tracing::error!(folder = %self.folder.display(), "the store's file is gone from its place");
            self.disk = None;
            self.lock = None;
        }
        if self.disk.is_none() {
            self.open();
        }
        let in_trouble = self.retry.is_some();
        let idle = self.shared.lock().rest_if_idle();
        if self.disk.is_some() && (!idle || in_trouble || !self.shared.lock().permits.is_empty()) {
            self.write(due == Due::Retry || in_trouble);
        }
        self.refuse_where_closed();
        self.tidy();
        self.answer();
    }

    /// Opens the file. What cannot be opened now is tried again.
    fn open(&mut self) {
        let shared = self.shared.clone();
        match shared.timed(|| self.try_open()) {
            Ok(()) => {}
            Err(notice) => self.failed(&notice),
        }
    }

    fn try_open(&mut self) -> Result<(), Notice> {
        if self.lock.is_none() {
            let aside = files::folder(&self.folder).map_err(|error| trouble::unusable(&self.folder, &error))?;
            self.told_aside(aside);
            self.lock = Some(self.try_lock()?);
        }
        for name in FOLDERS {
            let path = self.folder.join(name);
            let aside = files::folder(&path).map_err(|error| trouble::unusable(&path, &error))?;
            self.told_aside(aside);
        }
        let (disk, was) = match Disk::open(&self.folder, RECENT) {
            Err(Failure::Damaged(error)) => {
                self.shared.lock().jobs = Jobs::Lost;
                let aside = disk::put_aside(&self.folder).map_err(|error| trouble::unusable(&self.folder, &error))?;
                let notice = trouble::damaged(&aside, &error);
                let opened = Disk::open(&self.folder, RECENT).map_err(|failure| trouble::of(&failure))?;
                self.shared.tell([told(&notice)], []);
                tracing::error!(%notice, "the store begins anew");
                opened
            }
            opened => opened.map_err(|failure| trouble::of(&failure))?,
        };
        self.disk = Some(disk);
        self.begin(was).inspect_err(|_| self.disk = None)
    }

    fn try_lock(&self) -> Result<Flock<File>, Notice> {
        let path = self.folder.join(LOCK);
        if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            let aside = files::put_aside(&path, "strange").map_err(|error| trouble::unusable(&path, &error))?;
            self.told_aside(Some(aside));
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| trouble::unusable(&path, &error))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
            if error == nix::errno::Errno::EWOULDBLOCK {
                trouble::in_use(&self.folder)
            } else {
                trouble::unusable(&path, &error.into())
            }
        })
    }

    fn told_aside(&self, aside: Option<PathBuf>) {
        if let Some(aside) = aside {
            let notice = trouble::strange(&aside);
            tracing::error!(%notice, "put aside");
            self.shared.tell([told(&notice)], []);
        }
    }

    /// The file is open: this life begins in it.
    fn begin(&mut self, mut was: Was) -> Result<(), Notice> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let copied = if self.begun { None } else { epoch::is_another(&self.folder, &was) };
        let (run, log, mark) = {
            let work = self.shared.lock();
            if self.begun {
                // The file that was there may be gone: its log goes on in the one that is there now, with a gap.
                (work.log.run().clone(), work.log.id().to_owned(), was.mark.max(work.log.next_mark()))
            } else {
                // A copy goes on under a name of its own: its numbers can have been given to other facts meanwhile.
                let log = copied.map_or_else(|| was.log.clone(), |_| log::new_id());
                (work.log.run().clone(), log, was.mark + work.log.next() + RESERVE)
            }
        };
        disk.begin(&run, &log, mark).map_err(|failure| trouble::of(&failure))?;
        {
            let mut work = self.shared.lock();
            if !self.begun {
                // From here on its numbers are the file's.
                work.log.is_now(log, was.mark);
            }
            work.log.written(0, Some(mark));
        }
        if let Some(why) = copied {
            tracing::warn!(why, "the store is a copy: its log begins a new epoch");
            let body = json!({ "type": "epoch_began", "why": why, "before": was.log });
            self.shared.tell([Fact::new(Class::Agent, body)], []);
        }
        if let Some(old::TakenOver { aside, jobs, unreadable }) = old::import(&self.folder, disk)? {
            for why in unreadable.iter().take(UNREADABLE_SAID_MAX) {
                tracing::warn!(why, of = unreadable.len(), "an old job record cannot be read");
            }
            let aside = aside.display().to_string();
            tracing::info!(jobs, aside, "the store of an earlier agent was taken over; its records are kept there");
            let body = json!({ "type": "store_taken_over", "jobs": jobs, "kept": aside });
            self.shared.tell([Fact::new(Class::Agent, body)], []);
            let history = self.history;
            was.jobs = disk.live_and_recent(RECENT).map_err(|failure| trouble::of(&failure))?;
            was.kept = disk.all_kept().map_err(|failure| trouble::of(&failure))?;
            disk.let_go(history).map_err(|failure| trouble::of(&failure))?;
        }
        self.recovered();
        self.sweep_leftovers(was.new);
        if self.begun {
            // Who may what is as it is in memory, whatever the file that is there now says.
            self.shared.note(|work| work.changes.book_changed = true);
        } else {
            self.shared.book.send_replace(was.book.clone());
        }
        let news = if self.begun {
            News::Anew
        } else {
            let lost = (was.next < was.mark && !was.ended_well).then(|| Gap { from: was.next, to: was.mark - 1 });
            let ended_well = was.ended_well || was.new;
            News::Opened(Box::new(Contents { jobs: was.jobs, ended_well, kept: was.kept, lost, last: was.last }))
        };
        self.begun = true;
        self.shared.lock().begun = true;
        // The desk reads its news; it has place for more than there ever is.
        let _ = self.news.try_send(news);
        Ok(())
    }

    /// Writes what waits and what is asked to be permitted.
    fn write(&mut self, probe: bool) {
        let permits = self.permits();
        let Some(disk) = &mut self.disk else { return };
        let (mut changes, opened) = {
            let mut work = self.shared.lock();
            work.take(permits)
        };
        changes.book = changes.book_changed.then(|| self.shared.book.borrow().clone());
        let told = changes.rows.last().map(|row| row.number);
        for (permit, rows) in &opened {
            changes.rows.extend(rows.iter().cloned());
            changes.jobs.insert(permit.record.id.clone(), Change::Put(permit.record.clone()));
        }
        if probe && changes.is_empty() {
            changes.mark = Some(self.shared.lock().log.next_mark());
        }
        let ended = changes.jobs.values().any(|change| !matches!(change, Change::Progress(_)));
        let written = self.shared.timed(|| disk.write(&changes));
        self.untidied += changes.rows.len() + usize::from(ended);
        match written {
            Ok(()) => {
                let mut work = self.shared.lock();
                work.log.written(told.unwrap_or(0), changes.mark);
                if changes.all_told && work.jobs == Jobs::Untold {
                    (work.jobs, work.sweep) = (Jobs::All, true);
                }
                for (permit, rows) in opened {
                    for row in &rows {
                        work.log.close(row, true);
                    }
                    permit.answer(Ok(()));
                }
                work.tell_unsaid();
                self.shared.told(&work);
                drop(work);
                self.recovered();
            }
            Err(failure) => self.not_written(&failure, changes, opened),
        }
    }

    /// The permits that are wanted: still by somebody, and under a key that is new.
    fn permits(&mut self) -> Vec<Permit> {
        let asked: Vec<_> = self.shared.lock().permits.drain(..).collect();
        let Some(disk) = &self.disk else { return Vec::new() };
        let mut wanted: Vec<Permit> = Vec::new();
        for permit in asked.into_iter().filter(|permit| !permit.reply.is_closed()) {
            let key = permit.record.idempotency_key.as_ref().filter(|_| permit.key_is_new);
            let same = wanted.iter_mut().find(|other| key.is_some() && other.record.idempotency_key.as_ref() == key);
            if let Some(other) = same {
                // Whether that one has the key is known once it is written.
                other.twins.push(permit.reply);
                continue;
            }
            match key.map_or(Ok(None), |key| self.shared.timed(|| disk.job_of_key(key))) {
                Ok(None) => wanted.push(permit),
                Ok(Some(record)) => permit.answer(Err(NotWritten::KeyTaken(Box::new(record)))),
                Err(failure) => permit.answer(Err(NotWritten::Trouble(trouble::of(&failure)))),
            }
        }
        wanted
    }

    fn not_written(&mut self, failure: &Failure, mut changes: Changes, opened: Vec<Opened>) {
        let notice = trouble::of(failure);
        for (permit, _) in &opened {
            changes.jobs.remove(&permit.record.id);
        }
        let mut work = self.shared.lock();
        work.give_back(changes);
        for (permit, rows) in opened {
            for row in &rows {
                work.log.close(row, false);
            }
            permit.answer(Err(NotWritten::Trouble(notice.clone())));
        }
        self.shared.told(&work);
        drop(work);
        if matches!(failure, Failure::Damaged(_)) {
            // Opening it again finds the damage, puts the file aside and begins anew.
            self.disk = None;
            self.shared.lock().jobs = Jobs::Lost;
            if let Err(error) = disk::put_aside(&self.folder) {
                if let Some(repeated) = self.said.say("put aside", Instant::now()) {
                    tracing::error!(repeated = repeated.0, %error, "the damaged store cannot be put aside");
                }
            }
        }
        if notice.code == trouble::FULL && self.make_room() {
            self.retry = Some((Instant::now(), RETRY_FIRST));
            return;
        }
        self.failed(&notice);
    }

    /// Removes the program of the oldest ended job. Whether there was one.
    fn make_room(&mut self) -> bool {
        let Some(disk) = &self.disk else { return false };
        let ended = disk.programs().unwrap_or_default().into_iter().filter(|(_, over)| *over).map(|(sha256, _)| sha256);
        self.programs.remove_first_of(ended)
    }

    fn failed(&mut self, notice: &Notice) {
        let wait = self.retry.map_or(RETRY_FIRST, |(_, wait)| (wait * 2).min(RETRY_LAST));
        self.retry = Some((Instant::now() + wait, wait));
        self.shared.set_trouble(Some(notice.clone()));
        if let Some(repeated) = self.said.say(&notice.code, Instant::now()) {
            tracing::error!(repeated = repeated.0, %notice, "the store");
            // In the agent's log too, as soon as it can be written.
            self.shared.tell([told(notice)], []);
        }
    }

    fn recovered(&mut self) {
        self.retry = None;
        if self.said.well(Instant::now()) {
            tracing::info!("the store works again");
        }
        self.shared.set_trouble(None);
    }

    /// While there is no file, whoever waits for it is told why.
    fn refuse_where_closed(&mut self) {
        if self.disk.is_some() {
            return;
        }
        let notice = self.shared.trouble().unwrap_or_else(trouble::closed);
        let (permits, questions) = {
            let mut work = self.shared.lock();
            (std::mem::take(&mut work.permits), std::mem::take(&mut work.questions))
        };
        for permit in permits {
            permit.answer(Err(NotWritten::Trouble(notice.clone())));
        }
        for question in questions {
            question(Err(notice.clone()));
        }
    }

    fn answer(&mut self) {
        let questions = std::mem::take(&mut self.shared.lock().questions);
        let Some(disk) = &mut self.disk else { return };
        for question in questions {
            self.shared.timed(|| question(Ok(disk)));
        }
    }

    /// Lets go of what need not be kept: rows and jobs over their bounds, programs without a job.
    fn tidy(&mut self) {
        let (unneeded, sweep, jobs_are_all) = {
            let mut work = self.shared.lock();
            (std::mem::take(&mut work.unneeded), std::mem::take(&mut work.sweep), work.jobs == Jobs::All)
        };
        for program in unneeded {
            let of_others = match (&program.unless_of_others, &self.disk) {
                (None, _) => false,
                // Nobody can say: it is looked at when all are.
                (Some(_), _) if !jobs_are_all => true,
                (Some(job), Some(disk)) => self.shared.timed(|| disk.others_have(&program.sha256, job)).unwrap_or(true),
                (Some(_), None) => true,
            };
            if !of_others {
                self.shared.timed(|| self.programs.remove(&program.sha256));
            }
        }
        let Some(disk) = &mut self.disk else { return };
        if self.retry.is_some() {
            self.shared.lock().sweep |= sweep;
            return;
        }
        let mut forgotten = sweep;
        if self.untidied >= TIDY_EVERY_ROWS {
            match self.shared.timed(|| disk.let_go(self.history)) {
                Ok(more) => {
                    self.untidied = if more { TIDY_EVERY_ROWS } else { 0 };
                    self.said_untidy.well(Instant::now());
                }
                Err(failure) => {
                    let notice = trouble::of(&failure);
                    if let Some(repeated) = self.said_untidy.say(&notice.code, Instant::now()) {
                        tracing::warn!(repeated = repeated.0, %notice, "old rows cannot be let go");
                    }
                }
            }
            forgotten = true;
        }
        if forgotten && jobs_are_all {
            if let Ok(needed) = self.shared.timed(|| disk.programs()) {
                let needed = needed.into_iter().map(|(sha256, _)| sha256).collect();
                self.shared.timed(|| self.programs.keep_only(&needed));
            }
        }
    }

    /// What a crash left behind. Programs that no job in the file has are left only where the file can have them all: a
    /// file of this life's own waits for the desk, and one that is new beside programs is not the one they were in.
    fn sweep_leftovers(&self, new: bool) {
        for path in FOLDERS.iter().flat_map(|name| files::files(&self.folder.join(name))) {
            if path.extension().is_some_and(|extension| extension == files::PART) && !self.programs.is_arriving(&path) {
                // One that cannot be removed is tried at the next start.
                let _ = std::fs::remove_file(path);
            }
        }
        let all = !(self.begun || new && self.programs.are_there());
        let mut work = self.shared.lock();
        if work.jobs != Jobs::Lost {
            work.jobs = if all { Jobs::All } else { Jobs::Untold };
        }
        work.sweep = work.jobs == Jobs::All;
    }

    fn end(&mut self, next: u64) {
        if let Some(disk) = self.disk.as_mut().filter(|_| self.retry.is_none()) {
            if let Err(failure) = disk.end(next) {
                tracing::error!(notice = %trouble::of(&failure), "the end cannot be written down");
            }
        }
    }
}
