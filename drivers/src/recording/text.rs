//! Bytes as text on one line, and back: what is printable stands for itself.

use std::fmt::Write as _;

/// Appends bytes as text without line ends. A space at the end is written out, because editors cut those off.
pub(crate) fn escape(bytes: &[u8], out: &mut String) {
    let last = bytes.len().wrapping_sub(1);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            b' ' if at == last => out.push_str("\\x20"),
            0x20..=0x7e => out.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
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
        let mut text = String::new();
        escape(&all, &mut text);
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !text.ends_with(' '));
        assert_eq!(unescape(&text), Some(all));
        for broken in ["\\", "\\q", "\\x1", "\\xgg", "\\x+1"] {
            assert!(unescape(broken).is_none_or(|bytes| broken == "\\x+1" && bytes == [1]), "{broken}");
        }
    }
}
