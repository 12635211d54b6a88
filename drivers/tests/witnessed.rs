//! What real firmware did otherwise than was believed (`docs/witnesses.md`), each as a test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::sim::{Faults, Setup};
use drivers::snapshot::JobPhase;
use support::{Pair, program, setup, usual_line};

/// Marlin 2.0.9.7 with `ADVANCED_OK` answers M110 with `ok N0 P15 B3` and M105 with `ok T:…`, without a number.
#[test]
fn an_answer_to_m105_that_names_no_line_is_its_answer_all_the_same() {
    let fast = Setup { advanced_ok: true, speed: f64::INFINITY, ..setup() };
    let mut pair = Pair::new("marlin", &fast, usual_line(), Faults::default(), 1);
    pair.connect();
    let started = pair.now;
    let mut lines = program(100, 1);
    lines.insert(50, "M105".to_owned());
    pair.start(lines);
    pair.run_until(|pair| pair.progress().accepted > 60);
    assert!(pair.now.since(started) < Duration::from_secs(5), "no answer was waited for in vain");
    assert_eq!(pair.session.snapshot().link.answers_lost, 0);
    assert_eq!(pair.run_job(), JobPhase::Finished);
}

/// Found by reading Smoothieware and RepRapFirmware for the simulation: both take a line that has no checksum.
#[test]
fn half_a_line_left_by_a_pulled_cable_is_never_run() {
    for dialect in ["marlin", "smoothieware", "reprapfirmware", "repetier", "klipper", "grbl", "grblhal", "fluidnc"] {
        for after_ms in (300..360).step_by(5) {
            let mut pair = Pair::new(dialect, &setup(), usual_line(), Faults::default(), 1);
            pair.connect();
            let until = pair.now + Duration::from_millis(after_ms);
            let lines = program(60, 3);
            pair.start(lines.clone());
            pair.run_until(|pair| pair.now >= until);
            pair.unplug();
            pair.plug_in(false);
            pair.run_for(Duration::from_secs(60));
            let (ran, said) = (pair.executed(), support::commands(&lines));
            let foreign: Vec<_> = ran.iter().filter(|line| !said.contains(line)).collect();
            assert!(foreign.is_empty(), "{dialect} after {after_ms} ms: {foreign:?}");
        }
    }
}

/// Marlin answers what waits behind a full planner when that has room: long after it asked for a line again.
#[test]
fn answers_that_come_late_behind_a_full_planner_are_of_the_lines_before_the_resend() {
    for (advanced_ok, ok_after_resend) in [(false, true), (false, false), (true, true)] {
        let slow = Setup { speed: 20.0, advanced_ok, ok_after_resend, resend_permille: 60, ..setup() };
        let mut pair = Pair::new("marlin", &slow, usual_line(), Faults::default(), 1);
        pair.connect();
        let lines = program(150, 4);
        pair.start(lines.clone());
        pair.run_until(|pair| {
            let progress = pair.progress();
            let done = pair.machine.completed();
            assert!(progress.executed <= done, "{} were executed, not {}", done, progress.executed);
            progress.phase.is_over()
        });
        assert_eq!(pair.progress().phase, JobPhase::Finished);
        assert!(pair.progress().resends > 2);
        assert_eq!(pair.executed(), support::commands(&lines));
        assert_eq!(pair.report().overflow, 0);
        // Where none follows a request, an `ok` that comes at once is taken for a part of it: one is missed at the end.
        assert!(pair.session.snapshot().link.answers_lost <= u64::from(!ok_after_resend));
    }
}

/// Between two moves of a print stand temperatures, fans and messages: they take no place in the planner.
#[test]
fn the_executed_count_stays_behind_the_machine_where_lines_are_no_moves() {
    for (dialect, advanced_ok) in [("marlin", false), ("marlin", true), ("grbl", false), ("repetier", false)] {
        let slow = Setup { speed: 20.0, advanced_ok, ..setup() };
        let mut pair = Pair::new(dialect, &slow, usual_line(), Faults::default(), 1);
        pair.connect();
        let between = if support::is_printer(dialect) { ["M204 S500", "M73 P1"] } else { ["M8", "S300"] };
        let mut lines = Vec::new();
        for line in program(100, 5) {
            lines.push(line);
            lines.extend(between.map(str::to_owned));
        }
        pair.start(lines);
        pair.run_until(|pair| {
            let (progress, done) = (pair.progress(), pair.machine.completed());
            assert!(progress.executed <= done, "{dialect}: {done} were executed, not {}", progress.executed);
            progress.phase.is_over()
        });
        assert_eq!(pair.progress().phase, JobPhase::Finished, "{dialect}");
    }
}

/// OctoPrint's virtual printer leaves what is behind a refused line in its buffer: said again, each of those lines
/// was asked for once more, at 60 ms a line to the end of the program.
#[test]
fn lines_taken_behind_a_refused_one_bring_no_storm_of_requests() {
    for throws_lines_away in [false, true] {
        let keeps = Setup {
            flushes_on_resend: false,
            passes_over_repeats: false,
            throws_lines_away,
            resend_permille: 20,
            speed: f64::INFINITY,
            ..setup()
        };
        let mut pair = Pair::new("marlin", &keeps, usual_line(), Faults::default(), 1);
        pair.connect();
        let lines = program(1000, 4);
        pair.start(lines.clone());
        assert_eq!(pair.run_job(), JobPhase::Finished);
        let wanted = support::commands(&lines);
        if throws_lines_away {
            let mut rest = wanted.iter();
            assert!(pair.executed().iter().all(|line| rest.any(|next| next == line)), "nothing twice, all in order");
        } else {
            assert_eq!(pair.executed(), wanted);
        }
        let resends = pair.progress().resends;
        assert!((10..120).contains(&resends), "20 lines were refused, {resends} times a line was said again");
    }
}
