//! The mailbox link, the bus and the simulated devices on real ports: TCP, and a serial line on a pseudo-terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![cfg(feature = "io")]

#[path = "../support/real.rs"]
mod real;
#[path = "../support/mod.rs"]
mod support;
mod together;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use drivers::machine::Machine;
use drivers::modbus::bus::{Bus, Patience};
use drivers::modbus::{Modbus, Protocol, Question, Table, Trouble, address::Address};
use drivers::profile::Profile;
use drivers::request::{Calming, Job};
use drivers::sim::modbus::{AnswerFaults, LineQuirks};
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Faults, Report, Simulated, simulated};
use drivers::snapshot::JobPhase;
use drivers::{Moment, Request, Snapshot, State};
use real::{PATIENCE, leave, leave_to_start, machine, until};
use support::{commands, program};

fn profile(timeout_ms: u64) -> Profile {
    let mut profile = support::profile("grbl");
    "mailbox".clone_into(&mut profile.dialect);
    profile.modbus = Some(Modbus { timeout_ms, ..Modbus::default() });
    profile
}

fn setup() -> sim::Setup {
    sim::Setup { speed: f64::INFINITY, keep_lines: true, ..sim::Setup::default() }
}

/// The simulated devices on a port, and the address of unit 1 there.
fn serve(kind: &str, setup: &sim::Setup, between: Between) -> (Port, String) {
    let machine = simulated(kind, setup).unwrap();
    if kind == "modbus-tcp" {
        let port = Port::on_tcp(machine, between, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.address().replace("tcp://", "modbus-tcp://");
        return (port, address);
    }
    let port = Port::on_pty(machine, between, None).unwrap();
    let address = format!("modbus-rtu:{}", port.address());
    (port, address)
}

/// Runs a program to its end; what it brought.
async fn run(machine: &Machine, program: &[String]) -> Arc<Snapshot> {
    until(machine, |snapshot| snapshot.state == State::Idle).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(program.join("\n").as_bytes()).unwrap();
    let job = Job { id: "job".into(), lines: program.len() as u64, from_line: 1 };
    assert_eq!(machine.start(leave_to_start(machine, job), file.path().to_owned()).await, Ok(()));
    until(machine, |snapshot| snapshot.job.as_ref().is_some_and(|job| job.phase.is_over())).await
}

#[tokio::test]
async fn a_program_goes_through_the_mailbox_over_tcp_and_over_a_serial_line() {
    for kind in ["modbus-tcp", "modbus-rtu"] {
        let (port, address) = serve(kind, &setup(), Between::default());
        let machine = machine(&format!("{address}?unit=1"), profile(500));
        let program = program(5_000, 7);
        let end = run(&machine, &program).await;
        let job = end.job.as_ref().unwrap();
        assert_eq!(job.phase, JobPhase::Finished, "{kind}: {:?}", end.notice);
        assert_eq!(port.report().unwrap().executed_lines.unwrap(), commands(&program), "{kind}");
        assert_eq!(job.executed, commands(&program).len() as u64);
    }
}

#[tokio::test]
async fn every_line_runs_once_although_answers_are_lost_doubled_late_and_damaged() {
    let late_by = Duration::from_millis(150);
    let answers = AnswerFaults { lost: 0.02, doubled: 0.02, late: 0.02, late_by, silent_after: None };
    for kind in ["modbus-tcp", "modbus-rtu"] {
        // Only a serial line has a check that finds turned bits.
        let flip = if kind == "modbus-rtu" { 2e-5 } else { 0.0 };
        let between = Between { faults: Faults { flip, ..Faults::default() }, seed: 5, ..Between::default() };
        let (port, address) = serve(kind, &sim::Setup { answers, ..setup() }, between);
        let machine = machine(&address, profile(60));
        let program = program(3_000, 9);
        let end = run(&machine, &program).await;
        assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Finished, "{kind}: {:?}", end.notice);
        assert_eq!(port.report().unwrap().executed_lines.unwrap(), commands(&program), "{kind}");
    }
}

