//! The only file that knows MQTT topics: their names, in both directions.
//!
//! ```text
//! fab/{site}/agent/{agent}/status        retained, Last Will: is the agent there
//! fab/{site}/{machine}/state             retained: the snapshot
//! fab/{site}/{machine}/telemetry         samples
//! fab/{site}/{machine}/job               retained: the current job
//! fab/{site}/{machine}/event             QoS 1, numbered
//! fab/{site}/{machine}/capability        retained: what the machine can make
//! fab/{site}/{machine}/capacity          retained: whether it is free, and when
//! fab/{site}/{machine}/request/{name}    incoming; nothing subscribes to it unless it is enabled
//! ```
//!
//! Every level has a fixed place, so a subscriber can pick one fact of all machines with one `+`:
//! `fab/workshop/+/capacity`.
//!
//! ```
//! use fab_agent::topics::{Scheme, Topic};
//!
//! let scheme = Scheme::new("workshop").unwrap();
//! assert_eq!(scheme.write(&Topic::state("mill")), "fab/workshop/mill/state");
//! assert_eq!(scheme.read("fab/workshop/mill/state"), Some(Topic::state("mill")));
//! assert_eq!(scheme.write(&Topic::Agent("pi-1".into())), "fab/workshop/agent/pi-1/status");
//! assert_eq!(scheme.read("fab/another-site/mill/state"), None);
//! assert!(Scheme::new("no/slash").is_err());
//! ```

use std::borrow::Cow;

/// The first level of every topic.
const ROOT: &str = "fab";

/// The level that agents stand under, in the place of a machine's name.
const AGENT: &str = "agent";

/// Longest level, in bytes. MQTT allows 65,535 for a whole topic; names people read are shorter.
pub const LEVEL_BYTES_MAX: usize = 64;

/// What a topic is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Whether an agent is there.
    Agent(Cow<'a, str>),
    /// A fact about a machine, by the machine's name.
    Machine(Cow<'a, str>, Fact),
    /// Something asked of a machine: its name, then the request's.
    Request(Cow<'a, str>, Cow<'a, str>),
}

/// What the network is told about a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The snapshot.
    State,
    /// Samples of what moves and heats.
    Telemetry,
    /// The current job.
    Job,
    /// Something that happened.
    Event,
    /// What the machine can make.
    Capability,
    /// Whether it is free, and when.
    Capacity,
}

impl Fact {
    /// Every fact, in the order a subscriber meets them after a birth.
    pub const ALL: [Self; 6] = [Self::Capability, Self::State, Self::Capacity, Self::Job, Self::Telemetry, Self::Event];

    fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Telemetry => "telemetry",
            Self::Job => "job",
            Self::Event => "event",
            Self::Capability => "capability",
            Self::Capacity => "capacity",
        }
    }

    /// Whether the broker keeps the last message for those who come later. What is true until something else is
    /// said is kept; what happened at one moment is not.
    pub fn is_retained(self) -> bool {
        !matches!(self, Self::Telemetry | Self::Event)
    }
}

impl<'a> Topic<'a> {
    /// The snapshot of a machine.
    pub fn state(machine: &'a str) -> Self {
        Self::Machine(machine.into(), Fact::State)
    }
}

/// The topics of one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    site: String,
}

/// Why a name cannot be a level of a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// It has no letters.
    #[error("A name used in MQTT topics may not be empty.")]
    Empty,
    /// It is too long.
    #[error("The name `{0}` is longer than 64 bytes. Choose a shorter one.")]
    TooLong(String),
    /// It has a character that MQTT or the scheme gives a meaning to.
    #[error("The name `{0}` contains `{1}`, which MQTT topics cannot. Use letters, digits, `-`, `_` and `.`.")]
    Character(String, char),
    /// It is the scheme's own word.
    #[error("A machine cannot be called `agent`: that level of the MQTT topics is taken. Choose another name.")]
    Reserved,
}

