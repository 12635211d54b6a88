//! The second pass: each move becomes strokes in the panels.

use super::canvas::Canvas;
use super::figure::{Figure, Mark, Plot};
use super::frame;
use super::palette::{Ink, LEVELS, LIGHTS, Scheme};
use super::survey::{SAME_HEIGHT_MM, Survey, Work, is_rapid, start};
use super::trace::Tracer;
use super::view::{From, View};
use super::{By, Options, PreviewError, best};
use crate::analysis;
use crate::arc::Arc;
use crate::block::Block;
use crate::follow;
use crate::interpret::{Event, Family, Move, Path, State, Watch};
use crate::modal::Plane;
use crate::preflight::{is_beyond, outside_of};
use crate::profile::Envelope;
use crate::read::Line;
use crate::statement::Statement;
use std::f64::consts::{FRAC_PI_2, TAU};
use std::io::Read;

/// Strokes kept of one panel's work, at most. An SVG of the largest size has some sixty thousand.
const WORK_STROKES_MAX: usize = 120_000;

/// Strokes kept of one panel's travel, at most: more of them are a grey area.
const TRAVEL_STROKES_MAX: usize = 12_000;

/// Width of a line of plastic where the program does not say its nozzle's, in millimetres.
const NOZZLE_MM: f64 = 0.4;

/// How much wider than its nozzle a line of plastic lies.
const SPREAD: f64 = 1.1;

/// How far a chord may lie from its arc, in pixels.
const CHORD_PX: f64 = 0.15;

/// Chords of all arcs of a program. Beyond it arcs are drawn coarsely, so that a file of endless turns takes no longer
/// than any other of its size.
const CHORDS_TOTAL_MAX: u64 = 20_000_000;

/// Shades of what is told apart by class: fewer than levels, so that paths are long.
const SHADES: f64 = 8.0;

/// Parts of a print that lie flat and are lit from above, in lower case.
const FLAT: [&str; 8] = ["infill", "fill", "skin", "top", "bottom", "bridge", "ironing", "solid"];

/// The heights that a scale of heights runs over: of a print those of the part or the layers drawn, else the cuts'.
pub(super) fn heights(survey: &Survey) -> (f64, f64) {
    match (survey.works, survey.heights_mm) {
        (_, Some(layers)) => layers,
        (Work::Extruding, None) => (survey.focus.min[2], survey.focus.max[2]),
        (_, None) => survey.cuts_mm,
    }
}

/// The S word that is full power.
pub(super) fn full_power(survey: &Survey, options: &Options) -> f64 {
    let profiled = options.profile.and_then(|profile| profile.laser.as_ref()).map(|laser| laser.s_max);
    profiled.unwrap_or(survey.info.spindle_max).max(1e-9)
}

/// Whether travel is drawn: where nobody says, a mill's rapids, and what a laser does without its beam if it never has it.
pub(super) fn shows_travel(survey: &Survey, options: &Options) -> bool {
    options.travel.unwrap_or(match survey.works {
        Work::Cutting => true,
        Work::Burning => survey.info.powered_mm == 0.0,
        Work::Extruding | Work::Plotting => false,
    })
}

/// Draws a program that has been surveyed.
pub(super) fn paint(input: impl Read, survey: &Survey, options: &Options) -> Result<Figure, PreviewError> {
    let scheme = Scheme {
        by: options.by.unwrap_or_else(|| best(survey)),
        works: survey.works,
        features: survey.info.features.iter().map(|feature| feature.name.clone()).collect(),
    };
    let frame = frame::frame(survey, options, &scheme);
    let pens = frame.panels.into_iter().map(|panel| Pen::new(panel, survey, options)).collect();
    let (mut lines, guessed) = follow::open(input)?;
    let mut state = start(options, guessed);
    let envelope = options.profile.and_then(|profile| profile.envelope_mm).filter(|_| options.is_placed());
    let mut painter = Painter {
        survey,
        scheme: &scheme,
        envelope,
        pens,
        feature: 0,
        flat: false,
        tool: 0,
        full_power: full_power(survey, options),
        in_layers: survey.heights_mm.is_none(),
        chords: 0,
    };
    follow::follow(&mut lines, &mut state, &mut painter)?;
    let plots = painter.pens.into_iter().map(Pen::finish).collect();
    let leaves_machine = options.is_placed().then_some(survey.outside.is_some());
    let title = options.title.to_owned();
    Ok(Figure { size: frame.size, scheme, plots, marks: frame.marks, title, leaves_machine })
}

