//! Analysis and preflight in one pass: what whoever takes in a job wants to know of it.

use crate::analysis::{Analysis, Info, Setup, firmware_of};
use crate::follow;
use crate::preflight::{Conditions, Preflight, Verdict};
use crate::profile::Profile;
use crate::sniff::ReadError;
use std::io::Read;

/// Says what a program will do on a machine, and whether it may.
///
/// The verdict is there even when the program cannot be read; the analysis then is the reason why not.
///
/// ```
/// use gcode_tools::{inspect::inspect, preflight::Conditions, profile::Profile};
/// let profile = Profile::named("grbl-laser-400").unwrap();
/// let (info, verdict) = inspect(&b"G21 G90\nM4 S500\nG1 X50 F1000\nM5\nM2\n"[..], &profile, &Conditions::default());
/// assert!(verdict.passes());
/// assert_eq!(info.unwrap().powered_mm, 50.0);
/// ```
pub fn inspect(input: impl Read, profile: &Profile, conditions: &Conditions) -> (Result<Info, ReadError>, Verdict) {
    let setup = Setup { profile: Some(profile), ..Setup::default() };
    let mut preflight = Preflight::new(profile, conditions);
    let mut state = preflight.state();
    let followed = follow::open(input).and_then(|(mut lines, _)| {
        let firmware = firmware_of(lines.peek().map_err(|error| ReadError::from_io(&error))?);
        let mut analysis = Analysis::new(&setup, state.family, firmware);
        let extent = follow::follow(&mut lines, &mut state, &mut (&mut analysis, &mut preflight))?;
        Ok((analysis.finish(&extent, &state), extent))
    });
    match followed {
        Ok((info, extent)) => {
            let verdict = preflight.finish(&extent, &state);
            (if info.is_empty() { Err(ReadError::empty()) } else { Ok(info) }, verdict)
        }
        Err(error) => {
            let verdict = Verdict::unreadable(&error);
            (Err(error), verdict)
        }
    }
}
