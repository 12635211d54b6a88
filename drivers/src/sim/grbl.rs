//! A simulated Grbl 1.1h, grblHAL or `FluidNC`: receive ring, line filter, real-time bytes, reports, planner, alarms.
//!
//! Behaviour after gnea/grbl 1.1h: `grbl/serial.c` (what is picked out of the stream), `protocol.c` (line filter,
//! state changes), `report.c` (report fields), `system.c` (`$` commands), `gcode.c` (error numbers). What its kin do
//! otherwise is in [`Flavour`], after grblHAL/core `report.c` and `system.c` and `FluidNC` `Report.cpp`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use super::grbl_parser::{Meaning, Parser};
use super::motion::Motion;
use super::{Ledger, Report, Setup, Simulated};
use crate::moment::Moment;

/// How a firmware of the family differs from Grbl.
struct Flavour {
    dialect: &'static str,
    banner: &'static [u8],
    /// Smallest receive buffer it is built with.
    buffer_min: usize,
    /// Longest line, without the zero behind it.
    line_max: usize,
    /// What it answers to `$I` and `$I+`, without the `ok`. Nothing: it does not know the question.
    info: fn(&Setup, long: bool) -> Option<String>,
    /// Whether it reports a third number behind the spindle's: the speed measured.
    measures_spindle: bool,
    /// Whether it waits at M6 for a person, in a state of its own.
    tool_change: bool,
}

/// `LINE_BUFFER_SIZE` is 80 with its zero.
static GRBL: Flavour = Flavour {
    dialect: "grbl",
    banner: b"\r\nGrbl 1.1h ['$' for help]\r\n",
    buffer_min: 0,
    line_max: 79,
    info: |setup, long| {
        let options = format!("[OPT:V,{},{}]\r\n", setup.planner_blocks.saturating_sub(1), setup.receive_buffer_bytes);
        (!long).then(|| format!("[VER:1.1h.20190825:]\r\n{options}"))
    },
    measures_spindle: false,
    tool_change: false,
};

static GRBLHAL: Flavour = Flavour {
    dialect: "grblhal",
    banner: b"\r\nGrblHAL 1.1f ['$' or '$HELP' for help]\r\n",
    buffer_min: 1024,
    line_max: 256,
    info: |setup, _| {
        let (blocks, bytes) = (setup.planner_blocks, setup.receive_buffer_bytes);
        Some(format!(
            "[VER:1.1f.20260817:]\r\n[OPT:VNMSL,{blocks},{bytes},3,0]\r\n[AXS:3:XYZ]\r\n\
             [NEWOPT:ENUMS,RT+,HOME,TC,SED]\r\n[FIRMWARE:grblHAL]\r\n[DRIVER:Simulator]\r\n"
        ))
    },
    measures_spindle: true,
    tool_change: true,
};

static FLUIDNC: Flavour = Flavour {
    dialect: "fluidnc",
    banner: b"\r\nGrbl 3.9 [FluidNC v3.9.9 (esp32-wifi) '$' for help]\r\n",
    buffer_min: 256,
    line_max: 254,
    info: |_, long| {
        let lines = "[VER:3.9 FluidNC v3.9.9 (esp32-wifi) :]\r\n[OPT:PHSEW]\r\n[MSG:Machine: Simulated]\r\n";
        (!long).then(|| lines.to_owned())
    },
    measures_spindle: false,
    tool_change: false,
};

/// How long a machine takes to slow down in a hold, at speed 1.
const HOLD_TAKES: Duration = Duration::from_millis(60);

/// What the main loop is busy with; no further line is read meanwhile.
#[derive(Debug, Clone, PartialEq)]
enum Busy {
    No,
    /// The planner is full.
    Room(Vec<u8>),
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
    homing: bool,
    /// A hold was asked for at this time.
    held_since: Option<Moment>,
    /// The program paused, or asked for a tool: the state it reports meanwhile.
    paused_by_program: Option<&'static str>,
    reports: u32,
    overrides: [u32; 3],
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
        parser: Parser::new(setup.rapid_mm_min),
        motion: Motion::new(setup.planner_blocks.saturating_sub(1).max(1), setup.speed),
        lock: Lock::No,
        homing: false,
        held_since: None,
        paused_by_program: None,
        reports: 0,
        overrides: [100; 3],
        out: Vec::new(),
        ledger: Ledger::new(setup.keep_lines),
        report: Report { dialect: flavour.dialect, ..Report::default() },
        setup: Setup { receive_buffer_bytes, ..setup.clone() },
    })
}

