//! A run of moves of one kind: held back until it ends, then cut into arcs and lines.

use super::circle::{self, Chain, Circle, Limits};
use super::words::{self, Field, PlainMove};
use std::ops::Range;

/// Moves held back at most: what bounds memory and the longest arc. Slicers' circles have a few hundred at most.
pub(super) const MOVES_MAX: usize = 1024;

/// Arcs longer than this are not written, comment aside: Grbl's line buffer has 79 characters.
const ARC_BYTES_MAX: usize = 79;

/// The G1 and its line end that may have to stand behind an arc.
const MOTION_BYTES: usize = 4;

/// Decimals beyond which sums are no longer exact; moves with more pass as they are where sums are needed.
pub(super) const DECIMALS_MAX: usize = 6;

/// Powers of ten, by decimals.
pub(super) const POWERS: [u64; DECIMALS_MAX + 1] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];

/// What moves of a run have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No filament: a cut, a burn, or a printer's travel.
    Dry,
    /// Filament goes in.
    Extruding,
    /// Filament comes out: wiping.
    Retracting,
}

/// One move held back: its line in [`Run::text`] and where its numbers stand there.
#[derive(Debug, Clone)]
struct Step {
    line: Range<usize>,
    found: PlainMove,
    /// Bytes of the line end, which stand behind the line.
    end_bytes: u8,
}

/// How the program writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// Numbers below one start with the point.
    pub bare_point: bool,
    /// Decimals of filament, as far as seen.
    pub filament_decimals: usize,
}

/// What has been done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub arcs: u64,
    pub moves: u64,
    /// In the units of the run that was last written.
    pub deviation: f64,
}

/// The run.
#[derive(Debug)]
pub(super) struct Run {
    pub kind: Kind,
    pub relative: bool,
    /// Whether E is relative.
    pub extruder_relative: bool,
    points: Vec<[f64; 2]>,
    lengths: Vec<f64>,
    filament: Vec<f64>,
    steps: Vec<Step>,
    text: Vec<u8>,
    arc: Vec<u8>,
}

/// A line that may join a run.
pub(super) struct Candidate<'a> {
    pub line: &'a [u8],
    pub end: &'a [u8],
    pub found: PlainMove,
    pub to: [f64; 2],
    pub filament: f64,
}

impl Run {
    pub(super) fn new() -> Self {
        Self {
            kind: Kind::Dry,
            relative: false,
            extruder_relative: false,
            points: Vec::new(),
            lengths: Vec::new(),
            filament: Vec::new(),
            steps: Vec::new(),
            text: Vec::new(),
            arc: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.steps() >= MOVES_MAX
    }

    /// Moves held back.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Where the last move ends.
    pub(super) fn end(&self) -> Option<[f64; 2]> {
        self.points.last().copied()
    }

    /// Starts anew at a point.
    #[inline]
    pub(super) fn start(&mut self, from: [f64; 2]) {
        self.points.clear();
        self.lengths.clear();
        self.filament.clear();
        self.steps.clear();
        self.text.clear();
        self.points.push(from);
    }

    /// Whether a line says what the first one says behind its `;`.
    #[inline]
    pub(super) fn same_comment(&self, line: &[u8], found: &PlainMove) -> bool {
        let Some(first) = self.steps.first() else { return true };
        match (first.found.comment, found.comment) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => {
                self.text[first.line.start + usize::from(ours)..first.line.end] == line[usize::from(theirs)..]
            }
            _ => false,
        }
    }

    /// Holds a move back.
    #[inline]
    pub(super) fn push(&mut self, candidate: &Candidate, length: f64) {
        let start = self.text.len();
        self.text.extend_from_slice(candidate.line);
        let line = start..self.text.len();
        self.text.extend_from_slice(candidate.end);
        self.steps.push(Step { line, found: candidate.found, end_bytes: candidate.end.len() as u8 });
        self.points.push(candidate.to);
        self.lengths.push(length);
        self.filament.push(candidate.filament);
    }

