//! What machines tell of jobs: taken over into their records, and written down.

use std::sync::Arc;
use std::time::Duration;

use drivers::snapshot::JobPhase;
use drivers::{Event, EventKind, Moment, Notice};

use super::clerk::{Clerk, stamp};
use super::facts;
use crate::host::clock;
use crate::host::surroundings;
use crate::jobs::{Counts, JobState, Record};
use crate::status::likely_cause;
use crate::store::{Change, Fact};

/// How often the records of running jobs take over the machines' numbers, for whoever reads them.
pub(super) const COUNT_EVERY: Duration = Duration::from_millis(500);

/// How often those numbers are written down as well, besides those of the first lines: after a power cut a job can go on
/// from there. Some kilobytes each time, because an SD card does not last for ever.
pub(crate) const KEEP_EVERY: Duration = Duration::from_secs(20);

/// Lines at a program's beginning up to which each count that is new is written down: there it names its units and its
/// feed, and no job can go on from before those. So many writes at most.
const FIRST_LINES: u64 = 50;

/// How long the event that tells of a job's end may be under way before it counts as missed.
const MISSED_AFTER: Duration = Duration::from_secs(2);

/// A clock that moved by less against the time since the start of the computer was not set.
const CLOCK_SET_BY_MS: i64 = 1000;

impl Clerk {
    pub(super) fn happened(&mut self, machine: &str, event: Event) {
        let Ok(known) = self.machine(machine) else { return };
        let told = facts::event(machine, known.wall_time(Moment::ZERO), &event);
        match event.kind {
            EventKind::Job { job, phase, notice } => self.went_on(machine, &job, phase, notice.as_ref(), Some(told)),
            _ => self.store.tell([told], []),
        }
    }

    /// A job does something else now.
    fn went_on(&mut self, machine: &str, job: &str, phase: JobPhase, notice: Option<&Notice>, told: Option<Fact>) {
        let Some(known) = self.jobs.get(job).filter(|known| known.machine == machine && !known.state.is_over()) else {
            return self.store.tell(told, []);
        };
        let mut record = Record::clone(known);
        record.state = phase.into();
        if let Some(notice) = notice {
            record.reason = Some(notice.clone());
        } else if record.state == JobState::Running || record.state == JobState::Finished {
            record.reason = None;
        }
        if record.state.is_over() {
            record.ended_at = Some(stamp(jiff::Timestamp::now()));
        }
        self.counted(&mut record);
        let told = told.unwrap_or_else(|| facts::became(&record));
        self.put(record, [told]);
    }

    /// Takes over the machine's numbers.
    fn counted(&self, record: &mut Record) {
        let Ok(machine) = self.machine(&record.machine) else { return };
        let snapshot = machine.snapshot();
        if let Some(job) = snapshot.job.as_ref().filter(|job| job.job == record.id) {
            record.progress = Counts {
                sent: job.sent,
                accepted: job.accepted,
                executed: job.executed,
                resends: job.resends,
                executed_line: job.executed_line,
                refused: job.refused,
                ignored: job.ignored,
            };
            record.unsure = job.unsure;
            record.first_refused.clone_from(&job.first_refused);
            record.first_ignored.clone_from(&job.first_ignored);
            record.energy_kwh = job.energy_kwh;
            record.link = Some(snapshot.job_link);
            record.link_cause = likely_cause(&snapshot, surroundings::read());
        }
    }

    /// Writes down how far the running jobs are that are `due`, where that has changed.
    pub(super) fn keep(&mut self, due: impl Fn(&Record) -> bool) {
        let running: Vec<_> = self.jobs.values().filter(|job| job.state.is_on_machine()).cloned().collect();
        for job in running.iter().filter(|job| due(job)) {
            let mut record = Record::clone(job);
            self.counted(&mut record);
            if record.progress.executed_line > job.progress.executed_line {
                let record = Arc::new(record);
                self.store.tell([], [(record.id.clone(), Change::Progress(record.clone()))]);
                self.remember(record);
            }
        }
    }

