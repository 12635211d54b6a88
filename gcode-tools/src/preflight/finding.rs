//! Findings, and the bounded list of them.

use crate::block::{Block, Item};
use serde::Serialize;
use std::collections::HashMap;

/// Findings kept of one check. Nobody reads further, and a job's record keeps them all.
pub const FINDINGS_MAX: usize = 1000;

/// Findings kept of one code. The twentieth move outside the bed says nothing new.
pub const FINDINGS_PER_CODE_MAX: usize = 50;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}

/// Where in its line a finding belongs, told once the line is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The first of these letters that stands there.
    Letters(&'static [u8]),
    /// A code in tenths.
    Code(u8, u32),
}

/// A bounded list of findings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    counts: HashMap<&'static str, usize>,
    dropped: u64,
    failed: bool,
    dropped_errors: HashMap<&'static str, bool>,
    waiting: Vec<(usize, Place)>,
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
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count > FINDINGS_PER_CODE_MAX || self.list.len() >= FINDINGS_MAX {
            self.dropped += 1;
            *self.dropped_errors.entry(code).or_default() |= severity == Severity::Error;
            return None;
        }
        self.list.push(Finding { line, column: 0, severity, code, message, help });
        Some(self.list.len() - 1)
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
        if let Some(index) = self.add(line, severity, code, message, help) {
            self.waiting.push((index, place));
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
        if let Some(index) = self.add(line, severity, code, message, help) {
            self.list[index].column = u32::try_from(offset + 1).unwrap_or(u32::MAX);
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
        for (index, place) in std::mem::take(&mut self.waiting) {
            let span = block.items().find_map(|item| {
                let Item::Word(word) = item else { return None };
                let fits = match place {
                    Place::Letters(letters) => letters.contains(&word.letter),
                    Place::Code(letter, tenths) => {
                        word.letter == letter && word.code().is_some_and(|code| code.1 == tenths)
                    }
                };
                fits.then_some(word.span)
            });
            if let Some(span) = span {
                self.list[index].column = u32::try_from(span.start + 1).unwrap_or(u32::MAX);
            }
        }
    }

    /// Findings of this code depend on what came later: errors if it was confirmed, else warnings.
    pub(super) fn settle(&mut self, code: &'static str, confirmed: bool) {
        let severity = if confirmed { Severity::Error } else { Severity::Warning };
        for finding in self.list.iter_mut().filter(|finding| finding.code == code) {
            finding.severity = severity;
        }
        if let Some(error) = self.dropped_errors.get_mut(code) {
            *error = confirmed;
        }
    }

    /// The list in order of lines, how many were left out, and whether any is an error.
    pub(super) fn finish(mut self) -> (Vec<Finding>, u64, bool) {
        self.failed = self.list.iter().any(|finding| finding.severity == Severity::Error)
            || self.dropped_errors.values().any(|error| *error);
        self.list.sort_by_key(|finding| (finding.line, finding.column));
        (self.list, self.dropped, self.failed)
    }
}
