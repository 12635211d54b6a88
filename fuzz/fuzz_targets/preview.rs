//! A whole program's picture, on a machine which the first byte chooses.
#![no_main]

#[path = "../entry.rs"]
mod entry;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| entry::preview(bytes));
