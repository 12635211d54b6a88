//! Klipper: what its handlers raise an error at. A command that it does not know it passes over, with a message.

use super::{Refusal, Rule};
use crate::modal::Plane;
use crate::statement::{Form, Statement};
use crate::words;

/// Modes that rules depend on.
#[derive(Debug, Clone)]
pub struct Klipper {
    absolute: bool,
    plane: Plane,
    saved: Vec<Vec<u8>>,
}

/// Names of saved states that are kept. A program has some few.
const NAMES_MAX: usize = 64;

impl Default for Klipper {
    fn default() -> Self {
        Self { absolute: true, plane: Plane::Xy, saved: Vec::new() }
    }
}

/// A line as `gcode.py` takes it apart: names of letters and underscores, and the text behind each.
struct Command {
    name: Vec<u8>,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Parameters of one line that are kept: no command takes more.
const PARAMETERS_MAX: usize = 128;

impl Command {
    fn read(bytes: &[u8]) -> Self {
        let line = bytes.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_uppercase();
        let is_of_name = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        let mut parameters: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut at = 0;
        while at < line.len() && parameters.len() < PARAMETERS_MAX {
            let start = at;
            if line[at] == b'*' {
                at += 1;
            } else {
                at += line[at..].iter().take_while(|byte| is_of_name(**byte)).count();
            }
            let name = line[start..at].to_vec();
            let end = at + line[at..].iter().take_while(|byte| !is_of_name(**byte) && **byte != b'*').count();
            if !name.is_empty() {
                parameters.push((name, line[at..end].trim_ascii().to_vec()));
            }
            at = end.max(start + 1);
        }
        // A line number stands before the command.
        let first = usize::from(parameters.first().is_some_and(|(name, _)| name == b"N"));
        let name = parameters.get(first).map(|(name, text)| [name.as_slice(), text].concat()).unwrap_or_default();
        Self { name, parameters }
    }

    /// The last parameter of this name.
    fn text(&self, name: &[u8]) -> Option<&[u8]> {
        self.parameters.iter().rev().find(|(known, _)| known == name).map(|(_, text)| text.as_slice())
    }

    /// A number, if the parameter is there.
    fn number(&self, letter: u8) -> Number {
        let Some(text) = self.text(&[letter]) else { return Ok(None) };
        let number = std::str::from_utf8(text).ok().map(str::trim).and_then(|text| text.parse::<f64>().ok());
        number.map(Some).ok_or(Refusal::word(Rule::NoNumber, letter))
    }
}

/// A parameter's number, nothing where it is not there, or the refusal where it is none.
type Number = Result<Option<f64>, Refusal>;

type Outcome = Result<(), Refusal>;

/// What a line says by letter.
struct Numbers<'n>(&'n dyn Fn(u8) -> Number);

impl Numbers<'_> {
    fn any(&self, letters: &[u8]) -> Outcome {
        letters.iter().try_for_each(|letter| (self.0)(*letter).map(|_| ()))
    }

    /// Numbers that must be above zero.
    fn above_zero(&self, letters: &[u8]) -> Outcome {
        letters.iter().try_for_each(|letter| match (self.0)(*letter)? {
            Some(value) if value <= 0.0 => Err(Refusal::word(Rule::NotPositive, *letter)),
            _ => Ok(()),
        })
    }

    /// Numbers that may not be below zero.
    fn not_below_zero(&self, letters: &[u8]) -> Outcome {
        letters.iter().try_for_each(|letter| match (self.0)(*letter)? {
            Some(value) if value < 0.0 => Err(Refusal::word(Rule::Negative, *letter)),
            _ => Ok(()),
        })
    }
}

