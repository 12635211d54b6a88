//! Who is connected, and who goes when too many are. Nothing here opens or waits for anything.
//!
//! Most of those who wait for nothing (a connection without a request, a request that does not come to its end) make
//! room for whoever comes. Only where everybody is at work does somebody new get a lane in which nothing but what is
//! urgent is done: a stop is let in at any time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Connections at once, at most: more than a workshop has, and some 20 MB of memory if each is at work.
const CONNECTIONS_MAX: usize = 1024;

/// Connections at once that are let in however few files may be open: a page has six.
const CONNECTIONS_MIN: usize = 8;

/// Connections at once of one address of the network: ten browsers, or one that was forgotten in sixty tabs.
const OF_ONE_CLIENT: usize = 64;

/// Files that are left for everything but clients: ports that are opened again, the store, recordings, the broker.
const KEPT_BACK: usize = 96;

/// Open files of a connection at most: its own, and the program that it brings or fetches.
const FILES_OF_A_CONNECTION: usize = 2;

/// An alarm that is later than this was slept through: the agent was stopped, or its computer slept. What came meanwhile
/// is read first.
const SLEPT: Duration = Duration::from_secs(1);

/// Whether an alarm that rings now was slept through.
pub(super) fn slept_through(due: Instant) -> bool {
    due.elapsed() > SLEPT
}

/// Lanes for those who come when all places are taken.
pub(super) const URGENT_LANES: usize = 16;

/// How many there may be, and how long each may take for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections in all, besides the urgent lanes.
    pub(super) all: usize,
    /// Connections of one address of the network.
    pub(super) of_one_client: usize,
    /// Connections of this computer's own addresses: a proxy is one client, with many behind it.
    pub(super) of_this_computer: usize,
    /// For the head of a request, from its first byte; for a new connection from the beginning.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// For the next piece of a request's body.
    pub(super) pause: Duration,
    /// For all pieces together: what a body may be late by.
    pub(super) late: Duration,
    /// Slowest body in the long run.
    pub(super) bytes_per_s: u64,
    /// Until a client takes more of an answer that waits.
    pub(super) stall: Duration,
    /// For everything, in an urgent lane.
    pub(super) urgent: Duration,
}

impl Limits {
    /// The limits of an agent that can open so many files more. A configured number of connections of one client counts
    /// for everybody; without it, this computer may have them all.
    pub(super) fn with(files_left: usize, of_one_client: Option<usize>) -> Self {
        let all = files_left.saturating_sub(KEPT_BACK) / FILES_OF_A_CONNECTION;
        let all = all.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        Self {
            all,
            of_one_client: of_one_client.unwrap_or(OF_ONE_CLIENT).min(all),
            of_this_computer: of_one_client.unwrap_or(all).min(all),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            // A phone on a bad network takes seconds.
            pause: Duration::from_secs(30),
            late: Duration::from_secs(60),
            bytes_per_s: 1000,
            stall: Duration::from_secs(30),
            urgent: Duration::from_secs(5),
        }
    }

    fn of(&self, client: IpAddr) -> usize {
        if client.is_loopback() { self.of_this_computer } else { self.of_one_client }
    }
}

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing but a connection: no request has come to its end on it.
    New,
    /// A request has begun, and its head is not all there.
    Head,
    /// Between two requests.
    Idle,
    /// A request is being read, done or answered.
    Busy,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) client: IpAddr,
    /// All places were taken when it came: only what is urgent is done for it.
    pub(super) urgent_only: bool,
    pub(super) limits: Limits,
    at: Mutex<(Phase, Instant)>,
    /// Since when it is in an urgent lane, if it is.
    urgent_since: Mutex<Instant>,
    too_slow: AtomicBool,
    leave: Notify,
}

