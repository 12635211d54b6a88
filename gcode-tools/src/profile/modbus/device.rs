//! Device profiles: the register map of a drive or a meter model, by name, and how a machine's file says what differs.

use serde::Deserialize;

use super::auxiliary::{PointValue, stop_within_ms, tolerance_percent, two_poles};
use super::{
    Auxiliary, AuxiliaryKind, Commissioning, Mailbox, Modbus, Parity, Point, Program, Protocol, StopOrder, TurnOrder,
};

/// A drive or a meter model: everything of it that does not depend on the machine beside which it stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Short stable name: lower case, digits and hyphens. The file is called `{name}.toml`.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Where its map comes from: manuals, public source, recordings.
    pub sources: Vec<String>,
    /// What must be set at the device itself, a sentence each.
    #[serde(default)]
    pub setup: Vec<String>,
    /// What it is.
    pub kind: AuxiliaryKind,
    /// Its registers.
    #[serde(default)]
    pub modbus: Modbus,
    /// How it is stopped, for drives.
    pub stop: Option<StopOrder>,
    /// How it is turned, for drives.
    pub turn: Option<TurnOrder>,
}

impl Device {
    /// The device profiles of `config/devices/`, compiled in, as (name, TOML text) in order of name.
    pub fn bundled() -> &'static [(&'static str, &'static str)] {
        BUNDLED_DEVICES
    }

    /// A compiled-in device profile by its name.
    ///
    /// # Errors
    /// A sentence: there is none of this name, and which there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let Some((_, text)) = BUNDLED_DEVICES.iter().find(|(bundled, _)| *bundled == name) else {
            let known: Vec<_> = BUNDLED_DEVICES.iter().map(|(name, _)| *name).collect();
            return Err(format!("there is no device `{name}`; known are {}", known.join(", ")));
        };
        Self::parse(text)
    }

    /// Reads a device profile from the text of its TOML file.
    ///
    /// # Errors
    /// What of it cannot be read or cannot be true.
    pub fn parse(text: &str) -> Result<Self, String> {
        let device: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let said: Vec<_> = device.beside("device").problems().into_iter().map(|problem| problem.message).collect();
        if said.is_empty() { Ok(device) } else { Err(said.join("\n")) }
    }

    /// The device beside a machine, under a name.
    pub fn beside(&self, name: &str) -> Auxiliary {
        Auxiliary {
            name: name.to_owned(),
            device: Some(self.name.clone()),
            kind: self.kind,
            port: None,
            modbus: self.modbus.clone(),
            stop: self.stop.clone(),
            turn: self.turn.clone(),
            is_spindle: false,
            commissioning: Commissioning::default(),
        }
    }
}

