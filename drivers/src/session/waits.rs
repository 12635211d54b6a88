//! Waits and their ends. Whatever a machine says meanwhile, nothing here waits without a bound: the words that say that
//! nothing is left to do prove a loss, a job that is being ended is over by a time that nothing heard can move, and the
//! end of motion is not asked for for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, Session, Stage, barrier};
use crate::dialect::{Asking, Calm, Condition, MotionEnd, Spelling, Word};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::moment::Moment;
use crate::notice::Notice;
use crate::request::{Answer, Denied};
use crate::snapshot::Cause;

/// How long a job that is being ended waits for what the machine still does. Then what makes it safe is said all the
/// same, behind whatever has no answer. Slowing down, and what a planner holds of usual moves, take less.
const CANCEL_MAX: Duration = Duration::from_secs(35);

/// How long the lines that make a machine safe may take, with the proof that it stands: a lift of 50 mm at 300 mm/min
/// takes half of it.
const SAFE_END_MAX: Duration = Duration::from_secs(20);

/// All of that together, begun anew as often as it may be.
const END_MAX: Duration = Duration::from_secs(55);

/// What is left of it where nobody will be there any longer, and what of that a machine may take to slow down.
const HASTE_MAX: Duration = Duration::from_millis(1_500);
const HASTE_SLOWS: Duration = Duration::from_millis(500);

/// Words in a row that nothing is left to do, with the same line unanswered, that prove a loss: the first may have been
/// on its way before the line arrived.
const WANTS_LINES_LOST: u32 = 2;

/// Least time between two of them. They are said each second; several that arrive at once were held up on the way.
const WANTS_LINES_APART: Duration = Duration::from_millis(500);

/// Idle reports in a row with an answer due to something that was asked for by hand, that prove a loss.
const IDLE_BY_HAND_LOST: u32 = 5;

/// How long the proof that motion has ended is asked for once every line was answered, and how many of those questions
/// must have been answered by then: a doubled answer to an earlier line counts for one.
const PROOF_MAX: Duration = Duration::from_secs(10);
const PROOF_ANSWERS: u32 = 3;

/// Times a question of the machine's is answered for a job that is being ended: each fills its receive buffer.
const PROMPTS_ANSWERED_MAX: u32 = 8;

/// How long a tool change may take while the machine says that it is idle: its own macro dwells (`FluidNC`).
const TOOL_CHANGE_IDLE_MAX: Duration = Duration::from_secs(300);

/// How far from its target a heater may be that is waited for no longer: the band in which Marlin's time at the target goes on
/// (`TEMP_HYSTERESIS`, `Configuration.h`).
const HEAT_REACHED_C: f64 = 3.0;

/// How long a machine may stay at its target before the answer is overdue: Marlin stays there for 10 s before it answers
/// (`TEMP_RESIDENCY_TIME`), others for less.
const HEAT_SETTLES: Duration = Duration::from_secs(15);

/// Asking intervals without a word after which what is known is old.
const QUIET_INTERVALS: u32 = 5;

/// Stable code of the notice that says so.
const QUIET: &str = "machine.quiet";

/// What is waited for, and since when.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Waits {
    /// When anything was heard last.
    heard_at: Moment,
    /// Words in a row that nothing is left to do, and when the last one counted.
    wants_lines: u32,
    wants_lines_at: Moment,
    /// Idle reports in a row with an answer due, while nothing runs.
    idle_by_hand: u32,
    /// When a job began to be ended, and when it is over, whatever is heard.
    end_began: Moment,
    over_by: Moment,
    /// Nobody waits for it any longer.
    hurried: bool,
    /// Since when the heat was reached that a command waits for, and which command.
    #[serde(default)]
    heat_reached: Option<(u64, Moment)>,
}

impl Session {
    /// Anything was said: it is not quiet.
    pub(super) fn heard_something(&mut self) {
        self.waits.heard_at = self.now;
        self.deadlines.quiet = Some(self.now + self.quiet_after());
        if self.known.notice.as_ref().is_some_and(|notice| notice.code == QUIET) {
            self.known.notice = None;
            self.known.generation += 1;
        }
    }

    fn quiet_after(&self) -> Duration {
        (self.ask_interval() * QUIET_INTERVALS).max(Duration::from_millis(self.profile.stream.answer_timeout_ms))
    }

