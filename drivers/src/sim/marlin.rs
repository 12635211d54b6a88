//! A simulated Marlin, or a printer of another firmware (see `printer`): receive buffer, command queue, line counter, checksums, heaters, planner.
//!
//! Behaviour after Marlin `src/gcode/queue.cpp` (counter before checksum, buffer cleared on an error, old repeats
//! passed over), `src/gcode/host/M115.cpp`, `src/module/temperature.cpp`, `src/feature/e_parser.h`.

mod commands;
mod heaters;
mod kin;
mod ledger;
mod lines;
mod meatpack;
mod own_work;
mod person;
mod words;

use std::collections::VecDeque;
use std::time::Duration;

use gcode_tools::rules::Rules;
use gcode_tools::time::Firmware;

use super::motion::Motion;
use super::printer::{self, Counting, Flavour};
use super::{Incident, Ledger, Random, Report, Setup, Simulated};
use crate::moment::Moment;

/// Between two signs of life while a command takes long (`DEFAULT_KEEPALIVE_INTERVAL`).
const KEEPALIVE: Duration = Duration::from_secs(2);

/// How long nothing may come to do before it says `wait` (`NO_TIMEOUTS` in `Configuration_adv.h`, Repetier's `gcode.cpp`).
const WAIT_EVERY: Duration = Duration::from_secs(1);

/// The same two signs in the words of `MarlinKimbra`.
const BARE_BUSY: Option<[&[u8]; 2]> = Some([b"busy:processing\n", b"busy:paused for user\n"]);

/// What the command at the front of the queue waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Waiting {
    Nothing,
    Room,
    MotionEnd,
    Until(Moment),
    Heat { heater: usize },
    Person,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch or flag of the firmware's own")]
struct Marlin {
    flavour: &'static Flavour,
    setup: Setup,
    now: Moment,
    received: VecDeque<u8>,
    receiver: meatpack::Receiver,
    /// Characters unpacked and not yet part of a line.
    unpacked: VecDeque<u8>,
    line: Vec<u8>,
    in_comment: bool,
    queue: VecDeque<(Vec<u8>, Option<i64>)>,
    waiting: Waiting,
    /// The question to a person that is open, if one is.
    prompt: Option<person::Question>,
    /// Since when it has had nothing to do and was told nothing.
    quiet_since: Moment,
    busy_at: Moment,
    last_number: i64,
    /// Lines that it has read since it was switched on.
    lines_read: u64,
    /// Lines still passed over in silence behind a line that was asked for again (Repetier).
    skips: u32,
    motion: Motion,
    heaters: heaters::Heaters,
    heated_at: Moment,
    /// M3 or M4 was said, and no M5.
    spindle_on: bool,
    report_every: Option<Duration>,
    report_at: Moment,
    absolute: bool,
    /// Where the extruder stands, and whether its lengths are relative.
    extruder: f64,
    extruder_relative: bool,
    feed: f64,
    /// Which axes were homed since it was switched on or its motors were let go.
    homed: [bool; 3],
    /// What it refuses, if it is a Klipper.
    rules: Rules,
    /// What comes of the command that is at work.
    done: words::Done,
    halted: bool,
    /// What Klipper says of that.
    why: &'static str,
    emergency: Vec<u8>,
    out: Vec<u8>,
    ledger: Ledger,
    own_work: own_work::OwnWork,
    /// Lines that prove the end of motion, held back: they count only if more of the program follows.
    tail: Vec<Vec<u8>>,
    random: Random,
    report: Report,
}

pub(super) fn build(setup: &Setup) -> Box<dyn Simulated> {
    build_flavour(&printer::MARLIN, setup)
}

pub(super) fn build_smoothieware(setup: &Setup) -> Box<dyn Simulated> {
    build_flavour(&printer::SMOOTHIEWARE, setup)
}

/// M112 on USB waits for its turn.
pub(super) fn build_reprapfirmware(setup: &Setup) -> Box<dyn Simulated> {
    build_flavour(&printer::REPRAPFIRMWARE, &Setup { emergency_parser: false, ..setup.clone() })
}

pub(super) fn build_repetier(setup: &Setup) -> Box<dyn Simulated> {
    build_flavour(&printer::REPETIER, setup)
}

pub(super) fn build_klipper(setup: &Setup) -> Box<dyn Simulated> {
    build_flavour(&printer::KLIPPER, setup)
}

/// How often it tells its temperatures unasked.
fn chatter(setup: &Setup) -> Option<Duration> {
    (setup.temperatures_every_ms > 0).then(|| Duration::from_millis(setup.temperatures_every_ms))
}

/// The rules of a firmware that refuses lines: of these, Klipper alone.
fn rules_of(flavour: &Flavour) -> Rules {
    Rules::of(Firmware::of_dialect(flavour.dialect).unwrap_or(Firmware::Marlin))
}

