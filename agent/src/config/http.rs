//! The HTTP server's part of the configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::file;
use super::toml_reader::Section;

/// The socket's name in the store's folder, where no other place is configured.
pub const SOCKET: &str = "agent.sock";

/// Users or names of the agent that can be configured at most.
pub(super) const NAMES_MAX: usize = 32;

/// Connections of one client that can be configured at most: the agent serves as many in all.
pub(super) const CONNECTIONS_PER_CLIENT_MAX: u64 = 1024;

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// File with the token that clients must show; absent only on loopback.
    pub token_file: Option<PathBuf>,
    /// Connections at once of one address, this computer's own too. Absent: 64 from the network, and no bound but that of
    /// all together from this computer, where a proxy is one client.
    pub connections_per_client: Option<usize>,
    /// What somebody may who shows no token.
    pub without_token: WithoutToken,
    /// The socket through which the owner asks; absent: there is none.
    pub socket: Option<PathBuf>,
    /// Users of the system who are the owner through the socket, besides root and the agent's own: names or numbers.
    pub socket_users: Vec<String>,
    /// Names under which browsers reach the agent, besides addresses, `localhost` and names of the local network.
    pub hosts: Vec<String>,
}

/// What somebody may who shows no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutToken {
    /// See the page and that the agent lives.
    Nothing,
    /// Read what the owner publishes of machines, and stop them.
    ReadAndStop,
    /// Everything, from this computer itself.
    Everything,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8484)),
            token_file: None,
            connections_per_client: None,
            without_token: WithoutToken::Everything,
            socket: None,
            socket_users: Vec::new(),
            hosts: Vec::new(),
        }
    }
}

/// Reads the section.
pub(super) fn read(section: &Section, folder: &Path) -> Http {
    let mut http = Http::default();
    if let Some((listen, span)) = section.text("listen") {
        match listen.parse() {
            Ok(address) => http.listen = address,
            Err(_) => section
                .problem(&span, format!("`{listen}` is no address with a port. Write 127.0.0.1:8484 or 0.0.0.0:8484.")),
        }
        http.token_file = file(section, "token_file", folder);
        http.without_token = without_token(section, http.token_file.is_some());
        if !http.listen.ip().is_loopback() && http.without_token == WithoutToken::Everything {
            section.problem(
                &span,
                "`http.listen` is open to the network, so `http.token_file` must name a file with a token, or \
                 `http.without_token` must be \"read_and_stop\"; nobody may control machines without a token.",
            );
        }
    } else {
        http.token_file = file(section, "token_file", folder);
        http.without_token = without_token(section, http.token_file.is_some());
    }
    http.socket = file(section, "socket", folder);
    http.socket_users = section.texts("socket_users", NAMES_MAX);
    http.hosts = section.texts("hosts", NAMES_MAX).into_iter().map(|host| host.to_ascii_lowercase()).collect();
    let connections = section.number("connections_per_client", 1..=CONNECTIONS_PER_CLIENT_MAX);
    http.connections_per_client = connections.map(|count| count as usize);
    section.finish();
    http
}

fn without_token(section: &Section, token: bool) -> WithoutToken {
    let usual = if token { WithoutToken::Nothing } else { WithoutToken::Everything };
    let Some((word, span)) = section.text("without_token") else { return usual };
    match word.as_str() {
        "nothing" => WithoutToken::Nothing,
        "read_and_stop" => WithoutToken::ReadAndStop,
        "everything" => WithoutToken::Everything,
        _ => {
            section.problem(&span, "Write \"nothing\", \"read_and_stop\" or \"everything\".");
            usual
        }
    }
}
