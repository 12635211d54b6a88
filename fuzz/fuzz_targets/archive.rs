//! Any bytes behind the first bytes of a ZIP archive.
#![no_main]

#[path = "../entry.rs"]
mod entry;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| entry::packed(&[&b"PK\x03\x04"[..], bytes].concat()));
