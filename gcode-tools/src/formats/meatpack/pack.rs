//! Packing: lines in, MeatPack out, for a file's blocks and for a wire.

use super::{CHARACTERS, Command};
use crate::wire::Numbers;

/// The nibble that says that a whole byte follows.
const WHOLE: u8 = 15;

/// What becomes of the spaces of G lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spaces {
    /// They are packed, in half a byte each: the receiver gets every line as it was.
    Kept,
    /// They are left out, and `E` takes their place among the packed characters. The letters of G lines become capitals.
    /// One stays between a lone `0` and an X or B word, which many read as a hexadecimal or binary number without it. A
    /// receiver that takes `E` behind a number for its exponent must not be sent this.
    Removed,
}

/// A line that MeatPack cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The byte {byte:#04x} in column {column} cannot be in a line sent by MeatPack. Send the line without it.")]
pub struct Unpackable {
    /// The byte: 0xFF, which two in a row would be a command, or a line end inside the line.
    pub byte: u8,
    /// Where it is, in bytes from 1.
    pub column: usize,
}

impl Unpackable {
    /// Stable code of the error.
    pub const CODE: &'static str = "meatpack.unpackable";
}

/// Packs lines, one by one; each is whole in what it gives, so a receiver has the line as soon as it has the bytes.
///
/// It is a value that knows what the receiver was last told: whether packing is on. For a wire, send what
/// [`Packer::open`] gives, wait for the firmware's report (`[MP] PV01 ON NSP`: on, without spaces; `ESP`: with spaces),
/// then send what [`Packer::pack`] gives for each line. A receiver that was reset knows nothing: begin with a new
/// `Packer`. Line numbers and checksums are a part of the line; [`Packer::pack`] reckons the checksum anew where it leaves
/// spaces out.
///
/// ```
/// use gcode_tools::formats::meatpack::{Packer, Spaces, Unpacker};
/// let mut packer = Packer::new(Spaces::Removed);
/// let mut packed = Vec::new();
/// packer.open(&mut packed);
/// assert_eq!(packed, [0xFF, 0xFF, 251, 0xFF, 0xFF, 247]);
/// packed.clear();
/// packer.pack(b"G1 X10", &mut packed)?;
/// // `G1`, `X1`, `0` and the line end.
/// assert_eq!(packed, [0x1D, 0x1E, 0xC0]);
/// # Ok::<(), gcode_tools::formats::meatpack::Unpackable>(())
/// ```
#[derive(Debug, Clone)]
pub struct Packer {
    spaces: Spaces,
    opened: bool,
    packing: bool,
    /// The line as it is packed; kept so that packing allocates nothing.
    line: Vec<u8>,
}

impl Packer {
    /// A packer for a receiver that has just started: nothing is packed until it is told so.
    pub fn new(spaces: Spaces) -> Self {
        Self { spaces, opened: false, packing: false, line: Vec::new() }
    }

    /// Appends the commands that switch packing on, and the mode for spaces. [`Packer::pack`] does it by itself when it
    /// was not done; call it when the receiver's report is to be waited for.
    pub fn open(&mut self, out: &mut Vec<u8>) {
        out.extend(Command::On.bytes());
        if self.spaces == Spaces::Removed {
            out.extend(Command::WithoutSpaces.bytes());
        }
        (self.opened, self.packing) = (true, true);
    }

    /// Appends the command that switches everything off: what follows is plain text again.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        out.extend(Command::Reset.bytes());
        (self.opened, self.packing) = (false, false);
    }

    /// Appends a line, packed, with a line feed behind it. The line end of `line` may be there or not.
    ///
    /// With [`Spaces::Removed`] the blanks of lines whose command is a G code are left out and their letters become
    /// capitals, up to a comment; a checksum that was right is reckoned anew, and a line whose checksum was wrong stays as
    /// it is, so that the receiver refuses it. Lines with anything but words and numbers (strings, expressions, comments
    /// in brackets), or with a blank inside a number, stay as they are too. A line with bytes from 0x80 is sent as it is,
    /// with packing switched off for it.
    ///
    /// # Errors
    /// [`Unpackable`]: nothing was appended.
    pub fn pack(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), Unpackable> {
        let line = bare(line)?;
        if !line.is_ascii() {
            return self.pass(line, out);
        }
        if !self.opened {
            self.open(out);
        }
        if !self.packing {
            out.extend(Command::On.bytes());
            self.packing = true;
        }
        self.line.clear();
        if self.spaces == Spaces::Kept || !squeeze(line, &mut self.line) {
            self.line.clear();
            self.line.extend_from_slice(line);
        }
        self.line.push(b'\n');
        for pair in self.line.chunks(2) {
            // Behind a line end the other half is padding.
            let (first, second) = (pair[0], pair.get(1).copied().unwrap_or(b'\n'));
            let nibbles = (self.nibble(first), self.nibble(second));
            out.push(nibbles.0 | nibbles.1 << 4);
            out.extend((nibbles.0 == WHOLE).then_some(first));
            out.extend((nibbles.1 == WHOLE).then_some(second));
        }
        Ok(())
    }

    /// Appends a line as it is, with packing switched off, and a line feed behind it. Packing is switched on again when
    /// the next line is packed.
    ///
    /// # Errors
    /// [`Unpackable`]: nothing was appended.
    pub fn pass(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), Unpackable> {
        let line = bare(line)?;
        if !self.opened {
            self.open(out);
        }
        if self.packing {
            out.extend(Command::Off.bytes());
            self.packing = false;
        }
        out.extend_from_slice(line);
        out.push(b'\n');
        Ok(())
    }

    /// The nibble of a character, or [`WHOLE`].
    fn nibble(&self, byte: u8) -> u8 {
        match (byte, self.spaces) {
            (b' ', Spaces::Removed) => WHOLE,
            (b'E', Spaces::Removed) => 11,
            _ => NIBBLES[usize::from(byte & 0x7F)],
        }
    }
}

