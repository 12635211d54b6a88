//! What else stands on serial ports and is no machine: a receiver of satellites, a modem, a computer that wants a login.

use std::time::Duration;

use super::{Report, Setup, Simulated};
use crate::moment::Moment;

/// What a device says by itself, and what to a line.
struct Stranger {
    name: &'static str,
    every: Option<Duration>,
    by_itself: &'static [u8],
    to_a_line: &'static [u8],
    /// Whether it sends back what it is sent.
    echoes: bool,
    says_at: Moment,
    out: Vec<u8>,
    heard: u64,
}

fn build(name: &'static str, by_itself: &'static [u8], to_a_line: &'static [u8], every_s: u64) -> Box<dyn Simulated> {
    let every = (every_s > 0).then(|| Duration::from_secs(every_s));
    let says_at = Moment::ZERO;
    Box::new(Stranger { name, every, by_itself, to_a_line, echoes: name != "gps", says_at, out: Vec::new(), heard: 0 })
}

pub(super) fn build_gps(_: &Setup) -> Box<dyn Simulated> {
    build("gps", b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n", b"", 1)
}

pub(super) fn build_modem(_: &Setup) -> Box<dyn Simulated> {
    build("modem", b"", b"\r\nERROR\r\n", 0)
}

pub(super) fn build_login(_: &Setup) -> Box<dyn Simulated> {
    build("login", b"", b"\r\nDebian GNU/Linux 12 mill ttyS0\r\n\r\nmill login: ", 0)
}

impl Simulated for Stranger {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        self.heard += bytes.len() as u64;
        for byte in bytes {
            if self.echoes {
                self.out.push(*byte);
            }
            if *byte == b'\n' {
                self.out.extend_from_slice(self.to_a_line);
            }
        }
        self.advance(now);
    }

    fn advance(&mut self, now: Moment) {
        let Some(every) = self.every.filter(|_| now >= self.says_at) else { return };
        self.says_at = now + every;
        self.out.extend_from_slice(self.by_itself);
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn wakes_at(&self) -> Option<Moment> {
        self.every.map(|_| self.says_at)
    }

    fn reset(&mut self, _now: Moment) {}

    fn completed(&self) -> u64 {
        0
    }

    fn report(&self) -> Report {
        Report { dialect: self.name, bytes: self.heard, ..Report::default() }
    }
}
