//! Every bundled profile and every variant: a good program of its kind passes on it, and what it says it cannot is found.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

mod common;

use std::fmt::Write as _;

use gcode_tools::preflight::{self, Severity, Verdict};
use gcode_tools::profile::{Kind, Profile};

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
