//! Lines: how they are read from what was received, numbered, checked and put into the queue.

use super::Marlin;
use crate::sim::printer::Counting;

impl Marlin {
    /// Reads lines from the receive buffer while the queue has room. True if any was read.
    pub(super) fn read_lines(&mut self) -> bool {
        let mut any = false;
        while self.queue.len() < self.flavour.queue_commands {
            let Some(byte) = self.next_character() else { break };
            any = true;
            match byte {
                b'\n' | b'\r' => {
                    self.in_comment = false;
                    if !self.line.is_empty() {
                        let line = std::mem::take(&mut self.line);
                        self.line_done(&line);
                    }
                }
                b';' => self.in_comment = true,
                _ if self.in_comment || self.line.len() >= self.flavour.command_max => {}
                _ => self.line.push(byte),
            }
        }
        any
    }

    fn line_done(&mut self, line: &[u8]) {
        let command = line.trim_ascii_start();
        self.lines_read += 1;
        if self.flavour.counting != Counting::Flush {
            return self.other_line_done(command);
        }
        if !command.starts_with(b"N") {
            if !self.setup.emergency_parser && command == b"M112" {
                return self.emergency_stop();
            }
            if !self.setup.emergency_parser && command == b"M108" {
                self.stop_waiting();
            }
            if self.throws_away() {
                return self.line_error("checksum mismatch, Last Line: ");
            }
            return self.enqueue(command, None);
        }
        let sets_counter = memchr::memmem::find(command, b"M110").is_some();
        let mut at = 1;
        if sets_counter {
            at = command.iter().skip(4).position(|byte| *byte == b'N').map_or(1, |found| found + 5);
        }
        let number = leading_number(&command[at..]);
        if number != self.last_number + 1 && !sets_counter {
            let repeat = number + 1 == self.last_number || number == self.last_number;
            if repeat && self.setup.passes_over_repeats {
                // An old repeat, from a request that was already answered.
                return;
            }
            return self.line_error("Line Number is not Last Line Number+1, Last Line: ");
        }
        let Some(asterisk) = memchr::memrchr(b'*', command) else {
            return self.line_error("No Checksum with line number, Last Line: ");
        };
        let checksum = command[..asterisk].iter().fold(0, |sum, byte| sum ^ byte);
        if leading_number(&command[asterisk + 1..]) != i64::from(checksum) {
            self.report.checksum_errors += 1;
            return self.line_error("checksum mismatch, Last Line: ");
        }
        if !sets_counter
            && self.setup.resend_permille > 0
            && self.random.below(1000) < self.setup.resend_permille.into()
        {
            if self.setup.throws_lines_away {
                self.last_number = number;
            }
            return self.line_error("checksum mismatch, Last Line: ");
        }
        self.last_number = number;
        if !sets_counter && self.throws_away() {
            return self.line_error("checksum mismatch, Last Line: ");
        }
        // The number ends at the first character that is none of its own; a space behind it may be there or not.
        let digits = command[1..asterisk].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
        self.enqueue(command[1 + digits..asterisk].trim_ascii(), Some(number));
    }

    /// Whether this line is one that it throws away although nothing is wrong with it.
    fn throws_away(&self) -> bool {
        self.setup.throws_every > 0 && self.lines_read % self.setup.throws_every == 0
    }

    pub(super) fn enqueue(&mut self, command: &[u8], number: Option<i64>) {
        self.queue.push_back((command.to_vec(), number));
    }

    /// The receive buffer is cleared before the request: what it held is lost and never answered.
    fn line_error(&mut self, what: &str) {
        if self.setup.flushes_on_resend {
            self.received.clear();
            self.line.clear();
        }
        self.report.resends += 1;
        let last = self.last_number;
        self.out.extend_from_slice(format!("Error:{what}{last}\nResend: {}\n", last + 1).as_bytes());
        if self.setup.ok_after_resend {
            self.out.extend_from_slice(b"ok\n");
        }
    }
}

/// The decimal number at the start, zero if there is none, as C's `strtol`: some hosts start at `N-1`.
pub(super) fn leading_number(text: &[u8]) -> i64 {
    let (sign, text) = text.strip_prefix(b"-").map_or((1, text), |rest| (-1, rest));
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).take(18).count();
    sign * std::str::from_utf8(&text[..digits]).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
