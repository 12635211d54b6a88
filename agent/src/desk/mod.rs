//! The desk: takes programs in, and takes people's requests to machines. One task owns the jobs.
//!
//! Submit is not start: a program waits until somebody starts it, a start is used up by starting, and a machine that
//! is not idle takes none. Nothing here makes a machine wait, and only what permits something waits for the disk.

mod check;
mod clerk;
pub mod facts;
mod follow;
mod passage;
mod refusal;
mod service;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drivers::machine::Machine;
use drivers::{Answer, Event};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use self::check::Checked;
use self::clerk::Clerk;
pub(crate) use self::follow::KEEP_EVERY;
pub use self::refusal::{Refusal, no_such_job, no_such_machine};
use self::start::{Armed, Pulse, Submitted, Wanted};
use crate::capacity::Queue;
use crate::jobs::gate::OutOfService;
use crate::jobs::{JobState, Jobs, Record};
use crate::store::{News, Page, Previews, Programs, Spooled, Store, Who};

/// Asks that may wait for the desk. More is told "busy".
const ASKS: usize = 64;

/// Jobs that may wait for one machine.
pub const QUEUE_MAX: u32 = 100;

/// How long a submission waits for its check before it is answered as `checking`.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

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
    /// Forget one that is not on a machine, with its program.
    Delete,
}

impl Action {
    /// Its word in the log.
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
        }
    }
}

/// A program that was submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The machine it is for.
    pub machine: String,
    /// Name for people. Hostile text.
    pub name: String,
    /// The program in the store.
    pub program: Spooled,
    /// A repeat with the same key is the same job.
    pub idempotency_key: Option<String>,
    /// Who submits it.
    pub who: Option<Who>,
}

/// Where the outcome of a request goes.
type Reply = oneshot::Sender<Result<Arc<Record>, Refusal>>;

enum Ask {
    Submit(Submission, Reply),
    Submitted(Box<Submitted>),
    Checked(String, Box<Checked>),
    Act(String, Action, Wanted, Option<Who>, Reply),
    Armed(Box<Armed>),
    Started(String, Answer, Reply),
    Happened(String, Event),
    /// Events of a machine that came faster than they were taken.
    Missed(String, u64),
    /// A machine is taken out of service, or put back.
    Service(String, Option<OutOfService>, Option<Who>, oneshot::Sender<Result<(), Refusal>>),
    /// A job that is no longer in memory is to be forgotten.
    Forget(Arc<Record>, Option<Who>, Reply),
    Alive(oneshot::Sender<()>),
}

/// A handle to the desk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    jobs: watch::Receiver<Arc<Jobs>>,
    store: Store,
    previews: Previews,
    machines: Arc<[Machine]>,
    queues: Arc<BTreeMap<String, watch::Receiver<Queue>>>,
    pulse: Arc<Pulse>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Ask")
    }
}

/// What the desk needs to know to begin.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) store: Store,
    /// What the store has said already.
    pub(crate) opened: Option<News>,
    pub(crate) news: mpsc::Receiver<News>,
    /// The store's folder.
    pub(crate) folder: std::path::PathBuf,
    /// Each machine, and what happens to it from the very first.
    pub(crate) machines: Vec<(Machine, broadcast::Receiver<Event>)>,
    /// Tells this configuration from others.
    pub(crate) configuration: String,
}

