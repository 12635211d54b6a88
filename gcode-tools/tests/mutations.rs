//! The fuzz targets' work on mutations of real programs: the same entry points, bounded, the same on every run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod common;
#[path = "../../fuzz/entry.rs"]
mod entry;

use std::io::{Cursor, Read, Write};

/// Bytes of a program that are mutated: enough for a start, some layers and every oddity of the bad files.
const SEED_BYTES_MAX: usize = 6_000;

/// A program that never ends takes two million lines to say so: once is enough, and another test does it.
const ENDLESS: &str = "infinite_loop.ngc";

/// Pieces that turn a line into something else.
const PIECES: [&[u8]; 24] = [
    b"\0",
    b"\n",
    b"\r",
    b"\xEF\xBB\xBF",
    b"(",
    b")",
    b";",
    b"*",
    b"%",
    b"/",
    b"$130=9",
    b"G2 X1 I1 P9999999",
    b"1e400",
    b"--5",
    b"NaN",
    b"G91",
    b"G20",
    b"M30",
    b"G83 X1 Z-1 R1 Q0.000001 L99999",
    b"#1=[1/0]",
    b"X[#1]",
    b"N1 G1*999",
    b"; thumbnail begin 16x16 9",
    b";LAYER:99999999999999999999",
];

/// A small generator of pseudo-random numbers, so that every run does the same.
struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// Changes bytes: flips, cuts, doubles, and puts pieces in.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len() + 1);
            let length = self.below(40).min(bytes.len() - at);
            match self.below(6) {
                0 if length > 0 => bytes[at] ^= 1 << self.below(8),
                1 if length > 0 => bytes[at] = self.below(256) as u8,
                2 => drop(bytes.drain(at..at + length)),
                3 => {
                    let copy = bytes[at..at + length].to_vec();
                    bytes.splice(at..at, copy);
                }
                4 => bytes.truncate(bytes.len() - self.below(bytes.len() / 8 + 1)),
                _ => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
            }
        }
    }
}

fn programs() -> Vec<Vec<u8>> {
    common::files(&common::data())
        .into_iter()
        .filter(|path| !path.ends_with(ENDLESS))
        .map(|path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes.truncate(SEED_BYTES_MAX);
            bytes
        })
        .collect()
}

/// A bgcode without checksums: printer, print and slicer data, and one block of plain G-code.
fn bgcode(text: &[u8]) -> Vec<u8> {
    let mut file = b"GCDE\x01\0\0\0\0\0".to_vec();
    for (kind, data) in [(3_u16, &b"printer_model=MINI\n"[..]), (4, b"a=b\n"), (2, b"c=d\n"), (1, text)] {
        file.extend(kind.to_le_bytes());
        file.extend(0_u16.to_le_bytes());
        file.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        file.extend(0_u16.to_le_bytes());
        file.extend(data);
    }
    file
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

fn archive(text: &[u8]) -> Vec<u8> {
    let mut packer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    packer.start_file("Metadata/plate_1.gcode", stored).unwrap();
    packer.write_all(text).unwrap();
    packer.finish().unwrap().into_inner()
}

#[test]
fn mutated_programs_do_no_harm() {
    let programs = programs();
    let mut seed = Seed(11);
    for round in 0..500 {
        let mut bytes = programs[round % programs.len()].clone();
        seed.mutate(&mut bytes);
        entry::program(&bytes);
        entry::preflight(&bytes);
        entry::rules(&bytes);
        entry::preview(&bytes);
        entry::resume(&bytes);
        entry::conversion(&bytes);
        entry::arcs(&bytes);
        entry::meatpack(&bytes);
        for line in bytes.split(|byte| *byte == b'\n').take(40) {
            entry::block(line);
        }
    }
}

#[test]
fn mutated_packings_do_no_harm() {
    let text = &programs()[0].repeat(20);
    let mut seed = Seed(13);
    for packed in [bgcode(text), gzip(text), archive(text)] {
        let mut unpacked = Vec::new();
        gcode_tools::formats::open(Cursor::new(&packed)).unwrap().read_to_end(&mut unpacked).unwrap();
        assert!(memchr::memmem::find(&unpacked, text).is_some(), "the packing itself is good: {}", unpacked.len());
        for round in 0..600_u16 {
            let round = round as u8;
            let mut bytes = packed.clone();
            seed.mutate(&mut bytes);
            entry::packed(&bytes);
            entry::conversion(&[&[round], &bytes[..]].concat());
        }
    }
}

#[test]
fn mutated_profiles_do_no_harm() {
    let mut seed = Seed(17);
    for (_, text) in gcode_tools::profile::Profile::bundled() {
        for _ in 0..20 {
            let mut bytes = text.as_bytes().to_vec();
            seed.mutate(&mut bytes);
            entry::profile(&bytes);
        }
    }
}
