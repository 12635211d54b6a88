//! What becomes an arc, and what does not.

use super::*;
use std::fmt::Write as _;

fn fitted(program: &str) -> (String, Summary) {
    let mut fitter = Fitter::new(&Setup::new(0.025).unwrap());
    let mut out = Vec::new();
    fitter.push(program.as_bytes(), &mut out);
    let summary = fitter.finish(&mut out);
    (String::from_utf8(out).unwrap(), summary)
}

/// Moves along a circle of radius 10 about (20, 20), from (30, 20) on; `tail` says what stands behind X and Y.
fn ring(steps: std::ops::RangeInclusive<u32>, word: &str, mut tail: impl FnMut(u32) -> String) -> String {
    let mut text = String::new();
    for step in steps {
        let (sin, cos) = (f64::from(step) * 0.1).sin_cos();
        let _ = writeln!(text, "{word}X{:.3} Y{:.3}{}", 20.0 + 10.0 * cos, 20.0 + 10.0 * sin, tail(step));
    }
    text
}

const HEAD: &str = "G21\nG90\nM83\nG1 X30 Y20 F1800\n";

fn arcs(program: &str) -> Vec<String> {
    let (text, _) = fitted(program);
    text.lines().filter(|line| line.starts_with("G2 ") || line.starts_with("G3 ")).map(str::to_owned).collect()
}

fn untouched(program: &str) {
    let (text, summary) = fitted(program);
    assert!(text == program && summary.arcs == 0, "{text}");
}

#[test]
fn a_print_with_absolute_filament_keeps_its_last_figure() {
    let moves = ring(1..=10, "G1 ", |step| format!(" E{:.5}", 5.0 + f64::from(step) * 0.1));
    let (text, _) = fitted(&format!("G90\nM82\nG92 E5\nG1 X30 Y20\n{moves}M84\n"));
    assert_eq!(text, "G90\nM82\nG92 E5\nG1 X30 Y20\nG3 X25.403 Y28.415 I-10.001 J0 E6.00000\nM84\n");
}

#[test]
fn a_change_of_feed_power_height_or_feature_ends_an_arc() {
    for (what, tail) in [("F", " E.05 F"), ("S", " S"), ("Z", " E.05 Z")] {
        let value = |step: u32| if step > 10 { "900" } else { "600" };
        let written = arcs(&format!("{HEAD}{}", ring(1..=20, "G1 ", |step| format!("{tail}{}", value(step)))));
        assert_eq!(written.len(), 2, "{what}: {written:?}");
    }
    for between in [";TYPE:Outer wall\n", "M73 P5 R3\n", "G4 P1\n", "\n", "G1 F900\n", "G1 E-1\n"] {
        let (first, second) = (ring(1..=10, "G1 ", |_| " E.05".into()), ring(11..=20, "G1 ", |_| " E.05".into()));
        let (text, summary) = fitted(&format!("{HEAD}{first}{between}{second}"));
        assert!(summary.arcs == 2 && text.contains(between), "{text}");
    }
}

#[test]
fn words_that_say_nothing_new_are_left_out_and_what_the_first_line_says_is_kept() {
    let moves = ring(1..=10, "G1 ", |_| " Z0.2 E.05 F1200 ; wall".into());
    assert_eq!(arcs(&format!("{HEAD}G1 Z0.2\n{moves}")), ["G3 X25.403 Y28.415 I-10.001 J0 E.5 F1200 ; wall"]);
    let moves = ring(1..=10, "G1 ", |step| if step > 5 { " E.05 ; hole".into() } else { " E.05 ; wall".into() });
    assert_eq!(arcs(&format!("{HEAD}{moves}")).len(), 2, "two comments are two arcs");
}

#[test]
fn a_line_without_a_code_behind_an_arc_is_still_straight() {
    let (text, summary) = fitted(&format!("{HEAD}{}X0 Y0\nX1\n", ring(1..=10, "", |_| String::new())));
    assert_eq!(summary.arcs, 1);
    assert!(text.ends_with("G3 X25.403 Y28.415 I-10.001 J0\nG1\nX0 Y0\nX1\n"), "{text}");
    let (text, _) = fitted(&format!("{HEAD}{}(end)\nG90 X0\n", ring(1..=10, "", |_| String::new())));
    assert!(text.ends_with("J0\n(end)\nG1\nG90 X0\n"), "{text}");
}

