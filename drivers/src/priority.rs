//! How soon the operating system runs a thread, where it lets the agent say so.
//!
//! Linux gives each thread a nice value of its own, from -20 (soonest) to 19; a thread inherits that of the thread that
//! started it. How low it may go is bounded by `RLIMIT_NICE` (systemd: `LimitNICE=`); without that permission everything
//! runs as it did. Real-time scheduling is not asked for: a fault in the agent must not be able to stop the computer.

/// The threads that talk to machines and to drives: a late line makes a machine stand still in its work, a late stop is
/// worse.
pub const MACHINE: i32 = -10;

/// The threads that serve the network: an emergency stop comes through them.
pub const NETWORK: i32 = -5;

/// Reading whole programs through, which may wait.
pub const BACKGROUND: i32 = 10;

/// Asks for a nice value for the calling thread, and returns the one it has then; none where the system has no such
/// values.
pub fn ask(nice: i32) -> Option<i32> {
    let asked = set(nice);
    let has = get();
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    match asked {
        Ok(()) => tracing::debug!(thread = name, nice, "priority as asked"),
        Err(error) => tracing::debug!(thread = name, nice, ?has, %error, "no other priority is allowed"),
    }
    has
}

/// Does work that may wait, on a thread that is given its priority back afterwards. A thread that could not get it back
/// keeps it.
pub fn in_background<T>(work: impl FnOnce() -> T) -> T {
    let before = get().unwrap_or(0);
    // Raised before, so that it may be raised again.
    let raised = before < 0;
    if raised {
        ask(BACKGROUND);
    }
    let done = work();
    if raised {
        ask(before);
    }
    done
}

#[cfg(target_os = "linux")]
fn set(nice: i32) -> std::io::Result<()> {
    // On Linux this is a property of the thread, whatever the call is named.
    Ok(rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice)?)
}

#[cfg(target_os = "linux")]
fn get() -> Option<i32> {
    rustix::process::getpriority_process(Some(rustix::thread::gettid())).ok()
}

#[cfg(not(target_os = "linux"))]
fn set(_nice: i32) -> std::io::Result<()> {
    Err(std::io::Error::from(std::io::ErrorKind::Unsupported))
}

#[cfg(not(target_os = "linux"))]
fn get() -> Option<i32> {
    None
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::disallowed_methods, reason = "priorities are of threads")]
mod test {
    use super::*;

    #[test]
    fn a_priority_is_of_one_thread_and_of_no_other() {
        let before = get();
        // Waiting longer is always allowed.
        let asked = std::thread::spawn(|| ask(7)).join().unwrap();
        assert_eq!((asked, get()), (Some(7), before));
    }

    #[test]
    fn work_in_the_background_gives_its_thread_back_as_it_was() {
        let (before, during, after) = std::thread::spawn(|| {
            let before = ask(NETWORK);
            (before, in_background(get), get())
        })
        .join()
        .unwrap();
        let raised = before == Some(NETWORK);
        assert_eq!(during, if raised { Some(BACKGROUND) } else { before });
        assert_eq!(after, before);
    }
}
