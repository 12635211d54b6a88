//! The agent's configuration: the only file that knows its TOML keys.
//!
//! It is read once, at the start, into values that cannot be wrong. Every mistake is reported at once, with its line.

mod fits;
pub(crate) mod stoppable;
mod toml_reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::{self, Baud};
use drivers::profile::{self, Attach, Profile};
use toml::de::DeTable;

use crate::sinks::{self, mqtt};
use crate::topics;
pub use toml_reader::Problem;
use toml_reader::{NumberOrWord, Reader, Section};

/// Where the configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/fab-agent/agent.toml";

/// Largest configuration that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Connections of one client that can be configured at most: the agent serves as many in all.
const CONNECTIONS_PER_CLIENT_MAX: u64 = 1024;

/// Machines one agent serves at most: each has a thread, and a Pi has four USB ports and as many hubs as are sane.
const MACHINES_MAX: usize = 32;

/// A configuration that can work.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which workshop this is.
    pub site: String,
    /// Which agent of it this is.
    pub agent: String,
    /// The HTTP server.
    pub http: Http,
    /// Where else the truth is told.
    pub sinks: sinks::Settings,
    /// Where programs and jobs are kept.
    pub store: Store,
    /// The machines.
    pub machines: Vec<machine::Setup>,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// File with the token that clients must show; absent only on loopback.
    pub token_file: Option<PathBuf>,
    /// Connections at once of one address, this computer's own too. Absent: 64 from the network, and no bound but that of
    /// all together from this computer, where a proxy is one client.
    pub connections_per_client: Option<usize>,
}

/// Where programs and jobs are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The folder.
    pub dir: PathBuf,
    /// Largest program that is taken, in bytes.
    pub program_bytes_max: u64,
    /// Bytes that stay free on the disk.
    pub reserve_bytes: u64,
    /// Jobs remembered after they ended.
    pub history_jobs: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8484)), token_file: None, connections_per_client: None }
    }
}

