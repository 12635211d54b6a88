//! What each fuzz target of the machine's side does with its bytes; `drivers/tests/mutations.rs` does the same in
//! bounded runs.
#![allow(dead_code)] // Each target uses one.

use std::sync::Arc;
use std::time::Duration;

use drivers::dialect;
use drivers::modbus::{Attached, Conversation, Mailbox, Question, Trouble, mailbox, program};
use drivers::profile::Profile;
use drivers::recording;
use drivers::request::{Job, Jog, Override, Probe};
use drivers::session::{Input, Session};
use drivers::sim::{self, Incident, Setup, Simulated, simulated};
use drivers::{Moment, Notice, Request};

/// The program of a fuzzed session: plain moves, and every kind of word that waits for something.
const PROGRAM: [&[u8]; 16] = [
    b"G21 ; millimetres",
    b"G90",
    b"G1 F3000",
    b"G1 X7700 Y1",
    b"",
    b"G1 X7701 Y2 (comment)",
    b"M0",
    b"G1 X7702",
    b"G4 P0.01",
    b"M104 S200",
    b"M400",
    b"G1 X7703 Y\xff",
    b"M600",
    b"G38.2 Z-1 F10",
    b"M110 N5",
    b"G1 X7704",
];

/// Times the program is repeated: longer than what is read ahead.
const PROGRAM_LINES: u64 = 3_000;

/// Only lines of the program hold this.
const OF_THE_PROGRAM: &[u8] = b"X770";

/// What happens at a machine itself.
const INCIDENTS: [Incident; 14] = [
    Incident::Limit,
    Incident::Paused,
    Incident::Resumed,
    Incident::Cancelled,
    Incident::FilamentOut,
    Incident::Says("Error:TMC CONNECTION ERROR"),
    Incident::Says("RequestStop:"),
    Incident::DoorOpened,
    Incident::DoorClosed,
    Incident::CardPrint,
    Incident::MovedThere,
    Incident::HomedThere,
    Incident::PutToSleep,
    Incident::CheckMode,
];

/// Rounds that machine and session talk undisturbed, at most, and operations of one input.
const ROUNDS_MAX: u8 = 64;
const OPERATIONS_MAX: usize = 4_096;

/// Lines of a machine: the first byte chooses the dialect that reads them.
pub(crate) fn replies(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let dialect = dialect::ALL[usize::from(*first) % dialect::ALL.len()];
    let mut heard = Vec::new();
    for line in rest.split(|byte| matches!(byte, b'\n' | b'\r')) {
        heard.clear();
        dialect.read(line, &mut heard);
        let _ = dialect.likeness(line);
        let _ = dialect::of_line(line);
    }
}

/// A recording.
pub(crate) fn recording(bytes: &[u8]) {
    let _ = recording::replay(&String::from_utf8_lossy(bytes), &mut |_, _| {});
}

/// A session and a simulated machine, with what the bytes say happening between them.
pub(crate) fn session(bytes: &[u8]) {
    let [first, second, script @ ..] = bytes else { return };
    let names: Vec<_> = sim::dialects().filter(|name| !name.starts_with("modbus")).collect();
    let name = names[usize::from(*first) % names.len()];
    let mut talk = Talk::new(name, *second);
    let mut script = Script(script);
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = script.byte() else { break };
        talk.happens(operation, &mut script);
        talk.check();
    }
    let frozen = talk.session.freeze().expect("any state can be written");
    let thawed = Session::thaw(&frozen).expect("any state that was written can be read");
    assert_eq!(thawed.freeze().as_ref(), Ok(&frozen), "a session comes back as it was");
}

/// What happens, from first to last.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

struct Talk {
    now: Moment,
    session: Session,
    machine: Box<dyn Simulated>,
    next_line: u64,
    said: Vec<u8>,
    heard: Vec<u8>,
    was_asked: bool,
    /// Whether there is a port. A machine behind one that nobody answered at may be called offline all the same.
    port_is_open: bool,
}

impl Talk {
    fn new(name: &str, switches: u8) -> Self {
        let dialect = dialect::named(name).expect("every simulated machine has a dialect");
        let profile = if dialect.habits().printer { "prusa-mk3s" } else { "grbl-mill-3018" };
        let mut profile = Profile::named(profile).expect("a bundled profile");
        name.clone_into(&mut profile.dialect);
        let setup = Setup {
            advanced_ok: switches & 1 != 0,
            ok_after_resend: switches & 2 != 0,
            emergency_parser: switches & 4 != 0,
            speed: if switches & 8 != 0 { f64::INFINITY } else { 10.0 },
            resend_permille: if switches & 16 != 0 { 100 } else { 0 },
            refuse_line: (switches & 32 != 0).then_some(7),
            ..Setup::default()
        };
        Self {
            now: Moment::ZERO,
            session: Session::new(dialect, Arc::new(profile), Moment::ZERO),
            machine: simulated(name, &setup).expect("a simulated machine"),
            next_line: 0,
            said: Vec::new(),
            heard: Vec::new(),
            was_asked: false,
            port_is_open: false,
        }
    }

