//! The bed, stock or table: a job starts only when a person has said that it is clear since the last work of any kind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::request::Jog;
use drivers::session::Input;
use drivers::sim::{Faults, Incident, Setup};
use drivers::snapshot::{JobPhase, Occupied, Table};
use drivers::{Denied, Request, State};
use support::{Pair, long_program, program, setup, usual_line};

const DIALECTS: [&str; 8] =
    ["grbl", "grblhal", "fluidnc", "marlin", "smoothieware", "reprapfirmware", "repetier", "klipper"];

/// A machine whose table is watched, in conversation and at rest.
fn watched(dialect: &str, setup: &Setup, seed: u64) -> Pair {
    let mut pair = Pair::new(dialect, setup, usual_line(), Faults::default(), seed);
    pair.hand(Input::WatchTable);
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
    pair.run_until(waits_for_clear);
    pair
}

fn waits_for_clear(pair: &Pair) -> bool {
    pair.session.snapshot().waits_for_clear
}

fn used_by(pair: &Pair) -> Option<Occupied> {
    match pair.session.snapshot().table {
        Table::NotClear { by, .. } => Some(by),
        Table::Clear { .. } | Table::NotWatched => None,
    }
}

#[test]
fn a_job_started_onto_the_last_one_on_every_machine() {
    for dialect in DIALECTS {
        let mut pair = watched(dialect, &setup(), 1);
        assert_eq!((pair.session.state(), used_by(&pair)), (State::Attention, Some(Occupied::Unseen)), "{dialect}");
        assert_eq!(pair.try_start(program(20, 1)), Err(Denied::NotClear), "{dialect}");
        pair.ask(Request::Clear).unwrap();
        assert_eq!((pair.session.state(), used_by(&pair)), (State::Idle, None), "{dialect}");
        pair.start(program(20, 1));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}");
        pair.run_until(waits_for_clear);
        assert_eq!(used_by(&pair), Some(Occupied::Job), "{dialect}");
        let executed = pair.executed().len();
        assert_eq!(pair.try_start(program(20, 1)), Err(Denied::NotClear), "{dialect}");
        pair.run_for(Duration::from_secs(2));
        assert_eq!(commands(&pair, executed), Vec::<String>::new(), "{dialect}");
    }
}

/// What a machine executed since, without questions.
fn commands(pair: &Pair, since: usize) -> Vec<String> {
    let moves = |line: &String| line.starts_with("G0") || line.starts_with("G1") || line.starts_with("G28");
    pair.executed()[since..].iter().filter(|line| moves(line)).cloned().collect()
}

#[test]
fn a_machine_whose_table_is_not_clear_is_homed_and_jogged_and_that_is_no_work() {
    for dialect in DIALECTS {
        let mut pair = watched(dialect, &setup(), 1);
        pair.ask(Request::Home).unwrap_or_else(|denied| panic!("{dialect}: {denied}"));
        pair.run_until(waits_for_clear);
        // Away from its switches.
        let away_mm = if support::is_printer(dialect) { 1.0 } else { -1.0 };
        let jog = Jog { by_mm: [away_mm, 0.0, 0.0], feed_mm_min: 600.0, press: None };
        pair.ask(Request::Jog(jog)).unwrap_or_else(|denied| panic!("{dialect}: {denied}"));
        pair.run_until(waits_for_clear);
        pair.ask(Request::Clear).unwrap();
        pair.ask(Request::Jog(jog)).unwrap_or_else(|denied| panic!("{dialect}: {denied}"));
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert_eq!(used_by(&pair), None, "{dialect}");
    }
}

#[test]
fn a_print_from_the_card_occupies_the_bed_and_so_does_a_lost_link() {
    for dialect in ["marlin", "klipper"] {
        let mut pair = watched(dialect, &setup(), 1);
        pair.ask(Request::Clear).unwrap();
        pair.machine.happen(pair.now, Incident::CardPrint);
        pair.run_until(|pair| pair.session.state() == State::Busy);
        assert_eq!(used_by(&pair), Some(Occupied::OwnWork), "{dialect}");
    }
    for dialect in DIALECTS {
        let mut pair = watched(dialect, &setup(), 1);
        pair.ask(Request::Clear).unwrap();
        pair.run_for(Duration::from_secs(2));
        pair.unplug();
        pair.plug_in(false);
        pair.run_until(waits_for_clear);
        assert_eq!(used_by(&pair), Some(Occupied::LinkLost), "{dialect}");
    }
}

