//! The bus: asks one question at a time on one port, in turn for every device on it, on a thread of its own.
//!
//! Each question has its own time limit and its own number of tries. A serial answer carries no number, so an answer
//! that comes after its time could pass for the answer to the next question: after an overdue one the line must have
//! been silent for a while before anything is asked again, and what arrived meanwhile is thrown away.
//!
//! An answer is whole when it has the length that its function and its count say, and never because of a pause in it:
//! pauses come from the device, the adapter and the scheduler. Its time limit is for its beginning.

mod line;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_modbus::client::{self, Client as _};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, Request, Response};
use tokio_serial::SerialStream;

use super::address::{Address, Way};
use super::{Modbus, Parity, Protocol, Question, Table, Trouble, huanyang};
use crate::priority;
use line::Line;

/// Questions that may wait for one bus. Each device asks one at a time, and no bus has more devices.
const WAITING_MAX: usize = 64;

/// How long a TCP connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Silence between two frames: 3.5 characters, and above 19200 baud 1.75 ms (Modbus over Serial Line 1.02, 2.5.1.1).
const FRAME_GAP_MIN: Duration = Duration::from_micros(1_750);

/// Longest wait for a line to fall silent: a line that never does is broken, and the next question shows it.
const SILENCE_PATIENCE: Duration = Duration::from_secs(3);

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

struct Ask {
    unit: u8,
    question: Question,
    patience: Patience,
    answer: oneshot::Sender<Result<Vec<u16>, Trouble>>,
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
        let port = Port {
            way: address.way.clone(),
            baud: address.baud.unwrap_or(19_200),
            parity: address.parity.unwrap_or(settings.parity),
            stop_bits: settings.stop_bits,
            line: None,
            overdue: None,
            context: None,
        };
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

    /// Asks a device. Bits come as words of 0 and 1; a write brings no words.
    ///
    /// # Errors
    /// Why there is no answer, after all tries.
    pub async fn ask(&self, unit: u8, question: Question, patience: Patience) -> Result<Vec<u16>, Trouble> {
        Self::put(&self.asks, unit, question, patience).await.answer().await
    }

    /// Asks before every other question that waits: for stops.
    ///
    /// # Errors
    /// As [`Bus::ask`].
    pub async fn ask_first(&self, unit: u8, question: Question, patience: Patience) -> Result<Vec<u16>, Trouble> {
        Self::put(&self.urgent, unit, question, patience).await.answer().await
    }

    /// Puts a question in the line of those that wait, without waiting for its answer. Questions are asked in the order in
    /// which they were put there.
    pub async fn post(&self, unit: u8, question: Question, patience: Patience) -> Coming {
        Self::put(&self.asks, unit, question, patience).await
    }

    async fn put(lane: &mpsc::Sender<Ask>, unit: u8, question: Question, patience: Patience) -> Coming {
        let (answer, answered) = oneshot::channel();
        // Where the lane has ended, so has the answer.
        let _ = lane.send(Ask { unit, question, patience, answer }).await;
        Coming(answered)
    }
}

/// An answer that comes later.
#[derive(Debug)]
pub struct Coming(oneshot::Receiver<Result<Vec<u16>, Trouble>>);

impl Coming {
    /// Waits for it. Nothing is lost when the wait is given up; once it has come, it comes no second time.
    ///
    /// # Errors
    /// Why there is no answer, after all tries.
    pub async fn answer(&mut self) -> Result<Vec<u16>, Trouble> {
        (&mut self.0).await.unwrap_or_else(|_| Err(Trouble::Lost("the bus has ended".to_owned())))
    }
}

/// The life of a bus: one question after the other, stops first, until nobody is left to ask.
async fn serve(mut port: Port, mut asked: mpsc::Receiver<Ask>, mut urgent: mpsc::Receiver<Ask>) {
    loop {
        let ask = tokio::select! {
            biased;
            Some(ask) = urgent.recv() => ask,
            Some(ask) = asked.recv() => ask,
            else => return,
        };
        // A reading that nobody waits for any more costs the bus no time; a write is carried out all the same.
        if ask.answer.is_closed() && !ask.question.writes() {
            continue;
        }
        let answered = port.ask(ask.unit, &ask.question, ask.patience).await;
        let _ = ask.answer.send(answered);
    }
}

/// One port and what is open on it.
struct Port {
    way: Way,
    baud: u32,
    parity: Parity,
    stop_bits: u8,
    /// The serial line, which outlives a conversation that went wrong.
    line: Option<Line>,
    /// An answer that is overdue on the line, or bytes of one that was none.
    overdue: Option<Overdue>,
    context: Option<client::Context>,
}

