//! Drives beside the machine, as a session knows them: what hinders a job, and the drive that is the machine's spindle.
//!
//! Where a drive is the spindle, M3, M4, M5 and S of the program are orders to it and are not said to the controller:
//!
//! ```text
//!   a line with one of them (also M0, M1, M2, M6, M30, which stop a spindle)
//!     │ motion has ended: every line answered, idle twice
//!     ▼
//!   order n ──► the drive ──► report n: reached ──► the rest of the line is said, and the program goes on
//!                        └──► failed, or no word in time ──► the job holds; going on orders it anew
//! ```
//!
//! The program's spindle (what it has said) and the drive's (what it was read to do) are two things: no line is said while
//! they differ. Nothing here asks a drive: the caller carries orders out and brings what is known ([`Drives`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spindle_words::{Way, Words};
use super::{Phase, Session, Stage};
use crate::dialect::Condition;
use crate::modbus::{SpindleOrder, Turn};
use crate::moment::Moment;
use crate::notice::Notice;
use crate::request::Denied;
use crate::snapshot::{Beside, Cause, Hindrance, SpindleReport, SpindleState, State};

/// How long a drive's report may take beyond the drive's own time.
const REPORT_PATIENCE: Duration = Duration::from_secs(5);

/// Below this a spindle counts as standing, in revolutions per minute: what a drive reads at rest is not always zero.
const STANDS_BELOW_RPM: f64 = 30.0;

/// What is known of the drives beside a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Drives {
    /// Why nothing may be started or go on.
    pub hinders: Option<Hindrance>,
    /// What a person should know of that.
    pub notice: Option<Notice>,
    /// What became of the last order to the drive that is the spindle.
    pub spindle: Option<SpindleReport>,
    /// Whether one of them turns, as far as it is read.
    pub turns: bool,
}

impl Drives {
    /// What the devices beside a machine say together: the gravest hindrance counts.
    pub fn of(beside: &[Beside]) -> Self {
        let hindered = beside.iter().filter(|device| device.hinders.is_some()).min_by_key(|device| device.hinders);
        Self {
            hinders: hindered.and_then(|device| device.hinders),
            notice: hindered.and_then(|device| device.notice.clone()),
            spindle: beside.iter().find_map(|device| device.spindle),
            turns: beside.iter().any(|device| device.turns_rpm.is_some_and(|rpm| rpm >= STANDS_BELOW_RPM)),
        }
    }

    /// Whether a job may start or go on beside them.
    ///
    /// # Errors
    /// The reason it may not.
    fn may_go_on(&self) -> Result<(), Denied> {
        match self.hinders {
            None => Ok(()),
            Some(Hindrance::DoesNotStand) => Err(Denied::DriveDoesNotStand),
            Some(Hindrance::Silent) => Err(Denied::DriveSilent),
            Some(Hindrance::Faulted) => Err(Denied::DriveFault),
            Some(Hindrance::Turning) => Err(Denied::SpindleOn),
            Some(Hindrance::Stopping) => Err(Denied::Stopping),
        }
    }

    /// Whether a job that runs must hold. One that is being stopped may have been told so by the program.
    fn holds_jobs(&self) -> bool {
        self.hinders.is_some_and(|hindrance| hindrance != Hindrance::Stopping)
    }
}

/// An order whose report is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Awaited {
    order: SpindleOrder,
    until: Moment,
    /// The job is held, and goes on when it is carried out.
    goes_on: bool,
}

/// The drives beside the machine, and what the program has said to the one that is its spindle.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Driven {
    known: Drives,
    /// What the program has said: which way, and how fast.
    way: Option<Way>,
    rpm: f64,
    /// What the drive was read to do last; it stands where it was never ordered to turn.
    does: Option<Turn>,
    number: u32,
    awaited: Option<Awaited>,
    #[serde(skip)]
    order: Option<SpindleOrder>,
}

impl Driven {
    fn does(&self) -> Turn {
        self.does.unwrap_or(Turn::Stand)
    }

