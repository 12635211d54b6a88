//! A job's way through the controller: lines into blocks, the start, and what each look means for it.

use super::block::{next_number, writes};
use super::host::{Host, Purpose, Sending, Stage};
use super::map::Word;
use crate::Moment;
use crate::modbus::Trouble;
use std::time::Duration;

/// Times a block is written again that the controller does not take.
const BLOCKS_MAX: u32 = 3;

/// Looks in a row at a machine that rests without being done, after which the program counts as ended by somebody: a
/// state word and its done bit may be set in different scans.
const IDLE_MAX: u32 = 5;

impl Host {
    /// Longest line, in characters: with its end it must fit into the window.
    pub(super) fn chars_max(&self) -> usize {
        let Some(blocks) = &self.map.program.blocks else { return 80 };
        let registers = self.map.point(&blocks.text).map_or(0, |point| usize::from(point.size()));
        (registers * 2).saturating_sub(blocks.line_end.bytes().len())
    }

    /// Takes a line of a job's program.
    pub(super) fn take_line(&mut self, now: Moment, line: Vec<u8>) {
        if self.alarmed || self.latched || matches!(self.stage, Stage::Look | Stage::Stopping { .. }) {
            return self.lines.push_back(Err("not_ready"));
        }
        if self.map.program.blocks.is_none() {
            return self.take_number(&line);
        }
        if matches!(self.stage, Stage::Rest | Stage::Over) {
            self.open(now);
        }
        let fits = line.len() <= self.chars_max();
        self.lines.push_back(if fits { Ok(line) } else { Err("line_too_long") });
    }

    /// A controller that has its programs is told which one: `M98 P42`, and the end of a program says nothing.
    fn take_number(&mut self, line: &[u8]) {
        if matches!(self.stage, Stage::Rest | Stage::Over) {
            self.forget_job();
            self.stage = Stage::Filling;
        }
        if matches!(line, b"M2" | b"M02" | b"M30") {
            return self.say("ok\n");
        }
        let digits = line.strip_prefix(b"M98P").filter(|digits| digits.len() <= 9);
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
        let point = self.map.program.number.as_ref();
        let known = number.filter(|number| {
            self.named.is_none() && point.is_some_and(|name| self.map.write(name, f64::from(*number)).is_some())
        });
        match known {
            Some(number) => {
                self.named = Some(u64::from(number));
                self.kept += 1;
                self.say("ok\n");
            }
            None => self.refuse("not_a_number"),
        }
    }

    /// A line that cannot go. The program is not started without it, whatever is decided about the line.
    fn refuse(&mut self, code: &str) {
        self.spoiled = true;
        let sentence = match code {
            "line_too_long" => "The line does not fit into a block.",
            "not_a_number" => {
                "The controller has its programs: a job names one of them, as `M98 P42`, within the numbers of its \
                 profile, and holds nothing else."
            }
            _ => "The machine is in alarm or not known yet; the line was not written.",
        };
        self.say(&format!("error:{code} {sentence}\n"));
    }

    /// A new program: the controller forgets the one it has.
    fn open(&mut self, now: Moment) {
        self.forget_job();
        self.stage = Stage::Opening { since: now };
        let Some(blocks) = self.map.program.blocks.clone() else { return };
        if let Some(name) = self.map.program.number.clone() {
            self.push(self.map.write(&name, f64::from(blocks.keep_as)), Purpose::Must);
        }
        self.push(self.map.write(&blocks.number, 0.0), Purpose::Must);
        self.look_soon(now);
    }

    /// Whatever can be done now.
    pub(super) fn go_on(&mut self, now: Moment) {
        while self.sending.is_none() && self.lines.front().is_some_and(Result::is_err) {
            if let Some(Err(code)) = self.lines.pop_front() {
                self.refuse(code);
            }
        }
        if self.stage == Stage::Filling && !self.held {
            self.send_block(now);
            if self.start_asked && self.sending.is_none() && self.lines.is_empty() {
                self.load(now);
            }
        } else if self.start_asked && matches!(self.stage, Stage::Rest | Stage::Over) && self.lines.is_empty() {
            // A program without a line, or one whose lines were all refused.
            self.fail("nothing_to_start", "There is no line of a program to start.");
        }
    }

