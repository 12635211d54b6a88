//! How much of a job is executed for certain, told from how much the planner may still hold.
//!
//! A planner holds moves, and what stands between them (temperatures, fans, a display's text) takes no place in it: so
//! "accepted, less so many lines" would call moves executed that are still to come. Only lines that surely became a
//! block of the planner are counted. A line counted too few moves the bound back, never forward.

use std::collections::VecDeque;

use gcode_tools::words::{self, Effect, Firmwares};
use serde::{Deserialize, Serialize};

/// Shortest way that surely becomes a block, in the program's units. Marlin plans no move of fewer than six steps
/// (`MIN_STEPS_PER_SEGMENT`, `planner.h`), which is 0.075 mm at 80 steps/mm, and adds what it left out to the next.
const BLOCK_MIN: f64 = 0.1;

/// Moves kept: more than any planner that counts its blocks holds.
const MOVES_MAX: usize = 1024;

/// What was accepted and may still be in the planner.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Evidence {
    /// The last command that was looked at.
    noted: u64,
    /// Ordinals of the last accepted commands that surely became a block, oldest first.
    moves: VecDeque<u64>,
    /// Whether older ones were forgotten.
    forgotten: bool,
    relative: bool,
    /// Where the program is, and was at the last move that was counted; unknown after anything but plain moves.
    at: [Option<f64>; 3],
    counted: [Option<f64>; 3],
}

impl Evidence {
    /// The last command that was looked at.
    pub(super) fn noted(&self) -> u64 {
        self.noted
    }

    /// Notes an accepted command; commands are noted in order. `None`: it is not at hand any more. `blocks`: how many
    /// the planner holds at most.
    pub(super) fn note(&mut self, ordinal: u64, text: Option<&[u8]>, blocks: usize) {
        self.noted = ordinal;
        let Some(text) = text else { return self.lose_place() };
        if !self.moves_on(text) {
            return;
        }
        while self.moves.len() >= blocks.clamp(1, MOVES_MAX) {
            self.moves.pop_front();
            self.forgotten = true;
        }
        self.moves.push_back(ordinal);
    }

    /// The machine has nothing after that command: what was taken for accepted is said again.
    pub(super) fn rewind(&mut self, accepted: u64) {
        if accepted >= self.noted {
            return;
        }
        self.noted = accepted;
        while self.moves.back().is_some_and(|ordinal| *ordinal > accepted) {
            self.moves.pop_back();
        }
        self.lose_place();
    }

    /// The last command that is surely over when `accepted` are accepted and at most so many blocks are not.
    pub(super) fn executed(&self, accepted: u64, blocks: usize) -> u64 {
        if blocks == 0 {
            return accepted;
        }
        match self.moves.len().checked_sub(blocks) {
            Some(at) => self.moves.get(at).map_or(0, |ordinal| ordinal - 1),
            None if self.forgotten => {
                let more = (blocks - self.moves.len()) as u64;
                self.moves.front().map_or(0, |ordinal| (ordinal - 1).saturating_sub(more))
            }
            None => 0,
        }
    }

    fn lose_place(&mut self) {
        self.at = [None; 3];
        self.counted = [None; 3];
    }

    fn count_from(&mut self, relative: bool) {
        if std::mem::replace(&mut self.relative, relative) != relative {
            self.lose_place();
        }
    }

    /// Follows a command. True: it surely became a block.
    fn moves_on(&mut self, text: &[u8]) -> bool {
        let mut given = [None; 3];
        let mut plain = text.first().is_some_and(|letter| matches!(letter, b'X' | b'Y' | b'Z'));
        for (letter, digits) in letters(text) {
            let value = match letter {
                b'G' | b'X' | b'Y' | b'Z' => number(digits),
                // What stands behind may be the text of a message: `M117 G1 X10`.
                b'M' => {
                    if text.iter().any(|byte| matches!(byte.to_ascii_uppercase(), b'X' | b'Y' | b'Z')) {
                        self.lose_place();
                    }
                    return false;
                }
                // An extruder, a feed: these are no way.
                _ => continue,
            };
            match (letter, value) {
                (b'G', Some(code)) if (0.0..4.0).contains(&code) => plain = true,
                (b'G', code) => match effect(code) {
                    Effect::Distances => self.count_from(code > Some(90.5)),
                    effect if effect.keeps_place() => {}
                    // Offsets, units, homing, probing, cycles: where the program is then is not followed.
                    _ => {
                        self.lose_place();
                        return false;
                    }
                },
                (b'X', value) => given[0] = value,
                (b'Y', value) => given[1] = value,
                (b'Z', value) => given[2] = value,
                _ => {}
            }
        }
        if !plain {
            return false;
        }
        for (axis, value) in given.into_iter().enumerate() {
            let Some(value) = value else { continue };
            let at = if self.relative { self.at[axis].unwrap_or(0.0) + value } else { value };
            if self.relative && self.at[axis].is_none() {
                self.counted[axis] = Some(0.0);
            }
            self.at[axis] = Some(at);
            self.counted[axis].get_or_insert(at);
        }
        let far = |(at, counted): (&Option<f64>, &Option<f64>)| match (at, counted) {
            (Some(at), Some(counted)) => (at - counted).abs() >= BLOCK_MIN,
            _ => false,
        };
        let moved = self.at.iter().zip(&self.counted).any(far);
        if moved {
            self.counted = self.at;
        }
        moved
    }
}

