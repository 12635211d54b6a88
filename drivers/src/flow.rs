//! Flow control as one struct: how much the machine can still take, and what it has not answered yet.
//!
//! *Credit* is what the machine can still take; every answer returns the credit of the oldest frame, whether the
//! line was accepted or refused. The *cursor* (which line is next, see `history`) is moved by sending and by a
//! resend, and by nothing else. Ping-pong is a limit of one line, Marlin's queue a few lines within its receive
//! buffer, Grbl's character counting a limit in bytes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How much may be unanswered at once. Both limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Frames.
    pub lines: usize,
    /// Bytes, line ends included. At most what the machine's receive buffer holds.
    pub bytes: usize,
}

/// What a frame in flight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// A command of the job, by its ordinal (1 is the first).
    Job(u64),
    /// A command of the agent's own.
    Aside(Aside),
}

/// What a command of the agent's own is for, and so what its answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aside {
    /// Asks how the machine is.
    Query,
    /// Sets the machine's line counter before a job.
    CounterReset,
    /// Answered when a machine without a feed hold stands still.
    HoldProof,
    /// A word a person asked for: unlock, an override, an answer.
    Word,
    /// A homing cycle a person asked for.
    Home,
    /// Part of a jog.
    Jog,
    /// Part of a probing move.
    Probe,
    /// Asks for the machine's settings; a refusal means that it has none.
    Settings,
    /// Arms the firmware's own timer.
    Arm,
    /// Makes sure that the firmware says when it is busy; one that does not know the word never does.
    KeepAlive,
    /// Makes the firmware report by itself.
    AutoReport,
    /// Unlocks it, because a person looked at it.
    Unlock,
    /// An empty line, which ends an error that makes the machine refuse everything behind it.
    Unstick,
    /// A line of a job that is over.
    Past,
}

/// Frames written and not yet answered, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Window {
    limits: Limits,
    in_flight: VecDeque<(Frame, usize)>,
    bytes: usize,
    /// The oldest so many are known to have left the receive buffer: the machine's queue of commands holds them.
    #[serde(default)]
    queued: usize,
    /// Since a line was rejected it is not known whether those before it are still answered.
    #[serde(default)]
    doubtful: bool,
}

impl Window {
    /// An empty window.
    pub fn new(limits: Limits) -> Self {
        Self { limits, in_flight: VecDeque::new(), bytes: 0, queued: 0, doubtful: false }
    }

