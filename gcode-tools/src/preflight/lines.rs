//! Checks of one line by itself: its text, its words, what the firmware makes of them.

use super::finding::Place;
use super::words;
use super::{Preflight, Severity};
use crate::block::{Block, CommentStyle, Item, Shape, Word};
use crate::interpret::{Family, State};
use crate::read::{Line, LineEnd};
use crate::rules::Refusal;
use crate::statement::{Form, Statement};
use crate::time::Firmware;
use crate::wire::{self, Alphabet, Numbers};
use crate::words::code_name;

/// Grbl's line buffer holds 80 bytes with its end (`LINE_BUFFER_SIZE`): one more is error 11.
const GRBL_LINE_BYTES: usize = 79;

/// grblHAL and FluidNC take 256 bytes with the end.
const GRBLHAL_LINE_BYTES: usize = 255;

/// Marlin's `MAX_CMD_SIZE` is 96 with the end.
const MARLIN_LINE_BYTES: usize = 95;

/// LinuxCNC's `LINELEN` is 255 with the end.
const LINUXCNC_LINE_BYTES: usize = 254;

/// RepRapFirmware's longest command.
const REPRAPFIRMWARE_LINE_BYTES: usize = 255;

/// A raw line longer than this is told of even if it is only a comment.
const LONG_LINE_BYTES: u64 = 4096;

/// Subprogram calls kept to be matched with what the file defines.
pub(super) const SUBS_MAX: usize = 4096;

/// Longest line the firmware takes, in bytes as sent.
pub(super) fn line_bytes_max(firmware: Firmware, is_named: bool) -> usize {
    match firmware {
        Firmware::Grbl if is_named => GRBL_LINE_BYTES,
        Firmware::Grbl | Firmware::GrblHal | Firmware::FluidNc => GRBLHAL_LINE_BYTES,
        Firmware::LinuxCnc => LINUXCNC_LINE_BYTES,
        Firmware::Marlin | Firmware::Bambu | Firmware::Repetier | Firmware::Smoothieware => MARLIN_LINE_BYTES,
        Firmware::RepRapFirmware => REPRAPFIRMWARE_LINE_BYTES,
        Firmware::Klipper => usize::MAX,
    }
}