/// Nibbles by ASCII character.
const NIBBLES: [u8; 128] = {
    let mut nibbles = [WHOLE; 128];
    let mut at = 0;
    while at < CHARACTERS.len() {
        nibbles[CHARACTERS[at] as usize] = at as u8;
        at += 1;
    }
    nibbles
};

/// A line without its line end, if MeatPack can carry it.
fn bare(line: &[u8]) -> Result<&[u8], Unpackable> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match memchr::memchr3(b'\n', b'\r', 0xFF, line) {
        Some(at) => Err(Unpackable { byte: line[at], column: at + 1 }),
        None => Ok(line),
    }
}

/// Writes a G line without its blanks, if it means the same without them.
fn squeeze(line: &[u8], out: &mut Vec<u8>) -> bool {
    let code = &line[..memchr::memchr(b';', line).unwrap_or(line.len())];
    if !is_plain_g_line(code) {
        return false;
    }
    let mut before = 0;
    for (at, &byte) in code.iter().enumerate().filter(|(_, byte)| !matches!(byte, b' ' | b'\t')) {
        // `X1 0` is 1 to one firmware and 10 to another.
        if is_of_number(byte) && is_of_number(before) && matches!(code[at - 1], b' ' | b'\t') {
            return false;
        }
        before = byte;
    }
    let packed = |text: &[u8], out: &mut Vec<u8>| {
        let mut blank = false;
        for byte in text.iter().map(u8::to_ascii_uppercase) {
            if matches!(byte, b' ' | b'\t') {
                blank = true;
                continue;
            }
            if std::mem::take(&mut blank) && Numbers::Prefixed.blank_before(byte, out) {
                out.push(b' ');
            }
            out.push(byte);
        }
    };
    let Some(star) = memchr::memchr(b'*', code) else {
        packed(code, out);
        out.extend_from_slice(&line[code.len()..]);
        return true;
    };
    let stated = std::str::from_utf8(&code[star + 1..]).ok().and_then(|text| text.trim().parse().ok());
    if stated != Some(checksum(&code[..star])) {
        return false;
    }
    packed(&code[..star], out);
    let sum = checksum(out);
    out.extend(format!("*{sum}").bytes());
    out.extend_from_slice(&line[code.len()..]);
    true
}

/// Whether a line's command, behind its number, is a G code, and all of it are words with numbers.
pub(in super::super) fn is_plain_g_line(code: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'\t' | b'.' | b'+' | b'-' | b'*');
    let mut rest = code.trim_ascii_start();
    if let [b'N' | b'n', numbered @ ..] = rest {
        let digits = numbered.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = numbered[digits..].trim_ascii_start();
    }
    matches!(rest, [b'G' | b'g', b'0'..=b'9', ..]) && code.iter().all(plain)
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-')
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

#[cfg(test)]
mod test {
    use super::super::Unpacker;
    use super::*;
    use crate::block::Block;
    use crate::statement::Statement;
    use proptest::prelude::*;

    /// What a firmware makes of the bytes, written from the protocol: no spaces are put back, no line is dropped.
    fn received(packed: &[u8]) -> Vec<u8> {
        let (mut on, mut without_spaces, mut at, mut out) = (false, false, 0, Vec::new());
        while at < packed.len() {
            let byte = packed[at];
            at += 1;
            if byte == 0xFF && packed.get(at) == Some(&0xFF) {
                match packed[at + 1] {
                    251 => on = true,
                    250 => on = false,
                    249 => (on, without_spaces) = (false, false),
                    247 => without_spaces = true,
                    other => panic!("command {other}"),
                }
                at += 2;
            } else if on {
                let mut whole = |nibble: u8| match nibble {
                    15 => {
                        at += 1;
                        packed[at - 1]
                    }
                    11 if without_spaces => b'E',
                    _ => b"0123456789. \nGX"[usize::from(nibble)],
                };
                let first = whole(byte & 15);
                out.push(first);
                if first != b'\n' {
                    let second = whole(byte >> 4);
                    out.push(second);
                }
            } else {
                out.push(byte);
            }
        }
        out
    }

