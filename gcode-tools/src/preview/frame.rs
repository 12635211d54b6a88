//! What stands around the moves: panels, the machine's travel, axes, legend, and what is said in words.

use super::figure::{Anchor, Mark};
use super::palette::{
    ALARM, BEYOND, EDGE, GRID, Ink, LEVELS, OUTSIDE, PAPER, QUIET, RAPID, Rgb, Scheme, TEXT, TRAVEL, WELL,
};
use super::survey::{Survey, Work};
use super::view::{From, View};
use super::{By, Options};
use crate::analysis::Bounds;
use crate::profile::Envelope;

/// Width of a picture whose text has its plain size, in pixels.
const PLAIN_WIDTH_PX: f64 = 960.0;

/// Longest title or name shown, in characters.
const NAME_MAX: usize = 60;

/// Features named in a legend. Slicers have some fifteen.
const NAMED_MAX: usize = 20;

/// A panel before anything is drawn in it.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) view: View,
    /// Left, top, width, height.
    pub(super) place: [f64; 4],
    pub(super) ground: Vec<Mark>,
}

/// A picture without its moves.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) size: [f64; 2],
    pub(super) panels: Vec<Panel>,
    pub(super) marks: Vec<Mark>,
}

/// What a panel shows.
struct Wanted {
    from: From,
    bounds: Bounds,
    caption: String,
    envelope: Option<Envelope>,
    /// Share of the picture's width.
    share: f64,
}

/// Lays a picture out.
pub(super) fn frame(survey: &Survey, options: &Options, scheme: &Scheme) -> Frame {
    let width = f64::from(options.width_px.clamp(*super::WIDTH_PX.start(), *super::WIDTH_PX.end()));
    let mut pen = Writer { unit: (width / PLAIN_WIDTH_PX).clamp(0.8, 2.2), width, marks: Vec::new() };
    let top = pen.heading(survey, options);
    let wanted = wanted(survey, options);
    let (panels, bottom) = pen.panels(&wanted, top);
    let height = pen.legend(survey, options, scheme, bottom);
    Frame { size: [width, height], panels, marks: pen.marks }
}

/// Which panels a picture has.
fn wanted(survey: &Survey, options: &Options) -> Vec<Wanted> {
    let envelope = options.profile.and_then(|profile| profile.envelope_mm);
    let place = envelope.map(|mut envelope| {
        if !options.is_placed() {
            // Where the work lies is unknown: only its size can be compared. It is shown in the middle.
            for axis in 0..2 {
                let middle = f64::midpoint(survey.work.min[axis], survey.work.max[axis]);
                let half = (envelope.max[axis] - envelope.min[axis]) / 2.0;
                (envelope.min[axis], envelope.max[axis]) = (middle - half, middle + half);
            }
        }
        envelope
    });
    let title = options.profile.map_or("", |profile| profile.title.as_str());
    let on_machine = |share: f64| {
        let mut bounds = survey.work;
        if let Some(place) = place {
            bounds.add([place.min[0], place.min[1], bounds.min[2]]);
            bounds.add([place.max[0], place.max[1], bounds.min[2]]);
        }
        let caption = match (place, options.is_placed()) {
            (None, _) => "from above".to_owned(),
            (Some(_), true) => format!("on the machine: {}", shortened(title, 40)),
            (Some(_), false) => format!("{}; place unknown, size to scale", shortened(title, 28)),
        };
        Wanted { from: From::Above, bounds, caption, envelope: place, share }
    };
    let close = |from: From, share: f64, caption: &str| Wanted {
        from,
        bounds: survey.focus,
        caption: caption.to_owned(),
        envelope: place.filter(|_| options.is_placed()),
        share,
    };
    match (survey.works, &options.layers, place) {
        (Work::Extruding, None, _) => vec![close(From::Aslant, 0.5, "the part"), on_machine(0.5)],
        (_, _, Some(_)) => vec![close(From::Above, 0.6, "the work from above"), on_machine(0.4)],
        (_, _, None) => vec![close(From::Above, 1.0, "from above")],
    }
}

/// Writes marks, in units that grow with the picture.
struct Writer {
    unit: f64,
    width: f64,
    marks: Vec<Mark>,
}

