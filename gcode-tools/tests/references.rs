//! Measured against other programs' answers: LinuxCNC's interpreter, Grbl's planner, the slicers' own figures.
//!
//! The files in `tests/data` are checked always; the whole collection where `../shared/gcode` is beside the repository.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

mod common;

use gcode_tools::analysis::{Bounds, Info, Setup, analyse_with};
use gcode_tools::metadata::Slicer;
use gcode_tools::preflight::{self, Severity};
use gcode_tools::profile::Profile;
use gcode_tools::time::{Firmware, Limits};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

type Row = HashMap<String, String>;

/// Analyses a file with the limits its slicer has written at its end.
fn info(path: &Path, laser_mode: Option<bool>) -> Option<Info> {
    let bytes = std::fs::read(path).ok()?;
    let slicer = Slicer::of_tail(&bytes[bytes.len().saturating_sub(64 * 1024)..]);
    let limits = slicer.machine.is_known().then(|| {
        let mut limits = Limits::assumed(slicer.firmware().unwrap_or(Firmware::Marlin));
        slicer.machine.apply(&mut limits);
        limits
    });
    analyse_with(&bytes[..], &Setup { limits, laser_mode, ..Setup::default() }).ok()
}

fn number(row: &Row, column: &str) -> Option<f64> {
    row.get(column)?.parse().ok()
}

/// A `[[x, y, z], [x, y, z]]` column.
fn bounds(row: &Row, column: &str) -> Option<Bounds> {
    let value: serde_json::Value = serde_json::from_str(row.get(column)?).ok()?;
    let corner = |index: usize| -> Option<[f64; 3]> {
        let corner = value.get(index)?.as_array()?;
        Some([corner.first()?.as_f64()?, corner.get(1)?.as_f64()?, corner.get(2)?.as_f64()?])
    };
    Some(Bounds { min: corner(0)?, max: corner(1)? })
}

/// Largest distance between two boxes' sides.
fn distance(ours: Option<Bounds>, theirs: Option<Bounds>) -> f64 {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => (0..3)
            .map(|axis| (ours.min[axis] - theirs.min[axis]).abs().max((ours.max[axis] - theirs.max[axis]).abs()))
            .fold(0.0, f64::max),
        (None, None) => 0.0,
        _ => f64::INFINITY,
    }
}

fn everything(info: &Info) -> Option<Bounds> {
    match (info.bounds_mm, info.travel_bounds_mm) {
        (Some(work), Some(travel)) => Some(work.union(&travel)),
        (work, travel) => work.or(travel),
    }
}

/// Programs whose reference stands for something else, with the reason.
const EXCEPTIONS: [(&str, &str); 6] = [
    ("wild_octoprint_selection", "homing only, which is no move here"),
    ("wild_printrun_arc_test", "no printer's word in it: taken for a CNC program without a profile"),
    ("wild_printrun_quicktest", "no printer's word in it: taken for a CNC program without a profile"),
    ("wild_klipper_move", "the reference counts the homing as a move"),
    ("i2gc_gear_raster_M4", "the reference counts the machine's position before the first move"),
    ("p2g_al_linuxcnc_front", "depends on what a probe touches"),
];

fn is_exception(name: &str) -> bool {
    EXCEPTIONS.iter().any(|(start, _)| name.contains(start))
}

/// Programs whose reference counts heights where there are other layers: how many, and why.
const LAYERS: [(&str, u64, &str); 3] = [
    ("fc_ripple_rel", 41, "a vase: 40 turns on a first line, at 2,561 heights"),
    ("ps_cubes4_ratrig_repetier", 72, "the slicer marks 72; a purge line is no layer"),
    ("ps_duo_mmu2s_T0T1", 50, "the slicer marks 50; purging and wiping have heights of their own"),
];

