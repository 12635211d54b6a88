//! What is drawn in which colour.

use super::By;
use super::survey::Work;

/// A colour: red, green, blue.
pub(super) type Rgb = [u8; 3];

/// What stands on the paper: text and frames.
pub(super) const TEXT: Rgb = [0x1f, 0x29, 0x26];
/// What is said more quietly: captions, figures at axes.
pub(super) const QUIET: Rgb = [0x6a, 0x75, 0x71];
/// Lines of a grid.
pub(super) const GRID: Rgb = [0xe6, 0xea, 0xe8];
/// The picture's paper.
pub(super) const PAPER: Rgb = [0xff, 0xff, 0xff];
/// What lies outside of the machine.
pub(super) const BEYOND: Rgb = [0xee, 0xf1, 0xf0];
/// The edge of the machine's travel.
pub(super) const EDGE: Rgb = [0x4b, 0x57, 0x53];
/// What is said of moves that leave the machine.
pub(super) const ALARM: Rgb = [0xc2, 0x1d, 0x18];
/// Moves that leave the machine: a colour that nothing else has.
pub(super) const OUTSIDE: Rgb = [0xe0, 0x00, 0x8a];
/// What is well.
pub(super) const WELL: Rgb = [0x1b, 0x70, 0x59];
/// Travel at a feed.
pub(super) const TRAVEL: Rgb = [0x8a, 0x97, 0xa6];
/// Rapids.
pub(super) const RAPID: Rgb = [0x2f, 0x9e, 0x6e];
/// Feed moves that cut air.
const AIR: Rgb = [0xb9, 0xc4, 0xc0];
/// Work where nothing tells it apart.
const WORK: Rgb = [0xe0, 0x7b, 0x2a];
/// Cuts where nothing tells them apart.
const CUT: Rgb = [0x2c, 0x6f, 0xb5];

/// Steps of a scale of heights, depths or powers. More cannot be told apart.
pub(super) const LEVELS: u8 = 32;

/// Steps of light. The highest is kept for what lies flat.
pub(super) const LIGHTS: u8 = 8;

/// What a stroke is drawn in: what it is, how high, deep or strong, and how the light falls on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ink(u16);

impl Ink {
    /// Class of moves that leave the machine.
    pub(super) const OUTSIDE: u8 = 255;
    /// Class of feed moves that cut air.
    pub(super) const AIR: u8 = 254;
    /// Class of travel at a feed.
    pub(super) const TRAVEL: u8 = 253;
    /// Class of rapids.
    pub(super) const RAPID: u8 = 252;
    /// Classes of tools or features that are told apart.
    pub(super) const CLASSES: u8 = 250;

    /// An ink of a class; level below [`LEVELS`], light below [`LIGHTS`].
    pub(super) const fn new(class: u8, level: u8, light: u8) -> Self {
        Self((class as u16) << 8 | ((level % LEVELS) as u16) << 3 | (light % LIGHTS) as u16)
    }

    /// What it is: a feature or tool, or one of the named classes.
    pub(super) fn class(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Whether it lies flat, in full light.
    pub(super) fn is_flat(self) -> bool {
        self.light() == LIGHTS - 1
    }

    fn level(self) -> u8 {
        (self.0 >> 3) as u8 % LEVELS
    }

    fn light(self) -> u8 {
        self.0 as u8 % LIGHTS
    }
}

/// What slicers call the parts of a print, in lower case, and their colours: like the slicers' own, so that an eye used to
/// them finds its way. The first that the name contains counts.
const FEATURES: [(&str, Rgb); 24] = [
    ("overhang", [0x3b, 0x4c, 0xc0]),
    ("bridge", [0x4a, 0x7a, 0xc4]),
    ("external", [0xf0, 0x7d, 0x2c]),
    ("outer", [0xf0, 0x7d, 0x2c]),
    ("top ", [0xe8, 0x43, 0x45]),
    ("bottom", [0xa3, 0x4f, 0xc0]),
    ("support", [0x3d, 0xa8, 0x5f]),
    ("gap", [0xcf, 0xcf, 0xc8]),
    ("ironing", [0xf2, 0x8c, 0x8c]),
    ("solid", [0x9a, 0x57, 0xc7]),
    ("skin", [0xe8, 0x43, 0x45]),
    ("sparse", [0xb2, 0x3a, 0x48]),
    ("internal infill", [0xb2, 0x3a, 0x48]),
    ("infill", [0xb2, 0x3a, 0x48]),
    ("fill", [0xb2, 0x3a, 0x48]),
    ("inner", [0xf5, 0xcc, 0x4d]),
    ("perimeter", [0xf5, 0xcc, 0x4d]),
    ("wall", [0xf5, 0xcc, 0x4d]),
    ("tower", [0x9f, 0xd3, 0xb6]),
    ("skirt", [0x14, 0x8f, 0x77]),
    ("brim", [0x14, 0x8f, 0x77]),
    ("raft", [0x14, 0x8f, 0x77]),
    ("custom", [0x5f, 0x9e, 0x8a]),
    ("wipe", [0x5f, 0x9e, 0x8a]),
];

/// Colours of tools, and of features nobody has heard of: told apart by most colour-blind people (Okabe and Ito's).
const ROUND: [Rgb; 8] = [
    [0xe6, 0x9f, 0x00],
    [0x00, 0x72, 0xb2],
    [0x00, 0x9e, 0x73],
    [0xd5, 0x5e, 0x00],
    [0x56, 0xb4, 0xe9],
    [0xcc, 0x79, 0xa7],
    [0xf0, 0xe4, 0x42],
    [0x55, 0x55, 0x55],
];

/// Depths and heights, from low to high: dark blue over green to yellow (the corners of matplotlib's viridis).
const HEIGHTS: [Rgb; 6] = [
    [0x44, 0x15, 0x54],
    [0x41, 0x44, 0x87],
    [0x2a, 0x78, 0x8e],
    [0x22, 0xa8, 0x84],
    [0x7a, 0xd1, 0x51],
    [0xf4, 0xd9, 0x2c],
];

/// Powers of a beam, from weak to full: from singed to black.
const POWERS: [Rgb; 5] =
    [[0xf6, 0xe3, 0xc3], [0xe3, 0xb5, 0x6f], [0xb8, 0x72, 0x33], [0x6e, 0x36, 0x1b], [0x1c, 0x10, 0x0b]];

/// A colour between two.
fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    [0, 1, 2].map(|part| (f32::from(a[part]) + (f32::from(b[part]) - f32::from(a[part])) * share).round() as u8)
}

