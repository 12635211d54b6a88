//! What Repetier-Firmware says besides.

use super::{Effect, FAULT, FILAMENT, Pattern, Row, UNKNOWN_COMMAND, Voice, row};

const ERROR: &[Voice] = &[Voice::Error];
const PLAIN: &[Voice] = &[Voice::Plain];

/// Its own table.
#[rustfmt::skip]
pub(in crate::dialect) static OWN: &[Row] = &[
    row(PLAIN, Pattern::Starts("important:extruder jam"), Effect::Hold, FILAMENT, "Printer.cpp handleInterruptEvent"),
    row(PLAIN, Pattern::Starts("unknown command:"), Effect::Ignore, UNKNOWN_COMMAND, "Commands.cpp processGCode, processMCode"),
    row(PLAIN, Pattern::Starts("skip "), Effect::Damaged, "", "gcode.cpp checkAndPushCommand: passed over, and asked for again"),
    row(ERROR, Pattern::Has("fail mode active"), Effect::Halt, "", "Printer.cpp enableFailedModeP"),
    row(ERROR, Pattern::Has("dry run mode until restart"), Effect::Fault, FAULT, "Extruder.cpp: heaters are off, and moves are not made"),
    row(ERROR, Pattern::Has("decoupled"), Effect::Fault, FAULT, "Extruder.cpp manageTemperatures"),
    row(ERROR, Pattern::Has("exceeded max temperature"), Effect::Fault, FAULT, "Extruder.cpp manageTemperatures"),
];
