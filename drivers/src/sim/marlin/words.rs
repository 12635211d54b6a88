//! What a simulated printer says in words: of commands it does not do, of itself, and beside the matter.
//!
//! After Marlin `parser.cpp`, `motion.cpp`, `planner.cpp`, `runout.cpp`; Repetier-Firmware `Commands.cpp`, `Printer.cpp`;
//! RepRapFirmware `GCodes.cpp`, `GCodes2.cpp`, `Tool.cpp`; Klipper `gcode.py`, `kinematics/extruder.py`; Smoothieware
//! `FilamentDetector.cpp`, which answers what it does not know like everything else.

use gcode_tools::rules::{Refusal, Rule};
use gcode_tools::time::Firmware;
use gcode_tools::words::{self, Effect};

use super::Marlin;
use crate::sim::printer::Counting;

/// Said beside the matter, now and then: nothing of it concerns a job.
const CHATTER: [&str; 9] = [
    "echo:SD init fail",
    "Error:volume.init failed",
    "Error:No thermistors - no temperature",
    "echo:enqueueing \"M105\"",
    "//action:notification Layer 3",
    "// a remark",
    "echo:Now fresh file: PART.GCO",
    "Warning: the fan is loud",
    "Info:Cold extrusion disallowed",
];

/// Said now and then where something is wrong: a job stops for each of them.
const COMPLAINTS: [&str; 6] = [
    "echo:endstops hit:  Z:0.00",
    "Error:TMC CONNECTION ERROR",
    "Error:Something nobody has heard of",
    "//action:pause",
    "// action:out_of_filament T0",
    "RequestPause:No Filament",
];

/// What comes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Wholly,
    /// Without what it would extrude.
    Cold,
    /// Not at all, and it says so.
    Not(Why),
}

/// Why a command is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Unknown,
    NotHomed,
    Cold,
    /// An arc without a centre.
    NoArc,
    /// What Klipper raises an error at.
    Refused(Refusal),
}

impl Marlin {
    /// What will come of a command that is about to be begun.
    pub(super) fn judge(&mut self, command: &[u8]) -> Done {
        let letter = command.first().copied().unwrap_or(0).to_ascii_uppercase();
        let value = self.reader().value(command, letter).unwrap_or(-1.0);
        if !self.knows(command, letter, value) {
            return Done::Not(Why::Unknown);
        }
        if let Err(refusal) = self.rules.answer(command) {
            return Done::Not(Why::Refused(refusal));
        }
        if !(letter == b'G' && (0.0..4.0).contains(&value)) {
            return Done::Wholly;
        }
        let counting = self.flavour.counting;
        if matches!(counting, Counting::Flush | Counting::Drop) && value >= 2.0 && !self.has_centre(command) {
            return Done::Not(Why::NoArc);
        }
        let complains = matches!(counting, Counting::Flush | Counting::Drop | Counting::Ignore);
        if complains && self.setup.must_home && self.moves_unhomed(command) {
            return Done::Not(Why::NotHomed);
        }
        let cold = self.setup.extrudes_above_c.is_some_and(|least| self.heaters.current_and_bed()[0].actual_c < least);
        match counting {
            _ if !cold || self.would_push(command) == 0.0 => Done::Wholly,
            Counting::Ignore => Done::Not(Why::Cold),
            _ => Done::Cold,
        }
    }

    /// Whether an axis that was not homed is to move: Klipper looks at the way (`check_move`), Marlin and
    /// `RepRapFirmware` at the word (`homing_needed_error` in `G0_G1.cpp`, `CheckEnoughAxesHomed`).
    fn moves_unhomed(&self, command: &[u8]) -> bool {
        let (given, from) = (self.reader().axes(command), self.motion.planned());
        let by_way = self.flavour.counting == Counting::Ignore;
        (0..3).any(|axis| {
            let moves = |value: f64| if self.absolute { value != from[axis] } else { value != 0.0 };
            !self.homed[axis] && given[axis].is_some_and(|value| !by_way || moves(value))
        })
    }

