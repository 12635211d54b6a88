//! Arc fitting on made-up and real programs, judged by a checker that shares no arithmetic with it.
//!
//! The files in `tests/data` are fitted always; the whole collection where `../shared/gcode` is beside the repository.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

#[path = "../common/mod.rs"]
mod common;

mod checker;

use gcode_tools::analysis::analyse;
use gcode_tools::arcs::{FLOW_SHARE, Fitter, Setup, Summary};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// The tolerance of tests that need one only.
const TOLERANCE_MM: f64 = 0.025;

/// A program with arcs, and what was done.
fn fitted(program: &[u8], tolerance_mm: f64) -> (Vec<u8>, Summary) {
    let mut fitter = Fitter::new(&Setup::new(tolerance_mm).unwrap());
    let mut out = Vec::with_capacity(program.len());
    fitter.push(program, &mut out);
    let summary = fitter.finish(&mut out);
    assert_eq!((summary.bytes_in, summary.bytes_out), (program.len() as u64, out.len() as u64));
    (out, summary)
}

/// Fits and has the checker look. `None` where the interpreter cannot follow the program.
fn checked(program: &[u8], tolerance_mm: f64) -> Option<checker::Report> {
    let (out, summary) = fitted(program, tolerance_mm);
    if summary.arcs == 0 {
        assert!(out == program, "no arc, and yet another program");
        return None;
    }
    assert!(out.len() < program.len(), "longer than before");
    let report = match checker::compare(program, &out, tolerance_mm)? {
        Ok(report) => report,
        Err(what) => panic!("{what}\n{}", String::from_utf8_lossy(&program[..program.len().min(4000)])),
    };
    assert_eq!((report.arcs, report.moves), (summary.arcs, summary.moves_replaced));
    assert!(report.flow_share <= FLOW_SHARE + 1e-9, "{report:?}");
    assert!((report.deviation_mm - summary.deviation_mm).abs() < 0.0015, "{report:?} {summary:?}");
    Some(report)
}

/// How far the checker measures at most, over the collection, at each tolerance.
#[test]
fn no_real_program_is_fitted_further_than_asked() {
    let mut files = common::files(&common::data().join("good"));
    if let Some(corpus) = common::corpus() {
        for folder in ["fff", "cnc", "laser", "pcb", "bad"] {
            files.extend(common::files(&corpus.join(folder)));
        }
    }
    let mut arcs = 0;
    for tolerance_mm in [0.01, 0.025, 0.05] {
        let mut worst = checker::Report::default();
        for file in &files {
            let program = std::fs::read(file).unwrap();
            // A debug build takes the large ones at one tolerance.
            if cfg!(debug_assertions) && tolerance_mm != 0.025 && program.len() > 1_000_000 {
                continue;
            }
            let Some(report) = checked(&program, tolerance_mm) else { continue };
            worst.arcs += report.arcs;
            worst.moves += report.moves;
            worst.deviation_mm = worst.deviation_mm.max(report.deviation_mm);
            worst.filament_mm = worst.filament_mm.max(report.filament_mm);
            worst.flow_share = worst.flow_share.max(report.flow_share);
        }
        println!("{tolerance_mm} mm: {worst:?}");
        assert!(worst.deviation_mm <= tolerance_mm + checker::BOW_MM && worst.filament_mm < 1e-6, "{worst:?}");
        arcs += worst.arcs;
    }
    assert!(arcs > 100, "{arcs} arcs");
}

