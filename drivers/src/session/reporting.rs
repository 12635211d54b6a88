//! What a machine was asked to tell by itself, so that it need not be asked between the lines of a job, and what it says
//! of its queues.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Session;
use crate::dialect::{Asking, MotionEnd};
use crate::flow::Aside;
use crate::moment::Moment;

/// Intervals without a temperature after which a machine that was told to report them is asked again.
const UNTOLD_INTERVALS: u32 = 3;

/// Most places of a command queue that are believed. Marlin's `BUFSIZE` is 4, and a few dozen on boards with memory;
/// answers carry no checksum, and a damaged one must not open the window.
const QUEUE_MAX: u32 = 64;

/// Answers that must come well, one after the other, before what they say of the queue counts.
const GOOD_ANSWERS: u32 = 16;

/// Most planner blocks that are believed. Marlin's `BLOCK_BUFFER_SIZE` is at most 64.
const PLANNER_MAX: u32 = 256;

/// Quiet after which a position that was asked for will not be told any more: the question or its answer was lost.
const POSITION_LOST: Duration = Duration::from_secs(1);

/// What was asked, and what it said.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Reporting {
    /// It has no word for being busy, or the program switched that off: silence means nothing.
    pub(super) silent: bool,
    /// It reports temperatures by itself.
    pub(super) temperatures: bool,
    /// Most planner blocks it ever said were free.
    pub(super) planner_free_max: u32,
    /// Free places of its queue with nothing else in flight, as it said last; and whether it said so twice.
    queue_free_at_rest: Option<u32>,
    queue_size: Option<u32>,
    /// Unanswered lines that its last answer showed to be in its queue.
    queued: usize,
    /// Answers in a row that came as they should.
    good_answers: u32,
    /// Positions that were asked for and not told yet, and when one was asked for or told last.
    #[serde(default)]
    positions_due: u32,
    #[serde(default)]
    position_at: Moment,
    /// It was shown to stand still since it said who it is.
    #[serde(default)]
    pub(super) stood: bool,
}

impl Reporting {
    /// Something was damaged or lost: what is in the machine's queue is not known until answers come well again.
    pub(super) fn queue_unknown(&mut self) {
        (self.queued, self.good_answers) = (0, 0);
    }

    /// A position was asked for.
    pub(super) fn position_asked(&mut self, now: Moment) {
        self.positions_due = self.positions_due.saturating_add(1);
        self.position_at = now;
    }

    /// Positions that were asked for will not be told any more: nothing was said for so long.
    pub(super) fn positions_lost(&mut self) {
        self.positions_due = 0;
    }

    /// A position was told. True: it answers the last question for one. A doubled `ok` makes the session take an earlier
    /// question for answered, and its answer for that to the question behind the end of motion.
    pub(super) fn position_told(&mut self, now: Moment) -> bool {
        self.positions_due = self.positions_due.saturating_sub(1);
        self.position_at = now;
        self.positions_due == 0
    }

    /// Whether a position was asked for and not told yet.
    pub(super) fn expects_position(&self) -> bool {
        self.positions_due > 0
    }

    /// Whether a position that was asked for is still to be waited for. `answered`: everything said was answered.
    fn position_is_due(&mut self, now: Moment, answered: bool) -> bool {
        if answered && now.since(self.position_at) >= POSITION_LOST {
            self.positions_due = 0;
        }
        self.positions_due > 0
    }

    /// Notes a program's line that changes what the machine tells.
    pub(super) fn program_says(&mut self, text: &[u8]) {
        if let Some(rest) = text.strip_prefix(b"M113S") {
            self.silent = rest.first() == Some(&b'0');
        }
    }
}

impl Session {
    /// While the end of motion is waited for, whether the machine still owes a position: then it is asked for no other.
    pub(super) fn owes_position(&mut self) -> bool {
        self.reporting.position_is_due(self.now, self.window.is_empty())
    }

    /// Whether nothing shows yet that the machine stands still: a job that was lost with the last connection may still
    /// move it. Only one that does not report its state has to prove it.
    pub(super) fn may_still_move(&self) -> bool {
        self.dialect.habits().stands_by_word() && !self.reporting.stood
    }

