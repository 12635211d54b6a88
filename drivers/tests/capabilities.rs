//! What a Marlin says that it can do, and what the agent makes of it. In virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::profile::Profile;
use drivers::sim::{Faults, LineSpeed, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use support::{Pair, commands, profile, program, setup, usual_line};

const SLOW_USB: LineSpeed = LineSpeed { baud: 250_000, latency: Duration::from_millis(16) };

fn marlin(setup: &Setup, speed: LineSpeed, change: impl FnOnce(&mut Profile)) -> Pair {
    noisy_marlin(setup, speed, Faults::default(), 1, change)
}

fn noisy_marlin(setup: &Setup, speed: LineSpeed, faults: Faults, seed: u64, change: impl FnOnce(&mut Profile)) -> Pair {
    let mut profile = profile("marlin");
    change(&mut profile);
    let mut pair = Pair::with_profile(profile, setup, speed, faults, seed);
    pair.record(1 << 24);
    pair.connect();
    pair
}

fn packed(profile: &mut Profile) {
    profile.stream.meatpack = true;
}

/// Slow moves, in which everything fills up, and bursts of quick ones, in which it empties.
fn bursts() -> Vec<String> {
    let mut program = vec!["G90".to_owned(), "G1 F6000".to_owned()];
    for burst in 0..40 {
        let (slow, quick) = (4, 32);
        program.extend((0..slow).map(|step| format!("G1 X{}", 100 + (burst + step) % 2 * 20)));
        program.extend((0..quick).map(|step| format!("G1 X50.{:03}", 100 + 200 * (step % 2) + burst)));
    }
    program
}

fn time_of(setup: &Setup, program: &[String]) -> Duration {
    let mut pair = marlin(setup, SLOW_USB, |_| {});
    let started = pair.now;
    pair.start(program.to_vec());
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert_eq!(pair.executed(), commands(program));
    assert_eq!(pair.report().violations, Vec::<String>::new());
    pair.now.since(started)
}

#[test]
fn a_machine_that_says_how_full_its_queue_is_gets_more_lines_ahead() {
    let told = time_of(&Setup { advanced_ok: true, ..setup() }, &bursts());
    let untold = time_of(&setup(), &bursts());
    assert!(told < untold, "told {told:?}, untold {untold:?}");
}

#[test]
fn one_damaged_answer_does_not_open_the_window() {
    for seed in 0..20 {
        let faults = Faults { flip: 2e-4, ..Faults::default() };
        let setup = Setup { advanced_ok: true, ..setup() };
        let mut pair = noisy_marlin(&setup, usual_line(), faults, seed, |_| {});
        pair.start(program(1_000, seed));
        // A question damaged into M0 may wait for a person for ever.
        pair.run_for(Duration::from_secs(600));
        assert_eq!(pair.report().violations, Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn a_planner_larger_than_the_profile_says_is_not_taken_for_empty() {
    let setup = Setup { advanced_ok: true, planner_blocks: 32, ..setup() };
    let mut pair = marlin(&setup, usual_line(), |_| {});
    let program: Vec<_> = (0..60).map(|step| format!("G1 X{} F1200", step % 2 * 20)).collect();
    pair.start(program);
    while pair.progress().phase == JobPhase::Running {
        pair.step();
        let (executed, waiting) = (pair.progress().executed, pair.report().moving);
        assert!(executed <= pair.report().executed, "no more than the machine has begun");
        assert!(!waiting || executed < 60, "all executed, yet it moves");
    }
}

#[test]
fn a_firmware_without_a_keepalive_may_be_silent_while_it_works() {
    // Each move takes a minute; the planner is full after two.
    let program: Vec<_> = (0..8).map(|step| format!("G1 X{} F60", 100 + step % 2 * 60)).collect();
    for (host_keepalive, off) in [(true, ""), (false, ""), (true, "M113 S0")] {
        let setup = Setup { host_keepalive, planner_blocks: 2, ..setup() };
        let mut pair = marlin(&setup, usual_line(), |_| {});
        let mut program = program.clone();
        program.insert(0, off.to_owned());
        pair.start(program);
        assert_eq!(pair.run_job(), JobPhase::Finished, "{host_keepalive} {off}: {:?}", pair.notices());
        assert_eq!(pair.session.snapshot().link.answers_lost, 0, "silence was taken for a lost answer");
    }
}

#[test]
fn a_printer_that_reports_temperatures_by_itself_is_not_asked() {
    let mut pair = marlin(&setup(), usual_line(), |_| {});
    pair.run_for(Duration::from_secs(60));
    let recording = pair.recording();
    let said = |word: &str| recording.matches(&format!("say {word}\\n")).count();
    assert_eq!(said("M155 S2"), 1);
    assert!(said("M105") <= 1 && said("M114") > 20, "M105 {}, M114 {}", said("M105"), said("M114"));
    let heard = pair.session.snapshot().temperatures[0].actual_c.at;
    assert!(pair.now.since(heard) < Duration::from_secs(3));
    // A reset of the board, or a program's word, ends it: then it is asked again.
    pair.start(vec!["M155 S0".to_owned()]);
    assert_eq!(pair.run_job(), JobPhase::Finished);
    pair.run_for(Duration::from_secs(60));
    let recording = pair.recording();
    assert!(recording.matches("say M105\\n").count() > 20);
}

#[test]
fn what_a_stop_does_is_known_at_connect() {
    for emergency_parser in [true, false] {
        let pair = marlin(&Setup { emergency_parser, ..setup() }, usual_line(), |_| {});
        let stop = pair.session.snapshot().stop.expect("it is known");
        assert_eq!(stop.at_once, emergency_parser, "{stop:?}");
    }
}

#[test]
fn comments_and_spaces_are_sent_only_where_the_profile_asks() {
    let lines = || vec!["G90 ; absolute".to_owned(), "; a comment".to_owned(), "G1  X10 Y20 ; move".to_owned()];
    for (send_comments, expected) in [(false, "N3 G1X10Y20*"), (true, "; move\\n")] {
        let mut pair = marlin(&setup(), usual_line(), |profile| profile.stream.send_comments = send_comments);
        pair.start(lines());
        assert_eq!(pair.run_job(), JobPhase::Finished);
        assert!(pair.recording().contains(expected), "{send_comments}");
    }
}

fn arcs(lines: usize) -> Vec<String> {
    let mut program = program(lines, 11);
    for arc in 0..lines / 2 {
        let word = if arc % 2 == 0 { "G2" } else { "g3" };
        program.push(format!("{word} X{}.5 Y{} I-{}.125 J0.5 E.{arc:03} ; arc", arc % 90, arc % 70, 5 + arc % 9));
    }
    program
}

#[test]
fn a_packed_job_is_executed_as_it_was_written_arcs_included() {
    let run = |meatpack: bool, pack: bool| {
        let setup = Setup { speed: f64::INFINITY, meatpack, ..setup() };
        let mut pair = marlin(&setup, usual_line(), |profile| profile.stream.meatpack = pack);
        let before = pair.report().bytes;
        pair.start(arcs(400));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
        assert_eq!(pair.report().violations, Vec::<String>::new());
        assert_eq!(pair.executed(), commands(&arcs(400)), "firmware {meatpack}, profile {pack}");
        // The receiver takes plain text again: questions are answered.
        pair.run_for(Duration::from_secs(10));
        let position = pair.session.snapshot().position_mm.expect("a position");
        assert!(pair.now.since(position.at) < Duration::from_secs(5));
        (pair.report().bytes - before) as f64
    };
    let (plain, packed) = (run(true, false), run(true, true));
    assert!(packed < plain * 0.75, "{packed} of {plain} bytes");
    // A firmware that does not unpack is sent plain text, whatever the profile says.
    run(false, true);
}

#[test]
fn a_packed_job_survives_noise_and_never_overflows_the_buffer() {
    let (mut finished, mut unseen) = (0, 0);
    for seed in 0..30 {
        let faults = Faults { flip: 1e-4, drop: 1e-4, ..Faults::default() };
        let setup = Setup { speed: 50.0, meatpack: true, ..setup() };
        let mut pair = noisy_marlin(&setup, usual_line(), faults, seed, packed);
        let program = arcs(200);
        pair.start(program.clone());
        pair.run_for(Duration::from_secs(600));
        finished += u32::from(pair.progress().phase == JobPhase::Finished);
        let (executed, expected) = (pair.executed(), commands(&program));
        // A lost byte may have been two equal characters, which cancel in the checksum: no host can see that.
        unseen += executed.iter().zip(&expected).filter(|(executed, expected)| executed != expected).count();
        assert!(executed.len() <= expected.len(), "seed {seed}: each line once");
        assert_eq!(pair.report().violations, Vec::<String>::new(), "seed {seed}");
    }
    assert!(finished >= 25 && unseen <= 3, "{finished} of 30 finished, {unseen} lines damaged unseen");
}

#[test]
fn a_stop_reaches_a_machine_that_unpacks() {
    for emergency_parser in [true, false] {
        let setup = Setup { meatpack: true, emergency_parser, ..setup() };
        let mut pair = marlin(&setup, usual_line(), packed);
        pair.start((0..500).map(|step| format!("G1 X{} F6000", step % 2 * 10)).collect());
        pair.run_for(Duration::from_secs(2));
        pair.ask(Request::Stop).unwrap();
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.session.state(), State::Alarm);
        assert!(!pair.report().moving, "parser {emergency_parser}: it stands");
    }
}

#[test]
fn a_printer_left_unpacking_by_an_agent_that_died_is_understood_again() {
    let setup = Setup { meatpack: true, ..setup() };
    let mut pair = marlin(&setup, usual_line(), packed);
    pair.start((0..500).map(|step| format!("G1 X{} F6000", step % 2 * 10)).collect());
    pair.run_for(Duration::from_secs(2));
    // A new session on the same machine, which still unpacks.
    let Pair { machine, now, .. } = pair;
    let mut profile = profile("marlin");
    packed(&mut profile);
    let mut next = Pair::with_profile(profile, &setup, usual_line(), Faults::default(), 2);
    (next.machine, next.now) = (machine, now);
    next.connect();
    assert_eq!(next.session.state(), State::Idle);
}
