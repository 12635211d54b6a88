//! A simulated Grbl 1.1h, grblHAL or `FluidNC`: receive ring, line filter, real-time bytes, reports, planner, alarms.
//!
//! Behaviour after gnea/grbl 1.1h: `grbl/serial.c` (what is picked out of the stream), `protocol.c` (line filter,
//! state changes), `report.c` (report fields), `system.c` (`$` commands), `gcode.c` (error numbers). What its kin do
//! otherwise is in [`Flavour`], after grblHAL/core `report.c` and `system.c` and `FluidNC` `Report.cpp`.

mod flavour;
mod hand;
mod lines;
mod report;

use std::collections::VecDeque;
use std::time::Duration;

use self::flavour::{FLUIDNC, Flavour, GRBL, GRBLHAL};
use super::grbl_parser::Parser;
use super::motion::Motion;
use super::{Incident, Ledger, Report, Setup, Simulated};
use crate::moment::Moment;

/// How long a machine takes to slow down in a hold, at speed 1.
const HOLD_TAKES: Duration = Duration::from_millis(60);

/// How long its main loop takes to come round while it moves: the AVR lets eleven bytes of overrides pass meanwhile.
const MAIN_LOOP_TAKES: Duration = Duration::from_millis(2);

/// What the main loop is busy with; no further line is read meanwhile.
#[derive(Debug, Clone, PartialEq)]
enum Busy {
    No,
    /// The planner is full.
    Room(Vec<u8>),
    /// The line is for a machine that stands still.
    Still(Vec<u8>),
    /// Waiting for motion to end, then for some time, then answering.
    Sync {
        pause: Duration,
        then: Option<Moment>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    No,
    Alarm,
    Sleep,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch or flag of the firmware's own")]
struct Grbl {
    flavour: &'static Flavour,
    setup: Setup,
    now: Moment,
    received: VecDeque<u8>,
    line: Vec<u8>,
    overlong: bool,
    comment: u8,
    busy: Busy,
    parser: Parser,
    motion: Motion,
    lock: Lock,
    /// A limit was hit: nothing but a reset is heard.
    limit: bool,
    /// An alarm that nothing but a reset ends.
    critical: bool,
    /// It says until then what the alarm is, and forgets a reset that comes meanwhile.
    forgets_until: Option<Moment>,
    homing: bool,
    /// Asked how it is while it homed.
    asked: bool,
    jogging: bool,
    /// A jog is being ended; it stands then.
    jog_ends_at: Option<Moment>,
    /// The door, where it was opened: whether it is open still.
    door: Option<bool>,
    /// The spindle was told to stand in this hold.
    spindle_stands: bool,
    /// Moves left of somebody else's program, and whether it comes from its card.
    own_moves: u32,
    own_file: bool,
    /// Check mode: programs are read, and nothing moves.
    checks: bool,
    /// Where a probing move ends, whether the probe touches there, and whether it must.
    probing: Option<([f64; 3], bool, bool)>,
    /// A hold was asked for at this time.
    held_since: Option<Moment>,
    /// The program paused, or asked for a tool: the state it reports meanwhile.
    paused_by_program: Option<&'static str>,
    /// The error of the last line, where it sticks; zero for none.
    last_error: u32,
    reports: u32,
    overrides: [u32; 3],
    /// Overrides that were changed since it reported them: it does so in its next report.
    overrides_told: bool,
    /// Kinds of override bytes that arrived since its main loop came round: each is a flag, and counts once.
    override_flags: u64,
    /// When it does so.
    override_flags_until: Moment,
    out: Vec<u8>,
    ledger: Ledger,
    report: Report,
}

pub(super) fn build(setup: &Setup) -> Box<dyn Simulated> {
    build_flavour(&GRBL, setup)
}

pub(super) fn build_grblhal(setup: &Setup) -> Box<dyn Simulated> {
    build_flavour(&GRBLHAL, setup)
}

pub(super) fn build_fluidnc(setup: &Setup) -> Box<dyn Simulated> {
    build_flavour(&FLUIDNC, setup)
}

fn build_flavour(flavour: &'static Flavour, setup: &Setup) -> Box<dyn Simulated> {
    let receive_buffer_bytes = setup.receive_buffer_bytes.max(flavour.buffer_min);
    Box::new(Grbl {
        flavour,
        now: Moment::ZERO,
        received: VecDeque::new(),
        line: Vec::new(),
        overlong: false,
        comment: 0,
        busy: Busy::No,
        parser: Parser::new(setup.rapid_mm_min, flavour.reader, flavour.dialect).at(setup.work_offset_mm),
        motion: Motion::new(setup.planner_blocks.saturating_sub(1).max(1), setup.speed).with(setup.dynamics.clone()),
        lock: Lock::No,
        limit: false,
        critical: false,
        forgets_until: None,
        homing: false,
        asked: false,
        jogging: false,
        jog_ends_at: None,
        door: None,
        spindle_stands: false,
        own_moves: 0,
        own_file: false,
        checks: false,
        probing: None,
        held_since: None,
        paused_by_program: None,
        last_error: 0,
        reports: 0,
        overrides: [100; 3],
        overrides_told: true,
        override_flags: 0,
        override_flags_until: Moment::ZERO,
        out: Vec::new(),
        ledger: Ledger::new(setup.keep_lines, flavour.reader),
        report: Report { dialect: flavour.dialect, ..Report::default() },
        setup: Setup { receive_buffer_bytes, ..setup.clone() },
    })
}

impl Simulated for Grbl {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        self.report.bytes += bytes.len() as u64;
        if now >= self.override_flags_until {
            self.override_flags = 0;
        }
        for byte in bytes {
            if (0x90..=0x9d).contains(byte) {
                let flag = 1_u64 << (byte - 0x90);
                self.overrides_told = false;
                if self.override_flags & flag != 0 {
                    continue;
                }
                if self.override_flags == 0 {
                    self.override_flags_until = now + MAIN_LOOP_TAKES;
                }
                self.override_flags |= flag;
            }
            if self.pick_realtime(now, *byte) {
                continue;
            }
            if self.received.len() >= self.setup.receive_buffer_bytes {
                self.advance(now);
            }
            if self.received.len() >= self.setup.receive_buffer_bytes {
                self.report.overflow += 1;
            } else {
                self.received.push_back(*byte);
            }
        }
        self.advance(now);
    }

    fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        if let Some(since) = self.held_since {
            if !self.motion.is_held() && self.now >= since + self.hold_takes() {
                self.motion.advance(since + self.hold_takes());
                self.motion.hold(since + self.hold_takes());
            }
        }
        if let Some(at) = self.jog_ends_at.filter(|at| *at <= self.now) {
            self.motion.advance(at);
            self.motion.drop_all(at);
            self.jog_ends_at = None;
        }
        self.motion.advance(self.now);
        if self.forgets_until.take_if(|at| *at <= self.now).is_some() {
            self.out.extend_from_slice(b"[MSG:Reset to continue]\r\n");
        }
        self.move_on();
        if self.motion.is_idle() {
            self.jogging = false;
            self.jog_ends_at = None;
            if std::mem::take(&mut self.homing) && std::mem::take(&mut self.asked) {
                self.say_status();
            }
        }
        while self.go_on() {}
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn wakes_at(&self) -> Option<Moment> {
        let stops = self.held_since.filter(|_| !self.motion.is_held()).map(|since| since + self.hold_takes());
        let jog = self.jog_ends_at;
        let dwell = match self.busy {
            Busy::Sync { then: Some(until), .. } => Some(until),
            _ => None,
        };
        let at = [self.motion.wakes_at(), dwell, stops, jog, self.forgets_until].into_iter().flatten().min()?;
        Some(at.max(self.now + Duration::from_micros(1)))
    }

    fn happen(&mut self, now: Moment, incident: Incident) {
        self.incident(now, incident);
    }

    fn reset(&mut self, now: Moment) {
        self.now = self.now.max(now);
        let moving = !self.motion.is_idle() && !self.motion.is_held();
        let homing = std::mem::take(&mut self.homing);
        (self.limit, self.critical) = (false, false);
        self.forgets_until = None;
        self.jogging = false;
        self.jog_ends_at = None;
        self.door = self.door.filter(|open| *open);
        self.spindle_stands = false;
        self.probing = None;
        (self.own_moves, self.own_file, self.checks) = (0, false, false);
        self.motion.drop_all(now);
        self.received.clear();
        self.line.clear();
        self.overlong = false;
        self.comment = 0;
        self.busy = Busy::No;
        self.parser = Parser::new(self.setup.rapid_mm_min, self.flavour.reader, self.flavour.dialect)
            .at(self.setup.work_offset_mm);
        self.held_since = None;
        self.paused_by_program = None;
        self.last_error = 0;
        self.overrides = [100; 3];
        if moving {
            self.lock = Lock::Alarm;
            self.out.extend_from_slice(if homing { b"ALARM:6\r\n" } else { b"ALARM:3\r\n" });
        } else if self.lock == Lock::Sleep {
            self.lock = Lock::No;
        }
        self.out.extend_from_slice(self.flavour.banner);
        if self.lock == Lock::Alarm {
            self.out.extend_from_slice(b"[MSG:'$H'|'$X' to unlock]\r\n");
        }
    }

    fn completed(&self) -> u64 {
        let waits = u64::from(matches!(self.busy, Busy::Sync { .. }));
        self.motion.completed().min(self.ledger.count.saturating_sub(waits))
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
            moving: !self.motion.is_idle() || self.busy != Busy::No,
            left_on: (self.parser.turning != 5).then(|| "spindle".to_owned()).into_iter().collect(),
            violations: Ledger::violations(&self.report),
            ..self.report.clone()
        }
    }
}

