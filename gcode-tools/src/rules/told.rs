//! How a refusal is told to people: a stable code, what is wrong, what to do.

use super::{Refusal, Rule};
use crate::words::code_name;

impl Refusal {
    /// Grbl's and grblHAL's number of the rule, where it has one.
    pub fn number(&self) -> Option<u32> {
        Some(match self.rule {
            Rule::NoLetter => 1,
            Rule::NoNumber => 2,
            Rule::Invalid => 3,
            Rule::Negative => 4,
            Rule::TooLong => 11,
            Rule::NotPositive => 19,
            Rule::Unsupported => 20,
            Rule::ModalGroup => 21,
            Rule::NoFeed => 22,
            Rule::NotInteger => 23,
            Rule::AxisConflict => 24,
            Rule::Repeated => 25,
            Rule::NoAxes => 26,
            Rule::LineNumber => 27,
            Rule::Missing => 28,
            Rule::NoSuchOffset => 29,
            Rule::MachineCoordinates => 30,
            Rule::AxesUnused => 31,
            Rule::NoAxesInPlane => 32,
            Rule::Target => 33,
            Rule::Radius => 34,
            Rule::NoCenter => 35,
            Rule::Unused => 36,
            Rule::ToolLengthAxis => 37,
            Rule::NoSuchTool => 38,
            Rule::OutOfRange => 39,
            Rule::SpindleStands => 41,
            Rule::Plane => 42,
            Rule::Retract => 54,
            Rule::Expression | Rule::Units => return None,
        })
    }

    /// The stable code of the finding.
    pub fn finding_code(&self) -> &'static str {
        match self.rule {
            Rule::NoLetter => "word.stray",
            Rule::NoNumber => "word.no_value",
            Rule::Invalid | Rule::Plane | Rule::AxisConflict | Rule::ModalGroup => "word.conflict",
            Rule::Negative | Rule::NotPositive | Rule::OutOfRange | Rule::LineNumber => "word.out_of_range",
            Rule::TooLong => "line.too_long",
            Rule::Unsupported | Rule::Units => "word.unsupported",
            Rule::NoFeed => "feed.missing",
            Rule::NotInteger => "word.not_whole",
            Rule::Repeated => "word.repeated",
            Rule::NoAxes => "motion.no_axes",
            Rule::Missing => "word.missing",
            Rule::NoSuchOffset => "offset.unknown",
            Rule::MachineCoordinates => "arc.machine_coordinates",
            Rule::AxesUnused => "motion.no_mode",
            Rule::NoAxesInPlane | Rule::Target => "arc.no_arc",
            Rule::Radius => "arc.radius",
            Rule::NoCenter => "arc.no_center",
            Rule::Unused => "word.unused",
            Rule::ToolLengthAxis => "offset.tool_axis",
            Rule::NoSuchTool => "tool.unknown",
            Rule::SpindleStands => "spindle.stands",
            Rule::Retract => "cycle.retract",
            Rule::Expression => "number.unreadable",
        }
    }

    /// The word it is about, as people write it.
    fn name(&self) -> String {
        match self.code {
            Some((letter, tenths)) => code_name(letter, tenths),
            None if self.letter.is_ascii_graphic() => char::from(self.letter).to_string(),
            None if self.letter == 0 => "the line".to_owned(),
            None => format!("a byte {:#04x}", self.letter),
        }
    }

    /// What is wrong, in one sentence; with the number that Grbl and grblHAL answer, where `numbered`.
    pub fn message(&self, numbered: bool) -> String {
        let name = self.name();
        let number = match self.number().filter(|_| numbered) {
            Some(number) => format!(" (error {number})"),
            None => String::new(),
        };
        let told = match self.rule {
            Rule::NoLetter => format!("{name} stands where a letter and its number should"),
            Rule::NoNumber => format!("{name} has no number that can be read behind it"),
            Rule::Invalid => format!("{name} does not go with what is in force here"),
            Rule::Negative => format!("{name} may not be negative"),
            Rule::NotPositive => format!("{name} must be above zero"),
            Rule::TooLong => "the line is longer than the firmware's buffer".to_owned(),
            Rule::Unsupported => format!("{name} is not known to it"),
            Rule::Units => "it has no inches".to_owned(),
            Rule::ModalGroup => format!("{name} and another code of the line contradict each other"),
            Rule::NoFeed => "the move has no feed".to_owned(),
            Rule::NotInteger => format!("{name} must be a whole number"),
            Rule::AxisConflict => format!("{name} and another code of the line both claim its axis words"),
            Rule::Repeated if self.letter == 0 => "a letter stands twice".to_owned(),
            Rule::Repeated => format!("{name} stands twice"),
            Rule::NoAxes => format!("{name} says of no axis where to"),
            Rule::LineNumber => "the line's number is too large".to_owned(),
            Rule::Missing if self.letter == 0 => "there is nothing to go back to".to_owned(),
            Rule::Missing => format!("{name} is missing, or something that belongs to it"),
            Rule::NoSuchOffset => "there are no such work coordinates".to_owned(),
            Rule::MachineCoordinates => "G53 goes with G0 and G1 only".to_owned(),
            Rule::AxesUnused => "its axis words belong to no code".to_owned(),
            Rule::NoAxesInPlane => "the arc ends nowhere in its plane".to_owned(),
            Rule::Target => "its start, end and centre make no arc, or it goes nowhere".to_owned(),
            Rule::Radius => "an arc by this radius is none, or none that it draws".to_owned(),
            Rule::NoCenter => "the arc has no centre in its plane".to_owned(),
            Rule::Unused => format!("nothing on it uses {name}"),
            Rule::ToolLengthAxis => "G43.1 takes Z and no other axis".to_owned(),
            Rule::NoSuchTool => "there is no tool of this number".to_owned(),
            Rule::OutOfRange => format!("{name} is out of range"),
            Rule::SpindleStands => "the spindle must turn for it".to_owned(),
            Rule::Plane => format!("{name} does not go in this plane"),
            Rule::Retract => "the cycle's retract level is below its bottom".to_owned(),
            Rule::Expression => "an expression cannot be worked out".to_owned(),
        };
        format!("The firmware refuses the line: {told}{number}.")
    }

    /// What to do, in one sentence.
    pub fn help(&self) -> &'static str {
        match self.rule {
            Rule::Unused | Rule::Repeated | Rule::NoLetter => "Take it out, or write the code it belongs to.",
            Rule::ModalGroup | Rule::AxisConflict => "Give each code a line of its own, or take one out.",
            Rule::Unsupported | Rule::Units => "Use a post processor for this firmware, or take the word out.",
            Rule::NoFeed => "Add F to the line, or before it.",
            Rule::Missing | Rule::NoAxes | Rule::NoNumber => "Add what is missing.",
            Rule::Radius => "Write the arc with I and J.",
            Rule::SpindleStands => "Start the spindle first (M3 S…).",
            _ => "Correct the line.",
        }
    }
}
