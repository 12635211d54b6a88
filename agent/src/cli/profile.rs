//! `fab-agent profile`: which machine profiles there are, what one says, and what is wrong with one.

use std::fmt::Write as _;
use std::path::Path;

use drivers::Notice;
use drivers::profile::{Hazard, HomeEnd, Kind, Profile, SMeans};
use serde_json::json;

use super::{Failure, print};
use crate::config::load_profile;

/// What is to be done with profiles.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every bundled profile and its variants
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What a profile says of its machine
    Show {
        /// A bundled name or a TOML file; `name:variant` for a variant
        profile: String,
        /// As JSON: every field
        #[arg(long)]
        json: bool,
    },
    /// Everything that is wrong with a profile, with its lines
    Check {
        /// A bundled name or a TOML file; `name:variant` for a variant
        profile: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::List { json } => {
            list(*json);
            Ok(())
        }
        Command::Show { profile, json } => {
            let profile = load_profile(profile, Path::new(".")).map_err(|message| bad(&message))?;
            print(&if *json { format!("{:#}", json!(profile)) } else { shown(&profile) });
            Ok(())
        }
        Command::Check { profile, json } => check(profile, *json),
    }
}

fn bad(message: &str) -> Failure {
    let happened = format!("The profile cannot be used: {}.", message.trim_end_matches('.'));
    Failure::Usage(Notice::new(
        "profile.invalid",
        happened,
        "Nothing was done.",
        "Correct it; docs/profiles.md explains every key.",
    ))
}

/// Bundled profiles that can be true: a test holds that all can.
fn bundled() -> impl Iterator<Item = Profile> {
    Profile::bundled().iter().filter_map(|(_, text)| Profile::parse(text).ok())
}

fn list(as_json: bool) {
    if as_json {
        let all: Vec<_> = bundled()
            .map(|profile| {
                let variants: Vec<_> =
                    profile.variant.iter().map(|it| json!({ "name": it.name, "title": it.title })).collect();
                json!({
                    "name": profile.name, "title": profile.title, "kind": profile.kind, "dialect": profile.dialect,
                    "network_only": profile.network_only, "variants": variants,
                })
            })
            .collect();
        return print(&json!(all).to_string());
    }
    let mut text = String::new();
    for profile in bundled() {
        let _ = writeln!(text, "{:<28}{}", profile.name, profile.title);
        for variant in &profile.variant {
            let _ = writeln!(text, "  {:<26}{}", format!("{}:{}", profile.name, variant.name), variant.title);
        }
    }
    print(text.trim_end());
}

fn check(name: &str, as_json: bool) -> Result<(), Failure> {
    let checked = load_profile(name, Path::new("."));
    if as_json {
        let problems: Vec<_> =
            checked.as_ref().err().map_or_else(Vec::new, |said| said.lines().map(str::to_owned).collect());
        print(&json!({ "profile": name, "valid": checked.is_ok(), "problems": problems }).to_string());
    }
    match checked {
        Ok(_) if as_json => Ok(()),
        Ok(profile) => {
            print(&format!("{name}: valid, {}.", profile.title));
            Ok(())
        }
        Err(said) => {
            if !as_json {
                for line in said.lines() {
                    eprintln!("{line}");
                }
            }
            Err(Failure::Told)
        }
    }
}

