//! `fab-agent doctor`: why it might not work, one line for each thing that could be wrong.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drivers::Notice;
use drivers::machine::Setup;
use nix::unistd::{AccessFlags, access};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Failure, print};
use crate::client::Client;
use crate::config::{self, Config};
use crate::host::surroundings;
use crate::sinks::mqtt;

/// Longest wait for an agent, a machine on the network or a broker.
const PATIENCE: Duration = Duration::from_secs(3);

/// A clock before this (2025-01-01) was never set: this program is younger.
const CLOCK_MIN_S: i64 = 1_735_689_600;

/// What to look at.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration
    #[arg(long, default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Good,
    Unknown,
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    check: String,
    health: Health,
    code: String,
    message: String,
}

impl Finding {
    fn new(check: impl Into<String>, health: Health, code: &str, message: impl Into<String>) -> Self {
        Self { check: check.into(), health, code: code.to_owned(), message: message.into() }
    }

    fn bad(check: impl Into<String>, notice: &Notice) -> Self {
        let message = format!("{} {}", notice.happened, notice.to_do);
        Self::new(check, Health::Bad, &notice.code, message.trim())
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut findings = vec![clock(jiff::Timestamp::now().as_second()), voltage()];
    match Config::load(&arguments.config) {
        Ok(config) => look(&config, &mut findings).await,
        Err(problems) => findings.extend(problems.iter().map(|problem| {
            let message = format!("{}: {problem}", arguments.config.display());
            Finding::new("configuration", Health::Bad, "config.invalid", message)
        })),
    }
    let sick = findings.iter().any(|finding| finding.health == Health::Bad);
    if arguments.json {
        print(&json!({ "healthy": !sick, "findings": findings }).to_string());
    } else {
        for finding in &findings {
            let mark = match finding.health {
                Health::Good => "good   ",
                Health::Unknown => "unknown",
                Health::Warning => "warning",
                Health::Bad => "BAD    ",
            };
            print(&format!("{mark}  {}: {} [{}]", finding.check, finding.message, finding.code));
        }
    }
    if sick { Err(Failure::Told) } else { Ok(()) }
}

async fn look(config: &Config, findings: &mut Vec<Finding>) {
    let count = config.machines.len();
    findings.push(Finding::new("configuration", Health::Good, "config.valid", format!("It names {count} machines.")));
    findings.push(disk(&config.store));
    let token = config.http.token_file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    let client = Client::new(config.http.listen.to_string(), token.map(|token| token.trim().to_owned()));
    let running = tokio::time::timeout(PATIENCE, client.get("/api/v1/machines")).await.ok().and_then(Result::ok);
    findings.push(match &running {
        Some(_) => Finding::new("agent", Health::Good, "agent.running", "It runs and answers."),
        None => Finding::new("agent", Health::Warning, "agent.unreachable", "No agent of this configuration answers."),
    });
    for machine in &config.machines {
        let status = running.as_ref().and_then(|running| {
            running["machines"].as_array()?.iter().find(|status| status["id"] == *machine.name).cloned()
        });
        findings.push(match status {
            Some(status) => told(&machine.name, &status),
            None => port(machine).await,
        });
    }
    match &config.sinks.mqtt {
        Some(settings) => findings.push(broker(settings).await),
        None => findings.push(Finding::new("broker", Health::Unknown, "mqtt.none", "No broker is configured.")),
    }
}

fn clock(now_s: i64) -> Finding {
    if now_s < CLOCK_MIN_S {
        let message =
            "The clock is wrong, so certificates look invalid and records lie. Set it, or let it be set (NTP).";
        return Finding::new("clock", Health::Bad, "host.clock", message);
    }
    // systemd-timesyncd leaves this file once it has set the clock; other services leave none.
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Finding::new("clock", Health::Good, "host.clock", "It was set from the network.");
    }
    Finding::new("clock", Health::Unknown, "host.clock", "It is plausible; whether it is kept right is not known.")
}

fn voltage() -> Finding {
    let around = surroundings::read();
    let (health, message) = match (around.undervoltage, around.undervoltage_since_start) {
        (Some(true), _) => (Health::Bad, "It is too low now: USB ports suffer first. Use a stronger supply."),
        (_, Some(true)) => (Health::Warning, "It was too low since the start. Use a stronger supply."),
        (Some(false), _) => (Health::Good, "It is high enough."),
        (None, _) => (Health::Unknown, "This computer does not say."),
    };
    Finding::new("supply voltage", health, "host.undervoltage", message)
}

