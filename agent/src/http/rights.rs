//! What each route asks for: the one place that says it. A route that is not here is for nobody but the owner.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::access::What;

/// What a request asks for, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asks {
    pub(super) what: What,
    pub(super) about: About,
}

/// What a request is about: whose that is decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// Nothing in particular, or whatever is theirs.
    Theirs,
    /// A machine, and what runs on it.
    Machine(String),
    /// A job.
    Job(String),
    /// A person by name.
    Person(String),
    /// A token by its public name.
    Token(String),
}

/// What a request asks for; nothing for an address that there is not.
pub(super) fn of(method: &Method, path: &str) -> Option<Asks> {
    let asks = |what, about| Some(Asks { what, about });
    let get = matches!(*method, Method::GET | Method::HEAD);
    let Some(path) = path.strip_prefix("/api/v1/") else {
        let what = match path {
            "/" | "/page.css" | "/page.js" | "/control.js" | "/page.svg" | "/healthz" => What::Open,
            "/metrics" => What::ReadStatus,
            _ => return None,
        };
        return if get { asks(what, About::Theirs) } else { None };
    };
    let levels: Vec<&str> = path.split('/').collect();
    let name = |level: &str| percent_decode_str(level).decode_utf8_lossy().into_owned();
    let word = match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => return None,
    };
    let (what, about) = match (word, levels.as_slice()) {
        ("GET", ["openapi.json" | "me" | "agent"]) | ("POST", ["claim"]) => (What::Open, About::Theirs),
        ("POST", ["agent", "key"]) => (What::ManageKey, About::Theirs),
        ("GET", ["machines"]) => (What::ReadStatus, About::Theirs),
        (_, ["machines", machine, rest @ ..]) => (of_machine(word, rest)?, About::Machine(name(machine))),
        ("GET", ["jobs"]) => (What::ReadJob, About::Theirs),
        (_, ["jobs", job, rest @ ..]) => (of_job(word, rest)?, About::Job(name(job))),
        ("GET", ["events"]) => (What::ReadEvents, About::Theirs),
        ("GET", ["log"]) => (What::ReadLog, About::Theirs),
        ("DELETE", ["log", "people", _]) => (What::ErasePerson, About::Theirs),
        ("GET", ["members"]) => (What::ReadPeople, About::Theirs),
        ("POST", ["members"]) => (What::ManagePeople, About::Theirs),
        ("GET", ["members", person]) => (What::ReadPeople, About::Person(name(person))),
        ("PATCH" | "DELETE", ["members", person]) => (What::ManagePeople, About::Person(name(person))),
        ("PUT" | "DELETE", ["members", person, "pin"]) => (What::SetPin, About::Person(name(person))),
        ("GET" | "POST", ["tokens"]) => (What::ManageTokens, About::Theirs),
        ("DELETE", ["tokens", token]) => (What::ManageTokens, About::Token(name(token))),
        _ => return None,
    };
    asks(what, about)
}

fn of_machine(word: &str, rest: &[&str]) -> Option<What> {
    Some(match (word, rest) {
        ("GET", [] | ["capability" | "capacity"]) => What::ReadStatus,
        ("POST", ["stop"]) => What::Stop,
        ("POST", ["clear"]) => What::Clear,
        ("POST", ["resume"]) => What::ResumeMachine,
        ("POST", ["home"]) => What::Home,
        ("POST", ["jog"]) => What::Jog,
        ("POST", ["probe"]) => What::Probe,
        ("POST", ["override"]) => What::Override,
        ("POST", ["answer"]) => What::Answer,
        ("POST", ["jobs"]) => What::Submit,
        ("POST", ["quotes"]) => What::Quote,
        ("POST", ["preheat"]) => What::Preheat,
        ("POST", ["console" | "macro"]) => What::Console,
        ("POST" | "DELETE" | "PUT", ["out-of-service"]) => What::OutOfService,
        _ => return None,
    })
}

fn of_job(word: &str, rest: &[&str]) -> Option<What> {
    Some(match (word, rest) {
        ("GET", [] | ["findings" | "record"]) => What::ReadJob,
        ("GET", ["program" | "preview.svg"]) => What::ReadProgram,
        ("DELETE", []) => What::DeleteJob,
        ("POST", ["start"]) => What::StartJob,
        ("POST", ["pause"]) => What::PauseJob,
        ("POST", ["resume"]) => What::ResumeJob,
        ("POST", ["cancel"]) => What::CancelJob,
        ("POST", ["approve" | "return"]) => What::Approve,
        ("POST", ["resume-after-failure"]) => What::GoOnAfterFailure,
        _ => return None,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_route_of_the_description_asks_the_table() {
        for (method, path, _) in super::super::openapi::ROUTES {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{machine}", "mill").replace("{job}", "j").replace("{person}", "p");
            let path = path.replace("{member}", "p").replace("{token}", "t");
            assert!(of(&method, &path).is_some(), "{method} {path}");
        }
        assert_eq!(of(&Method::GET, "/api/v1/openapi.json").unwrap().what, What::Open);
    }

    #[test]
    fn what_is_written_otherwise_is_no_other_route() {
        for (method, path) in [
            (Method::POST, "/api/v1/machines/mill/stop/"),
            (Method::POST, "/api/v1//machines/mill/stop"),
            (Method::POST, "/api/v1/machines/mill/%73top"),
            (Method::POST, "/API/v1/machines/mill/stop"),
            (Method::OPTIONS, "/api/v1/machines"),
            (Method::POST, "/healthz"),
            (Method::GET, "/api/v1/machines/mill/clear"),
        ] {
            assert_eq!(of(&method, path), None, "{method} {path}");
        }
        let encoded = of(&Method::POST, "/api/v1/machines/%6dill/start%2f/stop");
        assert_eq!(encoded, None);
        let about = of(&Method::POST, "/api/v1/machines/%6dill/clear").unwrap().about;
        assert_eq!(about, About::Machine("mill".to_owned()));
    }
}
