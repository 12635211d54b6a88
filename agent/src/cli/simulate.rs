//! `fab-agent simulate`: a simulated machine on a port, and what it executed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drivers::Notice;
use drivers::profile::Hazard;
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Dynamics, Faults, LineSpeed};

use super::{Failure, asked_to_end, complain, print};
use crate::config::load_profile;

/// What the machine is like.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What it speaks: marlin, grbl, another dialect, or modbus (unit 1 a mailbox machine, 2 a drive, 3 a
    /// meter, 4 a controller of program files, 5 on a serial line a Huanyang drive)
    dialect: String,
    /// Put it on a pseudo-terminal, with a symbolic link to it here
    #[arg(long, conflicts_with = "tcp")]
    pty: Option<PathBuf>,
    /// Put it on a TCP port
    #[arg(long)]
    tcp: Option<SocketAddr>,
    /// Model a line of this many bits per second; without it, bytes take no time
    #[arg(long, default_value_t = 0)]
    baud: u32,
    /// Model this latency each way, in milliseconds
    #[arg(long, default_value_t = 0.0)]
    latency_ms: f64,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Something that goes wrong, such as flip=1e-4, line-lost=0.01, resend-permille=20, silent-after=100,
    /// refuse-line=20, wait=1 (a printer says `wait` when it is idle), temperatures-ms=1000 (it tells them unasked),
    /// nonsense-position=1, position-behind-ok=1, keepalive=0, emergency-parser=0, must-home=1, extrudes-above=170,
    /// says=G29:Error:Probing Failed, chatter-permille=20, complaints-permille=2, error-sticks=0 (grblHAL), tool-macro-s=20, receive-buffer=64, claimed-buffer=1024; of a Modbus answer answer-lost=0.01, answer-doubled, answer-late; may be given
    /// several times
    #[arg(long = "fault")]
    faults: Vec<String>,
    /// Give it the inertia of this machine, a bundled profile's name or a TOML file: its highest feeds, its
    /// accelerations, its corners, its queue and its laser mode; without it, moves have their feed at once
    #[arg(long)]
    profile: Option<String>,
    /// Where the zero of programs is on a Grbl (its G54), in machine coordinates: -200,-100,-20
    #[arg(long, allow_hyphen_values = true)]
    work_offset: Option<String>,
    /// A setting of a Grbl, such as 22=1 for one that homes or 13=1 for reports in inches; may be given several times
    #[arg(long = "setting")]
    settings: Vec<String>,
    /// How many times faster than real it moves and heats; 0: motion takes no time
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Print what it executed as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (setup, between) = setup(&arguments)?;
    let modbus = arguments.dialect == "modbus";
    let dialect = match (arguments.dialect.as_str(), arguments.tcp) {
        ("modbus", Some(_)) => "modbus-tcp",
        ("modbus", None) => "modbus-rtu",
        (dialect, _) => dialect,
    };
    let machine = sim::simulated(dialect, &setup).ok_or_else(|| {
        let known = sim::dialects().collect::<Vec<_>>().join(", ");
        usage(format!("There is no simulated machine that speaks `{}`; known are {known}.", arguments.dialect))
    })?;
    let port = match arguments.tcp {
        Some(listen) if modbus => Port::on_shared_tcp(machine, between, listen),
        Some(listen) => Port::on_tcp(machine, between, listen),
        None => Port::on_pty(machine, between, arguments.pty.as_deref()),
    };
    let port = port.map_err(|error| {
        let place = arguments.tcp.map_or_else(
            || arguments.pty.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            |listen| listen.to_string(),
        );
        Notice::new(
            "simulate.no_port",
            format!("The simulated machine could not be put on a port at {place}: {error}."),
            "Nothing is simulated.",
            "Choose a path where nothing stands yet, or a free TCP port.",
        )
    })?;
    let shown = arguments.pty.as_ref().map_or_else(|| port.address().to_owned(), |link| link.display().to_string());
    let shown = match arguments.tcp {
        _ if !modbus => shown,
        Some(_) => shown.replace("tcp://", "modbus-tcp://"),
        None => format!("modbus-rtu:{shown}"),
    };
    let ended = asked_to_end();
    complain(&format!("A simulated {} is on {shown}. Ctrl-C ends it.", arguments.dialect));
    ended.await;
    let Some(report) = port.report() else { return Ok(()) };
    if arguments.json {
        print(&serde_json::to_string(&report).unwrap_or_default());
    } else {
        print(&format!(
            "executed {} commands, {} bytes received, {} resends, {} checksum errors, {} refused, {} ignored, \
             {} underruns, {} bytes overflowed",
            report.executed,
            report.bytes,
            report.resends,
            report.checksum_errors,
            report.refused,
            report.ignored,
            report.underruns,
            report.overflow
        ));
        if report.misread > 0 {
            print(&format!("{} commands were read as other numbers than are written in them", report.misread));
        }
        for violation in &report.violations {
            print(violation);
        }
    }
    if report.violations.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

