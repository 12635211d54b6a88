//! Reads a program file on a thread of its own, ahead of the wire, so that the machine never waits for the disk.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use gcode_tools::formats;
use gcode_tools::read::Lines;
use tokio::sync::mpsc;

use crate::machine::Program;
use crate::moment::Moment;
use crate::notice::Notice;

/// Bytes of program handed over at once.
const CHUNK_BYTES: usize = 32 * 1024;

/// Chunks read ahead: 128 KiB are more than 10 s of a 115200 baud line.
const CHUNKS_AHEAD: usize = 4;

/// A disk that gives nothing for this long is not waited for any further: the machine stands, and a person should know.
const OVERDUE_AFTER: Duration = Duration::from_secs(10);

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
    /// The file is open, and is a program.
    Opened,
    /// More of the program.
    Chunk(Chunk),
    /// The program is at its end.
    End,
    /// The program cannot be read any further.
    Trouble(Notice),
    /// The program cannot be read now.
    Stalled(Notice),
}

/// Which content a file has: writing to it changes this.
type Stamp = (u64, Option<SystemTime>);

/// A program being read.
#[derive(Debug)]
pub(crate) struct ProgramReader {
    program: Program,
    pub(crate) pieces: mpsc::Receiver<Piece>,
    /// The content of the file when it was first opened.
    stamp: Arc<OnceLock<Stamp>>,
    /// Since when something is wanted of it and does not come.
    pub(crate) wanted_since: Option<Moment>,
    /// Whether it handed over all that it can for now.
    pub(crate) stalled: bool,
}

impl ProgramReader {
    /// Starts reading at a line (1-based), on a thread of its own: nobody waits here for the disk.
    ///
    /// # Errors
    /// No thread could be started.
    pub(crate) fn start(program: Program, from_line: u64) -> io::Result<Self> {
        Self::begin(program, from_line, Arc::default())
    }

    fn begin(program: Program, from_line: u64, stamp: Arc<OnceLock<Stamp>>) -> io::Result<Self> {
        let (send, pieces) = mpsc::channel(CHUNKS_AHEAD);
        let reading = Reading { program: program.clone(), stamp: stamp.clone(), line: from_line.saturating_sub(1) };
        std::thread::Builder::new().name("program".to_owned()).spawn(move || reading.run(from_line, &send))?;
        Ok(Self { program, pieces, stamp, wanted_since: None, stalled: false })
    }

    /// Starts again from another line of the same content.
    ///
    /// # Errors
    /// As for [`ProgramReader::start`].
    pub(crate) fn restart(&mut self, from_line: u64) -> io::Result<()> {
        *self = Self::begin(self.program.clone(), from_line, self.stamp.clone())?;
        Ok(())
    }

    /// What is told where it cannot be read on: a person decides, where there is one.
    pub(crate) fn broken(&self, line: Option<u64>, why: &str) -> Piece {
        broken(&self.program, line, why)
    }

    /// Whether it has been waited for too long; the disk it is on does not answer.
    pub(crate) fn is_overdue(&self, now: Moment) -> bool {
        !self.stalled && self.wanted_since.is_some_and(|since| now.since(since) >= OVERDUE_AFTER)
    }
}

fn broken(program: &Program, line: Option<u64>, why: &str) -> Piece {
    if program.checked_lines.is_none() {
        return Piece::Trouble(unreadable(why));
    }
    let at = line.map_or_else(
        || "The program cannot be read".to_owned(),
        |line| format!("Line {line} of the program cannot be read"),
    );
    Piece::Stalled(Notice::new(
        "store.unreadable",
        format!("{at}: {why}."),
        "The job holds behind the last line that was read.",
        "Look at the agent's disk. Resume reads on from there; cancel ends the job safely.",
    ))
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

/// The thread that reads.
struct Reading {
    program: Program,
    stamp: Arc<OnceLock<Stamp>>,
    /// The last line handed over.
    line: u64,
}

impl Reading {
    fn run(mut self, from_line: u64, pieces: &mpsc::Sender<Piece>) {
        let ended = self.read(from_line, pieces);
        // The receiver is gone when the job is over: nothing is left to do then.
        if let Err(Some(error)) = ended {
            let line = (self.line + 1).max(from_line);
            let _ = pieces.blocking_send(broken(&self.program, Some(line), &error.to_string()));
        }
    }

    /// Reads to the end. Fails with nothing where nobody takes it any more.
    fn read(&mut self, from_line: u64, pieces: &mpsc::Sender<Piece>) -> Result<(), Option<io::Error>> {
        let send = |piece| pieces.blocking_send(piece).map_err(|_| None);
        #[expect(clippy::disallowed_methods, reason = "this is where programs are read")]
        let file = std::fs::File::open(&self.program.path).map_err(Some)?;
        let witness = file.try_clone().map_err(Some)?;
        self.unchanged(&witness)?;
        let mut lines = Lines::new(formats::open(file).map_err(|error| Some(error.into()))?);
        send(Piece::Opened)?;
        let mut chunk = Chunk::default();
        let mut last = 0;
        loop {
            let line = lines.next_line().map_err(Some);
            match line {
                Ok(Some(line)) => {
                    last = line.number;
                    if line.number < from_line {
                        continue;
                    }
                    chunk.bytes.extend_from_slice(line.bytes);
                    chunk.lines.push((line.number, chunk.bytes.len()));
                    if chunk.bytes.len() >= CHUNK_BYTES || chunk.lines.len() >= CHUNK_BYTES {
                        self.unchanged(&witness)?;
                        self.line = last;
                        send(Piece::Chunk(std::mem::take(&mut chunk)))?;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    // What came before it is the program's; where it was written to meanwhile, nothing is.
                    self.unchanged(&witness)?;
                    self.line = last;
                    send(Piece::Chunk(chunk))?;
                    return Err(error);
                }
            }
        }
        self.unchanged(&witness)?;
        self.line = last;
        send(Piece::Chunk(chunk))?;
        match self.program.checked_lines {
            Some(checked) if checked != last => {
                Err(Some(io::Error::other(format!("it ends here, and {checked} lines were checked"))))
            }
            _ => send(Piece::End),
        }
    }

    /// Whether the file has the content that it had when it was first opened.
    fn unchanged(&self, file: &std::fs::File) -> Result<(), Option<io::Error>> {
        let found = file.metadata().map_err(Some)?;
        let now = (found.len(), found.modified().ok());
        if *self.stamp.get_or_init(|| now) == now {
            Ok(())
        } else {
            Err(Some(io::Error::other("the file was written to while it was being run")))
        }
    }
}
