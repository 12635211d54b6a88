//! What people ask of the machine, and the program it is given: opened, read ahead, and handed to the session.

use tokio::sync::oneshot;

use super::Shell;
use crate::machine::{Order, Program};
use crate::moment::Moment;
use crate::permit::StillGood;
use crate::program::{Chunk, Piece, ProgramReader, unreadable};
use crate::request::{Answer, Denied, Job, Request};
use crate::session::Input;

/// A start whose program is being opened.
pub(super) struct Opening {
    job: Job,
    program: Program,
    still_good: Option<StillGood>,
    pub(super) reader: ProgramReader,
    answer: oneshot::Sender<Answer>,
}

/// A program that cannot be opened.
fn refused(program: &Program, why: &str) -> Denied {
    tracing::error!(why, path = %program.path.display(), "a program cannot be opened");
    Denied::Unreadable
}

impl Shell {
    pub(super) fn order(&mut self, now: Moment, order: Order) {
        let Order { request, program, still_good, answer } = order;
        let answered = match (request, program) {
            (Request::Start(_), Some(_)) if self.opening.is_some() => Err(Denied::Busy),
            (Request::Start(job), Some(program)) => {
                // Opening it may take as long as the disk takes; a stop must not wait for that. What the machine would refuse
                // all the same need not wait for the disk either: a start that came behind a stop waited for ever.
                if let Err(denied) = self.session.may_start() {
                    return self.answers.push((answer, Err(denied)));
                }
                match ProgramReader::start(program.clone(), job.from_line) {
                    Ok(reader) => return self.opening = Some(Opening { job, program, still_good, reader, answer }),
                    Err(error) => Err(refused(&program, &error.to_string())),
                }
            }
            (Request::Start(_), None) => Err(Denied::Unreadable),
            _ if !Order::is_good(still_good.as_ref()) => Err(Denied::Stale),
            (request, _) => self.request(now, request),
        };
        self.answers.push((answer, answered));
    }

    /// The program of a start is open, or cannot be opened.
    pub(super) fn opened(&mut self, now: Moment, piece: Option<Piece>) {
        let Some(Opening { job, program, still_good, reader, answer }) = self.opening.take() else { return };
        let answered = match piece {
            _ if !Order::is_good(still_good.as_ref()) => Err(Denied::Stale),
            Some(Piece::Opened) => self.request(now, Request::Start(job)).map(|()| {
                self.program = Some(reader);
                self.chunk = Chunk::default();
            }),
            Some(Piece::Trouble(notice) | Piece::Stalled(notice)) => Err(refused(&program, &notice.happened)),
            _ => Err(refused(&program, "its reader stopped")),
        };
        self.answers.push((answer, answered));
    }

    /// A start that is being prepared is not carried out.
    pub(super) fn forget_opening(&mut self) {
        if let Some(opening) = self.opening.take() {
            self.answers.push((opening.answer, Err(Denied::Stale)));
        }
    }

    pub(super) fn piece(&mut self, now: Moment, piece: Option<Piece>) {
        let Some(program) = &mut self.program else { return };
        program.wanted_since = None;
        // The reader ended without saying so: its thread is gone.
        match piece.unwrap_or_else(|| program.broken(None, "its reader stopped")) {
            Piece::Opened => {}
            Piece::Chunk(chunk) => self.chunk = chunk,
            // The reader is kept: a machine may still ask for a line long past.
            Piece::End => self.handle(now, Input::ProgramEnd),
            Piece::Trouble(notice) => {
                self.program = None;
                self.handle(now, Input::ProgramTrouble(notice));
            }
            Piece::Stalled(notice) => {
                program.stalled = true;
                self.handle(now, Input::ProgramStalled(notice));
            }
        }
    }

    /// A disk that does not answer, and a start that nobody wants any more.
    pub(super) fn pass_time(&mut self, now: Moment) {
        if self.opening.as_ref().is_some_and(|opening| !Order::is_good(opening.still_good.as_ref())) {
            self.opened(now, None);
        }
        if let Some(program) = self.program.as_ref().filter(|program| program.is_overdue(now)) {
            let piece = program.broken(None, "the disk has not answered for 10 s");
            self.piece(now, Some(piece));
        }
        self.handle(now, Input::Time);
    }

    /// Gives the session as much of the program as it wants.
    pub(super) fn feed(&mut self, now: Moment) {
        if let Some(line) = self.session.take_reread() {
            self.chunk = Chunk::default();
            let restarted = self.program.as_mut().map(|program| program.restart(line));
            if let Some(Err(error)) = restarted {
                self.program = None;
                self.handle(now, Input::ProgramTrouble(unreadable(&error.to_string())));
            }
        }
        while self.session.wants_program() && !self.chunk.is_empty() {
            while self.session.wants_program() {
                let Some((number, bytes)) = self.chunk.next_line() else { break };
                let input = Input::ProgramLine { number, bytes };
                self.recorder.input(now, &self.session, &input);
                self.session.handle(now, input);
            }
            // Saying them makes room for more.
            self.recorder.fed(now);
            self.session.program_fed(now);
        }
    }
}
