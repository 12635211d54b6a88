//! LinuxCNC 2.9's interpreter. It reads a whole line, checks what belongs to what, and then does it in order; each step
//! may refuse.

use super::{Refusal, Rule};
use crate::arc;
use crate::block::{Block, CommentStyle, Item, Shape};
use crate::modal::Plane;
use crate::statement::{Form, Statement};

/// No motion: what G80 sets, and how a program begins.
const NONE: u32 = 800;

/// M codes on a line (`MAX_EMS`).
const M_CODES_MAX: usize = 4;

/// Modes that rules depend on.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // Each is a mode of its own.
struct Modes {
    motion: u32,
    plane: Plane,
    incremental: bool,
    arc_absolute: bool,
    feed_mode: u32,
    feed: f64,
    turns: bool,
    speed: f64,
    compensates: bool,
    tool: bool,
    spline: bool,
}

/// The rules of LinuxCNC.
#[derive(Debug, Clone)]
pub struct LinuxCnc {
    modes: Modes,
}

impl Default for LinuxCnc {
    fn default() -> Self {
        let modes = Modes {
            motion: NONE,
            plane: Plane::Xy,
            incremental: false,
            arc_absolute: false,
            feed_mode: 940,
            feed: 0.0,
            turns: false,
            speed: 0.0,
            compensates: false,
            tool: false,
            spline: false,
        };
        Self { modes }
    }
}

type Outcome = Result<(), Refusal>;

/// The modal group of a G code in tenths, as `interp_array.cc` has them; `None`: there is no such code.
fn g_group(tenths: u32) -> Option<usize> {
    Some(match tenths {
        0 | 10 | 20 | 30 | 50 | 51 | 52 | 330 | 331 | 382..=385 | 730 | 740 | 760 => 1,
        700 | 710..=712 | 720..=722 | 800 | 810 | 820 | 830 | 840 | 850 | 860 | 870 | 880 | 890 => 1,
        40 | 53 | 100 | 280 | 281 | 300 | 301 | 520 | 530 | 920 => 0,
        170 | 171 | 180 | 181 | 190 | 191 => 2,
        200 | 210 => 6,
        70 | 80 => 15,
        400 | 410 | 411 | 420 | 421 => 7,
        430..=432 | 490 => 8,
        540 | 550 | 560 | 570 | 580 | 590..=593 => 12,
        610 | 611 | 640 => 13,
        900 | 910 => 3,
        901 | 911 => 4,
        921..=923 => 16,
        930 | 940 | 950 => 5,
        960 | 970 => 14,
        980 | 990 => 10,
        _ => return None,
    })
}

/// The modal group of an M code; `None`: there is no such code.
fn m_group(code: u32) -> Option<usize> {
    Some(match code {
        0 | 1 | 2 | 30 | 60 | 99 => 4,
        3 | 4 | 5 | 19 => 7,
        6 | 61 => 6,
        7..=9 => 8,
        48..=53 => 9,
        62..=68 => 5,
        70..=73 => 7,
        98 => 11,
        100..=199 => 10,
        _ => return None,
    })
}

/// One line, read.
struct Line<'s> {
    statement: &'s Statement,
    /// The code of each group, in tenths.
    g: [Option<u32>; 17],
    /// The M code of each group.
    m: [Option<u32>; 12],
    axes: bool,
    polar: bool,
    motion: Option<u32>,
}

impl Line<'_> {
    fn has(&self, letter: u8) -> bool {
        self.statement.has(letter)
    }

    fn value(&self, letter: u8) -> f64 {
        self.statement.value(letter).unwrap_or(0.0)
    }

    fn is(&self, group: usize, codes: &[u32]) -> bool {
        self.g[group].is_some_and(|code| codes.contains(&code))
    }

    fn is_m(&self, group: usize, codes: &[u32]) -> bool {
        self.m[group].is_some_and(|code| codes.contains(&code))
    }

    fn moves(&self, codes: &[u32]) -> bool {
        self.motion.is_some_and(|code| codes.contains(&code))
    }

    /// G81 to G89 but for the two that came later.
    fn drills(&self) -> bool {
        self.motion.is_some_and(|code| matches!(code, 810..=890))
    }

    fn is_cycle(&self) -> bool {
        self.motion.is_some_and(|code| matches!(code, 730 | 740 | 800..=890))
    }
}

