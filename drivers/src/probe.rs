//! Finds out who is on a port: asks every dialect's question and listens, without sending anything that acts.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::dialect::{self, Likeness};
use crate::link::{self, Address};
use crate::modbus::address;
use crate::notice::Notice;

/// Baud rates tried, the usual ones first.
pub const BAUDS: [u32; 5] = [115_200, 250_000, 57_600, 38_400, 9_600];

/// How long a board may take to boot and answer after its port was opened.
const BOOT: Duration = Duration::from_secs(3);

/// How long an answer may take from a machine that runs.
const ANSWER: Duration = Duration::from_millis(800);

/// Bytes listened to before a port counts as noise.
const NOISE_BYTES: usize = 64 * 1024;

/// Who was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Name of the dialect.
    pub dialect: &'static str,
    /// Bits per second.
    pub baud: u32,
    /// The line that gave it away, printable.
    pub said: String,
}

/// Asks on one port, at one baud rate after the other.
///
/// # Errors
/// The port cannot be opened, or nobody known answers (`machine.unknown`).
pub async fn probe(port: &str, bauds: &[u32]) -> Result<Found, Notice> {
    for baud in bauds {
        let opened = link::open(&Address { port: port.to_owned(), baud: *baud, modbus: None }).await?;
        let mut wire = opened.wire;
        let rounds: &[Duration] =
            if opened.may_reset { &[BOOT, ANSWER, ANSWER] } else { &[Duration::ZERO, ANSWER, ANSWER] };
        let mut heard = Vec::new();
        for (round, listen) in rounds.iter().enumerate() {
            if let Some(found) = hear(&mut wire, &mut heard, *listen, round > 0, *baud).await {
                return Ok(found);
            }
            // A line end first ends whatever was half-written. Each question is unknown to the other dialects, which
            // say so and do nothing.
            let registers = address::is_modbus(port);
            for dialect in dialect::ALL.iter().filter(|dialect| dialect.habits().registers == registers) {
                let question = format!("\n{}\n", dialect.habits().identify);
                if wire.write_all(question.as_bytes()).await.is_err() {
                    return Err(link::lost(port, None));
                }
            }
        }
        if let Some(found) = hear(&mut wire, &mut heard, ANSWER, true, *baud).await {
            return Ok(found);
        }
    }
    Err(Notice::new(
        "machine.unknown",
        format!("Nobody on {port} answers in a dialect the agent knows."),
        "Only questions were sent.",
        "Check that the machine is on and that this is its port; name its baud rate with --baud and its dialect with --dialect.",
    ))
}

/// Listens for `time`. What only one firmware says ends it; what its kin say too counts at the end, and only if
/// everybody was `asked`: the one it really is may not have answered yet.
async fn hear(
    wire: &mut Box<dyn link::Wire>,
    heard: &mut Vec<u8>,
    time: Duration,
    asked: bool,
    baud: u32,
) -> Option<Found> {
    let until = tokio::time::Instant::now() + time;
    let mut kin = None;
    let mut buffer = [0_u8; 1024];
    while let Ok(Ok(count)) = tokio::time::timeout_at(until, wire.read(&mut buffer)).await {
        if count == 0 || heard.len() > NOISE_BYTES {
            return None;
        }
        heard.extend_from_slice(&buffer[..count]);
        for line in heard.split(|byte| *byte == b'\n' || *byte == b'\r') {
            let Some((dialect, likeness)) = dialect::of_line(line) else { continue };
            let found = Found { dialect: dialect.habits().name, baud, said: dialect::printable(line) };
            if likeness == Likeness::Proof {
                return Some(found);
            }
            kin.get_or_insert(found);
        }
    }
    kin.filter(|_| asked)
}
