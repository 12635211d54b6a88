//! Files and folders of the store: written as a whole or not at all, and opened only if they are what they should be.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// What every unfinished file ends with. At the start they are leftovers of a crash, and removed.
pub(crate) const PART: &str = "part";

/// Writes a file as a whole: whoever looks finds the old one or the new one, also after a power cut.
///
/// # Errors
/// The disk's. The old file is as it was then.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension(PART);
    let written = fresh(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let kept = written.and_then(|()| keep(&part, path));
    if kept.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    kept
}

/// Gives a finished file its name. It has it on the disk only once its folder is written.
pub(crate) fn keep(part: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(part, path)?;
    sync_folder(path)
}

/// Writes the folder of a file, so that the file's name (or its absence) outlives a power cut.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// A new, empty file in the place of whatever leftover is there.
pub(crate) fn fresh(path: &Path) -> io::Result<File> {
    let _ = std::fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)
}

/// Opens a file for reading, if it is one: not a link, a device or a pipe, on which reading could hang or lead elsewhere.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
    }
}

/// Reads a small file, if it is one.
///
/// # Errors
/// It is not there, is no file, or is larger than `bytes_max`.
pub(crate) fn read_small(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    open_regular(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other("it is larger than it can be"));
    }
    Ok(bytes)
}

/// A folder of the store, made if it is not there. What stands in its place and is no folder is put aside, under a name
/// that is given back.
pub(crate) fn folder(path: &Path) -> io::Result<Option<PathBuf>> {
    let aside = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => None,
        // A link to a folder is what people use to move a store to another disk.
        Ok(found) if found.is_symlink() && path.is_dir() => None,
        Ok(_) => Some(put_aside(path, "strange")?),
        Err(_) => None,
    };
    std::fs::create_dir_all(path)?;
    Ok(aside)
}

/// Gives something another name, so that nothing is lost and nothing is in the way: `name.why-1`, `name.why-2`, …
pub(crate) fn put_aside(path: &Path, why: &str) -> io::Result<PathBuf> {
    /// More are never put aside by accident.
    const ASIDE_MAX: u32 = 1000;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for number in 1..=ASIDE_MAX {
        let aside = path.with_file_name(format!("{name}.{why}-{number}"));
        if std::fs::symlink_metadata(&aside).is_err() {
            std::fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::Error::other("too many have been put aside already"))
}

/// Which file this is: changes when anybody writes to it or replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// Which file an open file is.
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    let found = file.metadata()?;
    Ok(Identity {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.len(),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// The files of a folder, by name; links, folders and devices are not among them.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// Bytes that are free on the disk of a folder.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    // Their width differs between 32-bit and 64-bit systems.
    fn widened(count: impl Into<u64>) -> u64 {
        count.into()
    }
    let disk = nix::sys::statvfs::statvfs(folder)?;
    Ok(widened(disk.blocks_available()).saturating_mul(widened(disk.fragment_size())))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_file_is_written_as_a_whole_and_leaves_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("found.json");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(read_small(&path, 3).unwrap(), b"two");
        assert!(read_small(&path, 2).is_err());
        assert_eq!(files(home.path()), [path]);
        assert!(write_whole(&home.path().join("no/such/folder"), b"x").is_err());
    }

    #[test]
    fn a_pipe_a_link_or_a_folder_is_no_file_and_hangs_nobody() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        for name in ["pipe", "link", "folder", "missing"] {
            assert!(open_regular(&at(name)).is_err(), "{name}");
        }
        assert_eq!(files(home.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn what_stands_in_a_folders_place_is_put_aside_and_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("programs");
        std::fs::write(&path, "mine").unwrap();
        let aside = folder(&path).unwrap().unwrap();
        assert_eq!(std::fs::read(aside).unwrap(), b"mine");
        assert!(path.is_dir() && folder(&path).unwrap().is_none());
    }
}
