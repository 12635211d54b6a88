//! Checks of what is switched: heaters, spindle, beam, tools, offsets, dwells.

use super::finding::Place;
use super::{Preflight, Severity};
use crate::block::Block;
use crate::interpret::{Heating, State, Until};
use crate::modal::Spindle;
use crate::profile::{Kind, Profile, SMeans};
use crate::statement::Statement;
use crate::time::Firmware;
use crate::words::Heater;

/// Tools whose heaters are kept apart.
const TOOLS_MAX: usize = 64;

/// Where a nozzle is assumed to start, in °C: a room's temperature.
const ROOM_C: f64 = 25.0;

/// A nozzle below this is cold to any plastic, in °C.
const COLD_C: f64 = 150.0;

/// How slowly a heater that is off may cool, in seconds until the difference to the room is 1/e: a heavy block in its
/// sock. Real nozzles take half as long.
const COOLING_S: f64 = 300.0;

/// One nozzle, as the program has set it.
#[derive(Debug, Clone, Copy)]
struct Nozzle {
    /// Its target in °C, once one is set.
    target: Option<f64>,
    /// The hottest it can be. A firmware looks at the temperature and not at the target when it refuses to extrude, and a
    /// nozzle whose heater is off stays hot for a while.
    hottest: f64,
    /// Whether it was set while it was cold, and nothing has waited for it since.
    unawaited: bool,
}

/// Heaters as the program has set them.
#[derive(Debug, Default)]
pub(super) struct Heat {
    tools: Vec<Nozzle>,
    bed: Option<f64>,
    chamber: Option<f64>,
    pub(super) current: usize,
    /// Whether a tool is selected; `None`: the program has not said.
    pub(super) selected: Option<bool>,
    pub(super) cold_allowed: bool,
    /// The line that first pushed filament while nothing had waited for the nozzle.
    pub(super) pushed_early: Option<u64>,
    /// Whether each tool has a heater of its own.
    pub(super) own_heaters: bool,
}

impl Heat {
    /// Of a machine: whether its tools have heaters of their own is for its profile to say.
    pub(super) fn of(profile: &Profile) -> Self {
        let heaters: Vec<u32> = profile.tools.iter().map(|tool| tool.heater.unwrap_or(tool.number)).collect();
        let own = (1..heaters.len()).all(|at| !heaters[..at].contains(&heaters[at]));
        Self { own_heaters: heaters.len() > 1 && own, ..Self::default() }
    }

    /// Whether any heater has a target above zero.
    pub(super) fn is_on(&self) -> bool {
        let tools = self.tools.iter().map(|tool| tool.target);
        tools.chain([self.bed, self.chamber]).flatten().any(|target| target > 0.0)
    }

    /// Whether the program has set a nozzle's target at all.
    pub(super) fn ever_set(&self) -> bool {
        self.tools.iter().any(|tool| tool.target.is_some())
    }

    /// The present nozzle. A printer with one heater for several filaments heats tool 0 only.
    fn nozzle(&self) -> Option<&Nozzle> {
        let own = self.tools.get(self.current).filter(|tool| tool.target.is_some());
        if self.own_heaters {
            return own;
        }
        own.or_else(|| self.tools.first().filter(|tool| tool.target.is_some()))
    }

    /// The present nozzle's target, and the hottest it can be.
    pub(super) fn target_and_hottest(&self) -> (f64, f64) {
        self.nozzle().map_or((0.0, ROOM_C), |tool| (tool.target.unwrap_or(0.0), tool.hottest))
    }

    /// Whether the present nozzle is still hot and cooling down.
    #[inline]
    pub(super) fn is_cooling(&self) -> bool {
        self.tools.get(self.current).is_some_and(|tool| tool.hottest > tool.target.unwrap_or(0.0).max(ROOM_C))
    }

    fn tool(&mut self, number: Option<u32>) -> &mut Nozzle {
        let tool = number.map_or(self.current, |tool| tool as usize).min(TOOLS_MAX - 1);
        if self.tools.len() <= tool {
            self.tools.resize(tool + 1, Nozzle { target: None, hottest: ROOM_C, unawaited: false });
        }
        &mut self.tools[tool]
    }

    fn set_tool(&mut self, heating: &Heating) {
        let tool = self.tool(heating.tool);
        tool.target = Some(heating.target_c);
        tool.unawaited = heating.until == Until::Now && (tool.unawaited || tool.hottest < heating.target_c.min(COLD_C));
        tool.hottest = match heating.until {
            Until::Reached => heating.target_c.max(ROOM_C),
            Until::Now | Until::Hot => tool.hottest.max(heating.target_c),
        };
    }

    /// Whether the present nozzle was set while it was cold, and nothing has waited for it.
    pub(super) fn is_unawaited(&self) -> bool {
        self.nozzle().is_some_and(|tool| tool.unawaited)
    }

    /// Something waits until what was set is hot: its own word, or what a machine does when it changes tools.
    pub(super) fn awaited(&mut self) {
        for tool in &mut self.tools {
            tool.unawaited = false;
        }
    }

