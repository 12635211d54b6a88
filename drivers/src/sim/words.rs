//! Words of a line as a small firmware reads them: a letter and the number behind it, spaces ignored.

/// The letters and values of a line. A letter without a number has none.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = (u8, Option<f64>)> + '_ {
    let mut rest = line;
    std::iter::from_fn(move || {
        while let Some((letter, after)) = rest.split_first() {
            rest = after;
            if !letter.is_ascii_alphabetic() {
                continue;
            }
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            let digits =
                rest[spaces..].iter().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+')).count();
            let value = std::str::from_utf8(&rest[spaces..spaces + digits]).ok().and_then(|text| text.parse().ok());
            if value.is_some() {
                rest = &rest[spaces + digits..];
            }
            return Some((letter.to_ascii_uppercase(), value));
        }
        None
    })
}

/// The value of the first word with this letter.
pub(super) fn value(line: &[u8], letter: u8) -> Option<f64> {
    words(line).find(|(found, _)| *found == letter).and_then(|(_, value)| value)
}

/// X, Y and Z, where they are given.
pub(super) fn axes(line: &[u8]) -> [Option<f64>; 3] {
    let mut axes = [None; 3];
    for (letter, value) in words(line) {
        if let b'X'..=b'Z' = letter {
            axes[usize::from(letter - b'X')] = value;
        }
    }
    axes
}
