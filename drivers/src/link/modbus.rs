//! The mailbox link: `modbus-tcp://…` and `modbus-rtu:…`. To the session it is a wire that carries lines and answers; what
//! goes over the bus are the mailbox's registers (`modbus::mailbox`).

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{Address, Link, Opened, Opening};
use crate::Moment;
use crate::modbus::bus::{Bus, Patience};
use crate::modbus::mailbox::{Command, HOST_BLOCK, Host, MACHINE_WORDS, host_block, machine};
use crate::modbus::{Modbus, Question, Table, Trouble, address};
use crate::notice::Notice;

/// Bytes that may wait between the session and the mailbox, each way: more than the session's window.
const WIRE_BYTES: usize = 16 * 1024;

/// Silence on a serial line after an overdue answer. The mailbox stands late answers, so this only lets a frame that is
/// on its way go by: 256 characters at 115200 baud take 24 ms.
const SILENCE: Duration = Duration::from_millis(30);

/// The mailbox link.
pub(super) struct Mailbox;

impl Link for Mailbox {
    fn serves(&self, port: &str) -> bool {
        address::is_modbus(port)
    }

    fn open<'a>(&'a self, address: &'a Address) -> Opening<'a> {
        Box::pin(open(address))
    }
}

/// One mailbox on a bus.
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
    let patience = Patience { silence: SILENCE, ..Patience::of(&settings) };
    let machine = Machine { bus, unit, patience, settings };
    machine.greet(&address.port).await?;
    let (wire, far_end) = tokio::io::duplex(WIRE_BYTES);
    tokio::spawn(machine.carry(far_end));
    Ok(Opened { wire: Box::new(wire), may_reset: false })
}

impl Machine {
    /// Looks whether there is a mailbox, before anything is written.
    async fn greet(&self, port: &str) -> Result<(), Notice> {
        let question =
            Question::Read { table: Table::Holding, address: self.settings.mailbox.base, count: MACHINE_WORDS };
        let done = "Nothing was written.";
        let words = self.bus.ask(self.unit, question.clone(), self.patience).await.map_err(|trouble| {
            let to_do = "Check the machine's power, the address, the unit and the line's settings; `fab-agent modbus scan` looks for units.";
            Notice::new(trouble.code(), format!("Unit {} on {port}: {trouble}.", self.unit), done, to_do)
        })?;
        let mut host = Host::new(self.settings.mailbox.base, false, Moment::ZERO);
        host.answered(Moment::ZERO, &question, &words).map_err(|why| {
            let to_do = "Check `modbus.mailbox.base` in the profile and the controller's program (docs/modbus.md).";
            Notice::new(
                "modbus.no_mailbox",
                format!("Unit {} on {port} has no mailbox: {why}.", self.unit),
                done,
                to_do,
            )
        })
    }

    /// Carries lines and answers until one of the two ends is gone.
    async fn carry(self, mut wire: DuplexStream) {
        #[expect(clippy::disallowed_methods, reason = "a link is where the clock is read")]
        let started = Instant::now();
        let now = || Moment::ZERO + started.elapsed();
        let mailbox = self.settings.mailbox;
        let lost_after = Duration::from_millis(mailbox.lost_after_ms);
        let mut host = Host::new(mailbox.base, mailbox.read_write, now());
        let (mut heard, mut said) = ([0_u8; 4096], Vec::new());
        // Each question is asked once: the host knows better than the bus what is still worth asking.
        let patience = Patience { retries: 0, ..self.patience };
        loop {
            let mut wait = Duration::ZERO;
            if let Some(question) = host.question(now()) {
                if let Err(why) = self.ask(&mut host, question, patience, now).await {
                    tracing::warn!(unit = self.unit, why, "the mailbox is gone");
                    return;
                }
                if now().since(host.answered_at()) > lost_after {
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
        self.leave().await;
    }

    /// Asks one question of the host's.
    ///
    /// # Errors
    /// There is no mailbox any more.
    async fn ask(
        &self,
        host: &mut Host,
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

    /// The session is gone: a machine that moves is asked to hold. If this does not arrive its watchdog does the same.
    async fn leave(&self) {
        let base = self.settings.mailbox.base;
        let from = base + machine::SESSION;
        let read = Question::Read { table: Table::Holding, address: from, count: machine::STATUS_WORDS };
        let Ok(words) = self.bus.ask_first(self.unit, read, self.patience).await else { return };
        let word = |at: u16| words.get(usize::from(at - machine::SESSION)).copied().unwrap_or(0);
        if word(machine::TAKEN) == word(machine::EXECUTED) {
            return;
        }
        let order = vec![Command::Hold as u16, word(machine::COMMAND_DONE).wrapping_add(1)];
        let hold = Question::Write { address: base + HOST_BLOCK + host_block::COMMAND, words: order };
        let held: Result<_, Trouble> = self.bus.ask_first(self.unit, hold, self.patience).await;
        if let Err(trouble) = held {
            tracing::warn!(unit = self.unit, %trouble, "the machine could not be asked to hold");
        }
    }
}
