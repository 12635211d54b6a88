//! A fact that is to be published when it changed, but not too often. Pure.

use std::time::Duration;

use drivers::Moment;

#[derive(Debug, Default)]
pub(super) struct Slot {
    changed: bool,
    urgent: bool,
    published_at: Option<Moment>,
}

impl Slot {
    /// It is another one now; `urgent`: whoever reads it should not wait.
    pub(super) fn change(&mut self, urgent: bool) {
        self.changed = true;
        self.urgent |= urgent;
    }

    /// When it may be published; nothing if there is nothing new.
    pub(super) fn due_at(&self, interval: Duration) -> Option<Moment> {
        match (self.changed, self.urgent, self.published_at) {
            (false, ..) => None,
            (true, true, _) | (true, _, None) => Some(Moment::ZERO),
            (true, false, Some(at)) => Some(at + interval),
        }
    }

    pub(super) fn published(&mut self, now: Moment) {
        *self = Self { changed: false, urgent: false, published_at: Some(now) };
    }
}
