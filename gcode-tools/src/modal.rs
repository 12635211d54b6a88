//! Modal state: what earlier lines still mean for the next one.

use crate::block::Block;
use crate::statement::Statement;
use serde::{Deserialize, Serialize};

/// Plane of arcs and canned cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plane {
    /// G17.
    #[default]
    Xy,
    /// G18.
    Zx,
    /// G19.
    Yz,
}

/// How F is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedMode {
    /// G94: units per minute.
    #[default]
    PerMinute,
    /// G93: one over the minutes the move takes.
    InverseTime,
    /// G95: units per revolution.
    PerRevolution,
}

/// What G90 and G91 mean for the extruder, beside M82 and M83.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtruderMode {
    /// The extruder is relative when either G91 or M83 says so: Klipper, Repetier, Marlin 1, and slicers' estimates.
    #[default]
    Either,
    /// The last of G90, G91, M82 and M83 counts: Marlin 2, Smoothieware.
    Last,
    /// M82 and M83 alone count: RepRapFirmware, Prusa's 8-bit firmware.
    Own,
}

/// What the spindle or the beam does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spindle {
    /// M5.
    #[default]
    Off,
    /// M3: clockwise; a beam at constant power.
    Clockwise,
    /// M4: counter-clockwise; a beam whose power follows speed.
    CounterClockwise,
}

/// The modal state after some lines.
///
/// ```
/// use gcode_tools::{block::Block, modal::Modal};
/// let mut modal = Modal::default();
/// modal.apply(&Block::new(b"G20 G91 G18 M3 S1000"));
/// modal.apply(&Block::new(b"G1 X1 F10"));
/// assert!(modal.inches && modal.relative);
/// assert_eq!((modal.motion, modal.speed, modal.feed), (Some(10), 1000.0, Some(10.0)));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // Each is one modal group of two members.
pub struct Modal {
    /// Group 1 in tenths: G0, G1, G2, G3, G5, G5.1, G33, G38.x, G76, G80 to G89. `None` until the program names one.
    pub motion: Option<u32>,
    /// Plane of arcs.
    pub plane: Plane,
    /// G20: lengths are in inches.
    pub inches: bool,
    /// Whether the program said G20 or G21.
    pub units_stated: bool,
    /// G91: coordinates are relative.
    pub relative: bool,
    /// M83: extruder lengths are relative. See [`Modal::extruder_is_relative`] for what else counts.
    pub extruder_relative: bool,
    /// What G90 and G91 mean for the extruder: a property of the machine.
    pub extruder_mode: ExtruderMode,
    /// G90.1: arc centres are absolute.
    pub arc_absolute: bool,
    /// How F is meant.
    pub feed_mode: FeedMode,
    /// G96: S is a speed of the surface, in metres or feet per minute, and the spindle turns no faster than this.
    pub surface_speed: Option<f64>,
    /// G7: X words are diameters.
    pub diameter: bool,
    /// Whether M2 and M30 end a program: a property of the machine. Printers pass over the one and delete a file at the other.
    pub ends: bool,
    /// Work offset: 0 for G54 to 8 for G59.3.
    pub work_offset: u8,
    /// G43 in tenths: 430, 431 or 432; 490 when cancelled.
    pub tool_length: u32,
    /// G40 in tenths: 400, 410, 420 …
    pub cutter_compensation: u32,
    /// G98 (`false`: back to the starting level) or G99 (`true`: to the R level) after a canned cycle.
    pub retract_to_r: bool,
    /// G61, G61.1 or G64 in tenths, once named.
    pub path_control: Option<u32>,
    /// Spindle or beam.
    pub spindle: Spindle,
    /// S as last written: revolutions per minute, or beam power.
    pub speed: f64,
    /// F as last written, in the program's units; `None` until the program sets it, and after G93 or G94 changes.
    pub feed: Option<f64>,
    /// M7.
    pub mist: bool,
    /// M8.
    pub flood: bool,
    /// The tool selected by T.
    pub tool: Option<u32>,
    /// Whether M2 or M30 has ended the program.
    pub ended: bool,
}

impl Default for Modal {
    fn default() -> Self {
        Self {
            motion: None,
            plane: Plane::Xy,
            inches: false,
            units_stated: false,
            relative: false,
            extruder_relative: false,
            extruder_mode: ExtruderMode::Either,
            arc_absolute: false,
            feed_mode: FeedMode::PerMinute,
            surface_speed: None,
            diameter: false,
            ends: true,
            work_offset: 0,
            tool_length: 490,
            cutter_compensation: 400,
            retract_to_r: false,
            path_control: None,
            spindle: Spindle::Off,
            speed: 0.0,
            feed: None,
            mist: false,
            flood: false,
            tool: None,
            ended: false,
        }
    }
}

