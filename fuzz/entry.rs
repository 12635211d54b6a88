//! What each fuzz target does with its bytes; `gcode-tools/tests/mutations.rs` does the same in bounded runs.
#![allow(dead_code)] // Each target uses one.

use gcode_tools::analysis::analyse;
use gcode_tools::arcs::{Fitter, Setup};
use gcode_tools::block::{Block, Item};
use gcode_tools::convert::{Target, convert};
use gcode_tools::expression::Parameters;
use gcode_tools::formats;
use gcode_tools::formats::bgcode::{Compression, Encoding, Options};
use gcode_tools::formats::meatpack::{Packer, Spaces, Unpacker};
use gcode_tools::metadata::Slicer;
use gcode_tools::modal::Modal;
use gcode_tools::number;
use gcode_tools::preflight::{self, FINDINGS_MAX};
use gcode_tools::preview::{By, Options as Drawn, SVG_BYTES_MAX, WIDTH_PX, draw};
use gcode_tools::profile::Profile;
use gcode_tools::read::Lines;
use gcode_tools::resume::{Evidence, plan};
use gcode_tools::rules::Rules;
use gcode_tools::time::Firmware;
use gcode_tools::wire::{self, Alphabet};
use gcode_tools::words;
use std::io::{Cursor, Read};

/// Bytes of a packed program that are unpacked at most: bombs are refused long before.
const UNPACKED_MAX: u64 = 1 << 24;

/// One line: its items, what goes over the wire, modal state, its expressions and numbers.
pub(crate) fn block(bytes: &[u8]) {
    let block = Block::new(bytes);
    assert_eq!(block.bytes(), bytes);
    let _ = (block.items().count(), block.line_number(), block.checksum_of_bytes(), block.is_blank());
    Modal::default().apply(&block);
    let mut sent = Vec::new();
    wire::compact(&block, &mut sent);
    assert!(sent.iter().all(|byte| wire::may_be_sent(*byte, Alphabet::Grbl)));
    let _ = Parameters::new().evaluate(bytes);
    assert!(number::parse(bytes).is_none_or(f64::is_finite));
}

/// A whole program: lines that come back byte for byte, the analysis, and what its slicer says at the end.
pub(crate) fn program(bytes: &[u8]) {
    let mut lines = Lines::new(bytes);
    let mut length = 0;
    while let Ok(Some(line)) = lines.next_line() {
        assert_eq!(line.offset, length + 3 * u64::from(line.marked));
        length = line.offset + line.length + line.end.bytes().len() as u64;
    }
    assert_eq!(length, bytes.len() as u64);
    if let Ok(info) = analyse(bytes, None) {
        assert!(info.time_s.is_finite());
    }
    let _ = Slicer::of_tail(bytes).is_whole();
}

/// Every firmware of the table.
const FIRMWARES: [Firmware; 10] = [
    Firmware::Grbl,
    Firmware::GrblHal,
    Firmware::FluidNc,
    Firmware::LinuxCnc,
    Firmware::Klipper,
    Firmware::Marlin,
    Firmware::Bambu,
    Firmware::Repetier,
    Firmware::Smoothieware,
    Firmware::RepRapFirmware,
];

/// What firmwares refuse, what words do, and what slicers say of themselves: each line gets an answer.
pub(crate) fn rules(bytes: &[u8]) {
    for firmware in FIRMWARES {
        let mut rules = Rules::of(firmware);
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Err(refusal) = rules.answer(line) {
                assert!(!refusal.message(true).contains(char::is_control));
            }
            let _ = (words::effect_of_command(firmware, line), words::effect_of_system(line));
            for (letter, tenths) in Block::new(line).codes() {
                let _ = words::effect(firmware, letter as u8, tenths);
            }
        }
    }
    let mut slicer = Slicer::default();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        slicer.comment(line, number);
    }
}

/// The bundled machine that a byte chooses.
fn machine(byte: u8) -> Profile {
    let bundled = Profile::bundled();
    let (name, _) = bundled[usize::from(byte) % bundled.len()];
    Profile::named(name).expect("bundled profiles can be read")
}

/// A whole program against a machine. The first byte chooses the machine.
pub(crate) fn preflight(bytes: &[u8]) {
    let Some((first, program)) = bytes.split_first() else { return };
    assert!(preflight::check(program, &machine(*first)).findings.len() <= FINDINGS_MAX);
}

/// A whole program's picture. The first byte chooses the machine, the second what its moves are told apart by.
pub(crate) fn preview(bytes: &[u8]) {
    let [first, second, program @ ..] = bytes else { return };
    let profile = machine(*first);
    let options = Drawn {
        profile: (second & 0x80 == 0).then_some(&profile),
        by: [None, Some(By::Feature), Some(By::Layer), Some(By::Kind), Some(By::Tool)][usize::from(second % 5)],
        layers: (second & 0x40 != 0).then_some(1..=2),
        travel: (second & 0x20 != 0).then_some(true),
        width_px: *WIDTH_PX.start(),
        ..Drawn::default()
    };
    if let Ok(picture) = draw(|| Ok(program), &options) {
        assert!(picture.svg().len() <= SVG_BYTES_MAX);
        assert!(picture.png().starts_with(b"\x89PNG"));
    }
}

