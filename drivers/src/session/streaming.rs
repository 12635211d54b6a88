//! Saying a run's lines: within the window, each once, again when asked, and finished only when motion has ended.

use std::time::Duration;

use gcode_tools::block::Block;
use gcode_tools::wire::{self, Alphabet, Compacted};

use super::{Phase, Session, Stage};
use crate::dialect::{Calm, Condition, Habits, MotionEnd, Spelling};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::history::{Command, Rewind};
use crate::interlock::{self, Response, Trouble};
use crate::notice::Notice;
use crate::request::Denied;
use crate::session::run::{Resync, Run};
use crate::snapshot::{Cause, JobPhase};

/// Quiet that shows that all answers to a rejected stretch of lines have come: well above the latency of USB
/// adapters (16 ms for the slowest default) and the time a full receive buffer takes at 115200 baud (11 ms).
const SETTLE: Duration = Duration::from_millis(60);

/// Longest quiet waited for before a line is said again, however often it was refused.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// Times the same line may be asked for again in a row. Noise that spoils one line in three gets through with
/// near certainty; a cable that spoils more is no cable.
const REWINDS_MAX: u32 = 15;

/// Questions into silence before the job is held.
const PROBES_MAX: u32 = 3;

/// How far ahead of every line said the number of a question lies: further than any line that could be in flight.
const PROBE_AHEAD: u64 = 1000;

/// Idle reports with answers still due that show that an answer was lost.
const IDLE_REPORTS_LOST: u32 = 5;

/// A request for the first line while at least this many were accepted is a machine that restarted, not noise.
const RESTART_LINES: u64 = 64;

/// A machine that takes the first line again after this many answers waits for it: it has restarted. Fewer can be
/// answers to lines it refused, whose refusal was lost.
pub(super) const RETAKEN_LINES: u64 = 4;

impl Session {
    /// Takes the next line of the program.
    pub(super) fn program_line(&mut self, number: u64, bytes: &[u8]) {
        let send_comments = self.profile.stream.send_comments;
        let habits = self.dialect.habits();
        let Some(run) = &mut self.run else { return };
        if !run.from_file || number < run.from_line {
            return;
        }
        let block = Block::new(bytes);
        self.spelled.clear();
        let alphabet = if habits.printer { Alphabet::Printer } else { Alphabet::Grbl };
        if wire::compact_for(&block, alphabet, &mut self.spelled) == Compacted::Nothing {
            return;
        }
        // The line counter is the session's own; a program that sets it would break the numbering.
        if habits.numbered && self.spelled.starts_with(b"M110") {
            return;
        }
        let raw = bytes.trim_ascii();
        let text = if send_comments && block.line_number().is_none() { raw } else { &self.spelled };
        run.history.push(command(number, text));
    }

    /// The program has no more lines: what proves the end of motion follows.
    pub(super) fn program_end(&mut self) {
        let proof = self.dialect.habits().motion_end;
        let Some(run) = &mut self.run else { return };
        if run.history.is_complete() {
            return;
        }
        run.commands = Some(run.history.end() - 1 - run.lead);
        if let MotionEnd::Commands(commands) = proof {
            let line = run.progress.lines;
            for text in commands {
                run.history.push(command(line, text.as_bytes()));
            }
        }
        run.history.finish();
    }

    pub(super) fn program_trouble(&mut self, notice: Notice) {
        self.cancel_as(JobPhase::Failed, Some(notice));
    }

    /// Writes whatever the machine can take now.
    pub(super) fn pump(&mut self) {
        if matches!(self.phase, Phase::Ready) {
            self.pump_asides();
            self.pump_job();
        }
        self.check_proof();
        self.check_cancel();
        if self.deadlines.answer.is_none() && !self.window.is_empty() {
            self.deadlines.answer = Some(self.answer_due());
        }
    }

