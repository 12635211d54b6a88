//! A file of any bytes, unpacked. The first byte chooses a format's first bytes, so that each is met often.
#![no_main]

use gcode_tools::formats;
use libfuzzer_sys::fuzz_target;
use std::io::{Cursor, Read};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let magic: &[u8] = [&b"\x1F\x8B\x08"[..], b"GCDE\x01\0\0\0\0\0", b"PK\x03\x04", b""][usize::from(first % 4)];
    let file = [magic, rest].concat();
    if let Ok(program) = formats::open(Cursor::new(&file)) {
        let mut text = Vec::new();
        let _ = program.take(1 << 24).read_to_end(&mut text);
    }
});
