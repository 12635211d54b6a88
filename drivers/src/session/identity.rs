//! Who a machine is: the one that is configured, another one, or another of the same kind.

use super::greeting::{ECHO, NAMING};
use super::{Phase, Session};
use crate::dialect::{self, Dialect, Likeness};
use crate::event::EventKind;
use crate::notice::Notice;
use crate::snapshot::{Identity, JobPhase};

/// The code of the notice that somebody else is on the port.
const SWAPPED: &str = "machine.swapped";

/// Capabilities kept. Marlin lists about 40.
const CAPABILITIES_MAX: usize = 128;

impl Session {
    /// Whether a line can come from the machine that is configured. If not, the conversation is over.
    pub(super) fn may_have_said(&mut self, line: &[u8]) -> bool {
        let Some((other, likeness)) = dialect::of_line(line) else { return true };
        let own = self.dialect.likeness(line);
        let name = other.habits().name;
        if let Phase::Greeting(greeting) = &mut self.phase {
            greeting.likeness = greeting.likeness.max(own);
            greeting.kin = greeting.kin.or(Some(name));
            if likeness > own && likeness == Likeness::Kin {
                // Somebody else for certain, but of several: the next lines may say which.
                greeting.is_other = true;
                self.deadlines.greet = Some(self.now + NAMING);
                return false;
            }
        }
        if likeness > own && self.run.is_some() {
            return self.stranger_in_job(other, line);
        }
        if likeness > own {
            self.wrong_machine(name);
        }
        likeness <= own
    }

    /// A line in a job that another firmware would say. A program may write such words (M118): only what a board says as it
    /// starts, or of its own name, counts, and then the job is made safe first.
    fn stranger_in_job(&mut self, other: &'static dyn Dialect, line: &[u8]) -> bool {
        let mut heard = Vec::new();
        other.read(line, &mut heard);
        if !heard.iter().any(|reply| matches!(reply, dialect::Reply::Started | dialect::Reply::Identity(_))) {
            return true;
        }
        let other = other.habits().name;
        self.stranger = Some(other.to_owned());
        let notice = self.wrong_notice(other);
        self.cancel_as(JobPhase::Failed, Some(notice));
        false
    }

    fn wrong_notice(&self, other: &str) -> Notice {
        Notice::new(
            "machine.wrong",
            format!("The machine on this port speaks {other}; {} is configured.", self.dialect.habits().name),
            "No job was sent and none will be.",
            "Check that the cable leads to the right machine, or correct the dialect in the configuration.",
        )
    }

    /// A machine that proves to be another one than configured is never sent a job.
    pub(super) fn wrong_machine(&mut self, other: &str) {
        let notice = self.wrong_notice(other);
        self.end_run(JobPhase::Failed, Some(notice.clone()));
        self.forget_conversation();
        self.phase = Phase::Wrong;
        self.tell_trouble(notice);
    }

    /// Two machines of one kind whose cables were swapped: the second is not sent what is meant for the first.
    fn is_somebody_else(&self, identity: &Identity) -> bool {
        let Some(first) = &self.first_identity else { return false };
        let differs = |first: &Option<String>, now: &Option<String>| first.is_some() && now.is_some() && first != now;
        differs(&first.uuid, &identity.uuid) || differs(&first.machine, &identity.machine)
    }

    fn swapped(&mut self, identity: &Identity) {
        let name = |identity: &Identity| {
            let names = [identity.machine.as_deref(), identity.uuid.as_deref()];
            names.into_iter().flatten().collect::<Vec<_>>().join(", ")
        };
        let notice = Notice::new(
            SWAPPED,
            format!(
                "Another machine answers on this port: it says that it is {}; before, it was {}.",
                name(identity),
                self.first_identity.as_ref().map(name).unwrap_or_default()
            ),
            "No job was sent and none will be.",
            "Check that the cables lead to the right machines. If this one is meant to be here, clear it.",
        );
        self.forget_conversation();
        self.phase = Phase::Wrong;
        self.tell_trouble(notice);
    }

    pub(super) fn identified(&mut self, identity: Identity) {
        if self.is_somebody_else(&identity) {
            return self.swapped(&identity);
        }
        self.unreached = None;
        self.first_identity.get_or_insert_with(|| identity.clone());
        self.echoes = matches!(&self.phase, Phase::Greeting(greeting) if greeting.echoes > 0);
        self.phase = Phase::Ready;
        self.obeying.stop_over();
        self.person.answers_left = 0;
        self.deadlines.greet = None;
        self.window.clear();
        self.known.notice = None;
        self.known.generation += 1;
        self.tell(EventKind::Connected { firmware: identity.firmware.clone() });
        if self.echoes {
            let notice = Notice::new(
                ECHO,
                "What is sent on this line comes back before the machine's own answers.",
                "The machine answers as well, and what comes back is passed over.",
                "Switch the echo of the adapter off if it can be: it takes half of what the line carries.",
            );
            self.tell(EventKind::Trouble { notice });
        }
        if identity.capabilities.iter().any(|capability| capability == super::packing::CAPABILITY) {
            self.packing.receiver_found(&self.profile);
        }
        self.numbers = self.dialect.habits().numbers.by(&identity.firmware);
        self.packing.reader_known(self.numbers);
        self.known.identity = Some(identity);
        self.cleared();
        self.limit_window();
        self.known_protection();
        self.deadlines.ask = Some(self.now);
    }
}

/// Identity comes in several lines; later ones add to it.
pub(super) fn merge(identity: &mut Identity, more: &Identity) {
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

/// Whether a notice says that somebody else is on the port.
pub(super) fn is_swap(notice: &Notice) -> bool {
    notice.code == SWAPPED
}
