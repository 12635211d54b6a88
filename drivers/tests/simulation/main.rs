//! Seeds × faults in virtual time: whatever happens on the wire, nothing runs twice, out of order or unfinished.
//!
//! `SEED=n cargo test -p drivers --test simulation` repeats one run and prints what it did (`DIALECT=name` only that
//! one); `FAULTED_LINES=100000000 cargo test --release -p drivers --test simulation -- --nocapture` runs a hundred
//! million lines, from the seed `FIRST_SEED` on. What people, cards and other programs do besides is drawn as well
//! (`surroundings.rs`); `AROUND=0` with a `SEED` leaves it out. With `WIRE=1` every byte in both directions is printed with
//! its time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a fixture that fails is a test that fails, and a seed is for reading"
)]

mod fate;
#[path = "../support/mod.rs"]
mod support;
mod surroundings;
mod verdict;

use std::cell::Cell;
use std::time::Duration;

use drivers::sim::{Incident, Line, LineSpeed, Random, Setup};
use drivers::snapshot::{JobPhase, Progress};
use drivers::{Denied, Moment, Request, State};
use fate::{Act, Fate};
use support::{Pair, Tally, program, usual_line};
use surroundings::Surroundings;
use verdict::Seen;

/// Lines of faulted program that a run of the tests streams at least, Marlin and Grbl together. The others add theirs.
const LINES: u64 = 2_000_000;

/// Lines of one program. Short, so that many seeds and many endings are met.
const PROGRAM_LINES: usize = 500;

/// Failing seeds that are collected before a test gives up.
const FAILING_MAX: usize = 10;

/// Times a held job is resumed before it is cancelled: a person's patience.
const RESUMES: u32 = 3;

/// Times a person goes to a machine that waits for one, and then times they cancel.
const ATTENDED: u32 = 20;
const CANCELS: u32 = 10;

/// How long a machine may take to be known.
const GREETING_PATIENCE: Duration = Duration::from_secs(600);

/// Steps between two looks at what the session claims.
const CLAIMS_EVERY: u32 = 16;

/// Times a person tries to make a machine ready for another job.
const BRINGS_BACK: u32 = 6;

