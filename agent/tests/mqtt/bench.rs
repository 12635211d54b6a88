//! A sink at work, and the hands that feed it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use drivers::machine::Epoch;
use drivers::profile::Profile;
use drivers::snapshot::JobPhase;
use drivers::{Event, EventKind, Moment, Snapshot};
use fab_agent::capacity::Queue;
use fab_agent::config;
use fab_agent::desk::facts::event;
use fab_agent::sinks::{self, Feed, Source, mqtt};
use fab_agent::store::{Cursor, Store};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::broker::Broker;

/// A sink at work, and the hands that feed it.
pub(crate) struct Bench {
    runtime: Runtime,
    snapshots: Vec<watch::Sender<Arc<Snapshot>>>,
    store: Store,
    since: Cursor,
    _home: Option<tempfile::TempDir>,
    _queues: Vec<watch::Sender<Queue>>,
    stop: watch::Sender<bool>,
    work: tokio::task::JoinHandle<()>,
}

impl Bench {
    /// With one machine.
    pub(crate) fn new(settings: mqtt::Settings) -> Self {
        Self::with(&["mk3"], settings)
    }

    /// With these machines.
    pub(crate) fn with(machines: &[&str], settings: mqtt::Settings) -> Self {
        let home = tempfile::tempdir().unwrap();
        let bench = Self::at(home.path(), machines, settings);
        Self { _home: Some(home), ..bench }
    }

    /// With these machines, and the store of an earlier life.
    pub(crate) fn at(home: &Path, machines: &[&str], settings: mqtt::Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stop_out) = watch::channel(false);
        let (mut snapshots, mut queues, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for name in machines {
            let (snapshot, snapshots_out) = watch::channel(Arc::new(Snapshot::unknown(Moment::ZERO)));
            let (queue, queue_out) = watch::channel(Queue::default());
            sources.push(Source {
                program_bytes_max: 1 << 20,
                name: (*name).to_owned(),
                profile: Arc::new(Profile::named("prusa-mk3s").unwrap()),
                epoch: Epoch::fixed(SystemTime::now()),
                snapshots: snapshots_out,
                queue: queue_out,
            });
            snapshots.push(snapshot);
            queues.push(queue);
        }
        let (store, _news) = runtime.block_on(Store::open(&config::Store::at(home))).unwrap();
        let since = store.newest();
        let feed = Feed {
            site: "test".into(),
            agent: "pi".into(),
            machines: sources,
            log: store.clone(),
            since: since.clone(),
        };
        let settings = sinks::Settings { mqtt: Some(settings) };
        let sink = mqtt::open(&settings).unwrap().unwrap();
        let work = runtime.spawn(sink.run(feed, stop_out));
        Self { runtime, snapshots, store, since, _home: None, _queues: queues, stop, work }
    }

    pub(crate) fn on(broker: &Broker) -> Self {
        Self::new(quick(broker.port))
    }

    pub(crate) fn show(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(&self.snapshots[0].borrow());
        snapshot.generation += 1;
        snapshot.at = snapshot.at + Duration::from_millis(100);
        change(&mut snapshot);
        self.snapshots[0].send(Arc::new(snapshot)).unwrap();
    }

    pub(crate) fn happen(&self, kind: EventKind) {
        self.happen_at("mk3", kind);
    }

    pub(crate) fn happen_at(&self, machine: &str, kind: EventKind) {
        self.store.tell([event(machine, SystemTime::UNIX_EPOCH, &Event { at: Moment(1), kind })], []);
    }

    pub(crate) fn happen_job(&self, number: usize) {
        self.happen_job_at("mk3", number);
    }

    pub(crate) fn happen_job_at(&self, machine: &str, number: usize) {
        self.happen_at(machine, EventKind::Job { job: format!("j{number}"), phase: JobPhase::Finished, notice: None });
    }

    /// What people were told of the broker, by its codes and first sentences.
    pub(crate) fn notices(&self) -> Vec<(String, String)> {
        let mut cursor = self.since.clone();
        let mut notices = Vec::new();
        loop {
            let batch = self.runtime.block_on(self.store.read(&cursor, 500)).unwrap();
            if batch.cursor == cursor {
                return notices;
            }
            for row in batch.rows().filter(|row| row.machine.is_none()) {
                let body: Value = serde_json::from_str(&row.body).unwrap();
                if body["type"] == "trouble" {
                    let text = |field: &str| body["notice"][field].as_str().unwrap().to_owned();
                    notices.push((text("code"), text("happened")));
                }
            }
            cursor = batch.cursor;
        }
    }

    /// Waits until people are told this.
    pub(crate) fn until_told(&self, code: &str) -> String {
        let started = std::time::Instant::now();
        loop {
            let notices = self.notices();
            if let Some((_, happened)) = notices.iter().find(|(told, _)| told == code) {
                return happened.clone();
            }
            assert!(started.elapsed() < crate::broker::PATIENCE, "never told {code}: {notices:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn end(self) {
        self.stop.send(true).unwrap();
        self.runtime.block_on(self.work).unwrap();
        self.runtime.block_on(self.store.end());
    }
}

/// A broker on a port of this computer, told often.
pub(crate) fn quick(port: u16) -> mqtt::Settings {
    mqtt::Settings { interval: Duration::from_millis(50), ..mqtt::Settings::plain("127.0.0.1", port) }
}
