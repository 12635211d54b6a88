//! The mailbox: how lines of a program travel in holding registers. `docs/modbus.md` is its document; this file is its
//! layout, `host` the agent's side.

mod host;

use crate::snapshot::{Identity, Protection};

pub use host::Host;

/// First word of a mailbox: `FB`.
pub const MAGIC: u16 = 0x4642;

/// Version of the layout.
pub const VERSION: u16 = 1;

/// Words of the machine's block, which the machine writes and the host reads.
pub const MACHINE_WORDS: u16 = 32;

/// Where the host's block begins, which the host writes and the machine reads.
pub const HOST_BLOCK: u16 = 32;

/// Words of the host's block.
pub const HOST_WORDS: u16 = 8;

/// Where the slots begin.
pub const SLOTS: u16 = HOST_BLOCK + HOST_WORDS;

/// Words of a slot beside its text: length with session in front, sequence number behind.
pub const SLOT_FRAME: u16 = 2;

/// Slots a mailbox may have.
pub const SLOTS_MAX: u16 = 128;

/// Words of text a slot may have: with its frame, one write carries at least one slot.
pub const SLOT_TEXT_MAX: u16 = 100;

/// Questions that are asked of one machine together, whatever it says. A stop waits behind no more.
pub const TRANSACTIONS_MAX: usize = 4;

/// Words of the machine's block, by place.
pub mod machine {
    /// [`super::MAGIC`].
    pub const MAGIC: u16 = 0;
    /// [`super::VERSION`].
    pub const VERSION: u16 = 1;
    /// What it can: see [`super::feature`].
    pub const FEATURES: u16 = 2;
    /// Slots.
    pub const SLOTS: u16 = 3;
    /// Words of text in a slot.
    pub const SLOT_TEXT: u16 = 4;
    /// How long the host's beat may stand still before the machine holds by itself, in milliseconds; 0: for ever.
    pub const WATCHDOG_MS: u16 = 5;
    /// The session it serves; 0 after power-on.
    pub const SESSION: u16 = 6;
    /// The last beat it saw.
    pub const BEAT: u16 = 7;
    /// Sequence number of the last line it took.
    pub const TAKEN: u16 = 8;
    /// Sequence number of the last line it has executed.
    pub const EXECUTED: u16 = 9;
    /// See [`super::State`].
    pub const STATE: u16 = 10;
    /// Alarm code, 0 for none.
    pub const ALARM: u16 = 11;
    /// Why it refused a line, 0 for none.
    pub const ERROR: u16 = 12;
    /// Sequence number of that line.
    pub const ERROR_LINE: u16 = 13;
    /// Number of the last command it carried out.
    pub const COMMAND_DONE: u16 = 14;
    /// Over TCP, how many questions may be on their way at once; 0 counts as 1.
    pub const TRANSACTIONS: u16 = 15;
    /// Position X in micrometres, 32 bits, high word first; then Y and Z.
    pub const POSITION: u16 = 16;
    /// Feed in mm/min, 32 bits.
    pub const FEED: u16 = 22;
    /// Spindle speed in revolutions per minute or laser power, 32 bits.
    pub const SPINDLE: u16 = 24;
    /// Words from the session on that are read again and again.
    pub const STATUS_WORDS: u16 = 26 - SESSION;
}

/// Words of the host's block, by place in it.
pub mod host_block {
    /// The session, never 0.
    pub const SESSION: u16 = 0;
    /// Goes up while the host lives.
    pub const BEAT: u16 = 1;
    /// Sequence number of the last refused line that the host has seen.
    pub const ERROR_SEEN: u16 = 2;
    /// See [`super::Command`].
    pub const COMMAND: u16 = 3;
    /// Number of that command.
    pub const COMMAND_NUMBER: u16 = 4;
}

/// Bits of the features word.
pub mod feature {
    /// Read and write in one question (function 23).
    pub const READ_WRITE: u16 = 1;
    /// Positions are reported.
    pub const POSITION: u16 = 2;
    /// The machine can home.
    pub const HOME: u16 = 4;
}

/// What a machine is asked to do beside its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Command {
    /// Stand still, keep everything.
    Hold = 1,
    /// Go on.
    Resume = 2,
    /// Emergency stop: everything off, alarm.
    Stop = 3,
    /// A person looked at the machine: leave the alarm.
    Clear = 4,
    /// Home.
    Home = 5,
}

/// A machine's state word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum State {
    /// Nothing moves.
    Idle = 1,
    /// Moving, homing or waiting for a time.
    Run = 2,
    /// Slowing down.
    Holding = 3,
    /// Standing still in a hold.
    Held = 4,
    /// The door is open.
    Door = 5,
    /// In alarm.
    Alarm = 6,
    /// The program waits for a person.
    Waiting = 7,
}

impl State {
    /// The state of a word, if it is one.
    pub fn of(word: u16) -> Option<Self> {
        [Self::Idle, Self::Run, Self::Holding, Self::Held, Self::Door, Self::Alarm, Self::Waiting]
            .into_iter()
            .find(|state| *state as u16 == word)
    }
}

/// What a machine with a mailbox does if its host dies now, by what it said of itself.
pub fn protection(identity: &Identity) -> Protection {
    let time_ms = identity.capabilities.iter().find_map(|capability| capability.strip_prefix("watchdog_ms:"));
    let because = match time_ms {
        Some(time_ms) => format!("the controller holds by itself {time_ms} ms after its host's last beat"),
        None => "the machine is unprotected: its controller has no watchdog and runs on with what it has".to_owned(),
    };
    Protection { hazard: "motion".into(), protected: time_ms.is_some(), because }
}

/// The first word of a slot: length in characters, and the low byte of the session above it.
pub fn slot_head(session: u16, length: usize) -> u16 {
    session << 8 | (length as u16 & 0xff)
}

#[cfg(test)]
mod test;
