//! What a program will do, in one pass: bounds, time, filament, layers, features.

use crate::follow;
use crate::interpret::{Event, Family, Fault, Heating, Move, State, Unfollowed, Until, Watch};
use crate::metadata::Slicer;
use crate::modal::Spindle;
use crate::profile::{self, Profile};
use crate::sniff::ReadError;
use crate::statement::{Form, Statement};
use crate::time::{Firmware, Limits, Planner};
use crate::words::{self, Heater};
use std::io::Read;

mod info;
mod layers;
mod motion;

pub use info::{Bounds, Feature, Info, NotFollowed, Temperatures};

/// Tools whose filament is counted one by one. No printer has more.
pub const TOOLS_MAX: usize = 64;

/// Features kept apart; one tag is left for what is none.
const FEATURES_MAX: usize = crate::time::TAGS_MAX - 1;

/// How fast a nozzle heats, in °C per second: a 40 W cartridge between room and 210 °C. For estimates only.
const TOOL_HEATING_C_S: f64 = 2.5;

/// How fast a bed heats, in °C per second: a 200 W bed between room and 60 °C. For estimates only.
const BED_HEATING_C_S: f64 = 0.5;

/// Where heating is assumed to start.
const ROOM_C: f64 = 22.0;

/// What an analysis reckons with.
#[derive(Debug, Clone, Default)]
pub struct Setup<'a> {
    /// The machine. Absent: told from the program.
    pub profile: Option<&'a Profile>,
    /// Limits that win over the profile's, such as [`Slicer::of_tail`] gives.
    pub limits: Option<Limits>,
    /// Whether Grbl's laser mode (`$32`) is on. Absent: as the profile says, else on.
    pub laser_mode: Option<bool>,
    /// Leave the time out: reading is then three times as fast.
    pub without_time: bool,
}

impl Setup<'_> {
    /// The family of machines to follow a program for, if it is known beforehand.
    pub fn family(&self) -> Option<Family> {
        self.profile.map(family_of)
    }

    fn limits(&self, family: Family, slicer_firmware: Firmware) -> Limits {
        match (&self.limits, self.profile) {
            (Some(limits), _) => limits.clone(),
            (None, Some(profile)) => Limits::of_profile(profile),
            (None, None) if family == Family::Printer => Limits::assumed(slicer_firmware),
            (None, None) => Limits::assumed(Firmware::Grbl),
        }
    }

    fn laser_mode(&self) -> bool {
        let profiled =
            self.profile.and_then(|profile| profile.laser.as_ref()).map(|laser| laser.laser_mode.unwrap_or(true));
        self.laser_mode.or(profiled).unwrap_or(true)
    }
}

/// The family a profile's machine belongs to.
pub fn family_of(profile: &Profile) -> Family {
    Firmware::of_profile(profile).family()
}

/// Says what a program will do.
///
/// ```
/// let program = b"G21 G90\nM3 S1000\nG0 X10 Y10\nG1 X20 F600\nG2 X20 Y10 I5\nM30\n";
/// let info = gcode_tools::analysis::analyse(&program[..], None).unwrap();
/// assert_eq!(info.bounds_mm.unwrap().max, [30.0, 15.0, 0.0]);
/// assert!(info.time_s > 4.0);
/// ```
pub fn analyse(input: impl Read, profile: Option<&Profile>) -> Result<Info, ReadError> {
    analyse_with(input, &Setup { profile, ..Setup::default() })
}

/// Says what a program will do on the machine set up.
pub fn analyse_with(input: impl Read, setup: &Setup) -> Result<Info, ReadError> {
    let (mut lines, guessed) = follow::open(input)?;
    let firmware = firmware_of(lines.peek().map_err(|error| ReadError::from_io(&error))?);
    let mut state = setup.profile.map_or_else(|| State::new(guessed), State::of_profile);
    let mut analysis = Analysis::new(setup, state.family, firmware);
    let extent = follow::follow(&mut lines, &mut state, &mut analysis)?;
    let info = analysis.finish(&extent, &state);
    if info.is_empty() { Err(ReadError::empty()) } else { Ok(info) }
}