#[test]
fn printers_programs_agree_with_the_slicers() {
    let Some(corpus) = common::corpus() else { return println!("../shared/gcode is not there: nothing compared") };
    let (mut checked, mut errors) = (0, Vec::new());
    for set in ["DEV", "SHARED_WILD"] {
        for row in common::rows(&common::shared().unwrap().join(format!("ref_fff.{set}.csv"))) {
            let name = &row["file"];
            let Some(info) = info(&corpus.join(name), None).filter(|_| !is_exception(name)) else { continue };
            checked += 1;
            assert!(distance(everything(&info), bounds(&row, "bbox_all")) <= 0.011, "{name}: bounds of all moves");
            assert!(distance(info.bounds_mm, bounds(&row, "bbox_extrude")) <= 0.011, "{name}: bounds of extrusions");
            let peaks: Vec<f64> = serde_json::from_str(&row["e_peak_mm"]).unwrap_or_default();
            let ours: Vec<f64> = info.filament_mm.iter().copied().filter(|length| *length > 0.0).collect();
            assert_eq!(ours.len(), peaks.len(), "{name}: filament of {} tools", peaks.len());
            for (ours, theirs) in ours.iter().zip(peaks) {
                assert!((ours - theirs).abs() <= 0.001, "{name}: filament {ours} mm, not {theirs} mm");
            }
            let layers = LAYERS.iter().find(|(start, ..)| name.contains(start)).map(|(_, layers, _)| *layers as f64);
            assert_eq!(Some(info.layers as f64), layers.or(number(&row, "layers_distinct_z")), "{name}: layers");
            // Cura's own figure is known to be off by 10 %: only PrusaSlicer's counts.
            let prusa = info.slicer.as_ref().and_then(|slicer| slicer.name.as_deref()) == Some("PrusaSlicer");
            if let (true, Some(theirs)) = (prusa, number(&row, "embedded_time_s").filter(|seconds| *seconds > 60.0)) {
                errors.push(((info.time_s - info.dwell_s) / theirs - 1.0).abs());
            }
        }
    }
    errors.sort_by(f64::total_cmp);
    let (median, worst) = (errors[errors.len() / 2], errors[errors.len() - 1]);
    println!("{checked} prints; time of {} off by {median:.4} in the median, {worst:.4} at worst", errors.len());
    assert!(median <= 0.01 && worst <= 0.03, "{errors:?}");
}

/// Every program of the collection and of `tests/data` that states a time: by its slicer, how far ours is off.
#[test]
fn the_time_that_each_slicer_states_is_compared_with_ours() {
    let mut spread: std::collections::BTreeMap<String, Vec<f64>> = std::collections::BTreeMap::new();
    let folders = [Some(common::data().join("good")), common::corpus()];
    for path in folders.into_iter().flatten().flat_map(|folder| common::files(&folder)) {
        let is_bad = path.parent().is_some_and(|parent| parent.ends_with("bad"));
        let named = path.extension().is_some_and(|end| end == "gcode" || end == "nc" || end == "ngc");
        let Some(info) = info(&path, None).filter(|_| named && !is_bad) else { continue };
        let Some(slicer) = &info.slicer else { continue };
        let Some(theirs) = slicer.time_s.filter(|seconds| *seconds > 60.0) else { continue };
        let name = slicer.name.clone().unwrap_or_else(|| "nameless".to_owned());
        spread.entry(name).or_default().push((info.time_s - info.dwell_s) / theirs - 1.0);
    }
    println!("| program | files | median | least | most |\n|---|---|---|---|---|");
    for (name, offs) in &mut spread {
        offs.sort_by(f64::total_cmp);
        let percent = |off: f64| format!("{:+.1} %", off * 100.0);
        let (median, least, most) = (offs[offs.len() / 2], offs[0], offs[offs.len() - 1]);
        println!("| {name} | {} | {} | {} | {} |", offs.len(), percent(median), percent(least), percent(most));
    }
    let prusa = spread.get("PrusaSlicer").map_or(&[][..], Vec::as_slice);
    assert!(common::corpus().is_none() || prusa.len() > 10, "PrusaSlicer states a time in {} files", prusa.len());
}

/// A Klipper machine as the reference was reckoned with.
fn klipper() -> Limits {
    let mut limits = Limits::assumed(Firmware::Klipper);
    limits.speed_max = [300.0, 300.0, 20.0, 120.0];
    limits.acceleration_max = [1500.0, 1500.0, 100.0, 1500.0];
    limits.print_acceleration = f64::INFINITY;
    limits.travel_acceleration = f64::INFINITY;
    limits.acceleration_cap = [f64::INFINITY; 3];
    limits.cornering = gcode_tools::profile::Cornering::SquareCornerVelocityMmS(5.0);
    limits
}

