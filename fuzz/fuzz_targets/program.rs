//! A whole program of any bytes: lines that come back byte for byte, and the analysis.
#![no_main]

use gcode_tools::analysis::analyse;
use gcode_tools::read::Lines;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = Lines::new(bytes);
    let mut length = 0;
    while let Ok(Some(line)) = lines.next_line() {
        assert_eq!(line.offset, length + 3 * u64::from(line.marked));
        length = line.offset + line.length + line.end.bytes().len() as u64;
    }
    assert_eq!(length, bytes.len() as u64);
    if let Ok(info) = analyse(bytes, None) {
        assert!(info.time_s.is_finite());
    }
});
