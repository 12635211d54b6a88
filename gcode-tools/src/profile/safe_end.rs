//! Whether a profile's safe end switches off everything that its machine can have on.
//!
//! A bare `M104 S0` means the current tool only: Marlin `M104_M109.cpp` (`get_target_extruder_from_command`),
//! RepRapFirmware `GCodes2.cpp` (case 104), Klipper `extruder.py` (`cmd_M104`). Which tool is the current one when a job
//! ends early nobody knows, so each hot end is named by its tool.

use std::fmt;

use super::{Kind, Problem, Profile, Step};
use crate::block::Block;
use crate::statement::Statement;

/// Something that a job may leave on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hazard {
    /// A hot end, by its number; alone where the machine has no other.
    HotEnd {
        /// Its number.
        heater: u32,
        /// A tool that is heated by it.
        tool: u32,
        /// Whether the machine has no other.
        alone: bool,
    },
    /// The bed.
    Bed,
    /// The chamber.
    Chamber,
    /// The spindle of a mill.
    Spindle,
    /// The beam of a laser.
    Laser,
}

impl Hazard {
    /// A line that switches it off, in the words that most firmwares know.
    pub fn off(self) -> String {
        match self {
            Self::HotEnd { alone: true, .. } => "M104 S0".to_owned(),
            Self::HotEnd { tool, .. } => format!("M104 T{tool} S0"),
            Self::Bed => "M140 S0".to_owned(),
            Self::Chamber => "M141 S0".to_owned(),
            Self::Spindle | Self::Laser => "M5".to_owned(),
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HotEnd { alone: true, .. } => out.write_str("the hot end"),
            Self::HotEnd { tool, .. } => write!(out, "the hot end of tool {tool}"),
            Self::Bed => out.write_str("the bed"),
            Self::Chamber => out.write_str("the chamber"),
            Self::Spindle => out.write_str("the spindle"),
            Self::Laser => out.write_str("the laser"),
        }
    }
}

impl Profile {
    /// Everything that a job may leave on, by this profile.
    pub fn hazards(&self) -> Vec<Hazard> {
        let mut hazards = Vec::new();
        if let Some(heat) = &self.heat {
            let mut heaters: Vec<(u32, u32)> = Vec::new();
            for tool in &self.tools {
                let heater = tool.heater.unwrap_or(tool.number);
                if heaters.iter().all(|(known, _)| *known != heater) {
                    heaters.push((heater, tool.number));
                }
            }
            if heaters.is_empty() {
                heaters.push((0, 0));
            }
            let alone = heaters.len() == 1;
            hazards.extend(heaters.into_iter().map(|(heater, tool)| Hazard::HotEnd { heater, tool, alone }));
            hazards.extend(heat.bed_max_c.map(|_| Hazard::Bed));
            hazards.extend(heat.chamber_max_c.map(|_| Hazard::Chamber));
        }
        // A printer may carry another head.
        if self.kind == Kind::Mill || self.spindle.is_some() {
            hazards.push(Hazard::Spindle);
        }
        if self.kind == Kind::Laser || self.laser.is_some() {
            hazards.push(Hazard::Laser);
        }
        hazards
    }

    /// What its safe end leaves on.
    pub fn left_on(&self) -> Vec<Hazard> {
        self.not_switched_off(self.hazards())
    }

    /// Those of the hazards that its safe end does not switch off. A machine may report heaters that its profile does not
    /// know.
    pub fn not_switched_off(&self, hazards: Vec<Hazard>) -> Vec<Hazard> {
        let off: Vec<Off> = self.safety.safe_end.iter().filter_map(|line| self.switches_off(line)).collect();
        hazards.into_iter().filter(|hazard| !off.iter().any(|off| off.covers(*hazard))).collect()
    }