/// The firmware a slicer has named in a file's first bytes.
pub(crate) fn firmware_of(head: &[u8]) -> Firmware {
    let has = |mark: &[u8]| memchr::memmem::find(head, mark).is_some();
    if has(b"gcode_flavor = klipper") || has(b"SET_VELOCITY_LIMIT") {
        Firmware::Klipper
    } else if has(b"M566 ") || has(b"FLAVOR:RepRap\n") && has(b"M566") {
        Firmware::RepRapFirmware
    } else {
        Firmware::Marlin
    }
}

/// The name of the feature that a line says begins here: PrusaSlicer's and Cura's `;TYPE:`, Bambu Studio's `; FEATURE:`,
/// Simplify3D's `; feature`.
#[inline]
pub(crate) fn feature_name(line: &[u8]) -> Option<&[u8]> {
    if line.first() == Some(&b';') { feature_of(&line[1..]) } else { None }
}

fn feature_of(comment: &[u8]) -> Option<&[u8]> {
    const MARKS: [&[u8]; 3] = [b"TYPE:", b" FEATURE: ", b" feature "];
    MARKS.iter().find_map(|mark| comment.strip_prefix(*mark)).map(<[u8]>::trim_ascii)
}

/// The text of a comment in parentheses that begins a line.
pub(crate) fn inside(line: &[u8]) -> &[u8] {
    let text = line.strip_prefix(b"(").unwrap_or(line);
    text.split(|byte| *byte == b')').next().unwrap_or(text)
}

/// Watches a program and adds up what it does.
#[derive(Debug)]
pub struct Analysis {
    planner: Option<Planner>,
    laser_mode: bool,
    laser_profile: bool,
    slicer: Slicer,
    work: Bounds,
    powered: Bounds,
    travel: Bounds,
    counts: Counts,
    tools: Vec<u32>,
    tool: usize,
    filament: Vec<Filament>,
    layers: layers::Layers,
    /// Feed moves of a CNC machine without power: a laser's travel.
    dark: Bounds,
    features: Vec<Feature>,
    tag: usize,
    temperatures: Temperatures,
    heating_s: f64,
    dwell_s: f64,
    spindle_since: Option<f64>,
    densities: Vec<(u32, Option<f64>, Option<f64>)>,
    /// The last command in words.
    command: String,
    not_followed: Option<NotFollowed>,
}

/// Sums and extremes over all moves.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    commands: u64,
    moves: u64,
    arcs: u64,
    work_mm: f64,
    travel_mm: f64,
    powered_mm: f64,
    dark_mm: f64,
    feed_max: f64,
    spindle_max: f64,
    spindle_s: f64,
    inch_lines: u64,
    metric_lines: u64,
    beam_words: u64,
    depth_moves: u64,
    arc_pieces: u64,
}

/// Filament through one tool.
#[derive(Debug, Clone, Copy, Default)]
struct Filament {
    sum: f64,
    peak: f64,
}

impl Analysis {
    /// The start of an analysis. `firmware` is what the program seems to be written for.
    pub fn new(setup: &Setup, family: Family, firmware: Firmware) -> Self {
        let tools = setup.profile.map(|profile| &profile.tools[..]).unwrap_or_default();
        Self {
            planner: (!setup.without_time).then(|| Planner::new(setup.limits(family, firmware))),
            laser_mode: setup.laser_mode(),
            laser_profile: setup.profile.is_some_and(|profile| profile.kind == profile::Kind::Laser),
            slicer: Slicer::default(),
            work: Bounds::EMPTY,
            powered: Bounds::EMPTY,
            travel: Bounds::EMPTY,
            counts: Counts::default(),
            tools: Vec::new(),
            tool: 0,
            filament: Vec::new(),
            layers: layers::Layers::default(),
            dark: Bounds::EMPTY,
            features: Vec::new(),
            tag: 0,
            temperatures: Temperatures::default(),
            heating_s: 0.0,
            dwell_s: 0.0,
            spindle_since: None,
            densities: tools.iter().map(|tool| (tool.number, tool.filament_mm, tool.density_g_cm3)).collect(),
            command: String::new(),
            not_followed: None,
        }
    }

