//! The interlock: every safety rule in one place, and the only maker of the value that spelling a command needs.
//!
//! ```compile_fail
//! // Nobody else can make a clearance.
//! let cleared = drivers::interlock::Cleared(b"M3 S1000");
//! ```

use gcode_tools::block::Block;
use gcode_tools::words::{self, Firmwares, Heater};

use crate::notice::Notice;
use crate::profile::{Kind, Profile};
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
pub fn clear<'a>(text: &'a [u8], profile: &Profile, line_max: usize) -> Result<Cleared<'a>, Notice> {
    if let Some(byte) = text.iter().find(|byte| **byte < 0x20 || **byte >= 0x7f) {
        return Err(refusal(
            "interlock.control_byte",
            format!("The line holds the byte 0x{byte:02X}, which a machine may act on at once."),
        ));
    }
    if text.len() > line_max {
        return Err(refusal(
            "interlock.line_too_long",
            format!("The line has {} characters; the machine takes {line_max}.", text.len()),
        ));
    }
    if text.len() == 2 && text.eq_ignore_ascii_case(b"$C") {
        return Err(refusal(
            "interlock.check_mode",
            "The line switches check mode on: the machine would take the rest and execute nothing of it.".to_owned(),
        ));
    }
    if text.first().is_some_and(|letter| letter.eq_ignore_ascii_case(&b'M')) || text.starts_with(b"G10") {
        clear_temperature(text, profile)?;
    }
    Ok(Cleared(text))
}

/// Whose heater words are looked at: RepRapFirmware's come first, because it has more than the others.
const HEATING: Firmwares = Firmwares::PRINTERS;

/// Heater words may not ask for more than the profile allows.
fn clear_temperature(text: &[u8], profile: &Profile) -> Result<(), Notice> {
    let Some(heat) = &profile.heat else { return Ok(()) };
    let block = Block::new(text);
    let Some((letter, tenths)) = block.codes().next() else { return Ok(()) };
    let letter = u8::try_from(letter).unwrap_or_default();
    let bed_max_c = heat.bed_max_c.unwrap_or(0.0);
    // RepRapFirmware's G10 and M568 set a tool's temperatures; other printers' G10 has no S and R.
    let max_c = match words::effect_of_any(HEATING, letter, tenths).heater() {
        Some(Heater::Tool) if letter == b'M' && matches!(tenths, 1040 | 1090) => {
            let named = block.value('T').filter(|tool| *tool >= 0.0).map(|tool| tool as u32);
            profile.tool_max_c(named).unwrap_or(heat.tool_max_c)
        }
        Some(Heater::Bed) => bed_max_c,
        Some(Heater::Chamber) => heat.chamber_max_c.unwrap_or(0.0),
        // Tuning heats up to its S; E-1 is the bed.
        Some(Heater::Named) if block.value('E').is_some_and(|heater| heater < 0.0) => bed_max_c,
        Some(Heater::Tool | Heater::Named) => profile.tool_max_c(None).unwrap_or(heat.tool_max_c),
        None => return Ok(()),
    };
    let asked_c = ['S', 'R'].iter().filter_map(|letter| block.value(*letter)).fold(0.0_f64, f64::max);
    if asked_c > max_c {
        return Err(refusal(
            "interlock.too_hot",
            format!("The line asks for {asked_c} °C; the machine's profile allows {max_c} °C."),
        ));
    }
    Ok(())
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
pub fn may_probe(snapshot: &Snapshot, profile: &Profile) -> Result<(), crate::request::Denied> {
    use crate::request::Denied;
    if profile.kind != Kind::Mill {
        return Err(Denied::Unsupported);
    }
    may_start(snapshot)?;
    if snapshot.spindle.is_some_and(|spindle| spindle.value > 0.0) { Err(Denied::SpindleOn) } else { Ok(()) }
}

/// Whether a job may start on a machine as it is known now, or a person move it by hand.
///
/// # Errors
/// The reason it may not.
pub fn may_start(snapshot: &Snapshot) -> Result<(), crate::request::Denied> {
    use crate::request::Denied;
    let has_job = snapshot.job.as_ref().is_some_and(|job| !job.phase.is_over());
    match snapshot.state {
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
