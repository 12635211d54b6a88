//! A machine profile: everything that is known of one machine model, as data.
//!
//! A profile is a TOML file in `config/machines/`. It lives in this crate, at the lower end of the chain,
//! because preflight needs it as much as the drivers do. A field that is absent is *unknown*: nothing is
//! guessed from it, and a check that needs it says so.
//!
//! ```
//! use gcode_tools::profile::{Kind, Profile};
//! let bundled = Profile::named("ender3").unwrap();
//! assert_eq!((bundled.kind, bundled.dialect.as_str()), (Kind::Printer, "marlin"));
//! let text = "name = 'my-laser'\ntitle = 'My laser'\nkind = 'laser'\ndialect = 'grbl'\n[laser]\ns_max = 1000.0\n";
//! let own = Profile::parse(text).unwrap();
//! assert!(own.envelope_mm.is_none(), "unknown, and not endless");
//! assert_eq!(Profile::parse("name = 'x'\nspeed = 9\n").unwrap_err().code, "profile.invalid");
//! ```

use crate::modal::ExtruderMode;
use serde::{Deserialize, Serialize};

mod geometry;
mod head;
pub mod modbus;
mod places;
mod problems;
mod safe_end;
mod variant;

pub use geometry::{Bed, Circle, Clearance, Home, HomeEnd, KeepOut, Places, Probe, Rectangle, Rotary};
pub use head::{Laser, SMeans, Spindle};
pub use modbus::{Auxiliary, Modbus};
pub use places::{Problem, Step};
pub use safe_end::Hazard;
pub use variant::{Variant, split};

/// Largest profile file that is read, in bytes. A profile is a page of text; anything larger is a mistake.
pub const PROFILE_BYTES_MAX: usize = 256 * 1024;

/// Everything that is known of one machine model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Short stable name: lower case, digits and hyphens. The file is called `{name}.toml`.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What kind of work the machine does.
    pub kind: Kind,
    /// Name of the dialect the machine speaks: an entry of the drivers' dialect table.
    pub dialect: String,
    /// The machine can only be reached over a network that this agent does not speak: programs are checked for it, and
    /// none is streamed.
    #[serde(default)]
    pub network_only: bool,
    /// Where the tool can go, in machine coordinates.
    pub envelope_mm: Option<Envelope>,
    /// Where plastic finds a bed under it, and how low a print may begin. Absent: everywhere the nozzle can go.
    pub bed: Option<Bed>,
    /// Places inside the travel where the tool must not go: a dock, clips, a probe.
    #[serde(default)]
    pub keep_out: Vec<KeepOut>,
    /// Where it homes, and how far its coordinates can be relied on.
    #[serde(default)]
    pub home: Home,
    /// Places that its programs and people go to.
    #[serde(default)]
    pub places: Places,
    /// The probe on its tool head.
    pub probe: Option<Probe>,
    /// Room that parts need beside the tool head where they are made one by one.
    pub clearance: Option<Clearance>,
    /// An axis that turns the work.
    pub rotary: Option<Rotary>,
    /// Speeds and accelerations, for time estimates and limits.
    #[serde(default)]
    pub motion: Motion,
    /// What G90 and G91 mean for the extruder. Absent: as the dialect has it.
    pub extruder_mode: Option<ExtruderMode>,
    /// Heaters, on machines that have any.
    pub heat: Option<Heat>,
    /// Spindle, on mills.
    pub spindle: Option<Spindle>,
    /// Laser, on laser cutters.
    pub laser: Option<Laser>,
    /// Tools and what they hold, by number. Empty: unknown.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// How the wire is set up.
    #[serde(default)]
    pub serial: Serial,
    /// Whether a machine must name itself before it is sent anything.
    #[serde(default)]
    pub attach: Attach,
    /// How much is sent ahead, and what an error means.
    #[serde(default)]
    pub stream: Stream,
    /// What makes this machine safe when a job ends early.
    #[serde(default)]
    pub safety: Safety,
    /// Words this machine's firmware accepts beyond its dialect's own list, such as `M900` or `PRINT_START`.
    #[serde(default)]
    pub extra_words: Vec<String>,
    /// What the shop can make on it: what capability tells the network.
    #[serde(default)]
    pub work: Work,
    /// How its registers are reached and what they hold, on machines that are spoken to over Modbus.
    pub modbus: Option<Modbus>,
    /// Devices beside it: the drive of its spindle, a meter of what it draws.
    #[serde(default)]
    pub auxiliary: Vec<Auxiliary>,
    /// What it is sold or built as besides: another laser module, head or size. Chosen by name, as in `my-laser:20w`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variant: Vec<Variant>,
}

