//! The points of a program-file machine, found by what the profile says they are for.

use crate::modbus::{Meaning, Modbus, Point, Question, Read, plan, value};
use gcode_tools::profile::modbus::{Action, Program};

/// What a state word can lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Idle,
    Loading,
    Running,
    Holding,
    Held,
    Waiting,
    Door,
    Done,
    Alarm,
}

impl Word {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "idle" => Self::Idle,
            "loading" => Self::Loading,
            "running" => Self::Running,
            "holding" => Self::Holding,
            "held" => Self::Held,
            "waiting" => Self::Waiting,
            "door" => Self::Door,
            "done" => Self::Done,
            "alarm" => Self::Alarm,
            _ => return None,
        })
    }

    /// Whether a program is in the middle of its work.
    pub(super) fn is_work(self) -> bool {
        matches!(self, Self::Running | Self::Holding | Self::Held | Self::Waiting | Self::Door)
    }
}

/// What one look at the controller found. What was not read, or is no number, is not there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) word: Option<Word>,
    pub(super) line: Option<u64>,
    pub(super) done: bool,
    pub(super) alarm: u64,
    pub(super) loaded: Option<u64>,
    pub(super) taken: Option<u16>,
    pub(super) error: u64,
    pub(super) position_mm: Option<[f64; 3]>,
}

/// The points of a machine and how they are asked for.
#[derive(Debug)]
pub(super) struct Map {
    points: Vec<Point>,
    pub(super) program: Program,
    pub(super) reads: Vec<Read>,
    /// What the look that is going on has found, by place of the point.
    found: Vec<Option<f64>>,
}

impl Map {
    pub(super) fn new(modbus: &Modbus) -> Option<Self> {
        let program = modbus.program.clone()?;
        let names: Vec<&str> = program.read_points().collect();
        let position = [Meaning::PositionX, Meaning::PositionY, Meaning::PositionZ];
        let wanted = |point: &Point| {
            names.contains(&point.name.as_str()) || point.meaning.is_some_and(|meaning| position.contains(&meaning))
        };
        // They are read together, as often as the fastest of them: a look is one moment.
        let mut looked_at = modbus.clone();
        for point in &mut looked_at.points {
            point.poll_ms = u64::from(wanted(point) && point.access.reads());
        }
        let (reads, points) = (plan(&looked_at), modbus.points.clone());
        let found = vec![None; points.len()];
        Some(Self { points, program, reads, found })
    }

    pub(super) fn point(&self, name: &str) -> Option<&Point> {
        self.points.iter().find(|point| point.name == name)
    }

    /// What one action writes.
    pub(super) fn action(&self, action: &Action) -> Option<Question> {
        self.write(&action.point, action.value)
    }

    /// What ends the pulse of an action; nothing where the controller ends it.
    pub(super) fn release(&self, action: &Action) -> Option<Question> {
        self.write(&action.point, action.release?)
    }

    /// Writes a number to a point; nothing where the point cannot hold it.
    pub(super) fn write(&self, name: &str, number: f64) -> Option<Question> {
        let point = self.point(name)?;
        Some(Question::write(point, value::encode(point, number).ok()?))
    }

    /// A new look begins: what was found before counts no more.
    pub(super) fn begin_look(&mut self) {
        self.found.fill(None);
    }

    /// Takes the answer to one of the reads of a look.
    pub(super) fn note(&mut self, read: usize, words: &[u16]) {
        let Some(read) = self.reads.get(read) else { return };
        for at in &read.points {
            let point = &self.points[*at];
            let value = read.part(point, words).and_then(|words| value::decode(point, words));
            self.found[*at] = value.and_then(|value| value.number());
        }
    }

    /// What the look has found.
    pub(super) fn seen(&self) -> Seen {
        let program = &self.program;
        let whole = |name: &Option<String>| name.as_ref().and_then(|name| self.whole(name));
        let word = self
            .whole(&program.state)
            .and_then(|number| Word::of(self.point(&program.state)?.values.get(&number.to_string())?));
        let done = match &program.done {
            Some(name) => self.whole(name).is_some_and(|done| done != 0),
            None => word == Some(Word::Done),
        };
        let blocks = program.blocks.as_ref();
        let position = |meaning| {
            let place = self.points.iter().position(|point| point.meaning == Some(meaning))?;
            self.found[place]
        };
        let position_mm =
            (|| Some([position(Meaning::PositionX)?, position(Meaning::PositionY)?, position(Meaning::PositionZ)?]))();
        Seen {
            word,
            line: whole(&program.line),
            done,
            alarm: whole(&program.alarm).unwrap_or(0),
            loaded: whole(&program.loaded),
            taken: blocks.and_then(|blocks| u16::try_from(self.whole(&blocks.taken)?).ok()),
            error: blocks.map_or(0, |blocks| whole(&blocks.error).unwrap_or(0)),
            position_mm,
        }
    }

    fn whole(&self, name: &str) -> Option<u64> {
        let place = self.points.iter().position(|point| point.name == name)?;
        self.found[place].filter(|number| *number >= 0.0).map(|number| number as u64)
    }

    /// What a number of a point means, in the profile's words.
    pub(super) fn sentence(&self, name: Option<&String>, number: u64) -> Option<String> {
        self.point(name?)?.values.get(&number.to_string()).cloned()
    }
}
