//! MeatPack on the wire, where the profile asks for it and the firmware has it: two characters in a byte.
//!
//! Every line is packed by itself, so that it may be said again alone. Flow control counts the bytes written, which is
//! what fills a receive buffer. The receiver is told to start anew wherever it may have lost its place: after a request
//! to say lines again (it threw away what it had), after an overdue answer, and after words that had to go unpacked.
//!
//! Spaces are left out, and `E` packed in their place, only for a firmware that has said at connect that it does so
//! (`NSP`) and that reads `20.5E12.5` as two words. The mode is said each time, never taken as given: a reset of the
//! receiver leaves Marlin's table with `E` in the place of the space (`reset_state` in `feature/meatpack.cpp`).

use gcode_tools::formats::meatpack::{Command, Packer, Spaces};
use gcode_tools::wire::Numbers;
use serde::{Deserialize, Serialize};

use super::Session;
use crate::profile::Profile;

/// What a firmware says that was built with it (Marlin `M115.cpp`).
pub(super) const CAPABILITY: &str = "MEATPACK";

/// The command that makes a receiver take plain text, whatever was half-received before.
const PLAIN: &[u8] = &[0xFF, 0xFF, Command::Reset as u8];

/// Asks a receiver whether it knows the mode without spaces: it reports after each command. It is left with spaces.
const KNOWS_NO_SPACES: &[u8] = &[0xFF, 0xFF, Command::WithoutSpaces as u8, 0xFF, 0xFF, Command::WithSpaces as u8];

/// Whether and how what is said is packed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Packing {
    state: State,
    /// The firmware has said that it packs `E` in the place of the space.
    #[serde(default)]
    without_spaces: bool,
    /// How it reads numbers.
    #[serde(default)]
    numbers: Numbers,
    #[serde(skip)]
    packer: Option<Packer>,
    #[serde(skip)]
    packed: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Nothing is packed: it is not asked for, or the machine has not said that it unpacks.
    #[default]
    Off,
    /// The machine unpacks; nothing needs to be packed now.
    Ready,
    /// A job is packed; the receiver must be told (anew).
    Opening,
    /// A job is packed.
    On,
}

impl Packing {
    /// The machine says that it unpacks.
    pub(super) fn receiver_found(&mut self, profile: &Profile) {
        if profile.stream.meatpack && self.state == State::Off {
            self.state = State::Ready;
        }
    }

    /// Its receiver reports how it stands.
    pub(super) fn receiver_says(&mut self, profile: &Profile, without_spaces: bool) {
        self.receiver_found(profile);
        self.without_spaces |= without_spaces;
    }

    /// It is known how the machine reads numbers.
    pub(super) fn reader_known(&mut self, numbers: Numbers) {
        self.numbers = numbers;
    }

    fn spaces(&self) -> Spaces {
        if self.without_spaces && self.numbers < Numbers::Exponents { Spaces::Removed } else { Spaces::Kept }
    }

    /// From now on lines are packed, if they can be.
    pub(super) fn begin(&mut self) {
        if self.state == State::Ready {
            self.state = State::Opening;
        }
    }

    /// The receiver may have lost its place.
    pub(super) fn interrupt(&mut self) {
        if self.state == State::On {
            self.state = State::Opening;
        }
    }

    /// What must be said in front of bytes that are not packed, outside the order of lines.
    pub(super) fn interrupted_for_plain(&mut self) -> &'static [u8] {
        let packed = self.state == State::On;
        self.interrupt();
        if packed { PLAIN } else { &[] }
    }

    /// Packs a spelled line, if lines are packed now.
    pub(super) fn pack(&mut self, spelled: &mut Vec<u8>) {
        if !matches!(self.state, State::Opening | State::On) {
            return;
        }
        self.packed.clear();
        let spaces = self.spaces();
        let packer = self.packer.get_or_insert_with(|| {
            let mut packer = Packer::new(spaces);
            // The receiver is told below, wherever it must be.
            packer.open(&mut Vec::new());
            packer
        });
        if self.state == State::Opening {
            self.packed.extend_from_slice(PLAIN);
            self.packed.extend(Command::On.bytes());
            self.packed.extend(match spaces {
                Spaces::Removed => Command::WithoutSpaces.bytes(),
                Spaces::Kept => Command::WithSpaces.bytes(),
            });
        }
        // The interlock lets nothing through that cannot be packed; such a line would be said as it is.
        if packer.pack(spelled, &mut self.packed).is_ok() {
            std::mem::swap(spelled, &mut self.packed);
        } else {
            spelled.splice(0..0, PLAIN.iter().copied());
            (self.state, self.packer) = (State::Opening, None);
        }
    }

    /// What was packed last is on its way.
    pub(super) fn written(&mut self) {
        if self.state == State::Opening && self.packer.is_some() {
            self.state = State::On;
        }
    }

    /// The job is over: the receiver takes plain text again.
    pub(super) fn end(&mut self, wire: &mut Vec<u8>) {
        if self.state == State::On {
            wire.extend_from_slice(PLAIN);
        }
        if matches!(self.state, State::Opening | State::On) {
            self.state = State::Ready;
        }
    }
}

impl Session {
    /// Packs the line just spelled, if lines are packed now.
    pub(super) fn pack_spelled(&mut self) {
        self.packing.pack(&mut self.spelled);
    }

    /// Makes a receiver take plain text before it is asked who it is: the agent may have died in the middle of a packed
    /// job. Its report, if there is one, says that it unpacks.
    pub(super) fn unpack_receiver(&mut self) {
        if self.profile.stream.meatpack && self.dialect.habits().numbered {
            self.wire.extend_from_slice(PLAIN);
            self.wire.extend_from_slice(KNOWS_NO_SPACES);
            self.known.link.bytes_out += (PLAIN.len() + KNOWS_NO_SPACES.len()) as u64;
        }
    }
}