    /// Whether a G2 or G3 has something that makes it an arc (`G2_G3.cpp`: `STR_ERR_ARC_ARGS`; `GCodes.cpp`, `DoArcMove`).
    fn has_centre(&self, command: &[u8]) -> bool {
        b"IJKR".iter().any(|letter| self.reader().value(command, *letter).is_some_and(|value| value != 0.0))
    }

    /// Its firmware.
    fn firmware(&self) -> Firmware {
        Firmware::of_dialect(self.flavour.dialect).unwrap_or(Firmware::Marlin)
    }

    fn knows(&self, command: &[u8], letter: u8, value: f64) -> bool {
        let (klipper, any) = (self.flavour.identity.is_empty(), self.flavour.counting == Counting::Ask);
        let tenths = (value * 10.0).round().max(0.0) as u32;
        match letter {
            _ if self.setup.unknown.iter().any(|start| command.starts_with(start.as_bytes())) => false,
            // Klipper compares names: `G01` is none of its own (`gcode.py`).
            _ if klipper && command.get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') => {
                words::effect_of_command(Firmware::Klipper, command).is_known()
            }
            b'G' | b'M' | b'T' if klipper && !is_as_klipper_writes_it(command) => false,
            b'M' if tenths == 270 => self.setup.has_card,
            b'M' if tenths == 1130 => self.setup.host_keepalive || self.flavour.counting != Counting::Flush,
            b'G' | b'M' if value >= 0.0 => any || words::effect(self.firmware(), letter, tenths) != Effect::Unknown,
            b'T' if self.flavour.counting == Counting::Flush => {
                // `Tx`, `Tc` and `T?` are words of Prusa's filament changer.
                value >= 0.0 || matches!(command, b"T?" | b"Tx" | b"Tc" | b"TX" | b"TC")
            }
            // T-1 puts a tool away.
            b'T' => value >= 0.0 || any || self.flavour.counting == Counting::Drop,
            // What spoils half a line has a checksum that fits none.
            b'*' => true,
            _ => command.is_empty() || any,
        }
    }

    /// Says what did not come of a command, in front of its answer.
    pub(super) fn say_undone(&mut self, command: &[u8], number: Option<i64>, done: Done) {
        let text = String::from_utf8_lossy(command);
        let first_word = text.split(' ').next().unwrap_or_default();
        let said = match (done, self.flavour.counting) {
            (Done::Wholly, _) | (_, Counting::Ask) => return,
            (Done::Not(Why::Unknown), Counting::Flush) => format!("echo:Unknown command: \"{text}\"\n"),
            (Done::Not(Why::Unknown), Counting::Ignore) => format!("// Unknown command:\"{first_word}\"\n"),
            (Done::Not(Why::Unknown), Counting::Skip) => {
                let number = number.map(|number| format!("N{number} ")).unwrap_or_default();
                format!("Unknown command:{number}{text}\r\n")
            }
            (Done::Not(Why::Unknown), Counting::Drop) if text.starts_with(['G', 'M', 'T']) => {
                format!("Warning: {first_word}: Command is not supported\n")
            }
            (Done::Not(Why::Unknown), Counting::Drop) => format!("Error: Bad command: {text}\n"),
            (Done::Not(Why::NoArc), Counting::Drop) => "Error: G2/G3: no I J K or R parameter\n".to_owned(),
            (Done::Not(Why::NoArc), _) => "Error:G2/G3 bad parameters\n".to_owned(),
            (Done::Not(Why::Refused(refusal)), _) => format!("!! {}\n", klippers_words(refusal, &text)),
            (Done::Not(Why::NotHomed), Counting::Drop) => "Error: G0/G1: insufficient axes homed\n".to_owned(),
            (Done::Not(Why::NotHomed), Counting::Ignore) => "!! Must home axis first: 1.000 0.000 0.000 [0.000]\n".to_owned(),
            (Done::Not(Why::NotHomed), _) => "echo:Home XYZ First\n".to_owned(),
            (Done::Cold | Done::Not(Why::Cold), Counting::Flush) => "echo: cold extrusion prevented\n".to_owned(),
            (Done::Cold | Done::Not(Why::Cold), Counting::Ignore) => {
                "// Extrude below minimum temp\n// See the 'min_extrude_temp' config option for details\n\
                 !! Extrude below minimum temp\n"
                    .to_owned()
            }
            (Done::Cold | Done::Not(Why::Cold), Counting::Drop) => {
                "Warning: Tool 0 was not driven because its heater temperatures were not high enough or it has a heater \
                 fault\n"
                    .to_owned()
            }
            // Repetier drops the filament's part and says nothing.
            (Done::Cold | Done::Not(Why::Cold), Counting::Skip) => return,
        };
        self.out.extend_from_slice(said.as_bytes());
    }

    /// What it says besides, in front of the answer to a command.
    pub(super) fn say_besides(&mut self, command: &[u8]) {
        let texts = self.setup.says.iter().filter(|(start, _)| command.starts_with(start.as_bytes()));
        for (_, text) in texts {
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'\n');
        }
        let mut now_and_then = |permille: u32, texts: &[&str]| {
            if permille > 0 && self.random.below(1000) < u64::from(permille) {
                let text = texts[self.random.below(texts.len() as u64) as usize];
                self.out.extend_from_slice(text.as_bytes());
                self.out.push(b'\n');
            }
        };
        now_and_then(self.setup.chatter_permille, &CHATTER);
        now_and_then(self.setup.complaints_permille, &COMPLAINTS);
    }

    /// Its filament runs out, in the words of its firmware.
    pub(super) fn filament_is_out(&mut self) {
        let said: &[u8] = match self.flavour.counting {
            Counting::Flush => {
                b"//action:prompt_end\n//action:prompt_begin FilamentRunout T0\n//action:prompt_show\n\
                  //action:out_of_filament T0\n//action:pause filament_runout 0\n"
            }
            Counting::Skip => {
                b"important:Extruder jam detected\r\n// action:out_of_filament T0\r\nRequestPause:Extruder Jam Detected!\r\n"
            }
            Counting::Ask => b"// Filament Detector has detected a filament jam\r\n// action:pause\r\n",
            Counting::Drop => b"Error: Filament error on extruder 0: noFilament\n",
            Counting::Ignore => b"// action:paused\n",
        };
        self.out.extend_from_slice(said);
    }
}