#[test]
fn prints_take_as_long_as_klippers_look_ahead_says() {
    let Some(corpus) = common::corpus() else { return println!("../shared/gcode is not there: nothing compared") };
    let (mut checked, mut worst) = (0, 0.0_f64);
    for row in common::rows(&common::shared().unwrap().join("ref_fff.DEV.csv")) {
        let name = &row["file"];
        let Ok(bytes) = std::fs::read(corpus.join(name)) else { continue };
        let Some(theirs) = number(&row, "klipper_lookahead_s").filter(|seconds| *seconds > 60.0) else { continue };
        let setup = Setup { limits: Some(klipper()), ..Setup::default() };
        let info = analyse_with(&bytes[..], &setup).unwrap();
        let off = ((info.time_s - info.dwell_s) / theirs - 1.0).abs();
        (checked, worst) = (checked + 1, worst.max(off));
        assert!(off <= 0.01, "{name}: {} s, Klipper {theirs} s", info.time_s);
    }
    println!("{checked} prints, the worst {worst:.4} off Klipper's look-ahead");
}

#[test]
fn cnc_programs_agree_with_linuxcnc_and_grbl() {
    let Some(corpus) = common::corpus() else { return println!("../shared/gcode is not there: nothing compared") };
    let (mut boxes, mut lengths, mut times, mut worst) = (0, 0, 0, 0.0_f64);
    for set in ["DEV", "SHARED_WILD"] {
        for row in common::rows(&common::shared().unwrap().join(format!("ref_cnc.{set}.csv"))) {
            let name = &row["file"];
            let Some(on) = info(&corpus.join(name), Some(true)) else { continue };
            let ran = row["rs274_rc"] == "0" || row["rs274_err"].contains("no percent sign");
            if ran && !is_exception(name) && bounds(&row, "rs274_bbox_all").is_some() {
                boxes += 1;
                let off = distance(everything(&on), bounds(&row, "rs274_bbox_all"));
                assert!(off <= 0.011, "{name}: bounds are {off} mm off LinuxCNC's");
            }
            let plain = row["expr_lines"] == "0" && row["warn"] == "{}";
            if let (true, Some(theirs)) = (plain && name.starts_with("laser"), number(&row, "oracle_on_len")) {
                lengths += 1;
                assert!((on.powered_mm - theirs).abs() <= 0.001, "{name}: beam on for {} mm", on.powered_mm);
            }
            if row["grbl_errors"] == "{}" {
                for (column, laser_mode) in [("grbl_motion_laser_s", true), ("grbl_motion_s", false)] {
                    let Some(theirs) = number(&row, column).filter(|seconds| *seconds > 1.0) else { continue };
                    let Some(info) = info(&corpus.join(name), Some(laser_mode)) else { continue };
                    let off = ((info.time_s - info.dwell_s) / theirs - 1.0).abs();
                    (times, worst) = (times + 1, worst.max(off));
                    assert!(off <= 0.02, "{name}, $32={}: {off} off Grbl's planner", u8::from(laser_mode));
                }
            }
        }
    }
    println!("{boxes} boxes, {lengths} beam lengths, {times} times, the worst {worst:.4} off Grbl's planner");
}

/// What `expect.txt` says of the bad files.
fn expectations() -> Vec<(String, String, Option<u64>, String)> {
    let text = std::fs::read_to_string(common::data().join("expect.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let [file, profile, number, code] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            (file.to_owned(), profile.to_owned(), number.parse().ok(), code.to_owned())
        })
        .collect()
}

#[test]
fn every_bad_file_gives_its_fault_on_its_line() {
    let folders = [Some(common::data().join("bad")), common::corpus().map(|corpus| corpus.join("bad"))];
    for folder in folders.into_iter().flatten() {
        let mut checked = 0;
        for (file, profile, line, code) in expectations() {
            let Ok(input) = File::open(folder.join(&file)) else { continue };
            let verdict = preflight::check(input, &Profile::named(&profile).unwrap());
            let found: Vec<_> = verdict.findings.iter().map(|finding| (finding.line, finding.code)).collect();
            checked += 1;
            match line {
                Some(line) => {
                    let hit = found.iter().any(|(at, found)| *at == line && found.starts_with(&code));
                    assert!(hit, "{file}: {code} on line {line}, not {found:?}");
                }
                None => assert!(verdict.passes(), "{file} is good, not {found:?}"),
            }
        }
        println!("{checked} expectations");
        assert!(checked > 60);
    }
}

