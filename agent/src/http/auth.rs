//! Who asks, and whether they may: every request goes through here, and the table of `access` decides.
//!
//! The owner is who reaches the agent's socket, or shows the token of `http.token_file`. A person is who shows a token of
//! the book. Anybody else is nobody, and may what `http.without_token` says. No header of a proxy is ever believed; that
//! one is there can only take rights away.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use drivers::Notice;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::claim::Claim;
use super::origin::{self, from_here, through_proxy};
use super::problem::Problem;
use super::rights::{self, About, Asks};
use super::stream::Peer;
use super::{Shared, no_such_route};
use crate::access::{self, Actor, Denial, Means, Pace, Pacing, What, Whose};
use crate::config::{self, WithoutToken};
use crate::desk::Refusal;
use crate::host::{clock, secret};
use crate::store::{Class, Fact, Who};

/// Shortest token that is taken from a file, in characters: 128 bits as base 64 have 22.
const TOKEN_MIN: usize = 22;

/// Answers to wrong tokens of one address: ten at once, then slower and slower. Nobody guesses 256 bits; this keeps a
/// client with an old token from filling the log and the processor.
const WRONG: Pacing = Pacing { free: 10, first_ms: 250, last_ms: 5_000, forgotten_ms: 15 * 60_000, keys_max: 1024 };

/// Answers that are held back at once. More are refused at once: waiting for one costs a connection.
const HELD_BACK: usize = 32;

/// Wrong tokens of one address that are told one by one; after that each hundredth is.
const TOLD: u32 = 3;

/// Who may ask.
#[derive(Debug)]
pub(super) struct Guard {
    /// SHA-256 of the token of the file, where there is one.
    token: Option<access::token::Hash>,
    without: WithoutToken,
    hosts: Vec<String>,
    /// Makes the keys of pictures: chance of this life of the agent.
    pictures: [u8; 32],
    wrong: Mutex<Pace<IpAddr>>,
    held_back: Semaphore,
    pub(super) claim: Claim,
}

impl Guard {
    pub(super) fn from(settings: &config::Http) -> Result<Self, Notice> {
        let token = settings.token_file.as_deref().map(read_token).transpose()?;
        Ok(Self {
            token,
            without: settings.without_token,
            hosts: settings.hosts.clone(),
            pictures: secret::chance().map_err(|error| no_chance(&error))?,
            wrong: Mutex::new(Pace::new(WRONG)),
            held_back: Semaphore::new(HELD_BACK),
            claim: Claim::default(),
        })
    }

    /// Who asks.
    fn actor(&self, shared: &Shared, peer: Peer, method: &Method, headers: &HeaderMap) -> Result<Actor, Refused> {
        let from = peer.from();
        if let Peer::Socket { uid } = peer {
            return Ok(Actor::owner(Means::Socket { uid }, from));
        }
        match shown(headers) {
            Shown::One(shown) => self.known(shared, shown, &from).map_err(Refused::Wrong),
            Shown::Several => Err(Refused::Wrong(Denial::WrongToken)),
            Shown::Nothing => self.without(peer, method, headers),
        }
    }

    /// Who a token belongs to.
    fn known(&self, shared: &Shared, shown: &str, from: &str) -> Result<Actor, Denial> {
        let hash = access::token::hash(shown);
        if self.token.is_some_and(|token| access::token::same(&hash, &token)) {
            return Ok(Actor::owner(Means::TokenFile, from));
        }
        let (book, now_ms) = (shared.desk.store().book(), clock::wall_ms());
        let (actor, token) = book.admits(&hash, now_ms, from)?;
        if token.use_is_news(now_ms) {
            shared.desk.store().token_used(hash, now_ms);
        }
        Ok(actor)
    }

    /// Somebody who shows nothing.
    fn without(&self, peer: Peer, method: &Method, headers: &HeaderMap) -> Result<Actor, Refused> {
        match self.without {
            WithoutToken::Everything if peer.client().is_loopback() && !through_proxy(headers) => {
                from_here(method, headers).map_err(Refused::Elsewhere)?;
                Ok(Actor::owner(Means::ThisComputer, peer.from()))
            }
            WithoutToken::Nothing => Ok(Actor::nobody(peer.from())),
            WithoutToken::ReadAndStop | WithoutToken::Everything => {
                origin::of_the_page(method, headers, &self.hosts).map_err(Refused::Elsewhere)?;
                Ok(Actor::nobody(peer.from()))
            }
        }
    }

    /// Whether somebody may, by the table and by what is configured for nobody.
    fn may(&self, actor: &Actor, what: What, whose: Whose, machine: Option<&str>) -> Result<(), Denial> {
        if actor.role.is_none() && self.without == WithoutToken::Nothing && what != What::Open {
            return Err(Denial::NoToken);
        }
        access::may(actor, what, whose, machine)
    }

