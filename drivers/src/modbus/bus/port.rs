//! A port: what is open on it, and one transaction after the other.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_modbus::client::{self, Client as _};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, ProtocolError, Request, Response};
use tokio_serial::SerialStream;

use super::super::address::{Address, Rs485, Way};
use super::super::{Modbus, Parity, Protocol, Question, Table, Trouble, huanyang};
use super::connection::Connection;
use super::damage::damage;
use super::line::Line;
use super::{Answered, Patience, TOGETHER_MAX};

/// How long a TCP connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Silence between two frames: 3.5 characters, and above 19200 baud 1.75 ms (Modbus over Serial Line 1.02, 2.5.1.1).
const FRAME_GAP_MIN: Duration = Duration::from_micros(1_750);

/// Longest wait for a line to fall silent: a line that never does is broken, and the next question shows it.
const SILENCE_PATIENCE: Duration = Duration::from_secs(3);

/// One port and what is open on it.
pub(super) struct Port {
    way: Way,
    baud: u32,
    parity: Parity,
    stop_bits: u8,
    rs485: Option<Rs485>,
    /// The serial line, which outlives a conversation that went wrong.
    line: Option<Line>,
    /// An answer that is overdue on the line, or bytes of one that was none.
    overdue: Option<Overdue>,
    /// The TCP connection, which the clients share.
    connection: Option<Connection>,
    /// As many clients as questions may be asked together; none where nothing is open.
    clients: Vec<client::Context>,
    /// Devices that left a question unanswered that was asked with others.
    one_by_one: BTreeSet<u8>,
}

/// An answer that may still come.
#[derive(Debug, Clone, Copy)]
struct Overdue {
    since: tokio::time::Instant,
    silence: Duration,
}

impl Port {
    pub(super) fn new(address: &Address, settings: &Modbus) -> Self {
        Self {
            way: address.way.clone(),
            baud: address.baud.unwrap_or(19_200),
            parity: address.parity.unwrap_or(settings.parity),
            stop_bits: address.stop_bits.unwrap_or(settings.stop_bits),
            rs485: address.rs485,
            line: None,
            overdue: None,
            connection: None,
            clients: Vec::new(),
            one_by_one: BTreeSet::new(),
        }
    }