    fn pump_asides(&mut self) {
        while let Some((aside, text)) = self.asides.front() {
            if !self.aside_may_go(*aside) {
                return;
            }
            let habits = self.dialect.habits();
            let number = (*aside == Aside::CounterReset).then_some(0);
            self.spelled.clear();
            match interlock::clear(text.as_bytes(), &self.profile, habits.line_max) {
                Ok(cleared) => self.dialect.spell(cleared, number, &mut self.spelled),
                Err(notice) => {
                    self.asides.pop_front();
                    self.tell(EventKind::Trouble { notice });
                    continue;
                }
            }
            if !self.window.has_room(self.spelled.len()) {
                return;
            }
            self.window.sent(Frame::Aside(*aside), self.spelled.len());
            self.asides.pop_front();
            self.write_spelled();
        }
    }

    /// Asides wait while answers to a rejected stretch come in; what marks a point in the stream goes alone.
    fn aside_may_go(&self, aside: Aside) -> bool {
        if self
            .run
            .as_ref()
            .is_some_and(|run| run.resync.is_some() || (run.alone_until.is_some() && aside == Aside::Query))
        {
            return false;
        }
        match aside {
            Aside::CounterReset | Aside::HoldProof => self.window.is_empty(),
            Aside::Query | Aside::Word => true,
        }
    }

    fn pump_job(&mut self) {
        let habits = self.dialect.habits();
        let answer_timeout = Duration::from_millis(self.profile.stream.answer_timeout_ms);
        loop {
            let Some(run) = &mut self.run else { return };
            if run.stage != Stage::Streaming || run.resync.is_some() || run.alone_until.is_some() {
                return;
            }
            let ordinal = run.history.cursor();
            let Some(next) = run.history.next() else { break };
            let alone = ordinal <= run.lead || must_go_alone(&next.text, habits);
            if alone && !self.window.is_empty() {
                return;
            }
            let cleared = match interlock::clear(&next.text, &self.profile, habits.line_max) {
                Ok(cleared) => cleared,
                Err(mut notice) => {
                    notice.happened = format!("Line {} was not sent: {}", next.program_line, notice.happened);
                    return self.hold(Cause::Interlock, Some(notice));
                }
            };
            self.spelled.clear();
            self.dialect.spell(cleared, habits.numbered.then_some(ordinal), &mut self.spelled);
            let patience = if alone { dwell(&next.text, habits) + answer_timeout } else { Duration::ZERO };
            let length = self.spelled.len();
            if !self.window.has_room(length) {
                return;
            }
            self.window.sent(Frame::Job(ordinal), length);
            run.alone_until = alone.then_some(self.now + patience);
            run.sent = run.sent.max(ordinal);
            run.progress.bytes += length as u64;
            run.idle_reports = 0;
            run.position_seen = false;
            run.history.advance();
            self.write_spelled();
        }
        if let Some(run) = &mut self.run {
            if run.history.is_sent() {
                run.stage = Stage::Proving;
            }
        }
    }

    fn write_spelled(&mut self) {
        self.known.link.bytes_out += self.spelled.len() as u64;
        self.wire.extend_from_slice(&self.spelled);
    }

    /// A position report is proof of the end of motion when it can only be the answer to the last proving command.
    pub(super) fn position_proof(&mut self) {
        if let Some(run) = &mut self.run {
            // The wait before it was answered, so the machine has come to its end.
            run.position_seen |= run.stage == Stage::Proving && run.accepted + 2 >= run.history.end();
        }
    }

    /// A machine that cannot drop what it has queued is made safe once it has answered everything.
    fn check_cancel(&mut self) {
        let cancelling = self.run.as_ref().is_some_and(|run| run.stage == Stage::Cancelling && run.resync.is_none());
        if cancelling && self.window.is_empty() && self.dialect.calm(Calm::Drop) == Spelling::None {
            self.begin_safe_end();
            self.pump_asides();
        }
    }

    /// Ends the run if the end of motion is proven.
    fn check_proof(&mut self) {
        let Some(run) = &self.run else { return };
        if run.stage != Stage::Proving || !run.is_answered() || run.resync.is_some() {
            return;
        }
        let proven = match self.dialect.habits().motion_end {
            MotionEnd::Commands(_) => run.position_seen,
            MotionEnd::IdleReport => run.idle_reports >= 2 && self.condition == Some(Condition::Idle),
        };
        if !proven {
            return;
        }
        match &run.ending {
            None => self.end_run(JobPhase::Finished, None),
            Some(ending) => {
                let ending = ending.clone();
                self.end_run(ending.phase, ending.notice);
            }
        }
    }

