//! Whether a program with arcs does what the program without them does: an answer with arithmetic of its own.
//!
//! Both programs are followed by the interpreter and walked side by side. Lines that move nothing must be the same
//! bytes; a move that is not part of an arc must be the same move; an arc must start and end where some moves do, at
//! their height and feed, with their filament. How far the arc is from its moves is measured on points: the arc as a
//! firmware draws it, in steps so short that a step's bow is [`BOW_MM`], and the moves in [`PARTS`] parts each. That
//! both go the same way in the same order is Alt and Godau's decision of the Fréchet distance of the two.

use gcode_tools::arc::Arc;
use gcode_tools::block::Block;
use gcode_tools::follow;
use gcode_tools::interpret::{Move, Path, State, Watch};
use gcode_tools::read::Line;
use gcode_tools::statement::Statement;

/// How far the arc bows out between two of its points, in millimetres: the error of the figures here.
pub(crate) const BOW_MM: f64 = 2e-5;

/// Parts that each move is looked at in.
const PARTS: u32 = 8;

/// What a program does, in order.
#[derive(Debug, Clone)]
enum Deed {
    /// A line that moves nothing.
    Line(Vec<u8>),
    Move(Move),
}

/// What the checker has found; an `Err` of [`compare`] says what is wrong.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Report {
    pub arcs: u64,
    /// Moves that arcs stand for.
    pub moves: u64,
    /// The greatest distance between an arc and its moves, either way, in millimetres.
    pub deviation_mm: f64,
    /// The greatest difference of filament, in millimetres: of an arc, and of the program so far.
    pub filament_mm: f64,
    /// By what share filament per length differed most, rounding of numbers aside.
    pub flow_share: f64,
}

struct Deeds {
    deeds: Vec<Deed>,
    moved: bool,
}

impl Watch for Deeds {
    fn line(&mut self, _: &Line, _: &Block, _: &Statement, _: &State) {
        self.moved = false;
    }

    fn moved(&mut self, motion: &Move, _: &State) {
        self.moved = true;
        self.deeds.push(Deed::Move(*motion));
    }

    fn done(&mut self, line: &Line, block: &Block) {
        // A G1 on its own only says what the moves behind it are.
        if !self.moved && block.bytes() != b"G1" {
            self.deeds.push(Deed::Line([block.bytes(), line.end.bytes()].concat()));
        }
    }
}

fn deeds(program: &[u8], family_of: &[u8]) -> Option<Vec<Deed>> {
    let (_, family) = follow::open(family_of).ok()?;
    let (mut lines, _) = follow::open(program).ok()?;
    let mut watch = Deeds { deeds: Vec::new(), moved: false };
    follow::follow(&mut lines, &mut State::new(family), &mut watch).ok()?;
    Some(watch.deeds)
}

fn near(a: [f64; 3], b: [f64; 3]) -> bool {
    (0..3).all(|axis| (a[axis] - b[axis]).abs() < 1e-6)
}

/// Compares a program with what arc fitting made of it. `None` if the program cannot be followed at all.
pub(crate) fn compare(before: &[u8], after: &[u8], tolerance_mm: f64) -> Option<Result<Report, String>> {
    let inches = before.windows(3).any(|word| word == b"G20");
    let decimals_mm = if inches { [0.0026, 0.00026] } else { [0.0011, 0.00011] };
    let (before, after) = (deeds(before, before)?, deeds(after, before)?);
    let mut report = Report::default();
    let mut drift = 0.0;
    let mut at = 0;
    for deed in &after {
        let wrong = |what: &str, other: Option<&Deed>| Some(Err(format!("{what}: {deed:?} for {other:?}")));
        match (deed, before.get(at)) {
            (Deed::Line(ours), Some(Deed::Line(theirs))) if ours == theirs => at += 1,
            (Deed::Move(ours), Some(Deed::Move(theirs))) if same(ours, theirs) => {
                drift += ours.extruded_mm - theirs.extruded_mm;
                at += 1;
            }
            (Deed::Move(ours), Some(Deed::Move(_))) => {
                let Path::Arc(arc) = ours.path else { return wrong("another move", before.get(at)) };
                let moves = match chain(&before[at..], ours) {
                    Ok(moves) => moves,
                    Err(what) => return wrong(&what, before.get(at)),
                };
                at += moves.len();
                drift += ours.extruded_mm - moves.iter().map(|motion| motion.extruded_mm).sum::<f64>();
                if let Err(what) = judge(ours, &arc, &moves, tolerance_mm, decimals_mm, &mut report) {
                    return wrong(&what, before.get(at - moves.len()));
                }
            }
            (_, other) => return wrong("something else", other),
        }
        report.filament_mm = report.filament_mm.max(f64::abs(drift));
    }
    if at != before.len() {
        return Some(Err(format!("{} things are not done", before.len() - at)));
    }
    Some(Ok(report))
}

