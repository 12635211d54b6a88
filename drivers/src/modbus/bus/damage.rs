//! What is wrong with bytes on a serial line that are no answer.

use super::super::crc::crc;
use super::super::{Question, Trouble};

/// Bytes of an exception's frame.
const EXCEPTION_BYTES: usize = 5;

/// Bytes around the data of a read: unit, function, count and check.
const READ_FRAME_BYTES: usize = 5;

/// Bit of the function that says that an exception follows.
const EXCEPTION: u8 = 0x80;

/// Why what was heard from the question on is no answer to it.
pub(super) fn damage(unit: u8, question: &Question, heard: &[u8]) -> Trouble {
    let (Some(from), function) = (heard.first(), heard.get(1).copied()) else { return Trouble::Overdue };
    let asked = question.function();
    let refuses = function == Some(asked | EXCEPTION);
    let whole = if refuses { EXCEPTION_BYTES } else { question.line_bytes().1 };
    let has_crc =
        |frame: &[u8]| frame.split_last_chunk().is_some_and(|(body, check)| crc(body).to_le_bytes() == *check);
    let sentence = match heard.get(..whole) {
        _ if *from == unit && has_wide_count(question, heard) && has_crc(heard) => {
            "its count of bytes takes two of them, where the standard has one: set the device to standard Modbus \
             (Huanyang's H2A and P2A: F9.05 = 1)"
                .to_owned()
        }
        // Of a frame with a right check every byte is as it was sent.
        Some(frame) if has_crc(frame) && *from != unit => format!("unit {from} answered in the place of unit {unit}"),
        None if *from != unit => format!("{} bytes that unit {unit} cannot have sent", heard.len()),
        _ if function.is_some_and(|function| function != asked) && !refuses => {
            format!("an answer to function {} where {asked} was asked", function.unwrap_or_default())
        }
        Some(frame) if !has_crc(frame) => "its CRC is wrong".to_owned(),
        _ => format!("{} bytes that are no whole answer", heard.len()),
    };
    Trouble::Damaged(sentence)
}

/// Whether an answer to a read says in two bytes how many follow, as Huanyang's H2A and P2A do by themselves.
fn has_wide_count(question: &Question, heard: &[u8]) -> bool {
    let Question::Read { .. } = question else { return false };
    let whole = question.line_bytes().1;
    let count = u16::try_from(whole.saturating_sub(READ_FRAME_BYTES)).unwrap_or_default();
    heard.len() == whole + 1
        && heard.get(1..4) == Some(&[[question.function()].as_slice(), &count.to_be_bytes()].concat())
}

#[cfg(test)]
mod test {
    use super::super::super::Table;
    use super::*;

    #[test]
    fn a_damaged_answer_was_told_in_the_librarys_own_words_or_as_a_short_one() {
        let question = Question::Read { table: Table::Holding, address: 107, count: 3 };
        let right = [0x11, 0x03, 0x06, 0xae, 0x41, 0x56, 0x52, 0x43, 0x40, 0x49, 0xad];
        let mut turned = right;
        turned[4] ^= 1;
        let said = |unit, heard: &[u8]| damage(unit, &question, heard).to_string();
        assert_eq!(damage(17, &question, &[]), Trouble::Overdue);
        assert_eq!(said(17, &turned), "a damaged answer: its CRC is wrong");
        assert_eq!(said(17, &right[..4]), "a damaged answer: 4 bytes that are no whole answer");
        assert_eq!(said(16, &right), "a damaged answer: unit 17 answered in the place of unit 16");
        assert_eq!(said(16, &right[..4]), "a damaged answer: 4 bytes that unit 16 cannot have sent");
        assert_eq!(
            damage(17, &Question::Read { table: Table::Input, address: 107, count: 3 }, &right).to_string(),
            "a damaged answer: an answer to function 3 where 4 was asked"
        );
        assert_eq!(said(17, &[0x11, 0x83, 2, 0, 0]), "a damaged answer: its CRC is wrong", "an exception");
    }

    #[test]
    fn an_h2a_that_counts_in_two_bytes_had_a_wrong_crc() {
        let question = Question::Read { table: Table::Holding, address: 0x700c, count: 1 };
        let mut answer = vec![0x01, 0x03, 0x00, 0x02, 0x5d, 0xc0];
        answer.extend(crc(&answer).to_le_bytes());
        let said = damage(1, &question, &answer).to_string();
        assert!(said.contains("F9.05 = 1"), "{said}");
        // As the standard has it, and not whole.
        assert!(!damage(1, &question, &answer[..7]).to_string().contains("F9.05"));
    }
}
