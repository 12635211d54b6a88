//! The serial line of a bus.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio_serial::{SerialPort as _, SerialStream};

/// Longest frame on a serial line.
const FRAME_BYTES_MAX: usize = 256;

/// A serial line that several conversations use one after the other.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<Mutex<Lent>>);

#[derive(Debug)]
struct Lent {
    stream: SerialStream,
    /// What was heard since the last question, as far as an answer can be long.
    heard: Vec<u8>,
}

impl Line {
    pub(super) fn new(stream: SerialStream) -> Self {
        Self(Arc::new(Mutex::new(Lent { stream, heard: Vec::new() })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Lent) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether anything was heard since the last question.
    pub(super) fn has_heard(&self) -> bool {
        self.with(|lent| !lent.heard.is_empty())
    }

    /// What was heard since the last question, as far as an answer can be long.
    pub(super) fn heard(&self) -> Vec<u8> {
        self.with(|lent| lent.heard.clone())
    }

    /// Throws away what has arrived.
    pub(super) fn clear(&self) {
        self.with(|lent| {
            lent.heard.clear();
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
            let room = FRAME_BYTES_MAX.saturating_sub(lent.heard.len());
            lent.heard.extend(buffer.filled()[before..].iter().take(room));
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
