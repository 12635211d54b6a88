//! LinuxCNC 2.9's interpreter. It reads a whole line, checks what belongs to what, and then does it in order; each step
//! may refuse.

use super::{Refusal, Rule};
use crate::block::{Block, CommentStyle, Item, Shape};
use crate::modal::Plane;
use crate::statement::{Form, Statement};

mod run;
mod words;

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
        words::check_words(&line)?;
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
}
