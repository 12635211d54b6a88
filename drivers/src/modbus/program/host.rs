//! The agent's side of a program-file machine as a value: lines and answers go in, questions and replies come out.

use std::collections::VecDeque;
use std::time::Duration;

use super::map::{Map, Seen, Word};
use crate::Moment;
use crate::modbus::{Conversation, Modbus, Question, Trouble};
use gcode_tools::profile::modbus::Action;

/// Between two looks while something is waited for: at first and, doubled each time, at last; the profile's poll rate of
/// the state word where that is longer.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_LAST_MIN: Duration = Duration::from_millis(20);

/// Between two writes of a stop that has no effect yet.
pub(super) const STOP_EVERY: Duration = Duration::from_millis(500);

/// How long a coil is on that is released: longer than any controller's scan.
pub(crate) const PULSE: Duration = Duration::from_millis(300);

/// Times a write is repeated that had no answer, before the job has failed.
const WRITES_MAX: u32 = 10;

/// Lines that may wait here. The session's window is smaller; more is a session gone wild.
const LINES_MAX: usize = 1024;

/// Longest line taken from the session.
const LINE_BYTES_MAX: usize = 512;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was read yet.
    Look,
    /// No job of ours is in the controller.
    Rest,
    /// The controller is made to forget what it has.
    Opening { since: Moment },
    /// Lines go over.
    Filling,
    /// All lines are there, or the number is: the controller shows that it has the right program.
    Loading { since: Moment },
    /// The start was written. `done_before`: it said `done` before it was.
    Starting { since: Moment, done_before: bool },
    /// It has said that it runs. `idle`: looks in a row at a machine that rests and does not say that it is done.
    Running { idle: u32 },
    /// It has said that the program came to its end.
    Over,
    /// It is being stopped.
    Stopping { since: Moment, again_at: Moment, told: bool },
}

/// What a write is for, which decides what becomes of it when there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Can be repeated and must arrive.
    Must,
    /// Can be repeated, and the machine shows whether it had an effect.
    May,
    /// Must not be repeated.
    Start,
}

/// A write that is to be asked.
#[derive(Debug, Clone)]
pub(super) struct Write {
    question: Question,
    purpose: Purpose,
    tries: u32,
}

/// A block on its way.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) number: u16,
    pub(super) lines: u64,
    pub(super) text: Vec<u8>,
    pub(super) since: Moment,
    pub(super) tries: u32,
    /// The mistake that the controller showed when the block was last sent again.
    pub(super) error_before: u64,
}

/// The agent's side of a program-file machine.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that is due or was said, and any of them can be")]
pub struct Host {
    pub(super) map: Map,
    pub(super) stage: Stage,
    pub(super) seen: Seen,
    pub(super) writes: VecDeque<Write>,
    /// What ends pulses, and when.
    releases: VecDeque<(Moment, Question)>,
    /// The read of the look that is asked next.
    next_read: usize,
    pub(super) look_at: Moment,
    look_wait: Duration,
    look_last: Duration,
    /// Lines that are not in a block yet, and refusals of our own that wait for their turn.
    pub(super) lines: VecDeque<Result<Vec<u8>, &'static str>>,
    pub(super) sending: Option<Sending>,
    pub(super) block: u16,
    /// The program that a job names, on controllers that have theirs.
    pub(super) named: Option<u64>,
    /// Lines that the controller has, the bytes of them, and how many it has executed.
    pub(super) kept: u64,
    pub(super) bytes: u64,
    pub(super) executed: u64,
    /// A line was refused: this program is not started any more.
    pub(super) spoiled: bool,
    pub(super) start_asked: bool,
    /// The start was written and had no answer.
    pub(super) start_unsure: bool,
    pub(super) held: bool,
    /// What the host itself found out and a person must clear.
    pub(super) latched: bool,
    pub(super) alarmed: bool,
    pub(super) banner_due: bool,
    identify_asked: bool,
    status_asked: bool,
    partial: Vec<u8>,
    said: Vec<u8>,
    answered_at: Moment,
}

impl Host {
    /// The host of a machine that nothing is known of yet; nothing where the profile has no program files.
    pub fn new(modbus: &Modbus, now: Moment) -> Option<Self> {
        let map = Map::new(modbus)?;
        let poll_ms = map.point(&map.program.state).map_or(0, |point| point.poll_ms);
        Some(Self {
            look_last: Duration::from_millis(poll_ms).max(LOOK_LAST_MIN),
            map,
            stage: Stage::Look,
            seen: Seen::default(),
            writes: VecDeque::new(),
            releases: VecDeque::new(),
            next_read: 0,
            look_at: now,
            look_wait: LOOK_FIRST,
            lines: VecDeque::new(),
            sending: None,
            block: 0,
            named: None,
            kept: 0,
            bytes: 0,
            executed: 0,
            spoiled: false,
            start_asked: false,
            start_unsure: false,
            held: false,
            latched: false,
            alarmed: false,
            banner_due: false,
            identify_asked: false,
            status_asked: false,
            partial: Vec::new(),
            said: Vec::new(),
            answered_at: now,
        })
    }

