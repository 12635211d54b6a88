//! Flow control as one struct: how much the machine can still take, and what it has not answered yet.
//!
//! *Credit* is what the machine can still take; every answer returns the credit of the oldest frame, whether the
//! line was accepted or refused. The *cursor* (which line is next, see `history`) is moved by sending and by a
//! resend, and by nothing else. Ping-pong is a limit of one line, Marlin's queue a few lines within its receive
//! buffer, Grbl's character counting a limit in bytes. What the *wire* is worth is a limit of its own, the
//! [`Budget`]: on one that damages lines, fewer are on their way.

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
    /// Asks whether it prints from its own card.
    Card,
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

impl Aside {
    /// Whether it asks the machine something, or how it is to talk: nothing comes of it that moves or heats.
    pub fn is_question(self) -> bool {
        matches!(self, Self::Query | Self::Card | Self::Settings | Self::Arm | Self::KeepAlive | Self::AutoReport)
    }
}

/// How many lines a wire is worth. A damaged line takes with it what is behind it: all of that is said again, and the
/// answers to it are waited out first. So each damaged line takes a quarter of the lines, and undamaged answers, or none at
/// all for a while, give them back. With one line on its way nothing is lost but the line itself.
///
/// ```
/// use drivers::flow::Budget;
/// let mut budget = Budget::default();
/// assert_eq!(budget.lines(4), 4);
/// budget.damaged(4);
/// assert_eq!(budget.lines(4), 3);
/// for _ in 0..Budget::CLEAN_ANSWERS {
///     budget.answered(4);
/// }
/// assert_eq!(budget.lines(4), 4);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// At most so many. None: as many as the machine holds.
    lines: Option<usize>,
    /// Answers in a row without damage.
    clean: u32,
}

impl Budget {
    /// Answers in a row after which the wire is worth more lines. Where one line in twenty or more is damaged, that many
    /// hardly ever come in a row, and one line on its way is fastest; where it is one in fifty, several are.
    pub const CLEAN_ANSWERS: u32 = 32;

    /// How many lines may be on their way, of so many that the machine holds.
    pub fn lines(&self, most: usize) -> usize {
        self.lines.map_or(most, |lines| lines.clamp(1, most.max(1)))
    }

    /// Whether it is less than the machine holds.
    pub fn is_narrow(&self) -> bool {
        self.lines.is_some()
    }

    /// A line was damaged.
    pub fn damaged(&mut self, most: usize) {
        self.lines = Some((self.lines(most) * 3 / 4).max(1));
        self.clean = 0;
    }

    /// A line was answered.
    pub fn answered(&mut self, most: usize) {
        if self.lines.is_some() {
            self.clean += 1;
            if self.clean >= Self::CLEAN_ANSWERS {
                self.widen(most);
            }
        }
    }

    /// No answer came for a while: it was lost, or the machine is what is slow. Either way one more line costs nothing.
    pub fn widen(&mut self, most: usize) {
        let lines = self.lines(most);
        let wider = lines + (lines / 4).max(1);
        self.lines = (wider < most).then_some(wider);
        self.clean = 0;
    }
}

/// Frames written and not yet answered, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Window {
    limits: Limits,
    #[serde(default)]
    budget: Budget,
    in_flight: VecDeque<(Frame, usize)>,
    bytes: usize,
    /// The oldest so many are known to have left the receive buffer: the machine's queue of commands holds them.
    #[serde(default)]
    queued: usize,
    /// The same of the oldest so many, for another reason: the machine asked for the line behind them, so that it has read
    /// them, whether it answers them still or not.
    #[serde(default)]
    read: usize,
    /// Since a line was rejected it is not known whether those before it are still answered.
    #[serde(default)]
    doubtful: bool,
}

