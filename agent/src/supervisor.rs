//! What systemd is told: ready, alive, going. Without systemd, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::desk::Desk;

/// Says that the agent serves, in one sentence that `systemctl status` shows.
pub fn ready(status: &str) {
    let _ = sd_notify::notify(false, &[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the agent is going.
pub fn stopping() {
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
}

/// Says again and again that the agent is alive, as long as its desk is, for as long as this future is run; returns only
/// where no watchdog wants to know. It shares the runtime with everything that faces the network, so a runtime that
/// hangs is silent. A disk that hangs is no reason to be: the machines would lose who speaks for them.
pub async fn stay_alive(desk: &Desk) {
    let mut wanted_us = 0;
    if !sd_notify::watchdog_enabled(false, &mut wanted_us) || wanted_us == 0 {
        return;
    }
    // Half of the patience that systemd has, as its documentation advises.
    let mut beat = tokio::time::interval(Duration::from_micros(wanted_us / 2));
    loop {
        beat.tick().await;
        if desk.is_alive().await {
            let _ = sd_notify::notify(false, &[NotifyState::Watchdog]);
        }
    }
}
