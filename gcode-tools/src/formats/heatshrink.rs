//! Heatshrink: the small LZSS packing that firmware can unpack in 4 KiB.
//!
//! A stream of bits, highest first: `1` and a byte, or `0`, a distance less 1 and a length less 1. Before the first byte
//! the window holds zeros.

/// Sizes of a stream's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// Bits of a distance: 4 to 15.
    pub window_bits: u32,
    /// Bits of a length: 2 to 14.
    pub length_bits: u32,
}

/// Unpacks a stream to exactly `size` bytes; `None` when it holds fewer. Bits behind them are padding.
///
/// ```
/// use gcode_tools::formats::heatshrink::{Fields, unpack};
/// let fields = Fields { window_bits: 11, length_bits: 4 };
/// // The byte 'a', then distance 1 and length 3: 1 01100001, 0 00000000000 0010.
/// assert_eq!(unpack(&[0b1011_0000, 0b1000_0000, 0b0000_0001, 0b0000_0000], fields, 4).unwrap(), b"aaaa");
/// assert_eq!(unpack(&[0b1011_0000, 0b1000_0000], fields, 4), None);
/// ```
pub fn unpack(packed: &[u8], fields: Fields, size: usize) -> Option<Vec<u8>> {
    let mut bits = Bits { bytes: packed.iter(), held: 0, count: 0 };
    // A damaged size is not believed before the bytes are there.
    let mut out = Vec::with_capacity(size.min(packed.len().saturating_mul(16)));
    while out.len() < size {
        if bits.take(1)? == 1 {
            out.push(bits.take(8)? as u8);
            continue;
        }
        let distance = bits.take(fields.window_bits)? as usize + 1;
        let length = bits.take(fields.length_bits)? as usize + 1;
        for _ in 0..length.min(size - out.len()) {
            out.push(out.len().checked_sub(distance).map_or(0, |at| out[at]));
        }
    }
    Some(out)
}

struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    held: u32,
    count: u32,
}

impl Bits<'_> {
    /// The next `count` bits, at most 15.
    fn take(&mut self, count: u32) -> Option<u32> {
        while self.count < count {
            self.held = (self.held << 8) | u32::from(*self.bytes.next()?);
            self.count += 8;
        }
        self.count -= count;
        let value = self.held >> self.count;
        self.held &= (1 << self.count) - 1;
        Some(value)
    }
}
