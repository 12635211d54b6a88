//! A simulated Marlin's MeatPack: it stands between the receive buffer and the lines, and reports after each command.
//!
//! After Marlin `src/feature/meatpack.cpp`: it puts no space back, and a reset leaves its table as it was.

use super::Marlin;

/// The byte that, twice, announces a command, and the nibble that announces a whole byte.
const MARK: u8 = 0xFF;
const WHOLE: u8 = 15;

/// Characters by nibble. The space is at 11.
const CHARACTERS: [u8; 15] = *b"0123456789. \nGX";
const SPACE: u8 = 11;

/// The receiver's side of MeatPack.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    on: bool,
    without_spaces: bool,
    /// `E` stands in the table in the place of the space.
    e_for_space: bool,
    /// Marks met in a row: a command follows two.
    marks: u8,
    /// Whole bytes still to come, and the character behind the first.
    whole: u8,
    second: Option<u8>,
    unpacked: Vec<u8>,
}

impl Receiver {
    /// Takes one byte; says whether a command ended with it.
    fn take(&mut self, byte: u8) -> bool {
        self.unpacked.clear();
        if byte == MARK {
            self.marks = (self.marks + 1).min(2);
            return false;
        }
        match std::mem::take(&mut self.marks) {
            0 => {}
            1 => self.character(MARK),
            _ => {
                self.command(byte);
                return true;
            }
        }
        self.character(byte);
        false
    }

    fn command(&mut self, command: u8) {
        match command {
            251 => self.on = true,
            250 => self.on = false,
            249 => {
                (self.on, self.without_spaces) = (false, false);
                (self.whole, self.second) = (0, None);
            }
            247 => (self.without_spaces, self.e_for_space) = (true, true),
            246 => (self.without_spaces, self.e_for_space) = (false, false),
            _ => {}
        }
    }

    fn character(&mut self, byte: u8) {
        if !self.on {
            return self.unpacked.push(byte);
        }
        if self.whole > 0 {
            self.whole -= 1;
            self.unpacked.push(byte);
            self.unpacked.extend(self.second.take());
            return;
        }
        let (low, high) = (byte & 15, byte >> 4);
        if low == WHOLE {
            self.whole = 1 + u8::from(high == WHOLE);
            self.second = (high != WHOLE).then(|| self.of_table(high));
            return;
        }
        let first = self.of_table(low);
        self.unpacked.push(first);
        if first == b'\n' {
            return;
        }
        if high == WHOLE {
            self.whole = 1;
        } else {
            self.unpacked.push(self.of_table(high));
        }
    }

    fn of_table(&self, nibble: u8) -> u8 {
        if nibble == SPACE && self.e_for_space { b'E' } else { CHARACTERS[usize::from(nibble)] }
    }
}

impl Marlin {
    /// The next character of what has been received, unpacked where the firmware unpacks.
    pub(super) fn next_character(&mut self) -> Option<u8> {
        if !self.setup.meatpack {
            return self.received.pop_front();
        }
        loop {
            if let Some(character) = self.unpacked.pop_front() {
                return Some(character);
            }
            let byte = self.received.pop_front()?;
            if self.receiver.take(byte) {
                let on = if self.receiver.on { "ON" } else { "OFF" };
                let spaces = if self.receiver.without_spaces { "NSP" } else { "ESP" };
                self.out.extend_from_slice(format!("[MP] PV01 {on} {spaces}\n").as_bytes());
            }
            self.unpacked.extend(&self.receiver.unpacked);
        }
    }
}
