//! A machine that is found standing when the conversation begins: in a hold, with its door open, waiting for a person.
//!
//! It answers no question until somebody lets it go on, and what an earlier job left in it is still there.

use std::time::Duration;

use super::{Phase, Session};
use crate::dialect::{Asking, Calm, Condition};
use crate::event::EventKind;
use crate::notice::Notice;
use crate::session::greeting::GREET_EVERY;

/// How long a machine that reports its state at once may take to do so, before it is asked who it is all the same.
const LOOK: Duration = Duration::from_millis(250);

impl Session {
    /// A machine that stands in a hold reads no line until it goes on, and whatever it is asked fills its receive buffer
    /// behind what a lost job left there. One that reports its state past that buffer is asked for that first, and for
    /// nothing else while it stands. True: it was asked.
    pub(super) fn looks_first(&mut self) -> bool {
        let habits = self.dialect.habits();
        let Phase::Greeting(greeting) = &mut self.phase else { return false };
        let reports = matches!(habits.asking, Asking::Realtime { .. }) && !habits.registers;
        let holds = std::mem::take(&mut greeting.holds);
        // Not in front of another dialect's question: to that machine the byte would be a part of it.
        let looks = reports && (holds || (!greeting.looked && greeting.tries % 2 == 0));
        greeting.looked = looks;
        if !looks {
            return false;
        }
        self.deadlines.greet = Some(self.now + if holds { GREET_EVERY } else { LOOK });
        self.calm(Calm::Query);
        true
    }

    /// The state a machine reports before it has said who it is.
    pub(super) fn greeted_by_report(&mut self, condition: Option<Condition>) {
        let now = self.now;
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        if !matches!(condition, Some(Condition::Held | Condition::Door)) {
            if greeting.tries == 0 || std::mem::take(&mut greeting.hold_told) {
                self.deadlines.greet = Some(now);
            }
            return;
        }
        greeting.holds = true;
        self.deadlines.greet = Some(now + GREET_EVERY);
        let door = condition == Some(Condition::Door);
        self.found_standing(if door { "Its safety door is open" } else { "It stands in a hold" });
    }

    /// A machine that answers no question until somebody lets it go on: said once.
    pub(super) fn found_standing(&mut self, what: &str) {
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        if std::mem::replace(&mut greeting.hold_told, true) {
            return;
        }
        let notice = Notice::new(
            "machine.held_before",
            format!("{what} since before this connection, and the machine answers no question until it goes on."),
            "No job was sent. What an earlier job left in the machine is still there.",
            "Look at the work. STOP drops what is left; resume lets it run.",
        );
        self.known.notice = Some(notice.clone());
        self.tell(EventKind::Trouble { notice });
    }

    /// A person lets a machine go on that was found standing.
    pub(super) fn let_it_go_on(&mut self) {
        self.go_on();
        // Nothing else is said yet.
        for (_, line) in std::mem::take(&mut self.asides) {
            self.write_past_window(&line);
        }
        if let Phase::Greeting(greeting) = &mut self.phase {
            greeting.hold_told = false;
        }
        self.known.notice = None;
    }

    /// Whether the machine that is greeted was found standing.
    pub(super) fn greets_one_in_a_hold(&self) -> bool {
        matches!(&self.phase, Phase::Greeting(greeting) if greeting.hold_told)
    }
}
