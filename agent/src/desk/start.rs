//! A start, from the person's word to the machine's: fresh or void.
//!
//! ```text
//! asked ─► program read through, where it will lie ─► armed on the disk ─► still wanted? ─► machine
//!                                                          └ no: void, and the job waits as before
//! ```
//!
//! Each step may take as long as the disk takes. Whether the start is still wanted is asked behind the last of them, by
//! the machine's own thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drivers::machine::{Machine, Program};
use drivers::permit::StillGood;
use drivers::{Answer, Denied, Notice, Permit};
use tokio::sync::mpsc;

use super::clerk::{Clerk, stamp};
use super::refusal::{self, denied};
use super::{Ask, Refusal, Reply, facts};
use crate::desk::Action;
use crate::host::clock;
use crate::jobs::gate::{Missing, Verified};
use crate::jobs::{JobState, Record};
use crate::place;
use crate::store::{Asked, Change, Fact, NotWritten, Spooled, Store, Who};

/// How long a start is good for. Whoever pressed a button stands at the machine this long, and not longer.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// Whether a request is still wanted: its client is there, and it is not too long ago.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) asked: Asked,
    pub(super) gone: Arc<AtomicBool>,
}

impl Wanted {
    /// Whether it still is when a machine is about to be told.
    pub(super) fn still_good(&self) -> StillGood {
        let wanted = self.clone();
        Arc::new(move || wanted.is_fresh())
    }

    pub(super) fn is_fresh(&self) -> bool {
        !self.gone.load(Ordering::Acquire) && self.asked.age() < FRESH_FOR
    }
}

/// Whether the agent was awake all the time. While it was stopped or the computer slept, requests waited in the system,
/// and nobody knows for how long: a start that is read behind that is not fresh, until it is certain that what waited
/// has been read.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Beats>);

#[derive(Debug, Default)]
struct Beats {
    /// When the agent was last known to be awake. Zero: it begins.
    awake_us: u64,
    /// Until when what is read may be from before a sleep, and how many beats must come besides.
    distrust_until_us: u64,
    more: u32,
}

impl Pulse {
    /// The desk is awake.
    pub(super) fn beat(&self) {
        self.beat_at(clock::since_boot_us());
    }

    fn beat_at(&self, now_us: u64) {
        let mut beats = self.beats();
        // The first beat behind a sleep finds the sleep, and is none of those that show that it is over.
        if !beats.is_awake(now_us) {
            beats.more = beats.more.saturating_sub(1);
        }
    }

    /// When something that is read now was asked at the earliest: now, or nobody knows.
    pub(super) fn asked(&self) -> Asked {
        if self.trusts_at(clock::since_boot_us()) { Asked::now() } else { Asked::long_ago() }
    }

    fn trusts_at(&self, now_us: u64) -> bool {
        let mut beats = self.beats();
        beats.is_awake(now_us);
        now_us >= beats.distrust_until_us && beats.more == 0
    }

