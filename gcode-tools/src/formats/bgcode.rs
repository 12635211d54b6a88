//! Prusa's binary G-code, version 1: blocks of metadata, thumbnails and packed G-code, each with its checksum.
//!
//! [`Reader`] gives one as text, [`Writer`] makes one of text.
//!
//! What the metadata say is given as the comments that the slicer writes into a plain program, so that whoever reads the
//! text finds name, estimates, thumbnails and settings where they always are. No block is passed on before its checksum
//! is proven. The text is, byte for byte, that of Prusa's own converter (libbgcode), except that blocks without data give
//! nothing.

mod gather;
mod write;

pub use gather::Metadata;
pub use write::{Compression, Encoding, Options, TEXT_BYTES_MAX, Writer};

use super::heatshrink::{self, Fields};
use super::{Fault, meatpack};
use crate::sniff::ReadError;
use base64::Engine as _;
use flate2::Crc;
use flate2::read::ZlibDecoder;
use std::io::{self, Read};

/// Bytes of a block, packed and unpacked. Slicers write 64 KiB of G-code in one; a large thumbnail has half a mebibyte.
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of settings kept until the G-code is over. PrusaSlicer writes some 20 kB.
const SETTINGS_BYTES_MAX: usize = BLOCK_BYTES_MAX;

/// A setting's key and value.
type Pair = (Vec<u8>, Vec<u8>);

/// Characters of base64 in a line of a thumbnail, as slicers write it.
const THUMBNAIL_COLUMNS: usize = 78;

/// What a block holds, in the order that the format asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Kind {
    FileMetadata,
    PrinterMetadata,
    Thumbnail,
    PrintMetadata,
    SlicerMetadata,
    Gcode,
}

impl Kind {
    fn of(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::FileMetadata,
            1 => Self::Gcode,
            2 => Self::SlicerMetadata,
            3 => Self::PrinterMetadata,
            4 => Self::PrintMetadata,
            5 => Self::Thumbnail,
            _ => return None,
        })
    }

    fn number(self) -> u16 {
        match self {
            Self::FileMetadata => 0,
            Self::Gcode => 1,
            Self::SlicerMetadata => 2,
            Self::PrinterMetadata => 3,
            Self::PrintMetadata => 4,
            Self::Thumbnail => 5,
        }
    }
}

/// One block, unpacked.
#[derive(Debug)]
struct Block {
    kind: Kind,
    /// Encoding; of a thumbnail format, width and height.
    parameters: [u16; 3],
    data: Vec<u8>,
}

