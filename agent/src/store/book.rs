//! People and tokens in the tables, and how the book is changed: written first, then in effect; what takes away acts
//! first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drivers::Notice;
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::disk::{Disk, Failure};
use super::row::Fact;
use super::work::{Changes, Shared, busy};
use super::{Store, ask, trouble};
use crate::access::token::Hash;
use crate::access::{Book, Change, Denial, Person, Token};

/// Why the book was not changed.
#[derive(Debug, Clone, PartialEq)]
pub enum NotChanged {
    /// There is no such change.
    Denied(Denial),
    /// The disk, or too much is asked of it.
    Trouble(Notice),
}

impl Store {
    /// Who there is, and which tokens. Empty until the store is open: nobody is let in by a book that nobody has read.
    pub fn book(&self) -> Arc<Book> {
        self.shared.book.borrow().clone()
    }

    /// Changes with the book: for whoever must know that a token is revoked.
    pub fn watch_book(&self) -> watch::Receiver<Arc<Book>> {
        self.shared.book.subscribe()
    }

    /// Changes the book and tells of it, in one transaction: it is in effect when it is on the disk. What takes a right
    /// away is in effect at once, and whether it is on the disk as well is answered.
    ///
    /// # Errors
    /// Why it was not changed.
    pub async fn change_book(&self, change: Change, fact: Fact) -> Result<bool, NotChanged> {
        let takes_away = matches!(change, Change::Revoke { .. } | Change::Remove { .. });
        if takes_away {
            self.shared.change_book(|book| book.with(&change)).map_err(NotChanged::Denied)?;
        }
        let given_up = GivenUp::default();
        let (shared, told, gone) = (self.shared.clone(), fact.clone(), given_up.0.clone());
        let written = ask(&self.shared, move |disk| {
            if gone.load(Ordering::Acquire) {
                return Ok(Err(NotChanged::Trouble(trouble::closed())));
            }
            let known = shared.book.borrow().clone();
            let new = if takes_away { Ok((*known).clone()) } else { known.with(&change) };
            match new {
                Ok(new) => {
                    write(disk, &shared, Arc::new(new), told).map(|written| written.map_err(NotChanged::Trouble))
                }
                Err(denial) => Ok(Err(NotChanged::Denied(denial))),
            }
        })
        .await
        .map_err(NotChanged::Trouble)
        .and_then(|written| written);
        drop(given_up);
        match written {
            Ok(()) => Ok(true),
            Err(NotChanged::Trouble(notice)) if takes_away => {
                // It is so, whatever the disk says; it is written when that can be.
                tracing::warn!(%notice, "a right was taken away that is not on the disk yet");
                self.shared.tell([fact], []);
                self.shared.note(|work| work.changes.book_changed = true);
                Ok(false)
            }
            Err(why) => Err(why),
        }
    }

    /// Notes that a token was used; written with the next that must be.
    pub fn token_used(&self, hash: Hash, at_ms: i64) {
        if self.shared.change_book(|book| book.with(&Change::Used { hash, at_ms })).is_ok() {
            self.shared.note(|work| work.changes.book_changed = true);
        }
    }
}

/// Says, when it is dropped, that nobody waits for the answer: then nothing is done any more.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Writes a book and the fact that tells of it; only then it is in effect.
fn write(disk: &mut Disk, shared: &Shared, new: Arc<Book>, fact: Fact) -> Result<Result<(), Notice>, Failure> {
    let row = shared.lock().log.open(fact);
    let Some(row) = row else { return Ok(Err(busy())) };
    let changes = Changes { rows: vec![row.clone()], book: Some(new.clone()), ..Changes::default() };
    let written = disk.write(&changes);
    let mut work = shared.lock();
    work.log.close(&row, written.is_ok());
    if written.is_ok() {
        shared.book.send_replace(new);
    }
    shared.told(&work);
    drop(work);
    written.map(Ok)
}

/// People and tokens as they are written.
pub(super) fn read(sql: &Connection) -> Result<Book, Failure> {
    let mut people = sql.prepare("SELECT body FROM person")?;
    let people = people.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut tokens = sql.prepare("SELECT hash, body FROM token")?;
    let tokens = tokens.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?)))?;
    let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
    let people = people.iter().filter_map(|body| parsed::<Person>(body));
    let tokens =
        tokens.iter().filter_map(|(hash, body)| Some((Hash::try_from(hash.as_slice()).ok()?, parsed::<Token>(body)?)));
    Ok(Book::of(people, tokens))
}

/// Text that is none any more must not hide the others; whoever it was is not let in.
fn parsed<T: DeserializeOwned>(body: &str) -> Option<T> {
    serde_json::from_str(body).inspect_err(|error| tracing::error!(%error, "a person or token cannot be read")).ok()
}

/// Writes what differs between two books.
pub(super) fn put(writing: &Transaction, known: &Book, new: &Book) -> rusqlite::Result<()> {
    let people =
        |book: &Book| book.people().map(|person| (person.id.clone(), person.clone())).collect::<BTreeMap<_, _>>();
    let (was, is) = (people(known), people(new));
    for id in was.keys().filter(|id| !is.contains_key(*id)) {
        writing.execute("DELETE FROM person WHERE id = ?1", [id])?;
    }
    for (id, person) in is.iter().filter(|(id, person)| was.get(*id) != Some(person)) {
        writing.execute("INSERT OR REPLACE INTO person VALUES (?1, ?2)", params![id, json(person)])?;
    }
    let tokens = |book: &Book| book.tokens().map(|(hash, token)| (*hash, token.clone())).collect::<BTreeMap<_, _>>();
    let (was, is) = (tokens(known), tokens(new));
    for hash in was.keys().filter(|hash| !is.contains_key(*hash)) {
        writing.execute("DELETE FROM token WHERE hash = ?1", params![hash.as_slice()])?;
    }
    for (hash, token) in is.iter().filter(|(hash, token)| was.get(*hash) != Some(token)) {
        writing.execute("INSERT OR REPLACE INTO token VALUES (?1, ?2)", params![hash.as_slice(), json(token)])?;
    }
    Ok(())
}

/// People and tokens are of strings and numbers: that always is JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
