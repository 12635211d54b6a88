//! People, tokens and the owner, against the real program: who may do what to whose, and the known ways around it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "../common/agent.rs"]
mod agent;
mod attacks;
mod owner;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use agent::{Agent, Answer, PATIENCE, PLATE, Workshop, text};
use serde_json::{Value, json};

const READ_AND_STOP: &str = "without_token = \"read_and_stop\"";

/// A mill that nobody without a token may do more with than look and stop.
fn shop() -> Workshop {
    Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]).with_http(READ_AND_STOP)
}

fn socket(workshop: &Workshop) -> PathBuf {
    workshop.home.path().join("store/agent.sock")
}

/// Asks as the owner, through the socket.
fn owner(workshop: &Workshop, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = UnixStream::connect(socket(workshop)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json";
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Adds somebody, and gives their token, as a header.
fn member(workshop: &Workshop, name: &str, role: &str) -> String {
    let added = owner(workshop, "POST", "/api/v1/members", &json!({ "name": name, "role": role }));
    assert_eq!(added.status, 201, "{added:?}");
    let made = owner(workshop, "POST", "/api/v1/tokens", &json!({ "member": name, "label": "test" }));
    assert_eq!(made.status, 201, "{made:?}");
    header(text(&made.json(), "secret"))
}

fn header(secret: &str) -> String {
    format!("Authorization: Bearer {secret}\r\n")
}

/// Asks with a body of JSON.
fn ask(agent: &Agent, method: &str, path: &str, shown: &str, body: &Value) -> Answer {
    agent.ask(method, path, &format!("{shown}Content-Type: application/json\r\n"), body.to_string().as_bytes())
}

fn submit(agent: &Agent, shown: &str) -> String {
    let answer = agent.ask("POST", "/api/v1/machines/mill/jobs?name=secret-part.nc", shown, PLATE);
    assert_eq!(answer.status, 201, "{answer:?}");
    text(&answer.json(), "id").to_owned()
}

/// What the log has of what people asked for.
fn log(workshop: &Workshop) -> Vec<Value> {
    let answer = owner(workshop, "GET", "/api/v1/log?limit=500", &Value::Null);
    answer.json()["rows"].as_array().unwrap().clone()
}

#[test]
fn without_a_token_status_is_read_and_machines_are_stopped_and_nothing_else() {
    let workshop = shop();
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = submit(&agent, &member(&workshop, "Ann", "member"));
    let open = [
        "get /machines",
        "get /machines/{machine}",
        "get /machines/{machine}/capability",
        "get /machines/{machine}/capacity",
        "post /machines/{machine}/stop",
        "post /jobs/{job}/pause",
        "get /events",
        "get /me",
        "get /agent",
        "post /claim",
    ];
    let document = agent.get("/api/v1/openapi.json");
    let mut closed = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let name = format!("{method} {}", path.strip_prefix("/api/v1").unwrap());
            if name == "get /events" {
                continue;
            }
            let path = path.replace("{machine}", "mill").replace("{job}", &job).replace("{member}", "Ann");
            let path = path.replace("{token}", "t-1").replace("{person}", "Ann");
            let answer = ask(&agent, &method.to_ascii_uppercase(), &path, "", &json!({}));
            if open.contains(&name.as_str()) {
                assert!(![401, 403, 404].contains(&answer.status), "{name}: {answer:?}");
            } else {
                assert_eq!((answer.status, answer.code().as_str()), (401, "http.unauthorized"), "{name}");
                closed += 1;
            }
        }
    }
    assert!(closed > 25, "{closed}");
    assert_eq!(agent.ask("GET", "/metrics", "", b"").status, 200);
    assert_eq!(agent.ask("GET", "/", "", b"").status, 200);
    assert_eq!(agent.ask("GET", "/api/v1/no-such-thing", "", b"").code(), "http.no_such_route");
    assert_eq!(agent.get("/api/v1/me")["name"], "nobody");
}

