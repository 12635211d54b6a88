//! Tokens: chance that opens what its person and its scope allow. Only its hash is kept.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::actor::Role;

/// What every token begins with, so that a scanner of repositories and logs finds one that was lost.
pub const PREFIX: &str = "fab_";

/// Tokens that are kept at most, of all people, revoked ones included.
pub const TOKENS_MAX: usize = 5000;

/// Longest label, in characters.
pub const LABEL_MAX: usize = 64;

/// Last uses are written at most so often, in milliseconds: a page asks every second, and an SD card wears.
pub const USED_EVERY_MS: i64 = 60 * 60 * 1000;

/// The hash under which a token is kept. It has 256 bits of chance, so a fast hash is as good as a slow one.
pub type Hash = [u8; 32];

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its public name.
    pub id: String,
    /// The identifier of its person.
    pub person: String,
    /// What it is for, in its maker's words.
    pub label: String,
    /// What it is good for at most.
    pub scope: Role,
    /// The machines it is good for; absent: all.
    #[serde(default)]
    pub machines: Option<BTreeSet<String>>,
    /// When it was made, in milliseconds since 1970, as the others.
    pub made_ms: i64,
    /// When it is over; absent: never.
    #[serde(default)]
    pub until_ms: Option<i64>,
    /// When it was used last, to the hour.
    #[serde(default)]
    pub used_ms: Option<i64>,
    /// When it was revoked.
    #[serde(default)]
    pub revoked_ms: Option<i64>,
}

impl Token {
    /// Whether it opens anything at a time.
    pub fn is_good(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_none() && self.until_ms.is_none_or(|until| now_ms < until)
    }

    /// Whether that it is used now is worth writing down.
    pub fn use_is_news(&self, now_ms: i64) -> bool {
        self.used_ms.is_none_or(|used| now_ms.saturating_sub(used) >= USED_EVERY_MS)
    }
}

/// The secret of a token, from chance. It is shown once.
pub fn secret(chance: [u8; 32]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(chance))
}

/// The hash of what is shown for a secret.
pub fn hash(shown: &str) -> Hash {
    Sha256::digest(shown.trim()).into()
}

/// A token's public name, from chance.
pub fn new_id(chance: [u8; 6]) -> String {
    chance.iter().fold("t-".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// A code that a person types once, from chance: sixteen letters and digits that nobody mistakes for each other.
pub fn claim_code(chance: [u8; 10]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKMNPQRSTVWXYZ0123456789";
    let bits = chance.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let letters = (0..16).rev().map(|place| char::from(LETTERS[(bits >> (place * 5)) as usize & 31]));
    let mut code = String::new();
    for (at, letter) in letters.enumerate() {
        if at > 0 && at % 4 == 0 {
            code.push('-');
        }
        code.push(letter);
    }
    code
}

/// Whether two hashes are the same, in the same time whatever they are.
pub fn same(one: &Hash, other: &Hash) -> bool {
    one.iter().zip(other).fold(0_u8, |difference, (a, b)| difference | (a ^ b)) == 0
}
