//! What the gate is told, and people's requests to machines that it lets through.

use drivers::machine::Machine;
use drivers::{Notice, Permit, Request, Snapshot};

use super::start::Wanted;
use super::{Desk, Gone, Refusal, no_such_machine};
use crate::desk::refusal::denied;
use crate::jobs::Record;
use crate::jobs::gate::{self, Facts, OutOfService};

/// What is known of a machine and of whoever wants something of it.
pub(super) fn facts<'a>(
    machine: &'a Machine,
    snapshot: &'a Snapshot,
    out_of_service: Option<&'a OutOfService>,
    wanted: &Wanted,
) -> Facts<'a> {
    let kind = machine.profile().kind;
    Facts { machine: machine.name(), kind, snapshot, out_of_service, no_right: None, fresh: wanted.is_fresh() }
}

/// The permit to ask this of a machine.
pub(super) fn to_ask(machine: &Machine, request: Request, wanted: &Wanted) -> Result<Permit, Refusal> {
    let snapshot = machine.snapshot();
    let pass = gate::ask(&facts(machine, &snapshot, None, wanted), request).map_err(Refusal::Missing)?;
    Ok(pass.permit(wanted.still_good()))
}

impl Desk {
    /// What a queued job waits for at its machine, whoever starts it. Empty: only for somebody who does.
    pub fn waits_for(&self, job: &Record) -> Vec<Notice> {
        let Some(machine) = self.machine(&job.machine) else { return vec![no_such_machine()] };
        let (snapshot, queue) = (machine.snapshot(), self.queue(&job.machine).borrow().clone());
        let (kind, out_of_service) = (machine.profile().kind, queue.out_of_service.as_ref());
        let machine = machine.name();
        let facts = Facts { machine, kind, snapshot: &snapshot, out_of_service, no_right: None, fresh: true };
        gate::of_the_machine(&facts).iter().map(gate::Missing::notice).collect()
    }

    /// Asks something of a machine that is no job. Dropped before its end, it is not wanted any more.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn ask(&self, machine: &str, request: Request) -> Result<(), Refusal> {
        let machine = self.machine(machine).ok_or_else(|| Refusal::Unknown(no_such_machine()))?;
        let gone = Gone::default();
        let wanted = Wanted { asked: self.pulse.asked(), gone: gone.0.clone() };
        let permit = to_ask(machine, request, &wanted)?;
        machine.act(permit).await.map_err(denied)
    }
}
