//! Simulated Modbus devices on one line, in virtual time: a mailbox machine, a drive, an energy meter and a controller
//! with program files.
//!
//! Unit 1 is the machine, unit 2 the drive of its spindle, unit 3 the meter, unit 4 the controller; on a
//! serial line unit 5 is a drive of Huanyang's. Frames are read and written here by hand,
//! and not with the library that the agent uses: two sides that share their code would share its mistakes.

mod controller;
mod drive;
mod frame;
mod huanyang;
mod meter;
mod plc;

use std::time::Duration;

use super::{Random, Report, Setup, Simulated};
use crate::Moment;
use crate::modbus::{Question, Trouble};

pub use controller::Controller;
pub use drive::{Drive, Quirks, Sign};
pub use frame::Framing;
pub use huanyang::Huanyang;
pub use meter::Meter;
pub use plc::Plc;

/// Unit of the machine.
pub const MACHINE: u8 = 1;
/// Unit of the drive.
pub const DRIVE: u8 = 2;
/// Unit of the meter.
pub const METER: u8 = 3;
/// Unit of the controller with program files.
pub const CONTROLLER: u8 = 4;
/// Unit of a drive with frames of its own, on a serial line.
pub const HUANYANG: u8 = 5;

/// What becomes of answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerFaults {
    /// Probability that an answer is lost.
    pub lost: f64,
    /// Probability that an answer comes twice.
    pub doubled: f64,
    /// Probability that an answer comes late.
    pub late: f64,
    /// How late at most.
    pub late_by: Duration,
    /// After how many questions nothing is answered any more.
    pub silent_after: Option<u64>,
}

impl Default for AnswerFaults {
    fn default() -> Self {
        Self { lost: 0.0, doubled: 0.0, late: 0.0, late_by: Duration::from_millis(700), silent_after: None }
    }
}

/// How the line, or the server on TCP, behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineQuirks {
    /// The adapter brings back every byte that the host sends, in front of the answers.
    pub echo: bool,
    /// On TCP: this unit stands in every answer, whoever was asked.
    pub answers_as: Option<u8>,
    /// On TCP: what arrives together is taken for one question, and the rest is lost.
    pub one_at_a_time: bool,
}

/// A device behind a unit id.
pub trait Device: Send {
    /// Carries a question out. The words of the answer, or an exception.
    ///
    /// # Errors
    /// The exception's code.
    fn ask(&mut self, now: Moment, question: &Question) -> Result<Vec<u16>, u8>;
    /// Time passes.
    fn advance(&mut self, now: Moment);
}

/// Several devices on one line.
pub struct Bus {
    framing: Framing,
    plc: Plc,
    drive: Drive,
    meter: Meter,
    controller: Controller,
    huanyang: Huanyang,
    now: Moment,
    heard: Vec<u8>,
    heard_at: Moment,
    out: Vec<u8>,
    /// Answers on their way, with when they arrive.
    late: Vec<(Moment, Vec<u8>)>,
    faults: AnswerFaults,
    line: LineQuirks,
    random: Random,
    bytes: u64,
    questions: u64,
}

/// Partial frames older than this are noise: far longer than any gap within a frame, which an adapter may stretch.
const STALE_FRAME: Duration = Duration::from_millis(100);

/// The bus over TCP.
pub(super) fn build_tcp(setup: &Setup) -> Box<dyn Simulated> {
    Box::new(Bus::new(Framing::Tcp, setup))
}

/// The bus over a serial line.
pub(super) fn build_rtu(setup: &Setup) -> Box<dyn Simulated> {
    Box::new(Bus::new(Framing::Rtu, setup))
}

impl Bus {
    /// A machine, a drive, a meter and a controller.
    pub fn new(framing: Framing, setup: &Setup) -> Self {
        Self {
            framing,
            plc: Plc::new(setup),
            drive: Drive::with(setup.drive),
            line: setup.modbus_line,
            meter: Meter::default(),
            controller: Controller::new(setup),
            huanyang: Huanyang::default(),
            now: Moment::ZERO,
            heard: Vec::new(),
            heard_at: Moment::ZERO,
            out: Vec::new(),
            late: Vec::new(),
            faults: setup.answers,
            random: Random::new(setup.seed),
            bytes: 0,
            questions: 0,
        }
    }

