//! Faults that must be found, where they are, and good programs that must pass.

use super::*;

mod place;

fn profile(name: &str) -> Profile {
    Profile::named(name).unwrap()
}

/// What is found as (line, column, code), errors and warnings alike.
fn found(profile_name: &str, program: &str) -> Vec<(u64, u32, &'static str)> {
    let verdict = check(program.as_bytes(), &profile(profile_name));
    verdict.findings.iter().map(|finding| (finding.line, finding.column, finding.code)).collect()
}

fn has(profile_name: &str, program: &str, line: u64, code: &str) {
    let found = found(profile_name, program);
    assert!(found.iter().any(|finding| finding.0 == line && finding.2 == code), "{code} on line {line}: {found:?}");
}

const START: &str = "G21\nG90\nM83\nG28\nM109 S210\n";

#[test]
fn a_good_print_passes_without_a_word() {
    let program = format!("{START}G1 X10 Y10 Z0.2 F6000\nG1 X50 E2 F1200\nM104 S0\nM140 S0\n");
    assert_eq!(found("generic-printer", &program), []);
}

#[test]
fn a_good_cut_passes_without_a_word() {
    let program = "G21 G90 G54\nM3 S10000\nG0 Z5\nG0 X10 Y10\nG1 Z-1 F200\nG2 X20 Y10 I5 J0 F600\nG0 Z5\nM5\nM30\n";
    assert_eq!(found("generic-grbl-mill", program), []);
}

#[test]
fn every_way_out_of_the_envelope_is_found_with_its_column() {
    let program = format!("{START}G1 X100 Y200.1 F3000\nG1 Y100 Z200.1\nG2 X100 Y100 I99 J90\nG91\nG1 X-300\n");
    let outside: Vec<(u64, u32)> = found("generic-printer", &program)
        .into_iter()
        .filter(|finding| finding.2 == "envelope.outside")
        .map(|finding| (finding.0, finding.1))
        .collect();
    assert_eq!(outside[..2], [(6, 9), (7, 9)]);
    assert!(outside.iter().any(|place| place.0 == 8) && outside.iter().any(|place| place.0 == 10), "{outside:?}");
}

#[test]
fn a_known_work_offset_is_used_and_an_unknown_one_is_said() {
    let mill = profile("grbl-mill-3018");
    let program = b"G21 G90\nM3 S1000\nG0 X50 Y50 Z5\nM5\nM30\n";
    let assumed = check(&program[..], &mill);
    assert!(assumed.passes() && assumed.offsets == "assumed");
    let near_edge = Conditions { work_offset_mm: Some([-20.0, -100.0, -20.0]), homed: true, ..Conditions::default() };
    let known = check_with(&program[..], &mill, &near_edge);
    assert_eq!((known.passes(), known.offsets, known.findings[0].code), (false, "known", "envelope.outside"));
    has("grbl-mill-3018", "G21 G90\nG0 X-10\nG0 X400\nM2\n", 3, "envelope.too_large");
}

#[test]
fn heat_is_checked_before_filament_moves() {
    has("generic-printer", "G28\nG1 X5 E1 F300\nM109 S200\nM104 S0\n", 2, "heat.cold_extrusion");
    has("generic-printer", "M104 S400\n", 1, "heat.too_hot");
    has("generic-grbl-mill", "G21 G90\nM3 S1000\nG1 X1 F60\nG1 X2.0", 0, "file.truncated");
    has("generic-printer", &format!("{START}G1 X1 E1 F60\n"), 0, "heat.left_on");
    let never_heated = check(&b"G28\nM83\nG1 X5 E1 F300\n"[..], &profile("generic-printer"));
    assert!(never_heated.passes(), "a program that leaves heating to others is warned of: {never_heated:?}");
}

