//! What a simulated Marlin asks of a person: M0, and the two stages of M600.
//!
//! After Marlin `src/feature/pause.cpp` (`pause_print`, `wait_for_confirmation`, `load_filament`), `src/feature/host_actions.cpp`
//! (`handle_response`) and `src/gcode/lcd/M0_M1.cpp`: the first question of a change of filament is a wait for a person,
//! which M108 ends as well; the second is a menu, and only its own answer ends that.

use std::time::Duration;

use super::{Marlin, Waiting};

/// How long filament takes to come out, at speed 1.
const LOADS: Duration = Duration::from_secs(12);

/// How long some more of it takes, at speed 1.
const PURGES: Duration = Duration::from_secs(4);

/// A question to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// The program stops here.
    Stopped,
    /// The old filament is on its way out; an answer changes nothing.
    Parking,
    /// The old filament is out: is the new one in?
    Parked,
    /// That was answered; the new one is loaded.
    Loading,
    /// Has enough of it come out?
    Purged,
}

impl Marlin {
    /// The change of filament begins: it parks, and asks whether the new filament is in.
    pub(super) fn change_filament(&mut self) -> Waiting {
        self.out.extend_from_slice(b"//action:paused\n");
        if self.setup.unload_s > 0.0 {
            self.ask(Question::Parking, "Pause", &["Dismiss"]);
            let takes = Duration::try_from_secs_f64(self.setup.unload_s / self.setup.speed).unwrap_or_default();
            return Waiting::Until(self.now + takes);
        }
        self.ask(Question::Parked, "Nozzle Parked", &["Continue"]);
        Waiting::Person
    }

    /// M0 and M1. Their menu has one answer, and nobody says that it is over.
    pub(super) fn stop_for_a_person(&mut self, code: f64) -> Waiting {
        if self.setup.prompts_at_m0 {
            let text = if code == 0.0 { "M0 Stop" } else { "M1 Stop" };
            self.ask(Question::Stopped, text, &["Continue"]);
        }
        Waiting::Person
    }

    fn ask(&mut self, question: Question, text: &str, choices: &[&str]) {
        self.prompt = Some(question);
        let mut said = format!("//action:prompt_end\n//action:prompt_begin {text}\n");
        for choice in choices {
            said.push_str("//action:prompt_button ");
            said.push_str(choice);
            said.push('\n');
        }
        said.push_str("//action:prompt_show\n");
        self.out.extend_from_slice(said.as_bytes());
    }

    /// M108: ends a wait for heat or a person. The menu of a change of filament waits for nothing of that kind.
    pub(super) fn stop_waiting(&mut self) {
        match (self.waiting, self.prompt) {
            (Waiting::Heat { .. }, _) | (Waiting::Person, None) => self.waiting = Waiting::Until(self.now),
            (Waiting::Person, Some(Question::Stopped)) => self.goes_on(),
            (Waiting::Person, Some(Question::Parked)) => self.load(LOADS),
            _ => {}
        }
    }

    /// M876: the question's own answer.
    pub(super) fn choose(&mut self, place: u8) {
        match (self.waiting, self.prompt, place) {
            (Waiting::Person, Some(Question::Stopped), _) => self.goes_on(),
            (Waiting::Person, Some(Question::Parked), _) => self.load(LOADS),
            (Waiting::Person, Some(Question::Purged), 0) => self.load(PURGES),
            (Waiting::Person, Some(Question::Purged), _) => {
                self.prompt = None;
                self.out.extend_from_slice(b"//action:prompt_end\n");
                self.waiting = Waiting::Until(self.now);
            }
            _ => {}
        }
    }

    fn goes_on(&mut self) {
        self.prompt = None;
        self.waiting = Waiting::Until(self.now);
    }

    fn load(&mut self, takes: Duration) {
        self.prompt = Some(Question::Loading);
        let takes = Duration::try_from_secs_f64(takes.as_secs_f64() / self.setup.speed).unwrap_or_default();
        self.waiting = Waiting::Until(self.now + takes);
    }

    /// Filament has come out: it asks whether that is enough. True: it did.
    pub(super) fn goes_on_asking(&mut self, command: &[u8]) -> bool {
        if self.prompt == Some(Question::Parking) && command.starts_with(b"M600") {
            self.ask(Question::Parked, "Nozzle Parked", &["Continue"]);
            self.waiting = Waiting::Person;
            return true;
        }
        if self.prompt != Some(Question::Loading) || !command.starts_with(b"M600") {
            return false;
        }
        self.ask(Question::Purged, "Paused", &["PurgeMore", "Continue"]);
        self.waiting = Waiting::Person;
        true
    }
}
