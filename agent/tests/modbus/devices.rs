//! Devices beside a machine, through the running agent: a drive whose link is lost while a job runs, and what a job takes
//! from the mains while what it draws changes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drivers::sim::port::{Between, Port};
use drivers::sim::{self, simulated};
use serde_json::Value;

use super::agent::{Workshop, text};
use super::broker::{Broker, Subscriber};
use super::{drive, start_drive};

/// The simulated devices on a port that several may ask; the address.
fn devices() -> (Port, String) {
    let machine = simulated("modbus-tcp", &sim::Setup::default()).unwrap();
    let port = Port::on_shared_tcp(machine, Between::default(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = port.address().replace("tcp://", "modbus-tcp://");
    (port, address)
}

/// A cable between the agent and the devices, which can be cut. What the agent says is kept.
#[derive(Clone)]
struct Cable {
    cut: Arc<AtomicBool>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Cable {
    /// A cable to a server, and the address of its near end.
    fn to(server: &str) -> (Self, String) {
        let cable = Self { cut: Arc::default(), said: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("modbus-tcp://{}", listener.local_addr().unwrap());
        let (near, server) = (cable.clone(), server.trim_start_matches("modbus-tcp://").to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let there = (near.clone(), client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || there.0.carry(there.1, there.2, true));
                let back = near.clone();
                std::thread::spawn(move || back.carry(server, client, false));
            }
        });
        (cable, address)
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, keeps: bool) {
        let mut bytes = [0; 512];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if keeps {
                self.said.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
            if !self.cut.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    }

    /// Cuts it, and forgets what was said before.
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.said.lock().unwrap().clear();
    }

    fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    /// How often a word was written to a register of a unit since it was cut (function 6, 12 bytes).
    fn writes(&self, unit: u8, address: u16, word: u16) -> usize {
        let [address, word] = [address, word].map(u16::to_be_bytes);
        let body = [&[unit, 6][..], &address, &word].concat();
        self.said.lock().unwrap().windows(body.len()).filter(|part| *part == body).count()
    }
}

/// A mill with a drive beside it that was checked: a wire, and a time of its own.
fn mill_with_drive(devices: &str) -> String {
    let mill = include_str!("../../../config/machines/grbl-mill-3018.toml");
    format!(
        r#"{mill}
[[auxiliary]]
name = "spindle"
kind = "drive"
port = "{devices}?unit=2"
[auxiliary.stop]
point = "command"
value = 0
proof = "actual"
proof_max = 0.5
within_ms = 1500
[auxiliary.commissioning]
hardwired_enable = true
communication_loss_ms = 500
[auxiliary.modbus]
timeout_ms = 100
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
unit = "Hz"
poll_ms = 100
meaning = "actual_frequency"
"#
    )
}

/// What is published of the drive: the code of its notice, whether it is being stopped, and its protection.
fn of_drive(machine: &Value) -> (&str, bool, bool, &str) {
    let device = &machine["auxiliary"][0];
    let protection = machine["protection"].as_array().unwrap().iter().find(|it| it["hazard"] == "spindle").unwrap();
    (
        device["notice"]["code"].as_str().unwrap_or(""),
        device["stopping"] == true,
        protection["protected"] == true,
        text(protection, "because"),
    )
}

#[test]
fn a_drive_that_loses_its_link_in_a_job_is_told_to_stop_the_job_holds_and_the_alarm_is_seen_everywhere() {
    let (_devices, direct) = devices();
    let (cable, address) = Cable::to(&direct);
    let broker = Broker::start();
    let told = Subscriber::new(broker.port, "fab/#", None);
    let machine = simulated("grbl", &sim::Setup::default()).unwrap();
    let mill = Port::on_pty(machine, Between::default(), None).unwrap();
    let mut workshop = Workshop::new(&[]).with_machine("mill", &mill_with_drive(&address), mill.address());
    workshop.with_broker(broker.port);
    let agent = workshop.start();
    let path = "/api/v1/machines/mill";
    let job = agent.start("mill", b"G21\nG90\nG1 F300 X100\nG1 X0\nM2\n");
    agent.machine_is("mill", "running");
    start_drive(&direct);
    let turns = |machine: &Value| machine["auxiliary"][0]["readings"][1]["reading"]["value"].as_f64() == Some(50.0);
    let machine = agent.until(path, turns);
    assert!(of_drive(&machine).2, "a drive with a wire and a time of its own is protected: {machine:#}");

    cable.cut();
    let machine = agent.until(path, |machine| of_drive(machine).0 == "auxiliary.silent");
    assert!(of_drive(&machine).1, "stop is being written: {machine:#}");
    let held = agent.job_is(&job, "held");
    let machine = agent.until(path, |machine| of_drive(machine).0 == "drive.does_not_stop");
    assert!(cable.writes(2, 0, 0) >= 2, "stop is written again and again");
    assert_eq!(drive(&direct), (1.0, 5000.0), "it turns indeed");
    let machine = agent.until(path, |now| !of_drive(now).2 || now["generation"] == machine["generation"]);
    let (_, stopping, protected, because) = of_drive(&machine);
    assert!(stopping && !protected && because.contains("unprotected"), "{machine:#}");
    assert_eq!(machine["auxiliary"][0]["readings"][1]["reading"]["quality"], "uncertain", "50 Hz passes for no news");
    for code in ["auxiliary.silent", "drive.does_not_stop"] {
        let event = told.wait_for(code, |message| {
            message.topic.ends_with("/mill/event") && message.body.to_string().contains(code)
        });
        assert_eq!(event.qos, 1, "an alarm is never lost: {event:?}");
    }
    // What is true now is told once, and kept for who asks later.
    let kept = Subscriber::new(broker.port, "fab/#", None);
    let state = kept.wait_for("the drive's state", |message| {
        message.topic.ends_with("/mill/state") && of_drive(&message.body).0 == "drive.does_not_stop"
    });
    assert!(!of_drive(&state.body).2 && of_drive(&state.body).3.contains("unprotected"), "{state:?}");

    cable.mend();
    let machine = agent.until(path, |machine| of_drive(machine).0.is_empty() && !of_drive(machine).1);
    assert!(of_drive(&machine).2, "it stands, and that was read back: {machine:#}");
    assert!(drive(&direct).1 <= 50.0);
    assert_eq!(agent.job_is(&job, "held")["id"], held["id"], "it goes on when a person says so");
    assert_eq!(agent.act("jobs", text(&job, "id"), "cancel").status, 200);
    agent.job_is(&job, "cancelled");
}

#[test]
fn the_energy_of_a_job_is_true_to_a_hundredth_while_what_it_draws_changes() {
    // The mailbox machine draws 220 W while it moves and 40 W while it stands; the meter is on its line.
    let (_devices, address) = devices();
    let machine = include_str!("../../../config/machines/generic-mailbox.toml");
    let profile = format!(
        r#"{machine}
[[auxiliary]]
name = "meter"
kind = "meter"
[auxiliary.modbus]
unit = 3
[[auxiliary.modbus.points]]
name = "power"
table = "input"
address = 12
type = "f32"
unit = "W"
poll_ms = 50
meaning = "power"
[[auxiliary.modbus.points]]
name = "energy"
table = "input"
address = 72
type = "f32"
unit = "kWh"
poll_ms = 50
meaning = "energy"
"#
    );
    let workshop = Workshop::new(&[]).with_machine("router", &profile, &address);
    let agent = workshop.start();
    agent.machine_is("router", "idle");
    agent.until("/api/v1/machines/router", |machine| machine["auxiliary"][0]["answers"] == true);
    // Five moves of a second each, with rests of different length between.
    let program = b"G21\nG90\nG1 F600 X10\nG4 P0.3\nX0\nG4 P0.7\nX10\nG4 P0.2\nX0\nG4 P0.5\nX10\n";
    let job = agent.submit("router", program);
    assert_eq!(agent.act("jobs", text(&job, "id"), "start").status, 200);
    let record = agent.job_is(&job, "finished");
    let [started, ended] = ["started_at", "ended_at"].map(|field| seconds(text(&record, field)));
    let (lasted_s, moved_s) = (ended - started, 5.0);
    assert!(lasted_s > moved_s + 1.7, "{record:#}");
    let truth_kwh = (220.0 * moved_s + 40.0 * (lasted_s - moved_s)) / 3.6e6;
    let energy_kwh = record["energy_kwh"].as_f64().unwrap();
    assert!((energy_kwh / truth_kwh - 1.0).abs() < 0.01, "{energy_kwh} kWh measured, {truth_kwh} kWh taken");
    let steady_kwh = 220.0 * lasted_s / 3.6e6;
    assert!(energy_kwh < 0.9 * steady_kwh, "what it draws did change");
}

/// The second of the day of a time such as `2026-11-28T02:03:04.567Z`.
fn seconds(time: &str) -> f64 {
    let (_, clock) = time.split_once('T').unwrap();
    let parts = clock.trim_end_matches('Z').split(':').map(|part| part.parse::<f64>().unwrap());
    Duration::from_secs_f64(parts.fold(0.0, |sum, part| sum * 60.0 + part)).as_secs_f64()
}
