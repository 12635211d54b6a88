//! The frames of Huanyang's HY drives, which call themselves Modbus and are not: the functions 1 to 5 mean something of
//! their own, and every frame is unit, function, length, data, CRC.
//!
//! ```text
//! 05 03 01 08 …        stop (1 runs forward, 17 in reverse)       05 03 01 00 …     what it does now
//! 05 05 02 4E 20 …     200.00 Hz                                  05 05 02 4E 20 …
//! 05 04 03 01 00 00 …  what is measured: 1 the frequency          05 04 03 01 4E 20 …
//! 05 01 03 A3 00 00 …  the setting PD163                          05 01 02 A3 05 …
//! ```
//!
//! A profile sees them as registers: holding 0 to 255 are the settings PD000 to PD255, to be read; holding 256 is the
//! command and 257 the frequency, to be written; input 0 to 7 are what it measures. There is one to a question. Settings
//! are not written: they are the business of whoever stands in front of the drive.

use std::time::Duration;

use super::crc::crc;
use super::{Question, Table, Trouble};

/// Quiet before and after each frame, as the drive's manual asks for.
pub(super) const QUIET: Duration = Duration::from_millis(50);

/// The setting with its own address, which is never 0.
pub(super) const ADDRESS_SETTING: u16 = 163;

/// Whether the answer to a question is never the question's own bytes. What reads 0 is answered in just these.
pub(super) fn shows_echo(question: &Question) -> bool {
    matches!(question, Question::Read { table: Table::Holding, address: ADDRESS_SETTING, .. })
}

/// Holding registers that stand for the command and for the frequency.
const COMMAND: u16 = 256;
const FREQUENCY: u16 = 257;

/// Unit, function, length and CRC.
const FRAME_BYTES: usize = 5;

/// The frame of a question; nothing where the drive knows no such question.
pub(super) fn frame(unit: u8, question: &Question) -> Option<Vec<u8>> {
    let (function, data) = body(question)?;
    let mut frame = vec![unit, function, data.len() as u8];
    frame.extend(data);
    frame.extend(crc(&frame).to_le_bytes());
    Some(frame)
}

fn body(question: &Question) -> Option<(u8, Vec<u8>)> {
    Some(match question {
        Question::Read { table: Table::Holding, address, count: 1 } => (1, vec![u8::try_from(*address).ok()?, 0, 0]),
        Question::Read { table: Table::Input, address, count: 1 } => (4, vec![u8::try_from(*address).ok()?, 0, 0]),
        Question::WriteOne { address: COMMAND, word } => (3, vec![u8::try_from(*word).ok()?]),
        Question::WriteOne { address: FREQUENCY, word } => (5, word.to_be_bytes().to_vec()),
        _ => return None,
    })
}

/// What was heard, as an answer to a question; nothing while more of it must come.
pub(super) fn answer(unit: u8, question: &Question, heard: &[u8]) -> Option<Result<Vec<u16>, Trouble>> {
    let length = FRAME_BYTES + usize::from(*heard.get(2)?);
    let frame = heard.get(..length)?;
    let (checked, check) = frame.split_at(length - 2);
    let damaged = |what: &str| Some(Err(Trouble::Damaged(what.to_owned())));
    if crc(checked).to_le_bytes() != check {
        return damaged("its CRC is wrong");
    }
    let Some((function, asked)) = body(question) else { return damaged("nothing was asked") };
    let data = &checked[3..];
    match (checked[0] == unit, checked[1]) {
        (false, other) => damaged(&format!("it is unit {}'s, function {other}", checked[0])),
        // A refusal names what was refused and not why: the drive has no such setting or value.
        (true, refused) if refused == function | 0x80 => Some(Err(Trouble::Exception(2))),
        (true, 3) if function == 3 => Some(Ok(Vec::new())),
        (true, 5) if function == 5 && data == asked.as_slice() => Some(Ok(Vec::new())),
        (true, read) if read == function && data.first() == asked.first() && matches!(read, 1 | 4) => {
            let value = data.iter().skip(1).fold(0_u16, |value, byte| value << 8 | u16::from(*byte));
            Some(Ok(vec![value]))
        }
        (true, other) => damaged(&format!("function {other} answers another question")),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn read(table: Table, address: u16) -> Question {
        Question::Read { table, address, count: 1 }
    }

    #[test]
    fn frames_are_those_that_people_have_recorded_at_their_drives() {
        // Stop, and its answer, of a drive with address 1; then the setting PD001 of one with address 4.
        let stop = Question::WriteOne { address: COMMAND, word: 8 };
        assert_eq!(frame(1, &stop).unwrap(), [0x01, 0x03, 0x01, 0x08, 0xf1, 0x8e]);
        assert_eq!(answer(1, &stop, &[0x01, 0x03, 0x01, 0x09, 0x30, 0x4e]), Some(Ok(vec![])));
        let setting = read(Table::Holding, 1);
        assert_eq!(frame(4, &setting).unwrap(), [0x04, 0x01, 0x03, 0x01, 0x00, 0x00, 0x6d, 0xdb]);
        assert_eq!(answer(4, &setting, &[0x04, 0x01, 0x02, 0x01, 0x02, 0xf5, 0xad]), Some(Ok(vec![2])));
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_damaged_or_not_whole() {
        let question = read(Table::Input, 1);
        let whole = |unit: u8, function: u8, data: &[u8]| {
            let mut frame = vec![unit, function, data.len() as u8];
            frame.extend(data);
            frame.extend(crc(&frame).to_le_bytes());
            frame
        };
        let good = whole(5, 4, &[1, 0x4e, 0x20]);
        assert_eq!(answer(5, &question, &good), Some(Ok(vec![20_000])));
        for short in 0..good.len() {
            assert_eq!(answer(5, &question, &good[..short]), None);
        }
        let mut flipped = good.clone();
        flipped[4] ^= 4;
        for bad in [flipped, whole(6, 4, &[1, 0, 0]), whole(5, 4, &[2, 0, 0]), whole(5, 1, &[1, 0, 0])] {
            assert!(matches!(answer(5, &question, &bad), Some(Err(Trouble::Damaged(_)))), "{bad:?}");
        }
        assert_eq!(answer(5, &question, &whole(5, 0x84, &[1])), Some(Err(Trouble::Exception(2))));
        for unknown in [read(Table::Coil, 1), read(Table::Input, 300), Question::WriteOne { address: 3, word: 1 }] {
            assert_eq!(frame(5, &unknown), None);
        }
    }
}
