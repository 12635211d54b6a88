//! The result of an analysis, with the names that clients rely on.

use super::Analysis;
use crate::follow::Extent;
use crate::interpret::{Family, Move, Path, State};
use crate::metadata::Slicer;
use crate::time::TimeLine;
use schemars::JsonSchema;
use serde::Serialize;

/// Filament diameter where nothing says another, in millimetres.
const FILAMENT_MM: f64 = 1.75;

/// A box in millimetres, machine coordinates, X, Y, Z.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Bounds {
    /// Lowest point of each axis.
    pub min: [f64; 3],
    /// Highest point of each axis.
    pub max: [f64; 3],
}

impl Bounds {
    /// Holds nothing.
    pub const EMPTY: Self = Self { min: [f64::INFINITY; 3], max: [f64::NEG_INFINITY; 3] };

    /// Whether it holds anything.
    pub fn is_empty(&self) -> bool {
        self.min[0] > self.max[0]
    }

    /// Makes room for a point.
    #[inline]
    pub fn add(&mut self, point: [f64; 3]) {
        for axis in 0..3 {
            self.min[axis] = self.min[axis].min(point[axis]);
            self.max[axis] = self.max[axis].max(point[axis]);
        }
    }

    /// Makes room for a whole move, arcs by their true extent.
    #[inline]
    pub fn add_move(&mut self, motion: &Move) {
        self.add(motion.from);
        self.add_end(motion);
    }

    /// Makes room for a move but for its start.
    #[inline]
    pub fn add_end(&mut self, motion: &Move) {
        self.add(motion.to);
        if let Path::Arc(arc) = &motion.path {
            arc.extremes(motion.from, |point| self.add(point));
        }
    }

    /// The box around two boxes.
    pub fn union(&self, other: &Self) -> Self {
        let mut both = *self;
        if !other.is_empty() {
            both.add(other.min);
            both.add(other.max);
        }
        both
    }

    fn known(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }
}

/// What one kind of line of a print, such as a perimeter, comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Feature {
    /// The slicer's name for it.
    pub name: String,
    /// Length of its extrusions in millimetres.
    pub length_mm: f64,
    /// Filament in millimetres.
    pub filament_mm: f64,
    /// Time in seconds.
    pub time_s: f64,
}

/// Highest temperatures asked for, in °C.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Temperatures {
    /// Nozzles by tool number.
    pub tool_c: Vec<f64>,
    /// Bed.
    pub bed_c: Option<f64>,
    /// Chamber.
    pub chamber_c: Option<f64>,
}

/// Where a program stops being followed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NotFollowed {
    /// The first line that is not followed.
    pub line: u64,
    /// The word that is not followed there.
    pub word: String,
    /// Whether the boxes hold nevertheless, and only time and filament are unknown.
    pub place_is_known: bool,
}

/// What a program will do.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Info {
    /// Lines of the file.
    pub lines: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// `printer`, `mill` or `laser`: what kind of machine the program is written for, as far as one can tell.
    pub kind: &'static str,
    /// `mm`, `inch`, `mixed`, or `unstated` (millimetres are assumed).
    pub units: &'static str,
    /// The box of moves that work: extruding, cutting; for lasers with the beam on. Arcs by their true extent.
    pub bounds_mm: Option<Bounds>,
    /// The box of all other moves.
    pub travel_bounds_mm: Option<Bounds>,
    /// The box of feed moves with spindle or beam on and S above 0.
    pub powered_bounds_mm: Option<Bounds>,
    /// Seconds of motion, dwells and tool changes. Heating is not in it: see `heating_s`.
    pub time_s: f64,
    /// Seconds of G4 within `time_s`.
    pub dwell_s: f64,
    /// Seconds of heating up, a rough estimate that depends on the machine and the room.
    pub heating_s: f64,
    /// Seconds with spindle or beam on.
    pub spindle_s: f64,
    /// Filament by tool number: the highest sum reached, as slicers count it. Volumetric programs: mm³.
    pub filament_mm: Vec<f64>,
    /// Filament by tool number in grams; `None` where diameter or density is unknown.
    pub filament_g: Vec<Option<f64>>,
    /// Layers: those that the slicer marks; else the turns of a vase and the heights at which the program extrudes.
    pub layers: u64,
    /// Tools in order of first use.
    pub tools: Vec<u32>,
    /// From which line on bounds, time and filament are unknown. Absent: the whole program was followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_followed: Option<NotFollowed>,
    /// Highest feed commanded, in mm/min.
    pub feed_max_mm_min: f64,
    /// Highest S while spindle or beam is on.
    pub spindle_max: f64,
    /// Highest temperatures.
    pub temperatures: Temperatures,
    /// Lines with commands.
    pub commands: u64,
    /// Moves, holes of drilling cycles taken apart.
    pub moves: u64,
    /// Arcs among them.
    pub arcs: u64,
    /// Length of moves that work, in millimetres.
    pub work_mm: f64,
    /// Length of all other moves.
    pub travel_mm: f64,
    /// Length of feed moves with spindle or beam on and S above 0.
    pub powered_mm: f64,
    /// What kinds of lines a print is made of, where the slicer says so.
    pub features: Vec<Feature>,
    /// What the slicer or CAM program says, if anything.
    pub slicer: Option<Slicer>,
    /// Seconds by line number, for progress.
    #[serde(skip)]
    pub time_line: TimeLine,
}

