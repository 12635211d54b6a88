//! Dialects: what a machine's replies mean and how a command is spelled. A dialect is a vocabulary, not a driver.
//!
//! A dialect is immutable and knows no conversation: it holds no state, no clock and no link. What differs between
//! firmwares in *conversation* (numbered lines, buffer sizes, how the end of motion is proven) is data in
//! [`Habits`], so that the session contains no firmware's name.

use gcode_tools::wire::{Alphabet, Numbers};
use serde::{Deserialize, Serialize};

use crate::flow::Limits;
use crate::interlock::Cleared;
use crate::request::{Jog, Override, Probe};

mod fluidnc;
mod grbl;
mod grbl_codes;
mod grblhal;
mod host_action;
mod klipper;
mod mailbox;
mod marlin;
mod program_file;
mod repetier;
mod reply;
mod reprapfirmware;
mod smoothieware;
mod words;

pub use reply::{Card, Condition, HostAction, Prompt, Reply, Status};
pub use words::{Effect, Said, tables as tables_of_words};

/// Every dialect. A new one is a file and a line here.
pub static ALL: &[&dyn Dialect] = &[
    &marlin::MARLIN,
    &grbl::GRBL,
    &grblhal::GRBLHAL,
    &fluidnc::FLUIDNC,
    &smoothieware::SMOOTHIEWARE,
    &reprapfirmware::REPRAPFIRMWARE,
    &repetier::REPETIER,
    &klipper::KLIPPER,
    &mailbox::Mailbox,
    &program_file::ProgramFile,
];

/// How surely a line comes from a machine of a dialect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Likeness {
    /// Nothing says so.
    #[default]
    None,
    /// The dialect's machines say this, and so do those of its kin.
    Kin,
    /// Only the dialect's machines say this.
    Proof,
}

/// The dialect of that name.
pub fn named(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.habits().name == name)
}

/// The dialect whose machine said this line, if the line shows one, and how surely.
pub fn of_line(line: &[u8]) -> Option<(&'static dyn Dialect, Likeness)> {
    let mut best = None;
    for dialect in ALL.iter().copied() {
        let likeness = dialect.likeness(line);
        if likeness > best.map_or(Likeness::None, |(_, best)| best) {
            best = Some((dialect, likeness));
        }
    }
    best
}

/// Words that only ever calm a machine. They alone may skip the queue and the interlock. Resume is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calm {
    /// Stand still, keep everything.
    Hold,
    /// Emergency stop.
    Halt,
    /// Say how you are.
    Query,
    /// After a hold: drop what is queued, keep the position.
    Drop,
    /// Stop waiting for a temperature.
    StopWaiting,
    /// End a jog and forget what is queued of it. As a line, only a machine that acts on it out of its turn may be
    /// asked (`EMERGENCY_PARSER`), and its position is lost.
    EndJog,
    /// Switch the spindle or beam off while standing in a hold. The word turns it back as well: it is said once, and
    /// only where the machine reports that it is on.
    SpindleOffInHold,
}

/// A word of the agent's own, said with the interlock's clearance.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// Home all axes.
    Home,
    /// A person looked at the machine: clear the alarm.
    Unlock,
    /// A jog.
    Jog(Jog),
    /// A probing move.
    Probe(Probe),
    /// An override.
    Override(Override),
    /// A step on the way to an override, from what the machine reports.
    OverrideStep {
        /// What it reports, in percent.
        from: u32,
        /// What it is to be.
        to: Override,
    },
    /// Lift the tool.
    Lift(Lift),
    /// Answer the machine's question with the choice at this place, from 0.
    Choose(u8),
    /// Back to absolute coordinates, after a probing move that failed half-way.
    Absolute,
}

/// A lift of the tool along Z.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lift {
    /// By how much, in millimetres.
    pub by_mm: f64,
    /// Where it ends in machine coordinates, in millimetres.
    pub to_mm: f64,
    /// Feed in mm/min, where one is said.
    pub feed_mm_min: f64,
}

