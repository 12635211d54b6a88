//! What can go wrong on a wire, drawn from a seed.

/// A small generator of pseudo-random numbers (splitmix64): the same seed gives the same faults everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next 64 bits.
    pub fn next_bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_bits() % bound.max(1)
    }

    /// True once in `1 / probability` calls.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.next_bits() >> 11) as f64 / (1_u64 << 53) as f64) < probability
    }
}

/// Probabilities of what can go wrong, per byte unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// A byte is lost.
    pub drop: f64,
    /// A byte arrives twice.
    pub double: f64,
    /// One bit of a byte is turned over.
    pub flip: f64,
    /// A byte, and all behind it, arrives late by up to 30 ms.
    pub delay: f64,
    /// A line end appears in front of a byte: one line becomes two.
    pub split: f64,
    /// A line end is lost, per line: two lines become one.
    pub glue: f64,
    /// A whole line from the machine is lost (per line).
    pub line_lost: f64,
    /// A whole line from the machine arrives twice (per line).
    pub line_doubled: f64,
    /// A whole line from the machine, and all behind it, arrives late by up to 15 s (per line): longer than an answer is
    /// waited for.
    pub line_late: f64,
}

impl Faults {
    /// What becomes of one byte: none, one or two bytes.
    pub(super) fn spoil(&self, random: &mut Random, byte: u8, out: &mut Vec<u8>) {
        if random.chance(self.drop) || (byte == b'\n' && random.chance(self.glue)) {
            return;
        }
        if random.chance(self.split) {
            out.push(b'\n');
        }
        let byte = if random.chance(self.flip) { byte ^ (1 << random.below(8)) } else { byte };
        out.push(byte);
        if random.chance(self.double) {
            out.push(byte);
        }
    }

    /// The same without those that befall whole lines, which are a machine's answers.
    pub fn of_bytes(self) -> Self {
        Self { line_lost: 0.0, line_doubled: 0.0, line_late: 0.0, ..self }
    }

    /// Whether whole lines can be lost, doubled or late.
    pub(super) fn of_lines(&self) -> bool {
        self.line_lost > 0.0 || self.line_doubled > 0.0 || self.line_late > 0.0
    }

    /// Whether nothing is lost, added or changed: what arrives is what was said, if late.
    pub fn keep_all(&self) -> bool {
        Self { delay: 0.0, line_late: 0.0, ..*self } == Self::default()
    }

    /// Reads `name=probability`, as on the command line: `flip=1e-4`.
    ///
    /// # Errors
    /// A sentence that names what is known.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let wrong = || {
            format!(
                "`{text}` is no fault; known: drop, double, flip, delay, split (per byte), glue (per line), line-lost, \
                 line-doubled, line-late (per answer), each with a probability from 0 to 1, such as flip=1e-4"
            )
        };
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let value: f64 = value.parse().ok().filter(|value| (0.0..=1.0).contains(value)).ok_or_else(wrong)?;
        *match name {
            "drop" => &mut self.drop,
            "double" => &mut self.double,
            "flip" => &mut self.flip,
            "delay" => &mut self.delay,
            "split" => &mut self.split,
            "glue" => &mut self.glue,
            "line-lost" => &mut self.line_lost,
            "line-doubled" => &mut self.line_doubled,
            "line-late" => &mut self.line_late,
            _ => return Err(wrong()),
        } = value;
        Ok(())
    }

    /// Whether anything can go wrong.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}
