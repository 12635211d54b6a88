//! Routes of people and tokens: who there is, what they may, and what opens it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drivers::Notice;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::auth::{denied, no_chance};
use super::jobs::bad;
use super::problem::Problem;
use super::stream::Peer;
use crate::access::people::{self, Competence, Person};
use crate::access::token::{self, LABEL_MAX, Token};
use crate::access::{Actor, Change, Denial, Role, What, Whose};
use crate::host::{clock, secret};
use crate::keys;
use crate::store::{Class, Fact, NotChanged, Who};

/// Largest body of these routes, in bytes: a person with every machine has some kilobytes.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;

/// Longest life of a token that can be asked for, in days.
const DAYS_MAX: u32 = 3660;

const DAY_MS: i64 = 24 * 3_600_000;

/// Who asks, as every request has it.
pub(super) type Asker = Extension<Arc<Actor>>;

type Body<T> = Result<Json<T>, JsonRejection>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompetenceBody {
    machine: String,
    until: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMember {
    name: String,
    role: Role,
    #[serde(default)]
    competence: Vec<CompetenceBody>,
    pin: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedMember {
    role: Option<Role>,
    competence: Option<Vec<CompetenceBody>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinBody {
    pin: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// Whose; absent: who asks.
    member: Option<String>,
    #[serde(default)]
    label: String,
    /// What it is good for at most; absent: what its person may.
    scope: Option<Role>,
    machines: Option<BTreeSet<String>>,
    /// Days it lives; absent: until it is revoked.
    days: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyBody {
    compromised: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimBody {
    code: String,
    name: String,
}

/// Who asks, and what the agent takes them for.
pub(super) async fn me(Extension(actor): Asker) -> Json<Value> {
    Json(json!({
        "name": actor.name, "person": actor.person, "role": actor.role, "scope": actor.scope,
        "machines": actor.machines, "means": actor.means.word(), "from": actor.from,
    }))
}

pub(super) async fn list(State(shared): State<Shared>, Extension(actor): Asker) -> Json<Value> {
    let book = shared.desk.store().book();
    let all = actor.can(What::ReadPeople, Whose::Others);
    let seen = book.people().filter(|person| all || actor.person.as_ref() == Some(&person.id));
    Json(json!({ "members": seen.map(member).collect::<Vec<_>>() }))
}

pub(super) async fn one(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(member(&known(&shared, &name)?)))
}

pub(super) async fn add(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    body: Body<NewMember>,
) -> Result<Response, Problem> {
    let asked = read(body)?;
    let person = Person {
        id: people::new_id(chance()?),
        name: people::name(&asked.name).map_err(|denial| denied(&denial))?,
        role: asked.role,
        competence: competence(&shared, asked.competence)?,
        pin: match asked.pin {
            Some(pin) => Some(shared.pins.hash(pin).await.map_err(|denial| denied(&denial))?),
            None => None,
        },
        added_ms: clock::wall_ms(),
    };
    let told = about(&person, "member_add", json!({ "role": person.role }));
    change(&shared, Change::Add(person.clone()), told.by(Some(who))).await?;
    let location = crate::client::path(&["api", "v1", "members", &person.name], []);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(member(&person))).into_response())
}

pub(super) async fn set(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(who): Extension<Who>,
    body: Body<ChangedMember>,
) -> Result<Json<Value>, Problem> {
    let (asked, mut person) = (read(body)?, known(&shared, &name)?);
    if let Some(role) = asked.role {
        person.role = role;
    }
    if let Some(machines) = asked.competence {
        person.competence = competence(&shared, machines)?;
    }
    let told = about(&person, "member_set", json!({ "role": person.role, "competence": machines_of(&person) }));
    change(&shared, Change::Set(person.clone()), told.by(Some(who))).await?;
    Ok(Json(member(&person)))
}

/// Somebody goes: their tokens open nothing from now on.
pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(who): Extension<Who>,
) -> Result<Json<Value>, Problem> {
    let person = known(&shared, &name)?;
    let told = about(&person, "member_remove", json!({})).by(Some(who));
    let written = change(&shared, Change::Remove { name }, told).await?;
    Ok(Json(json!({ "removed": true, "on_disk": written })))
}

pub(super) async fn set_pin(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(who): Extension<Who>,
    body: Body<PinBody>,
) -> Result<Json<Value>, Problem> {
    let PinBody { pin } = read(body)?;
    known(&shared, &name)?;
    let pin = shared.pins.hash(pin).await.map_err(|denial| denied(&denial))?;
    pin_is(&shared, &name, Some(pin), who).await
}

pub(super) async fn remove_pin(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(who): Extension<Who>,
) -> Result<Json<Value>, Problem> {
    pin_is(&shared, &name, None, who).await
}

async fn pin_is(shared: &Shared, name: &str, pin: Option<String>, who: Who) -> Result<Json<Value>, Problem> {
    let mut person = known(shared, name)?;
    person.pin = pin;
    let told = about(&person, "pin_set", json!({ "pin": person.pin.is_some() })).by(Some(who));
    change(shared, Change::Set(person.clone()), told).await?;
    Ok(Json(member(&person)))
}

pub(super) async fn tokens(State(shared): State<Shared>, Extension(actor): Asker) -> Json<Value> {
    let book = shared.desk.store().book();
    let all = actor.can(What::ManageTokens, Whose::Others);
    let seen = book.tokens().filter(|(_, token)| all || actor.person.as_ref() == Some(&token.person));
    let mut seen: Vec<_> = seen.map(|(_, token)| token).collect();
    seen.sort_by_key(|token| token.made_ms);
    let name = |token: &Token| book.person_of(&token.person).map(|person| person.name.clone());
    Json(json!({ "tokens": seen.into_iter().map(|token| shown(token, name(token).as_deref())).collect::<Vec<_>>() }))
}

/// Makes a token. Its secret is in this answer and nowhere else.
pub(super) async fn make_token(
    State(shared): State<Shared>,
    Extension(actor): Asker,
    Extension(who): Extension<Who>,
    body: Body<NewToken>,
) -> Result<Response, Problem> {
    let asked = read(body)?;
    let person = match (asked.member, &actor.person) {
        (Some(name), _) => known(&shared, &name)?,
        (None, Some(own)) => {
            shared.desk.store().book().person_of(own).cloned().ok_or_else(|| denied(&Denial::NoPerson))?
        }
        (None, None) => return Err(bad("`member` says whose token it is; who asks is no member.")),
    };
    let whose = actor.owns(Some(&person.id));
    crate::access::may(&actor, What::ManageTokens, whose, None).map_err(|denial| denied(&denial))?;
    let scope = asked.scope.unwrap_or(person.role);
    // A token makes no token that is good for more than itself.
    if actor.scope.is_some_and(|own| !own.includes(scope)) {
        return Err(denied(&Denial::TooMuch));
    }
    if asked.label.chars().count() > LABEL_MAX || asked.label.chars().any(char::is_control) {
        return Err(bad(&format!("A label has at most {LABEL_MAX} characters, and none that does not show.")));
    }
    if asked.days.is_some_and(|days| days == 0 || days > DAYS_MAX) {
        return Err(bad(&format!("A token lives 1 to {DAYS_MAX} days.")));
    }
    for machine in asked.machines.iter().flatten() {
        there_is(&shared, machine)?;
    }
    let now_ms = clock::wall_ms();
    let token = Token {
        id: token::new_id(chance()?),
        person: person.id.clone(),
        label: asked.label,
        scope,
        machines: asked.machines,
        made_ms: now_ms,
        until_ms: asked.days.map(|days| now_ms.saturating_add(i64::from(days).saturating_mul(DAY_MS))),
        used_ms: None,
        revoked_ms: None,
    };
    let secret = token::secret(chance()?);
    let told =
        about(&person, "token_make", json!({ "token": token.id, "scope": token.scope, "machines": token.machines }));
    change(&shared, Change::AddToken(token::hash(&secret), token.clone()), told.by(Some(who))).await?;
    let mut document = shown(&token, Some(&person.name));
    document["secret"] = json!(secret);
    Ok((StatusCode::CREATED, Json(document)).into_response())
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
) -> Result<Json<Value>, Problem> {
    let body = json!({ "type": "asked", "action": "token_revoke", "token": id });
    let told = Fact::new(Class::Person, body).by(Some(who));
    let written = change(&shared, Change::Revoke { id: id.clone(), at_ms: clock::wall_ms() }, told).await?;
    Ok(Json(json!({ "token": id, "revoked": true, "on_disk": written })))
}

/// Whoever has the claim code becomes an admin, with a token, once.
pub(super) async fn claim(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    Extension(who): Extension<Who>,
    body: Body<ClaimBody>,
) -> Result<Response, Problem> {
    let asked = read(body)?;
    let name = people::name(&asked.name).map_err(|denial| denied(&denial))?;
    let Some(taken) = shared.guard.claim.take(&asked.code) else {
        return Err(shared.guard.wrong(&shared, peer, "claim code", Denial::WrongCode).await);
    };
    let now_ms = clock::wall_ms();
    let person = Person {
        id: people::new_id(chance()?),
        name,
        role: Role::Admin,
        competence: Vec::new(),
        pin: None,
        added_ms: now_ms,
    };
    let token = Token {
        id: token::new_id(chance()?),
        person: person.id.clone(),
        label: "claim".to_owned(),
        scope: Role::Admin,
        machines: None,
        made_ms: now_ms,
        until_ms: None,
        used_ms: None,
        revoked_ms: None,
    };
    let secret = token::secret(chance()?);
    let told = about(&person, "claim", json!({ "token": token.id })).by(Some(who));
    change(&shared, Change::Claim(person.clone(), token::hash(&secret), token.clone()), told).await?;
    taken.used_up();
    let mut document = shown(&token, Some(&person.name));
    document["secret"] = json!(secret);
    Ok((StatusCode::CREATED, Json(json!({ "member": member(&person), "token": document }))).into_response())
}

/// The agent to the world: its key, and which log it keeps.
pub(super) async fn agent(State(shared): State<Shared>) -> Json<Value> {
    let did = shared.key.borrow().as_ref().map(crate::store::key::Key::did);
    let log = shared.desk.store().newest().log;
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "did": did, "log": log }))
}

