//! What the machine's block says, and what the session hears of it.

use std::time::Duration;

use super::super::{
    MAGIC, SLOT_FRAME, SLOT_TEXT_MAX, SLOTS, SLOTS_MAX, State, TRANSACTIONS_MAX, VERSION, feature, machine,
};
use super::{FOREIGN_MAX, Host, LOOK_FIRST, LOOK_LAST, Layout, REFUSAL_STANDS, Stage, Status, next_session};
use crate::Moment;

impl Host {
    pub(super) fn identified(&mut self, now: Moment, words: &[u16]) -> Result<(), String> {
        let word = |at: u16| words.get(usize::from(at)).copied().unwrap_or(0);
        if word(machine::MAGIC) != MAGIC {
            let found = word(machine::MAGIC);
            return Err(format!(
                "register {} holds 0x{found:04X} where a mailbox begins with 0x{:04X}",
                self.base, MAGIC
            ));
        }
        let (version, slots, text_words) = (word(machine::VERSION), word(machine::SLOTS), word(machine::SLOT_TEXT));
        if version != VERSION {
            return Err(format!("the mailbox has version {version}; this agent knows {VERSION}"));
        }
        let sized = (1..=SLOTS_MAX).contains(&slots) && (1..=SLOT_TEXT_MAX).contains(&text_words);
        let end = |slot_words: u16| u32::from(self.base) + u32::from(SLOTS) + u32::from(slots) * u32::from(slot_words);
        if !sized || end(text_words + SLOT_FRAME) > 0x1_0000 {
            return Err(format!("the mailbox says that it has {slots} slots of {text_words} words, which cannot be"));
        }
        self.layout = Some(Layout {
            slots: u64::from(slots),
            text_words,
            watchdog: Duration::from_millis(u64::from(word(machine::WATCHDOG_MS))),
            read_write: self.may_read_write && word(machine::FEATURES) & feature::READ_WRITE != 0,
            transactions: usize::from(word(machine::TRANSACTIONS)).clamp(1, TRANSACTIONS_MAX),
        });
        self.beat = word(machine::BEAT);
        self.command_number = word(machine::COMMAND_DONE);
        self.status = Status { beat: self.beat, command_done: self.command_number, ..Status::default() };
        self.session = next_session(word(machine::SESSION));
        self.stage = Stage::Opening;
        self.block_due = true;
        self.look_at = now;
        Ok(())
    }

    pub(super) fn introduce(&mut self) {
        self.identify_asked = false;
        let Some(layout) = self.layout else { return };
        let chars = layout.text_words * 2;
        let watchdog = layout.watchdog.as_millis();
        self.say(&format!("[MAILBOX:{},{},{chars},{watchdog}]\nok\n", VERSION, layout.slots));
    }

    pub(super) fn hear_status(&mut self, now: Moment, words: &[u16]) {
        self.look_at = now + self.look_wait;
        self.look_wait = (self.look_wait * 2).min(LOOK_LAST);
        self.writes_since_look = 0;
        let word = |at: u16| words.get(usize::from(at - machine::SESSION)).copied().unwrap_or(0);
        if word(machine::SESSION) != self.session || self.stage == Stage::Ousted {
            self.hear_foreign(now, word(machine::SESSION));
            return;
        }
        self.foreign = 0;
        if self.stage == Stage::Opening {
            self.opened(now);
        }
        let long = |at: u16| u32::from(word(at)) << 16 | u32::from(word(at + 1));
        let signed = |at: u16| i32::from_ne_bytes(long(at).to_ne_bytes());
        let status = Status {
            beat: word(machine::BEAT),
            command_done: word(machine::COMMAND_DONE),
            state: word(machine::STATE),
            alarm: word(machine::ALARM),
            position_um: [0, 2, 4].map(|at| signed(machine::POSITION + at)),
            feed: long(machine::FEED),
            spindle: long(machine::SPINDLE),
        };
        let behind = |new: u16, old: u16| new != old && new.wrapping_sub(old) > 0x8000;
        let taken = self.taken + u64::from(word(machine::TAKEN).wrapping_sub(self.taken as u16));
        let executed = self.executed + u64::from(word(machine::EXECUTED).wrapping_sub(self.executed as u16));
        let late = behind(status.beat, self.status.beat) || behind(status.command_done, self.status.command_done);
        if late || taken > self.offered || executed > taken {
            // From before what was heard already, or no sense at all: not believed, and asked again.
            return;
        }
        self.status = status;
        self.hear_taken(now, taken, (word(machine::ERROR), word(machine::ERROR_LINE)));
        self.executed = executed;
        if self.ordered && status.command_done == self.command_number {
            self.ordered = false;
            if let Some(order) = self.orders.pop_front() {
                self.say(order.reply);
            }
        }
        self.hear_state();
    }

