//! The circle through a chain of moves, and the proof that it stays within the tolerance.
//!
//! An arc starts and ends where its moves do, so its centre is on the perpendicular bisector of the chord, and one
//! number `s`, the centre's signed distance from the chord, is left to find. In coordinates with the chord on the
//! x axis from -h to h and the arc bulging towards +y, a point (x, y) is within t of the circle if
//! `|A - 2·y·s| <= 2·t·sqrt(s² + h²)` with `A = x² + y² - h² - t²`: for each point an interval of s, whose ends are the
//! roots of a quadratic. Every vertex bounds s from one side (the circle must reach it), the middle of every move from
//! the other (the circle must not bulge beyond it): the intersection is found in one pass, and [`proves`] then checks
//! what will be written, rounded as it will be written.
//!
//! **The proof.** Seen from the centre, every move turns in the arc's direction, by less than half a turn, and all of
//! them together by less than a whole one. So each ray from the centre within the arc's sweep meets the arc once and
//! the moves once, in the same order: this is a matching of both paths that goes forward on both. Along a ray the
//! two are as far apart as the radius differs from the point's distance to the centre; within a move this distance is
//! greatest at an end and least at an end or at the foot of the perpendicular. If it is within the tolerance of the
//! radius at all vertices and feet, it is everywhere.

use std::f64::consts::TAU;

/// What a circle must keep to. Lengths in the program's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Greatest distance between arc and moves.
    pub tolerance: f64,
    /// Least and greatest radius.
    pub radius: [f64; 2],
    /// How much the radius at the start may differ from that at the end.
    pub radius_difference: f64,
    /// Least distance from start to end: closer, rounding could turn a full turn into none.
    pub chord_min: f64,
    /// By which share the filament per length may differ between a move and the arc.
    pub flow_share: f64,
    /// The last decimal of coordinates, and that of filament: what rounding alone explains.
    pub last_decimal: [f64; 2],
    /// Centres are written in steps of one over this.
    pub grid: f64,
}

/// A chain of moves: `points` is one longer than the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain<'a> {
    /// Start of the first move, then the end of each.
    pub points: &'a [[f64; 2]],
    /// Length of each move.
    pub lengths: &'a [f64],
    /// Filament of each move; all zero, or all of one sign.
    pub filament: &'a [f64],
}

/// An arc as it will be written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Circle {
    /// The centre, from the start: I and J, rounded.
    pub center: [f64; 2],
    /// G2.
    pub clockwise: bool,
}

/// The arc for a chain of two moves or more, if there is one. What is returned is proven.
///
/// Tried first is the circle through the middle vertex, since a slicer puts its vertices on the curve it means, moved
/// into what the chain allows; then the one in the middle of what it allows, which is furthest from all limits.
#[inline]
pub(super) fn fit(chain: &Chain, limits: &Limits) -> Option<Circle> {
    let allowed = Allowed::of(chain.points, limits)?;
    let (low, high) = (allowed.apex(allowed.interval.low), allowed.apex(allowed.interval.high));
    let intended = allowed.apex(allowed.through_middle);
    let inside = intended.max(low).min(high);
    let first = allowed.circle(inside, limits);
    if let Some(circle) = first.filter(|circle| proves(chain, circle, limits)) {
        return Some(circle);
    }
    let second = allowed.circle((low + high) * 0.5, limits);
    second.filter(|circle| Some(*circle) != first && proves(chain, circle, limits))
}

/// The chord of a chain, and points seen from it.
struct Chord {
    middle: [f64; 2],
    along: [f64; 2],
    half: f64,
}

impl Chord {
    #[inline]
    fn of(points: &[[f64; 2]], length_min: f64) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let way = [last[0] - first[0], last[1] - first[1]];
        let length = (way[0] * way[0] + way[1] * way[1]).sqrt();
        if length < length_min {
            return None;
        }
        Some(Self {
            middle: [first[0] + way[0] / 2.0, first[1] + way[1] / 2.0],
            along: [way[0] / length, way[1] / length],
            half: length / 2.0,
        })
    }

    #[inline]
    fn local(&self, point: [f64; 2]) -> [f64; 2] {
        let (dx, dy) = (point[0] - self.middle[0], point[1] - self.middle[1]);
        [dx * self.along[0] + dy * self.along[1], dy * self.along[0] - dx * self.along[1]]
    }
}

