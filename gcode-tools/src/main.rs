//! `gcode-tools`: reads programs, says what they do, checks them against a machine.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

mod command;

/// Reads any G-code program, says what it will do, and refuses what would break the machine.
///
/// Exit codes: 0 done or passed, 1 failed with a reason, 2 unreadable or wrong usage.
#[derive(Debug, Parser)]
#[command(name = "gcode-tools", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what a program will do: bounds, time, filament, layers, tools.
    Info {
        /// The program.
        file: PathBuf,
        /// The machine: the name of a bundled profile, or the path of a TOML file.
        #[arg(long)]
        profile: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// With --json: add `time_line`, pairs of line number and seconds.
        #[arg(long)]
        time_line: bool,
        /// The plate of a 3MF with several, counted from 1.
        #[arg(long, value_name = "N")]
        plate: Option<u32>,
    },
    /// Checks a program against a machine. Exits 0 if it passes, 1 if it fails, 2 if it cannot be read.
    Check {
        /// The program.
        file: PathBuf,
        /// The machine: the name of a bundled profile, or the path of a TOML file.
        #[arg(long)]
        profile: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// Tell of every line, and not of each cause once.
        #[arg(long)]
        all: bool,
        /// The plate of a 3MF with several, counted from 1.
        #[arg(long, value_name = "N")]
        plate: Option<u32>,
    },
    /// Writes a program in another wrapping (plain text, gzip, bgcode), and with arcs. Exits 0 if OUT is there and whole, else 2.
    Convert(command::convert::Arguments),
    /// Prints the JSON Schema of what `info --json` or `check --json` prints.
    Schema {
        /// Of which command.
        #[arg(value_enum)]
        of: command::Printed,
    },
    /// Draws what a program does: is it the right part, where does it lie, does it fit?
    Preview(command::preview::Arguments),
}

fn main() -> ExitCode {
    let code = match Arguments::parse().command {
        Command::Info { file, profile, json, time_line, plate } => {
            command::info(&file, profile.as_deref(), json, time_line, plate)
        }
        Command::Check { file, profile, json, all, plate } => command::check(&file, &profile, json, all, plate),
        Command::Schema { of } => command::schema(of),
        Command::Convert(arguments) => command::convert::convert(&arguments),
        Command::Preview(arguments) => command::preview::preview(&arguments),
    };
    ExitCode::from(code)
}