    /// Asks one question, or several of them together, once.
    pub(super) async fn ask(&mut self, unit: u8, questions: &[Question], patience: Patience) -> Vec<Answered> {
        let may_together = matches!(self.way, Way::Tcp(_)) && patience.protocol == Protocol::Modbus;
        if questions.len() > 1 && may_together && !self.one_by_one.contains(&unit) {
            return self.ask_together(unit, questions, patience.timeout).await;
        }
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            answers.push(self.ask_once(unit, question, patience).await);
        }
        answers
    }

    async fn ask_once(&mut self, unit: u8, question: &Question, patience: Patience) -> Answered {
        if question.writes() && self.echoes().is_none() {
            // Whether the adapter brings back what is sent: a read shows it, whatever becomes of it, and the answer to a
            // write looks the same as what was said.
            let address = if patience.protocol == Protocol::Huanyang { huanyang::ADDRESS_SETTING } else { 0 };
            let _ = self.ask_frame(unit, &Question::Read { table: Table::Holding, address, count: 1 }, patience).await;
        }
        self.ask_frame(unit, question, patience).await
    }

    /// Whether the line brings back what is sent, if that is known; a connection does not.
    fn echoes(&self) -> Option<bool> {
        match self.way {
            Way::Tcp(_) => Some(false),
            Way::Rtu(_) => self.line.as_ref().and_then(Line::echoes),
        }
    }

    async fn ask_frame(&mut self, unit: u8, question: &Question, patience: Patience) -> Answered {
        self.await_silence(patience.silence).await;
        let answered = match patience.protocol {
            Protocol::Modbus => self.ask_modbus(unit, question, patience.timeout).await,
            Protocol::Huanyang => self.ask_huanyang(unit, question, patience.timeout).await,
        };
        if let (Some(line), Ok(_) | Err(Trouble::Exception(_) | Trouble::Overdue)) = (&self.line, &answered) {
            line.settled();
        }
        match &answered {
            Err(trouble) if trouble.closes() => self.give_up(trouble, patience.silence),
            Ok(_) | Err(_) => self.rest().await,
        }
        answered
    }

    async fn ask_modbus(&mut self, unit: u8, question: &Question, timeout: Duration) -> Answered {
        self.connect().await?;
        if let Some(line) = &self.line {
            // What lies there answers nothing that is being asked now.
            line.begin(!question.writes());
        }
        self.await_questions(1);
        let limit = timeout + self.line_time(question);
        let Some(client) = self.clients.first_mut() else { return Err(Trouble::Lost("not connected".to_owned())) };
        client.set_slave(Slave(unit));
        let called = in_time(client.call(request(question)), limit, self.line.as_ref()).await;
        self.answer(unit, question, called)
    }

    /// Asks several questions of one device together. Each answer gives the next one as long again, because a device
    /// answers one after the other; a device that leaves one of them unanswered is not asked so again.
    async fn ask_together(&mut self, unit: u8, questions: &[Question], timeout: Duration) -> Vec<Answered> {
        if let Err(trouble) = self.connect().await {
            return vec![Err(trouble); questions.len()];
        }
        let mut answers = Vec::with_capacity(questions.len());
        for questions in questions.chunks(TOGETHER_MAX) {
            self.await_questions(questions.len());
            let called: Mutex<Vec<Option<Called>>> = Mutex::new(questions.iter().map(|_| None).collect());
            let known = || called.lock().unwrap_or_else(PoisonError::into_inner);
            {
                let calls = join_all((0_usize..).zip(self.clients.iter_mut().zip(questions)).map(
                    |(at, (client, question))| {
                        client.set_slave(Slave(unit));
                        let call = client.call(request(question));
                        async move { known()[at] = Some(call.await) }
                    },
                ));
                let mut calls = std::pin::pin!(calls);
                let mut answered = 0;
                while tokio::time::timeout(timeout, &mut calls).await.is_err() {
                    let before = std::mem::replace(&mut answered, known().iter().flatten().count());
                    if answered == before {
                        break;
                    }
                }
            }
            let called = std::mem::take(&mut *known());
            answers.extend(questions.iter().zip(called).map(|(question, called)| self.answer(unit, question, called)));
        }
        if let Some(trouble) = answers.iter().filter_map(|it| it.as_ref().err()).find(|it| it.closes()) {
            self.one_by_one.insert(unit);
            self.give_up(&trouble.clone(), Duration::ZERO);
        }
        answers
    }

    fn await_questions(&self, count: usize) {
        if let Some(connection) = &self.connection {
            connection.await_questions(count);
        }
    }

    /// What the library's answer to a question is to us.
    fn answer(&self, unit: u8, question: &Question, called: Option<Called>) -> Answered {
        let damaged = |sentence: &str| match &self.line {
            Some(line) => damage(unit, question, &line.heard()),
            None => Trouble::Strange(sentence.to_owned()),
        };
        match called {
            None => Err(self.unheard(unit, question)),
            Some(Ok(Ok(response))) => words(question, response),
            Some(Ok(Err(code))) => Err(Trouble::Exception(code.into())),
            Some(Err(Error::Protocol(ProtocolError::HeaderMismatch { .. }))) => {
                Err(damaged("another unit answered than was asked"))
            }
            Some(Err(Error::Protocol(ProtocolError::FunctionCodeMismatch { .. }))) => {
                Err(damaged("an answer to another function than was asked"))
            }
            Some(Err(Error::Transport(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Err(damaged(&error.to_string()))
            }
            Some(Err(Error::Transport(error))) => Err(lost(&error)),
        }
    }

    /// Asks a drive whose frames are its maker's own; the library knows none of them.
    async fn ask_huanyang(&mut self, unit: u8, question: &Question, timeout: Duration) -> Answered {
        let frame = huanyang::frame(unit, question).ok_or(Trouble::Exception(1))?;
        let mut line = self.serial_line().map_err(|error| lost(&error))?;
        let limit = timeout + self.line_time(question);
        tokio::time::sleep(huanyang::QUIET).await;
        line.begin(huanyang::shows_echo(question));
        line.write_all(&frame).await.map_err(|error| lost(&error))?;
        line.flush().await.map_err(|error| lost(&error))?;
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
                    Err(error) => return Err(lost(&error)),
                }
            }
        };
        in_time(answer, limit, self.line.as_ref()).await.unwrap_or_else(|| Err(self.unheard(unit, question)))
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
    fn unheard(&self, unit: u8, question: &Question) -> Trouble {
        if let Some(line) = &self.line {
            return damage(unit, question, &line.heard());
        }
        match self.connection.as_ref().map_or(0, Connection::heard) {
            0 => Trouble::Overdue,
            heard => Trouble::Strange(format!("{heard} bytes that are no whole answer")),
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
        self.clients.clear();
        self.connection = None;
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

    /// Opens what is not open.
    async fn connect(&mut self) -> Result<(), Trouble> {
        if self.clients.is_empty() {
            self.open().await.map_err(|error| lost(&error))?;
        }
        Ok(())
    }

    async fn open(&mut self) -> io::Result<()> {
        match &self.way {
            Way::Tcp(host) => {
                let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(host)).await;
                let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                stream.set_nodelay(true)?;
                let connection = self.connection.insert(Connection::new(stream));
                self.clients = (0..TOGETHER_MAX).map(|_| client::tcp::attach(connection.lane())).collect();
            }
            Way::Rtu(_) => self.clients = vec![client::rtu::attach(self.serial_line()?)],
        }
        Ok(())
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
        Ok(self.line.insert(Line::new(SerialStream::open(&builder)?, self.rs485)?).clone())
    }
}