/// Whose word it is that the machine on a port is the one that is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// The machine's own: it must say a name that its dialect's firmware says.
    #[default]
    Named,
    /// A person's: one that answers, and does not name itself, is taken for what is configured. One that names itself as
    /// another is not.
    AsConfigured,
}

/// What kind of work a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Extrudes plastic.
    Printer,
    /// Cuts with a spindle.
    Mill,
    /// Cuts or engraves with a beam.
    Laser,
}

/// A box in machine coordinates, in millimetres. Axes are X, Y, Z.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Lowest reachable coordinate of each axis.
    pub min: [f64; 3],
    /// Highest reachable coordinate of each axis.
    pub max: [f64; 3],
    /// On a delta and other round machines: how far the tool gets from the middle of the box, in X and Y together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius: Option<f64>,
}

/// How the firmware slows down at corners.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cornering {
    /// Grbl's and Marlin's junction deviation, in millimetres.
    JunctionDeviationMm(f64),
    /// Marlin's classic jerk for X, Y, Z, E, in mm/s.
    JerkMmS([f64; 4]),
    /// Klipper's square corner velocity, in mm/s.
    SquareCornerVelocityMmS(f64),
}

/// Speeds and accelerations. Axes are X, Y, Z, E; machines without an extruder ignore E.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Motion {
    /// Highest feed of each axis, in mm/min. Grbl `$110`–`$112`, Marlin `M203` × 60.
    pub feed_max_mm_min: [f64; 4],
    /// Highest acceleration of each axis, in mm/s². Grbl `$120`–`$122`, Marlin `M201`.
    pub acceleration_mm_s2: [f64; 4],
    /// Marlin's default accelerations in mm/s²: printing, retract, travel (`M204 P R T`). Absent: the axis limits.
    pub default_acceleration_mm_s2: Option<[f64; 3]>,
    /// How corners are taken.
    pub cornering: Cornering,
    /// Moves the planner looks ahead. Grbl 15 usable blocks of 16, Marlin 16, Buddy firmware 32.
    pub planner_blocks: u32,
    /// Whether the machine must be homed before it moves.
    pub homing_required: bool,
    /// Highest distance of an arc chord from the true arc, in millimetres. Grbl `$12`.
    pub arc_tolerance_mm: f64,
    /// Whether the firmware does arcs (G2, G3): builds of Marlin may leave them out, Klipper needs `[gcode_arcs]`.
    /// Absent: unknown.
    pub arcs: Option<bool>,
}

impl Default for Motion {
    fn default() -> Self {
        // A slow, careful machine: Grbl 1.1's own defaults for X and Y (config `defaults.h`, DEFAULTS_GENERIC).
        Self {
            feed_max_mm_min: [500.0, 500.0, 500.0, 1500.0],
            acceleration_mm_s2: [10.0, 10.0, 10.0, 1000.0],
            default_acceleration_mm_s2: None,
            cornering: Cornering::JunctionDeviationMm(0.01),
            planner_blocks: 15,
            homing_required: false,
            arc_tolerance_mm: 0.002,
            arcs: None,
        }
    }
}

/// Heaters of a printer. Temperatures in °C.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heat {
    /// Highest nozzle temperature that can be set. Firmwares shut down above another, higher one: see `tool_trip_c`.
    pub tool_max_c: f64,
    /// Above this nozzle temperature the firmware shuts down (Marlin `HEATER_0_MAXTEMP`, Klipper `max_temp`).
    pub tool_trip_c: Option<f64>,
    /// Highest bed temperature that can be set. Absent: no heated bed.
    pub bed_max_c: Option<f64>,
    /// Above this bed temperature the firmware shuts down.
    pub bed_trip_c: Option<f64>,
    /// Highest chamber temperature that can be set. Absent: no heated chamber.
    pub chamber_max_c: Option<f64>,
    /// Above this chamber temperature the firmware shuts down.
    pub chamber_trip_c: Option<f64>,
    /// Below this nozzle temperature the firmware refuses to extrude. Marlin's `EXTRUDE_MINTEMP` is 170.
    #[serde(default = "extrude_min_c")]
    pub extrude_min_c: f64,
}

fn extrude_min_c() -> f64 {
    170.0
}