#[tokio::test]
async fn a_machine_that_falls_silent_fails_the_job_as_a_lost_link() {
    let answers = AnswerFaults { silent_after: Some(200), ..AnswerFaults::default() };
    let (_port, address) = serve("modbus-tcp", &sim::Setup { answers, speed: 1.0, ..setup() }, Between::default());
    let machine = machine(&address, profile(100));
    let end = run(&machine, &program(5_000, 1)).await;
    assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Failed);
    let notice = end.notice.as_ref().unwrap();
    assert_eq!(notice.code, "link.lost");
    assert!(notice.happened.contains("nothing was answered for"), "why was in the log only: {notice}");
}

#[tokio::test]
async fn an_emergency_stop_reaches_the_machine_at_once() {
    let (port, address) = serve("modbus-rtu", &sim::Setup { speed: 1.0, ..setup() }, Between::default());
    let machine = machine(&address, profile(500));
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"G1 F100 X400\n").unwrap();
    let job = Job { id: "job".into(), lines: 1, from_line: 1 };
    assert_eq!(machine.start(leave_to_start(&machine, job), file.path().to_owned()).await, Ok(()));
    until(&machine, |snapshot| snapshot.state == State::Running).await;
    while !port.report().unwrap().moving {
        tokio::task::yield_now().await;
    }
    assert_eq!(machine.calm(Calming::Stop).await, Ok(()));
    let stands = async {
        while port.report().unwrap().moving {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), stands).await.expect("it still moves");
    let end = until(&machine, |snapshot| snapshot.state == State::Alarm).await;
    assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Cancelled);
}

#[tokio::test]
async fn what_is_no_mailbox_and_who_does_not_answer_are_named() {
    let (_port, address) = serve("modbus-tcp", &setup(), Between::default());
    for (unit, code) in [(2, "modbus.illegal_address"), (3, "modbus.illegal_function"), (9, "modbus.gateway_silent")] {
        let machine = machine(&format!("{address}?unit={unit}"), profile(200));
        let snapshot = until(&machine, |snapshot| snapshot.notice.is_some()).await;
        assert_eq!(snapshot.notice.as_ref().unwrap().code, code, "unit {unit}");
    }
}

#[tokio::test]
async fn devices_on_one_line_are_asked_in_turn_and_their_troubles_have_names() {
    let (_port, address) = serve("modbus-rtu", &setup(), Between::default());
    let settings = Modbus { timeout_ms: 100, retries: 0, ..Modbus::default() };
    let address = Address::parse(&address).unwrap();
    let bus = Bus::on(&address, &settings).unwrap();
    let same = Bus::on(&address, &settings).unwrap();
    let read = |table, address, count| Question::Read { table, address, count };
    let patience = Patience::of(&settings);
    let (machine, meter) = tokio::join!(
        bus.ask(1, read(Table::Holding, 0, 1), patience),
        same.ask(3, read(Table::Input, 0, 2), patience),
    );
    assert_eq!(machine, Ok(vec![0x4642]));
    assert_eq!(meter, Ok(vec![0x4366, 0]), "230 V");
    assert_eq!(bus.ask(2, read(Table::Holding, 500, 1), patience).await, Err(Trouble::Exception(2)));
    assert_eq!(bus.ask(2, Question::WriteOne { address: 0, word: 9 }, patience).await, Err(Trouble::Exception(3)));
    assert_eq!(bus.ask(99, read(Table::Holding, 0, 1), patience).await, Err(Trouble::Overdue));
    assert_eq!(bus.ask(2, Question::WriteOne { address: 1, word: 100 }, patience).await, Ok(vec![]));
    assert_eq!(bus.ask(2, read(Table::Holding, 0, 2), patience).await, Ok(vec![0, 100]));
}

