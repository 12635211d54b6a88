//! The desk: takes programs in, and takes people's requests to machines. One task owns the job records.
//!
//! Submit is not start: a program waits until somebody starts it, a start is used up by starting, and a machine that
//! is not idle takes none. Nothing here makes a machine wait.

mod check;
mod clerk;
mod refusal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Machine;
use drivers::{Answer, Event, EventKind};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use self::check::Checked;
use self::clerk::Clerk;
pub(crate) use self::clerk::KEEP_EVERY;
pub use self::refusal::{Refusal, no_such_job, no_such_machine};
use crate::capacity::Queue;
use crate::config;
use crate::jobs::{JobState, Jobs, Previews, Record, Spool, Spooled, Store};

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

/// A handle to the desk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    jobs: watch::Receiver<Arc<Jobs>>,
    spool: Spool,
    previews: Previews,
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
        let previews = Previews::open(&settings.dir)?;
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
        let desk = Self {
            asks: ask,
            jobs,
            spool: spool.clone(),
            previews,
            machines: machines.clone(),
            queues: Arc::new(queues),
        };
        let clerk = Clerk { store, publish, queues: queue_ins, machines, spool, asks: desk.asks.clone() };
        tokio::spawn(clerk.work(asks));
        Ok(desk)
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

    /// Every job remembered.
    pub fn jobs(&self) -> Arc<Jobs> {
        self.jobs.borrow().clone()
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
