//! A session, the mailbox's host and a simulated machine in virtual time, with a bus between that loses, doubles and
//! delays answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Conversation as _, Mailbox, Question, Trouble};
use super::Host;
use crate::profile::Profile;
use crate::request::Job;
use crate::session::Input;
use crate::sim::modbus::{Device, Plc};
use crate::sim::{Random, Setup};
use crate::snapshot::JobPhase;
use crate::{Answer, Event, EventKind, Moment, Request, Session, State, dialect};

/// What a question costs when all goes well, and when its answer is overdue.
const QUESTION: Duration = Duration::from_millis(4);
const OVERDUE: Duration = Duration::from_millis(200);

/// Virtual time after which a run that has not ended counts as a deadlock.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The machine's own word for what it does.
const STATE: Question =
    Question::Read { table: crate::modbus::Table::Holding, address: super::machine::STATE, count: 1 };

mod machine_state {
    pub(super) const HELD: u16 = super::super::State::Held as u16;
    pub(super) const ALARM: u16 = super::super::State::Alarm as u16;
}

/// What goes wrong with one question in a thousand.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    question_lost: u64,
    answer_lost: u64,
    /// The answer comes as the answer to a later question of the same shape.
    answer_late: u64,
}

struct Pair {
    now: Moment,
    session: Session,
    host: Host,
    plc: Plc,
    program: Vec<String>,
    next: usize,
    faults: Faults,
    /// Whether questions are asked together and more wait behind them, as on TCP.
    asks_ahead: bool,
    random: Random,
    late: VecDeque<(Question, Vec<u16>)>,
    events: Vec<Event>,
    bytes: Vec<u8>,
}

/// Whether an answer to the one could pass for an answer to the other.
fn same_shape(one: &Question, other: &Question) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other) && one.wanted() == other.wanted()
}

impl Pair {
    fn new(setup: &Setup, read_write: bool, faults: Faults, seed: u64) -> Self {
        let mut profile = Profile::named("generic-grbl").unwrap();
        "mailbox".clone_into(&mut profile.dialect);
        profile.safety.safe_end = vec!["M5".into()];
        let dialect = dialect::named("mailbox").unwrap();
        let mut pair = Self {
            now: Moment::ZERO,
            session: Session::new(dialect, Arc::new(profile), Moment::ZERO),
            host: Host::new(Mailbox { read_write, ..Mailbox::default() }, Moment::ZERO),
            plc: Plc::new(setup),
            program: Vec::new(),
            next: 0,
            faults,
            asks_ahead: seed % 2 == 1,
            random: Random::new(seed),
            late: VecDeque::new(),
            events: Vec::new(),
            bytes: Vec::new(),
        };
        pair.session.handle(pair.now, Input::LinkUp { may_reset: false });
        pair
    }

    fn ask(&mut self, question: &Question) -> Result<Vec<u16>, Trouble> {
        let faults = self.faults;
        let mut once_in = |permille: u64| self.random.below(1000) < permille;
        let (question_lost, answer_lost, answer_late) =
            (once_in(faults.question_lost), once_in(faults.answer_lost), once_in(faults.answer_late));
        if question_lost && self.late.front().is_some_and(|(asked, _)| same_shape(asked, question)) {
            // The worst of all: the question never arrived, and an answer to an older one says that it did.
            let (_, late) = self.late.pop_front().unwrap();
            self.now = self.now + QUESTION;
            return Ok(late);
        }
        if question_lost {
            self.now = self.now + OVERDUE;
            return Err(Trouble::Overdue);
        }
        self.now = self.now + QUESTION;
        let answer = self.plc.ask(self.now, question).map_err(Trouble::Exception);
        if let Some((asked, _)) = self.late.front() {
            if same_shape(asked, question) {
                // The answer to an earlier question arrives just in time to be taken for this one's.
                let (_, late) = self.late.pop_front().unwrap();
                return Ok(late);
            }
        }
        if answer_lost || answer_late {
            if let (true, Ok(words)) = (answer_late, &answer) {
                self.late.push_back((question.clone(), words.clone()));
            }
            self.now = self.now + OVERDUE;
            return Err(Trouble::Overdue);
        }
        answer
    }

