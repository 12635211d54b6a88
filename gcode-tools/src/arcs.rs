//! Arc fitting: runs of short G1 moves become G2 and G3, within a tolerance that is proven for every arc.
//!
//! A [`Filter`] of a program's text, in constant memory and linear time. What becomes no arc comes out byte for byte.
//! See `docs/programs.md` for what is replaced and what is left alone, and `arcs/circle.rs` for the proof.
//!
//! ```
//! use gcode_tools::arcs::{Fitter, Setup};
//! let mut program = String::from("G90\nM83\nG1 X30 Y20 F1800\n");
//! for step in 1..=20 {
//!     let (sin, cos) = (f64::from(step) * 0.1).sin_cos();
//!     program += &format!("G1 X{:.3} Y{:.3} E.05\n", 20.0 + 10.0 * cos, 20.0 + 10.0 * sin);
//! }
//! let mut fitter = Fitter::new(&Setup::new(0.025).unwrap());
//! let mut out = Vec::new();
//! fitter.push(program.as_bytes(), &mut out);
//! let summary = fitter.finish(&mut out);
//! assert_eq!((summary.arcs, summary.moves_replaced), (1, 20));
//! assert_eq!(String::from_utf8(out).unwrap(), "G90\nM83\nG1 X30 Y20 F1800\nG3 X15.839 Y29.093 I-10 J.001 E1\n");
//! ```

use crate::block::Block;
use crate::convert::Filter;
use crate::statement::Statement;
use circle::Limits;
use run::{Candidate, Count, Habits, Kind, Run};
use track::{After, Track};
use words::PlainMove;

mod circle;
mod run;
mod track;
mod words;

/// Least tolerance in millimetres: twice what the rounding of a centre to microns takes.
pub const TOLERANCE_MIN_MM: f64 = 0.002;

/// Greatest tolerance in millimetres: a nozzle's width; what is coarser is no fit.
pub const TOLERANCE_MAX_MM: f64 = 0.5;

/// By which share the filament per length of a move may differ from its arc's, and an arc's length from its moves'.
pub const FLOW_SHARE: f64 = 0.05;

/// Greatest radius in millimetres. Firmware computes in 32-bit floats, which hold 1 m to a tenth of a micron.
const RADIUS_MAX_MM: f64 = 1000.0;

/// Least radius in tolerances: where the tolerance is as large as the circle, distance says nothing.
const RADIUS_MIN_TOLERANCES: f64 = 3.0;

/// By how much the radius at the end may differ, in millimetres. Grbl refuses 0.005 (error 33), others more.
const RADIUS_DIFFERENCE_MM: f64 = 0.004;

/// Least distance from an arc's start to its end, in millimetres: far above what 32-bit floats lose.
const CHORD_MIN_MM: f64 = 0.02;

/// Lengths of moves that may join an arc, in the program's units.
const MOVE_MIN: f64 = 1e-5;
const MOVE_MAX: f64 = 1e5;

/// Longest line that is looked at. What is longer passes as it is.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What is asked of the fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    tolerance_mm: f64,
}

impl Setup {
    /// A fit within this distance in millimetres. `None` if it is not from [`TOLERANCE_MIN_MM`] to
    /// [`TOLERANCE_MAX_MM`].
    pub fn new(tolerance_mm: f64) -> Option<Self> {
        (TOLERANCE_MIN_MM..=TOLERANCE_MAX_MM).contains(&tolerance_mm).then_some(Self { tolerance_mm })
    }
}

/// What a fit has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Arcs written.
    pub arcs: u64,
    /// Moves they stand for.
    pub moves_replaced: u64,
    /// The greatest distance between an arc and its moves, in millimetres, as the fit itself reckons.
    pub deviation_mm: f64,
    /// Bytes taken in.
    pub bytes_in: u64,
    /// Bytes given out.
    pub bytes_out: u64,
}

/// The filter: bytes in, bytes out.
#[derive(Debug)]
pub struct Fitter {
    tolerance_mm: f64,
    limits: Limits,
    habits: Habits,
    track: Track,
    run: Run,
    /// Whether what was written last leaves the machine in G2 or G3 where the program means G1.
    arc_mode: bool,
    statement: Statement,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Whether the rest of a line passes unseen.
    skipping: bool,
    /// Whether a return is the last of what has passed unseen.
    return_skipped: bool,
    count: Count,
    summary: Summary,
}

