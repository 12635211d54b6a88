//! What a report of how the machine is means for the conversation and for the job.

use super::{Phase, Session, Stage};
use crate::dialect::{Calm, Condition, Spelling, Status};
use crate::snapshot::JobPhase;

/// A receive buffer below this is none: the report was damaged, or the firmware reports no bytes.
const BUFFER_BYTES_MIN: usize = 64;

impl Session {
    /// Moves that its planner holds.
    pub(super) fn planner_blocks(&self) -> u32 {
        let reported = self.known.identity.as_ref().and_then(|identity| identity.planner_blocks);
        reported.unwrap_or(self.profile.motion.planner_blocks.max(self.dialect.habits().planner_blocks))
    }

    /// Free planner blocks bound what is accepted but not executed yet.
    pub(super) fn planner_evidence(&mut self, free: u32) {
        self.note_planner(free);
        let blocks = self.planner_blocks().max(self.reporting.planner_free_max);
        if let Some(run) = &mut self.run {
            run.executed_but(blocks.saturating_sub(free), blocks);
        }
    }

    /// What a resting machine reports as free is the size of its buffers, where it has not named them itself. While
    /// anything is in flight the same numbers say nothing that may drive the flow.
    fn learn_sizes(&mut self, status: &Status) {
        let rests = status.condition == Some(Condition::Idle) && self.window.is_empty() && self.run.is_none();
        let (Some(identity), true) = (&mut self.known.identity, rests) else { return };
        let bytes = status.buffer_free.map(|free| free as usize).filter(|free| *free >= BUFFER_BYTES_MIN);
        identity.planner_blocks = identity.planner_blocks.or(status.planner_free.filter(|blocks| *blocks > 1));
        let Some(bytes) = bytes else { return };
        if identity.receive_buffer_bytes.is_none() {
            identity.receive_buffer_bytes = Some(bytes);
            self.limit_window();
        }
        self.note_free_at_rest(bytes);
    }

    /// A report of how it is.
    pub(super) fn hear_status(&mut self, status: &Status) {
        self.silence.reported();
        self.note_status(status);
        self.own_work_reported(status);
        self.note_reach(status.condition);
        self.learn_sizes(status);
        self.stop_reported(status);
        if status.condition == Some(Condition::Held) && self.hold_stale_until.is_some_and(|until| self.now < until) {
            // Said before the machine heard that it may go on.
            return self.sign_of_life();
        }
        if self.stays_in_its_hold(status) {
            return self.sign_of_life();
        }
        let before = std::mem::replace(&mut self.condition, status.condition);
        self.condition_changed(before, status.condition);
        self.jog_reported(status.condition);
        self.idle_by_hand(status.condition);
        if let Some(free) = status.planner_free {
            self.planner_evidence(free);
        }
        // A report proves that the machine lives; only answers prove that lines arrive. While something moves, a
        // full planner may withhold answers for as long as a move takes.
        if matches!(status.condition, Some(Condition::Run | Condition::Holding | Condition::Held | Condition::Door)) {
            self.sign_of_life();
        }
        self.clearing_reported(status.condition);
        match status.condition {
            Some(Condition::Alarm) if self.phase == Phase::Ready => self.hear_alarm(
                "machine.alarm".to_owned(),
                "The machine reports that it is in alarm; it is locked until somebody clears it.".to_owned(),
            ),
            Some(condition) if condition != Condition::Alarm && self.phase == Phase::Alarm && !self.stopped => {
                // Unlocked at the machine, or by our own word.
                self.obeying.stop_over();
                self.phase = Phase::Ready;
            }
            Some(Condition::Held) if before != Some(Condition::Held) && self.runs_on() => {
                self.needs_person = true;
                let what = self.waits_for();
                self.attention("machine.waits_for_person", &what);
            }
            Some(Condition::Door) if before != Some(Condition::Door) => {
                self.attention("machine.door", "The safety door is open.");
            }
            _ => {}
        }
        self.spindle_in_hold(status);
        self.hold_reported(status.condition);
        self.found_by_report(status);
        self.condition_in_run(status.condition);
    }

    fn condition_in_run(&mut self, condition: Option<Condition>) {
        let nothing_due = self.window.is_empty();
        let now = self.now;
        // Without a word for it, a pause between two moves is no hold: lines are still on their way.
        let can_hold = self.dialect.calm(Calm::Hold) != Spelling::None;
        let planner_blocks = self.planner_blocks();
        let hold_on_its_way = self.hold_on_its_way();
        let Some(run) = &mut self.run else { return };
        if let (Some(Condition::Door), Some(ending)) = (condition, run.ending.clone()) {
            // It was reset, which switched off what turned; with its door open it reads nothing.
            self.window.clear();
            self.asides.clear();
            return self.end_run(ending.phase, ending.notice);
        }
        if matches!(condition, Some(Condition::Check | Condition::Sleep)) {
            return self.run_does_nothing(condition == Some(Condition::Check));
        }
        if condition == Some(Condition::Idle) {
            run.idle_reported(now);
            if nothing_due && run.idle_reports >= 2 {
                run.executed_but(0, planner_blocks);
            }
        } else {
            run.idle_reports = 0;
        }
        let safe_end = run.is_safe_end();
        match (run.stage, condition) {
            (Stage::Holding | Stage::Cancelling, _) if !can_hold => {}
            // It may have rested between two moves before it heard the hold, or never hear it.
            (Stage::Holding | Stage::Cancelling, Some(Condition::Idle)) if !nothing_due && hold_on_its_way => {}
            (Stage::Streaming | Stage::Proving, Some(Condition::Held)) if can_hold && safe_end => self.safe_end_held(),
            (Stage::Holding, Some(Condition::Held | Condition::Idle | Condition::Door)) => {
                run.stage = Stage::Held;
                self.told_job_phase(JobPhase::Held, None);
            }
            (Stage::Cancelling, Some(Condition::Held | Condition::Idle | Condition::Door)) if !run.dropped => {
                self.drop_queued();
            }
            // A dwell reports itself as idle: it may take as long as it says.
            (Stage::Streaming, Some(Condition::Idle)) if run.alone_until.is_some_and(|until| now < until) => {
                self.sign_of_life();
            }
            (Stage::Streaming | Stage::Proving, Some(Condition::Idle)) if !nothing_due => self.answer_lost(),
            _ => {}
        }
    }
}
