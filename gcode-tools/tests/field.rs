//! Small programs that public bug reports are about, with what is right for each.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

mod common;

use gcode_tools::analysis::{Info, analyse};
use gcode_tools::formats;
use gcode_tools::preflight::{Severity, Verdict, check};
use gcode_tools::profile::Profile;
use gcode_tools::rules::Rules;
use gcode_tools::time::Firmware;

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(common::data().join("field").join(name)).unwrap()
}

fn info(name: &str, profile: &str) -> Info {
    let profile = (profile != "-").then(|| Profile::named(profile).unwrap());
    analyse(formats::open(std::io::Cursor::new(bytes(name))).unwrap(), profile.as_ref()).unwrap()
}

fn verdict(name: &str, profile: &str) -> Verdict {
    check(&bytes(name)[..], &Profile::named(profile).unwrap())
}

fn errors(verdict: &Verdict) -> Vec<(u64, &'static str)> {
    let errors = verdict.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| (finding.line, finding.code)).collect()
}

fn near(ours: f64, right: f64) {
    assert!((ours - right).abs() < 0.01, "{ours}, not {right}");
}

fn is_box(ours: Option<gcode_tools::analysis::Bounds>, min: [f64; 3], max: [f64; 3]) {
    let ours = ours.unwrap();
    for axis in 0..3 {
        near(ours.min[axis], min[axis]);
        near(ours.max[axis], max[axis]);
    }
}

fn is_max(ours: Option<gcode_tools::analysis::Bounds>, max: [f64; 3]) {
    let ours = ours.unwrap();
    (0..3).for_each(|axis| near(ours.max[axis], max[axis]));
}

#[test]
fn what_grbl_refuses_is_found_with_its_number() {
    for (file, line, number) in [
        ("g0_g49.nc", 2, 24),
        ("g80_g0_grbl.nc", 2, 21),
        ("grbl_g4_s.nc", 3, 28),
        ("grbl_m8_m9.nc", 2, 21),
        ("xyz_same_letter.nc", 3, 25),
        ("grbl_m7.nc", 2, 20),
    ] {
        let verdict = verdict(file, "generic-grbl");
        assert!(errors(&verdict).iter().any(|(at, _)| *at == line), "{file}: {:?}", verdict.findings);
        let mut grbl = Rules::of(Firmware::Grbl);
        let program = bytes(file);
        let lines: Vec<&[u8]> = program.split(|byte| *byte == b'\n').collect();
        for before in lines.iter().take(line as usize - 1).filter(|line| **line != b"%") {
            assert_eq!(grbl.answer(before), Ok(()), "{file}");
        }
        let refusal = grbl.answer(lines[line as usize - 1]).unwrap_err();
        assert_eq!(refusal.number(), Some(number), "{file}");
    }
}

#[test]
fn what_linuxcnc_refuses_is_found() {
    assert_eq!(errors(&verdict("lcnc_dup_x.ngc", "linuxcnc-mill")), [(3, "word.repeated")]);
}

#[test]
fn g53_by_itself_moves_in_machine_coordinates() {
    let info = info("g53_modal.nc", "-");
    is_box(info.bounds_mm, [5.0, 5.0, 0.0], [11.0, 11.0, 0.0]);
    is_max(info.travel_bounds_mm, [10.0, 10.0, 0.0]);
}

#[test]
fn klippers_saved_state_brings_its_modes_back() {
    let info = info("save_state.gcode", "voron-350");
    is_max(info.bounds_mm, [40.0, 10.0, 0.2]);
    // Klipper has E go on from where it stood when the state was saved, and does not make the retraction of 2 mm good
    // (`gcode_move.py`): 1, -2, 1 and 1 mm, of which the highest sum is 1.
    near(info.filament_mm[0], 1.0);
}

#[test]
fn reprapfirmware_pushes_and_pops_its_modes() {
    is_max(info("rrf_m120.gcode", "jubilee").bounds_mm, [30.0, 10.0, 0.2]);
}

