//! What a meter beside a machine measured for a job: its counter at the end less its counter at the start.

use super::Meaning;
use crate::Moment;
use crate::snapshot::{Beside, Progress};

/// The energy of the job on a machine.
#[derive(Debug, Clone, Default)]
pub struct Energy {
    /// When the job started that is being measured, and the counter then, in kilowatt-hours.
    job: Option<(Moment, f64)>,
    /// What it took, once it is over.
    total_kwh: Option<f64>,
}

impl Energy {
    /// Notes what the meter says, and enters into the job what it has taken so far. A job whose start no good reading
    /// covers gets no number.
    pub fn note(&mut self, now: Moment, beside: &[Beside], job: &mut Progress) {
        if self.job.is_none_or(|(started_at, _)| started_at != job.started_at) {
            self.job = None;
            self.total_kwh = None;
            // A job that ran before anybody measured cannot be measured any more.
            if job.phase.is_over() {
                return;
            }
            let Some(counter) = counter_kwh(beside, job.started_at) else { return };
            self.job = Some((job.started_at, counter));
        }
        if self.total_kwh.is_none() {
            let until = job.ended_at.unwrap_or(now);
            let taken = self.job.zip(counter_kwh(beside, until)).map(|((_, first), last)| (last - first).max(0.0));
            job.energy_kwh = taken;
            if job.phase.is_over() {
                self.total_kwh = taken;
            }
            return;
        }
        job.energy_kwh = self.total_kwh;
    }
}

/// The counter at a moment near the last reading: what was read, and the power of that time for the seconds between.
fn counter_kwh(beside: &[Beside], at: Moment) -> Option<f64> {
    let meter = beside.iter().find(|device| device.number(Meaning::Energy).is_some())?;
    let energy = meter.number(Meaning::Energy)?;
    let power_w = meter.number(Meaning::Power).map_or(0.0, |power| power.value);
    let seconds = at.since(energy.at).as_secs_f64() - energy.at.since(at).as_secs_f64();
    Some(energy.value + power_w * seconds / 3.6e6)
}

#[cfg(test)]
mod test {
    use std::time::Duration;

    use super::super::Attached;
    use super::super::attached::test::auxiliary;
    use super::*;
    use crate::sim::modbus::{Device, Meter};
    use crate::snapshot::JobPhase;

    const METER: &str = r#"
        name = "meter"
        kind = "meter"
        [modbus]
        unit = 3
        [[modbus.points]]
        name = "power"
        table = "input"
        address = 12
        type = "f32"
        meaning = "power"
        [[modbus.points]]
        name = "energy"
        table = "input"
        address = 72
        type = "f32"
        meaning = "energy"
    "#;

    fn job(started_at: Moment) -> Progress {
        Progress::begun("job".into(), 0, started_at)
    }

    #[test]
    fn the_energy_of_a_job_is_within_a_hundredth_of_the_truth() {
        let (mut meter, mut energy) = (Meter::default(), Energy::default());
        let mut attached = Attached::new(auxiliary(METER), Moment::ZERO);
        let at = |tenths: u64| Moment::ZERO + Duration::from_millis(tenths * 100);
        let mut running = job(at(100));
        let (mut truth, mut first) = (0.0, 0.0);
        for tenths in 0..=4_000_u64 {
            let now = at(tenths);
            // Idle, then a machine whose load changes every seven seconds.
            meter.load(
                now,
                if (100..3_700).contains(&tenths) { 200.0 + 150.0 * (tenths / 70 % 5) as f64 } else { 40.0 },
            );
            while let Some(question) = attached.question(now) {
                let words = meter.ask(now, &question).unwrap();
                attached.answered(now, &question, &words);
            }
            if tenths == 100 {
                first = meter.energy_kwh();
            }
            if tenths == 3_700 {
                truth = meter.energy_kwh() - first;
                (running.phase, running.ended_at) = (JobPhase::Finished, Some(now));
            }
            if tenths >= 100 {
                energy.note(now, &[attached.snapshot(now)], &mut running);
            }
        }
        let measured = running.energy_kwh.unwrap();
        assert!((measured / truth - 1.0).abs() < 0.01, "{measured} kWh measured, {truth} kWh taken");
    }

    #[test]
    fn a_job_without_a_meter_or_with_a_silent_one_has_no_number() {
        let mut running = job(Moment::ZERO);
        Energy::default().note(Moment::ZERO, &[], &mut running);
        assert_eq!(running.energy_kwh, None);
        let attached = Attached::new(auxiliary(METER), Moment::ZERO);
        Energy::default().note(Moment::ZERO, &[attached.snapshot(Moment::ZERO)], &mut running);
        assert_eq!(running.energy_kwh, None);
    }
}
