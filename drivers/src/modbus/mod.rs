//! Modbus: registers as data, what is asked of them, and the mailbox in which programs travel.
//!
//! What is pure here (values, the plan of reads, the mailbox) opens nothing and reads no clock. The bus, which asks
//! the questions, is part of the `io` feature.

pub mod address;
pub mod attached;
#[cfg(feature = "io")]
pub mod auxiliary;
#[cfg(feature = "io")]
pub mod bus;
mod crc;
pub mod energy;
#[cfg(feature = "io")]
mod huanyang;
pub mod mailbox;
pub mod plan;
pub mod program;
pub mod question;
pub mod value;

pub use attached::{Attached, SpindleOrder, Turn};
pub use gcode_tools::profile::modbus::{
    Access, Auxiliary, AuxiliaryKind, Device, Form, Mailbox, Meaning, Modbus, Order, Parity, Point, Protocol, Table,
    drives, drives_of,
};
use std::time::Duration;

use crate::dialect;
use crate::moment::Moment;
use crate::profile::{Kind, Profile};
use crate::protection::has_drive;
use crate::snapshot::{Identity, Protection};

pub use plan::{Read, plan};
pub use question::{Question, Trouble};
pub use value::Value;

/// What a machine in registers does if its host dies now; nothing for a machine that is not in registers, or has not said
/// yet what it is.
pub fn protection(profile: &Profile, identity: Option<&Identity>) -> Vec<Protection> {
    let Some(dialect) = dialect::named(&profile.dialect) else { return Vec::new() };
    let habits = dialect.habits();
    let Some(identity) = identity.filter(|_| habits.registers) else { return Vec::new() };
    let keeps_lines = habits.keeps_lines();
    let mut protection = vec![if keeps_lines { program::protection() } else { mailbox::protection(identity) }];
    // A drive beside the machine tells of itself.
    if profile.spindle.is_some() && profile.kind == Kind::Mill && !has_drive(profile) {
        let because = if keeps_lines {
            "the spindle is unprotected: the controller goes on with its program, and nobody can switch it off"
        } else {
            "the spindle is unprotected: a controller without its host holds its motion, and the spindle turns on"
        };
        protection.push(Protection { hazard: "spindle".into(), protected: false, because: because.to_owned() });
    }
    protection
}

/// A machine in registers as a session knows machines: lines and bytes go in, answers come out, and in between it asks
/// the bus. A value: it opens nothing and reads no clock.
pub trait Conversation: Send {
    /// Takes bytes from the session: lines, and the bytes that skip them.
    fn hear(&mut self, now: Moment, bytes: &[u8]);

    /// Moves what the session is told to the end of `out`.
    fn take_said(&mut self, out: &mut Vec<u8>);

    /// What is to be asked now, if anything, when no question is on its way. What the session says may be heard before
    /// its answer, or that there was none, is told.
    fn question(&mut self, now: Moment) -> Option<Question>;

    /// What can be asked already while questions are on their way, because nothing that its answer could say would change
    /// it. The answers are told in the order of the questions.
    fn question_ahead(&mut self, _now: Moment) -> Option<Question> {
        None
    }

    /// How many questions may be asked together, where the port allows it.
    fn questions_at_once(&self) -> usize {
        1
    }

    /// Whether something must be asked before what waits to be asked: a stop, a hold.
    fn is_urgent(&self) -> bool {
        false
    }

    /// Takes that the question given last was taken back. It may have been asked all the same.
    fn taken_back(&mut self) {}

    /// When [`Conversation::question`] may have something to ask although nothing happens.
    fn wakes_at(&self) -> Moment;

    /// Takes an answer.
    ///
    /// # Errors
    /// The machine is not what the profile says: a sentence says what is there instead.
    fn answered(&mut self, now: Moment, question: &Question, words: &[u16]) -> Result<(), String>;

    /// Takes that a question had no answer.
    fn unanswered(&mut self, now: Moment, question: &Question, trouble: &Trouble);

    /// Whether it was found out what is there. Until then nothing is written.
    fn knows_machine(&self) -> bool;

    /// When the machine last answered.
    fn answered_at(&self) -> Moment;

    /// How long nothing may be answered before the link counts as lost.
    fn lost_after(&self) -> Duration;

    /// Whether an answer that comes late can do no harm, because it shows that it is one.
    fn stands_late_answers(&self) -> bool;

    /// What makes a machine that moves stand when the session is gone, in order.
    fn goodbye(&mut self) -> Vec<Question>;
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_spindle_of_a_machine_in_registers_was_no_hazard() {
        for name in ["generic-mailbox", "generic-program-file"] {
            let profile = Profile::named(name).unwrap();
            let said = protection(&profile, Some(&Identity::default()));
            let spindle = said.iter().find(|hazard| hazard.hazard == "spindle");
            assert_eq!(profile.spindle.is_some(), spindle.is_some(), "{name}: {said:?}");
            assert!(spindle.is_none_or(|hazard| !hazard.protected && hazard.because.contains("unprotected")));
            assert_eq!(protection(&profile, None), [], "nothing is known of it yet");
        }
    }
}
