//! A picture as PNG.

use super::canvas::{BULGE_UNITS, Drawing, Shape, Stroke, UNITS, chords};
use super::figure::{Anchor, Figure, Mark, runs};
use super::palette::{Ink, PAPER, Rgb, Scheme};
use embedded_graphics::mono_font::iso_8859_1::{
    FONT_6X10, FONT_7X13, FONT_7X13_BOLD, FONT_9X15, FONT_9X15_BOLD, FONT_10X20,
};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{DrawTarget, Drawable, OriginDimensions, Pixel, Point, RgbColor, Size};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use std::io::Write as _;
use tiny_skia::{Color, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Rect, Shader, StrokeDash, Transform};

/// Opacity of travel, of 255.
const TRAVEL_OPACITY: u8 = 178;

/// Paints a picture.
pub(super) fn write(figure: &Figure) -> Vec<u8> {
    let [width, height] = figure.size_px();
    let Some(mut paper) = Pixmap::new(width, height) else { return Vec::new() };
    paper.fill(Color::from_rgba8(PAPER[0], PAPER[1], PAPER[2], 255));
    for plot in &figure.plots {
        // A panel is painted on its own sheet, so that what lies outside of it is cut off.
        let [left, top, width, height] = plot.place;
        let Some(mut sheet) = Pixmap::new(width.ceil() as u32, height.ceil() as u32) else { continue };
        sheet.fill(Color::from_rgba8(PAPER[0], PAPER[1], PAPER[2], 255));
        for mark in &plot.ground {
            paint_mark(&mut sheet, mark);
        }
        paint_strokes(&mut sheet, &plot.work, &figure.scheme, 255);
        if let Some(travel) = &plot.travel {
            paint_strokes(&mut sheet, travel, &figure.scheme, TRAVEL_OPACITY);
        }
        let (left, top) = (left.round() as i32, top.round() as i32);
        paper.draw_pixmap(left, top, sheet.as_ref(), &tiny_skia::PixmapPaint::default(), Transform::identity(), None);
    }
    for mark in &figure.marks {
        paint_mark(&mut paper, mark);
    }
    encoded(&paper)
}

/// The pixels as PNG, row by row, without the opacity that is full everywhere.
fn encoded(paper: &Pixmap) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = encode(paper, &mut bytes);
    // Into memory and with the right number of bytes nothing can fail.
    if written.is_err() { Vec::new() } else { bytes }
}

fn encode(paper: &Pixmap, bytes: &mut Vec<u8>) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(bytes, paper.width(), paper.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    let mut rows = writer.stream_writer()?;
    let mut line = Vec::with_capacity(paper.width() as usize * 3);
    for row in paper.pixels().chunks_exact(paper.width() as usize) {
        line.clear();
        line.extend(row.iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]));
        rows.write_all(&line)?;
    }
    rows.finish()?;
    writer.finish()
}

fn paint_of([red, green, blue]: Rgb, opacity: u8) -> Paint<'static> {
    Paint { shader: Shader::SolidColor(Color::from_rgba8(red, green, blue, opacity)), ..Paint::default() }
}

fn paint_strokes(sheet: &mut Pixmap, drawing: &Drawing, scheme: &Scheme, opacity: u8) {
    let pixels = |point: [i16; 2]| point.map(|at| f32::from(at) / UNITS);
    for run in runs(&drawing.visible(1), scheme) {
        let mut path = PathBuilder::new();
        let mut pen: Option<[i16; 2]> = None;
        for Stroke { from, to, shape, .. } in run.strokes {
            let ([x, y], [to_x, to_y]) = (pixels(*from), pixels(*to));
            if pen != Some(*from) {
                path.move_to(x, y);
            }
            match shape {
                Shape::Arc(bulge) => {
                    for [x, y] in chords([x, y], [to_x, to_y], f32::from(*bulge) / BULGE_UNITS) {
                        path.line_to(x, y);
                    }
                }
                // A line of no length would not be painted.
                _ if from == to => path.line_to(x + 0.01, y),
                _ => path.line_to(to_x, to_y),
            }
            pen = Some(*to);
        }
        let rapid = run.ink.class() == Ink::RAPID;
        let stroke = tiny_skia::Stroke {
            width: if run.dots { drawing.dot_px } else { drawing.line_px },
            line_cap: if rapid { LineCap::Butt } else { LineCap::Round },
            line_join: LineJoin::Round,
            dash: if rapid { StrokeDash::new(vec![3.5, 3.0], 0.0) } else { None },
            ..tiny_skia::Stroke::default()
        };
        if let Some(path) = path.finish() {
            let paint = paint_of(scheme.colour(run.ink), opacity);
            sheet.stroke_path(&path, &paint, &stroke, Transform::identity(), None);
        }
    }
}

fn paint_mark(sheet: &mut Pixmap, mark: &Mark) {
    match mark {
        Mark::Box([left, top, width, height], colour) => {
            if let Some(rect) = Rect::from_xywh(*left as f32, *top as f32, *width as f32, *height as f32) {
                sheet.fill_rect(rect, &paint_of(*colour, 255), Transform::identity(), None);
            }
        }
        Mark::Line { from, to, width, colour, dashed } => {
            let mut path = PathBuilder::new();
            path.move_to(from[0] as f32, from[1] as f32);
            path.line_to(to[0] as f32, to[1] as f32);
            let dash = if *dashed { StrokeDash::new(vec![4.0, 3.0], 0.0) } else { None };
            let stroke = tiny_skia::Stroke { width: *width as f32, dash, ..tiny_skia::Stroke::default() };
            if let Some(path) = path.finish() {
                sheet.stroke_path(&path, &paint_of(*colour, 255), &stroke, Transform::identity(), None);
            }
        }
        Mark::Text { at, text, size, anchor, colour, bold } => {
            let style = MonoTextStyle::new(font(*size, *bold), Rgb888::new(colour[0], colour[1], colour[2]));
            let alignment = match anchor {
                Anchor::Start => Alignment::Left,
                Anchor::Middle => Alignment::Center,
                Anchor::End => Alignment::Right,
            };
            let place = TextStyleBuilder::new().alignment(alignment).baseline(Baseline::Alphabetic).build();
            let line: String = text.replace('…', "...").chars().filter(|letter| !letter.is_control()).collect();
            let at = Point::new(at[0].round() as i32, at[1].round() as i32);
            // Painting on a sheet cannot fail.
            let _ = Text::with_text_style(&line, at, style, place).draw(&mut Letters(sheet));
        }
    }
}

/// The bitmap letters that come nearest to a size in pixels.
fn font(size: f64, bold: bool) -> &'static MonoFont<'static> {
    match (size, bold) {
        (..10.5, _) => &FONT_6X10,
        (..14.5, false) => &FONT_7X13,
        (..14.5, true) => &FONT_7X13_BOLD,
        (..18.5, false) => &FONT_9X15,
        (..18.5, true) => &FONT_9X15_BOLD,
        _ => &FONT_10X20,
    }
}

/// A sheet that letters are set on, pixel by pixel.
struct Letters<'a>(&'a mut Pixmap);

impl OriginDimensions for Letters<'_> {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Letters<'_> {
    type Color = Rgb888;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        let (width, height) = (self.0.width(), self.0.height());
        for Pixel(Point { x, y }, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { continue };
            if x < width && y < height {
                let place = (y * width + x) as usize;
                let colour = tiny_skia::ColorU8::from_rgba(colour.r(), colour.g(), colour.b(), 255).premultiply();
                if let Some(pixel) = self.0.pixels_mut().get_mut(place) {
                    *pixel = colour;
                }
            }
        }
        Ok(())
    }
}
