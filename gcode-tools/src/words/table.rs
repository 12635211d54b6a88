//! The table itself. Codes in tenths, in rising order; of rows with the same code the first that fits counts.

use super::{Effect, Firmwares, Heater, Row};
use crate::time::Firmware;
use Effect as E;

const ALL: Firmwares = Firmwares::ALL;
const CNC: Firmwares = Firmwares::CNC;
const PRINTERS: Firmwares = Firmwares::PRINTERS;
const KLIPPER: Firmwares = Firmwares::of(Firmware::Klipper);
const RRF: Firmwares = Firmwares::of(Firmware::RepRapFirmware);
const BAMBU: Firmwares = Firmwares::of(Firmware::Bambu);
const LINUXCNC: Firmwares = Firmwares::of(Firmware::LinuxCnc);
const FLUIDNC: Firmwares = Firmwares::of(Firmware::FluidNc);
/// grblHAL, and FluidNC where it has the same.
const HAL: Firmwares = Firmwares::of(Firmware::GrblHal).and(FLUIDNC);
/// Grbl and its kin.
const GRBLS: Firmwares = Firmwares::of(Firmware::Grbl).and(HAL);
const HAL_LINUXCNC: Firmwares = HAL.and(LINUXCNC);
/// Printers but Klipper, which knows few codes and leaves the rest to macros.
const OTHERS: Firmwares = PRINTERS.but(KLIPPER);
/// Marlin and those that took its words over.
const MARLINS: Firmwares = OTHERS.but(RRF);

const STORES: Effect = E::Offset { stored: true };
const SHIFTS: Effect = E::Offset { stored: false };
const WRITES: Effect = E::Settings { writes: true };
const SETS: Effect = E::Settings { writes: false };

const fn heats(heater: Heater) -> Effect {
    E::Heats { heater, waits: false }
}

const fn heats_and_waits(heater: Heater) -> Effect {
    E::Heats { heater, waits: true }
}

