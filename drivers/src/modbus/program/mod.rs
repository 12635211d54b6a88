//! Program files: machines that are given a whole program, in blocks or by number, and are then started.
//!
//! Which register means what is in the profile (`modbus.program`); `docs/modbus.md` has the handshake. Towards the session
//! it is a machine that keeps lines (see `dialect::program_file`); towards the bus it is a list of questions.
//!
//! ```text
//!            a first line          forgotten             $START              right number        it runs
//!  Rest ──────────────────► Opening ────────► Filling ──────────► Loading ────────────► Starting ────────► Running
//!    ▲ │ (programs by number)                               ▲                                               │
//!    │ └────────────────────────────────────────────────────┘                                               │ it is done
//!    ├──────────────────────────── Over ◄───────────────────────────────────────────────────────────────────┘
//!    └── Stopping ◄── stop, cancel (from any)
//! ```
//!
//! A block may be written again and again: the controller takes it by its number, once. The start may not: it is
//! written once, and whether the machine runs is only believed when it says so.

mod block;
mod host;
mod job;
mod map;

pub use host::Host;
#[cfg(feature = "io")]
pub(crate) use host::PULSE;

use crate::snapshot::Protection;

/// What a machine that is given program files does if its host dies now.
pub fn protection() -> Protection {
    let because = "the machine is unprotected: its controller runs the program that was started to its end, with or \
                   without its host";
    Protection { hazard: "motion".into(), protected: false, because: because.to_owned() }
}

#[cfg(test)]
mod test;
