//! `fab-agent job`: a client of a running agent, over the HTTP that everybody uses.

use std::path::{Path, PathBuf};

use drivers::Notice;
use serde_json::Value;

use super::reach::{Reach, failed, printable, reason};
use super::{Failure, print};
use crate::client::{self, Client};

/// What is to be done with the jobs of a running agent.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Submits a program. It is checked and waits: submit is not start
    Submit {
        /// The program
        file: PathBuf,
        /// The machine it is for
        #[arg(long)]
        machine: String,
        /// Its name for people; without it, the file's
        #[arg(long)]
        name: Option<String>,
    },
    /// Lists jobs, newest first
    List {
        /// Only those of this machine
        #[arg(long)]
        machine: Option<String>,
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
    },
    /// Shows one job and what was found in its program
    Show {
        /// The job
        job: String,
    },
    /// Starts a job that waits. Look at the machine first
    Start {
        /// The job
        job: String,
    },
    /// Holds a running job
    Pause {
        /// The job
        job: String,
    },
    /// Lets a held job go on
    Resume {
        /// The job
        job: String,
    },
    /// Ends a job early and makes the machine safe
    Cancel {
        /// The job
        job: String,
    },
    /// Makes a job of the rest of a failed one, which waits to be started, or says why not
    ResumeAfterFailure {
        /// The job that failed
        job: String,
    },
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.reach.client()?;
    let answer = match &arguments.command {
        Command::Submit { file, machine, name } => submit(&client, file, machine, name.as_deref()).await?,
        Command::List { machine, state } => {
            let filters = [("machine", machine), ("state", state)];
            let filters = filters.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
            client.get(&client::path(&["api", "v1", "jobs"], filters)).await.map_err(failed)?
        }
        Command::Show { job } => {
            let mut shown = client.get(&of(job, None)).await.map_err(failed)?;
            shown["findings"] = client.get(&of(job, Some("findings"))).await.map_err(failed)?["findings"].take();
            shown
        }
        Command::Start { job } => act(&client, job, "start").await?,
        Command::Pause { job } => act(&client, job, "pause").await?,
        Command::Resume { job } => act(&client, job, "resume").await?,
        Command::Cancel { job } => act(&client, job, "cancel").await?,
        Command::ResumeAfterFailure { job } => act(&client, job, "resume-after-failure").await?,
    };
    if arguments.reach.json {
        print(&answer.to_string());
    } else {
        say(&answer);
    }
    // A refused program is a reason, not a success: scripts read the exit code.
    if answer["state"] == "refused" { Err(Failure::Told) } else { Ok(()) }
}

async fn submit(client: &Client, file: &Path, machine: &str, name: Option<&str>) -> Result<Value, Failure> {
    let named = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let path = client::path(&["api", "v1", "machines", machine, "jobs"], [("name", name.unwrap_or(&named))]);
    let opened = tokio::fs::File::open(file).await.map_err(|error| {
        Notice::new(
            "file.missing",
            format!("{} cannot be read: {error}.", file.display()),
            "Nothing was submitted.",
            "Check the path.",
        )
    })?;
    client.upload(&path, opened).await.map_err(failed)
}

async fn act(client: &Client, job: &str, action: &str) -> Result<Value, Failure> {
    client.post(&of(job, Some(action)), "application/json", "").await.map_err(failed)
}

/// The address of a job, or of something that belongs to it.
fn of(job: &str, part: Option<&str>) -> String {
    let levels: Vec<_> = ["api", "v1", "jobs", job].into_iter().chain(part).collect();
    client::path(&levels, [])
}

/// Says one job, or each of a list, in a line.
fn say(answer: &Value) {
    match answer["jobs"].as_array() {
        Some(jobs) if jobs.is_empty() => print("There are no such jobs."),
        Some(jobs) => jobs.iter().for_each(|job| print(&line(job))),
        None => print(&line(answer)),
    }
    for finding in answer["findings"].as_array().into_iter().flatten() {
        print(&format!(
            "  line {}: {} {} [{}]",
            finding["line"],
            printable(&finding["message"]),
            printable(&finding["help"]),
            printable(&finding["code"])
        ));
    }
    if answer["reason"].is_object() {
        print(&format!("  {}", reason(&answer["reason"])));
    }
    let texts = |field: &str| answer["resumes"][field].as_array().into_iter().flatten().map(printable);
    texts("notes").for_each(|note| print(&format!("  {note}")));
    if answer["resumes"].is_object() {
        print("  These lines come first:");
        texts("lead_in").for_each(|line| print(&format!("    {line}")));
        print(&format!("  It waits: `fab-agent job start {}` starts it.", printable(&answer["id"])));
    }
}

fn line(job: &Value) -> String {
    let percent = job["progress"]["fraction"].as_f64().unwrap_or(0.0) * 100.0;
    format!(
        "{}  {:<9} {:>3.0} %  {}  {}",
        printable(&job["id"]),
        printable(&job["state"]),
        percent,
        printable(&job["machine"]),
        printable(&job["name"])
    )
}

#[cfg(test)]
mod test {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_with_escape_codes_does_not_reach_the_terminal() {
        let job = json!({ "id": "a", "state": "queued", "machine": "mill", "name": "\u{1b}[2Jpart.nc" });
        assert_eq!(line(&job), "a  queued      0 %  mill  [2Jpart.nc");
    }
}