    /// Nothing was heard for so long that what is shown of the machine is old: that is said where it works.
    pub(super) fn fell_quiet(&mut self) {
        let works = self.run.is_some() || !self.window.is_empty();
        if self.phase != Phase::Ready
            || !works
            || self.works_by_hand()
            || self.program_homes()
            || self.known.notice.is_some()
        {
            return;
        }
        let seconds = self.now.since(self.waits.heard_at).as_secs();
        let text = format!("The machine has said nothing for {seconds} s.");
        self.tell(EventKind::Message { text: text.clone() });
        let to_do = "Look at it, and at its cable, if it does not move either.";
        self.known.notice = Some(Notice::new(QUIET, text, "What is shown of it is as old as that.", to_do));
        self.known.generation += 1;
    }

    /// Whether the command that is due an answer waits for a temperature that is not reached yet: firmwares without a
    /// keepalive say nothing but temperatures then, for minutes. One that tells them for ever, and has them, lost its answer.
    pub(super) fn still_heats(&mut self, told: &[(String, f64, Option<f64>)]) -> bool {
        let Some(Frame::Job(ordinal)) = self.window.oldest() else { return false };
        let Some(command) = self.run.as_ref().and_then(|run| run.history.command(ordinal)) else { return false };
        let Some(heat) = barrier::heat_waited_for(&command.text) else { return false };
        let reached = told.iter().filter(|(heater, ..)| heat.is_of(heater)).all(|(_, actual_c, target_c)| {
            // Some firmwares tell no target while they wait.
            let goal_c = target_c.or(heat.target_c);
            goal_c.is_none_or(|goal_c| goal_c <= 0.0 || (actual_c - goal_c).abs() <= HEAT_REACHED_C)
        });
        let known = self.waits.heat_reached.filter(|(of, _)| reached && *of == ordinal);
        self.waits.heat_reached = reached.then(|| known.unwrap_or((ordinal, self.now)));
        self.waits.heat_reached.is_none_or(|(_, since)| self.now.since(since) < HEAT_SETTLES)
    }

    /// An answer came, or the machine says that it works.
    pub(super) fn works_or_answers(&mut self) {
        self.obeying.goes_on();
        (self.waits.wants_lines, self.waits.idle_by_hand) = (0, 0);
    }

    /// The machine says that it works: the proof of the end of motion is not overdue meanwhile.
    pub(super) fn works_on(&mut self) {
        self.works_or_answers();
        if let Some(run) = &mut self.run {
            (run.proof_since, run.proof_answers) = (None, 0);
        }
    }

    /// The machine says that nothing is left to do. With an answer due, that or its line was lost.
    pub(super) fn wants_lines(&mut self) {
        if self.window.is_empty() {
            self.waits.wants_lines = 0;
            return;
        }
        let apart = self.now.since(self.waits.wants_lines_at) >= WANTS_LINES_APART;
        if self.waits.wants_lines > 0 && !apart {
            return;
        }
        self.waits.wants_lines += 1;
        self.waits.wants_lines_at = self.now;
        if self.waits.wants_lines >= WANTS_LINES_LOST {
            self.waits.wants_lines = 0;
            self.answer_overdue();
        }
    }

    /// The machine reports that it is idle while an answer is due and nothing runs: what was asked for by hand, or its
    /// answer, was lost.
    pub(super) fn idle_by_hand(&mut self, condition: Option<Condition>) {
        let due = self.run.is_none() && !self.window.is_empty() && self.phase == Phase::Ready;
        if !due || condition != Some(Condition::Idle) || self.dialect.habits().numbered {
            self.waits.idle_by_hand = 0;
            return;
        }
        self.waits.idle_by_hand += 1;
        if self.waits.idle_by_hand >= IDLE_BY_HAND_LOST {
            self.waits.idle_by_hand = 0;
            self.known.link.answers_lost += self.window.len() as u64;
            self.lost_by_hand("The machine reports that it is idle");
            self.window.clear();
        }
    }

