//! `fab-agent modbus stop`: makes the drives of a configuration stand when no agent is left to do it. A drive is stopped
//! whatever else is wrong in the configuration; that is told afterwards.

use std::path::Path;
use std::time::Instant;

use drivers::Notice;
use drivers::modbus::auxiliary::{Auxiliaries, place};

use super::super::{Failure, config, print};
use crate::config::stoppable::{self, Stoppable};

/// Every machine's drives are told before any is waited for, and each stands or is told of within its own time.
pub(super) async fn stop(file: &Path) -> Result<(), Failure> {
    let (machines, mut problems) = stoppable::read(file);
    let started = Instant::now();
    let mut stopping = Vec::new();
    for Stoppable { machine, port, drives } in machines {
        let mut told = Vec::new();
        for drive in drives {
            let name = drive.name.clone();
            // One that cannot be reached keeps no other from being told.
            let beside = place(&drive, &port)
                .and_then(|_| Auxiliaries::start(&[drive], &port, started).map_err(|error| error.to_string()));
            match beside {
                Ok(beside) => told.push(tokio::spawn(stand(name, beside))),
                Err(why) => problems.push(format!("{machine}: `{name}`: {why}.")),
            }
        }
        stopping.push((machine, told));
    }
    let mut turning = Vec::new();
    for (machine, told) in stopping {
        let before = turning.len();
        let any = !told.is_empty();
        for stopped in told {
            match stopped.await {
                Ok(stands) => turning.extend(stands.map(|why| format!("{machine}: {why}"))),
                Err(error) => turning.push(format!("{machine}: {error}.")),
            }
        }
        if any && turning.len() == before {
            print(&format!("{machine}: every drive stands, read back."));
        }
    }
    for problem in &problems {
        eprintln!("{}: {problem}", file.display());
    }
    if !turning.is_empty() {
        return Err(Failure::Failed(Notice::new(
            "drive.does_not_stop",
            format!("Not every drive says that it stands. {}", turning.join(" ")),
            "Stop was written to it for as long as a drive may take.",
            "Press the emergency stop. Do not reach in before it stands.",
        )));
    }
    if !problems.is_empty() {
        return Err(Failure::Usage(config::invalid(file, problems.len())));
    }
    Ok(())
}

/// Why a drive does not show that it stands; nothing where it does.
async fn stand(name: String, beside: Auxiliaries) -> Option<String> {
    let stands = match beside.drives() {
        Some(drives) => drives.stand().await,
        None => false,
    };
    let told = beside.known().iter().find_map(|drive| drive.notice.clone());
    // Its thread ends with what it is doing, which is bounded.
    let ended = tokio::task::spawn_blocking(move || drop(beside));
    let _ = ended.await;
    (!stands).then(|| told.map_or_else(|| format!("`{name}` does not say that it stands."), |told| told.happened))
}
