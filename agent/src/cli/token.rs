//! `fab-agent token`: what opens the agent to whom.

use hyper::Method;
use serde_json::{Value, json};

use super::reach::{Reach, failed, printable};
use super::{Failure, print};
use crate::client;

/// What opens the agent to whom.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes a token and prints its secret, this once
    Create {
        /// Whose it is
        member: String,
        /// What it is for
        #[arg(long, default_value = "")]
        label: String,
        /// What it is good for at most: a role that is not more than its member's
        #[arg(long)]
        scope: Option<String>,
        /// A machine it is good for, as often as there are; without it, all
        #[arg(long)]
        machine: Vec<String>,
        /// Days it lives; without it, until it is revoked
        #[arg(long)]
        days: Option<u32>,
    },
    /// Lists tokens, without their secrets
    List,
    /// Makes a token open nothing from now on
    Revoke {
        /// The token's name, such as t-0123456789ab
        token: String,
    },
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.reach.client()?;
    let answer = match arguments.command {
        Command::Create { member, label, scope, machine, days } => {
            let machines = (!machine.is_empty()).then_some(machine);
            let body = json!({ "member": member, "label": label, "scope": scope, "machines": machines, "days": days });
            client.post("/api/v1/tokens", "application/json", body.to_string()).await.map_err(failed)?
        }
        Command::List => client.get("/api/v1/tokens").await.map_err(failed)?,
        Command::Revoke { token } => {
            let path = client::path(&["api", "v1", "tokens", &token], []);
            client.change(Method::DELETE, &path, "").await.map_err(failed)?
        }
    };
    arguments.reach.say(&answer, say);
    Ok(())
}

fn say(answer: &Value) {
    match answer["tokens"].as_array() {
        Some(tokens) if tokens.is_empty() => print("There are no tokens. `fab-agent token create` makes one."),
        Some(tokens) => tokens.iter().for_each(|token| print(&line(token))),
        None if answer["revoked"] == true => print("Revoked; it opens nothing any more."),
        None => {
            print(&line(answer));
            print(&printable(&answer["secret"]));
            super::complain(&"This is the only time that the secret is shown.");
        }
    }
}

fn line(token: &Value) -> String {
    let machines = token["machines"].as_array().map(|machines| machines.iter().map(printable).collect::<Vec<_>>());
    let machines = machines.map_or_else(|| "all machines".to_owned(), |machines| machines.join(", "));
    let when = |field: &str, word: &str| token[field].as_str().map(|at| format!("  {word} {at}")).unwrap_or_default();
    format!(
        "{}  {:<24} {:<9} {machines}  {}{}{}{}",
        printable(&token["id"]),
        printable(&token["member"]),
        printable(&token["scope"]),
        printable(&token["label"]),
        when("until", "until"),
        when("last_used_at", "last used"),
        when("revoked_at", "REVOKED"),
    )
    .trim_end()
    .to_owned()
}
