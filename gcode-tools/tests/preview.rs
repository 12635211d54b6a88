//! Pictures: what must be in them, whatever the bytes are.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

mod common;

use gcode_tools::formats;
use gcode_tools::preview::{By, Options, Picture, PreviewError, SVG_BYTES_MAX, draw};
use gcode_tools::profile::Profile;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::process::Command;

fn drawn(program: &str, options: &Options) -> Result<Picture, PreviewError> {
    draw(|| Ok(program.as_bytes()), options)
}

fn svg(program: &str, options: &Options) -> String {
    drawn(program, options).unwrap().svg()
}

/// The text of a group of a panel.
fn group<'a>(svg: &'a str, id: &str) -> Option<&'a str> {
    let start = svg.find(&format!("id=\"{id}\""))?;
    let end = svg[start..].find("</g>")?;
    Some(&svg[start..start + end])
}

/// The value of an attribute, the first after the start of a text.
fn attribute<'a>(text: &'a str, name: &str) -> &'a str {
    let start = text.find(&format!(" {name}=\"")).unwrap_or_else(|| panic!("no {name} in {text}")) + name.len() + 3;
    text[start..].split('"').next().unwrap()
}

/// One stroke as read from an SVG, in pixels of its panel, and its colour.
#[derive(Debug, Clone, PartialEq)]
struct Stroke {
    from: [f64; 2],
    to: [f64; 2],
    colour: String,
    radius: Option<f64>,
}

/// The numbers behind a command.
fn numbers(text: &str) -> Vec<f64> {
    let spaced = text.replace('-', " -");
    spaced.split_ascii_whitespace().map(|number| number.parse().unwrap_or_else(|_| panic!("{number:?}"))).collect()
}

/// Reads the path data that the writer may write: `M m l h v a`.
fn strokes(group: &str) -> Vec<Stroke> {
    let mut strokes = Vec::new();
    for path in group.split("<path").skip(1) {
        let (colour, data) = (attribute(path, "stroke"), attribute(path, "d"));
        let mut at = [0.0, 0.0];
        let mut go = |at: &mut [f64; 2], way: [f64; 2], radius: Option<f64>| {
            let to = [at[0] + way[0], at[1] + way[1]];
            let pixels = |point: [f64; 2]| point.map(|units| units / 4.0);
            strokes.push(Stroke { from: pixels(*at), to: pixels(to), colour: colour.to_owned(), radius });
            *at = to;
        };
        let starts: Vec<usize> =
            data.match_indices(|letter: char| letter.is_ascii_alphabetic()).map(|(at, _)| at).collect();
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(data.len());
            let values = numbers(&data[start + 1..end]);
            match &data[*start..=*start] {
                "M" => at = [values[0], values[1]],
                "m" => {
                    at = [at[0] + values[0], at[1] + values[1]];
                    values[2..].chunks_exact(2).for_each(|way| go(&mut at, [way[0], way[1]], None));
                }
                "l" => values.chunks_exact(2).for_each(|way| go(&mut at, [way[0], way[1]], None)),
                "h" => values.iter().for_each(|way| go(&mut at, [*way, 0.0], None)),
                "v" => values.iter().for_each(|way| go(&mut at, [0.0, *way], None)),
                "a" => go(&mut at, [values[5], values[6]], Some(values[0] / 4.0)),
                other => panic!("{other} is no command of ours"),
            }
        }
    }
    strokes
}

fn work(svg: &str) -> Vec<Stroke> {
    strokes(group(svg, "work-0").unwrap())
}

/// Left, top, width, height of the first panel.
fn panel(svg: &str) -> [f64; 4] {
    let panel = &svg[svg.find("class=\"panel\"").unwrap()..];
    ["x", "y", "width", "height"].map(|name| attribute(panel, name).parse().unwrap())
}

/// Width, height and RGB pixels.
fn pixels(png: &[u8]) -> (usize, usize, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    let pixels = bytes.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    (info.width as usize, info.height as usize, pixels)
}

const SQUARE: &str =
    "G21 G90\nM3 S1000\nG0 Z5\nG0 X10 Y10\nG1 Z-1 F200\nG1 X60 F600\nG1 Y40\nG1 X10\nG1 Y10\nG0 Z5\nG0 X0 Y0\nM30\n";

