//! Who may ask: on loopback, programs and pages of this computer; elsewhere, whoever shows the token.
//!
//! No header of a proxy is ever believed. A web page of another site cannot reach a loopback agent through the
//! browser: the `Host` it would name is not loopback's, and an `Origin` of elsewhere is refused.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use drivers::Notice;
use sha2::{Digest, Sha256};

use super::Shared;
use super::problem::Problem;
use crate::config;
use crate::store::Who;

/// Shortest token that is taken, in characters: 128 bits as base 64 have 22.
const TOKEN_MIN: usize = 22;

/// Who may ask.
#[derive(Debug)]
pub(super) struct Guard {
    /// SHA-256 of the token; absent: loopback only.
    token: Option<[u8; 32]>,
}

impl Guard {
    pub(super) fn from(settings: &config::Http) -> Result<Self, Notice> {
        let Some(path) = &settings.token_file else { return Ok(Self { token: None }) };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Notice::new(
                "http.token_unreadable",
                format!("The token file {} cannot be read: {error}.", path.display()),
                "The agent did not start.",
                "Make the file, readable by this user only.",
            )
        })?;
        let token = text.trim();
        if token.len() < TOKEN_MIN {
            return Err(Notice::new(
                "http.token_weak",
                format!("The token in {} has {} characters.", path.display(), token.len()),
                "The agent did not start.",
                format!("Use at least {TOKEN_MIN} random characters, such as those of `openssl rand -base64 32`."),
            ));
        }
        Ok(Self { token: Some(Sha256::digest(token).into()) })
    }

    /// Whether these headers may ask. A page of this computer needs no token where none is set.
    fn admits(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else { return from_here(method, headers) };
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let matches = shown.is_some_and(|shown| same(&Sha256::digest(shown.trim()), token));
        if matches { Ok(()) } else { Err(unauthorized()) }
    }

    /// What opens the picture of one job and nothing else, where a token is set: a browser shows no token for an image.
    pub(super) fn preview_key(&self, job: &str) -> Option<String> {
        let token = self.token?;
        let digest = Sha256::new().chain_update(token).chain_update("preview").chain_update(job).chain_update(token);
        Some(digest.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
    }

    fn opens_preview(&self, job: &str, shown: &str) -> bool {
        self.preview_key(job).is_some_and(|key| same(&Sha256::digest(shown), &Sha256::digest(key)))
    }
}

/// The job whose picture a request asks for, and the key it shows.
fn asks_for_preview(request: &Request) -> Option<(&str, &str)> {
    let id = request.uri().path().strip_prefix("/api/v1/jobs/")?.strip_suffix("/preview.svg")?;
    let key = request.uri().query()?.strip_prefix("key=")?;
    (*request.method() == Method::GET).then_some((id, key))
}

/// Checks every request. The page itself and `/healthz` tell nothing of the machines and need no token.
pub(super) async fn check(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let open =
        matches!(request.uri().path(), "/" | "/page.css" | "/page.js" | "/control.js" | "/page.svg" | "/healthz");
    let admitted = shared.guard.admits(request.method(), request.headers()).or_else(|problem| {
        let shows = asks_for_preview(&request).is_some_and(|(id, key)| shared.guard.opens_preview(id, key));
        if shows { Ok(()) } else { Err(problem) }
    });
    match admitted {
        Err(problem) if !(open && shared.guard.token.is_some()) => problem.into_response(),
        _ => {
            let who = if shared.guard.token.is_some() { "token" } else { "local" };
            let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| from.ip());
            let from = from.map_or_else(String::new, |from| from.to_string());
            request.extensions_mut().insert(Who { who: who.to_owned(), from });
            next.run(request).await
        }
    }
}

/// Compares hashes without an early end, so that time tells nothing of what was wanted.
fn same(shown: &[u8], wanted: &[u8]) -> bool {
    shown.len() == wanted.len() && shown.iter().zip(wanted).fold(0_u8, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn from_here(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_loopback(host) {
        return Err(forbidden("The request names a host that is not this computer."));
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if let Some(origin) = origin {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).unwrap_or_default();
        if authority != host {
            return Err(forbidden("The request comes from a page of another site."));
        }
    }
    // A form of another site can post without an origin in old browsers; it cannot set this header's value.
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if *method != Method::GET && matches!(site, Some("cross-site" | "same-site")) {
        return Err(forbidden("The request comes from a page of another site."));
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn unauthorized() -> Problem {
    let notice = Notice::new(
        "http.unauthorized",
        "The request shows no valid token.",
        "Nothing was done.",
        "Send the agent's token as `Authorization: Bearer …`.",
    );
    Problem::new(StatusCode::UNAUTHORIZED, &notice)
}

fn forbidden(happened: &str) -> Problem {
    let notice = Notice::new(
        "http.forbidden",
        happened,
        "Nothing was done.",
        "Use http://127.0.0.1, or set a token (`http.token_file`) to reach the agent from elsewhere.",
    );
    Problem::new(StatusCode::FORBIDDEN, &notice)
}

#[cfg(test)]
mod test {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_page_of_another_site_cannot_reach_a_loopback_agent() {
        let guard = Guard { token: None };
        for (pairs, admitted) in [
            (&[("host", "127.0.0.1:8484")][..], true),
            (&[("host", "localhost:8484"), ("origin", "http://localhost:8484")], true),
            (&[("host", "[::1]:8484")], true),
            (&[("host", "evil.example")], false),
            (&[("host", "127.0.0.1.evil.example:8484")], false),
            (&[("host", "127.0.0.1:8484"), ("origin", "https://evil.example")], false),
            (&[("host", "127.0.0.1:8484"), ("origin", "null")], false),
            (&[("host", "127.0.0.1:8484"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "evil.example"), ("x-forwarded-host", "127.0.0.1")], false),
            (&[], false),
        ] {
            assert_eq!(guard.admits(&Method::POST, &headers(pairs)).is_ok(), admitted, "{pairs:?}");
        }
    }

    #[test]
    fn where_a_token_is_set_only_the_token_counts() {
        let guard = Guard { token: Some(Sha256::digest("correct-horse-battery-staple").into()) };
        for (pairs, admitted) in [
            (&[("host", "127.0.0.1:8484")][..], false),
            (&[("authorization", "Bearer correct-horse-battery-staple")], true),
            (&[("authorization", "Bearer correct-horse-battery-stapl")], false),
            (&[("authorization", "Basic correct-horse-battery-staple")], false),
            (&[("x-forwarded-for", "127.0.0.1")], false),
        ] {
            assert_eq!(guard.admits(&Method::GET, &headers(pairs)).is_ok(), admitted, "{pairs:?}");
        }
    }
}
