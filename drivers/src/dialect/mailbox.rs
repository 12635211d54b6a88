//! The mailbox: programs in Modbus registers, as the mailbox link tells of them.
//!
//! ```text
//! > $I
//! < [MAILBOX:1,30,60,2000]                    version, slots, characters a line, watchdog in milliseconds
//! < ok
//! > G1X10F600
//! < ok                                        the machine took the line
//! > ENQ (0x05)
//! < <Run|MPos:1.250,0.000,0.000|Bf:65534,0|FS:600,0>   65535 less the lines taken and not executed
//! > G1Z-200
//! < error:4
//! < [MAILBOX taken:7]                         another host has opened a session
//! ```
//!
//! The bytes that skip the lines are control bytes, which no line can hold: ENQ asks, DC3 holds, DC1 resumes, ETX stops,
//! CAN drops. The registers behind this are in `docs/modbus.md` and `modbus::mailbox`.

use gcode_tools::wire::Numbers;

use super::grbl::{integer, read_status};
use super::{
    Asking, Calm, Dialect, Habits, Likeness, MotionEnd, NumbersRead, Reply, Spelling, StopHabit, Word, printable,
};
use crate::flow::Limits;
use crate::interlock::Cleared;
use crate::snapshot::Identity;

/// The mailbox's vocabulary.
#[derive(Debug)]
pub(super) struct Mailbox;

static HABITS: Habits = Habits {
    name: "mailbox",
    printer: false,
    numbered: false,
    counter: None,
    registers: true,
    // Two writes' worth for a machine with 32 slots: one in its slots, one on its way.
    window: Limits { lines: 64, bytes: 4096 },
    line_max: 200,
    // `docs/modbus.md` says so.
    numbers: NumbersRead::always(Numbers::Plain),
    spoils: "",
    identify: "$I",
    ok_when_taken: false,
    ok_after_resend: false,
    needs_proof: true,
    banner: true,
    asking: Asking::Realtime { every_ms: 200 },
    motion_end: MotionEnd::IdleReport,
    // The machine says exactly how many lines it has taken and not executed; until it has, all may be.
    planner_blocks: 65_535,
    settings: &[],
    place: &[],
    inactivity: None,
    keepalive: false,
    card: None,
    tool_change: true,
    keepalive_word: None,
    auto_report: None,
    stop: StopHabit::AtOnce,
    asks_why: None,
    answers_moves_early: false,
    error_sticks: false,
    spindle_waits_s: 0,
    way_out: "When it is safe, reset the controller as its manual says, then clear the alarm.",
};

impl Dialect for Mailbox {
    fn habits(&self) -> &Habits {
        &HABITS
    }

    fn read(&self, line: &[u8], heard: &mut Vec<Reply>) {
        heard.push(read(line.trim_ascii()));
    }

    fn likeness(&self, line: &[u8]) -> Likeness {
        if line.starts_with(b"[MAILBOX") { Likeness::Proof } else { Likeness::None }
    }

    fn spell(&self, command: Cleared<'_>, _number: Option<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(command.text());
        out.push(b'\n');
    }

    fn calm(&self, word: Calm) -> Spelling {
        match word {
            Calm::Query => Spelling::Realtime(vec![0x05]),
            Calm::Hold => Spelling::Realtime(vec![0x13]),
            Calm::Halt => Spelling::Realtime(vec![0x03]),
            Calm::Drop => Spelling::Realtime(vec![0x18]),
            Calm::StopWaiting | Calm::EndJog | Calm::SpindleOffInHold => Spelling::None,
        }
    }

    fn word(&self, word: &Word) -> Spelling {
        match word {
            Word::Home => Spelling::Lines(vec!["$H".to_owned()]),
            Word::Unlock => Spelling::Lines(vec!["$X".to_owned()]),
            Word::Jog(_)
            | Word::Probe(_)
            | Word::Override(_)
            | Word::OverrideStep { .. }
            | Word::Lift(_)
            | Word::Choose(_)
            | Word::Absolute => Spelling::None,
        }
    }

    fn resume(&self) -> Spelling {
        Spelling::Realtime(vec![0x11])
    }
}

