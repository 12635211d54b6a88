//! Jobs: programs that were submitted, and what became of them. Submit is not start.

pub mod gate;

use std::collections::BTreeMap;
use std::sync::Arc;

use drivers::Notice;
use drivers::snapshot::{JobPhase, LinkCounters, Undone, Unsure};
use serde::{Deserialize, Serialize};

/// The code of a job that was on a machine when the agent ended.
pub const RESTARTED: &str = "agent.restarted";

/// Jobs in memory, by their identifier: those that are not over, and the newest that are. Identifiers sort by age.
pub type Jobs = BTreeMap<String, Arc<Record>>;

/// Findings kept with a job. A file with more is refused for the first ones already.
pub const FINDINGS_MAX: usize = 100;

/// What became of a job. The words are fixed (they are on the network).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its program arrived.
    Received,
    /// Its program is being read.
    Checking,
    /// Its program cannot run on this machine.
    Refused,
    /// Waiting for somebody to start it.
    Queued,
    /// Started, the machine not yet.
    Armed,
    /// Running.
    Running,
    /// Standing still in the middle.
    Held,
    /// Executed to its end, by evidence.
    Finished,
    /// Ended early by request.
    Cancelled,
    /// Ended early because it could not go on.
    Failed,
}

impl JobState {
    /// The word on the network.
    pub fn word(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Checking => "checking",
            Self::Refused => "refused",
            Self::Queued => "queued",
            Self::Armed => "armed",
            Self::Running => "running",
            Self::Held => "held",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 10] = [
        Self::Received,
        Self::Checking,
        Self::Refused,
        Self::Queued,
        Self::Armed,
        Self::Running,
        Self::Held,
        Self::Finished,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The state of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether nothing more will become of it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Refused | Self::Finished | Self::Cancelled | Self::Failed)
    }

    /// Whether the machine is at work on it.
    pub fn is_on_machine(self) -> bool {
        matches!(self, Self::Armed | Self::Running | Self::Held)
    }
}

impl From<JobPhase> for JobState {
    fn from(phase: JobPhase) -> Self {
        match phase {
            JobPhase::Running => Self::Running,
            JobPhase::Held => Self::Held,
            JobPhase::Finished => Self::Finished,
            JobPhase::Cancelled => Self::Cancelled,
            JobPhase::Failed => Self::Failed,
        }
    }
}

/// A job as it is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its identifier.
    pub id: String,
    /// The machine it is for.
    pub machine: String,
    /// Name given by whoever submitted it. Hostile text.
    pub name: String,
    /// What became of it.
    pub state: JobState,
    /// Why, where it did not simply go well.
    pub reason: Option<Notice>,
    /// RFC 3339.
    pub submitted_at: String,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub ended_at: Option<String>,
    /// SHA-256 of the program, in hexadecimal: also its name in the spool.
    pub sha256: String,
    /// SHA-256 of the machine's profile that the program was checked against. Absent: it was not, or by an older agent.
    #[serde(default)]
    pub profile_sha256: Option<String>,
    /// Bytes of the program.
    pub bytes: u64,
    /// Lines of the program.
    pub lines: u64,
    /// Commands in it, once known.
    pub commands: u64,
    /// Layers of a print; 0 for none, and where they are not known.
    #[serde(default)]
    pub layers: u64,
    /// Seconds it is estimated to take, without heating.
    pub time_s: Option<f64>,
    /// Seconds of heating on top, roughly.
    pub heating_s: Option<f64>,
    /// Commands sent, answered and executed, as far as evidence goes.
    pub progress: Counts,
    /// Why the counts are not sure: somebody else talked to the machine meanwhile. Absent: nothing shows that.
    #[serde(default)]
    pub unsure: Option<Unsure>,
    /// The first command the machine refused, and what it said. Absent: it refused none.
    #[serde(default)]
    pub first_refused: Option<Undone>,
    /// The first command it answered and did not do, or not wholly.
    #[serde(default)]
    pub first_ignored: Option<Undone>,
    /// What a meter beside the machine measured for it, in kilowatt-hours. Absent: there is none, or it was silent.
    #[serde(default)]
    pub energy_kwh: Option<f64>,
    /// What the wire did during it. Absent in records of older agents.
    #[serde(default)]
    pub link: Option<LinkCounters>,
    /// What was likely wrong with the link, if anything was.
    #[serde(default)]
    pub link_cause: Option<Notice>,
    /// What was found in the program.
    pub findings: Vec<serde_json::Value>,
    /// The identifier of the person whose it is. Absent: nobody's, so only operators and admins may touch it.
    #[serde(default)]
    pub owner: Option<String>,
    /// The key under which it was submitted, so that a repeat is no second job.
    pub idempotency_key: Option<String>,
    /// Line and seconds, for the time that is left. Thinned out.
    pub time_line: Vec<(u64, f64)>,
}

/// What became of a job's commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Written to the wire.
    pub sent: u64,
    /// Answered by the machine.
    pub accepted: u64,
    /// Executed, as far as evidence goes.
    pub executed: u64,
    /// Sent again because the machine asked.
    pub resends: u64,
    /// The program line (1-based) that `executed` has reached; zero where no line is known to be executed.
    #[serde(default)]
    pub executed_line: u64,
    /// Refused by the machine: answered, and never executed.
    #[serde(default)]
    pub refused: u64,
    /// Answered and not done, or not wholly.
    #[serde(default)]
    pub ignored: u64,
}

