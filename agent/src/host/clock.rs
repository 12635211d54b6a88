//! The clocks of the computer: the time of day, which may be wrong and may be set, and time since it was switched on.

use std::path::Path;

/// Where the kernel says which switching-on this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Written by systemd-timesyncd once it has set the clock (systemd-timesyncd.service(8)).
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// The folder that is there where systemd-timesyncd runs.
const TIMESYNC: &str = "/run/systemd/timesync";

/// Before this no agent was built: a clock that says less was never set. A Pi has no clock that runs without power.
const BUILT_AFTER_MS: i64 = 1_767_225_600_000; // 2026-01-01

/// Microseconds since the computer was switched on. It counts on while the computer sleeps, and nobody can set it.
pub fn since_boot_us() -> u64 {
    #[cfg(target_os = "linux")]
    let clock = nix::time::ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    // It cannot fail for these clocks; zero would make every start look fresh, the end of time makes it stale.
    clock.now().map_or(u64::MAX, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0) / 1000)
    })
}

/// Which switching-on of the computer this is; empty where the system does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The time of day in milliseconds since 1970, right or wrong.
pub fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Whether the clock was set, as far as can be known: by who sets it here, or else because it is not absurd.
pub fn is_set() -> bool {
    if Path::new(TIMESYNC).exists() { Path::new(SYNCHRONIZED).exists() } else { wall_ms() > BUILT_AFTER_MS }
}

/// RFC 3339 text of a time of day, to the millisecond.
pub fn rfc3339(wall_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(wall_ms).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_clocks_say_something() {
        let before = since_boot_us();
        assert!(before > 0 && since_boot_us() >= before);
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    }
}