    /// What opens the picture of one job and nothing else, where a token is wanted: a browser shows no token for an image.
    pub(super) fn preview_key(&self, job: &str) -> Option<String> {
        if self.without == WithoutToken::Everything && self.token.is_none() {
            return None;
        }
        let secret = self.pictures;
        let digest = Sha256::new().chain_update(secret).chain_update("preview").chain_update(job).chain_update(secret);
        Some(digest.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
    }

    fn opens_preview(&self, job: &str, shown: &str) -> bool {
        let hash = |text: &str| access::token::hash(text);
        self.preview_key(job).is_some_and(|key| access::token::same(&hash(shown), &hash(&key)))
    }

    /// A wrong token or code came from somewhere: it is counted, told, and answered the more slowly the more there are.
    pub(super) async fn wrong(&self, shared: &Shared, peer: Peer, what: &str, denial: Denial) -> Problem {
        let (client, now_ms) =
            (network_of(peer.client()), i64::try_from(clock::since_boot_us() / 1000).unwrap_or(i64::MAX));
        let (failures, wait_ms) = {
            let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            (wrong.failed(&client, now_ms), wrong.wait_ms(&client, now_ms))
        };
        if failures <= TOLD || failures % 100 == 0 {
            let from = peer.from();
            tracing::warn!(from, failures, "a wrong {what}");
            let body = json!({ "type": "wrong_credential", "what": what, "failures": failures });
            let who = Who { who: "nobody".to_owned(), from, ..Who::default() };
            shared.desk.store().tell([Fact::new(Class::Person, body).by(Some(who))], []);
        }
        if wait_ms == 0 {
            return denied(&denial);
        }
        let wait_ms = wait_ms.unsigned_abs();
        let Ok(_place) = self.held_back.try_acquire() else {
            return denied(&Denial::TooFast { wait_s: wait_ms.div_ceil(1000) });
        };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        denied(&denial)
    }
}

/// Why it is not known who asks, or that is of no use.
enum Refused {
    /// What was shown is no token.
    Wrong(Denial),
    /// The request is of a page of elsewhere.
    Elsewhere(Problem),
}

/// What a request shows.
enum Shown<'h> {
    Nothing,
    One(&'h str),
    /// Two that differ, or one that is no text: nobody sends that who means well.
    Several,
}

/// The token of a request: `Authorization: Bearer …`, or `X-Api-Key` as slicers send it. Never of its address.
fn shown(headers: &HeaderMap) -> Shown<'_> {
    let bearer =
        headers.get_all(header::AUTHORIZATION).iter().map(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let keys = headers.get_all("x-api-key").iter().map(|value| value.to_str().ok());
    let mut found: Option<&str> = None;
    for shown in bearer.chain(keys) {
        let Some(shown) = shown.map(str::trim) else { return Shown::Several };
        if found.is_some_and(|found| found != shown) {
            return Shown::Several;
        }
        found = Some(shown);
    }
    found.map_or(Shown::Nothing, Shown::One)
}

/// Who is counted as one: an address, or the network of a subscriber, who has as many IPv6 addresses as they like.
fn network_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The job whose picture a request asks for, and the key it shows.
fn asks_for_preview(request: &Request) -> Option<(&str, &str)> {
    let id = request.uri().path().strip_prefix("/api/v1/jobs/")?.strip_suffix("/preview.svg")?;
    let key = request.uri().query()?.strip_prefix("key=")?;
    (*request.method() == Method::GET).then_some((id, key))
}

/// Checks every request, and notes who it is of.
pub(super) async fn check(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    // Every connection has one; a request without would be nobody's.
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return denied(&Denial::NoToken).into_response();
    };
    if let Peer::Stranger { uid } = peer {
        tracing::warn!(uid, "a user who may not use the agent's socket tried to");
        return not_yours().into_response();
    }
    let asks = rights::of(request.method(), request.uri().path());
    let actor = match shared.guard.actor(&shared, peer, request.method(), request.headers()) {
        Ok(actor) => actor,
        // The page itself must come up, so that it can ask for the right token.
        Err(Refused::Wrong(_)) if is_page(asks.as_ref(), request.uri().path()) => Actor::nobody(peer.from()),
        Err(Refused::Wrong(denial)) => return shared.guard.wrong(&shared, peer, "token", denial).await.into_response(),
        Err(Refused::Elsewhere(problem)) => return problem.into_response(),
    };
    let opened = asks_for_preview(&request).is_some_and(|(id, key)| shared.guard.opens_preview(id, key));
    let allowed = match &asks {
        _ if opened => Ok(()),
        Some(asks) => allowed(&shared, &actor, asks).await,
        // What there is not is nobody's business but the owner's, who is told which methods there are.
        None if actor.role.is_some() => Ok(()),
        None if shared.guard.without == WithoutToken::Nothing => Err(denied(&Denial::NoToken)),
        None => return no_such_route().await,
    };
    if let Err(problem) = allowed {
        return problem.into_response();
    }
    request.extensions_mut().insert(Who::of(&actor));
    request.extensions_mut().insert(Arc::new(actor));
    next.run(request).await
}

