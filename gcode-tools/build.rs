//! Compiles every file of `config/machines/` and `config/devices/` in, so that a new machine or drive is a TOML file and no
//! code.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    bundle("machines", "BUNDLED", "bundled_profiles.rs")?;
    bundle("devices", "BUNDLED_DEVICES", "bundled_devices.rs")
}

/// Writes a table of the names and texts of a folder's files.
fn bundle(folder: &str, table_name: &str, to: &str) -> io::Result<()> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../config").join(folder);
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<_> = fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let mut table = format!("static {table_name}: &[(&str, &str)] = &[\n");
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let _ = writeln!(table, "    ({name:?}, include_str!({:?})),", file.canonicalize()?.display().to_string());
    }
    table.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR").unwrap_or_default()).join(to), table)
}