/// Checks that a name can be one level of a topic.
pub fn check_level(name: &str) -> Result<(), LevelError> {
    if name.is_empty() {
        return Err(LevelError::Empty);
    }
    if name.len() > LEVEL_BYTES_MAX {
        return Err(LevelError::TooLong(name.to_owned()));
    }
    // `/` separates levels, `+` and `#` are wildcards, `$` first is the broker's own; spaces and control
    // characters are legal and a lasting nuisance in every shell.
    match name.chars().find(|c| "/+#$".contains(*c) || c.is_whitespace() || c.is_control()) {
        Some(character) => Err(LevelError::Character(name.to_owned(), character)),
        None => Ok(()),
    }
}

/// Checks that a name can be a machine's.
pub fn check_machine(name: &str) -> Result<(), LevelError> {
    check_level(name)?;
    if name == AGENT { Err(LevelError::Reserved) } else { Ok(()) }
}

impl Scheme {
    /// The topics of a site.
    ///
    /// # Errors
    /// The site's name cannot be a level of a topic.
    pub fn new(site: &str) -> Result<Self, LevelError> {
        check_level(site)?;
        Ok(Self { site: site.to_owned() })
    }

    /// The topic's name on the wire. Names are expected to have passed `check_level`.
    pub fn write(&self, topic: &Topic) -> String {
        let site = &self.site;
        match topic {
            Topic::Agent(agent) => format!("{ROOT}/{site}/{AGENT}/{agent}/status"),
            Topic::Machine(machine, fact) => format!("{ROOT}/{site}/{machine}/{}", fact.word()),
            Topic::Request(machine, name) => format!("{ROOT}/{site}/{machine}/request/{name}"),
        }
    }

    /// What a topic on the wire is about; nothing if it is not of this site or not of this scheme.
    pub fn read<'a>(&self, wire: &'a str) -> Option<Topic<'a>> {
        let mut levels = wire.split('/');
        if levels.next()? != ROOT || levels.next()? != self.site {
            return None;
        }
        let (first, second, third) = (levels.next()?, levels.next()?, levels.next());
        if levels.next().is_some() || check_level(first).is_err() || check_level(second).is_err() {
            return None;
        }
        match (first, second, third) {
            (AGENT, agent, Some("status")) => Some(Topic::Agent(agent.into())),
            (AGENT, ..) => None,
            (machine, "request", Some(name)) if check_level(name).is_ok() => {
                Some(Topic::Request(machine.into(), name.into()))
            }
            (machine, word, None) => {
                let fact = Fact::ALL.into_iter().find(|fact| fact.word() == word)?;
                Some(Topic::Machine(machine.into(), fact))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_topic_written_is_read_back_as_the_same() {
        let scheme = Scheme::new("north-hall").unwrap();
        let mut topics = vec![Topic::Agent("pi-1".into()), Topic::Request("mill".into(), "pause".into())];
        topics.extend(Fact::ALL.map(|fact| Topic::Machine("mill".into(), fact)));
        for topic in topics {
            assert_eq!(scheme.read(&scheme.write(&topic)), Some(topic));
        }
    }

    #[test]
    fn a_strange_topic_means_nothing() {
        let scheme = Scheme::new("s").unwrap();
        for wire in ["", "fab", "fab/s", "fab/s/mill", "fab/s//state", "fab/s/mill/state/", "fab/s/mill/state/x"] {
            assert_eq!(scheme.read(wire), None, "{wire}");
        }
        for wire in
            ["fab/s/agent/state", "fab/s/agent/pi/x", "fab/s/mill/request", "fab/s/mill/request/", "x/s/m/state"]
        {
            assert_eq!(scheme.read(wire), None, "{wire}");
        }
    }

    #[test]
    fn a_name_that_would_break_a_topic_is_refused_with_its_character() {
        assert_eq!(check_level("a+b"), Err(LevelError::Character("a+b".into(), '+')));
        assert_eq!(check_level("tab\t"), Err(LevelError::Character("tab\t".into(), '\t')));
        assert_eq!(check_level(""), Err(LevelError::Empty));
        assert_eq!(check_machine("agent"), Err(LevelError::Reserved));
        assert!(check_level(&"x".repeat(65)).is_err());
        assert_eq!(check_machine("Drucker_3.öst"), Ok(()));
    }
}
