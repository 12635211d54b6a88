//! Seeds × faults in virtual time: whatever happens on the wire, nothing runs twice, out of order or unfinished.
//!
//! `SEED=n cargo test -p drivers --test simulation` repeats one run and prints what it did;
//! `FAULTED_LINES=100000000 cargo test --release -p drivers --test simulation -- --nocapture` runs a hundred million
//! lines. With `WIRE=1` every byte in both directions is printed with its time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a fixture that fails is a test that fails, and a seed is for reading"
)]

mod support;

use std::time::Duration;

use drivers::sim::{Faults, LineSpeed, Random, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Denied, Request, State};
use support::{Pair, Tally, commands, is_printer, program, usual_line};

/// Lines of faulted program that a run of the tests streams at least, Marlin and Grbl together. The others add theirs.
const LINES: u64 = 2_000_000;

/// Lines of one program. Short, so that many seeds and many endings are met.
const PROGRAM_LINES: usize = 500;

/// Lines of one run whose damage may cancel in the checksum: one in 256 damaged lines at worst.
const DAMAGED_MAX: u32 = 3;

/// Smoothieware takes a line whose asterisk was lost unchecked, so also the two that prove the end of motion, which are
/// then counted as the program's.
const UNCHECKED_MAX: usize = 2;

/// Failing seeds that are collected before a test gives up.
const FAILING_MAX: usize = 10;

/// Times a held job is resumed before it is cancelled: a person's patience.
const RESUMES: u32 = 3;

