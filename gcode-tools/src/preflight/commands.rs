//! Checks of commands that are no words of G-code: Grbl's `$` lines, commands in words of a language, O-words.

use super::lines::{SUBS_MAX, shown};
use super::{Preflight, Severity};
use crate::interpret::Family;
use crate::time::Firmware;
use crate::words::{Effect, command_name, effect_of_command, effect_of_system};

impl Preflight<'_> {
    pub(super) fn check_system(&mut self, line: u64, text: &[u8], at: usize) {
        let effect = if self.firmware.is_grbl() { effect_of_system(text) } else { Effect::Unknown };
        let homes = text.to_ascii_uppercase().starts_with(b"$H");
        let moves_before = self.may_move;
        if homes {
            self.homed = [self.homed[0] || text.trim_ascii().eq_ignore_ascii_case(b"$H"); 3];
            self.may_move = false;
        }
        let (severity, code, what) = match effect {
            _ if homes && self.profile.home.switches == Some(false) => {
                (Severity::Error, "home.none", "homes, and this machine has no switches to home to")
            }
            Effect::Unknown => (Severity::Error, "word.unsupported", "is no command of this firmware"),
            Effect::Homes | Effect::Talks if moves_before && needs_rest(text) => {
                (Severity::Error, "program.not_idle", "is refused while a move before it still runs (error 8)")
            }
            Effect::Settings { .. } => (Severity::Error, "settings.write", "changes the machine's settings for good"),
            Effect::Unprotects => (Severity::Warning, "safety.off", "releases an alarm"),
            Effect::Halts => (Severity::Error, "program.halts", "has nothing behind it executed"),
            Effect::Moves => {
                (Severity::Error, "word.unsupported", "is a jog, which the machine takes only while nothing else moves")
            }
            _ => return,
        };
        if self.is_extra(text) {
            return;
        }
        self.findings.add_offset(
            line,
            at,
            severity,
            code,
            format!("`{}` {what}.", shown(text)),
            if code == "program.not_idle" {
                "Write it before the first move, or let motion end before it (G4 P0.1)."
            } else {
                "Take it out of the program; settings are changed by a person at the machine."
            },
        );
    }

    /// Whether the profile's machine takes this word beyond its dialect's own list.
    pub(super) fn is_extra(&self, text: &[u8]) -> bool {
        let word = text.split(|byte| byte.is_ascii_whitespace() || *byte == b'=').next().unwrap_or(text);
        self.profile.extra_words.iter().any(|extra| extra.as_bytes().eq_ignore_ascii_case(word))
    }

    pub(super) fn check_extended(&mut self, line: u64, text: &[u8], at: usize) {
        let effect = effect_of_command(self.firmware, text);
        let is_label = text.get(command_name(text).len()) == Some(&b':');
        if self.is_extra(text) || (effect.is_known() && !is_label) {
            // The firmware's own commands are known; a macro may heat, home and move.
            if effect == Effect::WaitsForHeat {
                self.heat.awaited();
            }
            self.macros_called |= matches!(effect, Effect::Macro | Effect::Unknown | Effect::Homes);
            return self.check_command(line, text, at, effect);
        }
        self.findings.add_offset(
            line,
            at,
            if self.family == Family::Printer { Severity::Warning } else { Severity::Error },
            "word.unsupported",
            format!("`{}` is no command of this firmware.", shown(text)),
            "If it is a comment, put `;` before it; if it is a macro of the machine, name it in the profile's extra_words.",
        );
    }

    /// A command in words that the machine takes.
    fn check_command(&mut self, line: u64, text: &[u8], at: usize, effect: Effect) {
        let name = shown(command_name(text));
        let (severity, code, message, help) = match effect {
            Effect::Macro | Effect::Unknown => (
                Severity::Note,
                "word.macro",
                format!("`{name}` is a macro of the machine: what it does is not known here."),
                "See for yourself that it leaves the machine as the lines behind it expect.",
            ),
            Effect::Settings { .. } => (
                Severity::Error,
                "settings.write",
                format!("`{name}` changes the machine's settings for good."),
                "Take it out of the program; settings are changed by a person at the machine.",
            ),
            Effect::Halts => (
                Severity::Error,
                "program.halts",
                format!("`{name}` ends the job on the spot: the machine halts or restarts there."),
                "Take it out.",
            ),
            Effect::Card => (Severity::Error, "program.card", super::codes::card(320).to_owned(), "Take it out."),
            _ => return,
        };
        self.findings.add_offset(line, at, severity, code, message, help);
    }

    pub(super) fn check_flow(&mut self, line: u64, name: &[u8], rest: &[u8], at: usize) {
        let number = std::str::from_utf8(name).ok().and_then(|name| name.parse::<u32>().ok());
        if let (Some(number), true) = (number, rest.is_empty() && self.subs_defined.len() < SUBS_MAX) {
            self.subs_defined.push(number);
        }
        if self.firmware == Firmware::LinuxCnc || rest.is_empty() {
            return;
        }
        self.findings.add_offset(
            line,
            at,
            Severity::Error,
            "word.unsupported",
            "Loops and subroutines (O-words) are not known to this firmware.".to_owned(),
            "Let the CAM program write the moves out.",
        );
    }
}

/// Whether Grbl takes a `$` command only while nothing moves (`system_execute_line`).
fn needs_rest(text: &[u8]) -> bool {
    !text.trim_ascii().eq_ignore_ascii_case(b"$G")
}
