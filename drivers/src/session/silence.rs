//! A machine that answers nothing: how long that is waited for, what is asked meanwhile, and how everything ends that
//! waits for it. Whatever a person asks for comes to an end in about a minute, and what is not known then is said.

use std::time::Duration;

use gcode_tools::block::Block;
use gcode_tools::words::{self, Effect, Firmwares};
use serde::{Deserialize, Serialize};

use super::greeting::Greeting;
use super::{Phase, Session, Stage};
use crate::dialect::{Asking, MotionEnd};
use crate::flow::{Aside, Frame};
use crate::interlock::{self, Response, Trouble};
use crate::moment::Moment;
use crate::notice::Notice;
use crate::session::recovery::BUSY_TOLD;
use crate::snapshot::{Cause, JobPhase};

/// Questions into silence before the job is held.
pub(super) const PROBES_MAX: u32 = 3;

/// How long a firmware may work in silence that neither says that it is busy nor can be asked meanwhile: homing,
/// levelling and long moves take minutes.
pub(super) const SILENT_WORK: Duration = Duration::from_secs(300);

/// Reports that must stay out, besides the time an answer may take, before a machine is silent: a computer that slept has
/// not asked meanwhile.
const REPORTS_MISSED: u32 = 10;

/// Stable code of the notice.
const SILENT: &str = "machine.silent";

/// How silent a machine is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Silence {
    /// Times in a row that an answer to a question was overdue while nothing ran.
    unanswered: u32,
    /// Reports that were asked for since the last one came.
    reports_missed: u32,
    /// Since when none came.
    reports_missed_since: Moment,
    /// Since when an answer is waited for without any sign of life.
    pub(super) waits_since: Moment,
}

impl Silence {
    /// It reported how it is.
    pub(super) fn reported(&mut self) {
        self.reports_missed = 0;
    }
}

impl Session {
    /// Puts off the moment at which an answer is overdue: the machine has just shown that it is alive.
    pub(super) fn sign_of_life(&mut self) {
        (self.silence.unanswered, self.silence.waits_since) = (0, self.now);
        if self.window.is_empty() {
            self.window_emptied();
            self.deadlines.answer = None;
        } else {
            self.deadlines.answer = Some(self.answer_due());
        }
        if let Some(run) = &mut self.run {
            run.probes = 0;
        }
    }

    /// From now on an answer is waited for.
    pub(super) fn await_answer(&mut self) {
        self.silence.waits_since = self.now;
        self.deadlines.answer = Some(self.answer_due());
    }

    /// When an answer is overdue that is waited for from now on.
    pub(super) fn answer_due(&self) -> Moment {
        let habits = self.dialect.habits();
        let mut patience = self.answer_patience();
        // On a wire that damages lines an answer is more likely lost than late. A machine that waits for a person answers
        // nothing, and every question meanwhile fills its receive buffer.
        let lost = !self.needs_person && (self.window.is_doubtful() || self.window.is_narrow());
        if lost && habits.keepalive && !self.reporting.silent {
            patience = patience.min(BUSY_TOLD);
        }
        let tells = (habits.keepalive && !self.reporting.silent) || matches!(habits.asking, Asking::Realtime { .. });
        let works = match &self.run {
            // Somebody waits for the end; what the machine works at has been said, and is not waited for any longer.
            Some(run) if run.is_safe_end() || matches!(run.stage, Stage::Holding | Stage::Cancelling) => false,
            // Grbl answers nothing while it homes, in a program as little as by hand.
            Some(_) => !tells || self.program_homes(),
            None => !tells && self.waits_for_motion(),
        };
        if self.run.as_ref().is_some_and(|run| !run.is_safe_end()) {
            patience += self.spindle_patience().unwrap_or_default();
        }
        // Grbl answers nothing while it homes, not even how it is (`limits.c`).
        self.now + if works || self.works_by_hand() { patience.max(SILENT_WORK) } else { patience }
    }

    /// How long the machine may say that it is idle while the line that is due an answer waits for the spindle's speed.
    pub(super) fn spindle_patience(&self) -> Option<Duration> {
        let waits_s = self.dialect.habits().spindle_waits_s;
        let Some(Frame::Job(ordinal)) = self.window.oldest() else { return None };
        if waits_s == 0 || self.profile.laser.is_some() {
            return None;
        }
        let command = self.run.as_ref()?.history.command(ordinal)?;
        changes_spindle(&command.text).then_some(Duration::from_secs(waits_s))
    }

    fn answer_patience(&self) -> Duration {
        Duration::from_millis(self.profile.stream.answer_timeout_ms)
    }

    /// Whether the oldest line without an answer is one that is answered when something has moved.
    fn waits_for_motion(&self) -> bool {
        matches!(self.window.oldest(), Some(Frame::Aside(Aside::HoldProof | Aside::Jog | Aside::Word)))
    }

