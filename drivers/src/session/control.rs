//! What people may ask of a machine: every request in every state gets an answer.

use std::time::Duration;

use super::{ASIDES_MAX, Phase, Session, Stage};
use crate::dialect::{Calm, Condition, Spelling, Word};
use crate::event::EventKind;
use crate::flow::Aside;
use crate::interlock;
use crate::notice::Notice;
use crate::request::{Answer, Denied, Job, Jog, Override, Request};
use crate::session::greeting::is_swap;
use crate::session::run::{Ending, Run};
use crate::snapshot::{Cause, JobPhase};

/// Longest jog in one request, in millimetres: a person watches, and a lost "stop" costs at most this.
const JOG_MAX_MM: f64 = 100.0;

/// How long a report made before the machine heard "go on" may still arrive: two report periods and a slow adapter.
const HOLD_STALE: Duration = Duration::from_millis(500);

/// How long a hold may take before a cancel drops what is queued anyway. Slowing down takes well under a second.
const HOLD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a banner may take after a reset by command. Grbl says it within milliseconds.
const BANNER_PATIENCE: Duration = Duration::from_secs(2);

impl Session {
    /// Takes a request. The answer says whether it was taken; what comes of it is told by events.
    ///
    /// # Errors
    /// Why it was not taken, from a closed list.
    pub fn request(&mut self, now: crate::Moment, request: Request) -> Answer {
        self.now = now.max(self.now);
        let answer = match request {
            Request::Start(job) => self.start(job),
            Request::Pause => self.pause(),
            Request::Resume => self.resume(),
            Request::Cancel => self.cancel(),
            Request::Stop => self.stop(),
            Request::Clear => self.clear(),
            Request::Home => self.home(),
            Request::Jog(jog) => self.jog(jog),
            Request::Override(change) => self.change_override(change),
        };
        self.pump();
        self.settle_state();
        answer
    }

    fn start(&mut self, job: Job) -> Answer {
        if self.phase == Phase::Wrong {
            return Err(Denied::WrongMachine);
        }
        if self.run.is_some() {
            return Err(Denied::JobRunning);
        }
        interlock::may_start(&self.known)?;
        self.needs_person = false;
        self.known.notice = None;
        self.run = Some(Run::job(job.id, job.lines, job.from_line, self.dialect.habits().numbered, self.now));
        if let Some(run) = &mut self.run {
            run.link_before = self.known.link;
        }
        self.reset_counter();
        self.told_job_phase(JobPhase::Running, None);
        Ok(())
    }

    /// Numbered lines start from one in every job.
    pub(super) fn reset_counter(&mut self) {
        let Some(counter) = self.dialect.habits().counter else { return };
        self.asides.push_back((Aside::CounterReset, counter.reset.to_owned()));
        if let Some(run) = &mut self.run {
            if run.lead == 0 {
                run.history.push(super::streaming::command(0, counter.proof.as_bytes()));
                run.lead = 1;
            }
        }
    }

    fn pause(&mut self) -> Answer {
        self.must_be_connected()?;
        let Some(run) = &self.run else { return Err(Denied::NoJob) };
        match run.stage {
            _ if run.is_safe_end() => Err(Denied::Stopping),
            Stage::Holding | Stage::Held => Ok(()),
            Stage::Cancelling => Err(Denied::Stopping),
            Stage::Counter | Stage::Streaming | Stage::Proving => {
                self.hold(Cause::Asked, None);
                Ok(())
            }
        }
    }

    /// Stands still and waits for a person.
    pub(super) fn hold(&mut self, cause: Cause, notice: Option<Notice>) {
        let Some(run) = &mut self.run else { return };
        if run.is_safe_end() || matches!(run.stage, Stage::Holding | Stage::Held | Stage::Cancelling) {
            return;
        }
        run.hold_cause = cause;
        run.held_from = run.stage;
        run.stage = Stage::Holding;
        let held_by_word = self.dialect.calm(Calm::Hold) != Spelling::None;
        if held_by_word {
            self.calm(Calm::Hold);
        } else {
            self.ask_hold_proof();
        }
        if let Some(notice) = notice {
            self.known.notice = Some(notice.clone());
            self.told_job_phase(JobPhase::Held, Some(notice));
        }
    }

    /// Without a feed hold a machine runs on to the end of what is planned; this is answered then.
    pub(super) fn ask_hold_proof(&mut self) {
        if let crate::dialect::MotionEnd::Commands([wait, ..]) = self.dialect.habits().motion_end {
            self.asides.retain(|(aside, _)| *aside != Aside::HoldProof);
            if self.dialect.habits().ok_when_taken {
                self.asides.push_back((Aside::Query, (*wait).to_owned()));
            }
            self.asides.push_back((Aside::HoldProof, (*wait).to_owned()));
        }
    }

