//! Going on after a job that failed: what must be said before the rest of the program means the same again, or why it
//! cannot be said safely.
//!
//! Nothing here is done by itself: a plan becomes a program of its own, which is checked and started like any other.

use std::io::Read;

use crate::analysis::TOOLS_MAX;
use crate::block::{Block, Item};
use crate::interpret::{Event, Family, Heating, State, Watch};
use crate::modal::{FeedMode, Spindle};
use crate::profile::{Kind, Profile};
use crate::read::Lines;
use crate::sniff::{self, ReadError};
use crate::statement::{Form, Statement};
use crate::words::{self, Effect, Firmwares, Heater};

/// Lines behind the last one known to be executed that may have been executed too: more than any planner and receive
/// buffer hold.
const PERHAPS_EXECUTED_LINES: u64 = 128;

/// How exactly a printer must stand at a height of the program, in millimetres. Positions are reported in hundredths.
const HEIGHT_TOLERANCE_MM: f64 = 0.02;

/// How far a printer's nozzle is lifted off the work before it goes anywhere, in millimetres.
const LIFT_MM: f64 = 5.0;

/// How far above the work a mill's tool goes over from rapid to feed, in millimetres.
const LEAD_IN_MM: f64 = 2.0;

/// Seconds a spindle is given to reach its speed.
const SPIN_UP_S: u32 = 5;

/// Largest number that is said again, whatever it counts: a thousand kilometres of filament are more than any job takes,
/// and sums of numbers far beyond are infinite, which no line can say.
const NUMBER_MAX: f64 = 1e9;

/// What is known of the job that failed and of the machine now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The last program line known to be executed, 1-based.
    pub executed_line: u64,
    /// Where the machine says it stands now, X Y Z in millimetres, if it says so.
    pub position_mm: Option<[f64; 3]>,
    /// Whether the machine has kept its position since: not restarted, not halted, motors never off.
    pub position_kept: bool,
}

/// What is to be said before the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The lines before the rest of the program.
    pub lead_in: Vec<String>,
    /// The first line of the program to run, 1-based.
    pub from_line: u64,
    /// What a person must see to before it is started, in sentences.
    pub notes: Vec<String>,
}

/// Why a job cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code.
    pub code: &'static str,
    /// What is in the way, in one sentence.
    pub message: String,
}

