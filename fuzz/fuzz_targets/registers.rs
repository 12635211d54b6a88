//! Frames and registers of a Modbus device.
#![no_main]

#[path = "../machine.rs"]
mod machine;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| machine::registers(bytes));
