//! A program from one wrapping into another: plain text, gzip, bgcode.
//!
//! Plain text and gzip keep every byte. A bgcode keeps every command; what becomes of comments and blanks is said at
//! [`bgcode::Encoding`] and [`bgcode::Metadata`]. Whatever the target, memory does not grow with the program.

use crate::formats::{self, Format, bgcode};
use crate::read::{Line, Lines};
use crate::sniff::{self, ReadError};
use flate2::write::GzEncoder;
use std::io::{self, Read, Seek, Write};

/// Bytes of a program's start that are looked at to refuse what is none.
const HEAD_BYTES: u64 = 4096;

/// Bytes copied at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// What a program is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Plain text.
    Plain,
    /// gzip, in one member.
    Gzip,
    /// Prusa's binary G-code.
    Bgcode(bgcode::Options),
}

impl Target {
    /// The target that a file's name asks for by its ending: `gcode`, `nc`, `ngc`, `tap`, `gco` or `g` for plain text,
    /// `gz`, `bgcode`.
    ///
    /// ```
    /// use gcode_tools::convert::Target;
    /// assert_eq!(Target::of_name("part.GCODE"), Some(Target::Plain));
    /// assert_eq!(Target::of_name("part.gcode.gz"), Some(Target::Gzip));
    /// assert_eq!(Target::of_name("part.stl"), None);
    /// ```
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "gcode" | "nc" | "ngc" | "tap" | "gco" | "g" => Some(Self::Plain),
            "gz" => Some(Self::Gzip),
            "bgcode" => Some(Self::Bgcode(bgcode::Options::default())),
            _ => None,
        }
    }

    /// Its name: `plain`, `gzip`, `bgcode`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Bgcode(_) => "bgcode",
        }
    }
}

/// What changes a program's lines on their way.
pub trait Filter {
    /// Takes the next line, without its line end, and appends what is to stand in its place, each line with a line
    /// feed: nothing while it waits for more, several lines when what it waited for is decided.
    fn line(&mut self, line: &[u8], out: &mut Vec<u8>);

    /// The program is over: appends what is left.
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// What was converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How the program was wrapped.
    pub from: Format,
    /// Lines of its text.
    pub lines: u64,
    /// Bytes of its text.
    pub text_bytes: u64,
    /// Blocks written, of a bgcode; else 0.
    pub blocks: u64,
    /// Thumbnails that have a block of their own, in a bgcode; else 0.
    pub thumbnails: usize,
}

/// Converts a program of any format, from its beginning to its end.
///
/// What was written before an error is no program: throw it away.
///
/// ```
/// use gcode_tools::{convert::{Target, convert}, formats};
/// use std::io::{Cursor, Read};
/// let mut packed = Vec::new();
/// let summary = convert(Cursor::new("G21\nG1 X10 F100\n"), &mut packed, Target::Gzip, None)?;
/// assert_eq!(summary.lines, 2);
/// let mut text = String::new();
/// formats::open(Cursor::new(packed))?.read_to_string(&mut text)?;
/// assert_eq!(text, "G21\nG1 X10 F100\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`formats::open`] and [`sniff::refuse`]; `file.unwritable`; `convert.line_too_long` for a line that a bgcode
/// or a filter cannot take, with its number; `file.empty` where a bgcode would have no G-code.
pub fn convert<R: Read + Seek, W: Write>(
    mut input: R,
    output: W,
    target: Target,
    filter: Option<&mut dyn Filter>,
) -> Result<Summary, ReadError> {
    match (target, filter) {
        (Target::Plain, None) => {
            let (summary, mut output) = copy(input, output)?;
            output.flush().map_err(|error| unwritable(&error))?;
            Ok(summary)
        }
        (Target::Gzip, None) => {
            let (summary, packer) = copy(input, GzEncoder::new(output, flate2::Compression::default()))?;
            packer.finish().and_then(|mut output| output.flush()).map_err(|error| unwritable(&error))?;
            Ok(summary)
        }
        (Target::Plain, filter) => {
            let (summary, mut output) = lines(input, Text(output), None, filter)?;
            output.0.flush().map_err(|error| unwritable(&error))?;
            Ok(summary)
        }
        (Target::Gzip, filter) => {
            let packer = Text(GzEncoder::new(output, flate2::Compression::default()));
            let (summary, packer) = lines(input, packer, None, filter)?;
            packer.0.finish().and_then(|mut output| output.flush()).map_err(|error| unwritable(&error))?;
            Ok(summary)
        }
        (Target::Bgcode(options), filter) => {
            let (_, program) = open(&mut input)?;
            let metadata = bgcode::Metadata::gather(&mut Lines::new(program)).map_err(|error| unreadable(&error))?;
            let writer = bgcode::Writer::new(output, options, &metadata).map_err(|error| unwritable(&error))?;
            let (mut summary, writer) = lines(input, writer, Some(&metadata), filter)?;
            (_, summary.blocks) = writer.finish().map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => ReadError::empty(),
                _ => unwritable(&error),
            })?;
            summary.thumbnails = metadata.thumbnails();
            Ok(summary)
        }
    }
}