/// G codes.
pub(super) const G: &[Row] = &[
    (0, ALL, E::Moves),
    (10, ALL, E::Moves),
    (20, ALL, E::Moves),
    (30, ALL, E::Moves),
    (40, ALL, E::Dwells),
    (50, LINUXCNC.and(Firmwares::of(Firmware::GrblHal)).and(MARLINS), E::Moves),
    (51, LINUXCNC.and(Firmwares::of(Firmware::GrblHal)), E::Moves),
    (52, LINUXCNC, E::NotFollowed), // NURBS
    (53, LINUXCNC, E::NotFollowed),
    (60, MARLINS, E::NotFollowed), // steps of the motors
    (70, LINUXCNC, E::Measures),   // diameters
    (80, LINUXCNC, E::Measures),
    (100, CNC, STORES),
    (100, RRF, heats(Heater::Tool)),
    (100, MARLINS, E::Retracts),
    (110, OTHERS, E::Retracts),
    (120, MARLINS, E::Homes), // cleans the nozzle
    (170, ALL, E::Mode),
    (171, LINUXCNC, E::Mode),
    (180, ALL, E::Mode),
    (181, LINUXCNC, E::Mode),
    (190, ALL, E::Mode),
    (191, LINUXCNC, E::Mode),
    (200, CNC.and(OTHERS), E::Measures),
    (200, KLIPPER, E::Refused),
    (210, ALL, E::Measures),
    (260, MARLINS, E::NotFollowed), // prints a pattern
    (270, MARLINS, E::Homes),       // parks
    (280, PRINTERS, E::Homes),
    (280, CNC, E::Moves),
    (281, CNC, STORES),
    (290, OTHERS, E::Homes),
    (300, OTHERS, E::Homes), // probes one point
    (300, CNC, E::Moves),
    (301, CNC, STORES),
    (320, OTHERS, E::Homes),
    (330, OTHERS, E::Homes), // calibrates a delta
    (330, HAL_LINUXCNC, E::Moves),
    (331, HAL_LINUXCNC, E::Moves),
    (340, OTHERS, E::Homes),
    (382, ALL.but(KLIPPER), E::Probes),
    (383, ALL.but(KLIPPER), E::Probes),
    (384, ALL.but(KLIPPER), E::Probes),
    (385, ALL.but(KLIPPER), E::Probes),
    (400, CNC, E::Mode),
    (410, LINUXCNC, E::NotFollowed), // cutter compensation
    (411, LINUXCNC, E::NotFollowed),
    (420, LINUXCNC, E::NotFollowed),
    (420, MARLINS, E::NotFollowed), // to a point of the mesh
    (421, LINUXCNC, E::NotFollowed),
    (430, HAL_LINUXCNC, SHIFTS),
    (431, CNC, SHIFTS),
    (432, HAL_LINUXCNC, SHIFTS),
    (490, CNC, SHIFTS),
    (500, HAL, E::Measures), // scaling
    (510, HAL, E::Measures),
    (520, LINUXCNC, SHIFTS),
    (530, CNC.and(OTHERS), E::Measures),
    (540, CNC.and(OTHERS), SHIFTS),
    (550, CNC.and(OTHERS), SHIFTS),
    (560, CNC.and(OTHERS), SHIFTS),
    (570, CNC.and(OTHERS), SHIFTS),
    (580, CNC.and(OTHERS), SHIFTS),
    (590, CNC.and(OTHERS), SHIFTS),
    (591, HAL_LINUXCNC.and(RRF), SHIFTS),
    (592, HAL_LINUXCNC.and(RRF), SHIFTS),
    (593, HAL_LINUXCNC.and(RRF), SHIFTS),
    (600, OTHERS, E::Saves),
    (610, MARLINS, E::Restores),
    (610, CNC, E::Mode),
    (611, HAL_LINUXCNC, E::Mode),
    (640, HAL_LINUXCNC, E::Mode),
    (650, HAL, E::Calls),
    (660, HAL, E::Calls),
    (670, HAL, E::Calls),
    (680, RRF, E::Measures), // rotation
    (690, RRF, E::Measures),
    (700, LINUXCNC, E::NotFollowed), // lathe's roughing and finishing
    (710, LINUXCNC, E::NotFollowed),
    (711, LINUXCNC, E::NotFollowed),
    (712, LINUXCNC, E::NotFollowed),
    (720, LINUXCNC, E::NotFollowed),
    (721, LINUXCNC, E::NotFollowed),
    (722, LINUXCNC, E::NotFollowed),
    (730, HAL_LINUXCNC, E::Moves),
    (740, LINUXCNC, E::Moves),
    (760, HAL_LINUXCNC, E::Moves),
    (760, OTHERS, E::Homes), // Prusa calibrates its probe
    (800, CNC, E::Mode),
    (800, OTHERS, E::Homes), // Prusa levels its bed
    (810, HAL_LINUXCNC, E::Moves),
    (820, HAL_LINUXCNC, E::Moves),
    (830, HAL_LINUXCNC, E::Moves),
    (840, LINUXCNC, E::Moves),
    (850, HAL_LINUXCNC, E::Moves),
    (860, HAL_LINUXCNC, E::Moves),
    (870, LINUXCNC, E::Moves),
    (880, LINUXCNC, E::Moves),
    (890, HAL_LINUXCNC, E::Moves),
    (900, ALL, E::Distances),
    (901, LINUXCNC, E::Mode),
    (910, ALL, E::Distances),
    (911, CNC, E::Mode),
    (920, ALL, SHIFTS),
    (921, CNC.and(OTHERS), SHIFTS),
    (922, HAL_LINUXCNC, SHIFTS),
    (923, HAL_LINUXCNC, SHIFTS),
    (930, CNC.and(OTHERS), E::Mode),
    (940, CNC.and(OTHERS), E::Mode),
    (950, HAL_LINUXCNC.and(OTHERS), E::Mode),
    (960, HAL_LINUXCNC, E::Mode),
    (970, HAL_LINUXCNC, E::Mode),
    (980, HAL_LINUXCNC, E::Mode),
    (990, HAL_LINUXCNC, E::Mode),
    (3800, BAMBU, E::Homes),   // single axis against its end
    (4250, MARLINS, E::Homes), // measures backlash
];

