//! Bytes on their way to a link that may be blocked: urgent ones go in front of those that wait.

/// Bytes that wait to be written.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// What is to be written next.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Puts bytes in front of everything that waits, and drops what waits if it belongs to a job that is over.
    pub(crate) fn put_first(&mut self, urgent: &[u8], discard: bool) {
        if discard {
            self.bytes.truncate(self.written);
        }
        self.bytes.drain(..self.written);
        self.written = 0;
        self.bytes.splice(0..0, urgent.iter().copied());
    }

    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}