fn is_page(asks: Option<&Asks>, path: &str) -> bool {
    asks.is_some_and(|asks| asks.what == What::Open) && !path.starts_with("/api/")
}

/// Whether somebody may do what a request asks for, to whatever it is about.
async fn allowed(shared: &Shared, actor: &Actor, asks: &Asks) -> Result<(), Problem> {
    let what = asks.what;
    let (whose, machine) = match &asks.about {
        About::Theirs => (Whose::Own, None),
        About::Machine(machine) => (of_machine(shared, actor, machine), Some(machine.clone())),
        // Nobody need know whose it is to be told that they may, or to hold it.
        About::Job(_) if shared.guard.may(actor, what, Whose::Others, None).is_ok() && actor.machines.is_none() => {
            (Whose::Others, None)
        }
        About::Job(_) if actor.role.is_none() => (Whose::Others, None),
        About::Job(id) => match shared.desk.job(id).await {
            Ok(job) => (actor.owns(job.owner.as_deref()), Some(job.machine.clone())),
            // Whoever may nothing of that kind is not told what there is; the others are told that there is none.
            Err(Refusal::Unknown(_)) => (Whose::Own, None),
            Err(refusal) => return Err(refusal.into()),
        },
        About::Person(name) => {
            let own = actor.person.is_some() && actor.name == *name;
            (if own { Whose::Own } else { Whose::Others }, None)
        }
        About::Token(id) => {
            let book = shared.desk.store().book();
            (actor.owns(book.token(id).map(|token| token.person.as_str())), None)
        }
    };
    shared.guard.may(actor, what, whose, machine.as_deref()).map_err(|denial| denied(&denial))
}

/// Whose the work on a machine is. A machine without work is anybody's who may work at it.
fn of_machine(shared: &Shared, actor: &Actor, name: &str) -> Whose {
    let Some(machine) = shared.desk.machine(name) else { return Whose::Own };
    let snapshot = machine.snapshot();
    let running = snapshot.job.as_ref().filter(|progress| !progress.phase.is_over());
    let Some(running) = running else { return Whose::Own };
    let jobs = shared.desk.jobs();
    actor.owns(jobs.get(&running.job).and_then(|job| job.owner.as_deref()))
}

impl Who {
    /// Who asks, as it is written down.
    fn of(actor: &Actor) -> Self {
        let (who, from) = (actor.name.clone(), actor.from.clone());
        Self { who, from, means: actor.means.word(), person: actor.person.clone() }
    }
}

/// A denial as a problem document.
pub(super) fn denied(denial: &Denial) -> Problem {
    let status = match denial {
        Denial::NoToken | Denial::WrongToken => StatusCode::UNAUTHORIZED,
        Denial::TooFast { .. } => StatusCode::TOO_MANY_REQUESTS,
        Denial::Role { .. } | Denial::Scope { .. } | Denial::NotYours | Denial::Machine => StatusCode::FORBIDDEN,
        Denial::WrongPin | Denial::WrongCode => StatusCode::FORBIDDEN,
        Denial::NoPerson | Denial::UnknownToken => StatusCode::NOT_FOUND,
        Denial::NameTaken | Denial::Full { .. } => StatusCode::CONFLICT,
        Denial::Name(_) | Denial::TooMuch | Denial::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, &denial.notice())
}

fn not_yours() -> Problem {
    let notice = Notice::new(
        "socket.not_yours",
        "The agent's socket is for root, the agent's own user, and who is named in its configuration.",
        "Nothing was done.",
        "Use `sudo`, have your user named in `http.socket_users`, or use a token.",
    );
    Problem::new(StatusCode::FORBIDDEN, &notice)
}

fn read_token(path: &std::path::Path) -> Result<access::token::Hash, Notice> {
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
    Ok(access::token::hash(token))
}

pub(super) fn no_chance(error: &std::io::Error) -> Notice {
    Notice::new(
        "agent.no_chance",
        format!("The system gives no random numbers: {error}."),
        "No secret was made.",
        "Try again; a computer that was switched on just now needs a moment.",
    )
}
