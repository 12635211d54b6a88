//! Checking a program where it will lie: just before it is started, against the work offset that counts then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use drivers::machine::Machine;
use drivers::profile::{Kind, Profile};
use drivers::{Notice, Snapshot, work_place};
use gcode_tools::formats;
use gcode_tools::preflight::{self, Conditions, Severity, Verdict};
use gcode_tools::sniff::ReadError;

use crate::store;

/// How long a machine may take to say its offsets. It is asked when it comes to rest, and answers in milliseconds; one that
/// does not say them is checked for what is known.
const PLACE_PATIENCE: Duration = Duration::from_secs(2);

/// Nothing is known of where a program will lie: only its size can be checked.
pub(crate) fn unplaced() -> Conditions {
    Conditions { asked: true, ..Conditions::default() }
}

/// Whether a program for this machine is to be checked at its place: a printer homes to one, and others say nothing.
pub(crate) fn is_asked(profile: &Profile) -> bool {
    profile.kind != Kind::Printer && work_place::is_asked(profile)
}

/// What is known of the machine's place once it has said it, or cannot be waited for any longer.
pub(crate) async fn known(machine: &Machine) -> Conditions {
    let mut watch = machine.watch();
    let told = watch.wait_for(|snapshot: &std::sync::Arc<Snapshot>| work_place::is_told(snapshot));
    // Whatever came of the wait, what is known now counts.
    let _ = tokio::time::timeout(PLACE_PATIENCE, told).await.is_ok();
    work_place::conditions(&machine.snapshot(), machine.profile())
}

/// Reads a program against its machine where it will lie.
pub(crate) fn verdict(program: &Path, profile: &Profile, conditions: &Conditions) -> Verdict {
    let opened = store::open_regular(program).map_err(|error| ReadError::from_io(&error)).and_then(formats::open);
    match opened {
        Ok(program) => preflight::check_with(program, profile, conditions),
        Err(error) => Verdict::unreadable(&error),
    }
}

/// Whether a queued program may be started now: it is read once more, at its place.
///
/// # Errors
/// What would happen, with its line.
pub(crate) async fn may_start(machine: &Machine, program: PathBuf) -> Result<(), Notice> {
    // One that is not there yet takes no job, and says so itself.
    if !is_asked(machine.profile()) || machine.snapshot().identity.is_none() {
        return Ok(());
    }
    let conditions = known(machine).await;
    let profile = machine.profile().clone();
    let read = move || drivers::priority::in_background(|| verdict(&program, &profile, &conditions));
    let Ok(verdict) = tokio::task::spawn_blocking(read).await else { return Ok(()) };
    if verdict.passes() {
        return Ok(());
    }
    let first = verdict.findings.iter().find(|finding| finding.severity == Severity::Error);
    let what = first.map_or_else(String::new, |finding| match finding.line {
        0 => finding.message.clone(),
        line => format!("Line {line}: {}", finding.message),
    });
    Err(Notice::new(
        "job.does_not_fit_here",
        format!("With the machine's zero where it is now, the program cannot run. {what}"),
        "Nothing was started; the job waits.",
        "Look where the program's zero is on the machine, set it anew, and start the job again.",
    ))
}
