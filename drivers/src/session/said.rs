//! What a machine said in its own words, for a diagnosis to quote; and what stands in its lines that is no text.

use std::time::Duration;

use super::{Phase, Session};
use crate::dialect::MESSAGE_CHARS_MAX;

/// How long before a link ends a line may have come to be the last thing that was said: whatever serves a port says why it
/// closes it in one breath with closing it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Start and stop of a flow control in the text (XON, XOFF): any byte may have one of them before it.
const FLOW: [u8; 2] = [0x11, 0x13];

/// A line without what is no text, if there is any in it. `echoes`: what was asked past all lines comes back without a line
/// end, in front of an answer.
pub(super) fn without_control(line: &[u8], echoes: bool) -> Option<Vec<u8>> {
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    let asked = |byte: &u8| matches!(byte, b'?' | b'!' | b'~');
    let came_back = echoes && line.first().is_some_and(asked);
    if !came_back && !line.iter().any(is_control) {
        return None;
    }
    let mut text: Vec<u8> = line.iter().copied().filter(|byte| !is_control(byte)).collect();
    if echoes {
        let asked = text.iter().take_while(|byte| asked(byte)).count();
        text.drain(..asked);
    }
    Some(text)
}

/// Whether a byte is of a flow control in the text.
pub(super) fn is_flow(byte: u8) -> bool {
    FLOW.contains(&byte)
}

/// What was said, as it may be quoted: bounded, and bytes that are no text written out.
pub(crate) fn quoted(said: &[u8]) -> String {
    let said = said.trim_ascii();
    let text: String = match std::str::from_utf8(said) {
        Ok(text) => text.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARS_MAX).collect(),
        Err(_) => said.escape_ascii().to_string().chars().take(MESSAGE_CHARS_MAX).collect(),
    };
    text.replace('`', "'")
}

impl Session {
    /// Notes a line that may have to be quoted.
    pub(super) fn note_said(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        self.said.clear();
        self.said.extend_from_slice(&line[..line.len().min(MESSAGE_CHARS_MAX)]);
        self.said_at = self.now;
    }

    /// The last thing that was said, a line that is not complete before all others; nothing if nothing came.
    pub(super) fn last_said(&self) -> Option<String> {
        // A question that comes back without a line end is no word of the machine's.
        let words = self.partial.iter().any(u8::is_ascii_alphanumeric);
        let said = if words { &self.partial } else { &self.said };
        Some(quoted(said)).filter(|said| !said.is_empty())
    }

    /// What was said right before the link ended, if that was no answer.
    pub(super) fn last_words(&self) -> Option<String> {
        let greeting = matches!(self.phase, Phase::Greeting(_));
        let late = self.now.since(self.said_at) > LAST_WORDS && self.partial.is_empty();
        self.last_said().filter(|_| !self.said.is_empty() || greeting).filter(|_| greeting || !late)
    }

    /// Whether a line that means nothing is one of ours that comes back.
    pub(super) fn is_echo(&self, line: &[u8]) -> bool {
        let line = line.trim_ascii();
        let habits = self.dialect.habits();
        let asked = habits.position_question().into_iter().chain(habits.settings.iter().copied()).chain(habits.card);
        let ours = asked.chain(["M105", "M400"]).any(|question| question.as_bytes() == line);
        let said = |ordinal: u64| {
            let command = self.run.as_ref().and_then(|run| run.history.command(ordinal));
            command.is_some_and(|command| memchr::memmem::find(line, &command.text).is_some())
        };
        ours || self.window.jobs().any(said)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_no_text_costs_no_answer() {
        assert_eq!(without_control(b"o\x11k", false).unwrap(), b"ok");
        assert_eq!(without_control(b"\x13ok N12\x11 P15 B3", false).unwrap(), b"ok N12 P15 B3");
        assert_eq!(without_control(b"\0\0", false).unwrap(), b"");
        assert_eq!(without_control(b"T:20.1 /0.0\tB:3", false), None);
        assert_eq!(
            without_control(b"??<Idle|MPos:0.000,0.000,0.000>", true).unwrap(),
            b"<Idle|MPos:0.000,0.000,0.000>"
        );
        assert_eq!(without_control(b"?ok", false), None, "nothing comes back on this line");
    }

    #[test]
    fn what_is_quoted_is_bounded_and_readable() {
        assert_eq!(quoted(b"NAME. Malyan\tVER: 2.9 `M200`"), "NAME. MalyanVER: 2.9 'M200'");
        assert_eq!(quoted(b"\xf8\x80ab"), "\\xf8\\x80ab");
        assert!(quoted(&[b'x'; 5000]).len() <= MESSAGE_CHARS_MAX);
    }
}
