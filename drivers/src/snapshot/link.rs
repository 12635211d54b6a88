//! What is known of the wire to a machine.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// What the wire did since the link was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounters {
    /// Bytes written.
    pub bytes_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Lines the machine asked for again.
    pub resends: u64,
    /// Checksum errors the machine reported.
    pub checksum_errors: u64,
    /// Lines from the machine that mean nothing we know.
    pub chatter: u64,
    /// Answers that never came.
    pub answers_lost: u64,
    /// Answers that came with nothing outstanding.
    pub answers_extra: u64,
    /// Times the link was opened.
    pub opened: u64,
    /// Lines written, repeats included.
    #[serde(default)]
    pub lines_out: u64,
    /// Lines the machine missed: the next one came in their place.
    #[serde(default)]
    pub gaps: u64,
    /// Bytes that no firmware says.
    #[serde(default)]
    pub garbage_bytes: u64,
    /// Lines from the machine with such bytes in them.
    #[serde(default)]
    pub damaged_heard: u64,
    /// Damage noticed while more than half of what may be unanswered was on its way.
    #[serde(default)]
    pub damaged_when_full: u64,
    /// Lines refused or never answered while more was on its way than the firmware's usual receive buffer holds.
    #[serde(default)]
    pub lost_beyond_usual: u64,
    /// Damage noticed while the spindle (or laser) was on.
    #[serde(default)]
    pub damaged_spindle_on: u64,
    /// Bytes written while the spindle (or laser) was on.
    #[serde(default)]
    pub bytes_spindle_on: u64,
    /// Times the agent's computer was late by more than a tenth of a second while a job was being said.
    #[serde(default)]
    pub late_host: u64,
    /// The longest it was late, in milliseconds.
    #[serde(default)]
    pub late_host_max_ms: u64,
    /// Milliseconds the machine could have taken more and its program was not read yet.
    #[serde(default)]
    pub starved_ms: u64,
    /// Times the machine reported in the middle of a job that it had nothing left to do.
    #[serde(default)]
    pub underruns: u64,
}

impl LinkCounters {
    /// Lines that were damaged or lost on their way, as far as was noticed.
    pub fn damaged(&self) -> u64 {
        self.resends.max(self.checksum_errors + self.gaps) + self.damaged_heard
    }

    /// What was counted since an earlier moment.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            bytes_out: self.bytes_out.saturating_sub(earlier.bytes_out),
            bytes_in: self.bytes_in.saturating_sub(earlier.bytes_in),
            resends: self.resends.saturating_sub(earlier.resends),
            checksum_errors: self.checksum_errors.saturating_sub(earlier.checksum_errors),
            chatter: self.chatter.saturating_sub(earlier.chatter),
            answers_lost: self.answers_lost.saturating_sub(earlier.answers_lost),
            answers_extra: self.answers_extra.saturating_sub(earlier.answers_extra),
            opened: self.opened.saturating_sub(earlier.opened),
            lines_out: self.lines_out.saturating_sub(earlier.lines_out),
            gaps: self.gaps.saturating_sub(earlier.gaps),
            garbage_bytes: self.garbage_bytes.saturating_sub(earlier.garbage_bytes),
            damaged_heard: self.damaged_heard.saturating_sub(earlier.damaged_heard),
            lost_beyond_usual: self.lost_beyond_usual.saturating_sub(earlier.lost_beyond_usual),
            damaged_when_full: self.damaged_when_full.saturating_sub(earlier.damaged_when_full),
            damaged_spindle_on: self.damaged_spindle_on.saturating_sub(earlier.damaged_spindle_on),
            bytes_spindle_on: self.bytes_spindle_on.saturating_sub(earlier.bytes_spindle_on),
            late_host: self.late_host.saturating_sub(earlier.late_host),
            // A maximum of the whole: it is at least one of the late moments since.
            late_host_max_ms: self.late_host_max_ms,
            starved_ms: self.starved_ms.saturating_sub(earlier.starved_ms),
            underruns: self.underruns.saturating_sub(earlier.underruns),
        }
    }
}

/// The last trouble on the wire, and what was going on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkTrouble {
    /// What it was.
    pub what: String,
    /// When.
    pub at: Moment,
    /// Bytes that had no answer yet.
    pub bytes_in_flight: u64,
    /// The program line known to be executed then, in a job.
    pub program_line: Option<u64>,
    /// What the spindle did, where the machine says so.
    pub spindle: Option<f64>,
    /// What the heaters measured, in °C.
    pub temperatures_c: Vec<(String, f64)>,
}
