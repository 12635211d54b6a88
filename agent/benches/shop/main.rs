//! A shop with one small computer: sixteen machines at 250000 baud from one agent on one core, each of which needs 60 % of
//! its line. Does any of them ever wait?
//!
//! `cargo bench -p fab-agent --bench shop [-- SECONDS] [MACHINES]`: so many seconds of motion (20) on so many machines (16),
//! every second one a Marlin, every other a Grbl. The whole agent runs in a process of its own on core 0: HTTP, store and
//! recordings included. The simulated machines and this bench, which asks for the machines twice a second as an open page
//! does, are on core 1. No figure of a Raspberry Pi is claimed: what is shown is how far one core of this computer goes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench is a script")]

mod fleet;

use std::io::{BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::profile::Profile;
use drivers::{machine, priority};
use fab_agent::Agent;
use fab_agent::client::Client;
use fab_agent::config::{Config, Http, Store};
use fab_agent::sinks;
use fleet::{Fleet, Kind};
use serde_json::Value;

/// Machines and seconds unless others are given.
const MACHINES: usize = 16;
const SECONDS: f64 = 20.0;

/// Between two looks at how far the jobs are.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Longest wait for anything but the jobs themselves.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.split_first() {
        Some((role, rest)) if role == "--machines" => fleet::serve(rest),
        Some((role, rest)) if role == "--agent" => be_agent(rest),
        _ => {
            let mut numbers = arguments.iter().filter_map(|argument| argument.parse::<f64>().ok());
            let (seconds, machines) = (numbers.next().unwrap_or(SECONDS), numbers.next().unwrap_or(MACHINES as f64));
            fleet::pin(fleet::OTHER_CORE);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(measure(seconds, machines as usize));
        }
    }
}

/// The agent's process: `FOLDER PORT…`. Prints its address, and runs until standard input ends.
fn be_agent(arguments: &[String]) {
    let (folder, ports) = arguments.split_first().unwrap();
    fleet::pin(fleet::AGENT_CORE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| {
            priority::ask(priority::NETWORK);
        })
        .enable_all()
        .build()
        .unwrap();
    let agent = runtime.block_on(Agent::start(config(Path::new(folder), ports))).unwrap();
    println!("{}", agent.address());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    runtime.block_on(agent.stop());
}

fn config(folder: &Path, ports: &[String]) -> Config {
    let machine = |(number, port): (usize, &String)| machine::Setup {
        name: format!("m{number}"),
        port: port.clone(),
        baud: machine::Baud::Profile,
        profile: Arc::new(Profile::named(Kind::of(number).profile).unwrap()),
        reconnect: true,
        watch_table: false,
    };
    Config {
        site: "shop".to_owned(),
        agent: "shop".to_owned(),
        http: Http { listen: "127.0.0.1:0".parse().unwrap(), ..Http::default() },
        sinks: sinks::Settings { mqtt: None },
        store: Store { reserve_bytes: 0, ..Store::at(folder) },
        machines: ports.iter().enumerate().map(machine).collect(),
    }
}

/// The agent's process, seen from the bench.
struct Host {
    child: Child,
    client: Client,
}

impl Host {
    fn start(folder: &Path, ports: &[String]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--agent")
            .arg(folder)
            .args(ports)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let address = fleet::read_line(&mut BufReader::new(child.stdout.take().unwrap()));
        Self { child, client: Client::new(address, None) }
    }

