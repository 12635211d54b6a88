//! Any bytes behind the header of a bgcode without checksums.
#![no_main]

#[path = "../entry.rs"]
mod entry;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| entry::packed(&[&b"GCDE\x01\0\0\0\0\0"[..], bytes].concat()));
