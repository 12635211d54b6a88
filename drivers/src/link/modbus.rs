//! The register link: `modbus-tcp://…` and `modbus-rtu:…`. To the session it is a wire that carries lines and answers; what
//! goes over the bus are the registers of a mailbox (`modbus::mailbox`) or of a machine that is given program files
//! (`modbus::program`), as the profile says.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{Address, Link, Opened, Opening};
use crate::Moment;
use crate::modbus::bus::{Bus, Patience};
use crate::modbus::program::PULSE;
use crate::modbus::{Conversation, Modbus, Question, Trouble, address, mailbox, program};
use crate::notice::Notice;

/// Bytes that may wait between the session and the registers, each way: more than the session's window.
const WIRE_BYTES: usize = 16 * 1024;

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
    settings: Modbus,
}

async fn open(address: &Address) -> Result<Opened, Notice> {
    let settings = address.modbus.clone().unwrap_or_default();
    let mut place = address::Address::parse(&address.port)?;
    place.baud = place.baud.or(Some(address.baud));
    let unit = place.unit.unwrap_or(settings.unit);
    let bus = Bus::on(&place, &settings).map_err(|error| super::refused(&address.port, &error))?;
    let patience = Patience::of(&settings);
    let machine = Machine { bus, unit, patience, settings };
    machine.greet(&address.port).await?;
    let (wire, far_end) = tokio::io::duplex(WIRE_BYTES);
    tokio::spawn(machine.carry(far_end));
    Ok(Opened { wire: Box::new(wire), may_reset: false })
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
                let to_do = "Check the machine's power, the address, the unit and the line's settings; `fab-agent modbus scan` looks for units.";
                let asked = self.asked(&question);
                Notice::new(trouble.code(), format!("Unit {unit} on {port}{asked}: {trouble}."), done, to_do)
            })?;
            host.answered(Moment::ZERO, &question, &words).map_err(|why| {
                let to_do = "Check `modbus.mailbox.base` in the profile and the controller's program (docs/modbus.md).";
                Notice::new("modbus.no_mailbox", format!("Unit {unit} on {port} has no mailbox: {why}."), done, to_do)
            })?;
        }
        Ok(())
    }

    /// Which points a question is about.
    fn asked(&self, question: &Question) -> String {
        let names = question.points(&self.settings.points);
        if names.is_empty() { String::new() } else { format!(", asked for {}", names.join(", ")) }
    }

    /// Carries lines and answers until one of the two ends is gone.
    async fn carry(self, mut wire: DuplexStream) {
        #[expect(clippy::disallowed_methods, reason = "a link is where the clock is read")]
        let started = Instant::now();
        let now = || Moment::ZERO + started.elapsed();
        let mut host = self.conversation(now());
        let (mut heard, mut said) = ([0_u8; 4096], Vec::new());
        // Each question is asked once: the host knows better than the bus what is still worth asking.
        let silence = if host.stands_late_answers() { SILENCE } else { self.patience.silence };
        let patience = Patience { retries: 0, silence, ..self.patience };
        loop {
            let mut wait = Duration::ZERO;
            if let Some(question) = host.question(now()) {
                if let Err(why) = self.ask(host.as_mut(), question, patience, now).await {
                    tracing::warn!(unit = self.unit, why, "the machine is gone");
                    return;
                }
                if now().since(host.answered_at()) > host.lost_after() {
                    return;
                }
            } else {
                wait = host.wakes_at().since(now());
            }
            host.take_said(&mut said);
            if wire.write_all(&said).await.is_err() {
                break;
            }
            said.clear();
            let pause = async {
                // What the session has said meanwhile is taken without waiting for more.
                if wait.is_zero() { tokio::task::yield_now().await } else { tokio::time::sleep(wait).await }
            };
            let read = tokio::select! {
                biased;
                read = wire.read(&mut heard) => read,
                () = pause => continue,
            };
            match read {
                Ok(count) if count > 0 => host.hear(now(), &heard[..count]),
                _ => break,
            }
        }
        self.leave(host.as_mut()).await;
    }

    /// Asks one question of the host's.
    ///
    /// # Errors
    /// The machine is not what it was.
    async fn ask(
        &self,
        host: &mut dyn Conversation,
        question: Question,
        patience: Patience,
        now: impl Fn() -> Moment,
    ) -> Result<(), String> {
        match self.bus.ask(self.unit, question.clone(), patience).await {
            Ok(words) => host.answered(now(), &question, &words),
            Err(trouble) => {
                tracing::debug!(unit = self.unit, %trouble, ?question, "no answer");
                host.unanswered(now(), &question, &trouble);
                Ok(())
            }
        }
    }

    /// The session is gone: a machine that moves is made to stand.
    async fn leave(&self, host: &mut dyn Conversation) {
        for (at, question) in host.goodbye().into_iter().enumerate() {
            if at > 0 {
                tokio::time::sleep(PULSE).await;
            }
            let asked: Result<_, Trouble> = self.bus.ask_first(self.unit, question, self.patience).await;
            if let Err(trouble) = asked {
                tracing::warn!(unit = self.unit, %trouble, "the machine could not be asked to stand still");
            }
        }
    }
}
