//! The clerk: the task that owns the job records, and writes them down before anything is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Machine;
use drivers::request::Job;
use drivers::snapshot::JobPhase;
use drivers::{Answer, Event, EventKind, Notice, Request};
use tokio::sync::{mpsc, watch};

use super::check::{Checked, check, thin};
use super::refusal::{self, Refusal, denied};
use super::{Action, Ask, QUEUE_MAX, Reply, Submission};
use crate::capacity::Queue;
use crate::jobs::{Counts, JobState, Jobs, Record, Spool, Store, new_id};
use crate::status::likely_cause;
use crate::surroundings;

/// How often the records of running jobs take over the machines' numbers, for whoever reads them.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// How often those numbers are written down as well, besides once the first line is known to be executed: after a power
/// cut a job can go on from there. Some 10 kB each time, because an SD card does not last for ever.
pub(crate) const KEEP_EVERY: Duration = Duration::from_secs(20);

/// How long the event that tells of a job's end may be under way before it counts as missed.
const MISSED_AFTER: Duration = Duration::from_secs(2);

/// What is to be done about a request.
enum Decision {
    /// Nothing more.
    Done(Arc<Record>),
    /// Ask the machine.
    Ask(Machine, Request, Arc<Record>),
    /// Start the job, which is armed.
    Start(Machine, Arc<Record>),
}

/// The task that owns the records.
pub(super) struct Clerk {
    pub(super) store: Store,
    pub(super) publish: watch::Sender<Arc<Jobs>>,
    pub(super) queues: BTreeMap<String, watch::Sender<Queue>>,
    pub(super) machines: Arc<[Machine]>,
    pub(super) spool: Spool,
    pub(super) asks: mpsc::Sender<Ask>,
}

