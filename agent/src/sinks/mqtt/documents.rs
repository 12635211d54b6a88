//! What the machine topics carry: a snapshot, a job, an event and a sample as JSON. Pure.

use std::collections::BTreeMap;
use std::time::SystemTime;

use drivers::Snapshot;
use drivers::snapshot::{JobPhase, Progress, Quality, Reading};
use serde_json::{Value, json};

use super::news;
use crate::host::surroundings;
use crate::status::{likely_cause, stamp};

/// The snapshot: each reading with its value, when it was taken, and how good it is.
pub(super) fn state(machine: &str, agent: &str, epoch: SystemTime, snapshot: &Snapshot) -> Value {
    let mut document = serde_json::to_value(snapshot).unwrap_or_default();
    stamp(&mut document, epoch);
    document["machine"] = json!(machine);
    document["agent"] = json!(agent);
    document["link"]["likely_cause"] = json!(likely_cause(snapshot, surroundings::read()));
    document
}

/// The current job, or the last one; `null` for none since the agent started.
pub(super) fn job(machine: &str, agent: &str, epoch: SystemTime, snapshot: &Snapshot) -> Value {
    let mut document = snapshot.job.as_ref().map_or_else(|| json!({ "job": null }), |job| json!(job));
    document["at"] = json!(snapshot.at);
    stamp(&mut document, epoch);
    document["machine"] = json!(machine);
    document["agent"] = json!(agent);
    if let Some(job) = &snapshot.job {
        document["progress_percent"] = json!(progress_percent(job));
    }
    document
}

/// How much of a job is executed, by evidence, in percent: a lower bound.
fn progress_percent(job: &Progress) -> f64 {
    if job.phase == JobPhase::Finished {
        return 100.0;
    }
    if job.commands == 0 {
        return 0.0;
    }
    (job.executed as f64 / job.commands as f64 * 1000.0).floor() / 10.0
}

/// What moves and heats, as flat names with their unit last: the form that time-series databases take.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sample(BTreeMap<String, f64>);

impl Sample {
    /// The good readings of a snapshot. What is stale is not a sample.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut values = BTreeMap::new();
        let mut put = |name: String, value: f64| {
            if value.is_finite() {
                values.insert(name, value);
            }
        };
        for (prefix, reading) in [("", snapshot.position_mm), ("work_", snapshot.work_position_mm)] {
            for (axis, value) in ["x", "y", "z"].iter().zip(reading.filter(is_good).map(|r| r.value).iter().flatten()) {
                put(format!("{prefix}{axis}_mm"), *value);
            }
        }
        if let Some(reading) = snapshot.feed_mm_min.filter(is_good) {
            put("feed_mm_min".into(), reading.value);
        }
        if let Some(reading) = snapshot.spindle.filter(is_good) {
            put("spindle".into(), reading.value);
        }
        for temperature in snapshot.temperatures.iter().filter(|temperature| is_good(&temperature.actual_c)) {
            put(format!("{}_c", temperature.heater), temperature.actual_c.value);
            if let Some(target) = temperature.target_c {
                put(format!("{}_target_c", temperature.heater), target);
            }
        }
        if let Some(job) = snapshot.job.as_ref().filter(|job| !job.phase.is_over()) {
            put("progress_percent".into(), progress_percent(job));
        }
        Self(values)
    }

    /// Whether it says something that `earlier` did not: a value that came, went, or left its dead band.
    pub(super) fn is_news_after(&self, earlier: &Self) -> bool {
        self.0.len() != earlier.0.len()
            || self.0.iter().any(|(name, value)| match earlier.0.get(name) {
                Some(before) => (value - before).abs() >= dead_band(name),
                None => true,
            })
    }

    /// The sample on the network.
    pub(super) fn document(&self, at: &str) -> Value {
        let mut document = json!(self.0);
        document["at"] = json!(at);
        document
    }
}

/// The smallest change worth a message: below it lies what sensors and rounding make by themselves.
fn dead_band(name: &str) -> f64 {
    match name {
        _ if name.ends_with("_c") => news::TEMPERATURE_C,
        _ if name.ends_with("_mm") => news::POSITION_MM,
        "progress_percent" => news::PROGRESS_PERCENT,
        _ => news::OTHER,
    }
}

fn is_good<T>(reading: &Reading<T>) -> bool {
    reading.quality == Quality::Good
}

#[cfg(test)]
mod test {
    use drivers::Moment;
    use drivers::snapshot::Temperature;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn warm(actual_c: f64) -> Snapshot {
        Snapshot {
            position_mm: Some(Reading::fresh([1.0, 2.0, 3.0], at(5))),
            temperatures: vec![Temperature {
                heater: "tool0".into(),
                actual_c: Reading::fresh(actual_c, at(6)),
                target_c: Some(210.0),
            }],
            ..Snapshot::unknown(at(7))
        }
    }

    #[test]
    fn every_reading_on_the_network_has_its_time_and_quality() {
        let document = state("p", "pi", SystemTime::UNIX_EPOCH, &warm(200.0));
        assert_eq!(document["at"], "1970-01-01T00:00:07.000Z");
        let position = &document["position_mm"];
        assert_eq!(position["at"], "1970-01-01T00:00:05.000Z");
        assert_eq!((&position["quality"], &position["value"]), (&json!("good"), &json!([1.0, 2.0, 3.0])));
        assert_eq!(document["temperatures"][0]["actual_c"]["at"], "1970-01-01T00:00:06.000Z");
    }

    #[test]
    fn a_sample_is_news_only_outside_its_dead_band() {
        let sample = Sample::of(&warm(200.0));
        assert!(!Sample::of(&warm(200.4)).is_news_after(&sample));
        assert!(Sample::of(&warm(200.6)).is_news_after(&sample));
        let mut stale = warm(200.0);
        stale.temperatures[0].actual_c.quality = Quality::Stale;
        let without = Sample::of(&stale);
        assert!(without.is_news_after(&sample), "a value that goes stale leaves the samples");
        assert_eq!(sample.document("t")["tool0_target_c"], 210.0);
    }

    #[test]
    fn no_job_is_said_as_null() {
        let document = job("p", "pi", SystemTime::UNIX_EPOCH, &warm(20.0));
        assert_eq!(document["job"], Value::Null);
        assert_eq!(document["at"], "1970-01-01T00:00:07.000Z");
    }
}