    /// What the slicer says of the program, as far as it has been read.
    pub fn slicer(&self) -> &Slicer {
        &self.slicer
    }

    fn seconds(&self) -> f64 {
        self.planner.as_ref().map_or(0.0, Planner::seconds)
    }

    /// A comment that fills its line: features and the slicer's words.
    #[cold]
    fn comment(&mut self, text: &[u8], line: u64) {
        if let Some(name) = feature_of(text).filter(|_| !self.slicer.in_thumbnail()) {
            self.tag = self.feature(&String::from_utf8_lossy(name));
            return;
        }
        self.layers.comment(text);
        self.slicer.comment(text, line);
    }

    fn feature(&mut self, name: &str) -> usize {
        if let Some(at) = self.features.iter().position(|feature| feature.name == name) {
            return at + 1;
        }
        if self.features.len() >= FEATURES_MAX - 1 {
            return 0;
        }
        self.features.push(Feature { name: name.chars().take(64).collect(), ..Feature::default() });
        self.features.len()
    }

    /// Codes that do not move: limits, units.
    #[cold]
    fn codes(&mut self, statement: &Statement) {
        if let Some(planner) = &mut self.planner {
            planner.limits_mut().apply(statement);
        }
        for &(letter, tenths) in statement.codes() {
            match (letter, tenths) {
                (b'G', 200) => self.counts.inch_lines += 1,
                (b'G', 210) => self.counts.metric_lines += 1,
                _ => {}
            }
        }
    }

    fn heat(&mut self, heating: Heating, line: u64) {
        let target = heating.target_c;
        let (slot, rate) = match heating.heater {
            Heater::Tool => {
                let tool = heating.tool.map_or(self.tool, |tool| tool as usize).min(TOOLS_MAX - 1);
                if self.temperatures.tool_c.len() <= tool {
                    self.temperatures.tool_c.resize(tool + 1, 0.0);
                }
                (&mut self.temperatures.tool_c[tool], TOOL_HEATING_C_S)
            }
            Heater::Bed => (self.temperatures.bed_c.get_or_insert(0.0), BED_HEATING_C_S),
            Heater::Chamber => (self.temperatures.chamber_c.get_or_insert(0.0), BED_HEATING_C_S),
            Heater::Named => return,
        };
        let waits = heating.until != Until::Now;
        if waits && target > *slot {
            self.heating_s += (target - slot.max(ROOM_C)).max(0.0) / rate;
            if let Some(planner) = &mut self.planner {
                planner.wait(0.0, line, 0);
            }
        } else if waits && *slot > 0.0 && self.heating_s == 0.0 {
            self.heating_s += (target - ROOM_C).max(0.0) / rate;
        }
        *slot = slot.max(target);
    }

    /// From this line on some of what is told is not known.
    #[cold]
    fn lose_track(&mut self, what: Unfollowed, line: u64) {
        let word = match what {
            Unfollowed::Code(letter, tenths) => words::code_name(letter, tenths),
            Unfollowed::Axis(letter) => char::from(letter).to_string(),
            Unfollowed::Command => self.command.clone(),
            Unfollowed::Subprogram => "M98".to_owned(),
        };
        let place_is_known = matches!(what, Unfollowed::Axis(_));
        match &mut self.not_followed {
            Some(known) => known.place_is_known &= place_is_known,
            None => self.not_followed = Some(NotFollowed { line, word, place_is_known }),
        }
    }

