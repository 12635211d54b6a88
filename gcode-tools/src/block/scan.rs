//! Cuts a block into items, left to right, each byte looked at once.

use super::{CommentStyle, Item, PlainWords, Shape, Span, Word};

/// The items of a block. See [`super::Block::items`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether only N words, `/` and `%` have been seen: what is a command's first word differs from what follows.
    fresh: bool,
    /// Whether the line has an N word, so that `*` and digits at the end of free text are a checksum.
    numbered: bool,
    /// Whether the rest of the line is the free text of a command.
    text: bool,
    /// Words at the front that need no search.
    words: PlainWords,
}

/// M codes whose rest is free text: messages and file names. Marlin, Prusa, RepRapFirmware.
const TEXT_CODES: [&[u8]; 15] =
    [b"16", b"23", b"28", b"30", b"32", b"33", b"36", b"98", b"117", b"118", b"486", b"511", b"550", b"587", b"928"];

/// M codes whose rest is free text only if it does not look like words: M0 and M1 may carry a message.
const MAYBE_TEXT_CODES: [&[u8]; 7] = [b"0", b"00", b"1", b"01", b"30", b"98", b"486"];

/// LinuxCNC's functions.
const FUNCTIONS: [&[u8]; 14] = [
    b"ABS", b"ACOS", b"ASIN", b"ATAN", b"COS", b"EXISTS", b"EXP", b"FIX", b"FUP", b"LN", b"ROUND", b"SIN", b"SQRT",
    b"TAN",
];

/// Letters of the longest of them.
const FUNCTION_LETTERS_MAX: usize = 6;