#[test]
fn strokes_of_real_programs_lie_inside_and_show_the_box_that_analysis_gives() {
    for file in common::files(&common::data().join("good")) {
        let open = || formats::open(std::fs::File::open(&file).unwrap());
        let svg = draw(open, &Options { travel: Some(true), ..Options::default() }).unwrap().svg();
        assert!(svg.len() <= SVG_BYTES_MAX, "{}", file.display());
        let [_, _, width, height] = panel(&svg);
        let strokes = work(&svg);
        assert!(strokes.len() > 20, "{}: {}", file.display(), strokes.len());
        for [x, y] in strokes.iter().flat_map(|stroke| [stroke.from, stroke.to]) {
            assert!(
                (-9.0..width + 9.0).contains(&x) && (-9.0..height + 9.0).contains(&y),
                "{}: {x} {y}",
                file.display()
            );
        }
        let info = gcode_tools::analysis::analyse(open().unwrap(), None).unwrap();
        if info.kind != "printer" && info.arcs == 0 {
            let bounds = info.bounds_mm.unwrap();
            let span = |axis: usize| {
                let ends = || strokes.iter().flat_map(|stroke| [stroke.from[axis], stroke.to[axis]]);
                ends().fold(f64::NEG_INFINITY, f64::max) - ends().fold(f64::INFINITY, f64::min)
            };
            let wanted = (bounds.max[0] - bounds.min[0]) / (bounds.max[1] - bounds.min[1]);
            assert!((span(0) / span(1) / wanted - 1.0).abs() < 0.02, "{}: {} {}", file.display(), span(0), span(1));
        }
    }
}

#[test]
fn y_points_up_and_x_to_the_right() {
    let svg = svg("G21 G90\nG0 Z5\nG0 X0 Y0\nG1 Z-1 F100\nG1 X50 F600\nG1 Y20\nM2\n", &Options::default());
    let strokes = work(&svg);
    let right = strokes.iter().find(|stroke| stroke.to[0] > stroke.from[0] + 100.0).unwrap();
    let up = strokes.iter().find(|stroke| stroke.to[1] < stroke.from[1] - 100.0).unwrap();
    assert_eq!(right.to, up.from);
}

#[test]
fn pixels_are_painted_where_the_program_cuts_and_nowhere_else() {
    let options = Options { by: Some(By::Kind), travel: Some(false), ..Options::default() };
    let picture = drawn(SQUARE, &options).unwrap();
    let (svg, (width, _, pixels)) = (picture.svg(), pixels(&picture.png()));
    let [left, top, panel_width, panel_height] = panel(&svg);
    let blue = |[red, _, blue]: [u8; 3]| blue > red.saturating_add(40);
    let strokes = work(&svg);
    let lines: Vec<_> = strokes.iter().filter(|stroke| stroke.from != stroke.to).collect();
    assert_eq!(lines.len(), 4);
    for stroke in &lines {
        let middle = [0, 1].map(|axis| f64::midpoint(stroke.from[axis], stroke.to[axis]));
        let (x, y) = ((left + middle[0]) as usize, (top + middle[1]) as usize);
        assert!((0..9).any(|near| blue(pixels[(y + near / 3 - 1) * width + x + near % 3 - 1])), "{stroke:?}");
    }
    let edge = |axis: usize, end: fn(f64, f64) -> f64, start: f64| {
        lines.iter().flat_map(|line| [line.from[axis], line.to[axis]]).fold(start, end)
    };
    let low = [0, 1].map(|axis| edge(axis, f64::min, f64::INFINITY));
    let high = [0, 1].map(|axis| edge(axis, f64::max, f64::NEG_INFINITY));
    for y in 0..panel_height as usize {
        for x in 0..panel_width as usize {
            if blue(pixels[(top as usize + y) * width + left as usize + x]) {
                let at = [x as f64 + 0.5, y as f64 + 0.5];
                let near = |axis: usize, edge: f64| (at[axis] - edge).abs() < 4.0;
                let on_edge = (0..2).any(|axis| near(axis, low[axis]) || near(axis, high[axis]));
                assert!(on_edge, "{at:?} is painted, the square is {low:?} to {high:?}");
            }
        }
    }
}

