//! Witnesses that the tests start, and what they wait for.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A process whose first line says where it serves.
pub(super) struct Served {
    pub(super) process: Child,
    out: BufReader<Box<dyn std::io::Read>>,
    pub(super) address: String,
}

/// The repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Served {
    /// A device on libmodbus.
    pub(super) fn libmodbus(kind: &str) -> Self {
        Self::start("python3".into(), "libmodbus_device.py", &[kind])
    }

    /// A machine of the document, on pymodbus.
    pub(super) fn pymodbus(script: &str, arguments: &[&str]) -> Self {
        let python = root().join(".check/python/bin/python");
        assert!(python.exists(), "pymodbus is not installed: run ./check, which installs it into .check/python");
        Self::start(python, script, arguments)
    }

    fn start(python: PathBuf, script: &str, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witnesses").join(script);
        let mut command = Command::new(python);
        // What it imports from beside itself leaves no files there.
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script).args(arguments);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out: ChildStdout = process.stdout.take().unwrap();
        Self::new(process, Box::new(out))
    }

    /// Reads the first line.
    pub(super) fn new(process: Child, out: Box<dyn std::io::Read>) -> Self {
        let mut out = BufReader::new(out);
        let mut address = String::new();
        out.read_line(&mut address).unwrap();
        Self { process, out, address: address.trim().to_owned() }
    }

    /// Ends it; what it says it did.
    pub(super) fn report(mut self) -> Value {
        drop(self.process.stdin.take());
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The commands of a program, as they go over the wire.
pub(super) fn commands(program: &Path) -> Vec<String> {
    let mut lines = gcode_tools::read::Lines::new(std::fs::File::open(program).unwrap());
    let mut commands = Vec::new();
    let mut out = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        out.clear();
        let block = gcode_tools::block::Block::new(line.bytes);
        gcode_tools::wire::compact_for(&block, gcode_tools::wire::Alphabet::Grbl, &mut out);
        if !out.is_empty() {
            commands.push(String::from_utf8(out.clone()).unwrap());
        }
    }
    commands
}
