//! The thread that moves bytes and time between a link and a session; it decides nothing.

mod feeding;
mod opening;
mod telling;

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use tokio::io::ReadBuf;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Sleep;

use self::feeding::Opening;
use crate::event::Event;
use crate::link::{self, Address, Wire};
use crate::machine::{EVENT_RING, Epoch, INBOX_REQUESTS, Machine, Order, RECORDINGS_WAITING, Recording, Setup};
use crate::modbus::attached::own_points;
use crate::modbus::auxiliary::Auxiliaries;
use crate::modbus::energy::Energy;
use crate::moment::Moment;
use crate::notice::Notice;
use crate::outbox::Outbox;
use crate::program::{Chunk, Piece, ProgramReader};
use crate::recording::Recorder;
use crate::repeats::Repeats;
use crate::request::{Answer, Request};
use crate::session::{Input, Session};
use crate::snapshot::Snapshot;
use crate::{dialect, priority};

/// Bytes read from a link at once: more than a fast machine says between two wake-ups.
const READ_BYTES: usize = 4096;

/// Least time between two snapshots that differ in numbers only. A page refreshes four times a second; a change of
/// state is published at once.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Waits between attempts to open a link: quick for a re-plugged cable, slow for a machine that is switched off.
const REOPEN_FIRST: Duration = Duration::from_millis(500);
const REOPEN_LAST: Duration = Duration::from_secs(5);

/// A machine that stays away is spoken of this often in the log: its state says it all the time.
const NO_LINK_AGAIN_AFTER: Duration = Duration::from_secs(6 * 3600);

/// Starts the thread of one machine. It connects, reconnects and serves requests until every handle is dropped.
///
/// # Errors
/// The profile names a dialect that does not exist, or the operating system could not start a thread.
pub fn spawn(setup: Setup) -> io::Result<Machine> {
    spawn_heard(setup).map(|(machine, _)| machine)
}

/// As [`spawn`], with all events from the very first: a machine that answers at once is connected before its caller can
/// ask for [`Machine::events`].
///
/// # Errors
/// As [`spawn`].
pub fn spawn_heard(setup: Setup) -> io::Result<(Machine, broadcast::Receiver<Event>)> {
    let dialect = dialect::named(&setup.profile.dialect).ok_or_else(|| {
        let known: Vec<_> = dialect::ALL.iter().map(|dialect| dialect.habits().name).collect();
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("There is no dialect `{}`; known: {}.", setup.profile.dialect, known.join(", ")),
        )
    })?;
    let (snapshots, snapshot) = watch::channel(Arc::new(Snapshot::unknown(Moment::ZERO)));
    let (events, heard) = broadcast::channel(EVENT_RING);
    let (inbox, orders) = mpsc::channel(INBOX_REQUESTS);
    let (emergency, stops) = mpsc::channel(1);
    let (recordings, _) = broadcast::channel(RECORDINGS_WAITING);
    let (copy, copies) = mpsc::channel(1);
    #[expect(clippy::disallowed_methods, reason = "the shell is where the clock is read")]
    let (epoch, started) = (SystemTime::now(), Instant::now());
    let mut devices = setup.profile.auxiliary.clone();
    devices.extend(own_points(&setup.profile, &setup.port));
    let beside = (!devices.is_empty()).then(|| Auxiliaries::start(&devices, &setup.port, started)).transpose()?;
    let drives = beside.as_ref().and_then(Auxiliaries::drives);
    let machine = Machine {
        setup: setup.clone(),
        epoch: Epoch::following(started, epoch),
        snapshot,
        events: events.clone(),
        inbox,
        emergency,
        drives,
        recordings: recordings.clone(),
        copy,
    };
    let name = setup.name.clone();
    let session = Session::new(dialect, Arc::clone(&setup.profile), Moment::ZERO);
    let shell = Shell {
        recorder: Recorder::new(&setup.profile, Moment::ZERO),
        session,
        baud_found: None,
        address: Address {
            port: setup.port.clone(),
            baud: setup.profile.serial.baud,
            modbus: setup.profile.modbus.clone(),
        },
        setup,
        started,
        zero_us: u64::try_from(epoch.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros())
            .unwrap_or(0),
        recordings,
        recorded_at: None,
        copies,
        snapshots,
        published_at: Moment::ZERO,
        events,
        orders,
        stops,
        outbox: Outbox::default(),
        program: None,
        opening: None,
        chunk: Chunk::default(),
        answers: Vec::new(),
        due: None,
        beside,
        noticed: None,
        no_link: Repeats::new(NO_LINK_AGAIN_AFTER),
        answered: false,
        energy: Energy::default(),
    };
    std::thread::Builder::new().name(name).spawn(move || shell.live())?;
    Ok((machine, heard))
}

/// What a wait ended with.
enum Happening {
    Stop(oneshot::Sender<Answer>),
    Order(Order),
    /// Somebody wants a copy of the recording.
    Copy(oneshot::Sender<Recording>),
    Heard(usize),
    Piece(Option<Piece>),
    Opened(Option<Piece>),
    Due,
    Lost(Option<io::Error>),
    /// Every handle is gone.
    Abandoned,
}

