//! Every bundled profile and every variant: a good program of its kind passes on it, and what it says it cannot is found.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

mod common;

use std::fmt::Write as _;

use gcode_tools::preflight::{self, Severity, Verdict};
use gcode_tools::profile::{Cornering, Kind, Profile};

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

fn errors(verdict: &Verdict) -> Vec<String> {
    let errors = verdict.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| format!("line {}: {} [{}]", finding.line, finding.message, finding.code)).collect()
}

/// A sliced cube of 20 mm in the middle of a bed of 200 mm, moved to the middle of this one.
fn cube_for(profile: &Profile) -> String {
    let text = std::fs::read_to_string(common::data().join("good/s13_cube20_default_reprap_abs.gcode")).unwrap();
    let envelope = profile.envelope_mm.unwrap();
    let middle = |axis: usize| f64::midpoint(envelope.min[axis], envelope.max[axis]);
    let by = [middle(0) - 100.0, middle(1) - 100.0];
    // A firmware with several tools extrudes with the one that is selected.
    let mut moved = if profile.tools.len() > 1 { "T0\n".to_owned() } else { String::new() };
    for line in text.lines() {
        let code = line.split(';').next().unwrap_or_default();
        if !code.starts_with("G1 ") && !code.starts_with("G0 ") {
            let _ = writeln!(moved, "{line}");
            continue;
        }
        for word in code.split_ascii_whitespace() {
            let shift = match word.as_bytes()[0] {
                b'X' => by[0],
                b'Y' => by[1],
                _ => {
                    let _ = write!(moved, "{word} ");
                    continue;
                }
            };
            let _ = write!(moved, "{}{:.3} ", &word[..1], word[1..].parse::<f64>().unwrap() + shift);
        }
        moved.push('\n');
    }
    moved
}

#[test]
fn a_good_print_passes_on_every_bundled_printer() {
    let mut tried = 0;
    for (name, profile) in bundled() {
        if profile.kind != Kind::Printer || profile.envelope_mm.is_none() {
            continue;
        }
        let verdict = preflight::check(cube_for(&profile).as_bytes(), &profile);
        assert_eq!(errors(&verdict), Vec::<String>::new(), "{name}");
        tried += 1;
    }
    println!("{tried} printers");
    assert!(tried > 25);
}