/// How a word is put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spelling {
    /// Bytes that the machine acts on at once and that get no answer of their own.
    Realtime(Vec<u8>),
    /// Lines that take their turn in the window and are answered.
    Lines(Vec<String>),
    /// The machine has no such word.
    None,
}

/// How the end of motion is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MotionEnd {
    /// These commands are said after the last line; the second is answered with a position only when the first,
    /// which waits for the planner, is through.
    Commands(&'static [&'static str]),
    /// The machine reports that it is idle, twice, after the last line was answered.
    IdleReport,
    /// Lines are kept as a program, which runs when this is said after the last of them. Then the machine reports that
    /// it is idle, twice, once it has said that the program came to its end.
    Started(&'static str),
}

/// How a machine is asked how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// By a real-time byte, this often.
    Realtime {
        /// Milliseconds between questions.
        every_ms: u64,
    },
    /// By commands that take their turn, this often.
    Commands {
        /// Milliseconds between questions.
        every_ms: u64,
        /// The commands.
        commands: &'static [&'static str],
    },
}

/// How a machine's line counter is set, and how it is made sure that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Sets the counter to zero.
    pub reset: &'static str,
    /// A harmless question, said as line 1: only a machine that waits for line 1 takes it. Without it, a damaged
    /// reset and a doubled answer together could make the machine skip the first lines of a job.
    pub proof: &'static str,
}

/// How a firmware converses: data, so that the session needs no firmware's name.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own, not a state")]
pub struct Habits {
    /// Name in configurations and on the command line.
    pub name: &'static str,
    /// Whether it is a printer's firmware: messages may hold any text, and a dwell's P is milliseconds. To the others
    /// some characters are commands wherever they stand, and P is seconds.
    pub printer: bool,
    /// Whether lines of a job carry a number and a checksum and can be asked for again.
    pub numbered: bool,
    /// How the machine's line counter is set before a job, where lines are numbered.
    pub counter: Option<Counter>,
    /// Whether its lines travel in Modbus registers and not as text on a line of their own.
    pub registers: bool,
    /// How much may be in flight when neither profile nor machine says otherwise.
    pub window: Limits,
    /// Longest command the machine takes, without line end.
    pub line_max: usize,
    /// How it reads the number behind a letter.
    pub numbers: NumbersRead,
    /// What is said before that: half a line, left in the machine by a pulled cable or another program, must end there
    /// and must not be run.
    pub spoils: &'static str,
    /// What is said to find out who is there.
    pub identify: &'static str,
    /// Whether a line is answered when it is taken and not when it is done. The answer to the next one then shows that
    /// it is done.
    pub ok_when_taken: bool,
    /// Whether an `ok` may follow a request to say a line again, that answers no line.
    pub ok_after_resend: bool,
    /// Whether a machine is taken for one of these only when it said what no other firmware says. Without, what its
    /// kin say is enough: old and re-badged builds name themselves as they like.
    pub needs_proof: bool,
    /// Whether a machine that was reset says a banner by itself.
    pub banner: bool,
    /// How its condition is asked for.
    pub asking: Asking,
    /// How the end of motion is proven.
    pub motion_end: MotionEnd,
    /// Blocks in the planner when neither profile nor machine says: lines accepted and perhaps not yet executed.
    pub planner_blocks: u32,
    /// What asks for its settings that matter to protection, and for what is on, where it has such questions.
    pub settings: &'static [&'static str],
    /// What asks for its work offsets and the codes in force, where it has such questions.
    pub place: &'static [&'static str],
    /// What arms its own timer for a silent host, in front of the seconds, where it has one.
    pub inactivity: Option<&'static str>,
    /// Whether it says by itself, while a long command runs, that it is busy.
    pub keepalive: bool,
    /// The word that makes sure that it does, where it has one.
    pub keepalive_word: Option<&'static str>,
    /// What asks whether it prints from its own card, or for somebody else, where it has such a question.
    pub card: Option<&'static str>,
    /// Whether it knows M6. To one that does not, the agent says nothing and waits for a person itself.
    pub tool_change: bool,
    /// How it reports temperatures by itself, where it can.
    pub auto_report: Option<AutoReport>,
    /// When it acts on an emergency stop.
    pub stop: StopHabit,
    /// What a machine is asked that halted without saying why.
    pub asks_why: Option<&'static str>,
    /// Whether a G1 is answered before it is planned, so that what is said of it comes behind its answer.
    pub answers_moves_early: bool,
    /// Whether one error makes it refuse every later line, with the same words, until an empty line.
    pub error_sticks: bool,
    /// How long, in seconds, it may say that it is idle while a line waits for its spindle to come to speed.
    pub spindle_waits_s: u64,
    /// How a person brings it back after an emergency stop, a halt or an alarm, in a sentence.
    pub way_out: &'static str,
}

