//! `fab-agent` against Modbus devices that are not ours: a mailbox machine served by pymodbus, a device served by
//! libmodbus, and `mbpoll` as another master on our simulator; and what becomes of a drive when the agent ends.
//!
//! `./check` installs pymodbus into `.check/python` and mbpoll (with libmodbus) from Debian; without them these tests fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

#[path = "../common/agent.rs"]
mod agent;
#[path = "../common/broker.rs"]
mod broker;
mod devices;
mod mbpoll;
mod program;
mod served;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use drivers::sim::port::{Between, Port};
use drivers::sim::{self};
use serde_json::Value;
use served::{Served, commands, root};

/// A profile with short time limits, so that thousands of faults fit into a test.
fn impatient(profile: &str) -> tempfile::NamedTempFile {
    let text = profile.replace("timeout_ms = 500", "timeout_ms = 60");
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Sends a real program of several thousand lines; what the machine took must be that, each line once.
fn sends_each_line_once(arguments: &[&str]) -> Value {
    let witness = Served::pymodbus("mailbox_machine.py", arguments);
    let profile = impatient(include_str!("../../../config/machines/generic-mailbox.toml"));
    let program = root().join("config/demo/cube.gcode");
    let output = Command::new(env!("CARGO_BIN_EXE_fab-agent"))
        .args(["send", "--no-preflight", "--json", "--port", &witness.address, "--profile"])
        .arg(profile.path())
        .arg(&program)
        .output()
        .unwrap();
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}{said}"));
    assert_eq!(report["outcome"], "finished", "{report}\n{said}");
    let wanted = commands(&program);
    assert!(wanted.len() > 3_000, "several thousand lines");
    assert_eq!(report["executed"], wanted.len(), "{report}");
    let witnessed = witness.report();
    let taken: Vec<_> = witnessed["taken"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(taken, wanted);
    witnessed["faults"].clone()
}

#[test]
fn pymodbus_plays_the_machine_by_the_document_over_tcp() {
    sends_each_line_once(&["tcp"]);
    sends_each_line_once(&["tcp", "read_write=0"]);
    sends_each_line_once(&["tcp", "transactions=4"]);
}

#[test]
fn pymodbus_plays_the_machine_by_the_document_over_a_serial_line() {
    sends_each_line_once(&["rtu"]);
}

#[test]
fn every_line_is_taken_once_although_answers_are_dropped_doubled_and_delayed() {
    let ways = [("tcp", "transactions=4", "read_write=1"), ("tcp", "transactions=1", "read_write=0")];
    for (kind, transactions, read_write) in
        ways.into_iter().chain(["read_write=1", "read_write=0"].map(|it| ("rtu", "transactions=1", it)))
    {
        let faults =
            sends_each_line_once(&[kind, read_write, transactions, "lost=0.03", "doubled=0.03", "late=0.03", "seed=7"]);
        for fault in ["lost", "doubled", "late"] {
            assert!(faults[fault].as_u64().unwrap() >= 5, "{kind} {faults}");
        }
    }
}

/// A simulator of ours on TCP; its address and its port number.
fn simulator() -> (Served, String) {
    let served = simulator_on(&["--tcp", "127.0.0.1:0"]);
    let port = served.address.rsplit(':').next().unwrap().to_owned();
    (served, port)
}

/// A simulator of ours, served as the arguments say.
fn simulator_on(arguments: &[&str]) -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.args(["simulate", "modbus"]).args(arguments);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = process.stderr.take().unwrap();
    let mut served = Served::new(process, Box::new(said));
    let address = served.address.split_whitespace().find(|word| word.starts_with("modbus-")).unwrap();
    served.address = address.trim_end_matches('.').to_owned();
    served
}

fn modbus(address: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.arg("modbus").arg(arguments[0]).arg(address).args(&arguments[1..]).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Stands between a client and a server on TCP and keeps the frames that the client says.
fn recorder(server: &str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, server) = (listener.local_addr().unwrap(), server.to_owned());
    let said = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&said);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            let (mut from, mut to, kept) = (client, server, Arc::clone(&kept));
            std::thread::spawn(move || {
                let mut bytes = [0; 512];
                while let Ok(count @ 1..) = from.read(&mut bytes) {
                    kept.lock().unwrap().extend_from_slice(&bytes[..count]);
                    to.write_all(&bytes[..count]).unwrap();
                }
            });
        }
    });
    (format!("modbus-tcp://{address}"), said)
}

