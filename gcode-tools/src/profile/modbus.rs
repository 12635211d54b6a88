//! The Modbus part of a machine profile: where registers are, what they mean, and what cannot be true of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Highest unit id of a device; 248 to 255 are reserved (Modbus over Serial Line 1.02, 2.2), 0 is a broadcast.
pub const UNIT_MAX: u8 = 247;

/// Points of one device. More than this is a mistake: a read plan of thousands never comes round.
pub const POINTS_MAX: usize = 500;

/// Longest text in registers: what one read can carry (Modbus Application Protocol 1.1b3, 6.3).
const ASCII_REGISTERS_MAX: u16 = 125;

/// How a device's registers are reached and what they hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modbus {
    /// Unit id, where the address names none.
    pub unit: u8,
    /// Longest wait for one answer, in milliseconds.
    pub timeout_ms: u64,
    /// Times a question is asked again before it has failed.
    pub retries: u32,
    /// Parity of a serial line.
    pub parity: Parity,
    /// Stop bits of a serial line, 1 or 2.
    pub stop_bits: u8,
    /// Registers that nobody asked for and that may be read over to join two reads. Some devices answer such a read
    /// with `illegal data address`: 0 never reads one.
    pub gap_registers: u16,
    /// Where the mailbox is, on machines that have one.
    pub mailbox: Mailbox,
    /// The points, by name.
    pub points: Vec<Point>,
}

impl Default for Modbus {
    fn default() -> Self {
        Self {
            unit: 1,
            timeout_ms: 500,
            retries: 2,
            parity: Parity::None,
            stop_bits: 1,
            gap_registers: 0,
            mailbox: Mailbox::default(),
            points: Vec::new(),
        }
    }
}

/// Where a machine's mailbox is; its layout is in `docs/modbus.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mailbox {
    /// Holding register at which it starts, counted from 0.
    pub base: u16,
    /// Whether read and write may go in one question (function 23) where the machine says that it can.
    pub read_write: bool,
    /// How long nothing may be answered before the link counts as lost, in milliseconds.
    pub lost_after_ms: u64,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { base: 0, read_write: true, lost_after_ms: 3_000 }
    }
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    /// None.
    None,
    /// Even: what the standard asks for.
    Even,
    /// Odd.
    Odd,
}

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

    /// What cannot be true of it, one sentence each, with its name.
    fn problems(&self) -> Vec<String> {
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
        if self.form == Form::Ascii && self.access.writes() {
            wrong("a text cannot be written".to_owned());
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

impl Modbus {
    /// Everything that cannot be true of this map, one sentence each, with the points' names.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.unit == 0 || self.unit > UNIT_MAX {
            problems.push(format!("unit {} is no device: units are 1 to {UNIT_MAX}", self.unit));
        }
        if !(10..=60_000).contains(&self.timeout_ms) || self.retries > 20 {
            problems.push("timeout_ms must be from 10 to 60000, and retries from 0 to 20".to_owned());
        }
        if !(1..=2).contains(&self.stop_bits) {
            problems.push("stop_bits must be 1 or 2".to_owned());
        }
        if self.points.len() > POINTS_MAX {
            problems.push(format!("{} points are more than {POINTS_MAX}", self.points.len()));
            return problems;
        }
        problems.extend(self.points.iter().flat_map(Point::problems));
        for (at, point) in self.points.iter().enumerate() {
            for earlier in &self.points[..at] {
                if earlier.name == point.name {
                    problems.push(format!("point `{}`: there are two of this name", point.name));
                } else if overlap(earlier, point) {
                    problems.push(format!("point `{}`: it lies on registers of point `{}`", point.name, earlier.name));
                }
            }
        }
        problems
    }
}

/// A device beside a machine: a drive that turns its spindle, a meter of what it draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auxiliary {
    /// Its name, unique on its machine.
    pub name: String,
    /// What it is.
    pub kind: AuxiliaryKind,
    /// Where it is. Absent: on the machine's own Modbus port, as another unit.
    pub port: Option<String>,
    /// Its registers.
    pub modbus: Modbus,
    /// How it is stopped, for drives.
    pub stop: Option<StopOrder>,
    /// What was checked when it was put into service, for drives.
    #[serde(default)]
    pub commissioning: Commissioning,
}

/// What a device beside a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuxiliaryKind {
    /// Turns something.
    Drive,
    /// Measures energy.
    Meter,
    /// Is only read: a controller's own points, a thermometer.
    Readings,
}

/// How a drive is stopped, and what proves that it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// The point that is written.
    pub point: String,
    /// What is written into it.
    pub value: f64,
    /// The point that is read back.
    pub proof: String,
    /// It stands when that point reads at most this.
    #[serde(default)]
    pub proof_max: f64,
    /// How long it may take to stand, in milliseconds: its deceleration ramp and a margin.
    #[serde(default = "stop_within_ms")]
    pub within_ms: u64,
}