    fn packed(lines: &[&[u8]], spaces: Spaces) -> Vec<u8> {
        let (mut packer, mut out) = (Packer::new(spaces), Vec::new());
        for line in lines {
            packer.pack(line, &mut out).unwrap();
        }
        out
    }

    fn sent(line: &str) -> String {
        String::from_utf8(received(&packed(&[line.as_bytes()], Spaces::Removed))).unwrap()
    }

    #[test]
    fn spaces_leave_g_lines_and_nothing_else() {
        assert_eq!(sent("g1 x10.5 Y-2\te.5 f600\r\n"), "G1X10.5Y-2E.5F600\n");
        assert_eq!(sent("G1 X1 ; to x 1"), "G1X1; to x 1\n");
        assert_eq!(sent("G0 X1 Y0  X2 Z0 B1 E0"), "G0 X1Y0 X2Z0 B1E0\n");
        for line in [
            "M117 G1 is next",
            "M104 S200",
            "G1 X1 0",
            "G1 (to x) X1",
            "G28 W \"a b\"",
            "T0 G1 X1",
            "G X1",
            "G1 X{a + b}",
        ] {
            assert_eq!(sent(line), format!("{line}\n"));
        }
    }

    #[test]
    fn a_checksum_that_was_right_is_right_again_and_a_wrong_one_stays_wrong() {
        let sum = |text: &str| checksum(text.as_bytes());
        let line = "N3 G1 X10 E2";
        assert_eq!(sent(&format!("{line}*{}", sum(line))), format!("N3G1X10E2*{}\n", sum("N3G1X10E2")));
        let wrong = format!("{line}*{}", sum(line) ^ 1);
        assert_eq!(sent(&wrong), format!("{wrong}\n"));
    }

    #[test]
    fn text_that_is_not_ascii_goes_unpacked_and_packing_goes_on() {
        let lines = [&b"G1 X1"[..], "M117 Tür".as_bytes(), "M117 ö".as_bytes(), b"G1 X2"];
        let bytes = packed(&lines, Spaces::Removed);
        assert_eq!(received(&bytes), "G1X1\nM117 Tür\nM117 ö\nG1X2\n".as_bytes());
        assert_eq!(memchr::memmem::find_iter(&bytes, b"\xFF\xFF").count(), 4, "on, no spaces, off, on");
    }

    #[test]
    fn what_would_be_a_command_or_two_lines_is_refused_with_its_place() {
        let (mut packer, mut out) = (Packer::new(Spaces::Kept), Vec::new());
        assert_eq!(packer.pack(b"M117 a\xFF\xFF\xFB", &mut out), Err(Unpackable { byte: 0xFF, column: 7 }));
        assert_eq!(packer.pack(b"G1 X1\nG1", &mut out), Err(Unpackable { byte: b'\n', column: 6 }));
        assert_eq!(packer.pass(b"\rG1", &mut out), Err(Unpackable { byte: b'\r', column: 1 }));
        assert!(out.is_empty());
    }

    #[test]
    fn a_receiver_is_told_once_and_switched_off_at_the_end() {
        let (mut packer, mut out) = (Packer::new(Spaces::Kept), Vec::new());
        packer.open(&mut out);
        packer.pack(b"G1 X1", &mut out).unwrap();
        packer.close(&mut out);
        out.extend_from_slice(b"G1 X2\n");
        assert_eq!(memchr::memmem::find_iter(&out, b"\xFF\xFF").count(), 2);
        assert_eq!(received(&out), b"G1 X1\nG1 X2\n");
    }

    proptest! {
        #[test]
        fn with_spaces_every_line_comes_back(lines in proptest::collection::vec("[ -~äß\u{1}\t]{0,40}", 0..12)) {
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let (bytes, mut text) = (packed(&lines, Spaces::Kept), Vec::new());
            Unpacker::default().unpack(&bytes, &mut text);
            let expected: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
            prop_assert_eq!(&received(&bytes), &expected);
            prop_assert_eq!(text, expected);
        }

        #[test]
        fn without_spaces_every_word_comes_back(
            code in prop_oneof!["[Gg][0-3]", "[Mm]10[0-9]"],
            words in proptest::collection::vec("[XYZEFIJRSPxyzefijrsp] ?-?[0-9]{1,4}(\\.[0-9]{1,5})?", 0..8),
            gap in "[ \t]{0,2}",
        ) {
            let line = format!("{code} {}", words.join(if gap.is_empty() { " " } else { &gap }));
            let bytes = packed(&[line.as_bytes()], Spaces::Removed);
            let mut text = Vec::new();
            Unpacker::default().unpack(&bytes, &mut text);
            for back in [text, received(&bytes)] {
                let (before, after) = (Block::new(line.as_bytes()), Block::new(back.trim_ascii_end()));
                let (before, after) = (Statement::of(&before), Statement::of(&after));
                prop_assert_eq!(before.codes(), after.codes());
                for letter in b'A'..=b'Z' {
                    prop_assert_eq!(before.value(letter), after.value(letter));
                }
            }
        }
    }
}
