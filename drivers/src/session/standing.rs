//! A machine that is found standing when the conversation begins: in a hold, with its door open, waiting for a person;
//! or at rest with its spindle on.
//!
//! One that is held answers no question until somebody lets it go on, and what an earlier job left in it is still there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::own_work::Work;
use super::{Phase, Session};
use crate::dialect::{Asking, Calm, Condition, Status};
use crate::event::EventKind;
use crate::notice::Notice;
use crate::session::greeting::{Found, GREET_EVERY};
use crate::snapshot::State;

/// How long a machine that reports its state at once may take to do so, before it is asked who it is all the same.
const LOOK: Duration = Duration::from_millis(250);

/// Between two looks at a machine that moves, checks or sleeps and so cannot say who it is.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Reports in a row that must say so: one alone may have arrived damaged.
const LEFT_ON_REPORTS: u32 = 2;

/// Stable code of the notice.
const LEFT_ON: &str = "machine.spindle_on";

/// Behind what it is asked what is still on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Behind {
    /// The machine was found.
    #[default]
    Finding,
    /// It worked for somebody else.
    OwnWork,
    /// A job was ended early, and was made safe.
    EarlyEnd,
}

/// A spindle or beam that was on when the machine was found, or behind a job that was ended early, and that nobody has
/// looked at yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct LeftOn {
    #[serde(default)]
    behind: Behind,
    reports: u32,
    told: bool,
    /// It was seen at rest with it off.
    seen_off: bool,
    /// A person has looked, or a job has begun since.
    looked_at: bool,
}

impl LeftOn {
    /// Whether somebody has to look.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// A report said so, and the next one may say that it was damaged.
    pub(super) fn is_suspected(&self) -> bool {
        self.reports > 0 && !self.told && !self.looked_at
    }

    /// Somebody has.
    pub(super) fn looked_at(&mut self) {
        *self = Self { looked_at: true, ..Self::default() };
    }
}

/// Reports in a row that must show every heater off, before one that is switched on later is no find any more.
const COLD_REPORTS: u32 = 2;

/// Stable code of the notice.
const LEFT_HOT: &str = "machine.hot";

/// Reports in a row that must show one on behind a job that was ended early: what was said may not have been done yet, where
/// a line is answered as it is taken.
const HOT_REPORTS: u32 = 2;

/// Heaters that were on when the machine was found, behind somebody else's work or a job that was ended early, and that nobody
/// has looked at yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct LeftHot {
    #[serde(default)]
    behind: Behind,
    told: bool,
    /// Reports in a row that one is on.
    #[serde(default)]
    hot_reports: u32,
    /// Behind an early end: one was on, as far as was known.
    #[serde(default)]
    suspected: bool,
    cold_reports: u32,
    /// A person has looked, a job has begun since, or it was found cold.
    looked_at: bool,
}

impl LeftHot {
    /// Whether somebody has to look.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// It may be on still: the next reports tell.
    pub(super) fn is_suspected(&self) -> bool {
        self.suspected && !self.told && !self.looked_at
    }

    /// Somebody has.
    pub(super) fn looked_at(&mut self) {
        *self = Self { looked_at: true, ..Self::default() };
    }
}

impl Session {
    /// What a report says of the heaters of a machine that was just found: one that is on was switched on by somebody
    /// else, or by an agent that was killed.
    pub(super) fn found_hot(&mut self) {
        if self.own_work().is_some_and(|work| work != Work::Checks) {
            self.left_hot = LeftHot { behind: Behind::OwnWork, ..LeftHot::default() };
        }
        if self.left_hot.looked_at || self.run.is_some() {
            return;
        }
        let on = self.is_hot();
        let left = &mut self.left_hot;
        (left.hot_reports, left.suspected) = (if on { left.hot_reports.saturating_add(1) } else { 0 }, on);
        left.told = on && (left.behind != Behind::EarlyEnd || left.hot_reports >= HOT_REPORTS);
        self.left_hot.cold_reports = if on { 0 } else { self.left_hot.cold_reports + 1 };
        self.left_hot.looked_at = self.left_hot.cold_reports >= COLD_REPORTS;
    }

    /// Whether any heater has a target, as far as is known.
    pub(super) fn is_hot(&self) -> bool {
        self.known.temperatures.iter().any(|heater| heater.target_c.is_some_and(|target| target > 0.0))
    }

    /// A job was ended early, and what makes the machine safe was said: its next reports are held against that.
    pub(super) fn made_safe(&mut self) {
        let behind = Behind::EarlyEnd;
        self.left_on = LeftOn { behind, ..LeftOn::default() };
        self.left_hot = LeftHot { behind, suspected: self.is_hot(), ..LeftHot::default() };
    }

    /// What stands while a machine is in a state that it was not brought to from here, and why. True: there is something.
    pub(super) fn tell_standing(&mut self, state: State) -> bool {
        let Some(notice) = self.standing_notice(state) else { return false };
        if self.known.notice.as_ref() == Some(&notice) {
            return true;
        }
        let news = self.known.notice.as_ref().is_none_or(|known| known.code != notice.code);
        self.known.generation += 1;
        self.known.notice = Some(notice.clone());
        if news {
            self.tell(EventKind::Trouble { notice });
        }
        true
    }

