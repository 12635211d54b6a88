//! Outbox × broker in virtual time. A schedule is a log that grows, an agent that is killed at some step, and a broker that
//! does something wrong at some others; what its subscribers had is compared with what happened.
//!
//! The broker hears what is on the wire in order and answers in order, as MQTT demands (4.6). Whatever it does, a
//! subscriber has each event of the log once after doubles are removed, and in order.

use std::collections::BTreeSet;

use super::test::row_of;
use super::*;
use crate::sinks::mqtt::course::Course;
use crate::sinks::mqtt::loss::{Kind, Loss};

/// Schedules in every run of the tests; `MQTT_SCHEDULES` sets another number.
const SCHEDULES: u64 = 100_000;

/// Events in a schedule: more than the window, so that it fills.
const EVENTS: u64 = 24;

/// Steps after which the broker is well and the agent is let live: from there everything must arrive.
const TROUBLED_STEPS: u64 = 60;

/// One step of virtual time.
const STEP: Duration = Duration::from_millis(20);

/// What a broker does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It has the message, and its acknowledgement gets lost with the connection.
    LosesAcknowledgement,
    /// It forgets what it has not acknowledged, and the connection is lost.
    DropsQueue,
    /// Nothing arrives any more in either direction, until the agent gives up.
    HalfOpen,
    /// It answers nothing for a while.
    Slow,
    /// It says that it is full.
    Full,
    /// It does not take one machine's events.
    Refuses,
    /// Another client takes over.
    TakesOver,
    /// It allows one message on its way.
    Narrow,
    /// The agent is killed; the store remembers an older place.
    AgentDies,
}

const FAULTS: [Fault; 9] = [
    Fault::LosesAcknowledgement,
    Fault::DropsQueue,
    Fault::HalfOpen,
    Fault::Slow,
    Fault::Full,
    Fault::Refuses,
    Fault::TakesOver,
    Fault::Narrow,
    Fault::AgentDies,
];

/// What a subscriber had: events of each machine by their numbers, and what was owned up to.
#[derive(Debug, Default)]
struct Heard {
    events: Vec<(usize, u64)>,
    /// Numbers between which events of a machine are said to be missing.
    missing: Vec<(usize, Gap)>,
}

struct World<'a> {
    rows: &'a [Item],
    random: fastrand::Rng,
    now: Moment,
    /// Events told until now.
    told: u64,
    outbox: Outbox,
    refusals: Refusals,
    course: Course,
    read: u64,
    /// The place that the store wrote down.
    written: u64,
    connected_at: Option<Moment>,
    connect_at: Moment,
    /// On the wire and not yet heard by the broker; heard and not yet answered.
    outgoing: VecDeque<Due>,
    answers: VecDeque<(u64, usize, Verdict)>,
    progress_at: Moment,
    dead: bool,
    slow_until: Moment,
    full_until: Moment,
    /// It said that it is full, and says so to all that is on its way.
    full: bool,
    refusing: bool,
    window: usize,
    heard: Heard,
    /// Events that the broker refused, or that were passed over because it refuses their machine's.
    refused: BTreeSet<u64>,
    doubles: u64,
}

fn machine_of(number: u64) -> usize {
    usize::from(number % 3 == 0)
}

fn names() -> Vec<String> {
    vec!["mill".into(), "saw".into()]
}

/// How many of the numbers up to this one are the machine's.
fn seq_of(number: u64) -> u64 {
    if machine_of(number) == 1 { number / 3 } else { number - number / 3 }
}

impl<'a> World<'a> {
    fn new(rows: &'a [Item], seed: u64) -> Self {
        Self {
            rows,
            random: fastrand::Rng::with_seed(seed),
            now: Moment::ZERO,
            told: 0,
            outbox: Outbox::new(names()),
            refusals: Refusals::default(),
            course: Course::new(true, true),
            read: 0,
            written: 0,
            connected_at: None,
            connect_at: Moment::ZERO,
            outgoing: VecDeque::new(),
            answers: VecDeque::new(),
            progress_at: Moment::ZERO,
            dead: false,
            slow_until: Moment::ZERO,
            full_until: Moment::ZERO,
            full: false,
            refusing: false,
            window: 65_535,
            heard: Heard::default(),
            refused: BTreeSet::new(),
            doubles: 0,
        }
    }

