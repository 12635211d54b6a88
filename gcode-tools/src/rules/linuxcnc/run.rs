//! What is refused when it is done: the line's codes in the order in which LinuxCNC runs them.

use super::{Line, LinuxCnc, Modes, Outcome, refuse, refuse_code};
use crate::arc;
use crate::modal::Plane;
use crate::rules::{Refusal, Rule};

impl LinuxCnc {
    /// What is refused when it is done.
    pub(super) fn run(&mut self, line: &Line) -> Outcome {
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
