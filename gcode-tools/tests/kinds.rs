//! Further programs of the kinds of `tests/field.rs`, made from firmwares' and slicers' documentation and from public bug
//! reports: what is right for each.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

use gcode_tools::analysis::{Info, analyse};
use gcode_tools::block::Block;
use gcode_tools::interpret::{State, Watch};
use gcode_tools::preflight::{Severity, check};
use gcode_tools::profile::Profile;
use gcode_tools::rules::Rules;
use gcode_tools::statement::Statement;
use gcode_tools::time::Firmware;

fn profile(name: &str) -> Profile {
    // `NAME/DIALECT`: that machine with another firmware.
    let (name, dialect) = name.split_once('/').map_or((name, None), |(name, dialect)| (name, Some(dialect)));
    let mut profile = Profile::named(name).unwrap();
    if let Some(dialect) = dialect {
        dialect.clone_into(&mut profile.dialect);
    }
    profile
}

fn info(program: &str, name: &str) -> Info {
    let profile = (name != "-").then(|| profile(name));
    analyse(program.as_bytes(), profile.as_ref()).unwrap()
}

/// What is found on a line.
fn found(program: &str, name: &str, line: u64) -> Vec<(Severity, &'static str)> {
    let findings = check(program.as_bytes(), &profile(name)).findings;
    findings.into_iter().filter(|it| it.line == line).map(|it| (it.severity, it.code)).collect()
}

fn errors(program: &str, name: &str) -> Vec<(u64, &'static str)> {
    let findings = check(program.as_bytes(), &profile(name)).findings;
    findings.into_iter().filter(|it| it.severity == Severity::Error).map(|it| (it.line, it.code)).collect()
}

/// Programs whose line is read otherwise than was meant, or left out.
#[test]
fn what_a_firmware_reads_otherwise_was_passed_in_silence() {
    let print = "G28\nG90\nM83\n";
    for (machine, line) in [
        // Kiri:Moto's dwell of 500 ms for a Grbl; a printer's for a mill.
        ("generic-grbl", "G4 P500"),
        ("linuxcnc-mill", "G4 P1000"),
        // A mill's half second for a printer.
        ("generic-marlin", "G4 P0.5"),
        ("voron-350", "G4 S5"),
        ("voron-350", "M104"),
        ("voron-350", "M190 R60"),
        ("voron-350", "M204 P500"),
        ("voron-350", "M204 R1000"),
        ("voron-350", "G01 X5 F600"),
        ("voron-350", "M106 S0.5"),
        ("generic-marlin", "M106 S0.4"),
        ("generic-marlin", "M109"),
        ("generic-marlin", "M190"),
        ("generic-marlin", "M221 S0"),
        ("generic-marlin", "M220 S0"),
        ("generic-marlin", "M203 X0"),
        ("generic-marlin", "M204 S0"),
        ("generic-marlin", "M84 S0"),
        ("generic-marlin", "M18 S60"),
        ("generic-marlin", "M203 X12000 Y12000"),
        ("jubilee", "M203 X200 Y200"),
        ("generic-marlin/smoothieware", "M205 X10"),
        ("generic-marlin/repetier", "M204 S1000"),
        // It ends no print, and deletes.
        ("generic-marlin", "M30"),
        ("generic-marlin", "M30 old.gco"),
        ("jubilee", "M30 old.g"),
        // It waits for nobody over the wire.
        ("jubilee", "M0"),
        ("jubilee", "M1"),
        ("jubilee", "M226"),
        ("jubilee", "M600"),
        ("jubilee", "M601"),
    ] {
        let program = if machine.starts_with("generic-grbl") || machine.starts_with("linuxcnc") {
            format!("G21\nG90\nG94\n{line}\nM30\n")
        } else {
            format!("{print}{line}\n")
        };
        let found = found(&program, machine, 4);
        assert!(found.contains(&(Severity::Warning, "word.read_otherwise")), "{machine}: {line}: {found:?}");
    }
    for (machine, line) in [
        ("generic-marlin", "G4 P500"),
        ("generic-marlin", "G4 S5"),
        ("generic-marlin", "M106 S128"),
        ("jubilee", "M106 S0.5"),
        ("voron-350", "M109 S210"),
        ("voron-350", "M204 S500"),
        ("generic-marlin", "M84"),
        ("generic-marlin", "M84 X Y E"),
        ("jubilee", "M203 X12000 Y12000"),
        ("generic-marlin", "M203 X500 Y500 Z12 E120"),
        ("generic-marlin", "M0"),
        ("generic-marlin", "M600"),
        ("jubilee", "M291 P\"change\" S3"),
        ("generic-marlin/repetier", "M201 X1000"),
    ] {
        let found = found(&format!("{print}{line}\n"), machine, 4);
        assert!(found.iter().all(|(_, code)| *code != "word.read_otherwise"), "{machine}: {line}: {found:?}");
    }
}