#[test]
fn a_scan_finds_the_devices_and_writes_nothing() {
    let (_served, port) = simulator();
    let (address, said) = recorder(&format!("127.0.0.1:{port}"));
    let scan = modbus(&address, &["scan", "--units", "1-9", "--json"]);
    let found: Value = serde_json::from_str(&out(&scan)).unwrap();
    let units: Vec<_> = found["units"].as_array().unwrap().iter().map(|unit| unit["unit"].as_u64().unwrap()).collect();
    assert_eq!(units, [1, 2, 3, 4], "{found}");
    // Each question is a header of 7 bytes, whose last is the unit, and a body of 5, whose first is the function.
    let said = said.lock().unwrap();
    let questions: Vec<_> = said.chunks(12).collect();
    let asked: Vec<_> = questions.iter().map(|question| (question[6], question[7])).collect();
    assert_eq!(asked, (1..=9).map(|unit| (unit, 3)).collect::<Vec<_>>(), "one reading each and nothing else");
}

#[test]
fn every_type_and_order_agrees_with_a_device_served_by_libmodbus_over_tcp_and_over_a_serial_line() {
    let wanted = [
        ("0", "u16", "abcd", "54321"),
        ("0", "u16", "badc", "12756"),
        ("1", "i16", "abcd", "-4321"),
        ("2", "u32", "abcd", "3000000001"),
        ("4", "i32", "abcd", "-2000000001"),
        ("10", "f32", "abcd", "1234.5625"),
        ("12", "f32", "cdab", "1234.5625"),
        ("14", "f32", "badc", "1234.5625"),
        ("16", "f32", "dcba", "1234.5625"),
    ];
    for kind in ["tcp", "rtu"] {
        let device = Served::libmodbus(kind);
        for (at, form, order, value) in wanted {
            for table in ["holding", "input"] {
                let place = ["read", "--table", table, "--at", at, "--type", form, "--order", order];
                let read = modbus(&device.address, &place);
                assert!(out(&read).contains(&format!(": {value} ")), "{kind} {table} {form} {order}: {read:?}");
            }
        }
        let text = modbus(&device.address, &["read", "--at", "6", "--type", "ascii", "--registers", "3"]);
        assert!(out(&text).contains("\"PLC 7\""), "{text:?}");
        for table in ["coil", "discrete"] {
            let bits = modbus(&device.address, &["read", "--table", table, "--at", "0", "--count", "4", "--json"]);
            let document: Value = serde_json::from_str(&out(&bits)).unwrap();
            let values: Vec<_> =
                document["values"].as_array().unwrap().iter().map(|bit| bit["value"].clone()).collect();
            assert_eq!(values, [1, 0, 0, 1], "{kind} {table}");
        }
        // What is written is held and read back as the same: one register, several, a coil.
        for (at, form, order, value) in [
            ("40", "u16", "abcd", "65535"),
            ("40", "i16", "badc", "-2"),
            ("42", "u32", "cdab", "4000000001"),
            ("44", "i32", "dcba", "-7"),
            ("46", "f32", "badc", "-0.375"),
        ] {
            let place = ["--at", at, "--type", form, "--order", order];
            let wrote = modbus(&device.address, &[&["write"], &place[..], &["--value", value]].concat());
            assert_eq!(wrote.status.code(), Some(0), "{kind} {form} {order}: {wrote:?}");
            let read = modbus(&device.address, &[&["read"], &place[..]].concat());
            assert!(out(&read).contains(&format!(": {value} ")), "{kind} {form} {order}: {read:?}");
        }
        let wrote = modbus(&device.address, &["write", "--table", "coil", "--at", "1", "--value", "1"]);
        assert_eq!(wrote.status.code(), Some(0), "{wrote:?}");
        let beyond = modbus(&device.address, &["read", "--at", "100"]);
        assert!(String::from_utf8_lossy(&beyond.stderr).contains("[modbus.illegal_address]"), "{kind} {beyond:?}");
    }
}

