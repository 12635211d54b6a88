//! A real Mosquitto on a loopback port of its own, and a real subscriber: witnesses that share no code with us.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![allow(dead_code, reason = "each test file uses its part of the fixture")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything in these tests: far beyond what a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A Mosquitto that is stopped when this is dropped.
pub(crate) struct Broker {
    pub(crate) port: u16,
    home: TempDir,
    server: Option<Child>,
    said: Arc<Mutex<Vec<String>>>,
    rules: Option<tempfile::NamedTempFile>,
}

impl Broker {
    /// Starts a broker that keeps its sessions over a restart. Fails where Mosquitto is not installed: a test that
    /// skips itself proves nothing.
    pub(crate) fn start() -> Self {
        Self::start_on(free_port())
    }

    /// Starts a broker that knows nothing on a port that is free.
    pub(crate) fn start_on(port: u16) -> Self {
        Self::start_with(port, "")
    }

    /// Starts a broker with a second port that speaks TLS and asks clients for a certificate; gives that port, too.
    pub(crate) fn start_with_tls() -> (Self, u16) {
        let (port, tls_port) = (free_port(), free_port());
        let file = |name| certificate(name).display().to_string();
        let text = format!(
            "listener {tls_port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\ncafile {}\ncertfile {}\nkeyfile {}\n",
            file("ca.pem"),
            file("server.pem"),
            file("server.key")
        );
        (Self::start_with(port, &text), tls_port)
    }

    /// Starts a broker that is configured a little differently.
    pub(crate) fn start_like(more: &str) -> Self {
        Self::start_with(free_port(), more)
    }

    /// Starts a broker with access rules.
    pub(crate) fn start_with_rules(rules: &str, more: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), rules).unwrap();
        let more = format!("acl_file {}\n{more}", file.path().display());
        let mut broker = Self::start_with(free_port(), &more);
        broker.rules = Some(file);
        broker
    }

    /// Corrects the access rules; in force from the next start.
    pub(crate) fn rules(&self, rules: &str) {
        std::fs::write(self.rules.as_ref().unwrap().path(), rules).unwrap();
    }

    /// How often the agent was let in until now.
    pub(crate) fn let_in(&self, name: &str) -> usize {
        // Its log is in order: what came before a client of our own is in it when that is.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let marker = format!("marker-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let client = Subscriber::named(self.port, &marker);
        let times = |name: &str| {
            let said = self.said.lock().unwrap();
            let named = |line: &&String| line.contains("New client connected") && line.contains(&format!(" as {name}"));
            said.iter().filter(named).count()
        };
        let started = Instant::now();
        while times(&marker) == 0 {
            assert!(started.elapsed() < PATIENCE, "Mosquitto's log does not show {marker}");
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(client);
        times(name)
    }

    fn start_with(port: u16, more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut broker = Self { port, home, server: None, said: Arc::default(), rules: None };
        // `user` matters only where tests run as root: Mosquitto would become a user who cannot read its own folder.
        let text = format!(
            "user root\npersistence true\npersistence_location {}/\nmax_queued_messages 0\n\
             listener {port} 127.0.0.1\nallow_anonymous true\n{more}",
            broker.home.path().display()
        );
        std::fs::write(broker.configuration(), text).unwrap();
        broker.restart();
        broker
    }

    fn configuration(&self) -> PathBuf {
        self.home.path().join("mosquitto.conf")
    }

    /// Starts it again on the same port, with the sessions it had.
    pub(crate) fn restart(&mut self) {
        self.vanish();
        let mut server = Command::new(program("mosquitto"))
            .arg("-c")
            .arg(self.configuration())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Mosquitto is needed for this test: apt-get install mosquitto mosquitto-clients");
        // Connecting to see whether it listens may connect the port to itself; its own words are surer.
        let mut log = BufReader::new(server.stderr.take().unwrap());
        self.server = Some(server);
        let mut line = String::new();
        while !line.contains("running") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "Mosquitto did not start on {}", self.port);
        }
        let said = self.said.clone();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                said.lock().unwrap().push(line);
            }
        });
    }

    /// Stops it in good order, so that it writes its sessions down.
    pub(crate) fn vanish(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = Command::new("kill").arg(server.id().to_string()).status();
            let _ = server.wait();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.vanish();
    }
}

/// One message as `mosquitto_sub` saw it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) retained: bool,
    pub(crate) qos: u8,
    pub(crate) body: Value,
}

/// A `mosquitto_sub` that is stopped when this is dropped.
pub(crate) struct Subscriber {
    client: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// Subscribes with QoS 1. With a `session`, the broker keeps what this subscriber misses.
    pub(crate) fn new(port: u16, filter: &str, session: Option<&str>) -> Self {
        let mut command = Command::new(program("mosquitto_sub"));
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", filter, "-F", "%r %q %t %p"]);
        if let Some(session) = session {
            command.args(["-c", "-i", session]);
        }
        Self::begin(command)
    }

    /// A client of this name.
    pub(crate) fn named(port: u16, name: &str) -> Self {
        let mut command = Command::new(program("mosquitto_sub"));
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "nothing", "-i", name]);
        Self::begin(command)
    }

    fn begin(mut command: Command) -> Self {
        let mut client = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto_sub is needed for this test: apt-get install mosquitto-clients");
        let output = BufReader::new(client.stdout.take().unwrap());
        let (sender, lines) = sync_channel(100_000);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { client, lines }
    }

    /// The next message for which `wanted` holds. Others are passed over.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.next_before(deadline) {
                Some(message) if wanted(&message) => return message,
                Some(message) => seen.push(format!("{} {}", message.topic, message.body)),
                None => panic!("no {what}; heard only: {seen:#?}"),
            }
        }
    }

    /// The next message on a topic that ends so.
    pub(crate) fn wait_on(&self, ending: &str) -> Message {
        self.wait_for(ending, |message| message.topic.ends_with(ending))
    }

    /// The next message, if one comes before the deadline.
    pub(crate) fn next_before(&self, deadline: Instant) -> Option<Message> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Some(read(&line)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("mosquitto_sub ended"),
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn read(line: &str) -> Message {
    let mut parts = line.splitn(4, ' ');
    let mut part = || parts.next().unwrap_or_default();
    Message {
        retained: part() == "1",
        qos: part().parse().unwrap(),
        topic: part().to_owned(),
        body: serde_json::from_str(part()).unwrap_or(Value::Null),
    }
}

/// A file of the tests' own authority.
pub(crate) fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

/// A free port below those that the system gives to outgoing connections (from 32768 on Linux): a client that
/// connects to one of those again and again while nobody listens ends up connected to itself.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let port =
            20_000 + (std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))) % 12_000;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Debian puts the server where ordinary users do not look.
fn program(name: &str) -> PathBuf {
    ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"]
        .iter()
        .map(|folder| PathBuf::from(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| name.into())
}