    /// What a person asked for has no answer, and will get none: that is told. Where it led is not known.
    pub(super) fn lost_by_hand(&mut self, why: &str) {
        let words = [
            (Aside::Home, "homing"),
            (Aside::Jog, "a jog"),
            (Aside::Probe, "a probing move"),
            (Aside::Word, "what was asked for"),
        ];
        let Some((aside, what)) = words.into_iter().find(|(aside, _)| self.window.has(*aside)) else { return };
        if aside != Aside::Word {
            self.position_lost();
            self.by_hand.probing = false;
            self.reporting.stood = false;
            self.asides.retain(|(waiting, _)| *waiting != aside);
        }
        let notice = Notice::new(
            "request.unanswered",
            format!("{why}: {what} has no answer."),
            "Whether it was done is not known; it is not said again.",
            "Look at the machine, then ask for it again. Check the cable if that comes again.",
        );
        self.tell_trouble(notice);
    }

    /// How long the machine may say that it is idle while a tool change has no answer.
    pub(super) fn tool_change_patience(&self) -> Option<Duration> {
        let habits = self.dialect.habits();
        let Some(Frame::Job(ordinal)) = self.window.oldest() else { return None };
        let command = self.run.as_ref()?.history.command(ordinal)?;
        let changes = !habits.numbered && habits.tool_change && super::person::is_tool_change(&command.text);
        changes.then_some(TOOL_CHANGE_IDLE_MAX)
    }

    /// A job begins to be ended: from now on it has a deadline that nothing heard can move.
    pub(super) fn end_begins(&mut self) {
        self.waits.hurried = false;
        self.waits.end_began = self.now;
        self.waits.over_by = self.now + END_MAX;
        self.deadlines.end = Some(self.now + CANCEL_MAX);
    }

    /// The lines that make the machine safe are being said.
    pub(super) fn safe_end_begins(&mut self) {
        let most = if self.waits.hurried { HASTE_MAX } else { SAFE_END_MAX };
        self.deadlines.end = Some((self.now + most).min(self.waits.over_by));
    }

    /// Nobody waits any longer for a job that is being ended: what makes the machine safe is said at once.
    pub(super) fn hasten(&mut self) -> Answer {
        self.must_be_connected()?;
        let Some(run) = &self.run else { return Err(Denied::NoJob) };
        if !run.is_safe_end() && run.stage != Stage::Cancelling {
            return Err(Denied::JobRunning);
        }
        if std::mem::replace(&mut self.waits.hurried, true) {
            return Ok(());
        }
        self.waits.over_by = self.now + HASTE_MAX;
        let drops = matches!(self.dialect.calm(Calm::Drop), Spelling::Realtime(_));
        match run.stage {
            Stage::Cancelling if drops => {
                let slows = self.now + if run.dropped { Duration::ZERO } else { HASTE_SLOWS };
                self.deadlines.drop = Some(self.deadlines.drop.map_or(slows, |at| at.min(slows)));
                self.deadlines.end = Some(self.waits.over_by);
            }
            Stage::Cancelling => self.begin_overdue_safe_end(),
            _ => self.safe_end_begins(),
        }
        Ok(())
    }

    /// A job that is being ended has taken as long as it may.
    pub(super) fn end_overdue(&mut self) {
        match &self.run {
            Some(run) if run.is_safe_end() => self.end_unproven(),
            Some(run) if run.stage == Stage::Cancelling => self.begin_overdue_safe_end(),
            _ => {}
        }
    }

    /// What makes the machine safe is said behind what it has and has not answered.
    fn begin_overdue_safe_end(&mut self) {
        if let Some(run) = &mut self.run {
            run.overdue = true;
        }
        self.begin_safe_end();
    }

    /// The machine does not show that it stands still and is safe. The job is over, and what is not known is said.
    fn end_unproven(&mut self) {
        let quiet = self.now.since(self.waits.heard_at);
        if quiet >= self.quiet_after().min(CANCEL_MAX) {
            return self.end_in_silence(quiet);
        }
        let waited = self.now.since(self.waits.end_began);
        let happened = if self.needs_person {
            "The machine waits for a person, and does not end that for the agent.".to_owned()
        } else if self.waits.hurried {
            "The machine was told what makes it safe, and has not shown yet that it stands still.".to_owned()
        } else {
            format!(
                "The machine goes on talking, and has not shown within {} s that it stands still.",
                waited.as_secs()
            )
        };
        self.end_not_known(Notice::new("machine.end_unproven", happened, "", ""));
    }

