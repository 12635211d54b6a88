//! Lines that nothing may be in flight before or behind.

use std::time::Duration;

use gcode_tools::block::Block;
use gcode_tools::words::{self, Effect, Firmwares, Heater};

use crate::dialect::Habits;

/// Words that wait for the machine, for a person or for its memory: nothing may be in flight before or behind them.
///
/// What a word does is in [`gcode_tools::words`]. Those that wait for a person, for motion, for a time or for a pin go
/// alone; so do those that write settings, during which Grbl loses received bytes (interface document, "EEPROM issues":
/// G10 with an L word, G28.1, G30.1 and every `$` line that is stored; grblHAL and `FluidNC` keep the list).
///
/// So are the words that heat, home or level for minutes, where lines are numbered: Marlin reads on in every wait and acts
/// on M112 and M108 as it reads them, without an emergency parser too, but only while its ring of commands has room
/// (`get_available_commands`, `queue.cpp`).
pub(super) fn must_go_alone(text: &[u8], habits: &Habits) -> bool {
    // Where lines are only kept, nothing runs before the last of them is there.
    let Some(first) = text.first().filter(|_| !habits.keeps_lines()) else { return false };
    if !habits.printer && *first == b'$' {
        return true;
    }
    // Most lines of any job are plain moves: look closer only at those that can hold such a word.
    let suspicious = memchr::memchr2(b'M', b'm', text).is_some()
        || memchr::memchr_iter(b'G', text).any(|at| match (text.get(at + 1), text.get(at + 2)) {
            (Some(b'4'), _) => true,
            (Some(b'2'), Some(b'8' | b'9')) => true,
            (Some(b'1' | b'2' | b'3'), second) => {
                second.is_none_or(|byte| !byte.is_ascii_alphabetic() || *first != b'G')
            }
            _ => false,
        });
    if !suspicious {
        return false;
    }
    let block = Block::new(text);
    effects(&block, habits.printer).any(|effect| match effect {
        Effect::Dwells | Effect::Probes | Effect::Synchronises | Effect::Halts => true,
        // G10 of a printer has no L.
        Effect::Offset { stored: true } => block.value('L').is_some() || block.codes().all(|code| code != ('G', 100)),
        effect if effect.takes_minutes() => habits.numbered,
        effect => effect.waits_for_person() || effect.writes_memory(),
    })
}

/// What the codes of a line do on some machine of a family. M and T words behind text are none of its codes.
fn effects(block: &Block, printer: bool) -> impl Iterator<Item = Effect> {
    let family = if printer { Firmwares::PRINTERS } else { Firmwares::CNC };
    block.codes().filter_map(move |(letter, tenths)| {
        let letter = u8::try_from(letter).ok().filter(|letter| *letter != b'T')?;
        Some(effect_of(letter, tenths, family))
    })
}

/// What a code does on some machine of a family. Machines have words of others too: what no firmware of the family knows
/// may be known to one of them.
fn effect_of(letter: u8, tenths: u32, family: Firmwares) -> Effect {
    let own = words::effect_of_any(family, letter, tenths);
    if own == Effect::Unknown { words::effect_of_any(Firmwares::ALL, letter, tenths) } else { own }
}

/// Whether a command that is done only when a person has done something.
pub(super) fn waits_for_person(text: &[u8]) -> bool {
    // CNC machines and printers agree on those that they share.
    effects(&Block::new(text), true).any(Effect::waits_for_person)
}

/// Whether a line ends the program of a mill or laser.
pub(super) fn ends_program(text: &[u8]) -> bool {
    memchr::memchr2(b'M', b'm', text).is_some()
        && effects(&Block::new(text), false).any(|effect| effect == Effect::Ends)
}

/// The word of a command that waits for a person, and what it does.
pub(super) fn waiting_word(text: &[u8]) -> Option<(String, Effect)> {
    Block::new(text).codes().find_map(|(letter, tenths)| {
        let letter = u8::try_from(letter).ok()?;
        let effect = effect_of(letter, tenths, Firmwares::PRINTERS);
        effect.waits_for_person().then(|| (words::code_name(letter, tenths), effect))
    })
}

