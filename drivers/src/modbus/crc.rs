//! CRC-16 of Modbus (Modbus over Serial Line 1.02, 6.2.2): polynomial 0xA001, from 0xFFFF.

/// The checksum of bytes; its low byte goes first on a line.
pub(crate) fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod test {
    #[test]
    fn it_is_the_one_of_every_manual() {
        assert_eq!(super::crc(b"123456789"), 0x4b37);
    }
}
