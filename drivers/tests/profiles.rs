//! Every bundled profile on a simulated machine of its dialect: whatever a job has switched on is off when it ends early.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::profile::{Hazard, Profile};
use drivers::sim::{self, Faults, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Request, dialect};
use support::{Pair, long_program, stands, usual_line};

/// Dialects that no line of text is spoken in: their conversations have tests of their own (`tests/modbus`), and
/// LinuxCNC is only checked for.
fn is_simulated(profile: &Profile) -> bool {
    let named = dialect::named(&profile.dialect).is_some_and(|dialect| !dialect.habits().registers);
    named && sim::dialects().any(|dialect| dialect == profile.dialect)
}

/// All bundled profiles, and all their variants.
fn bundled() -> Vec<(String, Profile)> {
    let mut all = Vec::new();
    for (name, _) in Profile::bundled() {
        let profile = Profile::named(name).unwrap();
        let variants: Vec<_> = profile.variant.iter().map(|variant| format!("{name}:{}", variant.name)).collect();
        all.push(((*name).to_owned(), profile));
        all.extend(variants.into_iter().map(|name| (name.clone(), Profile::named(&name).unwrap())));
    }
    all
}

/// Switches on everything that the profile knows of, the last tool in hand, and moves for minutes.
fn hot_program(profile: &Profile) -> Vec<String> {
    let mut program = Vec::new();
    for hazard in profile.hazards() {
        program.push(match hazard {
            Hazard::HotEnd { heater, .. } => format!("M104 T{heater} S60"),
            Hazard::Bed => "M140 S50".to_owned(),
            Hazard::Chamber => "M141 S40".to_owned(),
            Hazard::Spindle => "M3 S1000".to_owned(),
            Hazard::Laser => "M4 S1000".to_owned(),
        });
    }
    if dialect::named(&profile.dialect).unwrap().habits().printer {
        let last = profile.tools.last().map_or(0, |tool| tool.number);
        program.push(format!("T{last}"));
    }
    program.extend(long_program());
    program
}

/// What is on before and after a cancel in the middle of the work.
fn cancelled(profile: &Profile, hot_ends: usize) -> (Vec<String>, Vec<String>) {
    let setup = Setup { hot_ends, keep_lines: true, ..Setup::default() };
    let mut pair = Pair::with_profile(profile.clone(), &setup, usual_line(), Faults::default(), 1);
    pair.connect();
    pair.start(hot_program(profile));
    pair.run_for(Duration::from_secs(10));
    let before = pair.report().left_on;
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    stands(&mut pair);
    assert_eq!(pair.progress().phase, JobPhase::Cancelled);
    (before, pair.report().left_on)
}

#[test]
fn a_cancelled_hot_job_leaves_nothing_on_with_any_bundled_profile() {
    let mut tried = 0;
    for (name, profile) in bundled() {
        if !is_simulated(&profile) {
            continue;
        }
        let hazards = profile.hazards();
        let hot_ends = hazards.iter().filter(|hazard| matches!(hazard, Hazard::HotEnd { .. })).count();
        let (before, after) = cancelled(&profile, hot_ends);
        assert_eq!(before.len(), hazards.len(), "{name}: all was on: {before:?}");
        assert_eq!(after, Vec::<String>::new(), "{name}: left on");
        tried += 1;
    }
    println!("{tried} profiles and variants");
    assert!(tried > 10);
}

#[test]
fn a_second_hot_end_that_only_the_machine_knows_of_stayed_hot() {
    let mut profile = Profile::named("generic-marlin").unwrap();
    profile.tools.clear();
    let setup = Setup { hot_ends: 3, ..Setup::default() };
    let mut pair = Pair::with_profile(profile, &setup, usual_line(), Faults::default(), 1);
    pair.connect();
    let hot = ["M104 T0 S60", "M104 T1 S60", "M104 T2 S60", "T2"].map(str::to_owned);
    pair.start(hot.into_iter().chain(long_program()).collect());
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.report().left_on, ["tool0", "tool1", "tool2"]);
    assert_eq!(pair.ask(Request::Cancel), Ok(()));
    stands(&mut pair);
    assert_eq!(pair.report().left_on, Vec::<String>::new());
}

#[test]
fn no_bundled_profile_has_a_safe_end_that_leaves_something_on() {
    for (name, text) in Profile::bundled() {
        // LinuxCNC and others that are only checked for are held to the same.
        Profile::parse_streamed(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (name, profile) in bundled() {
        let problems = profile.safe_end_problems();
        assert!(problems.is_empty(), "{name}: {problems:?}");
    }
}