/// Whether a code is written as Klipper has it: no zeros in front, no point.
fn is_as_klipper_writes_it(command: &[u8]) -> bool {
    let digits = command[1..].trim_ascii_start();
    let digits = &digits[..digits.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count()];
    !(digits.contains(&b'.') || digits.len() > 1 && digits[0] == b'0')
}

/// What Klipper raises (`gcode.py`, `gcode_move.py`, `gcode_arcs.py`).
fn klippers_words(refusal: Refusal, command: &str) -> String {
    let letter = char::from(refusal.letter);
    match refusal.rule {
        Rule::NoNumber if refusal.letter == 0 => format!("Malformed command '{command}'"),
        Rule::NoNumber => format!("Error on '{command}': unable to parse {letter}"),
        Rule::NotPositive if refusal.letter == b'F' => format!("Invalid speed in '{command}'"),
        Rule::NotPositive => format!("Error on '{command}': {letter} must be above 0"),
        Rule::Negative => format!("Error on '{command}': {letter} must have minimum of 0"),
        Rule::Missing if refusal.letter == 0 => "Unknown g-code state".to_owned(),
        Rule::Missing => format!("Error on '{command}': missing {letter}"),
        Rule::Units => "Machine does not support G20 (inches) command".to_owned(),
        Rule::Radius => "G2/G3 does not support R moves".to_owned(),
        Rule::NoCenter => "G2/G3 requires IJ, IK or JK parameters".to_owned(),
        _ => "G2/G3 does not support relative move mode".to_owned(),
    }
}