impl Info {
    /// Whether the file holds no command at all.
    pub fn is_empty(&self) -> bool {
        self.commands == 0
    }
}

impl Analysis {
    /// Ends the analysis behind the last line.
    pub fn finish(mut self, extent: &Extent, state: &State) -> Info {
        let time_line = self.planner.as_mut().map(|planner| planner.finish(extent.lines)).unwrap_or_default();
        if let Some(since) = self.spindle_since {
            self.counts.spindle_s += self.seconds() - since;
        }
        if let Some(planner) = &self.planner {
            for (feature, seconds) in self.features.iter_mut().zip(&planner.by_tag()[1..]) {
                feature.time_s = *seconds;
            }
        }
        let laser = self.is_laser(state);
        let mut counts = self.counts;
        let burns = laser && !self.powered.is_empty();
        let work = if burns { self.powered } else { self.work };
        if burns {
            // A laser that moves with its beam off travels, at whatever feed.
            self.travel = self.travel.union(&self.dark);
            counts.work_mm -= counts.dark_mm;
            counts.travel_mm += counts.dark_mm;
        }
        if self.tools.is_empty() && !self.filament.is_empty() {
            self.tools.push(0);
        }
        Info {
            lines: extent.lines,
            bytes: extent.bytes,
            kind: match (state.family, laser) {
                (Family::Printer, _) => "printer",
                (Family::Cnc, true) => "laser",
                (Family::Cnc, false) => "mill",
            },
            units: match (counts.metric_lines > 0, counts.inch_lines > 0) {
                (true, true) => "mixed",
                (true, false) => "mm",
                (false, true) => "inch",
                (false, false) => "unstated",
            },
            bounds_mm: work.known(),
            travel_bounds_mm: self.travel.known(),
            powered_bounds_mm: self.powered.known(),
            time_s: self.seconds(),
            dwell_s: self.dwell_s,
            heating_s: self.heating_s,
            spindle_s: counts.spindle_s,
            filament_mm: self.filament.iter().map(|filament| filament.peak).collect(),
            filament_g: self.grams(),
            layers: self.layers.count(),
            tools: self.tools,
            not_followed: self.not_followed,
            feed_max_mm_min: counts.feed_max,
            spindle_max: counts.spindle_max,
            temperatures: self.temperatures,
            commands: counts.commands,
            moves: counts.moves,
            arcs: counts.arcs,
            work_mm: counts.work_mm,
            travel_mm: counts.travel_mm,
            powered_mm: counts.powered_mm,
            features: self.features,
            slicer: (!self.slicer.is_empty()).then_some(self.slicer),
            time_line,
        }
    }

    /// A laser's program: the profile says so, or S changes on moves, or the beam is on and nothing goes down.
    fn is_laser(&self, state: &State) -> bool {
        state.family == Family::Cnc
            && (self.laser_profile
                || self.counts.beam_words > 1
                || (self.counts.powered_mm > 0.0 && self.counts.depth_moves == 0))
    }

    fn grams(&self) -> Vec<Option<f64>> {
        let by_tool = |values: &[f64], tool: usize| values.get(tool).or(values.first()).copied();
        let grams = |(tool, filament): (usize, &super::Filament)| {
            let known = self.densities.iter().find(|(number, ..)| *number as usize == tool);
            let density = by_tool(&self.slicer.filament_density_g_cm3, tool)
                .filter(|density| *density > 0.0)
                .or_else(|| known.and_then(|(_, _, density)| *density))?;
            let diameter = by_tool(&self.slicer.filament_diameter_mm, tool)
                .or_else(|| known.and_then(|(_, diameter, _)| *diameter))
                .unwrap_or(FILAMENT_MM);
            Some(filament.peak * std::f64::consts::PI * diameter * diameter / 4.0 * density / 1000.0)
        };
        self.filament.iter().enumerate().map(grams).collect()
    }
}