/// A new key takes the old one's place. The old one signs that, and its end is in the log.
pub(super) async fn new_key(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    body: Body<KeyBody>,
) -> Result<Json<Value>, Problem> {
    let KeyBody { compromised } = read(body)?;
    let changed = keys::change(&shared.key, shared.desk.store(), shared.folder.clone(), who, compromised).await;
    changed.map(Json).map_err(|notice| Problem::new(StatusCode::SERVICE_UNAVAILABLE, &notice))
}

/// A machine's document as somebody may see it: the name of a program is its owner's.
pub(super) fn for_whom(shared: &Shared, actor: &Actor, mut document: Value) -> Value {
    let owner = document["job"]["id"].as_str().and_then(|id| shared.desk.jobs().get(id)?.owner.clone());
    if !actor.can(What::ReadJob, actor.owns(owner.as_deref())) {
        if let Some(job) = document["job"].as_object_mut() {
            job.remove("name");
        }
    }
    document
}

/// What the body of a route holds, as a JSON schema; nothing for routes that take none.
pub(super) fn body_schema(method: &str, path: &str) -> Option<Value> {
    let text = |what: &str| json!({ "type": "string", "description": what });
    let object = |properties: Value, required: &[&str]| json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required });
    let role = || json!({ "enum": Role::ALL.map(Role::word) });
    let until = json!({ "type": ["string", "null"], "format": "date-time" });
    let machine = object(json!({ "machine": text("A machine of this agent"), "until": until }), &["machine"]);
    let competence = || json!({ "type": "array", "maxItems": people::COMPETENCE_MAX, "items": machine });
    let pin = || json!({ "type": "string", "minLength": crate::access::pin::PIN_MIN, "maxLength": crate::access::pin::PIN_MAX });
    Some(match (method, path.strip_prefix("/api/v1/")?) {
        ("post", "members") => object(
            json!({ "name": text("Unique"), "role": role(), "competence": competence(), "pin": pin() }),
            &["name", "role"],
        ),
        ("patch", "members/{member}") => object(json!({ "role": role(), "competence": competence() }), &[]),
        ("put", "members/{member}/pin") => object(json!({ "pin": pin() }), &["pin"]),
        ("post", "tokens") => object(
            json!({
                "member": text("Whose; absent: who asks"), "label": text("What it is for"), "scope": role(),
                "machines": { "type": ["array", "null"], "items": text("A machine of this agent") },
                "days": { "type": ["integer", "null"], "minimum": 1, "maximum": DAYS_MAX },
            }),
            &[],
        ),
        ("post", "claim") => {
            object(json!({ "code": text("The claim code"), "name": text("The admin's name") }), &["code", "name"])
        }
        ("post", "agent/key") => object(
            json!({ "compromised": { "type": "boolean", "description": "Whether somebody else may have the old key" } }),
            &["compromised"],
        ),
        _ => return None,
    })
}