/// Gives a bgcode stream as text.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    has_checksums: bool,
    last: Option<Kind>,
    text: Vec<u8>,
    taken: usize,
    /// Whether there was text before the present block.
    began: bool,
    /// Comments for behind the G-code.
    settings: Vec<u8>,
    finished: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the file's header.
    ///
    /// # Errors
    /// [`Fault::Damaged`], [`Fault::Unsupported`] or [`Fault::Truncated`].
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut header = [0; 10];
        input.read_exact(&mut header).map_err(|error| ReadError::from_io(&super::named(error)))?;
        if &header[..4] != b"GCDE" {
            return Err(Fault::Damaged.error("is no binary G-code: it does not begin with GCDE"));
        }
        let version = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let checksum = u16::from_le_bytes([header[8], header[9]]);
        if version != 1 || checksum > 1 {
            let what = format!(
                "is binary G-code of version {version} with checksums of kind {checksum}, and only version 1 is known"
            );
            return Err(Fault::Unsupported.error(&what));
        }
        Ok(Self {
            input,
            has_checksums: checksum == 1,
            last: None,
            text: Vec::new(),
            taken: 0,
            began: false,
            settings: Vec::new(),
            finished: false,
        })
    }

    /// The next block, or `None` at the end of the file.
    fn block(&mut self) -> io::Result<Option<Block>> {
        let mut crc = Crc::new();
        let Some(first) = first_byte(&mut self.input)? else { return Ok(None) };
        let mut header = [first; 8];
        self.input.read_exact(&mut header[1..])?;
        crc.update(&header);
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let (number, packing) = (word(0), word(2));
        let kind =
            Kind::of(number).ok_or_else(|| Fault::Unsupported.io(&format!("has a block of unknown kind {number}")))?;
        let mut packed_size = size;
        if packing != 0 {
            let mut bytes = [0; 4];
            self.input.read_exact(&mut bytes)?;
            crc.update(&bytes);
            packed_size = u32::from_le_bytes(bytes) as usize;
        }
        if packing > 3 {
            return Err(Fault::Unsupported.io(&format!("has a block packed in unknown way {packing}")));
        }
        if size.max(packed_size) > BLOCK_BYTES_MAX {
            return Err(Fault::Bomb.io("has a block of more than 2 MiB"));
        }
        let mut parameters = [0; 6];
        let parameters = &mut parameters[..if kind == Kind::Thumbnail { 6 } else { 2 }];
        self.input.read_exact(parameters)?;
        crc.update(parameters);
        let mut packed = Vec::new();
        if self.input.by_ref().take(packed_size as u64).read_to_end(&mut packed)? < packed_size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        crc.update(&packed);
        self.prove(&crc)?;
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(parameters.chunks_exact(2)) {
            *word = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        Ok(Some(Block { kind, parameters: words, data: unpack(packed, packing, size)? }))
    }

    fn prove(&mut self, crc: &Crc) -> io::Result<()> {
        if self.has_checksums {
            let mut stated = [0; 4];
            self.input.read_exact(&mut stated)?;
            if u32::from_le_bytes(stated) != crc.sum() {
                return Err(Fault::Checksum.io("has a block whose checksum is wrong"));
            }
        }
        Ok(())
    }

    /// Makes the text of the next block.
    fn fill(&mut self) -> io::Result<()> {
        self.began |= !self.text.is_empty();
        self.text.clear();
        self.taken = 0;
        let Some(block) = self.block()? else {
            if self.last != Some(Kind::Gcode) {
                return Err(Fault::Truncated.io("ends before its first block of G-code"));
            }
            self.finished = true;
            self.text = std::mem::take(&mut self.settings);
            return Ok(());
        };
        let first = self.last.is_none();
        let first_gcode = block.kind == Kind::Gcode && self.last != Some(Kind::Gcode);
        if self.last.is_some_and(|last| last > block.kind) || (first && block.kind == Kind::Gcode) {
            return Err(Fault::Damaged.io("has its blocks in the wrong order"));
        }
        self.last = Some(block.kind);
        let encodings = match block.kind {
            Kind::Gcode => 2,
            Kind::SlicerMetadata => 1,
            _ => 0,
        };
        if block.kind != Kind::Thumbnail && block.parameters[0] > encodings {
            let what = format!("has a block in unknown encoding {}", block.parameters[0]);
            return Err(Fault::Unsupported.io(&what));
        }
        self.say(block, first_gcode);
        if self.settings.len() > 2 * SETTINGS_BYTES_MAX {
            return Err(Fault::Bomb.io("has more than 4 MiB of settings"));
        }
        Ok(())
    }

    /// Makes text of a block, laid out as PrusaSlicer's own converter does.
    fn say(&mut self, block: Block, first_gcode: bool) {
        match block.kind {
            Kind::FileMetadata => producer(&block.data, &mut self.text),
            Kind::Thumbnail => thumbnail(&block, &mut self.text),
            Kind::PrinterMetadata => comments(&block.data, &mut self.text),
            Kind::PrintMetadata if block.data.is_empty() => {}
            Kind::PrintMetadata => {
                self.settings.push(b'\n');
                comments(&block.data, &mut self.settings);
            }
            Kind::SlicerMetadata if block.parameters[0] == 1 => {
                self.settings.extend_from_slice(b"\n; prusaslicer_json_config = begin\n");
                for line in block.data.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty()) {
                    self.settings.extend([b"; ", line, b"\n"].concat());
                }
                self.settings.extend_from_slice(b"; prusaslicer_json_config = end\n");
            }
            Kind::SlicerMetadata if block.data.is_empty() => {}
            Kind::SlicerMetadata => {
                self.settings.extend_from_slice(b"\n; prusaslicer_config = begin\n");
                comments(&block.data, &mut self.settings);
                self.settings.extend_from_slice(b"; prusaslicer_config = end\n\n");
            }
            Kind::Gcode => {
                if first_gcode && self.began {
                    self.text.push(b'\n');
                }
                let mut text = block.data;
                if block.parameters[0] != 0 {
                    let packed = std::mem::take(&mut text);
                    meatpack::Unpacker::default().unpack(&packed, &mut text);
                }
                without_blanks(&text, &mut self.text);
            }
        }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() && !self.finished {
            self.fill()?;
        }
        let count = out.len().min(self.text.len() - self.taken);
        out[..count].copy_from_slice(&self.text[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// The first byte of a block; `None` where the file ends as it should.
fn first_byte(input: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Unpacks a block's data to the size it states.
fn unpack(packed: Vec<u8>, packing: u16, size: usize) -> io::Result<Vec<u8>> {
    let data = match packing {
        0 => Some(packed),
        1 => {
            let mut data = Vec::new();
            ZlibDecoder::new(&packed[..])
                .take(size as u64 + 1)
                .read_to_end(&mut data)
                .map_err(|error| Fault::Damaged.io(&format!("has a block that cannot be unpacked: {error}")))?;
            Some(data)
        }
        _ => {
            let window_bits = if packing == 2 { 11 } else { 12 };
            heatshrink::unpack(&packed, Fields { window_bits, length_bits: 4 }, size)
        }
    };
    data.filter(|data| data.len() == size)
        .ok_or_else(|| Fault::Damaged.io("has a block that does not unpack to the size it states"))
}

/// `key=value` lines, as key and value.
fn pairs(data: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    data.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| {
        let at = memchr::memchr(b'=', line)?;
        Some((&line[..at], &line[at + 1..]))
    })
}

fn producer(data: &[u8], text: &mut Vec<u8>) {
    let before = text.len();
    let find = |name: &[u8]| pairs(data).find(|(key, _)| *key == name).map(|(_, value)| value);
    if let Some(name) = find(b"Producer") {
        text.extend_from_slice(b"; generated by ");
        text.extend_from_slice(name);
        if let Some(date) = find(b"Produced on") {
            text.extend_from_slice(b" on ");
            text.extend_from_slice(date);
        }
        text.push(b'\n');
    }
    if let Some(name) = find(b"Prepared by") {
        text.extend([b"; prepared by ", name, b"\n"].concat());
    }
    if text.len() > before {
        text.extend_from_slice(b"\n\n");
    }
}

/// Appends lines of G-code, but for blank ones and comments with nothing in them.
fn without_blanks(lines: &[u8], text: &mut Vec<u8>) {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.trim_ascii();
        if !bare.strip_prefix(b";").unwrap_or(bare).trim_ascii().is_empty() {
            text.extend_from_slice(line);
        }
    }
}

fn comments(data: &[u8], text: &mut Vec<u8>) {
    for pair in pairs(data) {
        comment(pair, text);
    }
}

fn comment((key, value): (&[u8], &[u8]), text: &mut Vec<u8>) {
    for part in [&b"; "[..], key, b" = ", value, b"\n"] {
        text.extend_from_slice(part);
    }
}

fn thumbnail(block: &Block, text: &mut Vec<u8>) {
    let [format, width, height] = block.parameters;
    let name = match format {
        0 => "thumbnail",
        1 => "thumbnail_JPG",
        2 => "thumbnail_QOI",
        // A picture of a kind to come is no reason not to print.
        _ => return,
    };
    let picture = base64::engine::general_purpose::STANDARD.encode(&block.data);
    text.extend_from_slice(format!("\n;\n; {name} begin {width}x{height} {}\n", picture.len()).as_bytes());
    for row in picture.as_bytes().chunks(THUMBNAIL_COLUMNS) {
        text.extend_from_slice(b"; ");
        text.extend_from_slice(row);
        text.push(b'\n');
    }
    text.extend_from_slice(format!("; {name} end\n;\n").as_bytes());
}