    /// What a safe end that leaves something on is told, one sentence each. A machine that takes no single lines, or none
    /// from here, ends by itself.
    pub fn safe_end_problems(&self) -> Vec<Problem> {
        if self.network_only || self.modbus.as_ref().is_some_and(|modbus| modbus.program.is_some()) {
            return Vec::new();
        }
        let place = [Step::Key("safety"), Step::Key("safe_end")];
        let said = |hazard: Hazard| {
            Problem::at(
                place,
                format!(
                    "safety.safe_end: {hazard} stays on when a job ends early. Add \"{}\", or this firmware's own word for it.",
                    hazard.off()
                ),
            )
        };
        self.left_on().into_iter().map(said).collect()
    }

    /// The hot end of a tool: these words name tools, never heaters. A tool that the profile does not list heats one of
    /// its own.
    fn hot_end(&self, tool: Option<u32>) -> Off {
        let heater = |named: u32| {
            let known = self.tools.iter().find(|tool| tool.number == named);
            known.and_then(|tool| tool.heater).unwrap_or(named)
        };
        Off::HotEnd(tool.map(heater))
    }

    /// What a line switches off.
    fn switches_off(&self, line: &str) -> Option<Off> {
        let first = line.split_ascii_whitespace().next().unwrap_or_default();
        if self.dialect == "klipper" && first.eq_ignore_ascii_case("TURN_OFF_HEATERS") {
            return Some(Off::Heaters);
        }
        let block = Block::new(line.as_bytes());
        let statement = Statement::of(&block);
        let (letter, tenths) = *statement.codes().iter().find(|(letter, _)| *letter != b'T')?;
        let target = statement.value(b'S').or_else(|| statement.value(b'R'));
        let cold = target.is_some_and(|target| target <= 0.0);
        let whole = |letter: u8| statement.value(letter).map(|number| number.max(0.0) as u32);
        // A tool word stands among the codes of a line.
        let tool = statement.codes().iter().find(|(letter, _)| *letter == b'T').map(|(_, tenths)| tenths / 10);
        match (letter, tenths) {
            (b'M', 1040) if cold => Some(self.hot_end(tool.or_else(|| whole(b'T')))),
            // RepRapFirmware sets active and standby temperatures, or switches the tool's heaters off by A0.
            (b'M', 5680) if cold || statement.value(b'A') == Some(0.0) => Some(self.hot_end(whole(b'P'))),
            (b'G', 100) if cold && self.heat.is_some() => Some(self.hot_end(whole(b'P'))),
            (b'M', 1400) if cold => Some(Off::Bed),
            (b'M', 1410) if cold => Some(Off::Chamber),
            (b'M', 50) => Some(Off::Tool),
            _ => None,
        }
    }
}

/// What a line switches off.
enum Off {
    /// The current tool's hot end, or the one with this number.
    HotEnd(Option<u32>),
    Bed,
    Chamber,
    /// All that heats.
    Heaters,
    /// Spindle and beam.
    Tool,
}

