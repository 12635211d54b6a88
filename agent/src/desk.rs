//! The desk: takes programs in, and takes people's requests to machines. One task owns the job records.
//!
//! Submit is not start: a program waits until somebody starts it, a start is used up by starting, and a machine that
//! is not idle takes none. Nothing here makes a machine wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Machine;
use drivers::request::Job;
use drivers::snapshot::JobPhase;
use drivers::{Answer, Denied, Event, EventKind, Notice, Request};
use gcode_tools::analysis::{Info, analyse};
use gcode_tools::preflight;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::capacity::Queue;
use crate::config;
use crate::jobs::{Counts, FINDINGS_MAX, JobState, Jobs, Reason, Record, Spool, Spooled, Store, new_id};

/// Asks that may wait for the desk. More is told "busy".
const ASKS: usize = 64;

/// Jobs that may wait for one machine.
pub const QUEUE_MAX: u32 = 100;

/// How long a submission waits for its check before it is answered as `checking`.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

/// How often the records of running jobs take over the machines' numbers, for whoever reads them.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// How long the event that tells of a job's end may be under way before it counts as missed.
const MISSED_AFTER: Duration = Duration::from_secs(2);

/// What can be asked of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start it.
    Start,
    /// Hold it.
    Pause,
    /// Go on after a hold.
    Resume,
    /// End it early, or forget a waiting one.
    Cancel,
}

/// Why something was not done: a stable code, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such job or machine.
    Unknown(Notice),
    /// It cannot be done now.
    Conflict(Notice),
    /// It cannot be done at all.
    Invalid(Notice),
    /// Too much is asked at once.
    Busy,
}

/// A program that was submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The machine it is for.
    pub machine: String,
    /// Name for people. Hostile text.
    pub name: String,
    /// The program in the spool.
    pub program: Spooled,
    /// A repeat with the same key is the same job.
    pub idempotency_key: Option<String>,
}

/// Where the outcome of a request goes.
type Reply = oneshot::Sender<Result<Arc<Record>, Refusal>>;

enum Ask {
    Submit(Submission, Reply),
    Checked(String, Box<Checked>),
    Act(String, Action, Reply),
    Started(String, Answer, Reply),
    Happened(String, Event),
}

/// What reading a program found.
enum Checked {
    Fit(Box<Info>, Vec<serde_json::Value>),
    Unfit(Reason, Vec<serde_json::Value>),
}

/// A handle to the desk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    jobs: watch::Receiver<Arc<Jobs>>,
    spool: Spool,
    machines: Arc<[Machine]>,
    queues: Arc<BTreeMap<String, watch::Receiver<Queue>>>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Ask")
    }
}

impl Desk {
    /// Opens the store and starts the desk.
    ///
    /// # Errors
    /// The store's folder cannot be used.
    pub fn open(settings: &config::Store, machines: Arc<[Machine]>) -> std::io::Result<Self> {
        let spool = Spool::open(&settings.dir, settings.program_bytes_max, settings.reserve_bytes)?;
        let store = Store::open(&settings.dir, settings.history_jobs)?;
        let (ask, asks) = mpsc::channel(ASKS);
        let (publish, jobs) = watch::channel(Arc::new(store.jobs().clone()));
        let (queue_ins, queues) = machines
            .iter()
            .map(|machine| {
                let (send, receive) = watch::channel(Queue::default());
                ((machine.name().to_owned(), send), (machine.name().to_owned(), receive))
            })
            .unzip();
        for machine in machines.iter() {
            tokio::spawn(forward(machine.name().to_owned(), machine.events(), ask.clone()));
        }
        let desk = Self { asks: ask, jobs, spool: spool.clone(), machines: machines.clone(), queues: Arc::new(queues) };
        let clerk = Clerk { store, publish, queues: queue_ins, machines, spool, asks: desk.asks.clone() };
        tokio::spawn(clerk.work(asks));
        Ok(desk)
    }

