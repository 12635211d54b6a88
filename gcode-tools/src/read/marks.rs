//! Where the lines of a buffer end and where their words stand, found for 64 bytes at once.
//!
//! Looking at one byte after the other costs a mispredicted branch at the end of nearly every number, because numbers
//! differ in length. Here comparisons of sixteen bytes at a time give bit maps (a bit per byte, the first byte
//! lowest), shifts of the maps say what stands beside what, and words are taken off the maps without any search.

use crate::block::PlainWords;
use wide::{CmpEq, CmpLt, i8x16};

/// Bytes looked at together: as many as a `u64` has bits.
const CHUNK_BYTES: usize = 64;

/// One bit for each of 64 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Masks {
    /// LF and CR.
    line_ends: u64,
    /// Letters: each begins a word, as long as nothing is odd.
    letters: u64,
    /// Bytes right behind a number.
    number_ends: u64,
    /// Bytes at which a line stops being plain words.
    odd: u64,
}

/// What the byte before a chunk means for its first byte: a bit each, the lowest.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    letter: u64,
    hyphen: u64,
    number: u64,
}

/// The masks of a buffer, and one of zeros behind them so that a look may begin anywhere.
#[derive(Debug, Default)]
pub(super) struct Map {
    masks: Vec<Masks>,
    /// Chunks from the front that no more bytes will change.
    whole: usize,
    /// What stands before the first chunk that may change.
    before: Before,
}

/// A line that the map has been asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Its bytes, line end excluded.
    pub(super) length: usize,
    /// Its words, if they are plain.
    pub(super) words: PlainWords,
}

impl Map {
    /// Forgets everything: the buffer's bytes have moved.
    pub(super) fn clear(&mut self) {
        (self.whole, self.before) = (0, Before::default());
    }

