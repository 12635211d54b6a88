//! What the planner must keep to, and the commands that change it on the way.

use crate::interpret::Family;
use crate::profile::{Cornering, Motion, Profile};
use crate::statement::Statement;
use crate::words::{self, Effect};

/// Whose commands and units are meant: M203 is mm/s for Marlin and mm/min for RepRapFirmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// Marlin and Prusa's forks.
    Marlin,
    /// Bambu Lab's own.
    Bambu,
    /// Repetier-Firmware.
    Repetier,
    /// Smoothieware.
    Smoothieware,
    /// Klipper: takes M204 and its own commands, ignores M201, M203 and M205.
    Klipper,
    /// RepRapFirmware: M203 and M566 in mm/min.
    RepRapFirmware,
    /// Grbl 1.1: limits are settings, never commands of a program.
    Grbl,
    /// grblHAL.
    GrblHal,
    /// FluidNC.
    FluidNc,
    /// LinuxCNC.
    LinuxCnc,
}

impl Firmware {
    /// The firmware a dialect's name stands for.
    pub fn of_dialect(dialect: &str) -> Option<Self> {
        let name = dialect.to_ascii_lowercase();
        [
            ("marlin", Self::Marlin),
            ("prusa", Self::Marlin),
            ("buddy", Self::Marlin),
            ("bambu", Self::Bambu),
            ("repetier", Self::Repetier),
            ("smoothie", Self::Smoothieware),
            ("klipper", Self::Klipper),
            ("reprapfirmware", Self::RepRapFirmware),
            ("rrf", Self::RepRapFirmware),
            ("duet", Self::RepRapFirmware),
            ("grblhal", Self::GrblHal),
            ("grbl", Self::Grbl),
            ("fluidnc", Self::FluidNc),
            ("linuxcnc", Self::LinuxCnc),
        ]
        .into_iter()
        .find_map(|(start, firmware)| name.starts_with(start).then_some(firmware))
    }

    /// The family the firmware belongs to.
    pub fn family(self) -> Family {
        match self {
            Self::Marlin | Self::Bambu | Self::Repetier | Self::Smoothieware | Self::Klipper | Self::RepRapFirmware => {
                Family::Printer
            }
            Self::Grbl | Self::GrblHal | Self::FluidNc | Self::LinuxCnc => Family::Cnc,
        }
    }

    /// The firmware of a profile's machine; of a dialect that names none, what its kind of machine mostly has.
    pub fn of_profile(profile: &Profile) -> Self {
        Self::of_dialect(&profile.dialect).unwrap_or(match profile.kind {
            crate::profile::Kind::Printer => Self::Marlin,
            _ => Self::Grbl,
        })
    }

    /// Whether it is Grbl or one of its kin.
    pub fn is_grbl(self) -> bool {
        matches!(self, Self::Grbl | Self::GrblHal | Self::FluidNc)
    }
}

/// Everything the planner must keep to. Speeds in mm/s, accelerations in mm/s², axes X, Y, Z, E.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Whose planner it is.
    pub firmware: Firmware,
    /// Highest speed of each axis.
    pub speed_max: [f64; 4],
    /// Highest acceleration of each axis.
    pub acceleration_max: [f64; 4],
    /// Acceleration of extruding moves.
    pub print_acceleration: f64,
    /// Acceleration of moves of the extruder alone.
    pub retract_acceleration: f64,
    /// Acceleration of moves without work.
    pub travel_acceleration: f64,
    /// Most that M204 may set for printing, retract and travel: slicers reckon so with the machine's limits.
    pub acceleration_cap: [f64; 3],
    /// How corners are taken.
    pub cornering: Cornering,
    /// Slowest extruding and travel speed (`M205 S T`).
    pub speed_min: [f64; 2],
    /// Moves the planner looks ahead.
    pub blocks: usize,
    /// Highest distance of an arc chord from the arc in millimetres (Grbl `$12`).
    pub arc_tolerance_mm: f64,
    /// Klipper's share of a move that is to be driven at constant speed.
    pub minimum_cruise_ratio: f64,
    /// Extra seconds of a tool change: unloading and loading.
    pub tool_change_s: f64,
    /// Feed in percent (M220).
    pub feed_percent: f64,
    /// Extrusion in percent (M221).
    pub flow_percent: f64,
}

