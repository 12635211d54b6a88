//! How many layers a print has: the slicer's marks first, then the turns of a vase, heights last.

use crate::interpret::{Move, Path};
use crate::metadata::layer_mark;
use std::collections::HashMap;

/// Heights told apart. A print of a metre has 20,000 layers of 0.05 mm.
const HEIGHTS_MAX: usize = 200_000;

/// Moves that a purge line or a wipe of the nozzle consists of, at most.
const PURGE_MOVES_MAX: u32 = 3;

/// So many times the moves of a purge line has any real layer, before a purge line is told from one.
const LAYER_MOVES_MIN: u32 = 5 * PURGE_MOVES_MAX;

/// How far a vase climbs in one move at most, as a share of the move's length: more is no wall.
const CLIMB_MAX: f64 = 0.2;

/// What has been seen of a print's layers.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Marks with work behind them, and the one that waits for some.
    marked: u64,
    mark: Option<usize>,
    waiting: bool,
    /// Moves at each height, in micrometres.
    heights: HashMap<i64, u32>,
    height: Option<i64>,
    moves: u32,
    /// The turns of a wall that climbs all the way, in radians, and its moves.
    turned: f64,
    turning_moves: u64,
    heading: Option<f64>,
}

impl Layers {
    /// A comment that fills its line.
    pub(super) fn comment(&mut self, text: &[u8]) {
        let mark = layer_mark(text);
        // Some programs write two kinds of marks: one of them counts.
        if mark.is_some_and(|mark| *self.mark.get_or_insert(mark) == mark) {
            self.waiting = true;
        }
    }

    /// A move that extrudes.
    #[inline]
    pub(super) fn work(&mut self, motion: &Move) {
        if std::mem::take(&mut self.waiting) {
            self.marked += 1;
        }
        let climb = motion.to[2] - motion.from[2];
        if climb != 0.0 {
            return self.climb(motion, climb);
        }
        let height = (motion.to[2].clamp(-1e9, 1e9) * 1000.0).round() as i64;
        if self.height != Some(height) {
            self.leave_height();
            self.height = Some(height);
        }
        self.moves = self.moves.saturating_add(1);
    }

    /// The moves since the height was reached are counted in.
    #[cold]
    fn leave_height(&mut self) {
        let Some(height) = self.height.take() else { return };
        let moves = std::mem::take(&mut self.moves);
        if self.heights.len() < HEIGHTS_MAX || self.heights.contains_key(&height) {
            let known = self.heights.entry(height).or_default();
            *known = known.saturating_add(moves);
        }
    }

    /// A move that extrudes on its way up: the wall of a vase.
    fn climb(&mut self, motion: &Move, climb: f64) {
        let (x, y) = (motion.to[0] - motion.from[0], motion.to[1] - motion.from[1]);
        let length = x.hypot(y);
        if let Path::Arc(arc) = &motion.path {
            self.turned += arc.sweep;
            self.turning_moves += 1;
            self.heading = None;
            return;
        }
        if climb.abs() > CLIMB_MAX * length.max(0.01) {
            self.heading = None;
            let height = (motion.to[2].clamp(-1e9, 1e9) * 1000.0).round() as i64;
            self.leave_height();
            (self.height, self.moves) = (Some(height), 1);
            return;
        }
        let heading = y.atan2(x);
        if let Some(before) = self.heading.replace(heading) {
            let turn = heading - before;
            self.turned += turn - (turn / std::f64::consts::TAU).round() * std::f64::consts::TAU;
        }
        self.turning_moves += 1;
    }

    /// How many there are.
    pub(super) fn count(&mut self) -> u64 {
        if self.marked > 0 {
            return self.marked;
        }
        self.leave_height();
        let turns = (self.turned.abs() / std::f64::consts::TAU).round() as u64;
        // Walls that climb and do not turn are some few ramps.
        let turns = if self.turning_moves > 8 { turns } else { 0 };
        let mut moves: Vec<u32> = self.heights.values().copied().collect();
        moves.sort_unstable();
        let median = moves.get(moves.len() / 2).copied().unwrap_or(0);
        let per_turn = self.turning_moves.checked_div(turns).unwrap_or(0);
        let many = u64::from(median).max(per_turn) >= u64::from(LAYER_MOVES_MIN);
        let heights = moves.iter().filter(|moves| !many || **moves > PURGE_MOVES_MAX).count() as u64;
        heights + turns
    }
}
