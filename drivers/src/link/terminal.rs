//! An open serial port that wakes its reader once for what the machine said, and for nothing else.
//!
//! `tokio-serial` asks for two events of a port, *something to read* and *room to write*, and reads on until the port
//! says that there is nothing left. A machine that answers line by line then costs two reads and up to two wake-ups
//! for each line (measured with `benches/streaming`: half as many context switches again as a bare loop has). So the
//! port is read as what it is to the kernel, a pipe, and room to write is asked for only when there is none.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use serialport::TTYPort;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

/// An open serial port.
pub(super) struct Terminal {
    /// Bytes in both directions; only what there is to read wakes.
    bytes: pipe::Receiver,
    /// Present while the kernel had no room for what was written.
    full: Option<pipe::Sender>,
    /// Settings, modem lines and the lock.
    port: TTYPort,
}

impl Terminal {
    /// An open port, and the same port opened without blocking for its bytes, in the runtime it is called in.
    pub(super) fn new(port: TTYPort, bytes: File) -> io::Result<Self> {
        Ok(Self { bytes: pipe::Receiver::from_file_unchecked(bytes)?, full: None, port })
    }

    /// Settings and modem lines.
    pub(super) fn port(&mut self) -> &mut TTYPort {
        &mut self.port
    }

    /// Whatever wakes when there is room again.
    fn room(&self) -> io::Result<pipe::Sender> {
        pipe::Sender::from_file_unchecked(File::from(self.bytes.as_fd().try_clone_to_owned()?))
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().bytes).poll_read(context, into)
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let full = match &mut this.full {
            Some(full) => full,
            None => match rustix::io::write(&this.bytes, bytes) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::AGAIN | Errno::INTR) => {
                    let room = this.room()?;
                    this.full.insert(room)
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            },
        };
        let written = ready!(Pin::new(full).poll_write(context, bytes));
        this.full = None;
        Poll::Ready(written)
    }

    /// What was written is the kernel's; waiting for its last bit would hold up a stop.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
