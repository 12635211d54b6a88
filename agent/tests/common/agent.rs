//! A running agent: the real program, with simulated machines on pseudo-terminals, asked over real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![allow(dead_code, reason = "each test file uses its part of the fixture")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drivers::profile::{Kind, Profile};
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Report, Simulated};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything in these tests: far beyond what a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that will happen by itself.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A real milling program of 757 lines.
pub(crate) const PLATE: &[u8] = include_bytes!("../../../config/demo/plate.nc");

/// Simulated machines and the folder an agent lives in. The agent can be started, killed and started again.
pub(crate) struct Workshop {
    pub(crate) home: TempDir,
    ports: Vec<(String, String, Port)>,
    http: String,
    mqtt: String,
    /// Machines on ports of their own.
    others: String,
    environment: Vec<(String, PathBuf)>,
    /// What starts the agent, if it is not started as it is.
    through: Vec<String>,
    /// Whether a person must say that the table is clear.
    clear: &'static str,
}

/// The agent's process. Dropping it kills it, as a power cut would.
pub(crate) struct Agent {
    process: Child,
    pub(crate) host: String,
    said: Arc<Mutex<Vec<String>>>,
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Workshop {
    /// A workshop of machines: name, profile, and how many times faster than real each is.
    pub(crate) fn new(machines: &[(&str, &str, f64)]) -> Self {
        Self::on(machines, |machine| Port::on_pty(machine, Between::default(), None))
    }

    /// The same on TCP. A terminal that a killed agent had for itself is not given to the next one, but to root.
    pub(crate) fn on_tcp(machines: &[(&str, &str, f64)]) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::on(machines, |machine| Port::on_tcp(machine, Between::default(), listen))
    }

    fn on(machines: &[(&str, &str, f64)], put: impl Fn(Box<dyn Simulated>) -> std::io::Result<Port>) -> Self {
        let ports = machines.iter().map(|(name, profile, speed)| {
            let known = Profile::named(profile).unwrap();
            let setup = sim::Setup {
                speed: *speed,
                planner_blocks: known.motion.planner_blocks as usize,
                laser_mode: known.kind == Kind::Laser,
                keep_lines: true,
                ..sim::Setup::default()
            };
            let port = put(sim::simulated(&known.dialect, &setup).unwrap()).unwrap();
            ((*name).to_owned(), (*profile).to_owned(), port)
        });
        let ports = ports.collect();
        Self {
            home: tempfile::tempdir().unwrap(),
            ports,
            http: "listen = \"127.0.0.1:0\"\n".to_owned(),
            mqtt: String::new(),
            others: String::new(),
            environment: Vec::new(),
            through: Vec::new(),
            clear: "assumed",
        }
    }

    /// With machines whose tables must be said to be clear before each job.
    pub(crate) fn clear_is_said(mut self) -> Self {
        self.clear = "said";
        self
    }

    /// Puts another machine there, as it is made, with something wrong on its line.
    pub(crate) fn put(&mut self, name: &str, profile: &str, setup: &sim::Setup, between: Between) {
        let machine = sim::simulated(&Profile::named(profile).unwrap().dialect, setup).unwrap();
        let port = Port::on_pty(machine, between, None).unwrap();
        self.ports.push((name.to_owned(), profile.to_owned(), port));
    }

    /// A variable of the agent's environment that names a file, and what is in the file.
    pub(crate) fn with_file(&mut self, variable: &str, content: &str) {
        let path = self.home.path().join(variable);
        std::fs::write(&path, content).unwrap();
        self.environment.push((variable.to_owned(), path));
    }