fn known(shared: &Shared, name: &str) -> Result<Person, Problem> {
    shared.desk.store().book().person(name).cloned().ok_or_else(|| denied(&Denial::NoPerson))
}

fn there_is(shared: &Shared, machine: &str) -> Result<(), Problem> {
    let unknown = || Denial::Invalid(format!("There is no machine called `{machine}` here."));
    shared.desk.machine(machine).map(|_| ()).ok_or_else(|| denied(&unknown()))
}

fn competence(shared: &Shared, asked: Vec<CompetenceBody>) -> Result<Vec<Competence>, Problem> {
    let mut seen = BTreeSet::new();
    for CompetenceBody { machine, .. } in &asked {
        there_is(shared, machine)?;
        if !seen.insert(machine) {
            return Err(bad(&format!("`{machine}` is named twice.")));
        }
    }
    let until = |text: String| {
        let time = text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond);
        time.map_err(|_| bad(&format!("`{text}` is no time. Write 2027-05-31T00:00:00Z.")))
    };
    let known = |asked: CompetenceBody| {
        Ok(Competence { machine: asked.machine, until_ms: asked.until.map(until).transpose()? })
    };
    asked.into_iter().map(known).collect()
}

async fn change(shared: &Shared, change: Change, told: Fact) -> Result<bool, Problem> {
    shared.desk.store().change_book(change, told).await.map_err(|why| match why {
        NotChanged::Denied(denial) => denied(&denial),
        NotChanged::Trouble(notice) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, &notice),
    })
}