fn build_flavour(flavour: &'static Flavour, setup: &Setup) -> Box<dyn Simulated> {
    let receive_buffer_bytes = setup.receive_buffer_bytes.max(flavour.buffer_min);
    Box::new(Marlin {
        flavour,
        now: Moment::ZERO,
        received: VecDeque::new(),
        receiver: meatpack::Receiver::default(),
        unpacked: VecDeque::new(),
        line: Vec::new(),
        in_comment: false,
        queue: VecDeque::new(),
        waiting: Waiting::Nothing,
        prompt: None,
        quiet_since: Moment::ZERO,
        busy_at: Moment::ZERO,
        last_number: 0,
        lines_read: 0,
        skips: 0,
        motion: Motion::new(setup.planner_blocks, setup.speed).with(setup.dynamics.clone()),
        heaters: heaters::Heaters::new(setup.hot_ends).found(setup.found_hot_c),
        spindle_on: false,
        heated_at: Moment::ZERO,
        report_every: chatter(setup),
        report_at: Moment::ZERO,
        absolute: true,
        extruder: 0.0,
        extruder_relative: false,
        feed: 1500.0,
        homed: [false; 3],
        rules: rules_of(flavour),
        done: words::Done::Wholly,
        halted: false,
        why: "",
        emergency: Vec::new(),
        out: Vec::new(),
        ledger: Ledger::new(setup.keep_lines, flavour.aged(setup.vintage).0),
        own_work: own_work::OwnWork::default(),
        tail: Vec::new(),
        random: Random::new(setup.seed),
        report: Report { dialect: flavour.dialect, ..Report::default() },
        setup: Setup { receive_buffer_bytes, ..setup.clone() },
    })
}

impl Simulated for Marlin {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        self.report.bytes += bytes.len() as u64;
        self.quiet_since = now;
        let frees = self.flavour.counting == Counting::Ask && memchr::memmem::find(bytes, b"M999").is_some();
        if frees && std::mem::take(&mut self.halted) {
            return self.out.extend_from_slice(b"ok\n");
        }
        for byte in bytes {
            if self.flavour.counting == Counting::Ask && self.pick_realtime(now, *byte) {
                continue;
            }
            // One byte of the ring tells full from empty.
            if self.received.len() + 1 >= self.setup.receive_buffer_bytes {
                self.advance(now);
            }
            if self.received.len() + 1 >= self.setup.receive_buffer_bytes {
                self.report.overflow += 1;
            } else {
                self.received.push_back(*byte);
            }
            if self.setup.emergency_parser {
                self.parse_emergency(*byte);
            }
        }
        self.advance(now);
    }

    fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        if self.halted {
            return self.answer_halted();
        }
        self.heat();
        loop {
            self.motion.advance(self.now);
            self.work_on();
            let read = self.read_lines();
            if !self.execute_front() && !read {
                break;
            }
        }
        if let Some(every) = self.report_every {
            if self.now >= self.report_at {
                self.report_at = self.now + every;
                self.say_temperatures(" ");
            }
        }
        let works = self.waiting != Waiting::Nothing || self.own_work.homes;
        if !self.queue.is_empty() && works && self.now >= self.busy_at {
            self.busy_at = self.now + KEEPALIVE;
            let said =
                if self.setup.bare_busy { self.flavour.keepalive.and(BARE_BUSY) } else { self.flavour.keepalive };
            if let Some([working, person]) = said.filter(|_| self.setup.host_keepalive) {
                self.out.extend_from_slice(if self.waiting == Waiting::Person { person } else { working });
            }
        }
        if self.wants_lines() && self.now >= self.quiet_since + WAIT_EVERY {
            self.quiet_since = self.now;
            self.out.extend_from_slice(b"wait\n");
        }
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn wakes_at(&self) -> Option<Moment> {
        if self.halted {
            return None;
        }
        let heating = self.heaters.rise();
        let waits = !self.queue.is_empty() && (self.waiting != Waiting::Nothing || self.own_work.homes);
        [
            self.motion.wakes_at(),
            match self.waiting {
                // What it waited for longer than that is the end of motion.
                Waiting::Until(at) => (at > self.now || self.motion.is_idle()).then_some(at),
                _ => None,
            },
            heating.then(|| self.now + Duration::from_millis(100)),
            self.report_every.map(|_| self.report_at),
            waits.then_some(self.busy_at),
            self.wants_lines().then(|| self.quiet_since + WAIT_EVERY),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.max(self.now + Duration::from_micros(1)))
    }

    fn reset(&mut self, now: Moment) {
        self.now = self.now.max(now);
        self.received.clear();
        self.receiver = meatpack::Receiver::default();
        self.unpacked.clear();
        self.line.clear();
        self.queue.clear();
        self.waiting = Waiting::Nothing;
        self.prompt = None;
        self.last_number = 0;
        self.motion.drop_all(now);
        self.heaters.off();
        self.spindle_on = false;
        self.report_every = chatter(&self.setup);
        self.homed = [false; 3];
        self.rules = rules_of(self.flavour);
        self.halted = false;
        self.own_work = own_work::OwnWork::default();
        self.skips = 0;
        self.out.extend_from_slice(self.flavour.banner);
    }

    fn happen(&mut self, now: Moment, incident: Incident) {
        self.advance(now);
        let said: &[u8] = match incident {
            Incident::Limit => {
                self.why = "MCU 'mcu' shutdown: Timer too close";
                return self.kill();
            }
            Incident::CardPrint => return self.print_from_card(now),
            Incident::MovedThere => return self.moved_there(now),
            Incident::HomedThere => return self.homed_there(now),
            Incident::Paused | Incident::Resumed | Incident::Cancelled if !self.acts_there(incident) => b"",
            Incident::Paused => b"//action:pause\n",
            Incident::Resumed => b"//action:resume\n",
            Incident::Cancelled => b"//action:cancel\n",
            Incident::FilamentOut => return self.filament_is_out(),
            Incident::Says(text) => {
                self.out.extend_from_slice(text.as_bytes());
                b"\n"
            }
            Incident::DoorOpened
            | Incident::DoorClosed
            | Incident::PutToSleep
            | Incident::CheckMode
            | Incident::Alarm(_) => b"",
        };
        self.out.extend_from_slice(said);
    }

    fn completed(&self) -> u64 {
        self.motion.completed()
    }

    fn report(&self) -> Report {
        Report {
            executed: self.ledger.count,
            misread: self.ledger.misread,
            hash: format!("{:016x}", self.ledger.hash),
            executed_lines: self.ledger.lines.clone(),
            underruns: self.motion.underruns(),
            position_mm: self.motion.position(self.now),
            motion_began_at: self.motion.first().0,
            motion_ended_at: self.motion.ended().0,
            moving: !self.motion.is_idle() || !self.queue.is_empty() || self.own_work.is_on(),
            left_on: self.left_on(),
            violations: Ledger::violations(&self.report),
            ..self.report.clone()
        }
    }
}

