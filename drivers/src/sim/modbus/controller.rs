//! A controller that is given program files in blocks, or has them by number, and is started by a coil: the registers of
//! `config/machines/generic-program-file.toml`, looked at in each scan as `docs/modbus.md` asks for it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::grbl_parser::{Meaning, Parser};
use super::super::motion::Motion;
use super::super::{Ledger, Reader, Report, Setup};
use super::Device;
use super::frame::crc;
use crate::Moment;
use crate::modbus::{Question, Table};

/// Holding registers, by address. The first that the host writes is [`NUMBER`].
const STATE: usize = 0;
const LINE: usize = 1;
const DONE: usize = 3;
const ALARM: usize = 4;
const LOADED: usize = 5;
const TAKEN: usize = 6;
const ERROR: usize = 7;
const POSITION: usize = 8;
const NUMBER: usize = 20;
const BLOCK: usize = 30;
const LENGTH: usize = 31;
const CHECKSUM: usize = 32;
const TEXT: usize = 33;
const TEXT_WORDS: usize = 60;
const WORDS: usize = TEXT + TEXT_WORDS;

/// Coils, by address.
const START: usize = 0;
const STOP: usize = 1;
const HOLD: usize = 2;
const RESUME: usize = 3;
const CLEAR: usize = 4;
const COILS: usize = 5;

/// What it draws standing still and moving, in watts.
const IDLE_W: f64 = 40.0;
const MOVING_W: f64 = 220.0;

/// Bytes of programs that it keeps. A real controller keeps less.
const MEMORY_BYTES: usize = 64 << 20;

/// The program that it has from the start, under this number: a square.
const OWN_NUMBER: u16 = 42;
const OWN_PROGRAM: [&str; 5] = ["G21G90G1F3000X0Y0", "G1X20", "G1Y20", "G1X0", "G1Y0"];

/// The alarm of a line that it does not know.
const BAD_LINE: u16 = 20;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle = 0,
    Running = 1,
    Held = 2,
    Waiting = 3,
    Alarm = 4,
}

/// The controller.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that a controller can be in the middle of")]
pub struct Controller {
    words: Vec<u16>,
    coils: [bool; COILS],
    before: [bool; COILS],
    programs: BTreeMap<u16, Vec<u8>>,
    /// The lines of the program that runs, and the next of them.
    lines: Vec<Vec<u8>>,
    next: usize,
    runs: bool,
    held: bool,
    waits: bool,
    pause_until: Option<Moment>,
    pause: Option<Duration>,
    parser: Parser,
    motion: Motion,
    /// Lines, counted from 1, whose motion is not over.
    moving: VecDeque<usize>,
    ledger: Ledger,
    report: Report,
    refuse_line: Option<u64>,
    speed: f64,
    now: Moment,
    /// It takes a stop and runs on: what a controller with a fault does.
    pub stuck: bool,
    /// How often it looks for a block: a controller with a long scan shows the mistake of the block before until then.
    pub looks_every: Duration,
    looks_at: Moment,
    /// The next time that it looks at this block, it finds its checksum wrong.
    pub spoils: Option<u16>,
}

impl Controller {
    /// A controller that has just been switched on.
    pub fn new(setup: &Setup) -> Self {
        let own: String = OWN_PROGRAM.map(|line| format!("{line}\n")).concat();
        Self {
            words: vec![0; WORDS],
            coils: [false; COILS],
            before: [false; COILS],
            programs: BTreeMap::from([(OWN_NUMBER, own.into_bytes())]),
            lines: Vec::new(),
            next: 0,
            runs: false,
            held: false,
            waits: false,
            pause_until: None,
            pause: None,
            parser: Parser::new(setup.rapid_mm_min, Reader::Grbl, "grbl"),
            motion: Motion::new(setup.planner_blocks, setup.speed),
            moving: VecDeque::new(),
            ledger: Ledger::new(setup.keep_lines, Reader::Grbl),
            report: Report { dialect: "program-file", ..Report::default() },
            refuse_line: setup.refuse_line,
            speed: setup.speed,
            now: Moment::ZERO,
            stuck: false,
            looks_every: Duration::ZERO,
            looks_at: Moment::ZERO,
            spoils: None,
        }
    }

    /// What it draws now, in watts. One that was never used is taken to be switched off.
    pub fn power_w(&self) -> f64 {
        match () {
            () if self.ledger.count == 0 => 0.0,
            () if self.motion.is_idle() || self.motion.is_held() => IDLE_W,
            () => MOVING_W,
        }
    }

