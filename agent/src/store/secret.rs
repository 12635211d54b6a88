//! Secrets in files that only the agent's user reads.

use std::fs::OpenOptions;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::files::{PART, give_name, sync_folder};

/// Largest secret that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// Writes a secret as a whole, in the place of whatever has that name: a link is replaced and not followed.
///
/// # Errors
/// The disk's.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension(PART);
    let _ = std::fs::remove_file(&part);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    give_name(&part, path)?;
    sync_folder(path)
}

/// Removes a secret that is used up. One that is not there is as good.
pub(crate) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Reads a secret. What others could have written or read is none any more.
///
/// # Errors
/// It is not there; or it is a link, a pipe, somebody else's, or open to others.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let found = file.metadata()?;
    let problem = if !found.is_file() {
        Some("it is no file")
    } else if found.uid() != geteuid().as_raw() && found.uid() != 0 {
        Some("it belongs to another user")
    } else if found.mode() & 0o077 != 0 {
        Some("others may read or write it; its mode must be 0600")
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod test {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_for_its_user_alone_and_no_link_leads_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        write(&at("key"), "one").unwrap();
        assert_eq!(std::fs::metadata(at("key")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&at("key")).unwrap(), "one");
        std::os::unix::fs::symlink(at("key"), at("link")).unwrap();
        assert!(read(&at("link")).is_err());
        write(&at("link"), "two").unwrap();
        assert_eq!((read(&at("key")).unwrap(), read(&at("link")).unwrap()), ("one".to_owned(), "two".to_owned()));
        std::fs::set_permissions(at("key"), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read(&at("key")).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        remove(&at("link"));
        assert!(!at("link").exists() && at("key").exists());
    }
}
