//! Machines that are out of service: a person takes one out, with a reason and until when, and puts it back.

use drivers::Notice;

use super::clerk::Clerk;
use super::{Ask, Desk, Refusal, facts};
use crate::host::clock;
use crate::jobs::gate::OutOfService;
use crate::store::Who;

/// Longest reason, in characters.
const REASON_MAX: usize = 200;

/// Under which name the store keeps that a machine is out of service.
fn kept_as(machine: &str) -> String {
    format!("out_of_service/{machine}")
}

impl Desk {
    /// Takes a machine out of service: from now on no job starts on it. `until`: RFC 3339; absent: until it is put back.
    ///
    /// # Errors
    /// There is no such machine, or what is said of it cannot be.
    pub async fn take_out_of_service(
        &self,
        machine: &str,
        reason: &str,
        until: Option<String>,
        who: Option<Who>,
    ) -> Result<(), Refusal> {
        let reason: String = reason.chars().filter(|letter| !letter.is_control()).take(REASON_MAX).collect();
        let since = clock::rfc3339(clock::wall_ms());
        if reason.trim().is_empty() {
            return Err(invalid("No reason is given."));
        }
        if let Some(until) = &until {
            let ends =
                until.parse::<jiff::Timestamp>().map_err(|_| invalid("`until` is no time as RFC 3339 has it."))?;
            if ends.as_millisecond() <= clock::wall_ms() {
                return Err(invalid("`until` is past."));
            }
        }
        self.set_service(machine, Some(OutOfService { reason, since, until }), who).await
    }

    /// Puts a machine back into service.
    ///
    /// # Errors
    /// There is no such machine.
    pub async fn put_back_into_service(&self, machine: &str, who: Option<Who>) -> Result<(), Refusal> {
        self.set_service(machine, None, who).await
    }

    async fn set_service(&self, machine: &str, out: Option<OutOfService>, who: Option<Who>) -> Result<(), Refusal> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let ask = Ask::Service(machine.to_owned(), out, who, answer);
        self.asks.try_send(ask).map_err(|_| Refusal::Busy)?;
        answered.await.map_err(|_| Refusal::Busy)?
    }
}

impl Clerk {
    /// It acts at once, and is written down with the fact that tells of it.
    pub(super) fn set_service(
        &mut self,
        machine: &str,
        out: Option<OutOfService>,
        who: Option<Who>,
    ) -> Result<(), Refusal> {
        self.machine(machine)?;
        let told = facts::service(machine, out.as_ref(), who);
        self.store.keep(&kept_as(machine), out.as_ref().and_then(|out| serde_json::to_string(out).ok()));
        self.store.tell([told], []);
        match out {
            Some(out) => drop(self.out_of_service.insert(machine.to_owned(), out)),
            None => drop(self.out_of_service.remove(machine)),
        }
        self.published();
        Ok(())
    }

    /// Machines that were out of service when the agent ended still are.
    pub(super) fn put_out_of_service_again(&mut self, kept: &[(String, String)]) {
        let machines: Vec<_> = self.machines.iter().map(|machine| machine.name().to_owned()).collect();
        for machine in machines {
            let name = kept_as(&machine);
            let text = kept.iter().find(|(kept, _)| *kept == name).map(|(_, text)| text);
            if let Some(out) = text.and_then(|text| serde_json::from_str(text).ok()) {
                self.out_of_service.insert(machine, out);
            }
        }
    }

    /// Those whose time is over are back.
    pub(super) fn service_due(&mut self) {
        let now = clock::wall_ms();
        let is_over = |out: &OutOfService| {
            let until = out.until.as_ref().and_then(|until| until.parse::<jiff::Timestamp>().ok());
            until.is_some_and(|until| until.as_millisecond() <= now)
        };
        let over: Vec<_> =
            self.out_of_service.iter().filter(|(_, out)| is_over(out)).map(|(machine, _)| machine.clone()).collect();
        for machine in over {
            // A machine of the map is one of the agent's.
            let _ = self.set_service(&machine, None, None);
        }
    }
}

fn invalid(happened: &str) -> Refusal {
    Refusal::Invalid(Notice::new(
        "machine.service_unclear",
        happened,
        "Nothing was changed.",
        "Say why it is out of service, and until when as in 2026-12-24T18:00:00Z, or nothing for until it is put back.",
    ))
}
