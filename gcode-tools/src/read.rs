//! Lines of any stream, in constant memory, with their number and place.

use crate::block::{Block, PlainWords};
use std::io::{self, Read};

mod marks;

/// Bytes read at once. Small enough for a processor's first-level cache, large enough to make reads cheap.
const READ_BYTES: usize = 32 * 1024;

/// Bytes of the buffer at the start.
const BUFFER_BYTES: usize = marks::MAP_BYTES;

/// Bytes that can be peeked at: what kind of file it is, and what machine it is for, shows in so many.
const PEEK_BYTES: usize = 64 * 1024;

/// Longest line that is handed out whole. No machine takes a line beyond a few hundred bytes; the rest of a longer
/// one is skipped, and [`Line::length`] tells.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// LF.
    Lf,
    /// CR LF.
    CrLf,
    /// CR alone.
    Cr,
    /// The file ends here, without a line end.
    None,
}

impl LineEnd {
    /// The bytes of the line end.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Cr => b"\r",
            Self::None => b"",
        }
    }
}

/// One line of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    /// Offset of its first byte in the stream.
    pub offset: u64,
    /// The line without its end and, on line 1, without a byte order mark. Of a line longer than
    /// [`LINE_BYTES_MAX`] only the beginning.
    pub bytes: &'a [u8],
    /// Length of the whole line in bytes, line end excluded.
    pub length: u64,
    /// How it ends.
    pub end: LineEnd,
    /// Whether a UTF-8 byte order mark stood before it.
    pub marked: bool,
    /// Where its words stand, if they are plain.
    pub(crate) words: PlainWords,
}

impl<'a> Line<'a> {
    /// The line's block. Reads faster than [`Block::new`] on its bytes, because the words of plain lines are known.
    #[inline]
    pub fn block(&self) -> Block<'a> {
        Block::with_words(self.bytes, self.words)
    }

    /// Whether the line is longer than what [`Line::bytes`] holds.
    pub fn is_cut(&self) -> bool {
        self.length > self.bytes.len() as u64
    }
}

/// Reads lines. The buffer grows to the longest line met, and hardly beyond [`LINE_BYTES_MAX`].
///
/// ```
/// use gcode_tools::read::Lines;
/// let mut lines = Lines::new(&b"G21\r\nG1 X1"[..]);
/// assert_eq!(lines.next_line().unwrap().unwrap().bytes, b"G21");
/// let last = lines.next_line().unwrap().unwrap();
/// assert_eq!((last.number, last.offset, last.bytes), (2, 5, &b"G1 X1"[..]));
/// assert!(lines.next_line().unwrap().is_none());
/// ```
///
/// What stands on a line is asked of its [`Line::block`]:
///
/// ```
/// use gcode_tools::read::Lines;
/// let mut lines = Lines::new(&b"G1 X10 Y-2.5 E.3 ; on\n"[..]);
/// let line = lines.next_line().unwrap().unwrap();
/// let words: Vec<_> = line.block().words().map(|word| (char::from(word.letter), word.number())).collect();
/// assert_eq!(words, [('G', Some(1.0)), ('X', Some(10.0)), ('Y', Some(-2.5)), ('E', Some(0.3))]);
/// ```
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    map: marks::Map,
    /// Offset in the stream of the buffer's first byte.
    buffer_offset: u64,
    number: u64,
    finished: bool,
}

/// A line that has been found in the buffer.
#[derive(Debug, Clone, Copy)]
struct Cut {
    from: usize,
    kept: usize,
    offset: u64,
    length: u64,
    end: LineEnd,
    words: PlainWords,
}

