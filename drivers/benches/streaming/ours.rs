//! The agent's own host: the shell and session of the drivers, as the agent runs them.

use std::sync::Arc;

use drivers::machine::{Baud, Machine, Setup};
use drivers::profile::Profile;
use drivers::request::Job;
use drivers::{EventKind, Permit, Request, State, shell};

/// Arguments: dialect, port, program, and `memory` to print the resident memory as the job goes on.
pub(crate) fn run(arguments: &[&str]) {
    let [dialect, port, program, rest @ ..] = arguments else { panic!("{arguments:?}") };
    let name = if *dialect == "marlin" { "prusa-mk3s" } else { "generic-grbl" };
    let profile = Arc::new(Profile::named(name).unwrap());
    let setup = Setup {
        name: "bench".to_owned(),
        port: (*port).to_owned(),
        baud: Baud::default(),
        profile,
        reconnect: false,
        watch_table: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let machine = shell::spawn(setup).unwrap();
        let mut snapshot = machine.watch();
        snapshot.wait_for(|snapshot| snapshot.state == State::Idle).await.unwrap();
        super::child::ready();
        let lines = memchr::memchr_iter(b'\n', &std::fs::read(program).unwrap()).count() as u64;
        let mut events = machine.events();
        let job = Job { id: "bench".to_owned(), lines, from_line: 1 };
        let permit = Permit::of_the_terminal(machine.name(), Request::Start(job));
        machine.start(permit, std::path::PathBuf::from(*program)).await.unwrap();
        if rest.contains(&"memory") {
            watch_memory(&machine, lines).await;
        }
        loop {
            let Ok(event) = events.recv().await else { continue };
            if let EventKind::Job { phase, notice, .. } = event.kind {
                if phase.is_over() {
                    assert_eq!(phase.word(), "finished", "{notice:?}");
                    break;
                }
            }
        }
        super::child::done();
    });
}

/// Prints the resident memory at a tenth, half and all of the program.
async fn watch_memory(machine: &Machine, lines: u64) {
    let mut snapshot = machine.watch();
    for percent in [10, 50, 100] {
        let reached = |sent: u64| sent * 100 >= lines * percent;
        let at = snapshot.wait_for(|snapshot| snapshot.job.as_ref().is_some_and(|job| reached(job.sent))).await;
        drop(at.unwrap());
        println!("{percent} {}", super::child::resident_kb("self"));
    }
}