#[test]
fn what_a_laser_and_a_mill_must_not_do_is_found() {
    has("grbl-laser-400", "G21\nM3 S100\nG1 X1 F100\nM5\nM2\n", 2, "laser.constant_power");
    has("grbl-laser-400", "G21\nM4 S2000\nM2\n", 2, "spindle.range");
    has("generic-grbl-mill", "G21\nG1 Z-1 F100\nM3 S1000\nM2\n", 2, "spindle.off");
    has("generic-grbl-mill", "G21\nM3 S1000\nG0 Z-1\nG0 X5\nM2\n", 4, "motion.rapid_in_material");
    has("generic-grbl-mill", "G21 M3 S1\nG1 X5\nM2\n", 2, "feed.missing");
    has("generic-grbl-mill", "G21 M3 S1\nG93 G1 X5 F1\nX6\nM2\n", 3, "feed.missing");
}

#[test]
fn a_program_that_was_written_to_the_card_or_halted_the_machine_passed() {
    for (program, code) in [
        ("M28 part.gco\nG1 X1 F600\nM29\n", "program.card"),
        ("M32 !part.gco#\n", "program.card"),
        ("M23 part.gco\nM24\n", "program.card"),
        ("G1 X1 F600\nM112\n", "program.halts"),
    ] {
        let line = if program.contains("\nM24") || program.contains("\nM112") { 2 } else { 1 };
        has("generic-printer", program, line, code);
    }
    assert!(
        found("generic-printer", "M21\nM117 M112 and M28\n").is_empty(),
        "messages and a look at the card are fine"
    );
}

#[test]
fn words_of_another_firmware_and_settings_are_refused() {
    has("generic-grbl-mill", "G21\nT1 M6\n", 2, "word.unsupported");
    let mut by_person = profile("generic-grbl-mill");
    by_person.stream.tool_change = Some(crate::profile::ToolChange::Person);
    let refused =
        |program: &str| check(program.as_bytes(), &by_person).findings.iter().any(|it| it.code == "word.unsupported");
    assert!(!refused("G21\nT1 M6\n"), "the job waits there for a person");
    assert!(refused("G21\nM6 T1 G90\n"), "a line with more on it is sent as it is");
    has("generic-grbl-mill", "G21\n$110=5000\n", 2, "settings.write");
    has("generic-printer", "M500\n", 1, "settings.write");
    has("generic-printer", "M302 P1\n", 1, "safety.off");
    let mut allowed = profile("generic-printer");
    allowed.extra_words = vec!["M500".to_owned()];
    assert!(check(&b"M500\n"[..], &allowed).passes());
    has("prusa-mk3s", "T3\n", 1, "tool.unknown");
}

#[test]
fn two_commands_on_one_line_are_refused_where_the_firmware_runs_one() {
    let with = |dialect: &str, program: &str| {
        let mut profile = profile("generic-printer");
        dialect.clone_into(&mut profile.dialect);
        let found = check(format!("{START}{program}\nM104 S0\n").as_bytes(), &profile).findings;
        found.into_iter().find(|finding| finding.code == "line.several_commands").map(|it| (it.line, it.column))
    };
    for (program, column) in [
        ("M104 S200 M140 S60", 11),
        ("G90 G1 X50", 5),
        ("G90G1X50", 4),
        ("g1 x5 f600 g1 x6", 12),
        ("T0 G1 X5", 4),
        ("N7 G1 X5 M106 S255", 10),
        ("G1 X5 F600 M106 ; fan", 12),
        ("M82 G21 G90 G28 G1 X5 Y5 F3000 G1 X10 G1 Y10 G1 X5 M104 S0", 5),
    ] {
        for dialect in ["marlin", "repetier", "klipper"] {
            assert_eq!(with(dialect, program), Some((6, column)), "{dialect}: {program}");
        }
        for dialect in ["reprapfirmware", "smoothieware"] {
            assert_eq!(with(dialect, program), None, "{dialect}: {program}");
        }
    }
    for program in [
        "M104 T0 S200",
        "M117 G1 X5 M104",
        "M118 E1 G28 done",
        "G1 X5 ; then G1 Y5",
        "G53 G0 X0",
        "M810 G0 X0|G0 Y0",
        "M486 T12",
        "M600 T1",
        "M23 part_g1m2.gco",
        "M862.3 P \"MK3S\"",
        "N7 G1 X5",
    ] {
        assert_eq!(with("marlin", program), None, "{program}");
    }
    assert!(!found("generic-grbl-mill", "G21 G90 G54\n").iter().any(|it| it.2 == "line.several_commands"));
}