/// A mill with the simulated drive beside it, in a configuration.
fn with_drive(home: &Path, mill: &str, devices: &str) -> PathBuf {
    let profile = include_str!("../../../config/machines/grbl-mill-3018.toml");
    let drive = format!(
        "\n[[auxiliary]]\nname = \"spindle\"\nkind = \"drive\"\nport = \"{devices}?unit=2\"\n\
         [auxiliary.stop]\npoint = \"command\"\nvalue = 0\nproof = \"actual\"\nproof_max = 0.5\n\
         [[auxiliary.modbus.points]]\nname = \"command\"\naddress = 0\ntype = \"u16\"\naccess = \"write\"\n\
         [[auxiliary.modbus.points]]\nname = \"actual\"\naddress = 11\ntype = \"u16\"\nscale = 0.01\nunit = \"Hz\"\npoll_ms = 100\n"
    );
    std::fs::write(home.join("mill.toml"), format!("{profile}{drive}")).unwrap();
    let config = home.join("agent.toml");
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = \"store\"\n\
         [[machine]]\nid = \"mill\"\nport = \"{mill}\"\nclear = \"assumed\"\nprofile = \"./mill.toml\"\n"
    );
    std::fs::write(&config, text).unwrap();
    config
}

/// An agent that ends with its test, however that ends: it would open the ports of those that come after.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the simulated drive at 50 Hz.
fn start_drive(address: &str) {
    for (at, value) in [("1", "5000"), ("0", "1")] {
        let wrote = modbus(address, &["write", "--unit", "2", "--at", at, "--value", value]);
        assert_eq!(wrote.status.code(), Some(0), "{wrote:?}");
    }
}

/// The drive's command word and its actual frequency in hundredths.
fn drive(address: &str) -> (f64, f64) {
    let at = |at: &str| {
        let read = modbus(address, &["read", "--unit", "2", "--at", at, "--json"]);
        let document: Value = serde_json::from_str(&out(&read)).unwrap();
        document["values"][0]["value"].as_f64().unwrap()
    };
    (at("0"), at("11"))
}

