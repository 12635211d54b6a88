//! Commands that were answered and not executed: refused, or ignored. They are counted, the first of each is named, and
//! neither is ever counted as executed.

use std::collections::VecDeque;

use gcode_tools::block::Block;
use serde::{Deserialize, Serialize};

use super::Session;
use super::run::Run;
use crate::dialect::printable;
use crate::flow::Frame;
use crate::snapshot::{Progress, Undone};

/// Commands without effect that are kept while it is not certain that what stands before them is over. Klipper may have
/// ten thousand lines on their way; beyond that they are counted at once, which calls fewer executed.
const AHEAD_MAX: usize = 16_384;

/// How many commands back an answer that comes late is looked for, where commands are answered before they are done.
const LOOK_BACK: u64 = 64;

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    /// The machine refused it.
    Refused,
    /// The machine answered it and did not do it, or not wholly.
    Ignored,
}

/// The commands of a run that had no effect.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Those behind the last command that is surely over, oldest first.
    ahead: VecDeque<(u64, Fate)>,
    /// How many stand before it.
    passed: u64,
    /// The last command that is surely over, the lead included.
    reached: u64,
}

impl Ledger {
    /// Notes one. False: it is known already.
    fn note(&mut self, ordinal: u64, fate: Fate) -> bool {
        if ordinal <= self.reached {
            self.passed += 1;
            return true;
        }
        let at = self.ahead.partition_point(|(known, _)| *known < ordinal);
        if self.ahead.get(at).is_some_and(|(known, _)| *known == ordinal) {
            return false;
        }
        self.ahead.insert(at, (ordinal, fate));
        if self.ahead.len() > AHEAD_MAX {
            self.ahead.pop_front();
            self.passed += 1;
        }
        true
    }

    /// Everything up to this command is surely over. Gives how many of them had an effect, the lead included; nothing,
    /// where no more is known than before.
    pub(super) fn reach(&mut self, ordinal: u64) -> Option<u64> {
        if ordinal <= self.reached {
            return None;
        }
        self.reached = ordinal;
        while self.ahead.front().is_some_and(|(known, _)| *known <= ordinal) {
            self.ahead.pop_front();
            self.passed += 1;
        }
        Some(self.done())
    }

    /// How many of those that are surely over had an effect, the lead included.
    fn done(&self) -> u64 {
        self.reached.saturating_sub(self.passed)
    }

    /// Whether that command is known to have had no effect, and not surely over.
    pub(super) fn holds(&self, ordinal: u64) -> bool {
        self.ahead.binary_search_by_key(&ordinal, |(known, _)| *known).is_ok()
    }

    /// Commands from this one on are said again: what became of them is open.
    fn rewind(&mut self, ordinal: u64, mut open: impl FnMut(Fate)) {
        let from = self.ahead.partition_point(|(known, _)| *known < ordinal);
        self.ahead.drain(from..).for_each(|(_, fate)| open(fate));
    }

    /// The last command that is surely over, the lead included.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }
}

impl Progress {
    fn undone(&mut self, fate: Fate, which: Undone) {
        let (count, first) = match fate {
            Fate::Refused => (&mut self.refused, &mut self.first_refused),
            Fate::Ignored => (&mut self.ignored, &mut self.first_ignored),
        };
        *count += 1;
        first.get_or_insert(which);
    }
}

impl Run {
    /// Counts a command of the program as refused or ignored. What leads in, proves the end or ends a job early is none.
    pub(super) fn note_undone(&mut self, ordinal: u64, fate: Fate, said: &str) {
        let last = self.commands.map_or(u64::MAX, |commands| commands + self.lead);
        if self.is_safe_end() || ordinal <= self.lead || ordinal > last || !self.undone.note(ordinal, fate) {
            return;
        }
        let which = match self.history.command(ordinal) {
            Some(command) => Undone {
                line: command.program_line,
                command: printable(&command.text),
                said: printable(said.as_bytes()),
            },
            None => Undone { line: 0, command: String::new(), said: printable(said.as_bytes()) },
        };
        self.progress.undone(fate, which);
        self.progress.executed = self.progress.executed.min(self.undone.done().saturating_sub(self.lead));
    }

    /// Commands from this one on will be said again, and may be done then.
    pub(super) fn undone_again(&mut self, ordinal: u64) {
        let Progress { refused, ignored, first_refused, first_ignored, .. } = &mut self.progress;
        self.undone.rewind(ordinal, |fate| match fate {
            Fate::Refused => *refused = refused.saturating_sub(1),
            Fate::Ignored => *ignored = ignored.saturating_sub(1),
        });
        if *refused == 0 {
            *first_refused = None;
        }
        if *ignored == 0 {
            *first_ignored = None;
        }
    }

    /// A command of the program in words: `line 12 (`G1 X5`)`.
    pub(super) fn line_in_words(&self, ordinal: u64) -> Option<String> {
        let command = self.history.command(ordinal)?;
        Some(format!("line {} (`{}`)", command.program_line, String::from_utf8_lossy(&command.text)))
    }
}