#[test]
fn relative_moves_add_up() {
    let mut text = "G91\nM4 S100\n".to_owned();
    let at = |step: u32| {
        let (sin, cos) = (f64::from(step) * 0.1).sin_cos();
        [(10.0 * cos * 1000.0).round() / 1000.0, (10.0 * sin * 1000.0).round() / 1000.0]
    };
    for step in 1..=10 {
        let (from, to) = (at(step - 1), at(step));
        let _ = writeln!(text, "G1X{:.3}Y{:.3}", to[0] - from[0], to[1] - from[1]);
    }
    let (written, _) = fitted(&text);
    assert_eq!(written, "G91\nM4 S100\nG3X-4.597Y8.415I-10.001J0\n");
    // A printer may run Klipper, which refuses arcs in this mode.
    untouched(&text.replace("M4 S100", "M104 S200"));
}

#[test]
fn modes_in_which_arcs_mean_something_else_are_left_alone() {
    let moves = ring(1..=10, "G1 ", |_| String::new());
    for mode in ["G18", "G90.1", "G41 D1", "G93", "G95", "o1 call", "G68 R30", "G51 X2", "M98 P9", "/G91", "G1 X#1"] {
        let (_, summary) = fitted(&format!("{HEAD}{mode}\nG1 X30 Y20 F1800\n{moves}"));
        assert_eq!(summary.arcs, u64::from(mode == "G1 X#1"), "{mode}");
    }
    assert_eq!(arcs(&format!("{HEAD}G18\nG41\nG93\nG94\nG40\nG17\nG1 X30 Y20\n{moves}")).len(), 1);
}

#[test]
fn where_the_extruder_s_mode_depends_on_the_firmware_prints_are_left_alone() {
    let moves = ring(1..=10, "G1 ", |_| " E.05".into());
    untouched(&format!("M83\nG90\nG1 X30 Y20\n{moves}"));
    untouched(&format!("G90\nG1 X30 Y20\nM82\nG91\n{moves}"));
}

#[test]
fn a_vase_s_spiral_rapids_numbered_lines_and_other_axes_are_left_alone() {
    untouched(&format!("{HEAD}{}", ring(1..=10, "G1 ", |step| format!(" Z{:.3} E.05", f64::from(step) * 0.01))));
    untouched(&format!("{HEAD}{}", ring(1..=10, "G0 ", |_| String::new())));
    untouched(&format!("{HEAD}{}", ring(1..=10, "N5 G1 ", |_| String::new())));
    untouched(&format!("{HEAD}{}", ring(1..=10, "G1 ", |_| "*33".into())));
    untouched(&format!("{HEAD}{}", ring(1..=10, "G1 ", |step| format!(" A{step}"))));
}

#[test]
fn what_the_position_is_must_be_said_first() {
    let moves = ring(0..=10, "G1 ", |_| " E.05".into());
    for unknown in ["G28", "T1", "PRINT_START", "M600", "G54", "G53 G1 X30 Y20", "/G1 X9 Y9", "G92 X0 Y0"] {
        let (text, summary) = fitted(&format!("{HEAD}{unknown}\n{moves}"));
        assert_eq!(summary.moves_replaced, 10, "{unknown}");
        assert!(text.contains("G1 X30.000 Y20.000 E.05\nG3 "), "{unknown}: {text}");
    }
}

#[test]
fn filament_that_changes_within_a_ring_ends_an_arc() {
    let moves = ring(1..=20, "G1 ", |step| if step > 10 { " E.06".into() } else { " E.05".into() });
    let written = arcs(&format!("{HEAD}{moves}"));
    assert_eq!(written.len(), 2, "{written:?}");
    assert!(written[0].ends_with("E.5") && written[1].ends_with("E.6"), "{written:?}");
}

