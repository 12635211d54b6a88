//! Reads a program file on a thread of its own, ahead of the wire, so that the machine never waits for the disk.

use std::io;
use std::path::{Path, PathBuf};

use gcode_tools::formats::{self, Program};
use gcode_tools::read::Lines;
use tokio::sync::mpsc;

use crate::notice::Notice;

/// Bytes of program handed over at once.
const CHUNK_BYTES: usize = 32 * 1024;

/// Chunks read ahead: 128 KiB are more than 10 s of a 115200 baud line.
const CHUNKS_AHEAD: usize = 4;

/// Lines of a program, cut at line ends.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    /// (line number, end of the line in `bytes`).
    lines: Vec<(u64, usize)>,
    next: usize,
}

impl Chunk {
    /// Whether every line was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.lines.len()
    }

    /// The next line and its number.
    pub(crate) fn next_line(&mut self) -> Option<(u64, &[u8])> {
        let (number, end) = *self.lines.get(self.next)?;
        let start = self.next.checked_sub(1).map_or(0, |before| self.lines[before].1);
        self.next += 1;
        Some((number, &self.bytes[start..end]))
    }
}

/// What a reader hands over.
#[derive(Debug)]
pub(crate) enum Piece {
    /// More of the program.
    Chunk(Chunk),
    /// The program is at its end.
    End,
    /// The program cannot be read any further.
    Trouble(Notice),
}

/// A program being read.
#[derive(Debug)]
pub(crate) struct ProgramReader {
    path: PathBuf,
    pub(crate) pieces: mpsc::Receiver<Piece>,
}

impl ProgramReader {
    /// Starts reading at a line (1-based).
    ///
    /// # Errors
    /// The file cannot be opened, or no thread could be started.
    pub(crate) fn start(path: &Path, from_line: u64) -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "this is where programs are read")]
        let file = formats::open(std::fs::File::open(path)?)?;
        let (send, pieces) = mpsc::channel(CHUNKS_AHEAD);
        std::thread::Builder::new().name("program".to_owned()).spawn(move || {
            // The receiver is gone when the job is over: nothing is left to do then.
            let _ = read(file, from_line, &send);
        })?;
        Ok(Self { path: path.to_owned(), pieces })
    }

    /// Starts again from an earlier line.
    ///
    /// # Errors
    /// As for [`ProgramReader::start`].
    pub(crate) fn restart(&mut self, from_line: u64) -> io::Result<()> {
        *self = Self::start(&self.path, from_line)?;
        Ok(())
    }
}

/// The notice for a program that cannot be read to its end.
pub(crate) fn unreadable(why: &str) -> Notice {
    Notice::new(
        "job.unreadable",
        format!("The program could not be read to its end: {why}."),
        "The job is being ended safely.",
        "Check the disk and submit the program again.",
    )
}

fn read(
    file: Program<std::fs::File>,
    from_line: u64,
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), mpsc::error::SendError<Piece>> {
    let mut lines = Lines::new(file);
    let mut chunk = Chunk::default();
    loop {
        match lines.next_line() {
            Ok(Some(line)) if line.number < from_line => {}
            Ok(Some(line)) => {
                chunk.bytes.extend_from_slice(line.bytes);
                chunk.lines.push((line.number, chunk.bytes.len()));
                if chunk.bytes.len() >= CHUNK_BYTES || chunk.lines.len() >= CHUNK_BYTES {
                    pieces.blocking_send(Piece::Chunk(std::mem::take(&mut chunk)))?;
                }
            }
            Ok(None) => {
                pieces.blocking_send(Piece::Chunk(chunk))?;
                return pieces.blocking_send(Piece::End);
            }
            Err(error) => {
                return pieces.blocking_send(Piece::Trouble(unreadable(&error.to_string())));
            }
        }
    }
}
