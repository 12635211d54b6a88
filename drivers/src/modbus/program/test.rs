//! The host of a program-file machine against the simulated controller, in virtual time.

use std::time::Duration;

use super::super::{Conversation as _, Modbus, Question, Trouble};
use super::Host;
use crate::Moment;
use crate::profile::Profile;
use crate::sim::modbus::{Controller, Device as _};
use crate::sim::{Random, Setup};

/// How long a question and its answer take.
const TURN: Duration = Duration::from_millis(4);

fn settings() -> Modbus {
    Profile::named("generic-program-file").unwrap().modbus.unwrap()
}

struct Pair {
    now: Moment,
    host: Host,
    controller: Controller,
    random: Random,
    /// Probability that an answer is lost.
    lost: f64,
    /// The next time this coil is set, that is carried out and its answer lost.
    lose_answer_of: Option<u16>,
    /// The next time this coil is to be set, that gets lost on its way.
    lose_write_of: Option<u16>,
    silent: bool,
    said: String,
    asked: Vec<Question>,
}

impl Pair {
    fn new(settings: &Modbus, speed: f64) -> Self {
        let setup = Setup { speed, keep_lines: true, ..Setup::default() };
        Self::with(settings, &setup)
    }

    fn with(settings: &Modbus, setup: &Setup) -> Self {
        let mut pair = Self {
            now: Moment::ZERO,
            host: Host::new(settings, Moment::ZERO).unwrap(),
            controller: Controller::new(setup),
            random: Random::new(7),
            lost: 0.0,
            lose_answer_of: None,
            lose_write_of: None,
            silent: false,
            said: String::new(),
            asked: Vec::new(),
        };
        while !pair.host.knows_machine() {
            pair.turn();
        }
        assert!(pair.asked.iter().all(|question| !question.writes()), "first it is looked at");
        pair
    }

    fn say(&mut self, text: &str) {
        self.host.hear(self.now, text.as_bytes());
    }

    fn turn(&mut self) {
        let Some(question) = self.host.question(self.now) else {
            self.now = self.host.wakes_at().max(self.now + Duration::from_millis(1));
            self.controller.advance(self.now);
            return;
        };
        self.now = self.now + TURN;
        self.asked.push(question.clone());
        let coil = if let Question::WriteCoil { address, on: true } = question { Some(address) } else { None };
        let lost_write = coil.is_some() && self.lose_write_of.take_if(|at| Some(*at) == coil).is_some();
        let lost_answer = coil.is_some() && self.lose_answer_of.take_if(|at| Some(*at) == coil).is_some();
        if self.silent || lost_write {
            return self.host.unanswered(self.now, &question, &Trouble::Overdue);
        }
        let answer = self.controller.ask(self.now, &question);
        match answer {
            _ if lost_answer || self.random.chance(self.lost) => {
                self.host.unanswered(self.now, &question, &Trouble::Overdue);
            }
            Ok(words) => self.host.answered(self.now, &question, &words).unwrap(),
            Err(code) => self.host.unanswered(self.now, &question, &Trouble::Exception(code)),
        }
        let mut said = Vec::new();
        self.host.take_said(&mut said);
        self.said.push_str(&String::from_utf8(said).unwrap());
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.turn();
        }
    }

    /// Runs until something is said that contains this.
    fn until(&mut self, wanted: &str) {
        for _ in 0..200_000 {
            if self.said.contains(wanted) {
                return;
            }
            self.turn();
        }
        panic!("never said `{wanted}`, but {}", self.said);
    }

    fn state(&mut self) -> String {
        self.said.clear();
        self.say("\u{5}");
        self.until(">");
        self.said.clone()
    }

    fn executed(&self) -> Vec<String> {
        self.controller.report().executed_lines.unwrap()
    }

    fn starts(&self) -> usize {
        self.asked.iter().filter(|question| **question == Question::WriteCoil { address: 0, on: true }).count()
    }

    /// Gives it a program and starts it; what it said by then.
    fn program(&mut self, lines: &[String]) {
        for line in lines {
            self.say(&format!("{line}\n"));
            while self.host.lines.len() > 200 {
                self.turn();
            }
        }
        self.say("$START\n");
    }
}

fn moves(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("G1X{}.{:03}Y{}F3000", at % 90, at % 1000, at % 70)).collect()
}

fn oks(said: &str) -> usize {
    said.lines().filter(|line| *line == "ok").count()
}

#[test]
fn a_program_goes_over_in_blocks_is_started_once_and_ends_when_the_controller_says_so() {
    let mut pair = Pair::new(&settings(), 10.0);
    let program = moves(400);
    assert_eq!(pair.state().split('|').next(), Some("<Idle"));
    pair.said.clear();
    pair.program(&program);
    while oks(&pair.said) < program.len() {
        assert_eq!(pair.executed(), Vec::<String>::new(), "nothing runs before all of it is there");
        pair.turn();
    }
    pair.said.clear();
    pair.until("ok");
    let running = pair.state();
    assert!(running.starts_with("<Run|MPos:"), "{running}");
    for _ in 0..100_000 {
        if pair.state().starts_with("<Idle") {
            break;
        }
    }
    assert_eq!(pair.executed(), program);
    assert!(pair.state().contains("|Bf:4294967295,0"), "all are executed: {}", pair.said);
    assert_eq!(pair.starts(), 1);
}

