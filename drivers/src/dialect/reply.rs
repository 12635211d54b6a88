//! What a machine may say, whatever its firmware: the words that replies are turned into.

use serde::{Deserialize, Serialize};

use super::words::Said;
use crate::snapshot::Identity;

/// What a machine's condition is in its own report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Nothing moves and nothing is queued.
    Idle,
    /// Moving, homing, jogging or checking.
    Run,
    /// A hold was asked for; still moving.
    Holding,
    /// Standing still in a hold.
    Held,
    /// The door is open (or the door byte was said).
    Door,
    /// In alarm.
    Alarm,
    /// Asleep: everything off, a reset is needed.
    Sleep,
    /// Checking: it reads programs and moves nothing.
    Check,
}

/// What a machine says of a print from its own card, or of the file its own host prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Card {
    /// A file was chosen; it may be printed from now on.
    Opened(String),
    /// It prints: so many bytes of so many, where it says so.
    Printing(Option<[u64; 2]>),
    /// It prints nothing, for all that it says: it says the same of a print that is paused.
    Rests,
    /// It is through with its file.
    Done,
    /// Its print is paused.
    Paused,
}

/// A status report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// The machine's condition.
    pub condition: Option<Condition>,
    /// Machine position, X Y Z in the machine's report units.
    pub machine_position: Option<[f64; 3]>,
    /// Work position, X Y Z.
    pub work_position: Option<[f64; 3]>,
    /// Work coordinate offset, X Y Z.
    pub work_offset: Option<[f64; 3]>,
    /// Feed.
    pub feed: Option<f64>,
    /// Spindle speed or laser S.
    pub spindle: Option<f64>,
    /// Whether the spindle or beam is switched on, where the report says what is.
    pub spindle_on: Option<bool>,
    /// Free planner blocks.
    pub planner_free: Option<u32>,
    /// Free bytes of the receive buffer.
    pub buffer_free: Option<u32>,
    /// Line number being executed.
    pub line: Option<u64>,
    /// Overrides: feed, rapid, spindle in percent.
    pub overrides: Option<[u32; 3]>,
    /// Whether it was homed, where the report says so.
    pub homed: Option<bool>,
    /// Letters of active input pins.
    pub pins: Option<String>,
    /// What it runs from its own card, in its own words.
    pub card: Option<String>,
}

impl Status {
    /// The speed of a spindle that turns, or the power of a beam that is on, as the report says.
    pub fn turning(&self) -> Option<f64> {
        self.spindle.filter(|speed| *speed > 0.0 && self.spindle_on != Some(false))
    }
}

/// What one line of a machine says. A line may say several things.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The board (re)started.
    Started,
    /// The machine's own host is still starting, in its own words: it will be ready by itself.
    Starting(String),
    /// Something about a print from its own card.
    Card(Card),
    /// The oldest line was taken.
    Ok {
        /// Its wire number, where the machine says it.
        number: Option<u64>,
        /// Free planner blocks, where the machine says them.
        planner_free: Option<u32>,
        /// Free places of its command queue, where the machine says them. The answered line still has its own.
        queue_free: Option<u32>,
    },
    /// The oldest line was refused.
    Refused {
        /// Stable code.
        code: String,
        /// What it means, in a sentence.
        sentence: String,
        /// Whether this is the answer to the line. If not, an `ok` for it follows.
        answers: bool,
    },
    /// The line of this wire number must be said again, and all after it.
    Resend {
        /// Wire number.
        number: u64,
    },
    /// A line arrived damaged; a resend follows.
    ChecksumError,
    /// A line did not arrive: the next one came in its place; a resend follows.
    Gap,
    /// A line was passed over (Repetier): the machine has it already, or waits for an earlier one that it has asked for.
    PassedOver {
        /// Its wire number.
        number: u64,
    },
    /// Whether its modal state has the spindle or beam on.
    SpindleOn(bool),
    /// A setting of the machine, as key and value.
    Setting(String, String),
    /// One of its offsets (`G54`, `G92`, `TLO`), X Y Z in the machine's report units.
    Offset(String, [f64; 3]),
    /// The codes in force: `G0 G54 G17 G21 G90 …`.
    Codes(String),
    /// Alive, working on a long command.
    Busy,
    /// Something is on its way to its temperature: work, where a command waits for that.
    Heats,
    /// It has nothing left to do and waits for lines (`wait`): whatever it was told before, it has taken and answered.
    WantsLines,
    /// Waiting for a person.
    NeedsPerson,
    /// Somebody at the machine did something about the job.
    Action(HostAction),
    /// Part of a question to a person.
    Prompt(Prompt),
    /// A probing move ended.
    Probed(crate::snapshot::Probed),
    /// A status report.
    Status(Box<Status>),
    /// A position report, X Y Z in millimetres.
    Position([f64; 3]),
    /// It tells where it is, in words that are no position: this is what it said.
    NoPosition(String),
    /// Measured and asked-for temperatures, as (heater, actual, target).
    Temperatures(Vec<(String, f64, Option<f64>)>),
    /// A piece of identity.
    Identity(Box<Identity>),
    /// In alarm.
    Alarm {
        /// Stable code.
        code: String,
        /// What it means, in a sentence.
        sentence: String,
        /// Whether it hears nothing until it is reset.
        needs_reset: bool,
    },
    /// Halted: nothing works until a reset.
    Halted {
        /// What it said.
        text: String,
        /// Whether that says why. If not, it may say so when it is asked.
        explained: bool,
    },
    /// It says in words what became of a command, or of itself.
    Said(Said),
    /// It unpacks MeatPack.
    Unpacks {
        /// It has just been told to take `E` for the packed space, and says that it does.
        without_spaces: bool,
    },
    /// Something for people.
    Message(String),
    /// Means nothing we know.
    Chatter,
}

/// What somebody did at the machine's own display, or the machine by itself, and tells the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAction {
    /// The job is to pause, or the machine paused it.
    Pause,
    /// The job is to go on, or the machine goes on.
    Resume,
    /// The job is to be cancelled.
    Cancel,
    /// The machine is going away.
    Disconnect,
}

/// A question of the machine comes in several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A new question.
    Begin(String),
    /// An answer it offers.
    Choice(String),
    /// The question is complete.
    Show,
    /// The question is settled.
    End,
}
