//! How each firmware finds the words of a line and reads their numbers: a simulated machine reads as the real one does.
//!
//! | reader | what it does | read in |
//! |---|---|---|
//! | `Grbl` | digits, sign, point; the first eight digits count, zeros in front included; the number ends where they end | gnea/grbl 1.1h `nuts_bolts.c` `read_float`; FluidNC `Parameters.cpp` the same |
//! | `GrblHal` | the same, zeros in front not counted | grblHAL/core `nuts_bolts.c` `read_float` |
//! | `Marlin` | `strtof` on what stands before the next E or X | Marlin 2.1.2 `parser.h` `value_float`, `parser.cpp` (E since 1.1, PR 1585; X since 2.1.2, PR 24643) |
//! | `MarlinBefore212` | `strtof` on what stands before the next E: on a 32-bit board `0X10` is sixteen | Marlin 2.0 `parser.h`, issue 24625 |
//! | `Marlin10` | `strtod`, codes included; the first place of a letter counts | Marlin 1.0.2 `Marlin_main.cpp` `code_value`; Prusa-Firmware before 3.13 `cmdqueue.h` |
//! | `Repetier` | `strtol` for codes, S, P and T, `strtod` for the rest; each letter is looked at, also those within a number | Repetier-Firmware 1.0.4 `gcode.h` `parseFloatValue`, `gcode.cpp` `parseAscii` |
//! | `Smoothie` | `strtol` for codes, `strtof` for the rest; the first place of a letter that a number follows | Smoothieware before February 2021 `Gcode.cpp` `get_value` (its `nist_float.cpp` came then; the version is not told) |
//! | `RepRap` | digits and an exponent; an E right behind a digit is no word | RepRapFirmware 3.5 `StringParser.cpp` `Seen`, RRFLibraries `NumericConverter.cpp` |
//! | `Klipper` | the line is cut at its letters; `float()` of what stands between | Klipper `klippy/gcode.py` `args_r` |
//!
//! `strtod` reads an exponent, `inf` and `nan` everywhere, and `0x` where the C library is newlib (32-bit boards).

use std::borrow::Cow;

use gcode_tools::block::{Block, Item};

/// A firmware's reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Grbl 1.1 and `FluidNC`.
    Grbl,
    /// grblHAL.
    GrblHal,
    /// Marlin from 2.1.2.
    Marlin,
    /// Marlin 1.1 to 2.1.1 on a 32-bit board.
    MarlinBefore212,
    /// Marlin 1.0 and Prusa's 8-bit firmware before 3.13.
    Marlin10,
    /// Repetier-Firmware on a 32-bit board.
    Repetier,
    /// Smoothieware before 2021.
    Smoothie,
    /// `RepRapFirmware` 3.
    RepRap,
    /// Klipper.
    Klipper,
}

/// What of C's `strtod` a reader takes besides digits, sign and point.
#[derive(Debug, Clone, Copy)]
struct Beyond {
    exponent: bool,
    hexadecimal: bool,
    names: bool,
}

/// The whole of `strtod`, as newlib has it.
const NEWLIB: Beyond = Beyond { exponent: true, hexadecimal: true, names: true };

/// As avr-libc has it.
const AVR: Beyond = Beyond { hexadecimal: false, ..NEWLIB };

/// Digits that Grbl reads (`MAX_INT_DIGITS`).
const GRBL_DIGITS: usize = 8;