    /// The machines.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// A machine by its name.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name() == name)
    }

    /// Every job remembered.
    pub fn jobs(&self) -> Arc<Jobs> {
        self.jobs.borrow().clone()
    }

    /// The work that waits for a machine, as it changes.
    pub fn queue(&self, machine: &str) -> watch::Receiver<Queue> {
        self.queues.get(machine).cloned().unwrap_or_else(|| watch::channel(Queue::default()).1)
    }

    /// Where programs go.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Takes a program in and waits a moment for its check.
    ///
    /// # Errors
    /// There is no such machine, too many jobs wait, or the desk is busy.
    pub async fn submit(&self, submission: Submission) -> Result<Arc<Record>, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask::Submit(submission, answer)).map_err(|_| Refusal::Busy)?;
        let record = answered.await.map_err(|_| Refusal::Busy)??;
        let mut jobs = self.jobs.clone();
        let checked = jobs.wait_for(|jobs| {
            jobs.get(&record.id).is_none_or(|job| !matches!(job.state, JobState::Received | JobState::Checking))
        });
        match tokio::time::timeout(CHECK_PATIENCE, checked).await {
            Ok(Ok(jobs)) => Ok(jobs.get(&record.id).cloned().unwrap_or(record)),
            _ => Ok(record),
        }
    }

    /// Does something to a job.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn act(&self, job: &str, action: Action) -> Result<Arc<Record>, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask::Act(job.to_owned(), action, answer)).map_err(|_| Refusal::Busy)?;
        answered.await.map_err(|_| Refusal::Busy)?
    }
}

/// Hands a machine's events to the desk. A desk that is behind misses none of what matters: it reads the snapshot.
async fn forward(machine: String, mut events: broadcast::Receiver<Event>, desk: mpsc::Sender<Ask>) {
    loop {
        match events.recv().await {
            Ok(event) if matches!(event.kind, EventKind::Job { .. }) => {
                if desk.send(Ask::Happened(machine.clone(), event)).await.is_err() {
                    return;
                }
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

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
struct Clerk {
    store: Store,
    publish: watch::Sender<Arc<Jobs>>,
    queues: BTreeMap<String, watch::Sender<Queue>>,
    machines: Arc<[Machine]>,
    spool: Spool,
    asks: mpsc::Sender<Ask>,
}

impl Clerk {
    async fn work(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut count = tokio::time::interval(COUNT_EVERY);
        self.published();
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => self.take(ask),
                    None => return,
                },
                _ = count.tick() => self.count(),
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
                return if same { Ok(known.clone()) } else { Err(Refusal::Conflict(key_reused())) };
            }
        }
        let waiting = self.store.jobs().values().filter(|job| job.machine == machine && !job.state.is_over()).count();
        if waiting as u32 >= QUEUE_MAX {
            return Err(Refusal::Conflict(queue_full()));
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
            energy_kwh: None,
            findings: Vec::new(),
            idempotency_key: submission.idempotency_key,
            time_line: Vec::new(),
        };
        let (id, path, asks) = (record.id.clone(), self.spool.path(&record.sha256), self.asks.clone());
        let record = self.put(record);
        tokio::task::spawn_blocking(move || {
            let checked = check(&path, &profile);
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
        let job = self.store.jobs().get(id).cloned().ok_or_else(|| Refusal::Unknown(no_such_job()))?;
        let machine = self.machine(&job.machine)?.clone();
        let request = match action {
            Action::Start if job.state != JobState::Queued => return Err(Refusal::Conflict(not_startable(job.state))),
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
            _ if !job.state.is_on_machine() => return Err(Refusal::Conflict(not_running(job.state))),
            Action::Pause => Request::Pause,
            Action::Resume => Request::Resume,
            Action::Cancel => Request::Cancel,
        };
        Ok(Decision::Ask(machine, request, job))
    }

    /// The machine has said whether it takes a job.
    fn started(&mut self, id: &str, started: Answer) -> Result<Arc<Record>, Refusal> {
        let job = self.store.jobs().get(id).cloned().ok_or_else(|| Refusal::Unknown(no_such_job()))?;
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
            record.progress =
                Counts { sent: job.sent, accepted: job.accepted, executed: job.executed, resends: job.resends };
            record.energy_kwh = job.energy_kwh;
        }
    }

    /// Publishes the numbers of running jobs. They are not written to the disk: an SD card does not last for ever.
    /// A job whose end was missed among a flood of events is found ended here.
    fn count(&mut self) {
        let machines = self.machines.clone();
        for (machine, snapshot) in machines.iter().map(|machine| (machine, machine.snapshot())) {
            let Some(job) = &snapshot.job else { continue };
            if job.ended_at.is_some_and(|ended_at| snapshot.at.since(ended_at) > MISSED_AFTER) {
                let notice = snapshot.notice.as_ref().filter(|_| job.phase != JobPhase::Finished);
                self.went_on(machine.name(), &job.job, job.phase, notice);
            }
        }
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
        self.machines.iter().find(|machine| machine.name() == name).ok_or_else(|| Refusal::Unknown(no_such_machine()))
    }
}

/// Reads a whole program against its machine.
fn check(path: &std::path::Path, profile: &drivers::profile::Profile) -> Checked {
    let reason = |code: &str, message: String| Reason { code: code.to_owned(), message };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) => return Checked::Unfit(reason("job.unreadable", format!("{error}.")), Vec::new()),
    };
    let info = match analyse(file, Some(profile)) {
        Ok(info) => info,
        Err(error) => return Checked::Unfit(reason(error.code, error.message), Vec::new()),
    };
    let verdict = match std::fs::File::open(path) {
        Ok(file) => preflight::check(file, profile),
        Err(error) => return Checked::Unfit(reason("job.unreadable", format!("{error}.")), Vec::new()),
    };
    let findings = verdict.findings.iter().take(FINDINGS_MAX).map(|finding| serde_json::json!(finding)).collect();
    if verdict.passes() {
        return Checked::Fit(Box::new(info), findings);
    }
    let mut errors = verdict.findings.iter().filter(|finding| finding.severity == preflight::Severity::Error);
    // A file that breaks off is told as what it is, whatever else is wrong with the half of it.
    if let Some(broken) = errors.clone().find(|finding| finding.code == "file.truncated") {
        return Checked::Unfit(reason(broken.code, format!("{} {}", broken.message, broken.help)), findings);
    }
    let what = errors.next().map_or_else(String::new, |finding| match finding.line {
        0 => format!(" {}", finding.message),
        line => format!(" Line {line}: {}", finding.message),
    });
    let message = format!("The program cannot run on this machine as it is.{what} Its findings say all of it.");
    Checked::Unfit(reason("job.preflight_failed", message), findings)
}