impl Simulated for Grbl {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        self.report.bytes += bytes.len() as u64;
        for byte in bytes {
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
        self.motion.advance(self.now);
        if self.homing && self.motion.is_idle() {
            self.homing = false;
        }
        while self.go_on() {}
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn wakes_at(&self) -> Option<Moment> {
        let stops = self.held_since.filter(|_| !self.motion.is_held()).map(|since| since + self.hold_takes());
        let dwell = match self.busy {
            Busy::Sync { then: Some(until), .. } => Some(until),
            _ => None,
        };
        let at = [self.motion.wakes_at(), dwell, stops].into_iter().flatten().min()?;
        Some(at.max(self.now + Duration::from_micros(1)))
    }

    fn reset(&mut self, now: Moment) {
        self.now = self.now.max(now);
        let moving = !self.motion.is_idle() && !self.motion.is_held();
        self.motion.drop_all(now);
        self.received.clear();
        self.line.clear();
        self.overlong = false;
        self.comment = 0;
        self.busy = Busy::No;
        self.parser = Parser::new(self.setup.rapid_mm_min);
        self.held_since = None;
        self.paused_by_program = None;
        self.overrides = [100; 3];
        if moving {
            self.lock = Lock::Alarm;
            self.out.extend_from_slice(b"ALARM:3\r\n");
        } else if self.lock == Lock::Sleep {
            self.lock = Lock::No;
        }
        self.out.extend_from_slice(self.flavour.banner);
        if self.lock == Lock::Alarm {
            self.out.extend_from_slice(b"[MSG:'$H'|'$X' to unlock]\r\n");
        }
    }

    fn report(&self) -> Report {
        Report {
            executed: self.ledger.count,
            hash: format!("{:016x}", self.ledger.hash),
            executed_lines: self.ledger.lines.clone(),
            underruns: self.motion.underruns(),
            position_mm: self.motion.position(self.now),
            motion_ended_at: self.motion.ended().0,
            moving: !self.motion.is_idle() || self.busy != Busy::No,
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
                self.reset(now);
            }
            b'?' => {
                self.advance(now);
                self.say_status();
            }
            b'!' => {
                self.advance(now);
                if !self.motion.is_idle() && self.lock == Lock::No {
                    self.held_since.get_or_insert(now);
                }
            }
            b'~' => {
                self.advance(now);
                self.held_since = None;
                self.motion.resume(now);
                if self.paused_by_program.take().is_some() {
                    self.ok();
                    self.busy = Busy::No;
                }
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
            0x80..=0xff => {}
            _ => return false,
        }
        true
    }

    /// One turn of the main loop. True if there may be more to do.
    fn go_on(&mut self) -> bool {
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
            Busy::Sync { pause, then } => {
                if self.paused_by_program.is_some() || !self.motion.is_idle() {
                    self.busy = Busy::Sync { pause, then };
                    return false;
                }
                let until = then.unwrap_or(self.now + pause);
                if self.now >= until {
                    self.ok();
                    return true;
                }
                self.busy = Busy::Sync { pause, then: Some(until) };
                false
            }
        }
    }

