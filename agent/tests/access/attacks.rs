//! The known ways around, one test a class.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agent::{PLATE, Workshop, text};
use super::{READ_AND_STOP, ask, header, log, member, owner, shop, socket, submit};

/// Reading and stopping, as a page of somebody else's makes a browser do it.
#[test]
fn a_page_of_another_site_neither_reads_nor_stops_without_a_token() {
    let workshop = shop();
    let agent = workshop.start();
    let stop = |head: &str| {
        agent.raw(
            format!("POST /api/v1/machines/mill/stop HTTP/1.1\r\n{head}Connection: close\r\nContent-Length: 0\r\n\r\n")
                .as_bytes(),
        )
    };
    for head in [
        "Host: rebound.evil.example\r\n",
        "Host: 127.0.0.1.evil.example:8484\r\n",
        "",
        "Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n",
        "Host: 127.0.0.1\r\nOrigin: null\r\n",
        "Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: 127.0.0.1\r\nSec-Fetch-Site: same-site\r\nOrigin: http://127.0.0.1\r\n",
    ] {
        let answer = stop(head);
        assert!(answer.status == 403 && answer.code() == "http.forbidden" || answer.status == 400, "{head} {answer:?}");
    }
    let read = agent.raw(b"GET /api/v1/machines HTTP/1.1\r\nHost: rebound.evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(read.code(), "http.forbidden");
    assert_eq!(stop("Host: 192.168.1.5\r\nOrigin: http://192.168.1.5\r\n").status, 200);
    // With a token it does not matter: a page of elsewhere has none.
    let ann = member(&workshop, "Ann", "member");
    let with = agent.raw(
        format!("GET /api/v1/jobs HTTP/1.1\r\nHost: fab.example.org\r\n{ann}Connection: close\r\n\r\n").as_bytes(),
    );
    assert_eq!(with.status, 200);
}

#[test]
fn whoever_comes_through_a_proxy_as_it_comes_out_of_the_box_is_nobody() {
    let nginx = "Connection: close\r\n";
    let caddy = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: localhost\r\nX-Forwarded-Proto: https\r\n";
    let spoofed = [
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Real-IP: 127.0.0.1\r\n",
        "Forwarded: for=127.0.0.1\r\n",
        "X-Forwarded-User: owner\r\n",
        "X-Remote-User: admin\r\n",
        "X-Scheme: unix\r\n",
    ];
    let workshop = shop();
    let agent = workshop.start();
    for headers in [nginx, caddy].into_iter().chain(spoofed) {
        let answer = agent.ask("POST", "/api/v1/machines/mill/jobs", headers, PLATE);
        assert_eq!((answer.status, answer.code().as_str()), (401, "http.unauthorized"), "{headers}");
    }
    drop(agent);
    // Where this computer may do everything, that a proxy is there takes it away again.
    let workshop =
        Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]).with_http("without_token = \"everything\"");
    let agent = workshop.start();
    assert_eq!(agent.ask("POST", "/api/v1/machines/mill/jobs", "", PLATE).status, 201);
    for headers in [caddy, spoofed[0], spoofed[1], spoofed[2], "Via: 1.1 caddy\r\n"] {
        assert_eq!(agent.ask("POST", "/api/v1/machines/mill/jobs", headers, PLATE).status, 401, "{headers}");
        assert_eq!(agent.ask("GET", "/api/v1/machines", headers, b"").status, 200, "{headers}");
    }
}

#[test]
fn a_token_is_taken_from_no_address_and_is_in_no_log() {
    let workshop = shop();
    let agent = workshop.start();
    let shown = member(&workshop, "Ann", "admin");
    let secret = shown.trim().strip_prefix("Authorization: Bearer ").unwrap();
    for name in ["token", "access_token", "apikey", "key", "api_key"] {
        assert_eq!(agent.ask("GET", &format!("/api/v1/jobs?{name}={secret}"), "", b"").status, 401, "{name}");
    }
    for headers in [
        format!("Cookie: token={secret}\r\n"),
        format!("Authorization: Basic {secret}\r\n"),
        format!("Authorization: {secret}\r\n"),
        format!("{shown}X-Api-Key: other\r\n"),
        format!("{shown}Authorization: Bearer other\r\n"),
    ] {
        assert_eq!(agent.ask("GET", "/api/v1/jobs", &headers, b"").status, 401, "{headers}");
    }
    assert_eq!(
        agent.ask("GET", "/api/v1/jobs", &format!("X-Api-Key: {secret}\r\n"), b"").status,
        200,
        "as slicers send it"
    );
    assert_eq!(agent.ask("GET", "/api/v1/jobs", &format!("{shown}X-Api-Key: {secret}\r\n"), b"").status, 200);
    assert!(!log(&workshop).iter().any(|row| row.to_string().contains(secret)));
    // Nor in the store: only its hash is.
    drop(agent);
    for name in ["store.db", "store.db-wal"] {
        let bytes = std::fs::read(workshop.home.path().join("store").join(name)).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name}");
    }
}

