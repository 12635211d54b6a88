//! Leave to make a machine do something: for one thing, once, for a moment.

use std::sync::Arc;

use crate::request::{Denied, Job, Request};

/// Says whether what was permitted is still wanted, and still may be. Asked at the last moment before the machine is told.
pub type StillGood = Arc<dyn Fn() -> bool + Send + Sync>;

/// Leave for one start or one request of a person. It is made by whoever decides who may do what, and used up by being
/// carried out: it cannot be copied, it names its machine, and a start names the bytes of its program.
///
/// What only calms a machine needs none, see [`crate::request::Calming`].
pub struct Permit {
    machine: String,
    request: Request,
    program_sha256: Option<String>,
    still_good: Option<StillGood>,
}

impl Permit {
    /// Leave to start the program with this SHA-256, in hexadecimal, as this job.
    pub fn to_start(machine: &str, job: Job, program_sha256: &str, still_good: StillGood) -> Self {
        Self {
            machine: machine.to_owned(),
            request: Request::Start(job),
            program_sha256: Some(program_sha256.to_owned()),
            still_good: Some(still_good),
        }
    }

    /// Leave to ask this of a machine.
    pub fn to_ask(machine: &str, request: Request, still_good: StillGood) -> Self {
        Self { machine: machine.to_owned(), request, program_sha256: None, still_good: Some(still_good) }
    }

    /// Leave of whoever sits at the terminal and looks at the machine: a one-shot command asks nobody else.
    pub fn of_the_terminal(machine: &str, request: Request) -> Self {
        Self { machine: machine.to_owned(), request, program_sha256: None, still_good: None }
    }

    /// What it lets a machine be asked, and until when it is good.
    ///
    /// # Errors
    /// It is for another machine, or for another program than the one with this hash.
    pub(crate) fn used(
        self,
        machine: &str,
        program_sha256: Option<&str>,
    ) -> Result<(Request, Option<StillGood>), Denied> {
        let wanted = self.program_sha256.as_deref();
        if self.machine != machine || wanted.is_some_and(|wanted| program_sha256 != Some(wanted)) {
            return Err(Denied::NotPermitted);
        }
        Ok((self.request, self.still_good))
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Permit")
            .field("machine", &self.machine)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
