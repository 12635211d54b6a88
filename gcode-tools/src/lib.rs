//! Reads any G-code program, says what it will do, and refuses what would break the machine.

pub mod profile;