/// A device beside a machine as a file writes it: with a device profile's name everything else may be left out, and what
/// is said counts before the profile.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: String,
    device: Option<String>,
    kind: Option<AuxiliaryKind>,
    port: Option<String>,
    modbus: Option<WrittenModbus>,
    stop: Option<WrittenStop>,
    turn: Option<WrittenTurn>,
    #[serde(default)]
    is_spindle: bool,
    #[serde(default)]
    commissioning: Commissioning,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenModbus {
    unit: Option<u8>,
    timeout_ms: Option<u64>,
    retries: Option<u32>,
    protocol: Option<Protocol>,
    parity: Option<Parity>,
    stop_bits: Option<u8>,
    gap_registers: Option<u16>,
    max_registers: Option<u16>,
    mailbox: Option<Mailbox>,
    program: Option<Program>,
    #[serde(default)]
    points: Vec<Point>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStop {
    point: Option<String>,
    value: Option<f64>,
    proof: Option<String>,
    proof_max: Option<f64>,
    proof_values: Option<Vec<f64>>,
    within_ms: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTurn {
    speed: Option<String>,
    speed_only_running: Option<bool>,
    rpm_per_unit: Option<f64>,
    forward: Option<Vec<PointValue>>,
    reverse: Option<Vec<PointValue>>,
    actual: Option<String>,
    actual_rpm_per_unit: Option<f64>,
    tolerance_percent: Option<f64>,
    within_ms: Option<u64>,
    min_rpm: Option<f64>,
    max_rpm: Option<f64>,
}

impl TryFrom<Written> for Auxiliary {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let device = written.device.as_deref().map(Device::named).transpose()?;
        let missing = |what: &str| format!("missing field `{what}`, or the name of a `device` that has it");
        let base = device.as_ref().map(|device| device.beside(&written.name));
        let kind = written.kind.or(base.as_ref().map(|base| base.kind)).ok_or_else(|| missing("kind"))?;
        let modbus = match (written.modbus, &base) {
            (None, None) => return Err(missing("modbus")),
            (modbus, base) => modbus.unwrap_or_default().over(base.as_ref().map(|base| &base.modbus)),
        };
        let stop = base.as_ref().and_then(|base| base.stop.as_ref());
        let stop = written.stop.map(|said| said.over(stop)).transpose()?.or_else(|| stop.cloned());
        let turn = base.as_ref().and_then(|base| base.turn.as_ref());
        let turn = written.turn.map(|said| said.over(turn)).transpose()?.or_else(|| turn.cloned());
        Ok(Self {
            name: written.name,
            device: written.device,
            kind,
            port: written.port,
            modbus,
            stop,
            turn,
            is_spindle: written.is_spindle,
            commissioning: written.commissioning,
        })
    }
}

impl WrittenModbus {
    fn over(self, base: Option<&Modbus>) -> Modbus {
        let base = base.cloned().unwrap_or_default();
        // What the file names stands first: its places are then those of the file.
        let mut points = self.points;
        let more: Vec<_> =
            base.points.into_iter().filter(|known| points.iter().all(|said| said.name != known.name)).collect();
        points.extend(more);
        Modbus {
            unit: self.unit.unwrap_or(base.unit),
            timeout_ms: self.timeout_ms.unwrap_or(base.timeout_ms),
            retries: self.retries.unwrap_or(base.retries),
            protocol: self.protocol.unwrap_or(base.protocol),
            parity: self.parity.unwrap_or(base.parity),
            stop_bits: self.stop_bits.unwrap_or(base.stop_bits),
            gap_registers: self.gap_registers.unwrap_or(base.gap_registers),
            max_registers: self.max_registers.unwrap_or(base.max_registers),
            mailbox: self.mailbox.unwrap_or(base.mailbox),
            program: self.program.or(base.program),
            points,
        }
    }
}

impl WrittenStop {
    fn over(self, base: Option<&StopOrder>) -> Result<StopOrder, String> {
        let missing = |what: &str| format!("stop: missing field `{what}`");
        let point = self.point.or(base.map(|base| base.point.clone())).ok_or_else(|| missing("point"))?;
        let proof = self.proof.or(base.map(|base| base.proof.clone())).ok_or_else(|| missing("proof"))?;
        Ok(StopOrder {
            point,
            value: self.value.or(base.map(|base| base.value)).ok_or_else(|| missing("value"))?,
            proof,
            proof_max: self.proof_max.or(base.map(|base| base.proof_max)).unwrap_or(0.0),
            proof_values: self.proof_values.or(base.map(|base| base.proof_values.clone())).unwrap_or_default(),
            within_ms: self.within_ms.or(base.map(|base| base.within_ms)).unwrap_or_else(stop_within_ms),
        })
    }
}

impl WrittenTurn {
    fn over(self, base: Option<&TurnOrder>) -> Result<TurnOrder, String> {
        let missing = |what: &str| format!("turn: missing field `{what}`");
        let speed = self.speed.or(base.map(|base| base.speed.clone())).ok_or_else(|| missing("speed"))?;
        let forward = self.forward.or(base.map(|base| base.forward.clone())).ok_or_else(|| missing("forward"))?;
        let actual = self.actual.or(base.map(|base| base.actual.clone())).ok_or_else(|| missing("actual"))?;
        let number = |said: Option<f64>, known: fn(&TurnOrder) -> f64, else_: fn() -> f64| {
            said.or(base.map(known)).unwrap_or_else(else_)
        };
        Ok(TurnOrder {
            speed,
            speed_only_running: self.speed_only_running.unwrap_or(base.is_some_and(|base| base.speed_only_running)),
            forward,
            actual,
            reverse: self.reverse.or(base.map(|base| base.reverse.clone())).unwrap_or_default(),
            rpm_per_unit: number(self.rpm_per_unit, |base| base.rpm_per_unit, two_poles),
            actual_rpm_per_unit: number(self.actual_rpm_per_unit, |base| base.actual_rpm_per_unit, two_poles),
            tolerance_percent: number(self.tolerance_percent, |base| base.tolerance_percent, tolerance_percent),
            within_ms: self.within_ms.or(base.map(|base| base.within_ms)).unwrap_or_else(stop_within_ms),
            min_rpm: self.min_rpm.or(base.and_then(|base| base.min_rpm)),
            max_rpm: self.max_rpm.or(base.and_then(|base| base.max_rpm)),
        })
    }
}

include!(concat!(env!("OUT_DIR"), "/bundled_devices.rs"));

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_bundled_device_is_valid_named_after_its_file_and_says_where_its_map_comes_from() {
        assert!(Device::bundled().len() >= 16);
        for (name, text) in Device::bundled() {
            let device = Device::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(&device.name, name);
            assert!(!device.sources.is_empty() && device.sources.iter().all(|source| source.len() > 10), "{name}");
            if device.kind == AuxiliaryKind::Drive {
                assert!(device.turn.is_some(), "{name}: every drive that is known can be turned");
            }
        }
    }

    #[test]
    fn a_name_and_a_port_are_enough_and_what_is_said_counts_before_the_device_profile() {
        let text = "name = 'spindle'\ndevice = 'h100'\nport = 'modbus-rtu:/dev/ttyUSB1?unit=3'\nis_spindle = true\n\
                    [stop]\nwithin_ms = 4000\n[turn]\nmax_rpm = 18000.0\n[modbus]\ntimeout_ms = 200\n\
                    [[modbus.points]]\nname = 'set-frequency'\naddress = 9\ntype = 'u16'\n";
        let auxiliary: Auxiliary = toml::from_str(text).unwrap();
        assert_eq!(auxiliary.problems(), []);
        let bundled = Device::named("h100").unwrap();
        assert_eq!((auxiliary.kind, auxiliary.modbus.timeout_ms), (AuxiliaryKind::Drive, 200));
        let stop = auxiliary.stop.as_ref().unwrap();
        assert_eq!((&stop.point, stop.within_ms), (&bundled.stop.as_ref().unwrap().point, 4_000));
        assert_eq!(auxiliary.rpm_range().1, 18_000.0);
        assert_eq!(auxiliary.point("set-frequency").map(|point| point.address), Some(9));
        assert_eq!(auxiliary.modbus.points.len(), bundled.modbus.points.len());
        // A session writes its profile into recordings, and reads it again.
        let text = serde_json::to_string(&auxiliary).unwrap();
        assert_eq!(serde_json::from_str::<Auxiliary>(&text).unwrap(), auxiliary);
    }

    #[test]
    fn what_neither_the_file_nor_a_device_says_is_missed_by_name() {
        for (text, said) in [
            ("name = 'a'\ndevice = 'no-such'", "there is no device `no-such`; known are"),
            ("name = 'a'\n[modbus]", "`kind`"),
            ("name = 'a'\nkind = 'drive'", "`modbus`"),
            ("name = 'a'\nkind = 'drive'\n[modbus]\n[stop]\npoint = 'x'", "`proof`"),
        ] {
            let error = toml::from_str::<Auxiliary>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
