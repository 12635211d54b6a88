//! PINs of people at machines: few digits, so each try costs, few are looked at, and a name that there is not costs as
//! much as one that there is.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::access::{Book, Denial, Pace, pin};
use crate::host::{clock, secret};

/// PINs looked at at once: each takes ten megabytes and a core.
const AT_ONCE: usize = 1;

/// PINs that may wait to be looked at.
const WAITING_MAX: usize = 16;

/// Whoever looks at PINs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pins {
    /// Failures by person and machine.
    pace: Arc<Mutex<Pace<(String, String)>>>,
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            pace: Arc::new(Mutex::new(Pace::new(pin::PACING))),
            turn: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }
}

impl Pins {
    /// Whether a name and a PIN belong together, at a machine: the person's identifier, if so.
    ///
    /// # Errors
    /// They do not, or too many tries of that name failed at that machine.
    pub async fn check(&self, book: &Book, name: &str, machine: &str, shown: &str) -> Result<String, Denial> {
        // Names that differ in case only are tries of one.
        let key = (name.trim().to_lowercase(), machine.to_owned());
        let pace = || self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut pace = pace();
            let wait_ms = pace.wait_ms(&key, now_ms());
            if wait_ms > 0 {
                return Err(Denial::TooFast { wait_s: wait_ms.unsigned_abs().div_ceil(1000) });
            }
            // It counts before it is looked at: many at once are many tries.
            pace.failed(&key, now_ms());
        }
        let person = book.person(name.trim());
        let (hash, shown) = (person.and_then(|person| person.pin.clone()), shown.to_owned());
        let right = self.slowly(move || pin::is(&shown, hash.as_deref())).await?;
        match person.filter(|_| right) {
            Some(person) => {
                pace().succeeded(&key);
                Ok(person.id.clone())
            }
            None => Err(Denial::WrongPin),
        }
    }

    /// The hash of a new PIN.
    ///
    /// # Errors
    /// It is too short or too long, or the system gives no chance.
    pub async fn hash(&self, new: String) -> Result<String, Denial> {
        let salt =
            secret::chance().map_err(|error| Denial::Invalid(format!("The system gives no chance: {error}.")))?;
        self.slowly(move || pin::hash(&new, salt)).await?
    }

    async fn slowly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Denial> {
        let busy = || Denial::TooFast { wait_s: 1 };
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let _turn = self.turn.acquire().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| busy())
    }
}

fn now_ms() -> i64 {
    i64::try_from(clock::since_boot_us() / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::access::{Change, Person, Role};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pin_is_guessed_five_times_and_then_no_more_for_a_while() {
        let pins = Pins::default();
        let hash = pins.hash("4711".to_owned()).await.unwrap();
        let person = Person {
            id: "p-1".into(),
            name: "Ann".into(),
            role: Role::Member,
            competence: Vec::new(),
            pin: Some(hash),
            added_ms: 0,
        };
        let book = Book::default().with(&Change::Add(person)).unwrap();
        assert_eq!(pins.check(&book, "Ann", "mill", "4711").await.as_deref(), Ok("p-1"));
        // Names that there are not are counted like any other, and answered with the same words.
        for name in ["Ann", "Nobody Known"] {
            for _ in 0..6 {
                assert_eq!(pins.check(&book, name, "mill", "0000").await, Err(Denial::WrongPin), "{name}");
            }
            let wait = pins.check(&book, name, "mill", "4711").await.unwrap_err();
            assert_eq!(wait.code(), "access.too_fast", "also for the right one: {name}");
        }
        assert_eq!(pins.check(&book, " ann ", "mill", "4711").await.unwrap_err().code(), "access.too_fast");
        // Somebody at another machine is not kept out by that.
        assert_eq!(pins.check(&book, "Ann", "laser", "4711").await.as_deref(), Ok("p-1"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_tries_at_once_are_many_tries() {
        let pins = Pins::default();
        let book = Book::default();
        let tries: Vec<_> = (0..12)
            .map(|_| {
                let (pins, book) = (pins.clone(), book.clone());
                tokio::spawn(async move { pins.check(&book, "Ann", "mill", "0000").await.unwrap_err() })
            })
            .collect();
        let mut looked_at = 0;
        for one in tries {
            looked_at += usize::from(one.await.unwrap() == Denial::WrongPin);
        }
        assert!(looked_at <= 6, "{looked_at}");
    }
}
