//! What passes between a connection and its client, with an end to every wait for the client.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::crowd::{Guest, slept_through};
use super::stream::Stream;

/// A connection that ends when its client takes nothing of what is written to it.
pub(super) struct Wire {
    stream: Stream,
    guest: Arc<Guest>,
    /// When a write that waits is given up.
    until: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Wire {
    pub(super) fn new(stream: Stream, guest: Arc<Guest>) -> Self {
        Self { stream, guest, until: None, alarm: Box::pin(sleep_until(Instant::now())) }
    }

    /// Says something without waiting, if there is room for it.
    pub(super) fn say(&self, bytes: &[u8]) {
        let _ = self.stream.try_write(bytes);
    }

    fn within<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.until = None;
            return polled;
        }
        loop {
            let until = *self.until.get_or_insert_with(|| Instant::now() + self.guest.limits.stall);
            if self.alarm.deadline() != until {
                self.alarm.as_mut().reset(until);
            }
            ready!(self.alarm.as_mut().poll(context));
            if !slept_through(until) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.until = None;
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.guest.speaks();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.within(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The body of a request. Only what the client takes is counted: while the agent itself is slow, no time passes.
pub(super) struct Asked {
    body: Incoming,
    guest: Arc<Guest>,
    /// What it may still be late by.
    late: Duration,
    waits_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Asked {
    pub(super) fn new(body: Incoming, guest: Arc<Guest>) -> Self {
        let late = guest.limits.late;
        Self { body, guest, late, waits_since: None, alarm: None }
    }

    fn hears(&mut self, bytes: usize) {
        let limits = &self.guest.limits;
        let waited = self.waits_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let brought = Duration::from_millis((bytes as u64).saturating_mul(1000) / limits.bytes_per_s.max(1));
        self.late = self.late.saturating_sub(waited).saturating_add(brought).min(limits.late);
    }

    fn waits(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let since = *self.waits_since.get_or_insert_with(Instant::now);
            let until = since + self.late.min(self.guest.limits.pause);
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if alarm.deadline() != until {
                alarm.as_mut().reset(until);
            }
            ready!(alarm.as_mut().poll(context));
            if !slept_through(until) {
                return Poll::Ready(());
            }
            self.waits_since = None;
        }
    }
}

impl hyper::body::Body for Asked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let bytes = frame.iter().flatten().filter_map(Frame::data_ref).map(Bytes::len).sum();
            self.hears(bytes);
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        ready!(self.waits(context));
        self.guest.is_too_slow();
        Poll::Ready(Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer: when it is over, its connection waits for the next request.
pub(super) struct Answered {
    body: Body,
    guest: Arc<Guest>,
}

impl Answered {
    pub(super) fn new(body: Body, guest: Arc<Guest>) -> Self {
        Self { body, guest }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.guest.is_answered();
    }
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
