//! What of a block goes over the wire to a machine: the fewest bytes that mean the same to *its* reader of numbers.
//!
//! Most firmwares read a number with the C library's `strtod` or `strtof`. Those read `20.5E12.5` as 20.5·10¹² and
//! `0X10` as sixteen, so a blank has to stay in front of `E`, and between a lone `0` and `X`: see [`Numbers`].

use serde::{Deserialize, Serialize};

use crate::block::{Block, Item, Shape, Word};

/// Which bytes a machine takes as text. What is outside is left out and counted, never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Grbl and its kin act on `?`, `!`, `~` and bytes from 0x80 anywhere, also in comments: they are no text.
    Grbl,
    /// Printers: UTF-8 may stand in messages; control bytes may not.
    Printer,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compacted {
    /// There is nothing to send: the block is blank, or nothing of it may be sent.
    Nothing,
    /// The bytes in the buffer mean what the block means.
    Whole,
    /// Bytes that must not be sent were left out: so many. The caller should say so.
    Stripped(usize),
}

/// How a machine's firmware reads the number behind a letter, and so what ends one. Each reads all that those before it
/// read, and more: what is fit for the last is fit for every machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbers {
    /// Digits, a sign and a point; any letter ends it. What this crate reads.
    Plain,
    /// Also `0X10`, hexadecimal, and `0B10`, binary: a lone zero in front of an X or B word needs a blank behind it.
    Prefixed,
    /// Also `1E5`, a power of ten: an E word needs a blank before it.
    #[default]
    Exponents,
}

impl Numbers {
    /// What must stand between what was written last and a word with this letter, if anything. Grbl takes every blank
    /// away before it reads a line (`protocol.c`), so that there a point ends a value: `S0.X10`. A code keeps its usual
    /// form: `G0 X10` read as G16 is refused, and moves nothing.
    #[inline]
    fn between(self, alphabet: Alphabet, letter: u8, written: &[u8]) -> Option<u8> {
        let value = !matches!(written, [.., b'G' | b'M', b'0']);
        let point = alphabet == Alphabet::Grbl && letter != b'E' && value;
        self.blank_before(letter, written).then_some(if point { b'.' } else { b' ' })
    }

    /// Whether a blank must stand between what was written last and a word with this letter.
    #[inline]
    pub(crate) fn blank_before(self, letter: u8, written: &[u8]) -> bool {
        match letter {
            b'E' => self == Self::Exponents && written.last().is_some_and(|byte| is_of_number(*byte)),
            b'X' | b'B' => self >= Self::Prefixed && ends_in_lone_zero(written),
            _ => false,
        }
    }
}

#[inline]
fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

/// Whether the last number is `0` and nothing else: `00` and `.0` begin no hexadecimal number, `-0` does.
#[inline]
fn ends_in_lone_zero(written: &[u8]) -> bool {
    match written {
        [.., before, b'0'] => !is_of_number(*before),
        _ => written == b"0",
    }
}

/// Appends to `out` the fewest bytes that mean to this crate what the block means: to compare commands by, and for
/// readers of whom [`Numbers::Plain`] is true. What goes to a machine is written by [`write()`].
///
/// ```
/// use gcode_tools::{block::Block, wire};
/// let mut out = Vec::new();
/// wire::compact(&Block::new(b"N3 g1 x10 Y 5 (slow) F600*88 ; on"), &mut out);
/// assert_eq!(out, b"G1X10Y5F600");
/// ```
pub fn compact(block: &Block, out: &mut Vec<u8>) -> Compacted {
    compact_for(block, Alphabet::Grbl, out)
}

/// As [`compact`], for a machine with this alphabet.
pub fn compact_for(block: &Block, alphabet: Alphabet, out: &mut Vec<u8>) -> Compacted {
    write(block, alphabet, Numbers::Plain, out)
}