#[test]
fn what_is_executed_is_what_the_controller_says_and_nothing_before() {
    let mut pair = Pair::new(&settings(), 1.0);
    pair.program(&moves(400));
    pair.run(Duration::from_secs(5));
    let state = pair.state();
    let free: u64 = state.split("|Bf:").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let executed = 401 - (u64::from(u32::MAX) - free);
    assert!(executed > 0 && executed < 400, "{state}");
    // Without a register for it nothing is known until the program is over.
    let mut settings = settings();
    settings.program.as_mut().unwrap().line = None;
    let mut pair = Pair::new(&settings, 1.0);
    pair.program(&moves(400));
    pair.run(Duration::from_secs(5));
    assert!(pair.state().contains("|Bf:4294966894,0"), "{}", pair.said);
}

#[test]
fn blocks_whose_answers_are_lost_are_taken_once() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    pair.lost = 0.1;
    let program = moves(2_000);
    pair.program(&program);
    while !pair.host.is_over() {
        assert!(!pair.said.contains("ALARM"), "{}", pair.said);
        pair.turn();
    }
    assert_eq!(pair.executed(), program);
    assert_eq!(oks(&pair.said), program.len() + 1, "each line has its answer, and the start");
}

#[test]
fn the_mistake_of_a_block_is_not_taken_for_that_of_the_same_block_sent_again() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    // It looks at a block only after it was asked about it for fifty times.
    (pair.controller.looks_every, pair.controller.spoils) = (50 * TURN, Some(7));
    let program = moves(200);
    pair.program(&program);
    while !pair.host.is_over() {
        assert!(!pair.said.contains("ALARM"), "{}", pair.said);
        pair.turn();
    }
    assert_eq!(pair.executed(), program);
}

#[test]
fn a_start_whose_answer_is_lost_is_not_written_again_and_the_program_runs_once() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    pair.lose_answer_of = Some(0);
    pair.program(&moves(20));
    pair.run(Duration::from_secs(2));
    assert!(pair.host.is_over(), "{}", pair.said);
    assert_eq!((pair.executed().len(), pair.starts()), (20, 1));
}

#[test]
fn a_start_that_may_not_have_arrived_is_said_to_be_unknown_and_the_machine_told_to_stop() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    pair.lose_write_of = Some(0);
    pair.program(&moves(20));
    pair.until("ALARM:start_unknown");
    pair.run(Duration::from_secs(1));
    assert_eq!((pair.executed().len(), pair.starts()), (0, 1));
    assert!(pair.asked.contains(&Question::WriteCoil { address: 1, on: true }), "stop is written");
    assert!(pair.state().starts_with("<Alarm"), "a person must look");
    pair.say("$X\n");
    assert!(pair.state().contains("<Idle"), "{}", pair.said);
}

#[test]
fn a_start_pulse_that_a_dead_agent_left_behind_does_not_keep_the_next_program_from_starting() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    pair.controller.ask(pair.now, &Question::WriteCoil { address: 0, on: true }).unwrap();
    pair.program(&moves(20));
    pair.run(Duration::from_secs(2));
    assert!(pair.host.is_over(), "{}", pair.said);
    assert_eq!((pair.executed().len(), pair.starts()), (20, 1));
}

#[test]
fn an_agent_that_goes_right_after_a_short_program_ends_the_pulse_of_its_start() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    pair.program(&moves(2));
    while !pair.host.is_over() {
        pair.turn();
    }
    assert_eq!(pair.host.goodbye(), [Question::WriteCoil { address: 0, on: false }]);
}

#[test]
fn a_program_stopped_at_the_panel_is_not_finished() {
    let mut pair = Pair::new(&settings(), 1.0);
    pair.program(&moves(100));
    pair.run(Duration::from_secs(3));
    pair.controller.stop_at_panel();
    pair.until("ALARM:ended_early");
    assert!(!pair.host.is_over());
}

#[test]
fn a_controller_that_restarts_while_it_is_loaded_is_not_started() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    for line in moves(200) {
        pair.say(&format!("{line}\n"));
    }
    while oks(&pair.said) < 60 {
        pair.turn();
    }
    pair.controller.reset(pair.now);
    pair.say("$START\n");
    pair.until("ALARM:lost");
    pair.run(Duration::from_secs(1));
    assert_eq!((pair.executed().len(), pair.starts()), (0, 0));
}

#[test]
fn a_line_the_controller_does_not_know_is_its_alarm_in_the_profiles_words() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    let mut program = moves(10);
    program[7] = "G999".to_owned();
    pair.program(&program);
    pair.until("ALARM:alarm.20 The controller is in alarm: the program has a line that the controller does not know.");
    assert!(pair.state().starts_with("<Alarm"));
    pair.say("$X\n");
    pair.run(Duration::from_secs(1));
    assert!(pair.state().starts_with("<Idle"), "{}", pair.said);
}