impl Writer {
    fn text(&mut self, at: [f64; 2], text: impl Into<String>, size: f64, anchor: Anchor, colour: Rgb) {
        self.marks.push(Mark::Text { at, text: text.into(), size: size * self.unit, anchor, colour, bold: false });
    }

    /// Title, what the program is, and whether it fits. Gives where the panels begin.
    fn heading(&mut self, survey: &Survey, options: &Options) -> f64 {
        let unit = self.unit;
        let (left, right) = (16.0 * unit, self.width - 16.0 * unit);
        self.marks.push(Mark::Text {
            at: [left, 26.0 * unit],
            text: shortened(options.title, NAME_MAX),
            size: 17.0 * unit,
            anchor: Anchor::Start,
            colour: TEXT,
            bold: true,
        });
        self.text([left, 46.0 * unit], summary(survey, options), 13.0, Anchor::Start, QUIET);
        if let Some((text, well)) = verdict(survey, options) {
            // Beside the title where both fit, else below.
            let beside = 9.2 * (options.title.chars().count().min(NAME_MAX) + text.chars().count()) as f64;
            let below = beside * unit > self.width - 40.0 * unit;
            let at = if below { [left, 65.0 * unit] } else { [right, 26.0 * unit] };
            let anchor = if below { Anchor::Start } else { Anchor::End };
            self.text(at, text, 13.0, anchor, if well { WELL } else { ALARM });
            return if below { 76.0 } else { 56.0 } * unit;
        }
        56.0 * unit
    }

    /// The panels side by side. Gives where they end.
    fn panels(&mut self, wanted: &[Wanted], top: f64) -> (Vec<Panel>, f64) {
        let unit = self.unit;
        let (outer, gap, caption, figures) = (14.0 * unit, 18.0 * unit, 20.0 * unit, [40.0 * unit, 22.0 * unit]);
        let whole = self.width - 2.0 * outer - gap * (wanted.len() - 1) as f64;
        let room = |panel: &Wanted| whole * panel.share - if panel.from == From::Above { figures[0] } else { 0.0 };
        let needed = wanted.iter().map(|panel| {
            let [across, along] = View::seen_mm(panel.from, &panel.bounds);
            room(panel) * along / across
        });
        let height =
            needed.fold(0.0, f64::max).clamp(self.width * 0.2, self.width * if wanted.len() > 1 { 0.44 } else { 0.7 });
        let mut panels = Vec::new();
        let mut left = outer;
        for panel in wanted {
            let wide = whole * panel.share;
            let indent = wide - room(panel);
            let place = [left + indent, top + caption, wide - indent, height].map(f64::round);
            let view = View::fitted(panel.from, &panel.bounds, [place[2], place[3]], 12.0 * unit);
            self.text([place[0], top + caption * 0.62], panel.caption.clone(), 12.0, Anchor::Start, QUIET);
            let ground = match panel.from {
                From::Above => self.chart(panel, &view, place),
                From::Aslant => self.stage(panel, &view, place),
            };
            panels.push(Panel { view, place, ground });
            left += wide + gap;
        }
        (panels, top + caption + height + figures[1])
    }

    /// What lies under a view from above: the machine's travel, a grid, figures along the edges.
    fn chart(&mut self, panel: &Wanted, view: &View, place: [f64; 4]) -> Vec<Mark> {
        let [left, top, width, height] = place;
        let unit = self.unit;
        let mut ground = Vec::new();
        let corners = panel.envelope.map(|envelope| {
            let low = view.point([envelope.min[0], envelope.max[1], 0.0]).map(f64::from);
            let high = view.point([envelope.max[0], envelope.min[1], 0.0]).map(f64::from);
            (low, high)
        });
        if let Some((low, high)) = corners {
            ground.push(Mark::Box([0.0, 0.0, width, height], BEYOND));
            let (from, to) = (low.map(|at| at.max(0.0)), [high[0].min(width), high[1].min(height)]);
            if from[0] < to[0] && from[1] < to[1] {
                ground.push(Mark::Box([from[0], from[1], to[0] - from[0], to[1] - from[1]], PAPER));
            }
        }
        for axis in 0..2 {
            let length = [width, height][axis];
            let step = step((length / view.scale) / (length / (58.0 * unit)));
            let ends = [view.coordinate(axis, 0.0), view.coordinate(axis, length)];
            let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            for index in (low / step).ceil() as i64..=(high / step).floor() as i64 {
                let at = index as f64 * step;
                let figure = figure(at, step);
                if axis == 0 {
                    let x = f64::from(view.point([at, 0.0, 0.0])[0]);
                    ground.push(line([x, 0.0], [x, height], 1.0, if index == 0 { QUIET } else { GRID }));
                    self.text([left + x, top + height + 13.0 * unit], figure, 11.0, Anchor::Middle, QUIET);
                } else {
                    let y = f64::from(view.point([0.0, at, 0.0])[1]);
                    ground.push(line([0.0, y], [width, y], 1.0, if index == 0 { QUIET } else { GRID }));
                    self.text([left - 5.0 * unit, top + y + 4.0 * unit], figure, 11.0, Anchor::End, QUIET);
                }
            }
        }
        if let Some((low, high)) = corners {
            outline(&mut ground, low, high, EDGE, 1.5 * unit);
        }
        outline(&mut self.marks, [left, top], [left + width, top + height], GRID, 1.0);
        ground
    }

