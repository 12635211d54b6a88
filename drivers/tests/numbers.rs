//! Numbers on the wire: what each firmware's reader makes of the bytes are the words of the program, in every dialect.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::dialect::{self, Calm, Lift, Spelling, Word};
use drivers::profile::Profile;
use drivers::request::{Jog, Override, Probe};
use drivers::sim::{Faults, Random, Reader, Setup, Vintage};
use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use gcode_tools::block::{Block, Item};
use gcode_tools::formats::meatpack::{Packer, Spaces};
use gcode_tools::wire::{self, Alphabet, Compacted, Numbers};
use proptest::prelude::*;
use support::{Pair, commands, connected, is_printer, profile, setup, usual_line};

/// Firmwares: dialect, what they call themselves, how they read.
const FIRMWARES: [(&str, &str, Reader); 15] = [
    ("grbl", "Grbl 1.1h.20190825", Reader::Grbl),
    // Ports to other processors say the same, and may read with their C library.
    ("grbl", "Grbl 1.1f", Reader::MarlinBefore212),
    ("grblhal", "grblHAL 1.1f.20260817", Reader::GrblHal),
    ("fluidnc", "FluidNC v3.9.9", Reader::Grbl),
    ("marlin", "Marlin 2.1.2.4", Reader::Marlin),
    ("marlin", "Marlin 2.0.9.3", Reader::MarlinBefore212),
    ("marlin", "Marlin V1; Sprinter/grbl mashup for gen6", Reader::Marlin10),
    ("marlin", "Prusa-Firmware 3.10.1 based on Marlin", Reader::Marlin10),
    ("marlin", "Marlin Creality 3D", Reader::Marlin10),
    ("marlin", "", Reader::Repetier),
    ("smoothieware", "Smoothieware edge-bb41e99", Reader::Smoothie),
    ("reprapfirmware", "RepRapFirmware for Duet 3 MB6HC 3.5.3", Reader::RepRap),
    ("repetier", "Repetier_1.0.4", Reader::Repetier),
    ("klipper", "Klipper v0.12.0", Reader::Klipper),
    ("mailbox", "Mailbox 1", Reader::Grbl),
];

/// A number as programs write it: zeros in front, no digit before the point or behind it, a sign, many digits.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("0".to_owned()),
        1 => Just("-0".to_owned()),
        1 => Just("+0".to_owned()),
        1 => Just("00".to_owned()),
        6 => "-?[0-9]{1,3}(\\.[0-9]{0,5})?",
        1 => "[-+]?\\.[0-9]{1,5}",
        1 => "-?0{1,12}[0-9]{1,3}\\.[0-9]{1,3}",
    ]
}

/// A line as programs write it: tight or not, in capitals or not, words in any order, each letter once.
fn line() -> impl Strategy<Value = String> {
    let code = prop_oneof![Just("G1"), Just("G0"), Just("g1"), Just("G92"), Just("M204"), Just("T0"), Just("")];
    let words = proptest::sample::subsequence("XYZEFSPABXIJKR".chars().collect::<Vec<_>>(), 1..9)
        .prop_shuffle()
        .prop_flat_map(|letters| {
            proptest::collection::vec(number(), letters.len()).prop_map(move |numbers| (letters.clone(), numbers))
        });
    (code, words, "[ \t]{0,2}", any::<bool>(), prop_oneof![Just(""), Just(" "), Just(" ; 0X1E5")]).prop_map(
        |(code, (letters, numbers), gap, lower, tail)| {
            let mut line = code.to_owned();
            let mut seen = Vec::new();
            for (letter, number) in letters.iter().zip(numbers).filter(|(letter, _)| {
                let new = !seen.contains(*letter);
                seen.push(**letter);
                new
            }) {
                line.push_str(&gap);
                line.push(if lower { letter.to_ascii_lowercase() } else { *letter });
                line.push_str(&number);
            }
            line + tail
        },
    )
}

