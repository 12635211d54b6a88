//! Which layer of a print runs, by the marks that its slicer left in comments.

use std::collections::VecDeque;

use gcode_tools::metadata::layer_mark;
use serde::{Deserialize, Serialize};

/// Marks that were read and not reached: more than any history holds lines of layers.
const AHEAD_MAX: usize = 4096;

/// The marks between what was read of a program and what was executed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Layers {
    kind: Option<usize>,
    ahead: VecDeque<u64>,
    /// The last line that was looked at: a program may be read again for lines that are asked for once more.
    read: u64,
    reached: u64,
}

impl Layers {
    /// A line of the program was read.
    pub(super) fn read(&mut self, number: u64, bytes: &[u8]) {
        if bytes.first() != Some(&b';') || number <= self.read {
            return;
        }
        self.read = number;
        let Some(kind) = layer_mark(&bytes[1..]) else { return };
        if *self.kind.get_or_insert(kind) == kind && self.ahead.len() < AHEAD_MAX {
            self.ahead.push_back(number);
        }
    }

    /// A line was executed. Gives the layer it lies in, if there was one.
    pub(super) fn reach(&mut self, line: u64) -> Option<u64> {
        while self.ahead.front().is_some_and(|mark| *mark <= line) {
            self.ahead.pop_front();
            self.reached += 1;
        }
        (self.reached > 0).then_some(self.reached)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_layer_is_the_one_that_the_executed_line_lies_in() {
        let mut layers = Layers::default();
        for (number, line) in (1..).zip(["G28", ";LAYER:0", "G1 X1", ";TYPE:WALL", ";LAYER:1", "G1 X2", "; layer 7"]) {
            layers.read(number, line.as_bytes());
        }
        layers.read(2, b";LAYER:0");
        assert_eq!(
            [1, 2, 3, 4, 5, 9].map(|line| layers.reach(line)),
            [None, Some(1), Some(1), Some(1), Some(2), Some(2)]
        );
    }
}
