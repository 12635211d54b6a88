//! The offsets between what a program writes and where the machine goes: work offsets, G92, G52, tool length.

use super::{Family, State};
use crate::statement::Statement;
use crate::time::Firmware;

/// Offsets in millimetres. What the program does not set is assumed to be zero, and [`Offsets::assumed`] says so.
#[derive(Debug, Clone, Default)]
pub struct Offsets {
    work: [Option<[f64; 3]>; 9],
    selected: usize,
    shift: [f64; 3],
    stored_shift: [f64; 3],
    local: [f64; 3],
    tool: [f64; 3],
    tool_from_table: bool,
    total: [f64; 3],
    /// G10 L2 R of each work offset, in degrees.
    turns: [f64; 9],
}

impl Offsets {
    /// The sum that is added to program coordinates.
    #[inline]
    pub fn total(&self) -> [f64; 3] {
        self.total
    }

    /// Whether the selected work offset, or a tool length from the table, is one that the program does not set.
    pub fn assumed(&self) -> bool {
        self.work[self.selected].is_none() || self.tool_from_table
    }

    /// Whether a tool length was taken from the machine's table (G43 H), which is not known here.
    pub fn tool_from_table(&self) -> bool {
        self.tool_from_table
    }

    /// Sets what is known of the machine: a work offset (0 for G54 to 8 for G59.3), in millimetres.
    pub fn set_work(&mut self, index: usize, offset: [f64; 3]) {
        if let Some(slot) = self.work.get_mut(index) {
            *slot = Some(offset);
            self.add_up();
        }
    }

    /// What is added before a turn of the work coordinates, and what behind it.
    pub(super) fn inner_and_outer(&self) -> ([f64; 3], [f64; 3]) {
        let work = self.work[self.selected].unwrap_or([0.0; 3]);
        let inner = std::array::from_fn(|axis| self.shift[axis] + self.local[axis]);
        (inner, std::array::from_fn(|axis| work[axis] + self.tool[axis]))
    }

    /// G52 and Klipper's offset of one axis, in millimetres.
    pub(super) fn local(&self, axis: usize) -> f64 {
        self.local[axis]
    }

    pub(super) fn set_local(&mut self, axis: usize, offset: f64) {
        self.local[axis] = offset;
        self.add_up();
    }

    /// Selects a work offset: 0 for G54.
    pub(super) fn select(&mut self, index: u8) {
        self.selected = usize::from(index.min(8));
        self.add_up();
    }

    /// Sets what counts before the first line: the selected work offset (0 for G54), the G92 shift and the tool's offset.
    pub fn begin(&mut self, selected: usize, shift: [f64; 3], tool: [f64; 3]) {
        self.selected = selected.min(self.work.len() - 1);
        (self.shift, self.stored_shift, self.tool) = (shift, shift, tool);
        self.add_up();
    }

    /// Homing an axis of a printer ends its G92 shift.
    pub(super) fn forget_shift(&mut self, axis: usize) {
        self.shift[axis] = 0.0;
        self.add_up();
    }

    fn add_up(&mut self) {
        let work = self.work[self.selected].unwrap_or([0.0; 3]);
        self.total = std::array::from_fn(|axis| work[axis] + self.shift[axis] + self.local[axis] + self.tool[axis]);
    }
}

impl State {
    /// A code that sets or selects an offset. Says whether it used the line's axis words.
    pub(super) fn set_offsets(&mut self, tenths: u32, statement: &Statement) -> bool {
        let unit = self.modal.unit_mm();
        let words = [b'X', b'Y', b'Z'].map(|letter| statement.value(letter).map(|value| value * unit));
        let used = match tenths {
            540..=593 => {
                self.offsets.selected = usize::from(self.modal.work_offset.min(8));
                false
            }
            100 => {
                self.set_table(statement, words);
                true
            }
            430 | 432 => {
                self.offsets.tool_from_table = true;
                false
            }
            431 => {
                self.offsets.tool = words.map(|word| word.unwrap_or(0.0));
                self.offsets.tool_from_table = false;
                true
            }
            490 => {
                (self.offsets.tool, self.offsets.tool_from_table) = ([0.0; 3], false);
                false
            }
            520 => {
                for (axis, word) in words.into_iter().enumerate() {
                    self.offsets.local[axis] = word.unwrap_or(self.offsets.local[axis]);
                }
                true
            }
            _ => {
                self.shift(tenths, statement, words);
                true
            }
        };
        self.offsets.add_up();
        self.turn_work(self.offsets.turns[self.offsets.selected]);
        used
    }

    /// G92 and its relatives; G28.1 and G30.1 only use up their words.
    fn shift(&mut self, tenths: u32, statement: &Statement, words: [Option<f64>; 3]) {
        match tenths {
            920 => {
                for (axis, word) in words.into_iter().enumerate() {
                    if let Some(value) = word {
                        let without = self.offsets.total[axis] - self.offsets.shift[axis];
                        self.offsets.shift[axis] = self.position[axis] - without - value;
                    }
                }
                if self.family == Family::Printer {
                    let no_word = !statement.has_any(b"XYZEA");
                    if no_word && self.firmware == Some(Firmware::Klipper) {
                        // Everything counts from here.
                        for axis in 0..3 {
                            let without = self.offsets.total[axis] - self.offsets.shift[axis];
                            self.offsets.shift[axis] = self.position[axis] - without;
                        }
                    }
                    if let Some(extruder) = statement.value(self.extruder_letter) {
                        self.extruder = extruder * self.modal.unit_mm();
                    } else if no_word {
                        self.extruder = 0.0;
                    }
                }
                self.offsets.stored_shift = self.offsets.shift;
            }
            921 => (self.offsets.shift, self.offsets.stored_shift) = ([0.0; 3], [0.0; 3]),
            922 => self.offsets.shift = [0.0; 3],
            923 => self.offsets.shift = self.offsets.stored_shift,
            _ => {}
        }
    }

    /// G10 L2 and L20 set a work offset. Tool tables (L1, L10, L11) are the machine's own.
    fn set_table(&mut self, statement: &Statement, words: [Option<f64>; 3]) {
        if self.family == Family::Printer {
            return;
        }
        let index = match statement.value(b'P') {
            Some(number) if (1.0..=9.0).contains(&number) => number as usize - 1,
            Some(0.0) | None => self.offsets.selected,
            Some(_) => return,
        };
        let level = statement.value(b'L');
        if level != Some(2.0) && level != Some(20.0) {
            return;
        }
        if let Some(degrees) = statement.value(b'R').filter(|degrees| level == Some(2.0) && degrees.is_finite()) {
            self.offsets.turns[index] = degrees;
        }
        let mut work = self.offsets.work[index].unwrap_or([0.0; 3]);
        for (axis, word) in words.into_iter().enumerate() {
            let Some(value) = word else { continue };
            work[axis] = if level == Some(2.0) {
                value
            } else {
                let other = self.offsets.shift[axis] + self.offsets.local[axis] + self.offsets.tool[axis];
                self.position[axis] - other - value
            };
        }
        self.offsets.work[index] = Some(work);
    }
}
