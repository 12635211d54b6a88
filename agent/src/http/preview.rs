//! The picture of a job's program.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use drivers::Notice;
use serde_json::{Value, json};

use super::Shared;
use super::jobs::{found, refused};
use super::problem::Problem;
use crate::jobs::{JobState, Record};
use crate::status;
use crate::store::Wanted;

/// What a program does, as SVG. The same program on the same machine gives the same picture, so a browser may keep it.
pub(super) async fn svg(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Response, Problem> {
    let job = found(&shared, &id).await?;
    let wanted = Wanted {
        job: job.id.clone(),
        program: shared.desk.programs().path(&job.sha256),
        title: job.name.clone(),
        profile: shared.desk.machine(&job.machine).map(|machine| machine.profile().clone()),
    };
    let kept = (header::CACHE_CONTROL, "private, max-age=86400");
    match shared.desk.previews().svg(wanted).await {
        Ok(svg) => Ok(([(header::CONTENT_TYPE, "image/svg+xml"), kept], svg).into_response()),
        // Nothing is wrong with a program that only heats or waits: it has no picture.
        Err(notice) if notice.code == "preview.no_work" => Ok((StatusCode::NO_CONTENT, [kept]).into_response()),
        Err(notice) => Err(undrawn(&notice)),
    }
}

/// A job as the API shows it, with the address of its picture.
pub(super) fn with_preview(shared: &Shared, job: &Record) -> Value {
    let mut document = status::job(job);
    let key = shared.guard.preview_key(&job.id).map(|key| format!("?key={key}")).unwrap_or_default();
    if job.state == JobState::Queued {
        document["waits_for"] = json!(shared.desk.waits_for(job));
    }
    document["preview"] = json!(format!("/api/v1/jobs/{}/preview.svg{key}", job.id));
    document
}

fn undrawn(notice: &Notice) -> Problem {
    let status = match notice.code.as_str() {
        "preview.busy" => StatusCode::SERVICE_UNAVAILABLE,
        "preview.failed" | "preview.too_slow" => StatusCode::INTERNAL_SERVER_ERROR,
        "job.program_gone" => return refused(notice),
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, notice)
}
