//! Any bytes as lines, packed as MeatPack and unpacked.
#![no_main]

#[path = "../entry.rs"]
mod entry;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| entry::meatpack(bytes));
