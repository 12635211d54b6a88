//! A machine that is found standing when the conversation begins: in a hold, with its door open, waiting for a person;
//! or at rest with its spindle on.
//!
//! One that is held answers no question until somebody lets it go on, and what an earlier job left in it is still there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, Session};
use crate::dialect::{Asking, Calm, Condition, Status};
use crate::notice::Notice;
use crate::session::greeting::GREET_EVERY;

/// How long a machine that reports its state at once may take to do so, before it is asked who it is all the same.
const LOOK: Duration = Duration::from_millis(250);

/// Reports in a row that must say so: one alone may have arrived damaged.
const LEFT_ON_REPORTS: u32 = 2;

/// Stable code of the notice.
const LEFT_ON: &str = "machine.spindle_on";

/// A spindle or beam that was on when the machine was found, and that nobody has looked at yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct LeftOn {
    reports: u32,
    told: bool,
    /// A person has looked, or a job has begun since.
    looked_at: bool,
}

impl LeftOn {
    /// Whether somebody has to look.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// Somebody has.
    pub(super) fn looked_at(&mut self) {
        *self = Self { looked_at: true, ..Self::default() };
    }
}

impl Session {
    /// What a report says of the spindle. The speed counts: a beam that is off while nothing moves has none.
    pub(super) fn found_by_report(&mut self, status: &Status) {
        let Some(on) = status.spindle.map(|_| status.turning().is_some()).or(status.spindle_on) else { return };
        self.found_on(on, status.condition == Some(Condition::Idle));
    }

    /// What the modal state says of it. Where speeds are reported, the reports are nearer to the truth.
    pub(super) fn found_by_modal_state(&mut self, on: bool) {
        if self.known.spindle.is_none() {
            self.left_on.reports += u32::from(on);
            self.found_on(on, self.condition == Some(Condition::Idle));
        }
    }

    fn found_on(&mut self, on: bool, rests: bool) {
        if self.left_on.looked_at || self.run.is_some() || self.phase != Phase::Ready {
            return;
        }
        if !on || !rests {
            if std::mem::take(&mut self.left_on).told && !on {
                self.known.notice = self.known.notice.take().filter(|notice| notice.code != LEFT_ON);
            }
            return;
        }
        self.left_on.reports += 1;
        if self.left_on.reports < LEFT_ON_REPORTS || std::mem::replace(&mut self.left_on.told, true) {
            return;
        }
        let what = if self.profile.laser.is_some() { "laser" } else { "spindle" };
        let speed = self.known.spindle.map(|spindle| format!(" (S{})", spindle.value)).unwrap_or_default();
        let notice = Notice::new(
            LEFT_ON,
            format!("The machine is at rest, and its {what} has been on{speed} since before this connection."),
            "Nothing was sent: whether that is wanted only a person can tell. No job is taken meanwhile.",
            format!("Look at the machine. STOP switches the {what} off; clear it if the {what} is meant to be on."),
        );
        self.tell_trouble(notice);
    }

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
            let told = std::mem::take(&mut greeting.hold_told);
            if greeting.tries == 0 || told {
                self.deadlines.greet = Some(now);
            }
            self.goes_on_again(told);
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
        let on = self.still_on();
        let notice = Notice::new(
            "machine.held_before",
            format!("{what} since before this connection, and the machine answers no question until it goes on.{on}"),
            "No job was sent. What an earlier job left in the machine is still there.",
            "Look at the work. STOP drops what is left; resume lets it run.",
        );
        self.tell_trouble(notice);
    }

    /// A person lets a machine go on that was found standing.
    pub(super) fn let_it_go_on(&mut self) {
        // What it asks stays asked until it shows that it goes on.
        let asked = self.person.clone();
        self.needs_person = true;
        self.go_on();
        (self.person, self.needs_person) = (asked, true);
        self.write_asides_past_window();
    }

    /// Nothing else is said yet.
    pub(super) fn write_asides_past_window(&mut self) {
        for (_, line) in std::mem::take(&mut self.asides) {
            self.write_past_window(&line);
        }
    }

    /// The machine that was found standing shows that it goes on.
    pub(super) fn goes_on_again(&mut self, told: bool) {
        if told {
            self.needs_person = false;
            self.prompt_over();
            self.known.notice = None;
        }
    }

    /// Whether the machine that is greeted was found standing.
    pub(super) fn greets_one_in_a_hold(&self) -> bool {
        matches!(&self.phase, Phase::Greeting(greeting) if greeting.hold_told)
    }
}