    /// The clock was set: the times of jobs that are under way follow it, where they were taken by this agent. Their order
    /// is that of the log's numbers.
    pub(super) fn follow_clock(&mut self) {
        let offset_ms = clock::wall_ms() - i64::try_from(clock::since_boot_us() / 1000).unwrap_or(0);
        let by_ms = offset_ms - std::mem::replace(&mut self.clock_offset_ms, offset_ms);
        if by_ms.abs() < CLOCK_SET_BY_MS {
            return;
        }
        self.store.tell([facts::clock_set(by_ms)], []);
        let under_way = self.jobs.values().filter(|job| !job.state.is_over() && self.own.contains(&job.id));
        let moved: Vec<_> = under_way.map(|job| job.moved_in_time(by_ms)).collect();
        for record in moved {
            self.put(record, []);
        }
    }

    /// Publishes the numbers of running jobs. A job whose end was missed among a flood of events is found ended here.
    pub(super) fn count(&mut self) {
        let machines = self.machines.clone();
        for (machine, snapshot) in machines.iter().map(|machine| (machine, machine.snapshot())) {
            let Some(job) = &snapshot.job else { continue };
            let missed = job.ended_at.is_some_and(|ended_at| snapshot.at.since(ended_at) > MISSED_AFTER);
            if missed && self.jobs.get(&job.job).is_some_and(|known| !known.state.is_over()) {
                let notice = snapshot.notice.as_ref().filter(|_| job.phase != JobPhase::Finished);
                self.went_on(machine.name(), &job.job, job.phase, notice, None);
            }
        }
        self.keep(|job| job.progress.executed_line <= FIRST_LINES);
        let mut jobs = self.jobs.clone();
        let mut changed = false;
        for job in jobs.values_mut().filter(|job| job.state.is_on_machine()) {
            let mut record = Record::clone(job);
            self.counted(&mut record);
            changed |= record.progress != job.progress;
            *job = Arc::new(record);
        }
        if changed {
            self.publish.send_replace(Arc::new(jobs));
        }
    }
}

#[cfg(test)]
mod test {
    use std::collections::BTreeMap;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::config;
    use crate::jobs::Jobs;
    use crate::jobs::test::record;
    use crate::store::{Cursor, Item, Store};

    /// An hour, in milliseconds.
    const HOUR: i64 = 3_600_000;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_clock_that_was_set_either_way_made_jobs_end_before_they_began() {
        let home = tempfile::tempdir().unwrap();
        let (store, mut news) = Store::open(&config::Store::at(home.path())).await.unwrap();
        let (asks, _asked) = mpsc::channel(8);
        let (publish, _jobs) = watch::channel(Arc::new(Jobs::new()));
        let mut clerk = Clerk::new(store.clone(), String::new(), Arc::new([]), BTreeMap::new(), publish, asks);
        clerk.hear(news.recv().await.unwrap());
        let submitted_at = "2026-12-01T10:00:00.000Z".to_owned();
        for id in ["own", "of the life before", "over"] {
            let state = if id == "over" { JobState::Finished } else { JobState::Queued };
            clerk.remember(Arc::new(Record { submitted_at: submitted_at.clone(), ..record(id, state) }));
        }
        clerk.own.extend(["own".to_owned(), "over".to_owned()]);
        let at = |clerk: &Clerk, id: &str| clerk.jobs[id].submitted_at.clone();
        // Nothing was set: what little the clocks differ by is no jump.
        clerk.follow_clock();
        assert_eq!(at(&clerk, "own"), submitted_at);
        for (by, moved) in [(HOUR, "2026-12-01T11:00:0"), (-2 * HOUR, "2026-12-01T09:00:0")] {
            // As if the clock had been so much further back until now.
            clerk.clock_offset_ms -= by;
            clerk.follow_clock();
            let own = at(&clerk, "own");
            // To the second, whatever this computer's own clock does meanwhile.
            assert!(own.starts_with(moved) || own.contains(":59:59"), "{own}");
            assert_eq!(
                [at(&clerk, "of the life before"), at(&clerk, "over")],
                [submitted_at.clone(), submitted_at.clone()]
            );
        }
        let told = store.read(&Cursor::default(), 100).await.unwrap();
        let told = told.items.iter().filter_map(|item| match item {
            Item::Row(row) => Some(row.document()),
            Item::Gap(_) => None,
        });
        let jumps: Vec<_> = told.filter(|row| row["type"] == "clock_set").collect();
        let by: Vec<_> = jumps.iter().map(|row| (row["by_ms"].as_f64().unwrap() / HOUR as f64).round()).collect();
        assert_eq!(by, [1.0, -2.0]);
        assert!(jumps[0]["number"].as_u64() < jumps[1]["number"].as_u64(), "order comes from numbers");
    }
}