    /// One turn: what the session says, one question, what it brings, and time.
    fn step(&mut self) {
        while self.session.wants_program() {
            match self.program.get(self.next) {
                Some(line) => {
                    self.next += 1;
                    let input = Input::ProgramLine { number: self.next as u64, bytes: line.as_bytes() };
                    self.session.handle(self.now, input);
                }
                None => self.session.handle(self.now, Input::ProgramEnd),
            }
        }
        self.session.program_fed(self.now);
        self.bytes.clear();
        if let Some(urgent) = self.session.take_urgent() {
            self.bytes.extend(urgent.bytes);
        }
        self.session.take_wire(&mut self.bytes);
        // Half of what the session says is heard while a question is on its way.
        let heard = if self.random.chance(0.5) { self.bytes.len() } else { 0 };
        self.host.hear(self.now, &self.bytes[..heard]);
        let mut asked: Vec<Question> = self.host.question(self.now).into_iter().collect();
        self.host.hear(self.now, &self.bytes[heard..]);
        if asked.is_empty() {
            asked.extend(self.host.question(self.now));
        } else if self.asks_ahead {
            let at_once = self.host.questions_at_once();
            asked.extend((0..2 * at_once - 1).map_while(|_| self.host.question_ahead(self.now)));
            if self.host.is_urgent() || self.random.chance(0.05) {
                let left = asked.split_off(at_once.min(asked.len()));
                for _ in left {
                    self.host.taken_back();
                }
            }
        }
        for question in &asked {
            match self.ask(question) {
                Ok(words) => self.host.answered(self.now, question, &words).unwrap(),
                Err(trouble) => self.host.unanswered(self.now, question, &trouble),
            }
        }
        self.bytes.clear();
        self.host.take_said(&mut self.bytes);
        // What is said is told before time passes.
        if asked.is_empty() && self.bytes.is_empty() {
            let wakes = [Some(self.host.wakes_at()), self.session.deadline(), self.plc.wakes_at()];
            self.now = wakes.into_iter().flatten().min().unwrap().max(self.now + Duration::from_micros(100));
        }
        self.plc.advance(self.now);
        self.session.handle(self.now, Input::Bytes(&self.bytes));
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }

    fn run_until(&mut self, done: impl Fn(&mut Self) -> bool) {
        let until = self.now + PATIENCE;
        while !done(self) {
            assert!(self.now < until, "no end in sight: {:#?} {:#?}", self.session.snapshot(), self.host);
            self.step();
        }
    }

    fn start(&mut self, program: Vec<String>) {
        self.run_until(|pair| pair.session.state() == State::Idle);
        (self.program, self.next) = (program, 0);
        let job = Job { id: "job".into(), lines: self.program.len() as u64, from_line: 1 };
        assert_eq!(self.request(Request::Start(job)), Ok(()));
    }

    fn request(&mut self, request: Request) -> Answer {
        self.session.request(self.now, request)
    }

    fn run_job(&mut self) -> JobPhase {
        self.run_until(|pair| pair.phase().is_some_and(JobPhase::is_over) || pair.session.state() == State::Held);
        self.phase().unwrap()
    }

    fn phase(&self) -> Option<JobPhase> {
        self.session.snapshot().job.map(|job| job.phase)
    }

    fn executed(&self) -> Vec<String> {
        self.plc.report().executed_lines.unwrap()
    }

    fn notices(&self) -> String {
        let notices = self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Trouble { notice } | EventKind::Job { notice: Some(notice), .. } => Some(notice.to_string()),
            _ => None,
        });
        notices.collect::<Vec<_>>().join("\n")
    }
}

fn setup(speed: f64) -> Setup {
    Setup { keep_lines: true, speed, ..Setup::default() }
}

/// Lines that are all different, so that a line that runs twice is seen.
fn program(lines: usize) -> Vec<String> {
    (0..lines)
        .map(|line| if line == 0 { "G1F3000".into() } else { format!("G1X{}.{:03}", line % 100, line % 1000) })
        .collect()
}

#[test]
fn a_program_goes_through_the_mailbox_and_ends_by_evidence() {
    for read_write in [false, true] {
        let mut pair = Pair::new(&setup(100.0), read_write, Faults::default(), 1);
        pair.start(program(2000));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{}", pair.notices());
        assert_eq!(pair.executed(), program(2000));
        let progress = pair.session.snapshot().job.unwrap();
        assert_eq!((progress.sent, progress.accepted, progress.executed), (2000, 2000, 2000));
        assert!(!pair.plc.report().moving, "finished is said only when motion has ended");
    }
}

