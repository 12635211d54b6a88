//! The bus: asks one question at a time on one port, in turn for every device on it, on a thread of its own.
//!
//! Each question has its own time limit and its own number of tries. A serial answer carries no number, so an answer
//! that comes after its time could pass for the answer to the next question: after an overdue one the line must have
//! been silent for a while before anything is asked again, and what arrived meanwhile is thrown away.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_modbus::client::{self, Client as _};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, Request, Response};
use tokio_serial::{SerialPort as _, SerialStream};

use super::address::{Address, Way};
use super::{Modbus, Parity, Protocol, Question, Table, Trouble, huanyang};
use crate::priority;

/// Questions that may wait for one bus. Each device asks one at a time, and no bus has more devices.
const WAITING_MAX: usize = 64;

/// How long a TCP connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Silence between two frames: 3.5 characters, and above 19200 baud 1.75 ms (Modbus over Serial Line 1.02, 2.5.1.1).
const FRAME_GAP_MIN: Duration = Duration::from_micros(1_750);

/// Longest wait for a line to fall silent: a line that never does is broken, and the next question shows it.
const SILENCE_PATIENCE: Duration = Duration::from_secs(3);

/// The buses that are open, by port: devices on one port share its bus.
static OPEN: Mutex<BTreeMap<Way, Lanes>> = Mutex::new(BTreeMap::new());

/// The two lanes into a bus, held without keeping it open: in turn, and first.
type Lanes = (mpsc::WeakSender<Ask>, mpsc::WeakSender<Ask>);

/// How long to wait for an answer, and how often to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Longest wait for one answer.
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
        if let Some((asks, urgent)) = open.get(&address.way) {
            if let (Some(asks), Some(urgent)) = (asks.upgrade(), urgent.upgrade()) {
                return Ok(Self { asks, urgent });
            }
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
        let name = "modbus".to_owned();
        std::thread::Builder::new().name(name).spawn(move || {
            priority::ask(priority::MACHINE);
            runtime.block_on(serve(port, asked, asked_urgently));
        })?;
        open.retain(|_, (asks, _)| asks.strong_count() > 0);
        open.insert(address.way.clone(), (asks.downgrade(), urgent.downgrade()));
        Ok(Self { asks, urgent })
    }

    /// Asks a device. Bits come as words of 0 and 1; a write brings no words.
    ///
    /// # Errors
    /// Why there is no answer, after all tries.
    pub async fn ask(&self, unit: u8, question: Question, patience: Patience) -> Result<Vec<u16>, Trouble> {
        Self::wait(&self.asks, unit, question, patience).await
    }

    /// Asks before every other question that waits: for stops.
    ///
    /// # Errors
    /// As [`Bus::ask`].
    pub async fn ask_first(&self, unit: u8, question: Question, patience: Patience) -> Result<Vec<u16>, Trouble> {
        Self::wait(&self.urgent, unit, question, patience).await
    }

    async fn wait(
        lane: &mpsc::Sender<Ask>,
        unit: u8,
        question: Question,
        patience: Patience,
    ) -> Result<Vec<u16>, Trouble> {
        let ended = || Trouble::Lost("the bus has ended".to_owned());
        let (answer, answered) = oneshot::channel();
        lane.send(Ask { unit, question, patience, answer }).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
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
        let Some(context) = &mut self.context else { return Err(Trouble::Lost("not connected".to_owned())) };
        context.set_slave(Slave(unit));
        let called = tokio::time::timeout(timeout, context.call(request(question))).await;
        match called {
            Err(_) => Err(self.unheard()),
            Ok(Ok(Ok(response))) => words(question, response),
            Ok(Ok(Err(code))) => Err(Trouble::Exception(code.into())),
            Ok(Err(Error::Protocol(error))) => Err(Trouble::Damaged(error.to_string())),
            Ok(Err(Error::Transport(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Trouble::Damaged(error.to_string()))
            }
            Ok(Err(Error::Transport(error))) => Err(Trouble::Lost(error.to_string())),
        }
    }

    /// Asks a drive whose frames are its maker's own; the library knows none of them.
    async fn ask_huanyang(&mut self, unit: u8, question: &Question, timeout: Duration) -> Result<Vec<u16>, Trouble> {
        let lost = |error: io::Error| Trouble::Lost(error.to_string());
        let frame = huanyang::frame(unit, question).ok_or(Trouble::Exception(1))?;
        let mut line = self.serial_line().map_err(lost)?;
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
        tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| Err(self.unheard()))
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
            let characters = Duration::from_secs_f64(3.5 * 11.0 / f64::from(self.baud.max(1)));
            tokio::time::sleep(characters.max(FRAME_GAP_MIN)).await;
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

/// A serial line that several conversations use one after the other.
#[derive(Debug, Clone)]
struct Line(Arc<Mutex<Lent>>);

#[derive(Debug)]
struct Lent {
    stream: SerialStream,
    /// Bytes heard since the last question.
    heard: usize,
}

impl Line {
    fn new(stream: SerialStream) -> Self {
        Self(Arc::new(Mutex::new(Lent { stream, heard: 0 })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Lent) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn heard(&self) -> usize {
        self.with(|lent| lent.heard)
    }

    /// Throws away what has arrived.
    fn clear(&self) {
        self.with(|lent| {
            lent.heard = 0;
            let _ = lent.stream.clear(serialport::ClearBuffer::Input);
        });
    }

    /// Listens until nothing has come: for the rest of a silence that has begun, or for a whole one after a byte.
    async fn fall_silent(&mut self, rest: Duration, silence: Duration) {
        let mut thrown_away = [0_u8; 256];
        let mut wait = rest;
        while let Ok(Ok(count)) = tokio::time::timeout(wait, self.read(&mut thrown_away)).await {
            if count == 0 {
                return;
            }
            wait = silence;
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        self.with(|lent| {
            let read = Pin::new(&mut lent.stream).poll_read(context, buffer);
            lent.heard += buffer.filled().len() - before;
            read
        })
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|lent| Pin::new(&mut lent.stream).poll_write(context, bytes))
    }

    /// The serial library's own flush blocks the thread until the last bit is out; nothing here needs that.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
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
