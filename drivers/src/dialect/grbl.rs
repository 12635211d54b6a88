//! Grbl 1.1: unnumbered lines, one `ok` or `error:n` a line, real-time bytes that skip the buffer.
//!
//! ```text
//! < Grbl 1.1h ['$' for help]
//! > $I
//! < [VER:1.1h.20190825:]
//! < [OPT:V,15,128]
//! < ok
//! > G1X10F600
//! < ok
//! > ?
//! < <Run|MPos:1.250,0.000,0.000|FS:600,0|WCO:0.000,0.000,0.000>
//! > !
//! < <Hold:0|MPos:3.104,0.000,0.000|FS:0,0|Ov:100,100,100>
//! > G1Z-200
//! < error:15
//! ```
//!
//! Sources: gnea/grbl 1.1h `grbl/serial.c`, `protocol.c`, `report.c`, `doc/markdown/interface.md` and `doc/csv`.

use gcode_tools::wire::Numbers;

use super::grbl_codes::{ALARMS, ERRORS, Sentences, sentence};
use super::{
    Asking, Calm, Condition, Dialect, Habits, Likeness, MotionEnd, NumbersRead, Reply, Spelling, Status, StopHabit,
    Word, printable,
};
use crate::flow::Limits;
use crate::interlock::Cleared;
use crate::request::Override;
use crate::snapshot::{Identity, Probed};

/// The vocabulary of Grbl and its kin: what differs between them is data.
#[derive(Debug)]
pub(super) struct GrblLike {
    pub(super) habits: Habits,
    /// What error numbers mean, the firmware's own table first.
    pub(super) errors: &'static [Sentences],
    /// What alarm numbers mean, the firmware's own table first.
    pub(super) alarms: &'static [Sentences],
    /// Alarms that nothing but a reset ends.
    pub(super) critical: &'static [u32],
    /// The firmware's name and version, from the first field of `[VER:…]`.
    pub(super) firmware: fn(&str) -> String,
    pub(super) likeness: fn(&[u8]) -> Likeness,
}

/// Grbl 1.1's vocabulary.
pub(super) static GRBL: GrblLike = GrblLike {
    // M6 is no word of Grbl 1.1 (`gcode.c` answers it with error 20).
    habits: Habits { name: "grbl", tool_change: false, ..HABITS },
    errors: &[ERRORS],
    alarms: &[ALARMS],
    critical: CRITICAL,
    firmware: |version| format!("Grbl {version}"),
    likeness: |line| if is_kin(line) { Likeness::Kin } else { Likeness::None },
};

/// A limit was hit, or would have been: Grbl waits for a reset (`protocol.c`). 10 is the emergency stop of a grblHAL that says
/// it is a Grbl; elsewhere a reset does no harm.
pub(super) const CRITICAL: &[u32] = &[1, 2, 10];

/// What Grbl and its kin have in common.
pub(super) const HABITS: Habits = Habits {
    name: "",
    printer: false,
    numbered: false,
    counter: None,
    registers: false,
    // RX_BUFFER_SIZE is 128 (`serial.h`); the ring is allocated one byte larger (RX_RING_BUFFER), so 128 fit.
    // One is left free, as the interface document advises.
    window: Limits { lines: 64, bytes: 127 },
    // LINE_BUFFER_SIZE 80 holds 79 characters and a zero (`protocol.h`); one more is error 11.
    line_max: 79,
    // The question behind half a line makes nonsense of it.
    // `read_float` (`nuts_bolts.c`) reads digits only. Its ports to other processors say the same version, and what they
    // read with is not told: Grbl's first ports read with their C library (grbl issues 94 and 122). E is no word of it.
    numbers: NumbersRead::always(Numbers::Prefixed),
    spoils: "",
    identify: "$I",
    ok_when_taken: false,
    ok_after_resend: false,
    needs_proof: false,
    banner: true,
    // The interface document asks for at most 5 Hz while streaming.
    asking: Asking::Realtime { every_ms: 200 },
    motion_end: MotionEnd::IdleReport,
    // BLOCK_BUFFER_SIZE 16 (`planner.h`), one of which stays free.
    planner_blocks: 15,
    settings: &["$$"],
    place: &["$#", "$G"],
    inactivity: None,
    keepalive: false,
    // What it runs by itself stands in its reports.
    card: None,
    tool_change: true,
    keepalive_word: None,
    auto_report: None,
    stop: StopHabit::AtOnce,
    asks_why: None,
    answers_moves_early: false,
    error_sticks: false,
    spindle_waits_s: 0,
    // What an alarm takes no lines but `$X` and `$H` for (`protocol.c`); a limit or an emergency stop needs a reset first.
    way_out: "When it is safe, clear the alarm: the agent resets it where that is needed and says `$X`.",
};