impl Reader {
    /// The letters of a line in order, and their values. A letter without a number has none.
    pub fn words(self, line: &[u8]) -> impl Iterator<Item = (u8, Option<f64>)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            while let Some(letter) = line.get(at).map(u8::to_ascii_uppercase) {
                at += 1;
                let hidden = self == Self::RepRap
                    && letter == b'E'
                    && at.checked_sub(2).is_some_and(|before| line[before].is_ascii_digit());
                if !letter.is_ascii_alphabetic() || hidden {
                    continue;
                }
                let (value, used) = self.number(letter, &line[at..]);
                if self.skips_numbers() {
                    at += used;
                }
                return Some((letter, value));
            }
            None
        })
    }

    /// The value of the first word with this letter.
    pub fn value(self, line: &[u8], letter: u8) -> Option<f64> {
        let mut found = self.words(line).filter(|(found, _)| *found == letter);
        if self == Self::Smoothie { found.find_map(|(_, value)| value) } else { found.next()?.1 }
    }

    /// X, Y and Z, where they are given.
    pub fn axes(self, line: &[u8]) -> [Option<f64>; 3] {
        [b'X', b'Y', b'Z'].map(|letter| self.value(line, letter))
    }

    /// Whether it reads another number in a command than is written there, by this project's own reader.
    pub fn misreads(self, line: &[u8]) -> bool {
        let block = Block::new(line);
        if !is_doubtful(line) || !block.items().all(|item| matches!(item, Item::Word(_))) {
            return false;
        }
        let mut seen = 0_u32;
        block.words().any(|word| {
            let first = seen & (1 << (word.letter - b'@')) == 0;
            seen |= 1 << (word.letter - b'@');
            let Some(written) = word.number().filter(|_| first && word.letter.is_ascii_alphabetic()) else {
                return false;
            };
            // Whole numbers are cut off behind their point by `strtol`.
            let near = |read: f64| (read - written).abs() <= 1e-6 + written.abs() * 1e-6 || read == written.trunc();
            !self.value(line, word.letter).is_some_and(near)
        })
    }

    /// Whether it goes on behind a number, and not at the next character.
    fn skips_numbers(self) -> bool {
        !matches!(self, Self::Repetier | Self::Smoothie | Self::Marlin10)
    }

    /// The number behind a letter, and how many bytes it takes.
    fn number(self, letter: u8, text: &[u8]) -> (Option<f64>, usize) {
        let code = matches!(letter, b'G' | b'M' | b'N' | b'T');
        match self {
            Self::Grbl => grbl(text, true),
            Self::GrblHal => grbl(text, false),
            Self::Marlin | Self::MarlinBefore212 => {
                let blanks = text.len() - text.trim_ascii_start().len();
                let text = &text[blanks..];
                if !is_float(text) {
                    return (None, blanks);
                }
                let ends: &[u8] = if self == Self::Marlin { b" EeXx" } else { b" Ee" };
                let end = text.iter().position(|byte| ends.contains(byte)).unwrap_or(text.len());
                let used = text.iter().take_while(|byte| is_of_number(**byte)).count();
                (strtod(&text[..end], NEWLIB).0, blanks + used)
            }
            Self::Marlin10 => strtod(text, AVR),
            Self::Repetier => {
                let whole = code || matches!(letter, b'S' | b'P');
                let (value, used) = if whole { strtol(text) } else { strtod(text, NEWLIB) };
                (Some(value.unwrap_or(0.0)), used)
            }
            Self::Smoothie if code => strtol(text),
            Self::Smoothie => strtod(text, NEWLIB),
            Self::RepRap => strtod(text, Beyond { exponent: !code, hexadecimal: false, names: false }),
            Self::Klipper => {
                let end = text.iter().position(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'*'));
                let end = end.unwrap_or(text.len());
                let value = std::str::from_utf8(&text[..end]).ok().and_then(|text| text.trim().parse().ok());
                (value, end)
            }
        }
    }
}

/// A command whose only blanks are those that numbers need, without them: two spellings of the same words are then one
/// command.
pub(super) fn without_needed_blanks(line: &[u8]) -> Cow<'_, [u8]> {
    let needed = |at: usize| {
        let (before, behind) = (&line[..at], line.get(at + 1));
        match behind {
            Some(b'E') => before.last().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.'),
            Some(b'X' | b'B') => before.last() == Some(&b'0'),
            _ => false,
        }
    };
    let mut blanks = memchr::memchr_iter(b' ', line).peekable();
    if blanks.peek().is_none() || !blanks.all(needed) || line.starts_with(b"M117") {
        return Cow::Borrowed(line);
    }
    Cow::Owned(line.iter().copied().filter(|byte| *byte != b' ').collect())
}

/// Whether a line has anything that firmwares read differently: a letter that may go on with a number, many digits.
fn is_doubtful(line: &[u8]) -> bool {
    let mut digits = 0;
    let mut before = 0;
    line.iter().any(|&byte| {
        let goes_on = match byte {
            b'E' | b'e' => is_of_number(before),
            b'X' | b'x' | b'B' | b'b' => before == b'0',
            _ => false,
        };
        digits = if is_of_number(byte) { digits + 1 } else { 0 };
        before = byte;
        goes_on || digits > GRBL_DIGITS
    })
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')
}

/// Marlin's `valid_float`: `[-+]?.?[0-9]`.
fn is_float(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    text.strip_prefix(b".").unwrap_or(text).first().is_some_and(u8::is_ascii_digit)
}

/// Grbl's own reader.
fn grbl(text: &[u8], counts_zeros: bool) -> (Option<f64>, usize) {
    let signed = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let (mut whole, mut exponent, mut digits, mut point, mut at) = (0_u64, 0_i32, 0_usize, false, signed);
    let mut any = false;
    while let Some(byte) = text.get(at) {
        match byte {
            b'0'..=b'9' => {
                any = true;
                digits += usize::from(counts_zeros || *byte != b'0' || whole > 0);
                if digits <= GRBL_DIGITS {
                    whole = whole * 10 + u64::from(byte - b'0');
                    exponent -= i32::from(point);
                } else {
                    exponent += i32::from(!point);
                }
            }
            b'.' if !point => point = true,
            _ => break,
        }
        at += 1;
    }
    if !any {
        return (None, 0);
    }
    let value = whole as f64 * 10_f64.powi(exponent);
    (Some(if text[0] == b'-' { -value } else { value }), at)
}

