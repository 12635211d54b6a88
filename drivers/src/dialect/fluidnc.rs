//! FluidNC: Grbl's conversation on an ESP32, set up by a file instead of numbered settings.
//!
//! ```text
//! < Grbl 3.9 [FluidNC v3.9.9 (esp32-wifi) '$' for help]
//! > $I
//! < [VER:3.9 FluidNC v3.9.9 (esp32-wifi) :]
//! < [OPT:PHSEW]
//! < [MSG:Machine: Router]
//! < ok
//! > ?
//! < <Run|MPos:1.250,0.000,0.000|Bf:14,230|FS:600,0|Ov:100,100,100|A:S>
//! > G1 X9999
//! < [MSG:ERR: Soft limits]
//! < ALARM:2
//! ```
//!
//! Its options name no buffer sizes: those of a resting machine are read from `Bf:`, where `$10` has it reported.
//!
//! Sources: bdring/FluidNC `FluidNC/src/Report.cpp`, `Channel.h`, `Channel.cpp`, `Error.h`, `Alarm.h`,
//! `RealtimeCmd.h`, `SettingsDefinitions.cpp` (the banner is a setting, `$Start/Message`).

use gcode_tools::wire::Numbers;

use super::grbl::{CRITICAL, GrblLike, HABITS};
use super::grbl_codes::{self, Sentences};
use super::{Habits, Likeness, NumbersRead};
use crate::flow::Limits;

/// `FluidNC`'s vocabulary.
pub(super) static FLUIDNC: GrblLike = GrblLike {
    habits: Habits {
        name: "fluidnc",
        // A channel reports 256 less what it has queued as free (`Channel.h`); one byte is left free.
        window: Limits { lines: 64, bytes: 255 },
        // `Channel::maxLine` is 255 with its zero (`Channel.h`).
        line_max: 254,
        // Its own `read_float` (`Parameters.cpp`).
        numbers: NumbersRead::always(Numbers::Plain),
        needs_proof: true,
        // A drive is waited for until it is in step (`VFDSpindle.cpp`), a PWM spindle for its configured `spinup_ms`.
        spindle_waits_s: 60,
        ..HABITS
    },
    errors: &[ERRORS, grbl_codes::ERRORS],
    alarms: &[ALARMS, grbl_codes::ALARMS],
    critical: CRITICAL,
    firmware: |version| {
        // `3.9 FluidNC v3.9.9 (esp32-wifi)`: the first number is there for programs that look for Grbl's.
        version.find("FluidNC").map_or_else(|| format!("FluidNC {version}"), |at| version[at..].to_owned())
    },
    likeness,
};

fn likeness(line: &[u8]) -> Likeness {
    let line = line.trim_ascii();
    let named = memchr::memmem::find(line, b"FluidNC").is_some();
    if named && (line.starts_with(b"Grbl ") || line.starts_with(b"[VER:")) {
        Likeness::Proof
    } else if line.starts_with(b"[OPT:") {
        Likeness::Kin
    } else {
        Likeness::None
    }
}

static ERRORS: Sentences = &[
    (5, "Homing, or whatever the command needs, is switched off in the machine's configuration."),
    (18, "No homing cycle is defined in the machine's configuration."),
    (19, "Homing of single axes is not possible on this machine."),
    (38, "A value in the line is above what the firmware allows."),
    (39, "The P word is above what the firmware allows."),
    (40, "An input that must be off at start-up is on."),
    (60, "The file system could not be mounted."),
    (61, "The file could not be read."),
    (62, "The folder could not be opened."),
    (63, "The folder was not found."),
    (64, "The file is empty."),
    (65, "The file was not found."),
    (66, "The file could not be opened."),
    (67, "The file system is busy."),
    (68, "The folder could not be deleted."),
    (69, "The file could not be deleted."),
    (70, "The file could not be renamed."),
    (80, "The setting's number is out of range."),
    (81, "The setting's value is not valid."),
    (82, "The file could not be created."),
    (83, "The file system could not be formatted."),
    (90, "The notification could not be sent."),
    (100, "The setting could not be stored."),
    (101, "The state of the setting memory could not be read."),
    (110, "The password is wrong, or the command needs one."),
    (111, "The line ended too early."),
    (112, "The file ended too early."),
    (113, "The machine was reset before it came to the line."),
    (114, "There was nothing to read."),
    (120, "Another connection is using the machine."),
    (130, "The jog was cancelled."),
    (150, "A pin in the configuration is not valid."),
    (151, "A setting in the configuration cannot be used while the machine runs."),
    (152, "The machine's configuration file is not valid; it moves nothing until that is corrected."),
    (160, "The upload failed."),
    (161, "The download failed."),
    (162, "The setting can only be read."),
    (170, "An expression divides by zero."),
    (171, "An expression's argument is not valid."),
    (172, "An expression's result is no usable number."),
    (173, "An expression uses an operation the firmware does not know."),
    (174, "An expression's argument is out of range."),
    (175, "An expression is malformed."),
    (176, "A word of flow control is malformed."),
    (177, "A word of flow control stands outside a macro."),
    (178, "There is no memory left for flow control."),
    (179, "Flow control is nested too deeply."),
    (180, "The value could not be given to the parameter."),
    (181, "A word in the line has a value that is not valid."),
];

static ALARMS: Sentences = &[
    (10, "The spindle cannot be controlled: its drive does not answer."),
    (11, "An input that must be off at start-up is on."),
    (12, "A limit switch is pressed, and which end it belongs to cannot be told. Move the machine off it by hand."),
    (13, "The machine was stopped hard; its position is likely lost. Home it again."),
    (14, "The machine must be homed before it moves."),
    (15, "The machine has just started and waits to be unlocked or homed."),
    (16, "The board that extends the inputs and outputs restarted."),
    (17, "A line of the program was in error, and the machine stopped there."),
    (18, "A limit switch was hit while probing; the position is likely lost. Home the machine again."),
];