/// The values of s that are still possible.
struct Interval {
    low: f64,
    high: f64,
}

impl Interval {
    /// A point that the circle must reach to within t, or one (`inner`) beyond which it must not bulge by more than t.
    /// Points closer to the chord than t say nothing that is simple; the proof looks at them.
    #[inline]
    fn narrow(&mut self, [x, y]: [f64; 2], half_square: f64, tolerance: f64, inner: bool) {
        let tolerance_square = tolerance * tolerance;
        let spread = y * y - tolerance_square;
        if spread <= 0.0 {
            return;
        }
        let a = x * x + y * y - half_square - tolerance_square;
        let root = tolerance * (a * a + 4.0 * spread * half_square).sqrt();
        if (y > 0.0) == inner {
            self.high = self.high.min((a * y + root) / (2.0 * spread));
        } else {
            self.low = self.low.max((a * y - root) / (2.0 * spread));
        }
    }
}

/// What a chain allows its circle to be.
///
/// Places within the interval are told by the height of the arc's apex over the chord, which is what the distances of
/// the points go by: 0 is the chord itself, infinity all of the circle.
struct Allowed {
    start: [f64; 2],
    chord: Chord,
    interval: Interval,
    /// The s of the circle through the middle vertex.
    through_middle: f64,
    /// 1 where the arc bulges to the left of the way, -1 to the right.
    side: f64,
}

impl Allowed {
    #[inline]
    fn of(points: &[[f64; 2]], limits: &Limits) -> Option<Self> {
        let chord = Chord::of(points, limits.chord_min)?;
        let half_square = chord.half * chord.half;
        // The middle vertex is on the side to which the arc bulges, however far the arc goes round.
        let [middle_x, middle_y] = chord.local(points[points.len() / 2]);
        let side = if middle_y > 0.0 { 1.0 } else { -1.0 };
        let mut interval = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
        let mut before = [-chord.half, 0.0];
        for point in &points[1..] {
            let [x, y] = chord.local(*point);
            let here = [x, y * side];
            interval.narrow(here, half_square, limits.tolerance, false);
            let between = [(before[0] + here[0]) * 0.5, (before[1] + here[1]) * 0.5];
            interval.narrow(between, half_square, limits.tolerance, true);
            if interval.low > interval.high {
                return None;
            }
            before = here;
        }
        let through_middle = (middle_x * middle_x + middle_y * middle_y - half_square) / (2.0 * middle_y * side);
        Some(Self { start: points[0], chord, interval, through_middle, side })
    }

    /// The height of the apex for a place of the centre.
    #[inline]
    fn apex(&self, s: f64) -> f64 {
        let half = self.chord.half;
        let radius = (s * s + half * half).sqrt();
        if s > 0.0 { radius + s } else { half * half / (radius - s) }
    }

    /// The circle with an apex so high, rounded.
    #[inline]
    fn circle(&self, apex: f64, limits: &Limits) -> Option<Circle> {
        let half = self.chord.half;
        let s = self.side * (apex * apex - half * half) / (2.0 * apex);
        if !s.is_finite() {
            return None;
        }
        let [along_x, along_y] = self.chord.along;
        let center = [self.chord.middle[0] - s * along_y, self.chord.middle[1] + s * along_x];
        let round = |value: f64| (value * limits.grid).round() / limits.grid;
        let from_start = [round(center[0] - self.start[0]), round(center[1] - self.start[1])];
        Some(Circle { center: from_start, clockwise: self.side > 0.0 })
    }
}

