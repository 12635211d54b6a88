//! Any bytes behind the first bytes of gzip.
#![no_main]

#[path = "../entry.rs"]
mod entry;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| entry::packed(&[&b"\x1F\x8B\x08"[..], bytes].concat()));