/// A device that says the second half of each answer long after the first: what a busy computer, a radio bridge or a slow
/// adapter makes of it.
struct Halting {
    answers: Vec<(Moment, &'static [u8])>,
    now: Moment,
    /// When it begins to answer, and how long it pauses in the middle.
    begins: Duration,
    pauses: Duration,
}

impl Simulated for Halting {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        if !bytes.is_empty() {
            // Register 0 of unit 17 is 0x002A.
            let (first, rest) = [0x11, 0x03, 0x02, 0x00, 0x2a, 0xf8, 0x58].split_at(4);
            let begins = now + self.begins;
            let leak = |part: &[u8]| -> &'static [u8] { part.to_vec().leak() };
            self.answers = vec![(begins, leak(first)), (begins + self.pauses, leak(rest))];
        }
    }
    fn advance(&mut self, now: Moment) {
        self.now = now;
    }
    fn say(&mut self, out: &mut Vec<u8>) {
        while let Some((_, part)) = self.answers.first().filter(|(at, _)| *at <= self.now) {
            out.extend_from_slice(part);
            self.answers.remove(0);
        }
    }
    fn wakes_at(&self) -> Option<Moment> {
        self.answers.first().map(|(at, _)| *at)
    }
    fn reset(&mut self, _now: Moment) {}
    fn completed(&self) -> u64 {
        0
    }
    fn report(&self) -> Report {
        Report::default()
    }
}

#[tokio::test]
async fn an_answer_with_a_long_pause_in_it_is_no_damaged_one() {
    let ms = Duration::from_millis;
    for (begins, pauses, heard) in [(ms(0), ms(120), true), (ms(120), ms(120), true), (ms(0), ms(2_000), false)] {
        let device = Halting { answers: Vec::new(), now: Moment::ZERO, begins, pauses };
        let port = Port::on_pty(Box::new(device), Between::default(), None).unwrap();
        let settings = Modbus { timeout_ms: 200, retries: 0, ..Modbus::default() };
        let address = Address::parse(&format!("modbus-rtu:{}", port.address())).unwrap();
        let bus = Bus::on(&address, &settings).unwrap();
        let question = Question::Read { table: Table::Holding, address: 0, count: 1 };
        let answered = bus.ask(17, question, Patience::of(&settings)).await;
        let half = Err(Trouble::Damaged("4 bytes that are no whole answer".to_owned()));
        assert_eq!(answered, if heard { Ok(vec![42]) } else { half }, "{begins:?} and {pauses:?}");
    }
}

fn program_file() -> Profile {
    let mut profile = Profile::named("generic-program-file").unwrap();
    if let Some(modbus) = &mut profile.modbus {
        modbus.timeout_ms = 60;
    }
    profile
}

#[tokio::test]
async fn a_program_file_is_loaded_in_blocks_started_and_finished_by_what_the_controller_says() {
    let late_by = Duration::from_millis(50);
    let faults = AnswerFaults { lost: 0.02, doubled: 0.02, late: 0.02, late_by, silent_after: None };
    for (kind, answers) in
        [("modbus-tcp", AnswerFaults::default()), ("modbus-tcp", faults), ("modbus-rtu", AnswerFaults::default())]
    {
        let (port, address) = serve(kind, &sim::Setup { answers, ..setup() }, Between::default());
        let machine = machine(&format!("{address}?unit=4"), program_file());
        let program = program(1_500, 11);
        let end = run(&machine, &program).await;
        let job = end.job.as_ref().unwrap();
        assert_eq!(job.phase, JobPhase::Finished, "{kind}: {:?}", end.notice);
        assert_eq!(port.report().unwrap().executed_lines.unwrap(), commands(&program), "{kind}");
        assert_eq!((job.accepted, job.executed), (job.commands, job.commands));
        let motion = end.protection.iter().find(|protection| protection.hazard == "motion").unwrap();
        assert!(!motion.protected && motion.because.contains("unprotected"), "{motion:?}");
    }
}

