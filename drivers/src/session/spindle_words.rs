//! What a line says to a spindle, and what of it is left for the controller.

use gcode_tools::block::Block;
use gcode_tools::words::{self, Effect, Firmwares};
use serde::{Deserialize, Serialize};

/// Which way a spindle turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    Forward,
    Reverse,
}

/// What a line says to a spindle.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Words {
    pub(super) way: Option<Way>,
    pub(super) rpm: Option<f64>,
    /// M5, and what ends a program or changes its tool: the spindle stands from here on.
    pub(super) stops: bool,
    /// M0 and M1: it stands until the program goes on.
    pub(super) pauses: bool,
    /// A word that needs the controller to turn the spindle itself.
    pub(super) follows: Option<u32>,
    /// The line without the words that are orders to the drive.
    pub(super) rest: Vec<u8>,
}

impl Words {
    /// Nothing where a line has no word that matters to a spindle.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        memchr::memchr3(b'M', b'S', b'G', text)?;
        let block = Block::new(text);
        let mut words = Self::default();
        let (mut matters, mut kept) = (false, 0);
        for word in block.words() {
            let takes = match word.code() {
                Some(('M', tenths @ (30 | 40))) => {
                    words.way = Some(if tenths == 30 { Way::Forward } else { Way::Reverse });
                    true
                }
                Some(('M', 50)) => {
                    words.stops = true;
                    true
                }
                Some(('M', tenths)) if matches!(effect(tenths), Effect::Ends | Effect::ChangesTool) => {
                    words.stops = true;
                    matters = true;
                    false
                }
                Some(('M', tenths)) if effect(tenths) == Effect::Person => {
                    words.pauses = true;
                    matters = true;
                    false
                }
                // Threads, tapping, feed per revolution and constant surface speed.
                Some(('G', tenths @ (330 | 331 | 332 | 740 | 760 | 840 | 950 | 960))) => {
                    words.follows = Some(tenths);
                    matters = true;
                    false
                }
                _ if word.letter == b'S' => {
                    words.rpm = word.number();
                    words.rpm.is_some()
                }
                _ => false,
            };
            if takes {
                matters = true;
                words.rest.extend_from_slice(&text[kept..word.span.start]);
                kept = word.span.end;
            }
        }
        if !matters {
            return None;
        }
        words.rest.extend_from_slice(&text[kept..]);
        words.rest = words.rest.trim_ascii().to_vec();
        Some(words)
    }
}

/// What an M code does on some machine that has a spindle.
fn effect(tenths: u32) -> Effect {
    words::effect_of_any(Firmwares::CNC, b'M', tenths)
}

#[cfg(test)]
mod test {
    use super::*;

    #[expect(clippy::type_complexity, reason = "what is compared stands side by side")]
    fn words(text: &str) -> Option<(Option<Way>, Option<f64>, bool, bool, String)> {
        let words = Words::of(text.as_bytes())?;
        Some((words.way, words.rpm, words.stops, words.pauses, String::from_utf8(words.rest).unwrap()))
    }

    #[test]
    fn words_for_the_drive_are_taken_out_of_a_line_and_the_rest_stays_as_it_is() {
        let way = Some(Way::Forward);
        assert_eq!(words("M3S8000"), Some((way, Some(8000.0), false, false, String::new())));
        assert_eq!(words("M03 S8000 M8"), Some((way, Some(8000.0), false, false, "M8".into())));
        assert_eq!(words("G0X5M4S1e3Y6").map(|words| words.0), Some(Some(Way::Reverse)));
        assert_eq!(words("G1X1S500F3"), Some((None, Some(500.0), false, false, "G1X1F3".into())));
        assert_eq!(words("M5M9"), Some((None, None, true, false, "M9".into())));
        assert_eq!(words("M30"), Some((None, None, true, false, "M30".into())));
        assert_eq!(words("M0"), Some((None, None, false, true, "M0".into())));
        assert_eq!(words("T1M6"), Some((None, None, true, false, "T1M6".into())));
        for text in ["G1X10Y5", "G54", "M8", "$H", "X1", "M55", "G43.1Z1"] {
            assert_eq!(words(text), None, "{text}");
        }
        assert_eq!(Words::of(b"G96S100").unwrap().follows, Some(960));
    }
}
