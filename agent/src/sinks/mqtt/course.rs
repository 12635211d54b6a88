//! How to come to terms with a broker: what to ask of it, and how long to wait before the next attempt. Pure.
//!
//! What a broker cannot do it says in its welcome (MQTT 5), by a refusal, or by closing the connection. Each is followed
//! where that is possible. Pauses grow until a connection has *lasted*: two clients that push each other out, or a
//! broker that closes the connection over one message, meet less and less often.

use std::time::Duration;

use super::loss::{Kind, Loss};

/// First pause before connecting again. It doubles with each connection that does not last.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// Longest pause: a workshop's broker that is switched on again should see its machines within the minute.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A connection that held for so long was a good one. Longer than the longest pause, so that two clients that push each
/// other out are not taken for two good connections.
pub(super) const LASTED: Duration = Duration::from_secs(60);

/// Connections closed before the welcome after which others terms are tried, where the broker cannot say which.
const SHUT_OUT_MAX: u32 = 2;

/// Connections that ended soon, with nothing unanswered, after which somebody else of our name is suspected.
const DROPPED_MAX: u32 = 2;

/// What is asked of a broker.
#[expect(clippy::struct_excessive_bools, reason = "four things that are asked for, each by itself")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// That it keeps messages for those who come later: the will's included.
    pub(super) retain: bool,
    /// That it acknowledges messages (QoS 1).
    pub(super) acknowledge: bool,
    /// The short form of the default client name: 23 letters and digits, which every broker must take (MQTT 3.1.1, 3.1.3.1).
    pub(super) short_name: bool,
    /// One message at a time, so that the one over which a connection ends is known.
    pub(super) careful: bool,
}

/// What a broker allows on this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// Largest packet it takes, in bytes.
    pub(super) packet_bytes_max: usize,
    /// Messages that it has not acknowledged, at most.
    pub(super) receive_max: u16,
    /// Whether it keeps messages for those who come later.
    pub(super) retain: bool,
    /// Whether it acknowledges messages.
    pub(super) acknowledge: bool,
}

impl Limits {
    /// Without what the broker cannot do by these terms.
    pub(super) fn within(mut self, terms: Terms) -> Self {
        self.retain &= terms.retain;
        self.acknowledge &= terms.acknowledge;
        self
    }
}

/// Where we are with a broker.
#[derive(Debug)]
pub(super) struct Course {
    terms: Terms,
    /// Whether the broker tells why it closes a connection: MQTT 5.
    tells: bool,
    /// Whether the client's name is our own choice.
    own_name: bool,
    pause: Duration,
    shut_out: u32,
    dropped: u32,
}

impl Course {
    /// At the beginning, everything is asked for.
    pub(super) fn new(tells: bool, own_name: bool) -> Self {
        let terms = Terms { retain: true, acknowledge: true, short_name: false, careful: false };
        Self { terms, tells, own_name, pause: PAUSE_MIN, shut_out: 0, dropped: 0 }
    }

    /// What to ask for next.
    pub(super) fn terms(&self) -> Terms {
        self.terms
    }

    /// A connection is over, which held for `held` after the broker's welcome, with so many messages unanswered. Gives the
    /// pause before the next attempt. The kind of loss becomes what it turns out to be.
    pub(super) fn lost(&mut self, loss: &mut Loss, held: Option<Duration>, unanswered: usize) -> Duration {
        let lasted = held.is_some_and(|held| held >= LASTED);
        if lasted {
            self.pause = PAUSE_MIN;
            self.terms.careful = false;
            self.dropped = 0;
            if !self.tells {
                // What was found by trying may have been another trouble.
                (self.terms.retain, self.terms.acknowledge) = (true, true);
            }
        }
        self.shut_out = if held.is_none() && loss.kind == Kind::Closed { self.shut_out + 1 } else { 0 };
        let ended_soon = held.is_some() && !lasted;
        match loss.kind {
            Kind::NoRetain => self.terms.retain = false,
            Kind::NoAcknowledge => self.terms.acknowledge = false,
            Kind::Name if self.own_name => self.terms.short_name = true,
            Kind::Closed | Kind::Message | Kind::Foreign if ended_soon && unanswered > 0 => self.terms.careful = true,
            Kind::Closed if ended_soon => {
                self.dropped += 1;
                if self.dropped >= DROPPED_MAX {
                    loss.kind = Kind::Dropped;
                }
            }
            Kind::Closed if self.shut_out >= SHUT_OUT_MAX && !self.tells => self.try_others(),
            _ => {}
        }
        let pause = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        pause
    }

    /// Other terms for a broker that closes the connection over ours and cannot say why.
    fn try_others(&mut self) {
        self.shut_out = 0;
        (self.terms.retain, self.terms.acknowledge) = match (self.terms.retain, self.terms.acknowledge) {
            (true, true) => (false, true),
            (false, true) => (true, false),
            (true, false) => (false, false),
            (false, false) => (true, true),
        };
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn lose(course: &mut Course, kind: Kind, held_s: Option<u64>, unanswered: usize) -> (Kind, Duration) {
        let mut loss = Loss::new(kind, "");
        let pause = course.lost(&mut loss, held_s.map(Duration::from_secs), unanswered);
        (loss.kind, pause)
    }

    #[test]
    fn pauses_grow_until_a_connection_has_lasted_and_not_only_been_made() {
        let mut course = Course::new(true, true);
        let pauses: Vec<_> = (0..9).map(|_| lose(&mut course, Kind::TakenOver, Some(3), 0).1.as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        assert_eq!(lose(&mut course, Kind::Unreachable, Some(61), 0).1, PAUSE_MIN);
    }

    #[test]
    fn what_a_broker_refuses_is_not_asked_again() {
        let mut course = Course::new(true, true);
        lose(&mut course, Kind::NoRetain, None, 0);
        lose(&mut course, Kind::NoAcknowledge, None, 0);
        lose(&mut course, Kind::Name, None, 0);
        lose(&mut course, Kind::Closed, Some(100), 0);
        let terms = Terms { retain: false, acknowledge: false, short_name: true, careful: false };
        assert_eq!(course.terms(), terms);
        let mut named = Course::new(true, false);
        lose(&mut named, Kind::Name, None, 0);
        assert!(!named.terms().short_name, "a name that a person gave stays");
    }

    #[test]
    fn a_broker_that_cannot_say_what_it_wants_is_tried_until_it_opens() {
        let mut course = Course::new(false, true);
        let mut tried = Vec::new();
        for _ in 0..8 {
            lose(&mut course, Kind::Closed, None, 0);
            tried.push((course.terms().retain, course.terms().acknowledge));
        }
        let (no_retain, no_acknowledge, neither, all) = ((false, true), (true, false), (false, false), (true, true));
        assert_eq!(tried, [all, no_retain, no_retain, no_acknowledge, no_acknowledge, neither, neither, all],);
    }

    #[test]
    fn a_connection_that_ends_over_a_message_is_followed_by_one_message_at_a_time() {
        let mut course = Course::new(false, true);
        lose(&mut course, Kind::Closed, Some(1), 4);
        assert!(course.terms().careful);
        lose(&mut course, Kind::Closed, Some(99), 4);
        assert!(!course.terms().careful);
    }

    #[test]
    fn two_of_one_name_are_suspected_where_the_broker_says_nothing_of_it() {
        let mut course = Course::new(false, true);
        assert_eq!(lose(&mut course, Kind::Closed, Some(2), 0).0, Kind::Closed);
        assert_eq!(lose(&mut course, Kind::Closed, Some(2), 0).0, Kind::Dropped);
    }
}
