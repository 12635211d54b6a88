//! A machine as the agent sees it: a handle to the thread that talks to it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::event::Event;
use crate::modbus::auxiliary::Drives;
use crate::moment::Moment;
use crate::permit::{Permit, StillGood};
use crate::profile::Profile;
use crate::request::{Answer, Calming, Denied, Request};
use crate::snapshot::Snapshot;

/// Requests that may wait for one machine. More is a client gone wild; it is told "busy".
pub const INBOX_REQUESTS: usize = 16;

/// Events kept for slow listeners. A listener further behind is told how many it missed.
pub const EVENT_RING: usize = 1024;

/// Recordings that may wait to be written down. More trouble than a disk can take is told by events anyway.
pub(crate) const RECORDINGS_WAITING: usize = 4;

/// The last of what a machine and the agent said to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The machine's name in the configuration.
    pub machine: String,
    /// When it was made.
    pub at: Moment,
    /// The code of the trouble it was made for; `asked` where somebody asked.
    pub code: String,
    /// The recording, see [`crate::recording`]. It holds lines of the program.
    pub text: String,
}

/// At which rate a machine speaks, in bits per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Baud {
    /// As its profile says.
    #[default]
    Profile,
    /// This one.
    Fixed(u32),
    /// It is found out by asking at the usual rates, one after the other.
    Detect {
        /// Tried first: where it was found last.
        first: Option<u32>,
    },
}

/// How to reach a machine and what it should be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The machine's name in the configuration, for threads and logs.
    pub name: String,
    /// A device path, `tcp://host:port` or a `modbus…` address.
    pub port: String,
    /// At which rate the machine speaks.
    pub baud: Baud,
    /// What the machine should be.
    pub profile: Arc<Profile>,
    /// Whether to open the link again after it is lost. One-shot commands do not.
    pub reconnect: bool,
    /// Whether a job starts only when a person has said that the bed, stock or table is clear since the last work on it.
    /// Whoever sits at the terminal of a one-shot command sees it.
    pub watch_table: bool,
}

/// A program file to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it is. The file must stay as it is until the job is over.
    pub path: PathBuf,
    /// SHA-256 of its bytes in hexadecimal, as they were read a moment ago. Absent: nobody checked it.
    pub sha256: Option<String>,
    /// Lines it had when it was checked. A file that ends elsewhere, changes or cannot be read makes the job hold until a
    /// person decides. Absent: nobody is there to decide, and the job is ended safely.
    pub checked_lines: Option<u64>,
}

impl From<PathBuf> for Program {
    fn from(path: PathBuf) -> Self {
        Self { path, sha256: None, checked_lines: None }
    }
}

/// A request with the place its answer goes.
pub(crate) struct Order {
    pub(crate) request: Request,
    pub(crate) program: Option<Program>,
    /// Asked at the last moment before the machine is told anything. Absent: it is good whatever happens.
    pub(crate) still_good: Option<StillGood>,
    pub(crate) answer: oneshot::Sender<Answer>,
}

impl Order {
    /// Whether whoever was given leave for it still wants it, and may.
    pub(crate) fn is_good(still_good: Option<&StillGood>) -> bool {
        still_good.is_none_or(|good| good())
    }
}

/// The time of day of moment zero. It follows the clock when that is set: a Pi without a battery begins days behind.
#[derive(Debug, Clone)]
pub struct Epoch {
    /// The monotonic time of moment zero; absent: the time of day never changes.
    started: Option<Instant>,
    known: Arc<Mutex<SystemTime>>,
}

/// A clock that differs by less was not set: it runs a little fast or slow, and what was told stays as it was told.
const SET_BY: Duration = Duration::from_secs(1);

impl Epoch {
    /// Moment zero was at this instant, when the clock said this.
    pub fn following(started: Instant, time: SystemTime) -> Self {
        Self { started: Some(started), known: Arc::new(Mutex::new(time)) }
    }

    /// Moment zero was at this time of day, whatever the clock says later.
    pub fn fixed(time: SystemTime) -> Self {
        Self { started: None, known: Arc::new(Mutex::new(time)) }
    }

