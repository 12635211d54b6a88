//! Signals that end programs, as something to wait for.

use std::future::poll_fn;
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Every signal besides Ctrl-C that ends a program which does not heed it (`signal(7)`), and that can be heeded. SIGPIPE
/// ends no program written in Rust; those that follow a fault in the program itself come too late.
#[cfg(target_os = "linux")]
const OTHERS: [Number; 12] = [
    Number::TERM,
    Number::HUP,
    Number::QUIT,
    Number::USR1,
    Number::USR2,
    Number::ALARM,
    Number::VTALARM,
    Number::PROF,
    Number::IO,
    Number::POWER,
    Number::XCPU,
    Number::XFSZ,
];
#[cfg(not(target_os = "linux"))]
const OTHERS: [Number; 6] = [Number::TERM, Number::HUP, Number::QUIT, Number::USR1, Number::USR2, Number::ALARM];

/// What somebody wants who sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Ctrl-C: a person at the terminal, who may press it again.
    Interrupt,
    /// The program is to end: a closed terminal, the system, another program.
    End,
}

/// Signals that end programs. One that comes while nobody waits is told to whoever waits next.
pub(crate) struct EndSignals(Vec<(Wanted, Signal)>);

impl EndSignals {
    /// From now on these signals no longer end the process by themselves. A hangup that whoever started the program
    /// wants it to outlive (`nohup`) stays unheeded.
    pub(crate) fn listen() -> Self {
        let others = OTHERS.into_iter().filter(|number| *number != Number::HUP || !outlives_hangup());
        let others = others.map(|number| (Wanted::End, SignalKind::from_raw(number.as_raw())));
        let all = std::iter::once((Wanted::Interrupt, SignalKind::interrupt())).chain(others);
        // A system that does not deliver one of them ends the process its own way.
        Self(all.filter_map(|(wanted, kind)| Some((wanted, signal(kind).ok()?))).collect())
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Wanted {
        poll_fn(|context| {
            for (wanted, signal) in &mut self.0 {
                if matches!(signal.poll_recv(context), Poll::Ready(Some(()))) {
                    return Poll::Ready(*wanted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Waits until somebody wants this program to end. Who asks between this call and the waiting is heard as well.
pub(crate) fn asked_to_end() -> impl Future<Output = ()> {
    let mut signals = EndSignals::listen();
    async move {
        signals.next().await;
    }
}

/// Whether this process was started with SIGHUP ignored, as the kernel says.
fn outlives_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, Number::HUP.as_raw()))
}

/// Whether a signal is among the ignored ones of a `/proc/self/status`.
fn ignores(status: &str, number: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    let mask = mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    number > 0 && mask >> (number - 1) & 1 == 1
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_hangup_that_is_to_be_outlived_is_known() {
        assert!(ignores("Name:\tx\nSigIgn:\t0000000000001001\n", 1));
        assert!(!ignores("Name:\tx\nSigIgn:\t0000000000001000\n", 1));
        assert!(!ignores("", 1));
    }
}