/// Whether Grbl or one of its kin says this: grblHAL, built to be compatible, says the same of itself. `FluidNC`
/// always says its own name.
pub(super) fn is_kin(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let starts = line.starts_with(b"Grbl 1.") || line.starts_with(b"[VER:") || line.starts_with(b"[OPT:");
    starts && memchr::memmem::find(line, b"FluidNC").is_none()
}

impl Dialect for GrblLike {
    fn habits(&self) -> &Habits {
        &self.habits
    }

    fn read(&self, line: &[u8], heard: &mut Vec<Reply>) {
        let line = line.trim_ascii();
        heard.push(self.read_line(line));
        // Whether something turns is one thing that the codes say; what else is in force another.
        if let Some(codes) = line.strip_prefix(b"[GC:").and_then(|rest| rest.strip_suffix(b"]")) {
            heard.push(Reply::Codes(printable(codes)));
        }
    }

    fn likeness(&self, line: &[u8]) -> Likeness {
        (self.likeness)(line)
    }

    fn spell(&self, command: Cleared<'_>, _number: Option<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(command.text());
        out.push(b'\n');
    }

    fn calm(&self, word: Calm) -> Spelling {
        match word {
            Calm::Hold => Spelling::Realtime(b"!".to_vec()),
            Calm::Halt | Calm::Drop => Spelling::Realtime(vec![0x18]),
            Calm::Query => Spelling::Realtime(b"?".to_vec()),
            Calm::StopWaiting => Spelling::None,
            // Acted on while jogging and ignored at all other times (`serial.c`).
            Calm::EndJog => Spelling::Realtime(vec![0x85]),
            // Acted on in a hold only; going on switches it back on (`protocol.c`, `spindle_stop_ovr`).
            Calm::SpindleOffInHold => Spelling::Realtime(vec![0x9e]),
        }
    }

    fn word(&self, word: &Word) -> Spelling {
        match word {
            Word::Home => Spelling::Lines(vec!["$H".to_owned()]),
            Word::Unlock => Spelling::Lines(vec!["$X".to_owned()]),
            Word::Jog(jog) => {
                let [x, y, z] = jog.by_mm;
                Spelling::Lines(vec![format!("$J=G91G21X{x:.3}Y{y:.3}Z{z:.3}F{:.0}", jog.feed_mm_min)])
            }
            Word::Override(Override::Feed(percent)) => Spelling::Realtime(steps(*percent, 0x90)),
            Word::Override(Override::Rapid(percent)) => Spelling::Realtime(vec![match percent {
                100 => 0x95,
                50 => 0x96,
                _ => 0x97,
            }]),
            Word::Override(Override::Spindle(percent)) => Spelling::Realtime(steps(*percent, 0x99)),
            Word::OverrideStep { from, to: Override::Feed(percent) } => step(*from, *percent, 0x90),
            Word::OverrideStep { from, to: Override::Spindle(percent) } => step(*from, *percent, 0x99),
            Word::OverrideStep { to, .. } => self.word(&Word::Override(*to)),
            Word::Override(Override::Flow(_)) | Word::Choose(_) => Spelling::None,
            Word::Probe(probe) => Spelling::Lines(vec![
                format!("G91G21G38.2Z-{:.3}F{:.0}", probe.down_mm, probe.feed_mm_min),
                "G90".to_owned(),
            ]),
            Word::Lift(lift) => Spelling::Lines(vec![format!("G21G53G0Z{:.3}", lift.to_mm)]),
            Word::Absolute => Spelling::Lines(vec!["G90".to_owned()]),
        }
    }

    fn resume(&self) -> Spelling {
        Spelling::Realtime(b"~".to_vec())
    }
}

/// Override bytes: reset to 100 % first, then coarse and fine steps (`config.h`: 0x90 feed, 0x99 spindle).
fn steps(percent: u32, reset: u8) -> Vec<u8> {
    let mut bytes = vec![reset];
    let (coarse, fine) = if percent >= 100 { (reset + 1, reset + 3) } else { (reset + 2, reset + 4) };
    let distance = percent.abs_diff(100).min(100);
    bytes.extend(std::iter::repeat_n(coarse, distance as usize / 10));
    bytes.extend(std::iter::repeat_n(fine, distance as usize % 10));
    bytes
}

