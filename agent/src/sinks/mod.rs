//! The sink seam: a sink tells somebody on the network what is true of the machines.
//!
//! Each kind of sink is one file (or folder) here and one line in [`ALL`]. A sink reads state by latest-wins watch
//! and events from the log, with a cursor, so no sink can make a machine wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use drivers::machine::{Epoch, Machine};
use drivers::profile::Profile;
use drivers::{Moment, Notice, Snapshot};
use tokio::sync::watch;

use crate::capacity::Queue;
use crate::store::{Cursor, Store};

pub mod mqtt;

/// A sink at work: a future that ends when it was told to stop and has said goodbye.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Somebody on the network who is told what is true.
pub trait Sink: Send {
    /// Works until `stop` becomes true, then says goodbye and ends. Its own troubles (a broker that is away) end
    /// nothing: it says so in the log and keeps trying.
    fn run(self: Box<Self>, feed: Feed, stop: watch::Receiver<bool>) -> Work;
}

/// A sink that the settings ask for, if they do.
///
/// # Errors
/// The settings cannot work (a certificate that is not there): what, what was done, what to do.
pub type Opened = Result<Option<Box<dyn Sink>>, Notice>;

/// One kind of sink.
#[derive(Debug)]
pub struct Kind {
    /// Its name, as in the configuration and the log.
    pub name: &'static str,
    /// Makes one from the settings; nothing where the settings do not ask for it.
    pub open: fn(&Settings) -> Opened,
}

/// Every kind of sink.
pub const ALL: &[Kind] = &[Kind { name: "mqtt", open: mqtt::open }];

/// What the configuration says about sinks.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The MQTT broker to publish to.
    pub mqtt: Option<mqtt::Settings>,
}

/// What a sink may read.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The site's name: which workshop this is.
    pub site: String,
    /// The agent's name: which Pi this is.
    pub agent: String,
    /// The machines.
    pub machines: Vec<Source>,
    /// What happens: a sink reads it with a cursor of its own.
    pub log: Store,
    /// Where a sink begins that has never read: with this life of the agent.
    pub since: Cursor,
}

/// One machine as a sink sees it.
#[derive(Debug, Clone)]
pub struct Source {
    /// The machine's name in the configuration.
    pub name: String,
    /// What it should be.
    pub profile: Arc<Profile>,
    /// The time of day of moment zero, as it changes when the clock is set.
    pub epoch: Epoch,
    /// What is known of it: latest wins.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The work that waits for it.
    pub queue: watch::Receiver<Queue>,
    /// Largest program that is taken for it, in bytes.
    pub program_bytes_max: u64,
}

impl Source {
    /// A machine as a sink sees it, and the work that waits for it.
    pub fn of(machine: &Machine, queue: watch::Receiver<Queue>, program_bytes_max: u64) -> Self {
        Self {
            name: machine.name().to_owned(),
            profile: Arc::new(machine.profile().clone()),
            epoch: machine.epoch(),
            snapshots: machine.watch(),
            queue,
            program_bytes_max,
        }
    }
}

/// RFC 3339 text of a moment, to the millisecond: finer than any machine reports.
pub(crate) fn wall(epoch: SystemTime, moment: Moment) -> String {
    let time = epoch.checked_add(Duration::from_micros(moment.0)).unwrap_or(epoch);
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}
