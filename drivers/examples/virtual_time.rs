//! A session with a simulated Grbl, in virtual time: `cargo run -p drivers --example virtual_time`.
//!
//! A session opens nothing and reads no clock: whoever holds it hands bytes and time in, and takes bytes out.
#![allow(clippy::print_stdout, reason = "it is what an example is for")]

use std::sync::Arc;
use std::time::Duration;

use drivers::profile::Profile;
use drivers::request::Job;
use drivers::session::{Input, Session};
use drivers::sim::{self, simulated};
use drivers::{Moment, Request, State, dialect};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let profile = Arc::new(Profile::named("grbl-mill-3018")?);
    let mut machine = simulated("grbl", &sim::Setup::default()).ok_or("there is no simulated Grbl")?;
    let mut session = Session::new(dialect::named("grbl").ok_or("no such dialect")?, profile, Moment::ZERO);
    session.handle(Moment::ZERO, Input::LinkUp { may_reset: false });
    let mut program = ["G21 G90", "G0 X10", "G1 Y10 F600", "G0 X0 Y0"].into_iter().zip(1..);
    let (mut started, mut said) = (false, Vec::new());
    for now in (0..60_000).map(|ms| Moment::ZERO + Duration::from_millis(ms)) {
        machine.advance(now);
        machine.say(&mut said);
        session.handle(now, Input::Bytes(&std::mem::take(&mut said)));
        if !started && session.state() == State::Idle {
            started = true;
            session.request(now, Request::Start(Job { id: "part".into(), lines: 4, from_line: 1 }))?;
        }
        while session.wants_program() {
            match program.next() {
                Some((line, number)) => session.handle(now, Input::ProgramLine { number, bytes: line.as_bytes() }),
                None => session.handle(now, Input::ProgramEnd),
            }
        }
        if let Some(urgent) = session.take_urgent() {
            machine.hear(now, &urgent.bytes);
        }
        let mut wire = Vec::new();
        session.take_wire(&mut wire);
        machine.hear(now, &wire);
        while let Some(event) = session.poll_event() {
            println!("{:>7.3} s  {:?}", now.0 as f64 / 1e6, event.kind);
        }
        if session.snapshot().job.is_some_and(|job| job.phase.is_over()) {
            break;
        }
    }
    Ok(())
}