/// An answer that may still come.
#[derive(Debug, Clone, Copy)]
struct Overdue {
    since: tokio::time::Instant,
    silence: Duration,
}

impl Port {
    async fn ask(&mut self, unit: u8, question: &Question, patience: Patience) -> Result<Vec<u16>, Trouble> {
        let mut tries = 0;
        loop {
            let answered = self.ask_once(unit, question, patience).await;
            match &answered {
                Err(trouble) if trouble.may_pass() && tries < patience.retries => tries += 1,
                _ => return answered,
            }
        }
    }

    async fn ask_once(&mut self, unit: u8, question: &Question, patience: Patience) -> Result<Vec<u16>, Trouble> {
        self.await_silence(patience.silence).await;
        let answered = match patience.protocol {
            Protocol::Modbus => self.ask_modbus(unit, question, patience.timeout).await,
            Protocol::Huanyang => self.ask_huanyang(unit, question, patience.timeout).await,
        };
        match &answered {
            Ok(_) | Err(Trouble::Exception(_)) => self.rest().await,
            Err(trouble) => self.give_up(trouble, patience.silence),
        }
        answered
    }

    async fn ask_modbus(&mut self, unit: u8, question: &Question, timeout: Duration) -> Result<Vec<u16>, Trouble> {
        if self.context.is_none() {
            self.context = Some(self.connect().await.map_err(|error| Trouble::Lost(error.to_string()))?);
        }
        if let Some(line) = &self.line {
            // What lies there answers nothing that is being asked now.
            line.clear();
        }
        let limit = timeout + self.line_time(question);
        let Some(context) = &mut self.context else { return Err(Trouble::Lost("not connected".to_owned())) };
        context.set_slave(Slave(unit));
        match in_time(context.call(request(question)), limit, self.line.as_ref()).await {
            None => Err(self.unheard()),
            Some(Ok(Ok(response))) => words(question, response),
            Some(Ok(Err(code))) => Err(Trouble::Exception(code.into())),
            Some(Err(Error::Protocol(error))) => Err(Trouble::Damaged(error.to_string())),
            Some(Err(Error::Transport(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Trouble::Damaged(error.to_string()))
            }
            Some(Err(Error::Transport(error))) => Err(Trouble::Lost(error.to_string())),
        }
    }

    /// Asks a drive whose frames are its maker's own; the library knows none of them.
    async fn ask_huanyang(&mut self, unit: u8, question: &Question, timeout: Duration) -> Result<Vec<u16>, Trouble> {
        let lost = |error: io::Error| Trouble::Lost(error.to_string());
        let frame = huanyang::frame(unit, question).ok_or(Trouble::Exception(1))?;
        let mut line = self.serial_line().map_err(lost)?;
        let limit = timeout + self.line_time(question);
        line.clear();
        tokio::time::sleep(huanyang::QUIET).await;
        line.write_all(&frame).await.map_err(lost)?;
        let mut heard = Vec::new();
        let answer = async {
            loop {
                if let Some(answer) = huanyang::answer(unit, question, &heard) {
                    return answer;
                }
                let mut more = [0_u8; 64];
                match line.read(&mut more).await {
                    Ok(0) => return Err(Trouble::Lost("the other end is gone".to_owned())),
                    Ok(count) => heard.extend_from_slice(&more[..count]),
                    Err(error) => return Err(lost(error)),
                }
            }
        };
        in_time(answer, limit, self.line.as_ref()).await.unwrap_or_else(|| Err(self.unheard()))
    }

    /// What the bytes of a question and of its answer take on a serial line; on TCP nothing that counts.
    fn line_time(&self, question: &Question) -> Duration {
        if matches!(self.way, Way::Tcp(_)) {
            return Duration::ZERO;
        }
        let (asked, answered) = question.line_bytes();
        self.characters((asked + answered) as f64)
    }

    /// What so many characters take, each with a start bit, eight bits, and two for parity and stop.
    fn characters(&self, count: f64) -> Duration {
        Duration::from_secs_f64(count * 11.0 / f64::from(self.baud.max(1)))
    }

    /// What it is when no whole answer came in time.
    fn unheard(&self) -> Trouble {
        match self.line.as_ref().map_or(0, Line::heard) {
            0 => Trouble::Overdue,
            heard => Trouble::Damaged(format!("{heard} bytes that are no whole answer")),
        }
    }

    /// The silence that ends a frame.
    async fn rest(&self) {
        if self.line.is_some() {
            tokio::time::sleep(self.characters(3.5).max(FRAME_GAP_MIN)).await;
        }
    }

    /// After trouble nothing that was read counts: a connection is closed, and a serial line must fall silent.
    fn give_up(&mut self, trouble: &Trouble, silence: Duration) {
        self.context = None;
        self.overdue = None;
        if matches!(trouble, Trouble::Lost(_)) {
            self.line = None;
        }
        if self.line.is_some() {
            self.overdue = Some(Overdue { since: tokio::time::Instant::now(), silence });
        }
    }

    /// Listens to a line on which an answer is overdue until it has been silent for long enough.
    async fn await_silence(&mut self, silence: Duration) {
        let (Some(overdue), Some(line)) = (self.overdue.take(), &mut self.line) else { return };
        let silence = silence.max(overdue.silence);
        let rest = silence.saturating_sub(overdue.since.elapsed());
        let _ = tokio::time::timeout(SILENCE_PATIENCE, line.fall_silent(rest, silence)).await;
    }

    async fn connect(&mut self) -> io::Result<client::Context> {
        match &self.way {
            Way::Tcp(host) => {
                let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(host)).await;
                let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                stream.set_nodelay(true)?;
                Ok(client::tcp::attach(stream))
            }
            Way::Rtu(_) => Ok(client::rtu::attach(self.serial_line()?)),
        }
    }

