//! People, and at which machines they may work.

use serde::{Deserialize, Serialize};

use super::actor::Role;
use super::denial::Denial;

/// People that are kept at most: a large makerspace has as many members.
pub const PEOPLE_MAX: usize = 2000;

/// Machines that one person can be competent for: an agent has 32.
pub const COMPETENCE_MAX: usize = 64;

/// Longest name, in characters.
pub const NAME_MAX: usize = 64;

/// Names that say in the log who is nobody's person. A member of that name could not be told from them.
const RESERVED: [&str; 7] = ["owner", "token", "local", "nobody", "agent", "admin", "root"];

/// Somebody may work at a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Competence {
    /// The machine.
    pub machine: String,
    /// Until when, in milliseconds since 1970; absent: for good.
    pub until_ms: Option<i64>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Identifier that says nothing of who they are; it stays where the name is erased.
    pub id: String,
    /// Their name, unique. Hostile text, but without control characters.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// What they may work at.
    #[serde(default)]
    pub competence: Vec<Competence>,
    /// The argon2id hash of their PIN; absent: they have none.
    #[serde(default)]
    pub pin: Option<String>,
    /// When they were added, in milliseconds since 1970.
    pub added_ms: i64,
}

/// Whether somebody may work at a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Competent {
    /// They may.
    Yes,
    /// They might until then, in milliseconds since 1970.
    Expired(i64),
    /// Nobody said so.
    No,
}

impl Person {
    /// Whether they may work at a machine at a time. Operators and admins may at all.
    pub fn competent(&self, machine: &str, now_ms: i64) -> Competent {
        if !self.role.needs_competence() {
            return Competent::Yes;
        }
        match self.competence.iter().find(|known| known.machine == machine).map(|known| known.until_ms) {
            None => Competent::No,
            Some(Some(until)) if until <= now_ms => Competent::Expired(until),
            Some(_) => Competent::Yes,
        }
    }
}

/// An identifier of chance.
pub fn new_id(chance: [u8; 8]) -> String {
    chance.iter().fold("p-".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// A name as it is kept.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<String, Denial> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Denial::Name("it is empty"));
    }
    if text.chars().count() > NAME_MAX {
        return Err(Denial::Name("it has more than 64 characters"));
    }
    if text.chars().any(is_invisible) {
        return Err(Denial::Name("it holds a character that does not show or turns the text around"));
    }
    if RESERVED.iter().any(|reserved| text.eq_ignore_ascii_case(reserved)) {
        return Err(Denial::Name("the log uses it for those who are no member"));
    }
    if text == "." || text == ".." {
        return Err(Denial::Name("an address cannot hold it"));
    }
    Ok(text.to_owned())
}

/// Characters with which a line of the log, a header or another name could be forged.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
