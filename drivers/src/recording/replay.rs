//! Runs a recording again: the same session, the same inputs at the same moments, in no time at all.

use std::sync::Arc;

use super::{VERSION, escaped, unescape};
use crate::dialect;
use crate::event::Event;
use crate::moment::Moment;
use crate::notice::Notice;
use crate::profile::Profile;
use crate::session::{Input, Session};
use crate::snapshot::Snapshot;

/// Differences that are kept. One is enough to know that something differs; the rest follows from it.
const DIFFERENCES_MAX: usize = 100;

/// Something that a replay tells while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Told<'a> {
    /// An entry of the recording, as it stands there.
    Entry(&'a str),
    /// What the session told of now, and perhaps then.
    Event(&'a Event),
    /// The session said something else now.
    Difference(&'a Difference),
}

/// Something that the session said otherwise than it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Line in the recording, 1-based.
    pub line: usize,
    /// What the recording holds, escaped; empty where it holds nothing.
    pub recorded: String,
    /// What the session said now, escaped; empty where it said nothing.
    pub now: String,
}

/// How a replay went.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The header, key and value.
    pub head: Vec<(String, String)>,
    /// Entries that were run.
    pub entries: usize,
    /// From the first entry to the last.
    pub lasted: std::time::Duration,
    /// Where the session said something else.
    pub differences: Vec<Difference>,
    /// What was known at the end.
    pub snapshot: Option<Snapshot>,
}

/// Runs a recording again and tells of everything in order.
///
/// # Errors
/// The text is no recording, or one of another version, or damaged: `recording.unreadable` with the line.
pub fn replay(text: &str, tell: &mut dyn FnMut(Moment, Told<'_>)) -> Result<Replayed, Notice> {
    let mut lines = text.lines().enumerate();
    let first = lines.next().map_or("", |(_, line)| line);
    let version = first.strip_prefix("fab-agent recording ").and_then(|version| version.trim().parse::<u32>().ok());
    if version != Some(VERSION) {
        return Err(unreadable(1, "it is no recording of this version"));
    }
    let mut head = Vec::new();
    for (_, line) in lines.by_ref().take_while(|(_, line)| !line.is_empty()) {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        head.push((key.to_owned(), value.to_owned()));
    }
    let mut player =
        Player { session: None, said: Vec::new(), line: 0, at: Moment::ZERO, differences: Vec::new(), tell };
    let mut span: Option<(Moment, Moment)> = None;
    let mut entries = 0;
    for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
        player.line = at + 1;
        player.entry(line)?;
        entries += 1;
        span = Some((span.map_or(player.at, |(first, _)| first), player.at));
    }
    player.quiet();
    let snapshot = player.session.as_ref().map(Session::snapshot);
    let lasted = span.map_or(std::time::Duration::ZERO, |(first, last)| last.since(first));
    Ok(Replayed { head, entries, lasted, differences: player.differences, snapshot })
}

fn unreadable(line: usize, why: &str) -> Notice {
    Notice::new(
        "recording.unreadable",
        format!("Line {line} of the recording cannot be read: {why}."),
        "It was run up to there.",
        "Use the agent that wrote it (its version stands in the second line), or a whole copy of the file.",
    )
}

struct Player<'t> {
    session: Option<Session>,
    /// What the session said and the recording has not named yet.
    said: Vec<u8>,
    line: usize,
    at: Moment,
    differences: Vec<Difference>,
    tell: &'t mut dyn FnMut(Moment, Told<'_>),
}

