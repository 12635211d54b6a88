//! The clerk: the task that owns the jobs. What has happened it tells the store; what may happen it has written first.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use drivers::machine::Machine;
use drivers::request::Calming;
use drivers::{Permit, Request};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, mpsc, watch};

use super::check::{Checked, check, thin};
use super::follow::{COUNT_EVERY, KEEP_EVERY};
use super::refusal::{self, Refusal, denied};
use super::start::{self, Start, Submitted, Wanted};
use super::{Action, Ask, QUEUE_MAX, Reply, Submission, facts, passage};
use crate::capacity::Queue;
use crate::host::clock;
use crate::jobs::gate::{self, Missing, OutOfService, Verified};
use crate::jobs::{Counts, JobState, Jobs, Record, new_id};
use crate::store::{Change, Contents, Fact, News, NotWritten, Store, Who};

/// Jobs that are over and stay in memory. Older ones are read from the store.
const RECENT: usize = 100;

/// Programs that are checked at once: reading one takes a core.
const CHECKS_AT_ONCE: usize = 2;

/// Under which name the store keeps which configuration the agent had.
const CONFIGURATION: &str = "configuration";

/// What is to be done about a request.
enum Decision {
    /// Nothing more.
    Done(Arc<Record>),
    /// Ask the machine for what only calms it.
    Calm(Box<Machine>, Calming, Arc<Record>),
    /// Ask the machine for what the gate gives leave to.
    Ask(Box<Machine>, Permit, Arc<Record>),
    /// Arm the job, which is to be started.
    Arm(Arc<Record>),
}

/// The task that owns the jobs.
pub(super) struct Clerk {
    pub(super) store: Store,
    configuration: String,
    pub(super) jobs: Jobs,
    pub(super) publish: watch::Sender<Arc<Jobs>>,
    queues: BTreeMap<String, watch::Sender<Queue>>,
    pub(super) machines: Arc<[Machine]>,
    /// SHA-256 of each machine's profile.
    profiles: BTreeMap<String, String>,
    /// Machines that somebody took out of service.
    pub(super) out_of_service: BTreeMap<String, OutOfService>,
    pub(super) asks: mpsc::Sender<Ask>,
    checks: Arc<Semaphore>,
    /// Whether the store has said what is in it.
    opened: bool,
    /// Jobs whose start is being written.
    pub(super) arming: HashSet<String>,
    /// Jobs that came in this life of the agent.
    pub(super) own: HashSet<String>,
    /// The time of day less the time since the computer was switched on.
    pub(super) clock_offset_ms: i64,
    /// Jobs being written for the first time, by machine.
    arriving: BTreeMap<String, u32>,
    /// The greatest identifier of a job that is known.
    newest_id: String,
}

impl Clerk {
    pub(super) fn new(
        store: Store,
        configuration: String,
        machines: Arc<[Machine]>,
        queues: BTreeMap<String, watch::Sender<Queue>>,
        publish: watch::Sender<Arc<Jobs>>,
        asks: mpsc::Sender<Ask>,
    ) -> Self {
        let profiles = machines.iter().map(|machine| (machine.name().to_owned(), fingerprint(machine))).collect();
        Self {
            store,
            configuration,
            jobs: Jobs::new(),
            publish,
            queues,
            machines,
            profiles,
            out_of_service: BTreeMap::new(),
            asks,
            checks: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            opened: false,
            arming: HashSet::new(),
            own: HashSet::new(),
            clock_offset_ms: clock::wall_ms() - i64::try_from(clock::since_boot_us() / 1000).unwrap_or(0),
            arriving: BTreeMap::new(),
            newest_id: String::new(),
        }
    }

    pub(super) async fn work(mut self, mut asks: mpsc::Receiver<Ask>, mut news: mpsc::Receiver<News>) {
        let mut count = tokio::time::interval(COUNT_EVERY);
        let mut keep = tokio::time::interval(KEEP_EVERY);
        self.published();
        loop {
            tokio::select! {
                Some(news) = news.recv() => self.hear(news),
                ask = asks.recv() => match ask {
                    Some(ask) => self.take(ask),
                    None => return,
                },
                _ = count.tick() => {
                    self.follow_clock();
                    self.count();
                    self.service_due();
                }
                _ = keep.tick() => self.keep(|_| true),
            }
        }
    }

