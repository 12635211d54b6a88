//! The MQTT sink: publishes what is true of the machines, and keeps events until the broker has them.
//!
//! ```text
//! snapshots, events ─► Uplink (what and when; pure) ─► Wire (one connection) ─► broker
//!                        ├ Outbox (a cursor in the log, moved by acknowledgements)
//!                        └ Refusals (what the broker does not take)
//!                      Course (what to ask of the broker, and how long to wait; pure)
//! ```
//!
//! A broker that is away costs nothing but memory that is bounded: the sink says so once, keeps trying with growing,
//! jittered pauses, and after each reconnect says everything again that a broker should retain.
//! Nothing is subscribed to: no message, retained, late or doubled, can start anything.

mod course;
mod documents;
mod line;
mod loss;
mod news;
mod outbox;
mod refusals;
mod settings;
mod slot;
mod uplink;
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use drivers::machine::Epoch;
use drivers::repeats::Repeats;
use drivers::{Moment, Notice, Snapshot};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt, StreamMap};

use self::course::Course;
use self::loss::{Kind, Loss};
use self::settings::Ready;
pub use self::settings::{Settings, Tls, Version};
use self::uplink::Uplink;
use self::wire::{Heard, Wire};
use super::{Feed, Opened, Sink, Source, Work};
use crate::capacity::Queue;
use crate::store::{Batch, Class, Cursor, Fact, Reader, Store};
use crate::topics::Scheme;

/// Longest wait before the store is asked again for what it did not give.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// A broker that stays away is spoken of this often, so that the log says it and is not filled with it.
const REMINDER: Duration = Duration::from_secs(600);

/// Under which name the store keeps how far the broker has the log.
const READER: &str = "mqtt";

/// Under which name the store keeps the topics on which the broker keeps what this agent said.
const RETAINED: &str = "mqtt.retained";

/// Longest wait for the store before the first connection: a frozen disk keeps no broker waiting.
const RECALLED_WITHIN: Duration = Duration::from_secs(1);

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
    let broker = Ready::from(settings)?;
    Ok(Some(Box::new(Mqtt { broker, interval: settings.interval })))
}

struct Mqtt {
    broker: Ready,
    interval: Duration,
}