impl Desk {
    /// Makes the desk, and its work: without it nobody's jobs are looked after.
    pub(crate) fn open(opening: Opening) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (ask, asks) = mpsc::channel(ASKS);
        let pulse = Arc::new(Pulse::default());
        let (publish, jobs) = watch::channel(Arc::new(Jobs::new()));
        let machines: Arc<[Machine]> = opening.machines.iter().map(|(machine, _)| machine.clone()).collect();
        let (queue_ins, queues) = machines
            .iter()
            .map(|machine| {
                let (send, receive) = watch::channel(Queue::default());
                ((machine.name().to_owned(), send), (machine.name().to_owned(), receive))
            })
            .unzip();
        let mut forwards = tokio::task::JoinSet::new();
        for (machine, events) in opening.machines {
            forwards.spawn(forward(machine.name().to_owned(), events, ask.clone()));
        }
        let desk = Self {
            asks: ask,
            jobs,
            store: opening.store.clone(),
            previews: Previews::of(&opening.folder),
            machines: machines.clone(),
            queues: Arc::new(queues),
            pulse: pulse.clone(),
        };
        let mut clerk =
            Clerk::new(opening.store, opening.configuration, machines, queue_ins, publish, desk.asks.clone());
        if let Some(news) = opening.opened {
            clerk.hear(news);
        }
        let news = opening.news;
        (desk, async move {
            // What hands the machines' events over lives as long as the clerk, and the clerk no longer than it.
            tokio::select! {
                () = clerk.work(asks, news) => {}
                () = beat(&pulse) => {}
                () = a_fault_in(&mut forwards) => {}
            }
        })
    }

    /// Pictures of the jobs' programs.
    pub fn previews(&self) -> &Previews {
        &self.previews
    }

    /// The machines.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// A machine by its name.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name() == name)
    }

    /// The jobs in memory: those that are not over, and the newest that are.
    pub fn jobs(&self) -> Arc<Jobs> {
        self.jobs.borrow().clone()
    }

    /// A job, in memory or in the store.
    ///
    /// # Errors
    /// There is none, or the store does not say.
    pub async fn job(&self, id: &str) -> Result<Arc<Record>, Refusal> {
        if let Some(job) = self.jobs.borrow().get(id) {
            return Ok(job.clone());
        }
        let job = self.store.job(id).await.map_err(Refusal::Store)?;
        job.map(Arc::new).ok_or_else(|| Refusal::Unknown(no_such_job()))
    }

    /// Jobs, newest first, and whether there are more. What is in memory is given even if the store says nothing more;
    /// then with the reason.
    pub async fn list(&self, page: Page) -> (Vec<Arc<Record>>, bool, Option<drivers::Notice>) {
        let (over, trouble) = match self.store.jobs_over(Page { limit: page.limit + 1, ..page.clone() }).await {
            Ok(over) => (over, None),
            Err(notice) => (Vec::new(), Some(notice)),
        };
        // Read after the store: what has moved from memory to it meanwhile is in one of them at least.
        let memory = self.jobs();
        let mut found: Jobs = over.into_iter().map(|job| (job.id.clone(), Arc::new(job))).collect();
        // Of a job in memory, the store may still have an older state.
        found.retain(|id, _| !memory.contains_key(id));
        found.extend(memory.values().filter(|job| page.wants(job)).map(|job| (job.id.clone(), job.clone())));
        let more = found.len() > page.limit;
        (found.into_values().rev().take(page.limit).collect(), more, trouble)
    }

    /// Waits until the record of a job says that it is over. What a machine tells reaches the record a moment later.
    pub async fn knows_the_end(&self, job: &str) {
        let mut jobs = self.jobs.clone();
        let _ = jobs.wait_for(|jobs| jobs.get(job).is_none_or(|record| record.state.is_over())).await;
    }

    /// The work that waits for a machine, as it changes.
    pub fn queue(&self, machine: &str) -> watch::Receiver<Queue> {
        self.queues.get(machine).cloned().unwrap_or_else(|| watch::channel(Queue::default()).1)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where programs go.
    pub fn programs(&self) -> &Programs {
        self.store.programs()
    }

    /// Waits until the clerk has looked up from its work: it lives.
    pub async fn is_alive(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Alive(answer)).await.is_ok() && answered.await.is_ok()
    }

    /// Takes a program in and waits a moment for its check.
    ///
    /// # Errors
    /// There is no such machine, too many jobs wait, the store does not take it, or the desk is busy.
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

    /// Does something to a job. Dropped before its end, a start is not wanted any more.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn act(&self, job: &str, action: Action, who: Option<Who>) -> Result<Arc<Record>, Refusal> {
        let gone = Gone::default();
        let wanted = Wanted { asked: self.pulse.asked(), gone: gone.0.clone() };
        let (answer, answered) = oneshot::channel();
        let in_memory = self.jobs.borrow().contains_key(job);
        let ask = if action == Action::Delete && !in_memory {
            Ask::Forget(self.job(job).await?, who, answer)
        } else {
            Ask::Act(job.to_owned(), action, wanted, who, answer)
        };
        self.asks.try_send(ask).map_err(|_| Refusal::Busy)?;
        answered.await.map_err(|_| Refusal::Busy)?
    }
}

/// Waits until one of the tasks ends by a fault. One that ends by itself has nothing left to hand over.
async fn a_fault_in(tasks: &mut tokio::task::JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    std::future::pending::<()>().await;
}

/// Says again and again that the agent is awake.
async fn beat(pulse: &Pulse) {
    let mut beats = tokio::time::interval(start::BEAT_EVERY);
    // What was missed in a sleep is not made up for: each beat shows that everybody had a turn since the last.
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        pulse.beat();
    }
}

/// Says, when it is dropped, that whoever asked has gone.
#[derive(Default)]
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Hands a machine's events to the desk. A desk that is behind is told how many it missed; what matters of those it
/// finds in the snapshot.
async fn forward(machine: String, mut events: broadcast::Receiver<Event>, desk: mpsc::Sender<Ask>) {
    loop {
        let ask = match events.recv().await {
            Ok(event) => Ask::Happened(machine.clone(), event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Ask::Missed(machine.clone(), missed),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if desk.send(ask).await.is_err() {
            return;
        }
    }
}