impl Off {
    fn covers(&self, hazard: Hazard) -> bool {
        match (self, hazard) {
            (Self::Heaters, Hazard::HotEnd { .. } | Hazard::Bed | Hazard::Chamber) => true,
            (Self::HotEnd(None), Hazard::HotEnd { alone, .. }) => alone,
            (Self::HotEnd(Some(named)), Hazard::HotEnd { heater, .. }) => *named == heater,
            (Self::Bed, Hazard::Bed) | (Self::Chamber, Hazard::Chamber) => true,
            (Self::Tool, Hazard::Spindle | Hazard::Laser) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const PRINTER: &str = "name = 'p'\ntitle = 'P'\nkind = 'printer'\ndialect = 'marlin'\n\
                           [heat]\ntool_max_c = 260.0\nbed_max_c = 100.0\n";

    fn left_on(text: &str, safe_end: &str) -> Vec<String> {
        let profile = Profile::parse(&format!("{text}[safety]\nsafe_end = {safe_end}\n")).unwrap();
        profile.left_on().iter().map(Hazard::to_string).collect()
    }

    #[test]
    fn an_empty_safe_end_leaves_all_on_and_is_refused_with_its_line() {
        assert_eq!(left_on(PRINTER, "[]"), ["the hot end", "the bed"]);
        let error = Profile::parse_streamed(&format!("{PRINTER}[safety]\nsafe_end = []\n")).unwrap_err();
        assert!(
            error.code == "profile.invalid" && error.message.contains("line 9") && error.message.contains("M140 S0")
        );
        assert!(Profile::parse_streamed(PRINTER).is_err(), "none at all is no better");
    }

    #[test]
    fn a_tool_is_named_and_not_its_heater() {
        // As on a Duet, where heater 0 is the bed's.
        let duet = PRINTER.to_owned() + "[[tools]]\nnumber = 0\nheater = 1\n[[tools]]\nnumber = 1\nheater = 2\n";
        assert_eq!(
            left_on(&duet, "['M104 T1 S0', 'M104 T2 S0', 'M140 S0']"),
            ["the hot end of tool 0"],
            "no tool 2 is there, and nothing names tool 0"
        );
        assert!(left_on(&duet, "['M104 T0 S0', 'M104 T1 S0', 'M140 S0']").is_empty());
        assert_eq!(left_on(PRINTER, "['M104 T1 S0', 'M140 S0']"), ["the hot end"]);
    }

    #[test]
    fn each_hot_end_is_switched_off_by_its_tool() {
        let two = format!("{PRINTER}[[tools]]\nnumber = 0\n[[tools]]\nnumber = 1\n");
        assert_eq!(left_on(&two, "['M104 S0', 'M140 S0']").len(), 2, "only the current tool would be off");
        assert_eq!(left_on(&two, "['M104 T0 S0', 'M140 S0']"), ["the hot end of tool 1"]);
        assert!(left_on(&two, "['M104 T0 S0', 'm104 s0 t1', 'M140 S0']").is_empty());
        assert!(left_on(&two, "['M568 P0 S0 R0', 'G10 P1 S0 R0', 'M140 S0']").is_empty());
        let one = format!("{PRINTER}[[tools]]\nnumber = 0\nheater = 0\n[[tools]]\nnumber = 1\nheater = 0\n");
        assert!(left_on(&one, "['M104 S0', 'M140 S0']").is_empty(), "two filaments, one nozzle");
    }

    #[test]
    fn what_does_not_switch_off_does_not_count() {
        for line in ["M104 S50", "M104", "M109 R50", "M140 S60", "M107", "; M104 S0", "M117 M104 S0"] {
            assert!(left_on(PRINTER, &format!("['{line}', 'M140 S0']")).contains(&"the hot end".to_owned()), "{line}");
        }
        let klipper = PRINTER.replace("marlin", "klipper");
        assert!(left_on(&klipper, "['TURN_OFF_HEATERS']").is_empty());
        assert_eq!(left_on(PRINTER, "['TURN_OFF_HEATERS']").len(), 2, "a word of Klipper's");
        let chamber = PRINTER.replace("bed_max_c", "chamber_max_c");
        assert_eq!(left_on(&chamber, "['M104 S0', 'M140 S0']"), ["the chamber"]);
    }

    #[test]
    fn a_mill_and_a_laser_switch_their_tool_off() {
        let mill =
            "name = 'm'\ntitle = 'M'\nkind = 'mill'\ndialect = 'grbl'\n[spindle]\nmin_rpm = 0.0\nmax_rpm = 1.0\n";
        assert_eq!(left_on(mill, "['M9']"), ["the spindle"]);
        assert!(left_on(mill, "['M5', 'M9']").is_empty());
        let laser = "name = 'l'\ntitle = 'L'\nkind = 'laser'\ndialect = 'grbl'\n[laser]\ns_max = 1000.0\n";
        assert_eq!(left_on(laser, "['M4 S0', 'M3']"), ["the laser"]);
    }
}
