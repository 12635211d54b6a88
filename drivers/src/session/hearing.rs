//! What a machine says, and what it means for the conversation.

use super::said::without_control;
use super::{HEARD_LINE_MAX, Phase, Session, Stage};
use crate::dialect::{Effect, Reply};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::interlock::{self, Response, Trouble};
use crate::notice::Notice;
use crate::session::recovery::RETAKEN_LINES;
use crate::snapshot::{JobPhase, Reading, Temperature};

/// Heaters kept. No firmware drives more: tool changers have up to 16 tools.
const HEATERS_MAX: usize = 32;

impl Session {
    /// Cuts what arrives into lines. Any bytes mean something, if only chatter.
    pub(super) fn hear_bytes(&mut self, bytes: &[u8]) {
        self.known.link.bytes_in += bytes.len() as u64;
        self.note_garbage(bytes);
        let mut rest = bytes;
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            if std::mem::take(&mut self.partial_overlong) {
                self.partial.clear();
                self.known.link.chatter += 1;
            } else if self.partial.is_empty() {
                self.hear_line(line);
            } else {
                self.keep_partial(line);
                let line = std::mem::take(&mut self.partial);
                self.hear_line(&line);
                self.partial = line;
                self.partial.clear();
            }
        }
        self.keep_partial(rest);
    }

    fn keep_partial(&mut self, bytes: &[u8]) {
        let room = HEARD_LINE_MAX.saturating_sub(self.partial.len());
        self.partial_overlong |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn hear_line(&mut self, line: &[u8]) {
        if line.is_empty() || matches!(self.phase, Phase::Offline | Phase::Wrong) {
            return;
        }
        self.heard_something();
        // The answer to almost every line of a job; everything else takes the long way.
        if line != b"ok" {
            if let Some(clean) = without_control(line, self.echoes) {
                if !clean.is_empty() {
                    self.hear_clean_line(&clean);
                }
                return;
            }
        }
        self.hear_clean_line(line);
    }

    fn hear_clean_line(&mut self, line: &[u8]) {
        // The answer to almost every line of a job; everything else takes the long way.
        if line != b"ok" && !self.may_have_said(line) {
            return;
        }
        if !line.is_ascii() && !matches!(self.phase, Phase::Greeting(_)) {
            self.known.link.damaged_heard += 1;
            self.wire_trouble("what the machine said arrived damaged");
        }
        let mut heard = std::mem::take(&mut self.heard);
        self.dialect.read(line, &mut heard);
        in_front_of_its_answer(&mut heard);
        let strange = heard.iter().any(|reply| matches!(reply, Reply::Chatter | Reply::Message(_)));
        if matches!(self.phase, Phase::Greeting(_)) {
            // What means nothing we know says more of who speaks than an answer does.
            if !self.greeting_heard(line) && (strange || self.said.is_empty()) {
                self.note_said(line);
            }
        } else if strange {
            self.note_said(line);
            if self.echoes && self.is_echo(line) {
                heard.clear();
            }
        }
        for reply in heard.drain(..) {
            if matches!(self.phase, Phase::Greeting(_)) {
                self.hear_greeting(reply);
            } else {
                self.hear(reply);
            }
        }
        self.heard = heard;
    }

    fn hear(&mut self, reply: Reply) {
        self.settle_doubt(&reply);
        let resend_ok = self.resend_ok_until.take().is_some_and(|until| self.now <= until);
        if resend_ok && matches!(reply, Reply::Ok { number: None, .. }) && self.dialect.habits().ok_after_resend {
            self.alone_settles();
            return self.sign_of_life();
        }
        self.stop_answered(&reply);
        match reply {
            Reply::Ok { number, planner_free, queue_free } => self.hear_ok(number, planner_free, queue_free),
            Reply::Refused { sentence, .. } if self.halt.is_some() => self.halted(&sentence, true),
            Reply::Said(said) if self.halt.is_some() && said.effect == Effect::Refuse => self.halted(&said.text, true),
            Reply::Said(said) => self.hear_said(said),
            Reply::Refused { code, sentence, answers } => self.hear_refusal(code, sentence, answers),
            Reply::Resend { number } => self.hear_resend(number),
            // What is in flight behind a damaged line does not fit any more, and is told of as well: it is one damage.
            Reply::ChecksumError | Reply::Gap if self.resyncs() => self.sign_of_life(),
            Reply::ChecksumError => {
                self.known.link.checksum_errors += 1;
                self.health.damage_told = true;
                self.wire_trouble("a line arrived damaged");
                self.sign_of_life();
            }
            Reply::PassedOver { number } => self.hear_passed_over(number),
            Reply::Gap => {
                self.known.link.gaps += 1;
                self.health.damage_told = true;
                self.wire_trouble("a line did not arrive");
                self.sign_of_life();
            }
            // In a job, where only a question is due an answer, nothing waits for a temperature.
            Reply::Heats if self.run.is_some() && self.is_only_asked() => {}
            Reply::Busy | Reply::Heats => {
                self.needs_person = false;
                self.works_on();
                self.busy_heard();
                self.settles_later();
                self.sign_of_life();
            }
            Reply::WantsLines => self.wants_lines(),
            Reply::NeedsPerson => self.hear_needs_person(),
            Reply::Action(action) => self.hear_action(action),
            Reply::Prompt(prompt) => self.hear_prompt(prompt),
            Reply::Probed(probed) => self.hear_probed(probed),
            Reply::Status(status) => self.hear_status(&status),
            // A host that starts again has forgotten what it was told.
            Reply::Started | Reply::Starting(_) => self.hear_restart(),
            Reply::Card(card) => self.hear_card(card),
            Reply::Alarm { code, sentence, needs_reset } => {
                if needs_reset {
                    self.needs_reset();
                }
                self.clearing_refused(&sentence);
                self.hear_alarm(code, sentence);
            }
            Reply::Halted { text, explained } => self.halted(&text, explained),
            Reply::Identity(_) => {}
            other => self.note_report(&other),
        }
    }

    /// Replies that only report: they change what is known, not where the conversation stands.
    pub(super) fn note_report(&mut self, reply: &Reply) {
        match reply {
            Reply::Position(position) => {
                self.known.position_mm = Some(Reading::fresh(*position, self.now));
                self.known.generation += 1;
                self.position_after_its_answer();
                let last = self.reporting.position_told(self.now);
                if self.dialect.habits().numbered {
                    self.position_ends_doubt(last);
                } else if last {
                    self.position_past_what_is_lost();
                }
                self.position_proof(last);
                self.note_own_motion(*position);
            }
            // What it tells is no position; that it tells it in its turn proves as much, where it was asked under a checksum.
            Reply::NoPosition(_) if self.dialect.habits().numbered => {
                let last = self.reporting.position_told(self.now);
                self.position_ends_doubt(last);
                self.position_proof(last);
                if let Some(run) = &mut self.run {
                    run.no_position = true;
                }
            }
            Reply::Temperatures(temperatures) => {
                for (heater, actual, target) in temperatures {
                    self.note_temperature(heater, *actual, *target);
                }
                self.known.generation += 1;
                self.found_hot();
                self.note_idle_heat();
                if self.still_heats(temperatures) {
                    self.sign_of_life();
                }
            }
            Reply::Said(said) => self.tell(EventKind::Message { text: said.text.clone() }),
            Reply::Unpacks { without_spaces } => self.packing.receiver_says(&self.profile, *without_spaces),
            Reply::Message(text) if !text.is_empty() => self.tell(EventKind::Message { text: text.clone() }),
            Reply::Setting(key, value) => self.note_setting(key, value),
            Reply::SpindleOn(on) => self.found_by_modal_state(*on),
            Reply::Offset(name, offset) => self.note_offset(name, *offset),
            Reply::Codes(codes) => self.note_codes(codes),
            Reply::Chatter => self.known.link.chatter += 1,
            _ => {}
        }
    }

    /// Whether a question is the oldest of what has no answer: everything before it was answered.
    fn is_only_asked(&self) -> bool {
        matches!(self.window.oldest(), Some(Frame::Aside(aside)) if aside.is_question())
    }

    fn note_temperature(&mut self, heater: &str, actual_c: f64, target_c: Option<f64>) {
        let reading = Temperature { heater: heater.to_owned(), actual_c: Reading::fresh(actual_c, self.now), target_c };
        let known = &mut self.known.temperatures;
        match known.iter().position(|known| known.heater == heater) {
            Some(place) => known[place] = reading,
            None if known.len() < HEATERS_MAX => known.push(reading),
            None => {}
        }
    }

    fn hear_ok(&mut self, number: Option<u64>, planner_free: Option<u32>, queue_free: Option<u32>) {
        if self.condition.is_none() {
            self.needs_person = false;
        }
        if let Some(number) = number {
            // An answer that names its line settles every earlier one too: their answers were lost on the way.
            while let Some(Frame::Job(ordinal)) = self.window.oldest() {
                if ordinal >= number {
                    break;
                }
                self.known.link.answers_lost += 1;
                self.reporting.queue_unknown();
                self.window.answered();
                self.accepted(ordinal);
            }
            if self.window.oldest().is_some_and(|oldest| matches!(oldest, Frame::Job(ordinal) if ordinal > number)) {
                self.known.link.answers_extra += 1;
                self.reporting.queue_unknown();
                return;
            }
        }
        if self.answers_named && number.is_none() && self.names_its_answer() {
            // What follows a request to say a line again, or a line that was passed over; or an answer to somebody else.
            return self.extra_answer();
        }
        self.answers_named |= number.is_some();
        self.works_or_answers();
        self.take_answer();
        if let Some(free) = planner_free {
            self.planner_evidence(free);
        }
        self.queue_evidence(queue_free);
        self.sign_of_life();
    }

    /// Counts one answer to the oldest frame, whatever that was.
    pub(super) fn take_answer(&mut self) {
        self.deadlines.widen = None;
        self.busy_is_over();
        match self.window.answered() {
            None => self.extra_answer(),
            Some(Frame::Job(ordinal)) => {
                self.accepted(ordinal);
                self.may_wait_again();
            }
            Some(Frame::Aside(aside)) => self.aside_answered(aside),
        }
    }

    /// Whether the answer that is due is one that names its line. Marlin's to M105 does not (`M105.cpp`): it says its
    /// own `ok`, with the temperatures.
    fn names_its_answer(&self) -> bool {
        let Some(Frame::Job(ordinal)) = self.window.oldest() else { return false };
        let due = self.run.as_ref().and_then(|run| run.history.command(ordinal));
        self.dialect.habits().ok_when_taken || due.is_none_or(|command| !command.text.starts_with(b"M105"))
    }

    fn accepted(&mut self, ordinal: u64) {
        self.prompt_answered(ordinal);
        let planner_blocks = self.planner_blocks();
        let Some(run) = &mut self.run else { return };
        if run.resync.is_some_and(|resync| ordinal >= resync.ordinal) {
            // The answer behind a request to say a line again is no answer to that line.
            return;
        }
        if ordinal == run.lead && run.highest >= RETAKEN_LINES && run.resync.is_none() {
            return self.line_counter_lost();
        }
        run.accepted = run.accepted.max(ordinal);
        run.highest = run.highest.max(ordinal);
        run.passed_over = 0;
        run.alone_until = None;
        let homed = run.homing.filter(|(at, _)| *at == ordinal && !run.undone.holds(ordinal)).map(|(_, homed)| homed);
        // Only reports that follow the last answer can prove that its motion is over.
        run.idle_reports = 0;
        run.loss_counted = false;
        run.executed_but(planner_blocks, planner_blocks);
        if let Some(homed) = homed {
            run.homing = None;
            self.job_homed(homed);
        }
        self.ran_behind_a_refusal(ordinal);
    }

    fn aside_answered(&mut self, aside: Aside) {
        if aside == Aside::Arm {
            self.settings.armed_s = self.profile.safety.inactivity_s;
            self.known_protection();
        }
        self.hand_answered(aside, false);
        if aside == Aside::Unstick {
            self.unstuck();
        }
        if aside == Aside::Card {
            self.card_answered();
        }
        self.reporting.stood |= aside == Aside::HoldProof;
        if aside == Aside::Query {
            self.proof_question_answered();
        }
        if aside == Aside::AutoReport {
            self.reporting.temperatures = true;
        }
        let Some(run) = &mut self.run else { return };
        match (aside, run.stage) {
            (Aside::CounterReset, Stage::Counter) => run.stage = Stage::Streaming,
            (Aside::CounterReset, _) if run.held_from == Stage::Counter => run.held_from = Stage::Streaming,
            (Aside::HoldProof, Stage::Streaming) => run.stands_for_tool = self.window.is_empty(),
            (Aside::HoldProof, Stage::Holding) => {
                run.stage = Stage::Held;
                self.told_job_phase(JobPhase::Held, None);
            }
            _ => {}
        }
    }

    /// The board said its banner in the middle of a conversation.
    fn hear_restart(&mut self) {
        if self.phase == Phase::Halted {
            return;
        }
        if let Some(run) = &self.run {
            if run.stage == Stage::Cancelling {
                return self.begin_safe_end();
            }
            if interlock::respond(Trouble::MachineRestarted) == Response::Fail {
                let notice = Notice::new(
                    "machine.restarted",
                    format!(
                        "The machine restarted by itself during the job, after line {} at least.",
                        run.progress.executed_line
                    ),
                    "The job is over; nothing more was sent.",
                    "Check the power supply and the cable, and look at the work. Then start again, or go on behind that line (`fab-agent \
             job resume-after-failure`, or the page), where the position can be found again.",
                );
                self.end_run(JobPhase::Failed, Some(notice));
            }
        }
        if self.restarted_for_clearing() {
            // A person asked for that, and for this restart.
            return;
        }
        if self.phase == Phase::Alarm {
            // The latch stays: a restart is no person, and no report of a machine at rest is one.
            if self.dialect.habits().printer {
                self.phase = Phase::Halted;
            }
            self.window.clear();
            self.asides.clear();
            return;
        }
        let opened = self.known.link.opened;
        self.link_up(false);
        self.known.link.opened = opened;
    }

    pub(super) fn hear_alarm(&mut self, code: String, sentence: String) {
        if self.phase == Phase::Alarm {
            return;
        }
        let job = self.run.is_some();
        let done = if job { "The job is over; nothing more was sent." } else { "Nothing is sent until it is cleared." };
        let to_do = format!("Look at the machine. {}", self.dialect.habits().way_out);
        let sentence = match self.said_just_now() {
            Some(said) => format!("{sentence} Before that it said: {said}."),
            None => sentence,
        };
        let notice = Notice::new(code, sentence, done, to_do);
        self.phase = Phase::Alarm;
        self.alarm_cause = None;
        self.settings.locked = true;
        self.position_lost();
        self.known.notice = Some(notice.clone());
        self.window.clear();
        self.asides.clear();
        self.wire.clear();
        if job && interlock::respond(Trouble::MachineAlarm) == Response::Fail {
            self.end_run(JobPhase::Failed, Some(notice.clone()));
        }
        self.tell(EventKind::Trouble { notice });
    }

    /// Whether a job is being said that nobody asked to hold.
    pub(super) fn runs_on(&self) -> bool {
        self.run
            .as_ref()
            .is_some_and(|run| matches!(run.stage, Stage::Streaming | Stage::Proving) && !run.is_safe_end())
    }
}

/// What is told behind an acknowledgement in the same line belongs to the question that is acknowledged: it counts as told in
/// front of it, as by other firmwares. Otherwise an answer that is due to an earlier line is taken for that of the question,
/// whose own then never comes.
fn in_front_of_its_answer(heard: &mut [Reply]) {
    if let [Reply::Ok { .. }, told @ ..] = heard {
        if told.iter().any(|reply| matches!(reply, Reply::Position(_) | Reply::NoPosition(_))) {
            heard.rotate_left(1);
        }
    }
}
