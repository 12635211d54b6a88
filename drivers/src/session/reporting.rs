//! What a machine was asked to tell by itself, so that it need not be asked between the lines of a job, and what it says
//! of its queues.

use serde::{Deserialize, Serialize};

use super::Session;
use crate::dialect::Asking;
use crate::event::EventKind;
use crate::flow::Aside;

/// Intervals without a temperature after which a machine that was told to report them is asked again.
const UNTOLD_INTERVALS: u32 = 3;

/// Most places of a command queue that are believed. Marlin's `BUFSIZE` is 4, and a few dozen on boards with memory;
/// answers carry no checksum, and a damaged one must not open the window.
const QUEUE_MAX: u32 = 64;

/// Answers that must come well, one after the other, before what they say of the queue counts.
const GOOD_ANSWERS: u32 = 16;

/// Most planner blocks that are believed. Marlin's `BLOCK_BUFFER_SIZE` is at most 64.
const PLANNER_MAX: u32 = 256;

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
}

impl Reporting {
    /// Something was damaged or lost: what is in the machine's queue is not known until answers come well again.
    pub(super) fn queue_unknown(&mut self) {
        (self.queued, self.good_answers) = (0, 0);
    }

    /// Notes a program's line that changes what the machine tells.
    pub(super) fn program_says(&mut self, text: &[u8]) {
        if let Some(rest) = text.strip_prefix(b"M113S") {
            self.silent = rest.first() == Some(&b'0');
        }
    }
}

impl Session {
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

    /// The machine does not know a command.
    pub(super) fn note_unknown(&mut self, text: &str) {
        let asked = self.dialect.habits().keepalive_word.and_then(|word| word.split_whitespace().next());
        if asked.is_some_and(|word| text.contains(word)) {
            self.reporting.silent = true;
        }
        self.tell(EventKind::Message { text: text.to_owned() });
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
