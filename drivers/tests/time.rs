//! What gcode-tools says a program takes is what a simulated machine takes for it, in virtual time.
//!
//! The machine's planner (`sim/dynamics.rs`) and the time model of gcode-tools have nothing in common but the profile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a fixture that fails is a test that fails, and what was measured is for reading"
)]

mod support;

use drivers::profile::Profile;
use drivers::sim::{Dynamics, Faults, LineSpeed, Setup};
use drivers::snapshot::JobPhase;
use gcode_tools::analysis::{self, analyse_with};
use support::Pair;

/// How far the two may be apart.
const APART_MAX: f64 = 0.03;

/// A committed program without the lines that wait for heat, which the analysis counts apart.
fn program(name: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo").join(name);
    let heats = |line: &&str| ["M104", "M109", "M140", "M190"].iter().any(|word| line.starts_with(word));
    std::fs::read_to_string(path).unwrap().lines().filter(|line| !heats(line)).map(str::to_owned).collect()
}

/// A grey picture as lasers burn it: a new power for every 0.4 mm at 20 mm/s.
fn raster() -> Vec<String> {
    let mut lines = vec!["G21 G90".to_owned(), "M4 S0".into(), "G1 F1200".into()];
    for row in 0..10_u32 {
        lines.push(format!("G0 X0 Y{}", f64::from(row) * 0.4));
        lines.extend((1..=100).map(|dot| format!("G1 X{:.1} S{}", f64::from(dot) * 0.4, 100 + (dot * 37 + row) % 800)));
    }
    lines.extend(["M5".to_owned(), "M2".into()]);
    lines
}

/// Seconds that a program takes: as reckoned and as taken.
fn seconds(profile: &str, program: Vec<String>, laser_mode: bool) -> (f64, f64) {
    let profile = Profile::named(profile).unwrap();
    let reckoning =
        analysis::Setup { profile: Some(&profile), laser_mode: Some(laser_mode), ..analysis::Setup::default() };
    let reckoned = analyse_with(program.join("\n").as_bytes(), &reckoning).unwrap().time_s;
    let setup = Setup {
        // Grbl keeps one block of its ring free.
        planner_blocks: profile.motion.planner_blocks as usize + usize::from(profile.dialect == "grbl"),
        dynamics: Some(Dynamics::of(&profile)),
        rapid_mm_min: 1e6,
        laser_mode,
        ..Setup::default()
    };
    let mut pair = Pair::with_profile(profile, &setup, LineSpeed::default(), Faults::default(), 1);
    pair.connect();
    let began = pair.now;
    pair.start(program);
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    (reckoned, (pair.report().motion_ended_at - began.0) as f64 / 1e6)
}

fn agree(name: &str, (reckoned, taken): (f64, f64)) {
    let apart = reckoned / taken - 1.0;
    println!("{name}: reckoned {reckoned:.1} s, taken {taken:.1} s, {apart:+.4}");
    assert!(apart.abs() <= APART_MAX, "{name}: reckoned {reckoned} s, taken {taken} s");
}

#[test]
fn a_print_takes_what_it_was_said_to_take() {
    agree("a print", seconds("ender3", program("cube.gcode"), true));
}

#[test]
fn a_part_takes_what_it_was_said_to_take() {
    agree("a part on a router", seconds("grbl-router-6040", program("plate.nc"), false));
    agree("a part on a mill", seconds("generic-grbl-mill", program("plate.nc"), false));
    agree("a badge on a laser", seconds("grbl-laser-400", program("badge.gcode"), true));
}

#[test]
fn a_raster_takes_twice_as_long_without_laser_mode_and_was_said_to() {
    let [with, without] = [true, false].map(|laser_mode| seconds("grbl-laser-400", raster(), laser_mode));
    agree("a raster in laser mode", with);
    agree("a raster without laser mode", without);
    let times = without.1 / with.1;
    assert!((1.8..2.3).contains(&times), "{times} times as long");
}