    fn standing_notice(&self, state: State) -> Option<Notice> {
        if let Phase::Greeting(greeting) = &self.phase {
            return match greeting.found.as_ref()? {
                Found::Moves => Some(self.work_notice(&Work::Moves)),
                Found::Works(_) => Some(self.work_notice(&Work::Works)),
                Found::Checks => Some(self.work_notice(&Work::Checks)),
                Found::Sleeps => Some(asleep()),
                Found::Starts(text) => Some(Notice::new(
                    STARTING,
                    format!("The machine's own host is still starting: it says `{text}`."),
                    "It is asked again.",
                    "Wait: it is ready by itself. If it stays so, look at its log.",
                )),
            };
        }
        match state {
            State::Busy => self.own_work().map(|work| self.work_notice(&work)),
            State::Attention if self.run.is_none() && self.condition == Some(Condition::Sleep) => Some(asleep()),
            State::Attention if self.run.is_none() && !self.needs_person && self.own_work.is_paused() => {
                Some(self.print_paused())
            }
            State::Attention if self.run.is_none() && !self.needs_person && self.hot_stands() => Some(Notice::new(
                LEFT_HOT,
                format!("{}{}", self.left_hot.behind.still_hot(self.may_still_move()), self.what_is_on()),
                "Nothing was sent: whether that is wanted only a person can tell. No job is taken meanwhile.",
                "Look at the machine. Switch its heaters off at its display, or clear it if they are meant to be on.",
            )),
            State::Attention if self.run.is_none() && !self.needs_person && self.idle_heat_stands() => {
                self.idle_heat_notice()
            }
            _ => None,
        }
    }

    /// Whether heaters that are on without a job are what makes it need somebody.
    fn idle_heat_stands(&self) -> bool {
        self.phase == Phase::Ready && self.idle_heat.is_told() && !self.left_on.is_told()
    }

    /// Whether that it was found hot is what makes it need somebody.
    fn hot_stands(&self) -> bool {
        let rests = matches!(self.condition, Some(Condition::Idle) | None);
        self.phase == Phase::Ready && rests && self.left_hot.told && !self.left_on.told
    }

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
            self.left_on.seen_off |= !on && rests;
            let (behind, seen_off) = (self.left_on.behind, self.left_on.seen_off);
            if std::mem::take(&mut self.left_on).told && !on {
                self.known.notice = self.known.notice.take().filter(|notice| notice.code != LEFT_ON);
            }
            (self.left_on.behind, self.left_on.seen_off) = (behind, seen_off);
            return;
        }
        self.left_on.reports += 1;
        if self.left_on.reports < LEFT_ON_REPORTS || std::mem::replace(&mut self.left_on.told, true) {
            return;
        }
        let what = if self.profile.laser.is_some() { "laser" } else { "spindle" };
        let speed = self.known.spindle.map(|spindle| format!(" (S{})", spindle.value)).unwrap_or_default();
        let happened = match self.left_on.behind {
            Behind::EarlyEnd => format!("The job was ended early, and the {what} is still on{speed}."),
            _ if self.left_on.seen_off => {
                format!("The machine is at rest, and its {what} is on{speed}: nothing here switched it on.")
            }
            _ => format!("The machine is at rest, and its {what} has been on{speed} since before this connection."),
        };
        let notice = Notice::new(
            LEFT_ON,
            happened,
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
        let found = match condition {
            Some(Condition::Run | Condition::Holding) => Some(Found::Moves),
            Some(Condition::Check) => Some(Found::Checks),
            Some(Condition::Sleep) => Some(Found::Sleeps),
            _ => None,
        };
        let before = std::mem::replace(&mut greeting.found, found);
        if greeting.found.is_some() {
            // It answers no question meanwhile: Grbl refuses `$I` unless it rests (`system_execute_line`, `system.c`).
            greeting.holds = true;
            let told = std::mem::take(&mut greeting.hold_told);
            self.deadlines.greet = Some(now + LOOK_AGAIN);
            self.goes_on_again(told);
            return self.wake_again();
        }
        if !matches!(condition, Some(Condition::Held | Condition::Door)) {
            let told = std::mem::take(&mut greeting.hold_told);
            if greeting.tries == 0 || told || before.is_some() {
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
        let on = self.what_is_on();
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
        if matches!(self.dialect.habits().asking, Asking::Realtime { .. }) {
            // Whether it did shows in its next report.
            self.deadlines.greet = Some(self.now + LOOK);
        }
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

impl Behind {
    /// What is told of a machine that is hot.
    fn still_hot(self, may_move: bool) -> &'static str {
        match self {
            Self::Finding if may_move => "The machine was hot before this connection, and may move still.",
            Self::Finding => "The machine is at rest, and was hot before this connection.",
            Self::OwnWork => "The machine is at rest, and is hot behind work that was not started here.",
            Self::EarlyEnd => "The job was ended early, and the machine is still hot.",
        }
    }
}

/// Stable code of the notice.
const STARTING: &str = "machine.starting";

/// What is told of a machine that is asleep.
fn asleep() -> Notice {
    Notice::new(
        "machine.asleep",
        "The machine is asleep: everything is off, and it takes nothing until it is reset.",
        "Nothing is sent meanwhile.",
        "Look at the machine; then clear it: that wakes it, and it has to be homed again where it can.",
    )
}
