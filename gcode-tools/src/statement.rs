//! What a block says, by letter: the form that modal state, analysis and preflight work on.
//!
//! ```
//! use gcode_tools::{block::Block, statement::{Form, Statement}};
//! let statement = Statement::of(&Block::new(b"n10 g1 x-2.5 f600 (slow) G90"));
//! assert_eq!(statement.form, Form::Words);
//! assert_eq!(statement.codes(), [(b'G', 10), (b'G', 900)]); // in tenths
//! assert_eq!((statement.value(b'X'), statement.value(b'Y')), (Some(-2.5), None));
//! ```
//!
//! A statement is read once per line of files with millions of lines, so plain lines take a short path of their own;
//! everything else goes through [`Block::items`]. Both give the same result, which a property test holds.

use crate::block::{Block, Item, PlainWords, Shape, code_tenths};
use crate::expression::Parameters;
use crate::number;

/// Codes kept of one line. Real lines carry a handful (LinuxCNC allows one per modal group, of which there are 15);
/// what is beyond is counted in [`Statement::codes_lost`].
pub const CODES_MAX: usize = 24;

/// What kind of line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Nothing a machine would execute.
    #[default]
    Blank,
    /// Words.
    Words,
    /// A Grbl `$` command.
    System,
    /// A command in brackets.
    Bracketed,
    /// A command in words of a language: Klipper, macros.
    Extended,
    /// An O-word with control flow.
    Flow,
}

/// What a block says. Numbers are as written, in the program's units.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, each read by a different check.
pub struct Statement {
    /// What kind of line it is.
    pub form: Form,
    numbers: u32,
    bare: u32,
    unknown: u32,
    values: [f64; 32],
    codes: [(u8, u32); CODES_MAX],
    code_count: usize,
    /// Codes beyond [`CODES_MAX`].
    pub codes_lost: usize,
    /// Whether the block is plain words, spaces and a `;` comment, without M, T and N words: nothing odd can be in it.
    pub plain: bool,
    /// Whether the block holds something that [`crate::preflight`] should look at item by item.
    pub odd: bool,
    /// Whether the same letter stands twice, G and M aside.
    pub repeated: bool,
    /// Whether a number has spaces inside.
    pub split: bool,
    /// Whether the block starts with `/`.
    pub deleted: bool,
    /// Whether the block is or has a `%`.
    pub percent: bool,
}

impl Default for Statement {
    fn default() -> Self {
        Self {
            form: Form::Blank,
            numbers: 0,
            bare: 0,
            unknown: 0,
            values: [0.0; 32],
            codes: [(0, 0); CODES_MAX],
            code_count: 0,
            codes_lost: 0,
            plain: false,
            odd: false,
            repeated: false,
            split: false,
            deleted: false,
            percent: false,
        }
    }
}

/// The slot of a letter: A to Z, and LinuxCNC's `@` and `^`, which fall into the free ones.
#[inline]
fn slot(letter: u8) -> usize {
    usize::from(letter.wrapping_sub(b'A') & 31)
}

#[inline]
fn bit(letter: u8) -> u32 {
    1 << slot(letter)
}

impl Statement {
    /// What a block says, without parameters: expressions are unknown.
    pub fn of(block: &Block) -> Self {
        let mut statement = Self::default();
        statement.read(block, None);
        statement
    }

    /// Reads a block, in place of what was read before. With parameters, expressions are evaluated and assignments
    /// made, as LinuxCNC does: all values of a line are computed before its assignments take effect.
    pub fn read(&mut self, block: &Block, parameters: Option<&mut Parameters>) {
        let words = block.plain_words();
        self.plain = if words == PlainWords::NONE {
            self.read_plain(block.bytes())
        } else {
            self.read_words(block.bytes(), words)
        };
        if !self.plain {
            self.read_items(block, parameters);
        }
    }

    /// Whether the letter (upper case) has a number.
    #[inline]
    pub fn has(&self, letter: u8) -> bool {
        self.numbers & bit(letter) != 0
    }

    /// The number of a letter (upper case): the last, where it stands twice.
    #[inline]
    pub fn value(&self, letter: u8) -> Option<f64> {
        if self.has(letter) { Some(self.values[slot(letter)]) } else { None }
    }

    /// Whether the letter stands without any value.
    pub fn is_bare(&self, letter: u8) -> bool {
        self.bare & bit(letter) != 0
    }

    /// Whether the letter stands with a value that could not be read: no number, or an expression without a result.
    pub fn is_unknown(&self, letter: u8) -> bool {
        self.unknown & bit(letter) != 0
    }