/// Why a conversation ended.
enum End {
    Lost(Option<io::Error>),
    Abandoned,
}

struct Shell {
    setup: Setup,
    address: Address,
    session: Session,
    /// The rate at which the line was opened last.
    baud_found: Option<u32>,
    started: Instant,
    zero_us: u64,
    recorder: Recorder,
    recordings: broadcast::Sender<Arc<Recording>>,
    /// When the last recording was handed over.
    recorded_at: Option<Moment>,
    copies: mpsc::Receiver<oneshot::Sender<Recording>>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    published_at: Moment,
    events: broadcast::Sender<Event>,
    orders: mpsc::Receiver<Order>,
    stops: mpsc::Receiver<oneshot::Sender<Answer>>,
    outbox: Outbox,
    program: Option<ProgramReader>,
    /// A start whose program is being opened.
    opening: Option<Opening>,
    chunk: Chunk,
    /// Answers to give once the bytes they stand for are written.
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    due: Option<(Moment, Pin<Box<Sleep>>)>,
    /// The devices beside the machine, and what they measure for its job.
    beside: Option<Auxiliaries>,
    noticed: Option<Notice>,
    /// What was said in the log of a link that is not there.
    no_link: Repeats,
    /// Whether the machine answered in the conversation that is, or was last.
    answered: bool,
    energy: Energy,
}

impl Shell {
    fn now(&self) -> Moment {
        Moment::ZERO + self.started.elapsed()
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.started + Duration::from_micros(moment.0)
    }

    /// The life of the thread. A fault in the agent costs this machine its conversation and no other machine anything.
    fn live(mut self) {
        let nice = priority::ask(priority::MACHINE);
        tracing::info!(machine = %self.setup.name, ?nice, "its thread runs");
        if self.setup.watch_table {
            let now = self.now();
            self.handle(now, Input::WatchTable);
        }
        let mut wait = Duration::ZERO;
        while catch_unwind(AssertUnwindSafe(|| self.serve(wait))).is_err() {
            wait = REOPEN_LAST;
            self.program = None;
            self.opening = None;
            self.chunk = Chunk::default();
            self.answers.clear();
            self.due = None;
            let notice = Notice::new(
                "machine.fault",
                "A fault in the agent ended its conversation with this machine.",
                "What the machine had received may still run; nothing more was sent.",
                "Look at the machine and the work, then report the fault with the agent's log.",
            );
            // A session that cannot even take this leaves the last snapshot as it is, and the next greeting corrects it.
            let _ = catch_unwind(AssertUnwindSafe(|| self.link_down(notice)));
        }
    }

