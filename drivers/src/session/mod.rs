//! One conversation with one machine, as a value: bytes, requests and time go in; bytes, events and a deadline come out.
//!
//! A session opens nothing, awaits nothing and reads no clock. The caller's loop is always the same: hand over what
//! happened ([`Session::handle`], [`Session::request`]), then take what is to be written ([`Session::take_urgent`],
//! [`Session::take_wire`]), what is to be told ([`Session::poll_event`], [`Session::snapshot`]) and when to come
//! back at the latest ([`Session::deadline`]).
//!
//! ```text
//!            link up            identified
//!  Offline ───────────► Greeting ──────────► Ready ◄──────────┐
//!     ▲                    │   another           │ alarm       │ a person clears it
//!     │ link down          │   machine           ▼             │
//!     └──(from any)        └────────► Wrong    Alarm ──────────┘
//!                                              Halted (needs a reset of the board)
//!  Within Ready, a run (a job, or the lines that end one safely):
//!
//!  Counter ─► Streaming ─► Proving ─► over          Counter: the line counter is set to zero
//!                │  ▲          (motion ended)       Proving: every line answered, motion perhaps not over
//!          hold  ▼  │ resume
//!            Holding ─► Held                        Cancelling: hold, drop, then a run of the safe end
//!                                                   Asking: at a tool change, waiting for a person
//! ```

mod asking;
mod barrier;
mod by_hand;
mod clearing;
mod control;
mod deadlines;
mod driven;
mod evidence;
mod frozen;
mod greeting;
mod halt;
mod hands;
mod health;
mod hearing;
mod identity;
mod idle_heat;
mod layers;
mod obeying;
mod own_work;
mod packing;
mod person;
mod proof;
mod reach;
mod recovery;
mod refusal;
mod reporting;
mod run;
mod safe_end;
mod said;
mod settings;
mod silence;
mod spindle_words;
mod standing;
mod state;
mod status;
mod streaming;
mod table;
mod undone;
mod waits;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gcode_tools::wire::Numbers;
use serde::{Deserialize, Serialize};

use crate::dialect::{Condition, Dialect, Reply};
use crate::event::{Event, EventKind};
use crate::flow::{Aside, Limits, Window};
use crate::moment::Moment;
use crate::notice::Notice;
use crate::profile::Profile;
use crate::snapshot::{Identity, Snapshot, State};

pub use clearing::NOTHING_CHANGED;
use deadlines::Deadlines;
pub use driven::Drives;
pub(crate) use frozen::program_bytes;
pub use run::Ending;
use run::{Run, Stage};
#[cfg(feature = "io")]
pub(crate) use said::quoted;

/// Longest line kept from a machine, in bytes. Firmwares write lines of at most a few hundred; the rest is noise.
const HEARD_LINE_MAX: usize = 1024;

/// The agent's own commands that may wait for room. More than a few means that somebody jogs faster than the
/// machine moves, and is told "busy".
const ASIDES_MAX: usize = 16;

/// Events that may wait to be taken. The caller takes them after each call; a flood of machine chatter is cut here.
const EVENTS_MAX: usize = 256;

/// A reading older than this many asking intervals is stale.
const STALE_AFTER_INTERVALS: u32 = 5;

/// No reading is stale before this, however often the machine is asked: a computer that is busy for a second asks late, and
/// what goes stale and good again is published each time.
const STALE_AFTER_MIN: Duration = Duration::from_secs(2);

