//! People and tokens in the store.

use std::sync::Arc;

use serde_json::json;

use super::test::settings;
use super::*;
use crate::access::token::hash;
use crate::access::{Change as BookChange, Denial, Person, Role, Token};

fn person(name: &str) -> Person {
    let (competence, pin) = (Vec::new(), None);
    Person { id: format!("p-{name}"), name: name.into(), role: Role::Member, competence, pin, added_ms: 0 }
}

fn token(id: &str, person: &str) -> Token {
    let (label, scope, machines) = (String::new(), Role::Member, None);
    let (until_ms, used_ms, revoked_ms) = (None, None, None);
    Token {
        id: id.into(),
        person: format!("p-{person}"),
        label,
        scope,
        machines,
        made_ms: 0,
        until_ms,
        used_ms,
        revoked_ms,
    }
}

fn fact(what: &str) -> Fact {
    Fact::new(Class::Person, json!({ "type": "asked", "action": what }))
}

async fn opened(folder: &std::path::Path) -> Store {
    Store::open(&settings(folder)).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn who_there_is_outlives_the_agent_and_each_change_is_a_row() {
    let home = tempfile::tempdir().unwrap();
    let store = opened(home.path()).await;
    let begin = store.newest();
    assert!(store.change_book(BookChange::Add(person("ann")), fact("add")).await.unwrap());
    assert!(store.change_book(BookChange::AddToken(hash("a"), token("t-1", "ann")), fact("token")).await.unwrap());
    let again = store.change_book(BookChange::Add(person("ann")), fact("not")).await;
    assert_eq!(again, Err(NotChanged::Denied(Denial::NameTaken)));
    store.token_used(hash("a"), 7);
    let book = store.book();
    assert_eq!(book.token("t-1").unwrap().used_ms, Some(7));
    store.end().await;
    let store = opened(home.path()).await;
    assert_eq!(store.book(), book);
    let rows = store.read(&begin, 100).await.unwrap();
    let told: Vec<_> = rows.rows().filter_map(|row| row.document()["action"].as_str().map(str::to_owned)).collect();
    assert_eq!(told, ["add", "token"], "what was refused is no row");
    assert!(store.change_book(BookChange::Remove { name: "ann".into() }, fact("remove")).await.unwrap());
    store.end().await;
    let store = opened(home.path()).await;
    assert_eq!((store.book().people().count(), store.book().tokens().count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_right_behind_its_answer_is_there() {
    let (home, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = opened(home.path()).await;
    store.change_book(BookChange::Add(person("ann")), fact("add")).await.unwrap();
    store.change_book(BookChange::AddToken(hash("a"), token("t-1", "ann")), fact("token")).await.unwrap();
    store.change_book(BookChange::Revoke { id: "t-1".into(), at_ms: 5 }, fact("revoke")).await.unwrap();
    for name in ["store.db", "store.db-wal"] {
        std::fs::copy(home.path().join(name), copy.path().join(name)).unwrap();
    }
    assert_eq!(opened(copy.path()).await.book().token("t-1").unwrap().revoked_ms, Some(5));
}

/// Nothing is given by a disk that takes nothing, and what is taken away is gone all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_disk_could_not_revoke_still_opened_everything() {
    let home = tempfile::tempdir().unwrap();
    let store = opened(home.path()).await;
    store.change_book(BookChange::Add(person("ann")), fact("add")).await.unwrap();
    store.change_book(BookChange::AddToken(hash("a"), token("t-1", "ann")), fact("token")).await.unwrap();
    store.shared.set_trouble(Some(trouble::closed()));
    let given = store.change_book(BookChange::Add(person("bob")), fact("add")).await;
    assert!(matches!(given, Err(NotChanged::Trouble(_))) && store.book().person("bob").is_none());
    let revoked = BookChange::Revoke { id: "t-1".into(), at_ms: 5 };
    assert_eq!(store.change_book(revoked, fact("revoke")).await, Ok(false), "in effect, and not on the disk");
    assert!(store.book().admits(&hash("a"), 9, "").is_err());
    store.shared.set_trouble(None);
    store.end().await;
    let store = opened(home.path()).await;
    assert_eq!(store.book().token("t-1").unwrap().revoked_ms, Some(5), "it was written when that could be");
}

/// A file as agents wrote it before there were people.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_first_form_opens_with_everything_in_it() {
    let home = tempfile::tempdir().unwrap();
    let job = crate::jobs::test::record("1", crate::jobs::JobState::Queued);
    let mut body = serde_json::to_value(&job).unwrap();
    body.as_object_mut().unwrap().remove("owner");
    disk::first_form(home.path(), &body.to_string());
    let (store, mut news) = Store::open(&settings(home.path())).await.unwrap();
    let Some(News::Opened(contents)) = news.recv().await else { panic!("not opened") };
    assert_eq!((contents.jobs[0].id.as_str(), contents.jobs[0].owner.clone()), ("1", None));
    let rows = store.read(&Cursor::default(), 100).await.unwrap();
    let who = rows.rows().find_map(|row| row.who.clone()).unwrap();
    assert_eq!(who, Who { who: "token".into(), from: "10.0.0.7".into(), ..Who::default() });
    store.change_book(BookChange::Add(person("ann")), fact("add")).await.unwrap();
    store.permit(vec![fact("submit")], Arc::new(job), false).await.unwrap();
    store.end().await;
    assert_eq!(opened(home.path()).await.book().people().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_by_their_owner() {
    let home = tempfile::tempdir().unwrap();
    let store = opened(home.path()).await;
    for (id, owner) in [("1", Some("p-a")), ("2", Some("p-b")), ("3", None)] {
        let mut record = crate::jobs::test::record(id, crate::jobs::JobState::Finished);
        record.owner = owner.map(str::to_owned);
        store.permit(vec![fact("submit")], Arc::new(record), false).await.unwrap();
    }
    let of = |owner: Option<&str>| Page { limit: 10, owner: owner.map(str::to_owned), ..Page::default() };
    let ids = |jobs: Vec<Record>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(store.jobs_over(of(Some("p-a"))).await.unwrap()), ["1"]);
    assert_eq!(
        ids(store.jobs_over(of(Some(""))).await.unwrap()),
        [] as [String; 0],
        "nobody's are not the nameless one's"
    );
    assert_eq!(ids(store.jobs_over(of(None)).await.unwrap()), ["3", "2", "1"]);
}
