//! The one loop over a program: lines in, what they do out.

use crate::block::Block;
use crate::expression::Parameters;
use crate::interpret::{Family, State, Watch};
use crate::read::{LineEnd, Lines};
use crate::sniff::{self, ReadError};
use crate::statement::Statement;
use std::io::Read;

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

/// Follows a program from its first line to its last, in constant memory.
///
/// Expressions and parameters are computed for CNC programs. Control flow is not followed: whoever watches sees
/// the lines and says so.
pub fn follow<R: Read, W: Watch>(lines: &mut Lines<R>, state: &mut State, watch: &mut W) -> Result<Extent, ReadError> {
    let mut statement = Statement::default();
    let mut parameters = Parameters::new();
    let mut extent = Extent { lines: 0, bytes: 0, end: LineEnd::None };
    while let Some(line) = lines.next_line().map_err(|error| ReadError::from_io(&error))? {
        let block = Block::new(line.bytes);
        let computes = state.family == Family::Cnc;
        statement.read(&block, computes.then_some(&mut parameters));
        watch.line(&line, &block, &statement, state);
        state.execute(line.number, &statement, watch);
        watch.done(&line, &block);
        (extent.lines, extent.end) = (line.number, line.end);
    }
    extent.bytes = lines.offset();
    Ok(extent)
}
