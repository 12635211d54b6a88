//! The one loop over a program: lines in, what they do out.
//!
//! ```
//! use gcode_tools::follow;
//! use gcode_tools::interpret::{Move, State, Watch};
//!
//! /// Adds up how far the tool goes.
//! struct Way(f64);
//! impl Watch for Way {
//!     fn moved(&mut self, motion: &Move, _: &State) {
//!         self.0 += motion.length();
//!     }
//! }
//!
//! let (mut lines, family) = follow::open(&b"G21 G90\nG0 X30 Y40\nG91\nG1 X10 F600\nM2\n"[..])?;
//! let mut way = Way(0.0);
//! let extent = follow::follow(&mut lines, &mut State::new(family), &mut way)?;
//! assert_eq!((extent.lines, way.0), (5, 60.0));
//! # Ok::<(), gcode_tools::sniff::ReadError>(())
//! ```

use crate::block::{Block, Item};
use crate::expression::Parameters;
use crate::interpret::{Family, State, Watch};
use crate::read::{LineEnd, Lines};
use crate::sniff::{self, ReadError};
use crate::statement::{Form, Statement};
use std::io::Read;

mod flow;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// How the last line ended; [`LineEnd::None`] when the file has none, or is empty.
    pub end: LineEnd,
}

/// Opens a stream as a program: refuses what is none and tells which family of machines it is for.
pub fn open<R: Read>(input: R) -> Result<(Lines<R>, Family), ReadError> {
    let mut lines = Lines::new(input);
    let head = lines.peek().map_err(|error| ReadError::from_io(&error))?;
    if let Some(refusal) = sniff::refuse(head) {
        return Err(refusal);
    }
    let family = sniff::family(head);
    Ok((lines, family))
}

/// Executes one line, whatever it is.
#[inline]
pub(crate) fn run<W: Watch>(line: u64, block: &Block, statement: &Statement, state: &mut State, watch: &mut W) {
    if statement.form == Form::Extended {
        let text = block.items().find_map(|item| match item {
            Item::Extended { text, .. } => Some(text),
            _ => None,
        });
        return state.command(line, text.unwrap_or_default(), watch);
    }
    state.execute(line, statement, watch);
}

/// Follows a program from its first line to its last, in constant memory.
///
/// Expressions and parameters are computed for CNC programs. Loops and subroutines (O-words) are followed too, if
/// the machine has them ([`State::has_flow`]) and the program is small enough to be kept
/// (one mebibyte and 100,000 lines). So are subprograms that M98 calls. A larger one with O-words is refused as `file.flow_too_large`.
pub fn follow<R: Read, W: Watch>(lines: &mut Lines<R>, state: &mut State, watch: &mut W) -> Result<Extent, ReadError> {
    let mut statement = Statement::default();
    let mut parameters = Parameters::new();
    let mut extent = Extent { lines: 0, bytes: 0, end: LineEnd::None };
    let mut kept = (state.family == Family::Cnc && state.has_flow).then(flow::Kept::default);
    while let Some(line) = lines.next_line().map_err(|error| ReadError::from_io(&error))? {
        (extent.lines, extent.end) = (line.number, line.end);
        let block = line.block();
        let computes = state.family == Family::Cnc;
        statement.read(&block, computes.then_some(&mut parameters));
        if let Some(kept_lines) = &mut kept {
            if !kept_lines.keep(&line) {
                kept = None;
            } else if statement.form == Form::Flow || statement.has_code(b'M', 980) {
                let kept_lines = kept.take().unwrap_or_default();
                if let Some(program) =
                    kept_lines.rest(lines, &mut extent).map_err(|error| ReadError::from_io(&error))?
                {
                    flow::run(&program, &mut parameters, state, watch);
                    break;
                }
                return Err(ReadError::new(
                    "file.flow_too_large",
                    "The program has loops or subroutines and is too long to be kept in memory and followed.",
                ));
            }
        }
        watch.line(&line, &block, &statement, state);
        run(line.number, &block, &statement, state, watch);
        watch.done(&line, &block);
    }
    extent.bytes = lines.offset();
    Ok(extent)
}