impl Player<'_> {
    fn entry(&mut self, line: &str) -> Result<(), Notice> {
        let number = self.line;
        let bad = |why: &str| unreadable(number, why);
        let (time, rest) = line.split_once(' ').ok_or_else(|| bad("it has no time"))?;
        self.at = moment(time).ok_or_else(|| bad("its time is no time"))?;
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if word == "new" {
            self.session = Some(fresh(rest, self.at).map_err(|why| bad(&why))?);
            return Ok(());
        }
        if word == "state" {
            // The first state is where it begins. Later ones were written by a session that went on; this one does.
            if self.session.is_none() {
                self.session = Some(Session::thaw(rest).map_err(|why| bad(&why))?);
            }
            return Ok(());
        }
        if word == "unknown" {
            self.session = None;
            return Ok(());
        }
        (self.tell)(self.at, Told::Entry(line));
        match word {
            "say" => self.recorded(&unescape(rest).ok_or_else(|| bad("its bytes are not spelled right"))?),
            "urgent" => {
                let (_, bytes) = rest.split_once(' ').ok_or_else(|| bad("something is missing"))?;
                let bytes = unescape(bytes).ok_or_else(|| bad("its bytes are not spelled right"))?;
                self.recorded_urgent(&bytes);
            }
            _ => self.input(word, rest)?,
        }
        self.events();
        Ok(())
    }

    fn input(&mut self, word: &str, rest: &str) -> Result<(), Notice> {
        let number = self.line;
        let bad = |why: &str| unreadable(number, why);
        let bytes = || unescape(rest).ok_or_else(|| bad("its bytes are not spelled right"));
        let notice = || serde_json::from_str::<Notice>(rest).map_err(|error| bad(&error.to_string()));
        // Program lines come in batches, and what they bring is taken behind the last.
        if !matches!(word, "line" | "fed" | "end" | "trouble" | "stalled") {
            self.quiet();
        }
        let now = self.at;
        let Some(session) = &mut self.session else { return Err(bad("no state stands before it")) };
        match word {
            "up" => session.handle(now, Input::LinkUp { may_reset: rest == "reset" }),
            "down" => session.handle(now, Input::LinkDown(notice()?)),
            "hear" => session.handle(now, Input::Bytes(&bytes()?)),
            "line" => {
                let (line, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let line = line.parse().map_err(|_| bad("the program line has no number"))?;
                let text = unescape(text).ok_or_else(|| bad("its bytes are not spelled right"))?;
                session.handle(now, Input::ProgramLine { number: line, bytes: &text });
            }
            "fed" => session.program_fed(now),
            "end" => session.handle(now, Input::ProgramEnd),
            "trouble" => session.handle(now, Input::ProgramTrouble(notice()?)),
            "drives" => {
                let drives = serde_json::from_str(rest).map_err(|error| bad(&error.to_string()))?;
                session.handle(now, Input::Drives(drives));
                let _ = session.take_spindle_order();
            }
            "stalled" => session.handle(now, Input::ProgramStalled(notice()?)),
            "watch" => session.handle(now, Input::WatchTable),
            "time" => session.handle(now, Input::Time),
            "ask" => {
                let request = serde_json::from_str(rest).map_err(|error| bad(&error.to_string()))?;
                // What was answered went to whoever asked; what came of it is said and told.
                let _ = session.request(now, request);
            }
            _ => return Err(bad(&format!("`{word}` is no entry"))),
        }
        let _ = session.take_reread();
        Ok(())
    }

    /// The recording says that the session said this.
    fn recorded(&mut self, bytes: &[u8]) {
        if let Some(session) = &mut self.session {
            session.take_wire(&mut self.said);
        }
        if self.said.starts_with(bytes) {
            self.said.drain(..bytes.len());
        } else {
            let now = std::mem::take(&mut self.said);
            self.differs(bytes, &now);
        }
    }

    fn recorded_urgent(&mut self, bytes: &[u8]) {
        let urgent = self.session.as_mut().and_then(Session::take_urgent);
        let now = urgent.map(|urgent| urgent.bytes).unwrap_or_default();
        if now != bytes {
            self.differs(bytes, &now);
        }
    }

    /// Nothing more was recorded before the next input: nothing more may have been said.
    fn quiet(&mut self) {
        let Some(session) = &mut self.session else { return };
        session.take_wire(&mut self.said);
        let mut now = session.take_urgent().map(|urgent| urgent.bytes).unwrap_or_default();
        now.append(&mut self.said);
        if !now.is_empty() {
            self.differs(b"", &now);
        }
    }

    fn differs(&mut self, recorded: &[u8], now: &[u8]) {
        let difference = Difference { line: self.line, recorded: escaped(recorded), now: escaped(now) };
        (self.tell)(self.at, Told::Difference(&difference));
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(difference);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
            (self.tell)(event.at, Told::Event(&event));
        }
    }
}

/// A session with a machine of that profile that nothing is known of yet.
fn fresh(profile: &str, now: Moment) -> Result<Session, String> {
    let profile: Profile = serde_json::from_str(profile).map_err(|error| error.to_string())?;
    let dialect =
        dialect::named(&profile.dialect).ok_or_else(|| format!("there is no dialect `{}`", profile.dialect))?;
    Ok(Session::new(dialect, Arc::new(profile), now))
}

/// `12.003456`: seconds and microseconds.
fn moment(text: &str) -> Option<Moment> {
    let (seconds, micros) = text.split_once('.')?;
    if micros.len() != 6 {
        return None;
    }
    Some(Moment(seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)?))
}