/// Whether a circle, as written, holds everything: distance, direction, radii, flow. See the proof above.
#[inline]
pub(super) fn proves(chain: &Chain, circle: &Circle, limits: &Limits) -> bool {
    let (Some(first), Some(last)) = (chain.points.first(), chain.points.last()) else { return false };
    let origin = [first[0] + circle.center[0], first[1] + circle.center[1]];
    let seen = |point: &[f64; 2]| [point[0] - origin[0], point[1] - origin[1]];
    let (start, end) = (seen(first), seen(last));
    let (start_radius, end_radius) = (start[0].hypot(start[1]), end[0].hypot(end[1]));
    let radius_ok = start_radius >= limits.radius[0] && start_radius <= limits.radius[1];
    if !radius_ok || (start_radius - end_radius).abs() > limits.radius_difference {
        return false;
    }
    // Firmware draws with the first radius and ends on the second: the moves must be within reach of both.
    let least = start_radius.max(end_radius) - limits.tolerance;
    let most = start_radius.min(end_radius) + limits.tolerance;
    if least <= 0.0 {
        return false;
    }
    let (least_square, most_square) = (least * least, most * most);
    let turn = if circle.clockwise { -1.0 } else { 1.0 };
    let mut before = start;
    let mut path = 0.0;
    let mut second_half = false;
    for (point, length) in chain.points[1..].iter().zip(chain.lengths) {
        let here = seen(point);
        let distance_square = here[0] * here[0] + here[1] * here[1];
        let cross = turn * (before[0] * here[1] - before[1] * here[0]);
        if !(cross > 0.0 && (least_square..=most_square).contains(&distance_square)) {
            return false;
        }
        let step = [here[0] - before[0], here[1] - before[1]];
        let passes_foot =
            before[0] * step[0] + before[1] * step[1] < 0.0 && here[0] * step[0] + here[1] * step[1] > 0.0;
        if passes_foot && cross * cross < least_square * (step[0] * step[0] + step[1] * step[1]) {
            return false;
        }
        // Seen from the start, the way out is on one side, the way back on the other; out again is a second turn.
        let out = turn * (start[0] * here[1] - start[1] * here[0]) > 0.0;
        if second_half && out {
            return false;
        }
        second_half |= !out;
        path += length;
        before = here;
    }
    // As `arc::Arc` has it: between the two radii.
    let length = (start_radius + end_radius) * 0.5 * sweep(start, end, turn);
    flow_holds(chain, length, path, limits)
}

/// The angle from start to end in the arc's direction, positive, in radians.
#[inline]
fn sweep(start: [f64; 2], end: [f64; 2], turn: f64) -> f64 {
    let cross = turn * (start[0] * end[1] - start[1] * end[0]);
    let angle = cross.atan2(start[0] * end[0] + start[1] * end[1]);
    if angle > 0.0 { angle } else { angle + TAU }
}

/// Whether filament per length, or the length where there is no filament, stays within the share.
#[inline]
fn flow_holds(chain: &Chain, arc: f64, path: f64, limits: &Limits) -> bool {
    if (arc - path).abs() > limits.flow_share * path {
        return false;
    }
    let total: f64 = chain.filament.iter().sum();
    if total == 0.0 {
        return true;
    }
    let rate = (total / arc).abs();
    let rounding = limits.last_decimal[1] + rate * limits.last_decimal[0];
    chain.filament.iter().zip(chain.lengths).all(|(filament, length)| {
        let wanted = rate * length;
        (filament.abs() - wanted).abs() <= limits.flow_share * wanted + rounding
    })
}

/// How far a circle is from the moves at most, over vertices and feet: the figure that [`proves`] compares.
pub(super) fn deviation(chain: &Chain, circle: &Circle) -> f64 {
    let Some(first) = chain.points.first() else { return 0.0 };
    let origin = [first[0] + circle.center[0], first[1] + circle.center[1]];
    let radius = circle.center[0].hypot(circle.center[1]);
    let mut most: f64 = 0.0;
    let mut before = [first[0] - origin[0], first[1] - origin[1]];
    for (point, length) in chain.points[1..].iter().zip(chain.lengths) {
        let here = [point[0] - origin[0], point[1] - origin[1]];
        most = most.max((here[0].hypot(here[1]) - radius).abs());
        let step = [here[0] - before[0], here[1] - before[1]];
        if before[0] * step[0] + before[1] * step[1] < 0.0 && here[0] * step[0] + here[1] * step[1] > 0.0 {
            let foot = (before[0] * here[1] - before[1] * here[0]).abs() / length;
            most = most.max((foot - radius).abs());
        }
        before = here;
    }
    most
}