    /// Asks for the proof that a machine stands still that has just said who it is, or again where that was lost.
    pub(super) fn ask_whether_it_stands(&mut self) {
        if !self.may_still_move() || self.run.is_some() {
            return;
        }
        let habits = self.dialect.habits();
        if let (MotionEnd::Commands(commands), true) = (habits.motion_end, habits.ok_when_taken) {
            // Its answers show nothing, but where it stands is said in its turn.
            if !self.owes_position() {
                self.asides.extend(commands.iter().map(|word| (Aside::Query, (*word).to_owned())));
            }
        } else if !self.is_asked(Aside::HoldProof) {
            self.ask_hold_proof();
        }
    }

    /// Asks the machine, once it rests, to tell by itself what it can.
    pub(super) fn ask_to_report(&mut self) {
        let habits = self.dialect.habits();
        if let Some(word) = habits.keepalive_word {
            self.asides.push_back((Aside::KeepAlive, word.to_owned()));
        }
        let Some(report) = habits.auto_report else { return };
        let capabilities = self.known.identity.iter().flat_map(|identity| &identity.capabilities);
        if capabilities.into_iter().any(|capability| capability == report.capability) {
            self.asides.push_back((Aside::AutoReport, report.word.to_owned()));
        }
    }

    /// Questions that need not be asked: the machine tells by itself. One that does not, though it was told to, is asked
    /// again from then on.
    pub(super) fn told_unasked(&mut self) -> Option<&'static str> {
        let report = self.dialect.habits().auto_report.filter(|_| self.reporting.temperatures)?;
        let newest = self.known.temperatures.iter().map(|temperature| temperature.actual_c.at).max();
        let patience = self.ask_interval() * UNTOLD_INTERVALS;
        self.reporting.temperatures = newest.is_some_and(|at| self.now.since(at) <= patience);
        self.reporting.temperatures.then_some(report.question)
    }

    /// The machine does not know a command: if that is the one that makes it say when it is busy, it never does.
    pub(super) fn may_be_silent(&mut self, text: &str) {
        let asked = self.dialect.habits().keepalive_word.and_then(|word| word.split_whitespace().next());
        self.reporting.silent |= asked.is_some_and(|word| text.contains(word));
    }

    /// Blocks of the planner, given so many that are free now: what the machine reports, or the most it ever said.
    pub(super) fn planner_size(&mut self, free: u32) -> u32 {
        if free <= PLANNER_MAX {
            self.reporting.planner_free_max = self.reporting.planner_free_max.max(free);
        }
        let reported = self.known.identity.as_ref().and_then(|identity| identity.planner_blocks);
        let told = matches!(self.dialect.habits().asking, Asking::Commands { .. });
        match reported {
            None if told => self.reporting.planner_free_max.max(1),
            _ => self.planner_blocks(),
        }
    }

    /// An answer says how many places of the machine's queue are free: the lines in it no longer fill its receive
    /// buffer, so that more may be sent. How many there are is what it says with nothing else in flight, twice alike; of
    /// two answers in a row the one that lets less be sent counts; and one line in the queue is not counted, because an
    /// answer whose number was damaged settles one line too many. Where answers arrive damaged, none of it counts.
    pub(super) fn queue_evidence(&mut self, free: Option<u32>) {
        let Some(free) = free.filter(|free| *free < QUEUE_MAX) else {
            self.reporting.queued = 0;
            return self.window.queued(0);
        };
        if self.window.is_empty() {
            let before = self.reporting.queue_free_at_rest.replace(free);
            if before == Some(free) {
                // The answered line still has its place.
                self.reporting.queue_size = Some(free + 1);
            }
        }
        let waiting = self.reporting.queue_size.map_or(0, |size| size.saturating_sub(free + 2)) as usize;
        self.reporting.good_answers = self.reporting.good_answers.saturating_add(1);
        let waiting = if self.reporting.good_answers > GOOD_ANSWERS { waiting } else { 0 };
        let before = std::mem::replace(&mut self.reporting.queued, waiting);
        self.window.queued(waiting.min(before));
    }
}
