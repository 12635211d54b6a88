//! How long an emergency stop takes, from the HTTP request to the byte on the machine's wire, when everything else is
//! as bad as it gets: a job streams at full speed, 8 MB uploads arrive, and the MQTT broker takes the connection and
//! then reads nothing.
//!
//! `cargo bench -p fab-agent --bench stop_latency [-- SAMPLES] [busy] [shop] [grbl|marlin]`; `busy` keeps every core busy with an
//! endless loop meanwhile. `shop` gives the agent fifteen more machines, each streaming 60 % of 250000 baud, and one core
//! for all its threads; the fifteen are in a process of their own, and that, the client, the uploads and the machine that is
//! stopped are on the other core. The machines are a simulated Grbl and a simulated
//! Marlin whose motion takes no time, each on a real pseudo-terminal; the clock stops when their end of the terminal
//! has read the stop. The time includes the client's own TCP connection, as a page's would.
//!
//! The agent's threads ask for the priority they ask for in the daemon. Client and machine stand for other computers,
//! so their threads get it too; the uploads' does not.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench is a script")]

#[path = "shop/fleet.rs"]
mod fleet;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use drivers::profile::Profile;
use drivers::{Moment, machine, priority, sim};
use fab_agent::Agent;
use fab_agent::client::Client;
use fab_agent::config::{Config, Http, Store};
use fab_agent::sinks::{self, mqtt};
use fleet::{Fleet, Kind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Stops measured unless another number is given.
const SAMPLES: usize = 200;

/// A machine that is stopped again and again.
struct Case {
    profile: &'static str,
    dialect: &'static str,
    /// What a stop is on the wire.
    stop: &'static [u8],
    /// How the job begins.
    head: &'static str,
    /// Which way the axes go from home.
    sign: &'static str,
}

const CASES: [Case; 2] = [
    Case { profile: "grbl-router-6040", dialect: "grbl", stop: b"\x18", head: "G21\nG90\nG1 F1000\n", sign: "-" },
    Case { profile: "prusa-mk3s", dialect: "marlin", stop: b"M112", head: "G28\nG1 F1000\n", sign: "" },
];

/// The aim, at the 99th percentile.
const AIM: Duration = Duration::from_millis(5);

/// Lines of the job: some seconds at the fastest rate there is.
const JOB_LINES: usize = 400_000;

/// How long the endless loops run before a stop is sent among them.
const UNDER_WAY: Duration = Duration::from_millis(50);

/// An upload, and how it arrives: 64 kB a millisecond.
const UPLOAD_BYTES: usize = 8 << 20;
const UPLOAD_CHUNK: usize = 64 << 10;

/// Longest wait for anything. Beyond it the bench has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Machines of a shop beside the one that is stopped, and the lines of their jobs: a quarter of an hour at their rate.
const OTHERS: usize = 15;
const OTHERS_SECONDS: f64 = 900.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((role, rest)) = arguments.split_first() {
        if role == "--machines" {
            return fleet::serve(rest);
        }
    }
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let samples = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(SAMPLES);
    let busy = has("busy").then(Busy::start);
    let one = CASES.iter().any(|case| has(case.dialect));
    for case in CASES.iter().filter(|case| !one || has(case.dialect)) {
        measure(case, samples, busy.as_ref(), has("shop"));
    }
}

/// An endless loop for each core, in processes of their own, of the priority this one was started with.
struct Busy(Vec<std::process::Child>);