impl Guest {
    fn new(client: IpAddr, urgent_only: bool, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            client,
            urgent_only,
            limits,
            at: Mutex::new((Phase::New, now)),
            urgent_since: Mutex::new(now),
            too_slow: AtomicBool::new(false),
            leave: Notify::new(),
        }
    }

    fn at(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase(&self) -> Phase {
        self.at().0
    }

    /// Whether nothing is being done for it, and since when.
    fn waits_since(&self) -> Option<Instant> {
        let (phase, since) = *self.at();
        (phase != Phase::Busy).then_some(since)
    }

    /// Bytes came from it.
    pub(super) fn speaks(&self) {
        let mut at = self.at();
        if at.0 == Phase::Idle {
            *at = (Phase::Head, Instant::now());
        }
    }

    /// The head of a request is all there.
    pub(super) fn asks(&self) {
        *self.at() = (Phase::Busy, Instant::now());
    }

    /// It was answered.
    pub(super) fn is_answered(&self) {
        *self.at() = (Phase::Idle, Instant::now());
    }

    /// When its patience ends, as it is now.
    pub(super) fn until(&self) -> Option<Instant> {
        let (phase, since) = *self.at();
        let until = match phase {
            Phase::New | Phase::Head => Some(since + self.limits.head),
            Phase::Idle => Some(since + self.limits.idle),
            // Bodies and answers have limits of their own.
            Phase::Busy => None,
        };
        if !self.urgent_only {
            return until;
        }
        let urgent = *self.urgent_since.lock().unwrap_or_else(PoisonError::into_inner) + self.limits.urgent;
        Some(until.map_or(urgent, |until| until.min(urgent)))
    }

    /// The body of its request took too long.
    pub(super) fn is_too_slow(&self) {
        self.too_slow.store(true, Ordering::Release);
    }

    pub(super) fn was_too_slow(&self) -> bool {
        self.too_slow.load(Ordering::Acquire)
    }

    /// Its patience begins anew with what it is at: nobody looked meanwhile whether something came.
    pub(super) fn begins_anew(&self) {
        let now = Instant::now();
        self.at().1 = now;
        *self.urgent_since.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Waits until it has to make room.
    pub(super) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }
}

/// Everybody who is connected.
#[derive(Debug)]
pub(super) struct Crowd {
    limits: Limits,
    /// A guest is there as long as its connection holds on to it, however that ends.
    guests: Vec<Weak<Guest>>,
}

impl Crowd {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, guests: Vec::new() }
    }

    /// Lets somebody in, if there is place or can be made; `short` says that there is none although not all are taken.
    pub(super) fn admit(&mut self, client: IpAddr, short: bool) -> Option<Arc<Guest>> {
        let client = client.to_canonical();
        self.guests.retain(|guest| guest.strong_count() > 0);
        let guests: Vec<Arc<Guest>> = self.guests.iter().filter_map(Weak::upgrade).collect();
        let placed = || guests.iter().filter(|guest| !guest.urgent_only);
        let mut of_client: HashMap<IpAddr, usize> = HashMap::new();
        for guest in placed() {
            *of_client.entry(guest.client).or_default() += 1;
        }
        let own = of_client.get(&client).copied().unwrap_or(0);
        let (full, who) = if own >= self.limits.of(client) {
            (true, longest_waiting(placed().filter(|guest| guest.client == client), |_| 0))
        } else if short || placed().count() >= self.limits.all {
            // Of whoever has most of them.
            (true, longest_waiting(placed(), |guest| of_client.get(&guest.client).copied().unwrap_or(0)))
        } else {
            (false, None)
        };
        let urgent_only = full && who.is_none();
        if let Some(who) = who {
            self.send_away(&who);
        }
        if urgent_only && guests.iter().filter(|guest| guest.urgent_only).count() >= URGENT_LANES {
            let who = longest_waiting(guests.iter().filter(|guest| guest.urgent_only), |_| 0)?;
            self.send_away(&who);
        }
        let guest = Arc::new(Guest::new(client, urgent_only, self.limits));
        self.guests.push(Arc::downgrade(&guest));
        Some(guest)
    }

    fn send_away(&mut self, who: &Arc<Guest>) {
        who.leave.notify_one();
        self.guests.retain(|guest| !std::ptr::eq(guest.as_ptr(), Arc::as_ptr(who)));
    }
}

/// Of those who wait, the one with the greatest weight that has waited longest.
fn longest_waiting<'g>(
    guests: impl Iterator<Item = &'g Arc<Guest>>,
    weight: impl Fn(&Guest) -> usize,
) -> Option<Arc<Guest>> {
    let waiting = guests.filter_map(|guest| Some((guest, guest.waits_since()?)));
    let first = waiting.min_by_key(|(guest, since)| (std::cmp::Reverse(weight(guest)), *since));
    first.map(|(guest, _)| guest.clone())
}

#[cfg(test)]
mod test {
    use super::*;

    fn limits() -> Limits {
        Limits { all: 6, of_one_client: 4, of_this_computer: 6, ..Limits::with(0, None) }
    }

