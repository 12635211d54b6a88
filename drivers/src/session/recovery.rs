//! What was lost on the wire: lines said again when asked, answers that stay out, and when to give up.

use std::time::Duration;

use super::streaming::command;
use super::{Session, Stage};
use crate::flow::Aside;
use crate::history::Rewind;
use crate::interlock::{self, Response, Trouble};
use crate::notice::Notice;
use crate::session::run::{Resync, Run};
use crate::snapshot::{Cause, JobPhase};

/// Quiet that shows that all answers to a rejected stretch of lines have come: well above the latency of USB
/// adapters (16 ms for the slowest default) and the time a full receive buffer takes at 115200 baud (11 ms).
const SETTLE: Duration = Duration::from_millis(60);

/// The same behind the `ok` of a request for the last line that was in flight: the second half of a line that noise cut in
/// two may still arrive and be answered (96 bytes at 115200 baud are 8 ms).
const SETTLE_ALONE: Duration = Duration::from_millis(20);

/// A firmware that says when it is busy has said so by then, if an answer is still to come: it is asked for every
/// 2 s (`M113 S2`, which is also Marlin's default, `DEFAULT_KEEPALIVE_INTERVAL`).
pub(super) const BUSY_TOLD: Duration = Duration::from_millis(2_500);

/// Longest quiet waited for before a line is said again, however often it was refused.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// How soon behind a request to say a line again an `ok` is a part of it: both are said in one breath
/// (`flush_and_request_resend` in Marlin's `queue.cpp`).
const RESEND_OK: Duration = Duration::from_millis(5);

/// Times the same line may be asked for again in a row. Noise that spoils one line in three gets through with
/// near certainty; a cable that spoils more is no cable.
const REWINDS_MAX: u32 = 15;

/// A request for a line at most this far behind the one said again before may be for a line the machine has: more
/// than most machines take ahead of their answers.
const REWIND_NEAR: u64 = 16;

/// So many of them in a row are taken for a storm. Noise brings two now and then.
const REWINDS_NEAR_STORM: u32 = 3;

/// How far ahead of every line said the number of a question lies: further than any line that could be in flight.
const PROBE_AHEAD: u64 = 1000;

/// Questions in a row which line is next that a machine may pass over: more than twice as many as it does.
const PASSED_OVER_MAX: u32 = 40;

/// Idle reports with answers still due that show that an answer was lost.
const IDLE_REPORTS_LOST: u32 = 5;

/// A request for the first line while at least this many were accepted is a machine that restarted, not noise.
const RESTART_LINES: u64 = 64;

/// A machine that takes the first line again after this many answers waits for it: it has restarted. Fewer can be
/// answers to lines it refused, whose refusal was lost.
pub(super) const RETAKEN_LINES: u64 = 4;

impl Session {
    /// The machine wants a line again, and all that follow. What is in flight will be refused too; the line is said
    /// when those answers are in.
    pub(super) fn hear_resend(&mut self, number: u64) {
        // Each line that was in flight behind a damaged one asks for that one again.
        if self.run.as_ref().and_then(|run| run.resync).is_none_or(|resync| resync.ordinal != number) {
            self.known.link.resends += 1;
            if !self.health.damage_told {
                self.wire_trouble("a line was asked for again");
            }
            self.window.damaged();
        }
        self.health.damage_told = false;
        let backoff = match &self.run {
            Some(run) if run.last_rewind == number => run.rewinds.min(4),
            _ => 0,
        };
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
        let asked = run.resync.is_some_and(|resync| resync.asked);
        let alone = run.resync.is_none_or(|resync| resync.alone && resync.ordinal == number)
            && self.window.holds_nothing_behind(number);
        run.resync = Some(Resync { ordinal: number, nothing_due: std::mem::take(&mut run.probed), asked, alone });
        // Where an earlier line is due an answer, only an `ok` that comes at once is a part of the request.
        let only = self.window.holds_only(number);
        self.resend_ok_until = Some(self.now + if only { SETTLE } else { RESEND_OK });
        let settle = (SETTLE * 2_u32.pow(backoff)).min(SETTLE_MAX);
        self.deadlines.settle = Some(self.now + settle);
        // The quiet that follows is asked for, and says nothing of what the wire is worth.
        (self.deadlines.answer, self.deadlines.widen) = (None, None);
    }

