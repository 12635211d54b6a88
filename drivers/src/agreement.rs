//! Where a machine differs from its profile, by what it says of its own settings.
//!
//! Sources: Grbl 1.1 `doc/markdown/settings.md`, `settings.h`, `report.c`; grblHAL keeps the numbers and makes masks of
//! some (`$22`). What the machine says is told and not believed blindly: `$130` to `$132` of many machines were never set.

use gcode_tools::preflight::{Finding, Severity};

use crate::notice::Notice;
use crate::profile::{HomeEnd, Kind, Profile, SMeans};
use crate::protection::Setting;

/// Differences in travel that matter, in millimetres: less is rounding and pull-off.
const TRAVEL_MM: f64 = 1.0;

/// Rates and accelerations that differ by this share make estimates wrong.
const RATE_SHARE: f64 = 0.1;

/// What a machine that reports in inches has `$13` at.
pub(crate) const INCHES: &str = "$13";

/// What the machine says of itself, by number.
struct Said<'a>(&'a [Setting]);

impl Said<'_> {
    fn number(&self, key: &str) -> Option<f64> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        value.trim().parse::<f64>().ok().filter(|value| value.is_finite())
    }

    /// A switch, or the first bit of a mask.
    fn on(&self, key: &str) -> Option<bool> {
        self.number(key).map(|value| value as u64 & 1 == 1)
    }
}

/// Whether a switch that may be a mask says that the machine homes.
pub(crate) fn homes(settings: &[Setting]) -> Option<bool> {
    Said(settings).on("$22")
}

/// Whether it reports in inches.
pub(crate) fn in_inches(settings: &[Setting]) -> bool {
    Said(settings).on(INCHES) == Some(true)
}

/// What the machine says that its profile says otherwise, the gravest first. Nothing where it says nothing.
pub fn differences(profile: &Profile, settings: &[Setting]) -> Vec<Finding> {
    let said = Said(settings);
    let mut found = Vec::new();
    // A profile of any machine of its kind has no figures that a machine could differ from.
    if profile.envelope_mm.is_some() {
        full_scale(profile, &said, &mut found);
        least_scale(profile, &said, &mut found);
    }
    beam(profile, &said, &mut found);
    travel(profile, &said, &mut found);
    homing(profile, &said, &mut found);
    hard_limits(profile, &said, &mut found);
    reports(&said, &mut found);
    if profile.envelope_mm.is_some() {
        rates(profile, &said, &mut found);
    }
    if in_inches(settings) {
        tell(
            &mut found,
            Severity::Note,
            "profile.inches",
            "The machine reports in inches ($13=1).".to_owned(),
            "Nothing to do: its reports are read so. Other programs may not.",
        );
    }
    found
}

/// A difference as a notice.
pub fn notice(finding: &Finding) -> Notice {
    Notice::new(finding.code, finding.message.clone(), "Nothing was changed.", finding.help)
}

fn tell(found: &mut Vec<Finding>, severity: Severity, code: &'static str, message: String, help: &'static str) {
    found.push(Finding::of_file(severity, code, message, help));
}

/// What S means.
fn full_scale(profile: &Profile, said: &Said, found: &mut Vec<Finding>) {
    let ours = match (profile.kind, &profile.laser, &profile.spindle) {
        (Kind::Laser, Some(laser), _) => Some(laser.s_max),
        (Kind::Mill, _, Some(spindle)) => match spindle.s_means {
            SMeans::Rpm => Some(spindle.max_rpm),
            SMeans::Share => spindle.s_max,
            SMeans::ByHand => None,
        },
        _ => None,
    };
    if let (Some(ours), Some(theirs)) = (ours, said.number("$30")) {
        if (ours - theirs).abs() > ours * 0.005 {
            tell(
                found,
                Severity::Warning,
                "profile.s_max",
                format!("S{theirs} is full {} to this machine ($30); its profile says S{ours}.", tool(profile)),
                "Set $30 of the machine, or the profile (s_max, max_rpm), so that both mean the same.",
            );
        }
    }
}

/// Below which S nothing gets weaker or slower: Grbl raises what is smaller to `$31` (`spindle_compute_pwm_value`).
fn least_scale(profile: &Profile, said: &Said, found: &mut Vec<Finding>) {
    let ours = match (profile.kind, &profile.spindle) {
        (Kind::Laser, _) => 0.0,
        (Kind::Mill, Some(spindle)) if spindle.s_means == SMeans::Rpm => spindle.min_rpm,
        _ => return,
    };
    let Some(theirs) = said.number("$31").filter(|theirs| *theirs > ours.max(0.5) * 1.005) else { return };
    let meaning = if profile.kind == Kind::Laser { "burns as strongly" } else { "turns as fast" };
    tell(
        found,
        Severity::Warning,
        "profile.s_min",
        format!("Any S above 0 and below {theirs} {meaning} as S{theirs} ($31); its profile says S{ours}."),
        "Set $31 of the machine, or the profile's min_rpm, so that both mean the same. For a laser $31=0 is usual.",
    );
}