/// G codes by range, behind those of [`G`].
pub(super) const G_RANGES: &[(u32, u32, Firmwares, Effect)] = &[
    (291, 299, OTHERS, E::Homes),
    (310, 429, OTHERS, E::Homes),
    (501, 539, OTHERS, E::Nothing),
    (750, 999, OTHERS, E::Homes),
    (1000, 9999, BAMBU, E::Nothing),
];

/// M codes.
pub(super) const M: &[Row] = &[
    (0, CNC.and(MARLINS), E::Person),
    (0, RRF, E::Ends),
    (10, LINUXCNC.and(Firmwares::of(Firmware::GrblHal)).and(MARLINS), E::Person),
    (10, Firmwares::of(Firmware::Grbl).and(FLUIDNC), E::Nothing), // an optional stop: they have no switch for it
    (10, RRF, E::Ends),
    (20, CNC.and(RRF), E::Ends),
    (20, MARLINS.but(Firmwares::of(Firmware::Marlin)), E::Nothing),
    (30, CNC.and(OTHERS), E::Switches),
    (40, CNC.and(OTHERS), E::Switches),
    (50, CNC.and(OTHERS), E::Switches),
    (60, HAL_LINUXCNC.and(OTHERS), E::ChangesTool),
    (70, HAL_LINUXCNC.and(OTHERS), E::Switches), // Grbl is built without it, but for ENABLE_M7
    (80, CNC.and(OTHERS), E::Switches),
    (90, CNC.and(OTHERS), E::Switches),
    (170, OTHERS, E::Switches),
    (180, PRINTERS, E::Releases),
    (190, LINUXCNC, E::Switches),
    (210, PRINTERS, E::Nothing),
    (230, PRINTERS, E::Nothing),
    (240, PRINTERS, E::Card),
    (250, PRINTERS, E::Person),
    (270, PRINTERS, E::Talks),
    (280, OTHERS, E::Card),
    (300, CNC, E::Ends),
    (300, OTHERS, E::Nothing), // deletes a file of the card
    (320, OTHERS, E::Card),
    (480, HAL_LINUXCNC, E::Mode),
    (490, HAL_LINUXCNC, E::Mode),
    (500, HAL_LINUXCNC, E::Mode),
    (510, HAL_LINUXCNC, E::Mode),
    (520, LINUXCNC, E::Mode),
    (530, HAL_LINUXCNC, E::Mode),
    (560, GRBLS, E::Mode),
    (600, LINUXCNC, E::Person),
    (610, HAL_LINUXCNC, E::SelectsTool),
    (620, HAL_LINUXCNC, E::Switches),
    (630, HAL_LINUXCNC, E::Switches),
    (640, HAL_LINUXCNC, E::Switches),
    (650, HAL_LINUXCNC, E::Switches),
    (660, HAL_LINUXCNC, E::WaitsForInput),
    (670, HAL_LINUXCNC, E::Switches),
    (680, HAL_LINUXCNC, E::Switches),
    (700, LINUXCNC, E::Saves),
    (710, LINUXCNC, E::Nothing),
    (720, LINUXCNC, E::Restores),
    (730, LINUXCNC, E::Saves),
    (730, PRINTERS, E::Talks),
    (820, PRINTERS, E::Mode),
    (830, PRINTERS, E::Mode),
    (840, PRINTERS, E::Releases),
    (920, OTHERS, SETS),
    (980, HAL_LINUXCNC.and(RRF), E::Calls),
    (990, HAL_LINUXCNC.and(RRF), E::Calls),
    // Skeinforge's extruder on, reversed and off: no firmware here knows them but RepRapFirmware (`GCodes2.cpp`), as
    // retractions that Simplify3D writes, and nothing.
    (1010, RRF, E::Retracts),
    (1010, OTHERS, E::Unknown),
    (1020, RRF, E::Nothing),
    (1020, OTHERS, E::Unknown),
    (1030, RRF, E::Retracts),
    (1030, OTHERS, E::Unknown),
    (1040, PRINTERS, heats(Heater::Tool)),
    (1050, PRINTERS, E::Talks),
    (1060, PRINTERS, E::Tunes),
    (1070, PRINTERS, E::Tunes),
    (1090, PRINTERS, heats_and_waits(Heater::Tool)),
    (1100, PRINTERS, E::Talks),
    (1120, PRINTERS, E::Halts),
    (1140, PRINTERS, E::Talks),
    (1150, PRINTERS, E::Talks),
    (1160, OTHERS, E::WaitsForHeat),
    (1170, PRINTERS, E::Talks),
    (1180, PRINTERS, E::Talks),
    (1190, PRINTERS, E::Talks),
    (1200, RRF, E::Saves),
    (1210, RRF, E::Restores),
    (1250, MARLINS, E::Homes), // parks
    (1400, PRINTERS, heats(Heater::Bed)),
    (1410, OTHERS, heats(Heater::Chamber)),
    (1900, PRINTERS, heats_and_waits(Heater::Bed)),
    (1910, OTHERS, heats_and_waits(Heater::Chamber)),
    (2000, OTHERS, E::Mode), // E is a volume
    (2010, OTHERS, E::Tunes),
    (2030, OTHERS, E::Tunes),
    (2040, PRINTERS, E::Tunes),
    (2050, OTHERS, E::Tunes),
    (2060, OTHERS, SETS),
    (2070, OTHERS, E::Tunes),
    (2200, PRINTERS, E::Tunes),
    (2210, PRINTERS, E::Tunes),
    (2260, OTHERS, E::WaitsForInput),
    (2910, OTHERS, E::Person),
    (3010, OTHERS, SETS),
    (3020, OTHERS, E::Unprotects),
    (3030, OTHERS, heats_and_waits(Heater::Named)),
    (3040, OTHERS, SETS),
    (3050, OTHERS, SETS),
    (3070, OTHERS, SETS),
    (4000, PRINTERS, E::Synchronises),
    (4280, OTHERS, SETS),
    (4860, OTHERS, E::Talks), // marks of objects
    (5000, OTHERS, WRITES),
    (5010, OTHERS, E::Recalls),
    (5020, OTHERS, WRITES),
    (5030, OTHERS, E::Talks),
    (5040, OTHERS, SETS),
    (5520, OTHERS, SETS),
    (5660, OTHERS, E::Tunes),
    (5680, RRF, heats(Heater::Tool)),
    (5720, OTHERS, E::Tunes),
    (5870, OTHERS, SETS),
    (5930, OTHERS, E::Tunes),
    (6000, OTHERS, E::ChangesFilament),
    (6010, OTHERS, E::Person),
    (6650, OTHERS, SETS),
    (6660, OTHERS, SETS),
    (8510, OTHERS, SETS),
    (8620, OTHERS, E::Talks), // asks whether this is the printer that was meant
    (8621, OTHERS, E::Talks),
    (8622, OTHERS, E::Talks),
    (8623, OTHERS, E::Talks),
    (8624, OTHERS, E::Talks),
    (8625, OTHERS, E::Talks),
    (8626, OTHERS, E::Talks),
    (9000, OTHERS, E::Tunes),
    (9970, OTHERS, SETS),
];

