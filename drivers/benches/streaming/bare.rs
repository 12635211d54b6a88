//! The least a host can do: one blocking loop that keeps the machine's buffer full and counts answers.
//!
//! No history, so no line can be said again; no reports, no stop, no checks. It is what ratios are given to.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

/// What may be unanswered: Grbl's 128 bytes less one; Marlin's 4 commands within its buffer.
const GRBL: (usize, usize) = (usize::MAX, 127);
const MARLIN: (usize, usize) = (4, 118);

/// Arguments: dialect, port, program.
pub(crate) fn run(arguments: &[&str]) {
    let [dialect, port, program] = arguments else { panic!("{arguments:?}") };
    let numbered = *dialect == "marlin";
    let (lines_max, bytes_max) = if numbered { MARLIN } else { GRBL };
    let mut port = File::options().read(true).write(true).open(port).unwrap();
    let mut settings = tcgetattr(&port).unwrap();
    cfmakeraw(&mut settings);
    tcsetattr(&port, SetArg::TCSANOW, &settings).unwrap();
    let mut program = BufReader::new(File::open(program).unwrap());
    super::child::ready();
    if numbered {
        port.write_all(b"N0 M110 N0*125\n").unwrap();
        let mut answer = [0; 64];
        while !answer.contains(&b'k') {
            let _ = port.read(&mut answer).unwrap();
        }
    }
    let (mut text, mut next, mut out) = (Vec::new(), Vec::new(), Vec::new());
    let (mut in_flight, mut bytes, mut number) = (VecDeque::new(), 0, 0_u64);
    let (mut heard, mut ended) = ([0; 4096], false);
    loop {
        while !ended {
            if next.is_empty() {
                text.clear();
                ended = program.read_until(b'\n', &mut text).unwrap() == 0;
                if ended {
                    break;
                }
                number += 1;
                spell(&text, numbered.then_some(number), &mut next);
            }
            if !in_flight.is_empty() && (in_flight.len() >= lines_max || bytes + next.len() > bytes_max) {
                break;
            }
            in_flight.push_back(next.len());
            bytes += next.len();
            out.append(&mut next);
        }
        if !out.is_empty() {
            port.write_all(&out).unwrap();
            out.clear();
        }
        if in_flight.is_empty() {
            break;
        }
        let count = port.read(&mut heard).unwrap();
        // Every answer here is an `ok`: the machine has nothing else to say.
        for _ in heard[..count].iter().filter(|byte| **byte == b'k') {
            bytes -= in_flight.pop_front().unwrap();
        }
    }
    super::child::done();
}

fn spell(text: &[u8], number: Option<u64>, out: &mut Vec<u8>) {
    let Some(number) = number else { return out.extend_from_slice(text) };
    write!(out, "N{number} ").unwrap();
    out.extend_from_slice(text.trim_ascii_end());
    let checksum = out.iter().fold(0, |sum, byte| sum ^ byte);
    writeln!(out, "*{checksum}").unwrap();
}