#[cfg(test)]
mod test {
    use super::*;

    fn limits() -> Limits {
        Limits {
            tolerance: 0.01,
            radius: [0.05, 1000.0],
            radius_difference: 0.002,
            chord_min: 0.02,
            flow_share: 0.05,
            last_decimal: [0.001, 0.0001],
            grid: 1000.0,
        }
    }

    /// Points on a circle of radius 10 about (50, 50), from one angle to another.
    fn ring(from: f64, to: f64, count: usize) -> Vec<[f64; 2]> {
        (0..=count)
            .map(|step| {
                let (sin, cos) = (from + (to - from) * step as f64 / count as f64).sin_cos();
                [50.0 + 10.0 * cos, 50.0 + 10.0 * sin]
            })
            .collect()
    }

    fn fitted(points: &[[f64; 2]], filament: impl Fn(usize, f64) -> f64) -> Option<Circle> {
        let lengths: Vec<f64> =
            points.windows(2).map(|pair| (pair[1][0] - pair[0][0]).hypot(pair[1][1] - pair[0][1])).collect();
        let filament: Vec<f64> = lengths.iter().enumerate().map(|(at, length)| filament(at, *length)).collect();
        fit(&Chain { points, lengths: &lengths, filament: &filament }, &limits())
    }

    #[test]
    fn a_ring_of_any_sweep_and_direction_gives_its_circle() {
        for (to, clockwise) in [(0.5, false), (3.0, false), (3.3, false), (6.2, false), (-0.5, true), (-6.2, true)] {
            let points = ring(0.0, to, 100);
            let circle = fitted(&points, |_, _| 0.0).unwrap();
            assert_eq!(circle.clockwise, clockwise, "{to}");
            assert!((circle.center[0] + 10.0).abs() < 0.06 && circle.center[1].abs() < 0.06, "{to}: {circle:?}");
        }
    }

    #[test]
    fn more_than_a_turn_or_a_turn_that_ends_where_it_began_is_none() {
        assert_eq!(fitted(&ring(0.0, TAU, 100), |_, _| 0.0), None);
        assert_eq!(fitted(&ring(0.0, 6.4, 100), |_, _| 0.0), None);
        assert_eq!(fitted(&ring(0.0, 4.0 * TAU - 1.0, 400), |_, _| 0.0), None);
    }

    #[test]
    fn a_corner_a_line_and_a_step_back_are_none() {
        assert_eq!(fitted(&[[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]], |_, _| 0.0), None);
        assert_eq!(fitted(&[[0.0, 0.0], [5.0, 0.0], [10.0, 0.0]], |_, _| 0.0), None);
        let mut back = ring(0.0, 1.0, 50);
        back.swap(20, 21);
        assert_eq!(fitted(&back, |_, _| 0.0), None);
    }

    #[test]
    fn coarse_moves_are_as_far_from_the_arc_as_their_middles() {
        // A chord of angle a is r·(1 - cos(a/2)) inside: 0.0112 mm at 0.0947 rad, 0.0088 mm at 0.084 rad. The circle
        // between vertices and middles halves that, so it takes twice the angle's square.
        assert!(fitted(&ring(0.0, 0.084 * 8.0, 8), |_, _| 0.0).is_some());
        assert!(fitted(&ring(0.0, 0.135 * 8.0, 8), |_, _| 0.0).is_none());
    }

    #[test]
    fn filament_that_differs_by_more_than_the_share_is_none() {
        let points = ring(0.0, 2.0, 40);
        assert!(fitted(&points, |_, length| length * 0.05).is_some());
        assert!(fitted(&points, |at, length| length * if at == 17 { 0.052 } else { 0.05 }).is_some());
        assert!(fitted(&points, |at, length| length * if at == 17 { 0.056 } else { 0.05 }).is_none());
        assert!(fitted(&points, |at, length| -length * if at == 17 { 0.056 } else { 0.05 }).is_none());
    }
}
