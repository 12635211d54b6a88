//! A disk that loses power: what it holds after a number of deeds, with the last ones lost or torn.

use std::collections::BTreeMap;
use std::path::Path;

use crate::trace::Deed;

/// What became of writes that were not synced when the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All of them reached the disk.
    Kept,
    /// None did.
    Lost,
    /// All did, and of the last only its first half.
    Torn,
    /// Each did or did not, by chance, as a disk with a cache writes in any order.
    Some(u64),
}

/// A file: what is certainly on the disk, and what may be.
#[derive(Debug, Clone, Default)]
struct Content {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, torn: bool) {
        match self {
            Self::Write(place, written) => {
                let written = if torn { &written[..written.len() / 2] } else { written };
                let (from, to) = (*place as usize, *place as usize + written.len());
                if bytes.len() < to {
                    bytes.resize(to, 0);
                }
                bytes[from..to].copy_from_slice(written);
            }
            Self::Cut(length) => bytes.resize(*length as usize, 0),
        }
    }
}

/// A disk. Files have numbers, so that a name can be lost without its content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    files: Vec<Content>,
    /// Names as the process sees them, and those that are certainly on the disk.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    folders: Vec<String>,
}

impl Disk {
    pub(crate) fn does(&mut self, deed: &Deed) {
        match deed {
            Deed::Create(name) => {
                if !self.names.contains_key(name) {
                    self.files.push(Content::default());
                    self.names.insert(name.clone(), self.files.len() - 1);
                }
            }
            Deed::Write(name, place, bytes) => self.change(name, Change::Write(*place, bytes.clone())),
            Deed::Cut(name, length) => self.change(name, Change::Cut(*length)),
            Deed::Sync(name) => {
                let Some(number) = self.names.get(name) else { return };
                let content = &mut self.files[*number];
                for change in std::mem::take(&mut content.unsynced) {
                    change.apply(&mut content.synced, false);
                }
                // A file that was just made and is synced has its name on the disk, on every journaling file system.
                self.synced_names.entry(name.clone()).or_insert(*number);
            }
            Deed::SyncFolder(folder) => {
                let inside = |name: &String| match name.rsplit_once('/') {
                    Some((parent, _)) => parent == folder,
                    None => folder.is_empty(),
                };
                self.synced_names.retain(|name, _| !inside(name));
                self.synced_names
                    .extend(self.names.iter().filter(|(name, _)| inside(name)).map(|(a, b)| (a.clone(), *b)));
            }
            Deed::Rename(from, to) => {
                if let Some(number) = self.names.remove(from) {
                    self.names.insert(to.clone(), number);
                }
            }
            Deed::Remove(name) => drop(self.names.remove(name)),
            Deed::Folder(name) => self.folders.push(name.clone()),
            Deed::Said(_) => {}
        }
    }

    fn change(&mut self, name: &str, change: Change) {
        if let Some(number) = self.names.get(name) {
            self.files[*number].unsynced.push(change);
        }
    }

    /// Builds what is found when the power is back. `names_kept`: whether names that were not synced reached the disk.
    pub(crate) fn build(&self, at: &Path, fate: Fate, names_kept: bool) {
        for folder in &self.folders {
            std::fs::create_dir_all(at.join(folder)).unwrap();
        }
        let names = if names_kept { &self.names } else { &self.synced_names };
        let mut chance = fastrand::Rng::with_seed(match fate {
            Fate::Some(seed) => seed,
            _ => 0,
        });
        for (name, number) in names {
            let Content { synced, unsynced } = &self.files[*number];
            let mut bytes = synced.clone();
            for (place, change) in unsynced.iter().enumerate() {
                let last = place + 1 == unsynced.len();
                match fate {
                    Fate::Kept => change.apply(&mut bytes, false),
                    Fate::Lost => {}
                    Fate::Torn => change.apply(&mut bytes, last),
                    Fate::Some(_) if chance.bool() => change.apply(&mut bytes, chance.bool() && last),
                    Fate::Some(_) => {}
                }
            }
            std::fs::write(at.join(name), bytes).unwrap();
        }
    }
}