/// A fact about a person. It names their identifier, not them: what is in the body of a row is not erased.
fn about(person: &Person, action: &str, more: Value) -> Fact {
    let mut body = more;
    body["type"] = json!("asked");
    body["action"] = json!(action);
    body["person"] = json!(person.id);
    Fact::new(Class::Person, body)
}

fn member(person: &Person) -> Value {
    json!({
        "id": person.id, "name": person.name, "role": person.role, "competence": machines_of(person),
        "pin": person.pin.is_some(), "added_at": clock::rfc3339(person.added_ms),
    })
}

fn machines_of(person: &Person) -> Vec<Value> {
    let of = |known: &Competence| json!({ "machine": known.machine, "until": known.until_ms.map(clock::rfc3339) });
    person.competence.iter().map(of).collect()
}

fn shown(token: &Token, name: Option<&str>) -> Value {
    json!({
        "id": token.id, "member": name, "label": token.label, "scope": token.scope, "machines": token.machines,
        "made_at": clock::rfc3339(token.made_ms), "until": token.until_ms.map(clock::rfc3339),
        "last_used_at": token.used_ms.map(clock::rfc3339), "revoked_at": token.revoked_ms.map(clock::rfc3339),
    })
}

fn chance<const N: usize>() -> Result<[u8; N], Problem> {
    secret::chance().map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, &no_chance(&error)))
}

fn read<T>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(read)| read).map_err(|rejection| {
        let to_do = "Correct the request and send it again; /api/v1/openapi.json says what it holds.";
        let happened = format!("{}.", rejection.body_text());
        Problem::new(rejection.status(), &Notice::new("http.bad_request", happened, "Nothing was done.", to_do))
    })
}