    /// The state of every machine.
    async fn states(&self) -> Vec<String> {
        let machines: Value = self.client.get("/api/v1/machines").await.unwrap();
        let machines = machines.as_array().or_else(|| machines["machines"].as_array()).cloned().unwrap_or_default();
        machines.iter().map(|machine| machine["state"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn wait_for_idle(&self, machines: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.states().await.iter().filter(|state| *state == "idle").count() < machines {
            assert!(Instant::now() < deadline, "not every machine becomes idle: {:?}", self.states().await);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Hands in a job; its id.
    async fn submit(&self, machine: usize, program: String) -> String {
        let path = format!("/api/v1/machines/m{machine}/jobs?name=shop.gcode");
        let record = self.client.post(&path, "text/x.gcode", program).await.unwrap();
        assert_ne!(record["state"], "refused", "{record:#}");
        record["id"].as_str().unwrap().to_owned()
    }

    async fn begin(&self, job: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.client.post(&format!("/api/v1/jobs/{job}/start"), "application/json", "").await.is_err() {
            assert!(Instant::now() < deadline, "the job cannot be started");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn job(&self, job: &str) -> Value {
        self.client.get(&format!("/api/v1/jobs/{job}")).await.unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

async fn measure(seconds: f64, machines: usize) {
    let fleet = Fleet::start(machines, 0);
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(folder.path(), &fleet.ports);
    host.wait_for_idle(machines).await;
    let process = host.child.id();
    let resting_mb = fleet::resident_mb(process);
    let mut jobs = Vec::new();
    let mut lines = 0.0;
    for machine in 0..machines {
        let kind = Kind::of(machine);
        let count = (kind.lines_per_s() * seconds) as u64;
        lines += count as f64;
        jobs.push(host.submit(machine, kind.program(count)).await);
    }
    // The checks are through before the clock starts.
    for job in &jobs {
        let deadline = Instant::now() + PATIENCE;
        while matches!(host.job(job).await["state"].as_str(), Some("received" | "checking")) {
            assert!(Instant::now() < deadline, "a program is still being checked");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let (cpu_before, fleet_before, began) = (fleet::cpu_s(process), fleet.cpu_s(), Instant::now());
    for job in &jobs {
        host.begin(job).await;
    }
    let deadline = Instant::now() + PATIENCE + Duration::from_secs_f64(seconds * 3.0);
    while host.states().await.iter().any(|state| state == "running") {
        assert!(Instant::now() < deadline, "the jobs do not end: {:?}", host.states().await);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = began.elapsed().as_secs_f64();
    let (cpu_s, fleet_s) = (fleet::cpu_s(process) - cpu_before, fleet.cpu_s() - fleet_before);
    let streaming_mb = fleet::resident_mb(process);
    for job in &jobs {
        let record = host.job(job).await;
        assert_eq!(record["state"], "finished", "{record:#}");
    }
    drop(host);
    let reports = fleet.reports();
    let number = |report: &Value, key: &str| report[key].as_u64().unwrap_or(0);
    let mut underruns = 0;
    println!("  {:<4} {:<7} {:>8} {:>10} {:>10}", "", "", "lines", "line used", "underruns");
    for (machine, report) in reports.iter().enumerate() {
        let moved_s = (number(report, "motion_ended_at") - number(report, "motion_began_at")) as f64 / 1e6;
        let used = number(report, "bytes") as f64 * 10.0 / f64::from(fleet::BAUD) / moved_s;
        underruns += number(report, "underruns");
        println!(
            "  m{machine:<3} {:<7} {:>8} {:>8.1} % {:>10}",
            Kind::of(machine).dialect,
            number(report, "executed"),
            used * 100.0,
            number(report, "underruns")
        );
    }
    println!(
        "{machines} machines at {} baud, {:.0} % of each line needed, {took:.1} s:",
        fleet::BAUD,
        fleet::SHARE * 100.0
    );
    println!("  {:.0} lines/s in all", lines / took);
    println!(
        "  agent: {:.0} % of its core, {:.2} s for 100,000 lines",
        cpu_s / took * 100.0,
        cpu_s * 100_000.0 / lines
    );
    println!("  agent: {resting_mb:.1} MB at rest, {streaming_mb:.1} MB behind the jobs");
    println!("  machines: {:.0} % of their core", fleet_s / took * 100.0);
    println!("aim: no underrun: {}", if underruns == 0 { "held" } else { "MISSED" });
}