impl Window {
    /// An empty window.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            budget: Budget::default(),
            in_flight: VecDeque::new(),
            bytes: 0,
            queued: 0,
            read: 0,
            doubtful: false,
        }
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
        self.in_flight.is_empty() || (self.on_the_wire() < self.budget.lines(self.limits.lines) && self.holds(bytes))
    }

    /// Whether the machine has room for a frame of `bytes`, and only the wire is not worth it.
    pub fn is_kept_back(&self, bytes: usize) -> bool {
        !self.has_room(bytes) && self.on_the_wire() < self.limits.lines && self.holds(bytes)
    }

    /// Frames that are not known to have left the receive buffer.
    fn on_the_wire(&self) -> usize {
        self.in_flight.len() - self.out_of_buffer()
    }

    /// The oldest so many are known to have left the receive buffer.
    fn out_of_buffer(&self) -> usize {
        self.queued.max(self.read)
    }

    /// A line was damaged on its way: fewer are on their way from now on.
    pub fn damaged(&mut self) {
        self.budget.damaged(self.limits.lines);
    }

    /// No answer came for a while.
    pub fn widen(&mut self) {
        self.budget.widen(self.limits.lines);
    }

    /// Whether the wire has shown that it damages lines, and not yet that it does not.
    pub fn is_narrow(&self) -> bool {
        self.budget.is_narrow()
    }

    /// Another wire, perhaps: what was known of the last one is forgotten.
    pub fn trust_wire(&mut self) {
        self.budget = Budget::default();
    }

    /// Whether nothing but this command of the job is unanswered.
    pub fn holds_only(&self, ordinal: u64) -> bool {
        matches!(self.in_flight.front(), Some((Frame::Job(job), _)) if *job == ordinal) && self.in_flight.len() == 1
    }

    /// Whether nothing said behind this command of the job is unanswered: it was said last, or not yet.
    pub fn holds_nothing_behind(&self, ordinal: u64) -> bool {
        let before = |(frame, _): &&(Frame, usize)| !matches!(frame, Frame::Job(job) if *job >= ordinal);
        let mut rest = self.in_flight.iter().skip_while(before);
        rest.next().is_none_or(|(frame, _)| *frame == Frame::Job(ordinal)) && rest.next().is_none()
    }

    /// Whether the machine's receive buffer holds so many bytes more, however many frames are unanswered.
    pub fn holds(&self, bytes: usize) -> bool {
        let queued: usize = self.in_flight.iter().take(self.out_of_buffer()).map(|(_, bytes)| bytes).sum();
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
        self.budget.answered(self.limits.lines);
        self.queued = self.queued.saturating_sub(1);
        self.read = self.read.saturating_sub(1);
        self.doubtful &= !self.in_flight.is_empty();
        Some(frame)
    }

    /// The machine rejected that command, and everything behind it with it: none of them is answered any more. What
    /// was said before it still is: by most machines, see [`Window::is_doubtful`]. All of it has left the receive buffer.
    pub fn reject_from(&mut self, ordinal: u64) {
        let rejected = |(frame, _): &(Frame, usize)| matches!(frame, Frame::Job(job) if *job >= ordinal);
        if let Some(at) = self.in_flight.iter().position(rejected) {
            self.bytes -= self.in_flight.drain(at..).map(|(_, bytes)| bytes).sum::<usize>();
            self.queued = self.queued.min(at);
        }
        self.read = self.in_flight.len();
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

    /// How many commands of this kind have no answer yet.
    pub fn count(&self, aside: Aside) -> usize {
        self.in_flight.iter().filter(|(frame, _)| *frame == Frame::Aside(aside)).count()
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
        self.read = 0;
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
    fn a_damaged_line_narrows_the_window_and_clean_answers_or_quiet_widen_it() {
        let mut window = Window::new(Limits { lines: 16, bytes: 1000 });
        let room = |window: &mut Window| {
            window.clear();
            let mut lines = 0;
            while window.has_room(10) {
                window.sent(Frame::Job(lines), 10);
                lines += 1;
            }
            lines
        };
        let mut worth = Vec::new();
        for _ in 0..9 {
            worth.push(room(&mut window));
            window.damaged();
        }
        assert_eq!(worth, [16, 12, 9, 6, 4, 3, 2, 1, 1]);
        window.clear();
        window.sent(Frame::Job(1), 10);
        assert!(!window.has_room(10) && window.is_kept_back(10) && !window.is_kept_back(1000));
        assert!(window.holds_only(1) && !window.holds_only(2));
        window.widen();
        assert!(window.has_room(10) && !window.holds_only(2));
        for line in 0..u64::from(Budget::CLEAN_ANSWERS) * 16 {
            window.sent(Frame::Job(line), 10);
            window.answered();
        }
        assert_eq!(room(&mut window), 16);
        assert!(!window.is_narrow());
        window.damaged();
        window.trust_wire();
        assert_eq!(room(&mut window), 16, "another cable");
    }

    #[test]
    fn a_frame_larger_than_the_buffer_goes_alone() {
        let mut window = Window::new(Limits { lines: 4, bytes: 20 });
        assert!(window.has_room(30));
        window.sent(Frame::Job(1), 30);
        assert!(!window.has_room(1));
    }
}
