//! A line the machine refused: what is done, and what becomes of the lines that were sent behind it.

use super::Session;
use crate::dialect::{Calm, Spelling};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::notice::Notice;
use crate::profile::OnError;
use crate::session::run::Run;
use crate::session::undone::Fate;
use crate::snapshot::{Cause, JobPhase};

impl Session {
    /// `answers`: whether this is the answer to the oldest line. If not, its `ok` follows.
    pub(super) fn hear_refusal(&mut self, code: String, sentence: String, answers: bool) {
        self.complaint_spoils_proof();
        let frame = if answers { self.window.answered() } else { self.window.oldest() };
        self.sign_of_life();
        let line = match (frame, &mut self.run) {
            (Some(Frame::Job(ordinal)), Some(run)) => {
                if answers {
                    run.accepted = run.accepted.max(ordinal);
                    run.alone_until = None;
                }
                run.note_undone(ordinal, Fate::Refused, &sentence);
                run.line_in_words(ordinal)
            }
            (None, _) => {
                self.known.link.answers_extra += u64::from(answers);
                None
            }
            _ => None,
        };
        if matches!(frame, Some(Frame::Aside(Aside::Settings | Aside::Arm | Aside::KeepAlive | Aside::AutoReport))) {
            // It has no such word: then nothing is known, and nothing armed.
            return;
        }
        if let Some(Frame::Aside(Aside::Unlock)) = frame {
            return self.clearing_refused(&sentence);
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
        let Some(line) = line else {
            let notice = Notice::new(code, sentence, "The command had no effect.", "Check the command.");
            return self.tell_trouble(notice);
        };
        let happened = format!("The machine refused {line}: {sentence}");
        if self.run.as_ref().is_some_and(Run::is_safe_end) {
            let happened = format!("While the job was being ended, the machine refused {line}: {sentence}");
            let notice = Notice::new(code, happened, "The other lines were sent.", "Check that the machine is safe.");
            return self.tell(EventKind::Trouble { notice });
        }
        let behind = self.sent_behind();
        match self.profile.stream.on_error {
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
        if self.dialect.calm(Calm::Hold) == Spelling::None {
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