    /// Takes in what stands in the buffer behind what was there at the last call.
    pub(super) fn extend(&mut self, filled: &[u8]) {
        let chunks = filled.get(self.whole * CHUNK_BYTES..).unwrap_or_default().chunks_exact(CHUNK_BYTES);
        let rest = chunks.remainder();
        self.masks.truncate(self.whole);
        let mut before = self.before;
        self.masks.extend(chunks.map(|chunk| look_at(chunk, &mut before)));
        (self.whole, self.before) = (self.masks.len(), before);
        // Behind the end stands, as it were, a line end: a number ends there, and a letter has none.
        let mut last = [b'\n'; CHUNK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        let mut masks = look_at(&last, &mut before);
        masks.line_ends &= !(u64::MAX << rest.len());
        self.masks.extend([masks, Masks::default()]);
    }

    /// The masks of the 64 bytes from a place in the buffer on.
    #[inline]
    fn look(&self, from: usize) -> Option<Masks> {
        let [low, high] = self.masks.get(from / CHUNK_BYTES..)?.first_chunk()?;
        let shift = from % CHUNK_BYTES;
        // Shifted twice, because a shift by 64 would be none.
        let window = |low: u64, high: u64| (low >> shift) | ((high << 1) << (63 - shift));
        Some(Masks {
            line_ends: window(low.line_ends, high.line_ends),
            letters: window(low.letters, high.letters),
            number_ends: window(low.number_ends, high.number_ends),
            odd: window(low.odd, high.odd),
        })
    }

    /// The line at a place in the buffer, if it ends within 64 bytes.
    #[inline]
    pub(super) fn short_line(&self, buffer: &[u8], from: usize) -> Option<Found> {
        let masks = self.look(from)?;
        if masks.line_ends == 0 {
            return None;
        }
        let within = masks.line_ends ^ (masks.line_ends - 1);
        Some(Found { length: masks.line_ends.trailing_zeros() as usize, words: masks.words(within, buffer, from) })
    }

    /// The first LF or CR at or behind a place in the buffer.
    pub(super) fn line_end(&self, from: usize) -> Option<usize> {
        let mut index = from / CHUNK_BYTES;
        let mut ends = self.masks.get(index)?.line_ends & (u64::MAX << (from % CHUNK_BYTES));
        while ends == 0 {
            index += 1;
            ends = self.masks.get(index)?.line_ends;
        }
        Some(index * CHUNK_BYTES + ends.trailing_zeros() as usize)
    }

    /// A line of which the length is known.
    pub(super) fn line(&self, buffer: &[u8], from: usize, length: usize) -> Found {
        let masks = self.look(from).filter(|_| length < CHUNK_BYTES - 1);
        let words = masks.map_or(PlainWords::NONE, |masks| masks.words(!(u64::MAX << (length + 1)), buffer, from));
        Found { length, words }
    }
}

impl Masks {
    /// The words of a line at the masks' start, of which `within` has all bits set, that of its end included.
    #[inline]
    fn words(&self, mut within: u64, buffer: &[u8], from: usize) -> PlainWords {
        let odd = self.odd & within;
        if odd != 0 {
            within = before_comment(buffer, from, odd);
        }
        let starts = self.letters & within;
        // M as a line's first word may carry text, O is control flow, and behind N either still is the first.
        let first = buffer.get(from + (starts | 1 << 63).trailing_zeros() as usize).map_or(0, |byte| byte | 0x20);
        if matches!(first, b'm'..=b'o') {
            return PlainWords::NONE;
        }
        PlainWords { starts, ends: self.number_ends & within }
    }
}

/// The bits of a line's plain words before a `;` comment; none if something else is odd, or the comment ends a word.
fn before_comment(buffer: &[u8], from: usize, odd: u64) -> u64 {
    let at = odd.trailing_zeros() as usize;
    let before = if at == 0 { b' ' } else { buffer.get(from + at - 1).copied().unwrap_or_default() };
    let is_comment = buffer.get(from + at) == Some(&b';') && matches!(before, b' ' | b'.' | b'0'..=b'9');
    if is_comment { !((u64::MAX << 1) << at) } else { 0 }
}

/// Bytes beyond ASCII turn negative, and are below every character.
const fn signed(byte: u8) -> i8 {
    i8::from_ne_bytes([byte])
}

/// Looks at 64 bytes.
#[inline]
fn look_at(chunk: &[u8], before: &mut Before) -> Masks {
    let (mut line_ends, mut letters, mut digits, mut hyphens, mut plain) = (0, 0, 0, 0, 0);
    for (index, sixteen) in chunk.chunks_exact(16).enumerate() {
        let mut lanes = [0; 16];
        for (lane, byte) in lanes.iter_mut().zip(sixteen) {
            *lane = signed(*byte);
        }
        let bytes = i8x16::new(lanes);
        let is = |byte: u8| bytes.cmp_eq(i8x16::splat(signed(byte)));
        // From `first` so many: moved to the lowest numbers a byte can have, one comparison is enough.
        let range = |bytes: i8x16, first: u8, count: i8| {
            (bytes + i8x16::splat(i8::MIN.wrapping_sub(signed(first)))).cmp_lt(i8x16::splat(i8::MIN + count))
        };
        let letter = range(bytes | i8x16::splat(0x20), b'a', 26);
        let digit = range(bytes, b'0', 10) | is(b'.');
        let line_end = is(b'\n') | is(b'\r');
        let hyphen = is(b'-');
        let mask = |lanes: i8x16| (lanes.move_mask() as u64 & 0xFFFF) << (16 * index);
        line_ends |= mask(line_end);
        letters |= mask(letter);
        digits |= mask(digit);
        hyphens |= mask(hyphen);
        plain |= mask(letter | digit | hyphen | line_end | is(b' '));
    }
    let number = digits | hyphens;
    let behind_letter = (letters << 1) | before.letter;
    let behind_hyphen = (hyphens << 1) | before.hyphen;
    let behind_number = (number << 1) | before.number;
    *before = Before { letter: letters >> 63, hyphen: hyphens >> 63, number: number >> 63 };
    // A letter without a number, a number or a sign without a letter, a sign without a number.
    let misplaced = (behind_letter & !number)
        | (number & !behind_number & !behind_letter)
        | (hyphens & !behind_letter)
        | (behind_hyphen & !digits);
    Masks { line_ends, letters, number_ends: behind_number & !number, odd: !plain | misplaced }
}
