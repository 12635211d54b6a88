//! Pictures of jobs' programs: drawn when somebody looks, kept beside the records, and never in the machines' way.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use drivers::Notice;
use drivers::profile::Profile;
use drivers::repeats::Repeats;
use gcode_tools::formats;
use gcode_tools::preview::{Options, draw};
use gcode_tools::sniff::ReadError;
use tokio::sync::{Semaphore, oneshot};

use super::files;

/// Pictures kept. With at most half a megabyte each they take 32 MB; a forgotten one is drawn again.
const KEPT_MAX: usize = 64;

/// Pictures that may wait to be drawn. A page shows some four a machine.
const WAITING_MAX: usize = 32;

/// Longest time for one picture. An 87 MB print takes a Pi some ten seconds; what needs longer is no program of a shop.
const PATIENCE: Duration = Duration::from_secs(90);

/// A disk that takes no pictures is spoken of this often in the log.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// How much a drawing thread steps back behind everything else, of 19.
#[cfg(target_os = "linux")]
const NICE: i32 = 15;

/// Width of a picture in pixels.
const WIDTH_PX: u32 = 720;

/// Draws and keeps pictures. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Previews {
    folder: PathBuf,
    waiting: Arc<Semaphore>,
    /// One is drawn at a time: a Pi has other things to do.
    drawing: Arc<Semaphore>,
    /// What was said in the log of pictures that cannot be kept.
    said: Arc<Mutex<Repeats>>,
}

/// What is to be drawn.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The job: its picture is kept under this name.
    pub job: String,
    /// Where its program is.
    pub program: PathBuf,
    /// Its name for people. Hostile text.
    pub title: String,
    /// The machine it is for, if the agent still has it.
    pub profile: Option<Profile>,
}

impl Previews {
    /// Pictures in a folder of the store, which the store makes.
    pub fn of(store: &Path) -> Self {
        let folder = store.join("previews");
        Self {
            folder,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            drawing: Arc::new(Semaphore::new(1)),
            said: Arc::new(Mutex::new(Repeats::new(SAID_AGAIN_AFTER))),
        }
    }

    /// The picture of a job's program, drawn if it has not been.
    ///
    /// # Errors
    /// The program is gone or has nothing to draw, drawing takes too long, or too many wait already.
    pub async fn svg(&self, wanted: Wanted) -> Result<Vec<u8>, Notice> {
        let path = self.folder.join(format!("{}.svg", wanted.job));
        if let Ok(kept) = tokio::fs::read(&path).await {
            return Ok(kept);
        }
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let turn = self.drawing.clone().acquire_owned().await.map_err(|_| busy())?;
        // Somebody else may have waited for the same picture.
        if let Ok(kept) = tokio::fs::read(&path).await {
            return Ok(kept);
        }
        let (done, drawn) = oneshot::channel();
        let (folder, said) = (self.folder.clone(), self.said.clone());
        // A thread of its own, because its low priority must not stay with one that does other work afterwards.
        let thread = std::thread::Builder::new().name("preview".to_owned()).spawn(move || {
            step_back();
            let drawn = svg(&wanted);
            if let Ok(bytes) = &drawn {
                let kept = keep(&folder, &path, bytes);
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                match kept {
                    Ok(()) => drop(said.well(Instant::now())),
                    // Each look at the page draws it again.
                    Err(error) => {
                        if let Some(repeated) = said.say(&error.to_string(), Instant::now()) {
                            tracing::warn!(repeated = repeated.0, %error, "a preview cannot be kept");
                        }
                    }
                }
            }
            let _ = done.send(drawn);
            // Held to the end, even if whoever asked has gone meanwhile.
            drop(turn);
        });
        thread.map_err(|error| failed(&error.to_string()))?;
        drawn.await.map_err(|_| failed("its thread ended"))?
    }
}

/// Lets everything else go first.
fn step_back() {
    // On Linux this is of the calling thread alone.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
}

