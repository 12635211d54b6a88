//! The thread that asks the devices beside one machine and stops them: it moves questions and time, and decides nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::address::{Address, is_modbus};
use super::bus::{Bus, Patience};
use super::{Attached, Auxiliary, SpindleOrder};
use crate::notice::Notice;
use crate::snapshot::Beside;
use crate::{Moment, priority};

/// Stops and notices that may wait.
const WAITING_MAX: usize = 16;

/// Longest time that drives are given to stand when the agent ends, whatever their profile allows: what starts and ends
/// the agent waits no longer either.
const GOODBYE_MAX: Duration = Duration::from_secs(12);

/// Between two looks at what was ordered, once nobody is left to order.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is asked when nothing is due: a stop ends the wait.
const NOTHING_DUE: Duration = Duration::from_secs(3);

/// The devices beside one machine. Dropped, it stops the drives, reads that back, and waits for it, within bounds.
#[derive(Debug)]
pub struct Auxiliaries {
    known: watch::Receiver<Arc<[Beside]>>,
    lanes: Option<Lanes>,
    orders: watch::Sender<Option<SpindleOrder>>,
    /// How long the slowest drive may take to stand; nothing where there is no drive.
    goodbye: Option<Duration>,
    notices: mpsc::Receiver<Told>,
    thread: Option<JoinHandle<()>>,
}

/// The way of a stop to the drives. A stop voids every order that was given before it: one that is still on its way turns
/// nothing any more.
#[derive(Debug, Clone)]
struct Lanes {
    stops: mpsc::Sender<()>,
    issued: Arc<AtomicU32>,
    void: Arc<AtomicU32>,
}

