//! What the agent costs, and how fast it answers when much is asked of it at once: memory, bytes written, status, stop.
//!
//! `cargo bench -p fab-agent --bench load [-- SECONDS]`: so many seconds of motion (300), and two minutes without. In a row:
//!
//! 1. one machine, idle: memory, and bytes written in an hour;
//! 2. 2,000 jobs in the store, 200 clients that follow the events, four machines that stream at 60 % of 250000 baud, a
//!    status asked for forty times a second; then a fifth machine is stopped again and again, and then the same with a
//!    frozen disk (`strace` holds back each call of the store's thread): memory, bytes written, the times of status and
//!    stop, underruns;
//! 3. a broker that takes the connection and reads nothing, 300 uploads under way, 1,100 half-open connections: the stop.
//!
//! The agent is a process of its own on core 0, everything else is on core 1. Times are from before the client's
//! connection until the whole answer is read; `benches/stop_latency` measures a stop to the machine's wire.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench is a script")]

mod crowd;
#[path = "../shop/fleet.rs"]
mod fleet;
mod host;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fab_agent::client::Client;
use fleet::{Fleet, Kind};
use host::Host;
use serde_json::Value;
use tokio::time::sleep;

/// Seconds of motion unless others are given, and seconds without any.
const SECONDS: f64 = 300.0;
const IDLE_S: f64 = 120.0;

/// What is in the store, and who follows the events.
const JOBS: usize = 2000;
const FOLLOWERS: usize = 200;

/// Machines that stream, and the one that is stopped: a Grbl, which is soon ready again.
const STREAMING: usize = 4;
const STOPPED: usize = STREAMING + 1;

/// Between two questions for a status.
const STATUS_EVERY: Duration = Duration::from_millis(25);

/// Until what was told has been written: what need not be written at once waits for 5 s.
const SETTLED: Duration = Duration::from_secs(8);

/// Stops among half-open connections and uploads.
const STOPS_IN_A_CROWD: usize = 100;

/// Longest wait for anything but the jobs themselves.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.split_first() {
        Some((role, rest)) if role == "--machines" => fleet::serve(rest),
        Some((role, rest)) if role == "--agent" => host::be_agent(rest),
        _ => {
            let seconds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(SECONDS);
            fleet::pin(fleet::OTHER_CORE);
            crowd::many_files();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                idle(IDLE_S.min(seconds)).await;
                loaded(seconds).await;
                crowded().await;
            });
        }
    }
}

/// Times of one kind of question.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let place = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(place.saturating_sub(1).min(last)).copied().unwrap_or_default()
    }

    fn print(mut self, what: &str, aim_ms: f64) {
        self.0.sort();
        let ms = |share| self.at(share).as_secs_f64() * 1000.0;
        let verdict = held(ms(0.99), aim_ms);
        println!(
            "  {what}: {} times, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; aim: p99 under {aim_ms} ms: {verdict}",
            self.0.len(),
            ms(0.5),
            ms(0.99),
            ms(1.0)
        );
    }
}

fn held(value: f64, aim: f64) -> &'static str {
    if value < aim { "held" } else { "MISSED" }
}

/// What a process wrote between two looks, in MB an hour.
struct Written {
    process: u32,
    bytes: u64,
    since: Instant,
}

impl Written {
    fn from_now(process: u32) -> Self {
        Self { process, bytes: host::bytes_written(process), since: Instant::now() }
    }

    fn mb_an_hour(&self) -> f64 {
        let bytes = host::bytes_written(self.process) - self.bytes;
        bytes as f64 / 1e6 / self.since.elapsed().as_secs_f64() * 3600.0
    }
}

async fn idle(seconds: f64) {
    let fleet = Fleet::start(1, 1);
    let folder = host::folder();
    let agent = Host::start(folder.path(), None, &fleet.ports);
    agent.is(1, "idle").await;
    sleep(SETTLED).await;
    let written = Written::from_now(agent.process());
    sleep(Duration::from_secs_f64(seconds)).await;
    let (mb, resident_mb) = (written.mb_an_hour(), fleet::resident_mb(agent.process()));
    println!("one machine, idle, for {seconds:.0} s:");
    println!("  written: {mb:.3} MB an hour; aim: under 1: {}", held(mb, 1.0));
    println!("  memory: {resident_mb:.1} MB; aim: under 12: {}", held(resident_mb, 12.0));
    drop(agent);
    fleet.reports();
}

/// A store with so many jobs that are over, as an agent of before left it.
fn remember(folder: &Path, jobs: usize) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/of-json-files/jobs/1a230cb039156392dd6.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
    let folder = folder.join("jobs");
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..jobs {
        let id = format!("1a2{number:016x}");
        record["id"] = id.clone().into();
        record["machine"] = format!("m{}", 1 + number % STREAMING).into();
        record["state"] = ["finished", "failed", "cancelled"][number % 3].into();
        std::fs::write(folder.join(format!("{id}.json")), record.to_string()).unwrap();
    }
}