/// Appends to `out` the bytes to send for a block to a machine with this alphabet, which reads numbers so.
///
/// Left out: comments, spaces that mean nothing, the file's own N word and checksum, `%`, `/`, a lone program number,
/// the line end. Kept as written: the text of messages and of commands in words (`SET_PIN PIN=x`), strings,
/// expressions. A control byte is never written. `out` is not cleared.
///
/// ```
/// use gcode_tools::block::Block;
/// use gcode_tools::wire::{self, Alphabet, Numbers};
/// let mut out = Vec::new();
/// wire::write(&Block::new(b"G1 S0 X10 Y20.5 E12.5"), Alphabet::Printer, Numbers::Exponents, &mut out);
/// assert_eq!(out, b"G1S0 X10Y20.5 E12.5");
/// ```
pub fn write(block: &Block, alphabet: Alphabet, numbers: Numbers, out: &mut Vec<u8>) -> Compacted {
    if block.is_blank() {
        return Compacted::Nothing;
    }
    let start = out.len();
    let mut stripped = 0;
    let mut bare = false;
    for item in block.items() {
        match item {
            Item::Word(word) if word.letter == b'N' && out.len() == start => {}
            Item::Word(word) => {
                // Klipper reads two letters in a row as one name: `G28 X Y` must not become `G28XY`.
                let between = if bare { Some(b' ') } else { numbers.between(alphabet, word.letter, &out[start..]) };
                out.extend(between);
                bare = word.shape == Shape::Missing;
                stripped += word_bytes(&word, alphabet, out);
            }
            Item::Text { text, .. } => {
                out.push(b' ');
                stripped += text_bytes(text, alphabet, out);
            }
            Item::System { text, .. } | Item::Bracketed { text, .. } | Item::Extended { text, .. } => {
                stripped += text_bytes(text, alphabet, out);
            }
            // The program's number is no command; words behind it are.
            Item::Flow { name, rest, .. } if rest.is_empty() && name.iter().all(u8::is_ascii_digit) => {}
            Item::Assign { span, .. } | Item::Flow { span, .. } | Item::Stray(span) => {
                if out.len() > start {
                    out.push(b' ');
                }
                stripped += text_bytes(&block.bytes()[span.start..span.end], alphabet, out);
            }
            Item::Comment { .. } | Item::Checksum { .. } | Item::Percent(_) | Item::Delete(_) => {}
        }
    }
    while out.len() > start && out.last() == Some(&b' ') {
        out.pop();
    }
    match (out.len() == start, stripped) {
        (true, 0) => Compacted::Nothing,
        (_, 0) => Compacted::Whole,
        (_, stripped) => Compacted::Stripped(stripped),
    }
}

/// Appends to `out` a line as it is written, comments and spaces included, with what this alphabet and reader of numbers
/// need between words added. Line end and spaces around it are left out. For machines that are to get lines as they stand.
pub fn write_as_it_stands(block: &Block, alphabet: Alphabet, numbers: Numbers, out: &mut Vec<u8>) {
    let bytes = block.bytes();
    let start = out.len();
    let mut at = bytes.len() - bytes.trim_ascii_start().len();
    // Where the word before ends in `out`: nothing behind it counts for a machine that takes blanks and comments away.
    let mut ended = start;
    for word in block.words() {
        out.extend_from_slice(&bytes[at..word.span.start]);
        let counts = if alphabet == Alphabet::Grbl { ended.min(out.len()) } else { out.len() };
        if let Some(between) = numbers.between(alphabet, word.letter, &out[start..counts]) {
            out.insert(counts, between);
        }
        at = word.span.start;
        ended = out.len() + (word.span.end - word.span.start);
    }
    out.extend_from_slice(bytes[at..].trim_ascii_end());
}

/// Digits of a number that every firmware reads. Grbl and FluidNC read the first eight, zeros in front included, and take
/// the rest for zeros (`MAX_INT_DIGITS`, `read_float` in `nuts_bolts.c` and `Parameters.cpp`): `X0000000012.5` is 0.
const DIGITS_READ: usize = 8;