#[test]
fn a_stop_that_the_firmware_passes_over_was_taken_for_one() {
    for (machine, told) in [("generic-grbl", true), ("generic-fluidnc", true), ("generic-grblhal", false)] {
        let said = found("G21 G90\nM1\nM2\n", machine, 2);
        assert_eq!(said.contains(&(Severity::Note, "word.read_otherwise")), told, "{machine}: {said:?}");
        assert_eq!(found("G21 G90\nM0\nM2\n", machine, 2), [], "{machine}");
    }
}

#[test]
fn what_only_some_builds_of_marlin_know_was_taken_for_granted() {
    for line in ["G20", "G54", "G18", "G5 X1 I1 J1 P1 Q1", "G38.2 Z-5", "G60 S0", "M3 S128"] {
        let found = found(&format!("G28\n{line}\n"), "generic-marlin", 2);
        assert!(found.contains(&(Severity::Warning, "word.optional")), "{line}: {found:?}");
    }
    assert!(found("G28\nG21\n", "generic-marlin", 2).is_empty());
}

#[test]
fn protections_that_a_program_switches_off_are_told() {
    for (machine, line) in
        [("generic-marlin", "M211 S0"), ("jubilee", "M564 S0"), ("jubilee", "M564 H0"), ("generic-grbl", "$X")]
    {
        let found = found(&format!("G90\n{line}\n"), machine, 2);
        assert!(found.contains(&(Severity::Warning, "safety.off")), "{machine}: {line}: {found:?}");
    }
    assert_eq!(found("G28\nM211 S1\n", "generic-marlin", 2), []);
}

#[test]
fn grbls_own_commands_that_it_refuses_in_a_program_passed() {
    let of = |line: &str| found(&format!("G21 G90\nG1 X1 F100\n{line}\n"), "generic-grbl", 3);
    let error = |code| vec![(Severity::Error, code)];
    assert_eq!(of("$H"), error("program.not_idle"));
    assert_eq!(of("$$"), error("program.not_idle"));
    assert_eq!(of("$C"), error("program.halts"));
    assert_eq!(of("$SLP"), error("program.halts"));
    assert_eq!(of("$J=G91 X5 F100"), error("word.unsupported"));
    assert_eq!(of("$G"), []);
    assert_eq!(found("G21 G90\nG1 X1 F100\nG4 P0.1\n$H\n", "generic-grbl", 4), [], "motion has ended");
    assert_eq!(found("$H\nG21 G90\n", "generic-grbl", 1), []);
}