impl Session {
    /// Which command of the job the machine speaks of: the one it quotes, where it quotes one, and otherwise the oldest
    /// without an answer.
    pub(super) fn spoken_of(&self, said: &str) -> Option<u64> {
        let run = self.run.as_ref()?;
        let quoted = quoted(said);
        let matches = |ordinal: &u64| {
            let text = run.history.command(*ordinal).map(|command| &*command.text);
            text.is_some_and(|text| quoted.is_some_and(|quoted| same_command(text, quoted.as_bytes())))
        };
        // Of two commands that are alike the number says which; a number that does not fit what it stands before is none.
        let counted = quoted.and_then(line_number).filter(|ordinal| *ordinal <= run.sent && matches(ordinal));
        if let Some(ordinal) = counted.or_else(|| self.window.jobs().find(matches)) {
            return Some(ordinal);
        }
        if self.dialect.habits().ok_when_taken {
            let from = run.accepted.saturating_sub(LOOK_BACK).max(run.lead) + 1;
            return (from..=run.accepted).rev().find(matches);
        }
        let oldest = match self.window.oldest() {
            Some(Frame::Job(ordinal)) => Some(ordinal),
            _ => None,
        };
        let is_move = |ordinal: u64| {
            let text = run.history.command(ordinal).map(|command| &*command.text);
            text.and_then(|text| Block::new(text).codes().next()) == Some(('G', 10))
        };
        // Of two moves in a row it is the first: the second would have been answered before.
        let early = self.dialect.habits().answers_moves_early
            && run.accepted > run.lead
            && is_move(run.accepted)
            && oldest.is_none_or(is_move);
        if early { Some(run.accepted) } else { oldest }
    }
}

/// The command in a machine's sentence: what stands in quotes, or behind the last colon.
fn quoted(said: &str) -> Option<&str> {
    let inside = said.split('"').nth(1).or_else(|| said.rsplit_once(':').map(|(_, behind)| behind))?;
    Some(inside.trim()).filter(|inside| !inside.is_empty())
}

/// The number of the line that a machine quotes, where it quotes that too (Repetier-Firmware).
fn line_number(quoted: &str) -> Option<u64> {
    let digits = quoted.strip_prefix(['N', 'n'])?;
    let end = digits.find(|next: char| !next.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Whether a machine's quotation is of this command. It may leave out what it did not understand, write numbers in its own
/// way, or stand behind a line number: the first word decides.
fn same_command(text: &[u8], quoted: &[u8]) -> bool {
    let first = |text: &[u8]| {
        let word = Block::new(text).words().find(|word| word.letter != b'N')?;
        Some((word.letter, word.number()?))
    };
    match first(quoted) {
        Some(quoted) => first(text) == Some(quoted),
        None => text.len() >= quoted.len() && text[..quoted.len()].eq_ignore_ascii_case(quoted),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_had_no_effect_is_not_called_done_however_early_it_is_known() {
        let mut ledger = Ledger::default();
        assert!(ledger.note(5, Fate::Refused));
        assert!(!ledger.note(5, Fate::Ignored), "one command is counted once");
        assert!(ledger.note(3, Fate::Ignored));
        assert_eq!(ledger.reach(4), Some(3));
        assert_eq!(ledger.reach(4), None);
        assert!(ledger.note(2, Fate::Ignored), "told late");
        assert_eq!(ledger.reach(10), Some(7));
        let mut open = Vec::new();
        assert!(ledger.note(12, Fate::Refused) && ledger.note(13, Fate::Refused));
        ledger.rewind(13, |fate| open.push(fate));
        assert_eq!(open, [Fate::Refused]);
        assert_eq!(ledger.reach(20), Some(16));
    }

    #[test]
    fn memory_is_bounded_when_a_machine_refuses_everything() {
        let mut ledger = Ledger::default();
        for ordinal in 1..=100_000 {
            assert!(ledger.note(ordinal, Fate::Refused));
        }
        assert_eq!(ledger.ahead.len(), AHEAD_MAX);
        assert_eq!(ledger.reach(100_000), Some(0));
    }

    #[test]
    fn a_line_number_is_read_only_where_one_is_quoted() {
        for (text, number) in
            [("N12 M131  S1", Some(12)), ("N12", Some(12)), ("M131 S1", None), ("N", None), ("", None)]
        {
            assert_eq!(line_number(text), number, "{text}");
        }
        assert_eq!(line_number("N99999999999999999999 M1"), None);
    }

    #[test]
    fn a_quotation_is_found_however_the_firmware_writes_it() {
        for (text, said, same) in [
            (&b"M131S1"[..], "Unknown command: \"M131 S1\"", true),
            (b"M131S1", "Unknown command:N12 M131  S1", true),
            (b"M131S1", "Unknown command:\"M131\"", true),
            (b"M131S1", "Unknown M code: M131 S1", true),
            (b"X131", "Unknown command: \"X131\"", true),
            (b"X131S1", "Unknown command:N12  X131.00 S1", true),
            (b"SET_X", "Unknown command:\"SET_X\"", true),
            (b"G1X1", "Unknown command: \"M131 S1\"", false),
            (b"M13", "Unknown command: \"M131\"", false),
        ] {
            assert_eq!(quoted(said).is_some_and(|quoted| same_command(text, quoted.as_bytes())), same, "{said}");
        }
    }
}
