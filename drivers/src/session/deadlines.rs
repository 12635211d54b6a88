//! When a session wants to be called again, and what it does then.

use serde::{Deserialize, Serialize};

use super::Session;
use crate::moment::Moment;

/// When the session wants to be called again, by reason.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Deadlines {
    /// The next attempt to find out who is there.
    pub(super) greet: Option<Moment>,
    /// The next question how the machine is.
    pub(super) ask: Option<Moment>,
    /// An answer is overdue then.
    pub(super) answer: Option<Moment>,
    /// Answers to a rejected run of lines have all come by then.
    pub(super) settle: Option<Moment>,
    /// A hold on the way to a cancel has taken long enough.
    pub(super) drop: Option<Moment>,
    /// A jog ends then if nobody asks for it again; or, once it was let go, must have come to its end.
    #[serde(default)]
    pub(super) jog: Option<Moment>,
    /// Why a machine halted is told by then, whether it said so or not.
    #[serde(default)]
    pub(super) why: Option<Moment>,
    /// A clear that has shown nothing by then is said again, or given up.
    #[serde(default)]
    pub(super) clear: Option<Moment>,
    /// A job that is being ended is made safe by then, or over, whatever was heard.
    #[serde(default)]
    pub(super) end: Option<Moment>,
    /// Nothing was heard for so long then that what is known is old.
    #[serde(default)]
    pub(super) quiet: Option<Moment>,
    /// A spindle that was switched on again has its speed by then, and the machine may go on.
    #[serde(default)]
    pub(super) spin_up: Option<Moment>,
    /// An error that no table knows stands by then: no request to say a line again came behind it.
    #[serde(default)]
    pub(super) doubt: Option<Moment>,
    /// No answer came for so long that one more line is worth it, on a wire that damages some.
    #[serde(default)]
    pub(super) widen: Option<Moment>,
}

impl Deadlines {
    /// The first of them.
    pub(super) fn next(&self) -> Option<Moment> {
        let Self { greet, ask, answer, settle, drop, jog, why, spin_up, clear, end, quiet, doubt, widen } = *self;
        let all = [greet, ask, answer, settle, drop, jog, why, spin_up, clear, end, quiet, doubt, widen];
        all.into_iter().flatten().min()
    }
}

impl Session {
    /// Does what is due.
    pub(super) fn pass_deadlines(&mut self) {
        self.note_lateness();
        let due = |deadline: &mut Option<Moment>, now: Moment| deadline.take_if(|at| *at <= now).is_some();
        if due(&mut self.deadlines.greet, self.now) {
            self.greet();
        }
        if due(&mut self.deadlines.ask, self.now) {
            self.ask();
        }
        if due(&mut self.deadlines.settle, self.now) {
            self.settle();
        }
        if due(&mut self.deadlines.answer, self.now) {
            self.answer_overdue();
        }
        if due(&mut self.deadlines.drop, self.now) {
            self.drop_queued();
        }
        if due(&mut self.deadlines.jog, self.now) {
            self.jog_due();
        }
        if due(&mut self.deadlines.why, self.now) {
            self.tell_halt();
        }
        if due(&mut self.deadlines.widen, self.now) {
            self.window.widen();
        }
        if due(&mut self.deadlines.spin_up, self.now) {
            self.spun_up();
        }
        if due(&mut self.deadlines.clear, self.now) {
            self.clear_due();
        }
        if due(&mut self.deadlines.end, self.now) {
            self.end_overdue();
        }
        if due(&mut self.deadlines.quiet, self.now) {
            self.fell_quiet();
        }
        if due(&mut self.deadlines.doubt, self.now) {
            self.doubt_is_over();
        }
        self.spindle_overdue();
    }
}
