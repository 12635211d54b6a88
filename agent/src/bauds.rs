//! Baud rates that were found, kept in the store: the next start tries them first.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use drivers::machine::{Baud, Machine, Setup};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where they are kept, in the store's folder.
const FILE: &str = "bauds.json";

/// Largest file that is read back, in bytes: a line for each machine.
const BYTES_MAX: u64 = 64 * 1024;

/// Machine by machine, the rate at which it answered last.
type Found = BTreeMap<String, u32>;

/// Gives machines whose rate is to be found the one at which they answered last.
pub(crate) fn recall(machines: &mut [Setup], store: &Path) {
    let found = read(&store.join(FILE));
    for machine in machines {
        if let Baud::Detect { first } = &mut machine.baud {
            *first = found.get(&machine.name).copied().or(*first);
        }
    }
}

/// Keeps the rates that are found from now on.
pub(crate) fn keep(machines: &[Machine], store: &Path, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let path = store.join(FILE);
    let found = Arc::new(Mutex::new(read(&path)));
    let detecting = machines.iter().filter(|machine| machine.finds_its_baud());
    detecting
        .map(|machine| tokio::spawn(follow(machine.clone(), found.clone(), path.clone(), stopped.clone())))
        .collect()
}

async fn follow(machine: Machine, found: Arc<Mutex<Found>>, path: PathBuf, mut stopped: watch::Receiver<bool>) {
    let (mut snapshots, name) = (machine.watch(), machine.name().to_owned());
    // The machine's thread ends when nobody holds it any more.
    drop(machine);
    loop {
        let baud = {
            let snapshot = snapshots.borrow_and_update();
            // A rate counts once the machine has said who it is.
            snapshot.baud.filter(|_| snapshot.identity.is_some())
        };
        if let Some(baud) = baud {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            if found.insert(name.clone(), baud) != Some(baud) {
                if let Err(error) = write(&path, &found) {
                    tracing::warn!(machine = %name, %error, "the baud rate that was found cannot be kept");
                }
            }
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// What is kept; nothing where there is none, or what is there is damaged: the rates are found again then.
fn read(path: &Path) -> Found {
    let small = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= BYTES_MAX);
    let text = small.then(|| std::fs::read_to_string(path).ok()).flatten();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// As a whole: a power cut leaves the old or the new one.
fn write(path: &Path, found: &Found) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part)?;
    file.write_all(&serde_json::to_vec(found)?)?;
    file.sync_all()?;
    std::fs::rename(part, path)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_was_kept_is_read_back_and_what_is_damaged_is_nothing() {
        let store = tempfile::tempdir().unwrap();
        let path = store.path().join(FILE);
        assert_eq!(read(&path), Found::new());
        let found = Found::from([("mill".to_owned(), 250_000)]);
        write(&path, &found).unwrap();
        assert_eq!(read(&path), found);
        std::fs::write(&path, b"{\"mill\": ").unwrap();
        assert_eq!(read(&path), Found::new());
    }
}