    /// Hears what the store says of itself.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Opened(contents) => self.opened(*contents),
            News::Anew => self.tell_all_again(),
        }
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Submit(submission, reply) => self.submit(submission, reply),
            Ask::Submitted(submitted) => self.submitted(*submitted),
            Ask::Checked(job, checked) => self.checked(&job, *checked),
            Ask::Act(job, action, wanted, who, reply) => self.act(&job, action, wanted, who, reply),
            Ask::Armed(armed) => self.armed(*armed),
            Ask::Started(job, started, reply) => {
                let _ = reply.send(self.started(&job, started));
            }
            Ask::Happened(machine, event) => self.happened(&machine, event),
            Ask::Missed(machine, missed) => self.store.tell([facts::missed(&machine, missed)], []),
            Ask::Service(machine, out, who, reply) => drop(reply.send(self.set_service(&machine, out, who))),
            Ask::Forget(record, who, reply) => {
                self.forget(&record, who);
                let _ = reply.send(Ok(record));
            }
            Ask::Alive(answer) => drop(answer.send(())),
        }
    }

    /// The store says what is in it. A job that was on a machine when the agent ended has failed: nothing is known of
    /// it, and nothing is started again. One whose check was not ended, or was against another profile, is checked again.
    fn opened(&mut self, mut contents: Contents) {
        let now = clock::rfc3339(clock::wall_ms());
        let mut interrupted = Vec::new();
        let mut changed = Vec::new();
        for mut record in std::mem::take(&mut contents.jobs) {
            match record.state {
                JobState::Armed | JobState::Running | JobState::Held => {
                    record.interrupted(&now);
                    interrupted.push(json!({ "machine": record.machine, "job": record.id,
                                             "executed_line": record.progress.executed_line }));
                    changed.push(record.id.clone());
                }
                JobState::Received => record.state = JobState::Checking,
                _ => {}
            }
            self.newest_id = self.newest_id.clone().max(record.id.clone());
            self.jobs.insert(record.id.clone(), Arc::new(record));
        }
        self.put_out_of_service_again(&contents.kept);
        let (now_ms, boot) = (clock::wall_ms(), clock::boot_id());
        let mut told = vec![facts::started(&contents, clock::is_set(), now_ms, &boot, &interrupted)];
        let before = contents.kept.iter().find(|(name, _)| name == CONFIGURATION).map(|(_, value)| value);
        if before.is_some_and(|before| *before != self.configuration) {
            told.push(facts::configuration(&self.configuration));
        }
        if before != Some(&self.configuration) {
            self.store.keep(CONFIGURATION, Some(self.configuration.clone()));
        }
        told.extend(changed.iter().filter_map(|id| Some(facts::became(self.jobs.get(id)?))));
        let puts = changed.iter().filter_map(|id| Some((id.clone(), Change::Put(self.jobs.get(id)?.clone()))));
        self.store.tell(told, puts.collect::<Vec<_>>());
        self.opened = true;
        let unchecked: Vec<_> = self.jobs.values().filter(|job| self.needs_check(job)).cloned().collect();
        for job in unchecked {
            self.check_again(&job);
        }
        self.published();
    }

    /// The store's file was lost: what is known is told again.
    fn tell_all_again(&mut self) {
        let all: Vec<_> = self.jobs.values().map(|job| (job.id.clone(), Change::Put(job.clone()))).collect();
        self.store.tell_all(all);
    }

    fn needs_check(&self, job: &Record) -> bool {
        let known = self.profiles.get(&job.machine);
        match job.state {
            JobState::Checking => true,
            // A machine that is not there any more checks nothing.
            JobState::Queued => known.is_some() && job.profile_sha256.as_ref() != known,
            _ => false,
        }
    }

    fn check_again(&mut self, job: &Record) {
        let mut record = job.clone();
        record.state = JobState::Checking;
        let record = self.put(record, []);
        self.check(&record);
    }

    /// Remembers a job as it is now, tells what happened, and has both written.
    pub(super) fn put(&mut self, record: Record, told: impl IntoIterator<Item = Fact>) -> Arc<Record> {
        let mut record = record;
        if record.state.is_over() {
            // It is only for the time that is left.
            record.time_line.clear();
        }
        let record = Arc::new(record);
        self.store.tell(told, [(record.id.clone(), Change::Put(record.clone()))]);
        self.remember(record.clone());
        record
    }

    pub(super) fn remember(&mut self, record: Arc<Record>) {
        self.jobs.insert(record.id.clone(), record);
        let over: Vec<_> = self.jobs.values().filter(|job| job.state.is_over()).map(|job| job.id.clone()).collect();
        for id in over.iter().take(over.len().saturating_sub(RECENT)) {
            self.jobs.remove(id);
            self.own.remove(id);
        }
        self.published();
    }

    pub(super) fn published(&self) {
        self.publish.send_replace(Arc::new(self.jobs.clone()));
        for (machine, queue) in &self.queues {
            let waiting: Vec<_> =
                self.jobs.values().filter(|job| job.machine == *machine && job.state == JobState::Queued).collect();
            let running = self.jobs.values().find(|job| job.machine == *machine && job.state.is_on_machine());
            let queue_now = Queue {
                length: waiting.len() as u32,
                length_max: QUEUE_MAX,
                running_s: running.and_then(|job| job.time_s),
                waiting_s: waiting.iter().map(|job| job.time_s).sum(),
                out_of_service: self.out_of_service.get(machine).cloned(),
            };
            queue.send_if_modified(|queue| {
                let changed = *queue != queue_now;
                *queue = queue_now;
                changed
            });
        }
    }

    /// Why no new work is taken, if none is.
    fn may_take_work(&self) -> Result<(), Refusal> {
        match self.store.trouble() {
            Some(notice) => Err(Refusal::Store(notice)),
            None if !self.opened => Err(Refusal::Store(refusal::not_open())),
            None => Ok(()),
        }
    }

    fn submit(&mut self, submission: Submission, reply: Reply) {
        match self.accept(&submission) {
            Err(refusal) => drop(reply.send(Err(refusal))),
            Ok(Some(known)) => drop(reply.send(Ok(known))),
            Ok(None) => {
                let record = Arc::new(new_record(&submission, &self.newest_id));
                self.newest_id.clone_from(&record.id);
                *self.arriving.entry(record.machine.clone()).or_default() += 1;
                let (store, asks) = (self.store.clone(), self.asks.clone());
                tokio::spawn(start::submit(store, record, submission.program, submission.who, asks, reply));
            }
        }
    }

    /// Whether a submission may be written down; the job it already is, where it is a repeat.
    fn accept(&self, submission: &Submission) -> Result<Option<Arc<Record>>, Refusal> {
        let machine = self.machine(&submission.machine)?;
        self.may_take_work()?;
        if let Some(key) = &submission.idempotency_key {
            if let Some(known) = self.jobs.values().find(|job| job.idempotency_key.as_ref() == Some(key)) {
                return same_submission(known, &submission.program.sha256, &submission.machine, owner(submission))
                    .map(Some);
            }
        }
        let waiting = self.jobs.values().filter(|job| job.machine == machine.name() && !job.state.is_over()).count();
        let arriving = self.arriving.get(machine.name()).copied().unwrap_or(0);
        if waiting as u32 + arriving >= QUEUE_MAX {
            return Err(Refusal::Conflict(refusal::queue_full()));
        }
        Ok(None)
    }

    /// A submission is on the disk, or is not.
    fn submitted(&mut self, submitted: Submitted) {
        let Submitted { record, program, written, reply } = submitted;
        if let Some(arriving) = self.arriving.get_mut(&record.machine) {
            *arriving = arriving.saturating_sub(1);
        }
        let outcome = match written {
            Ok(()) => {
                program.kept();
                self.own.insert(record.id.clone());
                self.remember(record.clone());
                self.check(&record);
                Ok(record)
            }
            Err(NotWritten::KeyTaken(known)) => {
                let known = self.jobs.get(&known.id).cloned().unwrap_or_else(|| Arc::new(*known));
                same_submission(&known, &record.sha256, &record.machine, record.owner.as_deref())
            }
            Err(NotWritten::Trouble(notice)) => {
                // A disk that said nothing, or failed while it wrote, may have it all the same.
                self.store.tell([], [(record.id.clone(), Change::Delete)]);
                Err(Refusal::Store(notice))
            }
        };
        let _ = reply.send(outcome);
    }

    /// Reads a job's program against its machine, in the background.
    fn check(&self, record: &Record) {
        let Ok(machine) = self.machine(&record.machine) else { return };
        let (id, path, profile) =
            (record.id.clone(), self.store.programs().path(&record.sha256), machine.profile().clone());
        let (asks, checks) = (self.asks.clone(), self.checks.clone());
        tokio::spawn(async move {
            let Ok(_turn) = checks.acquire().await else { return };
            let checked =
                tokio::task::spawn_blocking(move || drivers::priority::in_background(|| check(&path, &profile)));
            let checked = checked.await.unwrap_or_else(|_| Checked::broke());
            // A desk that is gone needs no answer.
            let _ = asks.send(Ask::Checked(id, Box::new(checked))).await;
        });
    }

    fn checked(&mut self, id: &str, checked: Checked) {
        let Some(job) = self.jobs.get(id).filter(|job| job.state == JobState::Checking) else { return };
        let mut record = Record::clone(job);
        record.profile_sha256 = self.profiles.get(&record.machine).cloned();
        match checked {
            Checked::Fit(info, findings) => {
                record.state = JobState::Queued;
                record.lines = info.lines;
                record.commands = info.commands;
                record.layers = info.layers;
                // Behind a word that is not followed the time is unknown, and no guess is told as one.
                record.time_s = info.not_followed.is_none().then_some(info.time_s);
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
        let told = facts::became(&record);
        self.put(record, [told]);
    }

    /// Does what needs no machine. A machine is asked on a task of its own: one that is slow to answer keeps nobody
    /// else waiting.
    fn act(&mut self, id: &str, action: Action, wanted: Wanted, who: Option<Who>, reply: Reply) {
        match self.decide(id, action, &wanted, who.clone()) {
            Err(refusal) => drop(reply.send(Err(refusal))),
            Ok(Decision::Done(record)) => drop(reply.send(Ok(record))),
            Ok(Decision::Calm(machine, calming, record)) => {
                self.store.tell([facts::asked(action, &record, who)], []);
                tokio::spawn(async move {
                    let asked = machine.calm(calming).await;
                    drop(reply.send(asked.map(|()| record).map_err(denied)));
                });
            }
            Ok(Decision::Ask(machine, permit, record)) => {
                self.store.tell([facts::asked(action, &record, who)], []);
                tokio::spawn(async move {
                    let asked = machine.act(permit).await;
                    drop(reply.send(asked.map(|()| record).map_err(denied)));
                });
            }
            Ok(Decision::Arm(record)) => {
                let machine = match self.machine(&record.machine) {
                    Ok(machine) => machine.clone(),
                    Err(refusal) => return drop(reply.send(Err(refusal))),
                };
                self.arming.insert(id.to_owned());
                let start = Start { machine, record, wanted, who, reply };
                tokio::spawn(start::arm(start, self.store.clone(), self.asks.clone()));
            }
        }
    }

    fn decide(&mut self, id: &str, action: Action, wanted: &Wanted, who: Option<Who>) -> Result<Decision, Refusal> {
        let job = self.jobs.get(id).cloned().ok_or_else(|| Refusal::Unknown(refusal::no_such_job()))?;
        let calming = match action {
            Action::Start => return self.decide_start(&job, wanted, who),
            Action::Cancel if matches!(job.state, JobState::Queued | JobState::Checking) => {
                let mut record = Record::clone(&job);
                record.state = JobState::Cancelled;
                record.ended_at = Some(stamp(jiff::Timestamp::now()));
                let told = [facts::asked(action, &record, who), facts::became(&record)];
                return Ok(Decision::Done(self.put(record, told)));
            }
            Action::Cancel if job.state == JobState::Cancelled => return Ok(Decision::Done(job)),
            Action::Delete if job.state.is_on_machine() => {
                return Err(Refusal::Conflict(refusal::not_deletable(job.state)));
            }
            Action::Delete => {
                self.forget(&job, who);
                return Ok(Decision::Done(job));
            }
            _ if !job.state.is_on_machine() => return Err(Refusal::Conflict(refusal::not_running(job.state))),
            Action::Resume => {
                let machine = self.machine(&job.machine)?.clone();
                let permit = passage::to_ask(&machine, Request::Resume, wanted)?;
                return Ok(Decision::Ask(Box::new(machine), permit, job));
            }
            Action::Pause => Calming::Pause,
            Action::Cancel => Calming::Cancel,
        };
        Ok(Decision::Calm(Box::new(self.machine(&job.machine)?.clone()), calming, job))
    }

    fn decide_start(&mut self, job: &Arc<Record>, wanted: &Wanted, who: Option<Who>) -> Result<Decision, Refusal> {
        self.machine(&job.machine)?;
        if self.arming.contains(&job.id) {
            return Err(Refusal::Conflict(refusal::not_startable(JobState::Armed)));
        }
        self.may_take_work()?;
        if let Err(missing) = self.may_start(job, Verified::NotYet, wanted) {
            if job.state == JobState::Queued {
                self.store.tell(missing.first().map(|first| facts::start_void(job, &first.notice()).by(who)), []);
            }
            if missing.contains(&Missing::Check) && job.state == JobState::Queued {
                self.check_again(job);
            }
            return Err(Refusal::Missing(missing));
        }
        let mut record = Record::clone(job);
        record.state = JobState::Armed;
        record.started_at = Some(stamp(jiff::Timestamp::now()));
        Ok(Decision::Arm(Arc::new(record)))
    }

    /// What the gate says of a start, and the permit if it lets it through.
    pub(super) fn may_start(
        &self,
        job: &Record,
        program: Verified<'_>,
        wanted: &Wanted,
    ) -> Result<Permit, Vec<Missing>> {
        let Ok(machine) = self.machine(&job.machine) else { return Err(vec![Missing::Check]) };
        let snapshot = machine.snapshot();
        let out_of_service = self.out_of_service.get(&job.machine);
        let facts = passage::facts(machine, &snapshot, out_of_service, wanted);
        let profile_sha256 = self.profiles.get(&job.machine).map(String::as_str);
        let pass = gate::start(&facts, &gate::Wanted { job, profile_sha256, program })?;
        Ok(pass.permit(wanted.still_good()))
    }

    fn forget(&mut self, job: &Record, who: Option<Who>) {
        let told = facts::asked(Action::Delete, job, who);
        self.store.forget(job, told);
        self.jobs.remove(&job.id);
        self.published();
    }

    pub(super) fn machine(&self, name: &str) -> Result<&Machine, Refusal> {
        self.machines
            .iter()
            .find(|machine| machine.name() == name)
            .ok_or_else(|| Refusal::Unknown(refusal::no_such_machine()))
    }
}

/// A job of a program that was submitted.
fn new_record(submission: &Submission, newest_id: &str) -> Record {
    let now = jiff::Timestamp::now();
    Record {
        id: new_id(now, newest_id),
        machine: submission.machine.clone(),
        name: submission.name.chars().filter(|letter| !letter.is_control()).take(200).collect(),
        state: JobState::Checking,
        reason: None,
        submitted_at: stamp(now),
        started_at: None,
        ended_at: None,
        sha256: submission.program.sha256.clone(),
        profile_sha256: None,
        bytes: submission.program.bytes,
        lines: 0,
        commands: 0,
        layers: 0,
        time_s: None,
        heating_s: None,
        progress: Counts::default(),
        unsure: None,
        first_refused: None,
        first_ignored: None,
        energy_kwh: None,
        link: None,
        link_cause: None,
        findings: Vec::new(),
        owner: owner(submission).map(str::to_owned),
        idempotency_key: submission.idempotency_key.clone(),
        time_line: Vec::new(),
    }
}

/// The person whose a submission is.
fn owner(submission: &Submission) -> Option<&str> {
    submission.who.as_ref()?.person.as_deref()
}

/// Whether a job is the one that is submitted again under its key, by the same person.
fn same_submission(
    known: &Arc<Record>,
    sha256: &str,
    machine: &str,
    owner: Option<&str>,
) -> Result<Arc<Record>, Refusal> {
    // Nobody gets another person's job by guessing their key.
    if known.sha256 == sha256 && known.machine == machine && known.owner.as_deref() == owner {
        Ok(known.clone())
    } else {
        Err(Refusal::Conflict(refusal::key_reused()))
    }
}

/// Tells a machine's profile from every other.
fn fingerprint(machine: &Machine) -> String {
    let profile = serde_json::to_vec(machine.profile()).unwrap_or_default();
    Sha256::digest(profile).iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

/// RFC 3339, to the millisecond.
pub(super) fn stamp(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}