    /// The machine passed over a line (Repetier): it waits for an earlier one and its request was lost, or it has the line and
    /// the answer was lost. Nothing that it passes over is answered. It is asked which line is next, and where it passes over
    /// that as well, again: behind a request it passes over fourteen lines before it makes another one.
    pub(super) fn hear_passed_over(&mut self, number: u64) {
        if self.resyncs() {
            return self.sign_of_life();
        }
        let Some(run) = &mut self.run else { return };
        let asked = number > run.sent;
        if run.probed && !asked {
            return;
        }
        if run.passed_over == 0 {
            self.known.link.gaps += 1;
            self.health.damage_told = true;
            self.wire_trouble("a line did not arrive");
        }
        let Some(run) = &mut self.run else { return };
        if run.passed_over < PASSED_OVER_MAX {
            run.passed_over += 1;
            self.sign_of_life();
            self.probe();
        }
    }

    /// Whether a line is to be said again, and the answers to what was in flight are waited for.
    pub(super) fn resyncs(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.resync.is_some())
    }

    /// The `ok` behind a request has come. If nothing was in flight behind the damaged line, that was all; so it was where
    /// the machine was asked in the quiet which line is next.
    pub(super) fn alone_settles(&mut self) {
        if self.run.as_ref().and_then(|run| run.resync).is_some_and(|resync| resync.alone || resync.asked) {
            self.deadlines.settle = self.deadlines.settle.map(|at| at.min(self.now + SETTLE_ALONE));
        }
    }

    /// All answers to the rejected stretch have come: the cursor moves, and saying starts again.
    pub(super) fn settle(&mut self) {
        if self.asks_which_line_is_next() {
            return;
        }
        self.packing.interrupt();
        self.reporting.queue_unknown();
        let Some(run) = &mut self.run else { return };
        let Some(resync) = run.resync.take() else {
            if run.stage == Stage::Counter {
                self.window.clear();
                self.asides.retain(|(aside, _)| *aside != Aside::CounterReset);
                self.reset_counter();
            }
            return;
        };
        if resync.nothing_due {
            // It was silent until it was asked: it has nothing more to answer.
            self.window.clear();
        } else {
            // Lines before this one wait in the machine behind a full planner, and are answered when they have room.
            self.window.reject_from(resync.ordinal);
        }
        run.alone_until = None;
        if self.window.is_doubtful() && self.asides.is_empty() {
            self.asides.extend(self.dialect.habits().position_question().map(|word| (Aside::Query, word.to_owned())));
        }
        run.rewinds_near = run.rewinds_near_with(resync.ordinal);
        if run.last_rewind == resync.ordinal {
            run.rewinds += 1;
        } else {
            run.rewinds = 1;
            run.last_rewind = resync.ordinal;
        }
        run.progress.resends += 1;
        // The machine said what it has: everything before, and nothing after.
        run.accepted = self.window.oldest_job().unwrap_or(resync.ordinal) - 1;
        run.evidence.rewind(run.accepted);
        run.undone_again(resync.ordinal);
        match run.history.rewind(resync.ordinal) {
            Rewind::Done => {}
            Rewind::ReadFrom { program_line } => {
                if program_line == 0 {
                    // The line that proves the counter stands in front of the program and in no file.
                    let proof = self.dialect.habits().counter.map_or("", |counter| counter.proof);
                    run.history.push(command(0, proof.as_bytes()));
                }
                (run.fed_line, self.reread) = (program_line.max(1) - 1, Some(program_line.max(1)));
            }
            Rewind::Impossible => return,
        }
        for stage in [&mut run.stage, &mut run.held_from] {
            if *stage == Stage::Proving {
                // Lines are to be said again, if only once it is no longer held.
                *stage = Stage::Streaming;
            }
        }
        let hopeless = run.rewinds > REWINDS_MAX;
        let (holding, safe_end) = (run.stage == Stage::Holding, run.is_safe_end());
        if holding {
            self.ask_hold_proof();
        }
        if hopeless {
            let seen = self.damage_seen().unwrap_or_else(|| "It did not say why.".to_owned());
            let notice = Notice::new(
                "link.resend_hopeless",
                format!("The machine asked {REWINDS_MAX} times in a row for the same line. {seen}"),
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

    /// A machine that keeps what was behind a refused line in its buffer has taken some of it when it is said again;
    /// it asks for the next one, has taken that meanwhile too, and so on for every line of the program. Once it is
    /// quiet, the question with a number far ahead brings the number it really waits for.
    fn asks_which_line_is_next(&mut self) -> bool {
        let Some(run) = &mut self.run else { return false };
        // Nothing that was said behind the last line can have been taken.
        let doubtful = |resync: &Resync| !resync.asked && !resync.nothing_due && !resync.alone;
        let Some(resync) = run.resync.filter(doubtful) else { return false };
        if run.rewinds_near_with(resync.ordinal) < REWINDS_NEAR_STORM {
            return false;
        }
        run.resync = Some(Resync { asked: true, ..resync });
        self.say_number_ahead();
        self.deadlines.settle = Some(self.now + BUSY_TOLD);
        true
    }

    /// A position is said in answer to the last question alone, and in its turn: whatever was said before that and
    /// has no answer yet, will never have one.
    /// `last`: it answers the last question for one; with several questions unanswered, any other says nothing of the last.
    pub(super) fn position_ends_doubt(&mut self, last: bool) {
        if !last && self.window.count(Aside::Query) > 1 {
            return;
        }
        let Some(run) = self.run.as_ref().filter(|run| run.resync.is_none()) else { return };
        let habits = self.dialect.habits();
        if !self.window.is_doubtful() || habits.position_question().is_none() {
            return;
        }
        if self.window.said_before_query().is_none() {
            return;
        }
        let asks = |ordinal| run.history.command(ordinal).is_none_or(|command| habits.asks_position(&command.text));
        if self.window.jobs().any(asks) {
            return;
        }
        while self.window.said_before_query().is_some_and(|before| before > 0) {
            self.known.link.answers_lost += 1;
            self.take_answer();
        }
        self.window.doubt_is_over();
    }

    /// The machine is busy: what it was asked in the quiet behind its requests, it answers later.
    pub(super) fn settles_later(&mut self) {
        let asked = self.run.as_ref().and_then(|run| run.resync).is_some_and(|resync| resync.asked);
        if asked && self.deadlines.settle.is_some() {
            self.deadlines.settle = Some(self.now + BUSY_TOLD);
        }
    }

    pub(super) fn line_counter_lost(&mut self) {
        let line = self.run.as_ref().map_or(0, |run| run.progress.executed_line);
        let notice = Notice::new(
            "machine.restarted",
            format!("The machine asks for the first line again after line {line}: it has restarted or lost its count."),
            "The job is over; nothing more was sent, because the lines would run a second time.",
            "Check the power supply and the cable, and look at the work. Then start again, or go on behind that line (`fab-agent \
             job resume-after-failure`, or the page), where the position can be found again.",
        );
        self.end_run(JobPhase::Failed, Some(notice));
        self.window.clear();
    }

    /// Says a line whose number cannot be the next one: the machine answers with the number it waits for. The
    /// window keeps room for it. Numbers just below the last one are ignored in silence by late Marlin 2.x
    /// (`queue.cpp`), and a machine that restarted unheard would take number 1 and lead back to the first lines of
    /// the program: so it lies far ahead.
    pub(super) fn probe(&mut self) {
        if self.say_number_ahead() {
            if let Some(run) = &mut self.run {
                run.probed = true;
            }
        }
    }

    /// Says a line whose number cannot be the next one; whether it could be said.
    fn say_number_ahead(&mut self) -> bool {
        let number = self.run.as_ref().map_or(0, |run| run.sent) + PROBE_AHEAD;
        self.spelled.clear();
        let Ok(cleared) = interlock::clear(b"", &self.profile, self.dialect.habits()) else { return false };
        self.dialect.spell(cleared, Some(number), &mut self.spelled);
        self.pack_spelled();
        self.write_spelled();
        true
    }

    /// What was seen in this job of damage on the wire; nothing, where there was none.
    fn damage_seen(&self) -> Option<String> {
        let since = self.known.link.since(&self.run.as_ref()?.link_before);
        let said = since.checksum_errors + since.gaps;
        match (said, since.damaged_heard) {
            (0, 0) => None,
            (0, heard) => Some(format!("What it said arrived damaged {heard} times in this job.")),
            (said, 0) => Some(format!("It said {said} times in this job that a line arrived damaged or not at all.")),
            (said, heard) => Some(format!(
                "It said {said} times in this job that a line arrived damaged or not at all, and what it said arrived \
                 damaged {heard} times."
            )),
        }
    }

    /// The machine is idle, again and again, while answers are due: one was lost, and which cannot be known.
    pub(super) fn answer_lost(&mut self) {
        let numbered = self.dialect.habits().numbered;
        let lost = self.run.as_ref().is_some_and(|run| run.idle_reports >= IDLE_REPORTS_LOST);
        if numbered || !lost {
            return;
        }
        // It may say that it is idle while its spindle comes to speed, or while its own macro changes the tool: that is
        // waited for.
        let patience = self.spindle_patience().into_iter().chain(self.tool_change_patience()).max();
        if patience.is_some_and(|patience| self.now.since(self.silence.waits_since) < patience) {
            return;
        }
        // The same loss is seen in every report: it counts once.
        if self.run.as_mut().is_none_or(|run| std::mem::replace(&mut run.loss_counted, true)) {
            return;
        }
        let unanswered = self.window.len();
        let said = self.buffer_said();
        self.known.link.answers_lost += unanswered as u64;
        self.wire_trouble("an answer was lost");
        if self.run.as_ref().is_some_and(Run::is_safe_end) {
            return self.safe_end_lost();
        }
        let notice = if self.may_have_overflowed(unanswered) {
            Notice::new(
                "link.buffer_overflow",
                format!(
                    "The machine is idle, but {unanswered} lines have no answer: its receive buffer is smaller than the \
                     {said} bytes that it or the profile says."
                ),
                format!(
                    "The job is held; which lines were lost cannot be known. From now on at most {} bytes are on their way.",
                    self.window.limits().bytes
                ),
                "Look at the work, then cancel. Set a smaller `stream.receive_buffer_bytes` in the machine's profile.",
            )
        } else {
            let seen = self.damage_seen().unwrap_or_else(|| "Nothing was seen to arrive damaged.".to_owned());
            Notice::new(
                "link.answer_lost",
                format!("The machine is idle, but {unanswered} lines have no answer. {seen}"),
                "The job is held; which line was lost cannot be known.",
                "Check the cable and look at the work, then cancel.",
            )
        };
        self.hold(Cause::Interlock, Some(notice));
    }
}

impl Run {
    /// How many rewinds in a row came out near the one before, with one to this ordinal.
    fn rewinds_near_with(&self, ordinal: u64) -> u32 {
        let ahead = ordinal.saturating_sub(self.last_rewind);
        if (1..=REWIND_NEAR).contains(&ahead) { self.rewinds_near + 1 } else { 0 }
    }
}
