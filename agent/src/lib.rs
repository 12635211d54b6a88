//! The agent: attaches machines to the network.

pub mod access;
pub mod agent;
pub mod capability;
pub mod capacity;
pub mod cli;
pub mod client;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod desk;
pub mod host;
pub mod http;
pub mod jobs;
mod keys;
mod owners;
pub mod pins;
mod place;
pub mod sinks;
pub mod status;
pub mod store;
pub mod supervisor;
pub mod topics;

pub use agent::Agent;
pub use store::recordings;
