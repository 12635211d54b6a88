//! What a bad cable costs, in virtual time: resends narrow the window and undamaged answers widen it again; the link
//! doctor counts a damaged line once; what comes in one read counts by time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a fixture that fails is a test that fails; the figures are for people"
)]

mod support;

use std::time::Duration;

use drivers::session::Input;
use drivers::sim::{Faults, Line, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use support::{Pair, commands, connected, program, setup, usual_line};

/// A job of a thousand lines takes so many seconds on such a cable, over some seeds; and how many were held for a person.
fn seconds(dialect: &str, faults: Faults) -> (f64, u32) {
    let (mut finished, mut held, mut seconds) = (0, 0, 0.0);
    for seed in 0..12 {
        let setup = Setup { speed: f64::INFINITY, ..setup() };
        let mut pair = Pair::new(dialect, &setup, usual_line(), faults, seed);
        pair.connect();
        let program = program(1_000, seed);
        let began = pair.now;
        pair.start(program.clone());
        let patience = Duration::from_secs(3_600);
        while pair.progress().phase == JobPhase::Running && pair.now.since(began) < patience && pair.step() {
            // A question without a number that arrives as an M1 is a wait for a person.
            if pair.session.state() == State::Attention {
                assert_eq!(pair.ask(Request::Resume), Ok(()));
                pair.run_for(Duration::from_secs(1));
            }
        }
        assert_eq!(pair.report().violations, Vec::<String>::new(), "{dialect}, seed {seed}");
        if pair.progress().phase != JobPhase::Finished {
            held += 1;
            continue;
        }
        finished += 1;
        seconds += pair.now.since(began).as_secs_f64();
        if faults.flip <= 1e-3 {
            assert!(pair.executed() == commands(&program), "{dialect}, seed {seed}: executed otherwise");
        }
    }
    println!(
        "{dialect}, a bit in {:.0} bytes turned over: {:.1} s, {held} held",
        1.0 / faults.flip,
        seconds / f64::from(finished)
    );
    (seconds / f64::from(finished), held)
}

/// Before resends narrowed the window the same took 1.6, 2.7, 8.4 and 17.1 s (Marlin), 1.6, 1.7 and 36.3 s (Repetier).
#[test]
fn resends_narrow_the_window_and_a_bad_cable_gets_faster() {
    for (dialect, bounds) in [("marlin", &[1.7, 2.8, 7.4, 15.0][..]), ("repetier", &[1.7, 1.8, 10.0, 20.0])] {
        for (flip, &bound) in [0.0, 1e-4, 1e-3, 3e-3].into_iter().zip(bounds) {
            let (seconds, held) = seconds(dialect, Faults { flip, ..Faults::default() });
            assert!(seconds <= bound && held == 0, "{dialect}, flip {flip}: {seconds} s, {held} held");
        }
    }
}

#[test]
fn a_damaged_line_counts_once_however_many_requests_it_brings() {
    let mut asked = 0;
    for (dialect, seed) in
        ["marlin", "repetier", "smoothieware"].into_iter().flat_map(|name| (0..10).map(move |seed| (name, seed)))
    {
        let faults = Faults { flip: 3e-4, ..Faults::default() };
        let mut pair = Pair::new(dialect, &Setup { speed: 100.0, ..setup() }, usual_line(), faults, seed);
        pair.to_host = Line::new(usual_line(), Faults::default(), seed);
        pair.connect();
        let before = pair.session.snapshot().link;
        pair.start(program(1_000, seed));
        if pair.run_job() != JobPhase::Finished {
            continue;
        }
        let (link, progress) = (pair.session.snapshot().link.since(&before), pair.progress());
        // Marlin echoes the half of a line that it does not know, with the damage in it.
        let damaged = link.damaged() - link.damaged_heard;
        assert!(damaged <= progress.resends + 1, "{dialect}, seed {seed}: {link:?}, said again {}", progress.resends);
        asked += progress.resends;
    }
    assert!(asked > 50, "{asked} lines were damaged");
}

#[test]
fn requests_that_arrive_in_one_read_are_one_damaged_line() {
    let mut pair = connected("marlin", &Setup { speed: 1.0, ..setup() });
    pair.start(support::long_program());
    pair.run_for(Duration::from_secs(2));
    let before = pair.session.snapshot().link;
    let due = pair.progress().accepted + 2;
    let request = format!("Error:checksum mismatch, Last Line: {}\nResend: {due}\nok\n", due - 1);
    let behind = format!("Error:Line Number is not Last Line Number+1, Last Line: {}\nResend: {due}\nok\n", due - 1);
    pair.hand(Input::Bytes((request + &behind.repeat(3)).as_bytes()));
    let link = pair.session.snapshot().link.since(&before);
    assert_eq!((link.resends, link.checksum_errors, link.gaps, link.damaged()), (1, 1, 0, 1));
}

/// Questions that a network held back, and the answers to them, arrive together behind a line of the job.
#[test]
fn idle_reports_that_arrive_in_one_read_are_no_proof_of_a_lost_answer() {
    let mut pair = connected("grbl", &setup());
    pair.start(vec!["G1 X10 F600".to_owned(), "G1 X0".to_owned()]);
    pair.run_for(Duration::from_millis(1));
    pair.hand(Input::Bytes(b"<Idle|MPos:0.000,0.000,0.000|FS:0,0>\r\n".repeat(8).as_slice()));
    assert_eq!(pair.notices(), Vec::<String>::new());
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
}

/// What a line costs that never comes through, in milliseconds, over what the job takes without; and how many there were.
fn cost_of_a_lost_line(setup: &Setup) -> (f64, usize) {
    let (mut extra, mut lost) = (0.0, 0);
    for seed in 0..3 {
        let took = |setup: &Setup| {
            let mut pair = Pair::new("marlin", setup, usual_line(), Faults::default(), seed);
            pair.connect();
            let program = program(500, seed);
            let began = pair.now;
            pair.start(program.clone());
            assert_eq!(pair.run_job(), JobPhase::Finished, "seed {seed}: {:?}", pair.notices());
            let (mut executed, wanted) = (pair.executed(), commands(&program));
            // The word that waits for the end may be thrown away as well: then the question behind it counts as a line.
            executed.retain(|line| !matches!(line.as_str(), "M400" | "M114"));
            let mut rest = wanted.iter();
            assert!(executed.iter().all(|line| rest.any(|next| next == line)), "seed {seed}: twice or out of order");
            let asked = pair.session.snapshot().link.resends as usize;
            (pair.now.since(began).as_secs_f64(), asked, wanted.len() - executed.len())
        };
        let without = Setup { throws_every: 0, resend_permille: 0, ..setup.clone() };
        let (with, asked, gone) = took(setup);
        extra += with - took(&without).0;
        lost += if setup.throws_every > 0 { gone } else { asked };
    }
    (extra * 1000.0 / lost as f64, lost)
}

/// `OctoPrint`'s virtual printer keeps what is behind a line that it throws away, throws away questions as well, and tells its
/// position behind the `ok`. The question where it stands, which settles what has no answer, waited for room that the line
/// without an answer took, and its own answer was taken for that line's: four of them filled the window, until an answer was
/// overdue. What follows cost 159, 203, 312, 263, 129 and 129 ms each before, and 1.2 s on the virtual printer itself.
#[test]
fn a_question_in_the_quiet_held_up_the_line_that_was_asked_for() {
    let machine = Setup { speed: f64::INFINITY, passes_over_repeats: false, ..setup() };
    let keeps = Setup { flushes_on_resend: false, ..machine.clone() };
    let behind = Setup { position_behind_ok: true, ..keeps.clone() };
    let mut missed = Vec::new();
    for (what, setup, bound_ms) in [
        ("one line in twenty thrown away", Setup { throws_every: 20, ..keeps.clone() }, 90.0),
        ("one line in five thrown away", Setup { throws_every: 5, ..keeps.clone() }, 65.0),
        ("one in twenty, positions behind the `ok`", Setup { throws_every: 20, ..behind.clone() }, 90.0),
        ("one in five, positions behind the `ok`", Setup { throws_every: 5, ..behind }, 65.0),
        ("one line in five refused, and what is behind it kept", Setup { resend_permille: 200, ..keeps }, 60.0),
        ("one line in five refused, and all behind it", Setup { resend_permille: 200, ..machine }, 60.0),
    ] {
        let (cost_ms, lost) = cost_of_a_lost_line(&setup);
        println!("{what}: {cost_ms:.0} ms each of {lost}");
        assert!(lost > 50, "{what}: {lost}");
        missed.extend((cost_ms >= bound_ms).then(|| format!("{what}: {cost_ms:.0} ms")));
    }
    assert!(missed.is_empty(), "{missed:?}");
}

/// On a wire that is worth one line, the line that waits for a person took the room of the word that ends its wait.
#[test]
fn a_go_on_waited_for_the_line_that_waits_for_it_on_a_bad_cable() {
    for seed in 0..5 {
        let refuses = Setup { resend_permille: 300, speed: f64::INFINITY, seed, ..setup() };
        let mut pair = connected("marlin", &refuses);
        let lines = [program(60, seed), support::strings(&["M0", "G1 X1"])].concat();
        pair.start(lines);
        pair.run_until(|pair| pair.session.state() == State::Attention);
        assert_eq!(pair.ask(Request::Resume), Ok(()), "seed {seed}");
        let asked = pair.now;
        assert_eq!(pair.run_job(), JobPhase::Finished, "seed {seed}: {:?}", pair.notices());
        let took = pair.now.since(asked);
        assert!(took < Duration::from_secs(5), "seed {seed}: {took:?}");
    }
}