impl Store {
    /// The defaults, in a folder.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), program_bytes_max: 2 << 30, reserve_bytes: 256 << 20, history_jobs: 10_000 }
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Every mistake in it; a file that cannot be read is one at line 1.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let at_start = |message: String| vec![Problem { line: 1, column: 1, message }];
        let unreadable =
            |error: std::io::Error| at_start(format!("the configuration {} cannot be read: {error}.", path.display()));
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > CONFIG_BYTES_MAX {
            return Err(at_start(format!("the configuration has {size} bytes; a page of text is enough.")));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads and checks a configuration; relative paths in it are taken from `folder`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        let reader = Reader::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            reader.problem(&error.span().unwrap_or(0..0), format!("this is not TOML: {}.", error.message()));
        }
        let root = reader.root(table.get_ref());
        let config = read(&root, folder);
        root.finish();
        drop(root);
        let problems = reader.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

fn read(root: &Section, folder: &Path) -> Config {
    let agent = root.section("agent");
    let site = level(&agent, "site", "workshop");
    let id = level(&agent, "id", "agent");
    agent.finish();
    Config {
        site,
        agent: id,
        http: http(&root.section("http"), folder),
        sinks: sinks::Settings { mqtt: broker(&root.section("mqtt"), folder) },
        store: store(&root.section("store"), folder),
        machines: machines(root, folder),
    }
}

/// A name that becomes part of a topic and of an address.
fn level(section: &Section, key: &'static str, default: &str) -> String {
    let Some((name, span)) = section.text(key) else { return default.to_owned() };
    if let Err(error) = topics::check_level(&name) {
        section.problem(&span, format!("`{name}`: {error}"));
    }
    name
}

fn http(section: &Section, folder: &Path) -> Http {
    let mut http = Http::default();
    if let Some((listen, span)) = section.text("listen") {
        match listen.parse() {
            Ok(address) => http.listen = address,
            Err(_) => section
                .problem(&span, format!("`{listen}` is no address with a port. Write 127.0.0.1:8484 or 0.0.0.0:8484.")),
        }
        http.token_file = file(section, "token_file", folder);
        if !http.listen.ip().is_loopback() && http.token_file.is_none() {
            section.problem(
                &span,
                "`http.listen` is open to the network, so `http.token_file` must name a file with a token; \
                 nobody may control machines without one.",
            );
        }
    } else {
        http.token_file = file(section, "token_file", folder);
    }
    let connections = section.number("connections_per_client", 1..=CONNECTIONS_PER_CLIENT_MAX);
    http.connections_per_client = connections.map(|count| count as usize);
    section.finish();
    http
}

fn broker(section: &Section, folder: &Path) -> Option<mqtt::Settings> {
    if !section.is_present() {
        return None;
    }
    let host = section.needed("host").map(|(host, _)| host).unwrap_or_default();
    let mut settings = mqtt::Settings::plain(host, 1883);
    if let Some(port) = section.number("port", 1..=65_535) {
        settings.port = port as u16;
    }
    if let Some((version, span)) = section.text("version") {
        match version.as_str() {
            "5" => settings.version = mqtt::Version::V5,
            "3.1.1" => settings.version = mqtt::Version::V311,
            _ => section.problem(&span, format!("`{version}` is no MQTT version. Write \"5\" or \"3.1.1\".")),
        }
    }
    settings.client_id = section.text("client_id").map(|(id, _)| id);
    settings.user = section.text("user").map(|(user, _)| user);
    settings.password_file = file(section, "password_file", folder);
    if let Some(milliseconds) = section.number("interval_ms", 100..=3_600_000) {
        settings.interval = Duration::from_millis(milliseconds);
    }
    let tls = section.flag("tls").unwrap_or(false);
    let ca_file = file(section, "ca_file", folder);
    let client = (file(section, "client_certificate_file", folder), file(section, "client_key_file", folder));
    let client_files = match client {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            let span = section.span();
            section.problem(&span, "`client_certificate_file` and `client_key_file` go together.");
            None
        }
    };
    settings.tls = tls.then_some(mqtt::Tls { ca_file, client_files });
    section.finish();
    Some(settings)
}

fn store(section: &Section, folder: &Path) -> Store {
    let dir = file(section, "dir", folder).unwrap_or_else(|| PathBuf::from("/var/lib/fab-agent"));
    let mut store = Store::at(dir);
    if let Some(megabytes) = section.number("program_max_mb", 1..=100_000) {
        store.program_bytes_max = megabytes << 20;
    }
    if let Some(megabytes) = section.number("reserve_mb", 0..=1_000_000) {
        store.reserve_bytes = megabytes << 20;
    }
    if let Some(jobs) = section.number("history_jobs", 1..=100_000) {
        store.history_jobs = jobs as usize;
    }
    section.finish();
    store
}

/// Whether a job starts only when a person has said that the table is clear, unless a machine's section says otherwise.
const ASKS_FOR_CLEAR: bool = true;

fn asks_for_clear(section: &Section) -> bool {
    let Some((word, span)) = section.text("clear") else { return ASKS_FOR_CLEAR };
    match word.as_str() {
        "said" => true,
        "assumed" => false,
        _ => {
            section.problem(&span, "Write \"said\" or \"assumed\".");
            ASKS_FOR_CLEAR
        }
    }
}

