//! Whether a snapshot says something that the last one did not: readings have a dead band. Pure.
//!
//! A sensor is never still, and a machine that is asked every second answers every second. What did not leave its dead
//! band is not said again: the agent's heartbeat confirms it.

use drivers::Snapshot;
use drivers::modbus::Value;
use drivers::snapshot::{Beside, LinkCounters, Reading};

/// The smallest change of a temperature worth a message, in °C. Thermistors as Marlin reads them jitter by 0.1 to 0.2 °C
/// either way; a hot end that is held moves by as much.
pub(super) const TEMPERATURE_C: f64 = 0.5;

/// The smallest change of a position, in mm. Grbl reports three decimals and Marlin two; a hundredth is below any step
/// people look at, and a machine that stands reports the same figure.
pub(super) const POSITION_MM: f64 = 0.01;

/// The smallest change of a job's progress, in percent.
pub(super) const PROGRESS_PERCENT: f64 = 0.1;

/// The smallest change of anything else: a feed in mm/min, a speed in revolutions per minute.
pub(super) const OTHER: f64 = 1.0;

/// The smallest change of what a device beside the machine reads, as a part of the reading: a meter's voltage and current
/// are never still.
const BESIDE_PART: f64 = 0.02;

/// What `now` says to somebody who knows `said`: readings inside their dead band, and what only says that time passes, are
/// as they were.
fn settled(now: &Snapshot, said: &Snapshot) -> Snapshot {
    let mut seen = now.clone();
    seen.generation = said.generation;
    seen.at = said.at;
    settle(&mut seen.position_mm, said.position_mm.as_ref(), POSITION_MM);
    settle(&mut seen.work_position_mm, said.work_position_mm.as_ref(), POSITION_MM);
    settle(&mut seen.feed_mm_min, said.feed_mm_min.as_ref(), OTHER);
    settle(&mut seen.spindle, said.spindle.as_ref(), OTHER);
    if let (Some(reading), Some(said)) = (&mut seen.overrides, &said.overrides) {
        if reading.value == said.value && reading.quality == said.quality {
            reading.at = said.at;
        }
    }
    for (heater, said) in seen.temperatures.iter_mut().zip(&said.temperatures) {
        settle_one(&mut heater.actual_c, &said.actual_c, TEMPERATURE_C);
    }
    for (device, said) in seen.auxiliary.iter_mut().zip(&said.auxiliary) {
        settle_beside(device, said);
    }
    seen.link = without_traffic(seen.link, said.link);
    seen.job_link = without_traffic(seen.job_link, said.job_link);
    seen
}

/// Whether a snapshot says something new to somebody who knows `said`.
pub(super) fn is_news(now: &Snapshot, said: &Snapshot) -> bool {
    settled(now, said) != *said
}

/// Whether somebody who knows `said` should not wait for it: what is done, why, and how good the readings are.
pub(super) fn is_urgent(now: &Snapshot, said: &Snapshot) -> bool {
    let phase = |snapshot: &Snapshot| snapshot.job.as_ref().map(|job| (job.job.clone(), job.phase));
    now.state != said.state
        || now.notice != said.notice
        || now.asked != said.asked
        || phase(now) != phase(said)
        || qualities(now) != qualities(said)
}

/// How good each reading is.
fn qualities(snapshot: &Snapshot) -> Vec<Option<drivers::snapshot::Quality>> {
    let mut qualities = vec![
        snapshot.position_mm.map(|reading| reading.quality),
        snapshot.work_position_mm.map(|reading| reading.quality),
        snapshot.feed_mm_min.map(|reading| reading.quality),
        snapshot.spindle.map(|reading| reading.quality),
    ];
    qualities.extend(snapshot.temperatures.iter().map(|heater| Some(heater.actual_c.quality)));
    qualities
}

/// A reading of one number or of several.
trait Measured: PartialEq + Clone {
    /// The largest difference.
    fn differs(&self, other: &Self) -> f64;
}

