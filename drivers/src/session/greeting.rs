//! The start of a conversation: finding out who is there before anything else is said.

use std::time::Duration;

use super::{Phase, Session, limits};
use crate::dialect::{self, Asking};
use crate::event::EventKind;
use crate::flow::Aside;
use crate::interlock::{self, Response, Trouble};
use crate::moment::Moment;
use crate::notice::Notice;
use crate::snapshot::{Identity, JobPhase};

/// How long a board that was reset by opening its port may take to say its banner. Bootloaders wait 1 to 2 s.
const BANNER_WAIT: Duration = Duration::from_millis(2_500);

/// Between two attempts to find out who is there.
const GREET_EVERY: Duration = Duration::from_millis(1_500);

/// Attempts before the silence is told. Then attempts go on, slowly.
const GREET_TRIES: u32 = 6;

/// Between attempts once the silence was told.
const GREET_SLOWLY: Duration = Duration::from_secs(10);

/// Between questions while only the end of motion is waited for: nothing else is on the wire then.
const PROVING_EVERY: Duration = Duration::from_millis(100);

/// What a greeting has heard so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Greeting {
    identity: Option<Identity>,
    tries: u32,
    silence_told: bool,
}

impl Session {
    pub(super) fn link_up(&mut self, may_reset: bool) {
        self.forget_conversation();
        self.known.link.opened += 1;
        self.known.notice = None;
        self.phase = Phase::Greeting(Greeting::default());
        self.deadlines.greet = Some(if may_reset { self.now + BANNER_WAIT } else { self.now });
    }

    pub(super) fn link_down(&mut self, notice: Notice) {
        if self.phase == Phase::Offline {
            self.known.notice = Some(notice);
            return;
        }
        if interlock::respond(Trouble::LinkLost) == Response::Fail {
            self.end_run(JobPhase::Failed, Some(notice.clone()));
        }
        self.forget_conversation();
        self.phase = Phase::Offline;
        self.known.identity = None;
        self.known.notice = Some(notice.clone());
        self.tell(EventKind::Disconnected { notice });
    }

    /// After a restart of link or board nothing that was said before counts.
    pub(super) fn forget_conversation(&mut self) {
        self.window.clear();
        self.asides.clear();
        self.wire.clear();
        self.partial.clear();
        self.condition = None;
        self.needs_person = false;
        self.deadlines = super::Deadlines::default();
    }

    /// Says the word that makes a machine name itself.
    pub(super) fn greet(&mut self) {
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        greeting.tries += 1;
        greeting.identity = None;
        let silent = greeting.tries > GREET_TRIES;
        let tell = silent && !std::mem::replace(&mut greeting.silence_told, silent);
        self.deadlines.greet = Some(self.now + if silent { GREET_SLOWLY } else { GREET_EVERY });
        let habits = self.dialect.habits();
        // A line end first clears half a line that noise or another program left in the machine.
        let line_end = if habits.numbered { "\n" } else { "" };
        let greeting = format!("{line_end}{}\n", habits.identify);
        self.wire.extend_from_slice(greeting.as_bytes());
        self.known.link.bytes_out += greeting.len() as u64;
        if tell {
            let notice = Notice::new(
                "machine.silent",
                format!("The port is open, but no machine answers `{}`.", habits.identify),
                "No job was sent; the question is repeated every 10 s.",
                "Check that the machine is on, that this is its port, and the baud rate.",
            );
            self.known.notice = Some(notice.clone());
            self.tell(EventKind::Trouble { notice });
        }
    }

    /// A machine that proves to be another one than configured is never sent a job.
    pub(super) fn wrong_machine(&mut self, other: &'static str) {
        let notice = Notice::new(
            "machine.wrong",
            format!("The machine on this port speaks {other}; {} is configured.", self.dialect.habits().name),
            "No job was sent and none will be.",
            "Check that the cable leads to the right machine, or correct the dialect in the configuration.",
        );
        self.end_run(JobPhase::Failed, Some(notice.clone()));
        self.forget_conversation();
        self.phase = Phase::Wrong;
        self.known.notice = Some(notice.clone());
        self.tell(EventKind::Trouble { notice });
    }

