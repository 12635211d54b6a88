//! The flight recorder: what went into a session and what it said, with times, as text that people can read and that
//! runs again.
//!
//! ```text
//! fab-agent recording 1
//! agent 0.1.0
//! machine printer
//! profile prusa-mk3s
//! port /dev/ttyUSB0
//! zero 1795523232.000000
//! why link.lost The connection to the machine was lost: …
//!
//! 0.000000 new {"name":"prusa-mk3s","dialect":"marlin",…}
//! 0.000210 up reset
//! 2.500313 say M115\n
//! 2.503120 hear ok\n
//! 3.000000 ask {"Start":{"id":"…","lines":5,"from_line":1}}
//! 3.000010 line 1 G28
//! 3.000010 fed
//! ```
//!
//! It begins with `new` and the machine's profile, or, where the beginning was dropped, with `state` and the whole
//! session.
//!
//! Times are seconds since the session's own zero; `zero` is that moment in seconds since 1970. A session is a value,
//! so its state and what went in are all it takes: [`replay()`] needs no machine and no clock.

mod replay;
mod text;

use std::fmt::Write as _;

use crate::moment::Moment;
use crate::profile::Profile;
use crate::request::Request;
use crate::session::{Input, Session, Urgent};

pub use replay::{Difference, Replayed, Told, replay};
use text::escape;
pub(crate) use text::{escaped, unescape};

/// The version of the format. It goes up when an older agent could not read it any more.
pub const VERSION: u32 = 1;

/// Text kept before the older half of a recording is dropped and a new one begins with the session's state. Two
/// halves at 115200 baud are about half a minute of a job at full speed, and hours of a machine at rest.
const HALF_BYTES: usize = 512 * 1024;

/// What a recording is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    /// The machine's name.
    pub machine: &'a str,
    /// Its profile's name.
    pub profile: &'a str,
    /// Its port.
    pub port: &'a str,
    /// The session's zero in microseconds since 1970.
    pub zero_us: u64,
    /// Why it was made: a notice, or nothing where somebody asked for it.
    pub why: &'a str,
}

/// Keeps the last of what a session took in and said. Memory is bounded; noting costs a copy.
#[derive(Debug)]
pub struct Recorder {
    /// Text, ASCII but for what serde writes: kept as bytes, because what is copied needs no look at its encoding.
    older: Vec<u8>,
    newer: Vec<u8>,
    half_bytes: usize,
}

impl Recorder {
    /// A recorder of a session that was made at that moment and has not heard anything yet.
    pub fn new(profile: &Profile, now: Moment) -> Self {
        Self::with_half(profile, now, HALF_BYTES)
    }

    /// As [`Recorder::new`], with a size of one's own for each of its two halves, in bytes of text.
    pub fn with_half(profile: &Profile, now: Moment, half_bytes: usize) -> Self {
        let mut recorder = Self { older: Vec::new(), newer: Vec::new(), half_bytes };
        recorder.json(now, "new", profile);
        recorder
    }

    /// Notes what is about to be handed to the session. Time counts only where something is due: the rest changes
    /// nothing.
    pub fn input(&mut self, at: Moment, session: &Session, input: &Input<'_>) {
        match input {
            Input::LinkUp { may_reset: true } => self.entry(at, "up reset"),
            Input::LinkUp { may_reset: false } => self.entry(at, "up"),
            Input::LinkDown(notice) => self.json(at, "down", notice),
            // What was read at once stays together: the session answers it at once.
            Input::Bytes(bytes) => self.bytes(at, "hear ", bytes),
            Input::ProgramLine { number, bytes } => {
                self.time(at);
                self.newer.extend_from_slice(b"line ");
                self.newer.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
                self.newer.push(b' ');
                escape(bytes, &mut self.newer);
                self.newer.push(b'\n');
            }
            Input::ProgramEnd => self.entry(at, "end"),
            Input::ProgramTrouble(notice) => self.json(at, "trouble", notice),
            Input::Drives(drives) => self.json(at, "drives", drives),
            Input::ProgramStalled(notice) => self.json(at, "stalled", notice),
            Input::WatchTable => self.entry(at, "watch table"),
            Input::Time if session.deadline().is_some_and(|due| due <= at) => self.entry(at, "time"),
            Input::Time => {}
        }
    }

