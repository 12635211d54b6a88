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
        while pair.progress().phase == JobPhase::Running && pair.now.since(began) < patience && pair.step() {}
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
    for (dialect, bounds) in [("marlin", &[1.7, 2.8, 7.4, 15.0][..]), ("repetier", &[1.7, 1.8, 10.0])] {
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
