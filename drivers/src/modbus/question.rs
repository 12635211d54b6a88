//! What is asked of a device, and what can come of it instead of an answer.

use super::{Point, Table};

/// Registers in one write (Modbus Application Protocol 1.1b3, 6.12).
pub const WRITE_REGISTERS_MAX: usize = 123;

/// Registers written by one read-and-write (Modbus Application Protocol 1.1b3, 6.17).
pub const READ_WRITE_REGISTERS_MAX: usize = 121;

/// What a gateway answers that has no way to a device.
pub const GATEWAY_UNAVAILABLE: u8 = 10;

/// What a gateway answers for a device behind it that is silent: the gateway is there, the device is not.
pub const GATEWAY_SILENT: u8 = 11;

/// One question to a device. Bits travel as words of 0 and 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Reads entries of a table (functions 1 to 4).
    Read {
        /// The table.
        table: Table,
        /// First entry.
        address: u16,
        /// Entries.
        count: u16,
    },
    /// Writes one coil (function 5).
    WriteCoil {
        /// Which.
        address: u16,
        /// On or off.
        on: bool,
    },
    /// Writes coils (function 15).
    WriteCoils {
        /// First coil.
        address: u16,
        /// On or off, each.
        on: Vec<bool>,
    },
    /// Writes one holding register (function 6): all that some small drives understand.
    WriteOne {
        /// Which.
        address: u16,
        /// What.
        word: u16,
    },
    /// Writes holding registers (function 16).
    Write {
        /// First register.
        address: u16,
        /// What.
        words: Vec<u16>,
    },
    /// Writes holding registers, then reads others (function 23).
    ReadWrite {
        /// First register to read.
        read: u16,
        /// Registers to read.
        count: u16,
        /// First register to write.
        address: u16,
        /// What.
        words: Vec<u16>,
    },
}

impl Question {
    /// Reads a point.
    pub fn read(point: &Point) -> Self {
        Self::Read { table: point.table, address: point.address, count: point.size() }
    }

    /// Writes a point's words with the function that its map names, or else with the plainest that can: small devices
    /// know no other.
    pub fn write(point: &Point, words: Vec<u16>) -> Self {
        let address = point.address;
        match (words.as_slice(), point.write_function) {
            ([word], Some(15)) => Self::WriteCoils { address, on: vec![*word != 0] },
            ([word], _) if point.table == Table::Coil => Self::WriteCoil { address, on: *word != 0 },
            ([_], Some(16)) => Self::Write { address, words },
            ([word], _) => Self::WriteOne { address, word: *word },
            _ => Self::Write { address, words },
        }
    }

    /// The same write with the other function that there is for it: one or several registers, one or several coils.
    pub fn otherwise(&self) -> Option<Self> {
        match self {
            Self::WriteOne { address, word } => Some(Self::Write { address: *address, words: vec![*word] }),
            Self::WriteCoil { address, on } => Some(Self::WriteCoils { address: *address, on: vec![*on] }),
            Self::Write { address, words } => match words.as_slice() {
                [word] => Some(Self::WriteOne { address: *address, word: *word }),
                _ => None,
            },
            Self::WriteCoils { address, on } => match on.as_slice() {
                [on] => Some(Self::WriteCoil { address: *address, on: *on }),
                _ => None,
            },
            Self::Read { .. } | Self::ReadWrite { .. } => None,
        }
    }

    /// Its function (Modbus Application Protocol 1.1b3, 5.1).
    pub fn function(&self) -> u8 {
        match self {
            Self::Read { table: Table::Coil, .. } => 1,
            Self::Read { table: Table::Discrete, .. } => 2,
            Self::Read { table: Table::Holding, .. } => 3,
            Self::Read { table: Table::Input, .. } => 4,
            Self::WriteCoil { .. } => 5,
            Self::WriteOne { .. } => 6,
            Self::WriteCoils { .. } => 15,
            Self::Write { .. } => 16,
            Self::ReadWrite { .. } => 23,
        }
    }

    /// What it is about, such as ``holding 10 to 13 (`state`, `line`)``: the entries, and the points that lie there.
    pub fn place(&self, points: &[Point]) -> String {
        let (table, from, count) = self.entries();
        let to = usize::from(from) + count.max(1) - 1;
        let names: Vec<_> = self.points(points).into_iter().map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        format!("{} {from} to {to}{names}", table.word())
    }

    /// The entries that it writes, or else reads: where they begin, and how many they are.
    fn entries(&self) -> (Table, u16, usize) {
        match self {
            Self::Read { table, address, count } => (*table, *address, usize::from(*count)),
            Self::WriteCoil { address, .. } => (Table::Coil, *address, 1),
            Self::WriteCoils { address, on } => (Table::Coil, *address, on.len()),
            Self::WriteOne { address, .. } => (Table::Holding, *address, 1),
            Self::Write { address, words } | Self::ReadWrite { address, words, .. } => {
                (Table::Holding, *address, words.len())
            }
        }
    }

