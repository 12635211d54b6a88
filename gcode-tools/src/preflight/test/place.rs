//! Places: what a profile says of a machine's room is held against every move.

use super::*;

fn printer(rest: &str) -> Profile {
    let text = "name = 'p'\ntitle = 'P'\nkind = 'printer'\ndialect = 'marlin'\n\
                [envelope_mm]\nmin = [-5.0, -5.0, 0.0]\nmax = [235.0, 235.0, 250.0]\n\
                [heat]\ntool_max_c = 260.0\ntool_trip_c = 275.0\nbed_max_c = 100.0\n";
    Profile::parse(&format!("{text}{rest}")).unwrap()
}

/// Codes and severities of what is found.
fn on(profile: &Profile, program: &str) -> Vec<(u64, &'static str, Severity)> {
    let verdict = check(format!("G28\nM109 S210\nM83\n{program}M104 S0\n").as_bytes(), profile);
    let found = verdict.findings.iter().map(|finding| (finding.line, finding.code, finding.severity));
    found.filter(|(_, code, _)| *code != "heat.left_on").collect()
}

#[test]
fn a_corner_of_a_round_bed_passed() {
    let text = "name = 'd'\ntitle = 'D'\nkind = 'printer'\ndialect = 'marlin'\n[heat]\ntool_max_c = 260.0\n\
                [envelope_mm]\nmin = [-130.0, -130.0, 0.0]\nmax = [130.0, 130.0, 370.0]\nradius = 130.0\n";
    let delta = Profile::parse(text).unwrap();
    assert_eq!(on(&delta, "G1 X128 Y128 Z1 F600\n"), [(4, "envelope.outside", Severity::Error)]);
    assert_eq!(on(&delta, "G1 X91 Y91 Z1 F600\nG1 X-129 Y0\n"), []);
    // A circle whose ends and quarters are all inside, and whose side bulges out between them.
    assert_eq!(on(&delta, "G1 X80 Y80 Z1 F600\nG2 X80 Y80 I0 J-5\n"), []);
    assert_eq!(on(&delta, "G1 X75 Y100 Z1 F600\nG2 X100 Y75 I0 J-25\n"), [(5, "envelope.outside", Severity::Error)]);
}

#[test]
fn plastic_beside_the_bed_and_below_its_lowest_height_passed() {
    let bed = "[bed]\nrectangle_mm = { min = [0.0, 0.0], max = [220.0, 220.0] }\nz_min_mm = 0.15\nz_max_mm = 240.0\n";
    let printer = printer(bed);
    let outside = [(4, "bed.outside", Severity::Error)];
    assert_eq!(on(&printer, "G1 X228 Y100 Z1 E1 F600\n"), outside);
    assert_eq!(on(&printer, "G1 X228 Y100 Z1 F600\nG1 X100\n"), [], "the nozzle may go there");
    assert_eq!(on(&printer, "G1 X100 Y100 Z0.1 E1 F600\n"), [(4, "bed.height", Severity::Error)]);
    assert_eq!(on(&printer, "G1 X100 Y100 Z245 E1 F600\n"), [(4, "bed.height", Severity::Error)]);
    let primed = "G1 X-2 Y100 Z1 E1 F600\n;LAYER:0\nG1 X10\nG1 X100 Y100 E1\n";
    assert_eq!(on(&printer, primed), [(4, "bed.outside", Severity::Warning)], "the nozzle is primed at the edge");
    let printed = ";LAYER_COUNT:9\n;LAYER:0\nG1 X100 Y100 Z1 F600\nG1 X228 E1\n";
    assert_eq!(on(&printer, printed), [(7, "bed.outside", Severity::Error)]);
}

#[test]
fn a_way_through_a_place_to_keep_out_of_passed() {
    let dock = "[[keep_out]]\nname = 'dock'\nmin_mm = [100.0, 200.0]\nmax_mm = [150.0, 235.0]\nbelow_z_mm = 50.0\n";
    let printer = printer(dock);
    let entered = [(5, "keep_out.entered", Severity::Error)];
    assert_eq!(on(&printer, "G1 X50 Y210 Z1 F600\nG1 X200\n"), entered, "both ends are outside of it");
    assert_eq!(on(&printer, "G1 X50 Y210 Z60 F600\nG1 X200\n"), [], "it passes above");
    assert_eq!(on(&printer, "G1 X90 Y190 Z1 F600\nG2 X160 Y190 I35 J0\n"), entered, "an arc around into it");
}

