//! A machine with a mailbox, as `docs/modbus.md` asks for it: a controller that looks at its registers in each scan.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::grbl_parser::{Meaning, Parser};
use super::super::motion::{Motion, length_mm};
use super::super::{Ledger, Reader, Report, Setup};
use super::Device;
use crate::Moment;
use crate::modbus::mailbox::{
    self, Command, HOST_BLOCK, MACHINE_WORDS, SLOT_FRAME, SLOTS, State, feature, host_block, machine,
};
use crate::modbus::{Question, Table};

/// Slots, and words of text in each: 56 characters, and four slots fill a write.
const SLOT_COUNT: u16 = 32;
const SLOT_TEXT: u16 = 28;

/// How long the host's beat may stand still.
const WATCHDOG: Duration = Duration::from_secs(2);

/// What the machine draws standing still and moving, in watts.
const IDLE_W: f64 = 40.0;
const MOVING_W: f64 = 220.0;

/// A line that must be through before the next is taken.
#[derive(Debug, Clone, Copy)]
struct Busy {
    pause: Duration,
    person: bool,
    until: Option<Moment>,
}

/// The machine.
#[derive(Debug)]
pub struct Plc {
    words: Vec<u16>,
    parser: Parser,
    motion: Motion,
    busy: Option<Busy>,
    held: bool,
    alarm: u16,
    next_slot: u16,
    beat_at: Moment,
    /// Sequence numbers of lines whose motion is not over.
    moving: VecDeque<u16>,
    ledger: Ledger,
    report: Report,
    rapid_mm_min: f64,
    speed: f64,
    refuse_line: Option<u64>,
    transactions: u16,
    /// How long it takes to stand before it says that it serves a new session; commands are carried out meanwhile.
    pub session_takes: Duration,
    /// Whether a new session keeps it from looking at commands.
    pub blind_until_session: bool,
    session_seen_at: Option<Moment>,
    now: Moment,
}

impl Plc {
    /// A machine that has just been switched on.
    pub fn new(setup: &Setup) -> Self {
        let mut plc = Self {
            words: vec![0; usize::from(SLOTS + SLOT_COUNT * (SLOT_TEXT + SLOT_FRAME))],
            parser: Parser::new(setup.rapid_mm_min, Reader::Grbl, "grbl"),
            motion: Motion::new(setup.planner_blocks, setup.speed),
            busy: None,
            held: false,
            alarm: 0,
            next_slot: 0,
            beat_at: Moment::ZERO,
            moving: VecDeque::new(),
            ledger: Ledger::new(setup.keep_lines, Reader::Grbl),
            report: Report { dialect: "mailbox", ..Report::default() },
            rapid_mm_min: setup.rapid_mm_min,
            speed: setup.speed,
            refuse_line: setup.refuse_line,
            transactions: setup.transactions,
            session_takes: Duration::ZERO,
            blind_until_session: false,
            session_seen_at: None,
            now: Moment::ZERO,
        };
        plc.introduce();
        plc
    }

    fn introduce(&mut self) {
        for (at, word) in [
            (machine::MAGIC, mailbox::MAGIC),
            (machine::VERSION, mailbox::VERSION),
            (machine::FEATURES, feature::READ_WRITE | feature::POSITION | feature::HOME),
            (machine::SLOTS, SLOT_COUNT),
            (machine::SLOT_TEXT, SLOT_TEXT),
            (machine::WATCHDOG_MS, WATCHDOG.as_millis() as u16),
            (machine::TRANSACTIONS, self.transactions),
        ] {
            self.set(at, word);
        }
    }

    /// What it draws now, in watts.
    pub fn power_w(&self) -> f64 {
        if self.motion.is_idle() || self.motion.is_held() { IDLE_W } else { MOVING_W }
    }

    /// When its motion, its pause or its watchdog would do something by itself.
    pub fn wakes_at(&self) -> Option<Moment> {
        let watchdog = (self.word(machine::SESSION) != 0 && !self.motion.is_idle()).then(|| self.beat_at + WATCHDOG);
        let pause = self.busy.and_then(|busy| busy.until);
        [self.motion.wakes_at(), pause, watchdog].into_iter().flatten().filter(|at| *at > self.now).min()
    }

    /// Power off and on.
    pub fn reset(&mut self, now: Moment) {
        self.now = now.max(self.now);
        self.words.fill(0);
        self.introduce();
        self.stand_still();
        self.open();
        self.alarm = 0;
    }

    /// Commands that it has executed to their end.
    pub fn completed(&self) -> u64 {
        self.motion.completed().min(self.ledger.count.saturating_sub(u64::from(self.busy.is_some())))
    }

