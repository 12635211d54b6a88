//! The bus: asks one question at a time on one port, in turn for every device on it, on a thread of its own.
//!
//! Each question has its own time limit and its own number of tries. A serial answer carries no number, so an answer
//! that comes after its time could pass for the answer to the next question: after an overdue one the line must have
//! been silent for a while before anything is asked again, and what arrived meanwhile is thrown away.
//!
//! An answer is whole when it has the length that its function and its count say, and never because of a pause in it:
//! pauses come from the device, the adapter and the scheduler. Its time limit is for its beginning.
//!
//! Over TCP answers are numbered: there several questions of one conversation are asked together, where the device says
//! that it can be asked so.

mod connection;
mod damage;
mod echo;
mod line;
mod port;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::address::{Address, Way};
use super::{Modbus, Protocol, Question, Trouble};
use crate::priority;
use port::Port;

/// Questions that may wait for one bus. Each device asks one at a time, and no bus has more devices.
const WAITING_MAX: usize = 64;

/// Questions that are asked together at most.
const TOGETHER_MAX: usize = super::mailbox::TRANSACTIONS_MAX;

/// The words of an answer, or why there is none.
pub type Answered = Result<Vec<u16>, Trouble>;

/// The buses that are open, by port: devices on one port share its bus.
static OPEN: Mutex<BTreeMap<Way, Known>> = Mutex::new(BTreeMap::new());

/// The ways into a bus, held without keeping it open.
struct Known {
    asks: mpsc::WeakSender<Ask>,
    urgent: mpsc::WeakSender<Ask>,
    runtime: Handle,
}

impl Known {
    fn bus(&self) -> Option<Bus> {
        Some(Bus { asks: self.asks.upgrade()?, urgent: self.urgent.upgrade()?, runtime: self.runtime.clone() })
    }
}

/// How long to wait for an answer, and how often to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Longest wait for the beginning of an answer, beside what its bytes and the question's take on a serial line; and
    /// longest wait for the rest of one that has begun then.
    pub timeout: Duration,
    /// Times to ask again.
    pub retries: u32,
    /// Silence on a serial line after an overdue answer, before anything else is asked: the longer of the two that the
    /// one who waited in vain and the one who asks next want, because the late answer could be taken by either.
    pub silence: Duration,
    /// In which frames it is asked.
    pub protocol: Protocol,
}

impl Patience {
    /// The patience a profile asks for. The silence is one more time limit: who answers later than that is not heard.
    pub fn of(settings: &Modbus) -> Self {
        let timeout = Duration::from_millis(settings.timeout_ms);
        Self { timeout, retries: settings.retries, silence: timeout, protocol: settings.protocol }
    }
}

/// Questions that are asked of one device together, or one alone.
struct Ask {
    unit: u8,
    questions: Vec<Question>,
    patience: Patience,
    /// Whether its writes are carried out although nobody waits for their answers any more: stops are, and nothing else.
    /// What turns something, and was given up, must not be said behind the stop for which it was given up.
    lasts: bool,
    answers: oneshot::Sender<Vec<Answered>>,
}

/// A handle to a bus. The bus ends with its last handle.
#[derive(Clone)]
pub struct Bus {
    asks: mpsc::Sender<Ask>,
    urgent: mpsc::Sender<Ask>,
    runtime: Handle,
}

impl fmt::Debug for Bus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Bus")
    }
}

impl Bus {
    /// The bus of a port; the one that is open already, if one is. The port itself is opened by the first question.
    ///
    /// # Errors
    /// The operating system could not start a thread.
    pub fn on(address: &Address, settings: &Modbus) -> io::Result<Self> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bus) = open.get(&address.way).and_then(Known::bus) {
            return Ok(bus);
        }
        let (asks, asked) = mpsc::channel(WAITING_MAX);
        let (urgent, asked_urgently) = mpsc::channel(WAITING_MAX);
        let port = Port::new(address, settings);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let bus = Self { asks, urgent, runtime: runtime.handle().clone() };
        let name = "modbus".to_owned();
        std::thread::Builder::new().name(name).spawn(move || {
            priority::ask(priority::MACHINE);
            runtime.block_on(serve(port, asked, asked_urgently));
        })?;
        let (asks, urgent, runtime) = (bus.asks.downgrade(), bus.urgent.downgrade(), bus.runtime.clone());
        open.retain(|_, known| known.asks.strong_count() > 0);
        open.insert(address.way.clone(), Known { asks, urgent, runtime });
        Ok(bus)
    }

    /// Runs a conversation on the bus's own thread. It lives no longer than the bus, so it holds a handle to it.
    pub fn spawn(&self, conversation: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(conversation);
    }

    /// Asks a device. Bits come as words of 0 and 1; a write brings no words. Who gives up waiting takes the question back,
    /// a write too, if it was not asked yet.
    ///
    /// # Errors
    /// Why there is no answer, after all tries.
    pub async fn ask(&self, unit: u8, question: Question, patience: Patience) -> Answered {
        Self::put(&self.asks, unit, vec![question], patience, false).await.only().await
    }

    /// Asks before every other question that waits: for stops. A write is carried out although nobody waits for its answer
    /// any more.
    ///
    /// # Errors
    /// As [`Bus::ask`].
    pub async fn ask_first(&self, unit: u8, question: Question, patience: Patience) -> Answered {
        Self::put(&self.urgent, unit, vec![question], patience, true).await.only().await
    }

    /// Puts questions in the line of those that wait, without waiting for their answers. They are asked in the order in
    /// which they were put there; several are asked together, so many at a time as a mailbox may ask for, where the port
    /// allows that. Who drops what is coming takes them back, if none of them was asked yet.
    pub async fn post(&self, unit: u8, questions: Vec<Question>, patience: Patience) -> Coming {
        Self::put(&self.asks, unit, questions, patience, false).await
    }

    /// As [`Bus::post`], before every other question that waits.
    pub async fn post_first(&self, unit: u8, questions: Vec<Question>, patience: Patience) -> Coming {
        Self::put(&self.urgent, unit, questions, patience, false).await
    }

    async fn put(
        lane: &mpsc::Sender<Ask>,
        unit: u8,
        questions: Vec<Question>,
        patience: Patience,
        lasts: bool,
    ) -> Coming {
        let (answers, answered) = oneshot::channel();
        let count = questions.len();
        // Where the lane has ended, so have the answers.
        let _ = lane.send(Ask { unit, questions, patience, lasts, answers }).await;
        Coming { answered, count }
    }
}

