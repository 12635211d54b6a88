//! What Marlin and its descendants say: Marlin 1.0 to 2.1, Prusa's 8-bit firmware, and the makers' builds of both.
//!
//! Sources: Marlin `src/core/language.h` (the texts) and the files named with each row; Prusa-Firmware `messages.cpp`,
//! `temperature.cpp`, `Marlin_main.cpp`, `cmdqueue.cpp`; what hosts found on the wire, with its report.

use super::{
    ASKS_PAUSE, ASKS_STOP, Effect, FAULT, FILAMENT, NOT_EXTRUDED, NOT_HOMED, Pattern, Row, UNKNOWN_COMMAND, Voice, row,
};

const ERROR: &[Voice] = &[Voice::Error];
const ECHO: &[Voice] = &[Voice::Echo];
const PLAIN: &[Voice] = &[Voice::Plain];
const OF_LINES: &[Voice] = &[Voice::Echo, Voice::Plain, Voice::Error];
const OF_HEAT: &[Voice] = &[Voice::Error, Voice::Plain];

/// What Klipper alone does not take for an error of a line: the mark of a machine that has halted.
#[rustfmt::skip]
pub(in crate::dialect) static BANG: &[Row] = &[row(
    &[Voice::Bang],
    Pattern::Has(""),
    Effect::Halt,
    "",
    "Sprinter and Smoothieware: `!!` for a hard fault; OctoPrint #2110",
)];

