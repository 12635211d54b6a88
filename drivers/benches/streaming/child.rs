//! How a host's process and the bench speak: `ready`, then `go`, then `done`.

use std::io::BufRead as _;

/// Says that the machine is connected, and waits for the word to start.
pub(crate) fn ready() {
    println!("ready");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}

/// Says that every line was answered, and waits until the bench has looked at this process.
pub(crate) fn done() {
    println!("done");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}

/// Memory a process holds, in kilobytes.
pub(crate) fn resident_kb(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Processor time a process has used, in seconds: user and system, all threads, in steps of 10 ms.
pub(crate) fn cpu_s(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name may hold anything; what follows it does not.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 14 and 15 of proc(5), which counts from 1 and includes the two before the bracket; 100 ticks a second.
    (ticks(11) + ticks(12)) / 100.0
}
