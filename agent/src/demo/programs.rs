//! The real programs that the demo runs, and the machines they are for.

/// One machine of the demo and its program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bundle {
    /// The machine's name.
    pub(crate) machine: &'static str,
    /// Name of its profile.
    pub(crate) profile: &'static str,
    /// The program's file name.
    pub(crate) file: &'static str,
    /// The program.
    pub(crate) program: &'static [u8],
}

/// A printer, a mill and a laser.
pub(crate) const BUNDLES: [Bundle; 3] = [
    Bundle {
        machine: "printer",
        profile: "prusa-mk3s",
        file: "cube.gcode",
        program: include_bytes!("../../../config/demo/cube.gcode"),
    },
    Bundle {
        machine: "mill",
        profile: "grbl-router-6040",
        file: "plate.nc",
        program: include_bytes!("../../../config/demo/plate.nc"),
    },
    Bundle {
        machine: "laser",
        profile: "grbl-laser-400",
        file: "badge.gcode",
        program: include_bytes!("../../../config/demo/badge.gcode"),
    },
];

#[cfg(test)]
mod test {
    use drivers::profile::{Kind, Profile};
    use gcode_tools::analysis::analyse;

    use super::*;

    #[test]
    fn every_program_fits_the_machine_it_is_for() {
        for bundle in BUNDLES {
            let profile = Profile::named(bundle.profile).unwrap();
            let info = analyse(bundle.program, Some(&profile)).unwrap();
            let (bounds, envelope) = (info.bounds_mm.unwrap(), profile.envelope_mm.unwrap());
            for axis in 0..3 {
                let (low, high) = (bounds.min[axis], bounds.max[axis]);
                // A mill's program counts from the workpiece, wherever that is clamped: its size must fit.
                let fits = match profile.kind {
                    Kind::Mill => high - low <= envelope.max[axis] - envelope.min[axis],
                    _ => low >= envelope.min[axis] && high <= envelope.max[axis],
                };
                assert!(fits, "{}: axis {axis} runs from {low} to {high}", bundle.file);
            }
            let spindle_max = profile.spindle.as_ref().map(|spindle| spindle.max_rpm);
            let s_max = spindle_max.or(profile.laser.as_ref().map(|laser| laser.s_max)).unwrap_or(f64::MAX);
            assert!(info.spindle_max <= s_max, "{}: S{}", bundle.file, info.spindle_max);
            assert!(info.commands > 300 && info.time_s > 30.0, "{}: too small to be real", bundle.file);
        }
    }

    #[test]
    fn every_grbl_program_keeps_grbls_rules() {
        for bundle in BUNDLES.iter().filter(|bundle| bundle.profile.starts_with("grbl")) {
            let text = std::str::from_utf8(bundle.program).unwrap();
            for (number, line) in text.lines().enumerate() {
                // Grbl 1.1: LINE_BUFFER_SIZE is 80, the line end included.
                assert!(line.len() < 80, "{}:{}: too long", bundle.file, number + 1);
                assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}:{}", bundle.file, number + 1);
                assert!(!line.contains(['!', '~', '?']), "{}:{}: a real-time word", bundle.file, number + 1);
            }
            let lasers = bundle.machine == "laser";
            assert_eq!(text.contains("M4 "), lasers, "{}: a laser needs M4, a mill M3", bundle.file);
        }
    }
}