    /// One lock for all of it: between finding a sleep and distrusting what is read behind it nobody may ask.
    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beats {
    /// Notes that the agent is awake. Whether it slept until now.
    fn is_awake(&mut self, now_us: u64) -> bool {
        let before = std::mem::replace(&mut self.awake_us, now_us);
        let slept = before > 0 && now_us.saturating_sub(before) > ASLEEP_AFTER_US;
        if slept {
            self.distrust_until_us = now_us + DISTRUST_US;
            self.more = DISTRUST_BEATS;
        }
        slept
    }
}

/// Between two beats.
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(500);

/// Without a beat for this long the agent was not awake: a loaded Pi is late by less.
const ASLEEP_AFTER_US: u64 = 5_000_000;

/// How long behind a sleep what is read may be from before it: the system hands over at once what waited.
const DISTRUST_US: u64 = 1_000_000;

/// Beats that must come behind a sleep as well. A computer that is busy reads late what waited, and beats late too: both
/// take their turns in the same runtime, and who comes to its turn so often has let everybody else come to theirs.
const DISTRUST_BEATS: u32 = 3;

/// A submission that was written, or was not.
pub(super) struct Submitted {
    pub(super) record: Arc<Record>,
    pub(super) program: Spooled,
    pub(super) written: Result<(), NotWritten>,
    pub(super) reply: Reply,
}

/// Writes a submission down.
pub(super) async fn submit(
    store: Store,
    record: Arc<Record>,
    program: Spooled,
    who: Option<Who>,
    desk: mpsc::Sender<Ask>,
    reply: Reply,
) {
    let key_is_new = record.idempotency_key.is_some();
    let written = store.permit(vec![facts::submitted(&record, who)], record.clone(), key_is_new).await;
    let submitted = Submitted { record, program, written, reply };
    // A desk that is gone needs no answer.
    let _ = desk.send(Ask::Submitted(Box::new(submitted))).await;
}

/// What came of arming a job.
pub(super) struct Armed {
    pub(super) id: String,
    /// The program as it was read through.
    pub(super) outcome: Result<Program, NotArmed>,
    pub(super) wanted: Wanted,
    pub(super) reply: Reply,
}

/// Why a job was not armed.
pub(super) enum NotArmed {
    /// Its program is not what was checked.
    Program(Notice),
    /// It does not fit where the machine's zero is now: that can be put right, and the job waits.
    Place(Notice),
    /// It is not on the disk that it is, or it may not be.
    Store(Notice),
    /// Something else is missing by now.
    Missing(Vec<Missing>),
    /// Whoever asked has gone, or it took too long.
    Stale,
}

/// A start that was asked for.
pub(super) struct Start {
    pub(super) machine: Machine,
    pub(super) record: Arc<Record>,
    pub(super) wanted: Wanted,
    pub(super) who: Option<Who>,
    pub(super) reply: Reply,
}

/// Reads the program through and writes down that the job is armed.
pub(super) async fn arm(start: Start, store: Store, desk: mpsc::Sender<Ask>) {
    let Start { machine, record, wanted, who, mut reply } = start;
    let id = record.id.clone();
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(FRESH_FOR, armed(&machine, &record, &wanted, who, &store)) => {
            outcome.unwrap_or(Err(NotArmed::Stale))
        }
        () = reply.closed() => Err(NotArmed::Stale),
    };
    let _ = desk.send(Ask::Armed(Box::new(Armed { id, outcome, wanted, reply }))).await;
}

async fn armed(
    machine: &Machine,
    record: &Arc<Record>,
    wanted: &Wanted,
    who: Option<Who>,
    store: &Store,
) -> Result<Program, NotArmed> {
    let (programs, sha256, bytes) = (store.programs().clone(), record.sha256.clone(), record.bytes);
    let verified = tokio::task::spawn_blocking(move || programs.verify(&sha256, bytes)).await;
    let path = verified.map_err(|_| NotArmed::Stale)?.map_err(NotArmed::Program)?;
    place::may_start(machine, path.clone()).await.map_err(NotArmed::Place)?;
    if !wanted.is_fresh() {
        return Err(NotArmed::Stale);
    }
    let fact: Fact = facts::asked(Action::Start, record, who);
    match store.permit(vec![fact], record.clone(), false).await {
        Ok(()) if wanted.is_fresh() => {
            let (sha256, checked_lines) = (Some(record.sha256.clone()), Some(record.lines));
            Ok(Program { path, sha256, checked_lines })
        }
        Ok(()) => Err(NotArmed::Stale),
        Err(NotWritten::Trouble(notice)) => Err(NotArmed::Store(notice)),
        Err(NotWritten::KeyTaken(_)) => Err(NotArmed::Stale),
    }
}

impl Clerk {
    /// A job is armed on the disk, or is not. Only now the machine is told, and only if that is still wanted.
    pub(super) fn armed(&mut self, armed: Armed) {
        let Armed { id, outcome, wanted, reply } = armed;
        self.arming.remove(&id);
        let Some(job) = self.jobs.get(&id).cloned() else {
            // It was deleted meanwhile: that is what is true.
            self.store.tell([], [(id, Change::Delete)]);
            return drop(reply.send(Err(Refusal::Unknown(refusal::no_such_job()))));
        };
        let outcome = outcome.and_then(|program| match job.state {
            JobState::Queued if wanted.is_fresh() => {
                // What was true when it was asked for may not be true any more.
                let verified = program.sha256.as_deref().map_or(Verified::NotYet, Verified::Has);
                let permit = self.may_start(&job, verified, &wanted).map_err(NotArmed::Missing)?;
                Ok((permit, program))
            }
            _ => Err(NotArmed::Stale),
        });
        match outcome {
            Ok((permit, program)) => self.start(&job, permit, program, reply),
            Err(not_armed) => self.not_armed(&job, not_armed, reply),
        }
    }

