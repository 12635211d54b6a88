//! The MQTT sink: publishes what is true of the machines, and keeps events until the broker has them.
//!
//! ```text
//! snapshots, events ─► Uplink (what and when; pure) ─► Wire (one connection) ─► broker
//!                        └ Outbox (a cursor in the log, moved by acknowledgements)
//! ```
//!
//! A broker that is away costs nothing but memory that is bounded: the sink says so once, keeps trying with growing,
//! jittered pauses, and after each reconnect says everything again that a broker should retain.
//! Nothing is subscribed to: no message, retained, late or doubled, can start anything.

mod documents;
mod outbox;
mod settings;
mod uplink;
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use drivers::{Moment, Snapshot};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt, StreamMap};

use self::settings::Ready;
pub use self::settings::{Settings, Tls, Version};
use self::uplink::{Publication, Uplink};
use self::wire::{Heard, Loss, Wire};
use super::{Feed, Opened, Sink, Source, Work, wall};
use crate::capacity::Queue;
use crate::store::{Batch, Cursor, Reader, Store};
use crate::topics::{Scheme, Topic};

/// First pause before connecting again. It doubles with each failure.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// Longest pause: a workshop's broker that is switched on again should see its machines within the minute.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A broker that stays away is spoken of this often, so that the log says it and is not filled with it.
const REMINDER: Duration = Duration::from_secs(600);

/// Under which name the store keeps how far the broker has the log.
const READER: &str = "mqtt";

/// Rows of the log read at once.
const READ_ROWS: usize = 32;

/// Longest time that a goodbye may take.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Makes the sink, if the settings ask for one.
///
/// # Errors
/// A file that the settings name cannot be used.
pub fn open(settings: &super::Settings) -> Opened {
    let Some(settings) = &settings.mqtt else { return Ok(None) };
    // Read now, so that a wrong path is said at the start and not in the first connection.
    let broker = Ready::from(settings, settings.client_id.clone().unwrap_or_default())?;
    Ok(Some(Box::new(Mqtt { broker, interval: settings.interval })))
}

struct Mqtt {
    broker: Ready,
    interval: Duration,
}

impl Sink for Mqtt {
    fn run(mut self: Box<Self>, feed: Feed, stop: watch::Receiver<bool>) -> Work {
        if self.broker.client_id.is_empty() {
            self.broker.client_id = format!("fab-{}-{}", feed.site, feed.agent);
        }
        Box::pin(async move {
            match Scheme::new(&feed.site) {
                Ok(scheme) => Conversation::new(*self, scheme, feed).run(stop).await,
                Err(error) => tracing::error!(code = "config.site", "{error} Nothing is published by MQTT."),
            }
        })
    }
}

/// Something that changed at a machine.
enum Change {
    Snapshot(Arc<Snapshot>),
    Queue(Queue),
}

type Changes = StreamMap<usize, Pin<Box<dyn Stream<Item = Change> + Send>>>;

/// How an attempt to talk with the broker ended.
enum Ending {
    Stopped,
    Lost(Loss, Connected),
}

/// Whether the broker had taken us in before the connection was lost.
type Connected = bool;

struct Conversation {
    broker: Ready,
    uplink: Uplink,
    changes: Changes,
    events: Events,
    will_topic: String,
    will: String,
    started_at: Instant,
}

impl Conversation {
    fn new(sink: Mqtt, scheme: Scheme, mut feed: Feed) -> Self {
        let born_at = wall(SystemTime::now(), Moment::ZERO);
        let will_topic = scheme.write(&Topic::Agent(feed.agent.as_str().into()));
        let will = uplink::will(&feed.agent).to_string();
        let uplink = Uplink::new(scheme, &feed.agent, &mut feed.machines, born_at, sink.interval);
        let events = Events { log: feed.log, since: feed.since, reader: None, kept: Cursor::default() };
        let changes = changes(feed.machines);
        Self { broker: sink.broker, uplink, changes, events, will_topic, will, started_at: Instant::now() }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut pause = PAUSE_MIN;
        let mut said: Option<(Loss, Instant)> = None;
        while !*stop.borrow() {
            let wire = Wire::open(&self.broker, &self.will_topic, &self.will);
            let Ending::Lost(loss, connected) = self.talk(wire, &mut stop).await else { return };
            self.uplink.handle_lost();
            if connected {
                pause = PAUSE_MIN;
                said = None;
            }
            // Jitter, so that a hall of agents does not fall on a broker in step when it comes back.
            let waits = pause.mul_f64(0.5 + fastrand::f64());
            self.say_lost(&loss, waits, &mut said);
            pause = (pause * 2).min(PAUSE_MAX);
            self.listen_for(waits, &mut stop).await;
        }
    }

