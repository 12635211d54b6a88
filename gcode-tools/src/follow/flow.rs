//! LinuxCNC's O-words: subroutines, branches and loops, run within limits.
//!
//! A program with control flow has to be kept, because it goes back; such programs are written by hand and small.

use super::Extent;
use crate::block::{Block, PlainWords};
use crate::expression::{Locals, Parameters};
use crate::interpret::{Event, Fault, State, Watch};
use crate::read::{Line, LineEnd, Lines};
use crate::statement::Statement;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use words::{Keyword, Word, arguments};

mod words;

/// Largest program with control flow that is kept.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Most lines of such a program: each costs 32 bytes beside its text, which a file of blank lines would multiply.
const KEPT_LINES_MAX: usize = 100_000;

/// Lines run before a program is taken as endless.
const STEPS_MAX: u64 = 2_000_000;

/// Bytes of lines run before a program is taken as endless: long lines take longer, and so many of the usual length are
/// more than [`STEPS_MAX`].
const RUN_BYTES_MAX: usize = 128 * 1024 * 1024;

/// O-words of one program. Hand-written programs have some dozens.
const WORDS_MAX: usize = 10_000;

/// Calls within calls. LinuxCNC's `INTERP_SUB_ROUTINE_LEVELS` is 10; recursion in examples goes deeper.
const CALLS_MAX: usize = 200;

/// A program's lines, kept one behind the other.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// Number of the line, where it begins and ends in `bytes`, and its offset in the stream.
    lines: Vec<(u64, usize, usize, u64)>,
    /// Index of the first line that has not been run.
    start: usize,
}

impl Kept {
    /// Keeps a line; `false` when it is too much.
    #[inline]
    pub(super) fn keep(&mut self, line: &Line) -> bool {
        if self.bytes.len() + line.bytes.len() > KEPT_BYTES_MAX || self.lines.len() >= KEPT_LINES_MAX || line.is_cut() {
            return false;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(line.bytes);
        self.lines.push((line.number, start, self.bytes.len(), line.offset));
        true
    }

    /// Keeps the rest of the stream, of which the last line kept is to be run next. `None` when it is too much.
    pub(super) fn rest<R: Read>(mut self, lines: &mut Lines<R>, extent: &mut Extent) -> io::Result<Option<Self>> {
        self.start = self.lines.len().saturating_sub(1);
        while let Some(line) = lines.next_line()? {
            (extent.lines, extent.end) = (line.number, line.end);
            if !self.keep(&line) {
                return Ok(None);
            }
        }
        Ok(Some(self))
    }

    fn line(&self, at: usize) -> Line<'_> {
        let (number, start, end, offset) = self.lines[at];
        let bytes = &self.bytes[start..end];
        Line {
            number,
            offset,
            bytes,
            length: bytes.len() as u64,
            end: LineEnd::Lf,
            marked: false,
            words: PlainWords::NONE,
        }
    }
}

struct Frame {
    back: usize,
    locals: Locals,
    /// The first line of a subprogram that is to be run so many times more (M98 L).
    again: Option<(usize, u32)>,
}

/// Times that one M98 may run its subprogram. Whatever is beyond is endless.
const REPEATS_MAX: f64 = 1_000_000.0;

/// A program in execution.
struct Run<'a> {
    words: HashMap<usize, Word>,
    subs: HashMap<Vec<u8>, usize>,
    /// The O-words of each name, in order of lines.
    by_name: HashMap<Vec<u8>, Vec<usize>>,
    /// Where each jump leads, once it has been looked for: by its line, direction and first keyword.
    jumps: HashMap<(usize, bool, Keyword), usize>,
    frames: Vec<Frame>,
    /// Rounds left of each `repeat`, by its line.
    rounds: HashMap<usize, u64>,
    /// The number of the first line that begins a subroutine inside another.
    nested: Option<u64>,
    /// Line of the last loop or call, to blame when a program does not end.
    last_turn: u64,
    parameters: &'a mut Parameters,
    total: usize,
}