fn refuse(rule: Rule, letter: u8) -> Outcome {
    Err(Refusal::word(rule, letter))
}

fn refuse_code(rule: Rule, tenths: u32) -> Outcome {
    Err(Refusal::code(rule, b'G', tenths))
}

impl LinuxCnc {
    /// What is answered to a line: its text first, then what it says.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Outcome {
        let block = Block::new(bytes);
        for item in block.items() {
            match item {
                Item::Comment { style: CommentStyle::Parentheses { closed, nested }, .. } if nested || !closed => {
                    return refuse(Rule::NoLetter, b'(');
                }
                Item::Stray(span) => return refuse(Rule::NoLetter, bytes.get(span.start).copied().unwrap_or(0)),
                Item::Word(word) if word.shape == Shape::Missing || word.shape == Shape::Quoted => {
                    return refuse(Rule::NoNumber, word.letter);
                }
                _ => {}
            }
        }
        self.answer_statement(&Statement::of(&block))
    }

    /// A plain move that has already been taken apart. `None`: it needs the whole of the rules.
    #[inline]
    pub(super) fn answer_plain(&mut self, motion: Option<u32>, moves: bool, feed: Option<f64>) -> Option<Outcome> {
        let modes = &mut self.modes;
        let motion = motion.or(moves.then_some(modes.motion));
        let plain = matches!(motion, None | Some(0 | 10)) && feed.is_none_or(|feed| feed >= 0.0);
        if !plain || modes.feed_mode != 940 || modes.spline {
            return None;
        }
        let in_force = feed.unwrap_or(modes.feed);
        if motion == Some(10) && in_force == 0.0 {
            return Some(refuse(Rule::NoFeed, b'F'));
        }
        modes.feed = in_force;
        modes.motion = motion.unwrap_or(modes.motion);
        Some(Ok(()))
    }

    /// What is answered to a line whose text is well formed.
    pub fn answer_statement(&mut self, statement: &Statement) -> Outcome {
        if statement.form != Form::Words {
            return Ok(());
        }
        // What an expression comes to is not known: neither is what is wrong with it.
        if b"ABCDEFGHIJKLMNPQRSTUVWXYZ".iter().any(|letter| statement.is_unknown(*letter)) {
            return Ok(());
        }
        let mut line = Self::read(statement)?;
        self.find_motion(&mut line)?;
        self.check_codes(&line)?;
        check_words(&line)?;
        self.run(&line)
    }

    /// Letters, signs, groups.
    fn read(statement: &Statement) -> Result<Line<'_>, Refusal> {
        let mut line = Line {
            statement,
            g: [None; 17],
            m: [None; 12],
            axes: b"XYZABCUVW".iter().any(|letter| statement.has(*letter)),
            polar: statement.has_any(b"@^"),
            motion: None,
        };
        if statement.repeated {
            return Err(Refusal::line(Rule::Repeated));
        }
        if let Some(letter) = b"FLST".iter().find(|letter| line.value(**letter) < 0.0) {
            return Err(Refusal::word(Rule::Negative, *letter));
        }
        if line.value(b'H') < -1.0 {
            return Err(Refusal::word(Rule::Negative, b'H'));
        }
        if let Some(letter) =
            b"HLT".iter().find(|letter| (line.value(**letter) - line.value(**letter).round()).abs() > 1e-4)
        {
            return Err(Refusal::word(Rule::NotInteger, *letter));
        }
        let mut m_codes = 0;
        for &(letter, tenths) in statement.codes() {
            match letter {
                b'G' => {
                    let group = g_group(tenths).ok_or(Refusal::code(Rule::Unsupported, b'G', tenths))?;
                    match line.g[group] {
                        // G80 gives way to any other motion.
                        Some(_) if tenths == NONE => {}
                        Some(NONE) | None => line.g[group] = Some(tenths),
                        Some(_) => return Err(Refusal::code(Rule::ModalGroup, b'G', tenths)),
                    }
                }
                b'M' => {
                    m_codes += 1;
                    let group = (tenths % 10 == 0).then(|| m_group(tenths / 10)).flatten();
                    let group = group.ok_or(Refusal::code(Rule::Unsupported, b'M', tenths))?;
                    if line.m[group].replace(tenths / 10).is_some() {
                        return Err(Refusal::code(Rule::ModalGroup, b'M', tenths));
                    }
                }
                _ => {}
            }
        }
        if m_codes > M_CODES_MAX || statement.codes_lost > 0 {
            return Err(Refusal::line(Rule::Unused));
        }
        Ok(line)
    }

    /// Which motion the line makes (`enhance_block`).
    fn find_motion(&self, line: &mut Line) -> Outcome {
        if line.polar && (self.modes.plane != Plane::Xy || line.has(b'X') || line.has(b'Y')) {
            return refuse(Rule::Invalid, b'@');
        }
        let covets = line.is(0, &[100, 280, 300, 520, 920]);
        let shifts = line.is(0, &[520, 920]);
        let places = line.axes || line.polar;
        match line.g[1] {
            Some(NONE) if places && !covets => return Err(Refusal::line(Rule::AxesUnused)),
            Some(NONE) => {}
            Some(motion) => {
                if covets {
                    return refuse_code(Rule::AxisConflict, motion);
                }
                if !places && !matches!(motion, 0 | 10 | 20 | 30 | 52 | 700..=722) {
                    return refuse_code(Rule::NoAxes, motion);
                }
            }
            None if covets => {}
            None if places => {
                let own = line.is(8, &[431]);
                if self.modes.motion == NONE && !own {
                    return Err(Refusal::line(Rule::AxesUnused));
                }
                line.motion = (!own).then_some(self.modes.motion);
            }
            None if line.statement.has_any(b"IJK") && matches!(self.modes.motion, 20 | 30) => {
                line.motion = Some(self.modes.motion);
            }
            None => {}
        }
        if shifts && line.g[1].is_none_or(|motion| motion == NONE) {
            if line.polar && line.is(0, &[920]) {
                return refuse(Rule::Invalid, b'@');
            }
            if !line.axes {
                return refuse_code(Rule::NoAxes, line.g[0].unwrap_or(920));
            }
        }
        line.motion = line.g[1].or(line.motion);
        if line.polar && line.motion.is_none() {
            return refuse(Rule::Invalid, b'@');
        }
        Ok(())
    }

    /// G4, G10 and G53 (`check_g_codes`).
    fn check_codes(&self, line: &Line) -> Outcome {
        match line.g[0] {
            Some(40) => {
                if !line.has(b'P') {
                    return refuse(Rule::Missing, b'P');
                }
                if line.is(1, &[20, 30]) {
                    return refuse_code(Rule::AxisConflict, 40);
                }
            }
            Some(100) => {
                let level = if line.has(b'L') { line.value(b'L') as i64 } else { -1 };
                if !matches!(level, 0 | 1 | 2 | 10 | 11 | 20) {
                    return refuse(if level < 0 { Rule::Missing } else { Rule::OutOfRange }, b'L');
                }
                let number = if line.has(b'P') { line.value(b'P') } else { -1.0 };
                let whole = number.round();
                if number - whole > 1e-4 {
                    return refuse(Rule::NotInteger, b'P');
                }
                let fits =
                    level == 0 || if matches!(level, 2 | 20) { (0.0..=9.0).contains(&whole) } else { whole >= 1.0 };
                if !fits {
                    return refuse(Rule::NoSuchOffset, b'P');
                }
            }
            Some(53) if line.g[1].is_some_and(|motion| motion != 52) => return refuse_code(Rule::Invalid, 53),
            Some(530) => {
                if !line.moves(&[0, 10]) {
                    return refuse_code(Rule::MachineCoordinates, 530);
                }
                if line.is(3, &[910]) || (self.modes.incremental && !line.is(3, &[900])) {
                    return refuse_code(Rule::Invalid, 530);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What is refused when it is done.
    fn run(&mut self, line: &Line) -> Outcome {
        let mut modes = self.modes;
        if let Some(mode) = line.g[5] {
            modes.feed_mode = mode;
            if mode != 930 {
                modes.feed = 0.0;
            }
        }
        if let (Some(feed), true) = (line.statement.value(b'F'), modes.feed_mode != 930) {
            modes.feed = feed;
        }
        if let Some(speed) = line.statement.value(b'S') {
            modes.speed = speed;
        }
        modes.tool |= line.has(b'T');
        let outcome = self.run_steps(line, &mut modes);
        if outcome.is_err() {
            // What was done before the step that refuses stays done.
            self.modes = modes;
            return outcome;
        }
        if line.is_m(4, &[2, 30]) {
            modes = Modes { feed: modes.feed, tool: modes.tool, speed: modes.speed, ..Self::default().modes };
            modes.motion = 10;
        }
        self.modes = modes;
        Ok(())
    }

    fn run_steps(&self, line: &Line, modes: &mut Modes) -> Outcome {
        Self::run_m(line, modes)?;
        Self::run_modes(line, modes)?;
        Self::run_shifts(line, modes)?;
        self.run_motion(line, modes)
    }

    fn run_m(line: &Line, modes: &mut Modes) -> Outcome {
        match line.m[5] {
            Some(code @ 62..=65) if !line.has(b'P') => return Err(Refusal::code(Rule::Missing, b'M', code * 10)),
            Some(66) => {
                let (port, input) = (line.has(b'P'), line.has(b'E'));
                if port == input || (port && line.value(b'P') < 0.0) || (input && line.value(b'E') < 0.0) {
                    return Err(Refusal::code(Rule::OutOfRange, b'M', 660));
                }
                let wait = line.value(b'L').round();
                if wait > 0.0 && (line.value(b'Q') <= 0.0 || input) {
                    return refuse(Rule::OutOfRange, if input { b'L' } else { b'Q' });
                }
            }
            Some(code @ (67 | 68)) if !line.has(b'E') || line.value(b'E') < 0.0 => {
                return Err(Refusal::code(Rule::Missing, b'M', code * 10));
            }
            _ => {}
        }
        if line.is_m(6, &[6]) && !modes.tool {
            return Err(Refusal::code(Rule::Missing, b'M', 60));
        }
        if line.is_m(6, &[61]) && (!line.has(b'Q') || line.value(b'Q') < 0.0) {
            return refuse(Rule::Missing, b'Q');
        }
        match line.m[7] {
            Some(3 | 4) => modes.turns = true,
            Some(5) => modes.turns = false,
            Some(19) if line.has(b'Q') && line.value(b'Q') <= 0.0 => return refuse(Rule::NotPositive, b'Q'),
            _ => {}
        }
        if modes.compensates && (line.m[5].is_some_and(|code| code != 66) || line.m[6].is_some()) {
            return Err(Refusal::line(Rule::Invalid));
        }
        Ok(())
    }

    fn run_modes(line: &Line, modes: &mut Modes) -> Outcome {
        if let Some(plane) = line.g[2] {
            let next = match plane {
                180 => Plane::Zx,
                190 => Plane::Yz,
                _ => Plane::Xy,
            };
            if modes.compensates && (next != modes.plane || next == Plane::Yz) {
                return refuse_code(Rule::Invalid, plane);
            }
            modes.plane = next;
        }
        match line.g[7] {
            Some(400) => modes.compensates = false,
            Some(code) => {
                if modes.plane == Plane::Yz || modes.compensates {
                    return refuse_code(Rule::Invalid, code);
                }
                if matches!(code, 411 | 421) && !line.has(b'D') {
                    return refuse(Rule::Missing, b'D');
                }
                modes.compensates = true;
            }
            None => {}
        }
        let kept = line.g[8].or(line.g[12]).or(line.g[13]).or(line.g[10]);
        if let (true, Some(code)) = (modes.compensates && line.g[7].is_none(), kept) {
            return refuse_code(Rule::Invalid, code);
        }
        if line.is(8, &[432]) {
            let shifts = line.axes;
            if line.has(b'H') == shifts {
                return refuse_code(Rule::Missing, 432);
            }
        }
        modes.incremental = line.g[3].map_or(modes.incremental, |code| code == 910);
        modes.arc_absolute = line.g[4].map_or(modes.arc_absolute, |code| code == 901);
        Ok(())
    }

    /// G10, G28, G30, G92 and their like.
    fn run_shifts(line: &Line, modes: &Modes) -> Outcome {
        if let (true, Some(code)) = (modes.compensates, line.g[0].filter(|code| matches!(code, 280..=301 | 520 | 920)))
        {
            return refuse_code(Rule::Invalid, code);
        }
        if line.is(0, &[100]) && matches!(line.value(b'L') as i64, 2 | 20) {
            if let Some(letter) = b"IJ".iter().find(|letter| line.has(**letter)) {
                return refuse(Rule::Unused, *letter);
            }
            if line.has(b'R') && line.value(b'L') as i64 == 20 {
                return refuse(Rule::Unused, b'R');
            }
        }
        if line.is(0, &[100]) && !matches!(line.value(b'L') as i64, 2 | 20) {
            // Tool tables take an orientation from 0 to 9.
            if line.has(b'Q') && (line.value(b'Q').fract() != 0.0 || line.value(b'Q') > 9.0) {
                return refuse(Rule::OutOfRange, b'Q');
            }
        }
        Ok(())
    }

    fn feed_is_set(line: &Line, modes: &Modes) -> Outcome {
        match modes.feed_mode {
            930 if !line.has(b'F') => refuse(Rule::NoFeed, b'F'),
            940 | 950 if modes.feed == 0.0 => refuse(Rule::NoFeed, b'F'),
            950 if modes.speed == 0.0 => refuse(Rule::SpindleStands, b'S'),
            _ => Ok(()),
        }
    }

    fn run_motion(&self, line: &Line, modes: &mut Modes) -> Outcome {
        let Some(motion) = line.motion else { return Ok(()) };
        if modes.spline && !matches!(motion, 52) {
            return refuse_code(Rule::Invalid, motion);
        }
        match motion {
            0 | 800 => {}
            10 => Self::feed_is_set(line, modes)?,
            20 | 30 => Self::run_arc(line, modes)?,
            330 | 331 | 760 => {
                if !modes.turns {
                    return refuse_code(Rule::SpindleStands, motion);
                }
                if motion == 760 {
                    let (peak, first, full) = (line.value(b'I'), line.value(b'J'), line.value(b'K'));
                    if peak == 0.0 || first <= 0.0 || full <= first {
                        return refuse(Rule::OutOfRange, b'K');
                    }
                    if modes.compensates {
                        return refuse_code(Rule::Invalid, motion);
                    }
                }
            }
            382..=385 => {
                if modes.compensates || modes.feed_mode == 950 {
                    return refuse_code(Rule::Invalid, motion);
                }
                if modes.feed == 0.0 {
                    return refuse(Rule::NoFeed, b'F');
                }
            }
            50 | 51 => Self::run_spline(line, modes, motion)?,
            52 => {}
            730 | 740 | 810..=890 => self.run_cycle(line, modes, motion)?,
            _ => {}
        }
        modes.motion = motion;
        Ok(())
    }

    fn run_spline(line: &Line, modes: &Modes, motion: u32) -> Outcome {
        Self::feed_is_set(line, modes)?;
        if modes.compensates || modes.plane != Plane::Xy {
            return refuse_code(Rule::Plane, motion);
        }
        if let Some(letter) = b"ZABC".iter().find(|letter| line.has(**letter)) {
            return refuse(Rule::Unused, *letter);
        }
        let (i, j) = (line.has(b'I'), line.has(b'J'));
        if motion == 51 && !(i && j) || i != j {
            return refuse(Rule::Missing, if i { b'J' } else { b'I' });
        }
        if motion == 50 && !(line.has(b'P') && line.has(b'Q')) {
            return refuse(Rule::Missing, if line.has(b'P') { b'Q' } else { b'P' });
        }
        if motion == 51 && line.value(b'I') == 0.0 && line.value(b'J') == 0.0 {
            return refuse(Rule::OutOfRange, b'I');
        }
        Ok(())
    }

    fn run_arc(line: &Line, modes: &Modes) -> Outcome {
        let (a, b, c) = arc::axes(modes.plane);
        let centers = line.statement.has_any(b"IJK");
        if !line.has(b'R') && !centers {
            return Err(Refusal::line(Rule::NoCenter));
        }
        if line.has(b'R') && centers {
            return refuse(Rule::Unused, b'R');
        }
        Self::feed_is_set(line, modes)?;
        if centers {
            if line.has(b"IJK"[c]) {
                return refuse(Rule::Unused, b"IJK"[c]);
            }
            let both = line.has(b"IJK"[a]) && line.has(b"IJK"[b]);
            if modes.arc_absolute && !both {
                return refuse(Rule::Missing, if line.has(b"IJK"[a]) { b"IJK"[b] } else { b"IJK"[a] });
            }
        } else if !(line.has(b"XYZ"[a]) || line.has(b"XYZ"[b]) || line.polar) {
            return Err(Refusal::line(Rule::NoAxesInPlane));
        }
        Ok(())
    }

    fn run_cycle(&self, line: &Line, modes: &Modes, motion: u32) -> Outcome {
        if modes.feed == 0.0 {
            return refuse(Rule::NoFeed, b'F');
        }
        if modes.feed_mode == 930 || modes.compensates {
            return refuse_code(Rule::Invalid, motion);
        }
        let goes_on = self.modes.motion == motion;
        if !line.has(b'R') && !goes_on {
            return refuse(Rule::Missing, b'R');
        }
        if line.has(b'L') && line.value(b'L') == 0.0 {
            return refuse(Rule::OutOfRange, b'L');
        }
        if let Some(letter) = b"UVW".iter().find(|letter| line.has(**letter)) {
            return refuse(Rule::Unused, *letter);
        }
        let normal = b"XYZ"[arc::axes(modes.plane).2];
        if !line.has(normal) && !goes_on {
            return refuse(Rule::Missing, normal);
        }
        let (retract, bottom) = (line.statement.value(b'R'), line.statement.value(normal));
        if let (Some(retract), Some(bottom)) = (retract, bottom) {
            if if modes.incremental { bottom > 0.0 } else { retract < bottom } {
                return refuse(Rule::Retract, b'R');
            }
        }
        let needed: &[u8] = match motion {
            820 | 860 | 880 | 890 => b"P",
            730 | 830 => b"Q",
            870 => b"IJK",
            _ => b"",
        };
        if let Some(letter) = needed.iter().find(|letter| !line.has(**letter)).filter(|_| !goes_on) {
            return refuse(Rule::Missing, *letter);
        }
        if matches!(motion, 730 | 830) && line.has(b'Q') && line.value(b'Q') <= 0.0 {
            return refuse(Rule::NotPositive, b'Q');
        }
        if matches!(motion, 740 | 840 | 860 | 870 | 880) && !modes.turns {
            return refuse_code(Rule::SpindleStands, motion);
        }
        Ok(())
    }
}

/// Words that nothing on the line uses, and values that are out of range (`check_other_codes`).
#[allow(clippy::too_many_lines)] // One table, in the order of `check_other_codes`.
fn check_words(line: &Line) -> Outcome {
    let has = |letter: u8| line.has(letter);
    let arcs = line.moves(&[20, 30]);
    let writes = line.is(0, &[100]);
    let compensates = line.is(7, &[410, 411, 420, 421]);
    let inputs = |codes: &[u32]| line.is_m(5, codes);
    let user = line.m[10].is_some();
    if let Some(letter) = b"ABC".iter().find(|letter| has(**letter)).filter(|_| line.is_cycle()) {
        return refuse(Rule::Unused, *letter);
    }
    let used = [
        (b'D', compensates || line.is(14, &[960])),
        (b'E', line.moves(&[760]) || inputs(&[66, 67, 68])),
        (b'H', line.is(8, &[430, 432]) || line.moves(&[760])),
        (b'I', arcs || line.moves(&[50, 51, 760, 870, 331]) || writes),
        (b'J', arcs || line.moves(&[50, 51, 760, 870]) || writes),
        (b'K', arcs || line.moves(&[330, 331, 760, 870])),
        (
            b'L',
            line.drills()
                || line.moves(&[760, 52, 730])
                || writes
                || compensates
                || inputs(&[66])
                || line.m[11].is_some(),
        ),
        (b'P', uses_p(line)),
        (
            b'Q',
            line.moves(&[830, 730, 50, 760])
                || user
                || inputs(&[66, 67, 68])
                || writes
                || line.is_m(6, &[61])
                || line.is(13, &[640])
                || line.is_m(7, &[19]),
        ),
        (
            b'R',
            arcs || line.moves(&[760, 730, 740])
                || line.drills()
                || line.is(7, &[411, 421])
                || writes
                || line.is_m(7, &[19]),
        ),
    ];
    // A Q of -1 is what LinuxCNC keeps for "no Q".
    let stands = |letter: u8| has(letter) && !(letter == b'Q' && line.value(b'Q') == -1.0);
    if let Some((letter, _)) = used.into_iter().find(|(letter, used)| stands(*letter) && !used) {
        return refuse(Rule::Unused, letter);
    }
    let turns = line.value(b'P');
    if has(b'P') && (arcs || line.is_m(7, &[19])) {
        if (turns - turns.round()).abs() > 0.001 {
            return refuse(Rule::NotInteger, b'P');
        }
        if arcs && turns.round() < 1.0 || line.is_m(7, &[19]) && !(0.0..=2.0).contains(&turns.round()) {
            return refuse(Rule::OutOfRange, b'P');
        }
    }
    if line.is_m(7, &[19]) && has(b'R') && !(0.0..=360.0).contains(&line.value(b'R')) {
        return refuse(Rule::OutOfRange, b'R');
    }
    if line.is(14, &[960]) && !has(b'S') {
        return refuse(Rule::Missing, b'S');
    }
    if line.moves(&[330, 331]) {
        if !has(b'K') {
            return refuse(Rule::Missing, b'K');
        }
        if has(b'F') {
            return refuse(Rule::Unused, b'F');
        }
    }
    if line.moves(&[760]) {
        if let Some(letter) = b"PIJK".iter().find(|letter| !has(**letter)) {
            return refuse(Rule::Missing, *letter);
        }
    }
    Ok(())
}

fn uses_p(line: &Line) -> bool {
    line.is(0, &[100, 40])
        || line.is(13, &[640])
        || line.moves(&[760, 820, 860, 880, 890, 50, 52, 20, 30, 740, 840])
        || line.is_m(9, &[50, 51, 52, 53])
        || line.is_m(5, &[62, 63, 64, 65, 66])
        || line.is_m(7, &[19])
        || line.m[10].is_some()
        || line.m[11].is_some()
}