/// Going on behind a line of a whole program. The first bytes choose the machine, the line, and the height at which the
/// machine stands: every move that is planned has its numbers.
pub(crate) fn resume(bytes: &[u8]) {
    let [first, second, third, program @ ..] = bytes else { return };
    let evidence = Evidence {
        executed_line: u64::from(*second),
        position_mm: Some([0.0, 0.0, f64::from(*third) / 20.0]),
        position_kept: true,
    };
    let Ok(plan) = plan(program, &machine(*first), &evidence) else { return };
    for line in plan.lead_in.iter().filter(|line| line.starts_with('G') && *line != "G28 X Y") {
        let is_number = |item: Item<'_>| matches!(item, Item::Word(word) if word.number().is_some());
        assert!(Block::new(line.as_bytes()).items().all(is_number), "{line}");
    }
}

/// A packed program, unpacked: gzip, bgcode, an archive or a plate of it, FlashForge's, or plain text.
pub(crate) fn packed(bytes: &[u8]) {
    if let Ok(program) = formats::open(Cursor::new(bytes)) {
        let mut text = Vec::new();
        let _ = program.take(UNPACKED_MAX).read_to_end(&mut text);
    }
    if let Ok(program) = formats::open_plate(Cursor::new(bytes), Some(2)) {
        let _ = std::io::copy(&mut program.take(UNPACKED_MAX), &mut std::io::sink());
    }
    let _ = formats::tail(&mut Cursor::new(bytes), 4096);
}

/// Arcs for moves, within a tolerance that the first byte chooses: what is no arc comes out as it went in.
pub(crate) fn arcs(bytes: &[u8]) {
    let Some((first, program)) = bytes.split_first() else { return };
    let Some(setup) = Setup::new(0.005 * f64::from(first % 64 + 1)) else { return };
    let mut fitter = Fitter::new(&setup);
    let mut out = Vec::new();
    let (front, back) = program.split_at(program.len() / 2);
    fitter.push(front, &mut out);
    fitter.push(back, &mut out);
    let summary = fitter.finish(&mut out);
    assert!(out == program || summary.arcs > 0 && out.len() < program.len(), "{summary:?}");
}

/// A program of any format, written in another way: what was written can be read. The first byte chooses the way.
pub(crate) fn conversion(bytes: &[u8]) {
    let Some((first, program)) = bytes.split_first() else { return };
    let compressions = [Compression::None, Compression::Deflate, Compression::Heatshrink11, Compression::Heatshrink12];
    let encodings = [Encoding::Plain, Encoding::MeatPack, Encoding::MeatPackComments];
    let target = match first % 14 {
        0 => Target::Plain,
        1 => Target::Gzip,
        way => Target::Bgcode(Options {
            compression: compressions[usize::from(way - 2) / 3],
            encoding: encodings[usize::from(way - 2) % 3],
            checksums: first & 0x80 == 0,
        }),
    };
    let mut written = Vec::new();
    if convert(Cursor::new(program), &mut written, target, None).is_ok() {
        let mut program = formats::open(Cursor::new(&written)).unwrap_or_else(|error| panic!("{target:?}: {error}"));
        let read = std::io::copy(&mut program, &mut std::io::sink());
        assert!(read.is_ok(), "{target:?}: {read:?}");
    }
}

/// Lines as MeatPack: with spaces they come back, and no command is in what is packed.
pub(crate) fn meatpack(bytes: &[u8]) {
    for spaces in [Spaces::Kept, Spaces::Removed] {
        let (mut packer, mut expected, mut packed) = (Packer::new(spaces), Vec::new(), Vec::new());
        packer.open(&mut packed);
        for line in bytes.split(|byte| *byte == b'\n') {
            let before = packed.len();
            if packer.pack(line, &mut packed).is_ok() {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                expected.extend([line, b"\n"].concat());
                let commands = packed[before..].windows(2).filter(|pair| *pair == b"\xFF\xFF").count();
                assert!(commands <= 1, "{line:?}");
            } else {
                assert_eq!(packed.len(), before);
            }
        }
        let mut text = Vec::new();
        Unpacker::default().unpack(&packed, &mut text);
        assert!(spaces == Spaces::Removed || text == expected, "{text:?}, not {expected:?}");
    }
}

/// A machine's profile.
pub(crate) fn profile(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(profile) = Profile::parse(text) {
            assert!(profile.problems().is_empty());
        }
    }
}
