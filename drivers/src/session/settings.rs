//! The machine's settings that matter to protection: asked for once, and what they say when the host dies.

use super::{Phase, Session, Settings};
use crate::agreement;
use crate::dialect::{Asking, Condition};
use crate::flow::Aside;
use crate::protection;
use crate::work_place::WorkPlace;

/// Settings kept. Grbl lists 34, grblHAL some 200.
const SETTINGS_MAX: usize = 512;

impl Session {
    /// Asks once for the settings that say how well the machine is protected, and arms what the profile wants armed.
    pub(super) fn ask_settings(&mut self) {
        let habits = self.dialect.habits();
        let reports = matches!(habits.asking, Asking::Realtime { .. });
        let rests = if reports { self.condition == Some(Condition::Idle) } else { self.condition.is_none() };
        // A program may set offsets: they are asked for again behind it.
        self.settings.place_stale |= self.run.is_some();
        if self.phase != Phase::Ready || self.run.is_some() || !rests {
            return;
        }
        if std::mem::replace(&mut self.settings.asked, true) {
            return self.ask_place(false);
        }
        // A hotend's timer is of no use where nothing heats.
        if reports || self.profile.heat.is_some() {
            self.asides.extend(habits.settings.iter().map(|question| (Aside::Settings, (*question).to_owned())));
        }
        if let (Some(word), Some(seconds)) = (habits.inactivity, self.profile.safety.inactivity_s) {
            self.asides.push_back((Aside::Arm, format!("{word}{seconds}")));
        }
        self.ask_place(true);
        self.ask_to_report();
    }

    /// Asks where its zero is: once, and again when that may have changed.
    fn ask_place(&mut self, first: bool) {
        let questions = self.dialect.habits().place;
        if !first && (!self.settings.place_stale || self.is_asked(Aside::Settings)) {
            return;
        }
        self.settings.place_stale = false;
        self.asides.extend(questions.iter().map(|question| (Aside::Settings, (*question).to_owned())));
    }

    /// Millimetres in one unit of its reports.
    pub(super) fn report_unit_mm(&self) -> f64 {
        if agreement::in_inches(&self.settings.known) { 25.4 } else { 1.0 }
    }

    /// All offsets added up, as a report says them.
    pub(super) fn note_work_offset(&mut self, offset_mm: [f64; 3]) {
        let place = self.known.place.get_or_insert_with(WorkPlace::default);
        let before = place.work_offset_mm.replace(offset_mm);
        self.settings.place_stale |= before.is_some_and(|before| before != offset_mm);
    }

    pub(super) fn note_offset(&mut self, name: &str, offset: [f64; 3]) {
        let unit = self.report_unit_mm();
        if WorkPlace::is_offset(name) {
            let place = self.known.place.get_or_insert_with(WorkPlace::default);
            place.offsets_mm.insert(name.to_owned(), offset.map(|value| value * unit));
        }
    }

    pub(super) fn note_codes(&mut self, codes: &str) {
        codes.clone_into(&mut self.known.place.get_or_insert_with(WorkPlace::default).codes);
    }

    /// Whether its coordinates can be relied on: it was seen to home, or says so; or it homes, and was not locked since the
    /// link was opened. One that homes starts locked (`HOMING_INIT_LOCK`), so that somebody has homed it before.
    pub(super) fn homed_for_sure(&self) -> bool {
        let homes = agreement::homes(&self.settings.known) == Some(true);
        self.by_hand.homed || (homes && !self.settings.locked)
    }

    pub(super) fn note_setting(&mut self, key: &str, value: &str) {
        let known = &mut self.settings.known;
        known.retain(|(name, _)| name != key);
        if known.len() < SETTINGS_MAX {
            known.push((key.to_owned(), value.to_owned()));
        }
        if key == agreement::INCHES && self.report_unit_mm() != 1.0 {
            // What was heard before was taken for millimetres.
            if let Some(place) = &mut self.known.place {
                place.work_offset_mm = None;
            }
        }
        self.known.differences =
            agreement::differences(&self.profile, &self.settings.known).iter().map(agreement::notice).collect();
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