impl Grbl {
    fn hold_takes(&self) -> Duration {
        HOLD_TAKES.div_f64(self.setup.speed.clamp(1.0, 1000.0))
    }

    /// Real-time bytes never reach the buffer.
    fn pick_realtime(&mut self, now: Moment, byte: u8) -> bool {
        match byte {
            0x18 => {
                self.advance(now);
                // `protocol_exec_rt_system` waits behind the alarm's line, and clears what was asked for meanwhile.
                if self.forgets_until.is_none() {
                    if self.busy != Busy::No && self.flavour.answers_what_it_drops {
                        self.ok();
                    }
                    self.reset(now);
                }
            }
            b'?' => {
                self.advance(now);
                if self.limit {
                    // It loops until it is reset, and reports nothing.
                } else if self.homing && self.flavour.silent_homing {
                    self.asked = true;
                } else {
                    self.say_status();
                }
            }
            b'!' => {
                self.advance(now);
                if self.jogging {
                    self.end_jog(now);
                } else if self.lock == Lock::No && !self.homing {
                    self.held_since.get_or_insert(now);
                }
            }
            b'~' => {
                self.advance(now);
                let slows_down = self.held_since.is_some() && !self.motion.is_held();
                if self.door == Some(true) || slows_down {
                    return true;
                }
                self.door = None;
                self.spindle_stands = false;
                self.held_since = None;
                self.motion.resume(now);
                if self.paused_by_program.take().is_some() {
                    self.ok();
                    self.busy = Busy::No;
                }
            }
            0x85 => {
                self.advance(now);
                self.end_jog(now);
            }
            0x9e => {
                self.advance(now);
                let stands = self.motion.is_held() || (self.motion.is_idle() && self.paused_by_program.is_some());
                self.spindle_stands ^= stands;
            }
            0x90 => self.overrides[0] = 100,
            0x91 => self.overrides[0] = (self.overrides[0] + 10).min(200),
            0x92 => self.overrides[0] = self.overrides[0].saturating_sub(10).max(10),
            0x93 => self.overrides[0] = (self.overrides[0] + 1).min(200),
            0x94 => self.overrides[0] = self.overrides[0].saturating_sub(1).max(10),
            0x95 => self.overrides[1] = 100,
            0x96 => self.overrides[1] = 50,
            0x97 => self.overrides[1] = 25,
            0x99 => self.overrides[2] = 100,
            0x9a => self.overrides[2] = (self.overrides[2] + 10).min(200),
            0x9b => self.overrides[2] = self.overrides[2].saturating_sub(10).max(10),
            0x9c => self.overrides[2] = (self.overrides[2] + 1).min(200),
            0x9d => self.overrides[2] = self.overrides[2].saturating_sub(1).max(10),
            0x80..=0xff => {}
            _ => return false,
        }
        true
    }

    /// One turn of the main loop. True if there may be more to do.
    fn go_on(&mut self) -> bool {
        // In a hold the main loop is suspended: lines wait in the receive buffer.
        if self.limit || self.lock == Lock::Sleep || self.motion.is_held() {
            return false;
        }
        match std::mem::replace(&mut self.busy, Busy::No) {
            Busy::No => self.read_line(),
            Busy::Room(line) => {
                if self.motion.has_room() && !self.motion.is_held() {
                    self.execute(&line);
                    true
                } else {
                    self.busy = Busy::Room(line);
                    false
                }
            }
            Busy::Still(line) => {
                if self.motion.is_idle() {
                    self.execute(&line);
                    true
                } else {
                    self.busy = Busy::Still(line);
                    false
                }
            }
            Busy::Sync { pause, then } => {
                if self.paused_by_program.is_some() || !self.motion.is_idle() {
                    self.busy = Busy::Sync { pause, then };
                    return false;
                }
                let until = then.unwrap_or(self.now + pause);
                if self.now >= until {
                    self.say_probed();
                    self.ok();
                    return true;
                }
                self.busy = Busy::Sync { pause, then: Some(until) };
                false
            }
        }
    }
}