/// The words of the program are those that the reader finds in what was written, and it finds no others.
fn reads_the_words_of(reader: Reader, program: &str, written: &[u8]) {
    let shown = String::from_utf8_lossy(written).into_owned();
    assert!(!reader.misreads(written), "{reader:?} reads `{shown}` otherwise than it is written");
    let block = Block::new(program.as_bytes());
    let mut count = 0;
    for word in block.words() {
        let Some(meant) = word.number() else { continue };
        count += 1;
        let read = reader.value(written, word.letter);
        let near = read.is_some_and(|read| {
            (read - meant).abs() <= 1e-6 + meant.abs() * 1e-6
                || (read == meant.trunc() && matches!(word.letter, b'S' | b'P' | b'G' | b'M' | b'T'))
        });
        assert!(near, "{reader:?}: {} of `{program}` is read as {read:?} in `{shown}`", char::from(word.letter));
    }
    assert_eq!(reader.words(written).count(), count, "{reader:?} finds other words in `{shown}`");
}

/// What a firmware receives of a packed line: it puts no space back (Marlin `meatpack.cpp`).
fn received(packed: &[u8], without_spaces: bool) -> Vec<u8> {
    let (mut at, mut out) = (0, Vec::new());
    let table = if without_spaces { *b"0123456789.E\nGX" } else { *b"0123456789. \nGX" };
    while at < packed.len() {
        let byte = packed[at];
        at += 1;
        let mut character = |nibble: u8| {
            table.get(usize::from(nibble)).copied().unwrap_or_else(|| {
                at += 1;
                packed[at - 1]
            })
        };
        let first = character(byte & 15);
        out.push(first);
        if first != b'\n' {
            let second = character(byte >> 4);
            out.push(second);
        }
    }
    out.pop();
    out
}

