//! Whether a machine does what it was told past its queue: an emergency stop, a hold, the spindle's stop in a hold. Such
//! a byte gets no answer and may be lost on the wire, so what the machine shows afterwards is held against it: the word
//! is said again a few times, and then a person is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, Session, Stage};
use crate::dialect::{Asking, Calm, Condition, Reply, Spelling, Status, Word};
use crate::moment::Moment;
use crate::notice::Notice;
use crate::request::Override;
use crate::session::run::Run;

/// What a machine shows sooner than this may have been on its way before it heard the word: two of Grbl's report
/// periods, and an adapter that holds back what it has.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// Times an emergency stop or a hold is said again.
const AGAIN_MAX: u32 = 5;

/// Times "go on" is said again to a machine that stays in its hold, where it stands.
const GO_ON_AGAIN_MAX: u32 = 2;

/// Steps on the way to an override that was not reached at once: one that stands at 200 percent and is to be at 11 needs
/// 28, and some may be lost.
const OVERRIDE_STEPS_MAX: u32 = 40;

/// Between two of them: a report says what became of the one before.
const OVERRIDE_ON_ITS_WAY: Duration = Duration::from_millis(150);

/// For how long behind the last step an override that is reached is looked after.
const OVERRIDE_SETTLES: Duration = Duration::from_secs(5);

/// Times the word that stops the spindle in a hold is said again. It toggles: a machine that reports a spindle that
/// stands as turning is left with one that stands only if the word is said an odd number of times.
const SPINDLE_AGAIN_MAX: u32 = 2;

/// Reports in a row that must show a spindle turning: one alone may have arrived damaged.
const SPINDLE_REPORTS: u32 = 2;

/// How long a spindle told to stop may still be reported as turning.
const SPINDLE_ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A word that was said and must show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    at: Moment,
    again: u32,
    told: bool,
}

/// What to do about a machine that does not show that it heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Wait,
    SayAgain,
    Tell,
}

impl Said {
    fn now(now: Moment) -> Self {
        Self { at: now, ..Self::default() }
    }

    /// It shows that it did not hear.
    fn unheard(&mut self, now: Moment, on_its_way: Duration, again_max: u32) -> Remedy {
        if now.since(self.at) < on_its_way || self.told {
            return Remedy::Wait;
        }
        if self.again < again_max {
            (self.again, self.at) = (self.again + 1, now);
            return Remedy::SayAgain;
        }
        self.told = true;
        Remedy::Tell
    }
}

/// What the machine was told past its queue, and whether that shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Obeying {
    /// An emergency stop, until a person clears it or the conversation begins anew.
    stop: Option<Said>,
    /// The machine was seen to obey it.
    stop_seen: bool,
    /// It restarted since: an open door is then no hold that a line waits in.
    restarted: bool,
    hold: Said,
    /// "Go on" was said, and where it stood then.
    #[serde(default)]
    go_on: Option<(Said, Option<[f64; 3]>)>,
    /// Overrides that were said and are to show: feed, rapid, spindle.
    #[serde(default)]
    overrides: [Option<(Override, Said)>; 3],
    spindle: Option<Said>,
    spindle_reports: u32,
}

impl Obeying {
    /// An emergency stop was said.
    pub(super) fn stop_said(&mut self, now: Moment) {
        *self = Self { stop: Some(Said::now(now)), ..Self::default() };
    }

    /// A hold was said.
    pub(super) fn hold_said(&mut self, now: Moment) {
        self.hold = Said::now(now);
        self.go_on = None;
    }

    /// It goes on: it answered a line, or shows it.
    pub(super) fn goes_on(&mut self) {
        self.go_on = None;
    }

    /// Whether an emergency stop was said that nobody cleared since.
    pub(super) fn stop_is_said(&self) -> bool {
        self.stop.is_some()
    }

    /// What was said before counts no more: a person cleared it, or the conversation began anew. True: an emergency stop
    /// was said, and the machine was never seen to obey.
    pub(super) fn stop_over(&mut self) -> bool {
        self.stop.take().is_some() && !self.stop_seen
    }
}

impl Session {
    /// A report of a machine that was told to stop.
    pub(super) fn stop_reported(&mut self, status: &Status) {
        if self.obeying.stop.is_none() {
            return;
        }
        let still = match (status.condition, status.turning()) {
            (_, Some(speed)) => format!("reports its spindle or beam on (S{speed})"),
            (_, None) if status.spindle_on == Some(true) => "reports its spindle or beam on".to_owned(),
            (Some(Condition::Run), _) => "reports that it moves".to_owned(),
            (Some(Condition::Holding | Condition::Held), _) => "reports that it is in a hold".to_owned(),
            (Some(Condition::Door), _) if !self.obeying.restarted => "waits for its door with what it had".to_owned(),
            (Some(_), _) => return self.stop_obeyed(),
            (None, _) => return,
        };
        self.stop_unheard(&still);
    }