    /// What is on for certain, as the machine said last.
    pub(super) fn still_on(&self) -> String {
        let hot = self.known.temperatures.iter().filter_map(|heater| {
            let target_c = heater.target_c.filter(|target_c| *target_c > 0.0)?;
            Some(format!("{} {target_c:.0} °C", heater.heater))
        });
        let on: Vec<_> = hot.collect();
        if on.is_empty() { String::new() } else { format!(" It was last reported as heating: {}.", on.join(", ")) }
    }

    /// Every line was answered, and the end of motion is not proven. Not for ever: where the word that waits for it was
    /// answered under a checksum, that is proof enough; elsewhere a person looks.
    pub(super) fn proof_overdue(&mut self) {
        let now = self.now;
        let habits = self.dialect.habits();
        let moves = self.condition == Some(Condition::Run);
        let Some(run) = self.run.as_mut().filter(|_| matches!(habits.motion_end, MotionEnd::Commands(_))) else {
            return;
        };
        if moves {
            (run.proof_since, run.proof_answers) = (None, 0);
            return;
        }
        let since = *run.proof_since.get_or_insert(now);
        let reports = matches!(habits.asking, Asking::Realtime { .. }) && run.idle_reports >= PROOF_ANSWERS;
        if now.since(since) < PROOF_MAX || !(run.proof_answers >= PROOF_ANSWERS || reports) {
            return;
        }
        (run.proof_since, run.proof_answers) = (None, 0);
        if habits.numbered && !habits.ok_when_taken {
            if !run.is_safe_end() {
                run.no_position = true;
            }
            return self.end_proven();
        }
        if run.is_safe_end() {
            return self.end_unproven();
        }
        let notice = Notice::new(
            "job.end_unproven",
            "The program is through, and the machine does not tell where it stands.",
            "The job is held and not called finished.",
            "Look whether it stands still. Resume to ask it again, or cancel.",
        );
        self.hold(Cause::Interlock, Some(notice));
    }

    /// A job is over whose end no position proves.
    pub(super) fn tell_no_position(&mut self) {
        let notice = Notice::new(
            "job.no_position",
            "The machine tells no position that is one.",
            "That it stands still was taken from its answer to the word that waits for it.",
            "Ask it where it is (M114): an axis without a number was never homed, or its settings are damaged.",
        );
        self.tell(EventKind::Trouble { notice });
    }

    /// A question about the end of motion was answered.
    pub(super) fn proof_question_answered(&mut self) {
        if let Some(run) = self.run.as_mut().filter(|run| run.stage == Stage::Proving && run.proof_since.is_some()) {
            run.proof_answers += 1;
        }
    }

    /// A job is over while the machine still works at what it asks a person for. What makes it safe was said, and is read
    /// when nothing is asked any more: the questions that are still to come are answered as well.
    pub(super) fn ends_unattended(&mut self) {
        if self.hears_out_of_turn() {
            self.person.answers_left = PROMPTS_ANSWERED_MAX;
        }
    }

    /// Such a question.
    pub(super) fn answer_behind_end(&mut self) {
        let Some(last) = self.person.offered().filter(|_| self.run.is_none() && self.person.answers_left > 0) else {
            return;
        };
        self.person.answers_left -= 1;
        if let Spelling::Lines(lines) = self.dialect.word(&Word::Choose(last)) {
            for line in &lines {
                self.write_past_window(line);
            }
        }
    }

    /// A machine in a job that is being ended asks a person: nobody is waited for. The last answer that it offers goes on.
    pub(super) fn answer_to_end(&mut self) {
        let hears = self.hears_out_of_turn();
        let Some(run) = self.run.as_mut().filter(|run| run.is_safe_end() || run.stage == Stage::Cancelling) else {
            return;
        };
        if run.prompts_answered >= PROMPTS_ANSWERED_MAX {
            return;
        }
        run.prompts_answered += 1;
        let offered = self.person.offered().filter(|_| hears);
        let answer = offered.map(|last| self.dialect.word(&Word::Choose(last)));
        match answer {
            Some(Spelling::Lines(lines)) => {
                for line in &lines {
                    if self.window.holds(line.len() + 1) {
                        self.say_past_window(line);
                    }
                }
            }
            _ => self.stop_waiting(),
        }
    }
}