    /// What lies under a slanted view: a grid on the bed and the size of the part.
    fn stage(&mut self, panel: &Wanted, view: &View, place: [f64; 4]) -> Vec<Mark> {
        let bounds = &panel.bounds;
        let size = [0, 1, 2].map(|axis| bounds.max[axis] - bounds.min[axis]);
        let step = step(size[0].max(size[1]) / 7.0);
        let mut ground = Vec::new();
        let low = [0, 1].map(|axis| (bounds.min[axis] / step).floor() as i64 - 1);
        let high = [0, 1].map(|axis| (bounds.max[axis] / step).ceil() as i64 + 1);
        let floor = bounds.min[2].min(0.0);
        let at = |x: i64, y: i64| view.point([x as f64 * step, y as f64 * step, floor]).map(f64::from);
        for x in low[0]..=high[0] {
            ground.push(line(at(x, low[1]), at(x, high[1]), 1.0, GRID));
        }
        for y in low[1]..=high[1] {
            ground.push(line(at(low[0], y), at(high[0], y), 1.0, GRID));
        }
        let [left, top, width, height] = place;
        outline(&mut self.marks, [left, top], [left + width, top + height], GRID, 1.0);
        self.text(
            [left, top + height + 13.0 * self.unit],
            format!("grid {} mm; X to the right, Y away, Z up", figure(step, step)),
            11.0,
            Anchor::Start,
            QUIET,
        );
        ground
    }

    /// What the colours mean. Gives the picture's height.
    fn legend(&mut self, survey: &Survey, options: &Options, scheme: &Scheme, top: f64) -> f64 {
        let unit = self.unit;
        let (left, right) = (16.0 * unit, self.width - 16.0 * unit);
        let (mut x, mut y) = (left, top + 16.0 * unit);
        for item in items(survey, options, scheme) {
            let width = item.width() * unit;
            if x + width > right && x > left {
                (x, y) = (left, y + 19.0 * unit);
            }
            self.item(&item, scheme, [x, y]);
            x += width + 18.0 * unit;
        }
        y + 14.0 * unit
    }

    fn item(&mut self, item: &Item, scheme: &Scheme, [x, y]: [f64; 2]) {
        let unit = self.unit;
        match item {
            Item::Plain(colour, name) => {
                self.marks.push(Mark::Box([x, y - 9.0 * unit, 13.0 * unit, 10.0 * unit], *colour));
                self.text([x + 18.0 * unit, y], name.clone(), 12.0, Anchor::Start, TEXT);
            }
            Item::Line(colour, dashed, name) => {
                let y_line = y - 4.0 * unit;
                self.marks.push(Mark::Line {
                    from: [x, y_line],
                    to: [x + 22.0 * unit, y_line],
                    width: 1.6 * unit,
                    colour: *colour,
                    dashed: *dashed,
                });
                self.text([x + 28.0 * unit, y], name.clone(), 12.0, Anchor::Start, TEXT);
            }
            Item::Scale(low, high) => {
                let low_px = 7.0 * low.chars().count() as f64 * unit;
                self.text([x + low_px, y], low.clone(), 12.0, Anchor::End, TEXT);
                let (bar, steps) = (120.0 * unit, f64::from(LEVELS));
                for step in 0..LEVELS {
                    let share = f64::from(step) / (steps - 1.0);
                    let at = x + low_px + 6.0 * unit + bar * f64::from(step) / steps;
                    // A little wider than a step, so that no gap shows between two.
                    let cell = [at, y - 9.0 * unit, bar / steps + 0.6, 10.0 * unit];
                    self.marks.push(Mark::Box(cell, scheme.scale(share as f32)));
                }
                self.text([x + low_px + bar + 12.0 * unit, y], high.clone(), 12.0, Anchor::Start, TEXT);
            }
        }
    }
}