    /// When its motion or its pause would do something by itself.
    pub fn wakes_at(&self) -> Option<Moment> {
        [self.motion.wakes_at(), self.pause_until].into_iter().flatten().filter(|at| *at > self.now).min()
    }

    /// Power off and on: it forgets what it was given.
    pub fn reset(&mut self, now: Moment) {
        self.now = now.max(self.now);
        self.abort();
        self.words.fill(0);
        self.coils = [false; COILS];
        self.programs.retain(|number, _| *number == OWN_NUMBER);
    }

    /// What it did so far.
    pub fn report(&self) -> Report {
        let mut report = Report {
            executed: self.ledger.count,
            misread: self.ledger.misread,
            hash: format!("{:016x}", self.ledger.hash),
            executed_lines: self.ledger.lines.clone(),
            position_mm: self.motion.position(self.now),
            motion_ended_at: self.motion.ended().0,
            moving: !self.motion.is_idle() || self.runs,
            ..self.report.clone()
        };
        report.violations.extend(Ledger::violations(&report));
        report
    }

    /// Somebody stops the program at the panel.
    pub fn stop_at_panel(&mut self) {
        self.abort();
        self.scan();
    }

    fn abort(&mut self) {
        self.motion.drop_all(self.now);
        (self.runs, self.held, self.waits) = (false, false, false);
        (self.pause, self.pause_until) = (None, None);
        self.moving.clear();
    }

    fn alarm(&mut self, code: u16) {
        self.abort();
        self.words[ALARM] = code;
    }

    fn scan(&mut self) {
        self.motion.advance(self.now);
        self.take_block();
        self.hear_coils();
        self.run();
        self.show();
    }

    /// The block that is due is taken once, by its number.
    fn take_block(&mut self) {
        let (block, taken, number) = (self.words[BLOCK], self.words[TAKEN], self.words[NUMBER]);
        let due = taken.checked_add(1).unwrap_or(1);
        if block == 0 {
            if taken != 0 && !self.runs {
                self.words[TAKEN] = 0;
            }
            return;
        }
        if block != due || self.runs || number == 0 || self.now < self.looks_at {
            return;
        }
        self.looks_at = self.now + self.looks_every;
        let spoiled = self.spoils.take_if(|at| *at == block).is_some();
        let length = usize::from(self.words[LENGTH]);
        let window: Vec<u8> = self.words[TEXT..].iter().flat_map(|word| word.to_be_bytes()).collect();
        let kept: usize = self.programs.values().map(Vec::len).sum();
        self.words[ERROR] = match window.get(..length) {
            None | Some([]) => 2,
            Some(text) if spoiled || crc(text) != self.words[CHECKSUM] => 1,
            Some(_) if kept + length > MEMORY_BYTES => 3,
            Some(text) => {
                self.programs.entry(number).or_default().extend_from_slice(text);
                self.words[TAKEN] = block;
                self.words[LOADED] = number;
                0
            }
        };
    }

    /// Block 0 and another number: the old program is forgotten, or one that is there is loaded.
    fn wrote(&mut self, address: usize, count: usize) {
        let (number, touched) = (self.words[NUMBER], |place: usize| (address..address + count).contains(&place));
        if self.runs {
            return;
        }
        if touched(BLOCK) && self.words[BLOCK] == 0 {
            self.programs.remove(&number);
            self.words[TAKEN] = 0;
            self.words[ERROR] = 0;
        }
        if touched(NUMBER) || (touched(BLOCK) && self.words[BLOCK] == 0) {
            self.words[LOADED] = if self.programs.contains_key(&number) { number } else { 0 };
            self.words[DONE] = 0;
        }
    }

    fn hear_coils(&mut self) {
        let rises = |at: usize| self.coils[at] && !self.before[at];
        let (start, hold, resume, clear) = (rises(START), rises(HOLD), rises(RESUME), rises(CLEAR));
        self.before = self.coils;
        if self.coils[STOP] && !self.stuck {
            return self.abort();
        }
        if clear {
            self.words[ALARM] = 0;
        }
        if start && !self.runs && self.words[ALARM] == 0 {
            self.start();
        }
        if hold && self.runs {
            self.held = true;
            self.motion.hold(self.now);
        }
        if resume && self.runs {
            (self.held, self.waits) = (false, false);
            self.motion.resume(self.now);
        }
    }

    fn start(&mut self) {
        let Some(program) = self.programs.get(&self.words[LOADED]) else { return };
        let lines = program.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        self.lines = lines.filter(|line| !line.is_empty()).collect();
        (self.next, self.runs) = (0, true);
        self.words[DONE] = 0;
    }