/// Waits for an answer: for its beginning as long as the limit says, and as long again for the rest of one of which a part
/// has come by then. The function's and the count's length says when it is whole.
async fn in_time<T>(answer: impl Future<Output = T>, limit: Duration, line: Option<&Line>) -> Option<T> {
    tokio::pin!(answer);
    match tokio::time::timeout(limit, &mut answer).await {
        Ok(answer) => Some(answer),
        Err(_) if line.is_some_and(Line::has_heard) => tokio::time::timeout(limit, answer).await.ok(),
        Err(_) => None,
    }
}

/// What the library brings back: an answer, the device's exception, or why there is none.
type Called = tokio_modbus::Result<Response>;

fn lost(error: &io::Error) -> Trouble {
    Trouble::Lost(error.to_string())
}

fn request(question: &Question) -> Request<'_> {
    match question {
        Question::Read { table: Table::Holding, address, count } => Request::ReadHoldingRegisters(*address, *count),
        Question::Read { table: Table::Input, address, count } => Request::ReadInputRegisters(*address, *count),
        Question::Read { table: Table::Coil, address, count } => Request::ReadCoils(*address, *count),
        Question::Read { table: Table::Discrete, address, count } => Request::ReadDiscreteInputs(*address, *count),
        Question::WriteCoil { address, on } => Request::WriteSingleCoil(*address, *on),
        Question::WriteCoils { address, on } => Request::WriteMultipleCoils(*address, on.as_slice().into()),
        Question::WriteOne { address, word } => Request::WriteSingleRegister(*address, *word),
        Question::Write { address, words } => Request::WriteMultipleRegisters(*address, words.as_slice().into()),
        Question::ReadWrite { read, count, address, words } => {
            Request::ReadWriteMultipleRegisters(*read, *count, *address, words.as_slice().into())
        }
    }
}

/// The words of an answer; one that does not match its question, in address, value or count, is damaged.
fn words(question: &Question, response: Response) -> Answered {
    let fits = match (&response, question) {
        (Response::WriteMultipleRegisters(at, count), Question::Write { address, words }) => {
            at == address && usize::from(*count) == words.len()
        }
        (Response::WriteMultipleCoils(at, count), Question::WriteCoils { address, on }) => {
            at == address && usize::from(*count) == on.len()
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
