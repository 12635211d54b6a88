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
pub mod energy;
pub mod mailbox;
pub mod plan;
pub mod question;
pub mod value;

pub use attached::Attached;
pub use gcode_tools::profile::modbus::{
    Access, Auxiliary, AuxiliaryKind, Form, Meaning, Modbus, Order, Parity, Point, Table,
};
pub use plan::{Read, plan};
pub use question::{Question, Trouble};
pub use value::Value;