#[test]
fn text_faults_have_their_place() {
    let text = |program: &str, line, column, code| {
        let found = found("generic-grbl-mill", program);
        assert!(found.contains(&(line, column, code)), "{found:?}");
    };
    text("G21\nG1 X1 (a(b)) F1\n", 2, 7, "comment.nested");
    text("G21\nG1 X1 ) F1\n", 2, 7, "comment.stray_close");
    text("G21\nG1 X1\0Y2 F1\n", 2, 6, "text.control");
    text("G21\nG1 5 F1\n", 2, 4, "word.no_letter");
    text("N1 G21*99\n", 1, 7, "checksum.wrong");
    text("G21\nG1 X--5 F1\n", 2, 4, "number.invalid");
}

#[test]
fn findings_are_bounded_and_still_fail() {
    let mut program = START.to_owned();
    program.push_str(&"G1 X900 F600\nG1 X901\n".repeat(5_000));
    let verdict = check(program.as_bytes(), &profile("generic-printer"));
    assert!(!verdict.passes());
    assert!(verdict.findings.len() <= FINDINGS_MAX && verdict.findings_dropped > 9_000);
}

#[test]
fn a_file_that_breaks_off_is_told_from_one_without_a_last_newline() {
    let whole = format!("{START}G1 X5 E1 F1200\nM104 S0\nM140 S0");
    assert!(check(whole.as_bytes(), &profile("generic-printer")).passes());
    let cut = format!("; generated by PrusaSlicer 2.5.0 on 2026\n{START}G1 X5 E1 F12");
    has("generic-printer", &cut, 0, "file.truncated");
}

#[test]
fn a_print_cut_between_two_lines_is_told_by_its_slicers_end_mark() {
    let body = format!("{START}G1 X5 E1 F1200\nG1 X9 E1\n");
    for (head, end) in [
        ("; generated by PrusaSlicer 2.5.0 on 2026\n", "; filament used [mm] = 2\n; prusaslicer_config = end\n"),
        // As converted from a bgcode, which says its filament at the start too.
        (
            "; generated by PrusaSlicer 2.9.1 on 2026\n; filament used [mm] = 2\n",
            "; filament used [mm] = 2\n; prusaslicer_config = end\n",
        ),
        ("; generated by Slic3r 1.3.0 on 2026\n", "; filament used = 2.0mm (0.0cm3)\n"),
        (";Generated with Cura_SteamEngine 4.13.0\n;LAYER_COUNT:1\n;LAYER:0\n", ";End of Gcode\n"),
    ] {
        has("generic-printer", &format!("{head}{body}"), 0, "file.truncated");
        let whole = check(format!("{head}{body}{end}").as_bytes(), &profile("generic-printer"));
        assert!(whole.passes(), "left hot on purpose: {whole:?}");
        let rewritten = format!("{head}{body}").replace('\n', "\r\n");
        has("generic-printer", &rewritten, 0, "file.truncated");
        // PrusaSlicer never writes CRLF, so another program did; of the others CRLF says nothing.
        let edited = check(rewritten.as_bytes(), &profile("generic-printer"));
        assert_eq!(edited.passes(), head.contains("PrusaSlicer"), "{edited:?}");
        let stripped = check(format!("{head}{body}M104 S0\n").as_bytes(), &profile("generic-printer"));
        assert!(stripped.passes(), "without its comments, and cold: {stripped:?}");
    }
}

