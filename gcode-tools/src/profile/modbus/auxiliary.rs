//! Devices beside a machine: how a drive is stopped, and what was checked when it was put into service.

use serde::{Deserialize, Serialize};

use super::{Form, Meaning, Modbus, Point};
use crate::profile::places::{Problem, Step};

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
        self.modbus.point(name)
    }

    /// Everything that cannot be true of it, one sentence each.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.modbus.problems().into_iter().map(|problem| problem.under([Step::Key("modbus")])).collect();
        match (self.kind, &self.stop) {
            (AuxiliaryKind::Drive, None) => {
                problems.push(Problem::at([], "a drive needs `stop`: how it is stopped"));
            }
            (AuxiliaryKind::Drive, Some(stop)) => problems.extend(self.stop_problems(stop)),
            (AuxiliaryKind::Readings, _) => {}
            (AuxiliaryKind::Meter, _) => {
                if !self.modbus.points.iter().any(|point| point.meaning == Some(Meaning::Energy)) {
                    problems.push(Problem::at([], "a meter needs a point whose meaning is `energy`"));
                }
            }
        }
        let name = &self.name;
        problems.into_iter().map(|problem| problem.of(&format!("auxiliary `{name}`"))).collect()
    }

    fn stop_problems(&self, stop: &StopOrder) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key, message: String| problems.push(Problem::at([Step::Key("stop"), Step::Key(key)], message));
        match self.point(&stop.point) {
            Some(point) if point.access.writes() && point.form != Form::Ascii => {
                if let Err(why) = point.takes(stop.value) {
                    wrong("value", format!("stop: {why}"));
                }
            }
            _ => wrong("point", format!("stop: `{}` is no point that can be written", stop.point)),
        }
        match self.point(&stop.proof) {
            Some(point) if point.access.reads() && point.form != Form::Ascii => {}
            _ => wrong("proof", format!("stop: `{}` is no point that can be read as a number", stop.proof)),
        }
        if !stop.proof_max.is_finite() || stop.proof_max < 0.0 {
            wrong("proof_max", "stop: proof_max must be a number from 0".to_owned());
        }
        if !(100..=120_000).contains(&stop.within_ms) {
            wrong("within_ms", "stop: within_ms must be from 100 to 120000".to_owned());
        }
        problems
    }
}

fn stop_within_ms() -> u64 {
    10_000
}