    /// Writes everything held back, as arcs where they fit, and forgets it. `arc_mode` says whether what was written
    /// last leaves the machine in G2 or G3.
    pub(super) fn write(
        &mut self,
        limits: &Limits,
        habits: Habits,
        count: &mut Count,
        arc_mode: &mut bool,
        out: &mut Vec<u8>,
    ) {
        if self.steps.len() < 2 {
            // Most runs of most programs: one straight line.
            if let Some(step) = self.steps.first() {
                before_line(step.found.feed_motion.is_some(), &self.text[step.line.end..], arc_mode, out);
                out.extend_from_slice(&self.text);
            }
            self.steps.clear();
            return;
        }
        let mut at = 0;
        while at < self.steps.len() {
            let fitted = self.longest(at, limits);
            if let Some((moves, circle)) = fitted {
                if self.spell(at, moves, &circle, limits, habits) {
                    out.extend_from_slice(&self.arc);
                    *arc_mode = true;
                    count.arcs += 1;
                    count.moves += moves as u64;
                    count.deviation = count.deviation.max(circle::deviation(&self.chain(at, moves), &circle));
                    at += moves;
                    continue;
                }
            }
            let step = &self.steps[at];
            let end = step.line.end + usize::from(step.end_bytes);
            before_line(step.found.feed_motion.is_some(), &self.text[step.line.end..end], arc_mode, out);
            out.extend_from_slice(&self.text[step.line.start..end]);
            at += 1;
        }
        self.steps.clear();
    }

    fn chain(&self, at: usize, moves: usize) -> Chain<'_> {
        Chain {
            points: &self.points[at..=at + moves],
            lengths: &self.lengths[at..at + moves],
            filament: &self.filament[at..at + moves],
        }
    }

    /// The longest arc that starts with a move, and of how many moves it is: tried in steps that grow by half, then
    /// by halving between the last that fits and the first that does not. So the moves of an arc are looked at a
    /// number of times that grows with the logarithm of [`MOVES_MAX`] only.
    #[inline]
    fn longest(&self, at: usize, limits: &Limits) -> Option<(usize, Circle)> {
        let available = self.steps.len() - at;
        let mut best = None;
        let mut good = 1;
        let mut bad = available + 1;
        let mut next = 2;
        while next <= available {
            let Some(circle) = circle::fit(&self.chain(at, next), limits) else {
                bad = next;
                break;
            };
            (best, good) = (Some((next, circle)), next);
            if next == available {
                break;
            }
            next = (next + next.div_ceil(2)).min(available);
        }
        while bad - good > 1 && good > 1 {
            let middle = good.midpoint(bad);
            match circle::fit(&self.chain(at, middle), limits) {
                Some(circle) => (best, good) = (Some((middle, circle)), middle),
                None => bad = middle,
            }
        }
        best
    }

    /// Writes the arc's line into `self.arc`. Says whether it is shorter than the lines it stands for, and not too
    /// long for a machine.
    fn spell(&mut self, at: usize, moves: usize, circle: &Circle, limits: &Limits, habits: Habits) -> bool {
        let mut arc = std::mem::take(&mut self.arc);
        arc.clear();
        let fits = self.spell_into(&mut arc, at, moves, circle, limits, habits).is_some();
        self.arc = arc;
        fits
    }

    fn spell_into(
        &self,
        arc: &mut Vec<u8>,
        at: usize,
        moves: usize,
        circle: &Circle,
        limits: &Limits,
        habits: Habits,
    ) -> Option<()> {
        let steps = &self.steps[at..at + moves];
        let (first, last) = (steps.first()?, steps.last()?);
        let spaced = first.found.spaced || first.found.feed_motion.is_none() && last.found.spaced;
        let word = |arc: &mut Vec<u8>, letter: u8| {
            if spaced {
                arc.push(b' ');
            }
            arc.push(letter);
        };
        arc.extend_from_slice(if circle.clockwise { b"G2" } else { b"G3" });
        for (axis, letter) in [b'X', b'Y'].into_iter().enumerate() {
            word(arc, letter);
            self.coordinate(arc, steps, at, axis, habits)?;
        }
        let center_decimals = limits.grid.log10().round() as usize;
        for (value, letter) in circle.center.into_iter().zip([b'I', b'J']) {
            word(arc, letter);
            push_number(arc, value, center_decimals, habits.bare_point);
        }
        if self.kind != Kind::Dry {
            word(arc, b'E');
            if self.extruder_relative {
                let decimals = self.most_decimals(steps, |found| found.e)?;
                let sum: f64 = self.filament[at..at + moves].iter().sum();
                push_number(arc, sum, decimals, habits.bare_point);
            } else {
                arc.extend_from_slice(self.field(last, last.found.e?));
            }
        }
        for (field, letter) in [(first.found.f, b'F'), (first.found.s, b'S')] {
            if let Some(field) = field {
                word(arc, letter);
                arc.extend_from_slice(self.field(first, field));
            }
        }
        if arc.len() > ARC_BYTES_MAX {
            return None;
        }
        if let Some(comment) = first.found.comment {
            arc.push(b' ');
            arc.extend_from_slice(&self.text[first.line.start + usize::from(comment)..first.line.end]);
        }
        let end = last.line.end + usize::from(last.end_bytes);
        arc.extend_from_slice(&self.text[last.line.end..end]);
        (arc.len() + MOTION_BYTES < end - first.line.start).then_some(())
    }

    fn field(&self, step: &Step, field: Field) -> &[u8] {
        &self.text[step.line.start + usize::from(field.start)..step.line.start + usize::from(field.end)]
    }

    /// A coordinate of the arc's end: as the last line writes it, or the sum of relative ones.
    fn coordinate(&self, arc: &mut Vec<u8>, steps: &[Step], at: usize, axis: usize, habits: Habits) -> Option<()> {
        let pick = |found: &PlainMove| if axis == 0 { found.x } else { found.y };
        if self.relative {
            let decimals = self.most_decimals(steps, pick)?;
            let way = self.points[at + steps.len()][axis] - self.points[at][axis];
            push_number(arc, way, decimals, habits.bare_point);
            return Some(());
        }
        // Unless a line repeats it, an axis that does not move within the arc was written before it.
        let written = self.steps[..at + steps.len()].iter().rev().find_map(|step| Some((step, pick(&step.found)?)));
        if let Some((step, field)) = written {
            arc.extend_from_slice(self.field(step, field));
        } else {
            let value = self.points[at][axis];
            let decimals = (0..=DECIMALS_MAX).find(|decimals| is_exact(value, *decimals))?;
            push_number(arc, value, decimals, habits.bare_point);
        }
        Some(())
    }

    /// The most decimals that a word has in some moves; `None` if that is too many to be summed up exactly.
    fn most_decimals(&self, steps: &[Step], pick: impl Fn(&PlainMove) -> Option<Field>) -> Option<usize> {
        let most = steps
            .iter()
            .filter_map(|step| Some(words::decimals(self.field(step, pick(&step.found)?))))
            .max()
            .unwrap_or(0);
        (most <= DECIMALS_MAX).then_some(most)
    }
}

