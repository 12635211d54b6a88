//! Whether a machine is free, and when: what can be done (profile), now (snapshot), and next (queue). Pure.
//!
//! **Idle is not free**: a machine that stands still may wait for a person, be the wrong one, or have work waiting.
//! So `accepting_jobs` is a fact of its own, with the reason beside it.

use std::time::Duration;

use drivers::profile::{Kind, Profile};
use drivers::{Moment, Notice, Snapshot, State};
use serde_json::{Value, json};

use crate::jobs::gate::{Missing, OutOfService};

/// Version of this document's form. It goes up when a field changes its meaning, not when one is added.
pub const VERSION: u32 = 2;

/// Longest time that a forecast reaches. A year from now is beyond any job; a broken estimate is not passed on.
const FORECAST_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The work that waits for one machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Queue {
    /// Jobs that wait; the running one is not among them.
    pub length: u32,
    /// Jobs that may wait; zero: no limit is known here.
    pub length_max: u32,
    /// How long the running job takes from start to end, in seconds. Absent: nobody estimated it.
    pub running_s: Option<f64>,
    /// How long the waiting jobs take together, in seconds. Absent: one of them has no estimate.
    pub waiting_s: Option<f64>,
    /// A person took the machine out of service.
    pub out_of_service: Option<OutOfService>,
}

/// Whether a machine is free, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// When this was so.
    pub at: Moment,
    /// What the machine is doing.
    pub state: State,
    /// Whether a job that is submitted now would be taken and could run without the machine being put right first.
    pub accepting_jobs: bool,
    /// Why it is not free at this moment. Absent: it is.
    pub reason: Option<Notice>,
    /// When a job submitted now could start. Absent: nobody can know.
    pub free_at: Option<Moment>,
    /// Jobs that wait.
    pub queue_length: u32,
}

impl Capacity {
    /// Whether the machine is free, and when. Nothing is guessed: without an estimate there is no `free_at`.
    pub fn of(profile: &Profile, snapshot: &Snapshot, queue: &Queue) -> Self {
        let full = queue.length_max > 0 && queue.length >= queue.length_max;
        let out = queue.out_of_service.clone().map(|out| Missing::InService(out).notice());
        let (accepting_jobs, reason) = match snapshot.state {
            _ if out.is_some() => (false, out),
            _ if full => (false, Some(said("queue.full", &format!("{} jobs wait already.", queue.length)))),
            State::Idle if queue.length == 0 => (true, None),
            State::Idle => (true, Some(said("queue.waiting", "Other jobs wait to be started first."))),
            State::Running => (true, Some(said("machine.running", running(profile.kind)))),
            state => (false, Some(told(state, snapshot))),
        };
        let free_at = accepting_jobs.then(|| free_at(snapshot, queue)).flatten();
        Self { at: snapshot.at, state: snapshot.state, accepting_jobs, reason, free_at, queue_length: queue.length }
    }

    /// The document on the network. `wall` turns a moment into RFC 3339 text. What is not known is absent.
    pub fn document(&self, machine: &str, wall: impl Fn(Moment) -> String) -> Value {
        let mut document = json!({
            "version": VERSION,
            "at": wall(self.at),
            "machine": machine,
            "state": self.state.word(),
            "accepting_jobs": self.accepting_jobs,
            "queue_length": self.queue_length,
        });
        if let Some(reason) = &self.reason {
            document["reason"] = json!(reason);
        }
        if let Some(free_at) = self.free_at {
            document["free_at"] = json!(wall(free_at));
        }
        document
    }

    /// Whether two capacities say the same to somebody who looks for a machine: the time they were taken aside, and
    /// forecasts that differ by less than `tolerance` (a free machine is always free "now").
    pub fn says_the_same(&self, other: &Self, tolerance: Duration) -> bool {
        let forecasts_agree = match (self.free_at, other.free_at) {
            (Some(a), Some(b)) => {
                let both_now = a == self.at && b == other.at;
                both_now || a.max(b) - a.min(b) < tolerance
            }
            (a, b) => a == b,
        };
        forecasts_agree
            && (self.state, self.accepting_jobs, self.queue_length)
                == (other.state, other.accepting_jobs, other.queue_length)
            && self.reason == other.reason
    }
}

/// A reason that is said in a sentence.
fn said(code: &str, sentence: &str) -> Notice {
    Notice::new(code, sentence, "", "")
}

/// What the machine's own notice says, or else what its state says.
fn told(state: State, snapshot: &Snapshot) -> Notice {
    if let Some(notice) = &snapshot.notice {
        return notice.clone();
    }
    let (code, sentence) = match state {
        State::Offline => ("machine.offline", "There is no link to the machine."),
        State::Connecting => ("machine.not_ready", "The machine is still being identified."),
        State::Busy => ("machine.occupied", "The machine is busy with work that was not started here."),
        State::Holding | State::Held => ("machine.held", "A job is held; a person decides when it goes on."),
        State::Stopping => ("machine.stopping", "A job is being ended and the machine made safe."),
        State::Attention => ("machine.attention", "A person is needed at the machine first."),
        State::Alarm => ("machine.alarm", "The machine is in alarm until somebody looks at it."),
        State::Unknown | State::Idle | State::Running => {
            ("machine.unknown", "Nothing certain is known of the machine.")
        }
    };
    said(code, sentence)
}

fn running(kind: Kind) -> &'static str {
    match kind {
        Kind::Printer => "It is printing.",
        Kind::Mill => "It is milling.",
        Kind::Laser => "It is cutting.",
    }
}

