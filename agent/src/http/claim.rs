//! The claim code: whoever reads it on the agent's terminal, or as root in its folder, becomes its first admin, once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use drivers::Notice;

use super::auth::no_chance;
use crate::access::token::{self, Hash};
use crate::host::secret;
use crate::store;

/// The file's name in the store's folder.
const FILE: &str = "claim";

/// The code that is open, and the file that holds it.
#[derive(Debug, Default)]
pub(super) struct Claim(Mutex<Option<(Hash, PathBuf)>>);

impl Claim {
    /// Makes a code and puts it into its file. It is given back once, for the terminal.
    ///
    /// # Errors
    /// The system gives no chance, or the disk takes no file.
    pub(super) fn open(&self, folder: &Path) -> Result<String, Notice> {
        let code = token::claim_code(secret::chance().map_err(|error| no_chance(&error))?);
        let path = folder.join(FILE);
        store::secret::write(&path, &format!("{code}\n")).map_err(|error| {
            Notice::new(
                "claim.unwritten",
                format!("The claim code cannot be written to {}: {error}.", path.display()),
                "There is none in this life of the agent.",
                "Make people as root: `fab-agent member add`.",
            )
        })?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((token::hash(&plain(&code)), path));
        Ok(code)
    }

    /// Takes the code out, if it is the one. From then on it opens nothing.
    pub(super) fn take(&self, shown: &str) -> Option<Taken<'_>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = token::hash(&plain(shown));
        open.take_if(|(hash, _)| token::same(hash, &shown)).map(|taken| Taken { claim: self, taken: Some(taken) })
    }

    /// Removes a code of an earlier life that is not wanted any more.
    pub(super) fn close(folder: &Path) {
        store::secret::remove(&folder.join(FILE));
    }
}

/// A code that is being used: dropped before it is used up, it is open again.
pub(super) struct Taken<'c> {
    claim: &'c Claim,
    taken: Option<(Hash, PathBuf)>,
}

impl Taken<'_> {
    /// It is used up.
    pub(super) fn used_up(mut self) {
        if let Some((_, path)) = self.taken.take() {
            store::secret::remove(&path);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            *self.claim.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        }
    }
}

/// A code as a person types it: in any case, with or without its dashes.
fn plain(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_claim_code_opens_once_and_only_when_it_was_used_up() {
        let home = tempfile::tempdir().unwrap();
        let claim = Claim::default();
        assert!(claim.take("").is_none(), "where there is none, nothing is the right one");
        let code = claim.open(home.path()).unwrap();
        assert_eq!(std::fs::read_to_string(home.path().join(FILE)).unwrap().trim(), code);
        assert!(code.len() == 19 && claim.take("AAAA-AAAA-AAAA-AAAA").is_none() && claim.take("").is_none());
        // It could not be written down: it is open again.
        drop(claim.take(&code).unwrap());
        let taken = claim.take(&code.to_lowercase().replace('-', " ")).unwrap();
        assert!(claim.take(&code).is_none(), "two at once");
        taken.used_up();
        assert!(claim.take(&code).is_none() && !home.path().join(FILE).exists());
    }
}