    fn client(number: u8) -> IpAddr {
        IpAddr::from([192, 168, 0, number])
    }

    /// So many connections of a client, all at work or all waiting.
    fn some(crowd: &mut Crowd, number: u8, count: usize, busy: bool) -> Vec<Arc<Guest>> {
        let guests = (0..count).map(|_| crowd.admit(client(number), false).unwrap());
        let guests: Vec<_> = guests.collect();
        if busy {
            all_ask(&guests);
        }
        guests
    }

    fn all_ask(guests: &[Arc<Guest>]) {
        for guest in guests {
            guest.asks();
        }
    }

    fn has_to_leave(guest: &Guest) -> bool {
        use std::future::Future as _;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(guest.has_to_leave()).poll(&mut context).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_longest_of_the_client_with_most_connections_makes_room() {
        let mut crowd = Crowd::new(limits());
        let one = some(&mut crowd, 1, 2, false);
        tokio::time::advance(Duration::from_secs(1)).await;
        let two = some(&mut crowd, 2, 4, false);
        two[0].asks();
        let new = crowd.admit(client(3), false).unwrap();
        assert!(!new.urgent_only && has_to_leave(&two[1]));
        assert!(!one.iter().any(|guest| has_to_leave(guest)) && !has_to_leave(&two[0]));
    }

    #[tokio::test]
    async fn where_everybody_is_at_work_only_what_is_urgent_is_done_for_who_comes() {
        let mut crowd = Crowd::new(limits());
        let (one, two) = (some(&mut crowd, 1, 3, true), some(&mut crowd, 2, 3, true));
        let mut lanes: Vec<_> = (0..URGENT_LANES).map(|_| crowd.admit(client(3), false).unwrap()).collect();
        assert!(lanes.iter().all(|guest| guest.urgent_only));
        assert!(!one.iter().chain(&two).any(|guest| has_to_leave(guest)));
        // A lane that nobody uses is given to the next.
        lanes[0].asks();
        assert!(crowd.admit(client(4), false).unwrap().urgent_only && has_to_leave(&lanes[1]));
        all_ask(&lanes);
        let last = crowd.admit(client(4), false).unwrap();
        last.asks();
        assert!(crowd.admit(client(5), false).is_none());
        // One that has ended leaves its place, however it ended.
        drop((one, lanes.pop()));
        assert!(!crowd.admit(client(4), false).unwrap().urgent_only);
    }

    #[tokio::test]
    async fn a_client_with_too_many_connections_takes_no_place_of_others() {
        let mut crowd = Crowd::new(limits());
        let one = some(&mut crowd, 1, 4, true);
        assert!(crowd.admit(client(1), false).unwrap().urgent_only);
        assert!(!crowd.admit(client(2), false).unwrap().urgent_only);
        one[2].is_answered();
        assert!(!crowd.admit(client(1), false).unwrap().urgent_only && has_to_leave(&one[2]));
    }

    #[test]
    fn a_proxy_on_this_computer_is_one_client_and_may_have_every_place() {
        let limits = Limits::with(100_000, None);
        let here = [[127, 0, 0, 1].into(), "::1".parse().unwrap()];
        assert!(here.into_iter().all(|here| limits.of(here) == limits.all));
        assert_eq!(limits.of(client(1)), OF_ONE_CLIENT);
        let configured = Limits::with(100_000, Some(7));
        assert_eq!((configured.of(client(1)), configured.of(here[0])), (7, 7));
    }

    #[test]
    fn few_open_files_are_few_connections_and_some_are_kept_back() {
        assert_eq!(Limits::with(KEPT_BACK + 200, None).all, 100);
        assert_eq!(Limits::with(10, None).all, CONNECTIONS_MIN);
        assert_eq!(Limits::with(1 << 20, None).all, CONNECTIONS_MAX);
    }

    #[tokio::test]
    async fn places_are_made_where_no_file_can_be_opened_any_more() {
        let mut crowd = Crowd::new(limits());
        let one = some(&mut crowd, 1, 2, false);
        assert!(!crowd.admit(client(2), true).unwrap().urgent_only);
        assert_eq!(one.iter().filter(|guest| has_to_leave(guest)).count(), 1);
        all_ask(&one);
        assert!(crowd.admit(client(2), true).unwrap().urgent_only);
    }
}
