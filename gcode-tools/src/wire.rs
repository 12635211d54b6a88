//! What of a block goes over the wire to a machine: the fewest bytes that mean the same.

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

/// Appends to `out` the bytes to send for a block, fit for any machine. See [`compact_for`].
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

/// Appends to `out` the bytes to send for a block to a machine with this alphabet.
///
/// Left out: comments, spaces that mean nothing, the file's own N word and checksum, `%`, `/`, a lone program number,
/// the line end. Kept as written: the text of messages and of commands in words (`SET_PIN PIN=x`), strings,
/// expressions. A control byte is never written. `out` is not cleared.
pub fn compact_for(block: &Block, alphabet: Alphabet, out: &mut Vec<u8>) -> Compacted {
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
                if bare {
                    out.push(b' ');
                }
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

/// Writes one word; returns how many bytes were left out.
fn word_bytes(word: &Word, alphabet: Alphabet, out: &mut Vec<u8>) -> usize {
    out.push(word.letter);
    match word.shape {
        Shape::Number => {
            out.extend(word.text.iter().filter(|byte| !byte.is_ascii_whitespace()));
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

/// Writes text without the bytes that must not be sent; returns how many those are.
fn text_bytes(text: &[u8], alphabet: Alphabet, out: &mut Vec<u8>) -> usize {
    let before = out.len();
    out.extend(text.iter().filter(|byte| may_be_sent(**byte, alphabet)));
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
