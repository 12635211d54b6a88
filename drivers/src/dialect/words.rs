//! What printers say in words, and what becomes of a job for it: one table per dialect, in `words/`.
//!
//! A line is told apart by how it begins (`Error:`, `echo:`, `// `, `!! `, `Warning:`, or none of these), whatever its
//! case and with or without blanks behind the colon, and by what stands behind that. The firmware's own table comes
//! first, then what all descendants of Marlin say ([`marlin::COMMON`]). An `Error:` that no table knows stops a job: a
//! host that goes on prints on top of what went wrong.

pub(super) mod klipper;
pub(super) mod marlin;
pub(super) mod repetier;
pub(super) mod reprapfirmware;
pub(super) mod smoothieware;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Reply, printable};

/// What a text of a machine does to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is told to people, and the job goes on.
    Tell,
    /// A command was answered and not done: it counts as ignored, and the job goes on.
    Ignore,
    /// A command was answered and not done, or not wholly, and what follows makes no sense without it: it counts as
    /// ignored, and the job does what `stream.on_error` says.
    Spoil,
    /// A command was refused: it counts as refused, and the job does what `stream.on_error` says.
    Refuse,
    /// Something is wrong with the machine, and with no line of the job: the job does what `stream.on_error` says.
    Fault,
    /// The machine asks for a pause: the job is held, whatever the profile says.
    Hold,
    /// The machine has paused by itself, and its own display lets it go on: the job is held, whatever the profile says.
    Paused,
    /// The machine asks for the job to be ended: it fails, and the machine is made safe.
    End,
    /// The machine has halted: nothing works before a reset.
    Halt,
    /// A line arrived damaged; a request to say it again follows.
    Damaged,
    /// A line did not arrive; a request to say it again follows.
    Gap,
}

/// Something a machine said in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What it does to a job.
    pub effect: Effect,
    /// Stable code of the notice it leads to.
    pub code: String,
    /// What the machine said, without what it begins with. Hostile where it is shown.
    pub text: String,
    /// Whether no table knows the text, so that it may be another one that arrived damaged.
    pub unknown: bool,
}

/// How a line of words begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// `Error:`, which every firmware here writes in front of what went wrong.
    Error,
    /// `echo:`
    Echo,
    /// `Warning:`
    Warning,
    /// `// `: what hosts may show.
    Note,
    /// `!! `: Klipper's errors.
    Bang,
    /// None of these.
    Plain,
}

/// What a text is known by. All of it is written in small letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// It begins so.
    Starts(&'static str),
    /// This stands somewhere in it.
    Has(&'static str),
    /// All of these stand in it.
    All(&'static [&'static str]),
}

/// A row of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) voices: &'static [Voice],
    pub(super) pattern: Pattern,
    pub(super) effect: Effect,
    /// Stable code; empty where it leads to no notice.
    pub(super) code: &'static str,
    /// Where the firmware says it: file and function, or the report in which it was seen.
    pub(super) source: &'static str,
}

/// What a firmware says.
pub(super) type Table = &'static [Row];

/// A row in few words.
pub(super) const fn row(
    voices: &'static [Voice],
    pattern: Pattern,
    effect: Effect,
    code: &'static str,
    source: &'static str,
) -> Row {
    Row { voices, pattern, effect, code, source }
}

/// A command that the firmware does not know.
pub(super) const UNKNOWN_COMMAND: &str = "machine.unknown_command";
/// The nozzle is too cold to extrude, or the extrusion is too long.
pub(super) const NOT_EXTRUDED: &str = "machine.not_extruded";
/// An axis is not homed.
pub(super) const NOT_HOMED: &str = "machine.not_homed";
/// Filament is out, jams or slips.
pub(super) const FILAMENT: &str = "machine.filament";
/// The machine asks its host to pause.
pub(super) const ASKS_PAUSE: &str = "machine.asks_pause";
/// The machine asks its host to end the job.
pub(super) const ASKS_STOP: &str = "machine.asks_stop";
/// Something is wrong with the machine.
pub(super) const FAULT: &str = "machine.fault";

