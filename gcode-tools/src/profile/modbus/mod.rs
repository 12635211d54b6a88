//! The Modbus part of a machine profile: where registers are, what they mean, and what cannot be true of them.

mod auxiliary;
mod device;
mod lenient;
mod point;
mod program;

use serde::{Deserialize, Serialize};

use super::places::{Problem, Step};

pub use auxiliary::{Auxiliary, AuxiliaryKind, Commissioning, PointValue, StopOrder, TurnOrder};
pub use device::Device;
pub use lenient::{Read, drives, drives_of};
pub use point::{Access, Form, Meaning, Order, Point, Table};
pub use program::{Action, Blocks, Checksum, LineEnd, Program};

/// Highest unit id of a device; 248 to 255 are reserved (Modbus over Serial Line 1.02, 2.2), 0 is a broadcast.
pub const UNIT_MAX: u8 = 247;

/// Unit id of a server on TCP that is no gateway: it means nothing (Modbus Messaging on TCP/IP 1.0b, 4.4.2.1). So does 0.
pub const UNIT_NONE: u8 = 255;

/// Registers in one read (Modbus Application Protocol 1.1b3, 6.3 and 6.4).
pub const REGISTERS_MAX: u16 = 125;

/// Points of one device. More than this is a mistake: a read plan of thousands never comes round.
pub const POINTS_MAX: usize = 500;

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
    /// In which frames it is spoken to.
    pub protocol: Protocol,
    /// Parity of a serial line.
    pub parity: Parity,
    /// Stop bits of a serial line, 1 or 2.
    pub stop_bits: u8,
    /// Registers that nobody asked for and that may be read over to join two reads. Some devices answer such a read
    /// with `illegal data address`: 0 never reads one.
    pub gap_registers: u16,
    /// Registers that the device gives in one read, 1 to 125 (Modbus Application Protocol 1.1b3, 6.3).
    pub max_registers: u16,
    /// Where the mailbox is, on machines that have one.
    pub mailbox: Mailbox,
    /// How a program is loaded and started, on machines that run program files.
    pub program: Option<Program>,
    /// The points, by name.
    pub points: Vec<Point>,
}

