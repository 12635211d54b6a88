//! Any bytes as a program, written in a way that the first of them chooses.
#![no_main]

#[path = "../entry.rs"]
mod entry;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| entry::conversion(bytes));
