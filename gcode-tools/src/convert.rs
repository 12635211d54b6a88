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

/// What changes a program's text on its way.
pub trait Filter {
    /// Takes the text's next bytes, cut anywhere, and appends what is to stand in their place: nothing while it waits
    /// for more, more than it was given when what it waited for is decided.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>);

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
/// cannot take, with its number; `file.empty` where a bgcode would have no G-code.
pub fn convert<R: Read + Seek, W: Write>(
    mut input: R,
    output: W,
    target: Target,
    filter: Option<&mut dyn Filter>,
) -> Result<Summary, ReadError> {
    match target {
        Target::Plain => {
            let (summary, mut output) = copy(input, output, filter)?;
            output.flush().map_err(|error| unwritable(&error))?;
            Ok(summary)
        }
        Target::Gzip => {
            let (summary, packer) = copy(input, GzEncoder::new(output, flate2::Compression::default()), filter)?;
            packer.finish().and_then(|mut output| output.flush()).map_err(|error| unwritable(&error))?;
            Ok(summary)
        }
        Target::Bgcode(options) => {
            let (_, program) = open(&mut input)?;
            let metadata = bgcode::Metadata::gather(&mut Lines::new(program)).map_err(|error| unreadable(&error))?;
            let writer = bgcode::Writer::new(output, options, &metadata).map_err(|error| unwritable(&error))?;
            let (mut summary, writer) = lines(input, writer, &metadata, filter)?;
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

/// Copies a program's text, byte for byte but for what the filter changes.
fn copy<R: Read + Seek, W: Write>(
    input: R,
    mut output: W,
    mut filter: Option<&mut dyn Filter>,
) -> Result<(Summary, W), ReadError> {
    let (from, mut program) = open(input)?;
    let (mut count, mut chunk, mut filtered) = (Count::default(), vec![0; CHUNK_BYTES], Vec::new());
    loop {
        let length = match program.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(&error)),
        };
        count.take(&chunk[..length]);
        let written = match &mut filter {
            None => output.write_all(&chunk[..length]),
            Some(filter) => {
                filtered.clear();
                filter.push(&chunk[..length], &mut filtered);
                output.write_all(&filtered)
            }
        };
        written.map_err(|error| unwritable(&error))?;
    }
    if let Some(filter) = filter {
        filtered.clear();
        filter.finish(&mut filtered);
        output.write_all(&filtered).map_err(|error| unwritable(&error))?;
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

/// Puts a program's lines through the filter into a bgcode, except those that the metadata have taken.
fn lines<R: Read + Seek, W: Write>(
    input: R,
    mut writer: bgcode::Writer<W>,
    metadata: &bgcode::Metadata,
    mut filter: Option<&mut dyn Filter>,
) -> Result<(Summary, bgcode::Writer<W>), ReadError> {
    let (from, program) = open(input)?;
    let mut lines = Lines::new(program);
    let (mut count, mut filtered) = (0, Vec::new());
    while let Some(line) = lines.next_line().map_err(|error| unreadable(&error))? {
        count = line.number;
        if line.is_cut() {
            return Err(too_long(&line));
        }
        if metadata.takes(line.number) {
            continue;
        }
        let put = |writer: &mut bgcode::Writer<W>, bytes: &[u8]| {
            writer.line(bytes).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => too_long(&line),
                _ => unwritable(&error),
            })
        };
        let Some(filter) = &mut filter else {
            put(&mut writer, line.bytes)?;
            continue;
        };
        filter.push(line.bytes, &mut filtered);
        filter.push(b"\n", &mut filtered);
        // A filter may answer in the middle of a line: what has no end yet waits.
        let whole = memchr::memrchr(b'\n', &filtered).map_or(0, |end| end + 1);
        for bytes in whole_lines(&filtered[..whole]) {
            put(&mut writer, bytes)?;
        }
        filtered.drain(..whole);
    }
    if let Some(filter) = filter {
        filter.finish(&mut filtered);
        if filtered.last().is_some_and(|last| *last != b'\n') {
            filtered.push(b'\n');
        }
        for bytes in whole_lines(&filtered) {
            writer.line(bytes).map_err(|error| unwritable(&error))?;
        }
    }
    Ok((Summary { from, lines: count, text_bytes: lines.offset(), blocks: 0, thumbnails: 0 }, writer))
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
