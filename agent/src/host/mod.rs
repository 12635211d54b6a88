//! The computer the agent runs on: its clocks.

pub mod clock;
