//! Saying a run's lines: within the window, each once, again when asked, and finished only when motion has ended.

use std::time::Duration;

use gcode_tools::block::Block;
use gcode_tools::wire::{self, Compacted};

use super::barrier::{dwell, ends_program, must_go_alone};
use super::by_hand::homing_word;
use super::driven::Said;
use super::person::person_changes_tool;
use super::{Phase, Session, Stage};
use crate::dialect::{Asking, Calm, MotionEnd, Spelling};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::history::Command;
use crate::interlock;
use crate::notice::Notice;
use crate::session::run::Run;
use crate::snapshot::{Cause, JobPhase};

/// Quiet after which an answer is lost or long in coming, as far as the wire's budget goes: above what any line takes to
/// come and be answered (96 bytes at 115200 baud are 8 ms, and adapters hold back answers for 16 ms).
const ANSWER_QUIET: Duration = Duration::from_millis(50);

impl Session {
    /// Takes the next line of the program.
    pub(super) fn program_line(&mut self, number: u64, bytes: &[u8]) {
        let send_comments = self.profile.stream.send_comments;
        let habits = self.dialect.habits();
        let Some(run) = &mut self.run else { return };
        if !run.from_file {
            return;
        }
        (run.fed_line, run.stalled) = (number, None);
        if number < run.from_line {
            return;
        }
        run.layers.read(number, bytes);
        if run.end_line.is_some_and(|end| number > end) {
            return;
        }
        let block = Block::new(bytes);
        self.spelled.clear();
        let alphabet = habits.alphabet();
        let written = wire::write(&block, alphabet, self.numbers, &mut self.spelled);
        // Of a line that is nothing but bytes that must not be sent, such as Ctrl-Z behind the end, nothing is left.
        if written == Compacted::Nothing || self.spelled.is_empty() {
            return;
        }
        // The line counter is the session's own; a program that sets it would break the numbering.
        if habits.numbered && self.spelled.starts_with(b"M110") {
            return;
        }
        if !habits.printer && !habits.keeps_lines() && ends_program(&self.spelled) {
            run.end_line = Some(number);
        }
        self.reporting.program_says(&self.spelled);
        if send_comments && block.line_number().is_none() {
            self.spelled.clear();
            wire::write_as_it_stands(&block, alphabet, self.numbers, &mut self.spelled);
        }
        run.history.push(command(number, &self.spelled));
        let waited = run.starved_since.take().map_or(0, |since| self.now.since(since).as_millis());
        self.known.link.starved_ms += u64::try_from(waited).unwrap_or(0);
    }

    /// The program has no more lines: what proves the end of motion follows.
    pub(super) fn program_end(&mut self) {
        let proof = self.dialect.habits().motion_end;
        let Some(run) = &mut self.run else { return };
        if run.history.is_complete() {
            return;
        }
        run.commands = Some(run.history.end() - 1 - run.lead);
        let line = run.progress.lines;
        match proof {
            MotionEnd::Commands(commands) => {
                for text in commands {
                    run.history.push(command(line, text.as_bytes()));
                }
            }
            // What ends a job safely starts nothing.
            MotionEnd::Started(start) if run.from_file => run.history.push(command(line, start.as_bytes())),
            MotionEnd::Started(_) | MotionEnd::IdleReport => {}
        }
        run.history.finish();
    }

    /// Nothing more can be read for now. What was read is said first: the machine stands where the program broke off, and
    /// not somewhere before.
    pub(super) fn program_stalled(&mut self, notice: Notice) {
        if let Some(run) = self.run.as_mut().filter(|run| run.from_file && !run.history.is_complete()) {
            run.stalled = Some(notice);
        }
    }

    pub(super) fn program_trouble(&mut self, notice: Notice) {
        self.cancel_as(JobPhase::Failed, Some(notice));
    }

    /// Writes whatever the machine can take now.
    pub(super) fn pump(&mut self) {
        if matches!(self.phase, Phase::Ready) {
            if self.run.as_ref().is_some_and(|run| run.stuck.is_some()) {
                // Asked again where its answer was lost.
                self.unstick();
            }
            self.pump_asides();
            self.pump_job();
        } else if self.clearing.is_some() && self.phase == Phase::Alarm {
            self.pump_asides();
        }
        self.check_proof();
        self.check_cancel();
        if self.deadlines.answer.is_none() && !self.window.is_empty() {
            self.await_answer();
        }
    }

