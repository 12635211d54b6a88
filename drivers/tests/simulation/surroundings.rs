//! What stands around a machine, what people and other programs do at it, and what it says besides: drawn from the seed by a
//! generator of its own, so that what a seed's wire does stays what it was.

use std::time::Duration;

use drivers::sim::{Incident, Random, Setup};

use crate::fate::Act;
use crate::support::is_printer;

/// When something happens at the latest, after the start. Most jobs here take a second or two.
const LATEST_MS: [u64; 3] = [300, 1_500, 5_000];

/// What another program says to a printer and to a mill: none of these lines is in a program here.
const SAID_TO_PRINTERS: [&str; 4] = ["G0X50.5Y7.5F6100\n", "M105\n", "M114\n", "G0X55.5Y8.5F6100\nM105\n"];
const SAID_TO_MILLS: [&str; 4] = ["G0X50.5Y7.5F6100\n", "$G\n", "?", "G0X55.5Y8.5F6100\n$G\n"];

/// Machines that wait at M0 for a person.
const WAIT_FOR_PERSON: [&str; 4] = ["marlin", "grbl", "grblhal", "fluidnc"];

/// What is around one machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// In order, each with its time after the start.
    pub(crate) acts: Vec<(Duration, Act)>,
    /// What it is at when its line is opened.
    pub(crate) found: Option<Incident>,
    /// It is hot then.
    hot: bool,
    /// What happens between two jobs.
    pub(crate) between: Option<Incident>,
    /// The program pushes filament.
    pub(crate) extrudes: bool,
    /// The machine takes none: it is cold.
    pub(crate) cold: bool,
    /// The program waits for a person with this line.
    pub(crate) waits: Option<&'static str>,
}

impl Surroundings {
    /// What that seed has, and what it makes of the machine.
    pub(crate) fn draw(dialect: &str, seed: u64, setup: &mut Setup) -> Self {
        let mut random = Random::new(seed ^ 0x5ca7_7e12);
        let one_in = |random: &mut Random, many: u64| random.below(many) == 0;
        setup.echoes = one_in(&mut random, 8);
        setup.flow_bytes = one_in(&mut random, 8);
        setup.bare_busy = one_in(&mut random, 2);
        setup.has_card = !one_in(&mut random, 4);
        if one_in(&mut random, 2) {
            setup.starts_s = random.below(30) as f64;
        }
        let hot = is_printer(dialect) && one_in(&mut random, 8);
        if hot {
            setup.found_hot_c = [210.0, 60.0];
        }
        let extrudes = is_printer(dialect) && one_in(&mut random, 3);
        let cold = extrudes && !hot && one_in(&mut random, 3);
        setup.extrudes_above_c = cold.then_some(170.0);
        let people = if is_printer(dialect) { &AT_PRINTERS[..] } else { &AT_MILLS[..] };
        let any = |random: &mut Random| people[random.below(people.len() as u64) as usize];
        let mut acts = Vec::new();
        for _ in 0..[0, 0, 1, 1, 2][random.below(5) as usize] {
            let at = moment(&mut random);
            let incident = any(&mut random);
            acts.push((at, Act::There(incident)));
            let ends = match incident {
                Incident::DoorOpened => Incident::DoorClosed,
                Incident::Paused => Incident::Resumed,
                _ => continue,
            };
            acts.push((at + Duration::from_millis(random.below(4_000)), Act::There(ends)));
        }
        if one_in(&mut random, 6) {
            for _ in 0..=random.below(2) {
                let said = if is_printer(dialect) { SAID_TO_PRINTERS } else { SAID_TO_MILLS };
                acts.push((moment(&mut random), Act::Stranger(said[random.below(4) as usize])));
            }
        }
        acts.sort_by_key(|(at, _)| *at);
        let at_rest = [Incident::CardPrint, Incident::MovedThere, Incident::PutToSleep, Incident::CheckMode];
        let mut idle = |many: u64| one_in(&mut random, many).then(|| at_rest[random.below(4) as usize]);
        let (found, between) = (idle(8), idle(4));
        let waits = WAIT_FOR_PERSON.contains(&dialect) && one_in(&mut random, 6);
        let filament = dialect == "marlin" && one_in(&mut random, 2);
        let waits = waits.then_some(if filament { "M600" } else { "M0" });
        Self { acts, found, hot, between, extrudes, cold, waits }
    }

    /// The program as these surroundings have it.
    pub(crate) fn change(&self, mut program: Vec<String>) -> Vec<String> {
        if self.extrudes {
            for (at, line) in program.iter_mut().enumerate().filter(|(_, line)| line.contains(" ; move")) {
                *line = line.replace(" ; move", &format!(" E{at} ; move"));
            }
        }
        if let Some(line) = self.waits {
            program.insert(program.len() / 2, line.to_owned());
        }
        program
    }

    /// Whether the machine is not free as it is found.
    pub(crate) fn needs_person(&self) -> bool {
        self.found.is_some() || self.hot
    }

    /// Whether somebody else says something to the machine.
    pub(crate) fn has_stranger(&self) -> bool {
        self.acts.iter().any(|(_, act)| matches!(act, Act::Stranger(_)))
    }

    /// Answers to other programs that may come, and count for lines of a job: nobody can tell them from others.
    pub(crate) fn strange_answers(&self) -> u64 {
        let said =
            self.acts.iter().filter_map(|(_, act)| if let Act::Stranger(said) = act { Some(said) } else { None });
        said.map(|said| said.lines().count() as u64).sum()
    }

    /// Whether somebody switches check mode on.
    pub(crate) fn checks(&self) -> bool {
        self.acts.iter().any(|(_, act)| *act == Act::There(Incident::CheckMode))
    }

    /// Whether the machine does something of its own beside a job.
    pub(crate) fn moves_itself(&self) -> bool {
        let moves =
            |incident: Incident| matches!(incident, Incident::CardPrint | Incident::MovedThere | Incident::HomedThere);
        let acts =
            self.acts.iter().filter_map(|(_, act)| if let Act::There(there) = act { Some(*there) } else { None });
        acts.chain(self.between).chain(self.found).any(moves)
    }
}

/// What happens at a printer, at its display and its sensors; and at a mill.
const AT_PRINTERS: [Incident; 7] = [
    Incident::CardPrint,
    Incident::MovedThere,
    Incident::HomedThere,
    Incident::FilamentOut,
    Incident::Paused,
    Incident::Cancelled,
    Incident::Limit,
];
const AT_MILLS: [Incident; 7] = [
    Incident::CardPrint,
    Incident::MovedThere,
    Incident::PutToSleep,
    Incident::CheckMode,
    Incident::Paused,
    Incident::DoorOpened,
    Incident::Limit,
];

fn moment(random: &mut Random) -> Duration {
    let latest = LATEST_MS[random.below(3) as usize];
    Duration::from_millis(random.below(latest))
}

/// Whether a line that ran is one of another program.
pub(crate) fn is_strangers(line: &str) -> bool {
    matches!(line, "G0X50.5Y7.5F6100" | "G0X55.5Y8.5F6100")
}
