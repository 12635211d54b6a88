//! A session and a simulated machine at the two ends of a line, in virtual time.
#![allow(
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::struct_excessive_bools,
    reason = "shared by several test programs, none of which uses all"
)]

pub mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drivers::profile::Profile;
use drivers::recording::{Head, Recorder};
use drivers::request::Job;
use drivers::session::Input;
use drivers::sim::{Faults, Line, LineSpeed, Report, Setup, Simulated, simulated};
use drivers::snapshot::{JobPhase, Progress};
use drivers::{Event, EventKind, Moment, Notice, Request, Session, State, dialect};

/// Virtual time after which a run that has not ended counts as a deadlock.
pub const PATIENCE: Duration = Duration::from_secs(40 * 3600);

/// Steps after which a run that has not ended counts as a livelock. A move whose feed was damaged takes hours of reports.
pub const STEPS_MAX: u32 = 20_000_000;

/// Both ends of a line.
pub struct Pair {
    pub now: Moment,
    pub session: Session,
    pub profile: Arc<Profile>,
    pub machine: Box<dyn Simulated>,
    pub to_machine: Line,
    pub to_host: Line,
    pub program: Vec<String>,
    pub next_line: usize,
    pub events: Vec<Event>,
    pub connected: bool,
    pub recorder: Option<Recorder>,
    /// Whether numbers may arrive damaged.
    pub damaged: bool,
    /// Times nobody waited any longer for a machine that was under way for days.
    pub exhausted: u32,
    /// Nothing that the machine says is heard: its wire back is broken, or it is off and its adapter is not.
    pub mute: bool,
    /// Nothing that is said reaches the machine.
    pub deaf: bool,
    /// The place in the program from which the disk gives nothing, and whether that was told.
    pub unreadable_from: Option<usize>,
    told_unreadable: bool,
    buffer: Vec<u8>,
}

pub fn is_printer(name: &str) -> bool {
    dialect::named(name).is_some_and(|dialect| dialect.habits().printer)
}

pub fn profile(dialect: &str) -> Profile {
    let name = if is_printer(dialect) { "prusa-mk3s" } else { "grbl-mill-3018" };
    let mut profile = Profile::named(name).unwrap();
    dialect.clone_into(&mut profile.dialect);
    profile
}

impl Pair {
    pub fn new(dialect: &str, setup: &Setup, speed: LineSpeed, faults: Faults, seed: u64) -> Self {
        Self::with_profile(profile(dialect), setup, speed, faults, seed)
    }

    pub fn with_profile(profile: Profile, setup: &Setup, speed: LineSpeed, faults: Faults, seed: u64) -> Self {
        let dialect = dialect::named(&profile.dialect).unwrap();
        // Whole lines are lost and doubled on the machine's side only: those are its answers.
        let outward = faults.of_bytes();
        let profile = Arc::new(profile);
        Self {
            now: Moment::ZERO,
            profile: profile.clone(),
            machine: simulated(&profile.dialect, setup).unwrap(),
            session: Session::new(dialect, profile, Moment::ZERO),
            to_machine: Line::new(speed, outward, seed),
            to_host: Line::new(speed, faults, seed.wrapping_add(77)),
            program: Vec::new(),
            next_line: 0,
            events: Vec::new(),
            connected: false,
            recorder: None,
            damaged: !faults.keep_all(),
            exhausted: 0,
            mute: false,
            deaf: false,
            unreadable_from: None,
            told_unreadable: false,
            buffer: Vec::new(),
        }
    }

    /// From now on, what the session takes in and says is recorded, in halves of so many bytes.
    pub fn record(&mut self, half_bytes: usize) {
        self.recorder = Some(Recorder::with_half(&self.profile, self.now, half_bytes));
    }

    /// The recording so far.
    pub fn recording(&self) -> String {
        let head = Head { machine: "simulated", profile: "test", port: "none", zero_us: 0, why: "asked" };
        self.recorder.as_ref().expect("a recorder").text(&head)
    }

