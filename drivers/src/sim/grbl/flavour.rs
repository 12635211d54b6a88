//! How the firmwares of Grbl's family differ, for the simulated one.

use crate::sim::{Reader, Setup};

/// How a firmware of the family differs from Grbl.
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of the firmware's own")]
pub(super) struct Flavour {
    pub(super) dialect: &'static str,
    pub(super) banner: &'static [u8],
    /// Smallest receive buffer it is built with.
    pub(super) buffer_min: usize,
    /// Longest line, without the zero behind it.
    pub(super) line_max: usize,
    /// What it answers to `$I` and `$I+`, without the `ok`. Nothing: it does not know the question.
    pub(super) info: fn(&Setup, long: bool) -> Option<String>,
    /// How it reads numbers.
    pub(super) reader: Reader,
    /// Whether it reports a third number behind the spindle's: the speed measured.
    pub(super) measures_spindle: bool,
    /// What it does at M6.
    pub(super) tool_change: ToolChange,
    /// Whether it stops at M1 (`gcode.c`: Grbl and `FluidNC` pass over it).
    pub(super) optional_stop: bool,
    /// Whether it says nothing while it homes, not even how it is.
    pub(super) silent_homing: bool,
    /// Whether one error makes it refuse every later line of G-code, until a `$` command, an empty line or a reset
    /// (`COMPATIBILITY_LEVEL` 0, `protocol.c`).
    pub(super) error_sticks: bool,
    /// Whether a line that its main loop was at when it is reset is answered all the same, in front of the banner:
    /// `gc_execute_line` returns as if it had been done (`protocol.c`; seen on the AVR image).
    pub(super) answers_what_it_drops: bool,
    /// Alarms that `$X` does not end (`alarm_is_critical`, `alarms.c`).
    pub(super) critical: &'static [u32],
}

/// What a firmware of the family does at M6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolChange {
    /// It knows no such word.
    Refused,
    /// Nothing, without a tool changer.
    Nothing,
    /// It waits for a person, in a state of its own.
    Waits,
}

/// `LINE_BUFFER_SIZE` is 80 with its zero.
pub(super) static GRBL: Flavour = Flavour {
    dialect: "grbl",
    banner: b"\r\nGrbl 1.1h ['$' for help]\r\n",
    buffer_min: 0,
    line_max: 79,
    info: |setup, long| {
        let bytes = setup.claimed_buffer_bytes.unwrap_or(setup.receive_buffer_bytes);
        let options = format!("[OPT:V,{},{bytes}]\r\n", setup.planner_blocks.saturating_sub(1));
        (!long).then(|| format!("[VER:1.1h.20190825:]\r\n{options}"))
    },
    reader: Reader::Grbl,
    measures_spindle: false,
    tool_change: ToolChange::Refused,
    optional_stop: false,
    silent_homing: true,
    error_sticks: false,
    answers_what_it_drops: true,
    critical: &[],
};

pub(super) static GRBLHAL: Flavour = Flavour {
    dialect: "grblhal",
    banner: b"\r\nGrblHAL 1.1f ['$' or '$HELP' for help]\r\n",
    buffer_min: 1024,
    line_max: 256,
    info: |setup, _| {
        let (blocks, bytes) = (setup.planner_blocks, setup.receive_buffer_bytes);
        Some(format!(
            "[VER:1.1f.20260817:]\r\n[OPT:VNMSL,{blocks},{bytes},3,0]\r\n[AXS:3:XYZ]\r\n\
             [NEWOPT:ENUMS,RT+,HOME,TC,SED]\r\n[FIRMWARE:grblHAL]\r\n[DRIVER:Simulator]\r\n"
        ))
    },
    reader: Reader::GrblHal,
    measures_spindle: true,
    tool_change: ToolChange::Waits,
    optional_stop: true,
    silent_homing: false,
    error_sticks: true,
    answers_what_it_drops: true,
    critical: &[1, 2, 10, 17, 20],
};

pub(super) static FLUIDNC: Flavour = Flavour {
    dialect: "fluidnc",
    banner: b"\r\nGrbl 3.9 [FluidNC v3.9.9 (esp32-wifi) '$' for help]\r\n",
    buffer_min: 256,
    line_max: 254,
    info: |_, long| {
        let lines = "[VER:3.9 FluidNC v3.9.9 (esp32-wifi) :]\r\n[OPT:PHSEW]\r\n[MSG:Machine: Simulated]\r\n";
        (!long).then(|| lines.to_owned())
    },
    reader: Reader::Grbl,
    measures_spindle: false,
    tool_change: ToolChange::Nothing,
    optional_stop: false,
    silent_homing: false,
    error_sticks: false,
    answers_what_it_drops: false,
    critical: &[],
};