    fn happens(&mut self, operation: u8, script: &mut Script<'_>) {
        match operation % 16 {
            0..=3 => (0..=operation / 16).for_each(|_| self.round()),
            4 => (0..script.number().min(ROUNDS_MAX)).for_each(|_| self.round()),
            5 => {
                let length = usize::from(script.number());
                self.hear(script.bytes(length));
            }
            6 => {
                let line = memchr(b'\n', script.0).map_or(script.0.len(), |at| at + 1);
                self.hear(script.bytes(line));
            }
            7 => {
                self.now = self.now + Duration::from_micros(1 << (script.number() % 40));
                self.hand(Input::Time);
            }
            8 => self.ask(script.number()),
            9 => {
                self.port_is_open = true;
                self.hand(Input::LinkUp { may_reset: operation >= 128 });
            }
            10 => {
                self.hand(Input::LinkDown(notice()));
                self.port_is_open = false;
            }
            11 if operation < 128 => self.machine.reset(self.now),
            11 => self.machine.happen(self.now, INCIDENTS[usize::from(script.number()) % INCIDENTS.len()]),
            12 => {
                self.heard.clear();
                self.machine.say(&mut self.heard);
                self.heard.clear();
            }
            13 => {
                self.next_line = 0;
                self.was_asked = true;
                let job = Job { id: "job".into(), lines: PROGRAM_LINES, from_line: u64::from(script.number() % 3) };
                let _ = self.session.request(self.now, Request::Start(job));
            }
            14 if script.number() < 32 => self.hand(Input::ProgramTrouble(notice())),
            14 => self.hand(Input::ProgramEnd),
            _ => self.said.clear(),
        }
        self.settle();
    }

    fn ask(&mut self, which: u8) {
        let percent = u32::from(which);
        let press = (which % 4 > 0).then(|| u64::from(which % 3));
        let feed_mm_min = f64::from(which);
        let request = match which % 15 {
            0 => Request::Pause,
            1 | 2 => Request::Resume,
            3 => Request::Cancel,
            4 => Request::Stop,
            5 => Request::Clear,
            6 => Request::Home,
            7 => Request::Jog(Jog { by_mm: [f64::from(which) - 100.0, 0.0, 1.0], feed_mm_min, press }),
            8 => Request::Override(Override::Feed(percent)),
            9 => Request::Override(Override::Rapid(percent)),
            10 => Request::Override(Override::Spindle(percent)),
            11 => Request::Override(Override::Flow(percent)),
            12 => Request::JogStop(press),
            13 => Request::Probe(Probe { down_mm: f64::from(which) / 10.0, feed_mm_min }),
            _ => Request::Choose(which / 16),
        };
        let _ = self.session.request(self.now, request);
    }

    fn hand(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.hand(Input::Bytes(bytes));
    }

    /// Everything that was said arrives, and what the machine answers too; then the next that is due happens.
    fn round(&mut self) {
        let said = std::mem::take(&mut self.said);
        self.machine.hear(self.now, &said);
        self.heard.clear();
        self.machine.say(&mut self.heard);
        let heard = std::mem::take(&mut self.heard);
        if !heard.is_empty() {
            self.hear(&heard);
        }
        let next = [self.session.deadline(), self.machine.wakes_at()].into_iter().flatten().min();
        self.now = self.now.max(next.unwrap_or(self.now));
        self.machine.advance(self.now);
        self.hand(Input::Time);
        self.settle();
    }

    /// Feeds the program and takes what the session said.
    fn settle(&mut self) {
        if let Some(line) = self.session.take_reread() {
            self.next_line = line.saturating_sub(1);
        }
        while self.session.wants_program() {
            if self.next_line >= PROGRAM_LINES {
                self.hand(Input::ProgramEnd);
                continue;
            }
            self.next_line += 1;
            let bytes = PROGRAM[(self.next_line - 1) as usize % PROGRAM.len()];
            self.session.handle(self.now, Input::ProgramLine { number: self.next_line, bytes });
        }
        self.session.program_fed(self.now);
        let before = self.said.len();
        if let Some(urgent) = self.session.take_urgent() {
            self.said.extend_from_slice(&urgent.bytes);
        }
        self.session.take_wire(&mut self.said);
        let said = &self.said[before..];
        assert!(said.is_empty() || self.port_is_open, "said into a port that is not there");
        let of_program = said.windows(OF_THE_PROGRAM.len()).any(|bytes| bytes == OF_THE_PROGRAM);
        assert!(!of_program || self.was_asked, "a program that nobody started");
        while self.session.poll_event().is_some() {}
    }

