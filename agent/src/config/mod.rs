//! The agent's configuration: the only file that knows its TOML keys.
//!
//! It is read once, at the start, into values that cannot be wrong. Every mistake is reported at once, with its line.

mod fits;
mod http;
mod schema;
pub(crate) mod stoppable;
mod toml_reader;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::{self, Baud};
use drivers::profile::{self, Attach, Profile};
use toml::de::DeTable;

pub use self::http::{Http, SOCKET, WithoutToken};
use crate::sinks::{self, mqtt};
use crate::topics;
pub use schema::schema;
pub use toml_reader::Problem;
use toml_reader::{NumberOrWord, Reader, Section};

/// Where the configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/fab-agent/agent.toml";

/// Largest configuration that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

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
    let store = store(&root.section("store"), folder);
    let mut http = http::read(&root.section("http"), folder);
    http.socket.get_or_insert_with(|| store.dir.join(SOCKET));
    Config {
        site,
        agent: id,
        http,
        sinks: sinks::Settings { mqtt: broker(&root.section("mqtt"), folder) },
        store,
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
/// Agents that run today have nobody who says so: it becomes the default with the release that announces it.
const ASKS_FOR_CLEAR: bool = false;

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
