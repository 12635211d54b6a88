//! What people may ask of a machine: every request in every state gets an answer.

use std::time::Duration;

use super::{ASIDES_MAX, NOTHING_CHANGED, Phase, Session, Stage};
use crate::dialect::{Calm, Condition, Spelling, Word};
use crate::event::EventKind;
use crate::flow::Aside;
use crate::notice::Notice;
use crate::request::{Answer, Denied, Job, Override, Request};
use crate::session::identity::is_swap;
use crate::session::run::Run;
use crate::snapshot::{Cause, JobPhase, Occupied, Overrides, Reading};

/// How long a report made before the machine heard "go on" may still arrive: two report periods and a slow adapter.
const HOLD_STALE: Duration = Duration::from_millis(500);

/// What a program says, unchanged.
const NORMAL: Overrides = Overrides { feed_percent: 100, rapid_percent: 100, spindle_percent: 100, flow_percent: None };

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
            Request::Leave => self.leave(),
            Request::Hasten => self.hasten(),
            Request::Stop => self.stop(),
            Request::Clear => self.clear(),
            Request::Home => self.home(),
            Request::Jog(jog) => self.jog(jog),
            Request::JogStop(press) => self.jog_stop(press),
            Request::Probe(probe) => self.touch_off(probe),
            Request::Choose(place) => self.choose(place),
            Request::Override(change) => self.change_override(change),
        };
        self.pump();
        self.settle_state();
        answer
    }

    /// Whether a job may start now; for callers that must prepare before they ask.
    ///
    /// # Errors
    /// The reason it may not.
    pub fn may_start(&self) -> Answer {
        if self.phase == Phase::Wrong {
            return Err(Denied::WrongMachine);
        }
        if self.run.is_some() {
            return Err(Denied::JobRunning);
        }
        if self.known.state == crate::snapshot::State::Busy {
            // Also of one that was found moving and has not said who it is.
            return Err(Denied::Occupied);
        }
        self.must_be_connected()?;
        self.drives_may_go_on()?;
        self.may_be_moved()?;
        self.table_may_be_used()
    }

    fn start(&mut self, job: Job) -> Answer {
        self.may_start()?;
        self.spindle_begins();
        self.needs_person = false;
        self.left_on.looked_at();
        self.left_hot.looked_at();
        self.own_work.looked_at();
        self.known.notice = None;
        let stands_at = self.known.work_position_mm.filter(|_| self.work_offset_known).map(|place| place.value);
        self.run = Some(Run::job(job.id, job.lines, job.from_line, self.dialect.habits().numbered, self.now));
        if let Some(run) = &mut self.run {
            run.link_before = self.known.link;
            if let Some(place) = stands_at {
                run.reach.begin(place);
            }
        }
        self.table_used(Occupied::Job);
        self.unstick();
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

    /// The word that sets the counter was lost while the job was being held.
    fn count_again(&mut self) {
        if !self.is_asked(Aside::CounterReset) {
            self.reset_counter();
        }
    }

    fn pause(&mut self) -> Answer {
        self.must_be_connected()?;
        let Some(run) = &self.run else { return Err(Denied::NoJob) };
        match run.stage {
            _ if run.is_safe_end() => Err(Denied::Stopping),
            Stage::Holding | Stage::Held | Stage::Asking => Ok(()),
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
        if run.is_safe_end() || run.is_holding() || matches!(run.stage, Stage::Asking | Stage::Cancelling) {
            return;
        }
        self.person.held_from_here();
        self.deadlines.spin_up = None;
        let Some(run) = &mut self.run else { return };
        run.hold_cause = cause;
        run.held_from = run.stage;
        run.stage = Stage::Holding;
        let held_by_word = self.dialect.calm(Calm::Hold) != Spelling::None;
        if held_by_word {
            self.obeying.hold_said(self.now);
            self.calm(Calm::Hold);
        } else {
            self.ask_hold_proof();
        }
        self.answer_due_sooner();
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
        if self.greets_one_in_a_hold() {
            self.let_it_go_on();
            return Ok(());
        }
        self.must_be_connected()?;
        if self.run.as_ref().is_some_and(|run| !run.is_safe_end()) {
            self.drives_may_go_on()?;
            if self.spindle_first_on_resume() {
                return Ok(());
            }
        }
        // A menu may be shown before the machine says that it waits.
        self.needs_person |= self.person.offered().is_some();
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
            Stage::Cancelling => return Err(Denied::Stopping),
            // Where nothing was said to hold it, there is nothing to wait for.
            Stage::Holding if self.dialect.calm(Calm::Hold) != Spelling::None => return Err(Denied::Stopping),
            Stage::Holding | Stage::Held => {
                run.stage = run.held_from;
                run.probes = 0;
                run.rewinds = 0;
                if run.stalled.take().is_some() {
                    self.reread = Some(run.fed_line + 1);
                }
                self.known.notice = None;
                let counting = run.stage == Stage::Counter;
                self.asides.retain(|(aside, _)| *aside != Aside::HoldProof);
                self.told_job_phase(JobPhase::Running, None);
                self.go_on();
                if counting {
                    self.count_again();
                }
            }
            Stage::Asking => self.tool_is_in(),
            _ if waits => self.go_on(),
            _ => {}
        }
        Ok(())
    }

    /// The spindle turns again as it must: what a person has asked for is done now.
    pub(super) fn go_on_from_hold(&mut self) {
        let held = self.run.as_ref().is_some_and(|run| run.is_holding() && !run.is_safe_end());
        if held && self.phase == Phase::Ready {
            let _ = self.resume();
        }
    }

    /// Says "go on": only a person's request leads here.
    pub(super) fn go_on(&mut self) {
        if std::mem::take(&mut self.needs_person) {
            self.stop_waiting();
            self.answer_what_is_asked(self.person.offered());
            // One that does not report its state shows by its answer, or by saying that it works, that it goes on.
            self.needs_person = self.dialect.habits().stands_by_word() && !self.window.is_empty();
        }
        if !self.needs_person {
            self.prompt_over();
        }
        if !self.spindle_on_again() {
            self.say_go_on();
        }
        self.condition = None;
    }

    pub(super) fn say_go_on(&mut self) {
        match self.dialect.resume() {
            Spelling::Realtime(bytes) => {
                self.say_urgently(&bytes, false);
                self.go_on_said();
            }
            Spelling::Lines(_) | Spelling::None => {}
        }
        self.hold_stale_until = Some(self.now + HOLD_STALE);
    }

    fn cancel(&mut self) -> Answer {
        let notice = Notice::new(
            "job.cancelled",
            "The job was cancelled by request.",
            "The machine is being made safe.",
            "Look at the work before the next job.",
        );
        self.end_early(JobPhase::Cancelled, notice)
    }

    fn leave(&mut self) -> Answer {
        if self.dialect.habits().keeps_lines() {
            return self.pause();
        }
        let notice = Notice::new(
            "agent.ended",
            "The agent was told to end while the job was under way.",
            "The machine was made safe.",
            "Look at the machine and the work before anything else is started.",
        );
        self.end_early(JobPhase::Failed, notice)
    }

    fn end_early(&mut self, phase: JobPhase, notice: Notice) -> Answer {
        self.must_be_connected()?;
        let Some(run) = &self.run else { return Err(Denied::NoJob) };
        if !run.is_safe_end() && run.stage != Stage::Cancelling {
            self.cancel_as(phase, Some(notice));
        }
        Ok(())
    }

    fn stop(&mut self) -> Answer {
        if self.phase == Phase::Offline {
            return Err(Denied::Offline);
        }
        // Said even to a machine that has not answered yet: it may be moving.
        if let Spelling::Realtime(bytes) = self.dialect.calm(Calm::Halt) {
            self.say_urgently(&bytes, true);
        }
        let notice = self.stop_notice();
        self.table_used(Occupied::Stop);
        // What put it in trouble stays said until it is put right.
        let latched = matches!(self.phase, Phase::Alarm | Phase::Halted);
        let cause = self.known.notice.clone().filter(|cause| latched && cause.code != NOTHING_CHANGED);
        let cause = self.alarm_cause.take().filter(|_| latched).or(cause);
        self.end_run(JobPhase::Cancelled, Some(notice.clone()));
        if self.phase != Phase::Halted {
            self.obeying.stop_said(self.now);
            let greeting = matches!(self.phase, Phase::Greeting(_) | Phase::Wrong);
            self.window.clear();
            self.asides.clear();
            self.wire.clear();
            if !greeting {
                self.phase = Phase::Alarm;
                self.stopped = true;
                self.position_lost();
            }
        }
        match cause {
            Some(cause) => {
                self.known.notice = Some(cause.clone());
                self.alarm_cause = Some(cause);
                self.tell(EventKind::Trouble { notice });
            }
            None => self.tell_trouble(notice),
        }
        Ok(())
    }

    fn clear(&mut self) -> Answer {
        match self.phase {
            Phase::Offline => Err(Denied::Offline),
            Phase::Greeting(_) => self.wake(),
            // A person says that another machine stands there on purpose.
            Phase::Wrong if self.first_identity.is_some() && self.known.notice.as_ref().is_some_and(is_swap) => {
                self.first_identity = None;
                self.link_up(false);
                Ok(())
            }
            Phase::Wrong => Err(Denied::WrongMachine),
            // It does nothing of what it is told until it is reset.
            Phase::Ready if matches!(self.condition, Some(Condition::Sleep | Condition::Check)) => {
                self.begin_clearing();
                Ok(())
            }
            Phase::Ready => {
                // Who answers another question has not said that the table is clear.
                if self.waits_for_clear(self.state_but_for_table()) {
                    self.table_is_clear();
                }
                self.left_on.looked_at();
                self.left_hot.looked_at();
                self.idle_heat.looked_at(self.now);
                self.own_work.looked_at();
                // Whether it prints from its card is asked at once.
                self.deadlines.ask = self.deadlines.ask.map(|_| self.now);
                self.known.notice = None;
                // What a drive is in no word from here changes.
                if self.run.is_none() { self.drives_may_go_on() } else { Ok(()) }
            }
            Phase::Alarm | Phase::Halted => {
                self.begin_clearing();
                Ok(())
            }
        }
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
        if matches!(change, Override::Spindle(_)) && self.is_driven() {
            // The controller would change what nobody turns by.
            return Err(Denied::Unsupported);
        }
        self.say_word(&Word::Override(change))?;
        self.override_said(change);
        self.note_override(change);
        Ok(())
    }

    /// A machine that does not report its overrides has the last one it was told.
    fn note_override(&mut self, change: Override) {
        let reports = matches!(self.dialect.habits().asking, crate::dialect::Asking::Realtime { .. });
        let known = self.known.overrides.map_or(NORMAL, |overrides| overrides.value);
        let overrides = match change {
            Override::Flow(percent) => Overrides { flow_percent: Some(percent), ..known },
            Override::Feed(percent) if !reports => Overrides { feed_percent: percent, ..known },
            _ => return,
        };
        self.known.overrides = Some(Reading::fresh(overrides, self.now));
        self.known.generation += 1;
    }

    pub(super) fn must_be_connected(&self) -> Answer {
        match self.phase {
            Phase::Offline => Err(Denied::Offline),
            Phase::Greeting(_) => Err(Denied::NotReady),
            Phase::Wrong => Err(Denied::WrongMachine),
            Phase::Alarm | Phase::Halted => Err(Denied::Alarm),
            Phase::Ready => Ok(()),
        }
    }

    pub(super) fn must_be_free(&self) -> Answer {
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
