//! Smoothieware: Marlin's numbered lines, Grbl's question mark, and a halt that a word ends.
//!
//! ```text
//! < Smoothie
//! < ok
//! > M115
//! < FIRMWARE_NAME:Smoothieware, FIRMWARE_URL:http%3A//smoothieware.org, FIRMWARE_VERSION:edge-bb41e99, PROTOCOL_VERSION:1.0
//! < ok
//! > N2 G1 X10*99
//! < rs N2                                     no `ok` follows, and nothing that was said behind it is thrown away
//! > ?
//! < <Run|MPos:1.2500,0.0000,0.0000|WPos:1.2500,0.0000,0.0000|F:600.0,600.0,100.0|T:21.0,0.0|B:20.5,0.0>
//! > ^X
//! < HALTED, M999 or $X to exit HALT state
//! ```
//!
//! `ok` for a G1 comes before it is planned. `!` and `~` work only on USB and only if the configuration says so; where
//! they do not, they would be text: so a hold lets the machine run to the end of what it has.
//!
//! Sources: Smoothieware `GcodeDispatch.cpp`, `SerialConsole.cpp`, `USBSerial.cpp`, `Kernel.cpp` (the report),
//! `SimpleShell.cpp`, `Conveyor.cpp`.

use gcode_tools::wire::Numbers;

use super::grbl::read_status;
use super::marlin::{Framing, HABITS, MarlinLike, read_position};
use super::{Asking, Effect, Habits, Likeness, NumbersRead, Reply, Said, StopHabit, printable, words};
use crate::flow::Limits;

/// Smoothieware's vocabulary.
pub(super) static SMOOTHIEWARE: MarlinLike = MarlinLike {
    habits: Habits {
        name: "smoothieware",
        ok_after_resend: false,
        answers_moves_early: true,
        // A line without an asterisk is taken unchecked; this checksum fits none.
        spoils: "*999\n",
        // The receive buffer holds 256 (`SerialConsole.h`); one tells full from empty, and a question needs nine.
        window: Limits { lines: 16, bytes: 240 },
        // `parse_float` knows E and X since February 2021 (`nist_float.cpp`), and no version is told to say so.
        numbers: NumbersRead::always(Numbers::Exponents),
        needs_proof: true,
        asking: Asking::Realtime { every_ms: 500 },
        // `planner_queue_size` is 32, and the line that is answered before it is planned is one more.
        planner_blocks: 33,
        keepalive: false,
        stop: StopHabit::AtOnce,
        way_out: "When it is safe, clear the alarm: the agent says M999.",
        ..HABITS
    },
    likeness,
    own,
    words: &[words::smoothieware::OWN, words::marlin::BANG, words::marlin::COMMON],
    framing: Framing::Numbered,
    halt: &[0x18],
    query: Some(b'?'),
    stop_waiting: None,
    unlock: Some("M999"),
    quickstop: None,
    choose: None,
};

fn likeness(line: &[u8]) -> Likeness {
    let known = [&b"FIRMWARE_NAME:Smoothie"[..], b"Smoothie Running", b"HALTED, M999"];
    let line = line.trim_ascii();
    if line == b"Smoothie" || known.iter().any(|known| line.starts_with(known)) {
        Likeness::Proof
    } else {
        Likeness::None
    }
}

fn own(line: &[u8], heard: &mut Vec<Reply>) -> bool {
    if let Some(report) = line.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")) {
        let Some(status) = read_status(report) else {
            heard.push(Reply::Chatter);
            return true;
        };
        heard.push(Reply::Status(Box::new(status)));
        let temperatures = read_temperatures(report);
        if !temperatures.is_empty() {
            heard.push(Reply::Temperatures(temperatures));
        }
        return true;
    }
    if let Some(position) = line.strip_prefix(b"ok C: ") {
        heard.push(Reply::Ok { number: None, planner_free: None, queue_free: None });
        read_position(position, heard);
        return true;
    }
    // `GcodeDispatch.cpp`: answered, and not done.
    if let Some(text) = line.strip_prefix(b"ok - ") {
        let code = words::UNKNOWN_COMMAND.to_owned();
        heard.push(Reply::Said(Said { effect: Effect::Ignore, code, text: printable(text), unknown: false }));
        heard.push(Reply::Ok { number: None, planner_free: None, queue_free: None });
        return true;
    }
    if has_halted(line) {
        let text = printable(line);
        heard.push(Reply::Alarm {
            code: "smoothieware.halted".to_owned(),
            sentence: format!(
                "The machine halted itself (`{text}`); its position is not to be trusted. Home it again."
            ),
            needs_reset: false,
        });
        return true;
    }
    if line == b"Smoothie" || line.starts_with(b"Smoothie Running") {
        heard.push(Reply::Started);
        return true;
    }
    false
}

