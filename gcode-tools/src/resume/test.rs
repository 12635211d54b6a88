use super::*;

fn profile(name: &str) -> Profile {
    Profile::named(name).unwrap()
}

fn evidence(executed_line: u64, z_mm: f64) -> Evidence {
    Evidence { executed_line, position_mm: Some([10.0, 10.0, z_mm]), position_kept: true }
}

const PRINT: &str = "M140 S60\nM104 S200\nG28\nG29\nM190 S60\nM109 S200\nM82\nG92 E0\nM106 S255\nM221 S95\nG1 Z0.2 F1200\n\
    G1 X10 Y10 F3000\nG1 X20 Y10 E1.5 F1800\nG1 X20 Y20 E3\nG1 Z0.4\nG1 X10 Y20 E4.5\nM104 S0\nM84\n";

#[test]
fn a_print_goes_on_where_it_was_hot_first_and_never_homes_onto_the_part() {
    let plan = plan(PRINT.as_bytes(), &profile("prusa-mk3s"), &evidence(14, 0.2)).unwrap();
    let wanted = [
        "G21",
        "G91",
        "G1 Z5 F300",
        "G90",
        "M190 S60",
        "M109 S200",
        "G28 X Y",
        "M420 S1",
        "M106S255",
        "M221S95",
        "G0 X20 Y20 F6000",
        "G1 Z0.2 F300",
        "M82",
        "G92 E3",
        "G21",
        "G1 F1800",
    ];
    assert_eq!(
        plan.lead_in.iter().map(|line| line.replace(' ', "")).collect::<Vec<_>>(),
        wanted.map(|line| line.replace(' ', ""))
    );
    assert_eq!(plan.from_line, 15);
    assert!(plan.notes.iter().any(|note| note.contains("Line 14 ")));
}

#[test]
fn a_print_does_not_go_on_when_its_height_is_not_what_it_should_be() {
    let code = |evidence: &Evidence| plan(PRINT.as_bytes(), &profile("prusa-mk3s"), evidence).unwrap_err().code;
    assert_eq!(code(&evidence(14, 0.0)), "resume.position_differs", "the board was reset: it says zero");
    assert_eq!(code(&Evidence { position_mm: None, ..evidence(14, 0.2) }), "resume.position_unknown");
    assert_eq!(code(&Evidence { position_kept: false, ..evidence(14, 0.2) }), "resume.position_lost");
    assert_eq!(code(&evidence(0, 0.2)), "resume.no_evidence");
    assert_eq!(code(&evidence(18, 0.4)), "resume.nothing_left");
    // It may have gone on by a planner full of moves: the next layer is as good.
    assert!(plan(PRINT.as_bytes(), &profile("prusa-mk3s"), &evidence(14, 0.4)).is_ok());
}

const PART: &str = "G21 G90 G17 G55\nT2 M6\nM3 S12000\nM8\nG0 X0 Y0 Z5\nG1 Z-1 F200\nG1 X50 F800\nY30\nX0\nG2 X0 Y0 I0 J-15\nX10 I5\nM5\nM2\n";

#[test]
fn a_mill_homes_spins_up_and_comes_down_beside_nothing_at_half_the_feed() {
    let plan = plan(PART.as_bytes(), &profile("grbl-router-6040"), &evidence(7, 0.0)).unwrap();
    let wanted = [
        "$H",
        "G21",
        "G17",
        "G90",
        "G55",
        "G94",
        "M3 S12000",
        "G4 P5",
        "M8",
        "G0 X50 Y0",
        "G0 Z1",
        "G1 Z-1 F400",
        "G21",
        "G1 F800",
        "G1",
    ];
    assert_eq!(plan.lead_in, wanted);
    assert_eq!(plan.from_line, 8);
    assert!(plan.notes[0].contains("tool 2"));
}

#[test]
fn inches_come_back_as_inches() {
    let part = "G20 G90\nM3 S9000\nG0 Z1\nG1 Z-0.1 F10\nG1 X2\nG1 Y1\n";
    let plan = plan(part.as_bytes(), &profile("grbl-router-6040"), &evidence(5, 0.0)).unwrap();
    assert!(plan.lead_in.contains(&"G0 X50.8 Y0".to_owned()), "{:?}", plan.lead_in);
    assert_eq!(plan.lead_in[plan.lead_in.len() - 2..], ["G20", "G1 F10"]);
}