#[test]
fn travel_is_a_group_of_its_own_and_rapids_are_dashed() {
    let with = svg(SQUARE, &Options { travel: Some(true), ..Options::default() });
    let travel = group(&with, "travel-0").unwrap();
    assert!(travel.contains("stroke-dasharray") && travel.contains("class=\"rapid\"") && !strokes(travel).is_empty());
    assert!(!group(&with, "work-0").unwrap().contains("stroke-dasharray"));
    let without = svg(SQUARE, &Options { travel: Some(false), ..Options::default() });
    assert_eq!((group(&without, "travel-0"), work(&without)), (None, work(&with)));
}

#[test]
fn an_arc_is_an_arc_and_not_its_chord() {
    let circle = svg("G21 G90\nG0 Z5\nG0 X60 Y30\nG1 Z-1 F100\nG3 X60 Y30 I-30 J0 F600\nM2\n", &Options::default());
    let strokes = work(&circle);
    let arcs: Vec<_> = strokes.iter().filter(|stroke| stroke.radius.is_some()).collect();
    assert_eq!(arcs.len(), 4, "{strokes:?}");
    // Opposite ends of the quarters lie two radii apart.
    let across = (arcs[0].from[0] - arcs[1].to[0]).abs();
    for arc in &arcs {
        assert!((2.0 * arc.radius.unwrap() - across).abs() < 0.6, "{arc:?} {across}");
    }
    // Turned left: from its right end up, which is towards smaller numbers on the picture.
    assert!(arcs[0].to[1] < arcs[0].from[1]);
}

#[test]
fn a_laser_burns_darker_with_more_power_and_travel_without_the_beam_is_not_work() {
    let program = "G21 G90\nM4 S0\nG1 X0 Y0 F1000\nG1 X50 S100\nG1 Y20 S1000\nG1 X0 S0\nM5\nM2\n";
    let svg = svg(program, &Options::default());
    let strokes: Vec<_> = work(&svg).into_iter().filter(|stroke| stroke.from != stroke.to).collect();
    assert_eq!(strokes.len(), 2, "{strokes:?}");
    let light = |stroke: &Stroke| u32::from_str_radix(&stroke.colour[1..3], 16).unwrap();
    let (weak, strong) = if strokes[0].from[1] == strokes[0].to[1] { (0, 1) } else { (1, 0) };
    assert!(light(&strokes[weak]) > light(&strokes[strong]) + 60, "{strokes:?}");
}

/// Two layers: a line in X on the first, one in Y on the second.
const LAYERS: &str = ";TYPE:External perimeter\nG21\nG90\nM83\nG28\nG1 Z0.2 F900\nG1 X10 Y10\nG1 X60 E3\nG1 Z0.4\n\
                      ;TYPE:Top solid infill\nG1 X10 Y10\nG1 Y60 E3\nM84\n";

#[test]
fn layers_are_drawn_alone_and_together_and_others_are_refused() {
    let lines = |layers| {
        let svg = svg(LAYERS, &Options { layers, ..Options::default() });
        let strokes = work(&svg);
        let level = strokes.iter().filter(|stroke| stroke.from[1] == stroke.to[1]).count();
        (level, strokes.len() - level)
    };
    assert_eq!((lines(Some(1..=1)), lines(Some(2..=2)), lines(Some(1..=2))), ((1, 0), (0, 1), (1, 1)));
    let error = drawn(LAYERS, &Options { layers: Some(3..=3), ..Options::default() }).unwrap_err();
    assert!(error.code() == "preview.no_layer" && error.to_string().contains("1 to 2"), "{error}");
}

#[test]
fn the_layer_above_hides_the_same_line_below() {
    let mut program = String::from("G21\nG90\nM83\nG28\n");
    for layer in 1..=200 {
        let _ = writeln!(program, "G1 Z{:.1}\nG1 X10 Y10\nG1 X60 E3\nG1 Y60 E3", f64::from(layer) * 0.2);
    }
    let svg = svg(&program, &Options { by: Some(By::Layer), ..Options::default() });
    // From above, in the second panel.
    assert_eq!(strokes(group(&svg, "work-1").unwrap()).len(), 2);
}

