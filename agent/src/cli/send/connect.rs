//! Until the machine has said who it is and can take a job.

use std::time::Duration;

use drivers::machine::Machine;
use drivers::probe::probe;
use drivers::session::NOTHING_CHANGED;
use drivers::{Notice, Request, Snapshot, State};

use super::at_the_terminal;
use crate::cli::Failure;

/// How long a machine may take to say who it is. Boards take up to ten seconds to boot.
const CONNECT_PATIENCE: Duration = Duration::from_secs(25);

/// How long homing may take: the longest axes of a router, slowly, twice.
const HOME_PATIENCE: Duration = Duration::from_secs(300);

/// What the person who started this says about the machine.
#[derive(Debug, clap::Args)]
pub(super) struct Cleared {
    /// I have looked at the machine: clear the alarm or the lock it is in
    #[arg(long)]
    clear: bool,
    /// Home all axes first; clears the lock that a mill with homing starts in
    #[arg(long)]
    home: bool,
}

impl Cleared {
    /// Whether the machine is to home first.
    pub(super) fn homes(&self) -> bool {
        self.home
    }
}

/// Waits until the machine has said who it is and is idle.
pub(super) async fn connect(machine: &Machine, cleared: &Cleared) -> Result<(), Failure> {
    let mut settled = settle(machine, CONNECT_PATIENCE).await;
    let locked = matches!(machine.snapshot().state, State::Alarm | State::Attention);
    let looked_at = cleared.clear || cleared.home;
    if settled.is_err() && looked_at && locked {
        machine.act(at_the_terminal(machine, Request::Clear)).await.map_err(Notice::from)?;
        settled = settle_cleared(machine).await;
    }
    if let (Err(Failure::Failed(notice)), true, false) = (&mut settled, locked, looked_at) {
        notice.to_do.push_str(" Then send it again with --clear, or with --home where it has homing switches.");
    }
    settled?;
    if cleared.home {
        machine.act(at_the_terminal(machine, Request::Home)).await.map_err(Notice::from)?;
        settle(machine, HOME_PATIENCE).await?;
        if !machine.snapshot().homed {
            return Err(Failure::Failed(Notice::new(
                "machine.not_homed",
                "The machine did not home.",
                "Nothing was sent.",
                "Look at it: without homing switches or with homing switched off (`$22=0`) it cannot.",
            )));
        }
    }
    Ok(())
}

async fn settle(machine: &Machine, patience: Duration) -> Result<(), Failure> {
    let mut watch = machine.watch();
    // A host that is still starting will be ready by itself.
    let starts = |snapshot: &Snapshot| snapshot.notice.as_ref().is_some_and(|notice| notice.code == "machine.starting");
    let settled =
        watch.wait_for(|snapshot| snapshot.state == State::Idle || (snapshot.notice.is_some() && !starts(snapshot)));
    match tokio::time::timeout(patience, settled).await {
        Ok(Ok(snapshot)) if snapshot.state == State::Idle => Ok(()),
        Ok(Ok(snapshot)) => Err(Failure::Failed(snapshot.notice.clone().unwrap_or_else(|| not_idle(&snapshot)))),
        _ => Err(Failure::Failed(not_idle(&machine.snapshot()))),
    }
}

/// Until a clear has shown that it did something, or nothing.
async fn settle_cleared(machine: &Machine) -> Result<(), Failure> {
    let mut watch = machine.watch();
    let failed = |snapshot: &Snapshot| snapshot.notice.as_ref().is_some_and(|notice| notice.code == NOTHING_CHANGED);
    let settled = watch.wait_for(|snapshot| snapshot.state == State::Idle || failed(snapshot));
    match tokio::time::timeout(CONNECT_PATIENCE, settled).await {
        Ok(Ok(snapshot)) if snapshot.state == State::Idle => Ok(()),
        _ => {
            let snapshot = machine.snapshot();
            Err(Failure::Failed(snapshot.notice.clone().unwrap_or_else(|| not_idle(&snapshot))))
        }
    }
}

/// A machine that does not answer in the words it was to know may answer in others: then that is what is wrong.
pub(super) async fn who_else(failure: Failure, port: &str, dialect: &str, baud: u32) -> Failure {
    let Failure::Failed(notice) = failure else { return failure };
    if !matches!(notice.code.as_str(), "machine.silent" | "machine.unnamed") {
        return Failure::Failed(notice);
    }
    match probe(port, &[baud]).await {
        Ok(found) if found.dialect != dialect => Failure::Failed(Notice::new(
            "machine.wrong",
            format!("The machine on {port} speaks {}, not {dialect}.", found.dialect),
            "Nothing was sent.",
            "Check that the cable leads to the right machine, or correct --dialect or --profile.",
        )),
        _ => Failure::Failed(notice),
    }
}

fn not_idle(snapshot: &Snapshot) -> Notice {
    Notice::new(
        "machine.not_ready",
        format!("The machine is {}, not idle.", snapshot.state.word()),
        "Nothing was sent.",
        "Look at the machine; finish or stop what it does, clear its alarm, then try again.",
    )
}