    /// Serves the machine, after a wait, until every handle is gone.
    fn serve(&mut self, first_wait: Duration) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, machine = %self.setup.name, "no runtime for this machine");
                return;
            }
        };
        runtime.block_on(async {
            let mut wait = REOPEN_FIRST;
            if first_wait > Duration::ZERO && !self.rest(first_wait).await {
                return;
            }
            loop {
                match self.connect().await {
                    None => return,
                    Some(Ok(opened)) => {
                        let may_reset = opened.may_reset && self.setup.profile.serial.resets_on_open;
                        match self.converse(opened.wire, may_reset).await {
                            End::Abandoned => return,
                            End::Lost(error) => self.link_down(link::lost(&self.address.port, error.as_ref())),
                        }
                        // A port that opens with nobody behind it is no sooner worth another attempt.
                        if self.answered {
                            wait = REOPEN_FIRST;
                        }
                    }
                    Some(Err(notice)) => self.link_down(notice),
                }
                if !self.rest(wait).await {
                    return;
                }
                wait = (wait * 2).min(REOPEN_LAST);
            }
        });
    }

    /// Everything that goes into the session is noted first: what a fault in the agent did not survive is in there.
    fn handle(&mut self, now: Moment, input: Input<'_>) {
        self.recorder.input(now, &self.session, &input);
        self.session.handle(now, input);
    }

    fn request(&mut self, now: Moment, request: Request) -> Answer {
        self.recorder.request(now, &request);
        self.session.request(now, request)
    }

    fn link_down(&mut self, notice: Notice) {
        let now = self.now();
        // A machine that is off says so once, and not at every attempt to reach it.
        if let Some(repeated) = self.no_link.say(&notice.code, self.instant(now)) {
            tracing::warn!(machine = %self.setup.name, repeated = repeated.0, %notice, "no link");
        }
        // Whoever waits for it is told that there is no link.
        self.opening = None;
        self.outbox = Outbox::default();
        self.handle(now, Input::LinkDown(notice));
        self.stop_drives();
        self.heed_devices(now);
        self.tell(now, true);
    }

    /// One conversation, from an open link to its loss.
    async fn converse(&mut self, mut wire: Box<dyn Wire>, may_reset: bool) -> End {
        let mut now = self.now();
        self.answered = false;
        self.handle(now, Input::LinkUp { may_reset });
        let mut heard = [0_u8; READ_BYTES];
        loop {
            self.heed_devices(now);
            self.take_outputs(now);
            let happening = poll_fn(|context| self.poll(context, wire.as_mut(), &mut heard)).await;
            now = self.now();
            match happening {
                Happening::Stop(answer) => {
                    self.stop_drives();
                    let said = self.request(now, Request::Stop);
                    self.program = None;
                    self.forget_opening();
                    self.answers.push((answer, said));
                }
                Happening::Order(order) => self.order(now, order),
                Happening::Heard(count) => self.handle(now, Input::Bytes(&heard[..count])),
                Happening::Piece(piece) => self.piece(now, piece),
                Happening::Copy(give) => {
                    let _ = give.send(self.recording(now, None));
                }
                Happening::Opened(piece) => self.opened(now, piece),
                Happening::Due => self.pass_time(now),
                Happening::Lost(error) => return End::Lost(error),
                Happening::Abandoned => return End::Abandoned,
            }
            self.feed(now);
            if self.session.is_ready() && !self.answered {
                self.answered = true;
                if self.no_link.well(self.instant(now)) {
                    tracing::info!(machine = %self.setup.name, "the machine answers");
                }
            }
        }
    }

    /// Takes what the session wants written and told.
    fn take_outputs(&mut self, now: Moment) {
        let urgent = self.session.take_urgent();
        if let Some(urgent) = &urgent {
            self.outbox.put_first(&urgent.bytes, urgent.discard);
        }
        let waiting = self.outbox.bytes.len();
        self.session.take_wire(&mut self.outbox.bytes);
        self.recorder.output(now, urgent.as_ref(), &self.outbox.bytes[waiting..]);
        // Whoever is answered finds what came of it in the snapshot, and nothing of before.
        self.tell(now, !self.answers.is_empty());
        self.recorder.turn(now, &self.session);
    }

    /// Waits for whatever comes first. The order is the order of importance: a stop, the bytes that wait, the
    /// requests of people, the machine, the program, time.
    fn poll(&mut self, context: &mut Context<'_>, wire: &mut dyn Wire, heard: &mut [u8]) -> Poll<Happening> {
        match self.stops.poll_recv(context) {
            Poll::Ready(Some(answer)) => return Poll::Ready(Happening::Stop(answer)),
            Poll::Ready(None) => return Poll::Ready(Happening::Abandoned),
            Poll::Pending => {}
        }
        while !self.outbox.is_empty() {
            match Pin::new(&mut *wire).poll_write(context, self.outbox.waiting()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Happening::Lost(None)),
                Poll::Ready(Ok(count)) => self.outbox.wrote(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Happening::Lost(Some(error))),
                Poll::Pending => break,
            }
        }
        for (answer, answered) in self.answers.drain(..) {
            let _ = answer.send(answered);
        }
        match self.orders.poll_recv(context) {
            Poll::Ready(Some(order)) => return Poll::Ready(Happening::Order(order)),
            Poll::Ready(None) => return Poll::Ready(Happening::Abandoned),
            Poll::Pending => {}
        }
        if let Poll::Ready(Some(give)) = self.copies.poll_recv(context) {
            return Poll::Ready(Happening::Copy(give));
        }
        let mut buffer = ReadBuf::new(heard);
        match Pin::new(&mut *wire).poll_read(context, &mut buffer) {
            // A serial port that is unplugged reads zero bytes for ever.
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Happening::Lost(None)),
            Poll::Ready(Ok(())) => return Poll::Ready(Happening::Heard(buffer.filled().len())),
            Poll::Ready(Err(error)) => return Poll::Ready(Happening::Lost(Some(error))),
            Poll::Pending => {}
        }
        let now = self.now();
        // A chunk is taken only when the one before is used up: there is one place for it.
        let wanted = self.chunk.is_empty() && self.session.wants_program();
        if let Some(program) = self.program.as_mut().filter(|program| wanted && !program.stalled) {
            if let Poll::Ready(piece) = program.pieces.poll_recv(context) {
                return Poll::Ready(Happening::Piece(piece));
            }
            program.wanted_since.get_or_insert(now);
        }
        if let Some(opening) = &mut self.opening {
            if let Poll::Ready(piece) = opening.reader.pieces.poll_recv(context) {
                return Poll::Ready(Happening::Opened(piece));
            }
        }
        self.poll_due(context)
    }

    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<Happening> {
        let publish_at = self.published_at + PUBLISH_EVERY;
        let at = self.session.deadline().map_or(publish_at, |deadline| deadline.min(publish_at));
        let wake = tokio::time::Instant::from_std(self.instant(at));
        let (set, sleep) = self.due.get_or_insert_with(|| (at, Box::pin(tokio::time::sleep_until(wake))));
        if *set != at {
            *set = at;
            sleep.as_mut().reset(wake);
        }
        sleep.as_mut().poll(context).map(|()| {
            self.due = None;
            Happening::Due
        })
    }
}
