//! LinuxCNC's own interpreter as a witness: `rs274` of Debian's linuxcnc-uspace, which `./check` unpacks into
//! `.check/linuxcnc`. Where it is not there, these tests fail: without their witness they say nothing.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

use gcode_tools::block::Block;
use gcode_tools::interpret::{Event, Family, Fault, Move, State, Watch};
use gcode_tools::rules::Rules;
use gcode_tools::statement::Statement;
use gcode_tools::time::Firmware;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Random blocks that are compared, in one program.
const BLOCKS: u32 = 10_000;

/// Random programs that are compared, each as long as a person's, and runs of rs274 that they are put into.
const PROGRAMS: u32 = 10_000;
const BATCHES: u32 = 100;

/// Each begins where a machine stands that was switched on.
const START: &str = "G53 G0 X0 Y0 Z0\n";

/// Numbers that are the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

const G: &[&str] = &[
    "0", "1", "1", "2", "3", "4", "5", "5.1", "10", "17", "18", "19", "20", "21", "28", "30", "33", "38.2", "40",
    "43.1", "49", "53", "54", "55", "61", "61.1", "64", "80", "81", "82", "83", "73", "85", "86", "89", "90", "91",
    "90.1", "91.1", "92", "92.1", "92.2", "93", "94", "95", "97", "98", "99", "7", "8", "12", "2.5", "52", "76",
    "33.1", "28.1",
];
const M: &[&str] =
    &["3", "4", "5", "7", "8", "9", "48", "49", "50", "51", "52", "53", "62", "64", "66", "68", "20", "201", "19"];
const LETTERS: &[&str] =
    // Axes beyond C, and M codes from 100 on, are there where a machine has them.
    &["X", "Y", "Z", "X", "Y", "Z", "F", "F", "S", "I", "J", "K", "R", "P", "L", "Q", "H", "D", "E", "A", "C"];
const VALUES: &[&str] = &["0", "1", "2", "5", "10", "-1", "-5", "0.5", "2.25", "100", ".1", "3"];

/// A block as nobody writes them, and some do.
fn block(random: &mut Random, text: &mut String) {
    for _ in 0..[0, 1, 1, 1, 2, 2, 3][random.below(7) as usize] {
        let _ = write!(text, "G{} ", random.one(G));
    }
    if random.below(5) == 0 {
        let _ = write!(text, "M{} ", random.one(M));
    }
    for _ in 0..random.below(5) {
        let letter = random.one(LETTERS);
        // Tool tables are the machine's own: their L words are left out.
        let value = if letter == "L" { random.one(&["2", "20", "0", "3", "-1"]) } else { random.one(VALUES) };
        let _ = write!(text, "{letter}{value} ");
    }
    text.push('\n');
}

/// What a program does, as far as it is compared.
#[derive(Default)]
struct Seen {
    refused: bool,
    ends: Vec<[f64; 3]>,
}

impl Watch for Seen {
    fn moved(&mut self, motion: &Move, _: &State) {
        self.ends.push(motion.to);
    }

    fn event(&mut self, event: Event, _: u64, _: &State) {
        self.refused |= matches!(event, Event::Fault(Fault::Arc(_) | Fault::CycleWord(_)));
    }
}

fn rs274() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.check/linuxcnc");
    assert!(root.join("usr/bin/rs274").exists(), "rs274 is not there: ./check unpacks it into .check/linuxcnc");
    root
}

/// Two of them at once share something of the system, and now and then one ends with a bus error.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What rs274 says of a program: its canonical commands, and the lines it refuses.
fn witness(root: &Path, name: &str, program: &str) -> (String, HashMap<u32, String>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rs274");
    std::fs::create_dir_all(&folder).unwrap();
    let (tools, variables) = (folder.join(format!("{name}.tbl")), folder.join(format!("{name}.var")));
    std::fs::write(&tools, "").unwrap();
    std::fs::write(&variables, "").unwrap();
    let file = folder.join(format!("{name}.ngc"));
    std::fs::write(&file, program).unwrap();
    let libraries = format!("{0}/usr/lib:{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/aarch64-linux-gnu", root.display());
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let ran = Command::new(root.join("usr/bin/rs274"))
        .env("LD_LIBRARY_PATH", libraries)
        .args(["-n", "0", "-g", "-t"])
        .arg(&tools)
        .arg("-v")
        .arg(&variables)
        .arg(&file)
        .output()
        .unwrap();
    drop(turn);
    // Each refusal is told by its reason and, on a line of its own, the block.
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    let number = |line: &str| line.strip_prefix(['N', 'n'])?.split(' ').next()?.parse::<u32>().ok();
    let lines: Vec<&str> = told.lines().collect();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    // One that finds none of its libraries says nothing, and would refuse nothing.
    assert!(said.contains("PROGRAM_END"), "rs274 did not run the program to its end ({}): {told}", ran.status);
    let refused = lines.windows(2).filter_map(|pair| Some((number(pair[1])?, pair[0].to_owned()))).collect();
    (said, refused)
}

