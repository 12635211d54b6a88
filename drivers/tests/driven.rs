//! A mill whose spindle is a drive beside it: a session, a simulated Grbl and a simulated drive in one virtual time. The tool
//! is never in the work while it does not turn as the program says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::modbus::{Attached, Question, Trouble};
use drivers::profile::Profile;
use drivers::request::Denied;
use drivers::session::{Drives, Input};
use drivers::sim::modbus::{Device as _, Drive, Quirks};
use drivers::sim::{Faults, Setup};
use drivers::snapshot::JobPhase;
use drivers::{EventKind, Moment, Request, State};
use support::{Pair, strings, usual_line};

/// What a question to the drive and its answer take.
const QUESTION: Duration = Duration::from_millis(8);

const DRIVE: &str = r#"
[[auxiliary]]
name = "vfd"
kind = "drive"
port = "modbus-rtu:/dev/null?unit=2"
is_spindle = true
[auxiliary.stop]
point = "command"
value = 0
proof = "actual"
proof_max = 0.5
within_ms = 6000
[auxiliary.turn]
speed = "frequency"
forward = [{ point = "command", value = 1 }]
reverse = [{ point = "command", value = 2 }]
actual = "actual"
min_rpm = 3000
max_rpm = 24000
within_ms = 6000
[[auxiliary.modbus.points]]
name = "command"
address = 0
type = "u16"
access = "write"
[[auxiliary.modbus.points]]
name = "frequency"
address = 1
type = "u16"
scale = 0.01
access = "write"
[[auxiliary.modbus.points]]
name = "actual"
address = 11
type = "u16"
scale = 0.01
poll_ms = 100
[[auxiliary.modbus.points]]
name = "fault"
address = 13
type = "u16"
poll_ms = 100
meaning = "alarm"
"#;

/// A mill with its drive.
struct Mill {
    pair: Pair,
    attached: Attached,
    drive: Drive,
    silent: bool,
    asked_at: Moment,
    heard_events: usize,
    /// Where the tool moved in the work, and how fast the drive turned it there.
    cuts: Vec<(f64, f64)>,
}

impl Mill {
    fn new(quirks: Quirks) -> Self {
        let (_, mill) = Profile::bundled().iter().find(|(name, _)| *name == "grbl-mill-3018").unwrap();
        let mut profile = Profile::parse(&format!("{mill}{DRIVE}")).unwrap();
        profile.spindle.as_mut().unwrap().max_rpm = 24_000.0;
        profile.auxiliary[0].turn.as_mut().unwrap().speed_only_running = quirks.speed_only_running;
        let attached = Attached::new(profile.auxiliary[0].clone(), Moment::ZERO);
        let setup = Setup { keep_lines: true, ..Setup::default() };
        let mut pair = Pair::with_profile(profile, &setup, usual_line(), Faults::default(), 1);
        pair.connected = true;
        pair.hand(Input::LinkUp { may_reset: false });
        let (drive, asked_at) = (Drive::with(quirks), Moment::ZERO);
        Self { pair, attached, drive, silent: false, asked_at, heard_events: 0, cuts: Vec::new() }
    }

    fn ready(quirks: Quirks) -> Self {
        let mut mill = Self::new(quirks);
        mill.run_until(|mill| mill.state() == State::Idle);
        mill
    }

    fn state(&self) -> State {
        self.pair.session.state()
    }

    fn ask_drive(&mut self) {
        let now = self.pair.now;
        self.drive.advance(now);
        while self.asked_at <= now {
            let Some(question) = self.attached.question(now) else { return };
            self.asked_at = now + QUESTION;
            match (self.silent, self.drive.ask(now, &question)) {
                (true, _) => self.attached.unanswered(now, &question, &Trouble::Overdue),
                (false, Ok(words)) => self.attached.answered(now, &question, &words),
                (false, Err(code)) => self.attached.unanswered(now, &question, &Trouble::Exception(code)),
            }
        }
    }

