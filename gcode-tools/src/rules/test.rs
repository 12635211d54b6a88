use super::{Rule, Rules};
use crate::time::Firmware;

fn number(rules: &mut Rules, line: &str) -> u32 {
    rules.answer(line.as_bytes()).err().map_or(0, |refusal| refusal.number().unwrap_or(999))
}

#[test]
fn grbl_gives_the_number_that_its_own_parser_gives() {
    let expected = [
        ("G0 G49", 24),
        ("G40 G80 G00", 21),
        ("G4 S1", 28),
        ("M8 M9", 21),
        ("G1 X1 X2", 25),
        ("M7", 20),
        ("G1 X1", 22),
        ("G1 X", 2),
        ("G1 X1 %", 1),
        ("G1.5 X1", 23),
        ("M3.5", 23),
        ("G5", 20),
        ("G90 G91", 21),
        ("F-1", 4),
        ("G0 X1 P1", 36),
        ("G92", 26),
        ("G10 L2 P7 X0", 29),
        ("G10 X0", 28),
        ("G53 G2 X1 I1 F1", 30),
        ("G80 X1", 31),
        ("G2 Z1 I1 F10", 32),
        ("G2 X1 Y1 F10", 35),
        ("G43.1 X1", 37),
        ("T300", 38),
        ("N99999999 G0", 27),
        ("G91.1 G90 G21 G17 G94 G54 G40 G49", 0),
        ("G28 G90", 0),
        ("G10 L20 P1 X0 Y0 Z0", 0),
        ("G2 X10 I5 F100", 0),
        ("(a) G0 X1 (b) ; c", 0),
        ("", 0),
    ];
    for (line, answer) in expected {
        assert_eq!(number(&mut Rules::of(Firmware::Grbl), line), answer, "{line}");
    }
}

#[test]
fn a_line_that_is_refused_changes_nothing() {
    let mut grbl = Rules::of(Firmware::Grbl);
    assert_eq!(number(&mut grbl, "G1 F100 X1 X2"), 25);
    assert_eq!(number(&mut grbl, "G1 X1"), 22, "the feed was not taken");
    assert_eq!(number(&mut grbl, "G1 X1 F100"), 0);
    assert_eq!(number(&mut grbl, "X2"), 0);
    assert_eq!(number(&mut grbl, "G93 X3"), 22, "each line needs its own");
}

#[test]
fn its_kin_know_more_and_refuse_the_rest_alike() {
    let mut hal = Rules::of(Firmware::GrblHal);
    for (line, answer) in [
        ("M7", 0),
        ("G81 X1 Y1 Z-1 R1 F100", 0),
        ("X5", 0),
        ("G80", 0),
        ("G83 Z-1 R1 F100", 28),
        ("G81 Z5 R1", 54),
        ("G0 X1 H5", 36),
        ("G0 X1 X2", 25),
        ("G5 X10 P1 Q1 I1 J1 F100", 0),
        ("G59.1", 0),
        ("G2 X1 I0.5 P0 F100", 39),
        ("M6 T1", 0),
        ("G49 G0 X1", 0),
    ] {
        assert_eq!(number(&mut hal, line), answer, "{line}");
    }
    let mut fluid = Rules::of(Firmware::FluidNc);
    assert_eq!([number(&mut fluid, "M7"), number(&mut fluid, "M6 T2"), number(&mut fluid, "G64")], [0, 0, 20]);
}

#[test]
fn linuxcnc_refuses_what_nothing_uses() {
    let answer = |lines: &[&str]| {
        let mut rules = Rules::of(Firmware::LinuxCnc);
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(rules.answer(line.as_bytes()), Ok(()), "{line}");
        }
        rules.answer(last.as_bytes()).err().map(|refusal| refusal.rule)
    };
    for (line, rule) in [
        ("G1 X1 X2 F1", Rule::Repeated),
        ("G0 X1 I1", Rule::Unused),
        ("G0 X1 L1", Rule::Unused),
        ("G0 X1 H1", Rule::Unused),
        ("G53", Rule::MachineCoordinates),
        ("G10 P1 X0", Rule::Missing),
        ("G1 X1", Rule::NoFeed),
        ("X1", Rule::AxesUnused),
        ("G92", Rule::NoAxes),
        ("G33 Z-1 K1", Rule::SpindleStands),
        ("G33 Z-1", Rule::Missing),
        ("G81 X1 Z-1 F1", Rule::Missing),
        ("G82 Z-1 R1 F1", Rule::Missing),
        ("M3 M4", Rule::ModalGroup),
        ("M6", Rule::Missing),
        ("G96", Rule::Missing),
        ("G2 X1 I1 K1 F1", Rule::Unused),
        ("M200", Rule::Unsupported),
    ] {
        assert_eq!(answer(&[line]), Some(rule), "{line}");
    }
    for line in
        ["G80 G0 X1", "G0 G80 X1", "G28 Z0", "M98 P100 L3", "G10 L2 P1 R45", "M101 P1 Q2", "G64 P0.01 Q0.1", "T1 M6"]
    {
        assert_eq!(answer(&[line]), None, "{line}");
    }
    assert_eq!(answer(&["G91", "G53 G0 X1"]), Some(Rule::Invalid));
    assert_eq!(answer(&["G81 X1 Z-1 R1 F10", "X2"]), None);
    assert_eq!(answer(&["M3 S100", "G33 Z-1 K1"]), None);
}

#[test]
fn klipper_raises_at_what_its_handlers_raise_at() {
    let mut klipper = Rules::of(Firmware::Klipper);
    for (line, refused) in [
        ("G1 X10 Y10 F3000", false),
        ("G1 X", true),
        ("G1 F0", true),
        ("G20", true),
        ("G2 X1 Y1 R5", true),
        ("G2 X1 Y1", true),
        ("G2 X1 Y1 I1", false),
        ("M220 S0", true),
        ("RESTORE_GCODE_STATE NAME=a", true),
        ("SAVE_GCODE_STATE NAME=a", false),
        ("RESTORE_GCODE_STATE NAME=a", false),
        ("N5 G1 X1", false),
        ("M117 G1 X", false),
        ("G91", false),
        ("G3 X1 I1", true),
        ("; G1 X", false),
        ("UNKNOWN_MACRO A=1", false),
    ] {
        assert_eq!(klipper.answer(line.as_bytes()).is_err(), refused, "{line}");
    }
}

#[test]
fn any_bytes_get_an_answer_in_no_time() {
    let lines: [Vec<u8>; 4] = [b"X".repeat(100_000), b"G1".repeat(50_000), vec![0xFF; 1000], b"*_A1".repeat(20_000)];
    for firmware in [Firmware::Grbl, Firmware::GrblHal, Firmware::FluidNc, Firmware::LinuxCnc, Firmware::Klipper] {
        for line in &lines {
            let _ = Rules::of(firmware).answer(line);
        }
    }
}