impl Busy {
    fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let endless = || std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..cores).map(|_| endless()).collect())
    }

    /// Lets the computer have its cores while the next stop is prepared: the check of a program, which may wait, would
    /// take longer than everything else together.
    fn rest(&self) {
        self.all(Signal::SIGSTOP);
    }

    fn go_on(&self) {
        self.all(Signal::SIGCONT);
        std::thread::sleep(UNDER_WAY);
    }

    fn all(&self, signal: Signal) {
        for child in &self.0 {
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn measure(case: &Case, samples: usize, busy: Option<&Busy>, shop: bool) {
    // A thread runs where the one that starts it ran.
    let pin = |core| {
        if shop {
            fleet::pin(core);
        }
    };
    let fleet = shop.then(|| Fleet::start(OTHERS, 1));
    let others = fleet.as_ref().map_or(&[][..], |fleet| &fleet.ports);
    pin(fleet::AGENT_CORE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| {
            priority::ask(priority::NETWORK);
        })
        .enable_all()
        .build()
        .unwrap();
    pin(fleet::OTHER_CORE);
    let wire = Wire::open(case);
    let folder = tempfile::tempdir().unwrap();
    let deaf = deaf_broker();
    pin(fleet::AGENT_CORE);
    let agent = runtime.block_on(Agent::start(config(case, &wire, folder.path(), deaf, others))).unwrap();
    pin(fleet::OTHER_CORE);
    let address = agent.address().to_string();
    let uploading = Arc::new(AtomicBool::new(true));
    let uploader = std::thread::spawn({
        let (address, uploading) = (address.clone(), uploading.clone());
        move || {
            // A thread begins with the priority of the one that starts it.
            priority::ask(0);
            upload_again_and_again(&address, &uploading)
        }
    });
    let client = Client::new(address, None);
    runtime.block_on(stream_on_all(&client, others.len()));
    let program = program(case);
    let mut latencies = Vec::new();
    // The client runs on this thread.
    let nice = priority::ask(priority::NETWORK);
    println!("{}: a thread that asks for nice {} gets {nice:?}", case.dialect, priority::NETWORK);
    for sample in 0..samples {
        latencies.push(runtime.block_on(stop_once(&client, &wire, &program, busy)));
        if sample % 20 == 19 {
            eprintln!("{} of {samples}", sample + 1);
        }
    }
    if let Some(fleet) = &fleet {
        let (streaming, process) = (runtime.block_on(streaming(&client, others.len())), std::process::id());
        println!("{streaming} of {} other machines stream", others.len());
        println!("their process has used {:.0} s of its core", fleet.cpu_s());
        let (cpu_s, resident_mb) = (fleet::cpu_s(process), fleet::resident_mb(process));
        println!("the agent and all else here have used {cpu_s:.0} s and hold {resident_mb:.1} MB");
    }
    uploading.store(false, Ordering::Relaxed);
    let uploads = uploader.join().unwrap();
    runtime.block_on(agent.stop());
    report(case, &mut latencies, uploads);
    if let Some(fleet) = fleet {
        let underruns: u64 = fleet.reports().iter().filter_map(|report| report["underruns"].as_u64()).sum();
        println!("underruns of the other machines: {underruns}");
    }
}

/// Begins a long job on every other machine.
async fn stream_on_all(client: &Client, machines: usize) {
    for machine in 1..=machines {
        let kind = Kind::of(machine);
        let program = kind.program((kind.lines_per_s() * OTHERS_SECONDS) as u64);
        let deadline = Instant::now() + PATIENCE;
        while state_of(client, &format!("m{machine}")).await != "idle" {
            assert!(Instant::now() < deadline, "m{machine} does not become idle");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let path = format!("/api/v1/machines/m{machine}/jobs?name=shop.gcode");
        let record = client.post(&path, "text/x.gcode", program).await.unwrap();
        let start = format!("/api/v1/jobs/{}/start", record["id"].as_str().unwrap());
        while client.post(&start, "application/json", "").await.is_err() {
            assert!(Instant::now() < deadline, "the job of m{machine} cannot be started: {record:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// How many of the other machines stream.
async fn streaming(client: &Client, machines: usize) -> usize {
    let mut count = 0;
    for machine in 1..=machines {
        count += usize::from(state_of(client, &format!("m{machine}")).await == "running");
    }
    count
}

fn report(case: &Case, latencies: &mut [Duration], uploads: usize) {
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() as f64 * share).ceil() as usize).clamp(1, latencies.len()) - 1];
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let (stops, dialect) = (latencies.len(), case.dialect);
    println!("stop to wire, {dialect}, {stops} stops, {uploads} uploads of 8 MB meanwhile, MQTT blocked:");
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        println!("  {name:>5} {:8.3} ms", milliseconds(at(share)));
    }
    let verdict = if at(0.99) < AIM { "held" } else { "MISSED" };
    println!("aim: p99 under {} ms: {verdict}", AIM.as_millis());
}

/// Starts a job, waits until it streams, stops the machine, and puts it right again.
async fn stop_once(client: &Client, wire: &Wire, program: &str, busy: Option<&Busy>) -> Duration {
    busy.into_iter().for_each(Busy::rest);
    wait_for(client, "idle").await;
    let program = program.to_owned();
    let record = client.post("/api/v1/machines/bench/jobs?name=bench.nc", "text/x.gcode", program).await.unwrap();
    let id = record["id"].as_str().unwrap().to_owned();
    assert_ne!(record["state"], "refused", "{record:#}");
    // A program of this size may still be in its check.
    let deadline = Instant::now() + PATIENCE;
    while client.post(&format!("/api/v1/jobs/{id}/start"), "application/json", "").await.is_err() {
        assert!(Instant::now() < deadline, "the job cannot be started");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let streaming_from = wire.heard.load(Ordering::Relaxed) + 20_000;
    while wire.heard.load(Ordering::Relaxed) < streaming_from {
        assert!(Instant::now() < deadline, "the job does not stream");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    busy.into_iter().for_each(Busy::go_on);
    // Not in step with anything.
    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..5000))).await;
    while wire.stops.try_recv().is_ok() {}
    let pressed_at = Instant::now();
    client.post("/api/v1/machines/bench/stop", "application/json", "").await.unwrap();
    // The wire's own thread took the time, before or after the answer.
    let arrived_at = wire.stops.recv_timeout(PATIENCE).expect("the stop never arrived");
    let deadline = Instant::now() + PATIENCE;
    while state(client).await != "idle" {
        assert!(Instant::now() < deadline, "the machine stays {}", state(client).await);
        let _ = client.post("/api/v1/machines/bench/clear", "application/json", "").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    arrived_at.duration_since(pressed_at)
}

async fn state(client: &Client) -> String {
    state_of(client, "bench").await
}

async fn state_of(client: &Client, machine: &str) -> String {
    let machine: Value = client.get(&format!("/api/v1/machines/{machine}")).await.unwrap();
    machine["state"].as_str().unwrap().to_owned()
}

async fn wait_for(client: &Client, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    while state(client).await != wanted {
        assert!(Instant::now() < deadline, "the machine does not become {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn program(case: &Case) -> String {
    let (mut text, sign) = (case.head.to_owned(), case.sign);
    for line in 0..JOB_LINES {
        let _ = writeln!(text, "G1X{sign}{}.{:03}Y{sign}{}", line % 200, line % 1000, line % 100);
    }
    text
}

fn config(case: &Case, wire: &Wire, folder: &std::path::Path, broker_port: u16, others: &[String]) -> Config {
    let setup = |name: String, port: &str, profile: &str| machine::Setup {
        name,
        port: port.to_owned(),
        baud: drivers::machine::Baud::Profile,
        profile: Arc::new(Profile::named(profile).unwrap()),
        reconnect: true,
        watch_table: false,
    };
    let stopped = setup("bench".to_owned(), &wire.path, case.profile);
    let others = (1..).zip(others).map(|(number, port)| setup(format!("m{number}"), port, Kind::of(number).profile));
    Config {
        site: "bench".to_owned(),
        agent: "bench".to_owned(),
        http: Http { listen: "127.0.0.1:0".parse().unwrap(), ..Http::default() },
        sinks: sinks::Settings { mqtt: Some(mqtt::Settings::plain("127.0.0.1", broker_port)) },
        store: Store { reserve_bytes: 0, ..Store::at(folder) },
        machines: std::iter::once(stopped).chain(others).collect(),
    }
}

/// A broker that welcomes everybody and then never reads again.
fn deaf_broker() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut connect = [0; 4096];
            let _ = stream.read(&mut connect);
            // CONNACK of MQTT 5: no session, success, no properties.
            let _ = stream.write_all(&[0x20, 3, 0, 0, 0]);
            held.push(stream);
        }
    });
    port
}

/// Uploads that arrive for as long as the bench runs; each breaks off before its last byte, so that none is kept.
fn upload_again_and_again(address: &str, goes_on: &AtomicBool) -> usize {
    let chunk = vec![b'\n'; UPLOAD_CHUNK];
    let mut uploads = 0;
    while goes_on.load(Ordering::Relaxed) {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /api/v1/machines/bench/jobs HTTP/1.1\r\nhost: {address}\r\ncontent-length: {UPLOAD_BYTES}\r\n\r\n"
        );
        let sent = stream.write_all(head.as_bytes()).and_then(|()| {
            for _ in 0..UPLOAD_BYTES / UPLOAD_CHUNK - 1 {
                stream.write_all(&chunk)?;
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        uploads += usize::from(sent.is_ok());
    }
    uploads
}

/// A pseudo-terminal with a simulated Grbl behind it that tells when a stop arrives.
struct Wire {
    path: String,
    /// Bytes the machine has read.
    heard: Arc<AtomicU64>,
    stops: Receiver<Instant>,
}

impl Wire {
    fn open(case: &Case) -> Self {
        let (dialect, stop) = (case.dialect, case.stop);
        let pair = nix::pty::openpty(None, None).unwrap();
        let mut settings = nix::sys::termios::tcgetattr(&pair.slave).unwrap();
        nix::sys::termios::cfmakeraw(&mut settings);
        nix::sys::termios::tcsetattr(&pair.slave, nix::sys::termios::SetArg::TCSANOW, &settings).unwrap();
        let path = nix::unistd::ttyname(&pair.slave).unwrap().display().to_string();
        let heard = Arc::new(AtomicU64::new(0));
        let (tell, stops) = sync_channel(64);
        std::thread::spawn({
            let heard = heard.clone();
            move || {
                priority::ask(priority::MACHINE);
                let keep_open = pair.slave;
                serve(dialect, stop, &File::from(pair.master), &heard, &tell);
                drop(keep_open);
            }
        });
        Self { path, heard, stops }
    }
}

fn serve(dialect: &str, stop: &[u8], mut port: &File, heard: &AtomicU64, tell: &SyncSender<Instant>) {
    let setup = sim::Setup { speed: f64::INFINITY, ..sim::Setup::default() };
    let mut machine = sim::simulated(dialect, &setup).unwrap();
    let started_at = Instant::now();
    let (mut buffer, mut out) = ([0; 4096], Vec::new());
    loop {
        let now = || Moment(started_at.elapsed().as_micros() as u64);
        let wait = machine.wakes_at().map_or(50, |at| at.since(now()).as_millis().min(50) as u16);
        let ready = poll(&mut [PollFd::new(port.as_fd(), PollFlags::POLLIN)], PollTimeout::from(wait));
        if ready.is_ok_and(|ready| ready > 0) {
            let Ok(count) = port.read(&mut buffer) else { return };
            let stopped = buffer[..count].windows(stop.len()).any(|bytes| bytes == stop);
            if stopped {
                let _ = tell.try_send(Instant::now());
            }
            heard.fetch_add(count as u64, Ordering::Relaxed);
            machine.hear(now(), &buffer[..count]);
            if stopped && dialect == "marlin" {
                // A halted Marlin does nothing more until somebody presses its reset button.
                machine = sim::simulated(dialect, &setup).unwrap();
            }
        }
        machine.advance(now());
        machine.say(&mut out);
        if !out.is_empty() && port.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}