/// Opens a program and refuses what is none.
fn open<R: Read + Seek>(input: R) -> Result<(Format, impl Read), ReadError> {
    let mut program = formats::open(input)?;
    let format = program.format();
    let mut head = Vec::new();
    program.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| unreadable(&error))?;
    match sniff::refuse(&head) {
        Some(refusal) => Err(refusal),
        None if head.is_empty() => Err(ReadError::empty()),
        None => Ok((format, io::Cursor::new(head).chain(program))),
    }
}

/// Copies a program's text, byte for byte.
fn copy<R: Read + Seek, W: Write>(input: R, mut output: W) -> Result<(Summary, W), ReadError> {
    let (from, mut program) = open(input)?;
    let (mut count, mut chunk) = (Count::default(), vec![0; CHUNK_BYTES]);
    loop {
        let length = match program.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(&error)),
        };
        count.take(&chunk[..length]);
        output.write_all(&chunk[..length]).map_err(|error| unwritable(&error))?;
    }
    Ok((Summary { from, lines: count.lines(), text_bytes: count.bytes, blocks: 0, thumbnails: 0 }, output))
}

/// Counts lines as [`Lines`] does, of text in pieces.
#[derive(Debug, Default)]
struct Count {
    bytes: u64,
    ended: u64,
    last: Option<u8>,
}

impl Count {
    fn take(&mut self, piece: &[u8]) {
        for at in memchr::memchr2_iter(b'\n', b'\r', piece) {
            let before = if at == 0 { self.last } else { Some(piece[at - 1]) };
            self.ended += u64::from(piece[at] == b'\r' || before != Some(b'\r'));
        }
        self.bytes += piece.len() as u64;
        self.last = piece.last().copied().or(self.last);
    }

    fn lines(&self) -> u64 {
        self.ended + u64::from(self.last.is_some_and(|last| !matches!(last, b'\n' | b'\r')))
    }
}

/// Where lines go.
trait Sink {
    /// Takes a line without its end.
    fn line(&mut self, line: &[u8]) -> io::Result<()>;
}

struct Text<W>(W);

impl<W: Write> Sink for Text<W> {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.0.write_all(line)?;
        self.0.write_all(b"\n")
    }
}

impl<W: Write> Sink for bgcode::Writer<W> {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.line(line)
    }
}

/// Puts a program's lines through the filter into the sink, except those that the metadata have taken.
fn lines<R: Read + Seek, S: Sink>(
    input: R,
    mut sink: S,
    metadata: Option<&bgcode::Metadata>,
    mut filter: Option<&mut dyn Filter>,
) -> Result<(Summary, S), ReadError> {
    let (from, program) = open(input)?;
    let mut lines = Lines::new(program);
    let (mut count, mut filtered) = (0, Vec::new());
    while let Some(line) = lines.next_line().map_err(|error| unreadable(&error))? {
        count = line.number;
        if line.is_cut() {
            return Err(too_long(&line));
        }
        if metadata.is_some_and(|metadata| metadata.takes(line.number)) {
            continue;
        }
        let put = |sink: &mut S, bytes: &[u8]| {
            sink.line(bytes).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => too_long(&line),
                _ => unwritable(&error),
            })
        };
        let Some(filter) = &mut filter else {
            put(&mut sink, line.bytes)?;
            continue;
        };
        filter.line(line.bytes, &mut filtered);
        for bytes in whole_lines(&filtered) {
            put(&mut sink, bytes)?;
        }
        filtered.clear();
    }
    if let Some(filter) = filter {
        filter.finish(&mut filtered);
        for bytes in whole_lines(&filtered) {
            sink.line(bytes).map_err(|error| unwritable(&error))?;
        }
    }
    Ok((Summary { from, lines: count, text_bytes: lines.offset(), blocks: 0, thumbnails: 0 }, sink))
}

fn whole_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").map(|text| text.split(|byte| *byte == b'\n'));
    text.into_iter().flatten()
}

fn too_long(line: &Line) -> ReadError {
    let (number, length, max) = (line.number, line.length, bgcode::TEXT_BYTES_MAX);
    let message = format!(
        "Line {number} has {length} bytes; what it is to be converted to takes {max} in a line. Nothing was written. \
         Look at the line: no machine takes one of this length."
    );
    ReadError::new("convert.line_too_long", message)
}

fn unreadable(error: &io::Error) -> ReadError {
    ReadError::from_io(error)
}

fn unwritable(error: &io::Error) -> ReadError {
    let message =
        format!("The output could not be written: {error}. Nothing was kept of it. Look for space and rights.");
    ReadError::new("file.unwritable", message)
}

#[cfg(test)]
mod test;
