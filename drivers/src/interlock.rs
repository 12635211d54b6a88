//! The interlock: every safety rule in one place, and the only maker of the value that spelling a command needs.
//!
//! ```compile_fail
//! // Nobody else can make a clearance.
//! let cleared = drivers::interlock::Cleared(b"M3 S1000");
//! ```

use gcode_tools::block::{Block, Item};
use gcode_tools::time::Firmware;
use gcode_tools::wire::Alphabet;
use gcode_tools::words::{self, Firmwares, Heater};

use crate::dialect::Habits;
use crate::notice::Notice;
use crate::profile::{Heat, Kind, Profile};
use crate::snapshot::{Snapshot, State};

/// A command that may be said to the machine. Only [`clear`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct Cleared<'a>(&'a [u8]);

impl<'a> Cleared<'a> {
    /// The command's bytes, without line number, checksum and line end.
    pub fn text(self) -> &'a [u8] {
        self.0
    }
}

/// Says whether a command may go to the machine as it is now.
///
/// # Errors
/// The notice says which rule forbids it; nothing has been sent.
pub fn clear<'a>(text: &'a [u8], profile: &Profile, habits: &Habits) -> Result<Cleared<'a>, Notice> {
    // Text of messages is UTF-8 on printers; Grbl and its kin act on such bytes.
    let utf8 = habits.alphabet() == Alphabet::Printer;
    if let Some(byte) = text.iter().find(|byte| matches!(byte, 0..=0x1F | 0x7F) || (**byte >= 0x80 && !utf8)) {
        return Err(refusal(
            "interlock.control_byte",
            format!("The line holds the byte 0x{byte:02X}, which a machine may act on at once."),
        ));
    }
    if text.len() > habits.line_max {
        return Err(refusal(
            "interlock.line_too_long",
            format!("The line has {} characters; the machine takes {}.", text.len(), habits.line_max),
        ));
    }
    if text.len() == 2 && text.eq_ignore_ascii_case(b"$C") {
        return Err(refusal(
            "interlock.check_mode",
            "The line switches check mode on: the machine would take the rest and execute nothing of it.".to_owned(),
        ));
    }
    // Most lines are plain moves: only those that can hold such a word are looked at.
    let in_words = text.get(1).is_some_and(|second| second.is_ascii_alphabetic() || *second == b'_');
    if in_words || memchr::memchr2(b'M', b'm', text).is_some() || memchr::memmem::find(text, b"10").is_some() {
        clear_temperature(text, profile)?;
    }
    Ok(Cleared(text))
}

/// Whose heater words are looked at: RepRapFirmware's come first, because it has more than the others.
const HEATING: Firmwares = Firmwares::PRINTERS;

/// Heater words may not ask for more than the profile allows, wherever in a line they stand.
fn clear_temperature(text: &[u8], profile: &Profile) -> Result<(), Notice> {
    let Some(heat) = &profile.heat else { return Ok(()) };
    let block = Block::new(text);
    let heated = block.codes().filter_map(|(letter, tenths)| code_max_c(heat, profile, &block, letter, tenths));
    let asked = block.words().filter(|word| matches!(word.letter, b'S' | b'R'));
    let asked_c = asked.filter_map(|word| word.number()).fold(0.0_f64, f64::max);
    let by_code = heated.reduce(f64::min).map(|max_c| (asked_c, max_c));
    let by_name = block.items().filter_map(|item| match item {
        Item::Extended { text, .. } => command_asks(heat, profile, text),
        _ => None,
    });
    match by_code.into_iter().chain(by_name).find(|(asked_c, max_c)| asked_c > max_c) {
        Some((asked_c, max_c)) => Err(refusal(
            "interlock.too_hot",
            format!("The line asks for {asked_c} °C; the machine's profile allows {max_c} °C."),
        )),
        None => Ok(()),
    }
}

/// What the profile allows at most for the heater that a code heats; nothing where it heats none.
fn code_max_c(heat: &Heat, profile: &Profile, block: &Block, letter: char, tenths: u32) -> Option<f64> {
    let letter = u8::try_from(letter).unwrap_or_default();
    let bed_max_c = heat.bed_max_c.unwrap_or(0.0);
    // RepRapFirmware's G10 and M568 set a tool's temperatures; other printers' G10 has no S and R.
    Some(match words::effect_of_any(HEATING, letter, tenths).heater()? {
        Heater::Tool if letter == b'M' && matches!(tenths, 1040 | 1090) => {
            let named = block.value('T').filter(|tool| *tool >= 0.0).map(|tool| tool as u32);
            profile.tool_max_c(named).unwrap_or(heat.tool_max_c)
        }
        Heater::Bed => bed_max_c,
        Heater::Chamber => heat.chamber_max_c.unwrap_or(0.0),
        // Tuning heats up to its S; E-1 is the bed.
        Heater::Named if block.value('E').is_some_and(|heater| heater < 0.0) => bed_max_c,
        Heater::Tool | Heater::Named => profile.tool_max_c(None).unwrap_or(heat.tool_max_c),
    })
}

