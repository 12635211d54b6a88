//! Which of what a simulated printer executed was the program's, and which the host's own.

use super::Marlin;
use crate::sim::printer::Counting;

/// What hosts say without a number.
const HOSTS_OWN: [&[u8]; 13] =
    [b"M27", b"M105", b"M108", b"M110", b"M112", b"M113", b"M114", b"M115", b"M155", b"M400", b"M410", b"M85", b"M86"];

impl Marlin {
    /// Counts a command that was executed: the program's own, or the host's.
    pub(super) fn count(&mut self, command: &[u8], number: Option<i64>) {
        let uncounted = matches!(self.flavour.counting, Counting::Drop | Counting::Ignore);
        if uncounted
            && !command.trim_ascii_start().starts_with(b"$")
            && !command.starts_with(b"?")
            && !matches!(command, b"" | b"*999" | b"M27" | b"M105" | b"M114" | b"M115" | b"M400" | b"M112" | b"STATUS")
        {
            return self.ledger.executed(command);
        }
        if command.starts_with(b"M110") {
            // Another job begins: what proved the end of the last one is nothing of its program.
            self.tail.clear();
            self.report.own += 1;
            return;
        }
        let Some(number) = number else {
            let moves = command.first().is_some_and(|letter| matches!(letter, b'G' | b'M' | b'T'));
            if moves && !HOSTS_OWN.iter().any(|own| command.starts_with(own)) {
                self.report.stray += 1;
            }
            self.report.own += 1;
            return;
        };
        if number == 1 && command == b"M105" {
            self.report.own += 1;
            return;
        }
        // What proves the end of motion is the host's, unless more follows; also where a lost line end glued another line
        // behind it.
        let word = command.split(|byte| *byte == b'*').next();
        let proves = match self.tail.len() {
            0 => word == Some(b"M400"),
            1 => word == Some(b"M114"),
            _ => false,
        };
        if proves {
            return self.tail.push(command.to_vec());
        }
        for line in std::mem::take(&mut self.tail) {
            self.ledger.executed(&line);
        }
        if word == Some(b"M400") {
            return self.tail.push(command.to_vec());
        }
        self.ledger.executed(command);
    }
}
