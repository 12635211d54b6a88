//! MeatPack: two characters of G-code in a byte.

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
        match command {
            251 => self.packing = true,
            250 => self.packing = false,
            249 => (self.packing, self.without_spaces) = (false, false),
            247 => self.without_spaces = true,
            246 => self.without_spaces = false,
            // Queries, and what later versions may say, unpack to nothing.
            _ => {}
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
