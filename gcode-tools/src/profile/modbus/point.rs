//! One value in a device's registers, as a profile names it, and what cannot be true of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longest text in registers: what one read can carry (Modbus Application Protocol 1.1b3, 6.3).
const ASCII_REGISTERS_MAX: u16 = 125;

/// One value in a device's registers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Its name, unique in its device.
    pub name: String,
    /// Which of the four tables it is in.
    #[serde(default = "holding")]
    pub table: Table,
    /// Address on the wire, counted from 0 (a manual's 40001 is holding register 0).
    pub address: u16,
    /// How it is written in registers.
    #[serde(rename = "type")]
    pub form: Form,
    /// Order of the bytes of a value: `abcd` has the highest byte first.
    #[serde(default = "abcd")]
    pub order: Order,
    /// Registers of a text. Other forms have their own size.
    pub registers: Option<u16>,
    /// Value = raw × scale + offset.
    #[serde(default = "one")]
    pub scale: f64,
    /// See `scale`.
    #[serde(default)]
    pub offset: f64,
    /// Unit of the value, for people.
    #[serde(default)]
    pub unit: String,
    /// How often it is read, in milliseconds. 0: only when asked for.
    #[serde(default = "second")]
    pub poll_ms: u64,
    /// Lowest value that may be written.
    pub min: Option<f64>,
    /// Highest value that may be written.
    pub max: Option<f64>,
    /// What may be done with it.
    #[serde(default = "read_only")]
    pub access: Access,
    /// What it says about the machine.
    pub meaning: Option<Meaning>,
    /// What its numbers (or, in `bits`, its bit numbers) mean, as sentences or state words.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

/// One of Modbus's four tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Holding registers: 16 bits, read and written.
    Holding,
    /// Input registers: 16 bits, read.
    Input,
    /// Coils: one bit, read and written.
    Coil,
    /// Discrete inputs: one bit, read.
    Discrete,
}

impl Table {
    /// Whether its entries are single bits.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    /// Whether anything in it can be written.
    pub fn is_writable(self) -> bool {
        matches!(self, Self::Holding | Self::Coil)
    }

    /// The word in profiles and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Holding => "holding",
            Self::Input => "input",
            Self::Coil => "coil",
            Self::Discrete => "discrete",
        }
    }
}

/// How a value is written in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// 16 bits, from 0.
    U16,
    /// 16 bits, two's complement.
    I16,
    /// 32 bits, from 0.
    U32,
    /// 32 bits, two's complement.
    I32,
    /// 32 bits, IEEE 754.
    F32,
    /// 16 single bits; in the bit tables, one.
    Bits,
    /// Text, two characters a register.
    Ascii,
}

/// Order of the bytes of a value over its registers. One-register values know `abcd` (as the standard has it) and `badc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Big-endian: highest word first, highest byte first.
    Abcd,
    /// Lowest word first, highest byte first.
    Cdab,
    /// Highest word first, lowest byte first.
    Badc,
    /// Little-endian: lowest word first, lowest byte first.
    Dcba,
}

/// What may be done with a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read.
    Read,
    /// Written, and never read.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    /// Whether it may be read.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether it may be written.
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

/// What a point says about a machine or a device beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// State word; `values` leads from its numbers to the agent's words.
    State,
    /// Position along X in millimetres.
    PositionX,
    /// Position along Y in millimetres.
    PositionY,
    /// Position along Z in millimetres.
    PositionZ,
    /// Feed in mm/min.
    Feed,
    /// Spindle speed in revolutions per minute.
    Spindle,
    /// A temperature in °C.
    Temperature,
    /// Line of the program being executed.
    ProgramLine,
    /// Alarm or fault code, 0 for none; `values` holds the sentences.
    Alarm,
    /// Door input: not 0 is open.
    Door,
    /// Emergency stop input: not 0 is pressed.
    EmergencyStop,
    /// A drive's command word.
    Run,
    /// A drive's frequency in Hz, as commanded.
    Frequency,
    /// A drive's frequency in Hz, as it turns now.
    ActualFrequency,
    /// Current in amperes.
    Current,
    /// Voltage in volts.
    Voltage,
    /// Power in watts.
    Power,
    /// Energy counter in kilowatt-hours.
    Energy,
}

impl Point {
    /// Entries of its table that it takes.
    pub fn size(&self) -> u16 {
        match self.form {
            _ if self.table.is_bits() => 1,
            Form::U16 | Form::I16 | Form::Bits => 1,
            Form::U32 | Form::I32 | Form::F32 => 2,
            Form::Ascii => self.registers.unwrap_or(1),
        }
    }

    /// Whether a number can be written to it.
    ///
    /// # Errors
    /// A sentence with the point's name: the value is outside its limits.
    pub(super) fn takes(&self, value: f64) -> Result<(), String> {
        let outside = self.min.is_some_and(|min| value < min) || self.max.is_some_and(|max| value > max);
        if outside || !value.is_finite() {
            return Err(format!("`{}` does not take {value}", self.name));
        }
        Ok(())
    }

    /// What cannot be true of it, one sentence each, with its name.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong = |what: String| problems.push(format!("point `{}`: {what}", self.name));
        if self.name.is_empty() {
            wrong("it needs a name".to_owned());
        }
        let size = self.size();
        if u32::from(self.address) + u32::from(size) > 0x1_0000 {
            wrong(format!("{size} registers from {} run past the last one, 65535", self.address));
        }
        if self.table.is_bits() && self.form != Form::Bits {
            wrong(format!("a {} holds one bit: its type must be `bits`", self.table.word()));
        }
        if self.access.writes() && !self.table.is_writable() {
            wrong(format!("{} entries cannot be written", self.table.word()));
        }
        match (self.form, self.registers) {
            (Form::Ascii, None) => wrong("a text needs `registers`".to_owned()),
            (Form::Ascii, Some(count)) if count == 0 || count > ASCII_REGISTERS_MAX => {
                wrong(format!("a text has from 1 to {ASCII_REGISTERS_MAX} registers, not {count}"));
            }
            (Form::Ascii, _) | (_, None) => {}
            _ => wrong("`registers` is for texts; every other type has its own size".to_owned()),
        }
        if !self.scale.is_finite() || self.scale == 0.0 || !self.offset.is_finite() {
            wrong("`scale` must be a number other than 0, and `offset` a number".to_owned());
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            if min.partial_cmp(&max).is_none_or(|order| order == std::cmp::Ordering::Greater) {
                wrong(format!("nothing lies between `min` {min} and `max` {max}"));
            }
        }
        let numbers = if self.form == Form::Bits { 0..=15 } else { i64::MIN..=i64::MAX };
        for key in self.values.keys() {
            if key.parse::<i64>().map_or(true, |number| !numbers.contains(&number)) {
                wrong(format!("`values` has `{key}`, which is no number of it"));
            }
        }
        problems
    }
}

impl Point {
    /// Whether two points share a register. A command word and the read-back of the same word may: one is only
    /// written, the other only read.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let end = |point: &Self| u32::from(point.address) + u32::from(point.size());
        let both = |may: fn(Access) -> bool| may(self.access) && may(other.access);
        self.table == other.table
            && u32::from(self.address) < end(other)
            && u32::from(other.address) < end(self)
            && (both(Access::reads) || both(Access::writes))
    }
}

fn holding() -> Table {
    Table::Holding
}

fn abcd() -> Order {
    Order::Abcd
}

fn read_only() -> Access {
    Access::Read
}

fn one() -> f64 {
    1.0
}

fn second() -> u64 {
    1_000
}
