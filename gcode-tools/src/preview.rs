//! Pictures of what a program does, as SVG or PNG: is it the right part, where does it lie, does it fit?
//!
//! The moves are the interpreter's, the same that analysis and preflight see. A program is read twice, once for its
//! bounds and once to draw it, each time in constant memory: what is kept of it is bounded by the picture, one stroke
//! for each pixel at most, and what lies hidden below is forgotten (see `preview/canvas.rs`).
//!
//! A print is shown slantwise and from above on its bed, other programs from above. X goes to the right, Y up.

use crate::preflight::{self, Conditions};
use crate::profile::Profile;
use crate::sniff::ReadError;
use std::io::Read;
use std::ops::RangeInclusive;
use survey::Work;

mod canvas;
mod figure;
mod frame;
mod paint;
mod palette;
mod png;
mod survey;
mod svg;
mod trace;
mod view;

/// Narrowest and widest picture, in pixels.
pub const WIDTH_PX: RangeInclusive<u32> = 320..=4000;

/// Largest SVG made, in bytes. Where a picture has more to show, what shows least is left out.
pub const SVG_BYTES_MAX: usize = 480_000;

/// What moves are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// What the slicer calls the parts of a print: `;TYPE:`.
    Feature,
    /// Height or depth.
    Layer,
    /// Work or travel; of a laser's work the power.
    Kind,
    /// The tool in use.
    Tool,
}

/// What is drawn, and how.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The machine; its travel is drawn, and the work in its place. Absent: the work alone.
    pub profile: Option<&'a Profile>,
    /// What is known of the machine's present state.
    pub conditions: Conditions,
    /// Layers drawn, counted from 1, the lowest. Absent: all.
    pub layers: Option<RangeInclusive<u32>>,
    /// What moves are told apart by. Absent: a print by its tools if it has several, else by features if it names
    /// them; a mill's program by depth, a laser's by power.
    pub by: Option<By>,
    /// Width of the picture in pixels; brought into [`WIDTH_PX`].
    pub width_px: u32,
    /// Whether travel is drawn. Absent: a mill's only, whose rapids one wants to see.
    pub travel: Option<bool>,
    /// What stands above the picture: the file's name. Any text is taken for what it is.
    pub title: &'a str,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            profile: None,
            conditions: Conditions::default(),
            layers: None,
            by: None,
            width_px: 960,
            travel: None,
            title: "",
        }
    }
}

impl Options<'_> {
    /// Whether the work's place in the machine is known, or may be assumed.
    fn is_placed(&self) -> bool {
        let placed =
            |profile: &Profile| profile.envelope_mm.is_some() && preflight::is_placed(profile, &self.conditions);
        self.profile.is_some_and(placed)
    }
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreviewError {
    /// The file cannot be read as a program, or holds no command.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// It can be read, and there is nothing to draw.
    #[error("{message}")]
    Refused {
        /// Stable code: `preview.no_work`, `preview.too_large` or `preview.no_layer`.
        code: &'static str,
        /// What it is and what to do.
        message: String,
    },
}

impl PreviewError {
    fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(error) => error.code,
            Self::Refused { code, .. } => code,
        }
    }
}

/// A picture, ready to be written.
#[derive(Debug)]
pub struct Picture {
    figure: figure::Figure,
}

impl Picture {
    /// Width and height in pixels.
    pub fn size_px(&self) -> [u32; 2] {
        self.figure.size_px()
    }

    /// What the picture was told apart by.
    pub fn by(&self) -> By {
        self.figure.scheme.by
    }

    /// Whether a move leaves the machine's travel. `None`: the machine or the work's place in it is unknown.
    pub fn leaves_machine(&self) -> Option<bool> {
        self.figure.leaves_machine
    }

    /// As SVG, at most [`SVG_BYTES_MAX`] bytes: no scripts, no styles, nothing fetched from elsewhere.
    pub fn svg(&self) -> String {
        svg::write(&self.figure)
    }

    /// As PNG. Its letters are those of Latin-1; any other is a question mark.
    pub fn png(&self) -> Vec<u8> {
        png::write(&self.figure)
    }
}

/// Draws a program. `open` gives it from its beginning, and is called twice.
///
/// ```
/// use gcode_tools::preview::{Options, draw};
/// let program = b"G21 G90\nM3 S1000\nG0 X10 Y10\nG1 Z-1 F200\nG1 X40 F600\nG2 X40 Y30 J10\nG0 Z5\nM30\n";
/// let picture = draw(|| Ok(&program[..]), &Options { title: "slot.nc", ..Options::default() }).unwrap();
/// assert!(picture.svg().starts_with("<svg"));
/// assert!(picture.png().starts_with(b"\x89PNG"));
/// ```
///
/// # Errors
/// The program cannot be read, or there is nothing to draw.
pub fn draw<R: Read>(
    mut open: impl FnMut() -> Result<R, ReadError>,
    options: &Options,
) -> Result<Picture, PreviewError> {
    let survey = survey::survey(open()?, options)?;
    let figure = paint::paint(open()?, &survey, options)?;
    Ok(Picture { figure })
}

/// What tells a program's moves apart best.
fn best(survey: &survey::Survey) -> By {
    match survey.works {
        Work::Extruding if survey.info.filament_mm.iter().filter(|length| **length > 0.0).count() > 1 => By::Tool,
        Work::Extruding if !survey.info.features.is_empty() => By::Feature,
        Work::Burning => By::Kind,
        // With one depth there is nothing to tell apart by it.
        Work::Cutting | Work::Plotting if survey.cuts_mm.1 - survey.cuts_mm.0 < 0.005 => By::Kind,
        Work::Extruding | Work::Cutting | Work::Plotting => By::Layer,
    }
}
