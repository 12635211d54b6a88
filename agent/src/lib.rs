//! The agent: attaches machines to the network.

pub mod capability;
pub mod capacity;
pub mod client;
#[cfg(feature = "demo")]
pub mod demo;
pub mod sinks;
pub mod supervisor;
pub mod topics;
