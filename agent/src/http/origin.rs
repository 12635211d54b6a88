//! Whether a request without a token is of a page of this agent, or of another site's page that uses somebody's browser.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};
use drivers::Notice;

use super::problem::Problem;

/// Headers that a proxy adds. What they say is not believed; that they are there says that somebody else is behind it.
const OF_PROXIES: [&str; 8] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "cf-connecting-ip",
];

/// Whether the request came through a proxy that says so.
pub(super) fn through_proxy(headers: &HeaderMap) -> bool {
    OF_PROXIES.iter().any(|name| headers.contains_key(*name))
}

/// Whether the request is of this computer's own programs and pages. A web page of another site cannot reach a loopback
/// agent through the browser: the `Host` it would name is not loopback's, and an `Origin` of elsewhere is refused.
pub(super) fn from_here(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let host = host_of(headers);
    if !is_loopback(host) {
        return Err(forbidden("The request names a host that is not this computer."));
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if origin.is_some_and(|origin| authority(origin) != host) {
        return Err(forbidden("The request comes from a page of another site."));
    }
    // A form of another site can post without an origin in old browsers; it cannot set this header's value.
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if *method != Method::GET && matches!(site, Some("cross-site" | "same-site")) {
        return Err(forbidden("The request comes from a page of another site."));
    }
    Ok(())
}

/// Whether the request of somebody who shows no token can be of this agent's own page, or of no page at all. `hosts` are
/// names that are known to lead here: under any other name of the internet, somebody's own page could have been sent here.
pub(super) fn of_the_page(method: &Method, headers: &HeaderMap, hosts: &[String]) -> Result<(), Problem> {
    let host = host_of(headers);
    let name = name_of(host).to_ascii_lowercase();
    if !is_local_name(&name) && !hosts.contains(&name) {
        return Err(forbidden("The request names a host that is not known to be this agent's."));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    // Browsers say it of every request, but for pages without TLS; those say their origin.
    let own = match headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or_default()) {
        Some(site) => matches!(site, "same-origin" | "none"),
        None => headers.get(header::ORIGIN).is_none_or(|origin| authority(origin.to_str().unwrap_or_default()) == host),
    };
    if own { Ok(()) } else { Err(forbidden("The request comes from a page of another site.")) }
}

fn host_of(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

fn authority(origin: &str) -> &str {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).unwrap_or_default()
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = name_of(host);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Names that nobody on the internet can have: addresses, names without a dot, and those of the local network (RFC 6762,
/// RFC 8375).
fn is_local_name(name: &str) -> bool {
    let one_level = !name.is_empty() && !name.contains('.') && !name.contains(':');
    name.parse::<IpAddr>().is_ok() || one_level || [".local", ".home.arpa"].iter().any(|end| name.ends_with(end))
}

fn forbidden(happened: &str) -> Problem {
    let notice = Notice::new(
        "http.forbidden",
        happened,
        "Nothing was done.",
        "Use http://127.0.0.1 or the agent's address, name a proxy's host in `http.hosts`, or show a token.",
    );
    Problem::new(StatusCode::FORBIDDEN, &notice)
}

#[cfg(test)]
mod test {
    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];

    fn headers(pairs: Pairs) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_page_of_another_site_cannot_reach_a_loopback_agent() {
        let cases: [(Pairs, bool); 10] = [
            (&[("host", "127.0.0.1:8484")], true),
            (&[("host", "localhost:8484"), ("origin", "http://localhost:8484")], true),
            (&[("host", "[::1]:8484")], true),
            (&[("host", "evil.example")], false),
            (&[("host", "127.0.0.1.evil.example:8484")], false),
            (&[("host", "127.0.0.1:8484"), ("origin", "https://evil.example")], false),
            (&[("host", "127.0.0.1:8484"), ("origin", "null")], false),
            (&[("host", "127.0.0.1:8484"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "evil.example"), ("x-forwarded-host", "127.0.0.1")], false),
            (&[], false),
        ];
        for (pairs, admitted) in cases {
            assert_eq!(from_here(&Method::POST, &headers(pairs)).is_ok(), admitted, "{pairs:?}");
        }
    }

    #[test]
    fn a_name_that_anybody_can_have_is_refused_and_a_known_one_is_not() {
        let cases: [(Pairs, bool); 13] = [
            (&[("host", "192.168.1.5:8484")], true),
            (&[("host", "[fd00::5]:8484")], true),
            (&[("host", "workshop")], true),
            (&[("host", "pi.local:8484"), ("origin", "http://pi.local:8484")], true),
            (
                &[
                    ("host", "Fab.Example.org"),
                    ("origin", "https://fab.example.org"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
            // As nginx passes it on by itself: the browser's word for it is enough.
            (
                &[("host", "127.0.0.1:8484"), ("origin", "https://fab.example.org"), ("sec-fetch-site", "same-origin")],
                true,
            ),
            (&[("host", "rebound.evil.example:8484")], false),
            (&[("host", "192.168.1.5.evil.example")], false),
            (&[("host", "192.168.1.5:8484"), ("origin", "https://evil.example")], false),
            (&[("host", "192.168.1.5:8484"), ("origin", "null")], false),
            (&[("host", "192.168.1.5:8484"), ("sec-fetch-site", "cross-site")], false),
            (
                &[("host", "192.168.1.5:8484"), ("sec-fetch-site", "same-site"), ("origin", "http://192.168.1.5:8484")],
                false,
            ),
            (&[], false),
        ];
        for (pairs, admitted) in cases {
            let known = of_the_page(&Method::POST, &headers(pairs), &["fab.example.org".to_owned()]);
            assert_eq!(known.is_ok(), admitted, "{pairs:?}");
        }
    }
}
