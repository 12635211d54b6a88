//! PINs: few digits, so the hash is slow and the tries are few.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::denial::Denial;
use super::pace::Pacing;
use super::token::same;

/// Fewest characters.
pub const PIN_MIN: usize = 4;

/// Most characters.
pub const PIN_MAX: usize = 64;

/// Memory of one hash in KiB, rounds and lanes: the second of OWASP's equal choices for argon2id. The agent has 256 MB in
/// all, and one PIN is looked at at a time.
const MEMORY_KIB: u32 = 9216;
const ROUNDS: u32 = 4;
const LANES: u32 = 1;

/// Tries of one name at one machine: five at once, then slower and slower. A thousand tries of four digits take a week.
pub const PACING: Pacing =
    Pacing { free: 5, first_ms: 30_000, last_ms: 15 * 60_000, forgotten_ms: 24 * 3_600_000, keys_max: 1024 };

/// Bytes of a hash.
const HASH_BYTES: usize = 32;

fn argon2(memory_kib: u32, rounds: u32, lanes: u32) -> Option<Argon2<'static>> {
    let params = Params::new(memory_kib, rounds, lanes, Some(HASH_BYTES)).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The hash of a PIN, with salt from chance, as everybody writes argon2's (the PHC string format).
///
/// # Errors
/// The PIN is too short or too long.
pub fn hash(pin: &str, salt: [u8; 16]) -> Result<String, Denial> {
    let length = pin.chars().count();
    if !(PIN_MIN..=PIN_MAX).contains(&length) {
        return Err(Denial::Invalid(format!("A PIN has {PIN_MIN} to {PIN_MAX} characters.")));
    }
    let mut hash = [0; HASH_BYTES];
    let hashed = argon2(MEMORY_KIB, ROUNDS, LANES)
        .and_then(|argon2| argon2.hash_password_into(pin.as_bytes(), &salt, &mut hash).ok());
    hashed.ok_or_else(|| Denial::Invalid("The PIN could not be hashed: memory is short.".to_owned()))?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!("$argon2id$v=19$m={MEMORY_KIB},t={ROUNDS},p={LANES}${salt}${hash}"))
}

/// A hash taken apart: how it was made, the salt, and what came out.
struct Parsed {
    argon2: Argon2<'static>,
    salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl Parsed {
    fn of(text: &str) -> Option<Self> {
        let (costs, rest) = text.strip_prefix("$argon2id$v=19$")?.split_once('$')?;
        let (salt, hash) = rest.split_once('$')?;
        let mut costs = costs.split(',');
        let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
        let (memory_kib, rounds, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        // A hash that would take the whole computer is none of this agent's.
        let argon2 = if memory_kib <= MEMORY_KIB * 4 && rounds <= ROUNDS * 4 {
            argon2(memory_kib, rounds, lanes)?
        } else {
            return None;
        };
        let hash = STANDARD_NO_PAD.decode(hash).ok()?.try_into().ok()?;
        Some(Self { argon2, salt: STANDARD_NO_PAD.decode(salt).ok()?, hash })
    }

    /// Nobody's: it stands in for people who do not exist or have no PIN.
    fn nobodys() -> Option<Self> {
        Some(Self {
            argon2: argon2(MEMORY_KIB, ROUNDS, LANES)?,
            salt: b"nobody's salt...".to_vec(),
            hash: [0; HASH_BYTES],
        })
    }

    fn is_of(&self, pin: &str) -> bool {
        let mut hash = [0; HASH_BYTES];
        let hashed = self.argon2.hash_password_into(pin.as_bytes(), &self.salt, &mut hash);
        hashed.is_ok() && same(&hash, &self.hash)
    }
}

/// Whether a PIN is the one of a hash. Where there is none it costs the same, and is no.
pub fn is(pin: &str, hash: Option<&str>) -> bool {
    let known = hash.and_then(Parsed::of);
    let there_is = known.is_some();
    let matches = known.or_else(Parsed::nobodys).is_some_and(|known| known.is_of(pin));
    matches && there_is
}
