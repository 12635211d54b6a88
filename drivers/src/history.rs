//! The commands of one job: those to come, those said, and where each stands in the program.
//!
//! Memory is constant for any file: a ring holds the recent past (for resends) and a bounded look-ahead; for
//! anything older a sparse list of checkpoints says from which program line to read again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Commands kept after they were sent. A machine can only miss what is in flight (at most a few dozen lines), so
/// this is generous; older ones are read from the file again.
pub const PAST_COMMANDS: usize = 1024;

/// Commands read ahead of the wire. At 50,000 lines/s this is 10 ms of reading.
pub const AHEAD_COMMANDS: usize = 512;

/// Checkpoints kept. When there are more, every second one is dropped, so that they cover a file of any length.
const CHECKPOINTS_MAX: usize = 4096;

/// One command of the program, as it goes to the machine (without line number, checksum and line end).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its line in the program, 1-based.
    pub program_line: u64,
    /// The bytes to send.
    #[serde(with = "crate::session::program_bytes")]
    pub text: Box<[u8]>,
}

/// The commands of one job around the cursor.
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    /// Ordinal of the first command in the ring; ordinals count from 1.
    base: u64,
    ring: VecDeque<Command>,
    /// Ordinal of the next command to send.
    cursor: u64,
    /// Whether the program's last command is in the ring.
    complete: bool,
    /// (ordinal, program line) of every `stride`-th command.
    checkpoints: Vec<(u64, u64)>,
    stride: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { base: 1, ring: VecDeque::new(), cursor: 1, complete: false, checkpoints: Vec::new(), stride: 256 }
    }
}

impl History {
    /// Whether more of the program is wanted.
    pub fn wants_more(&self) -> bool {
        !self.complete && self.end().saturating_sub(self.cursor) < AHEAD_COMMANDS as u64
    }

    /// Ordinal that the next command fed will get.
    pub fn end(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    /// Adds the program's next command.
    pub fn push(&mut self, command: Command) {
        let ordinal = self.end();
        if ordinal % self.stride == 1 && self.checkpoints.last().is_none_or(|(last, _)| *last < ordinal) {
            self.checkpoints.push((ordinal, command.program_line));
            if self.checkpoints.len() > CHECKPOINTS_MAX {
                self.stride *= 2;
                let stride = self.stride;
                self.checkpoints.retain(|(ordinal, _)| ordinal % stride == 1);
            }
        }
        self.ring.push_back(command);
        while self.ring.len() > PAST_COMMANDS + AHEAD_COMMANDS && self.base + (PAST_COMMANDS as u64) < self.cursor {
            self.ring.pop_front();
            self.base += 1;
        }
    }

    /// Says that the program has no more commands.
    pub fn finish(&mut self) {
        self.complete = true;
    }

    /// Whether every command was fed.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether every command was fed and sent.
    pub fn is_sent(&self) -> bool {
        self.complete && self.cursor == self.end()
    }

    /// Ordinal of the next command to send.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The next command to send, if it has been fed.
    pub fn next(&self) -> Option<&Command> {
        self.command(self.cursor)
    }

    /// A command of the ring by its ordinal.
    pub fn command(&self, ordinal: u64) -> Option<&Command> {
        let index = usize::try_from(ordinal.checked_sub(self.base)?).ok()?;
        self.ring.get(index)
    }

    /// Moves past the command just sent.
    pub fn advance(&mut self) {
        debug_assert!(self.cursor < self.end());
        self.cursor += 1;
    }

    /// Moves the cursor to an earlier (or the next) command, as a resend asks. Returns where reading must start
    /// again when the command is no longer in the ring: its checkpoint's (ordinal, program line).
    pub fn rewind(&mut self, ordinal: u64) -> Rewind {
        if ordinal == 0 || ordinal > self.end() || (ordinal == self.end() && !self.complete && self.cursor < ordinal) {
            return Rewind::Impossible;
        }
        if ordinal >= self.base {
            self.cursor = ordinal;
            return Rewind::Done;
        }
        let Some(&(from, program_line)) = self.checkpoints.iter().rev().find(|(from, _)| *from <= ordinal) else {
            return Rewind::Impossible;
        };
        self.ring.clear();
        self.base = from;
        self.cursor = ordinal;
        self.complete = false;
        Rewind::ReadFrom { program_line }
    }
}

/// What a rewind needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewind {
    /// Nothing: the command is at hand.
    Done,
    /// The program must be read again from this line (1-based).
    ReadFrom {
        /// The line to read from.
        program_line: u64,
    },
    /// No such command was ever sent.
    Impossible,
}

#[cfg(test)]
mod test {
    use super::*;

    fn filled(count: u64) -> History {
        let mut history = History::default();
        for ordinal in 1..=count {
            // Every second program line is a comment, so that ordinals and program lines differ.
            history.push(Command { program_line: ordinal * 2, text: ordinal.to_string().into_bytes().into() });
            history.advance();
        }
        history
    }

    #[test]
    fn a_recent_command_is_at_hand() {
        let mut history = filled(10_000);
        assert_eq!(history.rewind(9_990), Rewind::Done);
        assert_eq!(history.next().map(|command| command.program_line), Some(9_990 * 2));
    }

    #[test]
    fn any_command_of_a_long_program_can_be_said_again() {
        for count in [5_000, 3_000_000] {
            let mut history = filled(count);
            let Rewind::ReadFrom { program_line } = history.rewind(1_234) else { panic!("read again") };
            assert!(program_line <= 1_234 * 2);
            for line in (program_line / 2)..=1_234 {
                history.push(Command { program_line: line * 2, text: line.to_string().into_bytes().into() });
            }
            assert_eq!(history.next().map(|command| command.text.to_vec()), Some(b"1234".to_vec()));
        }
    }

    #[test]
    fn a_command_that_was_never_sent_cannot_be_asked_for() {
        let mut history = filled(100);
        assert_eq!(history.rewind(0), Rewind::Impossible);
        assert_eq!(history.rewind(102), Rewind::Impossible);
    }

    #[test]
    fn memory_is_constant_for_any_program() {
        let history = filled(2_000_000);
        assert!(history.ring.len() <= PAST_COMMANDS + AHEAD_COMMANDS);
        assert!(history.checkpoints.len() <= CHECKPOINTS_MAX);
    }
}
