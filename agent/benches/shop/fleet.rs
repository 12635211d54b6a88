//! Many simulated machines in a process of their own, pinned to one core, on pseudo-terminals behind modelled lines.
//!
//! One thread serves them all in ticks of half a millisecond, as a USB bus serves its devices in frames: sixteen threads
//! that wake for each byte would keep a core busy by themselves.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drivers::Moment;
use drivers::sim::{Faults, Line, LineSpeed, Setup, Simulated, simulated};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The core of the agent, and that of everything else.
pub(crate) const AGENT_CORE: usize = 0;
pub(crate) const OTHER_CORE: usize = 1;

/// What every line of the shop carries.
pub(crate) const BAUD: u32 = 250_000;

/// How much of its line each machine needs.
pub(crate) const SHARE: f64 = 0.6;

/// Between two looks at all machines.
const TICK: Duration = Duration::from_micros(500);

/// Length of each move.
const MOVE_MM: f64 = 0.1;

/// Moves in one direction: so many stay on any bed.
const MOVES_ONE_WAY: u64 = 1_000;

/// A kind of machine in the shop.
pub(crate) struct Kind {
    pub(crate) dialect: &'static str,
    pub(crate) profile: &'static str,
    /// How its job begins.
    head: &'static str,
    /// Which way the axes go from home.
    sign: f64,
    /// Bytes of a line on the wire, on average, numbering and line end included.
    wire_bytes: f64,
}

/// Every second machine is one, every other the other.
pub(crate) const KINDS: [Kind; 2] = [
    Kind {
        dialect: "marlin",
        profile: "prusa-mk3s",
        // Behind homing it rests for longer than what counts as an underrun.
        head: "G28\nG90\nG4 S1\n",
        sign: 1.0,
        wire_bytes: 24.5,
    },
    Kind { dialect: "grbl", profile: "grbl-router-6040", head: "G21\nG90\n", sign: -1.0, wire_bytes: 18.5 },
];

impl Kind {
    /// The kind of the machine with this number.
    pub(crate) fn of(number: usize) -> &'static Self {
        &KINDS[number % KINDS.len()]
    }

    /// Lines a second that are its share of the line.
    pub(crate) fn lines_per_s(&self) -> f64 {
        f64::from(BAUD) / 10.0 / self.wire_bytes * SHARE
    }

    /// Short moves that go on in one direction at the feed that needs this share of the line.
    pub(crate) fn program(&self, lines: u64) -> String {
        let mut text = self.head.to_owned();
        let feed_mm_min = MOVE_MM * self.lines_per_s() * 60.0;
        for line in 0..lines {
            let (lap, step) = (line / MOVES_ONE_WAY, line % MOVES_ONE_WAY);
            let steps = if lap % 2 == 0 { step } else { MOVES_ONE_WAY - step };
            let (x, y) = (self.sign * (10.0 + steps as f64 * MOVE_MM), self.sign * 10.125);
            let _ = match line {
                0 => writeln!(text, "G1 X{x:.3} Y{y:.3} F{feed_mm_min:.0}"),
                _ => writeln!(text, "G1 X{x:.3} Y{y:.3}"),
            };
        }
        text
    }
}

/// Lets this thread, and those that it starts, run on one core only.
pub(crate) fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).unwrap();
    if let Err(error) = sched_setaffinity(Pid::from_raw(0), &cores) {
        println!("not pinned to core {core}: {error}");
    }
}

/// The machines' process, seen from the bench.
pub(crate) struct Fleet {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(crate) ports: Vec<String>,
}

impl Fleet {
    /// Starts so many machines, the first of which has this number.
    pub(crate) fn start(count: usize, first: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--machines", &count.to_string(), &first.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let ports = (0..count).map(|_| read_line(&mut output)).collect();
        Self { child, output, ports }
    }

    /// Processor time of the machines so far, in seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        cpu_s(self.child.id())
    }

    /// Ends it: what each machine did.
    pub(crate) fn reports(mut self) -> Vec<serde_json::Value> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let _ = self.child.wait();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A line of another process, without its end.
pub(crate) fn read_line(output: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// One machine, its line and its end of the terminal.
struct Place {
    machine: Box<dyn Simulated>,
    to_machine: Line,
    to_host: Line,
    port: File,
    _slave: std::os::fd::OwnedFd,
}

/// The process of the machines: `COUNT FIRST`. Prints their ports, serves until standard input ends, prints their reports.
pub(crate) fn serve(arguments: &[String]) {
    let [count, first] = arguments else { panic!("{arguments:?}") };
    pin(OTHER_CORE);
    drivers::priority::ask(drivers::priority::MACHINE);
    let (count, first): (usize, usize) = (count.parse().unwrap(), first.parse().unwrap());
    let mut places: Vec<Place> = (first..first + count).map(Place::open).collect();
    let over = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let over = over.clone();
        move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Ordering::Relaxed);
        }
    });
    let started_at = Instant::now();
    let mut buffer = vec![0; 4096];
    while !over.load(Ordering::Relaxed) {
        for place in &mut places {
            place.tick(Moment::ZERO + started_at.elapsed(), &mut buffer);
        }
        std::thread::sleep(TICK);
    }
    for place in &places {
        println!("{}", serde_json::to_string(&place.machine.report()).unwrap());
    }
}

impl Place {
    fn open(number: usize) -> Self {
        let pair = nix::pty::openpty(None, None).unwrap();
        let mut settings = nix::sys::termios::tcgetattr(&pair.slave).unwrap();
        nix::sys::termios::cfmakeraw(&mut settings);
        nix::sys::termios::tcsetattr(&pair.slave, nix::sys::termios::SetArg::TCSANOW, &settings).unwrap();
        println!("{}", nix::unistd::ttyname(&pair.slave).unwrap().display());
        let port = File::from(pair.master);
        fcntl(&port, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let speed = LineSpeed { baud: BAUD, latency: Duration::ZERO };
        Self {
            machine: simulated(Kind::of(number).dialect, &Setup::default()).unwrap(),
            to_machine: Line::new(speed, Faults::default(), 1),
            to_host: Line::new(speed, Faults::default(), 2),
            port,
            _slave: pair.slave,
        }
    }

    fn tick(&mut self, now: Moment, buffer: &mut [u8]) {
        if let Ok(count) = self.port.read(buffer) {
            self.to_machine.send(now, &buffer[..count]);
        }
        let mut bytes = Vec::new();
        self.to_machine.receive(now, &mut bytes);
        self.machine.hear(now, &bytes);
        bytes.clear();
        self.machine.say(&mut bytes);
        self.to_host.send(now, &bytes);
        bytes.clear();
        self.to_host.receive(now, &mut bytes);
        if !bytes.is_empty() {
            self.port.write_all(&bytes).unwrap_or_else(|error| panic!("{}: {error}", self.port.as_raw_fd()));
        }
    }
}

/// Memory a process holds, in megabytes.
pub(crate) fn resident_mb(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

/// Processor time a process has used, in seconds: user and system, all threads, in steps of 10 ms.
pub(crate) fn cpu_s(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name may hold anything; what follows it does not.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 14 and 15 of proc(5), which counts from 1 and includes the two before the bracket; 100 ticks a second.
    (ticks(11) + ticks(12)) / 100.0
}