/// The same, or done only when something is hot: M109, M190 and M191 wait for tool, bed and chamber, M116 for all.
pub(super) fn waits_for_heat_or_person(text: &[u8]) -> bool {
    let waits = |effect: Effect| effect.waits_for_person() || waits_for_target(effect);
    effects(&Block::new(text), true).any(waits)
}

/// Whether it waits for a temperature that is to be reached; tuning a heater is no such wait.
fn waits_for_target(effect: Effect) -> bool {
    effect.waits_for_heat() && effect.heater() != Some(Heater::Named)
}

/// A temperature that a command waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct HeatWaited {
    heater: Option<Heater>,
    /// The tool that the command names.
    tool: Option<u32>,
    /// What it asks for, in °C.
    pub(super) target_c: Option<f64>,
}

impl HeatWaited {
    /// Whether it is that of the heater with this name in a report.
    pub(super) fn is_of(&self, heater: &str) -> bool {
        let number = || heater.strip_prefix("tool")?.parse::<u32>().ok();
        match self.heater {
            Some(Heater::Bed) => heater == "bed",
            Some(Heater::Chamber) => heater == "chamber",
            Some(Heater::Tool) => number().is_some_and(|number| self.tool.is_none_or(|tool| tool == number)),
            // All of them.
            Some(Heater::Named) | None => true,
        }
    }
}

/// The temperature that a command waits for, if it is done only when something is hot.
pub(super) fn heat_waited_for(text: &[u8]) -> Option<HeatWaited> {
    let block = Block::new(text);
    let effect = effects(&block, true).find(|effect| waits_for_target(*effect))?;
    let tool = block.value('T').filter(|tool| (0.0..100.0).contains(tool)).map(|tool| tool as u32);
    let target_c = ['S', 'R'].into_iter().find_map(|letter| block.value(letter));
    Some(HeatWaited { heater: effect.heater(), tool, target_c })
}

/// How long a dwell takes: Grbl's P is seconds; Marlin's P is milliseconds and its S seconds. Bounded by an hour, so
/// that nonsense in a file does not become for ever.
pub(super) fn dwell(text: &[u8], habits: &Habits) -> Duration {
    let block = Block::new(text);
    if !block.codes().any(|code| code == ('G', 40)) {
        return Duration::ZERO;
    }
    let pause = block.value('P').unwrap_or(0.0);
    let seconds = if habits.printer { block.value('S').unwrap_or(pause / 1000.0) } else { pause };
    Duration::try_from_secs_f64(seconds.clamp(0.0, 3600.0)).unwrap_or_default()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::dialect;

    #[test]
    fn words_that_wait_or_write_settings_go_alone_and_moves_do_not() {
        let grbl = dialect::named("grbl").unwrap().habits();
        for text in ["M0", "M6T2", "G4P1", "G38.2Z-10F50", "G10L2P1X0", "G28.1", "$32=1", "G90M0", "M400", "G1X1M1"] {
            assert!(must_go_alone(text.as_bytes(), grbl), "{text}");
        }
        let marlin = dialect::named("marlin").unwrap().habits();
        for text in [
            "M600",
            "M601",
            "M25",
            "M500",
            "M501",
            "M502",
            "M1 wait",
            "M291 P\"Ready?\" S2",
            "G4 S1",
            "M226 P4",
            "M109S200",
            "M190 R60",
            "G28",
            "G28W",
            "G29",
        ] {
            assert!(must_go_alone(text.as_bytes(), marlin), "{text}");
        }
        for text in ["M503", "M204 P500", "M82", "G10", "M117 M0 and M600", "M73 P50 R10"] {
            assert!(!must_go_alone(text.as_bytes(), marlin), "{text}");
        }
        let keeps = dialect::named("program-file").unwrap().habits();
        assert!(!must_go_alone(b"G4P1", keeps), "a program that is only kept waits for nothing");
        for text in ["G1X10Y20", "G2X1Y1I1J0", "G0X1", "M3S1000", "G21", "G43.1Z1", "M104S200", "X1Y1", "G28", "G17"] {
            assert!(!must_go_alone(text.as_bytes(), grbl), "{text}");
        }
    }
}
