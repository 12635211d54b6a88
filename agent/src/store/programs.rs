//! Programs, by the hash of their content. No client ever names a path.
//!
//! A program stays as long as some job has it, or somebody is about to submit one: whoever takes a program in holds a
//! claim on it until the job is on the disk. Where the disk is short of room, programs of ended jobs go first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drivers::Notice;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::files::{self, Identity};
use super::work::{Shared, Unneeded};
use crate::config;

/// The folder of programs in the store's.
const FOLDER: &str = "programs";

/// Programs up to this size are read through each time they are armed, in bytes: a Pi hashes some 100 MB in a second. A
/// larger one is read through again only if its file was touched since.
const ALWAYS_READ_MAX: u64 = 64 << 20;

/// Bytes between two looks at the room on the disk.
const LOOK_EVERY_BYTES: u64 = 8 << 20;

/// Bytes of a program that are written at once: what the clients bring in smaller pieces is gathered.
const PIECE: usize = 16 * 1024;

/// Pieces that are hashed and written at once. What else comes waits its turn, so that hundreds of uploads are no more
/// work at a time than a few, and a disk that hangs holds no more threads than this.
const WRITES_AT_ONCE: usize = 4;

/// Programs removed at most to make room for one.
const REMOVED_MAX: usize = 1000;

/// Where programs are kept. Cheap to clone.
#[derive(Clone)]
pub struct Programs {
    folder: PathBuf,
    bytes_max: u64,
    reserve_bytes: u64,
    /// Never held while the disk is asked: the runtime takes it.
    claims: Arc<Mutex<Claims>>,
    /// Held while a program is given its name or removed, by threads that may wait.
    moving: Arc<Mutex<()>>,
    turns: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Programs").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Claims {
    by_hash: HashMap<String, Claimed>,
    arriving: HashSet<PathBuf>,
    /// What was found to have the right hash, and is not touched since.
    sound: BTreeMap<String, Identity>,
}

/// Programs somebody holds on to.
#[derive(Default)]
struct Claimed {
    count: usize,
    /// Whether the file came by one of these claims, and no job has it yet.
    new: bool,
}

/// A program that arrived, and a claim on it: dropped before a job has it, nothing stays.
#[derive(Debug, Clone)]
pub struct Spooled {
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its bytes.
    pub bytes: u64,
    claim: Arc<Claim>,
}

#[derive(Debug)]
struct Claim {
    sha256: String,
    programs: Programs,
}

/// A program that is arriving. Dropped before its end, it leaves nothing behind.
#[derive(Debug)]
pub struct Arriving {
    /// Away while a piece is written.
    written: Option<Written>,
    path: PathBuf,
    /// What waits to be written.
    piece: Vec<u8>,
    bytes: u64,
    programs: Programs,
}

/// What is written of a program, and its hash so far.
#[derive(Debug)]
struct Written {
    file: File,
    hash: Sha256,
}

impl Written {
    fn append(mut self, bytes: &[u8]) -> io::Result<Self> {
        self.hash.update(bytes);
        self.file.write_all(bytes)?;
        Ok(self)
    }
}