/// Writes one word; returns how many bytes were left out.
fn word_bytes(word: &Word, alphabet: Alphabet, out: &mut Vec<u8>) -> usize {
    out.push(word.letter);
    match word.shape {
        Shape::Number => {
            let from = out.len();
            out.extend(word.text.iter().filter(|byte| !byte.is_ascii_whitespace()));
            // Klipper knows no `G01`; to the others zeros in front of a code say nothing.
            let is_code = matches!(word.letter, b'G' | b'M' | b'T') && out.get(from) == Some(&b'0');
            if is_code || out.len() - from > DIGITS_READ {
                drop_leading_zeros(out, from);
            }
            0
        }
        Shape::Missing => 0,
        Shape::Expression => text_bytes(word.text, alphabet, out),
        Shape::Quoted => {
            out.push(b'"');
            let stripped = text_bytes(word.text, alphabet, out);
            out.push(b'"');
            stripped
        }
    }
}

/// Takes the zeros in front of a long number away, from this offset on, all but one in front of a point.
#[cold]
fn drop_leading_zeros(out: &mut Vec<u8>, from: usize) {
    let first = from + usize::from(matches!(out.get(from), Some(b'-' | b'+')));
    let zeros = out[first..].iter().take_while(|byte| **byte == b'0').count();
    let needed = usize::from(!out.get(first + zeros).is_some_and(u8::is_ascii_digit));
    out.drain(first..first + zeros.saturating_sub(needed));
}

/// Writes text without the bytes that must not be sent; returns how many those are.
fn text_bytes(text: &[u8], alphabet: Alphabet, out: &mut Vec<u8>) -> usize {
    let before = out.len();
    // What is no UTF-8 is no text to a printer either.
    let ascii_only = !text.is_ascii() && std::str::from_utf8(text).is_err();
    out.extend(text.iter().filter(|byte| may_be_sent(**byte, alphabet) && !(ascii_only && **byte >= 0x80)));
    text.len() - (out.len() - before)
}

