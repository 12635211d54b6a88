//! The owner: the socket, the terminal's commands, the claim code, the key, and a store that is put back.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::agent::{Agent, PLATE, Workshop, text};
use super::{ask, header, log, owner, shop, socket};

fn cli(workshop: &Workshop, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.args(words).arg("--socket").arg(socket(workshop)).stdin(std::process::Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_terminal_is_the_owners_without_any_token() {
    let workshop = shop();
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    said(&cli(&workshop, &["member", "add", "Ann", "--role", "member", "--competence", "mill=2099-05-31T00:00:00Z"]));
    let listed = said(&cli(&workshop, &["member", "list"]));
    assert!(listed.contains("Ann") && listed.contains("mill until 2099-05-31"), "{listed}");
    said(&cli(&workshop, &["member", "set", "Ann", "--role", "operator", "--no-competence"]));
    let made =
        said(&cli(&workshop, &["token", "create", "Ann", "--label", "laptop", "--scope", "member", "--days", "30"]));
    let secret = made.lines().find(|line| line.starts_with("fab_")).unwrap().to_owned();
    assert_eq!(agent.ask("GET", "/api/v1/me", &header(&secret), b"").json()["scope"], "member");
    let tokens = said(&cli(&workshop, &["token", "list"]));
    assert!(tokens.contains("laptop") && !tokens.contains("fab_"), "{tokens}");
    let id = tokens.split(' ').next().unwrap().to_owned();
    said(&cli(&workshop, &["token", "revoke", &id]));
    assert_eq!(agent.ask("GET", "/api/v1/me", &header(&secret), b"").status, 401);
    assert!(said(&cli(&workshop, &["status"])).contains("idle"));
    assert!(said(&cli(&workshop, &["stop", "mill"])).contains("the stop was sent"));
    said(&cli(&workshop, &["clear", "mill"]));
    let part = workshop.home.path().join("part.nc");
    std::fs::write(&part, PLATE).unwrap();
    let job = said(&cli(&workshop, &["job", "submit", part.to_str().unwrap(), "--machine", "mill", "--json"]));
    assert!(serde_json::from_str::<Value>(&job).unwrap()["id"].is_string(), "{job}");
    said(&cli(&workshop, &["member", "remove", "Ann"]));
    assert!(said(&cli(&workshop, &["member", "list"])).contains("nobody"));
    let wrong = cli(&workshop, &["member", "remove", "Ann"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("people.none"));
    // The configuration says where the socket is, and a token that is named asks as its person.
    let config = workshop.home.path().join("agent.toml");
    let listed = Command::new(env!("CARGO_BIN_EXE_fab-agent"))
        .args(["member", "list", "--config"])
        .arg(config)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
}

#[test]
fn the_claim_code_makes_one_admin_once() {
    let workshop = shop();
    let agent = workshop.start();
    let file = workshop.home.path().join("store/claim");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let code = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let claim =
        |code: &str, name: &str| ask(&agent, "POST", "/api/v1/claim", "", &json!({ "code": code, "name": name }));
    assert_eq!(claim("AAAA-AAAA-AAAA-AAAA", "Eve").code(), "claim.wrong");
    assert_eq!(claim(&code, "owner").code(), "people.name");
    let claimed = claim(&code.to_lowercase(), "Ann");
    assert_eq!(claimed.status, 201, "{claimed:?}");
    let claimed = claimed.json();
    let ann = header(text(&claimed["token"], "secret"));
    assert_eq!(claimed["member"]["role"], "admin");
    assert_eq!(ask(&agent, "POST", "/api/v1/members", &ann, &json!({ "name": "Bob", "role": "member" })).status, 201);
    assert_eq!(claim(&code, "Eve").code(), "claim.wrong");
    assert!(!file.exists());
    assert!(log(&workshop).iter().any(|row| row["type"] == "wrong_credential" && row["what"] == "claim code"));
    drop(agent);
    let _agent = workshop.start();
    assert!(!file.exists(), "somebody is an admin already");
}

fn identity(agent: &Agent) -> (String, String) {
    let document = agent.get("/api/v1/agent");
    (text(&document, "did").to_owned(), text(&document, "log").to_owned())
}

#[test]
fn the_agent_has_one_key_and_the_end_of_each_is_in_the_log() {
    let workshop = shop();
    let agent = workshop.start();
    let (did, epoch) = identity(&agent);
    assert!(did.starts_with("did:key:z6Mk"), "{did}");
    let key = workshop.home.path().join("store/agent.key");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    let ended = owner(&workshop, "POST", "/api/v1/agent/key", &json!({ "compromised": false })).json();
    let (next, _) = identity(&agent);
    assert!(next != did && ended["next"] == next.as_str() && ended["did"] == did.as_str(), "{ended}");
    assert!(ended["signature"].is_string());
    let lost = owner(&workshop, "POST", "/api/v1/agent/key", &json!({ "compromised": true })).json();
    assert!(lost["why"] == "compromised" && lost["signature"].is_null(), "{lost}");
    let rows = log(&workshop);
    assert!(rows.iter().any(|row| row["type"] == "key_began" && row["did"] == did.as_str()));
    assert_eq!(rows.iter().filter(|row| row["type"] == "key_ended").count(), 2);
    let last = identity(&agent);
    assert!(agent.stop());
    let agent = workshop.start();
    assert_eq!(identity(&agent), last, "the same key and the same log behind a restart");
    assert_eq!(last.1, epoch);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, target) = (entry.as_ref().unwrap(), to.join(entry.as_ref().unwrap().file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&entry.path(), &target),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), target).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn a_store_that_is_put_back_gave_numbers_twice_under_one_name() {
    let workshop = shop();
    let (store, backup) = (workshop.home.path().join("store"), workshop.home.path().join("backup"));
    let agent = workshop.start();
    let (did, first) = identity(&agent);
    assert!(agent.stop());
    copy(&store, &backup);
    let agent = workshop.start();
    assert_eq!(identity(&agent).1, first);
    owner(&workshop, "POST", "/api/v1/members", &json!({ "name": "Ann", "role": "member" }));
    assert!(agent.stop());
    // Only the database is put back: what was told since is known beside it.
    for name in ["store.db", "store.db-wal"] {
        let _ = std::fs::remove_file(store.join(name));
    }
    std::fs::copy(backup.join("store.db"), store.join("store.db")).unwrap();
    let agent = workshop.start();
    let (still, second) = identity(&agent);
    assert!(second != first && still == did, "{second}");
    assert!(log(&workshop).iter().any(|row| row["type"] == "epoch_began" && row["before"] == first.as_str()));
    assert!(agent.stop());
    // All of it is put back: the key is in another file than it was.
    std::fs::remove_dir_all(&store).unwrap();
    copy(&backup, &store);
    std::fs::set_permissions(store.join("agent.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let agent = workshop.start();
    let (still, third) = identity(&agent);
    assert!(third != first && third != second && still == did, "{third}");
    assert!(agent.stop());
    let agent = workshop.start();
    assert_eq!(identity(&agent).1, third, "and that is the name it keeps");
}