fn setup(arguments: &Arguments) -> Result<(sim::Setup, Between), Failure> {
    let speed = if arguments.speed == 0.0 { f64::INFINITY } else { arguments.speed };
    if speed.is_nan() || speed < 0.0 || !(0.0..=10_000.0).contains(&arguments.latency_ms) {
        return Err(usage("The speed must be 0 or more, and the latency from 0 to 10000 ms.".to_owned()));
    }
    let mut setup = sim::Setup { speed, keep_lines: arguments.json, seed: arguments.seed, ..sim::Setup::default() };
    if let Some(name) = &arguments.profile {
        let profile = load_profile(name, Path::new(".")).map_err(usage)?;
        setup.dynamics = Some(Dynamics::of(&profile));
        // Grbl keeps one block of its ring free. Rapids are as fast as the axes are, which are all slower than this.
        let blocks = profile.motion.planner_blocks as usize + usize::from(profile.dialect == "grbl");
        (setup.planner_blocks, setup.rapid_mm_min) = (blocks.clamp(2, 1024), 1e6);
        let hot_end = |hazard: &Hazard| matches!(hazard, Hazard::HotEnd { .. });
        setup.hot_ends = profile.hazards().iter().filter(|hazard| hot_end(hazard)).count().max(1);
        setup.laser_mode = profile.laser.as_ref().and_then(|laser| laser.laser_mode).unwrap_or(setup.laser_mode);
    }
    if let Some(text) = &arguments.work_offset {
        let numbers: Vec<f64> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        setup.work_offset_mm = <[f64; 3]>::try_from(numbers)
            .map_err(|_| usage(format!("`{text}` is no offset: write three numbers, such as -200,-100,-20.")))?;
    }
    for setting in &arguments.settings {
        let parsed = setting.trim_start_matches('$').split_once('=');
        let parsed = parsed.and_then(|(key, value)| Some((key.parse().ok()?, value.parse().ok()?)));
        setup.settings.push(parsed.ok_or_else(|| usage(format!("`{setting}` is no setting such as 22=1.")))?);
    }
    let mut faults = Faults::default();
    for fault in &arguments.faults {
        let (name, value) = fault.split_once('=').unwrap_or((fault, ""));
        let count = value.parse::<u64>();
        match (name, count) {
            ("resend-permille", Ok(count)) => setup.resend_permille = count.min(1000) as u32,
            ("silent-after", Ok(count)) => setup.silent_after = Some(count),
            ("refuse-line", Ok(count)) => setup.refuse_line = Some(count),
            ("claimed-buffer", Ok(count)) => setup.claimed_buffer_bytes = Some(count.clamp(16, 1 << 20) as usize),
            ("receive-buffer", Ok(count)) => setup.receive_buffer_bytes = count.clamp(16, 1 << 20) as usize,
            ("planner-blocks", Ok(count)) => setup.planner_blocks = count.clamp(2, 1024) as usize,
            ("wait", Ok(count)) => setup.says_wait = count > 0,
            ("temperatures-ms", Ok(count)) => setup.temperatures_every_ms = count.min(60_000),
            ("nonsense-position", Ok(count)) => setup.nonsense_position = count > 0,
            ("position-behind-ok", Ok(count)) => setup.position_behind_ok = count > 0,
            ("keepalive", Ok(count)) => setup.host_keepalive = count > 0,
            ("tool-macro-s", Ok(count)) => setup.tool_macro_s = count.min(3_600) as f64,
            ("advanced-ok", Ok(count)) => setup.advanced_ok = count > 0,
            ("emergency-parser", Ok(count)) => setup.emergency_parser = count > 0,
            ("chatter-permille", Ok(count)) => setup.chatter_permille = count.min(1000) as u32,
            ("complaints-permille", Ok(count)) => setup.complaints_permille = count.min(1000) as u32,
            ("must-home", Ok(count)) => setup.must_home = count > 0,
            ("error-sticks", Ok(count)) => setup.error_sticks = count > 0,
            ("extrudes-above", Ok(degrees)) => setup.extrudes_above_c = Some(degrees.min(1000) as f64),
            ("says", _) => setup.says.push(said(fault, value)?),
            ("answer-lost", _) => setup.answers.lost = probability(fault, value)?,
            ("answer-doubled", _) => setup.answers.doubled = probability(fault, value)?,
            ("answer-late", _) => setup.answers.late = probability(fault, value)?,
            _ => faults.set(fault).map_err(usage)?,
        }
    }
    let latency = Duration::from_secs_f64(arguments.latency_ms / 1000.0);
    let between = Between {
        speed: LineSpeed { baud: arguments.baud, latency },
        faults,
        seed: arguments.seed,
        machine_baud: None,
    };
    Ok((setup, between))
}

/// `G29:Error:Probing Failed`: what is said in front of the answer to a command that begins so.
fn said(fault: &str, value: &str) -> Result<(String, String), Failure> {
    let known = value.split_once(':').filter(|(start, text)| !start.is_empty() && !text.is_empty());
    let (start, text) = known.ok_or_else(|| {
        usage(format!("`{fault}` needs a command and a text, such as says=G29:Error:Probing Failed."))
    })?;
    Ok((start.replace(' ', ""), text.to_owned()))
}

fn probability(fault: &str, value: &str) -> Result<f64, Failure> {
    let known = value.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    known.ok_or_else(|| usage(format!("`{fault}` needs a probability from 0 to 1.")))
}

fn usage(happened: String) -> Failure {
    Failure::Usage(Notice::new("simulate.usage", happened, "Nothing is simulated.", "See `fab-agent simulate --help`."))
}

#[cfg(test)]
mod test {
    use clap::Parser;
    use drivers::profile::Profile;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn simulated(line: &str) -> Result<sim::Setup, Failure> {
        let line = Line::parse_from(["simulate"].into_iter().chain(line.split(' ')));
        setup(&line.arguments).map(|(setup, _)| setup)
    }

    #[test]
    fn a_named_profile_gives_the_simulated_machine_its_inertia() {
        let laser = Profile::named("grbl-laser-400").unwrap();
        let setup = simulated("grbl --profile grbl-laser-400").unwrap();
        assert_eq!(setup.dynamics, Some(Dynamics::of(&laser)));
        assert_eq!(setup.planner_blocks, laser.motion.planner_blocks as usize + 1);
        assert_eq!(simulated("grbl").unwrap().dynamics, None);
        assert!(matches!(simulated("grbl --profile no-such-machine"), Err(Failure::Usage(_))));
    }
}
