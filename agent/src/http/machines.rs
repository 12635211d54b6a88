//! Routes of machines: status, capability, capacity, stop, clear; health and metrics.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drivers::machine::Machine;
use drivers::session::NOTHING_CHANGED;
use drivers::{Moment, Notice, Request, Snapshot, State as MachineState};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::by_hand::{Body, read};
use super::jobs::From;
use super::people::{Asker, for_whom};
use super::problem::Problem;
use crate::capability::Capability;
use crate::capacity::Capacity;
use crate::desk::{Refusal, facts, no_such_machine};
use crate::status;

/// Longest wait for a sign of life of the desk.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);

pub(super) fn found<'s>(shared: &'s Shared, name: &str) -> Result<&'s Machine, Problem> {
    shared.desk.machine(name).ok_or_else(|| Refusal::Unknown(no_such_machine()).into())
}

pub(super) fn document(shared: &Shared, machine: &Machine) -> Value {
    let queue = shared.desk.queue(machine.name()).borrow().clone();
    status::machine(machine, &queue, &shared.desk.jobs())
}

pub(super) async fn list(State(shared): State<Shared>, Extension(actor): Asker) -> Json<Value> {
    let document = |machine| for_whom(&shared, &actor, document(&shared, machine));
    let machines: Vec<_> = shared.desk.machines().iter().map(document).collect();
    Json(json!({ "machines": machines }))
}

pub(super) async fn one(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(actor): Asker,
) -> Result<Json<Value>, Problem> {
    Ok(Json(for_whom(&shared, &actor, document(&shared, found(&shared, &name)?))))
}

pub(super) async fn capability(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let machine = found(&shared, &name)?;
    let snapshot = machine.snapshot();
    let at = wall(machine, snapshot.at);
    Ok(Json(json!(Capability::of(
        &name,
        machine.profile(),
        snapshot.identity.as_ref(),
        shared.desk.programs().bytes_max(),
        at
    ))))
}

pub(super) async fn capacity(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let machine = found(&shared, &name)?;
    let queue = shared.desk.queue(&name).borrow().clone();
    let capacity = Capacity::of(machine.profile(), &machine.snapshot(), &queue);
    Ok(Json(capacity.document(&name, |moment| wall(machine, moment))))
}

fn wall(machine: &Machine, moment: Moment) -> String {
    crate::sinks::wall(machine.wall_time(Moment::ZERO), moment)
}

/// Emergency stop: straight to the machine's own lane, past the desk.
pub(super) async fn stop(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
) -> Result<Json<Value>, Problem> {
    let machine = found(&shared, &name)?;
    let stopped = machine.stop().await;
    // It acts first, and is written down when the disk can.
    note(&shared, "stop", &name, who);
    stopped?;
    Ok(Json(json!({ "machine": name, "stopped": true })))
}

/// Writes down who asked for what.
pub(super) fn note(shared: &Shared, action: &str, machine: &str, who: From) {
    let told = facts::asked_of_machine(action, machine, who.map(|Extension(who)| who));
    shared.desk.store().tell([told], []);
}

/// A person says: the bed is clear, the alarm is looked at. That it is cleared is answered when the machine shows it.
pub(super) async fn clear(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
) -> Result<Json<Value>, Problem> {
    let machine = found(&shared, &name)?;
    shared.desk.ask(&name, Request::Clear).await?;
    note(&shared, "clear", &name, who);
    shown(machine, CLEAR_PATIENCE, NOTHING_CHANGED, |state| {
        !matches!(state, MachineState::Alarm | MachineState::Connecting | MachineState::Unknown)
    })
    .await?;
    Ok(Json(document(&shared, machine)))
}

/// Why a machine is taken out of service, and until when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceBody {
    reason: String,
    until: Option<String>,
}

/// Takes a machine out of service: no job starts on it until it is put back.
pub(super) async fn out_of_service(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
    body: Body<ServiceBody>,
) -> Result<Json<Value>, Problem> {
    let machine = found(&shared, &name)?;
    let ServiceBody { reason, until } = read(body)?;
    shared.desk.take_out_of_service(&name, &reason, until, who.map(|Extension(who)| who)).await?;
    Ok(Json(document(&shared, machine)))
}

/// Puts a machine back into service.
pub(super) async fn into_service(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
) -> Result<Json<Value>, Problem> {
    let machine = found(&shared, &name)?;
    shared.desk.put_back_into_service(&name, who.map(|Extension(who)| who)).await?;
    Ok(Json(document(&shared, machine)))
}

/// How long a clear may take to show: a second more than the session itself gives it at most.
const CLEAR_PATIENCE: Duration = Duration::from_secs(21);