    pub(super) fn pump_asides(&mut self) {
        while let Some((aside, text)) = self.asides.front() {
            if !self.aside_may_go(*aside) {
                return;
            }
            let habits = self.dialect.habits();
            let number = (*aside == Aside::CounterReset).then_some(0);
            self.spelled.clear();
            match interlock::clear(text.as_bytes(), &self.profile, habits) {
                Ok(cleared) => self.dialect.spell(cleared, number, &mut self.spelled),
                Err(notice) => {
                    self.asides.pop_front();
                    self.tell(EventKind::Trouble { notice });
                    continue;
                }
            }
            self.packing.pack(&mut self.spelled);
            let length = self.spelled.len();
            // What a person says waits for room in the machine, and not for what the wire is worth: "go on" may be what
            // the line in front of it waits for.
            let by_person = *aside == Aside::Word && self.window.is_kept_back(length);
            if !(self.window.has_room(length) || by_person) {
                return;
            }
            self.window.sent(Frame::Aside(*aside), self.spelled.len());
            if habits.asks_position(text.as_bytes()) {
                self.reporting.position_asked(self.now);
            }
            self.asides.pop_front();
            self.write_spelled();
        }
    }

    /// Asides wait while answers to a rejected stretch come in; what marks a point in the stream goes alone.
    fn aside_may_go(&self, aside: Aside) -> bool {
        if self.run.as_ref().is_some_and(|run| {
            run.resync.is_some() || (run.alone_until.is_some() && matches!(aside, Aside::Query | Aside::Card))
        }) {
            return false;
        }
        match aside {
            Aside::CounterReset | Aside::HoldProof => self.window.is_empty(),
            _ => true,
        }
    }

    #[expect(clippy::too_many_lines, reason = "a line's way is told in one place, and each step of it may end it")]
    pub(super) fn pump_job(&mut self) {
        let driven = self.is_driven();
        let habits = self.dialect.habits();
        let answer_timeout = Duration::from_millis(self.profile.stream.answer_timeout_ms);
        // Only reports tell often enough where a machine is to hold the program's way against it.
        let follows = matches!(habits.asking, Asking::Realtime { .. });
        loop {
            let Some(run) = &mut self.run else { return };
            let waits = run.resync.is_some() || run.alone_until.is_some() || run.stuck.is_some();
            if run.stage != Stage::Streaming || waits {
                return;
            }
            self.packing.begin();
            let ordinal = run.history.cursor();
            if run.history.next().is_none() {
                if run.from_file && !run.history.is_complete() && run.accepted > run.lead && self.window.has_room(1) {
                    run.starved_since.get_or_insert(self.now);
                }
                if let Some(notice) = run.stalled.clone().filter(|_| self.window.is_empty()) {
                    return self.hold(Cause::Interlock, Some(notice));
                }
                break;
            }
            let said = if driven && ordinal > run.lead { self.spindle_first(ordinal) } else { Said::Whole };
            let rest = match said {
                Said::Wait => return,
                Said::Nothing => continue,
                Said::Whole => None,
                Said::Rest(rest) => Some(rest),
            };
            let Some(run) = &mut self.run else { return };
            let Some(next) = run.history.next() else { return };
            let text = rest.as_deref().unwrap_or(&next.text);
            let alone = !run.unheard && (ordinal <= run.lead || must_go_alone(&next.text, habits));
            if alone && !self.window.is_empty() {
                return;
            }
            if alone || next.text.first() == Some(&b'T') {
                self.person.note_tool(&next.text);
                if alone && person_changes_tool(&next.text, &self.profile, habits) {
                    return self.ask_for_tool(ordinal);
                }
            }
            let homing = homing_word(&next.text, habits.printer);
            let cleared = match interlock::clear(text, &self.profile, habits) {
                Ok(cleared) => cleared,
                Err(mut notice) => {
                    notice.happened = format!("Line {} was not sent: {}", next.program_line, notice.happened);
                    return self.hold(Cause::Interlock, Some(notice));
                }
            };
            self.spelled.clear();
            let number = (habits.numbered && !run.unheard).then_some(ordinal);
            self.dialect.spell(cleared, number, &mut self.spelled);
            let patience = if alone { dwell(&next.text, habits) + answer_timeout } else { Duration::ZERO };
            self.packing.pack(&mut self.spelled);
            let length = self.spelled.len();
            if !(self.window.has_room(length) || run.unheard && self.window.holds(length)) {
                if self.window.is_kept_back(length) {
                    self.deadlines.widen.get_or_insert(self.now + ANSWER_QUIET);
                }
                return;
            }
            self.window.sent(Frame::Job(ordinal), length);
            if habits.asks_position(&next.text) {
                self.reporting.position_asked(self.now);
            }
            if follows {
                run.reach.follow(&next.text);
            }
            run.alone_until = alone.then_some(self.now + patience);
            run.sent = run.sent.max(ordinal);
            run.progress.bytes += length as u64;
            run.homing = homing.map(|homed| (ordinal, homed)).or(run.homing);
            run.idle_reports = 0;
            (run.position_seen, run.stands_for_tool) = (false, false);
            run.history.advance();
            self.write_spelled();
        }
        if let Some(run) = &mut self.run {
            if run.history.is_sent() {
                run.stage = Stage::Proving;
            }
        }
    }

