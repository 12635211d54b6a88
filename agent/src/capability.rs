//! What a machine can make: its capability, for people and platforms that look for one. Pure.
//!
//! Everything comes from the machine's profile and from what the machine said about itself. What is not known is
//! absent, never guessed.

use drivers::profile::{Bed, Clearance, Envelope, Home, KeepOut, Kind, Motion, Profile, Rotary, SMeans, Tool};
use drivers::snapshot::Identity;
use serde::Serialize;

/// Version of this document's form. It goes up when a field changes its meaning, not when one is added.
pub const VERSION: u32 = 1;

/// What a machine can make.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capability {
    /// Version of the form.
    pub version: u32,
    /// When this was put together, RFC 3339.
    pub at: String,
    /// The machine's name in the configuration.
    pub machine: String,
    /// The machine model's name for people.
    pub title: String,
    /// Name of the profile this rests on.
    pub profile: String,
    /// `printer`, `mill` or `laser`.
    pub kind: Kind,
    /// Process names, such as `laser cutting`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<String>,
    /// Materials that may be worked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub materials: Vec<String>,
    /// Where the tool can go, in machine coordinates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope_mm: Option<Envelope>,
    /// Largest part: the envelope's lengths along X, Y, Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_max_mm: Option<[f64; 3]>,
    /// Where a print may be, where that is less than the travel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bed: Option<Bed>,
    /// Places the tool must not enter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep_out: Vec<KeepOut>,
    /// Where it homes, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
    /// Room that parts need where they are made one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clearance: Option<Clearance>,
    /// An axis that turns the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotary: Option<Rotary>,
    /// Whether programs may have arcs (G2, G3), where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arcs: Option<bool>,
    /// Thinnest reliable layer or kerf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance_mm: Option<f64>,
    /// Highest feeds along X, Y, Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed_max_mm_min: Option<[f64; 3]>,
    /// Tools and what they hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolOffer>,
    /// Highest temperatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperatures: Option<Temperatures>,
    /// The spindle's range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spindle: Option<SpindleOffer>,
    /// The laser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub laser: Option<LaserOffer>,
    /// The language programs must be in: a dialect's name.
    pub dialect: String,
    /// The firmware's own name and version, once the machine has said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Endings of the files that are taken.
    pub file_types: &'static [&'static str],
    /// Largest program that is taken, in bytes.
    pub program_bytes_max: u64,
}

/// One tool and what it holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolOffer {
    /// The T number that selects it.
    pub number: u32,
    /// Name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Nozzle or cutter diameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diameter_mm: Option<f64>,
    /// Material it holds now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub material: Option<String>,
    /// The hot end it is heated by, where that is not its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heater: Option<u32>,
    /// Where its tip is, seen from the first tool's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_mm: Option<[f64; 3]>,
}

/// Highest temperatures that can be set, in °C.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Temperatures {
    /// Nozzle.
    pub tool_max_c: f64,
    /// Bed; absent on machines without a heated one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bed_max_c: Option<f64>,
    /// Chamber; absent on machines without a heated one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chamber_max_c: Option<f64>,
}

/// A spindle's range, in revolutions per minute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SpindleOffer {
    /// Lowest useful speed.
    pub min_rpm: f64,
    /// Highest speed.
    pub max_rpm: f64,
    /// Whether it turns both ways.
    pub reversible: bool,
    /// What the S of a program means: `rpm`, `share` of full speed, or nothing because it is set `by_hand`.
    pub s_means: SMeans,
    /// The S of full speed, where S is a share of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s_max: Option<f64>,
}

/// A laser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LaserOffer {
    /// The S value that means full power.
    pub s_max: f64,
    /// Optical power at full S, in watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
}