#[test]
fn every_line_runs_exactly_once_whatever_is_lost_doubled_or_late() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let faults =
            Faults { question_lost: random.below(60), answer_lost: random.below(60), answer_late: random.below(60) };
        let speed = if seed % 2 == 0 { f64::INFINITY } else { 100.0 };
        let mut pair = Pair::new(&setup(speed), seed % 3 != 0, faults, seed);
        pair.start(program(2000));
        assert_eq!(pair.run_job(), JobPhase::Finished, "seed {seed}: {}", pair.notices());
        assert_eq!(pair.executed(), program(2000), "seed {seed} {faults:?}");
        assert!(!pair.plc.report().moving, "seed {seed}");
    }
}

#[test]
fn sequence_numbers_wrap_and_nothing_is_lost() {
    let mut pair = Pair::new(&setup(f64::INFINITY), true, Faults { answer_late: 5, ..Faults::default() }, 3);
    pair.start(program(70_000));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{}", pair.notices());
    assert_eq!(pair.executed(), program(70_000));
}

#[test]
fn a_refused_line_holds_and_nothing_behind_it_runs() {
    let mut pair = Pair::new(&Setup { refuse_line: Some(50), ..setup(f64::INFINITY) }, true, Faults::default(), 1);
    pair.start(program(200));
    assert_eq!(pair.run_job(), JobPhase::Held);
    assert!(pair.notices().contains("mailbox.error.4") && pair.notices().contains("line 50"), "{}", pair.notices());
    assert_eq!(pair.executed().len(), 49, "the machine waits until the host has seen the refusal");
    assert_eq!(pair.request(Request::Cancel), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Cancelled);
    assert_eq!(pair.executed().last().unwrap(), "M5");
    assert!(pair.executed().len() <= 51, "what was queued was dropped: {:?}", pair.executed().len());
    pair.start(program(5));
    assert_eq!(pair.run_job(), JobPhase::Finished, "the next job finds a machine that works");
}

#[test]
fn a_line_longer_than_a_slot_is_refused_in_its_turn_and_nothing_behind_it_is_written() {
    let mut pair = Pair::new(&setup(f64::INFINITY), true, Faults::default(), 1);
    let mut lines = program(100);
    lines[49] = format!("G1X1{}", "0".repeat(60));
    pair.start(lines);
    assert_eq!(pair.run_job(), JobPhase::Held);
    assert!(pair.notices().contains("mailbox.error.101") && pair.notices().contains("line 50"), "{}", pair.notices());
    assert_eq!(pair.executed(), program(49));
}