/// One step towards a percentage.
fn step(from: u32, to: u32, reset: u8) -> Spelling {
    let byte = match (to > from, from.abs_diff(to)) {
        (_, 0) => return Spelling::None,
        (true, 10..) => reset + 1,
        (false, 10..) => reset + 2,
        (true, _) => reset + 3,
        (false, _) => reset + 4,
    };
    Spelling::Realtime(vec![byte])
}

impl GrblLike {
    fn read_line(&self, line: &[u8]) -> Reply {
        if line == b"ok" {
            return Reply::Ok { number: None, planner_free: None, queue_free: None };
        }
        if let Some(report) = line.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")) {
            return read_status(report).map_or(Reply::Chatter, |status| Reply::Status(Box::new(status)));
        }
        let name = self.habits.name;
        if let Some(number) = line.strip_prefix(b"error:") {
            let Some(number) = integer(number) else { return Reply::Chatter };
            let unknown = "The machine refused the line with a number its documentation does not list.";
            let sentence = sentence(self.errors, number, unknown);
            return Reply::Refused { code: format!("{name}.error.{number}"), sentence, answers: true };
        }
        if let Some(number) = line.strip_prefix(b"ALARM:") {
            let Some(number) = integer(number) else { return Reply::Chatter };
            let unknown = "The machine raised an alarm with a number its documentation does not list.";
            return Reply::Alarm {
                code: format!("{name}.alarm.{number}"),
                sentence: sentence(self.alarms, number, unknown),
                needs_reset: self.critical.contains(&number),
            };
        }
        if let Some((key, value)) = setting(line) {
            return Reply::Setting(key, value);
        }
        if line.starts_with(b"Grbl ") || line.starts_with(b"GrblHAL ") {
            return Reply::Started;
        }
        self.read_bracket(line)
    }

    /// `[VER:…]`, `[OPT:…]`, `[MSG:…]` and the rest of the bracketed family.
    fn read_bracket(&self, line: &[u8]) -> Reply {
        let Some(inner) = line.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
            return Reply::Chatter;
        };
        let Some(colon) = memchr::memchr(b':', inner) else { return Reply::Chatter };
        let text = printable(&inner[colon + 1..]);
        match &inner[..colon] {
            b"VER" => {
                let (version, name) = text.split_once(':').unwrap_or((&text, ""));
                Reply::Identity(Box::new(Identity {
                    firmware: (self.firmware)(version.trim()),
                    machine: Some(name.to_owned()).filter(|name| !name.is_empty()),
                    ..Identity::default()
                }))
            }
            b"OPT" => {
                let mut fields = text.split(',').skip(1);
                Reply::Identity(Box::new(Identity {
                    planner_blocks: fields.next().and_then(|blocks| blocks.parse().ok()),
                    receive_buffer_bytes: fields.next().and_then(|bytes| bytes.parse().ok()),
                    ..Identity::default()
                }))
            }
            // grblHAL lists what was built in; `RT-` says that `?`, `!` and `~` are plain text to it.
            b"NEWOPT" => Reply::Identity(Box::new(Identity {
                capabilities: text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                ..Identity::default()
            })),
            b"MSG" => match text.strip_prefix("Machine: ") {
                Some(name) => {
                    Reply::Identity(Box::new(Identity { machine: Some(name.to_owned()), ..Identity::default() }))
                }
                None => Reply::Message(text),
            },
            b"GC" => spindle_on(&text).map_or(Reply::Chatter, Reply::SpindleOn),
            b"PRB" => probed(&text).map_or(Reply::Chatter, Reply::Probed),
            // Grbl says one number of the tool's length, grblHAL one an axis.
            b"TLO" => offset(&text)
                .or_else(|| decimal(text.trim()).map(|length| [0.0, 0.0, length]))
                .map_or(Reply::Chatter, |length| Reply::Offset("TLO".to_owned(), length)),
            name if name.first() == Some(&b'G') => {
                offset(&text).map_or(Reply::Chatter, |offset| Reply::Offset(printable(name), offset))
            }
            _ => Reply::Chatter,
        }
    }
}

/// `G0 G54 G17 G21 G90 G94 M3 M9 T0 F0 S9000`: whether a spindle or beam is on, at a speed or power above zero.
fn spindle_on(modal: &str) -> Option<bool> {
    let mut words = modal.split_whitespace();
    let on = words.clone().find_map(|word| match word {
        "M3" | "M4" => Some(true),
        "M5" => Some(false),
        _ => None,
    })?;
    let speed = words.find_map(|word| decimal(word.strip_prefix('S')?));
    Some(on && speed.is_none_or(|speed| speed > 0.0))
}