#[test]
fn what_can_be_set_is_less_than_where_it_shuts_down() {
    let verdict = check(&b"G28\nM104 S265\nM104 S0\n"[..], &printer(""));
    assert!(!verdict.passes() && verdict.findings[0].message.contains("shuts down at 275"), "{verdict:?}");
    let hot = printer("[[tools]]\nnumber = 0\n[[tools]]\nnumber = 1\nmax_c = 300.0\n");
    assert!(check(&b"M104 T1 S290\nM104 T1 S0\n"[..], &hot).passes(), "this hot end takes more");
    assert!(!check(&b"M104 T0 S290\nM104 T0 S0\n"[..], &hot).passes());
}

#[test]
fn a_tool_beside_another_reaches_other_places() {
    let two = printer("[[tools]]\nnumber = 0\n[[tools]]\nnumber = 1\noffset_mm = [25.0, 0.0, 0.0]\n");
    assert_eq!(on(&two, "T0\nG1 X0 Z1 F600\nG1 X235\n"), []);
    assert_eq!(
        on(&two, "T1\nG1 X10 Z1 F600\n"),
        [(5, "envelope.outside", Severity::Error)],
        "the carriage would be at -15"
    );
    assert_eq!(on(&two, "T1\nG1 X250 Z1 F600\nT0\nG1 X240\n"), [(7, "envelope.outside", Severity::Error)]);
}

#[test]
fn arcs_passed_on_a_machine_without_any() {
    let none = printer("[motion]\narcs = false\n");
    let arcs = "G1 X50 Y50 Z1 F600\nG2 X60 Y50 I5 J0\nG3 X50 Y50 I-5 J0\n";
    assert_eq!(on(&none, arcs), [(5, "arc.unsupported", Severity::Error)], "once is enough");
    assert_eq!(on(&printer("[motion]\narcs = true\n"), arcs), []);
    let mut klipper = printer("");
    klipper.dialect = "klipper".to_owned();
    assert_eq!(on(&klipper, arcs), [(5, "arc.unsupported", Severity::Warning)], "whether it has them nobody knows");
}