    /// The job is over, in whatever way.
    pub(super) fn end_run(&mut self, phase: JobPhase, notice: Option<Notice>) {
        let Some(mut run) = self.run.take() else { return };
        let mut progress = run.progress();
        // A job that was already being ended keeps the reason it had.
        let (phase, notice) = match run.ending.take().or_else(|| self.pending_ending.take()) {
            Some(ending) if phase != JobPhase::Finished => (ending.phase, ending.notice.or(notice)),
            _ => (phase, notice),
        };
        if phase == JobPhase::Finished {
            progress.executed = progress.commands;
            progress.executed_line = progress.executed_line.max(progress.lines);
        }
        progress.phase = phase;
        progress.ended_at = Some(self.now);
        self.known.job = Some(progress);
        self.deadlines.settle = None;
        self.deadlines.drop = None;
        self.reread = None;
        if notice.is_some() {
            self.known.notice.clone_from(&notice);
        }
        let job = run.progress.job;
        self.known.generation += 1;
        self.tell(EventKind::Job { job, phase, notice });
    }

    pub(super) fn told_job_phase(&mut self, phase: JobPhase, notice: Option<Notice>) {
        if let Some(run) = &self.run {
            let job = run.progress.job.clone();
            self.known.generation += 1;
            self.tell(EventKind::Job { job, phase, notice });
        }
    }

    /// The machine wants a line again, and all that follow. What is in flight will be refused too; the line is said
    /// when those answers are in.
    pub(super) fn hear_resend(&mut self, number: u64) {
        self.known.link.resends += 1;
        let backoff = self.run.as_ref().map_or(0, |run| run.rewinds.min(4));
        let Some(run) = &mut self.run else {
            self.window.clear();
            return;
        };
        if run.stage == Stage::Counter || (run.highest <= run.lead + 1 && run.accepted < run.lead && number != 1) {
            // The counter is not what it was set to: the line that set it was damaged. Whatever answers are on
            // their way belong to that.
            run.stage = Stage::Counter;
            run.accepted = 0;
            run.alone_until = None;
            run.history.rewind(1);
            self.window.clear();
            self.deadlines.settle = Some(self.now + SETTLE);
            return;
        }
        if number == 1 && run.highest >= RESTART_LINES {
            return self.line_counter_lost();
        }
        if number == 0 || number > run.sent + 1 {
            // No such line was said: the request itself arrived damaged. The next answer overdue asks again.
            self.known.link.chatter += 1;
            return;
        }
        run.resync = Some(Resync { ordinal: number });
        let settle = (SETTLE * 2_u32.pow(backoff)).min(SETTLE_MAX);
        self.deadlines.settle = Some(self.now + settle);
        self.deadlines.answer = None;
    }

    /// All answers to the rejected stretch have come: the cursor moves, and saying starts again.
    pub(super) fn settle(&mut self) {
        let Some(run) = &mut self.run else { return };
        let Some(resync) = run.resync.take() else {
            if run.stage == Stage::Counter {
                self.window.clear();
                self.asides.retain(|(aside, _)| *aside != Aside::CounterReset);
                self.reset_counter();
            }
            return;
        };
        self.window.clear();
        run.alone_until = None;
        if run.last_rewind == resync.ordinal {
            run.rewinds += 1;
        } else {
            run.rewinds = 1;
            run.last_rewind = resync.ordinal;
        }
        run.progress.resends += 1;
        // The machine said what it has: everything before, and nothing after.
        run.accepted = resync.ordinal - 1;
        match run.history.rewind(resync.ordinal) {
            Rewind::Done => {}
            Rewind::ReadFrom { program_line } => {
                if program_line == 0 {
                    // The line that proves the counter stands in front of the program and in no file.
                    let proof = self.dialect.habits().counter.map_or("", |counter| counter.proof);
                    run.history.push(command(0, proof.as_bytes()));
                }
                self.reread = Some(program_line.max(1));
            }
            Rewind::Impossible => return,
        }
        if run.stage == Stage::Proving {
            run.stage = Stage::Streaming;
        }
        let hopeless = run.rewinds > REWINDS_MAX;
        let (holding, safe_end) = (run.stage == Stage::Holding, run.is_safe_end());
        if holding {
            self.ask_hold_proof();
        }
        if hopeless {
            let notice = Notice::new(
                "link.resend_hopeless",
                format!(
                    "The machine asked {REWINDS_MAX} times in a row for the same line; it arrives damaged every time."
                ),
                "The job is held.",
                "Check the cable, its length and its neighbours (spindle, motors, mains), then resume or cancel.",
            );
            if safe_end {
                self.end_run(JobPhase::Failed, Some(notice));
            } else if interlock::respond(Trouble::ResendHopeless) == Response::Hold {
                self.hold(Cause::Interlock, Some(notice));
            }
        }
    }

