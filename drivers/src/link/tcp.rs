//! The TCP link: `tcp://host:port`, for machines with a network and for serial servers.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::{Address, Link, Opened, Opening, refused};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The TCP link.
pub(super) struct Tcp;

impl Link for Tcp {
    fn serves(&self, port: &str) -> bool {
        port.starts_with("tcp://")
    }

    fn open<'a>(&'a self, address: &'a Address) -> Opening<'a> {
        Box::pin(async move {
            let host = address.port.trim_start_matches("tcp://");
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(host)).await;
            let stream = connected
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
                .map_err(|error| refused(&address.port, &error))?;
            // A line of G-code is far smaller than a packet and must not wait for one to fill.
            stream.set_nodelay(true).map_err(|error| refused(&address.port, &error))?;
            Ok(Opened { wire: Box::new(stream), may_reset: false })
        })
    }
}