/// Seeds that once failed, and what went wrong: a machine left in a hold was asked until its buffer overflowed; late
/// answers to questions answered a job's lines; a hold before the line counter was set, and one at the end of a job
/// that was asked for an old line, never ended; an earlier question's answer proved the end of motion; half a word
/// that waits did not wait; moves of days; two damaged lines with one checksum; a word that waits was damaged, answered at
/// once, and no number or checksum told; two lines glued into one.
const ONCE_FAILED: [(&str, u64); 16] = [
    ("grbl", 117_380),
    ("grbl", 102_326),
    ("marlin", 102_326),
    ("marlin", 103_926),
    ("smoothieware", 104_244),
    ("marlin", 109_082),
    ("klipper", 100_302),
    ("smoothieware", 105_277),
    ("grblhal", 2_007),
    ("marlin", 102_588),
    ("smoothieware", 100_255),
    ("klipper", 1_426),
    ("klipper", 3_133),
    ("klipper", 8_964),
    ("repetier", 7_359),
    ("marlin", 21_366),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// A job that was run to its end.
#[derive(Debug)]
struct Played {
    program: Vec<String>,
    /// Commands that the machine had executed before it started.
    executed_before: usize,
    job: Progress,
    /// Whether anything moved when it was over.
    moving: bool,
}

/// One seed's machine, wire and jobs.
struct Run {
    dialect: &'static str,
    seed: u64,
    fate: Fate,
    around: Surroundings,
    pair: Pair,
    played: Vec<Played>,
}

/// What a person has done so far about a job that waits.
#[derive(Debug, Default)]
struct Person {
    resumes: u32,
    attended: u32,
    cancels: u32,
}

/// One seed: a program on a bad line, with a person who resumes and gives up, and perhaps another program. `around`: whether
/// anything happens besides.
fn run(dialect: &'static str, seed: u64, around: bool) -> Run {
    let mut random = Random::new(seed);
    let mut setup = Setup {
        keep_lines: true,
        speed: if random.below(3) == 0 { 50.0 } else { f64::INFINITY },
        advanced_ok: random.below(2) == 0,
        ok_after_resend: random.below(2) == 0,
        passes_over_repeats: random.below(2) == 0,
        emergency_parser: random.below(4) > 0,
        // What printers say beside the matter, and now and then of themselves: then the job is held.
        chatter_permille: [0, 0, 20, 200][random.below(4) as usize],
        complaints_permille: [0, 0, 0, 2][random.below(4) as usize],
        error_sticks: random.below(4) > 0,
        seed,
        ..chatter(seed)
    };
    let fate = Fate::draw(&mut random);
    let around = if around { Surroundings::draw(dialect, seed, &mut setup) } else { Surroundings::default() };
    let speed = if random.below(2) == 0 { usual_line() } else { LineSpeed::default() };
    let mut pair = Pair::new(dialect, &setup, speed, fate.outward, seed);
    // What a pulled cable or a restarting board leaves of a line is a damaged number, too.
    pair.damaged |= fate.cuts_lines();
    pair.to_host = Line::new(speed, fate.inward, seed.wrapping_add(77));
    if let Some(found) = around.found {
        pair.machine.happen(pair.now, found);
    }
    pair.connected = true;
    pair.hand(drivers::session::Input::LinkUp { may_reset: false });
    let mut run = Run { dialect, seed, fate, around, pair, played: Vec::new() };
    await_known(&mut run.pair);
    if run.around.needs_person() {
        bring_back(&mut run.pair, dialect);
    }
    let mut acts = [run.fate.acts.clone(), run.around.acts.clone()].concat();
    acts.sort_by_key(|(at, _)| *at);
    let first = run.around.change(program(PROGRAM_LINES, seed));
    play(&mut run, first, &acts);
    if let Some(between) = run.around.between {
        run.pair.machine.happen(run.pair.now, between);
        run.pair.run_for(Duration::from_secs(5));
    }
    if run.fate.again && !run.played.is_empty() && bring_back(&mut run.pair, dialect) {
        let mut second = program(PROGRAM_LINES / 4, seed.wrapping_add(1));
        // A first line that no other program has.
        second.insert(0, "G1 F3100".to_owned());
        play(&mut run, second, &[]);
    }
    run
}

/// What a machine says besides its answers, from a generator of its own: the seeds that once failed stay what they were.
fn chatter(seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0x77a1_7000);
    Setup {
        says_wait: random.below(2) == 0,
        host_keepalive: random.below(4) > 0,
        temperatures_every_ms: [0, 0, 300, 1_000][random.below(4) as usize],
        position_behind_ok: random.below(4) == 0,
        ..Setup::default()
    }
}

/// A question that was damaged into an M1 leaves a machine that waits for a person before it is even known.
fn await_known(pair: &mut Pair) {
    let until = pair.now + GREETING_PATIENCE;
    pair.run_until(|pair| {
        matches!(pair.session.state(), State::Idle | State::Alarm | State::Attention) || pair.now >= until
    });
}

/// Makes a machine ready for another job, as a person would. False: it cannot be.
fn bring_back(pair: &mut Pair, dialect: &str) -> bool {
    for _ in 0..BRINGS_BACK {
        match pair.session.state() {
            State::Idle => return true,
            State::Alarm => {
                // What was halted needs a reset of its board.
                if support::is_printer(dialect) {
                    pair.machine.reset(pair.now);
                }
                let _ = pair.ask(Request::Clear);
            }
            State::Busy => drop(pair.ask(Request::Clear)),
            State::Attention => {
                pair.machine.happen(pair.now, Incident::DoorClosed);
                let _ = pair.ask(Request::Clear);
                let _ = pair.ask(Request::Resume);
            }
            _ => drop(pair.ask(Request::Resume)),
        }
        pair.run_for(Duration::from_secs(5));
        await_known(pair);
    }
    false
}

