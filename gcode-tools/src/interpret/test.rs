//! What programs do, in machine coordinates.

use super::*;
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
