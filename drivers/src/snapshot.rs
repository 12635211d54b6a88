//! What is known of a machine at one moment; unknown is a value.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::notice::Notice;
use crate::work_place::WorkPlace;

mod beside;
mod job;
mod link;
mod table;

pub use beside::{Beside, Hindrance, PointReading, SpindleReport, SpindleState};
pub use job::{JobPhase, Progress, Undone, Unsure};
pub use link::{LinkCounters, LinkTrouble};
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
