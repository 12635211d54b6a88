//! The register link: `modbus-tcp://…` and `modbus-rtu:…`. To the session it is a wire that carries lines and answers; what
//! goes over the bus are the registers of a mailbox (`modbus::mailbox`) or of a machine that is given program files
//! (`modbus::program`), as the profile says.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, ReadHalf, WriteHalf,
};

use super::{Address, Link, Opened, Opening};
use crate::Moment;
use crate::modbus::bus::{Answered, Bus, Coming, Patience};
use crate::modbus::program::PULSE;
use crate::modbus::{Conversation, Modbus, Question, address, mailbox, program};
use crate::notice::Notice;

/// Bytes that may wait between the session and the registers, each way: more than the session's window.
const WIRE_BYTES: usize = 16 * 1024;

/// What the session is told waits, while questions and answers follow each other faster than that, until there is so much
/// of it or for so long: the session need not be woken for each answer. This is a quarter of its window in lines.
const TOLD_BYTES: usize = 16 * b"ok\n".len();
const TOLD_AFTER: Duration = Duration::from_millis(1);

/// Silence on a serial line after an overdue answer, where late ones show that they are late. This only lets a frame that
/// is on its way go by: 256 characters at 115200 baud take 24 ms.
const SILENCE: Duration = Duration::from_millis(30);

/// The register link.
pub(super) struct Registers;

impl Link for Registers {
    fn serves(&self, port: &str) -> bool {
        address::is_modbus(port)
    }

    fn open<'a>(&'a self, address: &'a Address) -> Opening<'a> {
        Box::pin(open(address))
    }
}

/// One machine on a bus.
struct Machine {
    bus: Bus,
    unit: u8,
    patience: Patience,
    /// Whether questions may be asked together, and more may wait behind those that are being asked.
    asks_ahead: bool,
    settings: Modbus,
}

async fn open(address: &Address) -> Result<Opened, Notice> {
    let settings = address.modbus.clone().unwrap_or_default();
    let mut place = address::Address::parse(&address.port)?;
    place.baud = place.baud.or(Some(address.baud));
    let unit = place.unit.unwrap_or(settings.unit);
    let bus = Bus::on(&place, &settings).map_err(|error| super::refused(&address.port, &error))?;
    let patience = Patience::of(&settings);
    let asks_ahead = matches!(place.way, address::Way::Tcp(_));
    let machine = Machine { bus, unit, patience, asks_ahead, settings };
    machine.greet(&address.port).await?;
    let (wire, far_end) = tokio::io::duplex(WIRE_BYTES);
    let why = Arc::new(OnceLock::new());
    // On the bus's own thread: between an answer and the next question no other thread has to wake up.
    machine.bus.clone().spawn(machine.carry(SessionEnd::new(far_end), why.clone()));
    Ok(Opened { wire: Box::new(Carried { wire, why }), may_reset: false })
}

