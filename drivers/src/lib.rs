//! Talks to machines.