fn machines(root: &Section, folder: &Path) -> Vec<machine::Setup> {
    let mut machines: Vec<machine::Setup> = Vec::new();
    let sections = root.sections("machine");
    if sections.len() > MACHINES_MAX {
        let span = sections[MACHINES_MAX].span();
        root.problem(&span, format!("One agent serves at most {MACHINES_MAX} machines."));
    }
    for section in &sections {
        let id = section.needed("id");
        let port = section.needed("port");
        let profile = section.needed("profile");
        let baud = match section.number_or_word("baud", 300..=4_000_000, "auto") {
            None => Baud::Profile,
            Some(NumberOrWord::Number(baud)) => Baud::Fixed(baud as u32),
            Some(NumberOrWord::Word) => Baud::Detect { first: None },
        };
        let beside = section.devices("auxiliary");
        let attach = section.text("attach");
        let watch_table = asks_for_clear(section);
        section.finish();
        if let Some((id, span)) = &id {
            if let Err(error) = topics::check_machine(id) {
                section.problem(span, format!("`{id}`: {error}"));
            }
            if machines.iter().any(|known| known.name == *id) {
                section.problem(span, format!("There are two machines called `{id}`."));
            }
        }
        if let Some((port, span)) = &port {
            if machines.iter().any(|known| known.port == *port) {
                section.problem(span, format!("Two machines are on the port `{port}`."));
            }
        }
        let profile = profile.and_then(|(name, span)| {
            // A mistake a line, and each counts.
            let wrong = |message: String| message.lines().for_each(|line| section.problem(&span, line));
            let mut profile = load_profile(&name, folder).map_err(wrong).ok()?;
            if !beside.is_empty() {
                profile.auxiliary.extend(beside);
                let problems = profile.problems();
                for problem in &problems {
                    section.problem(&section.span(), format!("{}.", problem.message));
                }
            }
            Some(profile)
        });
        if let (Some((port, span)), Some(profile)) = (&port, &profile) {
            if let Err(message) = fits::fits(port, profile) {
                section.problem(span, message);
            }
        }
        let profile = profile.map(|mut profile| {
            if let Some((word, span)) = &attach {
                match word.as_str() {
                    "named" => profile.attach = Attach::Named,
                    "as-configured" => profile.attach = Attach::AsConfigured,
                    _ => section.problem(span, "Write \"named\" or \"as-configured\"."),
                }
            }
            profile
        });
        if let (Some((name, _)), Some((port, _)), Some(profile)) = (id, port, profile) {
            let profile = Arc::new(profile);
            machines.push(machine::Setup { name, port, baud, profile, reconnect: true, watch_table });
        }
    }
    machines
}

/// A bundled profile by name, or the profile in a file; of either a variant, as `name:variant`. Programs can be streamed
/// to its machine: its safe end leaves nothing on.
///
/// # Errors
/// What is wrong, a line each, and which profiles there are.
pub fn load_profile(name: &str, folder: &Path) -> Result<Profile, String> {
    let (file, variant) = profile::split(name);
    let is_path = file.contains('/') || Path::new(file).extension().is_some_and(|extension| extension == "toml");
    let profile = if is_path {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("the machine profile {} cannot be read: {error}.", path.display()))?;
        let said =
            |message: String| message.lines().map(|line| format!("{}: {line}", path.display())).collect::<Vec<_>>();
        let profile = Profile::parse_streamed(&text).and_then(|profile| profile.chosen(&text, variant));
        profile.map_err(|error| said(error.to_string()).join("\n"))?
    } else {
        Profile::named(name).map_err(|error| error.to_string())?
    };
    if let Some(problem) = profile.safe_end_problems().first() {
        return Err(problem.message.clone());
    }
    if drivers::dialect::named(&profile.dialect).is_none() {
        let known: Vec<_> = drivers::dialect::ALL.iter().map(|dialect| dialect.habits().name).collect();
        return Err(format!(
            "the profile's dialect `{}` is not known; known are {}.",
            profile.dialect,
            known.join(", ")
        ));
    }
    Ok(profile)
}

fn file(section: &Section, key: &'static str, folder: &Path) -> Option<PathBuf> {
    section.text(key).map(|(path, _)| folder.join(path))
}