/// Waits until a machine shows that it left the state it was in. One that does not, or says that it will not, is a
/// problem: nothing changed, and why.
pub(super) async fn shown(
    machine: &Machine,
    patience: Duration,
    code: &str,
    left: impl Fn(MachineState) -> bool,
) -> Result<(), Problem> {
    let mut watch = machine.watch();
    let failed = |snapshot: &Snapshot| snapshot.notice.clone().filter(|notice| notice.code == code);
    let settled = watch.wait_for(|snapshot| left(snapshot.state) || failed(snapshot).is_some());
    let settled = tokio::time::timeout(patience, settled).await;
    let snapshot = match settled {
        Ok(Ok(snapshot)) => snapshot.clone(),
        // It takes longer than that, or its thread is gone.
        _ => machine.snapshot(),
    };
    if left(snapshot.state) {
        return Ok(());
    }
    let notice = failed(&snapshot).unwrap_or_else(|| {
        let seconds = patience.as_secs();
        let why = snapshot.notice.as_ref().map(|notice| format!(" {}", notice.happened)).unwrap_or_default();
        let word = snapshot.state.word();
        Notice::new(
            code,
            format!("Nothing changed within {seconds} s: the machine is {word}.{why}"),
            "It was told, and does not show that it did anything.",
            "Look at the machine; then try again, or switch it off and on.",
        )
    });
    Err(Problem::new(StatusCode::CONFLICT, &notice))
}

/// Whether the agent does what it is for: its tasks live, and its store takes work. What does not is named.
pub(super) async fn health(State(shared): State<Shared>) -> Response {
    let mut problems: Vec<_> = shared.broken.borrow().iter().cloned().collect();
    let alive = tokio::time::timeout(ALIVE_WITHIN, shared.desk.is_alive()).await;
    if alive != Ok(true) && problems.is_empty() {
        let to_do = "Report this with the agent's log, and restart the agent.";
        problems.push(Notice::new("agent.stuck", "The task that looks after jobs does not answer.", "", to_do));
    }
    problems.extend(shared.desk.store().trouble());
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let document = json!({
        "ok": problems.is_empty(), "version": env!("CARGO_PKG_VERSION"),
        "machines": shared.desk.machines().len(), "problems": problems,
    });
    (status, Json(document)).into_response()
}

/// A family of metrics: name, type, help, and a machine's value.
type Family = (&'static str, &'static str, &'static str, fn(&drivers::Snapshot) -> Option<f64>);

/// OpenMetrics text.
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    let families: [Family; 10] = [
        ("fab_machine_up", "gauge", "Whether the machine answers.", |s| {
            Some(f64::from(u8::from(s.identity.is_some())))
        }),
        ("fab_job_commands_sent", "gauge", "Commands of the current job sent.", |s| Some(s.job.as_ref()?.sent as f64)),
        ("fab_job_commands_accepted", "gauge", "Commands answered.", |s| Some(s.job.as_ref()?.accepted as f64)),
        ("fab_job_commands_executed", "gauge", "Commands executed, by evidence.", |s| {
            Some(s.job.as_ref()?.executed as f64)
        }),
        ("fab_job_commands_refused", "gauge", "Commands the machine refused.", |s| {
            Some(s.job.as_ref()?.refused as f64)
        }),
        ("fab_job_commands_ignored", "gauge", "Commands the machine answered and did not do.", |s| {
            Some(s.job.as_ref()?.ignored as f64)
        }),
        ("fab_link_bytes_out", "counter", "Bytes written.", |s| Some(s.link.bytes_out as f64)),
        ("fab_link_bytes_in", "counter", "Bytes read.", |s| Some(s.link.bytes_in as f64)),
        ("fab_link_resends", "counter", "Lines the machine asked for again.", |s| Some(s.link.resends as f64)),
        ("fab_link_answers_lost", "counter", "Answers that never came.", |s| Some(s.link.answers_lost as f64)),
    ];
    for (name, kind, help, value) in families {
        let suffix = if kind == "counter" { "_total" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# TYPE {name} {kind}\n# HELP {name} {help}");
        for machine in shared.desk.machines() {
            if let Some(value) = value(&machine.snapshot()) {
                let _ = writeln!(text, "{name}{suffix}{{machine=\"{}\"}} {value}", machine.name());
            }
        }
    }
    let _ = writeln!(text, "# TYPE fab_machine_temperature_celsius gauge");
    for machine in shared.desk.machines() {
        for heater in &machine.snapshot().temperatures {
            let (machine, name, value) = (machine.name(), &heater.heater, heater.actual_c.value);
            let _ =
                writeln!(text, "fab_machine_temperature_celsius{{machine=\"{machine}\",heater=\"{name}\"}} {value}");
        }
    }
    text.push_str("# EOF\n");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
