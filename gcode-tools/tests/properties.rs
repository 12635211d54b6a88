//! What must hold for any bytes at all.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

mod common;

use gcode_tools::analysis::analyse;
use gcode_tools::block::{Block, Item, Span};
use gcode_tools::follow;
use gcode_tools::interpret::{Family, State, Watch};
use gcode_tools::modal::Modal;
use gcode_tools::preflight::{self, FINDINGS_MAX};
use gcode_tools::profile::Profile;
use gcode_tools::read::Lines;
use gcode_tools::statement::{Form, Statement};
use gcode_tools::wire::{self, Alphabet};
use proptest::prelude::*;

/// A line made of what real lines are made of, in any order.
fn line() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[GMTNXYZEFSIJKRPQLgxyz] ?-?[0-9]{0,4}\\.?[0-9]{0,4}",
        1 => "\\([^)\\n\\r]{0,8}\\)?",
        1 => ";[^\\n\\r]{0,8}",
        1 => "[#oO][<0-9a-z>=\\[ ]{0,6}",
        1 => "[\\[\\]*%/$\"@^?!~ \t]",
        1 => "(sub|endsub|while|repeat|call|if|else|endif) ?\\[?[0-9#]{0,2}\\]?",
        1 => "M(117|118|0|98|486) [ -~]{0,10}",
    ];
    proptest::collection::vec(piece, 0..9).prop_map(|pieces| pieces.join(""))
}

fn program() -> impl Strategy<Value = String> {
    proptest::collection::vec((line(), prop_oneof![Just("\n"), Just("\r\n"), Just("\r")]), 0..40)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

/// Lines of plain words, each perhaps spoilt by one thing that makes it other than plain, at any place in 64 bytes.
fn plain_program() -> impl Strategy<Value = String> {
    let word = "[GXYZEFSIJTNmoga][-.]?[0-9]{1,4}\\.?[0-9]{0,5}";
    let between = prop_oneof![6 => Just(" "), 1 => Just(""), 1 => Just("  ")];
    let line = proptest::collection::vec((word, between), 0..7)
        .prop_map(|words| words.into_iter().map(|(word, between)| word + between).collect::<String>());
    let spoilt = (line, any::<prop::sample::Index>(), prop_oneof![3 => "", 1 => "[-.:+;(*/\t 0-9XM\u{e9}\u{0}]"])
        .prop_map(|(mut line, at, spoil)| {
            line.insert_str(at.index(line.len() + 1), &spoil);
            line
        });
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just(" ;c\n"), Just("X\n"), Just(" E-\n")];
    proptest::collection::vec((spoilt, end), 0..12)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

fn span(item: &Item) -> Span {
    match *item {
        Item::Word(word) => word.span,
        Item::Comment { span, .. }
        | Item::Text { span, .. }
        | Item::Checksum { span, .. }
        | Item::System { span, .. }
        | Item::Bracketed { span, .. }
        | Item::Extended { span, .. }
        | Item::Assign { span, .. }
        | Item::Flow { span, .. }
        | Item::Percent(span)
        | Item::Delete(span)
        | Item::Stray(span) => span,
    }
}

/// Lines as [`Lines`] hands them out, whose plain words are known, say what their bytes alone say, however they are
/// asked: one item at a time, all in one go, or as a statement.
fn reads_the_same_either_way(program: &[u8]) {
    let mut lines = Lines::new(program);
    let (mut known, mut searched) = (Statement::default(), Statement::default());
    while let Some(line) = lines.next_line().unwrap() {
        let (fast, slow) = (line.block(), Block::new(line.bytes));
        let items: Vec<Item> = slow.items().collect();
        let mut one_by_one = Vec::new();
        for item in fast.items() {
            one_by_one.push(item);
        }
        let in_one_go = fast.items().fold(Vec::new(), |mut items, item| {
            items.push(item);
            items
        });
        assert_eq!(one_by_one, items, "{:?}", text(line.bytes));
        assert_eq!(in_one_go, items, "{:?}", text(line.bytes));
        known.read(&fast, None);
        searched.read(&slow, None);
        assert_eq!(format!("{:?}", facts(&known)), format!("{:?}", facts(&searched)), "{:?}", text(line.bytes));
    }
}

/// All that a statement says.
fn facts(statement: &Statement) -> impl std::fmt::Debug + '_ {
    let values: Vec<_> = (b'A'..=b'Z')
        .map(|letter| (statement.value(letter), statement.is_bare(letter), statement.is_unknown(letter)))
        .collect();
    let marks = (statement.odd, statement.repeated, statement.split, statement.deleted, statement.percent);
    (statement.form, values, statement.codes(), statement.codes_lost, statement.plain, marks)
}

/// Every byte of a line is in exactly one item, or is a space; items come in order.
fn covers(bytes: &[u8]) {
    let mut end = 0;
    for item in Block::new(bytes).items() {
        let span = span(&item);
        assert!(span.start >= end && span.end > span.start && span.end <= bytes.len(), "{item:?}");
        assert!(bytes[end..span.start].iter().all(u8::is_ascii_whitespace), "bytes lost before {item:?}");
        end = span.end;
    }
    assert!(bytes[end..].iter().all(u8::is_ascii_whitespace), "bytes lost at the end");
}

