//! Where the lines of a buffer end and where their words stand, found for 64 bytes at once.
//!
//! Looking at one byte after the other costs a mispredicted branch at the end of nearly every number, because numbers
//! differ in length. Here comparisons of sixteen bytes at a time give bit maps (a bit per byte, the first byte
//! lowest), shifts of the maps say what stands beside what, and words are taken off the maps without any search.
//!
//! There is no map of line ends: a line end is one of the bytes that are not part of plain words, and whoever asks
//! where those words stop looks at the byte there.

use crate::block::PlainWords;
use wide::{CmpEq, CmpGt, i8x16};

/// Bytes looked at together: as many as a `u64` has bits.
const CHUNK_BYTES: usize = 64;

/// Bytes of a map for one chunk.
const CHUNK_BITS: usize = CHUNK_BYTES / 8;

/// Bytes of a map. At its end stand zeros, so that a look may begin anywhere.
const MAP_BITS: usize = 16 * 1024;

/// Bytes of a buffer that a map covers, from its front. What is behind them is looked at byte by byte.
pub(super) const MAP_BYTES: usize = (MAP_BITS - CHUNK_BITS) * 8;

/// One bit for each of 64 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Masks {
    /// Bytes at which a line stops being plain words. LF and CR are always among them.
    stops: u64,
    /// Letters: each begins a word, as long as nothing stops the line.
    starts: u64,
    /// Bytes right behind a number.
    ends: u64,
}

/// What the byte before a chunk means for its first byte: a bit each, the lowest.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    letter: u64,
    hyphen: u64,
    digit: u64,
}

/// The masks of a buffer, each a bit map of its own so that a look may begin at any byte.
///
/// Their size is fixed: a look then needs one comparison to be within all three.
#[derive(Debug)]
struct Bits {
    stops: [u8; MAP_BITS],
    starts: [u8; MAP_BITS],
    ends: [u8; MAP_BITS],
}

/// What is known of a buffer.
#[derive(Debug)]
pub(super) struct Map {
    bits: Box<Bits>,
    /// Chunks from the front that no more bytes will change.
    whole: usize,
    /// What stands before the first chunk that may change.
    before: Before,
}

/// The front of a line, up to the first byte that is not part of plain words: a line end, or something odd.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front {
    /// Its length, the byte that stops it excluded.
    pub(super) length: usize,
    /// Its words.
    pub(super) words: PlainWords,
}

impl Map {
    /// Of an empty buffer.
    pub(super) fn new() -> Self {
        let bits = Bits { stops: [0; MAP_BITS], starts: [0; MAP_BITS], ends: [0; MAP_BITS] };
        Self { bits: Box::new(bits), whole: 0, before: Before::default() }
    }

    /// Forgets everything: the buffer's bytes have moved.
    pub(super) fn clear(&mut self) {
        (self.whole, self.before) = (0, Before::default());
    }

