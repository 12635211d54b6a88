//! Machines that run program files, as the program-file link tells of them: lines are kept, and run when all are there.
//!
//! ```text
//! > $I
//! < [PROGRAM:blocks,120]                      how programs get in, and the longest line, in characters
//! < ok
//! > G1X10F600
//! < ok                                        the controller has taken the block with this line
//! > $START
//! < ok                                        the controller says that the program runs
//! > ENQ (0x05)
//! < <Run|MPos:1.250,0.000,0.000|Bf:4294967200,0>   4294967295 less the lines taken and not executed
//! < <Idle|MPos:…|Bf:4294967295,0>             it has said that the program came to its end
//! < ALARM:not_started The controller was told to start …
//! ```
//!
//! The bytes that skip the lines are those of the mailbox. What is behind this is in `docs/modbus.md` and
//! `modbus::program`.

use gcode_tools::wire::Numbers;

use super::grbl::read_status;
use super::{
    Asking, Calm, Dialect, Habits, Likeness, MotionEnd, NumbersRead, Reply, Spelling, StopHabit, Word, printable,
};
use crate::flow::Limits;
use crate::interlock::Cleared;
use crate::snapshot::Identity;

/// The vocabulary of program files.
#[derive(Debug)]
pub(super) struct ProgramFile;

static HABITS: Habits = Habits {
    name: "program-file",
    printer: false,
    numbered: false,
    counter: None,
    registers: true,
    // Several blocks' worth: the next one is ready when a block was taken.
    window: Limits { lines: 256, bytes: 8192 },
    line_max: 240,
    // `docs/modbus.md` says so.
    numbers: NumbersRead::always(Numbers::Plain),
    spoils: "",
    identify: "$I",
    ok_when_taken: false,
    ok_after_resend: false,
    needs_proof: true,
    banner: true,
    asking: Asking::Realtime { every_ms: 200 },
    motion_end: MotionEnd::Started("$START"),
    // Lines taken are only kept: until the controller says which one it executes, none is.
    planner_blocks: u32::MAX,
    settings: &[],
    place: &[],
    inactivity: None,
    keepalive: false,
    card: None,
    // It is of the program, and the controller's business when that runs.
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

impl Dialect for ProgramFile {
    fn habits(&self) -> &Habits {
        &HABITS
    }

    fn read(&self, line: &[u8], heard: &mut Vec<Reply>) {
        heard.push(read(line.trim_ascii()));
    }

    fn likeness(&self, line: &[u8]) -> Likeness {
        if line.starts_with(b"[PROGRAM") { Likeness::Proof } else { Likeness::None }
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
            Word::Unlock => Spelling::Lines(vec!["$X".to_owned()]),
            Word::Home
            | Word::Jog(_)
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
    if let Some((code, sentence)) = line.strip_prefix(b"error:").and_then(coded) {
        return Reply::Refused { code, sentence, answers: true };
    }
    if let Some((code, sentence)) = line.strip_prefix(b"ALARM:").and_then(coded) {
        return Reply::Alarm { code, sentence, needs_reset: false };
    }
    if let Some(text) = line.strip_prefix(b"[MSG:").and_then(|rest| rest.strip_suffix(b"]")) {
        return Reply::Message(printable(text));
    }
    if line == b"[PROGRAM ready]" {
        return Reply::Started;
    }
    let Some(fields) = line.strip_prefix(b"[PROGRAM:").and_then(|rest| rest.strip_suffix(b"]")) else {
        return Reply::Chatter;
    };
    let way = printable(fields.split(|byte| *byte == b',').next().unwrap_or_default());
    Reply::Identity(Box::new(Identity {
        firmware: format!("Program files by {way}"),
        planner_blocks: Some(HABITS.planner_blocks),
        ..Identity::default()
    }))
}

/// A code, and the sentence behind it.
fn coded(text: &[u8]) -> Option<(String, String)> {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let (code, sentence) = text.split_at(end);
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_');
    (!code.is_empty() && code.iter().all(plain)).then(|| (format!("program.{}", printable(code)), printable(sentence)))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn codes_carry_their_sentence() {
        let Reply::Alarm { code, sentence, .. } = read(b"ALARM:alarm.2 A limit switch was hit.") else { panic!() };
        assert_eq!((code.as_str(), sentence.as_str()), ("program.alarm.2", "A limit switch was hit."));
        let Reply::Refused { code, .. } = read(b"error:line_too_long The line is too long.") else { panic!() };
        assert_eq!(code, "program.line_too_long");
        assert!(matches!(read(b"ALARM:<b>"), Reply::Chatter));
    }

    #[test]
    fn an_introduction_is_read_and_never_taken_for_a_mailboxs() {
        let Reply::Identity(identity) = read(b"[PROGRAM:blocks,120]") else { panic!() };
        assert_eq!(identity.firmware, "Program files by blocks");
        assert_eq!(
            super::super::of_line(b"[PROGRAM:number,120]").map(|(dialect, _)| dialect.habits().name),
            Some("program-file")
        );
    }
}
