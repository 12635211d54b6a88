//! Talks to machines: a conversation with a machine is a value, not a task.
//!
//! The pure half (dialects, flow control, session, interlock, snapshot, simulators) opens nothing, spawns
//! nothing and reads no clock; it is all there is without the `io` feature. The impure half (links, the shell)
//! moves bytes and time between the world and a session, and decides nothing.

pub mod agreement;
pub mod dialect;
pub mod doctor;
pub mod event;
pub mod flow;
pub mod history;
pub mod interlock;
pub mod modbus;
pub mod moment;
pub mod notice;
pub mod protection;
pub mod recording;
pub mod request;
pub mod session;
pub mod sim;
pub mod snapshot;
pub mod work_place;

#[cfg(feature = "io")]
pub mod link;
#[cfg(feature = "io")]
pub mod machine;
#[cfg(feature = "io")]
mod outbox;
#[cfg(feature = "io")]
pub mod permit;
#[cfg(feature = "io")]
pub mod priority;
#[cfg(feature = "io")]
pub mod probe;
#[cfg(feature = "io")]
mod program;
#[cfg(feature = "io")]
pub mod repeats;
#[cfg(feature = "io")]
pub mod shell;

pub use event::{Event, EventKind};
pub use gcode_tools::profile;
pub use moment::Moment;
pub use notice::Notice;
#[cfg(feature = "io")]
pub use permit::Permit;
pub use request::{Answer, Denied, Request};
pub use session::Session;
pub use snapshot::{Snapshot, State};

/// Whether an event changes what a snapshot's first lines say, so that it is published at once.
#[cfg(feature = "io")]
pub(crate) fn state_change(event: &Event) -> bool {
    matches!(event.kind, EventKind::State { .. } | EventKind::Job { .. } | EventKind::Connected { .. })
}
