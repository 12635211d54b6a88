//! How printers that are not Marlin take a line: what each counts, asks for again and passes over.

use super::Marlin;
use super::lines::leading_number;
use crate::moment::Moment;
use crate::sim::Simulated as _;
use crate::sim::printer::Counting;

/// Lines that Repetier passes over behind a line it asked for again, before it asks once more.
const SKIPPED_MAX: u32 = 14;

impl Marlin {
    /// Smoothieware picks these out of the stream wherever they stand.
    pub(super) fn pick_realtime(&mut self, now: Moment, byte: u8) -> bool {
        match byte {
            b'?' if self.setup.silent_after.is_some_and(|after| self.ledger.count >= after) => {}
            b'?' => {
                self.advance(now);
                let state = match () {
                    () if self.halted => "Alarm",
                    () if self.motion.is_idle() && self.queue.is_empty() => "Idle",
                    () => "Run",
                };
                let ([x, y, z], [tool, bed]) = (self.motion.position(self.now), self.heaters.current_and_bed());
                let position = format!("MPos:{x:.4},{y:.4},{z:.4}|WPos:{x:.4},{y:.4},{z:.4}");
                let heat =
                    format!("T:{:.1},{:.1}|B:{:.1},{:.1}", tool.actual_c, tool.target_c, bed.actual_c, bed.target_c);
                let report = format!("<{state}|{position}|F:{:.1},100.0|{heat}>\n", self.feed);
                self.out.extend_from_slice(report.as_bytes());
            }
            0x18 => self.kill(),
            _ => return false,
        }
        true
    }

    /// A line as the others than Marlin take it.
    pub(super) fn other_line_done(&mut self, command: &[u8]) {
        let number = command.strip_prefix(b"N").map(leading_number);
        let asterisk = memchr::memrchr(b'*', command).filter(|_| number.is_some());
        let whole = asterisk.is_none_or(|at| {
            leading_number(&command[at + 1..]) == i64::from(command[..at].iter().fold(0, |sum, byte| sum ^ byte))
        });
        let start = number.and_then(|_| command.iter().position(|byte| *byte == b' ')).map_or(0, |space| space + 1);
        let text = command[start..asterisk.unwrap_or(command.len()).max(start)].trim_ascii().to_vec();
        let counting = self.flavour.counting;
        let Some(number) = number.filter(|_| matches!(counting, Counting::Ask | Counting::Skip)) else {
            if whole || counting == Counting::Ignore {
                if counting == Counting::Skip {
                    self.out.extend_from_slice(format!("ok {}\r\n", self.last_number).as_bytes());
                }
                self.enqueue(&text, None);
            }
            return;
        };
        if text.starts_with(b"M110") {
            self.last_number = number;
            self.skips = 0;
            self.tail.clear();
            return self.out.extend_from_slice(b"ok\n");
        }
        let tired = self.setup.resend_permille > 0 && self.random.below(1000) < self.setup.resend_permille.into();
        let next = number == self.last_number + 1;
        if counting == Counting::Ask {
            if !whole || !next || tired {
                self.report.resends += 1;
                return self.out.extend_from_slice(format!("rs N{}\n", self.last_number + 1).as_bytes());
            }
        } else if !whole || asterisk.is_none() || tired {
            self.report.checksum_errors += 1;
            return self.ask_again("Error:Wrong checksum\r\n");
        } else if !next {
            if !(0..40).contains(&(self.last_number - number)) && self.skips == 0 {
                return self.ask_again("");
            }
            self.skips = self.skips.saturating_sub(1);
            return self.out.extend_from_slice(format!("skip {number}\r\nok\r\n").as_bytes());
        } else {
            self.skips = 0;
            self.out.extend_from_slice(format!("ok {number}\r\n").as_bytes());
        }
        self.last_number = number;
        self.enqueue(&text, Some(number));
    }

    /// M112: Repetier restarts its board (`KILL_METHOD` 1), the others halt.
    pub(super) fn emergency_stop(&mut self) {
        if self.flavour.counting == Counting::Skip {
            return self.reset(self.now);
        }
        self.why = "Shutdown due to M112 command";
        self.kill();
    }

    /// What a halted one says to each line: most nothing, Klipper why it is.
    pub(super) fn answer_halted(&mut self) {
        let heard = std::mem::take(&mut self.received);
        if self.flavour.counting != Counting::Ignore {
            return;
        }
        for byte in heard {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let state = if line == b"STATUS" { "// Klipper state: Not ready\n" } else { "" };
            let why = self.why;
            let answer = match line.as_slice() {
                b"M105" => "ok T:0\n".to_owned(),
                b"" | b"M112" => "ok\n".to_owned(),
                _ => format!("// {why}\n// Printer is shutdown\n{state}!! {why}\nok\n"),
            };
            self.out.extend_from_slice(answer.as_bytes());
        }
    }

    /// Repetier's request: what it has received is thrown away.
    fn ask_again(&mut self, why: &str) {
        self.received.clear();
        self.line.clear();
        self.report.resends += 1;
        self.skips = SKIPPED_MAX;
        let request = format!("{why}\r\nResend:{}\r\nok\r\n", self.last_number + 1);
        self.out.extend_from_slice(request.as_bytes());
    }
}
