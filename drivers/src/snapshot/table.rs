//! The bed, stock or table of a machine: whether the next job finds it clear.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::notice::Notice;
use crate::profile::Kind;

/// Stable code of the notice.
const NOT_CLEAR: &str = "table.not_clear";

/// Whether a person has said that the bed, stock or table is clear since the last work of any kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Table {
    /// Nobody asks for it here.
    #[default]
    NotWatched,
    /// It is clear, as a person said.
    Clear {
        /// When.
        since: Moment,
    },
    /// Nobody has said so: no job starts.
    NotClear {
        /// What it was used for since.
        by: Occupied,
        /// When that began.
        since: Moment,
    },
}

impl Table {
    /// Whether nobody has said that it is clear, where somebody must.
    pub fn is_not_clear(&self) -> bool {
        matches!(self, Self::NotClear { .. })
    }

    /// Why no job starts on it, if none does.
    pub fn notice(&self, kind: Kind) -> Option<Notice> {
        let Self::NotClear { by, .. } = self else { return None };
        let place = match kind {
            Kind::Printer | Kind::Laser => "bed",
            Kind::Mill => "table",
        };
        let since = match by {
            Occupied::Unseen => "since the agent looks after it",
            Occupied::LinkLost => "since the link to it was gone",
            Occupied::Job => "since its last job began",
            Occupied::Stop => "since it was stopped",
            Occupied::OwnWork => "since it worked on its own",
            Occupied::ByHand => "since its spindle or beam was on",
        };
        Some(Notice::new(
            NOT_CLEAR,
            format!("Nobody has said that the {place} is clear {since}."),
            "No job is started meanwhile; it can be moved by hand.",
            format!("Look at the machine. When the {place} is clear, say so."),
        ))
    }
}

/// What a table was used for since somebody last said that it is clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occupied {
    /// Nobody knows: the agent has just begun to look after the machine.
    Unseen,
    /// Nobody knows: the link was gone meanwhile.
    LinkLost,
    /// A job, to its end or not.
    Job,
    /// An emergency stop.
    Stop,
    /// What the machine did on its own: a print from its card, or for another host.
    OwnWork,
    /// A spindle or beam that somebody switched on at the machine.
    ByHand,
}
