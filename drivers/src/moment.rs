//! Time as the pure half sees it: a plain number that somebody else gives.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: microseconds since an epoch that the owner of the session chose.
///
/// There is no `now()`: pure code gets a moment only as an argument, so tests run faster than real time, and a
/// recording can be replayed exactly. Being a number, it can be written to a file, which `Instant` cannot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// How long ago `earlier` was; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates: a deadline beyond the end of time is never reached.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}
