//! What the broker does not take: named once, left alone, and asked again after a while. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use drivers::Moment;

/// A topic whose message the broker refused is offered one again after this time: access rules are corrected while
/// connections stay.
const ASK_AGAIN: Duration = Duration::from_secs(600);

/// A topic over which the broker closed connections, after this time: each question may cost one.
const ASK_AGAIN_CLOSED: Duration = Duration::from_secs(6 * 3600);

/// What the broker does not take now, after this time: it said that it is full.
pub(super) const ASK_AGAIN_FULL: Duration = Duration::from_secs(5);

/// A connection that goes on for so long behind a refusal was not ended by it: Mosquitto 2.0 closes it at once where
/// `max_queued_messages` is 0.
const SURVIVED: Duration = Duration::from_secs(5);

/// Connections in a row that ended with this one message unanswered, until it counts as the cause. A broker that says that
/// it was because of a message needs to say so once.
const STRIKES: u32 = 2;

/// What a message is about: what is refused and taken as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Whether the agent is there.
    Status,
    /// A fact of a machine: the machine's place in the feed and the fact's among the slots.
    Fact(usize, usize),
    /// The events of a machine.
    Events(usize),
    /// A topic of ours that is to be taken back.
    Old(String),
}

/// What the broker said to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has it.
    Taken,
    /// It does not take this: access rules, a topic or a text that it does not allow.
    Refused,
    /// It does not take it now.
    Full,
}

/// Why nothing is offered somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The broker refused a message.
    Refused,
    /// A connection ended over one.
    Ended,
    /// The broker is full for the moment.
    Full,
}

#[derive(Debug, Clone, Copy)]
struct Closed {
    until: Moment,
    /// Whether this was said to people.
    named: bool,
    why: Why,
    /// When the broker refused it, and whether the connection went on behind that.
    at: Moment,
    survived: bool,
}

/// What the broker does not take.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    closed: BTreeMap<Place, Closed>,
    strikes: BTreeMap<Place, u32>,
}

impl Refusals {
    /// Whether nothing is to be offered there now.
    pub(super) fn is_closed(&self, place: &Place, now: Moment) -> bool {
        self.closed.get(place).is_some_and(|closed| now < closed.until)
    }

    /// Whether what is due there now is given up, and not only put off.
    pub(super) fn is_shut(&self, place: &Place, now: Moment) -> bool {
        self.closed.get(place).is_some_and(|closed| now < closed.until && closed.why != Why::Full)
    }

    /// From when on something may be offered there.
    pub(super) fn opens_at(&self, place: &Place) -> Moment {
        self.closed.get(place).map_or(Moment::ZERO, |closed| closed.until)
    }

    /// The broker said this to a message. Whether people are to be told.
    pub(super) fn hear(&mut self, place: &Place, verdict: Verdict, now: Moment) -> bool {
        self.strikes.remove(place);
        let was = self.closed.get(place).copied();
        match verdict {
            Verdict::Taken => {
                self.closed.remove(place);
                false
            }
            Verdict::Refused => {
                let closed = Closed { until: now + ASK_AGAIN, named: true, why: Why::Refused, at: now, survived: true };
                self.closed.insert(place.clone(), closed);
                !was.is_some_and(|was| was.named)
            }
            Verdict::Full => {
                let named = was.is_some_and(|was| was.named);
                let until = now + ASK_AGAIN_FULL;
                let closed = Closed { until, named, why: Why::Full, at: now, survived: true };
                self.closed.insert(place.clone(), closed);
                false
            }
        }
    }

    /// The connection ended while only this message was unanswered; `told`: because of a message. Whether people are to be
    /// told that it is given up.
    pub(super) fn ended_over(&mut self, place: &Place, told: bool, now: Moment) -> bool {
        let was = self.closed.get(place).copied();
        let strikes = self.strikes.entry(place.clone()).or_default();
        *strikes += 1;
        if !told && *strikes < STRIKES && !was.is_some_and(|was| was.why == Why::Ended) {
            return false;
        }
        let closed = Closed { until: now + ASK_AGAIN_CLOSED, named: true, why: Why::Ended, at: now, survived: false };
        self.closed.insert(place.clone(), closed);
        !was.is_some_and(|was| was.named)
    }

    /// The connection is over. A refusal just before may have been the cause.
    pub(super) fn lost(&mut self, now: Moment) {
        for closed in self.closed.values_mut() {
            closed.survived &= now.since(closed.at) >= SURVIVED;
        }
    }

    /// A new connection: what was refused by an answer is offered again, unless that may cost the connection.
    pub(super) fn connected(&mut self, now: Moment) {
        self.closed.values_mut().filter(|closed| closed.survived).for_each(|closed| closed.until = now);
    }

    /// How many places are closed.
    pub(super) fn len(&self) -> usize {
        self.closed.len()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn a_refused_topic_is_named_once_and_asked_again_later() {
        let mut refusals = Refusals::default();
        let place = Place::Events(0);
        assert!(refusals.hear(&place, Verdict::Refused, at(0)));
        assert!(refusals.is_closed(&place, at(599)) && !refusals.is_closed(&place, at(600)));
        assert!(!refusals.is_closed(&Place::Events(1), at(1)));
        assert!(!refusals.hear(&place, Verdict::Refused, at(600)), "it was named");
        assert!(!refusals.hear(&place, Verdict::Taken, at(1300)));
        assert!(refusals.hear(&place, Verdict::Refused, at(1400)), "it was taken in between");
        refusals.hear(&Place::Status, Verdict::Full, at(0));
        assert!(!refusals.is_closed(&Place::Status, at(5)));
    }

    #[test]
    fn a_new_connection_is_a_new_chance_for_what_did_not_end_the_last_one() {
        let mut refusals = Refusals::default();
        let (harmless, deadly) = (Place::Events(0), Place::Events(1));
        refusals.hear(&harmless, Verdict::Refused, at(0));
        refusals.hear(&deadly, Verdict::Refused, at(9));
        refusals.lost(at(10));
        refusals.connected(at(11));
        assert!(!refusals.is_shut(&harmless, at(11)) && refusals.is_shut(&deadly, at(11)));
        assert!(!refusals.is_shut(&deadly, at(609)));
    }

    #[test]
    fn a_message_is_the_cause_when_connections_end_over_it_and_nothing_else_again_and_again() {
        let mut refusals = Refusals::default();
        let (bad, good) = (Place::Fact(0, 1), Place::Status);
        assert!(!refusals.ended_over(&bad, false, at(0)));
        assert!(!refusals.ended_over(&good, false, at(1)));
        refusals.hear(&good, Verdict::Taken, at(3));
        assert!(refusals.ended_over(&bad, false, at(4)));
        assert!(refusals.is_closed(&bad, at(3600)) && !refusals.is_closed(&good, at(5)));
        assert!(!refusals.ended_over(&bad, false, at(6 * 3600 + 9)), "the next time it closes at once, and was named");
        assert!(refusals.is_closed(&bad, at(6 * 3600 + 10)));
        assert!(refusals.ended_over(&Place::Events(0), true, at(0)), "a broker that says why says it once");
    }
}
