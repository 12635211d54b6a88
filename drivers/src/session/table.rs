//! The bed, stock or table: whether a person has said that it is clear since the last work of any kind.
//!
//! Work is a job from its start on, a stop, what the machine does on its own, a spindle or beam that somebody switched on at
//! the machine, and whatever happened while nobody looked: before the agent began, and while the link was gone. Homing,
//! jogging and probing are none.

use super::Session;
use super::own_work::Work;
use crate::request::{Answer, Denied};
use crate::snapshot::{Occupied, State, Table};

impl Session {
    /// From now on a job starts only on a table that a person has said to be clear. What is on it now nobody knows.
    pub(super) fn watch_table(&mut self) {
        self.table_is(Table::NotClear { by: Occupied::Unseen, since: self.now });
    }

    /// Something was done on the table.
    pub(super) fn table_used(&mut self, by: Occupied) {
        // The first of several says it best: nobody has looked since.
        if matches!(self.known.table, Table::Clear { .. }) {
            self.table_is(Table::NotClear { by, since: self.now });
        }
    }

    /// A person says that it is clear.
    pub(super) fn table_is_clear(&mut self) {
        if self.known.table != Table::NotWatched && self.run.is_none() {
            self.table_is(Table::Clear { since: self.now });
        }
    }

    fn table_is(&mut self, table: Table) {
        self.known.table = table;
        self.known.generation += 1;
    }

    /// What the machine's own work and what was found on it do to the table.
    pub(super) fn heed_table(&mut self) {
        if self.own_work().is_some_and(|work| work != Work::Checks) {
            self.table_used(Occupied::OwnWork);
        } else if self.left_on.is_told() {
            self.table_used(Occupied::ByHand);
        }
    }

    /// Whether nothing but the word that the table is clear is missing, in this state of the machine itself.
    pub(super) fn waits_for_clear(&self, own: State) -> bool {
        own == State::Idle && self.known.table.is_not_clear()
    }

    /// Whether the machine may be moved by hand: what lies on its table is no reason against it.
    pub(super) fn may_be_moved(&self) -> Answer {
        crate::interlock::may_start(self.state_but_for_table(), &self.known)
    }

    /// Whether a job may start on what lies on the table.
    pub(super) fn table_may_be_used(&self) -> Answer {
        if self.known.table.is_not_clear() { Err(Denied::NotClear) } else { Ok(()) }
    }
}
