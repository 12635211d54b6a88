//! The agent's side of the mailbox as a value: lines and answers go in, questions and replies come out.
//!
//! Towards the session it is a machine that speaks in lines (see `dialect::mailbox`); towards the bus it is a list of
//! questions. Everything it writes can be written twice: a slot holds the line of one sequence number and no other, and
//! a command has a number. So a lost, doubled or late answer costs time and nothing else. What it reads never goes
//! back: an answer whose counters lie behind those of an earlier one is a late one and is not believed.
//!
//! ```text
//!  Identify ──magic──► Opening ──session echoed──► Open ──► (session gone three times: the machine restarted) Identify
//!                         ▲                          │
//!                         ├── drop, clear ───────────┤
//!                         │                          ▼ a newer session that is not ours: another host's
//!                         └── clear, stop ──────── Ousted
//! ```

mod asking;
mod hearing;

use std::collections::VecDeque;
use std::time::Duration;

use super::super::{Conversation, Mailbox, Question, Trouble};
use super::{Command, HOST_BLOCK, MACHINE_WORDS, host_block};
use crate::Moment;

/// Longest time between two beats.
const BEAT_EVERY_MAX: Duration = Duration::from_millis(500);

/// Between two looks at a machine that has everything it can take: at first, and, doubled each time that nothing has
/// changed, at last.
const LOOK_FIRST: Duration = Duration::from_millis(2);
const LOOK_LAST: Duration = Duration::from_millis(40);

/// Lines written and not taken for this long are written again: a late copy of an older write may have covered them.
const REWRITE_AFTER: Duration = Duration::from_secs(1);

/// How long a refused line stands before the machine is told that it was seen: the session decides meanwhile whether
/// the lines behind it may run.
const REFUSAL_STANDS: Duration = Duration::from_millis(25);

/// Answers with a foreign session in a row that show a restart. Fewer can be answers from before this session.
const FOREIGN_MAX: u32 = 3;

/// Pause after the machine said that it is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Our own refusals: the machine is in alarm or not known yet; the line is longer than a slot.
const REFUSED_UNREADY: u16 = 100;
const REFUSED_LONG: u16 = 101;

/// Lines that may wait here. The session's window is smaller; more is a session gone wild.
const LINES_MAX: usize = 1024;

/// Longest line taken from the session.
const LINE_BYTES_MAX: usize = 256;

/// Orders that may wait here. A session waits for the effect of one before it gives the next of its kind; more is a session
/// gone wild, of which the newest order takes the place of the one before it. A stop takes the place of all.
const ORDERS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Identify,
    Opening,
    Open,
    /// Another host has opened a session. Nothing is written until a person says that the machine is ours.
    Ousted,
}

#[derive(Debug, Clone, Copy)]
struct Layout {
    slots: u64,
    text_words: u16,
    watchdog: Duration,
    read_write: bool,
    /// Questions that it answers when they are asked together.
    transactions: usize,
}

/// What the machine said last.
#[derive(Debug, Clone, Copy, Default)]
struct Status {
    beat: u16,
    command_done: u16,
    state: u16,
    alarm: u16,
    position_um: [i32; 3],
    feed: u32,
    spindle: u32,
}

/// Something the machine is asked, and what the session is told when it has done it.
#[derive(Debug, Clone, Copy)]
struct Order {
    command: Command,
    reply: &'static str,
}

/// The agent's side of a mailbox.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that is due, and any of them can be")]
pub struct Host {
    base: u16,
    may_read_write: bool,
    lost_after: Duration,
    stage: Stage,
    layout: Option<Layout>,
    session: u16,
    beat: u16,
    beat_at: Moment,
    /// What the session said and what is not admitted yet: lines, and refusals of our own that wait for their turn.
    said_lines: VecDeque<Result<Vec<u8>, u16>>,
    /// A refusal of our own stands until then.
    refusing_until: Moment,
    /// Lines not taken yet; the first is line `taken + 1`.
    lines: VecDeque<Vec<u8>>,
    taken: u64,
    executed: u64,
    /// The last line that is in its slot for certain, and the last that may be.
    written: u64,
    offered: u64,
    /// The questions on their way, oldest first: the last line that each of them writes, if it writes any that count.
    asked: VecDeque<Option<u64>>,
    /// Whether more than one was asked at once.
    together: bool,
    progress_at: Moment,
    look_at: Moment,
    look_wait: Duration,
    writes_since_look: u64,
    orders: VecDeque<Order>,
    command: u16,
    command_number: u16,
    ordered: bool,
    error_seen: u16,
    refused: Option<(u16, Moment)>,
    block_due: bool,
    foreign: u32,
    identify_asked: bool,
    status_asked: bool,
    /// The session waits to hear that what was queued is dropped.
    banner_due: bool,
    alarmed: bool,
    status: Status,
    partial: Vec<u8>,
    said: Vec<u8>,
    answered_at: Moment,
    /// The machine said that it is busy: it is asked nothing before.
    busy_until: Moment,
}