impl Preflight<'_> {
    #[inline]
    pub(super) fn check_line(&mut self, line: &Line, block: &Block, statement: &Statement, state: &State) {
        self.line_ends_rewritten |= matches!(line.end, LineEnd::CrLf | LineEnd::Cr);
        if line.bytes.first() == Some(&b';') {
            self.check_comment(line);
            return;
        }
        if line.bytes.first() == Some(&b'(') {
            self.slicer.comment(crate::analysis::inside(line.bytes), line.number);
        }
        if line.bytes.len() > self.line_bytes_max || line.length > LONG_LINE_BYTES {
            self.check_length(line, block);
        }
        if !statement.plain || line.marked {
            self.check_odd_line(line, block, statement);
        }
        if statement.form == Form::Blank {
            return;
        }
        self.commands += 1;
        if self.commands == 1 {
            self.slicer.commands_begin();
        }
        if self.slicer.in_thumbnail() {
            self.broken_thumbnail();
        }
        if statement.form == Form::Words {
            if state.modal.ended || self.percents > 1 {
                self.after_end(line.number);
                return;
            }
            self.refused = match self.rules.answer_statement(statement) {
                Some(answer) => answer.err(),
                None => self.ask_as_sent(block, state),
            };
            if self.refused.is_some() {
                self.forgive(statement);
            }
            self.check_words(line.number, block, statement, state);
        } else if statement.form == Form::Extended {
            self.refused = self.rules.answer(block.bytes()).err();
        }
    }

    /// What the firmware answers to the line as it is sent: without comments, spaces and line numbers.
    #[cold]
    fn ask_as_sent(&mut self, block: &Block, state: &State) -> Option<Refusal> {
        self.scratch.clear();
        if self.family == Family::Printer {
            wire::write(block, Alphabet::Printer, Numbers::Exponents, &mut self.scratch);
        } else {
            wire::compact_for(block, Alphabet::Grbl, &mut self.scratch);
        }
        let answer = self.rules.answer_at(&self.scratch, Some(state)).err();
        self.scratch.truncate(LONG_LINE_BYTES as usize);
        self.scratch.shrink_to(LONG_LINE_BYTES as usize);
        answer
    }

    /// A code that the profile says its machine takes is not refused, nor is M6 where a person changes tools.
    #[cold]
    fn forgive(&mut self, statement: &Statement) {
        let Some((letter, tenths)) = self.refused.and_then(|refusal| refusal.code) else { return };
        if self.is_extra(code_name(letter, tenths).as_bytes()) || self.is_persons_change(statement, letter, tenths) {
            self.refused = None;
        }
    }

    /// Tells why the firmware refuses a line, where nothing that was found on it says so better.
    #[cold]
    pub(super) fn tell_refusal(&mut self, line: u64, refusal: &Refusal) {
        if self.findings.explains_refusal(line) {
            return;
        }
        let place = match refusal.code {
            Some((letter, tenths)) => Place::Code(letter, tenths),
            None => Place::Letter(refusal.letter),
        };
        self.findings.add_at(
            line,
            place,
            Severity::Error,
            refusal.finding_code(),
            refusal.message(self.firmware.is_grbl()),
            refusal.help(),
        );
    }

    fn after_end(&mut self, line: u64) {
        if !self.ended {
            self.findings.add(
                line,
                Severity::Warning,
                "program.after_end",
                "Commands follow the end of the program; they are not part of it.".to_owned(),
                "Delete them, or move the end.",
            );
        }
        self.ended = true;
    }

    #[cold]
    fn check_comment(&mut self, line: &Line) {
        if !self.layers_begun {
            self.note_layer(&line.bytes[1..]);
        }
        if self.slicer.comment(&line.bytes[1..], line.number) {
            self.findings.add(
                line.number,
                Severity::Warning,
                "thumbnail.invalid",
                "An embedded picture is damaged: this is not base64.".to_owned(),
                "The program itself is not affected; export it again for the picture.",
            );
        }
        if line.length > LONG_LINE_BYTES {
            self.long_line(line);
        }
        self.check_encoding(line);
    }

    fn long_line(&mut self, line: &Line) {
        self.findings.add(
            line.number,
            Severity::Note,
            "line.long",
            format!("The line has {} bytes.", line.length),
            "Nothing to do if it is a comment; it is not sent.",
        );
    }

    #[cold]
    fn broken_thumbnail(&mut self) {
        self.slicer.thumbnail_broken();
        self.findings.add(
            0,
            Severity::Warning,
            "thumbnail.unended",
            "An embedded picture has no end mark.".to_owned(),
            "The program itself can be read; export it again for the picture.",
        );
    }

    /// Whether the line fits the firmware's buffer once comments and spaces are off.
    #[cold]
    fn check_length(&mut self, line: &Line, block: &Block) {
        if line.length > LONG_LINE_BYTES {
            self.long_line(line);
        }
        self.scratch.clear();
        wire::write(block, Alphabet::Printer, Numbers::Exponents, &mut self.scratch);
        let (sent, most) = (self.scratch.len(), self.line_bytes_max);
        if sent > most {
            self.findings.add(
                line.number,
                Severity::Error,
                "line.too_long",
                format!("The line is {sent} bytes long as sent; the firmware takes {most}."),
                "Write fewer digits, or split the line.",
            );
        }
        self.scratch.truncate(LONG_LINE_BYTES as usize);
        self.scratch.shrink_to(LONG_LINE_BYTES as usize);
    }

    fn check_encoding(&mut self, line: &Line) {
        if !line.is_cut() && std::str::from_utf8(line.bytes).is_err() {
            let at = line.bytes.iter().position(|byte| *byte >= 0x80).unwrap_or(0);
            self.findings.add_offset(
                line.number,
                at,
                Severity::Note,
                "text.encoding",
                "The line is not UTF-8 text.".to_owned(),
                "These bytes are not sent; save the file as UTF-8 to read them.",
            );
        }
    }

    /// Lines that the short path did not take: M, T and N words, comments in parentheses, and everything odd.
    #[cold]
    fn check_odd_line(&mut self, line: &Line, block: &Block, statement: &Statement) {
        if line.marked {
            self.findings.add(
                line.number,
                Severity::Note,
                "text.bom",
                "A byte order mark stands before the first line.".to_owned(),
                "Nothing to do: it is not sent.",
            );
        }
        self.check_encoding(line);
        for item in block.items() {
            self.check_item(line.number, block, statement, &item);
        }
        if statement.split {
            self.findings.add(
                line.number,
                Severity::Warning,
                "number.spaces",
                "A number has spaces inside: RS-274 machines read over them, printers stop there.".to_owned(),
                "Take the spaces out.",
            );
        }
        if statement.percent {
            self.percents += 1;
        }
    }

    fn check_item(&mut self, line: u64, block: &Block, statement: &Statement, item: &Item) {
        let findings = &mut self.findings;
        match *item {
            Item::Comment { style: CommentStyle::Parentheses { closed, nested }, span, .. } if nested || !closed => {
                let (code, severity, message) = if nested {
                    ("comment.nested", Severity::Error, "A comment stands inside a comment: the first `)` ends both.")
                } else {
                    (
                        "comment.unclosed",
                        Severity::Warning,
                        "A comment is not closed: the rest of the line is part of it.",
                    )
                };
                let severity = if self.family == Family::Printer { Severity::Warning } else { severity };
                findings.add_offset(
                    line,
                    span.start,
                    severity,
                    code,
                    message.to_owned(),
                    "Write one pair of parentheses.",
                );
            }
            Item::Checksum { value, span } => self.check_checksum(line, block, value, span.start),
            Item::Delete(span) => {
                findings.add_offset(
                    line,
                    span.start,
                    Severity::Note,
                    "block.delete",
                    "The line is skipped when the machine's block-delete switch is on; it is taken as running."
                        .to_owned(),
                    "Set the switch as meant, or delete the `/` or the line.",
                );
            }
            Item::System { text, span } => self.check_system(line, text, span.start),
            Item::Bracketed { text, span } => {
                findings.add_offset(
                    line,
                    span.start,
                    Severity::Error,
                    "word.unsupported",
                    format!("`{}` is a command to a network board, not to the machine.", shown(text)),
                    "Delete the line.",
                );
            }
            Item::Extended { text, span } => self.check_extended(line, text, span.start),
            Item::Flow { name, rest, span } => self.check_flow(line, name, rest, span.start),
            Item::Stray(span) => {
                self.check_stray(line, block.bytes(), &block.bytes()[span.start..span.end], span.start);
            }
            Item::Word(word) if !self.asks_changer(block) => self.check_word(line, statement, &word),
            _ => {}
        }
    }

    fn check_checksum(&mut self, line: u64, block: &Block, value: Option<u8>, at: usize) {
        let right = block.checksum_of_bytes();
        let (code, message) = match value {
            None => ("checksum.unreadable", "What follows `*` is no checksum: a number from 0 to 255.".to_owned()),
            Some(value) if Some(value) != right => (
                "checksum.wrong",
                format!("The checksum says {value}, the line's text gives {}.", right.unwrap_or_default()),
            ),
            Some(_) => return,
        };
        self.findings.add_offset(
            line,
            at,
            Severity::Error,
            code,
            message,
            "The line was damaged or edited: export the file again, without checksums.",
        );
    }

    fn check_stray(&mut self, line: u64, whole: &[u8], bytes: &[u8], at: usize) {
        // The end of a text on old systems, and what fills up a block of a card.
        let is_padding = |byte: &u8| matches!(byte, 0 | 0x1A) || byte.is_ascii_whitespace();
        if whole[at..].iter().all(is_padding) || self.asks_changer(&Block::new(whole)) {
            return;
        }
        let (code, severity, message) = match bytes.first() {
            Some(b')') => (
                "comment.stray_close",
                Severity::Error,
                "A `)` closes no comment: the machine refuses the line.".to_owned(),
            ),
            Some(b'0'..=b'9' | b'.' | b'+' | b'-') => {
                let severity = if self.family == Family::Cnc { Severity::Error } else { Severity::Warning };
                ("word.no_letter", severity, format!("The number `{}` has no letter before it.", shown(bytes)))
            }
            Some(byte) if *byte < 0x20 || *byte == 0x7F => {
                ("text.control", Severity::Error, format!("A control byte ({byte:#04x}) stands in a command."))
            }
            _ => ("word.stray", Severity::Warning, format!("`{}` means nothing here.", shown(bytes))),
        };
        self.findings.add_offset(line, at, severity, code, message, "Correct the line, or put `;` before a comment.");
    }

    /// `T?` has Prusa's filament changer ask for a tool.
    fn asks_changer(&self, block: &Block) -> bool {
        self.firmware == Firmware::Marlin && block.bytes().trim_ascii().eq_ignore_ascii_case(b"T?")
    }

    fn check_word(&mut self, line: u64, statement: &Statement, word: &Word) {
        let at = word.span.start;
        let letter = char::from(word.letter);
        if word.shape == Shape::Missing && self.needs_value(statement, word.letter) {
            self.findings.add_offset(
                line,
                at,
                if self.family == Family::Cnc { Severity::Error } else { Severity::Warning },
                "word.no_value",
                format!("`{letter}` has no number behind it."),
                "Give it a number, or take it out.",
            );
        }
        if word.shape == Shape::Number && word.number().is_none() && self.needs_value(statement, word.letter) {
            self.findings.add_offset(
                line,
                at,
                Severity::Error,
                "number.invalid",
                format!("`{letter}{}` is not a number.", shown(word.text)),
                "Correct the number.",
            );
        }
        if self.family == Family::Cnc && word.shape == Shape::Expression && self.firmware.is_grbl() {
            self.findings.add_offset(
                line,
                at,
                Severity::Error,
                "word.unsupported",
                "Parameters and expressions are not known to this firmware.".to_owned(),
                "Let the CAM program write the numbers out.",
            );
        }
        if self.refused.is_some() && self.firmware.is_grbl() && words::grbl_refuses_letter(word.letter) {
            self.findings.add_offset(
                line,
                at,
                Severity::Error,
                "word.unsupported",
                format!("This firmware has no `{letter}` word."),
                "Take it out, or use a post processor for this firmware.",
            );
        }
    }

    /// Whether a letter on this line is nothing without a number: codes, coordinates of a motion, S of a heater.
    fn needs_value(&self, statement: &Statement, letter: u8) -> bool {
        let has_any = |letter, tenths: &[u32]| tenths.iter().any(|tenths| statement.has_code(letter, *tenths));
        match letter {
            b'G' | b'M' | b'T' | b'N' => true,
            b'X' | b'Y' | b'Z' | b'E' | b'F' | b'I' | b'J' | b'R' => {
                self.family == Family::Cnc && !has_any(b'G', &[280, 300]) || has_any(b'G', &[0, 10, 20, 30])
            }
            b'S' => has_any(b'M', &[30, 40, 1040, 1060, 1090, 1400, 1900]),
            _ => false,
        }
    }
}

/// Bytes of a program made fit for a message: short, and nothing that a terminal or a web page would act on.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 40;
    let text: String = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)])
        .chars()
        .map(|letter| if letter.is_control() || matches!(letter, '<' | '>' | '&') { '·' } else { letter })
        .collect();
    if bytes.len() > SHOWN_MAX { format!("{text}…") } else { text }
}
