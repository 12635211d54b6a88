//! Server-sent events: what happens to the machines, resumable by `Last-Event-ID`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use drivers::machine::Machine;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio_stream::Stream;

use super::Shared;
use crate::status;

/// Events remembered for clients that come back. A job has a handful; this is an afternoon of a busy shop.
const REMEMBERED: usize = 1000;

/// Between signs of life to a client, so that it notices a lost connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The last events of all machines, numbered.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    remembered: Arc<Mutex<Remembered>>,
    newest: watch::Receiver<u64>,
    /// Tells this run of the agent from others: numbers begin anew with each.
    run: u64,
}

#[derive(Debug, Default)]
struct Remembered {
    /// Number of the first event in the ring.
    first: u64,
    events: VecDeque<Arc<Value>>,
}

impl Remembered {
    fn push(&mut self, event: Value) -> u64 {
        if self.events.len() == REMEMBERED {
            self.events.pop_front();
            self.first += 1;
        }
        self.events.push_back(Arc::new(event));
        self.first + self.events.len() as u64
    }
}

impl Ring {
    /// Remembers what happens to machines.
    pub(super) fn of(heard: Vec<(Machine, broadcast::Receiver<drivers::Event>)>) -> Self {
        let remembered = Arc::new(Mutex::new(Remembered { first: 1, events: VecDeque::new() }));
        let (send, newest) = watch::channel(1);
        let send = Arc::new(send);
        for (machine, events) in heard {
            tokio::spawn(listen(machine, events, remembered.clone(), send.clone()));
        }
        Self { remembered, newest, run: jiff::Timestamp::now().as_millisecond().unsigned_abs() }
    }

    /// An event's identifier: the run and the number.
    fn id(&self, number: u64) -> String {
        format!("{:x}-{number}", self.run)
    }

    /// The number that follows the identifier a client saw last. One of an earlier run is followed by all there is.
    fn after(&self, last: &str) -> Option<u64> {
        let (run, number) = last.split_once('-')?;
        let run = u64::from_str_radix(run, 16).ok()?;
        let number: u64 = number.parse().ok()?;
        Some(if run == self.run { number.saturating_add(1) } else { 1 })
    }

    /// The events from a number on, and how many before them are no longer remembered.
    fn from(&self, next: u64) -> (u64, Vec<(u64, Arc<Value>)>) {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = remembered.first.saturating_sub(next);
        let skip = next.saturating_sub(remembered.first) as usize;
        let events = (next.max(remembered.first)..).zip(remembered.events.iter().skip(skip).cloned()).collect();
        (missed, events)
    }
}

async fn listen(
    machine: Machine,
    mut events: broadcast::Receiver<drivers::Event>,
    remembered: Arc<Mutex<Remembered>>,
    newest: Arc<watch::Sender<u64>>,
) {
    loop {
        let event = match events.recv().await {
            Ok(event) => status::event(&machine, &event),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                json!({ "machine": machine.name(), "type": "missed", "missed": missed })
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let number = remembered.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        newest.send_modify(|newest| *newest = number.max(*newest));
    }
}

/// The stream. A client that was away gets what it missed, or is told how much is gone.
pub(super) async fn stream(
    State(shared): State<Shared>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<SentEvent, Infallible>>> {
    let ring = shared.events;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| ring.after(id));
    let next = last.unwrap_or_else(|| *ring.newest.borrow());
    let stream = async_stream::stream! {
        let mut next = next.min(*ring.newest.borrow());
        let mut newest = ring.newest.clone();
        loop {
            let (missed, events) = ring.from(next);
            if missed > 0 {
                next += missed;
                yield Ok(SentEvent::default().event("missed").data(json!({ "type": "missed", "missed": missed }).to_string()));
            }
            for (number, event) in events {
                next = number + 1;
                yield Ok(SentEvent::default().id(ring.id(number)).data(event.to_string()));
            }
            if newest.wait_for(|newest| *newest > next).await.is_err() {
                return;
            }
        }
    };
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_client_that_comes_back_gets_what_it_missed_or_is_told_how_much_is_gone() {
        let remembered = Arc::new(Mutex::new(Remembered { first: 1, events: VecDeque::new() }));
        for number in 1..=(REMEMBERED as u64 + 10) {
            remembered.lock().unwrap().push(json!(number));
        }
        let (_send, newest) = watch::channel(0);
        let ring = Ring { remembered, newest, run: 0xab };
        let (missed, events) = ring.from(1005);
        assert_eq!((missed, events.len()), (0, 6));
        assert_eq!((events[0].0, events[0].1.as_u64()), (1005, Some(1005)));
        let (missed, events) = ring.from(4);
        assert_eq!((missed, events[0].1.as_u64()), (7, Some(11)));
    }
    #[test]
    fn an_identifier_of_an_earlier_run_is_followed_by_everything() {
        let remembered = Arc::new(Mutex::new(Remembered { first: 1, events: VecDeque::new() }));
        let ring = Ring { remembered, newest: watch::channel(0).1, run: 0xab };
        assert_eq!(ring.id(7), "ab-7");
        for (last, next) in [("ab-7", Some(8)), ("99-7", Some(1)), ("7", None), ("ab-", None), ("", None)] {
            assert_eq!(ring.after(last), next, "{last}");
        }
    }
}
