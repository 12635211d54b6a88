//! Addresses of Modbus devices: `modbus-tcp://host:port?unit=1` and
//! `modbus-rtu:/dev/ttyUSB0?unit=1&baud=19200&parity=even&stop_bits=1&rs485=rts`.

use super::Parity;
use crate::notice::Notice;
use gcode_tools::profile::modbus::{UNIT_MAX, UNIT_NONE};

/// Modbus's own TCP port.
const TCP_PORT: u16 = 502;

/// Where a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Over what it is reached.
    pub way: Way,
    /// Unit id, where the address names one.
    pub unit: Option<u8>,
    /// Bits per second of a serial line, where the address names them.
    pub baud: Option<u32>,
    /// Parity of a serial line, where the address names it.
    pub parity: Option<Parity>,
    /// Stop bits of a serial line, 1 or 2, where the address names them.
    pub stop_bits: Option<u8>,
    /// How an adapter is told that it is to send, where it does not find that out by itself.
    pub rs485: Option<Rs485>,
}

/// How an RS-485 adapter without a direction of its own is told that it is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rs485 {
    /// The line RTS is on while something is sent.
    Rts,
    /// The line RTS is off while something is sent.
    RtsInverted,
}

/// Over what a device is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// `host:port`.
    Tcp(String),
    /// A device path.
    Rtu(String),
}

impl Way {
    /// Whether a device here can have this unit id: on a serial line 0 is everybody, and over TCP it means nothing, as
    /// 255 does.
    pub fn has_unit(&self, unit: u8) -> bool {
        (1..=UNIT_MAX).contains(&unit) || (matches!(self, Self::Tcp(_)) && matches!(unit, 0 | UNIT_NONE))
    }
}

/// Whether a port is one of a Modbus device.
pub fn is_modbus(port: &str) -> bool {
    port.starts_with("modbus-tcp:") || port.starts_with("modbus-rtu:")
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// `modbus.address`: what of it cannot be read.
    pub fn parse(text: &str) -> Result<Self, Notice> {
        let (place, settings) = text.split_once('?').unwrap_or((text, ""));
        let way = if let Some(host) = place.strip_prefix("modbus-tcp://").filter(|host| !host.is_empty()) {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            Way::Tcp(if has_port { host.to_owned() } else { format!("{host}:{TCP_PORT}") })
        } else if let Some(path) = place.strip_prefix("modbus-rtu:") {
            // Three slashes, as an URL's path is written, mean the same path as one.
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            Way::Rtu(path.to_owned())
        } else {
            return Err(wrong(text, "it starts with neither modbus-tcp:// nor modbus-rtu:"));
        };
        if way == Way::Rtu(String::new()) {
            return Err(wrong(text, "it names no device"));
        }
        let mut address = Self { way, unit: None, baud: None, parity: None, stop_bits: None, rs485: None };
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            address.set(setting).map_err(|why| wrong(text, &why))?;
        }
        Ok(address)
    }

    fn set(&mut self, setting: &str) -> Result<(), String> {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let bad = || format!("`{setting}` cannot be read");
        match key {
            "unit" => {
                let units = match self.way {
                    // There a server that is no gateway is often unit 0 or 255, and both mean nothing.
                    Way::Tcp(_) => format!("0 to {UNIT_MAX}, and {UNIT_NONE}"),
                    Way::Rtu(_) => format!("1 to {UNIT_MAX}"),
                };
                let unit = value.parse().ok().filter(|unit| self.way.has_unit(*unit));
                self.unit = Some(unit.ok_or_else(|| format!("`{value}` is no unit; units are {units}"))?);
            }
            _ if matches!(self.way, Way::Tcp(_)) && matches!(key, "stop_bits" | "rs485") => {
                return Err(format!("`{key}` is a setting of serial lines"));
            }
            "stop_bits" => {
                self.stop_bits = Some(value.parse().ok().filter(|bits| matches!(bits, 1 | 2)).ok_or_else(bad)?);
            }
            "rs485" => {
                self.rs485 = Some(match value {
                    "rts" => Rs485::Rts,
                    "rts-inverted" => Rs485::RtsInverted,
                    _ => return Err(format!("`{setting}` cannot be read: it is rts or rts-inverted")),
                });
            }
            "baud" => self.baud = Some(value.parse().ok().filter(|baud| *baud >= 300).ok_or_else(bad)?),
            "parity" => {
                self.parity = Some(match value {
                    "none" => Parity::None,
                    "even" => Parity::Even,
                    "odd" => Parity::Odd,
                    _ => return Err(bad()),
                });
            }
            _ => return Err(format!("`{key}` is no setting of it; known are unit, baud, parity, stop_bits and rs485")),
        }
        Ok(())
    }
}

