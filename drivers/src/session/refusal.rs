//! A line the machine refused: what is done, and what becomes of the lines that were sent behind it.
//!
//! On some firmware (grblHAL) one error makes the machine refuse everything behind it, until an empty line:
//!
//! ```text
//! > line 5 ─ line 6 ─ line 7                        line 5 is in error
//! < error:20                                        line 5: refused, told, the job is held
//! >                    (empty line)                 ends the error behind what is on its way
//! < error:20 ─ error:20                             lines 6 and 7: refused for line 5, counted
//! < ok                                              the error is over: 6 and 7 are said again when the job goes on
//! ```

use serde::{Deserialize, Serialize};

use super::{Phase, Session, Stage};
use crate::dialect::{Calm, Spelling};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::notice::Notice;
use crate::profile::OnError;
use crate::session::run::Run;
use crate::session::undone::Fate;
use crate::snapshot::{Cause, JobPhase};

/// Refusals of one job that are told one by one, where it goes on all the same. They are all counted.
const TOLD_MAX: u32 = 20;

/// A refusal behind which everything may be refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stuck {
    /// The first command that is said again once the error is cleared.
    from: u64,
    /// The first refusal behind it, as ordinal, code and sentence. It is told only if what stands behind that runs: then
    /// it was refused for itself.
    untold: Option<(u64, String, String)>,
}

impl Session {
    /// `answers`: whether this is the answer to the oldest line. If not, its `ok` follows.
    pub(super) fn hear_refusal(&mut self, code: String, sentence: String, answers: bool) {
        self.complaint_spoils_proof();
        let frame = if answers { self.window.answered() } else { self.window.oldest() };
        self.sign_of_life();
        let sticks = self.dialect.habits().error_sticks;
        let mut only_stuck = false;
        let line = match (frame, &mut self.run) {
            (Some(Frame::Job(ordinal)), Some(run)) => {
                if answers {
                    run.accepted = run.accepted.max(ordinal);
                    run.alone_until = None;
                }
                run.note_undone(ordinal, Fate::Refused, &sentence);
                if let Some(stuck) = run.stuck.as_mut().filter(|stuck| ordinal >= stuck.from) {
                    only_stuck = true;
                    stuck.untold.get_or_insert_with(|| (ordinal, code.clone(), sentence.clone()));
                } else if sticks {
                    run.stuck = Some(Stuck { from: ordinal + 1, untold: None });
                }
                run.line_in_words(ordinal)
            }
            _ => None,
        };
        if frame.is_none() && answers {
            // What was refused was said by somebody else.
            self.extra_answer();
        }
        if only_stuck {
            // For what stands in front of it, of which was told.
            return;
        }
        if frame == Some(Frame::Aside(Aside::Unstick)) {
            // Nobody refuses an empty line: it arrived as another one. The lines behind it show whether the error stands.
            return self.unstuck();
        }
        if sticks {
            self.unstick();
        }
        if matches!(frame, Some(Frame::Aside(Aside::Settings | Aside::Arm | Aside::KeepAlive | Aside::AutoReport))) {
            // It has no such word: then nothing is known, and nothing armed.
            return;
        }
        if let Some(Frame::Aside(Aside::Unlock)) = frame {
            return self.unlock_refused(&sentence);
        }
        if let Some(Frame::Aside(aside)) = frame {
            self.hand_answered(aside, true);
        }
        let sentence = if line.is_some() && self.may_have_overflowed(1) {
            let said = self.buffer_said();
            format!(
                "{sentence} More was on its way than this firmware's usual receive buffer holds, because {said} bytes are \
                 said: the line may have arrived as another one."
            )
        } else {
            sentence
        };
        match (line, frame) {
            (Some(line), _) => self.trouble_in_job(code, format!("The machine refused {line}: {sentence}")),
            (None, Some(Frame::Aside(aside))) => self.request_refused(aside, code, &sentence),
            (None, _) => {
                self.tell_beside(Notice::new(code, sentence, "The command had no effect.", "Check the command."));
            }
        }
    }

    /// Trouble beside whatever stands. What brought the machine into an alarm or a halt stays the reason until that is put
    /// right: what it says or refuses meanwhile is told, and does not take its place.
    pub(super) fn tell_beside(&mut self, notice: Notice) {
        match self.phase {
            Phase::Alarm | Phase::Halted => self.tell(EventKind::Trouble { notice }),
            _ => self.tell_trouble(notice),
        }
    }

    /// What a person asked for was refused by the machine.
    pub(super) fn request_refused(&mut self, aside: Aside, code: String, sentence: &str) {
        let (what, to_do) = match aside {
            Aside::Home => ("to home", "Look at the machine, put that right and home it again."),
            Aside::Jog => ("to be moved by hand", "Look at the machine, put that right and move it again."),
            Aside::Probe => ("to probe", "Look at the machine, put that right and probe again."),
            _ => ("a command", "Check the command."),
        };
        let happened = format!("The machine refused {what}: {sentence}");
        self.tell_trouble(Notice::new(code, happened, "The command had no effect.", to_do));
    }