#[test]
fn what_firmwares_refuse_is_an_error() {
    for (machine, program, line, code) in [
        // Grbl: bugs of post processors as they are reported.
        ("generic-grbl", "G21 G90\nG64 P0.01\n", 2, "word.unsupported"),
        ("generic-grbl", "G21 G90\nG43 H1\n", 2, "word.unsupported"),
        ("generic-grbl", "G21 G90\nG90.1\n", 2, "word.unsupported"),
        ("generic-grbl", "G21 G90\nM6 T1\n", 2, "word.unsupported"),
        ("generic-grbl", "G21 G90 F100\nG2 X0 Y0 I-10 P4\n", 2, "arc.turns"),
        ("generic-grbl", "G21 G90 F600\nG1 X41.85 Y.03\nG3 X49.97 Y8.15 I0 J8.11\n", 3, "arc.radius_mismatch"),
        ("generic-grbl", "G21 G90\nG81 X1 Z-1 R1 F100\n", 2, "word.unsupported"),
        ("generic-grbl", "G21 G90\nG10 L20 P7 X0\n", 2, "offset.unknown"),
        ("generic-grbl", "G21 G90\nG92\n", 2, "motion.no_axes"),
        ("generic-grbl", "G21 G90\nS-100\n", 2, "spindle.range"),
        ("generic-grbl", "G21 G90\nG1 X1 Y F100\n", 2, "word.no_value"),
        ("generic-fluidnc", "G21 G90\nG28.2\n", 2, "word.unsupported"),
        ("linuxcnc-mill", "G21 G90 F100\nG2 X1 Y1\n", 2, "arc.no_center"),
        ("voron-350", "G28\nG91\nG2 X5 Y5 I2 J0 F600\n", 3, "word.conflict"),
        ("voron-350", "G28\nSET_VELOCITY_LIMIT ACCEL=0\n", 2, "word.out_of_range"),
        ("voron-350", "G28\nRESTORE_GCODE_STATE NAME=never\n", 2, "word.missing"),
        ("voron-350", "G28\nM221 S0\n", 2, "word.out_of_range"),
        ("voron-350", "G28\nG20\n", 2, "word.unsupported"),
        // Klipper homes no axis whose motors were let go.
        ("voron-350", "G28\nM84\nG1 X5 F600\n", 3, "home.missing"),
        // It ends a print at a cold retraction too.
        ("voron-350", "G28\nG1 E-2 F1800\nM109 S210\n", 2, "heat.cold_extrusion"),
    ] {
        let found = errors(program, machine);
        assert!(found.iter().any(|(at, _)| *at == line), "{machine}: {program}: {found:?}");
        assert!(found.contains(&(line, code)), "{machine}: {program}: {found:?}, not {code}");
    }
}

#[test]
fn a_printer_passes_over_lines_whose_first_word_is_no_code() {
    for program in ["G28\nX10 Y10\n", "G28\nF1800 S100\n", "G28\nX5 T0\n", "G28\nR10\n", "G28\nE\n"] {
        let found = found(program, "generic-marlin", 2);
        assert!(found.contains(&(Severity::Warning, "motion.modal")), "{program}: {found:?}");
    }
    assert_eq!(found("G28\nN5 G1 X5 F600\n", "generic-marlin", 2), []);
}

fn max(program: &str, name: &str) -> [f64; 3] {
    let info = info(program, name);
    let all = [info.bounds_mm, info.travel_bounds_mm];
    let corners = all.into_iter().flatten().map(|bounds| bounds.max);
    corners.fold([f64::NEG_INFINITY; 3], |most, max| std::array::from_fn(|axis| most[axis].max(max[axis])))
}