/// A colour of a scale, at a share from 0 to 1.
fn on_scale(scale: &[Rgb], share: f32) -> Rgb {
    let at = share.clamp(0.0, 1.0) * (scale.len() - 1) as f32;
    let below = (at as usize).min(scale.len() - 2);
    mix(scale[below], scale[below + 1], at - below as f32)
}

/// What colours mean in one picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scheme {
    /// What moves are told apart by.
    pub(super) by: By,
    /// Which moves work.
    pub(super) works: Work,
    /// The features' names, class 1 first.
    pub(super) features: Vec<String>,
}

impl Scheme {
    /// Whether the level of an ink chooses its colour, and not only its shade.
    pub(super) fn has_scale(&self) -> bool {
        self.by == By::Layer || self.works == Work::Burning
    }

    /// The colour of a share of the scale, from 0 to 1.
    pub(super) fn scale(&self, share: f32) -> Rgb {
        if self.works == Work::Burning && self.by != By::Layer {
            on_scale(&POWERS, share)
        } else {
            on_scale(&HEIGHTS, share)
        }
    }

    /// The plain colour of a class.
    pub(super) fn class(&self, class: u8) -> Rgb {
        match class {
            Ink::OUTSIDE => OUTSIDE,
            Ink::AIR => AIR,
            Ink::TRAVEL => TRAVEL,
            Ink::RAPID => RAPID,
            _ => match (self.by, class.checked_sub(1)) {
                (By::Feature, Some(index)) => self.feature(usize::from(index)),
                (By::Feature, None) => [0x9a, 0xa5, 0xa1],
                (By::Tool, _) => ROUND[usize::from(class) % ROUND.len()],
                _ if self.works == Work::Extruding => WORK,
                _ => CUT,
            },
        }
    }

    fn feature(&self, index: usize) -> Rgb {
        let name = self.features.get(index).map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        let name = name.replace(['-', '_'], " ");
        let known = FEATURES.iter().find(|(part, _)| name.contains(part));
        known.map_or(ROUND[index % ROUND.len()], |(_, colour)| *colour)
    }

    /// The colour of an ink.
    pub(super) fn colour(&self, ink: Ink) -> Rgb {
        let share = f32::from(ink.level()) / f32::from(LEVELS - 1);
        if ink.class() >= Ink::RAPID {
            return self.class(ink.class());
        }
        let (plain, shade) = if self.has_scale() {
            (self.scale(share), 1.0)
        } else {
            // What lies deeper is darker.
            (self.class(ink.class()), 0.5 + 0.5 * share)
        };
        let light = f32::from(ink.light()) / f32::from(LIGHTS - 1);
        mix([0x10, 0x14, 0x18], plain, shade * (0.45 + 0.55 * light))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_ink_gives_back_what_it_was_made_of() {
        for (class, level, light) in [(0, 0, 0), (255, 31, 7), (17, 12, 3)] {
            let ink = Ink::new(class, level, light);
            assert_eq!((ink.class(), ink.level(), ink.light()), (class, level, light));
        }
    }

    #[test]
    fn every_slicers_outer_wall_has_one_colour() {
        let names = ["External perimeter", "WALL-OUTER", "Outer wall", "outer perimeter"];
        let features = names.map(str::to_owned).to_vec();
        let scheme = Scheme { by: By::Feature, works: Work::Extruding, features };
        for class in 1..=4 {
            assert_eq!(scheme.class(class), [0xf0, 0x7d, 0x2c], "{}", names[usize::from(class) - 1]);
        }
    }
}
