//! What is known of a device beside a machine.

use serde::{Deserialize, Serialize};

use super::{Quality, Reading};
use crate::modbus::{AuxiliaryKind, Meaning, Value};
use crate::notice::Notice;

/// A device beside a machine: a drive, a meter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Beside {
    /// Its name in the profile.
    pub name: String,
    /// `drive`, `meter` or `readings`.
    pub kind: AuxiliaryKind,
    /// Whether it answers.
    pub answers: bool,
    /// Whether it was told to stop and has not proven yet that it stands.
    pub stopping: bool,
    /// What a person should know of it (it is silent, it does not stop, it reports a fault).
    pub notice: Option<Notice>,
    /// Why nothing may be started beside it, for as long as that is so.
    pub hinders: Option<Hindrance>,
    /// What became of the last order to turn, of a drive that is the machine's spindle.
    #[serde(skip)]
    pub spindle: Option<SpindleReport>,
    /// How fast it turns, in revolutions per minute, where its profile says how it is turned.
    pub turns_rpm: Option<f64>,
    /// Its points, in the profile's order.
    pub readings: Vec<PointReading>,
}

/// Why nothing may be started beside a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hindrance {
    /// It was told to stop and does not stand in time, or refuses.
    DoesNotStand,
    /// It does not answer, or has not answered yet.
    Silent,
    /// It reports a fault.
    Faulted,
    /// It turns, and nobody here has ordered that: the agent that did was killed, or somebody started it at its panel.
    Turning,
    /// It is being stopped.
    Stopping,
}

/// What became of an order to turn or to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpindleReport {
    /// The order's number.
    pub number: u32,
    /// How far it is.
    pub state: SpindleState,
}

/// How far an order to turn or to stand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpindleState {
    /// On its way.
    Pending,
    /// Done, and read back.
    Reached,
    /// It did not come to it in time, or lost it: it was told to stop.
    Failed,
}

/// A point of a device and what it read last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointReading {
    /// The point's name.
    pub name: String,
    /// What it says about the machine, where the profile knows.
    pub meaning: Option<Meaning>,
    /// Unit of the value.
    pub unit: String,
    /// What it read; absent until it was read. A read that fails makes the last one stale at once.
    pub reading: Option<Reading<Value>>,
}

impl Beside {
    /// The number that a point of this meaning read last, if that is good.
    pub fn number(&self, meaning: Meaning) -> Option<Reading<f64>> {
        let point = self.readings.iter().find(|point| point.meaning == Some(meaning))?;
        let reading = point.reading.as_ref().filter(|reading| reading.quality == Quality::Good)?;
        Some(Reading { value: reading.value.number()?, at: reading.at, quality: reading.quality })
    }
}