#[test]
fn a_subprogram_is_called_as_often_as_it_is_told() {
    let info = info("m98_l3.ngc", "linuxcnc-mill");
    is_max(info.bounds_mm, [30.0, 10.0, 0.0]);
    near(info.work_mm, 30.0);
}

#[test]
fn a_thread_is_a_move() {
    assert!((info("lcnc_g33.ngc", "linuxcnc-mill").bounds_mm.unwrap().min[2] + 20.0).abs() < 1e-9);
    is_box(info("lcnc_g33.ngc", "linuxcnc-mill").bounds_mm, [1.0, 0.0, -20.0], [2.0, 0.0, 0.5]);
}

#[test]
fn a_spline_is_followed_with_its_true_extent() {
    let info = info("marlin_g5.gcode", "ender3");
    is_max(info.bounds_mm, [45.0, 32.5, 0.2]);
    near(info.filament_mm[0], 6.0);
}

#[test]
fn a_feed_per_turn_takes_the_spindles_speed() {
    let info = info("g95_feed.ngc", "linuxcnc-mill");
    assert!((info.time_s - 6.0).abs() < 0.3, "{}", info.time_s);
    near(info.feed_max_mm_min, 100.0);
}

#[test]
fn what_ends_a_mills_program_ends_no_print() {
    let info = info("m30_mid_printer.gcode", "generic-marlin");
    near(info.filament_mm[0], 3.0);
    is_max(info.bounds_mm, [40.0, 10.0, 0.2]);
}

#[test]
fn a_may_be_the_extruder() {
    let info = info("a_extruder.gcode", "-");
    near(info.filament_mm[0], 2.0);
    assert_eq!(info.layers, 1);
}

#[test]
fn klippers_offset_shifts_and_the_envelope_is_checked_with_it() {
    is_max(info("klipper_offset.gcode", "voron-350").bounds_mm, [354.0, 15.0, 0.2]);
    assert_eq!(errors(&verdict("klipper_offset.gcode", "voron-350")), [(8, "envelope.outside")]);
}

#[test]
fn reprapfirmware_heats_a_tool_with_g10() {
    assert_eq!(info("rrf_g10_temp.gcode", "jubilee").temperatures.tool_c, [215.0]);
    assert_eq!(errors(&verdict("rrf_g10_temp.gcode", "jubilee")), []);
}

#[test]
fn a_nozzle_that_is_still_hot_may_push_filament() {
    assert_eq!(errors(&verdict("lulz_end.gcode", "generic-marlin")), []);
}

#[test]
fn a_print_with_its_end_mark_is_whole_whatever_it_says_of_its_layers() {
    let verdict = verdict("cura_count_off.gcode", "generic-marlin");
    assert!(verdict.findings.iter().all(|finding| finding.code != "file.truncated"), "{:?}", verdict.findings);
}

#[test]
fn klipper_reads_only_s_of_m109() {
    let verdict = verdict("klipper_m109_r.gcode", "voron-350");
    assert!(errors(&verdict).contains(&(8, "heat.cold_extrusion")), "{:?}", verdict.findings);
    assert!(verdict.findings.iter().any(|finding| (finding.line, finding.code) == (2, "word.read_otherwise")));
}

#[test]
fn klipper_draws_no_arc_by_radius() {
    assert_eq!(errors(&verdict("klipper_r_arc.gcode", "voron-350")), [(8, "arc.radius")]);
}

#[test]
fn filament_without_a_tool_is_found() {
    assert!(errors(&verdict("rrf_no_tool.gcode", "jubilee")).contains(&(9, "tool.none")));
}

#[test]
fn a_tool_that_was_put_away_pushes_nothing() {
    let program = b"G28\nM83\nT0\nM109 S210\nG1 X10 Y10 F3000\nG1 X20 E1\nT-1\nG1 X30 E1\nM104 S0\n";
    let verdict = check(&program[..], &Profile::named("jubilee").unwrap());
    assert_eq!(errors(&verdict), [(8, "tool.none")]);
}

