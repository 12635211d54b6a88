//! What `RepRapFirmware` says besides. It writes `Error: ` and `Warning: ` in front (`Platform.cpp`, `MessageV`); an
//! error that stands here under no other name is the answer to a line, whose `ok` follows.

use super::{Effect, FAULT, FILAMENT, NOT_EXTRUDED, Pattern, Row, UNKNOWN_COMMAND, Voice, row};

const ERROR: &[Voice] = &[Voice::Error];
const WARNING: &[Voice] = &[Voice::Warning];
const EITHER: &[Voice] = &[Voice::Error, Voice::Warning];

/// Its own table.
#[rustfmt::skip]
pub(in crate::dialect) static OWN: &[Row] = &[
    row(EITHER, Pattern::Has("command is not supported"), Effect::Ignore, UNKNOWN_COMMAND, "GCodes2.cpp HandleResult"),
    row(EITHER, Pattern::Has("bad command"), Effect::Ignore, UNKNOWN_COMMAND, "GCodes2.cpp ActOnCode"),
    row(EITHER, Pattern::Has("was not driven because"), Effect::Spoil, NOT_EXTRUDED, "Tool.cpp DisplayColdExtrusionWarnings"),
    row(ERROR, Pattern::Has("extrude with no tool selected"), Effect::Spoil, NOT_EXTRUDED, "GCodes.cpp"),
    row(ERROR, Pattern::Starts("filament error on extruder"), Effect::Hold, FILAMENT, "Event.cpp GetTextDescription: it pauses a print of its own card by itself"),
    row(EITHER, Pattern::All(&["heater ", "fault"]), Effect::Fault, FAULT, "Event.cpp GetTextDescription"),
    row(EITHER, Pattern::Has("temperature reading error"), Effect::Fault, FAULT, "HeaterMonitor.cpp"),
    row(ERROR, Pattern::All(&["driver ", "error"]), Effect::Fault, FAULT, "Event.cpp GetTextDescription"),
    row(ERROR, Pattern::Has("vin is not in range"), Effect::Fault, FAULT, "Platform.cpp Spin"),
    row(ERROR, Pattern::Has("vssa fault"), Effect::Fault, FAULT, "Platform.cpp Spin"),
    row(ERROR, Pattern::Starts("http:"), Effect::Tell, "", "HttpResponder.cpp: of its network"),
    row(ERROR, Pattern::Starts("ftp:"), Effect::Tell, "", "FtpResponder.cpp: of its network"),
    row(WARNING, Pattern::Has("stall"), Effect::Tell, "", "Event.cpp GetTextDescription"),
];