#[test]
fn a_drive_stands_when_the_agent_is_told_to_end_and_when_it_was_killed_and_stop_is_written_for_it() {
    let (served, _port) = simulator();
    let home = tempfile::tempdir().unwrap();
    let machine = sim::simulated("grbl", &sim::Setup::default()).unwrap();
    let mill = Port::on_pty(machine, Between::default(), None).unwrap();
    let config = with_drive(home.path(), mill.address(), &served.address);
    for (signal, code) in [("-TERM", Some(0)), ("-KILL", None)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
        command.args(["run", "--config"]).arg(&config).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut agent = Ended(command.spawn().unwrap());
        let mut log = BufReader::new(agent.0.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("serving") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it never serves");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        start_drive(&served.address);
        while drive(&served.address).1 < 5000.0 {}
        Command::new("kill").args([signal, &agent.0.id().to_string()]).status().unwrap();
        assert_eq!(agent.0.wait().unwrap().code(), code, "{signal}");
        if code.is_none() {
            assert_eq!(drive(&served.address), (1.0, 5000.0), "nothing tells it that its agent is dead");
            let mut stop = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
            stop.args(["modbus", "stop", "--config"]).arg(&config);
            let stopped = stop.output().unwrap();
            assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
            assert!(out(&stopped).contains("mill: every drive stands"), "{stopped:?}");
        }
        let (command, actual) = drive(&served.address);
        assert!(command == 0.0 && actual <= 50.0, "{signal}: {command} {actual}");
    }
}

/// The configuration's stop, and how long it took.
fn stop(config: &Path) -> (Output, std::time::Duration) {
    let started = std::time::Instant::now();
    let mut stop = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    (stop.args(["modbus", "stop", "--config"]).arg(config).output().unwrap(), started.elapsed())
}

#[test]
fn a_mistake_anywhere_else_in_the_configuration_kept_a_drive_turning() {
    let (served, _port) = simulator();
    let home = tempfile::tempdir().unwrap();
    let config = with_drive(home.path(), "/dev/null", &served.address);
    let right = std::fs::read_to_string(&config).unwrap();
    let profile = home.path().join("mill.toml");
    let mill = std::fs::read_to_string(&profile).unwrap();
    let second = "[[machine]]\nid = \"other\"\nport = \"/dev/zero\"\nprofile = \"./gone.toml\"\n";
    for (text, mill_text) in [
        // Another machine's profile is missing; a key nobody knows; no TOML; a wrong port number.
        (format!("{second}{right}"), mill.clone()),
        (format!("{right}{second}speed = 9\n"), mill.clone()),
        (right.replace("[store]", "[store]\nhistory_jobs = \n"), mill.clone()),
        (right.replace("127.0.0.1:0", "nowhere"), mill.clone()),
        // The machine itself cannot be true, and neither can another point of the drive.
        (right.clone(), mill.replace("kind = \"mill\"", "kind = \"boat\"")),
        (right.clone(), format!("{mill}[[auxiliary.modbus.points]]\nname = \"x\"\naddress = 70000\ntype = \"u16\"\n")),
    ] {
        std::fs::write(&config, &text).unwrap();
        std::fs::write(&profile, mill_text).unwrap();
        start_drive(&served.address);
        while drive(&served.address).1 < 5000.0 {}
        let (stopped, _) = stop(&config);
        assert_eq!(drive(&served.address).0, 0.0, "{stopped:?}");
        assert!(out(&stopped).contains("mill: every drive stands"), "{stopped:?}");
        assert_eq!(stopped.status.code(), Some(2), "and it complains: {stopped:?}");
    }
}

#[test]
fn a_drive_that_cannot_be_reached_took_twice_its_time_and_kept_the_others_waiting() {
    let (served, _port) = simulator();
    let home = tempfile::tempdir().unwrap();
    // Nobody is there, and nobody says so: 192.0.2.0/24 is for documents (RFC 5737). And one that takes and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for gone in ["modbus-tcp://192.0.2.1:502".to_owned(), format!("modbus-tcp://{}", silent.local_addr().unwrap())] {
        let config = with_drive(home.path(), "/dev/null", &served.address);
        let profile = home.path().join("mill.toml");
        let text = std::fs::read_to_string(&profile).unwrap();
        let second = text[text.find("[[auxiliary]]").unwrap()..].replace("\"spindle\"", "\"pump\"");
        let second = second.replace(&served.address, &gone).replace("value = 0", "value = 0\nwithin_ms = 2000");
        std::fs::write(&profile, format!("{text}\n{second}")).unwrap();
        start_drive(&served.address);
        let (stopped, took) = stop(&config);
        assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
        assert_eq!(drive(&served.address).0, 0.0, "the other one was stopped");
        assert!(took < std::time::Duration::from_millis(3_500), "{took:?} where it has two seconds");
        let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
        assert!(said.contains("`pump`"), "{said}");
    }
}

/// The simulated drive as the spindle of a mill, as it is written in a profile or in the configuration.
fn spindle_drive(section: &str, devices: &str) -> String {
    format!(
        "[[{section}]]\nname = \"vfd\"\nkind = \"drive\"\nport = \"{devices}?unit=2\"\nis_spindle = true\n\
         [{section}.stop]\npoint = \"command\"\nvalue = 0\nproof = \"actual\"\nproof_max = 0.5\n\
         [{section}.turn]\nspeed = \"frequency\"\nactual = \"actual\"\nforward = [{{ point = \"command\", value = 1 }}]\n\
         [[{section}.modbus.points]]\nname = \"command\"\naddress = 0\ntype = \"u16\"\naccess = \"write\"\n\
         [[{section}.modbus.points]]\nname = \"frequency\"\naddress = 1\ntype = \"u16\"\nscale = 0.01\naccess = \"write\"\n\
         [[{section}.modbus.points]]\nname = \"actual\"\naddress = 11\ntype = \"u16\"\nscale = 0.01\npoll_ms = 100\n"
    )
}

