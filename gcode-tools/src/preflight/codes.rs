//! Checks of what a line's words mean to the firmware, and of values out of range.

use super::finding::Place;
use super::lines::SUBS_MAX;
use super::words;
use super::{Preflight, Severity};
use crate::block::Block;
use crate::interpret::{Family, State};
use crate::profile::{Kind, SMeans, ToolChange};
use crate::statement::Statement;
use crate::time::Firmware;
use crate::words::{Effect, code_name};

/// M302 may move the limit of cold extrusion this far down, in °C: PLA is soft above it.
const COLD_LIMIT_MIN_C: f64 = 150.0;

impl Preflight<'_> {
    /// What the words mean to this firmware, and values that are out of range.
    #[inline]
    pub(super) fn check_words(&mut self, line: u64, block: &Block, statement: &Statement, state: &State) {
        if !matches!(statement.codes(), [] | [(b'G', 0 | 10 | 20 | 30)]) {
            self.check_codes(line, block, statement, state);
        }
        if self.firmware == Firmware::Klipper && !statement.codes().is_empty() {
            self.check_spelling(line, block);
        }
        if statement.has(b'F') {
            self.check_feed(line, statement, state);
        }
        if statement.has(b'S') || statement.repeated {
            self.check_speed(line, statement);
        }
        if self.refused.is_some() && self.firmware.is_grbl() && statement.has_any(b"ABCDEHQUVWIJKLPR") {
            self.check_letters(line, statement, state);
        }
        if self.family == Family::Printer {
            self.check_code_of_printer(line, block, statement);
        }
        let whole = statement.value(b'E').is_some_and(|value| value.fract() == 0.0);
        if whole && statement.has_any(b"XYZ") && looks_like_exponent(block) {
            self.findings.add_at(
                line,
                Place::Letters(b"E"),
                Severity::Note,
                "number.exponent",
                "E directly behind a number is read as an extruder word, not as a power of ten.".to_owned(),
                "Put a space before E, or write the number out.",
            );
        }
    }

    /// Motors are let go: all of them, or those that are named. With S most firmwares only set a time for it.
    fn motors_released(&mut self, statement: &Statement) {
        let klipper = self.firmware == Firmware::Klipper;
        if statement.has(b'S') && !klipper {
            return;
        }
        let named = b"XYZE".iter().any(|axis| statement.mentions(*axis)) && !klipper;
        for (homed, axis) in self.homed.iter_mut().zip(*b"XYZ") {
            *homed &= named && !statement.mentions(axis);
        }
        self.released = true;
    }

    /// A printer takes no line without a code, and no arc without anything that makes it one.
    #[inline]
    fn check_code_of_printer(&mut self, line: u64, block: &Block, statement: &Statement) {
        // Most lines begin with their code.
        let first = block.bytes().first().copied().unwrap_or_default();
        if !matches!(first, b'G' | b'M') || statement.codes().is_empty() {
            self.check_first_word(line, block, statement);
        }
        match statement.codes() {
            [(b'G', 0 | 10), ..] => {}
            codes if codes.iter().any(|code| matches!(code, (b'G', 20 | 30))) && !statement.has_any(b"XYZIJKR") => {
                self.findings.add(
                    line,
                    Severity::Warning,
                    "arc.no_center",
                    "The arc has no centre, no radius and no end: the firmware leaves it out.".to_owned(),
                    "Write I and J, or take the line out.",
                );
            }
            _ => {}
        }
    }

    /// The first word of a line is the command to a printer, whatever stands behind it.
    #[cold]
    fn check_first_word(&mut self, line: u64, block: &Block, statement: &Statement) {
        let mut words = block.words().map(|word| word.letter).filter(|letter| *letter != b'N');
        let is_code = words.next().is_none_or(|letter| matches!(letter, b'G' | b'M' | b'T'));
        if statement.codes().is_empty() || !is_code {
            self.no_code(line, statement);
        }
    }

    fn no_code(&mut self, line: u64, statement: &Statement) {
        let puts_away = statement.mentions(b'T') && statement.codes().is_empty();
        let is_blank = (b'A'..=b'Z').all(|letter| letter == b'N' || !statement.mentions(letter));
        if is_blank || puts_away && self.firmware == Firmware::RepRapFirmware {
            return;
        }
        let message = if puts_away {
            "A T without a tool's number is known to RepRapFirmware alone: others pass over the line."
        } else {
            "The line has no G code: printers call it an unknown command, CNC machines go on with the last motion."
        };
        self.findings.add_at(
            line,
            Place::Letters(b"TXYZE"),
            Severity::Warning,
            "motion.modal",
            message.to_owned(),
            "Write the G code on every line.",
        );
    }

    #[cold]
    fn check_codes(&mut self, line: u64, block: &Block, statement: &Statement, state: &State) {
        if statement.codes().len() > 1 {
            self.check_several(line, block);
        }
        for &(letter, tenths) in statement.codes() {
            let place = Place::Code(letter, tenths);
            let name = code_name(letter, tenths);
            if self.is_extra(name.as_bytes()) || self.is_persons_change(statement, letter, tenths) {
                continue;
            }
            let cnc = self.family == Family::Cnc;
            let (severity, code, message) = match crate::words::effect(self.firmware, letter, tenths) {
                Effect::Unknown | Effect::Refused => {
                    if self.slicer_knows(letter, tenths) {
                        continue;
                    }
                    (
                        if cnc { Severity::Error } else { Severity::Warning },
                        "word.unsupported",
                        format!("{name} is not known to this firmware."),
                    )
                }
                Effect::Settings { .. } => {
                    (Severity::Error, "settings.write", format!("{name} changes settings that outlive the job."))
                }
                // M302 S160 only moves the limit.
                Effect::Unprotects if statement.value(b'S').is_some_and(|limit| limit >= COLD_LIMIT_MIN_C) => continue,
                Effect::Unprotects => {
                    self.heat.cold_allowed = true;
                    (
                        Severity::Error,
                        "safety.off",
                        format!("{name} allows cold extrusion: the firmware's protection is off."),
                    )
                }
                Effect::Halts => {
                    (Severity::Error, "program.halts", format!("{name} is an emergency stop: the machine halts there."))
                }
                Effect::Card => (Severity::Error, "program.card", card(tenths).to_owned()),
                effect => {
                    if effect == Effect::WaitsForHeat {
                        self.heat.awaited();
                    }
                    if effect == Effect::Releases {
                        self.motors_released(statement);
                    }
                    self.settles |= matches!(effect, Effect::Dwells | Effect::Person | Effect::Probes | Effect::Ends);
                    self.macros_called |= effect == Effect::Calls && self.family == Family::Printer;
                    self.check_read_otherwise(line, statement, letter, tenths);
                    self.check_code(line, letter, tenths, block, statement, state);
                    continue;
                }
            };
            self.findings.add_at(
                line,
                place,
                severity,
                code,
                message,
                if (letter, tenths) == (b'M', 60) {
                    "Take it out, or set `tool_change = \"person\"` in the profile's [stream]: the job then waits there."
                } else {
                    "Take it out, or name it in the profile's extra_words if this machine is meant to take it."
                },
            );
        }
        if self.refused.is_some() && self.family == Family::Cnc {
            self.check_conflicts(line, statement);
            self.check_axes(line, statement);
        }
        self.check_calls(line, statement);
    }

    /// M6 where a person changes tools: the agent waits there, and the word is not sent.
    pub(super) fn is_persons_change(&self, statement: &Statement, letter: u8, tenths: u32) -> bool {
        let by_person = self.profile.stream.tool_change.is_some_and(ToolChange::is_person);
        let nothing_else = || statement.codes().iter().all(|code| matches!(code, (b'M', 60) | (b'T', _)));
        by_person && (letter, tenths) == (b'M', 60) && nothing_else()
    }

    /// Whether the program's slicer writes for a firmware that knows the word: Bambu Studio's own words are for its
    /// makers' printers, and others pass over them.
    fn slicer_knows(&self, letter: u8, tenths: u32) -> bool {
        let bambu = matches!(self.slicer.name.as_deref(), Some("BambuStudio" | "Bambu Studio"));
        bambu && self.family == Family::Printer && crate::words::effect(Firmware::Bambu, letter, tenths).is_known()
    }

    /// Letters that Grbl refuses (error 20), and those that nothing on the line uses (error 36).
    #[cold]
    fn check_letters(&mut self, line: u64, statement: &Statement, state: &State) {
        if statement.has(b'P') && statement.has_any(b"IJKR") && self.firmware == Firmware::Grbl {
            self.check_turns(line, statement);
        }
        if statement.plain {
            // What is not plain is looked at word by word.
            for place in words::GRBL_REFUSED.into_iter().filter(|letter| statement.has(letter[0])) {
                self.findings.add_at(
                    line,
                    Place::Letters(place),
                    Severity::Error,
                    "word.unsupported",
                    format!("This firmware has no `{}` word.", char::from(place[0])),
                    "Take it out, or use a post processor for this firmware.",
                );
            }
        }
        if self.firmware != Firmware::Grbl {
            return;
        }
        let named = statement.codes().iter().rev().find(|(letter, code)| *letter == b'G' && *code <= 30);
        let is_arc = matches!(named.map(|(_, code)| *code).or(state.modal.motion), Some(20 | 30));
        let (sets_offsets, dwells) = (statement.has_code(b'G', 100), statement.has_code(b'G', 40));
        let uses = [
            (&b"I"[..], is_arc),
            (b"J", is_arc),
            (b"K", is_arc),
            (b"R", is_arc || sets_offsets),
            (b"L", sets_offsets),
            (b"P", is_arc || sets_offsets || dwells),
        ];
        for (place, _) in uses.into_iter().filter(|(letter, used)| statement.has(letter[0]) && !used) {
            self.findings.add_at(
                line,
                Place::Letters(place),
                Severity::Error,
                "word.unused",
                format!("Nothing on this line uses `{}`; the firmware refuses it.", char::from(place[0])),
                "Take the word out, or write the code it belongs to.",
            );
        }
    }

    /// Two codes of one modal group: Grbl's error 21, and LinuxCNC refuses them too.
    fn check_conflicts(&mut self, line: u64, statement: &Statement) {
        let codes = statement.codes();
        for (index, (letter, tenths)) in codes.iter().enumerate() {
            let Some(group) = words::modal_group(*letter, *tenths) else { continue };
            let other = codes[..index].iter().find(|(letter, code)| words::modal_group(*letter, *code) == Some(group));
            if let Some((other_letter, other_tenths)) = other {
                self.findings.add_at(
                    line,
                    Place::Code(*letter, *tenths),
                    Severity::Error,
                    "word.conflict",
                    format!(
                        "{} and {} stand on one line and contradict each other.",
                        code_name(*other_letter, *other_tenths),
                        code_name(*letter, *tenths)
                    ),
                    "Give each a line of its own, or take one out.",
                );
            }
        }
    }

    /// Codes that are nothing without an axis.
    fn check_axes(&mut self, line: u64, statement: &Statement) {
        let needs = statement.codes().iter().find(|code| matches!(code, (b'G', 382..=385 | 920)));
        let Some((letter, tenths)) = needs.filter(|_| !b"XYZABCUVW".iter().any(|axis| statement.mentions(*axis)))
        else {
            return;
        };
        self.findings.add_at(
            line,
            Place::Code(*letter, *tenths),
            Severity::Error,
            "motion.no_axes",
            format!("{} says of no axis where to.", code_name(*letter, *tenths)),
            "Add the axis that is meant.",
        );
    }

    /// P on an arc is a number of turns, which Grbl does not know (error 36).
    fn check_turns(&mut self, line: u64, statement: &Statement) {
        self.findings.add_at(
            line,
            Place::Letters(b"P"),
            Severity::Error,
            "arc.turns",
            format!(
                "P{} asks for several turns; this firmware has no P on arcs.",
                statement.value(b'P').unwrap_or(1.0)
            ),
            "Write one arc for each turn.",
        );
    }

    /// M98 P and G65 P call a subprogram by number.
    fn check_calls(&mut self, line: u64, statement: &Statement) {
        // LinuxCNC's are followed, and RepRapFirmware's are files of the machine.
        if self.firmware == Firmware::LinuxCnc || self.family == Family::Printer {
            return;
        }
        let calls = statement.codes().iter().any(|code| matches!(code, (b'M', 980) | (b'G', 650)));
        if let (true, Some(sub)) = (calls && self.subs_called.len() < SUBS_MAX, statement.value(b'P')) {
            self.subs_called.push((line, sub.max(0.0) as u32));
        }
    }

    fn check_feed(&mut self, line: u64, statement: &Statement, state: &State) {
        let Some(feed) = statement.value(b'F') else { return };
        if statement.codes().iter().any(|(letter, _)| *letter == b'M') && self.family == Family::Printer {
            return;
        }
        let cnc = self.family == Family::Cnc;
        let inverse = statement.has_code(b'G', 930)
            || (state.modal.feed_mode != crate::modal::FeedMode::PerMinute && !statement.has_code(b'G', 940));
        let feeds = self.profile.motion.feed_max_mm_min;
        let axes = if cnc { 3 } else { 4 };
        let most = feeds[..axes].iter().copied().fold(0.0, f64::max);
        let feed_mm = feed * state.modal.unit_mm();
        let (severity, code, message) = if feed <= 0.0 {
            let severity = if cnc { Severity::Error } else { Severity::Warning };
            (severity, "feed.not_positive", format!("A feed of {feed} moves nothing."))
        } else if feed_mm > most * 1.000_001 && !inverse {
            (
                Severity::Warning,
                "feed.too_fast",
                format!(
                    "A feed of {feed_mm} mm/min is beyond what any axis does ({most} mm/min); the machine will go slower."
                ),
            )
        } else {
            self.feed_set = true;
            return;
        };
        self.findings.add_at(line, Place::Letters(b"F"), severity, code, message, "Correct the feed.");
    }

    /// S against what the spindle or the beam does.
    fn check_speed(&mut self, line: u64, statement: &Statement) {
        if self.family != Family::Cnc || statement.codes().iter().any(|code| matches!(code, (b'G', 40))) {
            return;
        }
        let Some(speed) = statement.value(b'S') else { return };
        let drive = self.profile.spindle_drive();
        let (low, high, what) = match (self.profile.kind, &self.profile.spindle, &self.profile.laser) {
            (Kind::Laser, _, Some(laser)) => (0.0, laser.s_max, "full power"),
            // To a drive S is always a speed.
            (_, Some(_), _) if drive.is_some() => {
                let (low, high) = self.profile.spindle_range().unwrap_or((0.0, f64::INFINITY));
                (low, high, "the highest speed")
            }
            (_, Some(spindle), _) => match (spindle.s_means, spindle.s_max) {
                (SMeans::Rpm, _) => (spindle.min_rpm, spindle.max_rpm, "the highest speed"),
                (SMeans::Share, Some(most)) => (0.0, most, "full speed"),
                _ => return,
            },
            _ => return,
        };
        if speed < 0.0 || speed > high || (speed > 0.0 && speed < low) {
            self.findings.add_at(
                line,
                Place::Letters(b"S"),
                // A beam at S1000 where full power is S255 burns with all it has. A drive is not told what it must not do,
                // and the job would hold there.
                if speed < 0.0 || drive.is_some() || (self.profile.kind == Kind::Laser && speed > high) {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                "spindle.range",
                format!("S{speed} is outside the machine's range: {what} is S{high}, the lowest S{low}."),
                "Correct S, or the profile.",
            );
        }
    }
}

/// `X1e18`: an E with a whole number directly behind digits, on a line that has spaces elsewhere.
#[inline]
fn looks_like_exponent(block: &Block) -> bool {
    let bytes = block.bytes();
    let Some(at) = memchr::memchr2(b'E', b'e', bytes) else { return false };
    at > 0
        && bytes[at - 1].is_ascii_digit()
        && bytes[..at].contains(&b' ')
        && bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count() > 0
        && !bytes[at + 1..].contains(&b'.')
}

/// What a word about the machine's card does to a job that comes over the wire.
pub(super) fn card(tenths: u32) -> &'static str {
    if tenths == 280 {
        "M28 has the printer write what follows to its card instead of running it."
    } else {
        "This starts a program of the printer's card, whose lines would run between those of this one."
    }
}