impl<'a> Items<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], words: PlainWords) -> Self {
        Self { bytes, at: 0, fresh: true, numbered: false, text: false, words }
    }

    /// The next of the words that need no search.
    #[inline]
    fn plain_word(&mut self) -> Option<Word<'a>> {
        let word = self.words.take(self.bytes)?;
        (self.at, self.fresh) = (word.span.end, false);
        Some(word)
    }

    fn peek(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| is_space(*byte)) {
            self.at += 1;
        }
    }

    /// From `start` to the first byte that ends a command's text, without trailing spaces.
    fn to_comment(&self, start: usize, parentheses: bool) -> usize {
        let rest = &self.bytes[start..];
        let end = rest.iter().position(|byte| *byte == b';' || (parentheses && *byte == b'(')).unwrap_or(rest.len());
        start + trimmed_len(&rest[..end])
    }

    fn span(&self, start: usize) -> Span {
        Span { start, end: self.at }
    }

    fn comment(&mut self) -> Item<'a> {
        let start = self.at;
        if self.bytes[start] == b';' {
            self.at = start + 1 + line_len(&self.bytes[start + 1..]);
            return Item::Comment {
                text: &self.bytes[start + 1..self.at],
                style: CommentStyle::Semicolon,
                span: self.span(start),
            };
        }
        let rest = &self.bytes[start + 1..];
        let close = rest.iter().position(|byte| *byte == b')');
        let text = &rest[..close.unwrap_or_else(|| line_len(rest))];
        self.at = start + 1 + text.len() + usize::from(close.is_some());
        let style = CommentStyle::Parentheses { closed: close.is_some(), nested: text.contains(&b'(') };
        Item::Comment { text, style, span: self.span(start) }
    }

    fn checksum(&mut self) -> Item<'a> {
        let start = self.at;
        self.at += 1;
        let digits = self.bytes[self.at..].iter().take_while(|byte| !is_space(**byte) && **byte != b';').count();
        let text = &self.bytes[self.at..self.at + digits];
        self.at += digits;
        let value = if text.iter().all(u8::is_ascii_digit) {
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok())
        } else {
            None
        };
        Item::Checksum { value, span: self.span(start) }
    }

    /// The rest of the line up to a comment, as one piece.
    fn whole(&mut self, parentheses: bool) -> (&'a [u8], Span) {
        let start = self.at;
        self.at = self.to_comment(start, parentheses).max(start + 1);
        self.fresh = false;
        (&self.bytes[start..self.at], self.span(start))
    }

    fn free_text(&mut self) -> Option<Item<'a>> {
        self.text = false;
        let start = self.at;
        let mut end = self.to_comment(start, false);
        if self.numbered {
            if let Some(star) = self.bytes[start..end].iter().rposition(|byte| *byte == b'*') {
                if self.bytes[start + star + 1..end].iter().all(u8::is_ascii_digit) {
                    end = start + trimmed_len(&self.bytes[start..start + star]);
                }
            }
        }
        self.at = end;
        (end > start).then(|| Item::Text { text: &self.bytes[start..end], span: self.span(start) })
    }

    fn assign(&mut self) -> Item<'a> {
        let start = self.at;
        let name_end = reference_end(self.bytes, start);
        let mut at = skip_space(self.bytes, name_end);
        if self.peek(at) != Some(b'=') {
            self.at = name_end.max(start + 1);
            return Item::Stray(self.span(start));
        }
        at = skip_space(self.bytes, at + 1);
        let value_end = operand_end(self.bytes, at);
        self.at = value_end;
        let name = trim(&self.bytes[start + 1..name_end]);
        Item::Assign { name, value: trim(&self.bytes[at..value_end]), span: self.span(start) }
    }

    fn flow(&mut self) -> Item<'a> {
        let start = self.at;
        let name_start = skip_space(self.bytes, start + 1);
        let name_end = match self.peek(name_start) {
            Some(b'<') => run_to(self.bytes, name_start, b'>'),
            Some(b'#' | b'[') => operand_end(self.bytes, name_start),
            _ => name_start + self.bytes[name_start..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
        };
        let rest_start = skip_space(self.bytes, name_end);
        self.at = self.to_comment(rest_start, true).max(name_end).max(start + 1);
        let rest = &self.bytes[rest_start.min(self.at)..self.at];
        Item::Flow { name: &self.bytes[name_start..name_end], rest, span: self.span(start) }
    }

    #[inline]
    fn word(&mut self) -> Word<'a> {
        let start = self.at;
        let letter = self.bytes[start].to_ascii_uppercase();
        let mut from = start + 1;
        let mut end = number_end(self.bytes, from);
        let mut shape = Shape::Number;
        if end == from || self.bytes[end - 1] < b'.' {
            (from, end, shape) = self.value_after_space(letter, from);
        } else if let Some(next) = self.peek(end) {
            if next < b'0' && !matches!(letter, b'G' | b'M' | b'N' | b'T') {
                end = joined_end(self.bytes, from, end);
            }
        }
        self.at = end + usize::from(shape == Shape::Quoted && self.peek(end) == Some(b'"'));
        let word = Word { letter, text: &self.bytes[from..end], shape, span: self.span(start) };
        if letter == b'N' && self.fresh {
            self.numbered = true;
        } else {
            if letter == b'M' && self.fresh {
                self.text = self.takes_text(word.text);
            }
            self.fresh = false;
        }
        word
    }

    /// The value where it does not follow at once: behind spaces, or no plain number.
    #[cold]
    fn value_after_space(&self, letter: u8, from: usize) -> (usize, usize, Shape) {
        let start = skip_space(self.bytes, from);
        match self.peek(start) {
            Some(b'"') => {
                let close = self.bytes[start + 1..].iter().position(|byte| *byte == b'"');
                let end = close.map_or(self.bytes.len(), |len| start + 1 + len);
                (start + 1, end, Shape::Quoted)
            }
            Some(b'#' | b'[' | b'{') => (start, operand_end(self.bytes, start), Shape::Expression),
            Some(byte) if byte.is_ascii_alphabetic() && is_function(self.bytes, start) => {
                (start, operand_end(self.bytes, start), Shape::Expression)
            }
            Some(b'+' | b'-') => {
                let next = skip_space(self.bytes, start + 1);
                if matches!(self.peek(next), Some(b'#' | b'[')) || is_function(self.bytes, next) {
                    return (start, operand_end(self.bytes, next), Shape::Expression);
                }
                (start, joined_end(self.bytes, start, number_end(self.bytes, start)), Shape::Number)
            }
            Some(byte) if byte.is_ascii_digit() || byte == b'.' => {
                let end = number_end(self.bytes, start);
                let joins = !matches!(letter, b'G' | b'M' | b'N' | b'T');
                (start, if joins { joined_end(self.bytes, start, end) } else { end }, Shape::Number)
            }
            _ => (from, from, Shape::Missing),
        }
    }

    /// Whether the M code just read is followed by free text.
    fn takes_text(&self, code: &[u8]) -> bool {
        let next = skip_space(self.bytes, self.at);
        let looks_like_word = match self.peek(next) {
            Some(byte) if byte.is_ascii_alphabetic() => {
                !self.peek(next + 1).is_some_and(|byte| byte.is_ascii_alphabetic() || byte >= 0x80)
            }
            Some(byte) => byte < 0x80 && !byte.is_ascii_digit(),
            None => true,
        };
        let maybe = MAYBE_TEXT_CODES.contains(&code);
        (TEXT_CODES.contains(&code) || maybe) && !(maybe && looks_like_word)
    }

    /// Whether a polar word of LinuxCNC starts here: `@` or `^` with a number.
    fn is_polar(&self, byte: u8) -> bool {
        let number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'[' | b'#');
        matches!(byte, b'@' | b'^') && self.peek(self.at + 1).is_some_and(number)
    }

    /// Whether a command of letters starts here: two letters (or underscores) in a row.
    fn is_extended(&self) -> bool {
        let letter = |at: usize| self.peek(at).is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        self.fresh && letter(self.at) && letter(self.at + 1)
    }

    #[cold]
    fn other(&mut self, byte: u8) -> Item<'a> {
        let start = self.at;
        match byte {
            b';' | b'(' => self.comment(),
            b'*' => self.checksum(),
            b'%' if self.fresh => {
                self.at += 1;
                Item::Percent(self.span(start))
            }
            b'/' if self.fresh => {
                self.at += 1;
                Item::Delete(self.span(start))
            }
            b'$' if self.fresh => {
                let (text, span) = self.whole(false);
                Item::System { text, span }
            }
            b'[' if self.fresh => {
                let (text, span) = self.whole(false);
                Item::Bracketed { text, span }
            }
            b'_' if self.is_extended() => {
                let (text, span) = self.whole(false);
                Item::Extended { text, span }
            }
            b'#' => self.assign(),
            b'0'..=b'9' | b'.' | b'+' | b'-' => {
                self.at = number_end(self.bytes, start).max(start + 1);
                Item::Stray(self.span(start))
            }
            _ => {
                self.at += 1;
                Item::Stray(self.span(start))
            }
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        if let Some(word) = self.plain_word() {
            return Some(Item::Word(word));
        }
        if self.at == self.bytes.len() {
            return None;
        }
        self.next_searched()
    }

    /// The loop over the plain words keeps its state in registers: half the time of asking for each item.
    #[inline]
    fn fold<B, F: FnMut(B, Item<'a>) -> B>(mut self, init: B, mut each: F) -> B {
        let mut folded = init;
        let mut words = self.words;
        while let Some(word) = words.take(self.bytes) {
            (self.at, self.fresh) = (word.span.end, false);
            folded = each(folded, Item::Word(word));
        }
        if self.at == self.bytes.len() {
            return folded;
        }
        self.words = words;
        for item in self {
            folded = each(folded, item);
        }
        folded
    }
}