impl Lanes {
    fn void_orders(&self) {
        self.void.fetch_max(self.issued.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

impl Auxiliaries {
    /// Starts asking the devices of a profile; times are counted from `started`. `port` is the machine's own.
    ///
    /// # Errors
    /// A device has no port and the machine's is no Modbus port; an address cannot be read; no thread could be started.
    pub fn start(devices: &[Auxiliary], port: &str, started: Instant) -> io::Result<Self> {
        let mut lines = Vec::new();
        for device in devices {
            let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, format!("`{}`: {why}", device.name));
            let (address, unit) = place(device, port).map_err(wrong)?;
            let bus = Bus::on(&address, &device.modbus)?;
            let attached = Attached::new(device.clone(), Moment::ZERO + started.elapsed());
            lines.push(Line { bus, unit, patience: Patience::of(&device.modbus), attached });
        }
        let first: Arc<[Beside]> = lines.iter().map(|line| line.attached.snapshot(Moment::ZERO)).collect();
        let (publish, known) = watch::channel(first);
        let (stops, asked) = mpsc::channel(WAITING_MAX);
        let (orders, ordered) = watch::channel(None);
        let (tell, notices) = mpsc::channel(WAITING_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let slowest_ms = devices.iter().filter_map(|device| device.stop.as_ref()).map(|stop| stop.within_ms).max();
        let goodbye = slowest_ms.map(|slowest_ms| Duration::from_millis(slowest_ms).min(GOODBYE_MAX));
        let lanes = Lanes { stops, issued: Arc::default(), void: Arc::default() };
        let service = Service {
            lines,
            started,
            goodbye: goodbye.unwrap_or_default(),
            publish,
            ordered,
            void: Arc::clone(&lanes.void),
            tell,
        };
        let thread = std::thread::Builder::new().name("auxiliary".to_owned()).spawn(move || {
            priority::ask(priority::MACHINE);
            runtime.block_on(service.serve(asked));
        })?;
        Ok(Self { known, lanes: Some(lanes), orders, goodbye, notices, thread: Some(thread) })
    }

    /// What is known of them.
    pub fn known(&self) -> Arc<[Beside]> {
        self.known.borrow().clone()
    }

    /// Makes every drive stand. Never waits: a full lane means that a stop is on its way already.
    pub fn stop(&self) {
        if let Some(lanes) = &self.lanes {
            lanes.void_orders();
            let _ = lanes.stops.try_send(());
        }
    }

    /// Gives an order to the drive that is the machine's spindle. The newest counts; one that a stop came after does not.
    pub fn order(&self, order: SpindleOrder) {
        if let Some(lanes) = &self.lanes {
            lanes.issued.fetch_max(order.number, Ordering::SeqCst);
            self.orders.send_replace(Some(order));
        }
    }

    /// A handle for whoever wants the drives to stand before the agent goes.
    pub fn drives(&self) -> Option<Drives> {
        let (known, goodbye) = (self.known.clone(), self.goodbye?);
        self.lanes.clone().map(|lanes| Drives { known, lanes, goodbye })
    }

    /// Something a person should hear of, if there is anything.
    pub fn take_notice(&mut self) -> Option<Told> {
        self.notices.try_recv().ok()
    }
}

/// Something a person should hear of.
#[derive(Debug, Clone)]
pub struct Told {
    /// What happened.
    pub notice: Notice,
}

/// A handle to the drives beside a machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drives {
    known: watch::Receiver<Arc<[Beside]>>,
    lanes: Lanes,
    goodbye: Duration,
}

impl Drives {
    /// Makes every drive stand, and waits until that is read back or the time is over. Whether all stand.
    pub async fn stand(&self) -> bool {
        let mut known = self.known.clone();
        known.mark_unchanged();
        self.lanes.void_orders();
        if self.lanes.stops.send(()).await.is_err() {
            return false;
        }
        // What was published before the stop says nothing about it.
        let stood = async {
            known.changed().await.is_ok()
                && known.wait_for(|known| known.iter().all(|device| !device.stopping)).await.is_ok()
        };
        tokio::time::timeout(self.goodbye, stood).await.unwrap_or(false)
    }
}

impl Drop for Auxiliaries {
    fn drop(&mut self) {
        self.lanes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One device and the way to it.
struct Line {
    bus: Bus,
    unit: u8,
    patience: Patience,
    attached: Attached,
}

/// Where a device is, and which unit it is there.
///
/// # Errors
/// A sentence: it has no Modbus port, or its address or unit cannot be.
pub fn place(device: &Auxiliary, port: &str) -> Result<(Address, u8), String> {
    let place = device.port.as_deref().unwrap_or(port);
    if !is_modbus(place) {
        return Err("it needs a `port`, because the machine's own is no Modbus port".to_owned());
    }
    let address = Address::parse(place).map_err(|notice| notice.happened)?;
    // Without a port of its own it shares the machine's, and is another unit there.
    let unit = address.unit.filter(|_| device.port.is_some()).unwrap_or(device.modbus.unit);
    if !address.way.has_unit(unit) {
        return Err(format!("unit {unit} is no device on `{place}`"));
    }
    Ok((address, unit))
}

impl Line {
    /// Asks what is due, and waits for the answer until a moment at the longest. Whether anything was.
    async fn step(&mut self, now: &impl Fn() -> Moment, ends_at: Option<Moment>) -> bool {
        let Some(question) = self.attached.question(now()) else { return false };
        // A stop is said again and again by who stops, and with what the drive knows: the bus need not.
        let patience = Patience { retries: 0, ..self.patience };
        let asked = async {
            if self.attached.is_stopping() {
                self.bus.ask_first(self.unit, question.clone(), patience).await
            } else if question.writes() {
                self.bus.ask(self.unit, question.clone(), patience).await
            } else {
                self.bus.ask(self.unit, question.clone(), self.patience).await
            }
        };
        let answered = match ends_at {
            Some(ends_at) => {
                tokio::time::timeout(ends_at.since(now()), asked).await.unwrap_or(Err(super::Trouble::Overdue))
            }
            None => asked.await,
        };
        match answered {
            Ok(words) => self.attached.answered(now(), &question, &words),
            Err(trouble) => self.attached.unanswered(now(), &question, &trouble),
        }
        true
    }
}

/// What the thread does.
struct Service {
    lines: Vec<Line>,
    started: Instant,
    goodbye: Duration,
    publish: watch::Sender<Arc<[Beside]>>,
    ordered: watch::Receiver<Option<SpindleOrder>>,
    void: Arc<AtomicU32>,
    tell: mpsc::Sender<Told>,
}

impl Service {
    fn now(&self) -> Moment {
        Moment::ZERO + self.started.elapsed()
    }

    fn publish(&self) {
        let now = self.now();
        self.publish.send_replace(self.lines.iter().map(|line| line.attached.snapshot(now)).collect());
    }

    /// Tells every drive to stop, and says so before the first of them has heard it.
    fn stop_all(&mut self) {
        let now = self.now();
        self.lines.iter_mut().for_each(|line| line.attached.stop(now));
        self.publish();
    }

    /// Gives the newest order to the drive that is the spindle, unless a stop came after it.
    fn take_order(&mut self) {
        if !self.ordered.has_changed().unwrap_or(false) {
            return;
        }
        let order = *self.ordered.borrow_and_update();
        let Some(order) = order.filter(|order| order.number > self.void.load(Ordering::SeqCst)) else { return };
        let now = self.now();
        if let Some(line) = self.lines.iter_mut().find(|line| line.attached.is_spindle()) {
            line.attached.order(now, order);
        }
        self.publish();
    }

    async fn serve(mut self, mut stops: mpsc::Receiver<()>) {
        let started = self.started;
        let now = move || Moment::ZERO + started.elapsed();
        let mut ends_at = None;
        // Since when every drive has been told to stop, while one of them does not stand.
        let mut stopping_since = None;
        // A stop that came while a device was being asked; nothing, where the last handle is gone.
        let mut came: Option<Option<()>> = None;
        loop {
            let stop = came.take().or_else(|| match stops.try_recv() {
                Ok(()) => Some(Some(())),
                Err(mpsc::error::TryRecvError::Disconnected) => Some(None),
                Err(mpsc::error::TryRecvError::Empty) => None,
            });
            match stop {
                Some(Some(())) => {
                    self.stop_all();
                    stopping_since = stopping_since.or(Some(now()));
                }
                Some(None) if ends_at.is_none() => {
                    self.stop_all();
                    // Who has waited for it already waits no second time.
                    ends_at = Some(stopping_since.unwrap_or_else(now) + self.goodbye);
                }
                _ => {}
            }
            self.take_order();
            let stand = self.lines.iter().all(|line| !line.attached.is_stopping());
            if stand {
                stopping_since = None;
            }
            if ends_at.is_some_and(|at| now() >= at || stand) {
                return;
            }
            let mut asked = false;
            let until = ends_at.or_else(|| stopping_since.map(|since| since + self.goodbye).filter(|at| *at > now()));
            for line in &mut self.lines {
                // A stop waits behind no answer of whichever device.
                tokio::select! {
                    biased;
                    stop = stops.recv(), if ends_at.is_none() && came.is_none() => came = Some(stop),
                    did = line.step(&now, until) => asked |= did,
                }
                while let Some(notice) = line.attached.take_notice() {
                    tracing::warn!(%notice, "a device beside a machine");
                    // Nobody there to hear it is no reason to stop watching.
                    let _ = self.tell.try_send(Told { notice });
                }
                if came.is_some() {
                    break;
                }
            }
            if came.is_some() {
                continue;
            }
            if asked {
                self.publish();
                continue;
            }
            let next = self.lines.iter().filter_map(|line| line.attached.wakes_at()).min();
            let wait = next.map_or(NOTHING_DUE, |at| at.since(now()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.ordered.changed() => if changed.is_err() {
                    // Whoever orders is gone, and the stops' lane with them.
                    tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
                } else {
                    self.ordered.mark_changed();
                },
                stop = stops.recv(), if ends_at.is_none() => came = Some(stop),
            }
        }
    }
}