/// The configuration's JSON Schema, for editors that complete and check TOML.
pub fn schema() -> serde_json::Value {
    let text = |what: &str| serde_json::json!({ "type": "string", "description": what });
    let number = |what: &str, min: u64, max: u64| serde_json::json!({ "type": "integer", "minimum": min, "maximum": max, "description": what });
    let section = |properties: serde_json::Value, required: &[&str]| {
        serde_json::json!({
            "type": "object", "additionalProperties": false, "properties": properties, "required": required,
        })
    };
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fab-agent configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "agent": section(serde_json::json!({
                "site": text("Which workshop this is; part of every MQTT topic."),
                "id": text("Which agent of the workshop this is."),
            }), &[]),
            "http": section(serde_json::json!({
                "listen": text("Address and port of the page and the API."),
                "token_file": text("File with the token that clients must show; needed unless `listen` is loopback."),
                "connections_per_client":
                    number("Connections at once of one address; absent: 64 from the network.", 1, CONNECTIONS_PER_CLIENT_MAX),
            }), &[]),
            "mqtt": section(serde_json::json!({
                "host": text("The broker's name or address."),
                "port": number("The broker's port.", 1, 65_535),
                "version": { "enum": ["5", "3.1.1"], "description": "MQTT version." },
                "client_id": text("This client's name to the broker."),
                "user": text("User name."),
                "password_file": text("File with the password."),
                "interval_ms": number("Shortest time between two unhurried messages on a topic.", 100, 3_600_000),
                "tls": { "type": "boolean", "description": "Whether to speak TLS." },
                "ca_file": text("Certificates of the authorities to trust; absent: the system's."),
                "client_certificate_file": text("This client's certificate."),
                "client_key_file": text("The key of this client's certificate."),
            }), &["host"]),
            "store": section(serde_json::json!({
                "dir": text("Folder for programs and job records."),
                "program_max_mb": number("Largest program that is taken.", 1, 100_000),
                "reserve_mb": number("Megabytes that stay free on the disk.", 0, 1_000_000),
                "history_jobs": number("Jobs remembered after they ended.", 1, 100_000),
            }), &[]),
            "machine": { "type": "array", "maxItems": MACHINES_MAX, "items": section(serde_json::json!({
                "id": text("The machine's name in topics and addresses."),
                "port": text("Device path or tcp://host:port."),
                "profile": text("Name of a bundled machine profile, or path of a TOML file; behind a colon the name of one of its variants."),
                "baud": { "anyOf": [
                    number("Bits per second, if not the profile's.", 300, 4_000_000),
                    { "const": "auto", "description": "Find it out, and remember it." },
                ] },
                "attach": { "enum": ["named", "as-configured"], "default": "named",
                    "description": "Whether it must name itself, or a person's word stands for that." },
                "clear": { "enum": ["said", "assumed"], "default": if ASKS_FOR_CLEAR { "said" } else { "assumed" },
                    "description": "Whether a person must say that the table is clear before a job starts." },
                "auxiliary": { "type": "array", "description": "Drives and meters beside the machine, written as in its profile (docs/modbus.md).", "items": {
                    "type": "object", "required": ["name"], "properties": {
                        "name": text("Its name, unique on the machine."),
                        "device": text("Name of a bundled device profile; `fab-agent modbus devices` lists them."),
                        "port": text("modbus-tcp://… or modbus-rtu:…"),
                        "is_spindle": { "type": "boolean", "description": "Whether it does what the program says with M3, M4, M5 and S." },
                    },
                } },
            }), &["id", "port", "profile"]) },
        },
    })
}

#[cfg(test)]
mod test {
    use super::*;

    const REFERENCE: &str = include_str!("../../../config/agent.toml");

    fn problems(text: &str) -> Vec<Problem> {
        Config::parse(text, Path::new("/etc/fab-agent")).unwrap_err()
    }

