//! Checks a whole program against the machine it is to run on, before anything moves.
//!
//! One pass, constant memory. A finding of severity *error* means that the machine would refuse a line, be damaged, or
//! make something else than what was meant: the verdict is then *fail*.

use crate::analysis::family_of;
use crate::follow::{self, Extent};
use crate::interpret::{Event, Family, Move, State, Watch};
use crate::metadata::Slicer;
use crate::modal::Spindle;
use crate::profile::{Envelope, Profile};
use crate::read::LineEnd;
use crate::rules::{Refusal, Rules};
use crate::sniff::ReadError;
use crate::statement::Statement;
use crate::time::Firmware;
use schemars::JsonSchema;
use serde::Serialize;
use std::io::Read;

mod codes;
mod commands;
mod finding;
mod lines;
mod machine;
mod motion;
mod otherwise;
mod place;
mod several;
mod words;

use finding::Findings;
pub use finding::{FINDINGS_MAX, FINDINGS_PER_CODE_MAX, Finding, Severity};
pub(crate) use motion::{is_beyond, is_placed, outside_of};

/// Whether a program may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No finding of severity error.
    Pass,
    /// At least one.
    Fail,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Verdict {
    /// Whether the program may run.
    pub verdict: Outcome,
    /// What was found, in order of lines. Line 0 is the file as a whole.
    pub findings: Vec<Finding>,
    /// The same for people to read: one of each cause, with how often and from which line to which it was found.
    #[serde(skip)]
    pub causes: Vec<Finding>,
    /// Findings left out because there were too many: of one code, or in all.
    pub findings_dropped: u64,
    /// How the moves were placed in the machine: `known` offsets, or `assumed`.
    pub offsets: &'static str,
    /// Whether the file could be read at all.
    #[serde(skip)]
    pub readable: bool,
}

impl Verdict {
    /// The finding that the file breaks off. Whatever else is wrong with the half of a program, this is what it is.
    pub fn truncation(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.severity == Severity::Error && finding.code == "file.truncated")
    }

    /// The verdict on something that is no readable program.
    pub fn unreadable(error: &ReadError) -> Self {
        let finding = Finding {
            line: 0,
            column: 0,
            severity: Severity::Error,
            code: error.code,
            message: error.message.clone(),
            // All but one say themselves what to do.
            help: if error.code == "file.empty" {
                "Choose the right file, or export it again."
            } else {
                "Nothing else of it was checked."
            },
            count: 1,
            lines: [0; 2],
        };
        Self {
            verdict: Outcome::Fail,
            causes: vec![finding.clone()],
            findings: vec![finding],
            findings_dropped: 0,
            offsets: "assumed",
            readable: error.code == "file.empty",
        }
    }

    /// Tells of each cause once, in place of every line. Nothing is left out then.
    pub fn tell_causes(&mut self) {
        self.findings = std::mem::take(&mut self.causes);
        self.findings_dropped = 0;
    }

    /// Whether the program may run.
    pub fn passes(&self) -> bool {
        self.verdict == Outcome::Pass
    }
}

/// What is known of the machine's present state. Everything optional: unknown is assumed, and said.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Offset of the selected work coordinates (G54) from machine zero, in millimetres: all that counts now added up.
    pub work_offset_mm: Option<[f64; 3]>,
    /// Whether the machine is homed.
    pub homed: bool,
    /// It was asked what it knows, or nobody could be asked: what is not known here is then not assumed either, and a
    /// program whose place follows from it is checked for its size only.
    pub asked: bool,
    /// Its work offsets, G54 to G59.3, as far as it lists them.
    pub work_offsets_mm: [Option<[f64; 3]>; 9],
    /// Its G92 shift.
    pub shift_mm: Option<[f64; 3]>,
    /// Its tool length offset.
    pub tool_mm: Option<[f64; 3]>,
    /// Where it stands, in machine coordinates.
    pub position_mm: Option<[f64; 3]>,
    /// The codes that are in force before the first line, as it says them: `G0 G55 G17 G20 G90`.
    pub codes: String,
    /// What else is known of it that whoever reads the verdict should know: where it differs from its profile.
    pub findings: Vec<Finding>,
}

/// Checks a program against a machine.
///
/// ```
/// use gcode_tools::{preflight, profile::Profile};
/// let profile = Profile::named("grbl-laser-400").unwrap();
/// let verdict = preflight::check(&b"G21 G90\nM4 S500\nG1 X500 F1000\nM5\nM2\n"[..], &profile);
/// assert!(!verdict.passes());
/// assert_eq!((verdict.findings[0].line, verdict.findings[0].code), (3, "envelope.outside"));
/// ```
pub fn check(input: impl Read, profile: &Profile) -> Verdict {
    check_with(input, profile, &Conditions::default())
}

