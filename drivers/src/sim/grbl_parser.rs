//! The part of Grbl's G-code parser that a simulation needs: modal state and targets. What is refused, and with which
//! number, [`gcode_tools::rules`] says, as it does for preflight.

use gcode_tools::block::Block;
use gcode_tools::interpret::{Family, State, Watch};
use gcode_tools::rules::Rules;
use gcode_tools::statement::Statement;
use gcode_tools::time::Firmware;

use super::motion::length_mm;
use super::numbers::Reader;

/// The number of a refusal that has none of its own: no such command.
const UNSUPPORTED: u32 = 20;

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
    /// The same, where the firmware has an optional stop.
    OptionalStop,
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
    rules: Rules,
    /// What coordinates count from, once a line has moved it.
    offsets: Option<Box<State>>,
}

/// Nobody looks at what the interpreter tells: it keeps the offsets here.
struct Unwatched;

impl Watch for Unwatched {}

impl Parser {
    pub(super) fn new(rapid_mm_min: f64, reader: Reader, dialect: &str) -> Self {
        Self {
            motion: 0,
            relative: false,
            inches: false,
            feed_mm_min: 0.0,
            spindle: 0.0,
            turning: 5,
            rapid_mm_min,
            reader,
            rules: Rules::of(Firmware::of_dialect(dialect).unwrap_or(Firmware::Grbl)),
            offsets: None,
        }
    }

    /// With the zero of programs there.
    pub(super) fn at(mut self, offset: [f64; 3]) -> Self {
        if offset != [0.0; 3] {
            let mut state = State::new(Family::Cnc);
            state.offsets.set_work(0, offset);
            self.offsets = Some(Box::new(state));
        }
        self
    }

    /// How fast the spindle turns, or the beam's power.
    pub(super) fn spindle_speed(&self) -> f64 {
        if self.turning == 5 { 0.0 } else { self.spindle }
    }

    /// A jog: `G91 G21 X… F…`, without touching the modal state.
    pub(super) fn jog(mut self, line: &[u8], from: [f64; 3]) -> Result<([f64; 3], f64, f64), u32> {
        self.motion = 1;
        let has_feed = self.reader.value(line, b'F').is_some_and(|feed| feed > 0.0);
        if !has_feed {
            return Err(22);
        }
        match self.interpret(line, from)? {
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
        let mut rules = self.rules.clone();
        // Arcs and probes are measured from where the machine stands.
        let measures = self.motion >= 2 || line.windows(2).any(|pair| matches!(pair, b"G2" | b"G3"));
        let state = measures.then(|| {
            let mut state = self.offsets.as_deref().cloned().unwrap_or_else(|| State::new(Family::Cnc));
            state.position = from;
            state
        });
        rules.answer_at(line, state.as_ref()).map_err(|refusal| refusal.number().unwrap_or(UNSUPPORTED))?;
        let meaning = self.interpret(line, from)?;
        self.rules = rules;
        Ok(meaning)
    }

    /// What a line does that the firmware takes.
    fn interpret(&mut self, line: &[u8], from: [f64; 3]) -> Result<Meaning, u32> {
        if !line.first().is_some_and(u8::is_ascii_alphabetic) {
            return Err(1);
        }
        let mut next = self.clone();
        let mut meaning = Meaning::Modal;
        let (mut non_modal, mut shifts, mut machine) = (false, false, false);
        let (mut seen_feed, mut drills) = (false, false);
        let mut dwell = 0.0;
        for (letter, value) in self.reader.words(line) {
            let value = value.ok_or(2_u32)?;
            match letter {
                b'G' => match (value * 10.0).round() as u32 {
                    code @ (0 | 10 | 20 | 30) => next.motion = code / 10,
                    382..=385 => next.motion = 1,
                    // Splines, threads and holes are straight here, at the height where they begin.
                    50 | 51 | 330 | 331 => next.motion = 1,
                    730 | 760 | 810..=890 => (next.motion, drills) = (1, true),
                    40 => meaning = Meaning::Dwell { seconds: 0.0 },
                    100 | 431 | 920..=923 => (non_modal, shifts) = (true, true),
                    280 | 281 | 300 | 301 | 510 => non_modal = true,
                    490 | 540..=593 => shifts = true,
                    530 => machine = true,
                    200 => next.inches = true,
                    210 => next.inches = false,
                    900 => next.relative = false,
                    910 => next.relative = true,
                    _ => {}
                },
                b'M' => match value as u32 {
                    0 => meaning = Meaning::Pause,
                    1 => meaning = Meaning::OptionalStop,
                    6 => meaning = Meaning::ToolChange,
                    2 | 30 => {
                        meaning = Meaning::Synchronise;
                        (next.turning, next.motion, next.relative) = (5, 1, false);
                    }
                    code @ 3..=5 => next.turning = code,
                    _ => {}
                },
                b'F' => {
                    seen_feed = true;
                    next.feed_mm_min = value;
                }
                b'S' => next.spindle = value,
                b'P' => dwell = value,
                _ => {}
            }
        }
        let scale = if next.inches { 25.4 } else { 1.0 };
        if seen_feed {
            next.feed_mm_min *= scale;
        }
        if let Meaning::Dwell { seconds } = &mut meaning {
            *seconds = dwell;
        }
        if shifts {
            next.shift(line, from);
        }
        let mut given = self.reader.axes(line);
        if drills {
            given[2] = None;
        }
        if meaning == Meaning::Modal && !non_modal && given.iter().any(Option::is_some) {
            meaning = next.target(line, given, from, (scale, machine));
        }
        *self = next;
        Ok(meaning)
    }

    /// A line that moves the zero of coordinates.
    fn shift(&mut self, line: &[u8], from: [f64; 3]) {
        let state = self.offsets.get_or_insert_with(|| Box::new(State::new(Family::Cnc)));
        state.position = from;
        state.modal.inches = self.inches;
        state.execute(0, &Statement::of(&Block::new(line)), &mut Unwatched);
    }

    fn target(&self, line: &[u8], given: [Option<f64>; 3], from: [f64; 3], (scale, machine): (f64, bool)) -> Meaning {
        let zero =
            if machine { [0.0; 3] } else { self.offsets.as_ref().map_or([0.0; 3], |state| state.offsets.total()) };
        let to: [f64; 3] = std::array::from_fn(|axis| match given[axis] {
            Some(value) if self.relative && !machine => from[axis] + value * scale,
            Some(value) => value * scale + zero[axis],
            None => from[axis],
        });
        let mut arc = None;
        if self.motion >= 2 {
            let word = |letter| self.reader.value(line, letter);
            if word(b'R').is_none() {
                arc = Some((word(b'I').unwrap_or(0.0) * scale, word(b'J').unwrap_or(0.0) * scale, self.motion == 2));
            }
        }
        let feed_mm_min = if self.motion == 0 { self.rapid_mm_min } else { self.feed_mm_min.min(self.rapid_mm_min) };
        Meaning::Move { to, length_mm: length_mm(from, to, arc), feed_mm_min, arc }
    }
}
