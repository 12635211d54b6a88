//! What `check` passes, no simulated machine refuses; and what one passes over was told of with its line.
//!
//! Programs are made of blocks that nobody writes, of the recorded blocks that real firmwares were asked about, and of
//! lines of real programs. Each is checked, and what passes is said to the machine line by line, as it is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![allow(clippy::print_stdout, reason = "how many passed is for a person to see")]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use drivers::Moment;
use drivers::dialect;
use drivers::profile::Profile;
use drivers::sim::{Random, Setup, Simulated, simulated};
use gcode_tools::block::Block;
use gcode_tools::preflight::check;
use gcode_tools::wire::{self, Compacted};
use gcode_tools::words::{self, Effect, Firmwares};

/// Programs that are made up, over all firmwares.
const PROGRAMS: u32 = 100_000;

/// Firmwares, each with a profile of one of its machines.
const MACHINES: [(&str, &str); 8] = [
    ("grbl", "generic-grbl"),
    ("grblhal", "generic-grblhal"),
    ("fluidnc", "generic-fluidnc"),
    ("marlin", "generic-printer"),
    ("klipper", "voron-350"),
    ("reprapfirmware", "jubilee"),
    ("repetier", "generic-printer"),
    ("smoothieware", "generic-printer"),
];

/// Steps of a machine until it has answered a line.
const STEPS_MAX: u32 = 20_000;

/// Lines that programs are made of.
struct Lines {
    mill: Vec<String>,
    printer: Vec<String>,
    klipper: Vec<String>,
}

impl Lines {
    fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gcode-tools/tests");
        let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        let verdicts = |name: &str| -> Vec<String> {
            let text = text(&folder.join("verdicts").join(name));
            text.lines().filter_map(|line| Some(line.split_once('\t')?.1.to_owned())).collect()
        };
        let mut lines = Self { mill: verdicts("grbl.tsv"), printer: Vec::new(), klipper: verdicts("klipper.tsv") };
        lines.mill.extend(verdicts("grblhal.tsv"));
        for folder in ["data/field", "data/bad", "data/good"].map(|name| folder.join(name)) {
            let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            for path in paths {
                let printer = path.extension().is_some_and(|end| end == "gcode");
                let own = if printer { &mut lines.printer } else { &mut lines.mill };
                own.extend(
                    text(&path)
                        .lines()
                        .take(400)
                        .filter(|line| line.len() < 200 && !line.contains('\r'))
                        .map(str::to_owned),
                );
            }
        }
        lines
    }
}

const MILL_CODES: &[&str] = &[
    "G0", "G1", "G1", "G2", "G3", "G4", "G10", "G17", "G18", "G20", "G21", "G28", "G38.2", "G43.1", "G49", "G53",
    "G54", "G80", "G90", "G91", "G92", "G93", "G94", "G81", "G01", "g1", "G1.0", "M3", "M4", "M5", "M7", "M8", "M9",
    "M0", "M6", "M30", "T1",
];
const MILL_WORDS: &[&str] = &[
    "X1", "Y2", "Z-1", "X5", "F100", "F100", "S500", "I1", "J0.5", "R2", "P1", "P0.5", "L2", "K1", "Q1", "X", "(a)",
    "x+.5", "N5", "E1", "A2", "Y-0", "F0", "P-1", "X 1 0", "Z1e3",
];
const MILL_LINES: &[&str] = &[
    "$H",
    "$X",
    "$G",
    "$#",
    "$$",
    "$I",
    "$J=G91X1F100",
    "$J=X1",
    "$C",
    "$1=5",
    "$N0=G21",
    "%",
    "/G1X1F100",
    "(a (b))",
    "G1 X1 F100 ; M8 M9",
    "M3S1000",
    "N10 G0 X1*71",
    "[ESP800]",
    "O1 call",
    "M98 P1",
    "M2",
    "#1=5",
    "G1 X#1 F5",
];
const PRINTER_CODES: &[&str] = &[
    "G0", "G1", "G1", "G1", "G2", "G3", "G4", "G10", "G11", "G20", "G21", "G28", "G29", "G90", "G91", "G92", "G53",
    "G54", "G17", "M82", "M83", "M104", "M109", "M140", "M190", "M106", "M107", "M117", "M101", "M103", "M204", "M220",
    "M221", "M201", "M203", "M205", "M73", "M400", "M84", "M115", "M900", "M1234", "T0", "T1", "G01", "g1", "M486",
    "M862", "G5", "M3", "M5", "M7", "M42", "G60", "M120", "M121", "G42", "G77", "M18", "M566", "M572", "M593",
];
const PRINTER_WORDS: &[&str] = &[
    "X10", "Y12", "Z0.2", "X50.5", "E1", "E0.4", "E-2", "F1800", "F600", "S210", "S60", "S0", "S100", "I5", "J0", "I0",
    "R10", "P0", "P1", "T0", "X", "F0", "E", "S", "R90", "X-1", "C50", "hello", "; x", "S-5", "P500",
];
const PRINTER_LINES: &[&str] = &[
    "G28",
    "G28 X",
    "M109 S210",
    "M109 R210",
    "M109 S210",
    "G1 X10 Y10 F3000",
    "G92 E0",
    "SAVE_GCODE_STATE NAME=a",
    "RESTORE_GCODE_STATE NAME=a",
    "SET_GCODE_OFFSET Z=0.1",
    "PRINT_START",
    "X10",
    "M84",
    "M104 S0",
    "G4 S20",
    "SET_VELOCITY_LIMIT ACCEL=0",
    "SET_PRESSURE_ADVANCE ADVANCE",
    "TURN_OFF_HEATERS",
    "G10 P0 S210",
    "M116",
    "M568 P0 S210",
    "G1 X10 G1 Y10",
    "T?",
    "Tx",
    "hello",
    "M117 a\"b",
    "M118 E1 hi",
    "G1X10Y10E1",
    "G1 X10Y20E2",
    "if true",
    "M302 S150",
    "G1 E5 F300",
    "G1 E5 F300",
    "(a)",
    "G92",
    "T-1",
];