/// How a machine reports something by itself, so that it need not be asked between the lines of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoReport {
    /// The capability that says that it can.
    pub capability: &'static str,
    /// The word that switches it on.
    pub word: &'static str,
    /// The question that it replaces.
    pub question: &'static str,
}

/// How a firmware reads numbers, as far as that is known.
#[derive(Debug, Clone, Copy)]
pub struct NumbersRead {
    /// What any version and port of it may do.
    pub any: Numbers,
    /// What is known of those that name themselves so, and then this version or a later one.
    pub since: &'static [(&'static str, [u32; 2], Numbers)],
}

impl NumbersRead {
    /// Every version reads them so.
    pub const fn always(any: Numbers) -> Self {
        Self { any, since: &[] }
    }

    /// How the firmware that names itself so reads them.
    pub fn by(&self, firmware: &str) -> Numbers {
        let known = self.since.iter().find(|(name, since, _)| {
            firmware.strip_prefix(name).and_then(version).is_some_and(|version| version >= *since)
        });
        known.map_or(self.any, |(_, _, numbers)| *numbers)
    }
}

/// The first two numbers of a version: of `2.1.2.4`, `2.0.x` and `3.13`.
fn version(text: &str) -> Option<[u32; 2]> {
    let mut numbers = text.split(|byte: char| !byte.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some([major, minor]),
        _ => None,
    }
}

/// When a firmware acts on an emergency stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopHabit {
    /// As its bytes arrive, whatever waits before them.
    AtOnce,
    /// As its bytes arrive where it was built with an emergency parser (`EMERGENCY_PARSER`); otherwise in turn.
    Parser,
    /// When it comes to the line: after those before it.
    InTurn,
}

impl Habits {
    /// Which bytes it takes as text.
    pub fn alphabet(&self) -> Alphabet {
        if self.printer { Alphabet::Printer } else { Alphabet::Grbl }
    }

    /// Whether a command makes the machine tell where it is, and with that prove the end of motion.
    pub fn asks_position(&self, text: &[u8]) -> bool {
        matches!(self.motion_end, MotionEnd::Commands([.., proof]) if text.starts_with(proof.as_bytes()))
    }

    /// That command, where it is one of the machine's questions.
    pub fn position_question(&self) -> Option<&'static str> {
        match self.asking {
            Asking::Commands { commands, .. } => {
                commands.iter().copied().find(|command| self.asks_position(command.as_bytes()))
            }
            Asking::Realtime { .. } => None,
        }
    }

    /// Whether nothing but the answers to commands shows that it stands still: it does not report what it does.
    pub fn stands_by_word(&self) -> bool {
        matches!((self.asking, self.motion_end), (Asking::Commands { .. }, MotionEnd::Commands(_)))
    }

    /// Whether lines are kept as a program that runs when all are there.
    pub fn keeps_lines(&self) -> bool {
        matches!(self.motion_end, MotionEnd::Started(_))
    }
}

/// A vocabulary: what replies mean, how commands are spelled.
pub trait Dialect: Send + Sync + std::fmt::Debug {
    /// How the firmware converses.
    fn habits(&self) -> &Habits;