impl Measured for f64 {
    fn differs(&self, other: &Self) -> f64 {
        (self - other).abs()
    }
}

impl Measured for [f64; 3] {
    fn differs(&self, other: &Self) -> f64 {
        self.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
}

fn settle<T: Measured>(now: &mut Option<Reading<T>>, said: Option<&Reading<T>>, band: f64) {
    if let (Some(now), Some(said)) = (now, said) {
        settle_one(now, said, band);
    }
}

fn settle_one<T: Measured>(now: &mut Reading<T>, said: &Reading<T>, band: f64) {
    if now.quality == said.quality && now.value.differs(&said.value) < band {
        now.clone_from(said);
    }
}

fn settle_beside(now: &mut Beside, said: &Beside) {
    for (point, said) in now.readings.iter_mut().zip(&said.readings) {
        let (Some(reading), Some(said)) = (&mut point.reading, &said.reading) else { continue };
        let inside = match (&reading.value, &said.value) {
            (Value::Number(now), Value::Number(said)) => (now - said).abs() <= said.abs() * BESIDE_PART,
            (now, said) => now == said,
        };
        if inside && reading.quality == said.quality {
            reading.clone_from(said);
        }
    }
    if let (Some(turns), Some(said)) = (now.turns_rpm, said.turns_rpm) {
        if (turns - said).abs() <= said.abs() * BESIDE_PART {
            now.turns_rpm = Some(said);
        }
    }
}

/// What is counted only because the machine is talked to.
fn without_traffic(now: LinkCounters, said: LinkCounters) -> LinkCounters {
    LinkCounters {
        bytes_out: said.bytes_out,
        bytes_in: said.bytes_in,
        lines_out: said.lines_out,
        bytes_spindle_on: said.bytes_spindle_on,
        chatter: said.chatter,
        late_host: said.late_host,
        late_host_max_ms: said.late_host_max_ms,
        starved_ms: said.starved_ms,
        ..now
    }
}

#[cfg(test)]
mod test {
    use drivers::snapshot::{Quality, Temperature};
    use drivers::{Moment, State};

    use super::*;

    fn warm(actual_c: f64, at: u64) -> Snapshot {
        let heater =
            Temperature { heater: "tool0".into(), actual_c: Reading::fresh(actual_c, Moment(at)), target_c: Some(0.0) };
        Snapshot { state: State::Idle, temperatures: vec![heater], since: Moment(0), ..Snapshot::unknown(Moment(at)) }
    }

    #[test]
    fn two_kilobytes_a_second_were_said_of_a_machine_that_did_nothing() {
        let said = warm(21.3, 1);
        let mut later = warm(21.5, 900);
        later.generation = 55;
        (later.link.bytes_in, later.link.bytes_out) = (10_000, 900);
        assert!(!is_news(&later, &said));
        assert!(is_news(&warm(21.9, 900), &said));
    }

    #[test]
    fn what_goes_stale_is_news_at_once() {
        let said = warm(21.3, 1);
        let mut stale = said.clone();
        stale.temperatures[0].actual_c.quality = Quality::Stale;
        assert!(is_news(&stale, &said) && is_urgent(&stale, &said));
        assert!(!is_urgent(&warm(25.0, 2), &said));
    }

    #[test]
    fn a_drift_is_told_when_it_has_left_the_band_of_what_was_told() {
        let said = warm(20.0, 1);
        let steps = (1..10).map(|step| warm(20.0 + f64::from(step) / 10.0, 1 + step as u64));
        assert_eq!(steps.filter(|now| is_news(now, &said)).count(), 5, "0.5 and beyond, against what was told last");
    }

    #[test]
    fn damage_on_the_line_is_news_and_traffic_is_not() {
        let said = warm(20.0, 1);
        let mut now = said.clone();
        now.link.lines_out += 10;
        assert!(!is_news(&now, &said));
        now.link.resends += 1;
        assert!(is_news(&now, &said));
    }
}