fn disk(store: &config::Store) -> Finding {
    let dir = &store.dir;
    let bad = |code: &str, message: String| Finding::new("disk", Health::Bad, code, message);
    if access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return bad(
            "store.failed",
            format!("{} is not there or not writable for this user. Make it, or correct `store.dir`.", dir.display()),
        );
    }
    match nix::sys::statvfs::statvfs(dir) {
        Ok(disk) => {
            #[allow(clippy::useless_conversion, reason = "these are 32 bits wide on a 32-bit system")]
            let free = u64::from(disk.blocks_available()) * u64::from(disk.fragment_size());
            let message = format!("{} has {} MB free.", dir.display(), free >> 20);
            if free < store.reserve_bytes {
                return bad(
                    "store.full",
                    format!("{message} Jobs are refused below {} MB.", store.reserve_bytes >> 20),
                );
            }
            Finding::new("disk", Health::Good, "store.usable", message)
        }
        Err(error) => bad("store.failed", format!("{} cannot be looked at: {error}.", dir.display())),
    }
}

/// What the running agent says of a machine.
fn told(name: &str, status: &Value) -> Finding {
    let check = format!("machine {name}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for notice in [&status["notice"], &status["link"]["likely_cause"]] {
        if notice.is_object() {
            let message = format!("{} {}", text(&notice["happened"]), text(&notice["to_do"]));
            return Finding::new(check, Health::Bad, &text(&notice["code"]), message.trim());
        }
    }
    let firmware = text(&status["identity"]["firmware"]);
    if firmware.is_empty() {
        return Finding::new(check, Health::Warning, "machine.unknown", format!("It is {}.", text(&status["state"])));
    }
    Finding::new(check, Health::Good, "machine.known", format!("{firmware} answers; it is {}.", text(&status["state"])))
}

/// A port is looked at without opening it: opening resets many boards, and one may be at work.
async fn port(machine: &Setup) -> Finding {
    let check = format!("machine {}", machine.name);
    let port = machine.port.as_str();
    if let Some((_, host)) = port.split_once("://") {
        let host = host.split(['/', '?']).next().unwrap_or(host);
        return match tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(host)).await {
            Ok(Ok(_)) => Finding::new(check, Health::Good, "link.reachable", format!("{host} can be reached.")),
            _ => Finding::new(
                check,
                Health::Bad,
                "link.unreachable",
                format!("{host} cannot be reached. Check the machine's power, its network and the address."),
            ),
        };
    }
    let path = Path::new(port.strip_prefix("modbus-rtu:").unwrap_or(port));
    if !path.exists() {
        return Finding::new(
            check,
            Health::Bad,
            "link.no_such_port",
            format!("There is no port {port}. Check the cable and the power; `fab-agent ports` lists the ports."),
        );
    }
    if access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_err() {
        return Finding::new(
            check,
            Health::Bad,
            "link.no_permission",
            format!("{port} may not be opened by this user. Add the user to the group `dialout` and log in again."),
        );
    }
    let named = path.starts_with("/dev/serial") || !path.starts_with("/dev");
    if named {
        return Finding::new(check, Health::Good, "link.usable", format!("{port} is there and may be opened."));
    }
    Finding::new(
        check,
        Health::Warning,
        "link.unstable_name",
        format!("{port} may be opened, but its name can change. Use its name in /dev/serial/by-path."),
    )
}

async fn broker(settings: &mqtt::Settings) -> Finding {
    if let Err(notice) = settings.prove() {
        return Finding::bad("broker", &notice);
    }
    let place = format!("{}:{}", settings.host, settings.port);
    let unreachable = |why: String| {
        let message = format!("{place} cannot be reached: {why}. Check its address, its firewall and the network.");
        Finding::new("broker", Health::Bad, "mqtt.unreachable", message)
    };
    let named = (settings.host.clone(), settings.port);
    let found = tokio::task::spawn_blocking(move || named.to_socket_addrs().map(Iterator::collect::<Vec<_>>)).await;
    let addresses = match found {
        Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
        _ => return unreachable("nobody knows its name".to_owned()),
    };
    match tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => {
            let tls = if settings.tls.is_some() { "; its certificate files can be read" } else { ", without TLS" };
            Finding::new("broker", Health::Good, "mqtt.reachable", format!("{place} can be reached{tls}."))
        }
        Ok(Err(error)) => unreachable(error.to_string()),
        Err(_) => unreachable("it does not answer".to_owned()),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_bad() {
        assert_eq!(clock(0).health, Health::Bad);
        assert_ne!(clock(1_800_000_000).health, Health::Bad);
    }

    #[test]
    fn a_machine_that_the_agent_says_is_the_wrong_one_is_bad() {
        let wrong =
            json!({ "state": "attention", "notice": { "code": "machine.wrong", "happened": "It speaks marlin." } });
        let finding = told("mill", &wrong);
        assert_eq!((finding.health, finding.code.as_str()), (Health::Bad, "machine.wrong"));
        let good = json!({ "state": "idle", "notice": null, "identity": { "firmware": "Grbl 1.1h" } });
        assert_eq!(told("mill", &good).health, Health::Good);
    }

    #[test]
    fn a_store_that_is_not_there_is_bad() {
        assert_eq!(disk(&config::Store::at("/nowhere/at/all")).code, "store.failed");
        let folder = tempfile::tempdir().unwrap();
        let full = config::Store { reserve_bytes: u64::MAX, ..config::Store::at(folder.path()) };
        assert_eq!(disk(&full).code, "store.full");
    }
}