    /// Says a short line of the agent's own although the window is full: what a machine acts on as it arrives must not
    /// wait for room. It is answered in its turn, like any other. The bytes that the window leaves of the receive
    /// buffer hold it; if they do not, only its answer is lost.
    pub(super) fn say_past_window(&mut self, line: &str) {
        let Ok(cleared) = interlock::clear(line.as_bytes(), &self.profile, self.dialect.habits()) else {
            return;
        };
        self.spelled.clear();
        self.dialect.spell(cleared, None, &mut self.spelled);
        self.packing.pack(&mut self.spelled);
        self.window.sent(Frame::Aside(Aside::Word), self.spelled.len());
        self.write_spelled();
    }

    /// Writes a line of the agent's own beside all flow control, to a machine that takes no others.
    pub(super) fn write_past_window(&mut self, line: &str) {
        self.wire.extend_from_slice(line.as_bytes());
        self.wire.push(b'\n');
        self.known.link.bytes_out += line.len() as u64 + 1;
    }

    pub(super) fn write_spelled(&mut self) {
        let bytes = self.spelled.len() as u64;
        self.known.link.bytes_out += bytes;
        self.note_line_out(bytes);
        self.packing.written();
        self.wire.extend_from_slice(&self.spelled);
    }

    /// A machine that cannot drop what it has queued is made safe once it has answered everything.
    fn check_cancel(&mut self) {
        let cancelling = self.run.as_ref().is_some_and(|run| run.stage == Stage::Cancelling && run.resync.is_none());
        if cancelling && self.window.is_empty() && self.dialect.calm(Calm::Drop) == Spelling::None {
            if !self.asks_where_it_stands() {
                self.begin_safe_end();
            }
            self.pump_asides();
        }
    }

    /// The job is over, in whatever way.
    pub(super) fn end_run(&mut self, phase: JobPhase, notice: Option<Notice>) {
        if let Some((job, phase, notice)) = self.close_run(phase, notice) {
            self.tell(EventKind::Job { job, phase, notice });
        }
        if let Some(other) = self.stranger.take() {
            self.wrong_machine(&other);
        }
    }

    /// The same, and what is to be told of it: which job, how it is called, and why.
    pub(super) fn close_run(
        &mut self,
        phase: JobPhase,
        notice: Option<Notice>,
    ) -> Option<(String, JobPhase, Option<Notice>)> {
        let mut run = self.run.take()?;
        self.spindle_ends();
        let mut progress = run.progress();
        if run.let_motors_go(&self.profile.safety.safe_end) {
            self.by_hand.homed = false;
        }
        if run.is_safe_end() {
            self.made_safe();
        }
        // A job that was already being ended keeps the reason it had.
        let (phase, notice) = match run.ending.take().or_else(|| self.pending_ending.take()) {
            Some(ending) if phase != JobPhase::Finished => (ending.phase, ending.notice.or(notice)),
            _ => (phase, notice),
        };
        if phase == JobPhase::Finished {
            progress.executed = progress.commands.saturating_sub(progress.refused + progress.ignored);
            progress.executed_line = progress.executed_line.max(progress.lines);
        }
        progress.phase = phase;
        progress.ended_at = Some(self.now);
        self.known.job = Some(progress);
        self.known.job_link = self.known.link.since(&run.link_before);
        self.packing.end(&mut self.wire);
        self.deadlines.settle = None;
        self.deadlines.drop = None;
        self.deadlines.end = None;
        self.reread = None;
        // What was told of a job that is finished is over with it.
        if notice.is_some() || phase == JobPhase::Finished {
            self.known.notice.clone_from(&notice);
        }
        self.known.generation += 1;
        Some((run.progress.job, phase, notice))
    }

    pub(super) fn told_job_phase(&mut self, phase: JobPhase, notice: Option<Notice>) {
        if let Some(run) = &self.run {
            let job = run.progress.job.clone();
            self.known.generation += 1;
            self.tell(EventKind::Job { job, phase, notice });
        }
    }
}

impl Run {
    /// Whether questions may be put between the lines: not while a point in the stream is being proven.
    pub(super) fn may_be_asked(&self) -> bool {
        match self.stage {
            Stage::Counter => false,
            // The report that proves the end was damaged on its way: it is asked for again.
            Stage::Proving => self.is_answered() && self.resync.is_none(),
            _ => self.resync.is_none(),
        }
    }
}

pub(super) fn command(program_line: u64, text: &[u8]) -> Command {
    Command { program_line, text: text.into() }
}
