//! Reads any G-code program, says what it will do, and refuses what would break the machine.
//!
//! Pure: no threads, no clock, no files. Programs come from any [`std::io::Read`] and are read once, in constant memory.
//! Reading never fails and never panics: what is odd is a finding with its place, and only what is no program at all,
//! or a damaged one, is an error.
//!
//! # What will it do, and may it?
//!
//! [`analysis::analyse`] says what a program will do. [`preflight::check`] says whether it may run on a machine, which
//! a [`profile::Profile`] describes. [`inspect::inspect`] does both in one pass.
//!
//! ```
//! use gcode_tools::{analysis, preflight, profile::Profile};
//!
//! let program = b"G21 G90\nM4 S800\nG0 X10 Y10\nG1 X110 F3000\nG1 Y430\nM5\nM2\n";
//! let laser = Profile::named("grbl-laser-400").unwrap();
//!
//! let info = analysis::analyse(&program[..], Some(&laser)).unwrap();
//! assert_eq!(info.bounds_mm.unwrap().max[..2], [110.0, 430.0]);
//! assert_eq!(info.powered_mm, 520.0);
//! assert!((info.time_s - 10.5).abs() < 0.2);
//!
//! let verdict = preflight::check(&program[..], &laser);
//! assert!(!verdict.passes());
//! let finding = &verdict.findings[0];
//! assert_eq!((finding.line, finding.column, finding.code), (5, 4, "envelope.outside"));
//! assert_eq!(finding.message, "Y reaches 430.000 mm, above the machine's limit of 400 mm (work offset assumed to be zero).");
//! ```
//!
//! # Any wrapping
//!
//! Files come packed, whatever they are called: [`formats::open`] gives plain text of gzip, bgcode and 3MF too.
//!
//! ```
//! use gcode_tools::{analysis, formats};
//! let file = std::io::Cursor::new(b"G28\nG1 X5 E1 F300\n"); // or a std::fs::File
//! let info = analysis::analyse(formats::open(file).unwrap(), None).unwrap();
//! assert_eq!((info.moves, info.filament_mm), (2, vec![1.0]));
//! ```
//!
//! # Layer by layer
//!
//! Each layer can be used by itself, and each knows only those before it.
//!
//! | layer | module | gives |
//! |---|---|---|
//! | bytes | [`formats`], [`sniff`] | plain text of any wrapping; what a file is |
//! | lines | [`read`] | lines with their number, offset and end; of any length |
//! | blocks | [`block`] | words, comments, checksums, text, O-words of a line, lossless, each with its place |
//! | statements | [`statement`], [`number`], [`expression`] | what a line says, by letter; LinuxCNC's expressions |
//! | words | [`words`] | what each word does, by firmware |
//! | motion | [`modal`], [`interpret`], [`arc`], [`follow`] | moves in machine coordinates and millimetres |
//! | answers | [`analysis`], [`time`], [`metadata`], [`preflight`], [`inspect`], [`preview`], [`resume`] | what is asked of a program |
//! | other forms | [`convert`] | the same program, packed otherwise |
//! | the wire | [`wire`] | the fewest bytes that mean the same to a machine |
//!
//! ```
//! use gcode_tools::{block::Item, read::Lines, wire};
//!
//! let mut lines = Lines::new(&b"N10 G1 X1.50 (slow) *88\r\nM117 50 % done\n"[..]);
//! let line = lines.next_line().unwrap().unwrap();
//! let block = line.block();
//! assert_eq!(block.bytes(), b"N10 G1 X1.50 (slow) *88"); // nothing is lost
//! assert_eq!((block.line_number(), block.checksum()), (Some(10), Some(Some(88))));
//! assert_eq!((block.value('X'), block.word('X').unwrap().span.start), (Some(1.5), 7));
//! let mut sent = Vec::new();
//! wire::compact(&block, &mut sent);
//! assert_eq!(sent, b"G1X1.50");
//! let line = lines.next_line().unwrap().unwrap();
//! assert!(line.block().items().any(|item| matches!(item, Item::Text { text: b"50 % done", .. })));
//! ```
//!
//! To learn something else of a program, implement [`interpret::Watch`] and hand it to [`follow::follow`].

// Loops over axes index several arrays at once.
#![allow(clippy::needless_range_loop)]

pub mod analysis;
pub mod arc;
pub mod arcs;
pub mod block;
pub mod convert;
pub mod expression;
pub mod follow;
pub mod formats;
pub mod inspect;
pub mod interpret;
pub mod metadata;
pub mod modal;
pub mod number;
pub mod preflight;
pub mod preview;
pub mod profile;
pub mod read;
pub mod resume;
pub mod rules;
pub mod sniff;
pub mod statement;
pub mod time;
pub mod wire;
pub mod words;