    fn start(&mut self, job: &Record, permit: Permit, program: Program, reply: Reply) {
        let machine = match self.machine(&job.machine) {
            Ok(machine) => machine.clone(),
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        let mut record = job.clone();
        record.state = JobState::Armed;
        record.started_at = Some(stamp(jiff::Timestamp::now()));
        // It is on the disk already.
        self.remember(Arc::new(record));
        let (asks, id) = (self.asks.clone(), job.id.clone());
        tokio::spawn(async move {
            let started = machine.start(permit, program).await;
            // A desk that is gone needs no answer.
            let _ = asks.send(Ask::Started(id, started, reply)).await;
        });
    }

    /// The job is what it was. The disk is told so, because it may have it as armed.
    fn not_armed(&mut self, job: &Record, why: NotArmed, reply: Reply) {
        let mut record = job.clone();
        let refusal = match why {
            NotArmed::Stale if record.state == JobState::Queued => {
                let notice = Notice::from(Denied::Stale);
                self.put(record, [facts::start_void(job, &notice)]);
                Refusal::Conflict(notice)
            }
            NotArmed::Stale => {
                let state = record.state;
                self.put(record, []);
                Refusal::Conflict(refusal::not_startable(state))
            }
            NotArmed::Place(notice) => {
                self.put(record, [facts::start_void(job, &notice)]);
                Refusal::Conflict(notice)
            }
            NotArmed::Missing(missing) => {
                let told = missing.first().map(|first| facts::start_void(job, &first.notice()));
                self.put(record, told);
                Refusal::Missing(missing)
            }
            NotArmed::Store(notice) => {
                self.put(record, []);
                Refusal::Store(notice)
            }
            NotArmed::Program(notice) if notice.code == "store.unreadable" => Refusal::Store(notice),
            NotArmed::Program(notice) => {
                record.state = JobState::Refused;
                record.reason = Some(notice.clone());
                record.ended_at = Some(stamp(jiff::Timestamp::now()));
                let told = facts::became(&record);
                self.put(record, [told]);
                Refusal::Conflict(notice)
            }
        };
        let _ = reply.send(Err(refusal));
    }

    /// The machine has said whether it takes a job.
    pub(super) fn started(&mut self, id: &str, started: Answer) -> Result<Arc<Record>, Refusal> {
        let job = self.jobs.get(id).cloned().ok_or_else(|| Refusal::Unknown(refusal::no_such_job()))?;
        // What the machine did since then is newer than its answer.
        let record = if job.state == JobState::Armed {
            let mut record = Record::clone(&job);
            record.state = if started.is_ok() { JobState::Running } else { JobState::Queued };
            // A machine that took nothing leaves the job waiting.
            record.started_at = record.started_at.filter(|_| started.is_ok());
            let told = started.err().map(|denied| facts::start_void(&job, &denied.into()));
            self.put(record, told)
        } else {
            job
        };
        started.map(|()| record).map_err(denied)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_start_that_waited_in_the_system_while_the_agent_was_stopped_is_not_fresh() {
        let pulse = Pulse::default();
        pulse.beat_at(1_000_000);
        assert!(pulse.trusts_at(1_400_000) && pulse.trusts_at(5_000_000), "awake");
        assert!(!pulse.trusts_at(31_000_000), "read first thing behind a sleep");
        assert!(!pulse.trusts_at(31_500_000), "and right behind it");
    }

    #[test]
    fn a_start_from_before_a_sleep_was_fresh_because_the_busy_computer_read_it_more_than_a_second_behind() {
        let pulse = Pulse::default();
        pulse.beat_at(1_000_000);
        pulse.beat_at(8_000_000);
        // The first beat found the sleep; the computer is so busy that the next comes after two seconds.
        assert!(!pulse.trusts_at(9_900_000));
        for at_us in [10_000_000, 10_500_000, 11_000_000] {
            assert!(!pulse.trusts_at(at_us));
            pulse.beat_at(at_us);
        }
        assert!(pulse.trusts_at(11_000_001));
    }

    #[test]
    fn a_start_that_was_read_between_finding_a_sleep_and_noting_it_was_fresh() {
        // Two threads wake together; each round has its own sleep.
        let pulse = Pulse::default();
        pulse.beat_at(1);
        for round in 1..2_000_u64 {
            let woke_us = round * 100_000_000;
            let trusted = std::thread::scope(|threads| {
                threads.spawn(|| pulse.beat_at(woke_us));
                threads.spawn(|| pulse.trusts_at(woke_us + 1)).join().unwrap()
            });
            assert!(!trusted, "round {round}");
            (1..=8).for_each(|beat| pulse.beat_at(woke_us + beat * 500_000));
            assert!(pulse.trusts_at(woke_us + 4_000_001));
        }
    }

    #[test]
    fn a_start_whose_client_has_gone_is_not_wanted() {
        let wanted = Wanted { asked: Asked::now(), gone: Arc::default() };
        assert!(wanted.is_fresh());
        wanted.gone.store(true, Ordering::Release);
        assert!(!wanted.is_fresh());
    }
}