impl Programs {
    /// Largest program that is taken, in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(super) fn new(settings: &config::Store, shared: Arc<Shared>) -> Self {
        Self {
            folder: settings.dir.join(FOLDER),
            bytes_max: settings.program_bytes_max,
            reserve_bytes: settings.reserve_bytes,
            claims: Arc::default(),
            moving: Arc::default(),
            turns: Arc::new(Semaphore::new(WRITES_AT_ONCE)),
            shared,
        }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the program with this hash is.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.gcode"))
    }

    /// Begins to take a program in.
    ///
    /// # Errors
    /// The store is in trouble, the disk has no room, or a file cannot be made.
    pub async fn begin(&self, announced: Option<u64>) -> Result<Arriving, Notice> {
        if let Some(trouble) = self.shared.trouble() {
            return Err(trouble);
        }
        if announced.is_some_and(|bytes| bytes > self.bytes_max) {
            return Err(self.too_large());
        }
        let folder = self.folder.clone();
        if !blocking(move || Ok(folder.is_dir())).await.unwrap_or(false) {
            // The store's thread looks whether the store is still where it was, and makes it again where it is not.
            super::ask(&self.shared, |_| Ok(())).await?;
        }
        self.room_for(announced.unwrap_or(0)).await?;
        let path = self.folder.join(format!("{:016x}.{}", fastrand::u64(..), files::PART));
        self.claims().arriving.insert(path.clone());
        // From here on dropping it removes the file.
        let mut arriving = Arriving { written: None, path, piece: Vec::new(), bytes: 0, programs: self.clone() };
        let path = arriving.path.clone();
        let file = self.in_turn(move || files::fresh(&path)).await?;
        arriving.written = Some(Written { file, hash: Sha256::new() });
        Ok(arriving)
    }

    /// Reads a program through: whether it is what was submitted. Gives the place it is at.
    ///
    /// # Errors
    /// It is gone, cannot be read, or is not the same any more.
    pub fn verify(&self, sha256: &str, bytes: u64) -> Result<PathBuf, Notice> {
        let path = self.path(sha256);
        let mut file = files::open_regular(&path).map_err(|error| gone(&error))?;
        let before = files::identity(&file).map_err(|error| gone(&error))?;
        if bytes > ALWAYS_READ_MAX && self.claims().sound.get(sha256) == Some(&before) {
            return Ok(path);
        }
        let mut hash = Sha256::new();
        let mut piece = vec![0; 64 * 1024];
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => hash.update(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(gone(&error)),
            }
        }
        let after = files::identity(&file).map_err(|error| gone(&error))?;
        if hex(hash) != sha256 || before != after {
            return Err(changed());
        }
        let mut claims = self.claims();
        // Of as many as are ever armed; the oldest hashes are as good to forget as any.
        if claims.sound.len() >= 1000 {
            claims.sound.pop_first();
        }
        claims.sound.insert(sha256.to_owned(), after);
        Ok(path)
    }

    /// A program's content, read as it is taken.
    ///
    /// # Errors
    /// It is gone, or cannot be opened.
    pub async fn content(&self, sha256: &str) -> io::Result<ReaderStream<tokio::fs::File>> {
        let path = self.path(sha256);
        let file = blocking(move || files::open_regular(&path)).await?;
        Ok(ReaderStream::new(tokio::fs::File::from_std(file)))
    }

    /// Whether a part belongs to an upload that is under way.
    pub(super) fn is_arriving(&self, path: &Path) -> bool {
        self.claims().arriving.contains(path)
    }

    /// Removes a program that nobody claims.
    pub(super) fn remove(&self, sha256: &str) -> bool {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let claimed = self.claims().by_hash.contains_key(sha256);
        !claimed && std::fs::remove_file(self.path(sha256)).is_ok()
    }

    /// Removes the first of these programs that can be.
    pub(super) fn remove_first_of(&self, programs: impl IntoIterator<Item = String>) -> bool {
        programs.into_iter().any(|sha256| self.remove(&sha256))
    }

    /// Whether there is any program.
    pub(super) fn are_there(&self) -> bool {
        files::files(&self.folder).iter().any(|path| path.extension().is_some_and(|extension| extension == "gcode"))
    }

    /// Removes programs that no job needs and nobody claims. What is no program is left alone.
    pub(super) fn keep_only(&self, needed: &HashSet<String>) {
        for path in files::files(&self.folder) {
            let is_program = path.extension().is_some_and(|extension| extension == "gcode");
            let hash = path.file_stem().unwrap_or_default().to_string_lossy();
            if is_program && is_hash(&hash) && !needed.contains(&*hash) {
                self.remove(&hash);
            }
        }
    }

    /// Makes sure that there is room, at the cost of programs of ended jobs, oldest first.
    async fn room_for(&self, bytes: u64) -> Result<(), Notice> {
        let (programs, needed) = (self.clone(), self.reserve_bytes.saturating_add(bytes));
        let free = {
            let programs = programs.clone();
            move || files::free_bytes(&programs.folder)
        };
        if blocking(free.clone()).await.map_err(|error| disk(&error))? >= needed {
            return Ok(());
        }
        let ended = super::ask(&self.shared, |disk| disk.programs()).await?;
        let ended: Vec<_> = ended.into_iter().filter(|(_, over)| *over).map(|(sha256, _)| sha256).collect();
        let made = blocking(move || {
            let mut removed = 0;
            for sha256 in ended {
                if files::free_bytes(&programs.folder)? >= needed || removed >= REMOVED_MAX {
                    break;
                }
                removed += usize::from(programs.remove(&sha256));
            }
            Ok(files::free_bytes(&programs.folder)? >= needed)
        });
        if made.await.map_err(|error| disk(&error))? { Ok(()) } else { Err(full()) }
    }

    /// Does what may wait for the disk where nobody else waits, with few others at a time.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Notice> {
        let turn = timeout(super::WRITTEN_WITHIN, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(super::work::slow()) };
        let done = blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|error| disk(&error))
    }

    fn too_large(&self) -> Notice {
        Notice::new(
            "job.too_large",
            format!("The program has more than the {} MB that are taken.", self.bytes_max >> 20),
            "Nothing was kept of it.",
            "Raise `store.program_max_mb` if the program is meant to be that large.",
        )
    }
}