    /// Hands something to the session.
    pub fn hand(&mut self, input: Input<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(self.now, &self.session, &input);
        }
        self.session.handle(self.now, input);
    }

    pub fn connect(&mut self) {
        self.connected = true;
        self.hand(Input::LinkUp { may_reset: false });
        self.run_until(|pair| pair.session.state() == State::Idle);
    }

    pub fn start(&mut self, program: Vec<String>) {
        assert_eq!(self.try_start(program), Ok(()));
    }

    pub fn try_start(&mut self, program: Vec<String>) -> drivers::Answer {
        self.program = program;
        self.next_line = 0;
        let job = Job { id: "job".into(), lines: self.program.len() as u64, from_line: 1 };
        self.ask(Request::Start(job))
    }

    /// The cable is pulled: what is under way is lost, and the machine goes on by itself.
    pub fn unplug(&mut self) {
        self.to_machine.cut(self.now);
        self.to_host.cut(self.now);
        self.connected = false;
        self.hand(Input::LinkDown(Notice::new("link.lost", "The cable was pulled.", "", "")));
        self.take_said();
    }

    /// What the session has just said never arrives.
    pub fn lose_said(&mut self) {
        self.exchange();
        self.to_machine.cut(self.now);
    }

    /// The cable is back. Opening the port may reset the board.
    pub fn plug_in(&mut self, resets: bool) {
        if resets {
            self.machine.reset(self.now);
        }
        // What the machine said meanwhile was heard by nobody.
        self.buffer.clear();
        self.machine.say(&mut self.buffer);
        if !resets {
            self.buffer.clear();
        }
        let banner = std::mem::take(&mut self.buffer);
        self.to_host.send(self.now, &banner);
        self.connected = true;
        self.hand(Input::LinkUp { may_reset: resets });
    }

    /// Moves everything forward to the next thing that happens. False when nothing ever will.
    pub fn step(&mut self) -> bool {
        self.exchange();
        let wakes =
            [self.session.deadline(), self.machine.wakes_at(), self.to_machine.wakes_at(), self.to_host.wakes_at()];
        let Some(next) = wakes.into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        self.buffer.clear();
        self.to_machine.receive(self.now, &mut self.buffer);
        if std::env::var_os("WIRE").is_some() && !self.buffer.is_empty() {
            println!("{:?} > {}", self.now, self.buffer.escape_ascii());
        }
        if self.buffer.is_empty() {
            self.machine.advance(self.now);
        } else {
            self.machine.hear(self.now, &self.buffer);
        }
        self.buffer.clear();
        self.to_host.receive(self.now, &mut self.buffer);
        if std::env::var_os("WIRE").is_some() && !self.buffer.is_empty() {
            println!("{:?} < {}", self.now, self.buffer.escape_ascii());
        }
        if self.connected && !self.buffer.is_empty() {
            let heard = std::mem::take(&mut self.buffer);
            self.hand(Input::Bytes(&heard));
            self.buffer = heard;
            self.take_said();
        }
        self.hand(Input::Time);
        self.take_said();
        true
    }

    fn exchange(&mut self) {
        if let Some(line) = self.session.take_reread() {
            self.next_line = line as usize - 1;
            self.told_unreadable = false;
        }
        let mut fed = false;
        while self.session.wants_program() {
            if self.unreadable_from.is_some_and(|line| self.next_line >= line) {
                if !std::mem::replace(&mut self.told_unreadable, true) {
                    let happened = format!("Line {} cannot be read.", self.next_line + 1);
                    self.hand(Input::ProgramStalled(Notice::new("store.unreadable", happened, "", "")));
                }
                break;
            }
            match self.program.get(self.next_line) {
                Some(line) => {
                    self.next_line += 1;
                    let line = line.clone();
                    self.hand(Input::ProgramLine { number: self.next_line as u64, bytes: line.as_bytes() });
                    fed = true;
                }
                None => self.hand(Input::ProgramEnd),
            }
        }
        if fed {
            if let Some(recorder) = &mut self.recorder {
                recorder.fed(self.now);
            }
            self.session.program_fed(self.now);
        }
        self.take_said();
        self.buffer.clear();
        self.machine.say(&mut self.buffer);
        if self.mute {
            self.buffer.clear();
        }
        self.to_host.send(self.now, &self.buffer);
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.turn(self.now, &self.session);
        }
    }

    /// Puts what the session said on the line.
    fn take_said(&mut self) {
        self.buffer.clear();
        let urgent = self.session.take_urgent();
        let mut wire = Vec::new();
        self.session.take_wire(&mut wire);
        if let Some(recorder) = &mut self.recorder {
            recorder.output(self.now, urgent.as_ref(), &wire);
        }
        if let Some(urgent) = urgent {
            self.buffer.extend_from_slice(&urgent.bytes);
        }
        self.buffer.append(&mut wire);
        if self.deaf {
            self.buffer.clear();
        }
        self.to_machine.send(self.now, &self.buffer);
        self.buffer.clear();
    }

    /// Runs until it is done. A machine that is sent far away, or slowly, by a damaged number really is under way.
    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let until = self.now + PATIENCE;
        let mut steps = 0_u32;
        while !done(self) {
            if steps >= STEPS_MAX || self.now >= until {
                let excused = self.damaged && self.report().moving;
                assert!(excused, "no end in sight at {:?}: {:#?}", self.now, self.session.snapshot());
                return self.exhausted();
            }
            steps += 1;
            if !self.step() {
                assert!(self.exhausted > 0, "nothing will ever happen again: {:?}", self.session.state());
                return;
            }
        }
        self.exchange();
    }

    /// Nobody waits for days: the power is switched off.
    fn exhausted(&mut self) {
        self.exhausted += 1;
        self.unplug();
        self.machine.reset(self.now);
        self.exchange();
    }

    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until && self.step() {}
    }

    /// Runs until the job is over or held.
    pub fn run_job(&mut self) -> JobPhase {
        self.run_until(|pair| {
            pair.session.snapshot().job.is_some_and(|job| job.phase.is_over()) || pair.session.state() == State::Held
        });
        self.progress().phase
    }

    pub fn progress(&self) -> Progress {
        self.session.snapshot().job.expect("a job")
    }

    pub fn report(&self) -> Report {
        self.machine.report()
    }

    pub fn executed(&self) -> Vec<String> {
        self.report().executed_lines.expect("kept lines")
    }

    pub fn ask(&mut self, request: Request) -> drivers::Answer {
        if let Some(recorder) = &mut self.recorder {
            recorder.request(self.now, &request);
        }
        self.session.request(self.now, request)
    }

    pub fn notices(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Trouble { notice } | EventKind::Job { notice: Some(notice), .. } => Some(notice.to_string()),
                _ => None,
            })
            .collect()
    }
}