impl Record {
    /// The same with its times moved, because the clock by which they were taken was set since.
    #[must_use]
    pub fn moved_in_time(&self, by_ms: i64) -> Self {
        let moved = |text: &String| {
            let time: jiff::Timestamp = text.parse().ok()?;
            let time = jiff::Timestamp::from_millisecond(time.as_millisecond().checked_add(by_ms)?).ok()?;
            Some(format!("{time:.3}"))
        };
        let submitted_at = moved(&self.submitted_at).unwrap_or_else(|| self.submitted_at.clone());
        let started_at = self.started_at.as_ref().map(|at| moved(at).unwrap_or_else(|| at.clone()));
        Self { submitted_at, started_at, ..self.clone() }
    }

    /// A job that was running when the agent ended has failed: nothing is known of it, and nothing is started again.
    pub fn interrupted(&mut self, now: &str) {
        self.state = JobState::Failed;
        let executed = match self.progress.executed_line {
            0 => "No line is known to be executed".to_owned(),
            line => format!("Line {line} was executed, at least"),
        };
        self.reason = Some(Notice::new(
            RESTARTED,
            format!(
                "The agent was restarted while the job was under way. {executed}; what the machine did after that is not \
                 known."
            ),
            "Nothing was started again.",
            "Look at the machine and the work before anything else is started.",
        ));
        self.ended_at = Some(now.to_owned());
        self.time_line.clear();
    }

    /// Seconds left once this line has been executed. Absent: nobody estimated the program.
    pub fn time_left_s(&self, executed_line: u64) -> Option<f64> {
        let whole = self.time_s?;
        let after = self.time_line.partition_point(|(line, _)| *line <= executed_line);
        let done = after.checked_sub(1).and_then(|at| self.time_line.get(at)).map_or(0.0, |(_, seconds)| *seconds);
        Some((whole - done).max(0.0))
    }
}

/// A new identifier: the time in milliseconds, so that identifiers sort by age, and chance, so that nobody guesses one.
/// Where the clock was set back it is the time of the `newest` and a little more: what comes later sorts later.
pub fn new_id(now: jiff::Timestamp, newest: &str) -> String {
    let behind = newest.get(..11).and_then(|time| i64::from_str_radix(time, 16).ok()).map_or(0, |time| time + 1);
    format!("{:011x}{:08x}", now.as_millisecond().max(behind), fastrand::u32(..))
}

#[cfg(test)]
pub(crate) mod test {
    use super::*;

    /// A job in a state.
    pub(crate) fn record(id: &str, state: JobState) -> Record {
        Record {
            id: id.into(),
            machine: "m".into(),
            name: "part.gcode".into(),
            state,
            reason: None,
            submitted_at: String::new(),
            started_at: None,
            ended_at: None,
            sha256: String::new(),
            profile_sha256: None,
            bytes: 0,
            lines: 0,
            commands: 0,
            layers: 0,
            time_s: Some(100.0),
            heating_s: None,
            progress: Counts::default(),
            unsure: None,
            first_refused: None,
            first_ignored: None,
            energy_kwh: None,
            link: None,
            link_cause: None,
            findings: Vec::new(),
            owner: None,
            idempotency_key: None,
            time_line: vec![(10, 20.0), (20, 70.0), (30, 100.0)],
        }
    }

    #[test]
    fn the_time_left_follows_the_executed_line() {
        let record = record("1", JobState::Running);
        assert_eq!(record.time_left_s(0), Some(100.0));
        assert_eq!(record.time_left_s(25), Some(30.0));
        assert_eq!(record.time_left_s(30), Some(0.0));
    }

    #[test]
    fn a_job_interrupted_by_a_restart_names_the_line_it_reached() {
        let mut record =
            Record { progress: Counts { executed_line: 17, ..Counts::default() }, ..record("1", JobState::Running) };
        record.interrupted("now");
        let reason = record.reason.unwrap();
        assert_eq!((record.state, reason.code.as_str()), (JobState::Failed, RESTARTED));
        assert!(reason.happened.contains("Line 17 was executed, at least"), "{reason}");
    }

    #[test]
    fn a_job_ended_before_it_started_when_the_clock_was_set_back() {
        let record = Record {
            submitted_at: "2026-12-01T10:00:00.000Z".into(),
            started_at: Some("2026-12-01T10:05:00.000Z".into()),
            ..record("1", JobState::Running)
        };
        let moved = record.moved_in_time(-30 * 24 * 3_600_000);
        assert_eq!(moved.submitted_at, "2026-11-01T10:00:00.000Z");
        assert_eq!(moved.started_at.as_deref(), Some("2026-11-01T10:05:00.000Z"));
    }

    #[test]
    fn a_job_sorted_among_those_of_last_month_when_the_clock_was_set_back() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let first = new_id(at("2026-12-01T10:00:00Z"), "");
        let second = new_id(at("2026-11-01T10:00:00Z"), &first);
        let third = new_id(at("2026-11-01T10:00:01Z"), &second);
        assert!(first < second && second < third && third.len() == first.len(), "{first} {second} {third}");
        assert!(new_id(at("2027-01-01T10:00:00Z"), &third) > third);
        assert!(new_id(at("2026-12-01T10:00:00Z"), "no time")[..11] == first[..11]);
    }

    #[test]
    fn a_job_of_an_older_agent_keeps_its_reason() {
        let mut old = serde_json::to_value(record("1", JobState::Failed)).unwrap();
        old["reason"] = serde_json::json!({ "code": "link.lost", "message": "The cable was pulled. Look." });
        let read: Record = serde_json::from_value(old).unwrap();
        let reason = read.reason.unwrap();
        assert_eq!((reason.code.as_str(), reason.happened.as_str()), ("link.lost", "The cable was pulled. Look."));
    }

    #[test]
    fn every_state_is_found_by_its_word() {
        for state in JobState::ALL {
            assert_eq!(JobState::of_word(state.word()), Some(state));
        }
    }
}
