//! Who may do what to whose: people, roles, competence, tokens and PINs, as values. Nothing here opens anything or reads
//! a clock: time and chance are arguments.
//!
//! [`may`] is the one table that every route asks. It says whether somebody *may ask*; whether a machine may move is
//! decided later, from more facts.

mod actor;
mod book;
mod denial;
mod pace;
pub mod people;
pub mod pin;
mod table;
pub mod token;

#[cfg(test)]
mod test;

pub use self::actor::{Actor, Means, Role};
pub use self::book::{Book, Change, Standing};
pub use self::denial::Denial;
pub use self::pace::{Pace, Pacing};
pub use self::people::{Competence, Person};
pub use self::table::{What, Whose, may, table};
pub use self::token::Token;