fn svg(wanted: &Wanted) -> Result<Vec<u8>, Notice> {
    let until = Instant::now() + PATIENCE;
    let open = || {
        let file = files::open_regular(&wanted.program)
            .map_err(|_| ReadError::new("job.program_gone", "The program of this job is no longer kept."))?;
        formats::open(InTime { file, until })
    };
    let options =
        Options { profile: wanted.profile.as_ref(), title: &wanted.title, width_px: WIDTH_PX, ..Options::default() };
    match draw(open, &options) {
        Ok(picture) => Ok(picture.svg().into_bytes()),
        Err(_) if Instant::now() >= until => Err(Notice::new(
            "preview.too_slow",
            format!("The picture was not drawn within {} s.", PATIENCE.as_secs()),
            "Drawing was given up.",
            "Draw it on another computer with `gcode-tools preview`.",
        )),
        Err(error) => Err(Notice::new(error.code(), error.to_string(), "Nothing was drawn.", "")),
    }
}

/// Keeps a picture, whole or not at all, and removes the oldest beyond what is kept: names sort by age.
fn keep(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::write_whole(path, bytes)?;
    let kept = files::files(folder);
    for old in kept.iter().take(kept.len().saturating_sub(KEPT_MAX)).filter(|old| *old != path) {
        std::fs::remove_file(old)?;
    }
    Ok(())
}

/// A file that cannot be read any more once its time is over.
struct InTime {
    file: std::fs::File,
    until: Instant,
}

impl Read for InTime {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.file.read(buffer)
    }
}

impl Seek for InTime {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn busy() -> Notice {
    Notice::new("preview.busy", "Too many pictures wait to be drawn.", "Nothing was drawn.", "Ask again in a minute.")
}

fn failed(why: &str) -> Notice {
    Notice::new("preview.failed", format!("The picture could not be drawn: {why}."), "Nothing was drawn.", "")
}

#[cfg(test)]
mod test {
    use super::*;

    const PROGRAM: &[u8] = b"G21 G90\nM3 S900\nG0 X1 Y1\nG1 Z-1 F100\nG1 X20 F600\nM2\n";

    fn previews(home: &Path) -> Previews {
        std::fs::create_dir(home.join("previews")).unwrap();
        Previews::of(home)
    }

    fn wanted(folder: &Path, job: &str, program: &[u8]) -> Wanted {
        let path = folder.join(format!("{job}.gcode"));
        std::fs::write(&path, program).unwrap();
        Wanted { job: job.to_owned(), program: path, title: "part".to_owned(), profile: None }
    }

    #[tokio::test]
    async fn a_picture_is_kept_and_the_oldest_beyond_the_bound_are_not() {
        let home = tempfile::tempdir().unwrap();
        let previews = previews(home.path());
        for job in 0..KEPT_MAX + 3 {
            previews.svg(wanted(home.path(), &format!("{job:04}"), PROGRAM)).await.unwrap();
        }
        let mut kept: Vec<_> = std::fs::read_dir(home.path().join("previews"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        kept.sort();
        assert_eq!((kept.len(), kept[0].as_str()), (KEPT_MAX, "0003.svg"));
        // What is kept is given back without the program.
        let gone = Wanted { program: home.path().join("gone"), ..wanted(home.path(), "0010", PROGRAM) };
        assert!(previews.svg(gone).await.unwrap().starts_with(b"<svg"));
    }

    #[tokio::test]
    async fn what_cannot_be_drawn_is_refused_by_name_and_not_kept() {
        let home = tempfile::tempdir().unwrap();
        let previews = previews(home.path());
        let nothing = previews.svg(wanted(home.path(), "1", b"G28\nM84\n")).await.unwrap_err();
        let gone = Wanted { program: home.path().join("gone"), ..wanted(home.path(), "2", PROGRAM) };
        let gone = previews.svg(gone).await.unwrap_err();
        assert_eq!((nothing.code.as_str(), gone.code.as_str()), ("preview.no_work", "job.program_gone"));
        assert_eq!(std::fs::read_dir(home.path().join("previews")).unwrap().count(), 0);
    }
}