/// Checks a program against a machine in a known state.
pub fn check_with(input: impl Read, profile: &Profile, conditions: &Conditions) -> Verdict {
    let mut preflight = Preflight::new(profile, conditions);
    let followed = follow::open(input).and_then(|(mut lines, _)| {
        let mut state = preflight.state();
        let extent = follow::follow(&mut lines, &mut state, &mut preflight)?;
        Ok((extent, state))
    });
    match followed {
        Ok((extent, state)) => preflight.finish(&extent, &state),
        Err(error) => Verdict::unreadable(&error),
    }
}

/// Watches a program and notes what would go wrong.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Facts of the program so far, each of its own.
pub struct Preflight<'p> {
    profile: &'p Profile,
    conditions: Conditions,
    firmware: Firmware,
    family: Family,
    findings: Findings,
    slicer: Slicer,
    /// Whether a command was called whose effects are not known here: a macro of the machine.
    macros_called: bool,
    homed: [bool; 3],
    /// Whether the motors were let go since.
    released: bool,
    /// Where the present tool's tip can go.
    reach: Option<Envelope>,
    /// A move depended on an offset that is not known here.
    unplaced: bool,
    layers_begun: bool,
    arcs_told: bool,
    part_top_mm: f64,
    heat: machine::Heat,
    spindle_used: bool,
    feed_set: bool,
    units_line: u64,
    units_inches: bool,
    moved: bool,
    /// Whether a move before this line may still run on the machine, and whether this line lets it end.
    may_move: bool,
    settles: bool,
    commands: u64,
    percents: u32,
    tools: Vec<u32>,
    subs_called: Vec<(u64, u32)>,
    subs_defined: Vec<u32>,
    tiny_moves: u64,
    tiny_line: u64,
    extent: motion::Span,
    line_bytes_max: usize,
    line_ends_rewritten: bool,
    scratch: Vec<u8>,
    ended: bool,
    /// What the firmware would answer.
    rules: Rules,
    /// Why it refuses the present line.
    refused: Option<Refusal>,
}

impl<'p> Preflight<'p> {
    /// The start of a check.
    pub fn new(profile: &'p Profile, conditions: &Conditions) -> Self {
        let firmware = Firmware::of_profile(profile);
        Self {
            profile,
            conditions: conditions.clone(),
            firmware,
            family: family_of(profile),
            findings: Findings::default(),
            slicer: Slicer::default(),
            macros_called: false,
            homed: [conditions.homed; 3],
            released: false,
            reach: profile.envelope_mm,
            unplaced: false,
            layers_begun: false,
            arcs_told: false,
            part_top_mm: 0.0,
            heat: machine::Heat::of(profile),
            spindle_used: false,
            feed_set: false,
            units_line: 0,
            units_inches: false,
            moved: false,
            may_move: false,
            settles: false,
            commands: 0,
            percents: 0,
            tools: Vec::new(),
            subs_called: Vec::new(),
            subs_defined: Vec::new(),
            tiny_moves: 0,
            tiny_line: 0,
            extent: motion::Span::of(profile, conditions),
            line_bytes_max: lines::line_bytes_max(firmware, Firmware::of_dialect(&profile.dialect).is_some())
                .min(profile.stream.line_bytes_max.unwrap_or(usize::MAX)),
            line_ends_rewritten: false,
            scratch: Vec::new(),
            ended: false,
            rules: Rules::of(firmware),
            refused: None,
        }
    }

    /// The state a program starts from on this machine.
    pub fn state(&self) -> State {
        let mut state = State::of_profile(self.profile);
        let conditions = &self.conditions;
        for word in conditions.codes.split_ascii_whitespace() {
            // How the machine counts now; the program's own feed, motion and switches are to come.
            if matches!(word, "G20" | "G90" | "G91") || word.starts_with("G5") && word != "G53" {
                state.modal.apply(&crate::block::Block::new(word.as_bytes()));
            }
        }
        state.modal.units_stated = false;
        for (index, offset) in conditions.work_offsets_mm.iter().enumerate() {
            if let Some(offset) = offset {
                state.offsets.set_work(index, *offset);
            }
        }
        let selected = usize::from(state.modal.work_offset);
        if let Some(total) = conditions.work_offset_mm {
            // What counts now added up is newer than the list; what is not its own stays beside it.
            let [shift, tool] = [conditions.shift_mm, conditions.tool_mm].map(Option::unwrap_or_default);
            state.offsets.set_work(selected, std::array::from_fn(|axis| total[axis] - shift[axis] - tool[axis]));
        }
        let [shift, tool] = [conditions.shift_mm, conditions.tool_mm].map(Option::unwrap_or_default);
        state.offsets.begin(selected, shift, tool);
        if let Some(position) = conditions.position_mm.filter(|_| self.family == Family::Cnc) {
            state.position = position;
        }
        state
    }

