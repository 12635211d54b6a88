//! Open files of this process: connections, ports and files share one bound, and who reaches it is told "too many open
//! files" for everything.

use std::fs::File;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files the agent can make use of: connections at their most, each with the file of an upload, and everything else
/// several times over.
const WANTED: u64 = 4096;

/// Where the kernel lists the open files of this process.
const LIST: &str = "/proc/self/fd";

/// Taken for open where the system has no such list: what an agent with many machines has.
const SUPPOSED: usize = 256;

/// Raises this process's own bound as far as it may by itself. Many systems begin with 1024, for programs of long ago.
pub(crate) fn raise() {
    let known = getrlimit(Resource::Nofile);
    let wanted = known.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if known.current.is_some_and(|current| current < wanted) {
        // Without it the agent serves fewer at once.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: known.maximum });
    }
}

/// How many files can be opened still.
pub(crate) fn left() -> usize {
    let bound = getrlimit(Resource::Nofile).current.unwrap_or(WANTED);
    let open = std::fs::read_dir(LIST).map_or(SUPPOSED, Iterator::count);
    usize::try_from(bound).unwrap_or(usize::MAX).saturating_sub(open)
}

/// A file that is there and costs nothing.
const NOTHING: &str = "/dev/null";

/// A file that is open for nothing: dropped, it makes room for another.
#[derive(Debug)]
pub(crate) struct Spare(#[expect(dead_code, reason = "it is held open")] File);

impl Spare {
    /// One more. None where no file can be opened any more.
    pub(crate) fn open() -> Option<Self> {
        File::open(NOTHING).ok().map(Self)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_open_file_is_one_less_that_is_left() {
        raise();
        let before = left();
        // Other tests open and close theirs meanwhile: many more than those.
        let files: Vec<_> = (0..200).map(|_| Spare::open().unwrap()).collect();
        assert!(left() < before, "{} files", files.len());
    }
}