#[test]
fn a_good_cut_and_a_good_burn_pass_on_every_bundled_mill_and_laser() {
    let cut = "G21 G90 G94\nM3 S12000\nG0 Z5\nG0 X0 Y0\nG1 Z-2 F200\nG1 X80 F600\nG2 X80 Y60 I0 J30\nG1 X0 Y0\nG0 Z5\nM5\nM30\n";
    let burn = "G21 G90\nM4 S0\nG0 X0 Y0\nG1 X80 S1 F1000\nG1 Y60 S0.5\nG1 X0 Y0\nM5\nM2\n";
    for (name, profile) in bundled() {
        let program = match profile.kind {
            Kind::Printer => continue,
            Kind::Mill => cut,
            Kind::Laser => burn,
        };
        let verdict = preflight::check(program.as_bytes(), &profile);
        assert_eq!(errors(&verdict), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_bundled_profile_refuses_what_its_machine_cannot_do() {
    for (name, profile) in bundled() {
        let codes = |program: &str| -> Vec<&'static str> {
            preflight::check(program.as_bytes(), &profile).findings.iter().map(|finding| finding.code).collect()
        };
        if let Some(heat) = &profile.heat {
            let hot = format!("G28\nM104 S{}\nM104 S0\n", heat.tool_max_c + 1.0);
            assert!(codes(&hot).contains(&"heat.too_hot"), "{name}");
            let most = format!("G28\nM104 S{}\nM104 S0\n", heat.tool_max_c);
            assert!(!codes(&most).contains(&"heat.too_hot"), "{name}");
        }
        let Some(envelope) = profile.envelope_mm.filter(|_| profile.kind == Kind::Printer) else { continue };
        let beyond = format!("G28\nG1 X{} F600\n", envelope.max[0] + 1.0);
        assert!(codes(&beyond).contains(&"envelope.outside"), "{name}");
        let below = format!("G28\nG1 Z{} F600\n", envelope.min[2] - 1.0);
        assert!(codes(&below).contains(&"envelope.outside"), "{name}");
        if let Some(radius) = envelope.radius {
            let corner = format!("G28\nG1 X{radius} Y{radius} Z5 F600\n");
            assert!(codes(&corner).contains(&"envelope.outside"), "{name}: the corner of a round bed");
        }
    }
}

#[test]
fn every_bundled_profile_names_its_sources() {
    for (name, text) in Profile::bundled() {
        let head: Vec<_> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(!head.is_empty(), "{name}: nothing at its top says where its figures are from");
    }
}

fn named(name: &str) -> Profile {
    Profile::named(name).unwrap()
}

fn codes(program: &str, profile: &Profile) -> Vec<(u64, &'static str)> {
    let verdict = preflight::check(program.as_bytes(), profile);
    let errors = verdict.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| (finding.line, finding.code)).collect()
}

#[test]
fn a_cancelled_voron_stayed_hot_with_its_motors_on() {
    let voron = named("voron-350");
    assert_eq!(voron.safety.safe_end, ["TURN_OFF_HEATERS", "M107", "M84"]);
    assert_eq!(voron.safety.lift_mm, Some(10.0));
}

#[test]
fn each_hot_end_of_a_printer_with_two_is_switched_off_by_its_tool() {
    for name in ["jubilee", "ultimaker3"] {
        let profile = named(name);
        assert_eq!(profile.safety.safe_end[..3], ["M104 T0 S0", "M104 T1 S0", "M140 S0"], "{name}");
        assert_eq!(profile.safe_end_problems(), [], "{name}");
        let mut bare = profile;
        bare.safety.safe_end = ["M104 S0", "M140 S0", "M107"].map(str::to_owned).to_vec();
        assert!(!bare.safe_end_problems().is_empty(), "{name}: a bare M104 is the tool in hand only");
    }
}

#[test]
fn a_voron_printed_below_its_bed() {
    let voron = named("voron-350");
    assert_eq!(voron.envelope_mm.unwrap().min, [0.0, 0.0, 0.0]);
    assert_eq!(codes("G28\nG1 Z-4.5 F600\n", &voron), [(2, "envelope.outside")]);
}

#[test]
fn temperatures_at_which_a_prusa_shuts_down_could_be_set() {
    for (name, most, trip) in [("prusa-mk4", 290.0, 305.0), ("prusa-mini", 280.0, 295.0), ("prusa-mk3s", 295.0, 305.0)]
    {
        let profile = named(name);
        let heat = profile.heat.as_ref().unwrap();
        assert_eq!((heat.tool_max_c, heat.tool_trip_c), (most, Some(trip)), "{name}");
        let heats = |most: f64| format!("G28\nM104 S{most}\nM104 S0\n");
        assert_eq!(codes(&heats(most), &profile), [], "{name}");
        assert_eq!(codes(&heats(most + 1.0), &profile), [(2, "heat.too_hot")], "{name}");
    }
}

#[test]
fn an_mk3s_bed_goes_to_120_degrees_and_its_nozzle_no_lower_than_0_15_mm() {
    let mk3s = named("prusa-mk3s");
    let heat = mk3s.heat.as_ref().unwrap();
    assert_eq!((heat.bed_max_c, heat.bed_trip_c), (Some(120.0), Some(125.0)));
    assert_eq!(codes("G28\nM140 S120\nM140 S0\n", &mk3s), []);
    assert_eq!(codes("G28\nM140 S121\nM140 S0\n", &mk3s), [(2, "heat.too_hot")]);
    assert_eq!(mk3s.envelope_mm.unwrap().min[2].to_bits(), 0.15_f64.to_bits());
    assert_eq!(codes("G28\nG1 Z0.14 F600\n", &mk3s), [(2, "envelope.outside")]);
    assert_eq!(codes("G28\nG1 Z0.15 F600\n", &mk3s), []);
}

#[test]
fn a_3018_has_the_room_that_its_maker_says_is_usable() {
    let mill = named("grbl-mill-3018");
    let envelope = mill.envelope_mm.unwrap();
    assert_eq!((envelope.min, envelope.max), ([-260.0, -155.0, -35.0], [0.0; 3]));
    assert_eq!(mill.motion.feed_max_mm_min[..3], [1000.0, 1000.0, 800.0], "800 to 1000, and 600 to 800");
    assert_eq!(mill.motion.acceleration_mm_s2[..3], [30.0; 3], "10 to 30");
    assert_eq!(mill.spindle.as_ref().unwrap().max_rpm.to_bits(), 10_000.0_f64.to_bits());
    // Its zero is not known to preflight by itself: a cut that is longer than the way is found wherever that is.
    let cut = |to: &str| format!("G21 G90\nM3 S1000\nG1 {to} F600\nM5\nM30\n");
    assert_eq!(codes(&cut("X290"), &mill), [(3, "envelope.too_large")]);
    assert_eq!(codes(&cut("Z-40"), &mill), [(3, "envelope.too_large")]);
    assert_eq!(codes(&cut("X255 Y150 Z-30"), &mill), []);
}

#[test]
fn a_laser_on_stock_grbl_homes_below_zero_and_its_module_may_cost_height() {
    let room =
        |name: &str| named(name).envelope_mm.map(|envelope| [envelope.min, envelope.max].map(|at| [at[0], at[1]]));
    assert_eq!(room("grbl-laser-400"), Some([[0.0, 0.0], [400.0, 400.0]]));
    assert_eq!(room("grbl-laser-400:stock-grbl"), Some([[-400.0, -400.0], [0.0, 0.0]]));
    assert_eq!(room("grbl-laser-400:short-y-380"), Some([[0.0, 0.0], [400.0, 380.0]]));
    assert_eq!(room("grbl-laser-400:short-y-360"), Some([[0.0, 0.0], [400.0, 360.0]]));
}

#[test]
fn an_ender3_prints_on_less_than_it_reaches_and_takes_corners_by_junction_deviation() {
    let ender = named("ender3");
    let bed = ender.bed.unwrap().rectangle_mm.unwrap();
    assert_eq!((ender.envelope_mm.unwrap().max, bed.max), ([235.0, 235.0, 250.0], [220.0, 220.0]));
    assert_eq!(ender.motion.cornering, Cornering::JunctionDeviationMm(0.08));
    let print = |to: &str| format!("G28\nM83\nM109 S200\nG1 Z0.2 F600\nG1 {to} E1\nM104 S0\n");
    assert_eq!(codes(&print("X219 Y219"), &ender), []);
    assert_eq!(codes(&print("X229 Y100"), &ender), [(5, "bed.outside")]);
    assert_eq!(codes("G28\nG1 X234 Y234 F600\n", &ender), [], "the nozzle gets there");
}

#[test]
fn a_mini_with_input_shaper_is_twice_as_fast() {
    let motion = named("prusa-mini").motion;
    assert_eq!(motion.feed_max_mm_min[..2], [24_000.0, 24_000.0], "400 mm/s");
    assert_eq!(motion.acceleration_mm_s2[..2], [4000.0, 4000.0]);
}

#[test]
fn boards_with_native_usb_are_not_waited_for_as_if_they_were_reset() {
    let buddies = ["prusa-core-one", "prusa-mini", "prusa-mk35", "prusa-mk4", "prusa-mk4s", "prusa-xl", "prusa-xl-5"];
    for name in buddies.into_iter().chain(["jubilee"]) {
        assert!(!named(name).serial.resets_on_open, "{name}");
    }
    assert!(named("prusa-mk3s").serial.resets_on_open, "its bridge wires DTR to reset");
}

#[test]
fn an_empty_safe_end_was_accepted_in_silence() {
    let text = "name = 'p'\ntitle = 'P'\nkind = 'printer'\ndialect = 'marlin'\n[heat]\ntool_max_c = 260.0\n";
    assert_eq!(Profile::parse_streamed(text).unwrap_err().code, "profile.invalid");
    let safe = format!("{text}[safety]\nsafe_end = ['M104 S0']\n");
    assert!(Profile::parse_streamed(&safe).is_ok());
}

#[test]
fn the_corner_of_a_round_bed_is_beside_it() {
    let delta = named("flsun-qq-s");
    assert_eq!(delta.envelope_mm.unwrap().radius, Some(130.0));
    assert_eq!(codes("G28\nG1 X128 Y128 Z5 F600\n", &delta), [(2, "envelope.outside")]);
    assert_eq!(codes("G28\nG1 X91 Y91 Z5 F600\n", &delta), []);
}