#[test]
fn line_ends_stay_and_the_last_line_may_have_none() {
    let moves = ring(1..=10, "G1 ", |_| " E.05".into()).replace('\n', "\r\n");
    let (text, _) = fitted(&format!("{HEAD}{}", moves.trim_end()));
    assert!(text.ends_with("J0 E.5"), "{text}");
    let (text, _) = fitted(&format!("{HEAD}{moves}"));
    assert!(text.ends_with("J0 E.5\r\n"), "{text}");
}

#[test]
fn a_line_without_end_passes_in_bounded_memory() {
    let mut fitter = Fitter::new(&Setup::new(0.025).unwrap());
    let mut out = Vec::new();
    let mut expected = HEAD.as_bytes().to_vec();
    fitter.push(HEAD.as_bytes(), &mut out);
    for _ in 0..100 {
        fitter.push(&[b'x'; 10_000], &mut out);
        expected.extend_from_slice(&[b'x'; 10_000]);
        assert!(fitter.partial.capacity() < 4 * LINE_BYTES_MAX);
    }
    let rest = format!("\n{HEAD}{}", ring(1..=10, "G1 ", |_| String::new()));
    fitter.push(rest.as_bytes(), &mut out);
    expected.extend_from_slice(rest.as_bytes());
    // Nobody has read what stands in it, so nothing is fitted behind it.
    assert_eq!(fitter.finish(&mut out).arcs, 0);
    assert!(out == expected);
}

#[test]
fn a_run_without_end_is_held_back_in_parts() {
    let mut fitter = Fitter::new(&Setup::new(0.025).unwrap());
    let mut out = Vec::new();
    fitter.push(HEAD.as_bytes(), &mut out);
    let moves = ring(1..=60, "G1 ", |_| " E.05".into());
    for _ in 0..100 {
        fitter.push(moves.as_bytes(), &mut out);
        assert!(fitter.run.steps() <= run::MOVES_MAX);
    }
    assert!(fitter.summary.arcs > 80);
}

#[test]
fn tolerances_that_make_no_sense_are_refused() {
    for tolerance_mm in [0.0, -1.0, 0.001, 0.6, f64::NAN, f64::INFINITY] {
        assert_eq!(Setup::new(tolerance_mm), None);
    }
}

#[test]
fn an_f_that_was_not_of_a_feed_move_is_not_taken_for_granted() {
    for other in ["M207 F900", "G0 X30 F900", "PRINT_START", "G10 F900"] {
        let tail = |step: u32| if step == 6 { " E.05 F900".to_owned() } else { " E.05".to_owned() };
        let (text, _) = fitted(&format!("{HEAD}{other}\nG1 X30 Y20\n{}", ring(1..=10, "G1 ", tail)));
        assert!(text.lines().any(|line| line.starts_with("G3 ") && line.ends_with("F900")), "{other}: {text}");
    }
}

#[test]
fn a_line_that_may_be_skipped_does_not_end_the_arc_s_mode() {
    let (text, _) = fitted(&format!("{HEAD}{}/G1 X9\nX5 Y5\n", ring(1..=10, "G1 ", |_| String::new())));
    assert!(text.ends_with("J0\nG1\n/G1 X9\nX5 Y5\n"), "{text}");
}

#[test]
fn a_return_alone_ends_a_line_wherever_the_bytes_are_cut() {
    let program = format!("{HEAD}{}", ring(1..=20, "G1 ", |_| " E.05".to_owned()));
    let returns = program.replace('\n', "\r");
    let (right, summary) = fitted(&program);
    assert!(summary.arcs > 0);
    assert_eq!(fitted(&returns).0, right.replace('\n', "\r"));
    for ends in ["\r", "\r\n"] {
        let text = program.replace('\n', ends);
        let mut fitter = Fitter::new(&Setup::new(0.025).unwrap());
        let mut out = Vec::new();
        for byte in text.as_bytes() {
            fitter.push(&[*byte], &mut out);
        }
        fitter.finish(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), right.replace('\n', ends));
    }
}
