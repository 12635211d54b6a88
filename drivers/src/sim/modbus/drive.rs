//! A variable frequency drive: run, direction and frequency in holding registers, and what it does in others.
//!
//! ```text
//! holding 0  command: 0 stop, 1 forward, 2 reverse       holding 10  status: bit 0 runs, 1 reverse, 3 fault
//! holding 1  frequency, 0.01 Hz                          holding 11  actual frequency, 0.01 Hz
//! holding 2  communication loss time, ms; 0 never        holding 12  current, 0.1 A
//!                                                        holding 13  fault code; 7: the host was lost
//!                                                        holding 14  revolutions per minute
//!                                                        holding 15  status as PROFIdrive has it: bit 2 runs, 3 fault
//! ```

use std::time::Duration;

use super::Device;
use crate::Moment;
use crate::modbus::{Question, Table};

/// How fast its frequency changes, in Hz per second.
const RAMP_HZ_S: f64 = 100.0;

/// Current at full frequency, in amperes, and that frequency in Hz.
const FULL_A: f64 = 5.0;
const FULL_HZ: f64 = 400.0;

/// Watts per ampere: a 1.5 kW spindle at full speed draws 1.1 kW cutting.
const W_PER_A: f64 = 220.0;

/// The fault a drive shows when its host was lost.
const HOST_LOST: u16 = 7;

/// Bits that a healthy PROFIdrive status word has: among them bits 4 and 5, which are 0 where something is wrong.
const HEALTHY: u16 = 0xfa31;

/// What real drives do otherwise than the standard has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// The only function with which it is written: 16 on NowForever's, 6 on most others. Absent: both.
    pub write_function: Option<u8>,
    /// Registers that it gives at once; 0: as many as a frame holds.
    pub registers_max: u16,
    /// A register that it does not have, in the middle of those that it has.
    pub hole: Option<u16>,
    /// It refuses its command to stop (exception 4): it is run from its panel or from a terminal.
    pub refuses_stop: bool,
    /// For so long after a question it is busy with that (exception 6).
    pub busy_ms: u64,
    /// It takes a frequency only while it runs (exception 4 otherwise).
    pub speed_only_running: bool,
    /// The highest frequency that it comes to, in hertz, whatever it is told: its motor is overloaded. 0: any.
    pub weak_hz: u16,
    /// Whether its actual frequency has a sign.
    pub sign: Sign,
}

/// What the sign of a drive's actual frequency says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sign {
    /// It has none.
    #[default]
    None,
    /// Minus where it turns counter-clockwise.
    Direction,
    /// The same, on a drive whose command 1 turns it counter-clockwise and 2 clockwise.
    Exchanged,
}

/// A drive.
#[derive(Debug, Default)]
pub struct Drive {
    /// What it does otherwise than others.
    pub quirks: Quirks,
    busy_until: Moment,
    command: u16,
    frequency: u16,
    loss_ms: u16,
    fault: u16,
    actual_hz: f64,
    /// It turns, or turned last, counter-clockwise.
    backwards: bool,
    now: Moment,
    asked_at: Moment,
    /// It takes a stop and turns on: a welded contactor, or a drive that is run from its panel.
    pub stuck: bool,
}

impl Drive {
    /// A drive with quirks.
    pub fn with(quirks: Quirks) -> Self {
        Self { quirks, ..Self::default() }
    }

    /// How fast it turns, in hertz.
    pub fn hz(&self) -> f64 {
        self.actual_hz
    }

    /// Whether the spindle turns.
    pub fn turns(&self) -> bool {
        self.actual_hz > 0.0
    }

    /// What it draws, in watts.
    pub fn power_w(&self) -> f64 {
        self.current_a() * W_PER_A
    }

    fn current_a(&self) -> f64 {
        FULL_A * self.actual_hz / FULL_HZ
    }

    fn status(&self) -> u16 {
        u16::from(self.turns()) | u16::from(self.command == 2) << 1 | u16::from(self.fault != 0) << 3
    }

    /// It shows a fault and stops; 0: it is cleared.
    pub fn fail(&mut self, fault: u16) {
        self.fault = fault;
        self.command = 0;
    }

    fn read(&self, address: u16) -> Result<u16, u8> {
        if self.quirks.hole == Some(address) {
            return Err(2);
        }
        Ok(match address {
            0 => self.command,
            1 => self.frequency,
            2 => self.loss_ms,
            10 => self.status(),
            11 if self.quirks.sign != Sign::None && self.backwards => (self.actual_hz * -100.0) as i16 as u16,
            11 => (self.actual_hz * 100.0) as u16,
            12 => (self.current_a() * 10.0).round() as u16,
            13 => self.fault,
            14 => (self.actual_hz * 60.0) as u16,
            15 => HEALTHY | u16::from(self.turns()) << 2 | u16::from(self.fault != 0) << 3,
            _ => return Err(2),
        })
    }

    fn write(&mut self, address: u16, word: u16) -> Result<(), u8> {
        match (address, word) {
            (0, 0) if self.quirks.refuses_stop => return Err(4),
            (1, _) if self.quirks.speed_only_running && self.command == 0 => return Err(4),
            (0, 0..=2) if self.fault == 0 || word == 0 => {
                self.command = word;
                if word != 0 {
                    self.backwards = (word == 2) != (self.quirks.sign == Sign::Exchanged);
                }
                if word == 0 {
                    self.fault = 0;
                }
            }
            (0, 0..=2) => return Err(4),
            (1, 0..=40_000) => self.frequency = word,
            (2, _) => self.loss_ms = word,
            (0..=2, _) => return Err(3),
            _ => return Err(2),
        }
        Ok(())
    }
}

impl Device for Drive {
    fn ask(&mut self, now: Moment, question: &Question) -> Result<Vec<u16>, u8> {
        self.advance(now);
        self.asked_at = self.now;
        if self.now < self.busy_until {
            return Err(6);
        }
        self.busy_until = self.now + Duration::from_millis(self.quirks.busy_ms);
        if question.writes() && self.quirks.write_function.is_some_and(|known| known != question.function()) {
            return Err(1);
        }
        let most = if self.quirks.registers_max == 0 { u16::MAX } else { self.quirks.registers_max };
        match question {
            Question::Read { count, .. } if *count > most => Err(3),
            Question::Read { table: Table::Holding | Table::Input, address, count } => {
                (0..*count).map(|at| self.read(address.checked_add(at).ok_or(2_u8)?)).collect()
            }
            Question::WriteOne { address, word } => self.write(*address, *word).map(|()| Vec::new()),
            Question::Write { address, words } => {
                for (at, word) in (*address..).zip(words) {
                    self.write(at, *word)?;
                }
                Ok(Vec::new())
            }
            _ => Err(1),
        }
    }

    fn advance(&mut self, now: Moment) {
        let seconds = now.since(self.now).as_secs_f64();
        self.now = now.max(self.now);
        let loss = Duration::from_millis(u64::from(self.loss_ms));
        if self.command != 0 && self.loss_ms != 0 && self.now.since(self.asked_at) >= loss {
            (self.command, self.fault) = (0, HOST_LOST);
        }
        let runs = self.command != 0 || (self.stuck && self.actual_hz > 0.0);
        let most = if self.quirks.weak_hz == 0 { f64::INFINITY } else { f64::from(self.quirks.weak_hz) };
        let wanted = if runs { (f64::from(self.frequency) / 100.0).min(most) } else { 0.0 };
        let step = RAMP_HZ_S * seconds;
        self.actual_hz += (wanted - self.actual_hz).clamp(-step, step);
    }
}