/// Whether a byte may stand in a line sent to a machine with this alphabet.
pub fn may_be_sent(byte: u8, alphabet: Alphabet) -> bool {
    match byte {
        0..=0x1F | 0x7F => false,
        b'?' | b'!' | b'~' | 0x80.. => alphabet == Alphabet::Printer,
        _ => true,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn sent(line: &[u8]) -> (String, Compacted) {
        let mut out = Vec::new();
        let outcome = compact(&Block::new(line), &mut out);
        (String::from_utf8_lossy(&out).into_owned(), outcome)
    }

    #[test]
    fn comments_spaces_numbers_and_checksums_stay_home() {
        assert_eq!(sent(b"N3 G1 X10.5  Y 4 0 ;x\r\n"), ("G1X10.5Y40".to_owned(), Compacted::Whole));
        assert_eq!(sent(b"/ g0 z5*22"), ("G0Z5".to_owned(), Compacted::Whole));
        for line in ["", "; a", "%", "N10", "O1000 (A)"] {
            assert_eq!(sent(line.as_bytes()), (String::new(), Compacted::Nothing), "{line}");
        }
    }

    #[test]
    fn text_and_foreign_commands_keep_their_spaces() {
        assert_eq!(sent(b"M117  Layer 3 of 9 ; x").0, "M117 Layer 3 of 9");
        assert_eq!(sent(b"SET_PIN PIN=fan  VALUE=1 ; x").0, "SET_PIN PIN=fan  VALUE=1");
        assert_eq!(sent(b"g28 x y").0, "G28X Y");
        assert_eq!(sent(b"M862.3 P \"MK 3\"").0, "M862.3P\"MK 3\"");
        assert_eq!(sent(b"#1=[2 * 3] G1 X#1").0, "#1=[2 * 3]G1X#1");
        assert_eq!(sent(b"o1 if [#1 GT 2] (x)").0, "o1 if [#1 GT 2]");
    }

    #[test]
    fn a_byte_that_a_machine_acts_on_at_once_is_never_in_a_line() {
        assert_eq!(sent("M117 Tür? Ä".as_bytes()), ("M117 Tr".to_owned(), Compacted::Stripped(5)));
        assert_eq!(sent(b"G1 X10!\x18"), ("G1X10".to_owned(), Compacted::Stripped(2)));
        assert_eq!(sent(b"~"), (String::new(), Compacted::Stripped(1)));
        let mut out = Vec::new();
        assert_eq!(compact_for(&Block::new("M117 Tür?".as_bytes()), Alphabet::Printer, &mut out), Compacted::Whole);
        assert_eq!(out, "M117 Tür?".as_bytes());
        out.clear();
        // Latin-1: preflight says of it that it is not sent.
        assert_eq!(compact_for(&Block::new(b"M117 T\xFCr"), Alphabet::Printer, &mut out), Compacted::Stripped(1));
        assert_eq!(out, b"M117 Tr");
    }

    fn written(line: &str, numbers: Numbers) -> String {
        let mut out = Vec::new();
        write(&Block::new(line.as_bytes()), Alphabet::Printer, numbers, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_blank_stays_where_a_reader_of_numbers_would_read_on() {
        let exponents = |line| written(line, Numbers::Exponents);
        assert_eq!(exponents("G1 X10 Y20.5 E12.5"), "G1X10Y20.5 E12.5");
        assert_eq!(exponents("g1x10e5"), "G1X10 E5");
        assert_eq!(exponents("G1 E5 X1.E2"), "G1 E5X1. E2");
        assert_eq!(exponents("T0 E0"), "T0 E0");
        assert_eq!(exponents("G1 S0 X10"), "G1S0 X10");
        assert_eq!(exponents("G0X10B0"), "G0 X10B0");
        assert_eq!(exponents("G1 Z-0 B5 Y00 X1 F1.0 X2"), "G1Z-0 B5Y00X1F1.0X2");
        assert_eq!(exponents("G28 X E"), "G28X E");
        assert_eq!(written("G1 S0 X10 E2", Numbers::Prefixed), "G1S0 X10E2");
        assert_eq!(written("G1 S0 X10 E2", Numbers::Plain), "G1S0X10E2");
        assert_eq!(exponents("M117 at 0X10 1E5"), "M117 at 0X10 1E5");
    }

    #[test]
    fn zeros_in_front_do_not_fill_the_digits_that_are_read() {
        assert_eq!(written("G1 X0000000012.5 Y-000000000 Z0.000000001", Numbers::Plain), "G1X12.5Y-0Z0.000000001");
        assert_eq!(written("G1 X007 Y+00000000.25", Numbers::Plain), "G1X007Y+0.25");
    }

    #[test]
    fn a_line_that_is_sent_as_it_stands_gets_its_blanks_too() {
        let mut out = Vec::new();
        write_as_it_stands(
            &Block::new(b"  G1X10e5 (a) S0X3 ; 0X1E1\r\n"),
            Alphabet::Printer,
            Numbers::Exponents,
            &mut out,
        );
        assert_eq!(String::from_utf8(out).unwrap(), "G1X10 e5 (a) S0 X3 ; 0X1E1");
    }

    #[test]
    fn whatever_goes_in_no_control_byte_comes_out() {
        for byte in 0..=255 {
            for line in [vec![byte, b'G', byte, b'1', byte], vec![b'M', b'1', b'1', b'7', b' ', byte, b'a']] {
                let mut out = Vec::new();
                compact(&Block::new(&line), &mut out);
                assert!(out.iter().all(|byte| may_be_sent(*byte, Alphabet::Grbl)), "{line:?} gave {out:?}");
            }
        }
    }
}
