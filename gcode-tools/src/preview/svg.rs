//! A picture as SVG: short relative coordinates, one path for each run of a colour, no scripts, no styles, no references.

use super::SVG_BYTES_MAX;
use super::canvas::{BULGE_UNITS, Drawing, Shape, Stroke, UNITS};
use super::figure::{Anchor, Figure, Mark, Plot, runs};
use super::palette::{Ink, PAPER, Rgb, Scheme};
use std::fmt::Write as _;

/// Writes a picture. Where it has more strokes than fit, those that show in the fewest pixels are left out.
pub(super) fn write(figure: &Figure) -> String {
    let mut least = 1;
    loop {
        let text = with_strokes_of(figure, least);
        // A stroke that must show in more pixels than any panel has is none: the loop ends.
        if text.len() <= SVG_BYTES_MAX || least > 1 << 24 {
            return text;
        }
        least += 1 + least / 4;
    }
}

fn with_strokes_of(figure: &Figure, least: u32) -> String {
    let [width, height] = figure.size_px();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>\n",
        escaped(&figure.title),
        hex(PAPER)
    );
    for (index, plot) in figure.plots.iter().enumerate() {
        write_plot(&mut text, index, plot, &figure.scheme, least);
    }
    text.push_str("<g class=\"legend\" font-family=\"system-ui,Helvetica,Arial,sans-serif\">\n");
    for mark in &figure.marks {
        write_mark(&mut text, mark);
    }
    text.push_str("</g>\n</svg>\n");
    text
}

fn write_plot(text: &mut String, index: usize, plot: &Plot, scheme: &Scheme, least: u32) {
    let [left, top, width, height] = plot.place;
    // A nested picture cuts off what lies outside of it.
    let _ = writeln!(
        text,
        "<svg class=\"panel\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
         viewBox=\"0 0 {width:.1} {height:.1}\">",
    );
    text.push_str("<g class=\"machine\">\n");
    for mark in &plot.ground {
        write_mark(text, mark);
    }
    text.push_str("</g>\n");
    write_strokes(text, "work", index, &plot.work, scheme, least);
    if let Some(travel) = &plot.travel {
        write_strokes(text, "travel", index, travel, scheme, least);
    }
    text.push_str("</svg>\n");
}

fn write_strokes(text: &mut String, name: &str, index: usize, drawing: &Drawing, scheme: &Scheme, least: u32) {
    let width = drawing.line_px * UNITS;
    let _ = writeln!(
        text,
        "<g class=\"{name}\" id=\"{name}-{index}\" transform=\"scale({})\" fill=\"none\" stroke-width=\"{width:.1}\" \
         stroke-linecap=\"round\" stroke-linejoin=\"round\"{}>",
        1.0 / UNITS,
        if name == "travel" { " stroke-opacity=\".7\"" } else { "" }
    );
    for run in runs(&drawing.visible(least), scheme) {
        let _ = write!(text, "<path stroke=\"{}\"", hex(scheme.colour(run.ink)));
        if run.dots {
            let _ = write!(text, " stroke-width=\"{:.1}\"", drawing.dot_px * UNITS);
        }
        if run.ink.class() == Ink::RAPID {
            text.push_str(" class=\"rapid\" stroke-dasharray=\"14 12\" stroke-linecap=\"butt\"");
        }
        text.push_str(" d=\"");
        write_path(text, run.strokes);
        text.push_str("\"/>\n");
    }
    text.push_str("</g>\n");
}

/// Strokes as path data: relative, each command's letter once.
fn write_path(text: &mut String, strokes: &[Stroke]) {
    let mut pen: Option<[i16; 2]> = None;
    let mut last = ' ';
    for stroke in strokes {
        let [x, y] = stroke.from;
        match pen {
            Some(at) if at == stroke.from => {}
            Some([px, py]) => command(text, &mut last, 'm', &[x - px, y - py]),
            None => command(text, &mut last, 'M', &[x, y]),
        }
        let [dx, dy] = [stroke.to[0] - x, stroke.to[1] - y];
        match stroke.shape {
            Shape::Arc(bulge) if bulge != 0 && (dx, dy) != (0, 0) => {
                let tangent = f32::from(bulge) / BULGE_UNITS;
                let radius = f32::from(dx).hypot(f32::from(dy)) * (1.0 + tangent * tangent) / (4.0 * tangent.abs());
                let _ = write!(text, "a{radius:.1} {radius:.1} 0 0 {} {dx} {dy}", u8::from(bulge > 0));
                last = 'a';
            }
            _ if dy == 0 => command(text, &mut last, 'h', &[dx]),
            _ if dx == 0 => command(text, &mut last, 'v', &[dy]),
            _ => command(text, &mut last, 'l', &[dx, dy]),
        }
        pen = Some(stroke.to);
    }
}

/// One command. A letter that would be said twice is left out, and so is a blank before a minus.
fn command(text: &mut String, last: &mut char, letter: char, numbers: &[i16]) {
    // What follows a move without a letter is a line.
    let same = *last == letter && letter != 'm' || *last == 'm' && letter == 'l';
    if !same {
        text.push(letter);
    }
    for (at, number) in numbers.iter().enumerate() {
        if *number >= 0 && (at > 0 || same) {
            text.push(' ');
        }
        let _ = write!(text, "{number}");
    }
    *last = letter;
}

fn write_mark(text: &mut String, mark: &Mark) {
    match mark {
        Mark::Box([left, top, width, height], colour) => {
            let _ = writeln!(
                text,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
                hex(*colour)
            );
        }
        Mark::Line { from, to, width, colour, dashed } => {
            let _ = writeln!(
                text,
                "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"{}\" stroke-width=\"{width:.1}\"{}/>",
                from[0],
                from[1],
                to[0],
                to[1],
                hex(*colour),
                if *dashed { " stroke-dasharray=\"4 3\"" } else { "" }
            );
        }
        Mark::Text { at, text: words, size, anchor, colour, bold } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{size:.1}\" text-anchor=\"{anchor}\" fill=\"{}\"{}>{}</text>",
                at[0],
                at[1],
                hex(*colour),
                if *bold { " font-weight=\"600\"" } else { "" },
                escaped(words)
            );
        }
    }
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Text that is text in XML, whatever it was: control characters, which XML does not know, are left out.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter if letter.is_control() || matches!(letter, '\u{FFFE}' | '\u{FFFF}') => {}
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn path_data_are_short_and_relative() {
        let stroke = |from, to, shape| Stroke { from, to, shape, ink: Ink::new(0, 0, 0), key: 0 };
        let mut text = String::new();
        write_path(
            &mut text,
            &[
                stroke([10, 20], [15, 30], Shape::Line),
                stroke([15, 30], [10, 28], Shape::Line),
                stroke([10, 28], [40, 28], Shape::Line),
                stroke([0, 0], [5, 5], Shape::Line),
                stroke([5, 5], [25, 25], Shape::Arc((0.414 * BULGE_UNITS) as i16)),
            ],
        );
        assert_eq!(text, "M10 20l5 10-5-2h30m-40-28 5 5a20.0 20.0 0 0 1 20 20");
    }

    #[test]
    fn hostile_text_is_text() {
        assert_eq!(escaped("<script>&\"'\u{0}\u{1b}é"), "&lt;script&gt;&amp;&quot;&#39;é");
    }
}