/// What comes into a session besides requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// The link is open.
    LinkUp {
        /// Whether opening it may have reset the board, so that a banner is to be waited for.
        may_reset: bool,
    },
    /// The link is gone, and why.
    LinkDown(Notice),
    /// Bytes from the machine.
    Bytes(&'a [u8]),
    /// The next line of the program, without its line end.
    ProgramLine {
        /// Its number in the file, 1-based.
        number: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The program has no more lines.
    ProgramEnd,
    /// The program cannot be read any further, and why.
    ProgramTrouble(Notice),
    /// What is known of the drives beside the machine has changed.
    Drives(Drives),
    /// The program cannot be read now, and why: what was read is said, then the job holds, and reading goes on when a
    /// person lets it.
    ProgramStalled(Notice),
    /// From now on a job starts only when a person has said that the bed, stock or table is clear since the last work of
    /// any kind.
    WatchTable,
    /// Nothing but time.
    Time,
}

/// Bytes that go before everything else that waits to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urgent {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether what waits to be written is to be dropped: it belongs to a job that is over.
    pub discard: bool,
}

/// Where the conversation stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Offline,
    Greeting(Box<greeting::Greeting>),
    Wrong,
    Ready,
    Alarm,
    Halted,
}

/// What an alarm needs besides a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum AlarmReset {
    /// Nothing.
    #[default]
    NotNeeded,
    /// The machine hears nothing until it is reset.
    Needed,
    /// A person cleared the alarm: it is over when the machine shows that it is.
    Awaited,
}

/// The machine's settings that matter to protection.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Settings {
    asked: bool,
    known: Vec<crate::protection::Setting>,
    armed_s: Option<u32>,
    /// Where its zero is may have changed since it was asked.
    #[serde(default)]
    place_stale: bool,
    /// It was locked since the link was opened: whoever unlocks it without homing leaves its position unsure.
    #[serde(default)]
    locked: bool,
}

/// One conversation with one machine.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them can be")]
pub struct Session {
    #[serde(with = "frozen::dialect_name")]
    dialect: &'static dyn Dialect,
    #[serde(with = "frozen::shared_profile")]
    profile: Arc<Profile>,
    now: Moment,
    phase: Phase,
    deadlines: Deadlines,
    window: Window,
    asides: VecDeque<(Aside, String)>,
    run: Option<Run>,
    /// How the job will be called once a cancel has reached its safe end.
    pending_ending: Option<Ending>,
    /// The last condition the machine reported by itself, and to which question.
    condition: Option<Condition>,
    /// Work offset, which Grbl reports only now and then.
    work_offset: [f64; 3],
    /// Whether it has said it since the conversation began.
    #[serde(default)]
    work_offset_known: bool,
    /// Until when a report of a hold may have been on its way before the machine heard that it may go on.
    hold_stale_until: Option<Moment>,
    /// Until when an `ok` belongs to a request to say a line again, if nothing else comes between them.
    #[serde(default)]
    resend_ok_until: Option<Moment>,
    /// Answers name the line they answer: one without a name then answers no line of a job.
    answers_named: bool,
    /// A person is needed at the machine (M0, M600, door), as the machine says.
    needs_person: bool,
    /// What an alarm needs besides a person.
    #[serde(default)]
    alarm_reset: AlarmReset,
    /// It was stopped from here: only a person here ends that, whatever the machine reports.
    #[serde(default)]
    stopped: bool,
    /// What is asked of a person, and what people did at the machine.
    #[serde(default)]
    person: person::Person,
    /// What is moved by hand.
    #[serde(default)]
    by_hand: by_hand::ByHand,
    /// What the machine said of its settings, and what was armed, since it said who it is.
    settings: Settings,
    /// Who it was when it first said so: somebody else on the same port is not taken for it.
    first_identity: Option<Identity>,
    /// The link ended before it was known who is there, with this code, and that was told: it is *offline* until somebody
    /// is known, or the link stays and nobody answers.
    #[serde(default)]
    unreached: Option<String>,
    health: health::Health,
    /// Whose banner came in the middle of a job that is being ended for it.
    #[serde(default)]
    stranger: Option<String>,
    /// What turned or burned when it was found.
    #[serde(default)]
    left_on: standing::LeftOn,
    /// What heated when it was found.
    #[serde(default)]
    left_hot: standing::LeftHot,
    /// Heaters that are on without a job.
    #[serde(default)]
    idle_heat: idle_heat::IdleHeat,
    /// Work that was not started here.
    #[serde(default)]
    own_work: own_work::OwnWork,
    /// How silent it is.
    #[serde(default)]
    silence: silence::Silence,
    /// What it was told past its queue, and whether that shows.
    #[serde(default)]
    obeying: obeying::Obeying,
    /// A clear that is under way, and what the alarm was before it.
    #[serde(default)]
    clearing: Option<clearing::Clearing>,
    #[serde(default)]
    alarm_cause: Option<Notice>,
    /// A reset that comes earlier may be forgotten.
    #[serde(default)]
    reset_heard_from: Moment,
    /// What is waited for, and its bounds.
    #[serde(default)]
    waits: waits::Waits,
    /// It halted and has not said why.
    #[serde(default)]
    halt: Option<halt::Halt>,
    /// What it was asked to tell by itself, and what it says of its queues.
    #[serde(default)]
    reporting: reporting::Reporting,
    /// Whether what is said is packed.
    #[serde(default)]
    packing: packing::Packing,
    /// How the machine reads numbers, as far as it is known.
    #[serde(default)]
    numbers: Numbers,
    /// What it said in words.
    #[serde(default)]
    words: words::Words,
    /// The drives beside it, and the one that is its spindle.
    #[serde(default)]
    driven: driven::Driven,
    /// The last line that means nothing we know, or any before it is known who speaks: what a diagnosis quotes.
    #[serde(default)]
    said: Vec<u8>,
    #[serde(default)]
    said_at: Moment,
    /// What is sent comes back before the machine's own answers.
    #[serde(default)]
    echoes: bool,
    /// Bytes of a line from the machine that is not complete yet.
    partial: Vec<u8>,
    partial_overlong: bool,
    #[serde(skip)]
    heard: Vec<Reply>,
    #[serde(skip)]
    wire: Vec<u8>,
    #[serde(skip)]
    spelled: Vec<u8>,
    #[serde(skip)]
    urgent: Option<Urgent>,
    reread: Option<u64>,
    #[serde(skip)]
    events: VecDeque<Event>,
    events_dropped: u64,
    known: Snapshot,
}