impl Fitter {
    /// A filter at the start of a program.
    pub fn new(setup: &Setup) -> Self {
        Self {
            tolerance_mm: setup.tolerance_mm,
            limits: limits(setup.tolerance_mm, false),
            habits: Habits { bare_point: false, filament_decimals: 4 },
            track: Track::default(),
            run: Run::new(),
            arc_mode: false,
            statement: Statement::default(),
            partial: Vec::new(),
            skipping: false,
            return_skipped: false,
            count: Count::default(),
            summary: Summary::default(),
        }
    }

    /// Takes the program's next bytes, cut anywhere, and appends what can be said of them. At most 1,024 moves are
    /// held back.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let mut start = 0;
        // A carriage return alone ends a line too. Whether one at the very end of these bytes is alone the next will show.
        if self.partial.last() == Some(&b'\r') && bytes.first().is_some_and(|first| *first != b'\n') {
            self.end_partial(b"", out);
        }
        if !bytes.is_empty() && std::mem::take(&mut self.return_skipped) && bytes[0] != b'\n' {
            self.skipping = false;
        }
        for end in memchr::memchr2_iter(b'\n', b'\r', bytes) {
            let is_return = bytes[end] == b'\r';
            if is_return && bytes.get(end + 1).is_none_or(|next| *next == b'\n') {
                continue;
            }
            let piece = &bytes[start..=end];
            start = end + 1;
            if self.skipping {
                out.extend_from_slice(piece);
                self.skipping = false;
            } else if self.partial.is_empty() {
                self.line(piece, out);
            } else {
                self.end_partial(piece, out);
            }
        }
        let rest = &bytes[start..];
        if self.skipping {
            out.extend_from_slice(rest);
            self.return_skipped = rest.last() == Some(&b'\r');
        } else if self.partial.len() + rest.len() > LINE_BYTES_MAX {
            self.write_run(out);
            self.partial.extend_from_slice(&rest[..rest.len().min(LINE_BYTES_MAX)]);
            self.pass_long(out);
            out.extend_from_slice(&rest[rest.len().min(LINE_BYTES_MAX)..]);
            self.skipping = true;
        } else {
            self.partial.extend_from_slice(rest);
        }
        self.summary.bytes_in += bytes.len() as u64;
        self.summary.bytes_out += (out.len() - before) as u64;
    }

    /// Ends the program: what was held back comes out.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Summary {
        let before = out.len();
        if !self.partial.is_empty() {
            self.end_partial(b"", out);
        }
        self.write_run(out);
        self.summary.bytes_out += (out.len() - before) as u64;
        self.summary
    }

    /// What has been done so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// A line whose beginning came with earlier bytes.
    #[cold]
    fn end_partial(&mut self, rest: &[u8], out: &mut Vec<u8>) {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(rest);
        self.line(&whole, out);
        whole.clear();
        self.partial = whole;
    }

    /// The beginning of a line that is too long to be a move, or to be looked at.
    #[cold]
    fn pass_long(&mut self, out: &mut Vec<u8>) {
        run::before_line(self.partial.first() == Some(&b';'), b"\n", &mut self.arc_mode, out);
        self.track.skip_long(&self.partial);
        out.append(&mut self.partial);
    }

    /// One line, its end included.
    #[inline]
    fn line(&mut self, whole: &[u8], out: &mut Vec<u8>) {
        let mut length = whole.len();
        if whole.ends_with(b"\n") {
            length -= if whole.ends_with(b"\r\n") { 2 } else { 1 };
        } else if whole.ends_with(b"\r") {
            length -= 1;
        }
        let (line, end) = whole.split_at(length);
        match words::plain_move(line) {
            Some(found) => self.plain(line, end, &found, out),
            None => self.other(whole, line, end, out),
        }
    }

    /// A line that is no plain move: it ends the run.
    fn other(&mut self, whole: &[u8], line: &[u8], end: &[u8], out: &mut Vec<u8>) {
        self.write_run(out);
        if !matches!(line.first(), None | Some(b';')) {
            let inches = self.track.inches;
            match self.track.take_other(&Block::new(line), &mut self.statement) {
                After::Names => self.arc_mode = false,
                After::Relies => run::before_line(false, end, &mut self.arc_mode, out),
                After::Neither => {}
            }
            if self.track.inches != inches {
                self.limits = limits(self.tolerance_mm, self.track.inches);
            }
        }
        out.extend_from_slice(whole);
    }

    /// A plain move: it joins the run, starts one, or passes.
    #[inline]
    fn plain(&mut self, line: &[u8], end: &[u8], found: &PlainMove, out: &mut Vec<u8>) {
        self.notice(line, found);
        let to = self.track.target(found);
        let joined = self.join(line, end, found, to, out);
        if !joined {
            self.write_run(out);
            let moves = found.x.is_some() || found.y.is_some() || found.z.is_some() || found.e.is_some();
            if moves || found.feed_motion.is_some() {
                run::before_line(found.feed_motion.is_some(), end, &mut self.arc_mode, out);
            }
            out.extend_from_slice(line);
            out.extend_from_slice(end);
        }
        self.track.take(found, to);
    }

    /// How the program writes numbers.
    #[inline]
    fn notice(&mut self, line: &[u8], found: &PlainMove) {
        if let Some(field) = found.e {
            let text = &line[usize::from(field.start)..usize::from(field.end)];
            self.habits.bare_point |= matches!(text, [b'.', ..] | [b'-', b'.', ..]);
            self.habits.filament_decimals =
                self.habits.filament_decimals.max(words::decimals(text).min(run::DECIMALS_MAX));
        }
    }

    /// Holds a move back if it may be part of an arc. Says whether it did.
    #[inline]
    fn join(&mut self, line: &[u8], end: &[u8], found: &PlainMove, to: [Option<f64>; 3], out: &mut Vec<u8>) -> bool {
        let track = &self.track;
        let motion = found.feed_motion.map_or(track.motion == Some(10), |feed_motion| feed_motion);
        let level = found.z.is_none_or(|field| !track.relative && track.position[2] == Some(field.value));
        if !(motion && level && (found.x.is_some() || found.y.is_some()) && track.allows_arcs()) {
            return false;
        }
        let Some(filament) = track.filament(found) else { return false };
        let kind = match found.e {
            None => Kind::Dry,
            Some(_) if filament > 0.0 => Kind::Extruding,
            Some(_) if filament < 0.0 => Kind::Retracting,
            Some(_) => return false,
        };
        let from = if track.relative {
            self.run.end().filter(|_| !self.run.is_empty() && self.run.relative).unwrap_or_default()
        } else {
            let [Some(x), Some(y), _] = track.position else { return false };
            [x, y]
        };
        let to = if track.relative {
            [from[0] + found.x.map_or(0.0, |field| field.value), from[1] + found.y.map_or(0.0, |field| field.value)]
        } else {
            let [Some(x), Some(y), _] = to else { return false };
            [x, y]
        };
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length = (dx * dx + dy * dy).sqrt();
        // A move to where it stands is filament alone, or float noise; a way beyond all machines is a mistake.
        if !(MOVE_MIN..MOVE_MAX).contains(&length) {
            return false;
        }
        let goes_on = !self.run.is_empty()
            && !self.run.is_full()
            && self.run.kind == kind
            && found.f.is_none_or(|field| track.feed == Some(field.value))
            && found.s.is_none_or(|field| track.speed == Some(field.value))
            && self.run.same_comment(line, found);
        if !goes_on {
            let (relative, extruder_relative) = (track.relative, track.extruder_relative() == Some(true));
            self.write_run(out);
            self.run.start(from);
            (self.run.kind, self.run.relative, self.run.extruder_relative) = (kind, relative, extruder_relative);
        }
        self.run.push(&Candidate { line, end, found: *found, to, filament }, length);
        true
    }

    /// The run ends: its moves come out, as arcs or as they are.
    #[inline]
    fn write_run(&mut self, out: &mut Vec<u8>) {
        if self.run.is_empty() {
            return;
        }
        self.limits.last_decimal[1] = 1.0 / run::POWERS[self.habits.filament_decimals] as f64;
        self.count.deviation = 0.0;
        self.run.write(&self.limits, self.habits, &mut self.count, &mut self.arc_mode, out);
        let unit = if self.track.inches { 25.4 } else { 1.0 };
        self.summary.deviation_mm = self.summary.deviation_mm.max(self.count.deviation * unit);
        (self.summary.arcs, self.summary.moves_replaced) = (self.count.arcs, self.count.moves);
    }
}

/// The limits in the program's units.
fn limits(tolerance_mm: f64, inches: bool) -> Limits {
    let unit = if inches { 25.4 } else { 1.0 };
    let grid = if inches { 10_000.0 } else { 1000.0 };
    Limits {
        // A billionth of a millimetre for the rounding of sums.
        tolerance: (tolerance_mm - 1e-9) / unit,
        radius: [RADIUS_MIN_TOLERANCES * tolerance_mm / unit, RADIUS_MAX_MM / unit],
        radius_difference: RADIUS_DIFFERENCE_MM / unit,
        chord_min: CHORD_MIN_MM / unit,
        flow_share: FLOW_SHARE,
        last_decimal: [1.0 / grid, 1e-5],
        grid,
    }
}

impl Filter for Fitter {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        Fitter::push(self, bytes, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        Fitter::finish(self, out);
    }
}

#[cfg(test)]
mod test;