/// What goes over the wire means the same, and holds nothing a machine would act on at once.
fn compacts(bytes: &[u8]) {
    let block = Block::new(bytes);
    let mut sent = Vec::new();
    let outcome = wire::compact(&block, &mut sent);
    assert!(sent.iter().all(|byte| wire::may_be_sent(*byte, Alphabet::Grbl)), "{sent:?}");
    if outcome != wire::Compacted::Whole {
        return;
    }
    let (before, after) = (Statement::of(&block), Statement::of(&Block::new(&sent)));
    if before.form == Form::Words && !before.odd && !before.deleted {
        assert_eq!(before.codes(), after.codes(), "{:?} sent as {:?}", text(bytes), text(&sent));
        for letter in (b'A'..=b'Z').filter(|letter| *letter != b'N') {
            assert_eq!(before.value(letter), after.value(letter), "{:?} sent as {:?}", text(bytes), text(&sent));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everything that can be done with bytes, done.
fn survives(bytes: &[u8]) {
    let _ = analyse(bytes, None);
    for name in ["generic-printer", "generic-grbl-mill", "linuxcnc-mill", "voron-350", "grbl-laser-400"] {
        let profile = Profile::named(name).unwrap();
        let verdict = preflight::check(bytes, &profile);
        assert!(verdict.findings.len() <= FINDINGS_MAX);
        if let Ok(info) = analyse(bytes, Some(&profile)) {
            assert!(info.time_s.is_finite() && info.time_s >= 0.0, "{} s", info.time_s);
        }
    }
}

/// The lines, put together again, are the stream.
fn round_trips(bytes: &[u8]) {
    let mut lines = Lines::new(bytes);
    let mut back = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        if line.marked {
            back.extend_from_slice(b"\xEF\xBB\xBF");
        }
        assert_eq!(line.offset, back.len() as u64);
        back.extend_from_slice(Block::new(line.bytes).bytes());
        back.extend_from_slice(line.end.bytes());
    }
    assert!(back == bytes, "{} bytes came back as {}", bytes.len(), back.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_come_back_and_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        round_trips(&bytes);
        reads_the_same_either_way(&bytes);
        covers(&bytes);
        compacts(&bytes);
        survives(&bytes);
        Modal::default().apply(&Block::new(&bytes));
    }

    #[test]
    fn likely_programs_come_back_and_do_no_harm(program in program()) {
        round_trips(program.as_bytes());
        reads_the_same_either_way(program.as_bytes());
        survives(program.as_bytes());
    }

    #[test]
    fn plain_lines_read_the_same_either_way(program in plain_program()) {
        reads_the_same_either_way(program.as_bytes());
    }

    #[test]
    fn a_line_is_covered_and_means_the_same_on_the_wire(line in line()) {
        covers(line.as_bytes());
        compacts(line.as_bytes());
    }

    #[test]
    fn numbers_read_as_the_standard_library_reads_them(value in -1.0e9..1.0e9_f64, digits in 0_usize..9) {
        let written = format!("{value:.digits$}");
        let block = format!("G1 X{written} Y1");
        prop_assert_eq!(Block::new(block.as_bytes()).value('X'), written.parse().ok());
        prop_assert_eq!(Statement::of(&Block::new(block.as_bytes())).value(b'X'), written.parse().ok());
    }
}

/// A small generator of pseudo-random numbers, so that a failing corruption can be repeated.
struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

#[test]
fn damaged_programs_do_no_harm() {
    let mut seed = Seed(7);
    for path in common::files(&common::data()) {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(20_000);
        for _ in 0..6 {
            for _ in 0..10 {
                let (at, value) = (seed.below(bytes.len()), seed.below(256) as u8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(bytes.len() - seed.below(bytes.len() / 4 + 1));
            round_trips(&bytes);
            reads_the_same_either_way(&bytes);
            survives(&bytes);
        }
    }
}

#[test]
fn every_program_of_the_collection_comes_back() {
    let folders = [Some(common::data()), common::corpus()];
    let mut count = 0;
    for path in folders.into_iter().flatten().flat_map(|folder| common::files(&folder)) {
        let bytes = std::fs::read(&path).unwrap();
        round_trips(&bytes);
        reads_the_same_either_way(&bytes);
        count += 1;
    }
    println!("{count} files");
}

/// Counts what is told, and nothing else.
#[derive(Default)]
struct Count(u64);

impl Watch for Count {
    fn moved(&mut self, _: &gcode_tools::interpret::Move, _: &State) {
        self.0 += 1;
    }
}

#[test]
fn a_hundred_megabytes_in_one_line_cost_little_memory_and_time() {
    use std::io::Read;
    let input = std::io::repeat(b'X').take(100_000_000).chain(&b"\nG1 X1 F100\nM2\n"[..]);
    let start = std::time::Instant::now();
    let (mut lines, _) = follow::open(input).unwrap();
    let mut count = Count::default();
    let extent = follow::follow(&mut lines, &mut State::new(Family::Cnc), &mut count).unwrap();
    assert_eq!((extent.lines, count.0), (3, 1));
    assert!(start.elapsed().as_secs() < 20);
}
