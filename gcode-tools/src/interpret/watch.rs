//! What an interpreter tells, and to whom.

use super::State;
use crate::arc::{Arc, ArcFault};
use crate::block::Block;
use crate::read::Line;
use crate::statement::Statement;

/// The two families of machines, which mean different things by the same words: G4 P, G28, G80, T, F on G0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Printers: Marlin, Klipper, RepRapFirmware, Repetier, Smoothie.
    Printer,
    /// Mills, lasers, lathes: Grbl and its kin, LinuxCNC.
    Cnc,
}

/// How a move is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Path {
    /// Straight, as fast as the machine can (G0 of a CNC machine).
    Rapid,
    /// Straight, at a feed.
    Line,
    /// Around a centre, at a feed.
    Arc(Arc),
}

/// One move, in machine coordinates and millimetres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Move {
    /// The line that makes it.
    pub line: u64,
    /// How it is made.
    pub path: Path,
    /// Where it starts.
    pub from: [f64; 3],
    /// Where it ends.
    pub to: [f64; 3],
    /// Filament pushed forward, in millimetres; negative when drawn back.
    pub extruded_mm: f64,
    /// Commanded feed in mm/min: 0 when the program has not set one. Without meaning for rapids of a CNC machine.
    pub feed_mm_min: f64,
    /// Whether a reference position or a machine coordinate is approached (G28, G30, G53): no offset applies.
    pub reference: bool,
}

impl Move {
    /// Length of the path of the tool in millimetres; 0 when only the extruder moves.
    #[inline]
    pub fn length(&self) -> f64 {
        if let Path::Arc(arc) = &self.path {
            return arc.length();
        }
        let [x, y, z] = [self.to[0] - self.from[0], self.to[1] - self.from[1], self.to[2] - self.from[2]];
        (x * x + y * y + z * z).sqrt()
    }

    /// Whether the tool's point in the plane changes.
    #[inline]
    pub fn in_plane(&self) -> bool {
        matches!(self.path, Path::Arc(_)) || self.to[0] != self.from[0] || self.to[1] != self.from[1]
    }

    /// Whether material is laid down or taken away: extrusion on the way, or a feed move of a CNC machine.
    #[inline]
    pub fn is_work(&self, state: &State) -> bool {
        match state.family {
            Family::Printer => self.extruded_mm > 0.0 && self.in_plane(),
            Family::Cnc => !matches!(self.path, Path::Rapid),
        }
    }
}

/// What went wrong with a motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// An arc that is none.
    Arc(ArcFault),
    /// A word of the motion has a value that could not be read; the whole motion is left out.
    Unreadable(u8),
    /// G53 with anything but G0 and G1; the motion is left out.
    MachineCoordinatesWithArc,
    /// Axis words before any motion code: Grbl makes a rapid of it, which is assumed here.
    NoMotionMode,
    /// A canned cycle without its Z or R word; it is left out.
    CycleWord(u8),
    /// A loop that does not end within the steps followed, or calls nested too deep.
    Endless,
    /// A subroutine that is not in the file; the call is left out.
    NoSubroutine,
    /// Control flow whose other end is missing, or whose condition has no value; the rest is left out.
    BrokenFlow,
    /// A subroutine is defined inside another.
    NestedSubroutine,
    /// A canned cycle repeated more often than ten thousand times; the rest is left out.
    CycleRepeats(f64),
    /// The canned cycles of the program come to more than a million moves; the rest is left out.
    CycleSteps,
}

/// What is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfollowed {
    /// A code, in tenths.
    Code(u8, u32),
    /// A word for an axis beyond X, Y and Z: where the tool is holds, how long it takes does not.
    Axis(u8),
    /// A command in words of a language.
    Command,
    /// A subprogram that is not in the program, or that is called where it cannot be followed.
    Subprogram,
}

/// What the machine is told to do besides moving.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// G4 for so many seconds.
    Dwell(f64),
    /// A printer's G28: which of X, Y, Z.
    Home([bool; 3]),
    /// A tool is put in place: T on a printer, M6 on a mill.
    Tool(u32),
    /// A tool is put away, or one is asked for that only the machine knows.
    NoTool,
    /// A heater gets a target.
    Heat(super::Heating),
    /// A nozzle has cooled down to this, in °C, before the machine goes on.
    Cooled {
        /// Which tool's; `None`: the one selected.
        tool: Option<u32>,
        /// The highest temperature it may have then.
        most_c: f64,
    },
    /// Something moves, or changes what coordinates mean, and is not followed.
    NotFollowed(Unfollowed),
    /// The machine comes to rest before it goes on: spindle, coolant, pause, a position set anew.
    Stop,
    /// M2 or M30.
    End,
    /// The motion could not be followed as written.
    Fault(Fault),
}

/// Learns what a program does. Every method has a default that does nothing.
pub trait Watch {
    /// A line, before it is executed. `statement` is what it says.
    fn line(&mut self, line: &Line, block: &Block, statement: &Statement, state: &State) {
        let _ = (line, block, statement, state);
    }
    /// The same line, after it was executed.
    fn done(&mut self, line: &Line, block: &Block) {
        let _ = (line, block);
    }
    /// A move. `state` is after the line's other words have taken effect; its position is still the move's start.
    fn moved(&mut self, motion: &Move, state: &State) {
        let _ = (motion, state);
    }
    /// Anything else that happens.
    fn event(&mut self, event: Event, line: u64, state: &State) {
        let _ = (event, line, state);
    }
}

impl<A: Watch, B: Watch> Watch for (A, B) {
    #[inline]
    fn line(&mut self, line: &Line, block: &Block, statement: &Statement, state: &State) {
        self.0.line(line, block, statement, state);
        self.1.line(line, block, statement, state);
    }
    #[inline]
    fn done(&mut self, line: &Line, block: &Block) {
        self.0.done(line, block);
        self.1.done(line, block);
    }
    #[inline]
    fn moved(&mut self, motion: &Move, state: &State) {
        self.0.moved(motion, state);
        self.1.moved(motion, state);
    }
    fn event(&mut self, event: Event, line: u64, state: &State) {
        self.0.event(event, line, state);
        self.1.event(event, line, state);
    }
}

impl<W: Watch> Watch for &mut W {
    #[inline]
    fn line(&mut self, line: &Line, block: &Block, statement: &Statement, state: &State) {
        (**self).line(line, block, statement, state);
    }
    #[inline]
    fn done(&mut self, line: &Line, block: &Block) {
        (**self).done(line, block);
    }
    #[inline]
    fn moved(&mut self, motion: &Move, state: &State) {
        (**self).moved(motion, state);
    }
    fn event(&mut self, event: Event, line: u64, state: &State) {
        (**self).event(event, line, state);
    }
}
