//! Several commands on one line: most printers run one of them, and pass over the rest without a word.

use super::lines::shown;
use super::{Preflight, Severity};
use crate::block::{Block, Word};
use crate::time::Firmware;
use crate::words::code_name;

/// Whether a firmware takes one command from a line, whatever else stands on it.
///
/// Marlin reads one code and takes every letter behind it for a parameter (`parser.cpp`, `parse`), as Prusa's does
/// (`Marlin_main.cpp`, `process_commands`) and Klipper (`gcode.py`, `_process_commands`). Repetier keeps one number for each
/// letter, the last, and runs G before M before T (`gcode.cpp`, `parseAscii`; `Commands.cpp`, `executeGCode`).
/// Smoothieware cuts the line at each G and M (`GcodeDispatch.cpp`), `RepRapFirmware` at each command
/// (`StringParser.cpp`, `FindParameters`), and CNC firmwares read a block as RS274NGC does.
fn runs_one(firmware: Firmware) -> bool {
    // Bambu's own is a descendant of Marlin.
    matches!(firmware, Firmware::Marlin | Firmware::Bambu | Firmware::Repetier | Firmware::Klipper)
}

/// Whether another command may stand behind this one: Marlin's G53 reads on (`G53-G59.cpp`, `chain`), and a macro's text
/// is commands (`M810-M819.cpp`).
fn takes_another(letter: u8, tenths: u32) -> bool {
    matches!((letter, tenths), (b'G', 530) | (b'M', 8100..=8190))
}

/// The code of a word that begins a command. T behind another is a parameter: `M104 T1 S200`.
fn command(word: &Word) -> Option<(u8, u32)> {
    let (_, tenths) = word.code()?;
    matches!(word.letter, b'G' | b'M').then_some((word.letter, tenths))
}

impl Preflight<'_> {
    /// Refuses a line whose second command the firmware would not run.
    #[cold]
    pub(super) fn check_several(&mut self, line: u64, block: &Block) {
        if !runs_one(self.firmware) {
            return;
        }
        let mut words = block.words().filter(|word| word.letter != b'N');
        let Some(first) = words.next() else { return };
        let Some((_, tenths)) = first.code().filter(|(_, tenths)| !takes_another(first.letter, *tenths)) else {
            return;
        };
        let Some((second, word)) = words.find_map(|word| Some((command(&word)?, word))) else { return };
        self.findings.add_offset(
            line,
            word.span.start,
            Severity::Error,
            "line.several_commands",
            format!(
                "{} and {} stand on one line (`{}`): this firmware runs one of them and passes over the other.",
                code_name(first.letter, tenths),
                code_name(second.0, second.1),
                shown(block.bytes()),
            ),
            "Write each command on a line of its own.",
        );
    }
}
