//! The start of a conversation: finding out who is there before anything else is said.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, Session};
use crate::dialect::{self, Effect, Likeness};
use crate::event::EventKind;
use crate::interlock::{self, Response, Trouble};
use crate::moment::Moment;
use crate::notice::Notice;
use crate::profile::Attach;
use crate::session::identity::merge;
use crate::session::silence::SILENT_WORK;
use crate::snapshot::{Identity, JobPhase, Occupied, State};

/// How long a board that was reset by opening its port may take to say its banner. Bootloaders wait 1 to 2 s.
const BANNER_WAIT: Duration = Duration::from_millis(2_500);

/// Between two attempts to find out who is there.
pub(super) const GREET_EVERY: Duration = Duration::from_millis(1_500);

/// Attempts before the silence is told. Then attempts go on, slowly.
const GREET_TRIES: u32 = 6;

/// Attempts with the configured dialect's own question. Then those of other dialects take turns with it: a machine
/// that speaks another one is silent only until it is asked in its own words. Each question is unknown to the other
/// firmwares, which say so and do nothing.
const OWN_QUESTIONS: u32 = 1;

/// Questions that a machine which does not name itself is put before a person's word counts: by then it was asked in the
/// words of all others, and would have named itself to one of them.
const ATTACH_TRIES: u32 = 5;

/// Stable code of the notice.
pub(super) const ECHO: &str = "link.echo";

/// Quiet after which no more answers come to questions that were put to a machine before it answered one: most of them
/// were lost before it listened, but one that was slow answers each, and must not be taken to answer a job's lines.
const LATE_ANSWERS: Duration = Duration::from_millis(500);

/// How long the rest of an answer may take that says which one of several kin it is.
pub(super) const NAMING: Duration = Duration::from_millis(300);

/// How long a machine that said that it is busy is taken at its word: it says so every two seconds.
const WORKED: Duration = Duration::from_secs(6);

/// The part of a receive buffer that questions may fill before they are taken for lost.
const QUESTIONS_SHARE: usize = 4;

/// Longest pause between two such rounds, as a power of two of the first: what is asked of a machine that works in
/// silence for an hour fits into its receive buffer.
const PAUSES_DOUBLED_MAX: u32 = 4;

/// Between attempts once the silence was told.
const GREET_SLOWLY: Duration = Duration::from_secs(10);

/// What a greeting has heard so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them can be")]
pub(super) struct Greeting {
    identity: Option<Identity>,
    /// How surely it is the dialect that is configured.
    pub(super) likeness: Likeness,
    /// Whom it is like otherwise.
    #[serde(skip)]
    pub(super) kin: Option<&'static str>,
    /// It is certain that it is another; which one is still to be heard.
    pub(super) is_other: bool,
    /// An answer came before any name: some firmwares answer first and do what was asked then.
    answered: bool,
    pub(super) tries: u32,
    silence_told: bool,
    /// It was asked for its state, past its receive buffer.
    #[serde(default)]
    pub(super) looked: bool,
    /// It stands in a hold, as it reported since it was last asked; and whether that was told.
    #[serde(default)]
    pub(super) holds: bool,
    #[serde(default)]
    pub(super) hold_told: bool,
    /// What else it was found at, by its own reports or words.
    #[serde(default)]
    pub(super) found: Option<Found>,
    /// A person wants it woken: so many resets more.
    #[serde(default)]
    pub(super) resets_left: u32,
    /// Questions without an answer.
    #[serde(default)]
    due: u32,
    /// Bytes of questions that may still wait in its receive buffer.
    #[serde(default)]
    waiting_bytes: usize,
    /// Times they were taken for lost.
    #[serde(default)]
    pauses: u32,
    /// It is known, and answers to earlier questions are waited for.
    #[serde(default)]
    settles: bool,
    /// It said something that machines of its dialect say, if not its name.
    #[serde(default)]
    speaks: bool,
    /// Lines that came, and how many of them were what had been asked, come back.
    #[serde(default)]
    pub(super) lines: u32,
    #[serde(default)]
    pub(super) echoes: u32,
}

/// What a machine is found at that does not answer who it is meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Found {
    /// It moves.
    Moves,
    /// It says that it is busy, and did so last then.
    Works(Moment),
    /// It is in check mode.
    Checks,
    /// It is asleep.
    Sleeps,
    /// Its own host is starting, and says so in these words.
    Starts(String),
}

impl Greeting {
    /// What a machine is doing that has not said who it is.
    pub(super) fn state(&self) -> State {
        match self.found {
            Some(Found::Moves | Found::Checks | Found::Works(_)) => State::Busy,
            Some(Found::Sleeps) => State::Attention,
            Some(Found::Starts(_)) | None => State::Connecting,
        }
    }