/// `-200.000,-100.000,-20.000`; machines with more axes say more numbers.
fn offset(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split(',').map(decimal);
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// `0.000,0.000,-5.123:1`: where the probe touched, and whether it did.
fn probed(text: &str) -> Option<Probed> {
    let (position, touched) = text.split_once(':')?;
    // Machines with more axes say more numbers.
    let mut numbers = position.split(',').map(decimal);
    Some(Probed { position_mm: [numbers.next()??, numbers.next()??, numbers.next()??], touched: touched == "1" })
}

/// `Run|MPos:1.250,0.000,0.000|FS:600,0|Bf:13,98|WCO:…|Ov:…|Pn:…|Ln:…`.
pub(super) fn read_status(report: &[u8]) -> Option<Status> {
    let text = std::str::from_utf8(report).ok()?;
    let mut fields = text.split('|');
    let mut status = Status { condition: Some(condition(fields.next()?)?), ..Status::default() };
    let mut accessories = None;
    for field in fields {
        let Some((key, value)) = field.split_once(':') else { continue };
        match key {
            "MPos" => status.machine_position = triple(value),
            "WPos" => status.work_position = triple(value),
            "WCO" => status.work_offset = triple(value),
            // Smoothieware adds what was asked for and the override.
            "F" => status.feed = decimal(value.split(',').next()?),
            "FS" => {
                let (feed, spindle) = value.split_once(',')?;
                status.feed = decimal(feed);
                // grblHAL adds the measured speed as a third number; the asked-for one is the second.
                status.spindle = decimal(spindle.split(',').next()?);
            }
            "Bf" => {
                let (blocks, bytes) = value.split_once(',')?;
                status.planner_free = blocks.parse().ok();
                status.buffer_free = bytes.parse().ok();
            }
            "Ln" => status.line = value.parse().ok(),
            "Ov" => {
                let mut percents = value.split(',').map(str::parse::<u32>);
                if let (Some(Ok(feed)), Some(Ok(rapid)), Some(Ok(spindle))) =
                    (percents.next(), percents.next(), percents.next())
                {
                    status.overrides = Some([feed, rapid, spindle]);
                }
            }
            // S and C: the spindle or beam, either way; F and M: coolant.
            "A" => accessories = Some(value),
            // grblHAL: homed since it was switched on, or not any more.
            "H" => status.homed = Some(value.starts_with('1')),
            "Pn" => status.pins = Some(printable(value.as_bytes())),
            // A job from the controller's own card: percent, and the file's name (FluidNC, grblHAL's card plugin).
            "SD" => status.card = Some(printable(value.as_bytes())),
            _ => {}
        }
    }
    // What is on stands in the reports that have the overrides, and in no others (`report.c`).
    let turns = |letters: &str| letters.contains(['S', 'C']);
    status.spindle_on = accessories.map(turns).or(status.overrides.map(|_| false));
    Some(status)
}

fn condition(word: &str) -> Option<Condition> {
    let (word, detail) = word.split_once(':').unwrap_or((word, ""));
    Some(match word {
        "Idle" => Condition::Idle,
        "Run" | "Jog" | "Home" => Condition::Run,
        // It parses and moves nothing.
        "Check" => Condition::Check,
        // grblHAL's tool change by hand: it stands still and waits for a person.
        "Tool" => Condition::Held,
        "Hold" if detail == "1" => Condition::Holding,
        "Hold" => Condition::Held,
        // Door:3 is closed and let go on: the spindle comes to its speed for four seconds, and the tool goes back.
        "Door" if detail == "3" => Condition::Run,
        // Door:0 is closed again and ready to resume; the others are open or retracting.
        "Door" => Condition::Door,
        "Alarm" => Condition::Alarm,
        "Sleep" => Condition::Sleep,
        _ => return None,
    })
}

/// `$32=1`, one line of the answer to `$$`; behind the value old builds put a description in brackets.
fn setting(line: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(line).ok()?;
    let (key, value) = text.split_once('=')?;
    let number = key.strip_prefix('$')?;
    let is_number = !number.is_empty() && number.len() <= 4 && number.bytes().all(|digit| digit.is_ascii_digit());
    let value = value.split('(').next().unwrap_or_default().trim();
    is_number.then(|| (key.to_owned(), printable(value.as_bytes())))
}

fn triple(value: &str) -> Option<[f64; 3]> {
    let mut numbers = value.split(',').map(decimal);
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

fn decimal(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

pub(super) fn integer(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod test {
    use super::*;

    fn read(line: &[u8]) -> Reply {
        GRBL.read_line(line)
    }

    #[test]
    fn a_full_status_report_is_read_field_by_field() {
        let Reply::Status(status) = read(
            b"<Hold:1|MPos:1.250,-2.000,0.000|Bf:13,98|Ln:99|FS:600,1000|Pn:XD|WCO:1.000,2.000,3.000|Ov:120,50,90>",
        ) else {
            panic!()
        };
        assert_eq!(status.condition, Some(Condition::Holding));
        assert_eq!(status.machine_position, Some([1.25, -2.0, 0.0]));
        assert_eq!((status.planner_free, status.buffer_free), (Some(13), Some(98)));
        assert_eq!(status.line, Some(99));
        assert_eq!((status.feed, status.spindle), (Some(600.0), Some(1000.0)));
        assert_eq!(status.overrides, Some([120, 50, 90]));
        assert_eq!(status.work_offset, Some([1.0, 2.0, 3.0]));
    }

    #[test]
    fn what_is_switched_on_is_read_where_it_is_said() {
        let on = |report: &[u8]| read_status(report).unwrap().spindle_on;
        assert_eq!(on(b"Idle|MPos:0.000,0.000,0.000|F:0|Ov:100,100,100|A:SF"), Some(true));
        assert_eq!(on(b"Idle|MPos:0.000,0.000,0.000|F:0|Ov:100,100,100|A:F"), Some(false));
        assert_eq!(on(b"Idle|MPos:0.000,0.000,0.000|F:0|Ov:100,100,100"), Some(false));
        assert_eq!(on(b"Idle|MPos:0.000,0.000,0.000|F:0"), None, "this report does not tell");
        assert_eq!(read(b"[GC:G0 G54 G17 G21 G90 G94 M3 M9 T0 F0 S9000]"), Reply::SpindleOn(true));
        assert_eq!(read(b"[GC:G0 G54 G17 G21 G90 G94 M3 M9 T0 F0 S0]"), Reply::SpindleOn(false));
        assert_eq!(read(b"[GC:G0 G54 G17 G21 G90 G94 M5 M9 T0 F0 S9000]"), Reply::SpindleOn(false));
        assert_eq!(read(b"[GC:G0 G54]"), Reply::Chatter);
    }

    #[test]
    fn numbers_become_sentences() {
        let Reply::Refused { code, sentence, .. } = read(b"error:33") else { panic!() };
        assert_eq!(code, "grbl.error.33");
        assert!(sentence.len() > 20 && !sentence.contains("33"));
        let Reply::Alarm { code, sentence, needs_reset: true } = read(b"ALARM:1") else { panic!() };
        assert_eq!(code, "grbl.alarm.1");
        assert!(sentence.contains("limit"));
    }

    #[test]
    fn the_real_buffer_size_is_read_from_the_options() {
        let Reply::Identity(identity) = read(b"[OPT:VNM+,35,1024]") else { panic!() };
        assert_eq!(identity.receive_buffer_bytes, Some(1024));
        assert_eq!(identity.planner_blocks, Some(35));
    }

    #[test]
    fn a_probe_says_where_it_touched_or_that_it_did_not() {
        let touched = Probed { position_mm: [1.0, 2.0, -5.123], touched: true };
        assert_eq!(read(b"[PRB:1.000,2.000,-5.123:1]"), Reply::Probed(touched));
        assert_eq!(read(b"[PRB:1.000,2.000,-5.123:0]"), Reply::Probed(Probed { touched: false, ..touched }));
        assert_eq!(read(b"[PRB:1.000,:1]"), Reply::Chatter);
    }

    #[test]
    fn half_a_report_is_chatter_and_not_a_state() {
        for line in [&b"<Idle|MPos:0.0"[..], b"<>", b"<Idle|FS:1>", b"Idle|MPos:0,0,0>", b"<Idl|MPos:0,0,0>"] {
            assert_eq!(read(line), Reply::Chatter);
        }
    }

    #[test]
    fn an_override_is_reached_in_coarse_and_fine_steps_from_100() {
        assert_eq!(steps(100, 0x90), [0x90]);
        assert_eq!(steps(132, 0x90), [0x90, 0x91, 0x91, 0x91, 0x93, 0x93]);
        assert_eq!(steps(89, 0x99), [0x99, 0x9b, 0x9d]);
    }
}
