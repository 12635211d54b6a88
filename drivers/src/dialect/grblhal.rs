//! grblHAL: Grbl's conversation with larger buffers, more words and more numbers.
//!
//! ```text
//! < GrblHAL 1.1f ['$' or '$HELP' for help]
//! > $I+
//! < [VER:1.1f.20260817:]
//! < [OPT:VNMSL,100,1024,3,0]
//! < [AXS:3:XYZ]
//! < [NEWOPT:ENUMS,RT+,HOME,TC,SED]
//! < [FIRMWARE:grblHAL]
//! < [DRIVER:Simulator]
//! < ok
//! > ?
//! < <Run|MPos:1.250,0.000,0.000|Bf:98,1013|FS:600,0,0|WCO:0.000,0.000,0.000>
//! > M6T2
//! < <Tool|MPos:1.250,0.000,0.000|Bf:100,1023|FS:0,0|A:T>
//! ```
//!
//! Built to be compatible, it says `Grbl 1.1f` and answers `$I` as Grbl does: only the long answer to `$I+`, which Grbl
//! refuses, shows who it is. `?`, `!` and `~` work while `$I+` says `RT+`, as it does unless somebody changed it.
//!
//! After one error every line of G-code is refused with the same number, until an empty line:
//!
//! ```text
//! > G1X10X20
//! < error:25
//! > G1X5
//! < error:25                                  not executed
//! >
//! < ok
//! ```
//!
//! Sources: grblHAL/core `report.c`, `alarms.h`, `errors.h`, `grbl.h` (real-time bytes), `protocol.h`, `stream.h`.

use gcode_tools::wire::Numbers;

use super::grbl::{GrblLike, HABITS, is_kin};
use super::grbl_codes::{self, Sentences};
use super::{Habits, Likeness, NumbersRead};
use crate::flow::Limits;

/// grblHAL's vocabulary.
pub(super) static GRBLHAL: GrblLike = GrblLike {
    habits: Habits {
        name: "grblhal",
        // RX_BUFFER_SIZE 1024 (`stream.h`), of which one byte tells full from empty; `[OPT:…]` says what it is.
        window: Limits { lines: 256, bytes: 1023 },
        // LINE_BUFFER_SIZE 257 with its zero (`protocol.h`).
        line_max: 256,
        identify: "$I+",
        // Its own `read_float` (`nuts_bolts.c`).
        numbers: NumbersRead::always(Numbers::Plain),
        needs_proof: true,
        // `$398` is 100 unless set otherwise; `[OPT:…]` says what it is.
        planner_blocks: 100,
        // With `COMPATIBILITY_LEVEL` 0, which is the usual, until `$…`, an empty line or a reset (`protocol.c`).
        error_sticks: true,
        // `spindle_set_state_wait` gives a spindle up to a minute to be at speed.
        spindle_waits_s: 60,
        ..HABITS
    },
    errors: &[ERRORS, grbl_codes::ERRORS],
    alarms: &[ALARMS, grbl_codes::ALARMS],
    // `alarm_is_critical` (`alarms.c`): `$X` is refused with error 79.
    critical: &[1, 2, 10, 17, 20],
    firmware: |version| format!("grblHAL {version}"),
    likeness,
};

fn likeness(line: &[u8]) -> Likeness {
    let line = line.trim_ascii();
    // The short answer's options have three fields, the long one's five.
    let long = line.starts_with(b"[OPT:") && memchr::memchr_iter(b',', line).count() >= 4;
    if long || line.starts_with(b"GrblHAL ") || line == b"[FIRMWARE:grblHAL]" {
        Likeness::Proof
    } else if is_kin(line) {
        Likeness::Kin
    } else {
        Likeness::None
    }
}

static ERRORS: Sentences = &[
    (18, "The machine was reset before it came to the line."),
    (19, "A value that must be above zero is not."),
    (38, "The tool number is not in the machine's tool table."),
    (39, "A value in the line is out of the range the firmware allows."),
    (40, "A tool change is pending; the line has to wait until the tool is in."),
    (41, "The spindle must turn for this move, and does not."),
    (42, "The command does not work in the selected plane."),
    (43, "The feed rate is above what the machine can move."),
    (44, "The spindle speed is out of the spindle's range."),
    (45, "A limit switch is pressed; move off it before this command."),
    (46, "The machine must be homed before this command."),
    (47, "The tool cannot be used: it is unknown or not the one that is loaded."),
    (48, "Two words in the line ask for different things."),
    (49, "The controller's self-test failed."),
    (50, "The emergency stop is pressed."),
    (51, "A motor driver reports a fault."),
    (52, "The setting's value is out of range."),
    (53, "The setting is switched off in this build."),
    (54, "The retract position of the drilling cycle lies below its start."),
    (55, "The homing settings contradict each other."),
    (56, "The coordinate system is locked and cannot be changed."),
    (57, "A `%` stands where no program begins or ends."),
    (58, "The input or output that the line names does not exist."),
    (60, "The SD card could not be mounted."),
    (61, "The file could not be read."),
    (62, "The folder could not be opened."),
    (63, "The folder was not found."),
    (64, "No SD card is mounted."),
    (65, "No file system is mounted."),
    (66, "The file system can only be read."),
    (70, "Bluetooth could not be started."),
    (71, "An expression uses an operation the firmware does not know."),
    (72, "An expression divides by zero."),
    (73, "An expression's argument is out of range."),
    (74, "An expression's argument is not valid."),
    (75, "An expression is malformed."),
    (76, "An expression's result is no usable number."),
    (77, "A password is needed for this command."),
    (78, "The command is not allowed for this user."),
    (79, "The command is not allowed after a critical alarm; reset the machine first."),
    (80, "A word of flow control stands outside a macro."),
    (81, "A word of flow control is malformed."),
    (82, "Flow control is nested too deeply."),
    (83, "There is no memory left for flow control."),
    (84, "The file could not be opened."),
    (85, "The file system could not be formatted."),
    (86, "The input or output that the line names is used for something else."),
    (87, "There is a tool in the spindle."),
    (88, "There is no tool in the spindle."),
    (89, "The file could not be deleted."),
    (90, "The command does not work while cutter compensation is on."),
    (91, "The move contradicts the cutter compensation."),
    (92, "The cutter compensation cannot follow this path."),
    (253, "A macro of the machine stopped the line with a message of its own."),
];

static ALARMS: Sentences = &[
    (10, "The emergency stop is pressed. Release it, then reset the machine."),
    (12, "A limit switch is pressed at start-up or before homing. Move the machine off it."),
    (13, "The probe's protection was tripped: it touched something outside a probing move."),
    (15, "Homing did not find the second switch of an axis with two motors."),
    (16, "The controller's self-test failed at power-on."),
    (17, "A motor driver reports a fault; the position is likely lost. Home the machine again."),
    (18, "Homing failed."),
    (19, "The spindle drive does not answer on its Modbus line."),
    (20, "The board that extends the inputs and outputs does not answer."),
    (21, "The memory of the settings does not work."),
    (22, "A buffer in the controller ran over; lines may be lost."),
];