    /// What a person asked for is waited for less long than the program's own lines.
    pub(super) fn answer_due_sooner(&mut self) {
        let due = self.answer_due();
        self.deadlines.answer = self.deadlines.answer.map(|at| at.min(due));
    }

    /// An answer is overdue: a machine with numbered lines is asked where it stands, others cannot be.
    pub(super) fn answer_overdue(&mut self) {
        if self.window.is_empty() {
            return;
        }
        self.deadlines.answer = Some(self.answer_due());
        let Some(run) = &mut self.run else { return self.question_overdue() };
        self.known.link.answers_lost += 1;
        self.packing.interrupt();
        run.probes += 1;
        // One that cannot be asked has no more to say after so long than after four times as long.
        let numbered = self.dialect.habits().numbered;
        let waited = self.now.since(self.silence.waits_since);
        let hopeless = run.probes > PROBES_MAX || waited >= SILENT_WORK * (1 + u32::from(numbered));
        self.wire_trouble("an answer is overdue");
        if hopeless {
            return self.silent_in_run(waited);
        }
        let Some(run) = &self.run else { return };
        let ending = run.stage == Stage::Cancelling || run.is_safe_end();
        if ending && self.needs_person {
            // The word that ends the machine's wait was lost, or the wait began after it.
            return self.stop_waiting();
        }
        if run.stage == Stage::Counter {
            self.window.clear();
            self.asides.retain(|(aside, _)| *aside != Aside::CounterReset);
            self.reset_counter();
        } else if numbered {
            self.probe();
        } else if ending || run.stage == Stage::Holding {
            self.ask_past_what_is_lost();
        }
    }

    /// Asks a machine without numbers where it stands, whatever else has no answer: it answers in its turn. One that is
    /// to be held is told to come to its end before.
    fn ask_past_what_is_lost(&mut self) {
        let habits = self.dialect.habits();
        let MotionEnd::Commands([wait, question]) = habits.motion_end else { return };
        if !habits.stands_by_word() {
            return;
        }
        let holding = self.run.as_ref().is_some_and(|run| run.stage == Stage::Holding);
        self.reporting.positions_lost();
        for text in holding.then_some(wait).into_iter().chain([question]) {
            let Ok(cleared) = interlock::clear(text.as_bytes(), &self.profile, habits) else { return };
            self.spelled.clear();
            self.dialect.spell(cleared, None, &mut self.spelled);
            if !self.window.holds(self.spelled.len()) {
                return;
            }
            self.window.sent(Frame::Aside(Aside::Query), self.spelled.len());
            self.write_spelled();
        }
        self.reporting.position_asked(self.now);
        self.window.doubt();
    }

    /// The answer to that: what was said before has no answer any more. A line among it may be lost as well as its
    /// answer, so that a job that is held does not go on as if it had been taken.
    pub(super) fn position_past_what_is_lost(&mut self) {
        if !self.window.is_doubtful() {
            return;
        }
        let Some(run) = &mut self.run else { return };
        if run.stage == Stage::Holding {
            run.stage = Stage::Held;
            self.window.doubt_is_over();
            return self.told_job_phase(JobPhase::Held, None);
        }
        let safe_end = run.is_safe_end();
        if !safe_end && run.stage != Stage::Cancelling {
            return;
        }
        while self.window.said_before_query().is_some_and(|before| before > 0) {
            self.known.link.answers_lost += 1;
            if safe_end {
                self.take_answer();
            } else {
                self.window.answered();
            }
        }
        self.window.doubt_is_over();
    }

    /// A lost answer to a question or a jog: the next question finds out, and several show that nobody is there.
    fn question_overdue(&mut self) {
        let seconds = self.now.since(self.silence.waits_since).as_secs();
        self.lost_by_hand(&format!("The machine has not answered for {seconds} s"));
        self.window.clear();
        self.silence.unanswered += 1;
        if self.silence.unanswered > PROBES_MAX && self.phase == Phase::Ready {
            self.nobody_there(self.now.since(self.silence.waits_since));
        }
    }

    /// A machine that reports its state was asked for it.
    pub(super) fn report_asked(&mut self) {
        let silence = &mut self.silence;
        if silence.reports_missed == 0 {
            silence.reports_missed_since = self.now;
        }
        silence.reports_missed = silence.reports_missed.saturating_add(1);
        let waited = self.now.since(silence.reports_missed_since);
        // While an answer is due, that is what is waited for: Grbl reports nothing while it homes.
        let overdue = silence.reports_missed > REPORTS_MISSED && waited > self.answer_patience();
        if !overdue || !self.window.is_empty() || self.phase != Phase::Ready {
            return;
        }
        self.silence.reported();
        match &self.run {
            None => self.nobody_there(waited),
            // Nothing is waited for.
            Some(run) if matches!(run.stage, Stage::Held | Stage::Asking) => {}
            Some(_) => self.silent_in_run(waited),
        }
    }