impl Klipper {
    /// What is answered to a line.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Outcome {
        let command = Command::read(bytes);
        let code = match command.name.as_slice() {
            [letter @ (b'G' | b'M'), digits @ ..] => {
                let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok());
                number.filter(|number| number.to_string().as_bytes() == digits).map(|number| (*letter, number))
            }
            _ => None,
        };
        match code {
            Some((letter, number)) => self.judge(letter, number, &Numbers(&|letter| command.number(letter))),
            None => self.command_in_words(bytes),
        }
    }

    /// What is answered to a line that has been read already. `None`: it has to be read as text.
    pub(super) fn answer_statement(&mut self, statement: &Statement) -> Option<Outcome> {
        if statement.form != Form::Words || statement.odd || statement.split {
            return None;
        }
        let &(letter, tenths) = statement.codes().first()?;
        let number = |letter: u8| {
            if statement.is_bare(letter) || statement.is_unknown(letter) {
                return Err(Refusal::word(Rule::NoNumber, letter));
            }
            Ok(statement.value(letter))
        };
        let known = tenths % 10 == 0;
        Some(if known { self.judge(letter, tenths / 10, &Numbers(&number)) } else { Ok(()) })
    }

    fn judge(&mut self, letter: u8, number: u32, numbers: &Numbers) -> Outcome {
        match (letter, number) {
            (b'G', 0 | 1) => numbers.any(b"XYZE").and_then(|()| numbers.above_zero(b"F")),
            (b'G', 2 | 3) => self.arc(numbers),
            (b'G', 4) => numbers.not_below_zero(b"P"),
            (b'G', 17) => self.set(|modes| modes.plane = Plane::Xy),
            (b'G', 18) => self.set(|modes| modes.plane = Plane::Zx),
            (b'G', 19) => self.set(|modes| modes.plane = Plane::Yz),
            (b'G', 20) => Err(Refusal::code(Rule::Units, b'G', 200)),
            (b'G', 90) => self.set(|modes| modes.absolute = true),
            (b'G', 91) => self.set(|modes| modes.absolute = false),
            (b'G', 92) => numbers.any(b"XYZE"),
            (b'M', 104 | 109 | 140 | 190) => numbers.any(b"S").and_then(|()| numbers.not_below_zero(b"T")),
            (b'M', 106) => numbers.not_below_zero(b"S"),
            (b'M', 220 | 221) => numbers.above_zero(b"S"),
            (b'M', 204) => numbers.above_zero(b"SPT"),
            _ => Ok(()),
        }
    }

    #[allow(clippy::unnecessary_wraps)] // As the others answer.
    fn set(&mut self, change: impl FnOnce(&mut Self)) -> Outcome {
        change(self);
        Ok(())
    }

    /// `gcode_arcs.py`.
    fn arc(&self, numbers: &Numbers) -> Outcome {
        if !self.absolute {
            return Err(Refusal::line(Rule::Invalid));
        }
        numbers.any(b"XYZ")?;
        if (numbers.0)(b'R')?.is_some() {
            return Err(Refusal::word(Rule::Radius, b'R'));
        }
        let letters = match self.plane {
            Plane::Xy => b"IJ",
            Plane::Zx => b"IK",
            Plane::Yz => b"JK",
        };
        let mut any = false;
        for letter in *letters {
            any |= (numbers.0)(letter)?.is_some_and(|value| value != 0.0);
        }
        if !any {
            return Err(Refusal::line(Rule::NoCenter));
        }
        numbers.any(b"E").and_then(|()| numbers.above_zero(b"F"))
    }

    /// Commands with parameters by name (`_get_extended_params`): each has a `=`, and some must be there. Saved states
    /// must be there before they are gone back to.
    fn command_in_words(&mut self, bytes: &[u8]) -> Outcome {
        let text = bytes.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let name = words::command_name(text);
        let Some((_, needed, above_zero)) = COMMANDS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) else {
            return Ok(());
        };
        let parameters = parameters(&text[name.len()..]);
        if parameters.iter().any(|(_, value)| value.is_none()) {
            return Err(Refusal::line(Rule::NoNumber));
        }
        let value = |key: &[u8]| {
            let known = parameters.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(key));
            known.and_then(|(_, value)| value.as_deref())
        };
        if !needed.is_empty() && value(needed).is_none() {
            return Err(Refusal::word(Rule::Missing, needed[0]));
        }
        for key in *above_zero {
            let Some(text) = value(key) else { continue };
            let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<f64>().ok());
            match number {
                None => return Err(Refusal::word(Rule::NoNumber, key[0])),
                Some(number) if number <= 0.0 => return Err(Refusal::word(Rule::NotPositive, key[0])),
                Some(_) => {}
            }
        }
        let (saves, restores) =
            (name.eq_ignore_ascii_case(b"SAVE_GCODE_STATE"), name.eq_ignore_ascii_case(b"RESTORE_GCODE_STATE"));
        if saves || restores {
            let state = value(b"NAME").unwrap_or(b"default").to_vec();
            let known = self.saved.contains(&state);
            if restores && !known && self.saved.len() < NAMES_MAX {
                return Err(Refusal::line(Rule::Missing));
            }
            if saves && !known && self.saved.len() < NAMES_MAX {
                self.saved.push(state);
            }
        }
        Ok(())
    }
}

/// A command, the parameter that must be there, and those whose number must be above zero.
type CommandInWords = (&'static [u8], &'static [u8], &'static [&'static [u8]]);

/// Commands that every Klipper has, the parameter that must be there, and those whose number must be above zero. Others are
/// there where the machine is set up so, and pass.
const COMMANDS: [CommandInWords; 16] = [
    (b"SAVE_GCODE_STATE", b"", &[]),
    (b"RESTORE_GCODE_STATE", b"", &[]),
    (b"SET_GCODE_OFFSET", b"", &[]),
    (b"SET_VELOCITY_LIMIT", b"", &[b"VELOCITY", b"ACCEL"]),
    (b"SET_PRESSURE_ADVANCE", b"", &[]),
    (b"SET_HEATER_TEMPERATURE", b"HEATER", &[]),
    (b"TEMPERATURE_WAIT", b"SENSOR", &[]),
    (b"TURN_OFF_HEATERS", b"", &[]),
    (b"ACTIVATE_EXTRUDER", b"EXTRUDER", &[]),
    (b"GET_POSITION", b"", &[]),
    (b"EXCLUDE_OBJECT_DEFINE", b"", &[]),
    (b"EXCLUDE_OBJECT_START", b"NAME", &[]),
    (b"EXCLUDE_OBJECT_END", b"", &[]),
    (b"EXCLUDE_OBJECT", b"", &[]),
    (b"PRINT_START", b"", &[]),
    (b"STATUS", b"", &[]),
];

/// A parameter's name, and its value if it has one.
type Parameter = (Vec<u8>, Option<Vec<u8>>);

/// Parameters of a command in words: a part without `=` has none. Quotes hold spaces together.
fn parameters(text: &[u8]) -> Vec<Parameter> {
    let mut found = Vec::new();
    let (mut part, mut quote, mut stands) = (Vec::new(), None, false);
    for byte in text.iter().copied().chain([b' ']) {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'\'') => (quote, stands) = (Some(byte), true),
            (None, byte) if byte.is_ascii_whitespace() => {
                if stands && found.len() < PARAMETERS_MAX {
                    let part: Vec<u8> = std::mem::take(&mut part);
                    let equals = part.iter().position(|byte| *byte == b'=');
                    found.push(match equals {
                        Some(equals) => (part[..equals].to_vec(), Some(part[equals + 1..].to_vec())),
                        None => (part, None),
                    });
                }
                (part, stands) = (Vec::new(), false);
            }
            _ => {
                part.push(byte);
                stands = true;
            }
        }
    }
    found
}