/// One tool: a nozzle, a cutter, a laser head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// The T number that selects it.
    pub number: u32,
    /// Name for people.
    #[serde(default)]
    pub name: String,
    /// Nozzle or cutter diameter in millimetres.
    pub diameter_mm: Option<f64>,
    /// Material it holds now, such as `PLA`. Absent: unknown.
    pub material: Option<String>,
    /// Filament diameter in millimetres, for grams from length.
    pub filament_mm: Option<f64>,
    /// Density of the material in g/cm³, for grams from length.
    pub density_g_cm3: Option<f64>,
    /// The hot end it is heated by. Absent: one of its own, of the same number. Several filaments that go through one
    /// nozzle name one heater.
    pub heater: Option<u32>,
    /// Highest temperature of this hot end that can be set, in °C, where it is not that of [`Heat`].
    pub max_c: Option<f64>,
    /// Where its tip is, seen from the first tool's, X Y Z in millimetres. Absent: unknown.
    pub offset_mm: Option<[f64; 3]>,
}

/// How the wire is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serial {
    /// Bits per second.
    pub baud: u32,
    /// Whether opening the port resets the board (boards that wire DTR to reset do). Then the agent waits for
    /// the start banner before it says a word.
    pub resets_on_open: bool,
}

impl Default for Serial {
    fn default() -> Self {
        Self { baud: 115_200, resets_on_open: true }
    }
}

/// How much is sent ahead, and what an error means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stream {
    /// Receive buffer of the board in bytes. Grbl 1.1 has 128 (`RX_BUFFER_SIZE`); `$I` may report another and then wins.
    /// Absent: the dialect's default.
    pub receive_buffer_bytes: Option<usize>,
    /// Lines that may be in flight. Marlin's command queue is `BUFSIZE` 4. Absent: the dialect's default.
    pub window_lines: Option<usize>,
    /// What a refused line does to the job.
    pub on_error: OnError,
    /// Who changes tools at M6. Absent: as the dialect does it.
    pub tool_change: Option<ToolChange>,
    /// Send comments and spaces as they stand. They cost wire time and mean nothing to the machine.
    pub send_comments: bool,
    /// Pack lines two characters in a byte (MeatPack), where the firmware says that it unpacks them. Worth it on a slow
    /// line only.
    pub meatpack: bool,
    /// Longest time without any sign of life while an answer is due, in milliseconds.
    pub answer_timeout_ms: u64,
    /// Longest line its firmware takes, in bytes without the line end. Absent: the dialect's usual.
    pub line_bytes_max: Option<usize>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            receive_buffer_bytes: None,
            window_lines: None,
            on_error: OnError::Hold,
            tool_change: None,
            send_comments: false,
            meatpack: false,
            answer_timeout_ms: 10_000,
            line_bytes_max: None,
        }
    }
}

/// What a line that the machine refused does to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Hold at once and wait for a person. Lines already in the machine's buffer may still run.
    Hold,
    /// End the job as failed, safely.
    #[serde(alias = "cancel")]
    Fail,
    /// Note it and go on: for rasters and plotters, never for a workpiece.
    Continue,
}

/// Who changes the tool at M6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChange {
    /// The machine: it is sent M6, and knows what to do.
    Machine,
    /// A person: the machine is not sent M6; the job waits, with the spindle off, until the person resumes it.
    Person,
}

impl ToolChange {
    /// Whether a person does it.
    pub fn is_person(self) -> bool {
        self == Self::Person
    }
}

/// What makes a machine safe when a job ends early. Lines are G-code in the machine's own dialect.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Safety {
    /// Lines sent after a cancelled or failed job, once the machine stands still and takes commands.
    pub safe_end: Vec<String>,
    /// How far the tool is lifted after a cancelled or failed job, in millimetres: where the machine was homed, its
    /// position is known and there is room. Absent: it stays where it is.
    pub lift_mm: Option<f64>,
    /// Whether the machine has a door switch that its firmware watches.
    pub door_input: bool,
    /// Whether the machine's firmware acts on stop words the moment they arrive (Marlin `EMERGENCY_PARSER`).
    /// Absent: asked at connect.
    pub emergency_parser: Option<bool>,
    /// Arms the firmware's own timer at connect (Marlin's `M85`): it halts, everything off, when nothing has moved for
    /// so many seconds. It must outlast the longest heating. Absent: not armed.
    pub inactivity_s: Option<u32>,
    /// Minutes that heaters may be on without a job before somebody is told. Absent: nobody is.
    pub heat_idle_min: Option<u32>,
    /// Minutes after which they are switched off. Absent: they are not.
    pub heat_idle_off_min: Option<u32>,
}

/// What the shop can make on the machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// Process names, such as `fused filament fabrication` or `laser cutting`.
    pub processes: Vec<String>,
    /// Materials that may be worked.
    pub materials: Vec<String>,
    /// Thinnest reliable layer or kerf, in millimetres.
    pub tolerance_mm: Option<f64>,
}