/// Runs the program from its first line not yet run.
pub(super) fn run<W: Watch>(program: &Kept, parameters: &mut Parameters, state: &mut State, watch: &mut W) {
    let mut run = Run::new(program, parameters);
    let mut statement = Statement::default();
    let mut at = program.start;
    let (mut steps, mut run_bytes) = (0, 0);
    if let Some(line) = run.nested {
        watch.event(Event::Fault(Fault::NestedSubroutine), line, state);
    }
    while at < run.total && !state.modal.ended {
        steps += 1;
        let line = program.line(at);
        run_bytes += line.bytes.len();
        if steps > STEPS_MAX || run_bytes > RUN_BYTES_MAX || run.frames.len() > CALLS_MAX {
            watch.event(Event::Fault(Fault::Endless), run.last_turn, state);
            return;
        }
        let block = Block::new(line.bytes);
        let word = run.words.get(&at).cloned();
        statement.read(&block, if word.is_none() { Some(&mut *run.parameters) } else { None });
        watch.line(&line, &block, &statement, state);
        let next = if let Some(word) = word {
            run.step(at, line.number, &word)
        } else {
            state.execute(line.number, &statement, watch);
            note_probe(&statement, state, run.parameters);
            run.subprogram(at, line.number, &statement)
        };
        if let Err(fault) = next {
            watch.event(Event::Fault(fault), line.number, state);
        }
        watch.done(&line, &block);
        at = match next {
            Ok(next) => next,
            Err(Fault::NoSubroutine) => at + 1,
            Err(_) => return,
        };
    }
}

/// A probe is taken to touch where its move ends; LinuxCNC puts that place into #5061 to #5063.
fn note_probe(statement: &Statement, state: &State, parameters: &mut Parameters) {
    if statement.codes().iter().any(|code| matches!(code, (b'G', 382..=385))) {
        for (axis, place) in state.program_position().into_iter().enumerate() {
            parameters.set_numbered(5061 + axis, place / state.modal.unit_mm());
        }
    }
}

impl<'a> Run<'a> {
    fn new(program: &Kept, parameters: &'a mut Parameters) -> Self {
        let mut words = HashMap::new();
        let mut subs = HashMap::new();
        let mut by_name: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        let mut open_do: HashSet<Vec<u8>> = HashSet::new();
        let (mut in_sub, mut nested) = (false, None);
        for at in 0..program.lines.len() {
            let line = program.line(at);
            // O-words stand at the beginning of a line, behind spaces and its number.
            let first = line.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
            if !matches!(first, Some(b'o' | b'O' | b'n' | b'N' | b'/')) {
                continue;
            }
            let Some(mut word) = Word::read(&Block::new(line.bytes)) else { continue };
            match word.keyword {
                Keyword::Do => {
                    open_do.insert(word.name.clone());
                }
                Keyword::While if open_do.remove(&word.name) => word.keyword = Keyword::DoWhile,
                Keyword::EndSub => in_sub = false,
                Keyword::Sub => {
                    if std::mem::replace(&mut in_sub, true) {
                        nested.get_or_insert(line.number);
                    }
                    subs.entry(word.name.clone()).or_insert(at);
                }
                _ => {}
            }
            if words.len() < WORDS_MAX {
                by_name.entry(word.name.clone()).or_default().push(at);
                words.insert(at, word);
            }
        }
        let total = program.lines.len();
        Self {
            words,
            subs,
            by_name,
            jumps: HashMap::new(),
            frames: Vec::new(),
            rounds: HashMap::new(),
            nested,
            last_turn: 0,
            parameters,
            total,
        }
    }

    /// The next line with this name and one of these keywords, behind a line.
    fn ahead(&mut self, at: usize, name: &[u8], keywords: &[Keyword]) -> Result<usize, Fault> {
        self.find(at, true, name, keywords)
    }

    /// The last line with this name and one of these keywords, before a line.
    fn behind(&mut self, at: usize, name: &[u8], keywords: &[Keyword]) -> Result<usize, Fault> {
        self.find(at, false, name, keywords)
    }

    fn find(&mut self, at: usize, ahead: bool, name: &[u8], keywords: &[Keyword]) -> Result<usize, Fault> {
        let key = (at, ahead, keywords[0]);
        if let Some(found) = self.jumps.get(&key) {
            return Ok(*found);
        }
        let lines = self.by_name.get(name).ok_or(Fault::BrokenFlow)?;
        let here = lines.partition_point(|line| *line < at);
        let fits = |line: &&usize| self.words.get(*line).is_some_and(|word| keywords.contains(&word.keyword));
        let found = if ahead {
            lines[here..].iter().filter(|line| **line > at).find(fits)
        } else {
            lines[..here].iter().rev().find(fits)
        };
        let found = *found.ok_or(Fault::BrokenFlow)?;
        self.jumps.insert(key, found);
        Ok(found)
    }

    fn truth(&self, condition: &[u8]) -> Result<bool, Fault> {
        self.parameters.evaluate(condition).map(|value| value != 0.0).ok_or(Fault::BrokenFlow)
    }