#[test]
fn words_that_move_the_zero_are_followed() {
    let near = |program: &str, name: &str, right: [f64; 3]| {
        let ours = max(program, name);
        let same = (0..3).all(|axis| (ours[axis] - right[axis]).abs() < 0.01);
        assert!(same, "{name}: {program}: {ours:?}, not {right:?}");
    };
    // G92 copies of one part (Candle#335), and a position that is set, not added (OctoPrint#1906).
    near("G21 G90\nG0 X10\nG92 X0\nG1 X10 F100\nG92 X0\nG1 X10\n", "-", [30.0, 0.0, 0.0]);
    near("G28\nG1 Z1 F300\nG92 Z1.52\nG1 Z5\n", "generic-marlin", [0.0, 0.0, 4.48]);
    near("G21 G90\nG52 X10\nG1 X5 F100\nG52 X0\nG1 X7\n", "linuxcnc-mill", [15.0, 0.0, 0.0]);
    near("G21 G90\nG92 X-10\nG1 X0 F100\nG92.1\nG1 X3\n", "linuxcnc-mill", [10.0, 0.0, 0.0]);
    near("G21 G90\nG10 L2 P2 X100\nG55\nG1 X5 F100\nG54\nG1 X9\n", "linuxcnc-mill", [105.0, 0.0, 0.0]);
    near("G21 G90\nG43.1 Z10\nG1 Z5 F100\n", "generic-grbl", [0.0, 0.0, 15.0]);
    // A saved state in a saved state; an offset that is adjusted, and one that moves at once.
    near(
        "G28\nSAVE_GCODE_STATE NAME=a\nG91\nSAVE_GCODE_STATE NAME=b\nG90\nRESTORE_GCODE_STATE NAME=b\nG1 X5 F600\nG1 X5\n\
         RESTORE_GCODE_STATE NAME=a\nG1 X20\n",
        "voron-350",
        [20.0, 0.0, 0.0],
    );
    near("G28\nSET_GCODE_OFFSET Z=0.1\nSET_GCODE_OFFSET Z_ADJUST=0.1\nG1 Z1 F300\n", "voron-350", [0.0, 0.0, 1.2]);
    near("G28\nG1 X10 F600\nSET_GCODE_OFFSET X=5 MOVE=1\n", "voron-350", [15.0, 0.0, 0.0]);
    near("G28\nG91\nM120\nG90\nG1 X10 F600\nM121\nG1 X10\n", "jubilee", [20.0, 0.0, 0.0]);
    near("G28\nG1 X10 Y20 F600\nG60 S1\nG1 X0 Y0\nG61 X S1 F600\n", "generic-marlin", [10.0, 20.0, 0.0]);
    // An arc in another plane (cncjs-shopfloor-tablet#36).
    near(
        "G21 G90 G17\nG0 X146.905 Y0.418\nG0 Z0.435\nG18 G3 X146.27 Z-0.2 I-0.635 K0 F1000\nG1 X142.986\nG17\n",
        "-",
        [146.905, 0.418, 0.435],
    );
    near("G21 G90\nG1 X1 F100\nG91\nG53 G0 X20\nG1 X5\n", "linuxcnc-mill", [25.0, 0.0, 0.0]);
    near("G21 G90 G7\nG1 X20 F100\nG8\n", "linuxcnc-mill", [10.0, 0.0, 0.0]);
    near("G21 G90 F100\nG1 X10\nG2 X10 Y0 I-5 J0 Z-3 P3\n", "linuxcnc-mill", [10.0, 5.0, 0.0]);
    near("G28\nM83\nG68 X0 Y0 R90\nG1 X10 F600\nG69\n", "jubilee", [0.0, 10.0, 0.0]);
}

#[test]
fn heat_is_judged_by_what_the_nozzle_can_be() {
    for (machine, program, right) in [
        // The other tool is cold; it is heated by its own word; it was switched off by the loop's end.
        (
            "jubilee",
            "G28\nM83\nT0\nG10 P0 S210\nM116 P0\nG1 X9 E1 F300\nT1\nG1 X5 E1\n",
            vec![(8, "heat.cold_extrusion")],
        ),
        ("jubilee", "G28\nM83\nM568 P1 S210\nT1\nM116\nG1 X5 E1 F300\nM568 P1 S0\n", vec![]),
        (
            "voron-350",
            "G28\nM83\nSET_HEATER_TEMPERATURE HEATER=extruder TARGET=210\nTEMPERATURE_WAIT SENSOR=extruder \
          MINIMUM=205\nG1 X5 E1 F300\nTURN_OFF_HEATERS\n",
            vec![],
        ),
        ("voron-350", "G28\nM83\nPRINT_START EXTRUDER=210 BED=60\nG1 X5 E1 F300\n", vec![]),
        ("generic-marlin", "G28\nM83\nM109 S210\nG1 X5 E1 F300\nM109 S0\nG1 E-2 F1800\n", vec![]),
        ("generic-marlin", "G28\nM83\nM104 S0\nG1 X5 E1 F300\n", vec![(4, "heat.cold_extrusion")]),
        ("generic-marlin", "G28\nM83\nM302 S0\nG1 X5 E1 F300\nM104 S0\n", vec![(3, "safety.off")]),
    ] {
        assert_eq!(errors(program, machine), right, "{machine}: {program}");
    }
}