impl<'a> Items<'a> {
    /// The next item, byte by byte.
    #[inline(never)]
    fn next_searched(&mut self) -> Option<Item<'a>> {
        self.skip_space();
        if self.text {
            if let Some(item) = self.free_text() {
                return Some(item);
            }
        }
        let byte = self.peek(self.at)?;
        if !byte.is_ascii_alphabetic() && !self.is_polar(byte) {
            return Some(self.other(byte));
        }
        if self.is_extended() && !matches!(byte, b'O' | b'o') {
            let (text, span) = self.whole(false);
            return Some(Item::Extended { text, span });
        }
        if self.fresh && matches!(byte, b'O' | b'o') {
            return Some(self.flow());
        }
        Some(Item::Word(self.word()))
    }
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|byte| is_space(*byte)) {
        at += 1;
    }
    at
}

/// Length without a line end.
fn line_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1)
}

/// Length without spaces at the end.
fn trimmed_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1)
}

fn trim(bytes: &[u8]) -> &[u8] {
    let start = skip_space(bytes, 0);
    &bytes[start..start + trimmed_len(&bytes[start..])]
}

/// End of a run of number bytes. `:` continues a RepRapFirmware list.
#[inline]
fn number_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        // `+` `,` `-` `.` `/` `0`…`9` `:` is one range; `,` and `/` are taken out of it.
        if byte.wrapping_sub(b'+') > b':' - b'+' || matches!(byte, b',' | b'/') {
            break;
        }
        at += 1;
    }
    at
}

