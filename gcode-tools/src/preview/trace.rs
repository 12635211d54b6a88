//! Joins short moves to long strokes where the picture shows no difference.

use super::canvas::Canvas;
use super::palette::Ink;

/// How far a stroke may run beside the moves it stands for, in pixels.
const TOLERANCE_PX: f32 = 0.3;

/// Differences in height that one stroke may bridge, in keys: a few thousandths of the whole height.
const KEYS_TOGETHER: u16 = 48;

/// A pen that follows moves and draws as few strokes as show them.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    run: Option<Run>,
}

/// Moves that one straight stroke stands for.
#[derive(Debug)]
struct Run {
    from: [f32; 2],
    last: [f32; 2],
    /// The directions from `from` that pass all points within the tolerance: between low and high, counter-clockwise.
    fan: Option<([f32; 2], [f32; 2])>,
    reach: f32,
    ink: Ink,
    key: u16,
}

fn cross(a: [f32; 2], b: [f32; 2]) -> f32 {
    a[0] * b[1] - a[1] * b[0]
}

impl Run {
    fn new(from: [f32; 2], ink: Ink, key: u16) -> Self {
        Self { from, last: from, fan: None, reach: 0.0, ink, key }
    }

    /// Takes a point in if the stroke to it passes all points before.
    fn takes(&mut self, to: [f32; 2]) -> bool {
        let way = [to[0] - self.from[0], to[1] - self.from[1]];
        let distance = way[0].hypot(way[1]);
        if distance + TOLERANCE_PX < self.reach {
            return false;
        }
        if distance > TOLERANCE_PX {
            let aside = [-way[1] / distance * TOLERANCE_PX, way[0] / distance * TOLERANCE_PX];
            let mut low = [way[0] - aside[0], way[1] - aside[1]];
            let mut high = [way[0] + aside[0], way[1] + aside[1]];
            if let Some((lowest, highest)) = self.fan {
                let ahead = way[0] * (lowest[0] + highest[0]) + way[1] * (lowest[1] + highest[1]) > 0.0;
                if !ahead || cross(lowest, way) < 0.0 || cross(way, highest) < 0.0 {
                    return false;
                }
                if cross(low, lowest) > 0.0 {
                    low = lowest;
                }
                if cross(high, highest) < 0.0 {
                    high = highest;
                }
            }
            self.fan = Some((low, high));
        }
        self.reach = self.reach.max(distance);
        self.last = to;
        true
    }
}

impl Tracer {
    /// A straight move between two points of the picture, in pixels.
    pub(super) fn line(&mut self, from: [f32; 2], to: [f32; 2], ink: Ink, key: u16, canvas: &mut Canvas) {
        if let Some(run) = &mut self.run {
            if run.last == from && run.ink == ink && run.key.abs_diff(key) <= KEYS_TOGETHER {
                if run.takes(to) {
                    return;
                }
                let (corner, key_before) = (run.last, run.key);
                canvas.line(run.from, corner, ink, key_before);
                let mut next = Run::new(corner, ink, key);
                next.takes(to);
                self.run = Some(next);
                return;
            }
        }
        self.lift(canvas);
        let mut run = Run::new(from, ink, key);
        run.takes(to);
        self.run = Some(run);
    }

    /// Ends the stroke under way.
    pub(super) fn lift(&mut self, canvas: &mut Canvas) {
        if let Some(run) = self.run.take() {
            canvas.line(run.from, run.last, run.ink, run.key);
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn strokes(points: impl Iterator<Item = [f32; 2]>) -> Vec<super::super::canvas::Stroke> {
        let mut canvas = Canvas::new([200, 200], 1.0, 1.0, 10_000);
        let mut tracer = Tracer::default();
        let points: Vec<_> = points.collect();
        for pair in points.windows(2) {
            tracer.line(pair[0], pair[1], Ink::new(0, 0, 0), 1, &mut canvas);
        }
        tracer.lift(&mut canvas);
        canvas.finish().visible(1)
    }

    #[test]
    fn a_straight_line_in_a_thousand_steps_is_one_stroke() {
        assert_eq!(strokes((0..=1000).map(|step| [10.0 + step as f32 * 0.1, 20.0 + step as f32 * 0.05])).len(), 1);
    }

    #[test]
    fn a_circle_in_tiny_steps_is_few_strokes_that_stay_near_it() {
        let point = |step: i32| {
            let (sin, cos) = (step as f32 * 0.001).sin_cos();
            [100.0 + 80.0 * cos, 100.0 + 80.0 * sin]
        };
        let strokes = strokes((0..=6283).map(point));
        assert!((20..80).contains(&strokes.len()), "{}", strokes.len());
        for stroke in strokes {
            let middle = [0, 1].map(|axis| f32::from(stroke.from[axis] + stroke.to[axis]) / 8.0 - 100.0);
            assert!((middle[0].hypot(middle[1]) - 80.0).abs() < 1.0, "{stroke:?}");
        }
    }

    #[test]
    fn a_line_to_and_fro_keeps_its_far_end() {
        let strokes = strokes([[10.0, 10.0], [150.0, 10.0], [50.0, 10.0]].into_iter());
        assert!(strokes.iter().any(|stroke| stroke.from[0] == 600 || stroke.to[0] == 600), "{strokes:?}");
    }
}
