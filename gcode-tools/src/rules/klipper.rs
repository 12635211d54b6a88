//! Klipper: what its handlers raise an error at. A command that it does not know it passes over, with a message.

use super::{Refusal, Rule};
use crate::modal::Plane;
use crate::statement::{Form, Statement};

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

    /// Saved states must be there before they are gone back to.
    fn command_in_words(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let text = bytes.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let mut parts = text.split(u8::is_ascii_whitespace);
        let command = parts.next().unwrap_or_default();
        let is = |name: &[u8]| command.eq_ignore_ascii_case(name);
        let (saves, restores) = (is(b"SAVE_GCODE_STATE"), is(b"RESTORE_GCODE_STATE"));
        if !saves && !restores {
            return Ok(());
        }
        let name = parts.find_map(|part| {
            let equals = part.iter().position(|byte| *byte == b'=')?;
            part[..equals].eq_ignore_ascii_case(b"NAME").then(|| part[equals + 1..].to_vec())
        });
        let name = name.unwrap_or_else(|| b"default".to_vec());
        let known = self.saved.contains(&name);
        if restores && !known && self.saved.len() < NAMES_MAX {
            return Err(Refusal::line(Rule::Missing));
        }
        if saves && !known && self.saved.len() < NAMES_MAX {
            self.saved.push(name);
        }
        Ok(())
    }
}
