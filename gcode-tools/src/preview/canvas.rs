//! The strokes of a picture, bounded: of what lies on top of each other only what can be seen is kept.
//!
//! A grid with one cell a pixel knows which stroke lies uppermost in it. A stroke that no cell shows any more is
//! forgotten, so that the number of strokes is bounded by the picture and not by the program.

use super::palette::Ink;

/// Units of a stroke's coordinates in a pixel: strokes are placed to a quarter of one.
pub(super) const UNITS: f32 = 4.0;

/// Units of a stroke's bulge.
pub(super) const BULGE_UNITS: f32 = 16384.0;

/// How far outside of the picture a stroke may reach, in pixels: its round end is then out of sight.
const BEYOND_PX: f32 = 8.0;

/// The owner of a cell that shows the ground.
const NOBODY: u32 = u32::MAX;

/// Narrowest stroke that the grid is asked about, in pixels: a cell's diagonal, so that no line slips between centres.
const NARROWEST_PX: f32 = 1.42;

/// What a stroke is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A straight line.
    Line,
    /// An arc of at most a quarter turn: the tangent of a quarter of its angle, in [`BULGE_UNITS`], clockwise on the
    /// picture positive.
    Arc(i16),
    /// A dot where the tool goes straight down.
    Dot,
}

/// One line of the picture, in quarter pixels from its panel's upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stroke {
    pub(super) from: [i16; 2],
    pub(super) to: [i16; 2],
    pub(super) shape: Shape,
    pub(super) ink: Ink,
    /// What lies above: the higher key hides the lower, the later the earlier.
    pub(super) key: u16,
}

/// Strokes and the grid that knows which of them can be seen.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    owners: Vec<u32>,
    keys: Vec<u16>,
    strokes: Vec<Stroke>,
    strokes_max: usize,
    line_px: f32,
    dot_px: f32,
}

impl Canvas {
    /// An empty canvas of so many pixels, whose lines and dots are so wide, for at most so many strokes.
    pub(super) fn new(size_px: [usize; 2], line_px: f32, dot_px: f32, strokes_max: usize) -> Self {
        let [width, height] = size_px;
        Self {
            width,
            height,
            owners: vec![NOBODY; width * height],
            keys: vec![0; width * height],
            strokes: Vec::new(),
            strokes_max,
            line_px,
            dot_px,
        }
    }

    /// Whether a point is in the picture, or so near that a stroke may start there.
    pub(super) fn is_near(&self, [x, y]: [f32; 2]) -> bool {
        let near = |at: f32, size: usize| at >= -BEYOND_PX && at <= size as f32 + BEYOND_PX;
        near(x, self.width) && near(y, self.height)
    }

    /// A straight line, in pixels. What is out of sight is cut off.
    pub(super) fn line(&mut self, from: [f32; 2], to: [f32; 2], ink: Ink, key: u16) {
        if let Some((from, to)) = self.clip(from, to) {
            self.keep(from, to, Shape::Line, ink, key, |canvas, owner| {
                canvas.cover(from, to, canvas.line_px, owner, key)
            });
        }
    }

    /// A dot, in pixels.
    pub(super) fn dot(&mut self, at: [f32; 2], ink: Ink, key: u16) {
        if self.is_near(at) {
            self.keep(at, at, Shape::Dot, ink, key, |canvas, owner| canvas.cover(at, at, canvas.dot_px, owner, key));
        }
    }

    /// An arc of at most a quarter turn, in pixels, by the tangent of a quarter of its angle.
    pub(super) fn arc(&mut self, from: [f32; 2], to: [f32; 2], bulge: f32, ink: Ink, key: u16) {
        if !self.is_near(from) || !self.is_near(to) {
            // Partly out of sight: chords of it, each cut where the picture ends.
            let mut last = from;
            for point in chords(from, to, bulge) {
                self.line(last, point, ink, key);
                last = point;
            }
            return;
        }
        let shape = Shape::Arc((bulge * BULGE_UNITS) as i16);
        self.keep(from, to, shape, ink, key, |canvas, owner| {
            let (mut last, mut seen) = (from, false);
            for point in chords(from, to, bulge) {
                seen |= canvas.cover(last, point, canvas.line_px, owner, key);
                last = point;
            }
            seen
        });
    }