/// What a G code does on any machine.
fn effect(code: Option<f64>) -> Effect {
    let tenths = code.map_or(u32::MAX, |code| (code * 10.0).round() as u32);
    words::effect_of_any(Firmwares::ALL, b'G', tenths)
}

fn number(digits: &[u8]) -> Option<f64> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

/// Letters and their digits, as they stand in a command without comments.
fn letters(text: &[u8]) -> impl Iterator<Item = (u8, &[u8])> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.iter().position(u8::is_ascii_alphabetic)?;
        let letter = rest[start].to_ascii_uppercase();
        rest = &rest[start + 1..];
        let of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b' ');
        let length = rest.iter().take_while(|byte| of_number(byte)).count();
        let (digits, after) = rest.split_at(length);
        rest = after;
        Some((letter, digits))
    })
}

#[cfg(test)]
mod test {
    use super::*;

    fn after(program: &[&str], blocks: usize) -> u64 {
        let mut evidence = Evidence::default();
        for (ordinal, text) in (1..).zip(program) {
            evidence.note(ordinal, Some(text.as_bytes()), 16);
        }
        evidence.executed(program.len() as u64, blocks)
    }

    #[test]
    fn lines_that_are_no_moves_take_no_place_in_the_planner() {
        let program = ["G90", "G1X0", "G1X10", "M204S500", "M73P1", "G1X20", "M117 hello", "M106S200"];
        assert_eq!(after(&program, 0), 8, "an empty planner has executed everything");
        assert_eq!(after(&program, 1), 5, "the last move may not be over, nor what stands behind it");
        assert_eq!(after(&program, 2), 2);
        assert_eq!(after(&program, 3), 0);
    }

    #[test]
    fn what_may_be_no_block_is_not_counted_as_one() {
        // To where it is; shorter than six steps; a feed alone; the extruder alone.
        assert_eq!(after(&["G1X5", "G1X10", "G1X10", "G1F100", "G1E5", "G1X10.02"], 1), 1);
        // The text of a message, and what a word sets for each axis.
        assert_eq!(after(&["G1X5", "M117 G1 X10", "M201 X500", "G1X30"], 1), 0);
        // Many short moves are some long ones.
        assert_eq!(after(&["G1X0", "G1X0.06", "G1X0.12", "G1X0.18", "G1X0.24"], 1), 4);
        // An offset: where that is on the old scale is unknown.
        assert_eq!(after(&["G1X0", "G1X10", "G92X0", "G1X9"], 1), 1);
        assert_eq!(after(&["G91", "G1X5", "X5", "G90", "G1X9", "G1 X 12.5"], 2), 2);
    }

    #[test]
    fn what_is_said_again_was_not_accepted() {
        let mut evidence = Evidence::default();
        for ordinal in 1..=10_u64 {
            evidence.note(ordinal, Some(format!("G1X{ordinal}").as_bytes()), 16);
        }
        assert_eq!(evidence.executed(10, 2), 8);
        evidence.rewind(5);
        assert_eq!(evidence.executed(5, 2), 3);
        evidence.note(6, Some(b"G1X6"), 16);
        assert_eq!(evidence.executed(6, 2), 3, "from where it came is not known any more");
    }

    #[test]
    fn memory_is_bounded_for_any_program() {
        let mut evidence = Evidence::default();
        for ordinal in 1..=5_000_u64 {
            evidence.note(ordinal, Some(format!("G1X{}", ordinal % 100).as_bytes()), usize::MAX);
        }
        assert_eq!(evidence.moves.len(), MOVES_MAX);
        assert_eq!(evidence.executed(5_000, 16), 4_984);
        assert_eq!(evidence.executed(5_000, 2_000), 3_000);
    }
}
