//! Klipper's pseudo-terminal: bare lines, an `ok` for each, and errors that come before their `ok`.
//!
//! ```text
//! > STATUS
//! < // Klipper state: Ready
//! < ok
//! > M115
//! < ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.12.0-272-g84104bbb
//! > G1 X999
//! < !! Move out of range: 999.000 0.000 0.000 [0.000]
//! < ok
//! > M109 S200
//! < T0:21.3 /200.0 B:20.5 /0.0                once a second until it is hot
//! < ok
//! ```
//!
//! One that shuts down says only that it did. Why is in the answer to the next line, whatever that is:
//!
//! ```text
//! < // Klipper state: Shutdown
//! > STATUS
//! < // MCU 'mcu' shutdown: Timer too close
//! < // ...                                   what to do, in several lines
//! < // Klipper state: Not ready
//! < !! MCU 'mcu' shutdown: Timer too close
//! < ok
//! ```
//!
//! One that starts says so for some seconds, and is ready by itself then:
//!
//! ```text
//! > STATUS
//! < // Printer is not ready
//! < // The klippy host software is attempting to connect.  Please
//! < // retry in a few moments.
//! < // Klipper state: Not ready
//! < !! Printer is not ready
//! < ok
//! ```
//!
//! Numbers and checksums are passed over. Nothing is lost on a pseudo-terminal, so several lines may be in flight;
//! fewer than 20, because only then is M112 acted on out of its turn. How many moves are on their way is not told:
//! they are buffered by time. There is no sign of life but temperatures while something is heated.
//!
//! A print that another host started (through its socket, from its virtual card) shows in M27 and in positions that change:
//! every answer goes to every client.
//!
//! Sources: Klipper `klippy/gcode.py`, `klippy/klippy.py`, `klippy/extras/virtual_sdcard.py`, `klippy/extras/gcode_move.py`, `klippy/extras/heaters.py`, `klippy/toolhead.py`.

use gcode_tools::wire::Numbers;

use super::marlin::{Framing, HABITS, MarlinLike, read_identity, read_temperatures};
use super::{Habits, Likeness, NumbersRead, Reply, StopHabit, printable, words};
use crate::flow::Limits;

/// Klipper's vocabulary.
pub(super) static KLIPPER: MarlinLike = MarlinLike {
    habits: Habits {
        name: "klipper",
        // A line is cut at its letters (`args_r` in `gcode.py`), and no number has one.
        numbers: NumbersRead::always(Numbers::Plain),
        // A number with an asterisk in it is none.
        spoils: "*999\n",
        numbered: false,
        counter: None,
        // Fewer than the 20 pending lines up to which M112 is looked for (`gcode.py`), and a read of 4096 bytes.
        window: Limits { lines: 16, bytes: 4_000 },
        // There is no limit of its own; a line fits into one read.
        line_max: 4_000,
        // A printer that is not ready says so, and is none to be given a job.
        identify: "STATUS\nM115",
        needs_proof: true,
        banner: false,
        // Moves of up to two seconds are on their way (`BUFFER_TIME_HIGH`), however many those are.
        planner_blocks: 10_000,
        keepalive: false,
        // `gcode.py` looks for it in what has arrived, past the line that runs.
        stop: StopHabit::AtOnce,
        asks_why: Some("STATUS"),
        // What it says itself when it is down (`klippy.py`).
        way_out: "When its cause is gone, say FIRMWARE_RESTART at its console, then clear the alarm.",
        ..HABITS
    },
    likeness: |line| {
        let known = [&b"ok FIRMWARE_NAME:Klipper"[..], b"// FIRMWARE_NAME:Klipper", b"// Klipper state:"];
        if known.iter().any(|known| line.starts_with(known)) { Likeness::Proof } else { Likeness::None }
    },
    own,
    words: &[words::klipper::OWN, words::marlin::COMMON],
    framing: Framing::Bare,
    halt: b"\nM112\n",
    query: None,
    stop_waiting: None,
    unlock: None,
    quickstop: None,
    choose: None,
};

/// What a host says of itself that is down for good.
const DOWN: [&[u8]; 4] = [
    b"Printer is shutdown",
    b"Printer is halted",
    b"Error configuring printer",
    b"Protocol error connecting to printer",
];