#[test]
fn a_mill_does_not_go_on_in_what_cannot_be_restored() {
    let router = profile("grbl-router-6040");
    let code = |part: &str, line| plan(part.as_bytes(), &router, &evidence(line, 0.0)).unwrap_err().code;
    assert_eq!(code(PART, 10), "resume.arc");
    assert_eq!(code("G21 G90\nG92 X0 Y0\nG1 X1 F100\nG1 X2\n", 3), "resume.volatile");
    assert_eq!(code("G21 G90\nG43.1 Z5\nG1 X1 F100\nG1 X2\n", 3), "resume.volatile");
    assert_eq!(code("G21 G90 F100\nG81 X1 Y1 Z-1 R1\nX2\nX3\n", 3), "resume.cycle");
    assert_eq!(code("G21 G93\nG1 X1 F2\nG1 X2 F2\n", 2), "resume.feed_mode");
    assert_eq!(code("G21\nG1 X1 F2\n", 2), "resume.nothing_left");
}

#[test]
fn a_move_on_the_line_of_a_setting_is_not_made_again_before_the_rest() {
    let print = PRINT.replace("M106 S255", "G1 X90 Y90 M106 S255");
    assert_eq!(plan(print.as_bytes(), &profile("prusa-mk3s"), &evidence(14, 0.2)).unwrap_err().code, "resume.volatile");
}

#[test]
fn letters_without_numbers_around_a_setting_are_not_said_again() {
    for line in ["G M221 S95", "X90 M221 S95", "M221 S95 E G M E N T S"] {
        let print = PRINT.replace("M221 S95", line);
        let refused = plan(print.as_bytes(), &profile("prusa-mk3s"), &evidence(14, 0.2)).unwrap_err();
        assert_eq!(refused.code, "resume.volatile", "{line}");
    }
}

#[test]
fn numbers_that_add_up_to_infinity_are_not_said_to_a_machine() {
    let router = profile("grbl-router-6040");
    let far = "9".repeat(400);
    let part = format!("G20 G90 F10\nG1 X{far}\nG1 X1\n");
    assert_eq!(plan(part.as_bytes(), &router, &evidence(2, 0.0)).unwrap_err().code, "resume.beyond_sense");
    let part = format!("G21 G90\nG1 X1 F{far}\nG1 X2\n");
    assert_eq!(plan(part.as_bytes(), &router, &evidence(2, 0.0)).unwrap_err().code, "resume.beyond_sense");
}

#[test]
fn a_program_that_heats_ever_more_tools_is_refused_and_their_list_does_not_grow() {
    let targets: Vec<_> = (0..TOOLS_MAX * 4).map(|tool| format!("M104 T{tool} S200\n")).collect();
    let print = format!("G28\n{}G1 Z0.2 F1200\nG1 X10 Y10 E1 F3000\nG1 X20 Y10 E2\n", targets.concat());
    let printer = profile("prusa-mk3s");
    let mut follower = Follower::new(print.as_bytes(), &printer).unwrap();
    while follower.step().unwrap() {}
    assert_eq!(follower.seen.tools_c.len(), TOOLS_MAX);
    let last = print.lines().count() as u64 - 1;
    assert_eq!(plan(print.as_bytes(), &printer, &evidence(last, 0.2)).unwrap_err().code, "resume.volatile");
}

#[test]
fn a_laser_goes_there_dark_and_one_that_burns_at_standstill_does_not_go_on() {
    let laser = profile("grbl-laser-400");
    let picture = "G21 G90\nM4 S0\nG0 X0 Y0\nG1 X10 S500 F3000\nG1 X20 S300\nG1 X30 S0\nM5\n";
    let plan_m4 = plan(picture.as_bytes(), &laser, &evidence(4, 0.0)).unwrap();
    let at = |line: &str| plan_m4.lead_in.iter().position(|known| known == line).unwrap_or_else(|| panic!("{line}"));
    assert!(at("M5") < at("$H") && at("$H") < at("G0 X10 Y0") && at("G0 X10 Y0") < at("M4 S500"));
    let constant = picture.replace("M4", "M3");
    assert_eq!(plan(constant.as_bytes(), &laser, &evidence(4, 0.0)).unwrap_err().code, "resume.beam_constant");
}

#[test]
fn a_print_in_relative_coordinates_keeps_its_extruder_as_it_was() {
    // On Marlin 2 a G91 makes the extruder relative too, wherever it stands: the word for the extruder comes last.
    let program =
        "M104 S200\nM109 S200\nG28\nG1 Z0.2 F1200\nM200 D1.75\nG91\nM82\nG1 X10 E10 F1800\nG1 X10 E20\nG1 X10 E30\n";
    let lead_in = plan(program.as_bytes(), &profile("ender3"), &evidence(8, 0.2)).unwrap().lead_in;
    let at =
        |word: &str| lead_in.iter().rposition(|line| line == word).unwrap_or_else(|| panic!("{word}: {lead_in:?}"));
    assert!(at("M82") > at("G91") && at("G92 E10") > at("M200 D1.75"));
}
