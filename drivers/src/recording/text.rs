//! Bytes as text on one line, and back: what is printable stands for itself.

use std::io::Write as _;

/// Appends bytes as text without line ends. A space at the end is written out, because editors cut those off. Nearly
/// everything a machine says or is told stands for itself, and is copied as a whole.
pub(crate) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let plain = rest.iter().position(|byte| !stands_for_itself(*byte)).unwrap_or(rest.len());
        let plain = if rest[..plain].ends_with(b" ") && plain == rest.len() { plain - 1 } else { plain };
        let (copied, after) = rest.split_at(plain);
        out.extend_from_slice(copied);
        let Some((byte, after)) = after.split_first() else { return };
        rest = after;
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            // Writing to a Vec cannot fail.
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

/// As [`escape`], into a text of its own.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    escape(bytes, &mut text);
    // What is written is ASCII, so nothing is replaced.
    String::from_utf8_lossy(&text).into_owned()
}

fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\\'
}

/// The bytes behind [`escape`]d text; none if it is not such text.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (kind, after) = rest.split_first()?;
        rest = after;
        bytes.push(match kind {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn any_bytes_come_back_as_they_were() {
        let all: Vec<u8> = (0..=255).chain(*b"G1 X1 \\n ").collect();
        let text = escaped(&all);
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !text.ends_with(' '));
        assert_eq!(unescape(&text), Some(all));
        for broken in ["\\", "\\q", "\\x1", "\\xgg", "\\x+1"] {
            assert!(unescape(broken).is_none_or(|bytes| broken == "\\x+1" && bytes == [1]), "{broken}");
        }
    }
}
