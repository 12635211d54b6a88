//! `fab-agent replay`: runs a recording again, in no time, and says what was said.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use drivers::recording::{Replayed, Told, replay};
use drivers::{EventKind, Moment, Notice};
use serde_json::json;

use super::{Failure, print};

/// Largest recording that is read, in bytes. The recorder keeps about 1 MiB.
const RECORDING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What to run again.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The recording
    file: PathBuf,
    /// Print what the session made of it, and not the conversation
    #[arg(long)]
    quiet: bool,
    /// Print one JSON object at the end, and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let text = read(arguments)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut events = Vec::new();
    let replayed = replay(&text, &mut |at, told| {
        if arguments.json {
            if let Told::Event(event) = &told {
                events.push(json!(event));
            }
            return;
        }
        if let Some(line) = line(at, &told, arguments.quiet) {
            // A reader that is gone is no error.
            let _ = writeln!(out, "{line}");
        }
    })?;
    drop(out);
    report(&replayed, arguments.json.then_some(events));
    if replayed.differences.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

fn read(arguments: &Arguments) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Notice::new(
            "recording.unreadable",
            format!("The recording {} cannot be read: {error}.", arguments.file.display()),
            "Nothing was run.",
            "Check the path.",
        )
    };
    let file = std::fs::File::open(&arguments.file).map_err(unreadable)?;
    let mut text = String::new();
    file.take(RECORDING_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// One line for a person: `12.003456 > N5 G1 X3*71`.
fn line(at: Moment, told: &Told<'_>, quiet: bool) -> Option<String> {
    let time = format!("{:>6}.{:06}", at.0 / 1_000_000, at.0 % 1_000_000);
    Some(match told {
        Told::Entry(_) if quiet => return None,
        Told::Entry(entry) => {
            let (word, rest) = entry.split_once(' ')?.1.split_once(' ').unwrap_or((entry.split_once(' ')?.1, ""));
            match word {
                "say" => format!("{time} > {rest}"),
                "urgent" => format!("{time} ! {}", rest.split_once(' ')?.1),
                "hear" => format!("{time} < {rest}"),
                "line" => format!("{time}   line {rest}"),
                "time" | "fed" => return None,
                _ => format!("{time}   {word} {rest}"),
            }
        }
        Told::Event(event) => format!("{time} = {}", happened(&event.kind)),
        Told::Difference(difference) => {
            format!("{time} ≠ line {}: recorded `{}`, now `{}`", difference.line, difference.recorded, difference.now)
        }
    })
}

fn happened(kind: &EventKind) -> String {
    match kind {
        EventKind::Connected { firmware } => format!("connected: {firmware}"),
        EventKind::Disconnected { notice } => format!("disconnected: {notice}"),
        EventKind::State { from, to, .. } => format!("{} → {}", from.word(), to.word()),
        EventKind::Job { phase, notice: Some(notice), .. } => format!("job {}: {notice}", phase.word()),
        EventKind::Job { phase, .. } => format!("job {}", phase.word()),
        EventKind::Trouble { notice } => format!("trouble: {notice}"),
        EventKind::Probed { position_mm: [x, y, z], touched: true } => format!("the probe touched at {x} {y} {z}"),
        EventKind::Probed { .. } => "the probe touched nothing".to_owned(),
        EventKind::Message { text } => format!("message: {text}"),
    }
}

fn report(replayed: &Replayed, events: Option<Vec<serde_json::Value>>) {
    let head = |key: &str| replayed.head.iter().find(|(known, _)| known == key).map_or("", |(_, value)| value.as_str());
    let seconds = replayed.lasted.as_secs_f64();
    if let Some(events) = events {
        let differences = replayed.differences.iter().map(
            |difference| json!({ "line": difference.line, "recorded": difference.recorded, "now": difference.now }),
        );
        let differences: Vec<_> = differences.collect();
        print(
            &json!({
                "machine": head("machine"), "agent": head("agent"), "why": head("why"), "seconds": seconds,
                "entries": replayed.entries, "same": differences.is_empty(), "differences": differences,
                "events": events, "end": replayed.snapshot,
            })
            .to_string(),
        );
        return;
    }
    let (machine, agent, why) = (head("machine"), head("agent"), head("why"));
    print(&format!("{machine}, recorded by agent {agent}: {why}"));
    if let Some(snapshot) = &replayed.snapshot {
        let job = snapshot.job.as_ref().map_or_else(String::new, |job| {
            format!(
                "; job {}, {} sent, {} accepted, {} executed, up to line {}",
                job.phase.word(),
                job.sent,
                job.accepted,
                job.executed,
                job.executed_line
            )
        });
        print(&format!("At the end: {}{job}.", snapshot.state.word()));
    }
    let same = match replayed.differences.len() {
        0 => "It says the same again.".to_owned(),
        count => format!("It differs in {count} places; the first is at line {}.", replayed.differences[0].line),
    };
    print(&format!("{} entries over {seconds:.1} s. {same}", replayed.entries));
}
