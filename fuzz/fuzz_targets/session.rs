//! A session in any state.
#![no_main]

#[path = "../machine.rs"]
mod machine;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| machine::session(bytes));