    /// Runs one O-word; gives the line to go on with.
    fn step(&mut self, at: usize, number: u64, word: &Word) -> Result<usize, Fault> {
        use Keyword as K;
        const LOOP_ENDS: &[K] = &[K::EndWhile, K::DoWhile, K::EndRepeat];
        let name = word.name.as_slice();
        match word.keyword {
            K::Sub => Ok(self.ahead(at, name, &[K::EndSub])? + 1),
            K::Call => {
                self.last_turn = number;
                self.call(at, word)
            }
            K::EndSub | K::Return => self.back(at, word),
            K::If => {
                let taken = self.truth(&word.rest)?;
                if taken { Ok(at + 1) } else { self.branch(at, name) }
            }
            // Reached from a branch that was taken: the others are passed over.
            K::ElseIf | K::Else => Ok(self.ahead(at, name, &[K::EndIf])? + 1),
            K::EndIf | K::Do | K::Label => Ok(at + 1),
            K::While => {
                self.last_turn = number;
                if self.truth(&word.rest)? { Ok(at + 1) } else { Ok(self.ahead(at, name, &[K::EndWhile])? + 1) }
            }
            K::EndWhile => self.behind(at, name, &[K::While]),
            K::DoWhile => {
                self.last_turn = number;
                if self.truth(&word.rest)? { Ok(self.behind(at, name, &[K::Do])? + 1) } else { Ok(at + 1) }
            }
            K::Repeat => {
                self.last_turn = number;
                let rounds = self.parameters.evaluate(&word.rest).ok_or(Fault::BrokenFlow)?;
                self.rounds.insert(at, rounds.round().clamp(0.0, 1e9) as u64);
                if rounds >= 0.5 { Ok(at + 1) } else { Ok(self.ahead(at, name, &[K::EndRepeat])? + 1) }
            }
            K::EndRepeat => {
                let start = self.behind(at, name, &[K::Repeat])?;
                let rounds = self.rounds.entry(start).or_insert(1);
                *rounds = rounds.saturating_sub(1);
                Ok(if *rounds > 0 { start + 1 } else { at + 1 })
            }
            K::Break => Ok(self.ahead(at, name, LOOP_ENDS)? + 1),
            K::Continue => self.ahead(at, name, LOOP_ENDS),
        }
    }

    /// From an `if` or `elseif` that does not hold to the branch that does.
    fn branch(&mut self, mut at: usize, name: &[u8]) -> Result<usize, Fault> {
        loop {
            at = self.ahead(at, name, &[Keyword::ElseIf, Keyword::Else, Keyword::EndIf])?;
            let Some(word) = self.words.get(&at) else { return Err(Fault::BrokenFlow) };
            if word.keyword != Keyword::ElseIf || self.truth(&word.rest)? {
                return Ok(at + 1);
            }
        }
    }

    fn call(&mut self, at: usize, word: &Word) -> Result<usize, Fault> {
        let start = *self.subs.get(&word.name).ok_or(Fault::NoSubroutine)?;
        let arguments: Vec<f64> =
            arguments(&word.rest).into_iter().map(|text| self.parameters.evaluate(text).unwrap_or(0.0)).collect();
        let locals = self.parameters.take_locals();
        for (index, value) in arguments.into_iter().enumerate().take(30) {
            self.parameters.set_numbered(index + 1, value);
        }
        self.frames.push(Frame { back: at + 1, locals, again: None });
        Ok(start + 1)
    }

    /// M98 P calls a subprogram by its number, L times; M99 goes back.
    fn subprogram(&mut self, at: usize, number: u64, statement: &Statement) -> Result<usize, Fault> {
        if statement.has_code(b'M', 980) {
            let Some(name) = statement.value(b'P') else { return Err(Fault::NoSubroutine) };
            let name = format!("{name:.0}").into_bytes();
            let labels = self.by_name.get(&name).map_or(&[][..], Vec::as_slice);
            let is_label = |at: &&usize| self.words.get(*at).is_some_and(|word| word.keyword == Keyword::Label);
            let start = *labels.iter().find(is_label).ok_or(Fault::NoSubroutine)?;
            self.last_turn = number;
            let times = statement.value(b'L').unwrap_or(1.0).clamp(0.0, REPEATS_MAX) as u32;
            if times == 0 {
                return Ok(at + 1);
            }
            let locals = self.parameters.take_locals();
            self.frames.push(Frame { back: at + 1, locals, again: Some((start + 1, times - 1)) });
            return Ok(start + 1);
        }
        if statement.has_code(b'M', 990) {
            // In the main program it would begin anew, for ever.
            let Some(frame) = self.frames.last_mut() else { return Err(Fault::Endless) };
            if let Some((start, times @ 1..)) = frame.again {
                frame.again = Some((start, times - 1));
                return Ok(start);
            }
            let back = frame.back;
            if let Some(frame) = self.frames.pop() {
                self.parameters.restore_locals(frame.locals);
            }
            return Ok(back);
        }
        Ok(at + 1)
    }

