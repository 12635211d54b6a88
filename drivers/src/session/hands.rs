//! Another hand on the line: what shows that somebody else talks to the machine while a job of ours runs. What was sent and
//! accepted is then counted, and no longer sure: the job says so, also when it is finished.
//!
//! An answer that nothing asked for may also be one of ours that the wire doubled. Where lines carry numbers and the wire
//! has damaged some, that is what it is taken for; the numbers keep the count there.

use serde::{Deserialize, Serialize};

use super::{Session, Stage};
use crate::dialect::{Asking, Condition};
use crate::notice::Notice;
use crate::snapshot::Unsure;

/// Reports in a row that must show the machine outside of where the program leads: one alone may have arrived damaged.
const OUTSIDE_REPORTS: u32 = 2;

/// What shows another hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sign {
    /// An answer came, and nothing was due one.
    ExtraAnswer,
    /// The machine is where the program never leads.
    Outside([f64; 3]),
    /// It began to print from its own card.
    Card,
}

impl Sign {
    fn unsure(self) -> Unsure {
        match self {
            Self::ExtraAnswer => Unsure::ExtraAnswer,
            Self::Outside(_) => Unsure::OutsideProgram,
            Self::Card => Unsure::CardPrint,
        }
    }
}

/// What was seen of it in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hands {
    outside: u32,
}

impl Session {
    /// Something shows that somebody else talks to the machine. Told once a job.
    pub(super) fn another_hand(&mut self, sign: Sign) {
        let Some(run) = self.run.as_mut().filter(|run| run.progress.unsure.is_none()) else { return };
        run.progress.unsure = Some(sign.unsure());
        let line = run.progress.executed_line;
        let what = match sign {
            Sign::ExtraAnswer => "The machine answered a line that was not sent from here".to_owned(),
            Sign::Outside([x, y, z]) => {
                format!("The machine is at X{x:.3} Y{y:.3} Z{z:.3}, where this program does not lead")
            }
            Sign::Card => "The machine runs a file from its own card beside this job".to_owned(),
        };
        let notice = Notice::new(
            "machine.another_hand",
            format!("{what} (after line {line} of the job): somebody else talks to it."),
            "The job goes on. How many lines were executed is counted, and no longer sure.",
            "Look at the work. Let only one program at a time talk to the machine: close other senders, and leave its display.",
        );
        self.tell_trouble(notice);
    }

    /// An answer came, and nothing was due one.
    pub(super) fn extra_answer(&mut self) {
        if self.run.as_ref().is_some_and(|run| run.dropped && run.stage == Stage::Cancelling) {
            // The line it was at when it was reset is answered in front of the banner (Grbl `protocol.c`).
            return;
        }
        self.known.link.answers_extra += 1;
        let Some(run) = &self.run else { return };
        let since = self.known.link.since(&run.link_before);
        let damaged = since.damaged() + since.checksum_errors + since.gaps + since.answers_lost > 0;
        if !damaged || !self.dialect.habits().numbered {
            self.another_hand(Sign::ExtraAnswer);
        }
    }

    /// A position was told that was asked for. It stands in front of the answer to its question; where nothing is due an
    /// answer any more, one too many has come before.
    pub(super) fn position_after_its_answer(&mut self) {
        let habits = self.dialect.habits();
        let in_front = habits.stands_by_word() && !habits.ok_when_taken;
        if in_front && self.reporting.expects_position() && self.window.is_empty() {
            self.extra_answer();
        }
    }

    /// A report of where the machine is, in the program's coordinates.
    pub(super) fn note_reach(&mut self, condition: Option<Condition>) {
        let reports = matches!(self.dialect.habits().asking, Asking::Realtime { .. });
        let known = self.known.work_position_mm.filter(|reading| reading.at == self.now && self.work_offset_known);
        let Some(place) = known else { return };
        let Some(run) = self.run.as_mut().filter(|run| !run.is_safe_end()) else { return };
        let moves = matches!(condition, Some(Condition::Run | Condition::Idle));
        if !reports || !moves || !matches!(run.stage, Stage::Streaming | Stage::Proving) {
            return;
        }
        // Until the first report of the job it is where it stood before.
        if run.reach.is_new() {
            return run.reach.begin(place.value);
        }
        if run.reach.leads_to(place.value) {
            run.hands.outside = 0;
            return;
        }
        run.hands.outside += 1;
        if run.hands.outside >= OUTSIDE_REPORTS {
            self.another_hand(Sign::Outside(place.value));
        }
    }
}
