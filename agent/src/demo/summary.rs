//! What the demo's jobs came to, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

/// What one job came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// The machine's name.
    pub(crate) machine: String,
    /// The program's file name.
    pub(crate) program: String,
    /// `finished`, `cancelled`, `failed` or `refused`.
    pub(crate) outcome: String,
    /// Why, where it did not simply go well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Lines of the program.
    pub(crate) lines: u64,
    /// Commands sent.
    pub(crate) sent: u64,
    /// Commands the machine answered.
    pub(crate) accepted: u64,
    /// Commands executed, by evidence.
    pub(crate) executed: u64,
    /// Commands the simulated machine itself counted.
    pub(crate) machine_executed: u64,
    /// Commands sent again.
    pub(crate) resends: u64,
    /// What the simulated machine saw that must never happen.
    pub(crate) violations: Vec<String>,
    /// Seconds from start to end.
    pub(crate) seconds: f64,
}

/// What all jobs came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// `finished` if every job did, `cancelled` if somebody ended the demo before, else `failed`.
    pub(crate) outcome: &'static str,
    /// The jobs.
    pub(crate) jobs: Vec<Row>,
}

impl Row {
    /// Whether it went as it should: to its end by the agent's evidence and by the machine's own count.
    fn is_well(&self) -> bool {
        self.outcome == "finished" && self.executed == self.machine_executed && self.violations.is_empty()
    }
}

impl Summary {
    pub(crate) fn of(jobs: Vec<Row>) -> Self {
        let outcome = if jobs.iter().all(Row::is_well) { "finished" } else { "failed" };
        Self { outcome, jobs }
    }

    /// Whether every job went as it should.
    pub(crate) fn is_well(&self) -> bool {
        self.outcome == "finished"
    }

    /// The demo was ended before its jobs were.
    pub(crate) fn interrupted() -> Self {
        Self { outcome: "cancelled", jobs: Vec::new() }
    }

    /// Whether somebody ended the demo before its jobs were done.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.outcome == "cancelled"
    }

    /// A table for people.
    pub(crate) fn table(&self) -> String {
        let head = ["machine", "program", "outcome", "lines", "executed", "resends", "seconds"].map(str::to_owned);
        let mut rows = vec![head];
        rows.extend(self.jobs.iter().map(|row| {
            [
                row.machine.clone(),
                row.program.clone(),
                row.outcome.clone(),
                row.lines.to_string(),
                row.executed.to_string(),
                row.resends.to_string(),
                format!("{:.1}", row.seconds),
            ]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
        let mut table = String::new();
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                // Words to the left, numbers to the right.
                if column < 3 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            table.push('\n');
        }
        for row in &self.jobs {
            for trouble in row.reason.iter().chain(&row.violations) {
                // Writing to a String cannot fail.
                let _ = writeln!(table, "{}: {trouble}", row.machine);
            }
        }
        table
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn row(outcome: &str, executed: u64) -> Row {
        Row {
            machine: "mill".into(),
            program: "plate.nc".into(),
            outcome: outcome.into(),
            reason: (outcome != "finished").then(|| "It broke.".to_owned()),
            lines: 757,
            sent: executed,
            accepted: executed,
            executed,
            machine_executed: 717,
            resends: 0,
            violations: Vec::new(),
            seconds: 12.34,
        }
    }

    #[test]
    fn all_is_well_only_if_the_machine_counted_the_same() {
        assert!(Summary::of(vec![row("finished", 717)]).is_well());
        assert!(!Summary::of(vec![row("finished", 716)]).is_well());
        assert!(!Summary::of(vec![row("finished", 717), row("failed", 717)]).is_well());
    }

    #[test]
    fn the_table_lines_up_and_tells_troubles() {
        let table = Summary::of(vec![row("finished", 717), row("failed", 3)]).table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "machine  program   outcome   lines  executed  resends  seconds");
        assert_eq!(lines[1], "mill     plate.nc  finished    757       717        0     12.3");
        assert_eq!(lines[3], "mill: It broke.");
    }
}