fn yes() -> bool {
    true
}

/// Why a profile could not be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ProfileError {
    /// Stable code: `profile.unknown`, `profile.unreadable` or `profile.invalid`.
    pub code: &'static str,
    /// What is wrong, with line and column where a file is at fault, and what to do.
    pub message: String,
}

impl Profile {
    /// What G90 and G91 mean for this machine's extruder.
    pub fn extruder_mode(&self) -> ExtruderMode {
        self.extruder_mode.unwrap_or(match self.dialect.as_str() {
            "marlin" | "smoothieware" => ExtruderMode::Last,
            "reprapfirmware" => ExtruderMode::Own,
            _ => ExtruderMode::Either,
        })
    }

    /// Reads a profile from the text of its TOML file and checks that its numbers can be true.
    ///
    /// # Errors
    /// `profile.invalid`: everything that is wrong, a line each, with its line in the file.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        Self::read(text, Self::problems)
    }

    /// Reads the profile of a machine that programs are streamed to: as [`Profile::parse`], and its safe end must leave
    /// nothing on.
    ///
    /// # Errors
    /// `profile.invalid`: everything that is wrong, a line each, with its line in the file.
    pub fn parse_streamed(text: &str) -> Result<Self, ProfileError> {
        Self::read(text, |profile| {
            let mut problems = profile.problems();
            problems.extend(profile.safe_end_problems());
            problems
        })
    }

    fn read(text: &str, problems: impl Fn(&Self) -> Vec<Problem>) -> Result<Self, ProfileError> {
        let invalid = |message: String| ProfileError { code: "profile.invalid", message };
        let profile: Self = toml::from_str(text).map_err(|error| invalid(places::unreadable(text, &error)))?;
        let mut problems = problems(&profile);
        if problems.is_empty() {
            problems.extend(variant::problems(text, &profile));
        }
        if problems.is_empty() { Ok(profile) } else { Err(invalid(places::said(text, &problems))) }
    }

    /// Highest temperature that a tool's hot end can be set to, in °C: of the current tool, whichever it is, where none is
    /// named.
    pub fn tool_max_c(&self, tool: Option<u32>) -> Option<f64> {
        let heat = self.heat.as_ref()?;
        let own = |number: u32| self.tools.iter().find(|tool| tool.number == number)?.max_c;
        Some(match tool {
            Some(number) => own(number).unwrap_or(heat.tool_max_c),
            None => self.tools.iter().filter_map(|tool| tool.max_c).fold(heat.tool_max_c, f64::max),
        })
    }

    /// The drive beside the machine that does what the program says with M3, M4, M5 and S, where one does.
    pub fn spindle_drive(&self) -> Option<&Auxiliary> {
        self.auxiliary.iter().find(|device| device.is_spindle)
    }

    /// Lowest and highest speed of its spindle in revolutions per minute, as the machine and the drive that turns it allow.
    pub fn spindle_range(&self) -> Option<(f64, f64)> {
        let spindle = self.spindle.as_ref()?;
        let (low, high) = self.spindle_drive().map_or((0.0, f64::INFINITY), Auxiliary::rpm_range);
        Some((spindle.min_rpm.max(low), spindle.max_rpm.min(high)))
    }

    /// The profiles of `config/machines/`, compiled in, as (name, TOML text) in order of name.
    pub fn bundled() -> &'static [(&'static str, &'static str)] {
        BUNDLED
    }

    /// A compiled-in profile by its name, or one of its variants as `name:variant`.
    pub fn named(name: &str) -> Result<Self, ProfileError> {
        let (file, variant) = variant::split(name);
        match BUNDLED.iter().find(|(bundled, _)| *bundled == file) {
            Some((_, text)) => Self::parse(text)?.chosen(text, variant),
            None => Err(ProfileError {
                code: "profile.unknown",
                message: format!(
                    "There is no machine profile called `{name}`. Known: {}. Name one of these, or the path of a TOML file.",
                    BUNDLED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/bundled_profiles.rs"));

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_bundled_profile_is_valid_and_named_after_its_file() {
        assert!(!Profile::bundled().is_empty());
        for (name, text) in Profile::bundled() {
            let profile = Profile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(&profile.name, name);
        }
    }

    #[test]
    fn a_misspelt_field_is_an_error_with_its_line() {
        let text = Profile::bundled()[0].1.replace("title", "titel");
        let error = Profile::parse(&text).unwrap_err();
        assert_eq!(error.code, "profile.invalid");
        assert!(error.message.contains("titel") && error.message.contains("line"), "{error}");
    }
}
