//! Where the programs that tests read are, and how the references are written.
#![allow(dead_code)] // Each test binary uses a part.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Small programs that are part of the repository.
pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The folder of real programs and references beside the repository, or where `SHARED_GCODE` says, if it is there.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/gcode");
    let path = std::env::var_os("SHARED_GCODE").map_or(beside, PathBuf::from);
    path.join("README.md").exists().then_some(path)
}

/// The real programs, unpacked once per target directory.
pub(crate) fn corpus() -> Option<PathBuf> {
    let shared = shared()?;
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus");
    let done = place.join(".done");
    if !done.exists() {
        std::fs::create_dir_all(&place).ok()?;
        for archive in ["DEV.tar.xz", "SHARED_WILD.tar.xz"] {
            let unpacked =
                Command::new("tar").arg("-xJf").arg(shared.join(archive)).arg("-C").arg(&place).status().ok()?;
            if !unpacked.success() {
                return None;
            }
        }
        std::fs::write(&done, "").ok()?;
    }
    Some(place)
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The rows of a CSV file with a header, as column name to text.
pub(crate) fn rows(path: &Path) -> Vec<std::collections::HashMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().map(fields);
    let Some(header) = lines.next() else { return Vec::new() };
    lines.map(|row| header.iter().cloned().zip(row).collect()).collect()
}

/// The fields of one CSV line; quotes are doubled inside quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                fields.last_mut().unwrap().push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().unwrap().push(letter),
        }
    }
    fields
}