    /// Keeps a stroke if any cell shows it.
    fn keep(
        &mut self,
        from: [f32; 2],
        to: [f32; 2],
        shape: Shape,
        ink: Ink,
        key: u16,
        cover: impl FnOnce(&mut Self, u32) -> bool,
    ) {
        if self.strokes.len() >= self.strokes_max {
            self.forget(self.strokes_max * 3 / 4);
        }
        let owner = self.strokes.len() as u32;
        if cover(self, owner) {
            let units = |point: [f32; 2]| point.map(|at| (at * UNITS).round() as i16);
            self.strokes.push(Stroke { from: units(from), to: units(to), shape, ink, key });
        }
    }

    /// The part of a line that lies in sight (Liang and Barsky's way).
    fn clip(&self, from: [f32; 2], to: [f32; 2]) -> Option<([f32; 2], [f32; 2])> {
        if self.is_near(from) && self.is_near(to) {
            return Some((from, to));
        }
        let beyond = f64::from(BEYOND_PX);
        let (a, b) = (from.map(f64::from), to.map(f64::from));
        let (mut start, mut end) = (0.0_f64, 1.0_f64);
        for (axis, size) in [self.width, self.height].into_iter().enumerate() {
            let way = b[axis] - a[axis];
            for (to_edge, way) in [(a[axis] + beyond, -way), (size as f64 + beyond - a[axis], way)] {
                if way == 0.0 {
                    if to_edge < 0.0 {
                        return None;
                    }
                } else if way < 0.0 {
                    start = start.max(to_edge / way);
                } else {
                    end = end.min(to_edge / way);
                }
            }
        }
        // A hair inside, so that rounding leaves the ends in sight.
        let ends = |axis: usize| (1e-3 - beyond, [self.width, self.height][axis] as f64 + beyond - 1e-3);
        let at = |share: f64| {
            [0, 1].map(|axis| {
                let (least, most) = ends(axis);
                let at = a[axis] + (b[axis] - a[axis]) * share;
                // Not `clamp`: what is no number stays none.
                if at < least {
                    least as f32
                } else if at > most {
                    most as f32
                } else {
                    at as f32
                }
            })
        };
        let (from, to) = (at(start), at(end));
        // Numbers too large to place are not drawn; `is_near` is false of what is no number.
        (start < end && self.is_near(from) && self.is_near(to)).then_some((from, to))
    }

    /// Gives the cells of a straight line to its stroke, where nothing lies above. Says whether there were any.
    fn cover(&mut self, from: [f32; 2], to: [f32; 2], width: f32, owner: u32, key: u16) -> bool {
        let half = width.max(NARROWEST_PX) / 2.0;
        let way = [to[0] - from[0], to[1] - from[1]];
        let length = way[0].hypot(way[1]);
        let [ux, uy] = if length > 0.0 { [way[0] / length, way[1] / length] } else { [1.0, 0.0] };
        let (low, high) = (from[1].min(to[1]) - half, from[1].max(to[1]) + half);
        let rows =
            (low - 0.5).ceil().max(0.0) as usize..((high - 0.5).floor() + 1.0).clamp(0.0, self.height as f32) as usize;
        let (left, right) = (from[0].min(to[0]) - half, from[0].max(to[0]) + half);
        let mut seen = false;
        for row in rows {
            let y = row as f32 + 0.5 - from[1];
            // Along the line between its ends, across it within its width: two conditions on x, both linear.
            let (mut low, mut high) = (left - from[0], right - from[0]);
            let mut within = |along: f32, fixed: f32, least: f32, most: f32| {
                if along.abs() < 1e-4 {
                    if fixed < least || fixed > most {
                        high = f32::NEG_INFINITY;
                    }
                    return;
                }
                let (a, b) = ((least - fixed) / along, (most - fixed) / along);
                low = low.max(a.min(b));
                high = high.min(a.max(b));
            };
            within(ux, y * uy, -half * 0.7, length + half * 0.7);
            within(-uy, y * ux, -half, half);
            if low > high {
                continue;
            }
            let first = (low + from[0] - 0.5).ceil().max(0.0) as usize;
            let end = ((high + from[0] - 0.5).floor() + 1.0).clamp(0.0, self.width as f32) as usize;
            for cell in row * self.width + first..row * self.width + end.max(first) {
                if key >= self.keys[cell] {
                    self.keys[cell] = key;
                    self.owners[cell] = owner;
                    seen = true;
                }
            }
        }
        seen
    }