fn is_over(pair: &Pair) -> bool {
    pair.session.may_start() != Err(Denied::JobRunning)
}

/// Starts a program and runs it to an end, with what happens meanwhile.
fn play(run: &mut Run, program: Vec<String>, acts: &[(Duration, Act)]) {
    let executed_before = run.pair.report().executed;
    if run.pair.session.state() != State::Idle || run.pair.try_start(program.clone()).is_err() {
        return;
    }
    let started = run.pair.now;
    let mut person = Person::default();
    for (at, act) in acts {
        attend(run, &mut person, executed_before, Some(started + *at));
        if is_over(&run.pair) {
            break;
        }
        perform(&mut run.pair, *act);
    }
    attend(run, &mut person, executed_before, None);
    let job = run.pair.progress();
    let moving = run.pair.report().moving;
    run.played.push(Played { program, executed_before: executed_before as usize, job, moving });
    // What the machine still holds runs on, and nothing else does.
    run.pair.run_for(Duration::from_secs(2));
}

fn perform(pair: &mut Pair, act: Act) {
    match act {
        Act::Reset => pair.machine.reset(pair.now),
        Act::CableOut { away, resets } => {
            pair.unplug();
            assert!(is_over(pair), "a job without a cable goes on");
            pair.run_for(away);
            pair.plug_in(resets);
            await_known(pair);
        }
        Act::Pause => drop(pair.ask(Request::Pause)),
        Act::Cancel => drop(pair.ask(Request::Cancel)),
        Act::Stop => assert_eq!(pair.ask(Request::Stop), Ok(())),
        Act::There(incident) => pair.machine.happen(pair.now, incident),
        Act::Stranger(said) => pair.to_machine.send(pair.now, said.as_bytes()),
    }
}

/// Runs the job to that moment or to its end, as a person at the machine would.
fn attend(run: &mut Run, person: &mut Person, executed_before: u64, until: Option<Moment>) {
    let claims = verdict::Claims::of(run, executed_before);
    let pair = &mut run.pair;
    let steps = Cell::new(0_u32);
    let is_time = |pair: &Pair| until.is_some_and(|until| pair.now >= until);
    loop {
        pair.run_until(|pair| {
            steps.set(steps.get() + 1);
            if steps.get() % CLAIMS_EVERY == 0 {
                claims.check(pair);
            }
            is_over(pair)
                || is_time(pair)
                || matches!(pair.session.state(), State::Held | State::Attention)
                || is_to_hold_behind_a_wait(pair)
        });
        if is_over(pair) {
            return;
        }
        let state = if is_to_hold_behind_a_wait(pair) { State::Attention } else { pair.session.state() };
        match state {
            State::Held if person.resumes < RESUMES => {
                person.resumes += 1;
                let resumed = pair.ask(Request::Resume);
                assert!(matches!(resumed, Ok(()) | Err(Denied::Stopping)), "{resumed:?}");
            }
            // A question without a number that was damaged into an M1: a person says "go on".
            State::Attention if person.attended < ATTENDED => {
                person.attended += 1;
                assert_eq!(pair.ask(Request::Resume), Ok(()));
                pair.run_for(Duration::from_secs(5));
            }
            State::Held | State::Attention if person.cancels < CANCELS => {
                person.cancels += 1;
                assert!(matches!(pair.ask(Request::Cancel), Ok(()) | Err(Denied::Stopping)));
                pair.run_for(Duration::from_secs(60));
            }
            State::Held | State::Attention => panic!("cancelling does not end it: {:#?}", pair.session.snapshot()),
            _ if is_time(pair) => return,
            _ => {}
        }
    }
}