    /// What a line of the machine says. Never fails: anything means something, if only chatter.
    fn read(&self, line: &[u8], heard: &mut Vec<Reply>);

    /// How surely the line comes from a machine of this dialect.
    fn likeness(&self, line: &[u8]) -> Likeness;

    /// Puts a cleared command on the wire, with its number where lines are numbered.
    fn spell(&self, command: Cleared<'_>, number: Option<u64>, out: &mut Vec<u8>);

    /// How a calming word is said.
    fn calm(&self, word: Calm) -> Spelling;

    /// How a word of the agent's own is said. Lines still need the interlock's clearance.
    fn word(&self, word: &Word) -> Spelling;

    /// How "go on" is said after a hold. Not a calming word: only a person's request leads here.
    fn resume(&self) -> Spelling;
}

/// Largest text kept from a machine's message, in characters. Machines talk in lines; a longer one is noise.
pub const MESSAGE_CHARS_MAX: usize = 200;

/// A machine's text as it may be kept: printable, bounded. It is still hostile where it is shown.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|character| !character.is_control())
        .take(MESSAGE_CHARS_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn any_bytes_mean_something_in_every_dialect() {
        let mut state = 1_u64;
        let mut heard = Vec::new();
        let seeds: [&[u8]; 8] = [
            b"ok N12 P15 B3",
            b"Resend: 12",
            b"<Idle|MPos:0.000,0.000,0.000|FS:0,0|Bf:15,128|WCO:1,2,3|Ov:100,100,100>",
            b"ok T:20.0 /0.0 B:20.0 /0.0 @:0",
            b"X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0",
            b"[OPT:V,15,128]",
            b"ALARM:1",
            b"FIRMWARE_NAME:Marlin 2.1 SOURCE_CODE_URL:x UUID:y",
        ];
        for round in 0..40_000 {
            let mut line = seeds[round % seeds.len()].to_vec();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % line.len();
                line[at] = (state >> 17) as u8;
            }
            line.truncate(1 + (state >> 40) as usize % line.len());
            for dialect in ALL {
                heard.clear();
                dialect.read(&line, &mut heard);
                dialect.likeness(&line);
            }
        }
    }

    #[test]
    fn a_machine_of_one_dialect_is_never_taken_for_another() {
        let proofs: [(&[u8], &str); 14] = [
            (b"FIRMWARE_NAME:Smoothieware, FIRMWARE_URL:http%3A//smoothieware.org", "smoothieware"),
            (b"FIRMWARE_NAME: RepRapFirmware for Duet 3 MB6HC FIRMWARE_VERSION: 3.5.3", "reprapfirmware"),
            (b"RepRapFirmware for Duet 3 MB6HC is up and running.", "reprapfirmware"),
            (b"FIRMWARE_NAME:Repetier_1.0.4 COMPILED:Aug  3 2022", "repetier"),
            (b"ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.12.0", "klipper"),
            (b"Grbl 1.1h ['$' for help]", "grbl"),
            (b"[VER:1.1h.20190825:]", "grbl"),
            (b"GrblHAL 1.1f ['$' or '$HELP' for help]", "grblhal"),
            (b"[OPT:VNMSL,100,1024,3,0]", "grblhal"),
            (b"[FIRMWARE:grblHAL]", "grblhal"),
            (b"Grbl 3.9 [FluidNC v3.9.9 (esp32-wifi) '$' for help]", "fluidnc"),
            (b"[VER:3.9 FluidNC v3.9.9 (esp32-wifi) :]", "fluidnc"),
            (b"FIRMWARE_NAME:Marlin 2.1.2.4 (Jul 1 2024 12:00:00) SOURCE_CODE_URL:x PROTOCOL_VERSION:1.0", "marlin"),
            (b"echo:Marlin 2.1.2", "marlin"),
        ];
        for (line, name) in proofs {
            assert_eq!(of_line(line).map(|(dialect, _)| dialect.habits().name), Some(name));
        }
        assert!(of_line(b"ok").is_none());
        assert!(of_line(b"start").is_none());
    }
}
