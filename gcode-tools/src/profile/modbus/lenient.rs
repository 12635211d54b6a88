//! The drives of a file that need not be right: a drive is stopped whatever else is wrong in it.

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::{Auxiliary, AuxiliaryKind, Point};

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Read {
    /// The drives that can be stopped as the file says.
    pub drives: Vec<Auxiliary>,
    /// What is wrong with the others, and with the file, a sentence each.
    pub problems: Vec<String>,
}

/// What of a device is needed to stop it.
const NEEDED: [&str; 6] = ["name", "device", "kind", "port", "modbus", "stop"];

/// What of its map is needed for that.
const NEEDED_OF_MAP: [&str; 7] = ["unit", "timeout_ms", "retries", "protocol", "parity", "stop_bits", "points"];

/// Reads the drives of a machine profile (its `[[auxiliary]]` sections), whatever else is wrong in it.
pub fn drives(text: &str) -> Read {
    let (file, errors) = DeTable::parse_recoverable(text);
    let mut read =
        Read { problems: errors.iter().map(|error| error.message().to_owned()).collect(), ..Read::default() };
    read.note(file.get_ref().get("auxiliary"));
    read
}

/// The same, of a list of `[[auxiliary]]` sections wherever it stands.
pub fn drives_of(devices: Option<&Spanned<DeValue<'_>>>) -> Read {
    let mut read = Read::default();
    read.note(devices);
    read
}

impl Read {
    fn note(&mut self, devices: Option<&Spanned<DeValue<'_>>>) {
        let devices = devices.and_then(|devices| devices.get_ref().as_array());
        for device in devices.into_iter().flatten() {
            match drive(device) {
                Ok(drive) => self.drives.extend(drive),
                Err(why) => {
                    let name = device.get_ref().get("name").and_then(|name| name.get_ref().as_str()).unwrap_or("");
                    self.problems.push(format!("auxiliary `{name}`: {why}"));
                }
            }
        }
    }
}

/// The drive of a section; nothing where it is something else.
fn drive(section: &Spanned<DeValue<'_>>) -> Result<Option<Auxiliary>, String> {
    let whole = Auxiliary::deserialize(section.clone().into_deserializer());
    let device = match whole {
        Ok(device) => device,
        Err(first) => {
            let section = Value::deserialize(section.clone().into_deserializer());
            let needed = section.map(what_is_needed).map_err(|_| first.message().to_owned())?;
            Auxiliary::deserialize(needed).map_err(|_| first.message().to_owned())?
        }
    };
    if device.kind != AuxiliaryKind::Drive {
        return Ok(None);
    }
    let Some(stop) = &device.stop else { return Err("it says nowhere how it is stopped".to_owned()) };
    let writes = device.point(&stop.point).is_some_and(|point| point.access.writes());
    let reads = device.point(&stop.proof).is_some_and(|point| point.access.reads());
    if !writes || !reads {
        return Err(format!("stop: `{}` cannot be written, or `{}` not be read", stop.point, stop.proof));
    }
    Ok(Some(device))
}

/// A section without what is not needed for a stop, and without points that cannot be read.
fn what_is_needed(mut section: Value) -> Value {
    let Some(table) = section.as_table_mut() else { return section };
    table.retain(|key, _| NEEDED.contains(&key));
    if let Some(map) = table.get_mut("modbus").and_then(Value::as_table_mut) {
        map.retain(|key, _| NEEDED_OF_MAP.contains(&key));
        if let Some(points) = map.get_mut("points").and_then(Value::as_array_mut) {
            points.retain(|point| Point::deserialize(point.clone()).is_ok());
        }
    }
    section
}

#[cfg(test)]
mod test {
    use super::*;

    const DRIVE: &str = "[[auxiliary]]\nname = \"spindle\"\nkind = \"drive\"\nport = \"modbus-tcp://h?unit=2\"\n\
        [auxiliary.stop]\npoint = \"command\"\nvalue = 0\nproof = \"actual\"\n\
        [[auxiliary.modbus.points]]\nname = \"command\"\naddress = 0\ntype = \"u16\"\naccess = \"write\"\n\
        [[auxiliary.modbus.points]]\nname = \"actual\"\naddress = 11\ntype = \"u16\"\n";

    #[test]
    fn a_mistake_anywhere_else_in_the_file_kept_a_drive_turning() {
        for (before, behind) in [
            ("", ""),
            // A machine that cannot be true, a key nobody knows, a value of the wrong kind.
            ("name = \"Not A Name\"\nkind = \"boat\"\nspeed = 9\n", ""),
            // Of the drive itself: a point that is none, one that overlaps, what was not checked right.
            ("", "[[auxiliary.modbus.points]]\nname = \"x\"\naddress = 70000\ntype = \"u17\"\n"),
            ("", "[[auxiliary.modbus.points]]\nname = \"x\"\naddress = 11\ntype = \"u32\"\n"),
            ("", "[auxiliary.commissioning]\nhardwired = 1\n"),
            ("", "[[auxiliary]]\nname = \"meter\"\nkind = \"meter\"\nport = 7\n"),
            // What is no TOML at all.
            ("", "[spindle]\nmin_rpm = \nmax_rpm = 9\n"),
            ("title = \n", ""),
        ] {
            let read = drives(&format!("{before}{DRIVE}{behind}"));
            let names: Vec<_> = read.drives.iter().map(|drive| drive.name.as_str()).collect();
            assert_eq!(names, ["spindle"], "{before}{behind}: {:?}", read.problems);
        }
    }

    #[test]
    fn a_drive_that_cannot_be_stopped_as_the_file_says_is_named() {
        for wrong in [("proof = \"actual\"", "proof = \"nothing\""), ("kind = \"drive\"", "kind = \"boat\"")] {
            let read = drives(&DRIVE.replace(wrong.0, wrong.1));
            assert!(read.drives.is_empty() && read.problems[0].contains("`spindle`"), "{:?}", read.problems);
        }
        assert!(drives("this is no file").drives.is_empty());
    }
}
