//! The machine's settings that matter to protection: asked for once, and what they say when the host dies.

use super::{Phase, Session, Settings};
use crate::dialect::{Asking, Condition};
use crate::flow::Aside;
use crate::protection;

/// Settings kept. Grbl lists 34, grblHAL some 200.
const SETTINGS_MAX: usize = 512;

impl Session {
    /// Asks once for the settings that say how well the machine is protected, and arms what the profile wants armed.
    pub(super) fn ask_settings(&mut self) {
        let habits = self.dialect.habits();
        let reports = matches!(habits.asking, Asking::Realtime { .. });
        let rests = if reports { self.condition == Some(Condition::Idle) } else { self.condition.is_none() };
        if self.phase != Phase::Ready
            || self.run.is_some()
            || !rests
            || std::mem::replace(&mut self.settings.asked, true)
        {
            return;
        }
        // A hotend's timer is of no use where nothing heats.
        if reports || self.profile.heat.is_some() {
            self.asides.extend(habits.settings.iter().map(|question| (Aside::Settings, (*question).to_owned())));
        }
        if let (Some(word), Some(seconds)) = (habits.inactivity, self.profile.safety.inactivity_s) {
            self.asides.push_back((Aside::Arm, format!("{word}{seconds}")));
        }
        self.ask_to_report();
    }

    pub(super) fn note_setting(&mut self, key: &str, value: &str) {
        let known = &mut self.settings.known;
        known.retain(|(name, _)| name != key);
        if known.len() < SETTINGS_MAX {
            known.push((key.to_owned(), value.to_owned()));
        }
        self.known_protection();
    }

    /// Says anew what happens if the host dies now.
    pub(super) fn known_protection(&mut self) {
        let Some(identity) = &self.known.identity else { return };
        let Settings { known, armed_s, .. } = &self.settings;
        self.known.protection = protection::of(self.dialect.habits(), &self.profile, identity, known, *armed_s);
        self.known.stop = Some(protection::stop(self.dialect.habits(), &self.profile, identity));
        self.known.generation += 1;
    }
}
