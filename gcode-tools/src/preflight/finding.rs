//! Findings, and the bounded list of them.

use crate::block::{Block, Item};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;

/// Findings kept of one check. Nobody reads further, and a job's record keeps them all.
pub const FINDINGS_MAX: usize = 1000;

/// Findings kept of one code. The twentieth move outside the bed says nothing new.
pub const FINDINGS_PER_CODE_MAX: usize = 50;

/// Causes told apart. Files made to have more are no programs.
const CAUSES_MAX: usize = 200;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// May be meant; look at it.
    Warning,
    /// The machine would refuse it, be damaged, or make something else.
    Error,
}

/// One thing found in a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Line, from 1; 0 is the file as a whole.
    pub line: u64,
    /// Column in bytes, from 1; 0 is the line as a whole.
    pub column: u32,
    /// How bad it is.
    pub severity: Severity,
    /// Stable code, such as `envelope.outside`.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it, in one sentence.
    pub help: &'static str,
    /// How often it was found: 1, but for a cause that [`super::Verdict::causes`] tells of once.
    pub count: u64,
    /// The first and the last line it was found on.
    pub lines: [u64; 2],
}

impl Finding {
    /// A finding of the whole, on no line.
    pub fn of_file(severity: Severity, code: &'static str, message: String, help: &'static str) -> Self {
        Self { line: 0, column: 0, severity, code, message, help, count: 1, lines: [0; 2] }
    }

    /// Whether both have the same cause: the same words but for the numbers in them.
    fn is_same_cause(&self, severity: Severity, code: &str, message: &str) -> bool {
        self.code == code && self.severity == severity && is_same_but_for_numbers(&self.message, message)
    }
}

/// Whether two texts differ in their numbers alone. A sign is no part of a number.
fn is_same_but_for_numbers(one: &str, other: &str) -> bool {
    let digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        let ahead = one.iter().zip(other).take_while(|(a, b)| a == b && !digit(a)).count();
        (one, other) = (&one[ahead..], &other[ahead..]);
        match (one.first(), other.first()) {
            (None, None) => return true,
            (Some(a), Some(b)) if digit(a) && digit(b) => {
                one = &one[one.iter().take_while(|byte| digit(byte)).count()..];
                other = &other[other.iter().take_while(|byte| digit(byte)).count()..];
            }
            _ => return false,
        }
    }
}

/// Where in its line a finding belongs, told once the line is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The first of these letters that stands there.
    Letters(&'static [u8]),
    /// The first word with this letter.
    Letter(u8),
    /// A code in tenths.
    Code(u8, u32),
}

/// A bounded list of findings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    /// One of each cause, with its count and lines.
    causes: Vec<Finding>,
    counts: HashMap<&'static str, usize>,
    dropped: u64,
    failed: bool,
    dropped_errors: HashMap<&'static str, bool>,
    /// The cause that the finding added last began.
    newest_cause: Option<usize>,
    waiting: Vec<(Option<usize>, Option<usize>, Place)>,
}

impl Findings {
    /// Adds a finding without a column. Gives its index, if it was kept.
    pub(super) fn add(
        &mut self,
        line: u64,
        severity: Severity,
        code: &'static str,
        message: String,
        help: &'static str,
    ) -> Option<usize> {
        // A line within a loop is run many times and told of once.
        if self
            .list
            .iter()
            .rev()
            .take(16)
            .any(|finding| finding.line == line && finding.code == code && line > 0 && finding.message == message)
        {
            return None;
        }
        self.newest_cause = self.note_cause(line, severity, code, &message, help);
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count > FINDINGS_PER_CODE_MAX || self.list.len() >= FINDINGS_MAX {
            self.dropped += 1;
            *self.dropped_errors.entry(code).or_default() |= severity == Severity::Error;
            return None;
        }
        self.list.push(Finding { line, column: 0, severity, code, message, help, count: 1, lines: [line; 2] });
        Some(self.list.len() - 1)
    }

    /// Counts a cause. Gives its index if it is new.
    fn note_cause(
        &mut self,
        line: u64,
        severity: Severity,
        code: &'static str,
        message: &str,
        help: &'static str,
    ) -> Option<usize> {
        // The same thing is mostly found again and again: the newest cause is looked at first.
        let known = self.causes.iter_mut().rev().find(|cause| cause.is_same_cause(severity, code, message));
        if let Some(cause) = known {
            cause.count += 1;
            cause.lines = [cause.lines[0].min(line), cause.lines[1].max(line)];
            return None;
        }
        if self.causes.len() >= CAUSES_MAX {
            return None;
        }
        let message = message.to_owned();
        self.causes.push(Finding { line, column: 0, severity, code, message, help, count: 1, lines: [line; 2] });
        Some(self.causes.len() - 1)
    }

