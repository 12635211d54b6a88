//! Modes and places that a program keeps for later: Klipper's states, RepRapFirmware's M120, Marlin's G60, LinuxCNC's M70.

use super::{Event, Family, Path, State, Watch};
use crate::modal::Modal;
use crate::statement::Statement;
use crate::time::Firmware;

/// States kept under a name. A program has some few.
const NAMES_MAX: usize = 64;

/// Modes pushed on top of each other: RepRapFirmware's stack is five deep.
const DEPTH_MAX: usize = 64;

/// What a program has kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Saved {
    named: Vec<(Vec<u8>, Kept)>,
    stack: Vec<Kept>,
    places: Vec<(u32, [f64; 3], f64)>,
}

/// One state that was kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    modal: Modal,
    offsets: super::Offsets,
    extruder: f64,
    position: [f64; 3],
}

impl State {
    fn keep(&self) -> Kept {
        Kept {
            modal: self.modal.clone(),
            offsets: self.offsets.clone(),
            extruder: self.extruder,
            position: self.position,
        }
    }

    /// Modes as they were, but for what the machine does meanwhile: its tool, its motion.
    fn modes_back(&mut self, kept: &Modal) {
        let present = self.modal.clone();
        self.modal = Modal { tool: present.tool, motion: present.motion, ended: present.ended, ..kept.clone() };
        if self.family == Family::Printer {
            (self.modal.spindle, self.modal.speed) = (present.spindle, present.speed);
        }
    }

    /// M120 and M121 of RepRapFirmware, M70, M72 and M73 of LinuxCNC: modes, no place.
    pub(super) fn save_or_restore_modes(&mut self, tenths: u32) {
        if matches!(tenths, 700 | 730 | 1200) {
            if tenths == 700 {
                // One state at each level: the last one kept counts.
                self.saved.stack.clear();
            }
            if self.saved.stack.len() < DEPTH_MAX {
                let kept = self.keep();
                self.saved.stack.push(kept);
            }
            return;
        }
        let kept = if tenths == 1210 { self.saved.stack.pop() } else { self.saved.stack.last().cloned() };
        if let Some(kept) = kept {
            self.modes_back(&kept.modal);
            self.offsets.select(self.modal.work_offset);
        }
    }

    /// Klipper's `SAVE_GCODE_STATE`.
    pub(super) fn save_named(&mut self, name: &[u8]) {
        let kept = self.keep();
        let named = &mut self.saved.named;
        match named.iter().position(|(known, _)| known == name) {
            Some(at) => named[at].1 = kept,
            None if named.len() < NAMES_MAX => named.push((name.to_vec(), kept)),
            None => {}
        }
    }

    /// Klipper's `RESTORE_GCODE_STATE`: modes, feed and offsets, and E goes on from where it stood as the program counts
    /// (`gcode_move.py`). With `move_back` the tool goes back too.
    pub(super) fn restore_named<W: Watch>(&mut self, line: u64, name: &[u8], move_back: Option<f64>, watch: &mut W) {
        let Some(kept) = self.saved.named.iter().find(|(known, _)| known == name).map(|(_, kept)| kept.clone()) else {
            return;
        };
        self.modes_back(&kept.modal);
        self.offsets = kept.offsets;
        self.extruder = kept.extruder;
        if let Some(feed_mm_min) = move_back {
            self.go_by_itself(line, kept.position, feed_mm_min, watch);
        }
    }

    /// A straight move that a command makes. A feed of 0 is the one in force.
    pub(super) fn go_by_itself<W: Watch>(&mut self, line: u64, to: [f64; 3], feed_mm_min: f64, watch: &mut W) {
        let mut motion = self.motion(line, Path::Line, to, 0.0, false);
        if feed_mm_min > 0.0 {
            motion.feed_mm_min = feed_mm_min;
        }
        watch.moved(&motion, self);
        self.position = to;
    }

    /// G60 keeps a place. G61 of Marlin goes back to it; RepRapFirmware does with R on G0 and G1.
    pub(super) fn save_or_restore_place<W: Watch>(
        &mut self,
        line: u64,
        tenths: u32,
        statement: &Statement,
        watch: &mut W,
    ) {
        let slot = statement.value(b'S').unwrap_or(0.0).clamp(0.0, 255.0) as u32;
        if tenths == 600 {
            let place = (slot, self.position, self.extruder);
            match self.saved.places.iter_mut().find(|kept| kept.0 == slot) {
                Some(kept) => *kept = place,
                None => self.saved.places.push(place),
            }
            return;
        }
        if self.firmware.is_some_and(|firmware| firmware == Firmware::RepRapFirmware) {
            return;
        }
        let Some((_, place, extruder)) = self.saved.places.iter().find(|kept| kept.0 == slot).copied() else { return };
        let letters = [b'X', b'Y', b'Z'];
        let all = !letters.iter().chain(b"E").any(|letter| statement.mentions(*letter));
        let mut to = self.position;
        for (axis, letter) in letters.into_iter().enumerate() {
            // A number is a distance from the place.
            if all || statement.mentions(letter) {
                to[axis] = place[axis] + statement.value(letter).unwrap_or(0.0) * self.modal.unit_mm();
            }
        }
        if all || statement.mentions(b'E') {
            self.extruder = extruder;
        }
        self.go_by_itself(line, to, 0.0, watch);
    }

    /// RepRapFirmware's `G1 R1 X0 Y0`: words count from a place that was kept. Gives the target, if the line is one.
    pub(super) fn target_from_place(&self, statement: &Statement) -> Option<[f64; 3]> {
        if self.firmware != Some(Firmware::RepRapFirmware) {
            return None;
        }
        let slot = statement.value(b'R')?.clamp(0.0, 255.0) as u32;
        let (_, place, _) = self.saved.places.iter().find(|kept| kept.0 == slot)?;
        let mut to = self.position;
        for (axis, letter) in [b'X', b'Y', b'Z'].into_iter().enumerate() {
            if let Some(value) = statement.value(letter) {
                to[axis] = place[axis] + value * self.modal.unit_mm();
            }
        }
        Some(to)
    }

    /// Tells of a command in words that is not followed.
    pub(super) fn tell_of_command<W: Watch>(&mut self, line: u64, watch: &mut W) {
        watch.event(Event::NotFollowed(super::Unfollowed::Command), line, self);
    }
}
