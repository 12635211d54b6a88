//! Reads TOML so that every mistake is found at once, each with its line: values are asked for by name, and what
//! nobody asked for is a mistake too.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use drivers::modbus::Auxiliary;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use toml::de::{DeTable, DeValue};

/// One mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Line in the file, 1-based.
    pub line: usize,
    /// Column in the line, 1-based.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// A file being read, and the mistakes found so far.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

/// What stands where a number or one word may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberOrWord {
    /// The number.
    Number(u64),
    /// The word.
    Word,
}

/// A table of the file.
pub(super) struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    table: Option<&'r DeTable<'t>>,
    name: String,
    span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, problems: RefCell::new(Vec::new()) }
    }

    /// Notes a mistake at a place of the file.
    pub(super) fn problem(&self, span: &Range<usize>, message: impl Into<String>) {
        let before = &self.text[..span.start.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        self.problems.borrow_mut().push(Problem {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        });
    }

    /// Every mistake, in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems.dedup();
        problems
    }

    /// The whole file as a section.
    pub(super) fn root<'r>(&'r self, table: &'r DeTable<'t>) -> Section<'r, 't> {
        Section { reader: self, table: Some(table), name: String::new(), span: 0..0, asked: RefCell::default() }
    }
}

impl<'r, 't> Section<'r, 't> {
    fn value(&self, key: &'static str) -> Option<(&'r DeValue<'t>, Range<usize>)> {
        self.asked.borrow_mut().push(key);
        let (_, value) = self.table?.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some((value.get_ref(), value.span()))
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn wrong(&self, key: &str, span: &Range<usize>, wanted: &str) {
        self.reader.problem(span, format!("`{}` must be {wanted}.", self.path(key)));
    }

    /// Notes a mistake about a value.
    pub(super) fn problem(&self, span: &Range<usize>, message: impl Into<String>) {
        self.reader.problem(span, message);
    }

    /// Whether the file has this section.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Where the section stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// A text, with its place.
    pub(super) fn text(&self, key: &'static str) -> Option<(String, Range<usize>)> {
        let (value, span) = self.value(key)?;
        if let DeValue::String(text) = value {
            return Some((text.to_string(), span));
        }
        self.wrong(key, &span, "a text in quotes");
        None
    }

    /// A text that must be there.
    pub(super) fn needed(&self, key: &'static str) -> Option<(String, Range<usize>)> {
        let found = self.text(key);
        if found.is_none() && self.table.is_none_or(|table| !table.iter().any(|(name, _)| name.get_ref() == key)) {
            self.reader.problem(&self.span, format!("`{}` is missing.", self.path(key)));
        }
        found
    }

    /// A whole number within a range.
    pub(super) fn number(&self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let (value, span) = self.value(key)?;
        let number = match value {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            self.wrong(key, &span, &format!("a whole number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// A whole number within a range, or the one word that may stand in its place.
    pub(super) fn number_or_word(
        &self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
        word: &str,
    ) -> Option<NumberOrWord> {
        let (value, span) = self.value(key)?;
        let found = match value {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .filter(|number| range.contains(number))
                .map(NumberOrWord::Number),
            DeValue::String(text) if text == word => Some(NumberOrWord::Word),
            _ => None,
        };
        if found.is_none() {
            let wanted = format!("a whole number from {} to {}, or \"{word}\"", range.start(), range.end());
            self.wrong(key, &span, &wanted);
        }
        found
    }

    /// Several texts, at most so many.
    pub(super) fn texts(&self, key: &'static str, at_most: usize) -> Vec<String> {
        let Some((value, span)) = self.value(key) else { return Vec::new() };
        let texts = match value {
            DeValue::Array(array) if array.len() <= at_most => array
                .iter()
                .map(|entry| match entry.get_ref() {
                    DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        texts.unwrap_or_else(|| {
            self.wrong(key, &span, &format!("a list of at most {at_most} texts, such as [\"a\", \"b\"]"));
            Vec::new()
        })
    }

    /// Yes or no.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        let (value, span) = self.value(key)?;
        if let DeValue::Boolean(flag) = value {
            return Some(*flag);
        }
        self.wrong(key, &span, "true or false");
        None
    }

    /// A table; empty if it is not there.
    pub(super) fn section(&self, key: &'static str) -> Section<'r, 't> {
        let found = self.value(key);
        let table = match &found {
            Some((DeValue::Table(table), _)) => Some(table),
            Some((_, span)) => {
                self.wrong(key, span, &format!("a section, written [{key}]"));
                None
            }
            None => None,
        };
        let span = found.map_or(0..0, |(_, span)| span);
        Section { reader: self.reader, table, name: self.path(key), span, asked: RefCell::default() }
    }

    /// Tables of an array.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'r, 't>> {
        let Some((value, span)) = self.value(key) else { return Vec::new() };
        let DeValue::Array(array) = value else {
            self.wrong(key, &span, &format!("a list of sections, each written [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for entry in array {
            if let DeValue::Table(table) = entry.get_ref() {
                let (name, span) = (self.path(key), entry.span());
                sections.push(Section {
                    reader: self.reader,
                    table: Some(table),
                    name,
                    span,
                    asked: RefCell::default(),
                });
            } else {
                self.wrong(key, &entry.span(), &format!("a list of sections, each written [[{key}]]"));
            }
        }
        sections
    }

    /// Devices beside a machine, written as in a machine's profile.
    pub(super) fn devices(&self, key: &'static str) -> Vec<Auxiliary> {
        let Some((value, span)) = self.value(key) else { return Vec::new() };
        let DeValue::Array(array) = value else {
            self.wrong(key, &span, &format!("a list of sections, each written [[{}]]", self.path(key)));
            return Vec::new();
        };
        let mut devices = Vec::new();
        for entry in array {
            match Auxiliary::deserialize(entry.clone().into_deserializer()) {
                Ok(device) => devices.push(device),
                Err(error) => {
                    let span = error.span().filter(|span| !span.is_empty()).unwrap_or_else(|| entry.span());
                    self.reader.problem(&span, format!("{}: {}.", self.path(key), error.message()));
                }
            }
        }
        devices
    }

    /// Notes every key that nobody asked for: it would be ignored in silence.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (name, _) in self.table.into_iter().flatten() {
            if !asked.iter().any(|asked| name.get_ref() == asked) {
                let known = asked.join("`, `");
                let path = self.path(name.get_ref());
                self.reader.problem(&name.span(), format!("`{path}` is not known here. Known are `{known}`."));
            }
        }
    }
}
