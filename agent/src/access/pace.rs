//! How often something may be tried: a value that is told the time.

use std::collections::BTreeMap;

/// How tries are slowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// Failures without a wait.
    pub free: u32,
    /// The wait after the next one; each one after it waits twice as long.
    pub first_ms: i64,
    /// The longest wait.
    pub last_ms: i64,
    /// After so long without a failure all is forgotten.
    pub forgotten_ms: i64,
    /// Keys that are kept at most.
    pub keys_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tries {
    failures: u32,
    last_ms: i64,
}

/// Failures by key, and until when each key waits. Bounded: where all places are taken, whoever failed least and longest
/// ago is forgotten, so that a flood of new keys forgets itself and not the one who is guessing.
#[derive(Debug, Clone)]
pub struct Pace<K> {
    pacing: Pacing,
    tries: BTreeMap<K, Tries>,
}

impl<K: Ord + Clone> Pace<K> {
    /// Nobody has failed yet.
    pub fn new(pacing: Pacing) -> Self {
        Self { pacing, tries: BTreeMap::new() }
    }

    /// Milliseconds until a key may try again; zero: now.
    pub fn wait_ms(&self, key: &K, now_ms: i64) -> i64 {
        let Some(tries) = self.tries.get(key) else { return 0 };
        let Some(over) = tries.failures.checked_sub(self.pacing.free + 1) else { return 0 };
        let wait = self.pacing.first_ms.saturating_mul(1 << over.min(20)).min(self.pacing.last_ms);
        // A clock that was set back must not make the wait longer than it ever is.
        (tries.last_ms.saturating_add(wait).saturating_sub(now_ms)).clamp(0, wait)
    }

    /// A key failed. How many times in a row that is.
    pub fn failed(&mut self, key: &K, now_ms: i64) -> u32 {
        let forgotten = self.pacing.forgotten_ms;
        let known = self.tries.get(key).copied().filter(|tries| now_ms.saturating_sub(tries.last_ms) < forgotten);
        let failures = known.map_or(1, |tries| tries.failures.saturating_add(1));
        if !self.tries.contains_key(key) {
            self.make_room(now_ms);
        }
        self.tries.insert(key.clone(), Tries { failures, last_ms: now_ms });
        failures
    }

    /// A key succeeded: it begins anew.
    pub fn succeeded(&mut self, key: &K) {
        self.tries.remove(key);
    }

    /// Keys that are known.
    pub fn keys(&self) -> usize {
        self.tries.len()
    }

    fn make_room(&mut self, now_ms: i64) {
        if self.tries.len() < self.pacing.keys_max {
            return;
        }
        let forgotten = self.pacing.forgotten_ms;
        self.tries.retain(|_, tries| now_ms.saturating_sub(tries.last_ms) < forgotten);
        while self.tries.len() >= self.pacing.keys_max.max(1) {
            let least = self.tries.iter().min_by_key(|(_, tries)| (tries.failures, tries.last_ms));
            let Some(least) = least.map(|(key, _)| key.clone()) else { return };
            self.tries.remove(&least);
        }
    }
}