    fn send_block(&mut self, now: Moment) {
        let Some(blocks) = self.map.program.blocks.clone() else { return };
        if self.sending.is_some() || !matches!(self.lines.front(), Some(Ok(_))) {
            return;
        }
        let end = blocks.line_end.bytes();
        let room = self.chars_max() + end.len();
        let (mut text, mut count) = (Vec::new(), 0);
        while let Some(Ok(line)) = self.lines.front() {
            if text.len() + line.len() + end.len() > room {
                break;
            }
            text.extend_from_slice(line);
            text.extend_from_slice(end);
            count += 1;
            self.lines.pop_front();
        }
        self.block = next_number(self.block);
        self.sending = Some(Sending { number: self.block, lines: count, text, since: now, tries: 0, error_before: 0 });
        self.write_block(now);
    }

    fn write_block(&mut self, now: Moment) {
        let (Some(blocks), Some(sending)) = (self.map.program.blocks.clone(), &mut self.sending) else { return };
        sending.since = now;
        for question in writes(&self.map, &blocks, sending.number, &sending.text) {
            self.push(Some(question), Purpose::Must);
        }
        self.look_soon(now);
    }

    /// All lines are there: the controller is told so, and asked which program it has.
    fn load(&mut self, now: Moment) {
        if self.spoiled {
            return self.fail("spoiled", "A line of the program was refused, so it is not started.");
        }
        let program = self.map.program.clone();
        if let Some(size) = program.blocks.as_ref().and_then(|blocks| blocks.size.as_ref()) {
            self.push(self.map.write(size, self.bytes as f64), Purpose::Must);
        }
        if let (Some(name), Some(number)) = (&program.number, self.named) {
            self.push(self.map.write(name, number as f64), Purpose::Must);
        }
        self.act(now, program.load.as_ref(), Purpose::Must);
        // A start whose pulse an agent did not live to end would have no edge.
        self.push(self.map.release(&program.start), Purpose::Must);
        self.stage = Stage::Loading { since: now };
        self.look_soon(now);
    }

    /// A write arrived.
    pub(super) fn wrote(&mut self, now: Moment, start: bool) {
        if let (true, Stage::Starting { done_before, .. }) = (start, self.stage) {
            self.stage = Stage::Starting { since: now, done_before };
        }
        if self.writes.is_empty() {
            // What the writes brought about is looked for from now on.
            self.look_soon(now);
        }
    }

    /// Whether the start was carried out is not known; it is not written a second time, because it could be.
    pub(super) fn start_unanswered(&mut self, now: Moment, trouble: &Trouble) {
        if trouble.is_refusal() {
            return self.fail("start_refused", &format!("The controller did not take the start: {trouble}."));
        }
        self.start_unsure = true;
        self.look_soon(now);
    }

    /// What a whole look at the controller means.
    pub(super) fn act_on_look(&mut self, now: Moment) {
        if self.stage == Stage::Look {
            self.stage = Stage::Rest;
        }
        let in_alarm = self.seen.alarm != 0 || self.seen.word == Some(Word::Alarm);
        if in_alarm && !self.alarmed {
            self.tell_alarm();
        }
        self.alarmed = in_alarm;
        match self.stage {
            Stage::Opening { since } => self.look_for_empty(now, since),
            Stage::Filling => self.look_for_block(now),
            Stage::Loading { since } => self.look_for_program(now, since),
            Stage::Starting { since, done_before } => self.look_for_start(now, since, done_before),
            Stage::Running { idle } => self.look_for_end(idle),
            Stage::Stopping { since, again_at, told } => self.look_for_stand(now, since, again_at, told),
            Stage::Look | Stage::Rest | Stage::Over => {}
        }
    }