#[test]
fn what_leaves_the_machine_has_its_own_colour_and_said_with_its_line() {
    let profile = Profile::named("grbl-laser-400").unwrap();
    let options = Options { profile: Some(&profile), ..Options::default() };
    let picture = drawn("G21 G90\nM4 S500\nG1 X50 Y50 F1000\nG1 X500\nM5\nM2\n", &options).unwrap();
    assert_eq!(picture.leaves_machine(), Some(true));
    let svg = picture.svg();
    assert!(svg.contains("X reaches 500.0 mm (line 4)"), "{svg}");
    // The line leaves at X 400: what is inside keeps its colour.
    let strokes: Vec<_> = work(&svg).into_iter().filter(|stroke| stroke.from[1] == stroke.to[1]).collect();
    let of = |outside: bool| strokes.iter().filter(move |stroke| (stroke.colour == "#e0008a") == outside);
    let length = |stroke: &Stroke| (stroke.to[0] - stroke.from[0]).abs();
    let (inside, outside): (f64, f64) = (of(false).map(length).sum(), of(true).map(length).sum());
    assert!((inside / outside - 3.5).abs() < 0.1, "{strokes:?}");
    let fits = drawn("G21 G90\nM4 S500\nG1 X50 Y50 F1000\nM5\nM2\n", &options).unwrap();
    assert_eq!(fits.leaves_machine(), Some(false));
}

#[test]
fn a_mill_whose_zero_is_elsewhere_is_not_said_to_fit_or_leave() {
    let profile = Profile::named("grbl-router-6040").unwrap();
    let picture = drawn(SQUARE, &Options { profile: Some(&profile), ..Options::default() }).unwrap();
    assert_eq!(picture.leaves_machine(), None);
    assert!(picture.svg().contains("its place is set at the machine"));
}

#[test]
fn a_plotters_program_on_a_printers_firmware_is_drawn() {
    let svg = svg("G21\nG90\nG28\nM280 P0 S10\nG0 X10 Y10 F3000\nG1 X80\nG1 Y60\nM84\n", &Options::default());
    assert_eq!(work(&svg).len(), 2);
}

#[test]
fn a_program_larger_than_any_picture_stays_within_its_size() {
    let mut program = String::from("G21\nG90\nM83\nG28\nG1 Z0.2\n");
    let mut seed = 1_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 8) / f64::from(1 << 24)
    };
    for _ in 0..50_000 {
        let (x, y) = (random() * 200.0, random() * 200.0);
        let _ = writeln!(program, "G1 X{x:.2} Y{y:.2}\nG1 X{:.2} Y{:.2} E1", x + random() * 4.0, y + random() * 4.0);
    }
    let picture = drawn(&program, &Options { travel: Some(true), ..Options::default() }).unwrap();
    let (svg, [width, height]) = (picture.svg(), picture.size_px());
    assert!((100_000..=SVG_BYTES_MAX).contains(&svg.len()), "{}", svg.len());
    assert!(picture.png().len() < (width * height * 3) as usize);
}

const HOSTILE: &str = "</title><script>alert(1)</script>\"'><image href=http://x/ onload=x>]]>&\u{1b}";

#[test]
fn hostile_text_stays_text() {
    let program = format!(
        "; generated by PrusaSlicer {HOSTILE} on x\n;TYPE:{HOSTILE}\nG21\nG90\nM83\nG28\nG1 Z0.2\nG1 X10 Y10\nG1 X60 E3\n\
         ;TYPE:\u{0}\u{1}x\nG1 Y60 E3\nM84\n"
    );
    let svg = svg(&program, &Options { title: HOSTILE, ..Options::default() });
    assert!(svg.contains("&lt;script&gt;"));
    assert!(!svg.chars().any(|letter| letter.is_control() && letter != '\n'));
    let known = ["svg", "/svg", "title", "/title", "rect", "g", "/g", "path", "text", "/text"];
    for tag in svg.split('<').skip(1) {
        let name: String = tag.chars().take_while(|letter| letter.is_ascii_alphabetic() || *letter == '/').collect();
        assert!(known.contains(&name.trim_end_matches('/')) || known.contains(&name.as_str()), "<{tag}");
        let inside = tag.split('>').next().unwrap();
        for word in ["href", "style", " on", "url(", "src"] {
            assert!(!inside.contains(word), "<{inside}>");
        }
    }
}

