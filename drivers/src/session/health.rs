//! What the wire's troubles are told from: how often, how full it was, what the machine did at the time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, Session, Stage};
use crate::snapshot::LinkTrouble;

/// Later than this, a deadline was missed by the computer: well above what a loaded system's timers are late by.
const LATE: Duration = Duration::from_millis(100);

/// What was told of the wire and is not over yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Health {
    /// A line was said to be damaged, and is not asked for yet: both are one trouble.
    pub(super) damage_told: bool,
    /// Since the window was empty last, more was on its way than the firmware's usual receive buffer holds.
    #[serde(default)]
    beyond_usual: bool,
    /// Lines were lost then: what machine and profile say of the buffer is not believed any more.
    #[serde(default)]
    buffer_doubted: bool,
    /// What a resting machine reported as free twice in a row, where that is less than it said of its buffer.
    #[serde(default)]
    free_at_rest: Option<usize>,
    #[serde(default)]
    free_before: Option<usize>,
}

impl Session {
    /// Something was lost or damaged on the wire: notes what was going on.
    pub(super) fn wire_trouble(&mut self, what: &str) {
        self.reporting.queue_unknown();
        let full = self.window.bytes() * 2 > self.window.limits().bytes;
        let spindle = self.spindle_runs();
        self.known.link.damaged_when_full += u64::from(full);
        self.known.link.damaged_spindle_on += u64::from(spindle);
        self.known.link_trouble = Some(LinkTrouble {
            what: what.to_owned(),
            at: self.now,
            bytes_in_flight: self.window.bytes() as u64,
            program_line: self.run.as_ref().map(|run| run.progress.executed_line),
            spindle: self.known.spindle.map(|spindle| spindle.value),
            temperatures_c: self
                .known
                .temperatures
                .iter()
                .map(|temperature| (temperature.heater.clone(), temperature.actual_c.value))
                .collect(),
        });
    }

    /// Whether the spindle turns, or the beam is on, by the last report.
    pub(super) fn spindle_runs(&self) -> bool {
        self.known.spindle.is_some_and(|spindle| spindle.value > 0.0)
    }

    /// Notes how late a deadline was met while a job was being said.
    pub(super) fn note_lateness(&mut self) {
        let streaming = self.run.as_ref().is_some_and(|run| run.stage == Stage::Streaming);
        let Some(due) = self.deadline().filter(|_| streaming && self.phase == Phase::Ready) else { return };
        let late = self.now.since(due);
        if late > LATE {
            self.known.link.late_host += 1;
            let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            self.known.link.late_host_max_ms = self.known.link.late_host_max_ms.max(late_ms);
        }
    }

    /// Notes a line that is being written.
    pub(super) fn note_line_out(&mut self, bytes: u64) {
        self.known.link.lines_out += 1;
        self.health.beyond_usual |= self.window.bytes() > self.dialect.habits().window.bytes;
        if self.spindle_runs() {
            self.known.link.bytes_spindle_on += bytes;
        }
    }

    /// Everything that was said was answered.
    pub(super) fn window_emptied(&mut self) {
        self.health.beyond_usual = false;
    }

    /// So many lines were refused or never answered. True: the machine's receive buffer may have run over, and from now
    /// on no more is on its way than the firmware's usual one holds.
    pub(super) fn may_have_overflowed(&mut self, lines: usize) -> bool {
        // Where lines are numbered and checked, the machine says itself what did not arrive.
        if !self.health.beyond_usual || self.dialect.habits().numbered {
            return false;
        }
        self.known.link.lost_beyond_usual += lines as u64;
        self.health.buffer_doubted = true;
        self.limit_window();
        true
    }

    /// How many bytes the machine says its receive buffer has.
    fn buffer_reported(&self) -> Option<usize> {
        self.known.identity.as_ref()?.receive_buffer_bytes
    }

    /// How many bytes the receive buffer has, as the machine and the profile say.
    pub(super) fn buffer_said(&self) -> usize {
        self.buffer_reported()
            .into_iter()
            .chain(self.profile.stream.receive_buffer_bytes)
            .min()
            .unwrap_or(self.window.limits().bytes)
    }

    /// Sets how much may be on its way: the smallest of what the profile, the machine's own words and its reports say.
    pub(super) fn limit_window(&mut self) {
        let reported = self.health.free_at_rest.into_iter().chain(self.buffer_reported()).min();
        let mut limits = super::limits(self.dialect, &self.profile, reported);
        if self.health.buffer_doubted {
            limits.bytes = limits.bytes.min(self.dialect.habits().window.bytes);
        }
        self.window.limit(limits);
    }

    /// A resting machine reports so many bytes of its buffer as free: its whole buffer. A report may arrive damaged, and
    /// two alike count.
    pub(super) fn note_free_at_rest(&mut self, bytes: usize) {
        let before = self.health.free_before.replace(bytes);
        let smaller = self.buffer_reported().is_some_and(|said| bytes < said)
            && self.health.free_at_rest.is_none_or(|known| bytes < known);
        if smaller && before == Some(bytes) {
            self.health.free_at_rest = Some(bytes);
            self.limit_window();
        }
    }

    /// The planner reports free blocks: all of them in the middle of a job means that the machine stood still.
    pub(super) fn note_planner(&mut self, free: u32) {
        let blocks = self.planner_size(free);
        let Some(run) = &self.run else { return };
        let in_the_middle = run.stage == Stage::Streaming && run.alone_until.is_none() && run.resync.is_none();
        if in_the_middle && free >= blocks && run.accepted > run.lead + u64::from(blocks) {
            self.known.link.underruns += 1;
        }
    }

    /// Bytes that no firmware says: a wrong baud rate shows in them, and noise.
    pub(super) fn note_garbage(&mut self, bytes: &[u8]) {
        self.known.link.garbage_bytes += bytes.iter().filter(|byte| is_garbage(**byte)).count() as u64;
    }
}

/// What is text at 115200 baud is mostly control characters at 250000, and fewer bytes have their highest bit set.
fn is_garbage(byte: u8) -> bool {
    const ESCAPE: u8 = 0x1b;
    !byte.is_ascii()
        || (byte.is_ascii_control() && !super::said::is_flow(byte) && !matches!(byte, b'\t' | b'\n' | b'\r' | ESCAPE))
}