    pub(super) fn line_counter_lost(&mut self) {
        let line = self.run.as_ref().map_or(0, |run| run.progress.executed_line);
        let notice = Notice::new(
            "machine.restarted",
            format!("The machine asks for the first line again after line {line}: it has restarted or lost its count."),
            "The job is over; nothing more was sent, because the lines would run a second time.",
            "Check the power supply and the cable, look at the work, and start again from the beginning.",
        );
        self.end_run(JobPhase::Failed, Some(notice));
        self.window.clear();
    }

    /// An answer is overdue: a machine with numbered lines is asked where it stands, others cannot be.
    pub(super) fn answer_overdue(&mut self) {
        if self.window.is_empty() {
            return;
        }
        self.deadlines.answer = Some(self.answer_due());
        let numbered = self.dialect.habits().numbered;
        let Some(run) = &mut self.run else {
            // A lost answer to a question or a jog: the next question finds out.
            self.window.clear();
            return;
        };
        self.known.link.answers_lost += 1;
        run.probes += 1;
        if run.probes > PROBES_MAX {
            let notice = Notice::new(
                "machine.silent",
                format!(
                    "The machine has not answered for {} s.",
                    u64::from(PROBES_MAX) * self.profile.stream.answer_timeout_ms / 1000
                ),
                "The job is held.",
                "Check the machine and the cable, then resume or cancel.",
            );
            if run.is_safe_end() {
                return self.end_run(JobPhase::Failed, Some(notice));
            }
            if run.stage == Stage::Cancelling {
                return self.begin_safe_end();
            }
            if interlock::respond(Trouble::AnswerOverdue) == Response::Hold {
                self.hold(Cause::Interlock, Some(notice));
                return self.held_in_silence();
            }
        }
        let ending = run.stage == Stage::Cancelling || run.is_safe_end();
        if ending && self.needs_person {
            // The word that ends the machine's wait was lost, or the wait began after it.
            return self.calm(Calm::StopWaiting);
        }
        match self.run.as_ref().map_or(Stage::Streaming, |run| run.stage) {
            Stage::Counter => {
                self.window.clear();
                self.asides.retain(|(aside, _)| *aside != Aside::CounterReset);
                self.reset_counter();
            }
            _ if numbered => self.probe(),
            _ => {}
        }
    }

    /// A machine that says nothing cannot confirm that it stands still: the job is held all the same, and says so.
    fn held_in_silence(&mut self) {
        if let Some(run) = &mut self.run {
            if run.stage == Stage::Holding && run.probes > PROBES_MAX {
                run.stage = Stage::Held;
            }
        }
    }

    /// Says a line whose number cannot be the next one: the machine answers with the number it waits for. The
    /// window keeps room for it. Numbers just below the last one are ignored in silence by late Marlin 2.x
    /// (`queue.cpp`), and a machine that restarted unheard would take number 1 and lead back to the first lines of
    /// the program: so it lies far ahead.
    fn probe(&mut self) {
        let number = self.run.as_ref().map_or(0, |run| run.sent) + PROBE_AHEAD;
        self.spelled.clear();
        if let Ok(cleared) = interlock::clear(b"", &self.profile, self.dialect.habits().line_max) {
            self.dialect.spell(cleared, Some(number), &mut self.spelled);
            self.write_spelled();
        }
    }

