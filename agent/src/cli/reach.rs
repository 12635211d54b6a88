//! How commands reach a running agent: through its socket where there is one, as its owner, and else by its address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use drivers::Notice;
use serde_json::Value;

use super::{Failure, print};
use crate::client::{self, Client};
use crate::config::{self, Config};

/// Where the agent is, and what lets one in.
#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    /// Where the agent listens; without it, its socket is used where there is one
    #[arg(long, global = true, value_name = "ADDR")]
    agent: Option<SocketAddr>,
    /// The agent's socket (or FAB_AGENT_SOCKET); without it, the configuration says where it is
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "agent")]
    socket: Option<PathBuf>,
    /// The agent's configuration, which says where its socket is
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// File with a token (or FAB_AGENT_TOKEN_FILE): asks as its person, and not as the owner
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the agent's answer as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Reach {
    /// A client of that agent. A token that is named is shown: whoever names one asks as its person, and not as the owner.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let socket = || named("FAB_AGENT_SOCKET").filter(|_| self.agent.is_none());
        if let Some(path) = self.socket.clone().or_else(socket) {
            return Ok(Client::at_socket(path));
        }
        let token_file = self.token_file.clone().or_else(|| named("FAB_AGENT_TOKEN_FILE"));
        let token = token_file.as_deref().map(token).transpose()?;
        let configured = if self.agent.is_none() { Config::load(&self.config).ok() } else { None };
        if let Some(socket) = configured.as_ref().and_then(|config| config.http.socket.as_ref()) {
            if token.is_none() && may_use(socket) {
                return Ok(Client::at_socket(socket));
            }
        }
        let usual = configured.map_or_else(|| config::Http::default().listen, |config| config.http.listen);
        Ok(Client::new(self.agent.unwrap_or(usual).to_string(), token))
    }

    /// Says an answer in one's own words, or as it is.
    pub(super) fn say(&self, answer: &Value, words: impl FnOnce(&Value)) {
        if self.json { print(&answer.to_string()) } else { words(answer) }
    }
}

/// Whether this user can open the socket at all.
fn may_use(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

fn token(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::Usage(Notice::new(
            "job.token_unreadable",
            format!("The token file {} cannot be read: {error}.", file.display()),
            "Nothing was asked.",
            "Name the file that holds the token.",
        ))
    })?;
    Ok(text.trim().to_owned())
}

/// What the agent said no with.
pub(super) fn failed(failure: client::Failure) -> Failure {
    let help = match failure.code.as_str() {
        "http.unauthorized" | "http.forbidden" => " As root (`sudo`) the agent's socket is used, which needs no token.",
        _ => "",
    };
    Failure::Failed(Notice::new(failure.code, format!("{}{help}", failure.message), "", ""))
}

/// Text of the agent for a terminal: names of programs and people come from strangers and may hold escape codes.
pub(super) fn printable(text: &Value) -> String {
    text.as_str().unwrap_or_default().chars().filter(|character| !character.is_control()).collect()
}

/// What happened, what was done and what to do, with the code.
pub(super) fn reason(notice: &Value) -> String {
    let parts = ["happened", "done", "to_do"].map(|part| printable(&notice[part]));
    let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{} [{}]", said.join(" "), printable(&notice["code"]))
}
