//! Going on after a failure: a program of its own, made from the rest of the failed one, checked and started like any
//! other. Only a person asks for it, and only a person starts it.

use std::io::Write as _;
use std::path::Path;

use axum::extract::{Path as Parameter, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drivers::profile::Profile;
use drivers::snapshot::Quality;
use drivers::{Notice, Snapshot};
use gcode_tools::formats;
use gcode_tools::read::Lines;
use gcode_tools::resume::{Evidence, Plan, Refusal as Obstacle, plan};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Shared;
use super::jobs::{From, found, refused};
use super::problem::Problem;
use crate::desk::{KEEP_EVERY, Refusal, Submission, no_such_machine};
use crate::jobs::{JobState, RESTARTED, Record};
use crate::status;
use crate::store;

/// Bytes of the rest handed over at once, and how many such pieces may wait for the disk.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_WAITING: usize = 4;

/// Failures in which a machine keeps its position: the wire was lost, and not the machine.
const POSITION_KEPT: [&str; 2] = ["link.lost", "machine.fault"];

/// Makes a job of the rest of a failed one. It waits to be started; nothing moves by this.
pub(super) async fn after_failure(
    State(shared): State<Shared>,
    Parameter(id): Parameter<String>,
    who: From,
) -> Result<Response, Problem> {
    let job = found(&shared, &id).await?;
    if job.state != JobState::Failed {
        let message = format!("The job is {}; only a failed one can go on.", job.state.word());
        return Err(obstacle(&Obstacle { code: "resume.not_failed", message }));
    }
    let machine =
        shared.desk.machine(&job.machine).ok_or_else(|| Problem::from(Refusal::Unknown(no_such_machine())))?;
    let evidence = evidence(&job, &machine.snapshot());
    let (path, profile) = (shared.desk.programs().path(&job.sha256), machine.profile().clone());
    let planned = tokio::task::spawn_blocking({
        let path = path.clone();
        move || planned(&path, &profile, &evidence)
    });
    let mut plan =
        planned.await.map_err(|_| obstacle(&unreadable("its reader stopped")))?.map_err(|why| obstacle(&why))?;
    if job.reason.as_ref().is_some_and(|reason| reason.code == RESTARTED) {
        plan.notes.push(format!(
            "The agent was restarted: the line was written down up to {} s before, and what ran after that runs again.",
            KEEP_EVERY.as_secs()
        ));
    }
    let mut arriving = shared.desk.programs().begin(Some(job.bytes)).await.map_err(|notice| refused(&notice))?;
    let (give, mut pieces) = mpsc::channel(PIECES_WAITING);
    let (lead_in, from_line, name) = (plan.lead_in.clone(), plan.from_line, job.name.clone());
    let writer = tokio::task::spawn_blocking(move || write(&path, &name, &lead_in, from_line, &give));
    while let Some(piece) = pieces.recv().await {
        arriving.write(&piece).await.map_err(|notice| refused(&notice))?;
    }
    match writer.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(obstacle(&unreadable(&error.to_string()))),
        Err(_) => return Err(obstacle(&unreadable("its reader stopped"))),
    }
    let program = arriving.finish(None).await.map_err(|notice| refused(&notice))?;
    let name = format!("{} (from line {})", job.name, plan.from_line);
    let who = who.map(|Extension(who)| who);
    let submission = Submission { machine: job.machine.clone(), name, program, idempotency_key: None, who };
    let record = shared.desk.submit(submission).await?;
    let location = format!("/api/v1/jobs/{}", record.id);
    let mut document = status::job(&record);
    document["resumes"] = told(&job, &plan);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(document)).into_response())
}

fn told(job: &Record, plan: &Plan) -> Value {
    json!({
        "job": job.id, "executed_line": job.progress.executed_line, "from_line": plan.from_line,
        "lead_in": plan.lead_in, "notes": plan.notes,
    })
}

/// What is known of the failed job, and of the machine now.
fn evidence(job: &Record, snapshot: &Snapshot) -> Evidence {
    let position = snapshot.position_mm.filter(|position| position.quality == Quality::Good);
    let code = job.reason.as_ref().map_or("", |reason| reason.code.as_str());
    Evidence {
        executed_line: job.progress.executed_line,
        position_mm: position.map(|position| position.value),
        position_kept: POSITION_KEPT.contains(&code),
    }
}

fn planned(path: &Path, profile: &Profile, evidence: &Evidence) -> Result<Plan, Obstacle> {
    let file = store::open_regular(path).map_err(|error| unreadable(&error.to_string()))?;
    let program = formats::open(file).map_err(|error| unreadable(&error.message))?;
    plan(program, profile, evidence)
}

/// The lead-in and the rest of the program, piece by piece.
fn write(
    path: &Path,
    name: &str,
    lead_in: &[String],
    from_line: u64,
    pieces: &mpsc::Sender<Vec<u8>>,
) -> std::io::Result<()> {
    let gone = |_| std::io::Error::other("nobody takes it");
    let mut lines = Lines::new(formats::open(store::open_regular(path)?).map_err(std::io::Error::other)?);
    let name: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || ". -_".contains(*letter)).collect();
    let mut piece = Vec::new();
    writeln!(piece, "; {name} from line {from_line}")?;
    for line in lead_in {
        writeln!(piece, "{line}")?;
    }
    while let Some(line) = lines.next_line()? {
        if line.number >= from_line {
            piece.extend_from_slice(line.bytes);
            piece.push(b'\n');
        }
        if piece.len() >= PIECE_BYTES {
            pieces.blocking_send(std::mem::take(&mut piece)).map_err(gone)?;
        }
    }
    pieces.blocking_send(piece).map_err(gone)
}

fn unreadable(why: &str) -> Obstacle {
    Obstacle { code: "resume.unreadable", message: format!("The program cannot be read: {why}.") }
}

fn obstacle(why: &Obstacle) -> Problem {
    let to_do = "Look at the work; start the program again from the beginning, or finish the part by hand.";
    Problem::new(StatusCode::CONFLICT, &Notice::new(why.code, why.message.as_str(), "Nothing was started.", to_do))
}