impl Host {
    /// The host of a mailbox that nothing is known of yet.
    pub fn new(settings: Mailbox, now: Moment) -> Self {
        Self {
            base: settings.base,
            may_read_write: settings.read_write,
            lost_after: Duration::from_millis(settings.lost_after_ms),
            stage: Stage::Identify,
            layout: None,
            session: 0,
            beat: 0,
            beat_at: now,
            said_lines: VecDeque::new(),
            refusing_until: now,
            lines: VecDeque::new(),
            taken: 0,
            executed: 0,
            written: 0,
            offered: 0,
            asked: VecDeque::new(),
            together: false,
            progress_at: now,
            look_at: now,
            look_wait: LOOK_FIRST,
            writes_since_look: 0,
            orders: VecDeque::new(),
            command: 0,
            command_number: 0,
            ordered: false,
            error_seen: 0,
            refused: None,
            block_due: false,
            foreign: 0,
            identify_asked: false,
            status_asked: false,
            banner_due: false,
            alarmed: false,
            status: Status::default(),
            partial: Vec::new(),
            said: Vec::new(),
            answered_at: now,
            busy_until: now,
        }
    }

    fn hear_line(&mut self, now: Moment, line: Vec<u8>) {
        let chars_max = self.layout.map_or(0, |layout| usize::from(layout.text_words) * 2);
        match line.as_slice() {
            b"" => {}
            b"$I" => self.identify_asked = true,
            b"$X" => {
                self.reopen(now);
                self.order(Command::Clear, "ok\n");
            }
            b"$H" => self.order(Command::Home, "ok\n"),
            _ if self.stage == Stage::Identify || self.alarmed || self.said_lines.len() >= LINES_MAX => {
                self.said_lines.push_back(Err(REFUSED_UNREADY));
            }
            _ if line.len() > chars_max => self.said_lines.push_back(Err(REFUSED_LONG)),
            _ => self.said_lines.push_back(Ok(line)),
        }
        self.admit(now);
        if self.identify_asked && self.stage == Stage::Open {
            self.introduce();
        }
    }

