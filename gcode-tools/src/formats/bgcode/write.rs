//! Writing binary G-code.

use super::super::heatshrink::{self, Fields};
use super::super::meatpack::{Packer, Spaces, Unpackable, is_plain_g_line};
use super::{Kind, Metadata, Pair};
use crate::block::{Block, Item};
use flate2::Compression as Level;
use flate2::Crc;
use flate2::write::ZlibEncoder;
use std::io::{self, Write};

/// Bytes of text in a block of G-code at most, and so in a line: what slicers write and firmware has buffers for.
pub const TEXT_BYTES_MAX: usize = 65_536;

/// A blank line, packed: readers drop it.
const BLANK: u8 = 0xCC;

/// How blocks of G-code are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// As a zlib stream.
    Deflate,
    /// Heatshrink with a window of 2 KiB.
    Heatshrink11,
    /// Heatshrink with a window of 4 KiB.
    Heatshrink12,
}

/// How the text of G-code is written before it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As text.
    Plain,
    /// As MeatPack, without comments and without the spaces of G lines.
    MeatPack,
    /// As MeatPack, with the comments that fill a line.
    MeatPackComments,
}

/// How a bgcode is written. The default is PrusaSlicer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Packing of the G-code.
    pub compression: Compression,
    /// Encoding of the G-code.
    pub encoding: Encoding,
    /// Whether each block has a CRC32.
    pub checksums: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { compression: Compression::Heatshrink12, encoding: Encoding::MeatPackComments, checksums: true }
    }
}

/// Writes a bgcode: metadata first, then lines of G-code, in blocks of up to 64 KiB of text.
///
/// Blank lines and comments with nothing in them are left out, as the format's readers do not give them back. What
/// MeatPack cannot carry (the byte 0xFF) makes its block plain text.
///
/// ```
/// use gcode_tools::formats::{bgcode::{Metadata, Options, Writer}, open};
/// use std::io::{Cursor, Read};
/// let mut writer = Writer::new(Vec::new(), Options::default(), &Metadata::default())?;
/// writer.line(b"G1 X10 Y2.5 E.5")?;
/// let (file, blocks) = writer.finish()?;
/// assert_eq!(blocks, 4);
/// let mut text = String::new();
/// open(Cursor::new(file))?.read_to_string(&mut text)?;
/// assert_eq!(text, "G1 X10 Y2.5 E.5\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    options: Options,
    text: Vec<u8>,
    blocks: u64,
    gcode_blocks: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the file's header and the blocks of metadata.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn new(output: W, options: Options, metadata: &Metadata) -> io::Result<Self> {
        let mut writer = Self { output, options, text: Vec::new(), blocks: 0, gcode_blocks: 0 };
        writer.output.write_all(b"GCDE\x01\0\0\0")?;
        writer.output.write_all(&u16::from(options.checksums).to_le_bytes())?;
        if !metadata.file.is_empty() {
            writer.block(Kind::FileMetadata, Compression::None, &[0], &ini(&metadata.file))?;
        }
        writer.block(Kind::PrinterMetadata, Compression::None, &[0], &ini(&metadata.printer))?;
        for picture in &metadata.pictures {
            let parameters = [picture.format, picture.width, picture.height];
            writer.block(Kind::Thumbnail, Compression::None, &parameters, &picture.data)?;
        }
        writer.block(Kind::PrintMetadata, Compression::None, &[0], &ini(&metadata.print))?;
        let compression = if options.compression == Compression::None || metadata.slicer.is_empty() {
            Compression::None
        } else {
            Compression::Deflate
        };
        if !metadata.json.is_empty() {
            writer.block(Kind::SlicerMetadata, Compression::Deflate, &[1], &metadata.json)?;
        }
        if metadata.json.is_empty() || !metadata.slicer.is_empty() {
            writer.block(Kind::SlicerMetadata, compression, &[0], &ini(&metadata.slicer))?;
        }
        Ok(writer)
    }

    /// Takes a line of up to [`TEXT_BYTES_MAX`] bytes, its line end included; `line` is without it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a longer line, and those of the output.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let bare = line.trim_ascii();
        if bare.strip_prefix(b";").unwrap_or(bare).trim_ascii().is_empty() {
            return Ok(());
        }
        if line.len() >= TEXT_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a line is longer than a block"));
        }
        if self.text.len() + line.len() >= TEXT_BYTES_MAX {
            self.flush()?;
        }
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        Ok(())
    }

    /// Blocks of G-code written so far.
    pub fn gcode_blocks(&self) -> u64 {
        self.gcode_blocks
    }

    /// Writes what is left. Gives the output and how many blocks were written.
    ///
    /// # Errors
    /// Those of the output, and [`io::ErrorKind::InvalidInput`] if there was no line of G-code: a bgcode without one is
    /// none.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.flush()?;
        if self.gcode_blocks == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no G-code to write"));
        }
        self.output.flush()?;
        Ok((self.output, self.blocks))
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.text);
        let comments = self.options.encoding == Encoding::MeatPackComments;
        let (encoding, data) = match self.options.encoding {
            Encoding::Plain => (0, Some(text.clone())),
            _ => match meatpack(&text, comments) {
                Ok(packed) => (1 + u16::from(comments), packed),
                Err(_) => (0, Some(text.clone())),
            },
        };
        self.text = text;
        self.text.clear();
        let Some(data) = data.filter(|data| !data.is_empty()) else { return Ok(()) };
        self.gcode_blocks += 1;
        self.block(Kind::Gcode, self.options.compression, &[encoding], &data)
    }

    fn block(&mut self, kind: Kind, compression: Compression, parameters: &[u16], data: &[u8]) -> io::Result<()> {
        let (number, packed) = match compression {
            Compression::None => (0_u16, None),
            Compression::Deflate => {
                let mut zlib = ZlibEncoder::new(Vec::new(), Level::default());
                zlib.write_all(data)?;
                (1, Some(zlib.finish()?))
            }
            Compression::Heatshrink11 => (2, Some(heatshrink::pack(data, Fields { window_bits: 11, length_bits: 4 }))),
            Compression::Heatshrink12 => (3, Some(heatshrink::pack(data, Fields { window_bits: 12, length_bits: 4 }))),
        };
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other).map(u32::to_le_bytes);
        let mut head = [kind.number().to_le_bytes(), number.to_le_bytes()].concat();
        head.extend(size(data)?);
        if let Some(packed) = &packed {
            head.extend(size(packed)?);
        }
        head.extend(parameters.iter().flat_map(|word| word.to_le_bytes()));
        let body = packed.as_deref().unwrap_or(data);
        self.output.write_all(&head)?;
        self.output.write_all(body)?;
        if self.options.checksums {
            let mut crc = Crc::new();
            crc.update(&head);
            crc.update(body);
            self.output.write_all(&crc.sum().to_le_bytes())?;
        }
        self.blocks += 1;
        Ok(())
    }
}

