//! Where clients come from: the network, or the agent's own socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::host::socket::OwnersSocket;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// An address of the network, or of this computer.
    Net(SocketAddr),
    /// A user of the system who may, at the agent's socket.
    Socket {
        /// The user's number.
        uid: u32,
    },
    /// A user of the system who may not use the agent's socket, and is told so.
    Stranger {
        /// The user's number.
        uid: u32,
    },
}

impl Peer {
    /// The client as it is counted among others.
    pub(super) fn client(self) -> IpAddr {
        match self {
            Self::Net(address) => address.ip().to_canonical(),
            Self::Socket { .. } => IpAddr::V4(Ipv4Addr::LOCALHOST),
            // Each user for themselves (RFC 6666: addresses that lead nowhere), so that they make room for each other.
            Self::Stranger { uid } => {
                let [high, low] = [uid >> 16, uid & 0xffff].map(|half| half as u16);
                IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, high, low))
            }
        }
    }

    /// How it is written in the log.
    pub(super) fn from(self) -> String {
        match self {
            Self::Net(address) => address.ip().to_canonical().to_string(),
            Self::Socket { uid } | Self::Stranger { uid } => format!("socket of user {uid}"),
        }
    }
}

/// A listener of either kind.
pub(super) enum Listener {
    Tcp(TcpListener),
    Socket(OwnersSocket),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl Listener {
    /// The next client.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::Net(from)))
            }
            Self::Socket(socket) => {
                let (stream, uid) = socket.accept().await?;
                let peer = if socket.admits(uid) { Peer::Socket { uid } } else { Peer::Stranger { uid } };
                Ok((Stream::Unix(stream), peer))
            }
        }
    }
}

/// A connection of either kind.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// An event must not wait for the next one, and a client whose network is gone must not stay. What the system does not
    /// know costs neither.
    pub(super) fn set(&self, stall: Duration) {
        if let Self::Tcp(stream) = self {
            let _ = stream.set_nodelay(true);
            let _ = set_tcp_user_timeout(stream, u32::try_from(stall.as_millis()).unwrap_or(u32::MAX));
        }
    }

    /// Writes what there is room for, without waiting.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
