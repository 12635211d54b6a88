//! Ending a job early: hold, drop what is queued, then say the lines that make the machine safe.

use std::time::Duration;

use gcode_tools::block::Block;
use gcode_tools::wire;

use super::barrier::waits_for_heat_or_person;
use super::{Session, Stage};
use crate::dialect::{Calm, MotionEnd, Spelling};
use crate::flow::{Aside, Frame};
use crate::notice::Notice;
use crate::profile::Hazard;
use crate::session::run::{Ending, Run};
use crate::session::silence::PROBES_MAX;
use crate::snapshot::{Cause, JobPhase};

/// How long a hold may take before a cancel drops what is queued anyway. Slowing down takes well under a second.
const HOLD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a banner may take after a reset by command. Grbl says it within milliseconds.
const BANNER_PATIENCE: Duration = Duration::from_secs(2);

/// Times the safe end is begun anew because the machine paused in it, before it is given up.
const SAFE_ENDS_MAX: u32 = 3;

impl Session {
    /// Ends a job early: hold, drop what is queued, then say the lines that make the machine safe. A job that is being
    /// ended already goes on with that and keeps the reason it had: its reader may fail when nobody needs it any more.
    pub(super) fn cancel_as(&mut self, phase: JobPhase, notice: Option<Notice>) {
        let Some(run) = self.run.as_mut().filter(|run| !run.is_safe_end() && run.stage != Stage::Cancelling) else {
            return;
        };
        let already_held = run.stands();
        run.hold_cause = if phase == JobPhase::Cancelled { Cause::Asked } else { Cause::Machine };
        run.stage = Stage::Cancelling;
        run.resync = None;
        self.pending_ending = Some(Ending { phase, notice });
        self.end_begins();
        self.deadlines.settle = None;
        self.deadlines.drop = Some(self.now + HOLD_PATIENCE);
        let heats = !self.known.temperatures.is_empty();
        if self.dialect.calm(Calm::Hold) == Spelling::None {
            if self.needs_person {
                self.answer_to_end();
            } else if heats {
                self.stop_waiting();
            }
            self.deadlines.drop = None;
            if self.is_silent() {
                self.begin_safe_end();
            }
        } else if already_held || self.has_no_hold() {
            self.drop_queued();
        } else {
            self.obeying.hold_said(self.now);
            self.calm(Calm::Hold);
        }
        self.answer_due_sooner();
    }

    /// Whether the profile's controller has no point that makes it hold: it is not waited for to stand.
    fn has_no_hold(&self) -> bool {
        let program = self.profile.modbus.as_ref().and_then(|modbus| modbus.program.as_ref());
        self.dialect.habits().keeps_lines() && program.is_some_and(|program| program.hold.is_none())
    }

    /// Ends a wait for a temperature or a person. A machine that waits reads nothing more, and the window is full of
    /// what stands behind: where it acts on the word as the word arrives, it is said all the same. Nobody cancels a job
    /// to see its nozzle get hot first.
    pub(super) fn stop_waiting(&mut self) {
        match self.dialect.calm(Calm::StopWaiting) {
            Spelling::Lines(lines) if self.hears_out_of_turn() => {
                for line in &lines {
                    self.say_past_window(line);
                }
            }
            _ => self.calm(Calm::StopWaiting),
        }
    }

    /// A command of a job that is being cancelled was answered: the one behind it may wait as well.
    pub(super) fn may_wait_again(&mut self) {
        let Some(run) = self.run.as_ref().filter(|run| run.stage == Stage::Cancelling) else { return };
        let Some(Frame::Job(ordinal)) = self.window.oldest() else { return };
        let waits = run.history.command(ordinal).is_some_and(|command| waits_for_heat_or_person(&command.text));
        if waits && self.hears_out_of_turn() {
            self.stop_waiting();
        }
    }

    /// Once the machine stands still: drops what it has queued.
    pub(super) fn drop_queued(&mut self) {
        if self.run.as_ref().is_none_or(|run| run.stage != Stage::Cancelling) {
            return;
        }
        self.deadlines.drop = None;
        let again = self.run.as_mut().is_some_and(|run| std::mem::replace(&mut run.dropped, true));
        match self.dialect.calm(Calm::Drop) {
            Spelling::Realtime(bytes) if !again => {
                // The machine answers with its banner; the safe end begins then, or when that was lost on its way.
                self.deadlines.drop = Some(self.now + BANNER_PATIENCE);
                self.say_urgently(&bytes, true);
                self.window.clear();
                self.condition = None;
            }
            _ => self.begin_safe_end(),
        }
    }

