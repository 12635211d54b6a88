//! Server-sent events: the log as it grows, resumable by `Last-Event-ID`; and the log as a list.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::Stream;

use super::Shared;
use super::jobs::{From, bad};
use super::people::Asker;
use super::problem::Problem;
use super::query::{self, Asked};
use crate::access::{Actor, Book, Means, What, Whose};
use crate::desk::{Refusal, facts};
use crate::host::clock;
use crate::store::{Class, Cursor, Gap, Item, Store};

/// Between signs of life to a client, so that it notices a lost connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Rows on one page of the list, unless asked otherwise, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;

/// Pages looked through for one answer at most: a filter that finds little must not keep the disk.
const LOOKED_THROUGH_MAX: usize = 20;

/// Rows that a client gets which was in no log that is known here: an afternoon of a busy shop.
const BEFORE: usize = 1000;

/// Between looks at whether a token that opened a stream is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The stream. A client that was away gets what it missed, or is told which numbers are gone. It ends with the token that
/// opened it. Who asked for what is told to those who may read the log.
pub(super) async fn stream(
    State(shared): State<Shared>,
    Extension(actor): Asker,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<SentEvent, Infallible>>> {
    let store = shared.desk.store().clone();
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(Cursor::parse);
    let cursor = begins(&store, last).await;
    let mut reader = store.reader(cursor);
    let names = actor.can(What::ReadLog, Whose::Others);
    let stream = async_stream::stream! {
        loop {
            let batch = tokio::select! {
                batch = reader.next(PAGE_MAX) => batch,
                () = is_over(&store, &actor) => return,
            };
            for item in batch.items {
                yield Ok(sent(&batch.cursor.log, &item, names));
            }
        }
    };
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// Where a client begins: where it was, or with what comes next. One that was in another log, or that wants to know what
/// happened before it came (`0-0`), gets the newest of this one.
async fn begins(store: &Store, last: Option<Cursor>) -> Cursor {
    match last {
        None => store.newest(),
        Some(last) if store.knows(&last) => last,
        Some(_) => store.before(BEFORE).await.unwrap_or_else(|_| {
            // A disk that says nothing now is asked again by the reader.
            let newest = store.newest();
            Cursor { number: newest.number.saturating_sub(BEFORE as u64), ..newest }
        }),
    }
}

/// Waits until whoever asks is let in no more.
async fn is_over(store: &Store, actor: &Arc<Actor>) {
    let Means::Token { id } = &actor.means else { return std::future::pending().await };
    let mut book = store.watch_book();
    let good = |book: &Book| book.token(id).is_some_and(|token| token.is_good(clock::wall_ms()));
    while good(&book.borrow_and_update()) {
        // A token that is over in time is no change of the book.
        let _ = tokio::time::timeout(LOOK_EVERY, book.changed()).await;
    }
}

fn sent(log: &str, item: &Item, names: bool) -> SentEvent {
    match item {
        Item::Row(row) => {
            let id = Cursor { log: log.to_owned(), number: row.number };
            let mut document = row.document();
            if let Some(fields) = document.as_object_mut().filter(|_| !names) {
                fields.retain(|name, _| !matches!(name.as_str(), "who" | "from" | "means"));
            }
            SentEvent::default().id(id.to_string()).data(document.to_string())
        }
        Item::Gap(gap) => {
            let id = Cursor { log: log.to_owned(), number: gap.to };
            SentEvent::default().id(id.to_string()).event("missed").data(missed(*gap).to_string())
        }
    }
}

fn missed(gap: Gap) -> Value {
    json!({ "type": "missed", "missed": gap.to - gap.from + 1, "from": gap.from, "to": gap.to })
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    machine: Option<String>,
    class: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The log as a list, oldest first, a page at a time: who asked for what, what machines did, what became of jobs.
pub(super) async fn list(State(shared): State<Shared>, wanted: Asked<Wanted>) -> Result<Json<Value>, Problem> {
    let wanted = query::read(wanted)?;
    let class = query::word(wanted.class.as_deref(), Class::of_word, "class of the log")?;
    let cursor = match &wanted.cursor {
        Some(text) => Cursor::parse(text).ok_or_else(|| bad("The cursor is none that this agent gave."))?,
        None => Cursor::default(),
    };
    let limit = query::limit(wanted.limit, PAGE, PAGE_MAX);
    let page = page(shared.desk.store(), cursor, limit, |item| match item {
        Item::Row(row) => {
            class.is_none_or(|class| row.class == class) && (wanted.machine.is_none() || row.machine == wanted.machine)
        }
        Item::Gap(_) => true,
    });
    page.await.map(Json).map_err(Problem::from)
}

/// Looks through the log until a page is full, or the end is reached, or it has looked through enough for one answer.
async fn page(
    store: &Store,
    mut cursor: Cursor,
    limit: usize,
    wanted: impl Fn(&Item) -> bool,
) -> Result<Value, Refusal> {
    let mut rows = Vec::new();
    let mut more = true;
    for _ in 0..LOOKED_THROUGH_MAX {
        let batch = store.read(&cursor, limit - rows.len()).await.map_err(Refusal::Store)?;
        more = batch.cursor != cursor;
        cursor = batch.cursor;
        rows.extend(batch.items.iter().filter(|item| wanted(item)).map(|item| match item {
            Item::Row(row) => row.document(),
            Item::Gap(gap) => missed(*gap),
        }));
        if !more || rows.len() >= limit {
            break;
        }
    }
    Ok(json!({ "rows": rows, "cursor": cursor.to_string(), "more": more }))
}

/// Takes a person's name or address out of the log. The rows stay, with their numbers.
pub(super) async fn erase(
    State(shared): State<Shared>,
    Path(person): Path<String>,
    who: From,
) -> Result<Json<Value>, Problem> {
    let store = shared.desk.store();
    let erased = store.erase(&person).await.map_err(Refusal::Store)?;
    store.tell([facts::erased(erased, who.map(|Extension(who)| who))], []);
    Ok(Json(json!({ "erased": erased })))
}
