//! Leaving an alarm, a stop, a halt or a sleep: a loop that ends on what the machine shows, never on what was said to it.
//!
//! ```text
//!  a person clears it
//!        │   hears nothing but a reset        its banner           it is in no alarm
//!        ├──────────► Resetting ──────────────► Unlocking ──────────────► ready
//!        ├─────────────────────────────────────►   ▲ │
//!        │   does not report its state             └─┘ said again         nothing changed: told, and why
//!        └──────────► Asking ── it says who it is ──► ready               (from each of them)
//! ```
//!
//! Grbl waits half a second behind the line of a hard or soft limit, and then forgets a reset that came meanwhile
//! (`protocol_exec_rt_system`, `protocol.c`; `report_alarm_message`, `report.c`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AlarmReset, Phase, Session};
use crate::dialect::{Asking, Calm, Condition, Spelling, Word};
use crate::event::EventKind;
use crate::flow::Aside;
use crate::notice::Notice;
use crate::request::{Answer, Denied};
use crate::session::greeting::Found;

/// How long behind the line of an alarm a reset may be forgotten: what Grbl waits, and some latency.
const RESET_FORGOTTEN: Duration = Duration::from_millis(600);

/// Between two resets, and between two words that unlock: a banner and a report come in a fraction of that.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Times the machine is reset, and told to unlock, before that is given up.
const RESETS_MAX: u32 = 5;
const UNLOCKS_MAX: u32 = 3;

/// How long a machine that does not report its state may take to say who it is: one that was reset boots meanwhile.
const ANSWERS_WITHIN: Duration = Duration::from_secs(8);

/// The same for one that says something meanwhile: boards that read a card or join a network boot for longer, and tell.
const BOOTS_WITHIN: Duration = Duration::from_secs(20);

/// Stable code of the notice that a clear changed nothing.
pub const NOTHING_CHANGED: &str = "clear.nothing_changed";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    Resetting,
    Unlocking,
    Asking,
}

/// A clear that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them can be")]
pub(super) struct Clearing {
    step: Step,
    resets: u32,
    unlocks: u32,
    /// Why the machine does not want to.
    refused: Option<String>,
    /// It was asleep, or in check mode: a reset ends both.
    slept: bool,
    /// An emergency stop was said that it was never seen to obey.
    unseen: bool,
    /// What it needed before.
    needed: AlarmReset,
    /// It was stopped from here before.
    #[serde(default)]
    stopped: bool,
    /// It has reported, since it was last told, that it is as before.
    #[serde(default)]
    reported: bool,
    /// Bytes heard before, in all.
    #[serde(default)]
    heard_before: u64,
    /// It speaks, and was given the time of a boot.
    #[serde(default)]
    boots: bool,
}

impl Clearing {
    fn new(step: Step, needed: AlarmReset, unseen: bool, heard_before: u64) -> Self {
        let (refused, slept, stopped, reported, boots) = (None, false, false, false, false);
        Self { step, resets: 0, unlocks: 0, refused, slept, unseen, needed, stopped, reported, heard_before, boots }
    }
}

impl Session {
    /// A person looked at a machine in alarm, halted or asleep.
    pub(super) fn begin_clearing(&mut self) {
        if self.clearing.is_some() {
            return;
        }
        let unseen = self.obeying.stop_over();
        let heard = self.known.link.bytes_in;
        // What it was put in alarm for stays until it is put right.
        self.alarm_cause = self.alarm_cause.take().or_else(|| self.known.notice.clone());
        // That an earlier clear changed nothing is no cause.
        self.alarm_cause = self.alarm_cause.take().filter(|cause| cause.code != NOTHING_CHANGED);
        self.known.notice.clone_from(&self.alarm_cause);
        let slept = matches!(self.condition, Some(Condition::Sleep | Condition::Check));
        if slept {
            (self.phase, self.alarm_reset) = (Phase::Alarm, AlarmReset::Needed);
        }
        let reports = matches!(self.dialect.habits().asking, Asking::Realtime { .. });
        let (needed, stopped) = (self.alarm_reset, std::mem::take(&mut self.stopped));
        if !reports || self.phase == Phase::Halted {
            let cause = self.alarm_cause.take();
            // Only a machine that answers again is free.
            self.link_up(false);
            let clearing = Clearing { stopped, ..Clearing::new(Step::Asking, needed, unseen, heard) };
            (self.alarm_cause, self.clearing) = (cause, Some(clearing));
            self.deadlines.clear = Some(self.now + ANSWERS_WITHIN);
            if unseen {
                self.stop_cleared_unseen();
            }
            return;
        }
        // The reset that stopped it may have come while the machine forgets one.
        let stopped_by_reset = stopped && self.dialect.calm(Calm::Halt) == self.dialect.calm(Calm::Drop);
        let needs = needed == AlarmReset::Needed || stopped_by_reset;
        let resets = needs && self.resets();
        let step = if resets { Step::Resetting } else { Step::Unlocking };
        self.clearing = Some(Clearing { slept, stopped, ..Clearing::new(step, needed, unseen, heard) });
        self.alarm_reset = AlarmReset::Awaited;
        let hears_from = if slept || !resets { self.now } else { self.reset_heard_from };
        self.deadlines.clear = Some(hears_from.max(self.now));
        if hears_from <= self.now {
            self.clear_due();
        }
        if unseen {
            self.stop_cleared_unseen();
        }
    }