    /// The machine stands in a hold in the middle of its safe end: the byte that drops what it holds was lost, or a line
    /// was damaged into a pause. It is dropped again and the lines are said again; nobody is waited for.
    pub(super) fn safe_end_held(&mut self) {
        let Some(run) = &mut self.run else { return };
        if run.safe_ends < SAFE_ENDS_MAX {
            run.safe_ends += 1;
            run.stage = Stage::Cancelling;
            run.dropped = false;
            self.pending_ending.clone_from(&run.ending);
            return self.drop_queued();
        }
        let notice = Notice::new(
            "machine.waits_for_person",
            "While the job was being ended, the machine paused by itself: not every line that makes it safe was executed.",
            "The job is over.",
            "Go to the machine and switch off by hand what is still on (spindle, laser, heat); then resume or stop it.",
        );
        self.end_run(JobPhase::Failed, Some(notice.clone()));
        self.window.clear();
        self.asides.clear();
        self.needs_person = true;
        self.tell_trouble(notice);
    }

    /// A line that makes the machine safe, or its answer, was lost: all of them are said again.
    pub(super) fn safe_end_lost(&mut self) {
        let Some(run) = self.run.as_mut().filter(|run| run.safe_ends < SAFE_ENDS_MAX) else { return };
        run.safe_ends += 1;
        run.stage = Stage::Cancelling;
        self.pending_ending.clone_from(&run.ending);
        self.begin_safe_end();
    }

    /// Says the lines that make the machine safe; the job is over when they are through. To one that answers nothing and
    /// drops nothing they are said all the same, behind what it has, and it is not waited for long.
    pub(super) fn begin_safe_end(&mut self) {
        let silent = self.is_silent();
        let overdue = self.run.as_ref().is_some_and(|run| run.overdue);
        let behind = (silent || overdue) && self.dialect.calm(Calm::Drop) == Spelling::None;
        // Behind lines without an answer a line counter cannot be set: these are taken without a number.
        let numbered = self.dialect.habits().numbered && !behind;
        let Some(ending) = self.pending_ending.take() else { return };
        if self.run.is_none() {
            return;
        }
        if behind {
            self.window.disown();
        } else {
            self.window.clear();
        }
        self.asides.clear();
        self.spindle_ends();
        let Some(run) = &self.run else { return };
        let mut run = Run::safe_end(run, ending, numbered);
        run.unheard = behind;
        run.probes = if silent { PROBES_MAX } else { 0 };
        self.run = Some(run);
        self.unstick();
        self.safe_end_begins();
        if !behind {
            self.reset_counter();
        }
        let lines = self.safe_lines();
        let alphabet = self.dialect.habits().alphabet();
        if let Some(run) = &mut self.run {
            for (line, text) in (1..).zip(&lines) {
                let mut spelled = Vec::new();
                wire::write_as_it_stands(&Block::new(text.as_bytes()), alphabet, self.numbers, &mut spelled);
                run.history.push(super::streaming::command(line, &spelled));
            }
        }
        self.program_end();
    }

    /// A machine that reports its position only when asked is asked once more, now that nothing moves: a lift needs to
    /// know. True while the answer is awaited.
    pub(super) fn asks_where_it_stands(&mut self) -> bool {
        let habits = self.dialect.habits();
        let MotionEnd::Commands(commands) = habits.motion_end else { return false };
        let lifts = self.profile.safety.lift_mm.is_some() && self.by_hand.homed;
        let now = self.now;
        let asked = self.run.as_mut().is_none_or(|run| run.located_at.replace(now).is_some());
        if !lifts || asked {
            return false;
        }
        // Where a line is answered when it is taken, the answer to one more shows that the report is out.
        let one_more = habits.ok_when_taken.then(|| commands[0]);
        self.asides.extend(commands.iter().copied().chain(one_more).map(|word| (Aside::Query, word.to_owned())));
        true
    }

    /// The profile's lines and, where it is safe, a lift. A hot nozzle leaves the part first, and before its motors are
    /// let go; a spindle and a beam are off before anything moves.
    fn safe_lines(&self) -> Vec<String> {
        let lift = self.lift();
        let safe_end = &self.profile.safety.safe_end;
        let (first, then) = if self.dialect.habits().printer { (&lift, safe_end) } else { (safe_end, &lift) };
        let besides = self.reported_on();
        first.iter().cloned().chain(besides).chain(then.iter().cloned()).collect()
    }

    /// Lines that switch off what heats by the machine's own report and is not in its profile: a second hot end of a
    /// machine that nothing else is known of.
    pub(super) fn reported_on(&self) -> Vec<String> {
        if !self.dialect.habits().printer || self.profile.safety.safe_end.is_empty() {
            return Vec::new();
        }
        let names = || self.known.temperatures.iter().map(|heater| heater.heater.as_str());
        let number = |name: &str| name.strip_prefix("tool")?.parse::<u32>().ok();
        let alone = names().filter_map(number).count() < 2;
        let hazard = |name: &str| match (name, number(name)) {
            ("bed", _) => Some(Hazard::Bed),
            ("chamber", _) => Some(Hazard::Chamber),
            (_, Some(tool)) => Some(Hazard::HotEnd { heater: tool, tool, alone }),
            _ => None,
        };
        let left_on = self.profile.not_switched_off(names().filter_map(hazard).collect());
        left_on.into_iter().map(Hazard::off).collect()
    }
}