/// M codes by range, behind those of [`M`].
pub(super) const M_RANGES: &[(u32, u32, Firmwares, Effect)] = &[
    (1000, 1990, LINUXCNC, E::Nothing), // programs of the user's own
    (100, 119, OTHERS, E::Nothing),
    (160, 489, OTHERS, E::Nothing),
    (660, 669, OTHERS, E::Nothing),
    (720, 879, OTHERS, E::Nothing),
    (920, 1289, OTHERS, E::Nothing),
    (1400, 1669, OTHERS, E::Nothing),
    (1900, 1949, OTHERS, E::Nothing),
    (2000, 2939, OTHERS, E::Nothing),
    (3000, 3099, OTHERS, E::Nothing),
    (3200, 3649, OTHERS, E::Nothing),
    (3800, 4299, OTHERS, E::Nothing),
    (4500, 4869, OTHERS, E::Nothing),
    (5000, 6059, OTHERS, E::Nothing),
    (6060, 6499, BAMBU, E::Nothing),
    (6500, 7129, OTHERS, E::Nothing),
    (7500, 7769, OTHERS, E::Nothing),
    (8080, 8769, OTHERS, E::Nothing),
    (8900, 9299, OTHERS, E::Nothing),
    (9500, 10999, OTHERS, E::Nothing),
    (17000, 17049, OTHERS, E::Nothing),
    (200, 219, KLIPPER, E::Nothing),
    (230, 279, KLIPPER, E::Talks),
];