    fn resume(&mut self) -> Answer {
        self.must_be_connected()?;
        let waits = self.needs_person || matches!(self.condition, Some(Condition::Held | Condition::Door));
        let Some(run) = &mut self.run else {
            if !waits {
                return Err(Denied::NoJob);
            }
            self.go_on();
            return Ok(());
        };
        match run.stage {
            _ if run.is_safe_end() => return Err(Denied::Stopping),
            Stage::Cancelling | Stage::Holding => return Err(Denied::Stopping),
            Stage::Held => {
                run.stage = run.held_from;
                run.probes = 0;
                run.rewinds = 0;
                self.known.notice = None;
                self.told_job_phase(JobPhase::Running, None);
                self.go_on();
            }
            _ if waits => self.go_on(),
            _ => {}
        }
        Ok(())
    }

    /// Says "go on": only a person's request leads here.
    fn go_on(&mut self) {
        if std::mem::take(&mut self.needs_person) {
            self.calm(Calm::StopWaiting);
        }
        match self.dialect.resume() {
            Spelling::Realtime(bytes) => self.say_urgently(&bytes, false),
            Spelling::Lines(_) | Spelling::None => {}
        }
        self.hold_stale_until = Some(self.now + HOLD_STALE);
        self.condition = None;
    }

    fn cancel(&mut self) -> Answer {
        self.must_be_connected()?;
        let Some(run) = &self.run else { return Err(Denied::NoJob) };
        if run.is_safe_end() || run.stage == Stage::Cancelling {
            return Ok(());
        }
        let notice = Notice::new(
            "job.cancelled",
            "The job was cancelled by request.",
            "The machine is being made safe.",
            "Look at the work before the next job.",
        );
        self.cancel_as(JobPhase::Cancelled, Some(notice));
        Ok(())
    }

    /// Ends a job early: hold, drop what is queued, then say the lines that make the machine safe.
    pub(super) fn cancel_as(&mut self, phase: JobPhase, notice: Option<Notice>) {
        let Some(run) = &mut self.run else { return };
        let already_held = run.stage == Stage::Held;
        run.hold_cause = if phase == JobPhase::Cancelled { Cause::Asked } else { Cause::Machine };
        run.stage = Stage::Cancelling;
        run.resync = None;
        run.ending = None;
        self.pending_ending = Some(Ending { phase, notice });
        self.deadlines.settle = None;
        self.deadlines.drop = Some(self.now + HOLD_PATIENCE);
        let heats = !self.known.temperatures.is_empty();
        if self.dialect.calm(Calm::Hold) == Spelling::None {
            if heats || self.needs_person {
                self.calm(Calm::StopWaiting);
            }
            self.deadlines.drop = None;
        } else if already_held {
            self.drop_queued();
        } else {
            self.calm(Calm::Hold);
        }
    }

    /// Once the machine stands still: drops what it has queued.
    pub(super) fn drop_queued(&mut self) {
        if self.run.as_ref().is_none_or(|run| run.stage != Stage::Cancelling) {
            return;
        }
        self.deadlines.drop = None;
        let again = self.run.as_mut().is_some_and(|run| std::mem::replace(&mut run.dropped, true));
        match self.dialect.calm(Calm::Drop) {
            Spelling::Realtime(bytes) if !again => {
                // The machine answers with its banner; the safe end begins then, or when that was lost on its way.
                self.deadlines.drop = Some(self.now + BANNER_PATIENCE);
                self.say_urgently(&bytes, true);
                self.window.clear();
                self.condition = None;
            }
            _ => self.begin_safe_end(),
        }
    }

    /// Says the lines that make the machine safe; the job is over when they are through.
    pub(super) fn begin_safe_end(&mut self) {
        let Some(ending) = self.pending_ending.take() else { return };
        let Some(run) = &self.run else { return };
        self.window.clear();
        self.asides.clear();
        self.run = Some(Run::safe_end(run, ending, self.dialect.habits().numbered));
        self.reset_counter();
        let profile = std::sync::Arc::clone(&self.profile);
        if let Some(run) = &mut self.run {
            for (line, text) in (1..).zip(&profile.safety.safe_end) {
                run.history.push(super::streaming::command(line, text.as_bytes()));
            }
        }
        self.program_end();
    }