/// Plans how a program goes on behind the last line known to be executed.
///
/// ```
/// use gcode_tools::{profile::Profile, resume::{plan, Evidence}};
/// let program = b"G21 G90\nM3 S9000\nG0 X0 Y0 Z5\nG1 Z-1 F300\nG1 X20 F600\nG1 Y20\nM5\nM2\n";
/// let evidence = Evidence { executed_line: 5, position_mm: None, position_kept: false };
/// let plan = plan(&program[..], &Profile::named("grbl-router-6040").unwrap(), &evidence).unwrap();
/// assert_eq!(plan.from_line, 6);
/// assert!(plan.lead_in.iter().any(|line| line.starts_with("M3 S9000")), "the spindle turns before the tool goes down");
/// ```
///
/// # Errors
/// What cannot be restored, or is not known.
pub fn plan<R: Read>(program: R, profile: &Profile, evidence: &Evidence) -> Result<Plan, Refusal> {
    if evidence.executed_line == 0 {
        return Err(refusal("resume.no_evidence", "No line is known to be executed. Start it from the beginning."));
    }
    let mut reader = Follower::new(program, profile).map_err(|error| unreadable(&error))?;
    while reader.line < evidence.executed_line {
        if !reader.step().map_err(|error| unreadable(&error))? {
            return Err(refusal("resume.nothing_left", "Every line of the program is known to be executed."));
        }
    }
    reader.seen.refuse(&reader.state)?;
    reader.seen.refuse_beyond_sense(&reader.state)?;
    let (state, seen) = (reader.state.clone(), reader.seen.clone());
    let next = reader.next_motion().map_err(|error| unreadable(&error))?;
    let Some(next) = next else {
        return Err(refusal("resume.nothing_left", "No motion is left behind the last line known to be executed."));
    };
    let mut plan = Plan { lead_in: Vec::new(), from_line: evidence.executed_line + 1, notes: Vec::new() };
    match profile.kind {
        Kind::Printer => printer(&mut plan, &state, &seen, evidence, &next)?,
        Kind::Mill => mill(&mut plan, &state, &next)?,
        Kind::Laser => laser(&mut plan, &state, &next)?,
    }
    plan.notes.push(format!(
        "Line {} is the last one known to be executed; up to a planner full of lines behind it may have been executed \
         too and runs again.",
        evidence.executed_line
    ));
    Ok(plan)
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

fn unreadable(error: &ReadError) -> Refusal {
    refusal("resume.unreadable", error.message.clone())
}

/// What the program has set that the modal state does not hold.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Targets in °C: tools by number, bed, chamber.
    tools_c: Vec<(u32, f64)>,
    bed_c: Option<f64>,
    chamber_c: Option<f64>,
    /// The last line of each of these words, to be said again as it stands: fans, feed and flow, accelerations …
    kept: Vec<(u32, String)>,
    /// What cannot be restored, and its line.
    volatile: Option<(u64, &'static str)>,
    levelled: bool,
    extruded: bool,
}

/// Tells commands other than this M word: said again with it, a move would be made a second time. T is its parameter.
fn is_other_command(word: u32) -> impl Fn(&(u8, u32)) -> bool {
    move |code| code.0 != b'T' && *code != (b'M', word)
}

/// Whether a line begins with its M word and holds nothing but letters with numbers: it is said again as it stands.
fn is_setting_alone(text: &[u8]) -> bool {
    let is_number = |item: Item<'_>| matches!(item, Item::Word(word) if word.number().is_some());
    text.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'M')) && Block::new(text).items().all(is_number)
}

impl Seen {
    /// A heater got a target.
    fn heat(&mut self, line: u64, heating: &Heating, tool: Option<u32>) {
        let target = heating.target_c;
        match heating.heater {
            Heater::Tool => {
                let tool = heating.tool.or(tool).unwrap_or(0);
                if tool as usize >= TOOLS_MAX {
                    self.volatile = Some((line, "it heats a tool whose number no machine has"));
                    return;
                }
                self.tools_c.retain(|(known, _)| *known != tool);
                self.tools_c.push((tool, target));
            }
            Heater::Bed => self.bed_c = Some(target),
            Heater::Chamber => self.chamber_c = Some(target),
            Heater::Named => {
                self.tools_c.iter_mut().for_each(|(_, target)| *target = 0.0);
                (self.bed_c, self.chamber_c) = (self.bed_c.map(|_| 0.0), self.chamber_c.map(|_| 0.0));
            }
        }
    }

    fn note(&mut self, line: u64, bytes: &[u8], statement: &Statement) {
        if statement.form == Form::Flow {
            self.volatile = Some((line, "it has loops or subroutines"));
        }
        for &(letter, tenths) in statement.codes() {
            match (letter, tenths) {
                (b'G', 920..=923) if !statement.has(b'E') || statement.has_any(b"XYZ") => {
                    self.volatile = Some((line, "G92 moved its coordinates, and a machine forgets that"));
                }
                (b'G', 520) => self.volatile = Some((line, "G52 moved its coordinates, and a machine forgets that")),
                (b'G', 431 | 432) => self.volatile = Some((line, "a tool length was set that a machine forgets")),
                (b'G', 290) => self.levelled = true,
                (b'M', 1070) => self.kept.retain(|(word, _)| *word != 1060),
                // Fans, feed and flow percent, limits, accelerations, jerk, linear advance, pressure.
                (b'M', word) if words::effect_of_any(Firmwares::PRINTERS, b'M', word) == Effect::Tunes => {
                    let mut text = Vec::new();
                    crate::wire::compact(&Block::new(bytes), &mut text);
                    if !is_setting_alone(&text) || statement.codes().iter().any(is_other_command(word)) {
                        self.volatile = Some((line, "a setting stands on a line with something else"));
                        continue;
                    }
                    self.kept.retain(|(known, _)| *known != word);
                    self.kept.push((word, String::from_utf8_lossy(&text).into_owned()));
                }
                _ => {}
            }
        }
        self.extruded |= statement.has(b'E');
    }