/// One entry of a legend.
enum Item {
    Plain(Rgb, String),
    Line(Rgb, bool, String),
    Scale(String, String),
}

impl Item {
    /// Width in plain units, a letter taken for 7 wide.
    fn width(&self) -> f64 {
        let letters = |text: &str| 7.0 * text.chars().count() as f64;
        match self {
            Self::Plain(_, name) => 18.0 + letters(name),
            Self::Line(_, _, name) => 28.0 + letters(name),
            Self::Scale(low, high) => 132.0 + letters(low) + letters(high),
        }
    }
}

/// What the legend names.
fn items(survey: &Survey, options: &Options, scheme: &Scheme) -> Vec<Item> {
    let mut items = Vec::new();
    let info = &survey.info;
    match scheme.by {
        By::Feature => {
            let features = info.features.iter().enumerate().filter(|(_, feature)| feature.length_mm > 0.0);
            for (index, feature) in features.take(NAMED_MAX) {
                items.push(Item::Plain(scheme.class(index as u8 + 1), shortened(&feature.name, 28)));
            }
        }
        By::Tool => {
            let mut tools = info.tools.clone();
            tools.sort_unstable();
            items.extend(tools.into_iter().take(NAMED_MAX).map(|tool| {
                Item::Plain(scheme.class(tool.min(u32::from(Ink::CLASSES)) as u8), format!("tool {tool}"))
            }));
        }
        By::Kind if survey.works != Work::Burning => {
            let work = if survey.works == Work::Extruding { "extruding" } else { "at a feed" };
            items.push(Item::Plain(scheme.class(0), work.to_owned()));
        }
        By::Kind | By::Layer => {}
    }
    if scheme.has_scale() {
        items.push(if scheme.by == By::Layer {
            let (low, high) = super::paint::heights(survey);
            if high - low < 0.005 {
                Item::Plain(scheme.scale(1.0), format!("Z {high:.2} mm"))
            } else {
                Item::Scale(format!("Z {low:.2}"), format!("{high:.2} mm"))
            }
        } else {
            let full = super::paint::full_power(survey, options);
            Item::Scale("S 0".to_owned(), format!("{full:.0}"))
        });
    }
    if survey.air_mm.is_some() {
        items.push(Item::Plain(scheme.class(Ink::AIR), "feed in the air".to_owned()));
    }
    if super::paint::shows_travel(survey, options) {
        match survey.works {
            Work::Extruding => items.push(Item::Line(TRAVEL, false, "travel".to_owned())),
            Work::Burning => items.push(Item::Line(TRAVEL, false, "beam off".to_owned())),
            Work::Cutting | Work::Plotting => {}
        }
        if survey.works != Work::Extruding {
            items.push(Item::Line(RAPID, true, "rapid".to_owned()));
        }
    }
    if survey.outside.is_some() {
        items.push(Item::Plain(OUTSIDE, "outside of the machine".to_owned()));
    }
    items
}