impl Session {
    /// A session with a machine that nothing is known of yet.
    pub fn new(dialect: &'static dyn Dialect, profile: Arc<Profile>, now: Moment) -> Self {
        let window = Window::new(limits(dialect, &profile, None));
        Self {
            dialect,
            profile,
            now,
            phase: Phase::Offline,
            deadlines: Deadlines::default(),
            window,
            asides: VecDeque::new(),
            run: None,
            pending_ending: None,
            condition: None,
            work_offset: [0.0; 3],
            work_offset_known: false,
            hold_stale_until: None,
            resend_ok_until: None,
            answers_named: false,
            needs_person: false,
            alarm_reset: AlarmReset::default(),
            stopped: false,
            person: person::Person::default(),
            by_hand: by_hand::ByHand::default(),
            settings: Settings::default(),
            first_identity: None,
            unreached: None,
            health: health::Health::default(),
            stranger: None,
            left_on: standing::LeftOn::default(),
            left_hot: standing::LeftHot::default(),
            idle_heat: idle_heat::IdleHeat::default(),
            own_work: own_work::OwnWork::default(),
            silence: silence::Silence::default(),
            obeying: obeying::Obeying::default(),
            clearing: None,
            alarm_cause: None,
            reset_heard_from: Moment::ZERO,
            waits: waits::Waits::default(),
            halt: None,
            reporting: reporting::Reporting::default(),
            packing: packing::Packing::default(),
            numbers: Numbers::default(),
            words: words::Words::default(),
            driven: driven::Driven::default(),
            said: Vec::new(),
            said_at: Moment::ZERO,
            echoes: false,
            partial: Vec::new(),
            partial_overlong: false,
            heard: Vec::new(),
            wire: Vec::new(),
            spelled: Vec::new(),
            urgent: None,
            reread: None,
            events: VecDeque::new(),
            events_dropped: 0,
            known: Snapshot::unknown(now),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Moment, input: Input<'_>) {
        self.now = now.max(self.now);
        match input {
            Input::LinkUp { may_reset } => self.link_up(may_reset),
            Input::LinkDown(notice) => self.link_down(notice),
            Input::Bytes(bytes) => self.hear_bytes(bytes),
            Input::ProgramLine { number, bytes } => return self.program_line(number, bytes),
            Input::ProgramEnd => self.program_end(),
            Input::ProgramTrouble(notice) => self.program_trouble(notice),
            Input::Drives(drives) => self.hear_drives(drives),
            Input::ProgramStalled(notice) => self.program_stalled(notice),
            Input::WatchTable => self.watch_table(),
            Input::Time => {}
        }
        self.pass_deadlines();
        self.heed_drives();
        self.pump();
        self.settle_state();
    }

    /// Sends what a number of [`Input::ProgramLine`] made possible; to be called once after a batch of them.
    pub fn program_fed(&mut self, now: Moment) {
        self.handle(now, Input::Time);
    }

    /// Whether more of the program is wanted.
    pub fn wants_program(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.from_file && run.history.wants_more())
    }