    /// A person looked at a machine that was found asleep or in check mode, before it could say who it is: it is reset until
    /// it reports otherwise.
    pub(super) fn wake(&mut self) -> Answer {
        let Phase::Greeting(greeting) = &mut self.phase else { return Err(Denied::NotReady) };
        if !matches!(greeting.found, Some(Found::Sleeps | Found::Checks)) {
            return Err(Denied::NotReady);
        }
        greeting.resets_left = RESETS_MAX;
        self.wake_again();
        Ok(())
    }

    /// The machine that was to be woken still reports that it sleeps.
    pub(super) fn wake_again(&mut self) {
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        let Some(left) = greeting.resets_left.checked_sub(1) else { return };
        greeting.resets_left = left;
        if left == 0 {
            let notice = Notice::new(
                NOTHING_CHANGED,
                format!("Clearing changed nothing: it was reset {RESETS_MAX} times and reports the same as before."),
                "Nothing else is sent.",
                format!("Look at the machine. {}", self.dialect.habits().way_out),
            );
            return self.tell_trouble(notice);
        }
        if let Spelling::Realtime(bytes) = self.dialect.calm(Calm::Drop) {
            self.say_urgently(&bytes, true);
        }
    }

    /// The machine went into an alarm that only a reset ends.
    pub(super) fn needs_reset(&mut self) {
        self.alarm_reset = AlarmReset::Needed;
        self.reset_heard_from = self.now + RESET_FORGOTTEN;
    }

    /// What was said has shown nothing: it is said again, or given up.
    pub(super) fn clear_due(&mut self) {
        let Some(clearing) = &mut self.clearing else { return };
        self.deadlines.clear = Some(self.now + AGAIN_AFTER);
        match clearing.step {
            Step::Resetting if clearing.resets < RESETS_MAX => {
                clearing.resets += 1;
                if let Spelling::Realtime(bytes) = self.dialect.calm(Calm::Drop) {
                    self.say_urgently(&bytes, true);
                }
            }
            Step::Unlocking if clearing.unlocks < UNLOCKS_MAX => {
                clearing.unlocks += 1;
                // A report that was under way already is none of what came of it.
                clearing.reported = false;
                self.window.clear();
                self.asides.clear();
                if let Spelling::Lines(lines) = self.dialect.word(&Word::Unlock) {
                    self.asides.extend(lines.into_iter().map(|line| (Aside::Unlock, line)));
                }
                self.deadlines.ask = Some(self.now);
            }
            Step::Asking
                if !clearing.boots
                    && clearing.refused.is_none()
                    && self.known.link.bytes_in > clearing.heard_before =>
            {
                clearing.boots = true;
                self.deadlines.clear = Some(self.now + BOOTS_WITHIN.saturating_sub(ANSWERS_WITHIN));
            }
            Step::Resetting | Step::Unlocking | Step::Asking => self.nothing_changed(),
        }
    }

    /// The board said its banner. True: it was reset for a clear.
    pub(super) fn restarted_for_clearing(&mut self) -> bool {
        let Some(clearing) = self.clearing.as_mut().filter(|clearing| clearing.step != Step::Asking) else {
            return false;
        };
        clearing.step = Step::Unlocking;
        self.condition = None;
        self.clear_due();
        true
    }

    /// Whether a byte resets it.
    fn resets(&self) -> bool {
        matches!(self.dialect.calm(Calm::Drop), Spelling::Realtime(_))
    }

