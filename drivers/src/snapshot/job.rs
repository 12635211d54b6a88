//! What is known of a job on a machine.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// What became of a job's lines. Sent, accepted and executed are three numbers and never merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job's identifier, as the agent gave it.
    pub job: String,
    /// What the job is doing.
    pub phase: JobPhase,
    /// Program lines in the file, blank and comment lines included.
    pub lines: u64,
    /// Commands in the file that the machine gets; zero until known.
    pub commands: u64,
    /// Commands written to the wire, each counted once.
    pub sent: u64,
    /// Commands the machine answered.
    pub accepted: u64,
    /// Commands whose effect is over, as far as evidence goes: a lower bound.
    pub executed: u64,
    /// The program line (1-based) that `executed` has reached.
    pub executed_line: u64,
    /// The layer that `executed_line` lies in, counted from 1; absent until the first, and where the program marks none.
    #[serde(default)]
    pub layer: Option<u64>,
    /// Bytes of program written to the wire, repeats included.
    pub bytes: u64,
    /// Lines sent again because the machine asked.
    pub resends: u64,
    /// Commands the machine refused: they are answered, and never executed.
    pub refused: u64,
    /// Commands the machine answered and did not do, or not wholly: it does not know them, or something kept it from it
    /// (a cold nozzle, axes that are not homed). They are not counted as executed.
    #[serde(default)]
    pub ignored: u64,
    /// The first of the refused ones.
    #[serde(default)]
    pub first_refused: Option<Undone>,
    /// The first of the ignored ones.
    #[serde(default)]
    pub first_ignored: Option<Undone>,
    /// Why these numbers are not sure; absent: nothing shows that they are not.
    #[serde(default)]
    pub unsure: Option<Unsure>,
    /// When the job started.
    pub started_at: Moment,
    /// When it ended; absent while it runs.
    pub ended_at: Option<Moment>,
    /// What a meter beside the machine measured for it, in kilowatt-hours; absent without one.
    pub energy_kwh: Option<f64>,
}

impl Progress {
    /// A job that has just begun. `lines`: those of its file, zero if unknown.
    pub fn begun(job: String, lines: u64, started_at: Moment) -> Self {
        Self {
            job,
            phase: JobPhase::Running,
            lines,
            commands: 0,
            sent: 0,
            accepted: 0,
            executed: 0,
            executed_line: 0,
            layer: None,
            bytes: 0,
            resends: 0,
            refused: 0,
            ignored: 0,
            first_refused: None,
            first_ignored: None,
            unsure: None,
            started_at,
            ended_at: None,
            energy_kwh: None,
        }
    }
}

/// A command of a job that the machine refused or ignored, and what it said to it. Both texts are hostile where they are
/// shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The program line, 1-based; zero where the machine does not show which it was.
    pub line: u64,
    /// The command, as it was sent.
    pub command: String,
    /// What the machine said.
    pub said: String,
}

impl std::fmt::Display for Undone {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(formatter, "the machine does not show which line: {}", self.said),
            line => write!(formatter, "line {line} (`{}`): {}", self.command, self.said),
        }
    }
}

/// Why what was sent and accepted of a job is not sure: somebody else talked to the machine meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsure {
    /// It answered a line that was not sent from here.
    ExtraAnswer,
    /// It was where the program does not lead.
    OutsideProgram,
    /// It ran a file from its own card.
    CardPrint,
}

/// What a job on a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// Lines are being sent or executed.
    Running,
    /// Standing still; a person may resume or cancel.
    Held,
    /// Every line was executed and the motion ended, by evidence.
    Finished,
    /// Ended early because somebody asked.
    Cancelled,
    /// Ended early because it could not go on.
    Failed,
}

impl JobPhase {
    /// Whether the job is over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled | Self::Failed)
    }

    /// The word on the network.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Held => "held",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}