    /// The words of an answer, an exception, or nothing where nobody answers.
    fn ask(&mut self, unit: u8, question: &Question) -> Option<Result<Vec<u16>, u8>> {
        // On TCP 0 and 255 are the server itself.
        let server = matches!(unit, 0 | 255) && self.framing == Framing::Tcp;
        let device: &mut dyn Device = match unit {
            _ if server => &mut self.plc,
            MACHINE => &mut self.plc,
            DRIVE => &mut self.drive,
            METER => &mut self.meter,
            CONTROLLER => &mut self.controller,
            // A gateway says that the device behind it is silent; on a serial line nobody does.
            _ if self.framing == Framing::Tcp => return Some(Err(crate::modbus::question::GATEWAY_SILENT)),
            _ => return None,
        };
        Some(device.ask(self.now, question))
    }

    fn answer(&mut self, frame: &frame::Asked) {
        self.questions += 1;
        let answered = match &frame.question {
            Ok(question) => self.ask(frame.unit, question),
            // Who is not there refuses nothing.
            Err(exception) => (MACHINE..=CONTROLLER).contains(&frame.unit).then_some(Err(*exception)),
        };
        let Some(answered) = answered else { return };
        if self.faults.silent_after.is_some_and(|after| self.questions > after) || self.random.chance(self.faults.lost)
        {
            return;
        }
        let mut bytes = self.framing.answer(frame, &answered);
        if let (Framing::Tcp, Some(unit)) = (self.framing, self.line.answers_as) {
            bytes[frame::TCP_UNIT] = unit;
        }
        self.send(bytes);
    }

    /// Says an answer, or what the faults make of it.
    fn send(&mut self, bytes: Vec<u8>) {
        if self.random.chance(self.faults.doubled) {
            self.out.extend_from_slice(&bytes);
        }
        if self.random.chance(self.faults.late) {
            let by = Duration::from_micros(self.random.below(self.faults.late_by.as_micros() as u64));
            self.late.push((self.now + by, bytes));
        } else {
            self.out.extend_from_slice(&bytes);
        }
    }
}

impl Simulated for Bus {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        self.advance(now);
        if now.since(self.heard_at) > STALE_FRAME {
            self.heard.clear();
        }
        self.heard_at = now;
        self.bytes += bytes.len() as u64;
        if self.line.echo {
            self.out.extend_from_slice(bytes);
        }
        self.heard.extend_from_slice(bytes);
        loop {
            if self.framing == Framing::Rtu && self.heard.first() == Some(&HUANYANG) {
                let Some(answer) = self.huanyang.hear(self.now, &mut self.heard) else { return };
                self.send(answer);
            } else {
                let Some(asked) = self.framing.take(&mut self.heard) else { return };
                self.answer(&asked);
                if self.line.one_at_a_time {
                    self.heard.clear();
                }
            }
        }
    }

    fn advance(&mut self, now: Moment) {
        self.now = now.max(self.now);
        self.plc.advance(self.now);
        self.drive.advance(self.now);
        self.controller.advance(self.now);
        self.huanyang.drive.advance(self.now);
        let drives_w = self.drive.power_w() + self.huanyang.drive.power_w();
        let power_w = self.plc.power_w() + drives_w + self.controller.power_w();
        self.meter.load(self.now, power_w);
        self.meter.advance(self.now);
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= self.now);
        self.late = late;
        let due: Vec<(Moment, Vec<u8>)> = due;
        for (_, bytes) in due {
            self.out.extend_from_slice(&bytes);
        }
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn wakes_at(&self) -> Option<Moment> {
        let late = self.late.iter().map(|(at, _)| *at).min();
        [late, self.plc.wakes_at(), self.controller.wakes_at()].into_iter().flatten().min()
    }

    fn reset(&mut self, now: Moment) {
        self.plc.reset(now);
        self.controller.reset(now);
    }

    fn completed(&self) -> u64 {
        self.plc.completed()
    }

    fn report(&self) -> Report {
        let plc = self.plc.report();
        // A program goes to one of the two machines on the line.
        let used = if plc.executed > 0 {
            plc
        } else {
            Some(self.controller.report()).filter(|it| it.executed > 0 || it.moving).unwrap_or(plc)
        };
        Report { bytes: self.bytes, ..used }
    }
}

/// Asks a device directly, without a line between: for tests in virtual time.
///
/// # Errors
/// The device's exception.
pub fn ask(device: &mut dyn Device, now: Moment, question: &Question) -> Result<Vec<u16>, Trouble> {
    device.advance(now);
    device.ask(now, question).map_err(Trouble::Exception)
}