/// Whether the beam goes off by itself.
fn beam(profile: &Profile, said: &Said, found: &mut Vec<Finding>) {
    match (profile.kind, said.on("$32")) {
        (Kind::Laser, Some(false)) => tell(
            found,
            Severity::Warning,
            "profile.laser_mode",
            "Laser mode is off ($32=0): the machine stops at each change of power, and the beam stays on at standstill."
                .to_owned(),
            "Set $32=1 on the machine.",
        ),
        (Kind::Mill, Some(true)) => tell(
            found,
            Severity::Warning,
            "profile.laser_mode",
            "Laser mode is on ($32=1) on a mill: it does not wait for its spindle, and M4 stops it where nothing moves."
                .to_owned(),
            "Set $32=0 on the machine.",
        ),
        _ => {}
    }
}

fn tool(profile: &Profile) -> &'static str {
    if profile.kind == Kind::Laser { "power" } else { "speed" }
}

fn travel(profile: &Profile, said: &Said, found: &mut Vec<Finding>) {
    let Some(envelope) = profile.envelope_mm else { return };
    // A laser without a Z has any number there.
    let axes = if profile.kind == Kind::Laser { 0..2 } else { 0..3 };
    for axis in axes {
        let ours = envelope.max[axis] - envelope.min[axis];
        let Some(theirs) = said.number(["$130", "$131", "$132"][axis]) else { continue };
        if (ours - theirs).abs() <= TRAVEL_MM {
            continue;
        }
        let name = ["X", "Y", "Z"][axis];
        let key = ["$130", "$131", "$132"][axis];
        tell(
            found,
            Severity::Warning,
            "profile.travel",
            format!("{name} travels {theirs} mm to this machine ({key}); its profile says {ours} mm."),
            "Measure it, and correct the one that is wrong: the profile's envelope_mm, or the setting.",
        );
    }
}

fn homing(profile: &Profile, said: &Said, found: &mut Vec<Finding>) {
    let (homes, soft) = (said.on("$22"), said.on("$20"));
    let warn = |found: &mut Vec<Finding>, message: &str, help| {
        tell(found, Severity::Warning, "profile.homing", message.to_owned(), help);
    };
    match (homes, profile.home.switches) {
        (Some(true), Some(false)) => {
            warn(found, "It homes ($22); its profile says that it has no switches.", "Correct the profile's [home].");
        }
        (Some(false), Some(true)) => warn(
            found,
            "Homing is off ($22=0); its profile says that it has switches. Where it stands is not known.",
            "Set $22=1 and home it, or correct the profile's [home].",
        ),
        _ => {}
    }
    if soft == Some(true) && homes == Some(false) {
        warn(
            found,
            "Soft limits are on ($20=1) without homing ($22=0): they stop the machine at places that mean nothing.",
            "Set $22=1 and home it, or set $20=0.",
        );
    }
    if let (Some(false), Some(true)) = (soft, profile.home.soft_limits) {
        warn(
            found,
            "Soft limits are off ($20=0); its profile says that the machine watches its travel.",
            "Set $20=1, or correct the profile's [home].",
        );
    }
    let (Some(mask), Some(ends), Some(true)) = (said.number("$23"), profile.home.ends, homes) else { return };
    for axis in 0..3 {
        let theirs = if mask as u64 >> axis & 1 == 1 { HomeEnd::Min } else { HomeEnd::Max };
        if matches!(ends[axis], HomeEnd::Min | HomeEnd::Max) && ends[axis] != theirs {
            let (name, end) = (["X", "Y", "Z"][axis], if theirs == HomeEnd::Min { "lowest" } else { "highest" });
            let message = format!("{name} homes to its {end} end ($23={mask}); its profile says the other.");
            warn(found, &message, "Correct the profile's [home], or $23.");
        }
    }
}