fn read(line: &[u8]) -> Reply {
    if line == b"ok" {
        return Reply::Ok { number: None, planner_free: None, queue_free: None };
    }
    if let Some(report) = line.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")) {
        return read_status(report).map_or(Reply::Chatter, |status| Reply::Status(Box::new(status)));
    }
    if let Some(number) = line.strip_prefix(b"error:").and_then(integer) {
        return Reply::Refused {
            code: format!("mailbox.error.{number}"),
            sentence: error_sentence(number),
            answers: true,
        };
    }
    if let Some(number) = line.strip_prefix(b"ALARM:").and_then(integer) {
        return Reply::Alarm {
            code: format!("mailbox.alarm.{number}"),
            sentence: alarm_sentence(number),
            needs_reset: false,
        };
    }
    if line == b"[MAILBOX ready]" {
        return Reply::Started;
    }
    if let Some(session) =
        line.strip_prefix(b"[MAILBOX taken:").and_then(|rest| rest.strip_suffix(b"]")).and_then(integer)
    {
        return Reply::Alarm {
            code: "mailbox.taken".to_owned(),
            sentence: format!(
                "Another host has opened session {session} in the machine's mailbox: it is another agent's now."
            ),
            needs_reset: false,
        };
    }
    let Some(fields) = line.strip_prefix(b"[MAILBOX:").and_then(|rest| rest.strip_suffix(b"]")) else {
        return Reply::Chatter;
    };
    let fields = printable(fields);
    let mut fields = fields.split(',');
    let version = fields.next().unwrap_or("");
    let mut capabilities: Vec<String> = Vec::new();
    if let Some(slots) = fields.next() {
        capabilities.push(format!("slots:{slots}"));
    }
    if let Some(watchdog) = fields.nth(1).filter(|watchdog| *watchdog != "0") {
        capabilities.push(format!("watchdog_ms:{watchdog}"));
    }
    Reply::Identity(Box::new(Identity {
        firmware: format!("Mailbox {version}"),
        planner_blocks: Some(HABITS.planner_blocks),
        capabilities,
        ..Identity::default()
    }))
}

/// What an error code of the document means.
fn error_sentence(number: u32) -> String {
    match number {
        1 => "The controller does not know a word of the line.",
        2 => "A value of the line is missing or outside what the controller takes.",
        3 => "The machine must be homed first.",
        4 => "The line leads outside the machine's travel.",
        5 => "The line arrived with a length that cannot be.",
        6 => "The arc of the line is impossible.",
        7 => "The spindle or the laser is not ready.",
        8 => "The controller is in a mode in which it takes no lines.",
        9 => "The line moves without a feed.",
        100 => "The machine is in alarm or not known yet; the line was not written into its mailbox.",
        101 => "The line is longer than a slot of the machine's mailbox.",
        number => return format!("The controller refused the line with its own code {number}."),
    }
    .to_owned()
}

/// What an alarm code of the document means.
fn alarm_sentence(number: u32) -> String {
    match number {
        1 => "An emergency stop was pressed or asked for.",
        2 => "A limit switch was hit.",
        3 => "A drive reports a fault.",
        4 => "Homing failed.",
        5 => "The host's beat stood still for longer than the machine's watchdog allows.",
        number => return format!("The controller is in alarm with its own code {number}."),
    }
    .to_owned()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_introduction_is_read_and_never_taken_for_grbls() {
        let Reply::Identity(identity) = read(b"[MAILBOX:1,30,40,2000]") else { panic!() };
        assert_eq!(identity.firmware, "Mailbox 1");
        assert_eq!(identity.capabilities, ["slots:30", "watchdog_ms:2000"]);
        assert_eq!(
            super::super::of_line(b"[MAILBOX:1,30,40,2000]").map(|(dialect, _)| dialect.habits().name),
            Some("mailbox")
        );
        assert_eq!(read(b"[MAILBOX ready]"), Reply::Started);
    }

    #[test]
    fn codes_become_sentences() {
        let Reply::Refused { code, sentence, .. } = read(b"error:4") else { panic!() };
        assert_eq!(code, "mailbox.error.4");
        assert!(sentence.contains("travel"));
        let Reply::Alarm { sentence, .. } = read(b"ALARM:77") else { panic!() };
        assert!(sentence.contains("77"));
        let Reply::Alarm { code, sentence, .. } = read(b"[MAILBOX taken:7]") else { panic!() };
        assert!(code == "mailbox.taken" && sentence.contains("session 7"), "{sentence}");
    }
}
