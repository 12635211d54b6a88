//! Machines that run program files: how a program gets into the controller, how it is started and how it says what
//! became of it. Every entry names a point of the map.

use serde::{Deserialize, Serialize};

use super::{Form, Modbus, Table};
use crate::profile::places::{Problem, Step};

/// Registers of text in a block: with its length and checksum one write carries it (Modbus Application Protocol
/// 1.1b3, 6.12).
const TEXT_REGISTERS_MAX: u16 = 120;

/// Words that a state word's values may lead to.
const STATE_WORDS: [&str; 9] = ["idle", "loading", "running", "holding", "held", "waiting", "door", "done", "alarm"];

/// How a program is loaded and started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The number under which the program is kept: written before anything else of it.
    pub number: Option<String>,
    /// The number of the program that is loaded: read, and compared before the start.
    pub loaded: Option<String>,
    /// Loads the program of that number, on controllers that must be told to.
    pub load: Option<Action>,
    /// How the program's text travels. Absent: the controller has its programs, and a job names one (`M98 P42`).
    pub blocks: Option<Blocks>,
    /// Starts the program that is loaded. Written once for each job.
    pub start: Action,
    /// Ends the program and every motion.
    pub stop: Action,
    /// Stands still and keeps everything.
    pub hold: Option<Action>,
    /// Goes on after a hold.
    pub resume: Option<Action>,
    /// Leaves an alarm.
    pub clear: Option<Action>,
    /// What the machine does; the point's `values` lead from its numbers to words.
    pub state: String,
    /// The line of the program's text that is being executed, counted from 1.
    pub line: Option<String>,
    /// Not 0 once the program has come to its end, 0 from the next load on. Absent: the state word `done` says so.
    pub done: Option<String>,
    /// Alarm code, 0 for none; the point's `values` hold the sentences.
    pub alarm: Option<String>,
    /// How long loading or starting may take, in milliseconds.
    #[serde(default = "five_seconds")]
    pub start_within_ms: u64,
    /// How long it may take to stand after a stop, in milliseconds.
    #[serde(default = "five_seconds")]
    pub stop_within_ms: u64,
    /// How long nothing may be answered before the link counts as lost, in milliseconds.
    #[serde(default = "three_seconds")]
    pub lost_after_ms: u64,
}

/// Something that is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The point.
    pub point: String,
    /// What is written into it.
    #[serde(default = "one")]
    pub value: f64,
    /// What is written into it once its effect is seen. Absent: the controller resets it.
    pub release: Option<f64>,
}

/// How a program's text travels: in a window that holds one block at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocks {
    /// The window, a text. A block holds whole lines.
    pub text: String,
    /// How many bytes of the window count.
    pub length: String,
    /// The block's number, from 1, written last. 0 makes the controller forget the program it has.
    pub number: String,
    /// The number of the last block that was taken: read.
    pub taken: String,
    /// Why a block was not taken, 0 for none: read.
    pub error: Option<String>,
    /// The checksum of the bytes that count.
    pub checksum: Option<String>,
    /// How the checksum is made.
    #[serde(default = "crc16")]
    pub checksum_form: Checksum,
    /// The bytes of the whole program, written after the last block.
    pub size: Option<String>,
    /// The number under which the program is kept, where `number` is there.
    #[serde(default = "first")]
    pub keep_as: u32,
    /// What ends a line.
    #[serde(default = "line_feed")]
    pub line_end: LineEnd,
    /// How long the controller may take over a block, in milliseconds.
    #[serde(default = "three_seconds")]
    pub within_ms: u64,
}

/// How a checksum is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// Modbus's own CRC-16: polynomial 0xA001, from 0xFFFF.
    Crc16,
    /// The bytes added up, modulo 65536.
    Sum16,
}

/// What ends a line of a program's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineEnd {
    /// Line feed.
    Lf,
    /// Carriage return and line feed.
    Crlf,
}

impl LineEnd {
    /// Its bytes.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Crlf => b"\r\n",
        }
    }
}

impl Program {
    /// The names of the points that are read while a program is loaded and runs.
    pub fn read_points(&self) -> impl Iterator<Item = &str> {
        let blocks = self.blocks.as_ref();
        let named = [&self.line, &self.done, &self.alarm, &self.loaded].into_iter().flatten();
        let taken = blocks.into_iter().flat_map(|blocks| std::iter::once(&blocks.taken).chain(&blocks.error));
        std::iter::once(&self.state).chain(named).chain(taken).map(String::as_str)
    }

