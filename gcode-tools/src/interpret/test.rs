//! What programs do, in machine coordinates.

use super::*;
use crate::arc::ArcFault;
use crate::block::Block;

#[derive(Default)]
struct Record {
    moves: Vec<Move>,
    events: Vec<Event>,
}

impl Watch for Record {
    fn moved(&mut self, motion: &Move, _: &State) {
        self.moves.push(*motion);
    }
    fn event(&mut self, event: Event, _: u64, _: &State) {
        self.events.push(event);
    }
}

fn run(family: Family, program: &str) -> (Record, State) {
    let mut state = State::new(family);
    let mut record = Record::default();
    for (number, text) in program.lines().enumerate() {
        state.execute(number as u64 + 1, &Statement::of(&Block::new(text.as_bytes())), &mut record);
    }
    (record, state)
}

fn ends(program: &str) -> Vec<[f64; 3]> {
    run(Family::Cnc, program).0.moves.iter().map(|motion| motion.to).collect()
}

#[test]
fn distance_modes_units_and_offsets_all_count() {
    assert_eq!(ends("G0 X10\nG91 X5\nG90 X5"), [[10.0, 0.0, 0.0], [15.0, 0.0, 0.0], [5.0, 0.0, 0.0]]);
    assert_eq!(ends("G20 G0 X1\nG21 X1"), [[25.4, 0.0, 0.0], [1.0, 0.0, 0.0]]);
    assert_eq!(ends("G10 L2 P2 X100\nG55 G0 X1\nG54 X1"), [[101.0, 0.0, 0.0], [1.0, 0.0, 0.0]]);
    assert_eq!(ends("G0 X10\nG92 X0\nG0 X5\nG92.1\nG0 X5"), [[10.0, 0.0, 0.0], [15.0, 0.0, 0.0], [5.0, 0.0, 0.0]]);
    assert_eq!(ends("G43.1 Z7\nG0 Z0\nG49 Z0\nG53 G0 Z-3"), [[0.0, 0.0, 7.0], [0.0, 0.0, 0.0], [0.0, 0.0, -3.0]]);
    assert_eq!(ends("G0 X10\nG10 L20 P1 X3\nG0 X0"), [[10.0, 0.0, 0.0], [7.0, 0.0, 0.0]]);
}

#[test]
fn a_printers_codes_own_their_letters() {
    let (record, state) = run(Family::Printer, "M201 X1000 Y1000\nG28 X\nG29 X5\nG1 X3 E2\nG92 E0\nG1 E1");
    let extruded: Vec<f64> = record.moves.iter().map(|motion| motion.extruded_mm).collect();
    assert_eq!((extruded, state.position), (vec![0.0, 2.0, 1.0], [3.0, 0.0, 0.0]));
    assert!(record.events.contains(&Event::Home([true, false, false])));
}