/// Points kept of a time line: enough for a progress bar on any screen.
const TIME_POINTS: usize = 500;

fn thin(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let step = points.len().div_ceil(TIME_POINTS).max(1);
    points.iter().skip(step - 1).step_by(step).copied().collect()
}

/// RFC 3339, to the millisecond.
pub fn stamp(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}

fn denied(denied: Denied) -> Refusal {
    if denied == Denied::Busy {
        return Refusal::Busy;
    }
    Refusal::Conflict(Notice::new(denied.code(), denied.to_string(), "", ""))
}

/// There is no machine of that name.
pub fn no_such_machine() -> Notice {
    Notice::new(
        "machine.unknown_name",
        "There is no machine of that name.",
        "Nothing was done.",
        "GET /api/v1/machines lists the machines there are.",
    )
}

/// There is no such job.
pub fn no_such_job() -> Notice {
    Notice::new("job.unknown", "There is no such job, or it was forgotten.", "Nothing was done.", "List the jobs.")
}

fn not_startable(state: JobState) -> Notice {
    Notice::new(
        "job.not_startable",
        format!("The job is {}, and a job is started once.", word(state)),
        "Nothing was started.",
        "Submit the program again to run it again.",
    )
}

fn not_running(state: JobState) -> Notice {
    Notice::new("job.not_running", format!("The job is {}.", word(state)), "Nothing was done.", "")
}

fn key_reused() -> Notice {
    Notice::new(
        "job.key_reused",
        "The idempotency key belongs to another submission.",
        "Nothing was kept.",
        "Use a new key for a new job.",
    )
}

fn queue_full() -> Notice {
    Notice::new(
        "queue.full",
        format!("{QUEUE_MAX} jobs wait for the machine already."),
        "Nothing was kept.",
        "Wait until some are done, or cancel some.",
    )
}

/// The word of a job's state on the network.
pub fn word(state: JobState) -> &'static str {
    match state {
        JobState::Received => "received",
        JobState::Checking => "checking",
        JobState::Refused => "refused",
        JobState::Queued => "queued",
        JobState::Armed => "armed",
        JobState::Running => "running",
        JobState::Held => "held",
        JobState::Finished => "finished",
        JobState::Cancelled => "cancelled",
        JobState::Failed => "failed",
    }
}