    /// Grbl comes to rest when the power of the beam changes and laser mode is off, or nothing moves meanwhile.
    fn power_change(&mut self, statement: &Statement, state: &State) {
        let Some(speed) = statement.value(b'S') else { return };
        if state.family != Family::Cnc {
            return;
        }
        let moves = statement.has_any(b"XYZ");
        self.counts.beam_words += u64::from(moves);
        if state.modal.spindle != Spindle::Off && speed != state.modal.speed && !(self.laser_mode && moves) {
            if let Some(planner) = self.planner.as_mut().filter(|planner| planner.limits().firmware.is_grbl()) {
                planner.stop();
            }
        }
    }
}

impl Watch for Analysis {
    #[inline]
    fn line(&mut self, line: &crate::read::Line, _: &crate::block::Block, statement: &Statement, state: &State) {
        match line.bytes.first() {
            Some(b';') => {
                self.comment(&line.bytes[1..], line.number);
                return;
            }
            // CAM programs name themselves in parentheses.
            Some(b'(') => self.slicer.comment(inside(line.bytes), line.number),
            _ => false,
        };
        match statement.form {
            Form::Blank => return,
            Form::Extended => {
                self.command = String::from_utf8_lossy(words::command_name(line.bytes)).chars().take(64).collect();
                self.slicer.object_of_command(line.bytes);
                if let Some(planner) = &mut self.planner {
                    planner.limits_mut().apply_extended(line.bytes.trim_ascii());
                }
            }
            _ => {}
        }
        self.counts.commands += 1;
        if !matches!(statement.codes(), [] | [(b'G', 0 | 10 | 20 | 30)]) {
            self.codes(statement);
            if matches!(statement.codes(), [(b'M', 4860), ..]) {
                self.slicer.object_of_command(line.bytes);
            }
        }
        if statement.has(b'S') {
            self.power_change(statement, state);
        }
    }

    #[inline]
    fn moved(&mut self, motion: &Move, state: &State) {
        self.account(motion, state);
    }

    fn event(&mut self, event: Event, line: u64, state: &State) {
        match event {
            Event::Dwell(seconds) => {
                self.dwell_s += seconds;
                if let Some(planner) = &mut self.planner {
                    planner.wait(seconds, line, 0);
                }
            }
            Event::Tool(tool) => self.tool_change(tool, line, state),
            Event::Stop | Event::End | Event::Home(_) => {
                if let Some(planner) = &mut self.planner {
                    planner.stop();
                }
            }
            Event::Heat(heating) => self.heat(heating, line),
            Event::NotFollowed(what) => self.lose_track(what, line),
            Event::Fault(Fault::NoSubroutine) => self.lose_track(Unfollowed::Subprogram, line),
            Event::Fault(_) | Event::NoTool | Event::Cooled { .. } => {}
        }
        self.spindle_time(state);
    }
}

impl Analysis {
    fn tool_change(&mut self, tool: u32, line: u64, state: &State) {
        let index = (tool as usize).min(TOOLS_MAX - 1);
        let extra = self.planner.as_ref().map_or(0.0, |planner| planner.limits().tool_change_s);
        let changed = !self.tools.is_empty() && index != self.tool || self.tools.is_empty();
        if changed {
            if let Some(planner) = &mut self.planner {
                planner.wait(extra, line, 0);
            }
        }
        if state.family == Family::Printer {
            self.tool = index;
        }
        if !self.tools.contains(&tool) && self.tools.len() < TOOLS_MAX {
            self.tools.push(tool);
        }
    }

    fn spindle_time(&mut self, state: &State) {
        let on = state.modal.spindle != Spindle::Off;
        match (on, self.spindle_since) {
            (true, None) => self.spindle_since = Some(self.seconds()),
            (false, Some(since)) => {
                self.counts.spindle_s += self.seconds() - since;
                self.spindle_since = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod test;