    /// Forgets what cannot be seen. Where more than so many strokes can, those go first that show in the fewest cells,
    /// and of these the oldest.
    fn forget(&mut self, most: usize) {
        let shown = self.shown();
        let mut least = 1;
        let mut excess = 0;
        let seen = shown.iter().filter(|cells| **cells > 0).count();
        if seen > most {
            let mut sorted = shown.clone();
            let last_out = shown.len() - most - 1;
            least = *sorted.select_nth_unstable(last_out).1;
            excess = shown.iter().filter(|cells| **cells >= least).count() - most;
        }
        let mut places = Vec::with_capacity(shown.len());
        let mut kept = 0;
        for cells in &shown {
            let goes = *cells < least || *cells == least && excess > 0;
            excess -= usize::from(goes && *cells == least && excess > 0);
            places.push(if goes { NOBODY } else { kept });
            kept += u32::from(!goes);
        }
        for (owner, key) in self.owners.iter_mut().zip(&mut self.keys).filter(|(owner, _)| **owner != NOBODY) {
            *owner = places.get(*owner as usize).copied().unwrap_or(NOBODY);
            if *owner == NOBODY {
                *key = 0;
            }
        }
        let mut place = places.iter();
        self.strokes.retain(|_| place.next().is_some_and(|place| *place != NOBODY));
    }

    /// Cells that each stroke shows in.
    fn shown(&self) -> Vec<u32> {
        let mut shown = vec![0; self.strokes.len()];
        for owner in &self.owners {
            if let Some(cells) = shown.get_mut(*owner as usize) {
                *cells += 1;
            }
        }
        shown
    }

    /// Ends drawing: what can be seen is left, the lowest first, and the grid is given back.
    pub(super) fn finish(mut self) -> Drawing {
        self.forget(self.strokes_max);
        let shown = self.shown();
        let mut strokes: Vec<_> = self.strokes.into_iter().zip(shown).collect();
        // Of one layer what lies flat comes first, so that infill does not run over the walls it ends at.
        strokes.sort_by_key(|(stroke, _)| (stroke.key, !stroke.ink.is_flat(), stroke.ink));
        Drawing { strokes, line_px: self.line_px, dot_px: self.dot_px }
    }
}

/// What can be seen of a canvas.
#[derive(Debug)]
pub(super) struct Drawing {
    /// Strokes, the lowest first, and in how many pixels each shows.
    strokes: Vec<(Stroke, u32)>,
    /// Width of lines in pixels.
    pub(super) line_px: f32,
    /// Width of dots in pixels.
    pub(super) dot_px: f32,
}

impl Drawing {
    /// The strokes that show in at least so many pixels.
    pub(super) fn visible(&self, least: u32) -> Vec<Stroke> {
        self.strokes.iter().filter(|(_, shown)| *shown >= least).map(|(stroke, _)| *stroke).collect()
    }
}

