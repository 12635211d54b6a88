//! What is told: snapshots, events and recordings; and what is heard of the devices beside the machine.

use std::sync::Arc;
use std::time::Duration;

use super::{PUBLISH_EVERY, Shell};
use crate::event::{Event, EventKind};
use crate::machine::Recording;
use crate::modbus::attached::protection;
use crate::moment::Moment;
use crate::notice::Notice;
use crate::recording::Head;
use crate::session::{Drives, Input};
use crate::snapshot::{JobPhase, Reading, State};
use crate::{link, modbus, state_change};

/// Least time between two recordings of one machine: one trouble brings others, and an SD card does not last for ever.
const RECORD_EVERY: Duration = Duration::from_secs(60);

/// Code of the notice that asks a person for a tool.
const TOOL_CHANGE: &str = "machine.tool_change";

/// Whether an event is one after which nothing beside the machine may turn on.
fn ends_badly(event: &Event) -> bool {
    match &event.kind {
        EventKind::Job { phase, .. } => matches!(phase, JobPhase::Failed | JobPhase::Cancelled),
        EventKind::State { to, .. } => *to == State::Alarm,
        // A person is sent to the tool.
        EventKind::Trouble { notice } => notice.code == TOOL_CHANGE,
        _ => false,
    }
}

/// Why an event is worth a recording, if it is: a job that went wrong or waits, an alarm, a lost link, trouble.
fn worth_recording(event: &Event) -> Option<&Notice> {
    match &event.kind {
        EventKind::Job { phase: JobPhase::Failed | JobPhase::Held, notice, .. } => notice.as_ref(),
        EventKind::Disconnected { notice } | EventKind::Trouble { notice } => Some(notice),
        _ => None,
    }
}

impl Shell {
    /// Hears what is known of the devices beside the machine. What it means for a job the session decides.
    pub(super) fn heed_devices(&mut self, now: Moment) {
        let Some(beside) = &mut self.beside else { return };
        let told = beside.take_notice();
        let drives = Drives::of(&beside.known());
        if let Some(told) = told {
            self.noticed = Some(told.notice);
        }
        if drives != *self.session.drives() {
            self.handle(now, Input::Drives(drives));
        }
        if let (Some(order), Some(beside)) = (self.session.take_spindle_order(), &self.beside) {
            beside.order(order);
        }
    }

    /// First the numbers, then the news: whoever hears that a job is over finds its last count in the snapshot.
    pub(super) fn tell(&mut self, now: Moment, at_once: bool) {
        let mut events: Vec<_> = std::iter::from_fn(|| self.session.poll_event()).collect();
        if events.iter().any(ends_badly) {
            self.stop_drives();
        }
        let noticed = self.noticed.take();
        events.extend(noticed.map(|notice| Event { at: now, kind: EventKind::Trouble { notice } }));
        self.publish(now, at_once || events.iter().any(state_change));
        self.record_trouble(now, &events);
        for event in events {
            // Nobody listening is no error.
            let _ = self.events.send(event);
        }
    }

    fn publish(&mut self, now: Moment, at_once: bool) {
        if !at_once && now.since(self.published_at) < PUBLISH_EVERY {
            return;
        }
        self.published_at = now;
        let mut snapshot = self.session.snapshot();
        snapshot.baud =
            self.baud_found.filter(|_| link::has_rate(&self.address.port) && snapshot.state != State::Offline);
        snapshot.protection.extend(modbus::protection(&self.setup.profile, snapshot.identity.as_ref()));
        if let Some(beside) = &self.beside {
            let known = beside.known();
            if let Some(job) = &mut snapshot.job {
                self.energy.note(now, &known, job);
            }
            if let Some(drive) = self.setup.profile.spindle_drive() {
                // What turns it says how fast; the controller does not know.
                let turns = known.iter().find(|device| device.name == drive.name).and_then(|device| device.turns_rpm);
                snapshot.spindle = turns.map(|rpm| Reading::fresh(rpm, now));
            }
            snapshot.auxiliary = known.to_vec();
            let known = |name: &str| known.iter().find(|device| device.name == name);
            let devices = self.setup.profile.auxiliary.iter();
            snapshot.protection.extend(devices.filter_map(|device| protection(device, known(&device.name))));
        }
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    /// Hands the recording over when something went wrong. Writing it down is somebody else's work.
    fn record_trouble(&mut self, now: Moment, events: &[Event]) {
        let recent = self.recorded_at.is_some_and(|at| now.since(at) < RECORD_EVERY);
        let Some(why) = events.iter().find_map(worth_recording).filter(|_| !recent) else { return };
        self.recorded_at = Some(now);
        if self.recordings.receiver_count() > 0 {
            let _ = self.recordings.send(Arc::new(self.recording(now, Some(why))));
        }
    }

    pub(super) fn recording(&self, at: Moment, why: Option<&Notice>) -> Recording {
        let head = Head {
            machine: &self.setup.name,
            profile: &self.setup.profile.name,
            port: &self.setup.port,
            zero_us: self.zero_us,
            why: &why.map_or_else(|| "asked".to_owned(), |notice| format!("{} {}", notice.code, notice.happened)),
        };
        let code = why.map_or("asked", |notice| notice.code.as_str()).to_owned();
        Recording { machine: self.setup.name.clone(), at, code, text: self.recorder.text(&head) }
    }

    /// Whatever happened to the machine, nothing beside it turns on.
    pub(super) fn stop_drives(&self) {
        if let Some(beside) = &self.beside {
            beside.stop();
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_drive_turned_on_while_a_person_was_sent_to_change_the_tool() {
        let told = |code: &str| {
            let notice = Notice::new(code, "", "", "");
            ends_badly(&Event { at: Moment::ZERO, kind: EventKind::Trouble { notice } })
        };
        assert!(told("machine.tool_change") && !told("machine.waits_for_person"));
    }
}