/// Beginnings, in small letters, and what they are. Longer ones first.
const BEGINNINGS: [(&[u8], Voice); 6] = [
    (b"error:", Voice::Error),
    (b"echo:", Voice::Echo),
    (b"warning:", Voice::Warning),
    (b"info:", Voice::Echo),
    (b"//", Voice::Note),
    (b"!!", Voice::Bang),
];

/// How a line begins, and what stands behind that. `echo:Error:…` is an error.
fn voice(line: &[u8]) -> (Voice, &[u8]) {
    let mut found = (Voice::Plain, line.trim_ascii());
    // No firmware sets more than two in front of each other.
    for _ in 0..2 {
        let begins = |(beginning, _): &&(&[u8], Voice)| {
            found.1.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
        };
        let Some((beginning, voice)) = BEGINNINGS.iter().find(begins) else { break };
        let rest = found.1[beginning.len()..].trim_ascii();
        // `//` in front of an error says only that hosts may show it.
        found = (if found.0 == Voice::Error { Voice::Error } else { *voice }, rest);
    }
    found
}

fn fits(pattern: Pattern, text: &[u8]) -> bool {
    let has = |needle: &str| memchr::memmem::find(text, needle.as_bytes()).is_some();
    match pattern {
        Pattern::Starts(start) => text.starts_with(start.as_bytes()),
        Pattern::Has(needle) => has(needle),
        Pattern::All(needles) => needles.iter().all(|needle| has(needle)),
    }
}

/// The tables as a document: which text does what, and where the firmware says it. `docs/words.md` is this.
pub fn tables() -> String {
    let mut text = String::new();
    for (title, table) in [
        ("Marlin, and every printer below", marlin::COMMON),
        ("All but Klipper", marlin::BANG),
        ("Repetier", repetier::OWN),
        ("Smoothieware", smoothieware::OWN),
        ("RepRapFirmware", reprapfirmware::OWN),
        ("Klipper", klipper::OWN),
    ] {
        text.push_str("\n## ");
        text.push_str(title);
        text.push_str("\n\n| begins with | text | does | code | source |\n|---|---|---|---|---|\n");
        for row in table {
            let voices: Vec<_> = row.voices.iter().map(|voice| voice.beginning()).collect();
            let pattern = match row.pattern {
                Pattern::Starts(start) => format!("`{start}…`"),
                Pattern::Has("") => "anything".to_owned(),
                Pattern::Has(part) => format!("`…{part}…`"),
                Pattern::All(parts) => format!("`…{}…`", parts.join("…")),
            };
            let code = if row.code.is_empty() { "" } else { row.code };
            let (voices, effect, source) = (voices.join(", "), row.effect.word(), row.source);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {voices} | {pattern} | {effect} | {code} | {source} |");
        }
    }
    text
}

impl Effect {
    /// The word in the document.
    fn word(self) -> &'static str {
        match self {
            Self::Tell => "tell",
            Self::Ignore => "count as ignored",
            Self::Spoil => "count as ignored; `on_error`",
            Self::Refuse => "count as refused; `on_error`",
            Self::Fault => "`on_error`",
            Self::Hold | Self::Paused => "hold",
            Self::End => "end",
            Self::Halt => "halted: the job has failed",
            Self::Damaged | Self::Gap => "a request to say a line again follows",
        }
    }
}

impl Voice {
    fn beginning(self) -> &'static str {
        match self {
            Self::Error => "`Error:`",
            Self::Echo => "`echo:`",
            Self::Warning => "`Warning:`",
            Self::Note => "`//`",
            Self::Bang => "`!!`",
            Self::Plain => "nothing",
        }
    }
}

