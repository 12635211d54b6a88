//! The part of Grbl's G-code parser that a simulation needs: modal state, targets and the common error numbers.

use super::motion::length_mm;
use super::numbers::Reader;

/// What an accepted line does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    /// Changes state only.
    Modal,
    /// Moves.
    Move { to: [f64; 3], length_mm: f64, feed_mm_min: f64, arc: Option<(f64, f64, bool)> },
    /// Waits for motion, then for a time.
    Dwell { seconds: f64 },
    /// Waits for motion, then for a person.
    Pause,
    /// Asks for another tool; only some wait for it.
    ToolChange,
    /// Waits for motion.
    Synchronise,
}

/// Modal state.
#[derive(Debug, Clone)]
pub(super) struct Parser {
    motion: u32,
    relative: bool,
    inches: bool,
    pub(super) feed_mm_min: f64,
    pub(super) spindle: f64,
    /// M3, M4 or M5.
    pub(super) turning: u32,
    rapid_mm_min: f64,
    reader: Reader,
    /// What is added to the coordinates of programs.
    offset: [f64; 3],
}

impl Parser {
    pub(super) fn new(rapid_mm_min: f64, reader: Reader) -> Self {
        Self {
            motion: 0,
            relative: false,
            inches: false,
            feed_mm_min: 0.0,
            spindle: 0.0,
            turning: 5,
            rapid_mm_min,
            reader,
            offset: [0.0; 3],
        }
    }

    /// With the zero of programs there.
    pub(super) fn at(self, offset: [f64; 3]) -> Self {
        Self { offset, ..self }
    }

    /// How fast the spindle turns, or the beam's power.
    pub(super) fn spindle_speed(&self) -> f64 {
        if self.turning == 5 { 0.0 } else { self.spindle }
    }

    /// A jog: `G91 G21 X… F…`, without touching the modal state.
    pub(super) fn jog(mut self, line: &[u8], from: [f64; 3]) -> Result<([f64; 3], f64, f64), u32> {
        self.motion = 1;
        match self.understand(line, from)? {
            Meaning::Move { to, length_mm, feed_mm_min, .. } => Ok((to, length_mm, feed_mm_min)),
            _ => Err(16),
        }
    }

    /// Whether Grbl lets motion end before a line, because it changes the spindle: in laser mode a move may take its
    /// new power with it.
    pub(super) fn rests_before(&self, line: &[u8], from: [f64; 3], laser_mode: bool) -> bool {
        let mut next = self.clone();
        let meaning = next.understand(line, from);
        let moves = matches!(meaning, Ok(Meaning::Move { .. })) && next.motion > 0;
        let power = next.turning != 5 && next.spindle != self.spindle && !(laser_mode && moves);
        meaning.is_ok() && (next.turning != self.turning || power)
    }

    /// What a line does, or Grbl's error number.
    pub(super) fn understand(&mut self, line: &[u8], from: [f64; 3]) -> Result<Meaning, u32> {
        if !line.first().is_some_and(u8::is_ascii_alphabetic) {
            return Err(1);
        }
        let mut next = self.clone();
        let mut meaning = Meaning::Modal;
        let mut non_modal = false;
        let (mut seen_motion, mut seen_feed) = (false, false);
        let mut dwell = 0.0;
        for (letter, value) in self.reader.words(line) {
            let value = value.ok_or(2_u32)?;
            match letter {
                b'G' => match (value * 10.0).round() as u32 {
                    code @ (0 | 10 | 20 | 30) => {
                        if std::mem::replace(&mut seen_motion, true) {
                            return Err(21);
                        }
                        next.motion = code / 10;
                    }
                    382..=385 => next.motion = 1,
                    40 => meaning = Meaning::Dwell { seconds: 0.0 },
                    100 | 280 | 281 | 300 | 301 | 920 | 921 => non_modal = true,
                    200 => next.inches = true,
                    210 => next.inches = false,
                    900 => next.relative = false,
                    910 => next.relative = true,
                    170 | 180 | 190 | 400 | 431 | 490 | 530 | 540..=590 | 610 | 800 | 911 | 930 | 940 => {}
                    _ => return Err(20),
                },
                b'M' => match value as u32 {
                    0 | 1 => meaning = Meaning::Pause,
                    6 => meaning = Meaning::ToolChange,
                    2 | 30 => {
                        meaning = Meaning::Synchronise;
                        next.turning = 5;
                    }
                    code @ 3..=5 => next.turning = code,
                    7..=9 => {}
                    _ => return Err(20),
                },
                b'F' => {
                    seen_feed = true;
                    next.feed_mm_min = value;
                }
                b'S' => next.spindle = value,
                b'P' => dwell = value,
                b'N' | b'T' | b'X' | b'Y' | b'Z' | b'I' | b'J' | b'K' | b'L' | b'R' => {}
                _ => return Err(20),
            }
        }
        let scale = if next.inches { 25.4 } else { 1.0 };
        if seen_feed {
            next.feed_mm_min *= scale;
        }
        if let Meaning::Dwell { seconds } = &mut meaning {
            *seconds = dwell;
        }
        let given = self.reader.axes(line);
        if meaning == Meaning::Modal && !non_modal && given.iter().any(Option::is_some) {
            meaning = next.target(line, given, from, scale)?;
        }
        *self = next;
        Ok(meaning)
    }

    fn target(&self, line: &[u8], given: [Option<f64>; 3], from: [f64; 3], scale: f64) -> Result<Meaning, u32> {
        let machine = self.reader.words(line).any(|(letter, value)| letter == b'G' && value == Some(53.0));
        let offset = if machine { [0.0; 3] } else { self.offset };
        let to: [f64; 3] = std::array::from_fn(|axis| match given[axis] {
            Some(value) if self.relative => from[axis] + value * scale,
            Some(value) => value * scale + offset[axis],
            None => from[axis],
        });
        let mut arc = None;
        if self.motion >= 2 {
            let word = |letter| self.reader.value(line, letter);
            if word(b'R').is_none() {
                if word(b'I').is_none() && word(b'J').is_none() && word(b'K').is_none() {
                    return Err(35);
                }
                arc = Some((word(b'I').unwrap_or(0.0) * scale, word(b'J').unwrap_or(0.0) * scale, self.motion == 2));
            }
        }
        if self.motion > 0 && self.feed_mm_min <= 0.0 {
            return Err(22);
        }
        let feed_mm_min = if self.motion == 0 { self.rapid_mm_min } else { self.feed_mm_min.min(self.rapid_mm_min) };
        Ok(Meaning::Move { to, length_mm: length_mm(from, to, arc), feed_mm_min, arc })
    }
}