    /// What else a machine says that was told to stop. One that does not report its state shows by answering that it
    /// runs on: a halted one says nothing but that it is.
    pub(super) fn stop_answered(&mut self, reply: &Reply) {
        if self.obeying.stop.is_none() {
            return;
        }
        let answers = matches!(self.dialect.habits().asking, Asking::Commands { .. });
        match reply {
            Reply::Started => {
                self.obeying.restarted = true;
                self.stop_obeyed();
            }
            Reply::Halted { .. } | Reply::Alarm { .. } => self.stop_obeyed(),
            Reply::Ok { .. }
            | Reply::Busy
            | Reply::Heats
            | Reply::NeedsPerson
            | Reply::Temperatures(_)
            | Reply::Position(_)
            | Reply::Resend { .. }
                if answers && matches!(self.phase, Phase::Alarm) =>
            {
                self.stop_unheard("goes on answering");
            }
            _ => {}
        }
    }

    fn stop_obeyed(&mut self) {
        let Some(stop) = &mut self.obeying.stop else { return };
        self.obeying.stop_seen = true;
        if std::mem::take(&mut stop.told) {
            self.known.notice = Some(self.alarm_cause.clone().unwrap_or_else(|| self.stop_notice()));
            self.known.generation += 1;
        }
        // Should it show otherwise later, that is told anew.
        self.obeying.stop = Some(Said::now(self.now));
    }

    fn stop_unheard(&mut self, still: &str) {
        let now = self.now;
        let Some(stop) = &mut self.obeying.stop else { return };
        let remedy = stop.unheard(now, ON_ITS_WAY, AGAIN_MAX);
        if remedy != Remedy::Wait {
            self.obeying.stop_seen = false;
        }
        match remedy {
            Remedy::Wait => {}
            Remedy::SayAgain => {
                if let Spelling::Realtime(bytes) = self.dialect.calm(Calm::Halt) {
                    self.say_urgently(&bytes, true);
                }
            }
            Remedy::Tell => self.tell_disobedience(
                STOP_NOT_OBEYED,
                format!("The machine was told to stop {} times and still {still}.", AGAIN_MAX + 1),
                "Nothing else is said to it; whether it stands still is not known.",
                "Cut its power. Then look at the machine, and check its cable.",
            ),
        }
    }

    /// What is told when an emergency stop was asked for.
    pub(super) fn stop_notice(&self) -> Notice {
        Notice::new(
            "machine.stopped",
            "An emergency stop was asked for.",
            "The machine was told to halt and the job is over.",
            format!("Look at the machine. {} Its position may be lost: home it.", self.dialect.habits().way_out),
        )
    }

    /// A person cleared an emergency stop that the machine was never seen to obey.
    pub(super) fn stop_cleared_unseen(&mut self) {
        self.tell_disobedience(
            "stop.not_seen",
            "The machine was told to stop, and nothing that it said since shows that it did.".to_owned(),
            "It was cleared as it was asked for.",
            "Look whether anything moves, turns or heats before anything else is sent.",
        );
    }

    /// Whether a report may have been made before the machine heard its hold.
    pub(super) fn hold_on_its_way(&self) -> bool {
        self.now.since(self.obeying.hold.at) < ON_ITS_WAY
    }

    /// A report while the machine is to stand still.
    pub(super) fn hold_reported(&mut self, condition: Option<Condition>) {
        let holds = |run: &&mut Run| matches!(run.stage, Stage::Holding | Stage::Held | Stage::Cancelling);
        let can_hold = self.dialect.calm(Calm::Hold) != Spelling::None;
        let on_its_way = self.hold_on_its_way();
        let moves = condition == Some(Condition::Run) && can_hold;
        let Some(run) = self.run.as_mut().filter(|_| moves).filter(holds) else { return };
        if run.stage == Stage::Held && !on_its_way {
            // It was not held after all.
            run.stage = Stage::Holding;
        }
        match self.obeying.hold.unheard(self.now, ON_ITS_WAY, AGAIN_MAX) {
            Remedy::Wait => {}
            Remedy::SayAgain => self.calm(Calm::Hold),
            Remedy::Tell => self.tell_disobedience(
                "hold.not_obeyed",
                format!("The machine was told to hold {} times and still reports that it moves.", AGAIN_MAX + 1),
                "No more of the job is sent; what the machine has taken runs on.",
                "STOP it if it must not go on, and check its cable.",
            ),
        }
    }

    /// A person said "go on", past the machine's queue.
    pub(super) fn go_on_said(&mut self) {
        let stood = self.known.position_mm.map(|position| position.value);
        self.obeying.go_on = Some((Said::now(self.now), stood));
    }