    /// Runs a command beside the agent, in its environment and with its configuration; what it printed.
    pub(crate) fn run_beside(&self, agent: &Agent, command: &str) -> String {
        let config = std::fs::read_to_string(self.home.path().join("agent.toml")).unwrap();
        // It listens where the system let it.
        let path = self.home.path().join("beside.toml");
        std::fs::write(&path, config.replace("127.0.0.1:0", &agent.host)).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
        program.args([command, "--config"]).arg(path);
        let output = program.envs(self.environment.iter().cloned()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// With a token that clients must show.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        std::fs::write(self.home.path().join("token"), token).unwrap();
        self.http += "token_file = \"token\"\n";
        self
    }

    /// With another setting of the HTTP server.
    pub(crate) fn with_http(mut self, setting: &str) -> Self {
        self.http.push_str(setting);
        self.http.push('\n');
        self
    }

    /// Has the agent started by another program: the last of these words is followed by the agent's own.
    pub(crate) fn through(&mut self, words: &[&str]) {
        self.through = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// With a broker on a port of this computer.
    pub(crate) fn with_broker(&mut self, port: u16) {
        self.mqtt = format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n");
    }

    /// With another machine, whose profile is a file of its own, on a port of its own.
    pub(crate) fn with_machine(mut self, name: &str, profile: &str, port: &str) -> Self {
        std::fs::write(self.home.path().join(format!("{name}.toml")), profile).unwrap();
        let section = format!(
            "[[machine]]\nid = \"{name}\"\nprofile = \"./{name}.toml\"\nport = \"{port}\"\nclear = \"assumed\"\n"
        );
        self.others.push_str(&section);
        self
    }

    /// What starts the agent, with its configuration written.
    fn command(&self) -> Command {
        let store = "[store]\ndir = \"store\"\nreserve_mb = 0\nprogram_max_mb = 1\n";
        let mut config = format!("[http]\n{}{store}{}", self.http, self.mqtt);
        for (name, profile, port) in &self.ports {
            let port = port.address();
            let section = [
                "[[machine]]".to_owned(),
                format!("id = \"{name}\""),
                format!("profile = \"{profile}\""),
                format!("port = \"{port}\""),
                format!("clear = \"{}\"\n", self.clear),
            ];
            config.push_str(&section.join("\n"));
        }
        config.push_str(&self.others);
        let path: PathBuf = self.home.path().join("agent.toml");
        std::fs::write(&path, config).unwrap();
        let words: Vec<&str> =
            self.through.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_fab-agent")]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["run", "--config"]).arg(&path).envs(self.environment.iter().cloned());
        command
    }

    /// Starts the agent and waits until it serves.
    pub(crate) fn start(&self) -> Agent {
        let mut process = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let serving = lines.find_map(|line| {
            let line = line.unwrap();
            said.lock().unwrap().push(line.clone());
            assert!(!line.contains('\u{1b}'), "colours are for terminals, and this is none: {line:?}");
            line.split_once("page on http://").map(|(_, host)| host.to_owned())
        });
        let host = serving.expect("the agent ended before it served");
        let heard = said.clone();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| heard.lock().unwrap().push(line)));
        Agent { process, host, said }
    }

    /// Starts the agent, which says why it cannot, and ends.
    pub(crate) fn start_and_fail(&self, code: &str) {
        let output = self.command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(code), "{said}");
    }

    /// What a simulated machine says it did.
    pub(crate) fn report(&self, machine: &str) -> Report {
        self.ports.iter().find(|(name, ..)| name == machine).unwrap().2.report().unwrap()
    }

    /// Unplugs a machine.
    pub(crate) fn unplug(&mut self, machine: &str) {
        self.ports.retain(|(name, ..)| name != machine);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    /// The agent's process number.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// What it has written to its log so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) -> bool {
        let process = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.process.wait().unwrap().success()
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    /// Sends a request exactly as given and reads the whole answer.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // An agent that refuses early need not read the rest.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// Asks with extra header lines, each ended by CR LF.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let (host, length) = (&self.host, body.len());
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.raw(&request)
    }

    /// Asks for a document that must be there.
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "", b"");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Submits a program.
    pub(crate) fn submit(&self, machine: &str, program: &[u8]) -> Value {
        let answer = self.ask("POST", &format!("/api/v1/machines/{machine}/jobs?name=part.nc"), "", program);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// Submits a program to an idle machine and starts it.
    pub(crate) fn start(&self, machine: &str, program: &[u8]) -> Value {
        self.machine_is(machine, "idle");
        let job = self.submit(machine, program);
        assert_eq!(self.act("jobs", text(&job, "id"), "start").status, 200);
        job
    }

    /// Asks for something to be done to a job, or to a machine.
    pub(crate) fn act(&self, what: &str, id: &str, action: &str) -> Answer {
        self.ask("POST", &format!("/api/v1/{what}/{id}/{action}"), "", b"")
    }

    /// Looks until the document is as wanted.
    pub(crate) fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_with(path, "", wanted)
    }

    /// The same, with extra header lines.
    pub(crate) fn until_with(&self, path: &str, headers: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.ask("GET", path, headers, b"");
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            let document = answer.json();
            if wanted(&document) {
                return document;
            }
            assert!(started.elapsed() < PATIENCE, "never happened: {document:#}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until a machine is in a state.
    pub(crate) fn machine_is(&self, machine: &str, state: &str) -> Value {
        self.until(&format!("/api/v1/machines/{machine}"), |document| document["state"] == state)
    }

    /// Waits until a job is in a state.
    pub(crate) fn job_is(&self, job: &Value, state: &str) -> Value {
        let id = job["id"].as_str().unwrap();
        self.until(&format!("/api/v1/jobs/{id}"), |document| document["state"] == state)
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The stable code of a problem document.
    pub(crate) fn code(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

/// A document's text.
pub(crate) fn text<'v>(document: &'v Value, field: &str) -> &'v str {
    document[field].as_str().unwrap_or_else(|| panic!("no {field} in {document:#}"))
}
