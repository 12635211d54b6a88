//! What happened to a machine: the things a log, a platform and an operator hear of.

use serde::Serialize;

use crate::moment::Moment;
use crate::notice::Notice;
use crate::snapshot::{Cause, JobPhase, State};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// The machine said who it is and takes commands.
    Connected {
        /// The firmware's own name and version.
        firmware: String,
    },
    /// The link is gone.
    Disconnected {
        /// Why.
        notice: Notice,
    },
    /// The machine's state changed.
    State {
        /// What it was.
        from: State,
        /// What it is.
        to: State,
        /// Who caused it.
        cause: Cause,
    },
    /// A job started, was held or resumed, or ended.
    Job {
        /// The job's identifier.
        job: String,
        /// What it does now.
        phase: JobPhase,
        /// Why, where it did not simply go well.
        notice: Option<Notice>,
    },
    /// Trouble that a person should know of.
    Trouble {
        /// What happened, what was done, what to do.
        notice: Notice,
    },
    /// A probing move ended.
    Probed {
        /// Position in machine coordinates, X Y Z, millimetres.
        position_mm: [f64; 3],
        /// Whether the probe touched.
        touched: bool,
    },
    /// The machine said something for people (`echo:`, `[MSG:…]`). Hostile text: escape it before showing.
    Message {
        /// What it said, bounded in length.
        text: String,
    },
}
