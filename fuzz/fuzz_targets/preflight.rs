//! A whole program of any bytes against machines of each kind. The first byte chooses the machine.
#![no_main]

use gcode_tools::preflight::{self, FINDINGS_MAX};
use gcode_tools::profile::Profile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, program)) = bytes.split_first() else { return };
    let bundled = Profile::bundled();
    let (name, _) = bundled[usize::from(*first) % bundled.len()];
    let Ok(profile) = Profile::named(name) else { return };
    assert!(preflight::check(program, &profile).findings.len() <= FINDINGS_MAX);
});
