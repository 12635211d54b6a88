//! The subcommands of `gcode-tools`: files in, text or JSON out.

use gcode_tools::analysis::{Bounds, Info, Setup, analyse_with};
use gcode_tools::formats;
use gcode_tools::metadata::Slicer;
use gcode_tools::number::shown;
use gcode_tools::preflight::{self, Severity, Verdict};
use gcode_tools::profile::{PROFILE_BYTES_MAX, Profile};
use gcode_tools::sniff::ReadError;
use gcode_tools::time::{Firmware, Limits};
use serde_json::json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::path::Path;

pub(crate) mod convert;
pub(crate) mod preview;

/// Bytes at the end of a file that are looked at for a slicer's settings. PrusaSlicer writes some 20 kB.
const TAIL_BYTES: usize = 64 * 1024;

/// Findings printed for people; `--json` has them all.
const FINDINGS_SHOWN: usize = 40;

/// Done, or passed.
pub(crate) const DONE: u8 = 0;
/// Failed, with a reason.
pub(crate) const FAILED: u8 = 1;
/// Unreadable file, wrong profile, wrong usage.
pub(crate) const UNREADABLE: u8 = 2;

/// Writes to standard output; a closed pipe is no reason to fail.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Tells an error on standard error, with its code.
pub(crate) fn complain(code: &str, message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "gcode-tools: {message} [{code}]");
}

/// A profile by bundled name or path.
pub(crate) fn profile(name: &str) -> Result<Profile, (String, String)> {
    let path = Path::new(name);
    if path.extension().is_none() && !name.contains(std::path::MAIN_SEPARATOR) {
        return Profile::named(name).map_err(|error| (error.code.to_owned(), error.message));
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(PROFILE_BYTES_MAX as u64).read_to_string(&mut text));
    match read {
        Ok(_) => Profile::parse(&text).map_err(|error| (error.code.to_owned(), format!("{name}: {}", error.message))),
        Err(error) => Err(("profile.unreadable".to_owned(), format!("{name} could not be read: {error}."))),
    }
}

fn open(path: &Path) -> Result<File, ReadError> {
    let file = File::open(path).map_err(|error| ReadError::from_io(&error))?;
    if file.metadata().is_ok_and(|data| data.is_dir()) {
        return Err(ReadError::new("file.unreadable", "This is a directory. Name a file in it."));
    }
    Ok(file)
}

/// The limits a slicer has written at the file's end, so that the time is reckoned as the slicer did.
fn limits_of_tail(file: &mut File) -> Option<Limits> {
    let tail = formats::tail(&mut *file, TAIL_BYTES);
    file.seek(SeekFrom::Start(0)).ok()?;
    let tail = tail.ok()?;
    let slicer = Slicer::of_tail(&tail);
    if !slicer.machine.is_known() {
        return None;
    }
    let mut limits = Limits::assumed(slicer.firmware().unwrap_or(Firmware::Marlin));
    slicer.machine.apply(&mut limits);
    Some(limits)
}

/// `gcode-tools info`.
pub(crate) fn info(path: &Path, profile_name: Option<&str>, as_json: bool, time_line: bool, plate: Option<u32>) -> u8 {
    let profile = match profile_name.map(profile).transpose() {
        Ok(profile) => profile,
        Err((code, message)) => return refuse(&code, &message, as_json),
    };
    let result = open(path).and_then(|mut file| {
        let limits = if profile.is_none() { limits_of_tail(&mut file) } else { None };
        analyse_with(
            formats::open_plate(file, plate)?,
            &Setup { profile: profile.as_ref(), limits, ..Setup::default() },
        )
    });
    match result {
        Ok(info) => {
            print(&if as_json { info_json(&info, time_line) } else { info_text(path, &info) });
            DONE
        }
        Err(error) => refuse(error.code, &format!("{}: {}", path.display(), error.message), as_json),
    }
}

/// Tells why nothing could be done.
fn refuse(code: &str, message: &str, as_json: bool) -> u8 {
    if as_json {
        print(&format!("{}\n", json!({ "error": { "code": code, "message": message } })));
    }
    complain(code, message);
    UNREADABLE
}

fn info_json(info: &Info, time_line: bool) -> String {
    let mut value = serde_json::to_value(info).unwrap_or_default();
    if let (true, Some(object)) = (time_line, value.as_object_mut()) {
        object.insert("time_line".to_owned(), json!(info.time_line.points()));
    }
    format!("{value:#}\n")
}

fn bounds_text(bounds: Option<&Bounds>) -> String {
    let Some(bounds) = bounds else { return "none".to_owned() };
    let axis = |name: &str, axis: usize| format!("{name} {} to {}", shown(bounds.min[axis]), shown(bounds.max[axis]));
    format!("{}, {}, {} mm", axis("X", 0), axis("Y", 1), axis("Z", 2))
}

