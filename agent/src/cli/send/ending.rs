//! The end of `send` that somebody asked for: within seconds, whatever the machine does.
//!
//! ```text
//!  signal ──► cancel ──(HASTEN_AFTER)──► what makes it safe is said at once ──(GIVEN_UP_AFTER)──► not known, and said
//! ```

use std::time::Duration;

use drivers::Notice;
use drivers::machine::Machine;
use drivers::request::Calming;
use tokio::time::Instant;

use crate::cli::signals::Wanted;

/// How long a signal may take to end this program, in all.
pub(super) const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// How long after it nobody waits any longer for the machine to come to its end, and how long for anything.
const HASTEN_AFTER: Duration = Duration::from_millis(2_700);
const GIVEN_UP_AFTER: Duration = Duration::from_millis(4_500);

/// How long the machine's thread may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_millis(300);

/// Whether somebody wants this program to end, and how far that is.
#[derive(Debug, Default)]
pub(super) struct Ending {
    since: Option<Instant>,
    interrupts: u32,
    hastened: bool,
}

impl Ending {
    /// Whether nobody asked for it yet.
    pub(super) fn is_none(&self) -> bool {
        self.since.is_none()
    }

    /// How long whatever is left to do may take.
    pub(super) fn left(&self) -> Option<Duration> {
        self.since.map(|since| ENDS_WITHIN.saturating_sub(since.elapsed()))
    }

    /// A signal: the first one cancels, Ctrl-C a second time stops. What a closed terminal sends twice is meant once. A
    /// sentence for the person, if there is anything to say.
    pub(super) async fn signalled(&mut self, machine: &Machine, wanted: Wanted) -> Option<&'static str> {
        let first = self.since.is_none();
        self.since.get_or_insert_with(Instant::now);
        self.interrupts += u32::from(wanted == Wanted::Interrupt);
        // A cancel begins with a hold, and does not wait for a nozzle to get hot first, as a pause must.
        let (calming, what) = match wanted {
            Wanted::Interrupt if first => {
                (Calming::Cancel, "Holding, then making the machine safe. Ctrl-C again stops it at once.")
            }
            Wanted::Interrupt if self.interrupts > 1 => (Calming::Stop, "Emergency stop."),
            Wanted::End if first => (Calming::Cancel, "Holding, then making the machine safe."),
            Wanted::Interrupt | Wanted::End => return None,
        };
        let _ = tokio::time::timeout(ANSWER_PATIENCE, machine.calm(calming)).await;
        Some(what)
    }

    /// Waits until something is to be done about the end; for ever where nobody asked for it.
    pub(super) async fn due(&self) {
        let Some(since) = self.since else { return std::future::pending().await };
        let after = if self.hastened { GIVEN_UP_AFTER } else { HASTEN_AFTER };
        tokio::time::sleep_until(since + after).await;
    }

    /// It is time. True: nothing is waited for any longer.
    pub(super) async fn overdue(&mut self, machine: &Machine) -> bool {
        if std::mem::replace(&mut self.hastened, true) {
            return true;
        }
        let _ = tokio::time::timeout(ANSWER_PATIENCE, machine.calm(Calming::Hasten)).await;
        false
    }
}

/// The machine does not show in time that it is safe.
pub(super) fn not_known() -> Notice {
    Notice::new(
        "send.not_known",
        "The job was told to end, and the machine has not shown in time that it stands still and is safe.",
        "What makes it safe was said as far as it reads; what it does now is not known.",
        "Go to the machine and switch it off if anything moves, turns or heats.",
    )
}

/// Somebody wanted this program to end before the job began.
pub(super) fn before_the_job(homes: bool) -> Notice {
    let done = if homes {
        "Nothing of the program was sent. The machine was told to home, and does that to its end."
    } else {
        "Nothing of the program was sent."
    };
    Notice::new("send.ended", "This program was told to end before the job began.", done, "Look at the machine.")
}
