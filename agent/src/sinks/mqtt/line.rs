//! One machine on the network: what is known of it, and which facts of it are due. Pure.

use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Epoch;
use drivers::profile::Profile;
use drivers::snapshot::{Quality, Reading};
use drivers::{Moment, Notice, Snapshot, State};
use serde_json::{Value, json};

use super::documents::{self, Sample};
use super::news;
use super::slot::Slot;
use crate::capability::Capability;
use crate::capacity::{Capacity, Queue};
use crate::sinks::{Source, wall};
use crate::topics::Fact;

/// Forecasts of "free at" that differ by less are not news.
const FORECAST_TOLERANCE: Duration = Duration::from_secs(10);

/// The facts that have a slot, in the order in which they are said; events have the outbox.
pub(super) const SLOTS: [Fact; 5] = [Fact::Capability, Fact::State, Fact::Capacity, Fact::Job, Fact::Telemetry];

/// One machine on the network.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    profile: Arc<Profile>,
    epoch: Epoch,
    snapshot: Arc<Snapshot>,
    queue: Queue,
    capacity: Option<Capacity>,
    program_bytes_max: u64,
    /// The sample and the snapshot that were published last.
    sample: Sample,
    said: Option<Arc<Snapshot>>,
    slots: [Slot; SLOTS.len()],
}

impl Line {
    pub(super) fn new(source: &mut Source) -> Self {
        let snapshot = source.snapshots.borrow_and_update().clone();
        let queue = source.queue.borrow_and_update().clone();
        let capacity = Capacity::of(&source.profile, &snapshot, &queue);
        Self {
            name: source.name.clone(),
            profile: source.profile.clone(),
            epoch: source.epoch.clone(),
            sample: Sample::default(),
            said: None,
            capacity: Some(capacity),
            program_bytes_max: source.program_bytes_max,
            snapshot,
            queue,
            slots: Default::default(),
        }
    }

    fn slot(&mut self, fact: Fact) -> &mut Slot {
        let place = SLOTS.iter().position(|slot| *slot == fact).unwrap_or(0);
        &mut self.slots[place]
    }

    /// The machine is like this now.
    pub(super) fn learn(&mut self, snapshot: Arc<Snapshot>) {
        let before = std::mem::replace(&mut self.snapshot, snapshot);
        let now = self.snapshot.clone();
        match self.said.clone() {
            Some(said) if news::is_urgent(&now, &said) => self.slot(Fact::State).change(true),
            Some(said) if news::is_news(&now, &said) => self.slot(Fact::State).change(false),
            Some(_) => {}
            None => self.slot(Fact::State).change(true),
        }
        if before.job != now.job {
            let phase = |snapshot: &Snapshot| snapshot.job.as_ref().map(|job| (job.job.clone(), job.phase));
            self.slot(Fact::Job).change(phase(&before) != phase(&now));
        }
        if before.identity != now.identity {
            self.slot(Fact::Capability).change(true);
        }
        if Sample::of(&now).is_news_after(&self.sample) {
            self.slot(Fact::Telemetry).change(false);
        }
        self.reconsider_capacity();
    }

    /// The work that waits for it is this now.
    pub(super) fn learn_queue(&mut self, queue: Queue) {
        self.queue = queue;
        self.reconsider_capacity();
    }

    fn reconsider_capacity(&mut self) {
        let capacity = Capacity::of(&self.profile, &self.snapshot, &self.queue);
        let same = self.capacity.as_ref().is_some_and(|said| said.says_the_same(&capacity, FORECAST_TOLERANCE));
        if !same {
            self.capacity = Some(capacity);
            self.slot(Fact::Capacity).change(true);
        }
    }

    /// All of it is to be said again.
    pub(super) fn say_all(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.change(true));
    }

    /// A fact is to be said again when that makes sense.
    pub(super) fn say_again(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.change(false);
        }
    }

    /// When a fact is due.
    pub(super) fn due_at(&self, slot: usize, interval: Duration) -> Option<Moment> {
        self.slots[slot].due_at(interval)
    }

    /// The document of a fact that is published now.
    pub(super) fn publish(&mut self, agent: &str, slot: usize, now: Moment) -> Value {
        self.slots[slot].published(now);
        let epoch = self.epoch.now();
        let wall = |moment| wall(epoch, moment);
        match SLOTS[slot] {
            Fact::State => {
                self.said = Some(self.snapshot.clone());
                documents::state(&self.name, agent, epoch, &self.snapshot)
            }
            Fact::Job => documents::job(&self.name, agent, epoch, &self.snapshot),
            Fact::Capacity => {
                let capacity = Capacity::of(&self.profile, &self.snapshot, &self.queue);
                let mut document = capacity.document(&self.name, wall);
                document["agent"] = json!(agent);
                document
            }
            Fact::Capability => {
                let at = wall(self.snapshot.at);
                json!(Capability::of(
                    &self.name,
                    &self.profile,
                    self.snapshot.identity.as_ref(),
                    self.program_bytes_max,
                    at
                ))
            }
            Fact::Telemetry | Fact::Event => {
                self.sample = Sample::of(&self.snapshot);
                self.sample.document(&wall(self.snapshot.at))
            }
        }
    }

    /// What is left behind when the agent ends: nobody knows what the machine does then, and nobody should wait for it.
    pub(super) fn left(&self, agent: &str) -> [(Fact, Value); 2] {
        let said = Notice::new("agent.stopped", "The agent of this machine was stopped.", "", "Start the agent.");
        let mut snapshot = Snapshot::clone(&self.snapshot);
        snapshot.state = State::Unknown;
        snapshot.notice = Some(said.clone());
        distrust(&mut snapshot);
        let epoch = self.epoch.now();
        let state = documents::state(&self.name, agent, epoch, &snapshot);
        let capacity = json!({
            "version": crate::capacity::VERSION,
            "at": wall(epoch, self.snapshot.at),
            "machine": self.name,
            "agent": agent,
            "state": State::Unknown.word(),
            "accepting_jobs": false,
            "queue_length": self.queue.length,
            "reason": said,
        });
        [(Fact::State, state), (Fact::Capacity, capacity)]
    }
}

/// No reading can be relied on any more.
fn distrust(snapshot: &mut Snapshot) {
    fn doubt<T>(reading: Option<&mut Reading<T>>) {
        if let Some(reading) = reading {
            reading.quality = Quality::Uncertain;
        }
    }
    doubt(snapshot.position_mm.as_mut());
    doubt(snapshot.work_position_mm.as_mut());
    doubt(snapshot.feed_mm_min.as_mut());
    doubt(snapshot.spindle.as_mut());
    doubt(snapshot.overrides.as_mut());
    snapshot.temperatures.iter_mut().for_each(|heater| doubt(Some(&mut heater.actual_c)));
    snapshot
        .auxiliary
        .iter_mut()
        .flat_map(|device| &mut device.readings)
        .for_each(|point| doubt(point.reading.as_mut()));
}