#[test]
fn nothing_waited_for_the_nozzle_before_filament_was_pushed() {
    // Slic3r#49, PrusaSlicer#199 and #3033: M104 and a prime line.
    let prime =
        |heat: &str, end: &str| format!("{heat}\nG28\nM83\nG1 X10 Y10 Z0.3 F3000\nG1 X60 E20 F600\n{end}\nM104 S0\n");
    let found_at =
        |heat: &str, end: &str| found(&prime(heat, end), "generic-marlin", 5 + heat.matches('\n').count() as u64);
    let told = |heat: &str| found_at(heat, "M109 S250");
    assert_eq!(told("M104 S250"), [(Severity::Warning, "heat.not_awaited")]);
    assert_eq!(found_at("M104 S250", "M84"), [], "a program that never waits is made for a hot nozzle");
    assert_eq!(told("M109 S250"), []);
    assert_eq!(told("M104 S250\nM109 S250"), []);
    // A first layer that was hotter.
    assert_eq!(told("M109 S250\nM104 S240"), []);
    // Its own start code may wait.
    assert_eq!(found("M104 S250\nPRINT_START\nG28\nM83\nG1 X60 E20 F600\nM109 S250\n", "voron-350", 5), []);
    // A change of tools may.
    assert_eq!(found("G28\nG10 P0 S210\nT0\nM83\nG1 X60 E20 F600\n", "jubilee", 5), []);
}

#[test]
fn layers_are_the_slicers_or_the_heights() {
    for (program, layers) in [
        ("; generated by Slic3r 1.3.0\nG28\nM83\nG1 Z0.2 F300\nG1 X5 E1\nG1 Z0.4\nG1 X9 E1\n", 2),
        // Lifts between retraction and travel are no layers (Printrun#174).
        ("G28\nM83\nG1 Z0.2 F300\nG1 X5 E1\nG1 Z0.7\nG1 X20\nG1 Z0.2\nG1 X25 E1\nG1 Z0.4\nG1 X9 E1\n", 2),
        (";LAYER:0\nG28\nM83\nG1 Z0.2 F300\nG1 X5 E1\n;LAYER:1\nG1 Z0.4\nG1 X9 E1\n;LAYER:2\nG1 Z0.6\nG1 X5 E1\n", 3),
        ("; CHANGE_LAYER\n; Z_HEIGHT: 0.2\nM83\nG1 Z0.2 F300\nG1 X5 E1\n; CHANGE_LAYER\nG1 Z0.4\nG1 X9 E1\n", 2),
        ("; layer 1, Z = 0.200\nM83\nG1 Z0.2 F300\nG1 X5 E1\n; layer 2, Z = 0.400\nG1 Z0.4\nG1 X9 E1\n", 2),
    ] {
        assert_eq!(info(program, "-").layers, layers, "{program}");
    }
}

#[test]
fn what_programs_say_of_themselves_is_read() {
    let slicer = |text: &str| info(&format!("{text}\nG21\nG1 X1 F1\n"), "-").slicer.unwrap();
    let estlcam =
        slicer("(Project part)\n(Created by Estlcam version 11 build 11.244)\n(Machining time about 01:02:03 hours)");
    assert_eq!((estlcam.name.as_deref(), estlcam.time_s), (Some("Estlcam"), Some(3723.0)));
    let long =
        slicer("; generated by PrusaSlicer 2.7.1 on 2026\n; estimated printing time (normal mode) = 1d 2h 3m 4s");
    assert_eq!(long.time_s, Some(93_784.0));
    for (text, name) in [
        ("EXCLUDE_OBJECT_DEFINE NAME=cube_id_0_copy_0 CENTER=1,1", "cube_id_0_copy_0"),
        ("M486 S0 A\"cube\"", "cube"),
        ("; printing object cube.stl id:0 copy 0", "cube.stl"),
        (";MESH:cube.stl", "cube.stl"),
    ] {
        let program = format!("G28\n{text}\nM83\nG1 X1 E1 F300\n");
        let objects = info(&program, "-").slicer.map(|slicer| slicer.objects).unwrap_or_default();
        assert_eq!(objects, [name], "{text}");
    }
}

