//! Simulated machines: the other side of the conversation, in the machine's own words and in virtual time.
//!
//! A simulated machine is pure: bytes and time go in, bytes come out. It asserts for itself that its receive buffer
//! never overflowed and that each line ran once and in order, and says so in its [`Report`].

mod adapter;
mod dynamics;
mod fault;
mod grbl;
mod grbl_parser;
mod marlin;
pub mod modbus;
mod motion;
mod numbers;
#[cfg(feature = "io")]
pub mod port;
mod printer;
mod stranger;
mod wire;

use serde::Serialize;

use crate::moment::Moment;

pub use dynamics::Dynamics;
pub use fault::{Faults, Random};
pub use numbers::Reader;
pub use wire::{Line, LineSpeed};

/// Every kind of simulated machine. A new one is a file and a line here.
static ALL: &[(&str, Build)] = &[
    ("marlin", marlin::build),
    ("grbl", grbl::build),
    ("grblhal", grbl::build_grblhal),
    ("fluidnc", grbl::build_fluidnc),
    ("smoothieware", marlin::build_smoothieware),
    ("reprapfirmware", marlin::build_reprapfirmware),
    ("repetier", marlin::build_repetier),
    ("klipper", marlin::build_klipper),
    ("modbus-tcp", modbus::build_tcp),
    ("modbus-rtu", modbus::build_rtu),
];

/// What else answers on ports and is no machine.
static STRANGERS: &[(&str, Build)] =
    &[("gps", stranger::build_gps), ("modem", stranger::build_modem), ("login", stranger::build_login)];

type Build = fn(&Setup) -> Box<dyn Simulated>;

/// Executed lines kept when a report is to list them: a long print fits.
const LINES_KEPT_MAX: usize = 4_000_000;