/// One panel while it is drawn.
struct Pen {
    view: View,
    place: [f64; 4],
    ground: Vec<Mark>,
    work: (Canvas, Tracer),
    travel: Option<(Canvas, Tracer)>,
}

impl Pen {
    fn new(panel: frame::Panel, survey: &Survey, options: &Options) -> Self {
        let [_, _, width, height] = panel.place;
        let size = [width.ceil() as usize, height.ceil() as usize];
        let unit = (f64::from(options.width_px) / 960.0).clamp(0.8, 2.2);
        let line = match survey.works {
            Work::Extruding => {
                let nozzles = survey.info.slicer.as_ref().map(|slicer| &slicer.nozzle_diameter_mm[..]);
                let nozzle = nozzles.and_then(|nozzles| nozzles.first().copied()).unwrap_or(NOZZLE_MM);
                (nozzle.clamp(0.1, 2.0) * SPREAD * panel.view.scale).max(0.9)
            }
            Work::Burning => unit,
            Work::Cutting | Work::Plotting => 1.4 * unit,
        };
        let line = line.min(40.0) as f32;
        let dot = if survey.works == Work::Cutting { (4.5 * unit) as f32 } else { line };
        let travel = shows_travel(survey, options)
            .then(|| (Canvas::new(size, (0.9 * unit) as f32, 1.0, TRAVEL_STROKES_MAX), Tracer::default()));
        Self {
            view: panel.view,
            place: panel.place,
            ground: panel.ground,
            work: (Canvas::new(size, line, dot, WORK_STROKES_MAX), Tracer::default()),
            travel,
        }
    }

    fn finish(self) -> Plot {
        let finish = |(mut canvas, mut tracer): (Canvas, Tracer)| {
            tracer.lift(&mut canvas);
            canvas.finish()
        };
        Plot { place: self.place, work: finish(self.work), travel: self.travel.map(finish), ground: self.ground }
    }
}

/// Draws one path. Says how many chords an arc was drawn as.
fn draw(
    view: &View,
    to: &mut (Canvas, Tracer),
    motion: &Move,
    ink: impl Fn([f64; 2]) -> Ink,
    key: u16,
    fine: bool,
) -> u64 {
    let (canvas, tracer) = to;
    let flat = |from: [f64; 3], to: [f64; 3]| ink([to[0] - from[0], to[1] - from[1]]);
    let Path::Arc(arc) = &motion.path else {
        if motion.in_plane() || view.from == From::Aslant {
            tracer.line(view.point(motion.from), view.point(motion.to), flat(motion.from, motion.to), key, canvas);
        } else if motion.to[2] < motion.from[2] {
            tracer.lift(canvas);
            canvas.dot(view.point(motion.to), flat(motion.from, motion.to), key);
        }
        return 0;
    };
    let radius_px = arc.radius * view.scale;
    // More than a turn is drawn as two: one upon the other they look the same.
    let sweep = if arc.sweep.abs() > 2.0 * TAU && arc.rise == 0.0 { arc.sweep.signum() * TAU } else { arc.sweep };
    let round = view.from == From::Above && arc.plane == Plane::Xy && fine;
    let step = if round { FRAC_PI_2 } else { 2.0 * (1.0 - (CHORD_PX / radius_px).min(0.5)).acos() };
    let most = if fine { 2000.0 } else { 4.0 };
    let count = (sweep.abs() / step.max(1e-3)).ceil().clamp(1.0, most);
    let drawn = Arc { sweep, ..*arc };
    let mut from = motion.from;
    if round {
        tracer.lift(canvas);
    }
    for index in 1..=count as u32 {
        let share = f64::from(index) / count;
        let to =
            if f64::from(index) >= count && sweep == arc.sweep { motion.to } else { drawn.point(motion.from, share) };
        let ink = flat(from, to);
        if round {
            // Y points down on the picture: what turns left on the machine turns left there too, its sign changed.
            let bulge = -(sweep / count / 4.0).tan() as f32;
            canvas.arc(view.point(from), view.point(to), bulge, ink, key);
        } else {
            tracer.line(view.point(from), view.point(to), ink, key, canvas);
        }
        from = to;
    }
    count as u64
}

