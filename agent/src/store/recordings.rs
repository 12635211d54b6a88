//! Recordings of trouble on the disk: a folder that holds the newest ones, for whoever wants to know what happened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::machine::{Machine, Recording};
use drivers::repeats::Repeats;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::files;

/// Recordings kept. At 1 MiB each they are the smaller part of a store; a machine makes at most one a minute.
pub const RECORDINGS_MAX: usize = 20;

/// A disk that takes no recordings is spoken of this often in the log.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// The folder of the recordings in the agent's store.
pub fn folder(store: &Path) -> PathBuf {
    store.join("recordings")
}

/// Writes down what the machines hand over, until the agent ends.
pub fn keep(machines: &[Machine], store: &Path, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let folder = Arc::new(folder(store));
    let keep = |machine: &Machine| {
        let (mut recordings, folder, mut stopped) = (machine.recordings(), folder.clone(), stopped.clone());
        tokio::spawn(async move {
            let mut said = Repeats::new(SAID_AGAIN_AFTER);
            loop {
                let recording = tokio::select! {
                    recording = recordings.recv() => recording,
                    _ = stopped.wait_for(|stop| *stop) => return,
                };
                match recording {
                    Ok(recording) => write_down(&folder, recording, &mut said).await,
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "recordings were not written down"),
                    Err(RecvError::Closed) => return,
                }
            }
        })
    };
    machines.iter().map(keep).collect()
}

async fn write_down(folder: &Path, recording: Arc<Recording>, said: &mut Repeats) {
    let folder = folder.to_owned();
    let name = name(&recording, jiff::Timestamp::now());
    let written = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        make_room(&folder)?;
        let path = folder.join(name);
        files::write_whole(&path, recording.text.as_bytes())?;
        Ok::<_, std::io::Error>(path)
    });
    match written.await {
        Ok(Ok(path)) => {
            said.well(Instant::now());
            tracing::warn!(path = %path.display(), "a recording of the trouble was written");
        }
        // Without a recording the trouble is still told; the machine must not suffer for a full disk.
        Ok(Err(error)) => {
            if let Some(repeated) = said.say(&error.to_string(), Instant::now()) {
                tracing::error!(repeated = repeated.0, %error, "a recording could not be written");
            }
        }
        Err(_) => {}
    }
}

/// A name that sorts by time and says which machine and what.
fn name(recording: &Recording, now: jiff::Timestamp) -> String {
    let plain =
        |text: &str| text.replace(|letter: char| !letter.is_ascii_alphanumeric() && !".-_".contains(letter), "_");
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    format!("{time}-{}-{}.rec", plain(&recording.machine), plain(&recording.code))
}

/// Deletes the oldest recordings until there is room for one more.
fn make_room(folder: &Path) -> std::io::Result<()> {
    let is_recording = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rec");
    let names: Vec<_> = files::files(folder).into_iter().filter(is_recording).collect();
    let too_many = (names.len() + 1).saturating_sub(RECORDINGS_MAX);
    names.iter().take(too_many).try_for_each(std::fs::remove_file)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_the_newest_recordings_stay() {
        let folder = tempfile::tempdir().unwrap();
        for number in 10..50 {
            make_room(folder.path()).unwrap();
            std::fs::write(folder.path().join(format!("{number}.rec")), "").unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), RECORDINGS_MAX);
        assert_eq!(names.first().and_then(|name| name.to_str()), Some("30.rec"));
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let recording = Recording {
            machine: "../x".into(),
            at: drivers::Moment::ZERO,
            code: "link/lost".into(),
            text: String::new(),
        };
        let name = name(&recording, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(name, "19700101T000000Z-.._x-link_lost.rec");
    }
}