impl Clerk {
    pub(super) async fn work(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut count = tokio::time::interval(COUNT_EVERY);
        let mut keep = tokio::time::interval(KEEP_EVERY);
        self.published();
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => self.take(ask),
                    None => return,
                },
                _ = count.tick() => self.count(),
                _ = keep.tick() => self.keep(|_| true),
            }
        }
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Submit(submission, answer) => {
                let record = self.submit(submission);
                let _ = answer.send(record);
            }
            Ask::Checked(job, checked) => self.checked(&job, *checked),
            Ask::Act(job, action, answer) => self.act(&job, action, answer),
            Ask::Started(job, started, answer) => {
                let _ = answer.send(self.started(&job, started));
            }
            Ask::Happened(machine, event) => self.happened(&machine, event),
        }
    }

    fn put(&mut self, record: Record) -> Arc<Record> {
        let id = record.id.clone();
        self.store.put(record);
        self.published();
        self.store.jobs()[&id].clone()
    }

    fn published(&self) {
        let jobs = self.store.jobs();
        self.publish.send_replace(Arc::new(jobs.clone()));
        for (machine, queue) in &self.queues {
            let waiting: Vec<_> =
                jobs.values().filter(|job| job.machine == *machine && job.state == JobState::Queued).collect();
            let running = jobs.values().find(|job| job.machine == *machine && job.state.is_on_machine());
            let queue_now = Queue {
                length: waiting.len() as u32,
                length_max: QUEUE_MAX,
                running_s: running.and_then(|job| job.time_s),
                waiting_s: waiting.iter().map(|job| job.time_s).sum(),
            };
            queue.send_if_modified(|queue| {
                let changed = *queue != queue_now;
                *queue = queue_now;
                changed
            });
        }
    }

    fn submit(&mut self, submission: Submission) -> Result<Arc<Record>, Refusal> {
        let machine = self.machine(&submission.machine)?;
        let (profile, machine) = (machine.profile().clone(), machine.name().to_owned());
        if let Some(key) = &submission.idempotency_key {
            let known = self.store.jobs().values().find(|job| job.idempotency_key.as_ref() == Some(key));
            if let Some(known) = known {
                let same = known.sha256 == submission.program.sha256 && known.machine == submission.machine;
                return if same { Ok(known.clone()) } else { Err(Refusal::Conflict(refusal::key_reused())) };
            }
        }
        let waiting = self.store.jobs().values().filter(|job| job.machine == machine && !job.state.is_over()).count();
        if waiting as u32 >= QUEUE_MAX {
            return Err(Refusal::Conflict(refusal::queue_full()));
        }
        let now = jiff::Timestamp::now();
        let record = Record {
            id: new_id(now),
            machine,
            name: submission.name.chars().filter(|letter| !letter.is_control()).take(200).collect(),
            state: JobState::Checking,
            reason: None,
            submitted_at: stamp(now),
            started_at: None,
            ended_at: None,
            sha256: submission.program.sha256,
            bytes: submission.program.bytes,
            lines: 0,
            commands: 0,
            time_s: None,
            heating_s: None,
            progress: Counts::default(),
            first_refused: None,
            first_ignored: None,
            energy_kwh: None,
            link: None,
            link_cause: None,
            findings: Vec::new(),
            idempotency_key: submission.idempotency_key,
            time_line: Vec::new(),
        };
        let (id, path, asks) = (record.id.clone(), self.spool.path(&record.sha256), self.asks.clone());
        let record = self.put(record);
        tokio::task::spawn_blocking(move || {
            let checked = drivers::priority::in_background(|| check(&path, &profile));
            // A desk that is gone needs no answer.
            let _ = asks.blocking_send(Ask::Checked(id, Box::new(checked)));
        });
        Ok(record)
    }

    fn checked(&mut self, id: &str, checked: Checked) {
        let Some(job) = self.store.jobs().get(id).filter(|job| job.state == JobState::Checking) else { return };
        let mut record = Record::clone(job);
        match checked {
            Checked::Fit(info, findings) => {
                record.state = JobState::Queued;
                record.lines = info.lines;
                record.commands = info.commands;
                record.time_s = Some(info.time_s);
                record.heating_s = Some(info.heating_s);
                record.time_line = thin(info.time_line.points());
                record.findings = findings;
            }
            Checked::Unfit(reason, findings) => {
                record.state = JobState::Refused;
                record.reason = Some(reason);
                record.findings = findings;
                record.ended_at = Some(stamp(jiff::Timestamp::now()));
            }
        }
        self.put(record);
    }

    /// Does what needs no machine. A machine is asked on a task of its own: one that is slow to answer keeps nobody
    /// else waiting.
    fn act(&mut self, id: &str, action: Action, answer: Reply) {
        match self.decide(id, action) {
            Err(refusal) => drop(answer.send(Err(refusal))),
            Ok(Decision::Done(record)) => drop(answer.send(Ok(record))),
            Ok(Decision::Ask(machine, request, record)) => {
                tokio::spawn(async move {
                    let asked = machine.ask(request).await;
                    drop(answer.send(asked.map(|()| record).map_err(denied)));
                });
            }
            Ok(Decision::Start(machine, record)) => {
                let (program, asks) = (self.spool.path(&record.sha256), self.asks.clone());
                let order = Job { id: record.id.clone(), lines: record.lines, from_line: 1 };
                tokio::spawn(async move {
                    let started = machine.start(order, program).await;
                    // A desk that is gone needs no answer.
                    let _ = asks.send(Ask::Started(record.id.clone(), started, answer)).await;
                });
            }
        }
    }

    fn decide(&mut self, id: &str, action: Action) -> Result<Decision, Refusal> {
        let job = self.store.jobs().get(id).cloned().ok_or_else(|| Refusal::Unknown(refusal::no_such_job()))?;
        let machine = self.machine(&job.machine)?.clone();
        let request = match action {
            Action::Start if job.state != JobState::Queued => {
                return Err(Refusal::Conflict(refusal::not_startable(job.state)));
            }
            Action::Start => {
                // The state on disk comes first: whatever happens next, this job is not started a second time.
                let mut record = Record::clone(&job);
                record.state = JobState::Armed;
                record.started_at = Some(stamp(jiff::Timestamp::now()));
                return Ok(Decision::Start(machine, self.put(record)));
            }
            Action::Cancel if matches!(job.state, JobState::Queued | JobState::Checking) => {
                let mut record = Record::clone(&job);
                record.state = JobState::Cancelled;
                record.ended_at = Some(stamp(jiff::Timestamp::now()));
                return Ok(Decision::Done(self.put(record)));
            }
            Action::Cancel if job.state == JobState::Cancelled => return Ok(Decision::Done(job)),
            _ if !job.state.is_on_machine() => return Err(Refusal::Conflict(refusal::not_running(job.state))),
            Action::Pause => Request::Pause,
            Action::Resume => Request::Resume,
            Action::Cancel => Request::Cancel,
        };
        Ok(Decision::Ask(machine, request, job))
    }

    /// The machine has said whether it takes a job.
    fn started(&mut self, id: &str, started: Answer) -> Result<Arc<Record>, Refusal> {
        let job = self.store.jobs().get(id).cloned().ok_or_else(|| Refusal::Unknown(refusal::no_such_job()))?;
        // What the machine did since then is newer than its answer.
        let record = if job.state == JobState::Armed {
            let mut record = Record::clone(&job);
            record.state = if started.is_ok() { JobState::Running } else { JobState::Queued };
            // A machine that took nothing leaves the job waiting.
            record.started_at = record.started_at.filter(|_| started.is_ok());
            self.put(record)
        } else {
            job
        };
        started.map(|()| record).map_err(denied)
    }

    fn happened(&mut self, machine: &str, event: Event) {
        if let EventKind::Job { job, phase, notice } = event.kind {
            self.went_on(machine, &job, phase, notice.as_ref());
        }
    }

    /// A job does something else now.
    fn went_on(&mut self, machine: &str, job: &str, phase: JobPhase, notice: Option<&Notice>) {
        let Some(known) = self.store.jobs().get(job).filter(|known| known.machine == machine && !known.state.is_over())
        else {
            return;
        };
        let mut record = Record::clone(known);
        record.state = phase.into();
        if let Some(notice) = notice {
            record.reason = Some(notice.into());
        } else if record.state == JobState::Running || record.state == JobState::Finished {
            record.reason = None;
        }
        if record.state.is_over() {
            record.ended_at = Some(stamp(jiff::Timestamp::now()));
        }
        self.counted(&mut record);
        let over = record.state.is_over();
        self.put(record);
        if over {
            let jobs = self.store.jobs();
            self.spool.keep_only(|sha256| jobs.values().any(|job| job.sha256 == sha256));
        }
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
            record.first_refused.clone_from(&job.first_refused);
            record.first_ignored.clone_from(&job.first_ignored);
            record.energy_kwh = job.energy_kwh;
            record.link = Some(snapshot.job_link);
            record.link_cause = likely_cause(&snapshot, surroundings::read()).as_ref().map(Into::into);
        }
    }

    /// Writes down how far the running jobs are that are `due`, where that has changed.
    fn keep(&mut self, due: impl Fn(&Record) -> bool) {
        let running: Vec<_> = self.store.jobs().values().filter(|job| job.state.is_on_machine()).cloned().collect();
        for job in running.iter().filter(|job| due(job)) {
            let mut record = Record::clone(job);
            self.counted(&mut record);
            if record.progress.executed_line > job.progress.executed_line {
                self.put(record);
            }
        }
    }

    /// Publishes the numbers of running jobs. A job whose end was missed among a flood of events is found ended here.
    fn count(&mut self) {
        let machines = self.machines.clone();
        for (machine, snapshot) in machines.iter().map(|machine| (machine, machine.snapshot())) {
            let Some(job) = &snapshot.job else { continue };
            if job.ended_at.is_some_and(|ended_at| snapshot.at.since(ended_at) > MISSED_AFTER) {
                let notice = snapshot.notice.as_ref().filter(|_| job.phase != JobPhase::Finished);
                self.went_on(machine.name(), &job.job, job.phase, notice);
            }
        }
        self.keep(|job| job.progress.executed_line == 0);
        let mut jobs = self.store.jobs().clone();
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

    fn machine(&self, name: &str) -> Result<&Machine, Refusal> {
        self.machines
            .iter()
            .find(|machine| machine.name() == name)
            .ok_or_else(|| Refusal::Unknown(refusal::no_such_machine()))
    }
}

/// RFC 3339, to the millisecond.
fn stamp(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}