/// What the program is, in a line.
fn summary(survey: &Survey, options: &Options) -> String {
    let info = &survey.info;
    let mut parts = Vec::new();
    if let Some(name) = info.slicer.as_ref().and_then(|slicer| slicer.name.as_deref()) {
        let version = info.slicer.as_ref().and_then(|slicer| slicer.version.as_deref()).unwrap_or_default();
        parts.push(shortened(format!("{name} {version}").trim(), 32));
    }
    let size = [0, 1, 2].map(|axis| survey.focus.max[axis] - survey.focus.min[axis]);
    match survey.works {
        Work::Extruding => {
            parts.push(format!("{:.1} × {:.1} × {:.1} mm", size[0], size[1], survey.focus.max[2].max(size[2])));
            let layers = options.layers.as_ref().filter(|_| survey.heights_mm.is_some());
            parts.push(match layers {
                Some(layers) if layers.start() == layers.end() => {
                    format!("layer {} of {}", layers.start(), info.layers)
                }
                Some(layers) => format!("layers {} to {} of {}", layers.start(), layers.end(), info.layers),
                None => format!("{} layers", info.layers),
            });
        }
        Work::Burning => parts.push(format!("{:.1} × {:.1} mm, {:.0} mm burned", size[0], size[1], info.powered_mm)),
        Work::Cutting | Work::Plotting => {
            let (low, high) = survey.cuts_mm;
            let cuts = if high - low < 0.005 {
                format!("cuts at Z {high:.2} mm")
            } else {
                format!("cuts from Z {low:.2} to {high:.2} mm")
            };
            parts.push(format!("{:.1} × {:.1} mm, {cuts}", size[0], size[1]));
        }
    }
    if let Some(layers) = options.layers.as_ref().filter(|_| survey.works != Work::Extruding) {
        parts.push(format!("layers {} to {}", layers.start(), layers.end()));
    }
    if info.units == "inch" {
        parts.push("written in inches".to_owned());
    }
    parts.join(" · ")
}

/// Whether the work fits the machine, in words.
fn verdict(survey: &Survey, options: &Options) -> Option<(String, bool)> {
    let envelope = options.profile?.envelope_mm?;
    if let Some((line, axis, at)) = survey.outside {
        let name = ["X", "Y", "Z"][axis];
        return Some((format!("Leaves the machine: {name} reaches {at:.1} mm (line {line})"), false));
    }
    if options.is_placed() {
        let known = survey.info.kind == "printer" || options.conditions.work_offset_mm.is_some();
        return Some((
            if known { "Fits the machine" } else { "Fits the machine, offset taken as zero" }.to_owned(),
            true,
        ));
    }
    let too_long =
        |axis: usize| survey.work.max[axis] - survey.work.min[axis] > envelope.max[axis] - envelope.min[axis] + 0.005;
    match (0..3).find(|axis| too_long(*axis)) {
        Some(axis) => Some((format!("Longer in {} than the machine travels", ["X", "Y", "Z"][axis]), false)),
        None => Some(("Fits in size; its place is set at the machine".to_owned(), true)),
    }
}

fn line(from: [f64; 2], to: [f64; 2], width: f64, colour: Rgb) -> Mark {
    Mark::Line { from, to, width, colour, dashed: false }
}

fn outline(marks: &mut Vec<Mark>, low: [f64; 2], high: [f64; 2], colour: Rgb, width: f64) {
    let corners = [low, [high[0], low[1]], high, [low[0], high[1]]];
    for side in 0..4 {
        marks.push(line(corners[side], corners[(side + 1) % 4], width, colour));
    }
}

/// The next round step, 1, 2 or 5 times a power of ten, that is no smaller.
fn step(at_least: f64) -> f64 {
    let at_least = at_least.clamp(1e-3, 1e8);
    let power = 10_f64.powf(at_least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= at_least).unwrap_or(10.0 * power)
}

/// A figure at an axis, with as many decimals as its step needs.
fn figure(at: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 3.0) as usize;
    let text = format!("{at:.decimals$}");
    if text.trim_start_matches('-').chars().all(|digit| matches!(digit, '0' | '.')) { "0".to_owned() } else { text }
}

/// The beginning of a text, with a sign that it goes on.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn steps_are_round_and_figures_short() {
        assert_eq!([0.3, 1.0, 3.0, 7.0, 23.0].map(step), [0.5, 1.0, 5.0, 10.0, 50.0]);
        assert_eq!(
            (figure(-0.0, 0.5), figure(2.5, 0.5), figure(150.0, 50.0)),
            ("0".into(), "2.5".into(), "150".into())
        );
    }

    #[test]
    fn a_long_name_is_shortened_between_letters() {
        assert_eq!(shortened("äöüß", 4), "äöüß");
        assert_eq!(shortened("äöüßx", 4), "äöü…");
    }
}