    /// Notes that what a batch of program lines made possible is about to be said.
    pub fn fed(&mut self, at: Moment) {
        self.entry(at, "fed");
    }

    /// Notes what is about to be asked of the session.
    pub fn request(&mut self, at: Moment, request: &Request) {
        self.json(at, "ask", request);
    }

    /// Notes what the session said.
    pub fn output(&mut self, at: Moment, urgent: Option<&Urgent>, wire: &[u8]) {
        if let Some(urgent) = urgent {
            self.bytes(at, if urgent.discard { "urgent drop " } else { "urgent keep " }, &urgent.bytes);
        }
        for line in wire.split_inclusive(|byte| *byte == b'\n') {
            self.bytes(at, "say ", line);
        }
    }

    /// Begins a new half when this one is full. To be called when everything that the session said has been taken.
    pub fn turn(&mut self, at: Moment, session: &Session) {
        if self.newer.len() >= self.half_bytes {
            self.older = std::mem::take(&mut self.newer);
            self.state(session, at);
        }
    }

    /// The recording so far.
    pub fn text(&self, head: &Head<'_>) -> String {
        let mut text = String::with_capacity(self.older.len() + self.newer.len() + 512);
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let (seconds, micros) = (head.zero_us / 1_000_000, head.zero_us % 1_000_000);
        let _ = write!(
            text,
            "fab-agent recording {VERSION}\nagent {}\nmachine {}\nprofile {}\nport {}\nzero {seconds}.{micros:06}\nwhy {}\n\n",
            env!("CARGO_PKG_VERSION"),
            one_line(head.machine),
            one_line(head.profile),
            one_line(head.port),
            one_line(head.why),
        );
        text.push_str(&String::from_utf8_lossy(&self.older));
        text.push_str(&String::from_utf8_lossy(&self.newer));
        text
    }

    fn state(&mut self, session: &Session, at: Moment) {
        match session.freeze() {
            Ok(state) => {
                self.time(at);
                self.newer.extend_from_slice(b"state ");
                self.newer.extend_from_slice(state.as_bytes());
                self.newer.push(b'\n');
            }
            // A state that cannot be written is no reason to lose the conversation.
            Err(why) => self.entry(at, &format!("unknown {why}")),
        }
    }

    /// Two of these stand before every line of a job: they are written without `format!`, which takes longer than all
    /// else here (`perf record` on `benches/streaming`).
    fn time(&mut self, at: Moment) {
        let mut digits = itoa::Buffer::new();
        self.newer.extend_from_slice(digits.format(at.0 / 1_000_000).as_bytes());
        self.newer.push(b'.');
        // A million more, so that the zeros in front are written too; that one is left out again.
        self.newer.extend_from_slice(&digits.format(1_000_000 + at.0 % 1_000_000).as_bytes()[1..]);
        self.newer.push(b' ');
    }

    fn entry(&mut self, at: Moment, what: &str) {
        self.time(at);
        self.newer.extend_from_slice(what.as_bytes());
        self.newer.push(b'\n');
    }

    fn bytes(&mut self, at: Moment, what: &str, bytes: &[u8]) {
        self.time(at);
        self.newer.extend_from_slice(what.as_bytes());
        escape(bytes, &mut self.newer);
        self.newer.push(b'\n');
    }

    fn json(&mut self, at: Moment, what: &str, value: &impl serde::Serialize) {
        self.time(at);
        self.newer.extend_from_slice(what.as_bytes());
        self.newer.push(b' ');
        self.newer.extend_from_slice(serde_json::to_string(value).unwrap_or_default().as_bytes());
        self.newer.push(b'\n');
    }
}
