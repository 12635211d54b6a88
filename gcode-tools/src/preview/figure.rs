//! A picture before it is written: marks and plots in pixels, the same for SVG and PNG.

use super::canvas::{Drawing, Stroke};
use super::palette::{Ink, Rgb, Scheme};

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Something drawn besides the moves.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mark {
    /// A filled rectangle: left, top, width, height.
    Box([f64; 4], Rgb),
    /// A line of a width in pixels, perhaps dashed.
    Line { from: [f64; 2], to: [f64; 2], width: f64, colour: Rgb, dashed: bool },
    /// A text on its base line.
    Text { at: [f64; 2], text: String, size: f64, anchor: Anchor, colour: Rgb, bold: bool },
}

/// The moves in one panel.
#[derive(Debug)]
pub(super) struct Plot {
    /// Left, top, width, height.
    pub(super) place: [f64; 4],
    pub(super) work: Drawing,
    pub(super) travel: Option<Drawing>,
    /// What lies under the moves: the machine's bed, grids.
    pub(super) ground: Vec<Mark>,
}

/// A picture.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) size: [f64; 2],
    pub(super) scheme: Scheme,
    pub(super) plots: Vec<Plot>,
    pub(super) marks: Vec<Mark>,
    pub(super) title: String,
    pub(super) leaves_machine: Option<bool>,
}

impl Figure {
    pub(super) fn size_px(&self) -> [u32; 2] {
        self.size.map(|size| size.ceil() as u32)
    }
}

/// What is drawn in one go: strokes of one ink, and whether they are dots.
pub(super) struct Run<'a> {
    pub(super) ink: Ink,
    pub(super) dots: bool,
    pub(super) strokes: &'a [Stroke],
}

/// Strokes in runs of one colour, in order.
pub(super) fn runs<'a>(strokes: &'a [Stroke], scheme: &'a Scheme) -> impl Iterator<Item = Run<'a>> {
    let is_dot = |stroke: &Stroke| stroke.shape == super::canvas::Shape::Dot;
    let colour = move |stroke: &Stroke| (is_dot(stroke), stroke.ink.class() >= Ink::RAPID, scheme.colour(stroke.ink));
    strokes
        .chunk_by(move |a, b| a.ink == b.ink && is_dot(a) == is_dot(b) || colour(a) == colour(b))
        .filter_map(move |strokes| strokes.first().map(|first| Run { ink: first.ink, dots: is_dot(first), strokes }))
}
