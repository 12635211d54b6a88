//! Why something was not done, in words for people.

use drivers::{Denied, Notice};

use super::QUEUE_MAX;
use crate::jobs::JobState;
use crate::jobs::gate::Missing;

/// Why something was not done: a stable code, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such job or machine.
    Unknown(Notice),
    /// It cannot be done now.
    Conflict(Notice),
    /// It cannot be done at all.
    Invalid(Notice),
    /// The store does not take or give it.
    Store(Notice),
    /// What is missing before it may be done, most important first.
    Missing(Vec<Missing>),
    /// Too much is asked at once.
    Busy,
}

pub(super) fn denied(denied: Denied) -> Refusal {
    if denied == Denied::Busy {
        return Refusal::Busy;
    }
    Refusal::Conflict(denied.into())
}

/// There is no machine of that name.
pub fn no_such_machine() -> Notice {
    Notice::new(
        "machine.unknown_name",
        "There is no machine of that name.",
        "Nothing was done.",
        "GET /api/v1/machines lists the machines there are.",
    )
}

/// There is no such job.
pub fn no_such_job() -> Notice {
    Notice::new("job.unknown", "There is no such job, or it was forgotten.", "Nothing was done.", "List the jobs.")
}

pub(super) fn not_startable(state: JobState) -> Notice {
    Missing::Queued(state).notice()
}

pub(super) fn not_running(state: JobState) -> Notice {
    Notice::new("job.not_running", format!("The job is {}.", state.word()), "Nothing was done.", "")
}

pub(super) fn key_reused() -> Notice {
    Notice::new(
        "job.key_reused",
        "The idempotency key belongs to another submission.",
        "Nothing was kept.",
        "Use a new key for a new job.",
    )
}

pub(super) fn queue_full() -> Notice {
    Notice::new(
        "queue.full",
        format!("{QUEUE_MAX} jobs wait for the machine already."),
        "Nothing was kept.",
        "Wait until some are done, or cancel some.",
    )
}

pub(super) fn not_open() -> Notice {
    Notice::new(
        "store.slow",
        "The store has not said yet what is in it.",
        "Nothing was kept or started. Stopping works.",
        "Try again in a moment; if it stays like this, look at the disk (`fab-agent doctor`).",
    )
}

pub(super) fn not_deletable(state: JobState) -> Notice {
    Notice::new(
        "job.on_machine",
        format!("The job is {}: the machine is at work on it.", state.word()),
        "Nothing was deleted.",
        "Cancel it first, and delete it when it is over.",
    )
}
