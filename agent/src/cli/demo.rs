//! `fab-agent demo`: everything simulated and embedded.

use std::net::SocketAddr;

use drivers::Notice;

use super::{Failure, asked_to_end, print};
use crate::demo::{self, Options};

/// Fastest that simulated machines go: beyond it only the link counts.
const SPEED_MAX: f64 = 1000.0;

/// How the demo is to run.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End when each machine has run its job; exit 0 if all is well
    #[arg(long)]
    once: bool,
    /// Where the page is, on loopback; port 0 takes any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8484")]
    listen: SocketAddr,
    /// How many times faster than real the machines move and heat
    // At 40 the longest of the three jobs, a quarter of an hour on a real mill, takes 25 s.
    #[arg(long, value_name = "N", default_value_t = 40.0)]
    speed: f64,
    /// Print one JSON object at the end and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { once, listen, speed, json } = arguments;
    if !(speed > 0.0 && speed <= SPEED_MAX) {
        return Err(usage(
            format!("The speed {speed} makes no sense."),
            &format!("Give a number above 0, at most {SPEED_MAX}."),
        ));
    }
    if !listen.ip().is_loopback() {
        return Err(usage(
            format!("The demo asks nobody for a token, so its page cannot be at {listen}."),
            "Give a loopback address, or serve a network with `fab-agent run`.",
        ));
    }
    let options = Options { listen, speed, once, quiet: json };
    let summary = match demo::run(&options, asked_to_end()).await {
        Ok(summary) => summary,
        Err(notice) if json => {
            print(&serde_json::json!({ "outcome": "refused", "notice": notice }).to_string());
            return Err(Failure::Told);
        }
        Err(notice) => return Err(Failure::Failed(notice)),
    };
    if json {
        print(&serde_json::to_string(&summary).unwrap_or_default());
    } else {
        print(summary.table().trim_end());
    }
    // Ctrl-C is how the demo ends that does not end by itself.
    if summary.is_well() || (summary.is_interrupted() && !once) { Ok(()) } else { Err(Failure::Told) }
}

fn usage(happened: String, to_do: &str) -> Failure {
    Failure::Usage(Notice::new("cli.usage", happened, "Nothing was started.", to_do))
}
