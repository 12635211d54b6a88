//! Devices beside a machine: how a drive is stopped and turned, and what was checked when it was put into service.

use serde::{Deserialize, Serialize};

use super::device::Written;
use super::{Form, Meaning, Modbus, Point};
use crate::profile::places::{Problem, Step};

/// A device beside a machine: a drive that turns its spindle, a meter of what it draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Auxiliary {
    /// Its name, unique on its machine.
    pub name: String,
    /// The bundled device profile that says what is not said here.
    pub device: Option<String>,
    /// What it is.
    pub kind: AuxiliaryKind,
    /// Where it is. Absent: on the machine's own Modbus port, as another unit.
    pub port: Option<String>,
    /// Its registers.
    pub modbus: Modbus,
    /// How it is stopped, for drives.
    pub stop: Option<StopOrder>,
    /// How it is turned, for drives.
    pub turn: Option<TurnOrder>,
    /// Whether it does what the program says with M3, M4, M5 and S: the controller is not sent these words then.
    pub is_spindle: bool,
    /// What was checked when it was put into service, for drives.
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

impl AuxiliaryKind {
    /// The word in profiles and on the network.
    pub fn word(self) -> &'static str {
        match self {
            Self::Drive => "drive",
            Self::Meter => "meter",
            Self::Readings => "readings",
        }
    }
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
    /// Or when that point reads one of these, for a state word; then `proof_max` does not count.
    #[serde(default)]
    pub proof_values: Vec<f64>,
    /// How long it may take to stand, in milliseconds: its deceleration ramp and a margin.
    #[serde(default = "stop_within_ms")]
    pub within_ms: u64,
}

impl StopOrder {
    /// Whether a drive whose proof reads this stands.
    pub fn is_proof(&self, number: f64) -> bool {
        if self.proof_values.is_empty() { number.abs() <= self.proof_max } else { self.proof_values.contains(&number) }
    }
}

/// How a drive is turned, and what proves that it has its speed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnOrder {
    /// The point that takes the speed.
    pub speed: String,
    /// The drive takes its speed only while it turns, and refuses it before. Then it is started at the speed that it had
    /// last; a drive of which this is not said is not started at all when it refuses its speed.
    #[serde(default)]
    pub speed_only_running: bool,
    /// Revolutions per minute for each unit of that point: 60 for a frequency in Hz and a motor with two poles, 30 with
    /// four.
    #[serde(default = "two_poles")]
    pub rpm_per_unit: f64,
    /// What is written, in this order, to turn clockwise (M3).
    pub forward: Vec<PointValue>,
    /// The same counter-clockwise (M4). Absent: it does not.
    #[serde(default)]
    pub reverse: Vec<PointValue>,
    /// The point that reads how fast it turns.
    pub actual: String,
    /// Revolutions per minute for each unit of that point.
    #[serde(default = "two_poles")]
    pub actual_rpm_per_unit: f64,
    /// How far from the speed it may be and has it all the same, in percent.
    #[serde(default = "tolerance_percent")]
    pub tolerance_percent: f64,
    /// How long it may take to come to its speed, in milliseconds: its acceleration ramp and a margin.
    #[serde(default = "stop_within_ms")]
    pub within_ms: u64,
    /// Lowest and highest speed in revolutions per minute that the drive and its motor may turn; absent: as far as its
    /// speed point and the machine's spindle go.
    pub min_rpm: Option<f64>,
    /// See `min_rpm`.
    pub max_rpm: Option<f64>,
}