#[test]
fn a_nozzle_that_has_cooled_down_pushes_nothing_and_one_that_may_be_hot_does() {
    let errors_of = |middle: &str| {
        let program = format!("G28\nG90\nM83\nM109 S210\nG1 X10 Y10 F3000\nM104 S0\n{middle}\nG1 X20 E1\n");
        errors(&check(program.as_bytes(), &Profile::named("generic-marlin").unwrap()))
    };
    assert_eq!(errors_of("M400"), []);
    assert_eq!(errors_of("G4 S10"), []);
    assert_eq!(errors_of("G4 S900"), [(8, "heat.cold_extrusion")]);
    assert_eq!(errors_of("M109 R60"), [(8, "heat.cold_extrusion")]);
}

#[test]
fn findings_are_told_once_for_each_cause() {
    let lines: Vec<String> = (0..60).map(|line| format!("G1 X{line}\n")).collect();
    let lines = lines.concat();
    let program = format!("G21 G90\nM3 S1000\n{lines}G1 X1 X2 F100\nM30\n");
    let mut verdict = check(program.as_bytes(), &Profile::named("generic-grbl").unwrap());
    assert_eq!(verdict.findings.len(), 51, "no more than 50 of a code, line by line");
    verdict.tell_causes();
    let told: Vec<_> = verdict.findings.iter().map(|one| (one.code, one.line, one.count, one.lines)).collect();
    assert_eq!(told, [("feed.missing", 3, 60, [3, 62]), ("word.repeated", 63, 1, [63, 63])]);
}

#[test]
fn what_is_not_followed_is_said_with_its_line() {
    for (program, profile, line, word) in [
        (&b"G21 G90 F100\nG0 X1\nG5.2 X1 Y1 P1 L3\nG5.3\nM2\n"[..], "linuxcnc-mill", 3, "G5.2"),
        (b"G21 G90 F100\nG41 D1\nG1 X1\nG40\nM2\n", "linuxcnc-mill", 2, "G41"),
        (b"G28\nG26\nG1 X1 F300\n", "ender3", 2, "G26"),
        (b"G28\nG1 X1 F300\nFORCE_MOVE STEPPER=x DISTANCE=5 VELOCITY=5\n", "voron-350", 3, "FORCE_MOVE"),
        (b"G28\nwhile iterations < 3\n  G1 X1 F300\n", "jubilee", 2, "while"),
    ] {
        let profile = Profile::named(profile).unwrap();
        let lost = analyse(program, Some(&profile)).unwrap().not_followed.unwrap();
        assert_eq!((lost.line, lost.word.as_str()), (line, word));
        let found = check(program, &profile).findings;
        let said = |code: &str| code == "motion.not_followed" || code == "offset.cutter";
        assert!(found.iter().any(|finding| finding.line == line && said(finding.code)), "{word}: {found:?}");
    }
    assert!(analyse(&b"G21 G90\nG1 X1 F1\n"[..], None).unwrap().not_followed.is_none());
}

#[test]
fn what_fills_up_the_end_of_a_file_is_no_finding() {
    for end in [&b"\x1a"[..], b"\0\0\0\0", b"\x1a\x1a\0\n"] {
        let program = [&b"M104 S0\nG28\nG1 X1 F300\n"[..], end].concat();
        let findings = check(&program[..], &Profile::named("generic-marlin").unwrap()).findings;
        assert!(findings.iter().all(|finding| finding.code != "text.control"), "{findings:?}");
    }
}