#[test]
fn rs274_refuses_the_same_blocks() {
    let root = rs274();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut program = String::new();
    for number in 0..BLOCKS {
        let _ = write!(program, "N{number} ");
        block(&mut random, &mut program);
    }
    program.push_str("M2\n");
    let (_, theirs) = witness(&root, "blocks", &program);
    let mut rules = Rules::of(Firmware::LinuxCnc);
    let mut state = State::new(Family::Cnc);
    let (mut refused, mut missed, mut wrong) = (0_u32, Vec::new(), Vec::new());
    for (number, line) in (0..BLOCKS).zip(program.lines()) {
        let text = line.split_once(' ').map_or("", |(_, text)| text);
        let mut seen = Seen::default();
        let answer = rules.answer(text.as_bytes());
        let mut ours = answer.is_err();
        if !ours {
            let before = state.clone();
            state.execute(1, &Statement::of(&Block::new(text.as_bytes())), &mut seen);
            ours = seen.refused;
            if ours || theirs.contains_key(&number) {
                state = before;
            }
        }
        refused += u32::from(theirs.contains_key(&number));
        match (ours, theirs.get(&number)) {
            (true, None) => wrong.push(format!("{line}: {answer:?}")),
            (false, Some(reason)) => missed.push(format!("{line}: {reason}")),
            _ => {}
        }
    }
    println!("{refused} of {BLOCKS} blocks refused; missed {}, falsely refused {}", missed.len(), wrong.len());
    assert!(wrong.is_empty() && missed.len() <= refused as usize / 100, "missed {missed:#?}\nfalse {wrong:#?}");
}

/// A program as people write them: all of its lines are good.
fn program(random: &mut Random) -> String {
    let mut text = String::from("G21 G90 G17 G40 G94\nM3 S1000\nF500\n");
    let mut place = [0.0_f64; 2];
    for _ in 0..40 {
        let step = |random: &mut Random| random.below(400) as f64 / 10.0 - 20.0;
        let (x, y) = (step(random), step(random));
        let _ = match random.below(8) {
            0 => writeln!(text, "G0 X{x} Y{y} Z5"),
            1 => writeln!(text, "G91 G1 X{x} Y{y}\nG90"),
            2 => writeln!(text, "G53 G0 X{x} Y{y}"),
            3 => writeln!(text, "G20 G1 X{} Y{}\nG21", x / 25.0, y / 25.0),
            4 => writeln!(text, "G1 X{x} Y{y}\nG3 X{x} Y{y} I3 J4"),
            5 => writeln!(text, "G81 X{x} Y{y} Z-3 R2\nX{y}\nG80"),
            6 => writeln!(text, "G33 Z-{} K0.5", 1 + random.below(5)),
            _ => writeln!(text, "G1 X{x} Y{y} Z{}", -((random.below(30) as f64) / 10.0)),
        };
        place = [x, y];
    }
    let _ = writeln!(text, "G0 X{} Y{}\nM5", place[0], place[1]);
    text
}

#[test]
fn rs274_goes_to_the_same_places() {
    let root = rs274();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut worst = 0.0_f64;
    for batch in 0..BATCHES {
        let programs: Vec<String> = (0..PROGRAMS / BATCHES).map(|_| program(&mut random)).collect();
        // rs274 takes longer to start than to run: many programs go in one, told apart by a comment.
        let mut whole = programs.iter().fold(String::new(), |whole, text| whole + "(PROGRAM)\n" + START + text);
        whole.push_str("M2\n");
        let (said, refused) = witness(&root, &format!("programs{batch}"), &whole);
        assert!(refused.is_empty(), "{refused:?}");
        let mut unit = 1.0;
        let theirs: Vec<_> = said
            .split("COMMENT(\"PROGRAM\")")
            .skip(1)
            .map(|said| {
                boxed(said.lines().filter_map(|line| {
                    if line.contains("USE_LENGTH_UNITS") {
                        unit = if line.contains("INCHES") { 25.4 } else { 1.0 };
                    }
                    end_of(line).map(|end| end.map(|place| place * unit))
                }))
            })
            .collect();
        assert_eq!(theirs.len(), programs.len());
        let mut state = State::new(Family::Cnc);
        for (text, theirs) in programs.iter().zip(&theirs) {
            let mut seen = Seen::default();
            for line in START.lines().chain(text.lines()) {
                state.execute(1, &Statement::of(&Block::new(line.as_bytes())), &mut seen);
            }
            let ours = boxed(seen.ends.iter().copied());
            for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
                worst = worst.max((ours - theirs).abs());
            }
            assert!(worst <= 0.01, "{ours:?}, rs274 {theirs:?}:\n{text}");
        }
    }
    println!("{PROGRAMS} programs, the worst side of a box {worst:.4} mm off");
}

fn boxed(ends: impl Iterator<Item = [f64; 3]>) -> [[f64; 3]; 2] {
    ends.fold([[f64::INFINITY; 3], [f64::NEG_INFINITY; 3]], |[low, high], end| {
        [std::array::from_fn(|axis| low[axis].min(end[axis])), std::array::from_fn(|axis| high[axis].max(end[axis]))]
    })
}

/// Where a canonical command ends, in the program's coordinates, which are the machine's here.
fn end_of(line: &str) -> Option<[f64; 3]> {
    let (name, rest) = line.rsplit(' ').next().map(|_| line)?.split_once('(')?;
    let numbers: Vec<f64> = rest.trim_end_matches(')').split(',').filter_map(|part| part.trim().parse().ok()).collect();
    if name.ends_with("STRAIGHT_TRAVERSE") || name.ends_with("STRAIGHT_FEED") {
        return Some([*numbers.first()?, *numbers.get(1)?, *numbers.get(2)?]);
    }
    if name.ends_with("ARC_FEED") {
        return Some([*numbers.first()?, *numbers.get(1)?, *numbers.get(5)?]);
    }
    None
}