#[test]
fn a_line_that_does_not_fit_into_a_block_is_refused_and_the_program_not_started() {
    let mut pair = Pair::new(&settings(), f64::INFINITY);
    let mut program = moves(5);
    program[2] = format!("G1X{}", "1".repeat(130));
    pair.program(&program);
    pair.until("error:line_too_long");
    assert_eq!(oks(&pair.said), 2, "the lines before it have their answers first");
    pair.until("ALARM:spoiled");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.starts(), 0);
}

#[test]
fn hold_and_resume_reach_the_machine_and_a_hold_before_the_start_keeps_it_from_starting() {
    let mut pair = Pair::new(&settings(), 1.0);
    pair.program(&moves(500));
    pair.say("\u{13}");
    pair.run(Duration::from_secs(8));
    assert!(pair.state().starts_with("<Hold:0"), "{}", pair.said);
    assert_eq!(pair.starts(), 0);
    pair.say("\u{11}");
    pair.run(Duration::from_secs(2));
    assert!(pair.state().starts_with("<Run"), "{}", pair.said);
    pair.say("\u{13}");
    pair.run(Duration::from_secs(1));
    assert!(pair.state().starts_with("<Hold:0"), "{}", pair.said);
    let stands_at = pair.controller.report().position_mm;
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.controller.report().position_mm, stands_at);
    pair.say("\u{11}");
    pair.run(Duration::from_secs(2));
    assert_ne!(pair.controller.report().position_mm, stands_at);
    assert_eq!(pair.starts(), 1);
}

#[test]
fn stop_is_written_first_and_said_to_have_failed_if_the_machine_runs_on() {
    let mut pair = Pair::new(&settings(), 1.0);
    pair.program(&moves(500));
    pair.run(Duration::from_secs(4));
    pair.controller.stuck = true;
    pair.asked.clear();
    pair.say("\u{3}");
    pair.run(Duration::from_secs(6));
    assert_eq!(pair.asked[0], Question::WriteCoil { address: 1, on: true });
    assert!(pair.said.contains("[MSG:The controller was told to stop and does not say after 5 s that it stands."));
    let stops = pair.asked.iter().filter(|question| **question == Question::WriteCoil { address: 1, on: true });
    assert!(stops.count() > 5, "it is told again and again");
    pair.controller.stuck = false;
    pair.run(Duration::from_secs(1));
    assert!(!pair.controller.report().moving);
    assert!(pair.state().starts_with("<Alarm"), "until a person clears it");
}

#[test]
fn a_cancelled_program_is_stopped_and_the_machine_is_ready_when_it_stands() {
    let mut pair = Pair::new(&settings(), 1.0);
    pair.program(&moves(500));
    pair.run(Duration::from_secs(4));
    pair.said.clear();
    pair.say("\u{18}");
    pair.until("[PROGRAM ready]");
    assert!(!pair.controller.report().moving);
    assert!(pair.state().starts_with("<Idle"));
}

#[test]
fn a_controller_that_does_not_answer_says_nothing_old_as_if_it_were_new() {
    let mut pair = Pair::new(&settings(), 1.0);
    pair.program(&moves(500));
    pair.run(Duration::from_secs(4));
    pair.silent = true;
    pair.run(Duration::from_millis(50));
    pair.said.clear();
    pair.say("\u{5}");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.said, "", "no report without a reading");
    let silence = pair.now.since(pair.host.answered_at());
    assert!(silence >= Duration::from_secs(1), "{silence:?}");
}

/// The same controller as one that has its programs.
fn by_number() -> Modbus {
    let mut settings = settings();
    settings.program.as_mut().unwrap().blocks = None;
    assert_eq!(settings.problems(), []);
    settings
}

#[test]
fn a_program_is_named_by_its_number_and_started() {
    let mut pair = Pair::new(&by_number(), 10.0);
    pair.run(Duration::from_secs(1));
    pair.program(&["M98P42".into(), "M30".into()]);
    pair.run(Duration::from_secs(3));
    assert!(pair.host.is_over(), "{}", pair.said);
    assert_eq!(pair.executed().len(), 5);
    assert_eq!(oks(&pair.said), 3);
}

#[test]
fn a_number_that_the_controller_does_not_have_is_not_started() {
    let mut pair = Pair::new(&by_number(), 10.0);
    pair.run(Duration::from_secs(1));
    pair.program(&["M98P41".into()]);
    pair.until("ALARM:not_loaded The controller has program 0 loaded, and not 41; nothing was started.");
    assert_eq!(pair.starts(), 0);
    for line in ["M98P100", "M98P", "G1X10", "M98P42X1"] {
        let mut pair = Pair::new(&by_number(), 10.0);
        pair.run(Duration::from_secs(1));
        pair.program(&[line.to_owned()]);
        pair.until("error:not_a_number");
        pair.until("ALARM:spoiled");
        assert_eq!(pair.starts(), 0, "{line}");
    }
}