    /// Whether the controller has said that the program came to its end.
    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn hear_line(&mut self, now: Moment, line: Vec<u8>) {
        match line.as_slice() {
            b"" => {}
            b"$I" => self.identify_asked = true,
            b"$X" => {
                self.latched = false;
                self.act(now, self.map.program.clear.clone().as_ref(), Purpose::May);
                self.say("ok\n");
            }
            b"$START" => self.start_asked = true,
            _ if self.lines.len() >= LINES_MAX => self.lines.push_back(Err("not_ready")),
            _ => self.take_line(now, line),
        }
        self.introduce();
        self.go_on(now);
    }

    fn introduce(&mut self) {
        if self.stage != Stage::Look && std::mem::take(&mut self.identify_asked) {
            let way = if self.map.program.blocks.is_some() { "blocks" } else { "number" };
            self.say(&format!("[PROGRAM:{way},{}]\nok\n", self.chars_max()));
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        self.said.extend_from_slice(text.as_bytes());
    }

    /// Writes an action, where the machine has it, and ends its pulse later.
    pub(super) fn act(&mut self, now: Moment, action: Option<&Action>, purpose: Purpose) {
        let Some(action) = action else { return };
        self.push(self.map.action(action), purpose);
        self.releases.extend(self.map.release(action).map(|question| (now + PULSE, question)));
    }

    /// Pulses that are over.
    fn end_pulses(&mut self, now: Moment) {
        while let Some((_, question)) = self.releases.front().filter(|(at, _)| *at <= now).cloned() {
            self.releases.pop_front();
            self.push(Some(question), Purpose::May);
        }
    }

    pub(super) fn push(&mut self, question: Option<Question>, purpose: Purpose) {
        self.writes.extend(question.map(|question| Write { question, purpose, tries: 0 }));
    }

    /// A look is due as soon as can be.
    pub(super) fn look_soon(&mut self, now: Moment) {
        self.look_wait = LOOK_FIRST;
        self.look_at = now;
    }

    /// Emergency stop, before everything that waits.
    fn stop(&mut self, now: Moment) {
        self.forget_job();
        self.latched = true;
        self.begin_stop(now);
    }

    /// Makes the machine stand, and looks until it does.
    pub(super) fn begin_stop(&mut self, now: Moment) {
        self.writes.clear();
        self.act(now, Some(&self.map.program.stop.clone()), Purpose::May);
        self.stage = Stage::Stopping { since: now, again_at: now + STOP_EVERY, told: false };
        self.look_soon(now);
    }

    /// Drops what there is of a job: a program that may run is stopped, one that is not started is forgotten.
    fn drop_job(&mut self, now: Moment) {
        self.banner_due = true;
        let runs = matches!(self.stage, Stage::Starting { .. } | Stage::Running { .. } | Stage::Stopping { .. })
            || self.seen.word.is_some_and(Word::is_work);
        self.forget_job();
        if runs {
            return self.begin_stop(now);
        }
        if self.stage != Stage::Look {
            self.stage = Stage::Rest;
        }
        self.say_ready();
    }

    pub(super) fn say_ready(&mut self) {
        if std::mem::take(&mut self.banner_due) {
            self.say("[PROGRAM ready]\n");
        }
    }

    pub(super) fn forget_job(&mut self) {
        self.writes.clear();
        self.lines.clear();
        self.sending = None;
        (self.block, self.named) = (0, None);
        (self.kept, self.bytes, self.executed) = (0, 0, 0);
        (self.spoiled, self.start_asked, self.start_unsure, self.held) = (false, false, false, false);
    }

    fn begin_look(&mut self) {
        self.next_read = 0;
        self.map.begin_look();
    }

    /// All reads of a look were answered: what it found is acted on and told.
    fn looked(&mut self, now: Moment) {
        self.seen = self.map.seen();
        self.begin_look();
        self.look_wait = (self.look_wait * 2).min(self.look_last);
        self.look_at = now + self.look_wait;
        self.act_on_look(now);
        self.introduce();
        self.go_on(now);
        if std::mem::take(&mut self.status_asked) {
            self.report();
        }
    }

    fn report(&mut self) {
        let Some(state) = self.state_word() else { return };
        // The start was answered like a line, and is not over before the program is.
        let started = u64::from(matches!(self.stage, Stage::Running { .. }));
        let waiting = self.kept.saturating_sub(self.executed) + started;
        let free = u64::from(u32::MAX).saturating_sub(waiting);
        let position =
            self.seen.position_mm.map_or_else(String::new, |[x, y, z]| format!("|MPos:{x:.3},{y:.3},{z:.3}"));
        self.say(&format!("<{state}{position}|Bf:{free},0>\n"));
    }

    /// The state as the session knows states. A word that the profile does not name says nothing.
    fn state_word(&self) -> Option<&'static str> {
        if self.latched || self.alarmed {
            return Some("Alarm");
        }
        let word = self.seen.word?;
        Some(match (self.stage, word) {
            (Stage::Look, _) => return None,
            (_, Word::Alarm) => "Alarm",
            (_, Word::Door) => "Door:1",
            (_, Word::Holding) => "Hold:1",
            (_, Word::Held | Word::Waiting) => "Hold:0",
            (Stage::Rest | Stage::Over, Word::Idle | Word::Done) => "Idle",
            (Stage::Opening { .. } | Stage::Filling | Stage::Loading { .. }, _) if self.held => "Hold:0",
            // Idle is said only when nothing is on its way that could end it.
            _ => "Run",
        })
    }
}

