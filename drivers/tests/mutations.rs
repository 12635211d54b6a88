//! The machine side's fuzz targets on mutations of what machines say: the same entry points, bounded, the same on every
//! run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

#[path = "../../fuzz/machine.rs"]
mod machine;

use drivers::sim::Random;

/// What machines say: each turns a session's state.
const SAYINGS: [&str; 44] = [
    "ok",
    "ok N12 P15 B3",
    "ok 12",
    "ok T:201.3 /210.0 B:59.8 /60.0 T0:201.3 /210.0 @:127 B@:30",
    "ok C: X:1.0000 Y:2.0000 Z:3.0000 E:0.0000",
    "Error:checksum mismatch, Last Line: 5",
    "Error:Line Number is not Last Line Number+1, Last Line: 5",
    "Resend: 1",
    "Resend: 2",
    "Resend: 18446744073709551615",
    "Resend: 0",
    "rs N7",
    "skip 13",
    "wait",
    "start",
    "echo:busy: processing",
    "echo:busy: paused for user",
    "//action:paused",
    "// Klipper state: Ready",
    "// Klipper state: Shutdown",
    "!! Printer is not ready",
    "!! Must home axis first: 1.000",
    "Error:Printer halted. kill() called!",
    "X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0",
    "T:20.1 /210.0 B:60.0 /60.0",
    "FIRMWARE_NAME:Marlin 2.1.2.4 SOURCE_CODE_URL:x PROTOCOL_VERSION:1.0 MACHINE_TYPE:y UUID:z",
    "Cap:EMERGENCY_PARSER:1",
    "FIRMWARE_NAME: RepRapFirmware for Duet 3 MB6HC FIRMWARE_VERSION: 3.5.3",
    "ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.12.0",
    "Grbl 1.1h ['$' for help]",
    "[VER:1.1h.20190825:]",
    "[OPT:V,15,128]",
    "[OPT:V,4294967295,18446744073709551615]",
    "[MSG:'$H'|'$X' to unlock]",
    "error:20",
    "error:9",
    "ALARM:1",
    "<Idle|MPos:0.000,0.000,0.000|FS:0,0|Bf:15,128|WCO:1,2,3|Ov:100,100,100>",
    "<Run|MPos:1.250,0.000,0.000|FS:600,0|Bf:4294967295,4294967295|Ln:9>",
    "<Hold:0|MPos:0.000,0.000,0.000|FS:0,0>",
    "<Door:1|MPos:0.000,0.000,0.000>",
    "<Alarm|MPos:1e308,-1e308,0>",
    "$32=1",
    "[MAILBOX:1,16,80,2000]",
];

fn below(random: &mut Random, bound: usize) -> usize {
    random.below(bound as u64) as usize
}

/// Changes bytes: flips, cuts, doubles.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=below(random, 4) {
        let at = below(random, bytes.len() + 1);
        let length = below(random, 20).min(bytes.len() - at);
        match below(random, 5) {
            0 if length > 0 => bytes[at] ^= 1 << below(random, 8),
            1 if length > 0 => bytes[at] = below(random, 256) as u8,
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let copy = bytes[at..at + length].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes.insert(at, b"0123456789-.:,*\n"[below(random, 16)]),
        }
    }
}

fn said(random: &mut Random) -> Vec<u8> {
    let mut line = SAYINGS[below(random, SAYINGS.len())].as_bytes().to_vec();
    if random.below(2) == 0 {
        mutate(random, &mut line);
    }
    line.push(b'\n');
    line
}

#[test]
fn mutated_answers_are_read_by_every_dialect() {
    let mut random = Random::new(19);
    for round in 0..20_000_u32 {
        let mut bytes = vec![round as u8];
        bytes.extend(said(&mut random));
        bytes.extend(said(&mut random));
        machine::replies(&bytes);
    }
}

#[test]
fn a_session_bears_anything_in_any_state() {
    let mut random = Random::new(23);
    for round in 0..600_u32 {
        let mut script = vec![round as u8, below(&mut random, 256) as u8];
        // Most get to know their machine and start a job before it begins.
        if random.below(8) > 0 {
            script.extend([9, 4, 20, 4, 20, 13, 1, 4, 2 + below(&mut random, 40) as u8]);
        }
        for _ in 0..below(&mut random, 120) {
            match random.below(4) {
                // A line of a machine, whole or mutated.
                0 | 1 => {
                    script.push(6);
                    script.extend(said(&mut random));
                }
                2 => script.extend([4, below(&mut random, 12) as u8]),
                _ => script.push(below(&mut random, 256) as u8),
            }
        }
        machine::session(&script);
    }
}

#[test]
fn mutated_recordings_are_refused_or_run() {
    let mut random = Random::new(29);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut recordings: Vec<_> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "rec")).collect();
    recordings.sort();
    for path in recordings {
        let text = std::fs::read(path).unwrap();
        for _ in 0..40 {
            let mut bytes = text.clone();
            (0..=below(&mut random, 3)).for_each(|_| mutate(&mut random, &mut bytes));
            machine::recording(&bytes);
        }
    }
}

#[test]
fn any_words_in_a_mailbox_do_no_harm() {
    let mut random = Random::new(31);
    for _ in 0..3_000 {
        let length = below(&mut random, 600);
        let bytes: Vec<u8> = (0..length).map(|_| below(&mut random, 256) as u8).collect();
        machine::mailbox(&bytes);
        machine::registers(&bytes[..length.min(200)]);
    }
}

#[test]
fn a_mailbox_that_says_impossible_sizes_is_refused() {
    use drivers::modbus::mailbox::{Host, MACHINE_WORDS, MAGIC, VERSION};
    use drivers::modbus::{Conversation as _, Mailbox};
    let mut host = Host::new(Mailbox::default(), drivers::Moment::ZERO);
    let question = host.question(drivers::Moment::ZERO).unwrap();
    let mut words = vec![u16::MAX; usize::from(MACHINE_WORDS)];
    (words[0], words[1]) = (MAGIC, VERSION);
    let refused = host.answered(drivers::Moment::ZERO, &question, &words).unwrap_err();
    assert!(refused.contains("65535"), "{refused}");
}