    fn lose(&mut self, kind: Kind) {
        let Some(at) = self.connected_at.take() else { return };
        let unanswered = self.outgoing.len() + self.answers.len();
        let mut loss = Loss::new(kind, "");
        let pause = self.course.lost(&mut loss, Some(self.now.since(at)), unanswered);
        self.connect_at = self.now + pause;
        self.outgoing.clear();
        self.answers.clear();
        (self.dead, self.full) = (false, false);
    }

    fn connect(&mut self) {
        if self.connected_at.is_some() || self.now < self.connect_at {
            return;
        }
        self.connected_at = Some(self.now);
        self.progress_at = self.now;
        let careful = self.course.terms().careful;
        self.outbox.connected(self.told, if careful { 1 } else { self.window });
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::LosesAcknowledgement => {
                self.broker_hears(usize::MAX);
                self.lose(Kind::Closed);
            }
            Fault::DropsQueue => self.lose(Kind::Closed),
            Fault::HalfOpen => self.dead = true,
            Fault::Slow => self.slow_until = self.now + Duration::from_millis(self.random.u64(0..3000)),
            Fault::Full => self.full_until = self.now + Duration::from_millis(self.random.u64(0..3000)),
            Fault::Refuses => self.refusing = true,
            Fault::TakesOver => self.lose(Kind::TakenOver),
            Fault::Narrow => {
                self.window = 1;
                self.lose(Kind::Ended);
            }
            Fault::AgentDies => self.die(),
        }
    }

    /// The agent is killed and started again: all that is left is the place in the store, which was written some time ago.
    fn die(&mut self) {
        self.lose(Kind::Closed);
        self.outbox = Outbox::new(names());
        self.refusals = Refusals::default();
        self.course = Course::new(true, true);
        self.read = self.written;
        self.connect_at = self.now;
    }

    /// The broker hears what is on the wire, and its subscribers get it.
    fn broker_hears(&mut self, most: usize) {
        self.full &= self.now < self.full_until || !self.outgoing.is_empty();
        for _ in 0..most.min(self.outgoing.len()) {
            let Some(due) = self.outgoing.pop_front() else { return };
            self.full |= self.now < self.full_until;
            let verdict = match due.machine {
                0 if self.refusing => Verdict::Refused,
                _ if self.full => Verdict::Full,
                _ => Verdict::Taken,
            };
            match (verdict, &due.what) {
                (Verdict::Taken, What::Event(row)) => self.heard.events.push((due.machine, row.number)),
                (Verdict::Taken, What::Dropped { dropped, .. }) => {
                    self.heard.missing.extend(dropped.numbers.map(|numbers| (due.machine, numbers)));
                }
                (Verdict::Refused, What::Event(row)) => drop(self.refused.insert(row.number)),
                _ => {}
            }
            self.answers.push_back((due.key, due.machine, verdict));
        }
    }

    fn agent_hears(&mut self, most: usize) {
        for _ in 0..most.min(self.answers.len()) {
            let Some((key, machine, verdict)) = self.answers.pop_front() else { return };
            self.refusals.hear(&Place::Events(machine), verdict, self.now);
            self.outbox.hear(key, verdict, self.now);
            self.progress_at = self.now;
        }
    }

    fn agent_reads(&mut self) {
        while self.outbox.wants_more() && self.read < self.told {
            let to = (self.read + 1 + self.random.u64(0..8)).min(self.told);
            let items = self.rows[self.read as usize..to as usize].to_vec();
            self.outbox.take(Batch { items, cursor: Cursor { log: "l".into(), number: to } });
            self.read = to;
        }
    }

    fn agent_sends(&mut self) {
        while let Some(due) = self.outbox.offer(&self.refusals, self.now) {
            let in_flight = self.outgoing.len() + self.answers.len();
            assert!(in_flight < self.window.min(IN_FLIGHT_MAX), "more on its way than the broker allows");
            if in_flight == 0 {
                self.progress_at = self.now;
            }
            self.outgoing.push_back(due);
        }
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        self.connect();
        if self.connected_at.is_some() {
            self.agent_reads();
            let (before, shut) = (self.place(), self.refusals.is_shut(&Place::Events(0), self.now));
            self.agent_sends();
            if shut {
                // Passed over without being offered.
                let passed = before + 1..=self.read;
                self.refused.extend(passed.filter(|number| machine_of(*number) == 0));
            }
            if !self.dead && self.now >= self.slow_until {
                let (heard, answered) = (self.random.usize(0..8), self.random.usize(0..8));
                self.broker_hears(heard);
                self.agent_hears(answered);
            }
            let waits = self.outgoing.len() + self.answers.len() > 0;
            if self.dead && !waits || waits && self.now.since(self.progress_at) > Duration::from_secs(60) {
                self.lose(Kind::Silent);
            }
        }
        assert!(self.place() <= self.told);
        if self.random.u8(0..4) == 0 {
            self.written = self.place();
        }
    }

    /// The broker has everything up to here.
    fn place(&self) -> u64 {
        // An outbox that has read nothing stands where its reader began.
        if self.outbox.cursor.log.is_empty() { self.read } else { self.outbox.place().number }
    }

    /// From now on all is well. Everything arrives, within a bounded time.
    fn settle(&mut self) {
        self.refusing = false;
        (self.slow_until, self.full_until, self.window) = (Moment::ZERO, Moment::ZERO, 65_535);
        let until = self.now + Duration::from_secs(1000);
        while self.place() < EVENTS {
            assert!(self.now < until, "it never arrived: {:?}", self.outbox);
            self.step();
            if self.outbox.next_at().is_some_and(|at| at > self.now + STEP) || self.connected_at.is_none() || self.dead
            {
                self.now = self.now + Duration::from_secs(1);
            }
        }
    }

    fn check(&mut self) {
        for machine in [0, 1] {
            let of = |events: &[(usize, u64)]| {
                events.iter().filter(|(whose, _)| *whose == machine).map(|(_, number)| *number).collect::<Vec<_>>()
            };
            let heard = of(&self.heard.events);
            let mut seen = BTreeSet::new();
            let once: Vec<_> = heard.iter().copied().filter(|number| seen.insert(*number)).collect();
            self.doubles += (heard.len() - once.len()) as u64;
            assert!(once.is_sorted(), "machine {machine} out of order: {heard:?}");
            let wanted = (1..=EVENTS).filter(|number| machine_of(*number) == machine);
            let missing: Vec<_> = wanted.filter(|number| !seen.contains(number)).collect();
            assert!(missing.iter().all(|number| self.refused.contains(number)), "lost: {missing:?} of {heard:?}");
        }
    }
}

