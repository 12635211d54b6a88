//! Modal groups, and letters that mean nothing to Grbl.

/// The letters of [`grbl_refuses_letter`], each as a place in a line. O begins no word on a plain line.
pub(super) const GRBL_REFUSED: [&[u8]; 10] = [b"A", b"B", b"C", b"D", b"E", b"H", b"Q", b"U", b"V", b"W"];

/// The modal group of a code of RS-274: two codes of one group on one line contradict each other. G80 is in none, because
/// real programs cancel cycles on the line that begins with G0.
pub(super) fn modal_group(letter: u8, tenths: u32) -> Option<u8> {
    Some(match (letter, tenths) {
        (b'G', 0 | 10 | 20 | 30 | 330 | 331 | 382..=385 | 730 | 760 | 810..=890) => 1,
        (b'G', 170..=191) => 2,
        (b'G', 900 | 910) => 3,
        (b'G', 901 | 911) => 4,
        (b'G', 930 | 940 | 950) => 5,
        (b'G', 200 | 210) => 6,
        (b'G', 400..=421) => 7,
        (b'G', 540..=593) => 12,
        (b'M', 0 | 10 | 20 | 300 | 600) => 20,
        (b'M', 30 | 40 | 50) => 23,
        _ => return None,
    })
}

/// Letters that Grbl 1.1 has no use for on a three-axis machine; it refuses the line (error 20).
pub(super) fn grbl_refuses_letter(letter: u8) -> bool {
    matches!(letter, b'A' | b'B' | b'C' | b'D' | b'E' | b'H' | b'O' | b'Q' | b'U' | b'V' | b'W')
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_refused_letter_has_a_place() {
        let places: Vec<u8> = GRBL_REFUSED.iter().map(|letter| letter[0]).collect();
        let refused = (b'A'..=b'Z').filter(|letter| grbl_refuses_letter(*letter) && *letter != b'O');
        assert_eq!(places, refused.collect::<Vec<_>>());
    }
}
