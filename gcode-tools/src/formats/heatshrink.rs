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

/// Shortest match that is written as one. One of two bytes saves at most two bits, and hides longer ones behind it.
const MATCH_BYTES_MIN: usize = 3;

/// Places looked at for each byte: what begins with the same three bytes is common in G-code.
const PLACES_MAX: usize = 64;

/// No place.
const NOWHERE: u32 = u32::MAX;

/// Packs data of up to 4 GiB. The stream does not say where it ends: keep the size of the data beside it.
///
/// The longest match within reach is taken at every byte, found by chains of places that begin with the same three bytes.
/// The crate `heatshrink`, which tries every place of the window for every byte, is the witness in the tests.
///
/// ```
/// use gcode_tools::formats::heatshrink::{Fields, pack, unpack};
/// let fields = Fields { window_bits: 11, length_bits: 4 };
/// let text = b"G1 X10 Y10 E1\nG1 X10 Y11 E1\nG1 X10 Y12 E1\n";
/// let packed = pack(text, fields);
/// assert!(packed.len() < text.len());
/// assert_eq!(unpack(&packed, fields, text.len()).unwrap(), text);
/// ```
pub fn pack(data: &[u8], fields: Fields) -> Vec<u8> {
    let mut places = Places::new(data, fields);
    let mut out = BitsOut { bytes: Vec::with_capacity(data.len() / 2), held: 0, count: 0 };
    let mut at = 0;
    while at < data.len() {
        let (distance, length) = places.longest(at);
        let step = if length < MATCH_BYTES_MIN {
            out.put(1, 1);
            out.put(u32::from(data[at]), 8);
            1
        } else {
            out.put(0, 1);
            out.put(distance as u32 - 1, fields.window_bits);
            out.put(length as u32 - 1, fields.length_bits);
            length
        };
        for passed in at..at + step {
            places.add(passed);
        }
        at += step;
    }
    out.end()
}

/// Where bytes were met before.
struct Places<'a> {
    data: &'a [u8],
    /// Farthest that a back reference reaches.
    distance_max: usize,
    length_max: usize,
    /// The last place of three bytes, by their hash, and from each place, modulo the window, to the one before.
    triples: Vec<u32>,
    before: Vec<u32>,
}

impl<'a> Places<'a> {
    fn new(data: &'a [u8], fields: Fields) -> Self {
        let window = 1_usize << fields.window_bits;
        Self {
            data,
            // A distance of the whole window is within the format too; some firmware's window is one short.
            distance_max: window - 1,
            length_max: 1 << fields.length_bits,
            triples: vec![NOWHERE; 1 << 13],
            before: vec![NOWHERE; window],
        }
    }

    fn triple(&self, at: usize) -> Option<usize> {
        let bytes = self.data.get(at..at + 3)?;
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        Some((word.wrapping_mul(2_654_435_761) >> 19) as usize)
    }

    fn add(&mut self, at: usize) {
        if let Some(triple) = self.triple(at) {
            let slot = at & (self.before.len() - 1);
            self.before[slot] = self.triples[triple];
            self.triples[triple] = at as u32;
        }
    }

    /// Distance and length of the longest match for what begins here; a length of 0 for none.
    fn longest(&self, at: usize) -> (usize, usize) {
        let ahead = &self.data[at..self.data.len().min(at + self.length_max)];
        let mut best = (0, 0);
        let mut place = self.triple(at).map_or(NOWHERE, |triple| self.triples[triple]);
        for _ in 0..PLACES_MAX {
            let from = place as usize;
            if place == NOWHERE || from >= at || at - from > self.distance_max || best.1 == ahead.len() {
                break;
            }
            let length = self.data[from..].iter().zip(ahead).take_while(|(old, new)| old == new).count();
            if length > best.1 {
                best = (at - from, length);
            }
            place = self.before[from & (self.before.len() - 1)];
        }
        best
    }
}

struct BitsOut {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl BitsOut {
    /// Appends the lowest `count` bits, at most 15.
    fn put(&mut self, value: u32, count: u32) {
        self.held = (self.held << count) | value;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.bytes.push((self.held >> self.count) as u8);
        }
        self.held &= (1 << self.count) - 1;
    }

    /// The bytes, the last filled up with zeros.
    fn end(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
        self.bytes
    }
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

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    const FIELDS: [Fields; 4] = [
        Fields { window_bits: 11, length_bits: 4 },
        Fields { window_bits: 12, length_bits: 4 },
        Fields { window_bits: 4, length_bits: 2 },
        Fields { window_bits: 15, length_bits: 14 },
    ];

    /// Unpacked by the crate of the same name, for the fields that firmware uses.
    fn witness(packed: &[u8], fields: Fields, size: usize) -> Vec<u8> {
        let config = heatshrink::Config::new(fields.window_bits as u8, fields.length_bits as u8).unwrap();
        let mut out = vec![0; size + 64];
        heatshrink::decode(packed, &mut out, &config).unwrap()[..size].to_vec()
    }

    /// Text of few letters, so that there is much to find.
    fn repetitive() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just("G1 X"), Just("10.5"), Just(" Y7"), Just("\n"), Just("a")], 0..900)
            .prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_data_come_back(data in prop_oneof![repetitive(), proptest::collection::vec(any::<u8>(), 0..3000)]) {
            for fields in FIELDS {
                let packed = pack(&data, fields);
                prop_assert_eq!(unpack(&packed, fields, data.len()).unwrap(), &data[..]);
            }
            for fields in &FIELDS[..2] {
                prop_assert_eq!(witness(&pack(&data, *fields), *fields, data.len()), &data[..]);
            }
        }
    }

    #[test]
    fn runs_windows_and_ends_are_no_trouble() {
        for fields in FIELDS {
            let window = 1 << fields.window_bits;
            for size in [0, 1, 2, 3, 15, 16, 17, window - 1, window, window + 1, 2 * window + 5] {
                let cycle: Vec<u8> = (0..size).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect();
                for data in [vec![b'x'; size], cycle] {
                    assert_eq!(unpack(&pack(&data, fields), fields, size).unwrap(), data);
                }
            }
        }
    }

    #[test]
    fn what_the_other_packer_packs_is_read_and_ours_is_no_larger() {
        let text = include_bytes!("../../tests/data/good/svg2g_badge.gcode");
        let text = &text[..text.len().min(8_000)];
        for fields in &FIELDS[..2] {
            let config = heatshrink::Config::new(fields.window_bits as u8, fields.length_bits as u8).unwrap();
            let mut out = vec![0; 2 * text.len()];
            let theirs = heatshrink::encode(text, &mut out, &config).unwrap();
            assert_eq!(unpack(theirs, *fields, text.len()).unwrap(), text);
            let ours = pack(text, *fields);
            assert!(ours.len() <= theirs.len() + theirs.len() / 50, "{} bytes, not {}", ours.len(), theirs.len());
        }
    }
}
