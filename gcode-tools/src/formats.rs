//! Programs in any wrapping, told by content and not by name: plain text, gzip, Prusa's bgcode, G-code inside a 3MF.
//!
//! [`open`] gives one reader of plain G-code text, whatever the file is. It unpacks while it is read, in constant memory;
//! damage is an error with a stable code ([`Fault`]) and never a program that is silently shorter.

use crate::sniff::ReadError;
use flate2::read::MultiGzDecoder;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

mod archive;
pub mod bgcode;
pub mod heatshrink;
pub mod meatpack;

/// Usual endings of the names of files that are read, without the dot: plain G-code of printers, mills and lasers, and
/// what it comes packed in. What a file is, its content tells.
pub const ENDINGS: &[&str] = &["gcode", "gco", "g", "nc", "ngc", "tap", "cnc", "gx", "gz", "bgcode", "3mf"];

/// Bytes that any packed program may unpack to. Small files may be as repetitive as they like.
const UNPACKED_BYTES_FREE: u64 = 16 * 1024 * 1024;

/// How many times its packed size a larger program may unpack to. Real programs reach 20, a raster of one grey
/// some 100; deflate at its best, which only a bomb comes near, 1,032.
const EXPANSION_MAX: u64 = 250;

/// Bytes that no program unpacks beyond: ten times the largest prints known.
const UNPACKED_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// What can be wrong with a packed program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `file.truncated`: the file ends before its contents do.
    Truncated,
    /// `file.checksum`: a checksum is not that of the data.
    Checksum,
    /// `file.damaged`: what is there cannot be unpacked.
    Damaged,
    /// `file.unsupported`: a version or method that is not known here.
    Unsupported,
    /// `file.bomb`: it unpacks to far more than a program of that size can be.
    Bomb,
    /// `file.no_program`: an archive without G-code.
    NoProgram,
    /// `file.several_programs`: an archive with G-code for more than one plate.
    SeveralPrograms,
}

impl Fault {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Truncated => "file.truncated",
            Self::Checksum => "file.checksum",
            Self::Damaged => "file.damaged",
            Self::Unsupported => "file.unsupported",
            Self::Bomb => "file.bomb",
            Self::NoProgram => "file.no_program",
            Self::SeveralPrograms => "file.several_programs",
        }
    }

    /// What to do about it.
    fn help(self) -> &'static str {
        match self {
            Self::Truncated | Self::Checksum | Self::Damaged => "Copy or upload the file again.",
            Self::Unsupported => "Export the program as plain G-code.",
            Self::Bomb => "If it is a program, unpack it first.",
            Self::NoProgram => "Slice the project and export the plate's G-code.",
            Self::SeveralPrograms => "Name the plate (--plate 1), or export one.",
        }
    }

    /// The error: what was found, in words that follow "The file".
    pub(crate) fn error(self, what: &str) -> ReadError {
        ReadError::new(self.code(), format!("The file {what}. {}", self.help()))
    }

    pub(crate) fn io(self, what: &str) -> io::Error {
        self.error(what).into()
    }
}

/// Bytes that a file of this size may unpack to; one that holds more is refused as a bomb.
///
/// ```
/// use gcode_tools::formats::unpacked_bytes_max;
/// assert_eq!(unpacked_bytes_max(1000), 16 * 1024 * 1024);
/// assert_eq!(unpacked_bytes_max(1_000_000), 250_000_000);
/// ```
pub fn unpacked_bytes_max(packed_bytes: u64) -> u64 {
    packed_bytes.saturating_mul(EXPANSION_MAX).clamp(UNPACKED_BYTES_FREE, UNPACKED_BYTES_MAX)
}

/// How a program is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// G-code text, or anything that is none of the others.
    Plain,
    /// gzip, of one member or several.
    Gzip,
    /// Prusa's binary G-code, version 1.
    Bgcode,
    /// A ZIP archive: 3MF.
    Archive,
}

impl Format {
    /// Tells a format by a file's first four bytes.
    ///
    /// ```
    /// use gcode_tools::formats::Format;
    /// assert_eq!(Format::of(b"GCDE"), Format::Bgcode);
    /// assert_eq!(Format::of(b"G28\n"), Format::Plain);
    /// ```
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [b'G', b'C', b'D', b'E', ..] => Self::Bgcode,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Archive,
            _ => Self::Plain,
        }
    }
}

/// A program as plain G-code text.
#[derive(Debug)]
pub struct Program<R: Read> {
    format: Format,
    source: Source<R>,
}

#[derive(Debug)]
enum Source<R: Read> {
    Plain(R),
    Gzip(Bounded<MultiGzDecoder<R>>),
    Bgcode(Bounded<bgcode::Reader<BufReader<R>>>),
    Archive(Bounded<archive::Entry<R>>),
}

