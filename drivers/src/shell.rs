//! The thread that moves bytes and time between a link and a session; it decides nothing.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{broadcast, mpsc, watch};

use crate::machine::{EVENT_RING, INBOX_REQUESTS, Machine, Setup};
use crate::moment::Moment;
use crate::request::Denied;
use crate::snapshot::Snapshot;

/// Starts the thread of one machine. It connects, reconnects and serves requests until every handle is dropped.
///
/// # Errors
/// The operating system could not start a thread.
pub fn spawn(setup: Setup) -> std::io::Result<Machine> {
    let (_snapshot_in, snapshot) = watch::channel(Arc::new(Snapshot::unknown(Moment::ZERO)));
    let (events, _) = broadcast::channel(EVENT_RING);
    let (inbox, mut orders) = mpsc::channel(INBOX_REQUESTS);
    let (emergency, _stops) = mpsc::channel(1);
    #[expect(clippy::disallowed_methods, reason = "the shell is where the clock is read")]
    let epoch = SystemTime::now();
    let machine = Machine { setup, epoch, snapshot, events, inbox, emergency };
    std::thread::Builder::new().name(machine.name().to_owned()).spawn(move || {
        while let Some(order) = orders.blocking_recv() {
            tracing::debug!(request = ?order.request, program = ?order.program, "denied");
            let _ = order.answer.send(Err(Denied::Offline));
        }
    })?;
    Ok(machine)
}
