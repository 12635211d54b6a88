//! The person at one machine of the demo: submits the program, starts it and watches. A client like any other.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::display::Display;
use super::programs::Bundle;
use super::shop::Shop;
use super::summary::Row;
use crate::client::{Client, Failure};

/// How often the person looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Longest wait until a machine that was switched on is ready: a board takes two seconds.
const READY_MAX: Duration = Duration::from_secs(30);

/// Longest time in which a running job may make no progress at all. Heating at real speed takes minutes.
const STANDSTILL_MAX: Duration = Duration::from_secs(900);

/// The person at one machine.
#[derive(Debug)]
pub(crate) struct Operator<'a> {
    bundle: Bundle,
    client: Client,
    shop: &'a Shop,
    bar: ProgressBar,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(bundle: Bundle, client: Client, shop: &'a Shop, display: &Display) -> Self {
        Self { bundle, client, shop, bar: display.bar(bundle.machine) }
    }

    /// Submits the program, starts it and waits until it is over, by the agent's word.
    pub(crate) async fn run_one(&self) -> Row {
        let started_at = Instant::now();
        let outcome = self.follow().await;
        let seconds = started_at.elapsed().as_secs_f64();
        self.row(outcome, seconds)
    }

    /// Keeps a program waiting on the machine, and shows what the machine does.
    pub(crate) async fn attend(&self) {
        loop {
            // Takes off what lies there, and says so.
            let _ = self.ready().await;
            let Ok(job) = self.submit().await else {
                sleep(READY_MAX).await;
                continue;
            };
            while !self.look(&job).await.is_ok_and(|job| is_over(&job)) {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn follow(&self) -> Result<Value, Failure> {
        let job = self.submit().await?;
        if self.look(&job).await.is_ok_and(|job| is_over(&job)) {
            return self.look(&job).await;
        }
        self.ready().await?;
        self.client.post(&format!("/api/v1/jobs/{job}/start"), "application/json", "").await?;
        let mut moved = (0, Instant::now());
        loop {
            let document = self.look(&job).await?;
            if is_over(&document) {
                return Ok(document);
            }
            let executed = count(&document, "executed");
            if executed != moved.0 {
                moved = (executed, Instant::now());
            } else if moved.1.elapsed() > STANDSTILL_MAX {
                return Err(failure("demo.standstill", "The job made no progress for a quarter of an hour."));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn submit(&self) -> Result<String, Failure> {
        let path = format!("/api/v1/machines/{}/jobs?name={}", self.bundle.machine, self.bundle.file);
        let record = self.client.post(&path, "text/x.gcode", self.bundle.program).await?;
        record["id"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| failure("demo.no_job", "The agent took the program and named no job."))
    }

    async fn ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_MAX;
        let path = format!("/api/v1/machines/{}", self.bundle.machine);
        loop {
            let machine = self.client.get(&path).await?;
            let state = machine["state"].as_str().unwrap_or("unknown").to_owned();
            if state == "idle" {
                return Ok(());
            }
            // It stands in front of the machine, and looks.
            if machine["waits_for_clear"] == true {
                self.client.post(&format!("{path}/clear"), "application/json", "").await?;
                continue;
            }
            if Instant::now() > deadline {
                return Err(failure("demo.not_ready", &format!("The machine is {state} and did not become idle.")));
            }
            self.bar.set_message(state);
            sleep(LOOK_EVERY).await;
        }
    }

    /// Looks at a job once and shows it.
    async fn look(&self, job: &str) -> Result<Value, Failure> {
        let document = self.client.get(&format!("/api/v1/jobs/{job}")).await?;
        let state = document["state"].as_str().unwrap_or("unknown");
        self.bar.set_length(document["commands"].as_u64().unwrap_or(0));
        self.bar.set_position(count(&document, "executed"));
        self.bar.set_message(format!("{} {state}", self.bundle.file));
        Ok(document)
    }

    fn row(&self, outcome: Result<Value, Failure>, seconds: f64) -> Row {
        let report = self.shop.report(self.bundle.machine).unwrap_or_default();
        let (document, reason) = match outcome {
            Ok(document) => {
                let reason = serde_json::from_value::<drivers::Notice>(document["reason"].clone())
                    .ok()
                    .map(|notice| notice.to_string());
                (document, reason)
            }
            Err(failure) => (Value::Null, Some(failure.to_string())),
        };
        Row {
            machine: self.bundle.machine.to_owned(),
            program: self.bundle.file.to_owned(),
            outcome: document["state"].as_str().unwrap_or("failed").to_owned(),
            reason,
            lines: document["lines"].as_u64().unwrap_or(0),
            sent: count(&document, "sent"),
            accepted: count(&document, "accepted"),
            executed: count(&document, "executed"),
            machine_executed: report.executed,
            resends: count(&document, "resends"),
            violations: report.violations,
            seconds,
        }
    }
}

fn is_over(job: &Value) -> bool {
    matches!(job["state"].as_str(), Some("finished" | "cancelled" | "failed" | "refused"))
}

fn count(job: &Value, what: &str) -> u64 {
    job["progress"][what].as_u64().unwrap_or(0)
}

fn failure(code: &str, message: &str) -> Failure {
    Failure { code: code.to_owned(), message: message.to_owned() }
}