#[test]
fn programs_are_private_and_one_member_starts_and_ends_nothing_of_anothers() {
    let workshop = shop();
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let [ann, bob, olga] =
        [("Ann", "member"), ("Bob", "member"), ("Olga", "operator")].map(|(name, role)| member(&workshop, name, role));
    let job = submit(&agent, &ann);
    let of = |part: &str| format!("/api/v1/jobs/{job}{part}");
    for (method, part) in [
        ("GET", ""),
        ("GET", "/program"),
        ("GET", "/findings"),
        ("GET", "/preview.svg"),
        ("POST", "/start"),
        ("POST", "/cancel"),
        ("POST", "/resume"),
        ("POST", "/resume-after-failure"),
        ("DELETE", ""),
    ] {
        let answer = agent.ask(method, &of(part), &bob, b"");
        assert_eq!((answer.status, answer.code().as_str()), (403, "access.not_yours"), "{method} {part}");
    }
    let jobs = |shown: &str| agent.ask("GET", "/api/v1/jobs", shown, b"").json()["jobs"].as_array().unwrap().len();
    assert_eq!((jobs(&ann), jobs(&bob), jobs(&olga)), (1, 0, 1));
    assert_eq!(agent.ask("GET", &of(""), &olga, b"").status, 200);
    assert_eq!(agent.ask("GET", &of("/program"), &ann, b"").status, 200);
    // The picture's address opens the picture for whoever was given it, and nothing else.
    let picture = agent.ask("GET", &of(""), &ann, b"").json()["preview"].as_str().unwrap().to_owned();
    assert!(agent.ask("GET", &picture, "", b"").status == 200 && !picture.contains("fab_"), "{picture}");
    assert_eq!(agent.ask("GET", &picture.replace("preview.svg", "program"), "", b"").status, 401);
    assert_eq!(agent.ask("POST", &of("/start"), &ann, b"").status, 200);
    // What runs is shown to everybody; what it is called is not.
    let shown = |shown: &str| agent.ask("GET", "/api/v1/machines/mill", shown, b"").json()["job"].clone();
    assert_eq!(
        (shown(&ann)["name"].as_str(), shown(&olga)["name"].as_str()),
        (Some("secret-part.nc"), Some("secret-part.nc"))
    );
    assert!(shown(&bob)["name"].is_null() && shown("")["name"].is_null() && shown(&bob)["id"].is_string());
    // Over or not: the request reached the machine's desk, and was not forbidden.
    assert_ne!(agent.ask("POST", &of("/pause"), &bob, b"").status, 403);
}