/// Whether two moves are one and the same.
fn same(ours: &Move, theirs: &Move) -> bool {
    let path = match (&ours.path, &theirs.path) {
        (Path::Arc(ours), Path::Arc(theirs)) => {
            (0..2).all(|axis| (ours.center[axis] - theirs.center[axis]).abs() < 1e-6)
                && (ours.sweep - theirs.sweep).abs() < 1e-6
        }
        (ours, theirs) => ours == theirs,
    };
    path && near(ours.from, theirs.from)
        && near(ours.to, theirs.to)
        && (ours.extruded_mm - theirs.extruded_mm).abs() < 1e-6
        && ours.feed_mm_min == theirs.feed_mm_min
}

/// The moves that an arc stands for: straight ones, up to the one that ends where the arc does.
fn chain(deeds: &[Deed], arc: &Move) -> Result<Vec<Move>, String> {
    let mut moves: Vec<Move> = Vec::new();
    for deed in deeds {
        let Deed::Move(motion) = deed else { return Err("an arc across a line".to_owned()) };
        if motion.path != Path::Line || motion.reference {
            return Err("an arc for what is no plain move".to_owned());
        }
        moves.push(*motion);
        if near(motion.to, arc.to) {
            return Ok(moves);
        }
    }
    Err("an arc that ends nowhere".to_owned())
}

/// Everything that must hold between an arc and its moves.
///
/// `decimals_mm` is what the rounding of a coordinate and of a length of filament explains.
fn judge(
    ours: &Move,
    arc: &Arc,
    moves: &[Move],
    tolerance_mm: f64,
    decimals_mm: [f64; 2],
    report: &mut Report,
) -> Result<(), String> {
    let first = moves.first().ok_or("an arc for nothing")?;
    if moves.len() < 2 || !near(first.from, ours.from) {
        return Err("an arc that starts elsewhere".to_owned());
    }
    if moves.iter().any(|motion| motion.feed_mm_min != ours.feed_mm_min || motion.to[2] != ours.from[2]) {
        return Err("an arc across a change of feed or height".to_owned());
    }
    if (arc.radius - arc.end_radius).abs() > 0.005 {
        return Err(format!("radii of {} and {} mm: Grbl's error 33", arc.radius, arc.end_radius));
    }
    let filament: f64 = moves.iter().map(|motion| motion.extruded_mm).sum();
    if (filament - ours.extruded_mm).abs() > 1e-6 {
        return Err(format!("{} mm of filament instead of {filament}", ours.extruded_mm));
    }
    let rate = ours.extruded_mm / arc.length();
    for motion in moves {
        let (wanted, length) = (rate * motion.length(), motion.length());
        let rounding = decimals_mm[1] + rate.abs() * decimals_mm[0];
        let share = ((motion.extruded_mm - wanted).abs() - rounding).max(0.0) / (rate.abs() * length).max(1e-12);
        report.flow_share = report.flow_share.max(if rate == 0.0 { 0.0 } else { share });
    }
    let drawn = drawn(ours.from, ours.to, arc);
    let mut given = vec![[first.from[0], first.from[1]]];
    given.extend(moves.iter().map(|motion| [motion.to[0], motion.to[1]]));
    let deviation = deviation(&drawn, &given, arc);
    report.deviation_mm = report.deviation_mm.max(deviation);
    (report.arcs, report.moves) = (report.arcs + 1, report.moves + moves.len() as u64);
    if deviation > tolerance_mm + BOW_MM {
        return Err(format!("{deviation} mm away"));
    }
    if !goes_along(&given, &drawn, tolerance_mm + BOW_MM) {
        return Err("not the same way in the same order".to_owned());
    }
    Ok(())
}