    /// The greeting of a machine that fell silent: that it is silent was told.
    pub(super) fn of_silent() -> Self {
        Self { silence_told: true, ..Self::default() }
    }
}

impl Session {
    pub(super) fn link_up(&mut self, may_reset: bool) {
        self.forget_conversation();
        self.window.trust_wire();
        self.known.link.opened += 1;
        if self.unreached.is_none() {
            self.known.notice = None;
        }
        self.known.protection.clear();
        self.known.stop = None;
        self.work_offset_known = false;
        // Where it stands now is unknown until it says so: the board may have restarted meanwhile.
        (self.known.position_mm, self.known.work_position_mm) = (None, None);
        (self.known.feed_mm_min, self.known.spindle) = (None, None);
        self.settings = super::Settings::default();
        (self.known.place, self.known.differences) = (None, Vec::new());
        self.person.answers_left = 0;
        self.phase = Phase::Greeting(Box::default());
        self.deadlines.greet = Some(if may_reset { self.now + BANNER_WAIT } else { self.now });
    }

    pub(super) fn link_down(&mut self, mut notice: Notice) {
        if self.phase == Phase::Offline {
            self.known.notice = Some(notice);
            return;
        }
        // A port behind which nobody is yet (an adapter whose machine is off) may open and close for ever: that is one fact.
        let nobody = matches!(self.phase, Phase::Greeting(_)).then(|| notice.code.clone());
        let told = nobody.is_some() && nobody == self.unreached;
        self.unreached = nobody;
        if let Some(said) = self.last_words() {
            notice.happened = format!("{} The last it said was `{said}`.", notice.happened);
        }
        if let Some(run) = &self.run {
            let line = run.progress.executed_line;
            notice.happened = format!("{} Line {line} of the job was executed, at least.", notice.happened);
        }
        if interlock::respond(Trouble::LinkLost) == Response::Fail {
            self.end_run(JobPhase::Failed, Some(notice.clone()));
        }
        self.table_used(Occupied::LinkLost);
        self.forget_conversation();
        self.phase = Phase::Offline;
        self.known.identity = None;
        self.known.protection.clear();
        self.known.stop = None;
        self.known.notice = Some(notice.clone());
        if !told {
            self.tell(EventKind::Disconnected { notice });
        }
    }

    /// After a restart of link or board nothing that was said before counts.
    pub(super) fn forget_conversation(&mut self) {
        self.tell_halt();
        self.doubt_is_moot();
        self.window.clear();
        self.asides.clear();
        self.wire.clear();
        self.partial.clear();
        self.said.clear();
        self.echoes = false;
        self.condition = None;
        self.answers_named = false;
        self.resend_ok_until = None;
        self.needs_person = false;
        self.position_lost();
        self.prompt_over();
        self.stranger = None;
        (self.alarm_reset, self.stopped) = (super::AlarmReset::NotNeeded, false);
        (self.clearing, self.alarm_cause) = (None, None);
        self.reporting = super::reporting::Reporting::default();
        self.packing = super::packing::Packing::default();
        self.left_on = super::standing::LeftOn::default();
        self.left_hot = super::standing::LeftHot::default();
        self.own_work = super::own_work::OwnWork::default();
        self.obeying = super::obeying::Obeying::default();
        self.silence = super::silence::Silence::default();
        self.waits = super::waits::Waits::default();
        self.deadlines = super::Deadlines::default();
    }

