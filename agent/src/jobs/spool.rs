//! The spool: programs by the hash of their content. No client ever names a path.

use std::io;
use std::path::{Path, PathBuf};

use drivers::Notice;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// Where programs are kept.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    reserve_bytes: u64,
}

/// A program that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its bytes.
    pub bytes: u64,
}

/// A program that is arriving. Dropped before its end, it leaves nothing behind.
#[derive(Debug)]
pub struct Arriving {
    file: File,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
    spool: Spool,
    kept: bool,
}

impl Spool {
    /// A spool in a folder, which is made if it is not there; what was arriving when the agent was stopped is removed.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(store: &Path, bytes_max: u64, reserve_bytes: u64) -> io::Result<Self> {
        let folder = store.join("programs");
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "part") {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { folder, bytes_max, reserve_bytes })
    }

    /// Where the program with this hash is.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.gcode"))
    }

    /// Begins to take a program in.
    ///
    /// # Errors
    /// The disk has no room, or a file cannot be made.
    pub async fn begin(&self, announced: Option<u64>) -> Result<Arriving, Notice> {
        if announced.is_some_and(|bytes| bytes > self.bytes_max) {
            return Err(self.too_large());
        }
        self.room_for(announced.unwrap_or(0))?;
        let path = self.folder.join(format!("{:016x}.part", fastrand::u64(..)));
        let file = File::create_new(&path).await.map_err(|error| disk(&error))?;
        Ok(Arriving { file, path, hash: Sha256::new(), bytes: 0, spool: self.clone(), kept: false })
    }

    /// Removes programs that no job needs.
    pub fn keep_only(&self, needed: impl Fn(&str) -> bool) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_program = path.extension().is_some_and(|extension| extension == "gcode");
            let hash = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if is_program && !needed(&hash) {
                // One that cannot be removed now is tried again when the next job ends.
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    fn room_for(&self, bytes: u64) -> Result<(), Notice> {
        let free = nix::sys::statvfs::statvfs(&self.folder)
            // Their width differs between 32-bit and 64-bit systems.
            .map(|disk| widened(disk.blocks_available()) * widened(disk.fragment_size()))
            .map_err(|error| self::disk(&error.into()))?;
        if free < self.reserve_bytes.saturating_add(bytes) {
            return Err(Notice::new(
                "store.full",
                "The agent's disk has no room for this program.",
                "Nothing was kept of it.",
                "Make room on the disk, or lower `store.reserve_mb`.",
            ));
        }
        Ok(())
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

fn widened(count: impl Into<u64>) -> u64 {
    count.into()
}

/// Bytes between two looks at the room on the disk.
const LOOK_EVERY_BYTES: u64 = 8 << 20;

impl Arriving {
    /// Takes more of the program.
    ///
    /// # Errors
    /// It is too large, or the disk is full or broken.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Notice> {
        let before = self.bytes;
        self.bytes += bytes.len() as u64;
        if self.bytes > self.spool.bytes_max {
            return Err(self.spool.too_large());
        }
        if before / LOOK_EVERY_BYTES != self.bytes / LOOK_EVERY_BYTES {
            self.spool.room_for(0)?;
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).await.map_err(|error| disk(&error))
    }

    /// Keeps the program, if its hash is the one announced.
    ///
    /// # Errors
    /// The hash is another one, or the disk failed.
    pub async fn finish(mut self, announced: Option<&str>) -> Result<Spooled, Notice> {
        let sha256 = self.hash.clone().finalize().iter().fold(String::new(), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        });
        if announced.is_some_and(|announced| !announced.eq_ignore_ascii_case(&sha256)) {
            return Err(Notice::new(
                "job.hash_mismatch",
                "The program that arrived is not the one that was announced: its SHA-256 differs.",
                "Nothing was kept of it.",
                "Send it again.",
            ));
        }
        self.file.sync_all().await.map_err(|error| disk(&error))?;
        tokio::fs::rename(&self.path, self.spool.path(&sha256)).await.map_err(|error| disk(&error))?;
        self.kept = true;
        Ok(Spooled { sha256, bytes: self.bytes })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn disk(error: &io::Error) -> Notice {
    Notice::new(
        "store.failed",
        format!("The program could not be written to the agent's disk: {error}."),
        "Nothing was kept of it.",
        "Check the disk.",
    )
}

#[cfg(test)]
mod test {
    use super::*;

    #[tokio::test]
    async fn what_breaks_off_or_is_not_what_was_announced_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 100, 0).unwrap();
        let mut broken_off = spool.begin(None).await.unwrap();
        broken_off.write(b"G1 X1").await.unwrap();
        drop(broken_off);
        let mut other = spool.begin(None).await.unwrap();
        other.write(b"G1 X1").await.unwrap();
        assert_eq!(other.finish(Some("00")).await.unwrap_err().code, "job.hash_mismatch");
        let mut large = spool.begin(None).await.unwrap();
        assert_eq!(large.write(&[b'x'; 101]).await.unwrap_err().code, "job.too_large");
        drop(large);
        assert_eq!(spool.begin(Some(101)).await.unwrap_err().code, "job.too_large");
        assert_eq!(std::fs::read_dir(folder.path().join("programs")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_full_disk_is_said_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 100, u64::MAX).unwrap();
        assert_eq!(spool.begin(None).await.unwrap_err().code, "store.full");
    }
}
