//! The words of a line as a small firmware reads them: letters and numbers, nothing else.

/// Words of one line at most: no buffer of these firmwares holds more.
const WORDS_MAX: usize = 160;

/// A line's words, read one by one without what means nothing: spaces, comments, `/`.
#[derive(Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether a `/` inside a line means nothing.
    passes_slashes: bool,
}

/// One word, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Read {
    /// A letter in upper case, and its number.
    Word(u8, f64),
    /// A letter without a number.
    NoNumber(u8),
    /// Something that is no letter.
    NoLetter(u8),
}

impl<'a> Scan<'a> {
    /// From the beginning of a line.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, passes_slashes: true }
    }

    /// As grblHAL reads: a `/` is one at the beginning only.
    #[must_use]
    pub fn with_slash_first(self) -> Self {
        Self { passes_slashes: false, ..self }
    }

    /// The next byte that means something.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b'(' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b')').map_or(rest.len(), |end| end + 1);
                }
                b';' => self.at = self.bytes.len(),
                0..=b' ' => self.at += 1,
                b'/' if self.passes_slashes || self.at == 0 => self.at += 1,
                byte => return Some(byte.to_ascii_uppercase()),
            }
        }
    }

    /// A number, as Grbl reads it: a sign, digits, one point; eight digits count.
    fn number(&mut self) -> Option<f64> {
        let negative = match self.peek() {
            Some(sign @ (b'-' | b'+')) => {
                self.at += 1;
                sign == b'-'
            }
            _ => false,
        };
        let (mut value, mut scale, mut digits, mut point) = (0.0_f64, 1.0_f64, 0, false);
        while let Some(byte) = self.peek() {
            match byte {
                b'0'..=b'9' => {
                    digits += 1;
                    // Digits beyond the eighth are dropped, and count where they stand before the point.
                    if digits <= 8 {
                        value = value * 10.0 + f64::from(byte - b'0');
                        scale *= if point { 10.0 } else { 1.0 };
                    } else if !point {
                        scale /= 10.0;
                    }
                }
                b'.' if !point => point = true,
                _ => break,
            }
            self.at += 1;
        }
        let value = value / scale;
        (digits > 0).then_some(if negative { -value } else { value })
    }

    /// The next word.
    pub fn word(&mut self) -> Option<Read> {
        let letter = self.peek()?;
        if !letter.is_ascii_uppercase() {
            return Some(Read::NoLetter(letter));
        }
        self.at += 1;
        Some(self.number().map_or(Read::NoNumber(letter), |number| Read::Word(letter, number)))
    }
}

impl Iterator for Scan<'_> {
    type Item = Read;

    /// The words of a line; endless lines are cut off.
    fn next(&mut self) -> Option<Read> {
        if self.at / 2 > WORDS_MAX * 4 {
            return None;
        }
        self.word()
    }
}

/// A set of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Letters(u32);

impl Letters {
    /// Of these letters, in upper case.
    pub const fn of(letters: &[u8]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < letters.len() {
            set |= 1 << (letters[at].wrapping_sub(b'A') & 31);
            at += 1;
        }
        Self(set)
    }

    /// Whether the letter is in it.
    pub fn has(self, letter: u8) -> bool {
        self.0 & Self::of(&[letter]).0 != 0
    }

    /// Whether any letter is in both.
    pub fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Takes a letter in. Says whether it was there.
    pub fn insert(&mut self, letter: u8) -> bool {
        let before = self.has(letter);
        self.0 |= Self::of(&[letter]).0;
        before
    }

    /// Takes letters out.
    pub fn remove(&mut self, letters: &[u8]) {
        self.0 &= !Self::of(letters).0;
    }

    /// The first letter of it, in the alphabet's order.
    pub fn first(self) -> Option<u8> {
        (self.0 != 0).then(|| b'A' + self.0.trailing_zeros() as u8)
    }
}