#[test]
fn a_spindle_that_a_killed_sender_left_turning_is_stopped_for_it() {
    let (served, _port) = simulator();
    let home = tempfile::tempdir().unwrap();
    let machine = sim::simulated("grbl", &sim::Setup::default()).unwrap();
    let mill = Port::on_pty(machine, Between::default(), None).unwrap();
    let profile = include_str!("../../../config/machines/grbl-mill-3018.toml");
    let profile = format!("{profile}\n{}", spindle_drive("auxiliary", &served.address));
    std::fs::write(home.path().join("mill.toml"), profile).unwrap();
    let program = home.path().join("part.nc");
    std::fs::write(&program, "M3 S6000\nG1 X100 F100\nM5\nM2\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.args(["send", "--no-preflight", "--port", mill.address(), "--profile"]).arg(home.path().join("mill.toml"));
    let mut sender = Ended(command.arg(&program).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    while drive(&served.address).1 < 10_000.0 {
        assert!(sender.0.try_wait().unwrap().is_none(), "it ended before its spindle turned");
    }
    sender.0.kill().unwrap();
    sender.0.wait().unwrap();
    assert_eq!(drive(&served.address), (1.0, 10_000.0), "nothing tells it that its agent is dead");
    // The same drive in the configuration, beside a bundled profile.
    let config = home.path().join("agent.toml");
    let machine = format!(
        "[[machine]]\nid = \"mill\"\nport = \"{}\"\nclear = \"assumed\"\nprofile = \"grbl-mill-3018\"\n",
        mill.address()
    );
    let beside = spindle_drive("machine.auxiliary", &served.address);
    std::fs::write(&config, format!("{machine}{beside}")).unwrap();
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_fab-agent")).args(arguments).arg(&config).output();
    let checked = run(&["config", "check"]).unwrap();
    assert!(out(&checked).contains("mill/vfd: holding 11 to 11 every 100 ms: actual"), "{checked:?}");
    let (stopped, _) = stop(&config);
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    let (command, actual) = drive(&served.address);
    assert!(command == 0.0 && actual <= 50.0, "{command} {actual}");
    // What is wrong with it is said with its line.
    let machine = machine.replace("clear = \"assumed\"\n", "");
    std::fs::write(&config, format!("{machine}[[machine.auxiliary]]\nname = \"vfd\"\ndevice = \"h1000\"\n")).unwrap();
    let checked = run(&["config", "check"]).unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("line 5") && said.contains("no device `h1000`") && said.contains("h100"), "{said}");
}

#[test]
fn the_devices_that_are_known_by_name_are_listed_and_their_points_can_be_read() {
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_fab-agent")).args(arguments).output().unwrap();
    let listed = out(&run(&["modbus", "devices"]));
    for name in ["h100", "huanyang-hy", "siemens-v20", "sdm630", "abb-b23"] {
        assert!(listed.lines().any(|line| line.starts_with(name)), "{name}: {listed}");
    }
    let shown = out(&run(&["modbus", "devices", "nowforever"]));
    assert!(shown.contains("write_function = 16") && shown.contains("sources"), "{shown}");
    assert_eq!(run(&["modbus", "devices", "no-such"]).status.code(), Some(2));
    let (served, _port) = simulator();
    let volts = modbus(&served.address, &["read", "--unit", "3", "--device", "sdm120", "--point", "voltage"]);
    assert!(out(&volts).contains(": 230 V"), "{volts:?}");
}

#[test]
fn config_check_prints_the_plan_of_reads_and_says_every_impossible_point_with_its_line() {
    let home = tempfile::tempdir().unwrap();
    let config = with_drive(home.path(), "/dev/null", "modbus-tcp://127.0.0.1:9");
    let check =
        || Command::new(env!("CARGO_BIN_EXE_fab-agent")).args(["config", "check"]).arg(&config).output().unwrap();
    let checked = check();
    assert!(out(&checked).contains("mill/spindle: holding 11 to 11 every 100 ms: actual"), "{checked:?}");
    let profile = home.path().join("mill.toml");
    let text = std::fs::read_to_string(&profile).unwrap();
    let lines = text.lines().count();
    let wrong = "[[auxiliary.modbus.points]]\nname = \"twice\"\naddress = 11\ntype = \"u32\"\n\
                 [[auxiliary.modbus.points]]\nname = \"beyond\"\naddress = 65535\ntype = \"f32\"\n";
    std::fs::write(&profile, format!("{text}{wrong}")).unwrap();
    let checked = check();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("has 2 mistakes"), "{said}");
    for (line, name, other) in [(lines + 1, "`twice`", "`actual`"), (lines + 5, "`beyond`", "65535")] {
        let found = said.lines().find(|found| found.contains(&format!("line {line}: ")) && found.contains(name));
        assert!(found.is_some_and(|found| found.contains(other)), "line {line}: {said}");
    }
}