    /// What it did so far.
    pub fn report(&self) -> Report {
        let mut report = Report {
            executed: self.ledger.count,
            misread: self.ledger.misread,
            hash: format!("{:016x}", self.ledger.hash),
            executed_lines: self.ledger.lines.clone(),
            underruns: self.motion.underruns(),
            position_mm: self.motion.position(self.now),
            motion_ended_at: self.motion.ended().0,
            moving: !self.motion.is_idle() || self.busy.is_some(),
            ..self.report.clone()
        };
        report.violations.extend(Ledger::violations(&report));
        report
    }

    fn word(&self, at: u16) -> u16 {
        self.words[usize::from(at)]
    }

    fn set(&mut self, at: u16, word: u16) {
        self.words[usize::from(at)] = word;
    }

    fn set_long(&mut self, at: u16, value: u32) {
        self.set(at, (value >> 16) as u16);
        self.set(at + 1, value as u16);
    }

    /// One scan: what the host wrote is acted on, then the machine's block is brought up to date.
    fn scan(&mut self) {
        self.motion.advance(self.now);
        self.go_on();
        self.hear_host();
        while self.take_line() {
            self.go_on();
        }
        self.show();
    }

    fn hear_host(&mut self) {
        let host = |at: u16| HOST_BLOCK + at;
        let session = self.word(host(host_block::SESSION));
        let known = self.word(machine::SESSION);
        let newer = session != 0 && session != known && (known == 0 || session.wrapping_sub(known) < 0x8000);
        if newer && self.now >= *self.session_seen_at.get_or_insert(self.now) + self.session_takes {
            self.session_seen_at = None;
            // A new host: nothing of the old one is executed any more.
            self.stand_still();
            self.open();
            self.set(machine::SESSION, session);
            if known == 0 {
                let number = self.word(host(host_block::COMMAND_NUMBER));
                self.set(machine::COMMAND_DONE, number);
            }
        }
        let beat = self.word(host(host_block::BEAT));
        if beat != self.word(machine::BEAT) {
            self.set(machine::BEAT, beat);
            self.beat_at = self.now;
        }
        if self.now.since(self.beat_at) >= WATCHDOG && !self.motion.is_idle() && !self.held {
            self.hold();
        }
        if self.word(host(host_block::ERROR_SEEN)) == self.word(machine::ERROR_LINE) {
            self.set(machine::ERROR, 0);
        }
        if self.blind_until_session && self.session_seen_at.is_some() {
            return;
        }
        let number = self.word(host(host_block::COMMAND_NUMBER));
        let ahead = number.wrapping_sub(self.word(machine::COMMAND_DONE));
        if ahead != 0 && ahead < 0x8000 {
            self.carry_out(self.word(host(host_block::COMMAND)));
            self.set(machine::COMMAND_DONE, number);
        }
    }

    fn hold(&mut self) {
        self.held = true;
        self.motion.hold(self.now);
    }

    fn carry_out(&mut self, command: u16) {
        if command == Command::Hold as u16 {
            self.hold();
        } else if command == Command::Resume as u16 {
            self.held = false;
            self.motion.resume(self.now);
            self.busy = self.busy.map(|busy| Busy { person: false, ..busy });
        } else if command == Command::Stop as u16 {
            self.stand_still();
            self.alarm = 1;
        } else if command == Command::Clear as u16 {
            self.alarm = 0;
        } else if command == Command::Home as u16 && self.alarm == 0 {
            let length = length_mm(self.motion.planned(), [0.0; 3], None);
            self.motion.plan(self.now, [0.0; 3], length, self.rapid_mm_min);
        }
    }

    /// Nothing that was taken is executed any further.
    fn stand_still(&mut self) {
        self.motion.drop_all(self.now);
        self.busy = None;
    }

    /// Everything starts from nothing.
    fn open(&mut self) {
        self.held = false;
        self.next_slot = 0;
        self.moving.clear();
        for at in [machine::TAKEN, machine::EXECUTED, machine::ERROR, machine::ERROR_LINE] {
            self.set(at, 0);
        }
        let slots = usize::from(SLOTS);
        self.words[slots..].fill(0);
    }

    /// A dwell or a wait for a person ends.
    fn go_on(&mut self) {
        let Some(busy) = &mut self.busy else { return };
        if busy.person || self.held || !self.motion.is_idle() {
            return;
        }
        if self.now >= *busy.until.get_or_insert(self.now + busy.pause) {
            self.busy = None;
        }
    }

    /// Takes the next line if it is in its slot and there is room for it.
    fn take_line(&mut self) -> bool {
        let waits = self.alarm != 0 || self.held || self.busy.is_some() || self.word(machine::ERROR) != 0;
        if waits || !self.motion.has_room() {
            return false;
        }
        let next = self.word(machine::TAKEN).wrapping_add(1);
        let slot = SLOTS + self.next_slot * (SLOT_TEXT + SLOT_FRAME);
        let head = self.word(slot);
        if self.word(slot + SLOT_TEXT + 1) != next || head >> 8 != self.word(machine::SESSION) & 0xff || head == 0 {
            return false;
        }
        let length = usize::from(head & 0xff);
        let from = usize::from(slot) + 1;
        let text: Vec<u8> = self.words[from..from + usize::from(SLOT_TEXT)]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .take(length)
            .collect();
        self.next_slot = (self.next_slot + 1) % SLOT_COUNT;
        self.set(machine::TAKEN, next);
        let error = if text.len() == length { self.execute(&text, next) } else { 5 };
        if error != 0 {
            self.report.refused += 1;
            self.set(machine::ERROR_LINE, next);
            self.set(machine::ERROR, error);
        }
        true
    }

