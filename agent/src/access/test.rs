//! The table tested whole, people, tokens, PINs and paces.

use std::time::{Duration, Instant};

use super::token::{TOKENS_MAX, USED_EVERY_MS};
use super::*;

const ROLES: [Option<Role>; 6] =
    [None, Some(Role::Viewer), Some(Role::Member), Some(Role::Operator), Some(Role::Admin), Some(Role::Platform)];

fn person(id: &str, name: &str, role: Role) -> Person {
    Person { id: id.into(), name: name.into(), role, competence: Vec::new(), pin: None, added_ms: 0 }
}

fn token(id: &str, person: &str, scope: Role) -> Token {
    let (label, machines) = (String::new(), None);
    let (until_ms, used_ms, revoked_ms) = (None, None, None);
    Token { id: id.into(), person: person.into(), label, scope, machines, made_ms: 0, until_ms, used_ms, revoked_ms }
}

fn actor(role: Option<Role>) -> Actor {
    let nobody = Actor::nobody("10.0.0.7");
    role.map_or(nobody, |role| Actor::person(&person("p-1", "Ann", role), &token("t-1", "p-1", role), "10.0.0.7"))
}

/// Every cell: everything that can be asked, by every role, of one's own and of others'. `ACCESS=write` writes it down.
#[test]
fn the_table_is_the_one_in_the_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- table -->\n", "<!-- end of table -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (shown, after) = rest.split_once(end).unwrap();
    if std::env::var_os("ACCESS").is_some_and(|value| value == "write") {
        std::fs::write(path, format!("{before}{begin}{}{end}{after}", table())).unwrap();
    } else {
        assert_eq!(shown, table(), "ACCESS=write cargo test -p fab-agent --lib access writes it");
    }
}

#[test]
fn every_cell_is_decided_and_says_why_not() {
    for what in What::ALL {
        for role in ROLES {
            let [own, others] = [Whose::Own, Whose::Others].map(|whose| may(&actor(role), what, whose, None));
            assert!(others.is_err() || own.is_ok(), "{what:?}: {role:?} may to others' what they may not to their own");
            assert!(what.has_owner() || own.is_ok() == others.is_ok() || what == What::ReadPeople, "{what:?} {role:?}");
            if role == Some(Role::Admin) {
                assert!(others.is_ok(), "{what:?}");
            }
            for denial in [own, others].into_iter().filter_map(Result::err) {
                let wanted: &[&str] = match role {
                    None => &["http.unauthorized"],
                    Some(_) => &["access.role", "access.not_yours"],
                };
                let notice = denial.notice();
                assert!(wanted.contains(&denial.code()) && !notice.happened.is_empty() && !notice.to_do.is_empty());
            }
        }
    }
}

#[test]
fn stopping_and_holding_need_no_person_and_moving_needs_one() {
    let may = |role, what| may(&actor(role), what, Whose::Others, None).is_ok();
    for role in ROLES {
        assert!(may(role, What::Stop) && may(role, What::PauseJob), "{role:?}");
    }
    let moving =
        [What::StartJob, What::ResumeJob, What::ResumeMachine, What::Home, What::Jog, What::Probe, What::Clear];
    let other = [What::GoOnAfterFailure, What::Answer, What::Override, What::Preheat, What::Console, What::ReadLog];
    for what in moving.into_iter().chain(other).chain([What::ReadJob, What::ReadProgram, What::Submit]) {
        assert!(!may(None, what) && !may(Some(Role::Viewer), what), "{what:?}");
    }
}

#[test]
fn roles_include_each_other_by_the_table_and_not_by_their_names() {
    use Role::{Admin, Member, Operator, Platform, Viewer};
    let wanted = [
        (Admin, vec![Viewer, Member, Operator, Admin, Platform]),
        (Viewer, vec![Viewer]),
        (Operator, vec![Viewer, Member, Operator, Platform]),
        (Member, vec![Viewer, Member, Platform]),
        (Platform, vec![Viewer, Platform]),
    ];
    for (role, included) in wanted {
        for other in Role::ALL {
            assert_eq!(role.includes(other), included.contains(&other), "{role:?} {other:?}");
        }
    }
    assert!(Role::ALL.into_iter().all(|role| Role::of_word(role.word()) == Some(role)));
}

#[test]
fn a_token_is_good_for_no_more_than_its_scope_its_machines_and_its_person() {
    let operator = person("p-1", "Ann", Role::Operator);
    let mut narrow = token("t-1", "p-1", Role::Member);
    narrow.machines = Some(["mill".to_owned()].into());
    let asks = Actor::person(&operator, &narrow, "");
    let denial = |what, whose, machine| may(&asks, what, whose, machine).err().map(|denial| denial.code());
    assert_eq!(denial(What::StartJob, Whose::Own, Some("mill")), None);
    assert_eq!(denial(What::StartJob, Whose::Others, Some("mill")), Some("access.scope"));
    assert_eq!(denial(What::StartJob, Whose::Own, Some("laser")), Some("access.machine"));
    assert_eq!(denial(What::ManageTokens, Whose::Own, None), Some("access.machine"));
    assert_eq!(denial(What::Stop, Whose::Others, Some("laser")), None, "what is for everybody is for every token");
    // The person's role became less: so did the token.
    let less = Actor::person(&person("p-1", "Ann", Role::Viewer), &token("t-1", "p-1", Role::Operator), "");
    assert_eq!(may(&less, What::StartJob, Whose::Own, None), Err(Denial::Role { role: Role::Viewer }));
}