/// Answers that come later.
#[derive(Debug)]
pub struct Coming {
    answered: oneshot::Receiver<Vec<Answered>>,
    count: usize,
}

impl Coming {
    /// Waits for them: one for each question, in their order. Nothing is lost when the wait is given up; once they have
    /// come, they come no second time.
    pub async fn answers(&mut self) -> Vec<Answered> {
        let ended = || vec![Err(Trouble::Lost("the bus has ended".to_owned())); self.count];
        (&mut self.answered).await.unwrap_or_else(|_| ended())
    }

    async fn only(mut self) -> Answered {
        self.answers().await.pop().unwrap_or(Err(Trouble::Overdue))
    }
}

/// Pause before a device that said that it is busy is asked again; doubled each time.
const BUSY_FIRST: Duration = Duration::from_millis(50);
const BUSY_LAST: Duration = Duration::from_millis(800);

/// A question that is asked again.
struct Again {
    ask: Ask,
    tried: u32,
    /// Not before then: the device said that it is busy.
    at: Option<tokio::time::Instant>,
}

/// Takes out the first question whose pause is over.
fn take_due(again: &mut VecDeque<Again>) -> Option<Again> {
    let now = tokio::time::Instant::now();
    let due = again.iter().position(|again| again.at.is_none_or(|at| at <= now))?;
    again.remove(due)
}

/// Waits until a question may be asked again; for ever, where there is none.
async fn until_due(again: &VecDeque<Again>) {
    let now = tokio::time::Instant::now();
    match again.iter().map(|again| again.at.unwrap_or(now)).min() {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The life of a bus: one question after the other, stops first, until nobody is left to ask. What had no answer is asked
/// again behind a question that waits, and not at all of a device that is known to be silent: a dead one keeps the others
/// waiting for one time limit and no longer. One that is busy is given a pause, in which others are asked.
async fn serve(mut port: Port, mut asked: mpsc::Receiver<Ask>, mut urgent: mpsc::Receiver<Ask>) {
    let mut again: VecDeque<Again> = VecDeque::new();
    let mut silent = BTreeSet::new();
    let mut others_first = true;
    loop {
        let now = tokio::time::Instant::now();
        let others_may = others_first || again.iter().all(|again| again.at.is_some_and(|at| at > now));
        let (ask, tried) = tokio::select! {
            biased;
            Some(ask) = urgent.recv() => (ask, 0),
            Some(ask) = asked.recv(), if others_may => {
                others_first = false;
                (ask, 0)
            }
            () = until_due(&again), if !again.is_empty() => match take_due(&mut again) {
                Some(Again { ask, tried, .. }) => (ask, tried),
                None => continue,
            },
            else => return,
        };
        // What nobody waits for any more costs the bus no time and turns nothing, unless it is a stop.
        if ask.answers.is_closed() && !(ask.lasts && ask.questions.iter().any(Question::writes)) {
            continue;
        }
        let answers = port.ask(ask.unit, &ask.questions, ask.patience).await;
        if let [Err(trouble)] = answers.as_slice() {
            let may_again = tried < ask.patience.retries && !silent.contains(&ask.unit) && again.len() < WAITING_MAX;
            if may_again && trouble.may_pass() {
                others_first = true;
                let pause = (BUSY_FIRST * (1 << tried.min(4))).min(BUSY_LAST);
                let at = trouble.is_busy().then(|| tokio::time::Instant::now() + pause);
                again.push_back(Again { ask, tried: tried + 1, at });
                continue;
            }
        }
        // Something damaged comes from a device that is there.
        let unheard = |answer: &Answered| {
            let came = |trouble: &Trouble| matches!(trouble, Trouble::Damaged(_) | Trouble::Strange(_));
            answer.as_ref().is_err_and(|trouble| trouble.is_silence() && !came(trouble))
        };
        if answers.iter().all(unheard) {
            silent.insert(ask.unit);
        } else {
            silent.remove(&ask.unit);
        }
        let _ = ask.answers.send(answers);
    }
}