    /// What the program wants of it.
    fn wanted(&self) -> Turn {
        match self.way {
            Some(Way::Forward) if self.rpm > 0.0 => Turn::Forward(self.rpm),
            Some(Way::Reverse) if self.rpm > 0.0 => Turn::Reverse(self.rpm),
            _ => Turn::Stand,
        }
    }

    fn note(&mut self, words: &Words) {
        self.rpm = words.rpm.unwrap_or(self.rpm);
        if words.stops {
            self.way = None;
        } else if words.way.is_some() {
            self.way = words.way;
        }
    }

    /// Until when the report of an order may take.
    pub(super) fn until(&self) -> Option<Moment> {
        self.awaited.map(|awaited| awaited.until)
    }
}

/// What is to be said of a line to the controller, once the spindle does what the line wants.
pub(super) enum Said {
    /// Not yet.
    Wait,
    /// Nothing of it: it was only for the drive, and is done.
    Nothing,
    /// The line as it is.
    Whole,
    /// This of it.
    Rest(Vec<u8>),
}

impl Session {
    /// What is known of the drives beside the machine.
    pub fn drives(&self) -> &Drives {
        &self.driven.known
    }

    /// The order that is to be given to the drive that is the spindle.
    pub fn take_spindle_order(&mut self) -> Option<SpindleOrder> {
        self.driven.order.take()
    }

    /// Whether a drive beside the machine is its spindle.
    pub(super) fn is_driven(&self) -> bool {
        self.profile.spindle_drive().is_some()
    }

    /// Whether a job may start or go on beside the drives.
    pub(super) fn drives_may_go_on(&self) -> Result<(), Denied> {
        self.driven.known.may_go_on()
    }

    /// Whether a drive turns, as far as it is read.
    pub(super) fn drive_turns(&self) -> bool {
        self.driven.known.turns
    }

    /// What the state is of a machine that is idle itself, by the drives beside it.
    pub(super) fn idle_beside_drives(&self) -> State {
        match self.driven.known.hinders {
            None => State::Idle,
            Some(Hindrance::Stopping) => State::Stopping,
            Some(_) => State::Attention,
        }
    }

    /// What a person is asked because of a drive, where nothing else is asked.
    pub(super) fn drive_asks(&self) -> Option<String> {
        let known = &self.driven.known;
        let told = known.notice.as_ref().map(|notice| format!("{} {}", notice.happened, notice.to_do));
        known
            .holds_jobs()
            .then(|| told.unwrap_or_else(|| "The drive beside the machine has not answered yet.".to_owned()))
    }

    /// The notice of a state that is there because of a drive.
    pub(super) fn drive_notice(&self) -> Option<Notice> {
        let known = &self.driven.known;
        let not_yet = || {
            let to_do = "Wait a moment; if it stays so, check its power and its cable.";
            Notice::new(
                "auxiliary.silent",
                "A drive beside the machine has not answered yet.",
                "No job is taken.",
                to_do,
            )
        };
        known.holds_jobs().then(|| known.notice.clone().unwrap_or_else(not_yet))
    }

    pub(super) fn hear_drives(&mut self, drives: Drives) {
        self.driven.known = drives;
        let Some(report) = self.driven.known.spindle else { return };
        let Some(awaited) = self.driven.awaited.filter(|awaited| awaited.order.number == report.number) else {
            // What it was told before it does no more: it fell silent, lost its speed, or was stopped.
            if report.number == self.driven.number && report.state == SpindleState::Failed {
                self.spindle_lost();
            }
            return;
        };
        match report.state {
            SpindleState::Pending => {}
            SpindleState::Reached => {
                self.driven.awaited = None;
                self.driven.does = Some(awaited.order.turn);
                if awaited.goes_on {
                    self.go_on_from_hold();
                }
            }
            SpindleState::Failed => self.spindle_failed(awaited),
        }
    }

    /// It turned as it was told, and does not any more.
    fn spindle_lost(&mut self) {
        if self.driven.does() == Turn::Stand {
            return;
        }
        self.driven.does = Some(Turn::Stand);
        let notice = Notice::new(
            "spindle.lost",
            "The drive does not turn the spindle any more as it was told.",
            "It was told to stop; the job is held.",
            "Look at the spindle, the work and the drive. Going on turns it again first.",
        );
        // What the drive itself says of it is the cause.
        let notice = self.drive_notice().unwrap_or(notice);
        self.hold(Cause::Interlock, Some(notice));
    }

