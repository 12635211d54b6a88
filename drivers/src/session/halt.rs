//! A machine that halted itself, and why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, Session};
use crate::event::EventKind;
use crate::notice::Notice;
use crate::snapshot::JobPhase;

/// How long a machine that halted may take to say why: it answers at once, unless it is gone altogether.
const WHY_PATIENCE: Duration = Duration::from_secs(1);

/// Stable code of the notice.
const HALTED: &str = "machine.halted";

/// A machine halted, nothing is sent any more, and what ended with that is told as soon as it said why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Halt {
    text: String,
    /// The job that ended with it, if there was one, and how.
    ended: Option<(String, JobPhase, Option<Notice>)>,
}

fn notice(text: &str, way_out: &str) -> Notice {
    Notice::new(
        HALTED,
        format!("The machine halted itself: {}.", text.trim_end_matches('.')),
        "The job is over; the machine takes nothing until it is reset.",
        format!("Look at the machine. {way_out}"),
    )
}

impl Session {
    /// `explained`: whether the text says why.
    pub(super) fn halted(&mut self, text: &str, explained: bool) {
        if self.halted_still(text, explained) {
            return;
        }
        if self.phase == Phase::Halted {
            if let Some(halt) = self.halt.as_mut().filter(|_| explained) {
                text.clone_into(&mut halt.text);
                self.tell_halt();
            }
            return;
        }
        if self.phase == Phase::Alarm && self.stopped {
            return self.halted_as_asked();
        }
        if matches!(self.phase, Phase::Greeting(_)) && self.obeying.stop_is_said() {
            // It was stopped before it had said who it is.
            self.known.notice = Some(self.stop_notice());
            return self.halted_as_asked();
        }
        // Marlin says what it is in words of its own, and then only that it is (`kill`, `MarlinCore.cpp`).
        let text = &*match self.said_just_now().filter(|said| !text.contains(said)) {
            Some(said) => format!("{}. Before that it said: {said}", text.trim_end_matches(['.', '!'])),
            None => text.to_owned(),
        };
        let notice = notice(text, self.dialect.habits().way_out);
        let ended = self.close_run(JobPhase::Failed, Some(notice.clone()));
        self.forget_conversation();
        self.phase = Phase::Halted;
        self.known.notice = Some(notice);
        self.halt = Some(Halt { text: text.to_owned(), ended });
        match self.dialect.habits().asks_why.filter(|_| !explained) {
            Some(question) => {
                self.deadlines.why = Some(self.now + WHY_PATIENCE);
                self.write_past_window(question);
            }
            None => self.tell_halt(),
        }
    }

    /// It halts because it was told to, and what it says of that is no news: why it was stopped stays the reason until it is
    /// put right.
    fn halted_as_asked(&mut self) {
        let reason = self.known.notice.clone();
        self.forget_conversation();
        self.phase = Phase::Halted;
        self.stopped = true;
        self.known.notice = reason;
    }

    /// Tells that the machine halted, with what it said of that so far, and which job ended with it.
    pub(super) fn tell_halt(&mut self) {
        let Some(halt) = self.halt.take() else { return };
        self.deadlines.why = None;
        let notice = notice(&halt.text, self.dialect.habits().way_out);
        if let Some((job, phase, reason)) = halt.ended {
            // A job that was being ended for another reason keeps that.
            let reason = reason.map(|reason| if reason.code == HALTED { notice.clone() } else { reason });
            self.tell(EventKind::Job { job, phase, notice: reason });
        }
        self.known.notice = Some(notice.clone());
        self.known.generation += 1;
        self.tell(EventKind::Trouble { notice });
    }
}
