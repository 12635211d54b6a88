//! One line of a program, lossless: its bytes are what is sent, its words are a view of them.
//!
//! Reading never fails. Bytes that mean nothing are [`Item::Stray`], numbers that are none stay text, and whether
//! any of it matters is for [`crate::preflight`] to say.

use crate::number;

mod scan;

pub use scan::Items;

/// One line of a program. Holds the bytes exactly as given, a line end included if there was one.
///
/// ```
/// use gcode_tools::block::Block;
/// let block = Block::new(b"N7 g1x10 Y-.5 (slow) F600 ; on");
/// assert_eq!(block.line_number(), Some(7));
/// assert_eq!(block.codes().collect::<Vec<_>>(), [('G', 10)]);
/// assert_eq!(block.value('Y'), Some(-0.5));
/// assert_eq!(block.bytes(), b"N7 g1x10 Y-.5 (slow) F600 ; on");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    bytes: &'a [u8],
    words: PlainWords,
}

impl PartialEq for Block<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Block<'_> {}

/// Where the words of a line stand that is made of plain words: letters with a number each, the first none of M, N and
/// O, spaces or nothing between; then a `;` comment or nothing. Empty for every other line, and wherever unknown.
///
/// A bit per byte, the first byte lowest. Starts and ends alternate. The last end is missing where nothing stands
/// behind the last letter or its sign: then that word is not one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlainWords {
    /// Bytes that are a word's letter.
    pub(crate) starts: u64,
    /// Bytes right behind a word's number.
    pub(crate) ends: u64,
}

impl PlainWords {
    /// None that are known.
    pub(crate) const NONE: Self = Self { starts: 0, ends: 0 };

    /// Takes off the first word. The line's bytes have to be those that the places are of.
    #[inline]
    pub(crate) fn take<'a>(&mut self, bytes: &'a [u8]) -> Option<Word<'a>> {
        if self.ends == 0 {
            return None;
        }
        // There is a start for each end. The bit set here spares the processor a zero's case.
        let start = (self.starts | 1 << 63).trailing_zeros();
        let span = Span { start: start as usize, end: self.ends.trailing_zeros() as usize };
        let [letter, text @ ..] = bytes.get(span.start..span.end)? else { return None };
        self.starts &= self.starts.wrapping_sub(1);
        self.ends &= self.ends - 1;
        // Letters differ from their capitals in this bit.
        Some(Word { letter: letter & !0x20, text, shape: Shape::Number, span })
    }
}

/// Where something stands in its block: byte offsets, the end excluded. A column for people is `start + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

/// What follows a word's letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Digits, sign, point; [`Word::number`] says whether they make a number.
    Number,
    /// Nothing, as in `G28 X`.
    Missing,
    /// A string in double quotes, as RepRapFirmware has it.
    Quoted,
    /// A parameter or an expression: `#1`, `[#2*2]`, `-#<depth>`, `{var.x}`.
    Expression,
}

/// A letter and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// The letter in upper case.
    pub letter: u8,
    /// What follows the letter, as written, without the quotes of a string.
    pub text: &'a [u8],
    /// What kind of text that is.
    pub shape: Shape,
    /// Where the word stands, its letter included.
    pub span: Span,
}

impl Word<'_> {
    /// The number behind the letter, if there is one.
    #[inline]
    pub fn number(&self) -> Option<f64> {
        if self.shape == Shape::Number { number::parse(self.text) } else { None }
    }

    /// The word as a code in tenths, for G, M and T words: `G38.2` is `('G', 382)`.
    pub fn code(&self) -> Option<(char, u32)> {
        if !matches!(self.letter, b'G' | b'M' | b'T') {
            return None;
        }
        Some((char::from(self.letter), code_tenths(self.text, self.shape)?))
    }

    /// Whether the number has spaces inside: RS-274 reads `X1 0` as X10, Marlin as X1 and a stray 0.
    pub fn is_split(&self) -> bool {
        self.shape == Shape::Number && self.text.iter().any(|byte| matches!(byte, b' ' | b'\t'))
    }
}

/// A code's number in tenths. Codes of more than six digits are no codes.
#[inline]
pub(crate) fn code_tenths(text: &[u8], shape: Shape) -> Option<u32> {
    if shape != Shape::Number {
        return None;
    }
    match *text {
        [a] if a.is_ascii_digit() => return Some(u32::from(a - b'0') * 10),
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => {
            return Some((u32::from(a - b'0') * 10 + u32::from(b - b'0')) * 10);
        }
        _ => {}
    }
    let tenths = number::parse(text)? * 10.0;
    (0.0..1.0e7).contains(&tenths).then(|| tenths.round() as u32)
}

/// How a comment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentStyle {
    /// From `;` to the end of the line.
    Semicolon,
    /// Between parentheses. It ends at the first `)`, as in Grbl.
    Parentheses {
        /// Whether the `)` is there.
        closed: bool,
        /// Whether another `(` is inside, which LinuxCNC refuses.
        nested: bool,
    },
}