    /// Executes as much of the program as there is room for.
    fn run(&mut self) {
        while self.runs && !self.held && !self.waits && self.motion.has_room() {
            if self.motion.is_idle() {
                if let Some(pause) = self.pause {
                    if self.now < *self.pause_until.get_or_insert(self.now + pause) {
                        break;
                    }
                    (self.pause, self.pause_until) = (None, None);
                }
            } else if self.pause.is_some() {
                break;
            }
            let Some(line) = self.lines.get(self.next).cloned() else { break };
            self.next += 1;
            self.execute(&line);
            self.motion.advance(self.now);
        }
        while self.moving.len() > self.motion.used() {
            self.moving.pop_front();
        }
        let over = self.next == self.lines.len() && self.motion.is_idle() && self.pause.is_none() && !self.waits;
        if self.runs && over {
            self.runs = false;
            self.words[DONE] = 1;
        }
    }

    fn execute(&mut self, line: &[u8]) {
        if self.refuse_line == Some(self.ledger.count + 1) {
            return self.alarm(BAD_LINE);
        }
        match self.parser.understand(line, self.motion.planned()) {
            Err(_) => return self.alarm(BAD_LINE),
            Ok(Meaning::Modal | Meaning::ToolChange) => {}
            Ok(Meaning::Move { to, length_mm, feed_mm_min, .. }) if length_mm > 0.0 => {
                self.motion.plan(self.now, to, length_mm, feed_mm_min);
                self.moving.push_back(self.next);
            }
            Ok(Meaning::Move { .. }) => {}
            Ok(Meaning::Dwell { seconds }) => {
                self.pause = Some(Duration::try_from_secs_f64(seconds / self.speed).unwrap_or_default());
            }
            Ok(Meaning::Pause | Meaning::OptionalStop) => self.waits = true,
            Ok(Meaning::Synchronise) => self.pause = Some(Duration::ZERO),
        }
        self.ledger.executed(line);
    }

    fn show(&mut self) {
        let state = match () {
            () if self.words[ALARM] != 0 => State::Alarm,
            () if self.held => State::Held,
            () if self.waits && self.motion.is_idle() => State::Waiting,
            () if self.runs => State::Running,
            () => State::Idle,
        };
        self.words[STATE] = state as u16;
        let line = self.moving.front().copied().unwrap_or(self.next) as u32;
        self.set_long(LINE, line);
        for (axis, at) in self.motion.position(self.now).into_iter().zip([0, 2, 4]) {
            let um = (axis * 1000.0).round() as i32;
            self.set_long(POSITION + at, u32::from_ne_bytes(um.to_ne_bytes()));
        }
    }

    fn set_long(&mut self, at: usize, value: u32) {
        self.words[at] = (value >> 16) as u16;
        self.words[at + 1] = value as u16;
    }

    fn write(&mut self, address: u16, words: &[u16]) -> Result<(), u8> {
        let from = usize::from(address);
        if from < NUMBER {
            return Err(2);
        }
        self.words.get_mut(from..from + words.len()).ok_or(2_u8)?.copy_from_slice(words);
        self.wrote(from, words.len());
        Ok(())
    }
}

impl Device for Controller {
    fn ask(&mut self, now: Moment, question: &Question) -> Result<Vec<u16>, u8> {
        self.advance(now);
        let answer = match question {
            Question::Read { table: Table::Holding, address, count } => {
                let from = usize::from(*address);
                self.words.get(from..from + usize::from(*count)).map(<[u16]>::to_vec).ok_or(2)
            }
            Question::Read { table: Table::Coil, address, count } => {
                let from = usize::from(*address);
                let coils = self.coils.get(from..from + usize::from(*count)).ok_or(2);
                coils.map(|coils| coils.iter().map(|on| u16::from(*on)).collect())
            }
            Question::WriteCoil { address, on } => {
                self.coils.get_mut(usize::from(*address)).ok_or(2).map(|coil| *coil = *on).map(|()| Vec::new())
            }
            Question::WriteOne { address, word } => self.write(*address, &[*word]).map(|()| Vec::new()),
            Question::WriteCoils { address, on } => {
                let from = usize::from(*address);
                let coils = self.coils.get_mut(from..from + on.len()).ok_or(2);
                coils.map(|coils| coils.copy_from_slice(on)).map(|()| Vec::new())
            }
            Question::Write { address, words } => self.write(*address, words).map(|()| Vec::new()),
            Question::Read { .. } | Question::ReadWrite { .. } => Err(1),
        };
        self.scan();
        answer
    }

    fn advance(&mut self, now: Moment) {
        self.now = now.max(self.now);
        self.scan();
    }
}