#[test]
fn a_plate_can_be_chosen_and_a_flashforge_file_be_read() {
    use std::io::Write as _;
    let mut packer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (plate, program) in [(1, "G21\nG1 X1 F1\n"), (2, "G21\nG1 X22 F1\n")] {
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        packer.start_file(format!("Metadata/plate_{plate}.gcode"), stored).unwrap();
        packer.write_all(program.as_bytes()).unwrap();
    }
    let archive = packer.finish().unwrap().into_inner();
    let of = |plate| formats::open_plate(std::io::Cursor::new(&archive), plate);
    assert_eq!(of(None).unwrap_err().code, "file.several_programs");
    assert_eq!(of(Some(3)).unwrap_err().code, "file.no_program");
    is_max(analyse(of(Some(2)).unwrap(), None).unwrap().bounds_mm, [22.0, 0.0, 0.0]);
    let mut gx = b"xgcode 1.0\n\0".to_vec();
    gx.extend([0; 8]);
    gx.extend(40_u32.to_le_bytes());
    gx.resize(40, 0);
    gx.extend(b"G28\nM104 S200\nG1 X5 E1 F300\n");
    let info = analyse(formats::open(std::io::Cursor::new(gx)).unwrap(), None).unwrap();
    assert_eq!((info.lines, info.filament_mm), (3, vec![1.0]));
}

#[test]
fn a_vase_has_its_turns_for_layers() {
    let turns = info("vase.gcode", "-").layers;
    assert!((19..=22).contains(&turns), "{turns}");
}

#[test]
fn bambus_header_is_read_and_its_words_are_known() {
    let info = info("bambu_header.gcode", "-");
    let slicer = info.slicer.unwrap();
    assert_eq!((slicer.time_s, slicer.name.as_deref()), (Some(1032.0), Some("BambuStudio")));
    near(slicer.filament_mm[0], 1.0);
    near(info.filament_mm[0], 1.0);
    assert_eq!(info.layers, 2);
    let names: Vec<_> = info.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["Outer wall", "Sparse infill"]);
    let verdict = verdict("bambu_header.gcode", "generic-marlin");
    assert!(verdict.findings.iter().all(|finding| finding.code != "word.unsupported"), "{:?}", verdict.findings);
}

#[test]
fn other_slicers_tell_time_and_filament_too() {
    for (file, time_s, filament_mm) in [
        ("ideamaker.gcode", Some(3600.0), 868.0),
        ("s3d_header.gcode", Some(5100.0), 4780.0),
        ("slic3r_used.gcode", None, 778.2),
    ] {
        let slicer = info(file, "-").slicer.unwrap();
        assert_eq!(slicer.time_s, time_s, "{file}");
        near(slicer.filament_mm[0], filament_mm);
    }
}

#[test]
fn a_generator_may_name_itself_in_parentheses() {
    assert_eq!(info("freecad_paren.nc", "-").slicer.unwrap().name.as_deref(), Some("FreeCAD"));
}

#[test]
fn crealitys_pictures_are_thumbnails() {
    let slicer = info("creality_png.gcode", "-").slicer.unwrap();
    let pictures: Vec<_> = slicer.thumbnails.iter().map(|one| (one.format, one.width, one.height, one.ended)).collect();
    assert_eq!(pictures, [("png", 300, 300, true), ("jpg", 200, 187, true)]);
}

#[test]
fn words_of_the_filament_changer_and_a_g4_alone_are_no_findings() {
    for file in ["mmu_tx.gcode", "g4_alone.gcode"] {
        let verdict = verdict(file, "prusa-mk3s-mmu2s");
        assert!(verdict.findings.is_empty(), "{file}: {:?}", verdict.findings);
    }
}

