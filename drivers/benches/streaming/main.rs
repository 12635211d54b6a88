//! How fast lines get to a machine, what that costs the host, and whether the machine ever waits: the agent, a bare
//! loop and other hosts, one after the other against the same simulated machine.
//!
//! ```text
//! drivers/benches/streaming/peers/install                # once: Printrun, OctoPrint and CNCjs, into target/peers
//! cargo bench -p drivers --bench streaming               # everything
//! cargo bench -p drivers --bench streaming -- --quick    # fewer lines, for a look
//! cargo bench -p drivers --bench streaming -- unlimited  # only what holds this word: unlimited, 115200, 250000,
//!                                                        # starvation, memory, and with them grbl or marlin
//! ```
//!
//! The machine is a process of its own on a real pseudo-terminal, and so is each host. Time is the machine's: from its
//! first motion to its last. Processor time is the host's, from "go" to "done", all its threads. A host that is not
//! installed is named as missing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench is a script"
)]

mod bare;
mod child;
mod machine;
mod ours;
mod run;

use run::{Case, Host, Outcome};

/// Hosts, in the order they run. The first is ours, the second what ratios are given to.
const HOSTS: [Host; 5] = [
    Host { name: "fab-agent", speaks: &["grbl", "marlin"], program: run::Program::Own("--ours") },
    Host { name: "bare loop", speaks: &["grbl", "marlin"], program: run::Program::Own("--bare") },
    Host { name: "CNCjs", speaks: &["grbl", "marlin"], program: run::Program::Node("cncjs.js") },
    Host { name: "Printrun", speaks: &["marlin"], program: run::Program::Python("printrun_host.py") },
    Host { name: "OctoPrint", speaks: &["marlin"], program: run::Program::Python("octoprint_host.py") },
];

/// A modelled line: its name, baud and one-way latency in microseconds.
const LINES: [(&str, u32, u64); 3] =
    [("unlimited", 0, 0), ("115200 baud, 1 ms", 115_200, 1_000), ("250000 baud, 0.5 ms", 250_000, 500)];

/// How much of the line's rate the machine needs when starvation is looked for.
const SHARES: [f64; 2] = [0.6, 0.9];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--machine", rest @ ..] => machine::run(rest),
        ["--ours", rest @ ..] => ours::run(rest),
        ["--bare", rest @ ..] => bare::run(rest),
        words => compare(words),
    }
}

fn compare(words: &[&str]) {
    // The agent's threads ask for it; every process started from here inherits it, so that all hosts are equal.
    drivers::priority::ask(drivers::priority::MACHINE);
    let quick = words.contains(&"--quick");
    let wanted: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    let is_wanted = |title: &str| wanted.iter().all(|word| title.contains(word));
    for dialect in ["grbl", "marlin"] {
        for (name, baud, latency_us) in LINES {
            let title = format!("{dialect}, {name}");
            if is_wanted(&title) {
                let case = Case { dialect, baud, latency_us, share: 0.0, quick };
                table(&title, &case);
            }
        }
        for share in SHARES {
            let title = format!("{dialect}, starvation: 115200 baud, 1 ms, {:.0} % of the line needed", share * 100.0);
            if is_wanted(&title) {
                table(&title, &Case { dialect, baud: 115_200, latency_us: 1_000, share, quick });
            }
        }
        let title = format!("{dialect}, memory of a long program");
        if is_wanted(&title) {
            run::memory(&title, dialect, if quick { 100_000 } else { 1_000_000 });
        }
    }
}

/// Runs every host that speaks the dialect and prints what came of it.
fn table(title: &str, case: &Case) {
    println!("\n{title}");
    println!(
        "  {:<10} {:>7} {:>9} {:>9} {:>9} {:>12} {:>10} {:>9}",
        "host", "lines", "lines/s", "to bare", "line used", "s CPU/100k", "underruns", "RSS MB"
    );
    let mut outcomes: Vec<(&Host, Result<Outcome, String>)> = Vec::new();
    for host in HOSTS.iter().filter(|host| host.speaks.contains(&case.dialect)) {
        outcomes.push((host, run::run(host, case)));
    }
    let bare =
        outcomes.iter().find(|(host, _)| host.name == "bare loop").and_then(|(_, outcome)| outcome.as_ref().ok());
    let bare = bare.map_or(f64::NAN, |outcome| outcome.lines_per_s);
    for (host, outcome) in &outcomes {
        match outcome {
            Ok(outcome) => println!(
                "  {:<10} {:>7} {:>9.0} {:>9.2} {:>9} {:>12.2} {:>10} {:>9.1}{}",
                host.name,
                outcome.lines,
                outcome.lines_per_s,
                outcome.lines_per_s / bare,
                outcome.line_used.map_or_else(String::new, |used| format!("{:.1} %", used * 100.0)),
                outcome.cpu_s * 100_000.0 / outcome.lines as f64,
                outcome.underruns,
                outcome.resident_kb as f64 / 1024.0,
                outcome.trouble,
            ),
            Err(why) => println!("  {:<10} {why}", host.name),
        }
    }
}
