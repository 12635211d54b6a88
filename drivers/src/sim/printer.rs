//! How printers' firmwares differ from Marlin in a conversation, for the simulated one.
//!
//! After Smoothieware `GcodeDispatch.cpp` and `Kernel.cpp`, RepRapFirmware `StringParser.cpp`, Repetier-Firmware
//! `gcode.cpp` and Klipper `gcode.py`.

use super::{Reader, Vintage};

/// What it does about the numbers and checksums of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// Marlin: throws away what it has received, and asks.
    Flush,
    /// Repetier: the same, then passes over what does not fit, with an `ok` without a number.
    Skip,
    /// Smoothieware: asks for each line that does not fit, and throws nothing away.
    Ask,
    /// `RepRapFirmware`: says nothing about a damaged line, and does not count.
    Drop,
    /// Klipper: looks at neither.
    Ignore,
}

/// A firmware.
#[derive(Debug)]
pub(super) struct Flavour {
    pub(super) dialect: &'static str,
    pub(super) banner: &'static [u8],
    /// The answer to M115, without `ok`.
    pub(super) identity: &'static str,
    pub(super) counting: Counting,
    /// Commands that wait behind the one being executed, that one included.
    pub(super) queue_commands: usize,
    /// Longest command.
    pub(super) command_max: usize,
    /// How it reads numbers.
    pub(super) reader: Reader,
    /// Signs of life: while working, and while waiting for a person.
    pub(super) keepalive: Option<[&'static [u8]; 2]>,
    /// Said when it is halted.
    pub(super) halted: &'static [u8],
    /// Smallest receive buffer it is built with.
    pub(super) buffer_min: usize,
}

pub(super) static MARLIN: Flavour = Flavour {
    dialect: "marlin",
    banner: b"start\necho:Marlin 2.1.2.4\n\necho: Last Updated: 2024-07-01 | Author: (fab-agent, simulated)\n\
echo: Free Memory: 4096  PlannerBufferBytes: 1168\n",
    identity: "FIRMWARE_NAME:Marlin 2.1.2.4 (Jul  1 2024 12:00:00) SOURCE_CODE_URL:github.com/MarlinFirmware/Marlin \
               PROTOCOL_VERSION:1.0 MACHINE_TYPE:Simulated EXTRUDER_COUNT:1 UUID:00000000-0000-4000-8000-000000000001\n\
               Cap:SERIAL_XON_XOFF:0\nCap:AUTOREPORT_TEMP:1\nCap:AUTOREPORT_POS:0\n",
    counting: Counting::Flush,
    // `BUFSIZE`, and `MAX_CMD_SIZE` less the terminating zero.
    queue_commands: 4,
    command_max: 95,
    reader: Reader::Marlin,
    keepalive: Some([b"echo:busy: processing\n", b"echo:busy: paused for user\n"]),
    halted: b"Error:Printer halted. kill() called!\n",
    buffer_min: 0,
};

pub(super) static SMOOTHIEWARE: Flavour = Flavour {
    dialect: "smoothieware",
    banner: b"Smoothie Running @120MHz\r\nSmoothie\r\nok\r\n",
    identity: "FIRMWARE_NAME:Smoothieware, FIRMWARE_URL:http%3A//smoothieware.org, \
               X-SOURCE_CODE_URL:https://github.com/Smoothieware/Smoothieware, FIRMWARE_VERSION:edge-bb41e99, \
               PROTOCOL_VERSION:1.0, X-GRBL_MODE:0, X-ARCS:1, X-CNC:0, X-MSD:1\n",
    counting: Counting::Ask,
    queue_commands: 1,
    command_max: 250,
    reader: Reader::Smoothie,
    keepalive: None,
    halted: b"HALTED, M999 or $X to exit HALT state\r\n",
    buffer_min: 257,
};

pub(super) static REPRAPFIRMWARE: Flavour = Flavour {
    dialect: "reprapfirmware",
    banner: b"RepRapFirmware for Duet 3 MB6HC is up and running.\n",
    identity: "FIRMWARE_NAME: RepRapFirmware for Duet 3 MB6HC FIRMWARE_VERSION: 3.5.3 ELECTRONICS: Duet 3 MB6HC v1.01 \
               FIRMWARE_DATE: 2024-09-20 14:09:57\n",
    counting: Counting::Drop,
    queue_commands: 1,
    command_max: 255,
    reader: Reader::RepRap,
    keepalive: None,
    halted: b"Emergency Stop! Reset the controller to continue.\n",
    buffer_min: 257,
};

pub(super) static REPETIER: Flavour = Flavour {
    dialect: "repetier",
    banner: b"start\r\nPowerUp\r\nFree RAM:3712\r\n",
    identity: "FIRMWARE_NAME:Repetier_1.0.4 COMPILED:Aug  3 2022 \
               FIRMWARE_URL:https://github.com/repetier/Repetier-Firmware/ PROTOCOL_VERSION:1.0 MACHINE_TYPE:Mendel \
               EXTRUDER_COUNT:1 REPETIER_PROTOCOL:3\nCap:PROGRESS:1\nCap:AUTOREPORT_TEMP:1\n",
    counting: Counting::Skip,
    queue_commands: 1,
    command_max: 95,
    reader: Reader::Repetier,
    keepalive: Some([b"busy:processing\r\n", b"busy:paused for user interaction\r\n"]),
    // Said once as it halts; what it answers to lines from then on is not modelled.
    halted:
        b"fatal:Heater/sensor error - Printer stopped and heaters disabled due to this error. Fix error and restart \
with M999.\r\n",
    buffer_min: 0,
};

pub(super) static KLIPPER: Flavour = Flavour {
    dialect: "klipper",
    banner: b"// Klipper state: Disconnect\n",
    identity: "",
    counting: Counting::Ignore,
    queue_commands: 1,
    command_max: 4096,
    reader: Reader::Klipper,
    keepalive: None,
    // Why is in the answer to the next line.
    halted: b"// Klipper state: Shutdown\n",
    buffer_min: 4096,
};

impl Flavour {
    /// How it reads numbers, and what it says of itself instead, where it is an older Marlin.
    pub(super) fn aged(&self, vintage: Vintage) -> (Reader, &'static str) {
        if self.dialect != MARLIN.dialect {
            return (self.reader, self.identity);
        }
        match vintage {
            Vintage::Current => (self.reader, self.identity),
            Vintage::Marlin20 => (
                Reader::MarlinBefore212,
                "FIRMWARE_NAME:Marlin 2.0.9.3 (Dec 25 2021 12:00:00) SOURCE_CODE_URL:github.com/MarlinFirmware/Marlin \
                 PROTOCOL_VERSION:1.0 MACHINE_TYPE:Simulated EXTRUDER_COUNT:1\n",
            ),
            Vintage::Marlin10 => (
                Reader::Marlin10,
                "FIRMWARE_NAME:Marlin V1; Sprinter/grbl mashup for gen6 \
                 FIRMWARE_URL:https://github.com/MarlinFirmware/Marlin/ PROTOCOL_VERSION:1.0 MACHINE_TYPE:RepRap \
                 EXTRUDER_COUNT:1\n",
            ),
            Vintage::Prusa310 => (
                Reader::Marlin10,
                "FIRMWARE_NAME:Prusa-Firmware 3.10.1 based on Marlin FIRMWARE_URL:https://github.com/prusa3d/Prusa-Firmware \
                 PROTOCOL_VERSION:1.0 MACHINE_TYPE:Prusa i3 MK3S EXTRUDER_COUNT:1\n",
            ),
            Vintage::Prusa313 => (
                Reader::Marlin,
                "FIRMWARE_NAME:Prusa-Firmware 3.13.3 based on Marlin FIRMWARE_URL:https://github.com/prusa3d/Prusa-Firmware \
                 PROTOCOL_VERSION:1.0 MACHINE_TYPE:Prusa i3 MK3S EXTRUDER_COUNT:1\n",
            ),
        }
    }
}