/// Whether a line says that it has halted: `Robot.cpp`, `TemperatureControl.cpp`, `KillButton.cpp`, `Endstops.cpp`,
/// `LinearDeltaSolution.cpp` and `MotorDriverControl.cpp` each have words of their own for that, and name the way out.
fn has_halted(line: &[u8]) -> bool {
    let stopped = [&b"HALTED"[..], b"!!", b"ALARM:", b"error:Alarm lock", b"Entering Alarm/Halt"];
    let warns = [&b"WARNING"[..], b"//", b"ok", b"["].iter().any(|word| line.starts_with(word));
    let has = |word: &[u8]| memchr::memmem::find(line, word).is_some();
    stopped.iter().any(|word| line.starts_with(word))
        || (!warns && [&b"M999 required"[..], b"HALT asserted", b"HALTED", b"clear HALT"].into_iter().any(has))
}

/// `T:21.0,0.0` and `B:20.5,60.0` among the fields of a report: actual, asked for.
fn read_temperatures(report: &[u8]) -> Vec<(String, f64, Option<f64>)> {
    let text = String::from_utf8_lossy(report);
    let read = |field: &str| {
        let (key, values) = field.split_once(':')?;
        let heater = match key {
            "T" => "tool0".to_owned(),
            "B" => "bed".to_owned(),
            _ => {
                let number: u8 = key.strip_prefix('T')?.parse().ok()?;
                format!("tool{number}")
            }
        };
        let (actual, target) = values.split_once(',')?;
        let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
        Some((heater, number(actual)?, number(target)))
    };
    text.split('|').filter_map(read).collect()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::dialect::{Condition, Dialect as _};

    fn heard(line: &str) -> Vec<Reply> {
        let mut heard = Vec::new();
        SMOOTHIEWARE.read(line.as_bytes(), &mut heard);
        heard
    }

    #[test]
    fn its_report_holds_condition_position_and_temperatures() {
        let line =
            "<Run|MPos:1.2500,2.0000,0.0000|WPos:1.2500,2.0000,0.0000|F:600.0,600.0,100.0|T:21.0,0.0|B:20.5,60.0>";
        let [Reply::Status(status), Reply::Temperatures(heaters)] = &heard(line)[..] else { panic!() };
        assert_eq!((status.condition, status.feed), (Some(Condition::Run), Some(600.0)));
        assert_eq!(status.machine_position, Some([1.25, 2.0, 0.0]));
        assert_eq!(heaters[1], ("bed".to_owned(), 20.5, Some(60.0)));
    }

    #[test]
    fn a_halt_is_an_alarm_and_a_resend_needs_no_ok() {
        for line in [
            "HALTED, M999 or $X to exit HALT state",
            "!!",
            "ALARM: Hard limit +X",
            "error:Alarm lock",
            "Error: Soft Endstop X was exceeded - reset or $X or M999 required",
            "ERROR: Temperature runaway on T (delta temp 21.0), HALT asserted, TURN POWER OFF IMMEDIATELY - reset or M999 required",
            "error: LinearDelta illegal move. HALTED",
        ] {
            assert!(matches!(heard(line)[0], Reply::Alarm { .. }), "{line}");
        }
        let harmless = "WARNING: After HALT you should HOME as position is currently unknown";
        assert!(matches!(heard(harmless)[0], Reply::Message(_)), "said when it is let go");
        assert!(matches!(heard("ok - Invalid G53")[..], [Reply::Said(_), Reply::Ok { .. }]));
        assert_eq!(heard("rs N12"), [Reply::Resend { number: 12 }]);
        assert!(matches!(heard("ok C: X:1.0000 Y:2.0000 Z:3.0000 E:0.0000")[1], Reply::Position(_)));
    }
}
