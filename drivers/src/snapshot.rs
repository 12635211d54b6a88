//! What is known of a machine at one moment; unknown is a value.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::notice::Notice;
use crate::work_place::WorkPlace;

mod beside;
mod table;

pub use beside::{Beside, Hindrance, PointReading, SpindleReport, SpindleState};
pub use table::{Occupied, Table};

/// A value that came from the machine, with when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reading<T> {
    /// What the machine said.
    pub value: T,
    /// When it said so.
    pub at: Moment,
    /// How good it is now.
    pub quality: Quality,
}

impl<T> Reading<T> {
    /// A reading just taken.
    pub fn fresh(value: T, at: Moment) -> Self {
        Self { value, at, quality: Quality::Good }
    }
}

/// How good a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// The machine said it recently.
    Good,
    /// The machine has not repeated it for longer than its reporting interval allows.
    Stale,
    /// The link is gone or the machine restarted: the last value may be wrong.
    Uncertain,
}

/// What a machine is doing. The words are fixed (they are on the network).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No link.
    Offline,
    /// The link is open; the machine has not yet said who it is.
    Connecting,
    /// Ready, nothing to do. Idle is not free: see capacity.
    Idle,
    /// At work that was not started here: a print from its own card, another host's, a check of a program.
    Busy,
    /// A job or a command is being executed.
    Running,
    /// A hold was asked for; the machine is slowing down.
    Holding,
    /// Standing still in the middle of a job.
    Held,
    /// A job is being ended early and the machine made safe.
    Stopping,
    /// A person is needed at the machine.
    Attention,
    /// The machine refuses work until somebody looks at it.
    Alarm,
    /// Nothing certain is known.
    Unknown,
}

impl State {
    /// The word on the network.
    pub fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Connecting => "connecting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Running => "running",
            Self::Holding => "holding",
            Self::Held => "held",
            Self::Stopping => "stopping",
            Self::Attention => "attention",
            Self::Alarm => "alarm",
            Self::Unknown => "unknown",
        }
    }
}

/// Who caused a change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A person or program asked for it.
    Asked,
    /// The machine did it.
    Machine,
    /// The interlock answered trouble.
    Interlock,
    /// The program said so (M0, M6, its end).
    Program,
}

/// Who the machine says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The firmware's own name and version, such as `Marlin 2.1.2.5` or `Grbl 1.1h`.
    pub firmware: String,
    /// The machine's own name, where the firmware knows one (`MACHINE_TYPE`).
    pub machine: Option<String>,
    /// The board's unique number, where the firmware knows one (`UUID`).
    pub uuid: Option<String>,
    /// Capabilities the firmware listed (`Cap:NAME:1`), names only, of those that are on.
    pub capabilities: Vec<String>,
    /// Receive buffer in bytes, where the firmware reports it (`[OPT:…]`).
    pub receive_buffer_bytes: Option<usize>,
    /// Usable planner blocks, where the firmware reports them.
    pub planner_blocks: Option<u32>,
    /// It did not name itself, and was attached by a person's word (`attach = "as-configured"`): what it is, is what was
    /// configured and not what it said.
    #[serde(default)]
    pub attached_as_configured: bool,
}

/// One heater.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// `tool0`, `tool1`, …, `bed` or `chamber`.
    pub heater: String,
    /// Measured, in °C.
    pub actual_c: Reading<f64>,
    /// Asked for, in °C; absent where the machine does not say.
    pub target_c: Option<f64>,
}

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

/// Overrides in force, in percent of what the program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Feed moves.
    pub feed_percent: u32,
    /// Rapid moves.
    pub rapid_percent: u32,
    /// Spindle speed or laser power.
    pub spindle_percent: u32,
    /// Extrusion flow, where the machine has it.
    #[serde(default)]
    pub flow_percent: Option<u32>,
}

/// Where a probe touched, or how far it went without touching.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// Position in machine coordinates, X Y Z, millimetres.
    pub position_mm: [f64; 3],
    /// Whether it touched.
    pub touched: bool,
}

/// What the machine, or its program, asks of a person. The texts are the machine's own: hostile where they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What is asked, in a sentence.
    pub text: String,
    /// Answers the machine offers, in its order; empty: "go on" is the only one.
    pub choices: Vec<String>,
}

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

