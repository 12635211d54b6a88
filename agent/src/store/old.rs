//! The store of agents until 0.1: a folder of records, one JSON file a job. It is taken over once, and kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drivers::Notice;

use super::disk::Disk;
use super::{files, trouble};
use crate::jobs::Record;

/// The folder of records.
const JOBS: &str = "jobs";

/// The file of baud rates that were found.
const BAUDS: &str = "bauds.json";

/// Largest record that is read, in bytes.
const RECORD_BYTES_MAX: u64 = 4 << 20;

/// Under which names rates are kept now.
pub(crate) fn baud_name(machine: &str) -> String {
    format!("baud/{machine}")
}

/// What was taken over.
pub(super) struct TakenOver {
    /// Where the old records are kept now.
    pub(super) aside: PathBuf,
    /// How many there were.
    pub(super) jobs: usize,
    /// Those that cannot be read, each with why.
    pub(super) unreadable: Vec<String>,
}

/// Takes the old records over, if there are any, and puts them aside.
///
/// # Errors
/// The disk's. The old records are where they were then, and this is tried again.
pub(super) fn import(folder: &Path, disk: &mut Disk) -> Result<Option<TakenOver>, Notice> {
    let (jobs, bauds) = (folder.join(JOBS), folder.join(BAUDS));
    let kept = rates(&bauds);
    if !kept.is_empty() {
        disk.import(&[], &kept).map_err(|failure| trouble::of(&failure))?;
        files::put_aside(&bauds, "before-sqlite").map_err(|error| trouble::unusable(&bauds, &error))?;
    }
    if !std::fs::symlink_metadata(&jobs).is_ok_and(|found| found.is_dir()) {
        return Ok(None);
    }
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for path in files::files(&jobs) {
        if path.extension().is_some_and(|extension| extension == "json") {
            match files::read_small(&path, RECORD_BYTES_MAX).map(|bytes| serde_json::from_slice::<Record>(&bytes)) {
                Ok(Ok(record)) => records.push(record),
                // It stays where the others are kept.
                Ok(Err(error)) => unreadable.push(format!("{}: {error}", path.display())),
                Err(error) => unreadable.push(format!("{}: {error}", path.display())),
            }
        }
    }
    disk.import(&records, &[]).map_err(|failure| trouble::of(&failure))?;
    let aside = files::put_aside(&jobs, "before-sqlite").map_err(|error| trouble::unusable(&jobs, &error))?;
    Ok(Some(TakenOver { aside, jobs: records.len(), unreadable }))
}

fn rates(path: &Path) -> Vec<(String, String)> {
    let found = files::read_small(path, 64 * 1024).unwrap_or_default();
    let found: BTreeMap<String, u32> = serde_json::from_slice(&found).unwrap_or_default();
    found.into_iter().map(|(machine, baud)| (baud_name(&machine), baud.to_string())).collect()
}
