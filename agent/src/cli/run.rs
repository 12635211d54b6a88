//! `fab-agent run`: the daemon.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::{Failure, asked_to_end, complain};
use crate::config::{self, Config};
use crate::{Agent, supervisor};

/// What the daemon needs to know.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration
    #[arg(long, default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    // Colours are for people at a terminal: a file or the journal would keep them as noise.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        // What cannot be written to a terminal that was closed is no fault: telling it there would panic.
        .log_internal_errors(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    let config = Config::load(&arguments.config).map_err(|problems| {
        for problem in &problems {
            complain(&format!("{}: {problem}", arguments.config.display()));
        }
        Failure::Usage(super::config::invalid(&arguments.config, problems.len()))
    })?;
    let machines = config.machines.len();
    if machines == 0 {
        return Err(Failure::Usage(super::config::no_machines(&arguments.config)));
    }
    // From before it says that it serves, so that whoever reads that can end it.
    let ended = asked_to_end();
    let agent = Agent::start(config).await?;
    let serving = format!("serving {machines} machines, page on http://{}", agent.address());
    tracing::info!("{serving}");
    if let Some(code) = agent.claim().filter(|_| std::io::stderr().is_terminal()) {
        complain(&format!("claim code, good once, for the first admin: {code}"));
    }
    supervisor::ready(&serving);
    let broken = tokio::select! {
        () = ended => None,
        notice = agent.broken() => Some(notice),
        // Returns only where no watchdog wants to know.
        () = async { supervisor::stay_alive(agent.desk()).await; std::future::pending().await } => None,
    };
    supervisor::stopping();
    tracing::info!("ending: running jobs are ended and their machines made safe");
    agent.stop().await;
    // Whoever supervises it starts another.
    broken.map_or(Ok(()), |notice| Err(notice.into()))
}