    fn tell_alarm(&mut self) {
        let number = self.seen.alarm;
        let sentence = self.map.sentence(self.map.program.alarm.as_ref(), number);
        let sentence = sentence.unwrap_or_else(|| format!("alarm {number}"));
        self.say(&format!("ALARM:alarm.{number} The controller is in alarm: {sentence}.\n"));
        if !matches!(self.stage, Stage::Stopping { .. }) {
            self.forget_job();
            self.stage = Stage::Rest;
        }
    }

    /// The job cannot go on, and a person must look.
    pub(super) fn fail(&mut self, code: &str, sentence: &str) {
        self.forget_job();
        self.stage = Stage::Rest;
        self.latched = true;
        self.say(&format!("ALARM:{code} {sentence}\n"));
    }

    fn look_for_empty(&mut self, now: Moment, since: Moment) {
        if self.seen.taken == Some(0) && self.writes.is_empty() {
            self.stage = Stage::Filling;
            self.look_soon(now);
        } else if self.overdue(now, since) {
            self.fail(
                "not_emptied",
                "The controller was told to forget its program (block 0) and does not say that it has.",
            );
        }
    }

    fn look_for_block(&mut self, now: Moment) {
        let Some(sending) = &mut self.sending else {
            let kept = self.seen.taken;
            if self.map.program.blocks.is_some() && kept.is_some_and(|kept| kept != self.block) {
                self.lost_program();
            }
            return;
        };
        let (number, lines, bytes) = (sending.number, sending.lines, sending.text.len() as u64);
        let before = if number == 1 && self.kept > 0 { u16::MAX } else { number - 1 };
        if self.seen.taken == Some(number) {
            self.sending = None;
            (self.kept, self.bytes) = (self.kept + lines, self.bytes + bytes);
            for _ in 0..lines {
                self.say("ok\n");
            }
            return self.look_soon(now);
        }
        if self.seen.taken.is_some_and(|taken| taken != before) {
            return self.lost_program();
        }
        let within = self.map.program.blocks.as_ref().map_or(0, |blocks| blocks.within_ms);
        // What it showed before the block was sent again is no answer to that, until it changes or the time is over.
        if self.seen.error != sending.error_before {
            sending.error_before = 0;
        }
        let refused = self.seen.error != sending.error_before;
        if !self.writes.is_empty() || (!refused && now.since(sending.since) < Duration::from_millis(within)) {
            return;
        }
        (sending.tries, sending.error_before) = (sending.tries + 1, self.seen.error);
        if sending.tries <= BLOCKS_MAX {
            return self.write_block(now);
        }
        let error = self.map.program.blocks.as_ref().and_then(|blocks| blocks.error.as_ref());
        let why = match self.seen.error {
            0 => "it does not say that it has taken it".to_owned(),
            code => self.map.sentence(error, code).unwrap_or_else(|| format!("error {code}")),
        };
        self.fail("block_refused", &format!("The controller did not take block {number}: {why}."));
    }

    fn lost_program(&mut self) {
        self.fail("lost", "The controller no longer has the blocks that it had taken: it restarted, or somebody else loads a program.");
    }

    fn look_for_program(&mut self, now: Moment, since: Moment) {
        let program = &self.map.program;
        let wanted = self.named.or_else(|| program.blocks.as_ref().map(|blocks| u64::from(blocks.keep_as)));
        let right = program.loaded.is_none() || (self.seen.loaded.is_some() && self.seen.loaded == wanted);
        let free = matches!(self.seen.word, Some(Word::Idle | Word::Done));
        if self.writes.is_empty() && right && free && !self.held {
            self.stage = Stage::Starting { since: now, done_before: self.seen.done };
            let start = self.map.program.start.clone();
            self.act(now, Some(&start), Purpose::Start);
            return self.look_soon(now);
        }
        if self.held || !self.overdue(now, since) {
            return;
        }
        let loaded = self.seen.loaded.map_or_else(|| "none".to_owned(), |loaded| loaded.to_string());
        let why = match (right, wanted) {
            (false, Some(wanted)) => {
                format!("The controller has program {loaded} loaded, and not {wanted}; nothing was started.")
            }
            _ => "The controller is not free; nothing was started.".to_owned(),
        };
        self.fail("not_loaded", &why);
    }