    /// The machine has answered nothing for so long in the middle of a run.
    fn silent_in_run(&mut self, waited: Duration) {
        let Some(run) = &mut self.run else { return };
        // What follows is told by the same silence.
        run.probes = run.probes.max(PROBES_MAX + 1);
        if run.is_safe_end() {
            return self.end_in_silence(waited);
        }
        match run.stage {
            Stage::Cancelling => self.begin_safe_end(),
            Stage::Holding => {
                let notice = silent(
                    waited,
                    "The job is held: nothing more is sent. Whether the machine stands still is not known.",
                    "Look whether it stands still. Check the machine and the cable, then resume or cancel.",
                );
                self.held_in_silence();
                self.known.notice = Some(notice.clone());
                self.told_job_phase(JobPhase::Held, Some(notice));
            }
            _ if interlock::respond(Trouble::AnswerOverdue) == Response::Hold => {
                let notice =
                    silent(waited, "The job is held.", "Check the machine and the cable, then resume or cancel.");
                self.hold(Cause::Interlock, Some(notice));
                self.held_in_silence();
            }
            _ => {}
        }
    }

    /// A machine that says nothing cannot confirm that it stands still: the job is held all the same, and says so.
    fn held_in_silence(&mut self) {
        if let Some(run) = self.run.as_mut().filter(|run| run.stage == Stage::Holding) {
            run.stage = Stage::Held;
        }
    }

    /// Whether a job that is to be ended has had no answer for as long as one is waited for.
    pub(super) fn is_silent(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.probes > PROBES_MAX)
    }

    /// The lines that made the machine safe were not answered.
    pub(super) fn end_in_silence(&mut self, waited: Duration) {
        self.end_not_known(silent(waited, "", ""));
    }

    /// The job is over; what the machine does is not known, and found out from the beginning.
    pub(super) fn end_not_known(&mut self, mut notice: Notice) {
        let what = if self.dialect.habits().printer {
            "Whether the machine stands still and is safe (heaters off) is not known."
        } else {
            "Whether the machine stands still and is safe (spindle or laser off) is not known."
        };
        notice.done = format!("{what}{}", self.still_on());
        "Go to the machine and switch it off if anything moves, turns or heats. Then check the cable."
            .clone_into(&mut notice.to_do);
        if let Some(reason) = self.run.as_mut().and_then(|run| run.ending.as_mut()?.notice.as_mut()) {
            reason.done.clone_from(&notice.done);
            reason.to_do.clone_from(&notice.to_do);
        }
        self.end_run(JobPhase::Failed, Some(notice.clone()));
        self.find_out_anew(notice);
        self.ends_unattended();
    }

    /// Nothing runs, and nobody answers.
    fn nobody_there(&mut self, waited: Duration) {
        let notice = silent(
            waited,
            "What it does is not known; it is asked again who it is.",
            "Check that the machine is on, and its cable.",
        );
        self.find_out_anew(notice);
    }

    /// Begins the conversation anew with a machine that fell silent, and tells why.
    fn find_out_anew(&mut self, notice: Notice) {
        let opened = self.known.link.opened;
        // The machine still asks what it asked, whoever begins anew with it.
        let (asks, waits) = (self.person.clone(), self.needs_person);
        self.link_up(false);
        self.known.link.opened = opened;
        self.phase = Phase::Greeting(Box::new(Greeting::of_silent()));
        self.tell_trouble(notice);
        if waits || asks.offered().is_some() {
            (self.person, self.needs_person) = (asks, waits);
            self.found_standing("It waits for a person");
        }
    }
}

/// Whether a line may wait until the spindle has its speed (M3, M4, M5, S) or until an input says something (M66).
fn changes_spindle(text: &[u8]) -> bool {
    // This is asked at every answer, and most lines are plain moves.
    if !text.iter().any(|letter| matches!(letter.to_ascii_uppercase(), b'M' | b'S')) {
        return false;
    }
    let block = Block::new(text);
    let turns_or_waits = |(letter, tenths)| {
        let effect = u8::try_from(letter).map(|letter| words::effect_of_any(Firmwares::CNC, letter, tenths));
        effect == Ok(Effect::WaitsForInput) || (letter == 'M' && matches!(tenths, 30 | 40 | 50))
    };
    block.value('S').is_some() || block.codes().any(turns_or_waits)
}

fn silent(waited: Duration, done: &str, to_do: &str) -> Notice {
    Notice::new(SILENT, format!("The machine has not answered for {} s.", waited.as_secs()), done, to_do)
}