/// Every event there is.
fn rows() -> Vec<Item> {
    let name = |number| if machine_of(number) == 1 { "saw" } else { "mill" };
    (1..=EVENTS).map(|number| row_of(name(number), number, "r", seq_of(number))).collect()
}

/// One schedule: two faults at two steps, in a world of its own chances.
fn run(rows: &[Item], seed: u64) -> (u64, bool) {
    let mut world = World::new(rows, seed);
    let mut struck = [0, 0].map(|_| (world.random.u64(0..TROUBLED_STEPS), FAULTS[world.random.usize(0..FAULTS.len())]));
    // Each fault meets each step: the seed walks through both, and chance gives the second one.
    let (step, fault) = (seed % TROUBLED_STEPS, (seed / TROUBLED_STEPS) as usize % FAULTS.len());
    struck[0] = (step, FAULTS[fault]);
    for step in 0..TROUBLED_STEPS {
        world.told = (world.told + world.random.u64(0..2)).min(EVENTS);
        for (_, fault) in struck.iter().filter(|(when, _)| *when == step) {
            world.strike(*fault);
        }
        world.step();
    }
    world.told = EVENTS;
    world.settle();
    world.check();
    (world.doubles, world.refused.is_empty())
}

#[test]
fn whatever_a_broker_does_and_wherever_the_agent_dies_each_event_arrives_once_and_in_order() {
    let schedules = std::env::var("MQTT_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES);
    let started = std::time::Instant::now();
    let (mut doubles, mut whole) = (0, 0);
    let rows = rows();
    for seed in 0..schedules {
        let ran = std::panic::catch_unwind(|| run(&rows, seed));
        let (more, all) = ran.unwrap_or_else(|_| panic!("schedule {seed} failed"));
        doubles += more;
        whole += u64::from(all);
    }
    println!("{schedules} schedules, {whole} without refusals, {doubles} doubles, {:.1?}", started.elapsed());
    assert!(doubles > 0, "no schedule made the broker hear a thing twice: they prove nothing");
    assert!(whole < schedules && whole * 2 > schedules);
}
