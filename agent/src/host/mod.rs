//! The computer the agent runs on: its clocks, its name, its supply, and what it gives a process.

pub mod clock;
pub(crate) mod descriptors;
pub(crate) mod identity;
pub(crate) mod keys;
pub(crate) mod secret;
pub(crate) mod socket;
pub mod surroundings;
pub(crate) mod text;