impl Sink for Mqtt {
    fn run(mut self: Box<Self>, feed: Feed, stop: watch::Receiver<bool>) -> Work {
        self.broker.name(&feed.site, &feed.agent, &feed.log.newest().log);
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
    /// With when the broker had taken us in, if it had.
    Lost(Loss, Option<Instant>),
}

struct Conversation {
    broker: Ready,
    uplink: Uplink,
    course: Course,
    changes: Changes,
    events: Events,
    started_at: Instant,
    /// Whether it is known which topics were published on before.
    knows_retained: bool,
    /// What was said in the log of connections that were lost, and whether one was made before.
    said: Repeats,
    welcomed: bool,
}

impl Conversation {
    fn new(sink: Mqtt, scheme: Scheme, mut feed: Feed) -> Self {
        let started_at = Instant::now();
        let clock = Epoch::following(started_at.into_std(), SystemTime::now());
        let uplink = Uplink::new(scheme, &feed.agent, &mut feed.machines, clock, sink.interval);
        let events = Events { log: feed.log, since: feed.since, reader: None, kept: Cursor::default() };
        let changes = changes(feed.machines);
        let course = Course::new(sink.broker.version == Version::V5, sink.broker.short_id.is_some());
        Self {
            broker: sink.broker,
            uplink,
            course,
            changes,
            events,
            started_at,
            knows_retained: false,
            said: Repeats::new(REMINDER),
            welcomed: false,
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        self.recall_retained().await;
        while !*stop.borrow() {
            let (will_topic, will) = self.uplink.will();
            let wire = Wire::open(&self.broker, self.course.terms(), &will_topic, &will.to_string());
            let Ending::Lost(mut loss, connected_at) = self.talk(wire, &mut stop).await else { return };
            let held = connected_at.map(|at| at.elapsed());
            let pause = self.course.lost(&mut loss, held, self.uplink.unanswered());
            self.uplink.handle_lost(loss.kind, self.now());
            self.tell_notices();
            // Jitter, so that a hall of agents does not fall on a broker in step when it comes back.
            let waits = pause.mul_f64(0.5 + fastrand::f64());
            self.say_lost(&loss, waits);
            self.listen_for(waits, &mut stop).await;
        }
    }

    /// Which topics earlier lives of this agent have published on, that this one does not: they are taken back.
    async fn recall_retained(&mut self) {
        // Where the store does not say in time, nothing is taken back in this life, and nothing is forgotten.
        let Ok(Ok(kept)) = timeout(RECALLED_WITHIN, self.events.log.kept(RETAINED)).await else { return };
        self.knows_retained = true;
        let kept: Vec<String> = kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default();
        let own = self.uplink.retained();
        self.uplink.take_back(kept.into_iter().filter(|topic| !own.contains(topic)));
        self.keep_retained();
    }

    fn keep_retained(&self) {
        if self.knows_retained {
            let topics: Vec<_> = self.uplink.retained().into_iter().chain(self.uplink.old().cloned()).collect();
            self.events.log.keep(RETAINED, Some(json!(topics).to_string()));
        }
    }

    /// Talks over one connection until it is lost or the agent stops.
    async fn talk(&mut self, mut wire: Wire, stop: &mut watch::Receiver<bool>) -> Ending {
        let mut connected_at = None;
        loop {
            while wire.has_room() {
                let Some(publication) = self.uplink.poll_publication(self.now()) else { break };
                wire.publish(publication);
            }
            self.tell_notices();
            let next_at = self.uplink.poll_timeout().filter(|_| wire.has_room()).map(|at| self.instant(at));
            let gone_at = self.uplink.gone_at().map(|at| self.instant(at));
            tokio::select! {
                heard = wire.hear() => match heard {
                    Heard::Lost(loss) => return Ending::Lost(loss, connected_at),
                    Heard::Connected(limits) => {
                        connected_at = Some(Instant::now());
                        let (terms, newest) = (self.course.terms(), self.events.log.newest().number);
                        self.say_connected(&limits);
                        self.uplink.handle_connected(newest, limits.within(terms), terms.careful, self.now());
                    }
                    heard => self.heard(heard),
                },
                Some((machine, change)) = self.changes.next() => learn(&mut self.uplink, machine, change),
                batch = self.events.next(), if self.uplink.wants_events() => self.uplink.handle_batch(batch),
                () = wake(next_at) => {}
                () = wake(gone_at) => {
                    let loss = Loss::new(Kind::Silent, "it acknowledges nothing any more");
                    return Ending::Lost(loss, connected_at);
                }
                () = stopped(stop) => {
                    if connected_at.is_some() {
                        let _ = timeout(FAREWELL_MAX, self.farewell(wire)).await;
                    }
                    return Ending::Stopped;
                }
            }
        }
    }

    /// What became of a publication.
    fn heard(&mut self, heard: Heard) {
        let now = self.now();
        let old = self.uplink.old().count();
        match heard {
            Heard::Answered(token, verdict) => self.uplink.handle_verdict(&token, verdict, now),
            Heard::Sent(Some(token)) => self.uplink.handle_sent(&token, now),
            Heard::Sent(None) | Heard::Connected(_) | Heard::Lost(_) => {}
        }
        self.events.keep(self.uplink.place());
        if self.uplink.old().count() != old {
            self.keep_retained();
        }
    }

    /// Leaves the truth behind: offline, and machines of which nothing is known. What was said before goes out first.
    async fn farewell(&mut self, mut wire: Wire) {
        let mut last_words: std::collections::VecDeque<_> = self.uplink.farewell().into();
        while !last_words.is_empty() || wire.unanswered() > 0 {
            while wire.has_room() {
                let Some(publication) = last_words.pop_front() else { break };
                wire.publish(publication);
            }
            match wire.hear().await {
                Heard::Lost(_) => return,
                heard => self.heard(heard),
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

    /// Speaks of a connection where it is the first, or one behind a loss that was spoken of.
    fn say_connected(&mut self, limits: &course::Limits) {
        let again = self.said.well(Instant::now().into_std());
        if std::mem::replace(&mut self.welcomed, true) && !again {
            return;
        }
        tracing::info!(
            events = self.uplink.events_waiting(),
            packet_bytes_max = limits.packet_bytes_max,
            receive_max = limits.receive_max,
            retain = limits.retain,
            acknowledge = limits.acknowledge,
            "The MQTT broker at {}:{} took the agent in.",
            self.broker.host,
            self.broker.port,
        );
    }

    /// What people are to know of the broker: in the log of the process, and in that of the agent.
    fn tell_notices(&mut self) {
        while let Some(notice) = self.uplink.poll_notice() {
            tracing::warn!(code = notice.code, refused = self.uplink.refused(), "{notice}");
            self.note(&notice);
        }
    }

    fn note(&self, notice: &Notice) {
        self.events.log.tell([Fact::new(Class::Agent, json!({ "type": "trouble", "notice": notice }))], []);
    }

    /// Speaks of a loss when its kind is new, and now and then.
    fn say_lost(&mut self, loss: &Loss, pause: Duration) {
        if matches!(loss.kind, Kind::NoRetain | Kind::NoAcknowledge) {
            // It is not asked for that again, and people are told when it takes us in.
            tracing::info!(code = loss.code(), "MQTT: {}", loss.because);
            return;
        }
        let Some(repeated) = self.said.say(&format!("{:?}", loss.kind), Instant::now().into_std()) else {
            tracing::debug!(code = loss.code(), "MQTT: {}; the next attempt is in {pause:.1?}.", loss.because);
            return;
        };
        let happened = loss.happened(&self.broker.client_id);
        let notice = Notice::new(
            loss.code(),
            format!("The MQTT broker at {}:{}: {happened}.", self.broker.host, self.broker.port),
            "The machines go on, events are kept, and the agent keeps trying.",
            loss.to_do(),
        );
        tracing::warn!(code = loss.code(), repeated = repeated.0, events = self.uplink.events_waiting(), "{notice}");
        if repeated.0.is_none() {
            self.note(&notice);
        }
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
                Err(_) => sleep(ASK_AGAIN).await,
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