    /// `return` and `endsub`, with a value if one is given.
    fn back(&mut self, at: usize, word: &Word) -> Result<usize, Fault> {
        let value = self.parameters.evaluate(&word.rest);
        let Some(frame) = self.frames.pop() else {
            return if word.keyword == Keyword::EndSub { Ok(at + 1) } else { Err(Fault::BrokenFlow) };
        };
        self.parameters.restore_locals(frame.locals);
        self.parameters.set_named("_value", value.unwrap_or(0.0));
        self.parameters.set_named("_value_returned", f64::from(u8::from(value.is_some())));
        Ok(frame.back)
    }
}

#[cfg(test)]
mod test {
    use super::{KEPT_LINES_MAX, Kept, Lines};
    use crate::analysis::analyse;
    use crate::preflight::check;
    use crate::profile::Profile;
    use std::io::Read;

    fn reach(program: &str) -> [f64; 3] {
        let info = analyse(program.as_bytes(), None).unwrap();
        let all = info.bounds_mm.into_iter().chain(info.travel_bounds_mm);
        all.fold([f64::NEG_INFINITY; 3], |far, next| std::array::from_fn(|axis| far[axis].max(next.max[axis])))
    }

    #[test]
    fn loops_branches_and_subroutines_do_what_they_say() {
        assert_eq!(reach("G21 G91\no1 repeat [5]\nG0 X1\no1 endrepeat\nM2")[0], 5.0);
        assert_eq!(reach("#1=0\no1 while [#1 LT 4]\n#1=[#1+1]\nG0 X#1\no1 endwhile\nM2")[0], 4.0);
        assert_eq!(reach("#1=0\no1 do\n#1=[#1+1]\nG0 X#1\no1 while [#1 LT 3]\nM2")[0], 3.0);
        assert_eq!(reach("o<a> sub\nG0 X[#1*10] Y#2\no<a> endsub\no<a> call [2] [7]\nM2"), [20.0, 7.0, 0.0]);
        let branches = "#1=2\no1 if [#1 EQ 1]\nG0 X1\no1 elseif [#1 EQ 2]\nG0 X22\no1 else\nG0 X33\no1 endif\nM2";
        assert_eq!(reach(branches)[0], 22.0);
        let stop = "#1=0\no1 while [1]\n#1=[#1+1]\no2 if [#1 GT 6]\no1 break\no2 endif\nG0 X#1\no1 endwhile\nM2";
        assert_eq!(reach(stop)[0], 6.0);
    }

    #[test]
    fn recursion_returns_its_value() {
        let program = "o<f> sub\no<i> if [#1 EQ 0]\no<f> return [1]\no<i> else\no<f> call [#1-1]\no<f> return [#<_value> * #1]\n\
                       o<i> endif\no<f> endsub\no<f> call [5]\nG0 X#<_value>\nM2";
        assert_eq!(reach(program)[0], 120.0);
    }

    #[test]
    fn what_does_not_end_or_has_no_end_is_found() {
        let code = |program: &str| {
            let verdict = check(program.as_bytes(), &Profile::named("linuxcnc-mill").unwrap());
            verdict.findings.into_iter().map(|finding| (finding.line, finding.code)).collect::<Vec<_>>()
        };
        assert!(code("G21 F1\no1 while [1]\nG0 X1\no1 endwhile\nM2").contains(&(2, "program.loop")));
        assert!(code("G21\no<f> sub\no<f> call\no<f> endsub\no<f> call\nM2").contains(&(3, "program.loop")));
        assert!(code("G21\no1 if [0]\nM2").contains(&(2, "program.flow")));
        assert!(code("G21\no<gone> call\nG0 X1\nM2").contains(&(2, "program.missing_sub")));
    }

    #[test]
    fn an_endless_loop_around_a_long_line_ends_no_later_than_one_around_short_lines() {
        let program = format!("G21\no1 while [1]\n({})\no1 endwhile\nM2\n", "x".repeat(500_000));
        let verdict = check(program.as_bytes(), &Profile::named("linuxcnc-mill").unwrap());
        assert!(verdict.findings.iter().any(|finding| (finding.line, finding.code) == (2, "program.loop")));
    }

    #[test]
    fn a_hundred_thousand_lines_are_kept_and_blank_lines_without_end_are_not() {
        let blank = "\n".repeat(KEPT_LINES_MAX - 2);
        assert_eq!(reach(&format!("#1=7\n{blank}G0 X#1"))[0], 7.0);
        let mut lines = Lines::new(std::io::repeat(b'\n').take(1_000_000));
        let mut kept = Kept::default();
        while lines.next_line().unwrap().is_some_and(|line| kept.keep(&line)) {}
        assert_eq!(kept.lines.len(), KEPT_LINES_MAX);
    }
}