/// What was checked when a drive was put into service. What was not checked is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commissioning {
    /// A wire takes the drive's enable (or its safe torque off) away with the emergency stop.
    pub hardwired_enable: bool,
    /// The drive's own time after which it stops when its host is silent, in milliseconds.
    pub communication_loss_ms: Option<u64>,
}

impl Auxiliary {
    /// A point by its name.
    pub fn point(&self, name: &str) -> Option<&Point> {
        self.modbus.points.iter().find(|point| point.name == name)
    }

    /// Everything that cannot be true of it, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.modbus.problems();
        match (self.kind, &self.stop) {
            (AuxiliaryKind::Drive, None) => problems.push("a drive needs `stop`: how it is stopped".to_owned()),
            (AuxiliaryKind::Drive, Some(stop)) => {
                match self.point(&stop.point) {
                    Some(point) if point.access.writes() => {}
                    _ => problems.push(format!("stop: `{}` is no point that can be written", stop.point)),
                }
                match self.point(&stop.proof) {
                    Some(point) if point.access.reads() && point.form != Form::Ascii => {}
                    _ => problems.push(format!("stop: `{}` is no point that can be read as a number", stop.proof)),
                }
                if !(100..=120_000).contains(&stop.within_ms) {
                    problems.push("stop: within_ms must be from 100 to 120000".to_owned());
                }
            }
            (AuxiliaryKind::Readings, _) => {}
            (AuxiliaryKind::Meter, _) => {
                if !self.modbus.points.iter().any(|point| point.meaning == Some(Meaning::Energy)) {
                    problems.push("a meter needs a point whose meaning is `energy`".to_owned());
                }
            }
        }
        problems.into_iter().map(|problem| format!("auxiliary `{}`: {problem}", self.name)).collect()
    }
}

fn stop_within_ms() -> u64 {
    10_000
}

/// Whether two points share a register. A command word and the read-back of the same word may: one is only written,
/// the other only read.
fn overlap(one: &Point, other: &Point) -> bool {
    let end = |point: &Point| u32::from(point.address) + u32::from(point.size());
    let both = |may: fn(Access) -> bool| may(one.access) && may(other.access);
    one.table == other.table
        && u32::from(one.address) < end(other)
        && u32::from(other.address) < end(one)
        && (both(Access::reads) || both(Access::writes))
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

#[cfg(test)]
mod test {
    use super::*;

    fn read(text: &str) -> Modbus {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_map_that_can_be_true_has_no_problems() {
        let map = read(
            r#"
            unit = 3
            [[points]]
            name = "volts"
            table = "input"
            address = 0
            type = "f32"
            unit = "V"
            meaning = "voltage"
            [[points]]
            name = "run"
            address = 100
            type = "u16"
            access = "read_write"
            values = { 1 = "running", 0 = "idle" }
            [[points]]
            name = "door"
            table = "discrete"
            address = 0
            type = "bits"
            "#,
        );
        assert_eq!(map.problems(), Vec::<String>::new());
        assert_eq!(map.points[0].size(), 2);
    }

    #[test]
    fn what_cannot_be_true_is_said_with_the_points_name() {
        let cases = [
            ("name = \"a\"\naddress = 65535\ntype = \"u32\"", "run past"),
            ("name = \"a\"\ntable = \"coil\"\naddress = 1\ntype = \"f32\"", "one bit"),
            ("name = \"a\"\ntable = \"input\"\naddress = 1\ntype = \"u16\"\naccess = \"write\"", "cannot be written"),
            ("name = \"a\"\naddress = 1\ntype = \"ascii\"", "needs `registers`"),
            ("name = \"a\"\naddress = 1\ntype = \"ascii\"\nregisters = 126", "126"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nscale = 0.0", "scale"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nmin = 5.0\nmax = 2.0", "between"),
            ("name = \"a\"\naddress = 1\ntype = \"bits\"\nvalues = { 16 = \"x\" }", "16"),
            ("name = \"a\"\naddress = 1\ntype = \"u32\"\n[[points]]\nname = \"b\"\naddress = 2\ntype = \"u16\"", "`b`"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\n[[points]]\nname = \"a\"\naddress = 2\ntype = \"u16\"", "two"),
        ];
        for (text, said) in cases {
            let problems = read(&format!("[[points]]\n{text}")).problems();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].starts_with("point `") && problems[0].contains(said), "{problems:?}");
        }
    }

    #[test]
    fn a_command_word_and_its_reading_may_share_a_register() {
        let text = "[[points]]\nname = \"run\"\naddress = 1\ntype = \"u16\"\naccess = \"write\"\n\
                    [[points]]\nname = \"status\"\naddress = 1\ntype = \"u16\"";
        assert_eq!(read(text).problems(), Vec::<String>::new());
    }
}
