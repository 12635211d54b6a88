//! The command line: one file a command.

mod config;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod job;
mod machine;
mod member;
mod modbus;
mod ports;
mod profile;
mod reach;
mod replay;
mod run;
mod send;
mod signals;
mod simulate;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use drivers::Notice;

use self::signals::{EndSignals, asked_to_end};

/// Attaches a 3D printer, CNC mill or laser cutter to the network.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: serves every machine of the configuration
    Run(run::Arguments),
    /// Sends one program to one machine and waits until it is executed
    Send(send::Arguments),
    /// Lists serial ports with names that stay
    Ports(ports::Arguments),
    /// A simulated machine on a pseudo-terminal or TCP port
    Simulate(simulate::Arguments),
    /// Reads, writes and looks for Modbus registers by hand
    Modbus(modbus::Arguments),
    /// A simulated printer, mill and laser with a real job each, a broker and the page
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    /// Says why it might not work: ports, machines, supply, clock, disk, broker
    Doctor(doctor::Arguments),
    /// Runs a recording of trouble again and says where it differs
    Replay(replay::Arguments),
    /// Submits, lists, starts, holds and ends jobs of a running agent
    Job(job::Arguments),
    /// Says what the machines of a running agent do
    Status(machine::Status),
    /// Emergency stop of a machine of a running agent
    Stop(machine::Machine),
    /// Says that the alarm was looked at, or that the table is clear
    Clear(machine::Machine),
    /// Adds, lists, changes and removes people of a running agent
    Member(member::Arguments),
    /// Makes, lists and revokes tokens of a running agent
    Token(token::Arguments),
    /// Lists, shows and checks machine profiles
    Profile(profile::Arguments),
    /// Checks a configuration, or prints its schema
    Config(config::Arguments),
}

/// Why a command ended badly.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Refused or failed, with a reason: exit code 1.
    Failed(Notice),
    /// Used or configured wrongly: exit code 2.
    Usage(Notice),
    /// Refused or failed, and told already: exit code 1.
    Told,
}

impl From<Notice> for Failure {
    fn from(notice: Notice) -> Self {
        Self::Failed(notice)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| {
            drivers::priority::ask(drivers::priority::NETWORK);
        })
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("The program could not start: {error}. Free memory and try again. [agent.no_runtime]"));
            return ExitCode::from(1);
        }
    };
    let done = runtime.block_on(async {
        match command {
            Command::Run(arguments) => run::run(arguments).await,
            Command::Send(arguments) => Box::pin(send::run(arguments)).await,
            Command::Ports(arguments) => ports::run(arguments).await,
            Command::Simulate(arguments) => simulate::run(arguments).await,
            Command::Modbus(arguments) => modbus::run(arguments).await,
            #[cfg(feature = "demo")]
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Doctor(arguments) => doctor::run(arguments).await,
            Command::Replay(arguments) => replay::run(&arguments),
            Command::Job(arguments) => job::run(arguments).await,
            Command::Status(arguments) => machine::status(arguments).await,
            Command::Stop(arguments) => machine::stop(arguments).await,
            Command::Clear(arguments) => machine::clear(arguments).await,
            Command::Member(arguments) => member::run(arguments).await,
            Command::Token(arguments) => token::run(arguments).await,
            Command::Profile(arguments) => profile::run(&arguments),
            Command::Config(arguments) => config::run(&arguments),
        }
    });
    // Threads that still read a file or a port must not keep the process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::from(1),
        Err(Failure::Failed(notice)) => {
            complain(&notice);
            ExitCode::from(1)
        }
        Err(Failure::Usage(notice)) => {
            complain(&notice);
            ExitCode::from(2)
        }
    }
}

/// Writes a line to standard output; a reader that is gone is no error.
pub(crate) fn print(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Writes a line to standard error. A terminal that was closed takes nothing, and that is no reason to leave a machine
/// alone: `eprintln!` would panic.
pub(crate) fn complain(line: &dyn std::fmt::Display) {
    use std::io::Write as _;
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{line}");
}
