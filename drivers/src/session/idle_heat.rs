//! Heaters that are on without a job: after a time somebody is told, and after a longer one they are switched off. Both times
//! are the profile's, and without them nothing is done: a shop may keep a bed warm all day.

use std::time::Duration;

use gcode_tools::block::{Block, Item};
use gcode_tools::time::Firmware;
use gcode_tools::words::{self, Firmwares};
use serde::{Deserialize, Serialize};

use super::Session;
use crate::flow::Aside;
use crate::moment::Moment;
use crate::notice::Notice;

/// Between two attempts to switch off what stays on.
const OFF_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How long heaters have been on without a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct IdleHeat {
    /// Since when, or since somebody last said that they are meant to be on.
    since: Option<Moment>,
    told: bool,
    /// When they were last told to go off.
    off_said: Option<Moment>,
}

impl IdleHeat {
    /// Whether somebody has to look.
    pub(super) fn is_told(self) -> bool {
        self.told
    }

    /// Somebody has: the time begins anew.
    pub(super) fn looked_at(&mut self, now: Moment) {
        *self = Self { since: self.since.map(|_| now), ..Self::default() };
    }
}

impl Session {
    /// A report of temperatures came.
    pub(super) fn note_idle_heat(&mut self) {
        let at_work = self.run.is_some() || self.own_work().is_some();
        if at_work || !self.is_hot() {
            self.idle_heat = IdleHeat::default();
            return;
        }
        let since = *self.idle_heat.since.get_or_insert(self.now);
        let on_for = self.now.since(since);
        let past = |minutes: Option<u32>| minutes.is_some_and(|minutes| on_for >= minutes_of(minutes));
        let safety = &self.profile.safety;
        let (told, off) = (past(safety.heat_idle_min), past(safety.heat_idle_off_min));
        self.idle_heat.told |= told || off;
        let again = self.idle_heat.off_said.is_none_or(|said| self.now.since(said) >= OFF_AGAIN_AFTER);
        if off && again {
            self.switch_heat_off();
        }
    }

    /// Says the words that switch the heaters off, and nothing else: nothing moves by them.
    fn switch_heat_off(&mut self) {
        let first = self.idle_heat.off_said.replace(self.now).is_none();
        let lines: Vec<_> = self.heat_off_lines().collect();
        self.asides.extend(lines.into_iter().map(|line| (Aside::Word, line)));
        if first {
            if let Some(notice) = self.idle_heat_notice() {
                self.tell_trouble(notice);
            }
        }
    }

    fn heat_off_lines(&self) -> impl Iterator<Item = String> + use<> {
        let safe_end = self.profile.safety.safe_end.clone();
        safe_end.into_iter().filter(|line| is_heater_word(line)).chain(self.reported_on())
    }

    /// Why it needs somebody.
    pub(super) fn idle_heat_notice(&self) -> Option<Notice> {
        let on_for = self.now.since(self.idle_heat.since?);
        let minutes = on_for.as_secs() / 60;
        if self.idle_heat.off_said.is_some() {
            return Some(Notice::new(
                "machine.heat_switched_off",
                format!("Heaters were on for {minutes} min without a job.{}", self.what_is_on()),
                "They were told to go off.",
                "Look at the machine. Clear it when it has cooled down, or if they are meant to be on.",
            ));
        }
        Some(Notice::new(
            "machine.hot_idle",
            format!(
                "Heaters are on without a job for longer than {} min.{}",
                self.profile.safety.heat_idle_min.unwrap_or(0),
                self.what_is_on()
            ),
            match self.profile.safety.heat_idle_off_min {
                Some(off) => format!("They are told to go off after {off} min."),
                None => "Nothing was sent.".to_owned(),
            },
            "Switch them off at its display, or clear it if they are meant to be on.",
        ))
    }
}

fn minutes_of(minutes: u32) -> Duration {
    Duration::from_secs(60 * u64::from(minutes))
}

/// Whether a line of a safe end is for heaters. What moves, waits or switches something else off is none.
fn is_heater_word(line: &str) -> bool {
    let block = Block::new(line.as_bytes());
    // Which tool is meant is no word of its own.
    let mut codes = block.codes().filter(|(letter, _)| *letter != 'T').peekable();
    if codes.peek().is_some() {
        return codes.all(|(letter, tenths)| {
            let letter = u8::try_from(letter).unwrap_or_default();
            words::effect_of_any(Firmwares::PRINTERS, letter, tenths).heater().is_some()
        });
    }
    block.items().any(|item| match item {
        Item::Extended { text, .. } => words::effect_of_command(Firmware::Klipper, text).heater().is_some(),
        _ => false,
    })
}

#[cfg(test)]
mod test {
    use super::is_heater_word;

    #[test]
    fn of_a_safe_end_only_what_switches_heaters_off_is_said() {
        for line in ["M104 S0", "M140 S0", "M104 T1 S0", "M141 S0", "TURN_OFF_HEATERS", "G10 P0 S0 R0"] {
            assert!(is_heater_word(line), "{line}");
        }
        for line in ["M107", "M84", "G1 Z10", "G28 X", "M5", "M104 S0 G1 X5", "; M104 S0"] {
            assert!(!is_heater_word(line), "{line}");
        }
    }
}