#[tokio::test]
async fn a_program_file_machine_holds_goes_on_and_is_cancelled_while_it_runs() {
    let (port, address) = serve("modbus-tcp", &sim::Setup { speed: 1.0, ..setup() }, Between::default());
    let machine = machine(&format!("{address}?unit=4"), program_file());
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"G1 F600 X400\nG1 X0\n").unwrap();
    let job = Job { id: "job".into(), lines: 2, from_line: 1 };
    assert_eq!(machine.start(leave_to_start(&machine, job), file.path().to_owned()).await, Ok(()));
    let moves = async {
        while !port.report().unwrap().moving {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, moves).await.expect("it never moves");
    assert_eq!(machine.calm(Calming::Pause).await, Ok(()));
    let held = until(&machine, |snapshot| snapshot.state == State::Held).await;
    assert_eq!(held.job.as_ref().unwrap().executed, 0, "it is in the middle of its first line");
    assert_eq!(machine.act(leave(&machine, Request::Resume)).await, Ok(()));
    until(&machine, |snapshot| snapshot.state == State::Running).await;
    assert_eq!(machine.calm(Calming::Cancel).await, Ok(()));
    let end = until(&machine, |snapshot| snapshot.state == State::Idle).await;
    assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Cancelled);
    assert!(!port.report().unwrap().moving);
}

#[tokio::test]
async fn a_late_answer_to_one_is_never_taken_by_another_on_the_same_serial_line() {
    // The mailbox and the points of its own controller are one unit, and ask for as many registers.
    let late_by = Duration::from_millis(80);
    let answers = AnswerFaults { late: 0.1, late_by, ..AnswerFaults::default() };
    let (port, address) = serve("modbus-rtu", &sim::Setup { answers, ..setup() }, Between::default());
    let mut profile = profile(100);
    let points = "timeout_ms = 100\nretries = 0\ngap_registers = 0\n[[points]]\nname = \"constant\"\naddress = 0\ntype = \"ascii\"\nregisters = 20\npoll_ms = 5\n";
    profile.modbus = Some(toml::from_str(points).unwrap());
    let machine = machine(&address, profile);
    let mut watch = machine.watch();
    let mut seen = std::collections::BTreeSet::new();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let program = program(1_000, 5);
    file.write_all(program.join("\n").as_bytes()).unwrap();
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let job = Job { id: "job".into(), lines: program.len() as u64, from_line: 1 };
    assert_eq!(machine.start(leave_to_start(&machine, job), file.path().to_owned()).await, Ok(()));
    let watched = watch.wait_for(|snapshot| {
        let reading = snapshot.auxiliary.first().and_then(|device| device.readings[0].reading.clone());
        seen.extend(reading.map(|reading| format!("{:?}", reading.value)));
        snapshot.job.as_ref().is_some_and(|job| job.phase.is_over())
    });
    tokio::time::timeout(PATIENCE, watched).await.expect("the job never ends").unwrap();
    // The block begins with its magic word, `FB`; an answer to the mailbox's own question would not.
    assert!(!seen.is_empty() && seen.iter().all(|value| value.starts_with("Text(\"FB")), "{seen:?}");
    assert_eq!(port.report().unwrap().executed_lines.unwrap(), commands(&program));
}