/// What a simulated machine is like.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of a firmware's own configuration")]
pub struct Setup {
    /// Receive buffer in bytes.
    pub receive_buffer_bytes: usize,
    /// What it says of its receive buffer where that is not true (Grbl).
    pub claimed_buffer_bytes: Option<usize>,
    /// Blocks the planner holds.
    pub planner_blocks: usize,
    /// How many times faster than real it moves and heats. Infinite: motion takes no time.
    pub speed: f64,
    /// Whether executed lines are listed in the report.
    pub keep_lines: bool,
    /// Where the zero of programs is on a Grbl, in machine coordinates: its G54.
    pub work_offset_mm: [f64; 3],
    /// Settings of a Grbl that are not those of `grbl`, by number: `$13` 1 for reports in inches.
    pub settings: Vec<(u32, f64)>,
    /// Hot ends of a printer, each heated by itself.
    pub hot_ends: usize,
    /// Marlin's `ADVANCED_OK`.
    pub advanced_ok: bool,
    /// Marlin's `EMERGENCY_PARSER`.
    pub emergency_parser: bool,
    /// Marlin's `HOST_KEEPALIVE_FEATURE`.
    pub host_keepalive: bool,
    /// Marlin's `HOST_PROMPT_SUPPORT` at M0 and M1; a change of filament asks in any case.
    pub prompts_at_m0: bool,
    /// How long filament takes to come out of a Marlin before M600 asks for the new one, in seconds. Zero: it asks at once.
    pub unload_s: f64,
    /// Whether a Marlin says `busy:processing` without the `echo:` in front (`MarlinKimbra`).
    pub bare_busy: bool,
    /// Marlin's `MEATPACK`.
    pub meatpack: bool,
    /// Which Marlin it is.
    pub vintage: Vintage,
    /// Whether `Resend:` is followed by `ok` (Marlin 1.1 and late 2.x) or not (2.0).
    pub ok_after_resend: bool,
    /// Whether a line that was already taken is passed over in silence (late Marlin 2.1) or asked for again (2.0).
    pub passes_over_repeats: bool,
    /// Whether a Marlin throws away what its receive buffer holds when it asks for a line again. A port that flushes
    /// nothing leaves it there, and each line of it is judged on its own.
    pub flushes_on_resend: bool,
    /// Whether a line that is asked for again for no reason counts as taken, so that the one behind it is asked for.
    pub throws_lines_away: bool,
    /// Every so many lines that a Marlin receives, numbered or not, one is thrown away and asked for as the line behind it:
    /// `OctoPrint`'s virtual printer with `resend_ratio`, where 20 stands for a ratio of 5. Zero: none.
    pub throws_every: u64,
    /// Grbl's laser mode, `$32`.
    pub laser_mode: bool,
    /// How long a grblHAL or `FluidNC` waits for its spindle to come to speed or to stand, in seconds, saying it is idle.
    pub spin_up_s: f64,
    /// Fastest rapid in mm/min.
    pub rapid_mm_min: f64,
    /// What its axes can do: ramps and corners take time, extruding does, and Grbl comes to rest where it does so.
    /// None: every move has its feed from its first to its last moment.
    pub dynamics: Option<Dynamics>,
    /// A line number (Marlin) or count (Grbl) after which it answers nothing any more.
    pub silent_after: Option<u64>,
    /// Answer to be given to a line with this count instead of `ok` (Grbl), such as `error:33`.
    pub refuse_line: Option<u64>,
    /// What a printer says in front of its answer to a command that begins so: `("G29", "Error:Probing Failed")`.
    pub says: Vec<(String, String)>,
    /// Commands that a printer does not know, by how they begin: `M104`.
    pub unknown: Vec<String>,
    /// Whether a printer tells its host of what somebody does at its display (Marlin's `HOST_ACTION_COMMANDS`).
    pub host_actions: bool,
    /// Commands (printers) in a thousand in front of whose answer it says something beside the matter.
    pub chatter_permille: u32,
    /// Commands (printers) in a thousand at which it complains of itself or asks for a pause.
    pub complaints_permille: u32,
    /// Below this a printer's hot end takes no filament, in °C. None: it takes it at any temperature.
    pub extrudes_above_c: Option<f64>,
    /// Whether a printer that can be built so refuses to move before it is homed.
    pub must_home: bool,
    /// Whether one error makes a grblHAL refuse everything behind it, as it does unless it was built otherwise.
    pub error_sticks: bool,
    /// Height at which a probe touches, in millimetres.
    pub probe_z_mm: f64,
    /// Whether a printer says `wait` each second that it has nothing to do (Marlin's `NO_TIMEOUTS`, `OctoPrint`'s virtual
    /// printer). Repetier always does.
    pub says_wait: bool,
    /// Milliseconds between temperatures that a printer tells without having been asked; zero: none.
    pub temperatures_every_ms: u64,
    /// Whether a printer's answer to M114 holds no number.
    pub nonsense_position: bool,
    /// Whether a printer tells its position behind the `ok` to the question, and not in a line of its own.
    pub position_behind_ok: bool,
    /// How long a `FluidNC` is busy with its own macro at M6, in seconds, saying that it is idle.
    pub tool_macro_s: f64,
    /// Lines (Marlin) in a thousand that it asks for again for no reason.
    pub resend_permille: u32,
    /// What becomes of a Modbus machine's answers.
    pub answers: modbus::AnswerFaults,
    /// What the drive on a Modbus line does otherwise than the standard has it.
    pub drive: modbus::Quirks,
    /// How a Modbus line, or the server on TCP, behaves.
    pub modbus_line: modbus::LineQuirks,
    /// How many questions a mailbox machine says it can be asked at once.
    pub transactions: u16,
    /// What a printer answers to M115 instead of its name, in front of its `ok`; empty: nothing but that.
    pub says_instead: Option<String>,
    /// What its heaters are set to when it is found: tool and bed.
    pub found_hot_c: [f64; 2],
    /// How long the host of a Klipper says that it is still starting, in seconds.
    pub starts_s: f64,
    /// Whether it knows the question for a print from the card (M27).
    pub has_card: bool,
    /// Whether the adapter sends everything back that it is sent.
    pub echoes: bool,
    /// Whether XON and XOFF bytes stand between those of its answers.
    pub flow_bytes: bool,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            receive_buffer_bytes: 128,
            claimed_buffer_bytes: None,
            planner_blocks: 16,
            speed: 1.0,
            keep_lines: false,
            work_offset_mm: [0.0; 3],
            settings: Vec::new(),
            hot_ends: 1,
            advanced_ok: false,
            emergency_parser: true,
            host_keepalive: true,
            prompts_at_m0: false,
            unload_s: 0.0,
            bare_busy: false,
            meatpack: false,
            vintage: Vintage::default(),
            ok_after_resend: true,
            passes_over_repeats: true,
            flushes_on_resend: true,
            throws_lines_away: false,
            throws_every: 0,
            laser_mode: false,
            spin_up_s: 0.0,
            rapid_mm_min: 6000.0,
            dynamics: None,
            silent_after: None,
            refuse_line: None,
            says: Vec::new(),
            unknown: Vec::new(),
            host_actions: true,
            chatter_permille: 0,
            complaints_permille: 0,
            extrudes_above_c: None,
            must_home: false,
            error_sticks: true,
            probe_z_mm: -5.0,
            says_wait: false,
            temperatures_every_ms: 0,
            nonsense_position: false,
            position_behind_ok: false,
            tool_macro_s: 0.0,
            resend_permille: 0,
            answers: modbus::AnswerFaults::default(),
            drive: modbus::Quirks::default(),
            modbus_line: modbus::LineQuirks::default(),
            transactions: 4,
            says_instead: None,
            found_hot_c: [0.0; 2],
            starts_s: 0.0,
            has_card: true,
            echoes: false,
            flow_bytes: false,
            seed: 1,
        }
    }
}

/// Which Marlin a simulated one is: they read numbers differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vintage {
    /// 2.1.2.
    #[default]
    Current,
    /// 2.0 on a 32-bit board.
    Marlin20,
    /// 1.0.
    Marlin10,
    /// Prusa's 8-bit firmware 3.10, before MeatPack came.
    Prusa310,
    /// Prusa's 8-bit firmware 3.13.
    Prusa313,
}

