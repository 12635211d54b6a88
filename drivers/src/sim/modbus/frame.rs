//! Frames as a device reads and writes them, on TCP (a header with a number) and on a serial line (a CRC).

use crate::modbus::{Question, Table};

/// How frames are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// With a header of transaction, protocol and length (Modbus Messaging on TCP/IP 1.0b, 3.1.3).
    Tcp,
    /// With a CRC (Modbus over Serial Line 1.02, 2.5.1).
    Rtu,
}

/// A question as it arrived.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) unit: u8,
    transaction: [u8; 2],
    function: u8,
    /// What is asked, or the exception that answers it.
    pub(super) question: Result<Question, u8>,
    /// The first bytes of the question's body: what a write's answer repeats.
    echo: [u8; 4],
}

/// Longest frame on a serial line.
const RTU_BYTES_MAX: usize = 256;

/// Where the unit stands in a frame on TCP.
pub(super) const TCP_UNIT: usize = 6;

/// Longest frame on TCP.
const TCP_BYTES_MAX: usize = 260;

impl Framing {
    /// Takes the next whole question out of what was heard.
    pub(super) fn take(self, heard: &mut Vec<u8>) -> Option<Asked> {
        match self {
            Self::Tcp => take_tcp(heard),
            Self::Rtu => take_rtu(heard),
        }
    }

    /// The frame of an answer.
    pub(super) fn answer(self, asked: &Asked, answered: &Result<Vec<u16>, u8>) -> Vec<u8> {
        let mut body = vec![asked.unit];
        match answered {
            Err(exception) => body.extend([asked.function | 0x80, *exception]),
            Ok(words) => {
                body.push(asked.function);
                match asked.function {
                    1 | 2 => {
                        let mut bytes = vec![0_u8; words.len().div_ceil(8)];
                        for (at, word) in words.iter().enumerate() {
                            bytes[at / 8] |= u8::from(*word != 0) << (at % 8);
                        }
                        body.push(bytes.len() as u8);
                        body.extend(bytes);
                    }
                    3 | 4 | 23 => {
                        body.push((words.len() * 2) as u8);
                        body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
                    }
                    _ => body.extend(asked.echo),
                }
            }
        }
        match self {
            Self::Rtu => {
                body.extend(crc(&body).to_le_bytes());
                body
            }
            Self::Tcp => {
                let mut frame = asked.transaction.to_vec();
                frame.extend([0, 0]);
                frame.extend((body.len() as u16).to_be_bytes());
                frame.extend(body);
                frame
            }
        }
    }
}

fn take_tcp(heard: &mut Vec<u8>) -> Option<Asked> {
    let header: [u8; 6] = heard.get(..6)?.try_into().ok()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[2..4] != [0, 0] || !(2..=TCP_BYTES_MAX - 6).contains(&length) {
        heard.clear();
        return None;
    }
    let body = heard.get(6..6 + length)?.to_vec();
    heard.drain(..6 + length);
    Some(asked(&body, [header[0], header[1]]))
}

fn take_rtu(heard: &mut Vec<u8>) -> Option<Asked> {
    let count = |at: usize| heard.get(at).map(|bytes| usize::from(*bytes));
    let length = match heard.get(1)? {
        1..=6 => 8,
        15 | 16 => 9 + count(6)?,
        23 => 13 + count(10)?,
        _ => RTU_BYTES_MAX + 1,
    };
    if length > RTU_BYTES_MAX {
        heard.clear();
        return None;
    }
    let frame = heard.get(..length)?.to_vec();
    let (body, check) = frame.split_at(length - 2);
    if crc(body).to_le_bytes() != check {
        // A damaged question is answered by nobody; the next begins after a silence.
        heard.clear();
        return None;
    }
    heard.drain(..length);
    Some(asked(body, [0, 0]))
}

/// Reads unit, function and body.
fn asked(body: &[u8], transaction: [u8; 2]) -> Asked {
    let (unit, function) = (body[0], body.get(1).copied().unwrap_or(0));
    let word = |at: usize| Some(u16::from_be_bytes([*body.get(2 + at)?, *body.get(3 + at)?]));
    let words = |from: usize, count: u16| -> Option<Vec<u16>> {
        let bytes = body.get(2 + from..)?;
        (bytes.len() == usize::from(count) * 2)
            .then(|| bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
    };
    let read = |table: Table, max: u16| -> Option<Question> {
        let (address, count) = (word(0)?, word(2)?);
        (1..=max).contains(&count).then_some(Question::Read { table, address, count })
    };
    let question = match function {
        1 => read(Table::Coil, 2000),
        2 => read(Table::Discrete, 2000),
        3 => read(Table::Holding, 125),
        4 => read(Table::Input, 125),
        5 => (|| Some(Question::WriteCoil { address: word(0)?, on: word(2)? == 0xff00 }))(),
        6 => (|| Some(Question::WriteOne { address: word(0)?, word: word(2)? }))(),
        15 => (|| {
            let count = word(2)?;
            let bytes = body.get(7..)?;
            let whole = (1..=1968).contains(&count) && bytes.len() == usize::from(count).div_ceil(8);
            let on = (0..usize::from(count)).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1);
            whole.then(|| Question::WriteCoils { address: word(0).unwrap_or(0), on: on.collect() })
        })(),
        16 => (|| Some(Question::Write { address: word(0)?, words: words(5, word(2)?)? }))(),
        23 => (|| {
            let (read, count, address) = (word(0)?, word(2)?, word(4)?);
            let words = words(9, word(6)?)?;
            (1..=125).contains(&count).then_some(Question::ReadWrite { read, count, address, words })
        })(),
        _ => return Asked { unit, transaction, function, question: Err(1), echo: [0; 4] },
    };
    let echo = body.get(2..6).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    Asked { unit, transaction, function, question: question.ok_or(3), echo }
}

/// CRC-16 of Modbus (Modbus over Serial Line 1.02, 6.2.2): polynomial 0xA001, from 0xFFFF.
pub(super) fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_standards_own_example_is_read_and_answered() {
        // Read holding registers 107 to 109 of unit 17; the CRC as it stands in many manuals.
        let mut heard = vec![0x11, 0x03, 0x00, 0x6b, 0x00, 0x03, 0x76, 0x87];
        let asked = Framing::Rtu.take(&mut heard).unwrap();
        assert!(heard.is_empty() && asked.unit == 17);
        assert_eq!(asked.question, Ok(Question::Read { table: Table::Holding, address: 107, count: 3 }));
        let answer = Framing::Rtu.answer(&asked, &Ok(vec![0xae41, 0x5652, 0x4340]));
        assert_eq!(answer, [0x11, 0x03, 0x06, 0xae, 0x41, 0x56, 0x52, 0x43, 0x40, 0x49, 0xad]);
    }

    #[test]
    fn half_a_frame_waits_and_a_damaged_one_is_thrown_away() {
        let mut heard = vec![0x11, 0x03, 0x00, 0x6b];
        assert!(Framing::Rtu.take(&mut heard).is_none());
        assert_eq!(heard.len(), 4);
        heard.extend([0, 3, 0x76, 0x88]);
        assert!(Framing::Rtu.take(&mut heard).is_none());
        assert!(heard.is_empty());
    }
}