/// The shell's end of the link, which says why the machine is gone when it is.
struct Carried {
    wire: DuplexStream,
    why: Arc<OnceLock<String>>,
}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(context, buffer))?;
        match self.why.get().filter(|_| buffer.filled().len() == before) {
            Some(why) => Poll::Ready(Err(io::Error::other(why.clone()))),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Carried {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.wire).poll_write(context, bytes)) {
            Err(error) => Poll::Ready(Err(self.why.get().map_or(error, |why| io::Error::other(why.clone())))),
            wrote => Poll::Ready(wrote),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

impl Machine {
    fn conversation(&self, now: Moment) -> Box<dyn Conversation> {
        match program::Host::new(&self.settings, now) {
            Some(host) => Box::new(host),
            None => Box::new(mailbox::Host::new(self.settings.mailbox, now)),
        }
    }

    /// Looks what is there, before anything is written.
    async fn greet(&self, port: &str) -> Result<(), Notice> {
        let mut host = self.conversation(Moment::ZERO);
        let (unit, done) = (self.unit, "Nothing was written.");
        while let Some(question) = host.question(Moment::ZERO).filter(|_| !host.knows_machine()) {
            let words = self.bus.ask(unit, question.clone(), self.patience).await.map_err(|trouble| {
                let place = question.place(&self.settings.points);
                let happened = format!("Unit {unit} on {port}, asked for {place}: {trouble}.");
                Notice::new(trouble.code(), happened, done, trouble.to_do())
            })?;
            host.answered(Moment::ZERO, &question, &words).map_err(|why| {
                let to_do = "Check `modbus.mailbox.base` in the profile and the controller's program (docs/modbus.md).";
                Notice::new("modbus.no_mailbox", format!("Unit {unit} on {port} has no mailbox: {why}."), done, to_do)
            })?;
        }
        Ok(())
    }

    /// Carries lines and answers until one of the two ends is gone; `gone` is told why, if it is the machine.
    async fn carry(self, mut session: SessionEnd, gone: Arc<OnceLock<String>>) {
        #[expect(clippy::disallowed_methods, reason = "a link is where the clock is read")]
        let started = Instant::now();
        let now = || Moment::ZERO + started.elapsed();
        let mut host = self.conversation(now());
        // Each question is asked once: the host knows better than the bus what is still worth asking.
        let silence = if host.stands_late_answers() { SILENCE } else { self.patience.silence };
        let patience = Patience { retries: 0, silence, ..self.patience };
        let mut asked: VecDeque<(Vec<Question>, Coming)> = VecDeque::new();
        loop {
            while host.is_urgent() && asked.len() > 1 {
                // A stop waits behind what is on its way, and not behind what waits itself.
                let left = asked.pop_back().map_or(0, |(questions, _)| questions.len());
                (0..left).for_each(|_| host.taken_back());
            }
            loop {
                let urgent = host.is_urgent();
                let Some(questions) = self.next_questions(host.as_mut(), asked.len(), now()) else { break };
                let coming = if urgent {
                    self.bus.post_first(self.unit, questions.clone(), patience).await
                } else {
                    self.bus.post(self.unit, questions.clone(), patience).await
                };
                asked.push_back((questions, coming));
            }
            session.gather(host.as_mut(), now());
            let (wakes_at, hurry) =
                if asked.is_empty() { (Some(host.wakes_at()), true) } else { (session.tell_at(), !self.asks_ahead) };
            let wait = wakes_at.map_or(Duration::ZERO, |at| at.since(now()));
            let goes_on = tokio::select! {
                biased;
                answers = answers_to(asked.front_mut()) => {
                    let questions = asked.pop_front().map(|(questions, _)| questions).unwrap_or_default();
                    for (question, answered) in questions.iter().zip(answers) {
                        if let Err(why) = self.tell(host.as_mut(), question, answered, now()) {
                            // Said before the session's end of the link is let go of.
                            let _ = gone.set(format!("unit {}: {why}", self.unit));
                            return;
                        }
                    }
                    true
                }
                goes_on = session.step(host.as_mut(), hurry, &now) => goes_on,
                () = tokio::time::sleep(wait), if wakes_at.is_some() => true,
            };
            if !goes_on {
                return self.leave(host.as_mut()).await;
            }
        }
    }

    /// What is to be asked together while so many such groups are on their way. On a serial line a second question would
    /// gain nothing, and keep a stop waiting.
    fn next_questions(&self, host: &mut dyn Conversation, groups: usize, now: Moment) -> Option<Vec<Question>> {
        let at_once = if self.asks_ahead { host.questions_at_once() } else { 1 };
        let first = match groups {
            0 => host.question(now),
            1 if self.asks_ahead => host.question_ahead(now),
            _ => None,
        };
        let mut questions = vec![first?];
        questions.extend((1..at_once).map_while(|_| host.question_ahead(now)));
        Some(questions)
    }

    /// Tells the host what became of its question.
    ///
    /// # Errors
    /// The machine is not what it was, or has not answered for as long as it may.
    fn tell(
        &self,
        host: &mut dyn Conversation,
        question: &Question,
        answered: Answered,
        now: Moment,
    ) -> Result<(), String> {
        match answered {
            Ok(words) => host.answered(now, question, &words)?,
            Err(trouble) => {
                tracing::debug!(unit = self.unit, %trouble, ?question, "no answer");
                host.unanswered(now, question, &trouble);
            }
        }
        let silence = now.since(host.answered_at());
        if silence > host.lost_after() {
            return Err(format!("nothing was answered for {} s", silence.as_secs()));
        }
        Ok(())
    }

    /// The session is gone: a machine that moves is made to stand.
    async fn leave(&self, host: &mut dyn Conversation) {
        for (at, question) in host.goodbye().into_iter().enumerate() {
            if at > 0 {
                tokio::time::sleep(PULSE).await;
            }
            let asked = self.bus.ask_first(self.unit, question, self.patience).await;
            if let Err(trouble) = asked {
                tracing::warn!(unit = self.unit, %trouble, "the machine could not be asked to stand still");
            }
        }
    }
}

/// The answers to what was asked first; never, where nothing was.
async fn answers_to(asked: Option<&mut (Vec<Question>, Coming)>) -> Vec<Answered> {
    match asked {
        Some((_, coming)) => coming.answers().await,
        None => std::future::pending().await,
    }
}

/// The session's end of the link.
struct SessionEnd {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    /// What the session is told and has not taken yet, and since when it waits.
    said: Vec<u8>,
    said_at: Moment,
    heard: [u8; 4096],
}

impl SessionEnd {
    fn new(wire: DuplexStream) -> Self {
        let (reader, writer) = tokio::io::split(wire);
        Self { reader, writer, said: Vec::new(), said_at: Moment::ZERO, heard: [0; 4096] }
    }

    /// Takes what the session is to be told.
    fn gather(&mut self, host: &mut dyn Conversation, now: Moment) {
        if self.said.is_empty() {
            self.said_at = now;
        }
        host.take_said(&mut self.said);
    }

    /// When what waits is told at the latest.
    fn tell_at(&self) -> Option<Moment> {
        (!self.said.is_empty()).then(|| self.said_at + TOLD_AFTER)
    }

    /// Moves bytes in the direction in which some can be moved, once; what the session is told at once if there is a hurry.
    /// Whether the session is still there. Nothing is lost when it is given up before it has ended.
    async fn step(&mut self, host: &mut dyn Conversation, hurry: bool, now: &impl Fn() -> Moment) -> bool {
        let due = hurry || self.said.len() >= TOLD_BYTES || self.tell_at().is_some_and(|at| at <= now());
        let (tells, has_room) = (due && !self.said.is_empty(), self.said.len() < WIRE_BYTES);
        tokio::select! {
            biased;
            wrote = self.writer.write(&self.said), if tells => match wrote {
                Ok(count) => {
                    self.said.drain(..count);
                    count > 0
                }
                Err(_) => false,
            },
            // A session that takes no answers says nothing more either: what waits for it stays bounded.
            read = self.reader.read(&mut self.heard), if has_room => match read {
                Ok(count) => {
                    host.hear(now(), &self.heard[..count]);
                    count > 0
                }
                Err(_) => false,
            },
        }
    }
}