fn wrong(text: &str, why: &str) -> Notice {
    Notice::new(
        "modbus.address",
        format!("`{text}` is no Modbus address: {why}."),
        "Nothing was opened.",
        "Write modbus-tcp://host:502?unit=1 or modbus-rtu:/dev/serial/by-path/…?unit=1&baud=19200&parity=even.",
    )
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn addresses_are_read_part_by_part() {
        let tcp = Address::parse("modbus-tcp://plc.local:1502?unit=7").unwrap();
        assert_eq!((tcp.way, tcp.unit), (Way::Tcp("plc.local:1502".into()), Some(7)));
        assert_eq!(Address::parse("modbus-tcp://10.0.0.9").unwrap().way, Way::Tcp("10.0.0.9:502".into()));
        let rtu = Address::parse("modbus-rtu:/dev/ttyUSB0?unit=2&baud=9600&parity=even").unwrap();
        assert_eq!(rtu.way, Way::Rtu("/dev/ttyUSB0".into()));
        assert_eq!((rtu.unit, rtu.baud, rtu.parity), (Some(2), Some(9600), Some(Parity::Even)));
        assert_eq!(Address::parse("modbus-rtu:///dev/ttyUSB0").unwrap().way, rtu.way);
    }

    #[test]
    fn a_line_with_two_stop_bits_and_an_adapter_without_a_direction_of_its_own_can_be_named() {
        let line = Address::parse("modbus-rtu:/dev/ttyAMA0?unit=1&stop_bits=2&rs485=rts").unwrap();
        assert_eq!((line.stop_bits, line.rs485), (Some(2), Some(Rs485::Rts)));
        let inverted = Address::parse("modbus-rtu:/dev/ttySC1?rs485=rts-inverted").unwrap();
        assert_eq!((inverted.stop_bits, inverted.rs485), (None, Some(Rs485::RtsInverted)));
    }

    #[test]
    fn units_that_mean_nothing_over_tcp_were_refused() {
        for unit in [0, 255] {
            let address = Address::parse(&format!("modbus-tcp://h?unit={unit}")).unwrap();
            assert_eq!(address.unit, Some(unit));
        }
    }

    #[test]
    fn what_is_no_address_is_said_with_what_is_wrong() {
        for (text, said) in [
            ("/dev/ttyUSB0", "neither"),
            ("modbus-rtu:", "no device"),
            ("modbus-rtu:/dev/x?unit=0", "1 to 247"),
            ("modbus-rtu:/dev/x?unit=255", "1 to 247"),
            ("modbus-tcp://h?unit=248", "0 to 247, and 255"),
            ("modbus-tcp://h?unit=256", "no unit"),
            ("modbus-tcp://h?stop_bits=2", "serial lines"),
            ("modbus-rtu:/dev/x?stop_bits=3", "stop_bits"),
            ("modbus-rtu:/dev/x?rs485=dtr", "rts-inverted"),
            ("modbus-tcp://h?speed=3", "speed"),
            ("modbus-rtu:/dev/x?parity=mark", "parity"),
        ] {
            let notice = Address::parse(text).unwrap_err();
            assert!(notice.code == "modbus.address" && notice.happened.contains(said), "{notice}");
        }
    }
}