    /// Ends the check behind the last line.
    pub fn finish(mut self, extent: &Extent, state: &State) -> Verdict {
        if self.commands == 0 && !(self.slicer.in_thumbnail() && extent.end == LineEnd::None) {
            return Verdict::unreadable(&ReadError::empty());
        }
        self.check_end(extent, state);
        self.check_whole();
        self.check_place();
        if !self.layers_begun {
            self.findings.settle("bed.outside", true);
        }
        self.findings.settle("spindle.off", self.spindle_used);
        self.findings.settle("heat.cold_extrusion", self.heat.ever_set());
        let offsets = if self.family == Family::Printer || !state.offsets.assumed() { "known" } else { "assumed" };
        let found = self.findings.finish();
        Verdict {
            verdict: if found.failed { Outcome::Fail } else { Outcome::Pass },
            findings: found.findings,
            causes: found.causes,
            findings_dropped: found.dropped,
            offsets,
            readable: true,
        }
    }

    fn check_end(&mut self, extent: &Extent, state: &State) {
        let unended = extent.end == LineEnd::None;
        let hot = self.heat.is_on();
        let half = self.slicer.in_thumbnail() && unended;
        // A program that ends with M2 or M30 turned the spindle off there; one cut short did not get so far.
        let turning = self.family == Family::Cnc && !self.ended && state.modal.spindle != Spindle::Off;
        // A cut exactly between two lines shows only in what the slicer would have written behind the last move.
        let unfinished = self.slicer.name.is_some() && !self.slicer.is_whole().unwrap_or(!unended);
        if (unended && (half || turning)) || (hot && unfinished) {
            // PrusaSlicer and its descendants write LF on every system. Where another program has rewritten the line
            // ends it may have left out comments too. Cura writes CRLF itself on Windows, so there it says nothing.
            let lf_only = matches!(self.slicer.name.as_deref(), Some("PrusaSlicer" | "SuperSlicer" | "OrcaSlicer"));
            let rewritten = lf_only && self.line_ends_rewritten && !unended;
            self.findings.add(
                0,
                if rewritten { Severity::Warning } else { Severity::Error },
                "file.truncated",
                format!("The file breaks off on line {}, before the program's end.", extent.lines),
                "Export or upload it again: a copy was cut short.",
            );
        } else if self.slicer.in_thumbnail() {
            self.findings.add(
                0,
                Severity::Warning,
                "thumbnail.unended",
                "An embedded picture has no end mark.".to_owned(),
                "The program itself can be read; export it again for the picture.",
            );
        }
        if hot {
            self.findings.add(
                0,
                Severity::Warning,
                "heat.left_on",
                "A heater is still on when the program ends.".to_owned(),
                "Add M104 S0 and M140 S0 at the end, or see that the machine's profile switches them off.",
            );
        }
        if self.family == Family::Cnc && !state.modal.ended && !self.ended && self.percents < 2 {
            self.findings.add(
                0,
                Severity::Warning,
                "program.no_end",
                "The program does not end with M2 or M30.".to_owned(),
                "It may be a part of a longer one; spindle and coolant are not switched off by it.",
            );
        }
    }

    /// What only shows when the whole file has been seen.
    fn check_whole(&mut self) {
        if self.units_line == 0 && self.moved && self.family == Family::Cnc {
            self.findings.add(
                0,
                Severity::Warning,
                "units.unstated",
                "The program does not say whether it is in millimetres (G21) or inches (G20); millimetres are assumed."
                    .to_owned(),
                "Add G21 or G20 at the start.",
            );
        }
        if self.tiny_moves >= motion::TINY_MOVES_MIN {
            self.findings.add(
                0,
                Severity::Warning,
                "motion.tiny",
                format!("{} moves are shorter than a micron, the first on line {}.", self.tiny_moves, self.tiny_line),
                "Let the slicer or CAM program merge short segments; the machine would stutter on them.",
            );
        }
        let missing: Vec<(u64, u32)> =
            self.subs_called.iter().filter(|(_, sub)| !self.subs_defined.contains(sub)).copied().collect();
        for (line, sub) in missing {
            self.findings.add(
                line,
                Severity::Error,
                "program.missing_sub",
                format!("Subprogram O{sub} is called, and is not in the file."),
                "Put the subprogram into the file, or let the CAM program write it out in place.",
            );
        }
        self.check_material();
    }
}

impl Watch for Preflight<'_> {
    #[inline]
    fn line(&mut self, line: &crate::read::Line, block: &crate::block::Block, statement: &Statement, state: &State) {
        self.check_line(line, block, statement, state);
    }

    #[inline]
    fn done(&mut self, line: &crate::read::Line, block: &crate::block::Block) {
        if let Some(refusal) = self.refused.take() {
            self.tell_refusal(line.number, &refusal);
        }
        if std::mem::take(&mut self.settles) {
            self.may_move = false;
        }
        if self.findings.waits() {
            self.findings.place(block);
        }
    }

    #[inline]
    fn moved(&mut self, motion: &Move, state: &State) {
        self.check_move(motion, state);
    }

    fn event(&mut self, event: Event, line: u64, state: &State) {
        self.check_event(event, line, state);
    }
}

#[cfg(test)]
mod test;