impl Default for Modbus {
    fn default() -> Self {
        Self {
            unit: 1,
            timeout_ms: 500,
            retries: 2,
            protocol: Protocol::Modbus,
            parity: Parity::None,
            stop_bits: 1,
            gap_registers: 0,
            max_registers: REGISTERS_MAX,
            mailbox: Mailbox::default(),
            program: None,
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

/// In which frames a device is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Modbus's own.
    #[default]
    Modbus,
    /// Those of Huanyang's HY drives, which call themselves Modbus. Registers are one to a question: holding 0 to 255 are
    /// the drive's settings, 256 its command, 257 its frequency; input 0 to 7 are what it measures.
    Huanyang,
}

impl Protocol {
    /// What cannot be said to a point of a device that speaks this.
    fn problem(self, point: &Point) -> Option<String> {
        if self == Self::Modbus {
            return None;
        }
        let last = if point.table == Table::Input { 7 } else { 257 };
        let fits = point.form == Form::U16 && !point.table.is_bits() && point.address <= last;
        let may_write = (256..=257).contains(&point.address);
        let (reads, writes) = (point.access.reads(), point.access.writes());
        (!fits || (writes && !may_write) || (reads && may_write)).then(|| {
            format!(
                "point `{}`: a Huanyang drive has u16 in holding 0 to 255 (read), 256 and 257 (write) and input 0 to 7",
                point.name
            )
        })
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

impl Modbus {
    /// A point by its name.
    pub fn point(&self, name: &str) -> Option<&Point> {
        self.points.iter().find(|point| point.name == name)
    }

    /// Everything that cannot be true of this map, one sentence each, with the points' names.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key, message: String| problems.push(Problem::at([Step::Key(key)], message));
        if (UNIT_MAX + 1..UNIT_NONE).contains(&self.unit) {
            wrong(
                "unit",
                format!("unit {} is no device: units are 1 to {UNIT_MAX}, and over TCP 0 and 255", self.unit),
            );
        }
        if !(1..=REGISTERS_MAX).contains(&self.max_registers) {
            wrong("max_registers", format!("max_registers must be from 1 to {REGISTERS_MAX}"));
        } else if let Some(point) = self.points.iter().find(|it| it.size() > self.max_registers && it.size() <= 125) {
            let (name, size, gives) = (&point.name, point.size(), self.max_registers);
            wrong("max_registers", format!("point `{name}` has {size} registers, and the device gives {gives}"));
        }
        if !(10..=60_000).contains(&self.timeout_ms) {
            wrong("timeout_ms", "timeout_ms must be from 10 to 60000".to_owned());
        }
        if self.retries > 20 {
            wrong("retries", "retries must be from 0 to 20".to_owned());
        }
        if !(1..=2).contains(&self.stop_bits) {
            wrong("stop_bits", "stop_bits must be 1 or 2".to_owned());
        }
        if self.points.len() > POINTS_MAX {
            wrong("points", format!("{} points are more than {POINTS_MAX}", self.points.len()));
            return problems;
        }
        let points: Vec<_> = self.points.iter().enumerate().collect();
        problems.extend(points_problems(&points));
        for (at, point) in points {
            let place = [Step::Key("points"), Step::Item(at)];
            problems.extend(self.protocol.problem(point).map(|why| Problem::at(place, why)));
        }
        if let Some(program) = &self.program {
            problems.extend(program.problems(self).into_iter().map(|problem| problem.under([Step::Key("program")])));
        }
        problems
    }
}

/// Everything that cannot be true of points, each with its place in the profile's list.
pub(super) fn points_problems(points: &[(usize, &Point)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, (place, point)) in points.iter().enumerate() {
        let mut said = point.problems();
        for (_, earlier) in &points[..at] {
            if earlier.name == point.name {
                said.push(format!("point `{}`: there are two of this name", point.name));
            } else if earlier.overlaps(point) {
                said.push(format!("point `{}`: it lies on registers of point `{}`", point.name, earlier.name));
            }
        }
        let place = [Step::Key("points"), Step::Item(*place)];
        problems.extend(said.into_iter().map(|message| Problem::at(place, message)));
    }
    problems
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
        assert_eq!(map.problems(), []);
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
            ("name = \"a\"\naddress = 1\ntype = \"bcd\"\nregisters = 5", "BCD"),
            ("name = \"a\"\naddress = 65533\ntype = \"u64\"", "4 registers"),
            ("name = \"a\"\naddress = 1\ntype = \"i16\"\nbit = 3", "`bit`"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nbit = 16", "no bit"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nmask = 0x10000", "no bit"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nmask = 3\nbit = 1", "one of them"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nbit = 1\naccess = \"read_write\"", "only be read"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\naccess = \"write\"\nwrite_function = 5", "write_function"),
            ("name = \"a\"\naddress = 1\ntype = \"u32\"\naccess = \"write\"\nwrite_function = 6", "write_function"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nwrite_function = 16", "may be written"),
            ("name = \"a\"\naddress = 1\ntype = \"bits\"\nvalues = { \"!16\" = \"x\" }", "!16"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nscale = 0.0", "scale"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\nmin = 5.0\nmax = 2.0", "between"),
            ("name = \"a\"\naddress = 1\ntype = \"bits\"\nvalues = { 16 = \"x\" }", "16"),
            ("name = \"a\"\naddress = 1\ntype = \"u32\"\n[[points]]\nname = \"b\"\naddress = 2\ntype = \"u16\"", "`b`"),
            ("name = \"a\"\naddress = 1\ntype = \"u16\"\n[[points]]\nname = \"a\"\naddress = 2\ntype = \"u16\"", "two"),
        ];
        for (text, said) in cases {
            let problems = read(&format!("[[points]]\n{text}")).problems();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            let message = &problems[0].message;
            assert!(message.starts_with("point `") && message.contains(said), "{problems:?}");
        }
    }

    #[test]
    fn what_the_documentation_shows_is_a_profile() {
        let document = include_str!("../../../../docs/modbus.md");
        let (_, mill) = crate::profile::Profile::bundled().iter().find(|(name, _)| *name == "grbl-mill-3018").unwrap();
        let shown: Vec<_> = document.split("```toml").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(shown.len() >= 3, "a map, a drive, a Huanyang drive");
        for text in shown {
            // A map's points belong to a machine's own map.
            let text = text.replace("\n[[points]]", "\n[[modbus.points]]");
            crate::profile::Profile::parse(&format!("{mill}\n{text}"))
                .unwrap_or_else(|error| panic!("{error}:\n{text}"));
        }
    }

    #[test]
    fn bits_of_one_word_may_be_points_of_their_own() {
        let text = "[[points]]\nname = \"run\"\naddress = 1\ntype = \"u16\"\nbit = 0\n\
                    [[points]]\nname = \"fault\"\naddress = 1\ntype = \"u16\"\nbit = 3\n\
                    [[points]]\nname = \"word\"\naddress = 1\ntype = \"bits\"\nvalues = { 3 = \"a\", \"!4\" = \"b\" }";
        assert_eq!(read(text).problems(), []);
        let longer = "[[points]]\nname = \"long\"\naddress = 0\ntype = \"u32\"";
        assert_eq!(read(&format!("{longer}\n{text}")).problems().len(), 3, "half of another value is none of them");
    }

    #[test]
    fn units_that_mean_nothing_over_tcp_and_a_device_that_gives_few_registers_can_be_said() {
        for (text, wrong) in
            [("unit = 0", 0), ("unit = 255", 0), ("unit = 248", 1), ("max_registers = 10", 0), ("max_registers = 0", 1)]
        {
            assert_eq!(read(text).problems().len(), wrong, "{text}");
        }
        let text = "max_registers = 3\n[[points]]\nname = \"a\"\naddress = 1\ntype = \"u64\"";
        assert!(read(text).problems()[0].message.contains("`a`"));
    }

    #[test]
    fn a_command_word_and_its_reading_may_share_a_register() {
        let text = "[[points]]\nname = \"run\"\naddress = 1\ntype = \"u16\"\naccess = \"write\"\n\
                    [[points]]\nname = \"status\"\naddress = 1\ntype = \"u16\"";
        assert_eq!(read(text).problems(), []);
    }
}