/// A line that names no motion behind an arc would go on as an arc: it gets a G1 of its own before it.
pub(super) fn before_line(names_motion: bool, line_end: &[u8], arc_mode: &mut bool, out: &mut Vec<u8>) {
    if *arc_mode && !names_motion {
        out.extend_from_slice(b"G1");
        out.extend_from_slice(match line_end {
            b"\r" => b"\r",
            [b'\r', ..] => b"\r\n",
            _ => b"\n",
        });
    }
    *arc_mode = false;
}

/// Whether so many decimals write the number exactly, float noise aside.
fn is_exact(value: f64, decimals: usize) -> bool {
    let scaled = value * POWERS[decimals] as f64;
    (scaled - scaled.round()).abs() < 1e-6
}

/// Writes a number with at most so many decimals, without zeros that say nothing.
pub(super) fn push_number(out: &mut Vec<u8>, value: f64, decimals: usize, bare_point: bool) {
    let scale = POWERS[decimals.min(DECIMALS_MAX)];
    let scaled = (value.abs() * scale as f64).round() as u64;
    if value < 0.0 && scaled != 0 {
        out.push(b'-');
    }
    let (whole, mut rest) = (scaled / scale, scaled % scale);
    if whole != 0 || rest == 0 || !bare_point {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut left = whole;
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[at..]);
    }
    if rest != 0 {
        out.push(b'.');
        let mut place = scale / 10;
        while rest != 0 {
            out.push(b'0' + (rest / place) as u8);
            rest %= place;
            place /= 10;
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn numbers_are_written_short_and_exact() {
        let written = |value, decimals, bare_point| {
            let mut out = Vec::new();
            push_number(&mut out, value, decimals, bare_point);
            String::from_utf8(out).unwrap()
        };
        for (value, decimals, expected) in [
            (0.0, 3, "0"),
            (-0.0004, 3, "0"),
            (-0.0005, 3, "-0.001"),
            (12.5, 3, "12.5"),
            (100.0, 3, "100"),
            (0.1 + 0.2, 5, "0.3"),
            (-1234.056, 3, "-1234.056"),
            (2.000_01, 5, "2.00001"),
        ] {
            assert_eq!(written(value, decimals, false), expected);
        }
        assert_eq!(
            (written(0.25, 3, true), written(-0.25, 3, true), written(0.0, 3, true)),
            (".25".into(), "-.25".into(), "0".into())
        );
    }
}