    /// Lets lines in, in order. A line that cannot go is answered when all before it are, and those behind it wait for
    /// what the session decides.
    fn admit(&mut self, now: Moment) {
        while now >= self.refusing_until {
            match self.said_lines.pop_front() {
                None => return,
                Some(Err(code)) if self.lines.is_empty() => {
                    self.refusing_until = now + REFUSAL_STANDS;
                    self.say(&format!("error:{code}\n"));
                }
                Some(Ok(line)) => {
                    if self.lines.is_empty() {
                        self.progress_at = now;
                    }
                    self.lines.push_back(line);
                }
                Some(refusal) => return self.said_lines.push_front(refusal),
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.said.extend_from_slice(text.as_bytes());
    }

    /// The order that can be given now. While a session is unanswered a machine can only be made to stand: the other
    /// orders are meant for one that is known to be of this session.
    fn order_due(&self) -> Option<Order> {
        let opening = self.stage == Stage::Opening;
        let may = |order: &Order| !opening || matches!(order.command, Command::Hold | Command::Stop);
        let is_ours = !matches!(self.stage, Stage::Identify | Stage::Ousted);
        self.orders.front().copied().filter(|order| is_ours && may(order))
    }

    fn order(&mut self, command: Command, reply: &'static str) {
        self.look_wait = LOOK_FIRST;
        self.orders.truncate(ORDERS_MAX - 1);
        self.orders.push_back(Order { command, reply });
    }

    /// Before every order and line that waits.
    fn stop(&mut self) {
        self.orders.clear();
        self.ordered = false;
        self.lines.clear();
        self.said_lines.clear();
        self.written = self.taken;
        self.void_writes();
        self.order(Command::Stop, "");
    }

    /// A new session: whatever the machine holds of the old one is void. A stop that was not carried out yet is not: it
    /// is asked for again, under a number of its own.
    fn reopen(&mut self, now: Moment) {
        self.lines.clear();
        self.said_lines.clear();
        self.orders.retain(|order| order.command == Command::Stop);
        if std::mem::take(&mut self.ordered) && self.orders.is_empty() {
            // An order that may not have arrived is replaced by one that asks for nothing.
            self.command = 0;
            self.command_number = self.command_number.wrapping_add(1);
        }
        self.refused = None;
        self.error_seen = 0;
        (self.taken, self.executed, self.written, self.offered) = (0, 0, 0, 0);
        self.void_writes();
        self.writes_since_look = 0;
        self.session = next_session(self.session);
        self.foreign = 0;
        self.progress_at = now;
        if self.stage != Stage::Identify {
            self.stage = Stage::Opening;
            self.block_due = true;
        }
    }
}

impl Conversation for Host {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        for byte in bytes {
            match *byte {
                0x05 => self.status_asked = true,
                0x13 => self.order(Command::Hold, ""),
                0x11 => self.order(Command::Resume, ""),
                0x03 => {
                    if self.stage == Stage::Ousted {
                        self.reopen(now);
                    }
                    self.stop();
                }
                0x18 => {
                    self.banner_due = true;
                    self.reopen(now);
                }
                b'\n' => {
                    let line = std::mem::take(&mut self.partial);
                    self.hear_line(now, line);
                }
                byte if byte >= 0x20 && self.partial.len() < LINE_BYTES_MAX => self.partial.push(byte),
                _ => {}
            }
        }
    }

    fn question(&mut self, now: Moment) -> Option<Question> {
        if now < self.busy_until {
            return None;
        }
        self.admit(now);
        self.asked.clear();
        self.together = false;
        let (question, last) = self.next_question(now)?;
        self.asked.push_back(last);
        Some(question)
    }

    /// More lines behind lines: they have slots of their own, and the machine takes none before those in front of it.
    fn question_ahead(&mut self, now: Moment) -> Option<Question> {
        if now < self.busy_until {
            return None;
        }
        self.admit(now);
        let else_due = self.block_due || now >= self.beat_at || !self.orders.is_empty() || self.looks_first();
        if self.stage != Stage::Open || else_due || !matches!(self.asked.back(), Some(Some(_))) {
            return None;
        }
        let (question, last) = self.write_lines()?;
        self.asked.push_back(Some(last));
        self.together = true;
        Some(question)
    }

    fn questions_at_once(&self) -> usize {
        self.layout.filter(|_| self.stage == Stage::Open).map_or(1, |layout| layout.transactions)
    }

    fn is_urgent(&self) -> bool {
        (!self.ordered || self.block_due) && self.order_due().is_some()
    }

    fn taken_back(&mut self) {
        self.asked.pop_back();
    }

    fn wakes_at(&self) -> Moment {
        let refused = self.refused.map(|(_, at)| at);
        let rewrite = (self.written > self.taken).then(|| self.progress_at + REWRITE_AFTER);
        let looks = !matches!(self.stage, Stage::Open | Stage::Ousted) || self.ordered || self.written > self.taken;
        let look = looks.then_some(self.look_at);
        let refusing = (!self.said_lines.is_empty() && self.lines.is_empty()).then_some(self.refusing_until);
        let due = [Some(self.beat_at), refused, rewrite, look, refusing].into_iter().flatten().min();
        due.unwrap_or(self.beat_at).max(self.busy_until)
    }

    fn answered_at(&self) -> Moment {
        self.answered_at
    }

    fn answered(&mut self, now: Moment, question: &Question, words: &[u16]) -> Result<(), String> {
        self.answered_at = now;
        let last = self.asked.pop_front().flatten();
        self.written = self.written.max(last.unwrap_or(0));
        match question {
            Question::Read { count: MACHINE_WORDS, .. } => return self.identified(now, words),
            Question::Read { .. } | Question::ReadWrite { .. } => self.hear_status(now, words),
            Question::Write { .. }
            | Question::WriteCoil { .. }
            | Question::WriteCoils { .. }
            | Question::WriteOne { .. } => {}
        }
        Ok(())
    }

    fn unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble) {
        self.asked.pop_front();
        self.void_writes();
        if trouble.is_busy() {
            self.answered_at = now;
            self.busy_until = now + BUSY_PAUSE;
        }
        if let Some(layout) = &mut self.layout {
            // It cannot do what it said it could.
            layout.read_write &=
                !(matches!(question, Question::ReadWrite { .. }) && matches!(trouble, Trouble::Exception(1..=3)));
            if self.together && trouble.closes() {
                layout.transactions = 1;
            }
        }
        match question {
            Question::Write { address, .. } | Question::ReadWrite { address, .. }
                if *address == self.base + HOST_BLOCK =>
            {
                self.block_due = true;
            }
            _ => {}
        }
        if self.stage != Stage::Open {
            self.look_at = now + LOOK_LAST;
        }
    }

    fn take_said(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.said);
    }

    fn knows_machine(&self) -> bool {
        self.stage != Stage::Identify
    }

    fn lost_after(&self) -> Duration {
        self.lost_after
    }

    /// Its counters lie behind those of an answer heard before.
    fn stands_late_answers(&self) -> bool {
        true
    }

    /// A machine that moves is asked to hold. If this does not arrive its watchdog does the same. One that has not answered
    /// a new session may move still; and a stop that was asked for is not replaced by a hold.
    fn goodbye(&mut self) -> Vec<Question> {
        let stops = self.orders.iter().any(|order| order.command == Command::Stop);
        let may_move = self.stage == Stage::Opening || self.offered.max(self.taken) != self.executed;
        if matches!(self.stage, Stage::Identify | Stage::Ousted) || !(stops || may_move) {
            return Vec::new();
        }
        self.command = if stops { Command::Stop } else { Command::Hold } as u16;
        self.command_number = self.command_number.wrapping_add(1);
        let (at, words) = match self.stage {
            // The new session in front: that alone makes it stop, if it did not arrive before.
            Stage::Opening => (0, self.host_words()),
            _ => (host_block::COMMAND, vec![self.command, self.command_number]),
        };
        vec![Question::Write { address: self.base + HOST_BLOCK + at, words }]
    }
}

/// The next session number: never 0, and its low byte, which marks the slots, never that of a slot nobody wrote.
fn next_session(session: u16) -> u16 {
    let next = session.wrapping_add(1);
    if next.trailing_zeros() >= 8 { next + 1 } else { next }
}
