//! A simulated Marlin's MeatPack: it stands between the receive buffer and the lines, and reports after each command.
//!
//! After Marlin `src/feature/meatpack.cpp`.

use gcode_tools::formats::meatpack::Unpacker;

use super::Marlin;

/// The receiver's side of MeatPack.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    unpacker: Unpacker,
    /// 0xFF bytes met in a row.
    marks: u8,
    on: bool,
    without_spaces: bool,
    unpacked: Vec<u8>,
}

impl Receiver {
    /// Takes one byte; says whether a command ended with it.
    fn take(&mut self, byte: u8) -> bool {
        self.unpacked.clear();
        self.unpacker.unpack(&[byte], &mut self.unpacked);
        if byte == 0xFF {
            self.marks += 1;
            return false;
        }
        if std::mem::take(&mut self.marks) < 2 {
            return false;
        }
        match byte {
            251 => self.on = true,
            250 => self.on = false,
            249 => (self.on, self.without_spaces) = (false, false),
            247 => self.without_spaces = true,
            246 => self.without_spaces = false,
            _ => {}
        }
        true
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