    /// Trouble in a job with a line of it, or with the machine: the job does what the profile says of a refused line.
    pub(super) fn trouble_in_job(&mut self, code: String, happened: String) {
        let Some(run) = &mut self.run else {
            let notice = Notice::new(code, happened, "No job is running.", "Look at the machine.");
            return self.tell_beside(notice);
        };
        if run.is_safe_end() {
            let happened = format!("While the job was being ended: {happened}");
            let notice = Notice::new(code, happened, "The other lines were sent.", "Check that the machine is safe.");
            return self.tell(EventKind::Trouble { notice });
        }
        run.told = run.told.saturating_add(1);
        let quiet = run.told > TOLD_MAX;
        let behind = self.sent_behind();
        match self.profile.stream.on_error {
            OnError::Continue if quiet => {}
            OnError::Continue => {
                let notice = Notice::new(code, happened, "The job goes on, as the profile says.", "Check the program.");
                self.tell(EventKind::Trouble { notice });
            }
            OnError::Hold => {
                let done = format!("The job is held. {}", self.fate(behind, "if the job is resumed"));
                let notice = Notice::new(code, happened, done, "Look at the work, then resume or cancel.");
                self.hold_for_refusal(notice);
            }
            OnError::Fail => {
                let done = format!("The job is being ended safely. {}", self.fate(behind, "if that comes too late"));
                let notice = Notice::new(code, happened, done, "Correct the program and start again.");
                self.cancel_as(JobPhase::Failed, Some(notice));
            }
        }
    }

    /// Says the empty line that ends an error which makes the machine refuse everything behind it, where it has such.
    pub(super) fn unstick(&mut self) {
        if self.dialect.habits().error_sticks && !self.is_asked(Aside::Unstick) {
            self.asides.push_front((Aside::Unstick, String::new()));
        }
    }

    /// A command was done that stands behind a refused one: errors do not stick in this firmware.
    pub(super) fn ran_behind_a_refusal(&mut self, ordinal: u64) {
        let Some(run) = &mut self.run else { return };
        let Some(stuck) = &mut run.stuck else { return };
        stuck.from = stuck.from.max(ordinal + 1);
        let Some((refused, code, sentence)) = stuck.untold.take() else { return };
        if let Some(line) = run.line_in_words(refused) {
            self.trouble_in_job(code, format!("The machine refused {line}: {sentence}"));
        }
    }

    /// The error is over. What was refused for it is said again; a job that is held does so when it goes on.
    pub(super) fn unstuck(&mut self) {
        let Some(run) = &mut self.run else { return };
        let Some(from) = run.stuck.take().map(|stuck| stuck.from).filter(|from| *from <= run.accepted) else { return };
        run.undone_again(from);
        run.history.rewind(from);
        (run.accepted, run.sent) = (from - 1, from - 1);
        run.evidence.rewind(run.accepted);
        run.homing = run.homing.filter(|(ordinal, _)| *ordinal < from);
        for stage in [&mut run.stage, &mut run.held_from] {
            if *stage == Stage::Proving {
                *stage = Stage::Streaming;
            }
        }
    }

    /// The first program line that was sent and not answered yet, and the last one.
    fn sent_behind(&self) -> Option<(u64, u64)> {
        let run = self.run.as_ref()?;
        if run.sent <= run.accepted {
            return None;
        }
        let line = |ordinal| run.history.command(ordinal).map(|command| command.program_line);
        Some((line(run.accepted + 1)?, line(run.sent)?))
    }

    /// What becomes of those lines. A machine that is told to hold reads none of what waits in its buffer until it
    /// goes on, and a cancel drops it; one without such a word runs all of it.
    fn fate(&self, behind: Option<(u64, u64)>, run_when: &str) -> String {
        let Some((first, last)) = behind else { return "No line had been sent behind it.".to_owned() };
        let lines = if first == last { format!("Line {first} was") } else { format!("Lines {first} to {last} were") };
        let sticks = self.run.as_ref().is_some_and(|run| run.stuck.is_some());
        if sticks && self.profile.stream.on_error == OnError::Hold {
            // Whether it does depends on how the firmware was built; its answers tell.
            format!("{lines} sent already: what the machine refuses of them, too, is said again {run_when}.")
        } else if self.dialect.calm(Calm::Hold) == Spelling::None {
            format!("{lines} sent already and will still run.")
        } else {
            format!("{lines} sent already: up to the hold they may have run, the rest runs {run_when}.")
        }
    }

    /// A job that is held already is told of further refusals, which change nothing.
    fn hold_for_refusal(&mut self, notice: Notice) {
        let holding = self.run.as_ref().is_some_and(Run::is_holding);
        if holding {
            return self.tell(EventKind::Trouble { notice });
        }
        self.hold(Cause::Machine, Some(notice));
    }
}
