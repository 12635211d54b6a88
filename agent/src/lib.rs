//! The agent: attaches machines to the network.

pub mod capability;
pub mod capacity;
#[cfg(feature = "demo")]
pub mod demo;
pub mod sinks;
pub mod supervisor;
pub mod topics;