/// End of a number that goes on behind spaces, as RS-274 allows.
fn joined_end(bytes: &[u8], from: usize, mut end: usize) -> usize {
    loop {
        let next = skip_space(bytes, end);
        let goes_on = next > end && bytes.get(next).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.');
        if !goes_on {
            return end;
        }
        let joined = number_end(bytes, next);
        // Two points make no number: then the second is one of its own, without a letter.
        if bytes[end..joined].contains(&b'.') && bytes[from..end].contains(&b'.') {
            return end;
        }
        end = joined;
    }
}

/// Offset behind the first `close` at or after `from`, or the end.
fn run_to(bytes: &[u8], from: usize, close: u8) -> usize {
    bytes[from..].iter().position(|byte| *byte == close).map_or(bytes.len(), |len| from + len + 1)
}

/// End of `#1`, `#<name>`, `##2` or `#[…]` at `from`.
fn reference_end(bytes: &[u8], from: usize) -> usize {
    let at = skip_space(bytes, from + 1);
    match bytes.get(at) {
        Some(b'<') => run_to(bytes, at, b'>'),
        Some(b'[') => bracket_end(bytes, at),
        Some(b'#') => {
            let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
            reference_end(bytes, at + hashes - 1)
        }
        _ => at + bytes[at.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
    }
}

/// Offset behind the bracket that closes the one at `from`, or the end.
fn bracket_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' => return at,
            _ => {}
        }
    }
    bytes.len()
}

/// Whether one of LinuxCNC's functions is called here: `X SIN[30]`. Looks at no more letters than a name has: every
/// letter of a line without numbers asks.
fn is_function(bytes: &[u8], from: usize) -> bool {
    let here = &bytes[from.min(bytes.len())..];
    let letters = here.iter().take(FUNCTION_LETTERS_MAX + 1).take_while(|byte| byte.is_ascii_alphabetic()).count();
    FUNCTIONS.iter().any(|function| here[..letters].eq_ignore_ascii_case(function))
        && bytes.get(skip_space(bytes, from + letters)) == Some(&b'[')
}

/// End of one value of an expression: a number, a parameter, brackets, or a function with its brackets.
fn operand_end(bytes: &[u8], from: usize) -> usize {
    let mut at = skip_space(bytes, from);
    while matches!(bytes.get(at), Some(b'+' | b'-')) {
        at = skip_space(bytes, at + 1);
    }
    match bytes.get(at) {
        Some(b'#') => reference_end(bytes, at),
        Some(b'[' | b'{') => bracket_end(bytes, at),
        Some(byte) if byte.is_ascii_alphabetic() => {
            let name = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            let open = skip_space(bytes, name);
            if bytes.get(open) != Some(&b'[') {
                return name;
            }
            let close = bracket_end(bytes, open);
            let after = skip_space(bytes, close);
            let second = skip_space(bytes, after + 1);
            let is_atan = bytes[at..name].eq_ignore_ascii_case(b"ATAN");
            if is_atan && bytes.get(after) == Some(&b'/') && bytes.get(second) == Some(&b'[') {
                return bracket_end(bytes, second);
            }
            close
        }
        Some(_) => joined_end(bytes, at, number_end(bytes, at)),
        None => at.min(bytes.len()),
    }
}
