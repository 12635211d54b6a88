//! `fab-agent doctor`: the real program, on a configuration with what is right and what is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

use std::process::Command;

use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Setup};
use serde_json::Value;

#[test]
fn the_doctor_names_what_is_wrong_and_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::on_pty(sim::simulated("grbl", &Setup::default()).unwrap(), Between::default(), None).unwrap();
    let file = folder.path().join("agent.toml");
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:1\"\n[mqtt]\nhost = \"127.0.0.1\"\nport = 1\n[store]\ndir = \"{}\"\nreserve_mb = 0\n\
         [[machine]]\nid = \"mill\"\nport = \"{}\"\nprofile = \"grbl-mill-3018\"\n\
         [[machine]]\nid = \"printer\"\nport = \"/dev/serial/by-path/nothing-here\"\nprofile = \"ender3\"\n",
        folder.path().display(),
        port.address(),
    );
    std::fs::write(&file, text).unwrap();
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    let output = doctor.args(["doctor", "--json", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bad: Vec<_> =
        document["findings"].as_array().unwrap().iter().filter(|finding| finding["health"] == "bad").collect();
    let codes: Vec<_> = bad.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["link.no_such_port", "mqtt.unreachable"], "{document:#}");
    assert_eq!(document["healthy"], false);
    assert_eq!(port.report().unwrap().bytes, 0, "a port is looked at and not opened");
    std::fs::write(&file, "[http]\nlissen = 1\n").unwrap();
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    let output = doctor.args(["doctor", "--config"]).arg(&file).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("line 2"), "a mistake is named with its line");
}