/// One hazard and what happens to it if the host dies now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// `heaters`, `laser`, `spindle`, `motion` or `door`.
    pub hazard: Cow<'static, str>,
    /// Whether the machine makes it safe by itself.
    pub protected: bool,
    /// The sentence that says why, with the setting or word it rests on.
    pub because: String,
}

/// How an emergency stop acts on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopWord {
    /// Whether the firmware acts on it as it arrives, and not only after what it received before.
    pub at_once: bool,
    /// The sentence that says why.
    pub because: String,
}

/// What is known of a machine at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Goes up by one with each snapshot.
    pub generation: u64,
    /// When it was taken.
    pub at: Moment,
    /// What the machine is doing.
    pub state: State,
    /// Since when.
    pub since: Moment,
    /// Who caused it.
    pub cause: Cause,
    /// Why, where there is a reason a person should read (alarm, hold, attention).
    pub notice: Option<Notice>,
    /// Whether its bed, stock or table is clear.
    #[serde(default)]
    pub table: Table,
    /// Nothing but the word that it is clear is missing: it needs a person (`attention`) for that alone.
    #[serde(default)]
    pub waits_for_clear: bool,
    /// Who the machine says it is; absent until it has said so.
    pub identity: Option<Identity>,
    /// Position in machine coordinates, X Y Z, millimetres.
    pub position_mm: Option<Reading<[f64; 3]>>,
    /// Position in the program's coordinates, X Y Z, millimetres, where the machine says so.
    pub work_position_mm: Option<Reading<[f64; 3]>>,
    /// Feed in mm/min.
    pub feed_mm_min: Option<Reading<f64>>,
    /// Spindle speed in revolutions per minute, or laser S value.
    pub spindle: Option<Reading<f64>>,
    /// Heaters.
    pub temperatures: Vec<Temperature>,
    /// Overrides, where the machine says them.
    pub overrides: Option<Reading<Overrides>>,
    /// What the last probing move found.
    #[serde(default)]
    pub probe: Option<Reading<Probed>>,
    /// Whether it was homed since its position was last lost, as far as the agent saw.
    #[serde(default)]
    pub homed: bool,
    /// Where a program's zero is, as it says. Absent: it has not said.
    #[serde(default)]
    pub place: Option<WorkPlace>,
    /// Where it differs from its profile, by its own settings.
    #[serde(default)]
    pub differences: Vec<Notice>,
    /// What it asks of a person.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// Its job stands, and only a request to the agent makes it go on: no button or display of the machine does.
    #[serde(default)]
    pub waits_for_agent: bool,
    /// The current job, or the last one.
    pub job: Option<Progress>,
    /// What the wire did.
    pub link: LinkCounters,
    /// The rate of the open serial line, in bits per second; absent where there is none.
    #[serde(default)]
    pub baud: Option<u32>,
    /// What the wire did during the current job, or the last one.
    pub job_link: LinkCounters,
    /// The last trouble on the wire.
    pub link_trouble: Option<LinkTrouble>,
    /// What happens if the host dies now, per hazard. Empty: not yet known.
    pub protection: Vec<Protection>,
    /// How an emergency stop acts on it. Absent: not yet known.
    #[serde(default)]
    pub stop: Option<StopWord>,
    /// The devices beside the machine.
    #[serde(skip_deserializing)]
    pub auxiliary: Vec<Beside>,
}

impl Snapshot {
    /// Nothing known: what a machine is before the agent has heard from it, and after every restart.
    pub fn unknown(at: Moment) -> Self {
        Self {
            generation: 0,
            at,
            state: State::Offline,
            since: at,
            cause: Cause::Machine,
            notice: None,
            table: Table::default(),
            waits_for_clear: false,
            identity: None,
            position_mm: None,
            work_position_mm: None,
            feed_mm_min: None,
            spindle: None,
            temperatures: Vec::new(),
            overrides: None,
            probe: None,
            homed: false,
            place: None,
            differences: Vec::new(),
            asked: None,
            waits_for_agent: false,
            job: None,
            link: LinkCounters::default(),
            baud: None,
            job_link: LinkCounters::default(),
            link_trouble: None,
            protection: Vec::new(),
            stop: None,
            auxiliary: Vec::new(),
        }
    }
}
