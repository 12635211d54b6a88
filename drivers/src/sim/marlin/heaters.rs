//! The heaters of a simulated printer, and the head it may carry instead: which word switches what.
//!
//! After Marlin `M104_M109.cpp` (without T the active extruder; `Invalid extruder` for one it does not have),
//! RepRapFirmware `GCodes2.cpp` (cases 104, 140, 141, 568 and G10), Klipper `extruder.py` and `heaters.py`.

use std::fmt::Write as _;

use super::{Marlin, Waiting};
use crate::sim::printer::Counting;

/// How fast heaters rise, in °C per second at speed 1.
const HEAT_C_S: f64 = 2.0;

/// How slowly a nozzle cools, in seconds until its difference to the room is 1/e: a heavy block in its sock.
const COOLING_S: f64 = 300.0;

/// What the heaters start at.
const ROOM_C: f64 = 21.0;

/// One heater.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heater {
    pub(super) actual_c: f64,
    pub(super) target_c: f64,
}

/// All heaters: hot ends by number, then the bed and the chamber.
#[derive(Debug, Clone)]
pub(super) struct Heaters {
    all: Vec<Heater>,
    hot_ends: usize,
    current: usize,
}

impl Heaters {
    pub(super) fn new(hot_ends: usize) -> Self {
        let hot_ends = hot_ends.clamp(1, 10);
        Self { all: vec![Heater { actual_c: ROOM_C, target_c: 0.0 }; hot_ends + 2], hot_ends, current: 0 }
    }

    /// The first hot end and the bed are at these temperatures and set to them when the machine is found.
    pub(super) fn found(mut self, hot_c: [f64; 2]) -> Self {
        for (heater, target_c) in [(0, hot_c[0]), (self.bed(), hot_c[1])] {
            self.all[heater] = Heater { actual_c: target_c.max(ROOM_C), target_c };
        }
        self
    }

    /// Another tool is the current one.
    pub(super) fn select(&mut self, tool: usize) {
        // A machine with one nozzle for several filaments heats that one.
        self.current = tool.min(self.hot_ends - 1);
    }

    pub(super) fn off(&mut self) {
        for heater in &mut self.all {
            heater.target_c = 0.0;
        }
    }

    pub(super) fn is_hot(&self, heater: usize) -> bool {
        self.all.get(heater).is_none_or(|heater| heater.actual_c + 0.5 >= heater.target_c)
    }

    /// Whether any of them is on its way up.
    pub(super) fn rise(&self) -> bool {
        self.all.iter().any(|heater| heater.target_c > 0.0 && heater.actual_c < heater.target_c)
    }

    pub(super) fn current_and_bed(&self) -> [Heater; 2] {
        [self.all[self.current], self.all[self.hot_ends]]
    }

    fn bed(&self) -> usize {
        self.hot_ends
    }

    fn chamber(&self) -> usize {
        self.hot_ends + 1
    }

    fn name(&self, heater: usize) -> String {
        match heater {
            _ if heater == self.bed() => "bed".to_owned(),
            _ if heater == self.chamber() => "chamber".to_owned(),
            tool => format!("tool{tool}"),
        }
    }
}

impl Marlin {
    /// A word that switches a heater or the head's tool; every other does nothing here.
    pub(super) fn switch(&mut self, command: &[u8], letter: u8, code: i64) -> Waiting {
        let duet = self.flavour.counting == Counting::Drop;
        // Klipper reads S alone (`cmd_M104`, `cmd_M109` in `extruder.py`).
        let low = if self.flavour.counting == Counting::Ignore { None } else { self.reader().value(command, b'R') };
        let target = self.reader().value(command, b'S').or(low);
        match (letter, code) {
            (b'M', 104 | 109) => {
                let named = self.reader().value(command, b'T').map(|tool| tool.max(0.0) as usize);
                if named.is_some_and(|tool| tool >= self.heaters.hot_ends) {
                    let tool = named.unwrap_or_default();
                    self.out.extend_from_slice(format!("echo:M{code} Invalid extruder {tool}\n").as_bytes());
                    return Waiting::Nothing;
                }
                self.heat_to(named.unwrap_or(self.heaters.current), target.unwrap_or(0.0), code == 109)
            }
            (b'M', 140 | 190) => self.heat_to(self.heaters.bed(), target.unwrap_or(0.0), code == 190),
            (b'M', 141 | 191) => self.heat_to(self.heaters.chamber(), target.unwrap_or(0.0), code == 191),
            (b'M', 568) | (b'G', 10) if duet => {
                let tool =
                    self.reader().value(command, b'P').map_or(self.heaters.current, |tool| tool.max(0.0) as usize);
                if let (Some(target), true) = (self.reader().value(command, b'S'), tool < self.heaters.hot_ends) {
                    self.heat_to(tool, target, false);
                }
                Waiting::Nothing
            }
            (b'M', 3..=5) => {
                self.spindle_on = code < 5;
                Waiting::Nothing
            }
            _ => Waiting::Nothing,
        }
    }

    /// Klipper's own word for all of them.
    pub(super) fn switch_by_name(&mut self, command: &[u8]) -> Waiting {
        if command == b"TURN_OFF_HEATERS" && self.flavour.counting == Counting::Ignore {
            self.heaters.off();
        }
        Waiting::Nothing
    }

    fn heat_to(&mut self, heater: usize, target_c: f64, wait: bool) -> Waiting {
        self.heaters.all[heater].target_c = target_c;
        if wait && target_c > 0.0 { Waiting::Heat { heater } } else { Waiting::Nothing }
    }

    pub(super) fn heat(&mut self) {
        let seconds = self.now.since(self.heated_at).as_secs_f64();
        self.heated_at = self.now;
        let past_s = seconds * self.setup.speed;
        for heater in &mut self.heaters.all {
            let goal = heater.target_c.max(ROOM_C);
            if heater.actual_c > goal {
                let left = (-past_s / COOLING_S).exp();
                heater.actual_c = goal + (heater.actual_c - goal) * if left.is_nan() { 0.0 } else { left };
            } else {
                heater.actual_c += (HEAT_C_S * past_s).min(goal - heater.actual_c);
            }
        }
    }

    /// What heats or turns now.
    pub(super) fn left_on(&self) -> Vec<String> {
        let hot = self.heaters.all.iter().enumerate().filter(|(_, heater)| heater.target_c > 0.0);
        let names = hot.map(|(at, _)| self.heaters.name(at));
        names.chain(self.spindle_on.then(|| "spindle".to_owned())).collect()
    }

    pub(super) fn say_temperatures(&mut self, before: &str) {
        let [tool, bed] = self.heaters.current_and_bed();
        let mut line =
            format!("{before}T:{:.2} /{:.2} B:{:.2} /{:.2}", tool.actual_c, tool.target_c, bed.actual_c, bed.target_c);
        // One of several is named, the current one besides (`temperature.cpp`, `print_heater_states`).
        if self.heaters.hot_ends > 1 {
            for (at, heater) in self.heaters.all[..self.heaters.hot_ends].iter().enumerate() {
                let _ = write!(line, " T{at}:{:.2} /{:.2}", heater.actual_c, heater.target_c);
            }
        }
        line.push_str(" @:0 B@:0\n");
        self.out.extend_from_slice(line.as_bytes());
    }
}