    fn look_for_start(&mut self, now: Moment, since: Moment, done_before: bool) {
        let runs = self.seen.word.is_some_and(Word::is_work);
        // A program that was over between two looks has left its mark, if the mark was not there before.
        if runs || (self.seen.done && !done_before) {
            self.stage = Stage::Running { idle: 0 };
            self.start_asked = false;
            self.say("ok\n");
            return self.look_for_end(0);
        }
        if !self.writes.is_empty() || !self.overdue(now, since) {
            return;
        }
        let unsure = self.start_unsure;
        let (code, why) = if unsure {
            (
                "start_unknown",
                "The start had no answer and the controller does not say that it runs. Whether it started is not known; it was told to stop.",
            )
        } else {
            ("not_started", "The controller was told to start and does not say that it runs. It was told to stop.")
        };
        self.fail(code, why);
        self.begin_stop(now);
    }

    fn look_for_end(&mut self, idle: u32) {
        let rests = matches!(self.seen.word, Some(Word::Idle | Word::Done));
        if let Some(line) = self.seen.line.filter(|line| *line <= self.kept) {
            // The line itself is being executed; those before it are over. It never goes back.
            self.executed = self.executed.max(line.saturating_sub(1));
        }
        if rests && self.seen.done {
            self.executed = self.kept;
            self.stage = Stage::Over;
            return;
        }
        let idle = if rests { idle + 1 } else { 0 };
        self.stage = Stage::Running { idle };
        if idle >= IDLE_MAX {
            self.fail("ended_early", "The controller rests without saying that the program came to its end: it was stopped at its panel, or it restarted.");
        }
    }

    fn look_for_stand(&mut self, now: Moment, since: Moment, again_at: Moment, told: bool) {
        if matches!(self.seen.word, Some(Word::Idle | Word::Done | Word::Alarm)) && self.writes.is_empty() {
            self.stage = Stage::Rest;
            return self.say_ready();
        }
        let within = Duration::from_millis(self.map.program.stop_within_ms);
        let overdue = now.since(since) >= within;
        if overdue && !told {
            let seconds = within.as_secs_f64();
            self.say(&format!(
                "[MSG:The controller was told to stop and does not say after {seconds} s that it stands. Stop is written again and again. Press the emergency stop.]\n"
            ));
        }
        let again = now >= again_at;
        let again_at = if again { now + super::host::STOP_EVERY } else { again_at };
        if again {
            let stop = self.map.program.stop.clone();
            self.act(now, Some(&stop), Purpose::May);
        }
        self.stage = Stage::Stopping { since, again_at, told: told || overdue };
    }

    fn overdue(&self, now: Moment, since: Moment) -> bool {
        now.since(since) >= Duration::from_millis(self.map.program.start_within_ms)
    }

    /// Stands still: the machine where it runs, the loading where it does not.
    pub(super) fn hold(&mut self, now: Moment) {
        self.held = true;
        if !matches!(self.stage, Stage::Starting { .. } | Stage::Running { .. }) {
            return;
        }
        let hold = self.map.program.hold.clone();
        if hold.is_none() {
            self.say("[MSG:The controller has no hold: the program runs on to its end, or until it is cancelled.]\n");
        }
        self.act(now, hold.as_ref(), Purpose::May);
        self.look_soon(now);
    }

    pub(super) fn resume(&mut self, now: Moment) {
        self.held = false;
        if matches!(self.stage, Stage::Starting { .. } | Stage::Running { .. }) {
            let resume = self.map.program.resume.clone();
            self.act(now, resume.as_ref(), Purpose::May);
        }
        if let Stage::Loading { .. } = self.stage {
            self.stage = Stage::Loading { since: now };
        }
        self.look_soon(now);
        self.go_on(now);
    }
}
