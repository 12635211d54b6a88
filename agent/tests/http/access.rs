//! Who may ask, and what a key opens.

use super::agent::{PLATE, Workshop, text};
use super::{TOKEN, id};

#[test]
fn only_this_computer_may_ask_without_a_token() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    let evil = b"POST /api/v1/machines/mill/stop HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(agent.raw(evil).code(), "http.forbidden");
    let foreign = agent.ask("POST", "/api/v1/machines/mill/stop", "Origin: https://evil.example\r\n", b"");
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "http.forbidden"));
    let page = agent.ask("GET", "/", "", b"");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(!page.head.contains("access-control-allow-origin"), "{}", page.head);
}

#[test]
fn where_a_token_is_set_nothing_is_told_or_done_without_it() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]).with_token(TOKEN);
    let agent = workshop.start();
    for path in ["/api/v1/machines", "/api/v1/jobs", "/api/v1/events", "/metrics"] {
        for headers in ["", "Authorization: Bearer wrong-wrong-wrong-wrong\r\n", "X-Forwarded-For: 127.0.0.1\r\n"] {
            let answer = agent.ask("GET", path, headers, b"");
            assert_eq!((answer.status, answer.code().as_str()), (401, "http.unauthorized"), "{path} {headers}");
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    assert_eq!(agent.ask("GET", "/healthz", "", b"").status, 200);
    let shown = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(agent.ask("GET", "/api/v1/machines", &shown, b"").status, 200);
}

#[test]
fn a_job_has_a_picture_that_is_drawn_once_and_can_do_nothing() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PLATE);
    let address = text(&agent.job_is(&job, "queued"), "preview").to_owned();
    assert_eq!(address, format!("/api/v1/jobs/{}/preview.svg", id(&job)));
    let picture = agent.ask("GET", &address, "", b"");
    assert_eq!(picture.status, 200, "{picture:?}");
    let head = picture.head.to_ascii_lowercase();
    for header in ["content-type: image/svg+xml", "content-security-policy: default-src 'none'", "nosniff"] {
        assert!(head.contains(header), "{head}");
    }
    assert!(picture.body.starts_with("<svg") && picture.body.ends_with("</svg>\n"));
    assert!(picture.body.contains("part.nc") && picture.body.contains("6040") && picture.body.len() < 500_000);
    let kept: Vec<_> = workshop.home.path().join("store/previews").read_dir().unwrap().flatten().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    std::fs::write(kept[0].path(), "<svg>kept</svg>").unwrap();
    assert_eq!(agent.ask("GET", &address, "", b"").body, "<svg>kept</svg>");
    let nothing = agent.submit("mill", b"G21 G90\nG4 P1\nM2\n");
    let nothing = agent.ask("GET", &format!("/api/v1/jobs/{}/preview.svg", id(&nothing)), "", b"");
    assert_eq!((nothing.status, nothing.body.as_str()), (204, ""));
}

#[test]
fn where_a_token_is_set_a_picture_opens_with_its_own_key_and_that_key_opens_nothing_else() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]).with_token(TOKEN);
    let agent = workshop.start();
    let shown = format!("Authorization: Bearer {TOKEN}\r\n");
    let submit = || {
        let job = agent.ask("POST", "/api/v1/machines/mill/jobs?name=part.nc", &shown, PLATE).json();
        let job = agent.ask("GET", &format!("/api/v1/jobs/{}", id(&job)), &shown, b"").json();
        text(&job, "preview").to_owned()
    };
    let (one, other) = (submit(), submit());
    let status = |path: &str| agent.ask("GET", path, "", b"").status;
    assert_eq!((status(&one), status(&other)), (200, 200));
    let (path, key) = one.split_once('?').unwrap();
    let (other_path, other_key) = other.split_once('?').unwrap();
    assert!(key != other_key && !one.contains(TOKEN));
    for closed in [
        path.to_owned(),
        format!("{path}?{other_key}"),
        format!("{other_path}?{key}"),
        format!("{path}?key="),
        format!("{}?{key}", path.replace("/preview.svg", "")),
        format!("{}?{key}", path.replace("/preview.svg", "/program")),
        format!("/api/v1/jobs?{key}"),
    ] {
        assert_eq!(status(&closed), 401, "{closed}");
    }
}
