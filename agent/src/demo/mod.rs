//! Everything simulated and embedded: what `fab-agent demo` is made of.

pub(crate) mod broker;
pub(crate) mod programs;
pub(crate) mod shop;
pub(crate) mod summary;