    /// A report after "go on" was said. True: it stands in its hold as if it had not heard it. A line that was answered
    /// since, or a move, shows that it did, and that this is another hold.
    pub(super) fn stays_in_its_hold(&mut self, status: &Status) -> bool {
        let Some((said, stood)) = &mut self.obeying.go_on else { return false };
        let moved = status.machine_position.is_some() && status.machine_position != *stood;
        if status.condition != Some(Condition::Held) || moved {
            self.obeying.go_on = None;
            return false;
        }
        match said.unheard(self.now, ON_ITS_WAY, GO_ON_AGAIN_MAX) {
            Remedy::Wait => true,
            Remedy::SayAgain => {
                if let Spelling::Realtime(bytes) = self.dialect.resume() {
                    self.say_urgently(&bytes, false);
                }
                true
            }
            Remedy::Tell => {
                self.obeying.go_on = None;
                self.tell_disobedience(
                    "resume.not_obeyed",
                    format!("The machine was told {} times to go on and stays in its hold.", GO_ON_AGAIN_MAX + 1),
                    "It is not told any more.",
                    "Look what holds it (its own button, a door, a switch); then resume it there or here.",
                );
                false
            }
        }
    }

    /// An override was said past the queue, in steps of which several that arrive at once count as one: Grbl keeps a flag
    /// for each kind (`serial.c`, `EXEC_FEED_OVR_COARSE_PLUS`).
    pub(super) fn override_said(&mut self, change: Override) {
        let said = matches!(self.dialect.word(&Word::Override(change)), Spelling::Realtime(_));
        if let Some((place, _)) = place_of(change).filter(|_| said) {
            self.obeying.overrides[place] = Some((change, Said::now(self.now)));
        }
    }

    /// What the machine reports of its overrides: the way to what was asked for goes on from there.
    pub(super) fn overrides_reported(&mut self, reported: [u32; 3]) {
        for (place, from) in reported.into_iter().enumerate() {
            let Some((to, said)) = &mut self.obeying.overrides[place] else { continue };
            let to = *to;
            if place_of(to).is_none_or(|(_, percent)| percent == from) {
                // On a slow way steps are under way still that were said before this report was heard.
                if self.now.since(said.at) >= OVERRIDE_SETTLES {
                    self.obeying.overrides[place] = None;
                }
                continue;
            }
            match said.unheard(self.now, OVERRIDE_ON_ITS_WAY, OVERRIDE_STEPS_MAX) {
                Remedy::Wait => {}
                Remedy::SayAgain => {
                    if let Spelling::Realtime(bytes) = self.dialect.word(&Word::OverrideStep { from, to }) {
                        self.say_urgently(&bytes, false);
                    }
                }
                Remedy::Tell => {
                    self.obeying.overrides[place] = None;
                    self.tell_disobedience(
                        "override.not_obeyed",
                        format!("The machine was told an override again and again and reports {from} %."),
                        "It is left at that.",
                        "Ask for it again. Another program or a knob of the machine may set it as well.",
                    );
                }
            }
        }
    }

    /// A report of a machine in a hold whose spindle or beam is to stand: told to, and told again where two later
    /// reports still show it turning.
    pub(super) fn spindle_to_stand(&mut self, turns: bool) {
        let Some(spindle) = &mut self.obeying.spindle else {
            if turns {
                self.obeying.spindle = Some(Said::now(self.now));
                self.calm(Calm::SpindleOffInHold);
            }
            return;
        };
        if !turns || self.now.since(spindle.at) < SPINDLE_ON_ITS_WAY {
            self.obeying.spindle_reports = 0;
            return;
        }
        self.obeying.spindle_reports += 1;
        if self.obeying.spindle_reports < SPINDLE_REPORTS {
            return;
        }
        self.obeying.spindle_reports = 0;
        match spindle.unheard(self.now, SPINDLE_ON_ITS_WAY, SPINDLE_AGAIN_MAX) {
            Remedy::Wait => {}
            Remedy::SayAgain => self.calm(Calm::SpindleOffInHold),
            Remedy::Tell => self.tell_disobedience(
                "hold.spindle_on",
                "The machine stands in a hold, and its spindle or beam is on although it was told to stand.".to_owned(),
                "It was told so three times.",
                "Keep away from it. STOP switches it off.",
            ),
        }
    }

    /// The machine is in no hold, or in none any more: the next one begins anew. True: its spindle was told to stand.
    pub(super) fn spindle_may_turn(&mut self) -> bool {
        self.obeying.spindle_reports = 0;
        self.obeying.spindle.take().is_some()
    }

    fn tell_disobedience(&mut self, code: &str, happened: String, done: &str, to_do: &str) {
        let notice = Notice::new(code, happened, done, to_do);
        self.known.generation += 1;
        self.tell_trouble(notice);
    }
}

/// Where an override stands in a report, and its percentage there.
fn place_of(change: Override) -> Option<(usize, u32)> {
    match change {
        Override::Feed(percent) => Some((0, percent)),
        Override::Rapid(percent) => Some((1, percent)),
        Override::Spindle(percent) => Some((2, percent)),
        Override::Flow(_) => None,
    }
}

/// Stable code of the notice.
const STOP_NOT_OBEYED: &str = "stop.not_obeyed";
