//! Reads any G-code program, says what it will do, and refuses what would break the machine.
//!
//! Pure: no threads, no clock, no files. Programs come from any [`std::io::Read`] and are read once, in constant memory.

// Loops over axes index several arrays at once.
#![allow(clippy::needless_range_loop)]

pub mod analysis;
pub mod arc;
pub mod arcs;
pub mod block;
pub mod convert;
pub mod expression;
pub mod follow;
pub mod formats;
pub mod inspect;
pub mod interpret;
pub mod metadata;
pub mod modal;
pub mod number;
pub mod preflight;
pub mod preview;
pub mod profile;
pub mod read;
pub mod resume;
pub mod sniff;
pub mod statement;
pub mod time;
pub mod wire;
