//! Motions of a line, with its axis words: threads, splines, cycles, probes and arcs.

use super::{AXES, Axis, Grbl, Line, Outcome};
use crate::arc::{self, Tolerance};
use crate::interpret::State;
use crate::modal::Plane;
use crate::rules::{Letters, Refusal, Rule};

impl Grbl {
    /// The motion in force, with the line's axis words.
    pub(super) fn motion(&self, line: &mut Line, axes: bool, state: Option<&State>) -> Outcome {
        let motion = line.modes.motion;
        if motion == 0 {
            if !axes {
                line.axis = Axis::None;
            }
            return Ok(());
        }
        if matches!(motion, 330 | 331) {
            if line.value(b'K') == 0.0 {
                return Err(Refusal::word(Rule::OutOfRange, b'K'));
            }
            line.words.remove(b"KI");
            return Ok(());
        }
        if motion == 760 {
            return Self::thread(line);
        }
        if line.modes.feed == 0.0 {
            return Err(Refusal::word(Rule::NoFeed, b'F'));
        }
        match motion {
            10 => {
                if !axes {
                    line.axis = Axis::None;
                }
                Ok(())
            }
            20 | 30 => self.arc(line, axes, state),
            50 | 51 => self.spline(line, motion),
            382..=385 => {
                if !axes {
                    return Err(Refusal::code(Rule::NoAxes, b'G', motion));
                }
                if self.is_hal() {
                    line.words.remove(b"P");
                }
                let stays = state.is_some_and(|state| Self::target(line, state) == state.position);
                if stays { Err(Refusal::line(Rule::Target)) } else { Ok(()) }
            }
            _ => self.cycle(line),
        }
    }

    fn thread(line: &mut Line) -> Outcome {
        if line.modes.plane != Plane::Zx {
            return Err(Refusal::line(Rule::Plane));
        }
        if line.has(b'Y') {
            return Err(Refusal::word(Rule::Unused, b'Y'));
        }
        if line.has(b'R') && line.value(b'R') < 1.0 {
            return Err(Refusal::word(Rule::OutOfRange, b'R'));
        }
        if !line.has(b'Z') || !line.words.meets(Letters::of(b"IJKP")) {
            return Err(Refusal::word(Rule::Missing, if line.has(b'Z') { b'P' } else { b'Z' }));
        }
        if let Some(letter) = b"PJK".iter().find(|letter| line.value(**letter) < 0.0) {
            return Err(Refusal::word(Rule::Negative, *letter));
        }
        if line.value(b'I') == 0.0 || line.value(b'J') == 0.0 || line.value(b'K') <= line.value(b'J') {
            return Err(Refusal::word(Rule::OutOfRange, b'K'));
        }
        line.words.remove(b"EHIJKLPQR");
        Ok(())
    }

    fn spline(&self, line: &mut Line, motion: u32) -> Outcome {
        if line.modes.plane != Plane::Xy {
            return Err(Refusal::line(Rule::Plane));
        }
        if line.has(b'Z') {
            return Err(Refusal::word(Rule::AxisConflict, b'Z'));
        }
        let missing = |letters: &[u8]| letters.iter().copied().find(|letter| !line.has(*letter));
        let first = self.modes.motion != motion;
        let needed: &[u8] = match (motion, first) {
            (50, true) => b"PQIJ",
            (50, false) => b"PQ",
            _ => b"IJ",
        };
        if let Some(letter) = missing(needed) {
            return Err(Refusal::word(Rule::Missing, letter));
        }
        if motion == 51 && line.value(b'I') == 0.0 {
            return Err(Refusal::word(Rule::OutOfRange, b'I'));
        }
        line.words.remove(if motion == 50 { b"IJPQ" } else { b"IJ" });
        Ok(())
    }

