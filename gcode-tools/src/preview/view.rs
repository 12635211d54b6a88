//! Where a point of the machine lies on the picture.

use crate::analysis::Bounds;

/// From where the work is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// From above: X to the right, Y up.
    Above,
    /// Slantwise from the front and above: X to the right and towards the eye, Y to the right and away, Z up.
    Aslant,
}

/// How far the machine is turned about Z for the slanted view, in radians: its front and its right side are seen.
const TURN: f64 = -0.62;

/// How steeply the slanted view looks down, in radians.
const DOWN: f64 = 0.6;

/// A view of a box, fitted into a rectangle of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) from: From,
    /// Pixels to a millimetre.
    pub(super) scale: f64,
    /// What is added, in pixels.
    shift: [f64; 2],
    turn: (f64, f64),
    down: (f64, f64),
}

impl View {
    /// Fits a box into so many pixels, with a margin.
    pub(super) fn fitted(from: From, bounds: &Bounds, size_px: [f64; 2], margin_px: f64) -> Self {
        let mut view = Self { from, scale: 1.0, shift: [0.0; 2], turn: TURN.sin_cos(), down: DOWN.sin_cos() };
        let (low, high) = view.extent(bounds);
        let room = size_px.map(|size| (size - 2.0 * margin_px).max(8.0));
        let need = [0, 1].map(|axis| (high[axis] - low[axis]).max(1e-3));
        // A single hole must not fill the picture: at most so many pixels to a millimetre.
        view.scale = (room[0] / need[0]).min(room[1] / need[1]).min(400.0);
        view.shift = [0, 1].map(|axis| size_px[axis] / 2.0 - f64::midpoint(low[axis], high[axis]) * view.scale);
        view
    }

    /// Width and height of a box as seen, in millimetres.
    pub(super) fn seen_mm(from: From, bounds: &Bounds) -> [f64; 2] {
        let view = Self { from, scale: 1.0, shift: [0.0; 2], turn: TURN.sin_cos(), down: DOWN.sin_cos() };
        let (low, high) = view.extent(bounds);
        [0, 1].map(|axis| (high[axis] - low[axis]).max(1e-3))
    }

    fn extent(&self, bounds: &Bounds) -> ([f64; 2], [f64; 2]) {
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for corner in 0..8 {
            let point = [0, 1, 2].map(|axis| if corner >> axis & 1 == 0 { bounds.min[axis] } else { bounds.max[axis] });
            let seen = self.flat(point);
            for axis in 0..2 {
                low[axis] = low[axis].min(seen[axis]);
                high[axis] = high[axis].max(seen[axis]);
            }
        }
        (low, high)
    }

    /// A point as seen, in millimetres, the second coordinate downwards.
    #[inline]
    fn flat(&self, [x, y, z]: [f64; 3]) -> [f64; 2] {
        match self.from {
            From::Above => [x, -y],
            From::Aslant => {
                let (turn_sin, turn_cos) = self.turn;
                let (down_sin, down_cos) = self.down;
                let across = x * turn_cos - y * turn_sin;
                let away = x * turn_sin + y * turn_cos;
                [across, -(away * down_sin + z * down_cos)]
            }
        }
    }

    /// A point of the machine in pixels of the panel.
    #[inline]
    pub(super) fn point(&self, at: [f64; 3]) -> [f32; 2] {
        let flat = self.flat(at);
        [(flat[0] * self.scale + self.shift[0]) as f32, (flat[1] * self.scale + self.shift[1]) as f32]
    }

    /// The coordinate at a pixel from above: X of a column, Y of a row.
    pub(super) fn coordinate(&self, axis: usize, pixel: f64) -> f64 {
        let flat = (pixel - self.shift[axis]) / self.scale;
        if axis == 0 { flat } else { -flat }
    }

    /// How bright a wall along a direction is seen, from 0 to 1: the light comes from the left and the front.
    #[inline]
    pub(super) fn light(&self, way: [f64; 2]) -> f64 {
        let length = way[0].hypot(way[1]);
        if length == 0.0 {
            return 1.0;
        }
        // The side of the wall that faces the eye.
        let mut side = [way[1] / length, -way[0] / length];
        if side[0] * self.turn.0 + side[1] * self.turn.1 > 0.0 {
            side = side.map(|part| -part);
        }
        (0.5 - 0.35 * side[0] - 0.45 * side[1]).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const BED: Bounds = Bounds { min: [0.0, 0.0, 0.0], max: [200.0, 100.0, 50.0] };

    #[test]
    fn from_above_x_goes_right_and_y_up() {
        let view = View::fitted(From::Above, &BED, [440.0, 240.0], 20.0);
        assert_eq!(view.scale, 2.0);
        assert_eq!((view.point([0.0, 0.0, 0.0]), view.point([200.0, 100.0, 0.0])), ([20.0, 220.0], [420.0, 20.0]));
        assert_eq!((view.coordinate(0, 20.0), view.coordinate(1, 20.0)), (0.0, 100.0));
    }

    #[test]
    fn aslant_everything_is_inside_and_the_front_is_brighter_than_the_side() {
        let view = View::fitted(From::Aslant, &BED, [400.0, 300.0], 10.0);
        for corner in [[0.0, 0.0, 0.0], [200.0, 0.0, 50.0], [0.0, 100.0, 50.0], [200.0, 100.0, 0.0]] {
            let [x, y] = view.point(corner);
            assert!((9.9..390.1).contains(&x) && (9.9..290.1).contains(&y), "{corner:?}: {x} {y}");
        }
        assert!(view.light([1.0, 0.0]) > view.light([0.0, 1.0]));
    }
}