/// `key=value` lines.
fn ini(pairs: &[Pair]) -> Vec<u8> {
    pairs.iter().flat_map(|(key, value)| [key, &b"="[..], value, b"\n"].concat()).collect()
}

/// A block's lines as MeatPack; `None` when they are nothing but comments, which are left out.
///
/// Slicers read such a block into room for two characters a byte and lose a character where that is too little, as it is
/// once spaces are put back into densely packed lines. Blank lines make up for it, as they do in what slicers write.
fn meatpack(text: &[u8], with_comments: bool) -> Result<Option<Vec<u8>>, Unpackable> {
    let mut packer = Packer::new(Spaces::Removed);
    let mut out = Vec::with_capacity(text.len() * 2 / 3);
    packer.open(&mut out);
    let (opened, mut unpacked_bytes, mut indented) = (out.len(), 0, Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        let code = without_comment(line).trim_ascii();
        if code.is_empty() {
            if with_comments && !line.is_empty() {
                packer.pass(line, &mut out)?;
                unpacked_bytes += line.len() + 1;
            }
            continue;
        }
        if code[0] == b'G' && !is_plain_g_line(code) {
            // Readers put spaces before the capitals of any line that begins with G: not if it begins with a blank.
            indented.clear();
            indented.push(b' ');
            indented.extend_from_slice(code);
            packer.pack(&indented, &mut out)?;
        } else {
            packer.pack(code, &mut out)?;
        }
        if !code.is_ascii() {
            // Sent as it is: a byte a character, and never too dense.
            unpacked_bytes += code.len() + 1;
            continue;
        }
        // A space may stand before every letter, whether it was there or not.
        let letters = code.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
        unpacked_bytes += code.len() + 1 + letters - letters.min(memchr::memchr_iter(b' ', code).count());
        while unpacked_bytes > 2 * out.len() {
            out.push(BLANK);
        }
    }
    let packed = out.len() > opened;
    packer.close(&mut out);
    Ok(packed.then_some(out))
}

/// A line up to its comment behind a semicolon.
fn without_comment(line: &[u8]) -> &[u8] {
    if memchr::memchr(b';', line).is_none() {
        return line;
    }
    let comment = Block::new(line).items().find_map(|item| match item {
        Item::Comment { span, .. } if line[span.start] == b';' => Some(span.start),
        _ => None,
    });
    &line[..comment.unwrap_or(line.len())]
}
