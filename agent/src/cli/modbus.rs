//! `fab-agent modbus`: a careful hand tool for commissioning. Scan never writes; write reads back what it wrote; stop makes
//! the drives of a configuration stand when no agent is left to do it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use drivers::Notice;
use drivers::modbus::address::Address;
use drivers::modbus::bus::{Answered, Bus, Patience};
use drivers::modbus::{
    Access, Device as Profiled, Form, Modbus, Order, Point, Protocol, Question, Table, Trouble, value,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Failure, print};
use crate::config::{self, load_profile};

mod stopping;

/// What is to be done with a device.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Reads registers, or points of a profile by name
    Read {
        #[command(flatten)]
        device: Device,
        #[command(flatten)]
        place: Place,
        /// How many values
        #[arg(long, default_value_t = 1)]
        count: u16,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Writes one value, and reads it back
    Write {
        #[command(flatten)]
        device: Device,
        #[command(flatten)]
        place: Place,
        /// The value, as a profile's point has it (scaled)
        #[arg(long, allow_hyphen_values = true)]
        value: f64,
    },
    /// Looks which units answer, and writes nothing
    Scan {
        #[command(flatten)]
        device: Device,
        /// Units to ask, such as 1-247
        #[arg(long, default_value = "1-247", value_parser = units)]
        units: RangeInclusive<u8>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists the bundled device profiles, or prints one
    Devices {
        /// A device's name
        name: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Writes stop to every drive of a configuration and reads it back, whatever else is wrong in it: for when an agent has
    /// died
    Stop {
        /// The configuration
        #[arg(long, default_value = config::DEFAULT_PATH)]
        config: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Device {
    /// modbus-tcp://host:port or modbus-rtu:/dev/…?baud=19200&parity=even&stop_bits=1&rs485=rts
    address: String,
    /// Unit id, 1 to 247; over TCP also 0 and 255. On a serial line 0 would be everybody
    #[arg(long)]
    unit: Option<u8>,
    /// modbus, or huanyang for the drives that call their own frames Modbus
    #[arg(long, default_value = "modbus", value_parser = word::<Protocol>)]
    protocol: Protocol,
    /// Longest wait for an answer, in milliseconds
    #[arg(long, default_value_t = 300)]
    timeout_ms: u64,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// A profile whose points are meant
    #[arg(long, requires = "point")]
    profile: Option<String>,
    /// A device profile whose points are meant; `fab-agent modbus devices` lists them
    #[arg(long, requires = "point", conflicts_with = "profile")]
    device: Option<String>,
    /// A point of the profile; `device/point` for one of a device beside its machine
    #[arg(long, conflicts_with = "at")]
    point: Option<String>,
    /// Address, counted from 0
    #[arg(long, default_value_t = 0)]
    at: u16,
    /// holding, input, coil or discrete
    #[arg(long, default_value = "holding", value_parser = word::<Table>)]
    table: Table,
    /// u16, i16, u32, i32, f32, u64, i64, f64, bcd, bits or ascii
    #[arg(long = "type", value_parser = word::<Form>)]
    form: Option<Form>,
    /// abcd, cdab, badc or dcba
    #[arg(long, default_value = "abcd", value_parser = word::<Order>)]
    order: Order,
    /// Registers of a text or of a number in BCD
    #[arg(long)]
    registers: Option<u16>,
    /// The function to write with: 6 or 16, for coils 5 or 15. Without it the plainest
    #[arg(long)]
    write_function: Option<u8>,
    /// Value = raw × scale
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Read { device, place, count, json } => read(&device, &place, count, json).await,
        Command::Write { device, place, value } => write(&device, &place, value).await,
        Command::Scan { device, units, json } => scan(&device, units, json).await,
        Command::Devices { name, json } => devices(name.as_deref(), json),
        Command::Stop { config } => stopping::stop(&config).await,
    }
}

/// Says which drives and meters are known by name; of one, everything.
fn devices(name: Option<&str>, json: bool) -> Result<(), Failure> {
    let listed = Profiled::bundled().iter().filter(|(known, _)| name.is_none_or(|name| name == *known));
    let mut documents = Vec::new();
    for (known, text) in listed {
        let device = Profiled::parse(text).map_err(usage)?;
        let (title, kind) = (&device.title, device.kind.word());
        if json {
            let (sources, setup) = (&device.sources, &device.setup);
            documents.push(json!({ "name": known, "title": title, "kind": kind, "sources": sources, "setup": setup }));
        } else if name.is_some() {
            print(text.trim_end());
        } else {
            print(&format!("{known:22} {kind:6} {title}"));
        }
    }
    if let Some(name) = name.filter(|name| !Profiled::bundled().iter().any(|(known, _)| known == name)) {
        return Err(usage(format!("{}.", Profiled::named(name).err().unwrap_or_default())));
    }
    if json {
        print(&json!({ "devices": documents }).to_string());
    }
    Ok(())
}

/// A device on a bus.
struct Asked {
    bus: Bus,
    unit: u8,
    patience: Patience,
}

impl Device {
    fn open(&self, retries: u32) -> Result<Asked, Failure> {
        let address = Address::parse(&self.address).map_err(Failure::Usage)?;
        let unit = self.unit.or(address.unit).unwrap_or(1);
        if !address.way.has_unit(unit) {
            let address = &self.address;
            return Err(usage(format!(
                "Unit {unit} is no single device on {address}: units are 1 to 247, and over TCP also 0 and 255."
            )));
        }
        let protocol = self.protocol;
        let settings = Modbus { timeout_ms: self.timeout_ms, retries, protocol, ..Modbus::default() };
        let bus = Bus::on(&address, &settings).map_err(|error| {
            Notice::new("agent.no_thread", format!("The bus could not be started: {error}."), "Nothing was asked.", "")
        })?;
        Ok(Asked { bus, unit, patience: Patience::of(&settings) })
    }
}

impl Asked {
    async fn ask(&self, point: &Point, question: Question) -> Result<Vec<u16>, Failure> {
        self.told(point, self.bus.ask(self.unit, question, self.patience).await)
    }

    fn told(&self, point: &Point, answered: Answered) -> Result<Vec<u16>, Failure> {
        answered.map_err(|trouble| {
            Failure::Failed(Notice::new(
                trouble.code(),
                format!("Unit {}, `{}`: {trouble}.", self.unit, point.name),
                "The question was given up.",
                trouble.to_do(),
            ))
        })
    }

    async fn words(&self, point: &Point) -> Result<Vec<u16>, Failure> {
        let question = Question::Read { table: point.table, address: point.address, count: point.size() };
        self.ask(point, question).await
    }
}

impl Place {
    /// The points of the profile or the device profile, by name.
    fn named_points(&self) -> Result<Vec<(String, Point)>, Failure> {
        if let Some(device) = &self.device {
            let device = Profiled::named(device).map_err(|why| usage(format!("{why}.")))?;
            return Ok(device.modbus.points.into_iter().map(|point| (point.name.clone(), point)).collect());
        }
        let Some(profile) = &self.profile else {
            return Err(usage("`--point` is a point of a `--profile` or of a `--device`.".to_owned()));
        };
        let profile = load_profile(profile, Path::new(".")).map_err(usage)?;
        let own = profile.modbus.into_iter().flat_map(|modbus| modbus.points);
        let mut points: Vec<_> = own.map(|point| (point.name.clone(), point)).collect();
        for device in profile.auxiliary {
            let named = |point: Point| (format!("{}/{}", device.name, point.name), point);
            points.extend(device.modbus.points.into_iter().map(named));
        }
        Ok(points)
    }

    fn point(&self) -> Result<Point, Failure> {
        if let Some(name) = &self.point {
            let points = self.named_points()?;
            let known: Vec<_> = points.iter().map(|(name, _)| name.clone()).collect();
            let found = points.into_iter().find(|(known, _)| known == name).map(|(_, point)| point);
            return found
                .ok_or_else(|| usage(format!("The profile has no point `{name}`; it has: {}.", known.join(", "))));
        }
        let form = self.form.unwrap_or(if self.table.is_bits() { Form::Bits } else { Form::U16 });
        let may_write = self.table.is_writable() && form != Form::Ascii;
        let point = Point {
            order: self.order,
            registers: self.registers,
            scale: self.scale,
            write_function: self.write_function,
            access: if may_write { Access::ReadWrite } else { Access::Read },
            ..Point::plain(format!("{} {}", self.table.word(), self.at), self.table, self.at, form)
        };
        let map = Modbus { points: vec![point], ..Modbus::default() };
        if let Some(problem) = map.problems().first() {
            return Err(usage(format!("{}.", problem.message)));
        }
        map.points.into_iter().next().ok_or_else(|| usage("There is no point.".to_owned()))
    }
}

async fn read(device: &Device, place: &Place, count: u16, json: bool) -> Result<(), Failure> {
    let mut point = place.point()?;
    let asked = device.open(1)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let words = asked.words(&point).await?;
        let value = value::decode(&point, &words);
        if !json {
            let shown = value.as_ref().map_or_else(|| "no number".to_owned(), show);
            let raw = words.iter().map(|word| format!("{word:04X}")).collect::<Vec<_>>().join(" ");
            print(&format!("{} {}: {shown} {} ({raw})", point.table.word(), point.address, point.unit));
        }
        values.push(json!({ "address": point.address, "value": value, "words": words }));
        let Some(next) = point.address.checked_add(point.size()) else { break };
        point.address = next;
    }
    if json {
        print(&json!({ "unit": asked.unit, "table": point.table.word(), "values": values }).to_string());
    }
    Ok(())
}

fn show(value: &value::Value) -> String {
    match value {
        value::Value::Number(number) => number.to_string(),
        value::Value::Bits(bits) => format!("{bits:016b}"),
        value::Value::Text(text) => format!("{text:?}"),
    }
}

async fn write(device: &Device, place: &Place, wanted: f64) -> Result<(), Failure> {
    let point = place.point()?;
    let words = value::encode(&point, wanted).map_err(usage)?;
    // A write is asked once: what did not answer may have been carried out.
    let asked = device.open(0)?;
    let write = Question::write(&point, words.clone());
    let other = write.otherwise().filter(|_| point.write_function.is_none());
    match (asked.bus.ask(asked.unit, write.clone(), asked.patience).await, other) {
        // It said that it does not know the function: nothing was done, and the other one does the same.
        (Err(Trouble::Exception(1)), Some(other)) => drop(asked.ask(&point, other).await?),
        (answered, _) => drop(asked.told(&point, answered)?),
    }
    if !point.access.reads() {
        print(&format!("{} {}: written, and cannot be read back.", point.table.word(), point.address));
        return Ok(());
    }
    let read = asked.words(&point).await?;
    if read != words {
        let found = value::decode(&point, &read).map_or_else(|| "no number".to_owned(), |value| show(&value));
        return Err(Failure::Failed(Notice::new(
            "modbus.not_held",
            format!("`{}` reads {found} after {wanted} was written.", point.name),
            "The device took the write and did not keep it.",
            "Check that the register may be written, and whether the device changes it by itself.",
        )));
    }
    print(&format!("{} {}: {wanted}, read back.", point.table.word(), point.address));
    Ok(())
}

/// Asks every unit for one register. Whoever answers is there, also with a refusal.
async fn scan(device: &Device, units: RangeInclusive<u8>, json: bool) -> Result<(), Failure> {
    let asked = device.open(0)?;
    let mut found = Vec::new();
    for unit in units {
        let question = Question::Read { table: Table::Holding, address: 0, count: 1 };
        let said = match asked.bus.ask(unit, question, asked.patience).await {
            Ok(words) => format!("holding register 0 is {}", words.first().copied().unwrap_or(0)),
            // A gateway answers for the unit that does not.
            Err(Trouble::Overdue | Trouble::Exception(10 | 11)) => continue,
            Err(trouble @ Trouble::Lost(_)) => {
                return Err(Failure::Failed(Notice::new(
                    trouble.code(),
                    format!("{}: {trouble}.", device.address),
                    "Nothing was written.",
                    "Check the cable, the port and the network.",
                )));
            }
            Err(trouble) => trouble.to_string(),
        };
        if !json {
            print(&format!("unit {unit}: {said}"));
        }
        found.push(json!({ "unit": unit, "said": said }));
    }
    if json {
        print(&json!({ "units": found }).to_string());
    } else if found.is_empty() {
        print("No unit answered. Check the baud rate, the parity and the two wires' order.");
    }
    Ok(())
}

/// A word of the profile's, such as `holding` or `f32`.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|error| error.to_string())
}

fn units(text: &str) -> Result<RangeInclusive<u8>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first @ 1..=247), Ok(last @ 1..=247)) if first <= last => Ok(first..=last),
        _ => Err("units are 1 to 247, such as 1-247 or 5".to_owned()),
    }
}

fn usage(happened: String) -> Failure {
    Failure::Usage(Notice::new("modbus.usage", happened, "Nothing was asked.", "See `fab-agent modbus --help`."))
}