    /// Takes in what stands in the buffer behind what was there at the last call.
    pub(super) fn extend(&mut self, filled: &[u8]) {
        let filled = &filled[..filled.len().min(MAP_BYTES)];
        let chunks = filled.get(self.whole * CHUNK_BYTES..).unwrap_or_default().chunks_exact(CHUNK_BYTES);
        let rest = chunks.remainder();
        let count = chunks.len();
        let mut maps = self.bits.chunks_from(self.whole);
        for (chunk, map) in chunks.zip(&mut maps) {
            put(map, look_at(chunk, &mut self.before));
        }
        // Of what is not there yet nothing is known: no line stops behind the end.
        let mut last = [0; CHUNK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        let masks = look_at(&last, &mut self.before.clone());
        let known = !(u64::MAX << rest.len());
        let masks = Masks { stops: masks.stops & known, starts: masks.starts & known, ends: masks.ends & known };
        for (map, masks) in maps.zip([masks, Masks::default()]) {
            put(map, masks);
        }
        self.whole += count;
    }

    /// The front of the line at a place in the buffer, if it is short.
    #[inline]
    pub(super) fn front(&self, from: usize) -> Option<Front> {
        let stops = window(&self.bits.stops, from)?;
        if stops == 0 {
            return None;
        }
        let (starts, ends) = (window(&self.bits.starts, from)?, window(&self.bits.ends, from)?);
        // All bits up to the lowest, and that one: there the last word ends.
        let within = stops ^ (stops - 1);
        let words = PlainWords { starts: starts & within, ends: ends & within };
        Some(Front { length: stops.trailing_zeros() as usize, words })
    }

    /// The words of a line whose length is known: all of them, or those before a `;` comment.
    pub(super) fn words(&self, buffer: &[u8], from: usize, length: usize) -> PlainWords {
        let Some(front) = self.front(from) else { return PlainWords::NONE };
        let stop = from + front.length;
        // A comment is odd for the map, and so is what it may have torn apart.
        let before = if front.length == 0 { b' ' } else { buffer.get(stop - 1).copied().unwrap_or_default() };
        let is_comment = buffer.get(stop) == Some(&b';') && matches!(before, b' ' | b'.' | b'0'..=b'9');
        if front.length == length || (front.length < length && is_comment) { front.words } else { PlainWords::NONE }
    }
}

impl Bits {
    /// The three maps from a chunk on.
    fn chunks_from(&mut self, chunk: usize) -> impl Iterator<Item = [&mut [u8]; 3]> {
        let maps = [&mut self.stops, &mut self.starts, &mut self.ends];
        let [stops, starts, ends] = maps.map(|map| map[chunk * CHUNK_BITS..].chunks_exact_mut(CHUNK_BITS));
        stops.zip(starts).zip(ends).map(|((stops, starts), ends)| [stops, starts, ends])
    }
}

/// Writes a chunk's masks into its places in the maps.
#[inline]
fn put([stops, starts, ends]: [&mut [u8]; 3], masks: Masks) {
    stops.copy_from_slice(&masks.stops.to_le_bytes());
    starts.copy_from_slice(&masks.starts.to_le_bytes());
    ends.copy_from_slice(&masks.ends.to_le_bytes());
}

/// The bits of a map from a place in the buffer on: at least 57 of them.
#[inline]
fn window(map: &[u8; MAP_BITS], from: usize) -> Option<u64> {
    let eight = map.get(from / 8..from / 8 + 8)?.first_chunk()?;
    Some(u64::from_le_bytes(*eight) >> (from % 8))
}

/// Bytes beyond ASCII turn negative, and are below every character.
const fn signed(byte: u8) -> i8 {
    i8::from_ne_bytes([byte])
}

/// Looks at 64 bytes.
#[inline]
fn look_at(chunk: &[u8], before: &mut Before) -> Masks {
    let (mut letters, mut digits, mut hyphens, mut spaces) = (0, 0, 0, 0);
    for (index, sixteen) in chunk.chunks_exact(16).enumerate() {
        let mut lanes = [0; 16];
        for (lane, byte) in lanes.iter_mut().zip(sixteen) {
            *lane = signed(*byte);
        }
        let bytes = i8x16::new(lanes);
        let is = |byte: u8| bytes.cmp_eq(i8x16::splat(signed(byte)));
        // The last of a range moved to the highest number that a byte can have: then one comparison is enough.
        let range = |bytes: i8x16, last: u8, count: i8| {
            (bytes + i8x16::splat(i8::MAX - signed(last))).cmp_gt(i8x16::splat(i8::MAX - count))
        };
        // M may carry text, O is control flow, and behind N either still may come: they are left to the longer way.
        let lower = bytes | i8x16::splat(0x20);
        let letter = range(lower, b'z', 26) & !range(lower, b'o', 3);
        let mask = |lanes: i8x16| (lanes.move_mask() as u64 & 0xFFFF) << (16 * index);
        letters |= mask(letter);
        digits |= mask(range(bytes, b'9', 10) | is(b'.'));
        hyphens |= mask(is(b'-'));
        spaces |= mask(is(b' '));
    }
    let number = digits | hyphens;
    let behind_letter = (letters << 1) | before.letter;
    let behind_hyphen = (hyphens << 1) | before.hyphen;
    let behind_digit = (digits << 1) | before.digit;
    *before = Before { letter: letters >> 63, hyphen: hyphens >> 63, digit: digits >> 63 };
    // A letter without a number, a number or a sign without a letter, a sign without a number.
    let misplaced = (behind_letter & !number)
        | (digits & !(behind_digit | behind_hyphen | behind_letter))
        | (hyphens & !behind_letter)
        | (behind_hyphen & !digits);
    Masks { stops: !(letters | number | spaces) | misplaced, starts: letters, ends: behind_digit & !number }
}