/// One piece of a block, in order. All bytes that are not in an item are spaces or line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A letter and its value.
    Word(Word<'a>),
    /// A comment; the text is without its delimiters.
    Comment {
        /// The comment's text.
        text: &'a [u8],
        /// How it is written.
        style: CommentStyle,
        /// Where it stands, delimiters included.
        span: Span,
    },
    /// The free text of a command such as M117, M118 or M23.
    Text {
        /// The text, without spaces around it.
        text: &'a [u8],
        /// Where it stands.
        span: Span,
    },
    /// `*` and what should be a checksum.
    Checksum {
        /// The checksum, if what follows is a number up to 255.
        value: Option<u8>,
        /// Where it stands, the `*` included.
        span: Span,
    },
    /// `%`: begin or end of the program on tape.
    Percent(Span),
    /// `/` at the start: skipped when the machine's block-delete switch is on.
    Delete(Span),
    /// A Grbl system command such as `$H` or `$130=200`, to the end of the line.
    System {
        /// The command with its `$`.
        text: &'a [u8],
        /// Where it stands.
        span: Span,
    },
    /// A command in brackets such as `[ESP444]RESTART`, to the end of the line.
    Bracketed {
        /// The command with its brackets.
        text: &'a [u8],
        /// Where it stands.
        span: Span,
    },
    /// A command that is a word of a language: Klipper's `SET_PIN PIN=x`, a macro, RepRapFirmware's `while`.
    Extended {
        /// The command with its parameters.
        text: &'a [u8],
        /// Where it stands.
        span: Span,
    },
    /// A parameter set: `#1=[2*3]`.
    Assign {
        /// What is set: `1`, `<depth>`, or an expression.
        name: &'a [u8],
        /// What it is set to.
        value: &'a [u8],
        /// Where it stands.
        span: Span,
    },
    /// An O-word: LinuxCNC's control flow, or a program's number.
    Flow {
        /// The O-word's name or number: `100`, `<tool_path>`.
        name: &'a [u8],
        /// The rest: `while [#1 LT 5]`, `call [1]`, or nothing.
        rest: &'a [u8],
        /// Where it stands.
        span: Span,
    },
    /// Bytes that mean nothing: a number without a letter, a stray `)`, a NUL.
    Stray(Span),
}

impl<'a> Block<'a> {
    /// A view of one line. Takes any bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, words: PlainWords::NONE }
    }

    /// A view of one line whose plain words are known.
    #[inline]
    pub(crate) const fn with_words(bytes: &'a [u8], words: PlainWords) -> Self {
        Self { bytes, words }
    }

    /// The line's plain words, where they are known.
    #[inline]
    pub(crate) const fn plain_words(&self) -> PlainWords {
        self.words
    }

    /// The bytes exactly as given.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Everything in the block, in order.
    #[inline]
    pub fn items(&self) -> Items<'a> {
        Items::new(self.bytes, self.words)
    }

    /// The words in order, N words included; comments, text and oddities left out.
    pub fn words(&self) -> impl Iterator<Item = Word<'a>> + use<'a> {
        self.items().filter_map(|item| match item {
            Item::Word(word) => Some(word),
            _ => None,
        })
    }

    /// The G, M and T codes in order, in tenths: `G38.2` is `('G', 382)`.
    pub fn codes(&self) -> impl Iterator<Item = (char, u32)> + use<'a> {
        self.words().filter_map(|word| word.code())
    }

    /// The number of the first word with this letter (either case), if it has one.
    pub fn value(&self, letter: char) -> Option<f64> {
        self.word(letter)?.number()
    }

    /// The first word with this letter, in either case.
    pub fn word(&self, letter: char) -> Option<Word<'a>> {
        let letter = u8::try_from(letter).ok()?.to_ascii_uppercase();
        self.words().find(|word| word.letter == letter)
    }

    /// Whether there is nothing a machine would execute: empty, comments, `%`, a lone N word or program number.
    pub fn is_blank(&self) -> bool {
        self.items().all(|item| match item {
            Item::Comment { .. } | Item::Percent(_) | Item::Delete(_) | Item::Checksum { .. } => true,
            Item::Word(word) => word.letter == b'N',
            Item::Flow { rest, name, .. } => rest.is_empty() && name.iter().all(u8::is_ascii_digit),
            _ => false,
        })
    }

    /// The N word's number.
    pub fn line_number(&self) -> Option<u64> {
        let word = self.words().next().filter(|word| word.letter == b'N')?;
        let number = word.number()?;
        (number >= 0.0 && number.fract() == 0.0 && number < 1.0e15).then_some(number as u64)
    }

    /// The checksum written behind `*`: `None` when there is no `*`, `Some(None)` when what follows is no checksum.
    pub fn checksum(&self) -> Option<Option<u8>> {
        self.items().find_map(|item| match item {
            Item::Checksum { value, .. } => Some(value),
            _ => None,
        })
    }

    /// What the checksum should be: the exclusive or of all bytes before the `*`. `None` when there is no `*`.
    pub fn checksum_of_bytes(&self) -> Option<u8> {
        let star = self.items().find_map(|item| match item {
            Item::Checksum { span, .. } => Some(span.start),
            _ => None,
        })?;
        Some(self.bytes[..star].iter().fold(0, |sum, byte| sum ^ byte))
    }

    /// All comments' texts, without delimiters.
    pub fn comments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.items().filter_map(|item| match item {
            Item::Comment { text, .. } => Some(text),
            _ => None,
        })
    }
}

#[cfg(test)]
mod test;