#[test]
fn nobody_gives_themselves_more_than_they_have() {
    let workshop = shop();
    let agent = workshop.start();
    let [ann, olga] = [("Ann", "member"), ("Olga", "operator")].map(|(name, role)| member(&workshop, name, role));
    member(&workshop, "Root User", "admin");
    let code = |method: &str, path: &str, shown: &str, body: Value| {
        let answer = ask(&agent, method, path, shown, &body);
        if answer.status < 300 { "done".to_owned() } else { answer.code() }
    };
    for shown in [&ann, &olga] {
        assert_eq!(code("POST", "/api/v1/members", shown, json!({ "name": "Eve", "role": "admin" })), "access.role");
        assert_eq!(code("PATCH", "/api/v1/members/Ann", shown, json!({ "role": "admin" })), "access.role");
        assert_eq!(code("DELETE", "/api/v1/members/Olga", shown, json!({})), "access.role");
        assert_eq!(code("POST", "/api/v1/tokens", shown, json!({ "scope": "admin" })), "token.too_much");
        assert_eq!(code("POST", "/api/v1/tokens", shown, json!({ "member": "Root User" })), "access.not_yours");
        assert_eq!(code("PUT", "/api/v1/members/Root%20User/pin", shown, json!({ "pin": "4711" })), "access.not_yours");
        assert_eq!(code("DELETE", "/api/v1/log/people/Ann", shown, json!({})), "access.role");
        assert_eq!(code("POST", "/api/v1/agent/key", shown, json!({ "compromised": false })), "access.role");
    }
    assert_eq!(code("PUT", "/api/v1/members/Ann/pin", &ann, json!({ "pin": "4711" })), "done");
    let me = ask(&agent, "GET", "/api/v1/members", &ann, &Value::Null).json();
    assert_eq!((me["members"].as_array().unwrap().len(), &me["members"][0]["pin"]), (1, &json!(true)));
    assert!(!me.to_string().contains("argon2"), "{me}");
    // A narrow token makes no wider one, and one for a machine makes none.
    let narrow =
        ask(&agent, "POST", "/api/v1/tokens", &ann, &json!({ "scope": "viewer", "machines": ["mill"], "days": 1 }));
    let narrow = header(text(&narrow.json(), "secret"));
    assert_eq!(code("POST", "/api/v1/tokens", &narrow, json!({ "scope": "viewer" })), "access.machine");
    let viewer = ask(&agent, "POST", "/api/v1/tokens", &ann, &json!({ "scope": "viewer" }));
    let viewer = header(text(&viewer.json(), "secret"));
    assert_eq!(code("POST", "/api/v1/tokens", &viewer, json!({ "scope": "member" })), "token.too_much");
    assert_eq!(code("POST", "/api/v1/machines/mill/home", &viewer, json!({})), "access.scope");
    // Ann becomes a viewer, and her tokens with her.
    let less = owner(&workshop, "PATCH", "/api/v1/members/Ann", &json!({ "role": "viewer" }));
    assert_eq!(less.json()["role"], "viewer");
    assert_eq!(code("POST", "/api/v1/machines/mill/home", &ann, json!({})), "access.role");
    for (body, wanted) in [
        (json!({ "member": "Nobody Known" }), "people.none"),
        (json!({}), "http.bad_request"),
        (json!({ "member": "Ann", "machines": ["no-such"] }), "people.invalid"),
        (json!({ "member": "Ann", "days": 0 }), "http.bad_request"),
        (json!({ "member": "Ann", "colour": 1 }), "http.bad_request"),
    ] {
        assert_eq!(owner(&workshop, "POST", "/api/v1/tokens", &body).code(), wanted, "{body}");
    }
    let body = json!({ "name": "ann", "role": "member" });
    assert_eq!(owner(&workshop, "POST", "/api/v1/members", &body).code(), "people.name_taken");
}

