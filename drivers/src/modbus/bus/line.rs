//! The serial line of a bus.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio_serial::{SerialPort as _, SerialStream};

use super::super::address::Rs485;
use super::echo::Echo;

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
    /// What was heard and is not taken yet.
    ready: VecDeque<u8>,
    echo: Echo,
    rs485: Option<Rs485>,
}

impl Line {
    /// # Errors
    /// The adapter is to be told when it sends, and the port has no RTS.
    pub(super) fn new(stream: SerialStream, rs485: Option<Rs485>) -> io::Result<Self> {
        let mut lent = Lent { stream, heard: Vec::new(), ready: VecDeque::new(), echo: Echo::default(), rs485 };
        lent.sends(false)?;
        Ok(Self(Arc::new(Mutex::new(lent))))
    }

    /// Throws away what has arrived, and remembers what is said from here on, because it may come back.
    pub(super) fn begin(&self, reads: bool) {
        self.clear();
        self.with(|lent| lent.echo.begin(reads));
    }

    /// Whether the adapter brings back what is sent, if that is known.
    pub(super) fn echoes(&self) -> Option<bool> {
        self.with(|lent| lent.echo.known())
    }

    /// The question had a right answer, or nothing at all was heard.
    pub(super) fn settled(&self) {
        self.with(|lent| lent.echo.settled());
    }

    fn with<T>(&self, act: impl FnOnce(&mut Lent) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether anything was heard since the last question.
    pub(super) fn has_heard(&self) -> bool {
        self.with(|lent| !lent.heard.is_empty() || !lent.echo.held().is_empty())
    }

    /// What was heard since the last question, as far as an answer can be long.
    pub(super) fn heard(&self) -> Vec<u8> {
        self.with(|lent| [lent.echo.held(), &lent.heard].concat())
    }

    /// Throws away what has arrived.
    pub(super) fn clear(&self) {
        self.with(|lent| {
            lent.heard.clear();
            lent.ready.clear();
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

impl Lent {
    /// Tells an adapter that knows no better whether it is to send.
    fn sends(&mut self, sends: bool) -> io::Result<()> {
        let Some(rs485) = self.rs485 else { return Ok(()) };
        let no_rts = |error| io::Error::other(format!("the adapter's direction cannot be switched by RTS: {error}"));
        self.stream.write_request_to_send(sends == (rs485 == Rs485::Rts)).map_err(no_rts)
    }

    fn poll_heard(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.ready.is_empty() {
            let mut read = [0_u8; FRAME_BYTES_MAX];
            let mut read = ReadBuf::new(&mut read);
            match Pin::new(&mut self.stream).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {
                    let mut heard = Vec::with_capacity(read.filled().len());
                    self.echo.hear(read.filled(), &mut heard);
                    let room = FRAME_BYTES_MAX.saturating_sub(self.heard.len());
                    self.heard.extend(heard.iter().take(room));
                    self.ready.extend(heard);
                }
                other => return other,
            }
        }
        let count = self.ready.len().min(buffer.remaining());
        for byte in self.ready.drain(..count) {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|lent| lent.poll_heard(context, buffer))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|lent| {
            lent.sends(true)?;
            let wrote = Pin::new(&mut lent.stream).poll_write(context, bytes);
            if let Poll::Ready(Ok(count)) = wrote {
                lent.echo.said(&bytes[..count]);
            }
            wrote
        })
    }

    /// The serial library's own flush blocks the thread until the last bit is out. That is needed where the adapter must
    /// then be told to listen, and takes what a frame takes; elsewhere nothing needs it.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|lent| {
            if lent.rs485.is_some() {
                io::Write::flush(&mut lent.stream)?;
                lent.sends(false)?;
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
