//! A machine's thread on a real port, and waiting for what it shows. In real time.
#![allow(unreachable_pub, missing_docs, reason = "shared by several test programs")]

use std::sync::Arc;
use std::time::Duration;

use drivers::machine::{Baud, Machine, Setup};
use drivers::profile::Profile;
use drivers::request::Job;
use drivers::{Permit, Request, Snapshot, shell};

/// Real time after which something that should have happened counts as never happening.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn machine(port: &str, profile: Profile) -> Machine {
    let setup = Setup {
        name: "test".into(),
        port: port.into(),
        baud: Baud::Profile,
        profile: Arc::new(profile),
        reconnect: true,
        watch_table: false,
    };
    shell::spawn(setup).unwrap()
}

/// Leave of whoever runs the test.
pub fn leave(machine: &Machine, request: Request) -> Permit {
    Permit::of_the_terminal(machine.name(), request)
}

/// Leave to start a job.
pub fn leave_to_start(machine: &Machine, job: Job) -> Permit {
    leave(machine, Request::Start(job))
}

pub async fn until(machine: &Machine, done: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut watch = machine.watch();
    let waited = tokio::time::timeout(PATIENCE, watch.wait_for(|snapshot| done(snapshot))).await;
    waited.unwrap_or_else(|_| panic!("never happened: {:#?}", machine.snapshot())).unwrap().clone()
}