#[test]
fn wrong_tokens_are_counted_told_and_slowed_and_keep_nobody_out() {
    let workshop = shop();
    let agent = workshop.start();
    let ann = member(&workshop, "Ann", "member");
    let mut slowest = Duration::ZERO;
    for number in 0..13 {
        let began = Instant::now();
        let answer = agent.ask("GET", "/api/v1/jobs", &header(&format!("fab_{number}")), b"");
        assert_eq!((answer.status, answer.code().as_str()), (401, "http.unauthorized"));
        slowest = began.elapsed();
    }
    assert!(slowest >= Duration::from_secs(1), "the thirteenth waits: {slowest:?}");
    // From the same address, with the right one: at once.
    let began = Instant::now();
    assert_eq!(agent.ask("GET", "/api/v1/jobs", &ann, b"").status, 200);
    assert!(began.elapsed() < slowest, "{:?}", began.elapsed());
    let told: Vec<_> = log(&workshop).into_iter().filter(|row| row["type"] == "wrong_credential").collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told.iter().all(|row| row["from"] == "127.0.0.1" && row["what"] == "token"), "{told:#?}");
    // A page that has an old token comes up, so that it can ask for the right one.
    assert_eq!(agent.ask("GET", "/", &header("fab_old"), b"").status, 200);
    // Unknown, revoked and nonsense get the same words.
    let words = |shown: &str| agent.ask("GET", "/api/v1/jobs", shown, b"").body;
    assert_eq!(words(&header("fab_unknown")), words(&header("")));
}

#[test]
fn a_name_forges_no_header_no_line_and_no_page() {
    let workshop = shop();
    let agent = workshop.start();
    for name in ["Eve\r\nSet-Cookie: a=b", "Eve\nwho: owner", "owner", "Nobody", "Eve\u{202e}", "\u{1b}[2J", ""] {
        let answer = owner(&workshop, "POST", "/api/v1/members", &json!({ "name": name, "role": "member" }));
        assert_eq!((answer.status, answer.code().as_str()), (422, "people.name"), "{name:?}");
    }
    let html = "<img src=x onerror=alert(1)>\"';DROP TABLE person;--";
    let added = owner(&workshop, "POST", "/api/v1/members", &json!({ "name": html, "role": "member" }));
    assert!(added.head.contains("location: /api/v1/members/%3cimg%20src%3dx"), "{}", added.head);
    assert!(added.head.contains("content-type: application/json") && added.head.contains("nosniff"), "{}", added.head);
    assert_eq!(added.json()["name"], html);
    let shown = owner(&workshop, "POST", "/api/v1/tokens", &json!({ "member": html, "label": "<b>" })).json();
    let job = submit(&agent, &header(text(&shown, "secret")));
    let row = log(&workshop).into_iter().find(|row| row["job"] == job.as_str() && row["action"] == "submit").unwrap();
    assert_eq!(row["who"], html);
    let label = owner(&workshop, "POST", "/api/v1/tokens", &json!({ "member": html, "label": "a\r\nb" }));
    assert_eq!(label.code(), "http.bad_request");
    let path = "/api/v1/members/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%22%27%3BDROP%20TABLE%20person%3B--";
    assert_eq!(owner(&workshop, "DELETE", path, &Value::Null).json()["removed"], true);
}

#[test]
fn a_body_that_is_far_too_large_is_refused_early() {
    let workshop = shop();
    let agent = workshop.start();
    let admin = member(&workshop, "Ann", "admin");
    for (path, body) in [
        ("/api/v1/members", json!({ "name": "x".repeat(100_000), "role": "member" })),
        ("/api/v1/tokens", json!({ "label": "x".repeat(100_000) })),
        ("/api/v1/claim", json!({ "code": "x".repeat(100_000), "name": "Eve" })),
    ] {
        let answer = ask(&agent, "POST", path, &admin, &body);
        assert_eq!((answer.status, answer.code().as_str()), (413, "http.bad_request"), "{path}");
    }
    let head = format!("X-Api-Key: {}\r\n", "x".repeat(100_000));
    assert_eq!(agent.ask("GET", "/api/v1/jobs", &head, b"").status, 431);
}

#[test]
fn somebody_elses_file_in_the_sockets_place_is_not_followed_and_not_removed() {
    let workshop = shop();
    let store = workshop.home.path().join("store");
    std::fs::create_dir_all(&store).unwrap();
    let precious = workshop.home.path().join("precious");
    std::fs::write(&precious, "mine").unwrap();
    std::os::unix::fs::symlink(&precious, store.join("agent.sock")).unwrap();
    workshop.start_and_fail("socket.strange");
    assert_eq!(std::fs::read(&precious).unwrap(), b"mine");
    std::fs::remove_file(store.join("agent.sock")).unwrap();
    // A key that a link leads to is no key: the agent serves, signs nothing, and says so.
    std::os::unix::fs::symlink(&precious, store.join("agent.key")).unwrap();
    let agent = workshop.start();
    assert!(agent.get("/api/v1/agent")["did"].is_null());
    assert!(log(&workshop).iter().any(|row| row["notice"]["code"] == "key.unusable"));
    assert_eq!(std::fs::read(&precious).unwrap(), b"mine");
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(socket(&workshop)), 0o600);
}

/// Another user of the system at the socket. Only root can try that.
#[test]
fn another_user_of_the_system_is_not_the_owner() {
    use std::os::unix::process::CommandExt as _;
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let workshop = shop().with_http("socket = \"open.sock\"\nsocket_users = [\"12345\"]");
    let agent = workshop.start();
    std::fs::set_permissions(workshop.home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // The program may be where that user does not get to.
    let program = workshop.home.path().join("fab-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_fab-agent"), &program).unwrap();
    let asks = |uid: u32| {
        let path = workshop.home.path().join("open.sock");
        let output =
            Command::new(&program).args(["member", "list", "--socket"]).arg(path).uid(uid).gid(uid).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(asks(12345).0, Some(0));
    let (code, said) = asks(54321);
    assert!(code == Some(1) && said.contains("socket.not_yours"), "{said}");
    drop(agent);
    assert!(READ_AND_STOP.contains("read_and_stop"));
}
