//! One block of a program's text: how it is written, and its checksum.

use gcode_tools::profile::modbus::{Blocks, Checksum};

use super::map::Map;
use crate::modbus::crc::crc;
use crate::modbus::question::WRITE_REGISTERS_MAX;
use crate::modbus::{Question, Table, value};

/// What writes a block: its text, length and checksum, together where they are neighbours, and last of all its number.
pub(super) fn writes(map: &Map, blocks: &Blocks, number: u16, text: &[u8]) -> Vec<Question> {
    let mut parts: Vec<(u16, Vec<u16>)> = Vec::new();
    let mut apart = Vec::new();
    if let Some(point) = map.point(&blocks.text) {
        parts.push((point.address, value::encode_text(point, text)));
    }
    let checksum = blocks.checksum.as_ref().map(|name| (name, checksum(blocks.checksum_form, text)));
    for (name, number) in [(&blocks.length, text.len() as u16)].into_iter().chain(checksum) {
        let Some(point) = map.point(name) else { continue };
        let Ok(words) = value::encode(point, f64::from(number)) else { continue };
        if point.table == Table::Holding {
            parts.push((point.address, words));
        } else {
            apart.push(Question::write(point, words));
        }
    }
    parts.sort_by_key(|(address, _)| *address);
    let mut joined: Vec<(u16, Vec<u16>)> = Vec::new();
    for (address, words) in parts {
        match joined.last_mut() {
            Some((first, before))
                if usize::from(*first) + before.len() == usize::from(address)
                    && before.len() + words.len() <= WRITE_REGISTERS_MAX =>
            {
                before.extend(words);
            }
            _ => joined.push((address, words)),
        }
    }
    apart.extend(joined.into_iter().map(|(address, words)| match words.as_slice() {
        [word] => Question::WriteOne { address, word: *word },
        _ => Question::Write { address, words },
    }));
    apart.extend(map.write(&blocks.number, f64::from(number)));
    apart
}

/// The number of the block behind a block: 0 is not one.
pub(super) fn next_number(number: u16) -> u16 {
    number.checked_add(1).unwrap_or(1)
}

fn checksum(form: Checksum, bytes: &[u8]) -> u16 {
    match form {
        Checksum::Sum16 => bytes.iter().fold(0, |sum: u16, byte| sum.wrapping_add(u16::from(*byte))),
        Checksum::Crc16 => crc(bytes),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn checksums_are_those_that_manuals_give() {
        // The check value of CRC-16/MODBUS, and a sum.
        assert_eq!(checksum(Checksum::Crc16, b"123456789"), 0x4b37);
        assert_eq!(checksum(Checksum::Sum16, b"123456789"), 477);
    }
}