impl Spooled {
    /// A job has it now: it stays when the claim ends.
    pub fn kept(&self) {
        if let Some(claimed) = self.claim.programs.claims().by_hash.get_mut(&self.sha256) {
            claimed.new = false;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self.programs.claims();
        let Some(claimed) = claims.by_hash.get_mut(&self.sha256) else { return };
        claimed.count -= 1;
        if claimed.count > 0 {
            return;
        }
        let unneeded = claimed.new;
        claims.by_hash.remove(&self.sha256);
        drop(claims);
        if unneeded {
            let unneeded = Unneeded { sha256: self.sha256.clone(), unless_of_others: None };
            self.programs.shared.note(|work| work.unneeded.push(unneeded));
            self.programs.shared.wake();
        }
    }
}

impl Arriving {
    /// Takes more of the program.
    ///
    /// # Errors
    /// It is too large, or the disk is full or broken.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Notice> {
        let before = self.bytes;
        self.bytes += bytes.len() as u64;
        if self.bytes > self.programs.bytes_max {
            return Err(self.programs.too_large());
        }
        if before / LOOK_EVERY_BYTES != self.bytes / LOOK_EVERY_BYTES {
            self.programs.room_for(0).await?;
        }
        self.piece.extend_from_slice(bytes);
        if self.piece.len() < PIECE {
            return Ok(());
        }
        let (written, piece) = (self.take()?, std::mem::take(&mut self.piece));
        self.written = Some(self.programs.in_turn(move || written.append(&piece)).await?);
        Ok(())
    }

    /// What is written so far. Whoever broke off while a piece was being written has nothing.
    fn take(&mut self) -> Result<Written, Notice> {
        self.written.take().ok_or_else(|| disk(&io::Error::other("it is not open")))
    }

    /// Keeps the program, if its hash is the one announced.
    ///
    /// # Errors
    /// The hash is another one, or the disk failed.
    pub async fn finish(mut self, announced: Option<&str>) -> Result<Spooled, Notice> {
        let (written, piece) = (self.take()?, std::mem::take(&mut self.piece));
        let Written { file, hash } = self.programs.in_turn(move || written.append(&piece)).await?;
        let sha256 = hex(hash);
        if announced.is_some_and(|announced| !announced.eq_ignore_ascii_case(&sha256)) {
            return Err(Notice::new(
                "job.hash_mismatch",
                "The program that arrived is not the one that was announced: its SHA-256 differs.",
                "Nothing was kept of it.",
                "Send it again.",
            ));
        }
        let (part, programs, name) = (self.path.clone(), self.programs.clone(), sha256.clone());
        let keep = move || {
            file.sync_all()?;
            programs.claim(&part, &name)
        };
        let claim = self.programs.in_turn(keep).await?;
        Ok(Spooled { sha256, bytes: self.bytes, claim: Arc::new(claim) })
    }
}

impl Programs {
    /// Gives a part its name, with a claim on it.
    fn claim(&self, part: &Path, sha256: &str) -> io::Result<Claim> {
        let path = self.path(sha256);
        // What stands in its place and is no file (a folder, a link that leads elsewhere) is no program.
        if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            files::put_aside(&path, "strange")?;
        }
        let moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let new = std::fs::symlink_metadata(&path).is_err();
        // Over one that is there already: that one may be damaged, and this one was just read.
        files::give_name(part, &path)?;
        {
            let mut claims = self.claims();
            let claimed = claims.by_hash.entry(sha256.to_owned()).or_default();
            claimed.count += 1;
            claimed.new |= new;
        }
        drop(moving);
        let claim = Claim { sha256: sha256.to_owned(), programs: self.clone() };
        files::sync_folder(&path)?;
        Ok(claim)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let (path, programs) = (std::mem::take(&mut self.path), self.programs.clone());
        let remove = move || {
            // Kept, it has another name by now.
            let _ = std::fs::remove_file(&path);
            programs.claims().arriving.remove(&path);
        };
        // Removing may take as long as the disk takes. What a dying runtime cannot do, the next start does.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Does what may wait for the disk where nobody else waits.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("its thread ended")))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn full() -> Notice {
    Notice::new(
        "store.full",
        "The agent's disk has no room for this program.",
        "Nothing was kept of it. Programs of jobs that are over were removed first.",
        "Make room on the disk, delete jobs, or lower `store.reserve_mb`.",
    )
}

fn disk(error: &io::Error) -> Notice {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return full();
    }
    Notice::new(
        "store.failed",
        format!("The program could not be written to the agent's disk: {error}."),
        "Nothing was kept of it.",
        "Check the disk.",
    )
}

fn gone(error: &io::Error) -> Notice {
    if error.kind() == io::ErrorKind::NotFound {
        return Notice::new(
            "job.program_gone",
            "The program of this job is no longer kept.",
            "Nothing was started.",
            "Submit the program again.",
        );
    }
    Notice::new(
        "store.unreadable",
        format!("The program of this job cannot be read: {error}."),
        "Nothing was started.",
        "Check the disk, and submit the program again.",
    )
}

fn changed() -> Notice {
    Notice::new(
        "job.program_changed",
        "The program on the agent's disk is not the one that was checked: its SHA-256 differs.",
        "Nothing was started.",
        "Check the disk, and submit the program again.",
    )
}