/// The code of what is told of a machine now.
pub fn code(pair: &Pair) -> String {
    pair.session.snapshot().notice.map_or_else(|| "none".to_owned(), |notice| notice.code)
}

/// What it says happened.
pub fn happened(pair: &Pair) -> String {
    pair.session.snapshot().notice.map_or_else(String::new, |notice| notice.happened)
}

/// Runs until it is so, within some time.
pub fn within(pair: &mut Pair, seconds: u64, what: &str, done: impl Fn(&Pair) -> bool) {
    let until = pair.now + Duration::from_secs(seconds);
    pair.run_until(|pair| done(pair) || pair.now >= until);
    assert!(done(pair), "{what}: {:?} {:?} {:#?}", pair.session.state(), code(pair), pair.notices());
}

/// A machine of this dialect on the usual line, in conversation.
pub fn connected(dialect: &str, setup: &Setup) -> Pair {
    let mut pair = Pair::new(dialect, setup, usual_line(), Faults::default(), 1);
    pair.connect();
    pair
}

/// Until the machine is idle, and it really stands.
pub fn stands(pair: &mut Pair) {
    pair.run_until(|pair| pair.session.state() == State::Idle);
    assert!(!pair.report().moving, "idle, and it moves");
}

pub fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// A program of slow moves that takes minutes.
pub fn long_program() -> Vec<String> {
    (0..300).map(|step| format!("G1 X{} F1200", if step % 2 == 0 { 20 } else { 0 })).collect()
}

/// A line of 115200 baud with a millisecond of latency each way.
pub fn usual_line() -> LineSpeed {
    LineSpeed { baud: 115_200, latency: Duration::from_millis(1) }
}

pub fn setup() -> Setup {
    Setup { keep_lines: true, ..Setup::default() }
}

/// A program of short moves, as a slicer writes them, with comments and blank lines between. No two moves near each
/// other are alike, so that one in the place of another is seen.
pub fn program(lines: usize, seed: u64) -> Vec<String> {
    let mut random = drivers::sim::Random::new(seed);
    let mut program = vec!["; a program".to_owned(), "G21".into(), "G90".into(), "G1 F3000".into()];
    while program.len() < lines {
        program.push(match random.below(20) {
            0 => String::new(),
            1 => format!(";LAYER:{}", random.below(100)),
            2 => format!("G0 X{}.{:03} Y{}", random.below(100), program.len() % 1000, random.below(100)),
            _ => format!("G1 X{}.{:03} Y{} ; move", random.below(100), program.len() % 1000, random.below(100)),
        });
    }
    program
}

/// What a machine must have executed of a program.
pub fn commands(program: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut commands = Vec::new();
    for line in program {
        out.clear();
        gcode_tools::wire::compact(&gcode_tools::block::Block::new(line.as_bytes()), &mut out);
        if !out.is_empty() {
            commands.push(String::from_utf8(out.clone()).unwrap());
        }
    }
    commands
}

/// How often each phase came, for a summary.
pub type Tally = BTreeMap<String, u32>;