    /// An order was not carried out, or nobody said so in time.
    fn spindle_failed(&mut self, awaited: Awaited) {
        self.driven.awaited = None;
        self.driven.does = Some(Turn::Stand);
        let rpm = match awaited.order.turn {
            // That it does not stand is told by the drive itself, and what ends a job does not wait for it any longer.
            Turn::Stand => return,
            Turn::Forward(rpm) | Turn::Reverse(rpm) => rpm,
        };
        let notice = Notice::new(
            "spindle.not_at_speed",
            format!("The drive did not bring the spindle to {rpm} revolutions per minute in its time."),
            "It was told to stop; the job is held.",
            "Look at the drive and its display. Going on turns the spindle again first.",
        );
        let notice = self.drive_notice().unwrap_or(notice);
        if self.run.as_ref().is_some_and(super::Run::is_holding) {
            return self.tell_trouble(notice);
        }
        self.hold(Cause::Interlock, Some(notice));
    }

    /// No report came in time.
    pub(super) fn spindle_overdue(&mut self) {
        if let Some(awaited) = self.driven.awaited.filter(|awaited| awaited.until <= self.now) {
            self.order_spindle(Turn::Stand, false);
            self.spindle_failed(awaited);
        }
    }

    fn order_spindle(&mut self, turn: Turn, goes_on: bool) {
        let Some(drive) = self.profile.spindle_drive() else { return };
        let turning_ms = drive.turn.as_ref().map_or(0, |turn| turn.within_ms);
        let stopping_ms = drive.stop.as_ref().map_or(0, |stop| stop.within_ms);
        self.driven.number = self.driven.number.wrapping_add(1).max(1);
        let order = SpindleOrder { number: self.driven.number, turn };
        let until = self.now + Duration::from_millis(turning_ms.max(stopping_ms)) + REPORT_PATIENCE;
        self.driven.awaited = Some(Awaited { order, until, goes_on });
        self.driven.order = Some(order);
    }

    /// A job begins: its program has said nothing yet, and the spindle stands.
    pub(super) fn spindle_begins(&mut self) {
        (self.driven.way, self.driven.rpm) = (None, 0.0);
    }

    /// A job is over, or being ended: the spindle stands, whatever the program has said.
    pub(super) fn spindle_ends(&mut self) {
        self.spindle_begins();
        let stands = self.driven.does() == Turn::Stand && self.driven.awaited.is_none();
        if self.is_driven() && !stands {
            self.order_spindle(Turn::Stand, false);
        }
    }

    /// Holds a job that runs while a drive hinders it. A state, and not a moment: one that is made to go on at the machine
    /// itself is held again.
    pub(super) fn heed_drives(&mut self) {
        let runs = self.run.as_ref().is_some_and(|run| {
            !run.is_safe_end() && matches!(run.stage, Stage::Counter | Stage::Streaming | Stage::Proving)
        });
        if runs && self.phase == Phase::Ready && self.driven.known.holds_jobs() {
            let notice = self.drive_notice();
            self.hold(Cause::Interlock, notice);
        }
    }

    /// Before a held job goes on, the spindle turns as the program wants. True: the job goes on when it does.
    pub(super) fn spindle_first_on_resume(&mut self) -> bool {
        let wanted = self.driven.wanted();
        let held = self.run.as_ref().is_some_and(|run| run.is_holding() && !run.is_safe_end());
        if !held || !self.is_driven() || wanted == self.driven.does() {
            return false;
        }
        if self.driven.awaited.is_none_or(|awaited| awaited.order.turn != wanted) {
            self.order_spindle(wanted, true);
        } else if let Some(awaited) = &mut self.driven.awaited {
            awaited.goes_on = true;
        }
        true
    }