    /// Whether a line has an error already that says why the machine refuses it.
    pub(super) fn explains_refusal(&self, line: u64) -> bool {
        const PREFIXES: [&str; 9] =
            ["word.", "feed.", "arc.", "motion.no_", "number.", "comment.", "cycle.", "offset.", "program."];
        // Of a code that was found too often the list has no more; its cause has.
        let of_line = self.list.iter().rev().take(64).filter(|finding| finding.line == line);
        let of_cause = self.causes.iter().filter(|cause| cause.lines[1] == line);
        of_line
            .chain(of_cause)
            .filter(|finding| finding.severity == Severity::Error)
            .any(|finding| PREFIXES.iter().any(|prefix| finding.code.starts_with(prefix)))
    }

    /// Adds a finding whose column follows from the line's text.
    pub(super) fn add_at(
        &mut self,
        line: u64,
        place: Place,
        severity: Severity,
        code: &'static str,
        message: String,
        help: &'static str,
    ) {
        let index = self.add(line, severity, code, message, help);
        let cause = self.newest_cause.take();
        if index.is_some() || cause.is_some() {
            self.waiting.push((index, cause, place));
        }
    }

    /// Adds a finding at a byte offset in the line.
    pub(super) fn add_offset(
        &mut self,
        line: u64,
        offset: usize,
        severity: Severity,
        code: &'static str,
        message: String,
        help: &'static str,
    ) {
        let index = self.add(line, severity, code, message, help);
        let column = u32::try_from(offset + 1).unwrap_or(u32::MAX);
        if let Some(index) = index {
            self.list[index].column = column;
        }
        if let Some(cause) = self.newest_cause.take() {
            self.causes[cause].column = column;
        }
    }

    /// Whether any finding still needs its column.
    #[inline]
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Fills in the columns of findings on this line.
    #[cold]
    pub(super) fn place(&mut self, block: &Block) {
        for (index, cause, place) in std::mem::take(&mut self.waiting) {
            let span = block.items().find_map(|item| {
                let Item::Word(word) = item else { return None };
                let fits = match place {
                    Place::Letters(letters) => letters.contains(&word.letter),
                    Place::Letter(letter) => word.letter == letter,
                    Place::Code(letter, tenths) => {
                        word.letter == letter && word.code().is_some_and(|code| code.1 == tenths)
                    }
                };
                fits.then_some(word.span)
            });
            if let Some(span) = span {
                let column = u32::try_from(span.start + 1).unwrap_or(u32::MAX);
                if let Some(index) = index {
                    self.list[index].column = column;
                }
                if let Some(cause) = cause {
                    self.causes[cause].column = column;
                }
            }
        }
    }

    /// Findings of this code depend on what came later: errors if it was confirmed, else warnings.
    pub(super) fn settle(&mut self, code: &'static str, confirmed: bool) {
        let severity = if confirmed { Severity::Error } else { Severity::Warning };
        for finding in self.list.iter_mut().chain(&mut self.causes).filter(|finding| finding.code == code) {
            finding.severity = severity;
        }
        if let Some(error) = self.dropped_errors.get_mut(code) {
            *error = confirmed;
        }
    }

    /// Everything in order of lines, how many were left out, and whether any is an error.
    pub(super) fn finish(mut self) -> Found {
        self.failed = self.list.iter().any(|finding| finding.severity == Severity::Error)
            || self.dropped_errors.values().any(|error| *error);
        self.list.sort_by_key(|finding| (finding.line, finding.column));
        self.causes.sort_by_key(|finding| (finding.line, finding.column));
        Found { findings: self.list, causes: self.causes, dropped: self.dropped, failed: self.failed }
    }
}

/// What was found in the end.
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) causes: Vec<Finding>,
    pub(super) dropped: u64,
    pub(super) failed: bool,
}

#[cfg(test)]
mod test {
    use super::is_same_but_for_numbers;

    #[test]
    fn texts_that_differ_in_their_numbers_alone_tell_of_one_cause() {
        assert!(is_same_but_for_numbers("X reaches 5.25 mm, above 200 mm.", "X reaches 1234 mm, above 200 mm."));
        assert!(!is_same_but_for_numbers("X reaches 5 mm.", "Y reaches 5 mm."));
        assert!(!is_same_but_for_numbers("A feed of 0.", "A feed of -100."));
        assert!(!is_same_but_for_numbers("a 1", "a 1 b"));
        assert!(is_same_but_for_numbers("", ""));
    }
}
