//! What a process asked of the kernel, read from `strace`: the writes, syncs, names and removals in one folder, in order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One thing that was done to the disk, or said to the world.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    /// A file that was not there is there, empty.
    Create(String),
    /// Bytes at a place of a file.
    Write(String, u64, Vec<u8>),
    /// A file is cut to a length.
    Cut(String, u64),
    /// What was written to a file is on the disk.
    Sync(String),
    /// The names in a folder are on the disk.
    SyncFolder(String),
    /// A file has another name.
    Rename(String, String),
    /// A name is gone.
    Remove(String),
    /// A folder is there.
    Folder(String),
    /// Somebody was told something.
    Said(String),
}

/// Runs a command and reads what it did in a folder, and what it wrote into the witness's file.
pub(crate) fn record(command: &Command, folder: &Path, witness: &Path) -> Vec<Deed> {
    let log = folder.with_extension("strace");
    let calls = "trace=openat,open,creat,write,pwrite64,lseek,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,\
                 ftruncate,mkdir,mkdirat";
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-xx", "-s", "1000000", "-e", calls, "-e", "signal=none", "-o"]).arg(&log);
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        strace.env(name, value.unwrap());
    }
    let output = strace.output().expect("strace is installed (./check does it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(log).unwrap();
    let mut reading =
        Reading { folder, witness, unfinished: HashMap::new(), places: HashMap::new(), deeds: Vec::new() };
    text.lines().for_each(|line| reading.line(line));
    reading.deeds
}

struct Reading<'a> {
    folder: &'a Path,
    witness: &'a Path,
    /// Calls of a thread that were interrupted in the log by another's.
    unfinished: HashMap<String, String>,
    /// Where each open file stands, by its number and path.
    places: HashMap<String, u64>,
    deeds: Vec<Deed>,
}

impl Reading<'_> {
    fn line(&mut self, line: &str) {
        let Some((thread, call)) = line.split_once(' ') else { return };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            self.unfinished.insert(thread.to_owned(), begun.to_owned());
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let Some(begun) = self.unfinished.remove(thread) else { return };
            let rest = rest.split_once("resumed>").map_or("", |(_, rest)| rest);
            self.call(&(begun + rest));
        } else {
            self.call(call);
        }
    }

    fn call(&mut self, call: &str) {
        let Some((name, rest)) = call.split_once('(') else { return };
        // The result of a call that was interrupted in the log stands in a column of its own.
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        let Some(arguments) = arguments.trim_end().strip_suffix(')') else { return };
        let arguments = arguments.trim_end();
        if result.starts_with('-') {
            return;
        }
        match name {
            "openat" | "open" => self.opened(arguments, result),
            "write" | "pwrite64" => self.wrote(name, arguments),
            "lseek" => {
                let place = result.split_whitespace().next().and_then(|place| place.parse().ok()).unwrap_or(0);
                self.places.insert(descriptor(arguments), place);
            }
            "fsync" | "fdatasync" => {
                let Some(path) = self.inside(&descriptor_path(arguments)) else { return };
                let deed = if path.contains('.') || path == "lock" { Deed::Sync(path) } else { Deed::SyncFolder(path) };
                self.deeds.push(deed);
            }
            "ftruncate" => {
                let Some(path) = self.inside(&descriptor_path(arguments)) else { return };
                let length = arguments.rsplit(", ").next().and_then(|length| length.parse().ok()).unwrap();
                self.deeds.push(Deed::Cut(path, length));
            }
            "rename" | "renameat" | "renameat2" => {
                let names: Vec<_> = quoted(arguments).iter().filter_map(|path| self.inside(path)).collect();
                if let [from, to] = &names[..] {
                    self.deeds.push(Deed::Rename(from.clone(), to.clone()));
                }
            }
            "unlink" | "unlinkat" => {
                let names: Vec<_> = quoted(arguments).iter().filter_map(|path| self.inside(path)).collect();
                self.deeds.extend(names.into_iter().map(Deed::Remove));
            }
            "mkdir" | "mkdirat" => {
                let names: Vec<_> = quoted(arguments).iter().filter_map(|path| self.inside(path)).collect();
                self.deeds.extend(names.into_iter().map(Deed::Folder));
            }
            _ => {}
        }
    }

    fn opened(&mut self, arguments: &str, result: &str) {
        let Some(path) = quoted(arguments).first().and_then(|path| self.inside(path)) else { return };
        self.places.insert(result.trim().to_owned(), 0);
        if arguments.contains("O_CREAT") {
            self.deeds.push(Deed::Create(path));
        }
    }

    fn wrote(&mut self, name: &str, arguments: &str) {
        let path = descriptor_path(arguments);
        let bytes = unescaped(arguments);
        if Path::new(&path) == self.witness {
            let text = String::from_utf8(bytes).unwrap();
            self.deeds.extend(text.lines().map(|line| Deed::Said(line.to_owned())));
            return;
        }
        let Some(path) = self.inside(&path) else { return };
        let place = if name == "pwrite64" {
            arguments.rsplit(", ").next().and_then(|place| place.parse().ok()).unwrap()
        } else {
            let place = self.places.entry(descriptor(arguments)).or_default();
            let at = *place;
            *place += bytes.len() as u64;
            at
        };
        self.deeds.push(Deed::Write(path, place, bytes));
    }

    /// The path within the folder, if it is in it. Empty for the folder itself.
    fn inside(&self, path: &str) -> Option<String> {
        let path = PathBuf::from(path.trim_end_matches(" (deleted)"));
        path.strip_prefix(self.folder).ok().map(|inside| inside.to_string_lossy().into_owned())
    }
}

/// The open file that a call is about, as `7<path>`; paths are spelled as hexadecimal escapes.
fn descriptor(arguments: &str) -> String {
    arguments.split_once('>').map_or(String::new(), |(descriptor, _)| format!("{descriptor}>"))
}

fn descriptor_path(arguments: &str) -> String {
    let descriptor = descriptor(arguments);
    let path = descriptor.split_once('<').map_or("", |(_, path)| path.trim_end_matches('>'));
    String::from_utf8_lossy(&hexadecimal(path)).into_owned()
}

fn quoted(arguments: &str) -> Vec<String> {
    let texts = arguments.split('"').skip(1).step_by(2);
    texts.map(|text| String::from_utf8_lossy(&hexadecimal(text)).into_owned()).collect()
}

fn unescaped(arguments: &str) -> Vec<u8> {
    arguments.split('"').nth(1).map(hexadecimal).unwrap_or_default()
}

/// Bytes that are all spelled `\x2f`, or plain text.
fn hexadecimal(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(&byte[..2], 16).unwrap()).collect()
}
