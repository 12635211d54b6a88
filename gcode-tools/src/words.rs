//! What each word does: the one table that everything else asks.
//!
//! A word is a G, M or T code, a Grbl `$` command, or a command in words of a language. What it does differs by
//! firmware, so each row of `words/table.rs` names those it is true of. Whoever sends, checks, times, previews or goes on with a
//! program asks here, and a new word is one line there.
//!
//! ```
//! use gcode_tools::{time::Firmware, words::{self, Effect, Firmwares, Heater}};
//! let heats = Effect::Heats { heater: Heater::Tool, waits: true };
//! assert_eq!(words::effect(Firmware::Marlin, b'M', 1090), heats); // in tenths
//! assert_eq!(words::effect(Firmware::Grbl, b'M', 1090), Effect::Unknown);
//! assert!(words::effect_of_any(Firmwares::PRINTERS, b'M', 6000).waits_for_person());
//! assert_eq!(words::effect_of_command(Firmware::Klipper, b"SAVE_GCODE_STATE NAME=a"), Effect::Saves);
//! ```
//!
//! Sources: Grbl 1.1's wiki and `gcode.c`, grblHAL's `gcode.c`, FluidNC's wiki, LinuxCNC 2.9's manual and `interp_array.cc`,
//! marlinfw.org, the RepRapFirmware and Klipper references, Prusa's G-code list, Repetier's and Smoothieware's documentation.

use crate::time::Firmware;

mod table;

/// Some firmwares, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firmwares(u16);

impl Firmwares {
    /// Every printer's.
    pub const PRINTERS: Self = Self(0b00_0011_1111);
    /// Every mill's, laser's and lathe's.
    pub const CNC: Self = Self(0b11_1100_0000);
    /// All of them.
    pub const ALL: Self = Self(Self::PRINTERS.0 | Self::CNC.0);

    /// A set of one.
    pub const fn of(firmware: Firmware) -> Self {
        Self(match firmware {
            Firmware::Marlin => 1,
            Firmware::Bambu => 1 << 1,
            Firmware::Repetier => 1 << 2,
            Firmware::Smoothieware => 1 << 3,
            Firmware::Klipper => 1 << 4,
            Firmware::RepRapFirmware => 1 << 5,
            Firmware::Grbl => 1 << 6,
            Firmware::GrblHal => 1 << 7,
            Firmware::FluidNc => 1 << 8,
            Firmware::LinuxCnc => 1 << 9,
        })
    }

    /// Those of either set.
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those of this set that are not in the other.
    pub const fn but(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether the sets have any firmware in common.
    pub const fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// What is heated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heater {
    /// A nozzle: the one selected, or the one named by T or P.
    Tool,
    /// The bed.
    Bed,
    /// The chamber.
    Chamber,
    /// The one that the line names.
    Named,
}

/// What a word does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Moves as the line's words say: straight, along arcs and splines, in cycles and threads.
    Moves,
    /// Moves until a probe touches.
    Probes,
    /// Moves by itself, for up to minutes: homing, levelling, cleaning, parking.
    Homes,
    /// Waits for a time.
    Dwells,
    /// Waits until all motion has ended.
    Synchronises,
    /// Waits for something outside of the machine: a pin, a signal.
    WaitsForInput,
    /// Sets a heater's target.
    Heats {
        /// Which.
        heater: Heater,
        /// Whether it waits until the target is reached.
        waits: bool,
    },
    /// Waits until what was set to be hot is hot.
    WaitsForHeat,
    /// Changes how words behind it are read, and not where coordinates lead: plane, feeds, the extruder, the path.
    Mode,
    /// Changes where the same coordinates lead: units, diameters, scaling, rotation, the machine's own coordinates.
    Measures,
    /// Absolute or relative coordinates: G90 and G91.
    Distances,
    /// Changes where coordinates count from.
    Offset {
        /// Whether it is written to memory that outlives the power: Grbl loses received bytes meanwhile.
        stored: bool,
    },
    /// Keeps modes or a place for later.
    Saves,
    /// Goes back to modes or a place that were kept.
    Restores,
    /// Switches something on or off: spindle, beam, coolant, pins, lights.
    Switches,
    /// Lets the motors go: where the axes are is not certain any more.
    Releases,
    /// Sets something that stays in force and may be said again as it was said last: limits, percentages, fans.
    Tunes,
    /// Draws filament back, or pushes it forward again, as the firmware is set up.
    Retracts,
    /// Selects a tool. On a mill it is put in place by another word.
    SelectsTool,
    /// Has the tool changed, by a changer or by a person.
    ChangesTool,
    /// Waits for a person.
    Person,
    /// Waits for a person to change the filament.
    ChangesFilament,
    /// Tells or asks something: reports, messages, progress, marks for the machine's display.
    Talks,
    /// Changes settings that outlive the job.
    Settings {
        /// Whether memory is written or erased at once.
        writes: bool,
    },
    /// Reads stored settings back.
    Recalls,
    /// Switches off a protection.
    Unprotects,
    /// Writes what follows to the machine's card instead of running it, or runs a program of the card beside this one.
    Card,
    /// Halts the machine, wherever it stands.
    Halts,
    /// Ends the program.
    Ends,
    /// Calls a subprogram, or goes back from one.
    Calls,
    /// Is taken, and changes nothing that matters to a program.
    Nothing,
    /// A macro by its name: what it does is known to the machine alone.
    Macro,
    /// Moves, or changes what coordinates mean, in a way that is not followed here.
    NotFollowed,
    /// Is refused with an error, although firmwares of this kind know it.
    Refused,
    /// Is not known to the firmware: refused by mills, passed over by printers.
    Unknown,
}