/// Commands in words, by their first word; `*` stands for any end of it.
pub(super) const COMMANDS: &[(&[u8], Firmwares, Effect)] = &[
    (b"SAVE_GCODE_STATE", KLIPPER, E::Saves),
    (b"RESTORE_GCODE_STATE", KLIPPER, E::Restores),
    (b"SET_GCODE_OFFSET", KLIPPER, SHIFTS),
    (b"SET_HEATER_TEMPERATURE", KLIPPER, heats(Heater::Named)),
    (b"TURN_OFF_HEATERS", KLIPPER, heats(Heater::Named)),
    (b"TEMPERATURE_WAIT", KLIPPER, E::WaitsForHeat),
    (b"PID_CALIBRATE", KLIPPER, heats_and_waits(Heater::Named)),
    (b"ACTIVATE_EXTRUDER", KLIPPER, E::SelectsTool),
    (b"SET_VELOCITY_LIMIT", KLIPPER, E::Tunes),
    (b"SET_PRESSURE_ADVANCE", KLIPPER, E::Tunes),
    (b"SET_EXTRUDER_ROTATION_DISTANCE", KLIPPER, E::Tunes),
    (b"SYNC_EXTRUDER_MOTION", KLIPPER, E::Tunes),
    (b"SET_RETRACTION", KLIPPER, E::Tunes),
    (b"SET_INPUT_SHAPER", KLIPPER, E::Tunes),
    (b"SET_TMC_*", KLIPPER, E::Tunes),
    (b"SET_SKEW", KLIPPER, E::Tunes),
    (b"SKEW_PROFILE", KLIPPER, E::Tunes),
    (b"SET_PIN", KLIPPER, E::Switches),
    (b"SET_FAN_SPEED", KLIPPER, E::Switches),
    (b"SET_TEMPERATURE_FAN_TARGET", KLIPPER, E::Switches),
    (b"SET_LED*", KLIPPER, E::Switches),
    (b"SET_SERVO", KLIPPER, E::Switches),
    (b"SET_STEPPER_ENABLE", KLIPPER, E::Switches),
    (b"SET_FILAMENT_SENSOR", KLIPPER, E::Switches),
    (b"SET_IDLE_TIMEOUT", KLIPPER, E::Tunes),
    (b"SET_DISPLAY_*", KLIPPER, E::Talks),
    (b"SET_PRINT_STATS_INFO", KLIPPER, E::Talks),
    (b"EXCLUDE_OBJECT*", KLIPPER, E::Talks),
    (b"RESPOND", KLIPPER, E::Talks),
    (b"QUERY_*", KLIPPER, E::Talks),
    (b"GET_POSITION", KLIPPER, E::Talks),
    (b"STATUS", KLIPPER, E::Talks),
    (b"HELP", KLIPPER, E::Talks),
    (b"ECHO", KLIPPER, E::Talks),
    (b"BED_MESH_CALIBRATE*", KLIPPER, E::Homes),
    (b"BED_MESH_*", KLIPPER, E::Nothing),
    (b"BED_TILT_CALIBRATE", KLIPPER, E::Homes),
    (b"BED_SCREWS_ADJUST", KLIPPER, E::Person),
    (b"SCREWS_TILT_CALCULATE", KLIPPER, E::Homes),
    (b"QUAD_GANTRY_LEVEL", KLIPPER, E::Homes),
    (b"Z_TILT_ADJUST", KLIPPER, E::Homes),
    (b"DELTA_CALIBRATE", KLIPPER, E::Homes),
    (b"PROBE", KLIPPER, E::Homes),
    (b"PROBE_*", KLIPPER, E::Homes),
    (b"AXIS_TWIST_COMPENSATION_CALIBRATE", KLIPPER, E::Homes),
    (b"PAUSE", KLIPPER, E::Person),
    (b"FORCE_MOVE", KLIPPER, E::NotFollowed),
    (b"MANUAL_STEPPER", KLIPPER, E::NotFollowed),
    (b"SET_KINEMATIC_POSITION", KLIPPER, E::NotFollowed),
    (b"SET_DUAL_CARRIAGE", KLIPPER, E::NotFollowed),
    (b"SAVE_CONFIG", KLIPPER, WRITES),
    (b"RESTART", KLIPPER, E::Halts),
    (b"FIRMWARE_RESTART", KLIPPER, E::Halts),
    (b"SDCARD_PRINT_FILE", KLIPPER, E::Card),
    (b"SAVE_VARIABLE", KLIPPER, E::Nothing),
    (b"SET_GCODE_VARIABLE", KLIPPER, E::Nothing),
    (b"UPDATE_DELAYED_GCODE", KLIPPER, E::Nothing),
    (b"TIMELAPSE_TAKE_FRAME", KLIPPER, E::Macro),
    (b"PRINT_START", KLIPPER, E::Macro),
    (b"PRINT_END", KLIPPER, E::Macro),
    (b"START_PRINT", KLIPPER, E::Macro),
    (b"END_PRINT", KLIPPER, E::Macro),
    // Prusa's filament changer: a person selects, or the printer has.
    (b"Tx", MARLINS, E::SelectsTool),
    (b"Tc", MARLINS, E::SelectsTool),
    (b"while", RRF, E::NotFollowed),
    (b"if", RRF, E::NotFollowed),
    (b"elif", RRF, E::NotFollowed),
    (b"else", RRF, E::NotFollowed),
    (b"break", RRF, E::NotFollowed),
    (b"continue", RRF, E::NotFollowed),
    (b"skip", RRF, E::NotFollowed),
    (b"abort", RRF, E::Halts),
    (b"echo", RRF, E::Talks),
    (b"var", RRF, E::Nothing),
    (b"global", RRF, E::Nothing),
    (b"set", RRF, E::Nothing),
];

/// M codes that only a printer's program has.
pub(super) const TELL_PRINTER_M: &[u32] = &[820, 830, 1040, 1060, 1070, 1090, 1400, 1900, 2010, 2020, 2030, 2040, 2050];

/// M codes that only a CNC machine's program has.
pub(super) const TELL_CNC_M: &[u32] = &[30, 40, 50, 60, 70, 80, 90, 300];

/// G codes, as ranges, that only a CNC machine's program has.
pub(super) const TELL_CNC_G: &[(u32, u32)] =
    &[(170, 190), (400, 400), (430, 430), (490, 490), (540, 593), (730, 730), (810, 830), (940, 940), (980, 980)];