#[test]
fn a_revoked_token_opens_nothing_and_ends_what_it_opened() {
    let workshop = shop();
    let agent = workshop.start();
    let ann = member(&workshop, "Ann", "member");
    let mut stream = TcpStream::connect(&agent.host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{ann}\r\n", agent.host).unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(agent.ask("GET", "/api/v1/jobs", &ann, b"").status, 200);
    let tokens = owner(&workshop, "GET", "/api/v1/tokens", &Value::Null).json();
    let token = text(&tokens["tokens"][0], "id").to_owned();
    assert!(tokens["tokens"][0]["last_used_at"].is_string() && tokens["tokens"][0]["secret"].is_null(), "{tokens}");
    let revoked = owner(&workshop, "DELETE", &format!("/api/v1/tokens/{token}"), &Value::Null).json();
    assert_eq!((&revoked["revoked"], &revoked["on_disk"]), (&json!(true), &json!(true)));
    assert_eq!(agent.ask("GET", "/api/v1/jobs", &ann, b"").code(), "http.unauthorized");
    // The stream ends; what it said before does not tell who asked for what.
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(!rest.iter().any(|line| line.contains("\"who\"")), "{rest:#?}");
    // What was revoked stays so, and who there was is there, behind a power cut.
    drop(agent);
    let agent = workshop.start();
    assert_eq!(agent.ask("GET", "/api/v1/jobs", &ann, b"").code(), "http.unauthorized");
    let members = owner(&workshop, "GET", "/api/v1/members", &Value::Null).json();
    assert_eq!(members["members"][0]["name"], "Ann");
}

#[test]
fn everything_that_somebody_asks_for_says_who_by_what_and_from_where() {
    let workshop = shop();
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let ann = member(&workshop, "Ann", "member");
    let job = submit(&agent, &ann);
    agent.ask("POST", &format!("/api/v1/jobs/{job}/start"), &ann, b"");
    agent.ask("POST", "/api/v1/machines/mill/stop", "", b"");
    let rows = log(&workshop);
    let row =
        |action: &str| rows.iter().find(|row| row["action"] == action).unwrap_or_else(|| panic!("{action}: {rows:#?}"));
    for action in ["submit", "start"] {
        let row = row(action);
        assert_eq!((&row["who"], &row["from"]), (&json!("Ann"), &json!("127.0.0.1")), "{row}");
        assert!(row["means"].as_str().unwrap().starts_with("token:t-"), "{row}");
    }
    assert_eq!((&row("stop")["who"], &row("stop")["means"]), (&json!("nobody"), &json!("nothing")));
    let (added, made) = (row("member_add"), row("token_make"));
    assert!(added["means"].as_str().unwrap().starts_with("socket:") && added["who"] == "owner", "{added}");
    // A person is erased from the log by name: the bodies never had it.
    assert!(!added.to_string().contains("Ann") && !made.to_string().contains("Ann"), "{added} {made}");
    let erased = owner(&workshop, "DELETE", "/api/v1/log/people/Ann", &Value::Null).json();
    assert!(erased["erased"].as_u64().unwrap() >= 2, "{erased}");
    assert!(!log(&workshop).iter().any(|row| row.to_string().contains("Ann")));
}

#[test]
fn a_member_who_named_anothers_key_got_their_job() {
    let workshop = shop();
    let agent = workshop.start();
    let [ann, bob] = [("Ann", "member"), ("Bob", "member")].map(|(name, role)| member(&workshop, name, role));
    let submit = |shown: &str| {
        let headers = format!("{shown}Idempotency-Key: part-7\r\n");
        agent.ask("POST", "/api/v1/machines/mill/jobs?name=part.nc", &headers, PLATE)
    };
    let first = submit(&ann);
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(submit(&ann).json()["id"], first.json()["id"], "a repeat is the same job");
    let other = submit(&bob);
    assert_eq!((other.status, other.code().as_str()), (409, "job.key_reused"), "{other:?}");
    assert!(!other.body.contains(text(&first.json(), "id")));
}

/// The scene that failed: a job is cancelled, and a second click on Start puts the next one onto it.
#[test]
fn the_record_says_who_submitted_who_cleared_and_who_started() {
    let workshop = shop().clear_is_said();
    let agent = workshop.start();
    let [ann, olga] = [("Ann", "member"), ("Olga", "operator")].map(|(name, role)| member(&workshop, name, role));
    agent.until("/api/v1/machines/mill", |machine| machine["waits_for_clear"] == true);
    let job = submit(&agent, &ann);
    agent.until_with(&format!("/api/v1/jobs/{job}"), &ann, |job| job["state"] == "queued");
    let start = || agent.ask("POST", &format!("/api/v1/jobs/{job}/start"), &olga, b"");
    assert_eq!(start().code(), "table.not_clear");
    assert_eq!(agent.ask("POST", "/api/v1/machines/mill/clear", "", b"").status, 401, "nobody says so from anywhere");
    assert_eq!(agent.ask("POST", "/api/v1/machines/mill/clear", &olga, b"").status, 200);
    agent.machine_is("mill", "idle");
    assert_eq!(start().status, 200);
    let record = owner(&workshop, "GET", &format!("/api/v1/jobs/{job}/record"), &Value::Null).json();
    let people = ["submitted", "cleared", "started"].map(|what| record["people"][what]["who"].clone());
    assert_eq!(people, ["Ann", "Olga", "Olga"], "{record:#}");
}