fn one<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    of[random.below(of.len() as u64) as usize]
}

/// A block as nobody writes them, and some do.
fn block(random: &mut Random, codes: &[&str], words: &[&str], text: &mut String) {
    for _ in 0..[0, 1, 1, 1, 1, 1, 2][random.below(7) as usize] {
        let _ = write!(text, "{} ", one(random, codes));
    }
    for _ in 0..random.below(5) {
        let _ = write!(text, "{} ", one(random, words));
    }
    text.push('\n');
}

fn program(random: &mut Random, lines: &Lines, dialect: &str, printer: bool) -> String {
    let mut text = String::new();
    match (printer, random.below(4)) {
        (false, 0) => {}
        (false, _) => text.push_str("G21 G90\n"),
        (true, 0) => text.push_str("G28\n"),
        (true, 1) => text.push_str("G28\nT0\nM83\nM109 S210\n"),
        (true, _) => text.push_str("G90\nM83\nG28\nM109 S215\nG1 X5 Y5 Z0.3 F3000\n"),
    }
    let (codes, words, whole, recorded) = if printer {
        let recorded = if dialect == "klipper" { &lines.klipper } else { &lines.printer };
        (PRINTER_CODES, PRINTER_WORDS, PRINTER_LINES, recorded)
    } else {
        (MILL_CODES, MILL_WORDS, MILL_LINES, &lines.mill)
    };
    for _ in 0..=random.below(3) {
        match random.below(6) {
            0 | 1 => {
                text.push_str(&recorded[random.below(recorded.len() as u64) as usize]);
                text.push('\n');
            }
            2 => {
                text.push_str(one(random, whole));
                text.push('\n');
            }
            _ => block(random, codes, words, &mut text),
        }
    }
    text
}

/// How a machine answered a line.
#[derive(Debug, PartialEq)]
enum Answer {
    Taken,
    Refused(String),
    /// A probe that touches nothing: that is for the work to say.
    Alarm,
}

/// A machine that is told one line after the other.
struct Told {
    machine: Box<dyn Simulated>,
    now: Moment,
    printer: bool,
}

impl Told {
    fn new(dialect: &str, profile: &Profile, printer: bool, ready: bool) -> Self {
        let setup = Setup {
            speed: 1000.0,
            host_keepalive: false,
            must_home: profile.motion.homing_required && !ready,
            extrudes_above_c: profile.heat.as_ref().map(|heat| heat.extrude_min_c),
            receive_buffer_bytes: 4096,
            found_hot_c: if ready { [210.0, 60.0] } else { [0.0; 2] },
            ..Setup::default()
        };
        let mut told = Self { machine: simulated(dialect, &setup).unwrap(), now: Moment::ZERO, printer };
        if !printer {
            told.machine.reset(told.now);
        }
        told.machine.say(&mut Vec::new());
        told
    }