#[test]
fn relative_moves_and_relative_extrusion_are_two_things() {
    let (record, _) = run(Family::Printer, "M83\nG1 X1 E1\nG1 X2 E1\nM82\nG92 E5\nG1 E6\nG91\nG1 E1");
    let extruded: Vec<f64> = record.moves.iter().map(|motion| motion.extruded_mm).collect();
    assert_eq!(extruded, [1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn a_drilling_cycle_is_its_moves() {
    let moves = ends("G0 Z10\nG98 G81 X1 Y2 Z-3 R1 F100\nX5\nG80");
    assert_eq!(
        moves,
        [
            [0.0, 0.0, 10.0],
            [1.0, 2.0, 10.0],
            [1.0, 2.0, 1.0],
            [1.0, 2.0, -3.0],
            [1.0, 2.0, 10.0],
            [5.0, 2.0, 10.0],
            [5.0, 2.0, 1.0],
            [5.0, 2.0, -3.0],
            [5.0, 2.0, 10.0]
        ]
    );
    let pecks = ends("G0 Z10\nG99 G83 X1 Z-2 R1 Q1 F100");
    assert_eq!(pecks.last(), Some(&[1.0, 0.0, 1.0]));
    assert_eq!(pecks.iter().filter(|to| to[2] == -2.0).count(), 1);
}

#[test]
fn faults_are_told_and_the_program_goes_on() {
    let (record, state) = run(Family::Cnc, "X1\nG2 X5\nG1 X[1/0]\nG81 X1\nG53 G2 X1 I1");
    let faults: Vec<Fault> = record
        .events
        .iter()
        .filter_map(|event| if let Event::Fault(fault) = event { Some(*fault) } else { None })
        .collect();
    assert_eq!(
        faults,
        [
            Fault::NoMotionMode,
            Fault::Arc(ArcFault::NoCenter),
            Fault::Unreadable(b'X'),
            Fault::CycleWord(b'Z'),
            Fault::MachineCoordinatesWithArc
        ]
    );
    assert_eq!(state.position[0], 1.0);
}

#[test]
fn nothing_runs_behind_the_end() {
    assert_eq!(ends("G0 X1\nM30\nG0 X500"), [[1.0, 0.0, 0.0]]);
}

#[test]
fn every_work_offset_has_its_place() {
    let names = ["G54", "G55", "G56", "G57", "G58", "G59", "G59.1", "G59.2", "G59.3"];
    for (index, name) in names.iter().enumerate() {
        let number = index + 1;
        let program = format!("G10 L2 P{number} X{number}00 Z-{number}\n{name} G0 X1 Z1");
        assert_eq!(ends(&program), [[100.0 * number as f64 + 1.0, 0.0, 1.0 - number as f64]], "{name}");
    }
    let (_, state) = run(Family::Cnc, "G59.3\nG0 X1");
    assert!(state.offsets.assumed(), "an offset that the program does not set is the machine's");
}

#[test]
fn a_tool_length_from_the_table_is_assumed_to_be_zero_and_said() {
    let (record, state) = run(Family::Cnc, "T2 M6\nG43 H2\nG0 Z5\nG49");
    assert_eq!(record.moves[0].to, [0.0, 0.0, 5.0]);
    assert!(!state.offsets.tool_from_table());
    assert!(run(Family::Cnc, "G43 H2").1.offsets.tool_from_table());
}

#[test]
fn g92_is_suspended_resumed_and_ended() {
    let program = "G0 X10\nG92 X0\nG92.2\nG0 X1\nG92.3\nG0 X1\nG92.1\nG0 X1";
    let places: Vec<f64> = ends(program).iter().map(|to| to[0]).collect();
    assert_eq!(places, [10.0, 1.0, 11.0, 1.0]);
}

/// Where the only arc of a program goes: its lowest and highest points.
fn extent(program: &str) -> ([f64; 3], [f64; 3]) {
    let (record, _) = run(Family::Cnc, program);
    let arc = record.moves.iter().find(|motion| matches!(motion.path, Path::Arc(_))).unwrap();
    let mut bounds = crate::analysis::Bounds::EMPTY;
    bounds.add_move(arc);
    (bounds.min.map(|side| (side * 1e6).round() / 1e6), bounds.max.map(|side| (side * 1e6).round() / 1e6))
}

#[test]
fn arcs_turn_the_right_way_in_every_plane_by_centre_and_by_radius() {
    // Counter-clockwise from the plane's first axis to its second: XY, ZX, YZ. A half circle bulges to one side.
    for (plane, by_centre, by_radius, low, high) in [
        ("G17", "G3 X-10 I-10 F1", "G3 X-10 R10 F1", [-10.0, 0.0, 0.0], [10.0, 10.0, 0.0]),
        ("G18", "G3 X-10 I-10 F1", "G3 X-10 R10 F1", [-10.0, 0.0, -10.0], [10.0, 0.0, 0.0]),
        ("G18", "G2 X-10 I-10 F1", "G2 X-10 R10 F1", [-10.0, 0.0, 0.0], [10.0, 0.0, 10.0]),
        ("G17", "G2 X-10 I-10 F1", "G2 X-10 R10 F1", [-10.0, -10.0, 0.0], [10.0, 0.0, 0.0]),
    ] {
        for arc in [by_centre, by_radius] {
            assert_eq!(extent(&format!("G0 X10\n{plane}\n{arc}")), (low, high), "{plane} {arc}");
        }
    }
    for arc in ["G3 Y-10 J-10 F1", "G3 Y-10 R10 F1"] {
        assert_eq!(extent(&format!("G0 Y10\nG19\n{arc}")), ([0.0, -10.0, 0.0], [0.0, 10.0, 10.0]), "{arc}");
    }
    // The long way round, and a centre in absolute coordinates.
    assert_eq!(extent("G0 X10\nG17\nG3 X0 Y10 R-10 F1").1, [20.0, 20.0, 0.0]);
    assert_eq!(extent("G90.1\nG0 X10\nG3 X-10 I0 J0 F1").1, [10.0, 10.0, 0.0]);
    assert_eq!(extent("G91.1\nG0 X10\nG3 X-10 I-10 J0 F1").1, [10.0, 10.0, 0.0]);
}

#[test]
fn every_drilling_cycle_goes_down_and_comes_back_as_its_kind_does() {
    for cycle in ["G73", "G81", "G82", "G83", "G84", "G85", "G86", "G87", "G88", "G89"] {
        let program = format!("G0 Z10\nG98 {cycle} X4 Z-3 R2 Q2 P0.5 F100\nG80");
        let (record, state) = run(Family::Cnc, &program);
        let deepest = record.moves.iter().map(|motion| motion.to[2]).fold(f64::INFINITY, f64::min);
        assert_eq!((deepest, state.position), (-3.0, [4.0, 0.0, 10.0]), "{cycle}");
        let last_up = record.moves.iter().rev().find(|motion| motion.from[2] == -3.0).unwrap();
        let feeds_out = matches!(cycle, "G84" | "G85" | "G89");
        assert_eq!(last_up.path == Path::Line, feeds_out, "{cycle}");
        let waits = record.events.contains(&Event::Dwell(0.5));
        assert_eq!(waits, matches!(cycle, "G82" | "G86" | "G88" | "G89"), "{cycle}");
        let pecks = record.moves.iter().filter(|motion| motion.path == Path::Line && motion.to[2] < 2.0).count();
        assert_eq!(pecks, if matches!(cycle, "G73" | "G83") { 3 } else { 1 }, "{cycle}");
    }
}

#[test]
fn a_cycle_repeats_in_relative_steps_and_in_any_plane() {
    let holes = |program: &str, axis: usize, depth: f64| -> Vec<[f64; 3]> {
        ends(program).into_iter().filter(|to| to[axis] == depth).collect()
    };
    assert_eq!(
        holes("G0 Z5\nG91 G81 X10 Z-3 R-4 L3 F100", 2, -2.0),
        [[10.0, 0.0, -2.0], [20.0, 0.0, -2.0], [30.0, 0.0, -2.0]]
    );
    assert_eq!(holes("G18 G0 Y5\nG81 X1 Z2 Y-1 R1 F100", 1, -1.0), [[1.0, -1.0, 2.0]]);
    assert_eq!(holes("G19 G0 X5\nG81 Y1 Z2 X-1 R1 F100", 0, -1.0), [[-1.0, 1.0, 2.0]]);
}

#[test]
fn a_short_line_of_endless_pecks_ends_soon_and_is_told() {
    let (record, _) = run(Family::Cnc, "G0 Z9\nG91 G83 X1 Z-1 R-1 Q0.00001 L10000 F100\nX1 L10000");
    assert!(record.moves.len() < 1_100_000, "{} moves", record.moves.len());
    assert!(record.events.contains(&Event::Fault(Fault::CycleSteps)));
}

#[test]
fn the_extruder_is_relative_as_the_firmware_has_it() {
    use crate::modal::ExtruderMode;
    let pushed = |mode, program: &str| {
        let mut state = State::new(Family::Printer);
        state.modal.extruder_mode = mode;
        let mut record = Record::default();
        for text in program.lines() {
            state.execute(1, &Statement::of(&Block::new(text.as_bytes())), &mut record);
        }
        record.moves.iter().map(|motion| motion.extruded_mm).collect::<Vec<_>>()
    };
    let program = "M83\nG90\nG1 X1 E2\nG1 X2 E2\nG91\nM82\nG1 X1 E3";
    assert_eq!(pushed(ExtruderMode::Own, program), [2.0, 2.0, -1.0], "as Prusa's 8-bit firmware");
    assert_eq!(pushed(ExtruderMode::Last, program), [2.0, 0.0, 1.0], "as Marlin 2");
    assert_eq!(pushed(ExtruderMode::Either, program), [2.0, 2.0, 3.0], "as Klipper");
}

#[test]
fn a_volume_of_filament_is_a_length_of_it() {
    let (record, _) = run(Family::Printer, "M200 D2\nG1 X1 E3.141592653589793\nM200 D0\nG1 X2 E4.141592653589793");
    let pushed: Vec<f64> = record.moves.iter().map(|motion| motion.extruded_mm).collect();
    assert!((pushed[0] - 1.0).abs() < 1e-12 && (pushed[1] - 1.0).abs() < 1e-12, "{pushed:?}");
}
