//! One value in a device's registers, as a profile names it, and what cannot be true of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longest text in registers: what one read can carry (Modbus Application Protocol 1.1b3, 6.3).
const ASCII_REGISTERS_MAX: u16 = 125;

/// Longest number in BCD: of sixteen digits a 64-bit float rounds none away that a meter shows.
const BCD_REGISTERS_MAX: u16 = 4;

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
    /// Registers of a text, or of a number in BCD (1 unless it is said). Other forms have their own size.
    pub registers: Option<u16>,
    /// The bit that counts, from 0: the value is 1 where it is set, and 0 where it is not.
    pub bit: Option<u8>,
    /// The bits that count: the value is what they make together, the lowest of them being 1.
    pub mask: Option<u32>,
    /// What its registers hold where there is no value: as a number of the form, before scale; a negative one stands for
    /// its bits.
    #[serde(default, deserialize_with = "one_or_more")]
    pub no_value: Vec<i64>,
    /// The function it is written with: 6 or 16 for registers, 5 or 15 for coils. Absent: the plainest that can, and
    /// the other one where the device does not know it.
    pub write_function: Option<u8>,
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
    /// 64 bits, from 0. Above 2^53 its last digits are rounded.
    U64,
    /// 64 bits, two's complement. Beyond ±2^53 its last digits are rounded.
    I64,
    /// 64 bits, IEEE 754.
    F64,
    /// Decimal digits, four a register, each in four bits.
    Bcd,
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
            Form::U64 | Form::I64 | Form::F64 => 4,
            Form::Ascii | Form::Bcd => self.registers.unwrap_or(1),
        }
    }

    /// A point that may be read, with nothing special about it.
    pub fn plain(name: impl Into<String>, table: Table, address: u16, form: Form) -> Self {
        Self {
            name: name.into(),
            table,
            address,
            form,
            order: Order::Abcd,
            registers: None,
            bit: None,
            mask: None,
            no_value: Vec::new(),
            write_function: None,
            scale: 1.0,
            offset: 0.0,
            unit: String::new(),
            poll_ms: 0,
            min: None,
            max: None,
            access: Access::Read,
            meaning: None,
            values: BTreeMap::new(),
        }
    }

    /// The bits of its registers that count, where not all of them do.
    pub fn counts(&self) -> Option<u32> {
        self.bit.map(|bit| 1_u32.checked_shl(bit.into()).unwrap_or(0)).or(self.mask)
    }

    /// Whether its numbers are none of a scale but names: bits, or what a mask leaves.
    fn is_word(&self) -> bool {
        self.form == Form::Bits && self.counts().is_none() && !self.table.is_bits()
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
            (Form::Bcd, Some(count)) if !(1..=BCD_REGISTERS_MAX).contains(&count) => {
                wrong(format!("a number in BCD has from 1 to {BCD_REGISTERS_MAX} registers, not {count}"));
            }
            (Form::Bcd, _) => {}
            (Form::Ascii, None) => wrong("a text needs `registers`".to_owned()),
            (Form::Ascii, Some(count)) if count == 0 || count > ASCII_REGISTERS_MAX => {
                wrong(format!("a text has from 1 to {ASCII_REGISTERS_MAX} registers, not {count}"));
            }
            (Form::Ascii, _) | (_, None) => {}
            _ => wrong("`registers` is for texts and BCD; every other type has its own size".to_owned()),
        }
        self.part_problems(&mut wrong);
        if !self.scale.is_finite() || self.scale == 0.0 || !self.offset.is_finite() {
            wrong("`scale` must be a number other than 0, and `offset` a number".to_owned());
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            if min.partial_cmp(&max).is_none_or(|order| order == std::cmp::Ordering::Greater) {
                wrong(format!("nothing lies between `min` {min} and `max` {max}"));
            }
        }
        let numbers = if self.is_word() { 0..=15 } else { i64::MIN..=i64::MAX };
        for key in self.values.keys() {
            // Of a bit it may be said what it means that it is not set.
            let digits = key.strip_prefix('!').filter(|_| self.is_word()).unwrap_or(key);
            if digits.parse::<i64>().map_or(true, |number| !numbers.contains(&number)) {
                wrong(format!("`values` has `{key}`, which is no number of it"));
            }
        }
        problems
    }

    /// What cannot be true of the part of its registers that counts, and of how it is written.
    fn part_problems(&self, wrong: &mut impl FnMut(String)) {
        let width = match self.form {
            _ if self.table.is_bits() => 0,
            Form::U16 | Form::Bits => 16,
            Form::U32 => 32,
            _ => 0,
        };
        if self.bit.is_some() && self.mask.is_some() {
            wrong("`bit` and `mask` say the same: one of them is enough".to_owned());
        } else if let Some(counts) = self.counts() {
            if width == 0 {
                wrong("`bit` and `mask` are for the types `u16`, `bits` and `u32`".to_owned());
            } else if counts == 0 || (width == 16 && counts > 0xffff) || self.bit.is_some_and(|bit| bit >= width) {
                wrong(format!("no bit of its {width} counts"));
            } else if self.access.writes() {
                wrong("a part of a register can only be read: what would be written into the others?".to_owned());
            }
        }
        let fits = match self.write_function {
            None => true,
            Some(5 | 15) => self.table == Table::Coil,
            Some(6) => self.table == Table::Holding && self.size() == 1,
            Some(16) => self.table == Table::Holding,
            Some(_) => false,
        };
        if !fits {
            wrong("`write_function` is 6 (one register) or 16 in holding registers, and 5 or 15 in coils".to_owned());
        }
        if self.write_function.is_some() && !self.access.writes() {
            wrong("`write_function` is for points that may be written".to_owned());
        }
        if !self.no_value.is_empty() && (self.form == Form::Ascii || self.table.is_bits()) {
            wrong("`no_value` is for numbers".to_owned());
        }
    }
}

impl Point {
    /// Whether two points share a register. A command word and the read-back of the same word may: one is only
    /// written, the other only read.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let end = |point: &Self| u32::from(point.address) + u32::from(point.size());
        let both = |may: fn(Access) -> bool| may(self.access) && may(other.access);
        // Parts of one word are read with it.
        let parts =
            self.counts().or(other.counts()).is_some() && (self.address, self.size()) == (other.address, other.size());
        self.table == other.table
            && !parts
            && u32::from(self.address) < end(other)
            && u32::from(other.address) < end(self)
            && (both(Access::reads) || both(Access::writes))
    }
}

/// A number, or a list of them.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Numbers {
        One(i64),
        More(Vec<i64>),
    }
    Ok(match Numbers::deserialize(deserializer)? {
        Numbers::One(number) => vec![number],
        Numbers::More(numbers) => numbers,
    })
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
