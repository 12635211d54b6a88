//! An energy meter as Eastron's SDM series has it: floating point numbers in pairs of input registers.

use super::Device;
use crate::Moment;
use crate::modbus::{Question, Table};

/// The mains, in volts.
const MAINS_V: f64 = 230.0;

/// A meter.
#[derive(Debug, Default)]
pub struct Meter {
    now: Moment,
    power_w: f64,
    energy_ws: f64,
}

impl Meter {
    /// What is drawn from now on, in watts.
    pub fn load(&mut self, now: Moment, power_w: f64) {
        self.advance(now);
        self.power_w = power_w;
    }

    /// What was drawn so far, in kilowatt-hours.
    pub fn energy_kwh(&self) -> f64 {
        self.energy_ws / 3.6e6
    }

    /// The number at an address, as the SDM120's and SDM630's manuals have it.
    fn number(&self, address: u16) -> f64 {
        match address {
            0 => MAINS_V,
            6 => self.power_w / MAINS_V,
            12 => self.power_w,
            // 0x46 is the frequency, 0x48 the energy taken in, 0x156 the total.
            70 => 50.0,
            72 | 342 => self.energy_kwh(),
            _ => 0.0,
        }
    }
}

impl Device for Meter {
    fn ask(&mut self, now: Moment, question: &Question) -> Result<Vec<u16>, u8> {
        self.advance(now);
        let Question::Read { table: Table::Input, address, count } = question else { return Err(1) };
        if address % 2 != 0 || count % 2 != 0 || *count > 80 || *address > 400 {
            return Err(2);
        }
        let numbers = (*address..address + count).step_by(2).map(|at| (self.number(at) as f32).to_bits());
        Ok(numbers.flat_map(|bits| [(bits >> 16) as u16, bits as u16]).collect())
    }

    fn advance(&mut self, now: Moment) {
        self.energy_ws += self.power_w * now.since(self.now).as_secs_f64();
        self.now = now.max(self.now);
    }
}
