//! The drives of a configuration that need not be right: each is stopped that can be read.

use std::path::Path;

use drivers::modbus::Auxiliary;
use drivers::modbus::{drives, drives_of};
use drivers::profile::{Profile, split};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The drives beside a machine.
#[derive(Debug)]
pub(crate) struct Stoppable {
    /// The machine's name, or its place in the file.
    pub(crate) machine: String,
    /// Its port, on which drives without one of their own are.
    pub(crate) port: String,
    /// Its drives.
    pub(crate) drives: Vec<Auxiliary>,
}

/// Reads the drives of a configuration's machines, and everything that is wrong with it.
pub(crate) fn read(file: &Path) -> (Vec<Stoppable>, Vec<String>) {
    let mut problems: Vec<String> = match super::Config::load(file) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    let right = problems.is_empty();
    let Ok(text) = std::fs::read_to_string(file) else { return (Vec::new(), problems) };
    let folder = file.parent().unwrap_or(Path::new("."));
    let (table, _) = DeTable::parse_recoverable(&text);
    let machines = table.get_ref().get("machine").and_then(|machines| machines.get_ref().as_array());
    let mut found = Vec::new();
    for (at, section) in machines.into_iter().flatten().enumerate() {
        let said =
            |key: &str| section.get_ref().get(key).and_then(|value: &Spanned<DeValue<'_>>| value.get_ref().as_str());
        let machine = said("id").map_or_else(|| format!("machine {}", at + 1), ToOwned::to_owned);
        let mut read = drives_of(section.get_ref().get("auxiliary"));
        let profile = said("profile").unwrap_or("");
        match profile_text(profile, folder) {
            Some(text) => {
                let of_profile = drives(&text);
                read.drives.extend(of_profile.drives);
                read.problems.extend(of_profile.problems);
            }
            None => read.problems.push(format!("its profile `{profile}` cannot be read")),
        }
        if right {
            // Otherwise they are among the configuration's mistakes already.
            problems.extend(read.problems.into_iter().map(|problem| format!("{machine}: {problem}.")));
        }
        if !read.drives.is_empty() {
            found.push(Stoppable { machine, port: said("port").unwrap_or("").to_owned(), drives: read.drives });
        }
    }
    (found, problems)
}

/// The text of a profile, by name or path.
fn profile_text(name: &str, folder: &Path) -> Option<String> {
    // Of a variant only the base is read: no variant has other drives.
    let (name, _) = split(name);
    let bundled = Profile::bundled().iter().find(|(known, _)| *known == name);
    match bundled {
        Some((_, text)) => Some((*text).to_owned()),
        None => std::fs::read_to_string(folder.join(name)).ok(),
    }
}