impl Conversation for Host {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        for byte in bytes {
            match *byte {
                0x05 => {
                    self.status_asked = true;
                    self.look_at = self.look_at.min(now);
                }
                0x13 => self.hold(now),
                0x11 => self.resume(now),
                0x03 => self.stop(now),
                0x18 => self.drop_job(now),
                b'\n' => {
                    let line = std::mem::take(&mut self.partial);
                    self.hear_line(now, line);
                }
                byte if byte >= 0x20 && self.partial.len() < LINE_BYTES_MAX => self.partial.push(byte),
                _ => {}
            }
        }
    }

    fn take_said(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.said);
    }

    fn question(&mut self, now: Moment) -> Option<Question> {
        if self.stage != Stage::Look {
            self.end_pulses(now);
            if let Some(write) = self.writes.front() {
                return Some(write.question.clone());
            }
        }
        if now < self.look_at {
            return None;
        }
        let read = self.map.reads.get(self.next_read)?;
        Some(Question::Read { table: read.table, address: read.address, count: read.count })
    }

    fn is_urgent(&self) -> bool {
        matches!(self.stage, Stage::Stopping { .. }) && !self.writes.is_empty()
    }

    fn wakes_at(&self) -> Moment {
        self.releases.front().map_or(self.look_at, |(at, _)| self.look_at.min(*at))
    }

    fn answered(&mut self, now: Moment, question: &Question, words: &[u16]) -> Result<(), String> {
        self.answered_at = now;
        if question.writes() {
            // What a look has found before a write says nothing about what is after it.
            self.begin_look();
            // A stop or a cancel in between has voided what was asked.
            if self.writes.front().is_some_and(|write| write.question == *question) {
                let write = self.writes.pop_front();
                self.wrote(now, write.is_some_and(|write| write.purpose == Purpose::Start));
            }
            return Ok(());
        }
        self.map.note(self.next_read, words);
        self.next_read += 1;
        if self.next_read >= self.map.reads.len() {
            self.looked(now);
        }
        Ok(())
    }

    fn unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        if !trouble.is_silence() {
            self.answered_at = now;
        }
        if !question.writes() {
            // Half a look is none: what was read before it is not known to be true still.
            self.begin_look();
            self.seen = Seen::default();
            self.look_at = now + self.look_last;
            return;
        }
        let Some(write) = self.writes.front_mut().filter(|write| write.question == *question) else { return };
        write.tries += 1;
        match write.purpose {
            Purpose::Start => {
                self.writes.pop_front();
                self.start_unanswered(now, trouble);
            }
            Purpose::May if write.tries >= WRITES_MAX || trouble.is_refusal() => {
                self.writes.pop_front();
                self.say(&format!("[MSG:The controller did not take a write: {trouble}]\n"));
            }
            Purpose::Must if write.tries >= WRITES_MAX || trouble.is_refusal() => {
                self.fail("write_refused", &format!("The controller did not take a part of the program: {trouble}."));
            }
            Purpose::May | Purpose::Must => {}
        }
    }

    fn knows_machine(&self) -> bool {
        self.stage != Stage::Look
    }

    fn answered_at(&self) -> Moment {
        self.answered_at
    }

    fn lost_after(&self) -> Duration {
        Duration::from_millis(self.map.program.lost_after_ms)
    }

    /// Nothing in a state word or a counter of blocks says that it is from before.
    fn stands_late_answers(&self) -> bool {
        false
    }

    /// A machine that runs is held or stopped; pulses that are not over end.
    fn goodbye(&mut self) -> Vec<Question> {
        let runs = matches!(self.stage, Stage::Starting { .. } | Stage::Running { .. });
        let program = &self.map.program;
        let action = Some(program.hold.as_ref().unwrap_or(&program.stop)).filter(|_| runs);
        let release = action.and_then(|action| self.map.release(action));
        let action = action.and_then(|action| self.map.action(action));
        let pulses = self.releases.drain(..).map(|(_, question)| question);
        action.into_iter().chain(pulses).chain(release).collect()
    }
}