/// Whether its switches stop it where it runs into its end.
fn hard_limits(profile: &Profile, said: &Said, found: &mut Vec<Finding>) {
    let (message, help) = match (said.on("$21"), profile.home.switches) {
        (Some(false), Some(true)) => (
            "Hard limits are off ($21=0): its switches do not stop it where it runs into the end of its travel.",
            "Set $21=1, unless noise on their wires stops jobs for no reason.",
        ),
        (Some(true), Some(false)) => (
            "Hard limits are on ($21=1); its profile says that it has no switches: an open input stops jobs.",
            "Set $21=0, or correct the profile's [home].",
        ),
        _ => return,
    };
    tell(found, Severity::Note, "profile.hard_limits", message.to_owned(), help);
}

/// Whether its reports say what the agent counts by.
fn reports(said: &Said, found: &mut Vec<Finding>) {
    let Some(mask) = said.number("$10").filter(|mask| *mask as u64 & 2 == 0) else { return };
    tell(
        found,
        Severity::Note,
        "profile.reports",
        format!("Its reports do not say how full its buffers are ($10={mask}): executed lines are counted late."),
        "Set $10=3. Nothing else depends on it.",
    );
}

fn rates(profile: &Profile, said: &Said, found: &mut Vec<Finding>) {
    let axes = if profile.kind == Kind::Laser { 0..2 } else { 0..3 };
    let lists = [
        ("$11", "mm/min", profile.motion.feed_max_mm_min, "motion.feed_max_mm_min"),
        ("$12", "mm/s²", profile.motion.acceleration_mm_s2, "motion.acceleration_mm_s2"),
    ];
    for (prefix, unit, ours, field) in lists {
        let differs = |axis: usize| {
            let theirs = said.number(&format!("{prefix}{axis}"))?;
            ((theirs - ours[axis]).abs() > ours[axis] * RATE_SHARE).then_some((axis, theirs))
        };
        let Some((axis, theirs)) = axes.clone().find_map(differs) else { continue };
        tell(
            found,
            Severity::Note,
            "profile.rates",
            format!(
                "{} does {theirs} {unit} ({prefix}{axis}); its profile's {field} says {}.",
                ["X", "Y", "Z"][axis],
                ours[axis]
            ),
            "Estimates of time rest on the profile: correct it.",
        );
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn found(profile: &str, settings: &[(&str, &str)]) -> Vec<&'static str> {
        let settings: Vec<_> = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let found = differences(&Profile::named(profile).unwrap(), &settings);
        found.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_machine_that_is_as_its_profile_says_differs_in_nothing() {
        let same = [("$30", "10000"), ("$32", "0"), ("$130", "260.000"), ("$131", "155.000"), ("$132", "35.000")];
        assert!(found("grbl-mill-3018", &same).is_empty());
        assert!(found("grbl-mill-3018", &[]).is_empty(), "one that says nothing differs in nothing");
    }

    #[test]
    fn what_differs_is_told_by_what_it_means() {
        let mill = |key, value| found("grbl-mill-3018", &[(key, value)]);
        assert_eq!(mill("$30", "1000"), ["profile.s_max"]);
        assert_eq!(mill("$32", "1"), ["profile.laser_mode"]);
        assert_eq!(mill("$131", "180"), ["profile.travel"]);
        assert_eq!(mill("$110", "2000"), ["profile.rates"]);
        assert_eq!(mill("$13", "1"), ["profile.inches"]);
        assert_eq!(found("grbl-mill-3018", &[("$20", "1"), ("$22", "0")]), ["profile.homing"]);
        assert_eq!(mill("$10", "1"), ["profile.reports"]);
        assert!(mill("$10", "3").is_empty() && mill("$31", "0").is_empty());
        assert_eq!(mill("$31", "5000"), ["profile.s_min"]);
        assert!(mill("$21", "1").is_empty(), "nobody says whether it has switches");
        assert_eq!(found("grbl-laser-400", &[("$31", "1")]), ["profile.s_min"]);
        assert_eq!(found("grbl-laser-400", &[("$32", "0")]), ["profile.laser_mode"]);
        assert_eq!(found("grbl-laser-400", &[("$30", "255")]), ["profile.s_max"]);
        assert!(found("grbl-laser-400", &[("$132", "50")]).is_empty(), "it has no Z");
        let switches = "grbl-mill-3018:switches";
        assert_eq!(found(switches, &[("$22", "0")]), ["profile.homing"]);
        assert_eq!(found("sculpfun-s9", &[("$21", "1")]), ["profile.hard_limits"]);
        assert_eq!(found(switches, &[("$21", "0")]), ["profile.hard_limits"]);
        assert_eq!(found(switches, &[("$22", "1"), ("$23", "3")]), Vec::<&str>::new());
        assert_eq!(found(switches, &[("$22", "43"), ("$23", "7")]), ["profile.homing"], "a mask, and Z homes down");
    }
}