    fn cycle(&self, line: &mut Line) -> Outcome {
        let (motion, first) = (line.modes.motion, line.cycle_changes);
        let normal = AXES[arc::axes(line.modes.plane).2];
        if first {
            if self.modes.feed_mode == 930 {
                return Err(Refusal::line(Rule::Invalid));
            }
            if let Some(letter) = [b'R', normal].into_iter().find(|letter| !line.has(*letter)) {
                return Err(Refusal::word(Rule::Missing, letter));
            }
        }
        if line.has(b'L') && line.value(b'L') <= 0.0 {
            return Err(Refusal::word(Rule::NotPositive, b'L'));
        }
        let (retract, bottom) = (line.value(b'R'), line.value(normal));
        if first && (if line.modes.incremental { bottom > 0.0 } else { retract < bottom }) {
            return Err(Refusal::word(Rule::Retract, b'R'));
        }
        let needed = match motion {
            820 | 840 | 860 | 890 => Some(b'P'),
            730 | 830 => Some(b'Q'),
            _ => None,
        };
        if let Some(letter) = needed {
            let least_is_zero = letter == b'P';
            if line.has(letter) && (line.value(letter) < 0.0 || (line.value(letter) == 0.0 && !least_is_zero)) {
                return Err(Refusal::word(Rule::Negative, letter));
            }
            if first && !line.has(letter) {
                return Err(Refusal::word(Rule::Missing, letter));
            }
            line.words.remove(&[letter]);
        }
        line.words.remove(b"RL");
        Ok(())
    }

    /// Where the line's axis words lead in machine coordinates.
    fn target(line: &Line, state: &State) -> [f64; 3] {
        let unit = if line.modes.inches { 25.4 } else { 1.0 };
        let offset = state.offsets.total();
        std::array::from_fn(|axis| match (line.has(AXES[axis]), line.non_modal == 530 && line.groups & 1 != 0) {
            (false, _) => state.position[axis],
            (true, true) => line.value(AXES[axis]) * unit,
            (true, false) if line.modes.incremental => state.position[axis] + line.value(AXES[axis]) * unit,
            (true, false) => line.value(AXES[axis]) * unit + offset[axis],
        })
    }

    fn arc(&self, line: &mut Line, axes: bool, state: Option<&State>) -> Outcome {
        let (a, b, _) = arc::axes(line.modes.plane);
        let by_radius = line.has(b'R');
        if self.is_plain() || by_radius {
            if !axes {
                return Err(Refusal::line(Rule::NoAxes));
            }
            if !(line.has(AXES[a]) || line.has(AXES[b])) {
                return Err(Refusal::line(Rule::NoAxesInPlane));
            }
        }
        if self.is_hal() && line.has(b'P') {
            if line.value(b'P').fract() != 0.0 {
                return Err(Refusal::word(Rule::NotInteger, b'P'));
            }
            if line.value(b'P') == 0.0 {
                return Err(Refusal::word(Rule::OutOfRange, b'P'));
            }
            line.words.remove(b"P");
        }
        if by_radius {
            line.words.remove(b"R");
        } else {
            let centers = [b"IJK"[a], b"IJK"[b]];
            if !centers.iter().any(|letter| line.has(*letter)) {
                return Err(Refusal::line(Rule::NoCenter));
            }
        }
        if let Some(state) = state {
            Self::measure(line, by_radius, state)?;
        }
        if !by_radius {
            line.words.remove(b"IJK");
        }
        Ok(())
    }

    /// Whether the arc is one.
    fn measure(line: &Line, by_radius: bool, state: &State) -> Outcome {
        let plane = line.modes.plane;
        let (a, b, _) = arc::axes(plane);
        let (from, to) = (state.position, Self::target(line, state));
        let unit = if line.modes.inches { 25.4 } else { 1.0 };
        if by_radius {
            if from == to {
                return Err(Refusal::line(Rule::Target));
            }
            // Grbl allows for no rounding here: four squares of the radius less the way's.
            let (x, y) = (to[a] - from[a], to[b] - from[b]);
            let radius = line.value(b'R') * unit;
            let under = 4.0 * (radius * radius) as f32 - (x * x) as f32 - (y * y) as f32;
            return if under < 0.0 { Err(Refusal::word(Rule::Radius, b'R')) } else { Ok(()) };
        }
        // Its numbers have 24 bits: of an arc whose centre is far away they lose the radius (grbl/grbl#817).
        let (from, to) = (from.map(|at| at as f32), to.map(|at| at as f32));
        let center = [a, b].map(|axis| (line.value(b"IJK"[axis]) * unit) as f32);
        let hypotenuse = |x: f32, y: f32| f64::from((x * x + y * y).sqrt());
        let radius = hypotenuse(center[0], center[1]);
        let end_radius = hypotenuse(to[a] - from[a] - center[0], to[b] - from[b] - center[1]);
        if Tolerance::GRBL.refuses(radius, end_radius) { Err(Refusal::line(Rule::Target)) } else { Ok(()) }
    }
}