fn own(line: &[u8], heard: &mut Vec<Reply>) -> bool {
    if let Some(identity) = line.strip_prefix(b"ok ").and_then(read_identity) {
        heard.push(Reply::Identity(Box::new(identity)));
        heard.push(Reply::Ok { number: None, planner_free: None, queue_free: None });
        return true;
    }
    if let Some(state) = line.strip_prefix(b"// Klipper state: ") {
        heard.push(match state {
            b"Ready" => Reply::Message(printable(line)),
            // Why not stands in front of it and behind it.
            b"Not ready" => Reply::Chatter,
            // The host goes, and comes back by itself (`RESTART`, `klippy.py`).
            b"Disconnect" => Reply::Started,
            _ => Reply::Halted { text: printable(state), explained: false },
        });
        return true;
    }
    if let Some(text) = line.strip_prefix(b"// ") {
        // How the message ends that says why it is not ready (`klippy.py`): in these it stays so until somebody acts.
        if DOWN.iter().any(|word| text.starts_with(word)) {
            heard.push(Reply::Halted { text: printable(text), explained: false });
            return true;
        }
    }
    if let Some(text) = line.strip_prefix(b"!!") {
        let text = printable(text);
        let lower = text.to_ascii_lowercase();
        if lower.contains("printer is not ready") || lower.contains("attempting to connect") {
            heard.push(Reply::Starting(text));
            return true;
        }
        let over = ["shutdown", "lost communication", "halted"].iter().any(|word| lower.contains(word));
        if over {
            // The line it was at ends with it (`extras/homing.py`), and does not know why either.
            let explained = !lower.contains("due to printer shutdown");
            heard.push(Reply::Halted { text, explained });
        }
        return over;
    }
    // Said unasked while something heats or cools, also from within a macro.
    if read_temperatures(line, heard) {
        if let Some(Reply::Temperatures(told)) = heard.last() {
            if told.iter().any(|(_, actual_c, target_c)| is_on_its_way(*actual_c, target_c.unwrap_or(0.0))) {
                heard.push(Reply::Heats);
            }
        }
        return true;
    }
    false
}

/// Whether a heater may be waited for: it is not where it is to be. Told by one that has nothing to wait for,
/// temperatures are no work.
fn is_on_its_way(actual_c: f64, target_c: f64) -> bool {
    if target_c > 0.0 { (actual_c - target_c).abs() > NEAR_C } else { actual_c > COOL_C }
}

/// How near to its target a heater counts as being there, and what counts as cold, in °C. Klipper itself waits to within
/// 1 °C (`check_busy` of `ControlPID`, `extras/heaters.py`), which it reaches soon behind.
const NEAR_C: f64 = 2.0;
const COOL_C: f64 = 40.0;

#[cfg(test)]
mod test {
    use super::*;
    use crate::dialect::{Dialect as _, Effect};

    fn heard(line: &str) -> Vec<Reply> {
        let mut heard = Vec::new();
        KLIPPER.read(line.as_bytes(), &mut heard);
        heard
    }

    #[test]
    fn a_command_that_fails_is_told_from_a_printer_that_is_down() {
        let effect = |line: &str| match heard(line).pop() {
            Some(Reply::Said(said)) => said.effect,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(effect("!! Must home axis first: 1.000"), Effect::Refuse);
        assert_eq!(effect("!! Move out of range: 999.000 0.000 0.000 [0.000]"), Effect::Refuse);
        assert_eq!(effect("// Unknown command:\"M40\""), Effect::Ignore);
        assert!(matches!(heard("!! Printer is not ready")[0], Reply::Starting(_)), "it will be ready by itself");
        assert_eq!(
            heard("// Klipper state: Not ready"),
            [Reply::Chatter],
            "said of one that starts and of one that is down"
        );
        assert_eq!(heard("// Klipper state: Disconnect"), [Reply::Started]);
        assert!(matches!(heard("// Printer is halted")[0], Reply::Halted { explained: false, .. }));
        assert!(matches!(heard("// Klipper state: Shutdown")[0], Reply::Halted { explained: false, .. }));
        assert!(matches!(heard("!! MCU 'mcu' shutdown: Timer too close")[0], Reply::Halted { explained: true, .. }));
        assert!(matches!(heard("// Klipper state: Ready")[0], Reply::Message(_)));
    }

    #[test]
    fn temperatures_are_work_only_while_something_is_on_its_way() {
        let works = |line: &str| heard(line).contains(&Reply::Heats);
        assert!(works("B:23.4 /60.0 T0:21.0 /0.0") && works("T0:180.0 /0.0"));
        assert!(!works("B:60.4 /60.0 T0:21.0 /0.0") && !works("T0:21.0 /0.0"));
    }

    #[test]
    fn it_names_itself_behind_its_ok() {
        let replies = heard("ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.12.0-272");
        let Reply::Identity(identity) = &replies[0] else { panic!("{replies:?}") };
        assert_eq!(identity.firmware, "Klipper v0.12.0-272");
        assert!(matches!(replies[1], Reply::Ok { .. }));
    }
}