    /// Changes the limits, for a machine that reported its real buffer.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether a frame of `bytes` may be written now. A frame larger than the whole buffer may go alone: the
    /// machine must then be reading, since nothing else is in flight.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.in_flight.is_empty() || (self.in_flight.len() - self.queued < self.limits.lines && self.holds(bytes))
    }

    /// Whether the machine's receive buffer holds so many bytes more, however many frames are unanswered.
    pub fn holds(&self, bytes: usize) -> bool {
        let queued: usize = self.in_flight.iter().take(self.queued).map(|(_, bytes)| bytes).sum();
        self.bytes - queued + bytes <= self.limits.bytes
    }

    /// The job is over, and its lines are still to be answered: their answers mean nothing to what is said now.
    pub fn disown(&mut self) {
        for (frame, _) in &mut self.in_flight {
            *frame = Frame::Aside(Aside::Past);
        }
    }

    /// Notes a frame as written.
    pub fn sent(&mut self, frame: Frame, bytes: usize) {
        self.in_flight.push_back((frame, bytes));
        self.bytes += bytes;
    }

    /// Takes one answer: returns the oldest frame's credit. `None` means that nothing was outstanding.
    pub fn answered(&mut self) -> Option<Frame> {
        let (frame, bytes) = self.in_flight.pop_front()?;
        self.bytes -= bytes;
        self.queued = self.queued.saturating_sub(1);
        self.doubtful &= !self.in_flight.is_empty();
        Some(frame)
    }

    /// The machine rejected that command, and everything behind it with it: none of them is answered any more. What
    /// was said before it still is: by most machines, see [`Window::is_doubtful`].
    pub fn reject_from(&mut self, ordinal: u64) {
        let rejected = |(frame, _): &(Frame, usize)| matches!(frame, Frame::Job(job) if *job >= ordinal);
        if let Some(at) = self.in_flight.iter().position(rejected) {
            self.bytes -= self.in_flight.drain(at..).map(|(_, bytes)| bytes).sum::<usize>();
            self.queued = self.queued.min(at);
        }
        self.doubtful |= !self.in_flight.is_empty();
    }

    /// Whether a frame may be unanswered for ever: it was said before a line that the machine rejected. A machine
    /// that asks for the line behind the one it threw away (OctoPrint's virtual printer with `resend_ratio`) never
    /// answers the one it threw away.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// The oldest command of the job that has no answer yet.
    pub fn oldest_job(&self) -> Option<u64> {
        self.jobs().next()
    }

    /// The machine says that the oldest so many unanswered frames wait in its queue, and no longer in its receive
    /// buffer. What it says replaces what it said before.
    pub fn queued(&mut self, frames: usize) {
        self.queued = frames.min(self.in_flight.len());
    }

    /// The oldest frame that has no answer yet.
    pub fn oldest(&self) -> Option<Frame> {
        self.in_flight.front().map(|(frame, _)| *frame)
    }

    /// How many frames were said before the last question how the machine is. None: no question is unanswered.
    pub fn said_before_query(&self) -> Option<usize> {
        self.in_flight.iter().rposition(|(frame, _)| *frame == Frame::Aside(Aside::Query))
    }

    /// Answers were lost: any frame may be unanswered for ever.
    pub fn doubt(&mut self) {
        self.doubtful = !self.in_flight.is_empty();
    }

    /// What was in doubt is known: every frame that is left will be answered.
    pub fn doubt_is_over(&mut self) {
        self.doubtful = false;
    }

    /// The job's commands that have no answer yet.
    pub fn jobs(&self) -> impl Iterator<Item = u64> + '_ {
        self.in_flight.iter().filter_map(|(frame, _)| match frame {
            Frame::Job(ordinal) => Some(*ordinal),
            Frame::Aside(_) => None,
        })
    }

    /// Whether a word a person asked for has no answer yet.
    pub fn has_word(&self) -> bool {
        [Aside::Word, Aside::Home, Aside::Jog, Aside::Probe].into_iter().any(|aside| self.has(aside))
    }

    /// Whether a command of this kind has no answer yet.
    pub fn has(&self, aside: Aside) -> bool {
        self.in_flight.iter().any(|(frame, _)| *frame == Frame::Aside(aside))
    }

    /// Whether every frame was answered.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Frames without an answer.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Bytes without an answer.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything in flight: the machine restarted, or said exactly where it stands.
    pub fn clear(&mut self) {
        self.in_flight.clear();
        self.bytes = 0;
        self.queued = 0;
        self.doubtful = false;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_refused_line_returns_its_credit_like_an_accepted_one() {
        let mut window = Window::new(Limits { lines: 4, bytes: 20 });
        window.sent(Frame::Job(1), 12);
        assert!(window.has_room(8));
        assert!(!window.has_room(9), "20 bytes are all the machine can hold");
        window.sent(Frame::Aside(Aside::Query), 8);
        assert_eq!(window.answered(), Some(Frame::Job(1)));
        assert_eq!(window.bytes(), 8);
        assert_eq!(window.answered(), Some(Frame::Aside(Aside::Query)));
        assert_eq!(window.answered(), None);
    }

    #[test]
    fn what_was_said_before_a_rejected_line_is_still_answered() {
        let mut window = Window::new(Limits { lines: 8, bytes: 100 });
        for (frame, bytes) in
            [(Frame::Job(4), 10), (Frame::Aside(Aside::Query), 5), (Frame::Job(5), 10), (Frame::Job(6), 10)]
        {
            window.sent(frame, bytes);
        }
        window.reject_from(5);
        assert_eq!((window.bytes(), window.len(), window.oldest_job()), (15, 2, Some(4)));
        window.reject_from(7);
        assert_eq!(window.len(), 2, "nothing of that was in flight");
        assert!(window.is_doubtful(), "the machine may have thrown away the line before the one it asked for");
        window.answered();
        assert!(window.is_doubtful());
        window.answered();
        assert!(!window.is_doubtful(), "everything was answered");
        window.sent(Frame::Job(5), 10);
        window.reject_from(5);
        assert!(!window.is_doubtful(), "nothing was said before it");
    }

    #[test]
    fn a_frame_that_left_the_receive_buffer_makes_room_for_another() {
        let mut window = Window::new(Limits { lines: 2, bytes: 20 });
        window.sent(Frame::Job(1), 10);
        window.sent(Frame::Job(2), 10);
        assert!(!window.has_room(1));
        window.queued(1);
        assert!(window.has_room(10) && !window.has_room(11));
        window.sent(Frame::Job(3), 10);
        assert!(!window.has_room(1));
        // The answer is to the one in the queue: nothing else has left the buffer.
        window.answered();
        assert!(!window.has_room(1));
        window.queued(100);
        assert!(window.has_room(20), "no more can have left than was sent");
        window.clear();
        window.sent(Frame::Job(4), 20);
        assert!(!window.has_room(1), "a new conversation begins with nothing known");
    }

    #[test]
    fn a_frame_larger_than_the_buffer_goes_alone() {
        let mut window = Window::new(Limits { lines: 4, bytes: 20 });
        assert!(window.has_room(30));
        window.sent(Frame::Job(1), 30);
        assert!(!window.has_room(1));
    }
}