/// The analysis of a program with arcs is that of the program without: nothing is lost, and no time worth the name.
#[test]
fn the_analysis_of_a_fitted_program_agrees() {
    let mut files = common::files(&common::data().join("good"));
    if let Some(corpus) = common::corpus() {
        files.extend(common::files(&corpus.join("fff")));
    }
    let mut times = Vec::new();
    for file in &files {
        let program = std::fs::read(file).unwrap();
        if cfg!(debug_assertions) && program.len() > 2_000_000 {
            continue;
        }
        let (out, summary) = fitted(&program, TOLERANCE_MM);
        let (Ok(before), Ok(after)) = (analyse(&program[..], None), analyse(&out[..], None)) else { continue };
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(after.arcs - before.arcs, summary.arcs, "{name}");
        assert_eq!(
            (after.layers, &after.tools, after.feed_max_mm_min),
            (before.layers, &before.tools, before.feed_max_mm_min)
        );
        for (ours, theirs) in after.filament_mm.iter().zip(&before.filament_mm) {
            assert!((ours - theirs).abs() < 1e-6, "{name}: {ours} and {theirs} mm of filament");
        }
        for (ours, theirs) in [(after.bounds_mm, before.bounds_mm), (after.travel_bounds_mm, before.travel_bounds_mm)] {
            assert_eq!(ours.is_some(), theirs.is_some(), "{name}");
            let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
            for axis in 0..3 {
                let low = (ours.min[axis] - theirs.min[axis]).abs();
                assert!(low.max((ours.max[axis] - theirs.max[axis]).abs()) < TOLERANCE_MM + 0.002, "{name}");
            }
        }
        if before.time_s > 0.0 {
            times.push((after.time_s / before.time_s - 1.0, name));
        }
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    println!("by what share longer it takes with arcs: {times:.4?}");
    assert!(times.len() >= 5 && times.iter().all(|(share, _)| share.abs() < 0.01), "{times:?}");
}

/// The command does what the library does, into plain text and into a bgcode, and refuses what is no tolerance.
#[test]
fn the_command_fits_arcs_into_any_wrapping() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("arcs");
    std::fs::create_dir_all(&folder).unwrap();
    let file = common::data().join("good/svg2g_badge.gcode");
    let convert = |name: &str, tolerance: &str| {
        let output = folder.join(name);
        let run = Command::new(env!("CARGO_BIN_EXE_gcode-tools"))
            .args(["convert", "--force", "--json", "--arcs", tolerance, "-o"])
            .args([&output, &file])
            .output()
            .unwrap();
        (run.status.code(), serde_json::from_slice::<serde_json::Value>(&run.stdout).unwrap_or_default(), output)
    };
    let (expected, summary) = fitted(&std::fs::read(&file).unwrap(), TOLERANCE_MM);
    let (code, said, output) = convert("badge.gcode", "0.025");
    assert_eq!((code, said["arcs"]["count"].as_u64()), (Some(0), Some(summary.arcs)), "{said}");
    assert!(summary.arcs > 0 && std::fs::read(output).unwrap() == expected);
    let (code, said, output) = convert("badge.bgcode", "0.025");
    assert_eq!((code, said["arcs"]["moves_replaced"].as_u64()), (Some(0), Some(summary.moves_replaced)), "{said}");
    let unpacked = analyse(gcode_tools::formats::open(std::fs::File::open(output).unwrap()).unwrap(), None).unwrap();
    assert_eq!(unpacked.arcs, summary.arcs);
    assert_eq!(convert("none.gcode", "3").0, Some(2));
    assert_eq!(convert("none.gcode", "much").0, Some(2));
}

/// One stretch of a made-up program.
#[derive(Debug, Clone)]
enum Piece {
    /// Radius, sweep, moves, noise in microns, flow, and whether the last is noisy too.
    Ring {
        radius: f64,
        sweep: f64,
        moves: u32,
        noise: u32,
        flow: f64,
    },
    Line {
        x: f64,
        y: f64,
        moves: u32,
    },
    Text(&'static str),
}

fn piece() -> impl Strategy<Value = Piece> {
    let texts = prop_oneof![
        Just(";TYPE:Skin"),
        Just("G1 F1200"),
        Just("G1 Z0.4"),
        Just("M204 S800"),
        Just("G92 E0"),
        Just("G4 P10"),
        Just("T1"),
        Just("G1 E-1 F2400"),
        Just("G1 E1 F2400"),
        Just("M73 P3"),
        Just("SET_VELOCITY_LIMIT ACCEL=1000"),
        Just("G90"),
        Just("G91"),
        Just("M82"),
        Just("M83"),
        Just("G2 X1 Y1 I1 J0"),
        Just("G0 X20 Y20"),
        Just("M106 S255"),
        Just("(note)"),
        Just("N5 G1 X3"),
        Just("G92 X0"),
        Just("M3 S500"),
        Just(""),
    ];
    prop_oneof![
        6 => (0.1..60.0_f64, -7.0..7.0_f64, 2..90_u32, 0..20_u32, prop_oneof![Just(0.0), Just(0.033), Just(-0.02)])
            .prop_map(|(radius, sweep, moves, noise, flow)| Piece::Ring { radius, sweep, moves, noise, flow }),
        1 => (-20.0..20.0_f64, -20.0..20.0_f64, 1..5_u32).prop_map(|(x, y, moves)| Piece::Line { x, y, moves }),
        4 => texts.prop_map(Piece::Text),
    ]
}

/// How a made-up program is written.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // Each is a choice of its own.
struct Style {
    relative: bool,
    extruder_relative: bool,
    inches: bool,
    bare: bool,
    decimals: u8,
    feeds: bool,
    crlf: bool,
    comment: bool,
}

fn style() -> impl Strategy<Value = Style> {
    let flags = proptest::collection::vec(any::<bool>(), 7);
    (flags, 2..6_u8).prop_map(|(flags, decimals)| Style {
        relative: flags[0],
        extruder_relative: flags[1],
        inches: flags[2],
        bare: flags[3],
        decimals,
        feeds: flags[4],
        crlf: flags[5],
        comment: flags[6],
    })
}

/// Writes moves as a program would.
struct Writer {
    style: Style,
    text: String,
    at: [f64; 2],
    extruder: f64,
    noise: u64,
}

impl Writer {
    fn line(&mut self, text: &str) {
        self.text += text;
        self.text += if self.style.crlf { "\r\n" } else { "\n" };
    }

