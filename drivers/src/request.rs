//! What the network may ask of a machine, and how it is answered.

use serde::{Deserialize, Serialize};

use crate::notice::Notice;

/// What the network may ask of a machine. Each gets an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Run a program that was submitted before.
    Start(Job),
    /// Feed hold: stand still, keep everything.
    Pause,
    /// Go on after a hold.
    Resume,
    /// End the job early and make the machine safe.
    Cancel,
    /// The agent ends: the job has failed, and nobody will be there to switch off what is on. The machine is made safe.
    /// One that runs a program of its own is held instead: it can go on without the agent.
    Leave,
    /// Nobody waits any longer for the end of a job that is being ended: what makes the machine safe is said at once, and
    /// what is not known then is told.
    Hasten,
    /// Emergency stop: whatever it costs, now.
    Stop,
    /// A person looked at the machine: the alarm may be cleared, the bed is clear.
    Clear,
    /// Home all axes.
    Home,
    /// Move a bounded distance at a bounded feed.
    Jog(Jog),
    /// The button of a jog was let go: stand still. With the number of a press, what still arrives of that press
    /// moves nothing any more.
    JogStop(Option<u64>),
    /// Move down, a bounded distance, until the probe touches.
    Probe(Probe),
    /// Change an override.
    Override(Override),
    /// Answer what the machine asks: the place of the choice in its list, from 0.
    Choose(u8),
}

/// What only calms a machine: no decision can be wrong, and nobody's leave is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calming {
    /// Feed hold.
    Pause,
    /// End the job early and make the machine safe.
    Cancel,
    /// The agent ends, see [`Request::Leave`].
    Leave,
    /// Nobody waits any longer, see [`Request::Hasten`].
    Hasten,
    /// Emergency stop.
    Stop,
    /// The button of a jog was let go.
    JogStop(Option<u64>),
}

impl From<Calming> for Request {
    fn from(calming: Calming) -> Self {
        match calming {
            Calming::Pause => Self::Pause,
            Calming::Cancel => Self::Cancel,
            Calming::Leave => Self::Leave,
            Calming::Hasten => Self::Hasten,
            Calming::Stop => Self::Stop,
            Calming::JogStop(press) => Self::JogStop(press),
        }
    }
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The job's identifier, as the agent gave it.
    pub id: String,
    /// Lines in the file, for progress; zero if unknown.
    pub lines: u64,
    /// First program line to run, 1-based; 1 is the whole program.
    pub from_line: u64,
}

/// A jog: bounded by construction, so that a lost "stop" costs one step and not the machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Jog {
    /// Distance along X, Y, Z in millimetres, relative to where the machine stands.
    pub by_mm: [f64; 3],
    /// Feed in mm/min.
    pub feed_mm_min: f64,
    /// The number of the press of a button that is held down: the jog lasts only while it is asked for again with the
    /// same number, every third of a second at least. Absent: one step of this distance.
    #[serde(default)]
    pub press: Option<u64>,
}

/// A probing move along Z.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Furthest way down in millimetres.
    pub down_mm: f64,
    /// Feed in mm/min.
    pub feed_mm_min: f64,
}

/// An override, in percent of what the program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Feed moves: 10 to 200.
    Feed(u32),
    /// Rapid moves: 25, 50 or 100.
    Rapid(u32),
    /// Spindle speed or laser power: 10 to 200.
    Spindle(u32),
    /// Extrusion flow: 10 to 200.
    Flow(u32),
}