/// Whether any of a move lies outside of the machine.
fn leaves(envelope: &Envelope, motion: &Move) -> bool {
    let beyond = |point: [f64; 3]| (0..3).any(|axis| is_beyond(envelope, axis, point[axis]));
    beyond(motion.from) || beyond(motion.to) || outside_of(envelope, motion).is_some()
}

/// The shares of a straight move between which it lies in the machine; `None`: nowhere.
fn inside(envelope: &Envelope, motion: &Move) -> Option<(f64, f64)> {
    let (mut start, mut end) = (0.0_f64, 1.0_f64);
    for axis in 0..3 {
        let (from, way) = (motion.from[axis], motion.to[axis] - motion.from[axis]);
        if way == 0.0 {
            if is_beyond(envelope, axis, from) {
                return None;
            }
            continue;
        }
        let (a, b) = ((envelope.min[axis] - from) / way, (envelope.max[axis] - from) / way);
        start = start.max(a.min(b));
        end = end.min(a.max(b));
    }
    (start < end).then_some((start, end))
}

/// Watches a program and draws what it does.
struct Painter<'a> {
    survey: &'a Survey,
    scheme: &'a Scheme,
    envelope: Option<Envelope>,
    pens: Vec<Pen>,
    /// The feature in work: its class, and whether it lies flat.
    feature: u8,
    flat: bool,
    tool: u8,
    full_power: f64,
    /// Whether the last work was in the layers drawn.
    in_layers: bool,
    chords: u64,
}