/// What a simulated machine did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Its dialect.
    pub dialect: &'static str,
    /// Commands of the program it executed. The host's own questions, the line that proves Marlin's counter and the
    /// two that prove the end of motion are not among them.
    pub executed: u64,
    /// FNV-1a hash over the executed commands, each followed by a line feed.
    pub hash: String,
    /// The executed commands in order, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed_lines: Option<Vec<String>>,
    /// The host's own commands it executed.
    pub own: u64,
    /// Commands it executed although they came without a number and are none of the host's own: what is left of a
    /// line that was cut behind its number.
    pub stray: u64,
    /// Bytes it received.
    pub bytes: u64,
    /// Bytes it lost because its receive buffer was full.
    pub overflow: u64,
    /// Damaged lines it noticed.
    pub checksum_errors: u64,
    /// Lines it asked for again.
    pub resends: u64,
    /// Lines it refused.
    pub refused: u64,
    /// Executed commands in which it read another number than is written there, as firmwares read them.
    pub misread: u64,
    /// Commands it answered and did not do, or not wholly; they are not among the executed ones.
    pub ignored: u64,
    /// Times the planner ran empty and was filled again within half a second.
    pub underruns: u64,
    /// Where it stands, X Y Z in millimetres.
    pub position_mm: [f64; 3],
    /// When its first motion began, in microseconds of its own time; zero before it.
    pub motion_began_at: u64,
    /// When its last motion ended, in microseconds of its own time.
    pub motion_ended_at: u64,
    /// Whether anything still moves or waits.
    pub moving: bool,
    /// What heats or turns now: `tool0`, `bed`, `chamber`, `spindle`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_on: Vec<String>,
    /// What it saw that must never happen.
    pub violations: Vec<String>,
}

/// Something that happens at the machine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incident {
    /// A limit switch is hit, or a heater runs away: the machine ends all work by itself.
    Limit,
    /// A mill raises this alarm where it rests.
    Alarm(u32),
    /// The safety door is opened.
    DoorOpened,
    /// The safety door is closed.
    DoorClosed,
    /// Somebody presses its own pause (feed hold) button, or chooses "pause" at its display.
    Paused,
    /// Somebody presses its own cycle start button, or chooses "resume" at its display.
    Resumed,
    /// Somebody chooses "stop print" at its display.
    Cancelled,
    /// Its filament runs out.
    FilamentOut,
    /// It says this, by itself.
    Says(&'static str),
    /// Somebody starts a file from its own card: a minute of moves.
    CardPrint,
    /// Somebody moves it: with another host's program, or from its own menu. Half a minute of moves.
    MovedThere,
    /// Somebody homes it from its own menu, and it says only that it is busy.
    HomedThere,
    /// Somebody sends it to sleep.
    PutToSleep,
    /// Somebody switches its check mode on.
    CheckMode,
}

/// A simulated machine.
pub trait Simulated: Send {
    /// Bytes arrive in its receive buffer.
    fn hear(&mut self, now: Moment, bytes: &[u8]);
    /// Time passes.
    fn advance(&mut self, now: Moment);
    /// Moves what it says to the end of `out`.
    fn say(&mut self, out: &mut Vec<u8>);
    /// When it would do something by itself.
    fn wakes_at(&self) -> Option<Moment>;
    /// The board is reset: it forgets everything and says its banner.
    fn reset(&mut self, now: Moment);
    /// Something happens at the machine itself. One that has no such switch, button or display does nothing.
    fn happen(&mut self, _now: Moment, _incident: Incident) {}
    /// Commands of programs that it has executed to their end: their motion, and that of all before them, is over.
    fn completed(&self) -> u64;
    /// What it did so far.
    fn report(&self) -> Report;
}

/// The simulated machine of that dialect, or the stranger of that name.
pub fn simulated(dialect: &str, setup: &Setup) -> Option<Box<dyn Simulated>> {
    let (_, build) = ALL.iter().chain(STRANGERS).find(|(name, _)| *name == dialect)?;
    Some(adapter::between(build(setup), setup))
}

/// Names of the simulated dialects.
pub fn dialects() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// What it executed, counted, hashed and, when asked, listed.
#[derive(Debug)]
struct Ledger {
    reader: Reader,
    misread: u64,
    count: u64,
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Ledger {
    fn new(keep_lines: bool, reader: Reader) -> Self {
        Self { reader, misread: 0, count: 0, hash: 0xcbf2_9ce4_8422_2325, lines: keep_lines.then(Vec::new) }
    }

    fn executed(&mut self, line: &[u8]) {
        self.misread += u64::from(self.reader.misreads(line));
        let line = &*numbers::without_needed_blanks(line);
        self.count += 1;
        for byte in line.iter().chain(b"\n") {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(lines) = self.lines.as_mut().filter(|lines| lines.len() < LINES_KEPT_MAX) {
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
    }

    /// What must never happen, in sentences.
    fn violations(report: &Report) -> Vec<String> {
        let overflow = report.overflow;
        let lost = format!("The receive buffer overflowed: {overflow} bytes were lost.");
        if overflow > 0 { vec![lost] } else { Vec::new() }
    }
}