    /// Says a line, and lets it be done to its end.
    fn say(&mut self, line: &[u8]) -> Answer {
        let mut said = Vec::new();
        self.machine.hear(self.now, &[line, b"\n"].concat());
        for _ in 0..STEPS_MAX {
            self.machine.say(&mut said);
            if let Some(answer) = answer(&said) {
                return answer;
            }
            match self.machine.wakes_at() {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.machine.advance(self.now);
                }
                // It waits for a person.
                None => self.machine.hear(self.now, if self.printer { b"M108\n" } else { b"~" }),
            }
        }
        Answer::Refused(format!("no answer but {}", said[..said.len().min(200)].escape_ascii()))
    }
}

fn answer(said: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(said);
    let whole = text.rsplit_once('\n')?.0;
    if whole.lines().any(|line| matches!(line, "ALARM:4" | "ALARM:5")) {
        return Some(Answer::Alarm);
    }
    let refusal = |line: &&str| ["error:", "ALARM:", "!! "].iter().any(|start| line.starts_with(start));
    if let Some(line) = whole.lines().find(refusal) {
        return Some(Answer::Refused(line.to_owned()));
    }
    whole.lines().any(|line| line.starts_with("ok")).then_some(Answer::Taken)
}

#[test]
fn what_check_passes_no_simulated_machine_refuses() {
    let lines = Lines::read();
    let machines = MACHINES.len() as u32;
    // Two threads: a machine's programs do not depend on another's.
    let found: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
        let lines = &lines;
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                let own = MACHINES.into_iter().skip(half).step_by(2);
                own.map(|(dialect, name)| run(dialect, name, PROGRAMS / machines, lines)).collect::<Vec<_>>()
            })
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    let (refused, first): (Vec<usize>, Vec<Vec<String>>) = found.into_iter().unzip();
    assert!(refused.iter().sum::<usize>() == 0, "{refused:?} were refused, such as {:#?}", first.concat());
}

/// How many programs were refused that had passed, and the first of them.
fn run(dialect: &str, name: &str, programs: u32, lines: &Lines) -> (usize, Vec<String>) {
    let mut profile = Profile::named(name).unwrap();
    dialect.clone_into(&mut profile.dialect);
    let habits = dialect::named(dialect).unwrap().habits();
    let mut random = Random::new(0x9E37_79B9);
    let (mut passed, mut said, mut wrong) = (0_u32, 0_u32, Vec::new());
    for _ in 0..programs {
        let text = program(&mut random, lines, dialect, habits.printer);
        let verdict = check(text.as_bytes(), &profile);
        if !verdict.passes() {
            continue;
        }
        passed += 1;
        let told: HashSet<u64> = verdict.findings.iter().map(|finding| finding.line).collect();
        // A program that leaves heating or homing to others, or to a macro, is started on a printer that is hot and homed.
        let found = |code: &str| verdict.findings.iter().any(|finding| finding.code == code);
        let ready = found("word.macro") || found("heat.cold_extrusion");
        let mut machine = Told::new(dialect, &profile, habits.printer, ready);
        for (number, line) in (1..).zip(text.lines()) {
            let mut sent = Vec::new();
            let numbers = habits.numbers.any;
            if wire::write(&Block::new(line.as_bytes()), habits.alphabet(), numbers, &mut sent) == Compacted::Nothing
                || sent.is_empty()
            {
                continue;
            }
            let ignored = machine.machine.report().ignored;
            said += 1;
            let answer = machine.say(&sent);
            let report = machine.machine.report();
            if answer == Answer::Alarm {
                break;
            }
            if answer != Answer::Taken {
                wrong.push(format!("{answer:?} to line {number} of\n{text}"));
                break;
            }
            // That the motors were let go is told of the first move behind it.
            if report.ignored > ignored && !told.contains(&number) && !found("home.missing") {
                wrong.push(format!("line {number} was passed over without a word:\n{text}"));
                break;
            }
            // What stands behind the end of a mill's program is not said.
            let ends = |(letter, tenths)| words::effect_of_any(Firmwares::CNC, letter as u8, tenths) == Effect::Ends;
            if !habits.printer && Block::new(line.as_bytes()).codes().any(ends) {
                break;
            }
            if report.misread > 0 {
                wrong.push(format!("line {number} was misread, as {}:\n{text}", sent.escape_ascii()));
                break;
            }
        }
    }
    println!("{dialect}: {passed} of {programs} programs pass, {said} lines said, {} refused", wrong.len());
    assert!(passed > programs / 50, "{dialect}: only {passed} of {programs} passed");
    (wrong.len(), wrong.into_iter().take(12).map(|it| format!("{dialect}: {it}")).collect())
}