impl Modal {
    /// Takes in what a block changes.
    pub fn apply(&mut self, block: &Block) {
        self.apply_statement(&Statement::of(block));
    }

    /// Takes in what a statement changes.
    #[inline]
    pub fn apply_statement(&mut self, statement: &Statement) {
        for &(letter, tenths) in statement.codes() {
            match letter {
                b'G' => self.apply_g(tenths),
                b'M' => self.apply_m(tenths),
                _ if statement.selects_tool() => self.tool = Some(tenths / 10),
                _ => {}
            }
        }
        if let Some(feed) = statement.value(b'F') {
            self.feed = Some(feed);
        }
        if let (true, Some(_), Some(limit)) =
            (statement.has(b'D'), self.surface_speed, statement.value(b'D').filter(|limit| *limit > 0.0))
        {
            if statement.has_code(b'G', 960) {
                self.surface_speed = Some(limit);
            }
        }
        if let Some(speed) = statement.value(b'S') {
            if takes_speed(statement) {
                self.speed = speed;
            }
        }
    }

    #[inline]
    fn apply_g(&mut self, tenths: u32) {
        match tenths {
            0 | 10 | 20 | 30 | 50 | 51 | 330 | 331 | 382..=385 | 730 | 740 | 760 | 800..=890 => {
                self.motion = Some(tenths);
            }
            _ => self.apply_rare_g(tenths),
        }
    }

    #[cold]
    fn apply_rare_g(&mut self, tenths: u32) {
        match tenths {
            70 | 80 => self.diameter = tenths == 70,
            170 => self.plane = Plane::Xy,
            180 => self.plane = Plane::Zx,
            190 => self.plane = Plane::Yz,
            200 | 210 => (self.inches, self.units_stated) = (tenths == 200, true),
            400..=429 => self.cutter_compensation = tenths,
            430..=432 | 490 => self.tool_length = tenths,
            540 | 550 | 560 | 570 | 580 => self.work_offset = ((tenths - 540) / 10) as u8,
            590..=593 => self.work_offset = (5 + tenths - 590) as u8,
            610 | 611 | 640 => self.path_control = Some(tenths),
            900 | 910 => {
                self.relative = tenths == 910;
                if self.extruder_mode == ExtruderMode::Last {
                    self.extruder_relative = self.relative;
                }
            }
            901 => self.arc_absolute = true,
            911 => self.arc_absolute = false,
            930 | 940 | 950 => {
                let mode =
                    [FeedMode::InverseTime, FeedMode::PerMinute, FeedMode::PerRevolution][(tenths as usize - 930) / 10];
                if mode != self.feed_mode {
                    self.feed = None;
                }
                self.feed_mode = mode;
            }
            960 => self.surface_speed = Some(f64::INFINITY),
            970 => self.surface_speed = None,
            980 => self.retract_to_r = false,
            990 => self.retract_to_r = true,
            _ => {}
        }
    }

    fn apply_m(&mut self, tenths: u32) {
        match tenths {
            20 | 300 if self.ends => {
                self.ended = true;
                self.spindle = Spindle::Off;
                (self.mist, self.flood) = (false, false);
            }
            30 => self.spindle = Spindle::Clockwise,
            40 => self.spindle = Spindle::CounterClockwise,
            50 => self.spindle = Spindle::Off,
            70 => self.mist = true,
            80 => self.flood = true,
            90 => (self.mist, self.flood) = (false, false),
            820 => self.extruder_relative = false,
            830 => self.extruder_relative = true,
            _ => {}
        }
    }

    /// Whether extruder lengths are relative on this machine.
    #[inline]
    pub fn extruder_is_relative(&self) -> bool {
        self.extruder_relative || self.relative && self.extruder_mode == ExtruderMode::Either
    }

    /// Millimetres per unit of length.
    #[inline]
    pub fn unit_mm(&self) -> f64 {
        if self.inches { 25.4 } else { 1.0 }
    }