    /// Talks over one connection until it is lost or the agent stops.
    async fn talk(&mut self, mut wire: Wire, stop: &mut watch::Receiver<bool>) -> Ending {
        let mut connected = false;
        let mut stuck: Option<Publication> = None;
        loop {
            while let Some(publication) = stuck.take().or_else(|| self.uplink.poll_publication(self.now())) {
                stuck = wire.try_publish(publication).err();
                if stuck.is_some() {
                    break;
                }
            }
            let next_at = self.uplink.poll_timeout().filter(|_| stuck.is_none()).map(|at| self.instant(at));
            tokio::select! {
                heard = wire.hear() => match heard {
                    Heard::Connected => {
                        connected = true;
                        self.uplink.handle_connected(self.events.log.newest().number);
                        self.say_connected();
                    }
                    Heard::Sent => {}
                    Heard::Acknowledged(event) => {
                        self.uplink.handle_acknowledged(event);
                        self.events.keep(self.uplink.place());
                    }
                    Heard::Lost(loss) => return Ending::Lost(loss, connected),
                },
                Some((machine, change)) = self.changes.next() => learn(&mut self.uplink, machine, change),
                batch = self.events.next(), if self.uplink.wants_events() => self.uplink.handle_batch(batch),
                () = wake(next_at) => {}
                () = stopped(stop) => {
                    if connected {
                        let _ = timeout(FAREWELL_MAX, self.farewell(wire)).await;
                    }
                    return Ending::Stopped;
                }
            }
        }
    }

    /// Leaves the truth behind: offline, and no capacity. What was said before goes out first.
    async fn farewell(&mut self, mut wire: Wire) {
        let now = wall(SystemTime::now(), Moment::ZERO);
        let mut last_words: std::collections::VecDeque<_> = self.uplink.farewell(&now).into();
        while !last_words.is_empty() || wire.unacknowledged() > 0 {
            while let Some(publication) = last_words.pop_front() {
                if let Err(publication) = wire.try_publish(publication) {
                    last_words.push_front(publication);
                    break;
                }
            }
            if let Heard::Lost(_) = wire.hear().await {
                return;
            }
        }
        wire.disconnect();
        while !matches!(wire.hear().await, Heard::Lost(_)) {}
    }

    /// Keeps hearing the machines while there is no broker, so that nothing but the connection is behind.
    async fn listen_for(&mut self, pause: Duration, stop: &mut watch::Receiver<bool>) {
        let end = sleep(pause);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                Some((machine, change)) = self.changes.next() => learn(&mut self.uplink, machine, change),
                () = stopped(stop) => return,
            }
        }
    }

    fn say_connected(&self) {
        tracing::info!(
            events = self.uplink.events_waiting(),
            "The MQTT broker at {}:{} took the agent in.",
            self.broker.host,
            self.broker.port,
        );
    }

    /// Speaks of a loss when it is new, when its reason changes, and now and then.
    fn say_lost(&self, loss: &Loss, pause: Duration, said: &mut Option<(Loss, Instant)>) {
        if let Some((before, at)) = said {
            if before == loss && at.elapsed() < REMINDER {
                tracing::debug!(code = loss.code, "MQTT: {}; the next attempt is in {pause:.1?}.", loss.because);
                return;
            }
        }
        *said = Some((loss.clone(), Instant::now()));
        tracing::warn!(
            code = loss.code,
            events = self.uplink.events_waiting(),
            "The MQTT broker at {}:{} cannot be talked to: {}. The machines go on, events are kept, and the agent \
             keeps trying. {}",
            self.broker.host,
            self.broker.port,
            loss.because,
            loss.to_do(),
        );
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.started_at.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.started_at + Duration::from_micros(moment.0)
    }
}

/// The log, read from where the broker has it.
struct Events {
    log: Store,
    since: Cursor,
    reader: Option<Reader>,
    kept: Cursor,
}

impl Events {
    /// What comes next in the log. Safe to cancel.
    async fn next(&mut self) -> Batch {
        loop {
            if let Some(reader) = &mut self.reader {
                return reader.next(READ_ROWS).await;
            }
            match self.log.cursor(READER).await {
                Ok(place) => self.reader = Some(self.log.reader(place.unwrap_or_else(|| self.since.clone()))),
                // Without it nothing is told twice or left out; the disk is asked again.
                Err(_) => sleep(PAUSE_MAX).await,
            }
        }
    }

    /// Has the store keep where the broker is.
    fn keep(&mut self, place: Cursor) {
        if self.reader.is_some() && place != self.kept && !place.log.is_empty() {
            self.log.keep_cursor(READER, &place);
            self.kept = place;
        }
    }
}

fn learn(uplink: &mut Uplink, machine: usize, change: Change) {
    match change {
        Change::Snapshot(snapshot) => uplink.handle_snapshot(machine, snapshot),
        Change::Queue(queue) => uplink.handle_queue(machine, queue),
    }
}

fn changes(machines: Vec<Source>) -> Changes {
    let mut changes = Changes::new();
    for (machine, source) in machines.into_iter().enumerate() {
        let snapshots = WatchStream::from_changes(source.snapshots).map(Change::Snapshot);
        let queue = WatchStream::from_changes(source.queue).map(Change::Queue);
        changes.insert(machine, Box::pin(snapshots.merge(queue)));
    }
    changes
}

async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Ends when the agent is told to stop, or when nobody is left who could tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