/// Grbl takes blanks away before it reads. The one in `G0 X10` is left here: a reader of hexadecimal numbers finds G16 in
/// it, which is refused.
fn as_grbl_reads(line: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for byte in line {
        if *byte > b' ' || matches!(out[..], [.., b'G' | b'M' | b'g' | b'm', b'0']) {
            out.push(*byte);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_each_firmware_reads_are_the_words_of_the_program(line in line()) {
        for (name, firmware, reader) in FIRMWARES {
            let habits = dialect::named(name).unwrap().habits();
            let numbers = habits.numbers.by(firmware);
            let alphabet = habits.alphabet();
            let (mut written, mut as_it_stands) = (Vec::new(), Vec::new());
            let block = Block::new(line.as_bytes());
            prop_assert_eq!(wire::write(&block, alphabet, numbers, &mut written), Compacted::Whole);
            if name == "grbl" {
                written = as_grbl_reads(&written);
            }
            reads_the_words_of(reader, &line, &written);
            // With its comment behind it, which a firmware takes off, and its letters as they are.
            wire::write_as_it_stands(&block, alphabet, numbers, &mut as_it_stands);
            if as_it_stands.is_ascii() && !matches!(reader, Reader::Grbl | Reader::GrblHal) {
                let mut code = as_it_stands.split(|byte| *byte == b';').next().unwrap().to_vec();
                if name == "grbl" {
                    code = as_grbl_reads(&code);
                }
                let compared = Block::new(&code).words().all(|word| word.text.len() <= 8);
                if compared {
                    reads_the_words_of(reader, &line, &code);
                }
            }
            let spaces = if numbers < Numbers::Exponents { Spaces::Removed } else { Spaces::Kept };
            if name == "marlin" {
                for spaces in [Spaces::Kept, spaces] {
                    let (mut packer, mut packed) = (Packer::new(spaces), Vec::new());
                    packer.open(&mut Vec::new());
                    packer.pack(&written, &mut packed).unwrap();
                    reads_the_words_of(reader, &line, &received(&packed, spaces == Spaces::Removed));
                }
            }
        }
    }

    #[test]
    fn a_line_that_says_nothing_else_keeps_its_items(line in "[GMXYE0-9. ]{0,24}") {
        // Whatever is written, this project's own reader finds in it what it found before.
        let block = Block::new(line.as_bytes());
        for numbers in [Numbers::Plain, Numbers::Prefixed, Numbers::Exponents] {
            let mut written = Vec::new();
            if wire::write(&block, Alphabet::Printer, numbers, &mut written) != Compacted::Whole {
                continue;
            }
            if block.items().any(|item| !matches!(item, Item::Word(_))) {
                continue;
            }
            let words = |block: &Block<'_>| block.words().map(|word| (word.letter, word.number())).collect::<Vec<_>>();
            prop_assert_eq!(words(&block), words(&Block::new(&written)), "{}", String::from_utf8_lossy(&written));
        }
    }
}

/// What the agent spells itself is read by every firmware as it is written.
#[test]
fn what_the_agent_spells_itself_is_read_as_it_is_written() {
    let by_mm = [[1.0, 0.0, 0.0], [0.0, 0.0, -0.05], [-10.0, 0.0, 0.0], [0.0, 0.0, 0.0]];
    let mut words = vec![
        Word::Home,
        Word::Unlock,
        Word::Probe(Probe { down_mm: 10.0, feed_mm_min: 50.0 }),
        Word::Override(Override::Feed(0)),
        Word::Override(Override::Flow(100)),
        Word::Lift(Lift { by_mm: 0.0, to_mm: 0.0, feed_mm_min: 0.0 }),
        Word::Choose(0),
        Word::Absolute,
    ];
    words.extend(by_mm.map(|by_mm| Word::Jog(Jog { by_mm, feed_mm_min: 0.0, press: None })));
    for (name, _, reader) in FIRMWARES {
        let dialect = dialect::named(name).unwrap();
        let calm = [Calm::Hold, Calm::StopWaiting, Calm::EndJog].map(|word| dialect.calm(word));
        for spelling in words.iter().map(|word| dialect.word(word)).chain(calm) {
            let Spelling::Lines(lines) = spelling else { continue };
            for line in lines {
                let line = line.strip_prefix("$J=").unwrap_or(&line);
                assert!(!reader.misreads(line.as_bytes()), "{name}: `{line}`");
            }
        }
        let habits = dialect.habits();
        for line in habits.settings.iter().chain(habits.keepalive_word.iter()) {
            assert!(!reader.misreads(line.as_bytes()), "{name}: `{line}`");
        }
    }
    for (name, _) in Profile::bundled() {
        let profile = Profile::named(name).unwrap();
        let habits = dialect::named(&profile.dialect).map(dialect::Dialect::habits);
        let numbers = habits.map_or(Numbers::Exponents, |habits| habits.numbers.any);
        let alphabet = habits.map_or(Alphabet::Printer, dialect::Habits::alphabet);
        for line in &profile.safety.safe_end {
            let mut written = Vec::new();
            wire::write_as_it_stands(&Block::new(line.as_bytes()), alphabet, numbers, &mut written);
            for reader in [Reader::Smoothie, Reader::Repetier, Reader::Marlin10] {
                assert!(!reader.misreads(&written), "{name}: `{line}`");
            }
        }
    }
}

/// Moves in which a number is followed by a word that some firmwares read on into.
fn moves(dialect: &str, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let printer = is_printer(dialect);
    let mut program = vec!["G90".to_owned(), "G1 F3000".to_owned()];
    for line in 0..300 {
        let gap = ["", " ", "  "][random.below(3) as usize];
        let (x, y) = (random.below(90), random.below(90));
        program.push(match (random.below(5), printer) {
            (0, _) => format!("G0{gap}X{x}{gap}Y0{gap}"),
            (1, true) => format!("G1{gap}Y{y}.{line:03}{gap}E{}", random.below(20)),
            (2, true) => format!("g1{gap}x{x}{gap}y{y}.5{gap}e1{}.{line}", random.below(9)),
            (3, _) => format!("G1{gap}Y0{gap}X{x}.{line:03}"),
            _ => format!("G1{gap}Y{y}{gap}X{x}.{line:03}"),
        });
    }
    program
}

#[test]
fn every_simulated_firmware_moves_where_the_program_says() {
    let dialects = ["marlin", "grbl", "grblhal", "fluidnc", "smoothieware", "reprapfirmware", "repetier", "klipper"];
    for dialect in dialects {
        for seed in 0..4 {
            let mut pair = connected(dialect, &Setup { speed: 500.0, ..setup() });
            let program = moves(dialect, seed);
            pair.start(program.clone());
            assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
            let report = pair.report();
            assert_eq!((report.misread, report.refused), (0, 0), "{dialect}");
            // A point behind a lone zero changes no number.
            let executed: Vec<_> = pair.executed().iter().map(|line| line.replace("0.X", "0X")).collect();
            assert!(executed == commands(&program), "{dialect}: {executed:?}");
        }
    }
}

#[test]
fn a_marlin_of_any_age_moves_where_the_program_says_packed_or_not() {
    use Vintage::{Current, Marlin10, Marlin20, Prusa310, Prusa313};
    let mut bytes = Vec::new();
    for (vintage, packs) in
        [(Current, false), (Current, true), (Marlin20, true), (Marlin10, true), (Prusa310, false), (Prusa313, true)]
    {
        let mut profile = profile("marlin");
        profile.stream.meatpack = true;
        let setup = Setup { speed: 500.0, vintage, meatpack: packs, ..setup() };
        let mut pair = Pair::with_profile(profile, &setup, usual_line(), Faults::default(), 3);
        pair.connect();
        let before = pair.report().bytes;
        let program = moves("marlin", 9);
        pair.start(program.clone());
        assert_eq!(pair.run_job(), JobPhase::Finished, "{vintage:?}: {:?}", pair.notices());
        assert_eq!(pair.report().misread, 0, "{vintage:?}, packed: {packs}");
        assert_eq!(pair.executed(), commands(&program), "{vintage:?}, packed: {packs}");
        bytes.push(pair.report().bytes - before);
        // What follows the job is plain text again, spaces included.
        pair.ask(Request::Jog(Jog { by_mm: [1.0, 0.0, 0.0], feed_mm_min: 600.0, press: None })).unwrap();
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.session.state(), State::Idle, "{vintage:?}");
    }
    assert!(bytes[1] < bytes[0], "packing pays: {bytes:?}");
    assert!(bytes[3] > bytes[1], "spaces are sent to one that reads exponents: {bytes:?}");
}

#[test]
fn a_line_that_is_sent_with_its_comments_is_read_as_it_is_meant() {
    let mut profile = profile("repetier");
    profile.stream.send_comments = true;
    let mut pair = Pair::with_profile(profile, &Setup { speed: 500.0, ..setup() }, usual_line(), Faults::default(), 3);
    pair.connect();
    pair.start(vec!["G1X10E5F600 ; 0X1E5".to_owned(), "G1Y0X20E6".to_owned()]);
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    assert_eq!((pair.report().misread, pair.report().position_mm), (0, [20.0, 0.0, 0.0]));
}

/// `cargo test -p drivers --test numbers -- --nocapture what_a_kept` prints what `docs/streaming.md` says.
#[test]
fn what_a_kept_blank_costs() {
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo");
    for (file, numbering) in [("cube.gcode", "N1234 *100"), ("badge.gcode", ""), ("plate.nc", "")] {
        let program = std::fs::read_to_string(demo.join(file)).unwrap();
        let bytes = [Numbers::Plain, Numbers::Prefixed, Numbers::Exponents].map(|numbers| {
            let mut written = Vec::new();
            program.lines().fold((0, 0), |(lines, bytes), line| {
                written.clear();
                match wire::write(&Block::new(line.as_bytes()), Alphabet::Printer, numbers, &mut written) {
                    Compacted::Nothing => (lines, bytes),
                    _ => (lines + 1, bytes + written.len() + numbering.len() + 1),
                }
            })
        });
        let [(lines, plain), (_, prefixed), (_, exponents)] = bytes;
        let more = |bytes: usize| 100.0 * (bytes - plain) as f64 / plain as f64;
        // Ten bits a byte.
        let us_a_line = (exponents - plain) as f64 / f64::from(lines) * 10.0 / 115_200.0 * 1e6;
        println!(
            "{file}: {lines} lines, {plain} bytes without blanks; behind a lone 0: +{:.2} %; before E too: +{:.2} %, \
             {us_a_line:.0} us a line at 115200 baud",
            more(prefixed),
            more(exponents)
        );
        assert!(more(prefixed) < 0.5 && more(exponents) < 4.5, "{file}");
    }
}
