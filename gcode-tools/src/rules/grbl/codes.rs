//! G and M words: the modal group of each, and what it changes.

use super::{Axis, Grbl, Line, Outcome};
use crate::modal::Plane;
use crate::rules::{Refusal, Rule};

impl Grbl {
    fn group(line: &mut Line, bit: u32, letter: u8, tenths: u32) -> Outcome {
        if line.groups & 1 << bit != 0 {
            return Err(Refusal::code(Rule::ModalGroup, letter, tenths));
        }
        line.groups |= 1 << bit;
        Ok(())
    }

    /// A G word: its group, and what it changes.
    #[allow(clippy::too_many_lines)] // A table of codes, in the order of `gc_execute_line`.
    pub(super) fn g(&self, line: &mut Line, value: f64) -> Outcome {
        let whole = if self.is_plain() { f64::from(value.trunc() as i64 as u8) } else { value.trunc() };
        let hundredths = ((value - whole) * 100.0).round();
        let tenths = (whole * 10.0 + (hundredths / 10.0).trunc()).clamp(0.0, 1e6) as u32;
        let no = || Err(Refusal::code(Rule::Unsupported, b'G', (value * 10.0).round().clamp(0.0, 1e7) as u32));
        let base = whole.clamp(0.0, 1e5) as u32;
        let parts = hundredths.clamp(-1e6, 1e6) as i64;
        let (bit, most) = match base {
            4 => (0, 0),
            10 | 28 | 30 | 92 => {
                if parts == 0 {
                    line.takes_axes(Axis::NonModal, tenths)?;
                }
                let most = if base == 92 && self.is_hal() { 30 } else { 10 };
                if base != 10 && !(parts == 0 || (parts % 10 == 0 && (10..=most).contains(&parts))) {
                    return no();
                }
                (0, if base == 10 { 0 } else { parts })
            }
            53 => (0, 0),
            0..=3 | 80 => {
                if base != 80 {
                    line.takes_axes(Axis::Motion, tenths)?;
                }
                (line.modes.motion, line.cycle_changes) = (base * 10, false);
                (1, 0)
            }
            5 if self.is_hal() => {
                line.takes_axes(Axis::Motion, tenths)?;
                if !matches!(parts, 0 | 10) {
                    return no();
                }
                line.modes.motion = tenths;
                (1, parts)
            }
            33 | 76 if self.is_hal() => {
                line.takes_axes(Axis::Motion, tenths)?;
                line.modes.motion = tenths;
                (1, if parts == 10 { 10 } else { 0 })
            }
            38 => {
                if self.is_plain() {
                    line.takes_axes(Axis::Motion, tenths)?;
                }
                if !matches!(parts, 20 | 30 | 40 | 50) {
                    return no();
                }
                if !self.is_plain() {
                    line.takes_axes(Axis::Motion, tenths)?;
                }
                line.modes.motion = tenths;
                (1, parts)
            }
            73 | 81..=86 | 89 if self.is_hal() => {
                line.takes_axes(Axis::Motion, tenths)?;
                line.modes.motion = base * 10;
                line.cycle_changes = base * 10 != self.modes.motion;
                (1, 0)
            }
            17..=19 => {
                line.modes.plane = [Plane::Xy, Plane::Zx, Plane::Yz][base as usize - 17];
                (2, 0)
            }
            90 | 91 if parts == 0 => {
                line.modes.incremental = base == 91;
                (3, 0)
            }
            90 | 91 => {
                if parts != 10 || base == 90 {
                    return no();
                }
                (4, 10)
            }
            93 | 94 => {
                line.modes.feed_mode = base * 10;
                (5, 0)
            }
            95 if self.is_hal() => {
                line.modes.feed_mode = 950;
                (5, 0)
            }
            20 | 21 => {
                line.modes.inches = base == 20;
                (6, 0)
            }
            40 => (7, 0),
            43 | 49 => {
                if self.is_plain() || (base == 43 && parts == 10) {
                    line.takes_axes(Axis::ToolLength, tenths)?;
                }
                // G43 takes a length from a table, which is there only where the machine has a tool table.
                if base == 43 && parts != 10 {
                    return no();
                }
                line.tool_length = tenths;
                (8, parts)
            }
            54..=59 => {
                let more = base == 59 && parts > 0 && self.is_hal();
                if more && !matches!(parts, 10 | 20 | 30) {
                    return no();
                }
                (12, if more { parts } else { 0 })
            }
            61 => {
                if parts != 0 {
                    return no();
                }
                (13, 0)
            }
            98 | 99 if self.is_hal() => (10, 0),
            50 | 51 if self.is_hal() => {
                line.axis = Axis::Scaling;
                line.non_modal = line.non_modal.max(base * 10);
                (11, 0)
            }
            // Macros take any word as an argument.
            65..=67 if !self.is_plain() => {
                line.macro_call = true;
                (16, parts)
            }
            _ => return no(),
        };
        if bit == 0 {
            line.non_modal = tenths;
        }
        if parts > most {
            return Err(Refusal::code(Rule::NotInteger, b'G', tenths));
        }
        Self::group(line, bit, b'G', tenths)
    }

    /// An M word.
    pub(super) fn m(&self, line: &mut Line, value: f64) -> Outcome {
        let whole = if self.is_plain() { f64::from(value.trunc() as i64 as u8) } else { value.trunc() };
        let tenths = (value * 10.0).round().clamp(0.0, 1e7) as u32;
        if ((value - whole) * 100.0).round() > 0.0 && (self.is_plain() || whole <= 99.0) {
            return Err(Refusal::code(Rule::NotInteger, b'M', tenths));
        }
        let bit = match whole.clamp(0.0, 1e5) as u32 {
            0 | 1 => 20,
            2 | 30 => {
                line.ends = true;
                20
            }
            60 if self.is_hal() => {
                line.ends = true;
                20
            }
            3..=5 => 23,
            7 if !self.has_mist => return Err(Refusal::code(Rule::Unsupported, b'M', tenths)),
            7..=9 => 24,
            61 if self.is_hal() => {
                line.sets_tool = true;
                22
            }
            6 | 61 if !self.is_plain() => 22,
            48..=51 | 53 if self.is_hal() => 25,
            // Ports, saved modes and subprograms: whether they are there is the machine's.
            62..=68 | 70..=73 | 98 | 99 if !self.is_plain() => {
                line.macro_call = true;
                return Ok(());
            }
            _ => return Err(Refusal::code(Rule::Unsupported, b'M', tenths)),
        };
        Self::group(line, bit, b'M', tenths)
    }
}