#[test]
fn what_s_means_is_the_machines_own() {
    let mill = |rest: &str| {
        let text = "name = 'm'\ntitle = 'M'\nkind = 'mill'\ndialect = 'grbl'\n[spindle]\nmin_rpm = 5000.0\nmax_rpm = 30000.0\n";
        Profile::parse(&format!("{text}{rest}")).unwrap()
    };
    let found = |profile: &Profile, program: &str| {
        let verdict = check(format!("G21\n{program}\nM5\nM2\n").as_bytes(), profile);
        verdict.findings.iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(found(&mill(""), "M3 S1000"), ["spindle.range"]);
    assert_eq!(found(&mill("s_means = 'share'\ns_max = 1000.0\n"), "M3 S500"), [""; 0]);
    assert_eq!(found(&mill("s_means = 'share'\ns_max = 1000.0\n"), "M3 S12000"), ["spindle.range"]);
    assert_eq!(found(&mill("s_means = 'by_hand'\n"), "M3"), [""; 0]);
    assert_eq!(found(&mill("s_means = 'by_hand'\n"), "M3 S12000"), ["spindle.by_hand"]);
    assert!(Profile::parse("name = 'm'\ntitle = 'M'\nkind = 'mill'\ndialect = 'grbl'\n[spindle]\nmin_rpm = 0.0\nmax_rpm = 1.0\ns_means = 'share'\n").is_err());
    let mut laser = profile("grbl-laser-400");
    laser.laser.as_mut().unwrap().s_max = 1.0;
    let verdict = check(&b"G21\nM4 S500\nM5\nM2\n"[..], &laser);
    assert!(!verdict.passes(), "S500 where full power is S1: {verdict:?}");
}

#[test]
fn a_line_may_be_no_longer_than_the_machine_takes() {
    let short = printer("[stream]\nline_bytes_max = 60\n");
    let line = "G1 X100.12345 Y100.12345 Z10.12345 E1.12345 F1200.12345 ; long";
    assert!(on(&short, &format!("{line}0000000\n")).is_empty(), "spaces and comments are not sent");
    let longer = line.replace("F1200.12345", "F1200.12345678901234567");
    assert_eq!(on(&short, &format!("{longer}\n")), [(4, "line.too_long", Severity::Error)]);
}

#[test]
fn parts_made_one_by_one_need_room() {
    let close = printer("[clearance]\nradius_mm = 45.0\nheight_mm = 20.0\n");
    let part = |height: u32| {
        format!("G1 X50 Y50 Z0.2 E1 F600\nG1 X60 Z{height} E1\nG1 Z40\nG1 X150 Y50\nG1 Z0.2\nG1 X160 E1\n")
    };
    assert_eq!(on(&close, &part(30)), [(9, "clearance.height", Severity::Warning)]);
    assert_eq!(on(&close, &part(10)), []);
}

const MILL: &str = "name = 'm'\ntitle = 'M'\nkind = 'mill'\ndialect = 'grbl'\n[spindle]\nmin_rpm = 0.0\nmax_rpm = 24000.0\n\
                    [envelope_mm]\nmin = [-260.0, -155.0, -35.0]\nmax = [0.0, 0.0, 0.0]\n\
                    [motion]\nfeed_max_mm_min = [1000.0, 1000.0, 1000.0, 1.0]\n";

fn asked(conditions: &Conditions, program: &str) -> Vec<(u64, &'static str)> {
    let profile = Profile::parse(MILL).unwrap();
    let program = format!("G21 G90\nM3 S1000\n{program}\nM5\nM2\n");
    let verdict = check_with(program.as_bytes(), &profile, conditions);
    verdict.findings.iter().map(|finding| (finding.line, finding.code)).collect()
}

#[test]
fn a_program_was_checked_at_a_zero_that_nobody_had_set() {
    let nothing = Conditions { asked: true, ..Conditions::default() };
    assert_eq!(asked(&nothing, "G1 X200 F600"), [(0, "place.unchecked")], "its size fits, its place nobody knows");
    assert_eq!(asked(&nothing, "G1 X290 F600"), [(0, "place.unchecked"), (3, "envelope.too_large")]);
    let offset = Some([-260.0, -155.0, -10.0]);
    let known = Conditions { work_offset_mm: offset, homed: true, ..nothing.clone() };
    assert_eq!(asked(&known, "G1 X200 F600\nG1 Z5"), []);
    assert_eq!(asked(&known, "G1 X200 F600\nG1 Z12"), [(4, "envelope.outside")]);
    let unhomed = Conditions { work_offset_mm: offset, ..nothing };
    assert_eq!(asked(&unhomed, "G1 X200 F600\nG1 Z12"), [(0, "place.unchecked")], "its own zero is anywhere");
}

#[test]
fn each_work_offset_the_shift_and_the_codes_in_force_count() {
    let mut conditions = Conditions { asked: true, homed: true, ..Conditions::default() };
    conditions.work_offset_mm = Some([-260.0, -155.0, -10.0]);
    conditions.work_offsets_mm[0] = Some([-260.0, -155.0, -10.0]);
    conditions.work_offsets_mm[1] = Some([-50.0, -155.0, -10.0]);
    assert_eq!(asked(&conditions, "G1 X100 F600"), []);
    assert_eq!(asked(&conditions, "G55\nG1 X100 F600"), [(4, "envelope.outside")], "G55 lies elsewhere");
    assert_eq!(asked(&conditions, "G56\nG1 X100 F600"), [(0, "place.unchecked")], "of G56 nothing is known");
    conditions.codes = "G0 G55 G17 G21 G90 G94 M5 M9 T0 F0 S0".to_owned();
    conditions.work_offset_mm = Some([-50.0, -155.0, -10.0]);
    assert_eq!(asked(&conditions, "G1 X100 F600"), [(3, "envelope.outside")], "G55 is in force");
    assert_eq!(asked(&conditions, "G54\nG1 X100 F600"), []);
    conditions.codes = "G54".to_owned();
    (conditions.work_offset_mm, conditions.shift_mm) = (Some([-160.0, -155.0, -10.0]), Some([100.0, 0.0, 0.0]));
    assert_eq!(asked(&conditions, "G1 X150 F600"), [], "-10");
    assert_eq!(asked(&conditions, "G1 X161 F600"), [(3, "envelope.outside")], "G92 is in force");
    assert_eq!(asked(&conditions, "G92.1\nG1 X161 F600"), [], "and taken back");
}

#[test]
fn a_shift_from_where_the_machine_stands_is_followed() {
    let conditions = Conditions {
        asked: true,
        homed: true,
        work_offset_mm: Some([0.0; 3]),
        position_mm: Some([-200.0, -100.0, -5.0]),
        ..Conditions::default()
    };
    assert_eq!(asked(&conditions, "G92 X0 Y0 Z0\nG1 X190 F600"), [], "-10");
    assert_eq!(asked(&conditions, "G92 X0 Y0 Z0\nG1 X210 F600"), [(4, "envelope.outside")]);
    assert_eq!(asked(&conditions, "G91\nG1 X210 F600"), [(4, "envelope.outside")]);
}

#[test]
fn a_machine_without_switches_does_not_home() {
    let mut profile = Profile::parse(MILL).unwrap();
    profile.home.switches = Some(false);
    assert_eq!(check(&b"G21\n$H\nG0 X-1\nM2\n"[..], &profile).findings[1].code, "home.none");
}
