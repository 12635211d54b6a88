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
    let kept = written.and_then(|()| give_name(&part, path)).and_then(|()| sync_folder(path));
    if kept.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    kept
}

/// Writes what a person asked for to where they asked for it: as a whole, or into the pipe or device that is there.
pub(crate) fn write_out(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => OpenOptions::new().write(true).open(path)?.write_all(bytes),
        _ => write_whole(path, bytes),
    }
}

/// Gives a finished file its name, over whatever has it. It has it on the disk only once its folder is written.
pub(crate) fn give_name(part: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(part, path)
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
    use std::os::unix::fs::FileTypeExt as _;

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
    fn what_is_written_for_a_person_is_whole_and_a_device_takes_it_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("print.rec");
        write_out(&path, b"one").unwrap();
        write_out(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        write_out(Path::new("/dev/null"), b"nobody").unwrap();
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    /// What a source file may do with files, by its folder (or its own name) under `src`.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum May {
        Read,
        Everything,
    }

    /// All that may touch files besides by way of the store, with why.
    const TOUCH_FILES: [(&str, May); 7] = [
        ("store/", May::Everything),
        // A socket is no file, but has a name and a mode like one.
        ("host/socket.rs", May::Everything),
        // The configuration and what it names, before anything runs.
        ("config/", May::Read),
        ("http/auth.rs", May::Read),
        // What the system says of itself.
        ("host/", May::Read),
        // A person's own files, in a process of theirs.
        ("cli/", May::Read),
        ("client.rs", May::Read),
    ];

    const WRITING: [&str; 14] = [
        "fs::write",
        "File::create",
        "OpenOptions",
        "File::options",
        "::rename(",
        "remove_file",
        "remove_dir",
        "create_dir",
        "fs::copy",
        "hard_link",
        "fs::symlink",
        "set_permissions",
        "set_len(",
        ".persist(",
    ];

    const READING: [&str; 14] = [
        "fs::read",
        "File::open",
        "fs::metadata",
        "symlink_metadata",
        "read_link",
        "read_dir",
        "canonicalize",
        ".exists()",
        ".try_exists()",
        ".is_file()",
        ".is_dir()",
        ".is_symlink()",
        "tokio::fs",
        "use std::fs",
    ];

    #[test]
    fn no_file_is_touched_besides_by_way_of_the_store() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        walk(&sources, &mut |path, text| {
            let name = path.strip_prefix(&sources).unwrap().to_str().unwrap();
            let may = TOUCH_FILES.iter().find(|(place, _)| name.starts_with(place)).map(|(_, may)| *may);
            let touches = |words: &[&'static str]| words.iter().find(|word| text.contains(**word)).copied();
            let writes = touches(&WRITING).filter(|_| may != Some(May::Everything));
            let reads = touches(&READING).filter(|_| may.is_none());
            found.extend(writes.or(reads).map(|word| format!("{name}: {word}")));
        });
        assert!(found.is_empty(), "the store's files.rs does this for the whole agent: {found:#?}");
    }

    #[test]
    fn one_helper_gives_files_their_names() {
        let mut found = Vec::new();
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |path, text| {
            if text.contains("::rename(") && !path.ends_with("store/files.rs") {
                found.push(path.to_owned());
            }
        });
        assert_eq!(found, [] as [PathBuf; 0]);
    }

    /// Every source file, without its comments and its tests.
    fn walk(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, look);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("test.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod test {").next().unwrap();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                look(&path, &lines.collect::<Vec<_>>().join("\n"));
            }
        }
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
