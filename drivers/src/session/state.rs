//! What the machine is doing, told from where the conversation stands, and what is known of it now.

use super::{Phase, STALE_AFTER_INTERVALS, STALE_AFTER_MIN, Session, Stage};
use crate::dialect::{Condition, Status};
use crate::event::EventKind;
use crate::flow::Aside;
use crate::moment::Moment;
use crate::session::run::Run;
use crate::snapshot::{Cause, Quality, Reading, Snapshot, State};

impl Session {
    /// What is known now. Readings that the machine has not repeated in time are marked stale.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.known.clone();
        snapshot.at = self.now;
        snapshot.asked = self.asked();
        snapshot.waits_for_agent = self.waits_for_agent();
        snapshot.homed = self.by_hand.homed;
        if let Some(place) = &mut snapshot.place {
            place.homed = self.homed_for_sure();
            place.work_offset_mm = place.work_offset_mm.or_else(|| place.total());
            place.settings.clone_from(&self.settings.known);
        }
        snapshot.job = self.run.as_ref().map(Run::progress).or(snapshot.job);
        if let Some(run) = &self.run {
            snapshot.job_link = self.known.link.since(&run.link_before);
        }
        let offline = matches!(self.phase, Phase::Offline);
        let stale_after = (self.ask_interval() * STALE_AFTER_INTERVALS).max(STALE_AFTER_MIN);
        let now = self.now;
        let quality = |at: Moment| match () {
            () if offline => Quality::Uncertain,
            () if now.since(at) > stale_after => Quality::Stale,
            () => Quality::Good,
        };
        let age = |reading: &mut Option<Reading<[f64; 3]>>| {
            if let Some(reading) = reading {
                reading.quality = quality(reading.at);
            }
        };
        age(&mut snapshot.position_mm);
        age(&mut snapshot.work_position_mm);
        for reading in [&mut snapshot.feed_mm_min, &mut snapshot.spindle].into_iter().flatten() {
            reading.quality = quality(reading.at);
        }
        for temperature in &mut snapshot.temperatures {
            temperature.actual_c.quality = quality(temperature.actual_c.at);
        }
        snapshot
    }

    /// Derives the machine's state from where the conversation stands, and tells of a change.
    pub(super) fn settle_state(&mut self) {
        self.heed_table();
        let own = self.state_but_for_table();
        let waits_for_clear = self.waits_for_clear(own);
        self.known.waits_for_clear = waits_for_clear;
        let state = if waits_for_clear { State::Attention } else { own };
        let told = !waits_for_clear && self.tell_standing(state);
        let mut why = None;
        if waits_for_clear {
            // What a person asked for by hand and was refused is told first.
            let of_this_work = self.known.state == State::Running && self.known.notice.is_some();
            let stands = self.known.state == state && self.known.notice.is_some();
            why = self.known.table.notice(self.profile.kind).filter(|_| !of_this_work && !stands);
        } else if state == State::Attention && self.run.is_none() && !told {
            why = self.drive_notice();
        }
        if let Some(notice) = why.filter(|notice| self.known.notice.as_ref() != Some(notice)) {
            self.known.notice = Some(notice);
            self.known.generation += 1;
        }
        if state == self.known.state {
            return;
        }
        let from = std::mem::replace(&mut self.known.state, state);
        self.known.since = self.now;
        self.known.generation += 1;
        self.known.cause = self.cause_of(state);
        // Outside of a job a notice that came while it worked is of that work: that it is over is no answer to it.
        let of_this_work = from == State::Running && self.run.is_none();
        if matches!(state, State::Idle | State::Running) && !told && !of_this_work {
            self.known.notice = None;
        }
        self.tell(EventKind::State { from, to: state, cause: self.known.cause });
    }

    /// What it is, whatever lies on its table.
    pub(super) fn state_but_for_table(&self) -> State {
        match self.own_state() {
            State::Idle if self.run.is_none() => self.idle_beside_drives(),
            state => state,
        }
    }

    /// What the machine itself does.
    fn own_state(&self) -> State {
        match &self.phase {
            Phase::Offline => return State::Offline,
            Phase::Greeting(_) if self.greets_one_in_a_hold() => return State::Attention,
            Phase::Greeting(greeting) if greeting.found.is_none() && self.unreached.is_some() => return State::Offline,
            Phase::Greeting(greeting) => return greeting.state(),
            Phase::Wrong => return State::Attention,
            Phase::Alarm | Phase::Halted => return State::Alarm,
            Phase::Ready => {}
        }
        if let Some(run) = &self.run {
            return match run.stage {
                Stage::Holding => State::Holding,
                Stage::Held => State::Held,
                Stage::Cancelling => State::Stopping,
                Stage::Asking => State::Attention,
                _ if run.is_safe_end() => State::Stopping,
                _ if self.needs_person || self.condition == Some(Condition::Door) => State::Attention,
                _ => State::Running,
            };
        }
        if self.own_work().is_some() {
            return State::Busy;
        }
        // A question is no work, even where it has to wait for the one in front of it; nor is the proof that it stands.
        let waits = self.asides.iter().any(|(aside, _)| !aside.is_question() && *aside != Aside::HoldProof);
        let working = waits || self.window.has_word() || self.moves_by_hand();
        match self.condition {
            Some(Condition::Door) => State::Attention,
            Some(Condition::Run | Condition::Holding) => State::Running,
            Some(Condition::Held) => State::Held,
            Some(Condition::Alarm) => State::Alarm,
            Some(Condition::Sleep) => State::Attention,
            // Nothing here runs, and its words for waiting for a person are for another's print.
            _ if self.needs_person => State::Attention,
            _ if self.own_work.is_paused() => State::Attention,
            _ if working => State::Running,
            Some(Condition::Idle) if self.left_on.is_told() => State::Attention,
            Some(Condition::Idle) | None if self.left_hot.is_told() || self.idle_heat.is_told() => State::Attention,
            Some(Condition::Idle) if self.left_on.is_suspected() => State::Unknown,
            Some(Condition::Idle) | None if self.left_hot.is_suspected() => State::Unknown,
            Some(Condition::Idle) => State::Idle,
            Some(Condition::Check) => State::Busy,
            // A machine that reports its condition has not done so yet.
            None if matches!(self.dialect.habits().asking, crate::dialect::Asking::Realtime { .. }) => State::Unknown,
            None if self.may_still_move() => State::Unknown,
            None => State::Idle,
        }
    }

    fn cause_of(&self, state: State) -> Cause {
        match state {
            State::Holding | State::Held | State::Stopping => {
                self.run.as_ref().map_or(Cause::Machine, |run| run.hold_cause)
            }
            State::Attention if self.run.is_some() => Cause::Program,
            State::Alarm if self.stopped => Cause::Asked,
            State::Running => Cause::Asked,
            State::Idle => Cause::Program,
            _ => Cause::Machine,
        }
    }

    pub(super) fn note_status(&mut self, status: &Status) {
        let unit = self.report_unit_mm();
        let scaled = |values: [f64; 3]| values.map(|value| value * unit);
        if let Some(offset) = status.work_offset.map(scaled) {
            self.work_offset = offset;
            self.note_work_offset(offset);
            self.work_offset_known = true;
        }
        if let Some(homed) = status.homed {
            self.by_hand.homed = homed;
        }
        let offset = self.work_offset;
        let shifted = |position: [f64; 3], sign: f64| std::array::from_fn(|axis| position[axis] + sign * offset[axis]);
        if let Some(position) = status.machine_position.map(scaled) {
            self.known.position_mm = Some(Reading::fresh(position, self.now));
            self.known.work_position_mm = Some(Reading::fresh(shifted(position, -1.0), self.now));
        } else if let Some(position) = status.work_position.map(scaled) {
            self.known.work_position_mm = Some(Reading::fresh(position, self.now));
            self.known.position_mm = Some(Reading::fresh(shifted(position, 1.0), self.now));
        }
        if let Some(feed) = status.feed.map(|feed| feed * unit) {
            self.known.feed_mm_min = Some(Reading::fresh(feed, self.now));
        }
        if let Some(spindle) = status.spindle {
            self.known.spindle = Some(Reading::fresh(spindle, self.now));
        }
        if let Some([feed_percent, rapid_percent, spindle_percent]) = status.overrides {
            let flow_percent = self.known.overrides.and_then(|overrides| overrides.value.flow_percent);
            let overrides = crate::snapshot::Overrides { feed_percent, rapid_percent, spindle_percent, flow_percent };
            self.known.overrides = Some(Reading::fresh(overrides, self.now));
            self.overrides_reported([feed_percent, rapid_percent, spindle_percent]);
        }
        self.known.generation += 1;
    }
}
