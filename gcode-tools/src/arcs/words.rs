//! The words of a plain move, with their places: what an arc may replace.

use crate::number;

/// A number and where its text stands in the line, the letter left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Field {
    /// The number.
    pub value: f64,
    /// Offset of the number's first byte.
    pub start: u16,
    /// Offset behind its last byte.
    pub end: u16,
}

/// A line of nothing but at most one G0 or G1, the words X Y Z E F S with numbers, spaces and a `;` comment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PlainMove {
    /// Whether the line says G1 (`true`) or G0 (`false`); `None` where it leaves that to the line before.
    pub feed_motion: Option<bool>,
    pub x: Option<Field>,
    pub y: Option<Field>,
    pub z: Option<Field>,
    pub e: Option<Field>,
    pub f: Option<Field>,
    pub s: Option<Field>,
    /// Where the comment starts, its `;` included.
    pub comment: Option<u16>,
    /// Whether there is a space between words.
    pub spaced: bool,
}

/// Longest line taken for a plain move, comment included. Slicers write less than 100 bytes.
pub(super) const LINE_BYTES_MAX: usize = 250;

/// Reads a plain move; `None` for every other line.
#[inline]
pub(super) fn plain_move(line: &[u8]) -> Option<PlainMove> {
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    let mut found = PlainMove::default();
    let mut has_word = false;
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        if byte == b' ' {
            found.spaced |= has_word;
            at += 1;
            continue;
        }
        if byte == b';' {
            found.comment = Some(at as u16);
            break;
        }
        let (value, end) = number_at(line, at + 1)?;
        // A digit behind a space would belong to this number where RS-274 is read to the letter.
        if line.get(end) == Some(&b' ') && line.get(end + 1).is_some_and(|next| (b'*'..b';').contains(next)) {
            return None;
        }
        let slot = match byte & !0x20 {
            b'G' => {
                if found.feed_motion.is_some() || !matches!(value, 0.0 | 1.0) {
                    return None;
                }
                found.feed_motion = Some(value == 1.0);
                (at, has_word) = (end, true);
                continue;
            }
            b'X' => &mut found.x,
            b'Y' => &mut found.y,
            b'Z' => &mut found.z,
            b'E' => &mut found.e,
            b'F' => &mut found.f,
            b'S' => &mut found.s,
            _ => return None,
        };
        if slot.is_some() {
            return None;
        }
        *slot = Some(Field { value, start: (at + 1) as u16, end: end as u16 });
        (at, has_word) = (end, true);
    }
    has_word.then_some(found)
}

/// The number at an offset and the offset behind it.
#[inline]
fn number_at(line: &[u8], from: usize) -> Option<(f64, usize)> {
    number::parse_at(line, from).or_else(|| long_number(line, from))
}

/// Numbers with many digits, as programs that are no slicers write them.
#[cold]
fn long_number(line: &[u8], from: usize) -> Option<(f64, usize)> {
    let text = line.get(from..)?;
    let length = text.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-')).count();
    Some((number::parse(&text[..length])?, from + length))
}

/// How many digits stand behind the point.
#[inline]
pub(super) fn decimals(number: &[u8]) -> usize {
    number.iter().position(|byte| *byte == b'.').map_or(0, |point| number.len() - point - 1)
}

#[cfg(test)]
mod test {
    use super::*;

    fn read(line: &str) -> Option<PlainMove> {
        plain_move(line.as_bytes())
    }

    #[test]
    fn a_plain_move_gives_its_words_and_where_they_stand() {
        let line = "G1 X-1.50 Y2 E.03 F600 ; wall";
        let found = read(line).unwrap();
        let x = found.x.unwrap();
        assert_eq!((x.value, &line[usize::from(x.start)..usize::from(x.end)]), (-1.5, "-1.50"));
        assert_eq!((found.feed_motion, found.spaced), (Some(true), true));
        assert_eq!(&line[usize::from(found.comment.unwrap())..], "; wall");
        let tight = read("x1.234567890123456789y2").unwrap();
        assert_eq!((tight.feed_motion, tight.spaced), (None, false));
        assert!((tight.x.unwrap().value - 1.234_567_890_123_456_7).abs() < 1e-12);
    }

    #[test]
    fn everything_else_is_none() {
        let others = [
            "",
            " ",
            ";x",
            "G2 X1 Y1 I1",
            "G1 X1 X2",
            "G1 G1 X1",
            "G1 X",
            "G1 X1 0",
            "G1 X#1",
            "N1 G1 X1",
            "G1 X1*33",
            "G1 A1",
            "G1 X1 (a)",
            "M3 S1",
            "G1 X1\tY1",
            "G1 X--1",
            "%",
            "G92 E0",
            "G1X1E1e5",
        ];
        for line in others {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn decimals_are_counted_behind_the_point() {
        assert_eq!((decimals(b"-.123"), decimals(b"5."), decimals(b"5")), (3, 0, 0));
    }
}
