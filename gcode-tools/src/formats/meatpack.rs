//! MeatPack: two characters of G-code in a byte, for a slow wire to a printer and for bgcode.

mod pack;

pub(super) use pack::is_plain_g_line;
pub use pack::{Packer, Spaces, Unpackable};

/// A command to the receiver: two bytes 0xFF, which no packed text has, and one that says what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Spaces are packed again, and `E` is not.
    WithSpaces = 246,
    /// `E` is packed in the place of the space.
    WithoutSpaces = 247,
    /// Asks for a report: `[MP] PV01 ON NSP` (on, without spaces), `OFF`, `ESP` (with spaces).
    Query = 248,
    /// Everything off, as after a reset.
    Reset = 249,
    /// What follows is plain text.
    Off = 250,
    /// What follows is packed.
    On = 251,
}

impl Command {
    /// The bytes to send. Firmware answers each with a report.
    pub fn bytes(self) -> [u8; 3] {
        [0xFF, 0xFF, self as u8]
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::WithSpaces, Self::WithoutSpaces, Self::Query, Self::Reset, Self::Off, Self::On]
            .into_iter()
            .find(|command| *command as u8 == byte)
    }
}

/// Characters by nibble; 15 says that a whole byte follows. Without spaces 11 is `E`.
const CHARACTERS: [u8; 15] = *b"0123456789. \nGX";

/// Unpacks a stream of MeatPack, piece by piece.
///
/// In its no-spaces mode the spaces of lines that begin with G are not sent. They are put back before each word, so that
/// the text reads as it did; where a program had none, it has some now, and empty lines are lost. Moves are the same.
///
/// ```
/// use gcode_tools::formats::meatpack::Unpacker;
/// let mut text = Vec::new();
/// // Packing on, no spaces; `G1X1` and a line end with its padding.
/// Unpacker::default().unpack(&[0xFF, 0xFF, 251, 0xFF, 0xFF, 247, 0x1D, 0x1E, 0xCC], &mut text);
/// assert_eq!(text, b"G1 X1\n");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpacker {
    packing: bool,
    without_spaces: bool,
    /// 0xFF bytes met in a row: two announce a command.
    marks: u8,
    /// Whole bytes still to come.
    whole: u8,
    /// The character that comes behind the whole byte.
    behind: Option<u8>,
    line: Line,
    last: u8,
}

/// What the present line is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Line {
    #[default]
    Start,
    Command,
    Other,
}

impl Unpacker {
    /// Unpacks more of the stream behind what is in `text`.
    pub fn unpack(&mut self, packed: &[u8], text: &mut Vec<u8>) {
        for &byte in packed {
            match (byte, self.marks) {
                (0xFF, 0 | 1) => self.marks += 1,
                (0xFF, _) => {}
                (command, 2) => {
                    self.marks = 0;
                    self.command(command);
                }
                (byte, marks) => {
                    self.marks = 0;
                    if marks == 1 {
                        self.byte(0xFF, text);
                    }
                    self.byte(byte, text);
                }
            }
        }
    }

    fn command(&mut self, command: u8) {
        match Command::of(command) {
            Some(Command::On) => self.packing = true,
            Some(Command::Off) => self.packing = false,
            Some(Command::Reset) => (self.packing, self.without_spaces) = (false, false),
            Some(Command::WithoutSpaces) => self.without_spaces = true,
            Some(Command::WithSpaces) => self.without_spaces = false,
            // What later versions may say unpacks to nothing, as a question does.
            Some(Command::Query) | None => {}
        }
    }

    fn byte(&mut self, byte: u8, text: &mut Vec<u8>) {
        if !self.packing {
            return self.put(byte, text);
        }
        if self.whole > 0 {
            self.whole -= 1;
            self.put(byte, text);
            if let Some(behind) = self.behind.take() {
                self.put(behind, text);
            }
            return;
        }
        match (self.character(byte & 15), self.character(byte >> 4)) {
            (None, None) => self.whole = 2,
            (None, behind) => (self.whole, self.behind) = (1, behind),
            // What is behind a line end in the same byte is padding.
            (Some(b'\n'), _) => self.put(b'\n', text),
            (Some(first), second) => {
                self.put(first, text);
                match second {
                    Some(second) => self.put(second, text),
                    None => self.whole = 1,
                }
            }
        }
    }

    fn character(self, nibble: u8) -> Option<u8> {
        if nibble == 11 && self.without_spaces {
            return Some(b'E');
        }
        CHARACTERS.get(usize::from(nibble)).copied()
    }

    fn put(&mut self, byte: u8, text: &mut Vec<u8>) {
        if self.packing && self.without_spaces {
            if byte == b'\n' && self.line == Line::Start {
                return;
            }
            if self.line == Line::Command && byte.is_ascii_uppercase() && self.last != b' ' {
                text.push(b' ');
            }
        }
        self.line = match (byte, self.line) {
            (b'\n', _) => Line::Start,
            (b'G', Line::Start) => Line::Command,
            (_, Line::Start) | (b';', _) => Line::Other,
            (_, line) => line,
        };
        self.last = byte;
        text.push(byte);
    }
}