impl Painter<'_> {
    fn work(&mut self, motion: &Move, state: &State, is_outside: bool) {
        if let Some((low, high)) = self.survey.heights_mm {
            self.in_layers = motion.to[2] >= low - SAME_HEIGHT_MM && motion.to[2] <= high + SAME_HEIGHT_MM;
            if !self.in_layers {
                return;
            }
        }
        let (class, level, key) = self.look(motion, state, is_outside);
        let fine = self.chords < CHORDS_TOTAL_MAX;
        let plain = !self.scheme.has_scale();
        let mut chords = 0;
        for pen in &mut self.pens {
            let aslant = pen.view.from == From::Aslant;
            let view = pen.view;
            let level = match (plain, aslant) {
                (true, true) => LEVELS - 1,
                _ => level,
            };
            let light = |way: [f64; 2]| {
                let brightest_wall = f64::from(LIGHTS - 2);
                if aslant && !self.flat { (view.light(way) * brightest_wall).round() as u8 } else { LIGHTS - 1 }
            };
            chords += draw(&view, &mut pen.work, motion, |way| Ink::new(class, level, light(way)), key, fine);
        }
        self.chords += chords;
    }

    /// Class, level and key of a move that works.
    fn look(&self, motion: &Move, state: &State, is_outside: bool) -> (u8, u8, u16) {
        let scheme = self.scheme;
        let work = &self.survey.work;
        let share =
            |at: f64, low: f64, high: f64| if high > low { ((at - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
        let height = share(motion.to[2], work.min[2], work.max[2]);
        let to_key = |share: f64| 1 + (share * 65_533.0) as u16;
        let power = (state.modal.speed / self.full_power).clamp(0.0, 1.0);
        let key = match scheme.works {
            Work::Extruding => to_key(height),
            Work::Burning => to_key(power),
            Work::Cutting | Work::Plotting => to_key(1.0 - height),
        };
        let (low, high) = heights(self.survey);
        let on_scale = share(motion.to[2], low, high);
        let level = match (scheme.works, scheme.by) {
            (Work::Burning, by) if by != By::Layer => (power * 15.0).round() / 15.0,
            (_, By::Layer) => on_scale,
            (Work::Extruding, _) => (on_scale * (SHADES - 1.0)).round() / (SHADES - 1.0),
            _ => 1.0,
        };
        let level = (level * f64::from(LEVELS - 1)).round() as u8;
        let class = if is_outside {
            Ink::OUTSIDE
        } else if self.is_air(motion) {
            Ink::AIR
        } else {
            match scheme.by {
                By::Feature => self.feature,
                By::Tool => self.tool,
                By::Layer | By::Kind => 0,
            }
        };
        // What cuts air hides nothing.
        (class, level, if class == Ink::AIR { 1 } else { key })
    }

    fn is_air(&self, motion: &Move) -> bool {
        self.survey.air_mm.is_some_and(|air| motion.from[2].min(motion.to[2]) > air - SAME_HEIGHT_MM)
    }

    /// Draws a move that works; what of it leaves the machine in another colour.
    fn work_in_parts(&mut self, motion: &Move, state: &State) {
        let Some(envelope) = self.envelope.filter(|envelope| leaves(envelope, motion)) else {
            self.work(motion, state, false);
            return;
        };
        if let Path::Arc(_) = motion.path {
            self.work(motion, state, true);
            return;
        }
        let (start, end) = inside(&envelope, motion).unwrap_or((1.0, 1.0));
        let at = |share: f64| [0, 1, 2].map(|axis| motion.from[axis] + (motion.to[axis] - motion.from[axis]) * share);
        let ends = [motion.from, at(start), at(end), motion.to];
        for (part, is_outside) in [(0, true), (1, false), (2, true)] {
            if ends[part] != ends[part + 1] {
                self.work(&Move { from: ends[part], to: ends[part + 1], ..*motion }, state, is_outside);
            }
        }
    }

    fn travel(&mut self, motion: &Move, state: &State) {
        if !motion.in_plane() || !self.in_layers || motion.reference {
            return;
        }
        let rapid = self.survey.works != Work::Extruding && is_rapid(motion, state);
        let ink = Ink::new(if rapid { Ink::RAPID } else { Ink::TRAVEL }, 0, LIGHTS - 1);
        let fine = self.chords < CHORDS_TOTAL_MAX;
        for pen in &mut self.pens {
            if let Some(travel) = &mut pen.travel {
                self.chords += draw(&pen.view, travel, motion, |_| ink, 1, fine);
            }
        }
    }
}

impl Watch for Painter<'_> {
    #[inline]
    fn line(&mut self, line: &Line, _: &Block, _: &Statement, _: &State) {
        let Some(name) = analysis::feature_name(line.bytes) else { return };
        let name = String::from_utf8_lossy(name);
        let at = self.scheme.features.iter().position(|feature| *feature == name);
        self.feature = at.map_or(0, |at| (at + 1).min(usize::from(Ink::CLASSES)) as u8);
        let name = name.to_ascii_lowercase();
        self.flat = FLAT.iter().any(|flat| name.contains(flat));
    }

    #[inline]
    fn moved(&mut self, motion: &Move, state: &State) {
        if self.survey.works.is(motion, state) {
            self.work_in_parts(motion, state);
        } else {
            self.travel(motion, state);
        }
    }

    fn event(&mut self, event: Event, _: u64, state: &State) {
        if let Event::Tool(tool) = event {
            if state.family == Family::Printer || self.scheme.by == By::Tool {
                self.tool = tool.min(u32::from(Ink::CLASSES)) as u8;
            }
        }
    }
}