    /// What the shell does: it moves what is known and what is ordered, and stops drives where it went badly.
    fn step(&mut self) {
        self.ask_drive();
        let now = self.pair.now;
        let drives = Drives::of(&[self.attached.snapshot(now)]);
        if drives != *self.pair.session.drives() {
            self.pair.hand(Input::Drives(drives));
        }
        if let Some(order) = self.pair.session.take_spindle_order() {
            self.attached.order(now, order);
        }
        assert!(self.pair.step(), "nothing will ever happen again");
        let badly = self.pair.events[self.heard_events..].iter().any(|event| match &event.kind {
            EventKind::Job { phase, .. } => matches!(phase, JobPhase::Failed | JobPhase::Cancelled),
            EventKind::State { to, .. } => *to == State::Alarm,
            _ => false,
        });
        self.heard_events = self.pair.events.len();
        if badly {
            self.attached.stop(now);
        }
        self.drive.advance(self.pair.now);
        let report = self.pair.report();
        if report.moving && report.position_mm[2] < 0.0 {
            self.cuts.push((report.position_mm[0], self.drive.hz() * 60.0));
        }
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let until = self.pair.now + Duration::from_secs(600);
        while !done(self) {
            assert!(self.pair.now < until, "no end in sight: {:#?}", self.pair.session.snapshot());
            self.step();
        }
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.pair.now + time;
        self.run_until(|mill| mill.pair.now >= until);
    }

    fn start(&mut self, lines: &[&str]) {
        self.pair.start(strings(lines));
    }

    /// Until the job is over or held.
    fn run_job(&mut self) -> JobPhase {
        self.run_until(|mill| mill.phase().is_over() || mill.state() == State::Held);
        self.phase()
    }

    /// A person goes on, and the job does.
    fn go_on(&mut self) {
        assert_eq!(self.pair.ask(Request::Resume), Ok(()));
        self.run_until(|mill| mill.state() == State::Running);
    }

    fn phase(&self) -> JobPhase {
        self.pair.progress().phase
    }

    fn said(&self, code: &str) -> bool {
        self.pair.notices().iter().any(|notice| notice.contains(code))
    }

    fn moves(&self) -> Vec<String> {
        let executed = self.pair.executed();
        for line in &executed {
            let own = ["M3", "M4", "M5", "S"].iter().any(|word| line.contains(word)) && line != "M30";
            assert!(!own, "`{line}` is for the drive and not for the controller");
        }
        executed
    }

    /// The tool turned at this speed wherever it was in the work between two places.
    fn cut_at(&self, between: (f64, f64), rpm: f64) {
        let there: Vec<_> = self.cuts.iter().filter(|(x, _)| *x > between.0 && *x < between.1).collect();
        assert!(!there.is_empty(), "nothing was cut there: {:?}", self.cuts);
        let wrong: Vec<_> = there.iter().filter(|(_, turns)| (turns - rpm).abs() > 0.06 * rpm).collect();
        assert!(wrong.is_empty(), "not at {rpm}: {wrong:?}");
    }
}

const PART: &[&str] = &[
    "G21",
    "G90",
    "G0 Z2",
    "M3 S12000 M8",
    "G1 Z-1 F300",
    "G1 X10 F600",
    "S18000",
    "X20",
    "X30 S6000",
    "G0 Z2",
    "M5",
    "G0 X0",
    "M30",
];

#[test]
fn the_drive_does_what_the_program_says_and_the_controller_never_hears_of_it() {
    for quirks in [
        Quirks::default(),
        Quirks { write_function: Some(16), ..Quirks::default() },
        Quirks { speed_only_running: true, ..Quirks::default() },
    ] {
        let mut mill = Mill::ready(quirks);
        mill.start(PART);
        assert_eq!(mill.run_job(), JobPhase::Finished, "{:?}", mill.pair.notices());
        let wanted = ["G21", "G90", "G0Z2", "M8", "G1Z-1F300", "G1X10F600", "X20", "X30", "G0Z2", "G0X0", "M30"];
        assert_eq!(mill.moves(), wanted);
        mill.cut_at((0.5, 9.5), 12_000.0);
        mill.cut_at((10.5, 19.5), 18_000.0);
        mill.cut_at((20.5, 29.5), 6_000.0);
        assert!(!mill.drive.turns(), "it stands at M5");
        let progress = mill.pair.progress();
        assert_eq!((progress.executed, progress.sent, progress.accepted), (13, 13, 13), "each line counts once");
        assert_eq!(mill.pair.notices(), Vec::<String>::new());
    }
}

