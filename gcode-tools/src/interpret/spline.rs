//! G5 and G5.1: cubic and quadratic splines, of LinuxCNC, grblHAL and Marlin.

use super::{Event, Family, Path, State, Unfollowed, Watch};
use crate::modal::Plane;
use crate::statement::Statement;

/// Straight pieces that a spline is followed in, beside those that end at its extremes. Their length is less than a
/// thousandth shorter than the spline's.
const PIECES: u32 = 64;

impl State {
    /// A spline from where the tool is to `to`, as short straight moves.
    pub(super) fn spline<W: Watch>(
        &mut self,
        line: u64,
        statement: &Statement,
        mode: u32,
        to: [f64; 3],
        (extruded_mm, extruder): (f64, f64),
        watch: &mut W,
    ) {
        if self.modal.plane != Plane::Xy || self.transform.is_some() {
            watch.event(Event::NotFollowed(Unfollowed::Code(b'G', mode)), line, self);
            self.position = to;
            return;
        }
        let unit = self.modal.unit_mm();
        let point = |letter: u8| statement.value(letter).map(|value| value * unit);
        let from = self.position;
        let (i, j) = (point(b'I'), point(b'J'));
        let first = match (i, j, self.spline_end) {
            // Goes on as the spline before it ended.
            (None, None, Some([p, q])) if mode == 50 && self.family == Family::Cnc => [-p, -q],
            _ => [i.unwrap_or(0.0), j.unwrap_or(0.0)],
        };
        let (p, q) = (point(b'P').unwrap_or(0.0), point(b'Q').unwrap_or(0.0));
        let controls = if mode == 50 {
            self.spline_end = Some([p, q]);
            [[from[0] + first[0], from[1] + first[1]], [to[0] + p, to[1] + q]]
        } else {
            self.spline_end = None;
            // A quadratic is the cubic whose control points lie two thirds of the way to its one.
            let middle = [from[0] + first[0], from[1] + first[1]];
            [from, to].map(|end| [0, 1].map(|axis| end[axis] + (middle[axis] - end[axis]) * 2.0 / 3.0))
        };
        let bend = Bend { from, controls, to };
        let parameters = bend.parameters();
        let whole: f64 = parameters.windows(2).map(|pair| bend.chord(pair[0], pair[1])).sum();
        for pair in parameters.windows(2) {
            let share = if whole > 0.0 { bend.chord(pair[0], pair[1]) / whole } else { 1.0 / f64::from(PIECES) };
            let motion = self.motion(line, Path::Line, bend.at(pair[1]), extruded_mm * share, false);
            watch.moved(&motion, self);
            self.position = motion.to;
        }
        (self.position, self.extruder) = (to, extruder);
    }
}

/// A cubic Bézier curve in X and Y, with Z straight.
struct Bend {
    from: [f64; 3],
    controls: [[f64; 2]; 2],
    to: [f64; 3],
}

impl Bend {
    fn at(&self, t: f64) -> [f64; 3] {
        let s = 1.0 - t;
        let along = |axis: usize| {
            let [first, second] = self.controls.map(|control| control[axis]);
            s * s * s * self.from[axis] + 3.0 * s * s * t * first + 3.0 * s * t * t * second + t * t * t * self.to[axis]
        };
        if t >= 1.0 {
            return self.to;
        }
        [along(0), along(1), self.from[2] * s + self.to[2] * t]
    }

    fn chord(&self, low: f64, high: f64) -> f64 {
        let (a, b) = (self.at(low), self.at(high));
        (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f64>().sqrt()
    }

    /// Where the pieces begin and end: evenly, and at the extremes of either axis.
    fn parameters(&self) -> Vec<f64> {
        let mut parameters: Vec<f64> = (0..=PIECES).map(|step| f64::from(step) / f64::from(PIECES)).collect();
        for axis in 0..2 {
            let [first, second] = self.controls.map(|control| control[axis]);
            let (d0, d1, d2) = (first - self.from[axis], second - first, self.to[axis] - second);
            let (a, b, c) = (d0 - 2.0 * d1 + d2, 2.0 * (d1 - d0), d0);
            let roots = if a.abs() > 1e-12 {
                let under = b * b - 4.0 * a * c;
                let root = under.max(0.0).sqrt();
                if under < 0.0 { [f64::NAN; 2] } else { [(-b - root) / (2.0 * a), (-b + root) / (2.0 * a)] }
            } else {
                [-c / b, f64::NAN]
            };
            parameters.extend(roots.into_iter().filter(|root| *root > 0.0 && *root < 1.0));
        }
        parameters.sort_by(f64::total_cmp);
        parameters
    }
}
