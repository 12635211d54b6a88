//! RepRapFirmware 3 on USB: Marlin's answers, no line counter, and damaged lines passed over in silence.
//!
//! ```text
//! > N1 M115*39
//! < FIRMWARE_NAME: RepRapFirmware for Duet 3 MB6HC FIRMWARE_VERSION: 3.5.3 ELECTRONICS: Duet 3 MB6HC v1.01
//! < ok
//! > N1 G1 X999*113
//! < Error: G0/G1: target position outside machine limits
//! < ok
//! > N1 G1 X10*99
//! <                                           the checksum is wrong: nothing at all is said
//! > N1 M105*36
//! < ok T:21.0 /0.0 T0:21.0 /0.0 B:20.5 /0.0
//! ```
//!
//! The number is not looked at, but a checksum is taken only behind one. What was passed over cannot be told from an
//! answer that was lost; so one line is in flight at a time, and an answer that does not come holds the job. M112 on
//! USB waits for the line in front of it.
//!
//! Sources: RepRapFirmware 3.5 `StringParser.cpp` (checksum), `GCodes.cpp` (replies; USB is `Compatibility::Marlin`),
//! `GCodes2.cpp` (M115), `GCodeInput.cpp`, `RepRap.cpp`, `Configuration.h`.

use gcode_tools::wire::Numbers;

use super::marlin::{Framing, HABITS, MarlinLike};
use super::{Habits, Likeness, NumbersRead, Reply, printable, words};
use crate::flow::Limits;

/// `RepRapFirmware`'s vocabulary.
pub(super) static REPRAPFIRMWARE: MarlinLike = MarlinLike {
    habits: Habits {
        name: "reprapfirmware",
        // A line without a checksum is taken; this one fits none.
        spoils: "*999\n",
        numbered: false,
        counter: None,
        // `GCodeInputBufferSize` is 256 (`GCodeInput.h`); one line at a time for the reason above.
        window: Limits { lines: 1, bytes: 255 },
        // `MaxGCodeLength` is 256 with its zero (`Configuration.h`), less number and checksum.
        line_max: 240,
        // An exponent, by its own reader (`NumericConverter.cpp`); and an E right behind a digit is no word (`Seen`).
        numbers: NumbersRead::always(Numbers::Exponents),
        needs_proof: true,
        // Moves in the queue of the largest boards.
        planner_blocks: 60,
        keepalive: false,
        way_out: "When it is safe, restart it (M999 on its page or display, or its reset button), then clear the alarm.",
        ..HABITS
    },
    likeness: |line| {
        let line = line.trim_ascii();
        let name = line.strip_prefix(b"FIRMWARE_NAME:").map_or(&b""[..], <[u8]>::trim_ascii);
        let up = line.starts_with(b"RepRapFirmware") && line.ends_with(b"is up and running.");
        if up || name.starts_with(b"RepRapFirmware") { Likeness::Proof } else { Likeness::None }
    },
    own,
    words: &[words::reprapfirmware::OWN, words::marlin::BANG, words::marlin::COMMON],
    framing: Framing::Checked,
    halt: b"\nM112\n",
    query: None,
    stop_waiting: None,
    unlock: None,
    quickstop: None,
    choose: None,
};

fn own(line: &[u8], heard: &mut Vec<Reply>) -> bool {
    if line.ends_with(b"is up and running.") {
        heard.push(Reply::Started);
        return true;
    }
    if line.starts_with(b"Emergency Stop") || line.starts_with(b"Emergency stop") {
        heard.push(Reply::Halted { text: printable(line), explained: true });
        return true;
    }
    false
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::dialect::{Dialect as _, Effect};

    #[test]
    fn an_error_is_a_refusal_whose_ok_follows() {
        let mut heard = Vec::new();
        REPRAPFIRMWARE.read(b"Error: G28: failed to home", &mut heard);
        let [Reply::Said(said)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((said.effect, said.text.as_str()), (Effect::Refuse, "G28: failed to home"));
        assert_eq!(said.code, "reprapfirmware.error");
    }

    #[test]
    fn name_and_version_stand_apart() {
        let mut heard = Vec::new();
        let line =
            b"FIRMWARE_NAME: RepRapFirmware for Duet 2 WiFi/Ethernet FIRMWARE_VERSION: 3.5.3 ELECTRONICS: Duet WiFi";
        REPRAPFIRMWARE.read(line, &mut heard);
        let [Reply::Identity(identity)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(identity.firmware, "RepRapFirmware for Duet 2 WiFi/Ethernet 3.5.3");
    }
}