#[test]
fn a_program_that_ends_without_m5_leaves_no_spindle_turning() {
    for end in ["M2", "M30", "G4 P0.1"] {
        let mut mill = Mill::ready(Quirks::default());
        mill.start(&["M3 S6000", "G1 Z-1 F300", "G1 X5", end]);
        assert_eq!(mill.run_job(), JobPhase::Finished);
        mill.run_for(Duration::from_secs(5));
        assert!(!mill.drive.turns(), "{end}");
        assert_eq!(mill.state(), State::Idle);
    }
}

#[test]
fn a_pause_of_the_program_stops_the_spindle_and_it_turns_again_before_the_next_cut() {
    let mut mill = Mill::ready(Quirks::default());
    mill.start(&["M3 S6000", "G1 Z-1 F300", "G1 X5", "G0 Z2", "M0", "G1 Z-1", "G1 X15 F300", "M5", "M2"]);
    mill.run_until(|mill| mill.state() == State::Attention);
    assert!(!mill.drive.turns(), "a person is about to reach in");
    mill.run_for(Duration::from_secs(20));
    mill.cuts.clear();
    assert_eq!(mill.pair.ask(Request::Resume), Ok(()));
    assert_eq!(mill.run_job(), JobPhase::Finished, "{:?}", mill.pair.notices());
    mill.cut_at((5.1, 14.5), 6_000.0);
}

#[test]
fn a_hold_leaves_the_spindle_turning_in_the_work() {
    let mut mill = Mill::ready(Quirks::default());
    mill.start(&["M3 S6000", "G1 Z-1 F300", "G1 X50 F300", "M5", "M2"]);
    mill.run_until(|mill| mill.cuts.iter().any(|(x, _)| *x > 5.0));
    assert_eq!(mill.pair.ask(Request::Pause), Ok(()));
    mill.run_until(|mill| mill.state() == State::Held);
    mill.run_for(Duration::from_secs(10));
    assert!(mill.drive.turns());
    assert_eq!(mill.pair.ask(Request::Resume), Ok(()));
    assert_eq!(mill.run_job(), JobPhase::Finished);
    mill.cut_at((0.5, 49.0), 6_000.0);
}

#[test]
fn a_fault_in_the_cut_holds_the_job_and_going_on_turns_the_spindle_first() {
    let mut mill = Mill::ready(Quirks::default());
    mill.start(&["M3 S12000", "G1 Z-1 F300", "G1 X50 F300", "M5", "M2"]);
    mill.run_until(|mill| mill.cuts.iter().any(|(x, _)| *x > 5.0));
    mill.drive.fail(4);
    mill.run_until(|mill| mill.state() == State::Held);
    let stood_at = mill.pair.report().position_mm[0];
    mill.run_for(Duration::from_secs(20));
    assert!(!mill.drive.turns() && mill.phase() == JobPhase::Held);
    assert!(mill.said("drive.fault") && !mill.said("spindle.lost"), "{:?}", mill.pair.notices());
    mill.cuts.clear();
    mill.go_on();
    assert_eq!(mill.run_job(), JobPhase::Finished, "{:?}", mill.pair.notices());
    mill.cut_at((stood_at + 0.1, 49.0), 12_000.0);
}

#[test]
fn a_fault_that_stays_lets_no_job_go_on_and_none_start() {
    let mut mill = Mill::ready(Quirks::default());
    mill.start(&["M3 S12000", "G1 Z-1 F300", "G1 X50 F300", "M5", "M2"]);
    mill.run_until(|mill| mill.cuts.iter().any(|(x, _)| *x > 5.0));
    mill.drive.quirks.refuses_stop = true;
    mill.drive.fail(4);
    mill.run_until(|mill| mill.state() == State::Held);
    mill.run_for(Duration::from_secs(10));
    assert_eq!(mill.pair.ask(Request::Resume), Err(Denied::DriveFault));
    assert_eq!(mill.pair.ask(Request::Cancel), Ok(()));
    assert_eq!(mill.run_job(), JobPhase::Cancelled);
    mill.run_for(Duration::from_secs(2));
    assert_eq!(mill.state(), State::Attention);
    assert_eq!(mill.pair.try_start(strings(&["G0 X1"])), Err(Denied::DriveFault));
    assert_eq!(mill.pair.ask(Request::Clear), Err(Denied::DriveFault), "nothing that is said here clears it");
    mill.drive.fail(0);
    mill.run_until(|mill| mill.state() == State::Idle);
    assert_eq!(mill.pair.try_start(strings(&["G0 X1"])), Ok(()));
    assert_eq!(mill.run_job(), JobPhase::Finished);
}

