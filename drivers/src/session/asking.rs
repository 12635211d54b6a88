//! Questions: how the machine is, and whether it stands.

use std::time::Duration;

use super::{Phase, Session};
use crate::dialect::{self, Asking, MotionEnd};
use crate::flow::Aside;
use crate::session::by_hand::JOGGING_EVERY;

/// Between questions while only the end of motion is waited for: nothing else is on the wire then.
const PROVING_EVERY: Duration = Duration::from_millis(100);

impl Session {
    /// Asks how the machine is.
    pub(super) fn ask(&mut self) {
        if matches!(self.phase, Phase::Offline | Phase::Greeting(_) | Phase::Wrong | Phase::Halted) {
            return;
        }
        let proving = self.run.as_ref().is_some_and(|run| run.stage == super::Stage::Proving);
        self.deadlines.ask = Some(
            self.now
                + match () {
                    () if proving => PROVING_EVERY,
                    () if self.moves_by_hand() => JOGGING_EVERY.min(self.ask_interval()),
                    () => self.ask_interval(),
                },
        );
        let waits = proving && self.owes_position();
        if proving && !waits {
            self.ask_proof();
        }
        self.ask_for_card();
        if self.may_be_told_to_end() {
            self.ask_whether_it_stands();
        }
        if self.own_work().is_none() && self.may_be_told_to_end() {
            self.ask_settings();
        }
        match self.dialect.habits().asking {
            Asking::Realtime { .. } => {
                self.calm(dialect::Calm::Query);
                self.report_asked();
            }
            Asking::Commands { commands, .. } => {
                let tells = self.told_unasked();
                // One question at a time: a machine that heats or homes answers late.
                if !self.is_asked(Aside::Query)
                    && !waits
                    && self.phase == Phase::Ready
                    && self.run.as_ref().is_none_or(super::Run::may_be_asked)
                {
                    for command in commands.iter().filter(|command| tells != Some(**command)) {
                        self.asides.push_back((Aside::Query, (*command).to_owned()));
                    }
                }
            }
        }
    }

    /// The report that proves the end of motion was damaged on its way: it is asked for again, where no question does.
    fn ask_proof(&mut self) {
        let habits = self.dialect.habits();
        let MotionEnd::Commands([.., proof]) = habits.motion_end else { return };
        let asked_anyway = matches!(habits.asking, Asking::Commands { commands, .. } if commands.contains(proof));
        if !asked_anyway && !self.is_asked(Aside::Query) && self.run.as_ref().is_some_and(super::Run::may_be_asked) {
            self.asides.push_back((Aside::Query, (*proof).to_owned()));
        }
    }

    /// Whether a command of this kind waits to be said or for its answer.
    pub(super) fn is_asked(&self, aside: Aside) -> bool {
        self.window.has(aside) || self.asides.iter().any(|(waiting, _)| *waiting == aside)
    }

    /// Between two questions how it is.
    pub(super) fn ask_interval(&self) -> Duration {
        Duration::from_millis(match self.dialect.habits().asking {
            crate::dialect::Asking::Realtime { every_ms } | crate::dialect::Asking::Commands { every_ms, .. } => {
                every_ms
            }
        })
    }
}