    /// Everything that cannot be true of it, one sentence each.
    pub(super) fn problems(&self, map: &Modbus) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |key, problem: Option<String>| {
            problems.extend(problem.map(|message| Problem::at([Step::Key(key)], format!("program: {message}"))));
        };
        check("state", self.state_problem(map));
        for (key, name) in
            [("line", &self.line), ("done", &self.done), ("alarm", &self.alarm), ("loaded", &self.loaded)]
        {
            check(key, name.as_ref().and_then(|name| read_problem(map, name)));
        }
        check("number", self.number.as_ref().and_then(|name| write_problem(map, name)));
        let optional = [("load", &self.load), ("hold", &self.hold), ("resume", &self.resume), ("clear", &self.clear)];
        let actions = optional.into_iter().filter_map(|(key, action)| Some((key, action.as_ref()?)));
        for (key, action) in [("start", &self.start), ("stop", &self.stop)].into_iter().chain(actions) {
            check(key, action.problem(map));
        }
        let says_done = map.point(&self.state).is_some_and(|point| point.values.values().any(|word| word == "done"));
        if self.done.is_none() && !says_done {
            let why = "it needs `done`, or a state word `done`: without, a program that was stopped at the panel \
                       cannot be told from one that came to its end";
            check("state", Some(why.to_owned()));
        }
        if self.blocks.is_none() && self.number.is_none() {
            check("number", Some("without `blocks` it needs `number`: a job then names its program".to_owned()));
        }
        if self.hold.is_some() && self.resume.is_none() {
            check("hold", Some("a machine that is held needs `resume`".to_owned()));
        }
        for (key, time) in [("start_within_ms", self.start_within_ms), ("stop_within_ms", self.stop_within_ms)] {
            check(key, (!(100..=600_000).contains(&time)).then(|| format!("{key} must be from 100 to 600000")));
        }
        if let (Some(blocks), Some(number)) = (&self.blocks, self.number.as_ref().and_then(|name| map.point(name))) {
            check("number", number.takes(f64::from(blocks.keep_as)).err());
        }
        if let Some(blocks) = &self.blocks {
            let under = |problem: Problem| problem.under([Step::Key("blocks")]).of("program");
            problems.extend(blocks.problems(map).into_iter().map(under));
        }
        problems
    }

    fn state_problem(&self, map: &Modbus) -> Option<String> {
        let problem = read_problem(map, &self.state);
        if problem.is_some() {
            return problem;
        }
        let words: Vec<_> = map.point(&self.state)?.values.values().collect();
        if let Some(word) = words.iter().find(|word| !STATE_WORDS.contains(&word.as_str())) {
            return Some(format!("`{}`: `{word}` is no state; states are {}", self.state, STATE_WORDS.join(", ")));
        }
        let has = |wanted: &str| words.iter().any(|word| *word == wanted);
        (!has("idle") || !has("running"))
            .then(|| format!("`{}`: its values must lead to `idle` and `running` at least", self.state))
    }
}

impl Action {
    fn problem(&self, map: &Modbus) -> Option<String> {
        write_problem(map, &self.point).or_else(|| {
            let point = map.point(&self.point)?;
            [Some(self.value), self.release].into_iter().flatten().find_map(|value| point.takes(value).err())
        })
    }
}

impl Blocks {
    fn problems(&self, map: &Modbus) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check =
            |key, problem: Option<String>| problems.extend(problem.map(|why| Problem::at([Step::Key(key)], why)));
        let window = map.point(&self.text).filter(|point| {
            let registers = point.registers.unwrap_or(0);
            point.form == Form::Ascii
                && point.access.writes()
                && point.table == Table::Holding
                && (1..=TEXT_REGISTERS_MAX).contains(&registers)
        });
        if window.is_none() {
            let why =
                format!("`{}` must be a text of 1 to {TEXT_REGISTERS_MAX} registers that can be written", self.text);
            check("text", Some(why));
        }
        for (key, name) in [("length", &self.length), ("number", &self.number)] {
            check(key, write_problem(map, name));
        }
        for (key, name) in [("checksum", &self.checksum), ("size", &self.size)] {
            check(key, name.as_ref().and_then(|name| write_problem(map, name)));
        }
        check("taken", read_problem(map, &self.taken));
        check("error", self.error.as_ref().and_then(|name| read_problem(map, name)));
        let time = self.within_ms;
        check("within_ms", (!(100..=60_000).contains(&time)).then(|| "within_ms must be from 100 to 60000".to_owned()));
        problems
    }
}

fn read_problem(map: &Modbus, name: &str) -> Option<String> {
    match map.point(name) {
        Some(point) if point.access.reads() && point.form != Form::Ascii && point.poll_ms > 0 => None,
        _ => Some(format!("`{name}` is no point that is read as a number again and again")),
    }
}

fn write_problem(map: &Modbus, name: &str) -> Option<String> {
    match map.point(name) {
        Some(point) if point.access.writes() && point.form != Form::Ascii => None,
        _ => Some(format!("`{name}` is no point that a number can be written to")),
    }
}

fn five_seconds() -> u64 {
    5_000
}

fn three_seconds() -> u64 {
    3_000
}

fn first() -> u32 {
    1
}

fn one() -> f64 {
    1.0
}

fn crc16() -> Checksum {
    Checksum::Crc16
}

fn line_feed() -> LineEnd {
    LineEnd::Lf
}

#[cfg(test)]
mod test {
    use super::*;

    fn problems(replaced: &str, by: &str) -> Vec<String> {
        let text = include_str!("../../../../config/machines/generic-program-file.toml");
        assert!(text.contains(replaced), "{replaced}");
        let map: toml::Table = text.replacen(replaced, by, 1).parse().unwrap();
        let map: Modbus = map["modbus"].clone().try_into().unwrap();
        map.problems().into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn what_cannot_be_true_of_a_program_file_machine_is_said() {
        assert_eq!(problems("done = \"done\"", "done = \"done\""), Vec::<String>::new());
        for (replaced, by, said) in [
            ("state = \"state\"", "state = \"stat\"", "`stat`"),
            ("0 = \"idle\"", "0 = \"lazy\"", "`lazy`"),
            ("done = \"done\"", "", "stopped at the panel"),
            ("start = { point = \"start\"", "start = { point = \"state\"", "`state`"),
            ("taken = \"block-taken\"", "taken = \"block-number\"", "`block-number`"),
            ("registers = 60", "registers = 125", "1 to 120"),
            ("resume = { point = \"resume\", release = 0 }", "", "needs `resume`"),
        ] {
            let found = problems(replaced, by);
            assert!(found.len() == 1 && found[0].contains(said), "{replaced}: {found:?}");
        }
    }
}