    fn check(&self) {
        let snapshot = self.session.snapshot();
        if let Some(job) = snapshot.job {
            assert!(job.executed <= job.accepted && job.accepted <= job.sent, "{job:?}");
        }
    }
}

fn notice() -> Notice {
    Notice::new("link.lost", "", "", "")
}

fn memchr(needle: u8, hay: &[u8]) -> Option<usize> {
    hay.iter().position(|byte| *byte == needle)
}

/// The host's side of a mailbox or of a machine with program files, with any words as answers: two bytes each.
pub(crate) fn mailbox(bytes: &[u8]) {
    let [first, script @ ..] = bytes else { return };
    let mut now = Moment::ZERO;
    let settings = Mailbox { base: u16::from(*first) * 251, read_write: first % 2 == 0, ..Mailbox::default() };
    let mut host: Box<dyn Conversation> = Box::new(mailbox::Host::new(settings, now));
    if first % 4 >= 2 {
        let profile = Profile::named("generic-program-file").expect("a bundled profile");
        if let Some(program) = profile.modbus.and_then(|modbus| program::Host::new(&modbus, now)) {
            host = Box::new(program);
        }
    }
    let mut script = Script(script);
    let mut said = Vec::new();
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = script.byte() else { break };
        match operation % 8 {
            0 => host.hear(now, script.bytes(usize::from(operation))),
            1 => host.hear(
                now,
                [&b"$I\n"[..], b"$X\n$H\n", b"G1 X1\n", b"\x05\x13", b"\x11\x03", b"\x18", b"$START\n"]
                    [usize::from(operation / 8) % 7],
            ),
            2 => now = now + Duration::from_micros(1 << (script.number() % 30)),
            _ => {
                let Some(question) = host.question(now) else {
                    now = now.max(host.wakes_at());
                    continue;
                };
                if operation % 8 == 3 {
                    host.unanswered(now, &question, &Trouble::Exception(script.number()));
                    continue;
                }
                let words = words_of(&question, operation, &mut script);
                if host.answered(now, &question, &words).is_err() {
                    return;
                }
            }
        }
        said.clear();
        host.take_said(&mut said);
        assert!(said.is_empty() || said.ends_with(b"\n"), "half a line");
    }
}

/// Any words; often those of a real mailbox in front.
fn words_of(question: &Question, operation: u8, script: &mut Script<'_>) -> Vec<u16> {
    let mut words: Vec<u16> =
        (0..question.wanted()).map(|_| u16::from_be_bytes([script.number(), script.number()])).collect();
    if operation >= 128 && words.len() > 8 {
        for (word, real) in words.iter_mut().zip([0x4642, 1, 7, 16, 40]) {
            *word = real;
        }
    }
    words
}

/// Frames that arrive at a simulated Modbus device, and its answers' words at a device beside a machine.
pub(crate) fn registers(bytes: &[u8]) {
    let [first, script @ ..] = bytes else { return };
    let name = if first % 2 == 0 { "modbus-tcp" } else { "modbus-rtu" };
    let mut device = simulated(name, &Setup::default()).expect("a simulated device");
    let mut answer = Vec::new();
    for (at, piece) in script.chunks(usize::from(*first).max(1)).enumerate() {
        device.hear(Moment(at as u64 * 1000), piece);
        device.say(&mut answer);
    }
    let (_, text) = Profile::bundled()[usize::from(*first) % Profile::bundled().len()];
    let Ok(profile) = Profile::parse(text) else { return };
    for auxiliary in profile.auxiliary {
        let mut beside = Attached::new(auxiliary, Moment::ZERO);
        let mut now = Moment::ZERO;
        let mut script = Script(script);
        while let Some(operation) = script.byte() {
            match (operation % 4, beside.question(now)) {
                (0, _) => beside.stop(now),
                (1, Some(question)) => beside.unanswered(now, &question, &Trouble::Overdue),
                (_, Some(question)) => {
                    let words = words_of(&question, operation, &mut script);
                    beside.answered(now, &question, &words);
                }
                (_, None) => now = now.max(beside.wakes_at().unwrap_or(now)),
            }
            let _ = beside.snapshot(now);
            while beside.take_notice().is_some() {}
        }
    }
}
