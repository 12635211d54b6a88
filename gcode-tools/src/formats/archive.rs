//! The G-code inside a 3MF, which is a ZIP archive.

use super::Fault;
use crate::sniff::ReadError;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::io::{self, Read, Seek, SeekFrom, Take};
use zip::{CompressionMethod, ZipArchive};

/// Bytes of an archive's directory that are read: room for ten thousand entries, where a project has a dozen.
const DIRECTORY_BYTES_MAX: u64 = 1024 * 1024;

/// The one program in an archive, being unpacked; its length and CRC are proven at the end.
#[derive(Debug)]
pub(super) struct Entry<R: Read> {
    data: Data<R>,
    packed_bytes: u64,
    size_left: u64,
    crc: Crc,
    crc_stated: u32,
}

#[derive(Debug)]
enum Data<R: Read> {
    Stored(Take<Metered<R>>),
    Deflated(DeflateDecoder<Take<Metered<R>>>),
}

/// A reader that gives up after so many bytes.
#[derive(Debug)]
struct Metered<R> {
    input: R,
    left: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| Fault::Damaged.io("is an archive with no directory, or one far too long"))?;
        Ok(count)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        self.input.seek(place)
    }
}

fn refused(error: zip::result::ZipError) -> ReadError {
    match error {
        zip::result::ZipError::Io(error)
            if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<ReadError>) =>
        {
            ReadError::from_io(&error)
        }
        zip::result::ZipError::UnsupportedArchive(why) => Fault::Unsupported.error(&format!("is an archive: {why}")),
        error => Fault::Damaged.error(&format!("is an archive that cannot be read, or is not whole: {error}")),
    }
}

impl<R: Read + Seek> Entry<R> {
    /// Finds the program: the only one, or that of a plate, counted from 1.
    pub(super) fn open(input: R, plate: Option<u32>) -> Result<Self, ReadError> {
        let mut archive = ZipArchive::new(Metered { input, left: DIRECTORY_BYTES_MAX }).map_err(refused)?;
        let mut programs = (0..archive.len())
            .filter(|&index| archive.name_for_index(index).is_some_and(is_program))
            .collect::<Vec<_>>();
        let count = programs.len();
        let index = match plate {
            // Slicers name them `Metadata/plate_1.gcode`; where they do not, their order counts.
            Some(plate) => {
                let named = programs.iter().copied().find(|&index| {
                    let name = archive.name_for_index(index).unwrap_or_default().to_ascii_lowercase();
                    name.ends_with(&format!("plate_{plate}.gcode"))
                });
                let by_order = programs.get((plate as usize).wrapping_sub(1)).copied();
                match named.or(by_order) {
                    Some(index) => index,
                    None => return Err(Fault::NoProgram.error(&format!("has no plate {plate}: it holds {count}"))),
                }
            }
            None if count > 1 => {
                return Err(Fault::SeveralPrograms.error(&format!("holds {count} programs, one per plate")));
            }
            None => match programs.pop() {
                Some(index) => index,
                None => return Err(Fault::NoProgram.error("is an archive (a 3MF, perhaps) with no G-code in it")),
            },
        };
        let entry = archive.by_index_raw(index).map_err(refused)?;
        let (start, packed_bytes, size_left) = (entry.data_start(), entry.compressed_size(), entry.size());
        let (method, crc_stated, encrypted) = (entry.compression(), entry.crc32(), entry.encrypted());
        drop(entry);
        let mut input = archive.into_inner();
        input.left = packed_bytes;
        input.seek(SeekFrom::Start(start)).map_err(|error| ReadError::from_io(&error))?;
        let packed = input.take(packed_bytes);
        let data = match method {
            _ if encrypted => return Err(Fault::Unsupported.error("holds a program under a password")),
            CompressionMethod::Stored => Data::Stored(packed),
            CompressionMethod::DEFLATE => Data::Deflated(DeflateDecoder::new(packed)),
            other => return Err(Fault::Unsupported.error(&format!("holds a program packed as {other}"))),
        };
        Ok(Self { data, packed_bytes, size_left, crc: Crc::new(), crc_stated })
    }

    /// Size of the program as it is in the archive, in bytes.
    pub(super) fn packed_bytes(&self) -> u64 {
        self.packed_bytes
    }
}

fn is_program(name: &str) -> bool {
    name.len() > 6 && name.as_bytes()[name.len() - 6..].eq_ignore_ascii_case(b".gcode")
}

impl<R: Read> Read for Entry<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.data {
            Data::Stored(input) => input.read(out)?,
            Data::Deflated(input) => input.read(out)?,
        };
        self.crc.update(&out[..count]);
        if count == 0 && self.size_left > 0 {
            return Err(Fault::Truncated.io("breaks off in the middle of its packed data"));
        }
        self.size_left = self
            .size_left
            .checked_sub(count as u64)
            .ok_or_else(|| Fault::Damaged.io("holds a program that is longer than the archive says"))?;
        if count == 0 && self.crc.sum() != self.crc_stated {
            return Err(Fault::Checksum.io("does not have the checksum it names"));
        }
        Ok(count)
    }
}