    /// It does not take the word that unlocks it: then a reset is what is left (error 79 of grblHAL, behind a critical alarm).
    pub(super) fn unlock_refused(&mut self, sentence: &str) {
        self.clearing_refused(sentence);
        let resets = self.resets();
        let Some(clearing) = &mut self.clearing else { return };
        if resets && clearing.step == Step::Unlocking && clearing.resets == 0 {
            clearing.step = Step::Resetting;
            self.clear_due();
        }
    }

    /// The machine says why it does not leave its alarm.
    pub(super) fn clearing_refused(&mut self, sentence: &str) {
        if let Some(clearing) = &mut self.clearing {
            clearing.refused = Some(sentence.to_owned());
        }
    }

    /// A machine that was asked who it is says that it is halted. True: that was asked for a clear.
    pub(super) fn halted_still(&mut self, text: &str, explained: bool) -> bool {
        if self.clearing.as_ref().is_none_or(|clearing| clearing.step != Step::Asking) {
            return false;
        }
        self.clearing_refused(text);
        if explained {
            self.nothing_changed();
        }
        true
    }

    /// It reports its state while it is being cleared.
    pub(super) fn clearing_reported(&mut self, condition: Option<Condition>) {
        let Some(condition) = condition.filter(|_| self.clearing.is_some()) else { return };
        if !matches!(condition, Condition::Alarm | Condition::Sleep | Condition::Check) {
            self.cleared();
        } else if let Some(clearing) = &mut self.clearing {
            clearing.reported = true;
        }
    }

    /// It shows that it is free.
    pub(super) fn cleared(&mut self) {
        let Some(clearing) = self.clearing.take() else { return };
        self.deadlines.clear = None;
        self.alarm_cause = None;
        (self.alarm_reset, self.stopped) = (AlarmReset::NotNeeded, false);
        if clearing.step != Step::Asking {
            self.phase = Phase::Ready;
            // That it was never seen to stop stays said.
            self.known.notice = self.known.notice.take().filter(|_| clearing.unseen);
            self.position_lost();
            self.after_unlock();
        }
        if clearing.slept {
            let text = "The machine was asleep or in check mode: it was reset, which ended that.".to_owned();
            self.tell(EventKind::Message { text });
        }
    }

    /// Everything that could be said was said, and the machine is as it was.
    fn nothing_changed(&mut self) {
        let Some(clearing) = self.clearing.take() else { return };
        self.deadlines.clear = None;
        let shows = self.shown_since(&clearing);
        let before = self.alarm_cause.as_ref().map(|cause| format!(" Before: {}", cause.happened)).unwrap_or_default();
        let notice = Notice::new(
            NOTHING_CHANGED,
            format!("Clearing changed nothing: {shows}{before}"),
            "The machine is still in alarm, and nothing else is sent.",
            format!("Look at the machine. {}", self.dialect.habits().way_out),
        );
        (self.alarm_reset, self.stopped) = (clearing.needed, clearing.stopped);
        if clearing.step == Step::Asking {
            self.deadlines.greet = None;
            self.phase = Phase::Halted;
        }
        self.window.clear();
        self.asides.clear();
        self.tell_trouble(notice);
    }
    /// What the machine has shown since it was to be cleared: nothing but what was heard.
    fn shown_since(&self, clearing: &Clearing) -> String {
        if let Some(refused) = &clearing.refused {
            return format!("the machine says: {}.", refused.trim_end_matches('.'));
        }
        let silent = self.known.link.bytes_in <= clearing.heard_before;
        let said = match clearing.step {
            Step::Resetting => format!("it was reset {} times", clearing.resets),
            Step::Unlocking => format!("it was told {} times to leave its alarm", clearing.unlocks),
            Step::Asking => "it was asked who it is".to_owned(),
        };
        let heard = match (clearing.step, self.last_said()) {
            _ if silent => "nothing came back".to_owned(),
            (Step::Resetting, _) => "never said that it started".to_owned(),
            (Step::Unlocking, _) if clearing.reported => "reports it still".to_owned(),
            (Step::Unlocking, _) => "has not reported its state since".to_owned(),
            (Step::Asking, Some(last)) => format!("has not said it; the last it said was `{last}`"),
            (Step::Asking, None) => "has not said it".to_owned(),
        };
        format!("{said}, and {heard}.")
    }
}