/// What a profile says, for people.
fn shown(profile: &Profile) -> String {
    let mut text = format!("{} ({})\n", profile.title, profile.name);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<16}{value}");
    };
    row("speaks", profile.dialect.clone() + if profile.network_only { ", over its own network only" } else { "" });
    if let Some(envelope) = profile.envelope_mm {
        let axis = |at: usize, name: &str| format!("{name} {} to {}", envelope.min[at], envelope.max[at]);
        let round = envelope.radius.map(|radius| format!(", round: {radius} from the middle")).unwrap_or_default();
        row("travels", format!("{}, {}, {} mm{round}", axis(0, "X"), axis(1, "Y"), axis(2, "Z")));
    }
    place_rows(profile, &mut row);
    if let Some(heat) = &profile.heat {
        let limit = |settable: f64, trip: Option<f64>| {
            let trip = trip.map(|trip| format!(" (shuts down at {trip})")).unwrap_or_default();
            format!("{settable} °C{trip}")
        };
        row("hot end", limit(heat.tool_max_c, heat.tool_trip_c));
        if let Some(most) = heat.bed_max_c {
            row("bed", limit(most, heat.bed_trip_c));
        }
        if let Some(most) = heat.chamber_max_c {
            row("chamber", limit(most, heat.chamber_trip_c));
        }
    }
    for tool in &profile.tools {
        let heater = tool.heater.map(|heater| format!(", hot end {heater}")).unwrap_or_default();
        let offset = tool.offset_mm.map(|[x, y, z]| format!(", offset X {x} Y {y} Z {z}")).unwrap_or_default();
        row(&format!("tool {}", tool.number), format!("{}{heater}{offset}", tool.name));
    }
    if let Some(spindle) = &profile.spindle {
        let meaning = match spindle.s_means {
            SMeans::Rpm => "S is its speed".to_owned(),
            SMeans::Share => format!("S is a share of full speed, S{}", spindle.s_max.unwrap_or_default()),
            SMeans::ByHand => "its speed is set by hand".to_owned(),
        };
        row("spindle", format!("{} to {} rpm, {meaning}", spindle.min_rpm, spindle.max_rpm));
    }
    if let Some(laser) = &profile.laser {
        let power = laser.power_w.map(|watts| format!(", {watts} W")).unwrap_or_default();
        row("laser", format!("S0 to S{}{power}", laser.s_max));
    }
    row("arcs", profile.motion.arcs.map_or("unknown", |arcs| if arcs { "yes" } else { "no" }).to_owned());
    row("safe end", profile.safety.safe_end.join(", "));
    let left_on: Vec<_> = profile.left_on().iter().map(Hazard::to_string).collect();
    if !left_on.is_empty() && profile.kind != Kind::Mill {
        row("stays on", left_on.join(", "));
    }
    for variant in &profile.variant {
        row("variant", format!("{}:{} ({})", profile.name, variant.name, variant.title));
    }
    text.trim_end().to_owned()
}

/// Where it prints, homes and must not go.
fn place_rows(profile: &Profile, row: &mut impl FnMut(&str, String)) {
    if let Some(bed) = profile.bed {
        if let Some(area) = bed.rectangle_mm {
            row("prints", format!("X {} to {}, Y {} to {} mm", area.min[0], area.max[0], area.min[1], area.max[1]));
        }
        if let Some(circle) = bed.circle_mm {
            row("prints", format!("within {} mm of X {} Y {}", circle.radius, circle.center[0], circle.center[1]));
        }
        if let Some(low) = bed.z_min_mm {
            row("", format!("from Z {low} mm"));
        }
        if let Some(high) = bed.z_max_mm {
            row("", format!("up to Z {high} mm"));
        }
    }
    for place in &profile.keep_out {
        let below = place.below_z_mm.map(|z| format!(" below Z {z}")).unwrap_or_default();
        let ([x, y], [to_x, to_y]) = (place.min_mm, place.max_mm);
        row("keeps out", format!("{}: X {x} to {to_x}, Y {y} to {to_y}{below}", place.name));
    }
    if let Some(ends) = profile.home.ends {
        let end = |end: HomeEnd| match end {
            HomeEnd::Min => "lowest",
            HomeEnd::Max => "highest",
            HomeEnd::Center => "in between",
            HomeEnd::None => "not at all",
        };
        row("homes", format!("X {}, Y {}, Z {}", end(ends[0]), end(ends[1]), end(ends[2])));
    }
    if profile.home.switches == Some(false) {
        row("", "no switches: its zero is where it was switched on".to_owned());
    }
}
