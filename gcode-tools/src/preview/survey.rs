//! The first pass: where the work is, how much of it, and whether it stays in the machine.

use super::{Options, PreviewError};
use crate::analysis::{self, Analysis, Bounds, Info, Setup};
use crate::block::Block;
use crate::follow;
use crate::interpret::{Event, Family, Move, Path, State, Watch};
use crate::preflight::{self, Preflight};
use crate::read::Line;
use crate::sniff::ReadError;
use crate::statement::Statement;
use std::collections::BTreeSet;
use std::io::Read;

/// Heights told apart: a print of a metre has 20,000 layers of 0.05 mm. Above it a program has no layers to choose from.
const HEIGHTS_MAX: usize = 50_000;

/// Parts of a print that are not of the part itself, in lower case: what is looked at closely leaves them out.
const BESIDE: [&str; 5] = ["custom", "skirt", "brim", "wipe", "prime"];

/// How far heights may lie apart and be the same, in millimetres.
pub(super) const SAME_HEIGHT_MM: f64 = 0.0005;

/// Which moves work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Those that extrude.
    Extruding,
    /// Those at a feed.
    Cutting,
    /// Those at a feed with the beam on.
    Burning,
    /// Those at a feed of a program for a printer's firmware that never extrudes: a plotter's, or a mill's.
    Plotting,
}

impl Work {
    /// Whether a move works.
    #[inline]
    pub(super) fn is(self, motion: &Move, state: &State) -> bool {
        match self {
            Self::Extruding | Self::Cutting => motion.is_work(state),
            Self::Burning => motion.is_work(state) && state.is_powered(),
            Self::Plotting => is_fed(motion, state),
        }
    }
}

/// Whether a move is made at a feed: on a printer, anything but G0 and homing.
#[inline]
fn is_fed(motion: &Move, state: &State) -> bool {
    !is_rapid(motion, state) && !motion.reference && motion.to != motion.from
}

/// Whether a move is a rapid: on a printer, a G0.
#[inline]
pub(super) fn is_rapid(motion: &Move, state: &State) -> bool {
    motion.path == Path::Rapid || state.modal.motion == Some(0)
}

/// What the first pass found.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) info: Info,
    /// Which moves work.
    pub(super) works: Work,
    /// The lowest and the highest cut, in millimetres.
    pub(super) cuts_mm: (f64, f64),
    /// The height from which on feed moves cut air, in millimetres, if any does.
    pub(super) air_mm: Option<f64>,
    /// The box of all work.
    pub(super) work: Bounds,
    /// The box of what is looked at closely: of a print the part, without skirt and purge line.
    pub(super) focus: Bounds,
    /// Heights of the layers drawn, in millimetres; `None`: all.
    pub(super) heights_mm: Option<(f64, f64)>,
    /// The first move that leaves the machine: line, axis, where it reaches, in millimetres.
    pub(super) outside: Option<(u64, usize, f64)>,
}

/// The state a program starts from.
pub(super) fn start(options: &Options, guessed: Family) -> State {
    match options.profile {
        Some(profile) => Preflight::new(profile, &options.conditions).state(),
        None => State::new(guessed),
    }
}

/// Reads a program once.
pub(super) fn survey(input: impl Read, options: &Options) -> Result<Survey, PreviewError> {
    let (mut lines, guessed) = follow::open(input)?;
    let firmware = analysis::firmware_of(lines.peek().map_err(|error| ReadError::from_io(&error))?);
    let mut state = start(options, guessed);
    let setup = Setup { profile: options.profile, without_time: true, ..Setup::default() };
    let mut analysis = Analysis::new(&setup, state.family, firmware);
    let mut seen = Seen::new(options);
    let extent = follow::follow(&mut lines, &mut state, &mut (&mut analysis, &mut seen))?;
    let info = analysis.finish(&extent, &state);
    if info.is_empty() {
        return Err(ReadError::empty().into());
    }
    let works = match info.kind {
        "printer" if info.bounds_mm.is_none() => Work::Plotting,
        "printer" => Work::Extruding,
        "laser" => Work::Burning,
        _ => Work::Cutting,
    };
    let work = if works == Work::Plotting { Some(seen.fed) } else { info.bounds_mm };
    let Some(work) = work.filter(|work| !work.is_empty()) else {
        let message = "The program moves nothing at a feed: it neither extrudes nor cuts. There is nothing to draw.";
        return Err(PreviewError::refused("preview.no_work", message));
    };
    if !is_drawable(&work) {
        let message = "The program goes further than ten kilometres; no picture shows that. Correct its coordinates.";
        return Err(PreviewError::refused("preview.too_large", message));
    }
    let heights_mm = options.layers.as_ref().map(|layers| seen.layers(*layers.start(), *layers.end())).transpose()?;
    let focus = if works == Work::Extruding { seen.part().filter(is_drawable).unwrap_or(work) } else { work };
    Ok(Survey {
        works,
        cuts_mm: seen.cuts(&work),
        air_mm: seen.air().filter(|_| works != Work::Extruding),
        work,
        focus,
        heights_mm,
        outside: seen.outside,
        info,
    })
}

/// Whether a box can be drawn: numbers of a size that a picture can be made of.
fn is_drawable(bounds: &Bounds) -> bool {
    bounds.min.iter().chain(&bounds.max).all(|at| at.abs() < 1e7)
}

