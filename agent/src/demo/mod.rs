//! Everything simulated and embedded: what `fab-agent demo` is made of.
//!
//! Only the machines and the broker are stand-ins. The links, the sessions, the desk, the page and the sinks are the
//! agent's own, and the demo itself is a client like any other: it submits and starts its jobs over HTTP.

mod broker;
mod display;
mod operator;
mod programs;
mod shop;
mod summary;

use std::net::SocketAddr;
use std::path::Path;

use drivers::{Notice, State};

use self::display::Display;
use self::operator::Operator;
use self::shop::Shop;
pub(crate) use self::summary::Summary;
use crate::agent::Agent;
use crate::client::Client;
use crate::config::{Config, Http, Store};
use crate::host::keys::Keys;
use crate::sinks::{self, mqtt};

/// How the demo is to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Where the page is to be.
    pub(crate) listen: SocketAddr,
    /// How many times faster than real the machines move and heat.
    pub(crate) speed: f64,
    /// End when each machine has run its job.
    pub(crate) once: bool,
    /// Show nothing but the outcome.
    pub(crate) quiet: bool,
}

/// Runs the demo until its jobs are done (`once`) or `until` ends. Gives what the jobs came to.
///
/// # Errors
/// What could not be started: what happened, what was done, what to do.
pub(crate) async fn run(options: &Options, until: impl Future<Output = ()>) -> Result<Summary, Notice> {
    let shop = Shop::open(options.speed).map_err(|error| nothing_started("simulated machines", &error))?;
    let ports = broker::start().map_err(|error| nothing_started("broker", &error))?;
    let folder = tempfile::tempdir().map_err(|error| nothing_started("store", &error))?;
    let agent = Agent::start(config(options, &shop, folder.path(), ports.v5)).await?;
    let display = if options.quiet { Display::hidden() } else { Display::new() };
    display.say(&format!(
        "The page is at http://{}/ and the MQTT broker at 127.0.0.1:{port} (mosquitto_sub -p {port} -v -t 'fab/#').",
        agent.address(),
        port = ports.v311,
    ));
    let client = Client::new(agent.address().to_string(), None);
    let operators = programs::BUNDLES.map(|bundle| Operator::new(bundle, client.clone(), &shop, &display));
    let jobs = async {
        let [printer, mill, laser] = &operators;
        let (printer, mill, laser) = tokio::join!(printer.run_one(), mill.run_one(), laser.run_one());
        Summary::of(vec![printer, mill, laser])
    };
    tokio::pin!(until);
    let summary = tokio::select! {
        summary = jobs => summary,
        () = &mut until => {
            agent.stop().await;
            return Ok(Summary::interrupted());
        }
    };
    if !options.once {
        display.say("Every machine has a program waiting: start it on the page. Ctrl-C ends the demo.");
        let [printer, mill, laser] = &operators;
        let attend = async { tokio::join!(printer.attend(), mill.attend(), laser.attend()) };
        tokio::select! {
            _ = attend => {}
            () = press_resets(&agent, &shop, &display) => {}
            () = &mut until => {}
        }
    }
    display.clear();
    agent.stop().await;
    Ok(summary)
}

/// Whoever sits at the terminal reaches the machines' reset buttons: a printer that was stopped hears nothing else.
async fn press_resets(agent: &Agent, shop: &Shop, display: &Display) {
    let mut keys = Keys::listen();
    if keys.are_here() {
        display
            .say("Behind a STOP, Enter in this terminal presses the reset button of the machines that are in alarm.");
    }
    loop {
        keys.next().await;
        for machine in agent.desk().machines() {
            if machine.snapshot().state == State::Alarm {
                shop.reset(machine.name());
                display.say(&format!("The reset button of the {} was pressed.", machine.name()));
            }
        }
    }
}

fn config(options: &Options, shop: &Shop, folder: &Path, broker_port: u16) -> Config {
    Config {
        site: "demo".to_owned(),
        agent: "demo".to_owned(),
        http: Http { listen: options.listen, ..Http::default() },
        sinks: sinks::Settings { mqtt: Some(mqtt::Settings::plain("127.0.0.1", broker_port)) },
        // The demo's programs are small; a disk that is nearly full is no reason not to show them.
        store: Store { reserve_bytes: 0, ..Store::at(folder) },
        machines: shop.setups(),
    }
}

fn nothing_started(what: &str, error: &std::io::Error) -> Notice {
    Notice::new(
        "demo.not_started",
        format!("The demo's {what} could not be started: {error}."),
        "Nothing was started.",
        "Free what the system has run out of, and try again.",
    )
}
