//! The agent's process, as it is and as the bench sees it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::profile::Profile;
use drivers::{machine, priority};
use fab_agent::Agent;
use fab_agent::client::{Client, Failure};
use fab_agent::config::{Config, Http, Store};
use fab_agent::sinks::{self, mqtt};
use serde_json::Value;
use tokio::time::sleep;

use crate::fleet::{self, Kind};
use crate::{PATIENCE, crowd};

/// Between two looks at something that will happen by itself.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A folder on a disk, not in memory: what is written there is counted.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The agent's process: `FOLDER BROKER PORT…`, a broker's port or `-`. Prints its address, and runs until standard input
/// ends.
pub(crate) fn be_agent(arguments: &[String]) {
    let [folder, broker, ports @ ..] = arguments else { panic!("{arguments:?}") };
    fleet::pin(fleet::AGENT_CORE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| {
            priority::ask(priority::NETWORK);
        })
        .enable_all()
        .build()
        .unwrap();
    let agent = runtime.block_on(Agent::start(config(Path::new(folder), broker.parse().ok(), ports))).unwrap();
    println!("{}", agent.address());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    runtime.block_on(agent.stop());
}

fn config(folder: &Path, broker: Option<u16>, ports: &[String]) -> Config {
    let machine = |(number, port): (usize, &String)| machine::Setup {
        name: format!("m{number}"),
        port: port.clone(),
        baud: machine::Baud::Profile,
        profile: Arc::new(Profile::named(Kind::of(number).profile).unwrap()),
        reconnect: true,
        watch_table: false,
    };
    Config {
        site: "bench".to_owned(),
        agent: "bench".to_owned(),
        http: Http { listen: "127.0.0.1:0".parse().unwrap(), ..Http::default() },
        sinks: sinks::Settings { mqtt: broker.map(|port| mqtt::Settings::plain("127.0.0.1", port)) },
        store: Store { reserve_bytes: 0, ..Store::at(folder) },
        machines: (1..).zip(ports).map(machine).collect(),
    }
}

/// The agent's process, seen from the bench.
pub(crate) struct Host {
    child: Child,
    pub(crate) address: String,
    pub(crate) client: Client,
}

impl Host {
    pub(crate) fn start(folder: &Path, broker: Option<u16>, ports: &[String]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--agent")
            .arg(folder)
            .arg(broker.map_or_else(|| "-".to_owned(), |port| port.to_string()))
            .args(ports)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let address = fleet::read_line(&mut BufReader::new(child.stdout.take().unwrap()));
        let client = Client::new(address.clone(), None);
        Self { child, address, client }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    async fn state(&self, machine: usize) -> String {
        let machine: Value = self.client.get(&format!("/api/v1/machines/m{machine}")).await.unwrap();
        machine["state"].as_str().unwrap().to_owned()
    }

    /// Waits until a machine is in a state; one in an alarm is cleared meanwhile.
    pub(crate) async fn is(&self, machine: usize, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state(machine).await;
            if state == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "m{machine} stays {state}");
            if state == "alarm" {
                let _ = self.act(machine, "clear").await;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn act(&self, machine: usize, action: &str) -> Result<Value, Failure> {
        self.client.post(&format!("/api/v1/machines/m{machine}/{action}"), "application/json", "").await
    }

    /// Hands in a job and waits until it is checked; its id.
    pub(crate) async fn submit(&self, machine: usize, program: String) -> String {
        let path = format!("/api/v1/machines/m{machine}/jobs?name=load.gcode");
        let record = self.client.post(&path, "text/x.gcode", program).await.unwrap();
        let id = record["id"].as_str().unwrap().to_owned();
        self.becomes(&id, PATIENCE, |state| !matches!(state, "received" | "checking")).await;
        id
    }

    pub(crate) async fn begin(&self, job: &str) {
        let started = self.client.post(&format!("/api/v1/jobs/{job}/start"), "application/json", "").await;
        started.unwrap_or_else(|failure| panic!("the job cannot be started: {failure}"));
    }

    /// Waits for the end of a job of so many seconds.
    pub(crate) async fn ends(&self, job: &str, seconds: f64) {
        let patience = PATIENCE + Duration::from_secs_f64(seconds * 2.0);
        let over = |state: &str| matches!(state, "finished" | "failed" | "cancelled");
        let state = self.becomes(job, patience, over).await;
        assert_eq!(state, "finished");
    }

    async fn becomes(&self, job: &str, patience: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let record = self.client.get(&format!("/api/v1/jobs/{job}")).await.unwrap();
            let state = record["state"].as_str().unwrap().to_owned();
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "{record:#}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// How many of the first machines stream.
    pub(crate) async fn streaming(&self, machines: usize) -> usize {
        let mut count = 0;
        for machine in 1..=machines {
            count += usize::from(self.state(machine).await == "running");
        }
        count
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Bytes that a process caused to be written to disks, see proc(5).
pub(crate) fn bytes_written(process: u32) -> u64 {
    let counts = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = counts.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// A disk that is frozen until this is dropped.
pub(crate) struct Frozen(Child);

impl Drop for Frozen {
    fn drop(&mut self) {
        // It lets go of the thread when it is told to end, and not when it is killed.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Has every call of the store's thread to the disk wait for longer than the bench.
pub(crate) fn freeze(process: u32) -> Frozen {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|task| task.unwrap().path());
    let is_store =
        |task: &std::path::PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "store");
    let thread = tasks.into_iter().find(is_store).expect("the store has a thread of its own");
    let calls = "pwrite64,fsync,fdatasync,ftruncate,openat,unlink,statx,newfstatat";
    let mut holding = Command::new("strace")
        .args(["-p", thread.file_name().unwrap().to_str().unwrap(), "-o", "/dev/null", "-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:delay_enter=3600000000")])
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is needed: apt-get install strace");
    let mut said = String::new();
    let mut words = BufReader::new(holding.stderr.take().unwrap());
    words.read_line(&mut said).unwrap();
    assert!(said.contains("attached"), "{said}");
    crowd::drain(words);
    Frozen(holding)
}