#[test]
fn every_tools_material_is_compared_and_unused_tools_are_not() {
    let mut jubilee = profile("jubilee");
    for tool in &mut jubilee.tools {
        tool.material = Some("PLA".to_owned());
    }
    let mismatches = |program: &str| {
        let verdict = check(program.as_bytes(), &jubilee);
        verdict.findings.iter().filter(|finding| finding.code == "material.mismatch").count()
    };
    assert_eq!(mismatches("T0\nT1\n; filament_type = PLA;PETG\n"), 1);
    assert_eq!(mismatches("T0\n; filament_type = PLA;PETG\n"), 0);
    assert_eq!(mismatches("G28\n; filament_type = PETG\n"), 1);
}

#[test]
fn klipper_is_warned_of_what_it_does_not_know() {
    has("voron-350", "G28\nM201 X1000\n", 2, "word.unsupported");
    assert!(check(&b"G28\nM201 X1000\n"[..], &profile("voron-350")).passes());
    let known = found("voron-350", "G28\nG90\nM83\nM204 S3000\nM117 hello\nM400\n");
    assert!(known.iter().all(|finding| finding.2 != "word.unsupported"), "{known:?}");
}

#[test]
fn no_program_is_refused_by_name() {
    let verdict = check(&b"\x89PNG\r\n\x1a\n"[..], &profile("generic-printer"));
    assert_eq!((verdict.readable, verdict.findings[0].code), (false, "file.not_gcode"));
    assert_eq!(check(&b""[..], &profile("generic-printer")).findings[0].code, "file.empty");
}

#[test]
fn a_letter_that_grbl_does_not_know_is_found_on_plain_lines_too() {
    let print = "G21 G90\nG1 X10 E0.5 F600\nM2\n";
    has("generic-grbl-mill", print, 2, "word.unsupported");
    assert_eq!(found("generic-grbl-mill", "G21 G90\nM3 S1000\nG1 X5 Q2 F100\nM2\n"), [(3, 7, "word.unsupported")]);
    assert!(!found("linuxcnc-mill", "G21 G90\nG1 X5 A2 F100\nM2\n").iter().any(|found| found.2 == "word.unsupported"));
}

#[test]
fn words_that_nothing_uses_are_found_where_grbl_refuses_them() {
    for (line, word) in [("G1 X1 L20 F100", "L"), ("G1 X1 R5 F100", "R"), ("G0 X1 P2", "P"), ("G1 X1 I4 F100", "I")] {
        let program = format!("G21 G90\n{line}\nM2\n");
        let verdict = check(program.as_bytes(), &profile("generic-grbl-mill"));
        let unused = verdict.findings.iter().find(|finding| finding.code == "word.unused");
        assert!(unused.is_some_and(|finding| finding.message.contains(&format!("`{word}`"))), "{line}: {verdict:?}");
    }
    let used = "G21 G90\nG10 L2 P1 X0\nG4 P0.5\nG2 X10 Y0 R5 F100\nX20 I5 J0\nM2\n";
    assert!(!found("generic-grbl-mill", used).iter().any(|finding| finding.2 == "word.unused"));
}

#[test]
fn two_codes_of_one_group_and_codes_without_their_axis_are_found() {
    has("generic-grbl-mill", "G21 G90\nG0 G1 X1 F100\nM2\n", 2, "word.conflict");
    has("linuxcnc-mill", "G20 G21\nM2\n", 1, "word.conflict");
    for profile in ["generic-grbl-mill", "linuxcnc-mill"] {
        has(profile, "G21 G90\nG38.2 F50\nM2\n", 2, "motion.no_axes");
        has(profile, "G21 G90\nG92\nM2\n", 2, "motion.no_axes");
    }
    // Printers: G92 alone sets every axis to zero.
    assert!(!found("generic-printer", "G92\nG28\nM84\n").iter().any(|finding| finding.2 == "motion.no_axes"));
}

