//! What is wrong with the store, in words for people.

use std::path::Path;

use drivers::Notice;
use rusqlite::ErrorCode;

use super::disk::Failure;

/// The code of a disk without room.
pub(super) const FULL: &str = "store.full";

/// The code of a store that another agent uses.
pub(super) const IN_USE: &str = "store.in_use";

/// What the agent does about any of it.
const DONE: &str = "New work is refused until the store works. What runs goes on, and stopping works.";

/// Why the file cannot be used.
pub(super) fn of(failure: &Failure) -> Notice {
    let (code, happened, to_do) = match failure {
        Failure::Newer(form) => (
            "store.newer",
            format!("The store was written by a later agent: its form is {form}."),
            "Install that agent again, or name another folder (`store.dir`).",
        ),
        Failure::Damaged(error) => {
            ("store.damaged", format!("The store is damaged: {error}."), "It is put aside; look at the disk.")
        }
        Failure::Disk(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                (FULL, "The agent's disk is full.".to_owned(), "Make room on the disk, or delete jobs that are over.")
            }
            Some(ErrorCode::ReadOnly) => (
                "store.read_only",
                "The agent's disk cannot be written to.".to_owned(),
                "Mount it for writing; a disk that does this by itself is failing.",
            ),
            _ => ("store.failed", format!("The agent's disk fails: {error}."), "Look at the disk."),
        },
    };
    Notice::new(code, happened, DONE, to_do)
}

/// A folder or a file of the store cannot be made or opened.
pub(super) fn unusable(path: &Path, error: &std::io::Error) -> Notice {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => FULL,
        std::io::ErrorKind::ReadOnlyFilesystem => "store.read_only",
        _ => "store.failed",
    };
    let to_do = "Make the folder, or let this user write to it (`store.dir`).";
    Notice::new(code, format!("The store {} cannot be used: {error}.", path.display()), DONE, to_do)
}

/// Another agent has the store.
pub(super) fn in_use(folder: &Path) -> Notice {
    Notice::new(
        IN_USE,
        format!("Another agent uses the store {}.", folder.display()),
        "Nothing in it was changed.",
        "Stop the other agent, or give this one a folder of its own (`store.dir`).",
    )
}

/// The store was damaged and is put aside.
pub(super) fn damaged(aside: &Path, error: &rusqlite::Error) -> Notice {
    Notice::new(
        "store.damaged",
        format!("The store was damaged: {error}."),
        format!(
            "It is kept as {}, and a new one was begun. Jobs that were in it are not known any more.",
            aside.display()
        ),
        "Look at the disk, and submit again what waited.",
    )
}

/// Something stood where the store's own belongs.
pub(super) fn strange(aside: &Path) -> Notice {
    Notice::new(
        "store.strange",
        "Something stood in the store where a folder or a file of the agent's belongs.",
        format!("It is kept as {}.", aside.display()),
        "Find out who put it there.",
    )
}

/// The store's thread ended by a fault.
pub(super) fn fault() -> Notice {
    Notice::new(
        "store.fault",
        "A fault in the agent ended the thread of the store.",
        "It was begun anew; what waited to be written still does.",
        "Report this with the agent's log.",
    )
}

/// The file is not open yet, and nothing more is known.
pub(super) fn closed() -> Notice {
    Notice::new("store.slow", "The store is not open yet.", DONE, "Try again in a moment.")
}
