//! What real Grbl, grblHAL and Klipper answered to random blocks (`tests/verdicts`): the witness of `rules`, which
//! preflight and the simulated machines share.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.
#![allow(clippy::print_stdout)] // How many agree is for a person to see.

use gcode_tools::block::Block;
use gcode_tools::interpret::{Event, Family, State, Watch};
use gcode_tools::preflight;
use gcode_tools::profile::Profile;
use gcode_tools::rules::Rules;
use gcode_tools::statement::Statement;
use gcode_tools::time::Firmware;
use std::path::Path;

struct Unwatched;

impl Watch for Unwatched {
    fn event(&mut self, _: Event, _: u64, _: &State) {}
}

/// The answers of a file: what was answered, and the line; `None` where a new conversation begins.
fn recorded(name: &str) -> Vec<Option<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('\t').map(|(answer, line)| (answer.to_owned(), line.to_owned()))).collect()
}

/// Grbl's number for a word that it does not know.
const UNSUPPORTED: u32 = 20;

/// Whether a line has a word that grblHAL knows where the board has what it needs, and that rules pass therefore: a
/// spindle that turns the other way, ports, an encoder, subprograms.
fn has_of_the_board(line: &str) -> bool {
    let line = line.to_ascii_uppercase();
    let words = ["M4", "M62", "M63", "M64", "M65", "M66", "M67", "M68", "M98", "M99", "G95"];
    words.iter().any(|word| {
        line.match_indices(word).any(|(at, _)| !line[at + word.len()..].starts_with(|next: char| next.is_ascii_digit()))
    })
}

/// Compares the numbers that a firmware of Grbl's family answered.
fn numbers(name: &str, firmware: Firmware) {
    let fresh = || {
        let mut state = State::new(Family::Cnc);
        state.firmware = Some(firmware);
        state.arc_tolerance = gcode_tools::arc::Tolerance::GRBL;
        (Rules::of(firmware), state)
    };
    let (mut rules, mut state) = fresh();
    let (mut lines, mut refused, mut missed, mut wrong, mut other) = (0, 0, Vec::new(), Vec::new(), Vec::new());
    for record in recorded(name) {
        let Some((answer, line)) = record else {
            (rules, state) = fresh();
            continue;
        };
        let theirs: u32 = answer.parse().unwrap();
        let before = rules.clone();
        let ours = rules.answer_at(line.as_bytes(), Some(&state)).err();
        let number = ours.map_or(0, |refusal| refusal.number().unwrap_or(999));
        lines += 1;
        refused += u32::from(theirs != 0);
        match (number, theirs) {
            (0, 0) => state.execute(1, &Statement::of(&Block::new(line.as_bytes())), &mut Unwatched),
            (0, _) => {
                rules = before;
                if !(theirs == UNSUPPORTED && has_of_the_board(&line)) {
                    missed.push(format!("{theirs}\t{line}"));
                }
            }
            (_, 0) => wrong.push(format!("{number}\t{line}")),
            (ours, theirs) if ours != theirs => other.push(format!("{ours} {theirs}\t{line}")),
            _ => {}
        }
    }
    println!(
        "{name}: {refused} of {lines} lines refused; missed {}, falsely refused {}, with another number {}",
        missed.len(),
        wrong.len(),
        other.len()
    );

    assert!(wrong.is_empty() && missed.len() * 100 <= refused as usize, "missed {missed:#?}\nfalse {wrong:#?}");
}

#[test]
fn grbl_answers_as_the_rules_say() {
    numbers("grbl.tsv", Firmware::Grbl);
}

#[test]
fn grblhal_answers_as_the_rules_say() {
    numbers("grblhal.tsv", Firmware::GrblHal);
}

/// Refusals of Klipper that depend on its configuration and its place: they are preflight's own checks, or nobody's.
const OF_THE_MACHINE: [&str; 5] = [
    "Move out of range",
    "Extrude only move too long",
    "Must home",
    "Move exceeds maximum extrusion",
    "Extrude when no",
];

#[test]
fn klipper_answers_as_the_rules_say() {
    let (mut refused, mut missed, mut wrong) = (0, Vec::new(), Vec::new());
    let mut rules = Rules::of(Firmware::Klipper);
    for (answer, line) in recorded("klipper.tsv").into_iter().flatten() {
        for modes in ["G90", "G17"] {
            rules.answer(modes.as_bytes()).unwrap();
        }
        let verdict = rules.answer(line.as_bytes());
        let Some(reason) = answer.strip_prefix("!! ") else {
            if verdict.is_err() {
                wrong.push(format!("{answer}\t{line}"));
            }
            continue;
        };
        if OF_THE_MACHINE.iter().any(|own| reason.starts_with(own)) {
            continue;
        }
        refused += 1;
        if verdict.is_ok() {
            missed.push(format!("{reason}\t{line}"));
        }
    }
    println!("klipper.tsv: {refused} commands refused; missed {}, falsely refused {}", missed.len(), wrong.len());
    assert!(wrong.is_empty() && missed.len() * 100 <= refused, "missed {missed:#?}\nfalse {wrong:#?}");
}

/// Commands that a Klipper knows where a section of its configuration says so: the one that answered had none of these.
const OF_THE_CONFIGURATION: [&str; 12] = [
    "SET_FAN_SPEED",
    "SET_PIN",
    "SET_PRINT_STATS_INFO",
    "BED_MESH_CALIBRATE",
    "QUAD_GANTRY_LEVEL",
    "M20",
    "M23",
    "M25",
    "M26",
    "M27",
    "M73",
    "M117",
];

/// What is no command, or said by every slicer: comments, marks and blocks that are not sent, a code that is sent without
/// the blank in it, tools.
const NOT_SENT_SO: [&str; 7] = ["(", "%", "/", "*", "O", "G 1", "T"];

/// A Klipper passes over what it does not know, with a message: nobody sees that in a print of hours. `check` tells of it.
#[test]
fn check_tells_of_the_commands_that_klipper_does_not_know() {
    let profile = Profile::named("voron-350").unwrap();
    let left_out = |line: &str| OF_THE_CONFIGURATION.iter().chain(&NOT_SENT_SO).any(|own| line.starts_with(own));
    let (mut unknown, mut known, mut missed, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for (answer, line) in recorded("klipper.tsv").into_iter().flatten() {
        let program = format!("G28\nG90\nM82\nG17\n{line}\nM84\n");
        let findings = preflight::check(program.as_bytes(), &profile).findings;
        let told: Vec<_> = findings.iter().filter(|finding| finding.line == 5).map(|finding| finding.code).collect();
        if answer.starts_with("// Unknown command") && !left_out(&line) {
            unknown += 1;
            let doubts = ["word.unsupported", "word.macro", "word.read_otherwise", "motion.modal", "program.card"];
            if !told.iter().any(|code| doubts.contains(code) || code.starts_with("text.")) {
                missed.push(format!("{line}\t{told:?}"));
            }
        } else if answer == "ok" {
            known += 1;
            if told.contains(&"word.unsupported") {
                wrong.push(line);
            }
        }
    }
    println!(
        "klipper.tsv: {unknown} commands unknown to it, {known} taken; missed {}, false {}",
        missed.len(),
        wrong.len()
    );
    assert!(unknown > 120 && known > 250);
    assert!(wrong.is_empty() && missed.is_empty(), "missed {missed:#?}\nfalse {wrong:#?}");
}