    fn noise_mm(&mut self, most_um: u32) -> f64 {
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.noise >> 33) % u64::from(2 * most_um + 1)) as f64 / 1000.0 - f64::from(most_um) / 1000.0
    }

    fn go(&mut self, to: [f64; 2], flow: f64, first: bool) {
        let style = self.style;
        let unit = if style.inches { 25.4 } else { 1.0 };
        let grid = 10_f64.powi(i32::from(style.decimals));
        let place = |value: f64| (value / unit * grid).round() / grid;
        let from = self.at.map(place);
        let place_to = to.map(place);
        let length = (to[0] - self.at[0]).hypot(to[1] - self.at[1]);
        let mut text = String::from(if style.bare && !first { "" } else { "G1 " });
        for (axis, letter) in ['X', 'Y'].into_iter().enumerate() {
            let value = if style.relative { place_to[axis] - from[axis] } else { place_to[axis] };
            let _ = write!(text, "{letter}{value:.*} ", usize::from(style.decimals));
        }
        if flow != 0.0 {
            let step = (flow * length / unit * 1e5).round() / 1e5;
            self.extruder += step;
            let _ = write!(text, "E{:.5} ", if style.extruder_relative { step } else { self.extruder });
        }
        if style.feeds || first {
            text += "F1500 ";
        }
        if style.comment {
            text += "; wall ";
        }
        self.at = to;
        self.line(text.trim_end());
    }
}

fn written(pieces: &[Piece], style: Style, seed: u64) -> String {
    let mut writer = Writer { style, text: String::new(), at: [0.0; 2], extruder: 0.0, noise: seed };
    writer.line(";FLAVOR:Marlin");
    writer.line(if style.inches { "G20" } else { "G21" });
    writer.line(if style.relative { "G91" } else { "G90" });
    writer.line(if style.extruder_relative { "M83" } else { "M82" });
    writer.line("M104 S200");
    for piece in pieces {
        match *piece {
            Piece::Text(text) => {
                writer.line(text);
                if text == "G92 E0" {
                    writer.extruder = 0.0;
                }
            }
            Piece::Line { x, y, moves } => {
                for step in 0..moves {
                    let to = [writer.at[0] + x / f64::from(moves), writer.at[1] + y / f64::from(moves)];
                    writer.go(to, 0.0, step == 0);
                }
            }
            Piece::Ring { radius, sweep, moves, noise, flow } => {
                let center = [writer.at[0] - radius, writer.at[1]];
                for step in 1..=moves {
                    let (sin, cos) = (sweep * f64::from(step) / f64::from(moves)).sin_cos();
                    let off = radius + writer.noise_mm(noise);
                    writer.go([center[0] + off * cos, center[1] + off * sin], flow, step == 1);
                }
            }
        }
    }
    writer.text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_made_up_program_is_fitted_further_than_asked(
        pieces in proptest::collection::vec(piece(), 1..14),
        style in style(),
        seed in any::<u64>(),
        tolerance_mm in prop_oneof![Just(0.005), Just(0.01), Just(0.025), Just(0.05), Just(0.2)],
    ) {
        let program = written(&pieces, style, seed);
        checked(program.as_bytes(), tolerance_mm);
        // Fitted once more, with its arcs in it.
        let (once, _) = fitted(program.as_bytes(), tolerance_mm);
        checked(&once, tolerance_mm);
    }

    #[test]
    fn however_the_bytes_come_the_same_comes_out(
        pieces in proptest::collection::vec(piece(), 1..6),
        style in style(),
        cuts in proptest::collection::vec(1..80_usize, 1..30),
    ) {
        let program = written(&pieces, style, 7);
        let (whole, summary) = fitted(program.as_bytes(), 0.025);
        let mut fitter = Fitter::new(&Setup::new(0.025).unwrap());
        let (mut out, mut rest) = (Vec::new(), program.as_bytes());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            fitter.push(now, &mut out);
            rest = later;
        }
        prop_assert_eq!(fitter.finish(&mut out), summary);
        prop_assert!(out == whole);
    }

    #[test]
    fn any_bytes_come_out_as_they_went_in(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let (out, summary) = fitted(&bytes, 0.05);
        prop_assert!(summary.arcs > 0 || out == bytes);
    }
}
