//! What is written down of what happened: which facts, of which class, with which words.

use std::time::SystemTime;

use drivers::{Event, EventKind, Notice, State};
use serde_json::{Value, json};

use super::Action;
use crate::host::clock;
use crate::jobs::Record;
use crate::jobs::gate::OutOfService;
use crate::status;
use crate::store::{Class, Contents, Fact, Who};

/// An event of a machine.
pub fn event(machine: &str, epoch: SystemTime, event: &Event) -> Fact {
    let class = match &event.kind {
        EventKind::Message { .. } => Class::Chatter,
        EventKind::Job { .. } => Class::Job,
        EventKind::State { to: State::Alarm | State::Attention, .. }
        | EventKind::Probed { .. }
        | EventKind::Trouble { .. } => Class::Trouble,
        EventKind::State { .. } | EventKind::Connected { .. } | EventKind::Disconnected { .. } => Class::State,
    };
    let job = match &event.kind {
        EventKind::Job { job, .. } => Some(job.clone()),
        _ => None,
    };
    let fact = Fact::new(class, status::event(machine, epoch, event));
    Fact { machine: Some(machine.to_owned()), job, is_event: true, ..fact }
}

/// Events of a machine that came faster than they were taken.
pub(super) fn missed(machine: &str, missed: u64) -> Fact {
    let body = json!({ "machine": machine, "type": "missed", "missed": missed });
    Fact { machine: Some(machine.to_owned()), is_event: true, ..Fact::new(Class::Trouble, body) }
}

/// Something a person asked of a job.
pub(super) fn asked(action: Action, job: &Record, who: Option<Who>) -> Fact {
    let body = json!({ "type": "asked", "action": action.word(), "machine": job.machine, "job": job.id });
    Fact::new(Class::Person, body).of_machine(&job.machine).of_job(&job.id).by(who)
}

/// A program that was submitted.
pub(super) fn submitted(job: &Record, who: Option<Who>) -> Fact {
    let body = json!({ "type": "asked", "action": "submit", "machine": job.machine, "job": job.id,
                       "sha256": job.sha256, "bytes": job.bytes });
    Fact::new(Class::Person, body).of_machine(&job.machine).of_job(&job.id).by(who)
}

/// What became of a job where no machine tells it.
pub(super) fn became(job: &Record) -> Fact {
    let body = json!({ "type": "job", "machine": job.machine, "job": job.id, "phase": job.state.word(),
                       "notice": job.reason });
    Fact::new(Class::Job, body).of_machine(&job.machine).of_job(&job.id)
}

/// A start that was given up before the machine was told anything.
pub(super) fn start_void(job: &Record, why: &Notice) -> Fact {
    let body = json!({ "type": "start_void", "machine": job.machine, "job": job.id, "notice": why });
    Fact::new(Class::Person, body).of_machine(&job.machine).of_job(&job.id)
}

/// The agent starts, and what it found: `now_ms` and `boot` are those of this life.
pub(super) fn started(found: &Contents, clock_set: bool, now_ms: i64, boot: &str, failed: &[Value]) -> Fact {
    let mut body = json!({
        "type": "agent_started", "version": env!("CARGO_PKG_VERSION"), "clock_set": clock_set,
        "ended_before": if found.ended_well { "in good order" } else { "without a word" },
        "jobs_interrupted": failed,
    });
    if let Some(lost) = &found.lost {
        body["not_written"] = json!({ "from": lost.from, "to": lost.to });
    }
    if let Some(last) = &found.last {
        body["last_written_at"] = clock::rfc3339(last.at_ms).into();
        body["computer_restarted"] = (last.boot != boot).into();
        if now_ms < last.at_ms {
            // A computer without a clock of its own begins somewhere in the past.
            body["clock_behind_by_ms"] = (last.at_ms - now_ms).into();
        }
    }
    Fact::new(Class::Agent, body)
}

/// The clock was set.
pub(super) fn clock_set(by_ms: i64) -> Fact {
    Fact::new(Class::Agent, json!({ "type": "clock_set", "by_ms": by_ms }))
}

/// The agent ends.
pub(crate) fn ended() -> Fact {
    Fact::new(Class::Agent, json!({ "type": "agent_ended" }))
}

/// The configuration is another one than the agent had before.
pub(super) fn configuration(now: &str) -> Fact {
    Fact::new(Class::Agent, json!({ "type": "configuration_changed", "sha256": now }))
}

/// Something a person asked of a machine.
pub(crate) fn asked_of_machine(action: &str, machine: &str, who: Option<Who>) -> Fact {
    let body = json!({ "type": "asked", "action": action, "machine": machine });
    Fact::new(Class::Person, body).of_machine(machine).by(who)
}

/// A machine is out of service, or back.
pub(super) fn service(machine: &str, out: Option<&OutOfService>, who: Option<Who>) -> Fact {
    let action = if out.is_some() { "out_of_service" } else { "into_service" };
    let body = json!({ "type": "asked", "action": action, "machine": machine, "out_of_service": out });
    Fact::new(Class::Person, body).of_machine(machine).by(who)
}

/// A person was taken out of rows of the log. Who that was is not said again.
pub fn erased(rows: usize, who: Option<Who>) -> Fact {
    Fact::new(Class::Person, json!({ "type": "asked", "action": "erase", "rows": rows })).by(who)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::store::Last;

    #[test]
    fn a_computer_that_was_switched_off_and_forgot_the_time_was_not_told_from_an_agent_that_was_begun_anew() {
        let found = |at_ms: i64| Contents { last: Some(Last { at_ms, boot: "a".to_owned() }), ..Contents::default() };
        let anew = started(&found(1000), true, 5000, "a", &[]).body;
        assert_eq!(
            (&anew["computer_restarted"], &anew["last_written_at"]),
            (&false.into(), &"1970-01-01T00:00:01.000Z".into())
        );
        assert!(anew["clock_behind_by_ms"].is_null(), "{anew:#}");
        let off = started(&found(5000), false, 1000, "b", &[]).body;
        assert_eq!((&off["computer_restarted"], &off["clock_behind_by_ms"]), (&true.into(), &4000.into()), "{off:#}");
        let first = started(&Contents::default(), true, 0, "a", &[]).body;
        assert!(first["last_written_at"].is_null() && first["computer_restarted"].is_null(), "{first:#}");
    }
}
