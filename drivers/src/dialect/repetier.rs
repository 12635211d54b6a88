//! Repetier-Firmware: Marlin's numbered lines, answered when they are taken and not when they are done.
//!
//! ```text
//! < start
//! < PowerUp
//! > M115
//! < ok 0
//! < FIRMWARE_NAME:Repetier_1.0.4 COMPILED:Aug  3 2022 PROTOCOL_VERSION:1.0 MACHINE_TYPE:Mendel REPETIER_PROTOCOL:3
//! < Cap:EMERGENCY_PARSER:0
//! > N2 G1 X10*98
//! < Error:Wrong checksum
//! < Resend:2
//! < ok                                        no number: this answers no line
//! > N3 G1 X20*101
//! < skip 3
//! < ok
//! < wait
//! ```
//!
//! A line that is passed over is one that it has already, or any of the fourteen behind a line that it asked for.
//! `ok` names its line; what follows a resend or a line passed over does not. `wait` says that no line is left to be taken,
//! each second (`gcode.cpp`); what was taken may still move. M112 resets the board.
//!
//! Sources: Repetier-Firmware 1.0.4 `src/ArduinoAVR/Repetier/gcode.cpp`, `Communication.cpp`, `Commands.cpp`,
//! `Configuration.h`, `gcode.h`.

use gcode_tools::wire::Numbers;

use super::marlin::{Framing, HABITS, MarlinLike, number};
use super::{Asking, Habits, HostAction, Likeness, NumbersRead, Reply, words};

/// Repetier-Firmware's vocabulary.
pub(super) static REPETIER: MarlinLike = MarlinLike {
    habits: Habits {
        name: "repetier",
        ok_when_taken: true,
        // `strtod` for moves (`parseFloatValue` in `gcode.h`); on a Due that reads `0X10` as well.
        numbers: NumbersRead::always(Numbers::Exponents),
        needs_proof: true,
        // Positions are said when the question is reached, long after its `ok`: asked for at the end only.
        asking: Asking::Commands { every_ms: 2_000, commands: &["M105"] },
        // `PRINTLINE_CACHE_SIZE` is 24 (`Configuration.h`), and the command that is taken and not begun is one more.
        planner_blocks: 25,
        // `KILL_METHOD` 1 restarts the board; after an error of a heater it waits for M999 (`Communication.cpp`).
        way_out: "When it is safe, clear the alarm: an emergency stop has restarted it. After an error it waits for M999 \
                  at its display, or for its reset button.",
        ..HABITS
    },
    likeness: |line| {
        if line.trim_ascii().starts_with(b"FIRMWARE_NAME:Repetier") { Likeness::Proof } else { Likeness::None }
    },
    own,
    words: &[words::repetier::OWN, words::marlin::BANG, words::marlin::COMMON],
    framing: Framing::Numbered,
    halt: b"\nM112\n",
    query: None,
    stop_waiting: Some("M108"),
    unlock: None,
    quickstop: None,
    choose: None,
};

fn own(line: &[u8], heard: &mut Vec<Reply>) -> bool {
    let heard_one = if let Some(digits) = line.strip_prefix(b"ok ").filter(|rest| rest.iter().all(u8::is_ascii_digit)) {
        Reply::Ok { number: number(digits), planner_free: None, queue_free: None }
    } else if let Some(number) = line.strip_prefix(b"skip ").and_then(number) {
        Reply::PassedOver { number }
    } else if line.starts_with(b"busy:paused") || line.starts_with(b"busy:door open") {
        Reply::NeedsPerson
    } else if line.starts_with(b"busy:") {
        Reply::Busy
    } else if line.starts_with(b"RequestContinue:") {
        // Chosen at its display (`Printer.cpp`, `continuePrint`).
        Reply::Action(HostAction::Resume)
    } else {
        return false;
    };
    heard.push(heard_one);
    true
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::dialect::Dialect as _;

    #[test]
    fn an_ok_names_its_line_and_a_wait_is_no_work() {
        let heard = |line: &str| {
            let mut heard = Vec::new();
            REPETIER.read(line.as_bytes(), &mut heard);
            heard
        };
        assert_eq!(heard("ok 12"), [Reply::Ok { number: Some(12), planner_free: None, queue_free: None }]);
        assert_eq!(heard("ok"), [Reply::Ok { number: None, planner_free: None, queue_free: None }]);
        assert_eq!(heard("Resend:12"), [Reply::Resend { number: 12 }]);
        assert_eq!(heard("wait"), [Reply::WantsLines]);
        assert_eq!(heard("skip 13"), [Reply::PassedOver { number: 13 }]);
        assert_eq!(heard("skip x"), [Reply::ChecksumError]);
        assert_eq!(heard("busy:heating"), [Reply::Busy]);
        assert!(matches!(heard("fatal:Heater decoupled")[0], Reply::Halted { .. }));
    }
}