impl<R: Read> Program<R> {
    /// How the file is wrapped.
    pub fn format(&self) -> Format {
        self.format
    }
}

impl<R: Read> Read for Program<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::Plain(input) => input.read(out),
            Source::Gzip(input) => input.read(out),
            Source::Bgcode(input) => input.read(out),
            Source::Archive(input) => input.read(out),
        }
    }
}

/// Opens a program of any format from its beginning.
///
/// ```
/// use gcode_tools::{analysis::analyse, formats};
/// let program = formats::open(std::io::Cursor::new("G21\nG1 X10 F100\n"))?;
/// assert_eq!(analyse(program, None)?.lines, 2);
/// # Ok::<(), gcode_tools::sniff::ReadError>(())
/// ```
///
/// # Errors
/// The file cannot be read, or its wrapping is not one that can be unpacked ([`Fault`]). Damage further on is told by
/// the reads, as an [`io::Error`] that [`ReadError::from_io`] turns back.
pub fn open<R: Read + Seek>(input: R) -> Result<Program<R>, ReadError> {
    open_plate(input, None)
}

/// The same, of an archive with several plates: `plate` counts from 1. Files of one program have no plates.
///
/// # Errors
/// As for [`open`]; `file.no_program` if there is no such plate.
pub fn open_plate<R: Read + Seek>(mut input: R, plate: Option<u32>) -> Result<Program<R>, ReadError> {
    let from_io = |error: io::Error| ReadError::from_io(&error);
    let size = input.seek(SeekFrom::End(0)).map_err(from_io)?;
    input.seek(SeekFrom::Start(0)).map_err(from_io)?;
    let mut head = Vec::with_capacity(GX_HEAD_BYTES);
    input.by_ref().take(GX_HEAD_BYTES as u64).read_to_end(&mut head).map_err(from_io)?;
    input.seek(SeekFrom::Start(gx_text_start(&head, size))).map_err(from_io)?;
    let format = Format::of(&head);
    let source = match format {
        Format::Plain => Source::Plain(input),
        Format::Gzip => Source::Gzip(Bounded::new(MultiGzDecoder::new(input), size)),
        Format::Bgcode => Source::Bgcode(Bounded::new(bgcode::Reader::new(BufReader::new(input))?, size)),
        Format::Archive => {
            let entry = archive::Entry::open(input, plate)?;
            let packed = entry.packed_bytes();
            Source::Archive(Bounded::new(entry, packed))
        }
    };
    Ok(Program { format, source })
}

/// Bytes of a FlashForge `.gx` that say where its text begins.
const GX_HEAD_BYTES: usize = 32;

/// Where the text of a plain program begins: behind the header and the picture of a FlashForge `.gx`, which are its first
/// bytes; for any other file at 0.
fn gx_text_start(head: &[u8], size: u64) -> u64 {
    let place = |at: usize| head.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    match place(20).map(u64::from) {
        Some(start) if head.starts_with(b"xgcode 1.0\n") && start >= GX_HEAD_BYTES as u64 && start < size => start,
        _ => 0,
    }
}

/// The last `bytes` bytes of a program's text. Plain text is looked up, anything else unpacked to its end.
///
/// # Errors
/// As for [`open`].
pub fn tail<R: Read + Seek>(mut input: R, bytes: usize) -> Result<Vec<u8>, ReadError> {
    let mut program = open(&mut input)?;
    let mut tail = Vec::new();
    let from_io = |error: io::Error| ReadError::from_io(&error);
    if program.format() == Format::Plain {
        drop(program);
        let length = input.seek(SeekFrom::End(0)).map_err(from_io)?;
        input.seek(SeekFrom::Start(length.saturating_sub(bytes as u64))).map_err(from_io)?;
        input.take(bytes as u64).read_to_end(&mut tail).map_err(from_io)?;
        return Ok(tail);
    }
    while program.by_ref().take(bytes.max(1) as u64).read_to_end(&mut tail).map_err(from_io)? > 0 {
        tail.drain(..tail.len().saturating_sub(bytes));
    }
    Ok(tail)
}

/// Passes on what an unpacker gives, up to what a program can be, and names its failures.
#[derive(Debug)]
struct Bounded<R> {
    input: R,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(input: R, packed_bytes: u64) -> Self {
        Self { input, left: unpacked_bytes_max(packed_bytes) }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out).map_err(named)?;
        if count as u64 > self.left {
            return Err(Fault::Bomb.io("unpacks to far more than a program of its size can be"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// An unpacker's error as a fault. Errors that carry a fault, and those of the disk, stay as they are.
fn named(error: io::Error) -> io::Error {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<ReadError>) {
        return error;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Truncated.io("breaks off in the middle of its packed data"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if error.to_string().contains("checksum") => {
            Fault::Checksum.io("does not have the checksum it names")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Fault::Damaged.io(&format!("cannot be unpacked: {error}"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod test;