/// The arc's points as a firmware draws them: the start turned about the centre, and at last the end as it is named.
fn drawn(from: [f64; 3], to: [f64; 3], arc: &Arc) -> Vec<[f64; 2]> {
    let step = (8.0 * BOW_MM / arc.radius).sqrt().min(0.3);
    let count = (arc.sweep.abs() / step).ceil().max(2.0) as u32;
    let spoke = [from[0] - arc.center[0], from[1] - arc.center[1]];
    let mut points: Vec<[f64; 2]> = (0..count)
        .map(|at| {
            let (sin, cos) = (arc.sweep * f64::from(at) / f64::from(count)).sin_cos();
            [arc.center[0] + spoke[0] * cos - spoke[1] * sin, arc.center[1] + spoke[0] * sin + spoke[1] * cos]
        })
        .collect();
    points.push([to[0], to[1]]);
    points
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn between(a: [f64; 2], b: [f64; 2], share: f64) -> [f64; 2] {
    [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share]
}

/// Distance from a point to a straight piece.
fn to_piece(point: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let way = [b[0] - a[0], b[1] - a[1]];
    let share = ((point[0] - a[0]) * way[0] + (point[1] - a[1]) * way[1]) / (way[0] * way[0] + way[1] * way[1]);
    distance(point, between(a, b, share.clamp(0.0, 1.0)))
}

/// Distance from a point to an arc: to its circle if the point is seen within the sweep, else to the nearer end.
fn to_arc(point: [f64; 2], arc: &Arc, ends: [[f64; 2]; 2]) -> f64 {
    let angle = (point[1] - arc.center[1]).atan2(point[0] - arc.center[0]);
    let ahead = ((angle - arc.start_angle) * arc.sweep.signum()).rem_euclid(std::f64::consts::TAU);
    if ahead <= arc.sweep.abs() {
        (distance(point, arc.center) - arc.radius).abs()
    } else {
        distance(point, ends[0]).min(distance(point, ends[1]))
    }
}

/// The Hausdorff distance of the arc and its moves: from every point of each to the other as a whole.
fn deviation(drawn: &[[f64; 2]], given: &[[f64; 2]], arc: &Arc) -> f64 {
    let mut most: f64 = 0.0;
    for point in drawn {
        let nearest = given.windows(2).map(|piece| to_piece(*point, piece[0], piece[1])).fold(f64::INFINITY, f64::min);
        most = most.max(nearest);
    }
    let ends = [drawn[0], drawn[drawn.len() - 1]];
    for piece in given.windows(2) {
        for part in 0..=PARTS {
            let point = between(piece[0], piece[1], f64::from(part) / f64::from(PARTS));
            most = most.max(to_arc(point, arc, ends));
        }
    }
    most
}

/// The part of a piece, as shares from 0 to 1, that is within a distance of a point.
fn free(point: [f64; 2], a: [f64; 2], b: [f64; 2], most: f64) -> Option<[f64; 2]> {
    let way = [b[0] - a[0], b[1] - a[1]];
    let to = [a[0] - point[0], a[1] - point[1]];
    let square = way[0] * way[0] + way[1] * way[1];
    let half = to[0] * way[0] + to[1] * way[1];
    let rest = to[0] * to[0] + to[1] * to[1] - most * most;
    if square == 0.0 {
        return (rest <= 0.0).then_some([0.0, 1.0]);
    }
    let root = half * half - square * rest;
    if root < 0.0 {
        return None;
    }
    let (low, high) = ((-half - root.sqrt()) / square, (-half + root.sqrt()) / square);
    (low <= 1.0 && high >= 0.0).then_some([low.max(0.0), high.min(1.0)])
}

/// What of a free part can be reached, coming from the neighbouring sides of the cell before it.
fn reachable(free: Option<[f64; 2]>, along: Option<[f64; 2]>, across: bool) -> Option<[f64; 2]> {
    let [low, high] = free?;
    if across {
        return Some([low, high]);
    }
    let low = low.max(along?[0]);
    (low <= high).then_some([low, high])
}

/// Whether the Fréchet distance of two paths is at most so much: a walker on each, neither ever going back, can stay
/// as close as that all the way.
fn goes_along(rows: &[[f64; 2]], columns: &[[f64; 2]], most: f64) -> bool {
    if distance(rows[0], columns[0]) > most || distance(rows[rows.len() - 1], columns[columns.len() - 1]) > most {
        return false;
    }
    let pieces = rows.len() - 1;
    // Of the present column's left side: what of each row piece can be reached.
    let mut left: Vec<Option<[f64; 2]>> = vec![None; pieces];
    let mut open = true;
    for (row, side) in left.iter_mut().enumerate() {
        *side = free(columns[0], rows[row], rows[row + 1], most).filter(|part| open && part[0] <= 0.0);
        open = side.is_some_and(|part| part[1] >= 1.0);
    }
    let mut bottom_open = true;
    for column in columns.windows(2) {
        let mut below = free(rows[0], column[0], column[1], most).filter(|part| bottom_open && part[0] <= 0.0);
        bottom_open = below.is_some_and(|part| part[1] >= 1.0);
        for row in 0..pieces {
            if left[row].is_none() && below.is_none() {
                continue;
            }
            let right = reachable(free(column[1], rows[row], rows[row + 1], most), left[row], below.is_some());
            let above = reachable(free(rows[row + 1], column[0], column[1], most), below, left[row].is_some());
            (left[row], below) = (right, above);
        }
    }
    left[pieces - 1].is_some_and(|part| part[1] >= 1.0 - 1e-9)
}

/// The checker must see what is wrong: it is told wrong things.
#[test]
fn the_checker_sees_what_is_wrong() {
    let before = b"G90\nM83\nG1 X10 Y0 F600\nG1 X7.071 Y7.071 E1\nG1 X0 Y10 E1\nG1 X0 Y20 E1\nM84\n";
    let verdict = |after: &str, tolerance_mm: f64| compare(before, after.as_bytes(), tolerance_mm).unwrap();
    let arc = "G90\nM83\nG1 X10 Y0 F600\nG3 X0 Y10 I-10 J0 E2\nG1 X0 Y20 E1\nM84\n";
    let report = verdict(arc, 0.77).unwrap();
    assert!((report.deviation_mm - 0.761).abs() < 0.001, "{report:?}");
    for (what, after, tolerance_mm) in [
        ("mm away", arc.to_owned(), 0.75),
        ("another move", arc.replace("Y20", "Y20.1"), 0.77),
        ("of filament", arc.replace("E2", "E2.01"), 0.77),
        ("something else", arc.replace("M84\n", ""), 0.77),
        ("something else", arc.replace("M84", "M85"), 0.77),
        ("mm away", arc.replace("G3", "G2"), 0.77),
        ("Grbl's error 33", arc.replace("I-10 J0", "I-10.1 J0"), 0.9),
        ("feed", arc.replace("E2", "E2 F500"), 0.77),
        ("across a line", arc.replace("G3 X0 Y10", "G3 X0 Y10.002"), 0.77),
    ] {
        let found = verdict(&after, tolerance_mm).err().unwrap_or_else(|| String::from("nothing"));
        assert!(found.contains(what) || what == "something else" && found.contains("not done"), "{what}: {found}");
    }
}

/// Paths that are near each other everywhere and yet run back and forth.
#[test]
fn the_checker_sees_a_way_back() {
    let there = [[0.0, 0.0], [10.0, 0.0]];
    let back = [[0.0, 0.1], [8.0, 0.1], [2.0, 0.1], [10.0, 0.1]];
    assert!(!goes_along(&there, &back, 1.0));
    assert!(goes_along(&there, &back, 3.2));
    assert!(goes_along(&there, &[[0.0, 0.1], [3.0, -0.1], [10.0, 0.1]], 0.11));
}
