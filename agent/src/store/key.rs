//! The agent's own key: Ed25519, made at the first start, in a file beside the store that only the agent reads. Its public
//! half is the agent's name to the world, as a `did:key`.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drivers::Notice;
use ed25519_dalek::{Signer as _, SigningKey};

use super::secret;
use crate::host::secret::chance;

/// The key's name in the store's folder.
pub const FILE: &str = "agent.key";

/// What the file begins with: which kind of key it is.
const KIND: &str = "ed25519:";

/// Says in a did:key that an Ed25519 public key follows (multicodec `ed25519-pub`, as a varint).
const ED25519_PUB: [u8; 2] = [0xed, 0x01];

/// The agent's key.
#[derive(Clone)]
pub struct Key {
    signing: SigningKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({})", self.did())
    }
}

impl Key {
    /// Reads the key of a folder, or makes one where there is none.
    ///
    /// # Errors
    /// The file is not the agent's alone, holds no key, or cannot be written. Nothing is put in its place: a key that is
    /// lost is lost, but one that cannot be read now may be readable later.
    pub fn open(folder: &Path) -> Result<Self, Notice> {
        let path = folder.join(FILE);
        match secret::read(&path) {
            Ok(text) => Self::parse(&text).ok_or_else(|| unusable(&path, &io::Error::other("it holds no key"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(folder),
            Err(error) => Err(unusable(&path, &error)),
        }
    }

    /// Makes a new key and puts it in the place of the one that is there.
    ///
    /// # Errors
    /// The system gives no chance, or the disk takes no file. The old key is as it was then.
    pub fn make(folder: &Path) -> Result<Self, Notice> {
        let path = folder.join(FILE);
        let made = chance::<32>().and_then(|seed| {
            secret::write(&path, &format!("{KIND}{}\n", STANDARD.encode(seed)))?;
            Ok(Self { signing: SigningKey::from_bytes(&seed) })
        });
        made.map_err(|error| unusable(&path, &error))
    }

    fn parse(text: &str) -> Option<Self> {
        let seed = STANDARD.decode(text.trim().strip_prefix(KIND)?).ok()?;
        Some(Self { signing: SigningKey::from_bytes(&seed.try_into().ok()?) })
    }

    /// The public half as a `did:key`.
    pub fn did(&self) -> String {
        let public = self.signing.verifying_key();
        let bytes: Vec<u8> = ED25519_PUB.iter().chain(public.as_bytes()).copied().collect();
        format!("did:key:z{}", bs58::encode(bytes).into_string())
    }

    /// Signs.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.signing.sign(bytes).to_bytes()
    }
}

/// Which file the key is in: another text once it was copied, restored or replaced, whatever it holds. Nothing where there
/// is none.
pub(crate) fn stamp(folder: &Path) -> Option<String> {
    let found = std::fs::symlink_metadata(folder.join(FILE)).ok()?;
    Some(format!("{}-{}.{:09}", found.ino(), found.ctime(), found.ctime_nsec()))
}

fn unusable(path: &Path, error: &io::Error) -> Notice {
    Notice::new(
        "key.unusable",
        format!("The agent's key {} cannot be used: {error}.", path.display()),
        "The agent runs without a key: it can sign nothing. The file was not touched.",
        "Make it a file of the agent's user with mode 0600, or remove it: then a new key is made.",
    )
}

#[cfg(test)]
mod test {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_named_as_others_name_it() {
        let home = tempfile::tempdir().unwrap();
        let key = Key::open(home.path()).unwrap();
        let mode = std::fs::metadata(home.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Key::open(home.path()).unwrap().did(), key.did());
        assert!(!format!("{key:?}").contains(std::fs::read_to_string(home.path().join(FILE)).unwrap().trim()));
        // RFC 8032, test 1, and its did:key.
        let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let seed: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&secret[at * 2..at * 2 + 2], 16).unwrap()).collect();
        let known = Key::parse(&format!("{KIND}{}", STANDARD.encode(seed))).unwrap();
        assert_eq!(known.did(), "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw");
        let signed = known.sign(b"");
        assert_eq!(signed[..4], [0xe5, 0x56, 0x43, 0x00]);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_a_link_leads_to_is_not_used_and_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let key = Key::open(home.path()).unwrap();
        let path = home.path().join(FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Key::open(home.path()).unwrap_err().code, "key.unusable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Key::open(home.path()).unwrap().did(), key.did());
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&path, elsewhere.path().join(FILE)).unwrap();
        assert_eq!(Key::open(elsewhere.path()).unwrap_err().code, "key.unusable");
    }

    #[test]
    fn a_copied_key_is_another_file() {
        let (home, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(stamp(home.path()), None);
        Key::open(home.path()).unwrap();
        let before = stamp(home.path());
        assert_eq!(stamp(home.path()), before);
        std::fs::copy(home.path().join(FILE), copy.path().join(FILE)).unwrap();
        assert!(before.is_some() && stamp(copy.path()) != before);
        Key::make(home.path()).unwrap();
        assert!(stamp(home.path()) != before);
    }
}