    fn refuse(&self, state: &State) -> Result<(), Refusal> {
        if let Some((line, why)) = self.volatile {
            return Err(refusal(
                "resume.volatile",
                format!("The program cannot go on in its middle: {why} (line {line})."),
            ));
        }
        let modal = &state.modal;
        if modal.motion.is_some_and(|motion| (810..=890).contains(&motion) || motion == 730) {
            return Err(refusal("resume.cycle", "The program is in the middle of a canned cycle."));
        }
        if modal.cutter_compensation != 400 {
            return Err(refusal(
                "resume.compensation",
                "Cutter compensation is on; it cannot be entered in the middle.",
            ));
        }
        if modal.feed_mode != FeedMode::PerMinute {
            return Err(refusal("resume.feed_mode", "Feeds are not per minute; each line would need its own."));
        }
        if modal.ended {
            return Err(refusal("resume.nothing_left", "The program has come to its end."));
        }
        Ok(())
    }

    /// Refuses what would have to be said in numbers that mean nothing.
    fn refuse_beyond_sense(&self, state: &State) -> Result<(), Refusal> {
        let modal = &state.modal;
        let mut numbers = state.program_position().to_vec();
        numbers.extend([state.extruder, modal.speed]);
        numbers.extend(modal.feed.map(|feed| feed * modal.unit_mm()));
        numbers.extend(state.filament_area_mm2);
        numbers.extend(self.tools_c.iter().map(|(_, target)| *target));
        numbers.extend(self.bed_c.into_iter().chain(self.chamber_c));
        // What is no number compares as false and is refused too.
        if numbers.iter().all(|number| number.abs() <= NUMBER_MAX) {
            return Ok(());
        }
        Err(refusal(
            "resume.beyond_sense",
            "A position, feed, speed or temperature in force is larger than on any machine. Start it from the beginning.",
        ))
    }
}

/// The first motion behind the last executed line.
#[derive(Debug, Clone)]
struct Next {
    names_motion: bool,
    /// Heights the machine may stand at if it went on for a while.
    heights_mm: Vec<f64>,
}

/// A program that is followed line by line.
struct Follower<R: Read> {
    lines: Lines<R>,
    state: State,
    statement: Statement,
    seen: Seen,
    line: u64,
    done: Done,
}

/// What a line did.
#[derive(Debug, Default)]
struct Done {
    moved: bool,
    heated: Vec<Heating>,
    not_followed: bool,
}

impl Watch for Done {
    fn moved(&mut self, _: &crate::interpret::Move, _: &State) {
        self.moved = true;
    }

    fn event(&mut self, event: Event, _: u64, _: &State) {
        match event {
            Event::Heat(heating) => self.heated.push(heating),
            Event::NotFollowed(_) => self.not_followed = true,
            _ => {}
        }
    }
}

impl<R: Read> Follower<R> {
    fn new(program: R, profile: &Profile) -> Result<Self, ReadError> {
        let mut lines = Lines::new(program);
        let head = lines.peek().map_err(|error| ReadError::from_io(&error))?;
        if let Some(refusal) = sniff::refuse(head) {
            return Err(refusal);
        }
        let statement = Statement::default();
        let state = State::of_profile(profile);
        Ok(Self { lines, state, statement, seen: Seen::default(), line: 0, done: Done::default() })
    }

    /// Executes the next line. False at the end.
    fn step(&mut self) -> Result<bool, ReadError> {
        let Some(line) = self.lines.next_line().map_err(|error| ReadError::from_io(&error))? else { return Ok(false) };
        self.line = line.number;
        let block = line.block();
        self.statement.read(&block, None);
        self.seen.note(line.number, line.bytes, &self.statement);
        self.done = Done::default();
        crate::follow::run(line.number, &block, &self.statement, &mut self.state, &mut self.done);
        for heating in &self.done.heated {
            self.seen.heat(line.number, heating, self.state.modal.tool);
        }
        if self.done.not_followed {
            self.seen.volatile = Some((line.number, "what it does there is not followed"));
        }
        Ok(true)
    }

