//! The computer the agent runs on: its clocks, and what it gives a process.

pub mod clock;
pub(crate) mod descriptors;
