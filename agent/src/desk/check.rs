//! Reading a submitted program against its machine.

use std::path::Path;

use drivers::Notice;
use drivers::profile::Profile;
use gcode_tools::analysis::Info;
use gcode_tools::formats;
use gcode_tools::inspect::inspect;
use gcode_tools::preflight::Severity;
use gcode_tools::sniff::ReadError;

use crate::jobs::FINDINGS_MAX;
use crate::place;

/// What is done with a program that does not pass.
const REFUSED: &str = "The job was refused; nothing was sent to the machine.";

/// What reading a program found.
pub(super) enum Checked {
    Fit(Box<Info>, Vec<serde_json::Value>),
    Unfit(Notice, Vec<serde_json::Value>),
}

impl Checked {
    /// The check itself did not come to its end.
    pub(super) fn broke() -> Self {
        let notice = Notice::new(
            "job.check_failed",
            "A fault in the agent ended the check of the program.",
            REFUSED,
            "Submit it again, and report the fault with the agent's log.",
        );
        Self::Unfit(notice, Vec::new())
    }
}

/// Reads a whole program against its machine. Where it will lie is looked at when it is started.
pub(super) fn check(path: &Path, profile: &Profile) -> Checked {
    let reason = |code: &str, happened: &str, to_do: &str| Notice::new(code, happened, REFUSED, to_do);
    // By content: a packed program is unpacked while it is read.
    let opened = crate::store::open_regular(path)
        .map_err(|error| ReadError::new("job.unreadable", format!("{error}.")))
        .and_then(formats::open);
    let program = match opened {
        Ok(program) => program,
        Err(error) => {
            return Checked::Unfit(
                reason(error.code, &error.message, "Look at the file, and submit it again."),
                Vec::new(),
            );
        }
    };
    let (info, mut verdict) = inspect(program, profile, &place::unplaced());
    // People read them: each cause once.
    verdict.tell_causes();
    let info = match info {
        Ok(info) => info,
        Err(error) => {
            return Checked::Unfit(
                reason(error.code, &error.message, "Look at the file, and submit it again."),
                Vec::new(),
            );
        }
    };
    let findings = verdict.findings.iter().take(FINDINGS_MAX).map(|finding| serde_json::json!(finding)).collect();
    if verdict.passes() {
        return Checked::Fit(Box::new(info), findings);
    }
    if let Some(broken) = verdict.truncation() {
        return Checked::Unfit(reason(broken.code, &broken.message, broken.help), findings);
    }
    let first = verdict.findings.iter().find(|finding| finding.severity == Severity::Error);
    let what = first.map_or_else(String::new, |finding| match finding.line {
        0 => format!(" {}", finding.message),
        line => format!(" Line {line}: {}", finding.message),
    });
    let happened = format!("The program cannot run on this machine as it is.{what}");
    let to_do = "Its findings say all of it: correct the program, or choose another machine.";
    Checked::Unfit(reason("job.preflight_failed", &happened, to_do), findings)
}

/// Points kept of a time line: enough for a progress bar on any screen.
const TIME_POINTS: usize = 500;

pub(super) fn thin(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let step = points.len().div_ceil(TIME_POINTS).max(1);
    points.iter().skip(step - 1).step_by(step).copied().collect()
}