    /// The program line from which reading must start again: a machine asked for a line long past, or what could not be
    /// read is to be read again.
    pub fn take_reread(&mut self) -> Option<u64> {
        self.reread.take()
    }

    /// Bytes that must be written before all others, if there are any.
    pub fn take_urgent(&mut self) -> Option<Urgent> {
        self.urgent.take()
    }

    /// Moves the bytes to write to the end of `out`.
    pub fn take_wire(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.wire);
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Events that were dropped because nobody took them.
    pub fn events_dropped(&self) -> u64 {
        self.events_dropped
    }

    /// When [`Session::handle`] is to be called again at the latest.
    pub fn deadline(&self) -> Option<Moment> {
        self.deadlines.next().into_iter().chain(self.driven.until()).min()
    }

    /// What the machine is doing.
    pub fn state(&self) -> State {
        self.known.state
    }

    /// Whether the machine has said who it is and takes commands.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// What is asked to find out who is there.
    pub fn question(&self) -> &'static str {
        self.dialect.habits().identify
    }

    fn tell(&mut self, kind: EventKind) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
            self.events_dropped += 1;
        }
        self.events.push_back(Event { at: self.now, kind });
    }

    /// Tells of trouble that stands until something else is known: the state shows it meanwhile.
    fn tell_trouble(&mut self, notice: Notice) {
        self.known.notice = Some(notice.clone());
        self.tell(EventKind::Trouble { notice });
    }

    fn say_urgently(&mut self, bytes: &[u8], discard: bool) {
        let plain = self.packing.interrupted_for_plain();
        let urgent = self.urgent.get_or_insert_with(|| Urgent { bytes: Vec::new(), discard: false });
        urgent.bytes.extend_from_slice(plain);
        urgent.bytes.extend_from_slice(bytes);
        urgent.discard |= discard;
        if discard {
            self.wire.clear();
        }
        self.known.link.bytes_out += bytes.len() as u64;
    }
}

/// The window's limits: the smaller of what the machine reports and the profile says; without either, the dialect's.
fn limits(dialect: &'static dyn Dialect, profile: &Profile, reported_bytes: Option<usize>) -> Limits {
    let habits = dialect.habits();
    // The dialect's own limit already leaves its margin; a profile or machine names the whole buffer.
    let whole = reported_bytes.into_iter().chain(profile.stream.receive_buffer_bytes).min();
    let margin = if habits.numbered { 10 } else { 1 };
    let bytes = whole.map_or(habits.window.bytes, |bytes| bytes.saturating_sub(margin).max(1));
    Limits { lines: profile.stream.window_lines.unwrap_or(habits.window.lines).max(1), bytes }
}
