//! The agent put together: machines, desk, sinks and page, from one configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Machine;
use drivers::{Notice, Request, Snapshot, State, shell};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bauds;
use crate::config::Config;
use crate::desk::Desk;
use crate::http;
use crate::recordings;
use crate::sinks::{self, Feed, Source};

/// How long a goodbye may take: a sink that cannot say it in time is left.
const GOODBYE: Duration = Duration::from_secs(3);

/// How long machines are given to end their jobs and become safe when the agent ends: a printer runs on to the end of
/// what is planned first. The unit waits for 20 s in all.
const LEAVE: Duration = Duration::from_secs(10);

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    desk: Desk,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Agent {
    /// Starts everything the configuration names. Nothing moves by that: machines are read, jobs wait.
    ///
    /// # Errors
    /// What could not be started, what was done and what to do. Nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, Notice> {
        let mut server = http::bind(&config.http).await?;
        let address = server.address();
        let mut machines = Vec::new();
        let mut setups = config.machines;
        bauds::recall(&mut setups, &config.store.dir);
        for setup in setups {
            let name = setup.name.clone();
            let (machine, events) = shell::spawn_heard(setup).map_err(|error| thread(&name, &error))?;
            server.hear(machine.clone(), events);
            machines.push(machine);
        }
        let desk = Desk::open(&config.store, Arc::from(machines)).map_err(|error| store(&config.store.dir, &error))?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = recordings::keep(desk.machines(), &config.store.dir, &stopped);
        tasks.extend(bauds::keep(desk.machines(), &config.store.dir, &stopped));
        for kind in sinks::ALL {
            if let Some(sink) = (kind.open)(&config.sinks)? {
                let sources = desk.machines().iter().map(|machine| Source::of(machine, desk.queue(machine.name())));
                let feed = Feed { site: config.site.clone(), agent: config.agent.clone(), machines: sources.collect() };
                tasks.push(tokio::spawn(sink.run(feed, stopped.clone())));
            }
        }
        tasks.push(tokio::spawn(server.serve(desk.clone(), stopped)));
        Ok(Self { desk, address, stop, tasks })
    }

    /// Where the page is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where jobs are submitted and machines are found.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Ends what runs, makes the machines safe, says goodbye to the network and ends.
    pub async fn stop(self) {
        // All at once: no machine's spindle turns on because another machine is slow.
        let machines: Vec<_> =
            self.desk.machines().iter().map(|machine| tokio::spawn(rest(machine.clone(), self.desk.clone()))).collect();
        for machine in machines {
            let _ = machine.await;
        }
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = tokio::time::timeout(GOODBYE, task).await;
        }
    }
}

/// A machine and the drives beside it come to rest.
async fn rest(machine: Machine, desk: Desk) {
    leave(&machine, &desk).await;
    if !machine.stop_drives().await {
        let machine = machine.name();
        tracing::error!(machine, "a drive beside the machine was told to stop and does not prove that it stands");
    }
}

/// The job of a machine is ended, and what it switched on is off, before the agent that speaks for it goes: the job could
/// not go on without it, and a spindle or a heater would stay on for ever.
async fn leave(machine: &Machine, desk: &Desk) {
    if machine.ask(Request::Leave).await.is_err() {
        return;
    }
    let mut watch = machine.watch();
    // What runs in the machine itself is only held.
    let dialect = drivers::dialect::named(&machine.profile().dialect);
    let runs_by_itself = dialect.is_some_and(|dialect| dialect.habits().keeps_lines());
    let over = |snapshot: &Arc<Snapshot>| {
        let held = runs_by_itself && snapshot.state == State::Held;
        held || snapshot.job.as_ref().is_none_or(|progress| progress.phase.is_over())
    };
    let ended = async {
        let job = watch.wait_for(over).await.ok().and_then(|snapshot| snapshot.job.as_ref().map(|job| job.job.clone()));
        if let Some(job) = job.filter(|_| !runs_by_itself) {
            desk.knows_the_end(&job).await;
        }
    };
    if tokio::time::timeout(LEAVE, ended).await.is_err() {
        let machine = machine.name();
        tracing::error!(machine, "the job did not end in time: look at the machine, it may not be safe");
    }
}

fn thread(machine: &str, error: &std::io::Error) -> Notice {
    Notice::new(
        "agent.no_thread",
        format!("The machine {machine} could not be started: {error}."),
        "The agent did not start.",
        "Correct the machine's profile, or free memory.",
    )
}

fn store(folder: &std::path::Path, error: &std::io::Error) -> Notice {
    Notice::new(
        "store.failed",
        format!("The store {} cannot be used: {error}.", folder.display()),
        "The agent did not start.",
        "Make the folder, or let this user write to it (`store.dir`).",
    )
}
