//! `fab-agent profile`, and what a configuration says of profiles that cannot be used.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

use std::path::Path;
use std::process::{Command, Output};

fn agent(arguments: &[&str], folder: &Path) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fab-agent")).args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, said)
}

const PRINTER: &str = "name = \"p\"\ntitle = \"P\"\nkind = \"printer\"\ndialect = \"marlin\"\n[heat]\ntool_max_c = 260.0\n\
                       bed_max_c = 100.0\n[[tools]]\nnumber = 0\n[[tools]]\nnumber = 1\n";

#[test]
fn a_safe_end_that_leaves_something_on_was_accepted_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let config = "[[machine]]\nid = \"p\"\nport = \"/dev/ttyUSB0\"\nprofile = \"./p.toml\"\n";
    std::fs::write(folder.join("agent.toml"), config).unwrap();
    for (safe_end, left_on) in [
        ("", vec!["tool 0", "tool 1", "the bed"]),
        ("[safety]\nsafe_end = []\n", vec!["tool 0", "tool 1", "the bed"]),
        ("[safety]\nsafe_end = [\"M104 S0\", \"M140 S0\"]\n", vec!["tool 0", "tool 1"]),
        ("[safety]\nsafe_end = [\"M104 T0 S0\", \"M140 S0\"]\n", vec!["tool 1"]),
        ("[safety]\nsafe_end = [\"M104 T0 S0\", \"M104 T1 S0\", \"M140 S0\"]\n", vec![]),
    ] {
        std::fs::write(folder.join("p.toml"), format!("{PRINTER}{safe_end}")).unwrap();
        for (arguments, exit) in [(["profile", "check", "./p.toml"], 1), (["config", "check", "agent.toml"], 2)] {
            let (output, said) = agent(&arguments, folder);
            let exit = if left_on.is_empty() { 0 } else { exit };
            assert_eq!(output.status.code(), Some(exit), "{arguments:?} {safe_end}: {said}");
            for part in &left_on {
                assert!(said.contains(part), "{arguments:?} {safe_end}: {part}: {said}");
            }
        }
    }
}

#[test]
fn profiles_and_their_variants_are_listed_shown_and_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (output, said) = agent(&["profile", "list"], folder);
    assert!(
        output.status.success() && said.contains("grbl-laser-400:stock-grbl") && said.contains("prusa-xl-5"),
        "{said}"
    );
    let (output, said) = agent(&["profile", "show", "grbl-laser-400:stock-grbl"], folder);
    assert!(output.status.success() && said.contains("X -400 to 0"), "{said}");
    let (output, said) = agent(&["profile", "show", "flsun-qq-s"], folder);
    assert!(output.status.success() && said.contains("round: 130"), "{said}");
    let (output, said) = agent(&["profile", "check", "grbl-laser-400:no-such"], folder);
    assert!(!output.status.success() && said.contains("stock-grbl"), "{said}");
    let (_, said) = agent(&["profile", "list", "--json"], folder);
    let list: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(list.as_array().unwrap().len() > 60, "{said}");
}

#[test]
fn a_machine_that_only_its_own_network_reaches_is_no_machine_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let config = "[[machine]]\nid = \"k\"\nport = \"/dev/ttyUSB0\"\nprofile = \"creality-k1\"\n";
    std::fs::write(folder.join("agent.toml"), config).unwrap();
    let (output, said) = agent(&["config", "check", "agent.toml"], folder);
    assert!(output.status.code() == Some(2) && said.contains("network"), "{said}");
}
