//! Adapters that hear themselves: a two-wire RS-485 adapter without a switched receiver brings back every byte that is sent,
//! in front of the answer.
//!
//! The answer to a read is never the question's own bytes, so reads tell whether a line echoes (of a Huanyang drive only one
//! of them). The answer to the write of one register *is* the question's bytes: there only what reads have told says which
//! of the two it is.

/// What is known of a line's echo, and how much of the last question came back.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// Whether the line echoes; unknown until a read was answered, or came back.
    known: Option<bool>,
    own: Vec<u8>,
    reads: bool,
    matched: usize,
    over: bool,
    /// The whole question came back.
    seen: bool,
}

impl Echo {
    /// Whether the line echoes, if that is known.
    pub(super) fn known(&self) -> Option<bool> {
        self.known
    }

    /// A question is about to be said.
    pub(super) fn begin(&mut self, reads: bool) {
        self.own.clear();
        self.reads = reads;
        self.matched = 0;
        self.seen = false;
        // What can be an answer as well is passed over only where it is known to be none.
        self.over = !reads && self.known != Some(true);
    }

    /// Bytes of it were said.
    pub(super) fn said(&mut self, bytes: &[u8]) {
        self.own.extend_from_slice(bytes);
    }

    /// Takes bytes that were heard and gives those that are not the question's own.
    pub(super) fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            if !self.over && self.own.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.own.len() {
                    (self.known, self.over, self.seen) = (Some(true), true, true);
                }
                continue;
            }
            if !self.over {
                // It was the beginning of an answer, or of an echo that was damaged on its way.
                self.over = true;
                out.extend_from_slice(self.held());
                self.matched = 0;
            }
            out.push(*byte);
        }
    }

    /// What was heard and may still be the beginning of an answer.
    pub(super) fn held(&self) -> &[u8] {
        if self.seen { &[] } else { &self.own[..self.matched.min(self.own.len())] }
    }

    /// The question had a right answer, or nothing at all was heard: a read's own bytes did not come back.
    pub(super) fn settled(&mut self) {
        if self.reads && !self.seen {
            self.known = Some(false);
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const NOTHING: [u8; 0] = [];
    const READ: [u8; 8] = [2, 3, 0, 11, 0, 1, 0xf4, 0x3b];
    const ANSWER: [u8; 7] = [2, 3, 2, 0x4e, 0x20, 0xc9, 0x9c];
    const WRITE: [u8; 8] = [2, 6, 0, 0, 0, 0, 0x89, 0xf9];

    fn heard(echo: &mut Echo, question: &[u8], bytes: &[u8]) -> Vec<u8> {
        echo.begin(question[1] == 3);
        echo.said(question);
        let mut out = Vec::new();
        for byte in bytes {
            echo.hear(&[*byte], &mut out);
        }
        out
    }

    #[test]
    fn an_adapter_that_hears_itself_was_taken_for_a_device() {
        let mut echo = Echo::default();
        assert_eq!(heard(&mut echo, &READ, &[&READ[..], &ANSWER].concat()), ANSWER);
        assert_eq!(echo.known(), Some(true));
        assert_eq!(heard(&mut echo, &WRITE, &WRITE), NOTHING, "nobody answered: these are our own bytes");
        assert_eq!(heard(&mut echo, &WRITE, &[WRITE, WRITE].concat()), WRITE, "and this is the answer");
        assert_eq!(heard(&mut echo, &READ, &READ), NOTHING);
    }

    #[test]
    fn the_answer_to_a_write_is_no_echo_on_a_line_without_one() {
        let mut echo = Echo::default();
        assert_eq!(heard(&mut echo, &READ, &ANSWER), ANSWER);
        echo.settled();
        assert_eq!(echo.known(), Some(false));
        assert_eq!(heard(&mut echo, &WRITE, &WRITE), WRITE);
    }

    #[test]
    fn what_begins_like_the_question_and_ends_otherwise_is_heard_whole() {
        let mut echo = Echo::default();
        let other = [2, 3, 0, 11, 0, 9, 9, 9, 9];
        assert_eq!(heard(&mut echo, &READ, &other), other);
        assert_eq!(heard(&mut echo, &READ, &READ[..4]), NOTHING);
        assert_eq!(echo.held(), &READ[..4], "half of an echo, or of an answer");
    }
}
