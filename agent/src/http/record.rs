//! The record of a job: what became of it, who submitted it, who said that the table is clear, who started it.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Shared;
use super::jobs::found;
use super::problem::Problem;
use crate::desk::Refusal;
use crate::status;

/// Rows of the log in a record. A job that is held and resumed a hundred times has as many.
const ROWS_MAX: usize = 500;

/// What is asked of a job or its machine, and where its name stands in the record.
const PEOPLE: [(&str, &str); 3] = [("submit", "submitted"), ("clear", "cleared"), ("start", "started")];

pub(super) async fn of_job(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let job = found(&shared, &id).await?;
    let rows = shared.desk.store().log_of_job(&job.id, ROWS_MAX).await.map_err(Refusal::Store)?;
    let log: Vec<_> = rows.iter().map(crate::store::Row::document).collect();
    let mut people = json!({});
    for (action, name) in PEOPLE {
        // Of several, the last is the one that counted.
        let asked = log.iter().rev().find(|row| row["type"] == "asked" && row["action"] == action);
        if let Some(asked) = asked {
            people[name] =
                json!({ "who": asked["who"], "from": asked["from"], "at": asked["at"], "number": asked["number"] });
        }
    }
    Ok(Json(json!({ "job": status::job(&job), "people": people, "log": log })))
}
