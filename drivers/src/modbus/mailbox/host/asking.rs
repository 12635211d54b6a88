//! What is asked of the machine next.

use std::time::Duration;

use super::super::super::question::{READ_WRITE_REGISTERS_MAX, WRITE_REGISTERS_MAX};
use super::super::super::{Question, Table};
use super::super::{HOST_BLOCK, MACHINE_WORDS, SLOT_FRAME, SLOTS, host_block, machine, slot_head};
use super::{BEAT_EVERY_MAX, Host, REWRITE_AFTER, Stage};
use crate::Moment;

impl Host {
    fn read(&mut self, from: u16, count: u16) -> Question {
        self.writes_since_look = 0;
        Question::Read { table: Table::Holding, address: self.base + from, count }
    }

    fn host_block(&mut self, now: Moment) -> Question {
        self.block_due = false;
        let watchdog = self.layout.map_or(Duration::ZERO, |layout| layout.watchdog);
        let every = if watchdog.is_zero() { BEAT_EVERY_MAX } else { (watchdog / 4).min(BEAT_EVERY_MAX) };
        self.beat_at = now + every;
        let words = self.host_words();
        self.write(HOST_BLOCK, words)
    }

    /// The host's block, with the next beat.
    pub(super) fn host_words(&mut self) -> Vec<u16> {
        self.beat = self.beat.wrapping_add(1);
        let mut words = vec![0; usize::from(host_block::COMMAND_NUMBER) + 1];
        words[usize::from(host_block::SESSION)] = self.session;
        words[usize::from(host_block::BEAT)] = self.beat;
        words[usize::from(host_block::ERROR_SEEN)] = self.error_seen;
        words[usize::from(host_block::COMMAND)] = self.command;
        words[usize::from(host_block::COMMAND_NUMBER)] = self.command_number;
        words
    }

    /// Puts the next order into the host's block.
    fn give_order(&mut self) {
        if let Some(order) = self.order_due().filter(|_| !self.ordered) {
            self.command = order.command as u16;
            self.command_number = self.command_number.wrapping_add(1);
            self.ordered = true;
            self.block_due = true;
        }
    }

    fn write(&mut self, to: u16, words: Vec<u16>) -> Question {
        let address = self.base + to;
        if self.stage == Stage::Open && self.layout.is_some_and(|layout| layout.read_write) {
            let (read, count) = (self.base + machine::SESSION, machine::STATUS_WORDS);
            return Question::ReadWrite { read, count, address, words };
        }
        Question::Write { address, words }
    }

    /// The last line that is in its slot, or on its way there.
    fn under_way(&self) -> u64 {
        self.asked.iter().flatten().copied().fold(self.written, u64::max)
    }

    /// What is on its way brings no line any more: it may not arrive, or was for another session.
    pub(super) fn void_writes(&mut self) {
        self.asked.iter_mut().for_each(|last| *last = None);
    }

    /// As many of the next lines as have slots that are free, lie side by side and fit one write.
    pub(super) fn write_lines(&mut self) -> Option<(Question, u64)> {
        let layout = self.layout?;
        let slot_words = layout.text_words + SLOT_FRAME;
        let words_max = if layout.read_write { READ_WRITE_REGISTERS_MAX } else { WRITE_REGISTERS_MAX };
        let before = self.under_way();
        let place = before % layout.slots;
        let free = (self.taken + layout.slots).saturating_sub(before);
        let unwritten = (self.taken + self.lines.len() as u64).saturating_sub(before);
        let count = (words_max as u64 / u64::from(slot_words)).min(layout.slots - place).min(free).min(unwritten);
        if count == 0 || self.refused.is_some() {
            return None;
        }
        let mut words = Vec::with_capacity((count * u64::from(slot_words)) as usize);
        let last = before + count;
        for number in before + 1..=last {
            let line = &self.lines[(number - self.taken - 1) as usize];
            words.push(slot_head(self.session, line.len()));
            let mut text = vec![0_u16; usize::from(layout.text_words)];
            for (at, byte) in line.iter().enumerate() {
                text[at / 2] |= u16::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
            }
            words.extend(text);
            words.push(number as u16);
        }
        self.offered = self.offered.max(last);
        if !layout.read_write {
            self.writes_since_look += count;
        }
        Some((self.write(SLOTS + place as u16 * slot_words, words), last))
    }

    /// Whether the machine is looked at before more is written: for the session, for an order, or because half of its slots
    /// were written by questions that bring nothing back.
    pub(super) fn looks_first(&self) -> bool {
        let half = self.layout.map_or(1, |layout| layout.slots / 2).max(1);
        self.status_asked || self.ordered || self.writes_since_look >= half
    }

    /// What is asked next, and the last line in it.
    pub(super) fn next_question(&mut self, now: Moment) -> Option<(Question, Option<u64>)> {
        let plain = |question| Some((question, None));
        let lines = |(question, last)| (question, Some(last));
        self.give_order();
        match self.stage {
            Stage::Identify if now < self.look_at => return None,
            Stage::Identify => return plain(self.read(0, MACHINE_WORDS)),
            Stage::Opening if self.block_due => return plain(self.host_block(now)),
            Stage::Opening => {
                // The machine takes its time to stop; it is looked at until it has.
                if now < self.look_at {
                    return None;
                }
                self.block_due = true;
                return plain(self.read(machine::SESSION, machine::STATUS_WORDS));
            }
            Stage::Ousted if now < self.beat_at && !self.status_asked => return None,
            Stage::Ousted => {
                self.beat_at = now + BEAT_EVERY_MAX;
                return plain(self.read(machine::SESSION, machine::STATUS_WORDS));
            }
            Stage::Open => {}
        }
        self.note_refusal_seen(now);
        if self.block_due || now >= self.beat_at {
            return plain(self.host_block(now));
        }
        if self.written > self.taken && now.since(self.progress_at) >= REWRITE_AFTER {
            self.written = self.taken;
            self.progress_at = now;
        }
        let urgent = self.looks_first();
        if !urgent {
            if let Some(write) = self.write_lines() {
                return Some(lines(write));
            }
        }
        let outstanding = self.written > self.taken;
        if self.status_asked || self.writes_since_look > 0 || ((outstanding || self.ordered) && now >= self.look_at) {
            return plain(self.read(machine::SESSION, machine::STATUS_WORDS));
        }
        if urgent { self.write_lines().map(lines) } else { None }
    }
}