fn wanted_lines() -> u64 {
    std::env::var("FAULTED_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(LINES)
}

/// Times a person goes to a machine that waits for one, and then times they cancel.
const ATTENDED: u32 = 20;
const CANCELS: u32 = 10;

/// How long a machine may take to be known.
const GREETING_PATIENCE: Duration = Duration::from_secs(600);

/// What goes wrong in a run, drawn from its seed.
fn faults(random: &mut Random, dialect: &str) -> Faults {
    let mut rare = |scale: f64| if random.below(2) == 0 { 0.0 } else { scale * random.below(100) as f64 / 100.0 };
    let faults = Faults {
        drop: rare(1e-3),
        double: rare(1e-3),
        flip: rare(1e-3),
        delay: rare(1e-3),
        line_lost: 0.0,
        line_doubled: 0.0,
    };
    if is_printer(dialect) { Faults { line_lost: rare(1e-2), ..faults } } else { faults }
}

/// One seed: a program on a bad line, with a person who resumes and gives up.
fn run(dialect: &'static str, seed: u64) -> (Pair, Vec<String>) {
    let mut random = Random::new(seed);
    let setup = Setup {
        keep_lines: true,
        speed: if random.below(3) == 0 { 50.0 } else { f64::INFINITY },
        advanced_ok: random.below(2) == 0,
        ok_after_resend: random.below(2) == 0,
        seed,
        ..Setup::default()
    };
    let faults = faults(&mut random, dialect);
    let speed = if random.below(2) == 0 { usual_line() } else { LineSpeed::default() };
    let mut pair = Pair::new(dialect, &setup, speed, faults, seed);
    pair.connected = true;
    pair.hand(drivers::session::Input::LinkUp { may_reset: false });
    // A question that was damaged into an M1 leaves a machine that waits for a person before it is even known.
    let until = pair.now + GREETING_PATIENCE;
    pair.run_until(|pair| {
        matches!(pair.session.state(), State::Idle | State::Alarm | State::Attention) || pair.now >= until
    });
    let program = program(PROGRAM_LINES, seed);
    if pair.session.state() == State::Idle && pair.try_start(program.clone()).is_ok() {
        finish(&mut pair, &mut random);
    }
    (pair, program)
}

/// Runs the job to an end, as a person at the machine would.
fn finish(pair: &mut Pair, random: &mut Random) {
    let is_over = |pair: &Pair| {
        matches!(pair.session.state(), State::Held | State::Attention)
            || pair.session.snapshot().job.is_some_and(|job| job.phase.is_over())
    };
    if random.below(20) == 0 {
        let until = pair.now + Duration::from_millis(random.below(5_000));
        pair.run_until(|pair| pair.now >= until || is_over(pair));
        pair.machine.reset(pair.now);
    }
    let (mut resumes, mut attended, mut cancels) = (0, 0, 0);
    loop {
        pair.run_until(is_over);
        match pair.session.state() {
            State::Held if resumes < RESUMES => {
                resumes += 1;
                let resumed = pair.ask(Request::Resume);
                assert!(matches!(resumed, Ok(()) | Err(Denied::Stopping)), "{resumed:?}");
            }
            // A question without a number that was damaged into an M1: a person says "go on".
            State::Attention if attended < ATTENDED => {
                attended += 1;
                assert_eq!(pair.ask(Request::Resume), Ok(()));
                pair.run_for(Duration::from_secs(5));
            }
            State::Held | State::Attention if cancels < CANCELS => {
                cancels += 1;
                assert!(matches!(pair.ask(Request::Cancel), Ok(()) | Err(Denied::Stopping)));
                pair.run_for(Duration::from_secs(60));
            }
            State::Held | State::Attention => panic!("cancelling does not end it: {:#?}", pair.session.snapshot()),
            _ if pair.session.snapshot().job.is_some_and(|job| job.phase.is_over()) => return,
            _ => {}
        }
    }
}

/// What must hold after every run.
fn check(dialect: &str, seed: u64, pair: &Pair, program: &[String]) -> Option<(JobPhase, u32)> {
    let job = pair.session.snapshot().job?;
    let mut damaged = 0;
    let report = pair.report();
    let executed = report.executed_lines.as_ref().unwrap();
    let commands = commands(program);
    let unchecked = if dialect == "smoothieware" { UNCHECKED_MAX } else { 0 };
    let said = format!("{dialect} SEED={seed}: {:?} {:?}", job.phase, pair.notices());
    if is_printer(dialect) {
        // Behind the program's lines may stand those of the safe end.
        let safe_end = ["M104 S0", "M140 S0", "M107", "M84"];
        let own = executed.iter().rev().take_while(|line| safe_end.contains(&line.as_str())).count();
        let ran = &executed[..executed.len() - own];
        assert!(ran.len() <= commands.len() + unchecked, "{said}: ran {} of {}", ran.len(), commands.len());
        // Damage that cancels in the checksum cannot be seen by any host. It spoils one line; a line that was left
        // out or run twice would shift all that follow.
        damaged = ran.iter().zip(&commands).filter(|(ran, command)| ran != command).count() as u32;
        assert!(damaged <= DAMAGED_MAX, "{said}: {damaged} lines differ");
    }
    if job.phase == JobPhase::Finished {
        if is_printer(dialect) {
            let more = executed.len().checked_sub(commands.len());
            assert!(more.is_some_and(|more| more <= unchecked), "{said}: ran {}", executed.len());
        }
        assert!(!report.moving, "{said}: finished while it moved");
    }
    assert!(job.executed <= job.accepted && job.accepted <= job.sent, "{said}: {job:?}");
    Some((job.phase, damaged))
}

/// `share`: of the lines wanted, one in so many.
fn simulate(dialect: &'static str, share: u64) {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        let (pair, program) = run(dialect, seed);
        for event in &pair.events {
            println!("{event:?}");
        }
        println!("{:#?}", pair.session.snapshot());
        check(dialect, seed, &pair, &program);
        return;
    }
    let mut tally = Tally::new();
    let mut lines = 0;
    let mut seed = 0;
    let mut failing = Vec::new();
    while lines < wanted_lines() / share {
        seed += 1;
        let outcome = std::panic::catch_unwind(|| {
            let (pair, program) = run(dialect, seed);
            let checked = check(dialect, seed, &pair, &program);
            (pair.report().overflow, program.len(), checked)
        });
        let Ok((overflow, length, checked)) = outcome else {
            println!("{dialect} SEED={seed} failed");
            failing.push(seed);
            assert!(failing.len() < FAILING_MAX, "{dialect}: failing seeds {failing:?}");
            continue;
        };
        let phase = checked.map_or("not started", |(phase, _)| phase.word());
        *tally.entry(phase.to_owned()).or_default() += 1;
        *tally.entry("damaged unseen".to_owned()).or_default() += checked.map_or(0, |(_, damaged)| damaged);
        *tally.entry("overflowed bytes".to_owned()).or_default() += overflow as u32;
        lines += length as u64;
    }
    println!("{dialect}: {lines} lines in {seed} runs: {tally:?}");
    assert!(failing.is_empty(), "{dialect}: failing seeds {failing:?}");
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