    /// The machine is idle, again and again, while answers are due: one was lost, and which cannot be known.
    pub(super) fn answer_lost(&mut self) {
        let numbered = self.dialect.habits().numbered;
        let lost = self.run.as_ref().is_some_and(|run| run.idle_reports >= IDLE_REPORTS_LOST);
        if numbered || !lost {
            return;
        }
        self.known.link.answers_lost += self.window.len() as u64;
        let notice = Notice::new(
            "link.answer_lost",
            format!(
                "The machine is idle, but {} lines have no answer: a line or its answer was damaged on the wire.",
                self.window.len()
            ),
            "The job is held; which line was lost cannot be known.",
            "Check the cable and look at the work, then cancel.",
        );
        self.hold(Cause::Interlock, Some(notice));
    }

    /// Whether a job may start now; for callers that must prepare before they ask.
    pub fn may_start(&self) -> Result<(), Denied> {
        if self.run.is_some() { Err(Denied::JobRunning) } else { interlock::may_start(&self.known) }
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

/// Words that wait for the machine, for a person or for its memory: nothing may be in flight before or behind them.
///
/// M0, M1, M6, M600 wait for a person; G38 and M400 for motion; G4 for time; the others write settings, during which
/// Grbl loses received bytes (interface document, "EEPROM issues").
fn must_go_alone(text: &[u8], habits: &Habits) -> bool {
    let Some(first) = text.first() else { return false };
    if !habits.printer && *first == b'$' {
        return true;
    }
    // Most lines of any job are plain moves: look closer only at those that can hold such a word.
    let suspicious = memchr::memchr2(b'M', b'm', text).is_some()
        || memchr::memchr_iter(b'G', text).any(|at| match (text.get(at + 1), text.get(at + 2)) {
            (Some(b'4'), _) => true,
            (Some(b'1' | b'2' | b'3'), second) => {
                second.is_none_or(|byte| !byte.is_ascii_alphabetic() || *first != b'G')
            }
            _ => false,
        });
    if !suspicious {
        return false;
    }
    let block = Block::new(text);
    block.codes().any(|(letter, tenths)| match letter {
        'M' => matches!(tenths, 0 | 10 | 60 | 6000 | 4000 | 5000..=5020 | 1120 | 2260),
        'G' => match tenths {
            40 | 281 | 301 | 382..=385 => true,
            100 => block.value('L').is_some(),
            _ => false,
        },
        _ => false,
    })
}

/// How long a dwell takes: Grbl's P is seconds; Marlin's P is milliseconds and its S seconds. Bounded by an hour, so
/// that nonsense in a file does not become for ever.
fn dwell(text: &[u8], habits: &Habits) -> Duration {
    let block = Block::new(text);
    if !block.codes().any(|code| code == ('G', 40)) {
        return Duration::ZERO;
    }
    let pause = block.value('P').unwrap_or(0.0);
    let seconds = if habits.printer { block.value('S').unwrap_or(pause / 1000.0) } else { pause };
    Duration::try_from_secs_f64(seconds.clamp(0.0, 3600.0)).unwrap_or_default()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::dialect;

    #[test]
    fn words_that_wait_or_write_settings_go_alone_and_moves_do_not() {
        let grbl = dialect::named("grbl").unwrap().habits();
        for text in ["M0", "M6T2", "G4P1", "G38.2Z-10F50", "G10L2P1X0", "G28.1", "$32=1", "G90M0", "M400", "G1X1M1"] {
            assert!(must_go_alone(text.as_bytes(), grbl), "{text}");
        }
        for text in ["G1X10Y20", "G2X1Y1I1J0", "G0X1", "M3S1000", "G21", "G43.1Z1", "M104S200", "X1Y1", "G28", "G17"] {
            assert!(!must_go_alone(text.as_bytes(), grbl), "{text}");
        }
    }
}
