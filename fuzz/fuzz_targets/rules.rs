//! What firmwares refuse, what words do, and what slicers say of themselves, of any bytes.
#![no_main]

#[path = "../entry.rs"]
mod entry;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| entry::rules(bytes));