/// A value that is written into a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointValue {
    /// The point.
    pub point: String,
    /// The value.
    pub value: f64,
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

    /// Lowest and highest speed in revolutions per minute that it can be told to turn; zero and infinity where nothing
    /// says so.
    pub fn rpm_range(&self) -> (f64, f64) {
        let Some(turn) = &self.turn else { return (0.0, f64::INFINITY) };
        let rpm = |bound: Option<f64>| bound.map(|bound| bound * turn.rpm_per_unit);
        let (low, high) = self.point(&turn.speed).map_or((None, None), |speed| (rpm(speed.min), rpm(speed.max)));
        let low = low.unwrap_or(0.0).max(turn.min_rpm.unwrap_or(0.0));
        (low, high.unwrap_or(f64::INFINITY).min(turn.max_rpm.unwrap_or(f64::INFINITY)))
    }

    /// Whether it turns counter-clockwise, too.
    pub fn reverses(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| !turn.reverse.is_empty())
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
        if let Some(turn) = &self.turn {
            problems.extend(self.turn_problems(turn));
        }
        if self.is_spindle && (self.kind != AuxiliaryKind::Drive || self.turn.is_none()) {
            let why = "what turns the spindle is a drive with `turn`: how it is turned";
            problems.push(Problem::at([Step::Key("is_spindle")], why));
        }
        let name = &self.name;
        problems.into_iter().map(|problem| problem.of(&format!("auxiliary `{name}`"))).collect()
    }

    /// Why a value cannot be written into a point.
    fn write_problem(&self, point: &str, value: f64) -> Option<String> {
        match self.point(point) {
            Some(point) if point.access.writes() && point.form != Form::Ascii => point.takes(value).err(),
            _ => Some(format!("`{point}` is no point that can be written")),
        }
    }

    fn reads_number(&self, point: &str) -> bool {
        self.point(point).is_some_and(|point| point.access.reads() && point.form != Form::Ascii)
    }

    fn stop_problems(&self, stop: &StopOrder) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key, message: String| problems.push(Problem::at([Step::Key("stop"), Step::Key(key)], message));
        if let Some(why) = self.write_problem(&stop.point, stop.value) {
            wrong(if self.point(&stop.point).is_some() { "value" } else { "point" }, format!("stop: {why}"));
        }
        if !self.reads_number(&stop.proof) {
            wrong("proof", format!("stop: `{}` is no point that can be read as a number", stop.proof));
        }
        if !stop.proof_max.is_finite() || stop.proof_max < 0.0 {
            wrong("proof_max", "stop: proof_max must be a number from 0".to_owned());
        }
        if !(100..=120_000).contains(&stop.within_ms) {
            wrong("within_ms", "stop: within_ms must be from 100 to 120000".to_owned());
        }
        problems
    }

    fn turn_problems(&self, turn: &TurnOrder) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key, message: String| problems.push(Problem::at([Step::Key("turn"), Step::Key(key)], message));
        if self.point(&turn.speed).is_none_or(|point| !point.access.writes() || point.form == Form::Ascii) {
            wrong("speed", format!("turn: `{}` is no point that can be written", turn.speed));
        }
        if !self.reads_number(&turn.actual) {
            wrong("actual", format!("turn: `{}` is no point that can be read as a number", turn.actual));
        }
        if turn.forward.is_empty() {
            wrong("forward", "turn: it needs what is written to turn forward".to_owned());
        }
        for (key, writes) in [("forward", &turn.forward), ("reverse", &turn.reverse)] {
            for write in writes {
                if let Some(why) = self.write_problem(&write.point, write.value) {
                    wrong(key, format!("turn: {why}"));
                }
            }
        }
        for (key, factor) in [("rpm_per_unit", turn.rpm_per_unit), ("actual_rpm_per_unit", turn.actual_rpm_per_unit)] {
            if !(factor.is_finite() && factor > 0.0) {
                wrong(key, format!("turn: {key} must be a number above 0"));
            }
        }
        if !(turn.tolerance_percent > 0.0 && turn.tolerance_percent <= 50.0) {
            wrong("tolerance_percent", "turn: tolerance_percent must be above 0 and at most 50".to_owned());
        }
        if !(100..=120_000).contains(&turn.within_ms) {
            wrong("within_ms", "turn: within_ms must be from 100 to 120000".to_owned());
        }
        let (low, high) = self.rpm_range();
        if low.partial_cmp(&high).is_none_or(|order| order == std::cmp::Ordering::Greater) {
            wrong("speed", format!("turn: nothing lies between {low} and {high} revolutions per minute"));
        }
        problems
    }
}

pub(super) fn stop_within_ms() -> u64 {
    10_000
}

pub(super) fn two_poles() -> f64 {
    60.0
}

pub(super) fn tolerance_percent() -> f64 {
    5.0
}