    /// The reference with every commented-out setting switched on.
    fn reference_in_full() -> String {
        let setting = |line: &str| line.starts_with("#[") || (line.starts_with('#') && line.contains(" = "));
        REFERENCE.lines().map(|line| if setting(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_reference_is_valid_as_it_stands_and_with_every_setting_switched_on() {
        Config::parse(REFERENCE, Path::new("/etc/fab-agent")).unwrap();
        Config::parse(&reference_in_full(), Path::new("/etc/fab-agent")).unwrap();
    }

    #[test]
    fn the_reference_names_every_setting_there_is_and_its_default() {
        let schema = schema();
        let full = reference_in_full();
        let table: toml::Table = full.parse().unwrap();
        for (name, section) in schema["properties"].as_object().unwrap() {
            let properties = section["properties"].as_object().or(section["items"]["properties"].as_object()).unwrap();
            let written = match &table[name] {
                toml::Value::Array(entries) => entries[0].as_table().unwrap(),
                other => other.as_table().unwrap(),
            };
            for key in properties.keys() {
                assert!(written.contains_key(key), "config/agent.toml does not show {name}.{key}");
            }
            assert_eq!(properties.len(), written.len(), "the schema does not know all of [{name}]");
        }
        let config = Config::parse(&full, Path::new("/etc/fab-agent")).unwrap();
        assert_eq!(config.http.listen, Http::default().listen);
        assert_eq!(config.store, Store::at("/var/lib/fab-agent"));
    }

    #[test]
    fn three_mistakes_give_three_messages_with_their_lines() {
        let found = problems(
            "[http]\nlisten = \"0.0.0.0:8484\"\n\n[[machine]]\nid = \"a\"\nport = \"/dev/ttyUSB0\"\nprofile = \"no-such\"\n\
             bauds = 115200\n",
        );
        let lines: Vec<_> = found.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 7, 8], "{found:#?}");
    }

    #[test]
    fn what_is_no_toml_at_all_is_said_with_its_line() {
        let found = problems("[agent]\nsite = \n");
        assert_eq!(found[0].line, 2, "{found:#?}");
    }

    #[test]
    fn every_kind_of_mistake_is_found() {
        for (text, part) in [
            ("[agent]\nsite = \"a/b\"", "a/b"),
            ("[agent]\nsite = 3", "text"),
            ("[[machine]]\nid = \"a\"\nport = \"/dev/a\"\nprofile = \"prusa-mk3s\"\nbaud = \"fast\"", "or \"auto\""),
            ("[mqtt]\nport = 1883", "mqtt.host"),
            ("[mqtt]\nhost = \"b\"\nport = 0", "whole number"),
            ("[mqtt]\nhost = \"b\"\nversion = \"4\"", "MQTT version"),
            ("[[machine]]\nid = \"a\"", "machine.port"),
            ("machine = 3", "[[machine]]"),
            ("http = 3", "[http]"),
            ("[http]\nlisten = \"here\"", "address"),
            ("[store]\nhistory_jobs = -1", "whole number"),
            ("colour = \"blue\"", "not known"),
        ] {
            let found = problems(text);
            assert!(found.iter().any(|problem| problem.message.contains(part)), "{text}: {found:#?}");
        }
    }

    #[test]
    fn a_rate_may_be_left_to_be_found() {
        let machine = "[[machine]]\nid = \"a\"\nport = \"/dev/ttyUSB0\"\nprofile = \"prusa-mk3s\"\n";
        for (line, baud) in [
            ("", Baud::Profile),
            ("baud = 250000", Baud::Fixed(250_000)),
            ("baud = \"auto\"", Baud::Detect { first: None }),
        ] {
            let config = Config::parse(&format!("{machine}{line}"), Path::new("/etc/fab-agent")).unwrap();
            assert_eq!(config.machines[0].baud, baud, "{line}");
        }
    }

    #[test]
    fn a_port_and_a_name_belong_to_one_machine() {
        let machine = "[[machine]]\nid = \"a\"\nport = \"/dev/ttyUSB0\"\nprofile = \"prusa-mk3s\"\n";
        let found = problems(&machine.repeat(2));
        assert_eq!(found.len(), 2, "{found:#?}");
    }
}
