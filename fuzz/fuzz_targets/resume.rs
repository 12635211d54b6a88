//! Going on in the middle of a whole program of any bytes.
#![no_main]

#[path = "../entry.rs"]
mod entry;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| entry::resume(bytes));