#[test]
fn more_that_firmwares_refuse() {
    for (before, line, number) in [
        // An arc whose centre is 27 km away (grbl/grbl#817): Grbl's own numbers have 24 bits, and lose the radius.
        ("G21 G90 F600\nG1 X34.431 Y97.611", "G02 X42.057 Y10.446 Z-0.4 I-27059770.111 J-2367507.587", 33),
        // ArtCAM without a feed (gnea/grbl#1087), and half of a number (winder/Universal-G-Code-Sender#1181).
        ("G21 G90", "N706 G3 X15.266 Y-11.604 I-4.768 J.602", 22),
        ("G21 G90", "0S30", 1),
        // vlachoudis/bCNC#303.
        ("", "G21 G90 G64 G40", 20),
        ("G21 G90", "T3 M6", 20),
    ] {
        let name = "generic-grbl";
        let mut state = State::of_profile(&profile(name));
        let mut rules = Rules::of(Firmware::Grbl);
        for line in before.lines() {
            assert_eq!(rules.answer_at(line.as_bytes(), Some(&state)), Ok(()), "{line}");
            state.execute(1, &Statement::of(&Block::new(line.as_bytes())), &mut Unwatched);
        }
        let refusal = rules.answer_at(line.as_bytes(), Some(&state)).expect_err(line);
        assert_eq!(refusal.number(), Some(number), "{line}");
        let program = format!("{before}\n{line}\nM30\n");
        let at = before.lines().count().max(1) as u64 + 1;
        assert!(errors(&program, name).iter().any(|(line, _)| *line == at), "{line}: {:?}", errors(&program, name));
    }
    // A sender that numbers every line numbered the last one too (grblHAL/core#328). This agent says neither number nor `%`.
    let refusal = Rules::of(Firmware::GrblHal).answer(b"N1000%").unwrap_err();
    assert_eq!(refusal.number(), Some(1));
    assert_eq!(errors("%\nG21 G90\nG0 X1\nM2\nN1000%\n", "generic-grblhal"), []);
    // FreeCAD writes K0 with each arc (FreeCAD/FreeCAD#17079): Grbl takes it, and LinuxCNC does not.
    let arc = "G21 G90\nM3 S1000\nG1 X10 F600\nG2 X20 Y10 I0 J10 K0.000\nM5\nM2\n";
    assert_eq!(errors(arc, "generic-grbl"), []);
    assert_eq!(errors(arc, "linuxcnc-mill"), [(4, "word.unused")]);
}

#[test]
fn more_words_that_move_the_zero_or_keep_the_motion() {
    // pcb2gcode's dwell of no time between two moves (chilipeppr/tinyg#33).
    assert_eq!(max("G21 G90\nG0 X0 Y0\nG1 Z-1 F100\nG4 P0\nX10 Y0\nX10 Y10\n", "generic-grbl"), [10.0, 10.0, 0.0]);
    // Bambu Studio's and Smoothieware's end of a shift (xyz-tools/gcode-preview#424).
    let shifted = "G28\nG1 X10 Z1 F600\nG92 X0\nG1 X5\nG92.1\nG1 X12\n";
    assert_eq!(max(shifted, "generic-marlin"), [15.0, 0.0, 1.0]);
    assert_eq!(max(shifted, "generic-marlin/smoothieware"), [15.0, 0.0, 1.0]);
    // A bare G92 makes every axis zero to Klipper, and says nothing to Marlin.
    let bare = "G28\nG1 X10 Z1 F600\nG92\nG1 X5\n";
    assert_eq!(max(bare, "voron-350")[0], 15.0);
    assert_eq!(max(bare, "generic-marlin")[0], 10.0);
    // The offset of a hot end leads the nozzle to the same place (OctoPrint#1122).
    assert_eq!(max("G28\nM218 T1 X20\nT1\nG1 X30 Z1 F600\n", "generic-marlin"), [30.0, 0.0, 1.0]);
}

