//! Decimal numbers as G-code writes them: a sign, digits, a point; no exponent, no `inf`, no `nan`.
//!
//! `E` is the extruder in this trade, so `X1E5` is X1 and E5, and never 100000 as C's `strtod` would read it.

/// Powers of ten that a 64-bit float holds exactly, so that a division by one of them rounds once.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Whole numbers below this (2⁵³) are exact in a 64-bit float.
const EXACT_WHOLE: u64 = 1 << 53;

/// Longest run of digits that is added up in an integer without any chance of overflow.
const FAST_DIGITS_MAX: usize = 18;

/// Reads one number; spaces and tabs within it are skipped, as RS-274 has it.
///
/// `None` when there is no digit, a second point, a sign out of place, or any other byte. Of a RepRapFirmware list
/// such as `420:410` the first number is returned. The result is correctly rounded, and always finite: text with
/// more digits than a float can hold saturates at ±`f64::MAX`.
///
/// ```
/// use gcode_tools::number::parse;
/// assert_eq!(parse(b"-.5"), Some(-0.5));
/// assert_eq!(parse(b"+007."), Some(7.0));
/// assert_eq!(parse(b"- 1 0.2"), Some(-10.2));
/// assert_eq!(parse(b"--5"), None);
/// assert_eq!(parse(b"1e5"), None);
/// ```
#[inline]
pub fn parse(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.len() > FAST_DIGITS_MAX {
        return parse_slow(text);
    }
    let mut whole: u64 = 0;
    let mut decimals: usize = 0;
    let mut point = false;
    let mut count: usize = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            whole = whole * 10 + u64::from(digit);
            count += 1;
            decimals += usize::from(point);
        } else if byte == b'.' && !point {
            point = true;
        } else {
            return parse_slow(text);
        }
    }
    if count == 0 || whole >= EXACT_WHOLE {
        return parse_slow(text);
    }
    let value = whole as f64 / EXACT_POWERS[decimals];
    Some(if negative { -value } else { value })
}

/// Reads the plain number that starts at `from`; gives its value and the offset behind it.
///
/// `None` for anything that [`parse`] should look at: no digit, many digits, a second point, a sign or `:` inside.
#[inline]
pub(crate) fn parse_at(bytes: &[u8], from: usize) -> Option<(f64, usize)> {
    let mut at = from;
    let negative = bytes.get(at) == Some(&b'-');
    at += usize::from(negative);
    let first = at;
    let mut whole: u64 = 0;
    let mut point = usize::MAX;
    while let Some(&byte) = bytes.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if byte == b'.' && point == usize::MAX {
            point = at;
        } else {
            break;
        }
        at += 1;
    }
    let length = at - first;
    let has_point = point != usize::MAX;
    // Fifteen digits always fit the exact range of a float.
    if length > 15 || length == usize::from(has_point) || matches!(bytes.get(at), Some(b'+' | b'-' | b'.' | b':')) {
        return None;
    }
    let decimals = if has_point { at - point - 1 } else { 0 };
    let value = whole as f64 / EXACT_POWERS[decimals];
    Some((if negative { -value } else { value }, at))
}

/// The rare shapes: spaces inside, lists, more digits than an exact integer holds.
#[cold]
fn parse_slow(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == b':').next().unwrap_or(text);
    let packed: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b' ' | b'\t')).collect();
    let shape =
        |(at, byte): (usize, &u8)| byte.is_ascii_digit() || *byte == b'.' || (at == 0 && matches!(byte, b'-' | b'+'));
    if !packed.iter().enumerate().all(shape) || !packed.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let value: f64 = std::str::from_utf8(&packed).ok()?.parse().ok()?;
    Some(value.clamp(-f64::MAX, f64::MAX))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library_to_the_last_bit() {
        for text in ["0", "1.5", "-.000123", "123456.789", "99999.99999", "9007199254740993", "0.1234567890123456789"] {
            assert_eq!(parse(text.as_bytes()), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn a_number_without_end_stays_finite() {
        let long = vec![b'9'; 400];
        assert_eq!(parse(&long), Some(f64::MAX));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "+.", "1.2.3", "--5", "1-5", "nan", "inf", "1e5", "0x10"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn of_a_list_the_first_counts() {
        assert_eq!(parse(b"420:410"), Some(420.0));
    }
}
