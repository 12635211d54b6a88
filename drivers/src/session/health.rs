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

    fn spindle_runs(&self) -> bool {
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
        if self.spindle_runs() {
            self.known.link.bytes_spindle_on += bytes;
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
    !byte.is_ascii() || (byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | ESCAPE))
}