#[test]
fn after_a_stop_one_word_ends_the_alarm_and_another_says_that_the_table_is_clear() {
    for dialect in DIALECTS {
        let mut pair = watched(dialect, &setup(), 1);
        pair.ask(Request::Clear).unwrap();
        pair.start(long_program());
        pair.run_for(Duration::from_secs(1));
        pair.ask(Request::Stop).unwrap();
        // A Grbl says by itself why it locked.
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}");
        let cause = pair.session.snapshot().notice.unwrap();
        pair.ask(Request::Clear).unwrap();
        pair.run_for(Duration::from_secs(30));
        if !waits_for_clear(&pair) {
            // A printer that needs its switch: the cause stays until then.
            assert!(
                support::is_printer(dialect),
                "{dialect}: {:?} {:?}",
                pair.session.state(),
                pair.session.snapshot().notice
            );
            assert_eq!(pair.session.state(), State::Alarm, "{dialect}");
            assert!(!cause.happened.is_empty());
            continue;
        }
        assert_eq!(pair.try_start(program(5, 1)), Err(Denied::NotClear), "{dialect}");
        pair.ask(Request::Clear).unwrap();
        assert_eq!(pair.session.state(), State::Idle, "{dialect}");
    }
}

#[test]
fn a_machine_that_nobody_watches_starts_as_before() {
    let mut pair = Pair::new("marlin", &setup(), usual_line(), Faults::default(), 1);
    pair.connect();
    assert_eq!(pair.session.snapshot().table, Table::NotWatched);
    pair.start(program(5, 1));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    assert_eq!(pair.session.state(), State::Idle);
}

#[test]
fn whatever_people_and_machines_do_a_job_starts_only_on_a_table_said_to_be_clear() {
    let (mut starts, mut refused) = (0, 0);
    for seed in 0..400_u64 {
        let dialect = DIALECTS[seed as usize % DIALECTS.len()];
        let mut random = drivers::sim::Random::new(seed);
        let mut pair = watched(dialect, &setup(), seed);
        let mut clear = false;
        for step in 0..40 {
            let what = random.below(12);
            match what {
                0..=2 => {
                    let asked = waits_for_clear(&pair);
                    let said = pair.ask(Request::Clear);
                    clear = clear || (asked && said.is_ok());
                }
                3..=5 => match pair.try_start(program(30, seed)) {
                    Ok(()) => {
                        assert!(
                            clear,
                            "{dialect}, seed {seed}, step {step}: started on a table nobody said to be clear"
                        );
                        (clear, starts) = (false, starts + 1);
                    }
                    Err(denied) => {
                        refused += 1;
                        let rests = pair.session.state() == State::Idle;
                        assert!(!(clear && rests), "{dialect}, seed {seed}, step {step}: {denied}");
                    }
                },
                6 => drop(pair.ask(Request::Cancel)),
                7 if pair.ask(Request::Stop).is_ok() => clear = false,
                8 => drop(pair.ask(Request::Home)),
                9 if pair.connected => {
                    pair.unplug();
                    pair.plug_in(random.below(2) == 0);
                    clear = false;
                }
                10 => {
                    pair.machine.happen(pair.now, Incident::CardPrint);
                    // Once it shows, it counts.
                    pair.run_for(Duration::from_secs(6));
                    clear = clear && used_by(&pair).is_none();
                }
                _ => drop(pair.ask(Request::Resume)),
            }
            pair.run_for(Duration::from_millis(random.below(4_000) + 10));
            // What the machine does by itself takes a word back, and nothing gives one.
            let said = used_by(&pair).is_none();
            assert!(clear || !said, "{dialect}, seed {seed}, step {step}: nobody said that the table is clear");
            clear = clear && said;
        }
    }
    assert!(starts > 200 && refused > 1_000, "{starts} starts, {refused} refused: the walk reached too little");
}
