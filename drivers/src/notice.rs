//! What an operator is told: what happened, what was done, what to do, and a code that never changes.

use serde::{Deserialize, Serialize};

/// A message for a person, with a stable code for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable code, such as `link.lost` or `grbl.alarm.1`. Never renamed.
    pub code: String,
    /// One sentence: what happened. Records of older agents have all of it in one `message`.
    #[serde(alias = "message")]
    pub happened: String,
    /// One sentence: what the agent did about it.
    #[serde(default)]
    pub done: String,
    /// One sentence: what to do.
    #[serde(default)]
    pub to_do: String,
}

impl Notice {
    /// A notice from its parts.
    pub fn new(
        code: impl Into<String>,
        happened: impl Into<String>,
        done: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self { code: code.into(), happened: happened.into(), done: done.into(), to_do: to_do.into() }
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in [&self.happened, &self.done, &self.to_do].into_iter().filter(|part| !part.is_empty()) {
            write!(formatter, "{part} ")?;
        }
        write!(formatter, "[{}]", self.code)
    }
}