    /// The time of day of moment zero, by the clock as it is set now.
    #[expect(clippy::disallowed_methods, reason = "the clock is read for whoever tells the time to people")]
    pub fn now(&self) -> SystemTime {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(started) = self.started else { return *known };
        if let Some(time) = SystemTime::now().checked_sub(started.elapsed()) {
            let differs = time.duration_since(*known).unwrap_or_else(|error| error.duration());
            if differs > SET_BY {
                *known = time;
            }
        }
        *known
    }
}

/// A handle to one machine. Cheap to clone; dropping all of them ends the machine's thread.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(crate) setup: Setup,
    pub(crate) epoch: Epoch,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) inbox: mpsc::Sender<Order>,
    pub(crate) emergency: mpsc::Sender<oneshot::Sender<Answer>>,
    pub(crate) drives: Option<Drives>,
    pub(crate) recordings: broadcast::Sender<Arc<Recording>>,
    pub(crate) copy: mpsc::Sender<oneshot::Sender<Recording>>,
}

impl Machine {
    /// The machine's name in the configuration.
    pub fn name(&self) -> &str {
        &self.setup.name
    }

    /// What the machine should be.
    pub fn profile(&self) -> &Profile {
        &self.setup.profile
    }

    /// Whether its baud rate is found out by asking.
    pub fn finds_its_baud(&self) -> bool {
        matches!(self.setup.baud, Baud::Detect { .. })
    }

    /// What is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// What is known, as it changes: latest wins, nobody waits.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// What happens from now on. A listener that lags is told how many events it missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Recordings of trouble from now on.
    pub fn recordings(&self) -> broadcast::Receiver<Arc<Recording>> {
        self.recordings.subscribe()
    }

    /// The recording as it is now. Nothing if the machine's thread is busy with another copy or gone.
    pub async fn recording(&self) -> Option<Recording> {
        let (give, given) = oneshot::channel();
        self.copy.try_send(give).ok()?;
        given.await.ok()
    }

    /// The time of day of moment zero, as it changes when the clock is set.
    pub fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }

    /// Wall-clock time of a moment of this machine, by the clock as it is set now.
    pub fn wall_time(&self, moment: Moment) -> SystemTime {
        self.epoch.now() + Duration::from_micros(moment.0)
    }

    /// Asks for what only calms a machine: nobody's leave is needed. A full inbox is an answer, not a wait.
    pub async fn calm(&self, calming: Calming) -> Answer {
        match calming.into() {
            Request::Stop => self.stop().await,
            request => self.order(request, None, None).await,
        }
    }

    /// Asks for what a permit gives leave to, a start aside.
    pub async fn act(&self, permit: Permit) -> Answer {
        match permit.used(self.name(), None)? {
            (Request::Start(_), _) => Err(Denied::NotPermitted),
            (request, still_good) => self.order(request, None, still_good).await,
        }
    }

    /// Starts a program file.
    pub async fn start(&self, permit: Permit, program: impl Into<Program>) -> Answer {
        let program = program.into();
        match permit.used(self.name(), program.sha256.as_deref())? {
            (request @ Request::Start(_), still_good) => self.order(request, Some(program), still_good).await,
            _ => Err(Denied::NotPermitted),
        }
    }

    /// Emergency stop, on a lane of its own: never behind a job, a full inbox or a blocked write.
    pub async fn stop(&self) -> Answer {
        let (answer, answered) = oneshot::channel();
        match self.emergency.try_send(answer) {
            // A full lane means that a stop is being carried out at this moment.
            Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Denied::Offline),
            Ok(()) => answered.await.unwrap_or(Err(Denied::Offline)),
        }
    }

    /// Makes the drives beside the machine stand, and waits for the proof, within bounds. Whether all stand.
    pub async fn stop_drives(&self) -> bool {
        match &self.drives {
            Some(drives) => drives.stand().await,
            None => true,
        }
    }

    /// Lets go of the machine and waits until its thread has let go of the port. A machine with other handles left
    /// goes on, and this waits for the last of them.
    pub async fn release(self) {
        let mut snapshot = self.watch();
        drop(self);
        // The thread holds the other end until its link is closed.
        while snapshot.changed().await.is_ok() {}
    }

    async fn order(&self, request: Request, program: Option<Program>, still_good: Option<StillGood>) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.inbox.try_send(Order { request, program, still_good, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Denied::Busy,
            mpsc::error::TrySendError::Closed(_) => Denied::Offline,
        })?;
        answered.await.unwrap_or(Err(Denied::Offline))
    }
}