/// The ends of chords that stay within a seventh of a pixel of an arc given by its bulge.
pub(super) fn chords(from: [f32; 2], to: [f32; 2], bulge: f32) -> impl Iterator<Item = [f32; 2]> {
    let way = [to[0] - from[0], to[1] - from[1]];
    let chord = way[0].hypot(way[1]);
    let angle = 4.0 * bulge.atan();
    let radius = if bulge == 0.0 { f32::INFINITY } else { (chord / 2.0 / (angle / 2.0).sin()).abs() };
    let step = 2.0 * (1.0 - (0.15 / radius).min(1.0)).acos();
    let count = if step > 0.0 { (angle.abs() / step).ceil().clamp(1.0, 64.0) } else { 1.0 };
    // The centre lies off the chord's middle, across it.
    let off = if bulge == 0.0 { 0.0 } else { (1.0 - bulge * bulge) / (4.0 * bulge) };
    let center = [from[0] + way[0] / 2.0 - way[1] * off, from[1] + way[1] / 2.0 + way[0] * off];
    let start = [from[0] - center[0], from[1] - center[1]];
    (1..=count as u32).map(move |index| {
        if index as f32 >= count {
            return to;
        }
        let (sin, cos) = (angle * index as f32 / count).sin_cos();
        [center[0] + start[0] * cos - start[1] * sin, center[1] + start[0] * sin + start[1] * cos]
    })
}

#[cfg(test)]
mod test {
    use super::*;

    const INK: Ink = Ink::new(0, 0, 0);

    fn canvas(strokes_max: usize) -> Canvas {
        Canvas::new([100, 80], 1.5, 4.0, strokes_max)
    }

    #[test]
    fn what_lies_above_hides_what_lies_below_whichever_came_first() {
        let mut canvas = canvas(1000);
        canvas.line([10.0, 10.0], [90.0, 10.0], INK, 5);
        canvas.line([10.0, 10.0], [90.0, 10.0], INK, 3);
        canvas.line([20.0, 40.0], [60.0, 40.0], INK, 3);
        canvas.line([10.0, 40.0], [90.0, 40.0], INK, 7);
        assert_eq!(canvas.finish().visible(1).iter().map(|stroke| stroke.key).collect::<Vec<_>>(), [5, 7]);
    }

    #[test]
    fn strokes_stay_bounded_whatever_is_drawn() {
        let mut canvas = canvas(500);
        for step in 0..20_000_u16 {
            let (x, y) = (f32::from(step % 97), f32::from(step % 79));
            canvas.line([x, y], [x + 3.0, y + 1.0], INK, step % 7);
            assert!(canvas.strokes.len() <= 500);
        }
        assert!(canvas.finish().visible(1).len() > 300);
    }

    #[test]
    fn numbers_beyond_all_bounds_are_cut_or_left_out() {
        let mut canvas = canvas(100);
        canvas.line([-1e9, 40.0], [1e9, 40.0], INK, 1);
        canvas.line([f32::NAN, 0.0], [10.0, 10.0], INK, 1);
        canvas.line([f32::INFINITY, 0.0], [10.0, f32::NEG_INFINITY], INK, 1);
        canvas.dot([f32::NAN, 0.0], INK, 1);
        canvas.arc([-1e7, 0.0], [1e7, 0.0], 0.4, INK, 1);
        let strokes = canvas.finish().visible(1);
        for stroke in &strokes {
            for [x, y] in [stroke.from, stroke.to] {
                assert!((-40..=440).contains(&x) && (-40..=360).contains(&y), "{stroke:?}");
            }
        }
        assert_eq!(strokes.iter().filter(|stroke| stroke.from[1] == 160).count(), 1);
    }

    #[test]
    fn chords_lie_on_their_arc() {
        // A quarter turn about the origin, radius 50.
        let bulge = (std::f32::consts::PI / 8.0).tan();
        let points: Vec<_> = chords([50.0, 0.0], [0.0, 50.0], bulge).collect();
        assert!(points.len() > 5 && points.last() == Some(&[0.0, 50.0]));
        for [x, y] in points {
            assert!((x.hypot(y) - 50.0).abs() < 0.01 && x >= 0.0 && y >= 0.0, "{x} {y}");
        }
    }
}