#[test]
fn a_drive_that_falls_silent_at_m3_holds_the_job_before_the_cut() {
    let mut mill = Mill::ready(Quirks::default());
    mill.start(&["G4 P3", "M3 S12000", "G1 Z-1 F300", "G1 X5 F300", "M5", "M2"]);
    mill.run_for(Duration::from_millis(1_500));
    mill.silent = true;
    assert_eq!(mill.run_job(), JobPhase::Held);
    assert!(mill.cuts.is_empty() && mill.said("auxiliary.silent"), "{:?}", mill.pair.notices());
    assert!(mill.pair.ask(Request::Resume).is_err());
    mill.silent = false;
    mill.run_for(Duration::from_secs(15));
    mill.go_on();
    assert_eq!(mill.run_job(), JobPhase::Finished, "{:?}", mill.pair.notices());
    mill.cut_at((0.1, 4.9), 12_000.0);
}

#[test]
fn a_speed_that_is_not_reached_holds_the_job_before_the_cut() {
    let mut mill = Mill::ready(Quirks { weak_hz: 50, ..Quirks::default() });
    mill.start(&["M3 S12000", "G1 Z-1 F300", "G1 X5 F300", "M5", "M2"]);
    assert_eq!(mill.run_job(), JobPhase::Held);
    assert!(mill.cuts.is_empty() && mill.said("spindle.not_at_speed"), "{:?}", mill.pair.notices());
    mill.run_for(Duration::from_secs(5));
    assert!(!mill.drive.turns(), "it is not left turning at half its speed");
    mill.drive.quirks.weak_hz = 0;
    mill.go_on();
    assert_eq!(mill.run_job(), JobPhase::Finished, "{:?}", mill.pair.notices());
    mill.cut_at((0.1, 4.9), 12_000.0);
}

#[test]
fn a_cancel_with_the_spindle_on_ends_when_it_stands() {
    for waiting in [false, true] {
        let mut mill = Mill::ready(Quirks::default());
        mill.start(&["M3 S12000", "G1 Z-1 F300", "G1 X50 F300", "M5", "M2"]);
        // In the cut, or while it comes to its speed.
        mill.run_until(|mill| if waiting { mill.drive.turns() } else { mill.cuts.iter().any(|(x, _)| *x > 5.0) });
        assert_eq!(mill.pair.ask(Request::Cancel), Ok(()));
        assert_eq!(mill.run_job(), JobPhase::Cancelled);
        assert!(!mill.drive.turns(), "waiting: {waiting}");
        mill.run_until(|mill| mill.state() == State::Idle);
        mill.moves();
    }
}

#[test]
fn an_emergency_stop_and_a_lost_link_of_the_machine_stop_the_drive() {
    let mut mill = Mill::ready(Quirks::default());
    mill.start(&["M3 S12000", "G1 Z-1 F300", "G1 X50 F300", "M5", "M2"]);
    mill.run_until(|mill| mill.cuts.iter().any(|(x, _)| *x > 5.0));
    mill.attached.stop(mill.pair.now);
    assert_eq!(mill.pair.ask(Request::Stop), Ok(()));
    mill.run_for(Duration::from_secs(5));
    assert!(!mill.drive.turns());
    assert_eq!(mill.pair.ask(Request::Clear), Ok(()));
    mill.run_until(|mill| mill.state() == State::Idle);

    mill.cuts.clear();
    mill.start(&["M3 S12000", "G1 Z-1 F300", "G1 X-50 F300", "M5", "M2"]);
    mill.run_until(|mill| mill.drive.hz() > 190.0 && mill.pair.report().moving);
    mill.attached.stop(mill.pair.now);
    mill.pair.unplug();
    for _ in 0..500 {
        // Nothing is heard from the machine any more; the drive's own line is whole.
        mill.pair.now = mill.pair.now + Duration::from_millis(10);
        mill.ask_drive();
    }
    assert!(!mill.drive.turns() && mill.phase() == JobPhase::Failed);
}