/// What a command in Klipper's words asks for, and what the profile allows at most for the heater that it names: `extruder`,
/// `extruder1`, `heater_bed`, or a name of its configuration.
fn command_asks(heat: &Heat, profile: &Profile, text: &[u8]) -> Option<(f64, f64)> {
    words::effect_of_command(Firmware::Klipper, text).heater()?;
    let text = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
    let value = |key: &str| text.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let asked_c = value("target")?.trim_matches('"').parse().ok()?;
    let heater = value("heater").unwrap_or_default().trim_matches('"');
    let max_c = match heater.strip_prefix("extruder").map(str::parse::<u32>) {
        Some(number) => profile.tool_max_c(Some(number.unwrap_or(0))).unwrap_or(heat.tool_max_c),
        None if heater == "heater_bed" => heat.bed_max_c.unwrap_or(0.0),
        None => profile.tool_max_c(None).unwrap_or(heat.tool_max_c),
    };
    Some((asked_c, max_c))
}

fn refusal(code: &str, happened: String) -> Notice {
    Notice::new(
        code,
        happened,
        "The line was not sent and the job is held.",
        "Cancel the job and correct the program or the profile.",
    )
}

/// Something that went wrong while a machine was being talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The network is gone.
    NetworkLost,
    /// An answer is overdue.
    AnswerOverdue,
    /// The machine asks again and again for the same line.
    ResendHopeless,
    /// The machine refused a line of the job.
    LineRefused,
    /// The agent is being stopped.
    AgentStopping,
    /// The link to the machine is gone.
    LinkLost,
    /// The machine is in alarm or halted.
    MachineAlarm,
    /// The machine restarted by itself.
    MachineRestarted,
}

/// What is done about trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// Nothing: the job does not depend on it.
    Continue,
    /// Stand still and wait for a person.
    Hold,
    /// The job is over; a person looks at the machine.
    Fail,
}

/// The contingency table: one answer for each kind of trouble.
pub fn respond(trouble: Trouble) -> Response {
    match trouble {
        Trouble::NetworkLost => Response::Continue,
        Trouble::AnswerOverdue | Trouble::ResendHopeless | Trouble::LineRefused => Response::Hold,
        // The job cannot go on without the agent, and nobody would be left to switch off what it switched on.
        Trouble::LinkLost | Trouble::MachineAlarm | Trouble::MachineRestarted | Trouble::AgentStopping => {
            Response::Fail
        }
    }
}

/// Whether the machine may probe: only a mill has a probe in its spindle, and that must stand.
///
/// # Errors
/// The reason it may not.
pub fn may_probe(state: State, snapshot: &Snapshot, profile: &Profile) -> Result<(), crate::request::Denied> {
    use crate::request::Denied;
    if profile.kind != Kind::Mill {
        return Err(Denied::Unsupported);
    }
    may_start(state, snapshot)?;
    if snapshot.spindle.is_some_and(|spindle| spindle.value > 0.0) { Err(Denied::SpindleOn) } else { Ok(()) }
}

/// Whether a job may start on a machine as it is known now, or a person move it by hand. `state` is what it does, whatever
/// lies on its table.
///
/// # Errors
/// The reason it may not.
pub fn may_start(state: State, snapshot: &Snapshot) -> Result<(), crate::request::Denied> {
    use crate::request::Denied;
    let has_job = snapshot.job.as_ref().is_some_and(|job| !job.phase.is_over());
    match state {
        State::Idle => Ok(()),
        State::Offline => Err(Denied::Offline),
        State::Connecting | State::Unknown => Err(Denied::NotReady),
        State::Running | State::Held | State::Holding if has_job => Err(Denied::JobRunning),
        State::Busy => Err(Denied::Occupied),
        State::Running => Err(Denied::Moving),
        State::Held | State::Holding => Err(Denied::Attention),
        State::Stopping => Err(Denied::Stopping),
        State::Attention => Err(Denied::Attention),
        State::Alarm => Err(Denied::Alarm),
    }
}