    fn read_line(&mut self) -> bool {
        while let Some(byte) = self.received.pop_front() {
            match byte {
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    self.comment = 0;
                    if std::mem::take(&mut self.overlong) {
                        self.error(11);
                    } else if line.is_empty() {
                        self.ok();
                    } else {
                        self.execute(&line);
                    }
                    self.line = line;
                    self.line.clear();
                    return true;
                }
                b')' if self.comment == b'(' => self.comment = 0,
                _ if self.comment != 0 => {}
                b'(' | b';' => self.comment = byte,
                0..=b' ' | b'/' => {}
                _ if self.line.len() >= self.flavour.line_max => self.overlong = true,
                _ => self.line.push(byte.to_ascii_uppercase()),
            }
        }
        false
    }

    fn execute(&mut self, line: &[u8]) {
        if self.setup.silent_after.is_some_and(|after| self.ledger.count >= after) {
            return;
        }
        if line.first() == Some(&b'$') {
            return self.system(line);
        }
        if self.lock != Lock::No {
            return self.error(9);
        }
        if !self.motion.has_room() {
            self.busy = Busy::Room(line.to_vec());
            return;
        }
        if self.setup.refuse_line == Some(self.ledger.count + self.report.refused + 1) {
            return self.error(33);
        }
        let meaning = self.parser.understand(line, self.motion.planned());
        let changes_tool = meaning == Ok(Meaning::ToolChange);
        match meaning {
            Err(number) => return self.error(number),
            Ok(Meaning::Modal) => {}
            Ok(Meaning::Move { to, length_mm, feed_mm_min }) => {
                if length_mm > 0.0 {
                    let feed = feed_mm_min * f64::from(self.overrides[0]) / 100.0;
                    self.motion.plan(self.now, to, length_mm, feed);
                }
            }
            Ok(Meaning::Dwell { seconds }) => {
                let pause = Duration::try_from_secs_f64(seconds / self.setup.speed).unwrap_or_default();
                self.ledger.executed(line);
                self.busy = Busy::Sync { pause, then: None };
                return;
            }
            Ok(Meaning::ToolChange) if !self.flavour.tool_change => {}
            Ok(Meaning::Pause | Meaning::ToolChange) => {
                self.ledger.executed(line);
                self.paused_by_program = Some(if changes_tool { "Tool" } else { "Hold:0" });
                self.busy = Busy::Sync { pause: Duration::ZERO, then: None };
                return;
            }
            Ok(Meaning::Synchronise) => {
                self.ledger.executed(line);
                self.busy = Busy::Sync { pause: Duration::ZERO, then: None };
                return;
            }
        }
        self.ledger.executed(line);
        self.ok();
    }

    fn system(&mut self, line: &[u8]) {
        self.report.own += 1;
        match line {
            b"$I" | b"$I+" => match (self.flavour.info)(&self.setup, line.len() > 2) {
                Some(info) => self.out.extend_from_slice(info.as_bytes()),
                None => return self.error(3),
            },
            b"$X" => {
                if self.lock == Lock::Alarm {
                    self.lock = Lock::No;
                    self.out.extend_from_slice(b"[MSG:Caution: Unlocked]\r\n");
                }
            }
            b"$H" => {
                self.lock = Lock::No;
                self.homing = true;
                let length = super::motion::length_mm(self.motion.planned(), [0.0; 3], None);
                self.motion.plan(self.now, [0.0; 3], length, self.setup.rapid_mm_min);
                self.busy = Busy::Sync { pause: Duration::ZERO, then: None };
                return;
            }
            b"$SLP" => self.lock = Lock::Sleep,
            b"$G" => self.out.extend_from_slice(b"[GC:G0 G54 G17 G21 G90 G94 M5 M9 T0 F0 S0]\r\n"),
            b"$$" => {
                let laser = u8::from(self.setup.laser_mode);
                let settings = format!("$10=3\r\n$13=0\r\n$30=1000\r\n$32={laser}\r\n");
                self.out.extend_from_slice(settings.as_bytes());
                if self.flavour.dialect == "grblhal" {
                    self.out.extend_from_slice(b"$62=0\r\n");
                }
            }
            _ if line.starts_with(b"$J=") => {
                let planned = self.motion.planned();
                match Parser::new(self.setup.rapid_mm_min).jog(&line[3..], planned) {
                    Ok((to, length_mm, feed)) => self.motion.plan(self.now, to, length_mm, feed),
                    Err(number) => return self.error(number),
                }
            }
            _ if line.contains(&b'=') => {}
            _ => return self.error(3),
        }
        self.ok();
    }

    fn ok(&mut self) {
        self.out.extend_from_slice(b"ok\r\n");
    }

    fn error(&mut self, number: u32) {
        self.report.refused += 1;
        self.out.extend_from_slice(format!("error:{number}\r\n").as_bytes());
    }

    fn say_status(&mut self) {
        let state = match (self.lock, self.held_since, self.motion.is_held()) {
            (Lock::Alarm, ..) => "Alarm",
            (Lock::Sleep, ..) => "Sleep",
            (_, Some(_), true) => "Hold:0",
            (_, Some(_), false) => "Hold:1",
            _ if self.motion.is_idle() && self.paused_by_program.is_some() => {
                self.paused_by_program.unwrap_or("Hold:0")
            }
            _ if self.homing => "Home",
            _ if !self.motion.is_idle() => "Run",
            _ => "Idle",
        };
        let [x, y, z] = self.motion.position(self.now);
        let feed = if self.motion.is_idle() || self.motion.is_held() { 0.0 } else { self.parser.feed_mm_min };
        let free = self.setup.receive_buffer_bytes - self.received.len();
        let mut report = format!(
            "<{state}|MPos:{x:.3},{y:.3},{z:.3}|Bf:{},{free}|FS:{feed:.0},{:.0}",
            self.motion.free(),
            self.parser.spindle
        );
        if self.flavour.measures_spindle {
            let _ = write!(report, ",{:.0}", self.parser.spindle);
        }
        // Work offset and overrides are reported only now and then (REPORT_WCO_REFRESH_IDLE_COUNT, REPORT_OVR_…).
        match self.reports % 10 {
            0 => report.push_str("|WCO:0.000,0.000,0.000"),
            1 => {
                let [feed, rapid, spindle] = self.overrides;
                let _ = write!(report, "|Ov:{feed},{rapid},{spindle}");
            }
            _ => {}
        }
        self.reports += 1;
        report.push_str(">\r\n");
        self.out.extend_from_slice(report.as_bytes());
    }
}