/// Why a request was not taken. A closed list; the codes are on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no link to the machine.
    #[error("The machine is not connected. Nothing was sent. Check its power and cable.")]
    Offline,
    /// There is no link to the machine that is to stop; the drives beside it were told.
    #[error(
        "The machine is not connected and was told nothing. The drives beside it were told to stop; whether they stand is read back. Press the emergency stop if anything moves."
    )]
    OfflineDrivesTold,
    /// The machine has not been identified yet.
    #[error("The machine is still being identified. Nothing was sent. Try again in a few seconds.")]
    NotReady,
    /// The machine that answered is not the one configured.
    #[error(
        "The machine that answered is not the one configured. Nothing was sent. Check the cable or the configuration."
    )]
    WrongMachine,
    /// A job is running already.
    #[error("A job is running. Nothing was started. Wait for it, or cancel it.")]
    JobRunning,
    /// There is no job to act on.
    #[error("There is no job to act on. Nothing was done.")]
    NoJob,
    /// The machine is in alarm.
    #[error("The machine is in alarm. Nothing was sent. Look at it, then clear the alarm.")]
    Alarm,
    /// A person is needed at the machine first.
    #[error("A person is needed at the machine first. Nothing was sent.")]
    Attention,
    /// Nobody has said that the bed, stock or table is clear since the last work.
    #[error(
        "Nobody has said that the table is clear since the last work on it. Nothing was started. Look at the machine; when its table is clear, say so, then start the job again."
    )]
    NotClear,
    /// The machine is holding or stopping; the request makes no sense until it has.
    #[error("The machine is still coming to a stop. Nothing was sent. Try again in a moment.")]
    Stopping,
    /// The job cannot be resumed.
    #[error("The job cannot be resumed safely. Nothing was sent. Cancel it and start again.")]
    NotResumable,
    /// The value asked for is outside its bounds.
    #[error("The value asked for is outside its bounds. Nothing was sent.")]
    OutOfRange,
    /// The machine's dialect has no such word.
    #[error("This machine has no such command. Nothing was sent.")]
    Unsupported,
    /// The start was asked for too long ago, or by somebody who has gone.
    #[error("This was asked for more than 10 s ago, or whoever asked has gone. Nothing was sent. Ask again.")]
    Stale,
    /// What was shown gives no leave to this.
    #[error("The permit is for another machine, another program or another request. Nothing was sent.")]
    NotPermitted,
    /// Too many requests are waiting.
    #[error("The machine's inbox is full. The request was dropped. Try again.")]
    Busy,
    /// The machine is at work that was not started here.
    #[error(
        "The machine is busy with work that was not started here. Nothing was sent. Wait until that is done, or end it there."
    )]
    Occupied,
    /// Something moves that is no job.
    #[error("The machine is moving. Nothing was sent. Wait until it stands still.")]
    Moving,
    /// The jog was let go, or was not asked for again in time.
    #[error("The button of this jog was let go, or was not heard of in time. Nothing moves. Press it again.")]
    Released,
    /// One press of a button has moved a machine as far as it may that was not homed.
    #[error(
        "The machine was not homed: one press moves it no further. Nothing more was sent. Press again, or home it first."
    )]
    NotHomed,
    /// The move would leave the machine's envelope.
    #[error("The move would end outside of the machine's envelope. Nothing was sent. Ask for a shorter one.")]
    OutsideEnvelope,
    /// The spindle turns.
    #[error("The spindle turns. Nothing was sent. Switch it off first.")]
    SpindleOn,
    /// A drive beside the machine does not stand.
    #[error("A drive beside the machine was told to stop and does not stand. Nothing was sent. Go and look at it.")]
    DriveDoesNotStand,
    /// A drive beside the machine does not answer.
    #[error("A drive beside the machine does not answer. Nothing was sent. Check its power and its cable.")]
    DriveSilent,
    /// A drive beside the machine reports a fault.
    #[error("A drive beside the machine reports a fault. Nothing was sent. Look at its display.")]
    DriveFault,
    /// The machine asks nothing, or offers no such choice.
    #[error("The machine asks nothing that this would answer. Nothing was sent.")]
    NothingAsked,
    /// The program could not be opened.
    #[error("The program could not be read. Nothing was started.")]
    Unreadable,
}

impl From<Denied> for Notice {
    /// What is told of a request that was denied: nothing was done, and the sentence says what to do.
    fn from(denied: Denied) -> Self {
        Self::new(denied.code(), denied.to_string(), "", "")
    }
}

impl Denied {
    /// The stable code on the network.
    pub fn code(self) -> &'static str {
        match self {
            Self::Offline => "machine.offline",
            Self::OfflineDrivesTold => "machine.offline_drives_told",
            Self::NotReady => "machine.not_ready",
            Self::WrongMachine => "machine.wrong",
            Self::JobRunning => "job.running",
            Self::NoJob => "job.none",
            Self::Alarm => "machine.alarm",
            Self::Attention => "machine.attention",
            Self::NotClear => "table.not_clear",
            Self::Stopping => "machine.stopping",
            Self::NotResumable => "job.not_resumable",
            Self::OutOfRange => "request.out_of_range",
            Self::Unsupported => "request.unsupported",
            Self::Stale => "job.start_stale",
            Self::NotPermitted => "request.not_permitted",
            Self::Busy => "machine.busy",
            Self::Occupied => "machine.occupied",
            Self::Moving => "machine.moving",
            Self::Released => "jog.released",
            Self::NotHomed => "jog.not_homed",
            Self::OutsideEnvelope => "request.outside_envelope",
            Self::SpindleOn => "machine.spindle_on",
            Self::DriveDoesNotStand => "drive.does_not_stop",
            Self::DriveSilent => "drive.silent",
            Self::DriveFault => "drive.fault",
            Self::NothingAsked => "machine.nothing_asked",
            Self::Unreadable => "job.unreadable",
        }
    }
}

/// How a request was answered: done (or already so), or denied with a reason.
pub type Answer = Result<(), Denied>;
