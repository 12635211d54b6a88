//! One host against one machine: two processes, and what was measured.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::child::{cpu_s, resident_kb};

/// Longest wait for a host, beyond what the line itself takes. A host that hangs fails, and the others go on.
const PATIENCE: Duration = Duration::from_secs(90);

/// A host.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) speaks: &'static [&'static str],
    pub(crate) program: Program,
}

/// What a host is.
pub(crate) enum Program {
    /// This program, with an argument.
    Own(&'static str),
    /// A script for Python, where its package is installed.
    Python(&'static str),
    /// A script for Node.js, where its package is installed.
    Node(&'static str),
}

/// What is measured.
pub(crate) struct Case {
    pub(crate) dialect: &'static str,
    pub(crate) baud: u32,
    pub(crate) latency_us: u64,
    /// How much of the line's rate the machine needs; zero: its motion takes no time.
    pub(crate) share: f64,
    pub(crate) quick: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) lines: u64,
    pub(crate) lines_per_s: f64,
    /// Bytes received, to those the line could have carried meanwhile.
    pub(crate) line_used: Option<f64>,
    pub(crate) cpu_s: f64,
    pub(crate) underruns: u64,
    pub(crate) resident_kb: u64,
    /// What must not have happened.
    pub(crate) trouble: String,
}

impl Case {
    /// Lines for a host: as many as take some seconds.
    fn lines(&self, host: &Host) -> u64 {
        let own = matches!(host.program, Program::Own(_));
        let lines = match (self.baud, own) {
            (0, true) => 300_000,
            (0, false) => 20_000,
            _ => 2_000,
        };
        if self.quick { lines / 5 } else { lines }
    }

    /// Bytes of one line of the program on the wire, as the bare loop says it.
    fn wire_bytes(&self, lines: u64) -> f64 {
        let program = program(self.dialect, lines, 6000.0);
        let numbering = if self.dialect == "marlin" { "N1234 ".len() + "*100".len() } else { 0 };
        program.len() as f64 / lines as f64 + numbering as f64
    }

    /// Feed in mm/min at which the machine needs its share of the line's rate.
    fn feed_mm_min(&self, lines: u64) -> f64 {
        if self.share == 0.0 {
            return 6000.0;
        }
        let lines_per_s = f64::from(self.baud) / 10.0 / self.wire_bytes(lines);
        MOVE_MM * lines_per_s * self.share * 60.0
    }
}

/// Length of each move of the program.
const MOVE_MM: f64 = 0.1;

/// Moves in one direction: so many stay on a bed of 200 mm.
const MOVES_ONE_WAY: u64 = 2_000;

/// Short moves as slicers and CAM programs write their lines, each as long as the others. They begin where the machine
/// stands and go on in one direction, so that it comes to its feed and stays there.
fn program(dialect: &str, lines: u64, feed_mm_min: f64) -> String {
    let mut text = String::new();
    for line in 0..lines {
        let (lap, step) = ((line + 1) / MOVES_ONE_WAY, (line + 1) % MOVES_ONE_WAY);
        let steps = if lap % 2 == 0 { step } else { MOVES_ONE_WAY - step };
        let (x, y) = (steps as f64 * MOVE_MM, 0.125);
        let _ = match (dialect, line) {
            (_, 0) => writeln!(text, "G1 X{x:.3} Y{y:.3} F{feed_mm_min:.0}"),
            ("marlin", _) => writeln!(text, "G1 X{x:.3} Y{y:.3} E{:.5}", 1.0 + (line % 8) as f64 / 8.0),
            _ => writeln!(text, "G1 X{x:.3} Y{y:.3}"),
        };
    }
    text
}

/// Runs a host.
pub(crate) fn run(host: &Host, case: &Case) -> Result<Outcome, String> {
    let lines = case.lines(host);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.gcode");
    std::fs::write(&file, program(case.dialect, lines, case.feed_mm_min(lines))).unwrap();
    let command = host.command()?;
    let machine = Machine::start(case);
    let mut process = Process::start(command, case.dialect, &machine.port, &file, &[])?;
    process.wait_for("ready")?;
    let cpu_before = cpu_s(process.child.id());
    process.say("go");
    process.wait_for("done")?;
    let cpu_s = cpu_s(process.child.id()) - cpu_before;
    let resident_kb = resident_kb(&process.child.id().to_string());
    drop(process);
    let report = machine.report();
    let number = |key: &str| report[key].as_u64().unwrap_or(0);
    let seconds = (number("motion_ended_at") - number("motion_began_at")) as f64 / 1e6;
    let mut trouble = String::new();
    // CNCjs sends lines without numbers, which the machine takes for questions of the host.
    let executed = number("executed") + number("own");
    if executed < lines {
        let _ = write!(trouble, "  executed only {executed}");
    }
    if number("overflow") > 0 || number("resends") > 0 {
        let _ = write!(trouble, "  lost {} bytes, {} resends", number("overflow"), number("resends"));
    }
    Ok(Outcome {
        lines,
        lines_per_s: lines as f64 / seconds,
        line_used: (case.baud > 0).then(|| number("bytes") as f64 * 10.0 / f64::from(case.baud) / seconds),
        cpu_s,
        underruns: number("underruns"),
        resident_kb,
        trouble,
    })
}

/// Streams a long program and prints what memory that takes.
pub(crate) fn memory(title: &str, dialect: &'static str, lines: u64) {
    println!("\n{title}: {lines} lines");
    let case = Case { dialect, baud: 0, latency_us: 0, share: 0.0, quick: false };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.gcode");
    std::fs::write(&file, program(dialect, lines, 6000.0)).unwrap();
    let machine = Machine::start(&case);
    let command = super::HOSTS[0].command().unwrap();
    let mut process = Process::start(command, dialect, &machine.port, &file, &["memory"]).unwrap();
    process.wait_for("ready").unwrap();
    println!("  at rest {:>8.1} MB", resident_kb(&process.child.id().to_string()) as f64 / 1024.0);
    process.say("go");
    loop {
        let line = process.heard.recv_timeout(PATIENCE).unwrap();
        let Some((percent, kilobytes)) = line.split_once(' ') else { break };
        println!("  {percent:>5} % {:>8.1} MB", kilobytes.parse::<f64>().unwrap() / 1024.0);
    }
    drop(process);
    println!("  executed {}", machine.report()["executed"]);
}

/// The simulated machine's process.
struct Machine {
    child: Child,
    output: BufReader<ChildStdout>,
    port: String,
}

impl Machine {
    fn start(case: &Case) -> Self {
        let speed = if case.share == 0.0 { "inf" } else { "1" };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--machine", case.dialect, &case.baud.to_string(), &case.latency_us.to_string(), speed])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        Self { child, output, port: port.trim().to_owned() }
    }

    fn report(mut self) -> serde_json::Value {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let _ = self.child.wait();
        serde_json::from_str(&text).unwrap()
    }
}

/// A host's process.
struct Process {
    child: Child,
    input: ChildStdin,
    heard: Receiver<String>,
}

impl Process {
    fn start(mut command: Command, dialect: &str, port: &str, file: &Path, more: &[&str]) -> Result<Self, String> {
        command.args([dialect, port]).arg(file).args(more);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot be started: {error}"))?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Ok(Self { child, input, heard })
    }

    /// Waits for a word; what else the host prints is its own affair.
    fn wait_for(&mut self, word: &str) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.trim() == word => return Ok(()),
                Ok(line) if line.starts_with("missing") => return Err(line),
                Ok(_) => {}
                Err(_) => return Err(format!("did not come to `{word}`")),
            }
        }
    }

    fn say(&mut self, word: &str) {
        let _ = writeln!(self.input, "{word}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    fn command(&self) -> Result<Command, String> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/streaming/peers");
        let missing = |what: &Path| format!("missing: {} is not there; see peers/install", what.display());
        let installed = |program: PathBuf| if program.exists() { Ok(program) } else { Err(missing(&program)) };
        match self.program {
            Program::Own(argument) => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg(argument);
                Ok(command)
            }
            Program::Python(script) => {
                let mut command = Command::new(installed(peers().join("python/bin/python"))?);
                command.arg(scripts.join(script));
                Ok(command)
            }
            Program::Node(script) => {
                let modules = installed(peers().join("node/node_modules/cncjs"))?;
                let mut command = Command::new("node");
                command.arg(scripts.join(script)).env("CNCJS", modules);
                Ok(command)
            }
        }
    }
}

/// Where the other hosts are installed: `PEERS`, or the build directory's `peers`.
fn peers() -> PathBuf {
    std::env::var_os("PEERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers"), PathBuf::from)
}