#[test]
fn what_the_drive_cannot_do_holds_the_job_and_turns_nothing() {
    for (line, code) in [
        ("M3 S30000", "spindle.range"),
        ("M3 S1000", "spindle.range"),
        ("G96 S100 M3", "spindle.follows"),
        ("M3 S12000 G33 Z-5 K1", "spindle.follows"),
    ] {
        let mut mill = Mill::ready(Quirks::default());
        mill.start(&["G21", line, "G1 Z-1 F300", "M2"]);
        assert_eq!(mill.run_job(), JobPhase::Held, "{line}");
        assert!(mill.said(code) && mill.said("Line 2"), "{line}: {:?}", mill.pair.notices());
        assert!(!mill.drive.turns() && mill.cuts.is_empty());
        assert_eq!(mill.pair.ask(Request::Cancel), Ok(()));
        assert_eq!(mill.run_job(), JobPhase::Cancelled);
    }
    let mut mill = Mill::ready(Quirks::default());
    mill.start(&["M4 S6000", "G1 Z-1 F300", "G1 X5", "M5", "M2"]);
    assert_eq!(mill.run_job(), JobPhase::Finished, "this drive turns backwards, too");
    mill.cut_at((0.1, 4.9), 6_000.0);
}

#[test]
fn no_job_starts_beside_a_drive_that_is_silent_turns_or_does_not_stand() {
    let mut mill = Mill::new(Quirks::default());
    mill.silent = true;
    mill.run_for(Duration::from_secs(30));
    assert_eq!(mill.state(), State::Attention, "never answered since the start");
    assert!(matches!(mill.pair.try_start(strings(&["G0 X1"])), Err(Denied::DriveSilent | Denied::DriveDoesNotStand)));
    let notice = mill.pair.session.snapshot().notice.expect("why");
    assert!(notice.code.starts_with("auxiliary.") || notice.code.starts_with("drive."), "{notice}");
    mill.silent = false;
    mill.run_until(|mill| mill.state() == State::Idle);

    // It is told to stop and turns on, whoever clears what.
    for (address, word) in [(1, 20_000), (0, 1)] {
        mill.drive.ask(mill.pair.now, &Question::WriteOne { address, word }).unwrap();
    }
    mill.run_until(|mill| mill.state() == State::Attention);
    assert_eq!(mill.pair.try_start(strings(&["G0 X1"])), Err(Denied::SpindleOn), "nobody here has ordered that");
    mill.run_for(Duration::from_secs(3));
    mill.drive.stuck = true;
    mill.attached.stop(mill.pair.now);
    assert_eq!(mill.pair.ask(Request::Stop), Ok(()));
    mill.run_for(Duration::from_secs(10));
    assert_eq!(mill.pair.ask(Request::Clear), Ok(()), "the machine's own alarm");
    mill.run_for(Duration::from_secs(2));
    assert_eq!(mill.state(), State::Attention);
    assert_eq!(mill.pair.try_start(strings(&["G0 X1"])), Err(Denied::DriveDoesNotStand));
    mill.drive.stuck = false;
    mill.run_until(|mill| mill.state() == State::Idle);
}

#[test]
fn a_job_cut_on_with_a_spindle_whose_speed_could_not_be_read_any_more() {
    let mut mill = Mill::ready(Quirks::default());
    mill.start(&["M3 S12000", "G1 Z-1 F300", "G1 X50 F300", "M5", "M2"]);
    mill.run_until(|mill| mill.cuts.iter().any(|(x, _)| *x > 5.0));
    mill.drive.quirks.hole = Some(11);
    assert_eq!(mill.run_job(), JobPhase::Held);
    assert!(mill.pair.report().position_mm[0] < 20.0, "it was held soon: {:?}", mill.pair.report().position_mm);
    assert!(mill.said("drive.unread"), "{:?}", mill.pair.notices());
}
