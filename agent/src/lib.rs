//! The agent: attaches machines to the network.

pub mod capability;
pub mod capacity;
pub mod sinks;
pub mod topics;
