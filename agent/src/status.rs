//! What is true of a machine and of a job, as JSON: one form for the page, the API and everybody else.

use std::time::SystemTime;

use drivers::doctor::{self, Surroundings};
use drivers::machine::Machine;
use drivers::snapshot::Snapshot;
use drivers::{Event, Moment, Notice};
use serde_json::{Value, json};

use crate::capacity::{Capacity, Queue};
use crate::host::surroundings;
use crate::jobs::{JobState, Jobs, Record};
use crate::sinks::wall;

/// The fields that hold moments: numbers inside the agent, RFC 3339 on the network.
const MOMENT_FIELDS: [&str; 4] = ["at", "since", "started_at", "ended_at"];

/// A machine's live status.
pub fn machine(machine: &Machine, queue: &Queue, jobs: &Jobs) -> Value {
    let snapshot = machine.snapshot();
    let epoch = machine.wall_time(Moment::ZERO);
    let mut document = stamped(json!(*snapshot), epoch);
    let profile = machine.profile();
    document["id"] = json!(machine.name());
    document["title"] = json!(profile.title);
    document["kind"] = json!(profile.kind);
    document["dialect"] = json!(profile.dialect);
    document["profile"] = json!(profile.name);
    document["out_of_service"] = json!(queue.out_of_service);
    document["job"] = current_job(&snapshot, jobs, epoch);
    document["link"]["likely_cause"] = json!(likely_cause(&snapshot, surroundings::read()));
    let capacity = Capacity::of(profile, &snapshot, queue).document(machine.name(), |moment| wall(epoch, moment));
    for field in ["accepting_jobs", "reason", "free_at", "queue_length"] {
        document[field] = capacity[field].clone();
    }
    document
}

/// What is likely wrong with the link: of the job, where there is one, and otherwise since the link was opened.
pub(crate) fn likely_cause(snapshot: &Snapshot, around: Surroundings) -> Option<Notice> {
    let counters = if snapshot.job.is_some() { &snapshot.job_link } else { &snapshot.link };
    doctor::diagnose(counters, snapshot.identity.is_some(), around)
}

/// The job on a machine, with what the records know of it.
fn current_job(snapshot: &Snapshot, jobs: &Jobs, epoch: SystemTime) -> Value {
    let Some(progress) = &snapshot.job else { return Value::Null };
    let mut document = stamped(json!(progress), epoch);
    document["id"] = json!(progress.job);
    document["state"] = json!(progress.phase.word());
    if let Some(record) = jobs.get(&progress.job) {
        document["name"] = json!(record.name);
        document["commands"] = json!(record.commands.max(progress.commands));
        if !progress.phase.is_over() {
            document["time_left_s"] = json!(record.time_left_s(progress.executed_line).map(f64::round));
        }
        document["time_s"] = json!(record.time_s);
        document["layers"] = json!((record.layers > 0).then_some(record.layers));
    }
    let commands = document["commands"].as_u64().unwrap_or(0);
    if commands > 0 {
        document["progress"] = json!((progress.executed as f64 / commands as f64 * 1000.0).floor() / 1000.0);
    }
    document
}

/// A job as the API shows it: its record without what is kept for other routes.
pub fn job(record: &Record) -> Value {
    let mut document = json!(record);
    document["findings"] = json!(record.findings.len());
    if let Some(fields) = document.as_object_mut() {
        fields.remove("time_line");
        fields.remove("idempotency_key");
    }
    let fraction = match record.state {
        // What the machine refused or ignored of it is counted beside this.
        JobState::Finished => 1.0,
        _ if record.commands == 0 => 0.0,
        _ => record.progress.executed as f64 / record.commands as f64,
    };
    document["progress"]["fraction"] = json!((fraction * 1000.0).floor() / 1000.0);
    document
}

/// An event of a machine.
pub fn event(machine: &str, epoch: SystemTime, event: &Event) -> Value {
    let mut document = stamped(json!(event), epoch);
    document["machine"] = json!(machine);
    document
}

/// Turns the moments of a document into RFC 3339 text, wherever they are.
pub(crate) fn stamp(value: &mut Value, epoch: SystemTime) {
    match value {
        Value::Object(map) => {
            for (name, field) in map {
                match field.as_u64() {
                    Some(moment) if MOMENT_FIELDS.contains(&name.as_str()) => {
                        *field = json!(wall(epoch, Moment(moment)));
                    }
                    _ => stamp(field, epoch),
                }
            }
        }
        Value::Array(fields) => fields.iter_mut().for_each(|field| stamp(field, epoch)),
        _ => {}
    }
}

fn stamped(mut value: Value, epoch: SystemTime) -> Value {
    stamp(&mut value, epoch);
    value
}