/// What all of them have in common, and firmwares that converse like them.
#[rustfmt::skip]
pub(in crate::dialect) static COMMON: &[Row] = &[
    // Lines that arrived damaged or not at all. A request to say them again follows.
    row(ERROR, Pattern::Has("line number is not"), Effect::Gap, "", "Marlin queue.cpp gcode_line_error; Prusa cmdqueue.cpp"),
    row(ERROR, Pattern::Has("linenumber is not"), Effect::Gap, "", "OctoPrint serial_comm.py, resend_request_communication_errors"),
    row(ERROR, Pattern::Has("expected line"), Effect::Damaged, "", "Repetier gcode.cpp tExpectedLine"),
    row(ERROR, Pattern::Has("checksum"), Effect::Damaged, "", "Marlin queue.cpp gcode_line_error; Repetier gcode.cpp"),
    row(ERROR, Pattern::Has("no line number"), Effect::Damaged, "", "Prusa cmdqueue.cpp MSG_ERR_NO_LINENUMBER_WITH_CHECKSUM"),
    row(ERROR, Pattern::Has("missing linenumber"), Effect::Damaged, "", "Repetier gcode.cpp checkAndPushCommand"),
    row(ERROR, Pattern::Has("format error"), Effect::Damaged, "", "Repetier gcode.cpp parseAscii"),
    // Each of Marlin's complaints about a line ends so, however else it arrived.
    row(ERROR, Pattern::Has("last line"), Effect::Damaged, "", "Marlin queue.cpp gcode_line_error"),
    row(ERROR, Pattern::Has("serial status mismatch"), Effect::Damaged, "", "Marlin language.h STR_ERR_SERIAL_MISMATCH; Jyers/Marlin #784"),
    // Halted: no line is taken before a reset, or M999.
    row(OF_LINES, Pattern::Has("kill() called"), Effect::Halt, "", "Marlin MarlinCore.cpp kill; Prusa Marlin_main.cpp kill"),
    row(ERROR, Pattern::Has("kill"), Effect::Halt, "", "Marlin 1.0 kill: `!! KILLED`; language.h STR_KILL_BUTTON"),
    row(ERROR, Pattern::Has("printer halted"), Effect::Halt, "", "Marlin language.h STR_ERR_KILLED"),
    row(OF_HEAT, Pattern::Starts("printer stopped"), Effect::Halt, "", "Marlin queue.cpp, G0_G1.cpp STR_ERR_STOPPED: said for each move that is answered and not done"),
    row(ERROR, Pattern::Has("stop called because of"), Effect::Halt, "", "Marlin language.h STR_STOP_BLTOUCH, STR_STOP_UNHOMED: stop() follows"),
    row(OF_HEAT, Pattern::Has("heating failed"), Effect::Halt, "", "Marlin temperature.cpp _temp_error"),
    row(OF_HEAT, Pattern::Has("thermal runaway"), Effect::Halt, "", "Marlin temperature.cpp _temp_error; Prusa temperature.cpp temp_runaway_stop"),
    row(OF_HEAT, Pattern::Has("thermal malfunction"), Effect::Halt, "", "Marlin language.h STR_T_MALFUNCTION"),
    row(OF_HEAT, Pattern::Has("maxtemp"), Effect::Halt, "", "Marlin temperature.cpp maxtemp_error; Marlin 1.0 writes it on a line of its own"),
    row(OF_HEAT, Pattern::Has("mintemp"), Effect::Halt, "", "Marlin temperature.cpp mintemp_error; Prusa temp_error_messagepgm"),
    row(OF_HEAT, Pattern::Has("heater switched off"), Effect::Halt, "", "Marlin language.h STR_REDUNDANCY"),
    row(OF_HEAT, Pattern::Has("heaters switched off"), Effect::Halt, "", "Prusa temperature.cpp temp_error_messagepgm"),
    row(ERROR, Pattern::Has("system stopped"), Effect::Halt, "", "Marlin language.h STR_STOPPED_HEATER"),
    row(ERROR, Pattern::Has("invalid extruder number !"), Effect::Halt, "", "Prusa temperature.cpp analog2temp: kill follows"),
    row(ERROR, Pattern::Has("watchdog"), Effect::Halt, "", "Marlin language.h STR_WATCHDOG_FIRED"),
    row(ERROR, Pattern::Has("m112 called"), Effect::Halt, "", "Prusa messages.cpp MSG_M112_KILL"),
    // Paused by itself, and to be let go on at its display.
    row(ECHO, Pattern::Starts("printer stopped"), Effect::Paused, ASKS_PAUSE, "Prusa Marlin_main.cpp ThermalStop with recovery"),
    row(ECHO, Pattern::Has("homing failed"), Effect::Refuse, "", "Marlin endstops.cpp validate_homing_move; Ender-3V3-SE #95"),
    // The card, the memory of settings, the network: nothing of a job that is streamed.
    row(ERROR, Pattern::Has("volume.init failed"), Effect::Tell, "", "Marlin cardreader.cpp mount; Prusa cardreader.cpp"),
    row(ERROR, Pattern::Has("openroot failed"), Effect::Tell, "", "Marlin cardreader.cpp mount; Prusa cardreader.cpp"),
    row(ERROR, Pattern::Has("workdir open failed"), Effect::Tell, "", "Marlin cardreader.cpp setroot"),
    row(ERROR, Pattern::Has("sd init fail"), Effect::Tell, "", "Marlin cardreader.cpp mount"),
    row(ERROR, Pattern::Has("sd read error"), Effect::Tell, "", "Marlin queue.cpp get_sdcard_commands"),
    row(ERROR, Pattern::Has("sd error"), Effect::Tell, "", "Repetier gcode.cpp readFromSD"),
    row(ERROR, Pattern::Has("writing to file"), Effect::Tell, "", "Marlin cardreader.cpp write_command; Smoothieware GcodeDispatch.cpp"),
    row(ERROR, Pattern::Has("open failed, file"), Effect::Tell, "", "Marlin cardreader.cpp openFailed"),
    row(ERROR, Pattern::Has("cannot open subdir"), Effect::Tell, "", "Marlin language.h STR_SD_CANT_OPEN_SUBDIR"),
    row(ERROR, Pattern::Has("cannot enter subdir"), Effect::Tell, "", "Marlin language.h STR_SD_CANT_ENTER_SUBDIR"),
    row(ERROR, Pattern::Has("sub-gcode files"), Effect::Tell, "", "Marlin cardreader.cpp openFileRead"),
    row(ERROR, Pattern::Has("eeprom"), Effect::Tell, "", "Marlin settings.cpp; Repetier Communication.cpp tNoEEPROMSupport"),
    row(ERROR, Pattern::Has("no thermistors"), Effect::Tell, "", "Marlin M105.cpp: the answer to each question"),
    row(ERROR, Pattern::Has("ethernet"), Effect::Tell, "", "Marlin ethernet.cpp ethernet_cable_error"),
    row(ERROR, Pattern::Has("enqueing"), Effect::Tell, "", "Prusa cmdqueue.cpp enquecommand: of its own menu"),
    // Something is wrong with the machine, whatever line it was at.
    row(ERROR, Pattern::Has("tmc"), Effect::Fault, FAULT, "Marlin tmc_util.cpp; Marlin #17165, #22731"),
    row(ERROR, Pattern::Has("driver"), Effect::Fault, FAULT, "Marlin tmc_util.cpp report_driver_otpw, monitor_tmc_driver"),
    row(ECHO, Pattern::Starts("endstops hit"), Effect::Fault, FAULT, "Marlin endstops.cpp event_handler: a move that was no homing was cut short, or all of them (ABORT_ON_ENDSTOP_HIT); homing and probing clear it first"),
    row(ERROR, Pattern::Has("fan error"), Effect::Fault, FAULT, "Prusa fancheck.cpp fanSpeedErrorBeep"),
    // Filament, pauses and ends that the machine asks its host for.
    row(PLAIN, Pattern::Starts("requestpause:"), Effect::Paused, ASKS_PAUSE, "Repetier Printer.cpp pausePrint; Repetier-Host #349"),
    row(PLAIN, Pattern::Starts("requeststop:"), Effect::End, ASKS_STOP, "Repetier Printer.cpp stopPrint; Repetier-Firmware-4-Davinci #55"),
    row(PLAIN, Pattern::Starts("fatal:"), Effect::Halt, "", "Repetier gcode.cpp reportFatalError"),
    // Commands that were answered and not done.
    row(OF_LINES, Pattern::Starts("unknown command"), Effect::Ignore, UNKNOWN_COMMAND, "Marlin parser.cpp unknown_command_warning; EasyCAM5000 #2, OctoPrint #2951"),
    row(OF_LINES, Pattern::Starts("unknown g code"), Effect::Ignore, UNKNOWN_COMMAND, "Prusa messages.cpp MSG_UNKNOWN_CODE"),
    row(OF_LINES, Pattern::Starts("unknown m code"), Effect::Ignore, UNKNOWN_COMMAND, "Prusa messages.cpp MSG_UNKNOWN_CODE"),
    row(OF_LINES, Pattern::Starts("unknown d code"), Effect::Ignore, UNKNOWN_COMMAND, "Prusa messages.cpp MSG_UNKNOWN_CODE"),
    row(OF_LINES, Pattern::Has("extrusion prevented"), Effect::Spoil, NOT_EXTRUDED, "Marlin planner.cpp, motion.cpp prepare_line_to_destination; Prusa planner.cpp; Marlin #17571"),
    row(OF_LINES, Pattern::Has("hotend too cold"), Effect::Spoil, NOT_EXTRUDED, "Marlin pause.cpp, M600.cpp STR_ERR_HOTEND_TOO_COLD"),
    row(OF_LINES, Pattern::All(&["home ", " first"]), Effect::Spoil, NOT_HOMED, "Marlin motion.cpp homing_needed_error (MSG_HOME_FIRST)"),
    row(OF_LINES, Pattern::All(&["home ", "before z"]), Effect::Spoil, NOT_HOMED, "Marlin 1.0, Prusa messages.cpp MSG_POSITION_UNKNOWN"),
    row(ECHO, Pattern::Has("invalid extruder"), Effect::Spoil, FAULT, "Marlin tool_change.cpp invalid_extruder_error"),
    row(PLAIN, Pattern::Starts("invalid extruder"), Effect::Spoil, FAULT, "Prusa Tcodes.cpp TCodes"),
    // As the host-action protocol of Repetier-Server and OctoPrint has them; `pause` and the rest are `host_action`'s.
    row(&[Voice::Note], Pattern::Starts("action:out_of_filament"), Effect::Hold, FILAMENT, "Repetier Printer.cpp (jam); Marlin runout.cpp ACTION_ON_FILAMENT_RUNOUT"),
    row(&[Voice::Note], Pattern::Starts("action:filament_runout"), Effect::Hold, FILAMENT, "Marlin runout.cpp event_filament_runout; OctoPrint #4862"),
    row(&[Voice::Note], Pattern::Starts("action:paused filament"), Effect::Paused, FILAMENT, "Marlin runout.cpp event_filament_runout; OctoPrint #3620"),
    row(&[Voice::Note], Pattern::Starts("action:pause filament"), Effect::Paused, FILAMENT, "Marlin runout.cpp event_filament_runout; OctoPrint #4862"),
    row(&[Voice::Note], Pattern::Starts("action:probe_failed"), Effect::Refuse, "", "Marlin gcode.cpp event_probe_failure (ACTION_ON_G29_FAILURE)"),
    row(&[Voice::Note], Pattern::Starts("action:poweroff"), Effect::End, ASKS_STOP, "Marlin host_actions.cpp kill (ACTION_ON_KILL)"),
];
