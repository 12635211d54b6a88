//! `fab-agent member`: who there is, and what they may.

use std::io::{IsTerminal as _, Read as _};

use drivers::Notice;
use hyper::Method;
use serde_json::{Value, json};

use super::reach::{Reach, failed, printable};
use super::{Failure, print};
use crate::access::Role;
use crate::client;

/// Longest PIN that is read from standard input, in bytes.
const PIN_BYTES_MAX: u64 = 256;

/// Who there is, and what they may.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Adds somebody
    Add {
        /// Their name
        name: String,
        /// What they are: viewer, member, operator, admin, platform
        #[arg(long, value_parser = role)]
        role: Role,
        /// A machine they may work at, as often as there are; with =DATE, until then (2027-05-31T00:00:00Z)
        #[arg(long, value_name = "MACHINE[=DATE]")]
        competence: Vec<String>,
        /// Read their PIN from standard input
        #[arg(long)]
        pin: bool,
    },
    /// Lists everybody
    List,
    /// Changes what somebody is or may work at
    Set {
        /// Their name
        name: String,
        /// What they are from now on
        #[arg(long, value_parser = role)]
        role: Option<Role>,
        /// The machines they may work at, instead of those until now
        #[arg(long, value_name = "MACHINE[=DATE]")]
        competence: Option<Vec<String>>,
        /// No machine any more
        #[arg(long, conflicts_with = "competence")]
        no_competence: bool,
        /// Read a new PIN from standard input
        #[arg(long)]
        pin: bool,
    },
    /// Removes somebody, and with them their tokens
    Remove {
        /// Their name
        name: String,
    },
}

fn role(word: &str) -> Result<Role, String> {
    let known = || Role::ALL.map(Role::word).join(", ");
    Role::of_word(word).ok_or_else(|| format!("known are {}", known()))
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.reach.client()?;
    let of = |name: &str| client::path(&["api", "v1", "members", name], []);
    let answer = match arguments.command {
        Command::Add { name, role, competence, pin } => {
            let pin = pin.then(read_pin).transpose()?;
            let body = json!({ "name": name, "role": role, "competence": machines(&competence), "pin": pin });
            client.post("/api/v1/members", "application/json", body.to_string()).await.map_err(failed)?
        }
        Command::List => client.get("/api/v1/members").await.map_err(failed)?,
        Command::Set { name, role, competence, no_competence, pin } => {
            let mut body = json!({});
            if let Some(role) = role {
                body["role"] = json!(role);
            }
            if no_competence || competence.is_some() {
                body["competence"] = json!(machines(&competence.unwrap_or_default()));
            }
            let mut answer = client.change(Method::PATCH, &of(&name), body.to_string()).await.map_err(failed)?;
            if pin {
                let (path, pin) = (client::path(&["api", "v1", "members", &name, "pin"], []), read_pin()?);
                let body = json!({ "pin": pin }).to_string();
                answer = client.change(Method::PUT, &path, body).await.map_err(failed)?;
            }
            answer
        }
        Command::Remove { name } => client.change(Method::DELETE, &of(&name), "").await.map_err(failed)?,
    };
    arguments.reach.say(&answer, say);
    Ok(())
}

/// Machines as they are asked for: a name, or a name and until when.
fn machines(words: &[String]) -> Vec<Value> {
    let machine = |word: &String| match word.split_once('=') {
        Some((machine, until)) => json!({ "machine": machine, "until": until }),
        None => json!({ "machine": word }),
    };
    words.iter().map(machine).collect()
}

/// A PIN never stands in a command line: others see those.
fn read_pin() -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        super::complain(&"PIN, then Return and Ctrl-D:");
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PIN_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| {
        let happened = format!("The PIN could not be read: {error}.");
        Failure::Usage(Notice::new("cli.usage", happened, "Nothing was changed.", "Give it on standard input."))
    })?;
    Ok(text.trim().to_owned())
}

fn say(answer: &Value) {
    match answer["members"].as_array() {
        Some(members) if members.is_empty() => print("There is nobody yet. `fab-agent member add` adds somebody."),
        Some(members) => members.iter().for_each(|member| print(&line(member))),
        None if answer["removed"] == true => print("Removed; their tokens open nothing any more."),
        None => print(&line(answer)),
    }
}

fn line(member: &Value) -> String {
    let machine = |known: &Value| match known["until"].as_str() {
        Some(until) => format!("{} until {until}", printable(&known["machine"])),
        None => printable(&known["machine"]),
    };
    let machines: Vec<_> = member["competence"].as_array().into_iter().flatten().map(machine).collect();
    let pin = if member["pin"] == true { "  PIN" } else { "" };
    format!("{:<24} {:<9} {}{pin}", printable(&member["name"]), printable(&member["role"]), machines.join(", "))
        .trim_end()
        .to_owned()
}