impl<R: Read> Lines<R> {
    /// Lines of a stream. No further buffering is needed.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            filled: 0,
            map: marks::Map::new(),
            buffer_offset: 0,
            number: 0,
            finished: false,
        }
    }

    /// Bytes of the stream handed out or skipped so far.
    pub fn offset(&self) -> u64 {
        self.buffer_offset + self.start as u64
    }

    /// What comes next, 64 KiB or a little more if there is so much, without taking it: for telling what kind of file
    /// it is.
    pub fn peek(&mut self) -> io::Result<&[u8]> {
        while !self.finished && self.filled - self.start < PEEK_BYTES {
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.filled])
    }

    /// The next line, or `None` at the end of the stream.
    #[allow(clippy::inline_always)] // So that what a caller does not ask for is not worked out: a third of the time.
    #[inline(always)]
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        // Whichever way the line is found, it is one value: so it can stay in the processor's registers.
        let cut = match self.plain_line() {
            Some(cut) => cut,
            None => match self.searched_line()? {
                Some(cut) => cut,
                None => return Ok(None),
            },
        };
        self.number += 1;
        let Cut { from, kept, offset, length, end, words } = cut;
        let bytes = &self.buffer[from..from + kept];
        let mut line = Line { number: self.number, offset, bytes, length, end, marked: false, words };
        if offset == 0 {
            if let Some(rest) = bytes.strip_prefix(b"\xEF\xBB\xBF") {
                (line.bytes, line.marked, line.words) = (rest, true, PlainWords::NONE);
                (line.offset, line.length) = (3, length - 3);
            }
        }
        Ok(Some(line))
    }

    /// The next line if it is short, of plain words alone, and ends in LF or CR LF.
    #[allow(clippy::inline_always)] // As above.
    #[inline(always)]
    fn plain_line(&mut self) -> Option<Cut> {
        let from = self.start;
        let marks::Front { length, words } = self.map.front(from)?;
        let at = from + length;
        let end = match self.buffer.get(at)? {
            b'\n' => LineEnd::Lf,
            b'\r' if at + 1 < self.filled && self.buffer.get(at + 1) == Some(&b'\n') => LineEnd::CrLf,
            _ => return None,
        };
        self.start = at + if end == LineEnd::Lf { 1 } else { 2 };
        let offset = self.buffer_offset + from as u64;
        Some(Cut { from, kept: length, offset, length: length as u64, end, words })
    }

    /// The next line, whatever it is.
    #[inline(never)]
    fn searched_line(&mut self) -> io::Result<Option<Cut>> {
        let mut searched = 0;
        let (length, end) = loop {
            let rest = &self.buffer[self.start..self.filled];
            match memchr::memchr2(b'\n', b'\r', &rest[searched..]).map(|at| searched + at) {
                Some(at) if rest[at] == b'\n' => break (at, LineEnd::Lf),
                Some(at) if rest.get(at + 1) == Some(&b'\n') => break (at, LineEnd::CrLf),
                Some(at) if at + 1 < rest.len() || self.finished => break (at, LineEnd::Cr),
                found => searched = found.unwrap_or(rest.len()),
            }
            if self.finished {
                if searched == 0 {
                    return Ok(None);
                }
                break (searched, LineEnd::None);
            }
            if searched >= LINE_BYTES_MAX {
                return self.long_line().map(Some);
            }
            self.fill()?;
        };
        let (from, offset) = (self.start, self.offset());
        self.start += length + end.bytes().len();
        let words = self.map.words(&self.buffer, from, length);
        Ok(Some(Cut { from, kept: length, offset, length: length as u64, end, words }))
    }

    /// Reads more behind what is there. What is left of the buffer moves to its front first.
    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.buffer_offset += self.start as u64;
            self.start = 0;
            self.map.clear();
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize((self.buffer.len() * 2).min(LINE_BYTES_MAX + BUFFER_BYTES), 0);
        }
        let to = self.buffer.len().min(self.filled + READ_BYTES);
        loop {
            match self.input.read(&mut self.buffer[self.filled..to]) {
                Ok(0) => self.finished = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.map.extend(&self.buffer[..self.filled]);
            return Ok(());
        }
    }

    /// Keeps the beginning of a line that is too long and skips the rest of it.
    #[cold]
    fn long_line(&mut self) -> io::Result<Cut> {
        let offset = self.offset();
        let kept = self.buffer[self.start..self.start + LINE_BYTES_MAX].to_vec();
        let mut length = LINE_BYTES_MAX as u64;
        self.start += LINE_BYTES_MAX;
        let end = loop {
            let rest = &self.buffer[self.start..self.filled];
            let found = memchr::memchr2(b'\n', b'\r', rest);
            let step = found.unwrap_or(rest.len());
            length += step as u64;
            self.start += step;
            let rest = &self.buffer[self.start..self.filled];
            match (rest.first(), rest.get(1)) {
                (Some(b'\n'), _) => break LineEnd::Lf,
                (Some(b'\r'), Some(b'\n')) => break LineEnd::CrLf,
                (Some(b'\r'), Some(_)) => break LineEnd::Cr,
                (Some(b'\r'), None) if self.finished => break LineEnd::Cr,
                (None, _) if self.finished => break LineEnd::None,
                _ => self.fill()?,
            }
        };
        // The beginning goes to the tail of the buffer's free part: a line borrows from the buffer.
        let behind = self.start + end.bytes().len();
        let unread = self.buffer[behind..self.filled].to_vec();
        self.buffer.resize(self.buffer.len().max(kept.len() + unread.len()), 0);
        self.buffer[..kept.len()].copy_from_slice(&kept);
        self.buffer[kept.len()..kept.len() + unread.len()].copy_from_slice(&unread);
        self.buffer_offset = self.buffer_offset + behind as u64 - kept.len() as u64;
        self.start = kept.len();
        self.filled = kept.len() + unread.len();
        self.map.clear();
        self.map.extend(&self.buffer[..self.filled]);
        Ok(Cut { from: 0, kept: kept.len(), offset, length, end, words: PlainWords::NONE })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn all(input: &[u8]) -> Vec<(u64, u64, Vec<u8>, LineEnd)> {
        let mut lines = Lines::new(input);
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            seen.push((line.number, line.offset, line.bytes.to_vec(), line.end));
        }
        seen
    }

    /// Hands out one byte at a time, so that every boundary falls inside a chunk once.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = usize::from(!self.0.is_empty());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn every_line_end_is_known_and_an_end_of_file_ends_a_line() {
        let seen = all(b"a\nb\r\nc\rd\n\n\r\re");
        let ends: Vec<_> =
            seen.iter().map(|(_, _, bytes, end)| (String::from_utf8_lossy(bytes).into_owned(), *end)).collect();
        let expected =
            [("a", LineEnd::Lf), ("b", LineEnd::CrLf), ("c", LineEnd::Cr), ("d", LineEnd::Lf), ("", LineEnd::Lf)];
        for ((text, end), (text_expected, end_expected)) in ends.iter().zip(expected) {
            assert_eq!((text.as_str(), *end), (text_expected, end_expected));
        }
        assert_eq!(ends.len(), 8);
        assert_eq!(ends[7], ("e".to_owned(), LineEnd::None));
    }

    #[test]
    fn the_bytes_come_back_whatever_the_chunks() {
        let text = b"G1\r\nX2\r\r\n\n\rY3";
        let mut lines = Lines::new(Trickle(text));
        let mut back = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            assert_eq!(line.offset, back.len() as u64);
            back.extend_from_slice(line.bytes);
            back.extend_from_slice(line.end.bytes());
        }
        assert_eq!(back, text);
    }

    #[test]
    fn a_byte_order_mark_is_noted_and_not_part_of_the_line() {
        let mut lines = Lines::new(&b"\xEF\xBB\xBFG21\n"[..]);
        let line = lines.next_line().unwrap().unwrap();
        assert_eq!((line.bytes, line.offset, line.marked), (&b"G21"[..], 3, true));
    }

    #[test]
    fn a_line_without_end_costs_no_memory_and_loses_no_count() {
        let length = 20 * LINE_BYTES_MAX as u64 + 7;
        let input = io::repeat(b'x').take(length).chain(&b"\r\nG21\n"[..]);
        let mut lines = Lines::new(input);
        let long = lines.next_line().unwrap().unwrap();
        assert_eq!(
            (long.bytes.len(), long.length, long.end, long.is_cut()),
            (LINE_BYTES_MAX, length, LineEnd::CrLf, true)
        );
        let next = lines.next_line().unwrap().unwrap();
        assert_eq!((next.bytes, next.number, next.offset), (&b"G21"[..], 2, length + 2));
        assert!(lines.buffer.len() <= LINE_BYTES_MAX + 2 * BUFFER_BYTES);
    }
}