    /// The serial line, opened if it is not.
    fn serial_line(&mut self) -> io::Result<Line> {
        let Way::Rtu(path) = &self.way else { return Err(io::Error::other("this device is on a serial line only")) };
        if let Some(line) = &self.line {
            return Ok(line.clone());
        }
        let parity = match self.parity {
            Parity::None => serialport::Parity::None,
            Parity::Even => serialport::Parity::Even,
            Parity::Odd => serialport::Parity::Odd,
        };
        let stop = if self.stop_bits == 2 { serialport::StopBits::Two } else { serialport::StopBits::One };
        let builder = serialport::new(path, self.baud).parity(parity).stop_bits(stop);
        Ok(self.line.insert(Line::new(SerialStream::open(&builder)?)).clone())
    }
}

/// Waits for an answer: for its beginning as long as the limit says, and as long again for the rest of one of which a part
/// has come by then. The function's and the count's length says when it is whole.
async fn in_time<T>(answer: impl Future<Output = T>, limit: Duration, line: Option<&Line>) -> Option<T> {
    tokio::pin!(answer);
    match tokio::time::timeout(limit, &mut answer).await {
        Ok(answer) => Some(answer),
        Err(_) if line.is_some_and(|line| line.heard() > 0) => tokio::time::timeout(limit, answer).await.ok(),
        Err(_) => None,
    }
}

fn request(question: &Question) -> Request<'_> {
    match question {
        Question::Read { table: Table::Holding, address, count } => Request::ReadHoldingRegisters(*address, *count),
        Question::Read { table: Table::Input, address, count } => Request::ReadInputRegisters(*address, *count),
        Question::Read { table: Table::Coil, address, count } => Request::ReadCoils(*address, *count),
        Question::Read { table: Table::Discrete, address, count } => Request::ReadDiscreteInputs(*address, *count),
        Question::WriteCoil { address, on } => Request::WriteSingleCoil(*address, *on),
        Question::WriteOne { address, word } => Request::WriteSingleRegister(*address, *word),
        Question::Write { address, words } => Request::WriteMultipleRegisters(*address, words.as_slice().into()),
        Question::ReadWrite { read, count, address, words } => {
            Request::ReadWriteMultipleRegisters(*read, *count, *address, words.as_slice().into())
        }
    }
}

/// The words of an answer; one that does not match its question, in address, value or count, is damaged.
fn words(question: &Question, response: Response) -> Result<Vec<u16>, Trouble> {
    let fits = match (&response, question) {
        (Response::WriteMultipleRegisters(at, count), Question::Write { address, words }) => {
            at == address && usize::from(*count) == words.len()
        }
        (Response::WriteSingleRegister(at, was), Question::WriteOne { address, word }) => at == address && was == word,
        (Response::WriteSingleCoil(at, was), Question::WriteCoil { address, on }) => at == address && was == on,
        _ => true,
    };
    let wanted = question.wanted();
    let words = match response {
        Response::ReadHoldingRegisters(words)
        | Response::ReadInputRegisters(words)
        | Response::ReadWriteMultipleRegisters(words) => words,
        Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => {
            // Bits come in whole bytes.
            bits.into_iter().take(wanted).map(u16::from).collect()
        }
        _ => Vec::new(),
    };
    if !fits || words.len() != wanted {
        return Err(Trouble::Damaged(format!("{} registers instead of {wanted}, or of another question", words.len())));
    }
    Ok(words)
}