/// Seconds as people read them.
fn duration(seconds: f64) -> String {
    let whole = seconds.round().clamp(0.0, 1e12) as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours} h {minutes:02} min {rest:02} s") } else { format!("{minutes} min {rest:02} s") }
}

fn info_text(path: &Path, info: &Info) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", path.display());
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    let slicer = info.slicer.as_ref();
    if let Some(name) = slicer.and_then(|slicer| slicer.name.as_deref()) {
        let version = slicer.and_then(|slicer| slicer.version.as_deref()).unwrap_or("");
        row("made by", format!("{name} {version}"));
    }
    row("for", format!("{}, units: {}", info.kind, info.units));
    row("size", format!("{} lines, {} bytes, {} moves, {} arcs", info.lines, info.bytes, info.moves, info.arcs));
    row("works in", bounds_text(info.bounds_mm.as_ref()));
    row("travels in", bounds_text(info.travel_bounds_mm.as_ref()));
    let heating = if info.heating_s > 0.0 {
        format!(", and some {} of heating", duration(info.heating_s))
    } else {
        String::new()
    };
    row("takes", format!("{}{heating}", duration(info.time_s)));
    if let Some(lost) = &info.not_followed {
        let what = if lost.place_is_known { "time" } else { "boxes, time and filament" };
        row("unknown", format!("{what} from line {} on: {} is not followed", lost.line, lost.word));
    }
    if info.layers > 0 {
        row("layers", info.layers.to_string());
    }
    for (tool, length) in info.filament_mm.iter().enumerate() {
        let grams = info.filament_g.get(tool).copied().flatten();
        let grams = grams.map(|grams| format!(", {grams:.1} g")).unwrap_or_default();
        row(&format!("filament {tool}"), format!("{length:.2} mm{grams}"));
    }
    if info.powered_mm > 0.0 {
        row(
            "powered",
            format!("{:.3} mm, S up to {}, {}", info.powered_mm, info.spindle_max, duration(info.spindle_s)),
        );
    }
    if info.feed_max_mm_min > 0.0 {
        row("fastest", format!("F{} mm/min", shown(info.feed_max_mm_min).trim_end_matches('0').trim_end_matches('.')));
    }
    for feature in &info.features {
        row("", format!("{:<28}{:>12.0} mm {:>16}", feature.name, feature.length_mm, duration(feature.time_s)));
    }
    text
}

/// `gcode-tools check`.
pub(crate) fn check(path: &Path, profile_name: &str, as_json: bool, all: bool, plate: Option<u32>) -> u8 {
    let profile = match profile(profile_name) {
        Ok(profile) => profile,
        Err((code, message)) => return refuse(&code, &message, as_json),
    };
    let mut verdict = match open(path).and_then(|file| formats::open_plate(file, plate)) {
        Ok(program) => preflight::check(program, &profile),
        Err(error) => Verdict::unreadable(&error),
    };
    if !all {
        verdict.tell_causes();
    }
    if as_json {
        print(&format!("{:#}\n", serde_json::to_value(&verdict).unwrap_or_default()));
    } else {
        print(&verdict_text(path, &verdict));
    }
    match (verdict.readable, verdict.passes()) {
        (false, _) => UNREADABLE,
        (true, true) => DONE,
        (true, false) => FAILED,
    }
}

/// What has a JSON Schema.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Printed {
    /// `gcode-tools info --json`.
    Info,
    /// `gcode-tools check --json`.
    Check,
}

/// `gcode-tools schema`.
pub(crate) fn schema(of: Printed) -> u8 {
    let schema = match of {
        Printed::Info => schemars::schema_for!(Info),
        Printed::Check => schemars::schema_for!(Verdict),
    };
    print(&format!("{:#}\n", schema.to_value()));
    DONE
}

fn verdict_text(path: &Path, verdict: &Verdict) -> String {
    let mut text = String::new();
    let name = path.display();
    let mut shown: Vec<_> = verdict.findings.iter().collect();
    // What decides comes first when not all can be shown.
    shown.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in shown.iter().take(FINDINGS_SHOWN) {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let place = match (finding.line, finding.column) {
            (0, _) => String::new(),
            (line, 0) => format!(":{line}"),
            (line, column) => format!(":{line}:{column}"),
        };
        let again = match (finding.count, finding.lines) {
            (1, _) => String::new(),
            (count, [_, last]) => format!(" ({count} times, the last on line {last})"),
        };
        let _ = writeln!(text, "{name}{place}: {severity}: {}{again} [{}]", finding.message, finding.code);
        let _ = writeln!(text, "    {}", finding.help);
    }
    let hidden = verdict.findings.len().saturating_sub(FINDINGS_SHOWN) as u64 + verdict.findings_dropped;
    if hidden > 0 {
        let _ = writeln!(text, "and {hidden} more");
    }
    let _ = writeln!(text, "{name}: {}", if verdict.passes() { "pass" } else { "fail" });
    text
}
