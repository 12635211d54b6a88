//! The thread that asks the devices beside one machine and stops them: it moves questions and time, and decides nothing.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::address::{Address, is_modbus};
use super::bus::{Bus, Patience};
use super::{Attached, Auxiliary};
use crate::notice::Notice;
use crate::snapshot::Beside;
use crate::{Moment, priority};

/// Stops and notices that may wait.
const WAITING_MAX: usize = 16;

/// Longest time that drives are given to stand when the agent ends, whatever their profile allows: what starts and ends
/// the agent waits no longer either.
const GOODBYE_MAX: Duration = Duration::from_secs(12);

/// What is asked when nothing is due: a stop ends the wait.
const NOTHING_DUE: Duration = Duration::from_secs(3);

/// The devices beside one machine. Dropped, it stops the drives, reads that back, and waits for it, within bounds.
#[derive(Debug)]
pub struct Auxiliaries {
    known: watch::Receiver<Arc<[Beside]>>,
    stops: Option<mpsc::Sender<()>>,
    /// How long the slowest drive may take to stand; nothing where there is no drive.
    goodbye: Option<Duration>,
    notices: mpsc::Receiver<Told>,
    thread: Option<JoinHandle<()>>,
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
            let place = device.port.as_deref().unwrap_or(port);
            if !is_modbus(place) {
                return Err(wrong("it needs a `port`, because the machine's own is no Modbus port".to_owned()));
            }
            let address = Address::parse(place).map_err(|notice| wrong(notice.happened))?;
            // Without a port of its own it shares the machine's, and is another unit there.
            let unit = address.unit.filter(|_| device.port.is_some()).unwrap_or(device.modbus.unit);
            let bus = Bus::on(&address, &device.modbus)?;
            let attached = Attached::new(device.clone(), Moment::ZERO + started.elapsed());
            lines.push(Line { bus, unit, patience: Patience::of(&device.modbus), attached });
        }
        let first: Arc<[Beside]> = lines.iter().map(|line| line.attached.snapshot(Moment::ZERO)).collect();
        let (publish, known) = watch::channel(first);
        let (stops, asked) = mpsc::channel(WAITING_MAX);
        let (tell, notices) = mpsc::channel(WAITING_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let slowest_ms = devices.iter().filter_map(|device| device.stop.as_ref()).map(|stop| stop.within_ms).max();
        let goodbye = slowest_ms.map(|slowest_ms| Duration::from_millis(slowest_ms).min(GOODBYE_MAX));
        let thread = std::thread::Builder::new().name("auxiliary".to_owned()).spawn(move || {
            priority::ask(priority::MACHINE);
            runtime.block_on(serve(lines, (started, goodbye.unwrap_or_default()), &publish, asked, &tell));
        })?;
        Ok(Self { known, stops: Some(stops), goodbye, notices, thread: Some(thread) })
    }

    /// What is known of them.
    pub fn known(&self) -> Arc<[Beside]> {
        self.known.borrow().clone()
    }

    /// Makes every drive stand. Never waits: a full lane means that a stop is on its way already.
    pub fn stop(&self) {
        if let Some(stops) = &self.stops {
            let _ = stops.try_send(());
        }
    }

    /// A handle for whoever wants the drives to stand before the agent goes.
    pub fn drives(&self) -> Option<Drives> {
        let (known, goodbye) = (self.known.clone(), self.goodbye?);
        self.stops.clone().map(|stops| Drives { known, stops, goodbye })
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
    /// Whether it is about a drive that is being stopped.
    pub stopping: bool,
}

/// A handle to the drives beside a machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drives {
    known: watch::Receiver<Arc<[Beside]>>,
    stops: mpsc::Sender<()>,
    goodbye: Duration,
}

impl Drives {
    /// Makes every drive stand, and waits until that is read back or the time is over. Whether all stand.
    pub async fn stand(&self) -> bool {
        let mut known = self.known.clone();
        known.mark_unchanged();
        if self.stops.send(()).await.is_err() {
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
        self.stops = None;
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

impl Line {
    /// Asks what is due. Whether anything was.
    async fn step(&mut self, now: &impl Fn() -> Moment) -> bool {
        let Some(question) = self.attached.question(now()) else { return false };
        let answered = if self.attached.is_stopping() {
            self.bus.ask_first(self.unit, question.clone(), self.patience).await
        } else {
            self.bus.ask(self.unit, question.clone(), self.patience).await
        };
        match answered {
            Ok(words) => self.attached.answered(now(), &question, &words),
            Err(trouble) => self.attached.unanswered(now(), &question, &trouble),
        }
        true
    }
}

/// Tells every drive to stop, and says so before the first of them has heard it.
fn stop_all(lines: &mut [Line], now: Moment, publish: &watch::Sender<Arc<[Beside]>>) {
    for line in lines.iter_mut() {
        line.attached.stop(now);
    }
    publish.send_replace(lines.iter().map(|line| line.attached.snapshot(now)).collect());
}

async fn serve(
    mut lines: Vec<Line>,
    (started, goodbye): (Instant, Duration),
    publish: &watch::Sender<Arc<[Beside]>>,
    mut stops: mpsc::Receiver<()>,
    tell: &mpsc::Sender<Told>,
) {
    let now = || Moment::ZERO + started.elapsed();
    let mut ends_at = None;
    loop {
        match stops.try_recv() {
            Ok(()) => stop_all(&mut lines, now(), publish),
            Err(mpsc::error::TryRecvError::Disconnected) if ends_at.is_none() => {
                ends_at = Some(now() + goodbye);
                stop_all(&mut lines, now(), publish);
            }
            Err(_) => {}
        }
        if ends_at.is_some_and(|at| now() >= at || lines.iter().all(|line| !line.attached.is_stopping())) {
            return;
        }
        let mut asked = false;
        for line in &mut lines {
            asked |= line.step(&now).await;
            while let Some(notice) = line.attached.take_notice() {
                tracing::warn!(%notice, "a device beside a machine");
                // Nobody there to hear it is no reason to stop watching.
                let _ = tell.try_send(Told { notice, stopping: line.attached.is_stopping() });
            }
        }
        if asked {
            publish.send_replace(lines.iter().map(|line| line.attached.snapshot(now())).collect());
            continue;
        }
        let next = lines.iter().filter_map(|line| line.attached.wakes_at()).min();
        let wait = next.map_or(NOTHING_DUE, |at| at.since(now()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            stop = stops.recv(), if ends_at.is_none() => if stop.is_some() {
                stop_all(&mut lines, now(), publish);
            }
        }
    }
}
