//! Our reading beside that of the `gcode` crate, on lines that both take.
//!
//! The crate has no checksums, no `G28 X` without a value, no free text and no expressions (each is an error or reads
//! as something else), so such lines are left out, and counted.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

mod common;

use gcode::{Argument, Code, Value};
use gcode_tools::block::{Block, Item, Shape};

/// Codes in tenths and words, as one reader sees them.
#[derive(Debug, PartialEq)]
struct Reading {
    codes: Vec<(char, u32)>,
    words: Vec<(char, f32)>,
}

fn ours(line: &[u8]) -> Option<Reading> {
    let mut reading = Reading { codes: Vec::new(), words: Vec::new() };
    for item in Block::new(line).items() {
        match item {
            Item::Word(word) => match (word.code(), word.number()) {
                (Some(code), _) => reading.codes.push(code),
                (None, Some(_)) if word.letter == b'N' => {}
                (None, Some(number)) if word.shape == Shape::Number && !word.is_split() => {
                    reading.words.push((char::from(word.letter), number as f32));
                }
                _ => return None,
            },
            Item::Comment { .. } => {}
            _ => return None,
        }
    }
    reading.words.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    Some(reading)
}

fn theirs(line: &str) -> Option<Reading> {
    let program = gcode::parse(line).ok()?;
    let mut reading = Reading { codes: Vec::new(), words: Vec::new() };
    for block in &program.blocks {
        for code in &block.codes {
            let (letter, number, args) = match code {
                Code::General(code) => ('G', code.number, &code.args),
                Code::Miscellaneous(code) => ('M', code.number, &code.args),
                Code::ToolChange(code) => ('T', code.number, &code.args),
                _ => return None,
            };
            let written = number.to_string();
            let (whole, tenth) = written.split_once('.').unwrap_or((&written, "0"));
            reading.codes.push((letter, whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?));
            for Argument { letter, value, .. } in args {
                reading.words.push((letter.to_ascii_uppercase(), literal(value)?));
            }
        }
        for word in &block.word_addresses {
            reading.words.push((word.letter.to_ascii_uppercase(), literal(&word.value)?));
        }
    }
    reading.words.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    Some(reading)
}

fn literal(value: &Value) -> Option<f32> {
    if let Value::Literal(number) = value { Some(*number) } else { None }
}

#[test]
fn what_both_take_both_read_alike() {
    let (mut same, mut left_out) = (0_u64, 0_u64);
    for path in common::files(&common::data().join("good")) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match (ours(line.as_bytes()), theirs(line)) {
                (Some(ours), Some(theirs)) => {
                    assert_eq!(ours.codes, theirs.codes, "{line}");
                    assert_eq!(ours.words.len(), theirs.words.len(), "{line}: {ours:?} {theirs:?}");
                    for (ours, theirs) in ours.words.iter().zip(&theirs.words) {
                        assert_eq!(ours.0, theirs.0, "{line}");
                        // The crate keeps 32-bit floats.
                        assert!((ours.1 - theirs.1).abs() <= ours.1.abs() * 1e-6, "{line}: {ours:?} {theirs:?}");
                    }
                    same += 1;
                }
                _ => left_out += 1,
            }
        }
    }
    println!("{same} lines read alike, {left_out} left out");
    assert!(same > 10_000 && left_out * 20 < same, "{same} alike, {left_out} left out");
}