    /// Every line the machine took has its answer, once.
    fn hear_taken(&mut self, now: Moment, taken: u64, (error, error_line): (u16, u16)) {
        while self.taken < taken {
            self.taken += 1;
            self.lines.pop_front();
            self.progress_at = now;
            self.look_wait = LOOK_FIRST;
            if error != 0 && error_line == self.taken as u16 {
                self.say(&format!("error:{error}\n"));
                self.refused = Some((error_line, now + REFUSAL_STANDS));
            } else {
                self.say("ok\n");
            }
        }
        self.written = self.written.max(self.taken);
    }

    pub(super) fn note_refusal_seen(&mut self, now: Moment) {
        if let Some((line, _)) = self.refused.take_if(|(_, at)| now >= *at) {
            self.error_seen = line;
            self.block_due = true;
        }
    }

    fn hear_state(&mut self) {
        let alarm = State::of(self.status.state) == Some(State::Alarm);
        if alarm && !self.alarmed {
            self.lines.clear();
            self.said_lines.clear();
            self.written = self.taken;
            self.void_writes();
            self.say(&format!("ALARM:{}\n", self.status.alarm));
        }
        self.alarmed = alarm;
        if std::mem::take(&mut self.status_asked) {
            self.report();
        }
    }

    fn report(&mut self) {
        let waiting = self.taken - self.executed;
        let busy = !self.lines.is_empty() || !self.said_lines.is_empty() || waiting > 0 || self.ordered;
        let state = match State::of(self.status.state) {
            // Idle is said only when nothing is on its way that could end it.
            Some(State::Idle) if busy => "Run",
            Some(State::Idle) => "Idle",
            Some(State::Run) => "Run",
            Some(State::Holding) => "Hold:1",
            Some(State::Held | State::Waiting) => "Hold:0",
            Some(State::Door) => "Door:1",
            Some(State::Alarm) => "Alarm",
            // A word that is none of the document's says nothing about the machine.
            None => return,
        };
        let [x, y, z] = self.status.position_um.map(|um| f64::from(um) / 1000.0);
        let free = u64::from(u16::MAX).saturating_sub(waiting);
        let (feed, spindle) = (self.status.feed, self.status.spindle);
        self.say(&format!("<{state}|MPos:{x:.3},{y:.3},{z:.3}|Bf:{free},0|FS:{feed},{spindle}>\n"));
    }

    fn opened(&mut self, now: Moment) {
        self.stage = Stage::Open;
        self.block_due = false;
        // What was asked for meanwhile is asked for once more: a machine that served no session before has only copied its
        // number, and a new session ends a hold.
        self.ordered = false;
        self.progress_at = now;
        if std::mem::take(&mut self.banner_due) {
            self.say("[MAILBOX ready]\n");
        }
        if self.identify_asked {
            self.introduce();
        }
    }

    fn hear_foreign(&mut self, now: Moment, session: u16) {
        if self.stage == Stage::Ousted {
            if std::mem::take(&mut self.status_asked) {
                let [x, y, z] = self.status.position_um.map(|um| f64::from(um) / 1000.0);
                self.say(&format!("<Alarm|MPos:{x:.3},{y:.3},{z:.3}>\n"));
            }
            return;
        }
        if self.stage != Stage::Open {
            // A machine takes a newer session only: what was read before may have been a late answer.
            if session != 0 && session.wrapping_sub(self.session) < 0x8000 {
                self.session = next_session(session);
            }
            return;
        }
        self.foreign += 1;
        if self.foreign < FOREIGN_MAX {
            return;
        }
        self.foreign = 0;
        if session != 0 && session.wrapping_sub(self.session) < 0x8000 {
            // Only a host opens a newer session than ours. Ours again would stop what the other one runs.
            self.reopen(now);
            self.session = session;
            self.stage = Stage::Ousted;
            self.block_due = false;
            self.alarmed = true;
            self.say(&format!("[MAILBOX taken:{session}]\n"));
        } else {
            self.reopen(now);
            self.stage = Stage::Identify;
            self.look_at = now;
            self.alarmed = false;
            self.say("[MAILBOX ready]\n");
        }
    }
}