/// Speed of a printer whose program has not set one, in mm/s: Marlin's `DEFAULT` of 1500 mm/min.
pub(crate) const PRINTER_DEFAULT_MM_S: f64 = 25.0;

/// Look-ahead where no profile says another: what slicers' estimators keep, longer than any firmware's.
const UNKNOWN_BLOCKS: usize = 64;

impl Limits {
    /// What is assumed of a machine nobody described: for printers PrusaSlicer's defaults, for CNC machines a desktop
    /// mill with 6,000 and 1,200 mm/min, 500 and 100 mm/s².
    pub fn assumed(firmware: Firmware) -> Self {
        let printer = Self {
            firmware,
            speed_max: [500.0, 500.0, 12.0, 120.0],
            acceleration_max: [9000.0, 9000.0, 500.0, 10000.0],
            print_acceleration: 1500.0,
            retract_acceleration: 1500.0,
            travel_acceleration: 1500.0,
            acceleration_cap: [1500.0, 1500.0, 1500.0],
            cornering: Cornering::JerkMmS([10.0, 10.0, 0.2, 2.5]),
            speed_min: [0.0, 0.0],
            blocks: UNKNOWN_BLOCKS,
            arc_tolerance_mm: 0.002,
            minimum_cruise_ratio: 0.5,
            tool_change_s: 0.0,
            feed_percent: 100.0,
            flow_percent: 100.0,
        };
        match firmware.family() {
            Family::Printer => printer,
            Family::Cnc => Self {
                speed_max: [100.0, 100.0, 20.0, f64::INFINITY],
                acceleration_max: [500.0, 500.0, 100.0, f64::INFINITY],
                print_acceleration: f64::INFINITY,
                retract_acceleration: f64::INFINITY,
                travel_acceleration: f64::INFINITY,
                cornering: Cornering::JunctionDeviationMm(0.01),
                blocks: 15,
                ..printer
            },
        }
    }

    /// What a profile says.
    pub fn of_profile(profile: &Profile) -> Self {
        Self::of_motion(Firmware::of_profile(profile), &profile.motion)
    }

    /// What a profile's motion section says of a firmware.
    pub fn of_motion(firmware: Firmware, motion: &Motion) -> Self {
        let mut limits = Self::assumed(firmware);
        limits.speed_max = motion.feed_max_mm_min.map(|feed| feed / 60.0);
        limits.acceleration_max = motion.acceleration_mm_s2;
        let [print, retract, travel] = motion.default_acceleration_mm_s2.unwrap_or([f64::INFINITY; 3]);
        (limits.print_acceleration, limits.retract_acceleration, limits.travel_acceleration) = (print, retract, travel);
        limits.acceleration_cap = [f64::INFINITY; 3];
        limits.cornering = motion.cornering;
        limits.blocks = motion.planner_blocks as usize;
        limits.arc_tolerance_mm = motion.arc_tolerance_mm;
        if firmware.family() == Family::Cnc {
            (limits.speed_max[3], limits.acceleration_max[3]) = (f64::INFINITY, f64::INFINITY);
        }
        limits
    }

    /// Takes in M201, M203, M204, M205, M220, M221 and M566. Says whether anything changed.
    pub fn apply(&mut self, statement: &Statement) -> bool {
        let mut changed = false;
        if self.firmware.family() == Family::Cnc {
            return false;
        }
        for &(letter, tenths) in statement.codes() {
            if letter == b'M' && words::effect(self.firmware, letter, tenths) == Effect::Tunes {
                changed |= self.apply_code(tenths, statement);
            }
        }
        changed
    }

    /// Says whether it was one of the limits that are reckoned with.
    fn apply_code(&mut self, tenths: u32, statement: &Statement) -> bool {
        let positive = |letter: u8| statement.value(letter).filter(|value| value.is_finite() && *value > 0.0);
        let axes = [b'X', b'Y', b'Z', b'E'];
        let per_minute = if self.firmware == Firmware::RepRapFirmware { 60.0 } else { 1.0 };
        match tenths {
            2010 => {
                // A program that sets the machine's limits itself has been made with them.
                self.acceleration_cap = [f64::INFINITY; 3];
                for (axis, letter) in axes.into_iter().enumerate() {
                    self.acceleration_max[axis] = positive(letter).unwrap_or(self.acceleration_max[axis]);
                }
            }
            2030 => {
                for (axis, letter) in axes.into_iter().enumerate() {
                    self.speed_max[axis] = positive(letter).map_or(self.speed_max[axis], |value| value / per_minute);
                }
            }
            2040 => self.apply_accelerations(statement),
            2050 => self.apply_jerk(statement, 1.0),
            5660 => self.apply_jerk(statement, 60.0),
            2200 => self.feed_percent = positive(b'S').unwrap_or(self.feed_percent),
            2210 => self.flow_percent = positive(b'S').unwrap_or(self.flow_percent),
            _ => return false,
        }
        true
    }

