//! The end of motion, proven: no job is called finished before.
//!
//! The words that prove it travel the same wire as everything else. Where a machine looks at no number and no checksum, a
//! damaged word that waits is answered like any other, without a wait: the position behind it proves nothing. There the
//! words are said until two rounds in a row tell one position, without a complaint in between.

use serde::{Deserialize, Serialize};

use super::run::Run;
use super::{Session, Stage};
use crate::dialect::{Asking, Condition, Habits, MotionEnd};
use crate::notice::Notice;
use crate::snapshot::{Cause, JobPhase};

/// Rounds without two alike before a person is asked: on a wire that spoils one line in ten, fewer than one job in a
/// million needs as many.
const ROUNDS_MAX: u32 = 12;

/// What the rounds said so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Rounds {
    said: u32,
    /// Where the last round found it, in the machine's own words and so compared exactly.
    stood_at: Option<[f64; 3]>,
    /// The machine complained about a line since this round began: that may have been the word that waits.
    complained: bool,
}

impl Rounds {
    /// A round told a position. True: the round before told the same one, and both were heard as they were said.
    fn agree(&mut self, at: Option<[f64; 3]>) -> bool {
        let complained = std::mem::take(&mut self.complained);
        let before = std::mem::replace(&mut self.stood_at, if complained { None } else { at });
        self.said += 1;
        before.is_some() && before == self.stood_at
    }
}

/// Whether a line may arrive as another one without the machine noticing, and it does not report what it does.
fn takes_anything(habits: &Habits) -> bool {
    !habits.numbered && habits.stands_by_word()
}

impl Session {
    /// A position report is proof of the end of motion when it can only be the answer to the last proving command.
    /// `last`: it answers the last question for one.
    pub(super) fn position_proof(&mut self, last: bool) {
        self.reporting.stood |= last && self.dialect.habits().ok_when_taken;
        if let Some(run) = &mut self.run {
            // The wait before it was answered, so the machine has come to its end.
            run.position_seen |= last && run.stage == Stage::Proving && run.accepted + 2 >= run.history.end();
        }
    }

    /// The machine complained about a line.
    pub(super) fn complaint_spoils_proof(&mut self) {
        if let Some(run) = &mut self.run {
            run.rounds.complained |= run.history.is_complete();
        }
    }

    /// Ends the run if the end of motion is proven.
    pub(super) fn check_proof(&mut self) {
        let Some(run) = &mut self.run else { return };
        if run.stage != Stage::Proving || !run.is_answered() || run.resync.is_some() || run.stuck.is_some() {
            (run.proof_since, run.proof_answers) = (None, 0);
            return;
        }
        let habits = self.dialect.habits();
        let proven = match habits.motion_end {
            // One that reports its state has to agree: where lines are taken unchecked, half a word that waits does not.
            MotionEnd::Commands(_) if matches!(habits.asking, Asking::Realtime { .. }) => {
                run.position_seen && run.idle_reports >= 1
            }
            MotionEnd::Commands(_) => run.position_seen,
            MotionEnd::IdleReport | MotionEnd::Started(_) => {
                run.idle_reports >= 2 && self.condition == Some(Condition::Idle)
            }
        };
        if !proven {
            return self.proof_overdue();
        }
        if takes_anything(habits) && !self.rounds_agree() {
            return;
        }
        self.end_proven();
    }

    /// Motion has ended: so has the run.
    pub(super) fn end_proven(&mut self) {
        if self.run.as_ref().is_some_and(|run| run.no_position && !run.is_safe_end()) {
            self.tell_no_position();
        }
        match self.run.as_ref().and_then(|run| run.ending.clone()) {
            None => self.end_run(JobPhase::Finished, None),
            Some(ending) => self.end_run(ending.phase, ending.notice),
        }
    }

    /// Whether two rounds in a row told one position. If not, another one is said.
    fn rounds_agree(&mut self) -> bool {
        let at = self.known.position_mm.map(|position| position.value);
        let Some(run) = &mut self.run else { return false };
        // What ends a job early claims nothing, and must come to an end.
        if run.rounds.agree(at) || (run.is_safe_end() && run.rounds.said >= ROUNDS_MAX) {
            return true;
        }
        let given_up = run.rounds.said >= ROUNDS_MAX;
        if given_up {
            run.rounds = Rounds::default();
        }
        run.prove_again(self.dialect.habits());
        if given_up {
            let notice = Notice::new(
                "job.end_unproven",
                "The program is through, and the machine does not show twice that it stands still at one place.",
                "The job is held and not called finished.",
                "Look whether it stands still. Resume to ask it again, or cancel; look for noise on its line.",
            );
            self.hold(Cause::Interlock, Some(notice));
        } else {
            self.pump_job();
        }
        false
    }
}

impl Run {
    /// Puts the words that prove the end of motion behind those that were said already.
    fn prove_again(&mut self, habits: &Habits) {
        let MotionEnd::Commands(commands) = habits.motion_end else { return };
        for text in commands {
            self.history.push(super::streaming::command(self.progress.lines, text.as_bytes()));
        }
        self.position_seen = false;
        self.stage = Stage::Streaming;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn two_rounds_in_a_row_must_tell_one_position_without_a_complaint() {
        let mut rounds = Rounds::default();
        assert!(!rounds.agree(Some([1.0, 2.0, 3.0])), "one round alone may have been damaged");
        assert!(!rounds.agree(Some([4.0, 2.0, 3.0])), "it moved");
        rounds.complained = true;
        assert!(!rounds.agree(Some([4.0, 2.0, 3.0])), "what it complained about may have been the wait");
        assert!(!rounds.agree(Some([4.0, 2.0, 3.0])), "the round before counts for nothing");
        assert!(rounds.agree(Some([4.0, 2.0, 3.0])));
    }
}
