//! Baud rates that were found, kept in the store: the next start tries them first.

use drivers::machine::{Baud, Machine, Setup};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Store, baud_name};

/// Gives machines whose rate is to be found the one at which they answered last, of what the store keeps.
pub(crate) fn recall(machines: &mut [Setup], kept: &[(String, String)]) {
    for machine in machines {
        if let Baud::Detect { first } = &mut machine.baud {
            let name = baud_name(&machine.name);
            let found = kept.iter().find(|(kept, _)| *kept == name).and_then(|(_, baud)| baud.parse().ok());
            *first = found.or(*first);
        }
    }
}

/// Keeps the rates that are found from now on.
pub(crate) fn keep(machines: &[Machine], store: &Store, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let detecting = machines.iter().filter(|machine| machine.finds_its_baud());
    detecting.map(|machine| tokio::spawn(follow(machine.clone(), store.clone(), stopped.clone()))).collect()
}

async fn follow(machine: Machine, store: Store, mut stopped: watch::Receiver<bool>) {
    let (mut snapshots, name) = (machine.watch(), baud_name(machine.name()));
    // The machine's thread ends when nobody holds it any more.
    drop(machine);
    let mut kept = None;
    loop {
        let baud = {
            let snapshot = snapshots.borrow_and_update();
            // A rate counts once the machine has said who it is.
            snapshot.baud.filter(|_| snapshot.identity.is_some())
        };
        if baud.is_some() && baud != kept {
            store.keep(&name, baud.map(|baud| baud.to_string()));
            kept = baud;
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}
