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

/// Quiet behind an answer that shows that it is complete. Nobody is handed a machine before it is quiet: an answer that
/// comes later would count for a line of the job.
const QUIET: Duration = Duration::from_millis(250);

/// Longest that is waited for that quiet: a machine that reports by itself is never silent for long.
const QUIET_PATIENCE: Duration = Duration::from_secs(2);

/// Times the questions are gone through where nothing at all came back: the first may have been lost in a bootloader.
const ROUNDS: u32 = 2;

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

/// What was heard on a port.
struct Ear {
    wire: Box<dyn link::Wire>,
    heard: Vec<u8>,
    /// The other end is gone.
    closed: bool,
}

/// Asks on one port, at one baud rate after the other, one question at a time: the next one only when the one before was
/// answered, or has had its time.
///
/// # Errors
/// The port cannot be opened, or nobody known answers (`machine.unknown`): what was heard is quoted.
pub async fn probe(port: &str, bauds: &[u32]) -> Result<Found, Notice> {
    let mut said = None;
    for baud in bauds {
        let opened = link::open(&Address { port: port.to_owned(), baud: *baud, modbus: None }).await?;
        let mut ear = Ear { wire: opened.wire, heard: Vec::new(), closed: false };
        let found = ear.ask_all(port, opened.may_reset).await?;
        if let Some((dialect, line)) = found {
            ear.until_quiet(QUIET_PATIENCE).await;
            return Ok(Found { dialect, baud: *baud, said: line });
        }
        if ear.closed {
            // Whoever serves the port has said why, if anything.
            return Err(closed(port, last_line(&ear.heard)));
        }
        // The rate at which most of it is text says most.
        let line = last_line(&ear.heard);
        if said.is_none() || (line.is_some() && std::str::from_utf8(&ear.heard).is_ok()) {
            said = line.or(said);
        }
    }
    Err(unknown(port, said))
}

/// The questions of all dialects on such a link, each once.
fn questions(registers: bool) -> Vec<&'static str> {
    let mut questions = Vec::new();
    for dialect in dialect::ALL.iter().filter(|dialect| dialect.habits().registers == registers) {
        // What stands in front of the last line is no question for the name.
        let question = dialect.habits().identify.lines().last().unwrap_or_default();
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    questions
}

impl Ear {
    async fn ask_all(&mut self, port: &str, may_reset: bool) -> Result<Option<(&'static str, String)>, Notice> {
        // A board that was reset says its banner first.
        self.listen(if may_reset { BOOT } else { Duration::ZERO }).await;
        for _ in 0..ROUNDS {
            for question in questions(address::is_modbus(port)) {
                if let Some((dialect, Likeness::Proof, line)) = self.known() {
                    return Ok(Some((dialect, line)));
                }
                if self.closed {
                    return Ok(None);
                }
                // A line end first ends whatever was half-written. Each question is unknown to the other dialects, which
                // say so and do nothing.
                if self.wire.write_all(format!("\n{question}\n").as_bytes()).await.is_err() {
                    self.closed = true;
                    return Ok(None);
                }
                self.listen(ANSWER).await;
            }
            if !self.heard.is_empty() {
                break;
            }
        }
        // What its kin say too counts when everybody was asked: the one it really is may not have answered before.
        Ok(self.known().map(|(dialect, _, line)| (dialect, line)))
    }

    /// Listens until an answer is complete, or for that time where none comes.
    async fn listen(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        let before = self.heard.len();
        while !self.closed && self.heard.len() <= NOISE_BYTES {
            let quiet = tokio::time::Instant::now() + QUIET;
            let until = if self.heard.len() > before { quiet.min(until + QUIET_PATIENCE) } else { until };
            if !self.read_until(until).await {
                return;
            }
        }
    }

    async fn until_quiet(&mut self, patience: Duration) {
        let until = tokio::time::Instant::now() + patience;
        while !self.closed && tokio::time::Instant::now() < until {
            if !self.read_until(tokio::time::Instant::now() + QUIET).await {
                return;
            }
        }
    }

    /// Reads once. False: nothing came by then.
    async fn read_until(&mut self, until: tokio::time::Instant) -> bool {
        let mut buffer = [0_u8; 1024];
        match tokio::time::timeout_at(until, self.wire.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => {
                if self.heard.len() <= NOISE_BYTES {
                    self.heard.extend_from_slice(&buffer[..count]);
                }
                true
            }
            Ok(_) => {
                self.closed = true;
                false
            }
            Err(_) => false,
        }
    }

    /// Who was heard, and how surely; the surest, and of those the first.
    fn known(&self) -> Option<(&'static str, Likeness, String)> {
        let mut best: Option<(&'static str, Likeness, String)> = None;
        for line in self.heard.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let Some((dialect, likeness)) = dialect::of_line(line) else { continue };
            if best.as_ref().is_none_or(|(_, best, _)| likeness > *best) {
                best = Some((dialect.habits().name, likeness, dialect::printable(line)));
            }
        }
        best
    }
}

/// The last line that is none of the questions come back, as it may be quoted.
fn last_line(heard: &[u8]) -> Option<String> {
    let echo = |line: &&[u8]| [true, false].into_iter().flat_map(questions).any(|asked| asked.as_bytes() == *line);
    let mut lines = heard.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    let line = lines.rfind(|line| !line.is_empty() && !echo(line))?;
    Some(crate::session::quoted(line))
}

fn closed(port: &str, said: Option<String>) -> Notice {
    let Some(said) = said else { return link::lost(port, None) };
    let mut notice = link::lost(port, None);
    notice.happened = format!("{} The last it said was `{said}`.", notice.happened);
    notice
}

fn unknown(port: &str, said: Option<String>) -> Notice {
    let happened = match said {
        Some(said) => {
            format!(
                "What answers on {port} speaks no dialect the agent knows, or does not name itself: it said `{said}`."
            )
        }
        None => format!("Nothing on {port} answers in a dialect the agent knows, and nothing else came either."),
    };
    Notice::new(
        "machine.unknown",
        happened,
        "Only questions were sent.",
        "Check that the machine is on and that this is its port; name its baud rate with --baud and its dialect with --dialect. \
         One that does not name itself is attached by your word with --attach.",
    )
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_question_is_put_once() {
        assert_eq!(questions(false), ["M115", "$I", "$I+"]);
        assert_eq!(questions(true), ["$I"]);
    }

    #[test]
    fn what_comes_back_is_no_answer_to_quote() {
        assert_eq!(last_line(b"M115\r\nERROR\r\n\n$I+\n"), Some("ERROR".to_owned()));
        assert_eq!(last_line(b"M115\n$I\n"), None);
    }
}