/// Machines that the collection's programs were made for.
const OWN_PROFILE: [(&str, &str); 29] = [
    ("aw_bracket_mini", "prusa-mini"),
    ("aw_gear_voron", "voron-350"),
    ("cura_bracket_makerbot", "ender3"),
    ("cura_cube20_ender3", "ender3"),
    ("cura_cube20_um3", "ultimaker3"),
    ("cura_gear_ender3", "ender3"),
    ("pc_cubes4", "voron-350"),
    ("ps_bracket_jub", "jubilee"),
    ("ps_bracket_mini", "prusa-mini"),
    ("ps_cube20_jub", "jubilee"),
    ("ps_cube20_mk3s", "prusa-mk3s"),
    ("ps_cubes4", "ender3"),
    ("ps_duo", "prusa-mk3s-mmu2s"),
    ("ps_gear_voron", "voron-350"),
    ("ps_wide", "prusa-mk3s"),
    ("s13", "generic-printer"),
    ("wild_box", "prusa-mk4"),
    ("wild_minicube_ps281", "prusa-mk4"),
    ("wild_minicube", "prusa-mini"),
    ("fc_plate_grbl", "generic-grbl-mill"),
    ("fc_plate_linuxcnc", "linuxcnc-mill"),
    ("fc_adaptive", "linuxcnc-mill"),
    ("i2g_relief", "linuxcnc-mill"),
    ("lcnc_", "linuxcnc-mill"),
    ("lcnct_good", "linuxcnc-mill"),
    ("camo_", "linuxcnc-mill"),
    ("svg2g_badge.gcode", "grbl-laser-400"),
    ("svg2g_gear", "grbl-laser-400"),
    ("i2gc", "grbl-laser-400"),
];

#[test]
fn no_good_file_has_an_error_on_its_own_machine() {
    let folders = [Some(common::data().join("good")), common::corpus()];
    for folder in folders.into_iter().flatten() {
        let mut checked = 0;
        for path in common::files(&folder) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let bad = path.parent().is_some_and(|parent| parent.ends_with("bad"));
            let foreign = name.ends_with(".bgcode") || name.ends_with(".sha256") || name.contains("vector_test");
            let Some((_, profile)) = OWN_PROFILE.iter().find(|(start, _)| name.starts_with(start)) else { continue };
            if bad || foreign {
                continue;
            }
            let profile = placed(Profile::named(profile).unwrap(), &name);
            let verdict = preflight::check(File::open(&path).unwrap(), &profile);
            let errors: Vec<_> =
                verdict.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
            checked += 1;
        }
        println!("{checked} good programs");
        assert!(checked >= 5);
    }
}

/// A profile as its owner would have set it for a program whose zero is not in the machine's corner.
fn placed(mut profile: Profile, name: &str) -> Profile {
    if name.starts_with("fc_plate") {
        profile.envelope_mm = None;
    }
    profile
}

#[test]
fn the_small_programs_measure_as_their_references_say() {
    let good = common::data().join("good");
    let of = |name: &str| info(&good.join(name), Some(true)).unwrap();
    let near = |ours: f64, theirs: f64, within: f64| assert!((ours - theirs).abs() <= within, "{ours}, not {theirs}");
    let cube = of("s13_cube20_default_reprap_abs.gcode");
    near(cube.filament_mm[0], 645.8787, 0.001);
    assert_eq!((cube.layers, cube.kind), (67, "printer"));
    assert!(
        distance(cube.bounds_mm, Some(Bounds { min: [83.375, 83.375, 0.35], max: [116.625, 116.625, 20.15] })) < 0.001
    );
    let ripple = of("fc_ripple_rel.gcode");
    near(ripple.time_s, 373.19, 1.0);
    near(ripple.filament_mm[0], 206.7558, 0.001);
    let plate = of("fc_plate_grbl.nc");
    near(plate.time_s - plate.dwell_s, 890.958, 890.958 * 0.02);
    assert!(distance(plate.bounds_mm, Some(Bounds { min: [-2.0, -2.0, -1.0], max: [122.0, 82.0, 16.0] })) < 0.011);
    let drilled = of("fc_plate_linuxcnc.ngc");
    assert!(distance(everything(&drilled), Some(Bounds { min: [-2.0, -2.0, -1.0], max: [122.0, 82.0, 18.0] })) < 0.011);
    let badge = of("svg2g_badge.gcode");
    near(badge.powered_mm, 972.674, 0.001);
    near(badge.time_s, 54.78, 54.78 * 0.02);
    assert_eq!(badge.kind, "laser");
    let relief = of("i2g_relief_mm_rows.ngc");
    near(relief.time_s - relief.dwell_s, 520.098, 520.098 * 0.02);
}