    /// Says the word that makes a machine name itself.
    pub(super) fn greet(&mut self) {
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        if let (true, Some(kin)) = (greeting.is_other, greeting.kin) {
            return self.wrong_machine(kin);
        }
        if matches!(greeting.found, Some(Found::Works(heard)) if self.now.since(heard) > WORKED) {
            greeting.found = None;
        }
        if matches!(greeting.found, Some(Found::Starts(_))) {
            // Asked again in the same words: it is known by its own, and will be ready by itself.
            (greeting.tries, greeting.due, greeting.waiting_bytes, greeting.settles) = (0, 0, 0, false);
            (greeting.found, greeting.identity, greeting.answered) = (None, None, false);
        }
        if greeting.settles {
            greeting.due = 0;
            return self.name_heard();
        }
        if greeting.answered && greeting.identity.as_ref().is_some_and(|identity| !identity.firmware.is_empty()) {
            return self.name_heard();
        }
        if greeting.speaks && greeting.tries > ATTACH_TRIES && self.profile.attach == Attach::AsConfigured {
            return self.attach();
        }
        if self.looks_first() {
            return;
        }
        let room = self.window.limits().bytes / QUESTIONS_SHARE;
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        greeting.tries += 1;
        greeting.identity = None;
        greeting.answered = false;
        let tries = greeting.tries;
        let habits = self.dialect.habits();
        let word =
            if tries > OWN_QUESTIONS && tries % 2 == 0 { other_question(habits, tries) } else { habits.identify };
        let question = format!("{}{word}\n", habits.spoils);
        let silent = tries > GREET_TRIES;
        self.deadlines.greet = Some(self.now + if silent { GREET_SLOWLY } else { GREET_EVERY });
        let bytes = greeting.waiting_bytes + question.len();
        if bytes > room && greeting.waiting_bytes > 0 && !habits.registers {
            // It is off, or works in silence and has all of them still.
            let pause = SILENT_WORK * 2_u32.pow(greeting.pauses);
            greeting.pauses = (greeting.pauses + 1).min(PAUSES_DOUBLED_MAX);
            greeting.waiting_bytes = 0;
            self.deadlines.greet = Some(self.now + pause);
            return self.tell_silence();
        }
        greeting.waiting_bytes = bytes;
        greeting.due += question.lines().filter(|line| !line.is_empty()).count() as u32;
        self.unpack_receiver();
        self.wire.extend_from_slice(question.as_bytes());
        self.known.link.bytes_out += question.len() as u64;
        if silent {
            self.tell_silence();
        }
    }

    /// Tells once that nobody answers, or that what answers says no name.
    fn tell_silence(&mut self) {
        let question = self.question().lines().last().unwrap_or_default();
        let said = self.last_said();
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        if greeting.found.is_some() || std::mem::replace(&mut greeting.silence_told, true) {
            return;
        }
        self.unreached = None;
        let repeated =
            "No job was sent; the question is repeated, but not so often that it would fill a busy machine's buffer.";
        let notice = match said {
            _ if greeting.lines > 0 && greeting.echoes == greeting.lines => Notice::new(
                ECHO,
                format!("What is sent on this port comes back (`{question}`), and nothing else comes."),
                repeated,
                "Check that the machine is on; an adapter or a modem with its echo on, or a loop in the cable, sends back what it is sent.",
            ),
            Some(said) => Notice::new(
                "machine.unnamed",
                format!("Something answers on this port, and says no name that the agent knows: it said `{said}`."),
                repeated,
                "Check that this is the machine's port, and the baud rate. If it is the machine that is configured, attach it by \
                 your word: `attach = \"as-configured\"` in its profile, or `--attach`.",
            ),
            None => Notice::new(
                "machine.silent",
                format!("The port is open, and nothing came back to `{question}`."),
                repeated,
                "Check that the machine is on, that this is its port, and the baud rate.",
            ),
        };
        self.tell_trouble(notice);
    }

    /// A person's word stands for the name of a machine that answers and says none.
    fn attach(&mut self) {
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        let said = greeting.identity.clone().unwrap_or_default();
        let firmware = format!("not named, attached as {}", self.dialect.habits().name);
        let identity = Identity { firmware, attached_as_configured: true, ..said };
        self.identified(identity);
    }

    /// A line that came before it is known who speaks. True: it is what was asked, come back.
    pub(super) fn greeting_heard(&mut self, line: &[u8]) -> bool {
        let Phase::Greeting(greeting) = &mut self.phase else { return false };
        greeting.lines = greeting.lines.saturating_add(1);
        // What is asked past all lines comes back without a line end.
        let start = line.iter().take_while(|byte| **byte == b'?').count();
        let (asked_past, line) = (start > 0, line[start..].trim_ascii());
        let asked = |dialect: &&dyn dialect::Dialect| {
            let habits = dialect.habits();
            habits.spoils.trim().as_bytes() == line || habits.identify.lines().any(|asked| asked.as_bytes() == line)
        };
        let echo = if line.is_empty() { asked_past } else { dialect::ALL.iter().any(asked) };
        greeting.echoes += u32::from(echo);
        echo
    }

    /// Whoever says more than how it is while the next question is far off is asked soon: it may have been switched on
    /// just now, and its greeting have arrived damaged.
    fn greet_sooner(&mut self) {
        let soon = self.now + GREET_SLOWLY;
        self.deadlines.greet = self.deadlines.greet.map(|at| at.min(soon));
    }