/// When a job submitted now could start: now on a free machine; else after the running job and those that wait.
fn free_at(snapshot: &Snapshot, queue: &Queue) -> Option<Moment> {
    let running_ends_at = match (snapshot.state, &snapshot.job) {
        (State::Running, Some(job)) if !job.phase.is_over() => job.started_at + seconds(queue.running_s?)?,
        // Running without a job is a jog or homing: over in a moment, but nobody can say when.
        (State::Running, _) => return None,
        _ => snapshot.at,
    };
    let waiting = if queue.length == 0 { Duration::ZERO } else { seconds(queue.waiting_s?)? };
    // A job that takes longer than estimated ends no earlier than now.
    Some(running_ends_at.max(snapshot.at) + waiting)
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok().filter(|duration| *duration <= FORECAST_MAX)
}

#[cfg(test)]
mod test {
    use drivers::Notice;
    use drivers::snapshot::Progress;

    use super::*;

    fn profile() -> Profile {
        Profile::parse(Profile::bundled()[0].1).unwrap()
    }

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn snapshot(state: State) -> Snapshot {
        Snapshot { state, ..Snapshot::unknown(at(1000)) }
    }

    fn printing(started_at: Moment) -> Snapshot {
        let job = Progress {
            commands: 10,
            sent: 5,
            accepted: 5,
            executed: 4,
            executed_line: 4,
            bytes: 100,
            ..Progress::begun("j1".into(), 10, started_at)
        };
        Snapshot { job: Some(job), ..snapshot(State::Running) }
    }

    #[test]
    fn a_free_machine_is_free_now() {
        let capacity = Capacity::of(&profile(), &snapshot(State::Idle), &Queue::default());
        assert!(capacity.accepting_jobs);
        assert_eq!((capacity.free_at, capacity.reason), (Some(at(1000)), None));
    }

    #[test]
    fn a_running_job_frees_the_machine_when_its_estimate_is_over() {
        let queue = Queue { running_s: Some(300.0), ..Queue::default() };
        let capacity = Capacity::of(&profile(), &printing(at(900)), &queue);
        assert!(capacity.accepting_jobs);
        assert_eq!(capacity.free_at, Some(at(1200)));
        assert_eq!(capacity.reason.unwrap().code, "machine.running");
        let late = Capacity::of(&profile(), &printing(at(100)), &queue);
        assert_eq!(late.free_at, Some(at(1000)), "a job that is overdue frees the machine no earlier than now");
        let waiting = Queue { length: 2, waiting_s: Some(50.0), ..queue };
        assert_eq!(Capacity::of(&profile(), &printing(at(900)), &waiting).free_at, Some(at(1250)));
    }

    #[test]
    fn without_an_estimate_nobody_says_when() {
        assert_eq!(Capacity::of(&profile(), &printing(at(900)), &Queue::default()).free_at, None);
        let nonsense = Queue { running_s: Some(f64::NAN), ..Queue::default() };
        assert_eq!(Capacity::of(&profile(), &printing(at(900)), &nonsense).free_at, None);
        let endless = Queue { running_s: Some(1e300), ..Queue::default() };
        assert_eq!(Capacity::of(&profile(), &printing(at(900)), &endless).free_at, None);
        let unknown_behind = Queue { length: 1, ..Queue::default() };
        assert_eq!(Capacity::of(&profile(), &snapshot(State::Idle), &unknown_behind).free_at, None);
    }

    #[test]
    fn a_machine_that_needs_somebody_takes_no_jobs_and_says_why() {
        for state in [
            State::Offline,
            State::Connecting,
            State::Busy,
            State::Holding,
            State::Held,
            State::Stopping,
            State::Attention,
            State::Alarm,
            State::Unknown,
        ] {
            let capacity = Capacity::of(&profile(), &snapshot(state), &Queue::default());
            assert!(!capacity.accepting_jobs && capacity.free_at.is_none(), "{state:?}");
            assert!(capacity.reason.unwrap().code.starts_with("machine."), "{state:?}");
        }
        let notice = Notice::new("grbl.alarm.1", "A limit switch was hit.", "", "");
        let alarm = Snapshot { notice: Some(notice), ..snapshot(State::Alarm) };
        let reason = Capacity::of(&profile(), &alarm, &Queue::default()).reason.unwrap();
        assert_eq!((reason.code.as_str(), reason.happened.as_str()), ("grbl.alarm.1", "A limit switch was hit."));
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let queue = Queue { length: 3, length_max: 3, waiting_s: Some(10.0), ..Queue::default() };
        let capacity = Capacity::of(&profile(), &snapshot(State::Idle), &queue);
        assert_eq!((capacity.accepting_jobs, capacity.reason.unwrap().code.as_str()), (false, "queue.full"));
    }

    #[test]
    fn time_passing_on_a_free_machine_is_no_news() {
        let now = Capacity::of(&profile(), &snapshot(State::Idle), &Queue::default());
        let later = Capacity { at: at(2000), free_at: Some(at(2000)), ..now.clone() };
        assert!(now.says_the_same(&later, Duration::from_secs(1)));
        let busy = Capacity::of(&profile(), &printing(at(900)), &Queue::default());
        assert!(!now.says_the_same(&busy, Duration::from_secs(1)));
    }

    #[test]
    fn every_bundled_profile_shows_what_it_promises_when_idle() {
        for (name, text) in Profile::bundled() {
            let profile = Profile::parse(text).unwrap();
            let capacity = Capacity::of(&profile, &snapshot(State::Idle), &Queue::default());
            let document = capacity.document(name, |moment| format!("+{} s", moment.0 / 1_000_000));
            println!("{document:#}");
            assert_eq!(document["accepting_jobs"], true, "{name}");
            assert!(document.get("reason").is_none());
        }
    }
}
