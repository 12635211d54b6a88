//! Words that belong to nothing on their line.

use super::{Line, Outcome, refuse};
use crate::rules::Rule;

/// Words that nothing on the line uses, and values that are out of range (`check_other_codes`).
#[allow(clippy::too_many_lines)] // One table, in the order of `check_other_codes`.
pub(super) fn check_words(line: &Line) -> Outcome {
    let has = |letter: u8| line.has(letter);
    let arcs = line.moves(&[20, 30]);
    let writes = line.is(0, &[100]);
    let compensates = line.is(7, &[410, 411, 420, 421]);
    let inputs = |codes: &[u32]| line.is_m(5, codes);
    let user = line.m[10].is_some();
    if let Some(letter) = b"ABC".iter().find(|letter| has(**letter)).filter(|_| line.is_cycle()) {
        return refuse(Rule::Unused, *letter);
    }
    let used = [
        (b'D', compensates || line.is(14, &[960])),
        (b'E', line.moves(&[760]) || inputs(&[66, 67, 68])),
        (b'H', line.is(8, &[430, 432]) || line.moves(&[760])),
        (b'I', arcs || line.moves(&[50, 51, 760, 870, 331]) || writes),
        (b'J', arcs || line.moves(&[50, 51, 760, 870]) || writes),
        (b'K', arcs || line.moves(&[330, 331, 760, 870])),
        (
            b'L',
            line.drills()
                || line.moves(&[760, 52, 730])
                || writes
                || compensates
                || inputs(&[66])
                || line.m[11].is_some(),
        ),
        (b'P', uses_p(line)),
        (
            b'Q',
            line.moves(&[830, 730, 50, 760])
                || user
                || inputs(&[66, 67, 68])
                || writes
                || line.is_m(6, &[61])
                || line.is(13, &[640])
                || line.is_m(7, &[19]),
        ),
        (
            b'R',
            arcs || line.moves(&[760, 730, 740])
                || line.drills()
                || line.is(7, &[411, 421])
                || writes
                || line.is_m(7, &[19]),
        ),
    ];
    // A Q of -1 is what LinuxCNC keeps for "no Q".
    let stands = |letter: u8| has(letter) && !(letter == b'Q' && line.value(b'Q') == -1.0);
    if let Some((letter, _)) = used.into_iter().find(|(letter, used)| stands(*letter) && !used) {
        return refuse(Rule::Unused, letter);
    }
    let turns = line.value(b'P');
    if has(b'P') && (arcs || line.is_m(7, &[19])) {
        if (turns - turns.round()).abs() > 0.001 {
            return refuse(Rule::NotInteger, b'P');
        }
        if arcs && turns.round() < 1.0 || line.is_m(7, &[19]) && !(0.0..=2.0).contains(&turns.round()) {
            return refuse(Rule::OutOfRange, b'P');
        }
    }
    if line.is_m(7, &[19]) && has(b'R') && !(0.0..=360.0).contains(&line.value(b'R')) {
        return refuse(Rule::OutOfRange, b'R');
    }
    if line.is(14, &[960]) && !has(b'S') {
        return refuse(Rule::Missing, b'S');
    }
    if line.moves(&[330, 331]) {
        if !has(b'K') {
            return refuse(Rule::Missing, b'K');
        }
        if has(b'F') {
            return refuse(Rule::Unused, b'F');
        }
    }
    if line.moves(&[760]) {
        if let Some(letter) = b"PIJK".iter().find(|letter| !has(**letter)) {
            return refuse(Rule::Missing, *letter);
        }
    }
    Ok(())
}

fn uses_p(line: &Line) -> bool {
    line.is(0, &[100, 40])
        || line.is(13, &[640])
        || line.moves(&[760, 820, 860, 880, 890, 50, 52, 20, 30, 740, 840])
        || line.is_m(9, &[50, 51, 52, 53])
        || line.is_m(5, &[62, 63, 64, 65, 66])
        || line.is_m(7, &[19])
        || line.m[10].is_some()
        || line.m[11].is_some()
}
