//! Heaters: which word sets which of them to what, by firmware.

use super::{Event, State, Watch};
use crate::statement::Statement;
use crate::time::Firmware;
use crate::words::{Effect, Heater};

/// A target of a heater.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heating {
    /// Which heater; [`Heater::Named`] are all of them.
    pub heater: Heater,
    /// Which tool's; `None`: the one selected.
    pub tool: Option<u32>,
    /// Target in °C; 0 is off.
    pub target_c: f64,
    /// How long the machine waits for it.
    pub until: Until,
}

/// How long a machine waits for a temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Not at all.
    Now,
    /// Until it is as hot as that, or hotter.
    Hot,
    /// Until it is as hot as that, cooling down too.
    Reached,
}

/// Highest tool number that a heater word may name. More is a mistake.
const TOOL_MAX: f64 = 255.0;

impl State {
    /// A code that sets a heater, if it is one and says to what.
    pub(super) fn heat_by_code<W: Watch>(
        &mut self,
        line: u64,
        letter: u8,
        tenths: u32,
        statement: &Statement,
        watch: &mut W,
    ) {
        match self.effect(letter, tenths) {
            // Tuning is over when it ends: the heater is off then.
            Effect::Heats { heater: Heater::Named, .. } => {}
            Effect::Heats { heater, waits } => {
                if let Some(heating) = self.heating(heater, waits, letter, statement) {
                    watch.event(Event::Heat(heating), line, self);
                }
            }
            Effect::NotFollowed => self.tell_unfollowed(line, letter, tenths, watch),
            _ => {}
        }
    }

    /// What a heater word asks for.
    fn heating(&self, heater: Heater, waits: bool, letter: u8, statement: &Statement) -> Option<Heating> {
        let number = |letter: u8| statement.value(letter).filter(|value| value.is_finite());
        let heat = number(b'S');
        let (target_c, until) = match (self.firmware, heat, number(b'R')) {
            // Klipper reads S alone, and what is not said is 0.
            (Some(Firmware::Klipper), heat, _) => (heat.unwrap_or(0.0), if waits { Until::Hot } else { Until::Now }),
            (_, Some(heat), _) => (heat, if waits { Until::Hot } else { Until::Now }),
            (_, None, Some(both)) if waits => (both, Until::Reached),
            // Files for Mach 3 and Machinekit have the temperature in P.
            (None, None, None) if letter == b'M' => (number(b'P').filter(|heat| *heat > 20.0)?, Until::Now),
            _ => return None,
        };
        // RepRapFirmware's G10 and M568 name the tool by P.
        let by = match (letter, heater) {
            (b'G', _) => number(b'P'),
            _ if statement.has_code(b'M', 5680) => number(b'P'),
            _ => number(b'T'),
        };
        let tool = by.map(|tool| tool.clamp(0.0, TOOL_MAX) as u32);
        Some(Heating { heater, tool, target_c, until })
    }
}
