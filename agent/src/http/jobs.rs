//! Routes of jobs: submit, look, start, pause, resume, cancel.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drivers::Notice;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use super::Shared;
use super::people::Asker;
use super::preview::with_preview;
use super::problem::Problem;
use super::query::{self, Asked};
use crate::access::{What, Whose};
use crate::desk::{Action, Refusal, Submission, no_such_machine};
use crate::jobs::JobState;
use crate::status;
use crate::store::{Page, Who};

/// Jobs on one page of a list, unless asked otherwise, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

/// Longest idempotency key, in characters.
const KEY_MAX: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct NamedUpload {
    name: Option<String>,
}

/// Takes a program in: the body is the program. Submit is not start.
pub(super) async fn submit(
    State(shared): State<Shared>,
    Path(machine): Path<String>,
    query: Asked<NamedUpload>,
    who: Option<Extension<Who>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if shared.desk.machine(&machine).is_none() {
        return Err(Refusal::Unknown(no_such_machine()).into());
    }
    let query = query::read(query)?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let key = text("idempotency-key").map(str::to_owned);
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_MAX) {
        return Err(bad(&format!("The idempotency key must have 1 to {KEY_MAX} characters.")));
    }
    let announced = announced_hash(&headers)?;
    let length = text(header::CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    let mut arriving = shared.desk.programs().begin(length).await.map_err(|notice| refused(&notice))?;
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let bytes = piece.map_err(|_| bad("The upload broke off before its end."))?;
        arriving.write(&bytes).await.map_err(|notice| refused(&notice))?;
    }
    let program = arriving.finish(announced.as_deref()).await.map_err(|notice| refused(&notice))?;
    let name = query.name.unwrap_or_else(|| "program.gcode".to_owned());
    let submission = Submission { machine, name, program, idempotency_key: key, who: who.map(|Extension(who)| who) };
    let record = shared.desk.submit(submission).await?;
    let location = format!("/api/v1/jobs/{}", record.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(status::job(&record))).into_response())
}

/// The SHA-256 that the client announces: `Repr-Digest: sha-256=:base64:` (RFC 9530) or `X-Content-SHA256: hex`.
fn announced_hash(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    use base64::Engine as _;
    if let Some(hex) = headers.get("x-content-sha256") {
        let hex = hex.to_str().unwrap_or_default();
        let is_hash = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return if is_hash {
            Ok(Some(hex.to_owned()))
        } else {
            Err(bad("X-Content-SHA256 must be 64 hexadecimal digits."))
        };
    }
    let Some(digest) = headers.get("repr-digest") else { return Ok(None) };
    let value = digest.to_str().unwrap_or_default().split(',').find_map(|part| part.trim().strip_prefix("sha-256=:"));
    let Some(value) = value else { return Ok(None) };
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.trim_end_matches(':')).unwrap_or_default();
    if bytes.len() != 32 {
        return Err(bad("Repr-Digest must be `sha-256=:…:` with 32 bytes in base 64."));
    }
    Ok(Some(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))))
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    machine: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Jobs, newest first, a page at a time.
pub(super) async fn list(
    State(shared): State<Shared>,
    Extension(actor): Asker,
    wanted: Asked<Wanted>,
) -> Result<Json<Value>, Problem> {
    let wanted = query::read(wanted)?;
    let state = query::word(wanted.state.as_deref(), JobState::of_word, "state of a job")?;
    let limit = query::limit(wanted.limit, PAGE, PAGE_MAX);
    // Programs are private: whoever may not read everybody's sees their own.
    let all = actor.can(What::ReadJob, Whose::Others);
    let owner = if all { None } else { Some(actor.person.clone().unwrap_or_default()) };
    let page = Page { machine: wanted.machine, state, before: wanted.cursor, owner, limit };
    let (jobs, more, trouble) = shared.desk.list(page).await;
    let cursor = jobs.last().filter(|_| more).map(|job| job.id.clone());
    let page: Vec<_> = jobs.iter().map(|job| with_preview(&shared, job)).collect();
    let mut document = json!({ "jobs": page, "cursor": cursor });
    if let Some(trouble) = trouble {
        // What is in memory is told; older jobs are on a disk that does not answer.
        document["incomplete"] = json!(trouble);
    }
    Ok(Json(document))
}

pub(super) async fn one(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let job = found(&shared, &id).await?;
    Ok(Json(with_preview(&shared, &job)))
}

pub(super) async fn findings(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let job = found(&shared, &id).await?;
    Ok(Json(json!({ "job": job.id, "findings": job.findings })))
}

/// The program as it was submitted, as text and nothing else.
pub(super) async fn program(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Response, Problem> {
    let job = found(&shared, &id).await?;
    let gone = || refused(&Notice::new("job.program_gone", "The program of this job is no longer kept.", "", ""));
    let content = shared.desk.programs().content(&job.sha256).await.map_err(|_| gone())?;
    let body = Body::from_stream(content);
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_LENGTH, job.bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.gcode\"", job.id)),
    ];
    Ok((headers, body).into_response())
}

pub(super) async fn start(shared: State<Shared>, id: Path<String>, who: From) -> Result<Json<Value>, Problem> {
    act(shared, id, who, Action::Start).await
}

pub(super) async fn pause(shared: State<Shared>, id: Path<String>, who: From) -> Result<Json<Value>, Problem> {
    act(shared, id, who, Action::Pause).await
}

pub(super) async fn resume(shared: State<Shared>, id: Path<String>, who: From) -> Result<Json<Value>, Problem> {
    act(shared, id, who, Action::Resume).await
}

pub(super) async fn cancel(shared: State<Shared>, id: Path<String>, who: From) -> Result<Json<Value>, Problem> {
    act(shared, id, who, Action::Cancel).await
}

/// Forgets a job that is not on a machine, with its program.
pub(super) async fn delete(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    who: From,
) -> Result<StatusCode, Problem> {
    shared.desk.act(&id, Action::Delete, who.map(|Extension(who)| who)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who asks, where that is known.
pub(super) type From = Option<Extension<Who>>;

async fn act(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    who: From,
    action: Action,
) -> Result<Json<Value>, Problem> {
    let job = shared.desk.act(&id, action, who.map(|Extension(who)| who)).await?;
    Ok(Json(status::job(&job)))
}

pub(super) async fn found(shared: &Shared, id: &str) -> Result<std::sync::Arc<crate::jobs::Record>, Problem> {
    Ok(shared.desk.job(id).await?)
}

pub(super) fn bad(happened: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        &Notice::new("http.bad_request", happened, "Nothing was kept.", "Correct the request and send it again."),
    )
}

pub(super) fn refused(notice: &Notice) -> Problem {
    let status = match notice.code.as_str() {
        "job.too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "store.full" => StatusCode::INSUFFICIENT_STORAGE,
        "job.program_gone" => StatusCode::GONE,
        "job.hash_mismatch" => StatusCode::UNPROCESSABLE_ENTITY,
        "store.slow" | "store.busy" | "store.read_only" | "store.damaged" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, notice)
}
