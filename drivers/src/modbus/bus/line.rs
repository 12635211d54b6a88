//! The serial line of a bus.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio_serial::{SerialPort as _, SerialStream};

/// A serial line that several conversations use one after the other.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<Mutex<Lent>>);

#[derive(Debug)]
struct Lent {
    stream: SerialStream,
    /// Bytes heard since the last question.
    heard: usize,
}

impl Line {
    pub(super) fn new(stream: SerialStream) -> Self {
        Self(Arc::new(Mutex::new(Lent { stream, heard: 0 })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Lent) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn heard(&self) -> usize {
        self.with(|lent| lent.heard)
    }

    /// Throws away what has arrived.
    pub(super) fn clear(&self) {
        self.with(|lent| {
            lent.heard = 0;
            let _ = lent.stream.clear(serialport::ClearBuffer::Input);
        });
    }

    /// Listens until nothing has come: for the rest of a silence that has begun, or for a whole one after a byte.
    pub(super) async fn fall_silent(&mut self, rest: Duration, silence: Duration) {
        let mut thrown_away = [0_u8; 256];
        let mut wait = rest;
        while let Ok(Ok(count)) = tokio::time::timeout(wait, self.read(&mut thrown_away)).await {
            if count == 0 {
                return;
            }
            wait = silence;
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        self.with(|lent| {
            let read = Pin::new(&mut lent.stream).poll_read(context, buffer);
            lent.heard += buffer.filled().len() - before;
            read
        })
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|lent| Pin::new(&mut lent.stream).poll_write(context, bytes))
    }

    /// The serial library's own flush blocks the thread until the last bit is out; nothing here needs that.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