    /// What of the next line is said to the controller now. Nothing is while the drive does not do what the program wants
    /// with this line.
    pub(super) fn spindle_first(&mut self, ordinal: u64) -> Said {
        let Some((text, line)) = self
            .run
            .as_ref()
            .and_then(|run| run.history.command(ordinal))
            .map(|command| (command.text.clone(), command.program_line))
        else {
            return Said::Whole;
        };
        let words = Words::of(&text);
        let before = (self.driven.way, self.driven.rpm);
        if let Some(words) = &words {
            self.driven.note(words);
        }
        let pauses = words.as_ref().is_some_and(|words| words.pauses);
        let wanted = if pauses { Turn::Stand } else { self.driven.wanted() };
        let safe_end = self.run.as_ref().is_some_and(super::Run::is_safe_end);
        let unheard = self.run.as_ref().is_some_and(|run| run.unheard);
        if let Some(notice) = self.can_be_driven(words.as_ref(), wanted, line) {
            (self.driven.way, self.driven.rpm) = before;
            self.hold(Cause::Interlock, Some(notice));
            return Said::Wait;
        }
        let does_it = wanted == self.driven.does() && self.driven.awaited.is_none();
        let awaited = self.driven.awaited.is_some_and(|awaited| awaited.order.turn == wanted);
        let only_for_drive = words.as_ref().is_some_and(|words| words.rest.is_empty());
        if does_it && (!only_for_drive || self.window.is_empty()) {
            return self.rest_of(ordinal, words);
        }
        // The words count when the line is said, and not before.
        (self.driven.way, self.driven.rpm) = before;
        let stands =
            self.condition == Some(Condition::Idle) && self.run.as_ref().is_some_and(|run| run.idle_reports >= 2);
        let motion_ended = self.window.is_empty() && (stands || safe_end);
        if !does_it && !awaited && (motion_ended || unheard) {
            self.order_spindle(wanted, false);
        }
        // Nobody is left to read a report; the stop was ordered.
        if unheard { self.rest_of(ordinal, words) } else { Said::Wait }
    }

    /// What is said of a line whose orders are carried out.
    fn rest_of(&mut self, ordinal: u64, words: Option<Words>) -> Said {
        match words {
            None => Said::Whole,
            Some(words) if words.rest.is_empty() => {
                self.pass_over(ordinal);
                Said::Nothing
            }
            Some(words) => Said::Rest(words.rest),
        }
    }

    /// Why the drive cannot do what a line wants, if that is so.
    fn can_be_driven(&self, words: Option<&Words>, wanted: Turn, line: u64) -> Option<Notice> {
        let drive = self.profile.spindle_drive()?;
        let (code, happened) = match (words.and_then(|words| words.follows), wanted) {
            (Some(tenths), _) => {
                let code = f64::from(tenths) / 10.0;
                let why = format!("G{code} follows the spindle's turns, and the controller does not turn it");
                ("spindle.follows", why)
            }
            (None, Turn::Stand) => return None,
            (None, Turn::Reverse(_)) if !drive.reverses() => {
                ("spindle.direction", "M4 turns the spindle backwards, and its drive does not".to_owned())
            }
            (None, Turn::Forward(rpm) | Turn::Reverse(rpm)) => {
                let (low, high) = self.profile.spindle_range()?;
                if (low..=high).contains(&rpm) {
                    return None;
                }
                ("spindle.range", format!("S{rpm} is outside of what the drive turns, S{low} to S{high}"))
            }
        };
        Some(Notice::new(
            code,
            format!("Line {line} was not carried out: {happened}."),
            "The job is held.",
            "Cancel the job and correct the program or the profile.",
        ))
    }

    /// Passes a line over that was only for the drive: everything before it is answered.
    fn pass_over(&mut self, ordinal: u64) {
        let stands = self.condition == Some(Condition::Idle);
        let Some(run) = &mut self.run else { return };
        run.history.advance();
        run.sent = run.sent.max(ordinal);
        run.accepted = run.accepted.max(ordinal);
        run.highest = run.highest.max(ordinal);
        if stands && run.idle_reports >= 2 {
            run.executed_but(0, 1);
        }
    }
}
