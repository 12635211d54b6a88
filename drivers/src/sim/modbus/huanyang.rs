//! A Huanyang HY drive: the simulated drive behind the frames that its maker calls Modbus.

use super::frame::crc;
use super::{Device as _, Drive};
use crate::Moment;
use crate::modbus::{Question, Table};

/// The setting with its own address, which it answers to.
const ADDRESS_SETTING: u8 = 163;

/// A drive of that kind.
#[derive(Debug, Default)]
pub struct Huanyang {
    pub(super) drive: Drive,
}

impl Huanyang {
    /// Takes a question of its own out of what was heard, and answers it. `None`: more must come.
    pub(super) fn hear(&mut self, now: Moment, heard: &mut Vec<u8>) -> Option<Vec<u8>> {
        let length = 5 + usize::from(*heard.get(2)?);
        if heard.len() < length {
            return None;
        }
        let frame: Vec<u8> = heard.drain(..length).collect();
        let (checked, check) = frame.split_at(length - 2);
        if crc(checked).to_le_bytes() != check {
            return Some(Vec::new());
        }
        let (unit, function, asked) = (checked[0], checked[1], &checked[3..]);
        // What is refused comes back with its first byte, if it has any.
        let refused = || (function | 0x80, asked.iter().copied().take(1).collect());
        let (function, data) = self.act(now, unit, function, asked).map_or_else(refused, |data| (function, data));
        let mut answer = vec![unit, function, data.len() as u8];
        answer.extend(data);
        answer.extend(crc(&answer).to_le_bytes());
        Some(answer)
    }

    fn act(&mut self, now: Moment, unit: u8, function: u8, data: &[u8]) -> Option<Vec<u8>> {
        let mut ask = |question: Question| self.drive.ask(now, &question).ok();
        match (function, data) {
            (1, [ADDRESS_SETTING, ..]) => Some(vec![ADDRESS_SETTING, unit]),
            (3, [command]) => {
                let word = match command {
                    1 => 1,
                    17 => 2,
                    8 => 0,
                    _ => return None,
                };
                ask(Question::WriteOne { address: 0, word })?;
                let turns = u8::from(self.drive.turns());
                Some(vec![turns << 3 | u8::from(word != 0)])
            }
            (4, [what, ..]) => {
                // Asked for, frequency, current, revolutions per minute.
                let address = [1, 11, 12, 14].get(usize::from(*what)).copied()?;
                let words = ask(Question::Read { table: Table::Holding, address, count: 1 })?;
                let [high, low] = words.first()?.to_be_bytes();
                Some(vec![*what, high, low])
            }
            (5, [high, low]) => {
                ask(Question::WriteOne { address: 1, word: u16::from_be_bytes([*high, *low]) })?;
                Some(data.to_vec())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_whole_question_that_asks_nothing_is_refused() {
        let framed = |bytes: &[u8]| [bytes, &crc(bytes).to_le_bytes()].concat();
        let mut heard = framed(&[1, 3, 0]);
        let answer = Huanyang::default().hear(Moment::ZERO, &mut heard);
        assert_eq!(answer, Some(framed(&[1, 0x83, 0])));
    }
}