    /// A line heard while it is not yet known who speaks.
    pub(super) fn hear_greeting(&mut self, reply: dialect::Reply) {
        use dialect::Reply;
        let now = self.now;
        if matches!(reply, Reply::Chatter | Reply::Message(_)) {
            self.greet_sooner();
        }
        self.stop_answered(&reply);
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        greeting.speaks |= !matches!(reply, Reply::Chatter | Reply::Message(_) | Reply::Started);
        match reply {
            Reply::Started => {
                // The board has just booted: ask at once, and again if that came too early.
                greeting.tries = 0;
                (greeting.due, greeting.settles, greeting.hold_told) = (0, false, false);
                greeting.waiting_bytes = 0;
                greeting.identity = None;
                self.deadlines.greet = Some(now + Duration::from_millis(50));
            }
            Reply::Identity(identity) => {
                merge(greeting.identity.get_or_insert_with(Identity::default), &identity);
                if greeting.answered {
                    self.deadlines.greet = Some(now + NAMING);
                }
            }
            Reply::Ok { .. } => self.greeting_answered(),
            Reply::Refused { answers, .. } if greeting.settles => {
                greeting.due = greeting.due.saturating_sub(u32::from(answers));
                self.name_heard();
            }
            // Whoever refuses the question is somebody else: another question follows soon.
            Reply::Refused { answers, .. } if greeting.tries <= OWN_QUESTIONS => {
                greeting.due = greeting.due.saturating_sub(u32::from(answers));
                greeting.tries = OWN_QUESTIONS + 1;
                self.deadlines.greet = Some(now + Duration::from_millis(50));
            }
            Reply::Said(said) if said.effect == Effect::Refuse && greeting.settles => self.name_heard(),
            Reply::Said(said) if said.effect == Effect::Refuse && greeting.tries <= OWN_QUESTIONS => {
                greeting.tries = OWN_QUESTIONS + 1;
                self.deadlines.greet = Some(now + Duration::from_millis(50));
            }
            // It lives, and answers in its turn; more questions would fill its receive buffer.
            Reply::Busy | Reply::Heats | Reply::NeedsPerson if greeting.tries > 0 => {
                self.deadlines.greet = Some(now + GREET_SLOWLY);
                if reply == Reply::NeedsPerson {
                    self.needs_person = true;
                    self.found_standing("It waits for a person");
                } else {
                    greeting.found = Some(Found::Works(now));
                    let told = std::mem::take(&mut greeting.hold_told);
                    self.goes_on_again(told);
                }
            }
            Reply::Busy | Reply::Heats => self.deadlines.greet = Some(now + GREET_EVERY),
            Reply::Halted { text, explained } => self.halted(&text, explained),
            Reply::Starting(text) => {
                greeting.found = Some(Found::Starts(text));
                self.deadlines.greet = Some(now + GREET_EVERY);
            }
            Reply::Status(status) => {
                self.note_status(&status);
                self.greeted_by_report(status.condition);
                self.stop_reported(&status);
            }
            Reply::Prompt(prompt) => self.hear_prompt(prompt),
            other => self.note_report(&other),
        }
    }

    /// An answer while it is not yet known who speaks.
    fn greeting_answered(&mut self) {
        let question_bytes = self.question().len() + 1;
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        greeting.answered = true;
        let told = std::mem::take(&mut greeting.hold_told);
        // An answer before any name is to a line that a lost job left in the machine.
        let named = greeting.identity.as_ref().is_some_and(|identity| !identity.firmware.is_empty());
        if named || self.dialect.habits().ok_when_taken {
            greeting.due = greeting.due.saturating_sub(1);
        }
        // Whoever answers has read a line, if perhaps not the last one.
        greeting.waiting_bytes = greeting.waiting_bytes.saturating_sub(question_bytes);
        if greeting.due == 0 {
            greeting.waiting_bytes = 0;
        }
        self.goes_on_again(told);
        self.name_heard();
    }

    /// The machine has answered and, perhaps, said its name.
    fn name_heard(&mut self) {
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        if matches!(greeting.found, Some(Found::Starts(_))) {
            return;
        }
        let Some(identity) = greeting.identity.clone().filter(|identity| !identity.firmware.is_empty()) else { return };
        if greeting.likeness < Likeness::Proof && self.dialect.habits().needs_proof {
            let other = greeting.kin.unwrap_or(&identity.firmware).to_owned();
            return self.wrong_machine(&other);
        }
        greeting.settles = greeting.due > 0;
        if greeting.settles {
            self.deadlines.greet = Some(self.now + LATE_ANSWERS);
            return;
        }
        self.identified(identity);
    }
}

/// A question of another dialect, a different one each time.
fn other_question(own: &dialect::Habits, tries: u32) -> &'static str {
    let mut others: Vec<&'static str> = Vec::new();
    for dialect in dialect::ALL {
        let question = dialect.habits().identify;
        let reachable = dialect.habits().registers == own.registers;
        // A question of two lines holds one that is asked anyway.
        if reachable && !question.contains('\n') && question != own.identify && !others.contains(&question) {
            others.push(question);
        }
    }
    others.get(tries as usize / 2 % others.len().max(1)).copied().unwrap_or(own.identify)
}