    /// Whether the letter stands at all.
    pub fn mentions(&self, letter: u8) -> bool {
        (self.numbers | self.bare | self.unknown) & bit(letter) != 0
    }

    /// Whether any of these letters has a number.
    #[inline]
    pub fn has_any(&self, letters: &[u8]) -> bool {
        let mask = letters.iter().fold(0, |mask, letter| mask | bit(*letter));
        self.numbers & mask != 0
    }

    /// Whether no letter but these has a number.
    #[inline]
    pub fn has_only(&self, letters: &[u8]) -> bool {
        let mask = letters.iter().fold(0, |mask, letter| mask | bit(*letter));
        self.numbers & !mask == 0
    }

    /// Whether any of these letters stands with a value that could not be read.
    pub fn unknown_any(&self, letters: &[u8]) -> bool {
        self.unknown != 0 && letters.iter().any(|letter| self.is_unknown(*letter))
    }

    /// G, M and T codes in order, in tenths.
    #[inline]
    pub fn codes(&self) -> &[(u8, u32)] {
        &self.codes[..self.code_count]
    }

    /// Whether this code stands, in tenths.
    pub fn has_code(&self, letter: u8, tenths: u32) -> bool {
        self.codes().contains(&(letter, tenths))
    }

    /// Whether a T word selects a tool: behind codes of printers such as M104 and M204 it is a parameter.
    pub fn selects_tool(&self) -> bool {
        !self.codes().iter().any(|code| matches!(code, (b'M', 1000..)))
    }

    #[inline]
    fn clear(&mut self) {
        self.form = Form::Blank;
        (self.numbers, self.bare, self.unknown) = (0, 0, 0);
        (self.code_count, self.codes_lost) = (0, 0);
        (self.odd, self.repeated, self.split, self.deleted, self.percent) = (false, false, false, false, false);
    }

    #[inline]
    fn push_code(&mut self, letter: u8, tenths: u32) {
        if self.code_count < CODES_MAX {
            self.codes[self.code_count] = (letter, tenths);
            self.code_count += 1;
        } else {
            self.codes_lost += 1;
        }
    }

    #[inline]
    fn set(&mut self, letter: u8, value: f64) {
        let bit = bit(letter);
        self.repeated |= self.numbers & bit != 0 && !matches!(letter, b'G' | b'M');
        self.numbers |= bit;
        self.values[slot(letter)] = value;
    }

    /// The shortest path: words whose places are known, and behind them a comment or nothing. Says whether that was all.
    #[inline]
    fn read_words(&mut self, bytes: &[u8], mut words: PlainWords) -> bool {
        self.clear();
        while let Some(word) = words.take(bytes) {
            let letter = word.letter;
            if let (b'G', &[digit @ b'0'..=b'9']) = (letter, word.text) {
                // G0 and G1 begin nearly every line.
                self.push_code(b'G', u32::from(digit - b'0') * 10);
                self.set(b'G', f64::from(digit - b'0'));
                continue;
            }
            // Codes with meanings of their own, and N, which may belong to a checksum.
            if matches!(letter, b'M'..=b'O' | b'T') {
                return false;
            }
            let Some(value) = number::parse_between(bytes, word.span.start + 1, word.span.end) else { return false };
            if !self.set_plain(letter, value) {
                return false;
            }
        }
        self.form = Form::Words;
        words.starts == 0
    }

    /// Takes a word of the short paths. False for a G whose number is no code.
    #[inline]
    fn set_plain(&mut self, letter: u8, value: f64) -> bool {
        if letter == b'G' {
            if !(0.0..1.0e6).contains(&value) {
                return false;
            }
            self.push_code(b'G', (value * 10.0 + 0.5) as u32);
        }
        self.set(letter, value);
        true
    }

