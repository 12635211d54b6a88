//! What Klipper says besides. An error of more than one line comes as notes first; then its first line stands behind `!! `
//! (`gcode.py`, `_respond_error`), and `ok` follows. What shuts it down is read in `klipper.rs`.

use super::{Effect, NOT_EXTRUDED, NOT_HOMED, Pattern, Row, UNKNOWN_COMMAND, Voice, row};

const BANG: &[Voice] = &[Voice::Bang];
const NOTE: &[Voice] = &[Voice::Note];

/// Its own table.
#[rustfmt::skip]
pub(in crate::dialect) static OWN: &[Row] = &[
    row(NOTE, Pattern::Starts("unknown command"), Effect::Ignore, UNKNOWN_COMMAND, "gcode.py cmd_default"),
    row(BANG, Pattern::Has("extrude below minimum temp"), Effect::Refuse, NOT_EXTRUDED, "kinematics/extruder.py check_move"),
    row(BANG, Pattern::Has("must home"), Effect::Refuse, NOT_HOMED, "kinematics/cartesian.py check_move, extras/probe.py"),
];
