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

/// A number for people: three decimals, or powers of ten where it is beyond all sense and would fill a page.
///
/// ```
/// use gcode_tools::number::shown;
/// assert_eq!(shown(-2.0), "-2.000");
/// assert_eq!(shown(f64::MAX), "1.798e308");
/// ```
pub fn shown(value: f64) -> String {
    if value.abs() < 1e9 { format!("{value:.3}") } else { format!("{value:.3e}") }
}

/// Digits and a point of a plain number, at most: fifteen digits always fit the exact range of a float.
const PLAIN_BYTES_MAX: usize = 15;

/// Every byte `0x30`: what digits have in common.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The highest bit of each byte that is no digit, of eight bytes that went through exclusive or with [`ZEROS`].
#[inline]
fn no_digits(eight: u64) -> u64 {
    const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    (((eight & LOW_BITS) + 0x7676_7676_7676_7676) | eight) & !LOW_BITS
}

/// Up to eight bytes from an offset, little end first; what is behind the end is zero. `None` for very short text.
#[inline]
fn eight_at(bytes: &[u8], from: usize) -> Option<u64> {
    if let Some(Ok(eight)) = bytes.get(from..from + 8).map(TryInto::try_into) {
        return Some(u64::from_le_bytes(eight));
    }
    let missing = (from + 8).checked_sub(bytes.len())?;
    let last = bytes.last_chunk::<8>()?;
    if missing >= 8 { None } else { Some(u64::from_le_bytes(*last) >> (8 * missing)) }
}

/// The value of `count` digits (1 to 8), the first in the lowest byte, of bytes that went through [`ZEROS`].
#[inline]
fn digits_value(eight: u64, count: usize) -> u64 {
    // The digits move to the top, zeros come in below: then pairs, fours and all eight are joined at once.
    let eight = eight << (8 * (8 - count));
    let pairs = (eight & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul(2561) >> 8;
    let fours = (pairs & 0x00FF_00FF_00FF_00FF).wrapping_mul(6_553_601) >> 16;
    (fours & 0x0000_FFFF_0000_FFFF).wrapping_mul(42_949_672_960_001) >> 32
}

/// Reads the plain number that starts at `from`; gives its value and the offset behind it.
///
/// `None` for anything that [`parse`] should look at: no digit, many digits, a second point, a sign or `:` inside.
/// Nearly every number of a real program has at most eight bytes: those are read at once, without a loop.
#[inline]
pub(crate) fn parse_at(bytes: &[u8], from: usize) -> Option<(f64, usize)> {
    let negative = bytes.get(from) == Some(&b'-');
    let first = from + usize::from(negative);
    let Some(eight) = eight_at(bytes, first) else { return parse_each(bytes, first, negative) };
    let eight = eight ^ ZEROS;
    let whole = no_digits(eight).trailing_zeros() as usize / 8;
    if whole >= 8 {
        return parse_each(bytes, first, negative);
    }
    let is_point = (eight >> (8 * whole)) as u8 == b'.' ^ b'0';
    let (digits, count) = if is_point {
        // What is behind the point moves over it; a zero byte, which is no digit here, comes in at the top.
        let below = eight & !(u64::MAX << (8 * whole));
        let joined = below | (((eight >> (8 * whole)) >> 8) << (8 * whole)) | (0xF0 << 56);
        (joined, no_digits(joined).trailing_zeros() as usize / 8)
    } else {
        (eight, whole)
    };
    let end = first + count + usize::from(is_point);
    if count == 0 || (is_point && count == 7) || matches!(bytes.get(end), Some(b'+' | b'-' | b'.' | b':')) {
        return parse_each(bytes, first, negative);
    }
    let value = digits_value(digits, count) as f64 / EXACT_POWERS[count - whole];
    Some((if negative { -value } else { value }, end))
}

/// Reads the number between two offsets, where there are only digits, points, and a sign that is the first byte.
///
/// `None` for anything that [`parse`] should look at. As [`parse_at`], and spared the search for the number's end.
#[inline]
pub(crate) fn parse_between(bytes: &[u8], from: usize, end: usize) -> Option<f64> {
    let negative = bytes.get(from) == Some(&b'-');
    let first = from + usize::from(negative);
    let count = end.checked_sub(first).filter(|count| *count <= PLAIN_BYTES_MAX)?;
    let (Some(eight), 1..=8) = (eight_at(bytes, first), count) else { return parse(bytes.get(from..end)?) };
    // Of digits and points only a point has this bit left.
    let eight = (eight ^ ZEROS) & (u64::MAX >> (64 - 8 * count));
    let points = eight & 0x1010_1010_1010_1010;
    let digits = count - usize::from(points != 0);
    if points & points.wrapping_sub(1) != 0 || digits == 0 {
        return parse(bytes.get(from..end)?);
    }
    // What is behind the point moves over it; without a point everything is before it.
    let before = (points >> 4).wrapping_sub(1);
    let joined = (eight & before) | ((eight >> 8) & !before);
    let whole = if points == 0 { count } else { points.trailing_zeros() as usize / 8 };
    let value = digits_value(joined, digits) as f64 / EXACT_POWERS[digits - whole];
    Some(if negative { -value } else { value })
}

/// As [`parse_at`], digit by digit, behind the sign.
fn parse_each(bytes: &[u8], first: usize, negative: bool) -> Option<(f64, usize)> {
    let mut at = first;
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
    if length > PLAIN_BYTES_MAX
        || length == usize::from(has_point)
        || matches!(bytes.get(at), Some(b'+' | b'-' | b'.' | b':'))
    {
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
    fn the_short_way_reads_what_the_long_way_reads() {
        let mut seed = 1_u64;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let letters = b"0123456789.. 5X-:\xFF";
            let length = (seed >> 60) as usize;
            let text: Vec<u8> = (0..length).map(|at| letters[(seed >> (at * 3)) as usize % letters.len()]).collect();
            let negative = text.first() == Some(&b'-');
            assert_eq!(parse_at(&text, 0), parse_each(&text, usize::from(negative), negative), "{text:?}");
        }
    }

    #[test]
    fn a_number_between_known_places_is_what_is_read_there() {
        let mut seed = 1_u64;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = (seed >> 60) as usize;
            let mut text: Vec<u8> =
                (0..length).map(|at| b"01234567890123.."[(seed >> (at * 4)) as usize % 16]).collect();
            if seed % 3 == 0 {
                text.insert(0, b'-');
            }
            let (from, end) = (2, 2 + text.len());
            for tail in [&b""[..], b" Y1.5", b";12345678"] {
                let line = [&b"GX"[..], &text, tail].concat();
                let expected =
                    parse(&text).filter(|_| text.strip_prefix(b"-").unwrap_or(&text).len() <= PLAIN_BYTES_MAX);
                assert_eq!(parse_between(&line, from, end), expected, "{text:?} {tail:?}");
            }
        }
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
