//! What Grbl's error and alarm numbers mean, in sentences for the person at the machine.
//!
//! The numbers are those of gnea/grbl 1.1h (`doc/csv/error_codes_en_US.csv`, `alarm_codes_en_US.csv`), which grblHAL and
//! FluidNC keep up to 38; what those mean by others stands in their own files. The words are ours.

/// Numbers and their sentences.
pub(super) type Sentences = &'static [(u32, &'static str)];

pub(super) static ERRORS: Sentences = &[
    (1, "A word in the line has no letter in front of its number."),
    (2, "A number in the line is missing or cannot be read."),
    (3, "The firmware does not know this `$` command."),
    (4, "A value that must be positive is negative."),
    (5, "Homing is switched off in the machine's settings."),
    (6, "The step pulse setting is shorter than three microseconds."),
    (7, "The machine's stored settings could not be read and were set back to defaults."),
    (8, "This `$` command works only while the machine is idle."),
    (9, "The machine is locked by an alarm or is jogging and takes no G-code."),
    (10, "Soft limits need homing to be switched on."),
    (11, "The line has more characters than the machine's line buffer."),
    (12, "The setting would exceed the highest step rate."),
    (13, "The safety door is open."),
    (14, "The start-up line is longer than the machine can store."),
    (15, "The jog would leave the machine's travel and was ignored."),
    (16, "The jog command is malformed."),
    (17, "Laser mode needs a spindle output with PWM."),
    (20, "The line has a G-code word that the firmware does not support."),
    (21, "Two words of the same modal group stand in one line."),
    (22, "No feed rate has been set for a feed move."),
    (23, "A word that takes a whole number got a fraction."),
    (24, "Two words in the line both want the axis words."),
    (25, "A word stands twice in the line."),
    (26, "A motion word has no axis words."),
    (27, "The line number is out of range."),
    (28, "A word that the command needs is missing."),
    (29, "Work coordinate systems G59.1 to G59.3 are not supported."),
    (30, "G53 goes with G0 and G1 only."),
    (31, "Axis words stand in a line that has no use for them."),
    (32, "An arc needs at least one axis word in its plane."),
    (33, "The target of the motion is not valid: the arc's end does not lie on its circle."),
    (34, "The arc's radius cannot reach its end point."),
    (35, "An arc needs at least one offset word in its plane."),
    (36, "The line has words that nothing in it uses."),
    (37, "G43.1 works on the configured tool axis only."),
    (38, "The tool number is higher than the machine supports."),
];

pub(super) static ALARMS: Sentences = &[
    (1, "A limit switch was hit; the machine stopped at once and its position is likely lost. Home it again."),
    (2, "A move would have left the machine's soft limits; the position is kept and the lock can be cleared."),
    (3, "The machine was reset while it moved; its position is likely lost. Home it again."),
    (4, "The probe was not in its expected state before the probing move."),
    (5, "The probe did not touch anything within the programmed distance."),
    (6, "Homing was interrupted by a reset."),
    (7, "The safety door was opened during homing."),
    (8, "Homing could not clear the limit switch while pulling off."),
    (9, "Homing did not find a limit switch within its search distance."),
    (10, "Homing did not find the second switch of a dual axis."),
    (11, "Homing is required before anything else."),
    (14, "The spindle did not reach its speed in time."),
];

/// The sentence of a number: of the first table that has it.
pub(super) fn sentence(tables: &[Sentences], number: u32, unknown: &str) -> String {
    let known = tables.iter().flat_map(|table| table.iter()).find(|(known, _)| *known == number);
    known.map_or(unknown, |(_, sentence)| sentence).to_owned()
}