    /// A line heard while it is not yet known who speaks.
    pub(super) fn hear_greeting(&mut self, reply: dialect::Reply) {
        use dialect::Reply;
        let now = self.now;
        let Phase::Greeting(greeting) = &mut self.phase else { return };
        match reply {
            Reply::Started => {
                // The board has just booted: ask at once, and again if that came too early.
                greeting.tries = 0;
                greeting.identity = None;
                self.deadlines.greet = Some(now + Duration::from_millis(50));
            }
            Reply::Identity(identity) => merge(greeting.identity.get_or_insert_with(Identity::default), &identity),
            Reply::Ok { .. } => {
                if let Some(identity) = greeting.identity.take().filter(|identity| !identity.firmware.is_empty()) {
                    self.identified(identity);
                }
            }
            Reply::Busy => self.deadlines.greet = Some(now + GREET_EVERY),
            Reply::Halted { text } => self.halted(&text),
            other => self.note_report(&other),
        }
    }

    fn identified(&mut self, identity: Identity) {
        self.phase = Phase::Ready;
        self.deadlines.greet = None;
        let buffer = identity.receive_buffer_bytes;
        self.window.clear();
        self.window.limit(limits(self.dialect, &self.profile, buffer));
        self.known.notice = None;
        self.known.generation += 1;
        self.tell(EventKind::Connected { firmware: identity.firmware.clone() });
        self.known.identity = Some(identity);
        self.deadlines.ask = Some(self.now);
    }

    /// Asks how the machine is.
    pub(super) fn ask(&mut self) {
        if matches!(self.phase, Phase::Offline | Phase::Greeting(_) | Phase::Wrong | Phase::Halted) {
            return;
        }
        let proving = self.run.as_ref().is_some_and(|run| run.stage == super::Stage::Proving);
        self.deadlines.ask = Some(self.now + if proving { PROVING_EVERY } else { self.ask_interval() });
        match self.dialect.habits().asking {
            Asking::Realtime { .. } => self.calm(dialect::Calm::Query),
            Asking::Commands { commands, .. } => {
                // One question at a time: a machine that heats or homes answers late.
                let asked = self.window.has_query() || self.asides.iter().any(|(aside, _)| *aside == Aside::Query);
                if !asked && self.phase == Phase::Ready && self.run.as_ref().is_none_or(super::Run::may_be_asked) {
                    for command in commands {
                        self.asides.push_back((Aside::Query, (*command).to_owned()));
                    }
                }
            }
        }
    }

    /// Puts off the moment at which an answer is overdue: the machine has just shown that it is alive.
    pub(super) fn sign_of_life(&mut self) {
        self.deadlines.answer = if self.window.is_empty() { None } else { Some(self.answer_due()) };
        if let Some(run) = &mut self.run {
            run.probes = 0;
        }
    }

    pub(super) fn answer_due(&self) -> Moment {
        self.now + Duration::from_millis(self.profile.stream.answer_timeout_ms)
    }
}

/// Identity comes in several lines; later ones add to it.
fn merge(identity: &mut Identity, more: &Identity) {
    if !more.firmware.is_empty() {
        identity.firmware.clone_from(&more.firmware);
    }
    identity.machine = identity.machine.take().or_else(|| more.machine.clone());
    identity.uuid = identity.uuid.take().or_else(|| more.uuid.clone());
    identity.receive_buffer_bytes = identity.receive_buffer_bytes.or(more.receive_buffer_bytes);
    identity.planner_blocks = identity.planner_blocks.or(more.planner_blocks);
    for capability in &more.capabilities {
        if identity.capabilities.len() < CAPABILITIES_MAX && !identity.capabilities.contains(capability) {
            identity.capabilities.push(capability.clone());
        }
    }
}

/// Capabilities kept. Marlin lists about 40.
const CAPABILITIES_MAX: usize = 128;