    /// The name of the work offset: `G54` to `G59.3`.
    pub fn work_offset_name(&self) -> &'static str {
        ["G54", "G55", "G56", "G57", "G58", "G59", "G59.1", "G59.2", "G59.3"][usize::from(self.work_offset.min(8))]
    }

    /// The lines that bring a machine into this state, motion and position aside, in an order that is safe to send:
    /// units, plane, distance, arc centres, work offset, feed mode and F, coolant; the spindle comes last.
    pub fn restore_lines(&self) -> Vec<String> {
        let mut lines = vec![
            if self.inches { "G20" } else { "G21" }.to_owned(),
            match self.plane {
                Plane::Xy => "G17",
                Plane::Zx => "G18",
                Plane::Yz => "G19",
            }
            .to_owned(),
            if self.relative { "G91" } else { "G90" }.to_owned(),
            self.work_offset_name().to_owned(),
            match self.feed_mode {
                FeedMode::PerMinute => "G94",
                FeedMode::InverseTime => "G93",
                FeedMode::PerRevolution => "G95",
            }
            .to_owned(),
        ];
        if let (Some(feed), FeedMode::PerMinute) = (self.feed, self.feed_mode) {
            lines.push(format!("F{feed}"));
        }
        if self.mist {
            lines.push("M7".to_owned());
        }
        if self.flood {
            lines.push("M8".to_owned());
        }
        match self.spindle {
            Spindle::Off => {}
            Spindle::Clockwise => lines.push(format!("M3 S{}", self.speed)),
            Spindle::CounterClockwise => lines.push(format!("M4 S{}", self.speed)),
        }
        lines
    }
}

/// S is a speed unless another code on the line takes it: temperatures, fans, dwells.
fn takes_speed(statement: &Statement) -> bool {
    statement.codes().iter().all(|(letter, tenths)| match letter {
        b'G' => !matches!(tenths, 40 | 290 | 60..=99 | 260..=269),
        b'M' => matches!(tenths, 0..=99 | 600..=689),
        _ => true,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    fn after(lines: &[&str]) -> Modal {
        let mut modal = Modal::default();
        for line in lines {
            modal.apply(&Block::new(line.as_bytes()));
        }
        modal
    }

    #[test]
    fn each_group_keeps_its_last_word() {
        let modal = after(&["G20 G18 G91 G55", "G59.2 G90.1 G93 F2", "M4 S500 M7 M8", "T3 M6", "M83"]);
        assert!(modal.inches && modal.relative && modal.arc_absolute && modal.mist && modal.flood);
        assert!(modal.extruder_relative && modal.units_stated);
        assert_eq!(
            (modal.plane, modal.feed_mode, modal.work_offset_name()),
            (Plane::Zx, FeedMode::InverseTime, "G59.2")
        );
        assert_eq!((modal.spindle, modal.speed, modal.tool), (Spindle::CounterClockwise, 500.0, Some(3)));
    }

    #[test]
    fn each_firmware_has_its_own_idea_of_g90_and_the_extruder() {
        use ExtruderMode::{Either, Last, Own};
        let relative = |mode, lines: &[&str]| {
            let mut modal = Modal { extruder_mode: mode, ..Modal::default() };
            for line in lines {
                modal.apply(&Block::new(line.as_bytes()));
            }
            modal.extruder_is_relative()
        };
        assert_eq!([Either, Last, Own].map(|mode| relative(mode, &["M83", "G90"])), [true, false, true]);
        assert_eq!([Either, Last, Own].map(|mode| relative(mode, &["M82", "G91"])), [true, true, false]);
        assert_eq!([Either, Last, Own].map(|mode| relative(mode, &["G91", "M82"])), [true, false, false]);
        assert_eq!([Either, Last, Own].map(|mode| relative(mode, &["G90", "M83"])), [true; 3]);
    }

    #[test]
    fn a_temperature_is_no_spindle_speed() {
        assert_eq!(after(&["M3 S1000", "M104 S200", "G4 S3", "M106 S255"]).speed, 1000.0);
        assert_eq!(after(&["M3", "G1 X1 S200"]).speed, 200.0);
    }

    #[test]
    fn a_new_feed_mode_forgets_the_feed() {
        assert_eq!(after(&["F100", "G93"]).feed, None);
        assert_eq!(after(&["F100", "G94"]).feed, Some(100.0));
    }

    #[test]
    fn the_end_stops_spindle_and_coolant() {
        let modal = after(&["M3 S1 M8", "M30"]);
        assert_eq!((modal.spindle, modal.flood, modal.ended), (Spindle::Off, false, true));
    }

    #[test]
    fn restoring_gives_the_same_state_back() {
        let modal = after(&["G20 G19 G91 G56 G94 F12.5 M8 M3 S900"]);
        let lines = modal.restore_lines();
        let again = after(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(again, modal);
    }
}