/// What analysis does not tell.
struct Seen<'a> {
    options: &'a Options<'a>,
    /// Whether the program stands in a feature that is not of the part; `None` before the first feature.
    beside: Option<bool>,
    part: Bounds,
    /// Where features are not named: what lies in the lowest layer, and above it.
    lowest_z: f64,
    lowest: Bounds,
    above: Bounds,
    /// All moves at a feed.
    fed: Bounds,
    /// Whether the program has said where Z is.
    knows_z: bool,
    clear_z: f64,
    cut: (f64, f64),
    fed_highest: f64,
    heights: BTreeSet<i64>,
    outside: Option<(u64, usize, f64)>,
    placed: bool,
}

impl<'a> Seen<'a> {
    fn new(options: &'a Options<'a>) -> Self {
        Self {
            options,
            beside: None,
            part: Bounds::EMPTY,
            lowest_z: f64::INFINITY,
            lowest: Bounds::EMPTY,
            above: Bounds::EMPTY,
            fed: Bounds::EMPTY,
            knows_z: false,
            clear_z: f64::NEG_INFINITY,
            cut: (f64::INFINITY, f64::NEG_INFINITY),
            fed_highest: f64::NEG_INFINITY,
            heights: BTreeSet::new(),
            outside: None,
            placed: options.is_placed(),
        }
    }

    /// The box of the part, if there is one.
    fn part(&self) -> Option<Bounds> {
        [self.part, self.above, self.lowest].into_iter().find(|bounds| !bounds.is_empty())
    }

    /// The highest rapids tell which height is clear; feed moves below are cuts. Lower ones may be links within a cut.
    fn heights(&mut self, motion: &Move, state: &State) {
        self.knows_z |= motion.to[2] != motion.from[2];
        if !motion.in_plane() {
            return;
        }
        let (low, high) = (motion.from[2].min(motion.to[2]), motion.from[2].max(motion.to[2]));
        if is_rapid(motion, state) {
            if self.knows_z && !motion.reference {
                self.clear_z = self.clear_z.max(low);
            }
            return;
        }
        self.fed_highest = self.fed_highest.max(low);
        if high < self.clear_z - SAME_HEIGHT_MM || self.clear_z == f64::NEG_INFINITY {
            self.cut = (self.cut.0.min(low), self.cut.1.max(high));
        }
    }

    /// From which height on feed moves cut air, if any does.
    fn air(&self) -> Option<f64> {
        (self.clear_z.is_finite() && self.fed_highest > self.clear_z - SAME_HEIGHT_MM).then_some(self.clear_z)
    }

    /// The lowest and the highest cut. What only drills has no cut in the plane: it cuts from zero down.
    fn cuts(&self, work: &Bounds) -> (f64, f64) {
        let (low, high) = self.cut;
        if low <= high {
            return (low.min(work.min[2]), high);
        }
        (work.min[2], if work.min[2] < 0.0 { work.max[2].min(0.0) } else { work.max[2] })
    }

    fn work(&mut self, motion: &Move) {
        if self.options.layers.is_some() && self.heights.len() < HEIGHTS_MAX {
            self.heights.insert(microns(motion.to[2]));
        }
        match self.beside {
            Some(true) => return,
            Some(false) => self.part.add_move(motion),
            None => {}
        }
        if motion.to[2] < self.lowest_z {
            self.above = self.above.union(&self.lowest);
            self.lowest_z = motion.to[2];
            self.lowest = Bounds::EMPTY;
        }
        if motion.to[2] > self.lowest_z { self.above.add_move(motion) } else { self.lowest.add_move(motion) }
    }

    /// The heights from one layer to another, counted from 1, the lowest.
    fn layers(&self, first: u32, last: u32) -> Result<(f64, f64), PreviewError> {
        let count = self.heights.len();
        let at = |layer: u32| {
            let index = (layer as usize).checked_sub(1)?;
            self.heights.iter().nth(index).map(|height| *height as f64 / 1000.0)
        };
        match (at(first), at(last)) {
            (Some(low), Some(high)) if first <= last => Ok((low, high)),
            _ => Err(PreviewError::refused(
                "preview.no_layer",
                format!("The program has layers 1 to {count}; {first} to {last} cannot be drawn. Choose among those."),
            )),
        }
    }
}

/// A height as layers are told apart by: in thousandths of a millimetre.
pub(super) fn microns(height_mm: f64) -> i64 {
    (height_mm.clamp(-1e9, 1e9) * 1000.0).round() as i64
}

impl Watch for Seen<'_> {
    #[inline]
    fn line(&mut self, line: &Line, _: &Block, _: &Statement, _: &State) {
        if let Some(name) = analysis::feature_name(line.bytes) {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            self.beside = Some(BESIDE.iter().any(|beside| name.contains(beside)));
        }
    }

    #[inline]
    fn moved(&mut self, motion: &Move, state: &State) {
        if motion.is_work(state) {
            self.work(motion);
        }
        if is_fed(motion, state) {
            self.fed.add_move(motion);
        }
        self.heights(motion, state);
        let envelope = self.options.profile.and_then(|profile| profile.envelope_mm);
        if let (Some(envelope), None, true) = (envelope, self.outside, self.placed && !motion.reference) {
            if let Some(point) = preflight::outside_of(&envelope, motion) {
                let axis = (0..3).find(|axis| preflight::is_beyond(&envelope, *axis, point[*axis]));
                self.outside = axis.map(|axis| (motion.line, axis, point[axis]));
            }
        }
    }

    fn event(&mut self, _: Event, _: u64, _: &State) {}
}