impl Marlin {
    /// The emergency parser sees every byte as it arrives, whatever waits in front of it.
    fn parse_emergency(&mut self, byte: u8) {
        if byte == b'\n' || byte == b'\r' {
            let word = std::mem::take(&mut self.emergency);
            match word.as_slice() {
                b"M112" => self.emergency_stop(),
                b"M108" => self.stop_waiting(),
                b"M410" => self.motion.drop_all(self.now),
                b"M876 S0" => self.choose(0),
                b"M876 S1" => self.choose(1),
                _ => {}
            }
        } else if self.emergency.len() < 8 {
            self.emergency.push(byte);
        }
    }

    /// Whether it says `wait` when nothing comes: its queue is empty, and it is told nothing.
    fn wants_lines(&self) -> bool {
        let says = self.setup.says_wait || self.flavour.counting == Counting::Skip;
        says && !self.halted && self.queue.is_empty() && self.received.is_empty()
    }

    fn kill(&mut self) {
        self.own_work = own_work::OwnWork::default();
        self.motion.drop_all(self.now);
        self.queue.clear();
        self.received.clear();
        self.heaters.off();
        self.spindle_on = false;
        self.halted = true;
        self.out.extend_from_slice(self.flavour.halted);
    }

    /// Executes the front of the queue as far as it goes. True if anything came of it.
    fn execute_front(&mut self) -> bool {
        let Some((command, number)) = self.queue.front() else { return false };
        let silent = self.setup.silent_after.is_some_and(|after| self.ledger.count >= after);
        if silent || self.keeps_waiting() {
            return false;
        }
        let done = match self.waiting {
            Waiting::Nothing => None,
            Waiting::Room => self.motion.has_room().then_some(false),
            Waiting::MotionEnd => self.motion.is_idle().then_some(true),
            Waiting::Until(at) => (self.now >= at && self.motion.is_idle()).then_some(true),
            Waiting::Heat { heater } => self.heaters.is_hot(heater).then_some(true),
            Waiting::Person => return false,
        };
        if self.waiting != Waiting::Nothing && done.is_none() {
            return false;
        }
        let (command, number) = (command.clone(), *number);
        if self.waiting == Waiting::Nothing || done == Some(false) {
            let first = self.waiting == Waiting::Nothing;
            self.waiting = Waiting::Nothing;
            self.done = self.judge(&command);
            let wait = if matches!(self.done, words::Done::Not(_)) { Waiting::Nothing } else { self.begin(&command) };
            if wait != Waiting::Nothing {
                self.waiting = wait;
                if first {
                    self.busy_at = self.now + KEEPALIVE;
                }
                return first;
            }
        }
        self.waiting = Waiting::Nothing;
        if self.goes_on_asking(&command) {
            return true;
        }
        self.queue.pop_front();
        self.quiet_since = self.now;
        match self.done {
            words::Done::Wholly => self.count(&command, number),
            _ => self.report.ignored += 1,
        }
        self.motion.count(self.ledger.count + self.tail.len() as u64);
        self.finish(&command, number);
        true
    }
}
