//! One move's part in the sums: bounds, lengths, filament, layers, time.

use super::{Analysis, Filament, TOOLS_MAX};
use crate::interpret::{Family, Move, Path, State};
use crate::time::{Firmware, Kind, Piece};

/// Pieces of one arc at most: a full turn of a metre in pieces of 0.1 mm.
const ARC_PIECES_MAX: f64 = 100_000.0;

/// Pieces of all arcs of a program: ten times what the longest real programs have. Beyond it arcs are planned coarsely,
/// so that a file of endless turns takes no longer than any other of its size.
const ARC_PIECES_TOTAL_MAX: u64 = 20_000_000;

/// Pieces of an arc beyond that.
const ARC_PIECES_COARSE: f64 = 4.0;

impl Analysis {
    #[inline]
    pub(super) fn account(&mut self, motion: &Move, state: &State) {
        let length = motion.length();
        self.counts.moves += 1;
        let is_work = motion.is_work(state);
        if is_work {
            self.work.add_move(motion);
            self.counts.work_mm += length;
        } else {
            // Where a travel starts something else has ended, or the program has, which counts for nothing.
            if !(motion.reference && state.family == Family::Printer) {
                self.travel.add_end(motion);
            }
            self.counts.travel_mm += length;
        }
        let rapid = motion.path == Path::Rapid;
        if !rapid && motion.feed_mm_min > self.counts.feed_max && length > 0.0 {
            self.counts.feed_max = motion.feed_mm_min;
        }
        if state.family == Family::Cnc {
            self.account_cnc(motion, state, length, rapid);
        } else {
            self.account_printer(motion, is_work, length);
        }
        if let Path::Arc(_) = motion.path {
            self.counts.arcs += 1;
        }
        self.plan(motion, state, is_work);
    }

    #[inline]
    fn account_cnc(&mut self, motion: &Move, state: &State, length: f64, rapid: bool) {
        if state.is_powered() {
            self.counts.spindle_max = self.counts.spindle_max.max(state.modal.speed);
            if !rapid {
                self.counts.powered_mm += length;
                self.powered.add_move(motion);
            }
        }
        if !rapid && !state.is_powered() {
            self.counts.dark_mm += length;
            self.dark.add_end(motion);
        }
        self.counts.depth_moves += u64::from(motion.to[2] < motion.from[2]);
    }

    #[inline]
    fn account_printer(&mut self, motion: &Move, is_work: bool, length: f64) {
        if motion.extruded_mm != 0.0 {
            if self.filament.len() <= self.tool {
                self.filament.resize(self.tool.min(TOOLS_MAX - 1) + 1, Filament::default());
            }
            let filament = &mut self.filament[self.tool];
            filament.sum += motion.extruded_mm;
            filament.peak = filament.peak.max(filament.sum);
        }
        if is_work {
            self.layers.work(motion);
        }
        if self.tag > 0 {
            let feature = &mut self.features[self.tag - 1];
            if is_work {
                feature.length_mm += length;
            }
            feature.filament_mm += motion.extruded_mm;
        }
    }

    /// Hands the move to the planner, arcs in the pieces the firmware makes of them.
    #[inline]
    fn plan(&mut self, motion: &Move, state: &State, is_work: bool) {
        let Some(planner) = &mut self.planner else { return };
        let speed = match motion.path {
            Path::Rapid => f64::INFINITY,
            _ if motion.feed_mm_min > 0.0 => motion.feed_mm_min / 60.0,
            _ => crate::time::PRINTER_DEFAULT_MM_S,
        };
        let delta =
            |from: [f64; 3], to: [f64; 3], extruded: f64| [to[0] - from[0], to[1] - from[1], to[2] - from[2], extruded];
        let whole = delta(motion.from, motion.to, motion.extruded_mm);
        let kind = match state.family {
            Family::Cnc => Kind::Work,
            Family::Printer if is_work => Kind::Work,
            Family::Printer if whole[0] == 0.0 && whole[1] == 0.0 && whole[2] == 0.0 => Kind::Retract,
            Family::Printer => Kind::Travel,
        };
        let piece = Piece { delta: whole, speed_mm_s: speed, kind, line: motion.line, tag: self.tag };
        let Path::Arc(arc) = &motion.path else {
            planner.push(&piece);
            return;
        };
        let limits = planner.limits();
        let count = match limits.firmware {
            Firmware::Grbl | Firmware::GrblHal | Firmware::FluidNc | Firmware::LinuxCnc => {
                let tolerance = limits.arc_tolerance_mm.clamp(1e-6, arc.radius.max(1e-6));
                (0.5 * arc.plane_length() / (tolerance * (2.0 * arc.radius - tolerance)).sqrt()).floor()
            }
            Firmware::Klipper => arc.length().floor(),
            _ => {
                let length = (8.0 * arc.radius * 0.02).sqrt().min(speed / 50.0).clamp(0.1, 2.0);
                (arc.plane_length() / length + 0.8).floor()
            }
        };
        let most = if self.counts.arc_pieces > ARC_PIECES_TOTAL_MAX { ARC_PIECES_COARSE } else { ARC_PIECES_MAX };
        let count = if count.is_finite() { count.clamp(1.0, most) } else { 1.0 };
        self.counts.arc_pieces += count as u64;
        let mut from = motion.from;
        for index in 1..=count as u32 {
            let to =
                if f64::from(index) >= count { motion.to } else { arc.point(motion.from, f64::from(index) / count) };
            planner.push(&Piece { delta: delta(from, to, motion.extruded_mm / count), ..piece });
            from = to;
        }
    }
}