    /// A nozzle has cooled down to this.
    pub(super) fn cooled(&mut self, number: Option<u32>, most_c: f64) {
        let tool = self.tool(number);
        tool.hottest = tool.hottest.min(most_c.max(ROOM_C));
    }

    /// So many seconds go by.
    pub(super) fn wait(&mut self, seconds: f64) {
        let left = (-seconds.max(0.0) / COOLING_S).exp();
        for tool in &mut self.tools {
            let end = tool.target.unwrap_or(0.0).max(ROOM_C);
            if tool.hottest > end {
                tool.hottest = end.max(ROOM_C + (tool.hottest - ROOM_C) * left);
            }
        }
    }

    fn turn_off(&mut self) {
        for tool in self.tools.iter_mut().filter(|tool| tool.target.is_some()) {
            tool.target = Some(0.0);
        }
        self.bed = self.bed.map(|_| 0.0);
        self.chamber = self.chamber.map(|_| 0.0);
    }
}

impl Preflight<'_> {
    /// A code that this firmware knows, with this machine's limits.
    pub(super) fn check_code(
        &mut self,
        line: u64,
        letter: u8,
        tenths: u32,
        block: &Block,
        statement: &Statement,
        state: &State,
    ) {
        match (letter, tenths) {
            (b'G', 200 | 210) => self.check_units(line, tenths),
            (b'G', 40) => self.check_dwell(line, statement),
            (b'G', 410 | 420) => {
                self.findings.add_at(
                    line,
                    Place::Code(letter, tenths),
                    Severity::Warning,
                    "offset.cutter",
                    "Cutter compensation is not followed here: the path is checked as programmed.".to_owned(),
                    "Leave half the cutter's width to the edges of the envelope.",
                );
            }
            (b'G', 430 | 432) => {
                self.findings.add_at(
                    line,
                    Place::Code(letter, tenths),
                    Severity::Note,
                    "offset.tool_table",
                    "The tool's length is in the machine's own table: heights behind it are checked without it."
                        .to_owned(),
                    "See that the tool has room above the work.",
                );
            }
            (b'G', 870 | 880) if self.firmware == Firmware::LinuxCnc => {
                self.findings.add_at(
                    line,
                    Place::Code(letter, tenths),
                    Severity::Warning,
                    "cycle.undefined",
                    "LinuxCNC accepts this boring cycle and does not say what it does; it is followed as a plain hole."
                        .to_owned(),
                    "Use G85, G86 or G89, or write the moves out.",
                );
            }
            (b'M', 30 | 40) if self.profile.kind != Kind::Printer => self.check_start(line, tenths, statement, state),
            (b'T', _) if statement.selects_tool() => self.check_tool(line, tenths / 10, block),
            _ => {}
        }
    }

    fn check_units(&mut self, line: u64, tenths: u32) {
        let inches = tenths == 200;
        let before = std::mem::replace(&mut self.units_line, line);
        if before == 0 {
            self.units_inches = inches;
        } else if self.units_inches != inches {
            self.units_inches = inches;
            if self.moved {
                self.findings.add_at(
                    line,
                    Place::Code(b'G', tenths),
                    Severity::Warning,
                    "units.changed",
                    format!(
                        "The program changes to {} after it has moved.",
                        if inches { "inches" } else { "millimetres" }
                    ),
                    "See that every number behind it is meant in these units.",
                );
            }
        }
    }

    fn check_dwell(&mut self, line: u64, statement: &Statement) {
        let value = statement.value(b'P').or(statement.value(b'S'));
        let cnc = self.family == crate::interpret::Family::Cnc;
        // A printer takes G4 alone for "wait until motion has ended".
        let alone = !cnc && !statement.mentions(b'P') && !statement.mentions(b'S');
        if !alone && value.is_none_or(|seconds| seconds < 0.0) {
            self.findings.add_at(
                line,
                Place::Code(b'G', 40),
                if cnc { Severity::Error } else { Severity::Warning },
                "word.no_value",
                "G4 does not say how long to wait.".to_owned(),
                "Add P with the time.",
            );
        }
    }

    /// A heater gets a target.
    pub(super) fn check_heater(&mut self, line: u64, heating: &Heating) {
        let target = heating.target_c;
        let heat = self.profile.heat.as_ref();
        let (most, what) = match heating.heater {
            Heater::Tool => {
                if let Some(line) = self.heat.pushed_early.take_if(|_| heating.until != Until::Now && target > 0.0) {
                    self.pushed_early(line);
                }
                self.heat.set_tool(heating);
                let tool = heating.tool.unwrap_or(self.heat.current as u32);
                (self.profile.tool_max_c(Some(tool)), "nozzle")
            }
            Heater::Bed => {
                self.heat.bed = Some(target);
                (heat.map(|heat| heat.bed_max_c.unwrap_or(0.0)), "bed")
            }
            Heater::Chamber => {
                self.heat.chamber = Some(target);
                (heat.map(|heat| heat.chamber_max_c.unwrap_or(0.0)), "chamber")
            }
            Heater::Named => return self.heat.turn_off(),
        };
        let most = most.unwrap_or(0.0);
        if target > most {
            let trip = heat.and_then(|heat| match what {
                "nozzle" => heat.tool_trip_c,
                "bed" => heat.bed_trip_c,
                _ => heat.chamber_trip_c,
            });
            let trip = trip.map(|trip| format!(", and its firmware shuts down at {trip} °C")).unwrap_or_default();
            let (severity, message) = if most > 0.0 || what == "nozzle" {
                (
                    Severity::Error,
                    format!("{target} °C is too hot: this machine's {what} may be set to {most} °C{trip}."),
                )
            } else {
                (Severity::Warning, format!("This machine has no heated {what}; {target} °C will not be reached."))
            };
            self.findings.add_at(
                line,
                Place::Letters(b"SR"),
                severity,
                "heat.too_hot",
                message,
                "Slice it for this machine and its material.",
            );
        }
    }

    /// M3 and M4.
    fn check_start(&mut self, line: u64, tenths: u32, statement: &Statement, state: &State) {
        self.spindle_used = true;
        let place = Place::Code(b'M', tenths);
        let speed = statement.value(b'S').unwrap_or(state.modal.speed);
        let laser = self.profile.laser.as_ref().filter(|_| self.profile.kind == Kind::Laser);
        if let Some(laser) = laser {
            if tenths == 30 && laser.require_m4 {
                self.findings.add_at(
                    line,
                    place,
                    Severity::Error,
                    "laser.constant_power",
                    "M3 keeps the beam on when motion stops; this machine's work must use M4.".to_owned(),
                    "Choose dynamic power (M4) in the laser program, or allow M3 in the profile (require_m4 = false).",
                );
            }
            return;
        }
        let by_hand = self.profile.spindle.as_ref().is_some_and(|spindle| spindle.s_means == SMeans::ByHand);
        if by_hand && speed > 0.0 {
            self.findings.add_at(
                line,
                place,
                Severity::Note,
                "spindle.by_hand",
                format!("This spindle's speed is set by hand: the program wants {speed} rpm."),
                "Set it at the spindle before the job begins.",
            );
        }
        if speed <= 0.0 && !by_hand {
            self.findings.add_at(
                line,
                place,
                Severity::Warning,
                "spindle.no_speed",
                "The spindle is switched on without a speed (S).".to_owned(),
                "Add S, unless the speed is set by hand.",
            );
        }
        let drive = self.profile.spindle_drive();
        let reversible = match drive {
            Some(drive) => drive.reverses(),
            None => self.profile.spindle.as_ref().is_none_or(|spindle| spindle.reversible),
        };
        if tenths == 40 && !reversible {
            self.findings.add_at(
                line,
                place,
                // The drive cannot be told, and the job would hold there.
                if drive.is_some() { Severity::Error } else { Severity::Warning },
                "spindle.direction",
                "M4 turns the spindle backwards; this machine's spindle does not.".to_owned(),
                "Use M3.",
            );
        }
    }

    fn check_tool(&mut self, line: u64, tool: u32, block: &Block) {
        let tools = &self.profile.tools;
        if !self.tools.contains(&tool) && self.tools.len() < TOOLS_MAX {
            self.tools.push(tool);
        }
        self.heat.current = (tool as usize).min(TOOLS_MAX - 1);
        if self.firmware == Firmware::RepRapFirmware {
            self.heat.awaited();
        }
        self.heat.selected = Some(true);
        self.reach_of(tool);
        let known = tools.is_empty() || tools.iter().any(|known| known.number == tool);
        if !known {
            let at = block.words().find(|word| word.letter == b'T').map_or(0, |word| word.span.start);
            self.findings.add_offset(
                line,
                at,
                Severity::Error,
                "tool.unknown",
                format!("Tool {tool} is not on this machine."),
                "Choose another tool, or add it to the profile.",
            );
        }
    }

    /// Whether the materials the program was made for are those that its tools hold.
    pub(super) fn check_material(&mut self) {
        let profile = self.profile;
        for tool in &profile.tools {
            let used = self.tools.contains(&tool.number) || (self.tools.is_empty() && tool.number == 0);
            let wanted = self.slicer.materials.get(tool.number as usize).filter(|_| used);
            let (Some(loaded), Some(wanted)) = (tool.material.as_deref(), wanted) else { continue };
            if !loaded.eq_ignore_ascii_case(wanted.trim()) {
                let wanted = super::lines::shown(wanted.as_bytes());
                self.findings.add(
                    0,
                    Severity::Warning,
                    "material.mismatch",
                    format!("The program was made for {wanted}; tool {} holds {loaded}.", tool.number),
                    "Load the material, or slice for the one that is loaded.",
                );
            }
        }
    }

    /// Whether the spindle or beam turns as it should for a cut.
    pub(super) fn spindle_is_off(&self, state: &State) -> bool {
        self.profile.kind == Kind::Mill && state.modal.spindle == Spindle::Off
    }
}