impl Capability {
    /// What a machine can make, from its profile and from what it said about itself.
    ///
    /// `at` is the time to stamp it with, RFC 3339: this is pure and reads no clock.
    /// `program_bytes_max`: the largest program that the store takes.
    pub fn of(
        machine: &str,
        profile: &Profile,
        identity: Option<&Identity>,
        program_bytes_max: u64,
        at: String,
    ) -> Self {
        let [x, y, z, _] = profile.motion.feed_max_mm_min;
        Self {
            version: VERSION,
            at,
            machine: machine.to_owned(),
            title: profile.title.clone(),
            profile: profile.name.clone(),
            kind: profile.kind,
            processes: profile.work.processes.clone(),
            materials: profile.work.materials.clone(),
            envelope_mm: profile.envelope_mm,
            size_max_mm: profile.envelope_mm.map(lengths),
            bed: profile.bed,
            keep_out: profile.keep_out.clone(),
            home: Some(profile.home).filter(|home| *home != Home::default()),
            clearance: profile.clearance,
            rotary: profile.rotary.clone(),
            arcs: profile.motion.arcs,
            tolerance_mm: profile.work.tolerance_mm,
            // A profile without a [motion] section falls back on a slow machine's numbers for time estimates;
            // those are no promise.
            feed_max_mm_min: (profile.motion != Motion::default()).then_some([x, y, z]),
            tools: profile.tools.iter().map(ToolOffer::of).collect(),
            temperatures: profile.heat.as_ref().map(|heat| Temperatures {
                tool_max_c: heat.tool_max_c,
                bed_max_c: heat.bed_max_c,
                chamber_max_c: heat.chamber_max_c,
            }),
            spindle: profile.spindle.as_ref().map(|spindle| SpindleOffer {
                min_rpm: spindle.min_rpm,
                max_rpm: spindle.max_rpm,
                reversible: spindle.reversible,
                s_means: spindle.s_means,
                s_max: spindle.s_max,
            }),
            laser: profile.laser.as_ref().map(|laser| LaserOffer { s_max: laser.s_max, power_w: laser.power_w }),
            dialect: profile.dialect.clone(),
            firmware: identity.map(|identity| identity.firmware.clone()),
            file_types: gcode_tools::formats::ENDINGS,
            program_bytes_max,
        }
    }
}

impl ToolOffer {
    fn of(tool: &Tool) -> Self {
        Self {
            number: tool.number,
            name: tool.name.clone(),
            diameter_mm: tool.diameter_mm,
            material: tool.material.clone(),
            heater: tool.heater,
            offset_mm: tool.offset_mm,
        }
    }
}

fn lengths(envelope: Envelope) -> [f64; 3] {
    [0, 1, 2].map(|axis| envelope.max[axis] - envelope.min[axis])
}

#[cfg(test)]
mod test {
    use super::*;

    const AT: &str = "2026-01-02T03:04:05Z";

    #[test]
    fn every_bundled_profile_says_what_it_can_make() {
        for (name, text) in Profile::bundled() {
            let profile = Profile::parse(text).unwrap();
            let capability = Capability::of("m", &profile, None, 1 << 20, AT.to_owned());
            println!("{}", serde_json::to_string_pretty(&capability).unwrap());
            assert_eq!(capability.processes, profile.work.processes, "{name}");
            assert_eq!(capability.size_max_mm.is_some(), profile.envelope_mm.is_some(), "{name}");
            assert!(capability.size_max_mm.into_iter().flatten().all(|length| length > 0.0), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_absent_and_never_null() {
        let text = "name = \"bare\"\ntitle = \"Bare\"\nkind = \"mill\"\ndialect = \"grbl\"\n\
                    [spindle]\nmin_rpm = 0.0\nmax_rpm = 1000.0\n";
        let profile = Profile::parse(text).unwrap();
        let json = serde_json::to_value(Capability::of("m", &profile, None, 1 << 20, AT.to_owned())).unwrap();
        for absent in
            ["envelope_mm", "size_max_mm", "materials", "temperatures", "laser", "firmware", "feed_max_mm_min"]
        {
            assert!(json.get(absent).is_none(), "{absent} is in {json}");
        }
        assert!(!json.to_string().contains("null"), "{json}");
    }
}