#[test]
fn what_nobody_owns_is_nobodys_own() {
    assert_eq!(actor(None).owns(None), Whose::Others);
    assert_eq!(actor(Some(Role::Member)).owns(None), Whose::Others);
    assert_eq!(actor(Some(Role::Member)).owns(Some("p-2")), Whose::Others);
    assert_eq!(actor(Some(Role::Member)).owns(Some("p-1")), Whose::Own);
}

#[test]
fn names_that_could_forge_a_line_a_header_or_somebody_else_are_refused() {
    for bad in [
        "",
        "  ",
        "a\nb",
        "a\r\nSet-Cookie: x",
        "a\0b",
        "\u{1b}[31mred",
        "a\u{202e}b",
        "a\u{200b}b",
        "owner",
        "Nobody",
        "LOCAL",
        "a\u{2028}b",
        "..",
        &"x".repeat(65),
    ] {
        assert_eq!(people::name(bad).map_err(|denial| denial.code()), Err("people.name"), "{bad:?}");
    }
    for good in ["Ann", "  Ann ", "Zoë O'Brien", "<img src=x onerror=alert(1)>", "李雷", "a/b", "50%"] {
        assert_eq!(people::name(good).as_deref(), Ok(good.trim()));
    }
}

#[test]
fn competence_ends_and_operators_need_none() {
    let mut ann = person("p-1", "Ann", Role::Member);
    assert_eq!(ann.competent("mill", 0), people::Competent::No);
    ann.competence = vec![
        Competence { machine: "mill".into(), until_ms: Some(10) },
        Competence { machine: "laser".into(), until_ms: None },
    ];
    assert_eq!(ann.competent("mill", 9), people::Competent::Yes);
    assert_eq!(ann.competent("mill", 10), people::Competent::Expired(10));
    assert_eq!(ann.competent("laser", i64::MAX), people::Competent::Yes);
    ann.role = Role::Operator;
    assert_eq!(ann.competent("printer", 0), people::Competent::Yes);
}

#[test]
fn the_book_keeps_its_rules() {
    let hash = |text: &str| token::hash(text);
    let book = Book::default().with(&Change::Add(person("p-1", "Ann", Role::Member))).unwrap();
    assert_eq!(book.with(&Change::Add(person("p-2", "ann", Role::Member))).unwrap_err(), Denial::NameTaken);
    assert_eq!(
        book.with(&Change::AddToken(hash("a"), token("t-1", "p-1", Role::Operator))).unwrap_err(),
        Denial::TooMuch
    );
    assert_eq!(
        book.with(&Change::AddToken(hash("a"), token("t-1", "p-9", Role::Viewer))).unwrap_err(),
        Denial::NoPerson
    );
    let mut short = token("t-1", "p-1", Role::Member);
    short.until_ms = Some(100);
    let book = book.with(&Change::AddToken(hash("a"), short)).unwrap();
    let admits = |book: &Book, shown: &str, now_ms| book.admits(&hash(shown), now_ms, "").map(|(actor, _)| actor.name);
    assert_eq!(admits(&book, "a", 99).as_deref(), Ok("Ann"));
    assert_eq!(admits(&book, " a\n", 99).as_deref(), Ok("Ann"), "as a file with a newline has it");
    // Unknown, over, revoked and without its person: the same words.
    assert_eq!(admits(&book, "a", 100), Err(Denial::WrongToken));
    assert_eq!(admits(&book, "b", 0), Err(Denial::WrongToken));
    let revoked = book.with(&Change::Revoke { id: "t-1".into(), at_ms: 5 }).unwrap();
    assert_eq!(admits(&revoked, "a", 9), Err(Denial::WrongToken));
    let alone = book.with(&Change::Remove { name: "Ann".into() }).unwrap();
    assert_eq!((admits(&alone, "a", 9), alone.tokens().count()), (Err(Denial::WrongToken), 0));
    // Somebody who comes after them under their name has none of their tokens.
    let next = alone.with(&Change::Add(person("p-3", "Ann", Role::Admin))).unwrap();
    assert_eq!(admits(&next, "a", 9), Err(Denial::WrongToken));
    assert_eq!(book.with(&Change::Set(person("p-3", "Ann", Role::Admin))).unwrap_err(), Denial::NoPerson);
    assert!(!book.has_admin() && next.has_admin());
}

