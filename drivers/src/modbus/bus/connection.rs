//! A TCP connection on which several questions may be at once.
//!
//! The library's client asks one question and waits for its answer. Here several clients have a *lane* each of one
//! connection: what they ask together is written together, and an answer goes to the lane whose transaction it names.
//! Each client counts its transactions for itself, so on the wire they have numbers of the connection's own. An answer
//! to nothing that is being asked is a late or a doubled one, and is thrown away.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use gcode_tools::profile::modbus::UNIT_NONE;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes in front of a frame's unit: transaction, protocol and length (Modbus Messaging on TCP/IP 1.0b, 3.1.3).
const HEADER_BYTES: usize = 6;

/// Longest rest of a frame: unit and 253 bytes.
const REST_BYTES_MAX: usize = 254;

/// Bytes read at once: more than the answers to all that is asked together.
const READ_BYTES: usize = 2048;

/// A connection that several lanes share.
#[derive(Debug, Clone)]
pub(super) struct Connection(Arc<Mutex<Shared>>);

/// One client's share of a connection.
#[derive(Debug)]
pub(super) struct Lane {
    connection: Connection,
    number: usize,
}

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    /// Frames that are to be written, and how many more are waited for, to be written with them.
    out: Vec<u8>,
    awaited: usize,
    transaction: u16,
    asked: Vec<Asked>,
    /// Bytes heard since the last question; of which the end is the beginning of a frame.
    heard: usize,
    partial: Vec<u8>,
    lanes: Vec<Heard>,
}

/// A question on its way.
#[derive(Debug)]
struct Asked {
    transaction: [u8; 2],
    lane: usize,
    /// The number it has with the lane's client.
    own: [u8; 2],
    /// The unit that was asked.
    unit: u8,
}

/// What has arrived for a lane, and who waits for it.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    waits: Option<Waker>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            stream,
            out: Vec::new(),
            awaited: 0,
            transaction: 0,
            asked: Vec::new(),
            heard: 0,
            partial: Vec::new(),
            lanes: Vec::new(),
        })))
    }

    /// Another lane.
    pub(super) fn lane(&self) -> Lane {
        let number = self.with(|shared| {
            shared.lanes.push(Heard::default());
            shared.lanes.len() - 1
        });
        Lane { connection: self.clone(), number }
    }

    /// So many questions are asked now: they are written when the last of them is there.
    pub(super) fn await_questions(&self, count: usize) {
        self.with(|shared| (shared.awaited, shared.heard) = (count, 0));
    }

    /// Bytes heard since the last question.
    pub(super) fn heard(&self) -> usize {
        self.with(|shared| shared.heard)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Shared) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// Takes a client's frame, under a number of the connection's.
    fn put(&mut self, lane: usize, frame: &[u8]) {
        let Some((own, rest)) = frame.split_first_chunk() else { return };
        self.transaction = self.transaction.wrapping_add(1);
        let transaction = self.transaction.to_be_bytes();
        // A lane asks one question at a time: what it asked before has no answer any more.
        self.asked.retain(|asked| asked.lane != lane);
        let unit = frame.get(HEADER_BYTES).copied().unwrap_or(UNIT_NONE);
        self.asked.push(Asked { transaction, lane, own: *own, unit });
        self.out.extend_from_slice(&transaction);
        self.out.extend_from_slice(rest);
        self.awaited = self.awaited.saturating_sub(1);
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.awaited == 0 && !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.out) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => drop(self.out.drain(..count)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Hands every whole frame to the lane that asked for it.
    fn sort(&mut self) -> io::Result<()> {
        while let Some(header) = self.partial.first_chunk::<HEADER_BYTES>() {
            let [high, low, protocol @ .., length_high, length_low] = *header;
            let rest = usize::from(u16::from_be_bytes([length_high, length_low]));
            if protocol != [0, 0] || !(2..=REST_BYTES_MAX).contains(&rest) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "what came is no Modbus frame"));
            }
            let length = HEADER_BYTES + rest;
            let Some(frame) = self.partial.get(..length) else { break };
            if let Some(at) = self.asked.iter().position(|asked| asked.transaction == [high, low]) {
                let Asked { lane, own, unit, .. } = self.asked.swap_remove(at);
                let heard = &mut self.lanes[lane];
                heard.bytes.extend_from_slice(&own);
                heard.bytes.extend_from_slice(&frame[own.len()..HEADER_BYTES]);
                // The transaction says whose answer it is. A server that is no gateway may put 0 or 255 there, which mean
                // nothing, or its own unit where it was asked as one of those.
                let means_nothing = |unit: u8| matches!(unit, 0 | UNIT_NONE);
                let said = frame[HEADER_BYTES];
                heard.bytes.push(if means_nothing(said) || means_nothing(unit) { unit } else { said });
                heard.bytes.extend_from_slice(&frame[HEADER_BYTES + 1..]);
                heard.waits.take().into_iter().for_each(Waker::wake);
            }
            self.partial.drain(..length);
        }
        Ok(())
    }

    fn closed(&self) -> io::Error {
        let happened = match self.partial.len() {
            0 => "the device closed the connection".to_owned(),
            bytes => format!("the device closed the connection after {bytes} bytes of an answer"),
        };
        io::Error::new(io::ErrorKind::UnexpectedEof, happened)
    }

    fn poll_read(&mut self, lane: usize, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let bytes = &mut self.lanes[lane].bytes;
            if !bytes.is_empty() {
                let count = bytes.len().min(to.remaining());
                to.put_slice(&bytes[..count]);
                bytes.drain(..count);
                return Poll::Ready(Ok(()));
            }
            let mut read = [0_u8; READ_BYTES];
            let mut read = ReadBuf::new(&mut read);
            match Pin::new(&mut self.stream).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => return Poll::Ready(Err(self.closed())),
                Poll::Ready(Ok(())) => {
                    self.heard += read.filled().len();
                    self.partial.extend_from_slice(read.filled());
                    self.sort()?;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.lanes[lane].waits = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl AsyncRead for Lane {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.connection.with(|shared| shared.poll_read(self.number, context, to))
    }
}

impl AsyncWrite for Lane {
    /// The library writes a frame as a whole.
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, frame: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.with(|shared| shared.put(self.number, frame));
        Poll::Ready(Ok(frame.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.with(|shared| shared.poll_write_out(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection ends with its last lane.
        Poll::Ready(Ok(()))
    }
}
