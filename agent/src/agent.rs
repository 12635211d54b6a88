//! The agent put together: machines, desk, sinks and page, from one configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Machine;
use drivers::request::Calming;
use drivers::{Notice, Snapshot, State, shell};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::desk::{self, Desk, Opening};
use crate::host::descriptors;
use crate::http;
use crate::keys;
use crate::owners::Owner;
use crate::sinks::{self, Feed, Source};
use crate::store::{self, News, Store};

/// How long the goodbyes may take: a sink that cannot say it in time is left.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long machines are given to end their jobs and become safe when the agent ends: a printer runs on to the end of
/// what is planned first. With the goodbyes the agent ends within 10 s; the unit waits for 20 s in all.
const LEAVE: Duration = Duration::from_secs(7);

/// How long of that they may take by themselves. Then what makes them safe is said in any case.
const HASTEN: Duration = Duration::from_secs(5);

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    desk: Desk,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    broken: watch::Receiver<Option<Notice>>,
    tasks: Vec<JoinHandle<()>>,
    claim: Option<String>,
}

impl Agent {
    /// Starts everything the configuration names. Nothing moves by that: machines are read, jobs wait.
    ///
    /// # Errors
    /// What could not be started, what was done and what to do. Nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, Notice> {
        descriptors::raise();
        let server = http::bind(&config.http).await?;
        let address = server.address();
        let configuration = fingerprint(&config);
        let (store, mut news) = Store::open(&config.store).await?;
        let opened = news.try_recv().ok();
        let since = store.newest();
        let server = server.with_socket(&config.http)?;
        let kept = match &opened {
            Some(News::Opened(contents)) => Some(contents.kept.as_slice()),
            _ => None,
        };
        let key = keys::begin(&store, &config.store.dir, kept);
        // Whether somebody is an admin is known once the store has been read.
        let claim = kept.and_then(|_| server.claimable(&config.store.dir, store.book().has_admin()));
        let mut setups = config.machines;
        if let Some(News::Opened(contents)) = &opened {
            store::recall_bauds(&mut setups, &contents.kept);
        }
        let mut machines = Vec::new();
        for setup in setups {
            let name = setup.name.clone();
            machines.push(shell::spawn_heard(setup).map_err(|error| thread(&name, &error))?);
        }
        let folder = config.store.dir.clone();
        let opening = Opening { store: store.clone(), opened, news, folder, machines, configuration };
        let (desk, clerk) = Desk::open(opening);
        let (stop, stopped) = watch::channel(false);
        let owner = Owner::new(store.clone(), stopped.clone());
        owner.vital("clerk", clerk);
        let mut tasks = store::recordings::keep(desk.machines(), &config.store.dir, &stopped);
        tasks.extend(store::keep_bauds(desk.machines(), &store, &stopped));
        for kind in sinks::ALL {
            let Some(sink) = (kind.open)(&config.sinks)? else { continue };
            let sources = desk
                .machines()
                .iter()
                .map(|machine| Source::of(machine, desk.queue(machine.name()), desk.programs().bytes_max()));
            let feed = Feed {
                site: config.site.clone(),
                agent: config.agent.clone(),
                machines: sources.collect(),
                log: store.clone(),
                since: since.clone(),
            };
            let (settings, stopped, mut sink) = (config.sinks.clone(), stopped.clone(), Some(sink));
            tasks.push(owner.anew(kind.name, move || {
                // The first was opened to see whether it can be; one that ended by a fault is opened again.
                let sink = sink.take().or_else(|| (kind.open)(&settings).ok().flatten());
                let (feed, stopped) = (feed.clone(), stopped.clone());
                async move {
                    if let Some(sink) = sink {
                        sink.run(feed, stopped).await;
                    }
                }
            }));
        }
        let folder = config.store.dir.clone();
        let serving = http::Serving { desk: desk.clone(), broken: owner.broken(), key, folder };
        tasks.push(owner.vital("http", server.serve(serving, stopped)));
        let broken = owner.broken();
        Ok(Self { desk, address, stop, broken, tasks, claim })
    }

    /// Where the page is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The code with which somebody becomes the first admin, where nobody is one: for the terminal and nobody else.
    pub fn claim(&self) -> Option<&str> {
        self.claim.as_deref()
    }

    /// Where jobs are submitted and machines are found.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Waits until a task ends by a fault without which the agent cannot be trusted: it is to be stopped then.
    pub async fn broken(&self) -> Notice {
        let mut broken = self.broken.clone();
        let broken = broken.wait_for(Option::is_some).await.ok().and_then(|broken| broken.clone());
        match broken {
            Some(notice) => notice,
            None => std::future::pending().await,
        }
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
        let by = tokio::time::Instant::now() + GOODBYE;
        for task in self.tasks {
            let _ = tokio::time::timeout_at(by, task).await;
        }
        let store = self.desk.store();
        store.tell([desk::facts::ended()], []);
        store.end().await;
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
    if machine.calm(Calming::Leave).await.is_err() {
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
    let hastened = async {
        tokio::time::sleep(HASTEN).await;
        // What runs in the machine itself is held, and there is nothing to hasten.
        let _ = machine.calm(Calming::Hasten).await;
        std::future::pending::<()>().await;
    };
    let left = async {
        tokio::select! {
            () = ended => {}
            () = hastened => {}
        }
    };
    if tokio::time::timeout(LEAVE, left).await.is_err() {
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

/// Tells a configuration from every other. Secrets are in files of their own, and not in it.
fn fingerprint(config: &Config) -> String {
    let text = format!("{config:?}");
    Sha256::digest(text).iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}