async fn loaded(seconds: f64) {
    let fleet = Fleet::start(STOPPED, 1);
    let folder = host::folder();
    remember(folder.path(), JOBS);
    let agent = Host::start(folder.path(), None, &fleet.ports);
    for machine in 1..=STOPPED {
        agent.is(machine, "idle").await;
    }
    let known = agent.client.get("/api/v1/jobs?limit=200").await.unwrap();
    assert_eq!(known["jobs"].as_array().unwrap().len(), 200, "{known:#}");
    let events: Vec<_> = (0..FOLLOWERS).map(|_| Arc::new(AtomicU64::new(0))).collect();
    for counted in &events {
        tokio::spawn(crowd::follow(agent.address.clone(), counted.clone()));
    }
    let mut jobs = Vec::new();
    for machine in 1..=STREAMING {
        let kind = Kind::of(machine);
        jobs.push(agent.submit(machine, kind.program((kind.lines_per_s() * seconds) as u64)).await);
    }
    for job in &jobs {
        agent.begin(job).await;
    }
    sleep(SETTLED).await;
    let (began, agent_s, fleet_s) = (Instant::now(), fleet::cpu_s(agent.process()), fleet.cpu_s());
    let written = Written::from_now(agent.process());
    // A third of what is left each: nothing but the streams, stops, stops beside a frozen disk.
    let third = Duration::from_secs_f64((seconds - 3.0 * SETTLED.as_secs_f64()).max(3.0) / 3.0);
    let asking = tokio::spawn(statuses(agent.client.clone(), Instant::now() + 3 * third));
    sleep(third).await;
    let mb = written.mb_an_hour();
    let stops = stops(&agent, Instant::now() + third).await;
    let frozen = host::freeze(agent.process());
    let frozen_stops = self::stops(&agent, Instant::now() + third).await;
    let statuses = asking.await.unwrap();
    let resident_mb = fleet::resident_mb(agent.process());
    drop(frozen);
    let percent = |seconds: f64| seconds / began.elapsed().as_secs_f64() * 100.0;
    let (agent_percent, fleet_percent) =
        (percent(fleet::cpu_s(agent.process()) - agent_s), percent(fleet.cpu_s() - fleet_s));
    let streaming = agent.streaming(STREAMING).await;
    for job in &jobs {
        agent.ends(job, seconds).await;
    }
    let heard = events.iter().map(|events| events.load(Ordering::Relaxed)).min().unwrap_or(0);
    drop(agent);
    let reports = fleet.reports();
    let underruns: u64 = reports[..STREAMING].iter().filter_map(|report| report["underruns"].as_u64()).sum();
    println!(
        "{streaming} of {STREAMING} machines streaming, {FOLLOWERS} followers, {JOBS} jobs stored, {seconds:.0} s:"
    );
    println!("  written: {mb:.2} MB an hour, while nothing but the streams goes on");
    println!("  the agent uses {agent_percent:.0} % of its core, the machines {fleet_percent:.0} % of theirs");
    println!("  memory: {resident_mb:.1} MB; aim: under 40: {}", held(resident_mb, 40.0));
    statuses.print("status", 20.0);
    stops.print("stop", 5.0);
    frozen_stops.print("stop beside a frozen disk", 5.0);
    println!("  each follower heard {heard} events or more");
    println!("  underruns: {underruns}; aim: none: {}", if underruns == 0 { "held" } else { "MISSED" });
}

/// Asks for a status again and again.
async fn statuses(client: Client, until: Instant) -> Times {
    let mut times = Times::default();
    let mut next = tokio::time::interval(STATUS_EVERY);
    while Instant::now() < until {
        next.tick().await;
        let asked = Instant::now();
        client.get("/api/v1/machines/m1").await.unwrap();
        times.0.push(asked.elapsed());
    }
    times
}

/// Stops a machine and puts it right again, again and again.
async fn stops(agent: &Host, until: Instant) -> Times {
    let mut times = Times::default();
    while Instant::now() < until {
        agent.is(STOPPED, "idle").await;
        // Not in step with anything.
        sleep(Duration::from_micros(fastrand::u64(0..20_000))).await;
        let asked = Instant::now();
        agent.act(STOPPED, "stop").await.unwrap();
        times.0.push(asked.elapsed());
        // It may need more than one.
        let _ = agent.act(STOPPED, "clear").await;
    }
    times
}

async fn crowded() {
    let fleet = Fleet::start(1, 1);
    let folder = host::folder();
    let agent = Host::start(folder.path(), Some(crowd::hung_broker()), &fleet.ports);
    agent.is(1, "idle").await;
    let goes_on = Arc::new(AtomicBool::new(true));
    let uploading = crowd::upload(&agent.address, 1, &goes_on);
    let half_open = crowd::half_open(&agent.address);
    let mut times = Times::default();
    for _ in 0..STOPS_IN_A_CROWD {
        sleep(Duration::from_micros(fastrand::u64(0..20_000))).await;
        let asked = Instant::now();
        agent.act(1, "stop").await.unwrap();
        times.0.push(asked.elapsed());
    }
    let resident_mb = fleet::resident_mb(agent.process());
    goes_on.store(false, Ordering::Relaxed);
    let bytes = uploading.join().unwrap();
    println!(
        "a hung broker, {} uploads ({:.0} MB so far), {} half-open connections:",
        crowd::UPLOADS,
        bytes as f64 / 1e6,
        half_open.len()
    );
    times.print("stop", 50.0);
    println!("  memory: {resident_mb:.1} MB");
    drop(agent);
    fleet.reports();
}
