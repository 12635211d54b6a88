//! Lines of a log that repeat themselves: each is said once, and again when the trouble was over in between, or after
//! long with how often it was kept back.

use std::time::{Duration, Instant};

/// Kinds of lines that are remembered. A trouble that shows itself in more ways than that is said more often.
const KINDS_MAX: usize = 16;

/// How long all must be well before a trouble counts as a new one: one that comes and goes every few seconds is one.
const OVER_AFTER: Duration = Duration::from_secs(60);

/// Longest time for which a log's last word is that all is well when it is not.
const WRONG_AT_MOST: Duration = Duration::from_secs(600);

/// What was said of one trouble that may last, or come and go.
#[derive(Debug)]
pub struct Repeats {
    again_after: Duration,
    said: Vec<Said>,
    well_since: Option<Instant>,
    /// Something was said of it, and not yet that it is over.
    open: bool,
}

/// How often a line was kept back since it was said last, where it was said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated(pub Option<u64>);

#[derive(Debug)]
struct Said {
    what: String,
    at: Instant,
    kept_back: u64,
}

impl Repeats {
    /// Nothing was said yet. What lasts is said again after `again_after`.
    pub const fn new(again_after: Duration) -> Self {
        Self { again_after, said: Vec::new(), well_since: None, open: false }
    }

    /// Whether a line about `what` is to be said now. `what` tells kinds of lines apart; a number that differs from time to
    /// time is no part of it.
    pub fn say(&mut self, what: &str, now: Instant) -> Option<Repeated> {
        if self.well_since.take().is_some_and(|since| now.duration_since(since) >= OVER_AFTER) {
            self.said.clear();
        }
        let again_after = if self.open { self.again_after } else { self.again_after.min(WRONG_AT_MOST) };
        if let Some(known) = self.said.iter_mut().find(|said| said.what == what) {
            if now.duration_since(known.at) < again_after {
                known.kept_back += 1;
                return None;
            }
            self.open = true;
            known.at = now;
            return Some(Repeated(Some(std::mem::take(&mut known.kept_back))));
        }
        if self.said.len() >= KINDS_MAX {
            self.said.remove(0);
        }
        self.said.push(Said { what: what.to_owned(), at: now, kept_back: 0 });
        self.open = true;
        Some(Repeated(None))
    }

    /// All is well. Whether that is to be said: only behind a line that was said of the trouble.
    pub fn well(&mut self, now: Instant) -> bool {
        self.well_since.get_or_insert(now);
        std::mem::take(&mut self.open)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any moment will do to count from")]
mod test {
    use super::*;

    const NEW: Repeated = Repeated(None);

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_machine_that_is_off_wrote_a_line_every_five_seconds() {
        let (mut repeats, start) = (Repeats::new(HOUR), Instant::now());
        let said: Vec<_> = (0..1440)
            .filter_map(|attempt| repeats.say("link.unreachable", start + attempt * Duration::from_secs(5)))
            .collect();
        assert_eq!(said, [NEW, Repeated(Some(719))], "once, and once an hour with how often it was kept back");
    }

    #[test]
    fn a_trouble_that_shows_itself_in_turns_as_this_and_that_is_said_once_as_each() {
        let (mut repeats, start) = (Repeats::new(HOUR), Instant::now());
        let said: Vec<_> = (0..100)
            .map(|attempt| if attempt % 2 == 0 { "link.lost" } else { "link.no_such_port" })
            .filter(|what| repeats.say(what, start).is_some())
            .collect();
        assert_eq!(said, ["link.lost", "link.no_such_port"]);
    }

    #[test]
    fn a_trouble_is_a_new_one_when_all_was_well_for_a_minute_and_not_before() {
        let (mut repeats, mut now) = (Repeats::new(HOUR), Instant::now());
        assert!(!repeats.well(now), "nothing was said");
        assert_eq!(repeats.say("store.full", now), Some(NEW));
        assert!(repeats.well(now) && !repeats.well(now), "that it is over is said once");
        now += Duration::from_secs(59);
        assert_eq!(repeats.say("store.full", now), None);
        assert!(!repeats.well(now), "and not behind what was not said");
        now += Duration::from_secs(60);
        assert_eq!(repeats.say("store.full", now), Some(NEW));
        assert!(repeats.well(now));
    }

    #[test]
    fn a_log_does_not_end_with_all_is_well_while_it_is_not() {
        let (mut repeats, mut now) = (Repeats::new(HOUR), Instant::now());
        assert_eq!(repeats.say("link.lost", now), Some(NEW));
        assert!(repeats.well(now));
        let mut said = Vec::new();
        for _ in 0..720 {
            now += Duration::from_secs(5);
            said.extend(repeats.say("link.lost", now));
        }
        assert_eq!(said, [Repeated(Some(119))], "ten minutes later, and then no more for an hour");
    }

    #[test]
    fn more_kinds_than_are_remembered_are_said_and_take_no_more_memory() {
        let (mut repeats, now) = (Repeats::new(HOUR), Instant::now());
        for kind in 0..1000 {
            assert!(repeats.say(&kind.to_string(), now).is_some());
        }
        assert_eq!(repeats.said.len(), KINDS_MAX);
    }
}