    /// The short path: words of letter and number, spaces, and a `;` comment. Says whether that was all.
    #[inline]
    fn read_plain(&mut self, bytes: &[u8]) -> bool {
        self.clear();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let letter = byte & !0x20;
            if !letter.is_ascii_uppercase() {
                match byte {
                    b' ' => {
                        at += 1;
                        continue;
                    }
                    b';' => break,
                    _ => return false,
                }
            }
            // M may carry text, N a checksum, O control flow: they are rare, and the long path knows them.
            if matches!(letter, b'M' | b'N' | b'O' | b'T') {
                return false;
            }
            let Some((value, end)) = number::parse_at(bytes, at + 1) else { return false };
            // A digit behind a space would belong to this number.
            if bytes.get(end) == Some(&b' ') && bytes.get(end + 1).is_some_and(|byte| *byte < b';' && *byte > b'*') {
                return false;
            }
            if !self.set_plain(letter, value) {
                return false;
            }
            self.form = Form::Words;
            at = end;
        }
        true
    }

    /// The long path: anything.
    #[cold]
    fn read_items(&mut self, block: &Block, parameters: Option<&mut Parameters>) {
        self.clear();
        let mut pending: Vec<(&[u8], &[u8])> = Vec::new();
        for item in block.items() {
            match item {
                Item::Word(word) if word.letter == b'N' && self.form == Form::Blank => {
                    self.odd |= word.number().is_none();
                }
                Item::Word(word) => {
                    if self.form == Form::Blank {
                        self.form = Form::Words;
                    }
                    self.split |= word.is_split();
                    let number = match (word.shape, parameters.as_deref()) {
                        (Shape::Expression, Some(parameters)) => parameters.evaluate(word.text),
                        _ => word.number(),
                    };
                    self.word(word.letter, word.text, word.shape, number);
                }
                Item::Comment { style, .. } => {
                    use crate::block::CommentStyle::Parentheses;
                    self.odd |= matches!(style, Parentheses { closed: false, .. } | Parentheses { nested: true, .. });
                }
                Item::Checksum { .. } => self.odd = true,
                Item::Percent(_) => self.percent = true,
                Item::Delete(_) => self.deleted = true,
                Item::Text { .. } => {}
                Item::System { .. } => self.form = Form::System,
                Item::Bracketed { .. } => self.form = Form::Bracketed,
                Item::Extended { .. } => self.form = Form::Extended,
                Item::Flow { rest, name, .. } => {
                    if !(rest.is_empty() && name.iter().all(u8::is_ascii_digit)) {
                        self.form = Form::Flow;
                    }
                }
                Item::Assign { name, value, .. } => {
                    if self.form == Form::Blank {
                        self.form = Form::Words;
                    }
                    pending.push((name, value));
                }
                Item::Stray(_) => {
                    self.odd = true;
                    if self.form == Form::Blank {
                        self.form = Form::Words;
                    }
                }
            }
        }
        if let Some(parameters) = parameters {
            parameters.assign_all(&pending);
        }
    }

    fn word(&mut self, letter: u8, text: &[u8], shape: Shape, number: Option<f64>) {
        if matches!(letter, b'G' | b'M' | b'T') {
            let tenths = match (shape, number) {
                (Shape::Expression, Some(value)) if (0.0..1.0e6).contains(&value) => {
                    Some((value * 10.0).round() as u32)
                }
                _ => code_tenths(text, shape),
            };
            match tenths {
                Some(tenths) => self.push_code(letter, tenths),
                None => self.odd = true,
            }
        }
        match (shape, number) {
            (Shape::Missing, _) => self.bare |= bit(letter),
            (_, Some(value)) => self.set(letter, value),
            (_, None) => self.unknown |= bit(letter),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_short_path_and_the_long_path_agree() {
        for line in [
            "G1 X1 Y-2.5 E.03",
            "g1x10y20f600",
            "G1 X1 0",
            "G0X",
            "G1 X5. ;c",
            "G92 E0.0",
            "G2 X1 Y2 I.5 J-.5",
            "G1 X1X2",
            "  G1  X1  ",
        ] {
            let mut short = Statement::default();
            let plain = short.read_plain(line.as_bytes());
            let mut long = Statement::default();
            long.read_items(&Block::new(line.as_bytes()), None);
            if plain {
                assert_eq!(
                    format!("{:?}{:?}", short.codes(), short.numbers),
                    format!("{:?}{:?}", long.codes(), long.numbers),
                    "{line}"
                );
                for letter in b'A'..=b'Z' {
                    assert_eq!(short.value(letter), long.value(letter), "{line}");
                }
                assert_eq!((short.repeated, short.form, short.odd), (long.repeated, long.form, long.odd), "{line}");
            }
        }
    }

    #[test]
    fn letters_without_value_and_twice_are_noted() {
        let statement = Statement::of(&Block::new(b"G28 X Y"));
        assert!(statement.is_bare(b'X') && statement.is_bare(b'Y') && !statement.has(b'X'));
        assert!(Statement::of(&Block::new(b"G1 X1 X2")).repeated);
        assert_eq!(Statement::of(&Block::new(b"M3 S100")).codes(), [(b'M', 30)]);
    }
}