    /// Executes a line; why not, if not.
    fn execute(&mut self, line: &[u8], number: u16) -> u16 {
        if self.refuse_line == Some(self.ledger.count + self.report.refused + 1) {
            return 4;
        }
        match self.parser.understand(line, self.motion.planned()) {
            Err(22) => return 9,
            Err(_) => return 1,
            Ok(Meaning::Modal | Meaning::ToolChange) => {}
            Ok(Meaning::Move { to, length_mm, feed_mm_min, .. }) => {
                if length_mm > 0.0 {
                    self.motion.plan(self.now, to, length_mm, feed_mm_min);
                    self.moving.push_back(number);
                }
            }
            Ok(Meaning::Dwell { seconds }) => {
                let pause = Duration::try_from_secs_f64(seconds / self.speed).unwrap_or_default();
                self.busy = Some(Busy { pause, person: false, until: None });
            }
            Ok(Meaning::Pause | Meaning::OptionalStop) => {
                self.busy = Some(Busy { pause: Duration::ZERO, person: true, until: None });
            }
            Ok(Meaning::Synchronise) => self.busy = Some(Busy { pause: Duration::ZERO, person: false, until: None }),
        }
        self.ledger.executed(line);
        self.motion.count(self.ledger.count);
        self.motion.advance(self.now);
        0
    }

    fn show(&mut self) {
        if self.alarm == 0 {
            self.show_executed();
        }
        self.show_condition();
    }

    fn show_executed(&mut self) {
        let in_planner = self.motion.used();
        while self.moving.len() > in_planner {
            self.moving.pop_front();
        }
        let taken = self.word(machine::TAKEN);
        let executed = match self.moving.front() {
            Some(first) => first.wrapping_sub(1),
            None if self.busy.is_some() => taken.wrapping_sub(1),
            None => taken,
        };
        self.set(machine::EXECUTED, executed);
    }

    fn show_condition(&mut self) {
        let state = match () {
            () if self.alarm != 0 => State::Alarm,
            () if self.held => State::Held,
            () if self.busy.is_some_and(|busy| busy.person) && self.motion.is_idle() => State::Waiting,
            () if !self.motion.is_idle() || self.busy.is_some() => State::Run,
            () => State::Idle,
        };
        self.set(machine::STATE, state as u16);
        self.set(machine::ALARM, self.alarm);
        for (axis, at) in self.motion.position(self.now).into_iter().zip([0, 2, 4]) {
            let um = (axis * 1000.0).round() as i32;
            self.set_long(machine::POSITION + at, u32::from_ne_bytes(um.to_ne_bytes()));
        }
        let feed = if self.motion.is_idle() { 0.0 } else { self.parser.feed_mm_min };
        self.set_long(machine::FEED, feed as u32);
        self.set_long(machine::SPINDLE, self.parser.spindle as u32);
    }

    fn read(&self, address: u16, count: u16) -> Result<Vec<u16>, u8> {
        let from = usize::from(address);
        Ok(self.words.get(from..from + usize::from(count)).ok_or(2_u8)?.to_vec())
    }

    fn write(&mut self, address: u16, words: &[u16]) -> Result<(), u8> {
        // The machine's own block is not the host's to write.
        if address < MACHINE_WORDS {
            return Err(2);
        }
        let from = usize::from(address);
        self.words.get_mut(from..from + words.len()).ok_or(2_u8)?.copy_from_slice(words);
        Ok(())
    }
}

impl Device for Plc {
    fn ask(&mut self, now: Moment, question: &Question) -> Result<Vec<u16>, u8> {
        self.now = now.max(self.now);
        let answer = match question {
            Question::Read { table: Table::Holding, address, count } => self.read(*address, *count),
            Question::Read { .. } | Question::WriteCoil { .. } | Question::WriteCoils { .. } => Err(1),
            Question::WriteOne { address, word } => self.write(*address, &[*word]).map(|()| Vec::new()),
            Question::Write { address, words } => self.write(*address, words).map(|()| Vec::new()),
            Question::ReadWrite { read, count, address, words } => {
                self.write(*address, words).and_then(|()| self.read(*read, *count))
            }
        };
        self.scan();
        answer
    }

    fn advance(&mut self, now: Moment) {
        self.now = now.max(self.now);
        self.scan();
    }
}
