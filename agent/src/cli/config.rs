//! `fab-agent config`: says every mistake of a configuration at once, or prints its schema.

use std::path::{Path, PathBuf};

use drivers::Notice;
use drivers::modbus::plan;
use drivers::profile::Profile;
use serde_json::json;

use super::{Failure, print};
use crate::config::{self, Config};

/// What is to be done with a configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says every mistake at once, with its line
    Check {
        /// The configuration
        #[arg(default_value = config::DEFAULT_PATH)]
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints the JSON Schema
    Schema,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Check { file, json } = &arguments.command else {
        print(&format!("{:#}", config::schema()));
        return Ok(());
    };
    let checked = Config::load(file);
    let idle = checked.as_ref().is_ok_and(|config| config.machines.is_empty());
    if *json {
        let problems = checked.as_ref().err().cloned().unwrap_or_default();
        print(&json!({ "file": file, "valid": checked.is_ok() && !idle, "machines": checked.as_ref().map_or(0, |config| config.machines.len()), "problems": problems }).to_string());
    }
    match checked {
        Ok(_) if idle => Err(Failure::Usage(no_machines(file))),
        Ok(config) => {
            if !json {
                print(&format!("{}: valid, {} machines.", file.display(), config.machines.len()));
                for machine in &config.machines {
                    print_plan(&machine.name, &machine.profile);
                }
            }
            Ok(())
        }
        Err(problems) => {
            if !json {
                for problem in &problems {
                    eprintln!("{}: {problem}", file.display());
                }
            }
            Err(Failure::Usage(invalid(file, problems.len())))
        }
    }
}

/// Says which registers of a machine and of the devices beside it are read together, and how often.
fn print_plan(machine: &str, profile: &Profile) {
    let own = profile.modbus.iter().map(|modbus| (machine.to_owned(), modbus));
    let beside = profile.auxiliary.iter().map(|device| (format!("{machine}/{}", device.name), &device.modbus));
    for (name, modbus) in own.chain(beside) {
        for read in plan(modbus) {
            let points: Vec<_> = read.points.iter().map(|at| modbus.points[*at].name.as_str()).collect();
            let (table, last) = (read.table.word(), read.address + (read.count - 1));
            print(&format!(
                "  {name}: {table} {} to {last} every {} ms: {}",
                read.address,
                read.poll_ms,
                points.join(", ")
            ));
        }
    }
}

/// The notice for a configuration without mistakes that names nothing to serve.
pub(super) fn no_machines(file: &Path) -> Notice {
    Notice::new(
        "config.no_machines",
        format!("The configuration {} names no machine.", file.display()),
        "Nothing was started.",
        "Add a [[machine]] section; `fab-agent ports` lists the ports.",
    )
}

/// The notice that sums a wrong configuration up.
pub(super) fn invalid(file: &Path, mistakes: usize) -> Notice {
    Notice::new(
        "config.invalid",
        format!("The configuration {} has {mistakes} mistake{}.", file.display(), if mistakes == 1 { "" } else { "s" }),
        "Nothing was started.",
        "Correct the lines named above; config/agent.toml shows every setting.",
    )
}