#[test]
fn nothing_to_draw_is_refused_by_name() {
    for (program, code) in [
        ("", "file.empty"),
        ("; only\n; comments\n", "file.empty"),
        ("M104 S200\nM109 S200\nG28\nM84\n", "preview.no_work"),
        ("G21 G90\nG0 X10 Y10\nG0 X50\nM2\n", "preview.no_work"),
        ("<!DOCTYPE html><html>", "file.not_gcode"),
        ("G21 G90\nG1 X100000000 Y1 F100\nM2\n", "preview.too_large"),
    ] {
        assert_eq!(
            drawn(program, &Options::default()).map_or_else(|error| error.code(), |_| "a picture"),
            code,
            "{program:?}"
        );
    }
}

#[test]
fn bad_files_are_drawn_or_refused() {
    for file in common::files(&common::data().join("bad")) {
        let open = || {
            std::fs::File::open(&file)
                .map_err(|error| gcode_tools::sniff::ReadError::from_io(&error))
                .and_then(formats::open)
        };
        if let Ok(picture) = draw(open, &Options { travel: Some(true), ..Options::default() }) {
            assert!(
                picture.svg().len() <= SVG_BYTES_MAX && picture.png().starts_with(b"\x89PNG"),
                "{}",
                file.display()
            );
        }
    }
}

#[test]
fn the_command_ends_as_info_does() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (program, picture) = (folder.join("preview.nc"), folder.join("preview.svg"));
    let run = |text: &str, arguments: &[&str]| {
        std::fs::write(&program, text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_gcode-tools")).arg("preview").arg(&program).args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let out = ["-o", picture.to_str().unwrap()];
    assert_eq!(run(SQUARE, &out).0, Some(0));
    assert!(std::fs::read_to_string(&picture).unwrap().starts_with("<svg"));
    let refused = run("M104 S200\nG28\nM84\n", &out);
    assert!(refused.0 == Some(1) && refused.1.contains("[preview.no_work]"), "{refused:?}");
    for (text, arguments) in [
        ("", &out[..]),
        (SQUARE, &["-o", "picture.jpg"]),
        (SQUARE, &["-o", "picture.svg", "--profile", "no-such-machine"]),
        (SQUARE, &["-o", "picture.svg", "--layers", "5..2"]),
        (SQUARE, &["-o", "picture.svg", "--width", "5"]),
    ] {
        assert_eq!(run(text, arguments).0, Some(2), "{arguments:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_words_give_a_picture_or_a_refusal(
        words in prop::collection::vec(("[GXYZIJKRPFSETM]", prop_oneof![-2e9_f64..2e9, -50.0..300.0, 0.0..4.0]), 0..300),
        breaks in 1_usize..6,
        profile in 0_usize..3,
    ) {
        let mut program = String::from("G21 G90\nM3 S100\nG1 F100 X1 Y1\n");
        for (at, (letter, value)) in words.iter().enumerate() {
            let value = if matches!(letter.as_str(), "G" | "M" | "T") { value.abs().min(120.0).floor() } else { *value };
            let _ = write!(program, "{letter}{value:.3}{}", if at % breaks == 0 { "\n" } else { " " });
        }
        let profile = ["grbl-laser-400", "grbl-router-6040", "prusa-mk3s"].get(profile).map(|name| Profile::named(name).unwrap());
        let options = Options { profile: profile.as_ref(), travel: Some(true), width_px: 400, ..Options::default() };
        if let Ok(picture) = drawn(&program, &options) {
            let svg = picture.svg();
            prop_assert!(svg.len() <= SVG_BYTES_MAX && !svg.contains("NaN") && !svg.contains("inf"));
            prop_assert!(picture.png().starts_with(b"\x89PNG"));
        }
    }
}