#[test]
fn a_laser_that_moves_at_s0_travels() {
    let info = info("laser_overscan.nc", "grbl-laser-400");
    is_max(info.travel_bounds_mm, [30.0, 10.1, 0.0]);
    near(info.work_mm, 20.0);
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn each_program_is_told_by_what_it_writes_of_itself() {
    type Row = (&'static str, &'static str, Option<&'static str>, Option<f64>, Option<f64>);
    let rows: [Row; 19] = [
        (
            "; generated by PrusaSlicer 2.7.1 on 2026-01-01\n; filament used [mm] = 506.97\n; filament used [g] = 1.5\n\
             ; estimated printing time (normal mode) = 1h 2m 3s",
            "PrusaSlicer",
            Some("2.7.1"),
            Some(3723.0),
            Some(506.97),
        ),
        ("; generated by SuperSlicer 2.5.59 on 2026", "SuperSlicer", Some("2.5.59"), None, None),
        (
            "; HEADER_BLOCK_START\n; generated by OrcaSlicer 2.1.0 on 2026\n; total layers count = 25\n\
             ; filament used [mm] = 12.5\n; estimated printing time (normal mode) = 20m 5s",
            "OrcaSlicer",
            Some("2.1.0"),
            Some(1205.0),
            Some(12.5),
        ),
        (
            "; BambuStudio 01.09.05.51\n; model printing time: 10m 30s; total estimated time: 17m 12s\n\
             ; total filament length [mm] : 1.00",
            "BambuStudio",
            Some("01.09.05.51"),
            Some(1032.0),
            Some(1.0),
        ),
        (";Creality Print GCode Generated by Creality_Print-v3.10.1", "Creality Print", Some("3.10.1"), None, None),
        (
            ";FLAVOR:Marlin\n;TIME:535\n;Filament used: 0.3m\n;Generated with Cura_SteamEngine 5.2.1",
            "Cura",
            Some("5.2.1"),
            Some(535.0),
            Some(300.0),
        ),
        (
            ";Print time: 1 hour 5 minutes\n;Filament used: 1.234m 9.0g\n;Generated with Cura_SteamEngine 15.04.6",
            "Cura",
            Some("15.04.6"),
            Some(3900.0),
            Some(1234.0),
        ),
        (
            "; G-Code generated by Simplify3D(R) Version 4.1.2\n;   Build time: 1 hour 25 minutes\n\
             ;   Filament length: 4780.0 mm (4.78 m)",
            "Simplify3D",
            Some("4.1.2"),
            Some(5100.0),
            Some(4780.0),
        ),
        (
            ";Sliced by ideaMaker 3.6.1.4415, 2021\n;Print Time: 3600\n;Material#1 Used: 868.0",
            "ideaMaker",
            Some("3.6.1.4415"),
            Some(3600.0),
            Some(868.0),
        ),
        (
            "; KISSlicer - FREE\n; version 1.6.2\n; Estimated Build Time:   65.50 minutes\n;    Ext 1 =   1046.40 mm  (2.5 cm^3)",
            "KISSlicer",
            Some("1.6.2"),
            Some(3930.0),
            Some(1046.4),
        ),
        (
            "; generated by Slic3r 1.3.0 on 2026\n; filament used = 778.2mm (1.9cm3)",
            "Slic3r",
            Some("1.3.0"),
            None,
            Some(778.2),
        ),
        (
            "; Generated by Kiri:Moto 2.6.0\n; --- print time: 3600s ---\n; --- filament used: 812 mm ---",
            "Kiri:Moto",
            Some("2.6.0"),
            Some(3600.0),
            Some(812.0),
        ),
        ("(Fusion 360 CAM 2.0.17453)", "Fusion 360", Some("2.0.17453"), None, None),
        ("(Exported by FreeCAD)", "FreeCAD", None, None, None),
        ("(Project x made with Estlcam version 11.242 build 1)", "Estlcam", Some("11.242"), None, None),
        ("( Mach2/3 Postprocessor, Vectric )", "Vectric", None, None, None),
        ("(Carbide Create V7)", "Carbide Create", Some("7"), None, None),
        ("; LightBurn 1.4.00", "LightBurn", Some("1.4.00"), None, None),
        ("( pcb2gcode 2.5.0 )", "pcb2gcode", Some("2.5.0"), None, None),
    ];
    for (text, name, version, time_s, filament_mm) in rows {
        let program = format!("{text}\nG21\nG28\nG1 X1 F100\n");
        let slicer = analyse(program.as_bytes(), None).unwrap().slicer.unwrap_or_default();
        assert_eq!((slicer.name.as_deref(), slicer.version.as_deref()), (Some(name), version), "{text}");
        assert_eq!((slicer.time_s, slicer.filament_mm.first().copied()), (time_s, filament_mm), "{text}");
    }
}