    /// The names of the points it is about.
    pub fn points<'p>(&self, points: &'p [Point]) -> Vec<&'p str> {
        let (table, from, count) = self.entries();
        let reads = !self.writes();
        let within = |point: &&Point| {
            let may = if reads { point.access.reads() } else { point.access.writes() };
            may && point.table == table
                && usize::from(point.address) < usize::from(from) + count
                && point.address.saturating_add(point.size()) > from
        };
        points.iter().filter(within).map(|point| point.name.as_str()).collect()
    }

    /// Entries that the answer must bring.
    pub fn wanted(&self) -> usize {
        match self {
            Self::Read { count, .. } | Self::ReadWrite { count, .. } => usize::from(*count),
            Self::WriteCoil { .. } | Self::WriteCoils { .. } | Self::WriteOne { .. } | Self::Write { .. } => 0,
        }
    }

    /// Bytes of its frame and of its answer's on a serial line: unit, function, body and CRC.
    pub fn line_bytes(&self) -> (usize, usize) {
        match self {
            Self::Read { table, count, .. } if table.is_bits() => (8, 5 + usize::from(*count).div_ceil(8)),
            Self::Read { count, .. } => (8, 5 + 2 * usize::from(*count)),
            Self::WriteCoil { .. } | Self::WriteOne { .. } => (8, 8),
            Self::WriteCoils { on, .. } => (9 + on.len().div_ceil(8), 8),
            Self::Write { words, .. } => (9 + 2 * words.len(), 8),
            Self::ReadWrite { count, words, .. } => (13 + 2 * words.len(), 5 + 2 * usize::from(*count)),
        }
    }

    /// Whether it changes anything in the device.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Read { .. })
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing came in time.
    #[error("no answer in time")]
    Overdue,
    /// Something came that is no answer: a wrong CRC, half a frame, too few registers, another unit or function.
    #[error("a damaged answer: {0}")]
    Damaged(String),
    /// The same over TCP, where bytes are not damaged on their way: it is how the device, or the gateway, answers.
    #[error("an answer to no question of ours: {0}")]
    Strange(String),
    /// The device refused, by its exception code.
    #[error("{}", exception(*.0))]
    Exception(u8),
    /// There is no way to the device.
    #[error("no connection: {0}")]
    Lost(String),
}

impl Trouble {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Overdue => "modbus.overdue",
            Self::Damaged(_) | Self::Strange(_) => "modbus.damaged",
            Self::Exception(1) => "modbus.illegal_function",
            Self::Exception(2) => "modbus.illegal_address",
            Self::Exception(3) => "modbus.illegal_value",
            Self::Exception(4) => "modbus.device_failure",
            Self::Exception(5) => "modbus.acknowledge",
            Self::Exception(6) => "modbus.device_busy",
            Self::Exception(8) => "modbus.memory_parity",
            Self::Exception(10) => "modbus.gateway_unavailable",
            Self::Exception(11) => "modbus.gateway_silent",
            Self::Exception(_) => "modbus.exception",
            Self::Lost(_) => "modbus.no_connection",
        }
    }

    /// What a person can do about it.
    pub fn to_do(&self) -> &'static str {
        match self {
            Self::Overdue => {
                "Check the device's power, its unit and the line's rate and parity; `fab-agent modbus scan` looks for units."
            }
            Self::Damaged(_) => {
                "Check the line's rate and parity, the two wires and their ends, and that no two devices have one unit."
            }
            Self::Strange(_) => {
                "Check the unit, and the Modbus server of the device or the gateway: how it answers is not what was asked."
            }
            Self::Exception(1) => "Check the table (holding, input, coil, discrete) in the device's manual.",
            Self::Exception(2) => "Check the address in the device's manual: many count from 1.",
            Self::Exception(3) => "Check what values, and how many registers at once, the device takes.",
            Self::Exception(5 | 6) => "Try again later, or give it longer (`timeout_ms`).",
            Self::Exception(GATEWAY_UNAVAILABLE) => "Check the gateway's settings.",
            Self::Exception(GATEWAY_SILENT) => "Check the device behind the gateway: its power, its unit, its line.",
            Self::Exception(_) => "Look at the device and what it shows.",
            Self::Lost(_) => "Check the cable, the port and the network.",
        }
    }

    /// Whether nothing is known of the device itself: what a gateway says of a device behind it is such a silence too.
    pub fn is_silence(&self) -> bool {
        !matches!(self, Self::Exception(code) if ![GATEWAY_UNAVAILABLE, GATEWAY_SILENT].contains(code))
    }

    /// Whether what was read so far can no longer be trusted: a device that refuses has answered, and whole.
    pub fn closes(&self) -> bool {
        !matches!(self, Self::Exception(_))
    }

    /// Whether the device said that it did not do what was asked, and would not do it if asked again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Exception(1..=4 | 8))
    }

    /// Whether the device is there and cannot answer now: it is asked again after a pause.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Exception(5 | 6))
    }

    /// Whether a read may have been refused because of how much it asked for, or because of what lies in its middle.
    pub fn may_be_too_much(&self) -> bool {
        matches!(self, Self::Exception(2 | 3))
    }

    /// Whether asking again may help: a device that refuses would refuse again.
    pub fn may_pass(&self) -> bool {
        !self.is_refusal()
    }
}

/// An exception's name (Modbus Application Protocol 1.1b3, 7).
fn exception(code: u8) -> String {
    match code {
        1 => "illegal function: the device does not know this kind of question".into(),
        2 => "illegal data address: the device has no such register, or not so many in a row".into(),
        3 => "illegal data value: the device does not take this value or count".into(),
        4 => "server device failure: the device could not do it".into(),
        5 => "acknowledge: the device needs longer for it".into(),
        6 => "server device busy".into(),
        8 => "memory parity error in the device".into(),
        10 => "gateway path unavailable: the gateway is set up wrongly or overloaded".into(),
        11 => "gateway target device failed to respond: the gateway is there, the device behind it is silent".into(),
        code => format!("exception {code}"),
    }
}
