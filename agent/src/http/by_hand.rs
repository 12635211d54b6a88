//! Routes of people at a machine: home, jog, probe, overrides, answers. Each is the machine's own request; the session
//! decides whether it may be.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use drivers::machine::Machine;
use drivers::request::{Calming, Jog, Override, Probe};
use drivers::{Notice, Request, State as MachineState};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::jobs::From;
use super::machines::{document, found, note, shown};
use super::problem::Problem;

/// A distance along each axis, in millimetres.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Distance {
    x: f64,
    y: f64,
    z: f64,
}

/// A jog, or the end of one.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum JogBody {
    Move { by_mm: Distance, feed_mm_min: f64, press: Option<u64> },
    End { stop: bool, press: Option<u64> },
}

/// A probing move.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeBody {
    down_mm: f64,
    feed_mm_min: f64,
}

/// Overrides in percent; those that are not named stay as they are.
#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are on the network, with their unit")]
#[serde(deny_unknown_fields)]
pub(super) struct OverrideBody {
    feed_percent: Option<u32>,
    rapid_percent: Option<u32>,
    spindle_percent: Option<u32>,
    flow_percent: Option<u32>,
}

/// An answer to what the machine asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerBody {
    choice: u8,
}

pub(super) type Body<T> = Result<Json<T>, JsonRejection>;

/// Asks it of the machine, and answers with how that is then.
async fn ask(shared: &Shared, name: &str, request: Request, who: From) -> Result<Json<Value>, Problem> {
    let machine = found(shared, name)?;
    asked(shared, machine, request, who).await?;
    Ok(Json(document(shared, machine)))
}

/// Asks it of the machine, and writes down who did.
async fn asked(shared: &Shared, machine: &Machine, request: Request, who: From) -> Result<(), Problem> {
    let name = machine.name();
    let action = match &request {
        Request::Home => Some("home"),
        Request::Probe(_) => Some("probe"),
        Request::Override(_) => Some("override"),
        Request::Choose(_) => Some("answer"),
        Request::Resume => Some("resume"),
        // A button that is held asks ten times a second: what began it is written down.
        Request::Jog(_) if machine.snapshot().state != MachineState::Running => Some("jog"),
        _ => None,
    };
    shared.desk.ask(name, request).await?;
    if let Some(action) = action {
        note(shared, action, name, who);
    }
    Ok(())
}

pub(super) async fn home(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
) -> Result<Json<Value>, Problem> {
    ask(&shared, &name, Request::Home, who).await
}

/// A person says that the machine may go on, where no job is what waits.
pub(super) async fn resume(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
) -> Result<Json<Value>, Problem> {
    let machine = found(&shared, &name)?;
    asked(&shared, machine, Request::Resume, who).await?;
    shown(machine, RESUME_PATIENCE, "resume.nothing_changed", |state| {
        !matches!(state, MachineState::Attention | MachineState::Held)
    })
    .await?;
    Ok(Json(document(&shared, machine)))
}

/// How long it may take to show that a machine goes on: one that waits for a person says so every two seconds.
const RESUME_PATIENCE: Duration = Duration::from_secs(6);

pub(super) async fn jog(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
    body: Body<JogBody>,
) -> Result<Json<Value>, Problem> {
    found(&shared, &name)?;
    let request = match read(body)? {
        JogBody::Move { by_mm, feed_mm_min, press } => {
            Request::Jog(Jog { by_mm: [by_mm.x, by_mm.y, by_mm.z], feed_mm_min, press })
        }
        JogBody::End { stop: true, press } => {
            let machine = found(&shared, &name)?;
            machine.calm(Calming::JogStop(press)).await?;
            return Ok(Json(document(&shared, machine)));
        }
        JogBody::End { .. } => return Err(bad("`stop` is true or absent.")),
    };
    ask(&shared, &name, request, who).await
}

pub(super) async fn probe(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
    body: Body<ProbeBody>,
) -> Result<Json<Value>, Problem> {
    found(&shared, &name)?;
    let ProbeBody { down_mm, feed_mm_min } = read(body)?;
    ask(&shared, &name, Request::Probe(Probe { down_mm, feed_mm_min }), who).await
}

pub(super) async fn change_override(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
    body: Body<OverrideBody>,
) -> Result<Json<Value>, Problem> {
    let machine = found(&shared, &name)?;
    let named = read(body)?;
    let changes = [
        named.feed_percent.map(Override::Feed),
        named.rapid_percent.map(Override::Rapid),
        named.spindle_percent.map(Override::Spindle),
        named.flow_percent.map(Override::Flow),
    ];
    if changes.iter().all(Option::is_none) {
        return Err(bad("No override is named."));
    }
    for change in changes.into_iter().flatten() {
        asked(&shared, machine, Request::Override(change), who.clone()).await?;
    }
    Ok(Json(document(&shared, machine)))
}

pub(super) async fn answer(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    who: From,
    body: Body<AnswerBody>,
) -> Result<Json<Value>, Problem> {
    found(&shared, &name)?;
    let AnswerBody { choice } = read(body)?;
    ask(&shared, &name, Request::Choose(choice), who).await
}

pub(super) fn read<T>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(read)| read).map_err(|rejection| bad(&format!("{}.", rejection.body_text())))
}

fn bad(happened: &str) -> Problem {
    let to_do = "Correct the request and send it again; /api/v1/openapi.json says what it holds.";
    Problem::new(StatusCode::BAD_REQUEST, &Notice::new("http.bad_request", happened, "Nothing was done.", to_do))
}

/// What the body of a route holds, as a JSON schema; nothing for routes that take none.
pub(super) fn body_schema(path: &str) -> Option<Value> {
    let number = |what: &str| json!({ "type": "number", "description": what });
    let whole = |what: &str, low: u32, high: u32| json!({ "type": "integer", "minimum": low, "maximum": high, "description": what });
    let object = |properties: Value, required: &[&str]| json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required });
    let press = json!({ "type": "integer", "minimum": 0, "description":
        "The number of one press of a button. With it, the jog lasts only while it is asked for again with the same number, every 300 ms at least." });
    Some(match path.rsplit('/').next()? {
        "jog" => {
            let axis = || number("Distance in millimetres, at most 100");
            let distance = object(json!({ "x": axis(), "y": axis(), "z": axis() }), &[]);
            let feed = number("Feed in mm/min");
            json!({ "oneOf": [
                object(json!({ "by_mm": distance, "feed_mm_min": feed, "press": press }), &["by_mm", "feed_mm_min"]),
                object(json!({ "stop": { "const": true }, "press": press }), &["stop"]),
            ] })
        }
        "probe" => object(
            json!({ "down_mm": number("Furthest way down in millimetres, at most 50"), "feed_mm_min": number("Feed in mm/min, at most 500") }),
            &["down_mm", "feed_mm_min"],
        ),
        "override" => object(
            json!({
                "feed_percent": whole("Feed moves", 10, 200),
                "rapid_percent": { "enum": [25, 50, 100], "description": "Rapid moves" },
                "spindle_percent": whole("Spindle speed or laser power", 10, 200),
                "flow_percent": whole("Extrusion flow", 10, 200),
            }),
            &[],
        ),
        "out-of-service" => object(
            json!({
                "reason": { "type": "string", "description": "Why, in words for people" },
                "until": { "type": "string", "format": "date-time", "description": "Until when; without it, until it is put back" },
            }),
            &["reason"],
        ),
        "answer" => {
            object(json!({ "choice": whole("Place of the answer in `asked.choices`, from 0", 0, 255) }), &["choice"])
        }
        _ => return None,
    })
}
