//! Whether the store is a copy. A backup that is put back does not know what was told since: under the same name its
//! numbers would be given twice. So it begins a new log.
//!
//! Two things beside the file tell: in which file the agent's key is, which no copy keeps, and how far the log's numbers
//! were set aside, which only the newest file knows.

use std::path::Path;

use super::disk::Was;
use super::{KEY_STAMP, files};
use crate::store::key;

/// The file's name.
const FILE: &str = "epoch";

/// Largest such file that is read, in bytes.
const BYTES_MAX: u64 = 256;

/// Why a store that was found is a copy, if it is one.
pub(super) fn is_another(folder: &Path, was: &Was) -> Option<&'static str> {
    if was.new {
        return None;
    }
    let known = was.kept.iter().find(|(name, _)| name == KEY_STAMP).map(|(_, stamp)| stamp);
    if known.is_some_and(|known| key::stamp(folder).as_ref() != Some(known)) {
        return Some("the agent's key is another file than it was");
    }
    let beside = read(folder).filter(|(log, _)| *log == was.log);
    beside.filter(|(_, mark)| *mark > was.mark).map(|_| "the store is older than what was told from it")
}

/// Notes how far the numbers of a log are set aside. A disk that takes it not has told so already.
pub(super) fn put(folder: &Path, log: &str, mark: u64) {
    if let Err(error) = files::write_whole(&folder.join(FILE), format!("{log} {mark}\n").as_bytes()) {
        tracing::debug!(%error, "the epoch's mark was not written");
    }
}

fn read(folder: &Path) -> Option<(String, u64)> {
    let text = String::from_utf8(files::read_small(&folder.join(FILE), BYTES_MAX).ok()?).ok()?;
    let (log, mark) = text.trim().split_once(' ')?;
    Some((log.to_owned(), mark.parse().ok()?))
}