#[test]
fn a_hold_stands_still_and_resume_goes_on_where_it_was() {
    let mut pair = Pair::new(&setup(20.0), true, Faults { answer_lost: 20, ..Faults::default() }, 5);
    pair.start(program(400));
    pair.run_until(|pair| pair.executed().len() > 60);
    assert_eq!(pair.request(Request::Pause), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Held);
    let position = pair.plc.report().position_mm;
    let until = pair.now + Duration::from_secs(5);
    pair.run_until(|pair| pair.now > until);
    assert_eq!(pair.plc.report().position_mm, position, "it stands still");
    assert_eq!(pair.request(Request::Resume), Ok(()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{}", pair.notices());
    assert_eq!(pair.executed(), program(400));
}

#[test]
fn an_emergency_stop_goes_before_everything_and_leaves_an_alarm_a_person_clears() {
    let mut pair = Pair::new(&setup(1.0), true, Faults::default(), 1);
    pair.start(program(400));
    pair.run_until(|pair| pair.executed().len() > 20);
    let asked_at = pair.now;
    assert_eq!(pair.request(Request::Stop), Ok(()));
    pair.run_until(|pair| !pair.plc.report().moving);
    assert!(pair.now.since(asked_at) < Duration::from_millis(20), "{:?}", pair.now.since(asked_at));
    pair.run_until(|pair| pair.session.state() == State::Alarm);
    let executed = pair.executed();
    let until = pair.now + Duration::from_secs(2);
    pair.run_until(|pair| pair.now > until);
    assert_eq!(pair.executed(), executed, "nothing runs after it");
    assert_eq!(pair.request(Request::Clear), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Idle);
    pair.start(program(5));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    assert_eq!(pair.executed().len(), executed.len() + 5, "what was queued before the stop is gone");
}

#[test]
fn an_emergency_stop_was_not_written_while_a_new_session_was_unanswered() {
    for (order, state) in [(0x03, machine_state::ALARM), (0x13, machine_state::HELD)] {
        let mut pair = Pair::new(&setup(1.0), true, Faults::default(), 1);
        pair.start(vec!["G1F60X500".into()]);
        pair.run_until(|pair| pair.plc.report().moving);
        // It says last of all that it serves the new session, after it stands, and it takes its time.
        pair.plc.session_takes = Duration::from_secs(3600);
        pair.host.hear(pair.now, &[0x18]);
        let until = pair.now + Duration::from_millis(100);
        pair.run_until(|pair| pair.now > until);
        assert!(pair.plc.report().moving);
        let asked_at = pair.now;
        pair.host.hear(pair.now, &[order]);
        pair.run_until(|pair| pair.plc.ask(pair.now, &STATE).unwrap() == [state]);
        assert!(pair.now.since(asked_at) < Duration::from_millis(20), "{:?}", pair.now.since(asked_at));
        pair.plc.session_takes = Duration::ZERO;
        let until = pair.now + Duration::from_secs(1);
        pair.run_until(|pair| pair.now > until);
        assert_eq!(pair.plc.ask(pair.now, &STATE).unwrap(), [state], "the new session has not undone it");
    }
}

#[test]
fn a_stop_that_a_machine_without_a_session_only_counted_was_lost() {
    let mut pair = Pair::new(&setup(1.0), true, Faults::default(), 1);
    pair.plc.session_takes = Duration::from_millis(300);
    let until = pair.now + Duration::from_millis(100);
    pair.run_until(|pair| pair.now > until);
    pair.host.hear(pair.now, &[0x03]);
    // It hears of command and session together, and copies the number of the command without looking at it.
    pair.plc.blind_until_session = true;
    let until = pair.now + Duration::from_secs(1);
    pair.run_until(|pair| pair.now > until);
    assert_eq!(pair.plc.ask(pair.now, &STATE).unwrap(), [machine_state::ALARM]);
}

#[test]
fn a_stop_that_was_not_carried_out_was_forgotten_with_the_session_or_replaced_by_the_hold_of_a_goodbye() {
    let mut pair = Pair::new(&setup(1.0), true, Faults::default(), 1);
    pair.start(vec!["G1F60X500".into()]);
    pair.run_until(|pair| pair.plc.report().moving);
    pair.host.hear(pair.now, &[0x03, 0x18]);
    let command = |question: &Question| match question {
        Question::Write { words, .. } | Question::ReadWrite { words, .. } => words[words.len() - 2],
        _ => 0,
    };
    let goodbye = pair.host.goodbye();
    assert_eq!(goodbye.iter().map(command).collect::<Vec<_>>(), [3]);
    let question = pair.host.question(pair.now).unwrap();
    assert_eq!(command(&question), 3, "{question:?}");
    pair.run_until(|pair| pair.plc.ask(pair.now, &STATE).unwrap() == [machine_state::ALARM]);
}

#[test]
fn a_machine_that_loses_power_fails_the_job_and_runs_no_line_again() {
    let mut pair = Pair::new(&setup(100.0), true, Faults::default(), 1);
    pair.start(program(400));
    pair.run_until(|pair| pair.executed().len() > 100);
    let before = pair.executed();
    pair.plc.reset(pair.now);
    assert_eq!(pair.run_job(), JobPhase::Failed);
    assert!(pair.notices().contains("machine.restarted"), "{}", pair.notices());
    pair.run_until(|pair| pair.session.state() == State::Idle);
    assert_eq!(pair.executed(), before);
}

#[test]
fn another_agent_that_opens_a_session_is_no_failed_power_supply() {
    let mut pair = Pair::new(&setup(1.0), true, Faults::default(), 1);
    pair.start(vec!["G1F60X500".into()]);
    pair.run_until(|pair| pair.plc.report().moving);
    let read = |address| Question::Read { table: crate::modbus::Table::Holding, address, count: 1 };
    let session = pair.plc.ask(pair.now, &read(6)).unwrap()[0];
    pair.plc.ask(pair.now, &Question::Write { address: 32, words: vec![session + 3, 1, 0, 0, 0] }).unwrap();
    assert_eq!(pair.run_job(), JobPhase::Failed);
    let notices = pair.notices();
    assert!(notices.contains("mailbox.taken") && !notices.contains("machine.restarted"), "{notices}");
    // What the other one does is not disturbed: only a person takes the machine back.
    let until = pair.now + Duration::from_secs(30);
    pair.run_until(|pair| pair.now >= until);
    assert_eq!(pair.plc.ask(pair.now, &read(6)).unwrap(), [session + 3]);
    assert_eq!(pair.session.state(), State::Alarm);
    assert!(pair.host.goodbye().is_empty());
    assert_eq!(pair.request(Request::Clear), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Idle);
    assert_ne!(pair.plc.ask(pair.now, &read(6)).unwrap(), [session + 3], "it is ours again");
}

#[test]
fn a_host_that_dies_leaves_a_machine_that_holds_by_itself() {
    let mut pair = Pair::new(&setup(1.0), true, Faults::default(), 1);
    pair.start(vec!["G1F60X500".into()]);
    pair.run_until(|pair| pair.plc.report().moving);
    let died_at = pair.now;
    let stood_at = |pair: &mut Pair, after: u64| {
        pair.plc.advance(died_at + Duration::from_secs(after));
        pair.plc.report().position_mm
    };
    let position = stood_at(&mut pair, 3);
    assert_eq!(stood_at(&mut pair, 60), position, "the watchdog holds after 2 s without a beat");
}

#[test]
fn a_session_gone_wild_leaves_a_bounded_number_of_orders_and_the_newest_counts() {
    let mut pair = Pair::new(&setup(1.0), true, Faults::default(), 1);
    pair.start(vec!["G1F60X500".into()]);
    pair.run_until(|pair| pair.plc.report().moving);
    let mut words = [0x13, 0x11].repeat(5_000);
    words.push(0x13);
    pair.host.hear(pair.now, &words);
    let mut orders = 0;
    let until = pair.now + Duration::from_secs(1);
    while pair.now < until {
        let Some(question) = pair.host.question(pair.now) else {
            pair.now = pair.host.wakes_at().max(pair.now + Duration::from_millis(1));
            continue;
        };
        orders +=
            u32::from(matches!(&question, Question::ReadWrite { words, .. } if words.len() == 5 && words[3] != 0));
        let words = pair.ask(&question).unwrap();
        pair.host.answered(pair.now, &question, &words).unwrap();
    }
    assert!(orders <= 20, "{orders} orders");
    let position = pair.plc.report().position_mm;
    pair.plc.advance(pair.now + Duration::from_secs(1));
    assert_eq!(pair.plc.report().position_mm, position, "it holds, as it was told last");
}

#[test]
fn a_stop_while_lines_are_on_their_way_leaves_none_of_them_as_written() {
    for ahead in [false, true] {
        let mut pair = Pair::new(&setup(f64::INFINITY), true, Faults::default(), 1);
        pair.run_until(|pair| pair.session.state() == State::Idle);
        pair.host.hear(pair.now, b"G1X1F100\nG1X2\nG1X3\nG1X4\nG1X5\nG1X6\n");
        let mut asked = vec![pair.host.question(pair.now).unwrap()];
        asked.extend(pair.host.question_ahead(pair.now).filter(|_| ahead));
        assert_eq!(asked.len(), 1 + usize::from(ahead));
        pair.host.hear(pair.now, &[0x03]);
        for question in &asked {
            // They get lost on their way, and what comes back says nothing of them.
            let words =
                pair.ask(&Question::Read { table: crate::modbus::Table::Holding, address: 6, count: 20 }).unwrap();
            pair.host.answered(pair.now, question, &words).unwrap();
        }
        pair.host.hear(pair.now, b"G1X7F100\n");
        pair.run_until(|pair| pair.session.state() == State::Alarm);
        assert_eq!(pair.executed(), Vec::<String>::new(), "nothing of before the stop, nor in place of it");
    }
}

#[test]
fn what_is_no_mailbox_is_said() {
    let mut host = Host::new(Mailbox { base: 100, ..Mailbox::default() }, Moment::ZERO);
    let question = host.question(Moment::ZERO).unwrap();
    assert_eq!(question, Question::Read { table: crate::modbus::Table::Holding, address: 100, count: 32 });
    let sentence = host.answered(Moment::ZERO, &question, &[7; 32]).unwrap_err();
    assert!(sentence.contains("register 100 holds 0x0007"), "{sentence}");
}