/// C's `strtol` to the base of ten.
fn strtol(text: &[u8]) -> (Option<f64>, usize) {
    let blanks = text.len() - text.trim_ascii_start().len();
    let signed = usize::from(matches!(text.get(blanks), Some(b'-' | b'+')));
    let digits = text[blanks + signed..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = blanks + signed + digits;
    let value = std::str::from_utf8(&text[blanks..end]).ok().and_then(|text| text.parse().ok());
    (value, if value.is_some() { end } else { 0 })
}

/// C's `strtod`, as far as it goes beyond digits.
fn strtod(text: &[u8], beyond: Beyond) -> (Option<f64>, usize) {
    let blanks = text.len() - text.trim_ascii_start().len();
    let signed = usize::from(matches!(text.get(blanks), Some(b'-' | b'+')));
    let sign = if text.get(blanks) == Some(&b'-') { -1.0 } else { 1.0 };
    let from = blanks + signed;
    let body = &text[from..];
    let starts = |name: &[u8]| body.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    if beyond.names && (starts(b"INF") || starts(b"NAN")) {
        let value = if starts(b"INF") { f64::INFINITY } else { f64::NAN };
        return (Some(sign * value), from + 3);
    }
    if beyond.hexadecimal && starts(b"0X") {
        let digits = body[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let value = body[2..2 + digits]
            .iter()
            .fold(0.0, |sum, byte| sum * 16.0 + f64::from(char::from(*byte).to_digit(16).unwrap_or(0)));
        if digits > 0 {
            return (Some(sign * value), from + 2 + digits);
        }
    }
    let digits = |from: usize| body[from.min(body.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let point = usize::from(body.get(whole) == Some(&b'.'));
    let decimals = if point == 1 { digits(whole + 1) } else { 0 };
    if whole + decimals == 0 {
        return (None, 0);
    }
    let mut end = whole + point + decimals;
    if beyond.exponent && matches!(body.get(end), Some(b'E' | b'e')) {
        let minus = usize::from(matches!(body.get(end + 1), Some(b'-' | b'+')));
        let power = digits(end + 1 + minus);
        if power > 0 {
            end += 1 + minus + power;
        }
    }
    let value = std::str::from_utf8(&body[..end]).ok().and_then(|text| text.parse::<f64>().ok());
    (value.map(|value| sign * value), from + end)
}

#[cfg(test)]
mod test {
    use super::*;

    fn read(reader: Reader, line: &str) -> Vec<(char, Option<f64>)> {
        reader.words(line.as_bytes()).map(|(letter, value)| (char::from(letter), value)).collect()
    }

    #[test]
    fn what_stands_tight_is_read_as_each_firmware_reads_it() {
        let line = b"G1X10Y20.5E12.5";
        for (reader, y, e) in [
            (Reader::Grbl, 20.5, Some(12.5)),
            (Reader::Marlin, 20.5, Some(12.5)),
            (Reader::MarlinBefore212, 20.5, Some(12.5)),
            (Reader::Klipper, 20.5, Some(12.5)),
            (Reader::Marlin10, 20.5e12, Some(12.5)),
            (Reader::Smoothie, 20.5e12, Some(12.5)),
            (Reader::Repetier, 20.5e12, Some(12.5)),
            (Reader::RepRap, 20.5e12, None),
        ] {
            assert_eq!(reader.value(line, b'Y'), Some(y), "{reader:?}");
            assert_eq!(reader.value(line, b'E'), e, "{reader:?}");
        }
        for (reader, s) in [
            (Reader::Grbl, 0.0),
            (Reader::GrblHal, 0.0),
            (Reader::Marlin, 0.0),
            (Reader::MarlinBefore212, 16.0),
            (Reader::Marlin10, 0.0),
            (Reader::Smoothie, 16.0),
            (Reader::RepRap, 0.0),
        ] {
            assert_eq!(reader.value(b"G1F0X10", b'F'), Some(s), "{reader:?}");
        }
    }

    #[test]
    fn codes_are_read_as_whole_numbers_but_for_the_oldest() {
        assert_eq!(read(Reader::Smoothie, "G1E5")[0], ('G', Some(1.0)));
        assert_eq!(read(Reader::Repetier, "T0X1")[0], ('T', Some(0.0)));
        assert_eq!(read(Reader::Marlin10, "G1E5")[0], ('G', Some(1e5)));
    }

    #[test]
    fn a_letter_without_a_number_has_none() {
        assert_eq!(read(Reader::Marlin, "G28X Y"), [('G', Some(28.0)), ('X', None), ('Y', None)]);
        assert_eq!(read(Reader::Grbl, "X-Y.Z1"), [('X', None), ('Y', None), ('Z', Some(1.0))]);
        assert_eq!(read(Reader::Grbl, "X0000000012.5")[0], ('X', Some(0.0)));
        assert_eq!(read(Reader::GrblHal, "X0000000012.5")[0], ('X', Some(12.5)));
    }
}