/// What a line says, if it is one of words. `name`: the dialect's, for the code of what no table knows.
pub(super) fn read(name: &str, tables: &[Table], line: &[u8]) -> Option<Reply> {
    let (voice, text) = voice(line);
    // Grbl's way to refuse: another machine than one that speaks in words.
    if line.strip_prefix(b"error:").is_some_and(|number| number.trim_ascii().iter().all(u8::is_ascii_digit)) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let rows = tables.iter().flat_map(|table| table.iter());
    let known = rows.into_iter().find(|row| row.voices.contains(&voice) && fits(row.pattern, &lower));
    let said = |effect, code: &str, unknown| Said { effect, code: code.to_owned(), text: printable(text), unknown };
    Some(match (known, voice) {
        (Some(row), _) => match row.effect {
            Effect::Damaged => Reply::ChecksumError,
            Effect::Gap => Reply::Gap,
            Effect::Halt => Reply::Halted { text: printable(text), explained: true },
            Effect::Tell if row.code.is_empty() => Reply::Message(printable(text)),
            effect => {
                let of_dialect = format!("{name}.error");
                Reply::Said(said(effect, if row.code.is_empty() { &of_dialect } else { row.code }, false))
            }
        },
        (None, Voice::Error | Voice::Bang) => Reply::Said(said(Effect::Refuse, &format!("{name}.error"), true)),
        (None, Voice::Echo | Voice::Warning) => Reply::Message(printable(text)),
        (None, Voice::Note | Voice::Plain) => return None,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    const TABLES: [(&str, Table); 5] = [
        ("marlin", marlin::COMMON),
        ("repetier", repetier::OWN),
        ("smoothieware", smoothieware::OWN),
        ("reprapfirmware", reprapfirmware::OWN),
        ("klipper", klipper::OWN),
    ];

    #[test]
    fn every_row_names_its_source_and_can_be_met() {
        for (name, table) in TABLES {
            for (at, row) in table.iter().enumerate() {
                assert!(row.source.len() > 8, "{name}: {row:?}");
                let texts: Vec<&str> = match row.pattern {
                    Pattern::Starts(text) | Pattern::Has(text) => vec![text],
                    Pattern::All(texts) => texts.to_vec(),
                };
                for text in &texts {
                    assert_eq!(text.to_ascii_lowercase(), **text, "{name}: compared in small letters");
                }
                let sample = texts.join(" ");
                let hidden = table[..at].iter().find(|before| {
                    fits(before.pattern, sample.as_bytes())
                        && row.voices.iter().all(|voice| before.voices.contains(voice))
                });
                assert!(hidden.is_none(), "{name}: {row:?} is never reached: {hidden:?}");
                let leads_to_a_notice =
                    matches!(row.effect, Effect::Spoil | Effect::Fault | Effect::Hold | Effect::Paused | Effect::End);
                assert!(!leads_to_a_notice || !row.code.is_empty(), "{name}: {row:?}");
            }
        }
    }

    #[test]
    fn a_beginning_is_known_in_any_case_and_with_or_without_a_blank() {
        for line in ["Error:x", "Error: x", "error:x", "ERROR:  x ", "echo:Error:x", "// error: x", "Error:echo:x"] {
            assert_eq!(voice(line.as_bytes()), (Voice::Error, &b"x"[..]), "{line}");
        }
        assert_eq!(read("marlin", &[marlin::COMMON], b"error:20"), None, "a Grbl");
        assert!(read("marlin", &[marlin::COMMON], b"Error:0").is_some(), "Marlin 1.0's first half of an error");
        assert_eq!(voice(b" cold"), (Voice::Plain, &b"cold"[..]));
        assert_eq!(voice(b"echo: cold extrusion prevented").0, Voice::Echo);
        assert_eq!(voice(b"//x"), (Voice::Note, &b"x"[..]));
        assert_eq!(voice(b"Errors"), (Voice::Plain, &b"Errors"[..]));
    }
}