/// A mill on a serial line with a drive and a meter beside it, on a Modbus port of their own.
fn with_devices(port: &str, checked: &str) -> Profile {
    let devices = format!(
        r#"
        [[auxiliary]]
        name = "spindle"
        kind = "drive"
        port = "{port}?unit=2"
        [auxiliary.stop]
        point = "command"
        value = 0.0
        proof = "actual"
        proof_max = 0.5
        {checked}
        [[auxiliary.modbus.points]]
        name = "command"
        address = 0
        type = "u16"
        access = "write"
        [[auxiliary.modbus.points]]
        name = "actual"
        address = 11
        type = "u16"
        scale = 0.01
        poll_ms = 100
        meaning = "actual_frequency"
        [[auxiliary]]
        name = "meter"
        kind = "meter"
        port = "{port}?unit=3"
        [[auxiliary.modbus.points]]
        name = "power"
        table = "input"
        address = 12
        type = "f32"
        poll_ms = 100
        meaning = "power"
        [[auxiliary.modbus.points]]
        name = "energy"
        table = "input"
        address = 72
        type = "f32"
        poll_ms = 100
        meaning = "energy"
        "#
    );
    let (name, text) = Profile::bundled().iter().find(|(name, _)| *name == "grbl-mill-3018").unwrap();
    Profile::parse(&format!("{text}\n{devices}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Starts the drive at 50 Hz, which takes it half a second.
async fn start_drive(bus: &Bus, patience: Patience) {
    for (address, word) in [(1, 5_000), (0, 1)] {
        assert_eq!(bus.ask(2, Question::WriteOne { address, word }, patience).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn a_drive_beside_a_machine_stands_after_a_stop_and_before_the_agent_goes() {
    let (_devices, address) = serve("modbus-tcp", &setup(), Between::default());
    let mill = Port::on_pty(simulated("grbl", &setup()).unwrap(), Between::default(), None).unwrap();
    let settings = Modbus::default();
    let bus = Bus::on(&Address::parse(&address).unwrap(), &settings).unwrap();
    let patience = Patience::of(&settings);
    let machine = machine(mill.address(), with_devices(&address, ""));
    until(&machine, |snapshot| snapshot.state == State::Idle).await;
    let turns = |snapshot: &Snapshot| {
        let actual = snapshot.auxiliary[0].readings[1].reading.as_ref().and_then(|reading| reading.value.number());
        actual.is_some_and(|actual| actual > 0.0)
    };
    start_drive(&bus, patience).await;
    let snapshot = until(&machine, |snapshot| !snapshot.auxiliary.is_empty() && turns(snapshot)).await;
    let said = snapshot.protection.iter().find(|protection| protection.hazard == "spindle").unwrap();
    assert!(!said.protected && said.because.contains("unprotected"), "{said:?}");
    assert_eq!(machine.calm(Calming::Stop).await, Ok(()));
    until(&machine, |snapshot| !turns(snapshot) && !snapshot.auxiliary[0].stopping).await;
    start_drive(&bus, patience).await;
    until(&machine, turns).await;
    assert!(machine.stop_drives().await, "it stands, and that was read back");
    let read = Question::Read { table: Table::Holding, address: 11, count: 1 };
    let actual = bus.ask(2, read, patience).await.unwrap();
    assert!(actual[0] <= 50, "{actual:?}");
}

#[tokio::test]
async fn a_huanyang_drive_is_run_and_stopped_in_its_own_frames_beside_devices_that_speak_modbus() {
    let (_devices, address) = serve("modbus-rtu", &setup(), Between::default());
    let modbus = Modbus { timeout_ms: 200, ..Modbus::default() };
    let own = Modbus { protocol: Protocol::Huanyang, ..modbus.clone() };
    let bus = Bus::on(&Address::parse(&address).unwrap(), &modbus).unwrap();
    let (own, patience) = (Patience::of(&own), Patience::of(&modbus));
    let read = |table, address| Question::Read { table, address, count: 1 };
    assert_eq!(bus.ask(5, read(Table::Holding, 163), own).await, Ok(vec![5]), "its own address");
    for (address, word) in [(257, 20_000), (256, 1)] {
        assert_eq!(bus.ask(5, Question::WriteOne { address, word }, own).await, Ok(vec![]));
    }
    while bus.ask(5, read(Table::Input, 1), own).await.unwrap()[0] < 1_000 {
        assert_eq!(bus.ask(1, read(Table::Holding, 0), patience).await, Ok(vec![0x4642]), "another unit in between");
    }
    assert_eq!(bus.ask(5, Question::WriteOne { address: 256, word: 8 }, own).await, Ok(vec![]));
    while bus.ask(5, read(Table::Input, 1), own).await.unwrap()[0] > 0 {}
    assert_eq!(bus.ask(5, Question::WriteOne { address: 256, word: 99 }, own).await, Err(Trouble::Exception(2)));
    assert_eq!(bus.ask(6, read(Table::Input, 1), own).await, Err(Trouble::Overdue));
    assert!(bus.ask(5, read(Table::Holding, 0), patience).await.is_err(), "it answers no standard frame");
}

#[tokio::test]
async fn a_job_is_told_what_it_took_from_the_mains() {
    let (_devices, address) = serve("modbus-tcp", &setup(), Between::default());
    let slow = sim::Setup { speed: 1.0, ..setup() };
    let mill = Port::on_pty(simulated("grbl", &slow).unwrap(), Between::default(), None).unwrap();
    let checked = "[auxiliary.commissioning]\nhardwired_enable = true\ncommunication_loss_ms = 500";
    let machine = machine(mill.address(), with_devices(&address, checked));
    let measured =
        |snapshot: &Snapshot| snapshot.auxiliary.iter().any(|device| device.name == "meter" && device.answers);
    until(&machine, measured).await;
    let end = run(&machine, &["G91 F600".to_owned(), "G1 X20".into()]).await;
    let job = end.job.as_ref().unwrap();
    // The simulated mailbox machine stands still beside the mill and draws 40 W.
    let seconds = job.ended_at.unwrap().since(job.started_at).as_secs_f64();
    let truth = 40.0 * seconds / 3.6e6;
    let energy = job.energy_kwh.unwrap();
    assert!((energy / truth - 1.0).abs() < 0.01, "{energy} kWh measured, {truth} kWh taken in {seconds} s");
    // What nobody knows of the mill's door stays unprotected; the drive was checked.
    let spindle = end.protection.iter().find(|protection| protection.hazard == "spindle").unwrap();
    assert!(spindle.protected, "{spindle:?}");
}

#[tokio::test]
async fn a_mailbox_machines_own_points_are_read_in_turn_with_its_program_and_its_watchdog_is_published() {
    let (_port, address) = serve("modbus-rtu", &setup(), Between::default());
    let mut profile = profile(500);
    let points = "[[points]]\nname = \"controller-state\"\naddress = 10\ntype = \"u16\"\npoll_ms = 50\nmeaning = \"state\"\n\
                  [[points]]\nname = \"slots\"\naddress = 3\ntype = \"u16\"\npoll_ms = 50";
    profile.modbus = Some(toml::from_str(points).unwrap());
    let machine = machine(&address, profile);
    let end = run(&machine, &program(2_000, 3)).await;
    assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Finished, "{:?}", end.notice);
    let read = |snapshot: &Snapshot, at: usize| {
        let point = snapshot.auxiliary.first().and_then(|device| device.readings[at].reading.clone());
        point.and_then(|reading| reading.value.number())
    };
    let snapshot = until(&machine, |snapshot| read(snapshot, 0) == Some(1.0)).await;
    assert_eq!(read(&snapshot, 1), Some(32.0));
    let motion = snapshot.protection.iter().find(|protection| protection.hazard == "motion").unwrap();
    assert!(motion.protected && motion.because.contains("2000 ms"), "{motion:?}");
}

#[tokio::test]
async fn a_dead_device_on_a_line_kept_the_others_waiting_for_all_its_retries() {
    let (_port, address) = serve("modbus-rtu", &setup(), Between::default());
    let settings = Modbus { timeout_ms: 300, retries: 20, ..Modbus::default() };
    let bus = Bus::on(&Address::parse(&address).unwrap(), &settings).unwrap();
    let patience = Patience::of(&settings);
    let read = |address| Question::Read { table: Table::Holding, address, count: 1 };
    let mut dead = bus.post(9, vec![read(0)], patience).await;
    let others = async {
        for _ in 0..3 {
            assert!(bus.ask(1, read(0), patience).await.is_ok());
            assert!(bus.ask_first(2, read(11), patience).await.is_ok());
        }
    };
    tokio::select! {
        biased;
        answers = dead.answers() => panic!("the dead device was asked first: {answers:?}"),
        () = others => {}
    }
}

/// A serial line whose adapter hears itself.
fn echoing() -> sim::Setup {
    sim::Setup { modbus_line: LineQuirks { echo: true, ..LineQuirks::default() }, ..setup() }
}

#[tokio::test]
async fn an_adapter_that_hears_itself_was_a_line_full_of_devices() {
    let (_port, address) = serve("modbus-rtu", &echoing(), Between::default());
    let settings = Modbus { timeout_ms: 150, retries: 0, ..Modbus::default() };
    let bus = Bus::on(&Address::parse(&address).unwrap(), &settings).unwrap();
    let patience = Patience::of(&settings);
    let read = |address| Question::Read { table: Table::Holding, address, count: 1 };
    // The first thing that is asked is a write: its own bytes are no answer, and nobody is at unit 9.
    let stop = Question::WriteOne { address: 0, word: 0 };
    assert_eq!(bus.ask(9, stop.clone(), patience).await, Err(Trouble::Overdue));
    assert_eq!(bus.ask(2, stop, patience).await, Ok(vec![]));
    assert_eq!(bus.ask(2, Question::WriteOne { address: 1, word: 250 }, patience).await, Ok(vec![]));
    assert_eq!(bus.ask(2, read(1), patience).await, Ok(vec![250]));
    assert_eq!(bus.ask(9, read(1), patience).await, Err(Trouble::Overdue));
    assert_eq!(bus.ask(2, read(900), patience).await, Err(Trouble::Exception(2)));
    // A Huanyang drive answers what reads 0 in the question's own bytes.
    let huanyang = Patience { protocol: Protocol::Huanyang, ..patience };
    let actual = Question::Read { table: Table::Input, address: 1, count: 1 };
    assert_eq!(bus.ask(5, actual, huanyang).await, Ok(vec![0]));
}

#[tokio::test]
async fn a_program_goes_through_a_mailbox_behind_an_adapter_that_hears_itself() {
    let (port, address) = serve("modbus-rtu", &echoing(), Between::default());
    let machine = machine(&address, profile(500));
    let program = program(300, 7);
    let end = run(&machine, &program).await;
    assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Finished, "{:?}", end.notice);
    assert_eq!(port.report().unwrap().executed_lines.unwrap(), commands(&program));
}

#[tokio::test]
async fn a_mailbox_server_that_answers_as_unit_0_or_takes_one_question_at_a_time_runs_its_jobs() {
    for line in [
        LineQuirks { answers_as: Some(0), ..LineQuirks::default() },
        LineQuirks { one_at_a_time: true, ..LineQuirks::default() },
    ] {
        let setup = sim::Setup { modbus_line: line, ..setup() };
        let (port, address) = serve("modbus-tcp", &setup, Between::default());
        for unit in ["?unit=1", "?unit=0", "?unit=255"] {
            let machine = machine(&format!("{address}{unit}"), profile(500));
            let program = program(200, 7);
            let before = port.report().unwrap().executed_lines.unwrap().len();
            let end = run(&machine, &program).await;
            assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Finished, "{line:?} {unit}: {:?}", end.notice);
            let executed = port.report().unwrap().executed_lines.unwrap();
            assert_eq!(executed[before..], commands(&program), "{line:?} {unit}");
            machine.release().await;
        }
    }
}

#[tokio::test]
async fn a_port_without_an_rts_line_cannot_be_told_when_it_sends() {
    let (_port, address) = serve("modbus-rtu", &setup(), Between::default());
    let settings = Modbus { timeout_ms: 150, retries: 0, ..Modbus::default() };
    let bus = Bus::on(&Address::parse(&format!("{address}?rs485=rts")).unwrap(), &settings).unwrap();
    let read = Question::Read { table: Table::Holding, address: 0, count: 1 };
    let answered = bus.ask(2, read, Patience::of(&settings)).await;
    assert!(matches!(&answered, Err(Trouble::Lost(why)) if why.contains("RTS")), "{answered:?}");
}

#[tokio::test]
async fn a_cheap_mill_and_its_drive_run_a_job_on_real_ports() {
    let drives = simulated("modbus-tcp", &sim::Setup::default()).unwrap();
    let drives = Port::on_shared_tcp(drives, Between::default(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let grbl = simulated("grbl", &sim::Setup { keep_lines: true, ..sim::Setup::default() }).unwrap();
    let grbl = Port::on_pty(grbl, Between::default(), None).unwrap();
    let place = drives.address().replace("tcp://", "modbus-tcp://");
    let (_, mill) = Profile::bundled().iter().find(|(name, _)| *name == "grbl-mill-3018").unwrap();
    let drive = include_str!("drive.toml").replace("PLACE", &place);
    let profile = Profile::parse(&format!("{mill}{drive}")).unwrap();
    let machine = machine(grbl.address(), profile);
    let program: Vec<String> =
        ["M3 S6000", "G1 X2 F600", "S9000", "G1 X4", "M5", "G0 X0", "M2"].map(str::to_owned).to_vec();
    let mut speeds = std::collections::BTreeSet::new();
    let watch = {
        let machine = machine.clone();
        tokio::spawn(async move {
            let mut watch = machine.watch();
            while watch.changed().await.is_ok() {
                let snapshot = machine.snapshot();
                speeds.extend(snapshot.spindle.map(|spindle| spindle.value as u32));
                if snapshot.job.as_ref().is_some_and(|job| job.phase.is_over()) {
                    break;
                }
            }
            speeds
        })
    };
    let end = run(&machine, &program).await;
    assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Finished, "{:?}", end.notice);
    let executed = grbl.report().unwrap().executed_lines.unwrap();
    assert_eq!(executed, ["G1X2F600", "G1X4", "G0X0", "M2"], "the controller hears of no spindle");
    let speeds = watch.await.unwrap();
    assert!(speeds.contains(&6_000) && speeds.contains(&9_000), "what it turns is published: {speeds:?}");
    let hazard = end.protection.iter().find(|hazard| hazard.hazard == "spindle").expect("its hazard is published");
    assert!(!hazard.protected && hazard.because.contains("unprotected"), "{hazard:?}");
    until(&machine, |snapshot| snapshot.auxiliary[0].turns_rpm == Some(0.0)).await;
}

#[tokio::test]
async fn a_spindle_start_that_a_stop_overtook_was_written_behind_that_stop() {
    let (_port, address) = serve("modbus-rtu", &setup(), Between::default());
    let settings = Modbus { timeout_ms: 300, retries: 0, ..Modbus::default() };
    let bus = Bus::on(&Address::parse(&address).unwrap(), &settings).unwrap();
    let patience = Patience::of(&settings);
    let command = |word| Question::WriteOne { address: 0, word };
    // The line is busy with a unit that does not answer.
    let mut dead = bus.post(9, vec![Question::Read { table: Table::Holding, address: 0, count: 1 }], patience).await;
    tokio::select! {
        biased;
        answered = bus.ask(2, command(1), patience) => panic!("{answered:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(bus.ask_first(2, command(0), patience).await, Ok(vec![]));
    dead.answers().await;
    let read = Question::Read { table: Table::Holding, address: 0, count: 1 };
    assert_eq!(bus.ask(2, read, patience).await, Ok(vec![0]), "the start that its asker had given up");
}

#[tokio::test]
async fn a_stop_never_reached_the_drives_of_a_machine_without_a_link() {
    let (_devices, address) = serve("modbus-tcp", &setup(), Between::default());
    let settings = Modbus::default();
    let bus = Bus::on(&Address::parse(&address).unwrap(), &settings).unwrap();
    let patience = Patience::of(&settings);
    let setup = drivers::machine::Setup {
        name: "mill".into(),
        port: "/dev/there-is-no-such-port".into(),
        baud: drivers::machine::Baud::Profile,
        profile: Arc::new(with_devices(&address, "")),
        // It is opened once and never again: nothing but the stop stops its drives.
        reconnect: false,
        watch_table: false,
    };
    let machine = drivers::shell::spawn(setup).unwrap();
    until(&machine, |snapshot| snapshot.notice.as_ref().is_some_and(|notice| notice.code == "link.no_such_port")).await;
    let actual = || async {
        let read = Question::Read { table: Table::Holding, address: 11, count: 1 };
        bus.ask(2, read, patience).await.unwrap()[0]
    };
    start_drive(&bus, patience).await;
    while actual().await < 5_000 {}
    let denied = machine.calm(Calming::Stop).await.expect_err("the machine itself was told nothing");
    assert!(denied.to_string().contains("drives"), "{denied}");
    let stands = async { while actual().await > 50 {} };
    tokio::time::timeout(PATIENCE, stands).await.expect("it turns on");
    until(&machine, |snapshot| {
        let beside = &snapshot.auxiliary[0];
        let actual = beside.readings[1].reading.as_ref().and_then(|reading| reading.value.number());
        !beside.stopping && actual.is_some_and(|actual| actual <= 0.5)
    })
    .await;
}