#[test]
fn a_full_book_forgets_revoked_tokens_and_no_other() {
    let mut tokens: Vec<_> =
        (0..TOKENS_MAX).map(|n| (token::hash(&n.to_string()), token(&format!("t-{n}"), "p-1", Role::Viewer))).collect();
    let full = Book::of([person("p-1", "Ann", Role::Viewer)], tokens.clone());
    let one_more = Change::AddToken(token::hash("more"), token("t-more", "p-1", Role::Viewer));
    assert_eq!(full.with(&one_more).unwrap_err(), Denial::Full { what: "tokens" });
    tokens[17].1.revoked_ms = Some(1);
    let book = Book::of([person("p-1", "Ann", Role::Viewer)], tokens).with(&one_more).unwrap();
    assert!(book.tokens().count() == TOKENS_MAX && book.token("t-17").is_none() && book.token("t-more").is_some());
}

#[test]
fn what_a_gate_asks_of_somebody_is_one_value() {
    let mut ann = person("p-1", "Ann", Role::Member);
    ann.competence = vec![Competence { machine: "mill".into(), until_ms: None }];
    let book = Book::of([ann.clone()], []);
    let asks = Actor::person(&ann, &token("t-1", "p-1", Role::Member), "");
    let standing = book.standing(&asks, "mill", 0);
    assert_eq!(
        (standing.competent, standing.role, standing.has_pin),
        (people::Competent::Yes, Some(Role::Member), false)
    );
    assert_eq!(book.standing(&asks, "laser", 0).competent, people::Competent::No);
    let owner = Actor::owner(Means::Socket { uid: 0 }, "");
    assert_eq!(book.standing(&owner, "laser", 0).competent, people::Competent::Yes);
    assert_eq!(book.standing(&Actor::nobody(""), "mill", 0).competent, people::Competent::No);
    // Removed while their request was on its way.
    assert_eq!(Book::default().standing(&asks, "mill", 0).competent, people::Competent::No);
}

#[test]
fn a_secret_is_long_random_and_found_by_scanners() {
    let secret = token::secret([7; 32]);
    assert!(secret.starts_with("fab_") && secret.len() == 47);
    assert!(token::secret([8; 32]) != secret);
    assert_eq!(token::claim_code([0xff; 10]), "9999-9999-9999-9999");
    assert_eq!(token::claim_code([0; 10]), "AAAA-AAAA-AAAA-AAAA");
    let mut last = [0; 10];
    last[9] = 1;
    assert!(token::claim_code(last).ends_with('B'), "every bit counts");
    let mut used = token("t-1", "p-1", Role::Viewer);
    assert!(used.use_is_news(0));
    used.used_ms = Some(1000);
    assert!(!used.use_is_news(1000 + USED_EVERY_MS - 1) && used.use_is_news(1000 + USED_EVERY_MS));
}

#[test]
fn tries_wait_longer_and_longer_and_a_flood_of_names_frees_nobody() {
    let pacing = Pacing { free: 2, first_ms: 100, last_ms: 1000, forgotten_ms: 10_000, keys_max: 4 };
    let mut pace = Pace::new(pacing);
    let mut waits = Vec::new();
    for _ in 0..7 {
        pace.failed(&"ann", 0);
        waits.push(pace.wait_ms(&"ann", 0));
    }
    assert_eq!(waits, [0, 0, 100, 200, 400, 800, 1000]);
    assert_eq!((pace.wait_ms(&"ann", 999), pace.wait_ms(&"ann", 1000), pace.wait_ms(&"bob", 0)), (1, 0, 0));
    assert_eq!(pace.wait_ms(&"ann", -1_000_000), 1000, "a clock that was set back");
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        pace.failed(&name, 1);
    }
    assert!(pace.keys() == 4 && pace.wait_ms(&"ann", 1) > 0);
    assert_eq!(pace.failed(&"ann", 20_000), 1, "long ago is forgotten");
    pace.succeeded(&"ann");
    assert_eq!(pace.failed(&"ann", 20_000), 1);
    // Without an end, and without an overflow.
    for _ in 0..200 {
        pace.failed(&"bob", i64::MAX);
    }
    assert_eq!(pace.wait_ms(&"bob", i64::MAX), 0);
}

#[test]
fn a_pin_is_slow_salted_and_a_name_that_there_is_not_costs_the_same() {
    let hash = pin::hash("4711", [1; 16]).unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=9216,t=4,p=1$") && hash != pin::hash("4711", [2; 16]).unwrap());
    assert!(pin::is("4711", Some(&hash)) && !pin::is("4712", Some(&hash)) && !pin::is("4711", None));
    assert!(!pin::is("", Some("no hash at all")));
    for bad in ["", "123", &"1".repeat(65)] {
        assert_eq!(pin::hash(bad, [1; 16]).unwrap_err().code(), "people.invalid");
    }
    // One after the other, again and again: what else the computer does hits all three alike.
    let stored = [Some(hash.as_str()), None, Some("broken")];
    let mut fastest = [Duration::MAX; 3];
    for _ in 0..9 {
        for (fastest, stored) in fastest.iter_mut().zip(stored) {
            let began = Instant::now();
            assert!(!pin::is("0000", stored));
            *fastest = began.elapsed().min(*fastest);
        }
    }
    let [known, unknown, broken] = fastest;
    // Anything that were skipped would be a thousand times faster: half is far from that.
    for other in [unknown, broken] {
        assert!(other * 2 > known && known * 2 > other, "{fastest:?}");
    }
}
