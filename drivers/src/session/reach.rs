//! Where a program leads: the box around the moves that were said so far, in its own coordinates and millimetres. A machine
//! outside of it was moved by somebody else.
//!
//! Only what is certain counts. A line that this does not follow (an offset, homing, another coordinate system, inches, a
//! cycle) ends it for the job: then nothing is outside any more.

use gcode_tools::words::{self, Effect, Firmwares};
use serde::{Deserialize, Serialize};

/// How far outside a machine may be reported, in millimetres: rounding, and a report between two offsets.
const TOLERANCE_MM: f64 = 0.5;

/// G90.1 in tenths: centres of arcs that count from the program's zero are not followed.
const ABSOLUTE_CENTRES: i64 = 901;

/// The box.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Reach {
    /// Where the machine stood when the job began, and all it was told since, least and most; absent before the first
    /// report.
    bounds: Option<[[f64; 2]; 3]>,
    /// What was said before that.
    said: [Option<[f64; 2]>; 3],
    /// Where the program is, as far as it said so.
    at: [Option<f64>; 3],
    relative: bool,
    /// It said something that is not followed.
    lost: bool,
}

impl Reach {
    /// Whether it is not known yet where the machine stood when the job began.
    pub(super) fn is_new(&self) -> bool {
        self.bounds.is_none() && !self.lost
    }

    /// Where the machine was at the first report.
    pub(super) fn begin(&mut self, place: [f64; 3]) {
        let mut bounds = place.map(|at| [at, at]);
        for (bounds, said) in bounds.iter_mut().zip(self.said) {
            let Some([least, most]) = said else { continue };
            *bounds = [bounds[0].min(least), bounds[1].max(most)];
        }
        self.bounds = Some(bounds);
    }

    /// Whether the program may lead there.
    pub(super) fn leads_to(&self, place: [f64; 3]) -> bool {
        let Some(bounds) = self.bounds.filter(|_| !self.lost) else { return true };
        bounds.iter().zip(place).all(|([least, most], at)| (least - TOLERANCE_MM..=most + TOLERANCE_MM).contains(&at))
    }

    /// Follows a command that is said.
    pub(super) fn follow(&mut self, text: &[u8]) {
        if self.lost || matches!(text.first(), Some(b'M' | b'T' | b'S' | b'F' | b';' | b'(')) && !moves(text) {
            return;
        }
        if text.first() == Some(&b'$') {
            self.lost = true;
            return;
        }
        let (mut to, mut centre, mut arc) = ([None; 3], [0.0_f64; 3], false);
        for (letter, value) in letters(text) {
            let Some(value) = value else {
                self.lost = true;
                return;
            };
            match letter {
                b'G' => match (value * 10.0).round() as i64 {
                    0 | 10 => {}
                    20 | 30 => arc = true,
                    // Millimetres, no tool length and the first work offset: what is taken to be in force.
                    210 | 490 | 540 => {}
                    tenths => {
                        match words::effect_of_any(Firmwares::CNC, b'G', u32::try_from(tenths).unwrap_or(u32::MAX)) {
                            Effect::Distances => self.relative = value > 90.5,
                            effect if effect.keeps_place() && tenths != ABSOLUTE_CENTRES => {}
                            _ => {
                                self.lost = true;
                                return;
                            }
                        }
                    }
                },
                b'X' => to[0] = Some(value),
                b'Y' => to[1] = Some(value),
                b'Z' => to[2] = Some(value),
                b'I' | b'J' | b'K' => {
                    centre[usize::from(letter - b'I')] = value;
                    arc = true;
                }
                // An arc by its radius may bulge to either side.
                b'R' => {
                    self.lost = true;
                    return;
                }
                _ => {}
            }
        }
        let radius = if arc { centre.iter().map(|by| by * by).sum::<f64>().sqrt() } else { 0.0 };
        // An arc leads around its centre, in its own plane.
        let in_plane = |axis: usize| arc && (axis < 2 || centre[2] != 0.0);
        for axis in 0..3 {
            // An axis that was never told to move is where it stood.
            let from = self.at[axis].or_else(|| self.bounds.map(|bounds| bounds[axis][0]));
            if from.is_none() && ((self.relative && to[axis].is_some()) || in_plane(axis)) {
                self.lost = true;
                return;
            }
            let from = from.unwrap_or(0.0);
            if in_plane(axis) {
                self.include(axis, from + centre[axis] - radius, from + centre[axis] + radius);
            }
            if let Some(value) = to[axis] {
                let value = if self.relative { from + value } else { value };
                self.include(axis, value, value);
                self.at[axis] = Some(value);
            }
        }
    }

    fn include(&mut self, axis: usize, least: f64, most: f64) {
        let grow = |known: [f64; 2]| [known[0].min(least), known[1].max(most)];
        match &mut self.bounds {
            Some(bounds) => bounds[axis] = grow(bounds[axis]),
            None => self.said[axis] = Some(self.said[axis].map_or([least, most], grow)),
        }
    }
}

/// Whether a line that begins with a word for the machine goes on with a move (`M3 G1 X10`).
fn moves(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte.to_ascii_uppercase(), b'X' | b'Y' | b'Z' | b'G'))
}

/// Letters and their numbers, as they stand in a command without comments.
fn letters(text: &[u8]) -> impl Iterator<Item = (u8, Option<f64>)> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.iter().position(u8::is_ascii_alphabetic)?;
        let letter = rest[start].to_ascii_uppercase();
        rest = &rest[start + 1..];
        let length = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b' ')).count();
        let (digits, after) = rest.split_at(length);
        rest = after;
        let value = std::str::from_utf8(digits).ok().and_then(|digits| digits.trim().parse::<f64>().ok());
        Some((letter, value.filter(|value| value.is_finite())))
    })
}

#[cfg(test)]
mod test {
    use super::*;

    fn reach(program: &[&str]) -> Reach {
        let mut reach = Reach::default();
        reach.begin([0.0; 3]);
        for line in program {
            reach.follow(line.as_bytes());
        }
        reach
    }

    #[test]
    fn a_machine_is_outside_only_where_no_move_leads() {
        let box_of = reach(&["G21G90", "M3S1000", "G0X10Y5", "G1Z-2F100", "G91", "G1X5", "G90"]);
        for (place, leads) in [
            ([0.0, 0.0, 0.0], true),
            ([15.0, 5.0, -2.0], true),
            ([15.4, 5.0, -2.0], true),
            ([16.0, 5.0, -2.0], false),
            ([10.0, 5.0, 1.0], false),
        ] {
            assert_eq!(box_of.leads_to(place), leads, "{place:?}");
        }
        let arcs = reach(&["G0X10Y10", "G2X10Y10I5J0"]);
        assert!(arcs.leads_to([20.0, 15.0, 0.0]) && !arcs.leads_to([21.0, 10.0, 0.0]));
    }

    #[test]
    fn what_is_not_followed_makes_nothing_outside() {
        for line in ["G92X0", "G28", "G20", "G55", "G53G0Z0", "G10L20P1X0", "G81X1R2", "G2X1Y1R5", "$H", "G91.5", "G1X"]
        {
            let lost = reach(&["G0X1", line, "G0X2"]);
            assert!(lost.leads_to([1000.0; 3]), "{line}");
        }
        assert!(Reach::default().leads_to([1.0; 3]), "nothing was reported yet");
    }
}