/// Whether the machine waits for a person, and comes to the hold that was asked for only behind that.
fn is_to_hold_behind_a_wait(pair: &Pair) -> bool {
    let snapshot = pair.session.snapshot();
    let waits = snapshot.notice.as_ref().is_some_and(|notice| notice.code == "machine.waits_for_person");
    snapshot.state == State::Holding && waits
}

/// `share`: of the lines wanted, one in so many.
fn simulate(dialect: &'static str, share: u64) {
    if let Some(seed) = number("SEED") {
        return show(dialect, seed);
    }
    let mut tally = Tally::new();
    let (mut lines, mut runs) = (0, 0);
    let first = number("FIRST_SEED").unwrap_or(1);
    let mut failing = Vec::new();
    while lines < number("FAULTED_LINES").unwrap_or(LINES) / share {
        let seed = first + runs;
        runs += 1;
        let outcome = std::panic::catch_unwind(|| {
            let run = run(dialect, seed, true);
            let seen = verdict::check(&run);
            let phases: Vec<JobPhase> = run.played.iter().map(|played| played.job.phase).collect();
            let length: usize = run.played.iter().map(|played| played.program.len()).sum();
            (phases, length.max(1), seen)
        });
        let Ok((phases, length, seen)) = outcome else {
            println!("{dialect} SEED={seed} failed");
            failing.push(seed);
            assert!(failing.len() < FAILING_MAX, "{dialect}: failing seeds {failing:?}");
            continue;
        };
        count(&mut tally, &phases, &seen);
        lines += length as u64;
    }
    println!("{dialect}: {lines} lines in {runs} runs: {tally:?}");
    assert!(failing.is_empty(), "{dialect}: failing seeds {failing:?}");
}

fn count(tally: &mut Tally, phases: &[JobPhase], seen: &Seen) {
    if phases.is_empty() {
        *tally.entry("not started".to_owned()).or_default() += 1;
    }
    for phase in phases {
        *tally.entry(phase.word().to_owned()).or_default() += 1;
    }
    for (what, count) in [
        ("damaged unseen", seen.damaged_in_checksum),
        ("stray", seen.stray as u32),
        ("finished otherwise", seen.finished_otherwise),
        ("lines otherwise", seen.lines_otherwise),
        ("overflowed bytes", seen.overflow as u32),
        ("under way for days", seen.exhausted),
    ] {
        *tally.entry(what.to_owned()).or_default() += count;
    }
}

/// Repeats one seed and prints what it did.
fn show(dialect: &'static str, seed: u64) {
    if std::env::var("DIALECT").is_ok_and(|only| only != dialect) {
        return;
    }
    let run = run(dialect, seed, number("AROUND") != Some(0));
    println!("{dialect} {:#?} {:#?}", run.fate, run.around);
    for event in &run.pair.events {
        println!("{event:?}");
    }
    println!("{:#?}", run.pair.session.snapshot());
    println!("{:?}", verdict::check(&run));
}

#[test]
fn what_once_failed_holds() {
    for (dialect, seed) in ONCE_FAILED {
        verdict::check(&run(dialect, seed, false));
    }
}

#[test]
fn marlin_executes_a_prefix_of_the_program_under_every_fault() {
    simulate("marlin", 2);
}

#[test]
fn grbl_comes_to_an_end_under_every_fault() {
    simulate("grbl", 2);
}

#[test]
fn grbls_kin_come_to_an_end_under_every_fault() {
    simulate("grblhal", 10);
    simulate("fluidnc", 10);
}

#[test]
fn repetier_executes_a_prefix_of_the_program_under_every_fault() {
    simulate("repetier", 10);
}

#[test]
fn smoothieware_executes_a_prefix_of_the_program_under_every_fault() {
    simulate("smoothieware", 10);
}

#[test]
fn reprapfirmware_and_klipper_come_to_an_end_under_every_fault() {
    simulate("reprapfirmware", 10);
    simulate("klipper", 10);
}
