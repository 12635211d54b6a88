//! `fab-agent status`, `stop` and `clear`: the machines of a running agent, from the terminal as quickly as from the page.

use serde_json::Value;

use super::reach::{Reach, failed, printable, reason};
use super::{Failure, print};
use crate::client;

/// What the machines do.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Only this machine
    machine: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// Which machine is asked for something.
#[derive(Debug, clap::Args)]
pub(super) struct Machine {
    /// The machine
    machine: String,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn status(arguments: Status) -> Result<(), Failure> {
    let levels: Vec<_> = ["api", "v1", "machines"].into_iter().chain(arguments.machine.as_deref()).collect();
    let answer = arguments.reach.client()?.get(&client::path(&levels, [])).await.map_err(failed)?;
    if arguments.reach.json {
        print(&answer.to_string());
        return Ok(());
    }
    match answer["machines"].as_array() {
        Some(machines) if machines.is_empty() => print("The agent has no machines."),
        Some(machines) => machines.iter().for_each(say),
        None => say(&answer),
    }
    Ok(())
}

pub(super) async fn stop(arguments: Machine) -> Result<(), Failure> {
    let answer = act(&arguments, "stop").await?;
    if arguments.reach.json {
        print(&answer.to_string());
    } else {
        print(&format!("{}: the stop was sent.", printable(&answer["machine"])));
    }
    Ok(())
}

pub(super) async fn clear(arguments: Machine) -> Result<(), Failure> {
    let answer = act(&arguments, "clear").await?;
    if arguments.reach.json {
        print(&answer.to_string());
    } else {
        say(&answer);
    }
    Ok(())
}

async fn act(arguments: &Machine, action: &str) -> Result<Value, Failure> {
    let path = client::path(&["api", "v1", "machines", &arguments.machine, action], []);
    arguments.reach.client()?.post(&path, "application/json", "").await.map_err(failed)
}

/// A machine in a line, and what it says to people below.
fn say(machine: &Value) {
    for line in lines(machine) {
        print(&line);
    }
}

fn lines(machine: &Value) -> Vec<String> {
    let free = if machine["accepting_jobs"] == true { "accepting jobs" } else { "not accepting jobs" };
    let job = &machine["job"];
    let progress = if job.is_object() && job["state"] != "finished" {
        let percent = job["progress"].as_f64().unwrap_or(0.0) * 100.0;
        format!(", {} {}, {percent:.0} % executed", printable(&job["name"]), printable(&job["state"]))
    } else {
        String::new()
    };
    let mut lines = vec![format!("{}  {}, {free}{progress}", printable(&machine["id"]), printable(&machine["state"]))];
    let notice = &machine["notice"];
    if notice.is_object() {
        lines.push(format!("  {}", reason(notice)));
    }
    let why = &machine["reason"];
    if why.is_object() && why["code"] != notice["code"] {
        lines.push(format!("  {}", reason(why)));
    }
    lines
}

#[cfg(test)]
mod test {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_is_a_line_with_its_reasons_below_and_no_escape_codes() {
        let machine = json!({
            "id": "mill", "state": "attention", "accepting_jobs": false,
            "job": { "name": "\u{1b}[2Jpart.nc", "state": "cancelled", "progress": 0.25 },
            "notice": { "code": "table.not_clear", "happened": "Nobody has said it.", "done": "", "to_do": "Look." },
            "reason": { "code": "table.not_clear", "happened": "Nobody has said it." },
        });
        let wanted = [
            "mill  attention, not accepting jobs, [2Jpart.nc cancelled, 25 % executed",
            "  Nobody has said it. Look. [table.not_clear]",
        ];
        assert_eq!(lines(&machine), wanted);
    }
}