    fn stop(&mut self) -> Answer {
        if self.phase == Phase::Offline {
            return Err(Denied::Offline);
        }
        // Said even to a machine that has not answered yet: it may be moving.
        if let Spelling::Realtime(bytes) = self.dialect.calm(Calm::Halt) {
            self.say_urgently(&bytes, true);
        }
        let notice = Notice::new(
            "machine.stopped",
            "An emergency stop was asked for.",
            "The machine was told to halt and the job is over.",
            "Look at the machine; when it is safe, clear the alarm. Its position may be lost: home it.",
        );
        self.end_run(JobPhase::Cancelled, Some(notice.clone()));
        if self.phase != Phase::Halted {
            let greeting = matches!(self.phase, Phase::Greeting(_) | Phase::Wrong);
            self.window.clear();
            self.asides.clear();
            self.wire.clear();
            if !greeting {
                self.phase = Phase::Alarm;
            }
        }
        self.known.notice = Some(notice.clone());
        self.tell(EventKind::Trouble { notice });
        Ok(())
    }

    fn clear(&mut self) -> Answer {
        match self.phase {
            Phase::Offline => Err(Denied::Offline),
            Phase::Greeting(_) => Err(Denied::NotReady),
            // A person says that another machine stands there on purpose.
            Phase::Wrong if self.first_identity.is_some() && self.known.notice.as_ref().is_some_and(is_swap) => {
                self.first_identity = None;
                self.link_up(false);
                Ok(())
            }
            Phase::Wrong => Err(Denied::WrongMachine),
            Phase::Ready => {
                self.known.notice = None;
                Ok(())
            }
            Phase::Alarm | Phase::Halted => {
                let reports = matches!(self.dialect.habits().asking, crate::dialect::Asking::Realtime { .. });
                if reports && self.phase == Phase::Alarm {
                    // Unlocking an unlocked machine does nothing; what it reports next decides.
                    self.phase = Phase::Ready;
                    self.condition = None;
                    self.known.notice = None;
                    self.say_word(&Word::Unlock)
                } else {
                    // Only a machine that answers again is free.
                    self.link_up(false);
                    Ok(())
                }
            }
        }
    }

    fn home(&mut self) -> Answer {
        self.must_be_free()?;
        self.say_word(&Word::Home)
    }

    fn jog(&mut self, jog: Jog) -> Answer {
        self.must_be_free()?;
        let bounded = jog.by_mm.iter().all(|by| by.is_finite() && by.abs() <= JOG_MAX_MM)
            && jog.feed_mm_min.is_finite()
            && jog.feed_mm_min >= 1.0
            && jog.feed_mm_min <= self.profile.motion.feed_max_mm_min.iter().take(3).copied().fold(0.0, f64::max);
        if !bounded {
            return Err(Denied::OutOfRange);
        }
        self.say_word(&Word::Jog(jog))
    }

    fn change_override(&mut self, change: Override) -> Answer {
        self.must_be_connected()?;
        let in_range = match change {
            Override::Feed(percent) | Override::Spindle(percent) | Override::Flow(percent) => {
                (10..=200).contains(&percent)
            }
            Override::Rapid(percent) => matches!(percent, 25 | 50 | 100),
        };
        if !in_range {
            return Err(Denied::OutOfRange);
        }
        self.say_word(&Word::Override(change))
    }

    fn must_be_connected(&self) -> Answer {
        match self.phase {
            Phase::Offline => Err(Denied::Offline),
            Phase::Greeting(_) => Err(Denied::NotReady),
            Phase::Wrong => Err(Denied::WrongMachine),
            Phase::Alarm | Phase::Halted => Err(Denied::Alarm),
            Phase::Ready => Ok(()),
        }
    }

    fn must_be_free(&self) -> Answer {
        self.must_be_connected()?;
        if self.run.is_some() { Err(Denied::JobRunning) } else { Ok(()) }
    }

    /// Says a word a person asked for.
    fn say_word(&mut self, word: &Word) -> Answer {
        match self.dialect.word(word) {
            Spelling::Realtime(bytes) => {
                self.say_urgently(&bytes, false);
                Ok(())
            }
            Spelling::Lines(lines) => {
                if self.asides.len() + lines.len() > ASIDES_MAX {
                    return Err(Denied::Busy);
                }
                self.asides.extend(lines.into_iter().map(|line| (Aside::Word, line)));
                Ok(())
            }
            Spelling::None => Err(Denied::Unsupported),
        }
    }

    /// Says a calming word: past the queue and the interlock.
    pub(super) fn calm(&mut self, word: Calm) {
        match self.dialect.calm(word) {
            Spelling::Realtime(bytes) => self.say_urgently(&bytes, false),
            Spelling::Lines(lines) => {
                for line in lines.into_iter().rev() {
                    self.asides.push_front((Aside::Word, line));
                }
            }
            Spelling::None => {}
        }
    }
}