impl Effect {
    /// Whether the firmware takes the word at all.
    pub fn is_known(self) -> bool {
        !matches!(self, Self::Unknown | Self::Refused)
    }

    /// Whether it is done only when a person has done something.
    pub fn waits_for_person(self) -> bool {
        matches!(self, Self::Person | Self::ChangesFilament | Self::ChangesTool | Self::WaitsForInput)
    }

    /// Whether it is done only when something is hot.
    pub fn waits_for_heat(self) -> bool {
        matches!(self, Self::WaitsForHeat | Self::Heats { waits: true, .. })
    }

    /// Whether it takes minutes during which a machine may read nothing, or reads on without running anything.
    pub fn takes_minutes(self) -> bool {
        self.waits_for_heat() || self == Self::Homes
    }

    /// Whether the machine writes to memory meanwhile, and may lose what it is sent.
    pub fn writes_memory(self) -> bool {
        matches!(self, Self::Offset { stored: true } | Self::Settings { writes: true } | Self::Recalls)
    }

    /// Whether it leaves the tool where it is, and coordinates as they count: it sets, tells, heats or waits.
    pub fn keeps_place(self) -> bool {
        matches!(
            self,
            Self::Dwells
                | Self::Synchronises
                | Self::Heats { .. }
                | Self::WaitsForHeat
                | Self::Mode
                | Self::Tunes
                | Self::Talks
        )
    }

    /// Which heater it sets.
    pub fn heater(self) -> Option<Heater> {
        match self {
            Self::Heats { heater, .. } => Some(heater),
            _ => None,
        }
    }
}

/// One line of the table: a code in tenths, whose it is, and what it does.
pub(crate) type Row = (u32, Firmwares, Effect);

/// What a code (in tenths) does on a firmware.
#[inline]
pub fn effect(firmware: Firmware, letter: u8, tenths: u32) -> Effect {
    effect_of_any(Firmwares::of(firmware), letter, tenths)
}

/// What a code (in tenths) does on any firmware of a set: the first of the table that fits.
pub fn effect_of_any(firmwares: Firmwares, letter: u8, tenths: u32) -> Effect {
    let (rows, ranges) = match letter {
        b'G' => (table::G, table::G_RANGES),
        b'M' => (table::M, table::M_RANGES),
        b'T' => return Effect::SelectsTool,
        _ => return Effect::Unknown,
    };
    let first = rows.partition_point(|row| row.0 < tenths);
    let own = rows[first..].iter().take_while(|row| row.0 == tenths).find(|row| row.1.meets(firmwares));
    if let Some(row) = own {
        return row.2;
    }
    let fits = |(low, high, whose, _): &&(u32, u32, Firmwares, Effect)| {
        (*low..=*high).contains(&tenths) && whose.meets(firmwares)
    };
    ranges.iter().find(fits).map_or(Effect::Unknown, |range| range.3)
}

/// What a command in words of a language does, told by its first word: Klipper's, RepRapFirmware's conditions, macros.
pub fn effect_of_command(firmware: Firmware, text: &[u8]) -> Effect {
    let name = command_name(text);
    let whose = Firmwares::of(firmware);
    let fits = |row: &&(&[u8], Firmwares, Effect)| {
        let known = row.0;
        row.1.meets(whose)
            && match known.strip_suffix(b"*") {
                Some(start) => name.len() >= start.len() && name[..start.len()].eq_ignore_ascii_case(start),
                None => name.eq_ignore_ascii_case(known),
            }
    };
    match table::COMMANDS.iter().find(fits) {
        Some(row) => row.2,
        // Every other name can be a macro of the machine's configuration.
        None if firmware == Firmware::Klipper => Effect::Macro,
        None => Effect::Unknown,
    }
}

/// The first word of a command in words.
pub fn command_name(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    &text[..text.iter().take_while(|byte| is_of_name(byte)).count()]
}

/// A code as people write it: `G38.2`, `M104`.
pub fn code_name(letter: u8, tenths: u32) -> String {
    let (whole, tenth) = (tenths / 10, tenths % 10);
    let letter = char::from(letter);
    if tenth == 0 { format!("{letter}{whole}") } else { format!("{letter}{whole}.{tenth}") }
}

/// What a Grbl `$` command in a program does.
pub fn effect_of_system(text: &[u8]) -> Effect {
    let text = text.trim_ascii().to_ascii_uppercase();
    if text.starts_with(b"$J=") {
        return Effect::Moves;
    }
    if text.contains(&b'=') {
        return Effect::Settings { writes: true };
    }
    match text.as_slice() {
        b"$H" | b"$HX" | b"$HY" | b"$HZ" => Effect::Homes,
        b"$I" | b"$G" | b"$#" | b"$$" => Effect::Talks,
        b"$X" => Effect::Unprotects,
        // Check mode, in which nothing behind it is executed, and sleep.
        b"$C" | b"$SLP" => Effect::Halts,
        _ => Effect::Unknown,
    }
}

/// The family of machines that a code (in tenths) speaks for, where it means something to one of them only.
pub fn tells_family(letter: u8, tenths: u32) -> Option<crate::interpret::Family> {
    use crate::interpret::Family;
    match (letter, tenths) {
        (b'M', _) if table::TELL_PRINTER_M.contains(&tenths) => Some(Family::Printer),
        (b'M', _) if table::TELL_CNC_M.contains(&tenths) => Some(Family::Cnc),
        (b'G', _) if table::TELL_CNC_G.iter().any(|(low, high)| (*low..=*high).contains(&tenths)) => Some(Family::Cnc),
        _ => None,
    }
}

#[cfg(test)]
mod test;