#[test]
fn more_prints_that_are_cold_and_prints_that_are_not() {
    for (machine, program, right) in [
        // Only the second tool is used (Klipper3d/klipper#519).
        ("jubilee", "G28\nM83\nM104 T1 S210\nT1\nM109 S210\nG1 Z1 F600\nG1 X50 E1\nM104 S0\n", vec![]),
        // Warm for homing, then hot (bootuz-dinamon/ender3-v3-se-full-klipper#2).
        (
            "voron-350",
            "G90\nM83\nM104 S150\nM140 S60\nG4 P30000\nG28\nM104 S220\nM190 S60\nM109 S220\nG1 X9 Z1 F600\nG1 X50 E1\n\
             TURN_OFF_HEATERS\n",
            vec![],
        ),
        // The nozzle is waited for, and too cold for this plastic's firmware (mriscoc/Ender3V2S1#809).
        ("ender3", "G28\nM83\nM109 S165\nG1 X50 Z1 E1 F600\nM104 S0\n", vec![(4, "heat.cold_extrusion")]),
    ] {
        assert_eq!(errors(program, machine), right, "{machine}: {program}");
    }
    // Only the bed is heated (prusa3d/PrusaSlicer#2777): whoever starts it may have heated the nozzle, and is told.
    let bed = found("M190 S60\nG28\nM83\nG1 Z0.2 F600\nG1 X50 E1\nM140 S0\n", "ender3", 5);
    assert_eq!(bed, [(Severity::Warning, "heat.cold_extrusion")]);
}

#[test]
fn more_that_programs_say_of_themselves() {
    let slicer = |text: &str| info(&format!("{text}\nG21\nG28\nG1 X1 F100\n"), "-").slicer.unwrap();
    // Arksine/moonraker#773.
    let creality = slicer(
        ";FLAVOR:Marlin\n;TIME:1720.57\n;Filament used:4.98355m\n;Layer Height:0.2\n;MINX:36.127\n;MAXZ:9.6\n\
         ;OuterWall Time:632.549\n;;;;;;;;\n;Creality Print GCode Generated by CXEngine\n;CRSLICE_GIT_HASH:6b8d75d\n\
         ;Creality Print Version : V4.3.7.6619\n;Machine Name:K1 Max",
    );
    assert_eq!((creality.name.as_deref(), creality.version.as_deref()), (Some("Creality Print"), Some("4.3.7.6619")));
    assert_eq!((creality.time_s, creality.layer_height_mm), (Some(1720.57), Some(0.2)));
    assert!((creality.filament_mm[0] - 4983.55).abs() < 0.01);
    // Arksine/moonraker#966.
    let creality = slicer(
        "; HEADER_BLOCK_START\n; generated by Creality_Print 6.0.1.1574 on 2025-02-21 at 10:11:12\n; total layer number: 25\n\
         ; filament used [mm] = 506.97\n; total filament used [g] = 1.51\n; estimated printing time (normal mode) = 20m 5s",
    );
    assert_eq!((creality.name.as_deref(), creality.version.as_deref()), (Some("Creality Print"), Some("6.0.1.1574")));
    assert_eq!((creality.time_s, creality.layers, creality.filament_g[0]), (Some(1205.0), Some(25), 1.51));
    // Duet3D/RepRapFirmware#151.
    let ideamaker = slicer(
        ";Sliced by ideaMaker 3.0.5.1438, 2018-01-02 15:48:43 UTC+0100\n;Material#1 Used: 868.0\n;Material#2 Used: 0.0",
    );
    assert_eq!((ideamaker.name.as_deref(), ideamaker.version.as_deref()), (Some("ideaMaker"), Some("3.0.5.1438")));
    assert_eq!(ideamaker.filament_mm, [868.0], "the second tool has nothing to do");
    // Kin of PrusaSlicer that nobody named (Arksine/moonraker, `metadata.py`).
    for (name, version) in [("QIDISlicer", "1.1.8"), ("A3dp-Slicer", "2.4.60"), ("SliCR-3D", "1.2.0")] {
        let kin =
            slicer(&format!("; generated by {name} {version} on 2024-05-06 at 10:11:12\n; filament used [mm] = 12.5"));
        assert_eq!((kin.name.as_deref(), kin.version.as_deref()), (Some(name), Some(version)));
        assert_eq!(kin.filament_mm, [12.5]);
    }
}

struct Unwatched;

impl Watch for Unwatched {}
