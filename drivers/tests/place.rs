//! What a Grbl says of its settings and offsets when it is asked, and what comes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::profile::Profile;
use drivers::sim::{Faults, Setup};
use drivers::{Request, work_place};
use gcode_tools::preflight::{self, Verdict};
use support::{Pair, setup, stands, strings, usual_line};

/// Long enough for a machine at rest to be asked and to answer.
const ASKED: Duration = Duration::from_secs(3);

const OFFSET: [f64; 3] = [-200.0, -100.0, -20.0];

fn mill(setup: &Setup) -> Pair {
    let profile = Profile::named("grbl-mill-3018:switches").unwrap();
    let mut pair = Pair::with_profile(profile, setup, usual_line(), Faults::default(), 1);
    pair.connect();
    pair.run_for(ASKED);
    pair
}

fn with(settings: &[(u32, f64)]) -> Setup {
    Setup { work_offset_mm: OFFSET, settings: settings.to_vec(), ..setup() }
}

fn checked(pair: &Pair, program: &str) -> Verdict {
    let conditions = work_place::conditions(&pair.session.snapshot(), &pair.profile);
    let program = format!("G21 G90\nM3 S1000\n{program}\nM5\nM30\n");
    preflight::check_with(program.as_bytes(), &pair.profile, &conditions)
}

fn codes(verdict: &Verdict) -> Vec<&'static str> {
    verdict.findings.iter().map(|finding| finding.code).filter(|code| !code.starts_with("profile.")).collect()
}

#[test]
fn the_offset_that_counts_now_is_known_and_a_job_is_checked_against_it() {
    let pair = mill(&with(&[(22, 1.0)]));
    let snapshot = pair.session.snapshot();
    let place = snapshot.place.as_ref().expect("it said so");
    assert!(work_place::is_told(&snapshot) && place.homed, "{place:?}");
    assert_eq!((place.work_offset_mm, place.offsets_mm["G54"]), (Some(OFFSET), OFFSET));
    assert!(place.codes.contains("G54"), "{}", place.codes);
    assert!(codes(&checked(&pair, "G1 X190 F600\nG1 Z15")).is_empty());
    assert_eq!(codes(&checked(&pair, "G1 X210 F600")), ["envelope.outside"]);
    assert_eq!(codes(&checked(&pair, "G1 Z-16 F600")), ["envelope.outside"]);
}

#[test]
fn a_machine_that_was_not_homed_is_checked_for_size_only_until_it_is() {
    let mut pair = mill(&with(&[]));
    assert_eq!(codes(&checked(&pair, "G1 X210 F600")), ["place.unchecked"]);
    assert_eq!(codes(&checked(&pair, "G0 X0\nG1 X270 F600")), ["place.unchecked", "envelope.too_large"]);
    assert_eq!(pair.ask(Request::Home), Ok(()));
    stands(&mut pair);
    assert_eq!(codes(&checked(&pair, "G1 X210 F600")), ["envelope.outside"]);
}

#[test]
fn whoever_unlocks_a_machine_without_homing_leaves_its_position_unsure() {
    let mut pair = mill(&with(&[(22, 1.0)]));
    pair.machine.happen(pair.now, drivers::sim::Incident::Limit);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.ask(Request::Clear), Ok(()));
    stands(&mut pair);
    assert!(!pair.session.snapshot().place.unwrap().homed);
    assert_eq!(codes(&checked(&pair, "G1 X210 F600")), ["place.unchecked"]);
}

#[test]
fn reports_in_inches_were_taken_for_millimetres() {
    let mut pair = mill(&with(&[(13, 1.0), (22, 1.0)]));
    pair.start(strings(&["G21 G90", "G1 X10 Y5 F600"]));
    pair.run_job();
    pair.run_for(ASKED);
    let snapshot = pair.session.snapshot();
    let near = |ours: [f64; 3], theirs: [f64; 3]| (0..3).all(|axis| (ours[axis] - theirs[axis]).abs() < 0.01);
    let machine = pair.report().position_mm;
    assert!(near(machine, [-190.0, -95.0, 0.0]), "{machine:?}");
    assert!(near(snapshot.position_mm.unwrap().value, machine), "{:?}", snapshot.position_mm);
    assert!(near(snapshot.work_position_mm.unwrap().value, [10.0, 5.0, 20.0]), "{:?}", snapshot.work_position_mm);
    let place = snapshot.place.unwrap();
    assert!(near(place.work_offset_mm.unwrap(), OFFSET) && near(place.offsets_mm["G54"], OFFSET), "{place:?}");
    assert!(snapshot.differences.iter().any(|notice| notice.code == "profile.inches"));
}

#[test]
fn a_machine_that_is_not_what_its_profile_says_went_unnoticed() {
    let same = [(21, 1.0), (22, 1.0), (23, 3.0), (30, 10000.0), (110, 1000.0), (111, 1000.0), (112, 800.0)];
    let same: Vec<_> = same
        .into_iter()
        .chain([(120, 30.0), (121, 30.0), (122, 30.0), (130, 260.0), (131, 155.0), (132, 35.0)])
        .collect();
    let differences = |settings: &[(u32, f64)]| -> Vec<String> {
        mill(&with(settings)).session.snapshot().differences.iter().map(|notice| notice.code.clone()).collect()
    };
    assert_eq!(differences(&same), Vec::<String>::new());
    for (number, value, code) in [
        (30, 1000.0, "profile.s_max"),
        (31, 5000.0, "profile.s_min"),
        (32, 1.0, "profile.laser_mode"),
        (10, 1.0, "profile.reports"),
        (21, 0.0, "profile.hard_limits"),
        (130, 300.0, "profile.travel"),
        (22, 0.0, "profile.homing"),
        (23, 7.0, "profile.homing"),
        (111, 500.0, "profile.rates"),
        (120, 200.0, "profile.rates"),
    ] {
        let mut settings = same.clone();
        settings.retain(|(key, _)| *key != number);
        settings.push((number, value));
        assert_eq!(differences(&settings), [code], "${number}={value}");
    }
}

#[test]
fn the_offsets_are_asked_for_again_behind_each_job() {
    let mut pair = mill(&with(&[]));
    let asked = |pair: &Pair| pair.report().own;
    let before = asked(&pair);
    pair.run_for(Duration::from_secs(30));
    assert_eq!(asked(&pair), before, "and not without a reason");
    pair.start(strings(&["G21 G90", "G1 X10 F600"]));
    pair.run_job();
    pair.run_for(ASKED);
    assert_eq!(asked(&pair), before + 2, "$# and $G");
}