    /// Looks ahead for the next motion, and for the heights of those that may have been executed.
    fn next_motion(&mut self) -> Result<Option<Next>, ReadError> {
        let mut next: Option<Next> = None;
        let mut heights_mm = vec![self.state.position[2]];
        let last = self.line + PERHAPS_EXECUTED_LINES;
        while (self.line < last || next.is_none()) && self.step()? {
            if self.done.moved && next.is_none() {
                let names_motion = self.statement.codes().iter().any(|code| matches!(code, (b'G', 0 | 10 | 20 | 30)));
                next = Some(Next { names_motion, heights_mm: Vec::new() });
            }
            if self.done.moved && self.line <= last {
                heights_mm.push(self.state.position[2]);
            }
        }
        Ok(next.map(|next| Next { heights_mm, ..next }))
    }
}

/// The motion word that following lines rest on, and the program's own units and feed.
fn restore_motion(plan: &mut Plan, state: &State, next: &Next) -> Result<(), Refusal> {
    let modal = &state.modal;
    plan.lead_in.push(if modal.inches { "G20" } else { "G21" }.to_owned());
    if let Some(feed) = modal.feed {
        plan.lead_in.push(format!("G1 F{feed}"));
    }
    if modal.relative {
        plan.lead_in.push("G91".to_owned());
        // Marlin 2 takes G91 for the extruder too.
        plan.lead_in.extend((state.family == Family::Printer).then(|| extruder_mode_line(state)));
    }
    if next.names_motion {
        return Ok(());
    }
    match modal.motion {
        Some(0) => plan.lead_in.push("G0".to_owned()),
        Some(10) | None => plan.lead_in.push("G1".to_owned()),
        Some(_) => {
            return Err(refusal("resume.arc", "The next line goes on with an arc that an earlier line named."));
        }
    }
    Ok(())
}

/// The line that makes the extruder relative or absolute, as it was.
fn extruder_mode_line(state: &State) -> String {
    if state.modal.extruder_relative { "M83" } else { "M82" }.to_owned()
}

fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Units, plane, offset: what coordinates mean.
fn restore_frame(plan: &mut Plan, state: &State) {
    plan.lead_in.push("G21".to_owned());
    let plane = state.modal.restore_lines().into_iter().nth(1);
    plan.lead_in.extend(plane);
    plan.lead_in.push("G90".to_owned());
    plan.lead_in.push(state.modal.work_offset_name().to_owned());
    plan.lead_in.push("G94".to_owned());
}

fn mill(plan: &mut Plan, state: &State, next: &Next) -> Result<(), Refusal> {
    let modal = &state.modal;
    let [x, y, z] = state.program_position().map(number);
    // A machine without homing refuses this, and nothing has moved then. With it, Z is at its top afterwards.
    plan.lead_in.push("$H".to_owned());
    restore_frame(plan, state);
    if modal.spindle != Spindle::Off {
        let word = if modal.spindle == Spindle::Clockwise { "M3" } else { "M4" };
        plan.lead_in.push(format!("{word} S{}", modal.speed));
        plan.lead_in.push(format!("G4 P{SPIN_UP_S}"));
    }
    plan.lead_in.extend(modal.mist.then(|| "M7".to_owned()));
    plan.lead_in.extend(modal.flood.then(|| "M8".to_owned()));
    plan.lead_in.push(format!("G0 X{x} Y{y}"));
    plan.lead_in.push(format!("G0 Z{}", number(state.program_position()[2] + LEAD_IN_MM)));
    let Some(feed) = modal.feed else {
        return Err(refusal("resume.no_feed", "No feed was named yet; start it from the beginning."));
    };
    let feed_mm = feed * modal.unit_mm();
    // Half the feed: the tool goes straight down where it went along before.
    plan.lead_in.push(format!("G1 Z{z} F{}", number(feed_mm / 2.0)));
    let tool = modal.tool.map_or_else(|| "the tool it was cut with".to_owned(), |tool| format!("tool {tool}"));
    plan.notes.push(format!("See that {tool} is in the spindle and that the work has not moved."));
    restore_motion(plan, state, next)
}

