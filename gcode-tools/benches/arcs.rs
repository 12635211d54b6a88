//! Arc fitting, in one run, as ratios: `ARCWELDER=… cargo bench -p gcode-tools --bench arcs [-- FILE …]`.
//!
//! Without a file a print of rings is made up. Both programs read a file and write a file. `ARCWELDER` names
//! ArcWelder's console program, which is asked for a resolution of twice our tolerance: its figure is a width.

use gcode_tools::arcs::{Fitter, Setup, Summary};
use gcode_tools::convert::{Target, convert};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Greatest distance between arcs and moves, in millimetres.
const TOLERANCE_MM: f64 = 0.025;

/// Bytes of the program made up.
const PROGRAM_BYTES: usize = 40_000_000;

/// Runs of each; the fastest counts.
const RUNS: usize = 3;

/// A print of rings of 200 moves, and of straight lines between them.
fn made_up() -> Vec<u8> {
    let mut text = String::with_capacity(PROGRAM_BYTES + 100_000);
    text.push_str("G21\nG90\nM83\nG28\nG1 Z0.2 F7800\n");
    let mut layer = 0;
    while text.len() < PROGRAM_BYTES {
        layer += 1;
        let _ = writeln!(text, ";LAYER_CHANGE\nG1 Z{:.3} F7800\n;TYPE:Perimeter", 0.2 * f64::from(layer % 900));
        for ring in 0..10_u32 {
            let radius = 5.0 + f64::from(ring) * 5.0;
            let _ = writeln!(text, "G1 X{:.3} Y100 F7800\nG1 F1800", 100.0 + radius);
            for step in 1..200_u32 {
                let (sin, cos) = (f64::from(step) * 0.0314).sin_cos();
                let (x, y) = (100.0 + radius * cos, 100.0 + radius * sin);
                let _ = writeln!(text, "G1 X{x:.3} Y{y:.3} E{:.5}", 0.00104 * radius);
            }
            for line in 0..100_u32 {
                let (x, y) = (80.0 + f64::from(line % 2) * 40.0, 80.0 + f64::from(line) * 0.4);
                let _ = writeln!(text, "G1 X{x:.3} Y{y:.3} E1.3302");
            }
        }
    }
    text.into_bytes()
}

/// The shortest time of some runs, in seconds, and what the last one gave.
fn best<T>(mut run: impl FnMut() -> T) -> (f64, Option<T>) {
    let mut seconds = f64::INFINITY;
    let mut last = None;
    for _ in 0..RUNS {
        let start = Instant::now();
        last = Some(run());
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    (seconds, last)
}

fn fit(from: &Path, to: &Path) -> io::Result<Summary> {
    let setup = Setup::new(TOLERANCE_MM).ok_or(io::ErrorKind::InvalidInput)?;
    let mut fitter = Fitter::new(&setup);
    convert(File::open(from)?, File::create(to)?, Target::Plain, Some(&mut fitter)).map_err(io::Error::other)?;
    Ok(fitter.summary())
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |data| data.len())
}

fn compare(file: &Path, welder: Option<&std::ffi::OsString>, folder: &Path) {
    let (ours, theirs) = (folder.join("ours.gcode"), folder.join("theirs.gcode"));
    let bytes = size(file);
    let (seconds, summary) = best(|| fit(file, &ours).unwrap_or_default());
    let summary = summary.unwrap_or_default();
    let mut row = format!(
        "{:<40}{:>6.1} MB {:>7.1} MB/s  {:>6} arcs for {:>7} moves  {:.4} mm  size {:.3}",
        file.file_name().unwrap_or_default().to_string_lossy(),
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / seconds,
        summary.arcs,
        summary.moves_replaced,
        summary.deviation_mm,
        size(&ours) as f64 / bytes as f64
    );
    if let Some(welder) = welder {
        let (their_seconds, _) = best(|| {
            Command::new(welder)
                .arg(format!("-r={}", 2.0 * TOLERANCE_MM))
                .args([file, &theirs])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
        });
        let _ = write!(
            row,
            "  ArcWelder {:.3}; we take {:.3} of its size and are {:.1} times as fast",
            size(&theirs) as f64 / bytes as f64,
            size(&ours) as f64 / size(&theirs) as f64,
            their_seconds / seconds
        );
    }
    let _ = writeln!(io::stdout().lock(), "{row}");
}

fn main() -> io::Result<()> {
    let mut files: Vec<PathBuf> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).map(PathBuf::from).collect();
    let folder = std::env::temp_dir().join(format!("gcode-tools-arcs-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    if files.is_empty() {
        files.push(folder.join("rings.gcode"));
        std::fs::write(&files[0], made_up())?;
    }
    let welder = std::env::var_os("ARCWELDER");
    for file in &files {
        compare(file, welder.as_ref(), &folder);
    }
    std::fs::remove_dir_all(&folder)
}