#[test]
fn of_an_arc_the_furthest_point_is_told() {
    let program = format!("{START}G0 X10 Y120 F3000\nG3 X10 Y100 R-15 F1200\nM104 S0\n");
    let verdict = check(program.as_bytes(), &profile("generic-printer"));
    let outside = verdict.findings.iter().find(|finding| finding.code == "envelope.outside").unwrap();
    assert!(outside.message.starts_with("X reaches -16.180 mm"), "{}", outside.message);
}

#[test]
fn a_subroutine_inside_another_is_found_where_it_begins() {
    let program = "G21 G90\nO1 sub\nG0 X0\nO2 sub\nG0 Y0\nO2 endsub\nO1 endsub\nO1 call\nM30\n";
    has("linuxcnc-mill", program, 4, "program.flow");
}

#[test]
fn a_function_without_brackets_around_it_is_a_value() {
    let program = "G21 G90\n#1 = 30\nG0 X SIN[#1]\nG0 Y EXISTS[1]\nM2\n";
    let found = found("linuxcnc-mill", program);
    assert_eq!(found, [(4, 4, "number.unreadable")], "X is 0.5; EXISTS wants a name");
}

#[test]
fn a_coordinate_beyond_all_sense_is_told_on_one_line() {
    let program = format!("G28\nG1 X{} F100\n", "9".repeat(400));
    let verdict = check(program.as_bytes(), &Profile::named("ender3").unwrap());
    let outside = verdict.findings.iter().find(|finding| finding.code == "envelope.outside").unwrap();
    assert_eq!(outside.message, "X reaches 1.798e308 mm, above the machine's limit of 235 mm.");
}

#[test]
fn what_cannot_be_read_is_not_advised_twice() {
    let verdict = check(&b"\x1F\x8B\0\0"[..], &Profile::named("ender3").unwrap());
    assert_eq!(verdict.findings[0].help, "Nothing else of it was checked.");
    assert!(verdict.findings[0].message.ends_with("choose the right file."));
}

#[test]
fn a_long_line_of_letters_without_numbers_is_read_once_and_not_once_for_each_letter() {
    // Each letter looked at all letters behind it, and then at the whole line: three kilobytes took minutes.
    for unit in ["x", "X ", "X-", "G", "S", "T", "x sin", "X#"] {
        let line = unit.repeat(512 * 1024 / unit.len());
        for (name, family) in [("linuxcnc-mill", "G21 G90 F1"), ("prusa-mk3s", "G28")] {
            let verdict = check(format!("{family}\n{line}\n").as_bytes(), &profile(name));
            assert!(verdict.findings.iter().any(|finding| finding.line == 2), "{unit} {name}");
        }
    }
}

#[test]
fn what_the_drive_that_is_the_spindle_cannot_do_is_an_error() {
    let text = Profile::bundled().iter().find(|(name, _)| *name == "grbl-mill-3018").unwrap().1;
    let drive = "\n[[auxiliary]]\nname = 'vfd'\ndevice = 'h100'\nport = 'modbus-rtu:/dev/x'\nis_spindle = true\n\
                 [auxiliary.turn]\nmin_rpm = 6000\nmax_rpm = 9000\nreverse = []\n";
    let mill = Profile::parse(&format!("{text}{drive}")).unwrap();
    for (program, code) in [
        ("G21 G90\nM3 S9500\nM5\nM2\n", Some("spindle.range")),
        ("G21 G90\nM3 S3000\nM5\nM2\n", Some("spindle.range")),
        ("G21 G90\nM4 S8000\nM5\nM2\n", Some("spindle.direction")),
        ("G21 G90\nM3 S8000\nS0\nM5\nM2\n", None),
    ] {
        let verdict = check(program.as_bytes(), &mill);
        let errors: Vec<_> =
            verdict.findings.iter().filter(|it| it.severity == Severity::Error).map(|it| it.code).collect();
        assert_eq!(errors, code.into_iter().collect::<Vec<_>>(), "{program}");
    }
}