fn laser(plan: &mut Plan, state: &State, next: &Next) -> Result<(), Refusal> {
    let modal = &state.modal;
    if modal.spindle == Spindle::Clockwise && modal.speed > 0.0 {
        return Err(refusal(
            "resume.beam_constant",
            "The beam was on with M3: it would burn where it stands while the head is brought there. Use M4.",
        ));
    }
    let [x, y, _] = state.program_position().map(number);
    plan.lead_in.extend(["M5".to_owned(), "$H".to_owned()]);
    restore_frame(plan, state);
    plan.lead_in.push(format!("G0 X{x} Y{y}"));
    if modal.spindle == Spindle::CounterClockwise {
        plan.lead_in.push(format!("M4 S{}", modal.speed));
    }
    plan.notes.push("See that the work has not moved; what was burned twice is darker.".to_owned());
    restore_motion(plan, state, next)
}

fn printer(plan: &mut Plan, state: &State, seen: &Seen, evidence: &Evidence, next: &Next) -> Result<(), Refusal> {
    if !evidence.position_kept {
        return Err(refusal(
            "resume.position_lost",
            "It is not known that the printer kept its position: it restarted, its motors were off, or the agent was not there \
             all the time; and it cannot be homed onto the part.",
        ));
    }
    let Some(position) = evidence.position_mm else {
        return Err(refusal("resume.position_unknown", "The printer does not say where it stands."));
    };
    let fits = next.heights_mm.iter().any(|height| (height - position[2]).abs() <= HEIGHT_TOLERANCE_MM);
    if !fits {
        let (stands, expected) = (number(position[2]), number(state.position[2]));
        return Err(refusal(
            "resume.position_differs",
            format!(
                "The printer says that it stands at Z{stands}; the program was at Z{expected}: it lost its position."
            ),
        ));
    }
    let lead_in = &mut plan.lead_in;
    lead_in.extend(["G21".to_owned(), "G91".to_owned(), format!("G1 Z{LIFT_MM} F300"), "G90".to_owned()]);
    lead_in.extend(seen.bed_c.map(|target| format!("M190 S{}", number(target))));
    lead_in.extend(seen.chamber_c.map(|target| format!("M141 S{}", number(target))));
    lead_in.extend(state.modal.tool.map(|tool| format!("T{tool}")));
    for (tool, target) in &seen.tools_c {
        let own = state.modal.tool.unwrap_or(0) == *tool;
        let word = if own { "M109" } else { "M104" };
        let which = if own { String::new() } else { format!(" T{tool}") };
        lead_in.push(format!("{word} S{}{which}", number(*target)));
    }
    if seen.extruded && seen.tools_c.iter().all(|(_, target)| *target <= 0.0) {
        return Err(refusal("resume.cold", "The program has turned the nozzle off or never named its temperature."));
    }
    // X and Y only: Z homes onto the part.
    lead_in.push("G28 X Y".to_owned());
    lead_in.extend(seen.levelled.then(|| "M420 S1".to_owned()));
    lead_in.extend(seen.kept.iter().map(|(_, text)| text.clone()));
    let [x, y, z] = state.program_position().map(number);
    lead_in.push(format!("G0 X{x} Y{y} F6000"));
    lead_in.push(format!("G1 Z{z} F300"));
    if let Some(area) = state.filament_area_mm2 {
        lead_in.push(format!("M200 D{}", number((area / std::f64::consts::FRAC_PI_4).sqrt())));
    }
    lead_in.push(extruder_mode_line(state));
    lead_in.push(format!("G92 E{}", number(state.extruder)));
    plan.notes.push("Take away what has oozed from the nozzle once it is hot, before it comes down.".to_owned());
    restore_motion(plan, state, next)
}

#[cfg(test)]
mod test;