    /// M204: S is both printing and travel (and then T is retract), as older firmware has it; P, R, T are one each.
    fn apply_accelerations(&mut self, statement: &Statement) {
        let positive = |letter: u8| statement.value(letter).filter(|value| value.is_finite() && *value > 0.0);
        if let Some(value) = positive(b'S') {
            (self.print_acceleration, self.travel_acceleration) = (value, value);
            self.retract_acceleration = positive(b'T').unwrap_or(self.retract_acceleration);
        } else if self.firmware == Firmware::Klipper {
            if let (Some(print), Some(travel)) = (positive(b'P'), positive(b'T')) {
                let value = print.min(travel);
                (self.print_acceleration, self.travel_acceleration) = (value, value);
            }
        } else {
            self.print_acceleration = positive(b'P').unwrap_or(self.print_acceleration);
            self.retract_acceleration = positive(b'R').unwrap_or(self.retract_acceleration);
            self.travel_acceleration = positive(b'T').unwrap_or(self.travel_acceleration);
        }
        let [print, retract, travel] = self.acceleration_cap;
        self.print_acceleration = self.print_acceleration.min(print);
        self.retract_acceleration = self.retract_acceleration.min(retract);
        self.travel_acceleration = self.travel_acceleration.min(travel);
    }

    /// M205 (mm/s) and M566 (mm/min). X alone sets Y too; J is junction deviation; S and T are the slowest speeds.
    fn apply_jerk(&mut self, statement: &Statement, divisor: f64) {
        let value = |letter: u8| statement.value(letter).filter(|value| value.is_finite() && *value >= 0.0);
        if divisor == 1.0 {
            self.speed_min[0] = value(b'S').unwrap_or(self.speed_min[0]);
            self.speed_min[1] = value(b'T').unwrap_or(self.speed_min[1]);
            if let Some(deviation) = value(b'J').filter(|value| *value > 0.0) {
                self.cornering = Cornering::JunctionDeviationMm(deviation);
            }
        }
        let mut jerk = match self.cornering {
            Cornering::JerkMmS(jerk) => jerk,
            _ if statement.has_any(b"XYZ") => [10.0, 10.0, 0.4, 2.5],
            _ => return,
        };
        if let Some(x) = value(b'X') {
            jerk[0] = x / divisor;
            jerk[1] = if statement.has(b'Y') { jerk[1] } else { jerk[0] };
        }
        for (axis, letter) in [(1, b'Y'), (2, b'Z'), (3, b'E')] {
            jerk[axis] = value(letter).map_or(jerk[axis], |value| value / divisor);
        }
        self.cornering = Cornering::JerkMmS(jerk);
    }

    /// Klipper's `SET_VELOCITY_LIMIT`.
    pub fn apply_extended(&mut self, text: &[u8]) {
        let upper = text.to_ascii_uppercase();
        if !upper.starts_with(b"SET_VELOCITY_LIMIT") {
            return;
        }
        for part in upper.split(u8::is_ascii_whitespace) {
            let Some(equals) = part.iter().position(|byte| *byte == b'=') else { continue };
            let Some(value) = crate::number::parse(&part[equals + 1..]).filter(|value| *value > 0.0) else { continue };
            match &part[..equals] {
                b"VELOCITY" => (self.speed_max[0], self.speed_max[1]) = (value, value),
                b"ACCEL" => {
                    (self.print_acceleration, self.travel_acceleration) = (value, value);
                }
                b"SQUARE_CORNER_VELOCITY" => self.cornering = Cornering::SquareCornerVelocityMmS(value),
                b"MINIMUM_CRUISE_RATIO" => self.minimum_cruise_ratio = value.min(0.99),
                _ => {}
            }
        }
    }
}
