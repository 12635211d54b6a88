//! What Smoothieware says besides. What halts it is read in `smoothieware.rs`: there an alarm is ended by a word.

use super::{Effect, FILAMENT, NOT_HOMED, Pattern, Row, UNKNOWN_COMMAND, Voice, row};

const ERROR: &[Voice] = &[Voice::Error];
const NOTE: &[Voice] = &[Voice::Note];

/// Its own table.
#[rustfmt::skip]
pub(in crate::dialect) static OWN: &[Row] = &[
    row(ERROR, Pattern::Has("unsupported command"), Effect::Ignore, UNKNOWN_COMMAND, "SimpleShell.cpp, Endstops.cpp"),
    row(ERROR, Pattern::Has("invalid statement"), Effect::Ignore, UNKNOWN_COMMAND, "SimpleShell.cpp on_console_line_received"),
    row(ERROR, Pattern::Has("must be homed"), Effect::Refuse, NOT_HOMED, "Endstops.cpp set_homing_offset"),
    row(ERROR, Pattern::Has("only g38.2 to g38.5"), Effect::Refuse, "", "ZProbe.cpp on_gcode_received"),
    row(NOTE, Pattern::Starts("filament detector has detected"), Effect::Hold, FILAMENT, "FilamentDetector.cpp check_encoder"),
];
